"""What has arrived of an asset so far, on disk: the bytes, of which version, and which of them.

Two files an asset, and a third while several connections bring it:

- ``NAME.part``: the bytes. With one connection its length says how far it has come.
- ``NAME.json``: the note: validator, source and length of the version that the bytes are of.
- ``NAME.map``: with several connections, one line ``START STOP`` for each block that has been written.

A process may be killed between any two calls: whatever stands in the note and the map is true of the bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from skystage.model import Asset, canonical
from skystage.resume import Part
from skystage.verify import strongest


def _boot() -> str:
    """What is different after each start of this machine, and on each machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


BOOT = _boot()
BLOCK = 256 << 10
"""Bytes that a connection brings at once."""


class PartFile:
    """The bytes of one asset that have arrived so far, and which version of it they are."""

    def __init__(self, directory: Path, asset: Asset) -> None:
        name = hashlib.sha256(asset.path.encode()).hexdigest()[:32]
        self.path = directory / f"{name}.part"
        self._asset = asset
        self._used = True

    @property
    def unpacked(self) -> Path:
        """Where a member of an archive is unpacked to, before it is published."""
        return self.path.with_suffix(".unpacked")

    @property
    def empty(self) -> bool:
        """Whether there was nothing when it was last looked at, and nothing has been noted since."""
        return not self._used

    def read(self) -> Part:
        """What is there; an empty part where there is nothing that can be used."""
        try:
            with open(self._note, "rb") as file:  # noqa: PTH123 - asked for each asset, and mostly in vain
                state = json.load(file)
        except FileNotFoundError:
            self._used = False
            return Part()
        except (OSError, ValueError):
            return Part()
        try:
            if state.pop("expected") != self._expected():
                return Part()
            # Parts are not synced: after a crash of the machine their bytes may be anything. A
            # checksum finds that out; without one, only what came since the machine was started counts.
            if state.pop("boot") != BOOT and strongest(self._asset.checksums) is None:
                return Part()
            part = Part(**state)
            there = self._mapped()
            if there is None:
                return replace(part, size=self.path.stat().st_size)
            if there and there[-1][1] > self.path.stat().st_size:
                return Part()
            first, *later = there if there and there[0][0] == 0 else [(0, 0), *there]
            return replace(part, size=first[1], later=tuple(later))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return Part()

    def restart(self, part: Part, end: int | None) -> int:
        """Empty the part file, note which version comes now, and open it.

        The file is a new one: whoever still has the old one open does no harm any more. Of a file of
        `end` bytes that comes in one block nothing is noted before it breaks off (`note`).
        """
        if self._used:
            self.discard()
        try:
            fd = self._create()
        except FileExistsError:
            self.discard()
            fd = self._create()
        if end is None or end > BLOCK:
            self.note(part)
        return fd

    def note(self, part: Part) -> None:
        """Note which version the bytes are of, unless that is noted already."""
        if self._used:
            return
        self._used = True
        state = {name: getattr(part, name) for name in ("validator", "origin", "member", "total")}
        state |= {"expected": self._expected(), "boot": BOOT}
        new = self.path.with_suffix(".new")
        new.write_text(canonical(state))
        os.replace(new, self._note)  # noqa: PTH105 - the tests count these calls

    def resume(self, part: Part) -> int:
        """Open the part file to go on with it."""
        fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        if not part.later:
            # One run needs no map. As long as there is one, nothing counts that it does not name.
            os.ftruncate(fd, part.size)
            self._map.unlink(missing_ok=True)
        return fd

    def split(self, there: Iterable[tuple[int, int]], total: int, fd: int) -> int:
        """From now on a map says which bytes are there: begin it, and give it to append to.

        The part file gets its whole length, so that blocks can be written in any order.
        """
        new = self.path.with_suffix(".new-map")
        new.write_text("".join(f"{start} {stop}\n" for start, stop in there))
        # The length says nothing any more from here on: first the map, then the length.
        os.replace(new, self._map)  # noqa: PTH105 - the tests count these calls
        os.ftruncate(fd, total)
        return os.open(self._map, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def discard(self) -> None:
        """Forget all of it."""
        # The note first: without it nothing of the rest means anything.
        for suffix in (".json", ".map", ".part", ".unpacked", ".new", ".new-map"):
            self.path.with_suffix(suffix).unlink(missing_ok=True)
        self._used = False

    def published(self, whole: Path) -> None:
        """The bytes have gone from `whole` to their final name: forget the rest."""
        if self._used or whole != self.path:
            self.discard()

    @property
    def _note(self) -> str:
        return f"{str(self.path).removesuffix('.part')}.json"

    @property
    def _map(self) -> Path:
        return self.path.with_suffix(".map")

    def _create(self) -> int:
        return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

    def _expected(self) -> str:
        # A plan that expects other bytes must not continue what another plan began.
        asset = self._asset
        expected = canonical([asset.path, asset.size, dict(asset.checksums)])
        return hashlib.sha256(expected.encode()).hexdigest()

    def _mapped(self) -> list[tuple[int, int]] | None:
        """The runs of bytes that the map names, in order and joined; None if there is no map."""
        try:
            text = self._map.read_text()
        except FileNotFoundError:
            return None
        whole = text[: text.rfind("\n") + 1]  # a torn last line: its writer was killed
        runs: list[tuple[int, int]] = []
        for start, stop in sorted(tuple(map(int, line.split())) for line in whole.splitlines()):
            if runs and start <= runs[-1][1]:
                runs[-1] = (runs[-1][0], max(stop, runs[-1][1]))
            else:
                runs.append((start, stop))
        return runs
