from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from skystage.sandbox.files import Changed, Content, Made, Noise, Segments
from skystage.sandbox.messages import Reply, Request, Slice
from skystage.sandbox.ranges import serve

DATA = bytes(range(100))
MODIFIED = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
CONTENT = Made("x.bin", "application/octet-stream", MODIFIED, lambda: DATA)
TAG = f'"{CONTENT.md5}"'


def ask(method: str = "GET", **headers: str) -> Reply:
    return serve(
        Request(method, "h", "/x.bin", {key.replace("_", "-"): v for key, v in headers.items()}), CONTENT
    )


def body(reply: Reply) -> bytes:
    return (
        reply.body.content.read(reply.body.start, reply.body.stop)
        if isinstance(reply.body, Slice)
        else reply.body
    )


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=10-", 10, 100),
        ("bytes=-5", 95, 100),
        ("bytes=-500", 0, 100),
        ("bytes=90-500", 90, 100),
        ("bytes=99-99", 99, 100),
    ],
)
def test_one_range_is_served(asked: str, start: int, stop: int) -> None:
    reply = ask(range=asked)
    assert reply.status == 206
    assert reply.header("Content-Range") == f"bytes {start}-{stop - 1}/100"
    assert body(reply) == DATA[start:stop]


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=200-300", "bytes=-0", "bytes=5-4"])
def test_a_range_outside_the_file_is_416(asked: str) -> None:
    reply = ask(range=asked)
    assert (reply.status, reply.header("Content-Range")) == (416, "bytes */100")


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "items=0-1", "bytes=-", "bytes=a-b"])
def test_what_is_no_single_range_gives_everything(asked: str) -> None:
    assert (ask(range=asked).status, ask(range=asked).length) == (200, 100)


def test_head_ignores_ranges() -> None:
    reply = ask("HEAD", range="bytes=0-9")
    assert (reply.status, reply.length, reply.header("Accept-Ranges")) == (200, 100, "bytes")


def test_if_range_decides_between_a_part_and_everything() -> None:
    date = format_datetime(MODIFIED, usegmt=True)
    assert ask(range="bytes=5-", if_range=TAG).status == 206
    assert ask(range="bytes=5-", if_range='"another"').status == 200
    assert ask(range="bytes=5-", if_range=f"W/{TAG}").status == 200
    assert ask(range="bytes=5-", if_range=date).status == 206
    assert ask(range="bytes=5-", if_range=date.replace("2020", "2019")).status == 200


def test_conditions_on_the_whole_file() -> None:
    assert ask(if_match='"another"').status == 412
    assert ask(if_match=TAG).status == 200
    assert ask(if_none_match=TAG).status == 304
    assert ask(if_none_match='"another"').status == 200


def test_segments_read_the_same_in_parts_as_whole() -> None:
    content = Segments(
        "x", "text/plain", MODIFIED, 300_020, lambda: [b"0123456789", Noise(7, 300_000), b"abcdefghij"]
    )
    whole = content.read(0, content.size)
    assert len(whole) == content.size
    assert b"".join(content.pieces(0, content.size, 777)) == whole
    assert content.read(5, 20) == whole[5:20]


def test_another_edition_differs_only_in_its_second_half() -> None:
    other: Content = Changed(CONTENT)
    assert other.read(0, 50) == DATA[:50]
    assert other.read(50, 100) != DATA[50:]
    assert other.read(40, 60) == other.read(0, 100)[40:60]
