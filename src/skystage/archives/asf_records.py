"""What ASF's records say: one product of asf_search as a granule with its properties and files.

asf_search has a class for each dataset, and its properties are kept as it names them. From the record
itself comes what its classes leave out: attributes that a search compares, and size and checksum of
each single file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from skystage import s3href
from skystage.archives import records
from skystage.archives.asf_criteria import NOTED
from skystage.direct import DIRECT
from skystage.model import Asset, Granule, Json, Source, from_iso

if TYPE_CHECKING:
    from asf_search import ASFProduct

ARCHIVE = "asf"

ATTRIBUTES = {
    "ariaVersion": "VERSION",
    "ascNodeTime": "ASC_NODE_TIME",
    "asfFrame": "FRAME_NUMBER",
    "beamMode": "BEAM_MODE",
    "beamSwath": "BEAM_MODE_TYPE",
    "campaign": "MISSION_NAME",
    "doppler": "DOPPLER",
    "esaFrame": "CENTER_ESA_FRAME",
    "faradayRotation": "FARADAY_ROTATION",
    "flightLine": "FLIGHT_LINE",
    "groupID": "GROUP_ID",
    "insarBaseline": "INSAR_BASELINE",
    "insarStackId": "INSAR_STACK_ID",
    "insarStackSize": "INSAR_STACK_SIZE",
    "lookDirection": "LOOK_DIRECTION",
    "mainBand": "FREQUENCY_A_POLARIZATION_CONCAT",
    "offNadirAngle": "OFF_NADIR_ANGLE",
    "operaBurstID": "OPERA_BURST_ID",
    "processedAt": "PROCESSING_DATE",
    "sideBand": "FREQUENCY_B_POLARIZATION_CONCAT",
    "siteDescription": "SITE_DESCRIPTION",
    "temporalBaselineDays": "TEMPORAL_BASELINE_DAYS",
    "tileID": "MGRS_TILE_ID",
}
"""Properties that are searched by, from the attribute of the record that CMR compares.

asf_search's products lack most of them, and of several values it keeps the first.
"""

_NUMBERS = {
    **dict.fromkeys(("asfFrame", "esaFrame", "insarStackSize", "temporalBaselineDays"), int),
    **dict.fromkeys(("doppler", "faradayRotation", "insarBaseline", "offNadirAngle"), float),
}

_NAMES = """
absoluteBurstID ariaVersion ascNodeTime asfFrame azimuthAnxTime azimuthTime beamMode beamModeType
beamSwath bistaticDelayCorrection burstIndex bytes campaign centerLat centerLon center_lat
center_lon collectionName conceptID crid doppler esaFrame faradayRotation fileID fileName
flightDirection flightLine frameCoverage frameNumber fullBurstID granuleName granuleType groupID
inputGranules insarBaseline insarStackId insarStackSize jointObservation lookDirection mainBand
mainBandPolarization md5sum noiseCorrection offNadirAngle operaBurstID OperaDispStackID orbit
orbitType pathNumber perpendicularBaseline pgeVersion platform polarization postProcessingFilter
processedAt processingDate processingLevel productVersion productionConfiguration rangeBandwidth
reference relativeBurstID revisionDate sceneName sensor sideBand sideBandPolarization
siteDescription startTime stopTime subswath temporalBaseline temporalBaselineDays tileID
validityStartDate
"""
PROPERTY_NAMES = frozenset(_NAMES.split())

ASSET_KEYS = ("data", "metadata", "browse", "*.*")
"""Any other file is called what its name has after the granule's: ``_VV.tif``, ``_QA_STATS.h5``."""

_ALGORITHMS = {"MD5": "md5", "SHA-256": "sha256"}
_FILES = ("GET DATA", "EXTENDED METADATA", "GET RELATED VISUALIZATION")
_SERVICE = "USE SERVICE API"
_IMAGES = (".png", ".jpg", ".jpeg")


@records.whole(ARCHIVE, lambda product: product.umm["GranuleUR"])
def granule(product: ASFProduct, criteria: Mapping[str, Json] | None = None) -> Granule:
    """One product of asf_search as a granule.

    Parameters
    ----------
    criteria
        Of the query: those on what is no property are noted in the properties.
    """
    properties = {**_properties(product), **_noted(product, criteria or {})}
    short_name = properties["collectionName"]
    level = properties.get("processingLevel")
    native_id = product.meta.get("native-id") or properties["fileID"]
    scene = properties.get("sceneName") or native_id
    name = scene.removesuffix(f"-{level}")
    extent = product.umm.get("TemporalExtent", {})
    start = extent.get("RangeDateTime", {}).get("BeginningDateTime") or extent.get("SingleDateTime")
    stop = extent.get("RangeDateTime", {}).get("EndingDateTime") or start
    known = product.geometry.get("coordinates") is not None
    return Granule(
        archive=ARCHIVE,
        collection=short_name,
        id=name,
        native_id=native_id,
        start=None if start is None else from_iso(start),
        stop=None if stop is None else from_iso(stop),
        geometry=records.footprint(product.geometry) if known else None,
        stack=stack(properties),
        properties=properties,
        assets=tuple(_assets(product, scene, f"{ARCHIVE}/{_safe(short_name)}/{_safe(name)}")),
    )


def stack(properties: Mapping[str, Json]) -> str:
    """The stack of a granule: path and burst for bursts, else path and frame; empty where unknown."""
    path = properties.get("pathNumber")
    if path is None:
        return ""
    burst = (properties.get("burst") or {}).get("fullBurstID") or properties.get("operaBurstID")
    if burst is not None:
        return f"p{path}_b{burst}".lower()
    frame = properties.get("frameNumber")
    return "" if frame is None else f"p{path}_f{frame}"


# --------------------------------------------------------------------------------------------------
# Properties


def _properties(product: ASFProduct) -> dict[str, Json]:
    """What asf_search says of a product, and what only the record says; without unknowns and addresses."""
    umm = product.umm
    kept = {
        key: value
        for key, value in product.properties.items()
        if value is not None and key not in ("s3Urls", "browse", "zarrUri", "zarrStackUri")
    }
    attributes = {item["Name"]: item["Values"] for item in umm.get("AdditionalAttributes", ())}
    for key, name in ATTRIBUTES.items():
        if name in attributes:
            values = [_value(key, text) for text in attributes[name] if text not in ("", "NA")]
            if values:
                kept[key] = values[0] if len(values) == 1 else values
    instruments = [
        one["ShortName"] for platform in umm.get("Platforms", ()) for one in platform.get("Instruments", ())
    ]
    if len(instruments) > 1:
        kept["sensor"] = instruments
    kept["collectionName"] = umm["CollectionReference"].get("ShortName") or "UNKNOWN"
    if product.properties.get("browse"):
        kept["browse"] = [href for href in product.properties["browse"] if href.startswith("https:")]
    return kept


def _value(key: str, text: str) -> Json:
    """A number where the attribute is one, and reads as one; else as the record says it."""
    try:
        return _NUMBERS[key](text) if key in _NUMBERS else text
    except ValueError:
        return text


def _noted(product: ASFProduct, criteria: Mapping[str, Json]) -> dict[str, Json]:
    says: dict[str, Callable[[], Json]] = {
        "collections": lambda: product.meta.get("collection-concept-id"),
        "granule_list": lambda: _names(product),
        "processing_date": lambda: product.meta.get("revision-date"),
    }
    said = {NOTED[name]: say() for name, say in says.items() if name in criteria}
    return {key: value for key, value in said.items() if value}


def _names(product: ASFProduct) -> list[str]:
    """All that CMR knows a granule by."""
    identifiers = product.umm.get("DataGranule", {}).get("Identifiers", ())
    return sorted({product.umm["GranuleUR"], *(item["Identifier"] for item in identifiers)})


# --------------------------------------------------------------------------------------------------
# Files


def _assets(product: ASFProduct, scene: str, folder: str) -> Iterator[Asset]:
    """Each file of a product once: its data first, then metadata, a picture, and whatever there is more."""
    properties = product.properties
    links = [
        (link.get("Type"), link["URL"])
        for link in product.umm.get("RelatedUrls", ())
        if str(link.get("URL")).startswith("https:")
    ]
    hrefs = [href for kind, href in links if kind in _FILES]
    # Of several data files it is the one that is called as the granule; else as asf_search sees it.
    whole = (href for kind, href in links if kind == "GET DATA" and _name(href).startswith(f"{scene}."))
    main = next(whole, properties.get("url"))
    names = {}
    if main:
        names[main] = properties["fileName"] if main == properties.get("url") else _name(main)
    # What a service makes is called 1.tiff or 1.xml there.
    made = [href for kind, href in links if kind == _SERVICE]
    if main in made:
        stem = names[main].rpartition(".")[0]
        names |= {href: f"{stem}.{href.rpartition('.')[2]}" for href in made if href != main}
    names |= {href: _name(href) for href in hrefs if href not in names and not href.endswith(".md5")}
    stated, buckets = _stated(product.umm), _bucketed(product.umm)
    taken: set[str] = set()
    for href, name in names.items():
        key = "data" if href == main else _role(name)
        if key in taken or key is None:
            key = name.removeprefix(scene)
        taken.add(key)
        size, checksums = stated.get(name, (None, {}))
        if href == main:
            size, checksums = _size(properties, size), checksums or _md5(properties)
        # The extractor has been seen to hand out another burst than was asked for.
        named = name if href == main and href in made else None
        sources = [Source(href=href, auth="earthdata", named=named)]
        if (direct := buckets.get(_name(href))) is not None:
            sources.append(Source(href=direct, auth="asf-s3"))
        yield Asset(
            key=key,
            path=f"{folder}/{_safe(name)}",
            size=size,
            checksums=checksums,
            sources=tuple(sources),
        )


def _bucketed(umm: Mapping[str, Json]) -> dict[str, str]:
    """The address of each file in ASF's own buckets, by its name there."""
    out = {}
    for link in umm.get("RelatedUrls", ()):
        found = s3href.parse(str(link.get("URL")))
        # Those of ASF's whose keys its distribution host gives; NISAR's and others have hosts of their own.
        if found is not None and found.bucket.startswith("asf-ngap2w-p-"):
            out[_name(found.key)] = s3href.https(replace(found, region=DIRECT["asf-s3"].region))
    return out


def _role(name: str) -> str | None:
    if name.endswith(".xml"):
        return "metadata"
    return "browse" if name.endswith(_IMAGES) else None


def _stated(umm: Mapping[str, Json]) -> dict[str, tuple[int | None, dict[str, str]]]:
    """Size and checksum of each file by its name, where the record says them (OPERA, NISAR)."""
    out = {}
    for item in umm.get("DataGranule", {}).get("ArchiveAndDistributionInformation", ()):
        checksum = item.get("Checksum", {})
        algorithm = _ALGORITHMS.get(checksum.get("Algorithm"))
        checksums = {algorithm: checksum["Value"].lower()} if algorithm else {}
        # `Size` is in rounded megabytes, which proves nothing.
        out[item["Name"]] = (item.get("SizeInBytes"), checksums)
    return out


def _size(properties: Mapping[str, Json], stated: int | None) -> int | None:
    """Of the main file: a number for most products, a text for bursts."""
    size = properties.get("bytes")
    return stated if size is None or isinstance(size, dict) else int(size)


def _md5(properties: Mapping[str, Json]) -> dict[str, str]:
    """Of the main file; bursts and ALOS-2 have none."""
    md5 = properties.get("md5sum")
    return {"md5": md5.lower()} if isinstance(md5, str) and md5 else {}


def _name(href: str) -> str:
    return href.rpartition("/")[2]


def _safe(name: str) -> str:
    """A server-given name as one component of a path."""
    clean = re.sub(r"[^\w.+=@-]", "_", name).lstrip(".")
    return clean or "_"
