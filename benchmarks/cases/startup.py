"""How much heavier than an interpreter the commands are that move nothing."""

from __future__ import annotations

from cases.cached import staged
from cases.common import ratio
from contest import Case, Goal, Sample


def _cpu(sample: Sample) -> float:
    return sample.cpu


CASE = Case(
    name="startup",
    title="CPU of light commands against a bare interpreter",
    setting=staged((10, 10)),
    least=11,
    goals=[
        Goal(text=f"{command} against python", figure=ratio(command, "python", _cpu), at_most=4)
        for command in ("skystage --help", "skystage verify", "skystage fetch")
    ],
)
