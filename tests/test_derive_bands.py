"""Bands: the right pixels of the right place, nothing moved or averaged that was not asked, once, whole."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from skystage import aoi, cli
from skystage import plan as plans
from skystage.derive.bands import Options, extract, extract_all
from skystage.derive.clouds import Clouds, clouds, counted
from skystage.derive.grids import Grid, Window, covering, on_tile
from skystage.derive.sentinel2 import Numbers, radiometry, scene_classes
from skystage.errors import (
    FetchFailed,
    Offline,
    PlanError,
    QueryError,
    StructureError,
    Unresolvable,
)
from skystage.model import Asset, Granule, Query, Unresolved
from skystage.plan import Plan
from skystage.release import release_plan
from skystage.s2names import Band, Product

rasterio = pytest.importorskip("rasterio", reason="the extra 'raster' is not installed")
pytest.importorskip("rasterio.warp")
np = pytest.importorskip("numpy")

OLD = "S2A_MSIL2A_20180604T105031_N0208_R051_T31UFS_20180604T141234"
NEW = "S2A_MSIL2A_20180604T105031_N0500_R051_T31UFS_20230604T141234"
STEM = "T31UFS_20180604T105031"
SIDE = 6000
"""Metres: a corner of the tile 31UFS, in its true pixels."""
WEST, NORTH = 600000, 5700000
ZONE = "EPSG:32631"
KEYS = ("B04_10m", "B11_20m", "B01_60m", "SCL_20m")


def pixels(key: str, count: int, seed: int = 1):
    """Numbers that differ from pixel to pixel, with a corner of no data."""
    rng = np.random.default_rng([seed, *key.encode()])
    if key.startswith("SCL"):
        found = rng.integers(4, 7, (1, count, count)).astype("uint8")
        found[:, : count // 2, : count // 2] = 9  # the north-west is cloud
        found[:, : count // 2, count // 2 :][:, :, ::4] = 3  # a quarter of the north-east is shadow
    elif key.startswith("TCI"):
        found = rng.integers(1, 256, (3, count, count)).astype("uint8")
    elif key.startswith("MSK"):
        found = rng.integers(0, 101, (1, count, count)).astype("uint8")
    else:
        found = rng.integers(1, 9000, (1, count, count)).astype("uint16")
    if not key.startswith("MSK"):
        found[:, -(count // 10) :, -(count // 10) :] = 0
    return found


def write_jp2(path: Path, values, step: float, **more) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, rows, columns = values.shape
    with rasterio.open(
        path,
        "w",
        driver="JP2OpenJPEG",
        width=columns,
        height=rows,
        count=count,
        dtype=values.dtype,
        crs=ZONE,
        transform=rasterio.Affine(step, 0, WEST, 0, -step, NORTH),
        **more,
        QUALITY="100",
        REVERSIBLE="YES",
        YCBCR420="NO",
        BLOCKXSIZE=256,
        BLOCKYSIZE=256,
    ) as file:
        file.write(values)
    path.with_name(f"{path.name}.aux.xml").unlink(missing_ok=True)
    return path


def step_of(key: str) -> int:
    return int(key[-3:-1]) if key.endswith("m") else 10


@pytest.fixture(scope="session")
def jp2s(tmp_path_factory):
    """The band files of one product, by key: ``jp2s("B04_10m")``; made once."""
    folder = tmp_path_factory.mktemp("jp2s")

    def make(key: str, seed: int = 1) -> Path:
        path = folder / str(seed) / (f"{key}.jp2" if key.startswith("MSK") else f"{STEM}_{key}.jp2")
        if not path.exists():
            write_jp2(path, pixels(key, SIDE // step_of(key), seed), step_of(key))
        return path

    return make


@pytest.fixture
def planned(store, staged, jp2s, tmp_path):
    """A plan whose bands are staged: ``planned({NEW: ["B04_10m"]}, unresolved=...)``."""

    def make(products=None, *, xml=None, stage=True, unresolved=(), **query) -> Plan:
        granules = []
        for number, (name, keys) in enumerate(sorted((products or {NEW: KEYS}).items())):
            where = f"cdse/SENTINEL-2_S2MSI2A/{name}"
            contents = {(key, jp2s(key, number + 1).name): jp2s(key, number + 1).read_bytes() for key in keys}
            if xml is not None:
                contents["product_metadata", "MTD_MSIL2A.xml"] = xml
            assets = [Asset(key=key, path=f"{where}/{file}") for key, file in contents]
            for asset, content in zip(assets, contents.values(), strict=True):
                if stage:
                    staged(store, asset, content)
            granules.append(
                Granule(
                    archive="cdse",
                    collection="SENTINEL-2_S2MSI2A",
                    id=name,
                    native_id=name,
                    start=datetime(2018, 6, 4, 10, 50, 31, 24000, UTC),
                    stack="31UFS",
                    assets=tuple(assets),
                    unresolved=tuple(unresolved),
                )
            )
        asked = Query(archive="cdse", **query)
        return plans.write(
            tmp_path / "plan.ndjson", query=asked, granules=granules, hits=len(granules), received=1
        )

    return make


def area_of(west: float, south: float, east: float, north: float):
    """The area in degrees that a box of the tile is, in metres from its north-west corner."""
    return aoi.parse(
        f"SRID=32631;POLYGON (({WEST + west} {NORTH - north}, {WEST + east} {NORTH - north}, "
        f"{WEST + east} {NORTH - south}, {WEST + west} {NORTH - south}, {WEST + west} {NORTH - north}))"
    )


BOX = area_of(1003, 3207, 3128, 1504)
"""On no pixel's edge."""


def values(path: Path, band: int | None = None):
    with rasterio.open(path) as file:
        return file.read(band) if band else file.read()


def corner(path: Path) -> tuple[float, float, int, int]:
    with rasterio.open(path) as file:
        return file.transform.c - WEST, NORTH - file.transform.f, file.width, file.height


# --------------------------------------------------------------------------------------------------
# What metadata say


def metadata(*, baseline="05.00", offset="-1000", quantification="10000", tag="BOA_ADD_OFFSET") -> bytes:
    return f"""<n1:Product xmlns:n1="https://psd"><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
    <BOA_QUANTIFICATION_VALUE unit="none">{quantification}</BOA_QUANTIFICATION_VALUE>
    <AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE>
    <WVP_QUANTIFICATION_VALUE unit="cm">2000.0</WVP_QUANTIFICATION_VALUE>
    <{tag} band_id="3">{offset}</{tag}></n1:Product>""".encode()


def test_the_offset_is_the_metadatas_else_that_of_the_baseline():
    red, green, water = Band.named("B04_10m"), Band.named("B03"), Band.named("WVP_10m")
    assert radiometry(Product.named(NEW)).of(red) == Numbers(10000, -1000)
    assert radiometry(Product.named(OLD)).of(red) == Numbers(10000, 0)
    assert radiometry(Product.named(OLD)).of(water) == Numbers(1000, 0)
    told = radiometry(Product.named(OLD), metadata(baseline="02.08", offset="-37", quantification="5000"))
    assert told.of(red) == Numbers(5000, -37)
    assert told.of(green) == Numbers(5000, 0)
    assert told.of(water) == Numbers(2000, 0)
    assert told.of(Band.named("TCI_10m")) is told.of(Band.named("SCL_20m")) is None
    # A product of somebody's own: only its metadata knows.
    own = Product.named(NEW.replace("N0500", "N9999"))
    assert radiometry(own, metadata(tag="RADIO_ADD_OFFSET", offset="-1000")).of(green) == Numbers(
        10000, -1000
    )
    with pytest.raises(Unresolvable, match="no baseline"):
        radiometry(own).of(red)


def test_a_product_of_ones_own_has_the_offset_that_its_metadata_says_or_none():
    own, red = Product.named(NEW.replace("N0500", "N9999")), Band.named("B04_10m")
    without = metadata(baseline="99.99", tag="OTHER")
    assert radiometry(own, without).of(red) == Numbers(10000, 0)
    assert radiometry(own, metadata(baseline="99.99", offset="-1000")).of(red) == Numbers(10000, -1000)


@pytest.mark.parametrize(
    "broken",
    [
        b"<a>",
        metadata(offset="none"),
        metadata().replace(b'"3"', b'"13"'),
        metadata().replace(b"band_id", b"b"),
    ],
)
def test_metadata_that_cannot_be_read_is_an_error(broken):
    with pytest.raises(StructureError, match="metadata"):
        radiometry(Product.named(NEW), broken)


def test_the_recorded_metadata_of_old_baselines_has_no_offset(recordings):
    import gzip

    found = sorted((recordings / "earth" / "safe" / "s2_openeo").glob("*MTD_MSIL2A.xml.gz"))
    if not found:
        pytest.skip("the recorded metadata is not on this machine")
    for path in found:
        product = Product.named(path.name)
        told = radiometry(product, gzip.decompress(path.read_bytes()))
        assert told.baseline == product.baseline
        assert told.of(Band.named("B04_10m")) == Numbers(10000, 0)
        assert told.of(Band.named("AOT_10m")) == told.of(Band.named("WVP_10m")) == Numbers(1000, 0)


def test_classes_are_named_numbered_or_grouped():
    assert scene_classes(["cloud"]) == (8, 9, 10)
    assert scene_classes(["shadow", " Cirrus", "11", "cloud_high"]) == (3, 9, 10, 11)
    for wrong, said in (("clouds", "did you mean 'cloud'"), ("12", "0 to 11"), ("", "allowed")):
        with pytest.raises(QueryError, match=said):
            scene_classes([wrong])


# --------------------------------------------------------------------------------------------------
# Where an area lies on the pixels

TILE = Grid(ZONE, WEST, NORTH, 10, 600, 600)


def test_the_window_is_the_smallest_that_covers_the_area():
    assert covering(on_tile(BOX, TILE), TILE) == Window(100, 150, 213, 171)
    coarse = Grid(ZONE, WEST, NORTH, 60, 100, 100)
    assert covering(on_tile(BOX, coarse), coarse) == Window(16, 25, 37, 29)
    aligned = area_of(1000, 3000, 2000, 1000)
    assert covering(on_tile(aligned, TILE), TILE) == Window(100, 100, 100, 200)


def test_a_point_is_one_pixel_and_a_line_those_that_it_touches():
    point = aoi.parse(f"SRID=32631;POINT ({WEST + 1005} {NORTH - 2005})")
    assert covering(on_tile(point, TILE), TILE) == Window(100, 200, 1, 1)
    line = aoi.parse(f"SRID=32631;LINESTRING ({WEST + 1005} {NORTH - 2005}, {WEST + 1035} {NORTH - 2005})")
    assert covering(on_tile(line, TILE), TILE) == Window(100, 200, 4, 1)


def test_an_area_beyond_the_tile_is_cut_and_one_outside_is_nowhere():
    assert covering(on_tile(area_of(-900, 900, 505, -500), TILE), TILE) == Window(0, 0, 51, 90)
    assert covering(on_tile(area_of(6100, 900, 7000, 100), TILE), TILE) is None
    # What touches the tile's edge alone, or reaches in by less than a thousandth of a pixel.
    for west in (6000.0, 5999.995):
        assert covering(on_tile(area_of(west, 900, 7000, 100), TILE), TILE) is None
        assert covering(on_tile(area_of(100, west + 1000, 900, west), TILE), TILE) is None
    everywhere = aoi.parse([-180, -90, 180, 90])
    assert covering(on_tile(everywhere, TILE), TILE) == TILE.whole


def test_an_area_of_two_parts_is_one_window_and_only_of_what_lies_on_the_tile():
    parts = [area_of(100, 200, 200, 100), area_of(1000, 1300, 1100, 1200), area_of(9000, 9300, 9100, 9200)]
    union = aoi.parse({"type": "GeometryCollection", "geometries": parts})
    assert covering(on_tile(union, TILE), TILE) == Window(10, 10, 100, 120)


def test_an_area_across_zones_is_projected_to_each_tiles_own():
    """6 degrees east is the border of the zones 31 and 32."""
    area = aoi.parse([5.9, 51.0, 6.1, 51.1])
    windows = {}
    for zone, west in ((31, 699960), (32, 199980)):
        tile = Grid(f"EPSG:326{zone}", west, 5700000, 10, 10980, 10980)
        windows[zone] = covering(on_tile(area, tile), tile)
        # What GDAL's own transformation of the densified bounds gives.
        w, s, e, n = rasterio.warp.transform_bounds(
            "EPSG:4326", tile.crs, 5.9, 51.0, 6.1, 51.1, densify_pts=101
        )
        columns = math.floor((w - west) / 10), min(math.ceil((e - west) / 10), 10980)
        rows = math.floor((5700000 - n) / 10), math.ceil((5700000 - s) / 10)
        found = windows[zone]
        assert (found.column, found.column + found.columns) == columns
        assert (found.row, found.row + found.rows) == rows
    assert windows[31] != windows[32]


@pytest.mark.parametrize(("zone", "west"), [(60, 799980), (1, 99960)])
def test_an_area_across_the_antimeridian_is_on_the_tiles_of_both_sides(zone, west):
    """At 17 degrees south the tiles of both zones reach across it."""
    tile = Grid(f"EPSG:327{zone:02}", west, 8200000, 10, 10980, 10980)
    window = covering(on_tile(aoi.parse([179.9, -17.2, -179.9, -16.8]), tile), tile)
    assert window is not None
    assert 100 < window.columns < 10980
    one_side = covering(on_tile(aoi.parse([179.9, -17.2, 180, -16.8]), tile), tile)
    assert one_side is not None
    assert one_side.columns < window.columns


def test_the_edge_of_a_box_is_a_parallel_and_no_chord():
    """At 60 degrees north and 1.4 degrees of longitude the two differ by 20 pixels."""
    tile = Grid("EPSG:32633", 399960, 6700020, 10, 10980, 10980)
    area = aoi.parse([13.5, 59.8, 14.9, 60.2])
    found = on_tile(area, tile).bounds
    w, s, e, n = rasterio.warp.transform_bounds(
        "EPSG:4326", tile.crs, 13.5, 59.8, 14.9, 60.2, densify_pts=2001
    )
    assert found == pytest.approx((w, s, e, n), abs=0.1)


def test_other_pixels_begin_at_the_tiles_corner():
    found = TILE.with_step(70)
    assert (found.west, found.north, found.step) == (WEST, NORTH, 70)
    assert (found.columns, found.rows) == (86, 86)
    assert TILE.with_step(20) == Grid(ZONE, WEST, NORTH, 20, 300, 300)


# --------------------------------------------------------------------------------------------------
# Crops are GDAL's


def test_a_crop_has_the_bands_own_pixels_and_says_all_about_them(jp2s, tmp_path):
    done = extract([jp2s(key) for key in KEYS], tmp_path, product=NEW, options=Options(area=BOX))
    assert [path.relative_to(tmp_path).as_posix() for path in done.paths] == [
        f"{NEW}/{STEM}_{key}.tif" for key in KEYS
    ]
    for key, path in zip(KEYS, done.paths, strict=True):
        left, top, wide, high = corner(path)
        step = step_of(key)
        assert left <= 1003 < left + step
        assert top <= 1504 < top + step
        assert left + (wide - 1) * step < 3128 <= left + wide * step
        assert top + (high - 1) * step < 3207 <= top + high * step
        column, row = int(left / step), int(top / step)
        np.testing.assert_array_equal(
            values(path), pixels(key, SIDE // step)[:, row : row + high, column : column + wide]
        )
        with rasterio.open(path) as file:
            assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert file.crs == ZONE
            assert file.nodata == 0
            assert file.descriptions == (key,)
            assert file.tags()["PRODUCT_ID"] == NEW
            assert file.tags()["PROCESSING_BASELINE"] == "05.00"
            assert file.tags()["ACQUISITION_TIME"] == "2018-06-04T10:50:31Z"
            kept = ((1.0,), (0.0,)) if key == "SCL_20m" else ((1e-4,), (-0.1,))
            assert (file.scales, file.offsets) == kept
            assert file.tags(1).get("ADD_OFFSET") == (None if key == "SCL_20m" else "-1000")


def gdal(*words: object) -> None:
    program = str(words[0])
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not on this machine (Debian: gdal-bin)")
    subprocess.run([program, "-q", *map(str, words[1:])], check=True, capture_output=True)


@pytest.mark.parametrize("key", KEYS)
def test_a_crop_is_what_gdal_translate_makes_of_its_corners(jp2s, tmp_path, key):
    (ours,) = extract([jp2s(key)], tmp_path, product=NEW, options=Options(area=BOX)).paths
    theirs = tmp_path / "theirs.tif"
    with rasterio.open(ours) as file:
        left, bottom, right, top = file.bounds
    gdal("gdal_translate", "-projwin", left, top, right, bottom, jp2s(key), theirs)
    np.testing.assert_array_equal(values(ours), values(theirs))
    assert corner(ours) == corner(theirs)


@pytest.mark.parametrize("key", KEYS)
def test_gdal_translate_with_the_areas_bounds_begins_at_the_same_pixel_and_may_end_earlier(
    jp2s, tmp_path, key
):
    """It rounds the size of the window, not its far corner."""
    (ours,) = extract([jp2s(key)], tmp_path, product=NEW, options=Options(area=BOX)).paths
    theirs = tmp_path / "theirs.tif"
    left, bottom, right, top = on_tile(BOX, TILE).bounds
    gdal("gdal_translate", "-projwin", left, top, right, bottom, jp2s(key), theirs)
    (x, y, wide, high), (their_x, their_y, their_wide, their_high) = corner(ours), corner(theirs)
    assert (x, y) == (their_x, their_y)
    assert wide - their_wide in {0, 1, 2}
    assert high - their_high in {0, 1, 2}
    np.testing.assert_array_equal(values(ours)[:, :their_high, :their_wide], values(theirs))


def test_numbers_of_15_bits_as_real_bands_have_them_are_written_with_16(tmp_path):
    """GDAL's COG driver knows no predictor for 15."""
    path = write_jp2(tmp_path / f"{STEM}_B04_10m.jp2", pixels("B04_10m", 100), 10, NBITS=15)
    with rasterio.open(path) as file:
        assert file.tags(1, ns="IMAGE_STRUCTURE")["NBITS"] == "15"
    (made,) = extract([path], tmp_path, product=NEW).paths
    np.testing.assert_array_equal(values(made), pixels("B04_10m", 100))
    with rasterio.open(made) as file:
        assert "NBITS" not in file.tags(1, ns="IMAGE_STRUCTURE")


def test_without_an_area_the_whole_tile_is_made(jp2s, tmp_path):
    (path,) = extract([jp2s("B11_20m")], tmp_path, product=NEW).paths
    np.testing.assert_array_equal(values(path), pixels("B11_20m", 300))


def test_windows_are_read_and_not_bands(tmp_path):
    """Of a band of 2 by 2 tiles the lower ones are garbage: nobody notices who cuts out of the upper ones."""
    path = write_jp2(tmp_path / f"{STEM}_B04_10m.jp2", pixels("B04_10m", 1024), 10)
    content = bytearray(path.read_bytes())
    starts = [at for at in range(len(content) - 1) if content[at : at + 4] == b"\xff\x90\x00\x0a"]
    assert len(starts) == 4
    for begin, end in pairwise([*starts[2:], len(content) - 2]):
        content[begin + 200 : end - 4] = b"\x00" * (end - begin - 204)
    broken = tmp_path / "broken" / path.name
    broken.parent.mkdir()
    broken.write_bytes(content)
    area = area_of(15, 1003, 2400, 25)
    right, same = (
        extract([one], tmp_path / name, product=NEW, options=Options(area=area)).paths[0]
        for name, one in (("a", path), ("b", broken))
    )
    np.testing.assert_array_equal(values(right), values(same))
    whole = extract([path], tmp_path / "c", product=NEW).paths[0]
    try:
        other = values(extract([broken], tmp_path / "d", product=NEW).paths[0])
    except StructureError:
        return
    assert (values(whole) != other).any()


def test_a_whole_band_is_never_in_memory(tmp_path):
    big = write_jp2(tmp_path / f"{STEM}_B04_10m.jp2", pixels("B04_10m", 4096), 10)
    tracemalloc.start()
    extract([big], tmp_path, product=NEW)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4096 * 4096 * 2


@pytest.mark.parametrize("break_it", [lambda b: b[:300], lambda b: b"<html>", lambda b: b""])
def test_a_file_that_is_no_picture_is_named(jp2s, tmp_path, break_it):
    path = tmp_path / f"{STEM}_B04_10m.jp2"
    path.write_bytes(break_it(jp2s("B04_10m").read_bytes()))
    with pytest.raises(StructureError, match="B04_10m"):
        extract([path], tmp_path / "out", product=NEW)


def test_a_file_that_lies_nowhere_is_named(tmp_path):
    path = tmp_path / f"{STEM}_B04_10m.jp2"
    shape = {"width": 64, "height": 64, "count": 1, "dtype": "uint16"}
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        rasterio.open(path, "w", driver="JP2OpenJPEG", **shape) as file,
    ):
        file.write(np.ones((1, 64, 64), "uint16"))
    with pytest.raises(StructureError, match="square pixels"):
        extract([path], tmp_path / "out", product=NEW)


# --------------------------------------------------------------------------------------------------
# What lies outside, and what the numbers mean

TRIANGLE = aoi.parse(
    f"SRID=32631;POLYGON (({WEST + 1000} {NORTH - 1000}, {WEST + 3000} {NORTH - 1000}, "
    f"{WEST + 1000} {NORTH - 3000}, {WEST + 1000} {NORTH - 1000}))"
)


def test_clipping_leaves_the_pixels_whose_middle_lies_in_the_area(jp2s, tmp_path):
    (path,) = extract(
        [jp2s("B04_10m")], tmp_path, product=NEW, options=Options(area=TRIANGLE, clip=True)
    ).paths
    found, source = values(path, 1), pixels("B04_10m", 600)[0, 100:300, 100:300]
    row, column = np.mgrid[:200, :200]
    within = row + column < 199  # that on the edge itself is a matter of rounding
    beyond = row + column > 199
    np.testing.assert_array_equal(found[within], source[within])
    assert (found[beyond] == 0).all()


def test_clipped_masks_have_a_value_of_their_own_for_no_data(jp2s, tmp_path):
    (path,) = extract(
        [jp2s("MSK_CLDPRB_20m")], tmp_path, product=NEW, options=Options(area=TRIANGLE, clip=True)
    ).paths
    with rasterio.open(path) as file:
        assert file.nodata == 255
    found = values(path, 1)
    assert found[-1, -1] == 255
    assert (found[:40, :40] == pixels("MSK_CLDPRB_20m", 300)[0, 50:90, 50:90]).all()
    assert (found[:40, :40] == 0).any()


@pytest.mark.parametrize(("product", "offset"), [(OLD, 0), (NEW, -1000)])
def test_reflectances_have_the_offset_of_their_baseline(jp2s, tmp_path, product, offset):
    keys = ["B04_10m", "SCL_20m", "TCI_10m", "AOT_20m"]
    done = extract([jp2s(key) for key in keys], tmp_path, product=product, options=Options(scale=True))
    red, scl, tci, aot = done.paths
    numbers = pixels("B04_10m", 600)[0].astype(float)
    found = values(red, 1)
    assert found.dtype == "float32"
    expected = np.where(numbers == 0, np.nan, (numbers + offset) / 10000).astype("float32")
    np.testing.assert_array_equal(found, expected)
    assert np.isnan(found).sum() == 60 * 60
    with rasterio.open(red) as file:
        assert math.isnan(file.nodata)
        assert (file.scales, file.offsets) == ((1.0,), (0.0,))
        assert file.tags(1)["APPLIED_ADD_OFFSET"] == str(offset)
    depth = pixels("AOT_20m", 300)[0].astype(float)
    np.testing.assert_array_equal(
        values(aot, 1), np.where(depth == 0, np.nan, depth / 1000).astype("float32")
    )
    np.testing.assert_array_equal(values(scl), pixels("SCL_20m", 300))
    np.testing.assert_array_equal(values(tci), pixels("TCI_10m", 600))
    with rasterio.open(tci) as file:
        assert [one.name for one in file.colorinterp] == ["red", "green", "blue"]
        assert file.descriptions == ("TCI_10m_red", "TCI_10m_green", "TCI_10m_blue")


def test_numbers_mean_what_the_metadata_says(jp2s, tmp_path):
    told = tmp_path / "MTD_MSIL2A.xml"
    told.write_bytes(metadata(offset="-500", quantification="5000"))
    (path,) = extract([jp2s("B04_10m")], tmp_path, product=OLD, metadata=told).paths
    with rasterio.open(path) as file:
        assert (file.scales, file.offsets) == ((1 / 5000,), (-0.1,))
    np.testing.assert_array_equal(values(path), pixels("B04_10m", 600))


def test_overviews_average_reflectances_and_never_classes(tmp_path):
    scl, red = pixels("SCL_20m", 1200), pixels("B04_10m", 1200)
    paths = [
        write_jp2(tmp_path / f"{STEM}_{key}.jp2", one, 10)
        for key, one in (("SCL_20m", scl), ("B04_10m", red))
    ]
    for path, own in zip(extract(paths, tmp_path, product=NEW).paths, (scl, red), strict=True):
        with rasterio.open(path, overview_level=0) as file:
            assert (file.width, file.block_shapes[0]) == (600, (512, 512))
            small = file.read(1)
        if own is scl:
            assert set(np.unique(small)) <= set(np.unique(scl))
            assert np.isin(small, (0, 3, 4, 5, 6, 9)).all()
        else:
            mean = red[0, :1000, :1000].reshape(500, 2, 500, 2).mean(axis=(1, 3))
            assert np.abs(small[:500, :500] - mean).max() <= 0.5


# --------------------------------------------------------------------------------------------------
# One grid


@pytest.mark.parametrize("how", ["nearest", "bilinear", "cubic", "average", "mode"])
@pytest.mark.parametrize(("key", "step"), [("B11_20m", 10), ("B04_10m", 60), ("B01_60m", 20)])
def test_bands_are_moved_as_gdalwarp_moves_them(jp2s, tmp_path, how, key, step):
    (ours,) = extract(
        [jp2s(key)], tmp_path, product=NEW, options=Options(area=BOX, resolution=step, resampling=how)
    ).paths
    assert ours.name == f"{STEM}_{key}_at_{step}m.tif"
    theirs = tmp_path / "theirs.tif"
    with rasterio.open(ours) as file:
        left, bottom, right, top = file.bounds
        assert file.res == (step, step)
        assert ((left - WEST) % step, (NORTH - top) % step) == (0, 0)
    extent = ("-te", left, bottom, right, top, "-tr", step, step)
    # Left alone it takes what the JPEG 2000 file has for less detailed views: wavelets, and no means.
    gdal("gdalwarp", "-ovr", "none", "-r", how, "-srcnodata", 0, "-dstnodata", 0, *extent, jp2s(key), theirs)
    difference = np.abs(values(ours).astype(int) - values(theirs))
    # Another version of GDAL may round otherwise.
    assert difference.max() <= (0 if how in {"nearest", "mode"} else 1)


def test_classes_are_moved_by_the_nearest_or_the_most_frequent(jp2s, tmp_path):
    both = [jp2s("B11_20m"), jp2s("SCL_20m")]
    _, fine = extract(
        both, tmp_path, product=NEW, options=Options(resolution=10, resampling="bilinear")
    ).paths
    expected = np.repeat(np.repeat(pixels("SCL_20m", 300)[0], 2, 0), 2, 1)
    np.testing.assert_array_equal(values(fine, 1), expected)
    (coarse,) = extract(
        [jp2s("SCL_20m")], tmp_path, product=NEW, options=Options(resolution=60, resampling="mode")
    ).paths
    assert set(np.unique(values(coarse))) <= {0, 3, 4, 5, 6, 9}
    with pytest.raises(QueryError, match="'average' for classes: SCL_20m .*nearest, mode"):
        extract(
            [jp2s("SCL_20m")], tmp_path, product=NEW, options=Options(resolution=60, resampling="average")
        )


def test_a_stack_has_one_grid_and_its_bands_names(jp2s, tmp_path):
    files = [jp2s(key) for key in KEYS]
    with pytest.raises(QueryError, match=r"several grids \(B04_10m 10 m, .*--resolution 10 --resampling"):
        extract(files, tmp_path, product=NEW, options=Options(stack=True))
    options = Options(area=BOX, stack=True, resolution=20, resampling="average")
    (path,) = extract(files, tmp_path, product=NEW, options=options).paths
    assert path.name == f"{STEM}_stack_at_20m.tif"
    with rasterio.open(path) as file:
        assert file.descriptions == KEYS
        assert file.scales == (1e-4, 1e-4, 1e-4, 1.0)
        assert file.dtypes[0] == "uint16"
    _, _, wide, high = corner(path)
    np.testing.assert_array_equal(values(path, 2), pixels("B11_20m", 300)[0, 75 : 75 + high, 50 : 50 + wide])
    np.testing.assert_array_equal(values(path, 4), pixels("SCL_20m", 300)[0, 75 : 75 + high, 50 : 50 + wide])
    same = [jp2s("B11_20m"), jp2s("SCL_20m")]
    (native,) = extract(same, tmp_path, product=NEW, options=Options(stack=True, scale=True)).paths
    assert native.name == f"{STEM}_stack_scaled.tif"
    assert np.isnan(values(native)[:, -1, -1]).all()


def test_masks_are_not_stacked_with_bands(jp2s, tmp_path):
    files = [jp2s("B11_20m"), jp2s("MSK_CLDPRB_20m")]
    with pytest.raises(QueryError, match="MSK_CLDPRB_20m has another value for no data"):
        extract(files, tmp_path, product=NEW, options=Options(stack=True))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"clip": True}, "--clip: there is no area"),
        ({"resolution": 0.5, "resampling": "nearest"}, "at least 1"),
        ({"resolution": math.nan, "resampling": "nearest"}, "got nan"),
        ({"resolution": 10}, "--resolution: without --resampling"),
        ({"resampling": "mode"}, "--resampling: without --resolution"),
        ({"resolution": 10, "resampling": "bilinar"}, "did you mean 'bilinear'"),
        ({"resolution": 10, "resampling": "?"}, "allowed: nearest"),
        ({"max_cloud": 20}, "got 20 .a part of the area"),
    ],
)
def test_options_that_cannot_be_are_one_helpful_line(options, said):
    with pytest.raises(QueryError, match=said):
        Options(**options)


# --------------------------------------------------------------------------------------------------
# Clouds


def test_the_cloud_over_an_area_is_counted_in_its_valid_pixels(jp2s):
    whole = clouds(jp2s("SCL_20m"))
    classes = pixels("SCL_20m", 300)
    valid = (classes > 0).sum()
    assert whole == Clouds((classes == 9).sum() / valid, (classes == 3).sum() / valid, valid / classes.size)
    assert clouds(jp2s("SCL_20m"), area_of(0, 3000, 3000, 0)) == Clouds(1.0, 0.0, 1.0)
    east = clouds(jp2s("SCL_20m"), area_of(3000, 3000, 5400, 0))
    assert (east.cloud, east.shadow) == (0.0, pytest.approx(0.25, abs=0.01))
    corner = area_of(5420, 5980, 5980, 5420)
    assert clouds(jp2s("SCL_20m"), corner) == Clouds(None, None, 0.0)
    assert clouds(jp2s("SCL_20m"), area_of(9000, 9900, 9900, 9000)) is None
    assert clouds(jp2s("SCL_20m"), area_of(2000, 2500, 4000, 2000)).cloud == 0.5
    tiny = area_of(1002, 1004, 1004, 1002)
    assert clouds(jp2s("SCL_20m"), tiny) == Clouds(1.0, 0.0, 1.0)


def test_each_class_counts_as_what_it_is():
    counts = np.zeros(256, int)
    counts[range(12)] = [2**one for one in range(12)]
    found = counted(counts)
    assert found.cloud == (2**8 + 2**9 + 2**10) / (2**12 - 2)
    assert found.shadow == 2**3 / (2**12 - 2)
    assert found.valid == (2**12 - 2) / (2**12 - 1)


def test_classes_that_are_masked_become_no_data_on_each_grid(jp2s, tmp_path):
    files = [jp2s(key) for key in (*KEYS, "MSK_CLDPRB_20m")]
    done = extract(files, tmp_path, product=NEW, options=Options(mask=(3, 9)))
    scl = pixels("SCL_20m", 300)[0]
    hidden = np.isin(scl, (3, 9))
    for key, path in zip(KEYS, done.paths, strict=False):
        own = pixels(key, SIDE // step_of(key))[0]
        assert path.name == f"{STEM}_{key}_masked.tif"
        if key == "B04_10m":
            own[np.repeat(np.repeat(hidden, 2, 0), 2, 1)] = 0
        elif key == "B11_20m":
            own[hidden] = 0
        elif key == "B01_60m":
            own[hidden[1::3, 1::3]] = 0
        np.testing.assert_array_equal(values(path, 1), own)
    np.testing.assert_array_equal(values(done.paths[4], 1), pixels("MSK_CLDPRB_20m", 300)[0])


def test_products_that_are_too_cloudy_are_named_and_no_failure(planned, store, tmp_path):
    plan = planned()
    for place, limit, said in (
        (area_of(0, 3000, 3000, 0), 0.2, "cloud 1.000 of the area, at most 0.2"),
        (area_of(5420, 5980, 5980, 5420), 0.2, "no valid pixel in the area"),
        (area_of(8420, 9980, 8980, 9420), 0.2, "the area is not on the tile"),
        (area_of(3000, 3000, 5400, 0), 0.2, ""),
        (area_of(0, 3000, 3000, 0), None, ""),
    ):
        outcome = extract_all(plan, store, tmp_path / "out", Options(area=place, max_cloud=limit))
        outcome.raise_for_failures()
        assert [one.skipped for one in outcome.skipped] == ([said] if said else [])
    # What lies there already says how cloudy it is.
    again = extract_all(plan, store, tmp_path / "out", Options(area=area_of(0, 3000, 3000, 0), max_cloud=0.5))
    assert again.skipped[0].already
    assert again.skipped[0].clouds == Clouds(1.0, 0.0, 1.0)


# --------------------------------------------------------------------------------------------------
# Plans


def test_each_product_has_a_folder_and_two_baselines_never_meet(planned, store, tmp_path):
    plan = planned({OLD: ["B04_10m"], NEW: ["B04_10m"]})
    outcome = extract_all(plan, store, tmp_path / "out", Options(area=BOX))
    outcome.raise_for_failures()
    paths = [one.paths[0] for one in outcome.made]
    assert [path.parent.name for path in paths] == sorted([OLD, NEW])
    old, new = (values(path) for path in paths)
    assert (old != new).any()
    with rasterio.open(paths[0]) as first, rasterio.open(paths[1]) as second:
        assert (first.offsets, second.offsets) == ((0.0,), (-0.1,))


def test_only_what_is_asked_is_made(planned, store, tmp_path):
    plan = planned({OLD: KEYS, NEW: ["B04_10m", "SCL_20m"]})
    one = extract_all(plan, store, tmp_path / "out", bands=["B04", "SCL_20m"], granules=[OLD])
    assert [path.name for path in one.made[0].paths] == [f"{STEM}_B04_10m.tif", f"{STEM}_SCL_20m.tif"]
    assert [made.product for made in extract_all(plan, store, tmp_path / "out", batch=(2, 2)).made] == [NEW]
    lacking = extract_all(plan, store, tmp_path / "out", bands=["B11"])
    assert [made.product for made in lacking.made] == [OLD]
    assert "B11: the plan has none of it" in str(lacking.failures[NEW])
    with pytest.raises(FetchFailed, match="1 of 2"):
        lacking.raise_for_failures()


def test_what_the_plan_does_not_have_is_refused(planned, store, tmp_path):
    plan = planned()
    for options, said in (
        ({"bands": ["B40_10m"]}, "did you mean 'B04_10m'"),
        ({"bands": ["B02"]}, "the plan has: B01_60m, B04_10m, B11_20m, SCL_20m"),
        ({"granules": [OLD]}, "did you mean 'S2A_MSIL2A_20180604T105031_N0500"),
        ({"granules": ["?"]}, "--granule: the plan has no '?'"),
    ):
        with pytest.raises(PlanError) as caught:
            extract_all(plan, store, tmp_path / "out", **options)
        assert said in str(caught.value)
    with pytest.raises(PlanError, match="no bands of Sentinel-2"):
        extract_all(planned({NEW: []}), store, tmp_path / "out")


def test_what_is_not_staged_is_named_with_the_command_that_brings_it(planned, store, tmp_path):
    plan = planned(stage=False)
    outcome = extract_all(plan, store, tmp_path / "out", bands=["B04_10m", "B11"])
    said = str(outcome.failures[NEW])
    assert isinstance(outcome.failures[NEW], Offline)
    assert f"{STEM}_B04_10m.jp2 and 2 more: not staged" in said
    assert f"--granule {NEW} --asset B04_10m --asset B11_20m --asset SCL_20m" in said


def test_each_file_that_is_not_staged_is_counted_once(planned, store, tmp_path):
    plan = planned(stage=False)
    with pytest.raises(FetchFailed) as caught:
        extract_all(plan, store, tmp_path / "out", bands=["SCL_20m"]).raise_for_failures()
    assert all("_SCL_20m.jp2: not staged" in str(error) for error in caught.value.failures.values())


def test_two_files_of_one_band_are_refused(jp2s, tmp_path):
    files = [jp2s("B04_10m", seed) for seed in (1, 2)]
    with pytest.raises(QueryError, match="a second B04_10m"):
        extract(files, tmp_path / "out", product=NEW)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_had_fails_unless_the_query_allows_it(planned, store, tmp_path):
    gap = [Unresolved(key="B8A_20m", reason="the product has none")]
    strict = planned({NEW: ["B04_10m"]}, unresolved=gap)
    for bands in ([], ["B04_10m", "B8A_20m"]):
        if bands:
            with pytest.raises(PlanError, match="B8A_20m"):
                extract_all(strict, store, tmp_path / "out", bands=bands)
        else:
            assert "B8A_20m: the product has none" in str(
                extract_all(strict, store, tmp_path / "out").failures[NEW]
            )
    lenient = planned({NEW: ["B04_10m"]}, unresolved=gap, allow_missing=("B8A_20m",))
    assert len(extract_all(lenient, store, tmp_path / "out").made[0].paths) == 1


def test_a_band_that_was_asked_for_without_its_resolution_has_it_in_its_name(planned, store, tmp_path):
    plan = planned({NEW: ["B04_10m", "SCL_20m"]})
    granules = [
        replace(one, assets=tuple(replace(asset, key=asset.key[:3]) for asset in one.assets))
        for one in plan.granules()
    ]
    named = plans.write(
        tmp_path / "named", query=Query(archive="cdse"), granules=granules, hits=1, received=1
    )
    options = Options(stack=True, resolution=20, resampling="average", mask=(9,))
    for bands in ([], ["B04", "SCL"], ["B04_10m", "SCL_20m"]):
        done = extract_all(named, store, tmp_path / "out", options, bands=bands).made[0]
        assert done.paths[0].name == f"{STEM}_stack_at_20m_masked.tif"
    with rasterio.open(done.paths[0]) as file:
        assert file.descriptions == ("B04_10m", "SCL_20m")


def test_a_product_without_bands_fails_beside_others(planned, store, tmp_path):
    plan = planned({OLD: ["B04_10m"], NEW: []})
    outcome = extract_all(plan, store, tmp_path / "out")
    assert "has no bands" in str(outcome.failures[NEW])
    assert len(outcome.made) == 1


def test_clouds_need_their_classes(planned, store, tmp_path):
    plan = planned({NEW: ["B04_10m"]})
    for options in (Options(mask=(9,)), Options(max_cloud=0.1)):
        assert "has no SCL" in str(extract_all(plan, store, tmp_path / "out", options).failures[NEW])
    assert extract_all(plan, store, tmp_path / "out").made[0].clouds is None


def test_metadata_of_the_plan_counts(planned, store, tmp_path):
    plan = planned({OLD: ["B04_10m"]}, xml=metadata(baseline="02.08", offset="-250"))
    (path,) = extract_all(plan, store, tmp_path / "out").made[0].paths
    with rasterio.open(path) as file:
        assert file.offsets == (-0.025,)


# --------------------------------------------------------------------------------------------------
# Once, whole, and the same


def test_a_second_run_does_nothing_even_when_the_bands_were_released(planned, store, tmp_path):
    plan, options = planned(), Options(area=BOX)
    first = extract_all(plan, store, tmp_path / "out", options).made[0]
    stamps = [path.stat().st_mtime_ns for path in first.paths]
    second = extract_all(plan, store, tmp_path / "out", options).made[0]
    assert (first.already, second.already) == (False, True)
    assert (second.paths, second.clouds) == (first.paths, first.clouds)
    release_plan(plan, store)
    third = extract_all(plan, store, tmp_path / "out", options)
    assert third.made == [second]
    assert [path.stat().st_mtime_ns for path in first.paths] == stamps
    other = extract_all(plan, store, tmp_path / "out", Options(scale=True))
    assert "was released" in str(other.failures[NEW])


def test_equal_bands_are_equal_bytes_whatever_the_threads(jp2s, tmp_path):
    options = Options(area=BOX, resolution=20, resampling="average", mask=(3,), scale=True)
    for name, threads in (("a", 1), ("b", 2)):
        extract([jp2s(k) for k in KEYS], tmp_path / name, product=NEW, options=options, threads=threads)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.tif*"))
    assert len(files) == 8
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_another_area_replaces_and_another_meaning_does_not(jp2s, tmp_path):
    files = [jp2s("B11_20m"), jp2s("SCL_20m")]
    first = extract(files, tmp_path, product=NEW, options=Options(area=BOX))
    other = extract(files, tmp_path, product=NEW, options=Options(area=TRIANGLE))
    assert other.paths == first.paths == other.replaced
    for options in (
        Options(area=BOX, scale=True),
        Options(area=BOX, mask=(9,)),
        Options(area=BOX, resolution=10, resampling="nearest"),
        Options(area=BOX, stack=True),
    ):
        assert extract(files, tmp_path, product=NEW, options=options).replaced == ()
    receipt = json.loads(Path(f"{other.paths[0]}.json").read_text())
    assert receipt["recipe"]["options"]["area"] == TRIANGLE
    assert receipt["window"] == [50, 50, 100, 100]
    assert receipt["clouds"]["cloud"] == other.clouds.cloud


def test_a_raster_that_was_touched_is_made_again(jp2s, tmp_path):
    files = [jp2s("B11_20m"), jp2s("SCL_20m")]
    made = extract(files, tmp_path, product=NEW).paths[0]
    right, receipt = made.read_bytes(), Path(f"{made}.json")
    for damage in (
        lambda: made.write_bytes(right[:-1] + b"x"),
        made.unlink,
        receipt.unlink,
        lambda: receipt.write_text("{"),
        lambda: receipt.write_text('{"recipe": 1, "files": []}'),
    ):
        damage()
        again = extract(files, tmp_path, product=NEW)
        assert not again.already
        assert made.read_bytes() == right
    assert not list((tmp_path / ".skystage").glob("*.work"))


def test_a_run_that_died_leaves_nothing_that_counts(jp2s, tmp_path):
    work = tmp_path / ".skystage" / f"{NEW}.work"
    work.mkdir(parents=True)
    (work / f"{STEM}_B11_20m.plain.tif").write_bytes(b"half")
    assert extract([jp2s("B11_20m")], tmp_path, product=NEW).paths[0].is_file()
    assert not work.exists()


# --------------------------------------------------------------------------------------------------
# The command


@pytest.fixture
def run(capsys):
    def call(*words: object) -> tuple[int, str, str]:
        code = cli.run(["derive", "bands", *map(str, words)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_the_command_prints_paths_and_one_json_object(planned, run, store, tmp_path):
    planned({OLD: KEYS, NEW: KEYS}, area=BOX)
    words = (tmp_path / "plan.ndjson", "--store", store.root, "-o", tmp_path / "out", "--band", "B04")
    code, out, err = run(*words, "--area", "query", "--mask-scl", "cloud,shadow")
    assert code == 0
    assert [Path(line).is_file() for line in out.splitlines()] == [True, True]
    assert out.splitlines()[0].endswith(f"{OLD}/{STEM}_B04_10m_masked.tif")
    assert err.count("cut  ") == 2
    code, out, _ = run(*words, "--area", "query", "--mask-scl", "cloud,shadow", "--json")
    found = json.loads(out)
    assert [one["already"] for one in found["made"]] == [True, True]
    assert set(found["made"][0]["clouds"]) == {"cloud", "shadow", "valid"}
    assert (found["skipped"], found["failed"]) == ([], [])
    code, out, err = run(*words, "--area", "query", "--max-cloud", "0.01", "--json")
    assert (code, json.loads(out)["made"]) == (0, [])
    assert err.count("skipped") == 2
    code, _, err = run(*words, "--area", json.dumps(TRIANGLE), "--mask-scl", "8", "--mask-scl", "9,10,3")
    assert err.count("replaced") == 2


def test_the_command_fails_by_name_with_exit_code_4(planned, run, store, tmp_path):
    planned(stage=False)
    code, out, err = run(
        tmp_path / "plan.ndjson", "--store", store.root, "-o", tmp_path / "out", "--json", "--threads", 2
    )
    assert code == 4
    assert json.loads(out)["failed"][0]["error"] == "Offline"
    assert "failed   " in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--area", "query"], "the plan's query has no area"),
        (["--area", "1,2,3"], "area"),
        (["--mask-scl", "clod"], "did you mean 'cloud'"),
    ],
)
def test_wrong_words_are_exit_code_2(planned, run, store, tmp_path, words, said):
    planned()
    code, _, err = run(tmp_path / "plan.ndjson", "--store", store.root, "-o", tmp_path / "out", *words)
    assert code == 2
    assert said in err


def test_a_batch_may_be_empty(planned, run, store, tmp_path):
    plan = planned({OLD: ["B04_10m"], NEW: ["B04_10m"]})
    codes = [
        run(plan.path, "--store", store.root, "-o", tmp_path / "out", "--batch", f"{i}/9")[0]
        for i in range(1, 10)
    ]
    assert codes == [0] * 9
    assert len(list((tmp_path / "out").glob("*/*.tif"))) == 2


def test_of_a_plan_that_kept_nothing_nothing_is_made(store, tmp_path, capsys):
    empty = plans.write(
        tmp_path / "empty.ndjson", query=Query(archive="cdse"), granules=[], hits=0, received=0
    )
    found = extract_all(empty, store, tmp_path / "out", bands=["B04"])
    assert (found.made, found.skipped, found.failures) == ([], [], {})
    code = cli.run(
        ["derive", "bands", str(empty.path), "--store", str(store.root), "-o", str(tmp_path / "out")]
    )
    assert code == 3
    assert "no product in it" in capsys.readouterr().err


def test_a_run_that_is_killed_before_a_receipt_has_its_name_leaves_nothing_of_it(planned, store, tmp_path):
    made, out = planned({NEW: ["B04_10m"]}), tmp_path / "out"
    program = """
import os, sys

def die(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith(".tif.json"):
        os._exit(9)

sys.addaudithook(die)
from skystage import cli
cli.main()
"""
    command = ["derive", "bands", made.path, "--store", store.root, "-o", out]
    killed = subprocess.run(
        [sys.executable, "-c", program, *map(str, command)], check=False, capture_output=True
    )
    assert killed.returncode == 9, killed.stderr
    (folder,) = [path for path in out.iterdir() if path.name != ".skystage"]
    assert [path.suffix for path in folder.iterdir()] == [".tif"]
    outcome = extract_all(made, store, out)
    assert not outcome.made[0].already
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".tif"]
    assert not list((out / ".skystage").glob("*.work"))
