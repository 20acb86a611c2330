"""``skystage summary``: the stacks of a plan: dates, gaps, platforms, bytes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from skystage.cli.output import DONE, out, out_json, size_text, table

if TYPE_CHECKING:
    from skystage.report import Stack


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("plan", type=Path)
    parser.add_argument("--scenes", action="store_true", help="list the scenes of each stack")


def run(arguments: argparse.Namespace) -> int:
    """Print a row for each stack."""
    from skystage.plan import Plan
    from skystage.report import stacks

    found = stacks(Plan(arguments.plan).granules())
    if arguments.json:
        out_json(stacks=[stack.to_json(scenes=arguments.scenes) for stack in found])
        return DONE
    rows = [_stack_row(stack) for stack in found]
    table(
        ("direction", "path", "frame", "granules", "dates", "first", "last", "gap", "platforms", "size"), rows
    )
    if arguments.scenes:
        for stack in found:
            out(f"\n{stack.key}")
            for name in stack.granules:
                out(f"  {name}")
    return DONE


def _stack_row(stack: Stack) -> tuple[str, ...]:
    return (
        stack.direction,
        stack.path,
        stack.frame,
        str(len(stack.granules)),
        str(len(stack.dates)),
        stack.dates[0] if stack.dates else "",
        stack.dates[-1] if stack.dates else "",
        f"{stack.longest_gap} d",
        ", ".join(stack.platforms),
        size_text(stack.bytes),
    )
