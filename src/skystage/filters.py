"""Filters: a pure function of granules that keeps them or drops each with one named reason.

The reason is the name of the criterion that failed, or ``unknown NAME`` where the granule does not
say; so reasons can be counted. Criteria on single granules come first, in a fixed order, then
coverage, then those on whole stacks: `min_count` on what matched, and last the picking. Filtering
what was kept changes nothing; only a `min_count` above the number picked cannot hold twice.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from skystage.criteria import (
    BUILT_IN,
    GROUPED,
    PICKS,
    WORDS,
    alternatives,
    canonical_criteria,
    canonical_value,
    channels,
    comparable,
    number_of,
)
from skystage.errors import QueryError
from skystage.model import Asset, Dropped, Granule, Json, from_iso

if TYPE_CHECKING:
    from skystage.archives import Archive

Verdict: TypeAlias = bool | None
"""Matches, does not match, or cannot be told."""
Test: TypeAlias = Callable[[Granule], Verdict]


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
    asked = canonical_criteria(criteria, "filter")
    if "min_coverage" in asked and area is None:
        raise QueryError("filter.min_coverage: the query has no area", hint="give an area, or leave it out")
    paths = {name: properties.get(name, name) for name in (*asked, "relative_orbit", "frame")}
    tests = [(name, _test(name, asked[name], paths)) for name in sorted(asked) if name not in GROUPED]
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
    return canonical_criteria(criteria, "filter")


def validate_select(select: Mapping[str, Any]) -> dict[str, Json]:
    """Make a query's ``select`` canonical: any field of an asset, with the values that filters have."""
    return {str(name): canonical_value(f"select.{name}", value) for name, value in sorted(select.items())}


def selects(select: Mapping[str, Json], asset: Asset | Mapping[str, Json]) -> bool:
    """Whether an asset, or what an archive says of one, meets every criterion of ``select``."""
    fields = asset.to_json() if isinstance(asset, Asset) else asset
    return all(
        _matcher(name, canonical_value(f"select.{name}", value))(_lookup(fields, name))
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
    once: dict[tuple[str, str, str], Granule] = {}
    for granule in granules:
        once.setdefault((granule.archive, granule.collection, granule.id), granule)
    newest: dict[Hashable, tuple[str, str, str]] = {}
    ranks = []
    for granule in once.values():
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


# --------------------------------------------------------------------------------------------------
# Tests on one granule


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
    if name in WORDS:
        letters = {word[0] for word in alternatives(name, wanted)}
        known = {word[0] for word in WORDS[name]}
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
    pair = (number_of(_lookup(granule.properties, path)), number_of(_lookup(granule.properties, frame)))
    return None if None in pair else pair in pairs


def _polarized(given: Json, wanted: Json) -> Verdict:
    found = channels("+".join(map(str, given if isinstance(given, list) else [given or ""])))
    if not found:
        return None
    if isinstance(wanted, Mapping):
        return set(wanted["contains"]) <= set(found)
    return "+".join(found) in alternatives("", wanted)


def _points(given: Json, letters: set[str], known: set[str]) -> Verdict:
    letter = given.strip()[:1].upper() if isinstance(given, str) else ""
    return letter in letters if letter in known and given.strip().upper() != "NA" else None


def _matcher(name: str, wanted: Json) -> Callable[[Json], Verdict]:
    """A property matches one alternative; one that is a list matches by any of its members."""
    member = isinstance(wanted, Mapping) and "contains" in wanted
    wild = name.lower().endswith(("name", "id", "key", "path"))
    tests = [
        _value_test(item, wild) for item in (wanted["contains"] if member else alternatives(name, wanted))
    ]

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
        return lambda value: number_of(value) == wanted
    if wild and ("*" in wanted or "?" in wanted):
        text = re.escape(wanted).replace(r"\*", ".*").replace(r"\?", ".")
        pattern = re.compile(text, re.IGNORECASE | re.DOTALL)
        return lambda value: pattern.fullmatch(str(value)) is not None
    folded, number = wanted.casefold(), number_of(wanted)

    def equal(value: Json) -> Verdict:
        if isinstance(value, str | bool):
            return str(value).strip().casefold() == folded
        return number is not None and number_of(value) == number

    return equal


def _within(value: Json, bounds: Mapping[str, Json]) -> Verdict:
    for side, bound in bounds.items():
        ours, limit = comparable(value, bound), comparable(bound, bound)
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
