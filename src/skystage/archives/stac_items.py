"""What STAC items say: one item as a granule with its properties and files.

Properties are kept as they are, under their own names. What is decided here: which of several addresses
of a file can be asked, with which log-in, and what the file is called in a store.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from urllib.parse import quote, unquote, urljoin, urlsplit

import shapely
from shapely.geometry import shape

from skystage import aoi, auth, multihash, s3
from skystage.archives.components import component, directory
from skystage.model import Asset, Granule, Json, Source, Unresolved, from_iso

ARCHIVE = "stac"

_EODATA = "s3://eodata/"
_ZIPPER = "https://zipper.dataspace.copernicus.eu/"
_DOWNLOAD = "https://download.dataspace.copernicus.eu/"
_LOG_INS = {
    "cdse": ("dataspace.copernicus.eu",),
    "earthdata": ("earthdata.nasa.gov", "earthdatacloud.nasa.gov", "asf.alaska.edu"),
}
"""Log-in scheme to the domains of the hosts that ask for it."""
_SUFFIXES = {
    "application/geo+json": ".json",
    "application/json": ".json",
    "application/xml": ".xml",
    "application/zip": ".zip",
    "image/jp2": ".jp2",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/tiff": ".tif",
    "text/xml": ".xml",
}


def granule(item: Mapping[str, Json], base: str, *, collection: str) -> Granule:
    """One item as a granule.

    Parameters
    ----------
    base
        The item's own address, which relative ones start from.
    collection
        Of the item; its own word for it may be missing in a static catalogue.
    """
    said: Mapping[str, Json] = item.get("properties") or {}
    name = item["id"]
    start = _moment(said.get("start_datetime")) or _moment(said.get("datetime"))
    assets, lacking = _assets(item, base, f"{ARCHIVE}/{directory(collection)}/{directory(name)}")
    return Granule(
        archive=ARCHIVE,
        collection=collection,
        id=name,
        native_id=name,
        start=start,
        stop=_moment(said.get("end_datetime")) or start,
        body=_body(said),
        geometry=_footprint(item.get("geometry")),
        stack=_stack(said, collection),
        properties=said,
        assets=assets,
        unresolved=lacking,
    )


def _footprint(said: Json) -> dict[str, Json] | None:
    """The geometry of an item; one without a place is none."""
    return None if said is None or shapely.is_empty(shape(said)) else aoi.split(said)


def _moment(text: Json) -> datetime | None:
    try:
        return from_iso(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _body(said: Mapping[str, Json]) -> str:
    """The body that the extension ``ssys`` names, the first of several; the earth where it names none."""
    targets = said.get("ssys:targets")
    first = targets[0] if isinstance(targets, list) and targets else targets
    return first.lower() if isinstance(first, str) and first else "earth"


def _stack(said: Mapping[str, Json], collection: str) -> str:
    """The cell of a grid (``MGRS-31UFS`` is the tile 31UFS), where the item says one; else the collection."""
    code = said.get("grid:code")
    return code.removeprefix("MGRS-") if isinstance(code, str) and code else collection


# --------------------------------------------------------------------------------------------------
# Files


def _assets(
    item: Mapping[str, Json], base: str, folder: str
) -> tuple[tuple[Asset, ...], tuple[Unresolved, ...]]:
    given = {key: said for key, said in (item.get("assets") or {}).items() if said.get("href")}
    names = _names({key: (said["href"], _name(key, said)) for key, said in given.items()})
    assets, lacking = [], []
    for key, said in given.items():
        paid = _paid(said, item.get("properties") or {})
        found = [_source(urljoin(base, href), paid=paid) for href in _hrefs(said)]
        # S3 comes last: whoever has no keys for it gets the file by https.
        sources = tuple(sorted((one for one in found if one is not None), key=_by_s3))
        if not sources:
            scheme = urlsplit(said["href"]).scheme or "file"
            reason = f"its address is {scheme}:, which cannot be fetched"
            lacking.append(Unresolved(key=key, reason=reason))
            continue
        size = said.get("file:size")
        assets.append(
            Asset(
                key=key,
                path=f"{folder}/{names[key]}",
                size=size if isinstance(size, int) and size > 0 else None,
                checksums=multihash.read(said.get("file:checksum") or said.get("checksum:multihash")),
                media_type=said.get("type"),
                sources=sources,
            )
        )
    return tuple(assets), tuple(lacking)


def _hrefs(said: Mapping[str, Json]) -> Iterator[str]:
    """All addresses of a file: its own, and those of the extension ``alternate``."""
    yield said["href"]
    for other in (said.get("alternate") or {}).values():
        if other.get("href"):
            yield other["href"]


def _paid(said: Mapping[str, Json], properties: Mapping[str, Json]) -> bool:
    """Whether the requester pays for S3, as the extension ``storage`` says it in its versions 1 and 2."""
    schemes, refs = properties.get("storage:schemes"), said.get("storage:refs")
    if isinstance(schemes, Mapping) and isinstance(refs, list) and refs:
        return all((schemes.get(ref) or {}).get("requester_pays") is True for ref in refs)
    return said.get("storage:requester_pays", properties.get("storage:requester_pays")) is True


def _source(href: str, *, paid: bool) -> Source | None:
    """An address as a source; None for what cannot be fetched from."""
    if href.startswith(_EODATA):
        # Not one of Amazon's buckets. The address is the one that its own archive gives.
        key = quote(href.removeprefix(_EODATA), safe="/~")
        return Source(href=f"https://{auth.EODATA}/eodata/{key}", auth=s3.EODATA)
    if href.startswith("s3://"):
        return Source(href=href, auth=s3.SCHEME if paid else None, requester_pays=paid)
    scheme, host = urlsplit(href).scheme, urlsplit(href).hostname or ""
    if scheme not in {"http", "https"} or not host:
        return None
    if paid and s3.belongs(s3.SCHEME, scheme, host):
        return Source(href=href, auth=s3.SCHEME, requester_pays=True)
    if href.startswith(_ZIPPER):
        # The same service under its older name, which would be asked as a host of its own. Addresses of
        # metadata have been recorded with a node that has no name, and is not there.
        href = f"{_DOWNLOAD}{href.removeprefix(_ZIPPER)}".replace("/Nodes()/", "/")
    log_in = s3.EODATA if host == auth.EODATA else _log_in(host)
    return Source(href=href, auth=log_in if scheme == "https" else None)


def _log_in(host: str) -> str | None:
    for scheme, domains in _LOG_INS.items():
        if any(host == domain or host.endswith(f".{domain}") for domain in domains):
            return scheme
    return None


def _by_s3(source: Source) -> bool:
    return source.href.startswith("s3://") or source.auth in {s3.SCHEME, s3.EODATA}


# --------------------------------------------------------------------------------------------------
# Names


def _name(key: str, said: Mapping[str, Json]) -> str:
    """What a file is called where it lies."""
    local = said.get("file:local_path")
    if isinstance(local, str) and local.strip("/"):
        return local.rpartition("/")[2]
    href = said["href"]
    # A key in S3 may hold "?"; elsewhere it begins what is not the name.
    path = href if href.startswith("s3://") else unquote(urlsplit(href).path)
    if (node := _NODE.search(path)) is not None:
        return node[1]
    last = path.rpartition("/")[2]
    if last in ("", "$value"):
        kind = str(said.get("type") or "").partition(";")[0].strip()
        return f"{key}{_SUFFIXES.get(kind, '')}"
    return last


_NODE = re.compile(r"Nodes\(([^()/]+)\)/\$value$")
"""The file that an OData address ends at."""


def _names(files: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """A name for each of an item's files, by key: equal ones of different files get their keys before them.

    Parameters
    ----------
    files
        Key to address and name.
    """
    safe = {key: (href, component(name)) for key, (href, name) in files.items()}
    count = Counter(name.casefold() for _, name in set(safe.values()))
    given: dict[tuple[str, str], str] = {}
    taken: set[str] = set()
    for key, file in sorted(safe.items(), key=lambda one: (count[one[1][1].casefold()], one[0])):
        if file in given:
            continue
        name = file[1]
        chosen = name if count[name.casefold()] == 1 else component(f"{key}_{name}")
        while chosen.casefold() in taken:
            chosen = f"_{chosen}"
        taken.add(chosen.casefold())
        given[file] = chosen
    return {key: given[file] for key, file in safe.items()}
