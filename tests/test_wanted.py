"""What configurations say of bands: the same mapping for Snakemake and Prefect."""

from __future__ import annotations

import pytest

from skystage import aoi
from skystage.derive import wanted
from skystage.errors import QueryError
from skystage.model import Asset, Granule

NAME = "S2A_MSIL2A_20180607T104021_N0500_R008_T31UFS_20230724T034950"
BOX = [5.0, 50.75, 5.2, 50.9]
QUERY = {"assets": ["B04_10m", "B8A_20m", "SCL_20m", "product_metadata"], "area": aoi.parse(BOX)}


def product(*keys: str, footprint=(4.4, 50.4, 6.0, 51.4)) -> Granule:
    folder = f"cdse/SENTINEL-2_S2MSI2A/{NAME}"
    return Granule(
        archive="cdse",
        collection="SENTINEL-2_S2MSI2A",
        id=NAME,
        native_id="74d0ba56-cb56-5cc9-a42b-4fb8836b033a",
        geometry=footprint and aoi.parse(list(footprint)),
        assets=tuple(
            Asset(key=key, path=f"{folder}/T31UFS_20180607T104021_{key if '_' in key else f'{key}_10m'}.jp2")
            for key in keys
        ),
    )


def test_a_configuration_is_the_options_of_the_command():
    given = {
        "keys": ["B04_10m", "B8A"],
        "area": "query",
        "clip": True,
        "resolution": 20,
        "resampling": "average",
        "mask_scl": ["shadow", 8],
        "max_cloud": 0.3,
        "scale": None,
    }
    found = wanted.read(given, QUERY)
    assert found.keys == ("B04_10m", "B8A")
    options = found.options
    assert options.area == QUERY["area"]
    assert (options.clip, options.resolution, options.resampling) == (True, 20, "average")
    assert (options.mask, options.max_cloud, options.scale) == ((3, 8), 0.3, False)


def test_nothing_said_is_all_bands_as_they_are():
    found = wanted.read({}, QUERY)
    assert found.keys == ()
    assert found.options == wanted.Options()


def test_one_word_stands_for_a_list_of_one_and_an_area_has_any_form():
    found = wanted.read({"keys": "SCL_20m", "mask_scl": 3, "area": "5.0, 50.75, 5.2, 50.9"}, QUERY)
    assert (found.keys, found.options.mask) == (("SCL_20m",), (3,))
    assert found.options.area == QUERY["area"] == wanted.read({"area": BOX}, QUERY).options.area


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"resoluton": 10}, "bands: no key 'resoluton' (allowed: keys, area, "),
        ({"resoluton": 10}, "did you mean 'resolution'?"),
        ({"resolution": "10"}, "bands.resolution: got '10' (allowed: a number)"),
        ({"max_cloud": True}, "bands.max_cloud: got True (allowed: a number)"),
        ({"max_cloud": 30}, "bands.max_cloud: got 30"),
        ({"resolution": 10}, "bands.resolution: without resampling"),
        ({"resampling": 3}, "bands.resampling: got 3 (allowed: a name)"),
        ({"resolution": 10, "resampling": "bilinar"}, "did you mean 'bilinear'?"),
        ({"stack": "yes"}, "bands.stack: got 'yes' (allowed: true, false)"),
        ({"keys": [4]}, "bands.keys: got [4] (allowed: a name, or a list of names)"),
        ({"keys": "B03_10m"}, "bands.keys: got 'B03_10m' (the query's assets are: B04_10m, "),
        ({"mask_scl": "clouds"}, "bands.mask_scl: got 'clouds'"),
        ({"mask_scl": [1.5]}, "bands.mask_scl: got [1.5]"),
        ({"area": [5, 50]}, "bands.area: "),
        ({"clip": True}, "bands.clip: there is no area to clip to (it belongs to area)"),
    ],
)
def test_what_cannot_be_is_one_line_that_says_what_can(given, line):
    with pytest.raises(QueryError) as refused:
        wanted.read(given, QUERY)
    assert line in str(refused.value)
    assert "--" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "query", "line"),
    [
        ({}, {}, "bands: the query brings none (the query's assets are: whole products; name bands: assets:"),
        ({}, {"assets": ["quicklook"]}, "the query's assets are: quicklook"),
        ({"area": "query"}, {"assets": ["B04"]}, "bands.area: got 'query' (the query has no area; give one)"),
        ({"max_cloud": 0.3}, {"assets": ["B04"]}, "bands.max_cloud: the query brings no SCL"),
        ({"mask_scl": "cloud"}, {"assets": ["B04"]}, "bands.mask_scl: the query brings no SCL"),
    ],
)
def test_what_the_query_does_not_bring_is_found_before_anything_is_asked(given, query, line):
    with pytest.raises(QueryError) as refused:
        wanted.read(given, query)
    assert line in str(refused.value)


def test_names_of_rasters_are_known_before_anything_is_staged():
    granule = product("B04_10m", "B8A_20m", "SCL_20m", "product_metadata")
    stem = "T31UFS_20180607T104021"

    def names(**given) -> list[str]:
        return wanted.read(given, QUERY).names(granule)

    assert names() == [f"{stem}_B04_10m.tif", f"{stem}_B8A_20m.tif", f"{stem}_SCL_20m.tif"]
    assert names(keys="B8A", scale=True, mask_scl="cloud") == [f"{stem}_B8A_20m_masked_scaled.tif"]
    both = {"keys": ["B04", "B8A"], "resolution": 10, "resampling": "bilinear"}
    assert names(**both, stack=True) == [f"{stem}_stack_at_10m.tif"]
    assert wanted.read({"stack": True}, {"assets": ["B04"]}).names(product("B04")) == [f"{stem}_stack.tif"]
    assert wanted.read({}, QUERY).names(product()) == []


def test_only_rasters_that_cannot_be_skipped_are_sure():
    query = {**QUERY, "area": aoi.parse([5.99, 50.75, 6.2, 50.9])}

    def sure(given, query=QUERY, **footprint) -> bool:
        return wanted.read(given, query).surely_on(product("B04_10m", **footprint))

    assert sure({"area": "query"})
    assert sure({}, footprint=None)
    assert not sure({"area": "query"}, footprint=None)
    assert not sure({"area": "query", "max_cloud": 0.5})
    # It touches the footprint by less than the footprint may be wrong.
    assert not sure({"area": "query"}, {**query, "area": aoi.parse([5.995, 50.75, 6.2, 50.9])})
    assert not sure({"area": [7, 50, 8, 51]})
