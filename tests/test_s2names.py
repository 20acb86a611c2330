"""What Sentinel-2's names say, of products and of files."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from skystage.s2names import PRODUCT, Band, Product, finest, key

NEW = "S2B_MSIL2A_20180604T105031_N0500_R051_T31UFS_20230716T003206"


@pytest.mark.parametrize(
    ("stem", "key", "kind"),
    [
        ("T31UFS_20180604T105031_B02_10m", "B02_10m", "reflectance"),
        ("T31UFS_20180604T105031_B8A", "B8A", "reflectance"),
        ("L2A_T31UFS_20180329T104021_SCL_20m", "SCL_20m", "classes"),
        ("S2A_OPER_MSI_L1C_TL_EPA__20160929T001011_A000734_T31UFS_B12", "B12", "reflectance"),
        ("T31UFS_20180604T105031_AOT_60m", "AOT_60m", "depth"),
        ("T31UFS_20180604T105031_TCI", "TCI", "picture"),
        ("MSK_CLDPRB_20m", "MSK_CLDPRB_20m", "mask"),
        ("MSK_DETFOO_B01", "MSK_DETFOO_B01", "mask"),
    ],
)
def test_a_file_is_called_by_its_band(stem, key, kind):
    band = Band.named(stem)
    assert (band.key, band.kind) == (key, kind)
    assert band.is_classes == (kind in {"classes", "mask"})
    assert band.nodata == (255 if kind == "mask" else 0)


@pytest.mark.parametrize("stem", ["T31UFS_20180604T105031_PVI", "B13_10m", "T31UFS_B02_30m", "quicklook"])
def test_what_is_no_band_is_none(stem):
    assert Band.named(stem) is None


def test_a_product_says_tile_baseline_and_time():
    found = Product.named(NEW)
    assert (found.tile, found.baseline) == ("31UFS", "05.00")
    assert found.sensed == datetime(2018, 6, 4, 10, 50, 31, tzinfo=UTC)
    assert Product.named(NEW.replace("N0500", "N9999")).baseline is None
    assert Product.named("S2A_OPER_PRD_MSIL1C_PDMC_20160929").baseline is None


def test_a_product_of_an_impossible_day_has_no_time():
    assert Product.named(NEW.replace("20180604", "20181304")) == Product(
        NEW.replace("20180604", "20181304"), "31UFS", "05.00"
    )


@pytest.mark.parametrize("name", [NEW.replace("L2A", "L1B"), NEW.replace("T31UFS", "T3IUFS"), f"{NEW}.SAFE"])
def test_other_names_are_no_products(name):
    assert PRODUCT.fullmatch(name) is None


def test_the_finest_of_a_band_is_meant_by_its_name():
    keys = dict.fromkeys(["B02_60m", "B02_20m", "B02_10m", "B8A_20m", "TCI"])
    assert [finest(one, keys) for one in ("B02", "B02_20m", "B8A", "TCI", "B8")] == [
        "B02_10m",
        "B02_20m",
        "B8A_20m",
        "TCI",
        None,
    ]


@pytest.mark.parametrize(
    "path",
    [
        "HTML/UserProduct_index.html",
        "DATASTRIP/DS/QI_DATA/GENERAL_QUALITY.xml",
        "GRANULE/L2A_T31UFS/AUX_DATA/AUX_ECMWFT",
        "GRANULE/L2A_T31UFS/QI_DATA/general.xml",
        "GRANULE/L2A_T31UFS/IMG_DATA/T31UFS_20180607T104021_DEM_60m.jp2",
        "IMG_DATA/T31UFS_20180607T104021_B02.jp2",
    ],
)
def test_what_nobody_asks_for_has_no_key(path):
    assert key(path) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("T31UFS_20180607T104021_B8A.jp2", "B8A"),
        ("T31UFS_20180607T104021_PVI.jp2", "PVI"),
        ("MSK_DETFOO_B02.gml", "MSK_DETFOO_B02"),
        ("FORMAT_CORRECTNESS.xml", "FORMAT_CORRECTNESS"),
        ("MTD_TL.xml", "granule_metadata"),
    ],
)
def test_a_file_of_a_granule_is_called_by_its_name(name, expected):
    assert key(f"GRANULE/L1C_T31UFS/SOMEWHERE/{name}") == expected
