"""Images of the Moon by their incidence angle: labels read while planning, images staged, in a manifest.

The same parameters as the Snakemake workflow's config, so that one file serves both::

    python flows/kaguya_incidence.py config/kaguya_incidence.yaml --results results
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from skystage.prefect import (
    WINDOW,
    check_labels,
    fetch_everything,
    fetch_products,
    main,
    planned,
    tabulate_labels,
    write_manifest,
)


@flow(name="kaguya incidence", task_runner=ThreadPoolTaskRunner(max_workers=WINDOW))  # type: ignore[arg-type]
def kaguya_incidence(
    query: dict[str, Any] | None = None,
    results: Path = Path("results"),
    *,
    plan: str = "",
    store: str = "",
    batch_granules: Annotated[int, Field(ge=1)] = 50,
    jobs: Annotated[int, Field(ge=1)] = 4,
    allow_empty: bool = False,
    labels: Literal["", "csv", "json", "parquet"] = "",
) -> Path:
    """Stage assets of STAC items that are chosen by what their labels say.

    Parameters
    ----------
    query
        The keys of a query file. Needed unless there is a plan. Its ``labels`` name values, its
        ``filter`` tests them.
    results
        Where everything is written.
    plan
        A plan that was made before; else one is made.
    store
        Where verified files lie; default: ``store`` below the results.
    batch_granules
        Items a task; about a minute of transfer is a good task.
    jobs
        Assets that a task fetches at a time.
    allow_empty
        Whether a query that matches nothing is a result and no failure.
    labels
        The ending of a table of the values of staged labels, ``labels``; without it, none is written.

    Returns
    -------
    The path of the manifest.

    Raises
    ------
    SkystageError
        If anything could not be staged or read; all else that was fetched is staged.
    """
    if labels:
        check_labels(query, plan=plan)
    made = planned(query, results, plan=plan, allow_empty=allow_empty)
    where = Path(store) if store else results / "store"
    fetch_everything(made, where, granules=batch_granules, jobs=jobs, task=fetch_products)
    if labels:
        tabulate_labels(made, where, results / f"labels.{labels}")
    return write_manifest(made, where, results / "items.json")


if __name__ == "__main__":
    main(kaguya_incidence, __doc__)
