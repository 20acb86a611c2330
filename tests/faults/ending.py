"""Adopt or release a plan and die: SIGKILL before or after each call that changes a file.

Run as a program: ``ending.py ACTION PLAN OLD WORK``, where OLD holds the right files of the plan and ACTION
is ``adopt``, ``copy``, ``move`` or ``release``. For each point it forks a child that dies there, looks at
what is left, lets another finish, and looks again. Every other adoption is finished by a fetch, which is to
leave OLD alone. One JSON object at the end says how many points there were, and what was wrong at any.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path

from dying import child, die_at, wrong

from skystage.adopt import adopt_folder
from skystage.batch import fetch_plan
from skystage.plan import Plan
from skystage.release import release_plan
from skystage.store import Store
from skystage.transport import Access


def act(action: str, plan: Path, old: Path, root: Path) -> None:
    if action == "release":
        release_plan(Plan(plan), Store(root))
    else:
        # One after the other, so that each run makes the same calls.
        found = adopt_folder(
            Plan(plan), old, Store(root), way="link" if action == "adopt" else action, jobs=1
        )
        assert not found.wrong, found.wrong
        assert not found.not_found, found.not_found


def fetch(plan: Path, root: Path) -> None:
    fetch_plan(Plan(plan), Store(root), Access(), jobs=1).raise_for_failures()


def prepare(action: str, plan: Path, old: Path, home: Path) -> None:
    shutil.copytree(old, home / "old")
    if action == "release":
        adopt_folder(Plan(plan), home / "old", Store(home / "store"), way="move")


def digests(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def unaccounted(plan: Path, root: Path) -> list[str]:
    """What of a release is neither staged, with its proof, nor released, with its record."""
    look, found = Store(root, read_only=True), []
    for asset in Plan(plan).assets():
        there = (root / asset.path).exists()
        if there != (look.receipt(asset) is not None) or there == (look.released(asset) is not None):
            found.append(f"unaccounted for: {asset.path}, {'there' if there else 'gone'}")
    return found


def main() -> None:
    action, plan, old, work = sys.argv[1], *map(Path, sys.argv[2:])
    points, died, problems, right = 0, 0, [], digests(old)
    for after in (False, True):
        point, code = 0, -signal.SIGKILL
        while code == -signal.SIGKILL:
            point += 1
            points += 1
            home = work / f"{point}-{after}"
            root = home / "store"
            prepare(action, plan, old, home)

            def until_death(home: Path = home, point: int = point, after: bool = after) -> None:
                die_at(point, after=after)
                act(action, plan, home / "old", home / "store")

            def until_the_end(home: Path = home, by_fetch: bool = point % 2 == 1) -> None:
                # What was moved away is no more in the folder.
                if by_fetch or action == "move":
                    fetch(plan, home / "store")
                else:
                    act(action, plan, home / "old", home / "store")

            code = child(until_death)
            died += code == -signal.SIGKILL
            found = [] if code in (0, -signal.SIGKILL) else [f"ended with {code}"]
            found += wrong(plan, root, complete=False)
            if action == "release":
                found += unaccounted(plan, root)
                if child(lambda home=home: act(action, plan, home / "old", home / "store")) != 0:
                    found.append("the second run failed")
                found += unaccounted(plan, root)
                left = [str(path) for path in root.iterdir() if path.name != ".skystage"]
                found += [f"left over: {name}" for name in left]
            else:
                lost = right.keys() - digests(home / "old").keys()
                if action != "move" and lost:
                    found.append(f"gone from the folder: {lost}")
                found += [
                    f"gone from both: {asset.path}"
                    for asset in Plan(plan).assets()
                    if asset.name in lost and not (root / asset.path).exists()
                ]
                if child(until_the_end) != 0:
                    found.append("the second run failed")
                found += wrong(plan, root, complete=True)
                look = Store(root, read_only=True)
                found += [f"no receipt: {one.path}" for one in Plan(plan).assets() if not look.receipt(one)]
                kept = digests(home / "old")
                found += [f"changed in the folder: {name}" for name in kept if kept[name] != right[name]]
            problems += [f"{'after' if after else 'before'} call {point}: {one}" for one in found]
            shutil.rmtree(home)
    print(json.dumps({"points": points, "died": died, "problems": problems}))  # noqa: T201


if __name__ == "__main__":
    os.environ.setdefault("SKYSTAGE_STATE", str(Path(sys.argv[4]) / "state"))
    main()
