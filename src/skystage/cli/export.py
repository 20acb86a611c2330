"""``skystage export``: write the plan as a list for another download tool."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from skystage.cli.arguments import which
from skystage.cli.output import DONE, out, say

if TYPE_CHECKING:
    from skystage.model import Asset


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("plan", type=Path)
    parser.add_argument("--format", choices=("curl", "aria2", "rclone", "urls"), required=True)
    which(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the list."""
    from skystage.export import FORMATS
    from skystage.plan import Plan

    tokens = 0

    def counted(assets: Iterable[Asset]) -> Iterator[Asset]:
        nonlocal tokens
        for asset in assets:
            tokens += any(source.auth == "cdse" for source in asset.sources)
            yield asset

    chosen = Plan(arguments.plan).chosen(arguments.batch, arguments.asset)
    for line in FORMATS[arguments.format](counted(chosen)):
        out(line)
    if tokens:
        say(f"{tokens:,} files want an access token of the Copernicus Data Space: netrc will not do there")
    return DONE
