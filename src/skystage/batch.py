"""Many assets: a receipt or an error for every one of them, several at a time.

Credentials and disk are checked for all before the first byte. One failure never costs the others,
and nothing ends unnamed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from skystage import events
from skystage.crew import Crew
from skystage.errors import (
    CredentialsMissing,
    FetchFailed,
    NotEnoughDisk,
    SkystageError,
    Stopped,
    TransferError,
)
from skystage.fetch import fetch_asset
from skystage.model import Asset, Receipt, Release
from skystage.plan import Plan
from skystage.planfile import Batch
from skystage.product import beside
from skystage.store import Store
from skystage.transport import Access

WORTH_HELP = 16 << 20
"""Bytes of an asset from which a second connection is considered."""
RESERVE = 64 << 20
"""Bytes of disk that are left free."""


@dataclass(slots=True)
class Outcome:
    """What became of a batch: a receipt, a release or an error for every planned asset.

    Attributes
    ----------
    receipts
        In the order of the plan.
    failures
        Asset path to error, in the order of the plan.
    already
        How many of the receipts are of an earlier run.
    released
        What was staged once and released since, in the order of the plan: not there, and no failure.
    """

    planned: int = 0
    receipts: list[Receipt] = field(default_factory=list)
    failures: dict[str, SkystageError] = field(default_factory=dict)
    already: int = 0
    released: list[Release] = field(default_factory=list)
    bytes_moved: int = 0
    requests: int = 0
    seconds: float = 0.0

    def raise_for_failures(self) -> None:
        """Raise one summary error if anything failed.

        Raises
        ------
        FetchFailed
            With every failure by name.
        """
        if self.failures:
            raise FetchFailed(self.failures, self.planned)


def fetch_plan(
    plan: Plan,
    store: Store,
    access: Access,
    *,
    batch: Batch | None = None,
    keys: Collection[str] | None = None,
    jobs: int = 8,
    released: bool = False,
    listen: events.Listener = events.ignore,
    stop: threading.Event | None = None,
) -> Outcome:
    """Stage a plan, or a batch of it.

    What the plan could not resolve is a failure, named by its granule, unless the query allows it to
    be missing.

    Parameters
    ----------
    batch
        ``(i, n)``: the i-th of n parts of the plan, `i` from 1; or a granule's id.
    keys
        Only assets of these keys; default: all.
    released
        Whether to fetch what was released as well.

    Raises
    ------
    PlanError
        If there is no such batch, or no asset has such a key.
    CredentialsMissing, NotEnoughDisk
        Before any request. Failed assets do not raise: see `Outcome.raise_for_failures`.
    """
    chosen = plan.chosen(batch, keys)
    outcome = fetch_all(chosen, store, access, jobs=jobs, released=released, listen=listen, stop=stop)
    lacking = plan.lacking(batch, keys)
    outcome.planned += len(lacking)
    outcome.failures |= lacking
    return outcome


def fetch_all(
    assets: Iterable[Asset],
    store: Store,
    access: Access,
    *,
    jobs: int = 8,
    released: bool = False,
    listen: events.Listener = events.ignore,
    stop: threading.Event | None = None,
) -> Outcome:
    """Stage many assets, several at a time.

    Every asset is tried, whatever happens to the others; what was released is counted, and not fetched
    unless that is asked for. Before the first byte, credentials and disk are checked for all that is
    to come.

    Parameters
    ----------
    jobs
        Assets under way at once; the hosts' own limits hold beside it.
    released
        Whether to fetch what was released as well: then it must be the same bytes again.
    listen
        Called from the threads that fetch, one call at a time.
    stop
        When set, nothing more is begun, and what is under way ends at its next block; its part file
        stays, to be continued.

    Raises
    ------
    CredentialsMissing, NotEnoughDisk
        Before any request. Failed assets do not raise: see `Outcome.raise_for_failures`.
    """
    started, requests = time.monotonic(), access.requests
    stop = threading.Event() if stop is None else stop
    distinct = list({asset.path: asset for asset in assets}.values())
    outcome = Outcome(planned=len(distinct))
    found: dict[str, Receipt] = {}
    mutex = threading.Lock()

    def tell(event: events.Event) -> None:
        with mutex:
            if isinstance(event, events.AlreadyStaged):
                outcome.already += 1
            elif isinstance(event, events.Progressed):
                outcome.bytes_moved += event.count
            listen(event)

    missing = []
    gone: dict[str, Release] = {}
    for asset in distinct:
        if (receipt := store.receipt(asset)) is not None:
            found[asset.path] = receipt
            tell(events.AlreadyStaged(asset.path, receipt))
        elif not released and (release := store.released(asset)) is not None:
            gone[asset.path] = release
        else:
            missing.append(asset)
    outcome.released.extend(gone.values())
    check_credentials((asset for asset in missing if beside(asset, store) is None), access)
    check_disk(missing, store)

    big = any(asset.size is None or asset.size >= WORTH_HELP for asset in missing)
    crew = Crew(max(1, jobs if big else min(jobs, len(missing))))
    failures: dict[str, SkystageError] = {}

    def fail(asset: Asset, error: SkystageError) -> None:
        failures[asset.path] = error
        tell(events.Failed(asset.path, error))

    def one(asset: Asset) -> None:
        try:
            found[asset.path] = fetch_asset(asset, store, access, tell, stop, crew=crew)
        except SkystageError as error:
            fail(asset, error)
        except Exception as error:  # noqa: BLE001 - a bug in one asset must not cost the other 39,999
            message = f"{asset.path}: {type(error).__name__}: {error}"
            failure = TransferError(message, hint="please report this")
            failure.__cause__ = error
            fail(asset, failure)

    try:
        if missing:
            crew.run(missing, one, stop=stop, watch=access.watch, helping=big)
    finally:
        access.close()
    for asset in distinct:
        if asset.path in found:
            outcome.receipts.append(found[asset.path])
        elif asset.path not in gone:
            outcome.failures[asset.path] = failures.get(asset.path) or _stopped(asset)
    outcome.requests = access.requests - requests
    outcome.seconds = time.monotonic() - started
    return outcome


def check_credentials(assets: Iterable[Asset], access: Access) -> None:
    """Find missing credentials before the first byte.

    Raises
    ------
    CredentialsMissing
        If an asset has no source that can be used.
    """
    for asset in assets:
        missing = [access.check(source) for source in access.worthwhile(asset.sources)]
        if missing and all(isinstance(error, CredentialsMissing) for error in missing):
            raise missing[0]  # type: ignore[misc]


def check_disk(assets: Iterable[Asset], store: Store) -> None:
    """Compare what is still to come with what the disk has, before the first byte.

    Assets of unknown size count nothing.

    Raises
    ------
    NotEnoughDisk
        With both figures.
    """
    assets = list(assets)
    needed = sum(asset.size or 0 for asset in assets)
    free = max(store.free() - RESERVE, 0)
    if needed <= free:
        return
    needed -= store.held(assets)
    if needed > free:
        raise NotEnoughDisk(
            f"{store.root}: {needed:,} bytes to come, {free:,} free",
            hint="free some, choose another --store, or fetch the plan in batches (--batch I/N)",
        )


def _stopped(asset: Asset) -> Stopped:
    return Stopped(f"{asset.path}: the fetch was stopped", hint="run it again: it continues where it was")
