"""Bands of Sentinel-2 over an area: staged without their products, cut, on a contact sheet, in a manifest.

The same parameters as the Snakemake workflow's config, so that one file serves both::

    python flows/sentinel2_bands.py config/sentinel2.yaml --results results
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from skystage.prefect import (
    WINDOW,
    check_bands,
    contact_sheet,
    count_batches,
    extract_bands,
    fetch_bands,
    fetch_everything,
    finish,
    main,
    planned,
    write_manifest,
)


@flow(name="sentinel-2 bands", task_runner=ThreadPoolTaskRunner(max_workers=WINDOW))  # type: ignore[arg-type]
def sentinel2_bands(
    query: dict[str, Any] | None = None,
    results: Path = Path("results"),
    *,
    plan: str = "",
    store: str = "",
    batch_granules: Annotated[int, Field(ge=1)] = 50,
    jobs: Annotated[int, Field(ge=1)] = 4,
    allow_empty: bool = False,
    bands: dict[str, Any] | None = None,
    sheet: str = "",
) -> Path:
    """Stage bands of Sentinel-2 products, and cut them to an area.

    Parameters
    ----------
    query
        The keys of a query file. Needed unless there is a plan. Its ``assets`` name the bands.
    results
        Where everything is written.
    plan
        A plan that was made before; else one is made.
    store
        Where verified files lie; default: ``store`` below the results.
    batch_granules
        Products a task; about a minute of transfer is a good task.
    jobs
        Assets that a task fetches at a time.
    allow_empty
        Whether a query that matches nothing is a result and no failure.
    bands
        What to make of them, as COGs below ``bands``: see `skystage.derive.wanted.read`. Without it, nothing.
    sheet
        What a contact sheet (``sheet.png``) shows of each product: TCI, RGB, SCL or the key of a band.

    Returns
    -------
    The path of the manifest.

    Raises
    ------
    SkystageError
        If anything could not be staged or made; all else that was fetched is staged.
    """
    if bands is not None:
        check_bands(bands, query, plan=plan)
    made = planned(query, results, plan=plan, allow_empty=allow_empty)
    where, rasters = Path(store) if store else results / "store", results / "bands"
    fetch_everything(made, where, granules=batch_granules, jobs=jobs, task=fetch_bands)
    cut: list[Path] | None = None
    if bands is not None:
        count = count_batches(made, batch_granules)
        done = finish(
            extract_bands.submit(made, where, rasters, number, count, bands=bands)
            for number in range(1, count + 1)
        )
        cut = [Path(path) for one in done for path in one["paths"]]
    if sheet:
        # Several bands in one file are no picture: then it is drawn of whole tiles.
        folder = rasters if bands is not None and not bands.get("stack") else None
        contact_sheet(made, where, results / "sheet.png", show=sheet, rasters=folder, made=cut)
    return write_manifest(made, where, results / "items.json")


if __name__ == "__main__":
    main(sentinel2_bands, __doc__)
