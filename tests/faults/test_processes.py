"""What happens to processes, disks and clocks: signals in mid-file, no room, no store, two machines."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from skystage import archives, batch, errors, events, plan
from skystage.batch import fetch_all
from skystage.fetch import fetch_asset
from skystage.limits import Limits
from skystage.model import Query
from skystage.plan import Plan
from skystage.store import Store
from skystage.transport import Access

CDN = "dy4owt9f80bz7.cloudfront.net"
GATE = "datapool.asf.alaska.edu"
SIZE = 17_000_000
NODE = Path(__file__).with_name("node.py")
DAY = 86_400.0


def slcs_of(access) -> list:
    query = Query(archive="asf", criteria={"relative_orbit": [35], "processing_level": ["SLC"]})
    return sorted(archives.get("asf").search(query, access), key=lambda granule: granule.id)


def frozen(path: Path, granules) -> Plan:
    return plan.write(
        path, query=Query(archive="asf"), granules=granules, hits=len(granules), received=len(granules)
    )


def right(asset, root: Path) -> bool:
    path = root / asset.path
    digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    return digest == asset.checksums["md5"]


def held(store: Path, assets) -> int:
    looked_at = Store(store, read_only=True)
    return sum(looked_at.part(asset).read().held for asset in assets)


def command(made: Plan, store: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "skystage.cli", "fetch", str(made.path), "--store", str(store), *more]


def when_under_way(running: subprocess.Popen, store: Path, assets, least: int) -> None:
    """Wait until so many bytes are there, and more than one connection brings them."""
    parts = store / ".skystage" / "parts"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and running.poll() is None:
        if held(store, assets) >= least and list(parts.glob("*.map")):
            return
        time.sleep(0.02)
    pytest.fail(f"not under way: {running.poll()}")


# --------------------------------------------------------------------------------------------------
# Signals


@pytest.fixture
def big(open_box, access, tmp_path):
    """A box of big files over a line that makes sharing worth while, and a plan of one."""
    box = open_box(payload_size=SIZE)
    granules = slcs_of(access)[:1]
    made = frozen(tmp_path / "plan.ndjson", granules)
    box.set_faults([{"match": {"host": CDN}, "bandwidth": 4_000_000}])
    return box, made, granules[0].asset("data")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_signal_in_a_shared_transfer_keeps_what_has_come(big, store, number):
    box, made, asset = big
    running = subprocess.Popen(
        command(made, store.root), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    when_under_way(running, store.root, [asset], 2_000_000)
    running.send_signal(number)
    said, complained = running.communicate(timeout=20)
    assert running.returncode == 130
    assert "Traceback" not in said + complained
    assert "run it again" in complained
    there = held(store.root, [asset])
    assert there >= 2_000_000
    assert not store.path(asset).exists()
    box.set_faults([])
    ended = subprocess.run(
        command(made, store.root, "--json"), capture_output=True, text=True, check=True, timeout=60
    )
    result = json.loads(ended.stdout)
    assert (result["staged"], result["bytes_moved"]) == (1, asset.size - there)
    assert right(asset, store.root)


# In the sandbox: where a client dies between CONNECT and the handshake, Python leaves the socket unclosed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_kills_at_random_moments_of_a_shared_transfer_lose_next_to_nothing(big, store):
    box, made, asset = big
    moments = random.Random(3)  # noqa: S311
    kills = 0
    for _ in range(4):
        before = held(store.root, [asset])
        running = subprocess.Popen(
            command(made, store.root), stderr=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + 30
        least = before + moments.randrange(1, 2_000_000)
        while running.poll() is None and held(store.root, [asset]) < least and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(running.pid, signal.SIGKILL)
        kills += running.wait() == -signal.SIGKILL
        there = held(store.root, [asset])
        assert there >= least or store.path(asset).exists()
        assert not store.path(asset).exists() or right(asset, store.root)
    assert kills == 4
    box.set_faults([])
    ended = subprocess.run(
        command(made, store.root, "--json"), capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(ended.stdout)["bytes_moved"] == asset.size - there
    assert right(asset, store.root)


# --------------------------------------------------------------------------------------------------
# Disks


def fill(folder: Path, leave: int) -> Path:
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(max(0, shutil.disk_usage(folder).free - leave)))
    return ballast


@pytest.fixture
def roomy(monkeypatch) -> None:
    """The look at the disk before the first byte finds room, which somebody else takes then."""
    monkeypatch.setattr(batch, "check_disk", lambda assets, store: None)


def test_a_disk_that_fills_up_in_mid_file_is_one_line_and_the_next_run_continues(
    box, slcs, disk, access, roomy
):
    assets = [granule.asset("data") for granule in slcs]
    store = Store(disk / "store")
    ballast = fill(disk, 200_000)  # room for some of fifteen files of 50 kB
    outcome = fetch_all(assets, store, access, jobs=1)
    assert outcome.receipts
    assert {type(error) for error in outcome.failures.values()} <= {errors.StoreError}
    assert all("No space left" in error.message for error in outcome.failures.values())
    assert all(right(asset, store.root) for asset in assets if store.path(asset).exists())
    assert len(outcome.receipts) + len(outcome.failures) == len(assets)
    ballast.unlink()
    again = fetch_all(assets, Store(store.root), Access(), jobs=2)
    assert again.failures == {}
    assert all(right(asset, store.root) for asset in assets)


def test_no_room_to_unpack_a_member_is_one_line_and_nothing_is_left(box, slc, disk, access, roomy):
    scene = slc.name.removesuffix(".zip")
    source = replace(slc.sources[0], member=f"{scene}.SAFE/manifest.safe")
    member = replace(slc, key="m", path="a/c/g/m.xml", size=None, checksums={}, sources=(source,))
    store = Store(disk / "store")
    fetch_asset(member, Store(disk / "probe"), access)
    shutil.rmtree(disk / "probe")
    outcomes = set()
    for room in range(0, 40_000, 4096):
        ballast = fill(disk, room)
        outcome = fetch_all([member], store, access, jobs=1)
        ballast.unlink()
        if outcome.failures:
            outcomes.add(type(outcome.failures[member.path]))
            assert not store.path(member).exists()
        else:
            break
    assert outcomes == {errors.StoreError}
    assert fetch_all([member], Store(store.root), access).failures == {}
    assert not list((store.root / ".skystage" / "parts").iterdir())


def test_no_room_for_a_map_leaves_the_transfer_to_one_connection(big, store, access, monkeypatch):
    box, _, asset = big
    box.set_faults([{"match": {"host": CDN}, "bandwidth": 12_000_000}])

    def full(self, *arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("skystage.parts.PartFile.split", full)
    assert fetch_all([asset], store, access, jobs=4).failures == {}
    assert right(asset, store.root)


def test_no_room_for_a_receipt_is_an_error_and_the_next_run_adopts_the_file(
    box, slc, store, access, monkeypatch
):
    with monkeypatch.context() as patch:

        def full(self, receipts):
            raise OSError(28, "No space left on device")

        patch.setattr(Store, "record", full)
        with pytest.raises(errors.StoreError, match="No space left"):
            fetch_asset(slc, store, access)
    assert right(slc, store.root)
    box.clear()
    assert fetch_asset(slc, Store(store.root), access).verified == "md5"
    assert box.requests() == []


def test_a_store_that_cannot_be_written_is_found_before_the_first_request(box, slcs, disk, tmp_path):
    made = frozen(tmp_path / "plan.ndjson", slcs[:2])
    Store(disk / "store")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    box.clear()
    ended = subprocess.run(
        command(made, disk / "store"), capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 1
    assert "Read-only file system" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert box.requests() == []


def test_a_staged_plan_on_a_read_only_store_is_verified_all_the_same(box, slcs, disk, tmp_path):
    made = frozen(tmp_path / "plan.ndjson", slcs[:2])
    subprocess.run(command(made, tmp_path / "store"), capture_output=True, check=True, timeout=60)
    shutil.copytree(tmp_path / "store", disk / "store")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    box.clear()
    ended = subprocess.run(
        command(made, disk / "store"), capture_output=True, text=True, check=False, timeout=60
    )
    assert (ended.returncode, box.requests()) == (0, [])


def test_a_store_that_is_deleted_in_mid_run_is_an_error_for_each_asset(box, slcs, store, access):
    assets = [granule.asset("data") for granule in slcs]
    box.set_faults([{"match": {"host": CDN}, "bandwidth": 400_000}])

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Progressed) and store.root.exists():
            shutil.rmtree(store.root)

    outcome = fetch_all(assets, store, access, jobs=2, listen=listen)
    assert len(outcome.receipts) + len(outcome.failures) == len(assets)
    assert outcome.failures
    assert all(isinstance(error, errors.StoreError) for error in outcome.failures.values())
    assert all("\n" not in str(error) for error in outcome.failures.values())
    assert all(right(asset, store.root) for asset in assets if (store.root / asset.path).exists())
    box.set_faults([])
    again = fetch_all(assets, Store(store.root), Access(), jobs=2)
    assert again.failures == {}
    assert all(right(asset, store.root) for asset in assets)


# --------------------------------------------------------------------------------------------------
# Clocks


@pytest.fixture
def clock(monkeypatch):
    """The time of day, which jumps when told to; durations are not touched."""
    real, ahead = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + ahead[0])
    return ahead


@pytest.mark.parametrize("jump", [-30 * DAY, -DAY, DAY, 30 * DAY], ids=lambda jump: f"{jump / DAY:+.0f} days")
@pytest.mark.parametrize("when", ["in the file", "after a refusal"])
def test_a_clock_that_jumps_costs_neither_the_file_nor_an_endless_wait(
    box, slcs, store, access, impatient, clock, jump, when
):
    rules = [{"match": {"host": CDN, "times": 1}, "cut": 30_000}]
    if when == "after a refusal":
        rules = [{"match": {"host": CDN, "times": 1}, "status": 429, "retry_after": 1}]
    box.set_faults(rules)

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Retrying):
            clock[0] = jump

    assets = [granule.asset("data") for granule in slcs[:3]]
    begun = time.monotonic()
    outcome = fetch_all(assets, store, access, jobs=2, listen=listen)
    assert outcome.failures == {}
    assert time.monotonic() - begun < 15
    assert all(right(asset, store.root) for asset in assets)
    box.clear()
    assert fetch_all(assets, Store(store.root), Access()).already == 3
    assert box.requests() == []


@pytest.mark.parametrize("jump", [-DAY, DAY], ids=["back", "forward"])
def test_a_token_whose_life_a_clock_misjudges_is_renewed_when_it_is_refused(box, slcs, store, clock, jump):
    access = Access()
    fetch_asset(slcs[0].asset("data"), store, access)
    clock[0] = jump
    box.accounts.expire_all()
    assert fetch_asset(slcs[1].asset("data"), store, access).verified == "md5"


def test_a_long_back_off_that_was_written_before_the_clock_went_back_is_void(
    box, slc, store, clock, tmp_path
):
    limits = tmp_path / "shared"
    box.set_faults([{"match": {"host": CDN, "times": 1}, "status": 429, "retry_after": 3600}])
    with pytest.raises(errors.Throttled):
        fetch_asset(slc, store, Access(limits=Limits({}, limits)))
    with pytest.raises(errors.Throttled):
        fetch_asset(slc, store, Access(limits=Limits({}, limits)))
    clock[0] = -DAY
    assert fetch_asset(slc, store, Access(limits=Limits({}, limits))).verified == "md5"


# --------------------------------------------------------------------------------------------------
# Machines


def test_two_machines_on_one_store_stage_each_asset_once(box, slcs, access, tmp_path):
    made = frozen(tmp_path / "plan.ndjson", slcs)
    store = tmp_path / "store"
    box.set_faults([{"match": {"host": CDN}, "latency": 0.02}])
    box.clear()
    running = []
    for node in ("node-1", "node-2"):
        for _ in range(2):
            environment = {**os.environ, "SKYSTAGE_STATE": str(tmp_path / f"state-{node}")}
            arguments = ["fetch", str(made.path), "--store", str(store), "--json"]
            running.append(
                subprocess.Popen(
                    [sys.executable, str(NODE), node, *arguments],
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
    ended = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0] * 4, ended
    results = [json.loads(said) for said, _ in ended]
    assets = list(made.assets())
    assert [result["staged"] for result in results] == [len(assets)] * 4
    assert sum(result["bytes_moved"] for result in results) == made.header.totals.bytes
    asked = [request["path"] for request in box.requests() if request["host"] == CDN]
    assert len(asked) == len(set(asked)) == len(assets)
    assert all(right(asset, store) for asset in assets)
    # A third machine, which fetched none of it, finds every proof.
    third = Store(store, read_only=True)
    receipts = [third.receipt(asset) for asset in assets]
    assert all(receipts)
    shards = [path.name for path in (store / ".skystage" / "receipts").glob("*.ndjson")]
    assert all(name.startswith(("node-1-", "node-2-")) for name in shards)


def test_what_one_machine_began_another_continues_if_a_checksum_proves_it(box, slcs, tmp_path):
    made = frozen(tmp_path / "plan.ndjson", slcs[:1])
    asset = next(made.assets())
    store = tmp_path / "store"
    arguments = ["fetch", str(made.path), "--store", str(store), "--json"]
    box.set_faults(
        [
            {"match": {"host": CDN, "times": 1}, "cut": 30_000},
            {"match": {"host": GATE, "after": 1}, "status": 404},
        ]
    )
    for node, code in (("node-1", 4), ("node-2", 0)):
        environment = {**os.environ, "SKYSTAGE_STATE": str(tmp_path / f"state-{node}")}
        ended = subprocess.run(
            [sys.executable, str(NODE), node, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert ended.returncode == code, ended.stderr
        box.set_faults([])
    assert json.loads(ended.stdout)["bytes_moved"] == asset.size - 30_000
    assert right(asset, store)
