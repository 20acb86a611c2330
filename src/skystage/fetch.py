"""Asset in, receipt out: check, lock, ask the sources in turn, resume, verify, publish.

`fetch_asset` is idempotent and may be killed at any instruction: what it left is continued, and nothing
that is not verified ever lies at a final path. Many assets at a time are `skystage.batch`'s business.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from skystage import events
from skystage.arrival import Arrival, Superseded
from skystage.crew import Crew
from skystage.errors import (
    ChecksumMismatch,
    CredentialsMissing,
    Drifted,
    HostDown,
    Interrupted,
    NoSource,
    NotFound,
    ShortBody,
    SizeMismatch,
    SkystageError,
    Stopped,
    StoreError,
    StructureError,
    TransferError,
    WrongBody,
    WrongRange,
)
from skystage.locks import waiting_for
from skystage.members import WHOLE, Member, Run, unpacked
from skystage.model import Asset, Receipt, Source
from skystage.pieces import Piece
from skystage.product import beside
from skystage.product import blocks as product_blocks
from skystage.resume import (
    Append,
    Asked,
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
from skystage.safefile import prove_packed, prove_zip
from skystage.staged import MANIFEST
from skystage.store import Store
from skystage.transport import Access, Body, Busy
from skystage.verify import Digester, check_start, digest_file, prove, strongest

WORTH = 1 << 20
"""Bytes that a broken try must have brought so as not to count against the budget."""
WAIT = 0.5
"""Seconds between two looks at whether to stop, while others bring the rest."""


def fetch_asset(
    asset: Asset,
    store: Store,
    access: Access,
    listen: events.Listener = events.ignore,
    stop: threading.Event | None = None,
    *,
    crew: Crew | None = None,
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
        Called with what happens, from the thread that fetches: not the one that calls this.
    stop
        When set, the fetch ends at its next block; its part file stays, to be continued.
    crew
        Idle threads that may help with a big file.

    Returns
    -------
    The receipt, old or new.

    Raises
    ------
    TransferError
        If no source gives the bytes that the plan expects, or, of an asset that was released, those
        that were staged before.
    CredentialsMissing
        If every source asks for credentials that are not there.
    StoreError
        If the file system refuses.
    Stopped
        If `stop` was set.
    """
    stop = stop or threading.Event()
    if (receipt := store.receipt(asset)) is not None:
        listen(events.AlreadyStaged(asset.path, receipt))
        return receipt
    if crew is not None:
        return _fetch(asset, store, access, listen, stop, crew=crew)
    ended: list[Receipt | Exception] = []
    alone = Crew()

    def work(asset: Asset) -> None:
        try:
            ended.append(_fetch(asset, store, access, listen, stop, crew=alone))
        except Exception as error:  # noqa: BLE001 - raised below, by the thread that asked
            ended.append(error)

    # In a thread of its own, so that this one can look whether it still moves.
    alone.run([asset], work, stop=stop, watch=access.watch, helping=False)
    result = ended[0] if ended else Stopped(f"{asset.path}: the fetch was stopped", hint="run it again")
    if isinstance(result, Exception):
        raise result
    return result


def _fetch(
    asset: Asset,
    store: Store,
    access: Access,
    listen: events.Listener,
    stop: threading.Event,
    *,
    crew: Crew,
) -> Receipt:
    try:
        # Somebody else may be at it: then it is waited for, and found done.
        with waiting_for(store.lock(asset), stop):
            if (receipt := _found(asset, store)) is not None:
                listen(events.AlreadyStaged(asset.path, receipt))
                return receipt
            receipt = _Transfer(asset, store, access, listen, stop, crew=crew).run()
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
    repacked = any(source.repacked is not None for source in asset.sources)
    if asset.size not in (None, path.stat().st_size) and not repacked:
        return None
    digests = digest_file(path, asset.checksums)
    try:
        verified = (prove_packed if repacked else prove)(asset, path, digests)
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
    store.part(asset).discard()  # what that process was about to
    store.record([receipt])
    return receipt


class _Transfer:
    """One asset on its way: the state that its tries share."""

    def __init__(
        self,
        asset: Asset,
        store: Store,
        access: Access,
        listen: events.Listener,
        stop: threading.Event,
        *,
        crew: Crew,
    ) -> None:
        self._wanted = asset
        self._store = store
        self._access = access
        self._listen = listen
        self._stop = stop
        self._crew = crew
        self._expect(asset)
        self._arrival: Arrival | None = None
        self._alone = False
        self._attempts = 0
        self._moved = 0
        self._resumed_from = self._part.read().held
        self._furthest = 0

    def _expect(self, asset: Asset) -> None:
        """The bytes that are to come: the asset's, or those of the same product packed otherwise."""
        self._asset = asset
        self._part = self._store.part(asset)
        self._checksum = strongest(asset.checksums)

    def run(self) -> Receipt:
        """Ask the sources in the plan's order until one gives the right bytes.

        A host that is down is waited for only when all others have been asked.
        """
        if (receipt := self._from_product()) is not None:
            return receipt
        failures: list[SkystageError] = []
        down: list[Source] = []
        for source in self._access.worthwhile(self._wanted.sources):
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

    def _from_product(self) -> Receipt | None:
        """Take the asset out of the product that it is a part of, if that is staged; no request."""
        if (product := beside(self._wanted, self._store)) is None:
            return None
        whole, digester = self._part.unpacked, Digester(self._wanted.checksums)
        try:
            with whole.open("wb") as file:
                for block in product_blocks(product, self._wanted.name):
                    pause(self._stop)
                    file.write(block)
                    digester.update(block)
            verified = prove(self._wanted, whole, digester.digests())
            self._store.check_drift(self._wanted, digester.digests())
        except (NotFound, StructureError, SizeMismatch, ChecksumMismatch, Drifted) as error:
            # Another version of the product, or a damaged one: the sources have the file that is planned.
            whole.unlink(missing_ok=True)
            self._listen(events.Retrying(self._wanted.path, error, 0.0))
            return None
        verified = "crc32" if verified == "size+structure" else verified
        return self._published(whole, digester.digests(), verified, f"file:{product.name}")

    def _from(self, source: Source, *, wait: bool) -> Receipt:
        asset = self._wanted
        if (packed := source.repacked) is not None:
            asset = replace(asset, size=packed.size, checksums=packed.checksums)
        self._expect(asset)
        with self._crew.offering(partial(self._help, source)):
            try:
                return self._patiently(source, wait=wait)
            finally:
                self._close()

    def _patiently(self, source: Source, *, wait: bool) -> Receipt:
        budget = Budget()
        again = True
        while True:
            try:
                self._receive(source)
                return self._publish(source)
            except (ChecksumMismatch, SizeMismatch, StructureError, WrongRange):
                # Nothing refused is kept. One more try from the first byte: the part may have been
                # damaged by a crash, or joined from two versions of the file.
                self._discard(source)
                if not again:
                    raise
                again = False
            except TransferError as error:
                if isinstance(error, HostDown) and not wait:
                    raise
                # How far the part has come, not how much was moved: a server that ignores ranges
                # and breaks off at the same place for ever brings nothing.
                if self._held - self._furthest >= WORTH:
                    self._furthest = self._held
                    budget.progressed()
                delay = budget.pause(error)
                self._listen(events.Retrying(self._asset.path, error, delay))
                pause(self._stop, delay)

    # ----------------------------------------------------------------------------------------------
    # Receiving

    def _receive(self, source: Source) -> None:
        """Bring the part file to its end."""
        pause(self._stop)
        run = self._run(source)
        if self._arrival is None:
            # Hashed before the request goes out: a connection that waits for it would be cut off.
            self._arrival = self._resumed(source, run)
            self._furthest = max(self._furthest, self._held)
        self._attempts += 1
        self._listen(events.Started(self._asset.path, source.host, self._held))
        while (arrival := self._arrival) is None or arrival.spoilt or not arrival.complete:
            if arrival is None:
                self._begin(source, run)
            elif arrival.spoilt:
                # By somebody who helped.
                self._alone = True
                self._discard(source)
            elif (piece := arrival.claim()) is not None:
                self._bring(source, run, arrival, piece)
            else:
                # The rest is in other hands; what they give up is ours again.
                arrival.wait(WAIT)
                pause(self._stop)

    def _run(self, source: Source) -> Run:
        """Where in the file at the source the asset's bytes lie."""
        if source.member is None:
            return WHOLE
        run = self._access.directories.run(source, self._access, self._stop)
        self._check_length(run.member.size if run.member else None)
        return run

    def _resumed(self, source: Source, run: Run) -> Arrival | None:
        """What an earlier run left, if it can be continued from this source."""
        if self._part.empty:
            return None
        part = self._part.read()
        if not source.ranges or not usable(part, source.href, source.member, proved=self._proved(run)):
            return None
        if part.origin != source.href:
            # A mirror has validators of its own; the checksum proves the whole.
            part = replace(part, validator=run.version.validator, origin=source.href)
        if run.member is not None and (part.validator, part.total) != run.identity:
            return None
        return Arrival(self._part, part, run.end or part.total, self._digester(run))

    def _begin(self, source: Source, run: Run) -> None:
        """Ask for the first byte, and read all that comes."""
        with self._request(source, run, run.version, run.asked()) as (body, decision):
            if isinstance(decision, Append | Restart):
                self._anew(source, run, body, decision)
                return
        self._discard(source)
        raise Interrupted(f"{self._asset.path}: the file at the source changed meanwhile")

    def _bring(self, source: Source, run: Run, arrival: Arrival, piece: Piece) -> None:
        """Ask for a piece, and read it."""
        try:
            asked = run.asked(piece, arrival.version.total)
            with self._request(source, run, arrival.version, asked) as (body, decision):
                if isinstance(decision, Append):
                    self._check_length(None if run.member else decision.total)
                    if piece.stop is None:
                        arrival.end_at(piece, decision.total)
                    self._read(arrival, piece, body)
                elif isinstance(decision, Restart | Discard):
                    # A host that does not keep to one version would be begun anew for ever.
                    self._alone = True
                    if isinstance(decision, Restart):
                        self._anew(source, run, body, decision)
                    else:
                        self._discard(source)
                else:
                    arrival.end_at(piece, piece.at)
        except WrongRange:
            # What cannot be had in ranges may still be had whole.
            if run.member is not None:
                raise
            self._alone = True
            self._discard(source)
        finally:
            arrival.release(piece)

    def _help(self, source: Source) -> bool:
        """Bring one piece with one more connection, if that is of use; called by idle threads."""
        arrival = self._arrival
        if arrival is None or self._stop.is_set() or not arrival.wants_help():
            return False
        # Whoever comes late may find the arrival from another source.
        if not source.ranges or arrival.version.origin != source.href:
            return False
        piece = None
        try:
            if not self._access.has_room(source, arrival.host):
                return False
            sharers = min(self._crew.size, self._access.limits.of(arrival.host).connections)
            if (piece := arrival.claim_to_help(sharers)) is None:
                return False
            run = self._run(source)
            asked = run.asked(piece, arrival.version.total)
            with self._request(source, run, arrival.version, asked, helping=True) as (body, decision):
                if not isinstance(decision, Append):
                    arrival.alone = True
                    return False
                self._read(arrival, piece, body)
                return True
        except (Superseded, Busy, Stopped):
            return False
        except WrongBody:
            arrival.alone = True
            return False
        except Exception:  # noqa: BLE001 - whatever it is
            # Not the transfer's failure: its own thread goes on, and finds what there is to find.
            arrival.trouble()
            return False
        finally:
            if piece is not None:
                arrival.release(piece)

    @contextmanager
    def _request(
        self, source: Source, run: Run, version: Part, asked: Asked | None, *, helping: bool = False
    ) -> Iterator[tuple[Body, Append | Restart | Done | Discard]]:
        headers = request_headers(asked, version.validator)
        stop = self._crew.over if helping else self._stop
        with self._access.open(source, headers, stop, wait=not helping) as body:
            decision = decide(asked, version, body.head, name=self._asset.path, proved=self._proved(run))
            if isinstance(decision, Fail):
                raise decision.error
            if source.named is not None and body.head.filename not in (None, source.named):
                raise Interrupted(f"{self._asset.path}: the host sent {body.head.filename!r} instead")
            yield body, decision

    def _anew(self, source: Source, run: Run, body: Body, decision: Append | Restart) -> None:
        """Read the first bytes of a version that nothing is there of."""
        if isinstance(decision, Restart):
            self._check_whole(source, run, body, decision)
        version = Part(
            validator=body.head.validator,
            origin=source.href,
            member=source.member or "",
            total=decision.total,
        )
        end = run.end or (self._asset.size if decision.total is None else decision.total)
        self._close()
        arrival = self._arrival = Arrival.anew(self._part, version, end, self._digester(run))
        refuses = body.head.headers.get("accept-ranges", "").lower() == "none"
        arrival.host = body.host
        arrival.alone = self._alone or refuses or not (version.validator or self._proved(run))
        piece = arrival.claim()
        if piece is None:  # a file of no bytes
            return
        try:
            self._read(arrival, piece, body)
        finally:
            arrival.release(piece)

    def _check_whole(self, source: Source, run: Run, body: Body, decision: Restart) -> None:
        """Refuse what cannot be the file, before a byte of it is written."""
        if run.member is not None:
            # Asked for by If-Range, and not of that version any more.
            self._discard(source)
            raise Interrupted(f"{self._asset.path}: the file at the source changed meanwhile")
        chunked = body.head.headers.get("transfer-encoding", "").lower() == "chunked"
        if decision.total is None and self._asset.size is None and self._checksum is None and not chunked:
            raise WrongBody(
                f"{self._asset.path}: neither the server nor the plan says where the file ends",
                hint="a cut could not be told from its end",
            )
        self._check_length(decision.total)

    def _check_length(self, announced: int | None) -> None:
        # Known before the body: no need to move 4 GB in order to refuse them.
        if announced is not None and self._asset.size is not None and announced != self._asset.size:
            raise SizeMismatch(
                f"{self._asset.path}: the server has {announced:,} bytes, the plan says {self._asset.size:,}",
                hint="the archive may have reprocessed it: make the plan again, and compare with plan-diff",
            )

    def _read(self, arrival: Arrival, piece: Piece, body: Body) -> None:
        arrival.host = body.host
        try:
            for block in body.blocks():
                pause(self._stop)
                if piece.at == 0 and not arrival.version.member:
                    check_start(self._asset, block)
                taken = arrival.accept(piece, block)
                self._listen(events.Progressed(self._asset.path, taken))
                if piece.parted:
                    return
                if taken < len(block):
                    arrival.spoilt = True
                    refused = WrongRange if body.head.status == 206 else WrongBody
                    said = f"more than the {piece.stop:,} bytes that were announced"
                    raise refused(f"{self._asset.path}: {said}")
        except Interrupted:
            # Only the plan said that this would be the last byte, and it was not.
            arrival.spoilt = arrival.spoilt or (piece.left == 0 and arrival.version.total is None)
            raise
        if piece.stop is None:
            arrival.end_at(piece, piece.at)
        elif piece.left:
            raise ShortBody(f"{self._asset.path}: the body ended after {piece.at:,} of {piece.stop:,} bytes")

    # ----------------------------------------------------------------------------------------------
    # What has come

    def _proved(self, run: Run) -> bool:
        """Whether a checksum will prove the bytes: the archive's, or the one in a zip's directory."""
        return run.member is not None or self._checksum is not None

    def _digester(self, run: Run) -> Digester | None:
        return Digester(self._asset.checksums) if run.member is None else None

    def _publish(self, source: Source) -> Receipt:
        arrival = self._arrival
        assert arrival is not None  # noqa: S101 - `_receive` has returned
        run = self._run(source)
        if run.member is None:
            whole, digests = self._part.path, arrival.digests()
        else:
            whole, digests = self._part.unpacked, self._unpack(run.member)
        verified = prove(self._asset, whole, digests)
        if run.member is not None and verified == "size+structure":
            verified = "crc32"
        if source.repacked is not None:
            prove_zip(whole, self._asset.name, partial(pause, self._stop))
            verified = MANIFEST
        else:
            self._store.check_drift(self._asset, digests)
        self._close()
        return self._published(whole, digests, verified, source.href.partition("?")[0])

    def _published(self, whole: Path, digests: Mapping[str, str], verified: str, source: str) -> Receipt:
        def receipt(found: os.stat_result) -> Receipt:
            return Receipt(
                path=self._asset.path,
                size=found.st_size,
                mtime_ns=found.st_mtime_ns,
                digests=digests,
                verified=verified,
                source=source,
                staged=_now(),
                attempts=self._attempts,
                bytes_moved=self._moved,
                resumed_from=self._resumed_from,
            )

        return self._store.publish(self._asset, whole, self._part, receipt)

    def _unpack(self, member: Member) -> dict[str, str]:
        digester = Digester(self._asset.checksums)
        with self._part.unpacked.open("wb") as file:
            for number, block in enumerate(unpacked(self._part.path, member)):
                if number == 0:
                    check_start(self._asset, block)
                pause(self._stop)
                file.write(block)
                digester.update(block)
        return digester.digests()

    @property
    def _held(self) -> int:
        """Bytes that are there, of the version that is arriving."""
        return 0 if self._arrival is None else self._arrival.held

    def _close(self) -> None:
        """Let go of what is arriving; the part file stays."""
        arrival, self._arrival = self._arrival, None
        if arrival is not None:
            arrival.close()
            self._moved += arrival.moved
            if arrival.spoilt:
                self._part.discard()

    def _discard(self, source: Source) -> None:
        """Throw away what has come, and what is known of the source."""
        self._close()
        self._part.discard()
        self._access.directories.forget(source.href)


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
