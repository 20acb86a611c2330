"""What the sandbox's OData catalogue understands, beyond what is asked for orbit files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import requests

ROOT = "https://catalogue.dataspace.copernicus.eu/odata/v1"
PRODUCTS = f"{ROOT}/Products"
L2A = (
    "Collection/Name eq 'SENTINEL-2' and Attributes/OData.CSC.StringAttribute/any("
    "att:att/Name eq 'productType' and att/OData.CSC.StringAttribute/Value eq 'S2MSI2A')"
)


def search(session: requests.Session, url: str = PRODUCTS, **params: Any) -> dict[str, Any]:
    reply = session.get(url, params={f"${key}": value for key, value in params.items()}, timeout=60)
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def names(answer: dict[str, Any]) -> list[str]:
    return [record["Name"] for record in answer["value"]]


def value(record: dict[str, Any], name: str) -> Any:
    return {item["Name"]: item["Value"] for item in record["Attributes"]}[name]


@pytest.mark.parametrize(
    ("collection", "count"), [("SENTINEL-2", 30), ("SENTINEL-3", 4), ("SENTINEL-5P", 4), ("SENTINEL-6", 0)]
)
def test_each_mission_has_its_collection(session: requests.Session, collection: str, count: int) -> None:
    text = f"Collection/Name eq '{collection}'"
    assert search(session, filter=text, count="true", top=1)["@odata.count"] == count


def test_clouds_dates_and_area_together(session: requests.Session) -> None:
    area = "OData.CSC.Intersects(area=geography'SRID=4326;POLYGON((5 50.8,5.1 50.8,5.1 50.9,5 50.9,5 50.8))')"
    june = "ContentDate/Start ge 2018-06-01T00:00:00.000Z and ContentDate/Start lt 2018-07-01T00:00:00.000Z"
    every = search(session, filter=f"{L2A} and {area} and {june}", expand="Attributes", top=100)["value"]
    clouds = (
        "Attributes/OData.CSC.DoubleAttribute/any(att:att/Name eq 'cloudCover' and "
        "att/OData.CSC.DoubleAttribute/Value le 20.00)"
    )
    clear = search(session, filter=f"{L2A} and {area} and {june} and {clouds}", top=100)
    assert set(names(clear)) == {one["Name"] for one in every if value(one, "cloudCover") <= 20}
    assert 5 <= len(clear["value"]) < len(every)
    # The next tile overlaps that area, a point further west lies in it alone.
    west = "OData.CSC.Intersects(area=geography'SRID=4326;POINT(3.5 50.9)')"
    assert {"T31UES" in name for name in names(search(session, filter=f"{L2A} and {west}"))} == {True}


def test_a_page_of_one_is_the_same_as_a_page_of_all(session: requests.Session) -> None:
    text = "Collection/Name eq 'SENTINEL-1' and ContentDate/Start lt 2018-02-01"
    every = names(search(session, filter=text, orderby="ContentDate/Start desc", top=1000))
    page = search(session, filter=text, orderby="ContentDate/Start desc", top=1)
    seen = names(page)
    while "@odata.nextLink" in page:
        page = session.get(page["@odata.nextLink"], timeout=10).json()
        seen += names(page)
    assert seen == every
    assert len(seen) > 5


def test_a_record_has_footprint_assets_and_locations(session: requests.Session) -> None:
    (record,) = search(session, filter=f"{L2A} and contains(Name,'_20180630T')", expand="Assets", top=1)[
        "value"
    ]
    assert record["Footprint"].startswith("geography'SRID=4326;POLYGON ((")
    assert record["GeoFootprint"]["type"] == "Polygon"
    assert record["EvictionDate"].startswith("9999-")
    (asset,) = record["Assets"]
    assert asset["Type"] == "QUICKLOOK"
    assert asset["DownloadLink"] == f"{ROOT}/Assets({asset['Id']})/$value"
    reply = session.get(
        f"{PRODUCTS}({record['Id']})",
        params=[("$expand", "Locations"), ("$expand", "Attributes")],
        timeout=60,
    )
    assert reply.json()["@odata.context"] == "$metadata#Products(Locations(),Attributes())/$entity"
    (location,) = reply.json()["Locations"]
    assert (location["ContentLength"], location["S3Path"]) == (record["ContentLength"], record["S3Path"])


def test_old_records_know_neither_size_nor_checksum(session: requests.Session) -> None:
    text = "Collection/Name eq 'SENTINEL-2' and ContentLength eq 0"
    (record,) = search(session, filter=text)["value"]
    assert (record["ContentLength"], record["Checksum"]) == (0, [])


def test_products_that_are_not_online(session: requests.Session) -> None:
    (record,) = search(session, filter="Online eq false")["value"]
    assert record["Online"] is False


def test_a_list_of_names_finds_those_that_are_there(session: requests.Session) -> None:
    some = names(search(session, filter="Collection/Name eq 'SENTINEL-3'"))[:2]
    body = {"FilterProducts": [{"Name": name} for name in (*some, "xxxxxxxx.06.tar")]}
    reply = session.post(f"{PRODUCTS}/OData.CSC.FilterList", json=body, timeout=10)
    assert set(names(reply.json())) == set(some)
    assert (
        session.post(f"{PRODUCTS}/OData.CSC.FilterList", json={"Names": some}, timeout=5).status_code == 400
    )


def test_the_attributes_of_a_collection(session: requests.Session) -> None:
    listed = session.get(f"{ROOT}/Attributes(SENTINEL-2)", timeout=5).json()
    kinds = {one["Name"]: one["ValueType"] for one in listed}
    assert (kinds["cloudCover"], kinds["tileId"], kinds["orbitNumber"]) == ("Double", "String", "Integer")
    assert session.get(f"{ROOT}/Attributes(SENTINEL-9)", timeout=5).json() == []


def test_deleted_products(session: requests.Session) -> None:
    deleted = f"{ROOT}/DeletedProducts"
    text = "DeletionCause eq 'Duplicated product' and DeletionDate gt 2023-01-01T00:00:00.000Z"
    (record,) = search(session, deleted, filter=text, orderby="DeletionDate")["value"]
    assert "@odata.mediaContentType" not in record
    assert record["DeletionCause"] == "Duplicated product"
    assert names(search(session, filter=f"Name eq '{record['Name']}'")) == []
    assert session.get(f"{deleted}({record['Id']})", timeout=5).json()["Name"] == record["Name"]
    assert session.get(deleted, params={"$filter": "Online eq true"}, timeout=5).status_code == 400
    assert session.get(deleted, params={"$expand": "Assets"}, timeout=5).status_code == 400


def test_beyond_ten_thousand_there_is_no_way(session: requests.Session) -> None:
    reply = session.get(PRODUCTS, params={"$skip": "10001"}, timeout=5)
    assert reply.status_code == 422
    assert reply.json() == {
        "detail": [
            {
                "type": "less_than_equal",
                "loc": ["query", "$skip"],
                "msg": "Input should be less than or equal to 10000",
                "input": "10001",
                "ctx": {"le": 10000},
            }
        ]
    }
    assert session.get(PRODUCTS, params={"$top": "0"}, timeout=5).json()["detail"][0]["ctx"] == {"ge": 1}
    assert session.get(PRODUCTS, params={"$top": "x"}, timeout=5).json()["detail"][0]["type"] == "int_parsing"


@pytest.mark.parametrize(
    "params",
    [
        {"$count": "yes"},
        {"$select": "Id,Nothing"},
        {"$orderby": "Name"},
        {"$orderby": "ContentDate/Start up"},
        {"$filter": "DeletionCause eq 'x'"},
        {"$filter": "Attributes/OData.CSC.DoubleAttribute/any(a:a/Name eq 'cloudCover' and a/Value le '40')"},
    ],
)
def test_searches_that_are_refused(session: requests.Session, params: dict[str, str]) -> None:
    reply = session.get(PRODUCTS, params=params, timeout=5)
    assert reply.status_code == 400
    assert reply.json()["detail"].startswith("Invalid query: ")


def test_radar_products_say_their_orbit(session: requests.Session) -> None:
    text = (
        "Attributes/OData.CSC.IntegerAttribute/any(att:att/Name eq 'relativeOrbitNumber' and "
        "att/OData.CSC.IntegerAttribute/Value eq 35) and contains(Name,'_SLC_')"
    )
    found = search(session, filter=text, expand="Attributes", top=100)["value"]
    assert {value(record, "orbitDirection") for record in found} == {"ASCENDING"}
    assert {value(record, "polarisationChannels") for record in found} == {"VV", "VV&VH"}
    assert all(record["GeoFootprint"] for record in found)
    assert value(found[0], "orbitNumber") == int(found[0]["Name"][49:55])
