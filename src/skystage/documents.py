"""Small documents that planning reads: manifests of products, labels.

They are assets like all others, and come the same way: several at a time within the hosts' limits, verified,
continued after a kill. Their store is the user's cache, so that the next plan of the same products asks for
none of them again. It may be deleted at any time, and what is older than a month goes by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from skystage import events
from skystage.batch import fetch_all
from skystage.errors import CredentialsMissing, SkystageError, Stopped, StoreError, Unauthorized
from skystage.model import Asset
from skystage.settings import cache_directory
from skystage.staged import HOME
from skystage.store import Store

if TYPE_CHECKING:
    from skystage.transport import Access

AT_ONCE = 32
"""Documents under way at a time, if the hosts' limits allow it: each is hardly more than a round trip."""
GROUP = 5000
"""Documents that are fetched before the first of them is read. Between two groups connections are made anew,
and the last of one is waited for: half a second of a far host, which many documents have to share."""
REFUSED = (CredentialsMissing, Unauthorized)
"""What is no fault of a document: the same credentials would be refused for all others."""
DAY = 86_400.0
KEPT = 30 * DAY
"""Seconds after which a document is deleted: 40,000 manifests are 3 GB."""


def read_all(assets: Iterable[Asset], access: Access) -> Iterator[bytes | SkystageError]:
    """The documents in the order of the assets; of those that cannot be had, the reason.

    Credentials that are refused once are not tried on the rest of a group: that is their reason, too.

    Raises
    ------
    CredentialsMissing
        Before any request, if there are none for the hosts that have them.
    StoreError
        If the cache cannot be used, or its disk is full: that is no fault of a document.
    """
    store = Store(cache_directory() / "documents")
    _sweep(store)
    left = iter(assets)
    while group := list(islice(left, GROUP)):
        failures = _fetch(group, store, access)
        for error in failures.values():
            if isinstance(error, StoreError):
                error.hint = error.hint or "let SKYSTAGE_CACHE name a directory with room that can be written"
                raise error
        for asset in group:
            yield failures.get(asset.path) or _read(asset, store, access)


def _fetch(group: list[Asset], store: Store, access: Access) -> dict[str, SkystageError]:
    """Bring documents, and say why others did not come: a refusal ends it, and is the reason of the rest."""
    stop, refusals = threading.Event(), list[SkystageError]()

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Failed) and isinstance(event.error, REFUSED):
            refusals.append(event.error)
            stop.set()

    failures = fetch_all(group, store, access, jobs=AT_ONCE, listen=listen, stop=stop).failures
    return {
        path: refusals[0] if refusals and isinstance(error, Stopped) else error
        for path, error in failures.items()
    }


def _read(asset: Asset, store: Store, access: Access) -> bytes | SkystageError:
    with suppress(FileNotFoundError):
        return store.path(asset).read_bytes()
    # Somebody has just emptied the cache.
    failures = fetch_all([asset], store, access).failures
    try:
        return failures.get(asset.path) or store.path(asset).read_bytes()
    except OSError as error:
        return StoreError(f"{asset.path}: cannot be read: {error.strerror}")


def _sweep(store: Store) -> None:
    """Delete what is old; looked after once a day."""
    mark, now = store.root / HOME / "swept", time.time()
    with suppress(OSError):
        if mark.exists() and mark.stat().st_mtime > now - DAY:
            return
        mark.touch()
        for path in store.root.glob("*/*/*/*"):
            name = path.relative_to(store.root)
            # Another process may do the same, or empty the cache.
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < now - KEPT and name.parts[0] != HOME:
                    path.unlink()
                    store.prune(Asset(key="", path=name.as_posix()))
