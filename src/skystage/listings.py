"""Answers of catalogues that planning collects over many requests: lists of files, places of files.

They lie in one file of the user's cache, each group of them as soon as it has come, so that a plan that was
killed goes on where it was. It may be deleted at any time. What is older than a day is asked for anew: lists
change when data are processed again.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from skystage.errors import StoreError
from skystage.model import Json, canonical
from skystage.settings import cache_directory

KEPT = 86_400.0
"""Seconds after which an answer is forgotten."""
_PATIENCE = 60.0
"""Seconds to wait for another process that writes."""
_GROUP = 500
"""Keys that are looked up at once."""


class Listings:
    """Answers by their questions, of one catalogue.

    Raises
    ------
    StoreError
        If the cache cannot be used, or its disk is full.
    """

    def __init__(self, name: str) -> None:
        self._path = cache_directory() / f"{name}.sqlite"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._database = _opened(self._path)
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:  # it is damaged: a cache is made anew
                self._path.unlink(missing_ok=True)
                self._database = _opened(self._path)
        except (OSError, sqlite3.Error) as error:
            raise self._failed(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the file alone."""
        self._database.close()

    def get(self, keys: Iterable[str]) -> dict[str, Json]:
        """The answers that are known, by key."""
        wanted, found, since = list(keys), dict[str, Json](), time.time() - KEPT
        try:
            for at in range(0, len(wanted), _GROUP):
                group = wanted[at : at + _GROUP]
                marks = ", ".join("?" * len(group))
                rows = self._database.execute(
                    f"SELECT key, text FROM answer WHERE key IN ({marks}) AND made > ?",  # noqa: S608 - marks only
                    (*group, since),
                )
                found |= {key: json.loads(text) for key, text in rows}
        except sqlite3.Error as error:
            raise self._failed(error) from error
        return found

    def put(self, answers: Mapping[str, Json]) -> None:
        """Keep answers, all of them or, if the process is killed, none."""
        now = time.time()
        try:
            with self._database:
                self._database.executemany(
                    "INSERT OR REPLACE INTO answer VALUES (?, ?, ?)",
                    [(key, now, canonical(answer)) for key, answer in answers.items()],
                )
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> StoreError:
        return StoreError(
            f"{self._path}: cannot be used: {error}",
            hint="let SKYSTAGE_CACHE name a directory with room that can be written",
        )


def _opened(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_PATIENCE)
    try:
        # A kill loses nothing either way; what a power failure costs is asked for again.
        database.execute("PRAGMA synchronous = OFF")
        database.execute("CREATE TABLE IF NOT EXISTS answer (key TEXT PRIMARY KEY, made REAL, text TEXT)")
        with database:
            database.execute("DELETE FROM answer WHERE made <= ?", (time.time() - KEPT,))
    except BaseException:
        database.close()
        raise
    return database
