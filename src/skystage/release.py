"""Give the disk back: delete staged files that were consumed, and keep their receipts.

What is deleted is recorded first, and the record is believed when the file has gone. So whoever is killed
in between has released nothing, and what has gone is never taken for lost (docs/adr/0008).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime

from skystage import events
from skystage.errors import SkystageError, StoreError
from skystage.locks import waiting_for
from skystage.model import Receipt, Release
from skystage.planfile import Batch, Entry, PlanFile
from skystage.store import Store


@dataclass(slots=True)
class Freed:
    """What became of a release.

    Attributes
    ----------
    released
        What was deleted, in the order of the plan; of a dry run, what would be.
    bytes
        That are free now. A file with another name (a hard link, as ``fetch --into`` makes) frees none.
    linked
        How many of the released have such a name: their bytes stay until it goes.
    already
        Released before.
    absent
        Never staged, or lost.
    shared
        Kept, because other batches of the plan need them too.
    kept
        Asset path to the reason why a file could not be released.
    """

    planned: int = 0
    released: list[Release] = field(default_factory=list)
    bytes: int = 0
    linked: int = 0
    already: int = 0
    absent: int = 0
    shared: int = 0
    kept: dict[str, SkystageError] = field(default_factory=dict)


def release_plan(
    plan: PlanFile,
    store: Store,
    *,
    batch: Batch | None = None,
    keys: Collection[str] | None = None,
    dry_run: bool = False,
    listen: events.Listener = events.ignore,
    stop: threading.Event | None = None,
) -> Freed:
    """Delete the staged files of a plan, or of a batch of it; their receipts stay.

    Only a file that its receipt still describes is deleted. Other plans are not asked.

    Parameters
    ----------
    batch
        ``(i, n)``: the i-th of n parts of the plan, `i` from 1; or a granule's id. What it shares with
        the others (orbit files, DEM tiles) is kept, unless `keys` names it.
    keys
        Only assets of these keys; default: all.
    dry_run
        Change nothing.
    stop
        When set, nothing more is deleted.

    Raises
    ------
    PlanError
        If there is no such batch, or no asset has such a key.
    StoreError
        If the release cannot be recorded: then nothing is deleted. What cannot be deleted does not
        raise: it is in `Freed.kept`.
    Stopped
        If `stop` was set.
    """
    stop = stop or threading.Event()
    freed = Freed()
    shared = plan.shared(batch) if batch is not None and not keys else set()
    found: list[tuple[Entry, Release]] = []
    now = datetime.now(UTC)
    for entry in plan.entries(batch, keys):
        freed.planned += 1
        if entry.path in shared:
            freed.shared += 1
        elif (receipt := _receipt(entry, store)) is not None:
            # Another machine's clock may be ahead: a release is never earlier than its receipt.
            found.append((entry, Release(receipt=receipt, released=max(now, receipt.staged))))
        elif store.tombstone(entry) is not None:
            freed.already += 1
            if not dry_run:
                store.prune(entry)  # who was killed behind the deletion has left them
        elif os.path.lexists(store.path(entry)):
            freed.kept[entry.path] = StoreError(
                f"{entry.path}: changed since it was staged, or not verified (yet)",
                hint="fetch it again, or delete it yourself",
            )
        else:
            freed.absent += 1
    if dry_run:
        for entry, release in found:
            links = store.path(entry).stat().st_nlink
            _count(freed, release, release.receipt.size if links == 1 else 0)
        return freed
    if found:
        store.announce(release for _, release in found)
    for entry, release in found:
        try:
            with waiting_for(store.lock(entry), stop):
                size = _remove(entry, release, store)
        except StoreError as error:
            freed.kept[entry.path] = error
            continue
        if size is None:
            freed.already += 1
            continue
        _count(freed, release, size)
        listen(events.Released(entry.path, release))
    return freed


def _receipt(entry: Entry, store: Store) -> Receipt | None:
    """The receipt; also one that somebody has written since the store was opened."""
    if (receipt := store.receipt(entry)) is None and os.path.lexists(store.path(entry)):
        store.refresh()
        receipt = store.receipt(entry)
    return receipt


def _remove(entry: Entry, release: Release, store: Store) -> int | None:
    """Delete a file; the bytes that this frees, or None if somebody else has done it."""
    if store.receipt(entry) == release.receipt:
        return store.remove(entry)
    if os.path.lexists(store.path(entry)):
        # Somebody has asked for it again, and got it.
        raise StoreError(f"{entry.path}: was staged again meanwhile", hint="release it again")
    return None


def _count(freed: Freed, release: Release, size: int) -> None:
    freed.released.append(release)
    freed.bytes += size
    freed.linked += size < release.receipt.size
