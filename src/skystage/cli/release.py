"""``skystage release``: delete what was consumed, and keep its receipts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from skystage.cli.arguments import on_a_store
from skystage.cli.output import DONE, FAILED, out_json, say, size_text

if TYPE_CHECKING:
    from skystage.store import Store


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    on_a_store(parser)
    parser.add_argument("--dry-run", action="store_true", help="say what would be deleted")


def run(arguments: argparse.Namespace) -> int:
    """Delete what is staged."""
    from skystage.planfile import PlanFile
    from skystage.release import release_plan

    dry = arguments.dry_run
    freed = release_plan(
        PlanFile(arguments.plan),
        _store(arguments.store, read_only=dry),
        batch=arguments.batch,
        keys=arguments.asset,
        dry_run=dry,
    )
    if arguments.json:
        out_json(
            planned=freed.planned,
            released=len(freed.released),
            bytes=freed.bytes,
            linked=freed.linked,
            already=freed.already,
            absent=freed.absent,
            shared=freed.shared,
            kept=[
                {"asset": path, "error": type(error).__name__, "message": str(error)}
                for path, error in freed.kept.items()
            ],
        )
    for error in freed.kept.values():
        say(f"kept     {error}")
    if freed.shared:
        say(f"{freed.shared:,} belong to other batches too: kept (--asset KEY releases them)")
    if freed.linked:
        say(f"{freed.linked:,} have another name (a hard link): their bytes stay until that goes")
    if freed.absent:
        say(f"{freed.absent:,} are not staged")
    say(
        f"{'to release' if dry else 'released'} {len(freed.released):,} of {freed.planned:,} assets "
        f"({freed.already:,} already), {size_text(freed.bytes)} freed"
    )
    return FAILED if freed.kept else DONE


def _store(root: Path, *, read_only: bool) -> Store:
    """The store, if there is one: a misspelt name would be an empty one."""
    from skystage.errors import StoreError
    from skystage.store import Store

    if not root.is_dir():
        raise StoreError(f"{root}: no such store", hint="--store names the folder that files were staged in")
    return Store(root, read_only=read_only)
