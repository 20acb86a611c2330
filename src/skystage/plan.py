"""The plan: the lock file of a query, written once (`skystage.planning`) and then only read.

NDJSON: one header line; the kept granules, sorted by archive, collection and id; companions of the
area; the dropped granules with their reasons. One granule a line, so that git can diff it, 100,000
stream, and a batch is cut out by byte range without reading the rest. The format is docs/adr/0001.
"""

from __future__ import annotations

import hashlib
import heapq
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, Self, TypeVar

from skystage.model import (
    Asset,
    Companion,
    Dropped,
    Granule,
    Json,
    Query,
    Unresolved,
    canonical,
    from_iso,
    iso,
)
from skystage.planfile import FORMAT, PASSING, Batch, PlanFile
from skystage.whole import whole

T = TypeVar("T")
CLIENTS = ("asf_search", "requests", "shapely", "pyproj")
"""Packages whose version can change what a search finds: noted in the header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What a plan amounts to; assets and bytes are counted once, however many granules share them."""

    granules: int = 0
    assets: int = 0
    bytes: int = 0
    unsized: int = 0
    """Assets of which the archive does not say the size."""
    unresolved: int = 0
    """Assets that were asked for and cannot be had."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    paid: int = 0
    """Assets that the requester pays for."""
    paid_bytes: int = 0
    """Theirs, as far as the archive says their sizes."""
    paid_unsized: int = 0
    """Those of them of which it does not."""

    def to_json(self) -> dict[str, Json]:
        """As the header holds it; who pays nothing reads nothing of it."""
        paid = {"paid": self.paid, "paid_bytes": self.paid_bytes, "paid_unsized": self.paid_unsized}
        return {
            "granules": self.granules,
            "assets": self.assets,
            "bytes": self.bytes,
            "unsized": self.unsized,
            "unresolved": self.unresolved,
            "dropped": dict(self.dropped),
            **(paid if self.paid else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The first line of a plan.

    Attributes
    ----------
    hits, received
        What the archive counted and what it delivered, duplicates included.
    truncated
        Whether the query asked for fewer than there are.
    degraded
        Catalogues that did not answer, so that a choice may not be the best.
    notes
        What the archive has to say of what was found, for people.
    span
        Bytes after the header that hold granules and companions: what batches are cut from.
    length
        Bytes after the header in all: a plan that was cut is found out when it is opened.
    digest
        The sha256 of all of the plan but its creation time and tool versions.
    """

    query: Mapping[str, Json]
    created: datetime
    tools: Mapping[str, str]
    hits: int
    received: int
    truncated: bool
    degraded: tuple[str, ...]
    totals: Totals
    span: int
    length: int
    notes: tuple[str, ...] = ()
    digest: str = ""

    def to_json(self) -> dict[str, Json]:
        """As the first line of the file."""
        return {
            "kind": Plan.kind,
            "format": FORMAT,
            "query": self.query,
            "hits": self.hits,
            "received": self.received,
            "truncated": self.truncated,
            "degraded": list(self.degraded),
            "totals": self.totals.to_json(),
            "span": self.span,
            "length": self.length,
            "created": iso(self.created),
            "tools": dict(self.tools),
            "digest": self.digest,
            **({"notes": list(self.notes)} if self.notes else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Self:
        """Read what `to_json` wrote.

        Raises
        ------
        ValueError, KeyError, TypeError
            If it is something else.
        """
        return cls(
            query=data["query"],
            created=from_iso(data["created"]),
            tools=data["tools"],
            hits=data["hits"],
            received=data["received"],
            truncated=data["truncated"],
            degraded=tuple(data["degraded"]),
            totals=Totals(**data["totals"]),
            span=int(data["span"]),
            length=int(data["length"]),
            notes=tuple(data.get("notes", ())),
            digest=data["digest"],
        )


class Plan(PlanFile):
    """A plan file that exists: its header, and its lines when they are asked for.

    Raises
    ------
    PlanError
        If the file is not there, was cut, or is no plan that this version can read.
    """

    def _take(self, head: Mapping[str, Json]) -> None:
        super()._take(head)
        self.header = Header.from_json(head)

    def granules(self, batch: Batch | None = None) -> Iterator[Granule]:
        """The kept granules of the plan, or of one batch of it, in the plan's order."""
        for text in self._lines(*self._bounds(batch)):
            data = self._object(text)
            if data.get("kind") != "companion":
                yield self._read(Granule.from_json, data)

    def companions(self, batch: Batch | None = None) -> Iterator[Companion]:
        """What belongs to the area rather than to one granule, of the plan or of one batch of it."""
        for text in self._lines(*self._bounds(batch)):
            data = self._object(text)
            if data.get("kind") == "companion":
                yield self._read(Companion.from_json, data)

    def dropped(self) -> Iterator[Dropped]:
        """The dropped granules, each with its reason."""
        for text in self._lines(self._span, None):
            data = self._object(text)
            yield self._read(lambda one: Dropped(id=one["id"], reason=one["dropped"]), data)

    def assets(self, batch: Batch | None = None) -> Iterator[Asset]:
        """The assets of the plan, or of one batch of it; each once.

        Parameters
        ----------
        batch
            ``(i, n)``: the i-th of n contiguous parts of about equal length, `i` from 1. An asset
            that granules of two batches share is in both.

        Raises
        ------
        PlanError
            If there is no such batch.
        """
        for item in self._items(batch):
            yield self._read(Asset.from_json, item)

    def unresolved(self, batch: Batch | None = None) -> Iterator[tuple[str, Unresolved]]:
        """The id of a granule or a companion, and what cannot be had of it."""
        for name, key, reason in self._unresolved(batch):
            yield name, Unresolved(key=key, reason=reason)

    def chosen(self, batch: Batch | None = None, keys: Collection[str] | None = None) -> list[Asset]:
        """The assets of the plan, or of one batch of it, that have one of these keys; each once.

        Raises
        ------
        PlanError
            If there is no such batch, if no asset of the whole plan has such a key, or if the plan
            was changed after it was made.
        """
        return [self._read(Asset.from_json, item) for item in self._chosen(batch, keys)]


# --------------------------------------------------------------------------------------------------
# Writing


def write(
    path: Path | str,
    *,
    query: Query,
    granules: Iterable[Granule],
    companions: Iterable[Companion] = (),
    dropped: Iterable[Dropped] = (),
    hits: int,
    received: int,
    truncated: bool = False,
    degraded: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> Plan:
    """Write a plan: the body to a spool, then the header with its totals, then both in place.

    The file appears whole or not at all. Nothing is held in memory: granules come in order of archive,
    collection and id, and the dropped in order of id and reason.

    Raises
    ------
    ValueError
        If they come in another order.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent) as spool:
        counts = _Counts()
        for granule in _in_order(granules, place):
            spool.write(as_line(counts.granule(granule)))
        for companion in sorted(companions, key=lambda one: one.id):
            spool.write(as_line(counts.companion(companion)))
        span = spool.tell()
        for item in _in_order(dropped, lambda one: (one.id, one.reason)):
            spool.write(as_line(counts.drop(item)))
        header = Header(
            query=query.to_json(),
            created=datetime.now(UTC).replace(microsecond=0),
            tools=tool_versions(),
            hits=hits,
            received=received,
            truncated=truncated,
            degraded=degraded,
            totals=counts.totals(),
            span=span,
            length=spool.tell(),
            notes=notes,
        )
        freeze(path, header.to_json(), spool)
    return Plan(path)


def freeze(path: Path, head: Mapping[str, Json], body: BinaryIO) -> None:
    """Write a header line with its digest, and behind it what was spooled: whole or not at all."""
    digest = hashlib.sha256(as_line({name: value for name, value in head.items() if name not in PASSING}))
    for block in _blocks(body):
        digest.update(block)
    with whole(path) as part, part.open("wb") as file:
        file.write(as_line({**head, "digest": digest.hexdigest()}))
        for block in _blocks(body):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


def place(granule: Granule) -> tuple[str, ...]:
    """What the granules of a plan are in order of."""
    return granule.archive, granule.collection, granule.id


def _in_order(items: Iterable[T], place: Callable[[T], tuple[str, ...]]) -> Iterator[T]:
    """The items as they come: were their order anybody's choice, equal plans would differ."""
    last: tuple[str, ...] = ()
    for item in items:
        if place(item) < last:
            raise ValueError(f"{place(item)} comes behind {last}")
        last = place(item)
        yield item


class Once:
    """Which assets have gone by: a digest of each path, which takes a quarter of the path's memory."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def first(self, asset: Asset) -> bool:
        """Whether it had not gone by before."""
        digest = hashlib.blake2b(asset.path.encode(), digest_size=16).digest()
        if digest in self._seen:
            return False
        self._seen.add(digest)
        return True

    def __len__(self) -> int:
        return len(self._seen)


class _Counts:
    """Totals, counted while the lines go by."""

    def __init__(self) -> None:
        self._granules = self._unresolved = self._bytes = self._unsized = 0
        self._paid = self._paid_bytes = self._paid_unsized = 0
        self._once = Once()
        self._dropped: Counter[str] = Counter()

    def granule(self, granule: Granule) -> dict[str, Json]:
        self._granules += 1
        self._unresolved += len(granule.unresolved)
        self._assets(granule.assets)
        return granule.to_json()

    def companion(self, companion: Companion) -> dict[str, Json]:
        self._unresolved += len(companion.unresolved)
        self._assets(companion.assets)
        return companion.to_json()

    def drop(self, dropped: Dropped) -> dict[str, Json]:
        self._dropped[dropped.reason] += 1
        return dropped.to_json()

    def totals(self) -> Totals:
        return Totals(
            granules=self._granules,
            assets=len(self._once),
            bytes=self._bytes,
            unsized=self._unsized,
            unresolved=self._unresolved,
            dropped=dict(sorted(self._dropped.items())),
            paid=self._paid,
            paid_bytes=self._paid_bytes,
            paid_unsized=self._paid_unsized,
        )

    def _assets(self, assets: Iterable[Asset]) -> None:
        for asset in assets:
            if self._once.first(asset):
                self._bytes += asset.size or 0
                self._unsized += asset.size is None
                self._paid += asset.paid
                self._paid_bytes += asset.paid * (asset.size or 0)
                self._paid_unsized += asset.paid and asset.size is None


def as_line(value: Json) -> bytes:
    """A value as a line of a plan or a search."""
    return f"{canonical(value)}\n".encode()


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while block := file.read(1 << 20):
        yield block


def tool_versions() -> dict[str, str]:
    """Versions of skystage and of what searches for it."""
    return {name: version(name) for name in ("skystage", *CLIENTS)}


# --------------------------------------------------------------------------------------------------
# Comparing


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed from one plan to another, as ids in order."""

    new: list[str]
    gone: list[str]
    reprocessed: list[str]
    """In both plans, or of one sensing, with other bytes."""
    companions: list[str] = field(default_factory=list)
    """What belongs to an area (the tiles of a stack) and is new, gone or another one."""

    def __bool__(self) -> bool:
        return bool(self.new or self.gone or self.reprocessed or self.companions)


def diff(old: Plan, new: Plan) -> Difference:
    """Compare two plans: by id, by the bytes expected, and by stack and sensing time.

    Both are read once, side by side; only what differs is held in memory.
    """
    gone: list[tuple[str, Json]] = []
    come: list[tuple[str, Json]] = []
    reprocessed: list[str] = []
    both = heapq.merge(
        ((granule, False) for granule in old.granules()),
        ((granule, True) for granule in new.granules()),
        key=lambda one: place(one[0]),
    )
    for _, same in groupby(both, key=lambda one: place(one[0])):
        (first, is_new), *others = same
        if not others:
            (come if is_new else gone).append((first.id, _sensing(first)))
        elif _expected(first, others[0][0]) != _expected(others[0][0], first):
            reprocessed.append(first.id)
    before, after = ({one.id: _expected(one, one) for one in plan.companions()} for plan in (old, new))
    again = {sensing for _, sensing in gone} & {sensing for _, sensing in come} - {None}
    return Difference(
        new=sorted(name for name, sensing in come if sensing not in again),
        gone=sorted(name for name, sensing in gone if sensing not in again),
        reprocessed=sorted(reprocessed + [name for name, sensing in come if sensing in again]),
        companions=sorted(name for name in {*before, *after} if before.get(name) != after.get(name)),
    )


def _sensing(granule: Granule) -> Json:
    """What two processings of one sensing share; None where the plan does not tell."""
    known = granule.stack and granule.start
    return (granule.collection, granule.stack, granule.start) if known else None


def _expected(one: Granule | Companion, other: Granule | Companion) -> Json:
    """The bytes of those assets that both have: what only one was asked for tells nothing of the archive."""
    shared = {asset.key for asset in other.assets}
    return sorted(
        (asset.key, asset.name, asset.size or 0, sorted(asset.checksums.items()))
        for asset in one.assets
        if asset.key in shared
    )
