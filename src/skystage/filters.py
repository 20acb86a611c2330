"""Filters: a pure function of granules that keeps them or drops each with one named reason.

The reason is the name of the criterion that failed, or ``unknown NAME`` where the granule does not
say; so reasons can be counted. Criteria on single granules come first, in a fixed order, then
coverage, then those on whole stacks: `min_count` on what matched, and last the picking. Filtering
what was kept changes nothing; only a `min_count` above the number picked cannot hold twice.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any, TypeAlias

from skystage.errors import QueryError
from skystage.model import Asset, Dropped, Granule, Json, canonical, from_iso, iso

if TYPE_CHECKING:
    from skystage.archives import Archive

Verdict: TypeAlias = bool | None
"""Matches, does not match, or cannot be told."""
Test: TypeAlias = Callable[[Granule], Verdict]

PICKS = ("latest", "earliest", "max_count")
BUILT_IN = (
    *("start", "end", "months", "day_of_year", "path_frame", "min_coverage", "coverage_by", "min_count"),
    *PICKS,
)
"""Criteria that skystage works out itself; all others test one property of the granule."""
_DIRECTIONS = ("ASCENDING", "DESCENDING")
_WORDS = {
    "flight_direction": _DIRECTIONS,
    "orbit_direction": _DIRECTIONS,
    "look_direction": ("LEFT", "RIGHT"),
}
"""Criteria with a closed list of words, of which archives say the first letter or the whole."""
_FORMS = "one value, a list of alternatives, {min: , max: } or {contains: [...]}"
_DATES = "a date (2018-01-31) or a UTC time (2018-01-31T12:00:00Z)"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:?\d\d.*)?")
_DAY = 10
"""Characters of a bare date."""


@dataclass(frozen=True, slots=True)
class Filtered:
    """What was kept and what was dropped, both in the order of the input."""

    kept: list[Granule] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)


def apply(
    granules: Iterable[Granule],
    criteria: Mapping[str, Json],
    *,
    properties: Mapping[str, str],
    area: Mapping[str, Json] | None = None,
) -> Filtered:
    """Keep the granules that meet every criterion.

    Parameters
    ----------
    criteria
        As the query file says them; `validate` has made sure that the archive knows them.
    properties
        Criterion to dotted path into `Granule.properties`; a name that is not there is a path itself.
    area
        The area of interest, which `min_coverage` is a fraction of.

    Raises
    ------
    QueryError
        If a criterion cannot be evaluated at all: its value has no meaning, or there is no area.
    """
    asked = _canonical_all(criteria, "filter")
    if "min_coverage" in asked and area is None:
        raise QueryError("filter.min_coverage: the query has no area", hint="give an area, or leave it out")
    paths = {name: properties.get(name, name) for name in (*asked, "relative_orbit", "frame")}
    tests = [(name, _test(name, asked[name], paths)) for name in sorted(asked) if name not in _GROUPED]
    everything = list(granules)
    reasons: dict[int, str] = {}

    def left() -> list[int]:
        return [n for n in range(len(everything)) if n not in reasons]

    for n, granule in enumerate(everything):
        for name, test in tests:
            if not (verdict := test(granule)):
                reasons[n] = f"unknown {name}" if verdict is None else name
                break
    if area is not None and "min_coverage" in asked:
        passes = asked.get("coverage_by", "scene") == "date"
        keys = {n: _pass(everything[n], properties) if passes else n for n in left()}
        reasons |= _uncovered(everything, keys, area, asked["min_coverage"])
    if "min_count" in asked:
        for members in _by_stack(everything, left()).values():
            if len(members) < asked["min_count"]:
                reasons |= dict.fromkeys(members, "min_count")
    for name in PICKS:
        if name in asked:
            for members in _by_stack(everything, left()).values():
                reasons |= _pick(everything, members, name, asked[name])
    return Filtered(
        [granule for n, granule in enumerate(everything) if n not in reasons],
        [Dropped(id=everything[n].id, reason=reasons[n]) for n in sorted(reasons)],
    )


def validate(criteria: Mapping[str, Any], *, archive: Archive) -> dict[str, Json]:
    """Make a query's ``filter`` canonical: equal questions become equal values.

    Raises
    ------
    QueryError
        If the archive has no such property, or a value has no meaning; one line with the field, what
        was given, what is allowed and the nearest spelling.
    """
    known = {*BUILT_IN, *archive.properties, *(archive.property_names or ())}
    # One that needs two properties is only there where both are.
    if archive.property_names is not None and not {"relative_orbit", "frame"} <= set(archive.properties):
        known.discard("path_frame")
    for name in criteria:
        if name == "season":
            raise QueryError(
                "filter.season: not a filter",
                hint="say months: [12, 1, 2] or day_of_year: [335, 60]; both wrap the year",
            )
        # Where properties are open any name may be one, but not a misspelt criterion of ours.
        open_name = archive.property_names is None and not difflib.get_close_matches(
            str(name), BUILT_IN, 1, 0.8
        )
        if name not in known and not open_name:
            near = difflib.get_close_matches(str(name), sorted(known), 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
            raise QueryError(f"filter.{name}: archive {archive.name!r} has no such property", hint=hint)
    return _canonical_all(criteria, "filter")


def validate_select(select: Mapping[str, Any]) -> dict[str, Json]:
    """Make a query's ``select`` canonical: any field of an asset, with the values that filters have."""
    return {str(name): _canonical(f"select.{name}", value) for name, value in sorted(select.items())}


def selects(select: Mapping[str, Json], asset: Asset | Mapping[str, Json]) -> bool:
    """Whether an asset, or what an archive says of one, meets every criterion of ``select``."""
    fields = asset.to_json() if isinstance(asset, Asset) else asset
    return all(
        _matcher(name, _canonical(f"select.{name}", value))(_lookup(fields, name))
        for name, value in select.items()
    )


def dedupe(
    granules: Iterable[Granule],
    *,
    sensing: Callable[[Granule], Hashable | None],
    processed: Callable[[Granule], str],
) -> Filtered:
    """Keep one granule once, and of several processings of one sensing the newest.

    The same granule again (archive, collection and id) is skipped without a word: it is not dropped.

    Parameters
    ----------
    sensing
        What several processings of one sensing share; None where a granule is the only one.
    processed
        When a granule was processed, as text that sorts; the rest is dropped as ``superseded``.
    """
    once = {(g.archive, g.collection, g.id): g for g in reversed(list(granules))}
    newest: dict[Hashable, tuple[str, str, str]] = {}
    ranks = []
    for granule in reversed(once.values()):
        key = sensing(granule)
        # The names decide between equals, so that the order of the input does not.
        rank = (processed(granule), granule.native_id, granule.collection)
        ranks.append((granule, key, rank))
        if key is not None:
            newest[key] = max(newest.get(key, rank), rank)
    result = Filtered()
    for granule, key, rank in ranks:
        if key is None or newest[key] == rank:
            result.kept.append(granule)
        else:
            result.dropped.append(Dropped(id=granule.id, reason="superseded"))
    return result


def stacks(granules: Iterable[Granule]) -> dict[str, list[Granule]]:
    """The granules by stack, stacks by key and granules by time; those of unknown time come first."""
    found: dict[str, list[Granule]] = {}
    for granule in sorted(granules, key=_when):
        found.setdefault(granule.stack, []).append(granule)
    return dict(sorted(found.items()))


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
        except ValueError as error:
            raise QueryError(f"{name}: got {given!r}: {error}", hint=f"allowed: {_DATES}") from None
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime.combine(value, time.max if last else time.min, UTC)
    raise QueryError(f"{name}: got {given!r}", hint=f"allowed: {_DATES}")


# --------------------------------------------------------------------------------------------------
# Canonical values

_GROUPED = frozenset({"min_coverage", "coverage_by", "min_count", *PICKS})


def _refuse(name: str, value: Any, allowed: str) -> QueryError:
    return QueryError(f"{name}: got {value!r}", hint=f"allowed: {allowed}")


def _canonical_all(criteria: Mapping[str, Any], where: str) -> dict[str, Json]:
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
        number = None if isinstance(value, str) else _number(value)
        if number is None or not 0 <= number <= 1:
            raise _refuse(field, value, "a fraction of the area, 0 to 1")
        return number
    if name == "coverage_by":
        if value not in ("scene", "date"):
            raise _refuse(field, value, "scene, or date (all frames of one pass)")
        return value
    if name == "months":
        return sorted(set(_whole(field, _many(field, value), 12, "months 1 to 12")))
    if name == "day_of_year":
        days = _whole(field, _many(field, value), 366, "[first, last], days 1 to 366; may wrap the year")
        if len(days) != 2:
            raise _refuse(field, value, "[first, last], days 1 to 366; may wrap the year")
        return days
    if name == "path_frame":
        return _pairs(field, value)
    if name == "polarization":
        return _polarization(field, value)
    if name in _WORDS:
        return _one(sorted({_word(field, item, _WORDS[name]) for item in _many(field, value)}))
    return _canonical(field, value)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _many(field: str, value: Any) -> list[Any]:
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
    items = _many(field, value)
    pairs = items if isinstance(items[0], list | tuple) else [items]
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or any(_number(n) is None for n in pair):
            raise _refuse(field, value, "[path, frame], or a list of such pairs")
    return [list(pair) for pair in sorted({tuple(_number(n) for n in pair) for pair in pairs})]


def _channels(text: str) -> list[str]:
    """Co-polarized channels first, as archives write them."""
    found = {part.strip().upper() for part in re.split(r"[+&,/]", text)}
    return sorted(found - {""}, key=lambda channel: (channel[0] != channel[-1], channel))


def _polarization(field: str, value: Any) -> Json:
    member = isinstance(value, Mapping)
    if member and list(value) != ["contains"]:
        raise _refuse(field, dict(value), "VV, VV+VH, a list of such alternatives, or {contains: [VV]}")
    items = _many(field, value["contains"] if member else value)
    for item in items:
        if not isinstance(item, str) or not _channels(item):
            raise _refuse(field, item, "channels such as VV or VV+VH")
    if member:
        return {"contains": _channels("+".join(items))}
    return _one(sorted({"+".join(_channels(item)) for item in items}))


def _word(field: str, value: Any, words: tuple[str, ...]) -> str:
    text = str(value).strip().upper()
    for word in words:
        if text and word.startswith(text):
            return word
    near = difflib.get_close_matches(text, words, 1)
    raise _refuse(field, value, " or ".join(words) + (f"; did you mean {near[0]!r}?" if near else ""))


def _canonical(field: str, value: Any) -> Json:
    if isinstance(value, Mapping):
        return _form(field, value)
    items = [_form(field, v) if isinstance(v, Mapping) else _scalar(field, v) for v in _many(field, value)]
    return _one([item for _, item in sorted({canonical(item): item for item in items}.items())])


def _form(field: str, value: Mapping[str, Any]) -> Json:
    if list(value) == ["contains"]:
        items = [_scalar(field, item) for item in _many(field, value["contains"])]
        return {"contains": [item for _, item in sorted({canonical(item): item for item in items}.items())]}
    if not value or not set(value) <= {"min", "max"}:
        raise _refuse(field, dict(value), _FORMS)
    bounds = {side: _bound(f"{field}.{side}", value[side], last=side == "max") for side in sorted(value)}
    if len(bounds) == 2:
        low, high = _comparable(bounds["min"], bounds["max"]), _comparable(bounds["max"], bounds["min"])
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
    number = _number(value)
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
    number = None if isinstance(value, str) else _number(value)
    if number is None:
        raise _refuse(field, value, _FORMS)
    return number


# --------------------------------------------------------------------------------------------------
# Tests on one granule


def _number(value: Any) -> int | float | None:
    """A finite number, also one in a text; whole ones as int, so that 20 and 20.0 are one."""
    if isinstance(value, str):
        text = value.strip()
        if not _NUMBER.fullmatch(text):
            return None
        value = int(text) if text.lstrip("+-").isdecimal() else float(text)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value) if value == int(value) else value


def _comparable(value: Json, other: Json) -> Any:
    """The value as what `other` is: a number, a time or a text; None where it is no such thing."""
    if not isinstance(other, str):
        return _number(value)
    if _TIME.fullmatch(other):
        try:
            return from_iso(value) if isinstance(value, str) else None
        except ValueError:
            return None
    return value.casefold() if isinstance(value, str) else None


def _lookup(properties: Mapping[str, Json], path: str) -> Json:
    """A property by its whole name, else by the dotted path; None where there is none."""
    if path in properties:
        return properties[path]
    found: Json = properties
    for step in path.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _test(name: str, wanted: Json, paths: Mapping[str, str]) -> Test:
    if name in {"start", "end"}:
        limit = from_iso(wanted)
        return lambda g: _touches(g, limit, after=name == "start")
    if name == "months":
        return lambda g: None if g.start is None else g.start.month in wanted
    if name == "day_of_year":
        first, last = wanted
        return lambda g: None if g.start is None else _in_season(g.start.timetuple().tm_yday, first, last)
    if name == "path_frame":
        pairs = {tuple(pair) for pair in wanted}
        return lambda g: _in_pairs(g, paths["relative_orbit"], paths["frame"], pairs)
    path = paths[name]
    if name == "polarization":
        return lambda g: _polarized(_lookup(g.properties, path), wanted)
    if name in _WORDS:
        letters = {word[0] for word in _many(name, wanted)}
        known = {word[0] for word in _WORDS[name]}
        return lambda g: _points(_lookup(g.properties, path), letters, known)
    matches = _matcher(name, wanted)
    return lambda g: matches(_lookup(g.properties, path))


def _touches(granule: Granule, limit: datetime, *, after: bool) -> Verdict:
    moments = [side for side in (granule.start, granule.stop) if side is not None]
    if not moments:
        return None
    return max(moments) >= limit if after else min(moments) <= limit


def _in_season(day: int, first: int, last: int) -> bool:
    return first <= day <= last if first <= last else day >= first or day <= last


def _in_pairs(granule: Granule, path: str, frame: str, pairs: set[tuple[Any, ...]]) -> Verdict:
    pair = (_number(_lookup(granule.properties, path)), _number(_lookup(granule.properties, frame)))
    return None if None in pair else pair in pairs


def _polarized(given: Json, wanted: Json) -> Verdict:
    if not (channels := _channels("+".join(map(str, given if isinstance(given, list) else [given or ""])))):
        return None
    if isinstance(wanted, Mapping):
        return set(wanted["contains"]) <= set(channels)
    return "+".join(channels) in _many("", wanted)


def _points(given: Json, letters: set[str], known: set[str]) -> Verdict:
    letter = given.strip()[:1].upper() if isinstance(given, str) else ""
    return letter in letters if letter in known and given.strip().upper() != "NA" else None


def _matcher(name: str, wanted: Json) -> Callable[[Json], Verdict]:
    """A property matches one alternative; one that is a list matches by any of its members."""
    member = isinstance(wanted, Mapping) and "contains" in wanted
    wild = name.lower().endswith(("name", "id", "key", "path"))
    tests = [_value_test(item, wild) for item in (wanted["contains"] if member else _many(name, wanted))]

    def matches(given: Json) -> Verdict:
        values = [item for item in (given if isinstance(given, list) else [given]) if item not in (None, "")]
        if not values:
            return None
        if member:
            return all(any(test(value) for value in values) for test in tests)
        verdicts = [test(value) for value in values for test in tests]
        return True if True in verdicts else None if None in verdicts else False  # noqa: RUF100, SIM210

    return matches


def _value_test(wanted: Json, wild: bool) -> Callable[[Json], Verdict]:  # noqa: FBT001
    if isinstance(wanted, Mapping):
        return lambda value: _within(value, wanted)
    if isinstance(wanted, bool):
        return lambda value: str(value).casefold() == str(wanted).casefold()
    if not isinstance(wanted, str):
        return lambda value: _number(value) == wanted
    if wild and ("*" in wanted or "?" in wanted):
        text = re.escape(wanted).replace(r"\*", ".*").replace(r"\?", ".")
        pattern = re.compile(text, re.IGNORECASE | re.DOTALL)
        return lambda value: pattern.fullmatch(str(value)) is not None
    folded, number = wanted.casefold(), _number(wanted)

    def equal(value: Json) -> Verdict:
        if isinstance(value, str | bool):
            return str(value).strip().casefold() == folded
        return number is not None and _number(value) == number

    return equal


def _within(value: Json, bounds: Mapping[str, Json]) -> Verdict:
    for side, bound in bounds.items():
        ours, limit = _comparable(value, bound), _comparable(bound, bound)
        if ours is None:
            return None
        if (ours < limit) if side == "min" else (ours > limit):
            return False
    return True


# --------------------------------------------------------------------------------------------------
# Tests on several granules


def _pass(granule: Granule, properties: Mapping[str, str]) -> Hashable:
    """What the frames of one pass share: the absolute orbit of a platform, else the day and the track."""

    def say(name: str) -> str:
        return str(_lookup(granule.properties, properties.get(name, name)))

    orbit, track = say("absolute_orbit"), say("relative_orbit")
    if orbit != "None":
        return (granule.collection, say("platform"), orbit)
    if granule.start is None:
        return (granule.collection, granule.id)
    return (granule.collection, say("platform"), granule.start.astimezone(UTC).date(), track)


def _uncovered(
    granules: list[Granule], keys: Mapping[int, Hashable], area: Mapping[str, Json], least: float
) -> dict[int, str]:
    from skystage import aoi

    groups: dict[Hashable, list[int]] = {}
    reasons: dict[int, str] = {}
    ready: dict[str, aoi.Area] = {}
    for n, key in keys.items():
        if granules[n].geometry is None:
            reasons[n] = "unknown min_coverage"
        else:
            groups.setdefault((granules[n].body, key), []).append(n)
    for members in groups.values():
        body = granules[members[0]].body
        if body not in ready:
            ready[body] = aoi.Area(area, body)
        footprints = [geometry for n in members if (geometry := granules[n].geometry) is not None]
        if ready[body].coverage(footprints) < least:
            reasons |= dict.fromkeys(members, "min_coverage")
    return reasons


def _by_stack(granules: list[Granule], numbers: list[int]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for n in numbers:
        found.setdefault(granules[n].stack, []).append(n)
    return found


def _when(granule: Granule) -> tuple[datetime, str, str]:
    first = datetime.min.replace(tzinfo=UTC)
    return (granule.start or first, granule.native_id, granule.collection)


def _pick(granules: list[Granule], members: list[int], name: str, count: int) -> dict[int, str]:
    known = sorted((n for n in members if granules[n].start is not None), key=lambda n: _when(granules[n]))
    picked = set(known[-count:] if name == "latest" else known[:count])
    return {n: f"unknown {name}" if granules[n].start is None else name for n in members if n not in picked}
