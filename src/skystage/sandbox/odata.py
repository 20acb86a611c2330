"""The filter language of CDSE's OData catalogue: a parser by recursive descent, and its evaluation.

::

    filter     = all *("or" all)
    all        = one *("and" one)
    one        = "not" one | "(" filter ")" | text "(" path "," string ")" | path op value
               | path "in" "(" value *("," value) ")"
               | "OData.CSC.Intersects" "(" "area" "=" geography ")"
               | "Attributes/OData.CSC." type "Attribute/any" "(" name ":" filter ")"

Source: CDSE documentation, OData API; OData 4.01 URL conventions, 5.1.1.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from skystage.sandbox.catalogue import parse_time

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

Fields: TypeAlias = Mapping[str, Any]
"""What a filter tests: values by path; ``Attributes`` and ``Footprint`` under their names."""
Test: TypeAlias = Callable[[Fields], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<geography>geography'[^']*')|(?P<string>'(?:[^']|'')*')"
    r"|(?P<date>\d{4}-\d\d-\d\d(?:T[\d:.]+(?:Z|[+-]\d\d:?\d\d)?)?)|(?P<number>-?\d+(?:\.\d+)?(?:[eE]-?\d+)?)"
    r"|(?P<path>[A-Za-z_][\w.]*(?:/[A-Za-z_][\w.]*)*)|(?P<sign>[(),:=]))"
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_TEXT_TESTS: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda text, part: part in text,
    "startswith": str.startswith,
    "endswith": str.endswith,
}
_KINDS = {
    "Name": "String",
    "Id": "String",
    "Collection/Name": "String",
    "ContentType": "String",
    "S3Path": "String",
    "DeletionCause": "String",
    "Online": "Boolean",
    "ContentLength": "Integer",
}
"""Types of the fields; all others are dates."""
_SHAPES = ("Point", "LineString", "Polygon", "MultiPolygon")
_ATTRIBUTE = re.compile(
    r"Attributes/OData\.CSC\.(String|Integer|Double|Boolean|DateTimeOffset)Attribute/any$"
)


class BadFilter(Exception):
    """A filter that cannot be read."""


@dataclass(slots=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(text: str, paths: Iterable[str]) -> Test:
    """Read a filter.

    Parameters
    ----------
    paths
        The fields that a filter may name.

    Returns
    -------
    Test
        Says of the fields of a product whether it is meant.

    Raises
    ------
    BadFilter
        If it is not of the language, with the place where it ends to be.
    """
    parser = _Parser(_tokens(text), frozenset(paths))
    try:
        test = parser.filter()
    except RecursionError:
        raise BadFilter("too many parentheses inside one another") from None
    if parser.next is not None:
        raise parser.unexpected("the end")
    return test


def _tokens(text: str) -> list[_Token]:
    out, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise BadFilter(f"cannot read the filter at character {at + 1}: {text[at : at + 20]!r}")
        kind = match.lastgroup or ""
        out.append(_Token(kind, match[kind], match.start(kind)))
        at = match.end()
    return out


@dataclass(slots=True)
class _Parser:
    tokens: list[_Token]
    paths: frozenset[str]
    at: int = 0
    variable: str | None = None
    """The name that stands for the attribute inside ``any(...)``."""
    attribute_paths: dict[str, str] = field(default_factory=dict)
    attribute_kind: str = ""
    """The type of its value."""

    @property
    def next(self) -> _Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def unexpected(self, wanted: str) -> BadFilter:
        token = self.next
        found = "the end" if token is None else f"{token.text!r} at character {token.at + 1}"
        return BadFilter(f"expected {wanted}, found {found}")

    def take(self, kind: str, text: str | None = None) -> str:
        token = self.next
        if token is None or token.kind != kind or (text is not None and token.text != text):
            raise self.unexpected(repr(text) if text else f"a {kind}")
        self.at += 1
        return token.text

    def word(self, text: str) -> bool:
        """Take that word, if it is next."""
        token = self.next
        if token is not None and token.kind == "path" and token.text == text:
            self.at += 1
            return True
        return False

    def filter(self) -> Test:
        tests = [self.all()]
        while self.word("or"):
            tests.append(self.all())
        return tests[0] if len(tests) == 1 else lambda fields: any(test(fields) for test in tests)

    def all(self) -> Test:
        tests = [self.one()]
        while self.word("and"):
            tests.append(self.one())
        return tests[0] if len(tests) == 1 else lambda fields: all(test(fields) for test in tests)

    def one(self) -> Test:
        if self.word("not"):
            inner = self.one()
            return lambda fields: not inner(fields)
        if self.next is not None and self.next.text == "(":
            self.take("sign", "(")
            test = self.filter()
            self.take("sign", ")")
            return test
        path = self.take("path")
        if path in _TEXT_TESTS:
            return self.text_test(_TEXT_TESTS[path])
        if path == "OData.CSC.Intersects":
            return self.intersects()
        match = _ATTRIBUTE.match(path)
        if match is not None:
            return self.attribute(match[1])
        return self.comparison(self.known(path))

    def known(self, path: str) -> str:
        if self.attribute_paths and path in self.attribute_paths:
            return self.attribute_paths[path]
        if path not in self.paths or self.attribute_paths:
            raise BadFilter(f"there is no field {path!r}")
        return path

    def kind(self, path: str) -> str:
        if path == "@Value":
            return self.attribute_kind
        return "String" if path == "@Name" else _KINDS.get(path, "DateTimeOffset")

    def text_test(self, compare: Callable[[str, str], bool]) -> Test:
        self.take("sign", "(")
        path = self.known(self.take("path"))
        if self.kind(path) != "String":
            raise BadFilter(f"{path.removeprefix('@')} is no text")
        self.take("sign", ",")
        part = _unquote(self.take("string"))
        self.take("sign", ")")
        return lambda fields: isinstance(fields.get(path), str) and compare(fields[path], part)

    def comparison(self, path: str) -> Test:
        name = self.take("path")
        if name == "in":
            return self.one_of(path)
        if name not in _COMPARE:
            self.at -= 1
            raise self.unexpected("eq, ne, gt, ge, lt, le or in")
        compare, wanted = _COMPARE[name], self.value(path)

        def test(fields: Fields) -> bool:
            have = fields.get(path)
            if wanted is None or have is None:
                # Null is equal to null, different from the rest, and neither more nor less than anything.
                return (have is wanted) == (compare is operator.eq) and compare in (operator.eq, operator.ne)
            return compare(have, wanted)

        return test

    def one_of(self, path: str) -> Test:
        self.take("sign", "(")
        wanted = [self.value(path)]
        while self.next is not None and self.next.text == ",":
            self.take("sign", ",")
            wanted.append(self.value(path))
        self.take("sign", ")")
        return lambda fields: fields.get(path) in wanted

    def value(self, path: str) -> Any:
        """A value of the type that the field has, or null."""
        token, kind = self.next, self.kind(path)
        if token is None:
            raise self.unexpected("a value")
        self.at += 1
        if token.text == "null":
            return None
        if kind == "String" and token.kind == "string":
            return _unquote(token.text)
        if kind in ("Integer", "Double") and token.kind == "number":
            return float(token.text)
        if kind == "Boolean" and token.text in ("true", "false"):
            return token.text == "true"
        if kind == "DateTimeOffset" and token.kind in ("date", "string"):
            # Dates are accepted with quotes and without.
            try:
                return parse_time(token.text.strip("'"))
            except ValueError:
                raise BadFilter(f"{token.text} is no date") from None
        self.at -= 1
        raise self.unexpected(f"a value of type {kind}")

    def attribute(self, kind: str) -> Test:
        self.take("sign", "(")
        name = self.take("path")
        self.take("sign", ":")
        if self.attribute_paths:
            raise BadFilter("an attribute has no attributes")
        self.attribute_kind = kind
        self.attribute_paths = {
            f"{name}/Name": "@Name",
            f"{name}/Value": "@Value",
            f"{name}/OData.CSC.{kind}Attribute/Value": "@Value",
        }
        test = self.filter()
        self.attribute_paths = {}
        self.take("sign", ")")

        def any_attribute(fields: Fields) -> bool:
            return any(
                item["ValueType"] == kind
                and test({"@Name": item["Name"], "@Value": _typed(kind, item["Value"])})
                for item in fields.get("Attributes", ())
            )

        return any_attribute

    def intersects(self) -> Test:
        self.take("sign", "(")
        self.take("path")
        self.at += 1 if self.next is not None and self.next.text in ("=", ",") else 0
        area = _area(self.take("geography"))
        self.take("sign", ")")

        def test(fields: Fields) -> bool:
            footprint = fields.get("Footprint")
            return footprint is not None and bool(footprint.intersects(area))

        return test


def _unquote(text: str) -> str:
    return text[1:-1].replace("''", "'")


def _typed(kind: str, value: Any) -> Any:
    return parse_time(value) if kind == "DateTimeOffset" and isinstance(value, str) else value


def _area(text: str) -> BaseGeometry:
    from shapely import wkt
    from shapely.errors import ShapelyError

    match = re.match(r"geography'SRID=4326;(.*)'$", text)
    if match is None:
        raise BadFilter("an area is geography'SRID=4326;...'")
    try:
        area = wkt.loads(match[1])
    except ShapelyError:
        raise BadFilter(f"cannot read the area {match[1]!r}") from None
    west, south, east, north = area.bounds if not area.is_empty else (0, 0, 0, 91)
    if area.geom_type not in _SHAPES or not area.is_valid or area.has_z:
        raise BadFilter("the area is not valid")
    if west < -180 or south < -90 or east > 180 or north > 90:
        raise BadFilter("the area is not in degrees of longitude and latitude")
    return area
