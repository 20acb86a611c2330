"""Stage what a query finds, as a Prefect flow: plan, batches in parallel, orbits, manifest.

The same parameters as the Snakemake workflow's config, so that one file serves both::

    python flows/stage.py config/config.yaml --results results
"""

from __future__ import annotations

import argparse
import inspect
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import yaml
from prefect import flow
from prefect.futures import PrefectFuture, as_completed
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from skystage.errors import FetchFailed, SkystageError
from skystage.plan import Plan
from skystage.prefect import count_batches, fetch_batch, fetch_orbits, has_orbits, make_plan, write_manifest

WINDOW = 4
"""Batches under way at once; the hosts' limits hold beside it."""

GRACE = 5.0
"""Seconds that Prefect has to say that a run was interrupted."""

Batch = PrefectFuture[dict[str, Any]]


@flow(name="stage", task_runner=ThreadPoolTaskRunner(max_workers=WINDOW))  # type: ignore[arg-type]
def stage(
    query: dict[str, Any] | None = None,
    results: Path = Path("results"),
    *,
    plan: str = "",
    store: str = "",
    batch_granules: Annotated[int, Field(ge=1)] = 50,
    jobs: Annotated[int, Field(ge=1)] = 4,
    allow_empty: bool = False,
) -> Path:
    """Stage a query's granules and write their manifest.

    Parameters
    ----------
    query
        The keys of a query file. Needed unless there is a plan.
    results
        Where plan and manifest are written.
    plan
        A plan that was made before; else one is made.
    store
        Where verified files lie; default: ``store`` below the results.
    batch_granules
        Granules a task; about a minute of transfer is a good task.
    jobs
        Assets that a task fetches at a time.
    allow_empty
        Whether a query that matches nothing is a result and no failure.

    Returns
    -------
    The path of the manifest.

    Raises
    ------
    SkystageError
        If anything could not be staged; all else is.
    """
    if not plan and not query:
        raise SkystageError("neither query nor plan is given")
    made = Path(plan) if plan else make_plan(query or {}, results / "plan.ndjson", allow_empty=allow_empty)
    where = Path(store) if store else results / "store"
    stop = threading.Event()
    try:
        _finish(_submit(made, where, batch_granules, jobs, stop))
    except BaseException:
        # A cancelled run, or Ctrl-C: Prefect cannot interrupt threads; they look at this.
        stop.set()
        raise
    return write_manifest(made, where, results / "items.json")


def _submit(plan: Path, store: Path, granules: int, jobs: int, stop: threading.Event) -> Iterator[Batch]:
    """Submit one task whenever the next is asked for: the orbits first, then the batches."""
    keys = None
    if has_orbits(plan):
        # The orbits are fetched apart, so that scenes which share one do not wait for each other.
        keys = Plan(plan).header.query.get("assets") or ["data"]
        yield fetch_orbits.submit(plan, store, keys=["orbit"], jobs=jobs, stop=stop)
    count = count_batches(plan, granules)
    for number in range(1, count + 1):
        yield fetch_batch.submit(plan, store, number, count, keys=keys, jobs=jobs, stop=stop)


def _finish(futures: Iterator[Batch]) -> None:
    """Keep `WINDOW` futures under way until all are done; then raise what failed, as one error."""
    running: list[Batch] = []
    errors: list[BaseException] = []
    while True:
        running += [future for _, future in zip(range(WINDOW - len(running)), futures, strict=False)]
        if not running:
            break
        done = next(iter(as_completed(running)))
        running.remove(done)
        done.wait()  # before its state is looked at: else the server is asked, and it lags behind
        if not done.state.is_completed():
            errors.append(done.state.result(raise_on_failure=False))
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


def main() -> None:
    """Run the flow with the parameters of a config file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("config", type=Path)
    parser.add_argument("--results", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    try:
        config = yaml.safe_load(arguments.config.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        parser.error(f"{arguments.config}: {' '.join(str(error).split())}")
    allowed = [name for name in inspect.signature(stage.fn).parameters if name != "results"]
    unknown = sorted(set(config) - set(allowed)) if isinstance(config, dict) else [str(config)]
    if unknown:
        parser.error(f"{arguments.config}: no key {unknown[0]!r}; allowed: {', '.join(allowed)}")
    # SIGTERM ends the program as Ctrl-C does, and what Prefect has started ends with it.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    _end_soon_when_told()
    try:
        stage(results=arguments.results, **config)
    except SkystageError as error:
        sys.exit(f"stage: {error}")
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


if __name__ == "__main__":
    main()
