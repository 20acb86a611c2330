"""``skystage derive labels``: values of staged labels as a table."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from skystage.cli.output import DONE, FAILED, NOTHING, out_json, say


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("plan", type=Path)
    parser.add_argument("--store", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "-o", dest="output", type=Path, required=True, metavar="FILE", help=".csv, .json or .parquet"
    )
    parser.add_argument(
        "--value",
        action="append",
        type=_named,
        metavar="NAME=PATH",
        help="a value by its path, as incidence=Caminfo.Geometry.IncidenceAngle; repeatable"
        " (default: the query's labels)",
    )
    parser.add_argument("--asset", metavar="KEY", help="the label's key (default: the query's)")


def run(arguments: argparse.Namespace) -> int:
    """Write the table, and name what could not be read."""
    from skystage.cli.arguments import keep
    from skystage.derive import labels
    from skystage.errors import QueryError
    from skystage.plan import Plan
    from skystage.store import Store

    keep(arguments.output, arguments.plan)
    if arguments.output.suffix not in labels.SUFFIXES:
        raise QueryError(f"-o: got {str(arguments.output)!r}", hint=f"allowed: {', '.join(labels.SUFFIXES)}")
    plan = Plan(arguments.plan)
    plan.check()
    asked: Mapping[str, Mapping[str, str]] = plan.query.get("labels", {})
    key = arguments.asset or asked.get("asset")
    values = dict(arguments.value or asked.get("values", {}))
    if not key or not values:
        missing = "--value" if key else "--asset"
        raise QueryError(
            f"{missing}: missing", hint="the plan's query has no labels: say which, and what of them"
        )
    found = labels.table(plan, Store(arguments.store, read_only=True), str(key), values)
    labels.write(found, arguments.output)
    if arguments.json:
        out_json(
            labels=found.labels, values=len(found.rows), failures=[str(error) for error in found.failures]
        )
    say(f"read     {found.labels:,} labels, {len(found.rows):,} values")
    for error in found.failures:
        say(f"failed   {error}")
    say(f"table    {arguments.output}")
    if found.failures:
        return FAILED
    return DONE if found.rows else NOTHING


def _named(text: str) -> tuple[str, str]:
    """A value's name and path."""
    name, _, path = text.partition("=")
    if not (name and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PATH")
    return name, path
