"""FITS files, made while they are read: headers with CHECKSUM and DATASUM, images, and tables.

As in the FITS standard 4.0: blocks of 2880 bytes (3.1), cards of 80 (4.1), and checksums that are sums of
32-bit words with the carry taken around (4.4.2.7 and appendix J). An image of many megabytes is a short
pattern that comes again and again: it costs no memory, and its sum no time.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from skystage.sandbox.files import Cycle, Segment, segment_length

BLOCK = 2880
_CARD = 80
_WORDS = 0xFFFFFFFF
Value: TypeAlias = str | int | float | bool | None
Cards: TypeAlias = Mapping[str, Value]

_EXCLUDED = (*range(0x3A, 0x41), *range(0x5B, 0x61))
"""Between digits, capitals and small letters: what a checksum is not spelled with."""


def card(key: str, value: Value) -> bytes:
    """One card of a header; a value that is None is undefined.

    Raises
    ------
    ValueError
        If it does not fit on a card.
    """
    match value:
        case None:
            text = ""
        case bool():
            text = f"{'T' if value else 'F':>20}"
        case str():
            quoted = value.replace("'", "''")
            text = f"'{quoted:<8}'"
        case _:
            text = f"{value!r:>20}".upper()
    line = f"{key:<8}= {text}".encode("ascii")
    if len(line) > _CARD or len(key) > 8:
        raise ValueError(f"{key} does not fit on a card")
    return line.ljust(_CARD)


def unit(cards: Cards, data: Sequence[Segment] = (), blocks: int = 1) -> list[Segment]:
    """A header-data unit with its checksums.

    Parameters
    ----------
    cards
        The header without CHECKSUM, DATASUM and END.
    data
        What is filled up with zeros to whole blocks.
    blocks
        How many the header has at least; what it does not need is blank.
    """
    segments = list(data)
    length = sum(map(segment_length, segments))
    if length % BLOCK:
        segments.append(bytes(BLOCK - length % BLOCK))
    datasum = _data_sum(segments)
    lines = [card(key, value) for key, value in cards.items()]
    lines.append(card("DATASUM", str(datasum)))
    place = sum(map(len, lines)) + len("CHECKSUM= '")
    lines.append(card("CHECKSUM", "0" * 16))
    most = max(blocks * BLOCK, -(-(len(lines) + 1) * _CARD // BLOCK) * BLOCK)
    header = b"".join(lines).ljust(most - _CARD) + b"END".ljust(_CARD)
    checksum = spell(_add(word_sum(header), datasum))
    return [header[:place] + checksum + header[place + 16 :], *segments]


def primary(cards: Cards, blocks: int = 1) -> list[Segment]:
    """A primary header without data."""
    fixed: Cards = {"SIMPLE": True, "BITPIX": 8, "NAXIS": 0, "EXTEND": True}
    return unit({**fixed, **cards}, blocks=blocks)


def image(
    name: str, bits: int, shape: tuple[int, int], pattern: bytes, cards: Cards | None = None
) -> list[Segment]:
    """An image extension, its pixels a pattern that comes again and again.

    Parameters
    ----------
    bits
        BITPIX: 16 or 32 for integers, -32 for floats.
    shape
        Columns and rows.
    pattern
        Pixels in big-endian order, of a multiple of four bytes.
    """
    fixed: Cards = {
        "XTENSION": "IMAGE",
        "BITPIX": bits,
        "NAXIS": 2,
        "NAXIS1": shape[0],
        "NAXIS2": shape[1],
        "PCOUNT": 0,
        "GCOUNT": 1,
        "EXTNAME": name,
    }
    length = abs(bits) // 8 * shape[0] * shape[1]
    return unit({**fixed, **(cards or {})}, [Cycle(pattern, length)])


def table(
    name: str, columns: Sequence[tuple[str, str, str | None]], rows: bytes, cards: Cards | None = None
) -> list[Segment]:
    """A binary table.

    Parameters
    ----------
    columns
        Name, format (such as ``D`` or ``1024E``) and unit of each.
    rows
        The table's bytes, big-endian, row after row.
    """
    width = sum(_width(form) for _, form, _ in columns)
    fixed: dict[str, Value] = {
        "XTENSION": "BINTABLE",
        "BITPIX": 8,
        "NAXIS": 2,
        "NAXIS1": width,
        "NAXIS2": len(rows) // width,
        "PCOUNT": 0,
        "GCOUNT": 1,
        "TFIELDS": len(columns),
    }
    for number, (column, form, dimension) in enumerate(columns, 1):
        fixed |= {f"TTYPE{number}": column, f"TFORM{number}": form}
        if dimension is not None:
            fixed[f"TUNIT{number}"] = dimension
    return unit({**fixed, "EXTNAME": name, **(cards or {})}, [rows])


def of_size(size: int, cards: Cards, seed: int) -> list[Segment]:
    """A file of so many bytes, in whole blocks: a primary header, and an image of what is left.

    Raises
    ------
    ValueError
        If the size is not that of a FITS file.
    """
    blocks, rest = divmod(size, BLOCK)
    if rest or not blocks:
        raise ValueError(f"a FITS file has whole blocks of {BLOCK} bytes, not {size} bytes")
    if blocks < 3:
        return primary(cards, blocks)
    return primary(cards) + image("SCI", 16, (BLOCK // 2, blocks - 2), counts(seed, "h"))


def read_header(data: bytes) -> dict[str, str]:
    """The values of a file's first header as texts, without quotes."""
    values: dict[str, str] = {}
    for at in range(0, len(data), _CARD):
        line = data[at : at + _CARD].decode("ascii")
        if line.startswith("END "):
            break
        key, indicator, text = line[:8].rstrip(), line[8:10], line[10:].strip()
        if indicator == "= " and text:
            values[key] = (
                text[1:].partition("'")[0].rstrip() if text[0] == "'" else text.partition("/")[0].strip()
            )
    return {key: value for key, value in values.items() if value}


def counts(seed: int, kind: str) -> bytes:
    """A pattern of pixels: counts between 0 and 100 that differ from seed to seed.

    Parameters
    ----------
    kind
        ``h`` for 16-bit integers, ``f`` for floats.
    """
    values = [(number * 7919 + seed * 104729) % 997 / 10 for number in range(1000)]
    return struct.pack(f">1000{kind}", *(map(int, values) if kind == "h" else values))


def word_sum(data: bytes) -> int:
    """The sum of the 32-bit words with the carry taken around; the length is a multiple of four."""
    # 2**32 is 1 more than a multiple of the divisor: the remainder is the sum of all words.
    value = int.from_bytes(data, "big")
    return value % _WORDS or (_WORDS if value else 0)


def spell(total: int) -> bytes:
    """The checksum that makes a unit's words sum up to none, in 16 letters and digits (appendix J)."""
    letters = bytearray(16)
    for place, byte in enumerate((total ^ _WORDS).to_bytes(4, "big")):
        parts = [byte // 4 + 0x30 + (byte % 4 if number == 0 else 0) for number in range(4)]
        while any(part in _EXCLUDED for part in parts):
            for one, other in ((0, 1), (2, 3)):
                if parts[one] in _EXCLUDED or parts[other] in _EXCLUDED:
                    parts[one] += 1
                    parts[other] -= 1
        letters[place::4] = bytes(parts)
    # The value begins at the last byte of a word.
    return bytes(letters[-1:] + letters[:-1])


def _data_sum(segments: Sequence[Segment]) -> int:
    """The sum of data that may be cut anywhere, its patterns counted and not read."""
    total, odd = 0, b""
    for segment in segments:
        if isinstance(segment, Cycle) and not odd and segment.length >= len(segment.data):
            turns, rest = divmod(segment.length, len(segment.data))
            total = _add(total, word_sum(segment.data) * turns)
            piece = segment.data[:rest]
        else:
            piece = segment if isinstance(segment, bytes) else segment.read(0, segment.length)
        piece = odd + piece
        whole = len(piece) // 4 * 4
        total, odd = _add(total, word_sum(piece[:whole])), piece[whole:]
    return total


def _add(one: int, other: int) -> int:
    both = one + other
    return both % _WORDS or (_WORDS if both else 0)


def _width(form: str) -> int:
    return int(form[:-1] or 1) * {"D": 8, "E": 4, "J": 4, "I": 2}[form[-1]]
