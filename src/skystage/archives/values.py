"""Values that the criteria of several archives have."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

T = TypeVar("T")


def _many(value: object) -> object:
    return list(value) if isinstance(value, list | tuple) else [value]


def _canonical(values: list[Any]) -> list[Any]:
    """Alternatives have no order and no doubles."""
    return sorted({str(value): value for value in values}.values(), key=str)


Many = Annotated[list[T], BeforeValidator(_many), Field(min_length=1), AfterValidator(_canonical)]
"""One value, or a list of alternatives."""

Finite = Annotated[float, Field(allow_inf_nan=False)]


def upper(value: object) -> object:
    """The value in capitals, where it is a text."""
    return value.upper() if isinstance(value, str) else value
