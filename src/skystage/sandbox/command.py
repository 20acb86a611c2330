"""The two commands: run a program in the box, or open a box for a shell."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from skystage.errors import SkystageError
from skystage.sandbox.box import Sandbox
from skystage.sandbox.payloads import PAYLOAD_SIZE

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(
    command: list[str],
    *,
    catalogue: Path | None = None,
    faults: Sequence[Mapping[str, Any]] | Path | None = None,
    log: Path | None = None,
    payload_size: int = PAYLOAD_SIZE,
) -> int:
    """Run a program and all that it starts in a box of its own.

    Returns
    -------
    int
        The program's exit code; 128 and the number of the signal that ended it.

    Raises
    ------
    SkystageError
        If the box cannot be opened, or the program not be started.
    """
    with Sandbox(catalogue, faults, log, payload_size=payload_size) as box:
        try:
            child = subprocess.Popen(command, env=box.environment())  # noqa: S603 - what the user asks for
        except OSError as error:
            raise SkystageError(f"cannot run {command[0]}: {error.strerror}") from error
        with _Handlers(lambda number: _forward(child, number)):
            code = child.wait()
    return code if code >= 0 else 128 - code


def serve(
    *,
    catalogue: Path | None = None,
    faults: Sequence[Mapping[str, Any]] | Path | None = None,
    log: Path | None = None,
    payload_size: int = PAYLOAD_SIZE,
) -> int:
    """Open a box, print the shell lines that lead to it, and serve until SIGINT or SIGTERM."""
    stopped = threading.Event()
    with (
        Sandbox(catalogue, faults, log, payload_size=payload_size) as box,
        _Handlers(lambda _: stopped.set()),
    ):
        lines = [
            f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}"
            for name, value in sorted(box.environ.items())
        ]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        stopped.wait()
    return 0


class _Handlers:
    """Signal handlers for a while; nothing outside the main thread, where Python allows none."""

    def __init__(self, act: Any) -> None:
        self._act = act
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._handle)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        self._act(number)


def _forward(child: subprocess.Popen[bytes], number: int) -> None:
    """Pass a signal on, unless a terminal's Ctrl-C has already reached the child too."""
    if number == signal.SIGINT and _foreground():
        return
    child.send_signal(number)


def _foreground() -> bool:
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False
