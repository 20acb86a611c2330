"""``skystage adopt``: verify what other tools have downloaded, and link it into the store."""

from __future__ import annotations

import argparse
from pathlib import Path

from skystage.cli.arguments import positive, which
from skystage.cli.output import DONE, FAILED, out_json, say, size_text


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("plan", type=Path)
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the files lie, however deep")
    parser.add_argument("--store", type=Path, required=True, metavar="DIR")
    which(parser)
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--copy", action="store_true", help="copy instead of linking: share nothing with DIR")
    ways.add_argument("--move", action="store_true", help="delete from DIR what was adopted")
    parser.add_argument("--jobs", type=positive, default=4, help="files hashed at a time (default: 4)")


def run(arguments: argparse.Namespace) -> int:
    """Stage what is there and right."""
    from skystage.adopt import adopt_folder
    from skystage.plan import Plan
    from skystage.progress import progress
    from skystage.store import Store

    plan = Plan(arguments.plan)
    with progress(plan.header.totals.bytes) as listen:
        found = adopt_folder(
            plan,
            arguments.folder,
            Store(arguments.store),
            batch=arguments.batch,
            keys=arguments.asset,
            way="copy" if arguments.copy else "move" if arguments.move else "link",
            jobs=arguments.jobs,
            listen=listen,
        )
    if arguments.json:
        out_json(
            planned=found.planned,
            adopted=len(found.receipts),
            already=found.already,
            wrong=[
                {"asset": path, "file": file, "error": type(error).__name__, "message": str(error)}
                for path, (file, error) in found.wrong.items()
            ],
            not_found=found.not_found,
            unpacked=found.unpacked,
            bytes=found.bytes,
        )
    for file, error in found.wrong.values():
        say(f"wrong    {file}: {error}")
    for folder in found.unpacked:
        say(f"unpacked {folder}: the plan's checksum is the zip's: nothing can prove a folder")
    say(
        f"adopted  {len(found.receipts):,} of {found.planned:,} assets ({found.already:,} already), "
        f"{size_text(found.bytes)}; {len(found.wrong):,} wrong, {len(found.not_found):,} not found"
    )
    return FAILED if found.wrong else DONE
