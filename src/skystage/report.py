"""What a plan holds, for people: its stacks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from skystage.model import Granule, Json
from skystage.plan import Once

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The granules of one stack.

    Attributes
    ----------
    dates
        UTC dates with at least one granule, in order.
    longest_gap
        Days between two neighbouring dates, at most; 0 for a single date.
    bytes
        Of all their assets, shared ones once; assets of unknown size count nothing.
    """

    key: str
    direction: str
    path: str
    frame: str
    granules: tuple[str, ...]
    dates: tuple[str, ...]
    longest_gap: int
    platforms: tuple[str, ...]
    bytes: int

    def to_json(self, *, scenes: bool = False) -> dict[str, Json]:
        """For ``--json``; with `scenes` the granules' ids, else their number."""
        return {
            "stack": self.key,
            "direction": self.direction,
            "path": self.path,
            "frame": self.frame,
            "granules": list(self.granules) if scenes else len(self.granules),
            "dates": len(self.dates),
            "first": self.dates[0] if self.dates else None,
            "last": self.dates[-1] if self.dates else None,
            "longest_gap": self.longest_gap,
            "platforms": list(self.platforms),
            "bytes": self.bytes,
        }


def stacks(granules: Iterable[Granule]) -> list[Stack]:
    """Group granules by stack; also those whose direction, path or frame is unknown.

    Sorted by direction, path and frame.
    """
    groups: dict[str, _Members] = defaultdict(_Members)
    for granule in granules:
        groups[granule.stack or UNKNOWN].add(granule)
    found = [members.stack(key) for key, members in groups.items()]
    return sorted(found, key=lambda one: (one.direction, one.path.zfill(6), one.frame.zfill(9), one.key))


class _Members:
    """What a summary says of a stack, gathered while its granules go by."""

    def __init__(self) -> None:
        self._order: list[tuple[bool, datetime | None, str]] = []
        self._first: tuple[bool, datetime | None, str] | None = None
        self._properties: Mapping[str, Json] = {}
        self._platforms: set[str] = set()
        self._once = Once()
        self._bytes = 0

    def add(self, granule: Granule) -> None:
        place = (granule.start is None, granule.start, granule.id)
        self._order.append(place)
        if self._first is None or place < self._first:
            self._first, self._properties = place, granule.properties
        self._platforms.add(str(granule.properties.get("platform") or UNKNOWN))
        self._bytes += sum(asset.size or 0 for asset in granule.assets if self._once.first(asset))

    def stack(self, key: str) -> Stack:
        days = sorted({start.date() for _, start, _ in self._order if start is not None})
        gaps = [after - before for before, after in pairwise(days)]
        first = self._properties
        return Stack(
            key=key,
            direction=str(first.get("flightDirection") or UNKNOWN).lower(),
            path=str(first.get("pathNumber", UNKNOWN)),
            frame=str((first.get("burst") or {}).get("fullBurstID") or first.get("frameNumber", UNKNOWN)),
            granules=tuple(name for _, _, name in sorted(self._order)),
            dates=tuple(day.isoformat() for day in days),
            longest_gap=max(gaps, default=timedelta(0)).days,
            platforms=tuple(sorted(self._platforms)),
            bytes=self._bytes,
        )
