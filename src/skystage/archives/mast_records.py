"""What MAST's rows say: an observation as a granule, a product as one of its files.

Rows are kept as they are, under the archive's own names. What is decided here: where an observation is on the
sky, when it was, and where its files lie.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

from skystage.archives import records
from skystage.archives.paths import component, directory
from skystage.model import Asset, Granule, Json, Source

if TYPE_CHECKING:
    from skystage.archives.portal import Position

ARCHIVE = "mast"
BUCKET = "stpubdata"
SOURCES = ("s3", "https")
"""Where a file can be had: the public bucket, or MAST itself."""
_DOWNLOAD = "https://mast.stsci.edu/api/v0.1/Download/file?uri="
_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
"""Where the Modified Julian Date begins."""
_CORNERS = 32
"""Of the polygon that stands for a circle."""
PUBLIC = "PUBLIC"
_MEDIA = {
    "csv": "text/csv",
    "fits": "application/fits",
    "gif": "image/gif",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": "application/json",
    "pdf": "application/pdf",
    "png": "image/png",
    "txt": "text/plain",
    "xml": "application/xml",
}


@records.whole("MAST", lambda row: row.get("obs_id") or row["obsid"])
def granule(row: Mapping[str, Json], *, shared: bool = False) -> Granule:
    """One observation.

    Parameters
    ----------
    shared
        Whether another observation has the same ``obs_id``: then the ``obsid`` tells them apart.
    """
    obsid, collection = said(row, "obsid"), said(row, "obs_collection")
    name = str(row.get("obs_id") or obsid)
    start = moment(row.get("t_min"))
    return Granule(
        archive=ARCHIVE,
        collection=collection,
        id=f"{name}_{obsid}" if shared else name,
        native_id=obsid,
        start=start,
        stop=moment(row.get("t_max")) or start,
        body="sky",
        geometry=region(row.get("s_region")) or point(row.get("s_ra"), row.get("s_dec")),
        stack=str(row.get("target_name") or collection),
        properties=row,
    )


@records.whole("MAST", lambda row: row.get("productFilename") or row["dataURI"])
def asset(row: Mapping[str, Json]) -> Asset:
    """One product, with MAST itself as its source."""
    name, uri = said(row, "productFilename"), said(row, "dataURI")
    size = row.get("size")
    public = row.get("dataRights") in (None, PUBLIC)
    place = (ARCHIVE, directory(str(row["obs_collection"])), directory(str(row["obs_id"])), component(name))
    return Asset(
        key=name,
        path="/".join(place),
        size=size if isinstance(size, int) and size > 0 else None,
        media_type=media_type(name),
        sources=(
            Source(href=f"{_DOWNLOAD}{quote(uri, safe=':/')}", auth="mast" if public else "mast-exclusive"),
        ),
        properties={key: value for key, value in row.items() if key != "size"},
    )


def said(row: Mapping[str, Json], column: str) -> str:
    """What a row says in a column that has to say something.

    Raises
    ------
    LookupError, ValueError
        If it does not.
    """
    value = row[column]
    if value in (None, ""):
        raise ValueError(f"{column}: it is empty")
    return str(value)


def media_type(name: str) -> str | None:
    """What a file is, by the ending of its name."""
    return _MEDIA.get(name.rpartition(".")[2].lower())


def sources(found: Asset, key: str | None, wanted: Sequence[str]) -> tuple[Source, ...]:
    """The sources of a product in the order that is wanted.

    Parameters
    ----------
    key
        Its place in the public bucket; None where it does not lie there.
    """
    there = {"https": found.sources[0]}
    if key is not None:
        there["s3"] = Source(href=f"s3://{BUCKET}/{key}")
    return tuple(there[kind] for kind in wanted if kind in there)


# --------------------------------------------------------------------------------------------------
# Time and place


def moment(mjd: Json) -> datetime | None:
    """A Modified Julian Date (UTC, days) as a time, to the microsecond."""
    try:
        return None if mjd is None else _EPOCH + timedelta(days=float(mjd))
    except (OverflowError, TypeError, ValueError):
        return None


def mjd(when: datetime) -> float:
    """A time as a Modified Julian Date, in days."""
    return (when - _EPOCH) / timedelta(days=1)


def point(ra: Json, dec: Json) -> dict[str, Json] | None:
    """A position in degrees as GeoJSON; None where it is not known."""
    if not _on_sky(ra, dec):
        return None
    return {"type": "Point", "coordinates": [_turned(float(ra)), float(dec)]}


def region(said: Json) -> dict[str, Json] | None:
    """A footprint as GeoJSON: of the form ``POLYGON ICRS ra dec ...``, ``CIRCLE ICRS ra dec radius`` (STC-S).

    Right ascension -180..180 and declination in degrees. Several parts are one geometry. None where it says
    anything else.
    """
    from skystage import aoi

    try:
        rings = [_ring(kind, numbers) for kind, numbers in _parts(str(said or ""))]
    except ValueError:
        return None
    if not rings:
        return None
    polygons = [[[list(corner) for corner in ring]] for ring in rings]
    if len(polygons) == 1:
        return aoi.split({"type": "Polygon", "coordinates": polygons[0]})
    return aoi.split({"type": "MultiPolygon", "coordinates": polygons})


def _parts(said: str) -> Iterator[tuple[str, list[float]]]:
    kind, numbers = "", list[float]()
    for word in said.replace("(", " ").replace(")", " ").split():
        if word.upper() in ("POLYGON", "CIRCLE"):
            if kind:
                yield kind, numbers
            kind, numbers = word.upper(), []
        elif word[0] in "+-.0123456789":
            numbers.append(float(word))
        elif numbers or word.upper() not in _FRAMES:
            raise ValueError(word)
    if kind:
        yield kind, numbers


_FRAMES = ("ICRS", "FK5", "J2000", "GSC1", "UNION", "TOPOCENTER", "UNKNOWNFRAME")
"""Words that may stand before the numbers: frames that differ by less than an arc second from each other."""


def _ring(kind: str, numbers: list[float]) -> list[tuple[float, float]]:
    if kind == "CIRCLE":
        ra, dec, radius = numbers  # a ValueError, where there are more or fewer
        ring = circle((ra, dec, radius))
    else:
        ring = list(zip(numbers[::2], numbers[1::2], strict=True))
    if ring[:1] != ring[-1:]:
        ring.append(ring[0])
    if len(ring) < 4 or not all(_on_sky(*corner) for corner in ring):
        raise ValueError(kind)
    return [(_turned(ra), dec) for ra, dec in ring]


def circle(position: Position) -> list[tuple[float, float]]:
    """The corners of a polygon around a position, at its radius (all in degrees)."""
    ra, dec, radius = map(math.radians, position)
    found = []
    for corner in range(_CORNERS):
        angle = 2 * math.pi * corner / _CORNERS
        height = math.sin(dec) * math.cos(radius) + math.cos(dec) * math.sin(radius) * math.cos(angle)
        east = math.sin(angle) * math.sin(radius) * math.cos(dec)
        north = math.cos(radius) - math.sin(dec) * height
        found.append((math.degrees(ra + math.atan2(east, north)) % 360, math.degrees(math.asin(height))))
    return [*found, found[0]]


def separation(one: tuple[float, float], other: tuple[float, float]) -> float:
    """The angle between two positions, all in degrees."""
    (ra, dec), (ra2, dec2) = ([math.radians(angle) for angle in place] for place in (one, other))
    half = math.sin((dec2 - dec) / 2) ** 2 + math.cos(dec) * math.cos(dec2) * math.sin((ra2 - ra) / 2) ** 2
    return math.degrees(2 * math.asin(min(1.0, math.sqrt(half))))


def _turned(ra: float) -> float:
    """Right ascension as -180..180."""
    return ra - 360 if ra > 180 else ra


def _on_sky(ra: Json, dec: Json) -> bool:
    return (
        isinstance(ra, int | float)
        and isinstance(dec, int | float)
        and -360 <= ra <= 360
        and -90 <= dec <= 90
    )
