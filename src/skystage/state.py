"""What the processes of one account know together about one host: pure arithmetic, kept in a small file.

It must live with clocks that jump and with processes that die. What is owed is therefore kept as an
amount that drains while time passes, not as a moment to wait for: after a crash, a reboot or a clock
that was set back, nobody waits for longer than what is owed takes. Moments (the end of a back-off, the
next try of a host that is down) are void when the clock was set back behind them.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from skystage.errors import HostDown, Throttled
from skystage.locks import Lock
from skystage.retry import PATIENCE
from skystage.settings import HostLimit

DAY = 86_400
BURST = 1.0
"""Seconds' worth of the bandwidth that may come at once, after a pause."""
SKEW = 1.0
"""Seconds by which a clock may be set back without making what was written before void."""
PATHS = 3
"""Different paths that must fail in a row, with no success between them, before a host counts as down."""
FIRST, LONGEST = 5.0, 60.0
"""Seconds until a host that is down is tried for the first time, and at most between two tries."""
TRIAL = 30.0
"""Seconds after which one that was let through to try, and is not heard of again, counts as dead."""
GLANCE = 1.0
"""Seconds after which to ask again while somebody tries."""
WHY = 200
"""Characters that are kept of the last failure."""
MEMORY = 300.0
"""Seconds after which a failure that no other followed says nothing about the host any more."""


def owed(before: float, elapsed: float, speed: float) -> float:
    """What is left of a debt that is paid off at `speed`: not below 0, nor more than can be waited for."""
    return min(max(0.0, before - speed * max(0.0, elapsed)), speed * PATIENCE)


@dataclass(slots=True)
class HostState:
    """The state at one moment. Times are seconds since 1970: a reboot does not disturb them."""

    now: float = 0.0
    alone_until: float = 0.0
    """End of the back-off."""
    requests: float = 0.0
    """Requests sent or promised that the rate has not yet paid for."""
    bytes: float = 0.0
    """Bytes that came and that the bandwidth has not yet paid for."""
    day: int = 0
    """The UTC day, counted from 1970-01-01, of `spent`."""
    spent: int = 0
    """Bytes that came on that day."""
    failed: list[int] = field(default_factory=list)
    """Checksums of the paths that failed since the last success."""
    failed_at: float = 0.0
    why: str = ""
    """What the last failure was."""
    down_since: float = 0.0
    """When the host was found to be down; 0 if it is not."""
    down_for: float = 0.0
    """Seconds between the last two tries."""
    try_at: float = 0.0
    trying: bool = False
    """Whether somebody was let through to try."""

    def at(self, now: float, limit: HostLimit) -> HostState:
        """The state at a later moment, or at one that a clock which was set back calls earlier."""
        later = replace(self, now=now)
        elapsed = now - self.now
        later.requests = owed(self.requests, elapsed, limit.rate) if limit.rate else 0.0
        later.bytes = owed(self.bytes, elapsed, limit.bandwidth) if limit.bandwidth else 0.0
        if elapsed < -SKEW:
            later.alone_until = 0.0
        if not -SKEW <= now - self.failed_at <= MEMORY:
            later.worked()
        if (today := int(now // DAY)) != self.day:
            later.day, later.spent = today, 0
        return later

    @property
    def quiet(self) -> bool:
        """Whether there is nothing that anybody else would have to know."""
        return self == HostState(now=self.now, day=self.day)

    def closed(self, host: str, limit: HostLimit) -> float:
        """Seconds for which the host is to be left alone; 0 if a request may go out.

        Raises
        ------
        HostDown
            If it does not answer, and it is not yet time to try.
        Throttled
            If the day's bytes are spent, or the back-off is longer than we wait.
        """
        if self.down_since and self.now < self.try_at:
            lasting, left = self.now - self.down_since, self.try_at - self.now
            when = "is being tried now" if self.trying else f"is tried again in {left:.0f} s"
            raise HostDown(
                f"{host}: does not answer for {lasting:.0f} s, {when}; the last word: {self.why}",
                hint="if it lasts: see the archive's status page, and your own network",
                retry_after=min(left, GLANCE) if self.trying else left,
                lasting=lasting,
            )
        if limit.daily_bytes is not None and self.spent >= limit.daily_bytes:
            raise Throttled(
                f"{host}: {self.spent:,} bytes came today (UTC), daily_bytes allows {limit.daily_bytes:,.0f}",
                hint="it goes on after midnight UTC, or with a larger daily_bytes",
                retry_after=DAY - self.now % DAY,
            )
        left = max(0.0, self.alone_until - self.now)
        if left > PATIENCE:
            raise Throttled(f"{host}: wants to be left alone for {left:.0f} s more", retry_after=left)
        return left

    def enter(self, limit: HostLimit) -> float:
        """Count a request; the seconds for which it must wait, because of the rate."""
        if self.down_since:
            # One is let through; the others wait for what it finds, or until it must be dead.
            self.trying, self.try_at = True, self.now + TRIAL
        if not limit.rate:
            return 0.0
        self.requests += 1
        return (self.requests - 1) / limit.rate

    def receive(self, count: int, limit: HostLimit) -> float:
        """Count bytes; the seconds for which whoever received them must wait."""
        self.spent += count
        if not limit.bandwidth:
            return 0.0
        self.bytes += count
        return max(0.0, self.bytes / limit.bandwidth - BURST)

    def back_off(self, seconds: float) -> None:
        """Leave the host alone for so long; a shorter word does not undo a longer one."""
        self.alone_until = max(self.alone_until, self.now + seconds)

    def worked(self) -> None:
        """Forget all failures: the host answers."""
        self.failed, self.failed_at, self.why = [], 0.0, ""
        self.down_since, self.down_for, self.try_at, self.trying = 0.0, 0.0, 0.0, False

    def broke(self, path: str, why: str) -> None:
        """Count a failure; one path alone never makes a host count as down."""
        self.failed_at, self.why = self.now, why[:WHY]
        if not self.down_since:
            if (known := zlib.crc32(path.encode())) not in self.failed:
                self.failed = [*self.failed, known]
            if len(self.failed) < PATHS:
                return
            self.down_since, self.down_for = self.now, FIRST
        elif self.trying:
            self.down_for = min(2 * self.down_for, LONGEST)
        else:
            return  # a late word of one that set out before
        self.trying, self.try_at = False, self.now + self.down_for


_KINDS = {name: type(value) for name, value in asdict(HostState()).items()}


def parse(text: bytes) -> HostState:
    """The state as it was written; an empty one from what is torn or was never a state."""
    if text:
        with suppress(ValueError, TypeError, AttributeError, OverflowError):
            said = json.loads(text)
            return HostState(**{name: kind(said[name]) for name, kind in _KINDS.items() if name in said})
    return HostState()


@contextmanager
def shared(path: Path, limit: HostLimit) -> Iterator[HostState]:
    """The state in a file, now, to look at and to change; no other thread or process has it meanwhile."""
    with Lock(path) as lock:
        state = parse(lock.read()).at(time.time(), limit)
        before = replace(state)
        yield state
        if state != before:
            known = {} if state.quiet else {name: getattr(state, name) for name in _KINDS}
            lock.write(json.dumps(known).encode() if known else b"")
