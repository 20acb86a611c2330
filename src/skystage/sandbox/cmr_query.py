"""The criteria of a CMR granule search: reading them, and testing a granule against them.

Source of the rules: CMR Search API documentation, "Search for granules". Criteria of
different names must all hold; several values of one criterion are alternatives, except
``attribute[]`` and the areas, which must all hold unless ``options[...][or]`` is set.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from skystage.sandbox.catalogue import Granule, parse_time, unwrap

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

_MOST_GRANULES = 2000
_DEFAULT_GRANULES = 10
_METERS_PER_DEGREE = 111_195.0
_AREAS = ("bounding_box", "polygon", "point", "line", "circle")


class BadQuery(Exception):
    """A search that CMR answers with 400."""


@dataclass(slots=True)
class Criteria:
    """A search as asked: names in snake_case without brackets, values in their order."""

    given: dict[str, list[str]] = field(default_factory=dict)
    options: dict[tuple[str, str], bool] = field(default_factory=dict)
    sort_keys: tuple[str, ...] = ("provider", "start_date")
    page_size: int = _DEFAULT_GRANULES
    offset: int = 0

    @classmethod
    def read(cls, pairs: Sequence[tuple[str, str]]) -> Criteria:
        """Read the pairs of a query or form.

        Raises
        ------
        BadQuery
            If a parameter is unknown, or a number is none or out of bounds.
        """
        criteria = cls()
        for name, value in pairs:
            option = re.fullmatch(r"options\[([^\]]+)\]\[([^\]]+)\]", name)
            if option is not None:
                criteria.options[_snake(option[1]), option[2]] = value == "true"
                continue
            key = _snake(name.removesuffix("[]"))
            if key not in _TESTS and key not in _CONTROLS:
                raise BadQuery(f"Parameter [{name.removesuffix('[]')}] was not recognized.")
            criteria.given.setdefault(key, []).append(value)
        criteria.page_size = criteria.number("page_size", _DEFAULT_GRANULES, 0, _MOST_GRANULES)
        page = criteria.number("page_num", 1, 1, 1_000_000)
        criteria.offset = criteria.number("offset", (page - 1) * criteria.page_size, 0, 1_000_000)
        if "sort_key" in criteria.given:
            criteria.sort_keys = tuple(criteria.given["sort_key"])
        return criteria

    def values(self, key: str) -> list[str]:
        """All values of a criterion."""
        return self.given.get(key, [])

    def option(self, key: str, name: str) -> bool:
        """Whether ``options[key][name]`` is true."""
        return self.options.get((key, name), False)

    def number(self, key: str, default: int, least: int, most: int) -> int:
        """A whole number within bounds."""
        text = self.values(key)[-1] if self.values(key) else str(default)
        if not re.fullmatch(r"-?\d+", text) or not least <= int(text) <= most:
            raise BadQuery(f"{key} must be a number between {least} and {most}")
        return int(text)


def matches(granule: Granule, criteria: Criteria) -> bool:
    """Whether a granule meets all criteria.

    Raises
    ------
    BadQuery
        If a value is not of its criterion's form.
    """
    return all(
        _TESTS[key](granule, values, criteria)
        for key, values in criteria.given.items()
        if key not in _CONTROLS
    )


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower().replace("-", "_")


def _text_test(key: str, values_of: Callable[[Granule], Sequence[str]]) -> Callable[..., bool]:
    """A criterion on text: exact or with ``*`` and ``?``, upper and lower case the same."""

    def test(granule: Granule, wanted: list[str], criteria: Criteria) -> bool:
        have = [value.lower() for value in values_of(granule)]
        if criteria.option(key, "pattern"):
            # Square brackets mean nothing to CMR, but do to fnmatch.
            patterns = [value.lower().replace("[", "[[]") for value in wanted]
            return any(fnmatchcase(value, pattern) for value in have for pattern in patterns)
        return any(value.lower() in have for value in wanted)

    return test


def _attribute(granule: Granule, wanted: list[str], criteria: Criteria) -> bool:
    results = (_one_attribute(granule, text) for text in wanted)
    return any(results) if criteria.option("attribute", "or") else all(results)


def _one_attribute(granule: Granule, text: str) -> bool:
    parts = [part.replace("\\,", ",") for part in re.split(r"(?<!\\),", text)]
    if len(parts) not in (3, 4) or parts[0] not in _KINDS:
        raise BadQuery(f"[{text}] is an invalid additional attribute")
    kind, name, *bounds = parts
    read = _KINDS[kind]
    try:
        limits = [read(bound) if bound else None for bound in bounds]
    except ValueError:
        raise BadQuery(f"[{text}] is an invalid value for type [{kind}]") from None
    if limits == [None] * len(limits):
        raise BadQuery("One of the values of an additional attribute range must be given")
    for value in granule.attributes.get(name, []):
        try:
            have = read(value)
        except ValueError:
            continue
        if len(limits) == 1 and have == limits[0]:
            return True
        if len(limits) > 1 and _within(have, limits[0], limits[1]):
            return True
    return False


_KINDS: dict[str, Callable[[str], Any]] = {
    "string": str.lower,
    "int": lambda text: int(float(text)),
    "float": float,
    "date": parse_time,
    "datetime": parse_time,
    "time": str,
}


def _within(value: Any, low: Any, high: Any) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _temporal(granule: Granule, wanted: list[str], criteria: Criteria) -> bool:
    results = (_one_temporal(granule, text) for text in wanted)
    return all(results) if criteria.option("temporal", "and") else any(results)


def _one_temporal(granule: Granule, text: str) -> bool:
    start, end, *season = [part.strip() for part in (text + ",").split(",")][:4]
    low = _time(start) if start else None
    high = _time(end) if end else None
    if low is not None and high is not None and low > high:
        raise BadQuery(f"start_date [{start}] must be before end_date [{end}]")
    if (low is not None and granule.end < low) or (high is not None and granule.start > high):
        return False
    days = [day for day in season if day]
    if not days:
        return True
    first = int(days[0])
    last = int(days[1]) if len(days) > 1 else 366
    return any(
        granule.start < until and granule.end >= since
        for since, until in _seasons(granule.start.year, first, last)
    )


def _seasons(year: int, first: int, last: int) -> list[tuple[datetime, datetime]]:
    """The season of a year and of its neighbours; one that ends before it begins goes on in the next year."""
    out = []
    for begin in (year - 1, year, year + 1):
        finish = begin if last >= first else begin + 1
        since = datetime(begin, 1, 1, tzinfo=UTC) + timedelta(days=first - 1)
        out.append((since, datetime(finish, 1, 1, tzinfo=UTC) + timedelta(days=last)))
    return out


def _time(text: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError:
        raise BadQuery(f"[{text}] is not a valid datetime") from None


def _revised(granule: Granule, wanted: list[str], _: Criteria) -> bool:
    return all(granule.revised >= _time(text) for text in wanted)


def _orbit_number(granule: Granule, wanted: list[str], _: Criteria) -> bool:
    for text in wanted:
        low, comma, high = text.partition(",")
        try:
            limits = (float(low) if low else None, (float(high) if high else None) if comma else float(low))
        except ValueError:
            raise BadQuery(f"[{text}] is not a valid orbit number") from None
        if any(_within(orbit, *limits) for orbit in granule.orbits):
            return True
    return False


def _area_test(kind: str) -> Callable[..., bool]:
    def test(granule: Granule, wanted: list[str], criteria: Criteria) -> bool:
        footprint = granule.geometry
        results = (footprint is not None and _touches(footprint, _area(kind, text)) for text in wanted)
        return any(results) if criteria.option(kind, "or") else all(results)

    return test


def _touches(footprint: BaseGeometry, area: BaseGeometry) -> bool:
    from shapely.affinity import translate

    # Both may reach beyond 180 degrees, each in its own turn of the globe.
    return any(footprint.intersects(translate(area, xoff=shift)) for shift in (-360, 0, 360))


def _area(kind: str, text: str) -> BaseGeometry:
    from shapely.geometry import LineString, Point, Polygon, box

    try:
        numbers = [float(part) for part in text.split(",")]
        points = list(zip(numbers[::2], numbers[1::2], strict=kind != "circle"))
    except ValueError:
        raise BadQuery(f"[{text}] is not a valid URL encoded {kind}") from None
    if kind == "bounding_box" and len(numbers) == 4:
        west, south, east, north = numbers
        return box(west, south, east if east >= west else east + 360, north)
    if kind == "point" and len(points) == 1:
        return Point(points[0])
    if kind == "circle" and len(numbers) == 3:
        return _circle(*numbers)
    if kind == "line" and len(points) > 1:
        return LineString(unwrap(points))
    if kind == "polygon" and len(points) > 3 and points[0] == points[-1]:
        ring = Polygon(unwrap(points))
        if not ring.exterior.is_ccw:
            raise BadQuery(
                "The polygon boundary points are listed in the wrong order (clockwise vs counter clockwise)"
            )
        return ring
    raise BadQuery(f"[{text}] is not a valid URL encoded {kind}")


def _circle(longitude: float, latitude: float, meters: float) -> BaseGeometry:
    from shapely.affinity import scale
    from shapely.geometry import Point

    degrees = meters / _METERS_PER_DEGREE
    wide = 1 / max(math.cos(math.radians(latitude)), 0.01)
    return scale(Point(longitude, latitude).buffer(degrees), xfact=wide, yfact=1.0)


def _flag(_granule: Granule, _wanted: list[str], _criteria: Criteria) -> bool:
    return True


_TESTS: dict[str, Callable[..., bool]] = {
    "short_name": _text_test("short_name", lambda granule: [granule.short_name]),
    "provider": _text_test("provider", lambda granule: [granule.provider]),
    "provider_id": _text_test("provider_id", lambda granule: [granule.provider]),
    "platform": _text_test("platform", lambda granule: granule.platforms),
    "instrument": _text_test("instrument", lambda granule: granule.instruments),
    "granule_ur": _text_test("granule_ur", lambda granule: [granule.granule_ur]),
    "readable_granule_name": _text_test("readable_granule_name", lambda granule: granule.names),
    "producer_granule_id": _text_test("producer_granule_id", lambda granule: granule.names[1:]),
    "native_id": _text_test("native_id", lambda granule: [str(granule.record["meta"].get("native-id", ""))]),
    "concept_id": _text_test("concept_id", lambda granule: [granule.concept_id, granule.collection_id]),
    "echo_granule_id": _text_test("echo_granule_id", lambda granule: [granule.concept_id]),
    "echo_collection_id": _text_test("echo_collection_id", lambda granule: [granule.collection_id]),
    "collection_concept_id": _text_test("collection_concept_id", lambda granule: [granule.collection_id]),
    "attribute": _attribute,
    "temporal": _temporal,
    "orbit_number": _orbit_number,
    "updated_since": _revised,
    "revision_date": _revised,
    **{kind: _area_test(kind) for kind in _AREAS},
    "version": _flag,
    "downloadable": _flag,
    "online_only": _flag,
}
_CONTROLS = (
    "page_size",
    "page_num",
    "offset",
    "sort_key",
    "pretty",
    "token",
    "include_granule_counts",
    "scroll",
)
