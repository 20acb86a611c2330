"""Members of remote zips: directories of all kinds read from afar, and one range for each member."""

from __future__ import annotations

import hashlib
import io
import os
import random
import struct
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skystage import errors
from skystage.batch import fetch_all
from skystage.fetch import fetch_asset
from skystage.members import BLOCK, TAIL, parse, unpacked
from skystage.model import Asset
from skystage.store import Store
from skystage.transport import Access

BYTES = "dy4owt9f80bz7.cloudfront.net"
NOISE = random.Random(4).randbytes(300_000)  # noqa: S311


def packed(files: dict[str, bytes], *, method: int = zipfile.ZIP_STORED, zip64: bool = False) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, content in files.items():
            with file.open(name, "w", force_zip64=zip64) as member:
                member.write(content)
    return out.getvalue()


def directory(content: bytes) -> dict:
    reads = []

    def read(start: int, stop: int) -> bytes:
        reads.append((start, stop))
        return content[start:stop]

    found = parse(content[-TAIL:], len(content), read)
    assert len(reads) <= 2
    return found


def member_of(content: bytes, name: str, tmp_path: Path) -> bytes:
    found = directory(content)[name]
    raw = tmp_path / "raw"
    raw.write_bytes(content[found.start : found.stop])
    return b"".join(unpacked(raw, found))


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_what_was_packed(method, zip64, tmp_path):
    files = {"a/b.txt": b"text" * 1000, "noise.bin": NOISE, "empty": b"", "zeros": bytes(5 * BLOCK)}
    content = packed(files, method=method, zip64=zip64)
    for name, expected in files.items():
        assert member_of(content, name, tmp_path) == expected


def test_names_are_read_in_both_encodings():
    assert "mär.txt" in directory(packed({"mär.txt": b"x"}))
    old = packed({"m_r.txt": b"x"}).replace(b"m_r.txt", b"m\x84r.txt")
    assert "mär.txt" in directory(old)


def test_a_directory_longer_than_the_tail_takes_one_more_read(tmp_path):
    files = {f"{'long/' * 20}{n:04}.txt": str(n).encode() for n in range(1500)}
    content = packed(files)
    assert member_of(content, f"{'long/' * 20}0077.txt", tmp_path) == b"77"


def test_a_comment_behind_the_directory_is_no_hindrance(tmp_path):
    out = io.BytesIO(packed({"a": b"x"}))
    with zipfile.ZipFile(out, "a") as file:
        file.comment = b"c" * 30_000
    assert member_of(out.getvalue(), "a", tmp_path) == b"x"


def test_a_directory_of_zip64_is_found_through_its_locator(tmp_path):
    content = packed({"a": b"x" * 50})
    end = content.rfind(b"PK\x05\x06")
    size, start = struct.unpack_from("<2I", content, end + 12)
    record = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, size, start)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    last = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    assert member_of(content[:end] + record + locator + last, "a", tmp_path) == b"x" * 50
    with pytest.raises(errors.StructureError, match="zip64"):
        directory(content[:end] + last)
    with pytest.raises(errors.StructureError, match="not where it says"):
        directory(content[:end] + bytes(len(record)) + locator + last)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda c: c[:-30], "missing"),
        (lambda c: b"no zip", "missing"),
        (lambda c: c.replace(b"PK\x01\x02", b"PK\x01\x03"), "not where it says"),
        (lambda c: c[:-22] + struct.pack("<4s4H2IH", b"PK\x05\x06", 1, 1, 1, 1, 47, 0, 0), "volumes"),
        (lambda c: c[:-22] + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, 9**9, 5, 0), "beyond"),
        (
            lambda c: c[:-22] + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, 20, len(c) - 69, 0),
            "cut|not where",
        ),
    ],
)
def test_what_is_no_whole_zip_is_an_error(spoil, said):
    with pytest.raises(errors.StructureError, match=said):
        directory(spoil(packed({"a": b"x"})))


def test_members_that_overlap_are_refused():
    content = bytearray(packed({"a": b"x" * 100, "b": b"y"}))
    second = content.rfind(b"PK\x01\x02")
    content[second + 42 : second + 46] = struct.pack("<I", 10)
    with pytest.raises(errors.StructureError, match="overlaps"):
        directory(bytes(content))


def test_a_damaged_member_is_found_out_by_its_crc(tmp_path):
    content = packed({"a": NOISE})
    with pytest.raises(errors.ChecksumMismatch, match="crc32"):
        member_of(content[:5000] + b"!" + content[5001:], "a", tmp_path)


def test_a_member_that_cannot_be_inflated_is_an_error(tmp_path):
    content = packed({"a": b"text" * 9000}, method=zipfile.ZIP_DEFLATED)
    with pytest.raises((errors.StructureError, errors.ChecksumMismatch)):
        member_of(content[:40] + b"\xff\xff\xff" + content[43:], "a", tmp_path)


def test_a_member_that_inflates_to_more_than_promised_is_stopped(tmp_path):
    content = bytearray(packed({"a": bytes(50 * BLOCK)}, method=zipfile.ZIP_DEFLATED))
    at = content.rfind(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", 1000)
    found = directory(bytes(content))["a"]
    (tmp_path / "raw").write_bytes(content[found.start : found.stop])
    blocks = []
    with pytest.raises(errors.ChecksumMismatch):
        blocks.extend(unpacked(tmp_path / "raw", found))
    assert sum(map(len, blocks)) <= BLOCK


@given(st.binary(max_size=400), st.integers(0, 300))
def test_no_bytes_whatever_are_taken_for_a_zip_without_complaint(noise, at):
    good = packed({"a": b"x" * 60, "b": b"y"})
    content = good[:at] + noise + good[at + len(noise) :]
    try:
        found = directory(content)
    except errors.StructureError:
        return
    for member in found.values():
        assert 0 <= member.start <= member.stop <= len(content)


# --------------------------------------------------------------------------------------------------
# From afar


@pytest.fixture
def manifest(slc: Asset, access) -> Asset:
    """``manifest.safe`` of a product zip."""
    scene = slc.name.removesuffix(".zip")
    source = replace(slc.sources[0], member=f"{scene}.SAFE/manifest.safe")
    path = slc.path.replace(slc.name, "manifest.safe")
    return Asset(key="manifest", path=path, sources=(source,))


def expected(slc: Asset, store: Store, access, name: str) -> bytes:
    # Not in the same store: what is staged whole there is not asked for in parts.
    elsewhere = Store(store.root / "elsewhere")
    fetch_asset(slc, elsewhere, access)
    with zipfile.ZipFile(elsewhere.path(slc)) as file:
        return file.read(name)


def test_a_member_comes_alone_and_is_proved_by_the_crc_of_the_directory(box, slc, manifest, store, access):
    receipt = fetch_asset(manifest, store, access)
    asked = [request for request in box.requests() if request["host"] == BYTES]
    assert next(request["range"] for request in asked) == f"bytes=-{TAIL}"
    assert len(asked) == 2
    assert receipt.verified == "crc32"
    content = store.path(manifest).read_bytes()
    assert content == expected(slc, store, access, manifest.sources[0].member)
    assert receipt.digests["sha256"] == hashlib.sha256(content).hexdigest()
    assert not any((store.root / ".skystage" / "parts").iterdir())


def test_the_directory_is_read_once_for_all_members(box, slc, store, access):
    fetch_asset(slc, store, access)
    with zipfile.ZipFile(store.path(slc)) as file:
        names = file.namelist()
    assert len(names) == 3
    box.clear()
    assets = [
        Asset(key=n, path=f"asf/C/g/{n.rpartition('/')[2]}", sources=(replace(slc.sources[0], member=n),))
        for n in names
    ]
    outcome = fetch_all(assets, store, access)
    assert outcome.failures == {}
    assert len([request for request in box.requests() if request["host"] == BYTES]) == 4


def test_a_member_that_is_cut_resumes_where_it_broke(box, slc, manifest, store, access, impatient):
    box.set_faults([{"match": {"host": BYTES, "after": 1, "times": 1}, "cut": 1000}])
    receipt = fetch_asset(manifest, store, access)
    asked = [request for request in box.requests() if request["host"] == BYTES]
    assert len(asked) == 3
    assert sum(request["sent"] for request in asked[1:]) == receipt.bytes_moved
    assert receipt.verified == "crc32"


def test_a_zip_that_changes_between_directory_and_member_is_read_anew(
    box, manifest, store, access, impatient
):
    box.set_faults([{"match": {"host": BYTES, "after": 1, "times": 1}, "validator": "change"}])
    assert fetch_asset(manifest, store, access).verified == "crc32"
    asked = [request for request in box.requests() if request["host"] == BYTES]
    assert [request["range"] for request in asked].count(f"bytes=-{TAIL}") == 2


def test_a_server_without_ranges_is_an_error_that_says_so(box, manifest, store, access):
    box.set_faults([{"match": {"host": BYTES}, "ignore_range": True}])
    with pytest.raises(errors.Refused, match="no byte ranges"):
        fetch_asset(manifest, store, access)


def test_a_log_in_page_is_no_server_without_ranges(box, manifest, store, access):
    box.set_faults([{"match": {"host": BYTES}, "login_page": True}])
    with pytest.raises(errors.WrongBody, match="HTML page.*doctor"):
        fetch_asset(manifest, store, access)


def test_a_wrong_range_of_a_member_is_asked_for_once_more(box, manifest, store, access):
    wrong = {"match": {"host": BYTES, "after": 1, "times": 1}, "wrong_range": True}
    box.set_faults([wrong])
    assert fetch_asset(manifest, store, access).verified == "crc32"
    box.set_faults([{**wrong, "match": {"host": BYTES, "range": True}}])
    again = replace(manifest, path=f"{manifest.path}.again")
    with pytest.raises((errors.WrongRange, errors.StructureError)):
        fetch_asset(again, store, Access())


def test_a_member_that_is_not_there_is_named(box, slc, store, access):
    source = replace(slc.sources[0], member="no/such")
    with pytest.raises(errors.NotFound, match="no/such"):
        fetch_asset(Asset(key="x", path="asf/C/g/x", sources=(source,)), store, access)


def test_a_corrupt_member_is_refused_after_one_more_try(box, manifest, store, access):
    box.set_faults([{"match": {"host": BYTES, "after": 1}, "corrupt": 300}])
    with pytest.raises((errors.ChecksumMismatch, errors.StructureError, errors.WrongBody)):
        fetch_asset(manifest, store, access)
    assert not store.path(manifest).exists()
    assert not any((store.root / ".skystage" / "parts").iterdir())


def test_a_member_of_another_size_than_planned_is_refused_before_its_bytes_move(box, manifest, store, access):
    with pytest.raises(errors.SizeMismatch):
        fetch_asset(replace(manifest, size=7), store, access)


def test_a_member_is_never_continued_with_the_bytes_of_a_plain_mirror(
    box, slc, manifest, store, access, impatient
):
    content = expected(slc, store, access, manifest.sources[0].member)
    both = replace(
        manifest,
        checksums={"md5": hashlib.md5(content, usedforsecurity=False).hexdigest()},
        sources=(replace(manifest.sources[0]), replace(slc.sources[0])),
    )
    box.set_faults([{"match": {"host": BYTES}, "cut": 1000}])
    with pytest.raises(errors.TransferError):
        fetch_asset(both, store, access)
    box.set_faults([])
    assert fetch_asset(both, Store(store.root), access).verified == "md5"
    assert store.path(both).read_bytes() == content


def test_a_range_that_was_not_asked_for_is_no_directory(box, manifest, store, access):
    box.set_faults([{"match": {"host": BYTES, "range": True}, "wrong_range": True}])
    with pytest.raises(errors.WrongRange, match="asked for"):
        fetch_asset(manifest, store, access)


def test_a_directory_that_memory_should_not_hold_is_refused_unread():
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, 2**31, 0, 0)
    with pytest.raises(errors.StructureError, match="2,147,483,648"):
        parse(end, 2**31 + len(end), lambda start, stop: pytest.fail(f"{start} {stop}"))


def test_what_lies_behind_the_end_of_a_packed_member_is_not_kept(tmp_path):
    content = packed({"a": b"text" * 9000}, method=zipfile.ZIP_DEFLATED)
    found = directory(content)["a"]
    raw = tmp_path / "raw"
    raw.write_bytes(content[found.start : found.stop])
    os.truncate(raw, 64 << 20)
    tracemalloc.start()
    try:
        whole = b"".join(unpacked(raw, replace(found, packed=(64 << 20) - 40)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert whole == b"text" * 9000
    assert peak < 8 << 20
