"""Fetch against the archives in a box: each test one fault, and what must come of it."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from skystage import batch, errors, events
from skystage import fetch as fetching
from skystage.auth import Secret
from skystage.batch import fetch_all
from skystage.errors import FetchFailed
from skystage.fetch import fetch_asset
from skystage.model import Asset, Source
from skystage.store import Store
from skystage.transport import Access

BYTES = "dy4owt9f80bz7.cloudfront.net"
LOGIN = "urs.earthdata.nasa.gov"


def bodies(box) -> list[dict]:
    """The requests for product bytes, in order."""
    return [request for request in box.requests() if request["host"] == BYTES]


def content(store: Store, asset: Asset) -> bytes:
    return store.path(asset).read_bytes()


def nothing_is_there(store: Store, asset: Asset) -> bool:
    parts = store.root / ".skystage" / "parts"
    return not store.path(asset).exists() and not any(parts.iterdir())


def test_an_asset_is_staged_with_a_receipt_that_says_how_it_was_verified(box, slc, store, access):
    receipt = fetch_asset(slc, store, access)
    assert (receipt.verified, receipt.size, receipt.attempts) == ("md5", slc.size, 1)
    assert receipt.digests["md5"] == slc.checksums["md5"]
    assert receipt.bytes_moved == slc.size == len(content(store, slc))
    assert receipt.source == slc.sources[0].href


def test_what_is_staged_is_never_asked_for_again(box, slcs, store, access):
    assets = [granule.asset("data") for granule in slcs]
    first = fetch_all(assets, store, access)
    assert (first.failures, len(first.receipts)) == ({}, len(assets))
    box.clear()
    again = fetch_all(assets, Store(store.root), Access())
    assert (again.already, again.requests, again.bytes_moved) == (len(assets), 0, 0)
    assert again.receipts == first.receipts
    assert box.requests() == []


def test_a_body_that_is_cut_resumes_where_it_broke(open_box, slc, store, access, impatient, box):
    box.set_faults([{"match": {"host": BYTES, "times": 1}, "cut": 30_000}])
    receipt = fetch_asset(slc, store, access)
    asked = bodies(box)
    assert [request["range"] for request in asked] == [None, "bytes=30000-"]
    assert sum(request["sent"] for request in asked) == slc.size
    assert (receipt.attempts, receipt.bytes_moved) == (2, slc.size)


def test_a_later_run_continues_what_an_earlier_one_left(box, slc, store, access, impatient):
    box.set_faults([{"match": {"host": BYTES}, "cut": 4000}])
    with pytest.raises((errors.Interrupted, errors.ShortBody)):
        fetch_asset(slc, store, access)
    box.set_faults([])
    box.clear()
    receipt = fetch_asset(slc, Store(store.root), Access())
    assert receipt.resumed_from > 0
    assert bodies(box)[0]["range"] == f"bytes={receipt.resumed_from}-"


def test_a_changed_validator_restarts(box, slc, store, access, impatient):
    box.set_faults(
        [
            {"match": {"host": BYTES, "times": 1}, "cut": 30_000},
            {"match": {"host": BYTES, "after": 1}, "validator": "change"},
        ]
    )
    fetch_asset(slc, store, access)
    assert [request["status"] for request in bodies(box)] == [200, 200]
    assert bodies(box)[1]["headers"]["if-range"]


def test_without_a_checksum_bytes_of_two_versions_are_never_joined(box, slc, store, access, impatient):
    blind = replace(slc, checksums={}, path="asf/C/g/without-structure.bin")
    box.set_faults(
        [
            {"match": {"host": BYTES, "times": 1}, "cut": 30_000},
            {"match": {"host": BYTES, "after": 1}, "content": "other"},
        ]
    )
    receipt = fetch_asset(blind, store, access)
    assert receipt.verified == "size+structure"
    assert [request["status"] for request in bodies(box)] == [200, 200]
    assert receipt.bytes_moved == 30_000 + slc.size


def test_a_server_that_ignores_ranges_is_taken_at_its_whole_word(box, slc, store, access, impatient):
    box.set_faults(
        [
            {"match": {"host": BYTES, "times": 1}, "cut": 30_000},
            {"match": {"host": BYTES, "range": True}, "ignore_range": True},
        ]
    )
    assert fetch_asset(slc, store, access).verified == "md5"


def test_a_wrong_range_is_never_appended_and_the_file_is_asked_for_whole(box, slc, store, access, impatient):
    box.set_faults(
        [
            {"match": {"host": BYTES, "times": 1}, "cut": 30_000},
            {"match": {"host": BYTES, "range": True}, "wrong_range": True},
        ]
    )
    assert fetch_asset(slc, store, access).verified == "md5"
    assert [request["range"] for request in bodies(box)] == [None, "bytes=30000-", None]


def test_an_html_page_with_status_200_is_refused_with_its_cause(box, slc, store, access):
    box.set_faults([{"match": {"host": BYTES}, "login_page": True}])
    with pytest.raises(errors.WrongBody, match="HTML page.*doctor"):
        fetch_asset(slc, store, access)
    assert len(bodies(box)) == 1
    assert not store.path(slc).exists()


def test_a_wrong_checksum_is_refused_after_one_more_try_and_nothing_is_kept(box, slc, store, access):
    box.set_faults([{"match": {"host": BYTES}, "corrupt": 5000}])
    with pytest.raises(errors.ChecksumMismatch, match="the plan says"):
        fetch_asset(slc, store, access)
    assert len(bodies(box)) == 2
    assert nothing_is_there(store, slc)


def test_a_part_that_was_damaged_is_fetched_anew(box, slc, store, access, impatient):
    box.set_faults([{"match": {"host": BYTES, "times": 1}, "cut": 30_000, "corrupt": 5000}])
    assert fetch_asset(slc, store, access).verified == "md5"
    assert [request["range"] for request in bodies(box)] == [None, "bytes=30000-", None]


def test_a_file_of_another_size_is_refused_before_its_bytes_are_moved(box, slc, store, access):
    larger = replace(slc, size=slc.size + 1)
    heard: list[events.Event] = []
    with pytest.raises(errors.SizeMismatch, match="make the plan again"):
        fetch_asset(larger, store, access, heard.append)
    assert not [event for event in heard if isinstance(event, events.Progressed)]
    assert not store.path(slc).exists()


@pytest.mark.parametrize(
    ("fault", "error", "tries"),
    [
        ({"status": 401}, errors.Unauthorized, 2),
        (
            {"status": 403, "body": '{"error_description":"EULA Acceptance Failure"}'},
            errors.TermsNotAccepted,
            1,
        ),
        ({"status": 403}, errors.Forbidden, 1),
        ({"status": 404}, errors.NotFound, 1),
        ({"status": 429, "retry_after": 0}, errors.Throttled, 5),
        ({"status": 503}, errors.ServerFault, 5),
        ({"cut_before_headers": True}, errors.Interrupted, 5),
        ({"gateway_page": True}, errors.ServerFault, 5),
    ],
    ids=["401", "403 terms", "403", "404", "429", "503", "no answer", "502 page"],
)
def test_each_refusal_is_its_own_error_after_the_right_number_of_tries(
    box, slc, store, access, impatient, fault, error, tries
):
    host = "sentinel1.asf.alaska.edu"
    box.set_faults([{"match": {"host": host}, **fault}])
    with pytest.raises(error) as caught:
        fetch_asset(slc, store, access)
    assert type(caught.value) is error
    assert len([request for request in box.requests() if request["host"] == host]) == tries
    assert nothing_is_there(store, slc)


def test_a_signed_address_that_is_refused_is_signed_again_once(box, slc, store, access):
    box.set_faults([{"match": {"host": BYTES, "times": 1}, "status": 403}])
    assert fetch_asset(slc, store, access).attempts == 1
    assert [request["status"] for request in bodies(box)] == [403, 200]


def test_a_retry_after_is_waited_for_by_all(box, slcs, store, access):
    box.set_faults([{"match": {"host": BYTES, "times": 1}, "status": 429, "retry_after": 1}])
    outcome = fetch_all([granule.asset("data") for granule in slcs[:4]], store, access)
    assert outcome.failures == {}
    times = [request["time"] for request in bodies(box)]
    refused = next(request["time"] for request in bodies(box) if request["status"] == 429)
    later = [time for time in times if time > refused + 0.3]
    assert min(later) >= refused + 0.95


def test_a_retry_after_longer_than_our_patience_is_left_to_the_orchestrator(box, slc, store, access):
    box.set_faults([{"match": {"host": BYTES}, "status": 429, "retry_after": 3600}])
    with pytest.raises(errors.Throttled) as caught:
        fetch_asset(slc, store, access)
    assert caught.value.retry_after == 3600
    assert len(bodies(box)) == 1


def test_a_token_that_expires_is_renewed_inside_the_transfer(box, slcs, store, access):
    fetch_asset(slcs[0].asset("data"), store, access)
    box.set_faults([{"match": {"host": "sentinel1.asf.alaska.edu", "times": 1}, "expire_tokens": True}])
    assert fetch_asset(slcs[1].asset("data"), store, access).attempts == 1
    logins = [request for request in box.requests() if request["host"] == LOGIN]
    assert len(logins) == 2


def test_credentials_leave_only_for_their_hosts_and_appear_nowhere(
    box, slcs, store, access, impatient, caplog
):
    caplog.set_level(0)
    box.set_faults([{"match": {"host": BYTES, "after": 2}, "status": 403}])
    assets = [granule.asset("data") for granule in slcs[:4]]
    outcome = fetch_all(assets, store, access)
    assert outcome.failures
    sent = [request for request in box.requests() if "authorization" in request["headers"]]
    secrets = {request["headers"]["authorization"].split()[1] for request in sent}
    basic = {r["host"] for r in sent if r["headers"]["authorization"].startswith("Basic")}
    bearer = {r["host"] for r in sent if r["headers"]["authorization"].startswith("Bearer")}
    assert basic == {LOGIN}
    assert bearer <= {"datapool.asf.alaska.edu", "sentinel1.asf.alaska.edu"}
    foreign = [request for request in box.requests() if request["host"] == BYTES]
    assert foreign
    assert not any("authorization" in r["headers"] or "cookie" in r["headers"] for r in foreign)
    secret = access.scheme("earthdata").secret
    secrets |= {secret.password}
    shown = [repr(access), repr(secret), repr(access.scheme("earthdata")), caplog.text]
    shown += [
        f"{error!r} {error} {error.__notes__ if hasattr(error, '__notes__') else ''}"
        for error in outcome.failures.values()
    ]
    shown += [path.read_text(errors="replace") for path in store.root.rglob("*") if path.is_file()]
    assert len(secrets) > 2
    assert not [word for word in secrets for text in shown if word in text]


def test_a_signed_address_is_not_kept(box, slc, store, access):
    assert "?" not in fetch_asset(slc, store, access).source


@pytest.mark.parametrize("host", [BYTES, "sentinel1.asf.alaska.edu"])
def test_fifty_assets_never_hold_more_connections_than_allowed(open_box, limited, store, host):
    box = open_box()
    access = limited({host: 4})
    assets = fifty(box, access)
    box.set_faults([{"match": {"host": host}, "latency": 0.01}])
    outcome = fetch_all(assets, store, access, jobs=16)
    assert (outcome.failures, len(outcome.receipts)) == ({}, 50)
    assert max(request["open"] for request in box.requests() if request["host"] == host) <= 4


def fifty(box, access) -> list[Asset]:
    """Fifty different assets of the built-in catalogue: SLCs and orbit files."""
    from skystage import archives
    from skystage.model import Query

    query = Query(archive="asf", criteria={"processing_level": ["SLC"]})
    granules = list(archives.get("asf").search(query, access))
    assets = [granule.asset("data") for granule in granules]
    while len(assets) < 50:  # the same bytes under other names are other assets
        copy = assets[len(assets) % len(granules)]
        assets.append(replace(copy, path=f"{copy.path.rpartition('/')[0]}-{len(assets)}/{copy.name}"))
    box.clear()
    return assets[:50]


def test_missing_credentials_are_found_before_the_first_byte(box, slc, store, monkeypatch):
    monkeypatch.setenv("NETRC", "/nowhere")
    with pytest.raises(errors.CredentialsMissing, match="EARTHDATA_TOKEN"):
        fetch_all([slc], store, Access())
    assert box.requests() == []


def test_wrong_credentials_are_named_with_the_place_they_come_from(box, slc, store):
    access = Access(secrets={"earthdata": Secret(username="ada", password="wrong", found="argument")})
    with pytest.raises(errors.Unauthorized, match="argument"):
        fetch_asset(slc, store, access)


def test_a_full_disk_is_found_before_the_first_byte(box, slc, store, access, monkeypatch):
    monkeypatch.setattr(Store, "free", lambda self: batch.RESERVE + slc.size - 1)
    with pytest.raises(errors.NotEnoughDisk, match="bytes to come"):
        fetch_all([slc], store, access)
    assert box.requests() == []


def test_bytes_that_are_here_already_do_not_count_against_the_disk(
    box, slc, store, access, impatient, monkeypatch
):
    box.set_faults([{"match": {"host": BYTES}, "cut": 4000}])
    with pytest.raises(errors.TransferError):
        fetch_asset(slc, store, access)
    box.set_faults([])
    monkeypatch.setattr(Store, "free", lambda self: batch.RESERVE + slc.size - 1000)
    assert fetch_all([slc], store, access).failures == {}


def test_a_mirror_takes_over_and_continues_the_part_if_a_checksum_proves_the_whole(
    box, slc, store, access, impatient
):
    mirror = replace(slc.sources[0], href=slc.sources[0].href.replace("datapool", "sentinel1"))
    both = replace(slc, sources=(slc.sources[0], mirror))
    box.set_faults(
        [
            {"match": {"host": BYTES, "times": 1}, "cut": 30_000},
            {"match": {"host": "datapool.asf.alaska.edu", "after": 1}, "status": 404},
        ]
    )
    receipt = fetch_asset(both, store, access)
    assert receipt.source == mirror.href
    assert bodies(box)[-1]["range"] == "bytes=30000-"


def test_a_source_without_credentials_is_passed_over(box, slc, store, access):
    other = Source(href="https://download.dataspace.copernicus.eu/x", auth="cdse")
    netrc = Path(os.environ["NETRC"])
    lines = [line for line in netrc.read_text().splitlines() if "copernicus" not in line]
    netrc.write_text("\n".join(lines))
    asset = replace(slc, sources=(other, slc.sources[0]))
    assert fetch_asset(asset, store, access).source == slc.sources[0].href


def test_an_asset_without_sources_is_an_error_of_its_own(store, access):
    with pytest.raises(errors.NoSource):
        fetch_asset(Asset(key="data", path="a/c/g/f"), store, access)


def test_a_file_without_a_receipt_is_adopted_if_its_checksum_agrees(box, slc, store, access):
    fetch_asset(slc, store, access)
    for shard in (store.root / ".skystage" / "receipts").iterdir():
        shard.unlink()
    box.clear()
    receipt = fetch_asset(slc, Store(store.root), access)
    assert (receipt.verified, receipt.attempts) == ("md5", 0)
    assert box.requests() == []


def test_a_file_that_is_not_what_the_plan_says_is_replaced(box, slc, store, access):
    path = store.path(slc)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something else")
    assert fetch_asset(slc, store, access).size == slc.size == len(content(store, slc))


def test_without_a_checksum_a_file_without_a_receipt_is_fetched_again(box, slc, store, access):
    blind = replace(slc, checksums={})
    path = store.path(blind)
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(slc.size))
    assert fetch_asset(blind, store, access).bytes_moved == slc.size


def test_a_file_that_was_touched_has_no_receipt_any_more(box, slc, store, access):
    fetch_asset(slc, store, access)
    store.path(slc).write_bytes(b"damaged")
    assert store.receipt(slc) is None
    assert fetch_asset(slc, store, access).bytes_moved == slc.size


def test_a_plan_that_expects_other_bytes_does_not_take_the_old_file(box, slc, store, access):
    fetch_asset(slc, store, access)
    reprocessed = replace(slc, checksums={"md5": "0" * 32})
    assert store.receipt(reprocessed) is None
    with pytest.raises(errors.ChecksumMismatch):
        fetch_asset(reprocessed, store, access)


def test_every_planned_asset_ends_as_a_receipt_or_as_an_error(box, slcs, store, access, monkeypatch):
    assets = [granule.asset("data") for granule in slcs[:4]]
    box.set_faults(
        [{"match": {"host": "datapool.asf.alaska.edu", "path": f"*{assets[1].name}"}, "status": 404}]
    )
    broken = replace(assets[2], sources=(Source(href="https://x/y", auth="no such"),))
    outcome = fetch_all([assets[0], assets[1], broken, assets[3], assets[3]], store, access)
    assert (outcome.planned, len(outcome.receipts)) == (4, 2)
    assert {path: type(error) for path, error in outcome.failures.items()} == {
        assets[1].path: errors.NotFound,
        broken.path: errors.NoSource,
    }
    with pytest.raises(FetchFailed, match="2 of 4 assets failed"):
        outcome.raise_for_failures()


def test_a_bug_in_one_asset_does_not_cost_the_others(box, slcs, store, access, monkeypatch):
    assets = [granule.asset("data") for granule in slcs[:3]]
    real = fetching.prove

    def bug(asset, path, digests):
        if asset == assets[1]:
            raise ZeroDivisionError("oops")
        return real(asset, path, digests)

    monkeypatch.setattr(fetching, "prove", bug)
    outcome = fetch_all(assets, store, access)
    assert len(outcome.receipts) == 2
    assert "ZeroDivisionError: oops" in str(outcome.failures[assets[1].path])


def test_a_fetch_can_be_stopped_and_continued(box, slcs, store, access):
    assets = [granule.asset("data") for granule in slcs]
    box.set_faults([{"match": {"host": BYTES}, "bandwidth": 400_000}])
    stop = threading.Event()

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Progressed):
            stop.set()

    outcome = fetch_all(assets, store, access, jobs=2, listen=listen, stop=stop)
    assert {type(error) for error in outcome.failures.values()} == {errors.Stopped}
    assert len(outcome.failures) + len(outcome.receipts) == len(assets)
    box.set_faults([])
    assert fetch_all(assets, store, access).failures == {}


def test_an_exception_of_the_listener_stops_the_fetch(box, slcs, store, access):
    def listen(event: events.Event) -> None:
        if isinstance(event, events.AlreadyStaged):
            raise KeyboardInterrupt

    assets = [granule.asset("data") for granule in slcs[:2]]
    fetch_asset(assets[0], store, access)
    with pytest.raises(KeyboardInterrupt):
        fetch_all(assets, store, access, listen=listen)


def test_events_tell_what_happens_in_order(box, slc, store, access, impatient):
    box.set_faults([{"match": {"host": BYTES, "times": 1}, "cut": 30_000}])
    heard: list[events.Event] = []
    fetch_all([slc], store, access, listen=heard.append)
    kinds = [type(event).__name__ for event in heard if not isinstance(event, events.Progressed)]
    assert kinds == ["Started", "Retrying", "Started", "Staged"]
    assert sum(event.count for event in heard if isinstance(event, events.Progressed)) == slc.size
    fetch_all([slc], store, access, listen=heard.append)
    assert isinstance(heard[-1], events.AlreadyStaged)


def test_a_store_that_cannot_be_written_is_a_typed_error(box, slc, store, access, monkeypatch):
    def full(fd, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(errors.StoreError, match="No space left"):
        fetch_asset(slc, store, access)


def test_receipts_are_lines_that_other_tools_can_read(box, slc, store, access):
    fetch_asset(slc, store, access)
    shard = next((store.root / ".skystage" / "receipts").iterdir())
    assert json.loads(shard.read_text())["verified"] == "md5"


def test_a_server_that_ignores_ranges_and_always_breaks_off_is_not_asked_for_ever(
    open_box, store, access, impatient, monkeypatch
):
    box = open_box(payload_size=4_000_000)
    asset = one_zip(access)
    box.set_faults([{"match": {"host": BYTES}, "ignore_range": True, "cut": 2_000_000}])
    with pytest.raises((errors.Interrupted, errors.ShortBody)):
        fetch_asset(asset, store, access)
    assert len(bodies(box)) == 5


def test_a_large_file_over_a_line_that_often_breaks_arrives(open_box, store, access, impatient):
    box = open_box(payload_size=12_000_000)
    asset = one_zip(access)
    box.set_faults([{"match": {"host": BYTES}, "cut": 1_500_000}])
    receipt = fetch_asset(asset, store, access)
    assert receipt.attempts >= 8
    assert receipt.bytes_moved == asset.size


def one_zip(access) -> Asset:
    from skystage import archives
    from skystage.model import Query

    query = Query(archive="asf", criteria={"relative_orbit": [35], "processing_level": ["SLC"]})
    return min(archives.get("asf").search(query, access), key=lambda granule: granule.id).asset("data")


def test_where_nothing_says_where_the_file_ends_a_cut_is_not_taken_for_the_end(box, slc, store, access):
    blind = replace(slc, size=None, checksums={})
    box.set_faults([{"match": {"host": BYTES}, "no_length": "close", "cut": 3000}])
    with pytest.raises(errors.WrongBody, match="where the file ends"):
        fetch_asset(blind, store, access)
    assert not store.path(blind).exists()
    box.set_faults([{"match": {"host": BYTES}, "no_length": "chunked"}])
    assert fetch_asset(blind, store, access).size == slc.size


def test_a_wrong_password_is_sent_once_for_a_whole_batch(box, slcs, store):
    access = Access(secrets={"earthdata": Secret(username="ada", password="wrong", found="argument")})
    outcome = fetch_all([granule.asset("data") for granule in slcs], store, access, jobs=4)
    assert {type(error) for error in outcome.failures.values()} == {errors.Unauthorized}
    assert len([request for request in box.requests() if request["host"] == LOGIN]) == 1


def test_what_the_archive_still_prepares_is_asked_for_again(box, slc, store, access, monkeypatch):
    monkeypatch.setattr("skystage.resume.retry_after", lambda head, now=None: 0.01)
    box.set_faults([{"match": {"host": "sentinel1.asf.alaska.edu", "times": 3}, "status": 202}])
    assert fetch_asset(slc, store, access).verified == "md5"


def test_a_stalled_body_does_not_make_a_fetch_deaf(box, slcs, store, access):
    box.set_faults([{"match": {"host": BYTES}, "stall": 30, "stall_at": 1000}])
    stop = threading.Event()
    threading.Timer(0.7, stop.set).start()
    begun = time.monotonic()
    outcome = fetch_all([granule.asset("data") for granule in slcs[:3]], store, access, stop=stop)
    assert time.monotonic() - begun < 10
    assert {type(error) for error in outcome.failures.values()} == {errors.Stopped}


def test_a_body_that_hardly_moves_is_broken_off_and_continued(
    box, slc, store, access, monkeypatch, impatient
):
    monkeypatch.setattr("skystage.transport.SLOWEST", 0.5)
    box.set_faults([{"match": {"host": BYTES, "times": 1}, "drip": 2000}])
    outcome = fetch_all([slc], store, access)
    assert outcome.failures == {}
    # Ended by us, the connection may give ciphertext: none of it may be taken for the file.
    assert (outcome.receipts[0].attempts, outcome.receipts[0].bytes_moved) == (2, slc.size)


def test_a_mirror_continues_a_part_although_its_validator_is_another(box, slc, store, access, impatient):
    mirror = replace(slc.sources[0], href=slc.sources[0].href.replace("datapool", "sentinel1"))
    both = replace(slc, sources=(slc.sources[0], mirror))
    box.set_faults(
        [
            {"match": {"host": BYTES, "times": 1}, "cut": 30_000},
            {"match": {"host": "datapool.asf.alaska.edu", "after": 1}, "status": 404},
            {"match": {"host": BYTES, "after": 1}, "validator": "change"},
        ]
    )
    assert fetch_asset(both, store, access).bytes_moved == slc.size
    assert "if-range" not in bodies(box)[-1]["headers"]


def test_an_asset_that_is_fetched_alone_hears_of_its_end_too(box, slc, store, access):
    box.set_faults([{"match": {"host": BYTES}, "stall_at": 1000, "stall": 60}])
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    began = time.monotonic()
    with pytest.raises(errors.Stopped):
        fetch_asset(slc, store, access, stop=stop)
    assert time.monotonic() - began < 20
