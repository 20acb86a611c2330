"""MAST by mission: the catalogues of Hubble, Webb and others, with the columns that each has of its own.

The archive `mast` knows all missions by what they have in common; here one is asked in its own words
(``sci_instrume``, ``fileSetName``), as astroquery's `MastMissions` does. Ids, and where files lie in a store,
are the same from both.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic import ConfigDict, Field, field_validator, model_validator

from skystage import filters
from skystage.archives import Search, mast_records, records
from skystage.archives.mast import Targets, place, selection
from skystage.archives.mast_criteria import RADIUS, Somewhere
from skystage.archives.paths import component, directory
from skystage.archives.portal import HOST, TITLE, read
from skystage.criteria import alternatives, canonical_value
from skystage.errors import CatalogueUnavailable, IncompleteSearch, QueryError
from skystage.listings import Listings
from skystage.model import Asset, Granule, Json, Query, Source, canonical, from_iso, iso
from skystage.query import COMMON

if TYPE_CHECKING:
    from skystage.transport import Access

ARCHIVE = "missions"
PAGE = 5000
"""Rows a page: what the service sends at most."""
TOGETHER = 200
"""Data sets whose files are listed by one request; it takes 1,000."""
_PRODUCTS = (
    *("product_key", "access", "dataset", "instrument_name", "filters", "uri", "authz_primary_identifier"),
    *("authz_secondary_identifier", "file_suffix", "category", "filename", "size", "type"),
)
_RETRIEVED = ("hst", "jwst", "roman")
"""Missions with a service for their files; those of others come as MAST's do."""


@dataclass(frozen=True, slots=True)
class _Columns:
    """What of a mission's columns a granule is made of."""

    name: str
    start: str | None = None
    stop: str | None = None
    ra: str | None = None
    dec: str | None = None
    target: str | None = None


_MISSIONS = {
    "hst": _Columns(
        "sci_data_set_name", "sci_start_time", "sci_stop_time", "sci_ra", "sci_dec", "sci_targname"
    ),
    "jwst": _Columns("fileSetName", "date_obs", "date_obs", "targ_ra", "targ_dec", "targprop"),
    "roman": _Columns("fileSetName"),
    "classy": _Columns("Target"),
    "ullyses": _Columns("observation_id", None, None, "targ_ra", "targ_dec", "target_name_ulysses"),
}


class Criteria(Somewhere):
    """What a mission can be asked: its own columns, and these."""

    model_config = ConfigDict(extra="allow")

    mission: str = Field(default="hst", min_length=1)

    @field_validator("mission")
    @classmethod
    def _known(cls, value: str) -> str:
        if value.lower() not in _MISSIONS:
            raise ValueError(f"not one of: {', '.join(_MISSIONS)}")
        return value.lower()

    @model_validator(mode="before")
    @classmethod
    def _own_columns(cls, given: Any) -> Any:
        words = {"objectname", *cls.model_fields}
        return {name: value if name in words else _value(name, value) for name, value in given.items()}


_OWN_SYNTAX = re.compile(r"[!<>].*|.*(\.\.|,).*", re.DOTALL)
"""What the service would take for a condition, and not for a text."""


def _value(name: str, given: Any) -> Json:
    value = canonical_value(name, given)
    for item in alternatives("", value):
        if isinstance(item, str) and _OWN_SYNTAX.fullmatch(item):
            # It would be asked for, and then tested as the text that it is: nothing would be left.
            raise QueryError(
                f"{name}: got {item!r}", hint="allowed: one value, {min: , max: }, or a list of these"
            )
    return value


class Missions:
    """See `skystage.archives.Archive`."""

    name = ARCHIVE
    title = "MAST by mission: Hubble, Webb, Roman, CLASSY, ULLYSES, each by columns of its own"
    criteria = Criteria
    properties: Mapping[str, str] = {}
    property_names = None
    asset_keys = None
    companions: frozenset[str] = frozenset()

    def selection(self, select: Mapping[str, Json]) -> dict[str, Json]:
        """See `skystage.archives.Archive.selection`."""
        return selection(select, _PRODUCTS, minimum=False)

    def search(self, query: Query, access: Access) -> Search:
        """See `skystage.archives.Archive.search`."""
        search = Search(iter(()))
        search.granules = _found(query, access, search)
        return search

    def checks(self, query: Query) -> dict[str, Json]:
        """See `skystage.archives.Archive.checks`."""
        found = {name: _pattern(value) for name, value in _asked(query).items()}
        if "object_name" in query.criteria or "coordinates" in query.criteria:
            found["distance"] = {"max": 3600 * query.criteria.get("radius", RADIUS) * (1 + 1e-9)}
        moments = {"start": query.start, "end": query.end}
        return found | {name: iso(moment) for name, moment in moments.items() if moment is not None}

    def sensing(self, granule: Granule) -> str | None:
        """See `skystage.archives.Archive.sensing`."""
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
        """See `skystage.archives.mast.Mast.resolve`."""
        return _resolved(granules, query, access)


# --------------------------------------------------------------------------------------------------
# Data sets


def _asked(query: Query) -> dict[str, Json]:
    """The mission's own columns that the query names."""
    return {name: value for name, value in query.criteria.items() if name not in Criteria.model_fields}


def _pattern(value: Json) -> Json:
    items = alternatives("", value)
    wild = any(isinstance(item, str) and "*" in item for item in items)
    return {"like": [str(item) for item in items]} if wild else value


def _found(query: Query, access: Access, search: Search) -> Iterator[Granule]:
    mission = query.criteria["mission"]
    columns, own = _columns(mission, access), _MISSIONS[mission]
    asked = _asked(query)
    for name in asked:
        if name not in columns:
            near = difflib.get_close_matches(name, [*columns, *COMMON, *Criteria.model_fields], 1)
            hint = f"did you mean {near[0]!r}?" if near else "its columns: mast.stsci.edu/search"
            raise QueryError(f"{name}: mission {mission!r} has no such column", hint=hint)
    conditions = [{name: _condition(value)} for name, value in asked.items()]
    for moment, column, sign in ((query.start, own.stop, ">="), (query.end, own.start, "<=")):
        if moment is not None:
            if column is None:
                raise QueryError(f"start, end: mission {mission!r} has no column of times")
            conditions.append({column: f"{sign}{_time(moment)}"})
    position, said = place(query, access)
    if not conditions and position is None:
        raise QueryError(
            "missions: there is nothing to search by",
            hint="give a column of the mission, object_name, coordinates, or an area",
        )
    shown = {name for name, is_default in columns.items() if is_default} | set(asked)
    shown |= {
        name for name in (own.name, own.start, own.stop, own.ra, own.dec, own.target) if name in columns
    }
    shown |= {"ang_sep"} & columns.keys()
    body: dict[str, Json] = {"conditions": conditions, "select_cols": sorted(shown), "limit": PAGE}
    if position is not None:
        ra, dec, radius = position
        body |= {"target": [f"{ra} {dec}"], "radius": radius * 3600, "radius_units": "arcseconds"}
    targets = Targets(position, said)
    came: set[str] = set()
    offset, last = 0, False
    while not last:
        answer = _post(mission, "search", {**body, "offset": offset}, access)
        rows = _rows(answer)
        offset += len(rows)
        fresh = {digest: row for row in rows if (digest := _digest(row)) not in came}
        came |= fresh.keys()
        # A page that has come before, again, would be the last one for ever.
        last = len(rows) < PAGE or not fresh
        for row in fresh.values():
            search.received += 1
            one = _granule(row, mission, position)
            targets.add(
                {"target_name": one.stack, "s_ra": row.get(own.ra or ""), "s_dec": row.get(own.dec or "")}
            )
            yield one
    counted = answer.get("totalResults")
    search.hits = counted if isinstance(counted, int) else search.received
    search.notes += targets.lines()
    if search.received < search.hits and not query.allow_incomplete:
        raise IncompleteSearch(
            f"{TITLE}: counted {search.hits:,} data sets and delivered {search.received:,}",
            hint="try again; `allow_incomplete: true` accepts it",
        )


def _digest(row: Mapping[str, Json]) -> str:
    return hashlib.sha256(canonical(row).encode()).hexdigest()


def _columns(mission: str, access: Access) -> dict[str, bool]:
    """The mission's columns, and whether each is shown where nothing is said."""
    found = read(f"{HOST}/search/util/api/v0.1/column_list?mission={quote(mission)}", access)
    try:
        return {str(one["column_name"]): one.get("default_output") == "yes" for one in found}
    except (LookupError, TypeError, AttributeError):
        raise _strange() from None


def _condition(value: Json) -> str:
    """A value as the service reads it: alternatives with commas, ranges with two dots."""
    return ",".join(
        _range(item) if isinstance(item, Mapping) else str(item) for item in alternatives("", value)
    )


def _range(bounds: Mapping[str, Json]) -> str:
    low, high = (_bound(bounds[side]) if side in bounds else None for side in ("min", "max"))
    if low is None:
        return f"<={high}"
    return f">={low}" if high is None else f"{low}..{high}"


def _bound(value: Json) -> str:
    try:
        return _time(from_iso(value)) if isinstance(value, str) else str(value)
    except ValueError:
        return str(value)


def _time(moment: datetime) -> str:
    return iso(moment).removesuffix("Z")


def _rows(answer: Mapping[str, Json]) -> list[dict[str, Json]]:
    """The rows of an answer, which may come as lists of values in the order of its columns."""
    try:
        names = [one.get("column_name") or one["name"] for one in answer["info"]]
        return [
            dict(row) if isinstance(row, dict) else dict(zip(names, row, strict=False))
            for row in answer["results"]
        ]
    except (LookupError, TypeError, AttributeError):
        raise _strange() from None


@records.whole(TITLE, lambda row: next(row[one.name] for one in _MISSIONS.values() if one.name in row))
def _granule(row: dict[str, Json], mission: str, position: tuple[float, float, float] | None) -> Granule:
    own = _MISSIONS[mission]
    native = str(row.get(own.name) or "")
    if not native:
        raise _strange()
    start = _moment(row.get(own.start or ""))
    geometry = mast_records.point(row.get(own.ra or ""), row.get(own.dec or ""))
    if position is not None and geometry is not None:
        lon, lat = geometry["coordinates"]
        said = row.get("ang_sep")  # minutes of arc
        minutes = (
            said if isinstance(said, int | float) else 60 * mast_records.separation(position[:2], (lon, lat))
        )
        row = {**row, "distance": 60 * minutes}
    return Granule(
        archive=ARCHIVE,
        collection=mission.upper(),
        id=_name(native, mission),
        native_id=native,
        start=start,
        stop=_moment(row.get(own.stop or "")) or start,
        body="sky",
        geometry=geometry,
        stack=str(row.get(own.target or "") or mission.upper()),
        properties=row,
    )


def _name(native: str, mission: str) -> str:
    """As the common catalogue calls it: Hubble's small."""
    return native.lower() if mission == "hst" else native


def _moment(said: Json) -> datetime | None:
    try:
        return from_iso(said) if isinstance(said, str) else None
    except ValueError:
        return None


# --------------------------------------------------------------------------------------------------
# Products


def _resolved(granules: Iterable[Granule], query: Query, access: Access) -> Iterator[Granule]:
    mission = query.criteria["mission"]
    left = iter(granules)
    with Listings(ARCHIVE) as known:
        while group := list(islice(left, TOGETHER)):
            if not query.assets and not query.select:
                raise QueryError(
                    "select: say which products are wanted",
                    hint="for example select: {file_suffix: FLT}, {type: science}, or {extension: fits}",
                )
            listed = _listed([one.native_id for one in group], mission, access, known)
            for one in group:
                assets: dict[str, Asset] = {}
                for row in sorted(listed[one.native_id], key=canonical):
                    asset = _asset(row, mission)
                    if filters.selects(query.select, asset):
                        assets.setdefault(asset.key, asset)
                yield replace(one, assets=tuple(asset for _, asset in sorted(assets.items())))


def _listed(
    names: Sequence[str], mission: str, access: Access, known: Listings
) -> dict[str, list[dict[str, Json]]]:
    """The products of data sets, by the name of each."""
    keys = {name: f"products {mission} {name}" for name in names}
    found = known.get(keys.values())
    asked = [name for name, key in keys.items() if key not in found]
    if asked:
        answer = _post(mission, "post_list_products", {"dataset_ids": asked}, access)
        rows = answer.get("products")
        # One list, or one within another.
        rows = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], list) else rows
        came: dict[str, list[Json]] = {name: [] for name in asked}
        spelt = {name.casefold(): name for name in asked}
        try:
            for row in rows or ():
                came[spelt[str(row["dataset"]).casefold()]].append(row)
        except (LookupError, TypeError):
            raise _strange() from None
        answers = {keys[name]: products for name, products in came.items()}
        known.put(answers)
        found |= answers
    return {name: found[key] for name, key in keys.items()}


@records.whole(TITLE, lambda row: row["filename"])
def _asset(row: Mapping[str, Json], mission: str) -> Asset:
    name, size = mast_records.said(row, "filename"), row.get("size")
    public = str(row.get("access") or "PUBLIC").upper() == "PUBLIC"
    uri = str(row.get("uri") or name)
    way = f"{HOST}/api/v0.1/Download/file?uri={quote(uri, safe=':/')}"
    if mission in _RETRIEVED:
        way = f"{HOST}/search/{mission}/api/v0.1/retrieve_product?product_name={quote(uri, safe='')}"
    folder = directory(_name(str(row["dataset"]), mission))
    return Asset(
        key=name,
        path=f"{mast_records.ARCHIVE}/{mission.upper()}/{folder}/{component(name)}",
        size=size if isinstance(size, int) and size > 0 else None,
        media_type=mast_records.media_type(name),
        sources=(Source(href=way, auth="mast" if public else "mast-exclusive"),),
        properties={key: value for key, value in row.items() if key != "size"},
    )


def _post(mission: str, service: str, asked: Mapping[str, Json], access: Access) -> dict[str, Json]:
    answer = read(
        f"{HOST}/search/{mission}/api/v0.1/{service}",
        access,
        headers={"Content-Type": "application/json", "Accept": "application/json"},
        content=canonical(asked).encode(),
    )
    if not isinstance(answer, dict):
        raise _strange()
    return answer


def _strange() -> CatalogueUnavailable:
    return CatalogueUnavailable(f"{TITLE}: the answer is not one of its own", hint="try again later")
