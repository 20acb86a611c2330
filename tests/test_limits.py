from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from skystage import limits
from skystage.errors import QueryError, Stopped, Throttled
from skystage.limits import HostLimit, Limits


class Connection:
    """A connection, as far as a slot knows it; `open_now` counts those that are open."""

    open_now = 0
    most = 0
    mutex = threading.Lock()

    def __init__(self) -> None:
        with self.mutex:
            type(self).open_now += 1
            type(self).most = max(self.most, self.open_now)

    def clear(self) -> None:
        with self.mutex:
            type(self).open_now -= 1


@pytest.fixture
def connections():
    Connection.open_now = Connection.most = 0
    return Connection


def two(tmp_path: Path, **fields) -> list[Limits]:
    """Two `Limits` over one state, as two processes have them."""
    hosts = {"h": HostLimit(**{"connections": 2, **fields})}
    return [Limits(hosts, tmp_path) for _ in range(2)]


def test_never_more_connections_than_slots_over_all_processes(tmp_path, connections):
    both = two(tmp_path)

    def use(number: int) -> None:
        mine = both[number % 2]
        slot = mine.acquire("me", "h")
        if slot.connection is None:
            slot.connection = connections()
        time.sleep(0.005)
        mine.release("me", "h", slot)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(use, range(60)))
    for mine in both:
        mine.close()
    assert connections.most <= 2
    assert connections.open_now == 0


def test_a_connection_is_kept_for_the_next_asset_of_the_same_process(tmp_path, connections):
    mine, _ = two(tmp_path)
    slot = mine.acquire("me", "h")
    slot.connection = connections()
    mine.release("me", "h", slot)
    assert mine.acquire("me", "h") is slot
    mine.release("me", "h", slot)
    mine.close()


def test_an_idle_connection_is_closed_before_another_process_gets_its_slot(tmp_path, connections):
    mine, other = two(tmp_path, connections=1)
    slot = mine.acquire("me", "h")
    slot.connection = connections()
    mine.release("me", "h", slot)
    taken = other.acquire("me", "h")
    assert connections.open_now == 0
    other.release("me", "h", taken)


def test_a_slot_that_was_kept_for_long_is_given_back_even_if_there_is_more_to_do(
    tmp_path, connections, monkeypatch
):
    monkeypatch.setattr(limits, "TURN", 0.0)
    mine, _ = two(tmp_path)
    slot = mine.acquire("me", "h")
    slot.connection = connections()
    time.sleep(0.001)
    mine.release("me", "h", slot)
    assert connections.open_now == 0


def test_accounts_and_hosts_have_slots_of_their_own(tmp_path):
    mine, other = two(tmp_path, connections=1)
    slots = [mine.acquire("me", "h"), other.acquire("you", "h"), other.acquire("me", "g")]
    assert len(slots) == 3
    for slot in slots:
        slot.free()


def test_back_off_is_shared_between_processes(tmp_path):
    mine, other = two(tmp_path)
    mine.back_off("me", "h", 0.3)
    begun = time.monotonic()
    other.acquire("me", "h").free()
    assert time.monotonic() - begun >= 0.25


@pytest.mark.parametrize(
    "state",
    ["", "{", '{"since": 1e12, "until": 2e12}', '{"since": 1, "until": 2}', '{"since": "x", "until": 1}'],
    ids=["empty", "cut", "clock was set back", "over", "broken"],
)
def test_back_off_of_another_time_is_void(tmp_path, state):
    mine, _ = two(tmp_path)
    mine.acquire("me", "h").free()
    (tmp_path / "limits" / "me@h" / "back-off.json").write_text(state)
    mine.acquire("me", "h").free()


def test_a_rate_is_kept_over_all_processes(tmp_path):
    both = two(tmp_path, rate=20, connections=8)
    begun = time.monotonic()
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: both[n % 2].acquire("me", "h").free(), range(6)))
    assert time.monotonic() - begun >= 5 / 20 * 0.95


def test_the_most_exact_name_wins_and_the_user_before_the_built_in(tmp_path):
    found = Limits({"*.org": HostLimit(connections=3), "a.b.org": HostLimit(connections=1)}, tmp_path)
    assert found.of("a.b.org").connections == 1
    assert found.of("c.org").connections == 3
    assert found.of("download.dataspace.copernicus.eu").connections == 4
    assert found.of("elsewhere").connections == 8


def test_a_configuration_file_is_read_where_the_user_says(tmp_path, monkeypatch):
    monkeypatch.setenv("SKYSTAGE_CONFIG", str(tmp_path / "c.yaml"))
    assert limits.configured() == {}
    (tmp_path / "c.yaml").write_text("limits:\n  h: {connections: 4, rate: 2.5}\n")
    assert limits.configured() == {"h": HostLimit(connections=4, rate=2.5)}
    assert Limits(directory=tmp_path).of("h").connections == 4
    monkeypatch.delenv("SKYSTAGE_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert limits.config_file() == tmp_path / "skystage" / "config.yaml"


@pytest.mark.parametrize(
    "text",
    [
        "limits: {h: {connections: 0}}",
        "limits: {h: {connections: many}}",
        "limits: {h: {rate: -1}}",
        "limits: {h: {conections: 4}}",
        "limits: {h: 4}",
        "limits: [a",
        "- a",
    ],
)
def test_a_broken_configuration_is_one_line_that_shows_the_form(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(QueryError, match="expected limits:") as caught:
        limits.configured(path)
    assert "\n" not in str(caught.value)


def test_the_state_lies_where_the_user_says_else_in_the_state_home_else_in_the_temporary_folder(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("SKYSTAGE_STATE", str(tmp_path / "mine"))
    assert limits.state_directory() == tmp_path / "mine"
    monkeypatch.delenv("SKYSTAGE_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert limits.state_directory() == tmp_path / "state" / "skystage"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    assert limits.state_directory().parent == tmp_path


def test_shared_state_is_replaced_whole(tmp_path):
    mine, _ = two(tmp_path)
    mine.back_off("me", "h", 5)
    folder = tmp_path / "limits" / "me@h"
    assert [path.name for path in folder.iterdir()] == ["back-off.json"]
    state = json.loads((folder / "back-off.json").read_text())
    assert state["until"] - state["since"] == pytest.approx(5)


def test_a_slot_is_given_back_when_the_caller_stops_while_waiting_for_the_rate(tmp_path):
    mine, other = two(tmp_path, connections=1, rate=0.01)
    mine.acquire("me", "h").free()  # the next may come in 100 s
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(Stopped):
        mine.acquire("me", "h", stop)
    other.hosts = {"h": HostLimit(connections=1)}
    other.acquire("me", "h").free()


def test_a_host_that_wants_to_be_left_alone_for_long_is_left_to_the_orchestrator(tmp_path):
    mine, other = two(tmp_path)
    mine.back_off("me", "h", 3600)
    mine.back_off("me", "h", 5)  # a shorter word does not undo a longer one
    with pytest.raises(Throttled) as caught:
        other.acquire("me", "h")
    assert 3590 < caught.value.retry_after <= 3600


def test_waiting_for_another_process_can_be_stopped(tmp_path):
    mine, other = two(tmp_path, connections=1)
    held = mine.acquire("me", "h")
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(Stopped):
        other.acquire("me", "h", stop)
    held.free()


def test_a_forked_child_leaves_its_parents_connections_alone(tmp_path, connections):
    mine, _ = two(tmp_path)
    slot = mine.acquire("me", "h")
    slot.connection = connections()
    mine.release("me", "h", slot)
    mine.forget()
    assert connections.open_now == 1
    slot.free()


def test_a_configuration_that_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(QueryError, match="cannot be read"):
        limits.configured(tmp_path)
