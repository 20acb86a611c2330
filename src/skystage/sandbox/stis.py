"""Stand-ins for files of Hubble, Webb and recorded rows; spectra and images of STIS have their real form.

Extensions, columns and keywords are those of the STIS Data Handbook; pixels and fluxes are made up.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from skystage.sandbox import fits
from skystage.sandbox.files import Content, Noise, Segment, Segments, segment_length

_MODIFIED = datetime(2023, 1, 5, 8, 30, tzinfo=UTC)
_SIDES = {"x2d": 1201, "flt": 1024}
"""Pixels a side of a rectified image and of one as the MAMA detectors see it."""
_SAMPLES = 1024
_COLUMNS = (
    ("SPORDER", "I", None),
    ("NELEM", "I", None),
    ("WAVELENGTH", f"{_SAMPLES}D", "Angstroms"),
    ("GROSS", f"{_SAMPLES}E", "Counts/s"),
    ("BACKGROUND", f"{_SAMPLES}E", "Counts/s"),
    ("NET", f"{_SAMPLES}E", "Counts/s"),
    ("FLUX", f"{_SAMPLES}E", "erg/s/cm**2/Angstrom"),
    ("ERROR", f"{_SAMPLES}E", "erg/s/cm**2/Angstrom"),
    ("DQ", f"{_SAMPLES}I", None),
    ("EXTRLOCY", f"{_SAMPLES}E", "pix"),
)


def content(name: str, size: int, row: Mapping[str, Any]) -> Content:
    """A stand-in of so many bytes for a file of an observation.

    Parameters
    ----------
    name
        Its name; its suffix (``x1d``, ``x2d``, ``flt``, ...) says what is in it, its end of what kind it is.
    size
        Bytes. What is no whole number of FITS blocks, or not called FITS, becomes bytes without a meaning.
    row
        The observation, whose target, times and instrument the header names.
    """
    seed = zlib.crc32(name.encode())
    if name.endswith(".fits") and size and size % fits.BLOCK == 0:
        return Segments(name, "application/fits", _MODIFIED, size, lambda: _fits(name, size, row, seed))
    kind = "image/png" if name.endswith(".png") else "application/octet-stream"
    return Segments(name, kind, _MODIFIED, size, lambda: [Noise(seed, size)])


def picture(name: str) -> Content:
    """A small preview."""
    return Segments(name, "image/png", _MODIFIED, None, lambda: [_png(zlib.crc32(name.encode()))])


def _fits(name: str, size: int, row: Mapping[str, Any], seed: int) -> list[Segment]:
    cards = _cards(name, row)
    match name.removesuffix(".fits").rpartition("_")[2]:
        case "x1d":
            extensions = _spectrum(seed, row)
        case "x2d" | "flt" as suffix:
            side = (_SIDES[suffix],) * 2
            extensions = [
                *fits.image("SCI", -32, side, fits.counts(seed, "f")),
                *fits.image("ERR", -32, side, fits.counts(seed + 1, "f")),
                *fits.image("DQ", 16, side, bytes(4)),
            ]
        case _:
            return fits.of_size(size, cards, seed)
    blocks = size // fits.BLOCK - sum(map(segment_length, extensions)) // fits.BLOCK
    # Of another size than the real files have: an image that fits.
    return [*fits.primary(cards, blocks), *extensions] if blocks > 1 else fits.of_size(size, cards, seed)


def _cards(name: str, row: Mapping[str, Any]) -> dict[str, fits.Value]:
    instrument, _, detector = str(row.get("instrument_name") or "STIS").partition("/")
    return {
        "TELESCOP": str(row.get("obs_collection") or "HST"),
        "INSTRUME": instrument,
        "DETECTOR": detector or None,
        "FILENAME": name,
        "ROOTNAME": name.partition("_")[0],
        "ORIGIN": "skystage sandbox",
        "TARGNAME": str(row.get("target_name") or "")[:60],
        "RA_TARG": row.get("s_ra"),
        "DEC_TARG": row.get("s_dec"),
        "PROPOSID": str(row.get("proposal_id") or "")[:60],
        "OPT_ELEM": str(row.get("filters") or "")[:60],
        "TEXPSTRT": row.get("t_min"),
        "TEXPEND": row.get("t_max"),
        "TEXPTIME": row.get("t_exptime"),
    }


def _spectrum(seed: int, row: Mapping[str, Any]) -> list[Segment]:
    """One row: a continuum with the Lyman alpha line of the earth's own glow."""
    first, last = (10 * float(row.get(key) or default) for key, default in (("em_min", 115), ("em_max", 173)))
    waves = [first + (last - first) * number / (_SAMPLES - 1) for number in range(_SAMPLES)]
    net = [
        1 + 0.1 * math.sin(number / 40 + seed % 7) + 20 * math.exp(-(((wave - 1215.67) / 3) ** 2))
        for number, wave in enumerate(waves)
    ]
    columns = (
        [value + 0.05 for value in net],
        [0.05] * _SAMPLES,
        net,
        [value * 1e-14 for value in net],
        [math.sqrt(value) * 1e-15 for value in net],
    )
    out = struct.pack(f">hh{_SAMPLES}d", 1, _SAMPLES, *waves)
    out += b"".join(struct.pack(f">{_SAMPLES}f", *column) for column in columns)
    out += bytes(2 * _SAMPLES) + struct.pack(f">{_SAMPLES}f", *([392.0] * _SAMPLES))
    return fits.table("SCI", _COLUMNS, out)


def _png(seed: int) -> bytes:
    """A grey picture of 64 by 64 pixels (PNG, second edition)."""
    side = 64
    rows = b"".join(b"\0" + bytes((x * y + seed) % 251 for x in range(side)) for y in range(side))
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
