"""The made-up accounts of a box and the tokens issued to them.

Tokens look like the JSON Web Tokens of the real services and mean nothing outside the box.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from skystage import totp

USER = "sandbox-user"
PASSWORD = "sandbox-password"  # noqa: S105 - made up, as everything here
NEWCOMER = "sandbox-newcomer"
"""An account with the same password that has not accepted the data's terms."""

S3_KEY = "SANDBOX0ACCESS0KEY00"
S3_SECRET = "sandbox-secret-key"  # noqa: S105 - as above
"""The account's keys for the Copernicus Data Space's S3."""
AWS_KEY = "SANDBOX0AWS0KEY00000"
AWS_SECRET = "sandbox-aws-secret-key"  # noqa: S105 - as above
"""The account's keys at Amazon, for buckets whose readers pay."""
CAREFUL = "sandbox-careful"
"""An account of the Copernicus Data Space with the same password and a second factor."""
TOTP_SECRET = "ONXW2ZJANFXGOIDTMVRXEZLU"  # noqa: S105
CLIENT = "sandbox-client"
"""A client of its own at the Copernicus Data Space."""
SENTINEL_HUB = "sandbox-sentinel-hub"
"""A client whose tokens are good for Sentinel Hub, and not for downloads."""
CLIENT_SECRET = "sandbox-client-secret"  # noqa: S105

EARTHDATA = "urs.earthdata.nasa.gov"
CDSE = "dataspace.copernicus.eu"
MAST = "mast.stsci.edu"


@dataclass(slots=True)
class Token:
    """What a token stands for."""

    realm: str
    kind: str
    """``access``, ``refresh``, ``cookie`` or ``code``."""
    user: str
    expires: float
    session: str


@dataclass(slots=True)
class Accounts:
    """Issues tokens and says what they are worth; safe for threads."""

    sessions: Counter[str] = field(default_factory=Counter)
    """Log-ins by realm: password grants, not refreshes."""
    _tokens: dict[str, Token] = field(default_factory=dict)
    _codes: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def knows(self, user: str | None, password: str | None) -> bool:
        """Whether a user name and password are those of an account."""
        return user in (USER, NEWCOMER, CAREFUL) and password == PASSWORD

    def second_factor(self, user: str, code: str) -> bool:
        """Whether a one-time password is the account's now, or it needs none; each is taken once."""
        if user != CAREFUL:
            return True
        now = time.time()
        good = {totp.code(totp.key(TOTP_SECRET), now + shift) for shift in (-totp.STEP, 0, totp.STEP)}
        with self._lock:
            if code not in good - self._codes:
                return False
            self._codes.add(code)
            return True

    def knows_client(self, name: str, secret: str) -> bool:
        """Whether a client's id and secret are right."""
        return name in (CLIENT, SENTINEL_HUB) and secret == CLIENT_SECRET

    def open_sessions(self, realm: str, user: str) -> int:
        """How many log-ins of a user have a refresh token that lives."""
        now = time.monotonic()
        with self._lock:
            mine = [one for one in self._tokens.values() if (one.realm, one.user) == (realm, user)]
        return len({one.session for one in mine if one.kind == "refresh" and one.expires > now})

    def issue(self, realm: str, kind: str, user: str, lifetime: float, session: str = "") -> str:
        """A new token.

        Parameters
        ----------
        lifetime
            Seconds.
        session
            The log-in that it belongs to; a new one if empty.
        """
        session = session or secrets.token_hex(16)
        now = int(time.time())
        header = {"alg": "RS256", "typ": "JWT", "kid": "sandbox"}
        claims = {
            "iss": realm,
            "sub": user,
            "iat": now,
            "exp": now + int(lifetime),
            "jti": secrets.token_hex(8),
        }
        text = ".".join((_part(header), _part({**claims, "typ": kind}), secrets.token_urlsafe(43)))
        with self._lock:
            self._tokens[text] = Token(realm, kind, user, time.monotonic() + lifetime, session)
        return text

    def log_in(self, realm: str) -> None:
        """Count a new session."""
        with self._lock:
            self.sessions[realm] += 1

    def find(self, realm: str, kind: str, text: str | None) -> Token | None:
        """The token, also when it has expired; None if it was never issued."""
        with self._lock:
            token = self._tokens.get(text or "")
        return token if token is not None and (token.realm, token.kind) == (realm, kind) else None

    def alive(self, realm: str, kind: str, text: str | None) -> Token | None:
        """The token, if it was issued and has not expired."""
        token = self.find(realm, kind, text)
        return token if token is not None and token.expires > time.monotonic() else None

    def spend(self, realm: str, kind: str, text: str | None) -> Token | None:
        """The token, which from now on does not exist; for codes that work once."""
        token = self.alive(realm, kind, text)
        if token is not None:
            with self._lock:
                self._tokens.pop(text or "", None)
        return token

    def expire_all(self) -> None:
        """Let every token issued so far die."""
        with self._lock:
            for token in self._tokens.values():
                token.expires = 0.0

    def clear(self) -> None:
        """Forget all tokens and sessions, as if none had been issued."""
        with self._lock:
            self._tokens.clear()
            self._codes.clear()
            self.sessions.clear()


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).rstrip(b"=").decode()


def basic(header: str | None) -> tuple[str, str] | None:
    """User name and password of an ``Authorization: Basic`` header."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded).decode().partition(":")
    except ValueError:
        return None
    return user, password
