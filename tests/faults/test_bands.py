"""Bands of Sentinel-2 under faults: from plan to file, over all of their sources, by many processes."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from skystage import build_plan, parse_query, retry, transport
from skystage.batch import fetch_all
from skystage.errors import ChecksumMismatch, SizeMismatch, Throttled, WrongBody
from skystage.fetch import fetch_asset
from skystage.model import Asset
from skystage.plan import Plan
from skystage.sandbox.accounts import CDSE
from skystage.store import Store
from skystage.transport import Access

DOWNLOAD, IDENTITY = "download.dataspace.copernicus.eu", "identity.dataspace.copernicus.eu"
EODATA = "eodata.dataspace.copernicus.eu"
NODES = "*/Nodes(*"
BANDS = ("SCL_20m", "B02_60m", "B8A_60m", "B11_60m")
NEW = "S2A_MSIL2A_20180607T104021_N0500_R008_T31UFS_20230724T034950"
"""Of a baseline whose manifest has SHA3-256 for images."""
OLD = "S2A_MSIL2A_20180528T104021_N0208_R008_T31UFS_20180528T134646"
"""Of one whose manifest has MD5."""
PARTING = Path(__file__).with_name("parting.py")
TEN = {
    "archive": "cdse",
    "collection": "SENTINEL-2",
    "product_type": "S2MSI2A",
    "tile": "31UFS",
    "start": "2018-06-01",
    "end": "2018-06-30",
}

pytest.importorskip("rasterio", reason="the sandbox's pictures need the extra 'raster'")


def planned(folder: Path, access: Access, *, sources=None, names=None, assets=("SCL_20m",)) -> Plan:
    folder.mkdir(exist_ok=True)
    asked = {"archive": "cdse", "names": names} if names else dict(TEN)
    asked |= {"assets": list(assets)} | ({"sources": sources} if sources else {})
    return build_plan(parse_query(asked), folder / "plan.ndjson", access)


def true(asset: Asset, content: bytes) -> bool:
    """Whether the bytes are those that the product's manifest lists."""
    ((name, digest),) = asset.checksums.items()
    return hashlib.new(name.replace("-", "_"), content, usedforsecurity=False).hexdigest() == digest


def all_true(made: Plan, root: Path) -> bool:
    return all(true(asset, (root / asset.path).read_bytes()) for asset in made.assets())


def none_wrong(made: Plan, root: Path) -> bool:
    there = [asset for asset in made.assets() if (root / asset.path).exists()]
    return all(true(asset, (root / asset.path).read_bytes()) for asset in there)


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "skystage.cli", *map(str, words)]


def statuses(box, host: str) -> list[int]:
    return [one["status"] for one in box.requests() if one["host"] == host]


def most_at_once(box) -> int:
    """Requests to hosts of the account's four connections that were under way together, at the most."""
    said = [one for one in box.requests() if one["host"] == DOWNLOAD]
    ends = [(one["time"], 1) for one in said] + [(one["time"] + one["seconds"], -1) for one in said]
    now = most = 0
    for _, step in sorted(ends):
        now += step
        most = max(most, now)
    return most


# --------------------------------------------------------------------------------------------------
# One source after the other


@pytest.fixture
def band(box, access, tmp_path):
    """The SCL of a product, with its three sources."""
    (asset,) = planned(tmp_path, access, names=[NEW]).assets()
    box._record.clear()
    return asset


WHAT_A_SOURCE_DOES_WRONG = {
    "not there": {"status": 404},
    "forbidden": {"status": 403},
    "a page": {"login_page": True},
    "JSON": {"body": '{"detail": "try later"}', "headers": {"Content-Type": "application/json"}},
    "too long": {"body": "\0" * 50_000},
    "nothing": {"body": ""},
    "a flipped byte": {"corrupt": -100},
    "another file": {"content": "other"},
}


@pytest.mark.parametrize("wrong", WHAT_A_SOURCE_DOES_WRONG)
def test_what_the_nodes_do_wrong_the_bucket_does_right(box, band, store, access, wrong):
    box.set_faults([{"match": {"host": DOWNLOAD, "path": NODES}, **WHAT_A_SOURCE_DOES_WRONG[wrong]}])
    receipt = fetch_asset(band, store, access)
    assert (receipt.verified, receipt.source) == ("sha3-256", band.sources[1].href)
    assert true(band, store.path(band).read_bytes())


@pytest.mark.parametrize("wrong", WHAT_A_SOURCE_DOES_WRONG)
def test_what_nodes_and_bucket_do_wrong_the_zip_does_right(box, band, store, access, wrong):
    effect = WHAT_A_SOURCE_DOES_WRONG[wrong]
    box.set_faults(
        [{"match": {"host": DOWNLOAD, "path": NODES}, **effect}, {"match": {"host": EODATA}, **effect}]
    )
    receipt = fetch_asset(band, store, access)
    assert (receipt.verified, receipt.source) == ("sha3-256", band.sources[2].href)
    assert true(band, store.path(band).read_bytes())


@pytest.mark.parametrize("wrong", WHAT_A_SOURCE_DOES_WRONG)
def test_what_all_do_wrong_is_an_error_and_no_file(box, band, store, access, wrong):
    effect = WHAT_A_SOURCE_DOES_WRONG[wrong]
    box.set_faults([{"match": {"host": host}, **effect} for host in (DOWNLOAD, EODATA)])
    if wrong == "a flipped byte":
        # In the zip it is not a byte of the band.
        band = replace(band, sources=band.sources[:2])
    outcome = fetch_all([band], store, access)
    assert list(outcome.failures) == [band.path]
    assert not store.path(band).exists()
    box.set_faults([])
    assert fetch_asset(band, Store(store.root), Access()).verified == "sha3-256"


def test_a_zip_host_that_gives_no_ranges_is_left_for_the_next_source(box, band, store, access):
    _, s3, member = band.sources
    box.set_faults([{"match": {"host": DOWNLOAD}, "ignore_range": True}])
    receipt = fetch_asset(replace(band, sources=(member, s3)), store, access)
    assert receipt.source == s3.href
    assert receipt.bytes_moved == band.size


@pytest.mark.parametrize("known", ["SHA3-256", "MD5"])
@pytest.mark.parametrize("way", [0, 1, 2], ids=["nodes", "s3", "zip"])
def test_a_flipped_byte_is_caught_whatever_the_digest_and_the_source(
    box, access, store, tmp_path, way, known
):
    (band,) = planned(tmp_path, access, names=[NEW if known == "SHA3-256" else OLD]).assets()
    assert list(band.checksums) == [known.lower()]
    source = band.sources[way]
    place, first = 4000, 0
    if source.member:
        # The directory is asked for first.
        place, first = place + Access().directories.run(source, Access(), threading.Event()).start, 1
    flip = [{"match": {"host": host, "after": first}, "corrupt": place} for host in (DOWNLOAD, EODATA)]
    box.set_faults(flip)
    with pytest.raises(ChecksumMismatch):
        fetch_asset(replace(band, sources=(source,)), store, access)
    assert not store.path(band).exists()
    # Where it happens once, one more try is right.
    for rule in flip:
        rule["match"]["times"] = 1
    box.set_faults(flip)
    receipt = fetch_asset(replace(band, sources=(source,)), store, Access())
    assert (receipt.verified, receipt.attempts) == (known.lower(), 2)
    assert true(band, store.path(band).read_bytes())


def test_wrong_answers_have_their_names(box, band, store, access):
    def ended(effect: dict) -> type:
        box.set_faults([{"match": {"host": DOWNLOAD}, **effect}])
        outcome = fetch_all([replace(band, sources=band.sources[:1])], store, access)
        return type(outcome.failures[band.path])

    assert ended({"login_page": True}) is WrongBody
    assert ended({"body": "{}" * 50_000}) is SizeMismatch
    assert ended({"body": "?" * band.size}) is WrongBody
    assert ended({"content": "other"}) is ChecksumMismatch


# --------------------------------------------------------------------------------------------------
# Throttling and connections


@pytest.fixture
def hurried(monkeypatch) -> None:
    """Who is told to wait, and not for how long, waits a moment only."""
    monkeypatch.setattr(retry, "FIRST", 0.01)
    monkeypatch.setattr(transport, "BACK_OFF", 0.05)


TOO_MANY = '{"code": "DAT-ZIP-100", "message": "Max session number 4 exceeded."}'


@pytest.mark.parametrize("retry_after", [None, 1], ids=["without Retry-After", "with Retry-After"])
def test_too_many_sessions_are_waited_out(box, band, store, access, hurried, retry_after):
    refusal = {"status": 429, "body": TOO_MANY}
    refusal |= {} if retry_after is None else {"retry_after": retry_after}
    box.set_faults([{"match": {"host": DOWNLOAD, "times": 2}, **refusal}])
    receipt = fetch_asset(band, store, access)
    assert receipt.source == band.sources[0].href
    assert statuses(box, DOWNLOAD) == [429, 429, 200]
    times = [one["time"] for one in box.requests() if one["host"] == DOWNLOAD]
    assert retry_after is None or min(b - a for a, b in pairwise(times)) >= retry_after


def test_a_host_that_is_always_busy_costs_no_band_that_the_bucket_has(box, band, store, access, hurried):
    box.set_faults([{"match": {"host": DOWNLOAD}, "status": 429, "body": TOO_MANY}])
    assert fetch_asset(band, store, access).source == band.sources[1].href
    with pytest.raises(Throttled, match="DAT-ZIP-100"):
        fetch_asset(replace(band, sources=band.sources[:1]), Store(store.root / "other"), access)


def test_eight_processes_share_four_connections_over_nodes_and_zips(box, access, tmp_path):
    made = planned(tmp_path, access, sources=["nodes"], assets=BANDS)
    zipped = planned(tmp_path / "zipped", access, sources=["zip"], assets=BANDS)
    box._record.clear()
    box.set_faults([{"match": {"host": DOWNLOAD}, "latency": 0.05}])
    running = [
        subprocess.Popen(
            command(
                "fetch", plan.path, "--store", tmp_path / f"store-{number}", "--batch", f"{1 + number % 4}/4"
            ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for number, plan in enumerate([made] * 4 + [zipped] * 4)
    ]
    assert [one.wait(120) for one in running] == [0] * 8
    assert most_at_once(box) == 4
    assert set(statuses(box, DOWNLOAD)) <= {200, 206}
    assert box.accounts.sessions[CDSE] == 1
    for number, plan in enumerate([made] * 4 + [zipped] * 4):
        assert none_wrong(plan, tmp_path / f"store-{number}")


# --------------------------------------------------------------------------------------------------
# Tokens


def test_forty_bands_of_ten_products_outlive_tokens_of_five_seconds(box, tmp_path):
    box.set_faults([{"match": {"host": IDENTITY}, "token_lifetime": 5}])
    access = Access()
    made = planned(tmp_path, access, sources=["nodes"], assets=BANDS)
    assets = list(made.assets())[:40]
    assert len({asset.path.rpartition("/")[0] for asset in assets}) == 10
    slow = {"match": {"host": DOWNLOAD}, "latency": 1.0}
    box.set_faults([{"match": {"host": IDENTITY}, "token_lifetime": 5}, slow])
    begun = time.monotonic()
    outcome = fetch_all(assets, Store(tmp_path / "store"), access, jobs=4)
    took = time.monotonic() - begun
    assert outcome.failures == {}
    assert all(true(asset, (tmp_path / "store" / asset.path).read_bytes()) for asset in assets)
    assert box.accounts.sessions[CDSE] == 1
    # Four at a time, a second each: two lives of a token at least.
    grants = statuses(box, IDENTITY)
    assert 2 < len(grants) <= 3 + took / 4
    assert set(grants) == {200}


@pytest.mark.parametrize("way", [0, 2], ids=["nodes", "zip"])
def test_a_token_that_dies_in_mid_band_is_renewed_and_the_band_continued(box, band, store, access, way):
    source = band.sources[way]
    first = 1 if source.member else 0
    box.set_faults(
        [
            {"match": {"host": DOWNLOAD, "after": first, "times": 1}, "cut": 3000},
            {"match": {"host": DOWNLOAD, "after": first + 1, "times": 1}, "expire_tokens": True},
        ]
    )
    receipt = fetch_asset(replace(band, sources=(source,)), store, access)
    assert receipt.verified == "sha3-256"
    assert statuses(box, DOWNLOAD)[first:] == [206 if first else 200, 401, 206]
    assert receipt.bytes_moved <= band.size + 300


# --------------------------------------------------------------------------------------------------
# Death


@pytest.mark.parametrize("way", ["nodes", "s3", "zip"])
def test_kills_while_it_plans_and_while_it_fetches_lose_nothing(box, access, tmp_path, way):
    (tmp_path / "query.json").write_text(json.dumps({**TEN, "assets": list(BANDS), "sources": [way]}))
    reference = planned(tmp_path, access, sources=[way], assets=BANDS)
    moments = random.Random(way)  # noqa: S311
    store, cache = tmp_path / "store", {**os.environ, "SKYSTAGE_CACHE": str(tmp_path / "other-cache")}
    plan = tmp_path / "killed.ndjson"
    steps = (
        (command("plan", tmp_path / "query.json", "-o", plan, "--json"), (0.6, 1.5)),
        (command("fetch", plan, "--store", store, "--json"), (0.4, 1.0)),
    )
    for words, between in steps:
        box.set_faults([{"match": {"host": host}, "bandwidth": 30_000} for host in (DOWNLOAD, EODATA)])
        killed = 0
        for _ in range(3):
            running = subprocess.Popen(
                words, env=cache, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            time.sleep(moments.uniform(*between))
            os.killpg(running.pid, signal.SIGKILL)
            killed += running.wait() == -signal.SIGKILL
            assert not plan.exists() or list(Plan(plan).assets()) == list(reference.assets())
            assert none_wrong(reference, store)
        assert killed
        box.set_faults([])
        ended = subprocess.run(words, env=cache, capture_output=True, text=True, check=False, timeout=120)
        assert ended.returncode == 0, ended.stderr
    assert list(Plan(plan).assets()) == list(reference.assets())
    assert all_true(reference, store)
    parts = [*(store / ".skystage" / "parts").iterdir()]
    parts += (tmp_path / "other-cache" / "documents" / ".skystage" / "parts").iterdir()
    assert parts == []


def test_death_at_any_call_while_bands_come_out_of_a_staged_product(box, access, tmp_path):
    made = planned(tmp_path, access, names=[NEW], assets=("SCL_20m", "B02_60m"))
    whole = planned(tmp_path / "whole", access, names=[NEW], assets=("data",))
    fetch_all(whole.assets(), Store(tmp_path / "product"), access).raise_for_failures()
    box._record.clear()
    ended = subprocess.run(
        [sys.executable, str(PARTING), str(made.path), str(tmp_path / "product"), str(tmp_path / "work")],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    result = json.loads(ended.stdout)
    assert result["problems"] == []
    assert result["died"] == result["points"] - 2 > 20
    assert box.requests() == []


# --------------------------------------------------------------------------------------------------
# Two planners, and the cache that they share


@pytest.fixture
def query(tmp_path) -> Path:
    path = tmp_path / "query.json"
    path.write_text(json.dumps({**TEN, "assets": ["SCL_20m"], "sources": ["nodes"]}))
    return path


def manifests(box) -> list[str]:
    said = [one for one in box.requests() if one["host"] == DOWNLOAD and one["status"] in (200, 206)]
    return [one["path"] for one in said]


def test_two_planners_at_once_ask_for_each_manifest_once(box, query, tmp_path):
    box.set_faults([{"match": {"host": DOWNLOAD}, "latency": 0.1}])
    plans = [tmp_path / f"{number}.ndjson" for number in range(2)]
    both = [subprocess.Popen(command("plan", query, "-o", plan), stderr=subprocess.DEVNULL) for plan in plans]
    assert [one.wait(120) for one in both] == [0, 0]
    first, second = (list(Plan(plan).assets()) for plan in plans)
    assert first == second
    assert len(first) == len(manifests(box)) == len(set(manifests(box)))


def test_a_planner_goes_on_where_another_was_killed_beside_it(box, query, tmp_path):
    box.set_faults([{"match": {"host": DOWNLOAD}, "bandwidth": 30_000}])
    plans = [tmp_path / f"{number}.ndjson" for number in range(2)]
    both = [
        subprocess.Popen(
            command("plan", query, "-o", plan), stderr=subprocess.DEVNULL, start_new_session=True
        )
        for plan in plans
    ]
    deadline = time.monotonic() + 60
    while box._proxy.traffic(DOWNLOAD)[1] == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(both[0].pid, signal.SIGKILL)
    both[0].wait()
    box.set_faults([])
    assert both[1].wait(120) == 0
    assert not plans[0].exists()
    made = Plan(plans[1])
    assert made.header.totals.assets == len(list(made.granules()))
    assert made.header.totals.unresolved == 0


def test_a_cache_on_a_full_disk_is_one_line_and_no_plan(box, query, disk, tmp_path):
    cache = {**os.environ, "SKYSTAGE_CACHE": str(disk)}
    (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free - 150_000))
    words = command("plan", query, "-o", tmp_path / "plan.ndjson")
    ended = subprocess.run(words, env=cache, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 1
    assert "No space left" in ended.stderr
    assert "SKYSTAGE_CACHE" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "plan.ndjson").exists()
    # What has come is kept, and not asked for again.
    (disk / "ballast").unlink()
    ended = subprocess.run(words, env=cache, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert Plan(tmp_path / "plan.ndjson").header.totals.unresolved == 0


def test_a_cache_that_may_only_be_read_is_one_line_before_any_manifest(box, query, disk, tmp_path):
    cache = {**os.environ, "SKYSTAGE_CACHE": str(disk)}
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    words = command("plan", query, "-o", tmp_path / "plan.ndjson")
    ended = subprocess.run(words, env=cache, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 1
    assert str(disk) in ended.stderr
    assert "Traceback" not in ended.stderr
    assert manifests(box) == []
