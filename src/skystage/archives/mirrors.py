"""The Copernicus Data Space as a second source of Sentinel-1 products that ASF lists.

The two archives zip the same product differently: their files have other sizes and checksums. Each file
is proved by what its own archive says of it, and that it is the same product by what is inside
(`skystage.safefile`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from skystage import safefile
from skystage.archives import Changed, Companions, odata
from skystage.errors import QueryError, SkystageError
from skystage.model import Asset, Granule, Json, Repacked, Source

if TYPE_CHECKING:
    from skystage.transport import Access

KEY = "data"
NAMES = 100
"""Products asked for at once."""


class _Copy(NamedTuple):
    source: Source
    size: int | None
    checksums: dict[str, str]


def find(granules: Iterable[Granule], options: Json, access: Access) -> Companions:
    """Give each Sentinel-1 product that the Copernicus Data Space has too a second source.

    Parameters
    ----------
    options
        ``true``, or ``{first: true}`` to take its copy before that of the archive that was searched.
    """
    first = _first(options)
    copies: dict[str, _Copy] = {}
    degraded = []
    names = (granule.id for granule in granules if _mirrored(granule) is not None)
    try:
        for asked in _groups(names):
            copies.update(_copies(asked, access))
    except SkystageError as error:
        degraded.append(f"{odata.HOST}: {error.message}")

    def joined(granule: Granule) -> Granule:
        asset, copy = _mirrored(granule), copies.get(granule.id)
        if asset is None or copy is None:
            return granule
        mirrored = _with(asset, copy, first=first)
        return replace(granule, assets=tuple(mirrored if one is asset else one for one in granule.assets))

    return Companions(Changed(granules, joined), degraded=degraded)


def _first(options: Json) -> bool:
    if options is True:
        return False
    first = options.get("first") if isinstance(options, dict) else None
    if not isinstance(first, bool) or set(options) - {"first"}:
        raise QueryError(f"with: mirrors: got {options!r}", hint="true, or {first: true}")
    return first


def _mirrored(granule: Granule) -> Asset | None:
    """The asset that is a zip of a whole product, if its name proves what is in it."""
    asset = granule.asset(KEY)
    proved = asset is not None and asset.name.endswith(".zip") and safefile.names_its_manifest(granule.id)
    return asset if proved and safefile.stem(asset.name) == granule.id else None  # type: ignore[union-attr]


def _groups(names: Iterable[str]) -> Iterator[list[str]]:
    left = iter(names)
    while group := list(islice(left, NAMES)):
        yield group


def _copies(names: list[str], access: Access) -> Iterator[tuple[str, _Copy]]:
    for record in odata.listed([f"{name}.SAFE" for name in names], access):
        if record.get("Online", True):
            copy = _Copy(odata.source(record), odata.size(record), odata.checksums(record))
            yield safefile.stem(record["Name"]), copy


def _with(asset: Asset, copy: _Copy, *, first: bool) -> Asset:
    md5 = copy.checksums.get("md5")
    source = copy.source
    if md5 is None or (copy.size, md5) != (asset.size, asset.checksums.get("md5")):
        source = replace(source, repacked=Repacked(size=copy.size, checksums=copy.checksums))
    return replace(asset, sources=(source, *asset.sources) if first else (*asset.sources, source))
