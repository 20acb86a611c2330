"""What the flows in ``flows/`` share: what they fetch, how they wait, and how they run as scripts."""

from __future__ import annotations

import argparse
import inspect
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from prefect.futures import PrefectFuture, as_completed

from skystage import query as queries
from skystage.errors import FetchFailed, SkystageError
from skystage.model import Json
from skystage.plan import Plan
from skystage.prefect.tasks import (
    count_batches,
    fetch_batch,
    fetch_dem,
    fetch_orbits,
    fetch_slc,
    filter_granules,
    search,
    shared_keys,
)

if TYPE_CHECKING:
    from prefect import Task
    from prefect.flows import Flow

WINDOW = 4
"""Tasks under way at once; the hosts' limits hold beside it."""

GRACE = 5.0
"""Seconds that Prefect has to say that a run was interrupted."""


def planned(query: dict[str, Json] | None, results: Path, *, plan: str, allow_empty: bool) -> Path:
    """The plan that was made before, or one that is made of a query now.

    Raises
    ------
    SkystageError
        If there is neither, or nothing is kept.
    """
    if plan:
        return Path(plan)
    if not query:
        raise SkystageError("neither query nor plan is given")
    searched = search(query, results / "granules.ndjson")
    return filter_granules(query, searched, results / "plan.ndjson", allow_empty=allow_empty)


def check_bands(bands: dict[str, Json], query: dict[str, Json] | None, *, plan: str) -> None:
    """Look at what is to be made of bands, before anything is asked or fetched.

    Without query and plan there is nothing to look at: `planned` refuses that.

    Raises
    ------
    QueryError
        If it cannot be.
    """
    from skystage.derive.wanted import read

    if plan or query:
        read(bands, Plan(plan).query if plan else queries.parse(query or {}).to_json())


def check_lightcurves(lightcurves: dict[str, Json]) -> None:
    """Look at what is to be made of light curves, before anything is asked or fetched.

    Raises
    ------
    QueryError
        If it cannot be.
    """
    from skystage.derive.lightcurves import read

    read(lightcurves)


def check_labels(query: dict[str, Json] | None, *, plan: str) -> None:
    """Look at whether labels are staged, before anything is asked or fetched; see `check_bands`.

    Raises
    ------
    QueryError
        If they are not.
    """
    from skystage.derive.labels import asked

    if plan or query:
        asked(Plan(plan).query if plan else queries.parse(query or {}).to_json())


def fetch_everything(
    plan: Path, store: Path, *, granules: int, jobs: int, task: Task[..., Any] = fetch_batch
) -> None:
    """Stage a plan: what granules share first, then batches, `WINDOW` tasks at a time.

    Parameters
    ----------
    task
        What a batch is fetched with: `fetch_batch` under any name.

    Raises
    ------
    FetchFailed
        With all that failed; all else is staged.
    """
    stop = threading.Event()
    try:
        finish(_fetches(plan, store, granules, jobs=jobs, task=task, stop=stop))
    except BaseException:
        # A cancelled run, or Ctrl-C: Prefect cannot interrupt threads; they look at this.
        stop.set()
        raise


def _fetches(
    plan: Path, store: Path, granules: int, *, jobs: int, task: Task[..., Any], stop: threading.Event
) -> Iterator[PrefectFuture[Any]]:
    """Submit one task whenever the next is asked for."""
    keys = None
    # What granules share is fetched apart, so that they do not wait for each other.
    for companion, shared_task in (("orbits", fetch_orbits), ("dem", fetch_dem)):
        if shared := shared_keys(plan, companion):
            keys = Plan(plan).header.query.get("assets") or ["data"]
            # What is read next must be there, whatever was released.
            yield shared_task.submit(plan, store, keys=shared, jobs=jobs, released=True, stop=stop)
    count = count_batches(plan, granules)
    if keys == ["data"]:
        task = fetch_slc
    for number in range(1, count + 1):
        yield task.submit(plan, store, number, count, keys=keys, jobs=jobs, stop=stop)


def finish(futures: Iterator[PrefectFuture[Any]]) -> list[Any]:
    """Keep `WINDOW` futures under way until all are done; then raise what failed, as one error.

    Returns
    -------
    What they return, in no order.

    Raises
    ------
    FetchFailed
        With the failures of all tasks by name; an error of another kind is raised as it is.
    """
    running: list[PrefectFuture[Any]] = []
    errors: list[BaseException] = []
    results: list[Any] = []
    while True:
        running += [future for _, future in zip(range(WINDOW - len(running)), futures, strict=False)]
        if not running:
            break
        done = next(iter(as_completed(running)))
        running.remove(done)
        done.wait()  # before its state is looked at: else the server is asked, and it lags behind
        found = done.state.result(raise_on_failure=False)
        if done.state.is_completed():
            results.append(found)
        else:
            errors.append(found)
    failures = {
        path: failure
        for error in errors
        if isinstance(error, FetchFailed)
        for path, failure in error.failures.items()
    }
    for error in errors:
        if not isinstance(error, FetchFailed):
            raise error
    if failures:
        raise FetchFailed(failures, sum(error.planned for error in errors if isinstance(error, FetchFailed)))
    return results


def main(flow: Flow[..., Path], description: str | None) -> None:
    """Run a flow as a script, with the parameters of a config file."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--results", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    try:
        config = yaml.safe_load(arguments.config.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        parser.error(f"{arguments.config}: {' '.join(str(error).split())}")
    allowed = [name for name in inspect.signature(flow.fn).parameters if name != "results"]
    unknown = sorted(set(config) - set(allowed)) if isinstance(config, dict) else [str(config)]
    if unknown:
        parser.error(f"{arguments.config}: no key {unknown[0]!r}; allowed: {', '.join(allowed)}")
    # SIGTERM ends the program as Ctrl-C does, and what Prefect has started ends with it.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    _end_soon_when_told()
    run: Callable[..., Path] = flow
    try:
        run(results=arguments.results, **config)
    except SkystageError as error:
        sys.exit(f"{flow.name}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _end_soon_when_told() -> None:
    """Ctrl-C reaches the server that Prefect has started too, and then Prefect waits minutes for it.

    Ending hard loses nothing: a fetch may be killed at any instruction.
    """
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell)

    def watch() -> None:
        while (number := os.read(told, 1)[0]) not in (signal.SIGINT, signal.SIGTERM):
            pass
        time.sleep(GRACE)
        os._exit(128 + number)

    threading.Thread(target=watch, daemon=True).start()
