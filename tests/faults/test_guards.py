"""Each guard proves that it guards: without it, cases that are named here end wrong.

The cases are rows of the bench, which shows for all of them that with the guards nothing is wrong.
"""

from __future__ import annotations

import itertools
import os
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from skystage import auth, fetch, resume
from skystage.errors import ShortBody
from skystage.locks import Lock
from skystage.resume import Append, Discard, request_headers
from skystage.store import Store
from skystage.transport import Access

CDN = "dy4owt9f80bz7.cloudfront.net"


def run(bench, table, *names: str) -> dict[str, str]:
    """The named cases, and all that was wrong about each."""
    found = {}
    for way in table.WAYS:
        for phase in table.PHASES:
            for case in table.cases(way, phase, every=True):
                if case.name in names:
                    found[case.name] = "; ".join(bench.run(case))
    assert set(found) == set(names)
    return found


def spared(found: dict[str, str], what: str) -> dict[str, str]:
    """The cases that did not end as wrong as that."""
    return {name: wrong for name, wrong in found.items() if what not in wrong}


def without_if_range(asked, validator=""):
    return request_headers(asked)


CHANGED = (
    "https, resume: new content, once, size known",
    "earthdata, resume: new content, once, nothing known",
)


def test_if_range_saves_the_request_that_finds_out_that_the_file_changed(bench, table, monkeypatch):
    assert not any(run(bench, table, *CHANGED).values())
    monkeypatch.setattr(fetch, "request_headers", without_if_range)
    # What answers the range is of another version: found out, but it was asked for in vain.
    assert not spared(run(bench, table, *CHANGED), "requests for the body")


def test_without_if_range_and_validators_two_versions_are_joined(bench, table, monkeypatch):
    monkeypatch.setattr(fetch, "request_headers", without_if_range)
    decide = resume.decide

    def blind(asked, part, head, **options):
        found = decide(asked, replace(part, validator=""), head, **options)
        return Append(part.total) if isinstance(found, Discard) else found

    monkeypatch.setattr(fetch, "decide", blind)
    assert not spared(run(bench, table, *CHANGED), "a wrong file")


def test_the_checksum_keeps_other_bytes_away(bench, table, monkeypatch):
    def believe(asset, path, digests):
        return "md5"

    monkeypatch.setattr(fetch, "prove", believe)
    names = (
        "https, middle: flipped byte, always, md5 known",
        "earthdata, last: flipped byte, once, md5 known",
        "s3-signed, before: new content without a validator, always, md5 known",
    )
    assert not spared(run(bench, table, *names), "a wrong file")


def test_the_crc_of_a_zip_keeps_other_bytes_away(bench, table, monkeypatch):
    def believe(raw, member):
        content = raw.read_bytes()
        yield content[-member.packed :]

    monkeypatch.setattr(fetch, "unpacked", believe)
    names = (
        "member, middle: flipped byte, always, size known",
        "member, last: flipped byte, once, nothing known",
    )
    assert not spared(run(bench, table, *names), "a wrong file")


def test_the_count_of_bytes_tells_a_cut_from_the_end(bench, table, monkeypatch):
    real = fetch._Transfer._read

    def trusting(self, arrival, piece, body):
        try:
            real(self, arrival, piece, body)
        except ShortBody:
            arrival.end_at(piece, piece.at)

    names = (
        "https, middle: cut where nobody knows the end, once, size known",
        "earthdata, last: cut where nobody knows the end, once, md5 known",
    )
    assert not any(run(bench, table, *names).values())
    monkeypatch.setattr(fetch._Transfer, "_read", trusting)
    monkeypatch.setattr(fetch, "prove", lambda asset, path, digests: "size+structure")
    assert not spared(run(bench, table, *names), "a wrong file")


def test_content_range_keeps_other_ranges_away(bench, table, monkeypatch):
    def trusting(asked, part, head, **options):
        if head.status == 206:
            return Append(resume.content_range(head)[2])
        return resume.decide(asked, part, head, **options)

    monkeypatch.setattr(fetch, "decide", trusting)
    names = (
        "https, resume: wrong range, once, size known",
        "earthdata, resume: wrong range, always, nothing known",
    )
    assert not spared(run(bench, table, *names), "a wrong file")


def test_the_page_check_keeps_log_in_pages_away(bench, table, monkeypatch):
    monkeypatch.setattr(resume, "page", lambda head, name: None)
    monkeypatch.setattr(fetch, "check_start", lambda asset, block: None)
    names = ("earthdata, before: log-in page, always, nothing known",)
    assert not spared(run(bench, table, *names), "a wrong file")


def test_credentials_are_contained_by_the_hosts_that_a_scheme_names(bench, table, monkeypatch):
    monkeypatch.setattr(auth, "_within", lambda host, domains: True)
    names = (
        "earthdata, before: sent to a foreign host, once, md5 known",
        "earthdata, before: sent to a host of a like name, always, size known",
        "ranges, resume: sent to a foreign host, once, md5 known",
    )
    assert not spared(run(bench, table, *names), "credentials were sent to")


# --------------------------------------------------------------------------------------------------
# Guards that no fault of a server tries


def once_each(bench, table, store, monkeypatch) -> list[dict]:
    """Two at a time fetch one asset; the requests for its bytes."""
    case = next(iter(table.cases("https", "before")))
    asset = table._asset(case, bench.goods[case.way])
    bench.box.set_faults([{"match": {"host": table.BUCKET}, "latency": 0.2}])
    bench.box.clear()
    threads = [
        threading.Thread(target=fetch.fetch_asset, args=(asset, Store(store.root), Access()))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [request for request in bench.box.requests() if request["host"] == table.BUCKET]


numbers = itertools.count()


def test_the_lock_of_an_asset_saves_a_second_transfer(bench, table, store, tmp_path, monkeypatch):
    assert len(once_each(bench, table, store, monkeypatch)) == 1
    other = Store(tmp_path / "another")
    monkeypatch.setattr(Store, "lock", lambda self, asset: Lock(tmp_path / str(next(numbers))))
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)  # they tread on each other's part
    assert len(once_each(bench, table, other, monkeypatch)) > 1


def test_size_and_time_of_a_file_void_its_receipt(bench, table, store, access, monkeypatch):
    case = next(iter(table.cases("https", "before")))
    goods = bench.goods[case.way]
    asset = table._asset(case, goods)
    bench.box.set_faults([])
    fetch.fetch_asset(asset, store, access)
    path = store.path(asset)
    path.write_bytes(bytes(len(goods.true)))  # as long, and later
    first = fetch.fetch_asset(asset, Store(store.root), access)
    assert path.read_bytes() == goods.true
    path.write_bytes(bytes(len(goods.true)))
    monkeypatch.setattr(Store, "receipt", lambda self, asset: first)
    assert fetch.fetch_asset(asset, Store(store.root), access) is first
    assert path.read_bytes() != goods.true


@contextmanager
def written_down(monkeypatch):
    """The calls that make a file durable and give it its name, in order."""
    calls: list[str] = []
    with monkeypatch.context() as patch:
        for name in ("fsync", "replace", "write"):
            real = getattr(os, name)

            def call(first, *rest, _name=name, _real=real):
                target = str(Path(f"/proc/self/fd/{first}").readlink() if isinstance(first, int) else rest[0])
                kind = "receipt" if "/receipts/" in target else "part" if "/parts/" in target else "final"
                calls.append(f"{_name} {kind}")
                return _real(first, *rest)

            patch.setattr(os, name, call)
        yield calls


def test_bytes_are_durable_before_they_have_their_name_and_named_before_they_have_a_receipt(
    box, slc, store, access, tmp_path, monkeypatch
):
    ordered = ["fsync part", "replace final", "write receipt"]
    with written_down(monkeypatch) as calls:
        fetch.fetch_asset(slc, store, access)
    assert [call for call in calls if call in ordered] == ordered
    monkeypatch.setattr("skystage.store._sync", lambda paths: None)
    with written_down(monkeypatch) as calls:
        fetch.fetch_asset(slc, Store(tmp_path / "another"), access)
    assert [call for call in calls if call in ordered] == ordered[1:]
