"""The Copernicus Data Space Ecosystem: all Sentinels, searched by its OData catalogue.

How it is asked is in `skystage.archives.cdse_filter`, what it says in `skystage.archives.cdse_records`; that
all of it came is proved in `skystage.archives.odata`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from skystage.archives import Search, odata, sentinel2
from skystage.archives.cdse_filter import PROPERTIES, Criteria, checks, filters_of, spellings, stem
from skystage.archives.cdse_records import ARCHIVE, granule, parted, processed, sensing
from skystage.errors import SkystageError
from skystage.model import Granule, Json, Query

if TYPE_CHECKING:
    from skystage.transport import Access

_BANDS = tuple(f"B{number:02}" for number in range(1, 13))
_OF_10M = ("AOT", "B02", "B03", "B04", "B08", "TCI", "WVP")
_OF_20M = ("AOT", *_BANDS[:7], "B11", "B12", "B8A", "SCL", "TCI", "WVP")
_OF_60M = ("AOT", *_BANDS[:7], "B09", "B11", "B12", "B8A", "SCL", "TCI", "WVP")
ASSET_KEYS = (
    *("data", "quicklook", "safe_manifest"),
    *("product_metadata", "granule_metadata", "datastrip_metadata", "inspire_metadata"),
    *(*_BANDS, "B8A", "TCI", "AOT", "SCL", "WVP"),
    *(f"{band}_10m" for band in _OF_10M),
    *(f"{band}_20m" for band in _OF_20M),
    *(f"{band}_60m" for band in _OF_60M),
    # Quality files are called as their names begin.
    *("MSK_*", "*_QUALITY", "*_CORRECTNESS", "PVI"),
)
"""The whole product first. Bands without a resolution are those of level 1C, or the finest of level 2A."""

_EXPAND = ("Attributes", "Assets")
_TOGETHER = 100
"""Names in one request."""
_DELETED_TOGETHER = 30
"""Those of deleted products, which are asked for in the address: it takes 8 kB."""


class Cdse:
    """See `skystage.archives.Archive`."""

    name = ARCHIVE
    title = "Copernicus Data Space: Sentinel-1, -2, -3, -5P, -6 and their auxiliary files"
    criteria = Criteria
    properties = PROPERTIES
    property_names = None
    asset_keys = ASSET_KEYS
    companions = frozenset({"dem", "orbits"})

    def selection(self, select: Mapping[str, Json]) -> dict[str, Json]:
        """See `skystage.archives.Archive.selection`."""
        return dict(select)

    def search(self, query: Query, access: Access) -> Search:
        """See `skystage.archives.Archive.search`."""
        search = Search(iter(()))
        listed = "names" in query.criteria or "ids" in query.criteria
        search.granules = parted((_listed if listed else _found)(query, access, search))
        return search

    def checks(self, query: Query) -> dict[str, Json]:
        """See `skystage.archives.Archive.checks`."""
        return checks(query)

    def sensing(self, granule: Granule) -> str | None:
        """See `skystage.archives.Archive.sensing`."""
        return sensing(granule)

    def processed(self, granule: Granule) -> str:
        """See `skystage.archives.Archive.processed`."""
        return processed(granule)

    def offline(self, granule: Granule) -> bool:
        """See `skystage.archives.Archive.offline`."""
        return granule.properties.get("Online") is False

    def resolve(self, granules: Iterable[Granule], query: Query, access: Access) -> Iterable[Granule]:
        """See `skystage.archives.Archive.resolve`."""
        return sentinel2.resolve(granules, query, access)


def _found(query: Query, access: Access, search: Search) -> Iterator[Granule]:
    """What the criteria find, in order of its beginning."""
    for asked in filters_of(query):
        yield from map(
            granule,
            odata.records(
                asked, access, expand=_EXPAND, search=search, allow_incomplete=query.allow_incomplete
            ),
        )


# --------------------------------------------------------------------------------------------------
# Products that are named one by one


def _listed(query: Query, access: Access, search: Search) -> Iterator[Granule]:
    """What is named, whatever else is asked: a product that is there and does not match is not missing."""
    names, ids = set(query.criteria.get("names", ())), set(query.criteria.get("ids", ()))
    for group in _groups(names):
        asked = [spelt for name in group for spelt in spellings(name)]
        records = odata.listed(asked, access, expand=_EXPAND)
        names -= {stem(record["Name"]) for record in records}
        yield from _told(records, search)
    records = [
        record
        for identifier in sorted(ids)
        if (record := odata.product(identifier, access, expand=_EXPAND)) is not None
    ]
    ids -= {record["Id"] for record in records}
    yield from _told(records, search)
    gone: list[Granule] = []
    try:
        gone += _deleted(names, access)
    except SkystageError as error:
        search.degraded.append(f"{odata.HOST}: deleted products: {error.message}")
    search.hits += len(gone)
    search.received += len(gone)
    yield from gone
    search.missing = sorted((names | ids) - {one.id for one in gone})


def _told(records: Iterable[Mapping[str, Json]], search: Search) -> list[Granule]:
    """Records as granules, in order of their beginning."""
    found = [granule(record, deleted=False) for record in records]
    search.hits += len(found)
    search.received += len(found)
    return sorted(found, key=lambda one: (str(one.start), one.id))


def _groups(names: Iterable[str]) -> Iterator[list[str]]:
    """Names that go into one request; all of one datatake and tile go together (see `parted`)."""
    group: list[str] = []
    last = None
    for tile, name in sorted(((name[:26], name[38:44]), name) for name in names):
        if len(group) >= _TOGETHER and tile != last:
            yield group
            group = []
        group.append(name)
        last = tile
    if group:
        yield group


def _deleted(names: Iterable[str], access: Access) -> Iterator[Granule]:
    """Those that the archive once had, and deleted."""
    wanted = sorted(names)
    for at in range(0, len(wanted), _DELETED_TOGETHER):
        group = wanted[at : at + _DELETED_TOGETHER]
        asked = " or ".join(f"startswith(Name,{odata.quoted(name)})" for name in group)
        for record in odata.records(asked, access, kind="DeletedProducts", expand=("Attributes",)):
            if stem(record["Name"]) in group:
                yield granule(record, deleted=True)
