"""Fetch a plan and die: SIGKILL before or after each call that changes a file, one after the other.

Run as a program: ``dying.py PLAN WORK [CONNECTIONS STEP]``. For each point it forks a child that dies
there, looks at what is left, lets a second child finish, and looks again. One JSON object at the end
says how many points there were, and what was wrong at any of them.

With ``CONNECTIONS``, that many bring each file in small pieces; which call is which then differs from
run to run, and every ``STEP``-th is enough.

The calls are those of the operating system, wrapped from outside: the code that is tested does not
know of this.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from skystage import arrival, batch, crew, pieces, transport
from skystage import store as stores
from skystage.batch import fetch_all
from skystage.plan import Plan
from skystage.store import Store
from skystage.transport import Access

CALLS = ("open", "write", "pwrite", "ftruncate", "fsync", "replace", "unlink", "mkdir", "rmdir", "link")


def share() -> None:
    """Make it worth while to share files of some 100 kB."""
    transport.BLOCK = 4096
    pieces.LEAST = 2 * transport.BLOCK
    arrival.FIRST_LOOK = arrival.WORTH_HELP = arrival.LEAST = 0.0
    batch.WORTH_HELP = 0
    crew.LOOK = 0.001


def fetch(plan: Path, work: Path, jobs: int) -> None:
    assets = list(Plan(plan).assets())
    outcome = fetch_all(assets, Store(work / "store"), Access(), jobs=jobs)
    outcome.raise_for_failures()
    for asset in assets:
        Store(work / "store").link(asset, work / "into")


def die_at(point: int, *, after: bool) -> None:
    """Arm this process: the `point`-th call from now on kills it."""
    calls = count(1)

    def armed(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            mine = next(calls) == point  # of several threads, one
            if mine and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return real(*arguments, **options)
            finally:  # also after a call that fails, as the first mkdir of a path does
                if mine and after:
                    os.kill(os.getpid(), signal.SIGKILL)

        return call

    for name in CALLS:
        setattr(os, name, armed(getattr(os, name)))
    stores._syncfs = armed(stores._syncfs)


def child(action: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            action()
        except BaseException as error:  # noqa: BLE001
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def wrong(plan: Path, root: Path, *, complete: bool) -> list[str]:
    """What is not right below `root`, which holds files by their path in the plan."""
    found = []
    for asset in Plan(plan).assets():
        path = root / asset.path
        if not path.exists():
            if complete:
                found.append(f"missing: {asset.path}")
        elif hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != asset.checksums["md5"]:
            found.append(f"wrong bytes: {asset.path}")
    planned = {asset.path for asset in Plan(plan).assets()}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        ours = name.startswith(".skystage") or (path.name.startswith(".") and path.suffix == ".part")
        if path.is_file() and not ours and name not in planned:
            found.append(f"stray file: {name}")
    parts = root / ".skystage" / "parts"
    if complete and parts.is_dir():
        found += [f"left over: {path.name}" for path in parts.iterdir()]
    return found


def main() -> None:
    plan, work = Path(sys.argv[1]), Path(sys.argv[2])
    jobs, step = map(int, sys.argv[3:5]) if sys.argv[3:] else (2, 1)
    if sys.argv[3:]:
        share()
    points, problems, died, parted = 0, [], 0, 0
    for after in (False, True):
        point = 0
        while True:
            point += step
            points += 1
            home = work / f"{point}-{after}"

            def until_death(home: Path = home, point: int = point, after: bool = after) -> None:
                die_at(point, after=after)
                fetch(plan, home, jobs)

            code = child(until_death)
            where = f"{'after' if after else 'before'} call {point}"
            died += code == -signal.SIGKILL
            if code not in (0, -signal.SIGKILL):
                problems.append(f"{where}: ended with {code}")
            parted += bool(list(home.rglob("*.map")))
            problems += [f"{where}: {one}" for one in wrong(plan, home / "store", complete=False)]
            problems += [f"{where}: into: {one}" for one in wrong(plan, home / "into", complete=False)]
            if child(lambda home=home: fetch(plan, home, jobs)) != 0:
                problems.append(f"{where}: the second run failed")
            problems += [f"{where}: afterwards: {one}" for one in wrong(plan, home / "store", complete=True)]
            problems += [f"{where}: afterwards: {one}" for one in wrong(plan, home / "into", complete=True)]
            receipts = Store(home / "store")
            unproved = [a.path for a in Plan(plan).assets() if receipts.receipt(a) is None]
            problems += [f"{where}: afterwards no receipt: {path}" for path in unproved]
            shutil.rmtree(home)
            if code == 0:
                break
    print(json.dumps({"points": points, "died": died, "parted": parted, "problems": problems}))  # noqa: T201


if __name__ == "__main__":
    main()
