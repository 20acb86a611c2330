"""FITS: whether all of a file is there, and whether it is what its own sums say.

FITS standard 4.0: a file is headers and data in blocks of 2880 bytes (section 3.1); the length of the data
follows from its header (4.4.1.1, 7.1.1, 6.1); ``CHECKSUM`` and ``DATASUM`` are sums of 32-bit words in ones'
complement (4.4.2.7 and appendix J).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Protocol

BLOCK = 2880
CARD = 80
STEP = BLOCK * 364
"""Bytes: about a megabyte of whole blocks is read at once."""
ONES = 2**32 - 1
"""Sums in ones' complement are equal if they are so modulo this: its zero is all zeros, or all ones."""
BITPIX = (8, 16, 32, 64, -32, -64)
LAST = "END"
_KEPT = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d{0,3}|PCOUNT|GCOUNT|GROUPS|EXTNAME|CHECKSUM|DATASUM|END", re.ASCII
)
_TEXT = re.compile(r"'((?:[^']|'')*)'")


class Readable(Protocol):
    """A file, or what unpacks one."""

    def read(self, size: int, /) -> bytes:
        """As many bytes, or fewer at the end."""


def is_fits(name: str) -> bool:
    """Whether a file of that name is FITS: as it is, with compressed images (``.fz``), or in gzip."""
    return name.lower().endswith((".fits", ".fz", ".fits.gz"))


def check(file: Readable) -> bool:
    """Read a FITS file to its end, and compare it with what it says of itself.

    Parameters
    ----------
    file
        At its start. It is read once, in order, so it may come out of a packing.

    Returns
    -------
    Whether a ``CHECKSUM`` in each of its headers proves header and data.

    Raises
    ------
    ValueError
        With what is missing, too much, or changed, and the HDU: its number from 0, and its name.
    """
    number, proved = 0, True
    while first := file.read(BLOCK):
        if not first.startswith(b"XTENSION=" if number else b"SIMPLE  ="):
            raise ValueError(
                f"there are bytes behind HDU {number - 1}, its last one"
                if number
                else "it does not begin as FITS does"
            )
        proved &= _hdu(file, first, number)
        number += 1
    return proved


def _hdu(file: Readable, first: bytes, number: int) -> bool:
    """Read one header and its data; whether there is a sum of both."""
    name = f"HDU {number}"
    cards: dict[str, str] = {}
    total = 0
    for block in _header(file, first, name):
        total += _sum(block)
        for keyword, value in _cards(block):
            cards.setdefault(keyword, value)
    if text := _text(cards, "EXTNAME", name):
        name = f"{name} ({text})"
    length = _length(cards, name)
    left = -(-length // BLOCK) * BLOCK
    data = 0
    while left:
        block = file.read(min(left, STEP))
        if not block or len(block) % BLOCK:
            raise ValueError(f"{name}: its data are cut: {length:,} bytes were to come")
        data += _sum(block)
        left -= len(block)
    stated = _text(cards, "DATASUM", name)
    if stated and (not stated.isdecimal() or int(stated) % ONES != data % ONES):
        raise ValueError(f"{name}: its data have the sum {data % ONES}, its DATASUM is {stated}")
    summed = _text(cards, "CHECKSUM", name) != ""
    if summed and (total + data) % ONES:
        raise ValueError(f"{name}: its CHECKSUM is not that of its header and data: a byte was changed")
    return summed


def _header(file: Readable, first: bytes, name: str) -> Iterator[bytes]:
    """The blocks of a header."""
    block = first
    while True:
        if len(block) < BLOCK:
            raise ValueError(f"{name}: its header is cut")
        yield block
        if any(block[at : at + 8] == b"END     " for at in range(0, BLOCK, CARD)):
            return
        block = file.read(BLOCK)


def _cards(block: bytes) -> Iterator[tuple[str, str]]:
    """The cards that say something of the length, the name or the sums, each as keyword and value."""
    for at in range(0, BLOCK, CARD):
        # What people write into comments is not always ASCII, as it should be.
        card = block[at : at + CARD].decode("latin-1")
        keyword = card[:8].rstrip()
        if keyword == LAST:
            return
        if card[8:10] == "= " and _KEPT.fullmatch(keyword):
            # Errors repeat it, and a terminal would obey what is in a damaged one.
            yield keyword, "".join(one if one.isprintable() else "?" for one in card[10:])


def _text(cards: Mapping[str, str], keyword: str, name: str) -> str:
    """The value of a keyword that is text; none where there is none."""
    if not (given := cards.get(keyword, "").strip()):
        return ""
    found = _TEXT.match(given)
    if found is None:
        raise ValueError(f"{name}: its {keyword} is no text")
    return found[1].replace("''", "'").strip()


def _length(cards: Mapping[str, str], name: str) -> int:
    """How many bytes of data follow a header, without what fills their last block."""

    def number(keyword: str, missing: int | None = None) -> int:
        text = cards.get(keyword, "").partition("/")[0].strip()
        if not text and missing is not None:
            return missing
        if not re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
            raise ValueError(f"{name}: its {keyword} is {text or 'missing'}")
        return int(text)

    bits, count = number("BITPIX"), number("NAXIS")
    axes = [number(f"NAXIS{axis}") for axis in range(1, count + 1)]
    parameters, groups = number("PCOUNT", 0), number("GCOUNT", 1)
    if bits not in BITPIX or count > 999 or min(count, parameters, groups, *axes, 0) < 0:
        raise ValueError(f"{name}: its header describes no data: BITPIX {bits}, NAXIS {count}, {axes}")
    if not axes:
        return 0
    size = abs(bits) // 8
    if "XTENSION" in cards:
        return size * groups * (parameters + math.prod(axes))
    if axes[0] == 0 and cards.get("GROUPS", "").partition("/")[0].strip() == "T":
        return size * groups * (parameters + math.prod(axes[1:]))
    return size * math.prod(axes)


def _sum(block: bytes) -> int:
    """The sum of the 32-bit words of whole blocks."""
    # With numpy 1 GB a second, and other threads may run meanwhile; with whole numbers of Python a fifth.
    import numpy as np

    return int(np.frombuffer(block, ">u4").sum(dtype="u8"))
