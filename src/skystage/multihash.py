"""Multihashes: checksums that say of which algorithm they are, as STAC's file extension writes them.

The code of the algorithm, the length of the digest in bytes, the digest itself (multiformats: "multihash";
the codes are those of its table). Code and length are unsigned LEB128 numbers, all is written in hexadecimal.
"""

from __future__ import annotations

from collections.abc import Mapping

_CODES: Mapping[str, tuple[int, int]] = {
    "sha1": (0x11, 20),
    "sha256": (0x12, 32),
    "sha512": (0x13, 64),
    "sha3-256": (0x16, 32),
    "blake3": (0x1E, 32),
    "md5": (0xD5, 16),
}
"""Algorithm, as `skystage.model.Asset` names it, to its code and the length of its digest in bytes."""

# The Copernicus Data Space calls the SHA3-256 of its metadata an MD5 of 32 bytes: its own files prove it.
_MEANT = {key: name for name, key in _CODES.items()} | {(_CODES["md5"][0], 32): "sha3-256"}


def read(text: object) -> dict[str, str]:
    """The checksum that a multihash says: algorithm to lower-case hexadecimal digest.

    Empty for what is no multihash in hexadecimal (with or without the prefix ``f`` of multibase), for
    algorithms that nothing is verified by, and for a digest that is not of its algorithm's length.
    """
    if not isinstance(text, str):
        return {}
    # The prefix makes the number of digits odd.
    digits = text[1:] if len(text) % 2 and text[:1] in ("f", "F") else text
    try:
        code, rest = _number(bytes.fromhex(digits))
        length, digest = _number(rest)
    except ValueError:
        return {}
    name = _MEANT.get((code, length))
    return {name: digest.hex()} if name is not None and len(digest) == length else {}


def write(algorithm: str, digest: str) -> str:
    """The multihash of a hexadecimal digest.

    Raises
    ------
    KeyError
        If the algorithm has no code here.
    """
    code, length = _CODES[algorithm]
    return f"{_leb128(code)}{_leb128(length)}{digest}"


def _number(data: bytes) -> tuple[int, bytes]:
    """The number that some bytes begin with, seven bits a byte, and what follows it."""
    value = 0
    for place, byte in enumerate(data):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, data[place + 1 :]
    raise ValueError("the number does not end")


def _leb128(value: int) -> str:
    low, high = value & 0x7F, value >> 7
    return f"{low | 0x80:02x}{_leb128(high)}" if high else f"{low:02x}"
