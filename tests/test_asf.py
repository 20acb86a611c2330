"""The ASF archive, through the real asf_search, against the archives in a box."""

from __future__ import annotations

import gzip
import json
from collections import Counter

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
