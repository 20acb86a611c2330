"""Small documents that planning reads: manifests of products, labels.

They are assets like all others, and come the same way: several at a time within the hosts' limits, verified,
continued after a kill. Their store is the user's cache, so that the next plan of the same products asks for
none of them again. It may be deleted at any time, and what is older than a month goes by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from skystage.batch import fetch_all
from skystage.errors import SkystageError, StoreError, StructureError
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
DAY = 86_400.0
KEPT = 30 * DAY
"""Seconds after which a document is deleted: 40,000 manifests are 3 GB."""
MOST = 16 << 20
"""Bytes that a document may have: it is read into memory."""


def read_all(assets: Iterable[Asset], access: Access) -> Iterator[bytes | SkystageError]:
    """The documents in the order of the assets; of those that cannot be had, the reason.

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
        small = [asset for asset in group if (asset.size or 0) <= MOST]
        failures = fetch_all(small, store, access, jobs=AT_ONCE).failures
        for error in failures.values():
            if isinstance(error, StoreError):
                error.hint = error.hint or "let SKYSTAGE_CACHE name a directory with room that can be written"
                raise error
        for asset in group:
            yield failures.get(asset.path) or _read(asset, store, access)


def forget(asset: Asset) -> None:
    """Delete what came of a document, because it is none: the next plan asks for it again."""
    store = Store(cache_directory() / "documents")
    # Another process may do the same.
    with suppress(FileNotFoundError):
        store.path(asset).unlink()
    store.prune(asset)


def _read(asset: Asset, store: Store, access: Access) -> bytes | SkystageError:
    if (asset.size or 0) > MOST:
        return _too_large(asset)
    with suppress(FileNotFoundError):
        return _content(asset, store)
    # Somebody has just emptied the cache.
    failures = fetch_all([asset], store, access).failures
    try:
        return failures.get(asset.path) or _content(asset, store)
    except OSError as error:
        return StoreError(f"{asset.path}: cannot be read: {error.strerror}")


def _content(asset: Asset, store: Store) -> bytes | SkystageError:
    with store.path(asset).open("rb") as file:
        content = file.read(MOST + 1)
    return content if len(content) <= MOST else _too_large(asset)


def _too_large(asset: Asset) -> StructureError:
    return StructureError(f"{asset.path}: has more than {MOST:,} bytes: no small document")


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
