"""How long a plan takes to read what 2,000 labels far away say."""

from __future__ import annotations

import engines
from cases.common import rate, ratio, served, whole_rate
from contest import Case, Goal

CONNECTIONS = 32

CASE = Case(
    name="labels",
    title="2,000 labels of 7 kB at 80 ms, a value of each, labels/s, start-up apart",
    setting=served(
        [engines.labels(CONNECTIONS), engines.curl_parallel(CONNECTIONS)],
        count=(2000, 200),
        size=(7000, 7000),
        far=True,
        labels=True,
    ),
    goals=[
        Goal(
            text="against curl -Z, which reads no value, 32 connections each",
            figure=ratio("skystage labels", "curl -Z 32", rate),
            at_least=0.8,
        ),
        Goal(
            text="the same with start-up and all",
            figure=ratio("skystage labels", "curl -Z 32", whole_rate),
        ),
        Goal(
            text="CPU ms a label",
            figure=lambda one: one["skystage labels"].net_cpu / one["skystage labels"].files * 1e3,
        ),
    ],
)
