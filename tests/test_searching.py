"""Search once, filter as often as one likes: the file of a search, and every criterion on real products."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from skystage import aoi, planning, query
from skystage.archives.asf import Asf
from skystage.criteria import BUILT_IN
from skystage.errors import PlanError, QueryError
from skystage.plan import Plan
from skystage.sandbox import Sandbox, builtin
from skystage.searching import SearchFile, opened, search
from skystage.transport import Access

UTAH = {
    "archive": "asf",
    "area": [-113.05, 37.74, -112.68, 38.0],
    "start": "2020-01-01",
    "end": "2020-12-31",
    "relative_orbit": 100,
}


def searched_in(folder, asked, **options) -> SearchFile:
    """The file of a search in a sandbox that is gone again: what is planned from it asks nobody."""
    with pytest.MonkeyPatch.context() as patch, Sandbox(**options) as box:
        for name, value in box.environ.items():
            patch.delenv(name, raising=False) if value is None else patch.setenv(name, value)
        patch.setenv("SKYSTAGE_STATE", str(folder / "state"))
        access = Access()
        found = search(query.parse(asked), folder / "granules.ndjson", access)
        access.close()
        return found


@pytest.fixture
def utah(box, access, tmp_path) -> SearchFile:
    found = search(query.parse(UTAH), tmp_path / "granules.ndjson", access)
    box.clear()
    return found


# --------------------------------------------------------------------------------------------------
# The file


def test_a_plan_from_a_search_is_the_plan_without_a_request(box, access, utah, tmp_path):
    for number, changes in enumerate(
        [
            {},
            {"filter": {"latest": 3}},
            {"filter": {"min_coverage": 1, "coverage_by": "date"}},
            {"select": {"size": {"max": 1}}},
        ]
    ):
        asked = query.parse(UTAH | changes)
        made = planning.build(asked, tmp_path / f"from{number}", access, searched=utah)
        assert box.requests() == []
        direct = planning.build(asked, tmp_path / f"direct{number}", access)
        box.clear()
        both = [one.path.read_bytes().splitlines(keepends=True) for one in (made, direct)]
        assert both[0][1:] == both[1][1:]
        heads = [json.loads(one[0]) for one in both]
        for head in heads:
            datetime.fromisoformat(head.pop("created"))
        assert heads[0] == heads[1]


def test_companions_still_ask_their_catalogues(box, access, utah, tmp_path):
    asked = query.parse(UTAH | {"with": {"orbits": True}})
    made = planning.build(asked, tmp_path / "p", access, searched=utah)
    assert any(one.asset("orbit") for one in made.granules())
    hosts = {request["host"] for request in box.requests()}
    assert hosts
    assert "cmr.earthdata.nasa.gov" not in hosts


def test_what_was_counted_cut_off_and_missing_is_kept(box, access, tmp_path):
    asked = query.parse(
        {"archive": "asf", "granule_list": ["S1A_none", builtin.build().granules[0].names[1]]}
    )
    found = search(asked, tmp_path / "granules", access)
    assert (found.missing, found.hits, found.count) == (["S1A_none"], found.received, found.received)
    made = planning.build(asked, tmp_path / "p", access, searched=found)
    assert ("S1A_none", "not in the archive") in [(one.id, one.reason) for one in made.dropped()]
    some = query.parse({"archive": "asf", "relative_orbit": 100, "max_results": 2})
    cut = planning.build(some, tmp_path / "p", access, searched=search(some, tmp_path / "some", access))
    assert (cut.header.truncated, cut.header.received) == (True, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"relative_orbit": 35}, r"^relative_orbit: got \[35\], but .* was searched with \[100\]"),
        ({"area": None}, r"^area: got nothing, but .* was searched with \{"),
        ({"end": "2020-12-30"}, r"^end: got .2020-12-30T23:59:59.999999Z., but"),
        ({"dataset": "SENTINEL-1"}, r"^dataset: got .* but .* was searched with nothing"),
        ({"allow_incomplete": True}, r"^allow_incomplete: got true, but .* nothing"),
    ],
)
def test_another_question_is_refused_in_one_line(access, utah, tmp_path, changes, message):
    with pytest.raises(QueryError, match=message) as caught:
        planning.build(query.parse(UTAH | changes), tmp_path / "p", access, searched=utah)
    assert "\n" not in str(caught.value)
    assert "only labels, filter, select, assets and with" in str(caught.value)
    assert not (tmp_path / "p").exists()


def test_a_file_that_was_cut_or_changed_is_refused(access, utah, tmp_path):
    whole = utah.path.read_bytes()
    utah.path.write_bytes(whole[:-10])
    with pytest.raises(PlanError, match="was cut or changed"):
        SearchFile(utah.path)
    utah.path.write_bytes(whole.replace(b"DESCENDING", b"DESCENDNIG", 1))
    with pytest.raises(PlanError, match="was changed after it was made"):
        planning.build(query.parse(UTAH), tmp_path / "p", access, searched=SearchFile(utah.path))
    assert not (tmp_path / "p").exists()


def test_a_plan_is_no_search_and_a_search_is_no_plan(access, utah, tmp_path):
    made = planning.build(query.parse(UTAH), tmp_path / "p", access, searched=utah)
    with pytest.raises(PlanError, match="not a search of format 1 .*`skystage search`"):
        SearchFile(made.path)
    with pytest.raises(PlanError, match="not a plan of format 1 .*`skystage plan`"):
        Plan(utah.path)
    assert [type(opened(path)) for path in (made.path, utah.path)] == [Plan, SearchFile]
    for text in ("", "[]\n", "{}\n"):
        (tmp_path / "other").write_text(text)
        with pytest.raises(PlanError, match="not a plan"):
            opened(tmp_path / "other")
    with pytest.raises(PlanError, match="No such file"):
        opened(tmp_path / "nowhere")


def test_granules_come_back_as_they_came(box, access, utah):
    from skystage import archives

    again = list(archives.get("asf").search(query.parse(UTAH), access))
    assert list(utah.granules()) == again
    assert utah.count == len(again)


# --------------------------------------------------------------------------------------------------
# Every criterion keeps some and drops some


NORCAL = [-123.5, 38.0, -121.5, 40.5]
BOTH_FRAMES = [-122.5, 38.6, -121.5, 40.6]
"""Between the frames 122 and 127 of path 35, and partly in each."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, recordings) -> SearchFile:
    """Everything that is recorded: SLCs of path 35, bursts of path 174, ground-range products of path 94."""
    asked = {"archive": "asf", "start": "2000-01-01"}
    return searched_in(tmp_path_factory.mktemp("recorded"), asked, catalogue=recordings)


@pytest.fixture(scope="module")
def recorded_in_area(tmp_path_factory, recordings) -> SearchFile:
    asked = {"archive": "asf", "area": NORCAL}
    return searched_in(tmp_path_factory.mktemp("area"), asked, catalogue=recordings)


@pytest.fixture(scope="module")
def varied(tmp_path_factory) -> SearchFile:
    """The built-in catalogue: Sentinel-1, its bursts, ALOS, OPERA and NISAR."""
    return searched_in(tmp_path_factory.mktemp("varied"), {"archive": "asf", "start": "2000-01-01"})


def picked(found: SearchFile, folder, **asked) -> tuple[dict, dict]:
    """Granules that a filter keeps, and reasons of those that it drops, by id."""
    wanted = {**found.query, "filter": asked}
    made = planning.build(query.parse(wanted), folder / "p", Access(), searched=found)
    drops = {one.id: one.reason for one in made.dropped() if one.reason != "superseded"}
    return {one.id: one for one in made.granules()}, drops


def year(granule) -> int:
    return granule.start.year


def day(granule) -> int:
    return granule.start.timetuple().tm_yday


def said(name):
    return lambda granule: granule.properties.get(name)


RECORDED = [
    ("start", "2020-01-01", lambda one: year(one) >= 2020),
    ("end", "2019-12-31", lambda one: year(one) < 2020),
    ("months", [12, 1, 2], lambda one: one.start.month in {12, 1, 2}),
    ("day_of_year", [335, 60], lambda one: day(one) >= 335 or day(one) <= 60),
    ("path_frame", [[35, 122], [94, 210]], lambda one: one.stack in {"p35_f122", "p94_f210"}),
    ("relative_orbit", [174, 94], lambda one: said("pathNumber")(one) != 35),
    ("absolute_orbit", {"max": 30_000}, lambda one: said("orbit")(one) <= 30_000),
    ("frame", [122, 210], lambda one: said("frameNumber")(one) in {122, 210}),
    ("asf_frame", {"min": 123, "max": 126}, lambda one: said("asfFrame")(one) in {123, 124, 125, 126}),
    ("flight_direction", "desc", lambda one: said("flightDirection")(one) == "DESCENDING"),
    ("orbit_direction", "ASCENDING", lambda one: said("flightDirection")(one) == "ASCENDING"),
    ("polarization", "VV", lambda one: said("polarization")(one) == "VV"),
    ("polarization", {"contains": ["VH"]}, lambda one: said("polarization")(one) == "VV+VH"),
    ("processing_level", ["SLC", "GRD_HD"], lambda one: said("processingLevel")(one) != "BURST"),
    ("product_type", "BURST", lambda one: said("processingLevel")(one) == "BURST"),
    ("platform", "sentinel-1b", lambda one: said("platform")(one).lower() == "sentinel-1b"),
    ("group_id", "S1A_*", lambda one: said("groupID")(one).startswith("S1A_")),
    ("burst", "174_372326_IW3", lambda one: "burst" in one.properties),
    ("sceneName", "S1B_*", lambda one: said("sceneName")(one).startswith("S1B_")),
]
VARIED = [
    ("look_direction", "left", lambda one: said("lookDirection")(one) == "L"),
    ("beam_mode", "FBS", lambda one: said("beamMode")(one) == "FBS"),
    ("instrument", "PALSAR", lambda one: said("sensor")(one) == "PALSAR"),
    ("off_nadir_angle", {"min": 30, "max": 40}, lambda one: said("offNadirAngle")(one) == 34.3),
]
STACKS = [
    ("min_count", 10, lambda stack: stack if len(stack) >= 10 else []),
    ("latest", 5, lambda stack: stack[-5:]),
    ("earliest", 5, lambda stack: stack[:5]),
    ("max_count", 100, lambda stack: stack[:100]),
]
# It has never another value: of all other products the archive does not say it.
NEVER_OTHERWISE = {"burst"}
# No catalogue here has two of them: tests/test_asf.py shows these criteria on records that it changes.
ALTERED = {"aria_version", "campaign", "flight_line", "site_description", "temporal_baseline_days", "tile_id"}
# Only the stack of a reference has these: shown there as well.
OF_A_REFERENCE = {"perpendicular_baseline", "temporal_baseline"}
BY_HAND = {name for name, *_ in (*RECORDED, *VARIED, *STACKS)} | {"min_coverage", "coverage_by"}
BY_VALUE = sorted(set(Asf.properties) - BY_HAND - ALTERED - OF_A_REFERENCE)


def shows(name, value, right, found, folder) -> None:
    everything, _ = picked(found, folder)
    kept, dropped = picked(found, folder, **{name: value})
    assert set(kept) == {one.id for one in everything.values() if right(one)}
    assert set(dropped) == set(everything) - set(kept)
    assert kept
    assert dropped
    assert set(dropped.values()) <= {name, f"unknown {name}"}
    assert name in dropped.values() or name in NEVER_OTHERWISE


@pytest.mark.parametrize(("name", "value", "right"), RECORDED, ids=[one[0] for one in RECORDED])
def test_on_recorded_products_each_criterion_keeps_some_and_drops_some(
    recorded, tmp_path, name, value, right
):
    shows(name, value, right, recorded, tmp_path)


@pytest.mark.parametrize(("name", "value", "right"), VARIED, ids=[one[0] for one in VARIED])
def test_what_never_varies_in_recordings_is_told_apart_in_the_built_in_catalogue(
    varied, tmp_path, name, value, right
):
    shows(name, value, right, varied, tmp_path)


@pytest.mark.parametrize(("name", "value", "right"), STACKS, ids=[one[0] for one in STACKS])
def test_on_recorded_stacks_each_count_keeps_some_and_drops_some(recorded, tmp_path, name, value, right):
    everything, _ = picked(recorded, tmp_path)
    kept, dropped = picked(recorded, tmp_path, **{name: value})
    expected = set()
    for stack in {one.stack for one in everything.values()}:
        members = [one for one in everything.values() if one.stack == stack]
        expected |= {one.id for one in right(sorted(members, key=lambda one: one.start))}
    assert set(kept) == expected
    assert set(dropped.values()) == {name}
    assert set(dropped) == set(everything) - expected


def test_on_recorded_products_coverage_keeps_some_and_drops_some(recorded_in_area, tmp_path):
    everything, _ = picked(recorded_in_area, tmp_path)
    area = recorded_in_area.query["area"]
    parts = {name: aoi.coverage(area, [one.geometry]) for name, one in everything.items()}
    kept, dropped = picked(recorded_in_area, tmp_path, min_coverage=0.6)
    assert set(kept) == {name for name, part in parts.items() if part >= 0.6}
    assert kept
    assert set(dropped.values()) == {"min_coverage"}


def test_in_the_built_in_catalogue_two_frames_cover_by_date_what_none_covers_by_scene(box, access, tmp_path):
    asked = {"archive": "asf", "area": BOTH_FRAMES, "processing_level": "SLC", "relative_orbit": 35}
    found = search(query.parse(asked), tmp_path / "granules", access)
    everything, _ = picked(found, tmp_path)
    least = (
        0.95 * max(aoi.coverage(found.query["area"], [one.geometry]) for one in everything.values()) + 0.05
    )
    by_scene, _ = picked(found, tmp_path, min_coverage=least, coverage_by="scene")
    by_date, dropped = picked(found, tmp_path, min_coverage=least, coverage_by="date")
    assert by_scene == {}
    assert {one.stack for one in by_date.values()} == {"p35_f122", "p35_f127"}
    assert len({one.properties["orbit"] for one in by_date.values()}) == 1
    assert set(dropped.values()) == {"min_coverage"}


def dotted(granule, path: str):
    value = granule.properties
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


@pytest.mark.parametrize("name", BY_VALUE)
def test_every_other_property_picks_those_that_have_the_value(varied, tmp_path, name):
    everything, _ = picked(varied, tmp_path)
    values = {key: dotted(one, Asf.properties[name]) for key, one in everything.items()}
    value = min((one for one in values.values() if one is not None), key=str)
    wanted = value[0] if isinstance(value, list) else value
    kept, dropped = picked(varied, tmp_path, **{name: wanted})
    has = {key for key, one in values.items() if one == value or (isinstance(one, list) and wanted in one)}
    assert set(kept) == has
    assert dropped
    assert set(dropped.values()) <= {name, f"unknown {name}"}
    assert all((reason == name) == (values[key] is not None) for key, reason in dropped.items())


def test_no_criterion_is_without_such_a_test():
    assert (BY_HAND | set(BY_VALUE) | ALTERED | OF_A_REFERENCE) - {"sceneName"} == {
        *BUILT_IN,
        *Asf.properties,
    }


@pytest.mark.parametrize(
    "name",
    [
        *("cloud_cover", "tile", "target", "data_rights", "calibration_level", "incidence_angle", "season"),
        *("absoluteOrbit", "lookdirection", "latest_n", "intersects_with", "dataset"),
    ],
)
def test_a_criterion_that_the_archive_does_not_know_is_refused_by_name(name):
    with pytest.raises(QueryError, match=rf"^filter\.{name}: ") as caught:
        query.parse({"archive": "asf", "filter": {name: 1}})
    assert "\n" not in str(caught.value)
    with pytest.raises(QueryError, match=f"^{name}: "):
        query.parse({"archive": "asf", name: "1"} if name != "dataset" else {"archive": "asf", name: "none"})
