"""What a second run costs when everything is staged: seconds, CPU and requests, beside a bare interpreter.

::

    python benchmarks/rerun.py --assets 1000 10000

Makes a plan and a store with that many small files and their receipts, then runs ``skystage fetch``
and ``skystage verify`` over them, in turn with ``python -c pass``. Prints medians.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from skystage import plan
from skystage.model import Asset, Granule, Query, Receipt, Source
from skystage.store import Store

RUNS = 5
CONTENT = b"staged"


def staged(root: Path, count: int) -> tuple[Path, Path]:
    """A plan of `count` granules, and a store in which all are staged."""
    sums = {"md5": hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}
    digests = {**sums, "sha256": hashlib.sha256(CONTENT).hexdigest()}
    store, granules = Store(root / "store"), []
    receipts = []
    for number in range(count):
        name = f"S1A_IW_SLC__1SDV_{number:06}"
        path = f"asf/SENTINEL-1A_SLC/{name}/{name}.zip"
        source = Source(href=f"https://datapool.asf.alaska.edu/SLC/SA/{name}.zip", auth="earthdata")
        asset = Asset(key="data", path=path, size=len(CONTENT), checksums=sums, sources=(source,))
        granules.append(
            Granule(archive="asf", collection="SENTINEL-1A_SLC", id=name, native_id=name, assets=(asset,))
        )
        file = store.path(asset)
        file.parent.mkdir(parents=True)
        file.write_bytes(CONTENT)
        receipts.append(
            Receipt(
                path=path,
                size=len(CONTENT),
                mtime_ns=file.stat().st_mtime_ns,
                digests=digests,
                verified="md5",
                source=source.href,
                staged=datetime.now(UTC),
            )
        )
    store.record(receipts)
    made = plan.write(
        root / "plan.ndjson", query=Query(archive="asf"), granules=granules, hits=count, received=count
    )
    return made.path, store.root


def measured(command: list[str]) -> tuple[float, float, str]:
    """Wall seconds, CPU seconds and standard output of a command."""
    begun, before = time.perf_counter(), os.times()
    ended = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - begun, cpu, ended.stdout


def main() -> None:
    """Measure, and print one line for each command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--assets", type=int, nargs="+", default=[1000])
    python = [sys.executable]
    for count in parser.parse_args().assets:
        with tempfile.TemporaryDirectory() as root:
            made, store = staged(Path(root), count)
            over = [str(made), "--store", str(store), "--json"]
            commands = {
                "bare interpreter": [*python, "-c", "pass"],
                "skystage fetch": [*python, "-m", "skystage.cli", "fetch", *over],
                "skystage verify": [*python, "-m", "skystage.cli", "verify", *over],
            }
            runs: dict[str, list[tuple[float, float, str]]] = {name: [] for name in commands}
            for _ in range(RUNS):
                for name, command in commands.items():
                    runs[name].append(measured(command))
        bare = statistics.median(cpu for _, cpu, _ in runs["bare interpreter"])
        fetched = json.loads(runs["skystage fetch"][-1][2])
        print(f"{count:,} assets: {fetched['already']:,} already staged, {fetched['requests']} requests")
        for name, results in runs.items():
            wall = statistics.median(seconds for seconds, _, _ in results)
            cpu = statistics.median(spent for _, spent, _ in results)
            print(f"  {name:<17} {wall:7.3f} s wall  {cpu:7.3f} s CPU  {cpu / bare:6.1f} x bare")


if __name__ == "__main__":
    main()
