"""The search by mission, asked as programs ask it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from skystage.sandbox import Sandbox
from skystage.sandbox.accounts import MAST

if TYPE_CHECKING:
    from pathlib import Path

    import requests

BASE = "https://mast.stsci.edu/search"
HST = f"{BASE}/hst/api/v0.1"


def search(session: requests.Session, *conditions: dict[str, Any], **more: Any) -> dict[str, Any]:
    body = {"conditions": list(conditions), "limit": 5000, "offset": 0, "select_cols": None, **more}
    reply = session.post(f"{HST}/search", json=body, timeout=10)
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def names(answer: dict[str, Any]) -> list[str]:
    return [row["sci_data_set_name"] for row in answer["results"]]


OF_7291 = {"sci_pep_id": "7291"}


@pytest.mark.parametrize(
    ("condition", "count"),
    [
        ({}, 5),
        ({"sci_actual_duration": ">=2175"}, 3),
        ({"sci_actual_duration": ">2175"}, 2),
        ({"sci_actual_duration": "<1"}, 1),
        ({"sci_actual_duration": "<=1.5"}, 2),
        ({"sci_actual_duration": "1..2200"}, 2),
        ({"sci_actual_duration": "0.7,1.5"}, 2),
        ({"sci_actual_duration": "!0.7"}, 4),
        ({"sci_actual_duration": "2947,!0.7"}, 2),
        ({"sci_targname": "ton*"}, 5),
        ({"sci_targname": "TON"}, 0),
        ({"sci_target_descrip": "gala"}, 5),
        ({"sci_start_time": "1999-01-12 01:00:00..1999-01-12 02:00:00"}, 1),
        ({"sci_start_time": ">1999-01-13"}, 0),
        ({"sci_data_set_name": "o58701010,O58701020"}, 2),
        ({"ang_sep": "<1"}, 0),
    ],
)
def test_conditions_are_evaluated(session: requests.Session, condition: dict[str, str], count: int) -> None:
    answer = search(session, OF_7291, condition)
    assert (len(answer["results"]), answer["totalResults"]) == (count, count)


def test_a_page_is_a_part_of_the_whole(session: requests.Session) -> None:
    whole = names(search(session, OF_7291))
    assert whole == sorted(whole)
    page = search(session, OF_7291, limit=2, offset=1)
    assert (names(page), page["totalResults"]) == (whole[1:3], 5)
    longest = search(session, OF_7291, sort_by=["sci_actual_duration"], sort_desc=[True])
    assert names(longest) == ["O58701020", "O58701030", "O58701010", "O58701BYQ", "O58701BZQ"]


def test_columns_are_those_asked_for(session: requests.Session) -> None:
    answer = search(session, OF_7291, select_cols=["sci_pep_id", "sci_data_set_name"])
    assert answer["results"][0] == {"sci_pep_id": 7291, "sci_data_set_name": "O58701010"}
    assert answer["info"][0] == {"name": "sci_pep_id", "type": "long"}


def test_a_circle_on_the_sky(session: requests.Session) -> None:
    near = search(session, target=["183.788 33.165"], radius=3, radius_units="arcminutes")
    assert len(near["results"]) == 5
    assert all(row["ang_sep"] < 0.1 for row in near["results"])
    assert search(session, target=["183.788 34.165"], radius=180)["results"] == []


@pytest.mark.parametrize(
    "body",
    [
        {"conditions": [{"sci_nothing": "1"}]},
        {"conditions": [{"sci_pep_id": "x"}]},
        {"select_cols": ["sci_nothing"]},
        {"target": ["1"], "radius": 1},
        {"target": ["1 2"], "radius": 1, "radius_units": "miles"},
        [],
    ],
)
def test_what_it_does_not_understand_is_400(session: requests.Session, body: object) -> None:
    reply = session.post(f"{HST}/search", json=body, timeout=5)
    assert (reply.status_code, "Invalid request" in reply.json()["message"]) == (400, True)


def test_columns_are_listed(session: requests.Session) -> None:
    url = f"{BASE}/util/api/v0.1/column_list"
    columns = session.get(url, params={"mission": "hst"}, timeout=5).json()
    assert {"sci_pep_id", "sci_targname", "sci_data_set_name"} <= {one["column_name"] for one in columns}
    assert session.get(url, params={"mission": "pluto"}, timeout=5).status_code == 400


def test_products_are_listed_and_retrieved(box: Sandbox, session: requests.Session) -> None:
    body = {"dataset_ids": ["O58701010", "o58701030", "NOTHING"]}
    products = session.post(f"{HST}/post_list_products", json=body, timeout=5).json()["products"]
    assert len(products) == 30
    assert (
        products
        == (
            session.get(
                f"{HST}/list_products", params={"dataset_ids": "O58701010,o58701030"}, timeout=5
            ).json()
        )["products"]
    )
    (spectrum,) = [one for one in products if one["filename"] == "o58701010_x1d.fits"]
    assert (spectrum["size"], spectrum["category"], spectrum["file_suffix"]) == (77760, "CALIBRATED", "X1D")
    url = f"{HST}/retrieve_product"
    assert len(session.get(url, params={"product_name": spectrum["uri"]}, timeout=5).content) == 77760
    secret = {"product_name": "SBX001030/sbx001030_flt.fits"}
    assert session.get(url, params=secret, timeout=5).status_code == 401
    headers = {"Authorization": f"token {box.token(realm=MAST)}"}
    assert session.get(url, params=secret, headers=headers, timeout=5).status_code == 200
    assert session.get(url, params={"product_name": "x"}, timeout=5).status_code == 404
    assert session.get(url, timeout=5).status_code == 400
    assert session.get(f"{BASE}/pluto/api/v0.1/list_products", timeout=5).status_code == 404


def test_webb_has_columns_of_its_own(box: Sandbox, session: requests.Session) -> None:
    base = f"{BASE}/jwst/api/v0.1"
    body = {"conditions": [{"program": "2731,99002"}, {"instrume": "nir*"}]}
    found = session.post(f"{base}/search", json=body, timeout=5).json()
    assert [(row["program"], row["access"]) for row in found["results"]] == [
        (2731, "public"),
        (99002, "restricted"),
    ]
    names = {"dataset_ids": [row["fileSetName"] for row in found["results"]]}
    products = session.post(f"{base}/post_list_products", json=names, timeout=5).json()["products"]
    assert [one["access"] for one in products] == ["PUBLIC", "RESTRICTED"]
    asked = [
        session.get(f"{base}/retrieve_product", params={"product_name": one["uri"]}, timeout=5)
        for one in products
    ]
    assert [one.status_code for one in asked] == [200, 401]
    assert len(asked[0].content) == 288000
    hst = session.get(f"{HST}/retrieve_product", params={"product_name": products[0]["uri"]}, timeout=5)
    assert hst.status_code == 404


def test_recorded_columns_are_listed_as_recorded(recordings: Path) -> None:
    from skystage.sandbox.catalogue import load

    columns = load(recordings).mast.mission_columns
    assert columns is not None
    assert "sci_pep_id" in {one["column_name"] for one in columns}
