"""Orbit files: their names, and valid stand-ins for those whose bytes the catalogue does not have.

Format: Earth Explorer ``EOF`` as the Sentinels' POD service writes it (GMES-GSEG-EOPG-FS-10-0075):
an XML header with the validity, then state vectors. The stand-ins have fewer vectors than
the real files, which give one every 10 s, and are right otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from skystage.sandbox.ephemeris import CYCLE, SATELLITES, state

DENSE_STEP = 60
"""Seconds between the state vectors of a file that covers a scene of the catalogue."""
SPARSE_STEP = 600
"""The same for all other files: a listing names thousands, and each wants its MD5."""

_NAME = re.compile(
    r"(?P<mission>S1[A-D])_OPER_AUX_(?P<kind>POE|RES)ORB_OPOD_(?P<created>\d{8}T\d{6})"
    r"_V(?P<start>\d{8}T\d{6})_(?P<stop>\d{8}T\d{6})\.EOF$"
)
_LEAP_SECONDS = ((datetime(2017, 1, 1, tzinfo=UTC), 37), (datetime(2015, 7, 1, tzinfo=UTC), 36))
_OLDEST_LEAP_SECONDS = 35
_DESCRIPTIONS = {"POE": "Precise Orbit Ephemerides (POE) Orbit File", "RES": "NRT POD Restituted Orbit File"}


@dataclass(frozen=True, slots=True)
class OrbitName:
    """What the name of an orbit file says."""

    name: str
    mission: str
    kind: str
    """``AUX_POEORB`` or ``AUX_RESORB``."""
    created: datetime
    start: datetime
    stop: datetime

    @property
    def key(self) -> str:
        """Where the file lies in ASF's bucket."""
        return f"{self.kind}/{self.name}"


def parse_name(name: str) -> OrbitName | None:
    """Read a file name; None if it is not an orbit file's."""
    match = _NAME.search(name)
    if match is None:
        return None
    created, start, stop = (_moment(match[key]) for key in ("created", "start", "stop"))
    return OrbitName(match[0], match["mission"], f"AUX_{match['kind']}ORB", created, start, stop)


def make_name(mission: str, kind: str, created: datetime, start: datetime, stop: datetime) -> OrbitName:
    """Name a file: the opposite of `parse_name`."""
    times = f"{created:%Y%m%dT%H%M%S}_V{start:%Y%m%dT%H%M%S}_{stop:%Y%m%dT%H%M%S}"
    return OrbitName(f"{mission}_OPER_{kind}_OPOD_{times}.EOF", mission, kind, created, start, stop)


def write_eof(orbit: OrbitName, step: int = DENSE_STEP) -> bytes:
    """A valid orbit file for that name.

    Parameters
    ----------
    step
        Seconds between state vectors; one more stands at the end of the validity.
    """
    satellite = SATELLITES.get(orbit.mission, SATELLITES["S1A"])
    leap = next((count for since, count in _LEAP_SECONDS if orbit.start >= since), _OLDEST_LEAP_SECONDS)
    phase = int((orbit.start - satellite.node).total_seconds()) % CYCLE
    length = int((orbit.stop - orbit.start).total_seconds())
    midnight = orbit.start.replace(hour=0, minute=0, second=0)
    vectors = _vectors(
        satellite.name,
        phase,
        int((orbit.start - midnight).total_seconds()),
        length=length,
        step=step,
        leap=leap,
    )
    days = [f"{midnight + timedelta(days=day):%Y-%m-%d}" for day in range(length // 86400 + 3)]
    first = satellite.orbit_at(orbit.start)
    body = "".join(
        f"    <OSV>\n      <TAI>TAI={days[tai_day]}T{tai}.000000</TAI>\n"
        f"      <UTC>UTC={days[utc_day]}T{utc}.000000</UTC>\n"
        f"      <UT1>UT1={days[utc_day]}T{utc}.000000</UT1>\n"
        f"      <Absolute_Orbit>{first + later:+06d}</Absolute_Orbit>\n{numbers}"
        for tai_day, tai, utc_day, utc, later, numbers in vectors
    )
    return _header(orbit, len(vectors)).encode() + body.encode() + _FOOTER


_FOOTER = b"  </List_of_OSVs>\n</Data_Block>\n</Earth_Explorer_File>\n"


@lru_cache(maxsize=128)
def _vectors(
    mission: str, phase: int, second_of_day: int, *, length: int, step: int, leap: int
) -> list[tuple[int, str, int, str, int, str]]:
    """The state vectors of a file without its dates, which are all that differs 12 days later."""
    satellite = SATELLITES[mission]
    start = satellite.node + timedelta(seconds=phase)
    first = satellite.orbit_at(start)
    seconds = [*range(0, length, step), length]
    out = []
    for second in seconds:
        moment = start + timedelta(seconds=second)
        (x, y, z), (vx, vy, vz) = state(satellite, moment)
        numbers = (
            f'      <X unit="m">{x:.6f}</X>\n      <Y unit="m">{y:.6f}</Y>\n      <Z unit="m">{z:.6f}</Z>\n'
            f'      <VX unit="m/s">{vx:.6f}</VX>\n      <VY unit="m/s">{vy:.6f}</VY>\n'
            f'      <VZ unit="m/s">{vz:.6f}</VZ>\n      <Quality>NOMINAL</Quality>\n    </OSV>\n'
        )
        tai_day, tai = _clock(second_of_day + second + leap)
        utc_day, utc = _clock(second_of_day + second)
        out.append((tai_day, tai, utc_day, utc, satellite.orbit_at(moment) - first, numbers))
    return out


def _clock(seconds: int) -> tuple[int, str]:
    day, second = divmod(seconds, 86400)
    return day, f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"


def _header(orbit: OrbitName, count: int) -> str:
    return f"""<?xml version="1.0" ?>
<Earth_Explorer_File>
  <Earth_Explorer_Header>
    <Fixed_Header>
      <File_Name>{orbit.name.removesuffix(".EOF")}</File_Name>
      <File_Description>{_DESCRIPTIONS[orbit.kind[4:7]]}</File_Description>
      <Notes>Stand-in of the skystage sandbox</Notes>
      <Mission>Sentinel-{orbit.mission[1:]}</Mission>
      <File_Class>OPER</File_Class>
      <File_Type>{orbit.kind}</File_Type>
      <Validity_Period>
        <Validity_Start>UTC={orbit.start:%Y-%m-%dT%H:%M:%S}</Validity_Start>
        <Validity_Stop>UTC={orbit.stop:%Y-%m-%dT%H:%M:%S}</Validity_Stop>
      </Validity_Period>
      <File_Version>0001</File_Version>
      <Source>
        <System>OPOD</System>
        <Creator>OPOD</Creator>
        <Creator_Version>1.10.1</Creator_Version>
        <Creation_Date>UTC={orbit.created:%Y-%m-%dT%H:%M:%S}</Creation_Date>
      </Source>
    </Fixed_Header>
    <Variable_Header>
      <Ref_Frame>EARTH_FIXED</Ref_Frame>
      <Time_Reference>UTC</Time_Reference>
    </Variable_Header>
  </Earth_Explorer_Header>
<Data_Block type="xml">
  <List_of_OSVs count="{count}">
"""


def _moment(text: str) -> datetime:
    # About six times as fast as strptime, which counts with the 25,000 times of a whole listing.
    return datetime(
        int(text[:4]),
        int(text[4:6]),
        int(text[6:8]),
        int(text[9:11]),
        int(text[11:13]),
        int(text[13:15]),
        tzinfo=UTC,
    )
