"""Asset in, receipt out: check, lock, ask the sources in turn, resume, verify, publish.

`fetch` is idempotent and may be killed at any instruction: what it left is continued, and nothing
that is not verified ever lies at a final path. `fetch_all` does it for many assets and gives a
receipt or an error for every one of them.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice

from skystage import events
from skystage.errors import (
    ChecksumMismatch,
    CredentialsMissing,
    FetchFailed,
    NoSource,
    NotEnoughDisk,
    ShortBody,
    SizeMismatch,
    SkystageError,
    Stopped,
    StoreError,
    StructureError,
    TransferError,
    WrongBody,
)
from skystage.limits import pause, waiting_for
from skystage.model import Asset, Receipt, Source
from skystage.resume import (
    Append,
    Discard,
    Done,
    Fail,
    Part,
    Restart,
    decide,
    request_headers,
    usable,
)
from skystage.retry import Budget
from skystage.store import Store
from skystage.transport import Access, Body
from skystage.verify import Digester, check_start, digest_file, prove, strongest

WORTH = 1 << 20
"""Bytes that a broken try must have brought so as not to count against the budget."""
RESERVE = 64 << 20
"""Bytes of disk that are left free."""


def fetch(
    asset: Asset,
    store: Store,
    access: Access,
    listen: events.Listener = events.ignore,
    stop: threading.Event | None = None,
) -> Receipt:
    """Stage one asset.

    Parameters
    ----------
    asset
        What to stage, and where from.
    store
        Where to.
    access
        Credentials, limits, connections.
    listen
        Called with what happens, from this thread.
    stop
        When set, the fetch ends at its next block; its part file stays, to be continued.

    Returns
    -------
    The receipt, old or new.

    Raises
    ------
    TransferError
        If no source gives the bytes that the plan expects.
    CredentialsMissing
        If every source asks for credentials that are not there.
    StoreError
        If the file system refuses.
    Stopped
        If `stop` was set.
    """
    if (receipt := store.receipt(asset)) is not None:
        listen(events.AlreadyStaged(asset.path, receipt))
        return receipt
    stop = stop or threading.Event()
    try:
        # Somebody else may be at it: then it is waited for, and found done.
        with waiting_for(store.lock(asset), stop):
            if (receipt := _found(asset, store)) is not None:
                listen(events.AlreadyStaged(asset.path, receipt))
                return receipt
            receipt = _Transfer(asset, store, access, listen, stop).run()
    except OSError as error:
        raise StoreError(f"{asset.path}: {error.strerror or error}") from error
    listen(events.Staged(asset.path, receipt))
    return receipt


def _found(asset: Asset, store: Store) -> Receipt | None:
    """The receipt, or one made now for a file that lies at its final path without one.

    Such a file was published by a process that was killed before it wrote the receipt, or by one
    that wrote it after we read the receipts. Without a checksum nothing proves it: it is fetched
    again.
    """
    path = store.path(asset)
    if not path.exists():
        return None
    if (receipt := store.receipt(asset)) is None:
        store.refresh()
        receipt = store.receipt(asset)
    if receipt is not None or strongest(asset.checksums) is None:
        return receipt
    digests = digest_file(path, asset.checksums)
    try:
        verified = prove(asset, path, digests)
    except TransferError:
        return None
    found = path.stat()
    receipt = Receipt(
        path=asset.path,
        size=found.st_size,
        mtime_ns=found.st_mtime_ns,
        digests=digests,
        verified=verified,
        source="",
        staged=_now(),
        attempts=0,
    )
    store.record([receipt])
    return receipt


class _Transfer:
    """One asset on its way: the state that its tries share."""

    def __init__(
        self, asset: Asset, store: Store, access: Access, listen: events.Listener, stop: threading.Event
    ) -> None:
        self._asset = asset
        self._store = store
        self._access = access
        self._listen = listen
        self._stop = stop
        self._part = store.part(asset)
        self._proof = strongest(asset.checksums)
        self._attempts = 0
        self._moved = 0
        self._resumed_from = self._part.read().size

    def run(self) -> Receipt:
        """Ask the sources in the plan's order until one gives the right bytes."""
        failures: list[SkystageError] = []
        for source in self._asset.sources:
            if (missing := self._access.check(source)) is not None:
                failures.append(missing)
                continue
            try:
                return self._from(source)
            except TransferError as error:
                failures.append(error)
        raise _worst(failures) if failures else NoSource(f"{self._asset.path}: the plan names no source")

    def _from(self, source: Source) -> Receipt:
        budget = Budget()
        again = True
        while True:
            before = self._moved
            try:
                digester = self._receive(source)
                return self._publish(source, digester)
            except (ChecksumMismatch, SizeMismatch, StructureError):
                # Nothing refused is kept. One more try from the first byte: the part may have been
                # damaged by a crash, or joined from two versions of the file.
                self._part.discard()
                if not again:
                    raise
                again = False
            except TransferError as error:
                if self._moved - before >= WORTH:
                    budget.progressed()
                delay = budget.pause(error)
                self._listen(events.Retrying(self._asset.path, error, delay))
                pause(self._stop, delay)

    def _receive(self, source: Source) -> Digester:
        """Bring the part file to its end; the digests of the whole file."""
        pause(self._stop, 0)
        part = self._part.read()
        if not source.ranges or not usable(part, source.href, proved=self._proof is not None):
            part = Part()
        self._attempts += 1
        self._listen(events.Started(self._asset.path, source.host, part.size))
        with self._access.open(source, request_headers(part), self._stop) as body:
            decision = decide(part, body.head, name=self._asset.path, proved=self._proof is not None)
            if isinstance(decision, Fail):
                raise decision.error
            if isinstance(decision, Discard):
                self._part.discard()
            elif isinstance(decision, Done):
                return self._digest_part()
            elif isinstance(decision, Append):
                return self._append(body, part, decision)
            else:
                return self._restart(body, source, decision)
        return self._receive(source)

    def _restart(self, body: Body, source: Source, decision: Restart) -> Digester:
        expected = self._asset.size if decision.total is None else decision.total
        if "text/html" in body.head.headers.get("content-type", "") and not self._asset.name.endswith("html"):
            raise WrongBody(
                f"{self._asset.path}: an HTML page arrived instead of the file",
                hint="often a log-in, licence or maintenance page: run `skystage doctor`",
            )
        self._check_length(decision.total)
        note = Part(validator=body.head.validator, origin=source.href, total=expected)
        digester = Digester(self._asset.checksums)
        fd = self._part.restart(note)
        return self._write(fd, body, 0, expected, digester)

    def _append(self, body: Body, part: Part, decision: Append) -> Digester:
        self._check_length(decision.total)
        digester = self._digest_part()
        return self._write(self._part.append(), body, part.size, decision.total, digester)

    def _digest_part(self) -> Digester:
        digester = Digester(self._asset.checksums)
        digester.update_from(self._part.path)
        return digester

    def _check_length(self, announced: int | None) -> None:
        # Known before the body: no need to move 4 GB in order to refuse them.
        if announced is not None and self._asset.size is not None and announced != self._asset.size:
            raise SizeMismatch(
                f"{self._asset.path}: the server has {announced:,} bytes, the plan says {self._asset.size:,}",
                hint="the archive may have reprocessed it: make the plan again, and compare with plan-diff",
            )

    def _write(self, fd: int, body: Body, size: int, expected: int | None, digester: Digester) -> Digester:
        try:
            for block in body.blocks():
                pause(self._stop, 0)
                if size == 0:
                    check_start(self._asset, block)
                _write_all(fd, block)
                digester.update(block)
                size += len(block)
                self._moved += len(block)
                self._listen(events.Progressed(self._asset.path, len(block)))
                if expected is not None and size > expected:
                    break
        finally:
            os.close(fd)
        if expected is not None and size > expected:
            self._part.discard()
            raise WrongBody(f"{self._asset.path}: more than the {expected:,} bytes that were announced")
        if expected is not None and size < expected:
            raise ShortBody(f"{self._asset.path}: the body ended after {size:,} of {expected:,} bytes")
        return digester

    def _publish(self, source: Source, digester: Digester) -> Receipt:
        digests = digester.digests()
        verified = prove(self._asset, self._part.path, digests)

        def receipt(found: os.stat_result) -> Receipt:
            return Receipt(
                path=self._asset.path,
                size=found.st_size,
                mtime_ns=found.st_mtime_ns,
                digests=digests,
                verified=verified,
                source=source.href.partition("?")[0],
                staged=_now(),
                attempts=self._attempts,
                bytes_moved=self._moved,
                resumed_from=self._resumed_from,
            )

        return self._store.publish(self._asset, self._part, receipt)


def _write_all(fd: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(fd, view) :]


def _worst(failures: list[SkystageError]) -> SkystageError:
    """Of one error for each source, the one to raise: what a retry can mend, before the first."""
    transient = [error for error in failures if error.transient]
    tried = [error for error in failures if not isinstance(error, CredentialsMissing)]
    chosen = (transient or tried or failures)[0]
    others = [error.message for error in failures if error is not chosen]
    if others:
        chosen.add_note(f"other sources: {'; '.join(others)}")
    return chosen


def _now() -> datetime:
    return datetime.now(UTC)


# --------------------------------------------------------------------------------------------------
# Many assets


@dataclass(slots=True)
class Outcome:
    """What became of a batch: a receipt or an error for every planned asset.

    Attributes
    ----------
    receipts
        In the order of the plan.
    failures
        Asset path to error, in the order of the plan.
    already
        How many of the receipts are of an earlier run.
    """

    planned: int = 0
    receipts: list[Receipt] = field(default_factory=list)
    failures: dict[str, SkystageError] = field(default_factory=dict)
    already: int = 0
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


def fetch_all(
    assets: Iterable[Asset],
    store: Store,
    access: Access,
    *,
    jobs: int = 8,
    listen: events.Listener = events.ignore,
    stop: threading.Event | None = None,
) -> Outcome:
    """Stage many assets, several at a time.

    Every asset is tried, whatever happens to the others. Before the first byte, credentials and
    disk are checked for all that is not staged yet.

    Parameters
    ----------
    jobs
        Assets under way at once; the hosts' own limits hold beside it.
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
    for asset in distinct:
        if (receipt := store.receipt(asset)) is None:
            missing.append(asset)
        else:
            found[asset.path] = receipt
            tell(events.AlreadyStaged(asset.path, receipt))
    check_credentials(missing, access)
    check_disk(missing, store)

    def one(asset: Asset) -> Receipt | SkystageError:
        try:
            return fetch(asset, store, access, tell, stop)
        except SkystageError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - a bug in one asset must not cost the other 39,999
            failure = TransferError(
                f"{asset.path}: {type(error).__name__}: {error}", hint="please report this"
            )
            failure.__cause__ = error
        tell(events.Failed(asset.path, failure))
        return failure

    failures: dict[str, SkystageError] = {}
    try:
        for asset, result in _spread(missing, one, jobs, stop):
            if isinstance(result, Receipt):
                found[asset.path] = result
            else:
                failures[asset.path] = result
    finally:
        access.close()
    for asset in distinct:
        if asset.path in found:
            outcome.receipts.append(found[asset.path])
        else:
            outcome.failures[asset.path] = failures.get(asset.path) or _stopped(asset)
    outcome.requests = access.requests - requests
    outcome.seconds = time.monotonic() - started
    return outcome


def _spread(
    assets: list[Asset],
    work: Callable[[Asset], Receipt | SkystageError],
    jobs: int,
    stop: threading.Event,
) -> Iterator[tuple[Asset, Receipt | SkystageError]]:
    """Run `work` for each asset, `jobs` at a time; results as they come.

    No more than `jobs` are handed to the pool at once, so that stopping leaves nothing queued.
    """
    waiting = iter(assets)
    running: dict[Future[Receipt | SkystageError], Asset] = {}
    with ThreadPoolExecutor(max(1, min(jobs, len(assets))), "skystage-fetch") as pool:
        try:
            while True:
                for asset in islice(waiting, 0 if stop.is_set() else jobs - len(running)):
                    running[pool.submit(work, asset)] = asset
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        except BaseException:
            # Ctrl-C, SIGTERM, a cancelled flow: the threads end at their next block.
            stop.set()
            raise


def check_credentials(assets: Iterable[Asset], access: Access) -> None:
    """Find missing credentials before the first byte.

    Raises
    ------
    CredentialsMissing
        If an asset has no source that can be used.
    """
    for asset in assets:
        missing = [access.check(source) for source in asset.sources]
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
    free = store.free() - RESERVE
    if needed <= free:
        return
    needed -= store.held(assets)
    if needed > free:
        raise NotEnoughDisk(
            f"{store.root}: {needed:,} bytes to come, {max(free, 0):,} free",
            hint="free some, choose another --store, or fetch the plan in batches (--batch I/N)",
        )


def _stopped(asset: Asset) -> Stopped:
    return Stopped(f"{asset.path}: the fetch was stopped", hint="run it again: it continues where it was")
