"""MAST: the observations of Hubble, Webb, Kepler, K2, TESS and twenty other missions, and their files.

A granule is an observation of MAST's common catalogue (CAOM), an asset one of its products. How the portal is
asked is in `skystage.archives.portal` and `skystage.archives.mast_criteria`, what it says in
`skystage.archives.mast_records`. That all came is proved by a count; and each criterion is tested again.
"""

from __future__ import annotations

import difflib
import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from skystage import filters
from skystage.archives import Search, mast_records
from skystage.archives.mast_criteria import COLUMNS, RADIUS, Criteria, around, checks, named, questions, snake
from skystage.archives.mast_records import ARCHIVE, PUBLIC, SOURCES
from skystage.archives.portal import LOOKED_UP, TITLE, Portal, Position, places, resolve
from skystage.archives.records import reading
from skystage.criteria import number_of
from skystage.errors import IncompleteSearch, QueryError, SearchError
from skystage.listings import Listings
from skystage.model import Asset, Granule, Json, Query, Unresolved, canonical

if TYPE_CHECKING:
    from skystage.transport import Access

PRODUCTS = (
    *(
        "obsID",
        "obs_collection",
        "dataproduct_type",
        "obs_id",
        "description",
        "type",
        "dataURI",
        "productType",
    ),
    *("productGroupDescription", "productSubGroupDescription", "productDocumentationURL", "project"),
    *("prvversion", "proposal_id", "productFilename", "size", "parent_obsid", "dataRights", "calib_level"),
    "filters",
)
"""The columns of a product: MAST, "Products Field Descriptions"."""
_OURS = ("key", "name", "path", "media_type")
"""Fields of an asset that are no columns."""
_NUMBERS = ("size", "calib_level")
_MINIMUM = "Minimum Recommended Products"
TOGETHER = 100
"""Observations whose products are listed by one request: one of Webb's may have a thousand."""
FRAMES = ("TESS FFI", "TICA FFI")
"""Targets of a whole sector's full-frame images: each is more files than the portal lists."""
_TOO_MANY = "a sector's full-frame images are too many to be listed: see archive.stsci.edu/tess"
_NAMED = 50
"""Targets that a note lists."""


class Mast:
    """See `skystage.archives.Archive`."""

    name = ARCHIVE
    title = "MAST: Hubble, Webb, Kepler, K2, TESS and other space telescopes (CAOM)"
    criteria = Criteria
    properties: Mapping[str, str] = {snake(name): name for name in COLUMNS}
    property_names = None
    asset_keys = None
    companions: frozenset[str] = frozenset()

    def selection(self, select: Mapping[str, Json]) -> dict[str, Json]:
        """See `skystage.archives.Archive.selection`. The words of ``filter_products`` are among them."""
        return selection(select, PRODUCTS)

    def search(self, query: Query, access: Access) -> Search:
        """See `skystage.archives.Archive.search`."""
        search = Search(iter(()))
        search.granules = _found(query, access, search)
        return search

    def checks(self, query: Query) -> dict[str, Json]:
        """See `skystage.archives.Archive.checks`."""
        return checks(query)

    def sensing(self, granule: Granule) -> str | None:
        """See `skystage.archives.Archive.sensing`. Levels of one exposure are observations of their own."""
        del granule
        return None

    def processed(self, granule: Granule) -> str:
        """See `skystage.archives.Archive.processed`."""
        del granule
        return ""

    def offline(self, granule: Granule) -> bool:
        """See `skystage.archives.Archive.offline`."""
        del granule
        return False

    def resolve(self, granules: Iterable[Granule], query: Query, access: Access) -> Iterable[Granule]:
        """List the products of the observations that were kept: those that the query selects.

        Raises
        ------
        QueryError
            If the query does not say which products are wanted.
        SearchError
            While iterating: if they cannot be listed now. What was listed is kept for a day.
        """
        return _resolved(granules, query, access)


# --------------------------------------------------------------------------------------------------
# Which products


def selection(select: Mapping[str, Json], columns: Sequence[str], *, minimum: bool = True) -> dict[str, Json]:
    """The words of astroquery's ``filter_products``, and columns in snake_case, as fields of assets.

    Parameters
    ----------
    minimum
        Whether the archive says which products it recommends at least (``mrp_only``).

    Raises
    ------
    QueryError
        If there is no such column, or a number is compared with something else.
    """
    own = {**{snake(name): name for name in columns}, **{name: name for name in (*columns, *_OURS)}}
    found: dict[str, Json] = {}
    for name, value in select.items():
        field, wanted = own.get(name), value
        if name == "mrp_only" and minimum:
            if not isinstance(value, bool):
                raise QueryError(f"select.mrp_only: got {value!r}", hint="allowed: true, false")
            if not value:
                continue
            field, wanted = "productGroupDescription", _MINIMUM
        elif name == "extension":
            ends = value if isinstance(value, list) else [value]
            if no_end := [end for end in ends if not isinstance(end, str) or end.startswith("!")]:
                raise QueryError(
                    f"select.extension: got {no_end[0]!r}",
                    hint="allowed: how names end, such as fits, or a list of these; "
                    "all others are name: '!*.fits'",
                )
            field, wanted = "name", {"like": sorted(f"*{end}" for end in ends)}
        if field is None:
            near = difflib.get_close_matches(name, [*own, *(["mrp_only"] if minimum else []), "extension"], 1)
            hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(sorted(own))}"
            raise QueryError(f"select.{name}: products have no such column", hint=hint)
        if field in found:
            raise QueryError(f"select.{name}: says the same as another one", hint="keep one of them")
        if field in _NUMBERS:
            _check_number(name, wanted)
        found[field] = wanted
    return dict(sorted(found.items()))


def _check_number(name: str, wanted: Json) -> None:
    for item in wanted if isinstance(wanted, list) else [wanted]:
        bounds = item.values() if isinstance(item, Mapping) else [item]
        if isinstance(item, str) and filters.expression(item.removeprefix("!")) is not None:
            continue
        if any(number_of(bound) is None for bound in bounds):
            allowed = "5, '10..20', '>=5', '<5', '!5', {min: , max: }, or a list of these"
            raise QueryError(f"select.{name}: got {item!r}", hint=f"allowed: {allowed}")


# --------------------------------------------------------------------------------------------------
# Observations


def _found(query: Query, access: Access, search: Search) -> Iterator[Granule]:
    """All observations: they lie on disk until all have come, and it is known which share a name."""
    portal = Portal(access)
    position, said = place(query, access)
    known = portal.columns(position)
    shared: Counter[int] = Counter()
    once: set[str] = set()
    with tempfile.TemporaryFile() as spool:
        for asked in questions(query, known, position):
            count = portal.count(asked, position)
            search.hits += count
            came: set[tuple[Json, Json]] = set()
            for row in portal.observations(asked, position):
                search.received += 1
                with reading(TITLE, lambda row=row: row.get("obs_id") or row["obsid"]):  # type: ignore[misc]
                    obsid = mast_records.said(row, "obsid")
                    came.add((obsid, row.get("objID")))
                    if obsid not in once:
                        once.add(obsid)
                        shared[_name(row)] += 1
                        spool.write(f"{canonical(row)}\n".encode())
            if len(came) < count and not query.allow_incomplete:
                raise IncompleteSearch(
                    f"MAST: counted {count:,} observations and delivered {len(came):,} different ones",
                    hint="try again; `allow_incomplete: true` accepts it",
                )
        names: dict[str, set[str]] = defaultdict(set)
        wanted = named(query)
        targets = Targets(position, said)
        spool.seek(0)
        for line in spool:
            row = json.loads(line)
            for name in wanted:
                names[name].add(str(row.get(name)))
            targets.add(row)
            yield mast_records.granule(row, shared=shared[_name(row)] > 1)
    search.missing = sorted(one for name, asked_for in wanted.items() for one in asked_for - names[name])
    search.notes += targets.lines()


def _name(row: Mapping[str, Json]) -> int:
    return hash((row["obs_collection"], row.get("obs_id")))


def place(query: Query, access: Access) -> tuple[Position | None, str]:
    """Where on the sky the query looks, in degrees, and how that came about; an area's circle goes unsaid."""
    asked = query.criteria
    radius = asked.get("radius", RADIUS)
    if "object_name" in asked:
        found = resolve(asked["object_name"], access)
        said = f"object_name {asked['object_name']!r} is at {found.ra:.6f} {found.dec:+.6f} ({found.said})"
        return (found.ra, found.dec, radius), said
    if "coordinates" in asked:
        ra, dec = asked["coordinates"]
        return (ra, dec, radius), f"coordinates {ra:.6f} {dec:+.6f}"
    return (None if query.area is None else around(query.area)), ""


class Targets:
    """Which targets a search around a position has found: a name finds all that is near, not only its own."""

    def __init__(self, position: Position | None, said: str) -> None:
        self._position, self._said = position, said
        self._near: dict[str, float] = {}

    def add(self, row: Mapping[str, Json]) -> None:
        """Take an observation's target into account."""
        if self._position is None or not self._said:
            return
        name, here = (
            str(row.get("target_name") or "without a name"),
            mast_records.point(row.get("s_ra"), row.get("s_dec")),
        )
        if here is not None:
            lon, lat = here["coordinates"]
            far = 3600 * mast_records.separation(self._position[:2], (lon, lat))
            self._near[name] = min(far, self._near.get(name, far))

    def lines(self) -> list[str]:
        """The targets by their distance, for people; nothing where no place was named."""
        if self._position is None or not self._said:
            return []
        found = sorted(self._near.items(), key=lambda one: (one[1], one[0]))
        within = f"{self._said}; within {self._position[2]:g} degrees of it: {len(found):,} targets"
        listed = [f"  {far:8.1f} arcsec  {name}" for name, far in found[:_NAMED]]
        rest = [f"  and {len(found) - _NAMED:,} more"] if len(found) > _NAMED else []
        exact = ["for one of them alone say target_name"] if len(found) > 1 else []
        return [within, *listed, *rest, *exact]


# --------------------------------------------------------------------------------------------------
# Products


def _resolved(granules: Iterable[Granule], query: Query, access: Access) -> Iterator[Granule]:
    left = iter(granules)
    portal = Portal(access)
    wanted = query.criteria.get("sources") or SOURCES
    with Listings(ARCHIVE) as known:
        while group := list(islice(left, TOGETHER)):
            if not query.assets and not query.select:
                raise QueryError(
                    "select: say which products are wanted",
                    hint="for example select: {mrp_only: true}, {product_type: SCIENCE} or {extension: fits}",
                )
            listed = _listed([one.native_id for one in group if one.stack not in FRAMES], portal, known)
            chosen = {
                one.native_id: _chosen(listed[one.native_id], query)
                if one.native_id in listed
                else ([], [Unresolved(key="products", reason=_TOO_MANY)])
                for one in group
            }
            keys = _keys(
                [
                    asset
                    for assets, _ in chosen.values()
                    for asset in assets
                    if not query.assets or asset.key in query.assets
                ]
                if "s3" in wanted
                else [],
                access,
                known,
            )
            for one in group:
                assets, lacking = chosen[one.native_id]
                had = [
                    replace(asset, sources=mast_records.sources(asset, keys.get(_uri(asset)), wanted))
                    for asset in assets
                ]
                gone = [
                    Unresolved(key=a.key, reason="it is not in the public bucket")
                    for a in had
                    if not a.sources
                ]
                yield replace(
                    one,
                    assets=tuple(a for a in had if a.sources),
                    unresolved=(*one.unresolved, *lacking, *gone),
                )


def _listed(obsids: Sequence[str], portal: Portal, known: Listings) -> dict[str, list[Json]]:
    """The products of observations, each file once."""
    found = known.get(f"products {obsid}" for obsid in obsids)
    asked = [obsid for obsid in obsids if f"products {obsid}" not in found]
    if asked:
        came: dict[str, dict[str, Json]] = {obsid: {} for obsid in asked}
        for row in portal.products(asked):
            # An observation that is made of others has theirs, too: either column may be what was asked for.
            owners = {str(row.get("parent_obsid")), str(row.get("obsID"))} & came.keys()
            uri = mast_records.asset(row).properties["dataURI"]
            if not owners:
                raise SearchError(f"MAST: {uri} belongs to no observation that was asked for")
            for obsid in owners:
                came[obsid].setdefault(str(uri), row)
        answers = {f"products {obsid}": list(came[obsid].values()) for obsid in asked}
        known.put(answers)
        found |= answers
    return {obsid: found[f"products {obsid}"] for obsid in obsids}


def _chosen(rows: Iterable[Json], query: Query) -> tuple[list[Asset], list[Unresolved]]:
    """The products that are selected, in order of their names; of two of one name only the first."""
    assets: dict[str, Asset] = {}
    lacking = []
    for row in sorted(rows, key=lambda one: (str(one["productFilename"]), str(one["dataURI"]))):
        asset = mast_records.asset(row)
        if not filters.selects(query.select, asset):
            continue
        if asset.key in assets:
            lacking.append(
                Unresolved(key=asset.key, reason=f"another file has this name, too: {row['dataURI']}")
            )
        else:
            assets[asset.key] = asset
    return list(assets.values()), lacking


def _uri(asset: Asset) -> str:
    return str(asset.properties["dataURI"])


def _keys(assets: Iterable[Asset], access: Access, known: Listings) -> dict[str, str | None]:
    """Where products lie in the public bucket, by their URI."""
    uris = sorted({_uri(one) for one in assets if one.properties.get("dataRights") in (None, PUBLIC)})
    found = {
        name.removeprefix("place "): key for name, key in known.get(f"place {uri}" for uri in uris).items()
    }
    asked = [uri for uri in uris if uri not in found]
    for at in range(0, len(asked), LOOKED_UP):
        try:
            answers = places(asked[at : at + LOOKED_UP], access)
        except SearchError as error:
            error.hint = "try again later; sources: [https] asks for no bucket"
            raise
        known.put({f"place {uri}": key for uri, key in answers.items()})
        found |= answers
    return found
