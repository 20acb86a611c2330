from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from shapely.geometry import box

from skystage.sandbox.odata import BadFilter, parse

PATHS = ("Name", "Online", "ContentLength", "ContentDate/Start", "ContentDate/End", "Collection/Name", "Note")
FIELDS: dict[str, Any] = {
    "Name": "S1A_OPER_AUX_POEORB_OPOD_x'y.EOF",
    "Online": True,
    "ContentLength": 1000,
    "ContentDate/Start": datetime(2020, 1, 1, 12, tzinfo=UTC),
    "ContentDate/End": datetime(2020, 1, 3, tzinfo=UTC),
    "Collection/Name": "SENTINEL-1",
    "Note": None,
    "Footprint": box(10, 40, 12, 42),
    "Attributes": [
        {"Name": "productType", "Value": "AUX_POEORB", "ValueType": "String"},
        {"Name": "cloudCover", "Value": 12.5, "ValueType": "Double"},
        {"Name": "orbitNumber", "Value": 30, "ValueType": "Integer"},
        {"Name": "sliceProductFlag", "Value": True, "ValueType": "Boolean"},
        {"Name": "processingDate", "Value": "2020-01-22T12:00:00.000000Z", "ValueType": "DateTimeOffset"},
    ],
}
STRING = "Attributes/OData.CSC.StringAttribute/any(att:att/Name eq 'productType' and "


@pytest.mark.parametrize(
    "text",
    [
        "Name eq 'S1A_OPER_AUX_POEORB_OPOD_x''y.EOF'",
        "startswith(Name,'S1A')",
        "contains(Name, 'AUX_POEORB') and endswith(Name,'.EOF')",
        "not startswith(Name,'S1B')",
        "Online eq true",
        "Online ne false",
        "ContentLength ge 1000 and ContentLength lt 1000.5",
        "ContentDate/Start gt 2020-01-01T11:59:59.999Z",
        "ContentDate/Start lt '2020-01-01T12:00:00.000001Z'",
        "ContentDate/Start ge 2020-01-01T13:00:00+01:00",
        "ContentDate/Start gt 2020-01-01",
        "Online eq false or Online eq true",
        "Online eq false and Online eq false or Online eq true",
        "Online eq true or Online eq true and Online eq false",
        "not (Online eq false and (ContentLength gt 1))",
        "Note eq null and Online ne null and not (Note gt 2020-01-01)",
        STRING + "att/OData.CSC.StringAttribute/Value eq 'AUX_POEORB')",
        STRING + "contains(att/OData.CSC.StringAttribute/Value,'POE'))",
        (
            "Attributes/OData.CSC.DoubleAttribute/any(x:x/Name eq 'cloudCover' and "
            "x/OData.CSC.DoubleAttribute/Value le 40.00)"
        ),
        "Attributes/OData.CSC.IntegerAttribute/any(i:i/Name eq 'orbitNumber' and i/Value eq 30)",
        (
            "Attributes/OData.CSC.DateTimeOffsetAttribute/any(d:d/Name eq 'processingDate' and "
            "d/OData.CSC.DateTimeOffsetAttribute/Value gt 2020-01-22T00:00:00Z)"
        ),
        "OData.CSC.Intersects(area=geography'SRID=4326;POLYGON((11 41,15 41,15 45,11 45,11 41))')",
        "OData.CSC.Intersects(area=geography'SRID=4326;POINT(11 41)')",
        "OData.CSC.Intersects(area=geography'SRID=4326;LINESTRING(0 41,20 41)')",
        (
            "OData.CSC.Intersects(area=geography'SRID=4326;MULTIPOLYGON(((0 0,1 0,1 1,0 0)),"
            "((11 41,15 41,15 45,11 41)))')"
        ),
        "Collection/Name in ('SENTINEL-2','SENTINEL-1')",
        "ContentLength in (1000)",
        STRING + "not (att/Value eq 'x' or att/Value eq 'y'))",
        "Attributes/OData.CSC.BooleanAttribute/any(b:b/Name eq 'sliceProductFlag' and b/Value eq true)",
        "Attributes/OData.CSC.IntegerAttribute/any(i:i/Value ge 30 and i/Value lt 30.5)",
    ],
)
def test_a_filter_that_holds(text: str) -> None:
    assert parse(text, PATHS)(FIELDS)
    assert not parse(f"not ({text})", PATHS)(FIELDS)


@pytest.mark.parametrize(
    "text",
    [
        "Name eq 'S1A'",
        "ContentDate/End lt 2020-01-03",
        STRING + "att/OData.CSC.StringAttribute/Value eq 'AUX_RESORB')",
        "Attributes/OData.CSC.StringAttribute/any(att:att/Name eq 'cloudCover')",
        "OData.CSC.Intersects(area=geography'SRID=4326;POINT(0 0)')",
        "Note gt 2020-01-01",
    ],
)
def test_a_filter_that_does_not_hold(text: str) -> None:
    assert not parse(text, PATHS)(FIELDS)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("Nam eq 'x'", "there is no field 'Nam'"),
        ("Name = 'x'", "expected a path"),
        ("Name is 'x'", "expected eq, ne"),
        ("Name eq", "expected a value, found the end"),
        ("(Name eq 'x'", "found the end"),
        ("Name eq 'x') or", r"expected the end, found '\)'"),
        ("Name eq 'x", "cannot read the filter at character 8"),
        ("contains(Name,5)", "expected a string"),
        ("att/Name eq 'x'", "there is no field"),
        ("OData.CSC.Intersects(area=geography'SRID=4326;POLYGON((0 0,1 1,0 1,1 0,0 0))')", "not valid"),
        ("OData.CSC.Intersects(area=geography'SRID=4326;BLOB')", "cannot read the area"),
    ],
)
def test_a_filter_that_is_none_says_where(text: str, complaint: str) -> None:
    with pytest.raises(BadFilter, match=complaint):
        parse(text, PATHS)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("ContentDate/Start gt 'yesterday'", "is no date"),
        ("Name gt 5", "a value of type String, found '5'"),
        ("Name in ('x',5)", "a value of type String"),
        ("Name in ('x'", "found the end"),
        ("Online eq 'true'", "a value of type Boolean"),
        ("ContentLength gt '5'", "a value of type Integer"),
        ("contains(ContentDate/Start,'2018')", "is no text"),
        (STRING + "att/OData.CSC.StringAttribute/Value gt 5)", "a value of type String"),
        (STRING + "att/OData.CSC.DoubleAttribute/Value gt 5)", "there is no field"),
        (STRING + "Name eq 'x')", "there is no field 'Name'"),
        (STRING + STRING + "att/Value eq 'x'))", "an attribute has no attributes"),
        ("OData.CSC.Intersects(area=geography'SRID=4326;POLYGON((0 0,200 0,200 1,0 0))')", "not in degrees"),
        ("OData.CSC.Intersects(area=geography'SRID=4326;POLYGON EMPTY')", "not in degrees"),
        ("OData.CSC.Intersects(area=geography'SRID=4326;POLYGON((0 0,1 0,1 1))')", "cannot read the area"),
        ("OData.CSC.Intersects(area=geography'SRID=4326;POINT Z (0 0 0)')", "not valid"),
        ("OData.CSC.Intersects(area=geography'SRID=3857;POINT(0 0)')", "an area is"),
        ("(" * 5000 + "Name eq 'x'" + ")" * 5000, "too many parentheses"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_product_is_looked_at(text: str, complaint: str) -> None:
    with pytest.raises(BadFilter, match=complaint):
        parse(text, PATHS)
