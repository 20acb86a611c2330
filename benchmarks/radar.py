"""What 5,000 radar granules cost whoever picks stacks: filter, summary, dates that cover the area.

::

    python benchmarks/radar.py --granules 5000 --json radar.json

Granules like those of Sentinel-1 SLCs lie in the file of a search: 5 tracks of 5 frames, every 12 days.
From there a plan is made with filters on granules, passes and stacks, and the plan is reported on. The
work is done once with a few granules, so that all is imported and warm, and its CPU time is then taken.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from scale import template

GOAL = 1.0
TRACKS, FRAMES = 5, 5
AREA = [-113.0, 38.0, -111.0, 43.0]
ASKED = {"polarization": ["VV+VH"], "months": [*range(1, 13)], "min_count": 2, "latest": 1_000_000}
COVERED = {"min_coverage": 0.2, "coverage_by": "date"}


def granules(count: int) -> Iterator[Any]:
    """So many granules: date after date, on each the tracks, of each track its frames from south to north."""
    _, one = template()
    begin = datetime(2015, 1, 1, 13, tzinfo=UTC)
    for n in range(count):
        date, rest = divmod(n, TRACKS * FRAMES)
        track, frame = divmod(rest, FRAMES)
        start = begin + timedelta(days=12 * date + track, seconds=25 * frame)
        name = f"S1A_IW_SLC__1SDV_{start:%Y%m%dT%H%M%S}_{n % 7919:06d}_{n:06X}_0000"
        south, west = 36.5 + 1.5 * frame, -114.3 + 0.4 * track - 0.4 * frame
        ring = [[0, 0], [2.9, 0.4], [2.5, 2.1], [-0.4, 1.7], [0, 0]]
        # A little to the north or south from date to date, as the satellites are.
        drift = 0.05 * (date % 7)
        yield replace(
            one,
            id=name,
            native_id=f"{name}-SLC",
            start=start,
            stop=start + timedelta(seconds=27),
            stack=f"p{track + 1}_f{frame}",
            geometry={
                "type": "Polygon",
                "coordinates": [[[west + x, south + drift + y] for x, y in ring]],
            },
            properties={
                **one.properties,
                "sceneName": name,
                "fileID": f"{name}-SLC",
                "orbit": n // FRAMES,
                "pathNumber": track + 1,
                "frameNumber": frame,
            },
            assets=(replace(one.assets[0], path=f"asf/{one.collection}/{name}/{name}.zip"),),
        )


def measured(count: int, folder: Path) -> dict[str, float]:
    """CPU seconds of each step for so many granules; they are of one thread."""
    from skystage import aoi, archives, planning, report, searching
    from skystage.archives import asf
    from skystage.model import Query
    from skystage.transport import Access

    class Generated(asf.Asf):
        def search(self, query: Query, access: Access) -> archives.Search:
            del query, access
            return archives.Search(granules(count))

    archives.get = lambda name: Generated()  # noqa: ARG005
    area = aoi.parse(AREA)
    query = Query(archive="asf", area=area)
    found = searching.search(query, folder / "granules.ndjson", Access())
    made = folder / "plan.ndjson"

    def plan(**asked: Any) -> Any:
        return planning.build(replace(query, filter=asked), made, Access(), searched=found)

    steps: dict[str, Callable[[], object]] = {
        "filter by scene": lambda: plan(**ASKED),
        "filter by pass": lambda: plan(**ASKED, **COVERED),
        "stacks": lambda: report.stacks(found.granules()),
        "dates": lambda: report.coverage_by_date(
            found.granules(), area, properties=asf.Asf.properties, least=0.99
        ),
    }
    seconds = {}
    for name, work in steps.items():
        begun = time.process_time()
        work()
        seconds[name] = time.process_time() - begun
    return seconds


def main() -> None:
    """Measure, and say whether the goal is met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--granules", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3, help="the quickest of these is shown")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured(50, Path(folder))
        rounds = [measured(arguments.granules, Path(folder)) for _ in range(arguments.rounds)]
    seconds = {name: min(one[name] for one in rounds) for name in rounds[0]}
    for name, figure in seconds.items():
        print(f"{name:<16} {figure:5.2f} s")
    for way in ("filter by scene", "filter by pass"):
        total = seconds[way] + seconds["stacks"]
        print(f"{way} and stacks: {total:.2f} s {'ok' if total <= GOAL else 'MISSED'}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"granules": arguments.granules, **seconds}, indent=1))


if __name__ == "__main__":
    main()
