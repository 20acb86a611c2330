"""What the Copernicus Data Space's records say: one product as a granule with its properties and files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby

from skystage.archives import odata, records
from skystage.archives.cdse_filter import stem
from skystage.model import Asset, Granule, Json, Source, from_iso
from skystage.s2names import PRODUCT, UNNUMBERED

ARCHIVE = "cdse"
SENTINEL_1 = re.compile(r"(?P<sensing>S1[A-D]_\w{2}_\w{4}_\w{4}_\d{8}T\d{6}_\w+)_[0-9A-F]{4}(?P<form>_COG)?")
_FOLDER = re.compile(r"/eodata/([^/]+)/")
_UNIT = re.compile(r"S[1236][A-D](?=_)")
_KEPT = ("Id", "Name", "OriginDate", "PublicationDate", "Online", "S3Path")
_SAME = 0.5
"""The part of two footprints together that both have: 0.999 and more where one was processed twice, 0.18 for
two halves of a tile. Measured on 3,410 products of the tile 31UFS."""
PART = "part"


@records.whole(ARCHIVE, lambda record: record["Name"])
def granule(record: Mapping[str, Json], *, deleted: bool | None = None) -> Granule:
    """A record as a granule.

    Parameters
    ----------
    deleted
        Noted in the properties, where it matters.
    """
    attributes = {item["Name"]: item["Value"] for item in record.get("Attributes") or ()}
    properties = {**attributes, **{key: record[key] for key in _KEPT if record.get(key) is not None}}
    properties["collection"] = _collection(record, attributes)
    if (unit := _UNIT.match(record["Name"])) is not None:
        properties["platform"] = f"SENTINEL-{unit[0][1:]}"
    if deleted is not None:
        properties["deleted"] = deleted
    name = stem(record["Name"])
    collection = "_".join(
        str(one) for one in (properties["collection"], attributes.get("productType")) if one
    )
    dates = record["ContentDate"]
    return Granule(
        archive=ARCHIVE,
        collection=collection,
        id=name,
        native_id=record["Id"],
        start=None if dates["Start"] is None else from_iso(dates["Start"]),
        stop=None if dates.get("End") is None else from_iso(dates["End"]),
        geometry=records.footprint(record.get("GeoFootprint")),
        stack=stack(name, properties),
        properties=dict(sorted(properties.items())),
        assets=() if deleted else tuple(_assets(record, folder(collection, name))),
    )


def folder(collection: str, name: str) -> str:
    """Where the files of a granule lie below any store."""
    return f"{ARCHIVE}/{_safe(collection)}/{_safe(name)}"


def _collection(record: Mapping[str, Json], attributes: Mapping[str, Json]) -> str:
    """The first folder of the product's place; a record does not say its collection."""
    place = _FOLDER.match(record.get("S3Path") or "")
    return str(place[1] if place else attributes.get("platformShortName") or "unknown").upper()


def stack(name: str, properties: Mapping[str, Json]) -> str:
    """The stack of a granule: the tile of Sentinel-2, else the relative orbit, if there is one."""
    tile = PRODUCT.fullmatch(name)
    if tile is not None:
        return tile["tile"]
    orbit = properties.get("relativeOrbitNumber")
    return "" if orbit is None else f"p{orbit}"


def sensing(granule: Granule) -> str | None:
    """What several processings of one sensing share; None where skystage knows of no others.

    For Sentinel-2 satellite, level, datatake and tile (and which half of it, see `parted`), for Sentinel-1
    the name without the checksum at its end.
    """
    if (match := PRODUCT.fullmatch(granule.id)) is not None:
        words = (match["unit"], match["level"], match["datatake"], match["tile"])
        return " ".join((*words, str(granule.properties.get(PART, ""))))
    if (match := SENTINEL_1.fullmatch(granule.id)) is not None:
        return f"{match['sensing']} {match['form'] or ''}"
    return None


def processed(granule: Granule) -> str:
    """The processing baseline of Sentinel-2, then the time of processing, as text that sorts."""
    match = PRODUCT.fullmatch(granule.id)
    said = granule.properties.get("processingDate") or (match["made"] if match else None)
    when = re.sub(r"\D", "", str(said or granule.properties.get("OriginDate") or ""))[:14]
    baseline = match["baseline"] if match else ""
    return f"{'' if baseline == UNNUMBERED else baseline:>4} {when}"


# --------------------------------------------------------------------------------------------------
# Tiles in two halves


def parted(granules: Iterable[Granule]) -> Iterator[Granule]:
    """Granules, each that is another half of a tile than the first with the number of its half.

    Where a datatake was received in two pieces, there are two products of one datatake and tile, each with
    its part of the ground. They are no two processings, and only their footprints tell.

    Parameters
    ----------
    granules
        In order of their beginning, which all products of a datatake share.
    """
    for _, together in groupby(granules, key=lambda one: one.start):
        halves: dict[str, list[Mapping[str, Json]]] = {}
        for one in together:
            key = sensing(one)
            if key is None or one.geometry is None or not PRODUCT.fullmatch(one.id):
                yield one
                continue
            known = halves.setdefault(key, [])
            number = next(
                (number for number, half in enumerate(known) if _alike(half, one.geometry)), len(known)
            )
            if number == len(known):
                known.append(one.geometry)
            yield one if number == 0 else replace(one, properties={**one.properties, PART: number + 1})


def _alike(one: Mapping[str, Json], other: Mapping[str, Json]) -> bool:
    """Whether two footprints show the same ground: more than half of both together."""
    if one == other:
        return True
    import shapely
    from shapely.geometry import shape

    first, second = (shapely.make_valid(shape(dict(geometry))) for geometry in (one, other))
    both = shapely.union(first, second).area
    return bool(both == 0 or shapely.intersection(first, second).area / both > _SAME)


# --------------------------------------------------------------------------------------------------
# Files


def _assets(record: Mapping[str, Json], place: str) -> Iterator[Asset]:
    """The whole product, and its picture."""
    name = stem(record["Name"])
    # What is one plain file comes as it is; a product of several comes as a zip.
    plain = record["Name"] if record["Name"].endswith(".EOF") else f"{name}.zip"
    yield Asset(
        key="data",
        path=f"{place}/{_safe(plain)}",
        size=odata.size(record),
        checksums=odata.checksums(record),
        sources=(odata.source(record),),
    )
    for picture in record.get("Assets") or ():
        if picture.get("Type") == "QUICKLOOK" and str(picture.get("DownloadLink")).startswith("https:"):
            link = Source(href=picture["DownloadLink"])
            yield Asset(key="quicklook", path=f"{place}/{_safe(name)}-ql.jpg", sources=(link,))
            return


def _safe(name: str) -> str:
    """A server-given name as one component of a path."""
    return re.sub(r"[^\w.+=@-]", "_", name).lstrip(".") or "_"
