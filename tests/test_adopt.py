"""What other tools left: found by name, proved as a fetch would, linked in; nothing of theirs is changed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from skystage import adopt, cli, errors, events, plan
from skystage.adopt import adopt_folder
from skystage.archives import orbits
from skystage.batch import fetch_all
from skystage.errors import SkystageError, Stopped, StoreError
from skystage.fetch import fetch_asset
from skystage.model import Asset, Granule, Query
from skystage.sandbox.payloads import repacked_zip
from skystage.store import Store
from skystage.transport import Access


def frozen(path: Path, granules: list[Granule]) -> plan.Plan:
    ordered = sorted(granules, key=lambda one: (one.collection, one.id))
    count = len(ordered)
    return plan.write(path, query=Query(archive="asf"), granules=ordered, hits=count, received=count)


@pytest.fixture
def made(slcs, access, tmp_path) -> plan.Plan:
    """A plan of three SLCs and their orbits."""
    return frozen(tmp_path / "plan.ndjson", orbits.find(slcs[:3], True, access).granules)


@pytest.fixture
def old(box, made, tmp_path) -> Path:
    """The files of the plan as other tools would have left them: SLCs by stack, orbits beside them."""
    source, folder = Store(tmp_path / "reference"), tmp_path / "old"
    fetch_all(made.assets(), source, Access()).raise_for_failures()
    for asset in made.assets():
        place = folder / ("orbits" if asset.key == "orbit" else "data/p35_f122") / asset.name
        place.parent.mkdir(parents=True, exist_ok=True)
        source.path(asset).replace(place)
    box.clear()
    return folder


def state(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in folder.rglob("*")
        if path.is_file()
    }


def zip_of(made: plan.Plan, number: int = 0) -> Asset:
    return [asset for asset in made.assets() if asset.key == "data"][number]


def place_of(old: Path, asset: Asset) -> Path:
    (found,) = old.rglob(asset.name)
    return found


def no_parts(store: Store) -> bool:
    return not any((store.root / ".skystage" / "parts").iterdir())


def test_what_lies_there_and_is_right_needs_no_request_any_more(box, made, old, store):
    before = state(old)
    found = adopt_folder(made, old, store)
    count = made.header.totals.assets
    assert (found.planned, len(found.receipts), found.wrong, found.not_found) == (count, count, {}, [])
    assert found.bytes == made.header.totals.bytes
    assert [receipt.path for receipt in found.receipts] == [asset.path for asset in made.assets()]
    assert state(old) == before
    outcome = fetch_all(made.assets(), Store(store.root), Access())
    assert (outcome.already, outcome.requests, box.requests()) == (count, 0, [])
    again = adopt_folder(made, old, Store(store.root))
    assert (again.already, again.receipts) == (count, [])
    assert no_parts(store)


def test_a_product_that_another_archive_zipped_is_the_product(box, made, old, store):
    """From the Copernicus Data Space or its forerunner: other bytes, every file as the name proves."""
    asset = zip_of(made)
    other = repacked_zip(asset.name)
    place_of(old, asset).write_bytes(other.read(0, other.size))
    found = adopt_folder(made, old, store)
    assert found.wrong == {}
    # The orbits by the strongest checksum that the Copernicus Data Space gives and that can be taken here.
    assert {receipt.verified for receipt in found.receipts} - {"blake3"} == {"md5", "manifest"}
    outcome = fetch_all(made.assets(), Store(store.root), Access())
    assert (outcome.already, outcome.requests) == (made.header.totals.assets, 0)


def test_a_receipt_says_the_proof_and_the_name_and_no_folder(made, old, store):
    (receipt, *_) = adopt_folder(made, old, store).receipts
    assert (receipt.verified, receipt.attempts, receipt.bytes_moved) == ("md5", 0, 0)
    assert receipt.source == f"file:{receipt.path.rpartition('/')[2]}"
    shards = "".join(shard.read_text() for shard in (store.root / ".skystage" / "receipts").iterdir())
    assert str(old.parent) not in shards


def test_a_link_is_the_same_file_and_a_copy_shares_nothing(made, old, store, tmp_path):
    asset = zip_of(made)
    adopt_folder(made, old, store)
    assert store.path(asset).samefile(place_of(old, asset))
    other = Store(tmp_path / "other")
    adopt_folder(made, old, other, way="copy")
    assert not other.path(asset).samefile(place_of(old, asset))
    assert other.receipt(asset)
    with place_of(old, asset).open("ab") as file:
        file.write(b"more")
    assert store.receipt(asset) is None, "who writes into the file voids the receipt"
    assert other.receipt(asset)


def test_a_file_that_was_written_into_after_it_was_linked_is_fetched_anew_and_left_alone(
    box, made, old, store
):
    asset = zip_of(made)
    adopt_folder(made, old, store)
    with place_of(old, asset).open("ab") as file:
        file.write(b"more")
    before = state(old)
    outcome = fetch_all(made.assets(), Store(store.root), Access())
    assert (outcome.failures, outcome.already) == ({}, made.header.totals.assets - 1)
    assert state(old) == before


def test_moved_files_are_gone_from_the_folder(made, old, store):
    found = adopt_folder(made, old, store, way="move")
    assert len(found.receipts) == made.header.totals.assets
    assert state(old) == {}
    assert all(store.receipt(asset) for asset in made.assets())


def test_where_links_are_impossible_the_file_is_copied(made, old, store, monkeypatch):
    def refuse(source, target):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    asset = zip_of(made)
    adopt_folder(made, old, store)
    assert store.receipt(asset)
    assert not store.path(asset).samefile(place_of(old, asset))


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda content: content[:30_000], errors.SizeMismatch),
        (lambda content: content[:1000] + b"\0" + content[1001:], errors.ChecksumMismatch),
        (lambda content: b"", errors.SizeMismatch),
        (lambda content: b"\0" * len(content), errors.ChecksumMismatch),
    ],
    ids=["cut", "a byte", "empty", "preallocated"],
)
def test_a_file_of_the_right_name_that_is_not_right_is_named_and_left_where_it_is(
    box, made, old, store, damage, error
):
    asset = zip_of(made)
    file = place_of(old, asset)
    file.write_bytes(damage(file.read_bytes()))
    before = state(old)
    found = adopt_folder(made, old, store)
    ((path, (name, said)),) = found.wrong.items()
    assert (path, name, type(said)) == (asset.path, f"data/p35_f122/{asset.name}", error)
    assert len(found.receipts) == made.header.totals.assets - 1
    assert state(old) == before
    assert not store.path(asset).exists()
    assert no_parts(store)
    assert fetch_all(made.assets(), Store(store.root), Access()).failures == {}
    assert state(old) == before


def test_of_several_files_of_one_name_the_right_one_counts(made, old, store):
    asset = zip_of(made)
    content = place_of(old, asset).read_bytes()
    for folder, bad in (("a", content[:100]), ("b", bytes(len(content)))):
        (old / folder).mkdir()
        (old / folder / asset.name).write_bytes(bad)
    found = adopt_folder(made, old, store)
    assert (found.wrong, found.not_found) == ({}, [])
    assert store.receipt(asset)


@pytest.mark.parametrize("name", ["{}.1", "{}.part", "{} (1)", "{stem} (2).zip"])
def test_a_name_that_only_begins_like_the_assets_counts_if_the_checksum_agrees(made, old, store, name):
    asset = zip_of(made)
    file = place_of(old, asset)
    content = file.read_bytes()
    other = file.with_name(name.format(asset.name, stem=Path(asset.name).stem))
    file.unlink()
    other.write_bytes(content[:-1])
    found = adopt_folder(made, old, store)
    assert (found.not_found, found.wrong) == ([asset.path], {}), "a part of it is just not the file"
    other.write_bytes(content)
    assert adopt_folder(made, old, store).not_found == []
    assert store.receipt(asset).source == f"file:{other.name}"


def test_links_are_followed_and_a_circle_of_folders_ends(made, old, store, tmp_path):
    asset, other = zip_of(made), zip_of(made, 1)
    place_of(old, asset).rename(tmp_path / "elsewhere.zip")
    (old / "data" / asset.name).symlink_to(tmp_path / "elsewhere.zip")
    (tmp_path / "scratch").mkdir()
    place_of(old, other).rename(tmp_path / "scratch" / other.name)
    (old / "scratch").symlink_to(tmp_path / "scratch")
    (old / "round").symlink_to(old)
    (old / "nowhere.zip").symlink_to(tmp_path / "none")
    assert adopt_folder(made, old, store).not_found == []
    assert store.path(asset).samefile(tmp_path / "elsewhere.zip")
    assert not store.path(asset).is_symlink()


def test_a_pipe_is_not_waited_at(made, old, store):
    asset = zip_of(made)
    place_of(old, asset).unlink()
    os.mkfifo(old / asset.name)
    assert asset.path in adopt_folder(made, old, store).not_found


def test_a_link_to_nowhere_is_a_file_that_is_wrong(made, old, store):
    asset = zip_of(made)
    place_of(old, asset).unlink()
    (old / asset.name).symlink_to(old / "none")
    found = adopt_folder(made, old, store)
    assert "No such file" in str(found.wrong[asset.path][1])


def test_unpacked_products_are_said_and_not_adopted(made, old, store):
    asset = zip_of(made)
    place_of(old, asset).unlink()
    (old / asset.name.replace(".zip", ".SAFE") / "measurement").mkdir(parents=True)
    (old / "S1A_other.SAFE").mkdir()
    found = adopt_folder(made, old, store)
    assert found.unpacked == [asset.name.replace(".zip", ".SAFE")]
    assert found.not_found == [asset.path]


def test_a_store_below_the_folder_is_not_looked_into(made, old):
    store = Store(old / "store")
    lost = zip_of(made)
    adopt_folder(made, old, store)
    os.utime(store.path(lost))
    place_of(old / "data", lost).unlink()
    assert adopt_folder(made, old, Store(store.root)).not_found == [lost.path]


def test_what_fetch_linked_out_of_a_store_can_be_adopted_by_it_again(made, old, store, tmp_path):
    asset = zip_of(made)
    adopt_folder(made, old, store)
    store.link(asset, tmp_path / "into")
    os.utime(store.path(asset))
    found = adopt_folder(made, tmp_path / "into", store)
    assert [receipt.path for receipt in found.receipts] == [asset.path]
    assert store.receipt(asset)
    assert no_parts(store)


# --------------------------------------------------------------------------------------------------
# Without a checksum


def alone(tmp_path: Path, store: Store, name: str, content: bytes, **fields) -> adopt.Adopted:
    """One asset without a checksum, and a file of its name."""
    asset = Asset(key="data", path=f"asf/C/g/{name}", **fields)
    granule = Granule(archive="asf", collection="C", id="g", native_id="g", assets=(asset,))
    (tmp_path / "old").mkdir(exist_ok=True)
    (tmp_path / "old" / name).write_bytes(content)
    return adopt_folder(frozen(tmp_path / "p", [granule]), tmp_path / "old", store)


def test_without_a_checksum_size_and_structure_prove(tmp_path, store):
    (receipt,) = alone(tmp_path, store, "g.xml", b"<a/>", size=4).receipts
    assert receipt.verified == "size+structure"
    (receipt,) = alone(tmp_path, store, "o.EOF", b"<a/>").receipts
    assert receipt.verified == "size+structure"
    assert alone(tmp_path, store, "h.EOF", b"<a>").wrong
    assert alone(tmp_path, store, "i.fits", b"short", size=5).wrong


def test_what_nothing_says_to_be_whole_is_not_adopted(tmp_path, store):
    found = alone(tmp_path, store, "dem.tif", b"II*\0\x08\0\0\0" + bytes(100))
    ((_, error),) = found.wrong.values()
    assert "neither its size nor a checksum" in str(error)
    assert len(alone(tmp_path, store, "tile.tif", b"II*\0\x08\0\0\0" + bytes(100), size=108).receipts) == 1


def test_without_a_checksum_a_name_that_granules_share_is_nobodys(tmp_path, store):
    granules = []
    for name in ("g", "h"):
        asset = Asset(key="safe", path=f"asf/C/{name}/manifest.safe", size=4)
        granules.append(Granule(archive="asf", collection="C", id=name, native_id=name, assets=(asset,)))
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "manifest.safe").write_bytes(b"<a/>")
    made = frozen(tmp_path / "p", granules)
    assert len(adopt_folder(made, tmp_path / "old", store).not_found) == 2
    assert len(adopt_folder(made, tmp_path / "old", store, batch=(1, 2)).not_found) == 1
    digest = hashlib.md5(b"<a/>", usedforsecurity=False).hexdigest()
    proved = replace(granules[0], assets=(replace(granules[0].assets[0], checksums={"md5": digest}),))
    made = frozen(tmp_path / "p", [proved, granules[1]])
    (receipt,) = adopt_folder(made, tmp_path / "old", store).receipts
    assert receipt.path == "asf/C/g/manifest.safe"


# --------------------------------------------------------------------------------------------------
# Others at the same time


def test_a_file_that_another_tool_still_writes_is_not_adopted(made, old, store):
    asset = zip_of(made)
    file = place_of(old, asset)

    def write(event: events.Event) -> None:
        if isinstance(event, events.Progressed) and event.path == asset.path:
            os.utime(file)

    found = adopt_folder(made, old, store, listen=write)
    assert "changes while it is read" in str(found.wrong[asset.path][1])
    assert not store.path(asset).exists()
    assert no_parts(store)


def test_what_a_killed_adoption_left_is_never_written_into(box, made, old, store):
    """It is another name of the old file: a fetch that continued it would change that."""
    asset = zip_of(made)
    part = store.part(asset)
    os.link(place_of(old, asset), part.path)
    before = state(old)
    box.set_faults([{"match": {"host": "dy4owt9f80bz7.cloudfront.net", "times": 1}, "cut": 30_000}])
    assert fetch_asset(asset, store, Access()).verified == "md5"
    assert state(old) == before
    assert not store.path(asset).samefile(place_of(old, asset))
    assert no_parts(store)


def test_what_an_earlier_fetch_began_is_forgotten(box, made, old, store, impatient):
    asset = zip_of(made)
    box.set_faults([{"match": {"host": "dy4owt9f80bz7.cloudfront.net"}, "cut": 4000}])
    with pytest.raises(errors.TransferError):
        fetch_asset(asset, store, Access())
    assert not no_parts(store)
    adopt_folder(made, old, store)
    assert store.receipt(asset)
    assert no_parts(store)


def test_an_asset_that_somebody_brings_meanwhile_is_taken_as_it_is(made, old, store):
    asset = zip_of(made)
    other = Store(store.root)
    found: list[adopt.Adopted] = []
    with store.lock(asset):
        late = threading.Thread(target=lambda: found.append(adopt_folder(made, old, other, jobs=2)))
        late.start()
        receipt = None
        for path in old.rglob(asset.name):
            adoption = adopt._Adoption(store, None, "link", events.ignore, threading.Event())
            receipt = adoption._adopt(asset, path)
    late.join()
    assert receipt in found[0].receipts
    assert len(found[0].receipts) == made.header.totals.assets


def test_an_adoption_can_be_stopped(made, old, store):
    stop = threading.Event()
    with pytest.raises(Stopped):
        adopt_folder(made, old, store, jobs=1, listen=lambda event: stop.set(), stop=stop)
    assert sum(store.receipt(asset) is not None for asset in made.assets()) == 1
    assert len(adopt_folder(made, old, store).receipts) == made.header.totals.assets - 1


def test_a_store_that_cannot_be_written_ends_the_adoption(made, old, store, monkeypatch):
    def fail(self, receipts):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Store, "record", fail)
    before = state(old)
    with pytest.raises(StoreError, match="No space"):
        adopt_folder(made, old, store, way="move")
    assert set(before) == set(state(old)), "nothing is deleted that has no receipt"


def test_a_folder_that_is_not_there_is_one_line(made, store, tmp_path):
    with pytest.raises(SkystageError, match="no such folder"):
        adopt_folder(made, tmp_path / "none", store)


# --------------------------------------------------------------------------------------------------
# The command


@pytest.fixture
def run(capsys):
    def call(*arguments: object) -> tuple[int, str, str]:
        code = cli.run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_the_command_adopts_and_the_others_know_it(box, made, old, tmp_path, run):
    store, items = tmp_path / "s", tmp_path / "items.json"
    asset = zip_of(made)
    place_of(old, asset).unlink()
    code, out, err = run("adopt", made.path, old, "--store", store, "--json")
    said = json.loads(out)
    count = made.header.totals.assets
    assert (code, said["planned"], said["adopted"], said["wrong"]) == (0, count, count - 1, [])
    assert (said["already"], said["not_found"], said["unpacked"]) == (0, [asset.path], [])
    assert "1 not found" in err
    assert run("fetch", made.path, "--store", store)[0] == 0
    assert [request["path"].rpartition("/")[2] for request in box.requests()][-1] == asset.name
    assert run("verify", made.path, "--store", store, "--deep")[0] == 0
    assert run("manifest", made.path, "--store", store, "-o", items)[0] == 0
    assert items.with_name("checksums.txt").read_text().count("\n") == count


def test_damaged_files_are_exit_code_4_with_a_line_each(made, old, tmp_path, run):
    for number in (0, 1):
        os.truncate(place_of(old, zip_of(made, number)), 1000)
    code, out, err = run("adopt", made.path, old, "--store", tmp_path / "s", "--copy", "--json")
    wrong = json.loads(out)["wrong"]
    assert (code, [one["error"] for one in wrong]) == (4, ["SizeMismatch"] * 2)
    assert wrong[0]["file"].startswith("data/p35_f122/S1")
    lines = [line for line in err.splitlines() if line.startswith("wrong")]
    assert len(lines) == 2
    assert all("1,000 bytes, the plan says" in line for line in lines)


def test_an_unpacked_product_is_a_line(made, old, tmp_path, run):
    (old / zip_of(made).name.replace(".zip", ".SAFE")).mkdir()
    code, _, err = run("adopt", made.path, old, "--store", tmp_path / "s", "--move", "--asset", "data")
    assert code == 0
    assert "unpacked S1" in err
