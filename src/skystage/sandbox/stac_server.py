"""STAC APIs that run stac-server, in its manner.

Ten items a page where nothing else is asked for, the newest first; a link to a next page also on the last
one, which leads to a page without items. What it does not know, such as ``filter``, is ignored without a
word, and an unknown collection has no items. Sort, fields and query are there.

Source: recorded answers of Earth Search, which runs the same software.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from skystage.sandbox.catalogue import parse_time
from skystage.sandbox.cdse_stac import bounding_box, chooser, sort_order
from skystage.sandbox.cql2 import BadFilter, read_json, read_query
from skystage.sandbox.messages import Reply, Request, json_reply, text_reply

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

_GEOJSON = "application/geo+json"
_DEFAULT_LIMIT, _MOST = 10, 10_000
_API, _OGC = "https://api.stacspec.org", "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf"
_CONFORMANCE = [
    *(f"{_API}/v1.0.0/{name}" for name in ("core", "collections", "ogcapi-features", "item-search")),
    *(f"{_API}/v1.0.0/ogcapi-features#{name}" for name in ("fields", "sort", "query")),
    *(f"{_API}/v1.0.0/item-search#{name}" for name in ("fields", "sort", "query")),
    f"{_API}/v0.3.0/aggregation",
    *(f"{_OGC}/{name}" for name in ("core", "oas30", "geojson")),
]
_KNOWN = ("bbox", "collections", "datetime", "fields", "ids", "intersects", "limit", "query", "sortby")
_NOT_FOUND = {"code": "NotFound", "description": "Not Found"}
_QUERYABLES = "http://www.opengis.net/def/rel/ogc/1.0/queryables"


class StacServer:
    """One API.

    Parameters
    ----------
    root
        The address that its links begin with, whatever address it was asked at.
    prefixes
        What the paths begin with at the hosts that it answers for.
    about
        Id, title and description of its landing page.
    collections, items
        As JSON; their links are those of this API.
    """

    def __init__(
        self,
        root: str,
        prefixes: Sequence[str],
        about: Mapping[str, str],
        collections: Sequence[Mapping[str, Any]],
        items: Sequence[Mapping[str, Any]],
    ) -> None:
        self._root = root
        self._prefixes = prefixes
        self._about = about
        self._collections = {one["id"]: one for one in collections}
        self._given = items

    @cached_property
    def _items(self) -> list[_Item]:
        """The newest first; of one time, the last name."""
        found = [_Item(item) for item in self._given]
        return sorted(found, key=lambda one: (one.json["properties"]["datetime"], one.key), reverse=True)

    def answer(self, request: Request) -> Reply:
        """Answer for the API's hosts."""
        try:
            return self._answer(request)
        except BadFilter as error:
            return json_reply(400, {"code": "BadRequest", "description": str(error)})

    def _answer(self, request: Request) -> Reply:
        path = request.path.rstrip("/")
        prefix = next((one for one in self._prefixes if f"{path}/".startswith(f"{one}/")), None)
        if prefix is None:
            return json_reply(404, _NOT_FOUND)
        match path.removeprefix(prefix).split("/")[1:]:
            case []:
                return json_reply(200, self._landing())
            case ["conformance"]:
                return json_reply(200, {"conformsTo": _CONFORMANCE})
            case ["queryables"]:
                return self._queryables("/queryables")
            case ["api"]:
                said = {"openapi": "3.0.1", "info": self._about, "paths": {}}
                return _reply(said, "application/vnd.oai.openapi")
            case ["api.html"]:
                return text_reply(200, f"<title>{self._about['title']}</title>")
            case ["aggregate"]:
                count = {"name": "total_count", "data_type": "integer", "value": len(self._items)}
                return json_reply(200, {"type": "AggregationCollection", "aggregations": [count]})
            case ["collections"]:
                listed = [self._collection(name) for name in self._collections]
                links = [self._link("self", "/collections"), self._link("root")]
                return json_reply(200, {"collections": listed, "links": links})
            case ["search"]:
                return self._search(request, "/search")
            case ["collections", name, *rest] if name in self._collections:
                return self._within(request, name, rest)
        return json_reply(404, _NOT_FOUND)

    def _within(self, request: Request, name: str, rest: list[str]) -> Reply:
        here = f"/collections/{name}"
        match rest:
            case []:
                return json_reply(200, self._collection(name))
            case ["queryables"]:
                return self._queryables(f"{here}/queryables")
            case ["items"]:
                return self._search(request, f"{here}/items", name)
            case ["items", item_id]:
                for item in self._items:
                    if item.key == (item_id, name):
                        return _reply(item.json)
        return json_reply(404, _NOT_FOUND)

    def _landing(self) -> dict[str, Any]:
        search = self._link("search", "/search", _GEOJSON)
        links = [
            self._link("self"),
            self._link("root"),
            self._link("conformance", "/conformance"),
            self._link("data", "/collections"),
            {**search, "method": "GET"},
            {**search, "method": "POST"},
            {**self._link("aggregate", "/aggregate"), "method": "GET"},
            self._link("service-desc", "/api", "application/vnd.oai.openapi"),
            self._link("service-doc", "/api.html", "text/html"),
            self._link(_QUERYABLES, "/queryables", "application/schema+json"),
            *(self._link("child", f"/collections/{name}", _GEOJSON) for name in self._collections),
        ]
        catalog = {"stac_version": "1.0.0", "type": "Catalog", **self._about}
        return {**catalog, "links": links, "conformsTo": _CONFORMANCE}

    def _collection(self, name: str) -> dict[str, Any]:
        here = f"/collections/{name}"
        links = [
            self._link("self", here),
            self._link("parent"),
            self._link("root"),
            self._link("items", f"{here}/items", _GEOJSON),
            self._link(_QUERYABLES, f"{here}/queryables", "application/schema+json"),
        ]
        return {**self._collections[name], "links": links}

    def _queryables(self, path: str) -> Reply:
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"{self._root}{path}"}
        said = {**schema, "type": "object", "title": "Queryables", "properties": {}}
        return json_reply(200, {**said, "additionalProperties": True})

    def _link(self, rel: str, path: str = "", kind: str = "application/json") -> dict[str, Any]:
        return {"rel": rel, "type": kind, "href": f"{self._root}{path}"}

    def _search(self, request: Request, path: str, collection: str | None = None) -> Reply:
        asked, token = _asked(request)
        within = {**asked, "collections": [collection]} if collection else asked
        tests = list(_tests(within))
        found = [item for item in self._items if all(test(item) for test in tests)]
        for name, falling in reversed(sort_order(asked.get("sortby"))):
            # Stable: what is equal here keeps the order that it had.
            found.sort(key=partial(_Item.rank, name=name), reverse=falling)
        limit = _limit(asked)
        start = next((at + 1 for at, item in enumerate(found) if item.token == token), len(found))
        page = found[0 if token is None else start :][:limit]
        links = [self._link("root")]
        if page:  # and be it the last one
            links.insert(0, _next(request, f"{self._root}{path}", asked, page[-1].token))
        chosen = chooser(asked.get("fields"))
        answer = {
            "type": "FeatureCollection",
            "stac_version": "1.0.0",
            "stac_extensions": [],
            "context": {"limit": limit, "matched": len(found), "returned": len(page)},
            "numberMatched": len(found),
            "numberReturned": len(page),
            "features": [chosen(item.json) for item in page],
            "links": links,
        }
        return _reply(answer)


class _Item:
    """One item: what searches test."""

    def __init__(self, item: Mapping[str, Any]) -> None:
        self.json = dict(item)
        self.key = (str(item["id"]), str(item["collection"]))

    @property
    def token(self) -> str:
        """Names it as the last one of a page."""
        return ",".join((self.json["properties"]["datetime"], *self.key))

    @cached_property
    def footprint(self) -> BaseGeometry:
        """Where it lies, in degrees of its body."""
        from shapely.geometry import shape

        return shape(self.json["geometry"])

    @cached_property
    def times(self) -> tuple[float, float]:
        """Its first and last moment, in seconds."""
        said = self.json["properties"]
        first, last = (said.get(f"{name}_datetime") or said["datetime"] for name in ("start", "end"))
        return parse_time(first).timestamp(), parse_time(last).timestamp()

    def rank(self, name: str) -> Any:
        """What items are sorted by."""
        name = name.removeprefix("properties.")
        value = self.json[name] if name in ("id", "collection") else self.json["properties"].get(name)
        return (value is not None, value)


def _reply(value: Any, kind: str = _GEOJSON) -> Reply:
    return Reply(200, [("Content-Type", f"{kind}; charset=utf-8")], json.dumps(value).encode())


def _asked(request: Request) -> tuple[dict[str, Any], str | None]:
    """What a search asks for of what is known here, and which item its page begins behind."""
    given: Any
    if request.method == "POST":
        try:
            given = json.loads(request.body or b"{}")
        except ValueError:
            raise BadFilter("Invalid JSON in the request body") from None
        if not isinstance(given, dict):
            raise BadFilter("The request body must be an object")
    else:
        given = dict(request.parameters)
        try:
            for name in ("collections", "ids", "fields"):
                if name in given:
                    given[name] = given[name].split(",")
            if "bbox" in given:
                given["bbox"] = [float(value) for value in given["bbox"].split(",")]
            for name in ("intersects", "query"):
                if name in given:
                    given[name] = json.loads(given[name])
        except ValueError as error:
            raise BadFilter(f"Invalid parameters: {error}") from None
        if "sortby" in given:
            given["sortby"] = [
                {"field": name.lstrip("+- "), "direction": "desc" if name.startswith("-") else "asc"}
                for name in given["sortby"].split(",")
            ]
    return {name: given[name] for name in _KNOWN if given.get(name) is not None}, given.get("next")


def _tests(asked: Mapping[str, Any]) -> Iterator[Callable[[_Item], bool]]:
    if "bbox" in asked and "intersects" in asked:
        raise BadFilter("Expected bbox OR intersects, not both")
    if "collections" in asked:
        yield lambda item: item.key[1] in asked["collections"]
    if "ids" in asked:
        yield lambda item: item.key[0] in asked["ids"]
    if "datetime" in asked:
        first, last = _interval(str(asked["datetime"]))
        yield lambda item: item.times[0] <= last and item.times[1] >= first
    if "bbox" in asked:
        area = bounding_box(asked["bbox"])
        yield lambda item: item.footprint.intersects(area)
    if "intersects" in asked:
        touches = read_json({"op": "s_intersects", "args": [{}, asked["intersects"]]})
        yield lambda item: touches(item.json)
    if "query" in asked:
        fits = read_query(asked["query"])
        yield lambda item: fits(item.json)


def _interval(text: str) -> tuple[float, float]:
    """First and last moment, in seconds; an open end is ``..`` or nothing."""
    first, slash, last = text.partition("/")
    ends = [first, last if slash else first]
    try:
        moments = [None if end in ("", "..") else parse_time(end).timestamp() for end in ends]
    except ValueError:
        raise BadFilter("Invalid datetime: not of RFC 3339") from None
    if moments == [None, None]:
        raise BadFilter("Invalid datetime: at least one end must be given")
    return (
        float("-inf") if moments[0] is None else moments[0],
        float("inf") if moments[1] is None else moments[1],
    )


def _limit(asked: Mapping[str, Any]) -> int:
    text = str(asked.get("limit", _DEFAULT_LIMIT))
    if not text.isdigit() or text == "0":
        raise BadFilter("Invalid limit value, must be a positive number")
    return min(int(text), _MOST)


def _next(request: Request, href: str, asked: Mapping[str, Any], token: str) -> dict[str, Any]:
    link = {"rel": "next", "title": "Next page of Items", "method": request.method, "type": _GEOJSON}
    if request.method == "POST":
        return {**link, "href": href, "merge": False, "body": {**asked, "next": token}}
    sent = [pair for pair in request.parameters if pair[0] in _KNOWN]
    return {**link, "href": f"{href}?{urlencode([*sent, ('next', token)])}"}
