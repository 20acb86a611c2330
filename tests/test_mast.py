"""The archive mast, against the archives in a box: what the tutorials print, and what goes wrong."""

from __future__ import annotations

import csv
import itertools
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skystage import archives, filters, manifest, planning, query
from skystage.archives import mast_records, portal
from skystage.archives.mast import PRODUCTS
from skystage.archives.mast_criteria import snake
from skystage.batch import fetch_all, fetch_plan
from skystage.errors import (
    CatalogueUnavailable,
    CredentialsMissing,
    IncompleteSearch,
    NotFound,
    QueryError,
    SearchError,
    SizeMismatch,
)
from skystage.model import Asset
from skystage.plan import Plan
from skystage.planfile import PlanFile
from skystage.sandbox.accounts import MAST
from skystage.searching import SearchFile, search
from skystage.transport import Access

LEVEL_2 = {"calib_level": [2], "product_type": "SCIENCE"}
K2 = {"obs_collection": "K2", "filters": "KEPLER", "provenance_name": "K2"}
LLC = {"productSubGroupDescription": "LLC"}


@pytest.fixture
def plan(access, tmp_path):
    numbers = itertools.count()

    def build(access=access, **asked):
        path = tmp_path / f"plan{next(numbers)}.ndjson"
        return planning.build(query.parse({"archive": "mast", **asked}), path, access)

    return build


def found(access, **asked):
    made = archives.get("mast").search(query.parse({"archive": "mast", **asked}), access)
    return list(made), made


def asked_of(box, path="/api/v0/invoke"):
    return [one for one in box.requests() if one["host"] == MAST and one["path"].startswith(path)]


def extend(box, count, **said):
    """More observations of a proposal, each with one product, as rows of the box."""
    held = box._world.catalogue.mast
    row = dict(held.observations["24919901"])
    products = held.products["24919901"]
    product = next(one for one in products if one["productFilename"].endswith("_x1d.fits"))
    file = held.files[product["dataURI"]]
    for number in range(count):
        obsid = f"7{number:07}"
        held.add(
            {
                **row,
                "obsid": obsid,
                "objID": f"1{obsid}",
                "obs_id": f"n{number:07}",
                "proposal_id": "1",
                **said,
            }
        )
        name = f"n{number:07}_x1d.fits"
        owner = {"obsID": obsid, "parent_obsid": obsid, "obs_id": f"n{number:07}"}
        held.add_product(
            {**product, **owner, "dataURI": f"mast:HST/product/{name}", "productFilename": name}, file
        )


# --------------------------------------------------------------------------------------------------
# The tutorials' figures


def test_a_proposal_has_five_observations_and_its_two_spectra_six_products_of_50_mb(box, plan, access, store):
    assert plan(proposal_id=7291, select=LEVEL_2).header.totals.granules == 5
    made = plan(obsid=[24919901, 24919903], select=LEVEL_2)
    assert {asset.name: asset.size for asset in made.assets()} == {
        f"o587010{number}0_{kind}.fits": size
        for number in (1, 3)
        for kind, size in (("x1d", 77760), ("x2d", 14474880), ("flt", 10535040))
    }
    totals = made.header.totals
    assert (totals.granules, totals.assets, f"{totals.bytes / 10**6:.2f} MB") == (2, 6, "50.18 MB")
    outcome = fetch_plan(made, store, access)
    outcome.raise_for_failures()
    assert outcome.bytes_moved == totals.bytes
    assert {receipt.source.split("/")[2] for receipt in outcome.receipts} == {"stpubdata"}
    again = fetch_plan(made, store, access)
    assert (again.bytes_moved, again.requests) == (0, 0)


def test_all_thirty_products_of_the_two_are_listed(box, plan):
    made = plan(obsid=[24919901, 24919903], select={"size": {"min": 0}})
    assert made.header.totals.assets == 30


def test_a_name_finds_all_that_is_near_and_says_what_that_is(box, plan):
    made = plan(object_name="K2-62", select=LLC, **K2)
    assert (made.header.totals.granules, made.header.hits) == (23, 23)
    head, *targets, exact = made.header.notes
    assert head.startswith("object_name 'K2-62' is at ")
    assert head.endswith("(SIMBAD: K2-62); within 0.2 degrees of it: 23 targets")
    assert len(targets) == 23
    assert targets[0].split() == ["0.0", "arcsec", "ktwo206096602"]
    distances = [float(line.split()[0]) for line in targets]
    assert distances == sorted(distances)
    assert distances[-1] <= 720
    assert "target_name" in exact
    uris = [asset.sources[0].href for asset in made.assets()]
    assert uris[0] == ("s3://stpubdata/k2/public/lightcurves/c3/206000000/89000/ktwo206089508-c03_llc.fits")
    assert len(uris) == 23


def test_an_exact_target_is_one(box, plan):
    made = plan(object_name="K2-62", target_name="ktwo206096602", select=LLC, **K2)
    (one,) = made.granules()
    assert (one.stack, one.collection, one.body) == ("ktwo206096602", "K2", "sky")
    assert len(made.header.notes) == 2
    assert plan(object_name="K2-62", radius="1 arcsec", select=LLC, **K2).header.totals.granules == 1


def test_coordinates_and_an_area_find_the_same(box, plan):
    place = [183.7882083333, 33.16516666667]
    around = plan(coordinates=place, radius="1 arcmin", select=LEVEL_2)
    assert around.header.totals.granules == 5
    assert around.header.notes[0].startswith("coordinates 183.788208 +33.165167; within 0.0166667 degrees")
    within = plan(area=[183.7, 33.1, 183.8, 33.2], select=LEVEL_2)
    assert [one.id for one in within.granules()] == [one.id for one in around.granules()]
    assert within.header.notes == ()
    assert plan(area=[183.7, 33.1, 183.8, 33.2], proposal_id=7291, select=LEVEL_2).header.hits == 5
    beside = plan(area=[183.75, 33.3, 183.8, 33.4], select=LEVEL_2, radius=None)
    assert beside.header.totals.granules == 0


def test_an_object_that_nobody_knows_is_a_question_that_cannot_be_asked(box, plan):
    with pytest.raises(QueryError, match="object_name: 'K2-O' is known to no resolver"):
        plan(object_name="K2-O", select=LLC)
    assert asked_of(box) == []


# --------------------------------------------------------------------------------------------------
# Searching


def test_wildcards_and_dates_are_asked_for_and_tested_again(box, access):
    granules, made = found(access, proposal_pi="Bregman*", dataproduct_type="spectrum")
    assert (len(granules), made.hits, made.received) == (3, 3, 3)
    early = granules[0].start
    granules, _ = found(access, proposal_id=7291, end=early.isoformat())
    assert all(one.start <= early for one in granules)


def test_the_portal_is_asked_in_its_own_words(box, access):
    asked = {"proposal_pi": ["Breg*"], "filters": ["F1", "F2"], "t_min": [1, 2], "calib_level": [2]}
    service, params = portal.Portal(access)._asked("*", asked, (1.5, -2.0, 0.2))
    assert service == "Mast.Caom.Filtered.Position"
    assert params == {
        "columns": "*",
        "position": "1.5, -2.0, 0.2",
        "filters": [
            {"paramName": "proposal_pi", "values": [], "freeText": "Breg%"},
            {"paramName": "filters", "separator": ";", "values": ["F1", "F2"]},
            {"paramName": "t_min", "values": [{"min": 1, "max": 2}]},
            {"paramName": "calib_level", "values": ["2"]},
        ],
    }
    assert portal.Portal(access)._asked("*", {}, (1.5, -2.0, 0.2)) == (
        "Mast.Caom.Cone",
        {"ra": 1.5, "dec": -2.0, "radius": 0.2},
    )


def test_pages_are_read_to_their_end(box, access, monkeypatch):
    extend(box, 23)
    monkeypatch.setattr(portal, "PAGE", 5)
    granules, made = found(access, proposal_id=1)
    assert (len({one.id for one in granules}), made.hits, made.received) == (23, 23, 23)
    assert len(asked_of(box)) == 1 + 5


def test_fewer_than_were_counted_are_an_error_unless_that_is_allowed(box, access, monkeypatch):
    extend(box, 23)
    monkeypatch.setattr(portal, "PAGE", 10)
    empty = {
        "status": "COMPLETE",
        "msg": "",
        "data": [],
        "fields": [{"name": "obsid", "type": "string"}],
        "paging": {},
    }
    rule = {"match": {"host": MAST, "path": "/api/v0/invoke", "after": 2}, "body": json.dumps(empty)}
    box.set_faults([rule])
    with pytest.raises(IncompleteSearch, match="counted 23 observations and delivered 10"):
        found(access, proposal_id=1)
    box.set_faults([rule])
    assert len(found(access, proposal_id=1, allow_incomplete=True)[0]) == 10


def test_observations_of_one_name_are_kept_apart(box, access, plan):
    extend(box, 3)
    held = box._world.catalogue.mast
    held.observations["70000001"]["obs_id"] = "n0000000"
    granules, _ = found(access, proposal_id=1)
    assert sorted(one.id for one in granules) == ["n0000000_70000000", "n0000000_70000001", "n0000002"]
    assert plan(proposal_id=1, select=LEVEL_2).header.totals.granules == 3


def test_what_two_questions_find_is_one_granule(box, access):
    granules, made = found(access, target_name=["TON*", "*1480"])
    assert (len(granules), made.hits, made.received) == (5, 10, 10)


def test_a_target_without_a_place_is_found_and_not_listed(box, access):
    box._world.catalogue.mast.observations["24919901"]["s_ra"] = None
    granules, made = found(access, coordinates=[183.7882083333, 33.16516666667], obs_id="o58701010")
    assert len(granules) == 1
    assert made.notes[0].endswith("0 targets")


def test_what_is_named_and_not_there_is_said(box, plan):
    made = plan(obs_id=["o58701010", "o5870101x"], select=LEVEL_2)
    assert [(one.id, one.reason) for one in made.dropped()] == [("o5870101x", "not in the archive")]


def test_a_question_that_takes_long_is_asked_again(box, access, monkeypatch):
    pauses = []
    monkeypatch.setattr(portal, "time", SimpleNamespace(sleep=pauses.append))
    box.set_faults(
        [{"match": {"path": "/api/v0/invoke", "times": 3}, "body": json.dumps({"status": "EXECUTING"})}]
    )
    assert len(found(access, proposal_id=7291)[0]) == 5
    assert len(pauses) == 3
    assert pauses == sorted(pauses)
    assert pauses[0] >= 0.5


def test_a_question_that_takes_for_ever_is_given_up(box, access, monkeypatch):
    monkeypatch.setattr(portal, "time", SimpleNamespace(sleep=lambda _: None))
    box.set_faults([{"match": {"path": "/api/v0/invoke"}, "body": json.dumps({"status": "EXECUTING"})}])
    with pytest.raises(CatalogueUnavailable, match="still being worked on") as caught:
        found(access, proposal_id=7291)
    assert caught.value.transient
    assert 60 < len(asked_of(box)) < 80


@pytest.mark.parametrize(
    ("rule", "kind", "words"),
    [
        ({"body": json.dumps({"status": "ERROR", "msg": "no\n\x1bsuch"})}, SearchError, "MAST: no such"),
        ({"body": json.dumps({"status": "ERROR"})}, SearchError, "refused"),
        ({"body": "[]"}, CatalogueUnavailable, "not one of its own"),
        ({"body": "<html>"}, CatalogueUnavailable, "not one of its own"),
        ({"body": json.dumps({"status": "COMPLETE", "data": [], "fields": []})}, CatalogueUnavailable, "own"),
        ({"body": json.dumps({"status": "COMPLETE"})}, CatalogueUnavailable, "own"),
        ({"gateway_page": True}, CatalogueUnavailable, "502"),
        ({"status": 503, "body": ""}, CatalogueUnavailable, "503"),
        ({"status": 400, "body": ""}, SearchError, "400"),
    ],
)
def test_a_portal_that_is_not_well_is_an_error(box, access, impatient, rule, kind, words):
    box.set_faults([{"match": {"path": "/api/v0/invoke"}, **rule}])
    with pytest.raises(kind, match=words) as caught:
        found(access, proposal_id=7291)
    assert type(caught.value) is kind


def test_a_portal_that_is_busy_for_a_moment_is_asked_again(box, access, impatient):
    box.set_faults([{"match": {"host": MAST, "times": 2}, "status": 503, "retry_after": 0}])
    assert len(found(access, proposal_id=7291)[0]) == 5


def test_columns_that_do_not_come_are_no_answer(box, access):
    box.set_faults([{"match": {"path": "/portal/*"}, "body": "{}"}])
    with pytest.raises(CatalogueUnavailable, match="not one of its own"):
        found(access, proposal_id=7291)


@pytest.mark.parametrize(
    "answer", ["[]", '{"resolvedCoordinate": [{"ra": 1}]}', '{"resolvedCoordinate": [5]}']
)
def test_a_resolver_that_is_not_well_is_an_error(box, access, answer):
    box.set_faults([{"match": {"host": "mastresolver.stsci.edu"}, "body": answer}])
    with pytest.raises((CatalogueUnavailable, QueryError), match="not one of its own|known to no resolver"):
        found(access, object_name="K2-62")


def test_a_search_is_kept_with_its_notes_and_planned_without_another(box, access, tmp_path):
    asked = {"archive": "mast", "object_name": "K2-62", **K2}
    kept = search(query.parse(asked), tmp_path / "found.ndjson", access)
    assert len(SearchFile(kept.path).notes) == 25
    box.clear()
    wanted = query.parse({**asked, "select": LLC})
    made = planning.build(wanted, tmp_path / "plan.ndjson", access, searched=kept)
    assert made.header.notes == tuple(kept.notes)
    assert not [one for one in box.requests() if one["host"] != MAST]
    assert planning.build(wanted, tmp_path / "again.ndjson", access).header.digest == made.header.digest


# --------------------------------------------------------------------------------------------------
# Recorded rows


@pytest.fixture
def recorded(recordings):
    def read(name):
        return json.loads((recordings / "astro" / "mast-portal" / name).read_text())

    return read


def table(answer):
    from skystage.transport import Access

    return portal.Portal(Access())._api._parse_result([portal._Answer(answer)])


@pytest.mark.parametrize("name", ["caom.json", "products.json"])
def test_no_column_of_a_recorded_row_is_lost(recorded, name):
    answer = recorded(name)
    rows = list(portal.rows(table(answer)))
    assert len(rows) == len(answer["data"]) > 10
    kinds = {field["name"]: field["type"] for field in answer["fields"]}
    for row, said in zip(rows, answer["data"], strict=True):
        assert set(row) | {"_selected_"} == set(said)
        for column, value in row.items():
            there = said[column]
            assert value == (
                str(there) if kinds[column] == "string" and there not in (None, "") else there or value
            )


def test_recorded_observations_are_granules_on_the_sky(recorded):
    for row in portal.rows(table(recorded("caom.json"))):
        one = mast_records.granule(row)
        assert one.id == row["obs_id"]
        assert one.geometry["type"] == "Polygon"
        assert one.start < one.stop
        centre = mast_records.point(row["s_ra"], row["s_dec"])
        from skystage import aoi

        assert aoi.intersects(one.geometry, centre)


def test_the_tutorials_own_rows_are_those_of_the_box(box, access, recordings):
    import csv

    path = recordings / "astro" / "mast-tables" / "observations_proposal7291.csv"
    with path.open() as file:
        kinds, *rows = csv.DictReader(file)
    granules = {one.id: one.properties for one in found(access, proposal_id=7291)[0]}
    assert len(rows) == len(granules) == 5
    for row in rows:
        for column, text in row.items():
            value = granules[row["obs_id"]][column]
            if text in ("--", ""):
                assert value is None
            elif kinds[column].startswith(("float", "int")):
                assert value == float(text)
            else:
                assert str(value) == text


def test_recorded_files_stage_by_proposal_as_they_are(open_box, recordings, plan, access, store):
    box = open_box(catalogue=recordings)
    files = {path.name: path for path in (recordings / "astro" / "hst-stis-fits").glob("*.fits")}
    owners = box._world.catalogue.mast.observations
    proposals = sorted(
        {row["proposal_id"] for row in owners.values() if row["obs_collection"] == "HST"} - {None}
    )
    names = {"name": sorted(files)}
    made = plan(obs_collection="HST", proposal_id=proposals, select=names)
    outcome = fetch_plan(made, store, access)
    outcome.raise_for_failures()
    staged = {asset.name: store.path(asset) for asset in made.assets()}
    assert staged.keys() == files.keys()
    assert len(files) > 10
    for name, path in staged.items():
        assert path.read_bytes() == files[name].read_bytes()


def test_no_column_of_another_proposals_products_is_lost(open_box, recordings, plan):
    import csv

    open_box(catalogue=recordings)
    with (recordings / "astro" / "mast-tables" / "products_M101_wfpc2_44rows.csv").open() as file:
        recorded = {row["dataURI"]: row for row in csv.DictReader(file)}
    made = plan(proposal_id=5397, select={"size": {"min": 0}})
    assets = {asset.properties["dataURI"]: asset for asset in made.assets()}
    assert assets.keys() == recorded.keys()
    assert len(assets) == 44
    for uri, row in recorded.items():
        said = {**assets[uri].properties, "size": assets[uri].size}
        for column, text in row.items():
            if column != "idx":
                assert said[column] == (None if text == "--" else int(text) if column == "size" else text), (
                    column
                )


WORDS = {
    "productType": ["SCIENCE", "AUXILIARY", "INFO"],
    "productGroupDescription": ["Minimum Recommended Products", "other"],
    "productSubGroupDescription": ["C3M", "C3T", "DRZ", "C0F", "none"],
    "productFilename": ["u9o40504m_c3m.fits", "u9o40504m_c3t.fits", "x"],
    "dataproduct_type": ["image", "spectrum"],
    "type": ["S", "D"],
}
VALUE = st.one_of(
    st.sampled_from(sorted({word for words in WORDS.values() for word in words})).flatmap(
        lambda word: st.sampled_from([word, f"!{word}"])
    )
)
SIZE = st.integers(0, 12_000_000).flatmap(
    lambda n: st.sampled_from(
        [n, f"{n}", f"!{n}", f">={n}", f"<{n}", f">{n}", f"<={n}", f"{n}..{2 * n}", f"!<{n}"]
    )
)
SELECT = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.one_of(VALUE, st.lists(VALUE, min_size=1, max_size=3)) for name in WORDS},
        "size": st.one_of(SIZE, st.lists(SIZE, min_size=1, max_size=3), st.just(207360), st.just("!207360")),
        "mrp_only": st.booleans(),
        "extension": st.sampled_from(["fits", ".fits", "_c3m.fits", ["c3t.fits", "jpg"], "jpg"]),
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(select=SELECT)
def test_select_keeps_what_filter_products_keeps(recorded, select):
    from astroquery.mast import Observations

    if select.get("mrp_only"):
        select.pop("productGroupDescription", None)  # the same column twice is refused
    products = table(recorded("products.json"))
    theirs = list(Observations.filter_products(products, **select)["dataURI"])
    ready = archives.get("mast").selection(filters.validate_select(select))
    ours = [
        row["dataURI"] for row in portal.rows(products) if filters.selects(ready, mast_records.asset(row))
    ]
    assert ours == theirs


@pytest.mark.parametrize("column", PRODUCTS)
def test_every_column_of_products_can_be_selected_by(column):
    mast = archives.get("mast")
    assert mast.selection({column: 5}) == {column: 5}
    if snake(column) not in PRODUCTS:
        assert mast.selection({snake(column): 5}) == {column: 5}


# --------------------------------------------------------------------------------------------------
# Products


def test_which_products_are_wanted_has_to_be_said(box, plan):
    with pytest.raises(QueryError, match=r"select: say which products .*mrp_only"):
        plan(proposal_id=7291)
    one = plan(proposal_id=7291, assets=["o58701010_x1d.fits"], allow_missing=["o58701010_x1d.fits"])
    assert [asset.name for asset in one.assets()] == ["o58701010_x1d.fits"]
    with pytest.raises(QueryError, match=r"no granule has 'x.fits' \(they have: .*o58701010_flt.fits"):
        plan(proposal_id=7291, assets=["x.fits"])


def test_the_frames_of_a_sector_are_not_listed_and_that_is_said(box, plan):
    extend(box, 2)
    box._world.catalogue.mast.observations["70000001"]["target_name"] = "TESS FFI"
    made = plan(proposal_id=1, select={"extension": "fits"})
    assert made.header.totals.assets == 1
    ((granule, lacking),) = made.unresolved()
    assert (granule, lacking.key) == ("n0000001", "products")
    assert "too many" in lacking.reason


def test_products_are_listed_once_a_day(box, plan):
    first = plan(proposal_id=7291, select=LEVEL_2)
    assert len(asked_of(box, "/api/v0.1/path_lookup")) == 1
    box.clear()
    assert plan(proposal_id=7291, select=LEVEL_2).header.digest == first.header.digest
    assert asked_of(box, "/api/v0.1/path_lookup") == []
    assert len(asked_of(box)) == 2


def test_a_product_of_two_observations_is_one_file(box, plan, access, store):
    made = plan(proposal_id=99001, data_rights="PUBLIC", select={"name": "sbx001_shared.fits"})
    assert (made.header.totals.granules, made.header.totals.assets) == (2, 1)
    (path,) = {asset.path for one in made.granules() for asset in one.assets}
    assert path == "mast/HST/sbx001010/sbx001_shared.fits"
    box.clear()
    fetch_plan(made, store, access).raise_for_failures()
    assert len(box.requests()) == 1


def test_of_two_files_of_one_name_the_second_is_named(box, plan):
    held = box._world.catalogue.mast
    rows = held.products["24919901"]
    (row,) = [one for one in rows if one["productFilename"] == "o58701010_x1d.fits"]
    twin = {**row, "dataURI": "mast:HST/other/o58701010_x1d.fits"}
    held.add_product(twin, held.files[row["dataURI"]])
    made = plan(obs_id="o58701010", select={"name": "*x1d.fits"})
    ((granule, lacking),) = made.unresolved()
    assert (granule, lacking.key) == ("o58701010", "o58701010_x1d.fits")
    assert "mast:HST/product/o58701010_x1d.fits" in lacking.reason
    assert made.header.totals.assets == 1


def test_a_product_of_nobody_is_an_error(box, plan):
    for row in box._world.catalogue.mast.products["24919901"]:
        row["parent_obsid"] = row["obsID"] = "1"
    with pytest.raises(SearchError, match="belongs to no observation"):
        plan(obs_id="o58701010", select=LEVEL_2)


def test_fewer_products_than_were_counted_are_an_error(box, plan, monkeypatch):
    fields = [{"name": "obsID", "type": "string"}]
    short = {"status": "COMPLETE", "msg": "", "data": [], "fields": fields, "paging": {"rowsFiltered": 15}}
    rule = {"match": {"path": "/api/v0/invoke", "after": 2}, "body": json.dumps(short)}
    box.set_faults([rule])
    with pytest.raises(IncompleteSearch, match="counted 15 products and delivered 0"):
        plan(obs_id="o58701010", select=LEVEL_2)


PROGRAM = """
import os, signal, sys
from skystage import archives, query
from skystage.archives import mast_records, portal
from skystage.transport import Access

products, left = portal.Portal.products, int(sys.argv[1])

def counted(self, obsids):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return products(self, obsids)

portal.Portal.products = counted
asked = {"archive": "mast", "proposal_id": 1, "select": {"extension": "fits"}, "sources": ["https"]}
rows = ({"obsid": f"7{number:07}", "obs_collection": "HST"} for number in range(20_000))
kept = archives.get("mast").resolve(map(mast_records.granule, rows), query.parse(asked), Access())
print(sum(len(one.assets) for one in kept))
"""


def test_20_000_lists_of_products_go_on_after_a_kill(box):
    extend(box, 20_000)

    def start(batches):
        box.clear()
        command = [sys.executable, "-c", PROGRAM, str(batches)]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    killed = start(150)
    assert killed.returncode == -9, killed.stderr
    assert len(asked_of(box)) == 150  # the lists of 100 observations each
    ended = start(-1)
    assert ended.stdout == "20000\n", ended.stderr
    assert len(asked_of(box)) == 50


# --------------------------------------------------------------------------------------------------
# Sources


def test_files_come_from_the_bucket_and_else_from_mast(box, plan, access, store):
    made = plan(proposal_id=99001, data_rights="PUBLIC", select={"extension": "fits"})
    kinds = {
        asset.name.removeprefix("sbx0010").removesuffix(".fits"): [
            source.href.partition(":")[0] for source in asset.sources
        ]
        for asset in made.assets()
    }
    assert kinds["10_onprem"] == ["https"]
    assert kinds["10_lost"] == ["s3", "https"]
    outcome = fetch_plan(made, store, access)
    came = {receipt.path.rpartition("_")[2]: receipt.source.partition(":")[0] for receipt in outcome.receipts}
    assert came == {
        "flt.fits": "s3",
        "lost.fits": "https",
        "nolength.fits": "s3",
        "onprem.fits": "https",
        "shared.fits": "s3",
    }
    failed = {path.rpartition("_")[2]: type(error) for path, error in outcome.failures.items()}
    assert failed == {"gone.fits": NotFound, "wrongsize.fits": SizeMismatch}


def test_astroquerys_table_has_whole_addresses(box, plan, access, store, tmp_path):
    made = plan(proposal_id=99001, data_rights="PUBLIC", select={"name": ["*_onprem.fits", "*10_flt.fits"]})
    fetch_plan(made, store, access).raise_for_failures()
    manifest.write(Plan(made.path), store, tmp_path / "manifest.csv")
    with (tmp_path / "manifest.csv").open(newline="") as file:
        found = {row["Local Path"].rpartition("_")[2]: row["URL"] for row in csv.DictReader(file)}
    assert found == {
        "flt.fits": "https://stpubdata.s3.amazonaws.com/hst/public/sbx0/sbx001010/sbx001010_flt.fits",
        "onprem.fits": f"{mast_records._DOWNLOAD}mast:HST/product/sbx001010_onprem.fits",
    }


def test_the_query_says_where_files_come_from(box, plan):
    def sources(**asked):
        made = plan(proposal_id=99001, data_rights="PUBLIC", select={"extension": "fits"}, **asked)
        lacking = sorted(missing.key for _, missing in made.unresolved())
        return {
            tuple(one.href.partition(":")[0] for one in asset.sources) for asset in made.assets()
        }, lacking

    assert sources(sources=["https"]) == ({("https",)}, [])
    assert asked_of(box, "/api/v0.1/path_lookup") == []
    assert sources(sources=["https", "s3"]) == ({("https", "s3"), ("https",)}, [])
    assert sources(sources=["s3"]) == ({("s3",)}, ["sbx001010_onprem.fits"])


def test_places_in_the_bucket_are_asked_for_in_groups(box, plan):
    extend(box, 120)
    plan(proposal_id=1, select={"name": "*x1d.fits"})
    assert len(asked_of(box, "/api/v0.1/path_lookup")) == 3


@pytest.mark.parametrize("answer", ["[]", "{}", '{"mast:HST/product/o58701010_x1d.fits": null}'])
def test_places_that_are_none_are_an_error(box, plan, answer):
    box.set_faults([{"match": {"path": "/api/v0.1/path_lookup*"}, "body": answer}])
    with pytest.raises(CatalogueUnavailable, match="not one of its own"):
        plan(obs_id="o58701010", select={"name": "*x1d.fits"})


def test_a_look_up_that_is_down_says_what_does_without(box, plan, impatient):
    asked = {"obs_id": "o58701010", "select": {"name": "*x1d.fits"}}
    box.set_faults([{"match": {"path": "/api/v0.1/path_lookup*"}, "status": 503}])
    with pytest.raises(CatalogueUnavailable, match=r"503.*sources: \[https\] asks for no bucket"):
        plan(**asked)
    assert plan(sources=["https"], **asked).header.totals.assets == 1


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/hst/public/u9o4/u9o40504m/u9o40504m_c3m.fits", "hst/public/u9o4/u9o40504m/u9o40504m_c3m.fits"),
        ("/mast/galex/x/y.fits", "galex/x/y.fits"),
        ("/ps1/x.fits", "panstarrs/ps1/public/x.fits"),
        ("/hlsp_local/public/hlsp/k2sff/x.fits", "mast/hlsp/k2sff/x.fits"),
        (None, None),
    ],
)
def test_the_key_in_the_bucket_follows_from_the_path(path, key):
    assert portal._key(path) == key


def test_all_recorded_files_of_stis_come_by_proposal_and_are_proved(
    open_box, recordings, access, plan, store
):
    files = {path.name: path for path in (recordings / "astro" / "hst-stis-fits").glob("*.fits")}
    if not files:
        pytest.skip("no FITS was recorded")
    box = open_box(catalogue=recordings)
    held = box._world.catalogue.mast
    owners = {
        obsid
        for obsid, products in held.products.items()
        if not files.keys().isdisjoint(one["productFilename"] for one in products)
    }
    proposals = sorted({held.observations[obsid]["proposal_id"] for obsid in owners})
    made = plan(proposal_id=proposals, instrument_name="STIS*", select={"extension": "fits"})
    outcome = fetch_plan(made, store, access)
    outcome.raise_for_failures()
    assert {asset.name: asset.size for asset in made.assets()} == {
        name: path.stat().st_size for name, path in files.items()
    }
    assert len(files) == 15
    for receipt in outcome.receipts:
        path = store.root / receipt.path
        assert path.read_bytes() == files[path.name].read_bytes()
        assert receipt.verified == "size+structure"


# --------------------------------------------------------------------------------------------------
# Exclusive access


def exclusive(plan) -> PlanFile:
    return plan(proposal_id=99001, data_rights="EXCLUSIVE_ACCESS", select={"name": "*flt.fits"})


def test_exclusive_data_want_a_token_before_the_first_byte(box, plan, access, store):
    made = exclusive(plan)
    everything = [*made.assets(), *plan(obs_id="o58701010", select=LEVEL_2).assets()]
    box.clear()
    with pytest.raises(CredentialsMissing, match="MAST_API_TOKEN") as caught:
        fetch_all(everything, store, access)
    assert "\n" not in str(caught.value)
    assert box.requests() == []


def test_the_command_says_it_in_one_line(box, plan, tmp_path, capsys):
    from skystage import cli

    made = exclusive(plan)
    assert cli.run(["fetch", str(made.path), "--store", str(tmp_path / "store")]) == 5
    (line,) = capsys.readouterr().err.splitlines()
    assert "MAST_API_TOKEN" in line


def test_what_a_refused_token_did_not_bring_is_named(box, plan, tmp_path, monkeypatch, capsys):
    from skystage import cli

    made = exclusive(plan)
    monkeypatch.setenv("MAST_API_TOKEN", "gone")
    assert cli.run(["fetch", str(made.path), "--store", str(tmp_path / "store")]) == 4
    line, _ = capsys.readouterr().err.splitlines()
    (asset,) = made.assets()
    assert line.startswith(f"failed   {asset.path}: MAST: the token was refused (environment)")


def test_with_a_token_exclusive_data_come(box, plan, store, monkeypatch):
    made = exclusive(plan)
    token = box.token(realm=MAST)
    monkeypatch.setenv("MAST_API_TOKEN", token)
    outcome = fetch_plan(made, store, Access())
    outcome.raise_for_failures()
    assert len(outcome.receipts) == 1
    assert token not in made.path.read_text()


def test_a_token_that_has_expired_is_said_for_exclusive_data_and_left_out_for_public(
    box, plan, store, monkeypatch
):
    made = exclusive(plan)
    public = plan(proposal_id=99001, data_rights="PUBLIC", select={"name": "*onprem.fits"}).assets()
    monkeypatch.setenv("MAST_API_TOKEN", "gone")
    access = Access()
    (error,) = fetch_all(made.assets(), store, access).failures.values()
    assert "10 days without use" in error.hint
    assert "gone" not in str(error)
    fetch_all(public, store, access).raise_for_failures()


def test_the_token_goes_to_mast_alone(box, plan, store, monkeypatch):
    monkeypatch.setenv("MAST_API_TOKEN", box.token(realm=MAST))
    made = plan(proposal_id=99001, select={"name": "*_flt.fits"})
    box._record.clear()
    fetch_plan(made, store, Access()).raise_for_failures()
    hosts = {one["host"]: one["headers"].get("authorization", "") for one in box.requests()}
    assert {host for host, said in hosts.items() if said.startswith("token ")} == {MAST}
    assert len(hosts) == 2


def test_a_granules_files_keep_what_the_archive_says_of_them(box, plan):
    (one,) = plan(obs_id="o58701010", select={"name": "*x1d.fits"}).granules()
    (asset,) = one.assets
    assert set(asset.properties) == {*PRODUCTS} - {"size", "filters"}
    assert asset.properties["dataURI"] == "mast:HST/product/o58701010_x1d.fits"
    assert Asset.from_json(asset.to_json()) == asset
