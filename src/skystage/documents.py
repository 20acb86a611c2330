"""Small documents that planning reads: manifests of products, labels.

They are assets like all others, and come the same way: several at a time within the hosts' limits, verified,
continued after a kill. Their store is the user's cache, so that the next plan of the same products asks for
none of them again. It may be deleted at any time, and what is older than a month goes by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Self

from skystage import events
from skystage.batch import fetch_all
from skystage.errors import CredentialsMissing, SkystageError, StoreError, StructureError, Unauthorized
from skystage.model import Asset
from skystage.settings import cache_directory
from skystage.staged import HOME
from skystage.store import Store

if TYPE_CHECKING:
    from skystage.transport import Access

AT_ONCE = 32
"""Documents under way at a time, if the hosts' limits allow it: each is hardly more than a round trip."""
GROUP = 5000
"""Documents that are looked for at a time. Between two groups connections are made anew, and the last of one
is waited for: half a second of a far host, which many documents have to share."""
DAY = 86_400.0
KEPT = 30 * DAY
"""Seconds after which a document is deleted: 40,000 manifests are 3 GB."""
MOST = 16 << 20
"""Bytes that a document may have: it is read into memory."""


def read_all(assets: Iterable[Asset], access: Access) -> Generator[bytes | SkystageError, None, None]:
    """The documents in the order of the assets; of those that cannot be had, the reason.

    Each comes as soon as it is there, while others are under way: close it if no more are wanted.

    Raises
    ------
    CredentialsMissing
        Before any request, if there are none for the hosts that have them; or if they are refused: that is no
        gap in a plan either, in which nothing else could be had.
    StoreError
        If the cache cannot be used, or its disk is full: that is no fault of a document.
    """
    store = Store(cache_directory() / "documents")
    _sweep(store)
    left = iter(assets)
    while group := list(islice(left, GROUP)):
        small = [asset for asset in group if (asset.size or 0) <= MOST]
        with _Fetch(small, store, access) as fetch:
            for asset in group:
                if (asset.size or 0) > MOST:
                    yield _too_large(asset)
                else:
                    yield fetch.failure(asset) or _read(asset, store, access)


class _Fetch:
    """A fetch in a thread of its own, which says of each asset when it has come to an end."""

    def __init__(self, assets: Sequence[Asset], store: Store, access: Access) -> None:
        self._ended: dict[str, SkystageError | None] = {}
        self._raised: BaseException | None = None
        self._news = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(assets, store, access), name="skystage-documents"
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        # Who has had enough waits for no more than a block of each document.
        self._stop.set()
        self._thread.join()

    def failure(self, asset: Asset) -> SkystageError | None:
        """Why an asset could not be had, when that is known; None of one that is staged."""
        with self._news:
            while asset.path not in self._ended:
                if self._raised is not None:
                    raise self._raised
                self._news.wait()
            error = self._ended[asset.path]
        if isinstance(error, CredentialsMissing | Unauthorized):
            raise CredentialsMissing(error.message, hint=error.hint) from error
        if isinstance(error, StoreError):
            error.hint = error.hint or "let SKYSTAGE_CACHE name a directory with room that can be written"
            raise error
        return error

    def _run(self, assets: Sequence[Asset], store: Store, access: Access) -> None:
        raised: BaseException = RuntimeError("a fetch ended without a word of a document")
        try:
            fetch_all(assets, store, access, jobs=AT_ONCE, listen=self._hear, stop=self._stop)
        except BaseException as error:  # noqa: BLE001 - raised where the document is waited for
            raised = error
        with self._news:
            self._raised = raised
            self._news.notify_all()

    def _hear(self, event: events.Event) -> None:
        if isinstance(event, events.Staged | events.AlreadyStaged | events.Failed):
            with self._news:
                self._ended[event.path] = event.error if isinstance(event, events.Failed) else None
                self._news.notify_all()


def forget(asset: Asset) -> None:
    """Delete what came of a document, because it is none: the next plan asks for it again."""
    store = Store(cache_directory() / "documents")
    # Another process may do the same.
    with suppress(FileNotFoundError):
        store.path(asset).unlink()
    store.prune(asset)


def _read(asset: Asset, store: Store, access: Access) -> bytes | SkystageError:
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
