"""When to try again: only after what is transient, with jitter, a budget, and the archive's Retry-After."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from skystage.errors import HostDown, NotReady, SkystageError, Stopped

TRIES = 5
"""Tries in a row that may bring nothing."""
FIRST, LONGEST = 0.5, 60.0
"""Seconds of the first and of the longest pause of our own choice."""
RARELY = 10.0
"""Seconds between two looks at a file that is being prepared, at most."""
PATIENCE = 600.0
"""Seconds of Retry-After that are waited for here; longer ones are the orchestrator's business."""
PREPARATION = 600.0
"""Seconds that a file is waited for which the archive still prepares: ASF extracts a burst in a minute or
two, while what has to come from tape takes hours."""

T = TypeVar("T")


class Budget:
    """How many more times something may be tried.

    Tries that brought something (`progressed`) do not count: a file of 4 GB over a line that breaks
    every 100 MB arrives. Nor do those that were not made because the host is down, or whose answer was
    that the file is being prepared: both are waited for, but not longer than `PATIENCE`, `PREPARATION`.
    """

    def __init__(self, tries: int = TRIES) -> None:
        self._tries = tries
        self._spent = 0
        self._asked = 0
        self._waited = 0.0

    def progressed(self) -> None:
        """The last try brought something: the next failure is the first again."""
        self._spent = 0

    def pause(self, error: SkystageError) -> float:
        """Seconds to wait before the next try.

        Raises
        ------
        SkystageError
            The `error` itself, if it is not transient, the budget is spent, or the wait too long.
        """
        if isinstance(error, NotReady):
            return self._until_ready(error)
        if isinstance(error, HostDown):
            if error.lasting > PATIENCE:
                raise error
        else:
            self._spent += 1
        if not error.transient or self._spent >= self._tries or (error.retry_after or 0) > PATIENCE:
            raise error
        if error.retry_after is not None:
            # A little later than asked, and not all at once.
            return error.retry_after + random.uniform(0, 0.25)  # noqa: S311 - no secret hangs on it
        return random.uniform(0.5, 1.0) * min(FIRST * 2.0 ** (self._spent - 1), LONGEST)  # noqa: S311

    def _until_ready(self, error: NotReady) -> float:
        # Soon at first, and less and less often: what takes minutes is not asked for each second.
        delay = max(error.retry_after or 0.0, FIRST)
        if error.retry_after is None:
            delay = min(FIRST * 2.0**self._asked, RARELY)
        self._asked += 1
        self._waited += delay
        if self._waited > PREPARATION:
            raise error
        return delay + random.uniform(0, 0.25) * min(delay, 1.0)  # noqa: S311


def pause(stop: threading.Event, seconds: float = 0.0) -> None:
    """Wait, unless the caller wants to stop.

    Raises
    ------
    Stopped
        If `stop` is or gets set.
    """
    if stop.wait(seconds):
        raise Stopped("the fetch was stopped", hint="run it again: it continues where it was")


def patiently(once: Callable[[], T], *, tries: int = TRIES) -> T:
    """Call `once` until it returns, within a `Budget`."""
    budget = Budget(tries)
    while True:
        try:
            return once()
        except SkystageError as error:
            time.sleep(budget.pause(error))
