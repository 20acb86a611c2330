"""TIFF files in tiles, deflated, their directory in front (TIFF 6.0): the small rasters of the sandbox."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Tag: TypeAlias = tuple[int, str, tuple[float, ...] | bytes]
"""Number, type as `struct` writes it (``s`` for text), and values."""

_BLOCK = 256
_CODES = {"s": 2, "H": 3, "I": 4, "d": 12}


def tiled(values: NDArray[np.generic[Any]], tags: Iterable[Tag]) -> bytes:
    """A TIFF of one band of little-endian numbers.

    Parameters
    ----------
    values
        Rows from above.
    tags
        What is to be said beyond size, kind and place of the numbers, such as where they lie on a body.
    """
    import numpy as np

    height, width = values.shape
    down, across = math.ceil(height / _BLOCK), math.ceil(width / _BLOCK)
    padded = np.zeros((down * _BLOCK, across * _BLOCK), values.dtype)
    padded[:height, :width] = values
    blocks = [
        zlib.compress(padded[row : row + _BLOCK, column : column + _BLOCK].tobytes(), 6)
        for row in range(0, height, _BLOCK)
        for column in range(0, width, _BLOCK)
    ]
    count = len(blocks)
    listed: list[Tag] = [
        (256, "I", (width,)),
        (257, "I", (height,)),
        (258, "H", (8 * values.dtype.itemsize,)),
        (259, "H", (8,)),  # deflate
        (262, "H", (1,)),  # 0 is black
        (277, "H", (1,)),  # samples a pixel
        (322, "I", (_BLOCK,)),
        (323, "I", (_BLOCK,)),
        (324, "I", (0,) * count),  # where the blocks are: filled in below
        (325, "I", tuple(map(len, blocks))),
        (339, "H", ({"i": 2, "f": 3}[values.dtype.kind],)),
        *tags,
    ]
    packed = {number: _packed(kind, data) for number, kind, data in listed}
    begin = 8 + 2 + 12 * len(listed) + 4
    at = begin + sum(len(data) for data in packed.values() if len(data) > 4)
    packed[324] = struct.pack(f"<{count}I", *(at + sum(map(len, blocks[:number])) for number in range(count)))
    entries, behind = b"", b""
    for number, kind, data in listed:
        entries += struct.pack("<HHI", number, _CODES[kind], len(data))
        value = packed[number]
        if len(value) > 4:
            entries += struct.pack("<I", begin + len(behind))
            behind += value
        else:
            entries += value.ljust(4, b"\0")
    head = b"II*\0" + struct.pack("<IH", 8, len(listed)) + entries + b"\0\0\0\0"
    return head + behind + b"".join(blocks)


def _packed(kind: str, data: tuple[float, ...] | bytes) -> bytes:
    return data if isinstance(data, bytes) else struct.pack(f"<{len(data)}{kind}", *data)
