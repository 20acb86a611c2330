"""``skystage map``: draw the footprints of a plan."""

from __future__ import annotations

import argparse
from pathlib import Path

from skystage.cli.output import DONE, out_json, say


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("plan", type=Path)
    parser.add_argument(
        "-o", dest="output", type=Path, required=True, metavar="FILE", help="*.html, *.png or *.geojson"
    )
    parser.add_argument(
        "--basemap", metavar="URL", help="tiles below an HTML map: https://HOST/{z}/{x}/{y}.png"
    )
    parser.add_argument("--attribution", default="", metavar="TEXT", help="what the tiles' owner wants read")


def run(arguments: argparse.Namespace) -> int:
    """Draw, and say what is on the map."""
    from skystage.errors import MapError
    from skystage.maps import Basemap, draw
    from skystage.searching import opened

    basemap = None
    if arguments.basemap is not None:
        basemap = Basemap(url=arguments.basemap, attribution=arguments.attribution)
    elif arguments.attribution:
        raise MapError("attribution: there is no basemap to attribute", hint="it belongs to --basemap")
    drawn = draw(opened(arguments.plan), arguments.output, basemap)
    if arguments.json:
        out_json(
            body=drawn.body,
            footprints=drawn.footprints,
            without=drawn.without,
            stacks=drawn.stacks,
            bytes=arguments.output.stat().st_size,
        )
    lacking = f", {drawn.without:,} granules without a footprint" if drawn.without else ""
    say(f"{drawn.footprints:,} footprints in {drawn.stacks:,} stacks on the map{lacking}")
    return DONE
