"""Credentials: where they come from, which hosts they belong to, and tokens that expire.

A scheme is the way one archive logs people in. It answers one question, for every request and
every redirect anew: which Authorization does this host get? Hosts that the scheme does not name
get none, whatever a redirect says.

Credentials are looked for in this order: explicit argument, environment, netrc (``$NETRC``, else
``~/.netrc``). They are never asked for at a prompt, never written, and in no repr, log or error.
"""

from __future__ import annotations

import base64
import hashlib
import json
import netrc
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlencode

from skystage.errors import CredentialsMissing, Interrupted, Unauthorized
from skystage.resume import Head, failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A user name and password, or a token; none of it shows in a repr."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    one_time: str = field(default="", repr=False)
    """A one-time password for accounts with two factors (``totp``)."""
    found: str = ""
    """Where it was found, for people: ``environment``, the netrc file, ``argument``."""

    def __bool__(self) -> bool:
        return bool(self.token or (self.username and self.password))

    @property
    def account(self) -> str:
        """A name for the account that limits can be kept under, without telling who it is."""
        return hashlib.sha256((self.username or self.token).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a log-in service."""

    head: Head
    body: bytes


Send = Callable[[str, str, Mapping[str, str], bytes], Answer]
"""``send(method, url, headers, body)``: how a scheme talks to its log-in service."""


class Scheme(Protocol):
    """One archive's way to log people in."""

    name: str
    secret: Secret

    def authorization(self, host: str) -> str | None:
        """The Authorization header for a request to `host`; None for hosts that must not have it.

        Raises
        ------
        CredentialsMissing
            If there are none.
        Unauthorized
            If the log-in service refuses them.
        """
        ...

    def renew(self, refused: str) -> bool:
        """A host refused this Authorization: get another; say whether there is one to try with."""
        ...


def find(explicit: Secret | None, *, variables: Mapping[str, str], machine: str) -> Secret:
    """Look for credentials: the argument, then the environment, then netrc.

    Parameters
    ----------
    explicit
        What the caller gave, if anything.
    variables
        Field of `Secret` to environment variable.
    machine
        The host that a netrc file names.
    """
    if explicit:
        return explicit
    values = {name: os.environ.get(variable, "") for name, variable in variables.items()}
    secret = Secret(**values, found="environment")
    if secret:
        return secret
    path = Path(os.environ.get("NETRC") or os.path.expanduser("~/.netrc"))  # noqa: PTH111
    try:
        entry = netrc.netrc(path).hosts.get(machine)
    except FileNotFoundError:
        entry = None
    except (netrc.NetrcParseError, OSError) as error:
        # The error's own text may quote the line, and with it a password.
        raise CredentialsMissing(
            f"{path}: cannot be read as netrc ({type(error).__name__})",
            hint="each entry: machine HOST login NAME password WORD; mode 600",
        ) from None
    if entry is None:
        return Secret()
    return Secret(username=entry[0], password=entry[2] or "", found=str(path))


EODATA = "eodata.dataspace.copernicus.eu"
"""The S3 endpoint of the Copernicus Data Space; its keys are the user's own, apart from the log-in."""


def eodata_keys(explicit: Secret | None) -> Secret:
    """The keys for the Copernicus Data Space's S3: access key as `username`, secret key as `password`.

    Looked for as everything else (`find`), in ``CDSE_S3_ACCESS_KEY`` and ``CDSE_S3_SECRET_KEY``, and under
    the endpoint's name in netrc.

    Raises
    ------
    CredentialsMissing
        If there are none.
    """
    keys = find(
        explicit,
        variables={"username": "CDSE_S3_ACCESS_KEY", "password": "CDSE_S3_SECRET_KEY"},
        machine=EODATA,
    )
    if not keys:
        raise CredentialsMissing(
            "Copernicus Data Space: no S3 keys",
            hint=f"set CDSE_S3_ACCESS_KEY and CDSE_S3_SECRET_KEY, or a netrc entry for {EODATA}; "
            "make them at https://eodata-s3keysmanager.dataspace.copernicus.eu",
        )
    return keys


def _within(host: str, domains: tuple[str, ...]) -> bool:
    return any(host == domain or host.endswith(f".{domain}") for domain in domains)


def _basic(secret: Secret) -> str:
    pair = f"{secret.username}:{secret.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _json(answer: Answer, service: str) -> Mapping[str, object]:
    if answer.head.status != 200:
        raise failure(answer.head, service)
    try:
        data = json.loads(answer.body)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise Interrupted(f"{service}: the answer is not JSON", hint="the service may be down: try later")
    return data


class Earthdata:
    """NASA Earthdata Login: a token of the user's, or one made from user name and password.

    The token goes to ASF's and Earthdata's hosts only; the signed addresses that they redirect to
    (CloudFront, S3) carry their own proof and get nothing. The password goes to
    urs.earthdata.nasa.gov only.
    """

    name = "earthdata"
    login = "urs.earthdata.nasa.gov"
    domains = ("asf.alaska.edu", "earthdata.nasa.gov", "earthdatacloud.nasa.gov")

    def __init__(self, send: Send, secret: Secret | None = None) -> None:
        self._send = send
        self.secret = find(
            secret,
            variables={
                "token": "EARTHDATA_TOKEN",
                "username": "EARTHDATA_USERNAME",
                "password": "EARTHDATA_PASSWORD",
            },
            machine=self.login,
        )
        self._token = self.secret.token
        self._refused: Unauthorized | None = None
        self._mutex = threading.Lock()

    def authorization(self, host: str) -> str | None:
        """See `Scheme.authorization`."""
        if not _within(host, self.domains):
            return None
        if not self.secret:
            raise CredentialsMissing(
                "Earthdata Login: no credentials for the ASF archive",
                hint="set EARTHDATA_TOKEN, or a netrc entry for urs.earthdata.nasa.gov; "
                "register at https://urs.earthdata.nasa.gov/users/new",
            )
        if host == self.login and self.secret.password:
            return _basic(self.secret)
        with self._mutex:
            if not self._token:
                self._token = self._make_token()
            return f"Bearer {self._token}"

    def renew(self, refused: str) -> bool:
        """See `Scheme.renew`."""
        with self._mutex:
            if refused != f"Bearer {self._token}":
                return bool(self._token)
            if not self.secret.password:
                return False
            self._token = self._make_token()
            return refused != f"Bearer {self._token}"

    def _make_token(self) -> str:
        if self._refused is not None:
            # A wrong password does not become right, and 40,000 log-ins lock an account.
            raise Unauthorized(self._refused.message, hint=self._refused.hint)
        # "Find or create": Earthdata allows two tokens a user, and gives the living one back.
        url = f"https://{self.login}/api/users/find_or_create_token"
        answer = self._send("POST", url, {"Authorization": _basic(self.secret)}, b"")
        try:
            return str(_json(answer, "Earthdata Login")["access_token"])
        except Unauthorized as error:
            error.hint = f"check user name and password ({self.secret.found})"
            self._refused = error
            raise


class Cdse:
    """Copernicus Data Space: a token that lives ten minutes, refreshed before it dies.

    The token goes to dataspace.copernicus.eu hosts only, the password to its identity service only.
    """

    name = "cdse"
    login = "identity.dataspace.copernicus.eu"
    domains = ("dataspace.copernicus.eu",)
    LIFE = 0.8
    """The share of its life after which a token is refreshed."""

    def __init__(self, send: Send, secret: Secret | None = None) -> None:
        self._send = send
        self.secret = find(
            secret,
            variables={
                "token": "CDSE_TOKEN",
                "username": "CDSE_USERNAME",
                "password": "CDSE_PASSWORD",
                "one_time": "CDSE_TOTP",
            },
            machine="dataspace.copernicus.eu",
        )
        self._access = self.secret.token
        self._refresh = ""
        self._due = float("inf") if self._access else 0.0
        self._refresh_until = 0.0
        self._refused: Unauthorized | None = None
        self._mutex = threading.Lock()

    def authorization(self, host: str) -> str | None:
        """See `Scheme.authorization`."""
        if not _within(host, self.domains) or host == self.login:
            return None
        if not self.secret:
            raise CredentialsMissing(
                "Copernicus Data Space: no credentials",
                hint="set CDSE_USERNAME and CDSE_PASSWORD, or a netrc entry for dataspace.copernicus.eu; "
                "register at https://dataspace.copernicus.eu",
            )
        with self._mutex:
            if time.monotonic() >= self._due:
                self._grant()
            return f"Bearer {self._access}"

    def renew(self, refused: str) -> bool:
        """See `Scheme.renew`."""
        with self._mutex:
            if refused != f"Bearer {self._access}":
                return True
            if not self.secret.password:
                return False
            self._grant()
            return True

    def _grant(self) -> None:
        if self._refused is not None:
            raise Unauthorized(self._refused.message, hint=self._refused.hint)
        form = {"client_id": "cdse-public"}
        if self._refresh and time.monotonic() < self._refresh_until:
            form |= {"grant_type": "refresh_token", "refresh_token": self._refresh}
        else:
            form |= {
                "grant_type": "password",
                "username": self.secret.username,
                "password": self.secret.password,
            }
            if self.secret.one_time:
                form["totp"] = self.secret.one_time
        url = f"https://{self.login}/auth/realms/CDSE/protocol/openid-connect/token"
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = self._send("POST", url, headers, urlencode(form).encode())
        if answer.head.status in (400, 401) and "refresh_token" in form:
            self._refresh = ""
            self._grant()
            return
        try:
            granted = _json(answer, "Copernicus Data Space")
        except Unauthorized as error:
            error.hint = f"check user name and password ({self.secret.found}); with two factors set CDSE_TOTP"
            self._refused = error
            raise
        now = time.monotonic()
        self._access = str(granted["access_token"])
        self._due = now + self.LIFE * float(str(granted.get("expires_in", 600)))
        self._refresh = str(granted.get("refresh_token", ""))
        self._refresh_until = now + self.LIFE * float(str(granted.get("refresh_expires_in", 0)))


SCHEMES: Mapping[str, Callable[[Send, Secret | None], Scheme]] = {"earthdata": Earthdata, "cdse": Cdse}
