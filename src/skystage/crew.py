"""Threads that have nothing else to do help the transfers that are still under way.

That is the whole of splitting: while there are more assets than connections, each has one and is one
request; the last big ones are shared, in pieces (`skystage.pieces`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK = 0.02
"""Seconds between two looks for something to help with."""

Help = Callable[[], bool]
"""Bring one piece of a transfer; False if there was none to bring."""


class Crew:
    """The transfers under way, and whether there will be more.

    Parameters
    ----------
    size
        Threads in all.
    """

    def __init__(self, size: int = 1) -> None:
        self.size = size
        self._transfers: list[Help] = []
        self._mutex = threading.Lock()
        self._dismissed = threading.Event()

    @contextmanager
    def offering(self, help_once: Help) -> Iterator[None]:
        """While this lasts, whoever is idle may call `help_once`."""
        with self._mutex:
            self._transfers.append(help_once)
        try:
            yield
        finally:
            with self._mutex:
                self._transfers.remove(help_once)

    def help(self) -> None:
        """Help wherever help is of use, until the crew is dismissed."""
        while not self._dismissed.is_set():
            with self._mutex:
                transfers = list(self._transfers)
            if not any(help_once() for help_once in transfers):
                self._dismissed.wait(LOOK)

    def dismiss(self) -> None:
        """Everything is done, or is to stop."""
        self._dismissed.set()
