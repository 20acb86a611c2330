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
from skystage.paying import affordable
from skystage.plan import Plan, place, write
from skystage.spool import Spool

if TYPE_CHECKING:
    from skystage.archives import Archive
    from skystage.filters import Filter
    from skystage.searching import SearchFile
    from skystage.transport import Access


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
    told = query.labels.get("values", {})
    # Of what a label says a granule knows nothing before it is read.
    asked = filters.Filter(
        {name: wanted for name, wanted in query.filter.items() if name not in told},
        properties=archive.properties,
        area=query.area,
    )
    reason = _first_reason(query, archive, asked)
    wanted = query.assets or (archive.asset_keys or ())[:1]
    needed = {*wanted, query.labels["asset"]} if told and wanted else wanted
    with ExitStack() as stack:
        found = stack.enter_context(Spool())
        search = archive.search(query, access) if searched is None else searched.search(query)
        for granule in search:
            found.add(
                replace(
                    granule, assets=tuple(one for one in granule.assets if not needed or one.key in needed)
                ),
                reason=reason(granule),
                sensing=archive.sensing(granule),
                processed=archive.processed(granule),
                swath=asked.swath(granule),
                keys=_keys(granule),
            )
        # An older processing is superseded, whatever else it was dropped for.
        filters.dedupe(found)
        rest, lost = found, found
        if told:
            rest, lost = stack.enter_context(Spool()), stack.enter_context(Spool())
            _read_labels(found, query, access, asked, rest=rest, lost=lost)
        asked.finish(rest)
        kept = rest
        if (resolved := archive.resolve(rest, query, access)) is not rest:
            # Each of them took a look at a product: once is enough, however often they are iterated over.
            kept = stack.enter_context(Spool())
            for granule in resolved:
                kept.add(granule, keys=_keys(granule))
        _check_keys(query, found, kept)
        granules: Iterable[Granule] = archives.Changed(
            kept, lambda granule: _with_wanted_assets(granule, query, wanted)
        )
        companions: list[Companion] = []
        degraded = list(search.degraded)
        for name, options in sorted(query.companions.items()):
            brought = archives.find_companions(name)(granules, options, access)
            granules = brought.granules
            companions += brought.companions
            degraded += brought.degraded
        missing = [Dropped(id=name, reason="not in the archive") for name in sorted(search.missing)]
        return write(
            path,
            query=query,
            granules=granules if lost is found else heapq.merge(granules, lost, key=place),
            companions=companions,
            dropped=heapq.merge(
                found.dropped(),
                () if rest is found else rest.dropped(),
                missing,
                key=lambda one: (one.id, one.reason),
            ),
            hits=search.hits,
            received=search.received,
            truncated=search.truncated,
            degraded=tuple(degraded),
            notes=tuple(search.notes),
        )


def _first_reason(query: Query, archive: Archive, asked: Filter) -> Callable[[Granule], str | None]:
    """Why a granule is dropped when it is looked at alone: the first step's reason that has one."""
    from skystage import filters

    again = filters.asked(archive.checks(query), query.area, archive.properties)

    def reason(granule: Granule) -> str | None:
        if (failed := again(granule)) is not None:
            return failed
        if query.offline == "drop" and archive.offline(granule):
            return "offline"
        return asked.reason(granule)

    return reason


def _read_labels(
    found: Spool, query: Query, access: Access, asked: Filter, *, rest: Spool, lost: Spool
) -> None:
    """Test what the labels say of the granules that were found.

    One whose label does not say what a filter wants to know is dropped. One whose label should be there and
    cannot be read stays, without its assets and with the reason: nothing of it can be fetched, and nobody
    takes it for one that does not match. A query that allows the label to be missing drops it as well.
    """
    from skystage import filters
    from skystage.archives import labels

    key, told = query.labels["asset"], query.labels["values"]
    _check_key("labels.asset", key, list(found.keys()))
    asks = {name: wanted for name, wanted in query.filter.items() if name in told}
    test = filters.Filter(asks, properties={})
    for granule, unread in labels.read(found, query, access):
        reason = test.reason(granule)
        if unread and reason is not None and key not in query.allow_missing:
            why = tuple(one for one in granule.unresolved if one.key == key)
            lost.add(replace(granule, assets=(), unresolved=why))
        else:
            rest.add(granule, reason=reason, swath=asked.swath(granule), keys=_keys(granule))


def _with_wanted_assets(granule: Granule, query: Query, wanted: Sequence[str]) -> Granule:
    """Leave a granule the assets that the query wants, and say which of them it lacks."""
    from skystage import filters

    had = {asset.key: asset for asset in reversed(granule.assets)}
    assets = tuple(had[key] for key in wanted if key in had) if wanted else granule.assets
    if query.select:
        assets = tuple(asset for asset in assets if filters.selects(query.select, asset))
    found = [affordable(asset, query) for asset in assets]
    said = {item.key for item in granule.unresolved}
    # Of a label it has been said before.
    paid = tuple(one for one in found if isinstance(one, Unresolved) and one.key not in said)
    assets = tuple(one for one in found if isinstance(one, Asset))
    lacking = tuple(
        Unresolved(key=key, reason="the archive lists no such file")
        for key in wanted
        if key not in had and key not in said
    )
    named = {*wanted, query.labels.get("asset")}
    known = tuple(item for item in granule.unresolved if not wanted or item.key in named)
    return replace(granule, assets=assets, unresolved=known + lacking + paid)


def _keys(granule: Granule) -> set[str]:
    """The keys of the assets that a granule has, or has and cannot give."""
    return {asset.key for asset in granule.assets} | {lacking.key for lacking in granule.unresolved}


def _check_keys(query: Query, found: Spool, kept: Spool) -> None:
    if together := list(kept.keys()):
        for key in query.assets:
            _check_key("assets", key, [*together, *found.keys()])


def _check_key(field: str, key: str, together: list[list[str]]) -> None:
    known = {one for keys in together for one in keys}
    if together and key not in known:
        hint = f"they have: {', '.join(sorted(known))}"
        raise QueryError(f"{field}: no granule has {key!r}", hint=hint)
