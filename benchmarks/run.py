"""Measure skystage beside its peers, in one run.

::

    python benchmarks/run.py                    # every case, as the goals say
    python benchmarks/run.py bulk ranges --reps 5 --json figures.json
    python benchmarks/run.py --quick            # small sizes: does everything still work, about

Contestants run in turn, each into fresh directories, on tmpfs where there is one. CPU and peak memory are
the operating system's figures for the whole process tree; bytes and requests are counted by the server;
what was written is hashed. A peer that is not installed has a row that says so. docs/performance.md says
what each case means.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

from rich.console import Console

import cases
import link
import report
import serve
from contest import Bench, run

TMPFS = Path("/dev/shm")  # noqa: S108 - a private directory is made below it


def main() -> None:
    """Run the cases that were named, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], epilog=f"cases: {', '.join(cases.CASES)}"
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help="which to run (default: all)")
    parser.add_argument("--reps", type=int, metavar="N", help="rounds (default: 3; with --quick 1)")
    parser.add_argument("--peers", default="", metavar="A,B", help="only these beside skystage")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there as well")
    parser.add_argument("--quick", action="store_true", help="small sizes and one round")
    parser.add_argument("--link", choices=("tunnel", "proxy"), default="", help="which long link to use")
    arguments = parser.parse_args()
    unknown = set(arguments.cases) - set(cases.CASES)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are: {', '.join(cases.CASES)}")
    console = Console(width=200)
    versions = report.versions()
    console.print(", ".join(f"{name} {version}" for name, version in versions.items()), highlight=False)
    rounds = arguments.reps or (1 if arguments.quick else 3)
    peers = [peer for peer in arguments.peers.split(",") if peer]
    room = TMPFS if os.access(TMPFS, os.W_OK) else None
    found = []
    for name in arguments.cases or cases.CASES:
        with tempfile.TemporaryDirectory(dir=room, prefix="skystage-bench-") as directory:
            pem, bundle = serve.certificate(Path(directory), ["127.0.0.1", link.FAR])
            bench = Bench(
                room=Path(directory), pem=pem, bundle=bundle, quick=arguments.quick, link=arguments.link
            )
            try:
                result = run(cases.CASES[name], bench, rounds, peers)
            except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                # One server that does not start must not cost the other cases.
                console.print(f"\n{name}: could not be set up: {error}", style="red", markup=False)
                found.append({"case": name, "error": str(error), "goals": []})
                continue
        report.show(result, console)
        found.append(report.to_json(result))
        if arguments.json:
            # After each case: a long run that is stopped has not been for nothing.
            whole = {"versions": versions, "quick": arguments.quick, "rounds": rounds, "cases": found}
            arguments.json.write_text(json.dumps(whole, indent=1) + "\n")
    console.print(f"\n{report.summary(found)}", highlight=False)


if __name__ == "__main__":
    main()
