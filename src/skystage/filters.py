"""Filters keep a granule or drop it, with one named reason that depends on the granules alone.

The reason is the name of the criterion that failed, or ``unknown NAME`` where the granule does not
say; so reasons can be counted. Criteria on single granules come first, in a fixed order, then
coverage, then those on whole stacks: `min_count` on what matched, and last the picking. Filtering
what was kept changes nothing; only a `min_count` above the number picked cannot hold twice.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
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
from skystage.model import Asset, Granule, Json, canonical, from_iso

if TYPE_CHECKING:
    from skystage.aoi import Area
    from skystage.archives import Archive
    from skystage.spool import Spool

Verdict: TypeAlias = bool | None
"""Matches, does not match, or cannot be told."""
Test: TypeAlias = Callable[[Granule], Verdict]
BREAK = timedelta(minutes=40)
"""A longer pause is between two passes. From one pass to the next in the same direction it is half a
revolution: 44 minutes in the lowest orbits (250 km, by Kepler's third law), 49 for Sentinel-1."""


class Filter:
    """Criteria made ready: first for each granule alone, then for all that are left in a spool.

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

    def __init__(
        self,
        criteria: Mapping[str, Json],
        *,
        properties: Mapping[str, str],
        area: Mapping[str, Json] | None = None,
    ) -> None:
        self._asked = canonical_criteria(criteria, "filter")
        self._properties = properties
        self._covers: Callable[[Iterable[Granule]], bool] | None = None
        if "min_coverage" in self._asked:
            if area is None:
                raise QueryError(
                    "filter.min_coverage: the query has no area", hint="give an area, or leave it out"
                )
            self._covers = _coverage(area, self._asked["min_coverage"])
        self._by_pass = self._asked.get("coverage_by") == "date"
        paths = {name: properties.get(name, name) for name in (*self._asked, "relative_orbit", "frame")}
        self._tests = [
            (name, _test(name, wanted, paths)) for name, wanted in self._asked.items() if name not in GROUPED
        ]

    def reason(self, granule: Granule) -> str | None:
        """Why a granule is dropped when it is looked at alone; None if it is not."""
        for name, test in self._tests:
            if not (verdict := test(granule)):
                return f"unknown {name}" if verdict is None else name
        if self._covers is None:
            return None
        if granule.geometry is None:
            return "unknown min_coverage"
        return None if self._by_pass or self._covers([granule]) else "min_coverage"

    def swath(self, granule: Granule) -> str | None:
        """What the frames of one pass share, where coverage is by pass: `skystage.spool` sorts by it."""
        return swath(granule, self._properties) if self._by_pass else None

    def finish(self, spool: Spool) -> None:
        """Drop from a spool what fails the criteria on several granules."""
        if self._by_pass and self._covers is not None:
            uncovered: list[int] = []
            for frames in passes(spool.swaths()):
                if not self._covers([granule for _, granule in frames]):
                    uncovered += [number for number, _ in frames]
            spool.drop(uncovered, "min_coverage")
        if "min_count" in self._asked:
            few: list[int] = []
            for stack in spool.stacks():
                if len(stack) < self._asked["min_count"]:
                    few += [card.number for card in stack]
            spool.drop(few, "min_count")
        for name in PICKS:
            if name in self._asked:
                _pick(spool, name, self._asked[name])


def asked(
    checks: Mapping[str, Json], area: Mapping[str, Json] | None, properties: Mapping[str, str]
) -> Callable[[Granule], str | None]:
    """Why a granule is not what an archive was asked for; None if it is.

    Some servers ignore a criterion without a word.

    Parameters
    ----------
    checks, properties
        The archive's: see `skystage.archives.Archive`.
    area
        The query's.
    """
    from skystage import aoi

    again = Filter(checks, properties=properties)
    within = None if area is None else aoi.Area(area)

    def reason(granule: Granule) -> str | None:
        if (failed := again.reason(granule)) is not None:
            return failed
        outside = within is not None and (granule.geometry is None or not within.intersects(granule.geometry))
        return "area" if outside else None

    return reason


def dedupe(spool: Spool) -> None:
    """Of several processings of one sensing keep the newest; the rest is dropped as ``superseded``."""
    older: list[int] = []
    for cards in spool.sensings():
        older += [card.number for card in cards[:-1]]
    spool.drop(older, "superseded")


def validate(
    criteria: Mapping[str, Any], *, archive: Archive, labels: Collection[str] = ()
) -> dict[str, Json]:
    """Make a query's ``filter`` canonical: equal questions become equal values.

    Parameters
    ----------
    labels
        The names of values that are read of labels: properties as well.

    Raises
    ------
    QueryError
        If the archive has no such property, or a value has no meaning; one line with the field, what
        was given, what is allowed and the nearest spelling.
    """
    known = {*BUILT_IN, *archive.properties, *(archive.property_names or ()), *labels}
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
    """Whether an asset, or what an archive says of one, meets every criterion of ``select``.

    Beside the values that filters have: ``!x`` is all but x; ``">=5"``, ``"<5"`` and ``"1..5"`` are ranges of
    numbers. Of a list any has to hold, and each that begins with ``!``.
    """
    fields = {**asset.properties, **asset.to_json()} if isinstance(asset, Asset) else asset
    return all(
        _chosen(name, canonical_value(f"select.{name}", value), _lookup(fields, name))
        for name, value in select.items()
    )


def _chosen(name: str, wanted: Json, given: Json) -> bool:
    items = alternatives(name, wanted)
    unwanted = [item[1:] for item in items if isinstance(item, str) and item.startswith("!")]
    others = [item for item in items if not (isinstance(item, str) and item.startswith("!"))]
    if any(_is(name, item, given) for item in unwanted):
        return False
    return not others or any(_is(name, item, given) for item in others)


def _is(name: str, wanted: Json, given: Json) -> bool:
    if isinstance(wanted, str) and isinstance(given, int | float) and not isinstance(given, bool):
        within = expression(wanted)
        return within is not None and within(given)
    return bool(_matcher(name, wanted)(given))


def expression(text: str) -> Callable[[float], bool] | None:
    """A condition on a number, as astroquery's ``filter_products`` writes it; None where it is none."""
    if (match := _COMPARED.fullmatch(text)) is not None:
        compare, bound = _COMPARE[match[1]], number_of(match[2])
        return None if bound is None else lambda number: bool(compare(number, bound))
    first, dots, last = text.partition("..")
    low, high = number_of(first), number_of(last if dots else first)
    if low is None or high is None or low > high:
        return None
    return lambda number: low <= number <= high


_COMPARED = re.compile(r"(>=|<=|>|<)\s*(.*)")
_COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


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
    like = isinstance(wanted, Mapping) and "like" in wanted
    wild = like or name.lower().endswith(("name", "id", "key", "path"))
    items = wanted["contains"] if member else wanted["like"] if like else alternatives(name, wanted)
    tests = [_value_test(item, wild) for item in items]

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


def swath(granule: Granule, properties: Mapping[str, str]) -> str:
    """What all frames of one pass share, as text: the platform, and the direction that it flies in.

    Where the direction is not known, absolute and relative orbit stand for it. A granule of unknown time
    is a pass of its own.

    Parameters
    ----------
    properties
        Criterion to dotted path into `Granule.properties`; see `Filter`.
    """

    def say(name: str) -> Json:
        return _lookup(granule.properties, properties.get(name, name))

    letter = str(say("flight_direction") or say("orbit_direction") or "").strip()[:1].upper()
    side = letter if letter in {"A", "D"} else [say("absolute_orbit"), say("relative_orbit")]
    alone = granule.id if granule.start is None else None
    return canonical([granule.body, granule.collection, say("platform"), side, alone])


def passes(frames: Iterable[tuple[str, int, Granule]]) -> Iterator[list[tuple[int, Granule]]]:
    """Tell passes apart: frames of one swath between which there is no long break.

    Neither the day nor the orbit's number tells: one changes at midnight, the other at the ascending
    node, and both may be in the midst of a pass.

    Parameters
    ----------
    frames
        Swath, number and granule, in order of swath and time.
    """
    found: list[tuple[int, Granule]] = []
    of, last = "", None
    for key, number, granule in frames:
        broken = last is not None and granule.start is not None and granule.start - last > BREAK
        if found and (key != of or broken):
            yield found
            found = []
        found.append((number, granule))
        of, last = key, granule.start
    if found:
        yield found


def _coverage(area: Mapping[str, Json], least: float) -> Callable[[Iterable[Granule]], bool]:
    """Whether granules of one body together cover enough of the area."""
    from skystage import aoi

    ready: dict[str, Area] = {}

    def covers(granules: Iterable[Granule]) -> bool:
        frames = list(granules)
        body = frames[0].body
        if body not in ready:
            ready[body] = aoi.Area(area, body)
        return ready[body].coverage([one.geometry for one in frames if one.geometry is not None]) >= least

    return covers


def _pick(spool: Spool, name: str, count: int) -> None:
    untimed: list[int] = []
    others: list[int] = []
    for stack in spool.stacks():
        timed = [card.number for card in stack if card.rank is not None]
        untimed += [card.number for card in stack if card.rank is None]
        others += timed[:-count] if name == "latest" else timed[count:]
    spool.drop(untimed, f"unknown {name}")
    spool.drop(others, name)
