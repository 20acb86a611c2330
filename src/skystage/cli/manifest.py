"""``skystage manifest``: write what is staged as a STAC ItemCollection, or as astroquery's table."""

from __future__ import annotations

import argparse
from pathlib import Path

from skystage.cli.output import DONE, FAILED, out_json, say


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("plan", type=Path)
    parser.add_argument("--store", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "-o", dest="output", type=Path, required=True, metavar="ITEMS.{json,parquet,ecsv,csv}"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write it."""
    from skystage.manifest import write
    from skystage.plan import Plan
    from skystage.store import Store

    written = write(Plan(arguments.plan), Store(arguments.store, read_only=True), arguments.output)
    if arguments.json:
        out_json(
            items=written.items, assets=written.assets, released=written.released, missing=written.missing
        )
    say(f"{written.items:,} items, {written.assets:,} assets in {arguments.output}")
    if written.released:
        say(f"{written.released:,} of them are released: their hrefs lead to the archive")
    if written.missing:
        listed = "listed in it as ERROR" if arguments.output.suffix in (".ecsv", ".csv") else "not in it"
        say(f"{written.missing:,} planned assets are not staged and {listed}")
    return FAILED if written.missing else DONE
