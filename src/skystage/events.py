"""What happens to assets, as typed events. The library never prints: whoever runs it draws these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from skystage.errors import SkystageError
from skystage.model import Receipt, Release


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to the asset at `path`."""

    path: str


@dataclass(frozen=True, slots=True)
class Started(Event):
    """A request for the body is about to go out; `resumed_from` bytes are already here."""

    host: str
    resumed_from: int


@dataclass(frozen=True, slots=True)
class Progressed(Event):
    """`count` more bytes of the body have arrived, or of an old file have been read."""

    count: int


@dataclass(frozen=True, slots=True)
class Retrying(Event):
    """A try failed with a transient error; the next starts in `delay` seconds."""

    error: SkystageError
    delay: float


@dataclass(frozen=True, slots=True)
class Staged(Event):
    """The asset is verified and at its final path."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class AlreadyStaged(Event):
    """The asset was staged before: no request, no hashing."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Released(Event):
    """The staged file was deleted, and its receipt kept."""

    release: Release


@dataclass(frozen=True, slots=True)
class Failed(Event):
    """The asset could not be had."""

    error: SkystageError


Listener: TypeAlias = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener of those who do not listen."""
