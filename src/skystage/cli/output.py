"""What commands say: machine output on stdout, human output on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from skystage.canon import Json

DONE, USAGE, NOTHING, FAILED = 0, 2, 3, 4
"""Exit codes."""


def out(text: str) -> None:
    """A line of the command's result."""
    write(sys.stdout, f"{text}\n")


def out_json(**values: Any) -> None:
    """The command's result as one JSON object."""
    out(json.dumps(values))


def out_array(values: Mapping[str, Json], name: str, items: Iterable[Json]) -> None:
    """One JSON object whose last member is an array: that may be longer than memory holds."""
    write(sys.stdout, f"{json.dumps(values)[:-1]}, {json.dumps(name)}: [")
    for number, item in enumerate(items):
        write(sys.stdout, f"{', ' if number else ''}{json.dumps(item)}")
    out("]}")


def say(*lines: str) -> None:
    """Lines for people."""
    for line in lines:
        write(sys.stderr, f"{line}\n")


def write(stream: TextIO, text: str) -> None:
    """Write and flush; nobody has to listen."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        # Nobody reads on: that changes nothing about what is being done, nor about how it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Rows in columns as wide as they need."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        out("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def sizes_text(count: int, unsized: int) -> str:
    """The bytes of several files, and of how many nobody says the size."""
    return size_text(count) + (f" and {unsized:,} of unknown size" if unsized else "")


def size_text(count: int) -> str:
    """Bytes as people read them: 1.5 GB."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} TB"
