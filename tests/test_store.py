from __future__ import annotations

import errno
import gc
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from skystage import locks, parts
from skystage import store as stores
from skystage.errors import PlanError, StoreError
from skystage.model import Asset, from_iso
from skystage.resume import Part
from skystage.store import Store

ASSET = Asset(key="data", path="asf/C/g/f.bin", size=5)


def test_a_published_asset_has_a_receipt_and_leaves_nothing_behind(store, staged):
    made = staged(store)
    assert store.path(ASSET).read_bytes() == b"bytes"
    assert store.receipt(ASSET) == made
    assert not any((store.root / ".skystage" / "parts").iterdir())


def test_receipts_are_seen_by_a_store_opened_later_and_by_one_that_looks_again(tmp_path, staged):
    early, late = Store(tmp_path), Store(tmp_path)
    staged(early)
    assert late.receipt(ASSET) is None
    late.refresh()
    assert late.receipt(ASSET) == early.receipt(ASSET) == Store(tmp_path).receipt(ASSET)


@pytest.mark.parametrize(
    "tail", [b'{"path": "asf/C/g/f.b', b"\x00\x00", b"not json\n", b'{"path": 1}\n', b"[]\n"]
)
def test_a_torn_or_broken_line_is_ignored_and_what_stands_before_it_counts(store, tail, staged):
    staged(store)
    shard = next((store.root / ".skystage" / "receipts").iterdir())
    with shard.open("ab") as file:
        file.write(tail)
    assert Store(store.root).receipt(ASSET)


def test_a_receipt_whose_digests_are_damaged_is_no_receipt(store, staged):
    staged(store)
    shard = next((store.root / ".skystage" / "receipts").iterdir())
    shard.write_bytes(shard.read_bytes().replace(b'"digests"', b'"digestz"'))
    assert Store(store.root).receipt(ASSET) is None


def test_a_store_that_nobody_holds_any_more_holds_no_file_open(store, staged, tmp_path):
    def opened() -> set[str]:
        there = Path("/proc/self/fd").iterdir()
        return {str(one.readlink()) for one in there if one.is_symlink()}

    other = Store(tmp_path / "other")
    staged(other)
    assert any("other" in name for name in opened())
    del other
    gc.collect()
    assert not any(str(tmp_path / "other") in name for name in opened())


def test_a_line_that_was_being_written_is_read_when_it_is_whole(store, staged):
    staged(store)
    shard = next((store.root / ".skystage" / "receipts").iterdir())
    content = shard.read_bytes()
    shard.write_bytes(content[:20])
    other = Store(store.root)
    assert other.receipt(ASSET) is None
    shard.write_bytes(content)
    other.refresh()
    assert other.receipt(ASSET)


def test_of_several_receipts_the_one_that_describes_the_file_counts_whatever_the_clocks_said(store, staged):
    first = staged(store)
    store.record(
        [replace(first, staged=from_iso("2099-01-01T00:00:00"), mtime_ns=7, verified="of another file")]
    )
    store.record([replace(first, staged=from_iso("1999-01-01T00:00:00"), size=6)])
    assert Store(store.root).receipt(ASSET) == first == store.receipt(ASSET)


def test_a_receipt_that_was_cut_by_a_full_disk_does_not_swallow_the_next(store, staged, monkeypatch):
    first = staged(store)
    real = os.write

    def half(fd, content):
        real(fd, bytes(content)[:30])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space"):
        store.record([first])
    monkeypatch.setattr(os, "write", real)
    other = replace(ASSET, path="asf/C/other/f.bin")
    staged(store, other)
    assert Store(store.root).receipt(other)


def test_to_look_into_a_store_makes_nothing_and_needs_no_right_to_write(store, staged, tmp_path):
    staged(store)
    assert Store(store.root, read_only=True).receipt(ASSET)
    assert Store(tmp_path / "none", read_only=True).receipt(ASSET) is None
    assert not (tmp_path / "none").exists()


def test_without_a_checksum_a_part_from_before_a_crash_of_the_machine_is_not_continued(store, monkeypatch):
    proved = replace(ASSET, checksums={"md5": "m"})
    for asset in (ASSET, proved):
        fd = store.part(asset).restart(Part(validator="v", origin="https://h", total=5), None)
        os.write(fd, b"byt")
        os.close(fd)
        assert store.part(asset).read().size == 3
        monkeypatch.setattr(parts, "BOOT", "another")
        assert store.part(asset).read().size == (3 if asset is proved else 0)
        monkeypatch.undo()


@pytest.mark.parametrize(
    "expected",
    [
        replace(ASSET, size=6),
        replace(ASSET, checksums={"md5": "other"}),
        replace(ASSET, checksums={"sha512": "x"}),
    ],
    ids=["size", "md5", "a checksum that was never taken"],
)
def test_a_receipt_for_other_bytes_is_no_receipt(store, expected, staged):
    staged(store)
    assert store.receipt(expected) is None
    assert store.receipt(replace(ASSET, checksums={"md5": "M"}))


def test_a_file_that_is_gone_or_was_touched_has_no_receipt(store, staged):
    staged(store)
    os.utime(store.path(ASSET))
    assert store.receipt(ASSET) is None
    store.path(ASSET).unlink()
    assert store.receipt(ASSET) is None


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x", "a/../../x", "a//b", "", "a/./b", ".skystage/receipts/x"]
)
def test_a_path_that_leaves_the_store_is_refused(store, path):
    with pytest.raises(PlanError, match="no path inside a store"):
        store.path(Asset(key="data", path=path))


def test_a_part_is_continued_only_for_the_same_expected_bytes(store):
    part = store.part(ASSET)
    fd = part.restart(Part(validator="v", origin="https://h", total=5), None)
    os.write(fd, b"byt")
    os.close(fd)
    assert store.part(ASSET).read() == Part(size=3, validator="v", origin="https://h", total=5)
    assert store.part(replace(ASSET, checksums={"md5": "m"})).read() == Part()
    assert store.held([ASSET]) == 3
    part.discard()
    assert store.part(ASSET).read() == Part()
    part.discard()


def test_a_part_with_a_broken_note_is_no_part(store):
    part = store.part(ASSET)
    os.close(part.restart(Part(), None))
    note = part.path.with_suffix(".json")
    for text in ("", "{", "[]", "{}", "5", '{"expected": "x", "no": 1}'):
        note.write_text(text)
        assert part.read() == Part()


def test_parts_that_finish_together_share_one_sync(store, monkeypatch, staged):
    """The first syncs alone; those that come meanwhile wait and are synced with one call."""
    syncs: list[str] = []
    first_is_in, go_on = threading.Event(), threading.Event()
    real = stores._call

    def call(sync, path):
        syncs.append(sync.__name__)
        if len(syncs) == 1:
            first_is_in.set()
            go_on.wait(5)
        real(sync, path)

    monkeypatch.setattr(stores, "_call", call)
    assets = [replace(ASSET, path=f"asf/C/g{n}/f.bin") for n in range(9)]
    threads = [threading.Thread(target=staged, args=(store, asset)) for asset in assets]
    threads[0].start()
    first_is_in.wait(5)
    for thread in threads[1:]:
        thread.start()
    while len(store._pending) < 8:
        threading.Event().wait(0.001)
    go_on.set()
    for thread in threads:
        thread.join()
    assert syncs == ["fsync", "_syncfs"]
    assert all(store.receipt(asset) for asset in assets)


def test_big_files_are_synced_by_themselves(store, monkeypatch, tmp_path):
    monkeypatch.setattr(stores, "BIG", 4)
    called: list[tuple[str, str]] = []
    monkeypatch.setattr(stores, "_call", lambda sync, path: called.append((sync.__name__, path.name)))
    paths = []
    for name, content in (("big1", b"12345"), ("small1", b"1"), ("small2", b"1"), ("big2", b"12345")):
        (tmp_path / name).write_bytes(content)
        paths.append(tmp_path / name)
    stores._sync(paths)
    assert called == [("fsync", "big1"), ("fsync", "big2"), ("_syncfs", "small1")]


def test_a_failed_sync_publishes_nothing(store, monkeypatch, staged):
    def fail(fd):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match="cannot be synced"):
        staged(store)
    assert not store.path(ASSET).exists()
    assert store.receipt(ASSET) is None


def test_a_failed_rename_is_the_error_of_that_asset_alone(store, monkeypatch, staged):
    real = os.replace

    def fail(old, new, **options):
        if Path(new) == store.path(ASSET):
            raise OSError(errno.EACCES, "Permission denied")
        real(old, new, **options)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(StoreError, match="Permission denied"):
        staged(store)
    other = replace(ASSET, path="asf/C/other/f.bin")
    assert staged(store, other)


def test_a_receipt_that_cannot_be_written_is_an_error(store, monkeypatch, staged):
    def fail(self, receipts):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Store, "record", fail)
    with pytest.raises(StoreError, match="No space"):
        staged(store)


def test_a_store_on_a_file_system_without_locks_is_refused_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "work", lambda directory: False)
    with pytest.raises(StoreError, match="another file system"):
        Store(tmp_path)
    assert locks.work(tmp_path)


def test_a_store_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be used as a store"):
        Store(tmp_path / "file" / "store")


def test_a_link_is_the_same_file_and_linking_twice_changes_nothing(store, tmp_path, staged):
    staged(store)
    for _ in range(2):
        assert store.link(ASSET, tmp_path / "into").samefile(store.path(ASSET))
    assert store.receipt(ASSET)
    target = tmp_path / "into" / ASSET.path
    target.unlink()
    target.write_bytes(b"something else")
    assert store.link(ASSET, tmp_path / "into").read_bytes() == b"bytes"
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_where_links_are_impossible_the_file_is_copied(store, tmp_path, monkeypatch, staged):
    def refuse(source, target):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    staged(store)
    target = store.link(ASSET, tmp_path / "into")
    assert target.read_bytes() == b"bytes"
    assert not target.samefile(store.path(ASSET))


def test_other_failures_of_linking_are_not_hidden(store, tmp_path, monkeypatch, staged):
    def refuse(source, target):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "link", refuse)
    staged(store)
    with pytest.raises(PermissionError):
        store.link(ASSET, tmp_path / "into")


def test_a_store_that_has_gone_is_one_line(store):
    shutil.rmtree(store.root)
    with pytest.raises(StoreError, match="cannot be used as a store"):
        store.free()
