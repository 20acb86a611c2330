"""The pairing table: of plans and of folders, and what is said of orbits that cannot be used."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from skystage import cli, manifest, plan, planning, query
from skystage.derive import orbits
from skystage.model import Asset, Granule, Query, Unresolved, from_iso
from skystage.orbitfile import parse_name
from skystage.plan import Plan
from skystage.sandbox.orbits import parse_name as sandbox_name
from skystage.sandbox.orbits import write_eof
from skystage.store import Store

EOF = "S1A_OPER_AUX_POEORB_OPOD_20180511T120000_V20180419T225942_20180421T005942.EOF"
QUERY = {"archive": "asf", "relative_orbit": 35, "processing_level": "SLC", "with": {"orbits": True}}
CMR = "cmr.earthdata.nasa.gov"
ORBITS = {"s1-orbits.s3.amazonaws.com", "catalogue.dataspace.copernicus.eu"}


@pytest.fixture
def run(capsys):
    def call(*arguments: object) -> tuple[int, str, str]:
        try:
            code = cli.run([str(argument) for argument in arguments])
        except SystemExit as ended:  # argparse
            code = ended.code
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def staged_plan(box, access, tmp_path, run) -> Path:
    """A plan whose last scene has only a restituted orbit; all of it staged."""
    asked = {**QUERY, "relative_orbit": 100, "filter": {"latest": 3}}
    made = planning.build(query.parse(asked), tmp_path / "plan.ndjson", access)
    assert run("fetch", made.path, "--store", tmp_path / "store")[0] == 0
    box.clear()
    return made.path


@pytest.fixture
def folder(staged_plan, tmp_path, run) -> Path:
    """The same products, as another tool left them in a folder."""
    out = tmp_path / "slc"
    arguments = ("--store", tmp_path / "store", "--into", out, "--layout", "flat", "--asset", "data")
    assert run("fetch", staged_plan, *arguments)[0] == 0
    assert len(list(out.iterdir())) == 3
    return out


def read(out: Path) -> dict:
    return json.loads((out / "orbits.json").read_text())


def test_each_scene_of_a_plan_has_its_row_and_no_request_is_made(box, staged_plan, run, tmp_path):
    out = tmp_path / "out"
    code, said, err = run("derive", "orbits", staged_plan, "--store", tmp_path / "store", "-o", out, "--json")
    assert (code, json.loads(said)) == (0, read(out))
    assert "3 scenes: 2 precise, 1 restituted" in err
    rows = {row["scene"]: row for row in read(out)["pairs"]}
    for granule in Plan(staged_plan).granules():
        row = rows[granule.id]
        name = parse_name(row["file"])
        assert (row["platform"], row["type"]) == (name.mission, name.kind) == ("S1A", name.kind)
        assert (from_iso(row["start"]), from_iso(row["stop"])) == (granule.start, granule.stop)
        assert row["margin_before"] == (granule.start - name.start).total_seconds()
        assert row["margin_after"] == (name.stop - granule.stop).total_seconds()
        assert row["upgradable"] == (name.kind == "AUX_RESORB")
        assert (out / row["path"]).resolve() == Store(tmp_path / "store").path(
            granule.asset("orbit")
        ).resolve()
    assert box.requests() == []
    before = (out / "orbits.json").read_bytes()
    assert run("derive", "orbits", staged_plan, "--store", tmp_path / "store", "-o", out)[0] == 0
    assert (out / "orbits.json").read_bytes() == before
    assert [path.name for path in out.iterdir()] == ["orbits.json"]


def test_the_manifest_says_the_same_of_each_orbit(staged_plan, run, tmp_path):
    out = tmp_path / "out"
    assert run("derive", "orbits", staged_plan, "--store", tmp_path / "store", "-o", out)[0] == 0
    manifest.write(Plan(staged_plan), Store(tmp_path / "store"), out / "items.json")
    items = {item["id"]: item for item in json.loads((out / "items.json").read_text())["features"]}
    for row in read(out)["pairs"]:
        said = items[row["scene"]]["properties"]["skystage:orbit"]
        assert said == {name: row[name] for name in said}
        assert set(said) == {"type", "file", "upgradable", "margin_before", "margin_after"}
        assert items[row["scene"]]["assets"]["orbit"]["href"] == row["path"]


def test_a_scene_without_is_listed_with_its_reason(box, access, run, tmp_path):
    asked = query.parse({**QUERY, "relative_orbit": 66, "allow_missing": "orbit"})
    made = planning.build(asked, tmp_path / "plan", access)
    arguments = ("derive", "orbits", made.path, "--store", tmp_path / "store", "-o", tmp_path / "out")
    code, _, err = run(*arguments)
    assert code == 4
    assert len(read(tmp_path / "out")["without"]) == made.header.totals.granules == 2
    reasons = {row["reason"] for row in read(tmp_path / "out")["without"]}
    assert "no AUX_POEORB or AUX_RESORB covers it" in reasons
    assert any("is not staged: skystage fetch --asset orbit" in reason for reason in reasons)
    assert err.count("without  S1A_") == 2
    run("fetch", made.path, "--store", tmp_path / "store")
    # One has none that covers it, and the query allows that.
    assert run(*arguments)[0] == 0
    assert (len(read(tmp_path / "out")["pairs"]), len(read(tmp_path / "out")["without"])) == (1, 1)


def test_a_plan_without_orbits_or_without_scenes_is_no_success(box, access, run, tmp_path):
    made = planning.build(query.parse({**QUERY, "with": {}}), tmp_path / "plan", access)
    code, _, err = run("derive", "orbits", made.path, "--store", tmp_path / "s", "-o", tmp_path / "out")
    assert code == 4
    assert "make it with `with: {orbits: true}`" in err
    none = planning.build(
        query.parse({**QUERY, "start": "2016-01-01", "end": "2016-01-02"}), tmp_path / "none", access
    )
    code, _, err = run("derive", "orbits", none.path, "--store", tmp_path / "s", "-o", tmp_path / "out")
    assert (code, "no Sentinel-1 scene" in err) == (3, True)
    assert read(tmp_path / "out") == {"pairs": [], "without": []}


# --------------------------------------------------------------------------------------------------
# What a staged file really holds


def scene(name: str, start: str, *, platform: str = "Sentinel-1A", **fields) -> Granule:
    asset = Asset(key="orbit", path=f"orbits/AUX_POEORB/x/{EOF}")
    moment = from_iso(start) if start else None
    given = {
        "properties": {"platform": platform},
        "assets": (asset,),
        "start": moment,
        "stop": moment,
        **fields,
    }
    return Granule(archive="asf", collection="C", id=name, native_id=name, **given)


def paired(tmp_path, store, *granules):
    made = plan.write(
        tmp_path / "p",
        query=Query(archive="asf"),
        granules=granules,
        hits=len(granules),
        received=len(granules),
    )
    return {one.granule.id: one for one in orbits.pair(made, store)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: b"", "is empty"),
        (lambda text: text[: len(text) // 2], "broken XML"),
        (lambda text: re.sub(rb"(?s)<OSV>.*?</OSV>", b"", text, count=9), "state vectors, it says"),
        (lambda text: text.replace(b"Stop>UTC=2018-04-21", b"Stop>UTC=2018-04-20"), "its header says"),
    ],
)
def test_a_staged_file_that_is_not_whole_is_the_failure_of_its_scenes(store, staged, tmp_path, change, said):
    granule = scene("a", "2018-04-20T12:00:00")
    staged(store, granule.assets[0], change(write_eof(sandbox_name(EOF))))
    other = scene("b", "2018-04-20T13:00:00")
    for one in paired(tmp_path, store, granule, other).values():
        assert one.asset is None
        assert said in one.reason


def test_the_vectors_of_a_file_must_cover_the_scene_with_its_margins(store, staged, tmp_path):
    whole = scene("a", "2018-04-20T12:00:00")
    staged(store, whole.assets[0], write_eof(sandbox_name(EOF)))
    found = paired(
        tmp_path,
        store,
        whole,
        scene("b", "2018-04-20T00:00:00"),  # an hour behind its begin: less than an orbit
        scene("c", "2018-04-21T00:59:00"),
        scene("d", "2018-04-20T12:00:00", platform="Sentinel-1B"),
        scene("e", "2018-04-20T12:00:00", platform="ALOS"),
        scene("f", ""),
    )
    assert found["a"].note["margin_before"] == 13 * 3600 + 18
    assert set(found) == {"a", "b", "c", "d", "f"}
    for name in "bcdf":
        assert "does not cover it from one orbit before to a minute after" in found[name].reason


def test_what_else_a_scene_lacks_does_not_cost_it_its_orbit(store, staged, tmp_path):
    lacks = scene("a", "2018-04-20T12:00:00", unresolved=(Unresolved(key="browse", reason="none"),))
    staged(store, lacks.assets[0], write_eof(sandbox_name(EOF)))
    assert paired(tmp_path, store, lacks)["a"].asset is not None


# --------------------------------------------------------------------------------------------------
# Products in a folder


def test_a_folder_of_products_gets_plan_orbits_and_table(box, folder, staged_plan, run, tmp_path):
    out, store = tmp_path / "out", tmp_path / "other"
    code, _, err = run("derive", "orbits", folder, "--store", store, "-o", out)
    assert code == 0, err
    assert CMR not in {request["host"] for request in box.requests()}
    assert (
        run("derive", "orbits", staged_plan, "--store", tmp_path / "store", "-o", tmp_path / "plans")[0] == 0
    )
    files = [{row["scene"]: row["file"] for row in read(path)["pairs"]} for path in (out, tmp_path / "plans")]
    assert files[0] == files[1]
    assert Plan(out / "plan.ndjson").header.totals.assets == 3
    # The same plan, step by step.
    box.clear()
    assert run("fetch", out / "plan.ndjson", "--store", store)[0] == 0
    assert run("verify", out / "plan.ndjson", "--store", store)[0] == 0
    assert box.requests() == []


def test_the_same_by_query_plan_and_fetch(box, folder, run, tmp_path):
    (tmp_path / "q.json").write_text(
        json.dumps({"archive": "safe", "folder": str(folder), "with": {"orbits": True}})
    )
    made, store = tmp_path / "p", tmp_path / "other"
    assert run("plan", tmp_path / "q.json", "-o", made)[0] == 0
    assert run("fetch", made, "--store", store)[0] == 0
    assert run("derive", "orbits", made, "--store", store, "-o", tmp_path / "out")[0] == 0
    assert len(read(tmp_path / "out")["pairs"]) == 3


@pytest.mark.parametrize("beside", [True, False])
def test_precise_orbits_that_lie_there_are_used_and_nothing_is_requested(
    box, folder, staged_plan, run, tmp_path, beside
):
    lying = folder if beside else tmp_path / "orbits"
    lying.mkdir(exist_ok=True)
    store = Store(tmp_path / "store")
    for granule in Plan(staged_plan).granules():
        shutil.copy(store.path(granule.asset("orbit")), lying)
        if "RESORB" in granule.asset("orbit").name:
            (folder / granule.asset("data").name).unlink()
    box.clear()
    out, other = tmp_path / "out", tmp_path / "other"
    where = () if beside else ("--orbits", lying)
    code, _, err = run("derive", "orbits", folder, "--store", other, "-o", out, *where)
    assert code == 0, err
    assert box.requests() == []
    assert len(read(out)["pairs"]) == 2
    for granule in Plan(out / "plan.ndjson").granules():
        receipt = Store(other).receipt(granule.asset("orbit"))
        assert (receipt.verified, receipt.source) == ("md5", f"file:{granule.asset('orbit').name}")
    before = {path: path.stat().st_mtime_ns for path in lying.iterdir()}
    assert run("derive", "orbits", folder, "--store", other, "-o", out, *where)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in lying.iterdir()} == before


def test_a_broken_orbit_that_lies_there_is_said_and_fetched(box, folder, staged_plan, run, tmp_path):
    names = [granule.asset("orbit").name for granule in Plan(staged_plan).granules()]
    (folder / names[0]).write_bytes(b"")
    code, _, err = run("derive", "orbits", folder, "--store", tmp_path / "other", "-o", tmp_path / "out")
    assert code == 0
    assert f"{names[0]}: not used: {names[0]}: is empty" in err
    assert {request["host"] for request in box.requests()} >= ORBITS
    assert {row["file"] for row in read(tmp_path / "out")["pairs"]} == set(names)
    assert (folder / names[0]).read_bytes() == b""


def test_a_plan_takes_its_orbits_from_a_folder(box, staged_plan, run, tmp_path):
    lying, other = tmp_path / "orbits", tmp_path / "other"
    lying.mkdir()
    store = Store(tmp_path / "store")
    assets = [granule.asset("orbit") for granule in Plan(staged_plan).granules()]
    for asset in assets:
        shutil.copy(store.path(asset), lying)
    (lying / assets[0].name).write_bytes(b"other bytes than the plan's")
    arguments = ("derive", "orbits", staged_plan, "--store", other, "-o", tmp_path / "out", "--orbits", lying)
    code, _, err = run(*arguments)
    assert (code, err.count("without")) == (4, 1)
    assert "is not staged" in err
    assert not Store(other).path(assets[0]).exists()
    assert len(read(tmp_path / "out")["pairs"]) == 2
    assert box.requests() == []


def test_a_broken_product_is_named_and_the_others_have_their_orbits(folder, run, tmp_path):
    first = min(folder.iterdir())
    first.unlink()
    first.write_bytes(b"PK\3\4 and no more")
    code, _, err = run("derive", "orbits", folder, "--store", tmp_path / "other", "-o", tmp_path / "out")
    assert code == 4
    assert f"without  {first.stem}: {first.name}: not a whole zip" in err
    assert len(read(tmp_path / "out")["pairs"]) == 2


def test_a_file_that_cannot_be_fetched_is_the_reason_of_its_scenes(box, folder, run, tmp_path, impatient):
    hosts = {"s1-orbits.s3.amazonaws.com": "/AUX_POEORB/*", "download.dataspace.copernicus.eu": "*"}
    rules = [{"match": {"host": host, "path": path}, "status": 404} for host, path in hosts.items()]
    box.set_faults(rules)
    code, *_ = run("derive", "orbits", folder, "--store", tmp_path / "other", "-o", tmp_path / "out")
    assert code == 4
    assert [row["type"] for row in read(tmp_path / "out")["pairs"]] == ["AUX_RESORB"]
    assert "404" in read(tmp_path / "out")["without"][0]["reason"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--layout", "isce"), "did you mean 'isce2'"),
        (("--orbits", "none"), "--orbits: 'none' is no folder"),
        (("--recursive",), "--recursive: is for a folder"),
    ],
)
def test_wrong_usage_is_one_line_and_nothing_is_written(run, tmp_path, arguments, said):
    code, _, err = run(
        "derive", "orbits", tmp_path / "p", "--store", tmp_path / "s", "-o", tmp_path / "o", *arguments
    )
    assert (code, err.count("\n")) == (2, 1)
    assert said in err
    assert not (tmp_path / "o" / "orbits.json").exists()


def test_an_empty_folder_is_nothing(run, tmp_path):
    (tmp_path / "slc").mkdir()
    code, _, err = run(
        "derive", "orbits", tmp_path / "slc", "--store", tmp_path / "s", "-o", tmp_path / "out"
    )
    assert (code, "no Sentinel-1 scene" in err) == (3, True)


# --------------------------------------------------------------------------------------------------
# Laid out


def test_a_layout_holds_the_orbits_and_what_is_staged_of_the_scenes(staged_plan, run, tmp_path):
    out = tmp_path / "out"
    arguments = (
        "derive",
        "orbits",
        staged_plan,
        "--store",
        tmp_path / "store",
        "-o",
        out,
        "--layout",
        "gamma",
    )
    assert run(*arguments)[0] == 0
    files = {path: path.stat().st_ctime_ns for path in out.rglob("*.*") if path.suffix in (".zip", ".EOF")}
    assert len(files) == 6
    for row in read(out)["pairs"]:
        year = parse_name(row["file"]).start
        kind = row["type"].removeprefix("AUX_")
        assert row["path"] == f"orbits/{kind}/S1A/{year:%Y/%m}/{row['file']}"
        assert (out / row["path"]).is_file()
        assert (out / "SLC" / f"{row['scene']}.zip").is_file()
    assert run(*arguments)[0] == 0
    assert {path: path.stat().st_ctime_ns for path in files} == files


def test_links_may_be_symbolic(staged_plan, run, tmp_path):
    out = tmp_path / "out"
    arguments = ("--store", tmp_path / "store", "-o", out, "--layout", "stack", "--symlink")
    assert run("derive", "orbits", staged_plan, *arguments)[0] == 0
    for row in read(out)["pairs"]:
        assert row["path"].startswith("p100_f466/")
        assert (out / row["path"]).is_symlink()


def test_a_scene_may_lack_its_orbit_if_the_query_says_so_and_never_a_whole_file(store, staged, tmp_path):
    broken, none = scene("a", "2018-04-20T12:00:00"), scene("b", "2018-04-20T13:00:00")
    none = replace(none, assets=(), unresolved=(Unresolved(key="orbit", reason="no AUX_POEORB covers it"),))
    staged(store, broken.assets[0], b"<broken")
    pairs = list(paired(tmp_path, store, broken, none).values())
    for allowed, names in (((), ["a", "b"]), (("orbit",), ["a"])):
        made = plan.write(
            tmp_path / "q",
            query=Query(archive="asf", allow_missing=allowed),
            granules=[broken, none],
            hits=2,
            received=2,
        )
        assert [one.granule.id for one in orbits.lacking(made, pairs)] == names


def test_an_orbit_that_cannot_be_used_is_not_laid_out(store, staged, tmp_path):
    from skystage import layouts

    granule = scene("a", "2018-04-20T12:00:00")
    staged(store, granule.assets[0], b"<broken")
    pairs = paired(tmp_path, store, granule).values()
    assert orbits.link(Plan(tmp_path / "p"), pairs, store, tmp_path / "out", layouts.get("isce2")) == (0, {})
    assert not (tmp_path / "out").exists()


def test_the_recorded_product_gets_the_orbit_of_its_day(open_box, recordings, run, tmp_path):
    open_box(catalogue=recordings)
    folder = recordings / "earth" / "safe" / "s1_slc_zip"
    code, _, err = run("derive", "orbits", folder, "--store", tmp_path / "s", "-o", tmp_path / "out")
    assert code == 0, err
    (row,) = read(tmp_path / "out")["pairs"]
    assert (row["platform"], row["type"]) == ("S1A", "AUX_POEORB")
    assert "_V20221015T225942_20221017T005942" in row["file"]
