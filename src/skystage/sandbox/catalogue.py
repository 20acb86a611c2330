"""What the archives hold: granules, orbit files, and the bytes behind their addresses.

Loaded from a folder of recordings (`load`), where every record is served as it was recorded
except sizes and checksums of what a stand-in replaces, or built in (`builtin`).
"""

from __future__ import annotations

import gzip
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from skystage.errors import SkystageError
from skystage.sandbox import cdse_records, mast_recordings
from skystage.sandbox.buckets import Bucket
from skystage.sandbox.files import Content, Made
from skystage.sandbox.mast_holdings import BUCKET, Holdings
from skystage.sandbox.orbits import DENSE_STEP, SPARSE_STEP, OrbitName, parse_name, write_eof
from skystage.sandbox.payloads import PAYLOAD_SIZE, payload
from skystage.sandbox.sentinel2 import Scene

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

_DISTRIBUTIONS = ("datapool.asf.alaska.edu", "sentinel1.asf.alaska.edu", "nisar.asf.earthdatacloud.nasa.gov")
_STAND_IN_KEYS = ("BYTES", "BYTE_LENGTH", "MD5SUM")


class Granule:
    """One CMR granule record and the fields that searches test.

    Parameters
    ----------
    record
        ``{"meta": ..., "umm": ...}`` as CMR gives it.
    files
        The stand-ins for its files by name, the main one first; sizes and MD5s replace the record's.
    """

    def __init__(self, record: Mapping[str, Any], files: Mapping[str, Content]) -> None:
        self.record = record
        self.files = files
        umm, meta = record["umm"], record["meta"]
        self.granule_ur = str(umm["GranuleUR"])
        self.concept_id = str(meta["concept-id"])
        self.number = int(re.sub(r"\D", "", self.concept_id.partition("-")[0]) or 0)
        self.collection_id = str(meta.get("collection-concept-id", ""))
        self.provider = str(meta.get("provider-id", ""))
        self.revised = parse_time(str(meta.get("revision-date", "1970-01-01T00:00:00Z")))
        self.short_name = str(umm.get("CollectionReference", {}).get("ShortName", ""))
        extent = umm.get("TemporalExtent", {})
        times = extent.get("RangeDateTime") or {}
        single = extent.get("SingleDateTime")
        self.start = parse_time(str(times.get("BeginningDateTime") or single))
        self.end = parse_time(str(times.get("EndingDateTime") or times.get("BeginningDateTime") or single))
        self.attributes: dict[str, list[str]] = {
            item["Name"]: [str(value) for value in item["Values"]]
            for item in umm.get("AdditionalAttributes", [])
        }
        orbits = umm.get("OrbitCalculatedSpatialDomains", [])
        self.orbits = [item["OrbitNumber"] for item in orbits if "OrbitNumber" in item]
        self.platforms = [item["ShortName"] for item in umm.get("Platforms", [])]
        self.instruments = [
            instrument["ShortName"]
            for item in umm.get("Platforms", [])
            for instrument in item.get("Instruments", [])
        ]
        identifiers = umm.get("DataGranule", {}).get("Identifiers", [])
        self.names = [self.granule_ur, *(item["Identifier"] for item in identifiers)]

    @cached_property
    def json(self) -> bytes:
        """The record as it is served."""
        umm = self.record["umm"]
        for content in (*self.files.values(),)[:1]:
            size, md5 = str(content.size), content.md5
            values = {"BYTES": size, "BYTE_LENGTH": size, "MD5SUM": md5}
            attributes = [
                {**item, "Values": [values[item["Name"]]]} if item["Name"] in _STAND_IN_KEYS else item
                for item in umm.get("AdditionalAttributes", [])
            ]
            umm = {**umm, "AdditionalAttributes": attributes}
        listed = umm.get("DataGranule", {}).get("ArchiveAndDistributionInformation", [])
        if any(item["Name"] in self.files for item in listed):
            listed = [_stood_in(item, self.files.get(item["Name"])) for item in listed]
            umm = {**umm, "DataGranule": {**umm["DataGranule"], "ArchiveAndDistributionInformation": listed}}
        return json.dumps({**self.record, "umm": umm}).encode()

    @cached_property
    def geometry(self) -> BaseGeometry | None:
        """The footprint; across the antimeridian its longitudes go on beyond 180."""
        from shapely.geometry import MultiPolygon, Polygon, box

        domain = (
            self.record["umm"].get("SpatialExtent", {}).get("HorizontalSpatialDomain", {}).get("Geometry", {})
        )
        shapes = []
        for polygon in domain.get("GPolygons", []):
            points = [(p["Longitude"], p["Latitude"]) for p in polygon["Boundary"]["Points"]]
            shapes.append(Polygon(unwrap(points)))
        for rectangle in domain.get("BoundingRectangles", []):
            west, east = rectangle["WestBoundingCoordinate"], rectangle["EastBoundingCoordinate"]
            south, north = rectangle["SouthBoundingCoordinate"], rectangle["NorthBoundingCoordinate"]
            shapes.append(box(west, south, east if east >= west else east + 360, north))
        if not shapes:
            return None
        return shapes[0] if len(shapes) == 1 else MultiPolygon(shapes)


def _stood_in(item: Mapping[str, Any], content: Content | None) -> Mapping[str, Any]:
    """One file's size and checksum as they are for its stand-in."""
    if content is None:
        return item
    out = {**item, "SizeInBytes": content.size}
    if "Checksum" in item:
        out["Checksum"] = {"Algorithm": "MD5", "Value": content.md5}
    return out


def unwrap(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Longitudes without the jump at the antimeridian."""
    longitudes = [longitude for longitude, _ in points]
    if max(longitudes) - min(longitudes) <= 180:
        return points
    return [(longitude + 360 if longitude < 0 else longitude, latitude) for longitude, latitude in points]


@dataclass(slots=True)
class OrbitFile:
    """One orbit file: in ASF's bucket, and a product of CDSE."""

    name: OrbitName
    content: Content
    modified: str = "2024-07-27T02:04:55.000Z"
    listing: str | None = None
    """The bucket's ``<Contents>`` as recorded."""
    product: Mapping[str, Any] | None = None
    """The CDSE record as recorded."""

    @property
    def id(self) -> str:
        """The CDSE product id."""
        if self.product is not None:
            return str(self.product["Id"])
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://s1-orbits.s3.amazonaws.com/{self.name.name}"))


@dataclass(slots=True)
class Catalogue:
    """Everything that the services of one box serve."""

    payload_size: int = PAYLOAD_SIZE
    granules: list[Granule] = field(default_factory=list)
    orbits: dict[str, OrbitFile] = field(default_factory=dict)
    """By bucket key."""
    files: dict[str, Content] = field(default_factory=dict)
    """ASF's downloads, by path."""
    bursts: dict[str, Content] = field(default_factory=dict)
    """What ASF's burst extractor makes, by path."""
    optical: list[Scene] = field(default_factory=list)
    """Sentinel-2 products, which only the Copernicus Data Space has."""
    records: list[Mapping[str, Any]] = field(default_factory=list)
    """Records of other products of the Copernicus Data Space, in the form of its OData."""
    deleted: list[Mapping[str, Any]] = field(default_factory=list)
    """Records of products that are there no more."""
    elevation: dict[str, Path] = field(default_factory=dict)
    """Recorded elevation tiles and geoids, by the name that they are asked for."""
    planetary: list[Mapping[str, Any]] = field(default_factory=list)
    """STAC items of the USGS."""
    earth_search: list[Mapping[str, Any]] = field(default_factory=list)
    """Recorded STAC items of Earth Search."""
    buckets: dict[str, Bucket] = field(default_factory=dict)
    """Public buckets by name, but that of the orbit files."""
    mast: Holdings = field(default_factory=Holdings)
    """What MAST has."""
    _scenes: dict[str, list[tuple[datetime, datetime]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add_granule(self, record: Mapping[str, Any]) -> None:
        """Add a CMR record and stand-ins for the files that it names."""
        files: dict[str, Content] = {}
        for link in record["umm"].get("RelatedUrls", []):
            parts = urlsplit(str(link.get("URL", "")))
            if parts.scheme != "https" or link.get("Type") not in (
                "GET DATA",
                "USE SERVICE API",
                "EXTENDED METADATA",
            ):
                continue
            shelf = self._shelf(parts.hostname or "")
            if shelf is None:
                continue
            name = parts.path.rpartition("/")[2]
            if shelf is self.bursts:  # which the extractor names after the burst
                name = f"{record['umm']['GranuleUR']}.{name.rpartition('.')[2]}"
            content = shelf.get(parts.path) or payload(name, self.payload_size)
            if content is not None:
                shelf[parts.path] = content
                files[parts.path.rpartition("/")[2]] = content
        granule = Granule(record, files)
        self.granules.append(granule)
        self._scenes.setdefault(granule.granule_ur[:3], []).append((granule.start, granule.end))

    def add_orbit(self, name: OrbitName, make: Callable[[], bytes] | None = None) -> OrbitFile:
        """Add an orbit file: its real bytes, or a stand-in."""
        modified = name.created + timedelta(hours=1)
        content = Made(name.name, "binary/octet-stream", modified, make or (lambda: self._stand_in(name)))
        orbit = OrbitFile(name, content, modified=f"{modified:%Y-%m-%dT%H:%M:%S}.000Z")
        self.orbits[name.key] = orbit
        return orbit

    def _shelf(self, host: str) -> dict[str, Content] | None:
        if host in _DISTRIBUTIONS:
            return self.files
        return self.bursts if host == "sentinel1-burst.asf.alaska.edu" else None

    def _stand_in(self, name: OrbitName) -> bytes:
        scenes = self._scenes.get(name.mission, [])
        covers = any(name.start <= start and end <= name.stop for start, end in scenes)
        return write_eof(name, DENSE_STEP if covers else SPARSE_STEP)


def parse_time(text: str) -> datetime:
    """An ISO 8601 time; one without a zone is UTC."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def load(directory: Path, payload_size: int = PAYLOAD_SIZE) -> Catalogue:
    """Load a folder of recordings: ``cmr/``, ``orbits/``, ``mast-portal/``, or folders with these in them.

    Raises
    ------
    SkystageError
        If there are no recordings in the folder, or one cannot be read.
    """
    from skystage.sandbox import planetary

    root = directory / "earth" if (directory / "earth").is_dir() else directory
    sky = directory / "astro" if (directory / "astro").is_dir() else directory
    catalogue = Catalogue(payload_size)
    try:
        _load_granules(catalogue, root / "cmr")
        _load_orbits(catalogue, root / "orbits")
        _load_elevation(catalogue, root / "dem" / "golden_datasets")
        catalogue.records.extend(cdse_records.load(root / "cdse_odata"))
        planetary.load(catalogue, sky)
        catalogue.mast = mast_recordings.load(sky)
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise SkystageError(f"cannot read the recordings in {directory}: {error}") from error
    catalogue.buckets[BUCKET] = catalogue.mast.bucket()
    sky_held = (catalogue.planetary, catalogue.mast.observations)
    if not any((catalogue.granules, catalogue.orbits, catalogue.records, *sky_held)):
        raise SkystageError(
            f"no recordings in {directory}",
            hint="expected cmr/*.umm.json.gz, orbits/, cdse_odata/ or mast-portal/, see docs/sandbox.md",
        )
    return catalogue


def _load_granules(catalogue: Catalogue, folder: Path) -> None:
    seen: set[str] = set()
    for path in sorted(folder.glob("*.json*")):
        page = json.loads(_read(path))
        for record in page.get("items", []) if isinstance(page, dict) else []:
            # Recorded exchanges and collections have other forms, and are not granules to serve.
            if "GranuleUR" in record.get("umm", {}) and record["meta"]["concept-id"] not in seen:
                seen.add(record["meta"]["concept-id"])
                catalogue.add_granule(record)


_CONTENTS = re.compile(r"<Contents>.*?</Contents>", re.DOTALL)
_KEY = re.compile(r"<Key>([^<]+)</Key>")
_MODIFIED = re.compile(r"<LastModified>([^<]+)</LastModified>")


def _load_orbits(catalogue: Catalogue, folder: Path) -> None:
    real = {path.name.removesuffix(".gz"): path for path in folder.glob("*.EOF*")}
    for path in sorted(folder.glob("recorded_s3_list_*.xml*")):
        for listing in _CONTENTS.findall(_read(path).decode()):
            key = _KEY.search(listing)
            name = parse_name(key[1]) if key else None
            if name is None:
                continue
            orbit = catalogue.add_orbit(name, _reader(real.pop(name.name, None)))
            orbit.listing = listing
            modified = _MODIFIED.search(listing)
            orbit.modified = modified[1] if modified else orbit.modified
            orbit.content.modified = parse_time(orbit.modified)
    for path in real.values():
        name = parse_name(path.name.removesuffix(".gz"))
        if name is not None:
            catalogue.add_orbit(name, _reader(path))
    for product in _recorded_products(folder):
        name = parse_name(product["Name"])
        if name is not None:
            found = catalogue.orbits.get(name.key) or catalogue.add_orbit(name)
            found.product = product


def _recorded_products(folder: Path) -> Iterable[Mapping[str, Any]]:
    for path in sorted(folder.glob("recorded_odata_*.json*")):
        exchange = json.loads(_read(path))
        body = exchange["response"]["body"]
        yield from (json.loads(body) if isinstance(body, str) else body).get("value", [])


_CROPS = {
    "los_angeles_tiles/los_angeles_tile_0.tif": "Copernicus_DSM_COG_10_N33_00_W118_00_DEM.tif",
    "los_angeles_tiles/los_angeles_tile_1.tif": "Copernicus_DSM_COG_10_N33_00_W119_00_DEM.tif",
    "los_angeles_tiles/los_angeles_tile_2.tif": "Copernicus_DSM_COG_10_N34_00_W118_00_DEM.tif",
    "los_angeles_tiles/los_angeles_tile_3.tif": "Copernicus_DSM_COG_10_N34_00_W119_00_DEM.tif",
    "egm_08_los_angeles.tif": "us_nga_egm2008_1_4326__agisoft.tif",
}
"""Recorded corners of four tiles that meet in Los Angeles, and of the geoid there: whose they are."""


def _load_elevation(catalogue: Catalogue, folder: Path) -> None:
    crops = {name: folder / crop for crop, name in _CROPS.items()}
    catalogue.elevation.update({name: path for name, path in crops.items() if path.is_file()})


def _reader(path: Path | None) -> Callable[[], bytes] | None:
    return None if path is None else lambda: _read(path)


def _read(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
