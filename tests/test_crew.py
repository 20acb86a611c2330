"""The threads of a batch: every item once, nobody left behind, and nothing hangs."""

from __future__ import annotations

import threading
import time

import pytest

from skystage.crew import Crew


def run(crew: Crew, items, work, **options) -> None:
    options = {"stop": threading.Event(), "watch": lambda: None, "helping": False, **options}
    crew.run(items, work, **options)


def threads() -> int:
    return sum(thread.name.startswith("skystage-fetch") for thread in threading.enumerate())


def test_every_item_is_worked_at_once_by_as_many_threads_as_there_are():
    seen, together, lock = [], [], threading.Lock()
    gate = threading.Barrier(3, timeout=10)

    def work(item: int) -> None:
        gate.wait()
        with lock:
            seen.append(item)
            together.append(threading.current_thread().name)

    run(Crew(3), range(9), work)
    assert sorted(seen) == list(range(9))
    assert len(set(together)) == 3
    assert threads() == 0


def test_stopping_begins_nothing_more():
    stop, seen = threading.Event(), []

    def work(item: int) -> None:
        seen.append(item)
        stop.set()

    run(Crew(1), range(100), work, stop=stop)
    assert seen == [0]


def test_an_interruption_of_the_caller_stops_all_and_waits_for_them():
    stop = threading.Event()
    ended = []

    def watch() -> None:
        if not stop.is_set():
            raise KeyboardInterrupt

    def work(item: int) -> None:
        stop.wait(10)
        ended.append(item)

    with pytest.raises(KeyboardInterrupt):
        run(Crew(2), range(50), work, stop=stop, watch=watch)
    assert sorted(ended) == [0, 1]
    assert threads() == 0


def test_what_the_work_raises_stops_all_and_is_raised_here():
    stop, seen = threading.Event(), []

    def work(item: int) -> None:
        seen.append(item)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Crew(1), range(9), work, stop=stop)
    assert seen == [0]
    assert stop.is_set()
    assert threads() == 0


def test_who_has_nothing_left_to_do_helps_until_all_is_done():
    crew, helped = Crew(3), []
    enough = threading.Event()

    def help_once() -> bool:
        helped.append(threading.current_thread().name)
        if len(set(helped)) == 2:
            enough.set()
        time.sleep(0.001)
        return True

    def work(item: int) -> None:
        if item == 0:
            with crew.offering(help_once):
                assert enough.wait(10)

    run(crew, range(3), work, helping=True)
    assert len(set(helped)) == 2
    assert crew.over.is_set()
    assert threads() == 0
