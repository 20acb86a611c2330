"""The Snakemake workflow, run as its users run it: real snakemake, the archives in a box."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from skystage.plan import Plan
from skystage.planning import build
from skystage.query import parse
from skystage.release import release_plan
from skystage.sandbox.accounts import PASSWORD
from skystage.store import Store

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = ROOT / "workflow" / "Snakefile"
BIN = Path(sys.executable).parent
# Five scenes: three batches of two granules at most.
QUERY: dict[str, Any] = {
    "archive": "asf",
    "start": "2018-01-01",
    "end": "2018-03-31",
    "processing_level": "SLC",
    "relative_orbit": 35,
    "filter": {"polarization": ["VV+VH"]},
    "with": {"orbits": True},
}
WITHOUT_ORBITS = {key: value for key, value in QUERY.items() if key != "with"}
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def work(tmp_path, monkeypatch) -> Path:
    """A folder to run in, with nothing of the machine's own configuration in sight."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return folder


@pytest.fixture
def snakemake(work) -> Run:
    def run(*options: str, ok: bool = True, snakefile: Path = WORKFLOW, **config: Any):
        command = [str(BIN / "snakemake"), "--snakefile", str(snakefile), *options]
        if config:
            (work / "my.yaml").write_text(yaml.safe_dump({"batch_granules": 2, "jobs": 2, **config}))
            command += ["--configfile", "my.yaml"]
        ended = subprocess.run(
            command, cwd=work, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert (ended.returncode == 0) == ok, ended.stdout
        return ended

    return run


@pytest.fixture
def locked(box, access, work) -> str:
    """A plan that was made before."""
    build(parse(QUERY), work / "locked.ndjson", access)
    box.clear()
    return "locked.ndjson"


def zip_of(plan: Path, number: int = 0) -> str:
    return [asset for asset in Plan(plan).assets() if asset.key == "data"][number].path


def staged(folder: Path) -> list[str]:
    """The paths of the manifest's assets, each hashed against the manifest."""
    found = []
    for item in json.loads((folder / "items.json").read_text())["features"]:
        for asset in item["assets"].values():
            digest = hashlib.sha256((folder / asset["href"]).read_bytes()).hexdigest()
            assert asset["file:checksum"] == f"1220{digest}"
            found.append(asset["href"])
    return found


def bytes_requested(box) -> list[str]:
    return [one["path"] for one in box.requests() if one["path"].endswith((".zip", ".EOF"))]


def test_the_query_is_staged_and_a_second_run_does_nothing_and_no_secret_is_seen(
    box, work, snakemake, tmp_path, monkeypatch
):
    token = box.token()
    monkeypatch.setenv("EARTHDATA_TOKEN", token)
    # Whatever `ps` could see of a job: its own command line and that of the shell that started it.
    seen = tmp_path / "seen"
    shim = tmp_path / "bin" / "skystage"
    shim.parent.mkdir()
    shim.write_text(
        f"#!/bin/sh\ntr '\\0' ' ' < /proc/$PPID/cmdline >> {seen}\n"
        f"tr '\\0' ' ' < /proc/$$/cmdline >> {seen}\nexec {BIN}/skystage \"$@\"\n"
    )
    shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{shim.parent}{os.pathsep}{os.environ['PATH']}")
    said = snakemake("--printshellcmds", "--verbose", query=QUERY).stdout

    results = work / "results"
    plan = Plan(results / "plan.ndjson")
    assert plan.header.totals.granules == 5
    assert len(set(staged(results))) == plan.header.totals.assets
    assert {path.name for path in (results / "batches").iterdir()} == {
        *("1-of-3.json", "2-of-3.json", "3-of-3.json", "orbits.json")
    }
    subprocess.run(["sha256sum", "--quiet", "-c", "checksums.txt"], cwd=results, check=True)
    assert len(list((work / "benchmarks").rglob("*.tsv"))) == len(list((work / "logs").rglob("*.log"))) == 6

    texts = [said, seen.read_text()]
    assert "skystage fetch" in texts[1]
    texts += [path.read_text() for path in work.rglob("*") if path.suffix in (".log", ".json", ".ndjson")]
    texts += [path.read_text() for path in (work / ".snakemake").rglob("*") if path.is_file()]
    for secret in (token, PASSWORD):
        assert not [text for text in texts if secret in text]

    box.clear()
    assert "Nothing to be done" in snakemake(query=QUERY).stdout
    assert box.requests() == []


def test_a_failed_batch_costs_nothing_but_itself_and_the_next_run_fetches_what_is_missing(
    box, work, snakemake, locked
):
    lost = zip_of(work / locked, 3)
    box.set_faults([{"match": {"path": f"*/{Path(lost).name}"}, "status": 404}])
    said = snakemake(query=WITHOUT_ORBITS, ok=False).stdout
    assert said.count("Trying to restart job") == 3
    assert f"{lost}: " in said, "the log that names the asset is shown"
    assert "Finished jobid" in said
    results, store = work / "results", Store(work / "results" / "store")
    assert not (results / "items.json").exists()
    assert [
        asset.path for asset in Plan(results / "plan.ndjson").assets() if store.receipt(asset) is None
    ] == [lost]
    assert len(list((results / "batches").iterdir())) == 2

    box.set_faults(None)
    box.clear()
    snakemake(query=WITHOUT_ORBITS)
    assert {Path(path).name for path in bytes_requested(box)} == {Path(lost).name}
    assert len(staged(results)) == 5


def test_a_locked_plan_makes_the_files_outputs_that_are_links_into_the_store(box, work, snakemake, locked):
    assets = list(Plan(work / locked).assets())
    lost = zip_of(work / locked, 3)
    box.set_faults([{"match": {"path": f"*/{Path(lost).name}"}, "status": 404}])
    assert f"{lost}: " in snakemake(plan=locked, ok=False).stdout
    results = work / "results"
    # A failed job lost its links, and no file.
    kept = Store(results / "store")
    assert [asset.path for asset in assets if kept.receipt(asset) is None] == [lost]

    box.set_faults(None)
    box.clear()
    snakemake(plan=locked)
    assert {Path(path).name for path in bytes_requested(box)} == {Path(lost).name}
    links = [results / "data" / asset.path for asset in assets]
    for asset, link in zip(assets, links, strict=True):
        assert link.samefile(results / "store" / asset.path)
        assert not (results / "store" / asset.path).is_symlink()
    assert len(set(staged(results))) == len(assets)

    # Snakemake has touched its outputs, and has not touched the store.
    store = Store(results / "store")
    assert all(store.receipt(asset) for asset in assets)
    box.clear()
    assert "Nothing to be done" in snakemake(plan=locked).stdout

    for link in (links[0], links[-1]):
        link.unlink()
    snakemake(plan=locked)
    assert all(link.exists() for link in links)
    assert box.requests() == []


def test_batches_that_were_released_stay_done_and_can_be_run_again(box, work, snakemake):
    snakemake(query=WITHOUT_ORBITS)
    results = work / "results"
    plan, store = Plan(results / "plan.ndjson"), Store(results / "store")
    count = plan.header.totals.assets
    assert len(release_plan(plan, store).released) == count
    box.clear()
    assert "Nothing to be done" in snakemake(query=WITHOUT_ORBITS).stdout
    snakemake("--forcerun", "fetch_batch", "manifest", query=WITHOUT_ORBITS)
    assert bytes_requested(box) == []
    (one, *_) = json.loads((results / "items.json").read_text())["features"]
    assert one["assets"]["data"]["skystage:released"]


def test_the_files_of_a_locked_plan_are_a_demand_and_come_again_after_a_release(box, work, snakemake, locked):
    snakemake(plan=locked)
    results = work / "results"
    plan, store = Plan(work / locked), Store(results / "store")
    release_plan(plan, store)
    box.clear()
    snakemake(plan=locked)
    fetched = {Path(path).name for path in bytes_requested(box)}
    assert fetched == {asset.name for asset in plan.assets()}
    assert len(set(staged(results))) == plan.header.totals.assets


def test_the_workflow_is_a_module_of_a_larger_one_as_the_docs_show_it(box, work, snakemake):
    page = (ROOT / "docs" / "orchestrators.md").read_text()
    outer = re.search(r"```python\n(# Snakefile\n.*?)```", page, re.DOTALL)
    assert outer is not None
    (work / "Snakefile").write_text(outer[1].replace("PATH/TO/workflow/Snakefile", str(WORKFLOW)))
    snakemake(
        *("--cores", "2"),
        snakefile=work / "Snakefile",
        staging={"query": WITHOUT_ORBITS, "batch_granules": 3},
    )
    assert len(staged(work / "staged")) == 5
    assert (work / "interferograms" / "pairs.txt").read_text().splitlines() == ["5 scenes"]
    assert {path.name for path in work.iterdir() if path.is_dir()} == {
        *(".snakemake", "benchmarks", "logs", "staged", "interferograms")
    }


def test_the_connections_of_a_run_limit_how_many_batches_run_at_once(box, snakemake):
    box.set_faults([{"match": {"host": "*.cloudfront.net"}, "latency": 0.7}])
    snakemake(
        *("--cores", "5", "--resources", "connections=2"), query=WITHOUT_ORBITS, batch_granules=1, jobs=1
    )
    busy = [one["busy"] for one in box.requests() if one["host"].endswith(".cloudfront.net")]
    assert len(busy) == 5
    assert max(busy) == 2


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"query": QUERY, "batch_granule": 3}, "'batch_granule' was unexpected); allowed: query, plan"),
        (
            {"query": {**QUERY, "relative_orbt": 3}},
            "query: relative_orbt: archive 'asf' has no such key (did",
        ),
        ({"plan": "nowhere.ndjson"}, "plan: nowhere.ndjson: not a plan file (make it with"),
    ],
)
def test_a_wrong_configuration_is_one_clear_line(snakemake, config, line):
    said = snakemake("--dry-run", ok=False, **config).stdout
    assert len([one for one in said.splitlines() if line in one]) == 1
    assert "Traceback" not in said


def test_a_config_file_stands_alone_and_the_file_that_its_area_names_is_an_input(work, snakemake):
    (work / "config").mkdir()
    (work / "config" / "config.yaml").write_text("query: {archive: asf, absolute_orbit: 7}\n")
    (work / "area.wkt").write_text("POLYGON ((-123 39, -122 39, -122 40, -123 40, -123 39))")
    query = {**WITHOUT_ORBITS, "area": "area.wkt"}
    said = snakemake("--dry-run", "--printshellcmds", query=query).stdout
    assert "relative_orbit" in said
    assert "absolute_orbit" not in said
    assert f"input: {work / 'area.wkt'}" in said


def test_a_query_that_matches_nothing_fails_unless_empty_is_allowed(box, work, snakemake):
    nothing = {**QUERY, "start": "2015-01-01", "end": "2015-01-02"}
    snakemake(query=nothing, ok=False)
    snakemake(query=nothing, allow_empty=True)
    assert staged(work / "results") == []


def test_orbits_that_no_granule_needs_are_no_error_and_those_that_are_not_there_are_named(
    box, work, snakemake
):
    # The first scene of Fiji has no orbit file at all.
    fiji = {"archive": "asf", "relative_orbit": 66, "processing_level": "SLC", "with": {"orbits": True}}
    said = snakemake(query=fiji, ok=False).stdout
    assert "no AUX_POEORB or AUX_RESORB covers it" in said
    snakemake(query={**fiji, "allow_missing": ["orbit"]})
    items = json.loads((work / "results" / "items.json").read_text())["features"]
    assert sorted("orbit" in item["assets"] for item in items) == [False, True]


def test_the_workflow_is_in_a_good_condition(work):
    linted = subprocess.run(
        [BIN / "snakemake", "--lint", "--snakefile", WORKFLOW],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr
