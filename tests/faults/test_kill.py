"""Death at any instruction: what is left is right, and the next run ends with everything right."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

from skystage import archives, plan
from skystage.archives import orbits
from skystage.fetch import fetch_asset
from skystage.model import Asset, Query
from skystage.plan import Plan
from skystage.store import Store

DYING = Path(__file__).with_name("dying.py")
BYTES = "dy4owt9f80bz7.cloudfront.net"
ORBITS = "s1-orbits.s3.amazonaws.com"


def frozen(path: Path, granules, **query) -> Plan:
    ordered = sorted(granules, key=lambda one: (one.collection, one.id))
    count = len(ordered)
    return plan.write(path, query=Query(archive="asf"), granules=ordered, hits=count, received=count)


def right(asset, path: Path) -> bool:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == asset.checksums["md5"]


def test_death_before_and_after_every_call_that_changes_a_file(box, slcs, access, tmp_path):
    found = orbits.find(slcs[:2], True, access).granules
    made = frozen(tmp_path / "plan.ndjson", found)
    ended = subprocess.run(
        [sys.executable, str(DYING), str(made.path), str(tmp_path / "work")],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    result = json.loads(ended.stdout)
    assert result["problems"] == []
    assert result["died"] == result["points"] - 2  # each series ends with the run that nothing killed
    assert result["died"] > 120


STEP = int(os.environ.get("SKYSTAGE_STEP", "20"))
"""One death in so many calls; 1 for the hunt."""


def test_death_while_several_connections_bring_a_file_and_a_member(open_box, access, tmp_path):
    box = open_box(payload_size=150_000)
    query = Query(archive="asf", criteria={"relative_orbit": [35], "processing_level": ["SLC"]})
    granule = next(iter(archives.get("asf").search(query, access)))
    slc = granule.asset("data")
    reference = Store(tmp_path / "reference")
    fetch_asset(slc, reference, access)
    with zipfile.ZipFile(reference.path(slc)) as file:
        name = max(file.namelist(), key=lambda name: file.getinfo(name).file_size)
        digest = hashlib.md5(file.read(name), usedforsecurity=False).hexdigest()
    member = Asset(
        key="member",
        path=f"{slc.path.rpartition('/')[0]}/member",
        checksums={"md5": digest},
        sources=(replace(slc.sources[0], member=name),),
    )
    made = frozen(tmp_path / "plan.ndjson", [replace(granule, assets=(slc, member))])
    box.set_faults([{"match": {"host": BYTES}, "bandwidth": 2_000_000}])
    ended = subprocess.run(
        [sys.executable, str(DYING), str(made.path), str(tmp_path / "work"), "4", str(STEP)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60 + 6000 / STEP,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    result = json.loads(ended.stdout)
    assert result["problems"] == []
    assert result["died"] == result["points"] - 2 > 200 / STEP
    assert result["parted"] > result["died"] / 4  # often enough while there was a map


def test_twenty_kills_of_the_process_group_at_random_moments(open_box, access, tmp_path, recordings):
    box = open_box(catalogue=recordings)
    box.set_faults([{"match": {"host": BYTES}, "bandwidth": 200_000}])
    query = Query(archive="asf", criteria={"relative_orbit": [35], "processing_level": ["SLC"]})
    granules = list(archives.get("asf").search(query, access))[:120]
    made = frozen(tmp_path / "plan.ndjson", granules)
    store = tmp_path / "store"
    command = [sys.executable, "-m", "skystage.cli", "fetch", str(made.path), "--store", str(store), "--json"]
    moments = random.Random(20)  # noqa: S311
    partial = 0
    for _ in range(20):
        running = subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(moments.uniform(0.3, 1.2))
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        there = [asset for asset in made.assets() if (store / asset.path).exists()]
        assert all(right(asset, store / asset.path) for asset in there)
        partial += 0 < len(there) < len(granules)
    assert partial > 5
    box.set_faults([])
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(ended.stdout)
    assert (result["planned"], result["staged"], result["failed"]) == (len(granules), len(granules), [])
    assert all(right(asset, store / asset.path) for asset in made.assets())
    box.clear()
    again = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert (again["already"], again["requests"]) == (len(granules), 0)
    assert box.requests() == []


def test_two_processes_on_one_store_fetch_each_asset_once(box, slcs, access, tmp_path):
    made = frozen(tmp_path / "plan.ndjson", orbits.find(slcs, True, access).granules)
    box.set_faults([{"match": {"host": BYTES}, "latency": 0.02}])
    box.clear()
    command = [sys.executable, "-m", "skystage.cli", "fetch", str(made.path), "--json", "--store"]
    both = [
        subprocess.Popen([*command, str(tmp_path / "store")], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    results = [json.loads(process.communicate()[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    count = made.header.totals.assets
    assert [result["staged"] for result in results] == [count, count]
    asked = [request["path"] for request in box.requests() if request["host"] in (BYTES, ORBITS)]
    assert len(asked) == len(set(asked)) == count
    assert sum(result["bytes_moved"] for result in results) == made.header.totals.bytes
    assert all(Store(tmp_path / "store").receipt(asset) for asset in made.assets())
