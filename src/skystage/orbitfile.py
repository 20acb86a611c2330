"""Sentinel-1 orbit files: what a name says, how far the file reaches beyond a scene, whether it is whole.

Format: Earth Explorer ``EOF`` of the Copernicus POD service (GMES-GSEG-EOPG-FS-10-0075): a header with
the validity, then a state vector every 10 s.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TypeAlias

from skystage.errors import StructureError
from skystage.model import Granule, Json, from_iso

KEY = "orbit"
NOTE = "skystage:orbit"
"""The property that says which orbit file was chosen for a granule, as `pairing` has it."""
TYPES = ("AUX_POEORB", "AUX_RESORB")
"""The better kind first."""
ORBIT = timedelta(seconds=12 * 86400 / 175)
"""One revolution: Sentinel-1 repeats its track after 175 orbits in 12 days."""
MARGIN = timedelta(seconds=60)
STEP = timedelta(seconds=10)
"""Between two state vectors: the first may come that much after the validity has begun."""
APART = timedelta(minutes=10)
"""Vectors that are further apart than this cannot be interpolated between: a tenth of a revolution."""

Need: TypeAlias = tuple[str, datetime, datetime]
"""Mission (``S1A``) and sensing interval, UTC."""


@dataclass(frozen=True, slots=True)
class OrbitName:
    """What the name of an orbit file says; times in UTC."""

    name: str
    mission: str
    kind: str
    """One of `TYPES`, or a kind that is of no use here."""
    created: datetime
    start: datetime
    stop: datetime

    def covers(self, start: datetime, stop: datetime) -> bool:
        """Whether it reaches from one orbit before `start` to a minute after `stop`."""
        return self.start <= start - ORBIT and stop + MARGIN <= self.stop


def parse_name(name: str) -> OrbitName | None:
    """Read a file name; None for names of another form."""
    from eof.products import SentinelOrbit

    try:
        parsed = SentinelOrbit(name).full_parse()
        created, start, stop = (
            datetime.strptime(parsed[field], SentinelOrbit.TIME_FMT).replace(tzinfo=UTC)
            for field in ("created_datetime", "start_datetime", "stop_datetime")
        )
    except ValueError:
        return None
    return OrbitName(name, parsed["mission"], f"AUX_{parsed['orbit_type']}", created, start, stop)


def mission(granule: Granule) -> str | None:
    """``S1A`` to ``S1D``; None for granules of other missions."""
    platform = str(granule.properties.get("platform", "")).upper().replace(" ", "-")
    return f"S1{platform[-1]}" if platform.startswith("SENTINEL-1") else None


def need(granule: Granule) -> Need | None:
    """Mission and sensing interval of a Sentinel-1 granule; None if it is none, or has no times."""
    satellite = mission(granule)
    if satellite is None or granule.start is None or granule.stop is None:
        return None
    return satellite, granule.start, granule.stop


def pairing(file: OrbitName, start: datetime, stop: datetime) -> dict[str, Json]:
    """What plan, manifest and table say of the orbit file that was chosen for a sensing interval.

    ``margin_before`` and ``margin_after`` are the seconds by which the file's validity reaches beyond it.
    A restituted orbit is ``upgradable``: made again three weeks later, the plan has the precise one.
    """
    return {
        "type": file.kind,
        "file": file.name,
        "upgradable": file.kind != TYPES[0],
        "margin_before": (start - file.start).total_seconds(),
        "margin_after": (file.stop - stop).total_seconds(),
    }


def check(content: bytes, file: OrbitName) -> None:
    """Read an orbit file and compare it with what its name promises.

    Raises
    ------
    StructureError
        If it is empty or no whole XML, if its header names another validity, or if its state vectors
        are fewer than it says, out of order, too far apart, or do not reach over the validity.
    """
    if not content:
        raise StructureError(f"{file.name}: is empty")
    try:
        root = ET.fromstring(content)  # noqa: S314 - expat of Python 3.11 bounds expansion
        # The namespace came and went with the versions of the format.
        begin, end = (_moment(root.findtext(f".//{{*}}Validity_{word}")) for word in ("Start", "Stop"))
        times = [_moment(one.text) for one in root.iterfind("{*}Data_Block/{*}List_of_OSVs/{*}OSV/{*}UTC")]
        listed = root.find("{*}Data_Block/{*}List_of_OSVs")
        count = int("" if listed is None else listed.get("count", ""))
    except ET.ParseError as error:
        raise StructureError(f"{file.name}: broken XML: {error}") from error
    except ValueError as error:
        raise StructureError(f"{file.name}: not as an orbit file is: {error}") from error
    if (begin, end) != (file.start, file.stop):
        raise StructureError(f"{file.name}: its header says {begin:%FT%TZ} to {end:%FT%TZ}")
    if len(times) != count or not times:
        raise StructureError(f"{file.name}: {len(times):,} state vectors, it says {count:,}")
    if any(later <= earlier for earlier, later in pairwise(times)):
        raise StructureError(f"{file.name}: its state vectors are out of order")
    if any(later - earlier > APART for earlier, later in pairwise(times)):
        raise StructureError(f"{file.name}: there are gaps between its state vectors")
    if times[0] > begin + STEP or times[-1] < end - STEP:
        reach = f"{times[0]:%FT%TZ} to {times[-1]:%FT%TZ}"
        raise StructureError(f"{file.name}: its state vectors reach only from {reach}")


def _moment(text: str | None) -> datetime:
    return from_iso((text or "").strip().removeprefix("UTC="))
