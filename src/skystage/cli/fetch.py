"""``skystage fetch``: stage the assets of a plan."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from skystage.cli.arguments import on_a_store, positive
from skystage.cli.output import DONE, FAILED, out_json, say, size_text
from skystage.errors import Offline, QueryError, SkystageError

if TYPE_CHECKING:
    from skystage.canon import Json
    from skystage.model import Asset
    from skystage.planfile import Entry, PlanFile


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    on_a_store(parser)
    parser.add_argument("--into", type=Path, metavar="DIR", help="link the staged files below DIR as well")
    parser.add_argument(
        "--layout",
        metavar="NAME",
        help="with --into: where another tool looks: flat, mastDownload, stack, isce2, s1reader, gamma, "
        "burst",
    )
    parser.add_argument(
        "--symlink", action="store_true", help="with --into: symbolic links, for who touches what he is given"
    )
    parser.add_argument("--jobs", type=positive, default=8, help="assets at a time (default: 8)")
    parser.add_argument("--released", action="store_true", help="fetch again also what was released")
    parser.add_argument("--dry-run", action="store_true", help="say what would be fetched")
    parser.add_argument("--offline", action="store_true", help="make no request: fail for what is not staged")


def run(arguments: argparse.Namespace) -> int:
    """Stage what is missing; what is staged is confirmed without a request."""
    from skystage.planfile import PlanFile
    from skystage.staged import Staged

    plan, staged = PlanFile(arguments.plan), Staged(arguments.store)
    arranged = None if arguments.layout is None else _arranged(arguments)
    missing, already, released, size = [], 0, 0, 0
    for entry in plan.entries(arguments.batch, arguments.asset):
        if (receipt := staged.proof(entry)) is not None:
            already += 1
            size += receipt["size"]
        elif not arguments.released and staged.tombstone(entry) is not None:
            released += 1
        else:
            missing.append(entry)
    to_come = sum(entry.size or 0 for entry in missing)
    if arguments.dry_run:
        planned = already + released + len(missing)
        if arguments.json:
            out_json(planned=planned, already=already, released=released, missing=len(missing), bytes=to_come)
        say(f"{already:,} of {planned:,} assets are staged{_and(released)}; to come: {size_text(to_come)}")
        return DONE
    if missing and not arguments.offline:
        result = _staged_now(arguments, to_come)
    else:
        failures = _not_staged(missing) | plan.lacking(arguments.batch, arguments.asset)
        result = _staged_before(already, released, size, failures)
    if arguments.into is not None:
        result["failed"] += _failed(_link(plan, arguments, arranged))
    if arguments.json:
        out_json(**result)
    for item in result["failed"]:
        # A log-in that is refused is named by its service: that of all files.
        named = "" if item["asset"] in item["message"] else f"{item['asset']}: "
        say(f"failed   {named}{item['message']}")
    say(
        f"staged   {result['staged']:,} of {result['planned']:,} assets ({result['already']:,} already)"
        f"{_and(result['released'])}, {size_text(result['bytes_moved'])} moved, "
        f"{result['requests']:,} requests, {result['seconds']:.1f} s"
    )
    return FAILED if result["failed"] else DONE


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
            released=arguments.released,
            listen=listen,
        )
    return {
        "planned": outcome.planned,
        "staged": len(outcome.receipts),
        "already": outcome.already,
        "released": len(outcome.released),
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


def _staged_before(
    staged: int, released: int, size: int, failures: Mapping[str, SkystageError]
) -> dict[str, Json]:
    """What is staged, without a request and without loading what could make one; the rest failed."""
    return {
        "planned": staged + released + len(failures),
        "staged": staged,
        "already": staged,
        "released": released,
        "failed": _failed(failures),
        "bytes": size,
        "bytes_moved": 0,
        "requests": 0,
        "seconds": 0.0,
    }


def _and(released: int) -> str:
    return f", {released:,} released" if released else ""


def _failed(failures: Mapping[str, SkystageError]) -> list[Json]:
    return [
        {"asset": path, "error": type(error).__name__, "message": str(error)}
        for path, error in failures.items()
    ]


def _arranged(arguments: argparse.Namespace) -> dict[str, Asset]:
    """Where each asset goes; refused before anything is fetched, if two would go to one place."""
    from skystage import layouts
    from skystage.plan import Plan

    layout = layouts.get(arguments.layout)
    if arguments.into is None:
        raise QueryError("--layout: is for --into", hint="add --into DIR")
    plan = Plan(arguments.plan)
    batch = arguments.batch
    return layouts.arrange(layout, plan.granules(batch), plan.companions(batch), arguments.asset)


def _link(
    plan: PlanFile, arguments: argparse.Namespace, arranged: Mapping[str, Asset] | None
) -> Mapping[str, SkystageError]:
    """Give what is staged its second names; why some could not be given."""
    from skystage.store import Store, link_all

    store = Store(arguments.store, read_only=True)
    if arranged is not None:
        return link_all(store, arranged, arguments.into, symbolic=arguments.symlink)[1]
    for entry in plan.entries(arguments.batch, arguments.asset):
        if store.proof(entry) is not None:
            store.link(entry, arguments.into, symbolic=arguments.symlink)
    return {}
