"""Released: the bytes are gone, the receipt is not, and nobody takes it for lost or fetches it unasked."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from skystage import cli, errors, events, manifest, plan
from skystage import index as indices
from skystage.archives import orbits
from skystage.batch import fetch_all, fetch_plan
from skystage.errors import Drifted, PlanError, Stopped, StoreError
from skystage.fetch import fetch_asset
from skystage.model import Asset, Companion, Granule, Query, Release, from_iso
from skystage.plan import Plan
from skystage.planning import build
from skystage.query import read
from skystage.release import release_plan
from skystage.store import Store
from skystage.transport import Access

ROOT = Path(__file__).resolve().parent.parent
BYTES = "dy4owt9f80bz7.cloudfront.net"
ASSET = Asset(key="data", path="asf/C/g/f.bin", size=5)


def test_a_store_that_is_not_there_is_said_and_not_made(made, tmp_path, capsys):
    words = ["release", str(made.path), "--store", str(tmp_path / "misspelt")]
    assert cli.run(words) == 1
    assert "no such store" in capsys.readouterr().err
    assert not (tmp_path / "misspelt").exists()


def frozen(path: Path, granules: list[Granule], companions: tuple[Companion, ...] = ()) -> Plan:
    ordered = sorted(granules, key=lambda one: (one.collection, one.id))
    count = len(ordered)
    return plan.write(
        path,
        query=Query(archive="asf"),
        granules=ordered,
        companions=companions,
        hits=count,
        received=count,
    )


@pytest.fixture
def made(slcs, access, tmp_path) -> Plan:
    """A plan of six SLCs and their orbits."""
    return frozen(tmp_path / "plan.ndjson", orbits.find(slcs[:6], True, access).granules)


@pytest.fixture
def full(box, made, store) -> Store:
    """A store in which the plan is staged."""
    fetch_plan(made, store, Access()).raise_for_failures()
    box.clear()
    return store


@pytest.fixture
def run(capsys):
    def call(*arguments: object) -> tuple[int, str, str]:
        code = cli.run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def zips(made: Plan) -> list[Asset]:
    return [asset for asset in made.assets() if asset.key == "data"]


def small(tmp_path: Path, *assets: Asset) -> Plan:
    """A plan of these assets, each of a granule of its own."""
    granules = [
        Granule(archive="asf", collection="C", id=f"g{number}", native_id="g", assets=(asset,))
        for number, asset in enumerate(assets)
    ]
    return frozen(tmp_path / "small.ndjson", granules)


def test_released_files_are_gone_with_their_folders_and_their_receipts_are_not(made, full):
    heard: list[events.Event] = []
    freed = release_plan(made, full, listen=heard.append)
    count, size = made.header.totals.assets, made.header.totals.bytes
    assert (freed.planned, len(freed.released), freed.bytes, freed.kept) == (count, count, size, {})
    assert [path.name for path in full.root.iterdir()] == [".skystage"]
    assert [event.path for event in heard] == [asset.path for asset in made.assets()]
    later = Store(full.root, read_only=True)
    for asset, release in zip(made.assets(), freed.released, strict=True):
        assert later.receipt(asset) is None
        assert later.released(asset) == release
        proof = release.receipt.verified
        assert release.receipt.digests[proof] == asset.checksums[proof]
    assert release_plan(made, full).already == count


def test_a_folder_with_something_else_in_it_stays(full, made):
    other = full.path(zips(made)[0]).with_name("notes.txt")
    other.write_text("")
    release_plan(made, full)
    assert other.exists()


def test_what_is_released_is_fetched_only_on_demand(box, made, full):
    release_plan(made, full, keys=["data"])
    outcome = fetch_plan(made, Store(full.root), Access())
    count = made.header.totals.assets
    assert (outcome.planned, len(outcome.released), outcome.failures) == (count, 6, {})
    assert (len(outcome.receipts), outcome.requests, box.requests()) == (count - 6, 0, [])
    outcome = fetch_plan(made, Store(full.root), Access(), released=True)
    assert (len(outcome.receipts), outcome.released, outcome.already) == (count, [], count - 6)
    again = fetch_plan(made, Store(full.root), Access())
    assert (again.already, again.released, again.requests) == (count, [], 0)
    release_plan(made, full, keys=["data"])
    assert fetch_asset(zips(made)[0], Store(full.root), Access()).verified == "md5"


def test_what_is_released_needs_neither_credentials_nor_disk(made, full, monkeypatch):
    release_plan(made, full)
    monkeypatch.setenv("NETRC", "/nowhere")
    monkeypatch.setattr(Store, "free", lambda self: 0)
    assert fetch_plan(made, Store(full.root), Access()).failures == {}
    with pytest.raises(errors.CredentialsMissing):
        fetch_plan(made, Store(full.root), Access(), released=True)


def test_a_file_that_was_fetched_again_and_then_lost_is_missing_and_not_released(made, full):
    asset = zips(made)[0]
    release_plan(made, full)
    fetch_all([asset], Store(full.root), Access(), released=True).raise_for_failures()
    full.path(asset).unlink()
    assert Store(full.root).released(asset) is None
    outcome = fetch_plan(made, Store(full.root), Access())
    assert [receipt.path for receipt in outcome.receipts] == [asset.path]


def test_another_machines_clock_that_is_ahead_makes_no_release_undone(tmp_path, store, staged):
    receipt = staged(store)
    store.record([replace(receipt, staged=from_iso("2099-01-01T00:00:00"))])
    made = small(tmp_path, ASSET)
    (release,) = release_plan(made, Store(store.root)).released
    assert release.released.year == 2099
    assert Store(store.root).released(ASSET) == release


@pytest.mark.parametrize("fraction", [0, 5])
def test_times_with_and_without_a_fraction_are_in_order(store, staged, fraction):
    moment = from_iso("2020-01-01T00:00:00")
    receipt = staged(store)
    store.announce([Release(receipt=receipt, released=moment)])
    store.path(ASSET).unlink()
    assert store.released(ASSET)
    store.record([replace(receipt, staged=moment + timedelta(microseconds=fraction))])
    assert (store.released(ASSET) is None) == (fraction > 0)


def test_a_release_of_other_bytes_than_the_plan_expects_says_nothing(tmp_path, store, staged):
    staged(store)
    release_plan(small(tmp_path, ASSET), store)
    assert store.released(ASSET)
    assert store.released(replace(ASSET, size=6)) is None
    assert store.released(replace(ASSET, checksums={"md5": "other"})) is None
    assert store.released(replace(ASSET, checksums={"md5": "m"}))


@pytest.mark.parametrize("name", ["digests", "size", "staged", "verified"])
def test_a_release_whose_line_is_damaged_is_none_and_no_traceback(tmp_path, store, staged, name):
    staged(store)
    release_plan(small(tmp_path, ASSET), store)
    shard = next((store.root / ".skystage" / "receipts").iterdir())
    shard.write_bytes(shard.read_bytes().replace(f'"{name}"'.encode(), f'"{name}z"'.encode()))
    assert Store(store.root).released(ASSET) is None
    assert Store(store.root).released(replace(ASSET, size=None)) is None


def test_the_index_knows_releases_and_a_torn_tail_is_ignored(tmp_path, store, staged, monkeypatch):
    monkeypatch.setattr(indices, "RENEW", 0)
    staged(store)
    release_plan(small(tmp_path, ASSET), store)
    assert Store(store.root).released(ASSET)
    assert Store(store.root)._index._recent == {}
    shard = next((store.root / ".skystage" / "receipts").iterdir())
    whole = shard.read_bytes()
    with shard.open("ab") as file:
        file.write(whole.splitlines()[-1][:60])
    assert Store(store.root).released(ASSET)
    # Of a release whose own line was torn there is nothing.
    shard.write_bytes(whole[:-10])
    assert Store(store.root).released(ASSET) is None


# --------------------------------------------------------------------------------------------------
# What is not released


def test_a_file_that_is_not_the_one_of_its_receipt_is_kept_and_named(made, full):
    touched, lost = zips(made)[:2]
    os.utime(full.path(touched))
    full.path(lost).unlink()
    freed = release_plan(made, Store(full.root))
    assert (list(freed.kept), freed.absent) == ([touched.path], 1)
    assert "changed since it was staged" in str(freed.kept[touched.path])
    assert full.path(touched).exists()
    assert len(freed.released) == made.header.totals.assets - 2


def test_what_a_batch_shares_with_others_is_kept_unless_it_is_named(tmp_path, store, staged):
    orbit = Asset(key="orbit", path="s1/orbits/o.EOF", size=5)
    tile = Asset(key="dem", path="dem/t.tif", size=5)
    own = [Asset(key="data", path=f"asf/C/g{number}/f.bin", size=5) for number in range(4)]
    granules = [
        Granule(archive="asf", collection="C", id=f"g{n}", native_id="g", assets=(asset, orbit))
        for n, asset in enumerate(own)
    ]
    made = frozen(tmp_path / "p", granules, (Companion(id="dem", assets=(tile,)),))
    for asset in (orbit, tile, *own):
        staged(store, asset)
    batches = [{asset.path for asset in made.assets((number, 3))} for number in (1, 2, 3)]
    assert tile.path in batches[2]
    for number in (1, 2, 3):
        freed = release_plan(made, store, batch=(number, 3))
        assert freed.shared == len(batches[number - 1] & {orbit.path, tile.path})
        assert {one.receipt.path for one in freed.released} == batches[number - 1] - {orbit.path, tile.path}
    assert store.receipt(orbit)
    assert store.receipt(tile)
    assert len(release_plan(made, store, batch=(1, 3), keys=["orbit"]).released) == 1
    assert [one.receipt.path for one in release_plan(made, store).released] == [tile.path]


def test_an_orbit_that_only_one_batch_uses_goes_with_it(tmp_path, store, staged):
    orbit = Asset(key="orbit", path="s1/orbits/o.EOF", size=5)
    data = Asset(key="data", path="asf/C/g/f.bin", size=5)
    granule = Granule(archive="asf", collection="C", id="g", native_id="g", assets=(data, orbit))
    made = frozen(tmp_path / "p", [granule])
    for asset in (data, orbit):
        staged(store, asset)
    freed = release_plan(made, store, batch=(1, 1))
    assert (len(freed.released), freed.shared) == (2, 0)


def test_a_batch_or_a_key_that_is_not_there_is_refused_and_nothing_is_deleted(made, full):
    with pytest.raises(PlanError, match="no such batch"):
        release_plan(made, full, batch=(4, 3))
    with pytest.raises(PlanError, match="data, orbit"):
        release_plan(made, full, keys=["orbits"])
    assert release_plan(made, full, dry_run=True).bytes == made.header.totals.bytes


def test_a_dry_run_says_the_same_and_changes_nothing(made, full, tmp_path):
    full.link(zips(made)[0], tmp_path / "into")
    before = {path: path.stat().st_mtime_ns for path in full.root.rglob("*")}
    said = release_plan(made, Store(full.root, read_only=True), dry_run=True)
    assert {path: path.stat().st_mtime_ns for path in full.root.rglob("*")} == before
    done = release_plan(made, full)
    assert (said.bytes, said.linked, said.planned) == (done.bytes, done.linked, done.planned)
    assert len(said.released) == len(done.released)


def test_a_hard_link_keeps_its_bytes_and_frees_none(made, full, tmp_path):
    asset = zips(made)[0]
    linked = full.link(asset, tmp_path / "into")
    freed = release_plan(made, full)
    assert (freed.linked, freed.bytes) == (1, made.header.totals.bytes - asset.size)
    assert linked.stat().st_size == asset.size


def test_where_the_release_cannot_be_recorded_nothing_is_deleted(made, full, monkeypatch):
    def fail(fd, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        with pytest.raises(StoreError, match="make room"):
            release_plan(made, full)
    assert all(Store(full.root).receipt(asset) for asset in made.assets())


def test_the_record_is_durable_before_the_first_file_goes(made, full, monkeypatch):
    calls: list[str] = []
    real_sync, real_unlink = os.fsync, os.unlink

    def sync(fd):
        calls.append("sync")
        real_sync(fd)

    def unlink(path, **options):
        calls.append("unlink")
        real_unlink(path, **options)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "unlink", unlink)
    release_plan(made, full)
    assert calls == ["sync", "sync", *["unlink"] * made.header.totals.assets]


def test_one_file_that_cannot_be_deleted_costs_no_other(made, full, monkeypatch):
    asset = zips(made)[0]
    real = os.unlink

    def unlink(path, **options):
        if Path(path) == full.path(asset):
            raise PermissionError(errno.EACCES, "Permission denied")
        real(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", unlink)
        freed = release_plan(made, full)
    assert "Permission denied" in str(freed.kept[asset.path])
    assert len(freed.released) == made.header.totals.assets - 1
    # It has a record of a release and lies there: it is staged.
    assert Store(full.root).receipt(asset)
    assert len(release_plan(made, Store(full.root)).released) == 1


def test_a_release_can_be_stopped(made, full):
    stop = threading.Event()
    full.lock(next(made.assets())).acquire()
    stop.set()
    with pytest.raises(Stopped):
        release_plan(made, full, stop=stop)
    assert full.path(next(made.assets())).exists()


# --------------------------------------------------------------------------------------------------
# The same bytes again


def without_checksum(asset: Asset) -> Asset:
    """As an archive has it that gives none."""
    return replace(asset, checksums={}, path="asf/C/g/blind.bin")


def test_other_bytes_than_before_the_release_are_an_error_though_the_archive_gives_no_checksum(
    box, slc, store, tmp_path, impatient
):
    blind = without_checksum(slc)
    made = small(tmp_path, blind)
    first = fetch_asset(blind, store, Access())
    release_plan(made, store)
    box.set_faults([{"match": {"host": BYTES}, "content": "other"}])
    outcome = fetch_plan(made, Store(store.root), Access(), released=True)
    error = outcome.failures[blind.path]
    assert isinstance(error, Drifted)
    assert first.digests["sha256"] in str(error)
    assert "has changed" in str(error)
    assert not error.transient
    assert not store.path(blind).exists()
    assert not any((store.root / ".skystage" / "parts").iterdir())
    box.set_faults([])
    outcome = fetch_plan(made, Store(store.root), Access(), released=True)
    assert outcome.receipts[0].digests == first.digests


def test_a_file_that_is_adopted_again_must_be_the_same_too(tmp_path, store):
    from skystage.adopt import adopt_folder

    asset = Asset(key="data", path="asf/C/g/f.EOF", size=4)
    made = small(tmp_path, asset)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "f.EOF").write_bytes(b"<a/>")
    adopt_folder(made, tmp_path / "old", store)
    release_plan(made, store)
    (tmp_path / "old" / "f.EOF").write_bytes(b"<b/>")
    ((_, error),) = adopt_folder(made, tmp_path / "old", store).wrong.values()
    assert isinstance(error, Drifted)
    (tmp_path / "old" / "f.EOF").write_bytes(b"<a/>")
    assert len(adopt_folder(made, tmp_path / "old", store).receipts) == 1
    assert store.receipt(asset)


# --------------------------------------------------------------------------------------------------
# Others at the same time


def test_what_another_process_has_staged_since_is_released_too(tmp_path, store, staged):
    early = Store(store.root)
    staged(store)
    assert len(release_plan(small(tmp_path, ASSET), early).released) == 1


def test_a_file_that_was_staged_again_meanwhile_stays(made, full, monkeypatch):
    asset = next(made.assets())
    other = Store(full.root)
    real = Store.announce

    def announce(self, releases):
        real(self, releases)
        release_plan(made, other, keys=[asset.key])
        fetch_asset(asset, other, Access())

    first = True

    def once(self, releases):
        nonlocal first
        if first:
            first = False
            announce(self, releases)
        else:
            real(self, releases)

    monkeypatch.setattr(Store, "announce", once)
    freed = release_plan(made, full)
    assert list(freed.kept) == [asset.path]
    assert "staged again meanwhile" in str(freed.kept[asset.path])
    assert freed.already == len([one for one in made.assets() if one.key == asset.key]) - 1
    assert Store(full.root).receipt(asset)


def test_a_file_is_published_though_its_empty_folder_goes_at_that_moment(store, staged, monkeypatch):
    real, calls = os.replace, []

    def swept(old, new, **options):
        if Path(new) == store.path(ASSET):
            calls.append(new)
            if len(calls) < 3:
                Path(new).parent.rmdir()
        real(old, new, **options)

    monkeypatch.setattr(os, "replace", swept)
    assert staged(store)
    assert len(calls) == 3
    assert store.receipt(ASSET)


def test_a_folder_that_cannot_be_made_is_still_an_error(store, staged):
    (store.root / "asf").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        staged(store)


def test_fetch_and_release_at_once_end_in_no_wrong_state(box, made, full):
    base = [sys.executable, "-m", "skystage.cli"]
    over = [str(made.path), "--store", str(full.root), "--json"]
    for _ in range(4):
        running = [
            subprocess.Popen(
                [*base, command, *over, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for command, more in (
                ("release", []),
                ("fetch", ["--released"]),
                ("release", []),
                ("fetch", ["--released", "--jobs", "2"]),
            )
        ]
        ended = [process.communicate(timeout=120) for process in running]
        for (said, complained), process in zip(ended, running, strict=True):
            assert "Traceback" not in complained
            result = json.loads(said)
            if "kept" in result:
                assert all(re.search("meanwhile|verified", one["message"]) for one in result["kept"])
            else:
                assert (process.returncode, result["failed"]) == (0, [])
        look = Store(full.root, read_only=True)
        for asset in made.assets():
            there = look.path(asset).exists()
            assert there == (look.receipt(asset) is not None), asset.path
            assert there == (look.released(asset) is None), asset.path
    assert fetch_plan(made, Store(full.root), Access(), released=True).failures == {}
    assert cli.run(["verify", str(made.path), "--store", str(full.root), "--deep"]) == 0


# --------------------------------------------------------------------------------------------------
# The commands


def test_the_commands_tell_released_from_missing(box, made, full, tmp_path, run):
    store, items = full.root, tmp_path / "items.json"
    count = made.header.totals.assets
    code, out, err = run("release", made.path, "--store", store, "--asset", "data", "--dry-run", "--json")
    assert (code, json.loads(out)["released"]) == (0, 6)
    assert "to release 6 of 6" in err
    code, out, err = run("release", made.path, "--store", store, "--asset", "data", "--json")
    said = json.loads(out)
    size = sum(asset.size for asset in zips(made))
    assert (code, said["released"], said["bytes"], said["kept"]) == (0, 6, size, [])
    assert "released 6 of 6" in err
    code, out, err = run("verify", made.path, "--store", store, "--json")
    said = json.loads(out)
    assert (code, said["ok"], len(said["released"]), said["missing"]) == (0, count - 6, 6, [])
    assert "6 released" in err
    assert run("verify", made.path, "--store", store, "--deep")[1].count("released ") == 6
    code, out, err = run("fetch", made.path, "--store", store, "--json")
    said = json.loads(out)
    assert (code, said["planned"], said["staged"], said["released"]) == (0, count, count - 6, 6)
    assert f"({count - 6} already), 6 released, 0 B moved" in err
    code, out, _ = run("fetch", made.path, "--store", store, "--dry-run", "--json")
    assert json.loads(out) == {
        "planned": count,
        "already": count - 6,
        "released": 6,
        "missing": 0,
        "bytes": 0,
    }
    code, out, _ = run("fetch", made.path, "--store", store, "--released", "--offline", "--json")
    assert (code, len(json.loads(out)["failed"])) == (4, 6)
    code, out, err = run("manifest", made.path, "--store", store, "-o", items, "--json")
    assert (code, json.loads(out)["released"], json.loads(out)["missing"]) == (0, 6, 0)
    assert "lead to the archive" in err
    assert box.requests() == []
    # A file that is lost stands beside released ones: it alone is fetched.
    lost = next(asset for asset in made.assets() if asset.key == "orbit")
    full.path(lost).unlink()
    code, out, _ = run("fetch", made.path, "--store", store, "--into", tmp_path / "into", "--json")
    said = json.loads(out)
    assert (code, said["staged"], said["already"], said["released"]) == (0, count - 6, count - 7, 6)
    assert len([path for path in (tmp_path / "into").rglob("*") if path.is_file()]) == count - 6
    code, out, _ = run("fetch", made.path, "--store", store, "--released", "--json")
    assert (code, json.loads(out)["staged"], json.loads(out)["released"]) == (0, count, 0)


def test_what_stays_is_said(made, full, tmp_path, run):
    touched = zips(made)[0]
    full.link(zips(made)[-1], tmp_path / "into")
    os.utime(full.path(touched))
    code, out, err = run("release", made.path, "--store", full.root, "--batch", "1/1", "--json")
    said = json.loads(out)
    assert (code, said["linked"]) == (4, 1)
    assert [one["asset"] for one in said["kept"]] == [touched.path]
    assert f"kept     {touched.path}" in err
    assert "another name" in err
    code, _, err = run("release", made.path, "--store", full.root, "--batch", "1/6")
    assert code == 4


def test_a_shared_orbit_that_stays_is_said(tmp_path, store, staged, run):
    orbit = Asset(key="orbit", path="s1/o.EOF", size=5)
    granules = [
        Granule(archive="asf", collection="C", id=name, native_id=name, assets=(orbit,)) for name in "gh"
    ]
    made = frozen(tmp_path / "p", granules)
    staged(store, orbit)
    code, _, err = run("release", made.path, "--store", store.root, "--batch", "1/2")
    assert code == 0
    assert "1 belong to other batches too: kept" in err


def test_the_manifest_keeps_what_is_released_with_its_proof_and_where_to_have_it(made, full, tmp_path):
    import pystac

    items = tmp_path / "items.json"
    manifest.write(made, full, items)
    before = {one["id"]: one["assets"]["data"] for one in json.loads(items.read_text())["features"]}
    freed = release_plan(made, full, keys=["data"])
    written = manifest.write(made, Store(full.root), items)
    assert (written.released, written.missing, written.assets) == (6, 0, made.header.totals.assets)
    features = json.loads(items.read_text())["features"]
    assert len(features) == 6
    for item in features:
        asset, old = item["assets"]["data"], before[item["id"]]
        assert asset["href"] == old["alternate"]["source-1"]["href"]
        assert {**asset, "href": old["href"]} == {**old, "skystage:released": asset["skystage:released"]}
        assert pystac.Item.from_dict(item).assets["data"].href.startswith("https://")
    times = {one.to_json()["released"] for one in freed.released}
    assert {item["assets"]["data"]["skystage:released"] for item in features} == times
    assert ".zip" not in items.with_name("checksums.txt").read_text()


def test_a_release_of_an_asset_without_a_source_has_an_href_too(tmp_path, store, staged):
    staged(store)
    made = small(tmp_path, ASSET)
    release_plan(made, store)
    manifest.write(made, store, tmp_path / "items.json")
    (item,) = json.loads((tmp_path / "items.json").read_text())["features"]
    assert item["assets"]["data"]["href"] == ASSET.path


def test_confirming_what_is_released_loads_next_to_nothing(made, full):
    release_plan(made, full)
    for command in ("fetch", "verify"):
        code = (
            f"import sys; sys.argv[1:] = ['{command}', {str(made.path)!r}, '--store', {str(full.root)!r}]\n"
            "from skystage import cli\ntry:\n    cli.main()\nexcept SystemExit as end: assert not end.code\n"
            "print(*sorted(sys.modules))"
        )
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert not {"skystage.model", "skystage.store", "dataclasses", "shutil"} & set(
            ended.stdout.splitlines()[-1].split()
        )


def test_the_page_on_disk_does_what_it_says(box, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "disk.md").read_text()
    query = re.search(r"^```yaml\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "query.yaml").write_text(query[1])
    made = build(read(tmp_path / "query.yaml"), tmp_path / "first.ndjson", Access())
    old = Store(tmp_path / "OLD")
    fetch_all(zips(made)[:2], old, Access()).raise_for_failures()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    adopting, releasing = re.findall(r"^```console\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    said = []
    for line in (adopting + releasing).splitlines():
        command = shlex.split(line.removeprefix("$ ").partition("#")[0])
        ended = subprocess.run(
            [*command, "--json"], env=environment, check=False, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr
        said.append(json.loads(ended.stdout))
    _, adopted, fetched, _, dry, freed, nothing, back = said
    assert (adopted["adopted"], fetched["already"]) == (2, 2)
    assert dry["released"] == freed["released"] == nothing["released"] > 0
    assert (nothing["requests"], back["released"]) == (0, 0)
    (program,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert "0 adopted, 0 wrong, 0 not found" in ended.stdout
    assert f"{len(zips(made))} released" in ended.stdout
