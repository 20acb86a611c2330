"""Stage what a query finds, as a Prefect flow: search, filter, batches and what they share, manifest.

The same parameters as the Snakemake workflow's config, so that one file serves both::

    python flows/stage.py config/config.yaml --results results
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from skystage.prefect import WINDOW, fetch_everything, main, planned, write_manifest


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
    made = planned(query, results, plan=plan, allow_empty=allow_empty)
    where = Path(store) if store else results / "store"
    fetch_everything(made, where, granules=batch_granules, jobs=jobs)
    return write_manifest(made, where, results / "items.json")


if __name__ == "__main__":
    main(stage, __doc__)
