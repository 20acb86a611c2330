"""``skystage sandbox``: run a command against the archives in a box."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from skystage.cli.arguments import positive
from skystage.cli.output import USAGE, say


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("action", choices=("run", "serve"))
    parser.add_argument("--catalogue", type=Path, metavar="DIR", help="recorded answers to load")
    parser.add_argument("--faults", type=Path, metavar="FILE", help="faults to inject (YAML or JSON)")
    parser.add_argument("--log", type=Path, metavar="FILE", help="write each request as a JSON line")
    parser.add_argument(
        "--payload-size", type=positive, default=48_000, metavar="BYTES", help="size of a product's stand-in"
    )
    parser.usage = (
        "skystage sandbox {run,serve} [--catalogue DIR] [--faults FILE] [--log FILE]\n"
        "       [--payload-size BYTES] [-- COMMAND ...]"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run or serve."""
    from skystage import sandbox

    options: dict[str, Any] = {
        "catalogue": arguments.catalogue,
        "faults": arguments.faults,
        "log": arguments.log,
        "payload_size": arguments.payload_size,
    }
    if arguments.action == "serve":
        return sandbox.serve(**options)
    if not arguments.behind:
        say("skystage: sandbox run: no command", "give it behind --: skystage sandbox run -- make demo")
        return USAGE
    return sandbox.run(arguments.behind, **options)
