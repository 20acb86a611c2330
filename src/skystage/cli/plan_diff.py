"""``skystage plan-diff``: compare two plans: new, gone, reprocessed."""

from __future__ import annotations

import argparse
from pathlib import Path

from skystage.cli.output import DONE, out, out_json

_WORDS = ("new", "gone", "reprocessed", "companions")


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)


def run(arguments: argparse.Namespace) -> int:
    """Print what changed."""
    from skystage.plan import Plan, diff

    change = diff(Plan(arguments.old), Plan(arguments.new))
    if arguments.json:
        out_json(**{word: getattr(change, word) for word in _WORDS})
    else:
        for word in _WORDS:
            for name in getattr(change, word):
                out(f"{word}  {name}")
    return DONE
