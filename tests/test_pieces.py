"""Which bytes are missing and who brings which: every byte once, whatever is claimed, given up or cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skystage.pieces import LEAST, MOST, WORTH_CUTTING, Piece, Pieces

MIB = 1 << 20


def test_one_connection_brings_a_file_in_one_piece():
    pieces = Pieces([(0, 100 * MIB)])
    piece = pieces.claim()
    assert (piece.at, piece.stop) == (0, 100 * MIB)
    assert (pieces.missing, pieces.reached, pieces.active) == (100 * MIB, 0, 1)


def test_a_second_connection_cuts_the_piece_and_takes_what_comes_next():
    pieces = Pieces([(0, 100 * MIB)])
    first, second = pieces.claim(), pieces.claim(4)
    assert (first.at, first.stop) == (0, second.at)
    assert first.left == 25 * MIB  # its fair share: its connection is used for as long as possible
    assert second.left == 25 * MIB
    assert second.stop < 100 * MIB  # the rest is for the other two


def test_who_is_done_first_takes_half_of_what_the_slowest_has_left():
    pieces = Pieces([(0, 100 * MIB)])
    slow, *fast = (pieces.claim(4) for _ in range(4))
    assert [piece.left for piece in (slow, *fast)] == [25 * MIB] * 4
    for piece in fast:
        piece.at = piece.stop
        pieces.release(piece)
    slow.at += 5 * MIB
    again = pieces.claim(2)
    assert (slow.left, again.left) == (10 * MIB, 10 * MIB)


def test_no_piece_of_a_huge_file_is_larger_than_can_be_lost_lightly():
    pieces = Pieces([(0, 4000 * MIB)])
    _, *helpers = (pieces.claim(4) for _ in range(4))
    assert [piece.left for piece in helpers] == [MOST] * 3


def test_a_file_whose_end_nobody_knows_has_one_connection():
    pieces = Pieces([(0, None)])
    piece = pieces.claim()
    assert pieces.claim() is None
    assert (piece.left, pieces.missing) == (None, 0)
    pieces.release(piece)
    assert not pieces.complete


def test_little_is_not_worth_a_second_connection():
    pieces = Pieces([(0, WORTH_CUTTING * LEAST - 1)])
    assert pieces.claim() is not None
    assert pieces.claim() is None


def test_what_is_given_up_is_taken_by_the_next_one():
    pieces = Pieces([(0, 10), (20, 30)])
    first, second = pieces.claim(), pieces.claim()
    first.at = 4
    pieces.release(first)
    assert pieces.reached == 4
    again = pieces.claim()
    assert (again.at, again.stop) == (4, 10)
    second.at = 30
    pieces.release(second)
    again.at = 10
    pieces.release(again)
    assert pieces.complete
    assert pieces.reached is None


def test_empty_gaps_are_none():
    assert Pieces([(5, 5)]).complete


@given(
    size=st.integers(0, 300 * MIB),
    moves=st.lists(
        st.tuples(st.sampled_from(["claim", "bring", "leave"]), st.integers(0, 200 * MIB)), max_size=60
    ),
)
def test_every_byte_is_brought_exactly_once(size, moves):
    pieces, active, brought = Pieces([(0, size)]), [], []

    def bring(piece: Piece, count: int) -> None:
        count = min(count, piece.left)
        brought.append((piece.at, piece.at + count))
        piece.at += count

    for what, count in moves:
        if what == "claim":
            if (piece := pieces.claim()) is not None:
                active.append(piece)
        elif active and what == "bring":
            bring(active[count % len(active)], count)
        elif active:
            pieces.release(active.pop(count % len(active)))
        assert pieces.missing == size - sum(stop - start for start, stop in brought)
    for piece in active:
        pieces.release(piece)
    while (piece := pieces.claim()) is not None:
        bring(piece, size)
        pieces.release(piece)
    assert pieces.complete
    runs = sorted(run for run in brought if run[0] < run[1])
    assert [start for start, _ in runs] == [0, *(stop for _, stop in runs)][: len(runs)]
    assert sum(stop - start for start, stop in runs) == size


def test_a_connection_is_left_where_its_piece_was_cut():
    pieces = Pieces([(0, 100 * MIB)])
    first, second = pieces.claim(), pieces.claim()
    end = first.stop
    assert first.take(MIB) == MIB
    assert not first.parted
    first.at = end - 10
    assert first.take(MIB) == 10
    assert first.parted
    # What others give up now is not given back to a connection that has gone past it.
    pieces.release(second)
    pieces.rejoin()
    assert first.stop == end


def test_a_connection_that_brings_more_than_was_asked_for_is_no_cut():
    piece = Pieces([(0, 10)]).claim()
    assert piece.take(11) == 10
    assert not piece.parted


def test_an_end_that_becomes_known_is_that_of_the_connection_too():
    pieces = Pieces([(0, None)])
    piece = pieces.claim()
    assert piece.take(1000) == 1000
    piece.end_at(500)
    assert (piece.left, piece.take(501), piece.parted) == (500, 500, False)
    piece.at = 500
    pieces.release(piece)
    assert pieces.complete
