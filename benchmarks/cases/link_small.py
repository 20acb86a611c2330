"""How many round trips a small file far away takes.

The two that take one file after the other bring 60 of them; rates are by what was brought.
"""

from __future__ import annotations

import engines
from cases.common import rate, ratio, served, whole_rate
from contest import Case, Goal

CASE = Case(
    name="link-small",
    title="2,000 x 10 kB at 80 ms, files/s, start-up apart",
    setting=served(
        [
            engines.skystage(8),
            engines.curl_parallel(8),
            engines.library("requests", only=60),
            engines.library("astroquery", only=60),
        ],
        count=(2000, 200),
        size=(10_000, 10_000),
        far=True,
    ),
    goals=[
        Goal(
            text="against curl -Z, 8 connections each",
            figure=ratio("skystage 8", "curl -Z 8", rate),
            at_least=0.9,
        ),
        Goal(
            text="the same with start-up and all",
            figure=ratio("skystage 8", "curl -Z 8", whole_rate),
        ),
        Goal(
            text="against one request a file without session",
            figure=ratio("skystage 8", "requests", rate),
            at_least=20,
        ),
        Goal(
            text="against astroquery's MAST path",
            figure=ratio("skystage 8", "astroquery", rate),
            at_least=25,
        ),
    ],
)
