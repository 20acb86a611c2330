"""Sixteen processes, and a server that allows four requests at a time."""

from __future__ import annotations

import engines
import files
from cases.common import ratio, served, whole_speed
from contest import Case, Goal

CASE = Case(
    name="limits",
    title="16 processes, server limit 4",
    setting=served(
        [engines.skystage_processes(16, 4), engines.skystage_processes(4, 4)],
        count=(64, 16),
        size=(10 * files.MB, 10 * files.MB),
        capped=True,
        connections=4,
    ),
    goals=[
        Goal(
            text="answers 429",
            figure=lambda one: one["skystage 16 processes"].sent.throttled,
            at_most=0,
        ),
        Goal(
            text="throughput against 4 processes",
            figure=ratio("skystage 16 processes", "skystage 4 processes", whole_speed),
            at_least=0.95,
        ),
    ],
)
