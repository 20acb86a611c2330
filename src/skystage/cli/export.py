"""``skystage export``: write the plan as a list for another download tool."""

from __future__ import annotations

import argparse
from pathlib import Path

from skystage.cli.arguments import which
from skystage.cli.output import DONE, FAILED, out, say
from skystage.errors import QueryError


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("plan", type=Path)
    parser.add_argument(
        "--format", choices=("aria2", "curl", "rclone", "rclone-urls", "s3", "urls"), required=True
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="with --format rclone: write the remote that its list wants",
    )
    which(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the list."""
    from skystage.export import FORMATS, can_list, rclone_remote
    from skystage.plan import Plan

    if arguments.config is not None and arguments.format != "rclone":
        raise QueryError("--config: is for --format rclone")
    chosen = Plan(arguments.plan).chosen(arguments.batch, arguments.asset)
    if arguments.config is not None:
        _write_new(arguments.config, rclone_remote(chosen))
    listed = [asset for asset in chosen if can_list(arguments.format, asset)]
    for line in FORMATS[arguments.format](listed):
        out(line)
    if tokens := sum(any(source.auth == "cdse" for source in asset.sources) for asset in listed):
        say(f"{tokens:,} files want an access token of the Copernicus Data Space: netrc will not do there")
    if lacking := len(chosen) - len(listed):
        say(f"{lacking:,} of {len(chosen):,} files are not in the list: they have no address for it")
    return FAILED if lacking else DONE


def _write_new(path: Path, text: str) -> None:
    """Write a file; one that is there and says something else is somebody's."""
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise QueryError(
            f"--config: {path} is there, and says something else", hint="name a new file, and add it to yours"
        )
    path.write_text(text, encoding="utf-8")
