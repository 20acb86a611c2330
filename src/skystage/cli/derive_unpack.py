"""``skystage derive unpack``: unpack staged archives, safely."""

from __future__ import annotations

import argparse
from pathlib import Path

from skystage.cli.arguments import on_a_store, positive
from skystage.cli.output import DONE, FAILED, out, out_json, say, size_text


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    on_a_store(parser)
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="OUT", help="a folder")
    parser.add_argument(
        "--max-ratio",
        type=positive,
        default=100,
        metavar="N",
        help="times its size that an archive may unpack to",
    )
    parser.add_argument(
        "--max-files",
        type=positive,
        default=100_000,
        metavar="N",
        help="files that an archive may have (default: 100000)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Unpack what is staged; what is unpacked already is confirmed."""
    from skystage.derive.unpack import Limits, unpack
    from skystage.plan import Plan
    from skystage.store import Store

    found = unpack(
        Plan(arguments.plan),
        Store(arguments.store, read_only=True),
        arguments.output,
        batch=arguments.batch,
        keys=arguments.asset,
        limits=Limits(times=arguments.max_ratio, files=arguments.max_files),
    )
    if arguments.json:
        made = [
            {
                "asset": one.asset,
                "path": str(one.path),
                "files": one.files,
                "bytes": one.bytes,
                "already": one.already,
            }
            for one in found.made
        ]
        failed = [
            {"asset": name, "error": type(error).__name__, "message": str(error)}
            for name, error in found.failures.items()
        ]
        out_json(made=made, failed=failed)
    else:
        for one in found.made:
            out(str(one.path))
    for one in found.made:
        did = "already " if one.already else "unpacked"
        say(f"{did} {one.asset}: {one.files:,} files, {size_text(one.bytes)}")
    for error in found.failures.values():
        say(f"failed   {error}")
    return FAILED if found.failures else DONE
