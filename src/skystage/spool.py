"""Granules on their way from a search to a plan: they lie on disk, with a card of each to sort by.

A granule is some kilobytes, and a search may bring 100,000. What tests one granule sees it go by; what
compares many (processings of one sensing, stacks, passes) reads the cards of one such group at a time.
Why it is a database: docs/adr/0005.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple, Self

from skystage.errors import SkystageError
from skystage.model import Dropped, Granule, canonical

_TABLES = """
PRAGMA page_size = 16384;
PRAGMA cache_size = -4096;
PRAGMA journal_mode = OFF;
CREATE TABLE card (
    number INTEGER PRIMARY KEY, archive TEXT, collection TEXT, id TEXT, native_id TEXT, sensing TEXT,
    processed TEXT, stack TEXT, start INTEGER, swath TEXT, keys TEXT, reason TEXT,
    UNIQUE (archive, collection, id)
);
CREATE TABLE line (number INTEGER PRIMARY KEY, text TEXT);
BEGIN;
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Card(NamedTuple):
    """What of a granule is enough to compare it with others."""

    number: int
    """Its place in the spool."""
    rank: str | int | None
    """What its group is in order of; between equals the names decide, and not the order of the search."""


class Spool:
    """A temporary collection of granules, kept or dropped with a reason; gone when it is closed.

    Iterate over it, as often as needed, for the granules that are kept, in a plan's order.

    Raises
    ------
    SkystageError
        When it is closed, if there was no room for it.
    """

    def __init__(self) -> None:
        # A database without a name lies in a file that is nobody else's and has no name either; it is
        # written to only when the cache is full.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(_TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._database.close()
        if isinstance(error, sqlite3.OperationalError):
            raise SkystageError(
                f"the temporary directory cannot hold the granules: {error}",
                hint="choose another with TMPDIR: it needs some kilobytes for each",
            ) from error

    def add(
        self,
        granule: Granule,
        *,
        reason: str | None = None,
        sensing: str | None = None,
        processed: str = "",
        swath: str | None = None,
        keys: Iterable[str] = (),
    ) -> None:
        """Take a granule, or pass over it if it is there already (archive, collection and id).

        Parameters
        ----------
        reason
            Why it is dropped; None to keep it.
        sensing, processed
            See `skystage.archives.Archive`.
        swath
            What the frames of one pass share (`skystage.filters.swath`), where passes matter.
        keys
            Of all the assets that the archive has of it.
        """
        start = None if granule.start is None else (granule.start - _EPOCH) // timedelta(microseconds=1)
        names = (granule.archive, granule.collection, granule.id, granule.native_id)
        made = self._database.execute(
            "INSERT OR IGNORE INTO card VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*names, sensing, processed, granule.stack, start, swath, canonical(sorted(keys)), reason),
        )
        if made.rowcount and reason is None:
            text = canonical(granule.to_json())
            self._database.execute("INSERT INTO line VALUES (?, ?)", (made.lastrowid, text))

    def drop(self, numbers: Iterable[int], reason: str) -> None:
        """Drop granules by their numbers, whatever became of them before."""
        self._database.executemany(
            "UPDATE card SET reason = ? WHERE number = ?", ((reason, number) for number in numbers)
        )

    def __iter__(self) -> Iterator[Granule]:
        lines = self._database.execute(
            "SELECT text FROM card JOIN line USING (number) WHERE reason IS NULL"
            " ORDER BY archive, collection, id"
        )
        for (text,) in lines:
            yield Granule.from_json(json.loads(text))

    def dropped(self) -> Iterator[Dropped]:
        """What is dropped, in a plan's order."""
        rows = self._database.execute(
            "SELECT id, reason FROM card WHERE reason IS NOT NULL ORDER BY id, reason"
        )
        for name, reason in rows:
            yield Dropped(id=name, reason=reason)

    def keys(self) -> Iterator[list[str]]:
        """Which keys of assets come together in one of the granules that are kept; each such set once."""
        for (keys,) in self._database.execute("SELECT DISTINCT keys FROM card WHERE reason IS NULL"):
            yield json.loads(keys)

    def sensings(self) -> Iterator[list[Card]]:
        """The processings of each sensing, kept or not, the newest last."""
        return self._groups(
            "SELECT sensing, number, processed FROM card WHERE sensing IS NOT NULL"
            " ORDER BY sensing, processed, native_id, collection, id"
        )

    def stacks(self) -> Iterator[list[Card]]:
        """What is kept of each stack, in order of time; those of unknown time (None) come first."""
        return self._groups(
            "SELECT stack, number, start FROM card WHERE reason IS NULL"
            " ORDER BY stack, start, native_id, collection, id"
        )

    def swaths(self) -> Iterator[tuple[str, int, Granule]]:
        """What is kept, with swath and number: swath after swath, each in order of time."""
        rows = self._database.execute(
            "SELECT swath, number, text FROM card JOIN line USING (number) WHERE reason IS NULL"
            " ORDER BY swath, start, number"
        )
        for swath, number, text in rows:
            yield swath, number, Granule.from_json(json.loads(text))

    def _groups(self, select: str) -> Iterator[list[Card]]:
        for _, members in groupby(self._database.execute(select), key=itemgetter(0)):
            yield [Card(number, rank) for _, number, rank in members]
