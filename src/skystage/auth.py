"""Credentials: where they come from, which hosts they belong to, and tokens that expire.

A scheme is the way one archive logs people in. It answers one question, for every request and
every redirect anew: which Authorization does this host get? Hosts that the scheme does not name
get none, whatever a redirect says.

Credentials are looked for in this order: explicit argument, environment, netrc (``$NETRC``, else
``~/.netrc``), for MAST the keyring. They are never asked for at a prompt, never written, and in no repr, log
or error. What they bring, a token of a few minutes, is shared between processes (`skystage.tokens`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import netrc
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol
from urllib.parse import urlencode

from skystage import totp
from skystage.errors import CredentialsMissing, Interrupted, Refused, TransferError, Unauthorized
from skystage.locks import POLL
from skystage.resume import Head, failure
from skystage.tokens import Shared, Token


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A user name and password, a client's id and secret, or a token; none of it shows in a repr."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    one_time: str = field(default="", repr=False)
    """A one-time password for accounts with two factors: good for one log-in."""
    totp_secret: str = field(default="", repr=False)
    """What one-time passwords are made from (base32, RFC 6238), as the service showed it once."""
    client_id: str = field(default="", repr=False)
    client_secret: str = field(default="", repr=False)
    found: str = ""
    """Where it was found, for people: ``environment``, the netrc file, ``argument``."""

    def __post_init__(self) -> None:
        """Refuse a token that no header can hold, here: who builds the header would repeat it in his error.

        Raises
        ------
        CredentialsMissing
            Without the token.
        """
        # A line break behind it is what files and variables made of files end with.
        object.__setattr__(self, "token", self.token.strip())
        if not (self.token.isascii() and self.token.isprintable()) or " " in self.token:
            raise CredentialsMissing(
                f"the token ({self.found or 'argument'}) has characters that no token has",
                hint="it is one line of ASCII, without blanks: copy it again",
            )

    def __bool__(self) -> bool:
        pairs = ((self.username, self.password), (self.client_id, self.client_secret))
        return bool(self.token) or any(all(pair) for pair in pairs)

    @property
    def account(self) -> str:
        """A name for the account that limits can be kept under, without telling who it is."""
        word = self.username or self.client_id or self.token
        return hashlib.sha256(word.encode()).hexdigest()[:12]


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

    def renew(self, refused: str, said: str = "") -> bool:
        """A host refused this Authorization, and said why: get another; whether there is one to try with."""
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
    # Of two factors netrc can hold one only.
    return replace(secret, username=entry[0], password=entry[2] or "", found=str(path))


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

    def renew(self, refused: str, said: str = "") -> bool:
        """See `Scheme.renew`."""
        del said
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
    """Copernicus Data Space: a token that lives ten minutes, shared by all processes of the account.

    Who finds it due refreshes it, one at a time; the password is sent only when no refresh token lives.
    The token goes to dataspace.copernicus.eu hosts only, the password to its identity service only.
    """

    name = "cdse"
    login = "identity.dataspace.copernicus.eu"
    domains = ("dataspace.copernicus.eu",)
    WAIT = 90.0
    """Seconds for which another process may keep the log-in to itself: longer than all time-outs of a
    request. Then it is suspended, and one more session does no harm."""
    DOUBTS = 3
    """Tokens in a row that may be refused while they should live, before it is the host that does not
    want them."""

    def __init__(self, send: Send, secret: Secret | None = None) -> None:
        self._send = send
        self.secret = find(
            secret,
            variables={
                "token": "CDSE_TOKEN",
                "username": "CDSE_USERNAME",
                "password": "CDSE_PASSWORD",
                "one_time": "CDSE_TOTP",
                "totp_secret": "CDSE_TOTP_SECRET",
                "client_id": "CDSE_CLIENT_ID",
                "client_secret": "CDSE_CLIENT_SECRET",
            },
            machine="dataspace.copernicus.eu",
        )
        self._token = Token(access=self.secret.token)
        self._shared: Shared | None = None
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
            if not self.secret.token and not self._token.fresh(time.time()):
                self._token = self._another("")
            return f"Bearer {self._token.access}"

    def renew(self, refused: str, said: str = "") -> bool:
        """See `Scheme.renew`."""
        with self._mutex:
            if refused != f"Bearer {self._token.access}":
                return True
            if self.secret.token or "DAT-ZIP-609" in said:  # not for this client, whatever the token
                return False
            self._token = self._another(self._token.access)
            return refused != f"Bearer {self._token.access}"

    def shared(self) -> Shared:
        """The token as all processes know it."""
        if self._shared is None:
            one = self.secret
            words = (one.username, one.password) if one.password else (one.client_id, one.client_secret)
            self._shared = Shared((self.name, *words))
        return self._shared

    def forget_refusals(self) -> None:
        """Ask again, although the same credentials were refused a moment ago: something was mended."""
        if self.secret and (known := self.shared().read()).problem:
            self.shared().write(replace(known, problem=""))

    def _another(self, refused: str) -> Token:
        """A token that is good, and not the one that was refused."""
        if self._refused is not None:
            # A wrong password does not become right, and 40,000 log-ins lock an account.
            raise Unauthorized(self._refused.message, hint=self._refused.hint)
        shared, enough = self.shared(), time.monotonic() + self.WAIT
        lock = shared.lock()
        while lock is not None and not lock.try_acquire():
            # Somebody else is at it.
            known, now = shared.read(), time.time()
            if known.access != refused and (known.fresh(now) or known.alive(now)):
                return known
            if time.monotonic() > enough:
                break
            time.sleep(random.uniform(*POLL))  # noqa: S311 - no secret hangs on it
        try:
            return self._alone(shared, refused)
        finally:
            if lock is not None:
                lock.release()

    def _alone(self, shared: Shared, refused: str) -> Token:
        known, now = shared.read(), time.time()
        other = known.access != refused
        if other and known.fresh(now):
            return known
        doubted = known.doubted + 1 if not other and known.fresh(now) else 0
        if doubted > self.DOUBTS:
            return known
        factor = shared.digest(self.secret.one_time or self.secret.totp_secret)
        try:
            known.check(now, factor)
            try:
                token = replace(self._ask(shared, known), doubted=doubted)
            except TransferError as error:
                shared.write(known.failed(error, time.time(), factor))
                raise
        except TransferError as error:
            if other and known.alive(now):
                return known
            if isinstance(error, Unauthorized):
                self._refused = error
            raise
        shared.write(token)
        return token

    def _ask(self, shared: Shared, known: Token) -> Token:
        """Ask the identity service: with the refresh token as long as it lives, else with all there is."""
        client = {"client_id": "cdse-public"}
        if not self.secret.password:
            client = {"client_id": self.secret.client_id, "client_secret": self.secret.client_secret}
        now = time.time()
        if known.refreshable(now):
            answer = self._post({**client, "grant_type": "refresh_token", "refresh_token": known.refresh})
            if answer.head.status not in (400, 401):
                return replace(_granted(answer, now), used=known.used)
        form, used = {"grant_type": "client_credentials"}, ""
        if self.secret.password:
            form = {
                "grant_type": "password",
                "username": self.secret.username,
                "password": self.secret.password,
            }
            if code := self._code(shared, known):
                form["totp"], used = code, shared.digest(code)
        now = time.time()
        answer = self._post({**client, **form})
        try:
            return replace(_granted(answer, now), used=used)
        except (Unauthorized, Refused) as error:
            raise self._why(answer, error) from None

    def _code(self, shared: Shared, known: Token) -> str:
        """The one-time password, if the account has one; each is good for one log-in."""
        if not self.secret.totp_secret:
            if known.used and known.used == shared.digest(self.secret.one_time):
                raise Unauthorized(
                    "Copernicus Data Space: the code in CDSE_TOTP has been used",
                    hint="give another one, or set CDSE_TOTP_SECRET, from which codes are made",
                )
            return self.secret.one_time
        try:
            key = totp.key(self.secret.totp_secret)
        except ValueError as error:
            raise CredentialsMissing(
                f"Copernicus Data Space: CDSE_TOTP_SECRET is {error}",
                hint="it is the word that was shown when the second factor was set up",
            ) from None
        while known.used == shared.digest(code := totp.code(key, time.time())):
            time.sleep(totp.STEP - time.time() % totp.STEP)
        return code

    def _post(self, form: Mapping[str, str]) -> Answer:
        url = f"https://{self.login}/auth/realms/CDSE/protocol/openid-connect/token"
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._send("POST", url, headers, urlencode(form).encode())

    def _why(self, answer: Answer, error: TransferError) -> TransferError:
        """The error that says what to mend, where the service says what is wrong."""
        said = _said(answer)
        if said == "invalid_grant":
            return Unauthorized(
                f"Copernicus Data Space: the log-in was refused ({answer.head.status} {said})",
                hint=f"check user name and password ({self.secret.found}); the service says the same of an "
                "account with two factors (set CDSE_TOTP_SECRET), and with 100 sessions open (wait an hour)",
            )
        if said in ("invalid_client", "unauthorized_client"):
            return Unauthorized(
                f"Copernicus Data Space: the client was refused ({answer.head.status} {said})",
                hint=f"check CDSE_CLIENT_ID and CDSE_CLIENT_SECRET ({self.secret.found})",
            )
        error.hint = f"the credentials are from {self.secret.found}"
        return error


def _granted(answer: Answer, now: float) -> Token:
    """What an answer of the identity service brings."""
    said = _json(answer, "Copernicus Data Space")
    try:
        return Token(
            access=str(said["access_token"]),
            refresh=str(said.get("refresh_token", "")),
            made=now,
            expires=float(str(said.get("expires_in", 600))),
            refresh_expires=float(str(said.get("refresh_expires_in", 0))),
        )
    except (KeyError, ValueError):
        raise Interrupted("Copernicus Data Space: the answer to the log-in holds no token") from None


def _said(answer: Answer) -> str:
    """The word for an error (RFC 6749, 5.2); the rest of the body is not repeated."""
    try:
        said = json.loads(answer.body)
    except ValueError:
        return ""
    word = said.get("error") if isinstance(said, dict) else None
    return word if isinstance(word, str) else ""


class Mast:
    """MAST: a token of the user's, for data of which the exclusive access period has not ended.

    Public data need none, and come without one where it is refused. The token goes to mast.stsci.edu hosts
    only.
    """

    name = "mast"
    domains = ("mast.stsci.edu",)
    required = False
    """Whether there is no point in asking without a token."""
    NEW = "https://auth.mast.stsci.edu/token?suggested_name=skystage&suggested_scope=mast:exclusive_access"
    """Where tokens are made."""

    def __init__(self, send: Send, secret: Secret | None = None) -> None:
        del send
        found = find(secret, variables={"token": "MAST_API_TOKEN"}, machine=self.domains[0])
        if found.password and not found.token:  # netrc has no word for a token
            found = Secret(token=found.password, found=found.found)
        self.secret = found or _in_keyring()
        self._refused = False

    def authorization(self, host: str) -> str | None:
        """See `Scheme.authorization`."""
        if not _within(host, self.domains):
            return None
        if self.required and not self.secret:
            raise CredentialsMissing(
                "MAST: no token, and the data are still under exclusive access",
                hint=f"set MAST_API_TOKEN to a token of one who may see them; make one at {self.NEW}",
            )
        return f"token {self.secret.token}" if self.secret and not self._refused else None

    def renew(self, refused: str, said: str = "") -> bool:
        """See `Scheme.renew`."""
        del refused, said
        if self.required:
            raise Unauthorized(
                f"MAST: the token was refused ({self.secret.found})",
                hint="it may not see these data, or it has expired: after 10 days without use, or 60 in all; "
                f"make one at {self.NEW}",
            )
        self._refused = True
        return True


class MastExclusive(Mast):
    """MAST: the same token, for files that nobody gets without."""

    required = True


def _in_keyring() -> Secret:
    """The token that astroquery's ``Observations.login(store_token=True)`` has kept."""
    import keyring

    try:
        token = keyring.get_password("astroquery:mast.stsci.edu.token", "masttoken")
    except Exception:  # noqa: BLE001 - none here, locked, or not to be loaded: each of them has errors of its own
        token = None
    return Secret(token=token or "", found="keyring" if token else "")


SCHEMES: Mapping[str, type[Earthdata | Cdse | Mast]] = {
    "earthdata": Earthdata,
    "cdse": Cdse,
    "mast": Mast,
    "mast-exclusive": MastExclusive,
}
"""By the word that a source's `auth` says."""
