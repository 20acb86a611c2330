"""``skystage derive bands``: cut staged Sentinel-2 bands to an area, as cloud-optimised GeoTIFFs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from skystage.cli.arguments import batch, positive
from skystage.cli.output import DONE, FAILED, NOTHING, out, out_json, say

if TYPE_CHECKING:
    from skystage.canon import Json
    from skystage.derive.bands import Extracted
    from skystage.plan import Plan


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("plan", type=Path)
    parser.add_argument("--store", type=Path, required=True, metavar="DIR")
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="OUT", help="a folder")
    parser.add_argument(
        "--batch", type=batch, metavar="I/N", help="the I-th of N parts of the plan, I from 1"
    )
    parser.add_argument("--granule", action="append", default=[], metavar="ID", help="only it; repeatable")
    parser.add_argument("--band", action="append", default=[], metavar="KEY", help="only it; repeatable")
    parser.add_argument(
        "--area", metavar="AREA", help="a box, WKT, GeoJSON, a file, or `query`: the plan's own; default: all"
    )
    parser.add_argument("--clip", action="store_true", help="no data outside of the area, not of its bounds")
    parser.add_argument("--resolution", type=float, metavar="M", help="bring all bands to pixels of M metres")
    parser.add_argument(
        "--resampling", metavar="NAME", help="how: nearest, bilinear, cubic, average, mode, med, min, max"
    )
    parser.add_argument("--stack", action="store_true", help="all bands of a product in one file")
    parser.add_argument("--scale", action="store_true", help="reflectances as 32-bit floats, offset applied")
    parser.add_argument(
        "--mask-scl",
        action="append",
        default=[],
        metavar="CLASSES",
        help="no data where SCL has these: cloud, shadow, cirrus, 8,9,...",
    )
    parser.add_argument(
        "--max-cloud", type=float, metavar="PART", help="skip products with more cloud over the area, 0 to 1"
    )
    parser.add_argument("--threads", type=positive, default=1, metavar="N", help="default: 1")


def run(arguments: argparse.Namespace) -> int:
    """Cut, from the store alone."""
    from skystage.derive.bands import Options, extract_all
    from skystage.derive.sentinel2 import scene_classes
    from skystage.plan import Plan
    from skystage.store import Store

    plan = Plan(arguments.plan)
    options = Options(
        area=_area(arguments.area, plan),
        clip=arguments.clip,
        resolution=arguments.resolution,
        resampling=arguments.resampling,
        stack=arguments.stack,
        scale=arguments.scale,
        mask=scene_classes(word for given in arguments.mask_scl for word in given.split(",")),
        max_cloud=arguments.max_cloud,
    )
    found = extract_all(
        plan,
        Store(arguments.store, read_only=True),
        arguments.output,
        options,
        bands=arguments.band,
        granules=arguments.granule,
        batch=arguments.batch,
        threads=arguments.threads,
    )
    if arguments.json:
        failed = [
            {"granule": name, "error": type(error).__name__, "message": str(error)}
            for name, error in found.failures.items()
        ]
        out_json(
            made=[
                {
                    "granule": one.product,
                    "paths": list(map(str, one.paths)),
                    "already": one.already,
                    "replaced": list(map(str, one.replaced)),
                    "clouds": _clouds(one),
                }
                for one in found.made
            ],
            skipped=[
                {"granule": one.product, "reason": one.skipped, "clouds": _clouds(one)}
                for one in found.skipped
            ],
            failed=failed,
        )
    else:
        for one in found.made:
            for path in one.paths:
                out(str(path))
    for one in found.made:
        cloud = one.clouds and one.clouds.cloud
        said = "" if cloud is None else f", {cloud:.1%} cloud"
        say(f"{'already' if one.already else 'cut    '}  {one.product}: {len(one.paths)} rasters{said}")
        for path in one.replaced:
            say(f"replaced {path} (of another area, other bands or other files)")
    for one in found.skipped:
        say(f"skipped  {one.product}: {one.skipped}")
    for error in found.failures.values():
        say(f"failed   {error}")
    if found.failures:
        return FAILED
    # Lines of a plan differ in length, so a batch may be empty; and who runs batches knows about empty plans.
    if not found.made and not found.skipped and arguments.batch is None:
        say("no product in it")
        return NOTHING
    return DONE


def _area(given: str | None, plan: Plan) -> Json:
    from skystage import aoi
    from skystage.errors import PlanError

    if given is None:
        return None
    if given != "query":
        return aoi.parse(given)
    if (own := plan.query.get("area")) is None:
        raise PlanError("--area query: the plan's query has no area", hint="give one")
    return own


def _clouds(one: Extracted) -> Json:
    return None if one.clouds is None else one.clouds.to_json()
