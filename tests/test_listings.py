"""What planning collects over many requests lies in the cache, whatever happens to it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from skystage import listings
from skystage.errors import StoreError
from skystage.listings import Listings


def path() -> Path:
    return Path(os.environ["SKYSTAGE_CACHE"]) / "x.sqlite"


def test_what_was_put_is_there_for_the_next_one():
    with Listings("x") as known:
        known.put({"a": [1, {"b": None}], "c": "é"})
        known.put({"a": 2})
    with Listings("x") as known:
        assert known.get(["a", "b", "c"]) == {"a": 2, "c": "é"}
    with Listings("y") as other:
        assert other.get(["a"]) == {}


def test_many_keys_are_looked_up():
    with Listings("x") as known:
        answers = {f"k{number}": number for number in range(3 * listings._GROUP + 1)}
        known.put(answers)
        assert known.get(answers) == answers
        assert known.get([]) == {}


def test_what_is_old_is_forgotten(monkeypatch):
    clock = [1e9]
    monkeypatch.setattr(listings.time, "time", lambda: clock[0])
    with Listings("x") as known:
        known.put({"a": 1})
        clock[0] += listings.KEPT - 1
        assert known.get(["a"]) == {"a": 1}
        clock[0] += 1
        assert known.get(["a"]) == {}
    with Listings("x"):
        pass
    assert sqlite3.connect(path()).execute("SELECT COUNT(*) FROM answer").fetchone() == (0,)


def test_a_damaged_file_is_made_anew():
    path().parent.mkdir(parents=True)
    path().write_bytes(b"no database at all" * 500)
    with Listings("x") as known:
        known.put({"a": 1})
        assert known.get(["a"]) == {"a": 1}


def test_a_file_that_is_damaged_meanwhile_is_an_error_with_its_remedy():
    with Listings("x") as known:
        known.put({f"k{number}": "x" * 1000 for number in range(100)})
        path().write_bytes(b"no database at all" * 500)
        with pytest.raises(StoreError, match="SKYSTAGE_CACHE"):
            known.get(["k1"])
        with pytest.raises(StoreError, match="SKYSTAGE_CACHE"):
            known.put({"k": 1})


def test_a_cache_that_cannot_be_is_an_error_with_its_remedy():
    Path(os.environ["SKYSTAGE_CACHE"]).mkdir()
    path().mkdir()
    with pytest.raises(StoreError, match="SKYSTAGE_CACHE"):
        Listings("x")


def test_what_was_put_survives_a_kill():
    program = """
import os, signal
from skystage.listings import Listings
known = Listings("x")
for number in range(100):
    known.put({f"{number} {part}": part for part in range(50)})
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False)
    assert ended.returncode == -9
    with Listings("x") as known:
        assert len(known.get(f"{number} {part}" for number in range(100) for part in range(50))) == 400
