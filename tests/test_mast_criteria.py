"""What MAST can be asked, and how the portal is asked it: without a request."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skystage import aoi, archives, query
from skystage.archives import mast_criteria, mast_records, missions
from skystage.archives.mast_criteria import COLUMNS, around, checks, named, questions
from skystage.errors import QueryError
from skystage.filters import Filter

KNOWN = set(COLUMNS)
HERE = (10.0, 20.0, 0.2)


def parse(**asked):
    return query.parse({"archive": "mast", **asked})


def asked(position=None, known=KNOWN, **criteria):
    return list(questions(parse(**criteria), known, position))


def refused(**criteria):
    with pytest.raises(QueryError) as caught:
        parse(**criteria)
    return str(caught.value)


@pytest.mark.parametrize("name", COLUMNS)
def test_every_column_can_be_asked_by_its_own_name_and_in_snake_case(name):
    value = (
        2 if name in mast_criteria.WHOLE else {"min": 1, "max": 2} if name in mast_criteria.NUMBERS else "x"
    )
    (wanted,) = asked(HERE, **{name: value})
    assert wanted == {name: [2] if value == 2 else [1, 2] if value != "x" else ["x"]}
    assert parse(**{mast_criteria.snake(name): value}) == parse(**{name: value})


@pytest.mark.parametrize(
    ("criteria", "line"),
    [
        ({"propsal_id": 7291}, "propsal_id: archive 'mast' has no such key (did you mean 'proposal_id'?)"),
        ({"dataright": "PUBLIC"}, "dataright: archive 'mast' has no such key (did you mean 'data_rights'?)"),
        (
            {"data_rights": "PUBLIC", "dataRights": "PUBLIC"},
            "dataRights: is there twice, also as data_rights",
        ),
        ({"objectname": "M8", "object_name": "M8"}, "object_name: is there twice, also as objectname"),
        ({"t_min": "2018-01-01"}, "t_min: got '2018-01-01': a number, {min: , max: }, or a list"),
        ({"t_min": {"like": "5*"}}, "t_min: got {'like': '5*'}: a number"),
        ({"t_min": {"min": "2018-01-01"}}, "t_min: got {'min': '2018-01-01'}: a number, {min: , max: }"),
        ({"s_ra": [1, {"max": "x"}]}, "s_ra: got [1, {'max': 'x'}]: a number, {min: , max: }"),
        ({"calib_level": 7}, "calib_level: got 7: one of -1, 0, 1, 2, 3, 4, 5, or {min: , max: }"),
        ({"calib_level": [2, {"min": 6}]}, "calib_level: got [2, {'min': 6}]: one of -1, 0"),
        ({"t_min": {"min": 2, "max": 1}}, "t_min: min 2 is more than max 1 (swap them)"),
        ({"target_name": {"min": 1}}, "target_name: got {'min': 1}: a text"),
        ({"target_name": " "}, "target_name: got ' ': a text"),
        ({"radius": 0.1, "proposal_id": 1}, "radius: around what? (give coordinates, or object_name)"),
        ({"coordinates": [1, 2], "object_name": "M8"}, "coordinates: exclude object_name (keep one of them)"),
        ({"coordinates": [1, 91]}, "coordinates: got [1, 91]: on the sky"),
        ({"coordinates": 5}, "coordinates: got 5: [ra, dec] in degrees"),
        ({"coordinates": "M8"}, "coordinates: got 'M8': [ra, dec] in degrees"),
        ({"coordinates": [1, 2], "radius": "far"}, "radius: got 'far': degrees"),
        ({"coordinates": [1, 2], "radius": "3 parsec"}, "radius: got '3 parsec': degrees"),
        ({"coordinates": [1, 2], "radius": 200}, "radius: got 200: degrees"),
        ({"sources": ["ftp"], "proposal_id": 1}, "sources: got 'ftp' (allowed: 's3' or 'https'"),
        (
            {"proposal_id": 1, "select": {"product_tpe": "x"}},
            "select.product_tpe: products have no such column",
        ),
        ({"proposal_id": 1, "select": {"qqq": "x"}}, "select.qqq: products have no such column (allowed: "),
        ({"proposal_id": 1, "select": {"size": "big"}}, "select.size: got 'big' (allowed: 5, '10..20'"),
        ({"proposal_id": 1, "select": {"size": [5, "!>"]}}, "select.size: got '!>' (allowed: 5, '10..20'"),
        (
            {"proposal_id": 1, "select": {"extension": "fits", "name": "x"}},
            "select.name: says the same as another one (keep one of them)",
        ),
        ({"select": {"mrp_only": "yes"}}, "select.mrp_only: got 'yes' (allowed: true, false)"),
        ({"select": {"extension": ["fits", "!jpg"]}}, "select.extension: got '!jpg' (allowed: how names end"),
        ({"select": {"extension": 5}}, "select.extension: got 5 (allowed: how names end"),
        ({"select": {"size": "10..5"}}, "select.size: got '10..5' (allowed: 5, '10..20'"),
        ({"select": {"size": {"min": "x"}}}, "select.size: got {'min': 'x'} (allowed: 5, '10..20'"),
        ({"select": {"calib_level": True}}, "select.calib_level: got True"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(criteria, line):
    said = refused(**criteria)
    assert said.startswith(line)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("criteria", "wanted"),
    [
        ({"proposal_id": 7291}, [{"proposal_id": ["7291"]}]),
        ({"proposal_id": [2, "1", 2]}, [{"proposal_id": ["1", "2"]}]),
        ({"calib_level": [2, 3]}, [{"calib_level": [2, 3]}]),
        ({"calib_level": {"min": 3}}, [{"calib_level": [3, 4, 5]}]),
        ({"calib_level": [{"max": 0}, 2]}, [{"calib_level": [-1, 0, 2]}]),
        ({"t_exptime": {"min": 5}}, [{"t_exptime": [5, 1e30]}]),
        ({"t_exptime": {"max": "5"}}, [{"t_exptime": [-1e30, 5]}]),
        ({"t_exptime": [7, "5"]}, [{"t_exptime": [5, 5]}, {"t_exptime": [7, 7]}]),
        ({"proposal_pi": "Breg%"}, [{"proposal_pi": ["Breg*"]}]),
        (
            {"target_name": ["A*", "B*", "C", "D"]},
            [{"target_name": ["C", "D"]}, {"target_name": ["A*"]}, {"target_name": ["B*"]}],
        ),
        (
            {"target_name": ["A*", "B"], "em_min": [1, 2]},
            [
                {"target_name": ["B"], "em_min": [1, 1]},
                {"target_name": ["B"], "em_min": [2, 2]},
                {"target_name": ["A*"], "em_min": [1, 1]},
                {"target_name": ["A*"], "em_min": [2, 2]},
            ],
        ),
        ({"sequence_number": {"min": 2}, "proposal_id": 1}, [{"proposal_id": ["1"]}]),
        ({"mt_flag": True}, [{"mtFlag": ["True"]}]),
    ],
)
def test_criteria_are_as_many_questions_as_the_portal_needs(criteria, wanted):
    def in_order(questions):
        return sorted((sorted(one.items()) for one in questions), key=str)

    assert in_order(asked(**criteria)) == in_order(wanted)


def test_many_names_are_several_questions():
    sizes = [len(one["obs_id"]) for one in asked(obs_id=[f"o{number:04}" for number in range(2500)])]
    assert sizes == [1000, 1000, 500]


def test_an_interval_is_asked_for_by_the_days_of_observations():
    (wanted,) = asked(start="2000-01-01", end="2000-01-02")
    assert wanted["t_max"][0] == pytest.approx(51544, abs=1e-5)
    assert wanted["t_min"][1] == pytest.approx(51546, abs=1e-5)
    assert wanted["t_max"][0] < 51544 < 51546 - 1e-8 < wanted["t_min"][1]
    (narrowed,) = asked(start="2000-01-01", t_max={"min": 60000})
    assert narrowed == {"t_max": [60000, 1e30]}


def test_what_the_portal_does_not_know_is_not_asked_for():
    assert asked(known={"proposal_id"}, proposal_id=1, intent_type="science") == [{"proposal_id": ["1"]}]
    assert asked(proposal_id=1, distance={"max": 5}) == [{"proposal_id": ["1"]}]


@pytest.mark.parametrize(
    ("criteria", "known"),
    [
        ({}, KNOWN),
        ({"sources": ["s3"]}, KNOWN),
        ({"intentType": "science"}, {"obs_id"}),
        ({"distance": 1}, KNOWN),
    ],
)
def test_a_search_for_everything_is_refused(criteria, known):
    with pytest.raises(QueryError, match="nothing to search by"):
        asked(known=known, **criteria)
    assert asked(HERE, known - {"distance"}, **criteria) == [{}]


@pytest.mark.parametrize(
    ("criteria", "row", "reason"),
    [
        ({"proposal_id": 7291}, {"proposal_id": "7291"}, None),
        ({"proposal_id": 7291}, {"proposal_id": "72910"}, "proposal_id"),
        ({"proposal_pi": "breg*"}, {"proposal_pi": "Bregman, Joel N."}, None),
        ({"proposal_pi": "reg*"}, {"proposal_pi": "Bregman, Joel N."}, "proposal_pi"),
        ({"proposal_pi": "x"}, {"proposal_pi": None}, "unknown proposal_pi"),
        ({"filters": "F814W"}, {"filters": "F555W;F814W"}, None),
        ({"filters": "F814W"}, {"filters": "F814W;F555W"}, None),
        ({"filters": "F814W"}, {"filters": "F1;F814W;F2"}, None),
        ({"filters": "F81*"}, {"filters": "F1;F814W;F2"}, None),
        ({"filters": "F814"}, {"filters": "F555W;F814W"}, "filters"),
        ({"calib_level": {"min": 2}}, {"calib_level": 3}, None),
        ({"mtFlag": False}, {"mtFlag": True}, "mtFlag"),
        ({"mtFlag": False}, {"mtFlag": False}, None),
        ({"coordinates": [1, 2], "radius": "1 arcmin"}, {"distance": 60.0}, None),
        ({"coordinates": [1, 2], "radius": "1 arcmin"}, {"distance": 60.1}, "distance"),
        ({"object_name": "M8"}, {"distance": 721}, "distance"),
        ({"object_name": "M8", "distance": {"max": 5}}, {"distance": 6}, "distance"),
    ],
)
def test_every_criterion_is_tested_again(criteria, row, reason):
    mast = archives.get("mast")
    again = Filter(mast.checks(parse(**criteria)), properties=mast.properties)
    assert again.reason(mast_records.granule({"obsid": "1", "obs_collection": "HST", **row})) == reason


def test_an_interval_is_tested_again():
    assert checks(parse(proposal_id=1, start="2000-01-01", end="2000-01-01")) == {
        "proposal_id": ["1"],
        "start": "2000-01-01T00:00:00Z",
        "end": "2000-01-01T23:59:59.999999Z",
    }


def test_only_what_is_named_and_nothing_else_can_be_missed():
    assert named(parse(obs_id=["b", "a", "c*"], sources=["s3"])) == {"obs_id": {"a", "b"}}
    assert named(parse(obsid=5)) == {"obsid": {"5"}}
    assert named(parse(obs_id="a", calib_level=3)) == {}
    assert named(parse(obs_id="a", start="2000-01-01")) == {}
    assert named(parse(proposal_id=5)) == {}


@pytest.mark.parametrize(
    "said",
    [
        [210.8025, 54.34917],
        "210.8025 54.34917",
        "210.8025, +54.34917",
        "14h03m12.6s +54d20m57.012s",
        "14:03:12.6 +54:20:57.012",
        [-149.1975, 54.34917],
    ],
)
def test_a_position_is_written_in_many_ways(said):
    assert parse(coordinates=said).criteria["coordinates"] == pytest.approx([210.8025, 54.34917], abs=1e-6)


@pytest.mark.parametrize(
    ("said", "degrees"), [(0.5, 0.5), ("0.5", 0.5), ("30 arcmin", 0.5), ("36arcsec", 0.01)]
)
def test_a_radius_has_a_unit_or_is_degrees(said, degrees):
    assert parse(coordinates=[1, 2], radius=said).criteria["radius"] == pytest.approx(degrees)


def test_equal_questions_are_equal_queries():
    one = parse(proposal_id=7291, data_rights="PUBLIC", sources=["s3", "s3"], select={"mrp_only": True})
    two = parse(proposal_id="7291", dataRights=["PUBLIC"], sources=["s3"], select={"mrp_only": True})
    assert one.digest == two.digest
    assert query.parse(one.to_json()) == one


@given(
    west=st.floats(-180, 180),
    width=st.floats(0.001, 300),
    south=st.floats(-89, 60),
    height=st.floats(0.001, 25),
)
def test_the_circle_around_an_area_holds_all_of_it(west, width, south, height):
    if west + width > 180:
        return
    area = aoi.parse([west, south, west + width, south + height])
    found = around(area)
    if found is None:
        return
    for across in range(11):
        for up in range(11):
            corner = (west + width * across / 10, south + height * up / 10)
            assert mast_records.separation(found[:2], corner) <= found[2]


def test_half_the_sky_has_no_circle():
    assert around(aoi.parse([-180, -90, 180, 90])) is None
    assert (
        around({"type": "MultiLineString", "coordinates": [[[0, 0], [1, 0]], [[180, 0], [181, 0]]]}) is None
    )


def test_a_band_around_the_sky_has_its_pole_inside():
    _, dec, radius = around(aoi.parse([-180, 10, 180, 20]))
    assert dec > 80
    assert radius < 90


def test_an_area_across_the_beginning_of_right_ascension_has_a_small_circle():
    ra, dec, radius = around(aoi.parse([179, -1, -179, 1]))
    assert (ra, dec) == pytest.approx((180, 0), abs=0.1)
    assert radius < 1.6
    assert around(aoi.parse("POINT (10 20)")) == pytest.approx((10, 20, 0.1))


# --------------------------------------------------------------------------------------------------
# Rows


@pytest.mark.parametrize(
    ("said", "kind", "first"),
    [
        ("POLYGON 183.5 33 183.4 33 183.4 33.1 183.5 33", "Polygon", (-176.5, 33)),
        ("POLYGON ICRS 1 2 3 2 3 4", "Polygon", (1, 2)),
        ("POLYGON GSC1  1 2 3 2 3 4 1 2", "Polygon", (1, 2)),
        ("Polygon J2000 1 2 3 2 3 4 POLYGON J2000 11 2 13 2 13 4", "MultiPolygon", (1, 2)),
        ("UNION ICRS ( POLYGON 1 2 3 2 3 4 CIRCLE 11 2 1 )", "MultiPolygon", (1, 2)),
    ],
)
def test_footprints_are_read(said, kind, first):
    found = mast_records.region(said)
    assert found["type"] == kind
    ring = found["coordinates"][0] if kind == "Polygon" else found["coordinates"][0][0]
    assert first in {tuple(corner) for corner in ring[0:1]} | {tuple(corner) for corner in _flat(ring)}


def _flat(ring):
    return ring if isinstance(ring[0][0], int | float) else [corner for one in ring for corner in one]


@pytest.mark.parametrize(
    "said",
    [
        *(None, "", "POLYGON", "POLYGON 1 2 3", "POLYGON 1 2 3 4", "POLYGON ICRS 1 2 3 2 3 99", "CIRCLE 1 2"),
        *("POINT 1 2", "BOX 1 2 3 4", "POLYGON ICRS 1 2 junk 3 2 3 4", "POLYGON EGOCENTRIC 1 2 3 2 3 4"),
    ],
)
def test_a_footprint_that_says_nothing_is_none_and_the_position_stands_for_it(said):
    assert mast_records.region(said) is None
    row = {"obsid": "1", "obs_collection": "HST", "s_region": said}
    assert mast_records.granule(row).geometry is None
    placed = mast_records.granule({**row, "s_ra": 350, "s_dec": 5.0})
    assert placed.geometry == {"type": "Point", "coordinates": [-10, 5.0]}


@given(ra=st.floats(0, 360), dec=st.floats(-90, 90), radius=st.floats(1e-4, 20))
def test_a_circle_is_a_circle(ra, dec, radius):
    for corner in mast_records.circle((ra, dec, radius)):
        assert mast_records.separation((ra, dec), corner) == pytest.approx(radius, rel=1e-6, abs=1e-9)


def test_a_circle_across_the_beginning_of_right_ascension_stays_small():
    found = mast_records.region("CIRCLE ICRS 180.0 10 1")
    assert aoi.area_m2(found, "sky") == pytest.approx(math.pi * math.radians(1) ** 2, rel=0.01)
    assert aoi.intersects(found, {"type": "Point", "coordinates": [-179.5, 10]})
    assert not aoi.intersects(found, {"type": "Point", "coordinates": [0, 10]})


def test_times_are_days():
    assert mast_records.moment(51544.5).isoformat() == "2000-01-01T12:00:00+00:00"
    assert mast_records.mjd(mast_records.moment(51544.5)) == 51544.5
    assert [mast_records.moment(odd) for odd in (None, "x", 1e300, math.nan)] == [None] * 4


def test_an_observation_is_named_by_what_it_says_of_itself():
    row = {"obsid": "7", "obs_collection": "HST", "obs_id": "o1", "target_name": "TON", "t_min": 51544.0}
    one = mast_records.granule(row)
    assert (one.id, one.native_id, one.stack, one.body) == ("o1", "7", "TON", "sky")
    assert one.stop == one.start
    assert one.properties == row
    bare = mast_records.granule({"obsid": "7", "obs_collection": "HST"})
    assert (bare.id, bare.stack, bare.start) == ("7", "HST", None)
    assert mast_records.granule(row, shared=True).id == "o1_7"


@pytest.mark.parametrize(("name", "kind"), [("a.FITS", "application/fits"), ("a.fits.gz", None), ("a", None)])
def test_the_ending_of_a_name_says_what_a_file_is(name, kind):
    assert mast_records.media_type(name) == kind


@pytest.mark.parametrize(
    ("rights", "auth"), [(None, "mast"), ("PUBLIC", "mast"), ("EXCLUSIVE_ACCESS", "mast-exclusive")]
)
def test_a_product_says_whether_anybody_may_have_it(rights, auth):
    row = {
        "obs_collection": "K2",
        "obs_id": "a/b",
        "productFilename": "x y.fits",
        "size": 0,
        "dataURI": "mast:K2/url/x y+.fits",
        "dataRights": rights,
    }
    found = mast_records.asset(row)
    assert found.key == "x y.fits"
    assert found.path.startswith("mast/K2/a_b-")
    assert found.path.endswith("/x_y.fits")
    assert found.size is None
    (source,) = found.sources
    assert source.auth == auth
    assert source.href == "https://mast.stsci.edu/api/v0.1/Download/file?uri=mast:K2/url/x%20y%2B.fits"
    both = mast_records.sources(found, "k2/x", ("https", "s3"))
    assert [one.href.partition(":")[0] for one in both] == ["https", "s3"]
    assert mast_records.sources(found, None, ("s3",)) == ()


# --------------------------------------------------------------------------------------------------
# Missions


@pytest.mark.parametrize(
    ("criteria", "line"),
    [
        (
            {"mission": "hts", "sci_pep_id": 1},
            "mission: got 'hts' (allowed: hst, jwst, roman, classy, ullyses",
        ),
        ({"sci_pep_id": []}, "sci_pep_id: got an empty list"),
        ({"sci_pep_id": {"min": 2, "max": 1}}, "sci_pep_id: min 2 is more than max 1"),
        ({"sci_instrume": "!STIS"}, "sci_instrume: got '!STIS' (allowed: one value, {min: , max: }"),
        ({"sci_actual_duration": [5, ">=1000"]}, "sci_actual_duration: got '>=1000' (allowed: one value"),
        ({"sci_actual_duration": "10..20"}, "sci_actual_duration: got '10..20' (allowed: one value"),
        ({"sci_instrume": "STIS,ACS"}, "sci_instrume: got 'STIS,ACS' (allowed: one value"),
        ({"sci_pep_id": 1, "select": {"mrp_only": True}}, "select.mrp_only: products have no such column"),
    ],
)
def test_a_mission_cannot_be_asked_everything(criteria, line):
    with pytest.raises(QueryError) as caught:
        query.parse({"archive": "missions", **criteria})
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (7291, "7291"),
        (["b", "a*"], "a*,b"),
        ({"min": 1, "max": 2}, "1..2"),
        ({"min": 1}, ">=1"),
        ({"max": 2.5}, "<=2.5"),
        ({"min": "2018-01-01"}, ">=2018-01-01T00:00:00"),
        ({"min": "a", "max": "b"}, "a..b"),
    ],
)
def test_a_mission_reads_values_as_text(value, said):
    criteria = query.parse({"archive": "missions", "column": value}).criteria
    assert missions._condition(criteria["column"]) == said
