"""``skystage search``: ask an archive, and list what it has."""

from __future__ import annotations

import argparse
from pathlib import Path

from skystage.cli.arguments import keep, read_query
from skystage.cli.output import DONE, NOTHING, out, out_array, say, size_text


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("query", metavar="QUERY.yaml", help="- for standard input")
    parser.add_argument("--geojson", action="store_true", help="footprints as GeoJSON on stdout")
    parser.add_argument(
        "-o",
        dest="output",
        type=Path,
        metavar="FILE",
        help="*.ndjson: granules for plan --from; *.parquet: GeoParquet",
    )
    parser.add_argument("--allow-empty", action="store_true", help="exit 0 also when nothing matches")


def run(arguments: argparse.Namespace) -> int:
    """Ask, and print or write what came."""
    import tempfile

    from skystage.searching import search
    from skystage.transport import Access

    keep(arguments.output, arguments.query)
    asked = read_query(arguments.query)
    # On disk until the search has proved complete: half of an answer is none.
    with tempfile.TemporaryDirectory() as folder:
        table = arguments.output is not None and arguments.output.suffix == ".parquet"
        kept = None if table else arguments.output
        found = search(asked, kept or Path(folder) / "granules.ndjson", Access())
        if table:
            from skystage.items import found_item, write_parquet

            bodies = {granule.body for granule in found.granules()}
            write_parquet(arguments.output, [found_item(one) for one in found.granules()], bodies)
        if arguments.geojson:
            from skystage.maps.geojson import feature

            out_array({"type": "FeatureCollection"}, "features", map(feature, found.granules()))
        elif arguments.json:
            counts = {
                "hits": found.hits,
                "received": found.received,
                "truncated": found.truncated,
                "notes": found.notes,
            }
            out_array(counts, "granules", (granule.to_json() for granule in found.granules()))
        elif arguments.output is None:
            for granule in found.granules():
                size = sum(asset.size or 0 for asset in granule.assets)
                when = "" if granule.start is None else f"{granule.start:%Y-%m-%d %H:%M:%S}"
                out(f"{granule.id}  {when}  {granule.stack}  {size_text(size)}")
    say(*found.notes)
    say(f"{found.count:,} granules of {found.hits:,}{', truncated' if found.truncated else ''}")
    return DONE if found.count or arguments.allow_empty else NOTHING
