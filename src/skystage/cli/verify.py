"""``skystage verify``: what is staged, released, missing or damaged."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from skystage.cli.arguments import on_a_store
from skystage.cli.output import DONE, FAILED, out, out_json, say

if TYPE_CHECKING:
    from skystage.planfile import Entry
    from skystage.staged import Staged


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    on_a_store(parser)
    parser.add_argument("--deep", action="store_true", help="hash every file again")


def run(arguments: argparse.Namespace) -> int:
    """Look at every file."""
    from skystage.planfile import PlanFile
    from skystage.staged import Staged

    plan, staged = PlanFile(arguments.plan), Staged(arguments.store)
    ok = 0
    released: list[str] = []
    missing: list[str] = []
    damaged: list[str] = []
    for entry in plan.entries(arguments.batch, arguments.asset):
        problem = _problem(entry, staged, deep=arguments.deep)
        if problem is None:
            ok += 1
        elif problem == "missing":
            (missing if staged.tombstone(entry) is None else released).append(entry.path)
        else:
            damaged.append(f"{entry.path}: {problem}")
    if arguments.json:
        out_json(ok=ok, released=released, missing=missing, damaged=damaged)
    else:
        for path in released:
            out(f"released {path}")
        for path in missing:
            out(f"missing  {path}")
        for path in damaged:
            out(f"damaged  {path}")
    say(f"{ok:,} ok, {len(released):,} released, {len(missing):,} missing, {len(damaged):,} damaged")
    return FAILED if missing or damaged else DONE


def _problem(entry: Entry, staged: Staged, *, deep: bool) -> str | None:
    receipt = staged.proof(entry)
    if receipt is not None and not deep:
        return None
    path = staged.path(entry)
    if not path.exists():
        return "missing"
    if not deep:
        return "changed since it was staged, or never verified"
    from skystage.errors import TransferError
    from skystage.safefile import prove_packed
    from skystage.verify import digest_file

    digests = digest_file(path, entry.checksums)
    try:
        prove_packed(entry, path, digests)
    except TransferError as error:
        return error.message.removeprefix(f"{entry.path}: ")
    if receipt is None:
        return "no receipt"
    return None if digests["sha256"] == receipt["digests"]["sha256"] else "not the bytes that were staged"
