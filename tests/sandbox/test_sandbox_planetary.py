"""The STAC API of the USGS, in the manner of stac-server, and the bucket behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from rasterio.io import MemoryFile

from skystage.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import requests

ROOT = "https://stac.astrogeology.usgs.gov/api"
GATEWAY = "https://g6goyz4w56.execute-api.us-west-2.amazonaws.com/prod"
MONO, STEREO, SP = (
    f"kaguya_terrain_camera_{kind}_uncontrolled_observations"
    for kind in ("monoscopic", "stereoscopic", "spsupport")
)
BOX = [3, 4, 5, 6]
SCENE = "TC1S2B0_01_05522N064E0040"


def post(session: requests.Session, status: int = 200, root: str = ROOT, **body: Any) -> dict[str, Any]:
    reply = session.post(f"{root}/search", json=body, timeout=30)
    assert reply.status_code == status, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["id"] for item in answer["features"]]


def following(answer: dict[str, Any]) -> dict[str, Any] | None:
    return next((link for link in answer["links"] if link["rel"] == "next"), None)


@pytest.fixture
def item(session: requests.Session) -> dict[str, Any]:
    (found,) = post(session, ids=[SCENE])["features"]
    return dict(found)


def test_the_landing_page_leads_to_the_gateway(session: requests.Session) -> None:
    page = session.get(f"{ROOT}/", timeout=5).json()
    assert (page["id"], page["type"]) == ("usgs-stac-api", "Catalog")
    assert {link["href"].startswith(GATEWAY) for link in page["links"]} == {True}
    assert not [one for one in page["conformsTo"] if one.endswith("#filter")]
    assert {link.get("method") for link in page["links"] if link["rel"] == "search"} == {"GET", "POST"}
    for link in page["links"]:
        assert session.get(link["href"], timeout=30).status_code == 200
    assert session.get(GATEWAY, timeout=5).json() == page
    said = session.get(f"{ROOT}/conformance", timeout=5).json()
    assert said == {"conformsTo": page["conformsTo"]}


def test_collections_are_those_of_the_camera(session: requests.Session) -> None:
    listed = session.get(f"{ROOT}/collections", timeout=5).json()["collections"]
    assert sorted(one["id"] for one in listed) == sorted((MONO, STEREO, SP))
    one = session.get(f"{ROOT}/collections/{MONO}", timeout=5).json()
    assert one["summaries"] == {"ssys:targets": ["Moon"]}
    assert session.get(f"{ROOT}/collections/{MONO}/queryables", timeout=5).status_code == 200


@pytest.mark.parametrize(
    "path", ["/collections/mars", f"/collections/{MONO}/items/none", "/other", "/../else"]
)
def test_what_is_not_there(session: requests.Session, path: str) -> None:
    reply = session.get(ROOT + path, timeout=5)
    assert (reply.status_code, reply.json()["code"]) == (404, "NotFound")


def test_the_box_of_the_tutorial_has_its_seventy_items(session: requests.Session) -> None:
    found = [
        name
        for collection in (STEREO, SP, MONO)
        for name in ids(post(session, collections=[collection], bbox=BOX, limit=200))
    ]
    assert len(found) == len(set(found)) == 70
    assert found[:5] == [
        "TC1W2B0_01_05187N056E0034",
        "TC2W2B0_01_05187N061E0034",
        "TC1W2B0_01_05187N043E0034",
        "TC2W2B0_01_05187N047E0034",
        "TC2W2B0_01_05187N034E0035",
    ]
    assert found[65:] == [
        "TC1S2B0_01_05522N064E0040",
        "TC1S2B0_01_05522N050E0040",
        "TC1S2B0_01_05522N037E0040",
        "TC1S2B0_01_05521N057E0050",
        "TC1S2B0_01_05521N043E0050",
    ]
    assert post(session, collections=[MONO])["numberMatched"] > 20


def test_ten_items_a_page_and_a_next_link_on_the_last_one(session: requests.Session) -> None:
    answer = post(session, collections=[MONO], bbox=BOX)
    assert answer["context"] == {"limit": 10, "matched": 20, "returned": 10}
    link = following(answer)
    assert link is not None
    last = answer["features"][-1]
    token = f"{last['properties']['datetime']},{last['id']},{MONO}"
    assert link["body"] == {"collections": [MONO], "bbox": BOX, "next": token}
    assert (link["method"], link["merge"], link["href"]) == ("POST", False, f"{GATEWAY}/search")
    second = session.post(link["href"], json=link["body"], timeout=5).json()
    assert not set(ids(second)) & set(ids(answer))
    link = following(second)
    assert link is not None, "stac-server does not know that this is the last one"
    third = session.post(link["href"], json=link["body"], timeout=5).json()
    assert (third["features"], third["numberMatched"], third["numberReturned"]) == ([], 20, 0)
    assert following(third) is None


def test_pages_by_get(session: requests.Session) -> None:
    asked = {
        "collections": f"{MONO},{SP}",
        "bbox": "3,4,5,6",
        "limit": "16",
        "sortby": "-id",
        "filter": "gsd<1",
    }
    answer = session.get(f"{ROOT}/search", params=asked, timeout=5).json()
    seen = ids(answer)
    while (link := following(answer)) is not None:
        assert "filter" not in link["href"]
        answer = session.get(link["href"], timeout=5).json()
        seen += ids(answer)
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 35


def test_a_filter_is_ignored_without_a_word(session: requests.Session) -> None:
    expression = {"op": "<", "args": [{"property": "gsd"}, 1]}
    answer = post(session, collections=[MONO], filter=expression, **{"filter-lang": "cql2-json"})
    assert answer["numberReturned"] == 10
    link = following(answer)
    assert link is not None
    assert set(link["body"]) == {"collections", "next"}


def test_searches_by_what_it_knows(session: requests.Session, item: dict[str, Any]) -> None:
    assert ids(post(session, datetime="2008-12-28T12:47:40Z/2008-12-28T12:47:50Z")) == [SCENE]
    assert SCENE in ids(post(session, datetime=item["properties"]["datetime"]))
    assert post(session, datetime="../2008-01-01T00:00:00Z")["numberMatched"] == 0
    assert post(session, collections=["mars"])["numberMatched"] == 0, "unknown is no error"
    point = {"type": "Point", "coordinates": [3.95, 6.4]}
    assert SCENE in ids(post(session, intersects=point, collections=[MONO], limit=50))
    late = post(session, query={"view:sun_elevation": {"lt": 7}}, collections=[MONO], limit=50)
    assert {one["properties"]["view:sun_elevation"] < 7 for one in late["features"]} == {True}
    bare = post(session, ids=[SCENE], fields={"include": ["properties.datetime"], "exclude": ["assets"]})
    assert set(bare["features"][0]["properties"]) == {"datetime"}
    listed = session.get(f"{ROOT}/collections/{MONO}/items", params={"limit": 3}, timeout=5).json()
    assert {one["collection"] for one in listed["features"]} == {MONO}
    assert session.get(f"{ROOT}/collections/{MONO}/items/{SCENE}", timeout=5).json() == item


@pytest.mark.parametrize(
    "body",
    [
        {"bbox": BOX, "intersects": {"type": "Point", "coordinates": [0, 0]}},
        {"limit": 0},
        {"limit": "many"},
        {"bbox": [1, 2, 3]},
        {"datetime": "yesterday"},
        {"datetime": "../.."},
        {"query": "x"},
    ],
)
def test_what_cannot_be_asked_is_400(session: requests.Session, body: dict[str, Any]) -> None:
    assert post(session, 400, **body)["code"] == "BadRequest"


def test_bodies_that_are_no_question_are_400(session: requests.Session) -> None:
    for body in (b"{", b"[]"):
        reply = session.post(f"{ROOT}/search", data=body, timeout=5)
        assert (reply.status_code, reply.json()["code"]) == (400, "BadRequest")
    for query in ("bbox=a,b,c,d", "intersects={"):
        assert session.get(f"{ROOT}/search?{query}", timeout=5).status_code == 400


def test_all_assets_are_there_but_one(box: Sandbox, session: requests.Session) -> None:
    objects = box._world.catalogue.buckets["astrogeo-ard"].objects
    prefix = "https://astrogeo-ard.s3-us-west-2.amazonaws.com/"
    answer = post(session, limit=1000)
    hrefs = [asset["href"] for one in answer["features"] for asset in one["assets"].values()]
    dead = [href for href in hrefs if href.removeprefix(prefix) not in objects]
    assert len(hrefs) == 7 * answer["numberMatched"] == len(objects) + 1
    (href,) = dead
    reply = session.get(href, timeout=5)
    assert (reply.status_code, reply.headers["content-type"]) == (404, "application/xml")
    assert ET.fromstring(reply.content).findtext("Code") == "NoSuchKey"  # noqa: S314 - the sandbox's own
    assert href.endswith("TC1S2B0_01_05521N043E0050/provenance.txt")


def test_the_image_is_where_the_item_says(session: requests.Session, item: dict[str, Any]) -> None:
    body = session.get(item["assets"]["image"]["href"], timeout=5).content
    said = item["properties"]
    with MemoryFile(body) as memory, memory.open() as image:
        assert (image.dtypes, image.nodata, image.scales) == (("int16",), -32768, (0.013,))
        assert list(image.shape) == said["proj:shape"]
        assert list(image.transform.to_gdal()) == pytest.approx(said["proj:transform"])
        assert image.crs.to_dict()["R"] == 1_737_400
        assert image.crs.to_dict()["lon_0"] == 180
        values = image.read(1)
        assert (values != -32768).mean() > 0.9
        assert values.max() > 500
    picture = session.get(item["assets"]["thumbnail"]["href"], timeout=5).content
    assert picture[:3] == b"\xff\xd8\xff"


def test_the_labels_say_what_the_item_says_under_a_wrong_name(
    session: requests.Session, item: dict[str, Any]
) -> None:
    pvl = pytest.importorskip("pvl")
    label = {
        name: session.get(item["assets"][name]["href"], timeout=5).text
        for name in ("caminfo_pvl", "isis_label", "pds_label", "usgscsm_isd", "provenance")
    }
    assert 6000 < len(label["caminfo_pvl"]) < 8000
    geometry = pvl.loads(label["caminfo_pvl"])["Caminfo"]["Geometry"]
    assert geometry["LocalTime"] == pytest.approx(item["properties"]["view:sun_elevation"])
    assert geometry["EmissionAngle"] == pytest.approx(item["properties"]["view:off_nadir"])
    assert pvl.loads(label["isis_label"])["IsisCube"]["Archive"]["ProductId"] == SCENE
    angle = pvl.loads(label["pds_label"])["INCIDENCE_ANGLE"]
    assert (angle.value, angle.units) == (pytest.approx(geometry["IncidenceAngle"], abs=5e-4), "deg")
    assert "stand-in" in label["provenance"]


def test_longitudes_count_from_the_other_end_in_labels(session: requests.Session) -> None:
    pvl = pytest.importorskip("pvl")
    answer = post(session, bbox=[-2, 0, -0.5, 9], collections=[STEREO])
    one = answer["features"][0]
    assert one["bbox"][0] < one["bbox"][2] < 0
    text = session.get(one["assets"]["caminfo_pvl"]["href"], timeout=5).text
    centre = pvl.loads(text)["Caminfo"]["Geometry"]["CenterLongitude"]
    assert centre == pytest.approx(one["properties"]["proj:centroid"]["lon"] + 360)


def test_recorded_items_come_with_their_labels(
    recordings: Path, connect: Callable[[Sandbox], requests.Session]
) -> None:
    with Sandbox(catalogue=recordings) as box, connect(box) as session:
        answer = post(session, collections=[MONO], bbox=[-59, 7, -57, 20])
        assert answer["numberMatched"] == 9
        assert post(session, collections=[STEREO])["numberMatched"] == 0
        for one in answer["features"]:
            folder = recordings / "astro/usgs-stac-kaguya" / one["id"]
            files = {"caminfo_pvl": "caminfo.pvl", "isis_label": "isis.lbl", "thumbnail": "thumbnail.jpg"}
            for name, file in files.items():
                assert (
                    session.get(one["assets"][name]["href"], timeout=5).content
                    == (folder / file).read_bytes()
                )
            assert session.get(one["assets"]["provenance"]["href"], timeout=5).status_code == 404
            content = session.get(one["assets"]["image"]["href"], timeout=5).content
            with MemoryFile(content) as memory, memory.open() as image:
                assert image.bounds.left == pytest.approx(one["properties"]["proj:transform"][0])
            assert session.get(one["assets"]["usgscsm_isd"]["href"], timeout=5).status_code == 200


def test_recorded_items_of_earth_search_are_pages_again(
    recordings: Path, connect: Callable[[Sandbox], requests.Session]
) -> None:
    root = "https://earth-search.aws.element84.com/v1"
    with Sandbox(catalogue=recordings) as box, connect(box) as session:
        answer = post(session, root=root, collections=["cop-dem-glo-30"])
        assert answer["numberReturned"] == 10
        day = "2023-10-08T00:00:00Z/2023-10-08T23:59:59Z"
        point = {"type": "Point", "coordinates": [-105.1019, 40.1672]}
        names = ["sentinel-2-l2a", "landsat-c2-l2"]
        found = post(session, root=root, collections=names, datetime=day, intersects=point)
        assert (len(found["features"]), found["numberMatched"]) == (2, 2)
        assert following(found) is not None


PAID = "https://usgs-landsat.s3.us-west-2.amazonaws.com"


def test_who_reads_pays_or_reads_nothing(session: requests.Session) -> None:
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    from skystage.sandbox.accounts import AWS_KEY, AWS_SECRET

    def ask(path: str, key: str = AWS_KEY, region: str = "us-west-2", **headers: str) -> requests.Response:
        request = AWSRequest("GET", PAID + path, headers=headers)
        S3SigV4Auth(Credentials(key, AWS_SECRET), "s3", region).add_auth(request)
        return session.get(PAID + path, headers=dict(request.headers), timeout=5)

    payer = {"x-amz-request-payer": "requester"}
    listed = ask("/?list-type=2", **payer)
    assert listed.headers["x-amz-request-charged"] == "requester"
    key = ET.fromstring(listed.content).findtext(".//{*}Key")  # noqa: S314 - the sandbox's own
    paid = ask(f"/{key}", **payer)
    assert (paid.status_code, paid.headers["x-amz-request-charged"]) == (200, "requester")
    for refused, code in (
        (ask(f"/{key}"), "AccessDenied"),
        (session.get(f"{PAID}/{key}", headers=payer, timeout=5), "AccessDenied"),
        (ask(f"/{key}", key="ANOTHER", **payer), "InvalidAccessKeyId"),
    ):
        assert (refused.status_code, ET.fromstring(refused.content).findtext("Code")) == (403, code)  # noqa: S314
        assert "x-amz-request-charged" not in refused.headers
    elsewhere = ask(f"/{key}", region="us-east-1", **payer)
    assert (elsewhere.status_code, elsewhere.headers["x-amz-bucket-region"]) == (400, "us-west-2")
    nonsense = session.get(f"{PAID}/{key}", headers={"Authorization": "Bearer x"}, timeout=5)
    assert nonsense.status_code == 400


def test_the_bucket_lists_with_prefix_delimiter_and_pages(session: requests.Session) -> None:
    base = "https://astrogeo-ard.s3.amazonaws.com/"
    asked = {"list-type": "2", "prefix": "moon/kaguya/terrain_camera/", "delimiter": "/"}
    page = ET.fromstring(session.get(base, params=asked, timeout=5).content)  # noqa: S314
    groups = [one.text or "" for one in page.iter("{http://s3.amazonaws.com/doc/2006-03-01/}Prefix")][1:]
    assert [one.rsplit("/", 2)[1] for one in groups] == ["monoscopic", "spsupport", "stereoscopic"]
    assert "us-west-2" in session.get(f"{base}?location", timeout=5).text
    folder = groups[0] + "uncontrolled/"
    page = ET.fromstring(session.get(base, params=asked | {"prefix": folder}, timeout=5).content)  # noqa: S314
    scene = page.findall(".//{*}CommonPrefixes/{*}Prefix")[0].text or ""
    assert scene.count("/") == 6
    assert session.put(f"{base}x", data=b"x", timeout=5).status_code == 403
    assert session.head(base, timeout=5).headers["x-amz-bucket-region"] == "us-west-2"


def test_a_plus_in_a_path_is_a_space_as_in_s3() -> None:
    from datetime import UTC, datetime

    from skystage.sandbox.buckets import Bucket, hosts_of
    from skystage.sandbox.files import Made
    from skystage.sandbox.messages import Request

    keys = ("a b", "a+b", "x%y", "//é")
    made = {key: Made(key, "text/plain", datetime.now(UTC), key.encode) for key in keys}
    table = hosts_of([Bucket("some-bucket", "eu-west-1", made), Bucket("dotted.bucket", "us-east-1", made)])

    def status(host: str, target: str, **headers: str) -> tuple[int, int]:
        reply = table[host](Request("GET", host, target, headers))
        return reply.status, reply.length

    own = "some-bucket.s3.eu-west-1.amazonaws.com"
    assert status(own, "/a+b") == status(own, "/a%20b") == status(own, "/a%2Bb") == (200, 3)
    assert status(own, "///%C3%A9") == (200, 4)
    assert status(own, "/x%25y", range="bytes=1-1") == (206, 1)
    assert status(own, "/x%25y", range="bytes=3-")[0] == 416
    assert status(own, "/x%25y", **{"if-match": '"other"'})[0] == 412
    assert status("s3.amazonaws.com", "/dotted.bucket/a+b") == (200, 3)
    assert status("s3.eu-west-1.amazonaws.com", "/some-bucket/a+b") == (200, 3)
    assert status("s3-eu-west-1.amazonaws.com", "/dotted.bucket/a+b")[0] == 301
    assert status("s3.eu-west-1.amazonaws.com", "/nobody/a")[0] == 404
