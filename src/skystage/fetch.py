"""Asset in, receipt out: check, lock, ask the sources in turn, resume, verify, publish.

`fetch_asset` is idempotent and may be killed at any instruction: what it left is continued, and nothing
that is not verified ever lies at a final path. Many assets at a time are `skystage.batch`'s business.
"""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from datetime import UTC, datetime

from skystage import events
from skystage.errors import (
    ChecksumMismatch,
    CredentialsMissing,
    HostDown,
    NoSource,
    ShortBody,
    SizeMismatch,
    SkystageError,
    StoreError,
    StructureError,
    TransferError,
    WrongBody,
)
from skystage.locks import waiting_for
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
from skystage.retry import Budget, pause
from skystage.store import Store, write_all
from skystage.transport import Access, Body
from skystage.verify import Digester, check_start, digest_file, prove, strongest

WORTH = 1 << 20
"""Bytes that a broken try must have brought so as not to count against the budget."""


def fetch_asset(
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
    if asset.size not in (None, path.stat().st_size):
        return None
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
        self._furthest = self._resumed_from

    def run(self) -> Receipt:
        """Ask the sources in the plan's order until one gives the right bytes.

        A host that is down is waited for only when all others have been asked.
        """
        failures: list[SkystageError] = []
        down: list[Source] = []
        for source in self._asset.sources:
            if (missing := self._access.check(source)) is not None:
                failures.append(missing)
                continue
            try:
                return self._from(source, wait=False)
            except HostDown:
                down.append(source)
            except (TransferError, CredentialsMissing) as error:
                failures.append(error)
        for source in down:
            try:
                return self._from(source, wait=True)
            except (TransferError, CredentialsMissing) as error:
                failures.append(error)
        raise _worst(failures) if failures else NoSource(f"{self._asset.path}: the plan names no source")

    def _from(self, source: Source, *, wait: bool) -> Receipt:
        budget = Budget()
        again = True
        while True:
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
                if isinstance(error, HostDown) and not wait:
                    raise
                # How far the part has come, not how much was moved: a server that ignores ranges
                # and breaks off at the same place for ever brings nothing.
                if (reached := self._part.read().size) - self._furthest >= WORTH:
                    self._furthest = reached
                    budget.progressed()
                delay = budget.pause(error)
                self._listen(events.Retrying(self._asset.path, error, delay))
                pause(self._stop, delay)

    def _receive(self, source: Source) -> Digester:
        """Bring the part file to its end; the digests of the whole file."""
        pause(self._stop)
        part = self._part.read()
        if not source.ranges or not usable(part, source.href, proved=self._proof is not None):
            part = Part()
        elif part.origin != source.href:
            # A mirror has validators of its own; the checksum proves the whole.
            part = replace(part, validator="")
        # Hashed before the request goes out: a connection that waits for it would be cut, or cut off.
        digester = Digester(self._asset.checksums)
        if part.size:
            digester.update_from(self._part.path)
        self._attempts += 1
        self._listen(events.Started(self._asset.path, source.host, part.size))
        with self._access.open(source, request_headers(part), self._stop) as body:
            decision = decide(part, body.head, name=self._asset.path, proved=self._proof is not None)
            if isinstance(decision, Fail):
                raise decision.error
            if isinstance(decision, Discard):
                self._part.discard()
            elif isinstance(decision, Done):
                return digester
            elif isinstance(decision, Append):
                self._check_length(decision.total)
                return self._write(self._part.append(), body, part.size, decision.total, digester)
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
        chunked = body.head.headers.get("transfer-encoding", "").lower() == "chunked"
        if expected is None and self._proof is None and not chunked:
            raise WrongBody(
                f"{self._asset.path}: neither the server nor the plan says where the file ends",
                hint="a cut could not be told from its end",
            )
        self._check_length(decision.total)
        note = Part(validator=body.head.validator, origin=source.href, total=expected)
        digester = Digester(self._asset.checksums)
        fd = self._part.restart(note)
        return self._write(fd, body, 0, expected, digester)

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
                pause(self._stop)
                if size == 0:
                    check_start(self._asset, block)
                write_all(fd, block)
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
