"""Sentinel-2 products on the download hosts: whole, file by file, and their quicklooks."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from skystage.sandbox import Sandbox
from skystage.sandbox.accounts import CDSE

if TYPE_CHECKING:
    import requests

CATALOGUE = "https://catalogue.dataspace.copernicus.eu/odata/v1"
HOSTS = ("download", "zipper")
NAME = "S2A_MSIL2A_20180620T105031_N0500_R051_T31UFS_20230819T033500.SAFE"


@pytest.fixture
def bearer(box: Sandbox) -> dict[str, str]:
    return {"Authorization": f"Bearer {box.token(realm=CDSE)}"}


def find(session: requests.Session, name: str) -> dict[str, Any]:
    asked = {"$filter": f"Name eq '{name}'", "$expand": "Assets"}
    reply = session.get(f"{CATALOGUE}/Products", params=asked, timeout=30)
    assert reply.status_code == 200, reply.text
    (found,) = reply.json()["value"]
    return dict(found)


@pytest.fixture
def product(session: requests.Session) -> dict[str, Any]:
    return find(session, NAME)


def at(product: dict[str, Any], *names: str, host: str = "download") -> str:
    nodes = "".join(f"/Nodes({name})" for name in names)
    return f"https://{host}.dataspace.copernicus.eu/odata/v1/Products({product['Id']}){nodes}"


def walk(session: requests.Session, address: str, *above: str) -> dict[tuple[str, ...], int]:
    """The files below an address with their sizes, as the listings say."""
    found: dict[tuple[str, ...], int] = {}
    for node in session.get(address, timeout=30).json()["result"]:
        assert node["Id"] == node["Name"]
        if node["ChildrenNumber"]:
            found |= walk(session, node["Nodes"]["uri"], *above, node["Name"])
        else:
            found[*above, node["Name"]] = node["ContentLength"]
    return found


def test_the_whole_is_what_the_record_says_and_can_be_had_in_parts(
    session: requests.Session, product: dict[str, Any], bearer: dict[str, str]
) -> None:
    url = f"{at(product)}/$value"
    whole = session.get(url, headers=bearer, timeout=30)
    assert whole.status_code == 200
    assert (whole.headers["Content-Type"], whole.headers["Accept-Ranges"]) == ("application/zip", "bytes")
    assert len(whole.content) == product["ContentLength"]
    assert hashlib.md5(whole.content).hexdigest() == product["Checksum"][0]["Value"]  # noqa: S324 - as CDSE gives it
    tail = session.get(url, headers={**bearer, "Range": "bytes=-65536"}, timeout=10)
    assert (tail.status_code, tail.content) == (206, whole.content[-65536:])


def test_a_fault_takes_the_ranges_away(
    box: Sandbox, session: requests.Session, product: dict[str, Any], bearer: dict[str, str]
) -> None:
    box.set_faults([{"match": {"path": "*$value"}, "ignore_range": True}])
    reply = session.get(f"{at(product)}/$value", headers={**bearer, "Range": "bytes=0-9"}, timeout=10)
    assert (reply.status_code, len(reply.content)) == (200, product["ContentLength"])


def test_the_tree_is_open_and_its_files_want_a_token(
    session: requests.Session, product: dict[str, Any], bearer: dict[str, str]
) -> None:
    found = walk(session, f"{at(product)}/Nodes")
    assert len(found) == 88
    assert {names[0] for names in found} == {NAME}
    names = next(names for names in found if names[-1].endswith("_SCL_20m.jp2"))
    for host in HOSTS:
        url = f"{at(product, *names, host=host)}/$value"
        refused = session.get(url, timeout=5)
        assert (refused.status_code, refused.json()["code"]) == (401, "DAT-ZIP-604")
        reply = session.get(url, headers=bearer, timeout=5)
        assert (reply.status_code, len(reply.content)) == (200, found[names])
        assert reply.headers["Content-Disposition"] == f"attachment; filename={names[-1]}"
        part = session.get(url, headers={**bearer, "Range": "bytes=5-8"}, timeout=5)
        assert (part.status_code, part.content) == (206, reply.content[5:9])


def test_a_file_is_what_the_manifest_says(
    session: requests.Session, product: dict[str, Any], bearer: dict[str, str]
) -> None:
    manifest = session.get(f"{at(product, NAME, 'manifest.safe')}/$value", headers=bearer, timeout=10).text
    (path,) = re.findall(r'href="\./([^"]*_SCL_20m\.jp2)"', manifest)
    names = [NAME, *path.split("/")]
    body = session.get(f"{at(product, *names)}/$value", headers=bearer, timeout=10).content
    assert f'<checksum checksumName="SHA3-256">{hashlib.sha3_256(body).hexdigest()}<' in manifest


@pytest.mark.parametrize(
    ("nodes", "status", "code"),
    [
        (f"/Nodes({NAME})/Nodes(nothing.xml)/$value", 404, None),
        (f"/Nodes({NAME})/Nodes(GRANULE)/$value", 404, None),
        ("/Nodes(other.SAFE)/$value", 404, None),
        ("/Nodes(other.SAFE)/Nodes", 404, None),
        (f"/Nodes('{NAME}')/Nodes('manifest.safe')/$value", 400, "DAT-ZIP-104"),
        (f"/Nodes('{NAME}')/Nodes", 400, "DAT-ZIP-104"),
        (f"/Nodes({NAME})", 400, "DAT-ZIP-104"),
        ("/value", 400, "DAT-ZIP-104"),
    ],
)
def test_what_is_no_file(
    session: requests.Session,
    product: dict[str, Any],
    bearer: dict[str, str],
    nodes: str,
    status: int,
    code: str | None,
) -> None:
    reply = session.get(f"{at(product)}{nodes}", headers=bearer, timeout=5)
    assert reply.status_code == status
    assert reply.json().get("code") == code


def test_the_catalogue_points_to_the_download_host(
    session: requests.Session, product: dict[str, Any]
) -> None:
    url = f"{CATALOGUE}/Products({product['Id']})"
    for end in ("/$value", "/Nodes", f"/Nodes({NAME})/Nodes(manifest.safe)/$value"):
        reply = session.get(f"{url}{end}", timeout=5, allow_redirects=False)
        assert reply.status_code == 301
        assert reply.headers["Location"] == f"{at(product)}{end}"
    missing = f"{CATALOGUE}/Products(00000000-0000-0000-0000-000000000000)/Nodes"
    assert session.get(missing, timeout=5).status_code == 404
    nowhere = at({"Id": "00000000-0000-0000-0000-000000000000"})
    assert session.get(f"{nowhere}/Nodes", timeout=5).status_code == 404


def test_a_quicklook_is_for_anybody(session: requests.Session, product: dict[str, Any]) -> None:
    (asset,) = product["Assets"]
    reply = session.get(asset["DownloadLink"], timeout=10)
    assert [r.status_code for r in reply.history] == [301]
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "image/jpeg")
    assert reply.content.startswith(b"\xff\xd8\xff")
    other = asset["DownloadLink"].replace(asset["Id"], product["Id"])
    assert session.get(other, timeout=5).status_code == 404


def test_what_is_offline_cannot_be_had(session: requests.Session, bearer: dict[str, str]) -> None:
    found = find(session, "S2A_MSIL2A_20180531T105031_N0500_R051_T31UFS_20230813T034909.SAFE")
    assert found["Online"] is False
    assert session.get(f"{at(found)}/$value", headers=bearer, timeout=5).status_code == 404


def test_a_product_of_one_file_is_one_node(session: requests.Session, bearer: dict[str, str]) -> None:
    asked = {"$filter": "contains(Name,'AUX_POEORB')", "$top": "1"}
    (orbit,) = session.get(f"{CATALOGUE}/Products", params=asked, timeout=10).json()["value"]
    ((names, size),) = walk(session, f"{at(orbit)}/Nodes").items()
    body = session.get(f"{at(orbit, *names)}/$value", headers=bearer, timeout=5).content
    assert len(body) == size == orbit["ContentLength"]


def test_files_and_products_share_four_connections(
    box: Sandbox,
    connect: Callable[[Sandbox], requests.Session],
    product: dict[str, Any],
    bearer: dict[str, str],
) -> None:
    box.set_faults([{"match": {"path": "*$value"}, "stall": 0.7, "stall_at": 10}])
    replies: list[tuple[int, str | None]] = []

    def fetch(number: int) -> None:
        names = (NAME, "manifest.safe") if number % 3 else ()
        with connect(box) as own:
            url = f"{at(product, *names, host=HOSTS[number % 2])}/$value"
            reply = own.get(url, headers=bearer, timeout=10)
            replies.append((reply.status_code, reply.json()["code"] if reply.status_code == 429 else None))

    threads = [threading.Thread(target=fetch, args=(number,)) for number in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(replies, key=lambda reply: reply[0]) == [(200, None)] * 4 + [(429, "DAT-ZIP-100")] * 3
