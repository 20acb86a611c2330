"""Areas: whatever people write becomes one canonical GeoJSON geometry, and its coverage is measured.

Coordinates are degrees of the body: longitude -180..180, latitude -90..90; on the sky right
ascension and declination. An edge is a straight line in longitude and latitude, as RFC 7946,
section 3.1.1 says, and never jumps the antimeridian: what crosses it is cut there into two parts.
Areas are exact integrals over such edges on the ellipsoid, so that they add up, and a band from
-180 to 180 or a cap around a pole needs no special case.
"""

from __future__ import annotations

import functools
import json
import math
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import shapely
from shapely.geometry import mapping, shape

from skystage import bodies
from skystage.errors import AreaError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

ALLOWED = "an area is [west, south, east, north], WKT, GeoJSON, or a file of any of these"
_CROSS = "to cross the antimeridian write west > east, as in [170, -20, -170, 20]"
_WKT = re.compile(
    r"\s*(?:SRID=(?P<srid>\d+);)?\s*(?P<wkt>(?:(?:MULTI)?(?:POINT|LINESTRING|POLYGON)|GEOMETRYCOLLECTION|"
    r"LINEARRING)\s*(?:ZM?|M)?\s*(?:\(|EMPTY\b).*)",
    re.IGNORECASE | re.DOTALL,
)
_TURN = 360.0
_PIECES = 64
"""A projected outline is cut into pieces of this part of its extent, so that edges stay where they were."""

RADII = {"moon": 1737.4e3, "mars": 3389.5e3, "mercury": 2439.4e3, "venus": 6051.8e3, "sky": 1.0}
"""Mean radii in metres, IAU WGCCRE 2015 (Archinal et al. 2018, tables 5 and 6); the sky is a unit sphere.

Of other bodies it is the radius of the sphere that their coordinates are on.
"""

# Gauss-Legendre on 0..1: with 10 nodes an edge of 180 degrees is exact to 1e-12.
_NODES, _WEIGHTS = (np.asarray(side) for side in np.polynomial.legendre.leggauss(10))
_NODES, _WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2


def parse(value: Any, *, base: Path | None = None, body: str = "earth") -> dict[str, Any]:
    """Read an area, however it is written, as one canonical GeoJSON geometry.

    Canonical means valid, closed, shells counter-clockwise, longitudes -180..180, cut at the
    antimeridian, a fixed order of vertices and parts, and no rounding. The features of a collection
    are united. A polygon that crosses itself is refused, never repaired: what it encloses is a guess.

    Parameters
    ----------
    value
        ``[west, south, east, north]`` in degrees, where west > east crosses the antimeridian; WKT or
        EWKT; GeoJSON as a mapping or text; or the path of a file: ``.json``, ``.geojson`` and ``.wkt``
        are read directly, all others (``.gpkg``, ``.shp``) through geopandas. A file's own CRS is honoured.
    base
        The folder that relative paths start from; default: the working directory.
    body
        Whose longitudes and latitudes a projected file is brought to.

    Raises
    ------
    AreaError
        In one line: what was given and what is allowed.
    """
    if isinstance(value, str):
        if match := _WKT.fullmatch(value):
            return _finish(_from_wkt(match, body))
        if value.lstrip().startswith("{"):
            return parse(_from_json(value, "GeoJSON text"), body=body)
        if len(numbers := value.strip("[] ").split(",")) == 4 and all(map(_is_number, numbers)):
            return parse([float(number) for number in numbers], body=body)
    if isinstance(value, str | Path):
        return _from_file(Path(value), base or Path(), body)
    if isinstance(value, Mapping):
        return _finish(_reproject(_from_geojson(value), _crs_member(value), body))
    if isinstance(value, Sequence):
        return _finish(_box(value))
    raise AreaError(f"area: {_short(value)} is no area", hint=ALLOWED)


def split(geometry: Mapping[str, Any]) -> dict[str, Any]:
    """A footprint whose edges stay on its side of the antimeridian: two parts where vertices jump over it.

    A step of more than 180 degrees of longitude between neighbours is a jump, one of exactly 360 a
    band. A ring that goes once around the body holds the pole of its hemisphere. Footprints that
    need nothing come back as they are; those that enclose nothing sensible are repaired, not refused.
    """
    given = _shape(geometry)
    fixed = _unwrap(given)
    return dict(geometry) if fixed is given else _mapping(_orient(fixed))


def intersects(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two geometries share at least a point."""
    return bool(_usable(a).intersects(_usable(b)))


class Area:
    """An area of interest made ready for being compared with thousands of footprints.

    Parameters
    ----------
    geometry
        What `parse` returned.
    body
        See `skystage.model.Granule`.
    """

    def __init__(self, geometry: Mapping[str, Any], body: str = "earth") -> None:
        self.body = body
        self._shape = _usable(geometry)
        shapely.prepare(self._shape)
        self._total = _area(self._shape, body)

    def intersects(self, footprint: Mapping[str, Any]) -> bool:
        """Whether a footprint shares at least a point with the area."""
        return bool(self._shape.intersects(_usable(footprint)))

    def coverage(self, footprints: Iterable[Mapping[str, Any]]) -> float:
        """The part of the area, 0..1, that the union of the footprints covers; see `coverage`."""
        near = [part for part in map(_usable, footprints) if self._shape.intersects(part)]
        if not near:
            return 0.0
        union = near[0] if len(near) == 1 else shapely.union_all(near)
        if union.covers(self._shape):
            return 1.0
        if self._total == 0:
            return 0.0
        inside = union if self._shape.covers(union) else shapely.intersection(self._shape, union)
        fraction = _area(inside, self.body) / self._total
        # Seams between frames cost a few units in the last place: an area that is covered is covered.
        return 1.0 if fraction > 1 - 1e-9 else float(fraction)


def coverage(
    area: Mapping[str, Any], footprints: Iterable[Mapping[str, Any]], *, body: str = "earth"
) -> float:
    """The part of an area, 0..1, that the union of the footprints covers, by true area on the body.

    A point is covered (1.0) or not (0.0), and so is a line: only if it lies wholly within.
    """
    return Area(area, body).coverage(footprints)


def area_m2(geometry: Mapping[str, Any], body: str = "earth") -> float:
    """The true area in square metres: on WGS 84 for the earth, else on a sphere; on the sky in steradians.

    Raises
    ------
    AreaError
        If the body is not known.
    """
    return _area(_usable(geometry), body)


def parts(geometry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The points, lines and polygons that a geometry is made of, in its order."""
    return [_mapping(part) for part in _simple(_shape(geometry))]


def to_wkt(geometry: Mapping[str, Any]) -> str:
    """The geometry as WKT, with every digit that it has."""
    return shapely.to_wkt(_shape(geometry), rounding_precision=-1)


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _box(value: Sequence[Any]) -> BaseGeometry:
    if len(value) != 4 or any(isinstance(n, bool) or not isinstance(n, int | float) for n in value):
        raise AreaError(f"area: {_short(value)} is not four numbers", hint=ALLOWED)
    west, south, east, north = map(float, value)
    _check(shapely.MultiPoint([(west, south), (east, north)]))
    if south >= north:
        raise AreaError(
            f"area: south {south:g} is not below north {north:g}",
            hint="the order is [west, south, east, north]",
        )
    if west == east:
        raise AreaError(f"area: west and east are both {west:g}", hint="for a point write POINT (lon lat)")
    width = east - west if east > west else (east - west) % _TURN
    if width == _TURN:
        return shapely.box(-180, south, 180, north)
    if width >= 350:
        raise AreaError(
            f"area: {_short(list(value))} is {width:g} degrees wide",
            hint=f"{_CROSS}; a band is exactly 360 wide",
        )
    if west > east:
        west, east = (west - _TURN, east) if east > 0 else (west, east + _TURN)
    # Without vertices between them, corners more than 180 degrees apart would read as a jump.
    return shapely.segmentize(shapely.box(west, south, east, north), _TURN / 2)


def _from_wkt(match: re.Match[str], body: str) -> BaseGeometry:
    try:
        try:
            found = shapely.from_wkt(match["wkt"])
        except shapely.GEOSException as error:
            if "do not form a closed linestring" not in str(error):
                raise
            found = shapely.from_wkt(match["wkt"], on_invalid="fix")
    except shapely.GEOSException as error:
        raise AreaError(f"area: {_short(match['wkt'])!r} is no WKT: {error}", hint=ALLOWED) from None
    return _reproject(found, match["srid"] and f"EPSG:{match['srid']}", body)


def _from_json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise AreaError(f"area: {where} is no JSON: {error}", hint=ALLOWED) from None


def _from_geojson(value: Mapping[str, Any]) -> BaseGeometry:
    kind = value.get("type")
    try:
        if kind == "Feature":
            return _from_geojson(value["geometry"])
        if kind == "FeatureCollection":
            return shapely.GeometryCollection([_from_geojson(feature) for feature in value["features"]])
        if kind == "GeometryCollection":
            return shapely.GeometryCollection([_from_geojson(part) for part in value["geometries"]])
        return _shape(value)
    except (shapely.GEOSException, shapely.errors.GeometryTypeError, *_SHAPELESS):
        raise AreaError(
            f"area: the GeoJSON {_short(kind)!r} has no geometry that can be read", hint=ALLOWED
        ) from None


# What shapely raises for mappings that are no GeoJSON depends on where they go wrong.
_SHAPELESS = (AttributeError, IndexError, KeyError, TypeError, ValueError)


def _crs_member(value: Mapping[str, Any]) -> str | None:
    """The CRS that a GeoJSON of the 2008 specification names; RFC 7946 has none."""
    try:
        return None if value.get("crs") is None else str(value["crs"]["properties"]["name"])
    except (KeyError, TypeError):
        raise AreaError(f"area: the crs {_short(value['crs'])} has no name", hint=ALLOWED) from None


def _from_file(path: Path, base: Path, body: str) -> dict[str, Any]:
    try:
        full = base / path.expanduser()
        there = full.is_file()
    except (OSError, RuntimeError, ValueError):
        there = False  # no path at all: too long, or somebody else's home
    if not there:
        raise AreaError(f"area: there is no file {_short(path)!r}", hint=ALLOWED)
    suffix = full.suffix.lower()
    try:
        if suffix in {".json", ".geojson"}:
            found = _from_json(full.read_text(encoding="utf-8-sig"), str(path))
            if isinstance(found, Mapping):
                return parse(found, body=body)
            raise AreaError(f"area: {path} holds no GeoJSON object", hint=ALLOWED)
        if suffix == ".wkt":
            if match := _WKT.fullmatch(full.read_text(encoding="utf-8-sig")):
                return _finish(_from_wkt(match, body))
            raise AreaError(f"area: {path} holds no WKT", hint=ALLOWED)
    except UnicodeDecodeError:
        raise AreaError(f"area: {path} is no text", hint=ALLOWED) from None
    try:
        import geopandas
    except ImportError:
        raise AreaError(
            f"area: {path} is neither .geojson, .json nor .wkt",
            hint="other files need geopandas: pip install geopandas",
        ) from None
    try:
        frame = geopandas.read_file(full)
    except Exception as error:  # noqa: BLE001 - each of its drivers raises errors of its own
        raise AreaError(f"area: {path} cannot be read: {_short(error)}", hint=ALLOWED) from None
    found = shapely.GeometryCollection([part for part in frame.geometry if part is not None])
    return _finish(_reproject(found, frame.crs, body))


def _reproject(found: BaseGeometry, crs: Any, body: str) -> BaseGeometry:
    """Bring coordinates to longitude and latitude in degrees, edges included."""
    if crs is None:
        return found
    try:
        source = pyproj.CRS.from_user_input(crs)
        target = pyproj.CRS("OGC:CRS84") if body == "earth" else source.geodetic_crs
        change = pyproj.Transformer.from_crs(source, target, always_xy=True)
    except pyproj.exceptions.ProjError as error:
        raise AreaError(
            f"area: the CRS {_short(crs)!r} is not known: {_short(error)}", hint=ALLOWED
        ) from None
    if not source.is_geographic and not found.is_empty:
        west, south, east, north = found.bounds
        if length := max(east - west, north - south):
            found = shapely.segmentize(found, length / _PIECES)
    return shapely.transform(found, lambda xy: np.column_stack(change.transform(xy[:, 0], xy[:, 1])))


def _check(found: BaseGeometry) -> None:
    """Refuse coordinates that are on no body."""
    for lon, lat in shapely.get_coordinates(found).tolist():
        if not (math.isfinite(lon) and math.isfinite(lat)):
            raise AreaError(f"area: the position {lon:g} {lat:g} is not finite", hint=ALLOWED)
        if abs(lat) > 90:
            raise AreaError(
                f"area: latitude {lat:.10g} is beyond -90..90", hint="longitude comes first, then latitude"
            )
        if abs(lon) > _TURN:
            raise AreaError(f"area: longitude {lon:.10g} is beyond -180..180 and 0..360", hint=ALLOWED)


def _finish(found: BaseGeometry) -> dict[str, Any]:
    """Check, cut, unite and order what was read."""
    found = shapely.force_2d(found)
    if found.is_empty:
        raise AreaError("area: the geometry is empty", hint=ALLOWED)
    _check(found)
    simple = list(_simple(found))
    if len({part.geom_type for part in simple}) > 1:
        kinds = ", ".join(sorted({part.geom_type for part in simple}))
        raise AreaError(f"area: one area cannot mix {kinds}", hint="give polygons alone")
    fixed = [_unwrap(part, refuse=True) for part in simple]
    return _mapping(_orient(fixed[0] if len(fixed) == 1 else shapely.union_all(fixed)))


def _simple(found: BaseGeometry) -> Iterable[BaseGeometry]:
    for part in shapely.get_parts(found):
        if not hasattr(part, "geoms"):
            yield shapely.LineString(part) if part.geom_type == "LinearRing" else part
        else:
            yield from _simple(part)


def _orient(found: BaseGeometry) -> BaseGeometry:
    # Edges along a pole may be long; once written, they would read as jumps.
    if _jumps(shapely.get_coordinates(found)).any():
        found = shapely.segmentize(found, _TURN / 2)
    found = shapely.normalize(found)
    # GEOS normalises shells clockwise; GeoJSON wants them counter-clockwise.
    return shapely.orient_polygons(found)


def _mapping(found: BaseGeometry) -> dict[str, Any]:
    # A 0.0 written as -0.0 would be the same place with another digest.
    found = shapely.transform(found, lambda xy: xy + 0.0)
    plain: dict[str, Any] = json.loads(json.dumps(mapping(found)))
    return plain


def _shape(geometry: Mapping[str, Any]) -> BaseGeometry:
    return shape(dict(geometry))


def _usable(geometry: Mapping[str, Any]) -> BaseGeometry:
    found = _lone_ring(geometry) or _unwrap(_shape(geometry))
    return found if found.is_valid else shapely.make_valid(found)


def _lone_ring(geometry: Mapping[str, Any]) -> BaseGeometry | None:
    """What nearly all footprints are: a polygon of one ring that stays on its side of the antimeridian.

    There are thousands of them, and handed over as WKB they cost a quarter.
    """
    if geometry["type"] != "Polygon" or len(geometry["coordinates"]) != 1:
        return None
    ring = geometry["coordinates"][0]
    east = [place[0] for place in ring]
    if len(ring) < 4 or ring[0] != ring[-1] or any(len(place) != 2 for place in ring):
        return None
    if min(east) < -180 or max(east) > 180 or max(east) - min(east) > 180:
        return None
    numbers = (number for place in ring for number in place)
    return shapely.from_wkb(struct.pack(f"<BIII{2 * len(ring)}d", 1, 3, 1, len(ring), *numbers))


def _unwrap(found: BaseGeometry, *, refuse: bool = False) -> BaseGeometry:
    """Cut at the antimeridian what jumps over it or reaches beyond; `refuse` what crosses itself."""
    xy = shapely.get_coordinates(found)
    if not (np.abs(xy[:, 0]) > 180).any() and not _jumps(xy).any():
        # Between two parts the step may be large without being one; then the next stage finds nothing.
        if refuse and not found.is_valid:
            raise _crossing(found)
        return found
    if isinstance(found, shapely.Polygon):
        shell, *holes = (_ring(ring, refuse=refuse) for ring in (found.exterior, *found.interiors))
        return functools.reduce(shapely.difference, holes, shell)
    if isinstance(found, shapely.LineString):
        return _wrap(shapely.LineString(_continue(shapely.get_coordinates(found))))
    if isinstance(found, shapely.Point):
        return _wrap(found)
    return shapely.union_all([_unwrap(part, refuse=refuse) for part in shapely.get_parts(found)])


def _crossing(found: BaseGeometry) -> AreaError:
    return AreaError(
        f"area: the polygon is not valid: {shapely.is_valid_reason(found)}",
        hint="draw it without crossing its own edge",
    )


def _jumps(xy: NDArray[np.float64]) -> NDArray[np.bool_]:
    step = np.abs(np.diff(xy[:, 0]))
    return np.asarray((step > 180) & (step != _TURN))


def _continue(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Longitudes that run on beyond 180 where they would jump."""
    turn = np.where(_jumps(xy), -np.round(np.diff(xy[:, 0]) / _TURN), 0.0)
    turns = np.concatenate([[0.0], np.cumsum(turn)])
    return np.column_stack([xy[:, 0] + turns * _TURN, xy[:, 1]])


def _ring(ring: BaseGeometry, *, refuse: bool) -> BaseGeometry:
    """What one ring encloses, cut at the antimeridian."""
    xy = _continue(shapely.get_coordinates(ring))
    if abs(xy[-1, 0] - xy[0, 0]) > 180:
        south, north = xy[:, 1].min(), xy[:, 1].max()
        if refuse and south * north <= 0:
            raise AreaError(
                f"area: the polygon goes once around the body, from latitude {south:g} to {north:g}",
                hint="an edge longer than 180 degrees is taken the short way: add vertices",
            )
        pole = math.copysign(90.0, xy[:, 1].mean())
        xy = np.vstack([xy, [(xy[-1, 0], pole), (xy[0, 0], pole), xy[0]]])
    found: BaseGeometry = shapely.Polygon(xy)
    if not found.is_valid:
        if refuse:
            raise _crossing(found)
        found = shapely.make_valid(found)
    return _wrap(found)


def _wrap(found: BaseGeometry) -> BaseGeometry:
    """Bring longitudes to -180..180, window by window, so that none inside is touched."""
    west, _, east, _ = found.bounds
    first = math.floor((west + 180) / _TURN)
    last = max(math.ceil((east + 180) / _TURN) - 1, first)
    pieces = []
    for turn in range(first, last + 1):
        window = shapely.box(turn * _TURN - 180, -90, turn * _TURN + 180, 90)
        piece = found if first == last else shapely.intersection(found, window)
        pieces.append(shapely.transform(piece, _shift(turn * _TURN)))
    if len(pieces) == 1:
        return pieces[0]
    # Where a polygon only touches the meridian, cutting leaves points and lines behind.
    simple = [part for piece in pieces for part in _simple(piece)]
    kept = [part for part in simple if shapely.get_dimensions(part) == shapely.get_dimensions(found)]
    return shapely.union_all(kept)


def _shift(by: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return lambda xy: xy - [by, 0.0]


@functools.cache
def _axis(body: str) -> tuple[float, float]:
    """Semi-major axis in metres and eccentricity."""
    if body == "earth":
        geod = pyproj.Geod(ellps="WGS84")
        return geod.a, math.sqrt(geod.es)
    size = RADII.get(body) or bodies.radius(body)
    if size is None:
        raise AreaError(f"body: {body!r} has no known size", hint=f"known: {', '.join(bodies.names())}")
    return size, 0.0


def _area(found: BaseGeometry, body: str) -> float:
    """The sum over rings of the integral of a²q/2 along longitude; q is Snyder 1987, equation 3-12."""
    a, e = _axis(body)
    total = 0.0
    for part in shapely.get_parts(found):
        if isinstance(part, shapely.Polygon):
            rings = (part.exterior, *part.interiors)
            total += sum((-1.0 if n else 1.0) * _ring_area(ring, e) for n, ring in enumerate(rings))
    return total * a * a


def _ring_area(ring: BaseGeometry, e: float) -> float:
    lon, lat = np.radians(shapely.get_coordinates(ring)).T
    sine = np.sin(lat[:-1, None] + np.diff(lat)[:, None] * _NODES)
    height = sine
    if e:
        height = (1 - e * e) / 2 * (sine / (1 - (e * sine) ** 2) + np.arctanh(e * sine) / e)
    return abs(float((np.diff(lon) * (height @ _WEIGHTS)).sum()))
