"""Many threads, small pieces, bodies that break anywhere: every byte once, every digest right.

The bytes come from memory, so that a thousand pieces take a second; files, map and digests are real.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import threading
from pathlib import Path

import pytest

from skystage import arrival, pieces
from skystage.arrival import Arrival, Superseded
from skystage.crew import Crew
from skystage.model import Asset
from skystage.parts import PartFile
from skystage.resume import Part
from skystage.verify import Digester

SIZE = 2_000_000
BYTES = random.Random(11).randbytes(SIZE)  # noqa: S311
MD5 = hashlib.md5(BYTES, usedforsecurity=False).hexdigest()
ASSET = Asset(key="data", path="a/C/g/f.bin", size=SIZE, checksums={"md5": MD5})
BLOCK = 512


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(pieces, "LEAST", 2 * BLOCK)
    for name in ("FIRST_LOOK", "WORTH_HELP", "LEAST"):
        monkeypatch.setattr(arrival, name, 0.0)
    before = sys.getswitchinterval()
    if threading.gettrace() is None:  # under a tracer, threads that begin at once trip over each other
        sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def begun(directory: Path) -> Arrival:
    version = Part(validator='"v"', origin="https://h", total=SIZE)
    return Arrival.anew(PartFile(directory, ASSET), version, SIZE, Digester(ASSET.checksums))


def bring(coming: Arrival, piece: pieces.Piece, chance: random.Random) -> None:
    """As a connection does it: all that was asked for, in blocks of any size; or it breaks."""
    assert piece.asked is not None
    breaks = chance.choice([SIZE, SIZE, chance.randrange(60_000)])
    asked = memoryview(BYTES)[piece.at : piece.asked]
    try:
        while asked and breaks > 0:
            block = asked[: chance.randint(1, BLOCK)]
            taken = coming.accept(piece, block.tobytes())
            if piece.parted:
                return
            assert taken == len(block)
            asked, breaks = asked[taken:], breaks - taken
    finally:
        coming.release(piece)


def own(coming: Arrival, chance: random.Random) -> None:
    while not coming.complete:
        if (piece := coming.claim()) is None:
            coming.wait(0.05)
        else:
            bring(coming, piece, chance)


def assist(coming: Arrival, chance: random.Random) -> bool:
    if not coming.wants_help() or (piece := coming.claim_to_help(6)) is None:
        return False
    try:
        bring(coming, piece, chance)
    except Superseded:
        return False
    if chance.random() < 0.05:
        coming.trouble()
    return True


def look(directory: Path) -> None:
    """What a kill at this moment would leave: all that the note and the map promise must be there."""
    file = PartFile(directory, ASSET)
    part = file.read()  # first what is promised, then what is there
    content = file.path.read_bytes()
    for start, stop in [(0, part.size), *part.later]:
        assert content[start:stop] == BYTES[start:stop]


@pytest.mark.parametrize("seed", range(int(os.environ.get("SKYSTAGE_EXAMPLES", "12"))))
def test_every_byte_comes_once_whoever_breaks_off_when(tmp_path, seed):
    chance = random.Random(seed)  # noqa: S311
    coming = begun(tmp_path)
    crew = Crew(6)
    broken = []

    def help_all() -> None:
        try:
            crew._help()
        except BaseException as error:  # noqa: BLE001
            broken.append(error)

    helpers = [threading.Thread(target=help_all) for _ in range(5)]
    owner = threading.Thread(target=own, args=(coming, random.Random(seed)))  # noqa: S311
    each = threading.local()

    def help_once() -> bool:
        if not hasattr(each, "chance"):
            each.chance = random.Random(chance.random())  # noqa: S311
        return assist(coming, each.chance)

    with crew.offering(help_once):
        for thread in [owner, *helpers]:
            thread.start()
        while owner.is_alive():
            look(tmp_path)
    crew.over.set()
    for thread in helpers:
        thread.join(10)
        assert not thread.is_alive()
    assert broken == []
    look(tmp_path)
    assert coming.held == coming.moved == SIZE
    assert coming.digests() == {"md5": MD5, "sha256": hashlib.sha256(BYTES).hexdigest()}
    assert PartFile(tmp_path, ASSET).path.read_bytes() == BYTES
    coming.close()


@pytest.mark.parametrize("seed", range(int(os.environ.get("SKYSTAGE_EXAMPLES", "6"))))
def test_what_was_broken_off_is_continued_and_no_file_stays_open(tmp_path, seed):
    chance = random.Random(seed)  # noqa: S311
    before = len(os.listdir("/proc/self/fd"))
    file = PartFile(tmp_path, ASSET)
    coming = begun(tmp_path)
    held = 0
    while not coming.complete:
        over = threading.Event()
        seeds = [random.Random(chance.random()) for _ in range(4)]  # noqa: S311
        threads = [threading.Thread(target=several, args=(coming, one, over)) for one in seeds]
        for thread in threads:
            thread.start()
        if chance.random() < 0.8:
            # Closed in the midst of it, by another thread: as one that has failed elsewhere.
            while coming.moved < SIZE // 7 and not coming.complete:
                threads[0].join(0.0005)
            over.set()
            coming.close()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
        coming.close()
        part = file.read()
        assert part.held == coming.held > held
        held = part.held
        coming = Arrival(file, part, SIZE, Digester(ASSET.checksums))
    assert coming.digests()["md5"] == MD5
    coming.close()
    assert file.path.read_bytes() == BYTES
    assert len(os.listdir("/proc/self/fd")) <= before


def several(coming: Arrival, chance: random.Random, over: threading.Event) -> None:
    """One of several who bring what is missing, until it is there or nobody wants it."""
    try:
        while not (coming.complete or over.is_set()):
            piece = coming.claim_to_help(4)
            if piece is None:
                coming.wait(0.01)
            else:
                bring(coming, piece, chance)
    except Superseded:
        return
