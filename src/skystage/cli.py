"""The command line: stable words, machine output on stdout, human output on stderr, telling exit codes.

Each command imports what it needs when it runs, so that ``--help`` and a cached ``fetch`` stay light.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TextIO

from skystage import __version__
from skystage.errors import Offline, QueryError, SkystageError

if TYPE_CHECKING:
    from skystage.canon import Json
    from skystage.model import Granule, Query
    from skystage.planfile import Entry, PlanFile
    from skystage.report import Stack
    from skystage.staged import Staged

DONE, USAGE, NOTHING, FAILED = 0, 2, 3, 4


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit with its code."""
    code = run(sys.argv[1:] if argv is None else list(argv))
    for stream in (sys.stdout, sys.stderr):
        _write(stream, "")
    sys.exit(code)


def run(argv: list[str]) -> int:
    """Run a command; the exit code. A user's mistake is one line on stderr, never a traceback."""
    # What stands behind -- is another program's: argparse must not look for options in it.
    end = argv.index("--") if argv[:1] == ["sandbox"] and "--" in argv else len(argv)
    name = argv[0] if argv and argv[0] in COMMANDS else ""
    begin = 1 if name else 0
    arguments = _parser(name).parse_args(argv[begin:end], argparse.Namespace(behind=argv[end + 1 :]))
    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup and shells leave it to a job behind them
            signal.signal(number, _interrupt)
    try:
        return COMMANDS[name].run(arguments)
    except SkystageError as error:
        _say(f"skystage: {error}")
        for note in getattr(error, "__notes__", ()):
            _say(f"  {note}")
        return error.exit_code
    except KeyboardInterrupt:
        _say("skystage: stopped; run it again to continue where it was")
        return 130
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _say(f"skystage: {where}{error.strerror or error}")
        return 1


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _interrupt(number: int, frame: object) -> None:
    del number, frame
    # A thread that waits for a host's first word hears nothing for a minute. The second signal ends the
    # process, whatever it is at: that loses a block for each connection, and nothing else.
    for known in _SIGNALS:
        signal.signal(known, signal.SIG_DFL)
    raise KeyboardInterrupt


# --------------------------------------------------------------------------------------------------
# The commands


def _query(path: str) -> Query:
    """The query of a file, or of standard input for ``-``: there, files it names are relative to here."""
    from skystage import query

    if path != "-":
        return query.read(path)
    import yaml

    try:
        given = yaml.safe_load(sys.stdin)
    except yaml.YAMLError as error:
        raise QueryError(f"standard input: {str(error).splitlines()[0]}", hint="YAML or JSON") from None
    if not isinstance(given, dict):
        raise QueryError("standard input: not a query", hint="a mapping, beginning with archive:")
    return query.parse(given)


def _search(arguments: argparse.Namespace) -> int:
    import shutil
    import tempfile

    from skystage import archives
    from skystage.model import Granule, canonical
    from skystage.transport import Access

    asked = _query(arguments.query)
    found = archives.get(asked.archive).search(asked, Access())
    count = 0
    # On disk until the search has proved complete: half of an answer is none.
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n") as lines:
        for count, granule in enumerate(found, 1):  # noqa: B007
            lines.write(f"{canonical(granule.to_json())}\n")
        if arguments.output is not None:
            lines.seek(0)
            with arguments.output.open("w", encoding="utf-8", newline="\n") as file:
                shutil.copyfileobj(lines, file)
        lines.seek(0)
        granules = (Granule.from_json(json.loads(line)) for line in lines)
        if arguments.geojson:
            _print_array({"type": "FeatureCollection"}, "features", map(_feature, granules))
        elif arguments.json:
            counts = {"hits": found.hits, "received": found.received, "truncated": found.truncated}
            _print_array(counts, "granules", (granule.to_json() for granule in granules))
        elif arguments.output is None:
            for granule in granules:
                size = sum(asset.size or 0 for asset in granule.assets)
                when = "" if granule.start is None else f"{granule.start:%Y-%m-%d %H:%M:%S}"
                _print(f"{granule.id}  {when}  {granule.stack}  {_bytes(size)}")
    _say(f"{count:,} granules of {found.hits:,}{', truncated' if found.truncated else ''}")
    return DONE if count or arguments.allow_empty else NOTHING


def _feature(granule: Granule) -> dict[str, Json]:
    return {
        "type": "Feature",
        "id": granule.id,
        "geometry": granule.geometry,
        "properties": {**granule.properties, "stack": granule.stack},
    }


def _plan(arguments: argparse.Namespace) -> int:
    from skystage.planning import build
    from skystage.transport import Access

    made = build(_query(arguments.query), arguments.output, Access())
    header, totals = made.header, made.header.totals
    if arguments.json:
        _print_json(
            granules=totals.granules,
            assets=totals.assets,
            bytes=totals.bytes,
            hits=header.hits,
            truncated=header.truncated,
            unresolved=totals.unresolved,
            degraded=list(header.degraded),
            dropped=dict(totals.dropped),
            digest=header.digest,
        )
    _say(f"kept     {totals.granules:>7,} granules, {totals.assets:,} assets, {_bytes(totals.bytes)}")
    for reason, count in totals.dropped.items():
        _say(f"dropped  {count:>7,} {reason}")
    if arguments.explain:
        for drop in made.dropped():
            _say(f"  {drop.id}  {drop.reason}")
    for granule, missing in made.unresolved():
        _say(f"unresolved  {granule}: {missing.key}: {missing.reason}")
    for host in header.degraded:
        _say(f"degraded: {host}")
    if header.truncated:
        _say(f"truncated: the archive has {header.hits:,}, the query asked for fewer")
    _say(f"plan     {made.path}")
    something = totals.granules and (totals.assets or totals.unresolved)
    return DONE if something or arguments.allow_empty else NOTHING


def _plan_diff(arguments: argparse.Namespace) -> int:
    from skystage.plan import Plan, diff

    change = diff(Plan(arguments.old), Plan(arguments.new))
    if arguments.json:
        _print_json(new=change.new, gone=change.gone, reprocessed=change.reprocessed)
    else:
        for word in ("new", "gone", "reprocessed"):
            for name in getattr(change, word):
                _print(f"{word}  {name}")
    return DONE


def _summary(arguments: argparse.Namespace) -> int:
    from skystage.plan import Plan
    from skystage.report import stacks

    found = stacks(Plan(arguments.plan).granules())
    if arguments.json:
        _print_json(stacks=[stack.to_json(scenes=arguments.scenes) for stack in found])
        return DONE
    rows = [_stack_row(stack) for stack in found]
    _table(
        ("direction", "path", "frame", "granules", "dates", "first", "last", "gap", "platforms", "size"), rows
    )
    if arguments.scenes:
        for stack in found:
            _print(f"\n{stack.key}")
            for name in stack.granules:
                _print(f"  {name}")
    return DONE


def _stack_row(stack: Stack) -> tuple[str, ...]:
    return (
        stack.direction,
        stack.path,
        stack.frame,
        str(len(stack.granules)),
        str(len(stack.dates)),
        stack.dates[0] if stack.dates else "",
        stack.dates[-1] if stack.dates else "",
        f"{stack.longest_gap} d",
        ", ".join(stack.platforms),
        _bytes(stack.bytes),
    )


def _fetch(arguments: argparse.Namespace) -> int:
    from skystage.planfile import PlanFile
    from skystage.staged import Staged

    plan, staged = PlanFile(arguments.plan), Staged(arguments.store)
    missing, already, size = [], 0, 0
    for entry in plan.entries(arguments.batch, arguments.asset):
        if (receipt := staged.proof(entry)) is None:
            missing.append(entry)
        else:
            already += 1
            size += receipt["size"]
    to_come = sum(entry.size or 0 for entry in missing)
    if arguments.dry_run:
        planned = already + len(missing)
        if arguments.json:
            _print_json(planned=planned, already=already, missing=len(missing), bytes=to_come)
        _say(f"{already:,} of {planned:,} assets are staged; to come: {_bytes(to_come)}")
        return DONE
    if missing and not arguments.offline:
        result = _staged_now(arguments, to_come)
    else:
        failures = _not_staged(missing) | plan.lacking(arguments.batch, arguments.asset)
        result = _staged_before(already, size, failures)
    if arguments.into is not None:
        _link(plan, arguments)
    if arguments.json:
        _print_json(**result)
    for item in result["failed"]:
        _say(f"failed   {item['message']}")
    _say(
        f"staged   {result['staged']:,} of {result['planned']:,} assets ({result['already']:,} already), "
        f"{_bytes(result['bytes_moved'])} moved, {result['requests']:,} requests, {result['seconds']:.1f} s"
    )
    return FAILED if result["failed"] else DONE


def _link(plan: PlanFile, arguments: argparse.Namespace) -> None:
    from skystage.store import Store

    store = Store(arguments.store, read_only=True)
    for entry in plan.entries(arguments.batch, arguments.asset):
        if store.proof(entry) is not None:
            store.link(entry, arguments.into, symbolic=arguments.symlink)


def _staged_now(arguments: argparse.Namespace, to_come: int) -> dict[str, Json]:
    """Fetch what is missing."""
    from skystage.batch import fetch_plan
    from skystage.plan import Plan
    from skystage.progress import progress
    from skystage.store import Store
    from skystage.transport import Access

    with progress(to_come) as listen:
        outcome = fetch_plan(
            Plan(arguments.plan),
            Store(arguments.store),
            Access(),
            batch=arguments.batch,
            keys=arguments.asset,
            jobs=arguments.jobs,
            listen=listen,
        )
    return {
        "planned": outcome.planned,
        "staged": len(outcome.receipts),
        "already": outcome.already,
        "failed": _failed(outcome.failures),
        "bytes": sum(receipt.size for receipt in outcome.receipts),
        "bytes_moved": outcome.bytes_moved,
        "requests": outcome.requests,
        "seconds": round(outcome.seconds, 3),
    }


def _not_staged(missing: list[Entry]) -> dict[str, SkystageError]:
    return {
        entry.path: Offline(f"{entry.path}: not staged, and --offline forbids to fetch it")
        for entry in missing
    }


def _staged_before(staged: int, size: int, failures: Mapping[str, SkystageError]) -> dict[str, Json]:
    """What is staged, without a request and without loading what could make one; the rest failed."""
    return {
        "planned": staged + len(failures),
        "staged": staged,
        "already": staged,
        "failed": _failed(failures),
        "bytes": size,
        "bytes_moved": 0,
        "requests": 0,
        "seconds": 0.0,
    }


def _failed(failures: Mapping[str, SkystageError]) -> list[Json]:
    return [
        {"asset": path, "error": type(error).__name__, "message": str(error)}
        for path, error in failures.items()
    ]


def _verify(arguments: argparse.Namespace) -> int:
    from skystage.planfile import PlanFile
    from skystage.staged import Staged

    plan, staged = PlanFile(arguments.plan), Staged(arguments.store)
    ok, missing, damaged = 0, [], []
    for entry in plan.entries(arguments.batch, arguments.asset):
        problem = _problem(entry, staged, deep=arguments.deep)
        if problem is None:
            ok += 1
        elif problem == "missing":
            missing.append(entry.path)
        else:
            damaged.append(f"{entry.path}: {problem}")
    if arguments.json:
        _print_json(ok=ok, missing=missing, damaged=damaged)
    else:
        for path in missing:
            _print(f"missing  {path}")
        for path in damaged:
            _print(f"damaged  {path}")
    _say(f"{ok:,} ok, {len(missing):,} missing, {len(damaged):,} damaged")
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
    from skystage.verify import digest_file, prove

    digests = digest_file(path, entry.checksums)
    try:
        prove(entry, path, digests)
    except TransferError as error:
        return error.message.removeprefix(f"{entry.path}: ")
    if receipt is None:
        return "no receipt"
    return None if digests["sha256"] == receipt["digests"]["sha256"] else "not the bytes that were staged"


def _manifest(arguments: argparse.Namespace) -> int:
    from skystage.manifest import write
    from skystage.plan import Plan
    from skystage.store import Store

    written = write(Plan(arguments.plan), Store(arguments.store, read_only=True), arguments.output)
    if arguments.json:
        _print_json(items=written.items, assets=written.assets, missing=written.missing)
    _say(f"{written.items:,} items, {written.assets:,} assets in {arguments.output}")
    if written.missing:
        _say(f"{written.missing:,} planned assets are not staged and not in it")
    return FAILED if written.missing else DONE


def _export(arguments: argparse.Namespace) -> int:
    from skystage.export import FORMATS
    from skystage.plan import Plan

    for line in FORMATS[arguments.format](Plan(arguments.plan).chosen(arguments.batch, arguments.asset)):
        _print(line)
    return DONE


def _archives(arguments: argparse.Namespace) -> int:
    from skystage import archives

    known = [archives.get(name) for name in archives.names()]
    if arguments.json:
        rows = [
            {
                "name": one.name,
                "title": one.title,
                "criteria": sorted(one.criteria.model_fields),
                "filters": sorted(one.properties),
                "assets": one.asset_keys,
                "with": sorted(one.companions),
            }
            for one in known
        ]
        _print_json(archives=rows)
        return DONE
    for one in known:
        _print(f"{one.name}  {one.title}")
        for word, keys in (
            ("criteria", sorted(one.criteria.model_fields)),
            ("filters", sorted(one.properties)),
            ("assets", one.asset_keys or ("open",)),
            ("with", sorted(one.companions)),
        ):
            _print(f"  {word}: {', '.join(keys)}")
    return DONE


def _limits(arguments: argparse.Namespace) -> int:
    from dataclasses import asdict

    from skystage.limits import Limits
    from skystage.settings import DEFAULTS, config_file, configured, state_directory

    said = configured()
    limits = Limits(said, state_directory())
    rows = {host: asdict(limits.of(host)) for host in {**DEFAULTS, **said}}
    if arguments.json:
        _print_json(limits=rows, config=str(config_file()), state=str(state_directory()))
        return DONE
    _table(
        ("host", "connections", "requests/s", "bytes/s", "bytes/day"),
        [
            (
                host,
                str(row["connections"]),
                str(row["rate"] or "any"),
                *(_bytes(row[key]) if row[key] else "any" for key in ("bandwidth", "daily_bytes")),
            )
            for host, row in rows.items()
        ],
    )
    _say(f"from {config_file()}; shared state in {state_directory()}")
    return DONE


def _doctor(arguments: argparse.Namespace) -> int:
    from skystage.doctor import examine

    findings = examine(arguments.archive, arguments.store)
    if arguments.json:
        _print_json(findings=[finding.to_json() for finding in findings])
    else:
        for finding in findings:
            _print(f"{'ok ' if finding.ok else 'FIX'}  {finding.subject}: {finding.found}")
            if not finding.ok:
                _print(f"     {finding.fix}")
    return DONE if all(finding.ok for finding in findings) else 1


def _sandbox(arguments: argparse.Namespace) -> int:
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
        _say("skystage: sandbox run: no command", "give it behind --: skystage sandbox run -- make demo")
        return USAGE
    return sandbox.run(arguments.behind, **options)


# --------------------------------------------------------------------------------------------------
# Arguments


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
        for known, command in COMMANDS.items():
            commands.add_parser(known, help=command.text, formatter_class=_HELP)
        return parser
    command = COMMANDS[name]
    parser = argparse.ArgumentParser(prog=f"skystage {name}", description=command.text, formatter_class=_HELP)
    if name != "sandbox":
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    command.declare(parser)
    return parser


def _search_arguments(search: argparse.ArgumentParser) -> None:
    search.add_argument("query", metavar="QUERY.yaml", help="- for standard input")
    search.add_argument("--geojson", action="store_true", help="footprints as GeoJSON on stdout")
    search.add_argument("-o", dest="output", type=Path, metavar="FILE.ndjson", help="write the granules here")
    search.add_argument("--allow-empty", action="store_true", help="exit 0 also when nothing matches")


def _plan_arguments(plan: argparse.ArgumentParser) -> None:
    plan.add_argument("query", metavar="QUERY.yaml", help="- for standard input")
    plan.add_argument("-o", dest="output", type=Path, required=True, metavar="PLAN.ndjson")
    plan.add_argument("--explain", action="store_true", help="list every dropped granule with its reason")
    plan.add_argument("--allow-empty", action="store_true", help="exit 0 also when nothing is kept")


def _plan_diff_arguments(difference: argparse.ArgumentParser) -> None:
    difference.add_argument("old", type=Path)
    difference.add_argument("new", type=Path)


def _summary_arguments(summary: argparse.ArgumentParser) -> None:
    summary.add_argument("plan", type=Path)
    summary.add_argument("--scenes", action="store_true", help="list the scenes of each stack")


def _fetch_arguments(fetch: argparse.ArgumentParser) -> None:
    _on_a_store(fetch)
    fetch.add_argument("--into", type=Path, metavar="DIR", help="link the staged files below DIR as well")
    fetch.add_argument(
        "--symlink", action="store_true", help="with --into: symbolic links, for who touches what he is given"
    )
    fetch.add_argument("--jobs", type=_positive, default=8, help="assets at a time (default: 8)")
    fetch.add_argument("--dry-run", action="store_true", help="say what would be fetched")
    fetch.add_argument("--offline", action="store_true", help="make no request: fail for what is not staged")


def _verify_arguments(verify: argparse.ArgumentParser) -> None:
    _on_a_store(verify)
    verify.add_argument("--deep", action="store_true", help="hash every file again")


def _manifest_arguments(manifest: argparse.ArgumentParser) -> None:
    manifest.add_argument("plan", type=Path)
    manifest.add_argument("--store", type=Path, required=True, metavar="DIR")
    manifest.add_argument("-o", dest="output", type=Path, required=True, metavar="ITEMS.{json,parquet}")


def _export_arguments(export: argparse.ArgumentParser) -> None:
    export.add_argument("plan", type=Path)
    export.add_argument("--format", choices=("curl", "aria2", "rclone", "urls"), required=True)
    _which(export)


def _archives_arguments(archives: argparse.ArgumentParser) -> None:
    del archives


def _limits_arguments(limits: argparse.ArgumentParser) -> None:
    limits.add_argument("action", choices=("show",))


def _doctor_arguments(doctor: argparse.ArgumentParser) -> None:
    doctor.add_argument("archive", nargs="*", help="default: all")
    doctor.add_argument("--store", type=Path, metavar="DIR", help="check this store's disk and locks too")


def _sandbox_arguments(sandbox: argparse.ArgumentParser) -> None:
    sandbox.add_argument("action", choices=("run", "serve"))
    sandbox.add_argument("--catalogue", type=Path, metavar="DIR", help="recorded answers to load")
    sandbox.add_argument("--faults", type=Path, metavar="FILE", help="faults to inject (YAML or JSON)")
    sandbox.add_argument("--log", type=Path, metavar="FILE", help="write each request as a JSON line")
    sandbox.add_argument(
        "--payload-size", type=_positive, default=48_000, metavar="BYTES", help="size of a product's stand-in"
    )
    sandbox.usage = (
        "skystage sandbox {run,serve} [--catalogue DIR] [--faults FILE] [--log FILE]\n"
        "       [--payload-size BYTES] [-- COMMAND ...]"
    )


def _on_a_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", type=Path)
    parser.add_argument("--store", type=Path, required=True, metavar="DIR")
    _which(parser)


def _which(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--batch", type=_batch, metavar="I/N", help="the I-th of N parts of the plan, I from 1"
    )
    parser.add_argument("--asset", action="append", metavar="KEY", help="only assets of this key; repeatable")


def _batch(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N with I from 1 to N")
    return int(number), int(count)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


class _Command(NamedTuple):
    run: Callable[[argparse.Namespace], int]
    declare: Callable[[argparse.ArgumentParser], None]
    text: str


COMMANDS: Mapping[str, _Command] = {
    "search": _Command(_search, _search_arguments, "ask an archive, and list what it has"),
    "plan": _Command(_plan, _plan_arguments, "search, filter and freeze into a plan file"),
    "plan-diff": _Command(_plan_diff, _plan_diff_arguments, "compare two plans: new, gone, reprocessed"),
    "summary": _Command(_summary, _summary_arguments, "the stacks of a plan: dates, gaps, platforms, bytes"),
    "fetch": _Command(_fetch, _fetch_arguments, "stage the assets of a plan"),
    "verify": _Command(_verify, _verify_arguments, "what is staged, missing or damaged"),
    "manifest": _Command(_manifest, _manifest_arguments, "write what is staged as a STAC ItemCollection"),
    "export": _Command(_export, _export_arguments, "write the plan as a list for another download tool"),
    "archives": _Command(_archives, _archives_arguments, "what can be queried, with its keys"),
    "limits": _Command(_limits, _limits_arguments, "what the hosts may be asked"),
    "doctor": _Command(
        _doctor, _doctor_arguments, "check credentials, reachability and disk: each finding with its fix"
    ),
    "sandbox": _Command(_sandbox, _sandbox_arguments, "run a command against the archives in a box"),
}


# --------------------------------------------------------------------------------------------------
# Output


def _print(text: str) -> None:
    _write(sys.stdout, f"{text}\n")


def _print_json(**values: Any) -> None:
    _print(json.dumps(values))


def _print_array(values: Mapping[str, Json], name: str, items: Iterable[Json]) -> None:
    """One JSON object whose last member is an array: that may be longer than memory holds."""
    _write(sys.stdout, f"{json.dumps(values)[:-1]}, {json.dumps(name)}: [")
    for number, item in enumerate(items):
        _write(sys.stdout, f"{', ' if number else ''}{json.dumps(item)}")
    _print("]}")


def _say(*lines: str) -> None:
    for line in lines:
        _write(sys.stderr, f"{line}\n")


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        # Nobody reads on: that changes nothing about what is being done, nor about how it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        _print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} TB"


if __name__ == "__main__":
    main()
