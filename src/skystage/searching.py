"""What a search found, in a file: an archive is asked once, and plans are made of it as filters change.

NDJSON as a plan is: a header line, then the granules as they came, each with every asset that the archive
has of it. What a plan makes of them it makes again each time (`skystage.planning`): of one search, and of
one query, it is the same plan.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from skystage.errors import QueryError
from skystage.model import Granule, Json, Query, canonical, iso
from skystage.plan import Plan, as_line, freeze, tool_versions
from skystage.planfile import FORMAT, FrozenFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from skystage.archives import Search
    from skystage.transport import Access

_BRIEF = 60


class SearchFile(FrozenFile):
    """The file of a search: what the archive was asked, what it counted, and the granules that came.

    Raises
    ------
    PlanError
        If the file is not there, was cut, or is no search that this version can read.
    """

    kind = "search"

    def _take(self, head: Mapping[str, Json]) -> None:
        super()._take(head)
        self.hits, self.received, self.count = int(head["hits"]), int(head["received"]), int(head["count"])
        self.truncated = bool(head["truncated"])
        self.degraded, self.missing = list(head["degraded"]), list(head["missing"])
        self.notes = list(head.get("notes", ()))

    def granules(self) -> Iterator[Granule]:
        """The granules as they came, one at a time.

        Raises
        ------
        PlanError
            If the file was changed after it was made.
        """
        self.check()
        for line in self._lines(0, None):
            yield self._read(Granule.from_json, self._object(line))

    def search(self, query: Query) -> Search:
        """The search over again, for a query that asks the archive the same.

        Raises
        ------
        QueryError
            If something else was searched for.
        """
        from skystage.archives import Search

        now = _asked(query)
        for key in sorted({*now, *self.query}):
            if now.get(key) != self.query.get(key):
                raise QueryError(
                    f"{key}: got {_brief(now.get(key))}, but {self.path} was searched with "
                    f"{_brief(self.query.get(key))}",
                    hint="search again, or change only labels, filter, select, assets and with",
                )
        return Search(
            self.granules(),
            hits=self.hits,
            received=self.received,
            truncated=self.truncated,
            degraded=list(self.degraded),
            missing=list(self.missing),
            notes=list(self.notes),
        )


def search(query: Query, path: Path | str, access: Access) -> SearchFile:
    """Ask the catalogue for `query` and write what it has to `path`: all of it, or no file.

    Raises
    ------
    SearchError
        If the catalogue fails, or delivers less than it counted.
    """
    from skystage import archives

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    found = archives.get(query.archive).search(query, access)
    count = 0
    with tempfile.TemporaryFile(dir=path.parent) as spool:
        for count, granule in enumerate(found, 1):  # noqa: B007
            spool.write(as_line(granule.to_json()))
        head = {
            "kind": SearchFile.kind,
            "format": FORMAT,
            "query": _asked(query),
            "hits": found.hits,
            "received": found.received,
            "truncated": found.truncated,
            "degraded": list(found.degraded),
            "missing": sorted(found.missing),
            **({"notes": list(found.notes)} if found.notes else {}),
            "count": count,
            "length": spool.tell(),
            "created": iso(datetime.now(UTC).replace(microsecond=0)),
            "tools": tool_versions(),
        }
        freeze(path, head, spool)
    return SearchFile(path)


def opened(path: Path | str) -> Plan | SearchFile:
    """A plan, or a search: what the file says that it is.

    Raises
    ------
    PlanError
        If it is neither.
    """
    kind = None
    with suppress(OSError, ValueError, AttributeError), Path(path).open("rb") as file:
        kind = json.loads(file.readline()).get("kind")
    return SearchFile(path) if kind == SearchFile.kind else Plan(path)


def _asked(query: Query) -> dict[str, Json]:
    """What of a query the archive is asked: all the rest is for what came."""
    return replace(
        query,
        labels={},
        filter={},
        select={},
        assets=(),
        companions={},
        offline="drop",
        allow_missing=(),
        requester_pays=False,
    ).to_json()


def _brief(value: Json) -> str:
    text = "nothing" if value is None else canonical(value)
    return text if len(text) <= _BRIEF else f"{text[:_BRIEF]}..."
