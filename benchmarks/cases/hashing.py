"""What proof costs: the same bytes with sha256 and without."""

from __future__ import annotations

import engines
import files
from cases.common import cpu, ratio, served
from contest import Case, Goal

CASE = Case(
    name="hash",
    title="CPU with sha256 against without, over TLS, start-up apart",
    setting=served(
        [engines.skystage(1), engines.skystage(1, hashing=False)],
        count=(8, 2),
        size=(100 * files.MB, 50 * files.MB),
    ),
    goals=[
        Goal(
            text="with sha256 against without",
            figure=ratio("skystage 1", "skystage 1 unhashed", cpu),
            at_most=1.65,
        )
    ],
)
