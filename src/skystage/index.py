"""Where the receipts stand: what lets a second run ask a store of any size in microseconds.

The shards of a store are the truth, and the index never answers in their place. It knows at which
offset of which shard an asset's receipts stand; what is read there counts, and nothing else. So a
wrong index can cost time, and cannot cause a wrong answer.

Its file is a cache in the user's state directory, one for each store::

    {"format", "digest", "shards": [[name, length, stamp, sha256], ...]}    one line of JSON
    CRC-32 of each path, sorted                                             4 bytes each
    shard number << 40 | offset, in the same order                          8 bytes each

It is never changed, only replaced as a whole by a rename: readers need no locks, not even on network
file systems, and of several writers the last wins. A file that is damaged, of another format or of
other shards is made anew; where it cannot be written, the shards are read each time.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeAlias
from zlib import crc32

from skystage.canon import Json

FORMAT = f"skystage index 1 {sys.byteorder}"
RENEW = 256 << 10
"""Bytes of receipts that are read rather than indexed: parsing them costs about 6 ms."""
KEEP = 30 * 86_400
"""Seconds after which an index that nobody renewed goes: its store is perhaps no more."""
_OFFSET = 40
"""Bits of a place that hold the offset; the number of the shard stands above them."""
_LINE = 1024
"""Bytes in which nearly every receipt ends."""
_BLOCK = 1 << 20

_Stamp: TypeAlias = list[int]
_Shard: TypeAlias = tuple[int, _Stamp, str]
"""How many bytes are indexed, what the file was at that time, and the sha256 of those bytes."""


class Index:
    """The receipts below a directory of shards, by the path of their asset.

    Parameters
    ----------
    directory
        Holds the shards. One that is not there holds none.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._mutex = threading.RLock()
        self._keys = array("I")
        self._places = array("Q")
        self._shards: dict[str, _Shard] = {}
        self._names: list[str] = []
        self._opened: _Opened | None = None
        self._read: dict[str, int] = {}
        self._recent: dict[str, list[dict[str, Json]]] = {}
        found = self._found()
        if sum(status.st_size for status in found.values()) > RENEW:
            # Whatever goes wrong there: what is not indexed is read, and a fault of the store shows then.
            with suppress(OSError):
                self._use_file(found)
        self._follow(found)

    def find(self, path: str) -> list[dict[str, Json]]:
        """The receipts of the asset at `path` as the shards have them, the last first."""
        receipts = self._recent.get(path, [])[::-1]
        key = _key(path)
        at = bisect_right(self._keys, key)
        while at > 0 and self._keys[at - 1] == key:
            at -= 1
            receipt = _receipt(self._line(self._places[at]))
            if receipt is not None and receipt["path"] == path:
                receipts.append(receipt)
        return receipts

    def add(self, receipt: dict[str, Json]) -> None:
        """Know a receipt that this process has written."""
        known = self._recent.setdefault(receipt["path"], [])
        if receipt not in known:
            known.append(receipt)

    def refresh(self) -> None:
        """Read what writers have added to their shards."""
        with self._mutex:
            self._follow(self._found())

    def _follow(self, found: dict[str, os.stat_result]) -> None:
        for name, status in found.items():
            done = self._read.get(name, 0)
            if status.st_size <= done:
                continue
            with (self._directory / name).open("rb") as file:
                for offset, line in _lines(file, done):
                    self._read[name] = offset + len(line)
                    if (receipt := _receipt(line)) is not None:
                        self.add(receipt)

    def _found(self) -> dict[str, os.stat_result]:
        if not self._directory.is_dir():
            return {}
        with os.scandir(self._directory) as entries:
            return {entry.name: entry.stat() for entry in entries}

    def _line(self, place: int) -> bytes:
        """What stands at a place; nothing if its shard has gone."""
        number, offset = place >> _OFFSET, place & ((1 << _OFFSET) - 1)
        shard, length = self._opened, _LINE
        try:
            if shard is None or shard.number != number:
                # One is kept: neighbours in a plan were mostly staged by one process.
                path = self._directory / self._names[number]
                self._opened = shard = _Opened(number, os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            while True:
                block = os.pread(shard.fd, length, offset)
                line, end, _ = block.partition(b"\n")
                if end or len(block) < length:
                    return line
                length *= 2
        except (OSError, IndexError):
            return b""

    # ----------------------------------------------------------------------------------------------
    # The file

    def _use_file(self, found: dict[str, os.stat_result]) -> None:
        """Take what the file has; make it anew if too much is not in it."""
        from skystage.settings import state_directory

        # A store that is deleted and made again is another one, and so is one on another machine
        # that shares this user's home.
        store = f"{os.path.realpath(self._directory)}\0{self._directory.stat().st_ino}"
        file = (
            state_directory() / "index" / hashlib.sha256(store.encode(errors="surrogateescape")).hexdigest()
        )
        fresh = False
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            fresh = self._load(file, found)
        covered = sum(length for length, _, _ in self._shards.values())
        if not fresh or sum(status.st_size for status in found.values()) - covered > RENEW:
            self._extend(found)
            with suppress(OSError):
                self._save(file)
        self._read = {name: shard[0] for name, shard in self._shards.items()}

    def _load(self, file: Path, found: dict[str, os.stat_result]) -> bool:
        """Read the file, if it is true of these shards; say whether it also looks as they do."""
        head, _, body = file.read_bytes().partition(b"\n")
        data = json.loads(head)
        if data["format"] != FORMAT or data["digest"] != _digest(data["shards"], body):
            return False
        shards: dict[str, _Shard] = {
            name: (length, stamp, sha) for name, length, stamp, sha in data["shards"]
        }
        fresh = True
        for name, (length, stamp, sha) in shards.items():
            if (now := _stamp(found[name])) == stamp:
                continue
            # It has grown, or was moved, restored or written anew: then its bytes decide.
            with (self._directory / name).open("rb") as shard:
                if _hash(shard, length).hexdigest() != sha:
                    return False
            fresh = fresh and now[0] != stamp[0]
        middle = len(body) // 12 * 4
        self._keys.frombytes(body[:middle])
        self._places.frombytes(body[middle:])
        self._shards, self._names = shards, list(shards)
        return fresh

    def _extend(self, found: Iterable[str]) -> None:
        """Index what the shards hold beyond what is indexed already."""
        pairs = list(zip(self._keys, self._places, strict=True))
        for name in found:
            self._shards.setdefault(name, (0, [], ""))
        for number, (name, (indexed, _, _)) in enumerate(self._shards.items()):
            length = indexed
            with (self._directory / name).open("rb") as shard:
                # Before it is read: what is written meanwhile makes it look changed.
                stamp = _stamp(os.fstat(shard.fileno()))
                taken = _hash(shard, length)
                for offset, line in _lines(shard, indexed):
                    taken.update(line)
                    length = offset + len(line)
                    if (receipt := _receipt(line)) is not None:
                        pairs.append((_key(receipt["path"]), number << _OFFSET | offset))
            self._shards[name] = (length, stamp, taken.hexdigest())
        pairs.sort()
        self._names = list(self._shards)
        self._keys = array("I", [key for key, _ in pairs])
        self._places = array("Q", [place for _, place in pairs])

    def _save(self, file: Path) -> None:
        from tempfile import NamedTemporaryFile

        body = self._keys.tobytes() + self._places.tobytes()
        shards = [[name, *shard] for name, shard in self._shards.items()]
        head = {"format": FORMAT, "digest": _digest(shards, body), "shards": shards}
        file.parent.mkdir(parents=True, exist_ok=True)
        for old in file.parent.iterdir():
            if old.stat().st_mtime < time.time() - KEEP:
                old.unlink(missing_ok=True)
        with NamedTemporaryFile(dir=file.parent, delete=False) as part:
            try:
                part.write(f"{json.dumps(head)}\n".encode() + body)
                part.close()
                os.replace(part.name, file)  # noqa: PTH105 - a name, not a path
            except BaseException:
                os.unlink(part.name)  # noqa: PTH108 - the same
                raise


class _Opened:
    """A shard that stays open while a thread reads it, whatever the others open meanwhile."""

    def __init__(self, number: int, fd: int) -> None:
        self.number = number
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


def _key(path: str) -> int:
    return crc32(path.encode(errors="surrogatepass"))


def _receipt(line: bytes) -> dict[str, Json] | None:
    """The receipt that a line is, if it is one."""
    try:
        data = json.loads(line.decode())
    except ValueError:
        return None
    return data if isinstance(data, dict) and isinstance(data.get("path"), str) else None


def _lines(file: BinaryIO, start: int) -> Iterator[tuple[int, bytes]]:
    """Whole lines with their offsets, from an offset on: a torn tail is cut, or still being written."""
    file.seek(start)
    for line in file:
        if not line.endswith(b"\n"):
            return
        yield start, line
        start += len(line)


def _stamp(status: os.stat_result) -> _Stamp:
    """What is different after each change of a file."""
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _hash(file: BinaryIO, length: int) -> hashlib._Hash:
    """The running sha256 of the first `length` bytes."""
    taken = hashlib.sha256()
    while length > 0 and (block := file.read(min(length, _BLOCK))):
        taken.update(block)
        length -= len(block)
    return taken


def _digest(shards: list[list[object]], body: bytes) -> str:
    taken = hashlib.sha256(json.dumps(shards).encode())
    taken.update(body)
    return taken.hexdigest()
