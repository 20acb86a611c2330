"""Stand-ins for the light curves of Kepler, K2 and TESS: FITS tables with the columns of the real ones.

Columns, units and keywords are those of the missions' archive manuals (KDMC-10008, EXP-TESS-ARC-ICD-0014);
fluxes are made up. A star dims when its planets pass; a moment in which the telescope did something else has
its quality flag, and some have no time and no flux.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from skystage.sandbox import fits
from skystage.sandbox.files import Content, Made

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MODIFIED = datetime(2018, 9, 10, 15, 0, tzinfo=UTC)
_NO_DATA, _THRUSTER, _DESATURATION = 1 << 16, 1 << 20, 1 << 5
"""Bits of the flags: Kepler Archive Manual, table 2-3, with K2's additions; TESS, table 32."""


@dataclass(frozen=True, slots=True)
class Planet:
    """What passes in front of a star."""

    period: float
    """Days."""
    epoch: float
    """The middle of a passage, in the days of the light curve."""
    depth: float
    """What it takes away, as a part of one."""
    duration: float = 0.13
    """Days."""


@dataclass(frozen=True, slots=True)
class Series:
    """When and how a light curve was measured."""

    telescope: str
    mission: str
    part: tuple[str, int]
    """CAMPAIGN, QUARTER or SECTOR, and its number."""
    start: float
    """Days since `reference`."""
    cadence: float
    """Days."""
    count: int
    reference: int
    """The Julian day that times count from."""

    @property
    def stop(self) -> float:
        """The last moment."""
        return self.start + self.cadence * (self.count - 1)


def k2(campaign: int) -> Series:
    """A campaign of K2 in long cadence; campaign 3 is the one that it knows."""
    return Series("Kepler", "K2", ("CAMPAIGN", campaign), 2144.10, 0.0204338, 3386, 2454833)


def kepler(quarter: int) -> Series:
    """A quarter of Kepler in long cadence: one of the first three."""
    start, count = ((120.54, 476), (131.51, 1639), (169.77, 4354))[quarter]
    return Series("Kepler", "Kepler", ("QUARTER", quarter), start, 0.0204338, count, 2454833)


def tess(sector: int) -> Series:
    """A sector of TESS every two minutes; sector 1 is the one that it knows."""
    return Series("TESS", "TESS", ("SECTOR", sector), 1325.29, 0.00138889, 20076, 2457000)


def content(
    name: str,
    star: tuple[str, int],
    place: tuple[float, float],
    series: Series,
    planets: Sequence[Planet] = (),
) -> Content:
    """A light curve.

    Parameters
    ----------
    star
        EPIC, KIC or TIC, and the number there.
    place
        Right ascension and declination, degrees.
    """
    return Made(name, "application/fits", _MODIFIED, lambda: _write(star, place, series, planets))


def _write(
    star: tuple[str, int], place: tuple[float, float], series: Series, planets: Sequence[Planet]
) -> bytes:
    tess_like = series.telescope == "TESS"
    catalogue, number = star
    common: dict[str, fits.Value] = {
        "TELESCOP": series.telescope,
        "INSTRUME": f"{series.telescope} Photometer",
        "OBJECT": f"{catalogue} {number}",
        "TICID" if tess_like else "KEPLERID": number,
        "RADESYS": "ICRS",
        "RA_OBJ": place[0],
        "DEC_OBJ": place[1],
        "EQUINOX": 2000.0,
    }
    part, which = series.part
    first: fits.Cards = {
        "EXTNAME": "PRIMARY",
        "ORIGIN": "skystage sandbox",
        **common,
        "MISSION": series.mission,
        part: which,
    }
    times: fits.Cards = {
        "TIMEREF": "SOLARSYSTEM",
        "TASSIGN": "SPACECRAFT",
        "TIMESYS": "TDB",
        "BJDREFI": series.reference,
        "BJDREFF": 0.0,
        "TIMEUNIT": "d",
        "EXPOSURE": round(series.count * series.cadence * 0.92, 6),
        "TSTART": round(series.start, 6),
        "TSTOP": round(series.stop, 6),
        "TIMEDEL": series.cadence,
    }
    columns = _columns(tess_like=tess_like, reference=series.reference)
    rows = _rows(number, series, planets, [(name, form) for name, form, _ in columns])
    pieces = [
        *fits.primary(first),
        *fits.table("LIGHTCURVE", columns, rows, {**common, **times}),
        *fits.image("APERTURE", 32, (8, 8), (3).to_bytes(4, "big"), common),
    ]
    return b"".join(piece if isinstance(piece, bytes) else piece.read(0, piece.length) for piece in pieces)


def _columns(*, tess_like: bool, reference: int) -> list[tuple[str, str, str | None]]:
    flux = "e-/s"
    return [
        ("TIME", "D", f"BJD - {reference}" + (", days" if tess_like else "")),
        ("TIMECORR", "E", "d"),
        ("CADENCENO", "J", None),
        *((name, "E", flux) for name in ("SAP_FLUX", "SAP_FLUX_ERR", "SAP_BKG", "SAP_BKG_ERR")),
        *((name, "E", flux) for name in ("PDCSAP_FLUX", "PDCSAP_FLUX_ERR")),
        ("QUALITY" if tess_like else "SAP_QUALITY", "J", None),
        *(
            column
            for way in ("PSF", "MOM")
            for axis in (1, 2)
            for column in (
                (f"{way}_CENTR{axis}", "D", "pixel"),
                (f"{way}_CENTR{axis}_ERR", "E", "pixel"),
            )
        ),
        *((f"POS_CORR{axis}", "E", "pixels") for axis in (1, 2)),
    ]


def _rows(number: int, series: Series, planets: Sequence[Planet], columns: list[tuple[str, str]]) -> bytes:
    import numpy as np

    random = np.random.default_rng(number)
    step = np.arange(series.count)
    time = series.start + series.cadence * step
    level = 2e4 * 10 ** random.uniform(-0.5, 0.8)
    noise = 2e-3 / np.sqrt(level / 100)
    light = _light(time, planets) + random.normal(0, noise, series.count)
    # Every six hours the telescope is turned back, and the star has moved on its pixels meanwhile.
    drift = (step % 12) / 12 - 0.5
    flag, every = (_DESATURATION, 1800) if series.telescope == "TESS" else (_THRUSTER, 12)
    quality = np.where(step % every == every - 1, flag, 0)
    values: dict[str, NDArray[np.floating] | NDArray[np.integer] | float] = {
        "TIME": time,
        "TIMECORR": 2e-3 * np.sin(step / 1000),
        "CADENCENO": step + zlib.crc32(series.mission.encode()) % 100_000,
        "SAP_FLUX": level * (light * 0.97 + 2e-3 * drift),
        "SAP_FLUX_ERR": level * noise,
        "SAP_BKG": level * 0.01,
        "SAP_BKG_ERR": level * 1e-4,
        "PDCSAP_FLUX": np.where(quality, np.nan, level * light),
        "PDCSAP_FLUX_ERR": np.where(quality, np.nan, level * noise),
        columns[9][0]: quality,
        "MOM_CENTR1": 500 + drift,
        "MOM_CENTR1_ERR": 1e-3,
        "MOM_CENTR2": 300 + drift / 2,
        "MOM_CENTR2_ERR": 1e-3,
        "POS_CORR1": drift,
        "POS_CORR2": drift / 2,
    }
    rows = np.zeros(series.count, [(name, f">{_NUMPY[form]}") for name, form in columns])
    gone = (step >= series.count // 2) & (step < series.count // 2 + 8)
    for name, form in columns:
        # Centroids by the stars' images were never measured; what is no number is what the real files have.
        rows[name] = values.get(name, np.nan)
        if form != "J":
            rows[name][gone] = np.nan
    rows[columns[9][0]][gone] = _NO_DATA
    return rows.tobytes()


def _light(time: NDArray[np.floating], planets: Sequence[Planet]) -> NDArray[np.floating]:
    """What is left of the star's light, as a part of one."""
    import numpy as np

    light = np.ones(len(time))
    for planet in planets:
        phase = (time - planet.epoch + planet.period / 2) % planet.period - planet.period / 2
        light -= planet.depth * (np.abs(phase) < planet.duration / 2)
    return light


_NUMPY = {"D": "f8", "E": "f4", "J": "i4"}
