from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

if TYPE_CHECKING:
    import requests

NS = "{http://s3.amazonaws.com/doc/2006-03-01/}"
BUCKET = "https://s1-orbits.s3.amazonaws.com"
HOSTS = (
    BUCKET,
    "https://s1-orbits.s3.us-west-2.amazonaws.com",
    "https://s1-orbits.s3-us-west-2.amazonaws.com",
    "https://s1-orbits.s3.dualstack.us-west-2.amazonaws.com",
    "https://s3.us-west-2.amazonaws.com/s1-orbits",
    "https://s3-us-west-2.amazonaws.com/s1-orbits",
)


def listing(session: requests.Session, base: str = BUCKET, **params: Any) -> ET.Element:
    reply = session.get(
        base + "/", params={key.replace("_", "-"): value for key, value in params.items()}, timeout=10
    )
    assert reply.status_code == 200
    return ET.fromstring(reply.content)  # noqa: S314 - the sandbox's own


def keys(root: ET.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{NS}Key")]


def text(root: ET.Element, name: str) -> str | None:
    return root.findtext(NS + name)


@pytest.mark.parametrize("base", HOSTS)
def test_every_name_of_the_bucket_lists_and_serves_the_same(session: requests.Session, base: str) -> None:
    found = keys(listing(session, base, prefix="AUX_POEORB"))
    assert len(found) == 45
    assert session.head(f"{base}/{found[0]}", timeout=5).status_code == 200


def test_a_bucket_in_the_path_is_at_its_region_only(session: requests.Session) -> None:
    reply = session.get("https://s3.amazonaws.com/s1-orbits/AUX_POEORB/x.EOF", timeout=5)
    assert (reply.status_code, reply.headers["x-amz-bucket-region"]) == (301, "us-west-2")
    assert "PermanentRedirect" in reply.text
    assert "location" not in reply.headers


def test_pages_by_marker_have_no_next_marker(session: requests.Session) -> None:
    whole = keys(listing(session, prefix="AUX_RESORB"))
    seen: list[str] = []
    marker = ""
    while True:
        page = listing(session, prefix="AUX_RESORB", marker=marker, max_keys=40)
        seen += keys(page)
        assert text(page, "NextMarker") is None
        if text(page, "IsTruncated") == "false":
            break
        marker = seen[-1]
    assert seen == whole
    assert len(whole) == 92


def test_pages_by_continuation_token(session: requests.Session) -> None:
    seen: list[str] = []
    more: dict[str, str] = {}
    while True:
        page = listing(session, list_type=2, max_keys=50, **more)
        assert text(page, "KeyCount") == str(len(keys(page)))
        assert page.find(f".//{NS}Owner") is None
        seen += keys(page)
        token = text(page, "NextContinuationToken")
        if token is None:
            break
        more = {"continuation_token": token}
    assert len(seen) == len(set(seen)) == 137
    assert keys(listing(session, list_type=2, start_after=seen[-2])) == [seen[-1]]


def test_a_delimiter_groups_keys(session: requests.Session) -> None:
    page = listing(session, delimiter="/")
    assert [element.text for element in page.iter(f"{NS}Prefix")][1:] == ["AUX_POEORB/", "AUX_RESORB/"]
    first = listing(session, delimiter="/", max_keys=1)
    assert text(first, "NextMarker") == "AUX_POEORB/"
    second = listing(session, delimiter="/", max_keys=1, marker="AUX_POEORB/")
    assert [element.text for element in second.iter(f"{NS}Prefix")][1:] == ["AUX_RESORB/"]


def test_sizes_and_etags_are_those_of_the_bytes(session: requests.Session) -> None:
    entry = listing(session, max_keys=1).find(f"{NS}Contents")
    assert entry is not None
    body = session.get(f"{BUCKET}/{entry.findtext(NS + 'Key')}", timeout=10).content
    assert entry.findtext(f"{NS}Size") == str(len(body))
    assert entry.findtext(f"{NS}ETag") == f'"{hashlib.md5(body).hexdigest()}"'  # noqa: S324 - as S3 does


def test_what_is_not_there(session: requests.Session) -> None:
    reply = session.get(f"{BUCKET}/AUX_POEORB/none.EOF", timeout=5)
    assert reply.status_code == 404
    assert "<Code>NoSuchKey</Code>" in reply.text
    assert "NoSuchBucket" in session.get("https://s3.amazonaws.com/other/key", timeout=5).text
    assert session.put(f"{BUCKET}/x", data=b"x", timeout=5).status_code == 403
    assert session.get(f"{BUCKET}/?max-keys=x", timeout=5).status_code == 400
