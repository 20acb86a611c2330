"""Elevation models: the tiles and the geoid that a stack of granules needs, as assets of the plan.

For each stack one companion: the tiles below the union of its footprints and a margin. Which tiles there
are says the index that dem-stitcher ships; the hosts are asked nothing but sizes. A cell without a tile is
sea if the Copernicus DEM, which covers all land, has none there either; else the model does not cover it,
and that is named. `skystage.derive.dem` stitches what was staged.
"""

from __future__ import annotations

import difflib
import importlib.util
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from skystage.archives import Companions
from skystage.errors import Forbidden, NotFound, QueryError, SkystageError, TransferError
from skystage.model import Asset, Companion, Granule, Json, Source, Unresolved
from skystage.resume import Head, content_range, failure
from skystage.retry import patiently

if TYPE_CHECKING:
    from skystage.transport import Access

KEY = "dem"
GEOID = "geoid"
NOTE = "skystage:dem"
"""The property of a companion that says what was asked, and which of its cells are sea."""
NAMES = ("3dep", "glo_30", "glo_90", "nasadem", "nisar_dem", "srtm_v3")
"""The models that dem-stitcher knows; its ``glo_90_missing`` is a part of ``glo_30`` here."""
ELLIPSOIDAL = ("nisar_dem",)
"""Models whose tiles hold heights above the ellipsoid: for these there is no geoid."""
HEIGHTS = ("ellipsoid", "geoid")
CONVENTIONS = ("area", "point")
FORMATS = ("cog", "isce2", "tif")
GAPS = {"glo_30": "glo_90_missing"}
"""What fills the holes of a model: Armenia and Azerbaijan are in the 90 m tiles only."""
SHELVES = {"glo_90_missing": "glo_90"}
"""Whose folder a model's tiles lie in, where it is not its own."""
RESTRICTED = "earthdatacloud.nasa.gov"
TURN = 360.0

Box: TypeAlias = tuple[float, float, float, float]
"""West, south, east, north in degrees."""
Cell: TypeAlias = tuple[int, int]
"""A degree by a degree, named by its west and south edges; longitude -180..179."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a query's ``with: {dem: ...}`` says.

    Attributes
    ----------
    margin
        Degrees added on each side of the union of a stack's footprints.
    height
        ``ellipsoid`` (WGS 84, what processors want) or ``geoid``.
    area_or_point
        Whether a pixel's place is its upper left corner (``area``) or its middle (``point``); None is the
        model's own.
    resolution
        Seconds of arc; None is the model's own.
    format
        ``tif``, ``cog`` (Cloud Optimized GeoTIFF) or ``isce2``.
    allow_voids
        Whether pixels may stay without a height.
    """

    name: str = "glo_30"
    margin: float = 0.1
    height: str = "ellipsoid"
    area_or_point: str | None = None
    resolution: float | None = None
    format: str = "tif"
    allow_voids: bool = False

    def __post_init__(self) -> None:
        _one_of("name", self.name, NAMES)
        _one_of("height", self.height, HEIGHTS)
        _one_of("area_or_point", self.area_or_point, (None, *CONVENTIONS))
        _one_of("format", self.format, FORMATS)
        _one_of("allow_voids", self.allow_voids, (False, True))
        _number("margin", self.margin, 0, 10, "degrees, from 0 to 10")
        if self.resolution is not None:
            _number("resolution", self.resolution, 0.1, 3600, "seconds of arc, from 0.1 to 3600")
        if self.name in ELLIPSOIDAL and self.height == "geoid":
            raise QueryError(
                f"with.dem.height: got 'geoid', and {self.name} has heights above the ellipsoid only",
                hint="allowed: ellipsoid",
            )

    def to_json(self) -> dict[str, Json]:
        """As a plan records it."""
        return asdict(self)

    def but(self, **changes: Any) -> Options:
        """The same with these values; None leaves a value as it is.

        Raises
        ------
        QueryError
            If a value cannot be.
        """
        return replace(self, **{name: value for name, value in changes.items() if value is not None})


def options(given: Json) -> Options:
    """Read the value of a query's ``with: {dem: ...}``: ``true``, or a mapping of options.

    Raises
    ------
    QueryError
        With the nearest spelling.
    """
    if given is True:
        return Options()
    if not isinstance(given, Mapping):
        raise QueryError(f"with.dem: got {given!r}", hint="true, or {name: glo_30, margin: 0.1}")
    for key in given:
        _one_of("key", key, tuple(Options.__dataclass_fields__))
    return Options(**given)


def _one_of(field: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value in allowed and isinstance(value, bool) == isinstance(allowed[0], bool):
        return
    known = [str(one).lower() if isinstance(one, bool) else one for one in allowed if one is not None]
    near = difflib.get_close_matches(str(value), known, 1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    raise QueryError(f"with.dem.{field}: got {value!r}", hint=f"allowed: {', '.join(known)}{meant}")


def _number(field: str, value: Any, least: float, most: float, allowed: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise QueryError(f"with.dem.{field}: got {value!r}", hint=f"allowed: {allowed}")


# --------------------------------------------------------------------------------------------------
# Where


@dataclass(slots=True)
class Extent:
    """The longitudes and latitudes of one stack, gathered while its granules go by.

    Longitudes are arcs on a circle: those of a stack at the antimeridian lie on both ends of -180..180.
    """

    south: float = math.inf
    north: float = -math.inf
    _arcs: list[tuple[float, float]] = field(default_factory=list)

    def add(self, box: Box) -> None:
        """Take a box that does not cross the antimeridian: west, south, east, north in degrees."""
        west, south, east, north = box
        self.south, self.north = min(self.south, south), max(self.north, north)
        apart = []
        for first, last in self._arcs:
            if first <= east and west <= last:
                west, east = min(west, first), max(east, last)
            else:
                apart.append((first, last))
        self._arcs = sorted([*apart, (west, east)])

    def __bool__(self) -> bool:
        return bool(self._arcs)

    def bounds(self, margin: float) -> Box:
        """West, south, east, north with a margin; west in -180..180, and east beyond 180 where it crosses.

        It is all but the widest gap in longitude. Where less than the margins is left, it is the band
        -180..180.
        """
        again = (self._arcs[0][0] + TURN, self._arcs[0][1] + TURN)
        gaps = [(after[0] - before[1], before, after) for before, after in pairwise([*self._arcs, again])]
        width, before, after = max(gaps)
        south, north = max(self.south - margin, -90.0), min(self.north + margin, 90.0)
        if width <= 2 * margin:
            return -180.0, round(south, 9), 180.0, round(north, 9)
        west, east = after[0] - margin, before[1] + margin
        turn = math.floor((west + 180) / TURN) * TURN
        west, east = west - turn, east - turn
        if east <= west:
            east += TURN
        # Sums of decimal fractions, as people write them, without what binary ones add.
        return round(west, 9), round(south, 9), round(east, 9), round(north, 9)


def split(bounds: Box) -> tuple[Box, ...]:
    """Bounds as one box, or two where they cross the antimeridian."""
    west, south, east, north = bounds
    if east <= 180:
        return (bounds,)
    return (west, south, 180.0, north), (-180.0, south, round(east - TURN, 9), north)


def join(parts: Iterable[Box]) -> Box:
    """What `split` was given."""
    (west, south, east, north), *behind = parts
    for _, _, last, _ in behind:
        east = last + TURN
    return west, south, round(east, 9), north


def cells(bounds: Box) -> list[Cell]:
    """The cells of a degree that bounds touch with more than an edge; longitudes run on beyond 180."""
    west, south, east, north = bounds
    return [
        (lon, lat)
        for lat in range(math.floor(south), math.ceil(north))
        for lon in range(math.floor(west), math.ceil(east))
    ]


def wrapped(cell: Cell) -> Cell:
    """The same cell with its longitude in -180..179."""
    return (cell[0] + 180) % 360 - 180, cell[1]


def named(cell: Cell) -> str:
    """A cell as tiles are named: N34W119."""
    lon, lat = wrapped(cell)
    return f"{'NS'[lat < 0]}{abs(lat):02}{'EW'[lon < 0]}{abs(lon):03}"


# --------------------------------------------------------------------------------------------------
# What


def find(granules: Iterable[Granule], options_: Json, access: Access) -> Companions:
    """Give each stack the elevation tiles below it, and the geoid; or the reason why it has none.

    A granule without a stack is a stack of its own.

    Parameters
    ----------
    granules
        Those that were kept; they pass unchanged.
    options_
        ``true``, or what `Options` has.

    Raises
    ------
    QueryError
        If an option cannot be.
    SkystageError
        If dem-stitcher is not installed.
    """
    asked = options(options_)
    if importlib.util.find_spec("dem_stitcher") is None:
        raise SkystageError("with.dem: dem-stitcher is not installed", hint="pip install 'skystage[raster]'")
    from skystage import aoi

    extents: dict[str, Extent] = {}
    for granule in granules:
        extent = extents.setdefault(granule.stack or granule.id, Extent())
        if granule.geometry is not None:
            for part in aoi.parts(aoi.split(granule.geometry)):
                extent.add(_box(part["coordinates"]))
    found = [_companion(key, extent, asked) for key, extent in sorted(extents.items())]
    sized, degraded = _sized({asset.path: asset for one in found for asset in one.assets}, access)
    return Companions(granules, [_with(one, sized) for one in found], degraded)


def _box(coordinates: Any) -> Box:
    points = list(_points(coordinates))
    lons, lats = zip(*points, strict=True)
    return min(lons), min(lats), max(lons), max(lats)


def _points(coordinates: Any) -> Iterable[tuple[float, float]]:
    if isinstance(coordinates[0], int | float):
        yield coordinates[0], coordinates[1]
        return
    for part in coordinates:
        yield from _points(part)


def _companion(key: str, extent: Extent, asked: Options) -> Companion:
    if not extent:
        return _lacking(key, asked, "no granule of the stack has a footprint")
    bounds = extent.bounds(asked.margin)
    tiles: dict[Cell, Asset] = {}
    for name in filter(None, (asked.name, GAPS.get(asked.name))):
        index = _index(name)
        for cell in map(wrapped, cells(bounds)):
            if cell not in tiles and cell in index:
                tiles[cell] = _asset(KEY, f"{KEY}/{SHELVES.get(name, name)}", index[cell])
    if not tiles:
        return _lacking(key, asked, f"{asked.name} has no tile here")
    land = _index("glo_90")
    empty = [cell for cell in cells(bounds) if wrapped(cell) not in tiles]
    uncovered = [cell for cell in empty if wrapped(cell) in land]
    geoid: tuple[Asset, ...] = ()
    if (
        asked.height == "ellipsoid"
        and asked.name not in ELLIPSOIDAL
        and "://" in (url := default_geoid(asked.name))
    ):
        geoid = (_asset(GEOID, f"{KEY}/{GEOID}", url),)
    unresolved: tuple[Unresolved, ...] = ()
    if uncovered:
        reason = f"{asked.name} does not cover {', '.join(map(named, uncovered))}"
        unresolved = (Unresolved(key=KEY, reason=reason),)
    noted = {
        **asked.to_json(),
        "sea": [list(wrapped(cell)) for cell in empty if cell not in uncovered],
    }
    assets = sorted(tiles.values(), key=lambda one: one.path)
    return Companion(
        id=key,
        bounds=split(bounds),
        assets=(*assets, *geoid),
        unresolved=unresolved,
        properties={NOTE: noted},
    )


def _lacking(key: str, asked: Options, reason: str) -> Companion:
    return Companion(
        id=key,
        unresolved=(Unresolved(key=KEY, reason=reason),),
        properties={NOTE: asked.to_json()},
    )


def _asset(key: str, folder: str, url: str) -> Asset:
    name = urlsplit(url).path.rpartition("/")[2]
    host = urlsplit(url).hostname or ""
    return Asset(
        key=key,
        path=f"{folder}/{name}",
        media_type="application/zip" if name.endswith(".zip") else "image/tiff; application=geotiff",
        sources=(Source(href=url, auth="earthdata" if host.endswith(f".{RESTRICTED}") else None),),
    )


@cache
def _index(name: str) -> dict[Cell, str]:
    """The address of each cell's tile, as the index says that dem-stitcher ships."""
    with quietly():
        from dem_stitcher.datasets import get_global_dem_tile_extents

        table = get_global_dem_tile_extents(name)
    corners = table.bounds[["minx", "miny"]].round().astype(int)
    return dict(zip(zip(corners.minx.tolist(), corners.miny.tolist(), strict=True), table.url, strict=True))


def default_geoid(name: str) -> str:
    """Where the geoid of a model is: an address, or a file that dem-stitcher ships."""
    with quietly():
        from dem_stitcher.geoid import get_default_geoid_path
    return str(get_default_geoid_path(name))


@contextmanager
def quietly() -> Iterator[None]:
    """Load and use dem-stitcher without its progress bars and warnings: a library prints nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dem_stitcher import merge, stitcher

        # For good: to put them back would be wrong for another thread that is at it.
        merge.tqdm = stitcher.tqdm = _no_bar
        yield


def _no_bar(iterable: Iterable[Any], **_: object) -> Iterable[Any]:
    return iterable


# --------------------------------------------------------------------------------------------------
# How much


def _sized(assets: Mapping[str, Asset], access: Access) -> tuple[dict[str, Asset | TransferError], list[str]]:
    """The assets by path with what their hosts say of them, or the host's word that there is none."""
    degraded: dict[str, str] = {}

    def one(asset: Asset) -> Asset | TransferError:
        (source,) = asset.sources
        if source.auth is not None:
            # Behind a log-in each look would cost as much as a small file: the fetch will see.
            return asset
        try:
            size, md5 = patiently(lambda: _look(source, access))
        except (NotFound, Forbidden) as error:
            # S3 says 403 of what is not there to who may not list.
            return error
        except TransferError as error:
            degraded[source.host] = error.message
            return asset
        return replace(asset, size=size, checksums={"md5": md5} if md5 else {})

    with ThreadPoolExecutor(8) as pool:
        found = dict(zip(assets, pool.map(one, assets.values()), strict=True))
    return found, [f"{host}: {reason}" for host, reason in sorted(degraded.items())]


def _look(source: Source, access: Access) -> tuple[int | None, str | None]:
    """Size and MD5 of a file, by its first byte; None where the host does not say."""
    with access.open(source, {"Accept-Encoding": "identity", "Range": "bytes=0-0"}) as body:
        if body.head.status not in (200, 206):
            raise failure(body.head, source.href)
        return _size(body.head), _md5(body.head)


def _size(head: Head) -> int | None:
    if head.status == 200:
        return head.length
    found = content_range(head)
    return None if found is None else found[2]


def _md5(head: Head) -> str | None:
    # S3's ETag of an object that was put in one piece; of one in parts it ends in their number.
    match = _ETAG.fullmatch(head.headers.get("etag", ""))
    return match[1] if match and head.headers.get("server") == "AmazonS3" else None


_ETAG = re.compile(r'"([0-9a-f]{32})"')


def _with(companion: Companion, sized: Mapping[str, Asset | TransferError]) -> Companion:
    looked = [(asset, sized[asset.path]) for asset in companion.assets]
    gone = tuple(
        Unresolved(key=asset.key, reason=found.message)
        for asset, found in looked
        if isinstance(found, TransferError)
    )
    there = tuple(found for _, found in looked if isinstance(found, Asset))
    return replace(companion, assets=there, unresolved=(*companion.unresolved, *gone))
