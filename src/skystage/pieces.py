"""Which bytes of a file are still missing, and who is bringing which: without any I/O.

A file that one connection brings is one piece. When others have nothing else to do, the longest piece
is cut into fair shares, one for each of them. Who is done before the others finds the longest piece again:
so all connections end at about the same time, with as few requests as that takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

LEAST, MOST = 1 << 20, 64 << 20
"""Bytes of the smallest and of the largest piece that is made."""
WORTH_CUTTING = 4
"""Smallest pieces that a piece under way must have left to be cut: its connection is lost by that."""


@dataclass(eq=False, slots=True)
class Piece:
    """A run of bytes that one connection is bringing.

    Attributes
    ----------
    at
        The next byte to come.
    stop
        The byte behind the last one; None where the end is not known.
    asked
        What `stop` was when the piece was claimed: its connection goes on to there.
    parted
        Whether its connection is left at `stop`, because others have the rest.
    """

    at: int
    stop: int | None
    asked: int | None = field(init=False)
    parted: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.asked = self.stop

    @property
    def left(self) -> int | None:
        """Bytes to come; None where the end is not known."""
        return None if self.stop is None else self.stop - self.at

    def take(self, count: int) -> int:
        """How many of the next `count` bytes of its connection belong to it."""
        if self.left is None or count < self.left:
            return count
        self.parted = self.stop != self.asked
        return self.left

    def end_at(self, stop: int) -> None:
        """It is known now where it ends."""
        self.stop = self.asked = stop


class Pieces:
    """The missing bytes of one file: gaps that nobody works at, and pieces that somebody does.

    Parameters
    ----------
    gaps
        First byte, and the byte behind the last or None, of what is missing; in order.
    """

    def __init__(self, gaps: Iterable[tuple[int, int | None]]) -> None:
        self._gaps = [gap for gap in gaps if gap[0] != gap[1]]
        self._active: list[Piece] = []

    @property
    def active(self) -> int:
        """How many pieces somebody works at."""
        return len(self._active)

    @property
    def missing(self) -> int:
        """Bytes to come, as far as ends are known."""
        open_ends = [*self._gaps, *((piece.at, piece.stop) for piece in self._active)]
        return sum(stop - start for start, stop in open_ends if stop is not None)

    @property
    def reached(self) -> int | None:
        """The first byte that is missing; None if none is."""
        starts = [start for start, _ in self._gaps] + [piece.at for piece in self._active]
        return min(starts, default=None)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self._gaps and not self._active

    def claim(self, sharers: int = 1, least: int = LEAST) -> Piece | None:
        """The next piece to bring; None if there is nothing that is worth one more connection.

        Parameters
        ----------
        sharers
            How many connections there may be, this one included.
        least
            Bytes of the smallest piece that is worth a request of its own.
        """
        least = min(max(least, LEAST), MOST)
        idle = max(1, sharers - len(self._active))
        if not self._gaps and not self._cut(idle, WORTH_CUTTING * least):
            return None
        unclaimed = sum(stop - start for start, stop in self._gaps if stop is not None)
        share = max(least, min(MOST, unclaimed // idle))
        start, stop = self._gaps.pop(0)
        # Alone, one takes all there is. A rest too small to be a piece of its own stays with this one.
        if self._active and stop is not None and stop - start >= share + least:
            self._gaps.insert(0, (start + share, stop))
            stop = start + share
        piece = Piece(start, stop)
        self._active.append(piece)
        return piece

    def release(self, piece: Piece) -> None:
        """Nobody works at this piece any more: what it did not bring is a gap again."""
        self._active.remove(piece)
        if piece.left == 0:
            return
        self._gaps.append((piece.at, piece.stop))
        self._gaps.sort(key=lambda gap: gap[0])

    def rejoin(self) -> None:
        """Give what was cut off a piece back to it: its connection brings it without being asked again."""
        for gap in list(self._gaps):
            for piece in self._active:
                if piece.stop == gap[0] and piece.asked is not None and gap[1] is not None:
                    if gap[1] <= piece.asked and not piece.parted:
                        piece.stop = gap[1]
                        self._gaps.remove(gap)
                    break

    def _cut(self, idle: int, worth: int) -> bool:
        longest = max(self._active, key=lambda piece: piece.left or 0, default=None)
        if longest is None or longest.stop is None or longest.stop - longest.at < worth:
            return False
        # It keeps its fair share, so that its connection is of use for as long as possible.
        middle = longest.at + (longest.stop - longest.at) // (idle + 1)
        self._gaps = [(middle, longest.stop)]
        longest.stop = middle
        return True
