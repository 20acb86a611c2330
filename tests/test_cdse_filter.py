"""Criteria as filters of CDSE's catalogue, against the sandbox's parser and an evaluation of its own."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import mapping, shape

from skystage import aoi, query
from skystage.archives.cdse import Cdse
from skystage.archives.cdse_filter import LONGEST_AREA, LONGEST_FILTER, TYPES, areas, checks, filters_of
from skystage.archives.cdse_records import granule
from skystage.errors import QueryError
from skystage.filters import Filter
from skystage.sandbox.odata import parse

PATHS = ("Name", "Collection/Name", "ContentDate/Start", "ContentDate/End", "PublicationDate", "Online")
ARCHIVE = Cdse()
DAY = datetime(2020, 1, 1, tzinfo=UTC)
WHOLE = st.integers(0, 4)
COVERS = st.sampled_from([0, 1e-7, 20, 20.5, 99.9, 100])
TILES = ("31UFS", "31UES", "01CCV")


# --------------------------------------------------------------------------------------------------
# Products, as plain facts; and as a catalogue has them


@st.composite
def products(draw) -> dict:
    start = DAY + timedelta(hours=draw(st.integers(0, 6)) * 12)
    west, south = draw(st.sampled_from([-180, -1, 0, 5, 9, 179])), draw(st.sampled_from([-90, 0, 9, 89]))
    return {
        "unit": draw(st.sampled_from(["S1A", "S2A", "S2B", "S3A"])),
        "kind": draw(st.sampled_from(["S2MSI1C", "S2MSI2A", "AUX_POEORB"])),
        "tile": draw(st.sampled_from(TILES)),
        "baseline": draw(st.sampled_from(["02.07", "05.00", "05.10"])),
        "cloud": draw(st.sampled_from([None, 0.0, 1e-7, 20.0, 20.5, 100.0])),
        "orbit": draw(WHOLE),
        "revolution": draw(WHOLE),
        "direction": draw(st.sampled_from([None, "ASCENDING", "DESCENDING"])),
        "start": start,
        "stop": start + timedelta(hours=draw(st.integers(0, 2)) * 12),
        "published": DAY + timedelta(days=draw(st.integers(0, 4))),
        "online": draw(st.booleans()),
        "box": (west, south, west + 1, south + 1),
        "flag": draw(st.booleans()),
        "said": draw(st.sampled_from(["it's", "NRT", "NTC"])),
    }


def name_of(facts: dict) -> str:
    baseline = facts["baseline"].replace(".", "")
    return f"{facts['unit']}_{facts['kind']}_{facts['start']:%Y%m%dT%H%M%S}_N{baseline}_T{facts['tile']}.SAFE"


def written(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


def record_of(facts: dict, number: int) -> dict:
    said = [
        ("String", "productType", facts["kind"]),
        ("String", "tileId", facts["tile"]),
        ("String", "processorVersion", facts["baseline"]),
        ("String", "timeliness", facts["said"]),
        ("Double", "cloudCover", facts["cloud"]),
        ("Integer", "relativeOrbitNumber", facts["orbit"]),
        ("Integer", "orbitNumber", facts["revolution"]),
        ("String", "orbitDirection", facts["direction"]),
        ("Boolean", "sliceProductFlag", facts["flag"]),
        ("DateTimeOffset", "processingDate", written(facts["published"])),
        ("Integer", "newNumber", facts["orbit"]),
    ]
    return {
        "Id": f"{number}",
        "Name": name_of(facts),
        "Online": facts["online"],
        "PublicationDate": written(facts["published"]),
        "ContentDate": {"Start": written(facts["start"]), "End": written(facts["stop"])},
        "S3Path": f"/eodata/Sentinel-{facts['unit'][1]}/x/{name_of(facts)}",
        "GeoFootprint": mapping(shapely.box(*facts["box"])),
        "Attributes": [
            {"ValueType": kind, "Name": name, "Value": value}
            for kind, name, value in said
            if value is not None
        ],
    }


def fields_of(facts: dict, record: dict) -> dict:
    """What the sandbox's parser tests."""
    return {
        "Name": record["Name"],
        "Collection/Name": f"SENTINEL-{facts['unit'][1]}",
        "ContentDate/Start": facts["start"],
        "ContentDate/End": facts["stop"],
        "PublicationDate": facts["published"],
        "Online": facts["online"],
        "Attributes": record["Attributes"],
        "Footprint": shape(record["GeoFootprint"]),
    }


# --------------------------------------------------------------------------------------------------
# Criteria, and what they mean


def some(values) -> st.SearchStrategy:
    return st.sampled_from(values) | st.lists(st.sampled_from(values), min_size=1, max_size=3)


@st.composite
def bounds(draw, numbers=WHOLE) -> dict:
    low, high = sorted([draw(numbers), draw(numbers)])
    return draw(st.sampled_from([{"min": low, "max": high}, {"min": low}, {"max": high}]))


ORBITS = WHOLE | bounds() | st.lists(WHOLE | bounds(), min_size=1, max_size=3)
DATES = st.integers(0, 4).map(lambda days: DAY + timedelta(days=days))
CRITERIA = {
    "collection": some(["SENTINEL-1", "SENTINEL-2", "sentinel-3"]),
    "product_type": some(["S2MSI1C", "S2MSI2A", "AUX_POEORB"]),
    "tile": some([*TILES, "T31UFS", "1CCV"]),
    "cloud_cover": COVERS | bounds(COVERS),
    "relative_orbit": ORBITS,
    "absolute_orbit": ORBITS,
    "orbit_direction": st.sampled_from(["ascending", "DESCENDING"]),
    "platform": some(["S2A", "SENTINEL-2B", "Sentinel-1A"]),
    "baseline": some(["05.00", "N0207", 5.1]),
    "online": st.booleans(),
    "publication_date": bounds(DATES),
    "name": st.fixed_dictionaries(
        {},
        optional={"startswith": st.just("S2"), "contains": some(TILES).filter(lambda v: isinstance(v, str))},
    ).filter(bool),
    "start": DATES,
    "end": DATES,
    "area": st.tuples(st.sampled_from([-180, -9, 0, 170]), st.sampled_from([-90, 0, 80])).map(
        lambda p: [p[0], p[1], p[0] + 9, p[1] + 9]
    ),
}
ATTRIBUTES = {
    "cloudCover": bounds(COVERS) | COVERS,
    "orbitNumber": some([1, 2, 3]) | bounds(st.sampled_from([0.5, 1.0, 3.9])),
    "timeliness": some(["it's", "NRT"]),
    "sliceProductFlag": st.booleans(),
    "processingDate": bounds(DATES) | DATES | st.just("2020-01-03"),
    "newNumber": WHOLE | bounds(),
    "notThere": st.just(1) | st.just("x") | st.just(True) | st.just("2020-01-01T00:00:00Z"),
}


@st.composite
def questions(draw) -> dict:
    chosen = draw(st.lists(st.sampled_from(sorted(CRITERIA)), max_size=2, unique=True))
    asked = {name: draw(CRITERIA[name]) for name in {"collection", *chosen}}
    if draw(st.booleans()):
        asked["attributes"] = {
            name: draw(ATTRIBUTES[name])
            for name in draw(
                st.lists(st.sampled_from(sorted(ATTRIBUTES)), min_size=1, max_size=2, unique=True)
            )
        }
    if "start" in asked and "end" in asked and asked["end"] < asked["start"]:
        asked["start"], asked["end"] = asked["end"], asked["start"]
    return asked


def means(asked: dict, facts: dict) -> bool:
    """What the criteria mean, said once more, without a filter language."""
    tests = {
        "collection": lambda v: f"SENTINEL-{facts['unit'][1]}" in {one.upper() for one in each(v)},
        "product_type": lambda v: facts["kind"] in each(v),
        "tile": lambda v: facts["tile"] in {one.removeprefix("T").zfill(5) for one in each(v)},
        "cloud_cover": lambda v: fits(facts["cloud"], v),
        "relative_orbit": lambda v: fits(facts["orbit"], v),
        "absolute_orbit": lambda v: fits(facts["revolution"], v),
        "orbit_direction": lambda v: facts["direction"] == v.upper(),
        "platform": lambda v: facts["unit"] in {f"S{one[-2:]}" for one in each(v)},
        "baseline": lambda v: (
            facts["baseline"] in {{"N0207": "02.07", 5.1: "05.10"}.get(o, o) for o in each(v)}
        ),
        "online": lambda v: facts["online"] is v,
        "publication_date": lambda v: fits(facts["published"], v),
        "name": lambda v: (
            name_of(facts).startswith(v.get("startswith", "")) and v.get("contains", "") in name_of(facts)
        ),
        "start": lambda v: facts["stop"] >= v,
        "end": lambda v: facts["start"] <= v,
        "area": lambda v: shapely.box(*v).intersects(shapely.box(*facts["box"])),
        "attributes": lambda v: all(attribute_fits(facts, *one) for one in v.items()),
    }
    return all(tests[name](value) for name, value in asked.items())


def each(value) -> list:
    return value if isinstance(value, list) else [value]


def fits(have, wanted) -> bool:
    return have is not None and any(
        one.get("min", have) <= have <= one.get("max", have) if isinstance(one, dict) else have == one
        for one in each(wanted)
    )


def attribute_fits(facts: dict, name: str, wanted) -> bool:
    if name == "processingDate" and wanted == "2020-01-03":
        return facts["published"].date() == datetime(2020, 1, 3, tzinfo=UTC).date()
    key = {
        "cloudCover": "cloud",
        "orbitNumber": "revolution",
        "timeliness": "said",
        "sliceProductFlag": "flag",
        "processingDate": "published",
        "newNumber": "orbit",
    }
    return name in key and fits(facts[key[name]], wanted)


@settings(max_examples=400)
@given(questions(), st.lists(products(), min_size=4, max_size=10))
def test_whatever_is_asked_the_filter_finds_exactly_what_it_means(asked, universe):
    # Who asks for what is offline has to keep it.
    wanted = query.parse({"archive": "cdse", "offline": "keep", **asked})
    (text,) = filters_of(wanted)
    finds = parse(text, PATHS)
    kept = Filter(checks(wanted), properties=ARCHIVE.properties)
    for number, facts in enumerate(universe):
        record = record_of(facts, number)
        assert finds(fields_of(facts, record)) is means(asked, facts), (text, record)
        # What is found passes the test of what came; what the server should not have sent does not.
        area = wanted.area is None or aoi.intersects(wanted.area, record["GeoFootprint"])
        passes = kept.reason(granule(record)) is None and area
        assert passes is means(asked, facts), (checks(wanted), record)


@pytest.mark.parametrize(
    ("pattern", "name", "means_it"),
    [
        ("S2A_MSIL2A_*_T31UFS_*", "S2A_MSIL2A_20200101T105441_N0500_R051_T31UFS_20230801T084257.SAFE", True),
        ("S2A_MSIL2A_*_T31UFS_*", "S2A_MSIL2A_20200101T105441_N0500_R051_T31UES_20230801T084257.SAFE", False),
        (
            "S2?_MSIL2A_2020*T084257",
            "S2B_MSIL2A_20200101T105441_N0500_R051_T31UFS_20230801T084257.SAFE",
            True,
        ),
        ("*T31UFS*N0500*", "S2B_MSIL2A_20200101T105441_N0500_R051_T31UFS_20230801T084257.SAFE", False),
        ("*.EOF", "S1A_OPER_AUX_POEORB_OPOD_20210301T144249_V20140411T225944_20140413T005944.EOF", True),
    ],
)
def test_a_pattern_finds_at_least_what_it_means_and_the_rest_is_dropped(pattern, name, means_it):
    wanted = query.parse({"archive": "cdse", "name": pattern})
    (text,) = filters_of(wanted)
    found = parse(text, PATHS)({"Name": name})
    record = {"Id": "1", "Name": name, "ContentDate": {"Start": None}}
    kept = Filter(checks(wanted), properties=ARCHIVE.properties).reason(granule(record)) is None
    assert kept is means_it
    assert found or not means_it


@pytest.mark.parametrize("part", ["startswith", "endswith", "contains"])
def test_parts_of_a_name_may_overlap(part):
    wanted = query.parse(
        {"archive": "cdse", "name": {"startswith": "S2A_M", "contains": "A_MSI", part: "S2A_MSI"}}
    )
    record = {"Id": "1", "Name": "S2A_MSI", "ContentDate": {"Start": None}}
    assert Filter(checks(wanted), properties=ARCHIVE.properties).reason(granule(record)) is None
    assert all(parse(text, PATHS)({"Name": "S2A_MSI"}) for text in filters_of(wanted))


# --------------------------------------------------------------------------------------------------
# Areas, and what is too long


def ring(count: int, west: float = 0.0) -> dict:
    angles = [2 * math.pi * number / count for number in range(count)]
    return mapping(shapely.Polygon([(west + 5 + 4 * math.cos(a), 50 + 4 * math.sin(a)) for a in angles]))


@pytest.mark.parametrize(
    "given_",
    [
        [3, 50, 5, 52],
        [170, -20, -170, 20],
        {"type": "Point", "coordinates": [5, 50]},
        {"type": "LineString", "coordinates": [[5, 50], [6, 50]]},
        {"type": "LineString", "coordinates": [[-180, 90], [-170, 90]]},
        {"type": "MultiPoint", "coordinates": [[lon, 50] for lon in range(-179, 180)]},
        {"type": "MultiPoint", "coordinates": [[lon, 50] for lon in range(100)]},
        ring(12),
        ring(2000),
        {
            "type": "Polygon",
            "coordinates": [*ring(40)["coordinates"], [[4, 49], [4, 51], [6, 51], [6, 49], [4, 49]]],
        },
        {"type": "MultiPolygon", "coordinates": [ring(60, west)["coordinates"] for west in (-185, 165)]},
    ],
)
def test_what_is_asked_holds_the_area_in_simple_closed_shapes_and_fits_an_address(given_):
    area = query.parse({"archive": "cdse", "collection": "SENTINEL-2", "area": given_}).area
    asked = [shapely.from_wkt(text) for text in areas(area)]
    assert sum(map(len, areas(area))) <= LONGEST_AREA
    for one in asked:
        assert one.is_valid
        assert one.geom_type in {"Point", "Polygon"}
        if one.geom_type == "Polygon":
            assert one.exterior.is_ccw
            assert not one.interiors
    assert shapely.union_all(asked).buffer(1e-9).covers(shape(area))


def test_an_area_on_both_sides_of_the_antimeridian_is_never_asked_for_around_the_earth():
    both = {"type": "MultiPolygon", "coordinates": [ring(300, west)["coordinates"] for west in (-185, 165)]}
    area = query.parse({"archive": "cdse", "collection": "SENTINEL-2", "area": both}).area
    widths = [one.bounds[2] - one.bounds[0] for one in map(shapely.from_wkt, areas(area))]
    assert len(widths) == 2
    assert max(widths) < 20


def test_a_list_that_is_too_long_for_one_request_is_asked_for_in_several():
    tiles = [f"{zone:02}U{column}S" for zone in range(1, 61) for column in "ABCDEFGH"]
    wanted = query.parse(
        {"archive": "cdse", "collection": "SENTINEL-2", "tile": tiles, "product_type": "S2MSI2A"}
    )
    texts = filters_of(wanted)
    assert max(map(len, texts)) <= LONGEST_FILTER
    assert sorted(tile for tile in tiles for text in texts if f"'{tile}'" in text) == sorted(tiles)
    assert all("S2MSI2A" in text for text in texts)


# --------------------------------------------------------------------------------------------------
# What cannot be asked


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "collection: missing"),
        ({"names": "S2A_X", "ids": "0d7e36b5-1111-5222-8333-444455556666"}, "ids: names are given as well"),
        ({"collection": "SENTINAL-2"}, "did you mean 'SENTINEL-2'"),
        ({"colection": "SENTINEL-2"}, "did you mean 'collection'"),
        ({"tile": "31IFS"}, "tile of the MGRS grid"),
        ({"tile": 31}, "tile of the MGRS grid"),
        ({"cloud_cover": 120}, "less than or equal to 100"),
        ({"cloud_cover": {"min": 50, "max": 2}}, "min 50 is more than max 2"),
        ({"relative_orbit": {"min": None}}, "name min, max or both"),
        ({"platform": "SENTINEL-2"}, "name its collection"),
        ({"orbit_direction": "up"}, "ASCENDING, DESCENDING"),
        ({"baseline": "5.x"}, "such as 05.10 or N0510"),
        ({"baseline": True}, "such as 05.10 or N0510"),
        ({"name": "*"}, "a pattern such as"),
        ({"name": {"begins": "a"}}, "startswith"),
        ({"name": {"contains": "a*"}}, "startswith"),
        ({"names": ["S2A*"]}, "for a pattern write name"),
        ({"ids": "x"}, "UUID"),
        ({"publication_date": "2020"}, "{min: , max: }"),
        ({"publication_date": {"min": "yesterday"}}, "publication_date.min"),
        ({"sources": ["nods"]}, "did you mean 'nodes'"),
        ({"sources": ["zip", "zip"]}, "each source once"),
        ({"attributes": "x"}, "a mapping of attributes"),
        (
            {"attributes": {"unheardOf": "2020-13-01T00:00:00Z", "orbitNumber": "2020-13-01T00:00:00Z"}},
            "no whole",
        ),
        ({"attributes": {"cloudcover": 3}}, "did you mean 'cloudCover'"),
        ({"attributes": {"a'b": 3}}, "no name of an attribute"),
        ({"attributes": {"tile": "x"}}, "no attribute of the archive"),
        ({"attributes": {"months": 3}}, "no attribute of the archive"),
        ({"attributes": {"orbitNumber": "x"}}, "'x' is no whole number"),
        ({"attributes": {"orbitNumber": 1.5}}, "1.5 is no whole number"),
        ({"attributes": {"sliceProductFlag": 1}}, "1 is no true or false"),
        ({"attributes": {"timeliness": {"min": "a"}}}, "ranges of texts are a filter"),
        ({"attributes": {"processingDate": "2020-01-01T99:00"}}, "is no date or UTC time"),
        ({"attributes": {"orbitNumber": {"contains": [1]}}}, "a value, a list of values"),
        ({"attributes": {"unheardOf": {"min": "a"}}}, "ranges are of numbers or of times"),
        ({"assets": "SCL_20"}, "did you mean 'SCL_20m'"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line_before_any_request(asked, said):
    base = {"archive": "cdse", "collection": "SENTINEL-2"} if asked else {"archive": "cdse"}
    with pytest.raises(QueryError) as refused:
        query.parse({**base, **asked})
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"tile": "T31UFS"}, {"tile": ["31ufs", "31UFS"]}),
        ({"baseline": 5.1}, {"baseline": ["05.10", "N0510"]}),
        ({"baseline": 5}, {"baseline": "05.00"}),
        ({"platform": "S2A"}, {"platform": "Sentinel-2A"}),
        ({"names": "X.SAFE"}, {"names": ["X"]}),
        ({"attributes": {"processingDate": "2020-01-01"}}, {"attributes": {"processingDate": DAY.date()}}),
        (
            {"publication_date": {"max": "2020-01-01"}},
            {"publication_date": {"max": "2020-01-01T23:59:59.999999Z"}},
        ),
    ],
)
def test_equal_questions_are_equal_queries(one, other):
    base = {"archive": "cdse", "collection": "SENTINEL-2"}
    assert query.parse({**base, **one}).digest == query.parse({**base, **other}).digest


def test_products_that_are_named_are_tested_by_their_names_and_ids():
    identifier = "05edf2bb-d103-49f1-a677-9e474138d84f"
    named = {"Id": identifier, "Name": "S2A_X.SAFE", "ContentDate": {"Start": None}}
    for asked, other, reason in (
        ({"names": ["S2A_X.SAFE"], "sources": ["zip", "s3"]}, {"Name": "S2A_Y.SAFE"}, "Name"),
        ({"ids": identifier, "sources": ["zip", "s3"]}, {"Id": "1"}, "Id"),
    ):
        wanted = query.parse({"archive": "cdse", **asked})
        assert wanted.criteria["sources"] == ["zip", "s3"]
        kept = Filter(checks(wanted), properties=ARCHIVE.properties)
        assert kept.reason(granule(named, deleted=False)) is None
        assert kept.reason(granule(named, deleted=True)) == "deleted"
        assert kept.reason(granule({**named, **other}, deleted=False)) == reason


@pytest.mark.parametrize(("given_", "literals"), [({"min": 0.5, "max": 3.9}, "ge 1 le 3"), (2.0, "eq 2")])
def test_bounds_of_a_whole_number_are_whole_and_hold_no_more(given_, literals):
    wanted = query.parse({"archive": "cdse", "name": "x", "attributes": {"orbitNumber": given_}})
    found = re.findall(r"Value (\w\w \d+)\)", filters_of(wanted)[0])
    assert " ".join(found) == literals


def test_attributes_have_the_types_that_the_catalogue_lists(recordings):
    import json

    listed = json.loads((recordings / "earth/cdse_odata/cdsetool_attributes_sentinel1.json").read_text())
    assert {one["Name"]: one["ValueType"] for one in listed}.items() <= dict(TYPES).items()
