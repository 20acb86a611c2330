"""Sentinel-1 products that already lie in a folder, zipped or unpacked: an archive that makes no request.

What a granule is comes from the product's ``manifest.safe`` (of a zip that one member is read, whatever
the rest weighs) and must agree with the product's name. A product that cannot be read is a granule too,
with the reason: a folder with a broken download in it is never taken for a smaller one.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from skystage.archives import Search
from skystage.errors import QueryError, StructureError
from skystage.model import Granule, Json, Query, Unresolved, from_iso

if TYPE_CHECKING:
    from skystage.transport import Access

KEY = "data"
_NAME = re.compile(
    r"(?P<sensing>S1(?P<unit>[A-D])_(?P<mode>\w\w)_(?P<product>\w{3})(?P<resolution>[FHM_])_[012]S(?P<channels>\w\w)"
    r"_(?P<start>\d{8}T\d{6})_(?P<stop>\d{8}T\d{6})_(?P<orbit>\d{6})_[0-9A-F]{6})_[0-9A-F]{4}"
)
"""Sentinel-1 Product Definition, section 3.1.1."""
_CHANNELS = {"SH": "HH", "SV": "VV", "DH": "HH+HV", "DV": "VV+VH"}
_SUFFIXES = (".SAFE", ".zip")
"""The unpacked product first: who has both reads that one."""
_AGREE = ("platform", "beamMode", "processingLevel", "polarization", "orbit")
_SECOND = timedelta(seconds=1)
"""Names have whole seconds."""


class Criteria(BaseModel):
    """Where to look."""

    model_config = ConfigDict(extra="forbid")

    folder: Annotated[str, Field(min_length=1)]
    """It starts where the command is run."""
    recursive: bool = False
    """Look into the folders below as well."""


class Safe:
    """See `skystage.archives.Archive`."""

    name = "safe"
    title = "Sentinel-1 products in a folder: SAFE, zipped or unpacked"
    criteria = Criteria
    properties: Mapping[str, str] = {
        "absolute_orbit": "orbit",
        "beam_mode": "beamMode",
        "flight_direction": "flightDirection",
        "orbit_direction": "flightDirection",
        "platform": "platform",
        "polarization": "polarization",
        "processing_level": "processingLevel",
        "product_type": "processingLevel",
        "relative_orbit": "pathNumber",
    }
    property_names = frozenset((*_AGREE, "fileName", "flightDirection", "pathNumber", "processedAt"))
    # What lies there is not fetched: a granule of this archive brings along companions only.
    asset_keys = ()
    companions = frozenset({"dem", "orbits"})

    def selection(self, select: Mapping[str, Json]) -> dict[str, Json]:
        """See `skystage.archives.Archive.selection`."""
        return dict(select)

    def search(self, query: Query, access: Access) -> Search:
        """See `skystage.archives.Archive.search`."""
        del access
        folder = Path(query.criteria["folder"])
        if not folder.is_dir():
            raise QueryError(f"folder: {str(folder)!r} is no folder", hint="it starts where you are")
        products = _products(folder, recursive=query.criteria["recursive"])
        search = Search(iter(()), hits=len(products))
        search.granules = _granules(folder, products, search)
        return search

    def checks(self, query: Query) -> dict[str, Json]:
        """See `skystage.archives.Archive.checks`."""
        moments = {"start": query.start, "end": query.end}
        return {name: moment.isoformat() for name, moment in moments.items() if moment is not None}

    def sensing(self, granule: Granule) -> str | None:
        """See `skystage.archives.Archive.sensing`."""
        # What cannot be read neither replaces another processing nor is replaced by it.
        return None if granule.unresolved else granule.id[:-5]

    def processed(self, granule: Granule) -> str:
        """See `skystage.archives.Archive.processed`."""
        return str(granule.properties.get("processedAt") or "")

    def offline(self, granule: Granule) -> bool:
        """See `skystage.archives.Archive.offline`."""
        del granule
        return False

    def resolve(self, granules: Iterable[Granule], query: Query, access: Access) -> Iterable[Granule]:
        """See `skystage.archives.Archive.resolve`."""
        del query, access
        return granules


def _products(folder: Path, *, recursive: bool) -> dict[str, list[Path]]:
    """Product names, and the paths at which each lies."""
    found: dict[str, list[Path]] = {}
    for suffix in _SUFFIXES:
        pattern = f"S1*{suffix}"
        for path in sorted(folder.rglob(pattern) if recursive else folder.glob(pattern)):
            if _NAME.fullmatch(path.stem):
                found.setdefault(path.stem, []).append(path)
    return dict(sorted(found.items()))


def _granules(folder: Path, products: Mapping[str, list[Path]], search: Search) -> Iterator[Granule]:
    for name, paths in products.items():
        search.received += 1
        refused = []
        for path in paths:
            try:
                yield _granule(name, path.relative_to(folder).as_posix(), _manifest(path))
                break
            except StructureError as error:
                refused.append(error.message)
        else:
            reason = Unresolved(key=KEY, reason="; ".join(refused))
            yield _broken(name, paths[0].relative_to(folder).as_posix(), reason)


def _manifest(path: Path) -> ET.Element:
    """The product's manifest, read as it lies there.

    Raises
    ------
    StructureError
        If there is none, or it cannot be read.
    """
    member = f"{path.stem}.SAFE/manifest.safe"
    try:
        if path.is_dir():
            content = (path / "manifest.safe").read_bytes()
        else:
            with zipfile.ZipFile(path) as product:
                content = product.read(member)
        return ET.fromstring(content)  # noqa: S314 - expat of Python 3.11 bounds expansion
    except KeyError as error:
        raise StructureError(f"{path.name}: has no member {member}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise StructureError(f"{path.name}: not a whole zip: {error}") from error
    except ET.ParseError as error:
        raise StructureError(f"{path.name}: its manifest is broken XML: {error}") from error
    except OSError as error:
        raise StructureError(f"{path.name}: its manifest: {error.strerror}") from error


# --------------------------------------------------------------------------------------------------
# What name and manifest say


def _named(name: str) -> tuple[dict[str, Json], datetime, datetime]:
    """The properties that a product's name tells, and its sensing interval to the second."""
    match = _NAME.fullmatch(name)
    assert match is not None  # noqa: S101 - others are not listed
    properties = {
        "platform": f"Sentinel-1{match['unit']}",
        "beamMode": match["mode"],
        "processingLevel": match["product"],
        "polarization": _CHANNELS.get(match["channels"], match["channels"]),
        "orbit": int(match["orbit"]),
    }
    start, stop = (
        datetime.strptime(match[key], "%Y%m%dT%H%M%S").replace(tzinfo=UTC) for key in ("start", "stop")
    )
    return properties, start, stop


def _broken(name: str, file: str, reason: Unresolved) -> Granule:
    properties, start, stop = _named(name)
    return Granule(
        archive=Safe.name,
        collection=_collection(properties),
        id=name,
        native_id=file.rpartition("/")[2],
        start=start,
        stop=stop,
        properties={**properties, "fileName": file},
        unresolved=(reason,),
    )


def _granule(name: str, file: str, manifest: ET.Element) -> Granule:
    """A product as a granule.

    Raises
    ------
    StructureError
        If its manifest is not that of a Sentinel-1 product, or of another one than its name says.
    """
    # Loaded with shapely, which who only names a folder wrongly need not wait for.
    from skystage import aoi

    native_id = file.rpartition("/")[2]
    try:
        properties, start, stop = _said(manifest)
        geometry = aoi.split(_footprint(manifest))
    except (ValueError, IndexError) as error:
        raise StructureError(f"{native_id}: its manifest is not a Sentinel-1 product's: {error}") from error
    named, first, last = _named(name)
    for key in _AGREE:
        if named[key] != properties[key]:
            raise StructureError(
                f"{native_id}: {key}: the name says {named[key]}, its manifest {properties[key]}"
            )
    if abs(start - first) > _SECOND or abs(stop - last) > _SECOND:
        raise StructureError(f"{native_id}: its manifest is of {start:%FT%TZ} to {stop:%FT%TZ}")
    return Granule(
        archive=Safe.name,
        collection=_collection(properties),
        id=name,
        native_id=native_id,
        start=start,
        stop=stop,
        geometry=geometry,
        # Products do not say what frame ASF counts them to.
        stack=f"p{properties['pathNumber']}",
        properties={**properties, "fileName": file},
    )


def _collection(properties: Mapping[str, Json]) -> str:
    return f"{str(properties['platform']).upper()}_{properties['processingLevel']}"


def _said(manifest: ET.Element) -> tuple[dict[str, Json], datetime, datetime]:
    """The properties that a manifest tells, and its sensing interval, UTC.

    Raises
    ------
    ValueError
        If it lacks one.
    """

    def text(path: str) -> str:
        found = manifest.findtext(f".//{path}")
        if found is None:
            raise ValueError(f"no {path.replace('{*}', '')}")
        return found.strip()

    channels = [
        (one.text or "").strip() for one in manifest.iterfind(".//{*}transmitterReceiverPolarisation")
    ]
    properties: dict[str, Json] = {
        "platform": f"Sentinel-1{text('{*}platform/{*}number')}",
        "beamMode": text("{*}instrumentMode/{*}mode"),
        "processingLevel": text("{*}standAloneProductInformation/{*}productType"),
        # The channel that is received as it was sent comes first, as ASF has it.
        "polarization": "+".join(sorted(channels, key=lambda one: one[:1] != one[1:])),
        "orbit": int(text("{*}orbitNumber[@type='start']")),
        "pathNumber": int(text("{*}relativeOrbitNumber[@type='start']")),
        "flightDirection": text("{*}orbitProperties/{*}pass"),
    }
    processing = manifest.find(".//metadataObject[@ID='processing']//{*}processing")
    if processing is not None and processing.get("stop"):
        properties["processedAt"] = processing.get("stop")
    start, stop = (from_iso(text(f"{{*}}acquisitionPeriod/{{*}}{word}Time")) for word in ("start", "stop"))
    return properties, start, stop


def _footprint(manifest: ET.Element) -> dict[str, Json]:
    """The footprint, longitude first: manifests have latitude first, and do not close the ring."""
    pairs = (manifest.findtext(".//{*}footPrint/{*}coordinates") or "").split()
    ring = [[float(number) for number in reversed(pair.split(","))] for pair in pairs]
    if len(ring) < 3 or any(len(point) != 2 for point in ring):
        raise ValueError("no footPrint")
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
