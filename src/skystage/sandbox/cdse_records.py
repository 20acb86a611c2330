"""Products of the Copernicus Data Space from their records: recorded ones, and those of `sentinels`.

Records come in two forms: OData as it is now, and the catalogue's former OpenSearch (resto), which is turned
into OData here. Files are stand-ins. Those of Sentinel-2 share their pixels, few and small, so that a page of
a thousand records with true sizes and checksums takes seconds: a product's clouds are right to 2.5 percent.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from skystage.sandbox.catalogue import parse_time
from skystage.sandbox.copernicus import Product
from skystage.sandbox.files import Content, Made, Noise, Part, Segments
from skystage.sandbox.orbits import SPARSE_STEP, parse_name, write_eof
from skystage.sandbox.sentinel2 import Scene, files, grid, whole
from skystage.sandbox.sentinel2_images import View

_PIXELS = 36
"""Along each side of a 10 m band."""
_STEP = 5
"""Percent of clouds from one set of pixels to the next."""
_SENTINEL_2 = re.compile(r"S2[A-D]_MSI(?:L1C|L2A)_\d{8}T\d{6}_N\d{4}_R\d{3}_T\w{5}_\d{8}T\d{6}")
_COLLECTIONS = {"S1": "SENTINEL-1", "S2": "SENTINEL-2", "S3": "SENTINEL-3", "S5": "SENTINEL-5P"}
_DATES = ("OriginDate", "PublicationDate", "ModificationDate", "DeletionDate")


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
    tile = re.search(r"_T(\w{5})_(\d{8}T\d{6})\.SAFE$", name)
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
    return f"{parse_time(text):%Y-%m-%dT%H:%M:%S.%f}Z"


def product(record: Mapping[str, Any]) -> Product:
    """The product that a record describes."""
    name = str(record["Name"])
    stem = name.removesuffix(".SAFE")
    attributes = [(one["ValueType"], one["Name"], one["Value"]) for one in record.get("Attributes", ())]
    dates = record["ContentDate"]
    scene = None
    if _SENTINEL_2.fullmatch(stem):
        attributes = attributes or _named(stem)
        known = {key: value for _, key, value in attributes}
        clouds, orbit = float(known.get("cloudCover", 0)), int(known.get("orbitNumber", 0))
        scene = _Recorded(stem, clouds, orbit, pixels=_PIXELS)
    known = {key: value for _, key, value in attributes}
    shape = record.get("GeoFootprint") or {}
    made = parse_time(record["OriginDate"])
    return Product(
        id=str(record["Id"]),
        name=name,
        content=_content(name) if scene is None else _whole(scene),
        stamps={
            **{key: record[key] for key in _DATES if key in record},
            "ContentDate/Start": dates["Start"],
            "ContentDate/End": dates["End"],
        },
        kind=str(known.get("productType", "")),
        instrument=str(known.get("instrumentShortName", "")),
        s3_path=str(record["S3Path"]),
        recorded={key: value for key, value in record.items() if key != "ContentDate"},
        collection=_COLLECTIONS[name[:2]],
        attributes=attributes,
        footprint=[(x, y) for x, y in shape["coordinates"][0]] if shape.get("type") == "Polygon" else None,
        online=bool(record.get("Online", True)),
        measured=bool(record["ContentLength"]),
        files={} if scene is None else _Folder(scene),
        quicklook=None if scene is None or "Assets" in record and not record["Assets"] else _quicklook(scene),
    )
