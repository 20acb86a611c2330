"""``skystage derive orbits``: pair the scenes of a plan, or the products in a folder, with orbit files."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from skystage.cli.output import DONE, FAILED, NOTHING, out_json, say

if TYPE_CHECKING:
    from skystage.errors import SkystageError
    from skystage.plan import Plan
    from skystage.store import Store


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument(
        "given", type=Path, metavar="PLAN|FOLDER", help="a folder of SAFE products: their orbits are fetched"
    )
    parser.add_argument("--store", type=Path, required=True, metavar="DIR")
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="OUT", help="for orbits.json")
    parser.add_argument(
        "--orbits", type=Path, metavar="DIR", help="orbit files that lie here are used (default: FOLDER)"
    )
    parser.add_argument("--recursive", action="store_true", help="look for products below FOLDER as well")
    parser.add_argument(
        "--layout",
        metavar="NAME",
        help="link what is staged below OUT where a tool looks: flat, stack, isce2, s1reader, gamma, burst",
    )
    parser.add_argument("--symlink", action="store_true", help="with --layout: symbolic links")


def run(arguments: argparse.Namespace) -> int:
    """Write the table, and say which scenes have no orbit file, and why."""
    from skystage import layouts
    from skystage.derive import orbits
    from skystage.errors import QueryError
    from skystage.plan import Plan
    from skystage.store import Store

    layout = None if arguments.layout is None else layouts.get(arguments.layout)
    if arguments.orbits is not None and not arguments.orbits.is_dir():
        raise QueryError(f"--orbits: {str(arguments.orbits)!r} is no folder")
    arguments.output.mkdir(parents=True, exist_ok=True)
    failures: Mapping[str, SkystageError] = {}
    if arguments.given.is_dir():
        plan, store = _planned(arguments), Store(arguments.store)
        failures = _staged(plan, store, arguments.orbits or arguments.given)
    elif arguments.recursive:
        raise QueryError("--recursive: is for a folder", hint=f"{arguments.given} is none")
    else:
        plan = Plan(arguments.given)
        plan.check()
        store = Store(arguments.store, read_only=arguments.orbits is None)
        if arguments.orbits is not None:
            _take(plan, arguments.orbits, store)
    pairs = orbits.pair(plan, store, failures)
    taken: Mapping[str, SkystageError] = {}
    if layout is not None:
        linked, taken = orbits.link(plan, pairs, store, arguments.output, layout, symbolic=arguments.symlink)
    found = orbits.table(pairs, store, arguments.output, layout)
    path = orbits.write(found, arguments.output)
    if arguments.json:
        out_json(**found)
    count, precise = len(found["pairs"]), sum(not one["upgradable"] for one in found["pairs"])
    say(f"paired   {count:,} scenes: {precise:,} precise, {count - precise:,} restituted")
    for one in found["without"]:
        say(f"without  {one['scene']}: {one['reason']}")
    for host in plan.header.degraded:
        say(f"degraded: {host}")
    for error in taken.values():
        say(f"failed   {error}")
    if layout is not None:
        say(f"linked   {linked:,} files below {arguments.output}")
    say(f"table    {path}")
    if not pairs:
        say("no Sentinel-1 scene in it")
        return NOTHING
    return FAILED if orbits.lacking(plan, pairs) or taken else DONE


def _planned(arguments: argparse.Namespace) -> Plan:
    """The plan of the products in a folder, with orbits."""
    from skystage import planning, query
    from skystage.transport import Access

    asked = query.parse(
        {
            "archive": "safe",
            "folder": str(arguments.given),
            "recursive": arguments.recursive,
            "with": {"orbits": {"folder": str(arguments.orbits or arguments.given)}},
        }
    )
    return planning.build(asked, arguments.output / "plan.ndjson", Access())


def _staged(plan: Plan, store: Store, folder: Path) -> Mapping[str, SkystageError]:
    """Stage the orbit files: those that lie in the folder from there, the others from the archives."""
    from skystage.batch import fetch_all
    from skystage.progress import progress
    from skystage.transport import Access

    _take(plan, folder, store)
    missing = [asset for asset in plan.assets() if store.receipt(asset) is None]
    with progress(sum(asset.size or 0 for asset in missing)) as listen:
        return fetch_all(missing, store, Access(), listen=listen).failures


def _take(plan: Plan, folder: Path, store: Store) -> None:
    """Stage the orbit files that lie in a folder; one that is wrong stays there, and is fetched."""
    from skystage.adopt import adopt_folder
    from skystage.orbitfile import KEY

    if any(asset.key == KEY for asset in plan.assets()):
        adopt_folder(plan, folder, store, keys=[KEY], way="copy")
