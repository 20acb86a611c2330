"""Prefect tasks over the core: search, filter, fetch, derive, write the manifest.

A task's unit is a batch of a plan, never one file: Prefect records tens of task runs a second, and
40,000 of them would outlast the transfer. Plans and receipts are files, handed over by path, because
Prefect walks through every argument. Its result cache is off: whether a file is there and right is
asked of the store, each time, at no cost.
"""

from __future__ import annotations

from skystage.prefect.blocks import CdseCredentials, MastCredentials
from skystage.prefect.flows import (
    WINDOW,
    check_bands,
    check_labels,
    check_lightcurves,
    fetch_everything,
    finish,
    main,
    planned,
)
from skystage.prefect.tasks import (
    contact_sheet,
    count_batches,
    dem_stacks,
    draw_map,
    extract_bands,
    extract_lightcurves,
    fetch_bands,
    fetch_batch,
    fetch_dem,
    fetch_orbits,
    fetch_products,
    fetch_slc,
    filter_granules,
    is_transient,
    lay_out,
    pair_orbits,
    release_slc,
    search,
    shared_keys,
    stitch_dem,
    tabulate_labels,
    write_manifest,
)

__all__ = [
    "WINDOW",
    "CdseCredentials",
    "MastCredentials",
    "check_bands",
    "check_labels",
    "check_lightcurves",
    "contact_sheet",
    "count_batches",
    "dem_stacks",
    "draw_map",
    "extract_bands",
    "extract_lightcurves",
    "fetch_bands",
    "fetch_batch",
    "fetch_dem",
    "fetch_everything",
    "fetch_orbits",
    "fetch_products",
    "fetch_slc",
    "filter_granules",
    "finish",
    "is_transient",
    "lay_out",
    "main",
    "pair_orbits",
    "planned",
    "release_slc",
    "search",
    "shared_keys",
    "stitch_dem",
    "tabulate_labels",
    "write_manifest",
]
