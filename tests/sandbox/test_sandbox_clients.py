"""The archives' own clients, unmodified, in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skystage.sandbox import Sandbox

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


def run(box: Sandbox, code: str, *arguments: str, **environ: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**box.environment(), **environ},
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
