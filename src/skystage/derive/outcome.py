"""What became of everything that was to be made of a plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from skystage.errors import FetchFailed, SkystageError

Made = TypeVar("Made")


@dataclass(slots=True)
class Outcome(Generic[Made]):
    """What was made, or an error, for everything that was asked for.

    Attributes
    ----------
    made
        In the order of the plan.
    skipped
        Of what nothing was made, as was asked for: each says why.
    failures
        To error, by what could not be made: its stack, product, archive or file.
    """

    made: list[Made] = field(default_factory=list)
    skipped: list[Made] = field(default_factory=list)
    failures: dict[str, SkystageError] = field(default_factory=dict)

    def raise_for_failures(self) -> None:
        """Raise one summary error if anything could not be made.

        Raises
        ------
        FetchFailed
            With every failure by its name.
        """
        if self.failures:
            raise FetchFailed(self.failures, len(self.made) + len(self.skipped) + len(self.failures))
