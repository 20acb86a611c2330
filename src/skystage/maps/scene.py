"""What a footprint map shows, apart from how it is drawn: features, stacks and the window they lie in.

Coordinates are degrees of the body, on the sky right ascension and declination. A body has no edge, a map
has: it is cut open along the meridian that leaves the narrowest map, and what lies beyond is moved by a turn.
So two parts on both sides of the antimeridian lie side by side, at 179.9 and 180.1.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import TypeAlias

from skystage import aoi
from skystage.errors import MapError
from skystage.model import Granule, Json

Position: TypeAlias = tuple[float, float]
Line: TypeAlias = tuple[Position, ...]

TURN = 360.0
STEEPEST = 80.0
"""Degrees: nearer to a pole a map that keeps the shape of its middle would be all width."""

PALETTE = ("#0077bb", "#ee7733", "#009988", "#ee3377", "#33bbee", "#cc3311")
"""Tol 2021, "Colour schemes", figure 3, vibrant: told apart with any colour vision, on light and dark.

Stacks take them in turn, in the order of the legend.
"""
NONE = "#8a8f98"
"""The colour of granules that belong to no stack, where others do."""

FIELDS: Mapping[str, tuple[str, ...]] = {
    "Path": ("pathNumber",),
    "Frame": ("burst.fullBurstID", "frameNumber"),
    "Platform": ("platform", "obs_collection"),
    "Direction": ("flightDirection",),
    "Mode": ("beamModeType", "instrument_name"),
    "Polarization": ("polarization",),
    "Level": ("processingLevel", "calib_level"),
    "Orbit": ("orbit",),
    "Target": ("target_name",),
}
"""What is said of a granule: a name for people, and where archives have it; the first that is there."""


@dataclass(frozen=True, slots=True)
class Part:
    """A polygon, a line or a point of a footprint.

    Attributes
    ----------
    kind
        ``polygon``, ``line`` or ``point``.
    rings
        Of a polygon the shell, counter-clockwise, then its holes, clockwise, each closed; else one line.
    """

    kind: str
    rings: tuple[Line, ...]

    @property
    def span(self) -> Position:
        """Its west and east."""
        return min(lon for lon, _ in self.rings[0]), max(lon for lon, _ in self.rings[0])

    def moved(self, by: float) -> Part:
        """The part, some degrees farther east."""
        return replace(self, rings=tuple(tuple((lon + by, lat) for lon, lat in ring) for ring in self.rings))


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A granule on the map."""

    id: str
    start: datetime | None
    stop: datetime | None
    stack: int
    """The number of its stack in `Scene.stacks`."""
    fields: tuple[str, ...]
    """One text for each of `FIELDS`; empty where the archive does not say."""
    bytes: int
    """Of its assets, as far as they are known."""
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A stack on the map: granules of one colour."""

    key: str
    colour: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the map must show, degrees; east may lie beyond 180."""

    west: float
    south: float
    east: float
    north: float

    @property
    def middle(self) -> Position:
        """Its middle."""
        return (self.west + self.east) / 2, (self.south + self.north) / 2

    @property
    def parallel(self) -> float:
        """The latitude at which a degree of longitude is drawn as wide as it is on the body."""
        return max(-STEEPEST, min(STEEPEST, self.middle[1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that a map shows.

    Attributes
    ----------
    features
        In order of stack, time and id: the order in which they are drawn.
    area
        The area of interest; empty if the query had none.
    without
        Granules of which the archive does not say where they lie.
    """

    body: str
    features: tuple[Feature, ...]
    stacks: tuple[Layer, ...]
    area: tuple[Part, ...]
    bounds: Bounds
    without: int


def gather(granules: Iterable[Granule], area: Mapping[str, Json] | None = None) -> Scene:
    """Make the scene of granules, and of the area that was asked for.

    Parameters
    ----------
    area
        A GeoJSON geometry, as `skystage.aoi.parse` returns it.

    Raises
    ------
    MapError
        If the granules are of more than one body: there is no map of two.
    """
    body = One()
    found: list[tuple[Granule, tuple[Part, ...]]] = []
    counts: Counter[str] = Counter()
    without = 0
    for granule in granules:
        body.see(granule)
        if not (drawn := parts(granule.geometry)):
            without += 1
            continue
        found.append((granule, drawn))
        counts[granule.stack] += 1
    wanted = parts(area)
    begin = cut(part.span for part in _all(found, wanted))
    order = sorted(counts, key=lambda key: (not key, natural(key)))
    places = {key: number for number, key in enumerate(order)}
    features = [_feature(granule, places[granule.stack], _beyond(drawn, begin)) for granule, drawn in found]
    features.sort(key=lambda one: (one.stack, one.start or _NEVER, one.id))
    wanted = _beyond(wanted, begin)
    return Scene(
        body=body.name,
        features=tuple(features),
        stacks=tuple(
            Layer(key=key, colour=_colour(number) if key or not number else NONE, count=counts[key])
            for key, number in places.items()
        ),
        area=wanted,
        bounds=_bounds([*(part for one in features for part in one.parts), *wanted]),
        without=without,
    )


class One:
    """The one body that granules are of."""

    def __init__(self) -> None:
        self._name = ""

    def see(self, granule: Granule) -> None:
        """Take note of a granule; one of another body is refused."""
        if self._name and granule.body != self._name:
            raise MapError(
                f"{granule.id}: is of the body {granule.body}, those before it of {self._name}",
                hint="a map shows one body: plan them apart",
            )
        self._name = granule.body

    @property
    def name(self) -> str:
        """Its name; the earth's if there were no granules."""
        return self._name or "earth"


def parts(geometry: Mapping[str, Json] | None) -> tuple[Part, ...]:
    """What a geometry is made of, cut at the antimeridian, shells counter-clockwise; nothing of nothing."""
    if geometry is None:
        return ()
    return tuple(_parts(aoi.split(geometry)))


def oriented(geometry: Mapping[str, Json]) -> Json:
    """The geometry as RFC 7946 wants it: cut at the antimeridian, shells counter-clockwise."""
    fixed = aoi.split(geometry)
    if fixed["type"] == "Polygon":
        return {**fixed, "coordinates": _rings(fixed["coordinates"])}
    if fixed["type"] == "MultiPolygon":
        return {**fixed, "coordinates": [_rings(rings) for rings in fixed["coordinates"]]}
    return fixed


def cut(spans: Iterable[Position]) -> float:
    """The longitude at which to cut a body open: the east end of the widest gap between what lies on it.

    Parameters
    ----------
    spans
        West and east of each part, degrees, -180..180.

    Returns
    -------
    float
        Degrees; what begins west of it is drawn one turn farther east. -180 if there is no gap.
    """
    ordered = sorted(spans)
    if not ordered:
        return -TURN / 2
    begin, reach = ordered[0]
    widest = begin + TURN - max(east for _, east in ordered)
    for west, east in ordered[1:]:
        if west - reach > widest:
            begin, widest = west, west - reach
        reach = max(reach, east)
    return begin


def natural(key: str) -> tuple[str | int, ...]:
    """What to sort names by so that path 35 comes before path 137."""
    return tuple(int(word) if word.isdecimal() else word for word in re.split(r"(\d+)", key))


def _colour(number: int) -> str:
    return PALETTE[number % len(PALETTE)]


_NEVER = datetime.min.replace(tzinfo=UTC)


def _all(found: Iterable[tuple[Granule, Iterable[Part]]], area: Iterable[Part]) -> Iterator[Part]:
    for _, drawn in found:
        yield from drawn
    yield from area


def _beyond(drawn: Iterable[Part], begin: float) -> tuple[Part, ...]:
    """The parts as they lie on a body that is cut open at `begin`."""
    return tuple(part.moved(TURN) if part.span[0] < begin else part for part in drawn)


def _feature(granule: Granule, stack: int, drawn: tuple[Part, ...]) -> Feature:
    return Feature(
        id=granule.id,
        start=granule.start,
        stop=granule.stop,
        stack=stack,
        fields=tuple(_said(granule.properties, names) for names in FIELDS.values()),
        bytes=sum(asset.size or 0 for asset in granule.assets),
        parts=drawn,
    )


def _said(properties: Mapping[str, Json], names: Iterable[str]) -> str:
    for name in names:
        value: Json = properties
        for word in name.split("."):
            value = value.get(word) if isinstance(value, Mapping) else None
        if isinstance(value, list):
            return "+".join(map(str, value))
        if value is not None:
            return str(value)
    return ""


def _bounds(drawn: Sequence[Part]) -> Bounds:
    if not drawn:
        return Bounds(west=-180.0, south=-90.0, east=180.0, north=90.0)
    spans = [part.span for part in drawn]
    latitudes = [lat for part in drawn for _, lat in part.rings[0]]
    return Bounds(
        west=min(west for west, _ in spans),
        south=min(latitudes),
        east=max(east for _, east in spans),
        north=max(latitudes),
    )


def _parts(geometry: Mapping[str, Json]) -> Iterator[Part]:
    kind = geometry["type"]
    if kind == "GeometryCollection":
        for one in geometry["geometries"]:
            yield from _parts(one)
        return
    members = geometry["coordinates"] if kind.startswith("Multi") else [geometry["coordinates"]]
    for member in members:
        if not member:
            continue
        if kind.endswith("Polygon"):
            yield Part("polygon", tuple(map(_line, _rings(member))))
        elif kind.endswith("LineString"):
            yield Part("line", (_line(member),))
        else:
            yield Part("point", (_line([member]),))


def _line(positions: Iterable[Sequence[float]]) -> Line:
    return tuple((float(position[0]), float(position[1])) for position in positions)


def _rings(rings: Sequence[Sequence[Sequence[float]]]) -> list[list[Sequence[float]]]:
    """The shell counter-clockwise, holes clockwise."""
    return [
        list(ring) if (_turning(ring) >= 0) == (number == 0) else list(reversed(ring))
        for number, ring in enumerate(rings)
    ]


def _turning(ring: Sequence[Sequence[float]]) -> float:
    """Twice the area that a ring encloses, in square degrees: positive if counter-clockwise."""
    west, south = ring[0][:2]
    return sum((a[0] - west) * (b[1] - south) - (b[0] - west) * (a[1] - south) for a, b in pairwise(ring))
