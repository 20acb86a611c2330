"""Connections: one to a host at a time, through the user's proxy and certificates, that can be woken up."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import urllib3
from urllib3.util import parse_url

from skystage import tls
from skystage.errors import Refused, Untrusted


@cache
def _tls(bundle: str | None) -> ssl.SSLContext:
    # Shared by all connections: loading a bundle costs 20 ms.
    try:
        if bundle is not None and Path(bundle).is_dir():  # as requests takes it
            context = ssl.create_default_context(capath=bundle)
        else:
            context = ssl.create_default_context(cafile=bundle)
    except OSError as error:
        raise Untrusted(
            f"{bundle}: no certificates can be read from it: {error.strerror or error}",
            hint="REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or SSL_CERT_FILE names it",
        ) from error
    context.set_alpn_protocols(["http/1.1"])
    return context


@lru_cache(maxsize=1024)
def address(url: str) -> tuple[str, str]:
    """Scheme and host of an address, read as the connection will read it.

    There must be no second opinion: a host that one parser sees before a backslash and another one
    behind it would be given the credentials of the one and the request of the other.

    Raises
    ------
    Refused
        If the address is not plain http(s), or holds what could be read in two ways.
    """
    if _AMBIGUOUS.search(url):
        raise Refused(f"{url[:80]!r}: an address that can be read in two ways")
    try:
        parts = parse_url(url)
    except urllib3.exceptions.LocationParseError as error:
        raise Refused(f"{url[:80]!r}: not an address") from error
    if parts.scheme not in ("http", "https") or not parts.host or parts.auth is not None:
        raise Refused(f"{url[:80]!r}: not a plain http or https address")
    return parts.scheme, parts.host.lower()


_AMBIGUOUS = re.compile(r"[\\\s\x00-\x1f\x7f]")


class Waiting(dict[urllib3.connection.HTTPConnection, tuple[float, threading.Event]]):
    """Connections that wait for the head of an answer: since when, and what stops them."""

    def __init__(self) -> None:
        super().__init__()
        self.mine = threading.local()
        """Its ``stop``: what stops the requests of this thread."""

    def pools(self) -> dict[str, type[urllib3.HTTPConnectionPool]]:
        """What a pool manager needs in order to make such connections."""
        waiting = self

        class Plain(urllib3.connection.HTTPConnection):
            def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
                waiting[self] = (time.monotonic(), waiting.mine.stop)
                try:
                    return super().getresponse()
                finally:
                    del waiting[self]

        class Secure(Plain, urllib3.connection.HTTPSConnection):
            pass

        class PlainPool(urllib3.HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(urllib3.HTTPSConnectionPool):
            ConnectionCls = Secure

        return {"http": PlainPool, "https": SecurePool}

    def end(self, before: float) -> None:
        """Wake those who are to stop, or have waited since `before`; they find a connection that broke."""
        for one in [one for one, (since, stop) in list(self.items()) if stop.is_set() or since < before]:
            with suppress(OSError, AttributeError):  # it may end by itself at this very moment
                one.sock.shutdown(socket.SHUT_RDWR)


def connection(
    url: str, pools: Mapping[str, type[urllib3.HTTPConnectionPool]] | None = None
) -> urllib3.PoolManager:
    """One connection to the host of `url`, through the proxy that the environment names for it."""
    options: dict[str, Any] = {"num_pools": 1, "maxsize": 1, "block": True}
    options["ssl_context"] = _tls(tls.bundle())
    scheme, host = address(url)
    proxy = urllib.request.getproxies().get(scheme)
    if proxy and not urllib.request.proxy_bypass(host):
        if "://" not in proxy:  # as curl and requests read it
            proxy = f"http://{proxy}"
        who = parse_url(proxy).auth
        if who is not None:
            options["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=unquote(who))
        manager: urllib3.PoolManager = urllib3.ProxyManager(proxy, **options)
    else:
        manager = urllib3.PoolManager(**options)
    if pools is not None:
        manager.pool_classes_by_scheme = dict(pools)
    return manager
