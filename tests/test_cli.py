"""The command line as a person or a script meets it: exit codes, one line for a mistake, JSON on stdout."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from skystage import cli, plan
from skystage.model import Asset, Granule, Query, Source

QUERY = {"archive": "asf", "relative_orbit": 35, "processing_level": "SLC", "with": {"orbits": True}}
BYTES = "dy4owt9f80bz7.cloudfront.net"


@pytest.fixture
def ask(tmp_path: Path):
    def write(**changes: object) -> str:
        path = tmp_path / "query.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in {**QUERY, **changes}.items() if v is not None}))
        return str(path)

    return write


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    def call(*arguments: object) -> tuple[int, str, str]:
        try:
            code = cli.run([str(argument) for argument in arguments])
        except SystemExit as ended:  # argparse
            code = ended.code
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def planned(box, run, ask, tmp_path: Path) -> Path:
    code, _, err = run("plan", ask(), "-o", tmp_path / "plan.ndjson")
    assert code == 0, err
    box.clear()
    return tmp_path / "plan.ndjson"


def test_a_plan_is_made_fetched_verified_and_listed(box, run, ask, tmp_path):
    plan, store, items = tmp_path / "p.ndjson", tmp_path / "store", tmp_path / "out" / "items.json"
    code, out, err = run("plan", ask(), "-o", plan, "--json")
    made = json.loads(out)
    assert code == 0
    assert set(made) == {
        *("granules", "assets", "bytes", "hits", "truncated", "unresolved", "degraded", "dropped", "notes"),
        *("paid", "paid_bytes", "paid_unsized", "digest"),
    }
    code, out, _ = run("fetch", plan, "--store", store, "--json")
    fetched = json.loads(out)
    assert (code, fetched["staged"], fetched["failed"]) == (0, made["assets"], [])
    assert fetched["bytes"] == fetched["bytes_moved"] == made["bytes"]
    box.clear()
    code, out, err = run("fetch", plan, "--store", store, "--json")
    again = json.loads(out)
    assert (code, again["already"], again["requests"], box.requests()) == (0, made["assets"], 0, [])
    assert "0 requests" in err
    assert json.loads(run("verify", plan, "--store", store, "--json")[1]) == {
        "ok": made["assets"],
        "released": [],
        "missing": [],
        "damaged": [],
    }
    assert run("manifest", plan, "--store", store, "-o", items)[0] == 0
    assert len(json.loads(items.read_text())["features"]) == made["granules"]
    checked = subprocess.run(["sha256sum", "-c", "--quiet", "checksums.txt"], cwd=items.parent, check=False)
    assert checked.returncode == 0


def test_damage_is_found_and_mended(planned, run, tmp_path):
    store = tmp_path / "store"
    run("fetch", planned, "--store", store)
    zips = sorted(store.rglob("*.zip"))
    zips[0].write_bytes(b"damaged")
    zips[1].unlink()
    content = bytearray(zips[2].read_bytes())
    content[1000] ^= 1
    times = zips[2].stat()
    zips[2].write_bytes(content)
    os.utime(zips[2], ns=(times.st_atime_ns, times.st_mtime_ns))  # nothing to see from outside
    code, out, _ = run("verify", planned, "--store", store, "--json")
    found = json.loads(out)
    assert (code, len(found["missing"]), len(found["damaged"])) == (4, 1, 1)
    code, out, _ = run("verify", planned, "--store", store, "--deep", "--json")
    found = json.loads(out)
    assert (code, len(found["missing"]), len(found["damaged"])) == (4, 1, 2)
    zips[2].unlink()
    assert run("fetch", planned, "--store", store)[0] == 0
    assert run("verify", planned, "--store", store, "--deep")[0] == 0


def test_verify_names_what_was_never_staged_by_us(planned, run, tmp_path):
    store = tmp_path / "store"
    code, out, _ = run("verify", planned, "--store", store)
    assert code == 4
    assert out.count("missing  ") == json.loads(planned.read_text().splitlines()[0])["totals"]["assets"]


def test_failed_assets_are_named_with_exit_code_4_and_still_one_json_object(box, planned, run, tmp_path):
    box.set_faults([{"match": {"host": BYTES, "path": "*8661*"}, "status": 404}])
    code, out, err = run("fetch", planned, "--store", tmp_path / "store", "--json")
    found = json.loads(out)
    assert code == 4
    assert [item["error"] for item in found["failed"]] == ["NotFound"]
    assert found["staged"] == found["planned"] - 1
    assert "8661" in err


def test_batches_together_stage_the_whole_plan(box, planned, run, tmp_path):
    store = tmp_path / "store"
    results = [
        json.loads(run("fetch", planned, "--store", store, "--batch", f"{n}/3", "--json")[1])
        for n in (1, 2, 3)
    ]
    assert all(result["failed"] == [] for result in results)
    assert run("verify", planned, "--store", store)[0] == 0
    assert len([request for request in box.requests() if request["host"] == BYTES]) == 15


def test_only_assets_of_a_key_are_fetched_when_asked(box, planned, run, tmp_path):
    assert run("fetch", planned, "--store", tmp_path / "s", "--asset", "orbit")[0] == 0
    assert not [request for request in box.requests() if request["host"] == BYTES]
    code, _, err = run("fetch", planned, "--store", tmp_path / "s", "--asset", "orbits")
    assert code == 2
    assert "data, orbit" in err


def test_a_dry_run_and_an_offline_run_make_no_request(box, planned, run, tmp_path):
    code, out, _ = run("fetch", planned, "--store", tmp_path / "s", "--dry-run", "--json")
    assert (code, json.loads(out)["already"]) == (0, 0)
    code, out, _ = run("fetch", planned, "--store", tmp_path / "s", "--offline", "--json")
    assert code == 4
    assert {item["error"] for item in json.loads(out)["failed"]} == {"Offline"}
    assert box.requests() == []


def test_files_are_linked_where_the_workflow_wants_them(planned, run, tmp_path):
    store, into = tmp_path / "store", tmp_path / "into"
    assert run("fetch", planned, "--store", store, "--into", into)[0] == 0
    linked = [path for path in into.rglob("*") if path.is_file()]
    assert linked
    for path in linked:
        assert path.samefile(store / path.relative_to(into))
    linked[0].unlink()
    assert run("verify", planned, "--store", store)[0] == 0
    assert run("fetch", planned, "--store", store, "--into", into)[0] == 0
    assert linked[0].exists()


def test_unresolved_assets_fail_the_fetch_unless_the_query_allows_it(box, run, ask, tmp_path):
    plan = tmp_path / "p"
    code, out, _ = run("plan", ask(relative_orbit=None), "-o", plan, "--json")
    unresolved = json.loads(out)["unresolved"]
    assert (code, unresolved) == (0, unresolved)
    assert unresolved > 0
    code, out, _ = run("fetch", plan, "--store", tmp_path / "s", "--json")
    failed = json.loads(out)["failed"]
    assert (code, [item["error"] for item in failed]) == (4, ["Unresolvable"] * unresolved)
    run("plan", ask(relative_orbit=None, allow_missing=["orbit"]), "-o", plan)
    assert run("fetch", plan, "--store", tmp_path / "s")[0] == 0


def test_nothing_that_matches_is_exit_code_3_unless_that_is_allowed(box, run, ask, tmp_path):
    asked = ask(relative_orbit=175)
    assert run("plan", asked, "-o", tmp_path / "p")[0] == 3
    assert run("plan", asked, "-o", tmp_path / "p", "--allow-empty")[0] == 0
    assert run("search", asked)[0] == 3
    assert run("search", asked, "--allow-empty")[0] == 0
    assert run("fetch", tmp_path / "p", "--store", tmp_path / "s")[0] == 0


def test_a_search_lists_granules_as_table_json_and_geojson(box, run, ask, tmp_path):
    code, out, err = run("search", ask())
    assert code == 0
    assert len(out.splitlines()) == 15
    assert "15 granules of 15" in err
    assert len(json.loads(run("search", ask(), "--json")[1])["granules"]) == 15
    features = json.loads(run("search", ask(), "--geojson")[1])["features"]
    assert features[0]["geometry"]["type"] == "Polygon"
    code, out, _ = run("search", ask(), "-o", tmp_path / "granules.ndjson")
    assert (code, out) == (0, "")
    assert len((tmp_path / "granules.ndjson").read_text().splitlines()) == 16  # with its header


@pytest.mark.parametrize("form", [[], ["--json"], ["--geojson"]])
def test_a_search_that_fails_half_way_says_nothing_that_could_be_taken_for_an_answer(
    box, run, ask, tmp_path, form
):
    box.set_faults([{"match": {"host": "cmr.earthdata.nasa.gov"}, "headers": {"CMR-Hits": "99"}}])
    code, out, err = run("search", ask(), "-o", tmp_path / "granules.ndjson", *form)
    assert (code, out) == (1, "")
    assert "counted 99" in err
    assert not (tmp_path / "granules.ndjson").exists()


def test_an_empty_search_is_still_one_json_object(box, run, ask):
    empty = ask(relative_orbit=175)
    assert json.loads(run("search", empty, "--json")[1])["granules"] == []
    assert json.loads(run("search", empty, "--geojson")[1])["features"] == []


def test_a_query_is_read_from_standard_input(box, run, tmp_path, monkeypatch):
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(QUERY)))
    assert run("plan", "-", "-o", tmp_path / "p")[0] == 0
    for text in ("[1, 2]", "a: [", ""):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        code, _, err = run("plan", "-", "-o", tmp_path / "p")
        assert code == 2
        assert len(err.splitlines()) == 1


def test_explain_lists_every_drop_with_its_reason(box, run, ask, tmp_path):
    _, _, err = run("plan", ask(filter={"polarization": ["VV"]}), "-o", tmp_path / "p", "--explain")
    assert "dropped       13 polarization" in err
    assert err.count("  polarization") >= 13


def test_a_summary_shows_the_stacks(planned, run):
    code, out, _ = run("summary", planned)
    assert code == 0
    assert out.splitlines()[0].split() == [
        *("direction", "path", "frame", "granules", "dates", "first", "last", "gap", "platforms", "size"),
    ]
    assert "ascending  35" in out
    stacks = json.loads(run("summary", planned, "--json", "--scenes")[1])["stacks"]
    assert sum(len(stack["granules"]) for stack in stacks) == 15
    listed = run("summary", planned, "--scenes")[1]
    assert stacks[0]["stack"] in listed
    assert "  2018-01-02 02:07:01  S1B_IW_SLC" in listed


def test_a_summary_of_what_has_no_track_names_the_stacks(box, run, tmp_path):
    asked = {"archive": "mast", "proposal_id": 7291, "select": {"extension": "fits"}}
    (tmp_path / "q.json").write_text(json.dumps(asked))
    assert run("plan", tmp_path / "q.json", "-o", tmp_path / "p")[0] == 0
    head, row = run("summary", tmp_path / "p")[1].splitlines()
    assert head.split() == ["stack", "granules", "dates", "first", "last", "gap", "platforms", "size"]
    assert row.split()[:4] == ["TON1480", "5", "1", "1999-01-12"]


def test_explained_drops_are_json_too(box, run, ask, tmp_path):
    asked = ask(filter={"polarization": ["VV"]})
    code, out, err = run("plan", asked, "-o", tmp_path / "p", "--explain", "--json")
    made = json.loads(out)
    assert code == 0
    assert len(made["explained"]) == sum(made["dropped"].values()) >= 13
    assert {one["reason"] for one in made["explained"]} == set(made["dropped"])
    assert all(set(one) == {"id", "reason"} for one in made["explained"])
    assert "  polarization" not in err
    run("plan", asked, "-o", tmp_path / "p")
    assert [one["id"] for one in made["explained"]] == [
        drop.id for drop in plan.Plan(tmp_path / "p").dropped()
    ]


def test_search_once_and_filter_as_often_as_you_like(box, run, ask, tmp_path):
    granules, made = tmp_path / "granules.ndjson", tmp_path / "p"
    plain = {"with": None}
    assert run("search", ask(**plain), "-o", granules)[0] == 0
    box.clear()
    kept = []
    for criteria in ({"polarization": "VV"}, {"latest": 3}, {}):
        code, out, _ = run("plan", ask(**plain, filter=criteria), "-o", made, "--from", granules, "--json")
        assert code == 0
        kept.append(json.loads(out)["granules"])
    assert (kept, box.requests()) == ([2, 4, 15], [])
    assert run("summary", granules)[1] == run("summary", made)[1]
    code, _, err = run("plan", ask(**plain, relative_orbit=100), "-o", made, "--from", granules)
    assert code == 2
    assert err.startswith("skystage: relative_orbit: got [100]")
    assert len(err.splitlines()) == 1
    code, _, err = run("plan", ask(**plain), "-o", tmp_path / "other", "--from", made)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "not a search" in err


def test_what_is_read_is_never_written_over(box, run, ask, tmp_path):
    asked, granules = Path(ask()), tmp_path / "g.ndjson"
    assert run("search", asked, "-o", granules)[0] == 0
    before = [asked.read_bytes(), granules.read_bytes()]
    for words in (
        ("search", asked, "-o", asked),
        ("plan", asked, "-o", asked),
        ("plan", asked, "-o", granules, "--from", granules),
    ):
        code, _, err = run(*words)
        assert (code, "is what is read" in err) == (2, True)
    assert [asked.read_bytes(), granules.read_bytes()] == before


def test_a_folder_is_no_output_and_nothing_is_left_beside_it(box, run, ask, tmp_path):
    (tmp_path / "made").mkdir()
    code, _, err = run("plan", ask(), "-o", tmp_path / "made")
    assert (code, "made: is a directory" in err) == (1, True)
    assert not list(tmp_path.glob("*.part*")) + list(tmp_path.glob(".*part*"))


def test_a_summary_tells_which_dates_cover_the_area(box, run, ask, tmp_path):
    made = tmp_path / "p"
    run("plan", ask(area=[-122.5, 38.6, -121.0, 41.0], **{"with": None}), "-o", made)
    box.clear()
    code, out, err = run("summary", made, "--dates", "--min-coverage", "0.6")
    head, *rows = out.splitlines()
    assert (code, box.requests()) == (0, [])
    assert head.split() == ["direction", "path", "date", "platform", "frames", "coverage", "why", "not"]
    assert [row.split()[2] for row in rows] == sorted(row.split()[2] for row in rows)
    assert "missing p35_f127" in out
    assert "ascending 35: 1 of 14 dates cover the area" in err
    told = json.loads(run("summary", made, "--dates", "--min-coverage", "0.6", "--json")[1])
    assert told["min_coverage"] == 0.6
    (track,) = told["tracks"]
    assert set(track) == {"direction", "path", "covered", "uncovered"}
    assert (len(track["covered"]), len(track["uncovered"])) == (1, 13)
    assert set(track["covered"][0]) == {"date", "platform", "granules", "coverage", "missing"}
    assert run("summary", made, "--dates")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--min-coverage", "0.5"], "--min-coverage: is for --dates"),
        (["--dates", "--min-coverage", "50"], "'50' is not a part of the area"),
        (["--dates"], "its query has no area"),
    ],
)
def test_dates_without_what_they_need_are_refused(planned, run, words, message):
    code, out, err = run("summary", planned, *words)
    assert (code, out) == (2, "")
    assert message in err


def test_two_plans_are_compared(planned, run, ask, tmp_path):
    run("plan", ask(filter={"polarization": ["VV+VH"]}), "-o", tmp_path / "other")
    code, out, _ = run("plan-diff", planned, tmp_path / "other", "--json")
    assert (code, len(json.loads(out)["gone"])) == (0, 2)
    assert run("plan-diff", planned, tmp_path / "other")[1].count("gone  ") == 2


@pytest.mark.parametrize("form", ["urls", "curl", "aria2", "rclone-urls"])
def test_a_plan_is_exported_without_credentials(planned, run, form):
    code, out, _ = run("export", planned, "--format", form, "--asset", "data")
    assert code == 0
    assert out.count("https://datapool.asf.alaska.edu/") == 15
    assert "Bearer" not in out
    assert ("checksum=md5=" in out) == (form == "aria2")


def test_an_export_says_how_many_files_want_a_token(box, planned, run, tmp_path):
    asked = {"archive": "cdse", "collection": "SENTINEL-2", "start": "2018-06-17", "end": "2018-06-17"}
    (tmp_path / "cdse.json").write_text(json.dumps(asked))
    assert run("plan", tmp_path / "cdse.json", "-o", tmp_path / "cdse.ndjson")[0] == 0
    _, out, err = run("export", tmp_path / "cdse.ndjson", "--format", "urls")
    assert err.startswith(f"{len(out.splitlines())} files want an access token of the Copernicus Data Space")
    assert run("export", planned, "--format", "urls", "--asset", "data")[2] == ""


def test_an_exported_shell_script_is_valid_shell(planned, run, tmp_path):
    (tmp_path / "fetch.sh").write_text(run("export", planned, "--format", "curl")[1])
    assert subprocess.run(["sh", "-n", str(tmp_path / "fetch.sh")], check=False).returncode == 0


def test_archives_are_listed_with_their_keys(run):
    assert "asf" in run("archives")[1]
    listed = json.loads(run("archives", "--json")[1])
    assert "S1_SLC" in listed["presets"]
    listed = listed["archives"]
    assert "relative_orbit" in listed[0]["criteria"]


def test_limits_are_shown(run, monkeypatch, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("limits: {sentinel1.asf.alaska.edu: {connections: 3}, '*.eu': {bandwidth: 10MB}}")
    monkeypatch.setenv("SKYSTAGE_CONFIG", str(config))
    shown = json.loads(run("limits", "show", "--json")[1])["limits"]
    assert shown["sentinel1.asf.alaska.edu"]["connections"] == 3
    assert shown["*.eu"] == {"connections": 8, "rate": None, "bandwidth": 1e7, "daily_bytes": None}
    (line,) = [line for line in run("limits", "show")[1].splitlines() if line.startswith("*.dataspace")]
    assert line.split() == ["*.dataspace.copernicus.eu", "4", "any", "10.0", "MB", "any"]


def test_the_doctor_says_that_all_is_well(box, run, tmp_path):
    code, out, _ = run("doctor", "--store", tmp_path / "store")
    assert code == 0, out
    assert "FIX" not in out
    assert "netrc" in out


def test_the_doctor_names_each_problem_with_its_fix(box, run, monkeypatch, impatient):
    monkeypatch.setenv("NETRC", "/nowhere")
    box.set_faults([{"match": {"host": "cmr.earthdata.nasa.gov"}, "status": 503}])
    code, out, _ = run("doctor", "asf", "--json")
    findings = json.loads(out)["findings"]
    assert code == 1
    assert [finding["ok"] for finding in findings] == [False, False]
    assert "EARTHDATA_TOKEN" in findings[1]["fix"]
    assert run("doctor", "asff")[0] == 2


def test_the_doctor_shows_whose_session_a_token_of_mast_opens(box, run, monkeypatch, impatient):
    code, out, _ = run("doctor", "mast", "missions")
    assert code == 0
    assert out.count("public data need none") == 1
    token = box.token(realm="mast.stsci.edu")
    monkeypatch.setenv("MAST_API_TOKEN", token)
    code, out, _ = run("doctor", "mast")
    assert code == 0
    assert "token from environment is accepted: sandbox" in out
    assert token not in out
    monkeypatch.setenv("MAST_API_TOKEN", "two\nlines")
    code, out, _ = run("doctor", "mast")
    assert (code, "two" in out) == (1, False)
    assert "FIX  MAST log-in: the token (environment) has characters that no token has" in out
    monkeypatch.setenv("MAST_API_TOKEN", "old")
    code, out, _ = run("doctor", "mast", "--json")
    (reached, session) = json.loads(out)["findings"]
    assert (code, reached["ok"], session["ok"]) == (1, True, False)
    assert "10 days without use" in session["fix"]
    for answer, words in (({"status": 503}, "503"), ({"body": "[]"}, "not one of its own")):
        box.set_faults([{"match": {"path": "/whoami"}, **answer}])
        session = json.loads(run("doctor", "mast", "--json")[1])["findings"][-1]
        assert words in session["found"]


def test_a_search_and_a_plan_say_which_targets_they_found(box, run, tmp_path):
    asked = {
        "archive": "mast",
        "object_name": "K2-62",
        "obs_collection": "K2",
        "select": {"extension": "fits"},
    }
    (tmp_path / "q.json").write_text(json.dumps(asked))
    for command in (
        ("search", tmp_path / "q.json"),
        ("plan", tmp_path / "q.json", "-o", tmp_path / "p.ndjson"),
    ):
        _, out, err = run(*command, "--json")
        assert "within 0.2 degrees of it: 23 targets" in err
        assert json.loads(out)["notes"][1].endswith("ktwo206096602")


def test_the_manifest_says_what_is_not_staged(planned, run, tmp_path):
    run("fetch", planned, "--store", tmp_path / "s", "--batch", "1/3")
    code, out, _ = run("manifest", planned, "--store", tmp_path / "s", "-o", tmp_path / "i.json", "--json")
    assert code == 4
    assert json.loads(out)["missing"] > 0


def test_a_manifest_of_another_kind_is_refused(planned, run, tmp_path):
    code, _, err = run("manifest", planned, "--store", tmp_path / "s", "-o", tmp_path / "i.txt")
    assert code == 1
    assert "allowed: .json, .parquet, .ecsv, .csv" in err


# --------------------------------------------------------------------------------------------------
# Mistakes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"relativ_orbit": 35}, "relative_orbit"),
        ({"flight_direction": "ASCENDIG"}, "ASCENDING"),
        ({"start": "2018-02-01", "end": "2018-01-01"}, "before"),
        ({"area": [0, 0, 10, 95]}, "95"),
        ({"polarization": []}, "empty"),
        ({"area": [-179, -10, 179, 10]}, "west > east"),
        ({"filter": {"earliest": 1, "latest": 1}}, "latest"),
        ({"archive": "asv"}, "asf"),
        ({"filter": {"latest": 0}}, "1"),
        ({"filter": {"no_such": 1}}, "no_such"),
        ({"with": {"orbit": True}}, "orbits"),
        ({"assets": ["date"]}, "data"),
    ],
)
def test_a_query_that_cannot_be_asked_is_one_helpful_line(box, run, ask, tmp_path, change, said):
    code, out, err = run("plan", ask(**change), "-o", tmp_path / "p")
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert said in err
    assert next(iter(change)) in err
    assert not (tmp_path / "p").exists()
    assert box.requests() == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan"],
        ["nonsense"],
        [],
        ["fetch", "p"],
        ["fetch", "p", "--store", "s", "--batch", "4/3"],
        ["fetch", "p", "--store", "s", "--jobs", "0"],
        ["sandbox", "run"],
    ],
)
def test_wrong_usage_is_exit_code_2(run, arguments):
    assert run(*arguments)[0] == 2


def test_a_plan_that_is_not_there_is_one_line(run, tmp_path):
    code, _, err = run("fetch", tmp_path / "none", "--store", tmp_path / "s")
    assert code == 2
    assert len(err.splitlines()) == 1


def test_missing_credentials_are_exit_code_5_and_too_little_disk_6(planned, run, tmp_path, monkeypatch):
    from skystage.store import Store

    with monkeypatch.context() as patch:
        patch.setenv("NETRC", "/nowhere")
        code, _, err = run("fetch", planned, "--store", tmp_path / "s", "--asset", "data")
    assert code == 5
    assert "urs.earthdata.nasa.gov" in err
    monkeypatch.setattr(Store, "free", lambda self: 1000)
    code, _, err = run("fetch", planned, "--store", tmp_path / "s")
    assert code == 6
    assert "0 free" in err  # what is free beyond the reserve is what counts


def test_an_interrupt_is_no_traceback(run, monkeypatch):
    from skystage import report

    def interrupted(granules):
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "stacks", interrupted)
    monkeypatch.setattr("skystage.plan.Plan.__init__", lambda self, path: None)
    monkeypatch.setattr("skystage.plan.Plan.granules", lambda self: [])
    code, _, err = run("summary", "p")
    assert code == 130
    assert "continue" in err


# --------------------------------------------------------------------------------------------------
# Weight

HEAVY = {
    *("pandas", "numpy", "astropy", "astroquery", "rasterio", "prefect", "snakemake", "asf_search", "boto3"),
    *("botocore", "pystac_client", "pydantic", "shapely", "pyproj", "requests", "urllib3", "rich", "yaml"),
}
SPARED = {
    *("dataclasses", "inspect", "shutil", "tempfile", "importlib.metadata", "email", "socket", "ctypes"),
    *("sqlite3", "random", "skystage.model", "skystage.plan", "skystage.store", "skystage.limits"),
}
"""What the standard library and skystage have, and the light paths do not pay for."""
LOADED = "import sys; print(*sorted(sys.modules))"


def loaded(program: str, *arguments: str) -> set[str]:
    begin = f"import sys; sys.argv[1:] = {list(arguments)!r}"
    code = f"{begin}\ntry:\n    {program}\nexcept SystemExit: pass\n{LOADED}"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ended.stdout.splitlines()[-1].split())


def test_importing_skystage_loads_no_client_library():
    assert not loaded("import skystage") & HEAVY


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["fetch", "--help"], ["verify"]])
def test_asking_for_help_loads_next_to_nothing(arguments):
    assert not loaded("from skystage import cli; cli.main()", *arguments) & (HEAVY | SPARED)


@pytest.mark.parametrize("command", ["fetch", "verify"])
def test_what_is_staged_already_is_confirmed_and_next_to_nothing_is_loaded(planned, run, tmp_path, command):
    store = tmp_path / "store"
    run("fetch", planned, "--store", store)
    found = loaded("from skystage import cli; cli.main()", command, str(planned), "--store", str(store))
    assert "skystage.staged" in found
    assert not found & (HEAVY | SPARED)


def test_a_command_declares_no_arguments_of_another(run):
    code, out, _ = run("--help")
    assert code == 0
    assert all(f"\n    {name}" in out for name in cli.COMMANDS)
    assert "--store" not in out
    for name in cli.COMMANDS:
        code, out, _ = run(*name.split(), "--help")
        assert code == 0
        assert out.startswith(f"usage: skystage {name} ")
    code, _, err = run("fetsh")
    assert code == 2
    assert "fetch" in err


def test_every_public_name_can_be_had():
    import skystage

    for name in skystage.__all__:
        assert getattr(skystage, name)
        assert name in dir(skystage)
    with pytest.raises(AttributeError):
        skystage.no_such_name  # noqa: B018


def test_the_version_is_answered_at_once():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "skystage.cli", "--version"], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < 0.6  # measured: 0.07 s; the bound is for machines under load


def test_a_reader_that_goes_away_does_not_turn_failure_into_success(box, planned, tmp_path):
    box.set_faults([{"match": {"host": BYTES}, "status": 404}])
    read, write = os.pipe()
    os.close(read)
    for streams in (
        {"stdout": write, "stderr": subprocess.DEVNULL},
        {"stdout": subprocess.DEVNULL, "stderr": write},
    ):
        command = [sys.executable, "-m", "skystage.cli", "fetch", str(planned), "--json", "--store"]
        ended = subprocess.run([*command, str(tmp_path / "s")], check=False, **streams)
        assert ended.returncode == 4
    os.close(write)


def test_one_granule_can_be_staged_by_itself(planned, run, tmp_path):
    name = next(plan.Plan(planned).granules()).id
    code, out, _ = run("fetch", planned, "--store", tmp_path / "s", "--granule", name, "--json")
    assert (code, json.loads(out)["staged"]) == (0, len(plan.Plan(planned).chosen(name)))
    assert len(list((tmp_path / "s").rglob("*.zip"))) == 1
    code, _, err = run("fetch", planned, "--store", tmp_path / "s", "--granule", "x")
    assert code == 2
    assert "--granule x" in err
    with pytest.raises(SystemExit):
        cli.run(["fetch", str(planned), "--store", "s", "--granule", name, "--batch", "1/2"])


def test_a_plan_that_was_cut_is_never_staged_as_a_whole_one(planned, run, tmp_path):
    planned.write_text("".join(planned.read_text().splitlines(keepends=True)[:5]))
    code, _, err = run("fetch", planned, "--store", tmp_path / "s")
    assert code == 2
    assert "was cut or changed" in err


@pytest.mark.parametrize("command", ["plan", "search"])
def test_a_place_that_cannot_be_written_is_one_line(box, run, ask, tmp_path, command):
    code, _, err = run(command, ask(), "-o", "/proc/none/x")
    assert code == 1
    assert "/proc" in err
    assert len([line for line in err.splitlines() if line.startswith("skystage:")]) == 1


def test_a_public_function_is_a_function_however_it_is_imported_first():
    code = "import skystage.fetch; from skystage import fetch_asset; print(callable(fetch_asset))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"True\n"


def test_a_second_signal_ends_a_fetch_at_once(tmp_path):
    """A thread in the midst of a TLS handshake does not hear the first one."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        source = Source(href=f"https://127.0.0.1:{silent.getsockname()[1]}/f")
        asset = Asset(key="data", path="asf/C/g/f", size=5, sources=(source,))
        granule = Granule(archive="asf", collection="C", id="g", native_id="g", assets=(asset,))
        made = plan.write(
            tmp_path / "plan.ndjson", query=Query(archive="asf"), granules=[granule], hits=1, received=1
        )
        command = [
            sys.executable,
            "-m",
            "skystage.cli",
            "fetch",
            str(made.path),
            "--store",
            str(tmp_path / "s"),
        ]
        running = subprocess.Popen(command, stderr=subprocess.PIPE)
        waiting, _ = silent.accept()
        with waiting, running:
            for _ in range(100):
                running.send_signal(signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    running.wait(0.1)
                    break
            assert running.returncode == -signal.SIGTERM
