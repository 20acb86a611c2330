"""``skystage doctor``: check credentials, reachability and disk: each finding with its fix."""

from __future__ import annotations

import argparse
from pathlib import Path

from skystage.cli.output import DONE, out, out_json


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("archive", nargs="*", help="default: all")
    parser.add_argument("--store", type=Path, metavar="DIR", help="check this store's disk and locks too")


def run(arguments: argparse.Namespace) -> int:
    """Examine, and print the findings."""
    from skystage.doctor import examine

    findings = examine(arguments.archive, arguments.store)
    if arguments.json:
        out_json(findings=[finding.to_json() for finding in findings])
    else:
        for finding in findings:
            out(f"{'ok ' if finding.ok else 'FIX'}  {finding.subject}: {finding.found}")
            if not finding.ok:
                out(f"     {finding.fix}")
    return DONE if all(finding.ok for finding in findings) else 1
