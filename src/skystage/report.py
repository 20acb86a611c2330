"""What a plan holds, for people: its stacks, and which passes of each track cover the area."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from skystage.filters import passes, swath
from skystage.model import Granule, Json, iso
from skystage.plan import Once

UNKNOWN = "unknown"


class Scene(NamedTuple):
    """A granule of a stack."""

    id: str
    start: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The granules of one stack.

    Attributes
    ----------
    scenes
        In order of time; those of unknown time come last.
    dates
        UTC dates with at least one granule, in order.
    longest_gap
        Days between two neighbouring dates, at most; 0 for a single date.
    bytes
        Of all their assets, shared ones once; assets of unknown size count nothing.
    paid_bytes
        Of those that the requester pays for.
    paid_unsized
        How many of those are of unknown size.
    """

    key: str
    direction: str
    path: str
    frame: str
    scenes: tuple[Scene, ...]
    dates: tuple[str, ...]
    longest_gap: int
    platforms: tuple[str, ...]
    bytes: int
    paid_bytes: int = 0
    paid_unsized: int = 0

    @property
    def granules(self) -> tuple[str, ...]:
        """The ids of its scenes."""
        return tuple(scene.id for scene in self.scenes)

    def to_json(self, *, scenes: bool = False) -> dict[str, Json]:
        """For ``--json``; with `scenes` the granules' ids, else their number, and the time of each."""
        out: dict[str, Json] = {
            "stack": self.key,
            "direction": self.direction,
            "path": self.path,
            "frame": self.frame,
            "granules": list(self.granules) if scenes else len(self.scenes),
            "dates": len(self.dates),
            "first": self.dates[0] if self.dates else None,
            "last": self.dates[-1] if self.dates else None,
            "longest_gap": self.longest_gap,
            "platforms": list(self.platforms),
            "bytes": self.bytes,
            "paid_bytes": self.paid_bytes,
            "paid_unsized": self.paid_unsized,
        }
        if scenes:
            out["scenes"] = [{"id": one.id, "start": one.start and iso(one.start)} for one in self.scenes]
        return out


def stacks(granules: Iterable[Granule]) -> list[Stack]:
    """Group granules by stack; also those whose direction, path or frame is unknown.

    Sorted by direction, path and frame.
    """
    groups: dict[str, _Members] = defaultdict(_Members)
    for granule in granules:
        groups[granule.stack or UNKNOWN].add(granule)
    # One after the other is let go: with 100,000 scenes there is no room for all of it twice.
    found = [groups.pop(key).stack(key) for key in list(groups)]
    return sorted(found, key=lambda one: (one.direction, one.path.zfill(6), one.frame.zfill(9), one.key))


class _Members:
    """What a summary says of a stack, gathered while its granules go by."""

    def __init__(self) -> None:
        self._order: list[tuple[bool, datetime | None, str]] = []
        self._first: tuple[bool, datetime | None, str] | None = None
        self._properties: Mapping[str, Json] = {}
        self._platforms: set[str] = set()
        self._once = Once()
        self._bytes = self._paid = self._paid_unsized = 0

    def add(self, granule: Granule) -> None:
        place = (granule.start is None, granule.start, granule.id)
        self._order.append(place)
        if self._first is None or place < self._first:
            self._first, self._properties = place, granule.properties
        self._platforms.add(_platform(granule.properties))
        for asset in granule.assets:
            if self._once.first(asset):
                self._bytes += asset.size or 0
                self._paid += asset.paid * (asset.size or 0)
                self._paid_unsized += asset.paid and asset.size is None

    def stack(self, key: str) -> Stack:
        scenes = tuple(Scene(name, start) for _, start, name in sorted(self._order))
        days = sorted({scene.start.date() for scene in scenes if scene.start is not None})
        gaps = [after - before for before, after in pairwise(days)]
        first = self._properties
        burst = (first.get("burst") or {}).get("fullBurstID") or first.get("operaBurstID")
        return Stack(
            key=key,
            direction=_direction(first),
            # A tile is seen from several.
            path=UNKNOWN if "tileId" in first else _path(first),
            frame=str(burst or first.get("frameNumber") or first.get("tileId", UNKNOWN)),
            scenes=scenes,
            dates=tuple(day.isoformat() for day in days),
            longest_gap=max(gaps, default=timedelta(0)).days,
            platforms=tuple(sorted(self._platforms)),
            bytes=self._bytes,
            paid_bytes=self._paid,
            paid_unsized=self._paid_unsized,
        )


def _direction(properties: Mapping[str, Json]) -> str:
    said = properties.get("flightDirection") or properties.get("orbitDirection")
    return str(said or UNKNOWN).lower()


def _path(properties: Mapping[str, Json]) -> str:
    return str(properties.get("pathNumber") or properties.get("relativeOrbitNumber", UNKNOWN))


def _platform(properties: Mapping[str, Json]) -> str:
    return str(properties.get("platform") or UNKNOWN)


# --------------------------------------------------------------------------------------------------
# Which passes cover the area


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """The frames that a platform took of the area on one pass.

    Attributes
    ----------
    date
        UTC date of the first frame; None where its time is not known.
    coverage
        The part of the area, 0..1, that the union of the frames covers, by true area.
    missing
        Stacks of which other passes of the track have a frame that would add to the coverage, in order;
        empty where the pass covers enough.
    """

    date: str | None
    platform: str
    granules: tuple[str, ...]
    coverage: float
    missing: tuple[str, ...]

    def to_json(self) -> dict[str, Json]:
        """For ``--json``."""
        return {
            "date": self.date,
            "platform": self.platform,
            "granules": list(self.granules),
            "coverage": self.coverage,
            "missing": list(self.missing),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """The passes of one track, in order of time: those that cover enough of the area, and those that do not.

    Attributes
    ----------
    path
        The number of the track; two where it changes in the midst of a pass, at the ascending node.
    """

    direction: str
    path: str
    covered: tuple[Pass, ...]
    uncovered: tuple[Pass, ...]

    @property
    def passes(self) -> list[Pass]:
        """All of them, in order of time; those of unknown time come last."""
        return sorted(
            (*self.covered, *self.uncovered), key=lambda one: (one.date is None, one.date, one.granules)
        )

    def to_json(self) -> dict[str, Json]:
        """For ``--json``."""
        return {
            "direction": self.direction,
            "path": self.path,
            "covered": [one.to_json() for one in self.covered],
            "uncovered": [one.to_json() for one in self.uncovered],
        }


def coverage_by_date(
    granules: Iterable[Granule],
    area: Mapping[str, Json],
    *,
    properties: Mapping[str, str],
    least: float = 1.0,
) -> list[Track]:
    """Tell for each date of each track whether its frames cover the area, and if not, why.

    A date is a pass, and covers the area where the filter ``{min_coverage: least, coverage_by: date}``
    keeps it.

    Parameters
    ----------
    granules
        In any order. What this holds of each is its footprint and its names.
    area
        A GeoJSON geometry as `skystage.aoi.parse` returns it, in degrees of the granules' body.
    properties
        Criterion to property, as the granules' archive has it.
    least
        The part of the area, 0..1, that is enough.
    """
    from skystage import aoi

    ready: dict[str, aoi.Area] = {}

    def cover(frames: Sequence[Granule]) -> float:
        body = frames[0].body
        if body not in ready:
            ready[body] = aoi.Area(area, body)
        return ready[body].coverage([one.geometry for one in frames if one.geometry is not None])

    tracks: dict[tuple[str, tuple[str, ...]], list[Sequence[Granule]]] = defaultdict(list)
    # Those with two numbers first: what has one of them may be a part of the same.
    for frames in sorted(_passes(granules, properties), key=lambda one: -len(_paths(one))):
        tracks[_home(frames, tracks)].append(frames)
    return [
        _in_order(direction, " ".join(paths), members, cover, least)
        for (direction, paths), members in sorted(tracks.items(), key=lambda one: _rank(*one[0]))
    ]


_Cover: TypeAlias = Callable[[Sequence[Granule]], float]


def _passes(granules: Iterable[Granule], properties: Mapping[str, str]) -> Iterator[list[Granule]]:
    said = ("flightDirection", "orbitDirection", "pathNumber", "relativeOrbitNumber", "platform")
    frames = []
    for granule in granules:
        # What else there is of a granule may go.
        kept = {name: granule.properties[name] for name in said if name in granule.properties}
        slim = replace(granule, properties=kept, assets=(), unresolved=())
        frames.append((swath(granule, properties), slim))
    frames.sort(key=lambda one: (one[0], one[1].start, one[1].id))
    numbered = ((key, number, frame) for number, (key, frame) in enumerate(frames))
    for found in passes(numbered):
        yield [frame for _, frame in found]


def _paths(frames: Iterable[Granule]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_path(frame.properties) for frame in frames))


def _stacks(frames: Iterable[Granule]) -> set[str]:
    return {frame.stack for frame in frames if frame.stack}


def _home(
    frames: Sequence[Granule], tracks: Mapping[tuple[str, tuple[str, ...]], list[Sequence[Granule]]]
) -> tuple[str, tuple[str, ...]]:
    """The track of a pass; of one side of the ascending node, the track that has its frames on that side."""
    direction, paths, own = _direction(frames[0].properties), _paths(frames), _stacks(frames)
    for (towards, numbers), others in tracks.items():
        if towards == direction and set(paths) < set(numbers) and any(own & _stacks(one) for one in others):
            return towards, numbers
    return direction, paths


def _rank(direction: str, paths: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    return direction, tuple(path.zfill(6) for path in paths)


def _in_order(
    direction: str, path: str, members: list[Sequence[Granule]], cover: _Cover, least: float
) -> Track:
    """The passes of a track in order of time, covered or not."""
    outlines = {frame.stack: frame for frames in members for frame in frames if frame.stack}
    made: dict[bool, list[Pass]] = {True: [], False: []}
    for frames in sorted(members, key=lambda one: (one[0].start is None, one[0].start, one[0].id)):
        part = cover(frames)
        missing = [
            stack
            for stack in sorted(outlines.keys() - _stacks(frames))
            if part < least and cover([*frames, outlines[stack]]) > part + _SEAM
        ]
        start = frames[0].start
        one = Pass(
            date=None if start is None else start.date().isoformat(),
            platform=_platform(frames[0].properties),
            granules=tuple(frame.id for frame in frames),
            coverage=part,
            missing=tuple(missing),
        )
        made[part >= least].append(one)
    return Track(direction=direction, path=path, covered=tuple(made[True]), uncovered=tuple(made[False]))


_SEAM = 1e-9
"""A part of the area that rounding may add."""
