"""How much an archive may be asked, by account and host: connections, rate, bandwidth, a day's bytes.

The state lies in a per-user directory, not in the store, so that all processes of a machine that
use one account share its limits, the back-off that a host asks for, and the knowledge that it is down
(`skystage.state`). A slot is a locked file: a killed holder's slot is free at once.
A keep-alive connection belongs to its slot; it is closed before the slot is given to another
process, so that the host never sees more connections than slots.

Between the machines of a cluster, give each its share, or let the orchestrator hold the limit
(Snakemake's ``resources``, Prefect's global concurrency limits).
"""

from __future__ import annotations

import fnmatch
import os
import random
import threading
import time
import weakref
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from skystage.errors import (
    HostDown,
    Interrupted,
    ServerFault,
    SkystageError,
    Throttled,
)
from skystage.locks import POLL, Lock
from skystage.retry import pause
from skystage.settings import DEFAULTS, HostLimit, configured, state_directory
from skystage.state import HostState, shared

if TYPE_CHECKING:
    from urllib3 import PoolManager

IDLE = 0.5
"""Seconds that an unused connection keeps its slot: long enough for the next asset of the same job."""
TURN = 5.0
"""Seconds after which a slot is given back even if its process has more to do: others wait too."""
QUEUE = 30.0
"""Seconds after which one that stands in the queue looks for a slot itself: the first may be suspended."""


@dataclass(eq=False, slots=True)
class Slot:
    """The right to hold one connection to a host, and the connection that is held."""

    lock: Lock
    since: float
    connection: PoolManager | None = None
    idle_since: float = 0.0

    def free(self) -> None:
        """Close the connection, then let others have the slot."""
        if self.connection is not None:
            self.connection.clear()
        self.lock.release()


@dataclass(eq=False, slots=True)
class _Pool:
    """The slots of one account at one host."""

    directory: Path
    limit: HostLimit
    idle: list[Slot] = field(default_factory=list)
    mutex: threading.Lock = field(default_factory=threading.Lock)
    file: Path = field(init=False)

    def __post_init__(self) -> None:
        self.file = self.directory / "state.json"

    def take_idle(self) -> Slot | None:
        with self.mutex:
            return self.idle.pop() if self.idle else None

    def take_free(self) -> Slot | None:
        for number in range(self.limit.connections):
            lock = Lock(self.directory / f"slot-{number}.lock")
            if lock.try_acquire():
                return Slot(lock, time.monotonic())
        return None

    def try_acquire(self) -> Slot | None:
        if (slot := self.take_idle()) is not None:
            return slot
        queue = Lock(self.directory / "queue.lock")
        if not queue.try_acquire():
            return None
        try:
            return self.take_free()
        finally:
            queue.release()

    def acquire(self, stop: threading.Event) -> Slot:
        # One place at the head of the queue for the threads of all processes: whoever stands there
        # gets the next slot, and a process that gave its slot back stands behind those that wait.
        queue = Lock(self.directory / "queue.lock")
        first, enough = False, time.monotonic() + QUEUE
        try:
            while True:
                if (slot := self.take_idle()) is not None:
                    return slot
                first = first or queue.try_acquire()
                if (first or time.monotonic() > enough) and (slot := self.take_free()) is not None:
                    return slot
                pause(stop, random.uniform(*POLL))  # noqa: S311 - no secret hangs on it
        finally:
            queue.release()

    def state(self) -> AbstractContextManager[HostState]:
        return shared(self.file, self.limit)

    def quiet(self) -> bool:
        """Whether there is nothing to keep to but the slots: seen without a lock, for it is asked often."""
        if self.limit.rate or self.limit.bandwidth or self.limit.daily_bytes:
            return False
        try:
            return os.stat(self.file).st_size == 0  # noqa: PTH116 - a third of the cost of Path.stat
        except OSError:
            return True

    def release(self, slot: Slot) -> None:
        now = time.monotonic()
        # A child that was forked in mid-transfer holds a copy of the slot, but not its lock.
        if slot.connection is None or now - slot.since > TURN or not slot.lock.held:
            slot.free()
            return
        slot.idle_since = now
        with self.mutex:
            self.idle.append(slot)

    def reap(self, before: float) -> None:
        """Free what has been idle since `before`."""
        with self.mutex:
            old = [slot for slot in self.idle if slot.idle_since <= before]
            self.idle = [slot for slot in self.idle if slot.idle_since > before]
        for slot in old:
            slot.free()


class Limits:
    """The limits of this user on this machine.

    Parameters
    ----------
    hosts
        Host name or glob to limit; looked up before the built-in ones. Default: the user's
        configuration file (`configured`).
    directory
        Where the shared state lies. Default: `state_directory`.
    """

    def __init__(self, hosts: Mapping[str, HostLimit] | None = None, directory: Path | None = None) -> None:
        self.hosts = {**(configured() if hosts is None else hosts)}
        self.directory = state_directory() if directory is None else directory
        self._pools: dict[tuple[str, str], _Pool] = {}
        self._mutex = threading.Lock()
        self._reaper: threading.Thread | None = None
        _all.add(self)

    def forget(self) -> None:
        """In a forked child: slots and connections are the parent's. Nothing is closed, only left alone."""
        self._pools, self._mutex, self._reaper = {}, threading.Lock(), None

    def of(self, host: str) -> HostLimit:
        """The limit for a host: what the user says before what is built in, then the most exact name."""
        found = HostLimit()
        for table in (DEFAULTS, self.hosts):
            names = [name for name in table if name == host or fnmatch.fnmatchcase(host, name)]
            for name in sorted(names, key=lambda name: (name == host, len(name))):
                said = {one.name: getattr(table[name], one.name) for one in fields(HostLimit)}
                found = replace(found, **{key: value for key, value in said.items() if value})
        return found

    @overload
    def acquire(
        self, account: str, host: str, stop: threading.Event | None = None, *, wait: Literal[True] = True
    ) -> Slot: ...

    @overload
    def acquire(
        self, account: str, host: str, stop: threading.Event | None = None, *, wait: Literal[False]
    ) -> Slot | None: ...

    def acquire(
        self, account: str, host: str, stop: threading.Event | None = None, *, wait: bool = True
    ) -> Slot | None:
        """Take a slot, as soon as the host may be asked.

        Parameters
        ----------
        wait
            If false, the answer is None where a slot, a back-off or the rate would have to be waited
            for, or where one of the errors below would be raised.

        Raises
        ------
        HostDown
            At once, if the host does not answer and it is not yet time to try: another source may.
        Throttled
            If the day's bytes are spent, or the host wants to be left alone for longer than we wait
            (`skystage.retry.PATIENCE`).
        Stopped
            If `stop` is set meanwhile.
        StoreError
            If the shared state cannot be kept.
        """
        stop = stop or threading.Event()
        pool = self._pool(account, host)
        slot = pool.try_acquire()
        if slot is not None and pool.quiet():
            return slot
        try:
            while True:
                # Looked at before the queue, and again behind it: nobody stands there in vain, and much
                # may happen to one who does.
                with pool.state() as state:
                    left = state.closed(host, pool.limit)
                    ready = slot is not None and not left and (wait or not state.requests)
                    delay = state.enter(pool.limit) if ready else 0.0
                if ready:
                    pause(stop, delay)
                    return slot
                if not wait:
                    break
                if left:
                    # Not all at the same instant when the time has come.
                    pause(stop, min(left + random.uniform(0, 0.1), 5.0))  # noqa: S311
                elif slot is None:
                    slot = pool.acquire(stop)
        except BaseException as error:
            if slot is not None:
                self.release(account, host, slot)
            if not wait and isinstance(error, HostDown | Throttled):
                return None
            raise
        if slot is not None:
            self.release(account, host, slot)
        return None

    def has_room(self, account: str, host: str) -> bool:
        """Whether the host would take one more connection at once."""
        pool = self._pool(account, host)
        try:
            with pool.state() as state:
                if state.closed(host, pool.limit):
                    return False
        except (HostDown, Throttled):
            return False
        slot = pool.try_acquire()
        if slot is not None:
            self.release(account, host, slot)
        return slot is not None

    def release(self, account: str, host: str, slot: Slot) -> None:
        """Give a slot back; its connection stays open for a moment, for the next asset."""
        self._pool(account, host).release(slot)
        with self._mutex:
            if self._reaper is None:
                self._reaper = threading.Thread(target=self._reap, name="skystage-slots", daemon=True)
                self._reaper.start()

    def back_off(self, account: str, host: str, seconds: float) -> None:
        """Tell every process of this account to leave the host alone for that long."""
        with self._pool(account, host).state() as state:
            state.back_off(seconds)

    def spend(self, account: str, host: str, count: int, stop: threading.Event | None = None) -> None:
        """Count bytes that arrived, and wait if they arrive faster than the bandwidth allows.

        To be called for each block: what a killed process has not yet counted is one block for each
        of its connections.

        Raises
        ------
        Stopped
            If `stop` is set while it waits.
        """
        pool = self._pool(account, host)
        if pool.limit.bandwidth is None and pool.limit.daily_bytes is None:
            return
        with pool.state() as state:
            delay = state.receive(count, pool.limit)
        if delay:
            pause(stop or threading.Event(), delay)

    def succeeded(self, account: str, host: str) -> None:
        """Tell every process that the host answers: with data, or with a word of its own (below 500)."""
        pool = self._pool(account, host)
        if not pool.quiet():
            with pool.state() as state:
                state.worked()

    def failed(self, account: str, host: str, path: str, error: SkystageError) -> None:
        """Tell every process that the host gave nothing for `path`: after some such paths it is down.

        Only what a host that is down can cause counts: no answer, a connection that breaks, a server
        error that does not say when to come back.
        """
        if isinstance(error, Interrupted | ServerFault) and error.retry_after is None:
            with self._pool(account, host).state() as state:
                state.broke(path, error.message)

    def close(self) -> None:
        """Free all slots that are idle, at once."""
        for pool in list(self._pools.values()):
            pool.reap(time.monotonic())

    def _pool(self, account: str, host: str) -> _Pool:
        with self._mutex:
            key = (account, host)
            if key not in self._pools:
                directory = self.directory / "limits" / f"{account}@{host}"
                self._pools[key] = _Pool(directory, self.of(host))
            return self._pools[key]

    def _reap(self) -> None:
        while True:
            time.sleep(IDLE / 2)
            before = time.monotonic() - IDLE
            for pool in list(self._pools.values()):
                pool.reap(before)
            # Under the mutex of those that give slots back: none of them may count on a thread that ends.
            with self._mutex:
                if not any(pool.idle for pool in self._pools.values()):
                    self._reaper = None
                    return


_all: weakref.WeakSet[Limits] = weakref.WeakSet()


def _forget_in_child() -> None:
    for limits in list(_all):
        limits.forget()


os.register_at_fork(after_in_child=_forget_in_child)
