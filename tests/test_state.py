"""The arithmetic of shared limits: whatever the clock does, a limit holds, and nobody waits in vain."""

from __future__ import annotations

import heapq
import json
import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skystage import state
from skystage.errors import HostDown, Throttled
from skystage.locks import RECORD, Lock
from skystage.retry import PATIENCE
from skystage.settings import LEAST, HostLimit
from skystage.state import HostState, parse

BLOCK = 256 * 1024
START = 1_700_000_000.0
speeds = st.floats(LEAST, 1e9)
counts = st.integers(1, BLOCK)


@given(speeds, st.lists(st.lists(counts, min_size=1, max_size=20), min_size=1, max_size=8))
def test_all_connections_together_never_exceed_the_bandwidth(bandwidth, connections):
    limit = HostLimit(bandwidth=bandwidth)
    found = HostState().at(START, limit)
    ready = [(START, number) for number in range(len(connections))]
    left = [list(blocks) for blocks in connections]
    received = 0
    while ready:
        now, number = heapq.heappop(ready)
        # What is here by now: a second's worth at once, and one block of each connection beyond the cap.
        assert received <= bandwidth * (now - START + state.BURST) * (1 + 1e-6) + BLOCK * len(connections)
        if not left[number]:
            continue
        count = left[number].pop()
        received += count
        found = found.at(now, limit)
        heapq.heappush(ready, (now + found.receive(count, limit), number))


@given(speeds, st.lists(st.tuples(st.floats(-1e7, 1e7), counts), max_size=50))
def test_no_clock_makes_anybody_wait_for_longer_than_what_came_takes(bandwidth, steps):
    limit = HostLimit(bandwidth=bandwidth, rate=bandwidth)
    found, now, received = HostState(), START, 0
    for number, (step, count) in enumerate(steps):
        now += step
        received += count
        found = found.at(now, limit)
        assert found.receive(count, limit) <= received / bandwidth
        assert found.enter(limit) <= number / bandwidth


@given(speeds, st.floats(0, 1e4), st.floats(0, 1e4))
def test_it_does_not_matter_how_often_somebody_looks(bandwidth, first, second):
    limit = HostLimit(bandwidth=bandwidth)
    found = HostState().at(START, limit)
    found.receive(10 * LEAST, limit)
    once = found.at(START + first + second, limit)
    twice = found.at(START + first, limit).at(START + first + second, limit)
    assert once.bytes == pytest.approx(twice.bytes, abs=bandwidth * 1e-5)


def test_requests_come_at_their_rate_and_the_first_at_once():
    limit = HostLimit(rate=4)
    found = HostState().at(START, limit)
    assert [found.enter(limit) for _ in range(3)] == [0, 0.25, 0.5]
    assert found.at(START + 0.5, limit).enter(limit) == 0.25
    assert found.at(START + 9, limit).enter(limit) == 0


def test_a_lower_cap_and_then_a_higher_one_leave_no_debt_of_hours():
    found = HostState().at(START, HostLimit(bandwidth=LEAST))
    found.receive(10**12, HostLimit(bandwidth=LEAST))
    later = found.at(START + 1, HostLimit(bandwidth=1e8))
    assert later.receive(1, HostLimit(bandwidth=1e8)) <= PATIENCE


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 3 * 86400))
def test_a_day_ends_at_midnight_utc(first, second, seconds):
    limit = HostLimit(daily_bytes=1)
    midnight = START - START % 86400
    found = HostState().at(midnight, limit)
    found.receive(first, limit)
    found = found.at(midnight + seconds, limit)
    found.receive(second, limit)
    assert found.spent == second + (first if seconds < 86400 else 0)


words = st.text("0123456789.einfa ", max_size=8)
numbers = st.one_of(st.floats(), st.integers(), words, st.none(), st.lists(st.integers(), max_size=9))
states = st.dictionaries(st.sampled_from([*HostState.__dataclass_fields__, "of a newer version"]), numbers)


@given(st.one_of(st.binary(), states.map(lambda said: json.dumps(said).encode())))
def test_whatever_a_file_holds_is_a_state(text):
    limit = HostLimit(rate=1, bandwidth=1e5, daily_bytes=1e9)
    found = parse(text).at(START, limit)
    with suppress(HostDown, Throttled):
        assert 0 <= found.closed("h", limit) <= PATIENCE
    assert 0 <= found.enter(limit) <= PATIENCE + 1
    assert 0 <= found.receive(1, limit) <= PATIENCE


def test_a_state_survives_its_file_and_fits_into_one_write(tmp_path):
    limit = HostLimit(rate=math.pi, bandwidth=1e8 / 3, daily_bytes=1e15)
    for path in "abc":
        with state.shared(tmp_path / "s", limit) as found:
            found.enter(limit)
            found.receive(10**14 + 1, limit)
            found.back_off(math.e)
            found.broke(path, "why")
    with Lock(tmp_path / "s") as lock:
        text = lock.read()
    assert len(text) == RECORD
    assert len(text.rstrip()) < RECORD * 3 / 4
    assert parse(text) == found
    with state.shared(tmp_path / "s", limit) as found:
        assert found.down_since


def test_only_what_changed_is_written(tmp_path):
    with state.shared(tmp_path / "s", HostLimit()) as found:
        found.worked()
    assert (tmp_path / "s").read_bytes() == b""
