"""The built-in Sentinel-2 products: a tile of Belgium in June 2018, and what searches must tell apart.

Dates, orbits and sensing times follow the satellites' cycle (143 orbits in 10 days; the next track to the
west comes 43 orbits later); cloud covers, times of making and which baselines there are, are made up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from skystage.sandbox.sentinel2 import Scene

_PASSES = {
    ("S2A", 8): (datetime(2018, 6, 7, 10, 40, 21, tzinfo=UTC), 15449),
    ("S2A", 51): (datetime(2018, 6, 10, 10, 50, 31, tzinfo=UTC), 15492),
    ("S2A", 94): (datetime(2018, 6, 13, 11, 0, 31, tzinfo=UTC), 15535),
    ("S2B", 8): (datetime(2018, 6, 2, 10, 40, 19, tzinfo=UTC), 6469),
    ("S2B", 51): (datetime(2018, 6, 5, 10, 50, 29, tzinfo=UTC), 6512),
    ("S2B", 94): (datetime(2018, 6, 8, 11, 0, 29, tzinfo=UTC), 6555),
}
"""The first pass over Belgium in June 2018 by satellite and relative orbit: its time and absolute orbit."""
_CUTS = {("31UFS", 51): (0.943, 0.79), ("31UES", 94): (0.7, 0.3)}
"""Where the swath ends inside a tile, as in `sentinel2_images.View`."""


@dataclass(frozen=True, slots=True)
class _Pass:
    mission: str
    relative: int
    cycle: int
    """How many times 10 days after the first one."""

    @property
    def sensed(self) -> datetime:
        return _PASSES[self.mission, self.relative][0] + timedelta(days=10 * self.cycle)

    @property
    def orbit(self) -> int:
        return _PASSES[self.mission, self.relative][1] + 143 * self.cycle


def scenes() -> Iterator[Scene]:
    """All of them; the same every time."""
    june = {
        _Pass("S2B", 8, 0): 96.6,
        _Pass("S2B", 51, 0): 88.1,
        _Pass("S2A", 8, 0): 12.4,
        _Pass("S2A", 51, 0): 61.5,
        _Pass("S2B", 8, 1): 99.2,
        _Pass("S2B", 51, 1): 17.9,
        _Pass("S2A", 8, 1): 4.3,
        _Pass("S2A", 51, 1): 2.6,
        _Pass("S2B", 8, 2): 43.0,
        _Pass("S2B", 51, 2): 8.8,
        _Pass("S2A", 8, 2): 0.9,
        _Pass("S2A", 51, 2): 19.7,
    }
    unmeasured, twice = _Pass("S2B", 51, 2), (_Pass("S2A", 8, 1), _Pass("S2A", 51, 1), _Pass("S2A", 8, 2))
    for one, cover in june.items():
        # One was never reprocessed, and its record is one of those without size and checksum.
        if one == unmeasured:
            yield _scene(one, "L2A", "0208", cover, measured=False)
            continue
        yield _scene(one, "L2A", "0500", cover)
        if one in twice:
            yield _scene(one, "L2A", "0208", cover + 1.5)
        if cover < 20:
            yield _scene(one, "L1C", "0500", cover)
    yield _scene(twice[1], "L1C", "0206", 1.2)
    # The tile to the west, partly on the next track.
    yield _scene(_Pass("S2A", 51, 1), "L2A", "0500", 5.1, tile="31UES")
    yield _scene(_Pass("S2A", 94, 0), "L2A", "0500", 35.2, tile="31UES")
    yield _scene(_Pass("S2B", 94, 0), "L2A", "0500", 71.9, tile="31UES")
    # Before and after June: one offline, and one each of other layouts and manifests.
    yield _scene(_Pass("S2A", 51, -1), "L2A", "0500", 7.7, online=False)
    yield _scene(_Pass("S2A", 8, -1), "L2A", "0208", 14.9)
    yield _scene(_Pass("S2B", 51, -7), "L2A", "0207", 28.0)
    yield _scene(_Pass("S2A", 51, -36), "L2A", "0205", 9.9)
    yield _scene(_Pass("S2A", 51, 182), "L2A", "0509", 3.3)


def _scene(
    one: _Pass,
    level: str,
    baseline: str,
    cover: float,
    *,
    tile: str = "31UFS",
    online: bool = True,
    measured: bool = True,
) -> Scene:
    # Reprocessed in 2023; else two to four hours after the sensing, level 2A after 1C.
    later = timedelta(hours=2 + (level == "L2A"), minutes=one.orbit % 50, seconds=one.orbit % 59)
    made = datetime(2023, 7, 15, tzinfo=UTC) + timedelta(days=one.orbit % 40) + later
    if baseline != "0500":
        made = one.sensed + later
    name = (
        f"{one.mission}_MSI{level}_{one.sensed:%Y%m%dT%H%M%S}_N{baseline}_R{one.relative:03d}_T{tile}"
        f"_{made:%Y%m%dT%H%M%S}"
    )
    cut = _CUTS.get((tile, one.relative))
    return Scene(name, cover, one.orbit, cut, online=online, measured=measured)
