"""The command line: stable words, machine output on stdout, human output on stderr, telling exit codes.

Each command is a module of this package with two functions: ``declare`` its arguments, and ``run``, whose
result is the exit code. It is loaded when its word is said, and imports what it needs when it runs, so that
``--help`` and a cached ``fetch`` stay light.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any, NoReturn

from skystage import __version__
from skystage.cli.output import say, write
from skystage.errors import SkystageError

COMMANDS: Mapping[str, str] = {
    "search": "ask an archive, and list what it has",
    "plan": "search, filter and freeze into a plan file",
    "plan-diff": "compare two plans: new, gone, reprocessed",
    "summary": "the stacks of a plan: dates, gaps, platforms, bytes",
    "map": "draw the footprints of a plan: HTML, PNG, GeoJSON",
    "fetch": "stage the assets of a plan",
    "adopt": "take over what other tools have downloaded",
    "verify": "what is staged, released, missing or damaged",
    "derive orbits": "pair scenes with orbit files, and lay them out for other tools",
    "derive dem": "stitch staged tiles into one elevation raster a stack",
    "derive bands": "cut staged Sentinel-2 bands to an area, as cloud-optimised GeoTIFFs",
    "derive unpack": "unpack staged archives (tar, zip), safely",
    "derive sheet": "draw small pictures of Sentinel-2 products, in time order, as one PNG",
    "derive labels": "values of staged PVL labels as a table: CSV, JSON, Parquet",
    "manifest": "write what is staged as a STAC ItemCollection",
    "release": "delete what was consumed, and keep its receipts",
    "export": "write the plan as a list for another download tool",
    "archives": "what can be queried, with its keys",
    "limits": "what the hosts may be asked",
    "doctor": "check credentials, reachability and disk: each finding with its fix",
    "sandbox": "run a command against the archives in a box",
}
"""Every command, of one word or two, with its one line of help; its module has its name."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit with its code."""
    code = run(sys.argv[1:] if argv is None else list(argv))
    for stream in (sys.stdout, sys.stderr):
        write(stream, "")
    sys.exit(code)


def run(argv: list[str]) -> int:
    """Run a command; the exit code. A user's mistake is one line on stderr, never a traceback."""
    # What stands behind -- is another program's: argparse must not look for options in it.
    end = argv.index("--") if argv[:1] == ["sandbox"] and "--" in argv else len(argv)
    # `derive orbits` is one command.
    begin = next((count for count in (2, 1) if " ".join(argv[:count]) in COMMANDS), 0)
    name = " ".join(argv[:begin])
    arguments = _parser(name).parse_args(argv[begin:end], argparse.Namespace(behind=argv[end + 1 :]))
    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup and shells leave it to a job behind them
            signal.signal(number, _interrupt)
    try:
        code: int = _module(name).run(arguments)
    except SkystageError as error:
        say(f"skystage: {error}")
        for note in getattr(error, "__notes__", ()):
            say(f"  {note}")
        return error.exit_code
    except KeyboardInterrupt:
        say("skystage: stopped; run it again to continue where it was")
        return 130
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        say(f"skystage: {where}{error.strerror or error}")
        return 1
    return code


def _module(name: str) -> Any:
    return import_module(f"skystage.cli.{name.replace('-', '_').replace(' ', '_')}")


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _interrupt(number: int, frame: object) -> None:
    del number, frame
    # A thread that waits for a host's first word hears nothing for a minute. The second signal ends the
    # process, whatever it is at: that loses a block for each connection, and nothing else.
    for known in _SIGNALS:
        signal.signal(known, signal.SIG_DFL)
    raise KeyboardInterrupt


_HELP = partial(argparse.HelpFormatter, width=80)
"""To ask for the terminal's width, argparse loads shutil with all its compressors."""


def _parser(name: str) -> argparse.ArgumentParser:
    """The parser of one command, or for any other word the one that knows their names.

    Not all at once: to declare the arguments of every command costs as much as most of them do.
    """
    if name not in COMMANDS:
        parser = argparse.ArgumentParser(
            prog="skystage",
            description="Stage archive data inside Prefect and Snakemake workflows, byte for byte verified.",
            formatter_class=_HELP,
        )
        parser.add_argument("--version", action="version", version=f"skystage {__version__}")
        commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
        for known, text in COMMANDS.items():
            commands.add_parser(known, help=text, formatter_class=_HELP)
        return parser
    parser = argparse.ArgumentParser(
        prog=f"skystage {name}", description=COMMANDS[name], formatter_class=_HELP
    )
    if name != "sandbox":
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    _module(name).declare(parser)
    return parser
