"""The built-in catalogue of Kaguya's Terrain Camera: scenes around a box on the near side of the Moon.

The tutorial on the USGS's STAC API asks three collections for the box 3, 4, 5, 6 (degrees east and north) and
prints the first and the last five of 70 items. These ten are here under their names and in their order; the
other 60, and those around the box that it leaves out, are made up. All follow one rule: a polar orbit of a
little less than two hours over a Moon that turns below it, one camera looking ahead and one back by 15
degrees, a scene every 1.37 degrees of latitude, and an hour of the day that falls from month to month.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from skystage.sandbox.tiff import Tag, tiled

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROOT = "https://g6goyz4w56.execute-api.us-west-2.amazonaws.com/prod"
"""Where the links of the real items lead."""
BUCKET, REGION = "astrogeo-ard", "us-west-2"
RADIUS = 1_737_400.0
"""Metres, of the sphere that IAU 2015 takes for the Moon."""
MADE = datetime(2023, 11, 3, 5, 49, 29, tzinfo=UTC)
_FOLDER = f"https://{BUCKET}.s3-{REGION}.amazonaws.com/moon/kaguya/terrain_camera"
_PIXEL = 300.0
"""Metres of a pixel at the equator: 30 times as much as in the real images."""
_SCALE, _NODATA = 0.013, -32768
"""Of the numbers in an image, watts per square metre, micrometre and steradian."""
_HALF_WIDTH, _HALF_HEIGHT = 0.57, 0.78
"""Degrees from the middle of a scene to its edges."""
_WESTWARD = 359.474 / 335
"""Degrees that the Moon turns in a revolution."""
_LEAN = -0.008
"""Degrees that the track goes east in a degree of latitude."""
_REVOLUTION = timedelta(days=27.321661 * _WESTWARD / 360)
_FIRST, _FIRST_TIME, _FIRST_LONGITUDE = 5187, datetime(2008, 12, 1, 6, tzinfo=UTC), 3.479
_SECONDS_A_DEGREE = 19.4
_APART = 1.7
"""Degrees of latitude that the second camera is ahead of the first one."""
_SLANT = 15.0
LETTERS = {"monoscopic": "S", "stereoscopic": "W", "spsupport": "P"}
"""In a scene's name; that of the last one is made up."""
_COLLECTION = "kaguya_terrain_camera_{}_uncontrolled_observations"
COLLECTIONS = tuple(_COLLECTION.format(kind) for kind in LETTERS)


@dataclass(frozen=True)
class Scene:
    """One image of one camera.

    Parameters
    ----------
    kind
        Part of the collection's name: ``monoscopic``, ``stereoscopic``, ``spsupport``.
    tenths
        Latitude of the middle, tenths of a degree north.
    """

    kind: str
    camera: int
    revolution: int
    tenths: int

    @property
    def name(self) -> str:
        """As JAXA names it: latitude and longitude of the middle at its end, in tenths of a degree."""
        north = f"{'NS'[self.tenths < 0]}{abs(self.tenths):03}"
        east = round(self.longitude * 10) % 3600
        return f"TC{self.camera}{LETTERS[self.kind]}2B0_01_{self.revolution:05}{north}E{east:04}"

    @property
    def collection(self) -> str:
        """The name of its collection."""
        return _COLLECTION.format(self.kind)

    @property
    def latitude(self) -> float:
        """Of the middle, degrees north."""
        return self.tenths / 10

    @cached_property
    def longitude(self) -> float:
        """Of the middle, degrees east from 0 to 360."""
        base = _FIRST_LONGITUDE - _WESTWARD * (self.revolution - _FIRST) + _LEAN * self.latitude
        return base % 360

    @cached_property
    def start(self) -> datetime:
        """When its first line was taken."""
        seen = self.latitude - _HALF_HEIGHT - (_APART if self.camera == 2 else 0)
        moment = _FIRST_TIME + (self.revolution - _FIRST) * _REVOLUTION
        return moment + timedelta(seconds=seen * _SECONDS_A_DEGREE)

    @property
    def stop(self) -> datetime:
        """When its last line was taken."""
        return self.start + timedelta(seconds=2 * _HALF_HEIGHT * _SECONDS_A_DEGREE)

    @property
    def local_time(self) -> float:
        """The hour of the day, 12 at noon."""
        return 13.5 - (self.revolution - 3500) * 6.5 / 3000

    @property
    def sun_longitude(self) -> float:
        """Where the Sun is in the zenith, on the equator; degrees east from 0 to 360."""
        return (self.longitude - 15 * (self.local_time - 12)) % 360

    @property
    def incidence(self) -> float:
        """Degrees between the Sun and the zenith."""
        hour = math.radians(15 * (self.local_time - 12))
        return math.degrees(math.acos(math.cos(math.radians(self.latitude)) * math.cos(hour)))

    @property
    def emission(self) -> float:
        """Degrees between the camera and the zenith."""
        return _SLANT * 1.06 + zlib.crc32(self.name.encode()) % 1000 / 2000

    @property
    def phase(self) -> float:
        """Degrees between the Sun and the camera: across the track, and along it."""
        across = math.cos(math.radians(self.incidence)) * math.cos(math.radians(self.emission))
        return math.degrees(math.acos(across))

    @cached_property
    def ring(self) -> list[tuple[float, float]]:
        """The footprint: longitudes from 0 to 360 (and beyond), latitudes; clockwise from the upper left."""
        half = _HALF_WIDTH / math.cos(math.radians(self.latitude))
        steps = [step / 10 for step in range(10)]
        across = [(2 * step - 1, 1.0) for step in steps]
        down = [(1.0, 1 - 2 * step) for step in steps]
        square = [*across, *down, *((-x, -y) for x, y in across), *((-x, -y) for x, y in down), (-1.0, 1.0)]
        return [
            (
                self.longitude + x * half + y * _HALF_HEIGHT * _LEAN,
                self.latitude + y * _HALF_HEIGHT + 0.002 * x,
            )
            for x, y in square
        ]

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north of the footprint, longitudes from 0 to 360 (and beyond)."""
        east, north = ([point[axis] for point in self.ring] for axis in (0, 1))
        return min(east), min(north), max(east), max(north)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of its image."""
        west, south, east, north = self.bounds
        metres = math.radians(1) * RADIUS
        return round((north - south) * metres / _PIXEL), round((east - west) * metres / _PIXEL)

    @property
    def corner(self) -> tuple[float, float]:
        """The upper left corner of its image, metres from 180 degrees east and from the equator."""
        west, _, _, north = self.bounds
        return math.radians(west - 180) * RADIUS, math.radians(north) * RADIUS


_STEREO = (5187, 5186, 4852, 4851, 4850, 4516, 4515)
_MONO = (5521, 5522, 5857, 5858, 6192, 6193, 6528, 6529)
_SP = (4181, 4180, 4179, 3845, 3844, 3510)
_FEW, _MANY = (16, 30, 43, 57, 71), (9, 23, 37, 50, 64, 78)
"""Latitudes of scenes, tenths of a degree: two of the former meet the box, three of the latter."""
_WEST = 5191
"""A revolution beside the box, west of the meridian from which longitudes count."""


@cache
def scenes() -> tuple[Scene, ...]:
    """All of them."""
    found = [
        Scene("stereoscopic", camera, revolution, tenths)
        for revolution in (*_STEREO, _WEST)
        for camera, row in ((1, (16, 30, 43, 56, 70)), (2, (20, 34, 47, 61, 75)))
        for tenths in row
    ]
    found += [
        Scene("monoscopic", 1, revolution, tenths)
        for number, revolution in enumerate(_MONO)
        for tenths in (_MANY if number % 2 else _FEW)
    ]
    found += [
        Scene("spsupport", 1, revolution, tenths)
        for number, revolution in enumerate(_SP)
        for tenths in (_FEW if number % 2 else _MANY)
    ]
    return tuple(found)


FILES = {
    "thumbnail": (".jpg", "image/jpeg", "Image Thumbnail", "thumbnail"),
    "image": (
        ".tif",
        "image/tiff; application=geotiff; profile=cloud-optimized",
        "Uncontrolled Image",
        "data",
    ),
    "provenance": ("provenance.txt", "text/plain", "Provenance", "metadata"),
    "isis_label": (".isis.lbl", "text/plain", "ISIS Label", "metadata"),
    "pds_label": (".lbl", "text/plain", "JAXA PDS3 Label", "metadata"),
    "caminfo_pvl": (".caminfo.pvl", "text/plain", "CamInfo Output", "metadata"),
    "usgscsm_isd": (".isd.json", "text/plain", "USGSCSM ISD", "metadata"),
}
"""By asset: how its file ends (or is called), its media type, title and role."""


@cache
def items() -> tuple[dict[str, Any], ...]:
    """All scenes as STAC items."""
    return tuple(_item(scene) for scene in scenes())


def _item(scene: Scene) -> dict[str, Any]:
    # As in the real ones: longitudes here are from -180 to 180, and in the labels from 0 to 360.
    turn = 360 if scene.longitude > 180 else 0
    west, south, east, north = scene.bounds
    bbox = [west - turn, south, east - turn, north]
    start = _stamp(scene.start)
    left, top = scene.corner
    properties = {
        "start_datetime": start,
        "end_datetime": _stamp(scene.stop),
        "title": scene.name,
        "description": "A stand-in for an observation of Kaguya's (SELENE) Terrain Camera (TC).",
        "missions": ["Selenological and Engineering Explorer (SELENE)"],
        "instruments": ["Kaguya/SELENE Terrain Camera (TC)"],
        "gsd": 10.0,
        "license": "CC0-1.0",
        "proj:epsg": None,
        "proj:wkt2": WKT,
        "proj:projjson": {"type": "ProjectedCRS", "name": _NAME, "id": _IAU},
        # As in the real ones: degrees, although the coordinate system has metres.
        "proj:bbox": bbox,
        "proj:centroid": {"lat": scene.latitude, "lon": scene.longitude - turn},
        "proj:shape": list(scene.shape),
        # As in the real ones: in the order of GDAL, which is not that of the extension.
        "proj:transform": [left, _PIXEL, 0, top, 0, -_PIXEL],
        "cube:dimensions": {
            "x": {"type": "spatial", "axis": "x", "extent": [bbox[0], bbox[2]]},
            "y": {"type": "spatial", "axis": "y", "extent": [bbox[1], bbox[3]]},
        },
        # As in the real ones: the angle of emission under another name, and the hour as the Sun's height.
        "view:off_nadir": scene.emission,
        "view:azimuth": 270.0 + scene.emission / 20,
        "view:sun_azimuth": 90.0 if scene.local_time < 12 else 270.0,
        "view:sun_elevation": scene.local_time,
        "ssys:targets": ["Moon"],
        "datetime": start,
        "created": "2023-08-23T19:24:16.810Z",
        "updated": f"{MADE:%Y-%m-%dT%H:%M:%S}.284Z",
    }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": scene.name,
        "properties": properties,
        "geometry": {"type": "Polygon", "coordinates": [[[lon - turn, lat] for lon, lat in scene.ring]]},
        "links": _links(scene),
        "assets": {name: _asset(scene, name) for name in FILES},
        "bbox": bbox,
        "stac_extensions": [
            *(
                f"https://stac-extensions.github.io/{name}/v1.0.0/schema.json"
                for name in ("projection", "datacube", "view")
            ),
            "https://raw.githubusercontent.com/thareUSGS/ssys/main/json-schema/schema.json",
            "https://stac-extensions.github.io/raster/v1.0.0/schema.json",
        ],
        "collection": scene.collection,
    }


def _links(scene: Scene) -> list[dict[str, str]]:
    parent = f"{ROOT}/collections/{scene.collection}"
    return [
        {"rel": "self", "type": "application/geo+json", "href": f"{parent}/items/{scene.name}"},
        {"rel": "parent", "type": "application/json", "href": parent},
        {"rel": "collection", "type": "application/json", "href": parent},
        {"rel": "root", "type": "application/json", "href": ROOT},
    ]


def _asset(scene: Scene, name: str) -> dict[str, Any]:
    suffix, kind, title, role = FILES[name]
    file = suffix if name == "provenance" else f"{scene.name}{suffix}"
    href = f"{_FOLDER}/{scene.kind}/uncontrolled/{scene.name}/{file}"
    bands = {"nodata": _NODATA, "data_type": "int16", "spatial_resolution": _PIXEL}
    more = {"raster:bands": [{**bands, "unit": "", "scale": _SCALE, "offset": 0}]} if name == "image" else {}
    return {"href": href, "type": kind, "title": title, **more, "roles": [role]}


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


def collection(name: str) -> dict[str, Any]:
    """A collection of scenes of the Moon, without links."""
    title = name.replace("_", " ").replace("kaguya terrain camera", "Kaguya Terrain Camera")
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "stac_extensions": ["https://raw.githubusercontent.com/thareUSGS/ssys/main/json-schema/schema.json"],
        "id": name,
        "title": title,
        "description": f"{title}: a stand-in of the sandbox.",
        "license": "CC0-1.0",
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2007-11-03T00:00:00Z", "2009-06-10T23:59:59Z"]]},
        },
        "summaries": {"ssys:targets": ["Moon"]},
    }


# --------------------------------------------------------------------------------------------------
# Images

_NAME = "Moon (2015) - Sphere / Ocentric / Equirectangular, clon = 180"
_IAU = {"authority": "IAU", "code": 30115, "version": 2015}
_DEGREE, _METRE = 'ANGLEUNIT["degree",0.0174532925199433]', 'LENGTHUNIT["metre",1]'
WKT = (
    f'PROJCRS["{_NAME}",BASEGEOGCRS["Moon (2015) - Sphere / Ocentric",DATUM["Moon (2015) - Sphere",'
    f'ELLIPSOID["Moon (2015) - Sphere",{RADIUS:.0f},0,{_METRE}]],'
    f'PRIMEM["Reference Meridian",0,{_DEGREE}]],CONVERSION["Equirectangular, clon = 180",'
    'METHOD["Equidistant Cylindrical",ID["EPSG",1028]],'
    f'PARAMETER["Latitude of 1st standard parallel",0,{_DEGREE},ID["EPSG",8823]],'
    f'PARAMETER["Longitude of natural origin",180,{_DEGREE},ID["EPSG",8802]],'
    f'PARAMETER["False easting",0,{_METRE},ID["EPSG",8806]],'
    f'PARAMETER["False northing",0,{_METRE},ID["EPSG",8807]]],CS[Cartesian,2],'
    f'AXIS["(E)",east,ORDER[1],{_METRE}],AXIS["(N)",north,ORDER[2],{_METRE}],ID["IAU",30115,2015]]'
)
_CITATION = f"{_NAME}|".encode()
_AS_DOUBLE, _AS_TEXT = 34736, 34737
_KEYS = (
    *(1, 1, 0, 12),
    *(1024, 0, 1, 1),  # projected
    *(1025, 0, 1, 1),  # pixels are areas
    *(1026, _AS_TEXT, len(_CITATION), 0),
    *(2048, 0, 1, 32767),  # a geographic system of its own
    *(2050, 0, 1, 32767),
    *(2054, 0, 1, 9102),  # degrees
    *(2057, _AS_DOUBLE, 1, 0),
    *(2058, _AS_DOUBLE, 1, 0),
    *(3072, 0, 1, 32767),  # a projected system of its own
    *(3075, 0, 1, 17),  # equirectangular
    *(3076, 0, 1, 9001),  # metres
    *(3088, _AS_DOUBLE, 1, 1),  # its middle
)
_META = (
    f'<GDALMetadata>\n  <Item name="OFFSET" sample="0" role="offset">0</Item>\n'
    f'  <Item name="SCALE" sample="0" role="scale">{_SCALE}</Item>\n</GDALMetadata>\n\0'
).encode()


def image(shape: tuple[int, int], corner: tuple[float, float], pixel: float, sun: float) -> bytes:
    """A cloud-optimized GeoTIFF of 16-bit integers.

    Parameters
    ----------
    shape
        Rows and columns.
    corner
        The upper left one, metres from 180 degrees east and from the equator.
    pixel
        Metres along its sides.
    sun
        Degrees between the Sun and the zenith.
    """
    tags: list[Tag] = [
        (33550, "d", (pixel, pixel, 0.0)),  # the size of a pixel
        (33922, "d", (0.0, 0.0, 0.0, *corner, 0.0)),  # a pixel and its place
        (34735, "H", _KEYS),
        (_AS_DOUBLE, "d", (RADIUS, 180.0)),
        (_AS_TEXT, "s", _CITATION + b"\0"),
        (42112, "s", _META),
        (42113, "s", f"{_NODATA}\0".encode()),
    ]
    return tiled(_pixels(shape, corner, pixel, sun), tags)


def _pixels(
    shape: tuple[int, int], corner: tuple[float, float], pixel: float, sun: float
) -> NDArray[np.int16]:
    """Radiances: hills that are a function of the place, in the light of the Sun; a margin without data."""
    import numpy as np

    rows, columns = shape
    x = (corner[0] + (np.arange(columns) + 0.5) * pixel)[None, :] / 4000
    y = (corner[1] - (np.arange(rows) + 0.5) * pixel)[:, None] / 4000
    slope = np.sin(x + np.sin(y / 3)) * np.cos(y) / 2
    light = 2000 * (math.cos(math.radians(sun)) + math.sin(math.radians(sun)) * slope)
    values = np.clip(np.rint(light), 1, 32767).astype("<i2")
    values[:, :1] = values[:, -1:] = _NODATA
    return values


def scene_image(scene: Scene) -> bytes:
    """The image of a scene."""
    return image(scene.shape, scene.corner, _PIXEL, scene.incidence)


@cache
def thumbnail() -> bytes:
    """A picture as small as can be, the same for all scenes."""
    from affine import Affine
    from rasterio.io import MemoryFile

    values = _pixels((64, 48), (0.0, 0.0), 1000.0, 60.0)
    shown = (values.clip(0) // 8).clip(0, 255).astype("uint8")
    kind: dict[str, Any] = {"driver": "JPEG", "width": 48, "height": 64, "count": 1, "dtype": "uint8"}
    # It has no place, but rasterio warns of what has none.
    kind["transform"] = Affine(1000, 0, 0, 0, -1000, 0)
    with MemoryFile(ext=".jpg") as memory:
        with memory.open(**kind) as file:
            file.write(shown, 1)
        return bytes(memory.getbuffer())
