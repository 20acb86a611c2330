"""What each of many small files nearby costs."""

from __future__ import annotations

import engines
from cases.common import cpu, rate, ratio, served
from contest import Case, Goal

CASE = Case(
    name="small",
    title="2,000 x 10 kB on loopback, start-up apart",
    setting=served(
        [
            engines.skystage(1),
            engines.skystage(8),
            engines.curl(),
            engines.curl_parallel(8),
            engines.aria2(8),
            engines.rclone(8),
            engines.library("asf_search"),
            engines.library("parfive", 8),
            engines.library("requests"),
        ],
        count=(2000, 200),
        size=(10_000, 10_000),
    ),
    goals=[
        Goal(text="files/s against asf_search", figure=ratio("skystage 8", "asf_search", rate)),
        Goal(text="CPU against asf_search", figure=ratio("skystage 8", "asf_search", cpu)),
        Goal(text="CPU against requests.get", figure=ratio("skystage 8", "requests", cpu)),
        Goal(text="CPU against curl -Z", figure=ratio("skystage 8", "curl -Z 8", cpu)),
        Goal(
            text="CPU ms a file", figure=lambda one: one["skystage 8"].net_cpu / one["skystage 8"].files * 1e3
        ),
    ],
)
