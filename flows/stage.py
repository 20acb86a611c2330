"""Stage what a query finds, as a Prefect flow: plan, batches in parallel, orbits, manifest.

The same parameters as the Snakemake workflow's config, so that one file serves both::

    python flows/stage.py config/config.yaml --results results
"""

from __future__ import annotations

import argparse
import threading
from pathlib import Path
from typing import Any

import yaml
from prefect import flow
from prefect.futures import PrefectFuture, as_completed
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.utilities.annotations import opaque

from skystage.prefect import count_batches, fetch_batch, fetch_orbits, make_plan, write_manifest

WINDOW = 4
"""Batches under way at once; the hosts' limits hold beside it."""


@flow(name="stage", task_runner=ThreadPoolTaskRunner(max_workers=WINDOW + 1))  # type: ignore[arg-type]
def stage(
    query: dict[str, Any],
    results: Path = Path("results"),
    *,
    plan: str = "",
    store: Path | None = None,
    batch_granules: int = 50,
    jobs: int = 4,
) -> Path:
    """Stage a query's granules and write their manifest.

    Parameters
    ----------
    query
        The keys of a query file.
    results
        Where plan and manifest are written.
    plan
        A plan that was made before; else one is made.
    store
        Where verified files lie; default: ``results/store``.
    batch_granules
        Granules a task.
    jobs
        Assets that a task fetches at a time.

    Returns
    -------
    The path of the manifest.
    """
    store = results / "store" if store is None else store
    made = Path(plan) if plan else make_plan(query, results / "plan.ndjson")
    count = count_batches(made, batch_granules)
    keys = query.get("assets") or ["data"]
    stop = threading.Event()
    try:
        orbits = []
        if query.get("with", {}).get("orbits"):
            orbits.append(fetch_orbits.submit(made, store, keys=["orbit"], jobs=jobs, stop=opaque(stop)))
        batches = (
            fetch_batch.submit(made, store, number, count, keys=keys, jobs=jobs, stop=opaque(stop))
            for number in range(1, count + 1)
        )
        _finish(orbits, batches)
    except BaseException:
        # A cancelled run, or Ctrl-C: Prefect cannot interrupt threads; they look at this.
        stop.set()
        raise
    return write_manifest(made, store, results / "items.json")


def _finish(first: list[PrefectFuture[Any]], rest: Any) -> None:
    """Keep `WINDOW` futures under way until all are done; then raise the first failure, if any."""
    running, failed = list(first), []
    while True:
        running += [future for _, future in zip(range(WINDOW - len(running)), rest, strict=False)]
        if not running:
            break
        done = next(iter(as_completed(running)))
        running.remove(done)
        done.wait()
        if done.state.is_failed() or done.state.is_crashed():
            failed.append(done)
    for future in failed:
        future.result()


def main() -> None:
    """Run the flow with the parameters of a config file."""
    parser = argparse.ArgumentParser(description=stage.__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--results", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    config = yaml.safe_load(arguments.config.read_text())
    store = Path(config.pop("store")) if "store" in config else None
    stage(results=arguments.results, store=store, **config)


if __name__ == "__main__":
    main()
