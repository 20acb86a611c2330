"""Whatever the server does, and whenever we are killed: the file is one that was served, or an error tells.

The world is a server on loopback whose answers are drawn by hypothesis, one after the other. The code
is the real one; only its sizes and pauses are small, so that a file of 200 kB is shared by four threads.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import re
import socketserver
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skystage import arrival, batch, crew, errors, events, fetch, parts, pieces, retry, transport
from skystage.batch import fetch_all
from skystage.limits import Limits
from skystage.model import Asset, Receipt, Source
from skystage.store import Store
from skystage.transport import Access

EXAMPLES = int(os.environ.get("SKYSTAGE_EXAMPLES", "0"))
"""More than the tests ask for, and other ones each time: for the hunt."""
BLOCK = 4096
PACE = 0.0003
"""Seconds a block takes on its way: time enough for others to help."""
MOST_REQUESTS = 200
"""More than any call should need: five tries a source, pieces of two blocks, helpers that give up."""
TMPFS = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108


def examples(number: int) -> settings:
    return settings(
        max_examples=EXAMPLES or number,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in (
            (transport, "BLOCK", BLOCK),
            (parts, "BLOCK", BLOCK),
            (transport, "BACK_OFF", 0.001),
            (pieces, "LEAST", 2 * BLOCK),
            (arrival, "FIRST_LOOK", 0.0005),
            (arrival, "WORTH_HELP", 0.0),
            (arrival, "LEAST", 0.0),
            (batch, "WORTH_HELP", 0),
            (crew, "LOOK", 0.001),
            (fetch, "WAIT", 0.01),
            (retry, "FIRST", 0.001),
        ):
            patch.setattr(module, name, value)
        patch.setattr(random, "uniform", lambda least, _most: least)
        patch.setenv("no_proxy", "127.0.0.1")
        yield


# --------------------------------------------------------------------------------------------------
# The world


class World:
    """One address, and how it answers: by the script, then (or for ever) as it should."""

    def __init__(self, versions: list[bytes], manner: dict, script: list[dict], *, endless: bool) -> None:
        self.versions = versions
        self.manner = manner
        self.script = script
        self.endless = endless
        self.latest = 0
        self.planned: int | None = None
        """The length that the plan says."""
        self.whole = set(versions)
        """All that was ever sent as the whole file."""
        self.requests = 0
        self.sent = 0
        self.cuts = 0
        self._mutex = threading.Lock()

    def __repr__(self) -> str:
        lengths = [len(version) for version in self.versions]
        return f"World({lengths}, {self.manner}, {self.script}, endless={self.endless})"

    def behave(self, latest: int) -> None:
        """From now on: no faults, and that version."""
        self.script, self.endless, self.manner, self.latest = [], False, {}, latest
        self.requests = 0

    def _next(self) -> dict:
        with self._mutex:
            number, self.requests = self.requests, self.requests + 1
            if self.script and (self.endless or number < len(self.script)):
                return {"version": self.latest, **self.manner, **self.script[number % len(self.script)]}
            return {"version": self.latest, **self.manner}

    def answer(self, path: str, asked: dict[str, str], send) -> bool:
        """Answer one request; say whether the connection lives on."""
        how = self._next()
        number = how["version"] % len(self.versions)
        content = self.versions[number]
        if how.get("dead"):
            return False
        if status := how.get("status"):
            send(f"HTTP/1.1 {status} No\r\nRetry-After: 0\r\nContent-Length: 4\r\n\r\nno!\n".encode())
            return True
        if how.get("redirect") and not path.endswith("/there"):
            send(f"HTTP/1.1 302 Found\r\nLocation: {path}/there\r\nContent-Length: 0\r\n\r\n".encode())
            return True
        head: list[tuple[str, object]] = []
        etag, date = f'"v{number}"', f"Mon, 01 Jan 2018 00:00:0{number} GMT"
        kind = how.get("validator", "strong")
        if kind in ("strong", "weak"):
            head.append(("ETag", etag if kind == "strong" else f"W/{etag}"))
        if kind != "none":
            head.append(("Last-Modified", date))
        head.append(("Accept-Ranges", "none" if how.get("no_ranges") else "bytes"))
        if how.get("html"):
            head.append(("Content-Type", "text/html"))
        first, last = 0, len(content) - 1
        span = None
        condition = asked.get("if-range")
        if condition in (None, etag, date) or how.get("ignore_if_range"):
            span = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.get("range", ""))
        if how.get("unasked"):
            span = span or re.fullmatch(r"(\d+)-(\d+)", f"10-{len(content) - 1}")
        if span is None or how.get("ignore_range") or how.get("html"):
            body = b"<html>log in" if how.get("html") else content
            status, whole = 200, True
        else:
            if not span[1]:
                first = max(0, len(content) - int(span[2]))
            else:
                first = int(span[1])
                last = min(last, int(span[2] or last))
            if first > last or how.get("refuse_range"):
                total = f"Content-Range: bytes */{len(content)}"
                send(f"HTTP/1.1 416 No\r\n{total}\r\nContent-Length: 0\r\n\r\n".encode())
                return True
            fault = how.get("range")
            if fault == "shift":
                first = min(first + 1, last)
            if fault == "short":
                last = (first + last) // 2
            total = len(content) + (fault == "total")
            if fault != "bare":
                head.append(("Content-Range", f"bytes {first}-{last}/{total}"))
            body = content[first : last + 1]
            if fault == "lie":
                body = bytes(byte ^ 1 for byte in body)
            status, whole = 206, False
        wire = body + b"x" * (how.get("extra", 0) + (0 if whole else how.get("surplus", 0)))
        framing = how.get("framing", "length")
        length = len(body)
        if framing == "length":
            length = max(0, length + how.get("lie", 0))
            head.append(("Content-Length", length))
        elif framing == "chunked":
            head.append(("Transfer-Encoding", "chunked"))
        else:
            head.append(("Connection", "close"))
        if whole and not how.get("html"):
            self.whole.add(wire[:length] if framing == "length" else wire)
        stop = None if "cut" not in how else len(wire) * how["cut"] // 1000
        if whole and framing == "close" and stop == self.planned:
            self.whole.add(wire[:stop])  # nobody could know
        lines = "".join(f"{name}: {value}\r\n" for name, value in head)
        send(f"HTTP/1.1 {status} So\r\n{lines}\r\n".encode())
        self.cuts += stop is not None
        for at in range(0, len(wire) if stop is None else stop, BLOCK):
            block = wire[at : min(at + BLOCK, len(wire) if stop is None else stop)]
            send(b"%x\r\n%s\r\n" % (len(block), block) if framing == "chunked" else block)
            self.sent += len(block)
            time.sleep(PACE)
        if framing == "chunked" and stop is None:
            send(b"0\r\n\r\n")
        return framing != "close" and stop is None and length == len(wire)


class Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self) -> None:
        with suppress(OSError):
            while line := self.rfile.readline():
                path = line.split()[1].decode()
                asked = {}
                while line := self.rfile.readline().strip().decode():
                    name, _, value = line.partition(":")
                    asked[name.lower()] = value.strip()
                world = self.server.worlds[path.split("/")[1]]
                if not world.answer(path, asked, self.request.sendall):
                    break


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.worlds: dict[str, World] = {}
        self._numbers = count()

    def add(self, world: World) -> str:
        name = str(next(self._numbers))
        self.worlds[name] = world
        return f"http://127.0.0.1:{self.server_address[1]}/{name}/f.bin"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


NOISE = random.Random(7).randbytes(600_000)  # noqa: S311
FLAGS = ("dead", "ignore_range", "unasked", "html", "redirect", "refuse_range")
MANNERS = (
    {},
    {},
    {},
    {},
    {"ignore_range": True},
    {"no_ranges": True},
    *({"validator": kind} for kind in ("weak", "date", "none")),
    *({"framing": kind} for kind in ("chunked", "close")),
)
faults = st.one_of(
    *[st.tuples(st.just("range"), st.sampled_from(["shift", "short", "total", "bare", "lie"]))] * 2,
    st.tuples(st.sampled_from(FLAGS), st.just(True)),
    st.tuples(st.just("status"), st.sampled_from([403, 404, 429, 500, 503])),
    st.tuples(st.just("validator"), st.sampled_from(["weak", "date", "none", "strong"])),
    st.tuples(st.just("framing"), st.sampled_from(["chunked", "close"])),
    st.tuples(st.just("lie"), st.sampled_from([-7, 7])),
    st.tuples(st.sampled_from(["extra", "surplus"]), st.sampled_from([1, 3 * BLOCK])),
)
often = st.booleans()


@st.composite
def steps(draw) -> dict:
    """One answer: often cut, often of another version, and now and then wrong."""
    step = {}
    if draw(often):
        step["cut"] = draw(st.integers(0, 1000))
    if draw(often):
        step |= {"version": draw(st.integers(0, 2)), "ignore_if_range": draw(often)}
    if draw(often) and draw(often):
        step |= [draw(faults)]
    return step


scripts = st.lists(steps(), max_size=8)
manners = st.sampled_from(MANNERS).map(dict)


@st.composite
def contents(draw) -> list[bytes]:
    """One to three versions: of equal or other lengths, begun alike or not."""
    length = draw(st.integers(0, 3).map([2, BLOCK + 1, 60_000, 200_000].__getitem__))
    made = []
    for number in range(draw(st.sampled_from([2, 3, 1]))):
        start = draw(st.sampled_from([number * 100_000] * 8 + [0]))
        end = draw(st.sampled_from([length] * 8 + [length + 1, length // 2]))
        made.append(NOISE[start : start + end])
    return made


@st.composite
def worlds(draw) -> World:
    return World(draw(contents()), draw(manners), draw(scripts), endless=draw(often))


class Killed(BaseException):
    """What ends a run: nothing but a few finally clauses hears of it, and the next run knows nothing."""


def run(
    asset: Asset, home: Path, jobs: int, kill: int | None = None
) -> Receipt | errors.SkystageError | None:
    """Fetch with nothing but what lies on disk; None if it was killed."""
    left = [kill]

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Progressed) and left[0] is not None:
            left[0] -= 1
            if left[0] < 0:
                raise Killed

    store = Store(home / "store")
    access = Access(limits=Limits({}, home / "state"))
    try:
        outcome = fetch_all([asset], store, access, jobs=jobs, listen=listen)
    except Killed:
        return None
    finally:
        access.close()
    if outcome.receipts:
        (receipt,) = outcome.receipts
        return receipt
    (error,) = outcome.failures.values()
    return error


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def planned(href: str, content: bytes, proof: str, member: str | None = None) -> Asset:
    return Asset(
        key="data",
        path="a/C/g/f.bin",
        size=len(content) if "size" in proof else None,
        checksums={"md5": md5(content)} if "md5" in proof else {},
        sources=(Source(href=href, member=member),),
    )


def check(asset: Asset, home: Path, result: object, served: set[bytes]) -> None:
    """What must hold after any run."""
    store = Store(home / "store")
    path = store.path(asset)
    if isinstance(result, Receipt):
        content = path.read_bytes()
        assert content in served
        assert result.size == len(content)
        assert asset.size in (None, len(content))
        assert result.digests["sha256"] == hashlib.sha256(content).hexdigest()
        assert asset.checksums.get("md5") in (None, md5(content))
        assert (result.verified == "md5") == bool(asset.checksums)
        assert store.receipt(asset) == result
        assert not list((home / "store" / ".skystage" / "parts").iterdir())
    elif isinstance(result, errors.SkystageError):
        assert result.hint != "please report this", result
        assert not path.exists()
    elif path.exists():  # killed
        assert path.read_bytes() in served


@examples(300)
@given(
    world=worlds(),
    target=st.integers(0, 2),
    proof=st.sampled_from(["md5", "md5 and size", "size", "none"]),
    jobs=st.integers(1, 4),
    kills=st.lists(st.integers(0, 60), max_size=2),
)
def test_a_file_is_one_that_was_served_or_an_error_says_why(server, world, target, proof, jobs, kills):
    content = world.versions[target % len(world.versions)]
    if "md5" not in proof:
        # Other bytes under the same validator: only a checksum can know.
        for how in [world.manner, *world.script]:
            if how.get("range") == "lie":
                del how["range"]
    asset = planned(server.add(world), content, proof)
    world.planned = asset.size
    with TemporaryDirectory(dir=TMPFS) as directory:
        home = Path(directory)
        for kill in [*kills, None]:
            asked = world.requests
            result = run(asset, home, jobs, kill)
            check(asset, home, result, world.whole)
            assert world.requests - asked < MOST_REQUESTS
        if isinstance(result, errors.SkystageError):
            world.behave(target)
            result = run(asset, home, jobs)
            assert isinstance(result, Receipt), result
            check(asset, home, result, world.whole)


def zipped(members: dict[str, bytes], method: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content, method)
    return out.getvalue()


@examples(150)
@given(
    contents=contents(),
    method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    manner=manners,
    script=scripts,
    endless=often,
    target=st.integers(0, 2),
    proof=st.sampled_from(["md5", "size", "none"]),
    jobs=st.integers(1, 4),
    kills=st.lists(st.integers(0, 60), max_size=2),
)
def test_a_member_is_one_that_was_served_or_an_error_says_why(
    server, contents, method, manner, script, endless, target, proof, jobs, kills
):
    zips = [zipped({"a": NOISE[:999], "m": one, "z": NOISE[-70_000:]}, method) for one in contents]
    world = World(zips, manner, script, endless=endless)
    asset = planned(server.add(world), contents[target % len(contents)], proof, "m")
    with TemporaryDirectory(dir=TMPFS) as directory:
        home = Path(directory)
        for kill in [*kills, None]:
            asked = world.requests
            result = run(asset, home, jobs, kill)
            check(asset, home, result, set(contents))
            assert world.requests - asked < MOST_REQUESTS
        if isinstance(result, errors.SkystageError):
            world.behave(target)
            result = run(asset, home, jobs)
            assert isinstance(result, Receipt), result
            check(asset, home, result, set(contents))


@examples(40)
@given(
    cuts=st.lists(st.integers(0, 999), max_size=4),
    kills=st.lists(st.integers(0, 49), max_size=3),
    jobs=st.integers(1, 4),
    proof=st.sampled_from(["md5", "none"]),
)
def test_cuts_and_kills_cost_less_than_a_block_each(server, cuts, kills, jobs, proof):
    world = World([NOISE[:200_000]], {}, [{"cut": cut} for cut in cuts], endless=False)
    asset = planned(server.add(world), world.versions[0], proof)
    with TemporaryDirectory(dir=TMPFS) as directory:
        home = Path(directory)
        results = [run(asset, home, jobs, kill) for kill in [*kills, None]]
        assert isinstance(results[-1], Receipt), results[-1]
        check(asset, home, results[-1], world.whole)
        assert results[-1].resumed_from + results[-1].bytes_moved == 200_000
        if jobs == 1 and not kills:
            assert world.sent <= 200_000 + world.cuts * BLOCK


@pytest.mark.parametrize(
    ("script", "proof", "jobs"),
    [
        pytest.param(
            [{"framing": "chunked", "cut": 300}, {"framing": "close", "cut": 500}],
            "none",
            1,
            id="a rest without length that is cut, of a file of unknown length",
        ),
        pytest.param(
            [{"validator": "none", "cut": 300}, {"version": 1}],
            "none",
            1,
            id="a rest that has a validator, behind a beginning that had none",
        ),
        pytest.param(
            [{}, *[{"framing": "chunked", "surplus": 1}] * 20],
            "md5",
            4,
            id="pieces with a byte too many",
        ),
        pytest.param(
            [{"version": 2, "framing": "chunked", "cut": 500}],
            "size",
            1,
            id="a body that is cut where the plan says that it ends",
        ),
        pytest.param([{"cut": 300}, *[{"range": "shift"}] * 9], "md5", 4, id="wrong pieces"),
        pytest.param([{"cut": 300}, {"range": "shift"}], "none", 1, id="a wrong rest"),
        pytest.param(
            [{"cut": 300}, {"version": 1, "ignore_if_range": True}],
            "none",
            1,
            id="a rest of another version, although it was asked for by If-Range",
        ),
        pytest.param(
            [{"cut": 300, "validator": "weak"}, {"version": 1, "validator": "weak"}],
            "size",
            1,
            id="a rest of another version under weak validators",
        ),
    ],
)
def test_two_versions_are_never_one_file(server, tmp_path, script, proof, jobs):
    versions = [NOISE[:200_000], NOISE[200_000:400_000], NOISE[100_000:500_000]]
    world = World(versions, {}, script, endless=False)
    asset = planned(server.add(world), world.versions[0], proof)
    result = run(asset, tmp_path, jobs)
    assert isinstance(result, Receipt), result
    check(asset, tmp_path, result, set(world.versions))


def test_bytes_of_no_use_do_not_count_as_progress_that_was_made(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "WORTH", 2 * BLOCK)
    world = World([NOISE[:200_000]], {"validator": "none"}, [], endless=False)
    asset = planned(server.add(world), world.versions[0], "none")
    assert run(asset, tmp_path, 1, 40) is None
    # Begun anew, for want of a validator; and no connection brings as much as that any more.
    world.manner, world.script, world.requests = {}, [{"cut": cut} for cut in [100] * 9], 0
    result = run(asset, tmp_path, 1)
    assert isinstance(result, Receipt), result
    check(asset, tmp_path, result, world.whole)


def test_a_helper_that_dies_of_anything_costs_nothing(server, tmp_path):
    world = World([NOISE[:200_000]], {}, [], endless=False)
    asset = planned(server.add(world), world.versions[0], "md5")
    owner, died = [], []

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Started):
            owner.append(threading.get_ident())
        elif isinstance(event, events.Progressed) and threading.get_ident() not in owner:
            died.append(event)
            raise RuntimeError("a listener that is broken in one thread")

    access = Access(limits=Limits({}, tmp_path / "state"))
    outcome = fetch_all([asset], Store(tmp_path / "store"), access, jobs=4, listen=listen)
    assert died
    check(asset, tmp_path, outcome.receipts[0], world.whole)
