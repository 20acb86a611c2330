"""Prepare interferogram stacks: scenes, orbits, elevation, a processor's folder, a map, a manifest.

The same parameters as the Snakemake workflow's config, so that one file serves both::

    python flows/insar_stack.py config/insar.yaml --results results
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from skystage.prefect import (
    WINDOW,
    dem_stacks,
    draw_map,
    fetch_everything,
    finish,
    lay_out,
    main,
    pair_orbits,
    planned,
    shared_keys,
    stitch_dem,
    write_manifest,
)

Layout = Literal["", "flat", "stack", "isce2", "s1reader", "gamma", "burst"]


@flow(name="insar stack", task_runner=ThreadPoolTaskRunner(max_workers=WINDOW))  # type: ignore[arg-type]
def insar_stack(
    query: dict[str, Any] | None = None,
    results: Path = Path("results"),
    *,
    plan: str = "",
    store: str = "",
    batch_granules: Annotated[int, Field(ge=1)] = 50,
    jobs: Annotated[int, Field(ge=1)] = 4,
    allow_empty: bool = False,
    layout: Layout = "",
) -> Path:
    """Stage the scenes of one or more stacks, and what a processor wants beside them.

    Parameters
    ----------
    query
        The keys of a query file. Needed unless there is a plan. ``with: {orbits: true}`` brings the pairing
        table (``orbits/orbits.json``), ``with: {dem: ...}`` a raster a stack (``dem/``).
    results
        Where everything is written.
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
    layout
        A folder for a processor, below the results and of the same name, with links to what is staged.

    Returns
    -------
    The path of the manifest.

    Raises
    ------
    SkystageError
        If anything could not be staged or made; all else that was fetched is staged.
    """
    made = planned(query, results, plan=plan, allow_empty=allow_empty)
    where = Path(store) if store else results / "store"
    draw_map(made, results / "footprints.html")
    fetch_everything(made, where, granules=batch_granules, jobs=jobs)
    if shared_keys(made, "orbits"):
        pair_orbits(made, where, results / "orbits")
        if layout:
            lay_out(made, where, results / layout, layout=layout)
    finish(stitch_dem.submit(made, where, results / "dem", stack) for stack in dem_stacks(made))
    return write_manifest(made, where, results / "items.json")


if __name__ == "__main__":
    main(insar_stack, __doc__)
