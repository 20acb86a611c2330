"""``skystage plan``: search, filter and freeze into a plan file."""

from __future__ import annotations

import argparse
from pathlib import Path

from skystage.cli.arguments import read_query
from skystage.cli.output import DONE, NOTHING, out_json, say, size_text


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("query", metavar="QUERY.yaml", help="- for standard input")
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="PLAN.ndjson")
    parser.add_argument("--explain", action="store_true", help="list every dropped granule with its reason")
    parser.add_argument("--allow-empty", action="store_true", help="exit 0 also when nothing is kept")


def run(arguments: argparse.Namespace) -> int:
    """Make the plan and say what it holds."""
    from skystage.planning import build
    from skystage.transport import Access

    made = build(read_query(arguments.query), arguments.output, Access())
    header, totals = made.header, made.header.totals
    if arguments.json:
        out_json(
            granules=totals.granules,
            assets=totals.assets,
            bytes=totals.bytes,
            hits=header.hits,
            truncated=header.truncated,
            unresolved=totals.unresolved,
            degraded=list(header.degraded),
            dropped=dict(totals.dropped),
            digest=header.digest,
        )
    say(f"kept     {totals.granules:>7,} granules, {totals.assets:,} assets, {size_text(totals.bytes)}")
    for reason, count in totals.dropped.items():
        say(f"dropped  {count:>7,} {reason}")
    if arguments.explain:
        for drop in made.dropped():
            say(f"  {drop.id}  {drop.reason}")
    for granule, missing in made.unresolved():
        say(f"unresolved  {granule}: {missing.key}: {missing.reason}")
    for host in header.degraded:
        say(f"degraded: {host}")
    if header.truncated:
        say(f"truncated: the archive has {header.hits:,}, the query asked for fewer")
    say(f"plan     {made.path}")
    something = totals.granules and (totals.assets or totals.unresolved)
    return DONE if something or arguments.allow_empty else NOTHING
