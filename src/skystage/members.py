"""Members of a zip that lies far away: one look at its directory, then one range for each member.

From the directory (PKWARE's APPNOTE 6.3.10, sections 4.3 and 4.5) it is known where each member begins,
and it ends before the next one begins: so its local header comes along with its bytes, and no request is
spent on it. Stored and deflated members, zip64; the CRC-32 of the directory proves the bytes.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from skystage.errors import (
    ChecksumMismatch,
    Interrupted,
    NotFound,
    Refused,
    ShortBody,
    StructureError,
    WrongBody,
    WrongRange,
)
from skystage.parts import BLOCK
from skystage.pieces import Piece
from skystage.resume import Asked, Part, content_range, failure, page

if TYPE_CHECKING:
    from skystage.model import Source
    from skystage.transport import Access

TAIL = 32 << 10
"""Bytes of the end of a zip that are read first: a directory of some 200 members fits in, and two round
trips of a new connection bring it."""
LARGEST = 16 << 20
"""Bytes of the largest directory that is read, of some 200,000 members: it is held in memory."""
KEPT = 256
"""Directories that are remembered: the members of one zip are fetched close together."""
STORED, DEFLATED = 0, 8
_ENCRYPTED, _UTF8 = 1 << 0, 1 << 11
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF

Read = Callable[[int, int], bytes]
"""The bytes ``[start, stop)`` of the zip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file in a zip.

    Attributes
    ----------
    packed, size
        Bytes in the zip, and unpacked.
    start, stop
        The run of the zip that holds its local header and all of its bytes.
    """

    name: str
    method: int
    crc: int
    packed: int
    size: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Directory:
    """What a zip holds, of the version with that validator and length."""

    href: str
    validator: str
    length: int
    members: Mapping[str, Member]

    def member(self, name: str) -> Member:
        """The member of that name.

        Raises
        ------
        NotFound
            If there is none.
        StructureError
            If it is packed in a way that cannot be read.
        """
        if name not in self.members:
            raise NotFound(f"{self.href}: has no member {name!r}", hint="was the plan made of another?")
        member = self.members[name]
        if member.method not in (STORED, DEFLATED):
            raise StructureError(f"{self.href}: {name}: packed by method {member.method}, or encrypted")
        return member


@dataclass(frozen=True, slots=True)
class Run:
    """The bytes of a file at a source that an asset is made of: all of them, or those of one member.

    Attributes
    ----------
    start, end
        The first byte, and how many there are; None where that is not known before the file is asked for.
    version
        Validator and length of the file that this is true of.
    """

    start: int = 0
    end: int | None = None
    member: Member | None = None
    version: Part = field(default_factory=Part)

    @property
    def identity(self) -> tuple[str, int | None]:
        """Validator and length of the file that it is true of."""
        return self.version.validator, self.version.total

    def asked(self, piece: Piece | None = None, total: int | None = None) -> Asked | None:
        """What to ask for: a piece of the run, or all of it; None asks for a whole file.

        Parameters
        ----------
        total
            Bytes of the file at the source, where they are known: its last piece is asked for to the end.
        """
        piece = Piece(0, self.end) if piece is None else piece
        first = self.start + piece.at
        # Not `stop`: others may cut the piece while its request is on the way.
        stop = None if piece.asked is None else self.start + piece.asked
        if stop is None or (self.member is None and stop == total):
            return Asked(first) if first else None
        return Asked(first, stop - 1)


WHOLE = Run()


class Directories:
    """The directories of the zips that members are fetched from; each is read once."""

    def __init__(self) -> None:
        self._found: OrderedDict[str, Directory] = OrderedDict()
        self._locks: dict[str, threading.Lock] = {}
        self._mutex = threading.Lock()

    def run(self, source: Source, access: Access, stop: threading.Event) -> Run:
        """Where the member lies that a source names.

        Raises
        ------
        TransferError
            If the directory cannot be read, or has no such member.
        """
        with self._mutex:
            lock = self._locks.setdefault(source.href, threading.Lock())
        with lock:
            directory = self._found.get(source.href)
            if directory is None:
                directory = _read_directory(source, access, stop)
                with self._mutex:
                    self._found[source.href] = directory
                    while len(self._found) > KEPT:
                        self._locks.pop(self._found.popitem(last=False)[0], None)
        member = directory.member(source.member or "")
        version = Part(validator=directory.validator, total=directory.length)
        return Run(member.start, member.stop - member.start, member, version)

    def forget(self, href: str) -> None:
        """The zip has changed: read its directory again when it is next asked for."""
        with self._mutex:
            self._found.pop(href, None)


def _read_directory(source: Source, access: Access, stop: threading.Event) -> Directory:
    whole = replace(source, member=None)
    version = Part()

    def ask(begin: int, end: int = 0) -> bytes:
        nonlocal version
        wanted = f"bytes={begin}" if begin < 0 else f"bytes={begin}-{end - 1}"
        headers = {"Accept-Encoding": "identity", "Range": wanted}
        with access.open(whole, headers, stop) as body:
            span = content_range(body.head)
            if (found := page(body.head, source.href)) is not None:
                raise found
            if body.head.status == 200:
                raise Refused(
                    f"{source.href}: the server gives no byte ranges: its members cannot be had alone",
                    hint="fetch the whole file, or name another source",
                )
            if body.head.status != 206 or span is None:
                raise failure(body.head, source.href)
            first, last, total = span
            if (first, last + 1) != ((max(0, total + begin), total) if begin < 0 else (begin, end)):
                raise WrongRange(f"{source.href}: asked for {wanted}, got {first} to {last} of {total}")
            content = bytearray()
            for block in body.blocks():
                content += block
                if len(content) > last + 1 - first:
                    raise WrongBody(f"{source.href}: more than the {last + 1 - first:,} bytes announced")
            if len(content) != last + 1 - first:
                raise ShortBody(f"{source.href}: {len(content):,} bytes of its directory, {wanted} asked for")
            seen = Part(validator=body.head.validator, total=total)
            if version not in (Part(), seen):
                raise Interrupted(f"{source.href}: changed while its directory was read")
            version = seen
        return bytes(content)

    try:
        tail = ask(-TAIL)
        length = version.total or 0
        members = parse(tail, length, ask)
    except StructureError as error:
        raise StructureError(f"{source.href}: {error.message}") from error
    return Directory(source.href, version.validator, length, members)


def parse(tail: bytes, length: int, read: Read) -> dict[str, Member]:
    """Read the directory of a zip.

    Parameters
    ----------
    tail
        The last bytes of the zip, as many as there are up to `TAIL`.
    length
        Bytes of the zip in all.
    read
        Called once for a directory that does not lie in the tail.

    Raises
    ------
    StructureError
        If it is no zip, or one of several volumes.
    """
    first = length - len(tail)

    def bytes_at(start: int, stop: int) -> bytes:
        if not 0 <= start <= stop <= length:
            raise StructureError("its directory lies beyond its end")
        if stop - start > LARGEST:
            raise StructureError(f"its directory is to have {stop - start:,} bytes, more than {LARGEST:,}")
        return tail[start - first : stop - first] if start >= first else read(start, stop)

    try:
        start, size = _where(tail, bytes_at)
        return _members(bytes_at(start, start + size), start)
    except struct.error as error:
        raise StructureError("its directory is cut") from error


def _where(tail: bytes, bytes_at: Read) -> tuple[int, int]:
    """First byte and length of the directory."""
    at = tail.rfind(b"PK\x05\x06")
    if at < 0:
        raise StructureError("not a zip: the end of its directory is missing")
    disk, _, _, _, size, start = struct.unpack_from("<4H2I", tail, at + 4)
    if _FULL32 in (size, start) or disk == _FULL16:
        if at < 20 or tail[at - 20 : at - 16] != b"PK\x06\x07":
            raise StructureError("the end of its zip64 directory is missing")
        (record,) = struct.unpack_from("<Q", tail, at - 12)
        end = bytes_at(record, record + 56)
        if end[:4] != b"PK\x06\x06":
            raise StructureError("the end of its zip64 directory is not where it says")
        disk, _, _, _, size, start = struct.unpack_from("<2I4Q", end, 16)
    if disk != 0:
        raise StructureError("it is one of several volumes")
    return start, size


def _members(directory: bytes, end: int) -> dict[str, Member]:
    found: list[dict[str, int | str]] = []
    at = 0
    while at < len(directory):
        if directory[at : at + 4] != b"PK\x01\x02":
            raise StructureError("its directory is not where it says")
        flags, method, _, _, crc, packed, size, named, extra, comment = struct.unpack_from(
            "<4H3I3H", directory, at + 8
        )
        (start,) = struct.unpack_from("<I", directory, at + 42)
        raw = directory[at + 46 : at + 46 + named]
        size, packed, start = _zip64(
            directory[at + 46 + named : at + 46 + named + extra], size, packed, start
        )
        found.append(
            {
                "name": raw.decode("utf-8" if flags & _UTF8 else "cp437", errors="replace"),
                "method": -1 if flags & _ENCRYPTED else method,
                "crc": crc,
                "packed": packed,
                "size": size,
                "start": start,
                # Header and name are what they are; the extra field of the local header may be another.
                "longest": start + 30 + named + _FULL16 + packed,
            }
        )
        at += 46 + named + extra + comment
    starts = sorted({int(one["start"]) for one in found} | {end})
    following = dict(pairwise(starts))
    members = {}
    for one in found:
        stop = min(int(one.pop("longest")), following.get(int(one["start"]), -1))
        if stop < int(one["start"]) + 30 + int(one["packed"]):
            raise StructureError(f"its member {one['name']!r} overlaps another")
        members[str(one["name"])] = Member(**one, stop=stop)  # type: ignore[arg-type]
    return members


def _zip64(extra: bytes, *values: int) -> list[int]:
    """The three values that a zip64 extra field holds in place of those that did not fit."""
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            longer = iter(struct.unpack_from(f"<{size // 8}Q", extra, at + 4))
            try:
                return [next(longer) if value == _FULL32 else value for value in values]
            except StopIteration:
                raise StructureError("a zip64 field of its directory is cut") from None
        at += 4 + size
    return list(values)


def unpacked(raw: Path, member: Member) -> Iterator[bytes]:
    """The bytes of a member, in blocks, from the run of the zip that holds it.

    Raises
    ------
    StructureError
        If the run does not begin with the member's header, or cannot be inflated.
    ChecksumMismatch
        At the end: if size or CRC-32 are not as the directory says.
    """
    crc = size = 0
    with raw.open("rb") as file:
        header = file.read(30)
        if header[:4] != b"PK\x03\x04" or struct.unpack_from("<H", header, 8)[0] != member.method:
            raise StructureError(f"{member.name}: its header is not where the zip's directory says")
        file.seek(sum(struct.unpack_from("<2H", header, 26)), os.SEEK_CUR)
        packed = _blocks(file.read, member.packed)
        for block in packed if member.method == STORED else _inflated(packed, member.name):
            crc, size = zlib.crc32(block, crc), size + len(block)
            if size > member.size:
                break
            yield block
    if (crc, size) != (member.crc, member.size):
        expected = f"{member.crc:08x} of {member.size:,}"
        raise ChecksumMismatch(f"{member.name}: crc32 {crc:08x} of {size:,} bytes, the zip says {expected}")


def _blocks(read: Callable[[int], bytes], left: int) -> Iterator[bytes]:
    while left and (block := read(min(BLOCK, left))):
        left -= len(block)
        yield block


def _inflated(packed: Iterator[bytes], name: str) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for block in packed:
            # In bounded steps: a kilobyte of zeros can become a megabyte.
            while block and not inflater.eof:
                yield inflater.decompress(block, BLOCK)
                block = inflater.unconsumed_tail  # noqa: PLW2901
            if inflater.eof:
                return  # what lies behind its end would be kept, and copied again with each block
        while rest := inflater.decompress(b"", BLOCK):
            yield rest
    except zlib.error as error:
        raise StructureError(f"{name}: cannot be inflated: {error}") from error
