"""The bytes of one asset on their way to its part file, from one connection or from several.

Blocks are written where they belong, noted in the map if the part has one, and hashed in order: at once
where they come in order, else read back from the page cache as soon as those before them have come.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from skystage.parts import PartFile
from skystage.pieces import Piece, Pieces
from skystage.resume import Part
from skystage.retry import TRIES
from skystage.verify import Digester

FIRST_LOOK = 0.02
"""Seconds after which a transfer's pace is known well enough."""
WORTH_HELP = 0.5
"""Seconds that a transfer must still need, at its pace, to be worth a second connection."""
LEAST = 0.25
"""Seconds that the smallest piece should take: a request costs a round trip."""


class Superseded(Exception):
    """The arrival is over, or began anew: nobody wants these bytes."""


@dataclass(slots=True)
class _File:
    """Open files that are closed when the last thread has left them, and not before: numbers are reused."""

    bytes: int
    map: int = -1
    users: int = 1


class Arrival:
    """One version of one asset, arriving.

    Parameters
    ----------
    file
        Where to.
    part
        What is there already, and of which version.
    end
        Bytes in all; None where nobody knows yet.
    digester
        Takes the digests of the whole; None where these bytes are not the asset's own.
    """

    def __init__(self, file: PartFile, part: Part, end: int | None, digester: Digester | None) -> None:
        self.version = part
        self.host = ""
        """The host that sends the bytes."""
        self.moved = 0
        """Bytes that have come in this arrival."""
        self.alone = False
        """Whether one connection has to do: more are refused, or could bring another version."""
        self.spoilt = False
        """Whether what is there is worth nothing."""
        self._part_file = file
        self._end = end
        self._pieces = Pieces(part.gaps(end))
        self._digester = digester
        self._hashed = 0
        self._hashing = threading.Lock()
        self._change = threading.Condition()
        self._sharers = 1
        self._last: float | None = None
        self._worked = 0.0  # seconds, of all connections together
        self._rest = 0.0
        self._troubles = 0
        self._over = False
        self._file = _File(file.resume(part) if part.held else -1)
        if part.later and end is not None:
            self._file.map = file.split([(0, part.size), *part.later], end, self._file.bytes)
        self._hash()

    @classmethod
    def anew(cls, file: PartFile, version: Part, end: int | None, digester: Digester | None) -> Self:
        """An arrival of which nothing is there yet; what was there of another version is thrown away."""
        made = cls(file, version, end, digester)
        made._file.bytes = file.restart(version, end)
        return made

    @property
    def held(self) -> int:
        """Bytes that are there."""
        return self.version.held + self.moved

    @property
    def complete(self) -> bool:
        """Whether every byte is there."""
        with self._change:
            return self._pieces.complete

    def claim(self) -> Piece | None:
        """Something to bring; None if others bring all there is, or nothing is missing."""
        with self._change:
            if self._over:
                return None
            return self._pieces.claim(self._sharers, self._least())

    def wants_help(self) -> bool:
        """Whether one more connection would be of use."""
        now = time.monotonic()
        with self._change:
            if self.alone or self._over or self._end is None or now < self._rest:
                return False
            if self._worked < FIRST_LOOK:
                return False
            left = self._pieces.missing * self._worked / max(1, self.moved)
            return left >= WORTH_HELP * max(1, self._pieces.active)

    def trouble(self) -> None:
        """One more connection came to nothing: leave it for a while, and in the end for good."""
        with self._change:
            self._troubles += 1
            self._rest = time.monotonic() + FIRST_LOOK * 2.0**self._troubles
            self.alone = self.alone or self._troubles >= TRIES

    def claim_to_help(self, sharers: int) -> Piece | None:
        """As `claim`, for one of `sharers` connections: from now on there is a map."""
        with self._change:
            if self._over or self._end is None:
                return None
            self._sharers = sharers
            piece = self._pieces.claim(sharers, self._least())
            if piece is not None and self._file.map < 0:
                try:
                    self._part_file.note(self.version)
                    there = [(0, self._pieces.reached or 0)]
                    self._file.map = self._part_file.split(there, self._end, self._file.bytes)
                except OSError:
                    # No room for a map: one connection does without.
                    self.alone = True
                    self._pieces.release(piece)
                    return None
            return piece

    def release(self, piece: Piece) -> None:
        """Give a piece back: it is brought, or given up."""
        with self._change:
            self._pieces.release(piece)
            if self.alone:
                self._pieces.rejoin()
            self._change.notify_all()

    def wait(self, seconds: float) -> None:
        """Wait until somebody ends a piece."""
        with self._change:
            if self._pieces.active:
                self._change.wait(seconds)

    def end_at(self, piece: Piece, end: int) -> None:
        """The file ends there: nobody knew where it would."""
        with self._change:
            self._end = end
            piece.end_at(end)

    def accept(self, piece: Piece, block: bytes) -> int:
        """Take a block of a piece; how many of its bytes belonged to it.

        Raises
        ------
        Superseded
            If this arrival is over.
        """
        with self._change:
            if self._over:
                raise Superseded
            now = time.monotonic()
            if self._last is not None:
                self._worked += (now - self._last) * self._pieces.active
            self._last = now
            at = piece.at
            # A piece is only ever cut behind the block that is being written.
            data = memoryview(block)[: piece.take(len(block))]
            file = self._file
            file.users += 1
        try:
            view = data
            while view:
                view = view[os.pwrite(file.bytes, view, at + len(data) - len(view)) :]
            with self._change:
                piece.at = at + len(data)
                self.moved += len(data)
                if file.map >= 0:
                    os.write(file.map, f"{at} {piece.at}\n".encode())
            self._hash(at, data)
        finally:
            self._leave(file)
        return len(data)

    def digests(self) -> dict[str, str]:
        """The digests of the whole file, which is complete."""
        if self._digester is None:
            return {}
        with self._hashing:
            pass  # whoever still hashes, ends first
        self._hash()
        return self._digester.digests()

    def close(self) -> None:
        """Nobody brings anything any more; what is there can be continued."""
        with self._change:
            if self._over:
                return
            self._over = True
            unfinished = not self._pieces.complete and not self.spoilt
            self._change.notify_all()
        if unfinished and self.held:
            with suppress(OSError):  # without a note it is begun anew
                self._part_file.note(self.version)
        self._leave(self._file)

    def _leave(self, file: _File) -> None:
        with self._change:
            file.users -= 1
            if file.users:
                return
        for fd in (file.bytes, file.map):
            if fd >= 0:
                os.close(fd)

    def _hash(self, at: int = -1, data: memoryview | None = None) -> None:
        # One thread at a time. Whoever finds another one at it leaves the block to that one.
        if self._digester is None or not self._hashing.acquire(blocking=False):
            return
        try:
            if data is not None and at == self._hashed:
                self._digester.update(data)
                self._hashed += len(data)
            while self._hashed < (reached := self._reached()):
                size = min(1 << 20, reached - self._hashed)
                block = os.pread(self._file.bytes, size, self._hashed)
                if not block:
                    return
                self._digester.update(block)
                self._hashed += len(block)
        finally:
            self._hashing.release()

    def _least(self) -> int:
        return int(LEAST * self.moved / self._worked) if self._worked else 0

    def _reached(self) -> int:
        with self._change:
            reached = self._pieces.reached
            return (self._end or 0) if reached is None else reached
