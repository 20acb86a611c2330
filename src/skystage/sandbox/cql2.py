"""The filter language of STAC APIs: CQL2, as text or as JSON, and the older ``query``.

Text is turned into JSON, and JSON into a test::

    filter     = all *("OR" all)
    all        = one *("AND" one)
    one        = "NOT" one | "(" filter ")" | "S_INTERSECTS" "(" path "," shape ")"
               | operand ["NOT"] ("BETWEEN" operand "AND" operand | "IN" "(" operand *("," operand) ")"
                                  | "LIKE" string) | operand "IS" ["NOT"] "NULL" | operand sign operand
    operand    = path | string | number | "TRUE" | "FALSE" | ("TIMESTAMP" | "DATE") "(" string ")"

Source: OGC 21-065r2, Common Query Language (CQL2); STAC API, query extension 1.0.0.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from skystage.sandbox.catalogue import parse_time

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

Item: TypeAlias = Mapping[str, Any]
"""A STAC item as JSON."""
Test: TypeAlias = Callable[[Item], bool]

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_QUERY: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
    "in": lambda have, wanted: have in wanted,
    "startsWith": lambda have, wanted: str(have).startswith(wanted),
    "endsWith": lambda have, wanted: str(have).endswith(wanted),
    "contains": lambda have, wanted: wanted in have,
}
_TOP = ("id", "collection", "geometry")
_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<quoted>\"[^\"]+\")|(?P<number>-?\d+(?:\.\d+)?(?:[eE]-?\d+)?)"
    r"|(?P<shape>(?:MULTI)?(?:POINT|LINESTRING|POLYGON)\s*\()|(?P<word>[A-Za-z_][\w.:\-]*)"
    r"|(?P<sign><=|>=|<>|[=<>(),]))",
    re.IGNORECASE,
)


class BadFilter(Exception):
    """A filter that cannot be read."""


def read_json(expression: Any) -> Test:
    """Turn CQL2 JSON into a test of an item.

    Raises
    ------
    BadFilter
        If it is none, or asks for what this service does not know.
    """
    if not isinstance(expression, dict) or not isinstance(expression.get("args"), list):
        raise BadFilter(f"a filter is an object with op and args, not {expression!r}")
    name, args = str(expression.get("op")).lower(), expression["args"]
    if name in ("and", "or"):
        tests = [read_json(arg) for arg in args]
        every = all if name == "and" else any
        return lambda item: every(test(item) for test in tests)
    if name not in _ARITY or _ARITY[name] != len(args):
        raise BadFilter(f"the operator {name!r} with {len(args)} arguments is not known here")
    if name == "not":
        inner = read_json(args[0])
        return lambda item: not inner(item)
    if name == "s_intersects":
        area = _shape(args[1])
        return lambda item: bool(area.intersects(_shape(item["geometry"])))
    first = _operand(args[0])
    if name == "isnull":
        return lambda item: first(item) is None
    if name == "in":
        values = [_operand(value) for value in args[1]]
        return lambda item: any(_holds(operator.eq, first(item), value(item)) for value in values)
    rest = [_operand(arg) for arg in args[1:]]
    if name == "between":
        low, high = rest
        return lambda item: (
            _holds(operator.ge, first(item), low(item)) and _holds(operator.le, first(item), high(item))
        )
    (second,) = rest
    if name == "like":
        return lambda item: _holds(_like, first(item), second(item))
    return lambda item: _holds(_COMPARE[name], first(item), second(item))


_ARITY = {**dict.fromkeys(_COMPARE, 2), "not": 1, "isnull": 1, "in": 2, "between": 3, "like": 2}
_ARITY["s_intersects"] = 2


def read_query(query: Any) -> Test:
    """Turn the older ``query`` into a test: ``{"eo:cloud_cover": {"lt": 20}}``."""
    if not isinstance(query, dict) or not all(isinstance(value, dict) for value in query.values()):
        raise BadFilter("query is an object of properties with objects of operators")
    tests: list[Test] = []
    for name, wanted in query.items():
        for sign, value in wanted.items():
            if sign not in _QUERY:
                raise BadFilter(f"the operator {sign!r} of query is not known here")
            tests.append(_query_test(_path(name), _QUERY[sign], value))
    return lambda item: all(test(item) for test in tests)


def _query_test(have: Callable[[Item], Any], compare: Callable[[Any, Any], bool], value: Any) -> Test:
    return lambda item: _holds(compare, have(item), value)


def _holds(compare: Callable[[Any, Any], bool], have: Any, wanted: Any) -> bool:
    """Compare; null is neither equal to nor different from anything."""
    if have is None or wanted is None:
        return False
    if isinstance(have, datetime) != isinstance(wanted, datetime):
        have, wanted = _moment(have), _moment(wanted)
    try:
        return compare(have, wanted)
    except TypeError:
        raise BadFilter(f"cannot compare {have!r} with {wanted!r}") from None


def _moment(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    try:
        return parse_time(str(value))
    except ValueError:
        raise BadFilter(f"{value!r} is no time") from None


def _like(have: Any, pattern: Any) -> bool:
    parts = (re.escape(part).replace("_", ".") for part in str(pattern).split("%"))
    return re.fullmatch(".*".join(parts), str(have), re.DOTALL) is not None


def _operand(arg: Any) -> Callable[[Item], Any]:
    if isinstance(arg, dict):
        if "property" in arg:
            return _path(str(arg["property"]))
        for kind in ("timestamp", "date"):
            if kind in arg:
                moment = _moment(arg[kind])
                return lambda _: moment
        raise BadFilter(f"{arg!r} is not known here")
    return lambda _: arg


def _path(name: str) -> Callable[[Item], Any]:
    name = name.removeprefix("properties.")
    if name in _TOP:
        return lambda item: item[name]

    def value(item: Item) -> Any:
        found = item["properties"].get(name)
        return parse_time(found) if name.endswith("datetime") and found is not None else found

    return value


def read_text(text: str) -> Any:
    """CQL2 text as CQL2 JSON.

    Raises
    ------
    BadFilter
        If it is not of the language.
    """
    parser = _Parser(_tokens(text))
    expression = parser.filter()
    if parser.at < len(parser.tokens):
        raise parser.unexpected("the end")
    return expression


def _tokens(text: str) -> list[tuple[str, str]]:
    out, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise BadFilter(f"cannot read the filter at character {at + 1}: {text[at : at + 20]!r}")
        kind, at = match.lastgroup or "", match.end()
        if kind == "shape":
            depth = 1
            while depth and at < len(text):
                depth += {"(": 1, ")": -1}.get(text[at], 0)
                at += 1
        out.append((kind, text[match.start(kind) : at]))
    return out


@dataclass(slots=True)
class _Parser:
    tokens: list[tuple[str, str]]
    at: int = 0

    def unexpected(self, wanted: str) -> BadFilter:
        found = repr(self.tokens[self.at][1]) if self.at < len(self.tokens) else "the end"
        return BadFilter(f"expected {wanted}, found {found}")

    def next(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("", "")

    def word(self, *words: str) -> bool:
        """Take these words, if they are next."""
        ahead = [text.upper() for kind, text in self.tokens[self.at : self.at + len(words)] if kind == "word"]
        if ahead == list(words):
            self.at += len(words)
            return True
        return False

    def take(self, kind: str, text: str | None = None) -> str:
        found, have = self.next()
        if found != kind or (text is not None and have != text):
            raise self.unexpected(repr(text) if text else f"a {kind}")
        self.at += 1
        return have

    def filter(self) -> Any:
        return self.joined("or", self.all)

    def all(self) -> Any:
        return self.joined("and", self.one)

    def joined(self, name: str, part: Callable[[], Any]) -> Any:
        parts = [part()]
        while self.word(name.upper()):
            parts.append(part())
        return parts[0] if len(parts) == 1 else {"op": name, "args": parts}

    def one(self) -> Any:
        if self.word("NOT"):
            return {"op": "not", "args": [self.one()]}
        if self.next() == ("sign", "("):
            self.take("sign", "(")
            inner = self.filter()
            self.take("sign", ")")
            return inner
        if self.word("S_INTERSECTS"):
            self.take("sign", "(")
            path = self.operand()
            self.take("sign", ",")
            area = _geometry(self.take("shape"))
            self.take("sign", ")")
            return {"op": "s_intersects", "args": [path, area]}
        first = self.operand()
        if self.word("IS", "NULL"):
            return {"op": "isNull", "args": [first]}
        if self.word("IS", "NOT", "NULL"):
            return {"op": "not", "args": [{"op": "isNull", "args": [first]}]}
        negated = self.word("NOT")
        test = self.ranged(first)
        if test is not None:
            return {"op": "not", "args": [test]} if negated else test
        sign = self.take("sign")
        if negated or sign not in _COMPARE:
            self.at -= 1
            raise self.unexpected("a comparison")
        return {"op": sign, "args": [first, self.operand()]}

    def ranged(self, first: Any) -> Any:
        if self.word("BETWEEN"):
            low = self.operand()
            if not self.word("AND"):
                raise self.unexpected("AND")
            return {"op": "between", "args": [first, low, self.operand()]}
        if self.word("LIKE"):
            return {"op": "like", "args": [first, self.operand()]}
        if self.word("IN"):
            self.take("sign", "(")
            values = [self.operand()]
            while self.next() == ("sign", ","):
                self.take("sign", ",")
                values.append(self.operand())
            self.take("sign", ")")
            return {"op": "in", "args": [first, values]}
        return None

    def operand(self) -> Any:
        kind, text = self.next()
        self.at += 1
        if kind == "string":
            return text[1:-1].replace("''", "'")
        if kind == "number":
            return float(text)
        if kind == "quoted":
            return {"property": text[1:-1]}
        if kind == "word" and text.upper() in ("TRUE", "FALSE"):
            return text.upper() == "TRUE"
        if kind == "word" and text.upper() in ("TIMESTAMP", "DATE"):
            self.take("sign", "(")
            value = self.take("string")[1:-1]
            self.take("sign", ")")
            return {text.lower(): value}
        if kind == "word" and text.upper() not in _RESERVED:
            return {"property": text}
        self.at -= 1
        raise self.unexpected("a property or a value")


_RESERVED = ("AND", "OR", "NOT", "IN", "IS", "NULL", "LIKE", "BETWEEN")


def _shape(geometry: Any) -> BaseGeometry:
    from shapely.errors import ShapelyError
    from shapely.geometry import shape

    try:
        return shape(geometry)
    except (ShapelyError, AttributeError, KeyError, TypeError, ValueError):
        raise BadFilter(f"cannot read the geometry {str(geometry)[:40]}") from None


def _geometry(text: str) -> Any:
    from shapely import wkt
    from shapely.errors import ShapelyError
    from shapely.geometry import mapping

    try:
        return mapping(wkt.loads(text))
    except ShapelyError:
        raise BadFilter(f"cannot read the geometry {text[:40]!r}") from None
