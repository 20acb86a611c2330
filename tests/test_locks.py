from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from skystage import locks
from skystage.errors import StoreError
from skystage.locks import Lock

HOLD = """
import sys, time
from pathlib import Path
from skystage.locks import Lock
Lock(Path(sys.argv[1])).acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_a_lock_excludes_a_second_one_in_the_same_process(tmp_path):
    with Lock(tmp_path / "a"):
        assert not Lock(tmp_path / "a").try_acquire()
    second = Lock(tmp_path / "a")
    assert second.try_acquire()
    second.release()
    second.release()


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path):
    path = tmp_path / "deep" / "a"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    assert not Lock(path).try_acquire()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    with Lock(path):
        pass


def test_a_forked_child_does_not_keep_its_parents_lock(tmp_path):
    lock = Lock(tmp_path / "a")
    lock.acquire()
    (ready, say_ready), (go, say_go) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:  # the child lives on while the parent frees the lock
        os.write(say_ready, b"x")
        os.read(go, 1)
        os._exit(0)
    os.read(ready, 1)
    lock.release()
    second = Lock(tmp_path / "a")
    taken = second.try_acquire()
    os.write(say_go, b"x")
    os.waitpid(child, 0)
    for fd in (ready, say_ready, go, say_go):
        os.close(fd)
    second.release()
    assert taken


def test_the_lock_file_stays(tmp_path):
    with Lock(tmp_path / "a"):
        pass
    assert (tmp_path / "a").exists()


def test_locks_that_do_not_exclude_are_noticed(tmp_path, monkeypatch):
    assert locks.work(tmp_path)
    monkeypatch.setattr(fcntl, "flock", lambda fd, how: None)
    assert not locks.work(tmp_path)


def test_a_file_system_without_locks_is_named_with_the_way_out(tmp_path, monkeypatch):
    def refuse(fd, how):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreError, match="another file system"):
        Lock(tmp_path / "a").acquire()


def test_a_lock_holds_a_record_that_is_replaced_whole(tmp_path):
    with Lock(tmp_path / "a") as lock:
        assert lock.read() == b""
        lock.write(b"a long record")
        lock.write(b"short")
    with Lock(tmp_path / "a") as lock:
        assert lock.read().rstrip() == b"short"


def test_a_record_that_a_full_disk_does_not_take_is_one_line():
    with (
        Lock(Path("/dev/full")) as lock,
        pytest.raises(StoreError, match="/dev/full: cannot be written: No sp"),
    ):
        lock.write(b"record")


def test_a_folder_that_takes_no_lock_is_named_with_the_way_out(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="SKYSTAGE_STATE") as caught:
        Lock(tmp_path / "file" / "a").acquire()
    assert f"{tmp_path}/file: no lock can be made here" in str(caught.value)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "disk"), KeyboardInterrupt()])
def test_nothing_leaks_when_locking_fails(tmp_path, monkeypatch, error):
    def fail(fd, how):
        raise error

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(type(error)):
        Lock(tmp_path / "a").acquire()
    assert len(os.listdir("/proc/self/fd")) == before
