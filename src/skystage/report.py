"""What a plan holds, for people: its stacks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from skystage.model import Granule, Json

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
    groups: dict[str, list[Granule]] = defaultdict(list)
    for granule in granules:
        groups[granule.stack or UNKNOWN].append(granule)
    found = [_stack(key, members) for key, members in groups.items()]
    return sorted(found, key=lambda one: (one.direction, one.path.zfill(6), one.frame.zfill(9), one.key))


def _stack(key: str, members: list[Granule]) -> Stack:
    members = sorted(members, key=lambda one: (one.start is None, one.start, one.id))
    days = sorted({one.start.date() for one in members if one.start is not None})
    gaps = [after - before for before, after in pairwise(days)]
    sizes = {asset.path: asset.size or 0 for one in members for asset in one.assets}
    first = members[0].properties
    return Stack(
        key=key,
        direction=str(first.get("flightDirection") or UNKNOWN).lower(),
        path=str(first.get("pathNumber", UNKNOWN)),
        frame=str((first.get("burst") or {}).get("fullBurstID") or first.get("frameNumber", UNKNOWN)),
        granules=tuple(one.id for one in members),
        dates=tuple(day.isoformat() for day in days),
        longest_gap=max(gaps, default=timedelta(0)).days,
        platforms=tuple(sorted({str(one.properties.get("platform") or UNKNOWN) for one in members})),
        bytes=sum(sizes.values()),
    )
