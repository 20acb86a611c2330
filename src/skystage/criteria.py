"""Criteria: the values that filters may have, made canonical, so that equal questions are equal values.

One value, a list of alternatives, ``{min: , max: }``, ``{contains: [...]}`` or ``{like: ...}``; and for the
few criteria that skystage works out itself a form of their own. Whatever has no meaning is refused here, in
one line that names the field, what was given and what is allowed.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Any

from skystage.errors import QueryError
from skystage.model import Json, canonical, from_iso, iso

PICKS = ("latest", "earliest", "max_count")
BUILT_IN = (
    *("start", "end", "months", "day_of_year", "path_frame", "min_coverage", "coverage_by", "min_count"),
    *PICKS,
)
"""Criteria that skystage works out itself; all others test one property of the granule."""
GROUPED = frozenset({"min_coverage", "coverage_by", "min_count", *PICKS})
"""Criteria that look at more than one granule, or at the area."""
UNIT = ":unit"
"""Behind the name of a value that is read of labels: the property that holds its unit, where there is one."""
_DIRECTIONS = ("ASCENDING", "DESCENDING")
WORDS = {
    "flight_direction": _DIRECTIONS,
    "orbit_direction": _DIRECTIONS,
    "look_direction": ("LEFT", "RIGHT"),
}
"""Criteria with a closed list of words, of which archives say the first letter or the whole."""
_FORMS = "one value, a list of alternatives, {min: , max: }, {contains: [...]} or {like: ...}"
_DATES = "a date (2018-01-31) or a UTC time (2018-01-31T12:00:00Z)"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:?\d\d.*)?")
_DAY = 10
"""Characters of a bare date."""


def moment(value: Any, *, name: str, last: bool = False) -> datetime:
    """A date or time as UTC: a bare date is the day's first moment, or its `last` microsecond.

    Raises
    ------
    QueryError
        If it is neither; words such as ``yesterday`` would ask a different question every day.
    """
    given = value
    if isinstance(value, str) and _TIME.fullmatch(value.strip()):
        try:
            value = (
                from_iso(value.strip()) if len(value.strip()) > _DAY else date.fromisoformat(value.strip())
            )
        except (ValueError, OverflowError) as error:
            raise QueryError(f"{name}: got {given!r}: {error}", hint=f"allowed: {_DATES}") from None
    if isinstance(value, datetime):
        try:
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        except OverflowError:  # year 0 or 10,000 once it is brought to UTC
            raise _refuse(name, given, _DATES) from None
    if isinstance(value, date):
        return datetime.combine(value, time.max if last else time.min, UTC)
    raise QueryError(f"{name}: got {given!r}", hint=f"allowed: {_DATES}")


def _refuse(name: str, value: Any, allowed: str) -> QueryError:
    return QueryError(f"{name}: got {value!r}", hint=f"allowed: {allowed}")


def canonical_criteria(criteria: Mapping[str, Any], where: str) -> dict[str, Json]:
    """Every criterion made canonical, those that need each other checked; `where` begins the errors' field.

    Raises
    ------
    QueryError
        If a value has no meaning, or two criteria cannot stand together.
    """
    found = {str(name): _criterion(f"{where}.{name}", str(name), value) for name, value in criteria.items()}
    if len(picks := [name for name in PICKS if name in found]) > 1:
        raise QueryError(f"{where}: {' and '.join(picks)} exclude each other", hint="keep one of them")
    if "coverage_by" in found and "min_coverage" not in found:
        raise QueryError(
            f"{where}.coverage_by: there is no min_coverage", hint="it says how min_coverage counts"
        )
    if "start" in found and "end" in found and from_iso(found["end"]) < from_iso(found["start"]):
        raise QueryError(f"{where}.end: {found['end']} is before start {found['start']}", hint="swap them")
    return dict(sorted(found.items()))


def _criterion(field: str, name: str, value: Any) -> Json:
    if name in {"start", "end"}:
        return iso(moment(value, name=field, last=name == "end"))
    if name in {"min_count", *PICKS}:
        if not _is_int(value) or value < 1:
            raise _refuse(field, value, "a whole number, at least 1")
        return value
    if name == "min_coverage":
        number = None if isinstance(value, str) else number_of(value)
        if number is None or not 0 <= number <= 1:
            raise _refuse(field, value, "a fraction of the area, 0 to 1")
        return number
    if name == "coverage_by":
        if value not in ("scene", "date"):
            raise _refuse(field, value, "scene, or date (all frames of one pass)")
        return value
    if name == "months":
        return sorted(set(_whole(field, alternatives(field, value), 12, "months 1 to 12")))
    if name == "day_of_year":
        days = _whole(
            field, alternatives(field, value), 366, "[first, last], days 1 to 366; may wrap the year"
        )
        if len(days) != 2:
            raise _refuse(field, value, "[first, last], days 1 to 366; may wrap the year")
        return days
    if name == "path_frame":
        return _pairs(field, value)
    if name == "polarization":
        return _polarization(field, value)
    if name in WORDS:
        return _one(sorted({_word(field, item, WORDS[name]) for item in alternatives(field, value)}))
    return canonical_value(field, value)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def alternatives(field: str, value: Any) -> list[Any]:
    """The members of a list, or the one value; an empty list is refused."""
    if not isinstance(value, list | tuple | set | frozenset):
        return [value]
    if not value:
        raise QueryError(
            f"{field}: got an empty list", hint="it would match nothing: leave the key out, or name a value"
        )
    return list(value)


def _one(values: list[Any]) -> Json:
    """A list of one is that one: both ask the same."""
    return values[0] if len(values) == 1 else values


def _whole(field: str, values: list[Any], top: int, allowed: str) -> list[int]:
    for value in values:
        if not _is_int(value) or not 1 <= value <= top:
            raise _refuse(field, value, allowed)
    return values


def _pairs(field: str, value: Any) -> Json:
    items = alternatives(field, value)
    pairs = items if isinstance(items[0], list | tuple) else [items]
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or any(number_of(n) is None for n in pair):
            raise _refuse(field, value, "[path, frame], or a list of such pairs")
    return [list(pair) for pair in sorted({tuple(number_of(n) for n in pair) for pair in pairs})]


def channels(text: str) -> list[str]:
    """Co-polarized channels first, as archives write them."""
    found = {part.strip().upper() for part in re.split(r"[+&,/]", text)}
    return sorted(found - {""}, key=lambda channel: (channel[0] != channel[-1], channel))


def _polarization(field: str, value: Any) -> Json:
    member = isinstance(value, Mapping)
    if member and list(value) != ["contains"]:
        raise _refuse(field, dict(value), "VV, VV+VH, a list of such alternatives, or {contains: [VV]}")
    items = alternatives(field, value["contains"] if member else value)
    for item in items:
        if not isinstance(item, str) or not channels(item):
            raise _refuse(field, item, "channels such as VV or VV+VH")
    if member:
        return {"contains": channels("+".join(items))}
    return _one(sorted({"+".join(channels(item)) for item in items}))


def _word(field: str, value: Any, words: tuple[str, ...]) -> str:
    text = str(value).strip().upper()
    for word in words:
        if text and word.startswith(text):
            return word
    near = difflib.get_close_matches(text, words, 1)
    raise _refuse(field, value, " or ".join(words) + (f"; did you mean {near[0]!r}?" if near else ""))


def canonical_value(field: str, value: Any) -> Json:
    """The value of any property's criterion; the order of alternatives and their doubles do not matter."""
    if isinstance(value, Mapping):
        return _form(field, value)
    items = [
        _form(field, v) if isinstance(v, Mapping) else _scalar(field, v) for v in alternatives(field, value)
    ]
    return _one([item for _, item in sorted({canonical(item): item for item in items}.items())])


def _form(field: str, value: Mapping[str, Any]) -> Json:
    if list(value) in (["contains"], ["like"]):
        ((form, given),) = value.items()
        items = [_scalar(field, item) for item in alternatives(field, given)]
        if form == "like" and not all(isinstance(item, str) for item in items):
            raise _refuse(field, dict(value), "{like: a text with * and ? as wildcards, or a list of such}")
        return {form: [item for _, item in sorted({canonical(item): item for item in items}.items())]}
    if not value or not set(value) <= {"min", "max"}:
        raise _refuse(field, dict(value), _FORMS)
    bounds = {side: _bound(f"{field}.{side}", value[side], last=side == "max") for side in sorted(value)}
    if len(bounds) == 2:
        low, high = comparable(bounds["min"], bounds["max"]), comparable(bounds["max"], bounds["min"])
        if low is None or high is None:
            raise _refuse(field, dict(value), "two numbers, two times, or two texts")
        if low > high:
            raise QueryError(f"{field}: min {value['min']} is more than max {value['max']}", hint="swap them")
    return bounds


def _bound(field: str, value: Any, *, last: bool) -> Json:
    if isinstance(value, date) or (isinstance(value, str) and _TIME.fullmatch(value.strip())):
        return iso(moment(value, name=field, last=last))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _refuse(field, value, "a number, a time or a text")
    number = number_of(value)
    return _scalar(field, value) if number is None else number


def _scalar(field: str, value: Any) -> Json:
    if isinstance(value, datetime):
        return iso(moment(value, name=field))
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip():
        return value.strip()
    number = None if isinstance(value, str) else number_of(value)
    if number is None:
        raise _refuse(field, value, _FORMS)
    return number


def number_of(value: Any) -> int | float | None:
    """A finite number, also one in a text; whole ones as int, so that 20 and 20.0 are one."""
    if isinstance(value, str):
        text = value.strip()
        if not _NUMBER.fullmatch(text):
            return None
        value = int(text) if text.lstrip("+-").isdecimal() else float(text)
    if isinstance(value, int):
        return None if isinstance(value, bool) else value
    if not isinstance(value, float) or not math.isfinite(value):
        return None
    return int(value) if value == int(value) else value


def comparable(value: Json, other: Json) -> Any:
    """The value as what `other` is: a number, a time or a text; None where it is no such thing."""
    if not isinstance(other, str):
        return number_of(value)
    if _TIME.fullmatch(other):
        try:
            return from_iso(value) if isinstance(value, str) else None
        except ValueError:
            return None
    return value.casefold() if isinstance(value, str) else None
