"""The record of a run: every request in the order in which it ended."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import IO, Any

SETTLED = 5.0
"""Seconds that a look at the record waits for answers under way."""


class Record:
    """Numbers connections and requests and keeps one entry a request; safe for threads.

    Parameters
    ----------
    path
        A file to which every entry is also appended as a JSON line, flushed at once.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Condition()
        self._started = time.monotonic()
        self._entries: list[dict[str, Any]] = []
        self._requests = 0
        self._connections = 0
        self._unfinished = 0
        self._file: IO[str] | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8")

    def now(self) -> float:
        """Seconds since the box was opened."""
        return time.monotonic() - self._started

    def connect(self) -> int:
        """Give a new connection its number."""
        with self._lock:
            self._connections += 1
            return self._connections

    def begin(self, host: str) -> dict[str, Any]:
        """A request came in: its number and its time."""
        with self._lock:
            self._requests += 1
            self._unfinished += 1
            return {"n": self._requests, "time": round(self.now(), 6), "host": host}

    def end(self, entry: dict[str, Any]) -> None:
        """A request was answered, or its connection broke."""
        with self._lock:
            self._unfinished -= 1
            entry["seconds"] = round(self.now() - entry["time"], 6)
            self._entries.append(entry)
            if self._file is not None:
                self._file.write(json.dumps(entry) + "\n")
                self._file.flush()
            self._lock.notify_all()

    def entries(self) -> list[dict[str, Any]]:
        """All entries so far.

        A client may have its answer before the entry is made: requests that are being answered are
        waited for.
        """
        with self._lock:
            self._lock.wait_for(lambda: not self._unfinished, timeout=SETTLED)
            return [dict(entry) for entry in self._entries]

    def clear(self) -> None:
        """Forget the entries; the file keeps its lines."""
        with self._lock:
            self._lock.wait_for(lambda: not self._unfinished, timeout=SETTLED)
            self._entries.clear()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
