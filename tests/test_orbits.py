"""Orbit files: chosen over both catalogues together, the same whichever of them answers."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skystage import plan, planning, query
from skystage.archives import orbits
from skystage.archives.orbits import OrbitFile, choose
from skystage.errors import CatalogueUnavailable, QueryError, StructureError
from skystage.fetch import fetch_asset
from skystage.model import Granule, Source
from skystage.orbitfile import MARGIN, ORBIT, check, parse_name
from skystage.sandbox import builtin
from skystage.sandbox.orbits import parse_name as sandbox_name
from skystage.sandbox.orbits import write_eof
from skystage.transport import Access

NOON = datetime(2018, 5, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
BUCKET = "s1-orbits.s3.amazonaws.com"
CATALOGUE = "catalogue.dataspace.copernicus.eu"


def orbit(start: datetime, stop: datetime, *, created: datetime = NOON, name: str = "x") -> OrbitFile:
    return OrbitFile(
        name, "S1A", "AUX_POEORB", created, start, stop, 1, {"md5": "aa"}, (Source(href="https://h/x"),)
    )


def test_an_orbit_file_covers_from_one_orbit_before_to_a_minute_after():
    exact = orbit(NOON - ORBIT, NOON + MARGIN)
    assert exact.covers(NOON, NOON)
    assert not replace(exact, start=exact.start + timedelta(seconds=1)).covers(NOON, NOON)
    assert not replace(exact, stop=exact.stop - timedelta(seconds=1)).covers(NOON, NOON)


def test_of_several_that_cover_the_one_created_last_is_chosen():
    old = orbit(NOON - 3 * HOUR, NOON + HOUR, created=NOON, name="old")
    new = orbit(NOON - 3 * HOUR, NOON + HOUR, created=NOON + HOUR, name="new")
    late = orbit(NOON - HOUR, NOON + HOUR, created=NOON + 2 * HOUR, name="does not cover")
    assert choose([old, new, late], NOON, NOON) == new
    assert choose([late], NOON, NOON) is None
    assert choose([], NOON, NOON) is None


@given(
    st.lists(st.tuples(st.integers(-30, 5), st.integers(-5, 30), st.integers(0, 9)), max_size=8), st.randoms()
)
def test_the_choice_does_not_depend_on_the_order_of_the_list(spans, shuffler):
    files = [
        orbit(NOON + a * HOUR, NOON + b * HOUR, created=NOON + c * HOUR, name=f"{n}-{a}-{b}-{c}")
        for n, (a, b, c) in enumerate(spans)
    ]
    chosen = choose(files, NOON, NOON)
    shuffler.shuffle(files)
    assert choose(files, NOON, NOON) == chosen
    assert chosen is None or chosen.covers(NOON, NOON)


def build(tmp_path, access, name="p", **changes):
    asked = {
        "archive": "asf",
        "relative_orbit": 35,
        "processing_level": "SLC",
        "with": {"orbits": True},
        **changes,
    }
    return planning.build(query.parse(asked), tmp_path / name, access)


def chosen(made) -> dict[str, str]:
    return {g.id: g.asset("orbit").name for g in made.granules() if g.asset("orbit")}


def test_each_scene_gets_its_precise_orbit_with_two_sources(box, access, tmp_path):
    made = build(tmp_path, access)
    for granule in made.granules():
        asset = granule.asset("orbit")
        assert "POEORB" in asset.name
        assert asset.path.startswith("orbits/AUX_POEORB/")
        assert [source.host for source in asset.sources] == [BUCKET, "download.dataspace.copernicus.eu"]
        assert asset.checksums["md5"]
        note = granule.properties["skystage:orbit"]
        assert (note["type"], note["upgradable"]) == ("AUX_POEORB", False)
        name = parse_name(asset.name)
        assert note["margin_before"] == (granule.start - name.start).total_seconds() > ORBIT.total_seconds()
        assert note["margin_after"] == (name.stop - granule.stop).total_seconds() > MARGIN.total_seconds()
    assert made.header.degraded == ()


@pytest.mark.parametrize(("down", "up"), [(BUCKET, CATALOGUE), (CATALOGUE, BUCKET)])
def test_with_one_catalogue_down_the_choice_is_the_same_and_the_plan_says_degraded(
    box, access, tmp_path, impatient, down, up
):
    both = chosen(build(tmp_path, access))
    box.set_faults([{"match": {"host": down}, "status": 503}])
    made = build(tmp_path, access, "other")
    assert chosen(made) == both
    assert len(made.header.degraded) == 1
    assert made.header.degraded[0].startswith(down)


def test_with_both_catalogues_down_no_plan_is_made(box, access, tmp_path, impatient):
    box.set_faults([{"match": {"host": host}, "status": 503} for host in (BUCKET, CATALOGUE)])
    with pytest.raises(CatalogueUnavailable, match="neither"):
        build(tmp_path, access)
    assert not (tmp_path / "p").exists()


def test_a_scene_without_a_precise_orbit_gets_a_restituted_one_and_one_without_either_is_named(
    box, access, tmp_path
):
    made = build(tmp_path, access, relative_orbit=None)
    kinds = {}
    for granule in made.granules():
        note = granule.properties.get("skystage:orbit")
        kinds[note["type"] if note else None] = (granule, note)
    assert set(kinds) == {"AUX_POEORB", "AUX_RESORB", None}
    assert kinds["AUX_RESORB"][1]["upgradable"] is True
    lacking = kinds[None][0]
    assert lacking.asset("data")
    assert [(missing.key, missing.reason) for missing in lacking.unresolved] == [
        ("orbit", "no AUX_POEORB or AUX_RESORB covers it")
    ]
    assert made.header.totals.unresolved == 1


def test_only_precise_orbits_can_be_asked_for(box, access, tmp_path):
    options = {"orbits": {"types": ["AUX_POEORB"]}}
    made = build(tmp_path, access, **{"relative_orbit": None, "with": options})
    assert made.header.totals.unresolved == 2
    for wrong in ({"types": []}, {"types": ["AUX_PREORB"]}, {"type": 1}, {"folder": 7}, "yes"):
        with pytest.raises(QueryError, match="AUX_POEORB"):
            orbits.find([], wrong, access)
    with pytest.raises(QueryError, match="with: orbits: folder: 'none' is no folder"):
        orbits.find([], {"folder": "none"}, access)


def test_an_orbit_file_comes_from_the_second_catalogue_where_the_first_fails(
    box, access, tmp_path, store, impatient
):
    asset = next(build(tmp_path, access).granules()).asset("orbit")
    box.set_faults([{"match": {"host": BUCKET}, "status": 404}])
    receipt = fetch_asset(asset, store, access)
    assert "download.dataspace.copernicus.eu" in receipt.source
    assert receipt.verified in ("blake3", "md5")


def test_the_password_of_the_second_catalogue_is_sent_once_to_its_own_service(
    box, access, tmp_path, store, impatient
):
    made = build(tmp_path, access)
    box.set_faults([{"match": {"host": BUCKET}, "status": 404}])
    box.clear()
    for asset in {g.asset("orbit").path: g.asset("orbit") for g in made.granules()}.values():
        fetch_asset(asset, store, access)
    logins = [r for r in box.requests() if r["host"] == "identity.dataspace.copernicus.eu"]
    assert len(logins) == 1
    for request in box.requests():
        if "authorization" in request["headers"]:
            assert request["host"].endswith("dataspace.copernicus.eu")


def test_of_an_orbit_that_was_made_again_the_newer_one_is_in_the_plan(box, access, tmp_path):
    made = build(tmp_path, access)
    created = [parse_name(name).created.year for name in chosen(made).values()]
    assert created.count(2021) == 1  # the one that the catalogue lists twice


def catalogue(folder: Path, *, precise: bool) -> Path:
    """Recordings of one scene: before its precise orbit is there, or after."""
    whole = builtin.build()
    scene = next(one for one in whole.granules if one.granule_ur.startswith("S1A_IW_SLC__1SDV_2020"))
    for part in ("cmr", "orbits"):
        (folder / part).mkdir(parents=True)
    (folder / "cmr" / "page.json").write_text(json.dumps({"items": [json.loads(scene.json)]}))
    for one in whole.orbits.values():
        name = parse_name(one.name.name)
        if name.covers(scene.start, scene.end) and (precise or name.kind == "AUX_RESORB"):
            content = one.content
            (folder / "orbits" / name.name).write_bytes(content.read(0, content.size))
    return folder


def test_a_restituted_orbit_is_replaced_when_the_precise_one_is_there(open_box, tmp_path):
    plans = []
    for number, precise in enumerate((False, True)):
        open_box(catalogue=catalogue(tmp_path / f"c{number}", precise=precise))
        plans.append(build(tmp_path, Access(), f"p{number}", relative_orbit=100))
    notes = [next(made.granules()).properties["skystage:orbit"] for made in plans]
    assert [(note["type"], note["upgradable"]) for note in notes] == [
        ("AUX_RESORB", True),
        ("AUX_POEORB", False),
    ]
    changed = plan.diff(*plans)
    assert (changed.new, changed.gone, len(changed.reprocessed)) == ([], [], 1)


def test_the_recorded_scenes_have_the_same_orbits_whichever_catalogue_answers(
    open_box, recordings, tmp_path, impatient
):
    """Path 35: 342 scenes, of which 15 have no precise orbit in the recorded listing."""
    box = open_box(catalogue=recordings)
    area = {"area": [-123.5, 38.0, -121.5, 40.5], "flight_direction": "ASCENDING"}
    choices = []
    for number, down in enumerate((None, BUCKET, CATALOGUE)):
        box.set_faults([{"match": {"host": down}, "status": 503}] if down else [])
        made = build(tmp_path, Access(), f"p{number}", **area)
        assert [one.startswith(str(down)) for one in made.header.degraded] == [True] * bool(down)
        found = chosen(made)
        kinds = Counter(parse_name(name).kind for name in found.values())
        named = {name for name, missing in made.unresolved() if missing.key == "orbit"}
        assert made.header.totals.granules == 342
        assert kinds["AUX_POEORB"] == 327
        assert kinds["AUX_RESORB"] + len(named) == 15
        assert not named & set(found)
        choices.append(found)
    assert choices[0] == choices[1] == choices[2]


# --------------------------------------------------------------------------------------------------
# Orbit files that lie in a folder


@pytest.fixture
def lying(box, access, tmp_path, store) -> Path:
    """A folder with the orbit files of the built-in SLCs of path 35."""
    folder = tmp_path / "orbits"
    folder.mkdir()
    for granule in build(tmp_path, access, "fill").granules():
        asset = granule.asset("orbit")
        fetch_asset(asset, store, access)
        shutil.copy(store.path(asset), folder)
    box.clear()
    return folder


def test_what_lies_in_the_folder_and_covers_is_chosen_without_a_request_for_it(lying, box, access, tmp_path):
    (lying / "S1A_OPER_notes.EOF").write_text("")
    here = build(tmp_path, access, **{"with": {"orbits": {"folder": str(lying)}}})
    assert {request["host"] for request in box.requests()} == {"cmr.earthdata.nasa.gov"}
    there = build(tmp_path, access, "there")
    assert chosen(here) == chosen(there)
    for one, other in zip(here.granules(), there.granules(), strict=True):
        lies, listed = one.asset("orbit"), other.asset("orbit")
        assert one.properties["skystage:orbit"] == other.properties["skystage:orbit"]
        assert (lies.path, lies.size, lies.checksums["md5"]) == (
            listed.path,
            listed.size,
            listed.checksums["md5"],
        )
        # Who has lost the folder can still fetch it.
        assert lies.sources[0] == listed.sources[0]


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_what_is_no_file_in_the_folder_is_not_used_and_said(lying, box, access, tmp_path, make):
    one = min(lying.glob("*.EOF"))
    one.unlink()
    make(one)
    here = build(tmp_path, access, **{"with": {"orbits": {"folder": str(lying)}}})
    assert any(one.name in said for said in here.header.degraded)
    assert chosen(here) == chosen(build(tmp_path, access, "there"))


def test_a_broken_one_is_not_used_and_said(lying, box, access, tmp_path):
    empty, cut, *_ = sorted(lying.iterdir())
    empty.write_bytes(b"")
    cut.write_bytes(cut.read_bytes()[:-200])
    made = build(tmp_path, access, **{"with": {"orbits": {"folder": str(lying)}}})
    assert {BUCKET, CATALOGUE} < {request["host"] for request in box.requests()}
    assert {empty.name, cut.name} <= set(chosen(made).values())  # from the archives
    said = " ".join(made.header.degraded)
    assert f"{empty}: not used: {empty.name}: is empty" in said
    assert f"{cut}: not used: {cut.name}: broken XML" in said


def test_without_an_answer_a_restituted_orbit_that_lies_there_is_used(open_box, tmp_path, impatient):
    source = catalogue(tmp_path / "c", precise=False)
    box = open_box(catalogue=source)
    box.set_faults([{"match": {"host": host}, "status": 503} for host in (BUCKET, CATALOGUE)])
    asked = {"relative_orbit": 100, "with": {"orbits": {"folder": str(source / "orbits")}}}
    made = build(tmp_path, Access(), **asked)
    assert next(made.granules()).properties["skystage:orbit"]["type"] == "AUX_RESORB"
    assert len(made.header.degraded) == 2
    for path in (source / "orbits").iterdir():
        path.unlink()
    with pytest.raises(CatalogueUnavailable, match="neither"):
        build(tmp_path, Access(), "none", **asked)


def test_granules_of_other_missions_pass_unchanged(access):
    other = Granule(archive="asf", collection="C", id="g", native_id="g", properties={"platform": "ALOS"})
    assert list(orbits.find([other], True, access).granules) == [other]


def test_a_catalogue_that_answers_with_something_else_is_down(box, access, tmp_path, impatient):
    box.set_faults([{"match": {"host": CATALOGUE}, "status": 200, "body": "<html>"}])
    assert build(tmp_path, access).header.degraded
    for number, body in enumerate(("no xml", "<html></html>", "<Error><Code>x</Code></Error>")):
        box.set_faults([{"match": {"host": BUCKET}, "status": 200, "body": body}])
        assert build(tmp_path, access, f"bucket{number}").header.degraded
    for number, body in enumerate(('{"value": [{"Id": "x"}]}', '{"value": [7]}', "[]")):
        box.set_faults([{"match": {"host": CATALOGUE}, "status": 200, "body": body}])
        assert build(tmp_path, access, f"catalogue{number}").header.degraded


def test_two_catalogues_that_disagree_about_the_bytes_are_not_mirrors():
    one = orbit(NOON, NOON)
    other = replace(one, checksums={"md5": "bb"}, sources=(Source(href="https://other/x"),))
    assert orbits._merged(one, other) == one
    agreeing = orbits._merged(one, replace(other, checksums={"blake3": "cc"}))
    assert (agreeing.checksums, len(agreeing.sources)) == ({"md5": "aa", "blake3": "cc"}, 2)


def test_windows_join_what_lies_close_and_stay_below_what_can_be_paged():
    near = [(NOON + timedelta(days=12 * n), NOON + timedelta(days=12 * n)) for n in range(300)]
    assert len(orbits._windows(near, "AUX_POEORB")) == 1
    assert len(orbits._windows(near, "AUX_RESORB")) == 300
    daily = [(NOON + timedelta(days=n), NOON + timedelta(days=n)) for n in range(730)]
    windows = orbits._windows(daily, "AUX_RESORB")
    assert all(stop - start <= timedelta(days=201) for start, stop in windows)
    assert all(any(a <= start - ORBIT and stop + MARGIN <= b for a, b in windows) for start, stop in daily)


def test_needs_of_one_day_are_one_interval_for_the_catalogue():
    needs = orbits._Needs()
    late = NOON + timedelta(hours=11, microseconds=1)
    for mission, start in (("S1B", NOON), ("S1A", late), ("S1A", NOON), ("S1A", NOON + timedelta(days=1))):
        needs.add((mission, start, start + MARGIN))
    assert list(needs)[1] == ("S1A", late, late + MARGIN)
    assert needs.days() == {
        "S1A": [(NOON, late + MARGIN), (NOON + timedelta(days=1), NOON + timedelta(days=1) + MARGIN)],
        "S1B": [(NOON, NOON + MARGIN)],
    }


def test_names_of_another_form_are_passed_over():
    assert parse_name("README.txt") is None
    assert parse_name("S1A_OPER_AUX_POEORB_OPOD_20210307T053325_V20180419T225942_20180431T005942.EOF") is None
    found = parse_name("S1D_OPER_AUX_POEORB_OPOD_20210307T053325_V20180419T225942_20180421T005942.EOF")
    assert found.mission == "S1D"


# --------------------------------------------------------------------------------------------------
# Whether a file holds what its name says

NAMED = "S1A_OPER_AUX_POEORB_OPOD_20180511T120000_V20180420T225942_20180422T005942.EOF"


def whole() -> bytes:
    return write_eof(sandbox_name(NAMED), 600)


def test_a_whole_orbit_file_is_what_its_name_says():
    check(whole(), parse_name(NAMED))
    check(
        whole().replace(b"<Earth_Explorer_File>", b'<Earth_Explorer_File xmlns="http://eop">'),
        parse_name(NAMED),
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: b"", "is empty"),
        (lambda text: text[:-9], "broken XML"),
        (lambda text: b"<html></html>", "not as an orbit file is"),
        (lambda text: re.sub(rb' count="\d+"', b"", text), "not as an orbit file is"),
        (lambda text: text.replace(b"Start>UTC=2018-04-20", b"Start>UTC=2018-04-19"), "its header says"),
        (lambda text: re.sub(rb"(?s)<OSV>.*</OSV>", b"", text), "0 state vectors, it says 157"),
        (lambda text: re.sub(rb"(?s)<OSV>.*?</OSV>", b"", text, count=1), "156 state vectors, it says 157"),
        (
            lambda text: re.sub(rb"(?s)<OSV>.*?</OSV>", b"", text, count=1).replace(b'"157"', b'"156"'),
            "its state vectors reach only from 2018-04-20T23:09:42Z",
        ),
        (
            lambda text: text.replace(b"UTC=2018-04-22T00:59:42.0", b"UTC=2018-04-20T23:59:42.0"),
            "out of order",
        ),
    ],
)
def test_an_orbit_file_that_is_not_is_named(change, said):
    with pytest.raises(StructureError, match=re.escape(said)) as raised:
        check(change(whole()), parse_name(NAMED))
    assert NAMED in str(raised.value)


def test_the_recorded_orbit_files_are_whole(recordings):
    """Real files of both kinds: the first vector of a restituted one comes 35 ms late."""
    paths = sorted((recordings / "earth" / "orbits").glob("*.EOF.gz"))
    assert len(paths) == 3
    for path in paths:
        check(gzip.decompress(path.read_bytes()), parse_name(path.name.removesuffix(".gz")))


def test_recorded_orbit_files_are_served_and_proved_as_they_are(
    open_box, recordings, access, tmp_path, store
):
    """The real file of 2018-04-20: its MD5 is the same in the bucket's listing and in the catalogue."""
    open_box(catalogue=recordings)
    need = (datetime(2018, 4, 20, 4, 30, tzinfo=UTC), datetime(2018, 4, 20, 4, 31, tzinfo=UTC))
    listed = orbits._listed("AUX_POEORB", {"S1A": [need]}, access, {})
    best = choose(listed["S1A"], *need)
    assert best.name == "S1A_OPER_AUX_POEORB_OPOD_20210307T053325_V20180419T225942_20180421T005942.EOF"
    assert best.checksums["md5"] == "ddfe74941e83e50e801e2864f3d0acd2"
    assert fetch_asset(best.asset(), store, access).size == 4409493


def test_state_vectors_too_far_apart_are_no_orbit():
    name = "S1A_OPER_AUX_POEORB_OPOD_20210307T053325_V20180419T225942_20180421T005942.EOF"
    check(write_eof(sandbox_name(name), 600), parse_name(name))
    with pytest.raises(StructureError, match="gaps between its state vectors"):
        check(write_eof(sandbox_name(name), 1200), parse_name(name))


def test_a_file_that_cannot_be_read_is_named():
    with pytest.raises(StructureError, match="mem: cannot be read"):
        orbits.read(Path("/proc/self/mem"))
