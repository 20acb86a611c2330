"""Elevation models and geoids: the public buckets, and what lies behind Earthdata Login.

Every tile is where the real one is, on a grid of the real kind, and small: 300 samples a degree instead of
3600. Its heights are a smooth function of the place, so that neighbours agree, also across the antimeridian.
Where there is no land (a few boxes far out in the oceans) there is no tile. Recorded tiles and geoids take
the place of made ones.
"""

from __future__ import annotations

import io
import re
import threading
import zipfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from skystage.sandbox.accounts import EARTHDATA
from skystage.sandbox.files import Content, Made
from skystage.sandbox.messages import Reply, Request, Service, json_reply, text_reply
from skystage.sandbox.ranges import serve
from skystage.sandbox.tiff import tiled
from skystage.sandbox.world import World

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLES = 300
"""A degree of latitude, and of longitude near the equator."""
GEOID = "us_nga_egm2008_1_4326__agisoft.tif"
_PUBLIC = (
    "copernicus-dem-30m.s3.amazonaws.com",
    "copernicus-dem-90m.s3.amazonaws.com",
    "prd-tnm.s3.amazonaws.com",
    "aria-geoid.s3.us-west-2.amazonaws.com",
)
_RESTRICTED = ("data.lpdaac.earthdatacloud.nasa.gov", "nisar.asf.earthdatacloud.nasa.gov")
_MODIFIED = datetime(2022, 5, 1, 12, 0, 0, tzinfo=UTC)
_CELL = re.compile(r"([NS])(\d\d)(?:_00_)?([EW])(\d{3})", re.IGNORECASE)
_SEAS = ((-175, 25, -130, 50), (-140, -55, -80, -30), (-45, 10, -25, 36), (60, -45, 110, -15))
"""Boxes without land, as west, south, east, north in degrees."""
_NARROWER = ((85, 10), (80, 5), (75, 3), (70, 3), (60, 2), (50, 1.5))
"""From which latitude on a sample of the Copernicus DEM is how many times as wide (its product handbook)."""


def hosts(world: World) -> dict[str, Service]:
    """The buckets, and the hosts that ask for a token."""
    shelf = _Shelf(world)
    table: dict[str, Service] = dict.fromkeys(_PUBLIC, shelf.give)
    table.update(dict.fromkeys(_RESTRICTED, shelf.give_to_known))
    return table


class _Shelf:
    """The files that were asked for so far."""

    def __init__(self, world: World) -> None:
        self._accounts = world.accounts
        self._recorded = world.catalogue.elevation
        self._files: dict[str, Content | None] = {}
        self._lock = threading.Lock()

    def give(self, request: Request) -> Reply:
        """Answer as a public bucket."""
        if request.method not in ("GET", "HEAD"):
            return _error(403, "AccessDenied", "Access Denied")
        with self._lock:
            if request.path not in self._files:
                self._files[request.path] = _content(request.path, self._recorded)
            content = self._files[request.path]
        if content is None:
            return _error(404, "NoSuchKey", "The specified key does not exist.")
        return serve(request, content, [("Server", "AmazonS3")])

    def give_to_known(self, request: Request) -> Reply:
        """Answer as a host behind Earthdata Login: with a token only."""
        if self._accounts.alive(EARTHDATA, "access", request.bearer) is None:
            return json_reply(401, {"error": "invalid_token"}, {"WWW-Authenticate": "Bearer"})
        return self.give(request)


def _content(path: str, recorded: Mapping[str, Path]) -> Content | None:
    name = path.rpartition("/")[2]
    if name in recorded:
        return Made(name, "image/tiff", _MODIFIED, recorded[name].read_bytes)
    if name == GEOID:
        return Made(name, "image/tiff", _MODIFIED, _geoid)
    make = _maker(name)
    if make is None:
        return None
    kind = "application/zip" if name.endswith(".zip") else "image/tiff"
    return Made(name, kind, _MODIFIED, make)


def _maker(name: str) -> Callable[[], bytes] | None:
    """What makes the tile of that name; None where there is none."""
    found = _CELL.search(name)
    if found is None:
        return None
    south = int(found[2]) * (1 if found[1] in "Nn" else -1)
    west = int(found[4]) * (1 if found[3] in "Ee" else -1)
    if name.startswith("USGS_13_"):
        south -= 1  # named by its upper left corner
    at_sea = any(w <= west < e and s <= south < n for w, s, e, n in _SEAS)
    if not -90 <= south < 90 or not -180 <= west < 180 or (at_sea and not name.startswith("DEM_")):
        return None
    if name.endswith(".hgt.zip") or name.startswith("NASADEM_HGT_"):
        return partial(_hgt, name, west, south)
    if not name.endswith(".tif"):
        return None
    return partial(_tile, west, south, usgs=name.startswith("USGS_13_"))


def _tile(west: int, south: int, *, usgs: bool) -> bytes:
    """A degree: samples on whole degrees and between them, the first row in the north."""
    import numpy as np

    across = SAMPLES
    if not usgs:
        edge = south if south >= 0 else -south - 1
        across = round(SAMPLES / next((factor for least, factor in _NARROWER if edge >= least), 1))
    dx, dy = 1 / across, 1 / SAMPLES
    # The USGS has pixels that fill the degree, all others samples whose first lies on its corner.
    half = 0.5 if usgs else 0.0
    lon = west + (np.arange(across) + half) * dx
    lat = south + 1 - (np.arange(SAMPLES) + half) * dy
    return geotiff(_heights(lon, lat), (float(lon[0]), float(lat[0])), (dx, dy), usgs=usgs)


def _heights(lon: NDArray[np.floating], lat: NDArray[np.floating]) -> NDArray[np.float32]:
    """Metres above the geoid. Whole waves around the earth: the heights agree at the antimeridian."""
    import numpy as np

    u, v = np.radians(lon)[None, :], np.radians(lat)[:, None]
    height = 900 + 500 * np.sin(36 * u) * np.cos(18 * v) + 120 * np.sin(200 * u + 170 * v)
    # Quarters of a metre: what is smooth and rounded packs well.
    return (np.round(height * 4) / 4).astype("<f4")  # type: ignore[no-any-return]


def _geoid() -> bytes:
    """Undulations every degree, on a grid whose cells have whole degrees in their middle."""
    import numpy as np

    u, v = np.radians(np.arange(-180.0, 180.0))[None, :], np.radians(np.arange(90.0, -91.0, -1.0))[:, None]
    height = 40 * np.cos(v) * np.sin(2 * u + 1) + 30 * np.sin(3 * v)
    values = (np.round(height * 64) / 64).astype("<f4")
    return geotiff(values, (-180.0, 90.0), (1.0, 1.0), point=False)


def geotiff(
    values: NDArray[np.float32],
    first: tuple[float, float],
    step: tuple[float, float],
    *,
    usgs: bool = False,
    point: bool = True,
) -> bytes:
    """A GeoTIFF of 32-bit floats, tiled and deflated, its directory in front (TIFF 6.0, OGC GeoTIFF 1.1).

    Parameters
    ----------
    values
        Rows from the north.
    first
        Longitude and latitude of the middle of the first pixel, degrees.
    step
        Degrees from pixel to pixel.
    usgs
        NAD 83 instead of WGS 84, and pixels that are areas.
    point
        Whether pixels are samples rather than areas.
    """
    point = point and not usgs
    # A raster of points is tied by the middle of its first pixel, one of areas by its corner.
    corner = (first[0], first[1]) if point else (first[0] - step[0] / 2, first[1] + step[1] / 2)
    keys = (1, 1, 0, 3, 1024, 0, 1, 2, 1025, 0, 1, 2 if point else 1, 2048, 0, 1, 4269 if usgs else 4326)
    return tiled(
        values,
        [
            (33550, "d", (*step, 0.0)),  # the size of a pixel
            (33922, "d", (0.0, 0.0, 0.0, *corner, 0.0)),  # a pixel and its place
            (34735, "H", keys),  # the coordinate system
        ],
    )


def _hgt(name: str, west: int, south: int) -> bytes:
    """A zipped SRTM tile: big-endian integers, 1201 samples a side, the last ones those of the neighbours."""
    import numpy as np

    steps = np.arange(1201, dtype=np.float64) / 1200
    heights = np.round(_heights(west + steps, south + 1 - steps)).astype(">i2")
    cell = f"{'NS'[south < 0]}{abs(south):02}{'EW'[west < 0]}{abs(west):03}"
    inside = f"{cell.lower() if name.startswith('NASADEM') else cell}.hgt"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr(
            zipfile.ZipInfo(inside, (2015, 1, 1, 0, 0, 0)), heights.tobytes(), zipfile.ZIP_DEFLATED, 6
        )
    return packed.getvalue()


def _error(status: int, code: str, message: str) -> Reply:
    said = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n{said}'
    return text_reply(status, text, "application/xml", {"Server": "AmazonS3"})
