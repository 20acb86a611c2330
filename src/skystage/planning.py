"""From a query to a plan: search, de-duplicate, test again, filter, choose assets, find companions.

This is all that lies left of the plan: it talks to catalogues and moves no product's bytes. The steps
come in this order because each narrows what the next one sees: an older processing does not come
back because the newest is offline. Granules pass by one at a time and lie on disk between the steps
(`skystage.spool`), so that 100,000 need no more memory than a page of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from skystage.errors import QueryError
from skystage.model import Asset, Companion, Dropped, Granule, Query, Unresolved
from skystage.plan import Plan, write
from skystage.spool import Spool

if TYPE_CHECKING:
    from skystage.archives import Archive
    from skystage.filters import Filter
    from skystage.searching import SearchFile
    from skystage.transport import Access


PAID = "only where the requester pays: `requester_pays: true` agrees to it"


def build(query: Query, path: Path | str, access: Access, *, searched: SearchFile | None = None) -> Plan:
    """Search, filter and freeze: ask the catalogues for `query` and write the plan to `path`.

    Parameters
    ----------
    searched
        What the archive said before: it is not asked again, and the plan is the same. Companions still ask.

    Raises
    ------
    QueryError
        If an asset key names nothing that a granule has, or `searched` was searched for something else.
    PlanError
        If `searched` was changed after it was made.
    SearchError
        If a catalogue fails, or delivers less than it counted.
    """
    from skystage import archives, filters

    archive = archives.get(query.archive)
    for name, options in query.companions.items():
        # With nothing to look for, it only looks at its options: wrong ones are found before any request.
        archives.find_companions(name)([], options, access)
    asked = filters.Filter(query.filter, properties=archive.properties, area=query.area)
    reason = _first_reason(query, archive, asked)
    wanted = query.assets or (archive.asset_keys or ())[:1]
    with ExitStack() as stack:
        spool = stack.enter_context(Spool())
        search = archive.search(query, access) if searched is None else searched.search(query)
        for granule in search:
            spool.add(
                replace(
                    granule, assets=tuple(one for one in granule.assets if not wanted or one.key in wanted)
                ),
                reason=reason(granule),
                sensing=archive.sensing(granule),
                processed=archive.processed(granule),
                swath=asked.swath(granule),
                keys=_keys(granule),
            )
        # An older processing is superseded, whatever else it was dropped for.
        filters.dedupe(spool)
        asked.finish(spool)
        kept = spool
        if (resolved := archive.resolve(spool, query, access)) is not spool:
            # Each of them took a look at a product: once is enough, however often they are iterated over.
            kept = stack.enter_context(Spool())
            for granule in resolved:
                kept.add(granule, keys=_keys(granule))
        _check_keys(query, kept)
        granules: Iterable[Granule] = archives.Changed(
            kept, lambda granule: _with_wanted_assets(granule, query, wanted)
        )
        companions: list[Companion] = []
        degraded = list(search.degraded)
        for name, options in sorted(query.companions.items()):
            found = archives.find_companions(name)(granules, options, access)
            granules = found.granules
            companions += found.companions
            degraded += found.degraded
        missing = [Dropped(id=name, reason="not in the archive") for name in sorted(search.missing)]
        return write(
            path,
            query=query,
            granules=granules,
            companions=companions,
            dropped=heapq.merge(spool.dropped(), missing, key=lambda one: (one.id, one.reason)),
            hits=search.hits,
            received=search.received,
            truncated=search.truncated,
            degraded=tuple(degraded),
        )


def _first_reason(query: Query, archive: Archive, asked: Filter) -> Callable[[Granule], str | None]:
    """Why a granule is dropped when it is looked at alone: the first step's reason that has one.

    What the server was asked is tested again: some ignore a criterion without a word.
    """
    from skystage import aoi, filters

    again = filters.Filter(archive.checks(query), properties=archive.properties)
    area = None if query.area is None else aoi.Area(query.area)

    def reason(granule: Granule) -> str | None:
        if (failed := again.reason(granule)) is not None:
            return failed
        if area is not None and (granule.geometry is None or not area.intersects(granule.geometry)):
            return "area"
        if query.offline == "drop" and archive.offline(granule):
            return "offline"
        return asked.reason(granule)

    return reason


def _with_wanted_assets(granule: Granule, query: Query, wanted: Sequence[str]) -> Granule:
    """Leave a granule the assets that the query wants, and say which of them it lacks."""
    from skystage import filters

    had = {asset.key: asset for asset in reversed(granule.assets)}
    assets = tuple(had[key] for key in wanted if key in had) if wanted else granule.assets
    if query.select:
        assets = tuple(asset for asset in assets if filters.selects(query.select, asset))
    agreed = query.requester_pays
    paid = tuple(Unresolved(key=one.key, reason=PAID) for one in assets if one.paid and not agreed)
    assets = tuple(_as_cheap_as_can_be(asset) for asset in assets if agreed or not asset.paid)
    said = {item.key for item in granule.unresolved}
    lacking = tuple(
        Unresolved(key=key, reason="the archive lists no such file")
        for key in wanted
        if key not in had and key not in said
    )
    known = tuple(item for item in granule.unresolved if not wanted or item.key in wanted)
    return replace(granule, assets=assets, unresolved=known + lacking + paid)


def _as_cheap_as_can_be(asset: Asset) -> Asset:
    """An asset that is free somewhere, without the sources that are not: what is paid for is known before."""
    free = tuple(source for source in asset.sources if not source.requester_pays)
    return replace(asset, sources=free) if free else asset


def _keys(granule: Granule) -> set[str]:
    """The keys of the assets that a granule has, or has and cannot give."""
    return {asset.key for asset in granule.assets} | {lacking.key for lacking in granule.unresolved}


def _check_keys(query: Query, spool: Spool) -> None:
    together = list(spool.keys())
    known = {key for keys in together for key in keys}
    for key in query.assets:
        if together and key not in known:
            hint = f"they have: {', '.join(sorted(known))}"
            raise QueryError(f"assets: no granule has {key!r}", hint=hint)
