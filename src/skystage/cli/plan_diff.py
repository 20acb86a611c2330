"""``skystage plan-diff``: compare two plans: new, gone, reprocessed."""

from __future__ import annotations

import argparse
from pathlib import Path

from skystage.cli.output import DONE, out, out_json


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)


def run(arguments: argparse.Namespace) -> int:
    """Print what changed."""
    from skystage.plan import Plan, diff

    change = diff(Plan(arguments.old), Plan(arguments.new))
    if arguments.json:
        out_json(new=change.new, gone=change.gone, reprocessed=change.reprocessed)
    else:
        for word in ("new", "gone", "reprocessed"):
            for name in getattr(change, word):
                out(f"{word}  {name}")
    return DONE
