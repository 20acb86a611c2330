"""The archives' own clients, unmodified, in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skystage.sandbox import Sandbox
from skystage.sandbox.accounts import MAST

SEARCH = """
import json, sys, asf_search as asf
asf.REPORT_ERRORS = False
found = asf.search(**json.loads(sys.argv[1]))
print(json.dumps([[p.properties["sceneName"], p.properties["bytes"], p.properties["md5sum"]] for p in found]))
"""
DOWNLOAD = """
import hashlib, json, os, sys, asf_search as asf
session = asf.ASFSession().auth_with_creds("sandbox-user", "sandbox-password")
(found,) = asf.granule_search([sys.argv[1]], opts=asf.ASFSearchOptions(processingLevel="SLC"))
found.download(path=sys.argv[2], session=session)
with open(os.path.join(sys.argv[2], sys.argv[1] + ".zip"), "rb") as file:
    print(json.dumps(hashlib.md5(file.read()).hexdigest() == found.properties["md5sum"]))
"""
TOKEN = """
import json, sys, asf_search as asf
asf.ASFSession().auth_with_token(sys.argv[1])
print(json.dumps(True))
"""
ORBIT = """
import json, os, sys
from datetime import datetime
from eof.download import download_eofs
paths = download_eofs([datetime(2020, 1, 2, 13, 34, 28)], ["S1A"], save_dir=sys.argv[1],
                      force_asf=sys.argv[2] == "asf", netrc_file=os.environ["NETRC"])
print(json.dumps([path.name for path in paths]))
"""
BUCKET = """
import json, boto3
from botocore import UNSIGNED
from botocore.config import Config
s3 = boto3.client("s3", region_name="us-west-2", config=Config(signature_version=UNSIGNED))
pages = s3.get_paginator("list_objects_v2").paginate(Bucket="s1-orbits", PaginationConfig={"PageSize": 50})
objects = [entry for page in pages for entry in page["Contents"]]
body = s3.get_object(Bucket="s1-orbits", Key=objects[0]["Key"], Range="bytes=0-4")["Body"].read()
head = s3.head_object(Bucket="s1-orbits", Key=objects[0]["Key"])
print(json.dumps([len(objects), body.decode(), head["ContentLength"] == objects[0]["Size"]]))
"""

STAC = """
import json
from pystac_client import Client
client = Client.open("https://stac.dataspace.copernicus.eu/v1")
search = client.search(
    collections=["sentinel-2-l2a"], bbox=[5, 50.8, 5.1, 50.9], datetime="2018-06", limit=3,
    query={"eo:cloud_cover": {"lt": 20}}, sortby="-properties.datetime",
)
pages = list(search.pages())
items = [item for page in pages for item in page]
text = client.search(
    collections=["sentinel-2-l2a"], bbox=[5, 50.8, 5.1, 50.9], datetime="2018-06", method="GET",
    filter="eo:cloud_cover < 20", filter_lang="cql2-text", limit=3,
)
item = client.get_collection("sentinel-2-l2a").get_item(items[0].id)
print(json.dumps([
    [item.id for item in items], len(pages), [item.id for item in text.items()], sorted(item.assets),
    [one.id for one in client.get_collections()], sorted({item.properties["grid:code"] for item in items}),
]))
"""

# The session of the USGS's tutorial, but for the tables that it prints with.
KAGUYA = """
import asyncio, json, aiohttp, pvl
from pystac_client import Client
catalog = Client.open("https://stac.astrogeology.usgs.gov/api/")
names = [f"kaguya_terrain_camera_{kind}_uncontrolled_observations"
         for kind in ("stereoscopic", "spsupport", "monoscopic")]
results = [catalog.search(collections=[name], bbox=[3, 4, 5, 6], max_items=200) for name in names]
items = [item for result in results for item in result.item_collection_as_dict()["features"]]

async def get_incidence(session, url):
    async with session.get(url) as response:
        return pvl.loads(await response.text())["Caminfo"]["Geometry"]["IncidenceAngle"]

async def get_all():
    async with aiohttp.ClientSession(trust_env=True) as session:
        return await asyncio.gather(
            *(get_incidence(session, item["assets"]["caminfo_pvl"]["href"]) for item in items)
        )

angles = asyncio.run(get_all())
paths = []
for item in items:
    old_url = item["assets"]["image"]["href"]
    paths.append(f"s3_noauth:/{old_url.split('/')[2].split('.')[0]}/{'/'.join(old_url.split('/')[3:])}")
print(json.dumps([repr(catalog), [item["id"] for item in items], angles, paths[-1],
                  [result.matched() for result in results]]))
"""

BY_PROPOSAL = """
import json, sys
from astroquery.mast import Observations
found = Observations.query_criteria(proposal_id=7291)
products = Observations.get_product_list(found[0:2])
kept = Observations.filter_products(products, calib_level=[2], productType="SCIENCE")
manifests = [Observations.download_products(kept, verbose=False) for _ in range(2)]
script = Observations.download_products(kept, curl_flag=True)
before = Observations.session_info()["anon"]
Observations.login(sys.argv[1])
inside = Observations.session_info()
Observations.logout()
after = Observations.session_info()["anon"]
print(json.dumps({
    "observations": [len(found), int(Observations.query_criteria_count(proposal_id=7291))],
    "columns": found.colnames,
    "first": [found["obsid"][0], found["proposal_pi"][0], str(found["em_min"][2])],
    "products": [len(products), products.colnames[-2:]],
    "levels": [int(level) for level in products["calib_level"]],
    "kept": [
        [row["obsID"], row["dataproduct_type"], row["productFilename"], int(row["size"])] for row in kept
    ],
    "total": "{:.2f} MB".format(sum(kept["size"]) / 10**6),
    "manifests": [[[row["Local Path"], row["Status"]] for row in one] for one in manifests],
    "script": [script["Local Path"][0], script["Status"][0]],
    "session": [before, inside["anon"], inside["attrib"]["display_name"], after],
    "missions": Observations.list_missions(),
}))
"""
IN_THE_CLOUD = """
import json
from astroquery.mast import Observations
found = Observations.query_criteria(
    obs_collection=["K2"], objectname="K2-62", filters="KEPLER", provenance_name="K2"
)
products = Observations.get_product_list(found)
kept = Observations.filter_products(products, productSubGroupDescription="LLC")
Observations.enable_cloud_dataset()
uris = Observations.get_cloud_uris(kept)
exact = Observations.query_criteria(obs_collection="K2", target_name="ktwo206096602")
odd = Observations.get_product_list(Observations.query_criteria(proposal_id="99001"))
cloud = Observations.get_cloud_uris(odd, verbose=False)
manifest = Observations.download_products(odd, verbose=False)
print(json.dumps([uris, len(exact), cloud, [str(row["Status"]) for row in manifest]]))
"""
BY_MISSION = """
import json
from astroquery.mast import MastMissions
hubble = MastMissions(mission="hst")
found = hubble.query_criteria(sci_pep_id=7291, sci_actual_duration=">100")
products = hubble.get_product_list(found)
kept = hubble.filter_products(products, file_suffix="X1D", extension="fits")
manifest = hubble.download_products(kept, verbose=False)
near = hubble.query_object("TON1480", radius=3)
statuses = manifest["Status"].tolist()
print(json.dumps([found["sci_data_set_name"].tolist(), len(products), len(near), statuses]))
"""

CAMPAIGN = (
    "206000000/89000/ktwo206089508",
    "206000000/92000/ktwo206092110",
    "206000000/92000/ktwo206092615",
    "206000000/93000/ktwo206093036",
    "206000000/93000/ktwo206093540",
    "206000000/94000/ktwo206094039",
    "206000000/94000/ktwo206094098",
    "206000000/94000/ktwo206094342",
    "206000000/94000/ktwo206094605",
    "206000000/95000/ktwo206095133",
    "206000000/96000/ktwo206096022",
    "206000000/96000/ktwo206096602",
    "206000000/96000/ktwo206096692",
    "206000000/97000/ktwo206097453",
    "206000000/98000/ktwo206098619",
    "206000000/98000/ktwo206098990",
    "206000000/99000/ktwo206099456",
    "206000000/99000/ktwo206099582",
    "206000000/99000/ktwo206099965",
    "206100000/00000/ktwo206100060",
    "206100000/02000/ktwo206102898",
    "206100000/03000/ktwo206103033",
    "212200000/35000/ktwo212235329",
)


def run(box: Sandbox, code: str, *arguments: str, cwd: Path | None = None, **environ: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**box.environment(), **environ},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def hosts(box: Sandbox) -> list[str]:
    seen = [entry["host"] for entry in box.requests()]
    assert "search-error-report.asf.alaska.edu" not in seen
    return list(dict.fromkeys(seen))


def test_asf_search_finds_a_stack(box: Sandbox) -> None:
    area = "POLYGON((-113.05 37.74,-112.68 37.74,-112.68 38.00,-113.05 38.00,-113.05 37.74))"
    query = {
        "dataset": ["SENTINEL-1"],
        "processingLevel": ["SLC"],
        "relativeOrbit": [100],
        "frame": [466],
        "intersectsWith": area,
        "start": "2020-01-01",
        "end": "2020-12-31",
    }
    found = run(box, SEARCH, json.dumps(query))
    assert len(found) == 30
    assert hosts(box) == ["cmr.earthdata.nasa.gov"]


def test_asf_search_tells_polarizations_apart(box: Sandbox) -> None:
    query: dict[str, Any] = {"dataset": ["SENTINEL-1"], "processingLevel": ["SLC"], "relativeOrbit": [35]}
    counts = [
        len(run(box, SEARCH, json.dumps({**query, "polarization": [text]}))) for text in ("VV", "VV+VH")
    ]
    assert counts == [2, 13]


def test_asf_search_pages_through_recorded_granules(recordings: Path) -> None:
    query = {
        "dataset": ["SENTINEL-1"],
        "processingLevel": ["SLC"],
        "relativeOrbit": [35],
        "flightDirection": "ASCENDING",
    }
    with Sandbox(catalogue=recordings) as box:
        found = run(box, SEARCH, json.dumps(query))
        sizes = {content.name: content.size for content in box._world.catalogue.files.values()}
        assert hosts(box) == ["cmr.earthdata.nasa.gov"]
    assert len({name for name, _, _ in found}) == 342
    assert all(sizes[f"{name}.zip"] == size for name, size, _ in found)


def test_asf_search_downloads_through_the_whole_chain(box: Sandbox, scene: str, tmp_path: Path) -> None:
    assert run(box, DOWNLOAD, scene, str(tmp_path)) is True
    assert hosts(box) == [
        "urs.earthdata.nasa.gov",
        "cumulus.asf.alaska.edu",
        "cmr.earthdata.nasa.gov",
        "datapool.asf.alaska.edu",
        "sentinel1.asf.alaska.edu",
        "dy4owt9f80bz7.cloudfront.net",
    ]
    at_the_cdn = [entry for entry in box.requests() if "cloudfront" in entry["host"]]
    assert all("authorization" not in entry["headers"] for entry in at_the_cdn)


def test_asf_search_accepts_a_token(box: Sandbox) -> None:
    assert run(box, TOKEN, box.token()) is True


@pytest.mark.parametrize("source", ["asf", "cdse"])
def test_sentineleof_fetches_an_orbit_from_either_source(box: Sandbox, tmp_path: Path, source: str) -> None:
    (name,) = run(box, ORBIT, str(tmp_path), source, XDG_CACHE_HOME=str(tmp_path))
    assert name == "S1A_OPER_AUX_POEORB_OPOD_20200123T120722_V20200101T225942_20200103T005942.EOF"
    content = box._world.catalogue.orbits[f"AUX_POEORB/{name}"].content
    assert (tmp_path / name).read_bytes() == content.read(0, content.size)
    assert ("zipper.dataspace.copernicus.eu" in hosts(box)) == (source == "cdse")


def test_sentineleof_gets_the_real_bytes_of_a_recorded_orbit(recordings: Path, tmp_path: Path) -> None:
    code = ORBIT.replace("datetime(2020, 1, 2, 13, 34, 28)", "datetime(2018, 4, 20, 4, 30, 26)")
    with Sandbox(catalogue=recordings) as box:
        (name,) = run(box, code, str(tmp_path), "cdse", XDG_CACHE_HOME=str(tmp_path))
        assert box._world.catalogue.orbits[f"AUX_POEORB/{name}"].product is not None
    assert (tmp_path / name).stat().st_size == 4409493


def test_boto3_lists_and_reads_the_bucket(box: Sandbox) -> None:
    assert run(box, BUCKET) == [137, "<?xml", True]


def test_pystac_client_searches_sentinel_2(box: Sandbox) -> None:
    found, pages, again, assets, collections, tiles = run(box, STAC)
    assert found == again
    assert len(found) == len(set(found)) > 5
    assert pages == -(-len(found) // 3)
    assert {"SCL_20m", "B04_10m", "Product"} <= set(assets)
    assert collections == ["sentinel-2-l2a", "sentinel-2-l1c"]
    assert tiles == ["MGRS-31UFS"]
    assert hosts(box) == ["stac.dataspace.copernicus.eu"]


def test_the_kaguya_tutorial_prints_what_it_printed(box: Sandbox) -> None:
    client, names, angles, path, matched = run(box, KAGUYA)
    assert client == "<Client id=usgs-stac-api>"
    assert names[:5] == [
        "TC1W2B0_01_05187N056E0034",
        "TC2W2B0_01_05187N061E0034",
        "TC1W2B0_01_05187N043E0034",
        "TC2W2B0_01_05187N047E0034",
        "TC2W2B0_01_05187N034E0035",
    ]
    assert names[65:] == [
        "TC1S2B0_01_05522N064E0040",
        "TC1S2B0_01_05522N050E0040",
        "TC1S2B0_01_05522N037E0040",
        "TC1S2B0_01_05521N057E0050",
        "TC1S2B0_01_05521N043E0050",
    ]
    assert len(names) == len(angles) == sum(matched) == 70
    assert sum(angle <= 45 for angle in angles) not in (0, 70), "a filter has something to keep and to drop"
    last = names[-1]
    folder = "moon/kaguya/terrain_camera/monoscopic/uncontrolled"
    assert path == f"s3_noauth:/astrogeo-ard/{folder}/{last}/{last}.tif"
    # Ten at a time, in order; and each search ends with a page that has nothing.
    assert [entry["method"] for entry in box.requests() if entry["path"].endswith("/search")].count(
        "POST"
    ) >= 10
    assert {entry["status"] for entry in box.requests()} == {200}


def test_boto3_lists_a_bucket_of_a_thousand(box: Sandbox) -> None:
    code = BUCKET.replace("s1-orbits", "astrogeo-ard").replace(".read().decode()", ".read().hex()")
    count, _, sized = run(box, code)
    assert (count, sized) == (1098, True)


def test_astroquery_stages_a_proposal_as_the_tutorial_prints_it(box: Sandbox, tmp_path: Path) -> None:
    token = box.token(realm=MAST)
    printed = run(box, BY_PROPOSAL, token, cwd=tmp_path, ASTROPY_CACHE_DIR=str(tmp_path))
    assert printed["observations"] == [5, 5]
    assert (printed["columns"][0], printed["columns"][-1], len(printed["columns"])) == (
        "dataproduct_type",
        "objID",
        33,
    )
    assert printed["first"] == ["24919901", "Bregman, Joel N.", "nan"]
    assert printed["products"] == [30, ["dataRights", "calib_level"]]
    # What the tutorial shows of the column: its first six rows, and five of its last.
    assert printed["levels"][:6] == [1] * 6
    assert printed["levels"][-6:-1] == [1, 2, 1, 2, 2]
    sizes = {"x1d": 77760, "x2d": 14474880, "flt": 10535040}
    assert printed["kept"] == [
        [obsid, "spectrum", f"{stem}_{suffix}.fits", size]
        for obsid, stem in (("24919901", "o58701010"), ("24919903", "o58701030"))
        for suffix, size in sizes.items()
    ]
    assert printed["total"] == "50.18 MB"
    paths = [f"./mastDownload/HST/{name[:9]}/{name}" for _, _, name, _ in printed["kept"]]
    assert printed["manifests"] == [[[path, "COMPLETE"] for path in paths]] * 2
    assert [(tmp_path / path).stat().st_size for path in paths] == [*sizes.values()] * 2
    # The second time it asked only how long the files are.
    asked = [entry["method"] for entry in box.requests() if entry["path"].endswith("Download/file")]
    assert asked == ["HEAD", "GET"] * 6 + ["HEAD"] * 6
    path, status = printed["script"]
    assert status == "COMPLETE"
    assert (tmp_path / path).read_text().count("curl --fail") == 6
    assert printed["session"] == [True, False, "sandbox-user", True]
    assert printed["missions"] == ["HLSP", "HST", "JWST", "K2", "Kepler", "TESS"]


def test_astroquery_finds_the_light_curves_in_the_cloud_as_the_tutorial_prints_them(
    box: Sandbox, tmp_path: Path
) -> None:
    uris, exact, odd, statuses = run(box, IN_THE_CLOUD, cwd=tmp_path, ASTROPY_CACHE_DIR=str(tmp_path))
    assert uris == [f"s3://stpubdata/k2/public/lightcurves/c3/{one}-c03_llc.fits" for one in CAMPAIGN]
    assert exact == 1
    # Of the ten files that go wrong in some way, three are in the cloud nowhere, and two only by the look-up.
    stem = "s3://stpubdata/hst/public/sbx0/sbx0010"
    assert sorted(odd) == [
        f"{stem}10/sbx001010_flt.fits",
        f"{stem}10/sbx001010_nolength.fits",
        f"{stem}10/sbx001010_wrongsize.fits",
        f"{stem}10/sbx001_shared.fits",
        f"{stem}20/sbx001020_flt.fits",
    ]
    assert sorted(statuses) == ["COMPLETE"] * 7 + ["ERROR"] * 3
    assert hosts(box) == ["mast.stsci.edu", "mastresolver.stsci.edu", "stpubdata.s3.amazonaws.com"]


def test_astroquery_searches_by_mission(box: Sandbox, tmp_path: Path) -> None:
    found, products, near, statuses = run(box, BY_MISSION, cwd=tmp_path, ASTROPY_CACHE_DIR=str(tmp_path))
    assert found == ["O58701010", "O58701020", "O58701030"]
    assert (products, near, statuses) == (45, 5, ["COMPLETE"] * 3)
