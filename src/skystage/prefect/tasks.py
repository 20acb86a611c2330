"""The tasks: each calls one function of the core, and tells Prefect which errors are worth a retry."""

from __future__ import annotations

import math
import random
import threading
from pathlib import Path
from typing import Any

from prefect import State, Task, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun  # noqa: TC002 - Prefect reads the annotations
from prefect.runtime import task_run

from skystage import query as queries
from skystage.batch import Outcome, fetch_plan
from skystage.errors import FetchFailed, SkystageError, Stopped
from skystage.events import Event, Failed, Retrying
from skystage.manifest import write
from skystage.model import Json
from skystage.plan import Plan
from skystage.planning import build
from skystage.store import Store
from skystage.transport import Access

PAUSES = (10.0, 60.0, 300.0)
"""Seconds before each further try of a task. Short faults are waited out inside a batch; these are for
an archive that is down for a while."""


def is_transient(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Retry condition: only what may succeed without anybody changing anything.

    What was stopped on purpose is not begun again. A plain function: Prefect 3.8 takes a partial or
    a callable object for "never".
    """
    del task, run
    error = state.result(raise_on_failure=False)
    causes = error.failures.values() if isinstance(error, FetchFailed) else [error]
    return (
        isinstance(error, SkystageError)
        and error.transient
        and not any(isinstance(cause, Stopped) for cause in causes)
    )


@task(
    name="make plan",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(PAUSES),
    retry_delay_seconds=list(PAUSES),
    retry_jitter_factor=0.3,
    retry_condition_fn=is_transient,
)
def make_plan(
    query: dict[str, Json], path: Path, base: Path | None = None, *, allow_empty: bool = False
) -> Path:
    """Search, filter and freeze a query into a plan file.

    Parameters
    ----------
    query
        The keys of a query file.
    path
        Where to write the plan.
    base
        The folder that files named in the query are relative to; default: the current one.
    allow_empty
        Whether a query that matches nothing is a result and no failure.

    Raises
    ------
    QueryError
        If the query cannot be asked; not retried.
    SearchError
        If a catalogue fails.
    SkystageError
        If nothing is kept; the plan says why.
    """
    logger = get_run_logger()
    plan = build(queries.parse(query, base=base or Path()), path, Access())
    totals = plan.header.totals
    logger.info("kept %s granules, %s bytes", totals.granules, totals.bytes)
    for reason, count in totals.dropped.items():
        logger.info("dropped %s: %s", count, reason)
    for granule, missing in plan.unresolved():
        logger.warning("unresolved: %s: %s: %s", granule, missing.key, missing.reason)
    for host in plan.header.degraded:
        logger.warning("degraded: %s", host)
    if not totals.granules and not allow_empty:
        raise SkystageError(
            f"{path}: nothing is kept of {plan.header.hits:,} granules that match the search",
            hint="widen the query, or set allow_empty",
        )
    return plan.path


@task(
    name="fetch batch",
    task_run_name="fetch {batch} of {batches}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(PAUSES),
    retry_condition_fn=is_transient,
)
def fetch_batch(
    plan: Path,
    store: Path,
    batch: int = 1,
    batches: int = 1,
    *,
    keys: list[str] | None = None,
    jobs: int = 4,
    stop: threading.Event | None = None,
) -> dict[str, Json]:
    """Stage one batch of a plan.

    Parameters
    ----------
    batch, batches
        Which of how many, from 1.
    keys
        Only assets of these keys; default: all.
    jobs
        Assets at a time.
    stop
        When set, the batch ends at the next block; what has arrived is continued later.

    Returns
    -------
    Counts: ``planned``, ``staged``, ``already``, ``released``, ``bytes_moved``, ``requests``, ``seconds``.

    Raises
    ------
    FetchFailed
        If any asset failed or the plan says that it cannot be had (and not that it may be missing),
        after all others were staged; retried if one of the errors is transient.
    CredentialsMissing, NotEnoughDisk
        Before the first byte.
    """
    logger = get_run_logger()

    def listen(event: Event) -> None:
        if isinstance(event, Retrying):
            logger.warning("again in %.0f s: %s: %s", event.delay, event.path, event.error)
        elif isinstance(event, Failed):
            logger.error("failed: %s", event.error)

    stop = threading.Event() if stop is None else stop
    _rest(stop)
    outcome = fetch_plan(
        Plan(plan),
        Store(store),
        Access(),
        batch=(batch, batches),
        keys=keys,
        jobs=jobs,
        listen=listen,
        stop=stop,
    )
    logger.info("staged %s of %s, %s already", len(outcome.receipts), outcome.planned, outcome.already)
    outcome.raise_for_failures()
    return _counts(outcome)


fetch_orbits = fetch_batch.with_options(name="fetch orbits", task_run_name="fetch orbits")
"""`fetch_batch` for the orbit files of a whole plan: call it with ``keys=["orbit"]``."""


@task(name="write manifest", cache_policy=NO_CACHE, persist_result=False)
def write_manifest(plan: Path, store: Path, path: Path) -> Path:
    """Write what is staged of a plan as a STAC ItemCollection, and ``checksums.txt`` beside it.

    Raises
    ------
    SkystageError
        If a planned asset has no receipt.
    """
    written = write(Plan(plan), Store(store), path)
    if written.missing:
        raise SkystageError(f"{path}: {written.missing} planned assets are not staged")
    get_run_logger().info("%s items, %s assets in %s", written.items, written.assets, path)
    return path


def count_batches(plan: Path, granules: int) -> int:
    """How many batches of about `granules` granules a plan is cut into."""
    return max(1, math.ceil(Plan(plan).header.totals.granules / granules))


def has_orbits(plan: Path) -> bool:
    """Whether a plan holds orbit files, or scenes that lack theirs: then they are a task of their own."""
    whole = Plan(plan)
    held = any(asset.key == "orbit" for asset in whole.assets())
    return held or any(missing.key == "orbit" for _, missing in whole.unresolved())


def _rest(stop: threading.Event) -> None:
    """Before a further try: wait, but not for longer than we are wanted.

    Prefect's own delay sleeps in the worker thread, where neither a cancelled run nor Ctrl-C can
    end it.
    """
    tries = task_run.run_count or 1
    if tries > 1:
        pause = PAUSES[min(tries - 2, len(PAUSES) - 1)] * random.uniform(1.0, 1.3)  # noqa: S311
        get_run_logger().info("try %s in %.0f s", tries, pause)
        stop.wait(pause)


def _counts(outcome: Outcome) -> dict[str, Json]:
    return {
        "planned": outcome.planned,
        "staged": len(outcome.receipts),
        "already": outcome.already,
        "released": len(outcome.released),
        "bytes_moved": outcome.bytes_moved,
        "requests": outcome.requests,
        "seconds": round(outcome.seconds, 3),
    }
