"""Any STAC API or static catalogue: items as granules, bytes from wherever their assets lie.

pystac-client reads the landing page, knows what a server conforms to, and writes the question. What it
leaves to luck is ours: requests go through `Access`, with its limits, patience and count (pystac-client
tries a POST once, and waits for ever); pages are followed to their end, and proved to be all; and each
criterion is tested again on what came, since servers ignore what they do not know without a word.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Self, cast
from urllib.parse import urlencode, urljoin, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from skystage import bodies, filters
from skystage.archives import Search, cdse_records
from skystage.archives.records import reading
from skystage.archives.stac_items import ARCHIVE, granule
from skystage.archives.values import Many
from skystage.criteria import BUILT_IN, WORDS, canonical_criteria, comparable, number_of
from skystage.errors import (
    CatalogueUnavailable,
    IncompleteSearch,
    NotFound,
    QueryError,
    SearchError,
    TransferError,
)
from skystage.model import Granule, Json, Query, canonical, from_iso, iso

if TYPE_CHECKING:
    from pystac_client import Client
    from pystac_client.stac_api_io import StacApiIO

    from skystage.transport import Access

PAGE = 100
"""Items a page, where the query says nothing: servers would send 10, and some fail at 1,000."""
MATCHES = "skystage:cql2"
"""The property that says whether an item meets the query's ``cql2``."""

PROPERTIES = {
    "absolute_orbit": "sat:absolute_orbit",
    "beam_mode": "sar:instrument_mode",
    "body": "ssys:targets",
    "cloud_cover": "eo:cloud_cover",
    "cql2": MATCHES,
    "flight_direction": "sat:orbit_state",
    "incidence_angle": "view:incidence_angle",
    "instrument": "instruments",
    "look_direction": "sar:observation_direction",
    "orbit_direction": "sat:orbit_state",
    "platform": "platform",
    "polarization": "sar:polarizations",
    "processing_level": "processing:level",
    "product_type": "product:type",
    "relative_orbit": "sat:relative_orbit",
    "target": "ssys:targets",
    "tile": "grid:code",
}
TARGETS = "ssys:targets"
"""The bodies that something is about, in the extension of that name."""
_OURS = ("datetime", "start_datetime", "end_datetime", "grid:code", "order:status", "ssys:targets")
"""Properties that granules are made of."""
_ORDERED = ("orderable", "ordered", "pending", "shipping")
"""The states of STAC's extension ``order`` in which there are no bytes yet."""


# --------------------------------------------------------------------------------------------------
# What can be asked


def _query(value: object) -> object:
    if not isinstance(value, Mapping):
        raise ValueError("Input should be a mapping of properties to values")  # noqa: TRY004 - pydantic's own error
    for name in value:
        if name in BUILT_IN:
            raise ValueError(f"{name} is no property (write it under filter:)")
    return canonical_criteria(value, "query")


def _cql2(value: object) -> Json:
    """CQL2 as JSON, in whichever of its two forms it was written."""
    import cql2

    try:
        asked = cql2.Expr(cast("str | dict[str, Any]", value))
        asked.validate()
        return asked.to_json()
    except Exception as error:  # noqa: BLE001 - the package raises bare exceptions
        said = " ".join(str(error).split())
        raise ValueError(f"not CQL2, as text or as JSON: {said[:120]}") from None


def _sorted_by(value: list[str]) -> list[str]:
    if not all(name.strip("+-") for name in value):
        raise ValueError("a property, a descending one with - before it")
    return [name if name[0] in "+-" else f"+{name}" for name in value]


def _texts(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _known_body(value: str) -> str:
    if (name := value.lower()) not in bodies.names():
        raise ValueError(f"not one of: {', '.join(bodies.names())}")
    return name


Name = Annotated[str, Field(min_length=1)]


class Criteria(BaseModel):
    """What a STAC catalogue can be asked. `area`, `start` and `end` are common keys."""

    model_config = ConfigDict(extra="forbid")

    url: Name
    """The landing page of an API, or a catalogue, collection, item or item collection: address or file."""
    collections: Many[Name] | None = None
    ids: Many[Name] | None = None
    query: Annotated[dict[str, Any], BeforeValidator(_query)] | None = None
    """Properties and their values, in the forms that filters have; servers are asked, where they can be."""
    cql2: Annotated[Any, AfterValidator(_cql2)] | None = None
    body: Annotated[str, AfterValidator(_known_body)] | None = None
    """The body that the area lies on."""
    sortby: (
        Annotated[list[Name], BeforeValidator(_texts), Field(min_length=1), AfterValidator(_sorted_by)] | None
    ) = None
    """Properties, a descending one with ``-``: of what `max_items` takes the first."""
    max_items: Annotated[int, Field(ge=1)] | None = None
    fields: Many[Name] | None = None
    """The only properties to bring along: those of items may be some kilobytes."""
    page_size: Annotated[int, Field(ge=1, le=10000)] | None = None

    @model_validator(mode="after")
    def _order_means_something(self) -> Self:
        if self.sortby and not self.max_items:
            raise ValueError("sortby: changes nothing without max_items (plans have an order of their own)")
        return self


class Stac:
    """See `skystage.archives.Archive`."""

    name = ARCHIVE
    title = "STAC: any SpatioTemporal Asset Catalog, API or static, of the earth and other bodies"
    criteria = Criteria
    properties = PROPERTIES
    property_names = None
    asset_keys = None
    companions: frozenset[str] = frozenset()

    def selection(self, select: Mapping[str, Json]) -> dict[str, Json]:
        """See `skystage.archives.Archive.selection`."""
        return dict(select)

    def search(self, query: Query, access: Access) -> Search:
        """See `skystage.archives.Archive.search`."""
        search = Search(iter(()))
        search.granules = cdse_records.parted(
            _search(query, access, search, filters.asked(self.checks(query), query.area, self.properties))
        )
        return search

    def checks(self, query: Query) -> dict[str, Json]:
        """See `skystage.archives.Archive.checks`."""
        found: dict[str, Json] = dict(query.criteria.get("query", {}))
        if "cql2" in query.criteria:
            found["cql2"] = True
        if query.criteria.get("body", "earth") != "earth":
            found["body"] = query.criteria["body"]
        moments = {"start": query.start, "end": query.end}
        return found | {name: iso(moment) for name, moment in moments.items() if moment is not None}

    def sensing(self, granule: Granule) -> str | None:
        """See `skystage.archives.Archive.sensing`. Only the names of Sentinel products tell."""
        found = cdse_records.sensing(granule)
        return None if found is None else f"{granule.collection} {found}"

    def processed(self, granule: Granule) -> str:
        """See `skystage.archives.Archive.processed`."""
        return cdse_records.processed(granule)

    def offline(self, granule: Granule) -> bool:
        """See `skystage.archives.Archive.offline`."""
        return granule.properties.get("order:status") in _ORDERED

    def resolve(self, granules: Iterable[Granule], query: Query, access: Access) -> Iterable[Granule]:
        """See `skystage.archives.Archive.resolve`.

        Items have no main file, and all of one may be the same data three times: which are wanted has to
        be said.
        """
        del access
        if not query.assets and not query.select:
            for one in granules:
                keys = {asset.key for asset in one.assets} | {lacking.key for lacking in one.unresolved}
                raise QueryError(
                    "assets: say which are wanted", hint=f"{one.id} has: {', '.join(sorted(keys))}"
                )
        return granules


# --------------------------------------------------------------------------------------------------
# Searching


@dataclass(slots=True)
class _Item:
    """An item as it came."""

    said: dict[str, Json]
    base: str
    """Its own address."""
    collection: str


@dataclass(slots=True)
class _Answer:
    """What a catalogue counts for a query, and what came of it."""

    matched: int | None = None
    """None where it does not count."""
    came: set[int] = field(default_factory=set)
    """Which different items came, as hashes of their names."""
    collections: set[str] = field(default_factory=set)
    """Those that something came of, or that are known to be there."""

    def take(self, item: _Item) -> None:
        self.came.add(hash((item.collection, item.said["id"])))
        self.collections.add(item.collection)


def _search(
    query: Query, access: Access, search: Search, fails: Callable[[Granule], str | None]
) -> Iterator[Granule]:
    from pystac_client.conformance import ConformanceClasses
    from pystac_client.exceptions import APIError

    asked = query.criteria
    url, cap = asked["url"], asked.get("max_items")
    io = _io(access)
    answer = _Answer()
    unseen = set(asked.get("ids", ()))
    keep, matches = _kept_properties(asked), _matcher(asked.get("cql2"))
    passed = 0
    try:
        landing = _landing(io, url)
        client = None
        if "conformsTo" in landing:
            with reading(ARCHIVE, lambda: url):
                client = cast("Client", io.stac_object_from_dict(landing, href=url, preserve_dict=False))
            client.set_root(client)  # else it would be read once more
        if client is not None and client.conforms_to(ConformanceClasses.ITEM_SEARCH):
            items = _asked(client, io, query, answer)
        else:
            if "sortby" in asked:
                raise QueryError(f"sortby: {url} is no API that sorts", hint="leave out sortby and max_items")
            client = None
            items = _walked(io, landing, query, answer, search)
        for item in items:
            search.received += 1
            answer.take(item)
            unseen.discard(item.said["id"])
            if matches is not None:
                item.said["properties"] = {**item.said["properties"], **matches(item.said)}
            if keep is not None:
                item.said["properties"] = {k: v for k, v in item.said["properties"].items() if k in keep}
            found = granule(item.said, item.base, collection=item.collection)
            yield found
            passed += cap is not None and fails(found) is None
            if passed == cap:
                break
        _refuse_unknown(asked.get("collections", ()), answer, client)
    except APIError as error:
        raise SearchError(f"stac: {url}: {error}") from error
    came = len(answer.came)
    search.hits += came if answer.matched is None else answer.matched
    enough = passed == cap
    search.truncated = search.received < search.hits or enough
    search.missing = [] if cap is not None else sorted(unseen)
    if came < search.hits and not enough and not query.allow_incomplete:
        raise IncompleteSearch(
            f"stac: {url} counted {search.hits:,} items and delivered {came:,} different ones",
            hint="try again; `allow_incomplete: true` accepts it",
        )


def _landing(io: StacApiIO, url: str) -> dict[str, Any]:
    from pystac_client.exceptions import APIError

    hint = "name the landing page of a STAC API, or the file of a catalogue"
    try:
        found = _document(io, url)
    except APIError as error:
        raise QueryError(f"url: {error}", hint=hint) from error
    except OSError as error:
        raise QueryError(f"url: {url}: {error.strerror}", hint=hint) from error
    if not {"links", "features", "assets"} & set(found):
        raise QueryError(f"url: {url}: holds no STAC", hint=hint)
    return found


def _document(io: StacApiIO, source: Any, **asked: Any) -> dict[str, Any]:
    """A JSON object; whatever else comes, such as a gateway's page, is a catalogue that is not well."""
    try:
        found = io.read_json(source, **asked)
    except (ValueError, TypeError):  # of a document that is no object, or no JSON at all
        found = None
    if not isinstance(found, dict):
        name = source if isinstance(source, str) else source.href
        raise CatalogueUnavailable(
            f"stac: {name} answered with something else than JSON",
            hint="a gateway's error page? try again later",
        )
    return found


def _kept_properties(asked: Mapping[str, Json]) -> set[str] | None:
    """The properties to keep where the query names some: those, and those that it tests."""
    if "fields" not in asked:
        return None
    return {*asked["fields"], *(_property(name) for name in asked.get("query", ())), TARGETS, MATCHES}


def _property(name: str) -> str:
    return PROPERTIES.get(name, name)


def _matcher(asked: Json) -> Any:
    """What notes of an item whether it meets an expression of CQL2; nothing where it cannot be told."""
    if asked is None:
        return None
    import cql2

    expression = cql2.Expr(asked)

    def noted(item: dict[str, Json]) -> dict[str, Json]:
        try:
            return {MATCHES: bool(expression.matches(item))}
        except Exception:  # noqa: BLE001 - raised for a property that the item lacks, among others
            return {}

    return noted


def _refuse_unknown(wanted: Iterable[str], answer: _Answer, client: Client | None) -> None:
    """Collections that do not exist are found by nobody: servers answer with nothing, and no word."""
    from pystac_client.conformance import ConformanceClasses

    for name in sorted(set(wanted) - answer.collections):
        if client is not None:
            told = client.conforms_to(ConformanceClasses.COLLECTIONS) or client.conforms_to(
                ConformanceClasses.FEATURES
            )
            if not told or client.get_collection(name) is not None:
                continue
        raise QueryError(f"collections: the catalogue has no {name!r}", hint="names are told apart by case")


# --------------------------------------------------------------------------------------------------
# APIs


def _asked(client: Client, io: StacApiIO, query: Query, answer: _Answer) -> Iterator[_Item]:
    """All that an API finds, page by page."""
    url = client.get_self_href() or query.criteria["url"]
    posts = {
        str(link.extra_fields.get("method", "GET")).upper() for link in client.links if link.rel == "search"
    }
    method = "GET" if posts and "POST" not in posts else "POST"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of links that a landing page should have
        asked = client.search(method=method, **_parameters(client, query))
    order = _in_order(query.criteria.get("sortby"))
    collections = query.criteria.get("collections")
    for page in _pages(io, asked, answer, allowed=query.allow_incomplete):
        for said in page:
            item = _item(said, url, None)
            if collections is not None and item.collection not in collections:
                raise SearchError(
                    f"stac: {url} was asked for {', '.join(collections)} and gave {item.collection}",
                    hint="the server ignores `collections`: leave it out, and filter",
                )
            with reading(ARCHIVE, lambda: item.said["id"]):  # noqa: B023 - called at once
                order(item)
            yield item


def _parameters(client: Client, query: Query) -> dict[str, Any]:
    """The question in pystac-client's words: what the server says it can be asked, and no more."""
    from pystac_client.conformance import ConformanceClasses

    asked = query.criteria
    page, cap = asked.get("page_size", PAGE), asked.get("max_items")
    found: dict[str, Any] = {"limit": page if cap is None else min(page, cap)}
    found |= {name: asked[name] for name in ("collections", "ids") if name in asked}
    if query.area is not None:
        found["intersects"] = query.area
    if query.start is not None or query.end is not None:
        found["datetime"] = [query.start, query.end]
    expressions = [asked["cql2"]] if "cql2" in asked else []
    tests = dict(_tests(asked.get("query", {})))
    if tests and client.conforms_to(ConformanceClasses.QUERY):
        found["query"] = tests
    else:
        expressions += [_expression(name, *test) for name, tests_ in tests.items() for test in tests_.items()]
    if expressions and client.conforms_to(ConformanceClasses.FILTER):
        found["filter"] = expressions[0] if len(expressions) == 1 else {"op": "and", "args": expressions}
    if "sortby" in asked:
        if not client.conforms_to(ConformanceClasses.SORT):
            raise QueryError(f"sortby: {asked['url']} does not sort", hint="leave out sortby and max_items")
        found["sortby"] = asked["sortby"]
    kept = _kept_properties(asked)
    if kept is not None and client.conforms_to(ConformanceClasses.FIELDS):
        kept |= {*_OURS, *_mentioned(asked.get("cql2"))} - {MATCHES}
        found["fields"] = [*_WHOLE, *sorted(f"properties.{name}" for name in kept if name != MATCHES)]
    return found


_WHOLE = ("type", "stac_version", "id", "collection", "geometry", "bbox", "links", "assets")
"""What an item has beside its properties."""
_OPERATORS = {"eq": "=", "in": "in", "gte": ">=", "lte": "<="}
"""Operators of the extension ``query``, and of CQL2."""
_SIDES = {"min": ("gte", timedelta(seconds=-1)), "max": ("lte", timedelta(seconds=1))}


def _tests(query: Mapping[str, Json]) -> Iterator[tuple[str, dict[str, Json]]]:
    """What of the properties' values a server can be asked: never more than is tested here afterwards."""
    for name, wanted in query.items():
        if name in WORDS or name == "polarization":
            continue  # what archives write in several ways
        if isinstance(wanted, Mapping):
            # Times are compared as text by some servers, with and without fractions of a second.
            test = {
                _SIDES[side][0]: _widened(value, _SIDES[side][1])
                for side, value in wanted.items()
                if side in _SIDES
            }
        elif isinstance(wanted, list):
            test = {"in": wanted} if all(map(_plain, wanted)) else {}
        else:
            test = {"eq": wanted} if _plain(wanted) else {}
        if test:
            yield _property(name), test


def _widened(value: Json, by: timedelta) -> Json:
    # A text that is a time is compared as such.
    if isinstance(value, str) and comparable(value, value) != value.casefold():
        return iso(from_iso(value) + by)
    return value


def _plain(value: Json) -> bool:
    """Whether a server would find the same: no wildcards, no numbers in texts, no other case."""
    return not isinstance(value, str | Mapping) or (
        isinstance(value, str) and not set("*?") & set(value) and number_of(value) is None
    )


def _expression(name: str, operator: str, value: Json) -> dict[str, Json]:
    return {"op": _OPERATORS[operator], "args": [{"property": name}, value]}


def _mentioned(expression: Json) -> Iterator[str]:
    """The properties in an expression of CQL2."""
    if isinstance(expression, Mapping):
        if isinstance(expression.get("property"), str):
            yield expression["property"].removeprefix("properties.")
        expression = list(expression.values())
    if isinstance(expression, list):
        for part in expression:
            yield from _mentioned(part)


def _pages(io: StacApiIO, asked: Any, answer: _Answer, *, allowed: bool) -> Iterator[list[dict[str, Json]]]:
    """The items of each page, to the end: the last one may well have a link to a next one."""
    from pystac import Link

    parameters = asked.get_parameters()
    page = _document(io, asked.url, method=asked.method, parameters=parameters)
    seen: set[int] = set()
    while True:
        features, context, links = page.get("features"), page.get("context"), page.get("links") or []
        counted = page.get("numberMatched", context.get("matched") if isinstance(context, dict) else None)
        if isinstance(counted, int):
            answer.matched = max(counted, answer.matched or 0)
        if not isinstance(features, list) or not all(isinstance(said, dict) for said in features):
            raise SearchError(f"stac: {asked.url}: the answer has no features", hint="is it a STAC API?")
        if not features:
            return
        same = hash(canonical([[said.get("collection"), said.get("id")] for said in features]))
        if same in seen:
            if allowed or len(answer.came) >= (answer.matched or float("inf")):
                return
            raise IncompleteSearch(
                f"stac: {asked.url} sends the same page again and again",
                hint="ask for less at a time; `allow_incomplete: true` accepts what came",
            )
        seen.add(same)
        yield features
        with reading(ARCHIVE, lambda: asked.url):
            link = next((one for one in links if one.get("rel") == "next"), None)
            if link is None:
                return
            link = Link.from_dict({**link, "href": urljoin(asked.url, link["href"])})
        page = _document(io, link, parameters=parameters)


def _in_order(sortby: list[str] | None) -> Any:
    """What makes sure that items come in the order that was asked for, as far as numbers and times tell."""
    last: list[Any] = []

    def check(item: _Item) -> None:
        if not sortby:
            return
        name = sortby[0][1:].removeprefix("properties.")
        value = item.said["properties"].get(name)
        if isinstance(value, str):
            value = comparable(value, "2000-01-01T00:00:00Z")
        if value is None or isinstance(value, bool | list | dict):
            return
        if last and type(last[0]) is not type(value) and isinstance(value, str):
            return
        if last and (value > last[0] if sortby[0][0] == "-" else value < last[0]):
            raise SearchError(
                f"stac: the server does not sort by {name}", hint="leave out sortby and max_items"
            )
        last[:] = [value]

    return check


# --------------------------------------------------------------------------------------------------
# Static catalogues


def _walked(
    io: StacApiIO, document: dict[str, Any], query: Query, answer: _Answer, search: Search
) -> Iterator[_Item]:
    """The items of a static catalogue: link after link, each document once."""
    from pystac_client.exceptions import APIError

    url = query.criteria["url"]
    wanted, ids = query.criteria.get("collections"), query.criteria.get("ids")
    seen = {url}
    ways: list[tuple[str, str | None, Json, dict[str, Any] | None]] = [(url, None, None, document)]
    while ways:
        href, inside, targets, found = ways.pop()
        try:
            found = _document(io, href) if found is None else found
        except (APIError, OSError, SearchError) as error:
            # A link to nowhere is an item that was counted and did not come.
            if not query.allow_incomplete:
                raise SearchError(
                    f"stac: {href}: {error}", hint="`allow_incomplete: true` goes on without it"
                ) from error
            search.hits += 1
            continue
        if "features" in found or found.get("type") == "Feature":
            for said in found.get("features", [found]):
                item = _item(said, href, inside)
                if targets is not None:
                    item.said["properties"].setdefault(TARGETS, targets)
                if (ids is None or item.said["id"] in ids) and (wanted is None or item.collection in wanted):
                    yield item
            continue
        if found.get("type") == "Collection":
            inside = str(found.get("id"))
            answer.collections.add(inside)
        # The body may be said once, of a whole collection or catalogue.
        targets = found.get(TARGETS, targets)
        unwanted = wanted is not None and inside is not None and inside not in wanted
        with reading(ARCHIVE, lambda href=href: href):  # type: ignore[misc]
            for link in reversed(found.get("links") or ()):
                if link.get("rel") == "child" or (link.get("rel") == "item" and not unwanted):
                    way = urljoin(href, link["href"])
                    if way not in seen:
                        seen.add(way)
                        ways.append((way, inside, targets, None))


def _item(said: Json, base: str, inside: str | None) -> _Item:
    """An item with its own address: that of the document, or what it says itself.

    Raises
    ------
    SearchError
        If it is none.
    """
    if not isinstance(said, dict) or not isinstance(said.get("id"), str) or not said["id"]:
        raise SearchError(f"stac: {base}: holds an item without id", hint="the catalogue is broken")
    with reading(ARCHIVE, lambda: said["id"]):
        links = [link for link in said.get("links") or () if link.get("rel") == "self"]
        own = urljoin(base, links[0]["href"]) if links else base
        # Of a document that was moved the address counts from which it was read.
        own = base if inside is not None or not urlsplit(own).scheme else own
        said["properties"] = dict(said.get("properties") or {})
        return _Item(said, own, str(said.get("collection") or inside or "items"))


# --------------------------------------------------------------------------------------------------
# Requests


def _io(access: Access) -> StacApiIO:
    """pystac-client's way to the network, led through `Access`."""
    from pystac_client.exceptions import APIError
    from pystac_client.stac_api_io import StacApiIO

    class Requests(StacApiIO):
        def request(
            self,
            href: str,
            method: str | None = None,
            headers: dict[str, str] | None = None,
            parameters: dict[str, Any] | None = None,
        ) -> str:
            sent, content = dict(headers or {}), None
            if method == "POST":
                sent["Content-Type"] = "application/json"
                content = json.dumps(parameters or {}).encode()
            elif parameters:
                href = f"{href}{'&' if urlsplit(href).query else '?'}{urlencode(parameters)}"
            try:
                return access.read(href, headers=sent, content=content).decode()
            except NotFound as error:
                # What pystac-client takes for "there is none".
                missing = APIError(error.message)
                missing.status_code = 404
                raise missing from error
            except TransferError as error:
                if error.transient:
                    raise CatalogueUnavailable(
                        f"stac: {error.message}",
                        hint="the catalogue is busy or down: try again later",
                        retry_after=error.retry_after,
                    ) from error
                raise SearchError(f"stac: {error.message}", hint=error.hint) from error

    return Requests()
