"""Recorded products of the Copernicus Data Space: their records, and stand-ins for their files.

Records come in two forms: OData as it is now, and the catalogue's former OpenSearch (resto), which is turned
into OData here. Sentinel-2 stand-ins share their pixels, which are few, so that a page of a thousand records
with true sizes and checksums takes seconds: the clouds of a product are right to 5 percent.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from skystage.sandbox.files import Content, Made, Noise, Part, Segments
from skystage.sandbox.orbits import SPARSE_STEP, parse_name, write_eof
from skystage.sandbox.sentinel2 import Scene, files, grid, whole
from skystage.sandbox.sentinel2_images import View

_PIXELS = 36
"""Along each side of a 10 m band."""
_STEP = 10
"""Percent of clouds from one set of pixels to the next."""
_MADE = datetime(2021, 3, 1, 12, 0, 0, tzinfo=UTC)


def load(folder: Path) -> Iterator[Mapping[str, Any]]:
    """The OData records of a folder of recordings; of each product the fullest."""
    found: dict[str, Mapping[str, Any]] = {}
    for path in sorted(folder.glob("*.json*")):
        for record in _records(json.loads(_read(path))):
            identifier = record["Id"]
            if identifier not in found or len(record) > len(found[identifier]):
                found[identifier] = record
    yield from found.values()


def _read(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def _records(page: Any) -> Iterable[Mapping[str, Any]]:
    if isinstance(page, dict):
        return [one for one in page.get("value", ()) if "Id" in one]
    return [_from_opensearch(one) for one in page if isinstance(one, dict) and "properties" in one]


def _from_opensearch(feature: Mapping[str, Any]) -> Mapping[str, Any]:
    about, geometry = feature["properties"], feature["geometry"]
    name = about["title"]
    tile = re.search(r"_T(\w{5})_(\d{8}T\d{6})(?:\.SAFE)?$", name)
    start, end = _microseconds(about["startDate"]), _microseconds(about["completionDate"])
    values = [
        ("String", "origin", "ESA"),
        ("String", "tileId", tile and tile[1]),
        ("Double", "cloudCover", about["cloudCover"]),
        ("Integer", "orbitNumber", about["orbitNumber"]),
        ("String", "orbitDirection", about["orbitDirection"]),
        ("DateTimeOffset", "processingDate", tile and _microseconds(tile[2])),
        ("String", "productGroupId", about["missionTakeId"]),
        ("String", "operationalMode", about["sensorMode"]),
        ("String", "processingLevel", about["processingLevel"]),
        ("String", "processorVersion", f"{about['processingBaseline']:05.2f}"),
        ("String", "platformShortName", about["collection"]),
        ("String", "instrumentShortName", about["instrument"]),
        ("Integer", "relativeOrbitNumber", about["relativeOrbitNumber"]),
        ("String", "platformSerialIdentifier", about["platform"][2:]),
        ("String", "productType", about["productType"]),
        ("DateTimeOffset", "beginningDateTime", start),
        ("DateTimeOffset", "endingDateTime", end),
    ]
    published = _microseconds(about["published"])
    return {
        "Id": feature["id"],
        "Name": name,
        "ContentLength": about["services"]["download"]["size"],
        "OriginDate": published,
        "PublicationDate": published,
        "ModificationDate": _microseconds(about["updated"]),
        "Online": about["status"] == "ONLINE",
        "S3Path": about["productIdentifier"],
        "ContentDate": {"Start": start, "End": end},
        "GeoFootprint": geometry,
        "Attributes": [
            {"Name": name, "Value": value, "ValueType": kind}
            for kind, name, value in values
            if value is not None
        ],
        "Assets": [{"Type": "QUICKLOOK"}] if about["thumbnail"] else [],
    }


def _microseconds(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%dT%H:%M:%S.%f}Z"


def attributes(scene: Scene) -> list[tuple[str, str, Any]]:
    """What a Sentinel-2 product's name says, for a record that has no attributes."""
    sensed, made = (f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z" for moment in (scene.sensed, scene.made))
    return [
        ("String", "origin", "ESA"),
        ("String", "tileId", scene.tile),
        ("DateTimeOffset", "processingDate", made),
        ("String", "processingLevel", scene.kind),
        ("String", "processorVersion", scene.version),
        ("String", "platformShortName", "SENTINEL-2"),
        ("String", "instrumentShortName", "MSI"),
        ("Integer", "relativeOrbitNumber", scene.relative_orbit),
        ("String", "platformSerialIdentifier", scene.mission[2]),
        ("String", "productType", scene.kind),
        ("DateTimeOffset", "beginningDateTime", sensed),
        ("DateTimeOffset", "endingDateTime", sensed),
    ]


@dataclass(frozen=True)
class Recorded(Scene):
    """A scene whose pixels are those of all others with about as many clouds."""

    pixels: int = _PIXELS

    @property
    def view(self) -> View:
        """What its pixels depend on."""
        return View(grid(self.tile), "recorded", round(self.cloud_cover / _STEP) * _STEP)


class Folder(Mapping[str, Content]):
    """The files of a product, listed when somebody looks: thousands of products have many."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    @cached_property
    def _files(self) -> Mapping[str, Content]:
        return files(self._scene)

    def __getitem__(self, path: str) -> Content:
        return self._files[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __bool__(self) -> bool:
        # Without listing them.
        return True


def zipped(scene: Scene) -> Content:
    """The product as one zip."""
    return _later(f"{scene.folder}.zip", "application/zip", scene, lambda: whole(scene))


def quicklook(scene: Scene) -> Content:
    """The small picture."""
    name = f"{scene.name}-ql.jpg"
    return _later(name, "image/jpeg", scene, lambda: files(scene)[name])


def _later(name: str, kind: str, scene: Scene, find: Callable[[], Content]) -> Content:
    """A content that is looked for when it is read."""
    return Segments(name, kind, scene.made, None, lambda: [Part(find())])


def stand_in(name: str) -> Content:
    """A small file of the kind that the name says."""
    orbit = parse_name(name)
    if orbit is not None:
        return Made(name, "binary/octet-stream", _MADE, lambda: write_eof(orbit, SPARSE_STEP))
    if name.endswith(".nc"):
        return Made(name, "application/x-netcdf", _MADE, lambda: _HDF5 + _noise(name))
    manifest = "xfdumanifest.xml" if name.endswith(".SEN3") else "manifest.safe"
    return Made(f"{name}.zip", "application/zip", _MADE, lambda: _zipped(name, manifest))


_HDF5 = b"\x89HDF\r\n\x1a\n"


def _noise(name: str) -> bytes:
    return Noise(zlib.crc32(name.encode()), 4096).read(0, 4096)


def _zipped(folder: str, manifest: str) -> bytes:
    text = f'<?xml version="1.0"?>\n<xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1">{folder}</xfdu:XFDU>\n'
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, data in ((manifest, text.encode()), ("data.bin", _noise(folder))):
            file.writestr(zipfile.ZipInfo(f"{folder}/{name}", (2021, 3, 1, 12, 0, 0)), data)
    return out.getvalue()
