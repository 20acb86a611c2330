"""``skystage export``: write the plan as a list for another download tool."""

from __future__ import annotations

import argparse
from pathlib import Path

from skystage.cli.arguments import which
from skystage.cli.output import DONE, out


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("plan", type=Path)
    parser.add_argument("--format", choices=("curl", "aria2", "rclone", "urls"), required=True)
    which(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the list."""
    from skystage.export import FORMATS
    from skystage.plan import Plan

    for line in FORMATS[arguments.format](Plan(arguments.plan).chosen(arguments.batch, arguments.asset)):
        out(line)
    return DONE
