from __future__ import annotations

from typing import Any

import pytest

from skystage.sandbox.cql2 import BadFilter, read_json, read_query, read_text

ITEM: dict[str, Any] = {
    "id": "S2A_x",
    "collection": "sentinel-2-l2a",
    "geometry": {"type": "Polygon", "coordinates": [[[4, 50], [6, 50], [6, 52], [4, 52], [4, 50]]]},
    "properties": {
        "datetime": "2018-06-10T10:50:31.024Z",
        "eo:cloud_cover": 12.5,
        "platform": "sentinel-2a",
        "o'clock": True,
    },
}


@pytest.mark.parametrize(
    "text",
    [
        "eo:cloud_cover < 20",
        "properties.eo:cloud_cover<=12.5 AND id = 'S2A_x'",
        "NOT eo:cloud_cover > 20",
        "eo:cloud_cover > 90 OR platform = 'sentinel-2a' AND collection <> 'x'",
        "(eo:cloud_cover > 90 OR platform = 'sentinel-2a') AND collection = 'sentinel-2-l2a'",
        "eo:cloud_cover BETWEEN 10 AND 20 AND platform IN ('a', 'sentinel-2a')",
        "eo:cloud_cover NOT BETWEEN 20 AND 30",
        "platform NOT IN ('a')",
        "platform LIKE 'sentinel-2_' and id like '%x'",
        "nothing IS NULL AND platform IS NOT NULL",
        "datetime >= TIMESTAMP('2018-06-10T00:00:00Z') AND datetime < DATE('2018-06-11')",
        "datetime = '2018-06-10T10:50:31.024Z'",
        '"o\'clock" = TRUE',
        "S_INTERSECTS(geometry, POLYGON((5 51, 7 51, 7 53, 5 53, 5 51)))",
        "s_intersects(geometry, MULTIPOLYGON(((5 51, 7 51, 7 53, 5 53, 5 51)), ((0 0, 1 0, 1 1, 0 0))))",
    ],
)
def test_a_filter_that_holds(text: str) -> None:
    assert read_json(read_text(text))(ITEM)
    assert not read_json(read_text(f"NOT ({text})"))(ITEM)


@pytest.mark.parametrize(
    "text", ["eo:cloud_cover > 12.5", "nothing = 5", "nothing <> 5", "S_INTERSECTS(geometry, POINT(0 0))"]
)
def test_a_filter_that_does_not_hold(text: str) -> None:
    assert not read_json(read_text(text))(ITEM)


def test_text_becomes_the_json_of_the_standard() -> None:
    assert read_text("eo:cloud_cover <= 10 AND datetime > TIMESTAMP('2018-06-10T00:00:00Z')") == {
        "op": "and",
        "args": [
            {"op": "<=", "args": [{"property": "eo:cloud_cover"}, 10]},
            {"op": ">", "args": [{"property": "datetime"}, {"timestamp": "2018-06-10T00:00:00Z"}]},
        ],
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("eo:cloud_cover <", "expected a property or a value, found the end"),
        ("eo:cloud_cover 5", "expected a sign"),
        ("eo:cloud_cover NOT < 5", "expected a comparison"),
        ("(a = 5", "found the end"),
        ("a = 5 b", "expected the end, found 'b'"),
        ("a BETWEEN 5 OR 6", "expected AND"),
        ("a = §", "cannot read the filter at character 4"),
        ("S_INTERSECTS(geometry, POLYGON((0 0)))", "cannot read the geometry"),
        ("eo:cloud_cover < 'many'", "cannot compare"),
        ("datetime > 'yesterday'", "no time"),
    ],
)
def test_text_that_is_no_filter(text: str, complaint: str) -> None:
    with pytest.raises(BadFilter, match=complaint):
        read_json(read_text(text))(ITEM)


@pytest.mark.parametrize(
    "expression",
    [
        {},
        {"op": "=", "args": [1]},
        {"op": "a_contains", "args": [1, 2]},
        {"op": "s_intersects", "args": [{"property": "geometry"}, {"type": "Blob"}]},
        {"op": "=", "args": [{"function": "x"}, 2]},
        "eo:cloud_cover < 5",
    ],
)
def test_json_that_is_no_filter(expression: Any) -> None:
    with pytest.raises(BadFilter):
        read_json(expression)


def test_the_older_query() -> None:
    assert read_query({"eo:cloud_cover": {"gte": 10, "lt": 20}, "platform": {"startsWith": "sentinel"}})(ITEM)
    assert not read_query({"eo:cloud_cover": {"lt": 10}})(ITEM)
    assert read_query({"platform": {"in": ["sentinel-2a"], "neq": "x"}})(ITEM)
    for bad in ([], {"a": 5}, {"a": {"like": 5}}):
        with pytest.raises(BadFilter):
            read_query(bad)
