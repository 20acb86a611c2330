from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from skystage import events, limits, state
from skystage.batch import fetch_all
from skystage.errors import HostDown, Interrupted, NotFound, ServerFault, Stopped, StoreError, Throttled
from skystage.limits import Limits
from skystage.locks import Lock
from skystage.model import Asset
from skystage.retry import PATIENCE, TRIES, Budget
from skystage.settings import HostLimit
from skystage.transport import Access


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


@pytest.fixture
def clock(monkeypatch):
    """The time that the shared state sees; set ``clock.now``."""
    made = SimpleNamespace(now=1_700_000_000.0)
    monkeypatch.setattr(state, "time", SimpleNamespace(time=lambda: made.now))
    return made


def run(program: str, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


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
    "text",
    ["", "{", "[1]", '{"now": 1e12, "alone_until": 2e12}', '{"now": 1, "alone_until": 2}', '{"now": "x"}'],
    ids=["empty", "cut", "no state", "clock was set back", "over", "broken"],
)
def test_state_of_another_time_is_void(tmp_path, text):
    mine, _ = two(tmp_path, rate=1e-3, bandwidth=1e5, daily_bytes=1e9)
    (tmp_path / "limits" / "me@h").mkdir(parents=True)
    (tmp_path / "limits" / "me@h" / "state.json").write_text(text)
    mine.acquire("me", "h").free()
    mine.spend("me", "h", 10)


def test_a_rate_is_kept_over_all_processes(tmp_path):
    both = two(tmp_path, rate=20, connections=8)
    begun = time.monotonic()
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: both[n % 2].acquire("me", "h").free(), range(6)))
    assert time.monotonic() - begun >= 5 / 20 * 0.95


def test_the_most_exact_name_wins_and_the_user_before_the_built_in(tmp_path):
    user = {
        "*.org": HostLimit(connections=3, rate=5),
        "a.b.org": HostLimit(connections=1),
        "*": HostLimit(rate=2),
    }
    found = Limits(user, tmp_path)
    assert found.of("a.b.org") == HostLimit(connections=1, rate=5)
    assert found.of("c.org") == HostLimit(connections=3, rate=5)
    assert found.of("download.dataspace.copernicus.eu") == HostLimit(connections=4, rate=2)
    assert found.of("elsewhere") == HostLimit(connections=8, rate=2)
    assert Limits({"*": HostLimit(connections=2)}, tmp_path).of("x.dataspace.copernicus.eu").connections == 2


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


def test_a_child_that_was_forked_in_mid_transfer_has_no_slot_to_give_back(tmp_path, connections):
    mine, _ = two(tmp_path, connections=1)
    slot = mine.acquire("me", "h")
    slot.connection = connections()
    if (child := os.fork()) == 0:
        mine.release("me", "h", slot)
        os._exit(mine.acquire("me", "h", wait=False) is not None)
    assert os.waitpid(child, 0)[1] == 0
    slot.free()


def test_an_idle_slot_is_given_back_however_often_the_last_one_was(tmp_path, connections, monkeypatch):
    monkeypatch.setattr(limits, "IDLE", 0.01)
    mine, other = two(tmp_path, connections=1)
    for _ in range(20):
        slot = mine.acquire("me", "h")
        slot.connection = connections()
        mine.release("me", "h", slot)
        other.acquire("me", "h").free()  # would wait for ever
    assert connections.open_now == 0


HOLD = """
import sys, time
from pathlib import Path
from skystage.limits import Limits
from skystage.settings import HostLimit
mine = Limits({"h": HostLimit(connections=2, bandwidth=1e6, daily_bytes=1e9)}, Path(sys.argv[1]))
slots = [mine.acquire("me", "h"), mine.acquire("me", "h")]
mine.spend("me", "h", 1_500_000)
print("held", flush=True)
time.sleep(60)
"""


def test_a_killed_process_frees_its_slots_at_once_and_what_it_moved_stays_counted(tmp_path):
    mine, _ = two(tmp_path)
    holder = run(HOLD, tmp_path)
    assert holder.stdout.readline() == "held\n"
    assert mine.acquire("me", "h", wait=False) is None
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    slots = [mine.acquire("me", "h", wait=False) for _ in range(3)]
    assert [slot is not None for slot in slots] == [True, True, False]
    counting = Limits({"h": HostLimit(daily_bytes=1_500_000)}, tmp_path)
    with pytest.raises(Throttled, match="1,500,000 bytes came today"):
        counting.acquire("me", "h")
    for slot in slots[:2]:
        slot.free()


ASK = """
import sys
from pathlib import Path
from skystage.limits import Limits
from skystage.model import Source
from skystage.settings import HostLimit
from skystage.transport import Access
url, host, connections = sys.argv[1:]
access = Access(limits=Limits({host: HostLimit(connections=int(connections))}))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(2):
    with access.open(Source(href=url), {}) as body:
        print(body.head.status, sum(map(len, body.blocks())))
access.close()
"""


def test_sixteen_processes_never_have_more_connections_than_one_account_may(open_box):
    host = "s1-orbits.s3.amazonaws.com"
    box = open_box()
    box.set_faults([{"max_connections": 4}, {"latency": 0.2}])
    running = [run(ASK, f"https://{host}/?prefix=AUX_POEORB&max-keys=1", host, 4) for _ in range(16)]
    assert [process.stdout.readline() for process in running] == 16 * ["ready\n"]
    for process in running:
        process.stdin.close()
    said = [process.stdout.read().split() for process in running]
    for process in running:
        process.stdout.close()
        assert process.wait() == 0
    assert {(one[0], one[2]) for one in said} == {("200", "200")}
    asked = box.requests()
    assert len(asked) == 32
    assert max(request["open"] for request in asked) <= 4


def test_a_limit_that_was_lowered_holds_for_whoever_starts_then(tmp_path):
    old = Limits({"h": HostLimit(connections=4)}, tmp_path)
    new = Limits({"h": HostLimit(connections=2)}, tmp_path)
    held = [old.acquire("me", "h") for _ in range(4)]
    assert new.acquire("me", "h", wait=False) is None
    for slot in held:
        slot.free()
    taken = [new.acquire("me", "h", wait=False) for _ in range(3)]
    assert [slot is not None for slot in taken] == [True, True, False]
    for slot in taken[:2]:
        slot.free()


def test_one_who_was_suspended_at_the_head_of_the_queue_holds_nobody_up_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "QUEUE", 0.1)
    mine, _ = two(tmp_path)
    with Lock(tmp_path / "limits" / "me@h" / "queue.lock"):
        assert mine.acquire("me", "h", wait=False) is None  # those that wait come first
        mine.acquire("me", "h").free()


def test_without_waiting_there_is_a_slot_only_where_everything_allows_it(tmp_path, clock):
    mine, other = two(tmp_path, connections=1, rate=1, daily_bytes=100)

    def free() -> bool:
        clock.now += 1
        if (slot := other.acquire("me", "h", wait=False)) is not None:
            slot.free()
        return slot is not None

    assert free()
    held = mine.acquire("me", "h")
    assert not free()
    held.free()
    assert free()
    mine.back_off("me", "h", 2)
    assert not free()
    assert free()
    for path in "abc":
        mine.failed("me", "h", path, Interrupted("broke"))
    assert not free()
    mine.succeeded("me", "h")
    assert free()
    mine.spend("me", "h", 100)
    assert not free()


def test_without_waiting_a_connection_that_is_kept_open_is_kept_for_later(tmp_path, connections, clock):
    mine, _ = two(tmp_path, rate=0.1)
    slot = mine.acquire("me", "h")
    slot.connection = connections()
    mine.release("me", "h", slot)
    assert mine.acquire("me", "h", wait=False) is None  # the rate allows the next in 10 s
    assert connections.open_now == 1
    clock.now += 10
    assert mine.acquire("me", "h", wait=False) is slot
    slot.free()


def test_a_bandwidth_is_kept_over_all_threads_and_processes(tmp_path):
    both = two(tmp_path, bandwidth=1e6)
    begun = time.monotonic()
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: both[n % 2].spend("me", "h", 100_000), range(15)))
    assert time.monotonic() - begun >= 0.5 * 0.95  # 1.5 MB, of which a second's worth may come at once


def test_waiting_for_the_bandwidth_can_be_stopped(tmp_path):
    mine, _ = two(tmp_path, bandwidth=1e5)
    stop = threading.Event()
    stop.set()
    mine.spend("me", "h", 100_000, stop)
    with pytest.raises(Stopped):
        mine.spend("me", "h", 100_000, stop)


def test_when_the_days_bytes_are_spent_nothing_more_begins_until_midnight_utc(tmp_path, clock):
    mine, other = two(tmp_path, daily_bytes=1000)
    slot = mine.acquire("me", "h")
    mine.spend("me", "h", 600)
    other.acquire("me", "h").free()
    mine.spend("me", "h", 600)
    mine.spend("me", "h", 600)  # what is under way may end
    slot.free()
    with pytest.raises(Throttled) as caught:
        other.acquire("me", "h")
    assert "h: 1,800 bytes" in str(caught.value)
    assert "daily_bytes allows 1,000" in str(caught.value)
    assert caught.value.transient
    assert caught.value.retry_after == pytest.approx(86400 - 1_700_000_000 % 86400)
    other.acquire("you", "h").free()
    clock.now += caught.value.retry_after
    other.acquire("me", "h").free()


def down(mine: Limits, *paths: str) -> None:
    for path in paths:
        mine.failed("me", "h", path, Interrupted("h: cannot be reached"))


def test_a_host_that_fails_three_paths_in_a_row_is_down_for_all_processes(tmp_path, clock):
    mine, other = two(tmp_path)
    down(mine, "a", "b")
    other.acquire("me", "h").free()
    down(other, "c")
    clock.now += 2
    with pytest.raises(HostDown, match="h: does not answer for 2 s, is tried again in 3 s") as caught:
        mine.acquire("me", "h")
    assert (caught.value.transient, caught.value.retry_after) == (True, 3)
    mine.acquire("you", "h").free()


def test_one_path_that_always_fails_makes_no_host_count_as_down(tmp_path, clock):
    mine, other = two(tmp_path)
    for _ in range(50):
        down(mine, "bad")
        down(other, "worse")
    mine.acquire("me", "h").free()


def test_a_success_forgets_what_failed_before(tmp_path, clock):
    mine, other = two(tmp_path)
    down(mine, "a", "b")
    other.succeeded("me", "h")
    down(mine, "c", "d")
    mine.acquire("me", "h").free()


def test_failures_long_ago_say_nothing_about_now(tmp_path, clock):
    mine, _ = two(tmp_path)
    down(mine, "a", "b")
    clock.now += 3600
    down(mine, "c")
    mine.acquire("me", "h").free()


@pytest.mark.parametrize(
    "error", [NotFound("gone"), ServerFault("busy", retry_after=9), Throttled("slow")], ids=type
)
def test_an_answer_that_a_host_gives_itself_is_no_failure_of_the_host(tmp_path, clock, error):
    mine, _ = two(tmp_path)
    for path in "abc":
        mine.failed("me", "h", path, error)
    mine.acquire("me", "h").free()


def test_one_at_a_time_tries_a_host_that_is_down(tmp_path, clock):
    mine, other = two(tmp_path)
    down(mine, "a", "b", "c")
    waits = []
    for path in ("d", "e", "f", "g", "h", "i"):
        with pytest.raises(HostDown) as caught:
            mine.acquire("me", "h")
        waits.append(caught.value.retry_after)
        clock.now += caught.value.retry_after
        mine.acquire("me", "h").free()
        with pytest.raises(HostDown, match="is being tried now") as caught:
            other.acquire("me", "h")
        assert caught.value.retry_after == 1
        down(mine, path)
        down(other, "late")  # one that set out before says nothing new
    assert waits == [5, 10, 20, 40, 60, 60]
    clock.now += 60
    mine.acquire("me", "h").free()
    mine.succeeded("me", "h")
    other.acquire("me", "h").free()
    mine.acquire("me", "h").free()


def test_one_that_dies_while_it_tries_is_followed_by_the_next(tmp_path, clock):
    mine, other = two(tmp_path)
    down(mine, "a", "b", "c")
    clock.now += 5
    mine.acquire("me", "h").free()
    clock.now += 29
    with pytest.raises(HostDown):
        other.acquire("me", "h")
    clock.now += 1
    other.acquire("me", "h").free()


@pytest.mark.parametrize("days", [-3, 3])
def test_a_clock_that_jumps_holds_nobody_up(tmp_path, clock, days):
    mine, _ = two(tmp_path, bandwidth=1e5, rate=10)
    down(mine, "a", "b", "c")
    mine.back_off("me", "h", 500)
    mine.spend("me", "h", 100_000)
    clock.now += days * 86400
    mine.acquire("me", "h").free()
    mine.spend("me", "h", 1)


def test_state_that_vanishes_is_made_anew(tmp_path):
    mine, _ = two(tmp_path)
    mine.acquire("me", "h").free()
    (tmp_path / "limits").rename(tmp_path / "gone")
    mine.acquire("me", "h").free()
    mine.back_off("me", "h", 0)
    assert (tmp_path / "limits" / "me@h" / "state.json").exists()


def test_state_that_cannot_be_kept_is_one_line_with_the_way_out(tmp_path):
    (tmp_path / "limits").write_text("a file")
    mine, _ = two(tmp_path)
    with pytest.raises(StoreError, match="SKYSTAGE_STATE") as caught:
        mine.acquire("me", "h")
    assert str(tmp_path) in str(caught.value)


def test_waiting_for_a_host_that_is_down_costs_no_try_and_ends():
    budget = Budget()
    for _ in range(2 * TRIES):
        assert budget.pause(HostDown("h", retry_after=5, lasting=PATIENCE)) >= 5
    with pytest.raises(HostDown):
        budget.pause(HostDown("h", retry_after=5, lasting=PATIENCE + 1))


DATAPOOL = "datapool.asf.alaska.edu"


@pytest.fixture
def six(slcs) -> list[Asset]:
    return [granule.asset("data") for granule in slcs][:6]


def with_mirror(asset: Asset) -> Asset:
    source = asset.sources[0]
    return replace(
        asset, sources=(source, replace(source, href=source.href.replace("datapool", "sentinel1")))
    )


def asked(box) -> int:
    return sum(request["host"] == DATAPOOL for request in box.requests())


def test_while_a_host_is_down_the_mirror_is_asked_at_once(box, six, store, access, impatient, clock):
    box.set_faults([{"match": {"host": DATAPOOL}, "status": 502}])
    outcome = fetch_all(map(with_mirror, six), store, access, jobs=1)
    assert outcome.failures == {}
    # Five tries for each of the first two; the third failure in a row ends it for all.
    assert asked(box) == 2 * TRIES + 1


def test_without_a_mirror_a_host_that_was_down_is_waited_for(box, six, store, access, impatient, monkeypatch):
    monkeypatch.setattr(state, "FIRST", 0.5)
    box.set_faults([{"match": {"host": DATAPOOL, "times": 6}, "cut_before_headers": True}])
    seen = []
    outcome = fetch_all(six, store, access, jobs=4, listen=seen.append)
    assert outcome.failures == {}
    assert any(isinstance(event, events.Retrying) and isinstance(event.error, HostDown) for event in seen)
    assert asked(box) == len(six) + 6


def test_a_host_that_stays_down_costs_few_requests_and_every_asset_says_so(
    box, six, store, access, clock, monkeypatch
):
    monkeypatch.setattr("skystage.retry.PATIENCE", -1)  # it is over at once: one try for each asset
    box.set_faults([{"match": {"host": DATAPOOL}, "status": 503}])
    outcome = fetch_all(six, store, access, jobs=1)
    assert [type(error) for error in outcome.failures.values()] == 3 * [ServerFault] + 3 * [HostDown]
    assert asked(box) == 3


def test_one_bad_asset_holds_up_no_other(box, six, store, access, impatient):
    bad = six[0].sources[0].href.rpartition("/")[2]
    box.set_faults([{"match": {"host": DATAPOOL, "path": f"*{bad}"}, "status": 500}])
    seen = []
    outcome = fetch_all(six, store, access, jobs=2, listen=seen.append)
    assert list(outcome.failures) == [six[0].path]
    assert not any(isinstance(event, events.Retrying) and isinstance(event.error, HostDown) for event in seen)


def test_bytes_count_at_every_host_on_their_way(box, six, store):
    access = Access(limits=Limits({DATAPOOL: HostLimit(daily_bytes=six[0].size + 1)}))
    assert fetch_all(six[:2], store, access, jobs=1).failures == {}
    box.clear()
    (failure,) = fetch_all(six[2:3], store, access).failures.values()
    assert isinstance(failure, Throttled)
    assert f"{six[0].size + six[1].size:,} bytes came today" in str(failure)
    assert box.requests() == []


def test_a_fetch_keeps_to_the_bandwidth(box, six, store):
    access = Access(limits=Limits({DATAPOOL: HostLimit(bandwidth=six[0].size)}))
    begun = time.monotonic()
    assert fetch_all(six[:2], store, access).failures == {}
    assert time.monotonic() - begun >= (six[0].size + six[1].size) / six[0].size - state.BURST - 0.05
