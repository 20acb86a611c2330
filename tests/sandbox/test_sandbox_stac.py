from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import requests

ROOT = "https://stac.dataspace.copernicus.eu/v1"
L2A = "sentinel-2-l2a"
JUNE = "2018-06-01T00:00:00Z/2018-06-30T23:59:59Z"
BELGIUM = [5.0, 50.8, 5.1, 50.9]


def post(session: requests.Session, status: int = 200, **body: Any) -> dict[str, Any]:
    reply = session.post(f"{ROOT}/search", json=body, timeout=60)
    assert reply.status_code == status, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["id"] for item in answer["features"]]


@pytest.fixture
def one(session: requests.Session) -> dict[str, Any]:
    """An item of a newer baseline."""
    (item,) = post(session, collections=[L2A], bbox=BELGIUM, datetime="2018-06-27T00:00:00Z/..", limit=3)[
        "features"
    ][-1:]
    assert "_N0500_" in item["id"]
    found: dict[str, Any] = item
    return found


def test_the_landing_page_says_what_it_can(session: requests.Session) -> None:
    reply = session.get(ROOT, timeout=5)
    page = reply.json()
    assert (page["type"], page["stac_version"]) == ("Catalog", "1.0.0")
    assert {"https://api.stacspec.org/v1.0.0/item-search#sort"} <= set(page["conformsTo"])
    for link in page["links"]:
        if link["rel"] in ("data", "conformance", "child"):
            assert session.get(link["href"], timeout=5).status_code == 200
    assert {link.get("method") for link in page["links"] if link["rel"] == "search"} == {"GET", "POST"}


def test_collections(session: requests.Session) -> None:
    listed = session.get(f"{ROOT}/collections", timeout=5).json()["collections"]
    assert [one["id"] for one in listed] == [L2A, "sentinel-2-l1c"]
    single = session.get(f"{ROOT}/collections/{L2A}", timeout=5).json()
    assert single == listed[0]
    assert session.get(f"{ROOT}/collections/{L2A}/queryables", timeout=5).json() == (
        session.get(f"{ROOT}/queryables", timeout=5).json()
    )
    assert session.get(f"{ROOT}/collections/landsat", timeout=5).status_code == 404


def test_a_search_finds_the_newest_first_and_get_finds_the_same(session: requests.Session) -> None:
    answer = post(session, collections=[L2A], bbox=BELGIUM, datetime=JUNE, limit=5)
    times = [item["properties"]["datetime"] for item in answer["features"]]
    assert times == sorted(times, reverse=True)
    assert answer["numberReturned"] == len(times) == 5
    params = {"collections": L2A, "bbox": ",".join(map(str, BELGIUM)), "datetime": JUNE, "limit": 5}
    reply = session.get(f"{ROOT}/search", params=params, timeout=60)
    assert reply.headers["Content-Type"] == "application/geo+json"
    assert ids(reply.json()) == ids(answer)
    in_collection = session.get(
        f"{ROOT}/collections/{L2A}/items", params={"datetime": JUNE, "limit": 5}, timeout=60
    ).json()
    assert ids(in_collection) == ids(post(session, collections=[L2A], datetime=JUNE, limit=5))


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_pages_follow_their_tokens(session: requests.Session, method: str) -> None:
    everything = ids(post(session, collections=[L2A], datetime=JUNE, limit=1000))
    if method == "POST":
        page = post(session, collections=[L2A], datetime=JUNE, limit=4)
    else:
        params = {"collections": L2A, "datetime": JUNE, "limit": 4}
        page = session.get(f"{ROOT}/search", params=params, timeout=60).json()
    seen = ids(page)
    while following := [link for link in page["links"] if link["rel"] == "next"]:
        (link,) = following
        assert link["method"] == method
        page = session.request(method, link["href"], json=link.get("body"), timeout=60).json()
        seen += ids(page)
    assert seen == everything
    assert len(set(seen)) == len(seen) > 8


@pytest.mark.parametrize(
    "wanted",
    [
        {"query": {"eo:cloud_cover": {"lt": 10}}},
        {"filter": {"op": "<", "args": [{"property": "eo:cloud_cover"}, 10]}, "filter-lang": "cql2-json"},
        {"filter": "eo:cloud_cover < 10", "filter-lang": "cql2-text"},
    ],
)
def test_clouds_by_each_of_the_languages(session: requests.Session, wanted: dict[str, Any]) -> None:
    every = post(session, collections=[L2A], datetime=JUNE, limit=1000)["features"]
    clear = {item["id"] for item in every if item["properties"]["eo:cloud_cover"] < 10}
    assert set(ids(post(session, collections=[L2A], datetime=JUNE, limit=1000, **wanted))) == clear
    assert 0 < len(clear) < len(every)
    params = {name: value if isinstance(value, str) else json.dumps(value) for name, value in wanted.items()}
    reply = session.get(
        f"{ROOT}/search", params={**params, "collections": L2A, "datetime": JUNE, "limit": 1000}, timeout=60
    )
    assert set(ids(reply.json())) == clear


def test_order_fields_ids_and_shapes(session: requests.Session, one: dict[str, Any]) -> None:
    rising = post(
        session,
        collections=[L2A],
        datetime=JUNE,
        limit=1000,
        sortby=[{"field": "properties.eo:cloud_cover", "direction": "asc"}],
        fields={"include": ["properties.eo:cloud_cover", "assets.SCL_20m"]},
    )["features"]
    clouds = [item["properties"]["eo:cloud_cover"] for item in rising]
    assert clouds == sorted(clouds)
    assert {tuple(item["properties"]) for item in rising} == {("eo:cloud_cover",)}
    assert {tuple(item["assets"]) for item in rising} == {("SCL_20m",)}
    assert "geometry" not in rising[0]
    without = post(session, ids=[one["id"]], fields={"exclude": ["assets", "properties.gsd"]})["features"][0]
    assert "assets" not in without
    assert "gsd" not in without["properties"]
    assert without["geometry"] == one["geometry"]
    shape = {"type": "Point", "coordinates": [5.0, 50.8]}
    assert one["id"] in ids(post(session, ids=[one["id"], "x"], intersects=shape))
    assert not ids(post(session, ids=[one["id"]], bbox=[170, 50, -170, 51]))
    params = {"ids": one["id"], "fields": "id,-assets", "sortby": "-properties.datetime"}
    (found,) = session.get(f"{ROOT}/search", params=params, timeout=60).json()["features"]
    assert (found["id"], "assets" in found) == (one["id"], False)


def test_an_item_by_its_address(session: requests.Session, one: dict[str, Any]) -> None:
    (own,) = (link["href"] for link in one["links"] if link["rel"] == "self")
    assert session.get(own, timeout=60).json() == one
    assert session.get(f"{ROOT}/collections/{L2A}/items/x", timeout=5).status_code == 404


def test_an_item_is_the_product_of_the_other_catalogue(
    session: requests.Session, one: dict[str, Any]
) -> None:
    products = "https://catalogue.dataspace.copernicus.eu/odata/v1/Products"
    (record,) = session.get(
        products, params={"$filter": f"Name eq '{one['id']}.SAFE'", "$expand": "Attributes"}, timeout=60
    ).json()["value"]
    whole = one["assets"]["Product"]
    assert whole["href"] == f"https://zipper.dataspace.copernicus.eu/odata/v1/Products({record['Id']})/$value"
    assert whole["file:size"] == record["ContentLength"]
    assert whole["file:checksum"] == f"d50110{record['Checksum'][0]['Value']}"
    assert one["assets"]["SCL_20m"]["href"].startswith(f"s3:/{record['S3Path']}/GRANULE/")
    clouds = {item["Name"]: item["Value"] for item in record["Attributes"]}["cloudCover"]
    assert one["properties"]["eo:cloud_cover"] == round(clouds, 2)


def test_assets_and_their_checksums(one: dict[str, Any]) -> None:
    assets = one["assets"]
    assert {"B02_10m", "B8A_20m", "SCL_20m", "TCI_10m", "AOT_60m", "thumbnail", "safe_manifest"} <= set(
        assets
    )
    codes = {key: assets[key]["file:checksum"] for key in assets}
    assert (codes["SCL_20m"][:4], len(codes["SCL_20m"])) == ("1620", 68)
    assert (codes["safe_manifest"][:6], len(codes["safe_manifest"])) == ("d50110", 38)
    # Says MD5 and 32 bytes.
    assert (codes["granule_metadata"][:6], len(codes["granule_metadata"])) == ("d50120", 70)
    scl = assets["SCL_20m"]
    assert scl["proj:code"] == "EPSG:32631"
    assert scl["proj:shape"] == [183, 183]
    assert scl["proj:transform"][0] * 183 == 109_800
    assert scl["proj:bbox"][0] == scl["proj:transform"][2]
    assert "Nodes()" in assets["granule_metadata"]["alternate"]["https"]["href"]
    assert "Nodes()" not in assets["product_metadata"]["alternate"]["https"]["href"]
    refs = {ref for asset in assets.values() for ref in asset.get("storage:refs", [])}
    assert refs <= set(one["properties"]["storage:schemes"])


def test_older_baselines_have_md5_and_level_1c_other_names(session: requests.Session) -> None:
    (old,) = post(session, query={"processing:version": {"eq": "02.08"}}, collections=[L2A], limit=1)[
        "features"
    ]
    assert {code[:6] for code in (asset["file:checksum"] for asset in old["assets"].values())} == {"d50110"}
    (level_1,) = post(session, collections=["sentinel-2-l1c"], limit=1)["features"]
    assert {"B02", "B8A", "TCI", "product_metadata"} <= set(level_1["assets"])
    gsd = {key: asset["gsd"] for key, asset in level_1["assets"].items() if "gsd" in asset}
    assert (gsd["B02"], gsd["B8A"], gsd["B10"], gsd["TCI"]) == (10, 20, 60, 10)


def test_products_offline_are_not_here(session: requests.Session) -> None:
    products = "https://catalogue.dataspace.copernicus.eu/odata/v1/Products"
    (record,) = session.get(
        products, params={"$filter": "Online eq false", "$expand": "Attributes"}, timeout=60
    ).json()["value"]
    assert not ids(post(session, ids=[record["Name"].removesuffix(".SAFE")]))


@pytest.mark.parametrize(
    "body",
    [
        {"colections": [L2A]},
        {"limit": 0},
        {"limit": "many"},
        {"bbox": [1, 2, 3]},
        {"bbox": [1, 4, 3, 2]},
        {"datetime": "June"},
        {"token": "next:x:y"},
        {"filter": "eo:cloud_cover <"},
        {"sortby": ["datetime"]},
        {"intersects": {"type": "Blob"}},
        {"bbox": BELGIUM, "intersects": {"type": "Point", "coordinates": [5, 50]}},
    ],
)
def test_searches_that_are_refused(session: requests.Session, body: dict[str, Any]) -> None:
    assert post(session, 400, **body)["code"] == "BadRequest"


@pytest.mark.parametrize("query", ["bbox=1,2,x,4", "query={", "limit=0", "lmit=5"])
def test_addresses_that_are_refused(session: requests.Session, query: str) -> None:
    assert session.get(f"{ROOT}/search?{query}", timeout=5).status_code == 400


@pytest.mark.parametrize("body", ["{", "[]"])
def test_bodies_that_are_refused(session: requests.Session, body: str) -> None:
    assert session.post(f"{ROOT}/search", data=body, timeout=5).status_code == 400


def test_checksums_are_those_of_the_bytes(session: requests.Session, one: dict[str, Any]) -> None:
    from skystage.sandbox import optical, sentinel2

    (scene,) = (scene for scene in optical.scenes() if scene.name == one["id"])
    files = sentinel2.files(scene)
    for key, length in (("SCL_20m", 4), ("granule_metadata", 6), ("datastrip_metadata", 6)):
        asset = one["assets"][key]
        content = files[asset["file:local_path"].partition("/")[2]]
        assert asset["file:size"] == content.size
        digest = hashlib.sha3_256(content.read(0, content.size)).hexdigest()
        assert asset["file:checksum"][length:] == digest


def test_the_quicklook_is_where_the_item_says(session: requests.Session, one: dict[str, Any]) -> None:
    asset = one["assets"]["thumbnail"]
    reply = session.get(asset["href"], timeout=60)
    assert [hop.status_code for hop in reply.history] == [301]
    assert reply.url.startswith("https://zipper.creodias.eu/")
    assert reply.status_code == 200, reply.text
    assert len(reply.content) == asset["file:size"]
    assert reply.content.startswith(b"\xff\xd8")
