"""Five large files over four connections: none is to be left alone at the end."""

from __future__ import annotations

import engines
import files
from cases.common import CAP, CAPPED, served, speed, whole_speed
from contest import Case, Goal

CASE = Case(
    name="sched",
    title=f"5 x 100 MB over 4 connections at {CAPPED}, start-up apart",
    setting=served(
        [engines.skystage(4), engines.curl_parallel(4)],
        count=(5, 5),
        size=(100 * files.MB, 20 * files.MB),
        capped=True,
    ),
    goals=[
        Goal(
            text="against 4 times the cap",
            figure=lambda one: speed(one["skystage 4"]) / (4 * CAP),
            at_least=0.85,
        ),
        Goal(
            text="the same with start-up and all",
            figure=lambda one: whole_speed(one["skystage 4"]) / (4 * CAP),
        ),
        Goal(
            text="whole files over 4 connections (curl -Z) against 4 times the cap",
            figure=lambda one: speed(one["curl -Z 4"]) / (4 * CAP),
        ),
    ],
)
