"""A box: the proxy with its services, running in a thread, and the environment that leads clients to it."""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from skystage.sandbox import builtin
from skystage.sandbox.accounts import CDSE, EARTHDATA, PASSWORD, S3_KEY, S3_SECRET, USER, Accounts
from skystage.sandbox.ca import Authority
from skystage.sandbox.catalogue import load
from skystage.sandbox.earthdata import TOKEN_LIFETIME
from skystage.sandbox.eodata import HOST as EODATA
from skystage.sandbox.faults import Rules
from skystage.sandbox.payloads import PAYLOAD_SIZE, SMALLEST_PAYLOAD
from skystage.sandbox.proxy import Proxy
from skystage.sandbox.record import Record
from skystage.sandbox.world import World, services

_SECRETS = re.compile(
    r"(EARTHDATA|EDL|CDSE|COPERNICUS|DATASPACE|MAST|SENTINELHUB)_.*"
    r"|AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|SECURITY_TOKEN|PROFILE|DEFAULT_PROFILE"
    r"|WEB_IDENTITY_TOKEN_FILE|ROLE_ARN|CONTAINER_.*|ENDPOINT_URL.*)"
    r"|GDAL_(HTTP|HTTPS)_.*|(ALL|all|FTP|ftp)_(PROXY|proxy)",
)
"""Variables that hold the user's own secrets, or would lead a client past the box."""


class Sandbox:
    """The archives in a box, for tests and programs of one's own.

    Use it as a context manager: it listens inside, and only there.

    Parameters
    ----------
    catalogue
        A folder of recordings to serve instead of the built-in catalogue.
    faults
        The fault rules, or a YAML or JSON file with them.
    log
        A file for one JSON line a request.
    payload_size
        Bytes of a product's stand-in.

    Raises
    ------
    SkystageError
        If ``cryptography`` is missing, or the recordings or fault rules cannot be read.
    """

    def __init__(
        self,
        catalogue: Path | None = None,
        faults: Sequence[Mapping[str, Any]] | Path | None = None,
        log: Path | None = None,
        *,
        payload_size: int = PAYLOAD_SIZE,
    ) -> None:
        if payload_size < SMALLEST_PAYLOAD:
            from skystage.errors import SkystageError

            raise SkystageError(f"a payload has at least {SMALLEST_PAYLOAD} bytes, not {payload_size}")
        self._rules = Rules(faults)
        holdings = load(catalogue, payload_size) if catalogue is not None else builtin.build(payload_size)
        self._world = World(holdings)
        self._log = log
        self._proxy: Proxy | None = None
        self._thread: threading.Thread | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._record = Record()

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="skystage-sandbox-")
        try:
            self._open(Path(self._directory.name))
        except BaseException:
            self._directory.cleanup()
            raise
        return self

    def _open(self, directory: Path) -> None:
        authority = Authority(directory)
        self._bundle = str(authority.bundle)
        self._netrc = str(_write_netrc(directory / "netrc"))
        self._empty = str(directory / "empty")
        self._cache = str(directory / "cache")
        self._state = str(directory / "state")
        Path(self._empty).touch()
        self._record = Record(self._log)
        table = services(self._world)
        self._proxy = Proxy(authority, table.get, self._rules, self._record, self._world.accounts.expire_all)
        self._thread = threading.Thread(
            target=self._proxy.serve_forever, kwargs={"poll_interval": 0.02}, name="sandbox", daemon=True
        )
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._proxy is not None and self._thread is not None:
                self._proxy.close()
                self._thread.join()
                self._proxy = None
        finally:
            self._record.close()
            if self._directory is not None:
                self._directory.cleanup()

    @property
    def port(self) -> int:
        """The proxy's port on 127.0.0.1."""
        if self._proxy is None:
            raise RuntimeError("the sandbox is not open")
        return self._proxy.port

    @property
    def environ(self) -> dict[str, str | None]:
        """The variables to set for a client, and with None those to unset."""
        proxy = f"http://127.0.0.1:{self.port}"
        out: dict[str, str | None] = {name: None for name in os.environ if _SECRETS.fullmatch(name)}
        for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
            out[name] = proxy
        for name in ("NO_PROXY", "no_proxy"):
            # Whatever runs on this machine itself, such as an orchestrator's own API, is left alone.
            out[name] = "127.0.0.1,localhost"
        for name in (
            "REQUESTS_CA_BUNDLE",
            "CURL_CA_BUNDLE",
            "GDAL_CURL_CA_BUNDLE",
            "SSL_CERT_FILE",
            "AWS_CA_BUNDLE",
        ):
            out[name] = self._bundle
        out["AWS_EC2_METADATA_DISABLED"] = "true"
        out["AWS_SHARED_CREDENTIALS_FILE"] = self._empty
        out["AWS_CONFIG_FILE"] = self._empty
        out["NETRC"] = self._netrc
        out["PYTHON_KEYRING_BACKEND"] = "keyring.backends.null.Keyring"
        # What is remembered of the box's made-up archives must not be taken for the real ones'.
        out["SKYSTAGE_CACHE"] = self._cache
        if "SKYSTAGE_STATE" not in os.environ:
            out["SKYSTAGE_STATE"] = self._state
        return out

    def environment(self, base: Mapping[str, str] = os.environ) -> dict[str, str]:
        """A whole environment for a subprocess: `base` without secrets, and the box's variables."""
        out = {name: value for name, value in base.items() if not _SECRETS.fullmatch(name)}
        out.update((name, value) for name, value in self.environ.items() if value is not None)
        return out

    @property
    def accounts(self) -> Accounts:
        """The accounts, for tests that issue, expire or count tokens."""
        return self._world.accounts

    def token(self, lifetime: float = TOKEN_LIFETIME, realm: str = EARTHDATA) -> str:
        """A valid token, as if the user had made one on the service's page.

        Parameters
        ----------
        lifetime
            Seconds.
        realm
            ``urs.earthdata.nasa.gov``, ``dataspace.copernicus.eu`` or ``mast.stsci.edu``.
        """
        return self._world.accounts.issue(realm, "access", USER, lifetime)

    def requests(self) -> list[dict[str, Any]]:
        """All requests answered so far, in the order in which they ended."""
        return self._record.entries()

    def set_faults(self, faults: Sequence[Mapping[str, Any]] | Path | None) -> None:
        """Replace the fault rules; all counters start anew."""
        self._rules.set(faults)

    def clear(self) -> None:
        """Forget the requests and the tokens; the log file keeps its lines."""
        self._record.clear()
        self._world.accounts.clear()


def _write_netrc(path: Path) -> Path:
    lines = [f"machine {host} login {USER} password {PASSWORD}\n" for host in (EARTHDATA, CDSE)]
    lines.append(f"machine {EODATA} login {S3_KEY} password {S3_SECRET}\n")
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.writelines(lines)
    return path
