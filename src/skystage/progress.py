"""A progress bar for a person at a terminal, drawn from the events of a fetch; nothing anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from skystage import events


@contextmanager
def progress(total: int) -> Iterator[events.Listener]:
    """A listener that draws on stderr, if that is a terminal.

    Parameters
    ----------
    total
        Bytes to come.
    """
    if not sys.stderr.isatty():
        yield events.ignore
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total or None)

        def listen(event: events.Event) -> None:
            if isinstance(event, events.Progressed):
                bar.advance(task, event.count)
            elif isinstance(event, events.Started) and event.resumed_from:
                bar.update(task, completed=None)
            elif isinstance(event, events.Retrying):
                bar.console.print(f"again in {event.delay:.0f} s: {event.error.message}", markup=False)

        yield listen
