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
            elif isinstance(event, events.Retrying):
                said = f"again in {event.delay:.0f} s: {event.error.message}"
                bar.console.print(said, markup=False, highlight=False)

        yield listen
