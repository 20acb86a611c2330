"""Which dates cover the area, and why the others do not: the same as the filter says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from skystage import aoi, planning, query
from skystage.archives.asf import Asf
from skystage.model import Granule
from skystage.report import Pass, coverage_by_date, stacks
from skystage.searching import SearchFile, search
from skystage.transport import Access

AREA = aoi.parse([0, 0, 4, 1])
FIRST = datetime(2020, 1, 1, 5, tzinfo=UTC)
PLACES = {"south": [0, 0, 2, 1], "north": [2, 0, 4, 1], "both": [0, 0, 4, 1], "away": [8, 8, 9, 9]}


def frame(day: int, place: str | None, stack: str, **properties) -> Granule:
    start = FIRST + timedelta(days=day, seconds=25 * (place == "north"))
    given = {"flightDirection": "ASCENDING", "pathNumber": 35, "platform": "Sentinel-1A", **properties}
    return Granule(
        archive="asf",
        collection="S1",
        id=f"{day:02}-{stack}",
        native_id=f"{day:02}-{stack}",
        start=start,
        stop=start,
        geometry=None if place is None else aoi.parse(PLACES[place]),
        stack=stack,
        properties=given,
    )


def told(granules, area=AREA, least=1.0):
    return coverage_by_date(granules, area, properties=Asf.properties, least=least)


def short(one: Pass) -> tuple:
    return one.date, list(one.granules), round(one.coverage, 6), list(one.missing)


def test_each_date_of_a_track_covers_the_area_or_says_what_is_missing():
    (track,) = told(
        [
            frame(24, "north", "f2"),
            frame(0, "north", "f2"),
            frame(0, "south", "f1"),
            frame(12, "south", "f1", platform="Sentinel-1B"),
            frame(36, "south", "f1"),
            frame(36, "away", "f3"),
        ]
    )
    assert (track.direction, track.path) == ("ascending", "35")
    assert [short(one) for one in track.covered] == [("2020-01-01", ["00-f1", "00-f2"], 1.0, [])]
    assert [short(one) for one in track.uncovered] == [
        ("2020-01-13", ["12-f1"], 0.5, ["f2"]),
        ("2020-01-25", ["24-f2"], 0.5, ["f1"]),
        ("2020-02-06", ["36-f1", "36-f3"], 0.5, ["f2"]),
    ]
    assert [one.platform for one in track.passes] == [
        "Sentinel-1A",
        "Sentinel-1B",
        "Sentinel-1A",
        "Sentinel-1A",
    ]
    assert track.to_json()["uncovered"][0]["missing"] == ["f2"]
    assert [one["date"] for one in track.to_json()["covered"]] == ["2020-01-01"]


def test_a_frame_that_would_add_nothing_is_not_missing():
    (track,) = told([frame(0, "south", "f1"), frame(12, "south", "f1b"), frame(24, "away", "f9")])
    assert track.covered == ()
    assert [one.missing for one in track.uncovered] == [(), (), ("f1", "f1b")]


def test_what_is_enough_can_be_said():
    frames = [frame(0, "south", "f1"), frame(12, "both", "f2")]
    assert [len(told(frames, least=least)[0].covered) for least in (0.0, 0.5, 0.51, 1.0)] == [2, 2, 1, 1]


def test_tracks_are_apart_by_direction_and_path_and_in_their_order():
    frames = [
        frame(0, "both", "a", pathNumber=100),
        frame(0, "both", "b", pathNumber=9),
        frame(1, "both", "c", pathNumber=9, flightDirection="DESCENDING"),
    ]
    # Two tracks in one direction are half a day apart at least.
    frames[1] = replace(frames[1], start=frames[1].start + timedelta(hours=12))
    assert [(one.direction, one.path) for one in told(frames)] == [
        ("ascending", "9"),
        ("ascending", "100"),
        ("descending", "9"),
    ]


def test_a_track_whose_number_changes_in_the_midst_of_a_pass_is_one_track():
    """Its path is another one north of the ascending node."""
    frames = [
        frame(0, "south", "p34_f1188", pathNumber=34),
        frame(0, "north", "p35_f3", pathNumber=35),
        frame(12, "south", "p34_f1188", pathNumber=34),
        frame(24, "north", "p35_f3", pathNumber=35),
        frame(30, "both", "p35_f999", pathNumber=35),
    ]
    across, other = told(frames)
    assert (across.path, other.path) == ("34 35", "35")
    assert [short(one) for one in across.uncovered] == [
        ("2020-01-13", ["12-p34_f1188"], 0.5, ["p35_f3"]),
        ("2020-01-25", ["24-p35_f3"], 0.5, ["p34_f1188"]),
    ]
    assert [one.granules for one in other.covered] == [("30-p35_f999",)]


def test_what_is_not_known_is_told_too():
    (track,) = told(
        [
            replace(frame(0, None, "", flightDirection=None), start=None, stop=None, properties={}),
            replace(frame(1, "both", ""), start=None, stop=None, properties={}),
        ]
    )
    assert (track.direction, track.path) == ("unknown", "unknown")
    assert [(one.date, one.platform, one.coverage) for one in track.passes] == [
        (None, "unknown", 0.0),
        (None, "unknown", 1.0),
    ]
    assert told([]) == []


def test_a_moon_is_measured_as_a_moon():
    here = [replace(frame(0, "south", "f1"), body="moon"), replace(frame(12, "both", "f1"), body="moon")]
    assert [len(one.covered) for one in told(here)] == [1]


def agrees(found: SearchFile, folder, least: float) -> tuple[list[Pass], list[Pass]]:
    """What is told of a search is what the filter makes of it."""
    tracks = told(found.granules(), found.query["area"], least)
    asked = query.parse({**found.query, "filter": {"min_coverage": least, "coverage_by": "date"}})
    made = planning.build(asked, folder / "plan", Access(), searched=found)
    covered = [one for track in tracks for one in track.covered]
    uncovered = [one for track in tracks for one in track.uncovered]
    assert {name for one in covered for name in one.granules} == {one.id for one in made.granules()}
    dropped = {one.id for one in made.dropped() if one.reason == "min_coverage"}
    assert {name for one in uncovered for name in one.granules} == dropped
    assert all(one.coverage >= least for one in covered)
    assert all(one.coverage < least for one in uncovered)
    return covered, uncovered


def test_the_filter_keeps_the_dates_that_cover(box, access, tmp_path):
    asked = {
        "archive": "asf",
        "area": [-122.5, 38.6, -121.0, 41.0],
        "processing_level": "SLC",
        "relative_orbit": 35,
    }
    found = search(query.parse(asked), tmp_path / "granules", access)
    told = [agrees(found, tmp_path, least) for least in (0.2, 0.6, 1.0)]
    assert [len(covered) for covered, _ in told] == [14, 1, 0]


def test_the_filter_keeps_the_recorded_dates_that_cover(open_box, recordings, access, tmp_path):
    open_box(catalogue=recordings)
    asked = {"archive": "asf", "area": [-123.5, 38.0, -121.5, 40.5], "relative_orbit": 35}
    found = search(query.parse(asked), tmp_path / "granules", access)
    for least in (0.3, 0.5, 0.6):
        covered, uncovered = agrees(found, tmp_path, least)
        assert len(covered) + len(uncovered) == 342
        assert covered
        assert uncovered or least < 0.6


def test_a_stack_lists_its_scenes_with_their_times():
    (stack,) = stacks(
        [frame(12, "south", "f1"), replace(frame(3, "south", "f1"), start=None), frame(0, "south", "f1")]
    )
    assert stack.granules == ("00-f1", "12-f1", "03-f1")
    assert stack.to_json(scenes=True)["scenes"] == [
        {"id": "00-f1", "start": "2020-01-01T05:00:00Z"},
        {"id": "12-f1", "start": "2020-01-13T05:00:00Z"},
        {"id": "03-f1", "start": None},
    ]
    assert "scenes" not in stack.to_json()
    opera = frame(0, "south", "b", operaBurstID="T035-073251-IW2")
    assert stacks([opera])[0].frame == "T035-073251-IW2"


def test_a_stack_of_a_tile_says_its_tile_and_its_direction():
    said = {"orbitDirection": "DESCENDING", "relativeOrbitNumber": 51, "tileId": "31UFS"}
    one = frame(0, "south", "31UFS", flightDirection=None, pathNumber=None, **said)
    (stack,) = stacks([one])
    assert (stack.key, stack.direction, stack.path, stack.frame) == (
        "31UFS",
        "descending",
        "unknown",
        "31UFS",
    )
    (track,) = told([one])
    assert (track.direction, track.path) == ("descending", "51")
