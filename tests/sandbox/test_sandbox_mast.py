"""MAST's portal, files and resolver, asked as programs ask them."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from skystage.sandbox import Sandbox, fits
from skystage.sandbox.accounts import MAST, NEWCOMER
from skystage.sandbox.mast_portal import distance

if TYPE_CHECKING:
    import requests

HOST = "https://mast.stsci.edu"
INVOKE = f"{HOST}/api/v0/invoke"
FILE = f"{HOST}/api/v0.1/Download/file"
LOOK_UP = f"{HOST}/api/v0.1/path_lookup/"
RESOLVER = "://mastresolver.stsci.edu/Santa-war/query"
SECRET = "mast:HST/product/sbx001030_flt.fits"
OPEN = "mast:HST/product/sbx001010_flt.fits"

Ask = Callable[..., dict[str, Any]]


def invoke(session: requests.Session, service: str, params: dict[str, Any], **more: Any) -> dict[str, Any]:
    request = {"service": service, "params": params, "format": "json", **more}
    reply = session.post(INVOKE, data={"request": json.dumps(request)}, timeout=10)
    assert reply.status_code == 200
    answer: dict[str, Any] = reply.json()
    return answer


@pytest.fixture
def ask(session: requests.Session) -> Ask:
    def search(*filters: dict[str, Any], columns: str = "*", **more: Any) -> dict[str, Any]:
        return invoke(session, "Mast.Caom.Filtered", {"columns": columns, "filters": list(filters)}, **more)

    return search


def where(name: str, *values: Any, **more: Any) -> dict[str, Any]:
    return {"paramName": name, "values": list(values), **more}


def names(answer: dict[str, Any]) -> list[str]:
    assert answer["status"] == "COMPLETE", answer
    return [row["obs_id"] for row in answer["data"]]


def test_a_proposal_has_its_observations_with_all_columns(ask: Ask) -> None:
    answer = ask(where("proposal_id", "7291"))
    assert names(answer) == ["o58701010", "o58701030", "o58701byq", "o58701020", "o58701bzq"]
    assert len(answer["fields"]) == 33
    assert all(list(row) == [field["name"] for field in answer["fields"]] for row in answer["data"])
    assert answer["paging"]["rowsTotal"] == 5


def test_the_proposal_is_as_recorded(recordings: Path, ask: Ask) -> None:
    with (recordings / "astro/mast-tables/observations_proposal7291.csv").open() as file:
        _, *recorded = list(csv.DictReader(file))
    rows = ask(where("proposal_id", "7291"))["data"]
    assert list(rows[0]) == list(recorded[0])
    for row, real in zip(rows, recorded, strict=True):
        shown = {name: "" if value is None else str(value) for name, value in row.items()}
        assert shown == {name: "" if text == "--" else text for name, text in real.items()}


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ([where("proposal_id", "7291"), where("dataproduct_type", "SPECTRUM")], 3),
        ([where("dataproduct_type", "spectrum", "image"), where("proposal_id", "7291")], 5),
        ([where("proposal_id", "7291"), where("t_exptime", {"min": 2175.0, "max": 2946.0})], 1),
        ([where("t_exptime", {"min": 0, "max": 1}, {"min": 2947, "max": 3000})], 3),
        ([where("proposal_id", freeText="72%")], 5),
        ([where("target_name", "TON1480", freeText="ktwo2060966%")], 7),
        ([where("proposal_pi", freeText="%joel%")], 5),
        ([where("calib_level", "2"), where("obs_collection", "HST")], 3),
        ([where("wavelength_region", "UV", separator=";"), where("proposal_id", "99001")], 3),
        ([where("wavelength_region", "UV"), where("proposal_id", "99001")], 0),
        ([where("filters", freeText="F8%", separator=";")], 3),
        ([where("em_min", {"min": 100, "max": 200}), where("obs_id", "o58701byq")], 0),
        ([where("mtFlag", "False"), where("proposal_id", "7291")], 5),
        ([where("PROPOSAL_ID", "7291")], 5),
    ],
)
def test_filters_are_evaluated(ask: Ask, filters: list[dict[str, Any]], count: int) -> None:
    assert len(names(ask(*filters))) == count
    counted = ask(*filters, columns="COUNT_BIG(*)")
    assert (counted["data"], counted["fields"][0]["type"]) == ([{"Column1": count}], "string")


def test_pages_have_every_row_once(ask: Ask) -> None:
    everything = names(ask(where("obs_collection", freeText="%")))
    assert len(everything) > 30
    seen = []
    for page in range(1, 100):
        answer = ask(where("obs_collection", freeText="%"), pagesize=7, page=page)
        seen += names(answer)
        if page == answer["paging"]["pagesFiltered"]:
            break
    assert seen == everything
    assert page == -(-len(everything) // 7)


def test_selected_columns(ask: Ask) -> None:
    answer = ask(where("proposal_id", "7291"), columns="obs_id, obsid")
    assert answer["data"][0] == {"obs_id": "o58701010", "obsid": "24919901"}


@pytest.mark.parametrize(
    ("service", "params", "more", "message"),
    [
        ("Mast.Caom.Nothing", {}, {}, "Invalid service"),
        ("Mast.Caom.Filtered", {"filters": []}, {}, "at least one filter"),
        ("Mast.Caom.Filtered", {"filters": [where("proposal", "7291")]}, {}, "no column proposal"),
        ("Mast.Caom.Filtered", {"filters": [where("proposal_id")]}, {}, "no values"),
        ("Mast.Caom.Filtered", {}, {}, "filters"),
        (
            "Mast.Caom.Filtered.Position",
            {"filters": [where("obs_id", "x")], "position": "1, 2"},
            {},
            "unpack",
        ),
        ("Mast.Caom.Cone", {"ra": "x", "dec": 0, "radius": 1}, {}, "float"),
        ("Mast.Caom.Products", {}, {}, "obsid"),
        ("Mast.Caom.Products", {"obsid": "1"}, {"page": -1}, "count from 1"),
    ],
)
def test_what_cannot_be_answered_is_an_error(
    session: requests.Session, service: str, params: dict[str, Any], more: dict[str, Any], message: str
) -> None:
    answer = invoke(session, service, params, **more)
    assert answer["status"] == "ERROR"
    assert message in answer["msg"]


def test_a_body_that_is_no_request_is_an_error(session: requests.Session) -> None:
    for body in ({"request": "{"}, {"question": "?"}, {"request": "[]"}):
        assert session.post(INVOKE, data=body, timeout=5).json()["status"] == "ERROR"
    assert session.get(INVOKE, timeout=5).status_code == 405


def test_a_rule_lets_a_query_take_its_time(box: Sandbox, ask: Ask) -> None:
    box.set_faults([{"match": {"path": "/api/v0/invoke", "times": 1}, "body": '{"status": "EXECUTING"}'}])
    assert [ask(where("proposal_id", "7291"))["status"] for _ in range(2)] == ["EXECUTING", "COMPLETE"]


def test_columns_are_described(session: requests.Session) -> None:
    def config(name: str) -> dict[str, Any]:
        url = f"{HOST}/portal/Mashup/Mashup.asmx/columnsconfig"
        answer: dict[str, Any] = session.post(url, data={"colConfigId": name}, timeout=5).json()
        return answer

    observations, products = config("Mast.Caom.Cone"), config("Mast.Caom.Products")
    assert observations["t_min"]["vot.datatype"] == "double"
    assert observations["filters"]["separator"] == ";"
    assert observations["proposal_id"]["vot.datatype"] == "char"
    assert {"distance", "obsid", "intentType"} <= set(observations)
    assert products["size"]["vot.datatype"] == "int"
    assert config("Mast.Catalogs.Nothing") == {}


K2 = (
    where("obs_collection", "K2", separator=";"),
    where("filters", "KEPLER"),
    where("provenance_name", "K2"),
)


def test_a_circle_has_the_neighbours_of_k2_62(session: requests.Session) -> None:
    def around(radius: float, *filters: dict[str, Any]) -> list[dict[str, Any]]:
        params = {"columns": "*", "filters": list(filters), "position": f"333.6, -12.2, {radius}"}
        answer = invoke(session, "Mast.Caom.Filtered.Position", params)
        assert answer["fields"][-1] == {"name": "distance", "type": "float"}
        found: list[dict[str, Any]] = answer["data"]
        return found

    found = around(0.2, *K2)
    assert len(found) == 23
    assert all(0 <= row["distance"] <= 720 for row in found)
    assert [row["target_name"] for row in found if row["distance"] == 0] == ["ktwo206096602"]
    assert len(around(1.0, *K2)) == 25
    assert len(around(0.2, where("filters", "KEPLER"))) == 24
    (only,) = around(0.2, *K2, where("target_name", "ktwo206096602"))
    assert only["obs_id"] == "ktwo206096602-c03_lc"
    cone = invoke(session, "Mast.Caom.Cone", {"ra": 333.6, "dec": -12.2, "radius": 0.01})
    assert sorted(row["obs_collection"] for row in cone["data"]) == ["HLSP", "K2"]


@pytest.mark.parametrize(
    ("region", "place", "degrees"),
    [
        ("POLYGON ICRS 10 0 11 0 11 1 10 1 10 0", (10.5, 0.5), 0.0),
        ("POLYGON 10 0 11 0 11 1 10 1", (10.5, 2.0), 1.0),
        ("POLYGON 359.5 -1 0.5 -1 0.5 1 359.5 1 359.5 -1", (0.0, 0.0), 0.0),
        ("POLYGON 359.5 -1 0.5 -1 0.5 1 359.5 1 359.5 -1", (1.5, 0.0), 1.0),
        ("POLYGON 0 80 90 80 180 80 270 80", (45.0, 90.0), 0.0),
        ("POLYGON 10 0 11 0 11 1 10 1", (101.0, 0.0), 90.0),
        ("CIRCLE ICRS 10 0 0.5", (12.0, 0.0), 1.5),
        ("CIRCLE 10 60 0.5", (10.2, 60.0), 0.0),
        ("POINT 10 0", (10.0, 0.25), 0.25),
        ("POLYGON 10 0 11 0 11 1 10 1 POLYGON 20 0 21 0 21 1 20 1", (20.5, 0.5), 0.0),
        ("", (10.0, 1.0), 1.0),
    ],
)
def test_distances_are_to_the_edge_of_a_footprint(
    region: str, place: tuple[float, float], degrees: float
) -> None:
    row = {"s_region": region, "s_ra": 10.0, "s_dec": 0.0}
    assert distance(row, *place) == pytest.approx(degrees, abs=2e-3)


def test_distances_are_as_recorded(recordings: Path) -> None:
    answer = json.loads((recordings / "astro/mast-portal/caom.json").read_text())
    for row in answer["data"]:
        away = distance(row, 23.34086, 60.658)  # M103, which was asked for
        assert away is not None
        assert away * 3600 == pytest.approx(row["distance"], abs=0.3)


def test_what_looks_nowhere_is_at_no_distance() -> None:
    assert distance({"s_region": None, "s_ra": None, "s_dec": 1.0}, 0, 0) is None


def test_products_come_in_the_order_of_their_observations(session: requests.Session) -> None:
    answer = invoke(session, "Mast.Caom.Products", {"obsid": "24919903,24919901"})
    rows = answer["data"]
    assert [row["obsID"] for row in rows] == ["24919901"] * 15 + ["24919903"] * 15
    wanted = [row for row in rows if row["calib_level"] == 2 and row["productType"] == "SCIENCE"]
    assert [(row["productFilename"], row["size"]) for row in wanted] == [
        (f"o587010{number}_{suffix}.fits", size)
        for number in ("10", "30")
        for suffix, size in (("x1d", 77760), ("x2d", 14474880), ("flt", 10535040))
    ]
    made = [row for row in rows if "(generated for the sandbox)" in row["description"]]
    assert len(made) == 24
    assert not [row for row in made if row in wanted]


def test_a_product_may_belong_to_two_observations(session: requests.Session) -> None:
    rows = invoke(session, "Mast.Caom.Products", {"obsid": "69000001,69000002"})["data"]
    shared = [row for row in rows if row["productFilename"] == "sbx001_shared.fits"]
    assert [(row["obsID"], row["parent_obsid"], row["obs_id"]) for row in shared] == [
        ("69000001", "69000001", "sbx001010"),
        ("69000002", "69000001", "sbx001010"),
    ]


def test_target_pixels_are_packed(session: requests.Session) -> None:
    (star,) = invoke(session, "Mast.Caom.Filtered", {"filters": [where("target_name", "ktwo206096602")]})[
        "data"
    ]
    rows = invoke(session, "Mast.Caom.Products", {"obsid": star["obsid"]})["data"]
    assert [row["productSubGroupDescription"] for row in rows] == ["LLC", "LPD-TARG"]
    packed = session.get(FILE, params={"uri": rows[1]["dataURI"]}, timeout=5).content
    assert len(packed) == rows[1]["size"]
    assert fits.read_header(gzip.decompress(packed))["KEPLERID"] == "206096602"


def test_an_unknown_observation_has_no_products(session: requests.Session) -> None:
    assert invoke(session, "Mast.Caom.Products", {"obsid": "1"})["data"] == []


def test_a_file_is_served_whole_and_in_parts(session: requests.Session) -> None:
    head = session.head(FILE, params={"uri": OPEN}, timeout=5)
    assert (head.status_code, head.headers["Content-Length"]) == (200, "57600")
    whole = session.get(FILE, params={"uri": OPEN}, timeout=5)
    assert len(whole.content) == 57600
    assert "sbx001010_flt.fits" in whole.headers["Content-Disposition"]
    part = {"Range": "bytes=57000-", "If-Range": whole.headers["ETag"]}
    rest = session.get(FILE, params={"uri": OPEN}, headers=part, timeout=5)
    assert (rest.status_code, rest.content) == (206, whole.content[57000:])
    beyond = session.get(FILE, params={"uri": OPEN}, headers={"Range": "bytes=57600-"}, timeout=5)
    assert beyond.status_code == 416
    other = session.get(FILE, params={"uri": OPEN}, headers={**part, "If-Range": '"x"'}, timeout=5)
    assert (other.status_code, other.content) == (200, whole.content)


@pytest.mark.parametrize("suffix", ["", "%20"])
def test_what_is_not_there_is_404(session: requests.Session, suffix: str) -> None:
    for uri in ("mast:HST/product/sbx001010_gone.fits", f"{OPEN}{suffix}x"):
        assert session.get(f"{FILE}?uri={uri}", timeout=5).status_code == 404
    assert session.get(f"{HOST}/nothing", timeout=5).status_code == 404
    assert session.get(f"{FILE}?uri={OPEN}&uri={OPEN}", timeout=5).status_code == 400


def test_a_row_may_be_wrong_about_its_file(session: requests.Session) -> None:
    (row,) = [
        row
        for row in invoke(session, "Mast.Caom.Products", {"obsid": "69000001"})["data"]
        if row["productSubGroupDescription"] == "WRONGSIZE"
    ]
    assert len(session.get(FILE, params={"uri": row["dataURI"]}, timeout=5).content) == row["size"] - 2880


def test_a_file_may_come_without_its_length(session: requests.Session) -> None:
    uri = {"uri": "mast:HST/product/sbx001010_nolength.fits"}
    for reply in (session.head(FILE, params=uri, timeout=5), session.get(FILE, params=uri, timeout=5)):
        assert reply.status_code == 200
        assert "Content-Length" not in reply.headers
    assert len(reply.content) == 57600


def test_exclusive_files_are_for_who_may_see_them(box: Sandbox, session: requests.Session) -> None:
    def status(**headers: str) -> int:
        return session.get(FILE, params={"uri": SECRET}, headers=headers, timeout=5).status_code

    token = box.token(realm=MAST)
    assert status() == 401
    assert status(Authorization=f"token {token}") == 200
    assert status(Cookie=f"mast_token={token}") == 200
    assert status(Authorization=f"Bearer {token}") == 401
    assert status(Authorization="token nobody") == 401
    assert status(Authorization=f"token {box.accounts.issue(MAST, 'access', NEWCOMER, 60)}") == 401
    assert status(Authorization=f"token {box.token(realm=MAST, lifetime=0)}") == 401
    assert status(Authorization=f"token {box.token()}") == 401
    assert session.get(FILE, params={"uri": OPEN}, timeout=5).status_code == 200


def test_who_one_is(box: Sandbox, session: requests.Session) -> None:
    def who(**headers: str) -> dict[str, Any]:
        answer: dict[str, Any] = session.get(f"{HOST}/whoami", headers=headers, timeout=5).json()
        return answer

    token = box.token(realm=MAST)
    assert who()["anon"] is True
    for headers in ({"Cookie": f"mast_token={token}"}, {"Authorization": f"token {token}"}):
        known = who(**headers)
        assert (known["anon"], known["attrib"]["display_name"]) == (False, "sandbox-user")
    box.accounts.expire_all()
    assert who(Authorization=f"token {token}")["anon"] is True


def test_where_the_cloud_has_files(session: requests.Session) -> None:
    uris = [
        "mast:HST/product/o58701010_x1d.fits",
        "mast:HST/product/sbx001010_lost.fits",
        "mast:HST/product/sbx001010_onprem.fits",
        "mast:HST/product/nothing.fits",
    ]
    answer = session.get(LOOK_UP, params={"uri": uris}, timeout=5).json()
    assert [answer[uri]["status_code"] for uri in uris] == [200, 200, 404, 404]
    paths = [answer[uri]["path"] for uri in uris]
    assert paths == [
        "/hst/public/o587/o58701010/o58701010_x1d.fits",
        "/hst/public/sbx0/sbx001010/sbx001010_lost.fits",
        None,
        None,
    ]
    bucket = "https://stpubdata.s3.amazonaws.com"
    assert [session.head(f"{bucket}{path}", timeout=5).status_code for path in paths[:2]] == [200, 404]
    copy = session.get(f"{bucket}{paths[0]}", timeout=5).content
    assert copy == session.get(FILE, params={"uri": uris[0]}, timeout=5).content
    assert session.get(LOOK_UP, params={"uri": uris * 60}, timeout=5).status_code == 414


def test_products_of_others_lie_under_another_path(session: requests.Session) -> None:
    name = "hlsp_k2sff_k2_lightcurve_206096602-c03_kepler_v1_llc.fits"
    uri = f"mast:HLSP/k2sff/c03/206000000/96602/{name}"
    path = session.get(LOOK_UP, params={"uri": uri}, timeout=5).json()[uri]["path"]
    key = path.replace("/hlsp_local/public/", "mast/")
    assert session.head(f"https://stpubdata.s3.amazonaws.com/{key}", timeout=5).status_code == 200


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_names_have_places(session: requests.Session, scheme: str) -> None:
    def resolve(*asked: str, **more: str) -> list[tuple[str, str, float, float]]:
        params = {"name": list(asked), "outputFormat": "json", **more}
        answer = session.get(f"{scheme}{RESOLVER}", params=params, timeout=5).json()
        return [
            (one["searchString"], one["resolver"], one["ra"], one["decl"])
            for one in answer["resolvedCoordinate"]
        ]

    assert resolve("K2-62") == [("k2-62", "SIMBAD", 333.6, -12.2)]
    assert [name for name, *_ in resolve("EPIC 206096602", "TON1480", "no such star")] == [
        "epic 206096602",
        "ton1480",
    ]
    assert resolve("K2-62", resolver="NED") == []
    assert resolve("K2-62", resolveAll="True") == resolve("K2-62", resolver="SIMBAD")
    assert session.get(f"{scheme}://mastresolver.stsci.edu/", timeout=5).status_code == 404


def test_the_script_downloads_what_it_lists(box: Sandbox, session: requests.Session, tmp_path: Path) -> None:
    bash, curl = shutil.which("bash"), shutil.which("curl")
    if not bash or not curl:
        pytest.skip("no bash or no curl here")
    uris = ["mast:HST/product/sbx001010_flt.fits", "mast:K2/o'dd; name.fits"]
    url = f"{HOST}/api/v0.1/Download/bundle.sh"
    script = session.post(url, data=[("uri", uri) for uri in uris], timeout=5)
    assert script.text == session.get(url, params={"uri": uris}, timeout=5).text
    done = subprocess.run(
        [bash],
        input=script.text,
        text=True,
        cwd=tmp_path,
        env=box.environment(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 22  # curl's, of what is not there
    found = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert found == [Path("mastDownload/HST/sbx001010/sbx001010_flt.fits")]
    assert session.put(url, timeout=5).status_code == 405


@pytest.fixture
def recorded(recordings: Path, connect: Callable[[Sandbox], requests.Session]) -> Iterator[requests.Session]:
    with Sandbox(catalogue=recordings) as box, connect(box) as session:
        yield session


def test_recorded_rows_keep_their_columns(recordings: Path, recorded: requests.Session) -> None:
    portal = recordings / "astro/mast-portal"
    real = json.loads((portal / "caom.json").read_text())
    wanted = {field["name"] for field in real["fields"]} - {"distance", "_selected_"}
    everything = where("obs_collection", freeText="%")
    answer = invoke(recorded, "Mast.Caom.Filtered", {"columns": "*", "filters": [everything]})
    assert wanted <= {field["name"] for field in answer["fields"]}
    served = {str(row["obsid"]): row for row in answer["data"]}
    for row in real["data"]:
        assert {name: served[str(row["obsid"])][name] for name in wanted} == {
            name: row[name] for name in wanted
        }
    products = json.loads((portal / "products.json").read_text())["data"]
    found = invoke(recorded, "Mast.Caom.Products", {"obsid": str(products[0]["obsID"])})["data"]
    assert [
        {name: row[name] for name in real if name != "_selected_"}
        for row, real in zip(found, products, strict=True)
    ] == [{name: value for name, value in row.items() if name != "_selected_"} for row in products]


def test_a_recorded_table_has_all_its_products(recorded: requests.Session) -> None:
    rows = invoke(recorded, "Mast.Caom.Products", {"obsid": "2003584534,2003584537"})["data"]
    assert (len(rows), sum(row["size"] for row in rows)) == (44, 160070400)
    one = recorded.head(FILE, params={"uri": rows[0]["dataURI"]}, timeout=5)
    assert one.headers["Content-Length"] == str(rows[0]["size"])


def test_recorded_files_are_served_as_products_of_their_proposals(
    recordings: Path, recorded: requests.Session
) -> None:
    folder = recordings / "astro/hst-stis-fits"
    proposals = where("proposal_id", "13346", "13693", "13760", "14086", "14143", "14341", "14493")
    answer = invoke(recorded, "Mast.Caom.Filtered", {"columns": "*", "filters": [proposals]})
    obsids = ",".join(row["obsid"] for row in answer["data"])
    rows = invoke(recorded, "Mast.Caom.Products", {"obsid": obsids})["data"]
    assert sorted(row["productFilename"] for row in rows) == sorted(path.name for path in folder.iterdir())
    for row in rows:
        real = (folder / row["productFilename"]).read_bytes()
        assert row["size"] == len(real)
        assert recorded.get(FILE, params={"uri": row["dataURI"]}, timeout=5).content == real


def test_the_recorded_proposal_has_the_products_of_the_built_in_one(recorded: requests.Session) -> None:
    asked = where("proposal_id", "7291")
    answer = invoke(recorded, "Mast.Caom.Filtered", {"columns": "*", "filters": [asked]})
    assert len(answer["data"]) == 5
    assert len(invoke(recorded, "Mast.Caom.Products", {"obsid": "24919901,24919903"})["data"]) == 30


def test_recorded_light_curves_are_observations(recordings: Path, recorded: requests.Session) -> None:
    asked = where("dataproduct_type", "timeseries")
    found = invoke(recorded, "Mast.Caom.Filtered", {"columns": "*", "filters": [asked]})["data"]
    assert sorted((row["obs_collection"], row["target_name"]) for row in found) == [
        ("HLSP", "201367065"),
        ("HLSP", "25155310"),
        ("K2", "ktwo201907706"),
        ("Kepler", "kplr010666592"),
    ]
    for row in found:
        (product,) = invoke(recorded, "Mast.Caom.Products", {"obsid": row["obsid"]})["data"]
        real = recordings / "astro/lightcurves-fits" / product["productFilename"]
        assert recorded.get(FILE, params={"uri": product["dataURI"]}, timeout=5).content == real.read_bytes()
    known = recorded.get(f"https{RESOLVER}", params={"name": "M101"}, timeout=5).json()
    assert known["resolvedCoordinate"][0]["searchString"] == "m101"
