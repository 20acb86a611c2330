"""Hubble's data of a proposal from MAST: staged, proved, in a manifest, and in astroquery's own table.

The same parameters as the Snakemake workflow's config, so that one file serves both::

    python flows/hst_proposal.py config/hst_proposal.yaml --results results
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from skystage.prefect import WINDOW, fetch_everything, fetch_products, main, planned, write_manifest


@flow(name="hst proposal", task_runner=ThreadPoolTaskRunner(max_workers=WINDOW))  # type: ignore[arg-type]
def hst_proposal(
    query: dict[str, Any] | None = None,
    results: Path = Path("results"),
    *,
    plan: str = "",
    store: str = "",
    batch_granules: Annotated[int, Field(ge=1)] = 50,
    jobs: Annotated[int, Field(ge=1)] = 4,
    allow_empty: bool = False,
) -> Path:
    """Stage the products of observations.

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

    Returns
    -------
    The path of the manifest.

    Raises
    ------
    SkystageError
        If anything could not be staged; all else that was fetched is staged.
    """
    made = planned(query, results, plan=plan, allow_empty=allow_empty)
    where = Path(store) if store else results / "store"
    fetch_everything(made, where, granules=batch_granules, jobs=jobs, task=fetch_products)
    write_manifest(made, where, results / "manifest.ecsv")
    return write_manifest(made, where, results / "items.json")


if __name__ == "__main__":
    main(hst_proposal, __doc__)
