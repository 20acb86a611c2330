"""The threads of a batch: each fetches one asset after the other, and then helps with what is under way.

That is the whole of splitting: while there are more assets than connections, each has one and is one
request; the last big ones are shared, in pieces (`skystage.pieces`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

LOOK = 0.01
"""Seconds between two looks for something to help with."""
WATCH = 0.5
"""Seconds between two looks at what is under way."""

T = TypeVar("T")
Help = Callable[[], bool]
"""Bring one piece of a transfer; False if there was none to bring."""


class Crew:
    """Threads, and the transfers that they are at.

    Parameters
    ----------
    size
        Threads in all.

    Attributes
    ----------
    over
        Set when nothing is left to help with, or when all is to stop.
    """

    def __init__(self, size: int = 1) -> None:
        self.size = size
        self.over = threading.Event()
        self._transfers: list[Help] = []
        self._mutex = threading.Lock()

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

    def run(
        self,
        items: Iterable[T],
        work: Callable[[T], None],
        *,
        stop: threading.Event,
        watch: Callable[[], None],
        helping: bool,
    ) -> None:
        """Call `work` for each item, and return when all are done or `stop` is set.

        Whatever interrupts the caller (Ctrl-C, SIGTERM, a cancelled flow) or `work` sets `stop`, and is
        raised when all threads have ended: none is left behind.

        Parameters
        ----------
        watch
            Called twice a second from here, to wake threads that wait for what nobody wants any more.
        helping
            Whether threads that no item is left for stay to help.
        """
        waiting = iter(items)
        working = self.size
        done = threading.Event()
        raised: list[BaseException] = []

        def member() -> None:
            try:
                own_share()
                if helping:
                    self._help()
            except BaseException as error:  # noqa: BLE001 - raised by the caller's thread
                raised.append(error)
                stop.set()

        def own_share() -> None:
            nonlocal working
            try:
                while not stop.is_set():
                    with self._mutex:
                        item = next(waiting, done)
                    if item is done:
                        return
                    work(item)  # type: ignore[arg-type]
            finally:
                with self._mutex:
                    working -= 1
                    if not working:
                        done.set()

        threads = [threading.Thread(target=member, name=f"skystage-fetch-{n}") for n in range(self.size)]
        for thread in threads:
            thread.start()
        try:
            while not done.wait(WATCH):
                watch()
        except BaseException:
            stop.set()
            raise
        finally:
            self.over.set()
            for thread in threads:
                watch()
                while thread.is_alive():
                    thread.join(WATCH)
                    watch()
        if raised:
            raise raised[0]

    def _help(self) -> None:
        while not self.over.is_set():
            with self._mutex:
                transfers = list(self._transfers)
            if not any(help_once() for help_once in transfers):
                self.over.wait(LOOK)
