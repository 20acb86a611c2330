"""Exclusive file locks that the kernel frees when their holder dies, however it dies.

``flock`` on a file of its own: never unlinked (an unlinked lock file can be held by two), opened
anew for each holder (so that threads exclude each other too), closed on exec and after a fork (so
that a child cannot keep its parent's lock alive).
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from skystage.errors import StoreError
from skystage.retry import pause

POLL = (0.01, 0.05)
"""Seconds between two looks at what another process holds."""
RECORD = 1024
"""Bytes that a lock's file may hold."""

ELSEWHERE = "use another file system: --store for the store, SKYSTAGE_STATE for the shared limits"

_held: weakref.WeakSet[Lock] = weakref.WeakSet()


class Lock:
    """An exclusive lock on the file at `path`, which is made if it is not there.

    Use it as a context manager to wait for it, or call `try_acquire`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    @property
    def held(self) -> bool:
        """Whether this process holds the lock by this object."""
        return self._fd >= 0

    def try_acquire(self) -> bool:
        """Take the lock if it is free; say whether it was."""
        return self._flock(fcntl.LOCK_EX | fcntl.LOCK_NB)

    def acquire(self) -> None:
        """Wait for the lock and take it."""
        self._flock(fcntl.LOCK_EX)

    def release(self) -> None:
        """Free the lock; nothing happens if it is not held."""
        fd, self._fd = self._fd, -1
        _held.discard(self)
        if fd >= 0:
            os.close(fd)

    def read(self) -> bytes:
        """What the file of a lock that is held holds; empty if nothing was written yet."""
        return os.pread(self._fd, RECORD, 0)

    def write(self, record: bytes) -> None:
        """Replace what the file holds, up to `RECORD` bytes, by one call: a kill cannot tear it."""
        try:
            if not record:
                os.ftruncate(self._fd, 0)
                return
            os.pwrite(self._fd, record.ljust(RECORD), 0)
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be written: {error.strerror}", hint=ELSEWHERE) from error

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def _flock(self, how: int) -> bool:
        fd = self._open()
        try:
            fcntl.flock(fd, how)
        except BlockingIOError:
            os.close(fd)
            return False
        except OSError as error:
            os.close(fd)
            if error.errno in (errno.ENOLCK, errno.ENOTSUP):
                raise StoreError(
                    f"{self.path.parent}: this file system has no working locks", hint=ELSEWHERE
                ) from error
            raise
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        _held.add(self)
        return True

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            try:
                return os.open(self.path, flags, 0o666)
            except FileNotFoundError:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                return os.open(self.path, flags, 0o666)
        except OSError as error:
            raise StoreError(
                f"{self.path.parent}: no lock can be made here: {error.strerror}", hint=ELSEWHERE
            ) from error


@contextmanager
def waiting_for(lock: Lock, stop: threading.Event) -> Iterator[None]:
    """Hold a lock that others may hold for long, without becoming deaf to `stop` meanwhile.

    Raises
    ------
    Stopped
        If `stop` is set while the lock is waited for.
    """
    while not lock.try_acquire():
        pause(stop, random.uniform(*POLL))  # noqa: S311 - no secret hangs on it
    try:
        yield
    finally:
        lock.release()


def work(directory: Path) -> bool:
    """Whether locks exclude each other in `directory`: some network file systems only pretend."""
    probe = directory / "probe.lock"
    with Lock(probe):
        second = Lock(probe)
        taken = second.try_acquire()
        second.release()
        return not taken


def _forget_in_child() -> None:
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_forget_in_child)
