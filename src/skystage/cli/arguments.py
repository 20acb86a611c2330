"""Arguments that several commands have."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from skystage.errors import QueryError

if TYPE_CHECKING:
    from skystage.model import Query


def read_query(path: str) -> Query:
    """The query of a file, or of standard input for ``-``: there, files it names are relative to here."""
    from skystage import query

    if path != "-":
        return query.read(path)
    import yaml

    try:
        given = yaml.safe_load(sys.stdin)
    except yaml.YAMLError as error:
        raise QueryError(f"standard input: {str(error).splitlines()[0]}", hint="YAML or JSON") from None
    if not isinstance(given, dict):
        raise QueryError("standard input: not a query", hint="a mapping, beginning with archive:")
    return query.parse(given)


def keep(output: Path | None, *inputs: Path | str | None) -> None:
    """Refuse to write over what is read.

    Raises
    ------
    QueryError
        If the output is one of the inputs.
    """
    for one in inputs:
        both = output is not None and one is not None and output.exists() and Path(one).exists()
        if both and output.samefile(one):  # type: ignore[union-attr, arg-type]
            raise QueryError(f"-o: {output} is what is read", hint="give it another name")


def on_a_store(parser: argparse.ArgumentParser) -> None:
    """A plan, the store it is about, and which part of it."""
    parser.add_argument("plan", type=Path)
    parser.add_argument("--store", type=Path, required=True, metavar="DIR")
    which(parser)


def which(parser: argparse.ArgumentParser) -> None:
    """Which part of a plan."""
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--batch", type=batch, metavar="I/N", help="the I-th of N parts of the plan, I from 1")
    part.add_argument("--granule", dest="batch", metavar="ID", help="only this granule")
    parser.add_argument("--asset", action="append", metavar="KEY", help="only assets of this key; repeatable")


def batch(text: str) -> tuple[int, int]:
    """Which part of a plan: I/N."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N with I from 1 to N")
    return int(number), int(count)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)
