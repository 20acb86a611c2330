"""How much an archive may be asked: connections, request rate and shared back-off, by account and host.

The state lies in a per-user directory, not in the store, so that all processes of a machine that
use one account share its limits. A slot is a locked file: a killed holder's slot is free at once.
A keep-alive connection belongs to its slot; it is closed before the slot is given to another
process, so that the host never sees more connections than slots.

Between the machines of a cluster, give each its share, or let the orchestrator hold the limit
(Snakemake's ``resources``, Prefect's global concurrency limits).
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import random
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from skystage.errors import QueryError, Throttled
from skystage.locks import POLL, Lock, waiting_for
from skystage.retry import PATIENCE, pause

if TYPE_CHECKING:
    from urllib3 import PoolManager

IDLE = 0.5
"""Seconds that an unused connection keeps its slot: long enough for the next asset of the same job."""
TURN = 5.0
"""Seconds after which a slot is given back even if its process has more to do: others wait too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLimit:
    """What one account may do at one host."""

    connections: int = 8
    rate: float | None = None
    """Requests a second."""


DEFAULTS: Mapping[str, HostLimit] = {
    # Copernicus Data Space, "Quotas and limitations": 4 concurrent connections for general users.
    "*.dataspace.copernicus.eu": HostLimit(connections=4),
    "*": HostLimit(),
}


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

    def take_idle(self) -> Slot | None:
        with self.mutex:
            return self.idle.pop() if self.idle else None

    def acquire(self, stop: threading.Event) -> Slot:
        if (slot := self.take_idle()) is not None:
            return slot
        # One place at the head of the queue for the threads of all processes: whoever stands there
        # gets the next slot, and a process that gave its slot back stands behind those that wait.
        with waiting_for(Lock(self.directory / "queue.lock"), stop):
            while True:
                if (slot := self.take_idle()) is not None:
                    return slot
                for number in range(self.limit.connections):
                    lock = Lock(self.directory / f"slot-{number}.lock")
                    if lock.try_acquire():
                        return Slot(lock, time.monotonic())
                pause(stop, random.uniform(*POLL))  # noqa: S311 - no secret hangs on it

    def try_acquire(self) -> Slot | None:
        if (slot := self.take_idle()) is not None:
            return slot
        queue = Lock(self.directory / "queue.lock")
        if not queue.try_acquire():
            return None
        try:
            for number in range(self.limit.connections):
                lock = Lock(self.directory / f"slot-{number}.lock")
                if lock.try_acquire():
                    return Slot(lock, time.monotonic())
            return None
        finally:
            queue.release()

    def release(self, slot: Slot) -> None:
        now = time.monotonic()
        if slot.connection is None or now - slot.since > TURN:
            slot.free()
            return
        slot.idle_since = now
        with self.mutex:
            self.idle.append(slot)

    def reap(self, before: float) -> bool:
        """Free what has been idle since `before`; say whether any idle slot is left."""
        with self.mutex:
            old = [slot for slot in self.idle if slot.idle_since <= before]
            self.idle = [slot for slot in self.idle if slot.idle_since > before]
            left = bool(self.idle)
        for slot in old:
            slot.free()
        return left


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
        """The limit for a host: the exact name first, then the longest glob that matches."""
        for table in (self.hosts, DEFAULTS):
            if host in table:
                return table[host]
            globs = [glob for glob in table if fnmatch.fnmatchcase(host, glob)]
            if globs:
                return table[max(globs, key=len)]
        return HostLimit()

    def acquire(
        self, account: str, host: str, stop: threading.Event | None = None, *, wait: bool = True
    ) -> Slot | None:
        """Wait until the host may be asked, and take a slot.

        Raises
        ------
        Throttled
            If the host wants to be left alone for longer than we wait (`skystage.retry.PATIENCE`).
        Stopped
            If `stop` is set meanwhile.
        """
        stop = stop or threading.Event()
        pool = self._pool(account, host)
        if not wait:
            return pool.try_acquire()
        self._wait_for_back_off(pool, host, stop)
        slot = pool.acquire(stop)
        try:
            if pool.limit.rate is not None:
                self._wait_for_rate(pool, pool.limit.rate, stop)
        except BaseException:
            slot.free()
            raise
        return slot

    def release(self, account: str, host: str, slot: Slot) -> None:
        """Give a slot back; its connection stays open for a moment, for the next asset."""
        self._pool(account, host).release(slot)
        with self._mutex:
            if self._reaper is None or not self._reaper.is_alive():
                self._reaper = threading.Thread(target=self._reap, name="skystage-slots", daemon=True)
                self._reaper.start()

    def back_off(self, account: str, host: str, seconds: float) -> None:
        """Tell every process of this account to leave the host alone for that long."""
        path = self._pool(account, host).directory / "back-off.json"
        now = time.time()
        before = _read(path)
        until = now + seconds
        if before is not None and before["since"] <= now:
            until = max(until, before["until"])
        _replace(path, {"since": now, "until": until})

    def close(self) -> None:
        """Free all slots that are idle, at once."""
        for pool in list(self._pools.values()):
            pool.reap(time.monotonic())

    def _pool(self, account: str, host: str) -> _Pool:
        with self._mutex:
            key = (account, host)
            if key not in self._pools:
                directory = self.directory / "limits" / f"{account}@{host}"
                directory.mkdir(parents=True, exist_ok=True)
                self._pools[key] = _Pool(directory, self.of(host))
            return self._pools[key]

    def _reap(self) -> None:
        while True:
            time.sleep(IDLE / 2)
            before = time.monotonic() - IDLE
            left = [pool.reap(before) for pool in list(self._pools.values())]
            if not any(left):
                return

    @staticmethod
    def _wait_for_back_off(pool: _Pool, host: str, stop: threading.Event) -> None:
        while True:
            state = _read(pool.directory / "back-off.json")
            now = time.time()
            # A clock that was set back makes old state look like the future: it is void then.
            if state is None or not state["since"] <= now < state["until"]:
                return
            left = state["until"] - now
            if left > PATIENCE:
                raise Throttled(f"{host}: wants to be left alone for {left:.0f} s more", retry_after=left)
            # Not all at the same instant when the time has come.
            pause(stop, min(left + random.uniform(0, 0.1), 5.0))  # noqa: S311

    @staticmethod
    def _wait_for_rate(pool: _Pool, rate: float, stop: threading.Event) -> None:
        path = pool.directory / "rate.json"
        with Lock(pool.directory / "rate.lock"):
            now = time.time()
            state = _read(path)
            due = now if state is None or not state["since"] <= now else max(now, state["until"])
            _replace(path, {"since": now, "until": due + 1 / rate})
        pause(stop, due - now)


_all: weakref.WeakSet[Limits] = weakref.WeakSet()


def _forget_in_child() -> None:
    for limits in list(_all):
        limits.forget()


os.register_at_fork(after_in_child=_forget_in_child)


def state_directory() -> Path:
    """``$SKYSTAGE_STATE``, else ``$XDG_STATE_HOME/skystage``, else ``~/.local/state/skystage``.

    Where none of them can be written (a job without a home), a directory of the user's own below
    the system's temporary one.
    """
    chosen = os.environ.get("SKYSTAGE_STATE")
    if chosen:
        return Path(chosen)
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")  # noqa: PTH111
    path = Path(home) / "skystage"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        path = Path(tempfile.gettempdir()) / f"skystage-{os.getuid()}"
        path.mkdir(mode=0o700, exist_ok=True)
    return path


def config_file() -> Path:
    """``$SKYSTAGE_CONFIG``, else ``$XDG_CONFIG_HOME/skystage/config.yaml``."""
    chosen = os.environ.get("SKYSTAGE_CONFIG")
    if chosen:
        return Path(chosen)
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111
    return Path(home) / "skystage" / "config.yaml"


def configured(path: Path | None = None) -> dict[str, HostLimit]:
    """The ``limits`` of the configuration file; empty where there is none.

    Raises
    ------
    QueryError
        If the file cannot be read, or a limit is not one.
    """
    path = config_file() if path is None else path
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise QueryError(
            f"{path}: cannot be read: {error}", hint="SKYSTAGE_CONFIG names a YAML file"
        ) from error
    import yaml

    try:
        content = yaml.safe_load(text) or {}
        table = content.get("limits") or {}
        return {host: _limit(values) for host, values in table.items()}
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise QueryError(
            f"{path}: limits: {str(error).splitlines()[0]}",
            hint="expected limits: {HOST: {connections: 4, rate: 2.5}}",
        ) from error


def _limit(values: Mapping[str, float]) -> HostLimit:
    limit = replace(HostLimit(), **values)  # type: ignore[arg-type]
    if not isinstance(limit.connections, int) or limit.connections < 1:
        raise ValueError(f"connections: {limit.connections!r} is not a whole number of at least 1")
    if limit.rate is not None and limit.rate <= 0:
        raise ValueError(f"rate: {limit.rate!r} is not more than 0")
    return limit


def _read(path: Path) -> dict[str, float] | None:
    with contextlib.suppress(OSError, ValueError):
        state = json.loads(path.read_text())
        return {"since": float(state["since"]), "until": float(state["until"])}
    return None


def _replace(path: Path, state: Mapping[str, float]) -> None:
    # A reader sees the old state or the new one, never half of it.
    part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    part.write_text(json.dumps(state))
    part.replace(path)
