"""``skystage plan``: search, filter and freeze into a plan file."""

from __future__ import annotations

import argparse
from pathlib import Path

from skystage.cli.arguments import keep, read_query
from skystage.cli.output import DONE, NOTHING, out_array, out_json, say, sizes_text


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("query", metavar="QUERY.yaml", help="- for standard input")
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="PLAN.ndjson")
    parser.add_argument(
        "--from",
        dest="searched",
        type=Path,
        metavar="GRANULES.ndjson",
        help="what `skystage search -o` found: filter it instead of searching again",
    )
    parser.add_argument("--explain", action="store_true", help="list every dropped granule with its reason")
    parser.add_argument("--allow-empty", action="store_true", help="exit 0 also when nothing is kept")


def run(arguments: argparse.Namespace) -> int:
    """Make the plan and say what it holds."""
    from skystage.planning import build
    from skystage.searching import SearchFile
    from skystage.transport import Access

    keep(arguments.output, arguments.query, arguments.searched)
    asked = read_query(arguments.query)
    searched = None if arguments.searched is None else SearchFile(arguments.searched)
    made = build(asked, arguments.output, Access(), searched=searched)
    header, totals = made.header, made.header.totals
    if arguments.json:
        counts = {
            "granules": totals.granules,
            "assets": totals.assets,
            "bytes": totals.bytes,
            "paid": totals.paid,
            "paid_bytes": totals.paid_bytes,
            "paid_unsized": totals.paid_unsized,
            "hits": header.hits,
            "truncated": header.truncated,
            "unresolved": totals.unresolved,
            "degraded": list(header.degraded),
            "dropped": dict(totals.dropped),
            "notes": list(header.notes),
            "digest": header.digest,
        }
        if arguments.explain:
            drops = ({"id": drop.id, "reason": drop.reason} for drop in made.dropped())
            out_array(counts, "explained", drops)
        else:
            out_json(**counts)
    say(*header.notes)
    size = sizes_text(totals.bytes, totals.unsized)
    say(f"kept     {totals.granules:>7,} granules, {totals.assets:,} assets, {size}")
    if totals.paid:
        size = sizes_text(totals.paid_bytes, totals.paid_unsized)
        say(f"paid     {totals.paid:>7,} assets, {size}: the requester pays for them")
    for reason, count in totals.dropped.items():
        say(f"dropped  {count:>7,} {reason}")
    if arguments.explain and not arguments.json:
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
