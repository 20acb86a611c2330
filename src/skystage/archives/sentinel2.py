"""The files of Sentinel-2 products as assets of their own: bands, masks, metadata.

What a product holds, and the proof of each file, stands in its ``manifest.safe``: 70 kB of a gigabyte. It is
read while a plan is made; from then on each file is an asset, with the checksum that the manifest gives (MD5,
from baseline 05.00 on SHA3-256 for images).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from skystage import documents, s2names, safefile
from skystage.archives.cdse_records import folder
from skystage.auth import EODATA
from skystage.errors import CatalogueUnavailable, QueryError, SkystageError
from skystage.model import Asset, Granule, Query, Source, Unresolved

if TYPE_CHECKING:
    from skystage.transport import Access

MANIFEST = "safe_manifest"
NOTE = "skystage:manifest"
"""The property that holds the sha256 of the manifest that a granule's assets were read from."""
SOURCES = ("nodes", "s3", "zip")
"""Where a file can be had, the cheapest first: alone by https, alone from the bucket, or out of the zip."""
_DOWNLOAD = "https://download.dataspace.copernicus.eu/odata/v1/Products({id})"
_FOLDERS = re.compile(r".*?((?:GRANULE|DATASTRIP)/.*)")
_MEDIA = {"jp2": "image/jp2", "xml": "application/xml", "gml": "application/gml+xml"}


class _File(NamedTuple):
    key: str
    path: str
    size: int | None
    checksums: Mapping[str, str]


def resolve(granules: Iterable[Granule], query: Query, access: Access) -> Iterable[Granule]:
    """Give each product the files that the query wants as assets; read no manifest if it wants none.

    Parameters
    ----------
    granules
        Products of the Copernicus Data Space, which can be iterated over more than once: `native_id` is their
        Id, `S3Path` a property; a product without one is not in the bucket.

    Raises
    ------
    CredentialsMissing
        If there are none for the manifests, or they are refused.
    QueryError
        If none of the products is of Sentinel-2.
    CatalogueUnavailable
        While iterating: if a manifest cannot be read now, and could be later, unless the query allows an
        incomplete search. What was read is kept.
    """
    wanted = tuple(key for key in query.assets if key not in ("data", "quicklook"))
    if not wanted:
        return granules
    return _resolved(granules, wanted, query, access)


def _resolved(
    granules: Iterable[Granule], wanted: Sequence[str], query: Query, access: Access
) -> Iterator[Granule]:
    sources = query.criteria.get("sources") or SOURCES
    manifests = (_document(one, sources) for one in granules if _mine(one))
    came = known = False
    with closing(documents.read_all(manifests, access)) as read:
        for granule in granules:
            came, known = True, known or _mine(granule)
            manifest = next(read) if _mine(granule) else None
            files: Mapping[str, _File] = {}
            problem = "the product has no such file"
            properties = granule.properties
            if manifest is None:
                problem = "files are known of Sentinel-2 products only"
            elif isinstance(manifest, SkystageError):
                if manifest.transient and not query.allow_incomplete:
                    raise CatalogueUnavailable(
                        f"{granule.id}: its manifest cannot be read now: {manifest.message}",
                        hint="run it again: what was read is kept",
                        retry_after=manifest.retry_after,
                    )
                problem = f"its manifest: {manifest.message}"
            else:
                properties = {**properties, NOTE: hashlib.sha256(manifest).hexdigest()}
                try:
                    files = listed(manifest)
                except ValueError as error:
                    problem = str(error)
            found = {key: files.get(s2names.finest(key, files) or "") for key in wanted}
            assets = [_asset(granule, one._replace(key=key), sources) for key, one in found.items() if one]
            lacking = [Unresolved(key=key, reason=problem) for key, one in found.items() if one is None]
            yield replace(
                granule,
                properties=properties,
                assets=(*granule.assets, *assets),
                unresolved=(*granule.unresolved, *lacking),
            )
    if came and not known:
        raise QueryError(
            f"assets: no product is of Sentinel-2: got {', '.join(wanted)}",
            hint="others have: data, quicklook",
        )


def _mine(granule: Granule) -> bool:
    return s2names.PRODUCT.fullmatch(granule.id) is not None


def listed(manifest: bytes) -> dict[str, _File]:
    """The files of a product by key, as its manifest lists them.

    Raises
    ------
    ValueError
        If it is no manifest, or one of a product with several tiles.
    """
    files = {MANIFEST: _MANIFEST}
    for one in safefile.listed(manifest):
        # Manifests of baseline 02.08 hold paths of the machine that made them.
        inside = _FOLDERS.fullmatch(one.path)
        path = inside[1] if inside else one.path
        if (key := s2names.key(path)) is None:
            continue
        if key in files:
            raise ValueError(f"its manifest lists {key} twice: a product of several tiles?")
        files[key] = _File(key, path, one.size, {one.algorithm: one.digest})
    return files


_MANIFEST = _File(MANIFEST, safefile.MANIFEST, None, {})


def _asset(granule: Granule, file: _File, sources: Sequence[str]) -> Asset:
    name = file.path.rpartition("/")[2]
    return Asset(
        key=file.key,
        path=f"{folder(granule.collection, granule.id)}/{name}",
        size=file.size,
        checksums=file.checksums,
        media_type=_MEDIA.get(name.rpartition(".")[2]),
        sources=tuple(
            _source(kind, granule, file.path)
            for kind in sources
            if kind != "s3" or "S3Path" in granule.properties
        ),
    )


def _document(granule: Granule, sources: Sequence[str]) -> Asset:
    """The manifest, as it is kept between plans: of a product that was published anew, under another Id."""
    asset = _asset(granule, _MANIFEST, sources)
    return replace(asset, path=f"{asset.path.rpartition('/')[0]}/{granule.native_id}.safe")


def _source(kind: str, granule: Granule, path: str) -> Source:
    safe = f"{granule.id}.SAFE"
    product = _DOWNLOAD.format(id=granule.native_id)
    if kind == "nodes":
        nodes = "".join(f"/Nodes({part})" for part in (safe, *path.split("/")))
        return Source(href=f"{product}{nodes}/$value", auth="cdse")
    if kind == "s3":
        place = str(granule.properties["S3Path"]).lstrip("/")
        return Source(href=f"https://{EODATA}/{place}/{path}", auth="cdse-s3")
    return Source(href=f"{product}/$value", auth="cdse", member=f"{safe}/{path}")
