"""What a gigabyte of large files over TLS costs.

skystage hashes what it moves, and curl does not. So there are three comparisons: the bytes alone, all that
skystage does against curl, and all that skystage does against curl followed by a program that hashes.
"""

from __future__ import annotations

import engines
import files
from cases.common import cpu, ratio, served
from contest import Case, Goal

CASE = Case(
    name="bulk",
    title="CPU of large files over TLS, start-up apart",
    setting=served(
        [
            engines.skystage(1),
            engines.skystage(8),
            engines.skystage(1, hashing=False),
            engines.skystage(8, hashing=False),
            engines.curl(),
            engines.curl(hashing=True),
            engines.curl_parallel(8),
            engines.aria2(8),
            engines.library("asf_search"),
            engines.library("astroquery"),
            engines.library("parfive", 8),
        ],
        count=(8, 2),
        size=(100 * files.MB, 50 * files.MB),
    ),
    goals=[
        Goal(
            text="bytes alone, 1 connection, against curl",
            figure=ratio("skystage 1 unhashed", "curl", cpu),
            at_most=1.15,
        ),
        Goal(
            text="bytes alone, 8 connections, against curl",
            figure=ratio("skystage 8 unhashed", "curl", cpu),
            at_most=1.3,
        ),
        Goal(text="with hashing, 1 connection, against curl", figure=ratio("skystage 1", "curl", cpu)),
        Goal(text="with hashing, 8 connections, against curl", figure=ratio("skystage 8", "curl", cpu)),
        Goal(
            text="with hashing, 1 connection, against curl + openssl dgst",
            figure=ratio("skystage 1", "curl + openssl dgst", cpu),
        ),
        Goal(text="against asf_search", figure=ratio("skystage 1 unhashed", "asf_search", cpu), at_most=0.6),
        Goal(text="against astroquery", figure=ratio("skystage 1 unhashed", "astroquery", cpu), at_most=0.45),
        Goal(text="against parfive", figure=ratio("skystage 8 unhashed", "parfive 8", cpu), at_most=0.25),
        Goal(text="with hashing, against asf_search", figure=ratio("skystage 1", "asf_search", cpu)),
        Goal(text="with hashing, against astroquery", figure=ratio("skystage 1", "astroquery", cpu)),
        Goal(text="with hashing, against parfive", figure=ratio("skystage 8", "parfive 8", cpu)),
    ],
)
