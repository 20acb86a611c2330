"""Stitching: what dem-stitcher itself would make, without a request, whole or not at all, equal each time."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from skystage import cli
from skystage import plan as plans
from skystage.archives import dem
from skystage.batch import fetch_plan
from skystage.derive.dem import stitch
from skystage.derive.outcome import Outcome
from skystage.errors import FetchFailed, Offline, PlanError, QueryError, SkystageError
from skystage.model import Asset, Companion, Granule, Query
from skystage.plan import Plan
from skystage.store import Store

rasterio = pytest.importorskip("rasterio", reason="the extra 'raster' is not installed")
np = pytest.importorskip("numpy")

INLAND = (10.2, 45.2, 11.8, 46.3)
FIJI = ((179.6, -17.2, 180, -16.2), (-180, -17.2, -179.7, -16.2))
COAST = (-124.8, 37.5, -123.2, 38.5)


def granule(*boxes, stack="p1_f1") -> Granule:
    polygons = [[[[w, s], [e, s], [e, n], [w, n], [w, s]]] for w, s, e, n in boxes]
    geometry = {"type": "MultiPolygon", "coordinates": polygons}
    return Granule(archive="asf", collection="C", id=stack, native_id=stack, stack=stack, geometry=geometry)


def write(path: Path, companions, granules=()) -> Plan:
    return plans.write(
        path, query=Query(archive="asf"), granules=granules, companions=companions, hits=0, received=0
    )


@pytest.fixture
def staged_dem(box, access, store, tmp_path):
    """A plan whose tiles are staged: ``staged_dem(box, ..., name="glo_30")``; then the log is cleared."""

    def stage(*boxes, **options) -> Plan:
        companions = dem.find([granule(*boxes)], {"margin": 0, **options}, access).companions
        plan = write(tmp_path / "plan.ndjson", companions)
        fetch_plan(plan, store, access, keys=None).raise_for_failures()
        box.clear()
        return plan

    return stage


@pytest.fixture
def stitched(staged_dem, store, tmp_path):
    """The raster of one stack: ``heights, profile, tags``."""

    def make(*boxes, options=None, **changes):
        outcome = stitch(staged_dem(*boxes, **(options or {})), store, tmp_path / "out", **changes)
        outcome.raise_for_failures()
        return read(outcome.made[0].path)

    return make


def read(path: Path):
    with rasterio.open(path) as file:
        return file.read(1), file.profile, file.tags()


def oracle(store: Store, tmp_path: Path, bounds, name="glo_30", **options):
    """What dem-stitcher's own function makes of the same tiles."""
    tiles = tmp_path / "tiles"
    tiles.mkdir()
    for path in (store.root / "dem").rglob("*.tif"):
        (tiles / path.name).symlink_to(path)
    geoid = tiles / "us_nga_egm2008_1_4326__agisoft.tif"
    with warnings.catch_warnings(), dem.quietly():
        from dem_stitcher import stitch_dem

        return stitch_dem(
            list(bounds),
            name,
            dst_tile_dir=tiles,
            geoid_path=str(geoid) if options.get("dst_ellipsoidal_height", True) else None,
            **options,
        )


# --------------------------------------------------------------------------------------------------
# The same as dem-stitcher


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"area_or_point": "area"}, {"dst_area_or_point": "Area"}),
        ({"height": "geoid"}, {"dst_ellipsoidal_height": False}),
        ({"resolution": 30}, {"dst_resolution": 30 / 3600}),
    ],
    ids=["as it is", "area", "geoid", "resolution"],
)
def test_heights_and_grid_are_those_of_dem_stitcher(stitched, store, tmp_path, ours, theirs):
    heights, profile, tags = stitched(INLAND, **ours)
    expected, grid = oracle(store, tmp_path, INLAND, **theirs)
    np.testing.assert_array_equal(heights, expected)
    assert profile["transform"].almost_equals(grid["transform"], 1e-12)
    assert tags["AREA_OR_POINT"] == ours.get("area_or_point", "point").capitalize()


@pytest.mark.parametrize(
    "place",
    [(44.2, 37.2, 46.8, 40.8), (44.2, 39.2, 45.8, 40.8)],
    ids=["half of it", "all of it"],
)
def test_the_gap_over_armenia_is_patched_as_dem_stitcher_does(stitched, store, tmp_path, place):
    # At the sandbox's resolution: dem-stitcher samples up to 30 m what comes from 90 m tiles alone.
    heights, profile, _ = stitched(place, resolution=12)
    expected, grid = oracle(store, tmp_path, place, dst_resolution=12 / 3600)
    # Where dem-stitcher leaves a line between the two without heights, ours has those of its neighbours.
    there = np.isfinite(expected)
    assert there.mean() > 0.99
    np.testing.assert_array_equal(heights[there], expected[there])
    assert np.isfinite(heights).all()
    assert profile["transform"].almost_equals(grid["transform"], 1e-12)


def test_a_stack_in_the_gap_alone_has_30_m_pixels(stitched):
    _, profile, _ = stitched((45.2, 39.2, 45.3, 39.3))
    assert profile["transform"].a == pytest.approx(1 / 3600)


def test_across_the_antimeridian_there_is_one_raster_of_continuous_longitudes(stitched, store, tmp_path):
    heights, profile, _ = stitched(*FIJI, height="geoid")
    expected, grid = oracle(store, tmp_path, (179.6, -17.2, 180.3, -16.2), dst_ellipsoidal_height=False)
    np.testing.assert_array_equal(heights, expected)
    above_ellipsoid, _, _ = stitched(*FIJI)
    # The geoid goes on without a step where its own grid begins anew.
    assert np.abs(np.diff(above_ellipsoid - heights, axis=1)).max() < 0.1
    assert profile["transform"].almost_equals(grid["transform"], 1e-9)
    assert profile["transform"].c == pytest.approx(179.6, abs=0.01)


def test_a_stack_that_ends_at_the_antimeridian_has_a_geoid_up_to_its_edge(stitched):
    """The geoid's grid ends half a cell before it."""
    heights, _, _ = stitched((178.9, -17.2, 180, -16.2))
    assert np.isfinite(heights).all()
    step = np.abs(np.diff(heights[:, -3:], axis=1)).max()
    assert step < 10


def test_a_stack_at_high_latitude_has_tiles_of_different_widths(stitched, store, tmp_path):
    box = (-60.7, -80.6, -55.3, -79.4)
    heights, profile, _ = stitched(box)
    expected, _ = oracle(store, tmp_path, box)
    # dem-stitcher's has another column, beyond the bounds, that the wider tiles alone reach.
    np.testing.assert_array_equal(heights, expected[:, : heights.shape[1]])
    assert np.isfinite(heights).all()
    assert profile["transform"].a > -2 * profile["transform"].e


@pytest.mark.parametrize("height", ["geoid", "ellipsoid"])
def test_the_recorded_goldens_of_los_angeles(open_box, access, recordings, store, tmp_path, height):
    """Real GLO-30 and EGM2008; goldens by the makers of dem-stitcher."""
    open_box(catalogue=recordings)
    golden = recordings / "earth" / "dem" / "golden_datasets" / f"los_angeles_dem_{height}.tif"
    if not golden.is_file():
        pytest.skip("the recorded elevation is not on this machine")
    area = granule((-118.05, 33.95, -117.95, 34.05))
    plan = write(tmp_path / "p", dem.find([area], {"margin": 0, "height": height}, access).companions)
    fetch_plan(plan, store, access).raise_for_failures()
    heights, profile, _ = read(stitch(plan, store, tmp_path / "out").made[0].path)
    expected, grid, _ = read(golden)
    assert np.abs(heights - expected).max() <= 1e-4
    assert profile["transform"].almost_equals(grid["transform"], 1e-9)


@pytest.mark.parametrize("name", [name for name in dem.NAMES if name != "glo_30"])
def test_every_model_can_be_stitched(staged_dem, store, tmp_path, name):
    place = (-105.5, 39.6, -105.2, 39.9)
    outcome = stitch(staged_dem(place, name=name), store, tmp_path / "out")
    outcome.raise_for_failures()
    heights, profile, tags = read(outcome.made[0].path)
    assert np.isfinite(heights).all()
    assert 200 < heights.mean() < 1600
    assert tags["DEM_NAME"] == name
    assert profile["crs"].to_epsg() == 4326
    point = "area" if name == "3dep" else "point"
    assert outcome.made[0].path.name.startswith(f"dem_p1_f1_{name}_ellipsoid_{point}_")


# --------------------------------------------------------------------------------------------------
# Sea and holes


def test_the_sea_has_the_height_of_the_geoid_and_the_raster_covers_it(stitched, store, tmp_path):
    above_geoid, profile, _ = stitched(COAST, height="geoid")
    above_ellipsoid, same, _ = stitched(COAST)
    assert profile["transform"] == same["transform"]
    assert profile["transform"].c == pytest.approx(-124.8, abs=0.01)
    at_sea = np.arange(profile["width"]) * profile["transform"].a + profile["transform"].c < -124.01
    assert (above_geoid[:, at_sea] == 0).all()
    assert (above_geoid[:, ~at_sea][:, 3:] != 0).mean() > 0.99
    undulation = above_ellipsoid - above_geoid
    assert np.isfinite(undulation).all()
    # No step where land tiles end: the geoid is one surface.
    assert np.abs(np.diff(undulation, axis=1)).max() < 0.1
    assert np.abs(above_ellipsoid[:, at_sea]).min() > 1


def _holed(store, staged, tmp_path, **noted) -> Plan:
    """A plan with one staged tile, in which a corner has no height."""
    values = np.full((300, 300), 7, "float32")
    values[:3, :4] = -9999
    path = tmp_path / "made.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype="float32",
        count=1,
        width=300,
        height=300,
        crs="EPSG:4326",
        transform=rasterio.Affine(1 / 300, 0, 10, 0, -1 / 300, 46),
        nodata=-9999,
    ) as file:
        file.write(values, 1)
    tile = Asset(key="dem", path="dem/glo_30/t.tif")
    staged(store, tile, path.read_bytes())
    note = {**dem.Options(height="geoid").to_json(), "sea": [], **noted}
    holed = Companion(
        id="p1_f1", bounds=((10.0, 45.5, 10.5, 46.0),), assets=(tile,), properties={dem.NOTE: note}
    )
    return write(tmp_path / "plan.ndjson", [holed])


def test_a_pixel_without_a_height_is_an_error_unless_it_is_allowed(store, staged, tmp_path):
    out = tmp_path / "out"
    outcome = stitch(_holed(store, staged, tmp_path), store, out)
    said = str(outcome.failures["p1_f1"])
    assert "12 of 22,500 pixels have no height, the first at 10.0017 45.9983" in said
    assert [path.name for path in out.iterdir()] == [".skystage"]
    assert not list((out / ".skystage").glob("*.work"))
    allowed = stitch(_holed(store, staged, tmp_path, allow_voids=True), store, out)
    assert int(np.isnan(read(allowed.made[0].path)[0]).sum()) == 12


def test_a_raster_that_does_not_cover_the_bounds_is_not_published(store, staged, tmp_path):
    plan = _holed(store, staged, tmp_path, allow_voids=True)
    (companion,) = plan.companions()
    wider = write(tmp_path / "wider", [replace(companion, bounds=((9.5, 45.5, 10.5, 46.0),))])
    outcome = stitch(wider, store, tmp_path / "out")
    assert "does not cover" in str(outcome.failures["p1_f1"])
    with pytest.raises(FetchFailed, match="1 of 1"):
        outcome.raise_for_failures()


def test_what_the_model_does_not_cover_is_named_unless_holes_are_allowed(box, access, store, tmp_path):
    """SRTM ends at 60 degrees north."""
    norway = granule((10.2, 59.5, 10.8, 60.3))
    for allowed, said in ((False, "srtm_v3 does not cover N60E010"), (True, "the raster does not cover")):
        options = {"name": "srtm_v3", "margin": 0, "allow_voids": allowed}
        plan = write(tmp_path / "p", dem.find([norway], options, access).companions)
        fetch_plan(plan, store, access)
        assert said in str(stitch(plan, store, tmp_path / "out").failures["p1_f1"])


# --------------------------------------------------------------------------------------------------
# Once, whole, and from the store alone


def test_stitching_makes_no_request_and_the_second_time_nothing_at_all(box, staged_dem, store, tmp_path):
    plan = staged_dem(INLAND)
    first = stitch(plan, store, tmp_path / "out").made[0]
    stamp = first.path.stat().st_mtime_ns
    again = stitch(plan, store, tmp_path / "out").made[0]
    assert (first.already, again.already) == (False, True)
    assert again == replace(first, already=True)
    assert first.path.stat().st_mtime_ns == stamp
    assert box.requests() == []


@pytest.mark.parametrize("kind", dem.FORMATS)
def test_stitching_anew_gives_the_same_bytes(staged_dem, store, tmp_path, kind):
    plan = staged_dem(INLAND)
    one, two = (stitch(plan, store, tmp_path / name, format=kind).made[0] for name in "ab")
    assert [path.name for path in one.files] == [path.name for path in two.files]
    for first, second in zip(one.files, two.files, strict=True):
        assert first.read_bytes() == second.read_bytes()


def test_a_raster_that_was_touched_is_made_again(staged_dem, store, tmp_path):
    plan = staged_dem(INLAND)
    made = stitch(plan, store, tmp_path / "out").made[0]
    right = made.path.read_bytes()
    receipt = made.files[-1]
    damages = [
        lambda: made.path.write_bytes(right[:-1] + b"x"),
        made.path.unlink,
        receipt.unlink,
        lambda: receipt.write_text("{"),
        lambda: receipt.write_text('{"recipe": 1, "files": []}'),
    ]
    for damage in damages:
        damage()
        again = stitch(plan, store, tmp_path / "out").made[0]
        assert (again.already, again.path.read_bytes() == right) == (False, True)


def test_other_options_make_another_raster(staged_dem, store, tmp_path):
    plan = staged_dem(INLAND)
    for changes in (
        {},
        {"height": "geoid"},
        {"area_or_point": "area"},
        {"resolution": 36},
        {"format": "cog"},
    ):
        made = stitch(plan, store, tmp_path / "out", **changes).made[0]
        assert made.already is False
    assert sorted(path.name for path in (tmp_path / "out").glob("*.tif")) == [
        "dem_p1_f1_glo_30_ellipsoid_area_12arcsec.tif",
        "dem_p1_f1_glo_30_ellipsoid_point_12arcsec.tif",
        "dem_p1_f1_glo_30_ellipsoid_point_12arcsec_cog.tif",
        "dem_p1_f1_glo_30_ellipsoid_point_36arcsec.tif",
        "dem_p1_f1_glo_30_geoid_point_12arcsec.tif",
    ]
    assert stitch(plan, store, tmp_path / "out").made[0].already is True


KILLS = """
import json, os, random, shutil, signal, sys, time
from pathlib import Path
from skystage.archives import dem
from skystage.derive.dem import stitch
from skystage.plan import Plan
from skystage.store import Store

plan, root, work = Plan(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
with dem.quietly():
    import dem_stitcher.stitcher, rasterio.shutil

def child(out):
    number = os.fork()
    if number == 0:
        done = stitch(plan, Store(root, read_only=True), out, format=sys.argv[4])
        os._exit(bool(done.failures))
    return number

began = time.monotonic()
os.waitpid(child(work / "right"), 0)
takes = time.monotonic() - began
right = {p.name: p.read_bytes() for p in (work / "right").iterdir() if p.is_file()}
moments, problems, died = random.Random(7), [], 0
for turn in range(25):
    out = work / str(turn)
    running = child(out)
    time.sleep(moments.uniform(0, takes))
    os.kill(running, signal.SIGKILL)
    died += os.WIFSIGNALED(os.waitpid(running, 0)[1])
    for path in out.glob("*"):
        if path.is_file() and path.read_bytes() != right.get(path.name):
            problems.append(f"{turn}: {path.name} is not right")
    if os.waitpid(child(out), 0)[1] != 0:
        problems.append(f"{turn}: the second run failed")
    if {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()} != right:
        problems.append(f"{turn}: afterwards not right")
    if list((out / ".skystage").glob("*.work")):
        problems.append(f"{turn}: something is left")
    shutil.rmtree(out)
print(json.dumps({"died": died, "problems": problems, "files": len(right)}))
"""


@pytest.mark.parametrize(("kind", "files"), [("tif", 2), ("isce2", 4)])
def test_death_at_any_moment_leaves_what_the_next_run_ends_right(staged_dem, store, tmp_path, kind, files):
    plan = staged_dem(INLAND)
    ended = subprocess.run(
        [sys.executable, "-c", KILLS, str(plan.path), str(store.root), str(tmp_path / "work"), kind],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    result = json.loads(ended.stdout)
    assert result["problems"] == []
    assert result["died"] > 5
    assert result["files"] == files


def test_what_a_killed_process_left_is_gone_with_the_next_run(staged_dem, store, tmp_path):
    left = tmp_path / "out" / ".skystage" / "dem_p1_f1_glo_30.work" / "half.tif"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    stitch(staged_dem(INLAND), store, tmp_path / "out").raise_for_failures()
    assert not left.parent.exists()


# --------------------------------------------------------------------------------------------------
# What a raster says of itself


def test_name_and_tags_say_datum_convention_resolution_and_sources(staged_dem, store, tmp_path):
    plan = staged_dem(INLAND)
    made = stitch(plan, store, tmp_path / "out", height="geoid").made[0]
    assert made.path.name == "dem_p1_f1_glo_30_geoid_point_12arcsec.tif"
    with rasterio.open(made.path) as file:
        tags, crs = file.tags(), file.crs
        assert file.compression.value == "DEFLATE"
        assert (file.units, file.descriptions) == (("metre",), ("height",))
    assert tags["VERTICAL_DATUM"] == "EGM2008 geoid"
    assert (tags["GEOID"], tags["DEM_NAME"]) == ("{}", "glo_30")
    assert "EGM2008 height" in crs.to_wkt()
    above = read(stitch(plan, store, tmp_path / "out").made[0].path)
    assert above[1]["crs"].to_epsg() == 4326
    assert above[2]["VERTICAL_DATUM"] == "WGS 84 ellipsoid"
    (companion,) = plan.companions()
    for tag, key in (("SOURCE_TILES", "dem"), ("GEOID", "geoid")):
        digests = {
            asset.name: hashlib.sha256(store.path(asset).read_bytes()).hexdigest()
            for asset in companion.assets
            if asset.key == key
        }
        assert json.loads(above[2][tag]) == digests
    assert "dem-stitcher" in above[2]["TIFFTAG_SOFTWARE"]


def test_a_cog_is_one_and_has_the_same_heights_and_tags(staged_dem, store, tmp_path):
    plan = staged_dem(INLAND)
    plain, cog = (stitch(plan, store, tmp_path / "out", format=kind).made[0].path for kind in ("tif", "cog"))
    np.testing.assert_array_equal(read(plain)[0], read(cog)[0])
    assert read(plain)[2]["SOURCE_TILES"] == read(cog)[2]["SOURCE_TILES"]
    with rasterio.open(cog) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.tags()["AREA_OR_POINT"] == "Point"


def test_isce2_output_is_read_by_its_xml_and_by_its_vrt(staged_dem, store, tmp_path):
    from xml.etree import ElementTree as ET

    plan = staged_dem(INLAND)
    heights, profile, _ = read(stitch(plan, store, tmp_path / "out").made[0].path)
    made = stitch(plan, store, tmp_path / "out", format="isce2").made[0]
    flat = made.path
    assert [path.name.removeprefix(flat.name) for path in made.files[:3]] == ["", ".xml", ".vrt"]
    assert flat.name == "dem_p1_f1_glo_30_ellipsoid_point_12arcsec.dem.wgs84"
    by_vrt, grid, _ = read(flat.with_name(f"{flat.name}.vrt"))
    np.testing.assert_array_equal(by_vrt, heights)
    assert grid["transform"].almost_equals(profile["transform"], 1e-12)
    with rasterio.open(flat) as file:
        assert file.driver == "ISCE"
        np.testing.assert_array_equal(file.read(1), heights)
    root = ET.parse(flat.with_name(f"{flat.name}.xml")).getroot()  # noqa: S314 - we wrote it
    said = {one.get("name"): one.findtext("value") for one in root.iter("property")}
    assert said["reference"] == "WGS84"
    start = root.findtext("component[@name='coordinate1']/property[@name='startingvalue']/value")
    assert float(start) == pytest.approx(profile["transform"].c + profile["transform"].a / 2)
    geoid = stitch(plan, store, tmp_path / "out", format="isce2", height="geoid").made[0].path
    assert geoid.suffix == ".dem"
    assert ">EGM2008<" in geoid.with_name(f"{geoid.name}.xml").read_text()


# --------------------------------------------------------------------------------------------------
# What is lacking, and wrong words


def test_a_missing_tile_names_the_fetch_to_run(staged_dem, store, tmp_path):
    plan = staged_dem(INLAND)
    (companion,) = plan.companions()
    store.path(companion.assets[0]).unlink()
    error = stitch(plan, store, tmp_path / "out").failures["p1_f1"]
    assert isinstance(error, Offline)
    assert str(error).endswith(f"not staged (skystage fetch {plan.path} --store {store.root} --asset dem)")
    empty = stitch(plan, Store(tmp_path / "empty"), tmp_path / "out").failures["p1_f1"]
    assert "and 4 more: not staged" in str(empty)
    assert "--asset dem --asset geoid" in str(empty)
    assert not (tmp_path / "out").exists()


def test_one_stack_that_fails_does_not_cost_the_others(box, access, store, tmp_path):
    sea = granule((-150, 30, -149, 31), stack="p2_f2")
    found = dem.find([granule(INLAND), sea], {"margin": 0}, access).companions
    plan = write(tmp_path / "p", found)
    fetch_plan(plan, store, access)
    outcome = stitch(plan, store, tmp_path / "out")
    assert [one.stack for one in outcome.made] == ["p1_f1"]
    assert "glo_30 has no tile here" in str(outcome.failures["p2_f2"])
    only = stitch(plan, store, tmp_path / "out", stacks=["p1_f1"])
    assert (only.made[0].already, only.failures) == (True, {})
    Outcome().raise_for_failures()


def test_a_plan_without_geoid_gives_no_heights_above_the_ellipsoid(staged_dem, store, tmp_path):
    plan = staged_dem(INLAND, height="geoid")
    outcome = stitch(plan, store, tmp_path / "out", height="ellipsoid")
    assert "the plan has no geoid (make it with" in str(outcome.failures["p1_f1"])


def test_wrong_words_are_refused(staged_dem, store, tmp_path, monkeypatch):
    plan = staged_dem(INLAND)
    with pytest.raises(PlanError, match="--stack: got 'p1_f2' .the plan has: p1_f1; did you mean 'p1_f1'"):
        stitch(plan, store, tmp_path / "out", stacks=["p1_f2"])
    with pytest.raises(QueryError, match="did you mean 'ellipsoid'"):
        stitch(plan, store, tmp_path / "out", height="elipsoid")
    with pytest.raises(PlanError, match="has no elevation model"):
        stitch(write(tmp_path / "none", [Companion(id="x")]), store, tmp_path / "out")
    monkeypatch.setattr("skystage.derive.dem.TOOLS", ("no-such-package",))
    with pytest.raises(SkystageError, match="skystage\\[raster\\]"):
        stitch(plan, store, tmp_path / "out")


def test_the_command_says_where_the_raster_is(staged_dem, store, tmp_path, capsys):
    plan = staged_dem(INLAND)
    command = ["derive", "dem", str(plan.path), "--store", str(store.root), "-o", str(tmp_path / "out")]
    assert cli.run(command) == 0
    said = capsys.readouterr()
    assert Path(said.out.strip()).is_file()
    assert said.err == f"stitched p1_f1: {said.out.strip()}\n"
    assert cli.run([*command, "--json", "--stack", "p1_f1"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["made"][0]["already"], result["failed"]) == (True, [])
    assert cli.run([*command, "--resolution", "0"]) == 2
    (companion,) = plan.companions()
    store.path(companion.assets[0]).unlink()
    assert cli.run([*command, "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["failed"][0]["error"] == "Offline"


def test_two_processes_make_one_raster(staged_dem, store, tmp_path):
    plan = staged_dem(INLAND)
    command = [sys.executable, "-m", "skystage.cli", "derive", "dem", str(plan.path), "--json"]
    command += ["--store", str(store.root), "-o", str(tmp_path / "out")]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ))
        for _ in range(2)
    ]
    ended = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(json.loads(out)["made"][0]["already"] for out, _ in ended) == [False, True]
    # Nor does a bar or a warning of the libraries below reach anybody.
    assert all(err.decode().count("\n") == 1 for _, err in ended)
