"""``skystage derive dem``: stitch staged tiles into one elevation raster a stack."""

from __future__ import annotations

import argparse
from pathlib import Path

from skystage.cli.output import DONE, FAILED, out, out_json, say


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("plan", type=Path)
    parser.add_argument("--store", type=Path, required=True, metavar="DIR")
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="OUT", help="a folder")
    parser.add_argument("--stack", action="append", default=[], metavar="KEY", help="only it; repeatable")
    parser.add_argument("--height", metavar="ABOVE", help="ellipsoid or geoid; default: the query's")
    parser.add_argument("--area-or-point", metavar="WHAT", help="area or point; default: the query's")
    parser.add_argument("--resolution", type=float, metavar="ARCSEC", help="default: the query's")
    parser.add_argument("--format", metavar="F", help="tif, cog or isce2; default: the query's")


def run(arguments: argparse.Namespace) -> int:
    """Stitch, from the store alone."""
    from skystage.derive.dem import stitch
    from skystage.plan import Plan
    from skystage.store import Store

    found = stitch(
        Plan(arguments.plan),
        Store(arguments.store, read_only=True),
        arguments.output,
        stacks=arguments.stack,
        height=arguments.height,
        area_or_point=arguments.area_or_point,
        resolution=arguments.resolution,
        format=arguments.format,
    )
    if arguments.json:
        made = [
            {
                "stack": one.stack,
                "path": str(one.path),
                "files": list(map(str, one.files)),
                "already": one.already,
                "replaced": one.replaced,
            }
            for one in found.made
        ]
        failed = [
            {"stack": stack, "error": type(error).__name__, "message": str(error)}
            for stack, error in found.failures.items()
        ]
        out_json(made=made, failed=failed)
    else:
        for one in found.made:
            out(str(one.path))
    for one in found.made:
        instead = " (instead of one of another extent or other tiles)" if one.replaced else ""
        say(f"{'already ' if one.already else 'stitched'} {one.stack}: {one.path}{instead}")
    for error in found.failures.values():
        say(f"failed   {error}")
    return FAILED if found.failures else DONE
