"""Take the files of a plan out of a staged product and die: SIGKILL before or after each call.

Run as a program: ``parting.py PLAN PRODUCT WORK``, where PRODUCT is a store that holds the product as its
zip. For each point it forks a child that dies there, looks at what is left, lets another finish, and looks
again. One JSON object at the end says how many points there were, and what was wrong at any.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import sys
from pathlib import Path

from dying import child, die_at

from skystage.batch import fetch_all
from skystage.plan import Plan
from skystage.store import Store
from skystage.transport import Access


def part(plan: Path, root: Path) -> None:
    fetch_all(Plan(plan).assets(), Store(root), Access(), jobs=1).raise_for_failures()


def wrong(plan: Path, root: Path, zips: set[str], *, complete: bool) -> list[str]:
    found, planned = [], set(zips)
    for asset in Plan(plan).assets():
        planned.add(asset.path)
        path = root / asset.path
        if not path.exists():
            found += [f"missing: {asset.path}"] if complete else []
        elif hashlib.sha3_256(path.read_bytes()).hexdigest() != asset.checksums["sha3-256"]:
            found.append(f"wrong bytes: {asset.path}")
        if complete and Store(root, read_only=True).receipt(asset) is None:
            found.append(f"no receipt: {asset.path}")
    names = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    found += [f"stray file: {name}" for name in names - planned if not name.startswith(".skystage")]
    parts = (root / ".skystage" / "parts").iterdir()
    return found + [f"left over: {path.name}" for path in parts if complete]


def main() -> None:
    plan, product, work = map(Path, sys.argv[1:])
    zips = {str(path.relative_to(product)) for path in product.rglob("*.zip")}
    points, died, problems = 0, 0, []
    for after in (False, True):
        point, code = 0, -signal.SIGKILL
        while code == -signal.SIGKILL:
            point += 1
            points += 1
            root = work / f"{point}-{after}"
            shutil.copytree(product, root)  # with its times: the receipt of the zip stays true

            def until_death(root: Path = root, point: int = point, after: bool = after) -> None:
                die_at(point, after=after)
                part(plan, root)

            code = child(until_death)
            died += code == -signal.SIGKILL
            found = [] if code in (0, -signal.SIGKILL) else [f"ended with {code}"]
            found += wrong(plan, root, zips, complete=False)
            if child(lambda root=root: part(plan, root)) != 0:
                found.append("the second run failed")
            found += wrong(plan, root, zips, complete=True)
            problems += [f"{'after' if after else 'before'} call {point}: {one}" for one in found]
            shutil.rmtree(root)
    print(json.dumps({"points": points, "died": died, "problems": problems}))  # noqa: T201


if __name__ == "__main__":
    main()
