"""The archive `stac`: APIs and static catalogues, through the real pystac-client."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from skystage import archives, errors, planning, query
from skystage.archives.stac_items import granule
from skystage.batch import fetch_all
from skystage.errors import CatalogueUnavailable, IncompleteSearch, QueryError, SearchError
from skystage.model import Asset, Granule
from skystage.transport import Access

API = "https://api.stacspec.org/v1.0.0"
SEARCHES = [f"{API}/core", f"{API}/collections", f"{API}/item-search"]
CDSE = "https://stac.dataspace.copernicus.eu/v1/"


def item(name: str, day: int = 1, *, collection: str = "c", **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": collection,
        "geometry": {"type": "Point", "coordinates": [day, 0]},
        "properties": {"datetime": f"2020-01-{day:02}T12:00:00Z", **properties},
        "links": [],
        "assets": {"image": {"href": f"https://data.example.org/{name}/image.tif"}},
    }


class Api:
    """A STAC API in the manner of stac-server: a next link on every page that has items."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self.items = items
        self.conforms = list(SEARCHES)
        self.methods = ["GET", "POST"]
        self.counts: Callable[[int], int] | None = lambda count: count
        self.heeds: set[str] = {"collections", "ids"}
        self.stuck = False
        self.packed = False
        self.failures: list[tuple[int, dict[str, str], str | bytes]] = []
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.url = ""

    def answer(self, method: str, path: str, asked: dict[str, Any]) -> tuple[int, Any]:
        if path.startswith("/files/"):
            return (200, self.files[path]) if path in self.files else (404, {"code": "NotFound"})
        if path == "/api/search":
            return 200, self.search(method, asked)
        if path.startswith("/api/collections/"):
            name = path.rpartition("/")[2]
            known = {one["collection"] for one in self.items} | {"empty"}
            extent = {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [[None, None]]}}
            about = {"type": "Collection", "id": name, "stac_version": "1.0.0", "description": "d"}
            found = {**about, "license": "x", "extent": extent, "links": []}
            return (200, found) if name in known else (404, {"code": "NotFound"})
        links = [
            {"rel": "root", "href": f"{self.url}/api/"},
            {"rel": "data", "href": f"{self.url}/api/collections"},
        ]
        search = {"rel": "search", "type": "application/geo+json", "href": f"{self.url}/api/search"}
        links += [{**search, "method": word} for word in self.methods]
        about = {"type": "Catalog", "id": "api", "stac_version": "1.0.0", "description": "d"}
        return 200, {**about, "conformsTo": self.conforms, "links": links}

    def search(self, method: str, asked: dict[str, Any]) -> dict[str, Any]:
        if method == "GET":
            for name in ("collections", "ids"):
                if name in asked:
                    asked[name] = asked[name].split(",")
        found = self.items
        if "collections" in self.heeds and "collections" in asked:
            found = [one for one in found if one["collection"] in asked["collections"]]
        if "ids" in self.heeds and "ids" in asked:
            found = [one for one in found if one["id"] in asked["ids"]]
        for name, test in asked.get("query", {}).items() if "query" in self.heeds else ():
            found = [one for one in found if one["properties"].get(name, 1000) <= test["lte"]]
        if "sortby" in self.heeds and "sortby" in asked:
            by = asked["sortby"][0]
            found = sorted(
                found, key=lambda one: one["properties"][by["field"]], reverse=by["direction"] == "desc"
            )
        count = len(found)
        start = 0 if self.stuck else int(asked.get("next", 0))
        page = found[start : start + int(asked["limit"])]
        answer: dict[str, Any] = {"type": "FeatureCollection", "features": page, "links": []}
        if self.counts is not None:
            answer["numberMatched"] = self.counts(count)
        if page:
            number = start + len(page)
            link = {"rel": "next", "method": method, "href": "/api/search"}
            if method == "POST":
                answer["links"] = [{**link, "body": {**asked, "next": number}}]
            else:
                rest = {name: value for name, value in asked.items() if name != "next"}
                flat = {n: ",".join(v) if isinstance(v, list) else v for n, v in rest.items()}
                text = "&".join(f"{name}={value}" for name, value in {**flat, "next": number}.items())
                answer["links"] = [{**link, "href": f"/api/search?{text}"}]
        return answer


@pytest.fixture
def api() -> Iterator[Api]:
    here = Api([item(f"i{n}", n, **{"eo:cloud_cover": 10 * n}) for n in range(1, 8)])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self.reply("GET", parts.path, {name: value[0] for name, value in parse_qs(parts.query).items()})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/json"
            self.reply("POST", self.path, json.loads(body))

        def reply(self, method: str, path: str, asked: dict[str, Any]) -> None:
            here.asked.append((method, path, dict(asked)))
            if path == "/api/search" and here.failures:
                status, headers, text = here.failures.pop(0)
                body = text if isinstance(text, bytes) else text.encode()
            else:
                status, said = here.answer(method, path, asked)
                headers = {"ETag": '"1"'}
                body = said if isinstance(said, bytes) else json.dumps(said).encode()
                if here.packed and "gzip" in self.headers["Accept-Encoding"]:
                    headers, body = {"Content-Encoding": "gzip"}, gzip.compress(body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        here.url = f"http://127.0.0.1:{server.server_port}"
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield here
        server.shutdown()
        serving.join()


def ask(api: Api, access: Any, **criteria: Any) -> tuple[list[str], Any, list[Granule]]:
    asked = query.parse({"archive": "stac", "url": f"{api.url}/api/", **criteria})
    found = archives.get("stac").search(asked, access)
    granules = list(found)
    return [one.id for one in granules], found, granules


@pytest.fixture
def plan(access, tmp_path):
    def make(url: str, **said: Any) -> Any:
        asked = query.parse({"archive": "stac", "url": url, **said})
        return planning.build(asked, tmp_path / "plan.ndjson", access)

    return make


def kept(made: Any) -> list[str]:
    return [one.id for one in made.granules()]


# --------------------------------------------------------------------------------------------------
# Asking APIs

ALL = [f"i{n}" for n in range(1, 8)]


@pytest.mark.parametrize("methods", [["GET"], ["POST"], ["GET", "POST"], []])
@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_all_pages_are_read_and_the_next_link_of_the_last_one_is_no_endless_loop(api, access, methods, size):
    api.methods = methods
    names, found, _ = ask(api, access, page_size=size)
    assert names == ALL
    assert (found.hits, found.received, found.truncated) == (7, 7, False)
    searches = [method for method, path, _ in api.asked if path == "/api/search"]
    assert len(searches) == -(-7 // size) + 1
    assert set(searches) == {"GET" if methods == ["GET"] else "POST"}
    assert access.requests == len(api.asked) == len(searches) + 1


def test_what_a_server_does_not_count_is_what_came(api, access):
    api.counts = None
    names, found, _ = ask(api, access, page_size=3)
    assert (names, found.hits, found.truncated) == (ALL, 7, False)


def test_less_than_was_counted_is_an_error_unless_it_is_allowed(api, access):
    api.counts = lambda count: count + 2
    with pytest.raises(IncompleteSearch, match="counted 9 items and delivered 7"):
        ask(api, access)
    names, found, _ = ask(api, access, allow_incomplete=True)
    assert (names, found.hits, found.received, found.truncated) == (ALL, 9, 7, True)


def test_an_empty_first_page_of_a_server_that_counted_is_no_empty_result(api, access):
    api.items, api.counts = [], lambda _: 5
    with pytest.raises(IncompleteSearch, match="counted 5"):
        ask(api, access)


def test_a_server_that_sends_the_same_page_for_ever_is_found_out(api, access):
    api.stuck = True
    with pytest.raises(IncompleteSearch, match="same page again"):
        ask(api, access, page_size=3)
    assert ask(api, access, page_size=3, allow_incomplete=True)[0] == ["i1", "i2", "i3"]
    # What was counted has come: the page that comes again is the last one.
    assert ask(api, access, page_size=7)[0] == ALL


def test_one_item_twice_is_counted_once(api, access, plan):
    api.items = [*api.items[:6], api.items[0]]
    with pytest.raises(IncompleteSearch, match="7 items and delivered 6"):
        ask(api, access)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_busy_servers_are_asked_again_also_by_post_and_told_apart_from_those_that_refuse(api, access, method):
    api.methods = [method]
    api.failures = [(503, {}, "<html>"), (429, {"Retry-After": "0"}, "{}"), (502, {}, "<html>bad gateway")]
    assert ask(api, access)[0] == ALL
    api.failures = [(503, {}, "")] * 5
    with pytest.raises(CatalogueUnavailable, match="503"):
        ask(api, access)
    api.failures = [(400, {}, '{"description": "Expected bbox OR intersects"}')]
    with pytest.raises(SearchError, match="Expected bbox OR intersects") as caught:
        ask(api, access)
    assert not caught.value.transient
    assert api.failures == []
    api.failures = [(200, {}, "<html>a page</html>")]
    with pytest.raises(CatalogueUnavailable, match="something else than JSON"):
        ask(api, access)
    api.failures = [(200, {}, '{"code": "x"}')]
    with pytest.raises(SearchError, match="no features"):
        ask(api, access)
    api.failures = [(404, {}, "")]
    with pytest.raises(SearchError, match="not there"):
        ask(api, access)


def test_answers_may_be_packed(api, access):
    api.packed = True
    assert ask(api, access)[0] == ALL
    api.files["/files/x"] = b"x" * 1000
    assert access.read(f"{api.url}/files/x", limit=1000) == b"x" * 1000
    with pytest.raises(errors.WrongBody, match="more than 999 bytes"):
        access.read(f"{api.url}/files/x", limit=999)


@pytest.mark.usefixtures("impatient")
def test_packed_answers_that_are_broken_are_errors(api, access):
    packed = {"Content-Encoding": "gzip"}
    api.failures = [(200, packed, "no gzip at all")]
    with pytest.raises(SearchError, match="packed in a way that was not asked for"):
        ask(api, access)
    api.failures = [(200, packed, gzip.compress(b'{"features": []}')[:-4])] * 5
    with pytest.raises(CatalogueUnavailable, match="its packing ends too early"):
        ask(api, access)


def test_several_collections_are_one_query_and_an_unknown_one_is_an_error(api, access):
    api.items += [item("other", collection="d"), item("third", collection="e")]
    assert ask(api, access, collections=["c", "d", "empty"])[0] == [*ALL, "other"]
    with pytest.raises(QueryError, match="collections: the catalogue has no 'typo'"):
        ask(api, access, collections=["c", "typo"])
    api.heeds = set()
    with pytest.raises(SearchError, match="was asked for c and gave d"):
        ask(api, access, collections=["c"])


def test_items_that_are_named_and_not_there_are_said(api, plan):
    made = plan(f"{api.url}/api/", ids=["i2", "i9"], assets="image")
    assert kept(made) == ["i2"]
    assert [(one.id, one.reason) for one in made.dropped()] == [("i9", "not in the archive")]


def test_dates_areas_and_properties_are_asked_for_and_tested_again(api, plan):
    """This server conforms to everything, and heeds nothing of it."""
    api.conforms += [f"{API}/item-search#{name}" for name in ("query", "filter", "sort", "fields")]
    said = {
        "start": "2020-01-02",
        "end": "2020-01-05",
        "area": [1.5, -1, 4.5, 1],
        "query": {"cloud_cover": {"max": 30}, "platform": "x"},
        "cql2": '"eo:cloud_cover" > 10 AND gsd = 3',
        "assets": "image",
    }
    api.items = [
        item(f"i{n}", n, **{"eo:cloud_cover": 10 * n, "gsd": 3, "platform": "X"}) for n in range(1, 8)
    ]
    del api.items[2]["properties"]["gsd"]
    made = plan(f"{api.url}/api/", **said)
    assert kept(made) == ["i2"]
    reasons = {one.id: one.reason for one in made.dropped()}
    assert reasons == {
        "i1": "cql2", "i3": "unknown cql2", "i4": "cloud_cover", "i5": "cloud_cover",
        "i6": "cloud_cover", "i7": "cloud_cover",
    }  # fmt: skip
    (asked,) = [body for method, path, body in api.asked if path == "/api/search" and "next" not in body]
    assert asked["datetime"] == "2020-01-02T00:00:00Z/2020-01-05T23:59:59.999999Z"
    assert asked["intersects"]["type"] == "Polygon"
    assert asked["query"] == {"eo:cloud_cover": {"lte": 30}, "platform": {"eq": "x"}}
    assert asked["filter"]["op"] == "and"
    assert asked["filter-lang"] == "cql2-json"


def test_a_server_is_only_asked_what_it_can_be(api, plan):
    said = {"query": {"eo:cloud_cover": {"max": 30}}, "cql2": "gsd = 3", "fields": ["gsd"], "assets": "image"}
    assert kept(plan(f"{api.url}/api/", **said)) == []
    body = api.asked[-1][2]
    assert not {"query", "filter", "fields"} & set(body)
    api.conforms.append(f"{API}/item-search#filter")
    assert kept(plan(f"{api.url}/api/", **said)) == []
    asked = [body for _, path, body in api.asked if path == "/api/search" and "filter" in body]
    assert asked[0]["filter"]["args"] == [
        {"op": "=", "args": [{"property": "gsd"}, 3.0]},
        {"op": "<=", "args": [{"property": "eo:cloud_cover"}, 30]},
    ]


@pytest.mark.parametrize(
    ("wanted", "test"),
    [
        (20, {"eq": 20}),
        (True, {"eq": True}),
        ("a", {"eq": "a"}),
        (["a", "b"], {"in": ["a", "b"]}),
        ({"min": 1, "max": 2}, {"gte": 1, "lte": 2}),
        (
            {"min": "2020-01-01", "max": "2020-01-02"},
            {"gte": "2019-12-31T23:59:59Z", "lte": "2020-01-03T00:00:00.999999Z"},
        ),
        ({"max": "b"}, {"lte": "b"}),
        # What servers would take otherwise than it is meant is tested here alone.
        ("20", None),
        ("a*", None),
        (["a", "20"], None),
        ({"contains": ["a"]}, None),
    ],
)
def test_values_become_operators_that_find_no_less_than_is_meant(api, access, wanted, test):
    api.conforms.append(f"{API}/item-search#query")
    ask(api, access, query={"thing": wanted})
    assert api.asked[-2][2].get("query") == (None if test is None else {"thing": test})


def test_a_cap_is_recorded_and_an_order_needs_a_server_that_sorts(api, access):
    names, found, _ = ask(api, access, max_items=3, page_size=2)
    assert (names, found.hits, found.truncated) == (["i1", "i2", "i3"], 7, True)
    # Counted is what matches: this server knows no cql2.
    names, found, came = ask(api, access, max_items=2, cql2="eo:cloud_cover >= 50", page_size=2)
    assert [one.id for one in came if one.properties["skystage:cql2"]] == ["i5", "i6"]
    assert (len(names), found.truncated) == (6, True)
    assert ask(api, access, max_items=7)[1].truncated
    with pytest.raises(QueryError, match="sortby: .* does not sort"):
        ask(api, access, max_items=3, sortby="-eo:cloud_cover")
    api.conforms.append(f"{API}/item-search#sort")
    with pytest.raises(SearchError, match="does not sort by eo:cloud_cover"):
        ask(api, access, max_items=3, sortby="-eo:cloud_cover")
    api.heeds.add("sortby")
    assert ask(api, access, max_items=2, sortby="-eo:cloud_cover")[0] == ["i7", "i6"]
    assert ask(api, access, max_items=2, sortby="datetime", page_size=1)[0] == ["i1", "i2"]
    api.items[0]["properties"]["mixed"] = "text"
    for n, one in enumerate(api.items[1:]):
        one["properties"]["mixed"] = ["x", None, {"y": 1}, True, "b", "a"][n]
    api.heeds.discard("sortby")
    assert len(ask(api, access, max_items=7, sortby="mixed")[0]) == 7


def test_fields_leave_the_properties_that_are_named_and_those_that_are_tested(api, access):
    api.conforms += [f"{API}/item-search#fields"]
    said = {"fields": ["gsd"], "query": {"cloud_cover": {"max": 100}}, "cql2": '"view:azimuth" IS NULL'}
    api.items = [item("a", gsd=3, heavy="x" * 1000, **{"eo:cloud_cover": 1})]
    (one,) = ask(api, access, **said)[2]
    assert one.properties == {"gsd": 3, "eo:cloud_cover": 1, "skystage:cql2": True}
    include = api.asked[-1][2]["fields"]["include"]
    assert {"assets", "geometry", "properties.datetime", "properties.gsd", "properties.view:azimuth"} <= set(
        include
    )
    assert "properties.skystage:cql2" not in include


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({}, "url: missing"),
        ({"url": "x", "colections": "c"}, "did you mean 'collections'"),
        ({"url": "x", "query": {"months": 3}}, "months is no property"),
        ({"url": "x", "query": {"a": {"lt": 3}}}, "query.a: got {'lt': 3}"),
        ({"url": "x", "query": [1]}, "query: got [1]"),
        ({"url": "x", "cql2": "(("}, "cql2: got"),
        ({"url": "x", "sortby": "a"}, "sortby: changes nothing"),
        ({"url": "x", "sortby": ["-"], "max_items": 1}, "sortby: got"),
        ({"url": "x", "page_size": 0}, "page_size: got 0"),
        ({"url": "x", "body": "mon"}, "did you mean 'moon'"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(said, field):
    with pytest.raises(QueryError) as caught:
        query.parse({"archive": "stac", **said})
    assert field in str(caught.value)
    assert "\n" not in str(caught.value)


def test_equal_questions_are_equal_queries():
    def digest(**said: Any) -> str:
        return query.parse({"archive": "stac", "url": "https://x/", **said}).digest

    text = digest(cql2="eo:cloud_cover <= 10", collections="c", sortby="a", max_items=1)
    as_json = {"op": "<=", "args": [{"property": "eo:cloud_cover"}, 10]}
    assert text == digest(cql2=as_json, collections=["c"], sortby=["+a"], max_items=1)


@pytest.mark.parametrize("url", ["{api}/none", "{tmp}/none.json", "{api}/files/x.json"])
def test_an_address_without_a_catalogue_is_a_wrong_query(api, plan, tmp_path, url):
    api.files["/files/files/x.json"] = api.files["/files/x.json"] = b"{}"
    with pytest.raises(QueryError, match="url: "):
        plan(url.format(api=f"{api.url}/files", tmp=tmp_path), assets="image")


# --------------------------------------------------------------------------------------------------
# Static catalogues


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    def write(name: str, said: dict[str, Any]) -> None:
        path = tmp_path / "static" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(said))

    about = {"stac_version": "1.0.0", "description": "d"}
    links = [{"rel": "child", "href": f"./{name}/collection.json"} for name in ("a", "b")]
    top = {"rel": "parent", "href": "../catalog.json"}
    write("catalog.json", {"type": "Catalog", "id": "top", **about, "links": links})
    for name in ("a", "b"):
        items = [{"rel": "item", "href": f"./{name}{n}.json"} for n in range(2)]
        write(
            f"{name}/collection.json",
            {"type": "Collection", "id": name, **about, "links": [top, *items, *items]},
        )
        for n in range(2):
            said = item(f"{name}{n}", n + 1, collection=name, gsd=n)
            del said["collection"]
            said["assets"]["image"]["href"] = f"https://data.example.org/{name}{n}.tif"
            said["assets"]["here"] = {"href": "./pixels.tif"}
            write(f"{name}/{name}{n}.json", said)
    return tmp_path / "static" / "catalog.json"


def test_a_static_catalogue_is_walked_and_filtered_here(catalogue, plan, monkeypatch):
    made = plan(str(catalogue), assets="image", query={"gsd": 1})
    assert kept(made) == ["a1", "b1"]
    assert [one.collection for one in made.granules()] == ["a", "b"]
    assert (made.header.hits, made.header.received) == (4, 4)
    assert kept(plan(str(catalogue), assets="image", start="2020-01-02")) == ["a1", "b1"]
    assert kept(plan(str(catalogue), assets="image", area=[0.5, -1, 1.5, 1])) == ["a0", "b0"]
    assert kept(plan(str(catalogue), assets="image", ids=["a0", "b1"])) == ["a0", "b1"]
    assert kept(plan(str(catalogue), assets="image", max_items=1)) == ["a0"]
    (catalogue.parent / "b" / "b0.json").unlink()  # of a collection that nobody asked for
    assert kept(plan(str(catalogue), assets="image", collections="a")) == ["a0", "a1"]
    with pytest.raises(QueryError, match="no 'z'"):
        plan(str(catalogue), assets="image", collections="z")
    with pytest.raises(SearchError, match="b0.json"):
        plan(str(catalogue), assets="image")
    assert kept(made := plan(str(catalogue), assets="image", allow_incomplete=True)) == ["a0", "a1", "b1"]
    assert (made.header.hits, made.header.received, made.header.truncated) == (4, 3, True)
    with pytest.raises(QueryError, match="sortby"):
        plan(str(catalogue), assets="image", max_items=1, sortby="gsd")
    monkeypatch.chdir(catalogue.parent)
    assert kept(plan("a/collection.json", assets="image")) == ["a0", "a1"]


def test_a_static_catalogue_may_lie_on_a_server(catalogue, api, plan):
    for path in catalogue.parent.rglob("*.json"):
        api.files[f"/files/{path.relative_to(catalogue.parent)}"] = path.read_bytes()
    made = plan(f"{api.url}/files/catalog.json", assets="here", collections="b")
    assert [[one.sources[0].href for one in granule.assets] for granule in made.granules()] == [
        [f"{api.url}/files/b/pixels.tif"]
    ] * 2


@pytest.mark.parametrize(
    "spoilt",
    [
        {"properties": [1]},
        {"properties": "x"},
        {"assets": [{"href": "x"}]},
        {"assets": {"image": "x"}},
        {"assets": {"image": {"href": 3}}},
        {"assets": {"image": {"href": "https://[::1"}}},
        {"assets": {"image": {"href": "a", "alternate": {"s3": "s3://b/k"}}}},
        {"links": ["x"]},
        {"links": [{"rel": "self"}]},
        {"geometry": "POINT (1 1)"},
        {"geometry": {"type": "Polygon", "coordinates": [[["x", 1]]]}},
    ],
)
def test_a_broken_item_is_named(tmp_path, plan, spoilt):
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [item("a"), item("b") | spoilt]}))
    with pytest.raises(SearchError, match="stac: the record 'b' cannot be read "):
        plan(str(path), assets="image")


def test_an_item_collection_is_a_catalogue_and_an_item_without_id_is_broken(tmp_path, plan):
    path = tmp_path / "items.json"
    path.write_text(
        json.dumps({"type": "FeatureCollection", "features": [item("a"), item("b", collection="d")]})
    )
    assert kept(plan(str(path), assets="image", collections="d")) == ["b"]
    path.write_text(json.dumps(item("a")))
    assert kept(plan(str(path), assets="image")) == ["a"]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [{"type": "Feature"}]}))
    with pytest.raises(SearchError, match="without id"):
        plan(str(path), assets="image")


# --------------------------------------------------------------------------------------------------
# Items


def one(assets: dict[str, Any], **properties: Any) -> Granule:
    said = {**item("a", **properties), "assets": assets}
    return granule(said, "https://x.org/items/a.json", collection="c")


def test_which_assets_are_wanted_has_to_be_said(api, plan):
    with pytest.raises(QueryError, match=r"assets: say which are wanted \(i1 has: image\)"):
        plan(f"{api.url}/api/")
    with pytest.raises(QueryError, match="no granule has 'imge'.*they have: image"):
        plan(f"{api.url}/api/", assets="imge")
    assert len(kept(plan(f"{api.url}/api/", select={"name": "*.tif"}))) == 7
    api.items = []
    assert kept(plan(f"{api.url}/api/")) == []


def test_files_of_one_name_stay_apart_and_one_file_is_one():
    files = {
        "b": {"href": "https://x.org/2/x.tif"},
        "a": {"href": "https://x.org/1/x.tif"},
        "same": {"href": "https://x.org/1/x.tif"},
        "c": {"href": "https://x.org/a_x.tif"},
        "d": {"href": "https://x.org/3/X.TIF"},
        "e/e": {"href": "../y%20z.tif?sig=1"},
        "f": {"href": "https://x.org/odata/Products(1)/$value", "type": "image/tiff; profile=x"},
        "g": {"href": "https://x.org/.."},
        "h": {"href": "https://x.org/h/"},
        "i": {"href": "https://x.org/Products(1)/Nodes(X.SAFE)/Nodes(n.jp2)/$value"},
    }
    found = {asset.key: asset for asset in one(files).assets}
    assert list(found) == list(files)
    names = {key: asset.name for key, asset in found.items()}
    assert names == {
        "b": "b_x.tif", "a": "_a_x.tif", "same": "_a_x.tif", "c": "a_x.tif", "d": "d_X.TIF", "e/e": "y_z.tif",
        "f": "f.tif", "g": "_", "h": "h", "i": "n.jp2",
    }  # fmt: skip
    assert found["e/e"].sources[0].href == "https://x.org/y%20z.tif?sig=1"
    assert {asset.path.rpartition("/")[0] for asset in found.values()} == {"stac/c/a"}


def test_names_of_catalogues_are_safe_and_stay_different():
    folders = set()
    for name in ("a/b", "a:b", "a_b", "../a_b", "x" * 300, "x" * 301):
        said = {**item("a"), "id": name, "assets": {"k": {"href": f"https://x.org/{'n' * 300}.tif"}}}
        path = granule(said, "https://x.org/", collection="c:/d").assets[0].path
        assert len(path.split("/")) == 4
        assert all(0 < len(part) < 200 and not part.startswith(".") for part in path.split("/"))
        assert path.endswith("n.tif")
        folders.add(path.split("/")[2])
    assert len(folders) == 6


@pytest.mark.parametrize(
    ("href", "source", "auth"),
    [
        ("https://data.example.org/x", "https://data.example.org/x", None),
        ("http://download.dataspace.copernicus.eu/x", "http://download.dataspace.copernicus.eu/x", None),
        ("https://evil-dataspace.copernicus.eu.org/x", "https://evil-dataspace.copernicus.eu.org/x", None),
        ("https://download.dataspace.copernicus.eu/x", "https://download.dataspace.copernicus.eu/x", "cdse"),
        # As recorded: the service's older name, and a node without one.
        (
            "https://zipper.dataspace.copernicus.eu/Products(1)/Nodes(X.SAFE)/Nodes()/Nodes(a)/$value",
            "https://download.dataspace.copernicus.eu/Products(1)/Nodes(X.SAFE)/Nodes(a)/$value",
            "cdse",
        ),
        ("s3://eodata/S/a b?.jp2", "https://eodata.dataspace.copernicus.eu/eodata/S/a%20b%3F.jp2", "cdse-s3"),
        (
            "https://eodata.dataspace.copernicus.eu/eodata/k",
            "https://eodata.dataspace.copernicus.eu/eodata/k",
            "cdse-s3",
        ),
        ("s3://bucket/k", "s3://bucket/k", None),
        (
            "https://data.lpdaac.earthdatacloud.nasa.gov/x",
            "https://data.lpdaac.earthdatacloud.nasa.gov/x",
            "earthdata",
        ),
    ],
)
def test_the_log_in_follows_from_the_host(href, source, auth):
    (found,) = one({"k": {"href": href}}).assets[0].sources
    assert (found.href, found.auth, found.requester_pays) == (source, auth, False)


def test_https_comes_before_s3_and_what_cannot_be_fetched_is_said():
    found = one(
        {
            "k": {
                "href": "s3://eodata/k.jp2",
                "alternate": {
                    "https": {"href": "https://zipper.dataspace.copernicus.eu/k"},
                    "no": {},
                    "g": {"href": "gs://b/k"},
                },
            },
            "g": {"href": "gs://b/k"},
            "nothing": {"title": "no href"},
        }
    )
    assert [source.auth for source in found.assets[0].sources] == ["cdse", "cdse-s3"]
    assert [(item.key, item.reason) for item in found.unresolved] == [
        ("g", "its address is gs:, which cannot be fetched")
    ]
    said = {**item("a"), "assets": {"k": {"href": "./k.tif"}}}
    (lacking,) = granule(said, "/data/items/a.json", collection="c").unresolved
    assert lacking.reason == "its address is file:, which cannot be fetched"


@pytest.mark.parametrize(
    ("said", "properties"),
    [
        ({"storage:requester_pays": True}, {}),
        ({}, {"storage:requester_pays": True}),
        ({"storage:refs": ["aws"]}, {"storage:schemes": {"aws": {"requester_pays": True}}}),
    ],
)
def test_what_the_requester_pays_for_is_told_from_what_is_free(said, properties):
    asset = {"href": "s3://bucket/k", **said}
    (found,) = one({"k": asset}, **properties).assets
    assert found.paid
    assert [(source.auth, source.requester_pays) for source in found.sources] == [("aws", True)]
    by_https = {**asset, "alternate": {"https": {"href": "https://bucket.s3.us-west-2.amazonaws.com/k"}}}
    assert one({"k": by_https}, **properties).assets[0].paid
    elsewhere = {**asset, "alternate": {"https": {"href": "https://data.example.org/k"}}}
    (found,) = one({"k": elsewhere}, **properties).assets
    assert [source.requester_pays for source in found.sources] == [False, True]
    assert not found.paid


def test_a_store_of_two_of_which_one_is_free_is_free():
    schemes = {"free": {"requester_pays": False}, "paid": {"requester_pays": True}}
    asset = {"href": "s3://bucket/k", "storage:refs": ["free", "paid"]}
    assert one({"k": asset}, **{"storage:schemes": schemes}).assets[0].sources[0].auth is None
    # As recorded: a text where a list should be.
    assert one({"k": {**asset, "storage:refs": "\ud808"}}, **{"storage:schemes": schemes}).assets


def test_the_body_the_time_and_the_stack_are_what_the_item_says():
    said = {
        "start_datetime": "2020-01-01T00:00:00Z",
        "end_datetime": "2020-01-02T00:00:00Z",
        "datetime": None,
    }
    moon = one({}, **said, **{"ssys:targets": ["Moon", "Earth"]})
    assert (moon.body, str(moon.start), str(moon.stop), moon.stack) == (
        "moon", "2020-01-01 00:00:00+00:00", "2020-01-02 00:00:00+00:00", "c",
    )  # fmt: skip
    assert (one({}, **{"ssys:targets": "Mars"}).body, one({}, **{"ssys:targets": []}).body) == (
        "mars",
        "earth",
    )
    assert one({}, **{"grid:code": "MGRS-31UFS"}).stack == "31UFS"
    assert one({}, datetime="once").start is None
    assert granule({**item("a"), "geometry": None}, "", collection="c").geometry is None
    assert one({"k": {"href": "https://x.org/k", "file:size": 0}}).assets[0].size is None


def test_the_moon_is_asked_for_by_name(api, plan):
    api.items = [item("m", **{"ssys:targets": ["Moon"]}), item("e"), item("v", **{"ssys:targets": ["Venus"]})]
    made = plan(f"{api.url}/api/", body="moon", assets="image")
    assert kept(made) == ["m"]
    assert {one.id: one.reason for one in made.dropped()} == {"e": "unknown body", "v": "body"}


def test_what_has_to_be_ordered_first_is_offline(api, plan):
    api.items = [item("a", **{"order:status": "orderable"}), item("b", **{"order:status": "succeeded"})]
    assert kept(plan(f"{api.url}/api/", assets="image")) == ["b"]


# --------------------------------------------------------------------------------------------------
# Proof


@pytest.mark.parametrize(
    ("head", "algorithm"),
    [("d50110", "md5"), ("1620", "sha3_256"), ("d50120", "sha3_256"), ("1220", "sha256")],
)
def test_a_flipped_byte_is_caught_by_each_checksum_also_by_one_under_a_wrong_name(
    api, plan, access, store, head, algorithm
):
    body = b"\0\0\0\x0cjP  " + bytes(range(256)) * 40
    digest = hashlib.new(algorithm, body, usedforsecurity=False).hexdigest()
    flipped = body[:5000] + bytes([body[5000] ^ 1]) + body[5001:]
    api.items = [item("good"), item("bad")]
    for said, content in zip(api.items, (body, flipped), strict=True):
        path = f"/files/{said['id']}/SCL_20m.jp2"
        api.files[path] = content
        said["assets"] = {
            "SCL_20m": {
                "href": f"{api.url}{path}",
                "file:size": len(body),
                "file:checksum": f"{head}{digest}",
            }
        }
    made = plan(f"{api.url}/api/", assets="SCL_20m")
    outcome = fetch_all(made.assets(), store, access)
    assert [receipt.verified for receipt in outcome.receipts] == [algorithm.replace("_", "-")]
    ((path, failure),) = outcome.failures.items()
    assert path == "stac/c/bad/SCL_20m.jp2"
    assert isinstance(failure, errors.ChecksumMismatch)
    assert not store.path(Asset(key="x", path=path)).exists()


# --------------------------------------------------------------------------------------------------
# The Copernicus Data Space, in the box


TWO_DAYS = {"collections": "sentinel-2-l2a", "start": "2018-06-17", "end": "2018-06-20"}


@pytest.mark.usefixtures("box")
def test_the_copernicus_data_space_has_one_baseline_a_sensing_and_the_keys_of_its_own_archive(plan):
    wanted = ["SCL_20m", "granule_metadata"]
    made = plan(CDSE, **TWO_DAYS, assets=wanted)
    granules = list(made.granules())
    assert {"superseded"} == {one.reason for one in made.dropped()}
    assert {one.properties["processing:version"] for one in granules} == {"05.00"}
    assert {one.stack for one in granules} == {"31UFS", "31UES"}
    for found in granules:
        scl, metadata = found.asset("SCL_20m"), found.asset("granule_metadata")
        assert scl.path == f"stac/sentinel-2-l2a/{found.id}/{scl.name}"
        assert [source.auth for source in scl.sources] == ["cdse", "cdse-s3"]
        assert list(scl.checksums) == list(metadata.checksums) == ["sha3-256"]
    assert kept(plan(CDSE, **TWO_DAYS, assets=wanted, page_size=1)) == [one.id for one in granules]
    asked = {"archive": "cdse", "collection": "SENTINEL-2", "product_type": "S2MSI2A", "assets": wanted}
    dates = {"start": TWO_DAYS["start"], "end": TWO_DAYS["end"]}
    access = Access()
    other = planning.build(query.parse({**asked, **dates}), made.path.with_name("cdse.ndjson"), access)
    access.close()
    theirs = {
        one.id: {asset.key: (asset.size, asset.checksums) for asset in one.assets} for one in other.granules()
    }
    ours = {one.id: {asset.key: (asset.size, asset.checksums) for asset in one.assets} for one in granules}
    assert ours.keys() == theirs.keys()
    assert {name: found["SCL_20m"] for name, found in ours.items()} == {
        name: found["SCL_20m"] for name, found in theirs.items()
    }


def test_a_flipped_byte_of_a_node_is_caught_by_what_the_item_says(box, plan, access, store):
    keys = {"SCL_20m": "sha3-256", "granule_metadata": "sha3-256", "safe_manifest": "md5"}
    made = plan(CDSE, **{**TWO_DAYS, "end": "2018-06-17"}, assets=list(keys))
    hosts = ["download.dataspace.copernicus.eu", "eodata.dataspace.copernicus.eu"]
    faults = [{"match": {"host": host}, "corrupt": 1500} for host in hosts]
    box.set_faults(faults)
    outcome = fetch_all(made.assets(), store, access)
    assert {type(failure) for failure in outcome.failures.values()} == {errors.ChecksumMismatch}
    assert len(outcome.failures) == len(keys)
    # Where one of the two hosts has the right bytes, they come from there.
    box.set_faults(faults[:1])
    outcome = fetch_all(made.assets(), store, access)
    assert {receipt.source.split("/")[2] for receipt in outcome.receipts} == {hosts[1]}
    proofs = {receipt.path.rpartition("/")[2]: receipt.verified for receipt in outcome.receipts}
    assert sorted(proofs.values()) == sorted(keys.values())
    assert (proofs["MTD_TL.xml"], proofs["manifest.safe"]) == ("sha3-256", "md5")


# --------------------------------------------------------------------------------------------------
# As recorded


def test_recorded_items_of_the_copernicus_data_space_lose_no_asset(recordings):
    name = "recorded_test_search_data_cdse_sentinel_2_002.json.gz"
    recorded = json.loads(gzip.decompress((recordings / "earth" / "cdse_stac" / name).read_bytes()))
    features = json.loads(recorded["response"]["body"])["features"]
    assert len(features) == 4
    archive = archives.get("stac")
    for said in features:
        found = granule(said, CDSE, collection=said["collection"])
        assert [asset.key for asset in found.assets] == list(said["assets"])
        assert found.unresolved == ()
        assert len({asset.path for asset in found.assets}) == len(found.assets)
        for asset in found.assets:
            ((algorithm, digest),) = asset.checksums.items()
            text = said["assets"][asset.key]["file:checksum"]
            assert text.endswith(digest)
            assert algorithm == ("md5" if text.startswith("d50110") else "sha3-256")
            assert asset.size == said["assets"][asset.key]["file:size"]
            assert asset.sources
            assert not any("Nodes()" in source.href or "zipper" in source.href for source in asset.sources)
        assert found.stack in said["id"]
        assert archive.sensing(found) is not None


def test_recorded_items_of_other_servers_are_granules(recordings):
    folder = recordings / "astro"
    page = json.loads((folder / "stac-recorded" / "earthsearch_last_page_has_next.json").read_text())[0][
        "body"
    ]
    sentinel, landsat = (granule(said, "", collection=said["collection"]) for said in page["features"])
    assert (len(sentinel.assets), sentinel.stack) == (35, "13TDE")
    assert landsat.assets
    assert all(asset.paid for asset in landsat.assets)
    items = sorted((folder / "usgs-stac-kaguya").glob("*/item.json"))
    assert len(items) == 9
    for path in items:
        said = json.loads(path.read_text())
        found = granule(said, "https://x.org/", collection=said["collection"])
        assert (found.body, len(found.assets), len({asset.path for asset in found.assets})) == ("moon", 7, 7)
        assert found.start < found.stop
    europa = json.loads((folder / "stac-recorded" / "ssys_item.json").read_text())
    assert granule(europa, "https://x.org/", collection="e").body == "europa"
