"""The ASF archive, through the real asf_search, against the archives in a box."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from skystage import archives, errors, planning, query
from skystage.archives import asf, asf_criteria, asf_records
from skystage.errors import CatalogueUnavailable, IncompleteSearch, QueryError, SearchError
from skystage.model import Query

CMR = "cmr.earthdata.nasa.gov"
NORCAL = {
    "archive": "asf",
    "area": [-123.5, 38.0, -121.5, 40.5],
    "dataset": "SENTINEL-1",
    "processing_level": "SLC",
    "relative_orbit": 35,
    "flight_direction": "ASCENDING",
}


def search(asked: Query, access):
    found = archives.get("asf").search(asked, access)
    return list(found), found


def test_every_search_keyword_of_asf_search_can_be_asked():
    from asf_search.ASFSearchOptions.validator_map import validator_map

    common = {"start", "end", "intersectsWith"}  # the query's own start, end and area
    ours = {asf_criteria.keyword(name) for name in asf_criteria.Criteria.model_fields} - {"reference"}
    assert ours | common | {"session", "host"} == set(validator_map)


EVERY_CRITERION = {
    "absolute_orbit": {"min": 20000, "max": 21000},
    "relative_orbit": [35, {"min": 100, "max": 101}],
    "frame": 122,
    "asf_frame": [122],
    "bbox": [-124, 37, -120, 41],
    "circle": [-122, 39, 1000],
    "linestring": [-122, 39, -121, 40],
    "point": [-122, 39],
    "beam_mode": "iw",
    "beam_swath": "IW1",
    "campaign": "Alaska, North",
    "site_description": "site",
    "data_maturity": "beta",
    "max_doppler": 1,
    "min_doppler": -1,
    "max_faraday_rotation": 5,
    "min_faraday_rotation": 0,
    "max_baseline_perp": 100,
    "min_baseline_perp": 0,
    "max_insar_stack_size": 100,
    "min_insar_stack_size": 1,
    "insar_stack_id": "7",
    "flight_direction": "ascending",
    "flight_line": "05901",
    "look_direction": "right",
    "off_nadir_angle": [21.5, {"min": 20, "max": 30}],
    "granule_list": "S1A_IW_SLC*",
    "product_list": "x-SLC",
    "group_id": "S1A_IWDV_0121_0127_061182_035",
    "platform": "sentinel-1a",
    "instrument": "C-SAR",
    "polarization": ["VH+VV", "vv"],
    "processing_level": "slc",
    "processing_date": "2020-01-01",
    "season": [335, 60],
    "dataset": "SENTINEL-1",
    "collections": "C1214470488-ASF",
    "short_name": "SENTINEL-1A_SLC",
    "cmr_keywords": [["echo_collection_id[]", "C1214470488-ASF"]],
    "aria_version": "3.0.1",
    "tile_id": "T10SEH",
    "temporal_baseline_days": 12,
    "opera_burst_id": "T087_185683_IW2",
    "absolute_burst_id": 64704913,
    "relative_burst_id": 372326,
    "full_burst_id": "174_372326_IW3",
    "frame_coverage": "full",
    "joint_observation": True,
    "main_band_polarization": "HH+HV",
    "side_band_polarization": "VV",
    "range_bandwidth": "20+5",
    "production_configuration": "pr",
    "provider": "ASF",
    "collection_alias": True,
    "max_results": 10,
    "reference": "S1A_IW_SLC__1SDV_20200102T133428_20200102T133455_030622_03BCF0_8F4F",
}


@pytest.mark.parametrize("name", EVERY_CRITERION)
def test_every_criterion_reaches_the_request_that_asf_search_makes(name):
    import asf_search
    from asf_search.CMR import build_subqueries, translate_opts

    text = name == "temporal_baseline_days"
    value = str(EVERY_CRITERION[name]) if text else EVERY_CRITERION[name]
    asked = query.parse({"archive": "asf", name: value})
    assert set(asked.criteria) == {name}
    options = asf_search.ASFSearchOptions(**asf._options(asked, None))
    with_it = [translate_opts(one) for one in build_subqueries(options)]
    without = [translate_opts(one) for one in build_subqueries(asf_search.ASFSearchOptions())]
    silent = {"max_results", "provider", "collection_alias", "data_maturity", "reference"}
    assert name in silent or with_it != without


def test_all_criteria_are_listed_above():
    assert set(EVERY_CRITERION) == set(asf_criteria.Criteria.model_fields)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("flight_direction", "ASCENDIG", "ASCENDING"),
        ("polarization", "VV+HH+XX", "VV"),
        ("processing_level", "SLCC", "SLC"),
        ("dataset", "SENTINEL-7", "SENTINEL-1"),
        ("platform", "Sentinel-1Z", "SENTINEL-1"),
        ("beam_mode", "IWW", "IW"),
        ("relative_orbit", {"min": 5, "max": 3}, "min 5 is more than max 3"),
        ("relative_orbit", -4, "greater than or equal to 0"),
        ("relative_orbit", [], "empty list"),
        ("season", [0, 400], "1"),
        ("max_results", 0, "1"),
        ("point", [200, 0], "180"),
        ("linestring", [1, 2, 3, 4, 5], "in turn"),
        ("max_doppler", float("inf"), "finite"),
        ("processing_date", "yesterday", "processing_date"),
        ("provider", "", "1 character"),
        ("circle", [0, 0, -5], "greater than 0"),
        ("relativ_orbit", 35, "relative_orbit"),
    ],
)
def test_a_value_that_asf_does_not_know_is_refused_in_one_line_before_any_request(name, value, said):
    with pytest.raises(QueryError) as caught:
        query.parse({"archive": "asf", name: value})
    assert said in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cap_beside_a_list_of_names_is_refused():
    with pytest.raises(QueryError, match="max_results"):
        query.parse({"archive": "asf", "granule_list": ["x"], "max_results": 3})


# --------------------------------------------------------------------------------------------------
# Searching


def test_all_recorded_granules_are_read_and_proved_complete(open_box, recordings, access, tmp_path):
    box = open_box(catalogue=recordings)
    asked = query.parse({**NORCAL, "with": {"orbits": True}})
    made = planning.build(asked, tmp_path / "plan.ndjson", access)
    header, totals = made.header, made.header.totals
    assert (header.hits, header.received, header.truncated) == (342, 342, False)
    assert totals.granules == 342
    pages = [request for request in box.requests() if request["host"] == CMR]
    assert len(pages) == 2  # 250 and 92
    granules = list(made.granules())
    served = {asset.path: asset.size for granule in granules for asset in granule.assets}
    assert (totals.assets, totals.bytes) == (len(served), sum(served.values()))
    assert sum(granule.asset("orbit") is not None for granule in granules) == 342 - totals.unresolved
    kinds = Counter(g.properties.get("skystage:orbit", {}).get("type") for g in granules)
    assert kinds["AUX_POEORB"] == 327
    assert kinds["AUX_RESORB"] + totals.unresolved == 15
    again = planning.build(asked, tmp_path / "again.ndjson", access)
    assert again.header.digest == header.digest
    lines = [(tmp_path / name).read_text().splitlines() for name in ("plan.ndjson", "again.ndjson")]
    assert lines[0][1:] == lines[1][1:]
    heads = [{k: v for k, v in json.loads(one[0]).items() if k != "created"} for one in lines]
    assert heads[0] == heads[1]


def test_sizes_and_checksums_are_those_that_the_catalogue_serves(open_box, recordings, access):
    box = open_box(catalogue=recordings)
    granules, _ = search(query.parse(NORCAL), access)
    body = {"short_name": "SENTINEL-1A_SLC", "page_size": "2000", "provider": "ASF"}
    import requests

    served = requests.get(f"https://{CMR}/search/granules.umm_json", params=body, timeout=30).json()["items"]
    attributes = {
        item["umm"]["GranuleUR"]: {a["Name"]: a["Values"][0] for a in item["umm"]["AdditionalAttributes"]}
        for item in served
    }
    for granule in granules:
        if granule.native_id in attributes:
            said = attributes[granule.native_id]
            asset = granule.asset("data")
            assert (asset.size, asset.checksums["md5"]) == (int(said["BYTES"]), said["MD5SUM"])
    assert box.requests()


def test_a_search_that_delivers_less_than_cmr_counted_is_an_error(box, access):
    box.set_faults([{"match": {"host": CMR}, "headers": {"CMR-Hits": "99"}}])
    asked = query.parse({"archive": "asf", "relative_orbit": 35})
    with pytest.raises(IncompleteSearch, match="counted 99"):
        search(asked, access)
    granules, found = search(
        query.parse({"archive": "asf", "relative_orbit": 35, "allow_incomplete": True}), access
    )
    assert granules
    assert found.truncated


def test_a_cap_that_the_query_asked_for_is_noted_as_truncation(box, access):
    granules, found = search(query.parse({"archive": "asf", "relative_orbit": 35, "max_results": 3}), access)
    assert len(granules) == 3
    assert found.truncated
    assert found.hits > 3


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 429, "retry_after": 0},
        {"gateway_page": True},
        {"cut_before_headers": True},
        {"login_page": True},
        {"headers": {"CMR-Time-Out": "true"}},
    ],
    ids=["503", "429", "502 page", "no answer", "200 page", "CMR-Time-Out"],
)
def test_a_catalogue_that_fails_is_asked_again_then_named(box, access, impatient, fault):
    asked = query.parse({"archive": "asf", "relative_orbit": 35})
    box.set_faults([{"match": {"host": CMR, "times": 2}, **fault}])
    assert search(asked, access)[0]
    box.clear()
    box.set_faults([{"match": {"host": CMR}, **fault}])
    with pytest.raises(CatalogueUnavailable) as caught:
        search(asked, access)
    assert caught.value.transient
    assert len(box.requests()) == 5


def test_a_query_that_cmr_refuses_is_not_asked_again(box, access):
    box.set_faults([{"match": {"host": CMR}, "status": 400, "body": '{"errors": ["no such thing"]}'}])
    with pytest.raises(SearchError, match="no such thing"):
        search(query.parse({"archive": "asf", "relative_orbit": 35}), access)
    assert len(box.requests()) == 1


def test_the_query_is_told_to_nobody_but_cmr(box, access, impatient):
    box.set_faults([{"match": {"host": CMR}, "status": 503}])
    with pytest.raises(CatalogueUnavailable):
        search(query.parse({"archive": "asf", "relative_orbit": 35}), access)
    assert {request["host"] for request in box.requests()} == {CMR}


def test_an_empty_search_is_a_result(box, access, tmp_path):
    made = planning.build(query.parse({"archive": "asf", "relative_orbit": 175}), tmp_path / "p", access)
    assert made.header.totals.granules == 0


def test_an_area_on_both_sides_of_the_antimeridian_is_two_searches_and_finds_both(box, access, tmp_path):
    asked = query.parse({"archive": "asf", "area": [179, -90, -179, 90], "processing_level": "SLC"})
    made = planning.build(asked, tmp_path / "p", access)
    assert made.header.totals.granules >= 2
    assert len(box.requests()) == 2
    for granule in made.granules():
        assert granule.geometry["type"] == "MultiPolygon"


def test_a_server_that_ignores_a_criterion_is_found_out(box, access, tmp_path):
    asked = query.parse({"archive": "asf", "relative_orbit": [35], "processing_level": "SLC"})
    everything, _ = search(query.parse({"archive": "asf", "processing_level": "SLC"}), access)

    class Deaf(asf.Asf):
        def search(self, query, access):
            return archives.Search(iter(everything), hits=len(everything), received=len(everything))

    point = archives.get
    archives.get = lambda name: Deaf()
    try:
        made = planning.build(asked, tmp_path / "p", access)
    finally:
        archives.get = point
    assert {granule.properties["pathNumber"] for granule in made.granules()} == {35}
    assert made.header.totals.dropped["relative_orbit"] > 0


def test_bare_metadata_beside_its_product_is_superseded(box, access, tmp_path):
    made = planning.build(query.parse({"archive": "asf", "relative_orbit": 100}), tmp_path / "p", access)
    levels = Counter(granule.properties["processingLevel"] for granule in made.granules())
    assert levels["SLC"]
    assert not levels["METADATA_SLC"]
    assert made.header.totals.dropped["superseded"]


def test_bare_metadata_is_kept_where_it_is_what_was_asked_for(box, access, tmp_path):
    asked = query.parse({"archive": "asf", "processing_level": "METADATA_SLC"})
    assert planning.build(asked, tmp_path / "p", access).header.totals.granules


# --------------------------------------------------------------------------------------------------
# Records of every recorded family


def recorded_families(recordings) -> dict[str, list]:
    import asf_search
    from asf_search.search.search_generator import as_ASFProduct

    families = {}
    for path in sorted((recordings / "earth" / "cmr").glob("*.json.gz")):
        with gzip.open(path) as file:
            content = json.load(file)
        items = content.get("items")
        if items is None and "response" in content:
            items = json.loads(content["response"]["body"]).get("items")
        if items and items[0]["meta"].get("concept-type", "granule") == "granule":
            session = asf_search.ASFSession()
            families[path.name] = [
                asf_records.granule(as_ASFProduct(item, session=session)) for item in items
            ]
    return families


def test_every_recorded_family_becomes_granules_whose_properties_are_known(recordings):
    families = recorded_families(recordings)
    assert len(families) >= 5
    known = asf.Asf.property_names | {"burst", "additionalUrls", "browse", "url"}
    for name, granules in families.items():
        for granule in granules:
            assert set(granule.properties) <= known, name
            assert granule.assets, name
            assert all(asset.size is None or isinstance(asset.size, int) for asset in granule.assets)
            assert granule.start <= granule.stop


SLC_FILTERS = {
    *("absolute_orbit", "asf_frame", "beam_mode", "beam_swath", "collection", "doppler", "flight_direction"),
    *("frame", "group_id", "instrument", "look_direction", "orbit_direction", "platform", "polarization"),
    *("processing_level", "product_type", "relative_orbit"),
}


@pytest.mark.parametrize(
    ("family", "criteria"),
    [
        ("s1_slc", SLC_FILTERS),
        ("s1b_grd", SLC_FILTERS),
        (
            "s1_burst",
            {
                "relative_orbit",
                "absolute_orbit",
                "flight_direction",
                "polarization",
                "burst",
                "platform",
                "processing_level",
                "beam_mode",
                "group_id",
                "instrument",
            },
        ),
        (
            "recorded_opera",
            {
                "relative_orbit",
                "absolute_orbit",
                "flight_direction",
                "polarization",
                "platform",
                "processing_level",
                "instrument",
                "group_id",
            },
        ),
    ],
)
def test_each_filter_finds_its_property_in_every_record_of_the_family(recordings, family, criteria):
    from skystage.filters import _lookup

    families = {n: g for n, g in recorded_families(recordings).items() if n.startswith(family)}
    assert families
    for granules in families.values():
        for criterion in criteria:
            path = asf.Asf.properties[criterion]
            assert all(_lookup(granule.properties, path) is not None for granule in granules), criterion


def test_sizes_are_numbers_for_every_family(recordings):
    families = recorded_families(recordings)
    burst = next(g for n, g in families.items() if n.startswith("s1_burst"))[0]
    assert burst.asset("data").size == 147215404  # the record says it as text
    assert burst.asset("data").checksums == {}
    assert burst.stack == "p174_b174_372326_iw3"
    opera = next(g for n, g in families.items() if n.startswith("recorded_opera"))[0]
    assert opera.asset("data").size == 265662112  # the record has one for each file


def test_names_given_by_a_server_never_leave_their_folder():
    for name in ("../../etc/passwd", "/abs", "..", ".hidden", "a b\n", ""):
        safe = asf_records._safe(name)
        assert "/" not in safe
        assert not safe.startswith(".")
        assert safe


def test_unknown_archives_are_refused_with_the_nearest():
    with pytest.raises(QueryError, match="did you mean 'asf'"):
        archives.get("asff")
    with pytest.raises(QueryError, match="installed: asf"):
        archives.get("zzz")
    with pytest.raises(errors.QueryError):
        archives.find_companions("zzz")


def test_a_page_that_shifts_while_it_is_read_is_found_out(box, access, monkeypatch):
    """One record twice and another not at all: as many came as were counted, and one is missing."""
    import requests

    real = requests.Response.json

    def shifted(self, **options):
        said = real(self, **options)
        if said.get("items"):
            said["items"][1] = said["items"][0]
        return said

    monkeypatch.setattr(requests.Response, "json", shifted)
    with pytest.raises(IncompleteSearch, match="different"):
        search(query.parse({"archive": "asf", "relative_orbit": 35}), access)


def test_no_time_goes_into_baselines_that_nobody_asked_for(box, access, monkeypatch):
    from asf_search import S1Product

    read = []
    monkeypatch.setattr(S1Product, "_parse_state_vector", lambda self, text: (read.append(text), None))
    assert search(query.parse({"archive": "asf", "relative_orbit": 35}), access)[0]
    assert set(read) == {None}


def test_a_cap_does_not_hide_that_less_came_than_was_asked_for(box, access):
    box.set_faults([{"match": {"host": CMR}, "headers": {"CMR-Hits": "99"}}])
    with pytest.raises(IncompleteSearch):
        search(query.parse({"archive": "asf", "relative_orbit": 35, "max_results": 50}), access)


def test_names_that_the_archive_does_not_have_are_said(box, access, tmp_path):
    granules, _ = search(
        query.parse({"archive": "asf", "relative_orbit": 35, "processing_level": "SLC"}), access
    )
    names = [granules[0].id, "S1A_IW_SLC__MISSPELT"]
    made = planning.build(query.parse({"archive": "asf", "granule_list": names}), tmp_path / "p", access)
    assert {drop.id: drop.reason for drop in made.dropped()}["S1A_IW_SLC__MISSPELT"] == "not in the archive"


def test_wrong_options_of_companions_are_refused_before_any_request(box, access, tmp_path):
    asked = query.parse({"archive": "asf", "with": {"orbits": {"types": ["AUX_POEORBX"]}}})
    with pytest.raises(QueryError, match="AUX_POEORB"):
        planning.build(asked, tmp_path / "p", access)
    assert box.requests() == []


# --------------------------------------------------------------------------------------------------
# What was asked is tested again

UTAH = "S1A_IW_SLC__1SDV_20200102T133428_20200102T133455_030622_03BCF0_8F4F"
BURST = "S1_213494_IW2_20200102T133439_VV_8F4F-BURST"


@pytest.fixture
def products(box, access):
    """Every record of the built-in catalogue, as a server that ignores all criteria would give it."""
    found = list(asf._ask(asf._session(access, archives.Search(iter(())), vectors=False), [{}]))
    assert len(found) == 69
    box.clear()
    return found


def again(asked: Query, products) -> tuple[set[str], Counter]:
    """The names that the tests on our side keep, and why the others are dropped."""
    from skystage.filters import Filter

    tests = Filter(asf.Asf().checks(asked), properties=asf.Asf.properties)
    granules = [asf_records.granule(product, asked.criteria) for product in products]
    reasons = {granule.native_id: tests.reason(granule) for granule in granules}
    kept = {name for name, reason in reasons.items() if reason is None}
    return kept, Counter(reason for reason in reasons.values() if reason is not None)


@pytest.mark.parametrize(
    "criteria",
    [
        {"absolute_burst_id": 60731301},
        {"absolute_orbit": {"min": 30000, "max": 31000}},
        {"asf_frame": [466, 750]},
        {"beam_mode": "FBS"},
        {"beam_swath": ["FBD", "PLR"]},
        {"collection_alias": False, "processing_level": "SLC"},
        {"data_maturity": "beta"},
        {"dataset": "SENTINEL-1", "polarization": "VV"},
        {"dataset": "SLC-BURST", "polarization": ["VV", "VV+VH"]},
        {"dataset": "NISAR", "relative_orbit": 64},
        {"dataset": ["OPERA-S1", "ALOS PALSAR"]},
        {"flight_direction": "ascending"},
        {"frame_coverage": "partial"},
        {"full_burst_id": "100_213494_IW2"},
        {"granule_list": [UTAH, BURST]},
        {"granule_list": ["ALPSRP1*", f"{UTAH}-SLC"]},
        {"group_id": "S1A_IWDV_0465_0471_030622_100"},
        {"insar_stack_id": "213750"},
        {"instrument": "L-SAR"},
        {"joint_observation": False},
        {"joint_observation": True},
        {"look_direction": "L"},
        {"main_band_polarization": "HH+HV"},
        {"max_baseline_perp": 100, "min_baseline_perp": -1},
        {"max_doppler": 60},
        {"max_faraday_rotation": 0.5},
        {"max_insar_stack_size": 5},
        {"min_doppler": 30},
        {"off_nadir_angle": 21.5},
        {"off_nadir_angle": {"min": 30, "max": 40}},
        {"opera_burst_id": "T100_213494_IW2"},
        {"platform": ["SA", "ALOS"]},
        {"platform": "Sentinel-1B", "processing_level": "SLC"},
        {"processing_date": "2020-12-15"},
        {"processing_level": "GSLC"},
        {"processing_level": ["L1.1", "METADATA_SLC"]},
        {"product_list": [f"{UTAH}-SLC", BURST]},
        {"production_configuration": "ur"},
        {"range_bandwidth": "40+5"},
        {"relative_burst_id": 213494},
        {"relative_orbit": [66, {"min": 30, "max": 40}]},
        {"season": [1, 31]},
        {"season": [335, 15]},
        {"short_name": "ALOS_PSR_L1.0"},
        {"dataset": "ALOS PALSAR", "short_name": ["ALOS_PSR_L1.0", "SENTINEL-1A_SLC"]},
        {"side_band_polarization": "VV"},
    ],
    ids=str,
)
def test_what_is_tested_again_is_what_the_server_keeps(criteria, products, access):
    asked = query.parse({"archive": "asf", **criteria})
    found, _ = search(asked, access)
    kept, dropped = again(asked, products)
    server = {granule.native_id for granule in found}
    if "short_name" in criteria and "dataset" in criteria:
        server = {name for name in server if name.startswith("ALPSRP") and name.endswith("L1.0")}
    assert kept == server
    assert kept
    assert dropped


def test_names_of_collections_are_tested_again(products, access):
    some = next(one for one in products if one.properties["fileID"].startswith("ALPSRP"))
    asked = query.parse({"archive": "asf", "collections": some.meta["collection-concept-id"]})
    kept, dropped = again(asked, products)
    assert kept == {granule.native_id for granule in search(asked, access)[0]}
    assert len(kept) == 4
    assert dropped == {"conceptID": 65}


@pytest.mark.parametrize(
    ("criterion", "attribute", "asked", "others"),
    [
        ("aria_version", "VERSION", "3.0.1", ["2.0.6"]),
        ("campaign", "MISSION_NAME", "Alaska, North", ["Alaska, South", "NA"]),
        ("flight_line", "FLIGHT_LINE", "05901", ["05902", "NA"]),
        ("site_description", "SITE_DESCRIPTION", "Rosamond", ["Haiti"]),
        ("temporal_baseline_days", "TEMPORAL_BASELINE_DAYS", "12", ["24"]),
        ("tile_id", "MGRS_TILE_ID", "T10SEH", ["T10SFH", "T11SKC"]),
    ],
)
def test_criteria_of_datasets_that_the_catalogue_has_not(products, criterion, attribute, asked, others):
    """A record of another kind says them: with one value, another, several, and none at all."""
    from asf_search.search.search_generator import as_ASFProduct

    def said(number, values):
        record = json.loads(json.dumps({"umm": products[0].umm, "meta": products[0].meta}))
        record["meta"]["native-id"] = str(number)
        record["umm"]["AdditionalAttributes"].append({"Name": attribute, "Values": values})
        return as_ASFProduct(record, session=products[0].session)

    records = [said(number, values) for number, values in enumerate([[asked], others, [*others, asked], []])]
    kept, dropped = again(query.parse({"archive": "asf", criterion: asked}), records)
    assert kept == {"0", "2"}
    assert dropped == ({f"unknown {criterion}": 1, criterion: 1})


def test_every_criterion_is_tested_again_or_said_not_to_be():
    everything = {
        name: query.parse(
            {"archive": "asf", name: str(v) if name == "temporal_baseline_days" else v}
        ).criteria
        for name, v in EVERY_CRITERION.items()
    }
    blind = {name for name, criteria in everything.items() if not asf_criteria.tested(criteria)}
    places = {"bbox", "circle", "linestring", "point"}
    switches = {"max_results", "provider", "collection_alias", "cmr_keywords"}
    assert blind == places | switches | {"frame", "polarization"}
    text = (Path(__file__).parent.parent / "docs" / "query.md").read_text()
    for name in blind - {"max_results", "collection_alias"}:
        assert f"`{name}`" in text


@pytest.mark.parametrize("season", [[1, 366], [1, 365], [61, 60], [2, 1]])
def test_a_season_of_the_whole_year_drops_nothing(season, products):
    kept, _ = again(query.parse({"archive": "asf", "season": season}), products)
    assert len(kept) == len(products)


def test_a_scene_that_begins_on_the_eve_of_the_season_stays(products):
    # CMR keeps what touches the season; 2 January is day 2.
    kept, dropped = again(query.parse({"archive": "asf", "season": [3, 13]}), products)
    assert f"{UTAH}-SLC" in kept
    assert dropped == {"day_of_year": 69 - len(kept)}
    kept, _ = again(query.parse({"archive": "asf", "season": [4, 13]}), products)
    assert f"{UTAH}-SLC" not in kept


@pytest.mark.parametrize(
    ("criteria", "said"),
    [
        (
            {"dataset": "SLC-BURST", "processing_level": "SLC"},
            "^dataset, processing_level: no collection of the archive has dataset SLC-BURST and processing_",
        ),
        ({"dataset": "SENTINEL-1", "data_maturity": "BETA"}, "^dataset, data_maturity: no collection"),
        ({"dataset": "ALOS-2", "short_name": "SENTINEL-1A_SLC"}, "short_name SENTINEL-1A_SLC"),
        ({"data_maturity": "GAMMA"}, "Invalid maturity option"),
        ({"min_doppler": 3, "max_doppler": -3}, "^min_doppler: 3 is more than max_doppler -3$"),
        ({"min_insar_stack_size": 9, "max_insar_stack_size": 2}, "min_insar_stack_size: 9 is more"),
        ({"reference": ""}, "reference: got ''"),
        ({"reference": "S1A_*"}, "reference: got 'S1A_.*': one name, without wildcards"),
        (
            {"assets": "dta"},
            r"assets: got 'dta' .allowed: data, metadata, browse, \*\.\*; did you mean 'data'",
        ),
    ],
)
def test_what_would_ask_for_everything_or_nothing_is_refused_in_one_line(criteria, said):
    with pytest.raises(QueryError, match=said) as caught:
        query.parse({"archive": "asf", **criteria})
    assert "\n" not in str(caught.value)


# --------------------------------------------------------------------------------------------------
# The stack of a reference

PALSAR = "ALPSRP101650750"
OPERA = "OPERA_L2_RTC-S1_T100-213494-IW2_20200102T133439Z_20220501T104541Z_S1A_30_v1.0"
NISAR = "NISAR_L2_PR_GSLC_004_064_A_019_4005_DHDH_A_20251103T011822_20251103T011856_X05009_N_F_J_001"


def baselines(granules) -> dict[str, tuple]:
    names = ("perpendicularBaseline", "temporalBaseline")
    return {one.native_id: tuple(one.properties.get(name) for name in names) for one in granules}


@pytest.mark.parametrize(
    ("name", "suffix", "size"),
    [
        ("S1A_IW_SLC__1SDV_20250928T020806_20250928T020833_061182_07A0F0_84CD", "-SLC", 330),
        ("S1_372326_IW3_20211221T151616_VV_1C5A", "-BURST", 166),
    ],
)
def test_recorded_stacks_and_their_baselines_are_those_of_asf_search(
    open_box, recordings, access, tmp_path, name, suffix, size
):
    import asf_search

    box = open_box(catalogue=recordings)
    made = planning.build(query.parse({"archive": "asf", "reference": name}), tmp_path / "p", access)
    session = asf_search.ASFSession()
    session.verify = box.environ["REQUESTS_CA_BUNDLE"]
    stack = asf_search.stack_from_id(f"{name}{suffix}", opts=asf_search.ASFSearchOptions(session=session))
    theirs = {
        one.properties["fileID"]: (
            one.properties["perpendicularBaseline"],
            one.properties["temporalBaseline"],
        )
        for one in stack
    }
    assert baselines(made.granules()) == theirs
    assert len(theirs) == size
    assert theirs[f"{name}{suffix}"] == (0, 0)


@pytest.mark.parametrize("name", [PALSAR, f"{PALSAR}-L1.1", f"{PALSAR}-l1.1", f"{PALSAR}-L1.0"])
def test_baselines_that_asf_computed_before_are_taken_from_the_reference(name, box, access):
    granules, found = search(query.parse({"archive": "asf", "reference": name}), access)
    assert baselines(granules) == {
        "ALPSRP101650750-L1.1": (0, 0),
        "ALPSRP108360750-L1.1": (-412, 46),
        "ALPSRP115070750-L1.1": (863, 92),
    }
    assert (found.hits, found.received, found.truncated, found.missing) == (3, 3, False, [])


def test_a_reference_goes_with_dates_an_area_and_filters_and_stays_the_reference(box, access, tmp_path):
    asked = query.parse(
        {
            "archive": "asf",
            "reference": UTAH,
            "start": "2020-02-01",
            "area": [-113.05, 37.74, -112.68, 38.00],
            "filter": {"temporal_baseline": {"max": 100}, "perpendicularBaseline": {"min": -1e4, "max": 1e4}},
        }
    )
    made = planning.build(asked, tmp_path / "p", access)
    granules = list(made.granules())
    assert all(one.properties["reference"] == UTAH for one in granules)
    days = [one.properties["temporalBaseline"] for one in granules]
    assert (min(days), max(days)) == (36, 96)  # counted from January, which is not in the stack
    assert made.header.totals.dropped == {"temporal_baseline": 30 - 3 - len(days)}
    elsewhere = query.parse({"archive": "asf", "reference": UTAH, "area": [0, 0, 1, 1]})
    nothing = planning.build(elsewhere, tmp_path / "q", access)
    assert nothing.header.totals.granules == 0
    assert nothing.header.totals.dropped == {"area": 30}


def test_a_stack_is_filtered_by_its_perpendicular_baseline(box, access, tmp_path):
    keys = {"archive": "asf", "reference": PALSAR}
    asked = query.parse({**keys, "filter": {"perpendicularBaseline": {"min": -500, "max": 500}}})
    made = planning.build(asked, tmp_path / "p", access)
    assert [one.id for one in made.granules()] == ["ALPSRP101650750", "ALPSRP108360750"]
    assert made.header.totals.dropped == {"perpendicularBaseline": 1}


def test_criteria_beside_a_reference_narrow_its_stack_and_never_widen_it(box, access, tmp_path):
    keys = {"archive": "asf", "reference": PALSAR}
    made = planning.build(query.parse({**keys, "beam_mode": "FBD"}), tmp_path / "p", access)
    assert [one.id for one in made.granules()] == ["ALPSRP108360750"]
    # What a stack is asked by wins, and then the query's own criterion drops what does not meet it.
    made = planning.build(query.parse({**keys, "processing_level": "L1.0"}), tmp_path / "r", access)
    assert made.header.totals.granules == 0
    assert made.header.totals.dropped == {"collection": 3}
    made = planning.build(query.parse({"preset": "S1_SLC", "reference": UTAH}), tmp_path / "q", access)
    assert made.header.totals.granules == 30
    with pytest.raises(QueryError, match="reference: dataset, platform, processing_level: no collection"):
        search(query.parse({**keys, "reference": UTAH, "dataset": "ALOS PALSAR"}), access)


def test_a_reference_without_state_vectors_gives_days_alone(box, access, monkeypatch):
    monkeypatch.setattr("asf_search.S1Product.is_valid_reference", lambda self: False)
    granules, _ = search(query.parse({"archive": "asf", "reference": UTAH}), access)
    assert len(granules) == 30
    assert {one.properties.get("perpendicularBaseline") for one in granules} == {None}
    assert max(one.properties["temporalBaseline"] for one in granules) == 360


def test_a_server_that_ignores_what_a_stack_is_asked_by_is_found_out(box, access, tmp_path, monkeypatch):
    real = asf._Reference.criteria.fget
    monkeypatch.setattr(
        asf._Reference, "criteria", property(lambda self: {**real(self), "relative_orbit": [99]})
    )
    made = planning.build(query.parse({"archive": "asf", "reference": UTAH}), tmp_path / "p", access)
    assert made.header.totals.dropped == {"unknown reference": 30}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("S1A_IW_SLC__MISSPELT", "^reference: the archive has no 'S1A_IW_SLC__MISSPELT'"),
        ("ALPSRP175460750", r"^reference: 'ALPSRP175460750' belongs to no stack .* \(L1.1\)$"),
        (NISAR, r"belongs to no stack that asf_search knows \(GSLC\)$"),
        (OPERA, r"belongs to no stack that asf_search knows \(RTC\)$"),
    ],
)
def test_a_reference_that_has_no_stack_is_one_line_and_exit_2(name, said, box, access, tmp_path, capsys):
    from skystage import cli

    with pytest.raises(QueryError, match=said) as caught:
        search(query.parse({"archive": "asf", "reference": name}), access)
    assert "\n" not in str(caught.value)
    (tmp_path / "q.yaml").write_text(f"archive: asf\nreference: '{name}'\n")
    assert cli.run(["plan", str(tmp_path / "q.yaml"), "-o", str(tmp_path / "p")]) == 2
    assert not (tmp_path / "p").exists()


def test_a_stack_of_which_nothing_is_kept_is_exit_3(box, tmp_path):
    from skystage import cli

    (tmp_path / "q.yaml").write_text(f"archive: asf\nreference: {UTAH}\nstart: 2021-01-01\n")
    assert cli.run(["plan", str(tmp_path / "q.yaml"), "-o", str(tmp_path / "p")]) == 3


@pytest.mark.parametrize("after", [0, 1], ids=["the reference", "its stack"])
def test_a_stack_that_came_in_part_is_an_error(after, box, access):
    box.set_faults([{"match": {"host": CMR, "after": after, "times": 1}, "headers": {"CMR-Hits": "99"}}])
    with pytest.raises(IncompleteSearch, match="counted"):
        search(query.parse({"archive": "asf", "reference": UTAH}), access)


# --------------------------------------------------------------------------------------------------
# Files


def test_every_property_of_asf_searchs_classes_can_be_filtered_by():
    from asf_search import Products

    theirs: set[str] = set()
    for name in dir(Products):
        theirs |= set(getattr(getattr(Products, name), "_base_properties", {}))
    addresses = {"browse", "url"}
    assert theirs - addresses - asf.Asf.property_names == {"samplesPerBurst"}  # of `burst`


def test_each_file_of_an_opera_product_is_an_asset_with_a_key_a_size_and_a_checksum(box, access):
    (granule,), _ = search(query.parse({"archive": "asf", "dataset": "OPERA-S1"}), access)
    assets = {asset.key: asset for asset in granule.assets}
    assert list(assets) == ["data", "_VH.tif", "_VV.tif", "_mask.tif", "metadata"]
    assert assets["data"].name == f"{granule.id}.h5"
    assert {asset.size for key, asset in assets.items() if key != "metadata"} == {24_000}
    assert all(len(asset.checksums["md5"]) == 32 for asset in assets.values())
    assert granule.stack == "p100_bt100_213494_iw2"


def test_files_that_are_named_are_fetched_and_verified(box, access, store, tmp_path):
    from skystage.batch import fetch_all

    asked = query.parse({"archive": "asf", "dataset": "OPERA-S1", "assets": ["_VV.tif", "_mask.tif"]})
    plan = planning.build(asked, tmp_path / "p", access)
    outcome = fetch_all(plan.assets(), store, access)
    outcome.raise_for_failures()
    assert sorted(one.path.rpartition("_")[2] for one in outcome.receipts) == ["VV.tif", "mask.tif"]
    assert {one.verified for one in outcome.receipts} == {"md5"}
    asked = query.parse({"preset": "NISAR_GSLC", "assets": ["data", "_QA_STATS.h5"]})
    outcome = fetch_all(planning.build(asked, tmp_path / "q", access).assets(), store, access)
    outcome.raise_for_failures()
    assert len(outcome.receipts) == 6


def test_a_file_that_no_granule_has_is_said_with_those_that_they_have(box, access, tmp_path):
    asked = query.parse({"archive": "asf", "dataset": "OPERA-S1", "assets": "_VX.tif"})
    with pytest.raises(QueryError, match="they have: _VH.tif, _VV.tif, _mask.tif, data, metadata"):
        planning.build(asked, tmp_path / "p", access)


def test_a_burst_has_its_size_from_text_no_checksum_and_named_metadata(box, access):
    granules, _ = search(query.parse({"archive": "asf", "full_burst_id": "100_213494_IW2"}), access)
    assert {one.stack for one in granules} == {"p100_b100_213494_iw2"}
    for one in granules:
        data, metadata = one.assets
        assert (data.key, data.size, data.checksums) == ("data", 24_000, {})
        assert data.name == f"{one.native_id}.tiff"
        assert metadata.key == "metadata"
        assert metadata.name == f"{one.native_id}.xml"
        assert metadata.size is None


def test_recorded_opera_files_have_the_checksums_of_the_record(recordings):
    families = recorded_families(recordings)
    granule = next(g for n, g in families.items() if n.startswith("recorded_opera"))[0]
    assets = {asset.key: asset for asset in granule.assets}
    assert assets["data"].checksums == {"md5": "01646bdf06a524187e4c883900ffe616"}
    assert (assets["metadata"].size, len(assets["metadata"].checksums["md5"])) == (221728, 32)
    assert {"browse", "_BROWSE_low-res.png", "_BROWSE_thumbnail.png"} <= set(assets)
    assert not any(asset.name.endswith(".md5") for asset in granule.assets)


def test_alos_2_is_its_size_alone(products):
    """Its record has one file, a list of channels, one state vector, and no checksum."""
    from asf_search.search.search_generator import as_ASFProduct

    palsar = next(one for one in products if one.properties["fileID"] == f"{PALSAR}-L1.1")
    record = json.loads(json.dumps({"umm": palsar.umm, "meta": palsar.meta}))
    umm = record["umm"]
    umm["CollectionReference"]["ShortName"] = "ALOS2_L1_PSR2"
    umm["Platforms"] = [{"ShortName": "ALOS-2", "Instruments": [{"ShortName": "PALSAR-2"}]}]
    said = {"POLARIZATION": ["HH", "HV"], "SV_POSITION": ["1", "2", "3"], "SV_VELOCITY": ["1", "2", "3"]}
    umm["AdditionalAttributes"] = [
        one for one in umm["AdditionalAttributes"] if one["Name"] not in {"BYTES", "MD5SUM", *said}
    ] + [{"Name": name, "Values": values} for name, values in said.items()]
    umm["DataGranule"]["ArchiveAndDistributionInformation"] = [{"Name": "x.zip", "SizeInBytes": 123.0}]
    granule = asf_records.granule(as_ASFProduct(record, session=palsar.session))
    (data,) = granule.assets
    assert (data.key, data.size, data.checksums) == ("data", 123, {})
    assert granule.properties["polarization"] == ["HH", "HV"]
    assert granule.stack == "p213_f750"


def test_of_several_instruments_all_are_known(products):
    from asf_search.search.search_generator import as_ASFProduct

    nisar = next(one for one in products if one.properties["fileID"].startswith("NISAR"))
    record = json.loads(json.dumps({"umm": nisar.umm, "meta": nisar.meta}))
    record["umm"]["Platforms"][0]["Instruments"].append({"ShortName": "S-SAR"})
    record["umm"]["AdditionalAttributes"].append({"Name": "DOPPLER", "Values": ["not a number"]})
    granule = asf_records.granule(as_ASFProduct(record, session=nisar.session))
    assert granule.properties["sensor"] == ["L-SAR", "S-SAR"]
    assert granule.properties["doppler"] == "not a number"
