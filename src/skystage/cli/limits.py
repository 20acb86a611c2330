"""``skystage limits``: what the hosts may be asked."""

from __future__ import annotations

import argparse

from skystage.cli.output import DONE, out_json, say, size_text, table


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("action", choices=("show",))


def run(arguments: argparse.Namespace) -> int:
    """Print what holds here."""
    from dataclasses import asdict

    from skystage.limits import Limits
    from skystage.settings import DEFAULTS, config_file, configured, state_directory

    said = configured()
    limits = Limits(said, state_directory())
    rows = {host: asdict(limits.of(host)) for host in {**DEFAULTS, **said}}
    if arguments.json:
        out_json(limits=rows, config=str(config_file()), state=str(state_directory()))
        return DONE
    table(
        ("host", "connections", "requests/s", "bytes/s", "bytes/day"),
        [
            (
                host,
                str(row["connections"]),
                str(row["rate"] or "any"),
                *(size_text(row[key]) if row[key] else "any" for key in ("bandwidth", "daily_bytes")),
            )
            for host, row in rows.items()
        ],
    )
    say(f"from {config_file()}; shared state in {state_directory()}")
    return DONE
