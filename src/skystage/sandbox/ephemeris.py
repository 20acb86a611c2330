"""Where the Sentinel-1 satellites are: a circular orbit that repeats its ground track every 12 days.

Good to some tens of kilometres, which is what generated footprints, state vectors and orbit
files need to agree with one another and with the map. From public facts: 175 orbits in 12
days, sun-synchronous at 98.18 degrees, relative orbit = (absolute orbit - 73) mod 175 + 1
for Sentinel-1A and 27 instead of 73 for Sentinel-1B (ESA, Sentinel-1 mission guide).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

CYCLE = 12 * 86400
ORBITS = 175
PERIOD = CYCLE / ORBITS
_RADIUS = 7_070_480.0
_INCLINATION = math.radians(98.182)
_NODE_LONGITUDE = math.radians(-128.03 + 8.7)
"""Longitude of the ascending node of relative orbit 35."""
_TURN = 2 * math.pi
_FIRST_MERIDIAN_ORBIT = 35
_NEAR, _FAR = math.radians(3.28), math.radians(5.6)
"""Central angles from the ground track to the near and far edge of an IW swath."""


@dataclass(frozen=True, slots=True)
class Satellite:
    """One of the satellites: when it began an orbit of relative number 35, and which one that was."""

    name: str
    node: datetime
    orbit: int

    def orbit_at(self, moment: datetime) -> int:
        """The absolute orbit number."""
        return self.orbit + math.floor((moment - self.node).total_seconds() / PERIOD)

    def node_of(self, orbit: int) -> datetime:
        """When an absolute orbit crosses the equator northwards."""
        return self.node + timedelta(seconds=(orbit - self.orbit) * PERIOD)

    def first_pass(self, relative_orbit: int, after: datetime) -> int:
        """The first absolute orbit of that relative number that begins after a moment."""
        orbit = self.orbit_at(after) + 1
        return orbit + (relative_orbit - self.relative(orbit)) % ORBITS

    def relative(self, orbit: int) -> int:
        """The relative orbit number of an absolute one."""
        return (orbit - self.orbit + _FIRST_MERIDIAN_ORBIT - 1) % ORBITS + 1


SATELLITES = {
    "S1A": Satellite("S1A", datetime(2018, 1, 8, 1, 57, 20, tzinfo=UTC), 20057),
    "S1B": Satellite("S1B", datetime(2018, 1, 2, 1, 56, 50, tzinfo=UTC), 8986),
    "S1C": Satellite("S1C", datetime(2025, 4, 1, 1, 57, 20, tzinfo=UTC), 1606),
}

"""Sentinel-1C's phase is made up: no scene of the built-in catalogue is its."""

Vector = tuple[float, float, float]


def state(satellite: Satellite, moment: datetime) -> tuple[Vector, Vector]:
    """Earth-fixed position (m) and velocity (m/s)."""
    return _state((moment - satellite.node).total_seconds() % CYCLE)


@lru_cache(maxsize=65536)
def _state(seconds: float) -> tuple[Vector, Vector]:
    rate, spin = _TURN / PERIOD, -_TURN / 86400
    u, node = rate * seconds, _NODE_LONGITUDE + spin * seconds
    ci, si = math.cos(_INCLINATION), math.sin(_INCLINATION)
    a, b, c = math.cos(u), math.sin(u) * ci, math.sin(u) * si
    da, db, dc = -math.sin(u) * rate, math.cos(u) * ci * rate, math.cos(u) * si * rate
    cn, sn = math.cos(node), math.sin(node)
    x, y = a * cn - b * sn, a * sn + b * cn
    vx, vy = da * cn - db * sn - y * spin, da * sn + db * cn + x * spin
    return (_RADIUS * x, _RADIUS * y, _RADIUS * c), (_RADIUS * vx, _RADIUS * vy, _RADIUS * dc)


def corners(satellite: Satellite, start: datetime, stop: datetime) -> dict[str, tuple[float, float]]:
    """Longitude and latitude (degrees) of near and far edge at both ends of an IW scene."""
    return {
        f"{edge}_{end}": _beside(state(satellite, moment), angle)
        for end, moment in (("START", start), ("END", stop))
        for edge, angle in (("NEAR", _NEAR), ("FAR", _FAR))
    }


def _beside(at: tuple[Vector, Vector], angle: float) -> tuple[float, float]:
    """The point on the ground at right angles to the track, on the right, `angle` away."""
    position, velocity = _unit(at[0]), at[1]
    right = _unit(_cross(velocity, position))
    x, y, z = (math.cos(angle) * p + math.sin(angle) * r for p, r in zip(position, right, strict=True))
    # Geocentric to geodetic latitude on WGS 84.
    latitude = math.atan2(z, math.hypot(x, y) * (1 - 0.00669437999))
    return round(math.degrees(math.atan2(y, x)), 6), round(math.degrees(latitude), 6)


def _cross(a: Vector, b: Vector) -> Vector:
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def _unit(a: Vector) -> Vector:
    length = math.hypot(*a)
    return (a[0] / length, a[1] / length, a[2] / length)
