"""The index is a cache: whatever happens to it, the answers are those of the shards."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skystage import index as indices
from skystage.canon import canonical
from skystage.index import Index
from skystage.model import Asset
from skystage.staged import Staged
from skystage.store import Store

PATHS = [f"asf/C/g{number}/f.bin" for number in range(6)]


@pytest.fixture(autouse=True)
def always_indexed(monkeypatch):
    """Also a store of three receipts has an index."""
    monkeypatch.setattr(indices, "RENEW", 0)


@pytest.fixture
def shards(tmp_path) -> Path:
    made = tmp_path / "store" / ".skystage" / "receipts"
    made.mkdir(parents=True)
    return made


def line(path: str, number: int = 0, filler: str = "") -> str:
    return canonical({"path": path, "size": 5, "mtime_ns": number, "source": f"https://h/{filler}"}) + "\n"


def write(shard: Path, *lines: str) -> Path:
    with shard.open("a") as file:
        file.writelines(lines)
    return shard


def cache(tmp_path: Path) -> Path:
    (file,) = (tmp_path / "state" / "index").iterdir()
    return file


def truth(shards: Path) -> dict[str, set[str]]:
    """What the shards say, read in the plainest way."""
    found: dict[str, set[str]] = {path: set() for path in PATHS}
    for shard in shards.iterdir():
        for text in shard.read_bytes().split(b"\n")[:-1]:
            try:
                receipt = json.loads(text)
                found[receipt["path"]].add(canonical(receipt))
            except (ValueError, TypeError, KeyError):
                continue
    return found


def said(index: Index) -> dict[str, set[str]]:
    return {path: {canonical(receipt) for receipt in index.find(path)} for path in PATHS}


def test_a_second_look_reads_the_index_and_no_shard(shards, tmp_path):
    shard = write(shards / "a.ndjson", line(PATHS[0]), line(PATHS[1]))
    Index(shards)
    again = Index(shards)
    assert said(again) == truth(shards)
    assert (len(again._keys), again._recent) == (2, {})
    write(shard, line(PATHS[2]))
    again.refresh()
    assert said(again) == truth(shards)


def test_a_store_of_few_receipts_has_no_index(shards, tmp_path, monkeypatch):
    monkeypatch.setattr(indices, "RENEW", 1 << 20)
    write(shards / "a.ndjson", line(PATHS[0]))
    assert said(Index(shards)) == truth(shards)
    assert not (tmp_path / "state").exists()


def test_only_what_was_added_is_indexed_anew(shards, tmp_path, monkeypatch):
    shard = write(shards / "a.ndjson", line(PATHS[0]))
    Index(shards)
    monkeypatch.setattr(indices, "RENEW", 100)
    before = cache(tmp_path).read_bytes()
    reader = cache(tmp_path).open("rb")
    write(shard, line(PATHS[1]))
    some = Index(shards)
    assert cache(tmp_path).read_bytes() == before
    assert list(some._recent) == [PATHS[1]]
    write(shard, line(PATHS[2], filler="x" * 500))
    assert Index(shards)._recent == {}
    assert cache(tmp_path).read_bytes() != before
    with reader:
        assert reader.read() == before, "it is replaced, not changed"
    assert said(Index(shards)) == truth(shards)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:20],
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: content[:-3] + b"\xff" + content[-2:],
        lambda content: content.replace(b"skystage index 1", b"skystage index 0"),
        lambda content: content.replace(b"a.ndjson", b"b.ndjson"),
        lambda content: b"[" * 100_000,
        lambda content: b"[]\n",
        lambda content: b'{"format": 7}\n',
        lambda content: os.urandom(len(content)),
    ],
    ids=["empty", "head", "cut", "longer", "flipped", "version", "shard", "deep", "list", "short", "random"],
)
def test_a_damaged_or_foreign_index_is_made_anew(shards, tmp_path, damage):
    write(shards / "a.ndjson", line(PATHS[0]), line(PATHS[1]))
    Index(shards)
    good = cache(tmp_path).read_bytes()
    cache(tmp_path).write_bytes(damage(good))
    assert said(Index(shards)) == truth(shards)
    assert cache(tmp_path).read_bytes() == good


def test_an_index_that_lies_costs_an_answer_and_never_makes_one(shards, tmp_path, monkeypatch):
    write(shards / "a.ndjson", line(PATHS[0]), line(PATHS[1]))
    Index(shards)
    head, _, body = cache(tmp_path).read_bytes().partition(b"\n")
    data = json.loads(head)
    lie = body[:8] + (7).to_bytes(8, sys.byteorder) + (1 << 50).to_bytes(8, sys.byteorder)
    data["digest"] = indices._digest(data["shards"], lie)
    cache(tmp_path).write_bytes(json.dumps(data).encode() + b"\n" + lie)
    assert said(Index(shards)) == {path: set() for path in PATHS}


@pytest.mark.parametrize("kind", ["a file in its place", "no such file system", "not a directory"])
def test_where_the_index_cannot_be_written_the_shards_are_read(shards, tmp_path, monkeypatch, kind):
    write(shards / "a.ndjson", line(PATHS[0]), line(PATHS[1]))
    state = tmp_path / "state"
    if kind == "a file in its place":
        state.mkdir()
        (state / "index").write_text("")
    elif kind == "not a directory":
        state.write_text("")
    else:
        monkeypatch.setenv("SKYSTAGE_STATE", "/proc/none")
    assert said(Index(shards)) == truth(shards)


def test_a_home_that_cannot_be_had_is_done_without(shards, tmp_path, monkeypatch):
    write(shards / "a.ndjson", line(PATHS[0]))
    monkeypatch.delenv("SKYSTAGE_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/none")
    monkeypatch.setattr("tempfile.tempdir", "/proc/none")
    assert said(Index(shards)) == truth(shards)


def test_a_full_disk_leaves_no_index_and_nothing_beside_it(shards, tmp_path):
    write(shards / "a.ndjson", *(line(PATHS[0], number) for number in range(100)))

    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    code = (
        "import sys; from pathlib import Path; from skystage import index; index.RENEW = 0;"
        "print(len(index.Index(Path(sys.argv[1])).find(sys.argv[2])))"
    )
    command = [sys.executable, "-c", code, str(shards), PATHS[0]]
    ended = subprocess.run(command, preexec_fn=small_files_only, capture_output=True, text=True, check=True)
    assert ended.stdout == "100\n"
    assert list((tmp_path / "state" / "index").iterdir()) == []


def test_a_store_that_was_deleted_and_made_again_is_another_one(tmp_path, staged):
    asset = Asset(key="data", path=PATHS[0], size=5)
    first = Store(tmp_path / "store")
    staged(first, asset)
    status = first.path(asset).stat()
    assert Staged(tmp_path / "store").proof(asset)
    shutil.rmtree(tmp_path / "store")
    second = Store(tmp_path / "store")
    staged(second, replace(asset, path=PATHS[1]))
    second.path(asset).parent.mkdir(parents=True)
    second.path(asset).write_bytes(b"bytes")
    os.utime(second.path(asset), ns=(status.st_atime_ns, status.st_mtime_ns))
    assert Staged(tmp_path / "store").proof(asset) is None


def test_a_store_that_was_restored_from_a_backup_is_known_again(tmp_path, staged):
    asset = Asset(key="data", path=PATHS[0], size=5)
    store = Store(tmp_path / "store")
    staged(store, asset)
    assert Staged(tmp_path / "store").proof(asset)
    shutil.copytree(tmp_path / "store", tmp_path / "backup")
    shutil.rmtree(tmp_path / "store")
    shutil.copytree(tmp_path / "backup", tmp_path / "store")
    assert Staged(tmp_path / "store").proof(asset)


def test_a_receipt_that_was_taken_out_by_hand_is_gone_though_the_file_is_as_long(shards):
    shard = write(shards / "a.ndjson", line(PATHS[0]), line(PATHS[1]))
    Index(shards)
    text = shard.read_text()
    for content in (text.replace(PATHS[0], PATHS[2]), text.replace(PATHS[0], PATHS[3]) + line(PATHS[4])):
        shard.write_text(content)
        assert said(Index(shards)) == truth(shards)


def test_shards_that_only_look_changed_are_hashed_once_and_not_each_time(shards, tmp_path):
    shard = write(shards / "a.ndjson", line(PATHS[0]))
    Index(shards)
    before = cache(tmp_path).read_bytes()
    os.utime(shard, (0, 0))
    assert said(Index(shards)) == truth(shards)
    renewed = cache(tmp_path).read_bytes()
    assert renewed != before
    assert said(Index(shards)) == truth(shards)
    assert cache(tmp_path).read_bytes() == renewed


def test_a_shard_that_goes_while_the_index_is_open_answers_no_more(shards):
    write(shards / "a.ndjson", line(PATHS[0]))
    index = Index(shards)
    (shards / "a.ndjson").unlink()
    assert said(index) == truth(shards)


def test_receipts_of_any_length_and_of_paths_with_one_crc_are_told_apart(shards):
    one, other = "asf/plumless", "asf/buckeroo"
    assert indices._key("plumless") == indices._key("buckeroo")
    assert indices._key(one) == indices._key(other)
    write(shards / "a.ndjson", line(one, filler="x" * 5000), line(other, filler="y" * 1000))
    index = Index(shards)
    assert [receipt["path"] for receipt in index.find(one)] == [one]
    assert [receipt["path"] for receipt in index.find(other)] == [other]


def test_an_index_that_nobody_renewed_for_long_goes(shards, tmp_path):
    old = tmp_path / "state" / "index" / "of-another-store"
    old.parent.mkdir(parents=True)
    old.write_text("")
    os.utime(old, (0, time.time() - indices.KEEP - 60))
    young = old.with_name("young")
    young.write_text("")
    write(shards / "a.ndjson", line(PATHS[0]))
    Index(shards)
    assert not old.exists()
    assert young.exists()


@pytest.fixture
def restless():
    """Threads take turns after each few instructions."""
    interval = sys.getswitchinterval()
    if threading.gettrace() is None:  # under a tracer, threads that begin at once trip over each other
        sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_threads_that_ask_for_receipts_of_several_shards_get_their_own(shards, restless):
    for number, path in enumerate(PATHS):
        write(shards / f"{number}.ndjson", line(path, number))
    index, wrong = Index(shards), []

    def ask(number: int) -> None:
        wrong.extend(
            number
            for _ in range(300)
            if [receipt["mtime_ns"] for receipt in index.find(PATHS[number])] != [number]
        )

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(PATHS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


WRITER = """
import sys
from pathlib import Path
from skystage import index
from skystage.canon import canonical
index.RENEW = 0
shards, me = Path(sys.argv[1]), sys.argv[2]
with (shards / f"{me}.ndjson").open("a", buffering=1) as file:
    for number in range(12):
        path = f"asf/C/{me}/{number}"
        file.write(canonical({"path": path, "size": 5}) + "\\n")
        assert len(index.Index(shards).find(path)) == 1, path
"""


def test_many_processes_write_and_index_one_store_at_once(shards, tmp_path):
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(shards), str(me)], stderr=subprocess.PIPE)
        for me in range(5)
    ]
    errors = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0] * 5, errors
    index = Index(shards)
    assert index._recent == {}
    assert all(len(index.find(f"asf/C/{me}/{number}")) == 1 for me in range(5) for number in range(12))
    assert len(list((tmp_path / "state" / "index").iterdir())) == 1


names = st.sampled_from(["a", "b", "c"])
operations = st.one_of(
    st.tuples(st.just("append"), names, st.sampled_from(PATHS), st.integers(0, 9)),
    st.tuples(st.just("tear"), names, st.sampled_from(PATHS), st.integers(1, 60)),
    st.tuples(st.just("break"), names, st.sampled_from([b"\n", b"[]\n", b"{\n", b'{"path":1}\n', b"\xff\n"])),
    st.tuples(st.just("cut"), names, st.integers(0, 200)),
    st.tuples(st.just("delete"), names),
    st.tuples(st.just("compact")),
    st.tuples(st.just("touch"), names),
    st.tuples(st.just("forget")),
    st.tuples(st.just("spoil"), st.integers(0, 400), st.binary(min_size=1, max_size=8)),
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(operations, max_size=12), renew=st.sampled_from([0, 150, 100_000]))
def test_whatever_happens_to_shards_and_index_the_answers_are_those_of_the_shards(
    tmp_path_factory, monkeypatch, steps, renew
):
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("SKYSTAGE_STATE", str(home / "state"))
    monkeypatch.setattr(indices, "RENEW", renew)
    shards = home / "receipts"
    shards.mkdir()
    for step, *given_ in steps:
        shard = shards / given_[0] if given_ and isinstance(given_[0], str) else shards / "all"
        if step == "append":
            write(shard, line(*given_[1:]))
        elif step == "tear":
            write(shard, line(given_[1])[: given_[2]])
        elif step == "break":
            shard.write_bytes((shard.read_bytes() if shard.exists() else b"") + given_[1])
        elif step == "cut" and shard.exists():
            os.truncate(shard, min(given_[1], shard.stat().st_size))
        elif step == "delete":
            shard.unlink(missing_ok=True)
        elif step == "touch":
            write(shard)
            os.utime(shard)
        elif step == "compact":
            whole = b"".join(one.read_bytes() for one in sorted(shards.iterdir()))
            for one in list(shards.iterdir()):
                one.unlink()
            shard.write_bytes(whole)
        for file in (home / "state").glob("index/*"):
            if step == "forget":
                file.unlink()
            elif step == "spoil":
                content = file.read_bytes()
                file.write_bytes(content[: given_[0]] + given_[1] + content[given_[0] + len(given_[1]) :])
        assert said(Index(shards)) == truth(shards)
