from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from skystage.sandbox import Sandbox
from skystage.sandbox.accounts import CDSE, PASSWORD, USER

if TYPE_CHECKING:
    import requests

TOKENS = "https://identity.dataspace.copernicus.eu/auth/realms/CDSE/protocol/openid-connect/token"
PRODUCTS = "https://catalogue.dataspace.copernicus.eu/odata/v1/Products"
LOGIN = {"client_id": "cdse-public", "grant_type": "password", "username": USER, "password": PASSWORD}


def search(session: requests.Session, **params: Any) -> dict[str, Any]:
    reply = session.get(PRODUCTS, params={f"${key}": value for key, value in params.items()}, timeout=10)
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


@pytest.fixture
def product(session: requests.Session) -> dict[str, Any]:
    (found,) = search(
        session,
        filter="startswith(Name,'S1A') and contains(Name,'AUX_POEORB') and "
        "ContentDate/Start lt '2020-01-02T13:33:28.000000Z' and "
        "ContentDate/End gt '2020-01-02T13:35:28.000000Z'",
        orderby="ContentDate/Start asc",
        top=1,
    )["value"]
    return found


@pytest.fixture
def bearer(session: requests.Session) -> dict[str, str]:
    return {"Authorization": f"Bearer {session.post(TOKENS, data=LOGIN, timeout=5).json()['access_token']}"}


def test_a_password_opens_a_session_and_a_refresh_does_not(box: Sandbox, session: requests.Session) -> None:
    first = session.post(TOKENS, data=LOGIN, timeout=5).json()
    assert (first["expires_in"], first["refresh_expires_in"], first["token_type"]) == (600, 3600, "Bearer")
    assert first["access_token"].count(".") == 2
    again = {
        "client_id": "cdse-public",
        "grant_type": "refresh_token",
        "refresh_token": first["refresh_token"],
    }
    second = session.post(TOKENS, data=again, timeout=5).json()
    assert second["access_token"] != first["access_token"]
    assert second["session_state"] == first["session_state"]
    assert box.accounts.sessions[CDSE] == 1


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"password": "wrong"}, 401, "invalid_grant"),
        ({"client_id": "x"}, 401, "invalid_client"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, 400, "invalid_grant"),
        ({"grant_type": "magic"}, 400, "unsupported_grant_type"),
    ],
)
def test_what_gives_no_token(
    session: requests.Session, change: dict[str, str], status: int, error: str
) -> None:
    reply = session.post(TOKENS, data={**LOGIN, **change}, timeout=5)
    assert (reply.status_code, reply.json()["error"]) == (status, error)


def test_the_record_describes_the_bytes(
    session: requests.Session, product: dict[str, Any], bearer: dict[str, str]
) -> None:
    url = f"https://zipper.dataspace.copernicus.eu/odata/v1/Products({product['Id']})/$value"
    reply = session.get(url, headers=bearer, timeout=10)
    assert reply.headers["Content-Type"] == "application/zip"
    assert reply.content.startswith(b"<?xml")
    assert len(reply.content) == product["ContentLength"]
    md5 = hashlib.md5(reply.content).hexdigest()  # noqa: S324 - as CDSE gives it
    assert product["Checksum"][0]["Value"] == md5
    assert product["Name"] in reply.headers["Content-Disposition"]
    part = session.get(url, headers={**bearer, "Range": "bytes=-10"}, timeout=10)
    assert (part.status_code, part.content) == (206, reply.content[-10:])


def test_the_catalogue_points_to_the_download_host_where_a_plain_client_loses_its_token(
    session: requests.Session, product: dict[str, Any], bearer: dict[str, str]
) -> None:
    reply = session.get(f"{PRODUCTS}({product['Id']})/$value", headers=bearer, timeout=5)
    assert [r.status_code for r in reply.history] == [301]
    assert reply.url.startswith("https://download.dataspace.copernicus.eu/")
    assert (reply.status_code, reply.json()["code"]) == (401, "DAT-ZIP-604")


def test_an_expired_token_says_so(box: Sandbox, session: requests.Session, product: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {box.token(lifetime=0, realm=CDSE)}"}
    url = f"https://download.dataspace.copernicus.eu/odata/v1/Products({product['Id']})/$value"
    reply = session.get(url, headers=headers, timeout=5)
    assert (reply.status_code, reply.json()["code"]) == (401, "DAT-ZIP-109")


@pytest.mark.parametrize(
    ("identifier", "status"), [("x", 422), ("00000000-0000-0000-0000-000000000000", 404)]
)
def test_products_that_do_not_exist(
    session: requests.Session, bearer: dict[str, str], identifier: str, status: int
) -> None:
    url = f"https://download.dataspace.copernicus.eu/odata/v1/Products({identifier})/$value"
    assert session.get(url, headers=bearer, timeout=5).status_code == status


def test_an_account_has_four_downloads_at_once(
    box: Sandbox,
    connect: Callable[[Sandbox], requests.Session],
    session: requests.Session,
    product: dict[str, Any],
    bearer: dict[str, str],
) -> None:
    hosts = ("zipper", "download")
    box.set_faults([{"match": {"path": "*$value"}, "stall": 0.7, "stall_at": 10}])
    codes: list[int] = []

    def fetch(number: int) -> None:
        host = f"https://{hosts[number % 2]}.dataspace.copernicus.eu"
        with connect(box) as own:
            reply = own.get(f"{host}/odata/v1/Products({product['Id']})/$value", headers=bearer, timeout=10)
            codes.append(reply.status_code)

    threads = [threading.Thread(target=fetch, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200] * 4 + [429] * 2
    box.set_faults([])
    fetch(0)
    assert codes[-1] == 200


def test_pages_follow_their_links(session: requests.Session) -> None:
    page = search(
        session, filter="contains(Name,'AUX_RESORB')", orderby="ContentDate/Start desc", top=40, count="true"
    )
    seen = [item["Name"] for item in page["value"]]
    assert page["@odata.count"] == 92
    while "@odata.nextLink" in page:
        page = session.get(page["@odata.nextLink"], timeout=10).json()
        seen += [item["Name"] for item in page["value"]]
    assert len(seen) == len(set(seen)) == 92


def test_defaults_and_selection(session: requests.Session) -> None:
    page = search(session)
    assert len(page["value"]) == 20
    assert page["@odata.context"] == "$metadata#Products"
    assert "Attributes" not in page["value"][0]
    assert set(search(session, select="Name,Id", top=1)["value"][0]) == {"Name", "Id"}
    expanded = search(session, expand="Attributes", top=1)
    assert expanded["@odata.context"] == "$metadata#Products(Attributes())"
    assert {item["Name"] for item in expanded["value"][0]["Attributes"]} >= {
        "productType",
        "beginningDateTime",
    }


def test_attributes_can_be_searched(session: requests.Session) -> None:
    text = (
        "Collection/Name eq 'SENTINEL-1' and Attributes/OData.CSC.StringAttribute/any("
        "att:att/Name eq 'productType' and att/OData.CSC.StringAttribute/Value eq 'AUX_POEORB') "
        "and Online eq true"
    )
    assert search(session, filter=text, count="true", top=1)["@odata.count"] == 45


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"$filter": "Nam eq 'x'"}, 400),
        ({"$orderby": "Size"}, 400),
        ({"$expand": "Everything"}, 400),
        ({"filter": "x"}, 400),
        ({"$top": "1001"}, 422),
        ({"$skip": "10001"}, 422),
    ],
)
def test_queries_that_are_refused(session: requests.Session, params: dict[str, str], status: int) -> None:
    assert session.get(PRODUCTS, params=params, timeout=5).status_code == status


def test_one_product_by_its_id(session: requests.Session, product: dict[str, Any]) -> None:
    assert session.get(f"{PRODUCTS}({product['Id']})", timeout=5).json()["Name"] == product["Name"]
    assert session.get(f"{PRODUCTS}(x)", timeout=5).status_code == 404
