"""Light curves of MAST from the cloud: staged from S3, made into tables and pictures, in a manifest.

The same parameters as the Snakemake workflow's config, so that one file serves both::

    python flows/mast_cloud.py config/mast_cloud.yaml --results results
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from skystage.prefect import (
    WINDOW,
    check_lightcurves,
    count_batches,
    extract_lightcurves,
    fetch_everything,
    fetch_products,
    finish,
    main,
    planned,
    write_manifest,
)


@flow(name="mast cloud", task_runner=ThreadPoolTaskRunner(max_workers=WINDOW))  # type: ignore[arg-type]
def mast_cloud(
    query: dict[str, Any] | None = None,
    results: Path = Path("results"),
    *,
    plan: str = "",
    store: str = "",
    batch_granules: Annotated[int, Field(ge=1)] = 50,
    jobs: Annotated[int, Field(ge=1)] = 4,
    allow_empty: bool = False,
    lightcurves: dict[str, Any] | None = None,
) -> Path:
    """Stage the products of observations, and make tables and pictures of their light curves.

    Parameters
    ----------
    query
        The keys of a query file. Needed unless there is a plan. Its ``select`` says which products.
    results
        Where everything is written.
    plan
        A plan that was made before; else one is made.
    store
        Where verified files lie; default: ``store`` below the results.
    batch_granules
        Observations a task; about a minute of transfer is a good task.
    jobs
        Assets that a task fetches at a time.
    allow_empty
        Whether a query that matches nothing is a result and no failure.
    lightcurves
        What to make of them below ``lightcurves``: the fields of `skystage.derive.lightcurves.Options`.
        Without it, nothing.

    Returns
    -------
    The path of the manifest.

    Raises
    ------
    SkystageError
        If anything could not be staged or made; all else that was fetched is staged.
    """
    if lightcurves is not None:
        check_lightcurves(lightcurves)
    made = planned(query, results, plan=plan, allow_empty=allow_empty)
    where = Path(store) if store else results / "store"
    fetch_everything(made, where, granules=batch_granules, jobs=jobs, task=fetch_products)
    if lightcurves is not None:
        count, out = count_batches(made, batch_granules), results / "lightcurves"
        finish(
            extract_lightcurves.submit(made, where, out, number, count, lightcurves=lightcurves)
            for number in range(1, count + 1)
        )
    write_manifest(made, where, results / "manifest.ecsv")
    return write_manifest(made, where, results / "items.json")


if __name__ == "__main__":
    main(mast_cloud, __doc__)
