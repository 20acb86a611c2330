"""What 10, 1,000 and 100,000 granules cost: time for each of them, and memory.

::

    python benchmarks/scale.py --granules 10 1000 100000 --json scale.json

Granules like those of Sentinel-1 SLCs come from an archive made up in this process and go through the
real search, plan, filter, verify and manifest. The row ``asf_search`` asks the sandbox, through the real
client. Each figure is of a process of its own: it does the work once with ten granules, so that all is
imported and warm, and then counts. Memory is the peak (VmHWM) beyond what was resident before.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

MEGABYTES = 50.0
RATIO = 1.3
SMALL = 1000
"""What the time of one granule is compared with."""
CONTENT = b"staged"
STACKS = 500
ASKED = {
    "area": {
        "type": "Polygon",
        "coordinates": [[[-180, -89], [180, -89], [180, 89], [-180, 89], [-180, -89]]],
    },
    "filter": {"polarization": ["VV+VH"], "months": [*range(1, 13)], "min_count": 2, "latest": 1_000_000},
}


@cache
def template() -> tuple[dict[str, Any], Any]:
    """A CMR record of the built-in catalogue, and the granule that asf_search and we make of it."""
    from asf_search import ASFSession
    from asf_search.search.search_generator import as_ASFProduct

    from skystage.archives import asf
    from skystage.sandbox.builtin import build

    record = json.loads(build().granules[0].json)
    return record, asf.granule(as_ASFProduct(record, session=ASFSession()))


def granules(count: int) -> Iterator[Any]:
    """So many granules, in no order of their names; no two of one sensing."""
    _, one = template()
    begin = datetime(2015, 1, 1, tzinfo=UTC)
    for n in range(count):
        start = begin + timedelta(minutes=30 * n)
        name = f"S1A_IW_SLC__1SDV_{start:%Y%m%dT%H%M%S}_{n % 7919:06d}_{n:06X}_0000"
        asset = replace(
            one.assets[0],
            path=f"asf/{one.collection}/{name}/{name}.zip",
            size=len(CONTENT),
            checksums={"md5": hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()},
        )
        yield replace(
            one,
            id=name,
            native_id=f"{name}-SLC",
            start=start,
            stop=start + timedelta(seconds=27),
            stack=f"p{n % STACKS}_f122",
            properties={**one.properties, "sceneName": name, "fileID": f"{name}-SLC", "orbit": n},
            assets=(asset,),
        )


def holding(found: Iterator[Any]) -> None:
    """From now on the archive has these granules."""
    from skystage import archives
    from skystage.archives import asf
    from skystage.model import Query
    from skystage.transport import Access

    class Generated(asf.Asf):
        def search(self, query: Query, access: Access) -> archives.Search:
            del query, access
            return archives.Search(found)

    archives.get = lambda name: Generated()  # noqa: ARG005


def planned(path: Path, found: Iterator[Any], **asked: Any) -> Any:
    """A plan of these granules, made as any other."""
    from skystage import planning
    from skystage.model import Query
    from skystage.transport import Access

    holding(found)
    return planning.build(Query(archive="asf", **asked), path, Access())


# --------------------------------------------------------------------------------------------------
# What is measured: each prepares for a number of granules, and gives what is then timed


def plan(count: int, root: Path) -> Callable[[], object]:
    """Search and plan, everything kept."""
    return lambda: planned(root / "plan", granules(count))


def filtered(count: int, root: Path) -> Callable[[], object]:
    """The same with an area, filters on granules and filters on stacks."""
    return lambda: planned(root / "plan", granules(count), **ASKED)


def again(count: int, root: Path) -> Callable[[], object]:
    """A plan of what was searched before."""
    from skystage import planning, searching
    from skystage.model import Query
    from skystage.transport import Access

    holding(granules(count))
    found = searching.search(Query(archive="asf"), root / "granules", Access())
    return lambda: planning.build(Query(archive="asf"), root / "plan", Access(), searched=found)


def deduplicated(count: int, root: Path) -> Callable[[], object]:
    """The same where every granule comes in two processings, and one of them twice."""

    def found() -> Iterator[Any]:
        for number, one in enumerate(granules(count // 2)):
            yield one
            yield replace(one, id=f"{one.id[:-4]}{number % 15 + 1:04X}")

    return lambda: planned(root / "plan", found())


def staged(count: int, root: Path) -> None:
    """A plan, and a store with everything in it."""
    from skystage.model import Receipt
    from skystage.store import Store

    store = Store(root / "store")
    made = planned(root / "plan", granules(count))
    digests = {name: hashlib.new(name, CONTENT).hexdigest() for name in ("md5", "sha256")}

    def receipts() -> Iterator[Receipt]:
        for asset in made.assets():
            file = store.path(asset)
            file.parent.mkdir(parents=True)
            file.write_bytes(CONTENT)
            yield Receipt(
                path=asset.path,
                size=len(CONTENT),
                mtime_ns=file.stat().st_mtime_ns,
                digests=digests,
                verified="md5",
                source=asset.sources[0].href,
                staged=datetime.now(UTC),
            )

    store.record(receipts())


def command(*words: str) -> Callable[[int, Path], Callable[[], object]]:
    """A command of ``skystage``; ``PLAN`` and ``STORE`` stand for a plan and a store, all staged."""

    def prepare(count: int, root: Path) -> Callable[[], object]:
        from skystage import cli

        ready = root / "staged"
        if not ready.exists():
            # In a process of its own: what the making needs must not count, nor be there to be used.
            ready.mkdir()
            again = [sys.executable, __file__, "--prepare", str(ready), "--granules", str(count)]
            subprocess.run(again, check=True)  # noqa: S603
        names = {"PLAN": ready / "plan", "STORE": ready / "store", "OUT": root / "items.json"}
        arguments = [str(names.get(word, word)) for word in words]

        def run() -> None:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                if cli.run(arguments) != 0:
                    raise SystemExit(f"{arguments} failed")

        return run

    return prepare


def searched(count: int, root: Path) -> Callable[[], object]:
    """Search and plan through asf_search and the sandbox, which the environment leads to."""
    from skystage import planning, query
    from skystage.transport import Access

    # The warm run asks for a few of the same records.
    asked = {"archive": "asf", "processing_level": "SLC", "max_results": count}
    return lambda: planning.build(query.parse(asked), root / "plan", Access())


CASES: dict[str, Callable[[int, Path], Callable[[], object]]] = {
    "plan": plan,
    "filter": filtered,
    "from": again,
    "dedupe": deduplicated,
    "verify": command("verify", "PLAN", "--store", "STORE"),
    "manifest": command("manifest", "PLAN", "--store", "STORE", "-o", "OUT"),
    "summary": command("summary", "PLAN"),
    "plan-diff": command("plan-diff", "PLAN", "PLAN"),
}


# --------------------------------------------------------------------------------------------------
# Measuring


def memory(field: str) -> float:
    """Megabytes that the kernel counts for this process."""
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    return int(found[1]) / 1000 if found else 0.0


def measured(case: str, count: int, folder: Path) -> dict[str, float]:
    """Seconds, CPU seconds and megabytes of one case, in this process."""
    prepare = searched if case == "asf_search" else CASES[case]
    for number in (10, count):
        (folder / str(number)).mkdir(exist_ok=True)
    prepare(10, folder / "10")()
    work = prepare(count, folder / str(count))
    before, begun, spent = memory("VmRSS"), time.perf_counter(), time.process_time()
    work()
    return {
        "seconds": time.perf_counter() - begun,
        "cpu": time.process_time() - spent,
        "megabytes": memory("VmHWM") - before,
    }


def in_its_own_process(case: str, count: int, folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    """One case for one number of granules."""
    again = [sys.executable, __file__, "--one", case, str(folder), "--granules", str(count)]
    ended = subprocess.run(again, check=True, capture_output=True, text=True, env=environment)  # noqa: S603
    found = json.loads(ended.stdout)
    return {"case": case, "granules": count, **found, "microseconds": 1e6 * found["cpu"] / count}


def catalogue(count: int, folder: Path) -> Path:
    """A folder of CMR pages for the sandbox."""
    (folder / "cmr").mkdir(parents=True)
    record, one = template()
    text = json.dumps(record).replace(one.id, "NAME").replace(record["meta"]["concept-id"], "NUMBER")
    text = text.replace("https://datapool.asf.alaska.edu/", "https://d.asf.alaska.edu/")  # needs no stand-in
    begins = record["umm"]["TemporalExtent"]["RangeDateTime"]["BeginningDateTime"]
    items = [
        text.replace("NAME", found.id)
        .replace("NUMBER", f"G{number + 1}-ASF")
        .replace(begins, f"{found.start:%Y-%m-%dT%H:%M:%S.000Z}")
        for number, found in enumerate(granules(count))
    ]
    (folder / "cmr" / "page.umm.json").write_text(f'{{"items": [{",".join(items)}]}}')
    return folder


def main() -> None:
    """Measure, print a table, and say which goals are met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--granules", type=int, nargs="+", default=[10, SMALL, 100_000])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--search", type=int, default=10_000, help="records in the sandbox; 0: none")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.prepare:
        staged(arguments.granules[0], arguments.prepare)
        return
    if arguments.one:
        case, folder = arguments.one
        print(json.dumps(measured(case, arguments.granules[0], Path(folder))))
        return
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for case in arguments.cases:
            for count in arguments.granules:
                rows.append(show(in_its_own_process(case, count, Path(folder), dict(os.environ)), rows))
    if arguments.search:
        from skystage.sandbox import Sandbox

        with tempfile.TemporaryDirectory() as held, Sandbox(catalogue(arguments.search, Path(held))) as box:
            for count in sorted({min(SMALL, arguments.search), arguments.search}):
                with tempfile.TemporaryDirectory() as folder:
                    row = in_its_own_process("asf_search", count, Path(folder), box.environment())
                rows.append(show(row, rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


def show(row: dict[str, Any], before: list[dict[str, Any]]) -> dict[str, Any]:
    """Print a row, and how it stands to the same case with 1,000 granules."""
    small = [one for one in before if one["case"] == row["case"] and one["granules"] == SMALL]
    row["ratio"] = row["microseconds"] / small[0]["microseconds"] if small else None
    met = row["megabytes"] <= MEGABYTES and (row["ratio"] or 0) <= RATIO
    if not before:
        print(
            f"{'case':<11} {'granules':>8} {'seconds':>8} {'us CPU each':>11} {'MB more':>8} {'to 1,000':>8}"
        )
    ratio = f"{row['ratio']:8.2f}" if small else f"{'':8}"
    print(
        f"{row['case']:<11} {row['granules']:>8,} {row['seconds']:>8.2f} {row['microseconds']:>11.1f} "
        f"{row['megabytes']:>8.1f} {ratio} {'ok' if met else 'MISSED'}",
        flush=True,
    )
    return row


if __name__ == "__main__":
    main()
