"""Orbit files: chosen over both catalogues together, the same whichever of them answers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skystage import planning, query
from skystage.archives import orbits
from skystage.archives.orbits import OrbitFile, choose
from skystage.errors import CatalogueUnavailable, QueryError
from skystage.fetch import fetch_asset
from skystage.model import Granule, Source
from skystage.orbitfile import MARGIN, ORBIT, parse_name

NOON = datetime(2018, 5, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
BUCKET = "s1-orbits.s3.amazonaws.com"
CATALOGUE = "catalogue.dataspace.copernicus.eu"


def orbit(start: datetime, stop: datetime, *, created: datetime = NOON, name: str = "x") -> OrbitFile:
    return OrbitFile(
        name, "S1A", "AUX_POEORB", created, start, stop, 1, "aa", None, (Source(href="https://h/x"),)
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
        assert [source.host for source in asset.sources] == [BUCKET, "zipper.dataspace.copernicus.eu"]
        assert asset.checksums["md5"]
        note = granule.properties["skystage:orbit"]
        assert (note["type"], note["upgradable"]) == ("AUX_POEORB", False)
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
    for wrong in ({"types": []}, {"types": ["AUX_PREORB"]}, {"type": 1}, "yes"):
        with pytest.raises(QueryError, match="AUX_POEORB"):
            orbits.find([], wrong, access)


def test_an_orbit_file_comes_from_the_second_catalogue_where_the_first_fails(
    box, access, tmp_path, store, impatient
):
    asset = next(build(tmp_path, access).granules()).asset("orbit")
    box.set_faults([{"match": {"host": BUCKET}, "status": 404}])
    receipt = fetch_asset(asset, store, access)
    assert "zipper.dataspace.copernicus.eu" in receipt.source
    assert receipt.verified == "md5"


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
    other = replace(one, md5="bb", sources=(Source(href="https://other/x"),))
    assert orbits._merged(one, other) == one
    agreeing = orbits._merged(one, replace(other, md5=None, blake3="cc"))
    assert (agreeing.md5, agreeing.blake3, len(agreeing.sources)) == ("aa", "cc", 2)


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


def test_recorded_orbit_files_are_served_and_proved_as_they_are(
    open_box, recordings, access, tmp_path, store
):
    """The real file of 2018-04-20: its MD5 is the same in the bucket's listing and in the catalogue."""
    open_box(catalogue=recordings)
    need = (datetime(2018, 4, 20, 4, 30, tzinfo=UTC), datetime(2018, 4, 20, 4, 31, tzinfo=UTC))
    listed = orbits._listed("AUX_POEORB", {"S1A": [need]}, access, {})
    best = choose(listed["S1A"], *need)
    assert best.name == "S1A_OPER_AUX_POEORB_OPOD_20210307T053325_V20180419T225942_20180421T005942.EOF"
    assert best.md5 == "ddfe74941e83e50e801e2864f3d0acd2"
    assert fetch_asset(best.asset(), store, access).size == 4409493
