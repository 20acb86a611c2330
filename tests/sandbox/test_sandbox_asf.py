from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from skystage.sandbox import Sandbox
from skystage.sandbox.accounts import NEWCOMER, PASSWORD, USER

if TYPE_CHECKING:
    import requests

AUTHORIZE = (
    "https://urs.earthdata.nasa.gov/oauth/authorize?client_id=BO_n7nTIlMljdvU6kRRB3g&response_type=code"
    "&redirect_uri=https://sentinel1.asf.alaska.edu/login"
)
TOKENS = "https://urs.earthdata.nasa.gov/api/users/find_or_create_token"


@pytest.fixture
def url(scene: str) -> str:
    return f"https://sentinel1.asf.alaska.edu/SLC/SA/{scene}.zip"


@pytest.fixture
def signed(box: Sandbox, session: requests.Session, url: str) -> str:
    headers = {"Authorization": f"Bearer {box.token()}"}
    return session.get(url, headers=headers, allow_redirects=False, timeout=5).headers["Location"]


def hop(session: requests.Session, url: str, **headers: str) -> requests.Response:
    return session.get(url, headers=headers, allow_redirects=False, timeout=5)


def test_the_data_pool_only_points_on(session: requests.Session, url: str) -> None:
    reply = hop(session, url.replace("sentinel1", "datapool"))
    assert (reply.status_code, reply.headers["Location"]) == (307, url)


def test_without_credentials_the_chain_ends_at_the_log_in(session: requests.Session, url: str) -> None:
    reply = session.get(url, timeout=5)
    assert (reply.status_code, reply.text) == (401, "HTTP Basic: Access denied.\n")
    assert reply.headers["WWW-Authenticate"].startswith("Basic ")
    assert [r.status_code for r in reply.history] == [302]


def test_a_browser_gets_a_page_instead(session: requests.Session) -> None:
    reply = hop(session, AUTHORIZE)
    assert reply.status_code == 200
    assert "<form" in reply.text


def test_the_code_flow_ends_with_the_file(session: requests.Session, url: str) -> None:
    to_login = hop(session, url).headers["Location"]
    assert "state=%2FSLC%2FSA%2F" in to_login
    reply = session.get(to_login, auth=(USER, PASSWORD), timeout=5)
    assert [r.status_code for r in reply.history] == [302, 301, 303]
    assert reply.status_code == 200
    assert reply.content[:4] == b"PK\x03\x04"
    assert "asf-urs" in session.cookies.get_dict(domain=".asf.alaska.edu")


def test_a_code_works_once(session: requests.Session) -> None:
    location = session.get(AUTHORIZE, auth=(USER, PASSWORD), allow_redirects=False, timeout=5).headers[
        "Location"
    ]
    assert hop(session, location).status_code == 301
    session.cookies.clear()
    assert hop(session, location).status_code == 400


def test_a_token_gives_a_signed_url_and_the_range_is_echoed(
    box: Sandbox, session: requests.Session, url: str
) -> None:
    reply = hop(session, url, Authorization=f"Bearer {box.token()}", Range="bytes=0-9")
    assert reply.status_code == 303
    assert reply.headers["Range"] == "bytes=0-9"
    assert reply.headers["Cache-Control"].startswith("private, max-age=")
    assert urlsplit(reply.headers["Location"]).hostname == "dy4owt9f80bz7.cloudfront.net"


def test_a_token_does_not_survive_the_redirect_of_a_plain_client(
    box: Sandbox, session: requests.Session, url: str
) -> None:
    headers = {"Authorization": f"Bearer {box.token()}"}
    assert session.get(url.replace("sentinel1", "datapool"), headers=headers, timeout=5).status_code == 401


@pytest.mark.parametrize(("header", "status"), [("Bearer", 400), ("Token abc", 400), ("Bearer abc", 401)])
def test_bad_authorization(session: requests.Session, url: str, header: str, status: int) -> None:
    reply = hop(session, url, Authorization=header)
    assert reply.status_code == status
    assert reply.headers["Content-Type"] == "application/json"


def test_an_expired_token_says_so(box: Sandbox, session: requests.Session, url: str) -> None:
    reply = hop(session, url, Authorization=f"Bearer {box.token(lifetime=0)}")
    assert (reply.status_code, reply.json()["error"]) == (401, "expired_token")


def test_terms_that_are_not_accepted(box: Sandbox, session: requests.Session, url: str) -> None:
    token = session.post(TOKENS, auth=(NEWCOMER, PASSWORD), timeout=5).json()["access_token"]
    reply = hop(session, url, Authorization=f"Bearer {token}")
    assert reply.status_code == 403
    assert reply.json()["error_description"] == "EULA Acceptance Failure"
    assert "approve_app" in reply.json()["resolution_url"]


def test_a_file_that_is_not_there(box: Sandbox, session: requests.Session, url: str) -> None:
    reply = hop(session, url + "x", Authorization=f"Bearer {box.token()}")
    assert reply.status_code == 404
    assert "<html>" in reply.text


def test_the_cdn_serves_ranges(session: requests.Session, signed: str) -> None:
    whole = hop(session, signed)
    part = hop(session, signed, Range="bytes=1000-", **{"If-Range": whole.headers["ETag"]})
    assert part.status_code == 206
    assert part.content == whole.content[1000:]
    assert hop(session, signed, Range=f"bytes={len(whole.content)}-").status_code == 416
    head = session.head(signed, timeout=5)
    assert int(head.headers["Content-Length"]) == len(whole.content)


def test_the_cdn_knows_only_signatures(box: Sandbox, session: requests.Session, signed: str) -> None:
    assert hop(session, signed.partition("?")[0]).status_code == 403
    assert hop(session, signed.replace("Expires=3600", "Expires=9999")).status_code == 403
    assert hop(session, signed, Authorization=f"Bearer {box.token()}").status_code == 400


def test_wrong_passwords(session: requests.Session) -> None:
    reply = session.post(TOKENS, auth=(USER, "wrong"), timeout=5)
    assert (reply.status_code, reply.json()["error"]) == (401, "invalid_credentials")
    assert session.post(TOKENS, timeout=5).status_code == 401


def test_a_token_can_be_checked(box: Sandbox, session: requests.Session) -> None:
    url = "https://urs.earthdata.nasa.gov/oauth/tokens/user?client_id=x"
    assert session.post(url, data={"token": box.token()}, timeout=5).json() == {"uid": USER}
    assert session.post(url, data={"token": "x"}, timeout=5).status_code == 401


def test_credentials_for_direct_access(box: Sandbox, session: requests.Session) -> None:
    reply = hop(
        session, "https://sentinel1.asf.alaska.edu/s3credentials", Authorization=f"Bearer {box.token()}"
    )
    assert set(reply.json()) == {"accessKeyId", "secretAccessKey", "sessionToken", "expiration"}


def test_a_shorter_life_for_a_token(box: Sandbox, session: requests.Session, url: str) -> None:
    box.set_faults([{"match": {"path": "*find_or_create_token"}, "token_lifetime": 0.001}])
    token = session.post(TOKENS, auth=(USER, PASSWORD), timeout=5).json()["access_token"]
    assert hop(session, url, Authorization=f"Bearer {token}").status_code == 401


def test_a_burst_is_extracted_first_and_only_for_the_cookie(
    recordings: Path, connect: Callable[[Sandbox], requests.Session]
) -> None:
    with Sandbox(catalogue=recordings) as box, connect(box) as session:
        path = next(path for path in box._world.catalogue.bursts if path.endswith(".tiff"))
        url = f"https://sentinel1-burst.asf.alaska.edu{path}"
        assert hop(session, url, Authorization=f"Bearer {box.token()}").status_code == 302
        session.get(AUTHORIZE.replace("sentinel1", "cumulus"), auth=(USER, PASSWORD), timeout=5)
        assert hop(session, url).status_code == 202
        reply = hop(session, url)
        assert (reply.status_code, reply.content[:4]) == (200, b"II*\0")
        assert reply.headers["Content-Disposition"].startswith("attachment; filename=")
        assert hop(session, url + "x").status_code == 404
