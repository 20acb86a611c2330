"""The Snakemake workflow, run as its users run it: real snakemake, the archives in a box."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from skystage.derive.bands import extract_all
from skystage.derive.wanted import read
from skystage.plan import Plan
from skystage.planning import build
from skystage.query import parse
from skystage.release import release_plan
from skystage.sandbox.accounts import PASSWORD
from skystage.store import Store

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = ROOT / "workflow" / "Snakefile"
BIN = Path(sys.executable).parent
# Four scenes of two neighbouring frames: they share elevation tiles.
TWO_STACKS: dict[str, Any] = {
    "preset": "S1_SLC",
    "relative_orbit": 35,
    "start": "2018-01-01",
    "end": "2018-02-15",
    "with": {"dem": {"name": "glo_30"}},
}
# Three products of Sentinel-2, the last of them cloudier over the area than 0.1.
BANDS: dict[str, Any] = {
    "query": {
        "archive": "cdse",
        "collection": "SENTINEL-2",
        "product_type": "S2MSI2A",
        "tile": "31UFS",
        "area": [5.0, 50.75, 5.2, 50.9],
        "start": "2018-06-25",
        "end": "2018-06-30",
        "cloud_cover": {"max": 20},
        "assets": ["B04_10m", "SCL_20m"],
    },
    "bands": {"area": "query"},
}
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
def locked(box, access, work, with_orbits) -> str:
    """A plan that was made before."""
    build(parse(with_orbits), work / "locked.ndjson", access)
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
    """What was fetched; a plan asks for the first byte of a tile, to learn its size."""
    return [
        one["path"]
        for one in box.requests()
        if one["path"].endswith((".zip", ".EOF", ".tif")) and one["range"] != "bytes=0-0"
    ]


def test_a_table_of_labels_that_are_not_staged_is_refused_at_once(box, snakemake):
    query = yaml.safe_load((ROOT / "config" / "kaguya_incidence.yaml").read_text())["query"]
    said = snakemake(ok=False, query={**query, "assets": ["image"]}, labels="csv").stdout
    assert "config: labels: 'caminfo_pvl' is not staged (name it under assets: as well)" in said
    del query["labels"], query["filter"]
    said = snakemake(ok=False, query=query, labels="csv").stdout
    assert "config: labels: the query names none" in said
    assert box.requests() == []


def test_the_query_is_staged_and_a_second_run_does_nothing_and_no_secret_is_seen(
    box, work, snakemake, tmp_path, monkeypatch, with_orbits
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
    said = snakemake("--printshellcmds", "--verbose", query=with_orbits).stdout

    results = work / "results"
    plan = Plan(results / "plan.ndjson")
    assert plan.header.totals.granules == 5
    assert len(set(staged(results))) == plan.header.totals.assets
    assert {path.name for path in (results / "batches").iterdir()} == {
        *("1-of-3.json", "2-of-3.json", "3-of-3.json", "orbits.json")
    }
    subprocess.run(["sha256sum", "--quiet", "-c", "checksums.txt"], cwd=results, check=True)
    assert len(list((work / "benchmarks").rglob("*.tsv"))) == len(list((work / "logs").rglob("*.log"))) == 8

    texts = [said, seen.read_text()]
    assert "skystage fetch" in texts[1]
    texts += [path.read_text() for path in work.rglob("*") if path.suffix in (".log", ".json", ".ndjson")]
    texts += [path.read_text() for path in (work / ".snakemake").rglob("*") if path.is_file()]
    for secret in (token, PASSWORD):
        assert not [text for text in texts if secret in text]

    box.clear()
    assert "Nothing to be done" in snakemake(query=with_orbits).stdout
    assert box.requests() == []


def test_a_failed_batch_costs_nothing_but_itself_and_the_next_run_fetches_what_is_missing(
    box, work, snakemake, locked, five_scenes
):
    lost = zip_of(work / locked, 3)
    box.set_faults([{"match": {"path": f"*/{Path(lost).name}"}, "status": 404}])
    said = snakemake(query=five_scenes, ok=False).stdout
    assert said.count("Trying to restart job") == 3
    assert f"{lost}: " in said, "the log that names the asset is shown"
    assert "Finished jobid" in said
    results, store = work / "results", Store(work / "results" / "store")
    assert not (results / "items.json").exists()
    assert [
        asset.path for asset in Plan(results / "plan.ndjson").assets() if store.receipt(asset) is None
    ] == [lost]
    assert len(list((results / "batches").glob("*.json"))) == 2

    box.set_faults(None)
    box.clear()
    snakemake(query=five_scenes)
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


def test_batches_that_were_released_stay_done_and_can_be_run_again(box, work, snakemake, five_scenes):
    snakemake(query=five_scenes)
    results = work / "results"
    plan, store = Plan(results / "plan.ndjson"), Store(results / "store")
    count = plan.header.totals.assets
    assert len(release_plan(plan, store).released) == count
    box.clear()
    assert "Nothing to be done" in snakemake(query=five_scenes).stdout
    snakemake("--forcerun", "fetch_batch", "manifest", query=five_scenes)
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


def test_the_workflow_is_a_module_of_a_larger_one_as_the_docs_show_it(box, work, snakemake, five_scenes):
    page = (ROOT / "docs" / "orchestrators.md").read_text()
    outer = re.search(r"```python\n(# Snakefile\n.*?)```", page, re.DOTALL)
    assert outer is not None
    (work / "Snakefile").write_text(outer[1].replace("PATH/TO/workflow/Snakefile", str(WORKFLOW)))
    snakemake(
        *("--cores", "2"),
        snakefile=work / "Snakefile",
        staging={"query": five_scenes, "batch_granules": 3},
    )
    assert len(staged(work / "staged")) == 5
    assert (work / "interferograms" / "pairs.txt").read_text().splitlines() == ["5 scenes"]
    assert {path.name for path in work.iterdir() if path.is_dir()} == {
        *(".snakemake", "benchmarks", "logs", "staged", "interferograms")
    }


def test_scenes_are_fetched_used_and_released_one_by_one_as_the_docs_show_it(
    box, work, snakemake, five_scenes
):
    page = (ROOT / "docs" / "orchestrators.md").read_text()
    outer = re.search(r"```python\n(# Snakefile: .*?)```", page, re.DOTALL)
    assert outer is not None
    (work / "Snakefile").write_text(outer[1].replace("PATH/TO/workflow/Snakefile", str(WORKFLOW)))
    query = {**five_scenes, "filter": {"polarization": ["VV+VH"], "latest": 2}}
    config = {"staging": {"query": query}}

    def again() -> str:
        box.clear()
        return snakemake("--cores", "2", snakefile=work / "Snakefile", **config).stdout

    again()
    assets = list(Plan(work / "staged" / "plan.ndjson").assets())
    store = Store(work / "staged" / "store")
    assert all(store.released(asset) and not store.path(asset).exists() for asset in assets)
    made = sorted((work / "coregistered").rglob("*.txt"))
    assert len(made) == len(assets) > 2
    assert "Nothing to be done" in again()
    assert box.requests() == []

    # One result is lost: its scene comes again, no other, and goes again.
    made[1].unlink()
    again()
    assert {Path(path).stem for path in bytes_requested(box)} == {made[1].stem}
    assert made[1].exists()
    assert not any(store.path(asset).exists() for asset in assets)


def test_a_filter_is_changed_without_a_search_and_scenes_that_stay_are_not_linked_again(
    box, work, snakemake, five_scenes
):
    snakemake("slc", query=five_scenes)
    links = {path.name: path.lstat().st_mtime_ns for path in (work / "results" / "slc").rglob("*.zip")}
    assert len(links) == 5
    box.clear()
    changed = {**five_scenes, "filter": {"polarization": ["VV", "VV+VH"], "latest": 3}}
    assert "rule search:" not in snakemake("slc", query=changed).stdout
    assert not [one for one in box.requests() if one["host"].startswith("cmr.")]
    now = {path.name: path.lstat().st_mtime_ns for path in (work / "results" / "slc").rglob("*.zip")}
    assert links.items() <= now.items()


def test_orbits_and_elevation_are_paired_and_stitched_and_what_is_deleted_comes_back(box, work, snakemake):
    config = {"query": TWO_STACKS, "layout": "isce2", "batch_granules": 50}
    snakemake("all", "draw_map", **config)
    results = work / "results"
    plan = Plan(results / "plan.ndjson")
    stacks = [one.id for one in plan.companions()]
    assert len(stacks) == 2
    tiles = [{asset.path for asset in one.assets} for one in plan.companions()]
    assert tiles[0] & tiles[1]
    gets = [path for path in bytes_requested(box) if path.endswith(".tif")]
    assert sorted(Path(path).name for path in gets) == sorted(Path(path).name for path in tiles[0] | tiles[1])
    rasters = [results / "dem" / f"{stack}.tif" for stack in stacks]
    assert all(not raster.readlink().is_absolute() for raster in rasters)
    bytes_of = [raster.read_bytes() for raster in rasters]
    table = results / "orbits" / "orbits.json"
    pairs = json.loads(table.read_bytes())["pairs"]
    assert len(pairs) == plan.header.totals.granules
    assert all((table.parent / pair["path"]).is_file() for pair in pairs)
    laid = json.loads((results / "isce2" / "orbits.json").read_bytes())["pairs"]
    assert all((results / "isce2" / pair["path"]).is_symlink() for pair in laid)
    assert len(list((results / "isce2" / "SLC").glob("*.zip"))) == len(pairs)
    assert all(pair["scene"] in (results / "footprints.html").read_text() for pair in pairs)

    box.clear()
    snakemake("--forceall", **config)
    assert bytes_requested(box) == []
    text = table.read_text()
    rasters[0].resolve().unlink()
    rasters[1].unlink()
    table.unlink()
    box.clear()
    snakemake(**config)
    assert [raster.read_bytes() for raster in rasters] == bytes_of
    assert table.read_text() == text
    assert box.requests() == []


def rasters(folder: Path) -> dict[str, bytes]:
    """The rasters below a folder, by product and name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("S2*/*.tif"))}


def test_bands_are_cut_and_the_cloudy_are_skipped_and_a_second_run_does_nothing(box, work, snakemake):
    config = {"query": BANDS["query"], "bands": {"area": "query", "max_cloud": 0.1, "keys": ["B04"]}}
    snakemake(sheet="B04", **config)
    results = work / "results"
    plan = Plan(results / "plan.ndjson")
    receipts = [json.loads(path.read_text()) for path in sorted((results / "extracted").iterdir())]
    assert len(receipts) == 2
    made, skipped = ([one for each in receipts for one in each[what]] for what in ("made", "skipped"))
    assert len(made) == 2
    assert [one["granule"][:19] for one in skipped] == ["S2A_MSIL2A_20180630"]
    assert "at most 0.1" in skipped[0]["reason"]
    paths = [path for one in made for path in one["paths"]]
    assert all((work / path).is_file() for path in paths)
    assert len(rasters(results / "bands")) == len(paths) == 2
    assert (results / "sheet.png").read_bytes().startswith(b"\x89PNG")
    # What is staged is in the manifest, whether or not it was cut.
    assert len(staged(results)) == plan.header.totals.assets == 6

    box.clear()
    assert "Nothing to be done" in snakemake(sheet="B04", **config).stdout
    assert box.requests() == []
    # Another cut of the same bands asks nobody.
    changed = snakemake(sheet="B04", query=config["query"], bands={"area": "query"}).stdout
    assert "rule fetch_batch:" not in changed
    assert len(rasters(results / "bands")) == 6
    assert box.requests() == []
    assert "3 products on the sheet" in (work / "logs" / "sheet.log").read_text()
    # What was made then lies there still, and is not drawn.
    config["bands"]["max_cloud"] = 0
    snakemake(sheet="B04", **config)
    assert len(rasters(results / "bands")) == 6
    assert 'of the area, at most 0"' in "".join(map(Path.read_text, (results / "extracted").iterdir()))
    assert "2 products on the sheet" in (work / "logs" / "sheet.log").read_text()


def test_of_nothing_nothing_is_cut_and_the_sheet_is_empty(box, work, snakemake):
    config = {**BANDS, "query": {**BANDS["query"], "tile": "01CCV"}, "allow_empty": True, "sheet": "B04"}
    snakemake(**config)
    assert "0 products on the sheet" in (work / "logs" / "sheet.log").read_text()
    assert staged(work / "results") == []


def test_of_a_locked_plan_the_rasters_are_outputs_and_what_is_deleted_is_cut_again(
    box, access, work, snakemake
):
    build(parse(BANDS["query"]), work / "locked.ndjson", access)
    config = {"plan": "locked.ndjson", "bands": {"area": "query", "stack": True, "keys": ["B04_10m"]}}
    said = snakemake("--dry-run", **config).stdout
    names = [granule.id for granule in Plan(work / "locked.ndjson").granules()]
    outputs = [f"results/bands/{name}/T31UFS_{name[11:26]}_stack.tif" for name in names]
    assert all(f"{path}" in said for path in outputs)
    snakemake(**config)
    cut = rasters(work / "results" / "bands")
    assert [f"results/bands/{path}" for path in cut] == sorted(outputs)
    box.clear()
    assert "Nothing to be done" in snakemake(**config).stdout
    (work / outputs[1]).unlink()
    again = snakemake(**config).stdout
    assert "rule extract_" in again
    assert "rule fetch_" not in again
    assert rasters(work / "results" / "bands") == cut
    assert box.requests() == []

    # What may be skipped is no output, and no failure.
    config["bands"] = {"area": [7.0, 50.75, 7.2, 50.9]}
    snakemake("--config", "store=results/store", **config, ok=True)
    receipts = [json.loads(path.read_text()) for path in (work / "results" / "extracted").iterdir()]
    reasons = {one["reason"] for each in receipts for one in each["skipped"]}
    assert reasons == {"the area is not on the tile"}


def test_products_are_fetched_and_cut_one_by_one_as_the_docs_show_it(box, work, snakemake):
    page = (ROOT / "docs" / "orchestrators.md").read_text()
    outer = re.search(r"```python\n(# Snakefile, one product a job\n.*?)```", page, re.DOTALL)
    assert outer is not None
    (work / "Snakefile").write_text(outer[1].replace("PATH/TO/workflow/Snakefile", str(WORKFLOW)))
    snakemake("--cores", "2", snakefile=work / "Snakefile", staging=BANDS)
    found = sorted((work / "index").iterdir())
    assert len(found) == 3
    for path in found:
        digest, name = path.read_text().split()
        assert hashlib.sha256((work / name).read_bytes()).hexdigest() == digest
        assert f"staged/bands/{path.stem}/" in name
    box.clear()
    assert "Nothing to be done" in snakemake("--cores", "2", snakefile=work / "Snakefile").stdout
    assert box.requests() == []


def test_cutting_that_was_killed_at_any_step_ends_in_the_same_rasters(box, work, snakemake, tmp_path):
    box.set_faults([{"match": {"path": "*_B04_10m.jp2*"}, "bandwidth": 30_000}])
    (work / "my.yaml").write_text(yaml.safe_dump({"batch_granules": 1, "jobs": 2, **BANDS}))
    command = [BIN / "snakemake", "--snakefile", WORKFLOW, "--configfile", "my.yaml", "--cores", "2"]
    for begun in ("store/.skystage/**/*.part", "bands/.skystage/*.work/*"):
        with (work / "said.txt").open("wb") as said:
            process = subprocess.Popen(command, cwd=work, stdout=said, stderr=said, start_new_session=True)
        try:
            end = time.monotonic() + 120
            while not any(path.stat().st_size for path in (work / "results").glob(begun) if path.exists()):
                assert time.monotonic() < end, (work / "said.txt").read_text()
                assert process.poll() is None, (work / "said.txt").read_text()
                time.sleep(0.01)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        box.set_faults(None)
        snakemake("--unlock", batch_granules=1, **BANDS)
    snakemake(batch_granules=1, **BANDS)
    results = work / "results"
    plan, store = Plan(results / "plan.ndjson"), Store(results / "store")
    options = read(BANDS["bands"], plan.query).options
    extract_all(plan, store, tmp_path / "undisturbed", options).raise_for_failures()
    undisturbed = rasters(tmp_path / "undisturbed")
    assert len(undisturbed) == 6
    assert rasters(results / "bands") == undisturbed
    assert not list((results / "bands").glob("**/*.part"))
    assert len(staged(results)) == 6


def test_a_workflow_that_was_killed_continues_where_it_was(open_box, work, snakemake, five_scenes):
    box = open_box(payload_size=1_500_000)
    box.set_faults([{"match": {"host": "*.cloudfront.net"}, "bandwidth": 200_000}])
    (work / "my.yaml").write_text(yaml.safe_dump({"query": five_scenes, "batch_granules": 2, "jobs": 2}))
    command = [BIN / "snakemake", "--snakefile", WORKFLOW, "--configfile", "my.yaml", "--cores", "2"]
    with (work / "said.txt").open("wb") as said:
        process = subprocess.Popen(command, cwd=work, stdout=said, stderr=said, start_new_session=True)
    try:
        end = time.monotonic() + 60
        while not any(path.stat().st_size > 100_000 for path in work.rglob("*.part")):
            assert time.monotonic() < end, (work / "said.txt").read_text()
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not any(path.stat().st_size for path in (work / "results" / "batches").iterdir())

    box.set_faults(None)
    box.clear()
    snakemake("--unlock", query=five_scenes)
    snakemake(query=five_scenes)
    assert len(staged(work / "results")) == 5
    assert any((one["range"] or "").startswith("bytes=") for one in box.requests())


def test_the_connections_of_a_run_limit_how_many_batches_run_at_once(box, snakemake, five_scenes):
    box.set_faults([{"match": {"host": "*.cloudfront.net"}, "latency": 0.7}])
    snakemake(*("--cores", "5", "--resources", "connections=2"), query=five_scenes, batch_granules=1, jobs=1)
    busy = [one["busy"] for one in box.requests() if one["host"].endswith(".cloudfront.net")]
    assert len(busy) == 5
    assert max(busy) == 2


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (
            {"query": {"archive": "asf"}, "batch_granule": 3},
            "'batch_granule' was unexpected); allowed: query, plan",
        ),
        (
            {"query": {"archive": "asf", "relative_orbt": 3}},
            "query: relative_orbt: archive 'asf' has no such key (did",
        ),
        ({"plan": "nowhere.ndjson"}, "plan: nowhere.ndjson: not a plan file (make it with"),
        (
            {**BANDS, "bands": {"resoluton": 10}},
            "bands: Additional properties are not allowed ('resoluton' was unexpected); allowed: keys, ",
        ),
        (
            {**BANDS, "bands": {"keys": ["B03_10m"]}},
            "config: bands.keys: got 'B03_10m' (the query's assets are: B04_10m, SCL_20m)",
        ),
    ],
)
def test_a_wrong_configuration_is_one_clear_line(snakemake, config, line):
    said = snakemake("--dry-run", ok=False, **config).stdout
    assert len([one for one in said.splitlines() if line in one]) == 1
    assert "Traceback" not in said


def test_a_config_file_stands_alone_and_the_file_that_its_area_names_is_an_input(
    work, snakemake, five_scenes
):
    (work / "config").mkdir()
    (work / "config" / "config.yaml").write_text("query: {archive: asf, absolute_orbit: 7}\n")
    (work / "area.wkt").write_text("POLYGON ((-123 39, -122 39, -122 40, -123 40, -123 39))")
    query = {**five_scenes, "area": "area.wkt"}
    said = snakemake("--dry-run", "--printshellcmds", query=query).stdout
    assert "relative_orbit" in said
    assert "absolute_orbit" not in said
    assert f"input: {work / 'area.wkt'}" in said


def test_a_query_that_matches_nothing_fails_unless_empty_is_allowed(box, work, snakemake, with_orbits):
    nothing = {**with_orbits, "start": "2015-01-01", "end": "2015-01-02"}
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
