"""The pairing table: which orbit file each Sentinel-1 scene of a plan has, and whether it can be used.

What was staged is read: an orbit file counts only if its own header and state vectors cover the scene.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from skystage import layouts
from skystage.archives.orbits import read
from skystage.archives.safe import Safe
from skystage.errors import SkystageError, StructureError
from skystage.model import Asset, Granule, Json, iso
from skystage.orbitfile import KEY, OrbitName, check, mission, need, pairing, parse_name
from skystage.plan import Plan
from skystage.store import Store, link_all
from skystage.whole import whole

TABLE = "orbits.json"


@dataclass(frozen=True, slots=True)
class Pair:
    """A Sentinel-1 scene with its orbit file, or without one and the reason why.

    Attributes
    ----------
    note
        What the plan says of the file (`skystage.orbitfile.pairing`).
    """

    granule: Granule
    asset: Asset | None = None
    note: Mapping[str, Json] | None = None
    reason: str = ""


def pair(plan: Plan, store: Store, failures: Mapping[str, SkystageError] | None = None) -> list[Pair]:
    """Look at the orbit file of each Sentinel-1 scene of a plan, in the plan's order.

    Parameters
    ----------
    failures
        Why assets could not be fetched, by their path.
    """
    read: dict[str, str] = {}
    found = []
    for granule in plan.granules():
        if mission(granule) is None:
            continue
        asset = granule.asset(KEY)
        file = None if asset is None else parse_name(asset.name)
        # A product on disk that cannot be read has no use for an orbit.
        broken = [one.reason for one in granule.unresolved if one.key == KEY or granule.archive == Safe.name]
        if broken or asset is None or file is None:
            reason = "; ".join(broken) or "the plan has no orbit for it: make it with `with: {orbits: true}`"
        elif store.receipt(asset) is None:
            error = (failures or {}).get(asset.path)
            reason = error.message if error else f"{asset.name} is not staged: skystage fetch --asset {KEY}"
        else:
            if asset.path not in read:
                read[asset.path] = _fault(store.path(asset), file)
            reason = read[asset.path] or _gap(granule, file)
        if reason or file is None or granule.start is None or granule.stop is None:
            found.append(Pair(granule, reason=reason))
        else:
            found.append(Pair(granule, asset, pairing(file, granule.start, granule.stop)))
    return found


def _fault(path: Path, file: OrbitName) -> str:
    try:
        check(read(path), file)
    except StructureError as error:
        return error.message
    return ""


def _gap(granule: Granule, file: OrbitName) -> str:
    needed = need(granule)
    if needed is None or file.mission != needed[0] or not file.covers(*needed[1:]):
        return f"{file.name}: does not cover it from one orbit before to a minute after"
    return ""


def link(
    plan: Plan,
    pairs: Iterable[Pair],
    store: Store,
    out: Path,
    layout: layouts.Layout,
    *,
    symbolic: bool = False,
) -> tuple[int, dict[str, SkystageError]]:
    """Link what is staged of a plan to where a tool looks for it: how many paths, and which could not be.

    Orbit files that cannot be used are left out.

    Raises
    ------
    PlanError
        If two assets would go to one path: before anything is linked.
    """
    usable = {one.asset.path for one in pairs if one.asset is not None}
    arranged = layouts.arrange(layout, plan.granules(), plan.companions())
    wanted = {path: asset for path, asset in arranged.items() if asset.key != KEY or asset.path in usable}
    return link_all(store, wanted, out, symbolic=symbolic)


def lacking(plan: Plan, pairs: Iterable[Pair]) -> list[Pair]:
    """The scenes without an orbit that they should have: not those that the query allows to have none.

    A file that is there and cannot be used is never allowed.
    """
    allowed = KEY in plan.query.get("allow_missing", ())
    without = [one for one in pairs if one.asset is None]
    return [one for one in without if not (allowed and any(gap.key == KEY for gap in one.granule.unresolved))]


def table(
    pairs: Iterable[Pair], store: Store, out: Path, layout: layouts.Layout | None = None
) -> dict[str, list[Json]]:
    """The pairing table as JSON; paths are relative to `out`.

    ``pairs`` are the scenes with their orbit file, ``without`` those that have none, each with its reason.
    """
    found: dict[str, list[Json]] = {"pairs": [], "without": []}
    base = out.resolve()
    for one in pairs:
        granule = one.granule
        row: dict[str, Json] = {
            "scene": granule.id,
            "platform": mission(granule),
            "start": None if granule.start is None else iso(granule.start),
            "stop": None if granule.stop is None else iso(granule.stop),
        }
        if one.asset is None or one.note is None:
            found["without"].append({**row, "reason": one.reason})
            continue
        if layout is None:
            path = os.path.relpath(store.path(one.asset).resolve(), base)
        else:
            path = layout(granule, one.asset)
        found["pairs"].append({**row, **one.note, "path": path})
    return found


def write(found: Mapping[str, Collection[Json]], out: Path) -> Path:
    """Write the table, a scene a line; the same pairs are the same bytes."""
    path = out / TABLE
    parts = []
    for name, rows in found.items():
        lines = ",\n".join(json.dumps(row) for row in rows)
        parts.append(f'"{name}": [\n{lines}\n]' if rows else f'"{name}": []')
    with whole(path) as part:
        part.write_text("{" + ",\n".join(parts) + "}\n", encoding="utf-8")
    return path
