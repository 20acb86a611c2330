"""One-time passwords that follow the clock (RFC 6238), for accounts with two factors."""

from __future__ import annotations

import base64
import hmac

STEP = 30
"""Seconds for which a password is shown."""


def key(secret: str) -> bytes:
    """The key of a secret as a service shows it: base32, in any case, with blanks or without its padding.

    Raises
    ------
    ValueError
        If it is none. The error does not quote it.
    """
    word = "".join(secret.split()).rstrip("=").upper()
    try:
        found = base64.b32decode(word + "=" * (-len(word) % 8))
    except ValueError:
        found = b""
    if not found:
        raise ValueError("not base32: letters A to Z and digits 2 to 7")
    return found


def code(key: bytes, now: float, *, digits: int = 6, digest: str = "sha1") -> str:
    """The password at a moment, in seconds since 1970 (RFC 6238, 4; RFC 4226, 5.3)."""
    mac = hmac.digest(key, int(now // STEP).to_bytes(8, "big"), digest)
    at = mac[-1] & 15
    number = int.from_bytes(mac[at : at + 4], "big") & 0x7FFFFFFF
    return str(number % 10**digits).zfill(digits)
