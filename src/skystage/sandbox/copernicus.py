"""What the Copernicus Data Space has of a catalogue: orbit files, Sentinel-1 in its own zips, Sentinel-2."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from skystage.sandbox import cdse_records
from skystage.sandbox.catalogue import Catalogue, Granule, OrbitFile
from skystage.sandbox.files import Content
from skystage.sandbox.payloads import repacked_zip
from skystage.sandbox.sentinel2 import Scene, files, whole

_PRODUCT = re.compile(r"S1[A-D]_\w{2}_(?P<kind>SLC_|GRD[FHM])_1S\w{2}_\w+_[0-9A-F]{4}")


@dataclass(slots=True)
class Product:
    """One product of the Copernicus Data Space."""

    id: str
    name: str
    content: Content
    stamps: Mapping[str, str]
    """Dates as they are written, by OData path."""
    kind: str
    instrument: str
    s3_path: str
    recorded: Mapping[str, Any] = field(default_factory=dict)
    """The record as it was recorded, if it was."""
    collection: str = "SENTINEL-1"
    attributes: list[tuple[str, str, Any]] = field(default_factory=list)
    """Type (``String``, ``Double``, ``Integer``, ``DateTimeOffset``, ``Boolean``), name, value."""
    footprint: list[tuple[float, float]] | None = None
    """A closed ring of longitudes and latitudes in degrees, WGS 84."""
    online: bool = True
    measured: bool = True
    """Whether the record has a size and checksums; of some old products it has 0 and none."""
    files: Mapping[str, Content] = field(default_factory=dict)
    """The files of a product that is a folder, by their path in it; none is made before it is read."""
    quicklook: Content | None = None
    """The small picture that the record names as an asset; its id there is `quicklook_id`."""

    @property
    def quicklook_id(self) -> str:
        """The id of the picture among the catalogue's assets."""
        for asset in self.recorded.get("Assets", ()):
            if "Id" in asset:
                return str(asset["Id"])
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://dataspace.copernicus.eu/{self.name}/quicklook"))


def products(catalogue: Catalogue) -> Iterator[Product]:
    """All of them."""
    for orbit in catalogue.orbits.values():
        yield _orbit(orbit)
    for granule in catalogue.granules:
        name = str(granule.names[-1])
        if _PRODUCT.fullmatch(name) and not granule.granule_ur.rpartition("-")[2].startswith("METADATA"):
            yield _product(granule, name, catalogue.payload_size)
    for scene in catalogue.optical:
        yield optical(scene)
    for record in catalogue.records:
        yield recorded(record)


def _attributes(
    name: str, kind: str, instrument: str, stamps: Mapping[str, str]
) -> list[tuple[str, str, Any]]:
    return [
        ("String", "origin", "ESA"),
        ("DateTimeOffset", "processingDate", stamps["OriginDate"]),
        ("String", "platformShortName", "SENTINEL-1"),
        ("String", "instrumentShortName", instrument),
        ("String", "platformSerialIdentifier", name[2]),
        ("String", "productType", kind),
        ("DateTimeOffset", "beginningDateTime", stamps["ContentDate/Start"]),
        ("DateTimeOffset", "endingDateTime", stamps["ContentDate/End"]),
    ]


def _orbit(orbit: OrbitFile) -> Product:
    name = orbit.name
    made = f"{name.created:%Y-%m-%dT%H:%M:%S}.000000Z"
    record = orbit.product or {}
    stamps = dict.fromkeys(("OriginDate", "PublicationDate", "ModificationDate"), made)
    stamps |= {key: record[key] for key in stamps if key in record}
    dates = record.get("ContentDate", {})
    stamps["ContentDate/Start"] = dates.get("Start", f"{name.start:%Y-%m-%dT%H:%M:%S}.000000Z")
    stamps["ContentDate/End"] = dates.get("End", f"{name.stop:%Y-%m-%dT%H:%M:%S}.000000Z")
    return Product(
        id=orbit.id,
        name=name.name,
        content=orbit.content,
        stamps=stamps,
        kind=name.kind,
        instrument="AUX",
        s3_path=f"/eodata/Sentinel-1/AUX/{name.kind}/{name.start:%Y/%m/%d}/{name.name}",
        recorded=record,
        attributes=_attributes(name.name, name.kind, "AUX", stamps),
    )


def _product(granule: Granule, name: str, size: int) -> Product:
    from shapely.geometry import mapping

    kind = name[7:10]
    stamp = f"{granule.end:%Y-%m-%dT%H:%M:%S.%f}Z"
    stamps = dict.fromkeys(("OriginDate", "PublicationDate", "ModificationDate"), stamp)
    stamps |= {"ContentDate/Start": f"{granule.start:%Y-%m-%dT%H:%M:%S.%f}Z", "ContentDate/End": stamp}
    # A ring beyond 180 degrees is no footprint there, where it would be two.
    shape = granule.geometry
    ring = None if shape is None or shape.bounds[2] > 180 else mapping(shape)["coordinates"][0]
    kind_name = f"{name[4:6]}_{kind}__1S" if kind == "SLC" else f"{name[4:6]}_{name[7:11]}_1S"
    return Product(
        id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://dataspace.copernicus.eu/{name}")),
        name=f"{name}.SAFE",
        content=repacked_zip(f"{name}.zip", size),
        stamps=stamps,
        kind=kind_name,
        instrument="SAR",
        s3_path=f"/eodata/Sentinel-1/SAR/{kind}/{granule.start:%Y/%m/%d}/{name}.SAFE",
        attributes=[*_attributes(name, kind_name, "SAR", stamps), *_radar(granule, name)],
        footprint=None if ring is None else [(x, y) for x, y in ring],
    )


def _radar(granule: Granule, name: str) -> Iterator[tuple[str, str, Any]]:
    """What else is said of a Sentinel-1 product, where the granule's record says it."""
    for kind, attribute, source in (
        ("Integer", "relativeOrbitNumber", "PATH_NUMBER"),
        ("String", "orbitDirection", "ASCENDING_DESCENDING"),
        ("String", "polarisationChannels", "POLARIZATION"),
        ("String", "operationalMode", "BEAM_MODE"),
    ):
        for value in granule.attributes.get(source, [])[:1]:
            yield kind, attribute, int(value) if kind == "Integer" else value.replace("+", "&")
    yield "Integer", "orbitNumber", int(name[49:55])
    yield "Integer", "datatakeID", int(name[56:62], 16)
    yield "String", "productClass", "S"
    yield "String", "processingLevel", "LEVEL1"


_SENTINEL_2 = re.compile(r"S2[A-D]_MSI(?:L1C|L2A)_\d{8}T\d{6}_N\d{4}_R\d{3}_T\w{5}_\d{8}T\d{6}")
_COLLECTIONS = {"S1": "SENTINEL-1", "S2": "SENTINEL-2", "S3": "SENTINEL-3", "S5": "SENTINEL-5P"}
_DATES = ("OriginDate", "PublicationDate", "ModificationDate", "DeletionDate")


def recorded(record: Mapping[str, Any]) -> Product:
    """The product that an OData record describes."""
    name = str(record["Name"])
    attributes = [(one["ValueType"], one["Name"], one["Value"]) for one in record.get("Attributes", ())]
    known = {key: value for _, key, value in attributes}
    scene = None
    if _SENTINEL_2.fullmatch(name.removesuffix(".SAFE")):
        clouds, orbit = float(known.get("cloudCover", 0)), int(known.get("orbitNumber", 0))
        scene = cdse_records.Recorded(name.removesuffix(".SAFE"), clouds, orbit)
        attributes = attributes or cdse_records.attributes(scene)
        known = {key: value for _, key, value in attributes}
    shape, dates = record.get("GeoFootprint") or {}, record["ContentDate"]
    one_ring = shape.get("type") == "Polygon"
    pictured = scene is not None and bool(record.get("Assets", True))
    return Product(
        id=str(record["Id"]),
        name=name,
        content=cdse_records.stand_in(name) if scene is None else cdse_records.zipped(scene),
        stamps={
            **{key: record[key] for key in _DATES if key in record},
            "ContentDate/Start": dates["Start"],
            "ContentDate/End": dates["End"],
        },
        kind=str(known.get("productType", "")),
        instrument=str(known.get("instrumentShortName", "")),
        s3_path=str(record["S3Path"]),
        recorded=record,
        collection=_COLLECTIONS[name[:2]],
        attributes=attributes,
        footprint=[(x, y) for x, y in shape["coordinates"][0]] if one_ring else None,
        online=bool(record.get("Online", True)),
        measured=bool(record["ContentLength"]),
        files={} if scene is None else cdse_records.Folder(scene),
        quicklook=cdse_records.quicklook(scene) if pictured and scene is not None else None,
    )


def optical(scene: Scene) -> Product:
    """A Sentinel-2 product."""
    sensed, made = (f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z" for moment in (scene.sensed, scene.made))
    parts = files(scene)
    return Product(
        id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://dataspace.copernicus.eu/{scene.name}")),
        name=scene.folder,
        content=whole(scene),
        stamps={
            **dict.fromkeys(("OriginDate", "PublicationDate", "ModificationDate"), made),
            **dict.fromkeys(("ContentDate/Start", "ContentDate/End"), sensed),
        },
        kind=scene.kind,
        instrument="MSI",
        s3_path=scene.s3_path,
        collection="SENTINEL-2",
        attributes=[
            ("String", "origin", "ESA"),
            ("String", "tileId", scene.tile),
            ("Double", "cloudCover", scene.cloud_cover),
            ("String", "datastripId", scene.datastrip),
            ("Integer", "orbitNumber", scene.orbit),
            ("String", "orbitDirection", "DESCENDING"),
            ("DateTimeOffset", "processingDate", made),
            ("String", "productGroupId", scene.datatake),
            ("String", "operationalMode", "INS-NOBS"),
            ("String", "processingLevel", scene.kind),
            ("String", "processorVersion", scene.version),
            ("String", "platformShortName", "SENTINEL-2"),
            ("String", "instrumentShortName", "MSI"),
            ("Integer", "relativeOrbitNumber", scene.relative_orbit),
            ("String", "platformSerialIdentifier", scene.mission[2]),
            ("String", "productType", scene.kind),
            ("DateTimeOffset", "beginningDateTime", sensed),
            ("DateTimeOffset", "endingDateTime", sensed),
        ],
        footprint=scene.footprint,
        online=scene.online,
        measured=scene.measured,
        files=parts,
        quicklook=parts[f"{scene.name}-ql.jpg"],
    )
