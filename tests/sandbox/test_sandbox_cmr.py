from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from skystage.sandbox import Sandbox, builtin
from skystage.sandbox.catalogue import Catalogue
from skystage.sandbox.cmr_query import BadQuery, Criteria, matches

if TYPE_CHECKING:
    import requests

URL = "https://cmr.earthdata.nasa.gov/search/granules.umm_json"
UTAH = [("attribute[]", "int,PATH_NUMBER,100"), ("short_name", "SENTINEL-1A_SLC")]
INSARHUB = (
    "-113.05,37.74,-112.68,37.74,-112.68,38.0,-113.05,38.0,-113.05,37.74",
    "-113.05,37.74,-113.05,38.0,-112.68,38.0,-112.68,37.74,-113.05,37.74",
)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return builtin.build()


def hits(catalogue: Catalogue, *pairs: tuple[str, str]) -> int:
    criteria = Criteria.read(pairs)
    return sum(matches(granule, criteria) for granule in catalogue.granules)


@pytest.mark.parametrize(
    ("pairs", "count"),
    [
        ([], 69),
        (UTAH, 30),
        ([*UTAH, ("temporal", "2020-01-01T00:00:00Z,2020-12-31T23:59:59Z")], 30),
        ([*UTAH, ("temporal[]", "2020-02-01T00:00:00Z,2020-02-29T23:59:59Z")], 2),
        ([*UTAH, ("temporal", ",2020-01-14T13:34:40Z")], 2),
        ([*UTAH, ("temporal", "2020-12-27T13:34:40Z,")], 1),
        ([*UTAH, ("temporal", "2020-01-01T00:00:00Z,2020-12-31T00:00:00Z,1,31")], 3),
        ([*UTAH, ("temporal", ",,335,15")], 5),
        ([*UTAH, ("polygon", INSARHUB[0])], 30),
        ([*UTAH, ("bounding_box", "-113.05,37.74,-112.68,38.0")], 30),
        ([*UTAH, ("bounding_box", "-100,37.74,-99,38.0")], 0),
        ([*UTAH, ("point", "-112.9,37.8")], 30),
        ([*UTAH, ("line", "-120,37.8,-112.9,37.8")], 30),
        ([*UTAH, ("circle", "-112.9,37.8,1000")], 30),
        ([*UTAH, ("circle", "-105,37.8,1000")], 0),
        ([("shortName", "SENTINEL-1A_SLC"), ("shortName", "SENTINEL-1B_SLC")], 47),
        ([("short_name[]", "sentinel-1b_slc"), ("attribute[]", "int,FRAME_NUMBER,122")], 9),
        ([("attribute[]", "string,POLARIZATION,VV")], 6),
        ([("attribute[]", "int,PATH_NUMBER,30,40"), ("attribute[]", "string,PROCESSING_TYPE,SLC")], 15),
        ([("attribute[]", "int,PATH_NUMBER,,40"), ("attribute[]", "int,FRAME_NUMBER,125,")], 1),
        (
            [
                ("attribute[]", "float,CENTER_LON,-113.0,-112.91"),
                ("attribute[]", "string,PROCESSING_TYPE,SLC"),
            ],
            24,
        ),
        ([("attribute[]", "string,ASCENDING_DESCENDING,DESCENDING")], 40),
        ([("attribute[]", "string,NO_SUCH,x")], 0),
        ([("platform[]", "sentinel-1b")], 13),
        ([("orbit_number", "30622")], 6),
        ([("orbit_number", "30622,30797")], 8),
        (
            [
                ("readable_granule_name[]", "S1A_IW_SLC__1SDV_2020*"),
                ("options[readable_granule_name][pattern]", "true"),
            ],
            37,
        ),
        ([("readable_granule_name[]", "S1A_IW_SLC__1SDV_2020*")], 0),
        ([("provider", "ASF"), ("instrument[]", "C-SAR")], 61),
        ([("provider", "LPDAAC")], 0),
        ([("updated_since", "2020-12-15T00:00:00Z")], 5),
        # Fiji: the scenes lie on both sides of the antimeridian.
        ([("point", "179.9,-18.0")], 3),
        ([("point", "-179.9,-18.0")], 3),
        ([("bounding_box", "179.5,-18.5,-179.5,-17.5")], 3),
        ([("bounding_box", "-10,-18.5,10,-17.5")], 0),
        ([("polygon", "179.8,-18,-179.8,-18,-179.8,-17.8,179.8,-17.8,179.8,-18")], 3),
    ],
)
def test_criteria_keep_what_they_say(catalogue: Catalogue, pairs: list[tuple[str, str]], count: int) -> None:
    assert hits(catalogue, *pairs) == count


@pytest.mark.parametrize(
    ("pair", "complaint"),
    [
        (("relativeOrbit", "35"), "Parameter [relativeOrbit] was not recognized."),
        (("page_size", "2001"), "page_size"),
        (("page_size", "x"), "page_size"),
        (("polygon", INSARHUB[1]), "wrong order"),
        (("polygon", "1,2,3"), "not a valid"),
        (("bounding_box", "1,2,3"), "not a valid"),
        (("attribute[]", "PATH_NUMBER,35"), "invalid additional attribute"),
        (("attribute[]", "int,PATH_NUMBER,x"), "invalid value"),
        (("attribute[]", "int,PATH_NUMBER,,"), "must be given"),
        (("temporal", "yesterday,"), "not a valid datetime"),
        (("temporal", "2020-02-01T00:00:00Z,2020-01-01T00:00:00Z"), "must be before"),
        (("orbit_number", "x"), "orbit number"),
        (("sort_key[]", "-size_of_cheese"), "sort key"),
    ],
)
def test_a_search_that_cmr_would_refuse_is_refused(
    session: requests.Session, pair: tuple[str, str], complaint: str
) -> None:
    reply = session.post(URL, data=[pair], timeout=5)
    assert reply.status_code == 400
    (error,) = reply.json()["errors"]
    assert complaint in error


def test_granules_without_any_match_still_check_the_form(catalogue: Catalogue) -> None:
    with pytest.raises(BadQuery):
        hits(catalogue, ("attribute[]", "int,PATH_NUMBER,x"))


def test_page_size_0_only_counts(session: requests.Session) -> None:
    reply = session.post(URL, data=[*UTAH, ("page_size", "0")], timeout=5)
    assert (reply.json()["hits"], reply.json()["items"]) == (30, [])
    assert reply.headers["CMR-Hits"] == "30"
    assert "CMR-Search-After" not in reply.headers


def names(reply: requests.Response) -> list[str]:
    return [item["umm"]["GranuleUR"] for item in reply.json()["items"]]


@pytest.mark.parametrize(
    "order", [["-end_date", "granule_ur"], ["start_date"], ["-granule_ur"], ["end_date", "-provider"]]
)
def test_pages_follow_one_another_without_gap_or_repetition(
    session: requests.Session, order: list[str]
) -> None:
    data = [("page_size", "20"), ("provider", "ASF"), *(("sort_key[]", key) for key in order)]
    whole = names(session.post(URL, data=[*data[1:], ("page_size", "2000")], timeout=5))
    seen: list[str] = []
    headers: dict[str, str] = {}
    sizes = []
    while True:
        reply = session.post(URL, data=data, headers=headers, timeout=5)
        assert reply.headers["CMR-Hits"] == "69"
        sizes.append(len(names(reply)))
        seen += names(reply)
        if "CMR-Search-After" not in reply.headers:
            break
        headers = {"CMR-Search-After": reply.headers["CMR-Search-After"]}
    assert sizes == [20, 20, 20, 9, 0]
    assert seen == whole
    assert len(set(seen)) == 69


def test_the_order_is_the_one_asked_for_and_the_header_holds_its_keys(session: requests.Session) -> None:
    data = [*UTAH, ("page_size", "1"), ("sort_key[]", "-end_date"), ("sort_key[]", "granule_ur")]
    reply = session.get(URL, params=data, timeout=5)
    (item,) = reply.json()["items"]
    assert item["umm"]["GranuleUR"].startswith("S1A_IW_SLC__1SDV_20201227")
    milliseconds, name, number = json.loads(reply.headers["CMR-Search-After"])
    assert milliseconds == 1609076094000
    assert name == item["umm"]["GranuleUR"].lower()
    assert f"G{number}-ASF" == item["meta"]["concept-id"]


def test_sizes_and_checksums_are_those_of_the_payload(box: Sandbox, session: requests.Session) -> None:
    (item,) = session.get(URL, params=[*UTAH, ("page_size", "1")], timeout=5).json()["items"]
    attributes: dict[str, Any] = {
        entry["Name"]: entry["Values"][0] for entry in item["umm"]["AdditionalAttributes"]
    }
    path = "/SLC/SA/" + item["umm"]["GranuleUR"].removesuffix("-SLC") + ".zip"
    content = box._world.catalogue.files[path]
    assert (int(attributes["BYTES"]), attributes["MD5SUM"]) == (content.size, content.md5)


def test_collections_are_listed(session: requests.Session) -> None:
    reply = session.get(
        URL.replace("granules", "collections"), params={"short_name": "SENTINEL-1A_SLC"}, timeout=5
    )
    (item,) = reply.json()["items"]
    assert item["meta"]["granule-count"] == 37


def test_a_token_that_nobody_issued_is_refused(session: requests.Session) -> None:
    reply = session.get(URL, headers={"Authorization": "Bearer x.y.z"}, timeout=5)
    assert (reply.status_code, reply.json()) == (401, {"errors": ["Token does not exist"]})
