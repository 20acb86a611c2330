"""From a query to a plan: search, de-duplicate, test again, filter, choose assets, find companions.

This is all that lies left of the plan: it talks to catalogues and moves no product's bytes. The steps
come in this order because each narrows what the next one sees: an older processing does not come
back because the newest is offline.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from skystage.errors import QueryError
from skystage.model import Companion, Dropped, Granule, Query, Unresolved
from skystage.plan import Plan, write

if TYPE_CHECKING:
    from skystage.archives import Archive
    from skystage.transport import Access


def build(query: Query, path: Path | str, access: Access) -> Plan:
    """Search, filter and freeze: ask the catalogues for `query` and write the plan to `path`.

    Raises
    ------
    QueryError
        If an asset key names nothing that a granule has.
    SearchError
        If a catalogue fails, or delivers less than it counted.
    """
    from skystage import archives, filters

    archive = archives.get(query.archive)
    for name, options in query.companions.items():
        # With nothing to look for, it only looks at its options: wrong ones are found before any request.
        archives.find_companions(name)([], options, access)
    search = archive.search(query, access)
    one = filters.dedupe(search, sensing=archive.sensing, processed=archive.processed)
    kept, dropped = one.kept, list(one.dropped)
    dropped += [Dropped(id=name, reason="not in the archive") for name in search.missing]
    for step in (_as_asked, _online, _as_filtered):
        kept, more = step(kept, query, archive)
        dropped += more
    kept = _with_wanted_assets(kept, query, archive)
    companions: list[Companion] = []
    degraded = list(search.degraded)
    for name, options in sorted(query.companions.items()):
        found = archives.find_companions(name)(kept, options, access)
        kept = found.granules
        companions += found.companions
        degraded += found.degraded
    return write(
        path,
        query=query,
        granules=kept,
        companions=companions,
        dropped=dropped,
        hits=search.hits,
        received=search.received,
        truncated=search.truncated,
        degraded=tuple(degraded),
    )


def _as_asked(granules: list[Granule], query: Query, archive: Archive) -> tuple[list[Granule], list[Dropped]]:
    """Test again what the server was asked: some ignore a criterion without a word."""
    from skystage import aoi, filters

    checked = filters.apply(granules, archive.checks(query), properties=archive.properties)
    kept, dropped = checked.kept, list(checked.dropped)
    if query.area is not None:
        inside = aoi.intersecting(query.area, [granule.geometry for granule in kept])
        dropped += [Dropped(id=g.id, reason="area") for g, hit in zip(kept, inside, strict=True) if not hit]
        kept = [granule for granule, hit in zip(kept, inside, strict=True) if hit]
    return kept, dropped


def _online(granules: list[Granule], query: Query, archive: Archive) -> tuple[list[Granule], list[Dropped]]:
    if query.offline == "keep":
        return granules, []
    kept = [granule for granule in granules if not archive.offline(granule)]
    return kept, [Dropped(id=g.id, reason="offline") for g in granules if archive.offline(g)]


def _as_filtered(
    granules: list[Granule], query: Query, archive: Archive
) -> tuple[list[Granule], list[Dropped]]:
    from skystage import filters

    result = filters.apply(granules, query.filter, properties=archive.properties, area=query.area)
    return result.kept, list(result.dropped)


def _with_wanted_assets(granules: list[Granule], query: Query, archive: Archive) -> list[Granule]:
    """Leave each granule the assets that the query wants, and say which of them it lacks."""
    from skystage import filters

    wanted = query.assets or (archive.asset_keys or ())[:1]
    out = []
    for granule in granules:
        assets = granule.assets
        if wanted:
            assets = tuple(asset for key in wanted if (asset := granule.asset(key)) is not None)
        if query.select:
            assets = tuple(asset for asset in assets if filters.selects(query.select, asset))
        lacking = tuple(
            Unresolved(key=key, reason="the archive lists no such file")
            for key in wanted
            if granule.asset(key) is None
        )
        out.append(replace(granule, assets=assets, unresolved=granule.unresolved + lacking))
    for key in query.assets:
        if granules and all(granule.asset(key) is None for granule in granules):
            known = sorted({asset.key for granule in granules for asset in granule.assets})
            raise QueryError(f"assets: no granule has {key!r}", hint=f"they have: {', '.join(known)}")
    return out
