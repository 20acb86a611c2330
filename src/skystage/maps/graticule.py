"""Meridians and parallels: which ones to draw, and what people read at their ends.

On bodies degrees with their hemisphere; on the sky hours of right ascension and degrees of declination.
The page of an HTML map does the same for itself, since there the steps change with the zoom.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

WHOLE = (90, 45, 30, 15, 10, 5, 2, 1)
HOURS = (6, 3, 2, 1)
SIXTIETHS = (30, 10, 5, 2, 1)
"""Minutes and seconds, of arc and of time."""
DEGREES_AN_HOUR = 15
ARC, TIME, MINUS = "°\N{PRIME}″", "ʰᵐˢ", "\N{MINUS SIGN}"


def ticks(low: float, high: float, *, meridians: bool, sky: bool, most: int = 8) -> list[tuple[float, str]]:
    """The lines between two longitudes or latitudes, by the finest round step that gives few enough.

    Parameters
    ----------
    low, high
        Degrees; longitudes may lie beyond 180, their labels do not.
    meridians
        Whether these are longitudes (right ascensions).
    most
        Steps from low to high, at most.

    Returns
    -------
    list of (float, str)
        Where the line lies, in degrees, and its label.
    """
    unit = DEGREES_AN_HOUR if sky and meridians else 1
    step = Fraction(90)
    for finer in _steps(sky=sky, hours=unit != 1):
        if (high - low) / unit > finer * most:
            break
        step = finer
    first, last = math.ceil(low / unit / step), math.floor(high / unit / step)
    values = [number * step for number in range(first, last + 1)]
    return [(float(value * unit), _label(value, step, meridians=meridians, sky=sky)) for value in values]


def _steps(*, sky: bool, hours: bool) -> Iterator[Fraction]:
    """From coarse to fine, down to less than any map shows."""
    yield from map(Fraction, HOURS if hours else WHOLE)
    least = 1
    if sky:
        for least in (60, 3600):
            yield from (Fraction(part, least) for part in SIXTIETHS)
    for power in range(1, 7):
        yield from (Fraction(part, least * 10**power) for part in (5, 2, 1))


def _label(value: Fraction, step: Fraction, *, meridians: bool, sky: bool) -> str:
    if sky:
        return _sexagesimal(value % 24, step, TIME) if meridians else _declination(value, step)
    if meridians:
        value = (value + 180) % 360 - 180
        side = "" if value in (0, -180) else "E" if value > 0 else "W"
    else:
        side = "" if value == 0 else "N" if value > 0 else "S"
    return f"{abs(float(value)):.{_decimals(step)}f}°{side}"


def _declination(value: Fraction, step: Fraction) -> str:
    sign = "" if value == 0 else "+" if value > 0 else MINUS
    return sign + _sexagesimal(abs(value), step, ARC)


def _sexagesimal(value: Fraction, step: Fraction, marks: str) -> str:
    """A value of at least 0 in whole units, minutes and seconds, as far as the step needs them."""
    whole, minutes = divmod(value, 1)
    text = f"{whole}{marks[0]}"
    if step.denominator == 1:
        return text
    full, seconds = divmod(minutes * 60, 1)
    text += f"{full:02d}{marks[1]}"
    if (step * 60).denominator == 1:
        return text
    digits = _decimals(step * 3600)
    return f"{text}{float(seconds * 60):0{digits + 2 + bool(digits)}.{digits}f}{marks[2]}"


def _decimals(step: Fraction) -> int:
    return max(0, -math.floor(math.log10(step)))
