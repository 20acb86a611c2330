"""``skystage derive sheet``: draw small pictures of Sentinel-2 products, in time order, as one PNG."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from skystage.cli.output import DONE, FAILED, out, out_json, say


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument(
        "given", type=Path, metavar="PLAN|FOLDER", help="a plan with its store, or what `derive bands` made"
    )
    parser.add_argument("--store", type=Path, metavar="DIR", help="of the plan")
    parser.add_argument(
        "--made",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="only what these runs made: what `derive bands --json` printed",
    )
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="FILE", help="*.png")
    parser.add_argument(
        "--show", metavar="WHAT", help="TCI, RGB, SCL or a band's key; default: the first there is"
    )


def run(arguments: argparse.Namespace) -> int:
    """Draw, from what is staged or made."""
    from skystage.derive import sheet
    from skystage.errors import MapError, QueryError
    from skystage.plan import Plan
    from skystage.store import Store

    if arguments.output.suffix.lower() != ".png":
        raise MapError(f"-o: {arguments.output} is no .png", hint="a sheet is a PNG")
    # Runs that made nothing made no folder.
    if arguments.given.is_dir() or (arguments.made is not None and not arguments.given.exists()):
        if arguments.store is not None:
            raise QueryError("--store: is for a plan", hint=f"{arguments.given} is a folder")
        shots = sheet.of_folder(arguments.given, _made(arguments.made))
    else:
        if arguments.made is not None:
            raise QueryError("--made: is for a folder", hint=f"{arguments.given} is none")
        plan = Plan(arguments.given)
        if arguments.store is None:
            raise QueryError("--store: where are the bands of the plan?", hint="--store DIR")
        shots = sheet.of_plan(plan, Store(arguments.store, read_only=True))
    drawn = sheet.draw(shots, arguments.output, arguments.show)
    if arguments.json:
        out_json(
            path=str(arguments.output),
            shown=drawn.shown,
            products=list(drawn.products),
            failed=[
                {"granule": name, "error": type(error).__name__, "message": str(error)}
                for name, error in drawn.failures.items()
            ],
        )
    else:
        out(str(arguments.output))
    say(f"{len(drawn.products):,} products on the sheet, {drawn.shown}")
    for error in drawn.failures.values():
        say(f"failed   {error}")
    return FAILED if drawn.failures else DONE


def _made(receipts: Sequence[Path] | None) -> list[Path] | None:
    """The rasters of some runs."""
    import json

    from skystage.errors import QueryError

    if receipts is None:
        return None
    found = []
    for receipt in receipts:
        try:
            products = json.loads(receipt.read_bytes())["made"]
            found += [Path(path) for product in products for path in product["paths"]]
        except (ValueError, KeyError, TypeError):
            raise QueryError(
                f"--made: {receipt} is not what `skystage derive bands --json` prints",
                hint="keep its standard output in a file",
            ) from None
    return found
