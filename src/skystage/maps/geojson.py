"""Footprints as GeoJSON: RFC 7946, one feature a line, in the plan's order, equal for equal plans.

Positions have every digit that the archive gave. Section 4 of the RFC knows the earth only: for other bodies
and the sky, the member ``body`` of the collection says whose degrees these are.
"""

from __future__ import annotations

from pathlib import Path

from skystage.maps import Drawn
from skystage.maps.scene import One, oriented
from skystage.model import Granule, Json, canonical, iso
from skystage.plan import Plan


def write(plan: Plan, path: Path) -> Drawn:
    """Write the kept granules of a plan; none of them is held in memory.

    Those that lie nowhere are features without geometry. The area that was asked for is the member ``area``.

    Raises
    ------
    MapError
        If they are of more than one body.
    """
    body, stacks = One(), set()
    footprints = without = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"type":"FeatureCollection","features":[')
        for number, granule in enumerate(plan.granules()):
            body.see(granule)
            known = granule.geometry is not None
            footprints, without = footprints + known, without + (not known)
            stacks.add(granule.stack)
            file.write(f"{',' if number else ''}\n{canonical(feature(granule))}")
        about = {"area": plan.header.query.get("area"), "body": body.name}
        file.write(f"\n],{canonical(about)[1:]}\n")
    return Drawn(body=body.name, footprints=footprints, without=without, stacks=len(stacks))


def feature(granule: Granule) -> dict[str, Json]:
    """A granule as a feature."""
    return {
        "type": "Feature",
        "id": granule.id,
        "geometry": None if granule.geometry is None else oriented(granule.geometry),
        "properties": {
            **granule.properties,
            "start": None if granule.start is None else iso(granule.start),
            "stop": None if granule.stop is None else iso(granule.stop),
            "stack": granule.stack,
            "collection": granule.collection,
        },
    }
