"""Big files over several connections: pieces in any order, one right file, and nothing sent twice."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from skystage import archives, arrival, batch, errors, events, pieces, plan
from skystage.batch import fetch_all
from skystage.fetch import fetch_asset
from skystage.model import Asset, Query
from skystage.parts import PartFile
from skystage.resume import Part
from skystage.store import Store

BYTES = "dy4owt9f80bz7.cloudfront.net"
SLOW = {"match": {"host": BYTES}, "bandwidth": 2_000_000}
SIZE = 6_000_000


@pytest.fixture
def big(open_box, access, monkeypatch) -> tuple[object, list]:
    """A box of big files, and its SLCs."""
    monkeypatch.setattr(arrival, "FIRST_LOOK", 0.05)
    monkeypatch.setattr(pieces, "LEAST", 100_000)
    monkeypatch.setattr(batch, "WORTH_HELP", 1_000_000)
    box = open_box(payload_size=SIZE)
    query = Query(archive="asf", criteria={"relative_orbit": [35], "processing_level": ["SLC"]})
    granules = sorted(archives.get("asf").search(query, access), key=lambda granule: granule.id)
    box.set_faults([SLOW])
    box.clear()
    return box, granules


def requests(box) -> list[dict]:
    return [request for request in box.requests() if request["host"] == BYTES]


def right(store: Store, asset: Asset) -> bool:
    content = store.path(asset).read_bytes()
    return hashlib.md5(content, usedforsecurity=False).hexdigest() == asset.checksums["md5"]


def clean(store: Store) -> bool:
    return not any((store.root / ".skystage" / "parts").iterdir())


def test_idle_connections_share_a_big_file(big, store, access):
    box, granules = big
    asset = granules[0].asset("data")
    outcome = fetch_all([asset], store, access, jobs=4)
    assert outcome.failures == {}
    assert right(store, asset)
    assert clean(store)
    ranges = [request["range"] for request in requests(box)]
    assert ranges.count(None) == 1
    assert len(ranges) > 3
    assert outcome.bytes_moved == asset.size
    assert outcome.receipts[0].digests["md5"] == asset.checksums["md5"]


def test_files_are_whole_requests_while_every_connection_has_one(big, store, access):
    box, granules = big
    box.set_faults([])
    assets = [granule.asset("data") for granule in granules[:3]]
    fetch_all(assets, store, access, jobs=1)
    assert [request["range"] for request in requests(box)] == [None] * 3


def test_a_file_that_is_soon_there_anyway_is_not_shared(big, store, access):
    box, granules = big
    box.set_faults([])
    fetch_all([granules[0].asset("data")], store, access, jobs=4)
    assert [request["range"] for request in requests(box)] == [None]


def test_a_limit_of_one_connection_is_kept(big, store, limited):
    box, granules = big
    alone = limited({BYTES: 1})
    fetch_all([granules[0].asset("data")], store, alone, jobs=4)
    assert [request["range"] for request in requests(box)] == [None]


@pytest.mark.parametrize(
    "fault",
    [
        {"ignore_range": True},
        {"wrong_range": True},
        {"status": 503},
        {"status": 429, "retry_after": 1},
        {"validator": "change"},
        {"login_page": True},
        {"cut": 100_000},
        {"cut_before_headers": True},
    ],
    ids=lambda fault: next(iter(fault)),
)
def test_connections_that_come_to_nothing_cost_nothing(big, store, access, impatient, fault):
    box, granules = big
    asset = granules[0].asset("data")
    box.set_faults([{"match": {"host": BYTES, "range": True, "times": 4}, **fault}, SLOW])
    outcome = fetch_all([asset], store, access, jobs=4)
    assert outcome.failures == {}
    assert right(store, asset)
    assert clean(store)


@pytest.mark.parametrize(
    "fault", [{"ignore_range": True}, {"validator": "change"}], ids=["ignored", "changed"]
)
def test_a_server_that_never_gives_a_piece_gives_the_file_once(big, store, access, fault):
    box, granules = big
    asset = granules[0].asset("data")
    box.set_faults([{"match": {"host": BYTES, "range": True}, **fault}, SLOW])
    outcome = fetch_all([asset], store, access, jobs=4)
    assert outcome.failures == {}
    assert right(store, asset)
    assert outcome.bytes_moved == asset.size


def test_without_checksum_or_validator_there_is_one_connection(big, store, access):
    box, granules = big
    box.set_faults([{**SLOW, "headers": {"ETag": None, "Last-Modified": None}}])
    blind = replace(granules[0].asset("data"), checksums={})
    assert fetch_all([blind], store, access, jobs=4).failures == {}
    assert [request["range"] for request in requests(box)] == [None]


def test_without_a_checksum_pieces_of_two_versions_are_never_joined(big, store, access, impatient):
    box, granules = big
    blind = replace(granules[0].asset("data"), checksums={}, path="asf/C/g/blind.bin")
    other = {"match": {"host": BYTES}, "content": "other"}
    versions = []
    for faults in ([], [other]):
        box.set_faults(faults)
        reference = Store(store.root.parent / f"reference-{len(faults)}")
        fetch_asset(blind, reference, access)
        versions.append(reference.path(blind).read_bytes())
    assert versions[0] != versions[1]
    box.set_faults([SLOW, {"match": {"host": BYTES, "after": 1}, "content": "other"}])
    assert fetch_all([blind], store, access, jobs=4).failures == {}
    assert store.path(blind).read_bytes() in versions


def test_a_killed_run_is_continued_piece_by_piece(open_box, store, access, tmp_path):
    box = open_box(payload_size=20_000_000)
    query = Query(archive="asf", criteria={"relative_orbit": [35], "processing_level": ["SLC"]})
    granules = list(archives.get("asf").search(query, access))
    box.set_faults([{"match": {"host": BYTES}, "bandwidth": 3_000_000}])
    made = plan.write(
        tmp_path / "plan.ndjson", query=Query(archive="asf"), granules=granules[:1], hits=1, received=1
    )
    asset = granules[0].asset("data")
    command = [sys.executable, "-m", "skystage.cli", "fetch", str(made.path), "--store", str(store.root)]
    running = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    part = store.part(asset)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not part.read().later:
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    there = part.read()
    assert there.later
    box.set_faults([])
    outcome = fetch_all([asset], Store(store.root), access, jobs=4)
    assert outcome.failures == {}
    assert right(store, asset)
    assert outcome.receipts[0].resumed_from == there.held
    assert outcome.bytes_moved == asset.size - there.held
    assert clean(store)


def test_stopping_keeps_every_piece(big, store, access):
    _, granules = big
    asset = granules[0].asset("data")
    stop = threading.Event()
    seen = []

    def listen(event) -> None:
        seen.append(event)
        if isinstance(event, events.Progressed) and store.part(asset).read().later:
            stop.set()

    outcome = fetch_all([asset], store, access, jobs=4, listen=listen, stop=stop)
    assert isinstance(outcome.failures[asset.path], errors.Stopped)
    there = store.part(asset).read()
    assert there.held == outcome.bytes_moved
    again = fetch_all([asset], store, access, jobs=1)
    assert again.bytes_moved == asset.size - there.held
    assert right(store, asset)


def test_a_piece_that_is_cut_before_its_body_begins_is_no_wrong_body(big, store, access, monkeypatch):
    box, granules = big
    asset = granules[0].asset("data")
    box.set_faults(
        [
            {"match": {"host": BYTES, "times": 1}, "cut": 1_000_000},
            {"match": {"host": "datapool.asf.alaska.edu", "after": 1}, "status": 404},
        ]
    )
    assert isinstance(fetch_all([asset], store, access, jobs=1).failures[asset.path], errors.NotFound)
    # The rest is asked for, and while its answer is awaited others take their share of it.
    box.set_faults([{"match": {"host": BYTES, "times": 1}, "latency": 0.5}, SLOW])
    monkeypatch.setattr(arrival, "FIRST_LOOK", 0.0)
    monkeypatch.setattr(arrival, "WORTH_HELP", 0.0)
    outcome = fetch_all([asset], Store(store.root), access, jobs=4)
    assert outcome.failures == {}
    assert outcome.bytes_moved == asset.size - 1_000_000
    assert right(store, asset)


def test_a_piece_whose_body_goes_on_behind_its_end_is_never_used(big, store, access):
    box, granules = big
    whole = granules[0].asset("data")
    blind = replace(whole, checksums={}, path="asf/C/g/blind.bin")
    endless = {"no_length": "chunked", "body": "A" * 8_000_000, "headers": {"Content-Type": "image/tiff"}}
    box.set_faults([SLOW, {"match": {"host": BYTES, "range": True, "times": 1}, **endless}])
    assert fetch_all([blind], store, access, jobs=4).failures == {}
    content = store.path(blind).read_bytes()
    assert hashlib.md5(content, usedforsecurity=False).hexdigest() == whole.checksums["md5"]


# --------------------------------------------------------------------------------------------------
# The map


ASSET = Asset(key="data", path="a/C/g/f.bin", checksums={"md5": "0" * 32})


def test_the_map_says_what_is_there_whatever_the_length_of_the_file(tmp_path):
    file = PartFile(tmp_path, ASSET)
    fd = file.restart(Part(origin="https://h", total=100), None)
    os.pwrite(fd, b"x" * 10, 0)
    chart = file.split([(0, 10)], 100, fd)
    os.write(chart, b"30 40\n20 30\n60 7")
    part = file.read()
    assert (part.size, part.later) == (10, ((20, 40),))
    assert part.gaps(100) == [(10, 20), (40, 100)]
    file.discard()
    assert file.read() == Part()
    assert not list(tmp_path.iterdir())
    os.close(fd)
    os.close(chart)


def test_a_part_without_a_gap_is_continued_by_its_length_again(tmp_path):
    """Else nothing that comes from here on would count after a kill: the map does not name it."""
    file = PartFile(tmp_path, ASSET)
    fd = file.restart(Part(origin="https://h", total=100), None)
    os.pwrite(fd, b"x" * 10, 0)
    os.close(file.split([(0, 10)], 100, fd))
    os.close(fd)
    again = PartFile(tmp_path, ASSET)
    going_on = arrival.Arrival(again, again.read(), 100, None)
    piece = going_on.claim()
    going_on.accept(piece, b"y" * 30)
    assert PartFile(tmp_path, ASSET).read().held == 40
    going_on.release(piece)
    going_on.close()


def test_a_map_that_names_bytes_behind_the_end_is_not_believed(tmp_path):
    file = PartFile(tmp_path, ASSET)
    fd = file.restart(Part(origin="https://h", total=100), None)
    os.close(file.split([(0, 0), (90, 100)], 100, fd))
    assert file.read().held == 10
    os.ftruncate(fd, 95)
    assert file.read() == Part()
    os.close(fd)


def test_a_map_of_nonsense_is_not_believed(tmp_path):
    file = PartFile(tmp_path, ASSET)
    fd = file.restart(Part(origin="https://h", total=100), None)
    chart = file.split([(0, 0)], 100, fd)
    os.write(chart, b"ten twenty\n")
    assert file.read() == Part()
    os.close(fd)
    os.close(chart)
    assert Path(tmp_path).exists()


def test_what_a_helper_meets_is_no_failure_of_the_batch(big, store, access, monkeypatch):
    _, granules = big
    asset = granules[0].asset("data")

    def full(*_: object) -> bool:
        raise errors.StoreError("no lock can be made here: too many open files")

    monkeypatch.setattr(access.limits, "has_room", full)
    assert fetch_all([asset], store, access, jobs=4).failures == {}
    assert right(store, asset)
