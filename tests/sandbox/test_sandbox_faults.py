from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3

from skystage.errors import SkystageError
from skystage.sandbox import Sandbox
from skystage.sandbox.faults import Rules

SIZE_URL = "https://s1-orbits.s3.amazonaws.com/"


@pytest.fixture
def whole(session: requests.Session, orbit_url: str) -> bytes:
    return session.get(orbit_url, timeout=10).content


def received(session: requests.Session, url: str, **options: Any) -> tuple[int, bytes]:
    """What came before the connection broke, with the length announced."""
    got = b""
    with session.get(url, stream=True, timeout=10, **options) as reply:
        try:
            while piece := reply.raw.read1(1000):
                got += piece
        except urllib3.exceptions.HTTPError:
            pass
        return int(reply.headers.get("Content-Length", -1)), got


def test_a_status_with_headers_and_body(box: Sandbox, session: requests.Session, orbit_url: str) -> None:
    box.set_faults([{"status": 503, "headers": {"X-Why": "maintenance"}, "body": '{"down": true}'}])
    reply = session.get(orbit_url, timeout=5)
    assert (reply.status_code, reply.headers["X-Why"], reply.json()) == (503, "maintenance", {"down": True})


def test_a_rule_acts_on_what_it_matches_from_when_it_says_as_often_as_it_says(
    box: Sandbox, session: requests.Session, orbit_url: str
) -> None:
    box.set_faults(
        [{"match": {"host": "s1-orbits.*", "path": "/AUX_*", "after": 1, "times": 2}, "status": 500}]
    )
    assert [session.get(orbit_url, timeout=5).status_code for _ in range(4)] == [200, 500, 500, 200]
    assert session.get(SIZE_URL + "?prefix=AUX_POEORB", timeout=5).status_code == 200
    box.set_faults([{"match": {"method": "HEAD"}, "status": 500}])
    assert session.get(orbit_url, timeout=5).status_code == 200
    assert session.head(orbit_url, timeout=5).status_code == 500


def test_a_rule_can_mean_only_requests_with_a_range(
    box: Sandbox, session: requests.Session, orbit_url: str
) -> None:
    box.set_faults([{"match": {"range": True}, "status": 500}])
    assert session.get(orbit_url, timeout=5).status_code == 200
    assert session.get(orbit_url, headers={"Range": "bytes=0-1"}, timeout=5).status_code == 500


def test_a_cut_announces_everything_and_sends_less(
    box: Sandbox, session: requests.Session, orbit_url: str, whole: bytes
) -> None:
    box.set_faults([{"cut": 5000}])
    assert received(session, orbit_url) == (len(whole), whole[:5000])
    assert box.requests()[-1]["sent"] == 5000


def test_a_negative_cut_counts_from_the_end_of_each_body(
    box: Sandbox, session: requests.Session, orbit_url: str, whole: bytes
) -> None:
    box.set_faults([{"cut": -1}])
    assert received(session, orbit_url) == (len(whole), whole[:-1])
    assert received(session, orbit_url, headers={"Range": "bytes=10-14"}) == (5, whole[10:14])
    assert received(session, orbit_url, headers={"Range": "bytes=-1"}) == (1, b"")


def test_a_cut_before_the_headers(box: Sandbox, session: requests.Session, orbit_url: str) -> None:
    box.set_faults([{"match": {"times": 1}, "cut_before_headers": True}])
    with pytest.raises(requests.exceptions.ConnectionError):
        session.get(orbit_url, timeout=5)
    assert box.requests()[-1]["status"] == 0


def test_a_stall_in_the_body(box: Sandbox, session: requests.Session, orbit_url: str, whole: bytes) -> None:
    box.set_faults([{"stall": 0.4, "stall_at": 3000}])
    started = time.perf_counter()
    assert session.get(orbit_url, timeout=5).content == whole
    assert 0.4 <= time.perf_counter() - started < 3


def test_a_client_that_gives_up_on_a_stall_is_seen_to_be_gone(
    box: Sandbox, session: requests.Session, orbit_url: str
) -> None:
    box.set_faults([{"stall": 60}])
    with pytest.raises(requests.exceptions.RequestException):
        session.get(orbit_url, timeout=0.3)
    session.close()
    until = time.monotonic() + 5
    while not box.requests() and time.monotonic() < until:
        time.sleep(0.01)
    assert box.requests()[-1]["seconds"] < 5


def test_a_drip_sends_byte_by_byte(
    box: Sandbox, session: requests.Session, orbit_url: str, whole: bytes
) -> None:
    box.set_faults([{"drip": 100}])
    started = time.perf_counter()
    assert session.get(orbit_url, headers={"Range": "bytes=0-29"}, timeout=5).content == whole[:30]
    assert 0.25 <= time.perf_counter() - started < 3


def test_bandwidth_is_kept_to(box: Sandbox, session: requests.Session, orbit_url: str, whole: bytes) -> None:
    box.set_faults([{"bandwidth": 1_000_000}])
    started = time.perf_counter()
    assert session.get(orbit_url, headers={"Range": "bytes=0-499999"}, timeout=5).content == whole[:500_000]
    assert 0.45 <= time.perf_counter() - started < 3


def test_latency_comes_before_the_headers(box: Sandbox, session: requests.Session, orbit_url: str) -> None:
    box.set_faults([{"latency": 0.3}])
    assert session.head(orbit_url, timeout=5).elapsed.total_seconds() >= 0.3


def test_one_byte_is_corrupt_in_whichever_range_it_is(
    box: Sandbox, session: requests.Session, orbit_url: str, whole: bytes
) -> None:
    box.set_faults([{"corrupt": 100_000}])
    spoiled = session.get(orbit_url, timeout=5).content
    assert [at for at in range(len(whole)) if whole[at] != spoiled[at]] == [100_000]
    part = session.get(orbit_url, headers={"Range": "bytes=99999-100001"}, timeout=5).content
    assert part == spoiled[99_999:100_002] != whole[99_999:100_002]
    box.set_faults([{"corrupt": -1}])
    assert session.get(orbit_url, timeout=5).content[:-1] == whole[:-1]


def test_a_length_that_is_a_lie(
    box: Sandbox, session: requests.Session, orbit_url: str, whole: bytes
) -> None:
    box.set_faults([{"lie": 10}])
    assert received(session, orbit_url) == (len(whole) + 10, whole)
    box.set_faults([{"lie": -10}])
    assert received(session, orbit_url) == (len(whole) - 10, whole[:-10])


def test_ranges_ignored(box: Sandbox, session: requests.Session, orbit_url: str, whole: bytes) -> None:
    box.set_faults([{"ignore_range": True}])
    reply = session.get(orbit_url, headers={"Range": "bytes=10-19"}, timeout=5)
    assert (reply.status_code, reply.content) == (200, whole)
    assert box.requests()[-1]["range"] == "bytes=10-19"


@pytest.mark.parametrize(("asked", "got"), [("bytes=10-19", "bytes 0-9"), ("bytes=0-9", "bytes 1-10")])
def test_another_range_than_the_one_asked_for(
    box: Sandbox, session: requests.Session, orbit_url: str, asked: str, got: str
) -> None:
    box.set_faults([{"wrong_range": True}])
    reply = session.get(orbit_url, headers={"Range": asked}, timeout=5)
    assert reply.status_code == 206
    assert reply.headers["Content-Range"].startswith(got + "/")
    assert len(reply.content) == 10


def test_a_validator_that_changes_from_the_second_request_on(
    box: Sandbox, session: requests.Session, orbit_url: str, whole: bytes
) -> None:
    box.set_faults([{"match": {"after": 1}, "validator": "change"}])
    first = session.get(orbit_url, timeout=5).headers["ETag"]
    later = [
        session.get(orbit_url, headers={"Range": "bytes=5-", "If-Range": first}, timeout=5) for _ in range(2)
    ]
    assert [reply.status_code for reply in later] == [200, 200]
    assert later[0].headers["ETag"] == later[1].headers["ETag"] != first
    assert later[0].content == whole


def test_a_file_that_becomes_another(
    box: Sandbox, session: requests.Session, orbit_url: str, whole: bytes
) -> None:
    tag = session.head(orbit_url, timeout=5).headers["ETag"]
    box.set_faults([{"content": "other"}])
    reply = session.get(orbit_url, timeout=5)
    assert len(reply.content) == len(whole)
    assert reply.content != whole
    assert reply.headers["ETag"] != tag


def test_pages_where_data_was_promised(box: Sandbox, session: requests.Session, orbit_url: str) -> None:
    box.set_faults([{"login_page": True}])
    reply = session.get(orbit_url, timeout=5)
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    box.set_faults([{"gateway_page": True}])
    with session.get(orbit_url, stream=True, timeout=5) as reply:
        assert (reply.status_code, reply.headers["Content-Encoding"]) == (502, "gzip")
        assert b"502 Bad Gateway" in gzip.decompress(reply.raw.read(decode_content=False))


def test_retry_after_alone_is_429(box: Sandbox, session: requests.Session, orbit_url: str) -> None:
    box.set_faults([{"retry_after": 7}])
    reply = session.get(orbit_url, timeout=5)
    assert (reply.status_code, reply.headers["Retry-After"]) == (429, "7")
    box.set_faults([{"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT", "status": 503}])
    reply = session.get(orbit_url, timeout=5)
    assert (reply.status_code, reply.headers["Retry-After"][:3]) == (503, "Wed")


def test_all_tokens_die_at_once(box: Sandbox, session: requests.Session) -> None:
    url = "https://cmr.earthdata.nasa.gov/search/granules.umm_json"
    headers = {"Authorization": f"Bearer {box.token()}"}
    box.set_faults([{"match": {"after": 1, "times": 1}, "expire_tokens": True}])
    assert [session.get(url, headers=headers, timeout=5).status_code for _ in range(3)] == [200, 401, 401]
    headers = {"Authorization": f"Bearer {box.token()}"}
    assert session.get(url, headers=headers, timeout=5).status_code == 200


@pytest.mark.parametrize("how", ["chunked", "close"])
def test_bodies_without_a_length(
    box: Sandbox, session: requests.Session, orbit_url: str, whole: bytes, how: str
) -> None:
    box.set_faults([{"no_length": how}])
    reply = session.get(orbit_url, timeout=5)
    assert "Content-Length" not in reply.headers
    assert reply.content == whole
    box.set_faults([{"no_length": how, "cut": 1000}])
    assert received(session, orbit_url) == (-1, whole[:1000])


def test_more_than_so_many_at_once_are_refused(
    box: Sandbox, connect: Callable[[Sandbox], requests.Session], orbit_url: str
) -> None:
    box.set_faults([{"max_connections": 2}, {"stall": 0.5}])
    codes: list[int] = []

    def fetch() -> None:
        with connect(box) as session:
            codes.append(session.get(orbit_url, timeout=10).status_code)

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Who comes at the same moment counts as there already: but for the first, each may be refused.
    assert 1 <= codes.count(429) <= 3
    assert max(entry["busy"] for entry in box.requests()) > 2


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ({"sttus": 500}, "no effect 'sttus'"),
        ({"match": {"hst": "x"}, "status": 500}, "no match key 'hst'"),
        ({"match": {"host": "x"}}, "has no effect"),
        ({"status": "500"}, "status cannot be '500'"),
        ({"status": True}, "status cannot be True"),
        ({"login_page": 1}, "login_page cannot be 1"),
        ({"no_length": "sometimes"}, "no_length is chunked or close"),
        ("status: 500", "no mapping"),
    ],
)
def test_a_rule_that_says_nothing_known_is_refused(rule: Any, complaint: str) -> None:
    with pytest.raises(SkystageError, match=complaint):
        Rules([rule])


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_rules_are_read_from_a_file(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"faults.{form}"
    rules = [{"match": {"host": "*"}, "status": 418}]
    path.write_text(json.dumps(rules) if form == "json" else "- match: {host: '*'}\n  status: 418\n")
    assert Rules(path).effects("h", "/", "GET", ranged=False).status == 418


def test_a_file_that_is_no_list_of_rules_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text("status: 500")
    with pytest.raises(SkystageError, match="no list of fault rules"):
        Sandbox(faults=path)
    with pytest.raises(SkystageError, match="cannot read"):
        Sandbox(faults=tmp_path / "missing.yaml")
