"""Recorded products: served as they were recorded, with sizes and checksums of their stand-ins."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from skystage.sandbox import Sandbox
from skystage.sandbox.accounts import CDSE
from skystage.sandbox.catalogue import load
from skystage.sandbox.copernicus import products

if TYPE_CHECKING:
    import requests

PRODUCTS = "https://catalogue.dataspace.copernicus.eu/odata/v1/Products"
TILE = (
    "Attributes/OData.CSC.StringAttribute/any(att:att/Name eq 'tileId' and "
    "att/OData.CSC.StringAttribute/Value eq '31UFS')"
)
CLOUDS = (
    "Attributes/OData.CSC.DoubleAttribute/any(att:att/Name eq 'cloudCover' and "
    "att/OData.CSC.DoubleAttribute/Value le 10.00)"
)
NAME = "S2B_MSIL2A_20180608T110029_N0210_R094_T31UES_20180608T140708.SAFE"
RING = [[3.0, 51.4], [4.5, 51.4], [4.5, 50.5], [3.0, 50.5], [3.0, 51.4]]


def feature(name: str, number: int, size: int) -> dict[str, Any]:
    """A product in the form of the former OpenSearch."""
    return {
        "id": f"00000000-0000-0000-0000-{number:012d}",
        "geometry": {"type": "Polygon", "coordinates": [RING]},
        "properties": {
            "collection": "SENTINEL-2",
            "status": "ONLINE",
            "productIdentifier": f"/eodata/Sentinel-2/MSI/L2A/2018/06/08/{name}",
            "title": name,
            "startDate": "2018-06-08T11:00:29.024Z",
            "completionDate": "2018-06-08T11:00:29.024Z",
            "productType": "S2MSI2A",
            "processingLevel": "S2MSI2A",
            "platform": "S2B",
            "instrument": "MSI",
            "sensorMode": None,
            "orbitNumber": 6555,
            "orbitDirection": "DESCENDING",
            "thumbnail": None,
            "published": "2018-06-08T16:07:48.309Z",
            "updated": "2018-06-08T16:07:48.309Z",
            "cloudCover": 12.5,
            "relativeOrbitNumber": 94,
            "processingBaseline": 2.1,
            "missionTakeId": "GS2B_20180608T110029_006555_N02.10",
            "services": {"download": {"size": size}},
        },
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shelf = tmp_path / "recorded" / "cdse_odata"
    shelf.mkdir(parents=True)
    other = NAME.replace("_20180608T140708", "_20180608T150708")
    (shelf / "search.json").write_text(json.dumps([feature(NAME, 1, 900), feature(other, 2, 0)]))
    (shelf / "attributes.json").write_text(json.dumps([{"Name": "productType", "ValueType": "String"}]))
    return shelf.parent


def test_a_former_record_becomes_odata(folder: Path) -> None:
    one, other = products(load(folder))
    attributes = {name: (kind, value) for kind, name, value in one.attributes}
    assert attributes["tileId"] == ("String", "31UES")
    assert attributes["cloudCover"] == ("Double", 12.5)
    assert attributes["processorVersion"] == ("String", "02.10")
    assert attributes["platformSerialIdentifier"] == ("String", "B")
    assert attributes["processingDate"] == ("DateTimeOffset", "2018-06-08T14:07:08.000000Z")
    assert "operationalMode" not in attributes
    assert one.stamps["ContentDate/Start"] == "2018-06-08T11:00:29.024000Z"
    assert (one.measured, other.measured) == (True, False)
    assert one.quicklook is None
    assert [list(point) for point in one.footprint or ()] == RING


def test_recorded_stand_ins_are_products(folder: Path) -> None:
    one, _ = products(load(folder))
    with zipfile.ZipFile(io.BytesIO(one.content.read(0, one.content.size))) as file:
        listed = set(file.namelist())
        assert file.testzip() is None
    assert listed == {f"{NAME}/{path}" for path in one.files}
    assert any(path.endswith("_SCL_20m.jp2") for path in listed)


def read(session: requests.Session, **params: str) -> dict[str, Any]:
    reply = session.get(PRODUCTS, params={f"${key}": value for key, value in params.items()}, timeout=120)
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


@pytest.fixture(scope="module")
def recorded(
    recordings: Path, connect: Callable[[Sandbox], requests.Session]
) -> Iterator[tuple[Sandbox, requests.Session]]:
    with Sandbox(recordings) as box, connect(box) as session:
        yield box, session


def original(recordings: Path) -> list[dict[str, Any]]:
    (path,) = (recordings / "earth" / "cdse_odata").glob("*31UFS*.json.gz")
    found: list[dict[str, Any]] = json.loads(gzip.decompress(path.read_bytes()))
    return found


@pytest.mark.parametrize("top", [1000, 37])
def test_clouds_find_those_that_the_records_say(
    recordings: Path, recorded: tuple[Sandbox, requests.Session], top: int
) -> None:
    wanted = {one["id"] for one in original(recordings) if one["properties"]["cloudCover"] <= 10}
    _, session = recorded
    page = read(session, filter=f"{TILE} and {CLOUDS}", orderby="ContentDate/Start asc", top=str(top))
    seen = [record["Id"] for record in page["value"]]
    while "@odata.nextLink" in page:
        page = session.get(page["@odata.nextLink"], timeout=120).json()
        seen += [record["Id"] for record in page["value"]]
    assert len(seen) == len(set(seen))
    assert set(seen) == wanted
    assert len(wanted) > 100


def test_sizes_of_nothing_stay_as_recorded_and_others_are_those_of_the_stand_ins(
    recordings: Path, recorded: tuple[Sandbox, requests.Session]
) -> None:
    box, session = recorded
    sizes = {one["id"]: one["properties"]["services"]["download"]["size"] for one in original(recordings)}
    page = read(session, filter=f"{TILE} and {CLOUDS}", orderby="ContentDate/Start asc", top="40")["value"]
    measured = [record for record in page if record["ContentLength"]]
    assert 0 < len(measured) < len(page)
    assert all(bool(record["ContentLength"]) == bool(sizes[record["Id"]]) for record in page)
    assert all(bool(record["Checksum"]) == bool(record["ContentLength"]) for record in page)
    record = measured[0]
    url = f"https://download.dataspace.copernicus.eu/odata/v1/Products({record['Id']})/$value"
    headers = {"Authorization": f"Bearer {box.token(realm=CDSE)}"}
    body = session.get(url, headers=headers, timeout=60).content
    assert len(body) == record["ContentLength"]
    md5 = hashlib.md5(body).hexdigest()  # noqa: S324 - as CDSE gives it
    assert record["Checksum"][0]["Value"] == md5


def test_recorded_odata_keeps_all_but_sizes_and_checksums(
    recordings: Path, recorded: tuple[Sandbox, requests.Session]
) -> None:
    _, session = recorded
    folder = recordings / "earth" / "cdse_odata"
    for name, expand in (
        ("eodag_cop_dataspace_search_s2_l1c_2_attrs_assets.json", ["Attributes", "Assets"]),
        ("cdsetool_s1_aux_page_1.json", ["Attributes"]),
        ("eodm_s2_l2a_18.json", []),
    ):
        for was in json.loads((folder / name).read_text())["value"][:3]:
            params = [("$filter", f"Id eq '{was['Id']}'"), *(("$expand", one) for one in expand)]
            (now,) = session.get(PRODUCTS, params=params, timeout=60).json()["value"]
            assert set(was) == set(now)
            assert {key for key in was if was[key] != now[key]} == {"ContentLength", "Checksum"}
