"""Elevation in a plan: which tiles a stack needs, whence they come, and what becomes of sea and holes."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skystage import export, manifest, planning, query
from skystage import plan as plans
from skystage.archives import dem
from skystage.archives.dem import Extent, Options, cells, join, named, split
from skystage.batch import fetch_plan
from skystage.errors import QueryError, SkystageError
from skystage.model import Companion, Granule, Query
from skystage.plan import Plan

TILES = "copernicus-dem-30m.s3.amazonaws.com"
GEOIDS = "aria-geoid.s3.us-west-2.amazonaws.com"


def ring(west, south, east, north):
    return [[[west, south], [east, south], [east, north], [west, north], [west, south]]]


def granule(*boxes, stack="p1_f1", name="g") -> Granule:
    geometry = {"type": "MultiPolygon", "coordinates": [ring(*box) for box in boxes]} if boxes else None
    return Granule(archive="asf", collection="C", id=name, native_id=name, stack=stack, geometry=geometry)


@pytest.fixture
def found(box, access):
    """The companions of granules: ``found(granule(...), name="glo_30")``."""

    def find(*granules, **options) -> list[Companion]:
        return dem.find(granules, options or True, access).companions

    return find


def cells_of(companion: Companion) -> list[str]:
    return [named(_cell(asset.name)) for asset in companion.assets if asset.key == "dem"]


def _cell(name: str) -> tuple[int, int]:
    digits = name.replace("_00", "").split("_")
    pairs = pairwise(digits)
    north, east = next((a, b) for a, b in pairs if a[0] in "NS" and a[1:].isdigit())
    return int(east[1:]) * (1 if east[0] == "E" else -1), int(north[1:]) * (1 if north[0] == "N" else -1)


# --------------------------------------------------------------------------------------------------
# Options


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "glo30"}, "with.dem.name: got 'glo30' .allowed: 3dep, glo_30, .*did you mean 'glo_30'"),
        ({"name": "glo_90_missing"}, "did you mean 'glo_90'"),
        ({"nam": "glo_30"}, "with.dem.key: got 'nam' .*did you mean 'name'"),
        ({"height": "geoidal"}, "did you mean 'geoid'"),
        ({"area_or_point": "pixel"}, "allowed: area, point"),
        ({"format": "gtiff"}, "allowed: cog, isce2, tif; did you mean 'tif'"),
        ({"margin": -1}, "with.dem.margin: got -1 .allowed: degrees, from 0 to 10"),
        ({"margin": True}, "with.dem.margin"),
        ({"resolution": 0}, "with.dem.resolution: got 0 .allowed: seconds of arc"),
        ({"allow_voids": 1}, "with.dem.allow_voids: got 1 .allowed: false, true"),
        ({"name": "nisar_dem", "height": "geoid"}, "nisar_dem has heights above the ellipsoid only"),
        ("glo_30", "with.dem: got 'glo_30' .true, or"),
    ],
)
def test_wrong_options_are_refused_in_one_line(access, given, said):
    with pytest.raises(QueryError, match=said) as caught:
        dem.find([], given, access)
    assert "\n" not in str(caught.value)


def test_every_model_of_dem_stitcher_can_be_asked_for():
    with dem.quietly():
        from dem_stitcher.datasets import DATASETS
        from dem_stitcher.stitcher import EARTHDATA_DEMS, ELLIPSOIDAL_HEIGHT_DEMS
    assert set(dem.NAMES) == set(DATASETS) - {"glo_90_missing"}
    assert set(dem.ELLIPSOIDAL) == set(ELLIPSOIDAL_HEIGHT_DEMS)
    for name in dem.NAMES:
        hosts = {url.split("/")[2] for url in dem._index(name).values()}
        assert all(host.endswith(f".{dem.RESTRICTED}") for host in hosts) == (name in EARTHDATA_DEMS)


def test_without_dem_stitcher_the_extra_is_named(access, monkeypatch):
    monkeypatch.setitem(sys.modules, "dem_stitcher", None)
    with pytest.raises(SkystageError, match="skystage\\[raster\\]"):
        dem.find([], True, access)


def test_dem_stitcher_is_loaded_without_a_change_of_the_environment(monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "0")
    with dem.quietly():
        warnings.warn("not heard", UserWarning, stacklevel=1)
    import os

    assert os.environ["TQDM_DISABLE"] == "0"


# --------------------------------------------------------------------------------------------------
# Where


LONGITUDES = st.integers(-180, 179)
BOXES = st.builds(
    lambda west, wide, south, high: (west, south, min(west + wide, 180), min(south + high, 90)),
    LONGITUDES,
    st.integers(1, 40),
    st.integers(-90, 88),
    st.integers(1, 5),
)


@given(st.lists(BOXES, min_size=1, max_size=6), st.sampled_from([0.0, 0.1, 1.0]), st.randoms())
def test_bounds_hold_every_footprint_whatever_their_order(boxes, margin, shuffler):
    extent = Extent()
    for one in boxes:
        extent.add(one)
    bounds = extent.bounds(margin)
    west, south, east, north = bounds
    assert -180 <= west < 180
    assert 0 < east - west <= 360
    assert -90 <= south < north <= 90
    for one in boxes:
        turns = (-360, 0, 360)
        assert any(west <= one[0] + turn and one[2] + turn <= east for turn in turns)
        assert south <= one[1]
        assert one[3] <= north
    shuffler.shuffle(boxes)
    again = Extent()
    for one in boxes:
        again.add(one)
    assert again.bounds(margin) == bounds
    parts = split(bounds)
    assert join(parts) == bounds
    assert all(-180 <= part[0] < part[2] <= 180 for part in parts)


def test_one_companion_a_stack_for_the_union_of_its_footprints(found):
    one = granule((10.2, 45.2, 10.8, 45.8), name="a")
    two = granule((11.2, 45.2, 11.8, 46.8), name="b")
    other = granule((10.2, 45.2, 10.8, 45.8), stack="p2_f2", name="c")
    alone = granule((10.2, 45.2, 10.8, 45.8), stack="", name="d")
    companions = found(one, two, other, alone, margin=0.1)
    assert [companion.id for companion in companions] == ["d", "p1_f1", "p2_f2"]
    assert companions[1].bounds == ((10.1, 45.1, 11.9, 46.9),)
    assert cells_of(companions[1]) == ["N45E010", "N45E011", "N46E010", "N46E011"]
    assert cells_of(companions[2]) == cells_of(companions[0]) == ["N45E010"]


def test_a_margin_that_reaches_into_the_next_degree_brings_its_tile(found):
    edge = granule((10.05, 45.2, 10.8, 45.8))
    assert cells_of(found(edge, margin=0)[0]) == ["N45E010"]
    assert cells_of(found(edge, margin=0.1)[0]) == ["N45E009", "N45E010"]


def test_a_stack_at_the_antimeridian_asks_for_single_digits_of_tiles(found):
    """Fiji. A box from the least to the greatest longitude would ask for 247."""
    crossing = granule((179.9, -17.2, 180, -16.2), (-180, -17.2, -179.9, -16.2))
    (companion,) = found(crossing, margin=0.1)
    assert companion.bounds == ((179.8, -17.3, 180, -16.1), (-180, -17.3, -179.8, -16.1))
    assert cells_of(companion) == ["S17E179", "S17W180", "S18E179", "S18W180"]
    before = found(granule((178.9, -17.2, 179.9, -16.2)), margin=0.1)[0]
    assert before.bounds == ((178.8, -17.3, 180, -16.1),)
    assert len(cells_of(before)) <= 4
    naive = granule((179.9, -17.2, 180.1, -16.2))
    assert found(naive, margin=0.1)[0] == companion


def test_the_tiles_are_those_that_dem_stitcher_would_take(found):
    with dem.quietly():
        from dem_stitcher.datasets import get_overlapping_dem_tiles

    for name, box in (
        ("glo_30", (-125.3, 37.2, -121.1, 39.9)),
        ("glo_90", (44.1, 38.9, 47.2, 41.1)),
        ("nasadem", (-72.5, -51, -70, -50)),
        ("nisar_dem", (-60.4, -85.2, -55, -84.6)),
        ("3dep", (-105.5, 39.5, -104.2, 40.5)),
    ):
        (companion,) = found(granule(box), name=name, margin=0)
        with dem.quietly():
            table = get_overlapping_dem_tiles(list(box), name)
        ours = {asset.sources[0].href for asset in companion.assets if asset.key == "dem"}
        assert ours == set(table.url)


def test_stacks_at_the_poles_have_their_tiles(found):
    (south,) = found(granule((-70, -79.5, -55, -77.5)), margin=0.1)
    assert len(cells_of(south)) + len(south.properties[dem.NOTE]["sea"]) == 17 * 3
    (cap,) = found(granule((-180, -90, 180, -88.5)), margin=0.1)
    assert cap.bounds == ((-180, -90, 180, -88.4),)
    assert len(cells_of(cap)) == 720
    (north,) = found(granule((-40, 83.2, -30, 84.5)), margin=0)
    assert ["S" in cell for cell in cells_of(north)].count(True) == 0
    assert [-35, 84] in north.properties[dem.NOTE]["sea"]


# --------------------------------------------------------------------------------------------------
# Sea, holes, and what a model does not cover


def test_a_cell_that_has_no_tile_and_no_land_is_sea(found):
    (companion,) = found(granule((-125, 37.5, -122.5, 38.5)), margin=0)
    assert companion.properties[dem.NOTE]["sea"] == [[-125, 37], [-125, 38]]
    assert "N37W125" not in cells_of(companion)
    assert companion.unresolved == ()


def test_a_stack_without_any_tile_is_named(found):
    (companion,) = found(granule((-150, 30, -149, 31)))
    assert companion.assets == ()
    assert [(one.key, one.reason) for one in companion.unresolved] == [("dem", "glo_30 has no tile here")]
    (nowhere,) = found(granule())
    assert "footprint" in nowhere.unresolved[0].reason


def test_land_that_a_model_does_not_cover_is_named_and_not_sea(found):
    (norway,) = found(granule((10.2, 59.5, 10.8, 60.5)), name="srtm_v3", margin=0)
    assert [one.reason for one in norway.unresolved] == ["srtm_v3 does not cover N60E010"]
    assert norway.properties[dem.NOTE]["sea"] == []
    assert len(norway.assets) == 1


def test_the_gap_of_the_30_m_model_is_filled_from_the_90_m_one(found):
    (companion,) = found(granule((44.2, 37.2, 46.8, 40.8)), margin=0)
    folders = {asset.path.rpartition("/")[0] for asset in companion.assets}
    assert folders == {"dem/glo_30", "dem/glo_90", "dem/geoid"}
    assert companion.unresolved == ()
    (coarse,) = found(granule((44.2, 37.2, 46.8, 40.8)), name="glo_90", margin=0)
    patches = {asset.path for asset in companion.assets if "glo_90" in asset.path}
    assert patches < {asset.path for asset in coarse.assets}


# --------------------------------------------------------------------------------------------------
# Sources


@pytest.mark.parametrize("name", ["nasadem", "srtm_v3", "nisar_dem"])
def test_tiles_behind_a_log_in_say_so_and_are_not_looked_at(found, box, name):
    (companion,) = found(granule((10.2, 45.2, 10.8, 45.8)), name=name)
    (tile,) = companion.assets  # their geoid ships with dem-stitcher, or they need none
    assert [source.auth for source in tile.sources] == ["earthdata"]
    assert (tile.size, tile.checksums) == (None, {})
    assert box.requests() == []


def test_public_tiles_and_the_geoid_have_size_and_md5(found, box):
    (companion,) = found(granule((10.2, 45.2, 10.8, 45.8)))
    tile, geoid = companion.assets
    assert (tile.key, geoid.key) == ("dem", "geoid")
    assert tile.path == "dem/glo_30/Copernicus_DSM_COG_10_N45_00_E010_00_DEM.tif"
    assert geoid.path == "dem/geoid/us_nga_egm2008_1_4326__agisoft.tif"
    for asset in companion.assets:
        assert asset.size > 1000
        assert set(asset.checksums) == {"md5"}
        assert asset.sources[0].auth is None
    assert [request["host"] for request in box.requests()].count(TILES) == 1
    assert all(request["range"] == "bytes=0-0" for request in box.requests())


def test_an_etag_that_is_no_md5_and_a_host_without_ranges_leave_less_to_prove(found, box):
    box.set_faults([{"match": {"host": TILES}, "headers": {"ETag": '"0123456789abcdef0123456789abcdef-3"'}}])
    tile, _ = found(granule((10.2, 45.2, 10.8, 45.8)))[0].assets
    assert (tile.size > 1000, tile.checksums) == (True, {})
    box.set_faults([{"match": {"host": TILES}, "ignore_range": True}])
    again, _ = found(granule((10.2, 45.2, 10.8, 45.8)))[0].assets
    assert again.size == tile.size
    box.set_faults([{"match": {"host": TILES}, "headers": {"Content-Range": "bytes odd"}}])
    assert found(granule((10.2, 45.2, 10.8, 45.8)))[0].assets[0].size is None


def test_heights_above_the_geoid_need_no_geoid(found):
    (companion,) = found(granule((10.2, 45.2, 10.8, 45.8)), height="geoid")
    assert [asset.key for asset in companion.assets] == ["dem"]


@pytest.mark.parametrize("status", [403, 404])
def test_a_tile_that_the_host_does_not_have_is_named(found, box, status):
    box.set_faults([{"match": {"host": TILES}, "status": status}])
    (companion,) = found(granule((10.2, 45.2, 10.8, 45.8)))
    assert [asset.key for asset in companion.assets] == ["geoid"]
    assert [one.key for one in companion.unresolved] == ["dem"]
    assert str(status) in companion.unresolved[0].reason


def test_a_host_that_does_not_answer_leaves_the_plan_degraded(box, access, impatient):
    box.set_faults([{"match": {"host": GEOIDS}, "status": 500}])
    found = dem.find([granule((10.2, 45.2, 10.8, 45.8))], True, access)
    assert [one.partition(":")[0] for one in found.degraded] == [GEOIDS]
    assert [asset.size is None for asset in found.companions[0].assets] == [False, True]


# --------------------------------------------------------------------------------------------------
# In the plan, in the store, in the manifest


def build(tmp_path, access, **options) -> Plan:
    asked = {
        "archive": "asf",
        "relative_orbit": 35,
        "processing_level": "SLC",
        "with": {"dem": options or True},
    }
    return planning.build(query.parse(asked), tmp_path / "p", access)


def test_two_stacks_that_share_tiles_fetch_each_once(box, access, store, tmp_path):
    made = build(tmp_path, access)
    one, two = made.companions()
    shared = {asset.path for asset in one.assets} & {asset.path for asset in two.assets}
    assert len(shared) > 3
    box.clear()
    outcome = fetch_plan(made, store, access, keys=["dem", "geoid"])
    outcome.raise_for_failures()
    asked = [request["path"] for request in box.requests()]
    assert len(asked) == len(set(asked)) == outcome.planned
    assert {receipt.verified for receipt in outcome.receipts} == {"md5"}
    box.clear()
    assert fetch_plan(made, store, access, keys=["dem", "geoid"]).already == outcome.planned
    assert box.requests() == []


def test_tiles_behind_a_log_in_are_fetched_with_it(box, access, store, tmp_path):
    made = frozen(tmp_path, access, granule((10.2, 45.2, 10.8, 45.8)), name="srtm_v3")
    outcome = fetch_plan(made, store, access)
    outcome.raise_for_failures()
    assert outcome.receipts[0].path == "dem/srtm_v3/N45E010.SRTMGL1.hgt.zip"


def frozen(tmp_path, access, *granules, **options) -> Plan:
    found = dem.find(granules, options or True, access)
    return plans.write(
        tmp_path / "p",
        query=Query(archive="asf", companions={"dem": True}),
        granules=sorted(granules, key=lambda one: one.id),
        companions=found.companions,
        hits=1,
        received=1,
    )


def test_a_plan_says_what_it_asked_for_and_reads_it_again(box, access, tmp_path):
    crossing = granule((179.9, -17.2, 180, -16.2), (-180, -17.2, -179.9, -16.2))
    sea = granule((-150, 30, -149, 31), stack="p2_f2", name="h")
    made = frozen(tmp_path, access, crossing, sea)
    found = dem.find([crossing, sea], True, access).companions
    assert list(made.companions()) == found
    assert list(made.granules()) == [crossing, sea]
    assert made.header.totals.unresolved == 1
    assert [(name, one.key) for name, one in made.unresolved()] == [("p2_f2", "dem")]
    assert list(made.lacking()) == ["p2_f2: dem"]
    assert found[0].properties[dem.NOTE] == {**Options().to_json(), "sea": []}


def test_companions_count_in_totals_exports_verification_and_manifest(box, access, store, tmp_path):
    from skystage import cli

    made = frozen(tmp_path, access, granule((179.9, -17.2, 180, -16.2), (-180, -17.2, -179.9, -16.2)))
    totals = made.header.totals
    assert (totals.assets, totals.unsized) == (5, 0)
    assert totals.bytes == sum(asset.size for asset in made.assets())
    for write in export.FORMATS.values():
        assert sum("_S17_00_E179_00_DEM/" in line for line in write(made.assets())) == 1
    assert cli.run(["verify", str(made.path), "--store", str(store.root)]) == 4
    items = tmp_path / "items.json"
    assert manifest.write(made, store, items).missing == 5
    fetch_plan(made, store, access).raise_for_failures()
    assert cli.run(["verify", str(made.path), "--store", str(store.root), "--deep"]) == 0
    written = manifest.write(made, store, items)
    assert (written.items, written.assets, written.missing) == (1, 5, 0)
    (item,) = json.loads(items.read_text())["features"]
    assert item["id"] == "p1_f1"
    assert item["properties"]["skystage:companion"] is True
    assert item["bbox"] == [179.8, -17.3, -179.8, -16.1]
    assert len(item["assets"]) == 5
    assert {role for asset in item["assets"].values() for role in asset["roles"]} == {"dem", "geoid"}
    assert len((tmp_path / "checksums.txt").read_text().splitlines()) == 5
    import pystac

    assert pystac.Item.from_dict(item).datetime is not None


def test_a_companion_without_a_place_or_with_something_missing_is_an_item_too(box, access, store, tmp_path):
    (companion,) = dem.find([granule((10.2, 45.2, 10.8, 45.8))], True, access).companions
    lacking = dem._lacking("p1_f1", Options(), "because").unresolved
    changed = replace(companion, bounds=(), unresolved=lacking)
    made = plans.write(
        tmp_path / "p", query=Query(archive="asf"), granules=[], companions=[changed], hits=0, received=0
    )
    fetch_plan(made, store, access)
    manifest.write(made, store, tmp_path / "items.json")
    (item,) = json.loads((tmp_path / "items.json").read_text())["features"]
    assert (item["geometry"], "bbox" in item) == (None, False)
    assert item["properties"]["skystage:unresolved"] == [{"key": "dem", "reason": "because"}]


# --------------------------------------------------------------------------------------------------
# The sandbox's tiles


def test_the_sandbox_has_no_tile_where_there_is_sea_and_no_writing(box):
    from skystage.connections import connection

    def ask(method, url):
        manager = connection(url)
        try:
            return manager.request(method, url, retries=False).status
        finally:
            manager.clear()

    def tile(cell):
        name = f"Copernicus_DSM_COG_10_{cell}_DEM"
        return f"https://{TILES}/{name}/{name}.tif"

    assert ask("HEAD", tile("N45_00_E010_00")) == 200
    assert ask("GET", tile("N30_00_W150_00")) == 404
    assert ask("GET", tile("N95_00_E010_00")) == 404
    assert ask("GET", f"https://{TILES}/readme.html") == 404
    assert ask("GET", f"https://{TILES}/N45_00_E010_00.txt") == 404
    assert ask("PUT", tile("N45_00_E010_00")) == 403
    assert ask("GET", "https://nisar.asf.earthdatacloud.nasa.gov/DEM_N45_00_E010_00_C01.tif") == 302


def test_cells_run_on_beyond_the_antimeridian_and_are_named_on_their_side():
    assert [named(cell) for cell in cells((179.5, -1.5, 180.5, -0.5))] == [
        "S02E179",
        "S02W180",
        "S01E179",
        "S01W180",
    ]
