"""Light curves as Kepler, K2 and TESS write them: which column is what, and what a quality flag means.

Times are barycentric Julian dates less a zero of the mission's own (`Curve.time_zero`), in TDB. Nothing is
converted, and no cadence is left out: what was flagged is told by the column ``good``.
"""

from __future__ import annotations

import difflib
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from skystage import fitsfile
from skystage.errors import QueryError, StructureError, Unresolvable

if TYPE_CHECKING:
    from astropy.io.fits import BinTableHDU
    from numpy.typing import NDArray

Values: TypeAlias = "NDArray[Any]"

CORRECTED, RAW = "corrected", "raw"
"""Fluxes under any mission's name."""
FLUXES: Mapping[str, tuple[str, ...]] = {CORRECTED: ("PDCSAP_FLUX", "FCOR"), RAW: ("SAP_FLUX", "FRAW")}
"""Columns of corrected and of raw flux: of the missions' own files, and of K2SFF's."""
RELATIVE = ("FCOR", "FRAW")
"""Those that are parts of their median, and so have no unit."""
TIMES = ("TIME", "T")
CADENCES = ("CADENCENO",)
QUALITIES = ("SAP_QUALITY", "QUALITY", "MOVING")
SEGMENTS = ("quarter", "campaign", "sector")
"""What a light curve is one of: of Kepler, K2 and TESS."""

DEFAULT, HARD, NONE = "default", "hard", "none"
CHOICES = (DEFAULT, HARD, NONE)


@dataclass(frozen=True, slots=True)
class Flags:
    """What the bits of a quality column mean.

    Attributes
    ----------
    meanings
        By bit, counted from 0.
    spoilt
        Bits of cadences whose flux is spoilt: ``default``.
    doubtful
        Bits of cadences whose flux may be: with the others ``hard``.
    """

    meanings: Mapping[int, str]
    spoilt: frozenset[int]
    doubtful: frozenset[int]

    def mask(self, quality: str | int) -> int:
        """The bad flags, as a sum."""
        if isinstance(quality, int):
            return quality
        bits = {DEFAULT: self.spoilt, HARD: self.spoilt | self.doubtful, NONE: frozenset[int]()}[quality]
        return sum(1 << bit for bit in bits)

    def counted(self, values: Values) -> Iterator[tuple[str, int]]:
        """Every flag that is set, and at how many cadences."""
        for bit in range(31):
            if count := int(((values >> bit) & 1).sum()):
                yield self.meanings.get(bit, f"flag {1 << bit}"), count


KEPLER = Flags(
    {
        0: "attitude tweak",
        1: "safe mode",
        2: "coarse point",
        3: "earth point",
        4: "zero crossing",
        5: "reaction wheel desaturation",
        6: "argabrightening",
        7: "cosmic ray in the aperture",
        8: "manual exclude",
        10: "sudden sensitivity dropout",
        11: "impulsive outlier",
        12: "argabrightening on the channel",
        13: "cosmic ray in collateral data",
        14: "detector anomaly",
        15: "no fine point",
        16: "no data",
        17: "rolling band in the aperture",
        18: "rolling band in the mask",
        19: "possible thruster firing",
        20: "thruster firing",
    },
    spoilt=frozenset({0, 1, 2, 3, 5, 8, 14, 16, 20}),
    doubtful=frozenset({7, 10, 13, 19}),
)
"""Kepler and K2: Kepler Archive Manual (KDMC-10008-006), table 2-3, and the K2 Handbook."""
TESS = Flags(
    {
        0: "attitude tweak",
        1: "safe mode",
        2: "coarse point",
        3: "earth point",
        4: "argabrightening",
        5: "reaction wheel desaturation",
        6: "cosmic ray in the aperture",
        7: "manual exclude",
        8: "discontinuity corrected",
        9: "impulsive outlier",
        10: "cosmic ray in collateral data",
        11: "stray light",
        12: "scattered light",
        13: "planet search exclude",
        14: "bad calibration",
        15: "too few targets for the correction",
    },
    spoilt=frozenset({0, 1, 2, 3, 4, 5, 7, 9, 14}),
    doubtful=frozenset({6, 10, 11, 12}),
)
"""TESS Science Data Products Description Document (EXP-TESS-ARC-ICD-0014), table of cadence quality flags."""
MOVING = Flags({0: "spacecraft moving"}, spoilt=frozenset({0}), doubtful=frozenset())
"""K2SFF's own."""
UNKNOWN = Flags({}, spoilt=frozenset(range(31)), doubtful=frozenset())
"""Of another mission: each flag is taken for bad."""

UNITS: Mapping[str, str] = {"e-/s": "electron / s", "pixels": "pix", "pixel": "pix", "d": "d"}
"""What the missions call units, and what everybody else does."""


class NoLightCurve(Exception):
    """A FITS file of another kind; it says of which."""


@dataclass(frozen=True, slots=True)
class Column:
    """One number a cadence.

    Attributes
    ----------
    unit
        As the VOUnit standard spells it; none where there is none, or nobody knows it.
    about
        What the file says of it.
    """

    name: str
    values: Values
    unit: str
    about: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A light curve.

    Attributes
    ----------
    columns
        ``time`` (days since `time_zero`), ``cadence``, ``flux``, ``flux_err``, ``quality`` and ``good``; then
        all others that have one number a cadence, under the file's own names. All have the same length.
    target, mission, segment
        As the file says them: ``KIC 10666592``, ``Kepler``, ``quarter 0``; empty where it does not.
    mode
        ``long cadence`` or ``short cadence``, where the file says so.
    ra, dec
        Degrees, J2000.
    time_zero
        Julian date (`time_scale`) of time 0.
    time_scale, time_reference
        ``TDB`` and ``SOLARSYSTEM``: the barycentre.
    flux_column, flux_err_column, quality_column
        What they are called in the file; empty where it has none.
    mask
        The flags that make a cadence bad, as a sum.
    flags
        Every flag that is set, bad or not, and at how many cadences.
    """

    columns: tuple[Column, ...]
    target: str
    mission: str
    segment: str
    mode: str
    ra: float | None
    dec: float | None
    time_zero: float
    time_scale: str
    time_reference: str
    flux_column: str
    flux_err_column: str
    quality_column: str
    mask: int
    flags: Mapping[str, int]

    def __getitem__(self, name: str) -> Column:
        """The column of that name."""
        return next(column for column in self.columns if column.name == name)


def parse_mask(given: str) -> str | int:
    """One of `CHOICES`, or a sum of flags, decimal or as 0x....

    Raises
    ------
    QueryError
        If it is neither.
    """
    if given in CHOICES:
        return given
    try:
        number = int(given, 0)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 31:
        near = difflib.get_close_matches(given, CHOICES, 1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise QueryError(
            f"--quality: got {given!r}", hint=f"allowed: {', '.join(CHOICES)}, or a sum of flags{meant}"
        )
    return number


def read(path: Path, flux: str = CORRECTED, quality: str | int = DEFAULT) -> Curve:
    """Read a light curve.

    Parameters
    ----------
    flux
        ``corrected``, ``raw``, or a column, with or without ``_FLUX``, in any case: ``pdcsap``.
    quality
        Which flags make a cadence bad, as `parse_mask` returns it.

    Raises
    ------
    NoLightCurve
        If it is another kind of file.
    Unresolvable
        If it has no such flux.
    StructureError
        If it is broken.
    """
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    try:
        _check(path)
        with warnings.catch_warnings():
            # Of cards that are not as the standard has them: what is needed of the others is asked for below.
            warnings.simplefilter("ignore", AstropyWarning)
            # Not mapped: what is read is kept, and the file is not.
            with fits.open(path, memmap=False) as file:
                # One after the other: K2SFF has 24, and the first one is what is read.
                for hdu in file:
                    if isinstance(hdu, fits.BinTableHDU) and _is_curve(hdu):
                        return _curve(hdu, file[0].header, path.name, flux, quality)
                kinds = [_kind(hdu) for hdu in file]
    except (OSError, EOFError, ValueError, TypeError, LookupError, fits.VerifyError, zlib.error) as error:
        raise StructureError(f"{path.name}: cannot be read: {error}") from None
    kept = [kind for kind in kinds if kind] or ["nothing but a header"]
    raise NoLightCurve(f"no light curve: it has {', '.join(dict.fromkeys(kept))}")


def _check(path: Path) -> None:
    """Read all of a file first: astropy reads what is left of one that was cut."""
    import gzip

    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        fitsfile.check(file)


def _scalars(hdu: BinTableHDU) -> dict[str, Any]:
    """The columns with one number a row, in their order, by name in capitals."""
    kinds = hdu.columns.dtype
    return {
        one.name.upper(): one
        for one in hdu.columns
        if kinds[one.name].kind in "iuf" and kinds[one.name].shape == ()
    }


def _first(names: Sequence[str], there: Mapping[str, Any]) -> str:
    return next((name for name in names if name in there), "")


def _fluxes(there: Mapping[str, Any]) -> list[str]:
    known = [name for names in FLUXES.values() for name in names]
    return [name for name in there if name in known or name.endswith("FLUX")]


def _is_curve(hdu: BinTableHDU) -> bool:
    there = _scalars(hdu)
    return bool(_first(TIMES, there) and _fluxes(there))


def _kind(hdu: Any) -> str:
    """What an HDU is, to people."""
    from astropy.io import fits

    if isinstance(hdu, fits.BinTableHDU):
        if {"TIME", "FLUX"} <= {name.upper() for name in hdu.columns.names}:
            return "target pixels"
        return f"a table ({hdu.name})" if hdu.name else "a table"
    return "an image" if hdu.header.get("NAXIS", 0) else ""


def _chosen(flux: str, there: Mapping[str, Any], name: str) -> str:
    wanted = flux.upper()
    found = _first(FLUXES.get(flux.lower(), (wanted, f"{wanted}_FLUX")), there)
    if not found:
        has = _fluxes(there)
        near = difflib.get_close_matches(wanted, has, 1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise Unresolvable(f"{name}: has no flux {flux!r}", hint=f"--flux: it has {', '.join(has)}{meant}")
    return found


def _curve(hdu: BinTableHDU, primary: Any, name: str, flux: str, quality: str | int) -> Curve:
    import numpy as np
    from astropy.io.fits.card import Undefined

    there = _scalars(hdu)
    time, cadence, flagged = (_first(names, there) for names in (TIMES, CADENCES, QUALITIES))
    chosen = _chosen(flux, there, name)
    error = _first((f"{chosen}_ERR",), there)
    count = len(hdu.data)

    def values(column: str, kind: str, missing: float) -> Values:
        if not column:
            return np.full(count, missing, kind)
        found: Values = hdu.data[column]
        return found.astype(found.dtype.newbyteorder("=") if kind == "f8" else kind)

    times, numbers = values(time, "f8", np.nan), values(chosen, "f8", np.nan)
    flags = values(flagged, "i4", 0)

    def said(keyword: str) -> Any:
        for header in (hdu.header, primary):
            if keyword in header and not isinstance(header[keyword], Undefined):
                return header[keyword]
        return None

    known = {"Kepler": KEPLER, "TESS": TESS}.get(said("TELESCOP"), UNKNOWN)
    meaning = MOVING if flagged == "MOVING" else known
    mask = meaning.mask(quality)
    good = np.isfinite(times) & np.isfinite(numbers) & ((flags & mask) == 0)
    zero = said("BJDREFI")
    if zero is None:
        raise ValueError("it does not say when its time begins: BJDREFI")
    place = {name: number for number, name in enumerate(hdu.columns.names, start=1)}

    def column(own: str, array: Values, name: str, unit: str | None = None) -> Column:
        if not own:
            return Column(name, array, "", "not in the file")
        about = str(hdu.header.comments[f"TTYPE{place[there[own].name]}"]).removeprefix("column title: ")
        return Column(name, array, UNITS.get(there[own].unit or "", "") if unit is None else unit, about)

    roles = {time, cadence, chosen, error, flagged}
    columns = [
        column(time, times, "time", "d"),
        column(cadence, values(cadence, "i4", -1), "cadence"),
        column(chosen, numbers, "flux"),
        column(error, values(error, "f8", np.nan), "flux_err"),
        column(flagged, flags, "quality"),
        Column("good", good, "", "time and flux are numbers, and no bad flag is set"),
    ]
    ours = {one.name for one in columns}
    for own in there:
        if own not in roles:
            name = there[own].name
            # In capitals, where it is called as one of ours.
            columns.append(column(own, values(own, "f8", np.nan), own if name in ours else name))
    return Curve(
        columns=tuple(columns),
        target=str(said("OBJECT") or ""),
        mission=str(said("MISSION") or said("TELESCOP") or ""),
        segment=next((f"{one} {at}" for one in SEGMENTS if (at := said(one.upper())) is not None), ""),
        mode=str(said("OBSMODE") or ""),
        ra=_degrees(said("RA_OBJ")),
        dec=_degrees(said("DEC_OBJ")),
        time_zero=float(zero) + float(said("BJDREFF") or 0),
        time_scale=str(said("TIMESYS") or ""),
        time_reference=str(said("TIMEREF") or ""),
        flux_column=chosen,
        flux_err_column=error,
        quality_column=flagged,
        mask=mask,
        flags=dict(meaning.counted(flags)),
    )


def _degrees(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
