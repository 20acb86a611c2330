"""``skystage derive lightcurves``: staged light curves as tables and pictures."""

from __future__ import annotations

import argparse
from pathlib import Path

from skystage.cli.arguments import keep, on_a_store
from skystage.cli.output import DONE, FAILED, NOTHING, out, out_json, say


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    on_a_store(parser)
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="OUT", help="a folder")
    parser.add_argument("--format", default="parquet", metavar="NAME", help="parquet (default) or ecsv")
    parser.add_argument(
        "--picture", action=argparse.BooleanOptionalAction, default=True, help="a PNG beside each; default"
    )
    parser.add_argument(
        "--flux",
        default="corrected",
        metavar="NAME",
        help="corrected (default), raw, or a column: pdcsap, sap, ...",
    )
    parser.add_argument(
        "--quality",
        default="default",
        metavar="MASK",
        help="flags that make a cadence bad: default, hard, none, or their sum",
    )
    parser.add_argument("--together", type=Path, metavar="FILE", help="also all of them in one Parquet file")


def run(arguments: argparse.Namespace) -> int:
    """Read, write and draw, from the store alone."""
    from skystage.derive.lightcurves import Options, extract_all
    from skystage.plan import Plan
    from skystage.store import Store

    options = Options(
        format=arguments.format,
        picture=arguments.picture,
        flux=arguments.flux,
        quality=arguments.quality,
    )
    keep(arguments.together, arguments.plan)
    found = extract_all(
        Plan(arguments.plan),
        Store(arguments.store, read_only=True),
        arguments.output,
        options,
        batch=arguments.batch,
        keys=arguments.asset or (),
        together=arguments.together,
    )
    if arguments.json:
        out_json(
            made=[
                {
                    "source": one.source,
                    "table": str(one.table),
                    "picture": None if one.picture is None else str(one.picture),
                    "already": one.already,
                    **one.summary,
                }
                for one in found.made
            ],
            skipped=[{"source": one.source, "reason": one.skipped} for one in found.skipped],
            failed=[
                {"source": name, "error": type(error).__name__, "message": str(error)}
                for name, error in found.failures.items()
            ],
            rows=found.rows,
        )
    else:
        for one in found.made:
            for path in filter(None, (one.table, one.picture)):
                out(str(path))
    for one in found.made:
        said = one.summary
        about = ", ".join(filter(None, (said["target"], said["mission"], said["segment"])))
        say(
            f"{'already' if one.already else 'made   '}  {one.source}: {about}: "
            f"{said['good']:,} good of {said['cadences']:,} cadences"
        )
    for one in found.skipped:
        say(f"skipped  {one.source}: {one.skipped}")
    for error in found.failures.values():
        say(f"failed   {error}")
    if found.rows is not None:
        say(f"{found.rows:,} cadences in {arguments.together}")
    if found.failures:
        return FAILED
    if not found.made:
        say("no light curve in it")
        return NOTHING
    return DONE
