"""What a map of 5,000 footprints costs: to write it, to open it, and to move it.

::

    python benchmarks/map.py [--granules 5000]

Granules like those of Sentinel-1 SLCs, in 25 stacks. Opening is measured in headless Chromium, which draws
without a graphics card: from the start of the navigation to the end of the first complete drawing. Each
figure is the median of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import browser
import scale
from skystage import plan
from skystage.maps import draw
from skystage.model import Granule, Query
from skystage.plan import Plan

STACKS = 25
GOAL = 3.0
"""Seconds, from navigation to the first complete drawing."""


def granules(count: int) -> Iterator[Granule]:
    """So many footprints of 250 by 180 km, side by side by stack, a little apart in each."""
    for number, one in enumerate(sorted(scale.granules(count), key=lambda granule: granule.id)):
        column, row = number % STACKS % 5, number % STACKS // 5
        lon, lat = -124 + 3.4 * column + number % 13 / 200, 33 + 2.1 * row + number % 7 / 200
        corners = [(0, 0), (2.6, 0.4), (2.3, 2.0), (-0.3, 1.6), (0, 0)]
        ring = [[round(lon + x, 6), round(lat + y, 6)] for x, y in corners]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        yield replace(one, geometry=geometry, stack=f"p{35 + 29 * column}_f{100 + 5 * row}")


def median(rounds: int, work: Callable[[], float]) -> float:
    """The median of what some rounds took."""
    return statistics.median(work() for _ in range(rounds))


def writing(made: Plan, path: Path) -> float:
    """Seconds to draw a plan."""
    begin = time.perf_counter()
    draw(made, path)
    return time.perf_counter() - begin


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--granules", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as room:
        path = Path(room) / "plan.ndjson"
        query = Query(archive="asf")
        made = plan.write(path, query=query, granules=granules(arguments.granules), hits=1, received=1)
        print(f"{arguments.granules:,} footprints, {STACKS} stacks")
        for suffix in (".html", ".png", ".geojson"):
            target = path.with_suffix(suffix)
            writing(made, target)
            seconds = median(arguments.rounds, lambda target=target: writing(made, target))
            print(f"  write {suffix:<9}{seconds:7.2f} s {target.stat().st_size / 1e6:7.2f} MB")
        program = browser.find()
        if program is None:
            print("  no browser here")
            return
        with browser.Browser(program, Path(room) / "profile") as chromium:

            def opening() -> float:
                with chromium.page() as page:
                    page.open(path.with_suffix(".html").as_uri())
                    page.settle()
                    return float(page.run("skystage.drawn")) / 1000

            seconds = median(arguments.rounds, opening)
            verdict = "met" if seconds < GOAL else "MISSED"
            print(f"  open          {seconds:7.2f} s   goal {GOAL:.0f} s: {verdict}")
            with chromium.page() as page:
                page.open(path.with_suffix(".html").as_uri())

                def moving() -> float:
                    page.mouse("mouseWheel", 800, 400, deltaX=0, deltaY=-20)
                    begin = time.perf_counter()
                    page.settle()
                    return time.perf_counter() - begin

                print(f"  zoom, to be seen {median(20, moving):4.2f} s")


if __name__ == "__main__":
    main()
