"""Whatever a catalogue calls a record: a granule comes of it, or an error that names it."""

from __future__ import annotations

import copy
import gzip
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skystage import aoi, archives, filters, planning, query
from skystage.archives import cdse_records, mast_records, missions, odata, stac_items
from skystage.archives.portal import Portal
from skystage.archives.stac import _item
from skystage.errors import CatalogueUnavailable, SearchError
from skystage.model import Granule, canonical
from skystage.spool import Spool
from skystage.transport import Access

CATALOGUE = "catalogue.dataspace.copernicus.eu"
CMR = "cmr.earthdata.nasa.gov"
WORLD = aoi.Area(aoi.parse([-180, -90, 180, 90]))
JUNK: list[Any] = [
    *(None, "", "yesterday", "5", "a/../b", "\ud800", "x" * 300, "2020-13-01T00:00:00Z"),
    *(0, -1, 5, 10**400, 0.5, math.inf, math.nan, True, False),
    *([], {}, [None], [[]], ["x"], {"x": None}, {"type": "Point"}, [[["1", "2"]]], [{"Name": 1}]),
]
FILTERS = {
    "polarization": ["VV"],
    "orbit_direction": "ASCENDING",
    "cloud_cover": {"max": 10},
    "relative_orbit": [5],
    "tile": "31UFS",
    "name": "S2*",
    "publication_date": {"min": "2020-01-01T00:00:00Z"},
    "months": [1],
}


def mutilated(data: st.DataObject, record: Any) -> Any:
    """A record in which one to three things are gone, or something else."""
    broken = copy.deepcopy(record)
    for _ in range(data.draw(st.integers(1, 3))):
        at: Any = broken
        while at:
            step = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
            deeper = isinstance(at[step], dict | list) and at[step] and data.draw(st.integers(0, 3))
            if not deeper:
                if data.draw(st.booleans()):
                    del at[step]
                else:
                    at[step] = copy.deepcopy(data.draw(st.sampled_from(JUNK)))
                break
            at = at[step]
    return broken


def use(found: Granule, known: archives.Archive) -> None:
    """Do with a granule what planning does with it."""
    assert Granule.from_json(json.loads(canonical(found.to_json()))).to_json() == found.to_json()
    for asset in found.assets:
        assert not {"", ".", ".."} & set(asset.path.split("/"))
    if found.geometry is not None:
        WORLD.intersects(found.geometry)
    for name, wanted in FILTERS.items():
        filters.Filter({name: wanted}, properties=known.properties).reason(found)
    list(cdse_records.parted([found, found]))
    with Spool() as spool:
        spool.add(
            found,
            sensing=known.sensing(found),
            processed=known.processed(found),
            swath=filters.swath(found, known.properties),
        )
        known.offline(found)
        assert len(list(spool)) == 1


def check(records: list[Any], read: Callable[[Any], Granule], archive: str, examples: int = 150) -> None:
    """Mutilate records, and read them."""
    known = archives.get(archive)
    assert records

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        broken = mutilated(data, data.draw(st.sampled_from(records)))
        try:
            found = read(broken)
        except SearchError as error:
            assert "\n" not in str(error)  # noqa: PT017 - granules are as good
        else:
            use(found, known)

    for record in records[:20]:
        use(read(copy.deepcopy(record)), known)
    holds()


def opened(path: Path) -> Any:
    content = path.read_bytes()
    return json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)


# --------------------------------------------------------------------------------------------------
# Copernicus Data Space


def product(record: Any) -> Granule:
    return cdse_records.granule(odata._whole(record))


@pytest.fixture
def products(box, access) -> list[Any]:
    address = f"https://{CATALOGUE}/odata/v1/Products?$top=40&$expand=Attributes&$expand=Assets"
    return json.loads(access.read(address))["value"]


def test_a_product_of_the_copernicus_data_space(products):
    check(products, product, "cdse")


def test_a_recorded_product_of_the_copernicus_data_space(recordings):
    folder = recordings / "earth" / "cdse_odata"
    files = ("eodm_s2_l2a_18.json", "eodag_cop_dataspace_search_s2_l1c_2_attrs_assets.json")
    check([one for name in files for one in opened(folder / name)["value"]], product, "cdse")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one["Attributes"][0].pop("Value"), "KeyError: 'Value'"),
        (lambda one: one["ContentDate"].update(Start="yesterday"), "yesterday"),
        (lambda one: one["ContentDate"].update(End="2018-06-31T00:00:00Z"), "day is out of range"),
        (lambda one: one.pop("ContentDate"), "ContentDate"),
        (lambda one: one.pop("Id"), "KeyError: 'Id'"),
        (lambda one: one.update(Id=None), "Id: None"),
        (lambda one: one.update(ContentLength="large"), "ContentLength: 'large'"),
        (lambda one: one.update(ContentLength=-5), "size: -5"),
        (lambda one: one.update(Checksum=[5]), "AttributeError"),
        (lambda one: one.update(GeoFootprint={"type": "Polygon", "coordinates": [[1, 2]]}), "cannot be read"),
        (
            lambda one: one.update(GeoFootprint={"type": "Point", "coordinates": [math.inf, 2]}),
            "JSON",
        ),
    ],
)
def test_a_product_that_is_broken_ends_the_plan_with_its_name(box, products, access, tmp_path, change, said):
    change(products[3])
    body = json.dumps({"@odata.count": len(products), "value": products})
    box.set_faults([{"match": {"host": CATALOGUE}, "status": 200, "body": body}])
    asked = query.parse({"archive": "cdse", "collection": "SENTINEL-2"})
    with pytest.raises(SearchError) as caught:
        planning.build(asked, tmp_path / "plan.ndjson", access)
    assert products[3]["Name"].removesuffix(".SAFE") in caught.value.message
    assert said in caught.value.message
    assert not caught.value.transient
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("record", [None, 5, [], {}, {"Name": None}, {"Name": ""}])
def test_what_is_no_product_at_all_is_an_answer_that_is_not_odata(record):
    with pytest.raises(CatalogueUnavailable, match="not OData"):
        product(record)


# --------------------------------------------------------------------------------------------------
# CMR


def from_cmr(box, access) -> Callable[[Any], Granule]:
    def read(*items: Any) -> Granule:
        body = json.dumps({"hits": len(items), "items": items})
        fault = {"match": {"host": CMR}, "status": 200, "body": body}
        box.set_faults(
            [{**fault, "headers": {"CMR-Hits": str(len(items)), "Content-Type": "application/json"}}]
        )
        (found,) = archives.get("asf").search(query.parse({"archive": "asf", "relative_orbit": 35}), access)
        return found

    return read


def cmr_records(access: Access) -> Iterator[Any]:
    body = "provider=ASF&page_size=40"
    address = f"https://{CMR}/search/granules.umm_json"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    yield from json.loads(access.read(address, headers=headers, content=body.encode()))["items"]


def test_a_granule_of_cmr(box, access):
    check(list(cmr_records(access)), from_cmr(box, access), "asf", 40)


def test_a_recorded_granule_of_cmr(box, access, recordings):
    found = []
    for path in sorted((recordings / "earth" / "cmr").glob("*.umm.json.gz")):
        items = opened(path)
        found += (items["items"] if isinstance(items, dict) else items)[:3]
    check(found, from_cmr(box, access), "asf", 40)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one["umm"].pop("CollectionReference"), "CollectionReference"),
        (lambda one: one["umm"]["AdditionalAttributes"][0].pop("Name"), "KeyError"),
        (lambda one: one.pop("meta"), "KeyError: 'meta'"),
        (lambda one: one["umm"].update(TemporalExtent=[]), "cannot be read"),
        (lambda one: one["umm"].update(SpatialExtent="Utah"), "cannot be read"),
    ],
)
def test_a_granule_of_cmr_that_is_broken_is_named(box, access, change, said):
    right, item, *_ = cmr_records(access)
    name = item["umm"]["GranuleUR"]
    change(item)
    with pytest.raises(SearchError) as caught:
        from_cmr(box, access)(right, item)
    assert name in caught.value.message
    assert said in caught.value.message


# --------------------------------------------------------------------------------------------------
# MAST


def with_product(row: Any) -> Granule:
    return replace(OBSERVATION, assets=(mast_records.asset(row),))


OBSERVATION = Granule(archive="mast", collection="HST", id="a", native_id="1")


def test_a_recorded_row_of_mast(recordings):
    folder = recordings / "astro" / "mast-portal"
    check(opened(folder / "caom.json")["data"], mast_records.granule, "mast")
    check(opened(folder / "products.json")["data"], with_product, "mast")


def test_a_row_of_mast(box, access):
    portal = Portal(access)
    rows = list(portal.observations({"proposal_id": ["7291"]}, None))
    check(rows, mast_records.granule, "mast")
    check(portal.products([str(row["obsid"]) for row in rows[:3]]), with_product, "mast")


def test_a_data_set_of_a_mission(box, access):
    def read(row: Any) -> Granule:
        return missions._granule(row, "hst", (1.0, 2.0, 3.0))

    asked = {"select_cols": [], "conditions": [{"sci_pep_id": "7291"}], "limit": 20}
    check(missions._rows(missions._post("hst", "search", asked, access)), read, "missions")


@pytest.mark.parametrize(
    ("read", "row", "said"),
    [
        (mast_records.granule, {"obsid": None, "obs_collection": "HST"}, "obsid: it is empty"),
        (mast_records.granule, {"obsid": 5, "obs_id": "o4x"}, "the record 'o4x' .*obs_collection"),
        (mast_records.asset, {"productFilename": "a.fits"}, "the record 'a.fits' .*dataURI"),
        (mast_records.asset, {}, "the record without a name .*productFilename"),
    ],
)
def test_a_row_of_mast_that_is_broken_is_named(read, row, said):
    with pytest.raises(SearchError, match=f"MAST: {said}|MAST: the record without a name .*{said}"):
        read(row)


# --------------------------------------------------------------------------------------------------
# STAC


def item_of_stac(said: Any) -> Granule:
    item = _item(said, "https://x.org/items/a.json", None)
    return stac_items.granule(item.said, item.base, collection=item.collection)


def test_an_item_of_stac(box, access):
    address = "https://stac.dataspace.copernicus.eu/v1/search?limit=20"
    check(json.loads(access.read(address))["features"], item_of_stac, "stac")


def test_a_recorded_item_of_stac(recordings):
    folder = recordings / "astro" / "stac-recorded"
    found = opened(folder / "earthsearch_search_10items.json")[1]["body"]["features"]
    check([*found, opened(folder / "ssys_item.json")], item_of_stac, "stac")


@pytest.mark.parametrize(
    "page",
    [
        {"features": [5]},
        {"features": [{"id": "a", "links": [5]}]},
        {"features": [{"id": "a", "properties": "none"}]},
        {"features": [{"id": "a", "assets": {"x": {"href": 5}}}]},
        {"features": [{"id": "a"}], "links": [5]},
        {"features": [{"id": "a"}], "links": [{"rel": "next"}]},
    ],
)
def test_a_page_of_stac_that_is_broken_is_an_error(box, access, page):
    host = "stac.dataspace.copernicus.eu"
    box.set_faults([{"match": {"host": host, "path": "*/search"}, "status": 200, "body": json.dumps(page)}])
    asked = query.parse({"archive": "stac", "url": f"https://{host}/v1", "collections": "items"})
    with pytest.raises(SearchError, match="stac: "):
        list(archives.get("stac").search(asked, access))
