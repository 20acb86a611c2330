"""Small documents that planning reads: manifests of products, labels.

They are assets like all others, and come the same way: several at a time within the hosts' limits, verified,
continued after a kill. Their store is the user's cache, so that the next plan of the same products asks for
none of them again. It may be deleted at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from skystage.batch import fetch_all
from skystage.errors import SkystageError, StoreError
from skystage.model import Asset
from skystage.settings import cache_directory
from skystage.store import Store

if TYPE_CHECKING:
    from skystage.transport import Access

AT_ONCE = 32
"""Documents under way at a time, if the hosts' limits allow it: each is hardly more than a round trip."""
GROUP = 1000
"""Documents that are waited for together: enough to be no matter of waiting, few enough to begin with."""


def read_all(assets: Iterable[Asset], access: Access) -> Iterator[bytes | SkystageError]:
    """The documents in the order of the assets; of those that cannot be had, the reason.

    Raises
    ------
    CredentialsMissing
        Before any request, if there are none for the hosts that have them.
    StoreError
        If the cache cannot be written.
    """
    store = Store(cache_directory() / "documents")
    left = iter(assets)
    while group := list(islice(left, GROUP)):
        failures = fetch_all(group, store, access, jobs=AT_ONCE, released=True).failures
        for asset in group:
            if (failure := failures.get(asset.path)) is not None:
                yield failure
                continue
            try:
                yield store.path(asset).read_bytes()
            except OSError as error:
                yield StoreError(f"{asset.path}: {error.strerror}")
