from __future__ import annotations

import gzip
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pyproj
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import shape

from skystage import aoi
from skystage.errors import AreaError

BOX = {"type": "Polygon", "coordinates": [[[0, 0], [2, 0], [2, 1], [0, 1], [0, 0]]]}
OVER = "POLYGON((179 0, -179 0, -179 2, 179 2, 179 0))"
BOWTIE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}


def bounds(geometry: dict[str, Any]) -> list[tuple[float, ...]]:
    return sorted(shape(part).bounds for part in aoi.parts(geometry))


# What may be given


@pytest.mark.parametrize(
    "value",
    [
        [0, 0, 2, 1],
        (0.0, 0, 2, 1),
        "0, 0, 2, 1",
        "[0, 0, 2, 1]",
        "POLYGON((0 0, 0 1, 2 1, 2 0, 0 0))",
        "  polygon Z((0 0 7, 0 1 7, 2 1 7, 2 0 7, 0 0 7))",
        "POLYGON((0 0, 0 1, 2 1, 2 0))",
        "SRID=4326;MULTIPOLYGON(((0 0, 0 1, 2 1, 2 0, 0 0)))",
        BOX,
        json.dumps(BOX),
        {"type": "Feature", "properties": {}, "geometry": BOX},
        {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": BOX}]},
        {"type": "GeometryCollection", "geometries": [BOX, BOX]},
        {**BOX, "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}},
    ],
)
def test_one_area_is_one_geometry_however_it_is_written(value: Any) -> None:
    assert aoi.parse(value) == aoi.parse([0, 0, 2, 1])


def test_an_area_is_plain_json_closed_and_counter_clockwise() -> None:
    area = aoi.parse("POLYGON((0 0, 0 1, 2 1, 2 0, 0 0))")
    assert area == {
        "type": "Polygon",
        "coordinates": [[[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [0.0, 1.0], [0.0, 0.0]]],
    }
    assert aoi.parse(area) == area


def test_coordinates_are_not_rounded() -> None:
    assert aoi.parse("POINT(-122.123456789012 38.1)")["coordinates"] == [-122.123456789012, 38.1]
    assert aoi.to_wkt(aoi.parse("POINT(-122.123456789012 38.1)")) == "POINT (-122.123456789012 38.1)"


def test_features_of_a_collection_are_united() -> None:
    area = aoi.parse({"type": "GeometryCollection", "geometries": [BOX, aoi.parse([1, 0, 3, 1])]})
    assert bounds(area) == [(0, 0, 3, 1)]


def test_zero_has_one_sign() -> None:
    assert "-0.0" not in json.dumps(aoi.parse("POINT(-0.0 0.0)"))


# Files


@pytest.mark.parametrize("name", ["a.geojson", "a.json", "a.wkt", "polygon.geojson"])
def test_a_file_is_found_beside_the_query(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(aoi.to_wkt(BOX) if name.endswith("wkt") else json.dumps(BOX))
    assert aoi.parse(name, base=tmp_path) == aoi.parse(BOX)
    assert aoi.parse(tmp_path / name) == aoi.parse(BOX)


def test_the_crs_member_of_a_geojson_is_honoured() -> None:
    there = pyproj.Transformer.from_crs("OGC:CRS84", "EPSG:32610", always_xy=True)
    west, south = there.transform(-123, 38)
    square = shapely.box(west, south, west + 10_000, south + 10_000)
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32610"}}
    area = aoi.parse({**shapely.geometry.mapping(square), "crs": crs})
    assert aoi.area_m2(area) == pytest.approx(1e8, rel=2e-3)
    assert shape(area).bounds[:2] == pytest.approx((-123, 38), abs=2e-3)


def test_a_projected_outline_around_the_pole_holds_the_pole() -> None:
    crs = {"type": "name", "properties": {"name": "EPSG:3995"}}
    square = shapely.geometry.mapping(shapely.box(-1e6, -1e6, 1e6, 1e6))
    area = aoi.parse({**square, "crs": crs})
    assert shape(area).bounds[3] == 90
    assert aoi.area_m2(area) == pytest.approx(4e12, rel=0.07)


def test_a_projected_point_is_brought_to_degrees() -> None:
    crs = {"type": "name", "properties": {"name": "EPSG:32610"}}
    point = aoi.parse({"type": "Point", "coordinates": [500_000, 0], "crs": crs})
    assert point["coordinates"] == pytest.approx([-123, 0])


def test_another_body_keeps_its_own_degrees() -> None:
    moon = "+proj=eqc +lon_0=0 +R=1737400 +units=m"
    crs = {"type": "name", "properties": {"name": moon}}
    point = aoi.parse({"type": "Point", "coordinates": [30323.35, 0], "crs": crs}, body="moon")
    assert point["coordinates"] == pytest.approx([1, 0], abs=1e-5)


def test_other_files_are_read_with_their_crs(tmp_path: Path) -> None:
    geopandas = pytest.importorskip("geopandas")
    frame = geopandas.GeoDataFrame(geometry=[shapely.box(0, 0, 2, 1), None], crs="OGC:CRS84")
    frame.to_crs("EPSG:3857").to_file(tmp_path / "a.gpkg")
    assert bounds(aoi.parse("a.gpkg", base=tmp_path)) == [pytest.approx((0, 0, 2, 1), abs=1e-6)]


def test_without_geopandas_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.shp").touch()
    monkeypatch.setitem(sys.modules, "geopandas", None)
    with pytest.raises(AreaError, match="pip install geopandas"):
        aoi.parse("a.shp", base=tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.shp", b"no", "cannot be read"),
        ("a.json", b"[1]", "holds no GeoJSON object"),
        ("a.json", b"{", "is no JSON"),
        ("a.wkt", b"hello", "holds no WKT"),
        ("a.wkt", b"\xff\xfe\x00", "is no text"),
    ],
)
def test_a_file_that_holds_no_area_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    if name.endswith("shp"):
        pytest.importorskip("geopandas")
    with pytest.raises(AreaError, match=message) as caught:
        aoi.parse(name, base=tmp_path)
    assert "\n" not in str(caught.value)


# What is refused


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([-179, 0, 179, 5], r"358 degrees wide \(to cross the antimeridian write west > east"),
        ([-175, 0, 175, 5], "350 degrees wide"),
        ([5, 0, 0, 5], "355 degrees wide"),
        ([-185, 0, 180, 5], "365 degrees wide"),
        ([0, 0, 1, 95], r"latitude 95 is beyond -90\.\.90"),
        ([-400, 0, 1, 5], "longitude -400 is beyond"),
        ([0, 5, 1, 2], "south 5 is not below north 2"),
        ([0, 0, 0, 2], "west and east are both 0"),
        ([0, float("nan"), 1, 2], "is not finite"),
        ([1, 2, 3], "is not four numbers"),
        ([1, 2, 3, True], "is not four numbers"),
        (["a", "b", "c", "d"], "is not four numbers"),
        (7, "7 is no area"),
        ("a,b,c,d", "there is no file 'a,b,c,d'"),
        ("roi.geojson", "there is no file 'roi.geojson'"),
        ("~nobody-of-that-name/a.json", "there is no file"),
        ("POLYGON((0 0, 1", "is no WKT"),
        ("POLYGON EMPTY", "is empty"),
        ("{nonsense", "is no JSON"),
        ({}, "has no geometry"),
        ({"type": "Feature", "geometry": None}, "has no geometry"),
        ({"type": "FeatureCollection", "features": [{}]}, "has no geometry"),
        ({"type": "Polygon", "coordinates": [[0, 1]]}, "has no geometry"),
        ({"type": "FeatureCollection", "features": []}, "is empty"),
        ({**BOX, "crs": {"type": "link"}}, "has no name"),
        ({**BOX, "crs": {"properties": {"name": "EPSG:99999999"}}}, "is not known"),
        (
            {"type": "GeometryCollection", "geometries": [BOX, {"type": "Point", "coordinates": [0, 0]}]},
            "mix",
        ),
        (BOWTIE, r"not valid: Self-intersection\[0.5 0.5\]"),
        ("POLYGON((179 0, -179 2, -179 0, 179 2, 179 0))", "not valid: Self-intersection"),
        ("POLYGON((-100 0, 100 0, 0 60, -100 0))", "goes once around the body"),
    ],
)
def test_what_is_no_area_is_refused_in_one_line(value: Any, message: str) -> None:
    with pytest.raises(AreaError, match=message) as caught:
        aoi.parse(value)
    assert str(caught.value).startswith("area: ")
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_long_values_are_cut_in_the_error() -> None:
    with pytest.raises(AreaError) as caught:
        aoi.parse("x" * 500)
    assert len(caught.value.message) < 120


# The antimeridian, wrapping, bands and poles


def test_west_beyond_east_crosses_the_antimeridian_as_two_boxes() -> None:
    area = aoi.parse([170, -20, -170, 20])
    assert area["type"] == "MultiPolygon"
    assert bounds(area) == [(-180, -20, -170, 20), (170, -20, 180, 20)]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([-180, 60, 180, 90], (-180, 60, 180, 90)),
        ([0, -10, 360, 10], (-180, -10, 180, 10)),
        ([190, 0, 200, 10], (-170, 0, -160, 10)),
        ([350, 0, 10, 5], (-10, 0, 10, 5)),
        ([-190, 0, -181, 5], (170, 0, 179, 5)),
        ([10, -90, 20, 90], (10, -90, 20, 90)),
    ],
)
def test_bands_and_longitudes_up_to_360_are_one_box(box: list[float], expected: tuple[float, ...]) -> None:
    assert bounds(aoi.parse(box)) == [expected]


def test_a_polygon_that_jumps_is_cut_at_the_antimeridian() -> None:
    assert bounds(aoi.parse(OVER)) == [(-180, 0, -179, 2), (179, 0, 180, 2)]
    assert aoi.parse(OVER) == aoi.parse([179, 0, -179, 2])


def test_a_polygon_that_also_touches_the_antimeridian_stays_polygons() -> None:
    area = aoi.parse("POLYGON((170 0, 190 0, 190 2, 175 2, 180 4, 175 5, 170 5, 170 0))")
    assert area["type"] == "MultiPolygon"
    assert bounds(area) == [(-180, 0, -170, 2), (170, 0, 180, 5)]


def test_a_band_written_as_a_polygon_stays_a_band() -> None:
    assert bounds(aoi.parse("POLYGON((-180 5, 180 5, 180 9, -180 9, -180 5))")) == [(-180, 5, 180, 9)]


def test_a_line_and_points_are_wrapped_too() -> None:
    assert bounds(aoi.parse("LINESTRING(170 0, -170 10)")) == [(-180, 5, -170, 10), (170, 0, 180, 5)]
    assert aoi.parse("POINT(190 5)")["coordinates"] == [-170, 5]
    assert aoi.parse("MULTIPOINT(190 5, 10 5)")["type"] == "MultiPoint"
    assert aoi.parse("LINEARRING(0 0, 1 0, 1 1, 0 0)")["type"] == "LineString"


def test_a_ring_around_the_pole_is_a_cap() -> None:
    north = aoi.parse("POLYGON((-135 70, -45 70, 45 70, 135 70, -135 70))")
    south = aoi.parse("POLYGON((-135 -70, -45 -70, 45 -70, 135 -70, -135 -70))")
    assert bounds(north) == [(-180, 70, 180, 90)]
    assert aoi.area_m2(north) == pytest.approx(aoi.area_m2(aoi.parse([-180, 70, 180, 90])))
    assert aoi.area_m2(south) == pytest.approx(aoi.area_m2(north))


def test_a_hole_is_cut_like_its_shell() -> None:
    area = aoi.parse("POLYGON((170 0, -170 0, -170 9, 170 9, 170 0), (179 4, -179 4, -179 5, 179 5, 179 4))")
    solid, hole = aoi.parse([170, 0, -170, 9]), aoi.parse([179, 4, -179, 5])
    assert aoi.area_m2(area) == pytest.approx(aoi.area_m2(solid) - aoi.area_m2(hole))
    assert aoi.coverage(area, [hole]) == 0


def test_a_footprint_that_needs_nothing_comes_back_as_it_is() -> None:
    assert aoi.split(BOX) == BOX
    assert aoi.split(BOWTIE) == BOWTIE


def test_a_footprint_over_the_antimeridian_is_two_parts() -> None:
    scene = [[-179.2, 51.1], [177.3, 51.6], [176.9, 50.0], [-179.7, 49.5], [-179.2, 51.1]]
    halves = aoi.split({"type": "Polygon", "coordinates": [scene]})
    (west, *_), (*_, east, _) = bounds(halves)
    assert (west, east) == (-180, 180)
    assert all(shape(part).bounds[2] - shape(part).bounds[0] < 4 for part in aoi.parts(halves))


def test_a_crossing_footprint_over_the_antimeridian_is_repaired() -> None:
    ring = [[179, 0], [-179, 2], [-179, 0], [179, 2], [179, 0]]
    assert shape(aoi.split({"type": "Polygon", "coordinates": [ring]})).is_valid


def test_parts_are_simple() -> None:
    nested = {"type": "GeometryCollection", "geometries": [BOX, aoi.parse([170, 0, -170, 1])]}
    assert [part["type"] for part in aoi.parts(nested)] == ["Polygon"] * 3
    assert aoi.parts(BOX)[0]["type"] == "Polygon"


# Area and coverage


def test_coverage_is_true_area_and_not_degrees() -> None:
    assert aoi.coverage(aoi.parse([0, 60, 10, 80]), [aoi.parse([0, 60, 10, 70])]) == pytest.approx(
        0.62, abs=0.005
    )


def test_the_whole_earth_has_its_known_area() -> None:
    assert aoi.area_m2(aoi.parse([-180, -90, 180, 90])) == pytest.approx(5.10065622e14, rel=1e-8)


def test_small_areas_agree_with_geodesics() -> None:
    cell = aoi.parse([10, 45, 10.1, 45.1])
    geodesic, _ = pyproj.Geod(ellps="WGS84").geometry_area_perimeter(shape(cell))
    assert aoi.area_m2(cell) == pytest.approx(geodesic, rel=1e-5)


@pytest.mark.parametrize(
    ("body", "area"), [("moon", 3.7932e13), ("mars", 1.4437e14), ("sky", 12.56637), ("venus", 4.6023e14)]
)
def test_other_bodies_are_spheres(body: str, area: float) -> None:
    assert aoi.area_m2(aoi.parse([-180, -90, 180, 90]), body) == pytest.approx(area, rel=1e-4)


def test_a_body_of_unknown_size_is_refused() -> None:
    with pytest.raises(AreaError, match=r"'vulcan' has no known size \(known: earth, 52 europa, "):
        aoi.area_m2(BOX, "vulcan")


def test_overlapping_footprints_count_once() -> None:
    area, left = aoi.parse([0, 0, 4, 1]), aoi.parse([0, 0, 2, 1])
    assert aoi.coverage(area, [left, left]) == pytest.approx(0.5)
    assert aoi.coverage(area, [left, aoi.parse([1, 0, 3, 1])]) == pytest.approx(0.75)


def test_frames_that_meet_cover_what_lies_across_their_seam() -> None:
    halves = [aoi.parse([0, 0, 1.3, 1]), aoi.parse([1.3, -1, 3, 2])]
    assert aoi.coverage(aoi.parse([0.1, 0.1, 2, 0.9]), halves) == 1.0
    assert aoi.coverage(aoi.parse("LINESTRING(0.5 0.5, 2 0.5)"), halves) == 1.0


def test_a_seam_of_rounding_errors_is_no_gap() -> None:
    step = 1 / 3 + 1e-13
    footprints = [aoi.parse([0, 0, 1 / 3, 1]), aoi.parse([step, 0, 1, 1])]
    assert aoi.coverage(aoi.parse([0, 0, 1, 1]), footprints) == 1.0


def test_a_footprint_within_the_area_covers_its_part() -> None:
    assert 0 < aoi.coverage(aoi.parse([0, 0, 9, 9]), [aoi.parse([1, 1, 2, 2])]) < 0.02


def test_no_footprint_covers_nothing() -> None:
    assert aoi.coverage(BOX, []) == 0.0
    assert aoi.coverage(BOX, [aoi.parse([50, 50, 51, 51])]) == 0.0


def test_points_and_lines_are_covered_or_not() -> None:
    assert aoi.coverage(aoi.parse("POINT(1 0.5)"), [BOX]) == 1.0
    assert aoi.coverage(aoi.parse("POINT(1 5)"), [BOX]) == 0.0
    assert aoi.coverage(aoi.parse("LINESTRING(0.1 0.1, 1 0.5)"), [BOX]) == 1.0
    assert aoi.coverage(aoi.parse("LINESTRING(1 0.5, 1 5)"), [BOX]) == 0.0


def test_a_self_crossing_footprint_still_covers_what_it_shows() -> None:
    assert aoi.coverage(aoi.parse([0, 0, 1, 1]), [BOWTIE]) == pytest.approx(0.5, rel=1e-3)


def test_footprints_meet_the_area_across_the_antimeridian() -> None:
    area = aoi.parse([179, 0, -179, 2])
    beyond = {"type": "Polygon", "coordinates": [[[181, 0], [181, 2], [179, 2], [179, 0], [181, 0]]]}
    assert aoi.coverage(area, [beyond]) == 1.0
    assert aoi.intersects(area, aoi.parse([-180, 1, -179.5, 1.5]))
    assert not aoi.intersects(area, aoi.parse([0, 0, 1, 1]))
    assert aoi.Area(area).intersects(beyond)
    assert not aoi.Area(area).intersects(BOX)


def test_five_thousand_granules_take_less_than_a_second() -> None:
    area = aoi.Area(aoi.parse([0, 60, 10, 80]))
    footprints = [aoi.parse([n / 1000, 60, 3 + n / 1000, 62]) for n in range(5000)]
    begin = time.process_time()
    covered = [area.coverage([footprint]) for footprint in footprints]
    assert time.process_time() - begin < 2  # about 0.3 s; the rest is for busy machines
    assert all(0 < part < 0.1 for part in covered)


def test_recorded_footprints_cover_a_part_of_their_own_union() -> None:
    root = Path(os.environ.get("SKYSTAGE_RECORDINGS", Path(__file__).parents[2] / "shared" / "recordings"))
    recording = root / "earth" / "cmr" / "s1_slc_path35_asc_norcal_342.umm.json.gz"
    if not recording.is_file():
        pytest.skip("no recordings")
    items = json.loads(gzip.decompress(recording.read_bytes()))["items"][:40]
    scenes = []
    for item in items:
        boundary = item["umm"]["SpatialExtent"]["HorizontalSpatialDomain"]["Geometry"]["GPolygons"][0][
            "Boundary"
        ]
        ring = [[point["Longitude"], point["Latitude"]] for point in boundary["Points"]]
        scenes.append(aoi.split({"type": "Polygon", "coordinates": [ring]}))
    area = aoi.parse([-123.5, 38.0, -121.5, 40.5])
    single = [aoi.coverage(area, [scene]) for scene in scenes]
    assert max(single) <= aoi.coverage(area, scenes) <= 1
    assert any(part > 0.3 for part in single)


def test_a_box_wider_than_half_the_globe_is_as_wide_as_it_says() -> None:
    area = aoi.parse([-100, 0, 100, 10])
    assert bounds(area) == [(-100, 0, 100, 10)]
    assert aoi.coverage(area, [aoi.parse([0, 0, 1, 10])]) == pytest.approx(1 / 200)


# Laws

lons = st.floats(-180, 180).map(lambda x: round(x, 3))
lats = st.floats(-89, 88).map(lambda x: round(x, 3))


@st.composite
def boxes(draw: st.DrawFn) -> list[float]:
    west, south = draw(lons), draw(lats)
    width, height = draw(st.integers(1, 340)), draw(st.floats(0.01, 90 - south))
    east = west + width
    return [west, south, east - 360 if east > 180 else east, min(90.0, south + height)]


@given(boxes())
def test_cutting_and_wrapping_keep_the_area(box: list[float]) -> None:
    west, south, east, north = box
    width = east - west if east > west else east - west + 360
    area = aoi.parse(box)
    assert aoi.area_m2(area) == pytest.approx(aoi.area_m2(aoi.parse([-180, south, 180, north])) * width / 360)
    assert all(-180 <= lon <= 180 for part in aoi.parts(area) for lon, _ in part["coordinates"][0])
    assert aoi.parse(area) == area
    assert aoi.split(area) == area


@given(boxes(), st.lists(boxes(), max_size=4), boxes())
def test_coverage_is_a_fraction_and_never_shrinks(
    area: list[float], footprints: list[list[float]], more: list[float]
) -> None:
    shapes = [aoi.parse(box) for box in footprints]
    before = aoi.coverage(aoi.parse(area), shapes)
    after = aoi.coverage(aoi.parse(area), [*shapes, aoi.parse(more)])
    assert 0 <= before <= 1
    assert 0 <= after <= 1
    assert after >= before - 1e-9


@pytest.mark.parametrize(
    "ring",
    [
        [[0, 0], [2, 0], [2, 1], [0, 1], [0, 0]],
        [[0, 0], [0, 1], [2, 1], [2, 0], [0, 0]],
        [[0, 0], [2, 1], [2, 0], [0, 1], [0, 0]],
        [[0, 0, 7], [2, 0, 7], [2, 1, 7], [0, 1, 7], [0, 0, 7]],
        [[0, 0], [2, 0], [2, 1], [0, 1]],
        [[179, 0], [-179, 0], [-179, 1], [179, 1], [179, 0]],
        [[179, 0], [181, 0], [181, 1], [179, 1], [179, 0]],
    ],
    ids=["plain", "clockwise", "crossing itself", "with heights", "unclosed", "jumping", "beyond 180"],
)
def test_a_footprint_of_one_ring_is_what_it_is_as_one_part_of_many(ring):
    """The quick way that most footprints take leads where the other one does."""
    one = {"type": "Polygon", "coordinates": [ring]}
    many = {"type": "MultiPolygon", "coordinates": [[ring]]}
    area = aoi.Area(aoi.parse([-180, -1, 180, 3]))
    assert area.coverage([one]) == pytest.approx(area.coverage([many]), rel=1e-12)
    assert area.coverage([one]) > 0
    here = {"type": "Point", "coordinates": [ring[0][0], 0]}
    assert aoi.intersects(one, here) is aoi.intersects(many, here) is True
