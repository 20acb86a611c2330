"""One large file from a server that gives little to each connection."""

from __future__ import annotations

import engines
import files
from cases.common import CAPPED, ratio, served, speed, whole_speed
from contest import Case, Goal

CASE = Case(
    name="ranges",
    title=f"100 MB at {CAPPED}, start-up apart",
    setting=served(
        [
            engines.skystage(4),
            engines.skystage(1),
            engines.aria2(1, split=4),
            engines.curl(),
        ],
        count=(1, 1),
        size=(100 * files.MB, 100 * files.MB),
        capped=True,
    ),
    goals=[
        Goal(
            text="4 connections against aria2c -x4",
            figure=ratio("skystage 4", "aria2c -x4", speed),
            at_least=0.95,
        ),
        Goal(
            text="the same with start-up and all",
            figure=ratio("skystage 4", "aria2c -x4", whole_speed),
        ),
        Goal(text="4 connections against 1", figure=ratio("skystage 4", "skystage 1", speed), at_least=3.3),
    ],
)
