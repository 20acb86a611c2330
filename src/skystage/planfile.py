"""The file of a plan as it stands: header, lines, batches, and what each line wants staged.

`skystage.plan` makes granules and assets of it. Who only asks what is staged needs neither, and reads
`Entry` after `Entry`: a plan of 100,000 granules in a second. The format is docs/adr/0001.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

from skystage.canon import Json, canonical
from skystage.errors import PlanError, SkystageError, Unresolvable

T = TypeVar("T")
Batch: TypeAlias = tuple[int, int] | str
"""A part of a plan: ``(i, n)``, the i-th of n parts of about equal length, `i` from 1; or a granule's id."""
FORMAT = 1
PASSING = ("created", "tools", "digest")
"""What a header says that its digest is not taken of."""
_ASSETS = b'"assets":'
_decode = json.JSONDecoder().raw_decode


class Entry(NamedTuple):
    """What a plan expects of an asset, without where to get it."""

    key: str
    path: str
    size: int | None
    checksums: Mapping[str, str]


class FrozenFile:
    """A file that exists, of one header line and the lines that it speaks of: a plan, or a search.

    Raises
    ------
    PlanError
        If the file is not there, was cut, or is not of its kind in a format that this version can read.
    """

    kind: str
    """What the header calls it; the command that makes it has the same name."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        make = f"with `skystage {self.kind}`"
        try:
            with self.path.open("rb") as file:
                line = file.readline()
                size = os.fstat(file.fileno()).st_size
        except OSError as error:
            raise PlanError(f"{self.path}: {error.strerror}", hint=f"make it {make}") from error
        try:
            self._take(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PlanError(
                f"{self.path}: not a {self.kind} of format {FORMAT}", hint=f"make it again {make}"
            ) from error
        self._start = len(line)
        if size != self._start + self._length:
            raise PlanError(f"{self.path}: was cut or changed after it was made", hint="make it again")

    def _take(self, head: Mapping[str, Json]) -> None:
        """Read the header."""
        if head["kind"] != self.kind or head["format"] != FORMAT:
            raise ValueError(head["format"])
        self._head = head
        self._length = int(head["length"])
        self.query: Mapping[str, Json] = head["query"]

    def check(self) -> None:
        """Read all of it and compare with the header's digest.

        Raises
        ------
        PlanError
            If the file was changed after it was made.
        """
        lasting = {name: value for name, value in self._head.items() if name not in PASSING}
        digest = hashlib.sha256(f"{canonical(lasting)}\n".encode())
        with self.path.open("rb") as file:
            file.seek(self._start)
            while block := file.read(1 << 20):
                digest.update(block)
        if digest.hexdigest() != self._head["digest"]:
            raise PlanError(f"{self.path}: was changed after it was made", hint="make it again")

    def _lines(self, start: int, end: int | None) -> Iterator[bytes]:
        """The lines that begin in ``[start, end)``, counted from behind the header."""
        with self.path.open("rb") as file:
            at = self._start
            if start > 0:
                # A line belongs to the batch in which it begins.
                file.seek(at + start - 1)
                at += start - 1 + len(file.readline())
            else:
                file.seek(at)
            for line in file:
                if end is not None and at - self._start >= end:
                    return
                yield line
                at += len(line)

    def _object(self, line: bytes) -> dict[str, Json]:
        try:
            data = json.loads(line)
        except ValueError as error:
            raise PlanError(f"{self.path}: a line is not JSON", hint="make it again") from error
        if not isinstance(data, dict):
            raise PlanError(f"{self.path}: a line is no object", hint="make it again")
        return data

    def _read(self, reader: Callable[[Json], T], data: Json) -> T:
        try:
            return reader(data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            said = f"{type(error).__name__}: {error}"
            raise PlanError(
                f"{self.path}: a line is not as a {self.kind} has it: {said}", hint="make it again"
            ) from error


class PlanFile(FrozenFile):
    """A plan file that exists.

    Raises
    ------
    PlanError
        If the file is not there, was cut, or is no plan that this version can read.
    """

    kind = "plan"

    def _take(self, head: Mapping[str, Json]) -> None:
        super()._take(head)
        self._span = int(head["span"])
        self._whole = head["totals"].get("unresolved", 0) == 0
        self._allowed = set(head["query"].get("allow_missing", ()))

    def entries(self, batch: Batch | None = None, keys: Collection[str] | None = None) -> Iterator[Entry]:
        """What the plan, or one batch of it, wants staged; only assets of these keys; each once.

        Raises
        ------
        PlanError
            If there is no such batch, if no asset of the whole plan has such a key, or if the plan
            was changed after it was made.
        """
        return (self._read(_entry, item) for item in self._chosen(batch, keys))

    def lacking(
        self, batch: Batch | None = None, keys: Collection[str] | None = None
    ) -> dict[str, SkystageError]:
        """What cannot be had, as errors by ``GRANULE: KEY``; without what the query allows to be missing."""
        return {
            f"{name}: {key}": Unresolvable(f"{name}: {key}: {reason}")
            for name, key, reason in self._unresolved(batch)
            if key not in self._allowed and (not keys or key in keys)
        }

    def shared(self, batch: Batch) -> set[str]:
        """The paths of a batch that other batches need as well.

        Those are what granules of another batch have too (an orbit file), and what belongs to the area
        rather than to a granule (a DEM tile).

        Raises
        ------
        PlanError
            If there is no such batch.
        """
        start, end = self._bounds(batch)
        own: set[str] = set()
        found: set[str] = set()
        for line in self._lines(start, end):
            of_the_area = self._object(line).get("kind") == "companion"
            (found if of_the_area else own).update(path for path, _ in self._read(_assets, line))
        for first, last in ((0, start), (end, self._span)):
            for line in self._lines(first, last):
                found.update(path for path, _ in self._read(_assets, line) if path in own)
        return found

    def _chosen(self, batch: Batch | None, keys: Collection[str] | None) -> Iterator[dict[str, Json]]:
        if batch is None:
            # Who reads all of it can afford to know that nobody changed it.
            self.check()
        if not keys:
            return self._items(batch)
        unknown = set(keys) - self._keys(batch)
        # A batch may lack what the plan has; a plan that lacks it was meant otherwise.
        if (
            unknown
            and (known := self._keys() | {key for _, key, _ in self._unresolved()})
            and unknown - known
        ):
            hint = f"it has: {', '.join(sorted(known))}"
            raise PlanError(f"asset key {min(unknown - known)!r}: not in the plan", hint=hint)
        return (item for item in self._items(batch) if item["key"] in keys)

    def _keys(self, batch: Batch | None = None) -> set[str]:
        return {self._read(_entry, item).key for item in self._items(batch)}

    def _items(self, batch: Batch | None) -> Iterator[dict[str, Json]]:
        """The assets as the lines have them; each path once."""
        seen: set[str] = set()
        for line in self._lines(*self._bounds(batch)):
            for path, item in self._read(_assets, line):
                if path not in seen:
                    seen.add(path)
                    yield item

    def _unresolved(self, batch: Batch | None = None) -> Iterator[tuple[str, str, str]]:
        """Granule id, key and reason."""
        if self._whole:
            return
        for line in self._lines(*self._bounds(batch)):
            yield from self._read(_missing, self._object(line))

    def _bounds(self, batch: Batch | None) -> tuple[int, int]:
        if batch is None:
            return 0, self._span
        if isinstance(batch, str):
            return self._bounds_of_granule(batch)
        number, count = batch
        if not 1 <= number <= count:
            raise PlanError(f"--batch {number}/{count}: there is no such batch", hint="I from 1 to N")
        return self._span * (number - 1) // count, self._span * number // count

    def _bounds_of_granule(self, name: str) -> tuple[int, int]:
        said = f'"id":{json.dumps(name, ensure_ascii=False)}'.encode()
        found, at = [], 0
        for line in self._lines(0, self._span):
            # What else a line says may hold the same word: only a few lines are parsed.
            if said in line:
                data = self._object(line)
                if data.get("id") == name and data.get("kind") != "companion":
                    found.append((at, at + len(line)))
            at += len(line)
        if len(found) != 1:
            problem = "is not in the plan" if not found else "is in several collections"
            raise PlanError(
                f"--granule {name}: {problem}", hint="`skystage summary PLAN --scenes` lists them"
            )
        return found[0]


def _assets(line: bytes) -> list[tuple[str, dict[str, Json]]]:
    # Keys are sorted and quotes inside of text are escaped, so the first of this word is the line's
    # own key, and near its beginning: four fifths of the line need not be parsed.
    items, _ = _decode(line[line.index(_ASSETS) + len(_ASSETS) :].decode())
    for item in items:
        if not isinstance(item["path"], str) or not isinstance(item["size"], (int, type(None))):
            raise TypeError(f"an asset at {item['path']!r} of {item['size']!r} bytes")
    return [(item["path"], item) for item in items]


def _missing(data: dict[str, Json]) -> list[tuple[str, str, str]]:
    return [(data["id"], one["key"], one["reason"]) for one in data.get("unresolved", ())]


def _entry(item: dict[str, Json]) -> Entry:
    return Entry(item["key"], item["path"], item["size"], item["checksums"])
