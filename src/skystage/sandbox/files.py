"""Bytes that can be served: contents with a size, an MD5 and any range of theirs.

`Segments` holds parts and makes its filler while it is read, so that a product of many
gigabytes costs no memory; `Made` calls a function when its bytes are first wanted and keeps
only size and digest. `serve` in `ranges` turns a content into a reply.
"""

from __future__ import annotations

import hashlib
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import count
from typing import TypeAlias

PIECE = 1 << 16
"""Bytes read at once."""

_KEPT_BYTES = 64 << 20


class Content(ABC):
    """Bytes with a name. Subclasses say the size and how to read a range."""

    def __init__(self, name: str, media_type: str, modified: datetime) -> None:
        self.name = name
        self.media_type = media_type
        self.modified = modified.astimezone(UTC)
        self._md5: str | None = None
        self._lock = threading.Lock()

    @property
    @abstractmethod
    def size(self) -> int:
        """How many bytes."""

    @abstractmethod
    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` up to, not including, `stop`."""

    def pieces(self, start: int, stop: int, step: int = PIECE) -> Iterator[bytes]:
        """The same bytes in pieces of at most `step`."""
        for first in range(start, stop, step):
            yield self.read(first, min(first + step, stop))

    @property
    def md5(self) -> str:
        """The MD5 in hexadecimal; taken once."""
        with self._lock:
            if self._md5 is None:
                self._md5 = self._take_md5()
            return self._md5

    def _take_md5(self) -> str:
        digest = hashlib.md5(usedforsecurity=False)
        for piece in self.pieces(0, self.size):
            digest.update(piece)
        return digest.hexdigest()


@cache
def _noise() -> bytes:
    return hashlib.shake_128(b"skystage sandbox").digest(1 << 18)


@dataclass(frozen=True, slots=True)
class Noise:
    """Filler that does not compress and differs from seed to seed."""

    seed: int
    length: int

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` up to `stop` of the filler."""
        noise = _noise()
        first = (self.seed + start) % len(noise)
        turns = (first + stop - start) // len(noise) + 1
        return (
            (noise * turns)[first : first + stop - start]
            if turns > 1
            else noise[first : first + stop - start]
        )


@dataclass(frozen=True, slots=True)
class Cycle:
    """A pattern that comes again and again."""

    data: bytes
    length: int

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` up to `stop` of what it makes."""
        first = start % len(self.data)
        turns = -(-(first + stop - start) // len(self.data))
        return (self.data * turns)[first : first + stop - start]


@dataclass(frozen=True, slots=True)
class Part:
    """A content inside another one, such as a file in a zip."""

    content: Content

    @property
    def length(self) -> int:
        """How many bytes."""
        return self.content.size

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` up to `stop` of the content."""
        return self.content.read(start, stop)


Segment: TypeAlias = bytes | Noise | Cycle | Part


def segment_length(segment: Segment) -> int:
    """How many bytes a segment has."""
    return len(segment) if isinstance(segment, bytes) else segment.length


class Segments(Content):
    """A content put together from parts when they are first read.

    Parameters
    ----------
    size
        The size in bytes, where it is known before anything is built.
    build
        Gives the segments; their lengths add up to `size`.
    """

    def __init__(
        self,
        name: str,
        media_type: str,
        modified: datetime,
        size: int | None,
        build: Callable[[], list[Segment]],
    ) -> None:
        super().__init__(name, media_type, modified)
        self._size = size
        self._build = build
        self._segments: list[Segment] | None = None

    @property
    def size(self) -> int:
        """How many bytes."""
        if self._size is None:
            self._size = sum(map(segment_length, self._built()))
        return self._size

    def _built(self) -> list[Segment]:
        if self._segments is None:
            self._segments = self._build()
        return self._segments

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` up to, not including, `stop`."""
        out, at = [], 0
        for segment in self._built():
            length = segment_length(segment)
            first, last = max(start - at, 0), min(stop - at, length)
            if first < last:
                out.append(segment[first:last] if isinstance(segment, bytes) else segment.read(first, last))
            at += length
        return b"".join(out)


class Made(Content):
    """A content that a function makes; the bytes used last are kept, all others made again."""

    _kept: OrderedDict[int, bytes] = OrderedDict()
    _kept_bytes = 0
    _kept_lock = threading.Lock()
    _numbers = count()

    def __init__(self, name: str, media_type: str, modified: datetime, make: Callable[[], bytes]) -> None:
        super().__init__(name, media_type, modified)
        self._make = make
        # Not the object's id, which a later content of another box may have again.
        self._number = next(self._numbers)
        self._size: int | None = None

    @property
    def size(self) -> int:
        """How many bytes."""
        if self._size is None:
            self._size = len(self._bytes())
        return self._size

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` up to, not including, `stop`."""
        return self._bytes()[start:stop]

    def _take_md5(self) -> str:
        return hashlib.md5(self._bytes(), usedforsecurity=False).hexdigest()

    def _bytes(self) -> bytes:
        with self._kept_lock:
            data = self._kept.get(self._number)
            if data is not None:
                self._kept.move_to_end(self._number)
                return data
        data = self._make()
        self._size = len(data)
        with self._kept_lock:
            if self._number not in self._kept:
                self._kept[self._number] = data
                Made._kept_bytes += len(data)
            while Made._kept_bytes > _KEPT_BYTES and len(self._kept) > 1:
                Made._kept_bytes -= len(self._kept.popitem(last=False)[1])
        return data


class Changed(Content):
    """Another edition of a content: as long, and different from its second half on."""

    def __init__(self, content: Content) -> None:
        super().__init__(content.name, content.media_type, datetime.now(UTC).replace(microsecond=0))
        self._content = content

    @property
    def size(self) -> int:
        """How many bytes."""
        return self._content.size

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` up to, not including, `stop`."""
        data = self._content.read(start, stop)
        kept = min(max(self.size // 2 - start, 0), len(data))
        return data[:kept] + data[kept:].translate(_SWAPPED)


_SWAPPED = bytes(value ^ 0x20 for value in range(256))
