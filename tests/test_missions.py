"""The archive missions, against the archives in a box."""

from __future__ import annotations

import json

import pytest

from skystage import archives, planning, query
from skystage.archives import missions
from skystage.batch import fetch_plan
from skystage.errors import CatalogueUnavailable, CredentialsMissing, IncompleteSearch, QueryError
from skystage.sandbox.accounts import MAST
from skystage.transport import Access

X1D = {"name": "*_x1d.fits"}
TON = [183.7882083333, 33.16516666667]


@pytest.fixture
def plan(access, tmp_path):
    def build(archive="missions", **asked):
        wanted = query.parse({"archive": archive, **asked})
        return planning.build(wanted, tmp_path / f"{archive}.ndjson", access)

    return build


def found(access, **asked):
    made = archives.get("missions").search(query.parse({"archive": "missions", **asked}), access)
    return {one.id: one for one in made}, made


def test_a_proposal_is_the_same_observations_from_either_catalogue(box, plan):
    ours = list(plan(sci_pep_id=7291, select=X1D).granules())
    theirs = list(plan("mast", proposal_id=7291, select=X1D).granules())
    assert [one.id for one in ours] == [one.id for one in theirs]
    assert len(ours) == 5
    for one, other in zip(ours, theirs, strict=True):
        assert [asset.path for asset in one.assets] == [asset.path for asset in other.assets]
        assert [asset.size for asset in one.assets] == [asset.size for asset in other.assets]
        assert abs((one.start - other.start).total_seconds()) < 1
        assert one.stack == other.stack == "TON1480"
        assert (one.collection, one.body, one.native_id) == ("HST", "sky", one.id.upper())


def test_files_come_from_the_service_of_the_mission(box, plan, access, store):
    made = plan(sci_pep_id=7291, select=X1D)
    fetch_plan(made, store, access).raise_for_failures()
    fetched = [one for one in box.requests() if "retrieve_product" in one["path"]]
    assert len(fetched) == made.header.totals.assets == 3
    again = fetch_plan(plan("mast", proposal_id=7291, select=X1D), store, access)
    assert again.bytes_moved == 0


@pytest.mark.parametrize(
    ("criteria", "count"),
    [
        ({"sci_instrume": "STIS", "sci_pep_id": 7291, "sci_obs_type": "SPECTRUM"}, 3),
        ({"sci_pep_id": [7291, 99001]}, 8),
        ({"sci_pi_last_name": "BREG*"}, 5),
        ({"sci_pep_id": 7291, "sci_actual_duration": {"min": 2000, "max": 2500}}, 1),
        ({"sci_pep_id": 7291, "sci_actual_duration": {"min": 2500}}, 2),
        ({"sci_pep_id": 7291, "start": "1999-01-12T01:44:30"}, 2),
        ({"sci_pep_id": 7291, "end": "1999-01-11"}, 0),
        ({"coordinates": TON, "radius": "1 arcmin"}, 5),
        ({"area": [183.7, 33.1, 183.8, 33.2]}, 5),
        ({"object_name": "K2-62", "sci_pep_id": 7291}, 0),
        ({"sci_data_set_name": "O58701010"}, 1),
    ],
)
def test_a_mission_is_asked_in_its_own_columns(box, plan, criteria, count):
    made = plan(select=X1D, **criteria)
    assert made.header.totals.granules == made.header.hits == count


def test_a_place_says_what_was_found_around_it(box, plan):
    head, target = plan(coordinates=TON, radius="1 arcmin", select=X1D).header.notes
    assert head.endswith("1 targets")
    assert target.split()[-1] == "TON1480"


def test_each_criterion_is_tested_again(box, plan, access):
    (one, *_) = found(access, sci_pep_id=7291)[0].values()
    row = dict(one.properties, sci_pep_id=1)
    answer = {"info": [{"name": name} for name in row], "results": [list(row.values())], "totalResults": 1}
    box.set_faults([{"match": {"path": "/search/hst/api/v0.1/search"}, "body": json.dumps(answer)}])
    assert [drop.reason for drop in plan(sci_pep_id=7291, select=X1D).dropped()] == ["sci_pep_id"]
    assert [drop.reason for drop in plan(coordinates=[1, 2], select=X1D).dropped()] == ["distance"]
    assert [drop.reason for drop in plan(sci_pi_last_name="x*", select=X1D).dropped()] == ["sci_pi_last_name"]


@pytest.mark.parametrize(
    ("criteria", "words"),
    [
        ({"sci_pepid": 1}, r"sci_pepid: mission 'hst' has no such column \(did you mean 'sci_pep_id'"),
        ({"selekt": 1}, r"selekt: .*did you mean 'select'"),
        ({"qqqqq": 1}, r"qqqqq: .*its columns"),
        ({}, "nothing to search by"),
    ],
)
def test_a_column_that_is_not_there_is_refused_before_the_search(box, access, criteria, words):
    with pytest.raises(QueryError, match=words):
        found(access, **criteria)
    assert all("column_list" in one["path"] for one in box.requests())


def test_a_mission_without_times_has_no_interval(box, access):
    columns = [{"column_name": "observation_id", "default_output": "yes"}]
    box.set_faults([{"match": {"path": "*column_list*"}, "status": 200, "body": json.dumps(columns)}])
    with pytest.raises(QueryError, match="mission 'ullyses' has no column of times"):
        found(access, mission="ULLYSES", start="2020-01-01", observation_id="x")


def test_pages_are_read_to_their_end(box, access, monkeypatch):
    monkeypatch.setattr(missions, "PAGE", 2)
    granules, made = found(access, sci_pep_id=7291)
    assert (len(granules), made.hits, made.received) == (5, 5, 5)
    assert len([one for one in box.requests() if one["path"].endswith("/search")]) == 3


def test_fewer_than_were_counted_are_an_error_unless_that_is_allowed(box, access):
    answer = {"info": [], "results": [], "totalResults": 7}
    box.set_faults([{"match": {"path": "/search/hst/api/v0.1/search"}, "body": json.dumps(answer)}])
    with pytest.raises(IncompleteSearch, match="counted 7 data sets and delivered 0"):
        found(access, sci_pep_id=7291)
    assert found(access, sci_pep_id=7291, allow_incomplete=True)[0] == {}


def test_a_page_that_comes_again_and_again_is_not_taken_for_others(box, access, monkeypatch):
    monkeypatch.setattr(missions, "PAGE", 2)
    page = {
        "info": [{"column_name": "sci_data_set_name"}],
        "results": [["O58701010"], ["O58701020"]],
        "totalResults": 5,
    }
    box.set_faults([{"match": {"path": "/search/hst/api/v0.1/search"}, "body": json.dumps(page)}])
    with pytest.raises(IncompleteSearch, match="counted 5 data sets and delivered 2"):
        found(access, sci_pep_id=7291)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("*column_list*", "{}"),
        ("*column_list*", "[5]"),
        ("*/search", "[]"),
        ("*/search", "{}"),
        ("*/search", '{"info": [], "results": [{}]}'),
        ("*/post_list_products", "[]"),
        ("*/post_list_products", '{"products": [{"dataset": "other"}]}'),
    ],
)
def test_a_service_that_is_not_well_is_an_error(box, plan, path, answer):
    box.set_faults([{"match": {"host": MAST, "path": path}, "body": answer}])
    with pytest.raises((CatalogueUnavailable, QueryError), match="not one of its own|no such column"):
        plan(sci_pep_id=7291, select=X1D)


def test_products_are_listed_once_a_day_also_as_a_list_in_a_list(box, plan):
    first = plan(sci_data_set_name="O58701010", select=X1D)
    rows = [[one.assets[0].properties | {"size": 5} for one in first.granules()]]
    box.clear()
    assert plan(sci_data_set_name="O58701010", select=X1D).header.digest == first.header.digest
    assert [one for one in box.requests() if one["path"].endswith("post_list_products")] == []
    rows[0][0]["dataset"] = "O58701030"
    path = "*/post_list_products"
    box.set_faults([{"match": {"path": path}, "body": json.dumps({"products": rows})}])
    assert [asset.size for asset in plan(sci_data_set_name="O58701030", select=X1D).assets()] == [5]


def test_which_products_are_wanted_has_to_be_said(box, plan):
    with pytest.raises(QueryError, match="select: say which products"):
        plan(sci_pep_id=7291)


def test_exclusive_data_want_a_token(box, plan, access, store, monkeypatch):
    made = plan(sci_pep_id=99001, sci_status="EXCLUSIVE", select={"file_suffix": "FLT"})
    with pytest.raises(CredentialsMissing, match="MAST_API_TOKEN"):
        fetch_plan(made, store, access)
    monkeypatch.setenv("MAST_API_TOKEN", box.token(realm=MAST))
    fetch_plan(made, store, Access()).raise_for_failures()


def test_recorded_columns_are_those_that_a_query_may_name(box, access, recordings):
    text = (recordings / "astro" / "mast-portal" / "mission_columns.json").read_text()
    box.set_faults([{"match": {"path": "*column_list*"}, "body": text}])
    known = missions._columns("hst", access)
    assert len(known) == len(json.loads(text))
    own = missions._MISSIONS["hst"]
    assert {own.name, own.start, own.stop, own.ra, own.dec, own.target, "ang_sep"} <= set(known)


def test_what_a_row_does_not_say_is_not_known():
    row = {"observation_id": "X 1", "targ_ra": None, "targ_dec": 5.0, "target_name_ulysses": None}
    one = missions._granule(row, "ullyses", (1.0, 2.0, 3.0))
    assert (one.id, one.stack, one.start, one.stop, one.geometry) == ("X 1", "ULLYSES", None, None, None)
    odd = missions._granule(
        {"fileSetName": "jw1", "date_obs": "soon", "targ_ra": 1, "targ_dec": 2}, "jwst", (1, 2, 3)
    )
    assert odd.start is None
    assert odd.properties["distance"] == 0
    asset = missions._asset({"filename": "a.fits", "dataset": "x", "uri": "mast:HLSP/a.fits"}, "ullyses")
    assert asset.sources[0].href == "https://mast.stsci.edu/api/v0.1/Download/file?uri=mast:HLSP/a.fits"
    assert asset.size is None
