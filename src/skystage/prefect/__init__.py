"""Prefect tasks over the core: plan, fetch a batch, write the manifest.

A task's unit is a batch of a plan, never one file: Prefect records tens of task runs a second, and
40,000 of them would outlast the transfer. Plans and receipts are files, handed over by path, because
Prefect walks through every argument. Its result cache is off: whether a file is there and right is
asked of the store, each time, at no cost.
"""

from __future__ import annotations

from skystage.prefect.tasks import (
    count_batches,
    fetch_batch,
    fetch_orbits,
    has_orbits,
    is_transient,
    make_plan,
    write_manifest,
)

__all__ = [
    "count_batches",
    "fetch_batch",
    "fetch_orbits",
    "has_orbits",
    "is_transient",
    "make_plan",
    "write_manifest",
]
