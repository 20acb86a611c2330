"""Granules as STAC items, and items as GeoParquet.

A geometry is in degrees of its granule's body, and a file of geometries says which coordinate system that is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterator
from pathlib import Path

from skystage import multihash
from skystage.errors import SkystageError
from skystage.model import Asset, Granule, Json, iso
from skystage.verify import strongest
from skystage.whole import whole

STAC = "1.1.0"
EXTENSIONS = [
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/alternate-assets/v1.2.0/schema.json",
]


def item(granule: Granule, assets: dict[str, Json]) -> dict[str, Json]:
    """A granule as an item with these assets."""
    times: dict[str, Json] = {"datetime": None}
    if granule.start is not None and granule.stop is not None:
        times = {
            "datetime": iso(granule.start),
            "start_datetime": iso(granule.start),
            "end_datetime": iso(granule.stop),
        }
    found: dict[str, Json] = {
        "type": "Feature",
        "stac_version": STAC,
        "stac_extensions": EXTENSIONS,
        "id": granule.id,
        "geometry": granule.geometry,
        "properties": {
            **granule.properties,
            **times,
            "skystage:archive": granule.archive,
            # STAC's own field must be a link to a collection's document, and archives have none.
            "skystage:collection": granule.collection,
            "skystage:stack": granule.stack,
        },
        "links": [],
        "assets": assets,
    }
    if granule.geometry is not None:
        found["bbox"] = bbox(granule.geometry)
    if granule.body != "earth":
        found["properties"]["ssys:targets"] = [granule.body.capitalize()]
    if granule.unresolved:
        found["properties"]["skystage:unresolved"] = [missing.to_json() for missing in granule.unresolved]
    return found


def found_item(granule: Granule) -> dict[str, Json]:
    """A granule as an item whose assets lie at the archive."""
    return item(granule, {asset.key: _asset(asset) for asset in granule.assets if asset.sources})


def _asset(asset: Asset) -> dict[str, Json]:
    first, *others = asset.sources
    out: dict[str, Json] = {"href": first.href, "roles": ["data" if asset.key == "data" else asset.key]}
    if asset.size is not None:
        out["file:size"] = asset.size
    if (algorithm := strongest(asset.checksums)) is not None:
        out["file:checksum"] = multihash.write(algorithm, asset.checksums[algorithm])
    if asset.media_type is not None:
        out["type"] = asset.media_type
    if others:
        out["alternate"] = {f"source-{n}": {"href": source.href} for n, source in enumerate(others, 2)}
    return out


def bbox(geometry: Json) -> list[float]:
    """West, south, east, north; west > east where the parts lie on both sides of the antimeridian."""
    parts = [list(_points(part)) for part in _parts(geometry)]
    boxes = [(min(x), min(y), max(x), max(y)) for x, y in (zip(*part, strict=True) for part in parts)]
    south, north = min(box[1] for box in boxes), max(box[3] for box in boxes)
    west, east = min(box[0] for box in boxes), max(box[2] for box in boxes)
    if west == -180 and east == 180 and len(boxes) > 1:
        west = min(box[0] for box in boxes if box[2] == 180)
        east = max(box[2] for box in boxes if box[0] == -180)
    return [west, south, east, north]


def _parts(geometry: Json) -> Iterator[Json]:
    """The coordinates of each part."""
    if geometry["type"] == "GeometryCollection":
        for one in geometry["geometries"]:
            yield from _parts(one)
    elif geometry["type"].startswith("Multi"):
        yield from geometry["coordinates"]
    else:
        yield geometry["coordinates"]


def _points(coordinates: Json) -> Iterator[tuple[float, float]]:
    if isinstance(coordinates[0], int | float):
        yield coordinates[0], coordinates[1]
        return
    for part in coordinates:
        yield from _points(part)


def the_body(bodies: Collection[str]) -> str:
    """The body of granules that are to lie in one coordinate system; of none the earth.

    Raises
    ------
    SkystageError
        If there are several.
    """
    if len(bodies) > 1:
        raise SkystageError(
            f"footprints on {', '.join(sorted(bodies))}: one table has one coordinate system",
            hint="filter: {body: NAME}",
        )
    return next(iter(bodies), "earth")


_NOWHERE: Json = {"type": "GeometryCollection", "geometries": []}


def write_parquet(path: Path, items: list[Json], bodies: Collection[str]) -> None:
    """Write items as GeoParquet, in the coordinate system of their body.

    Raises
    ------
    SkystageError
        Without the packages that write it, or of several bodies.
    """
    body = the_body(bodies)
    try:
        import rustac
    except ImportError as error:
        raise SkystageError(
            f"{path}: GeoParquet needs the package rustac", hint="pip install 'skystage[parquet]'"
        ) from error
    # The package does not take an item without a footprint: an empty one says the same.
    placed = [{**one, "geometry": one["geometry"] or _NOWHERE} for one in items]
    with whole(path) as part:

        async def run() -> None:
            await rustac.write(str(part), placed)

        asyncio.run(run())
        if body != "earth":
            _place(part, body)


def _place(path: Path, body: str) -> None:
    """Say in a file which body it is about: where it says nothing, it is the earth (GeoParquet 1.1)."""
    import pyproj

    from skystage import bodies

    try:
        from pyarrow import parquet
    except ImportError as error:
        raise SkystageError(
            f"{path}: GeoParquet of {body} needs the package pyarrow", hint="pip install 'skystage[geo]'"
        ) from error
    table = parquet.read_table(path)
    geo = json.loads(parquet.read_metadata(path).metadata[b"geo"])
    system = bodies.crs(body)
    for column in geo["columns"].values():
        column["crs"] = None if system is None else pyproj.CRS(system).to_json_dict()
    parquet.write_table(table.replace_schema_metadata({b"geo": json.dumps(geo).encode()}), path)
