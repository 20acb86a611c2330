from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import mapping, shape

from skystage import aoi, criteria, filters
from skystage.archives import Archive
from skystage.errors import QueryError
from skystage.filters import Filter
from skystage.model import Asset, Dropped, Granule
from skystage.sandbox.ephemeris import PERIOD, SATELLITES, corners, state
from skystage.spool import Spool

PROPERTIES = {
    "absolute_orbit": "orbit",
    "asf_frame": "asfFrame",
    "beam_mode": "beamMode",
    "burst": "burst.fullBurstID",
    "cloud_cover": "cloudCover",
    "flight_direction": "flightDirection",
    "frame": "frameNumber",
    "look_direction": "lookDirection",
    "platform": "platform",
    "polarization": "polarization",
    "relative_orbit": "pathNumber",
    "tile": "tileId",
}
FIRST = datetime(2018, 1, 5, 2, tzinfo=UTC)


def granule(number: int = 0, *, day: int | None = 0, stack: str = "p35_f122", **properties: Any) -> Granule:
    """A granule `day` days after 5 January 2018; None means that its time is not known."""
    start = None if day is None else FIRST + timedelta(days=day)
    return Granule(
        archive="asf",
        collection="S1",
        id=f"g{number}",
        native_id=f"g{number}-SLC",
        start=start,
        stop=None if start is None else start + timedelta(seconds=27),
        geometry=properties.pop("geometry", None),
        body=properties.pop("body", "earth"),
        stack=stack,
        properties=properties,
    )


def apply(
    granules: list[Granule], asked: Mapping[str, Any], area: Mapping[str, Any] | None = None
) -> tuple[list[Granule], list[Dropped]]:
    """What is kept and what is dropped, both by name."""
    ready = Filter(asked, properties=PROPERTIES, area=area)
    with Spool() as spool:
        for one in granules:
            spool.add(one, reason=ready.reason(one), swath=ready.swath(one))
        ready.finish(spool)
        return list(spool), list(spool.dropped())


def kept(granules: list[Granule], area: Mapping[str, Any] | None = None, **asked: Any) -> list[str]:
    return [g.id for g in apply(granules, asked, area)[0]]


def reasons(granules: list[Granule], area: Mapping[str, Any] | None = None, **asked: Any) -> list[str]:
    return [drop.reason for drop in apply(granules, asked, area)[1]]


def archive(**changes: Any) -> Archive:
    names = frozenset({"sceneName", "flightDirection"})
    known = {"name": "asf", "properties": PROPERTIES, "property_names": names, **changes}
    return cast("Archive", SimpleNamespace(**known))


# The laws


def test_no_criterion_keeps_everything() -> None:
    granules = [granule(1), granule(2)]
    assert apply(granules, {}) == (granules, [])


def test_a_filter_that_matches_nothing_keeps_nothing() -> None:
    assert apply([granule(frameNumber=1)], {"frame": 2}) == ([], [Dropped(id="g0", reason="frame")])


def test_every_granule_is_tested_and_not_only_the_first_of_a_stack() -> None:
    assert kept(
        [granule(1, frameNumber=1), granule(2, frameNumber=2), granule(3, frameNumber=1)], frame=1
    ) == [
        "g1",
        "g3",
    ]


@pytest.mark.parametrize("name", [*PROPERTIES, "anything", "months", "day_of_year", "start", "end"])
def test_a_missing_property_does_not_match_and_says_so(name: str) -> None:
    values = {"months": 1, "day_of_year": [1, 9], "start": "2018-01-01", "end": "2019-01-01"}
    words = {"flight_direction": "ASCENDING", "look_direction": "RIGHT"}
    asked = {name: {**values, **words}.get(name, "x")}
    assert reasons([granule(day=None)], **asked) == [f"unknown {name}"]


def test_each_drop_has_one_reason_in_a_fixed_order() -> None:
    granules = [granule(frameNumber=1, beamMode="EW")]
    assert (
        reasons(granules, frame=2, beam_mode="IW")
        == reasons(granules, beam_mode="IW", frame=2)
        == ["beam_mode"]
    )


# Values


@pytest.mark.parametrize(
    ("given", "wanted", "match"),
    [
        (35, 35, True),
        (35, "35", True),
        ("35", 35, True),
        ("035", 35, True),
        (35.0, 35, True),
        (35, [34, 35], True),
        (35, "x", False),
        ("x", 35, False),
        (35, {"min": 30, "max": 35}, True),
        (35, {"min": 35}, True),
        (35, {"max": 34}, False),
        (35, {"min": 36}, False),
        ("35", {"max": "35.5"}, True),
        (35, [{"min": 1, "max": 2}, 35], True),
        (35, [{"min": 1, "max": 2}, {"min": 30}], True),
        (35, [{"max": "2018-01-01"}, 7], None),
        ("none", {"max": 3}, None),
        (float("nan"), {"max": 3}, None),
        (True, {"max": 3}, None),
        ("Sentinel-1A", "SENTINEL-1A", True),
        ("Sentinel-1A", "Sentinel-1*", False),
        (["c-sar", "x-sar"], "C-SAR", True),
        (["c-sar", "x-sar"], {"contains": ["x-sar", "c-sar"]}, True),
        (["c-sar"], {"contains": ["x-sar", "c-sar"]}, False),
        ("c-sar", {"contains": "c-sar"}, True),
        ([], "c-sar", None),
        ("", "c-sar", None),
        (True, True, True),
        (True, "true", True),
        (False, True, False),
        ("TRUE", True, True),
        ("2018-06-30T23:59:00Z", {"max": date(2018, 6, 30)}, True),
        ("2018-07-01T00:00:00Z", {"max": "2018-06-30"}, False),
        ("2018-06-30T00:00:00", {"min": datetime(2018, 6, 30, tzinfo=UTC)}, True),
        ("yesterday", {"max": "2018-06-30"}, None),
        (7, {"max": "2018-06-30"}, None),
        (7, {"max": "b"}, None),
        ("Apple", {"min": "a", "max": "b"}, True),
        ("2018-06-30", date(2018, 6, 30), True),
        ("2018-06-30T01:00:00Z", datetime(2018, 6, 30, 1, tzinfo=UTC), True),
        ({"value": 3}, 3, False),
    ],
)
def test_values_compare_as_what_they_mean(given: Any, wanted: Any, match: bool | None) -> None:
    assert reasons([granule(tileId=given)], tile=wanted) == {
        True: [],
        False: ["tile"],
        None: ["unknown tile"],
    }[match]  # fmt: skip


def test_a_property_goes_by_the_archives_own_name_and_by_path() -> None:
    deep = granule(1, a={"b": 7}, **{"view:sun.x": 3})
    assert kept([deep], **{"a.b": 7, "view:sun.x": 3}) == ["g1"]
    assert reasons([deep], **{"a.b.c": 7}) == ["unknown a.b.c"]


def test_wildcards_are_for_names_alone() -> None:
    scene = granule(sceneName="S1A_IW_SLC.x")
    assert kept([scene], sceneName="s1?_*.X") == ["g0"]
    assert kept([scene], sceneName="S1B*") == []
    assert kept([granule(beamMode="IW")], beam_mode="I*") == []


def test_like_is_a_pattern_for_any_property() -> None:
    scene = granule(beamMode="IW")
    assert kept([scene], beam_mode={"like": "i*"}) == ["g0"]
    assert kept([scene], beam_mode={"like": ["E*", "?W"]}) == ["g0"]
    assert kept([scene], beam_mode={"like": "W*"}) == []
    with pytest.raises(QueryError, match="like: a text with"):
        kept([scene], beam_mode={"like": 5})


@pytest.mark.parametrize(
    ("given", "wanted", "match"),
    [
        ("VV", "VV", True),
        ("VV+VH", "VV", False),
        ("VV+VH", ["VV", "VV+VH"], True),
        ("VV+VH", "vh+vv", True),
        ("VH", ["VV", "VV+VH"], False),
        (["VH", "VV"], "VV+VH", True),
        ("VV&VH", "VV+VH", True),
        ("VV+VH", {"contains": ["VV"]}, True),
        ("VV+VH", {"contains": "VV"}, True),
        ("HH", {"contains": ["VV"]}, False),
    ],
)
def test_polarization_alternatives_are_whole_sets_in_any_order(given: Any, wanted: Any, match: bool) -> None:
    assert bool(kept([granule(polarization=given)], polarization=wanted)) is match


@pytest.mark.parametrize(
    ("given", "wanted", "outcome"),
    [
        ("R", "RIGHT", []),
        ("RIGHT", "r", []),
        ("LEFT", "RIGHT", ["look_direction"]),
        ("LEFT", ["RIGHT", "left"], []),
        ("NA", "RIGHT", ["unknown look_direction"]),
        (3, "RIGHT", ["unknown look_direction"]),
    ],
)
def test_directions_match_by_letter_or_word(given: Any, wanted: Any, outcome: list[str]) -> None:
    assert reasons([granule(lookDirection=given)], look_direction=wanted) == outcome


def test_na_is_no_direction() -> None:
    assert reasons([granule(flightDirection="NA")], flight_direction="asc") == ["unknown flight_direction"]


@pytest.mark.parametrize("pairs", [[35, 122], ["35", 122], [[35, 122]], [[1, 2], (35, 122)]])
def test_path_and_frame_come_in_pairs(pairs: Any) -> None:
    granules = [granule(1, pathNumber=35, frameNumber=122), granule(2, pathNumber=35, frameNumber=2)]
    assert kept(granules, path_frame=pairs) == ["g1"]
    assert reasons([granule(pathNumber=35)], path_frame=pairs) == ["unknown path_frame"]


# Time


def test_a_granule_that_touches_the_interval_is_kept() -> None:
    over = granule(1)  # 2018-01-05 02:00:00 to 02:00:27
    assert kept([over], start="2018-01-05T02:00:27Z") == ["g1"]
    assert reasons([over], start="2018-01-05T02:00:28Z") == ["start"]
    assert kept([over], end="2018-01-05T02:00:00Z") == ["g1"]
    assert reasons([over], end="2018-01-05T01:59:59Z") == ["end"]
    assert kept([over], start=date(2018, 1, 5), end="2018-01-05") == ["g1"]


@pytest.mark.parametrize(
    ("months", "expected"), [(1, ["g0"]), ([12, 1, 2], ["g0", "g30", "g340"]), ([6], ["g150"])]
)
def test_months_wrap_the_year(months: Any, expected: list[str]) -> None:
    assert kept([granule(day, day=day) for day in (0, 30, 150, 340)], months=months) == expected


@pytest.mark.parametrize(
    ("days", "expected"), [([335, 60], ["g0", "g30", "g340"]), ([100, 200], ["g150"]), ([5, 5], ["g0"])]
)
def test_days_of_the_year_wrap(days: list[int], expected: list[str]) -> None:
    assert kept([granule(day, day=day) for day in (0, 30, 150, 340)], day_of_year=days) == expected


# Coverage

AREA = aoi.parse([0, 0, 4, 1])
LEFT, RIGHT = aoi.parse([0, 0, 2, 1]), aoi.parse([2, 0, 4, 1])


def test_coverage_by_scene_looks_at_each_granule() -> None:
    granules = [granule(1, geometry=LEFT), granule(2, geometry=AREA), granule(3)]
    assert kept(granules, AREA, min_coverage=0.6) == ["g2"]
    assert reasons(granules, AREA, min_coverage=0.6) == ["min_coverage", "unknown min_coverage"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"orbit": 7}, {"orbit": 7}, True),
        ({"orbit": 7, "day": 1}, {"orbit": 7, "day": 2}, False),
        ({"flightDirection": "ASCENDING", "orbit": 7}, {"flightDirection": "A", "orbit": 8}, True),
        ({"flightDirection": "ASCENDING"}, {"flightDirection": "DESCENDING"}, False),
        ({"flightDirection": "NA", "orbit": 7}, {"flightDirection": "NA", "orbit": 8}, False),
        ({"orbit": 7}, {"orbit": 8}, False),
        ({"orbit": 7, "platform": "S1A"}, {"orbit": 7, "platform": "S1B"}, False),
        ({"pathNumber": 35}, {"pathNumber": 35}, True),
        ({"pathNumber": 35}, {"pathNumber": 36}, False),
        ({"day": 1}, {"day": 2}, False),
        ({"day": None}, {"day": None}, False),
        ({"orbit": 7}, {"orbit": 7, "body": "moon"}, False),
    ],
)
def test_coverage_by_date_unites_the_frames_of_one_pass(
    one: dict[str, Any], other: dict[str, Any], same: bool
) -> None:
    granules = [granule(1, geometry=LEFT, **one), granule(2, geometry=RIGHT, **other)]
    asked = {"min_coverage": 0.9, "coverage_by": "date"}
    assert kept(granules, AREA, **asked) == (["g1", "g2"] if same else [])


def test_frames_of_one_pass_need_not_come_one_after_the_other() -> None:
    frames = [(1, LEFT, 7), (2, LEFT, 8), (3, RIGHT, 7), (4, LEFT, 9), (5, RIGHT, 9)]
    granules = [granule(n, geometry=part, orbit=orbit) for n, part, orbit in frames]
    assert kept(granules, AREA, min_coverage=0.9, coverage_by="date") == ["g1", "g3", "g4", "g5"]


def frames(begin: datetime, count: int, mission: str = "S1A", *, said: bool = True) -> list[Granule]:
    """Frames as a satellite takes them one after the other, 25 s apart and 27 s long."""
    satellite, found = SATELLITES[mission], []
    for number in range(count):
        start = begin + timedelta(seconds=25 * number)
        edges = corners(satellite, start, start + timedelta(seconds=27))
        ring = [edges[key] for key in ("NEAR_START", "FAR_START", "FAR_END", "NEAR_END", "NEAR_START")]
        orbit = satellite.orbit_at(start)
        northward = state(satellite, start)[1][2] > 0
        numbers = {"orbit": orbit, "pathNumber": satellite.relative(orbit)}
        one = granule(
            number,
            platform=mission,
            flightDirection="ASCENDING" if northward else "DESCENDING",
            geometry=aoi.split({"type": "Polygon", "coordinates": [ring]}),
            **(numbers if said else {}),
        )
        found.append(replace(one, id=f"{mission}-{start:%Y%m%dT%H%M%S}", start=start, stop=start))
    return found


def together(granules: list[Granule]) -> dict[str, Any]:
    """The area that they cover together."""
    return aoi.parse(mapping(shapely.union_all([shape(one.geometry) for one in granules if one.geometry])))


NODE = SATELLITES["S1A"].node_of(30_000)
# A minute before a midnight, and a quarter of a revolution after a node: there it flies over 180 degrees.
MIDNIGHT = datetime(2020, 3, 2, tzinfo=UTC) - timedelta(seconds=60)
FIJI = SATELLITES["S1A"].node_of(SATELLITES["S1A"].first_pass(66, NODE)) + timedelta(seconds=5560)


@pytest.mark.parametrize(
    ("begin", "said", "changes"),
    [
        (NODE - timedelta(seconds=60), True, lambda one: one.properties["orbit"]),
        (MIDNIGHT, True, lambda one: one.start.date()),
        (MIDNIGHT, False, lambda one: one.start.date()),
        (FIJI, True, lambda one: one.geometry["type"]),
    ],
    ids=["equator", "midnight", "midnight, orbit unknown", "antimeridian"],
)
def test_a_pass_is_one_across_the_equator_midnight_and_the_antimeridian(
    begin: datetime, said: bool, changes: Any
) -> None:
    one = frames(begin, 6, said=said)
    later = frames(begin + timedelta(days=12), 6, said=said)
    assert len({changes(frame) for frame in one}) == 2  # else nothing is shown
    area, asked = together(one), {"min_coverage": 0.98, "coverage_by": "date"}
    for shuffled in ([*one, *later], [*later[::-1], *one[::-1]]):
        assert kept(shuffled, area, **asked) == sorted(frame.id for frame in [*one, *later])
        # Of a pass that lacks a frame all are dropped, and the other pass does not help it.
        lacking = [frame for frame in shuffled if frame != one[2]]
        assert kept(lacking, area, **asked) == [frame.id for frame in later]
        assert reasons(lacking, area, **asked) == ["min_coverage"] * 5


def test_passes_of_one_direction_are_told_apart_by_half_a_revolution_between_them() -> None:
    """Seen from the equator: the same side of the next revolution is another pass, on another track."""
    begin, turn = NODE - timedelta(seconds=60), timedelta(seconds=PERIOD)
    one, beside = frames(begin, 6), frames(begin + turn, 6)
    area = together([*one, *beside])
    assert kept([*one, *beside], area, min_coverage=0.9, coverage_by="date") == []
    assert len(kept([*one, *beside], area, min_coverage=0.4, coverage_by="date")) == 12


def test_a_pass_may_have_gaps_where_nothing_was_asked_for() -> None:
    begin = NODE - timedelta(minutes=15)
    south, north = frames(begin, 2), frames(begin + timedelta(minutes=30), 2)
    area, asked = together([*south, *north]), {"min_coverage": 0.98, "coverage_by": "date"}
    assert len(kept([*south, *north], area, **asked)) == 4


def test_two_platforms_side_by_side_are_two_passes() -> None:
    one = frames(NODE, 2)
    twin = [
        replace(frame, id=f"{frame.id}b", properties={**frame.properties, "platform": "S1B"}) for frame in one
    ]
    assert kept([one[0], twin[1]], together(one), min_coverage=0.9, coverage_by="date") == []


def test_coverage_without_an_area_is_an_error() -> None:
    with pytest.raises(QueryError, match=r"filter.min_coverage: the query has no area"):
        kept([granule()], min_coverage=0.5)


# Stacks


def two_stacks() -> list[Granule]:
    later = [granule(n, day=12 * n, stack="p35_f122") for n in (4, 2, 3, 1)]
    return [*later, granule(9, day=1, stack="p137_f5")]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"latest": 2}, ["g3", "g4", "g9"]),
        ({"earliest": 2}, ["g1", "g2", "g9"]),
        ({"max_count": 3}, ["g1", "g2", "g3", "g9"]),
        ({"min_count": 2}, ["g1", "g2", "g3", "g4"]),
        ({"min_count": 4, "latest": 1}, ["g4"]),
        ({"min_count": 5}, []),
    ],
)
def test_counts_are_per_stack_and_min_count_comes_before_picking(
    asked: dict[str, int], expected: list[str]
) -> None:
    assert kept(two_stacks(), **asked) == expected
    assert set(reasons(two_stacks(), **asked)) <= set(asked)


def test_time_decides_what_is_picked_and_names_only_between_equals() -> None:
    granules = [granule(1, day=9), granule(2, day=5), granule(3, day=5), granule(4, day=1)]
    assert kept(granules, latest=1) == ["g1"]
    assert kept(granules, latest=2) == ["g1", "g3"]
    assert kept(granules, earliest=2) == ["g2", "g4"]


def test_picking_follows_the_other_criteria() -> None:
    granules = [granule(n, day=n, beamMode="IW" if n < 3 else "EW") for n in range(5)]
    assert kept(granules, beam_mode="IW", latest=1) == ["g2"]


def test_a_granule_of_unknown_time_cannot_be_the_latest() -> None:
    assert reasons([granule(1), granule(2, day=None)], latest=1) == ["unknown latest"]


# One granule once


def once(granules: list[Granule]) -> tuple[list[str], list[Dropped]]:
    with Spool() as spool:
        for one in granules:
            said = one.properties
            spool.add(one, sensing=said.get("sensing"), processed=str(said.get("processed", "")))
        filters.dedupe(spool)
        return [one.id for one in spool], list(spool.dropped())


def test_the_same_granule_again_is_skipped_without_a_word() -> None:
    assert once([granule(1), granule(2), granule(1, frameNumber=7)]) == (["g1", "g2"], [])


def test_of_several_processings_of_one_sensing_the_newest_is_kept() -> None:
    old, new = granule(1, sensing="a", processed="2020"), granule(2, sensing="a", processed="2023")
    for order in ([old, new, granule(3)], [new, granule(3), old]):
        assert once(order) == (["g2", "g3"], [Dropped(id="g1", reason="superseded")])


def test_the_newest_processing_is_kept_whatever_its_name() -> None:
    old, new = granule(2, sensing="a", processed="2020"), granule(1, sensing="a", processed="2023")
    assert once([old, new])[0] == once([new, old])[0] == ["g1"]


def test_between_equals_the_name_decides() -> None:
    one, two = granule(1, sensing="a"), granule(2, sensing="a")
    assert once([one, two]) == once([two, one]) == (["g2"], [Dropped(id="g1", reason="superseded")])


# Assets


def test_select_tests_the_fields_of_assets() -> None:
    asset = Asset(key="SCL_20m", path="cdse/S2/x/T31UFS_SCL_20m.jp2", size=900)
    assert filters.selects({}, asset)
    assert filters.selects({"name": "*_SCL_20m*", "size": {"max": 1000}}, asset)
    assert not filters.selects({"calib_level": [2, 3]}, asset)
    assert filters.selects({"calib_level": [2, 3]}, {"calib_level": "2"})


def test_select_tests_what_else_the_archive_says_of_a_file() -> None:
    asset = Asset(key="data", path="a/b/c/d.fits", properties={"calib_level": 2, "name": "not the file's"})
    assert filters.selects({"calib_level": [2], "name": "d.fits"}, asset)
    assert not filters.selects({"calib_level": [3]}, asset)
    assert Asset.from_json(asset.to_json()) == asset
    assert "properties" not in Asset(key="data", path="a/b/c/d").to_json()


@pytest.mark.parametrize(
    ("wanted", "given", "match"),
    [
        ("!x", "x", False),
        ("!x", "y", True),
        ("!x", None, True),
        (["a", "b", "!c"], "a", True),
        (["a", "b", "!a"], "a", False),
        (["!a", "!b"], "c", True),
        ("!*_thumb*", "x_thumb.png", False),
        (">=5", 5, True),
        ("> 5", 5, False),
        ("<=5", 5.0, True),
        ("<5", 5, False),
        ("1..5", 5, True),
        ("1..5", 5.5, False),
        ("!1..5", 3, False),
        (["<2", ">4"], 3, False),
        ("5", 5, True),
        ("five", 5, False),
        (">five", 5, False),
        ("1..", 5, False),
        (">=5", None, False),
        (">=5", ">=5", True),
        (True, True, True),
    ],
)
def test_select_takes_what_filter_products_takes(wanted, given, match) -> None:
    assert filters.selects({"name": wanted}, {"name": given}) is match


def test_select_is_made_canonical() -> None:
    assert filters.validate_select({"b": [2, 1, 1], "a": [3]}) == {"a": 3, "b": [1, 2]}


# What is refused, and what is the same


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"polarization": []}, "filter.polarization: got an empty list"),
        ({"frame": []}, "filter.frame: got an empty list"),
        ({"polarization": {"min": 1}}, "allowed: VV, VV"),
        ({"polarization": 5}, "filter.polarization: got 5"),
        ({"polarization": "+"}, "channels such as VV"),
        ({"flight_direction": "ACSENDING"}, "did you mean 'ASCENDING'"),
        ({"flight_direction": ""}, "allowed: ASCENDING or DESCENDING"),
        ({"look_direction": {"contains": ["x"]}}, "allowed: LEFT or RIGHT"),
        ({"latest": 0}, "filter.latest: got 0 .*at least 1"),
        ({"min_count": True}, "at least 1"),
        ({"earliest": 1, "latest": 1}, "filter: latest and earliest exclude each other"),
        ({"max_count": 1, "latest": 1}, "exclude each other"),
        ({"min_coverage": 20}, "a fraction of the area, 0 to 1"),
        ({"min_coverage": "0.5"}, "a fraction"),
        ({"min_coverage": 0.5, "coverage_by": "orbit"}, "scene, or date"),
        ({"coverage_by": "date"}, "there is no min_coverage"),
        ({"months": [0]}, "filter.months: got 0 .*months 1 to 12"),
        ({"months": "June"}, "months 1 to 12"),
        ({"day_of_year": [1]}, "first, last"),
        ({"day_of_year": [1, 367]}, "days 1 to 366"),
        ({"path_frame": [35]}, r"\[path, frame\]"),
        ({"path_frame": [[35, "x"]]}, r"\[path, frame\]"),
        ({"path_frame": [[35, 1], 7]}, r"\[path, frame\]"),
        ({"start": "yesterday"}, "filter.start: got 'yesterday' .*2018-01-31"),
        ({"start": 2018}, "filter.start: got 2018"),
        ({"start": "2018-02-31"}, "filter.start: got '2018-02-31'"),
        ({"start": "2018-02-03", "end": "2018-02-01"}, "is before start"),
        ({"frame": {}}, "allowed: one value, a list"),
        ({"frame": {"min": 1, "contains": [1]}}, "allowed: one value"),
        ({"frame": {"min": 2, "max": 1}}, "min 2 is more than max 1"),
        ({"frame": {"min": 2, "max": "x"}}, "two numbers, two times, or two texts"),
        ({"frame": {"min": True}}, "filter.frame.min: got True"),
        ({"frame": {"contains": []}}, "empty list"),
        ({"frame": None}, "filter.frame: got None"),
        ({"frame": " "}, "filter.frame: got ' '"),
        ({"frame": float("inf")}, "filter.frame: got inf"),
        ({"season": [1, 90]}, r"months: \[12, 1, 2\] or day_of_year"),
        ({"polarizaton": "VV"}, "'asf' has no such property .*did you mean 'polarization'"),
        ({"xyzzy": 1}, r"known: absolute_orbit, asf_frame"),
        ({"incidence_angle": {"max": 63}}, "filter.incidence_angle: archive 'asf' has no such property"),
    ],
)
def test_what_cannot_be_evaluated_is_an_error_in_one_line(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(QueryError, match=message) as caught:
        filters.validate(asked, archive=archive())
    assert str(caught.value).startswith("filter")
    assert "\n" not in str(caught.value)


def test_open_archives_take_any_property_but_no_misspelt_criterion_of_ours() -> None:
    assert filters.validate({"eo:cloud_cover": 1}, archive=archive(property_names=None)) == {
        "eo:cloud_cover": 1
    }
    with pytest.raises(QueryError, match="did you mean 'min_count'"):
        filters.validate({"min_cuont": 1}, archive=archive(property_names=None))


def test_pairs_need_an_archive_with_paths_and_frames() -> None:
    with pytest.raises(QueryError, match=r"filter\.path_frame"):
        filters.validate({"path_frame": [1, 2]}, archive=archive(properties={"frame": "frameNumber"}))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"frame": 5}, {"frame": [5]}),
        ({"frame": [1, 2, 2]}, {"frame": (2, 1)}),
        ({"frame": 20.0}, {"frame": 20}),
        ({"frame": {"min": "1", "max": 2}}, {"frame": {"max": 2.0, "min": 1}}),
        ({"polarization": "VH+VV"}, {"polarization": ["vv+vh"]}),
        ({"polarization": {"contains": "VV"}}, {"polarization": {"contains": ["vv", "VV"]}}),
        ({"flight_direction": "asc"}, {"flight_direction": ["ASCENDING"]}),
        ({"months": 6}, {"months": [6, 6]}),
        ({"path_frame": [35, 122]}, {"path_frame": [["35", 122]]}),
        ({"start": "2018-01-01"}, {"start": datetime(2018, 1, 1, tzinfo=UTC)}),
        ({"end": "2018-01-01"}, {"end": "2018-01-01T23:59:59.999999Z"}),
        ({"flightDirection": {"contains": [2, 1]}}, {"flightDirection": {"contains": [1, 2]}}),
        ({"tile": date(2018, 1, 1)}, {"tile": "2018-01-01"}),
        ({"tile": " x "}, {"tile": "x"}),
    ],
)
def test_equal_questions_are_equal_values(one: dict[str, Any], other: dict[str, Any]) -> None:
    first = filters.validate(one, archive=archive())
    assert first == filters.validate(other, archive=archive())
    assert filters.validate(first, archive=archive()) == first


def test_times_with_a_zone_become_utc_and_naive_ones_are_utc() -> None:
    noon = datetime(2018, 1, 1, 12, tzinfo=UTC)
    assert criteria.moment("2018-01-01T13:00:00+01:00", name="start") == noon
    assert criteria.moment("2018-01-01 12:00", name="start") == noon
    assert criteria.moment(datetime(2018, 1, 1, 12), name="start") == noon  # noqa: DTZ001
    assert criteria.moment(date(2018, 1, 1), name="end", last=True) == datetime(
        2018, 1, 1, 23, 59, 59, 999_999, UTC
    )


# Properties of it all

ANY_GRANULES = st.lists(
    st.builds(
        granule,
        st.integers(0, 999),
        day=st.one_of(st.none(), st.integers(0, 800)),
        stack=st.sampled_from(["", "a", "b"]),
        frameNumber=st.one_of(st.none(), st.integers(0, 3), st.sampled_from(["1", "x"])),
        polarization=st.sampled_from([None, "VV", "VV+VH", ["VH", "VV"]]),
        orbit=st.integers(1, 2),
        geometry=st.sampled_from([None, LEFT, RIGHT, AREA]),
    ),
    max_size=12,
    unique_by=lambda g: g.id,
)
ANY_CRITERIA = st.fixed_dictionaries(
    {},
    optional={
        "months": st.lists(st.integers(1, 12), min_size=1),
        "day_of_year": st.tuples(st.integers(1, 366), st.integers(1, 366)),
        "frame": st.one_of(st.integers(0, 3), st.just({"min": 1})),
        "polarization": st.sampled_from(["VV", ["VV", "VV+VH"], {"contains": ["VV"]}]),
    },
)
PICKING = st.one_of(
    st.just({}),
    st.builds(lambda name, count: {name: count}, st.sampled_from(filters.PICKS), st.integers(1, 4)),
    st.builds(lambda count: {"min_count": count}, st.integers(1, 4)),
    st.sampled_from([{"min_coverage": 0.9, "coverage_by": "date"}, {"min_coverage": 0.4}]),
)


@given(ANY_GRANULES, ANY_CRITERIA, PICKING)
def test_filtering_twice_changes_nothing(
    granules: list[Granule], asked: dict[str, Any], picking: dict[str, Any]
) -> None:
    first, dropped = apply(granules, asked | picking, AREA)
    assert apply(first, asked | picking, AREA) == (first, [])
    assert Counter(g.id for g in granules) == Counter([*(g.id for g in first), *(d.id for d in dropped)])
    assert all(g in granules for g in first)
