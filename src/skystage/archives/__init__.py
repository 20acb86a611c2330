"""What an archive is to skystage, and where the known ones are found.

An archive is one module with one class that meets `Archive`, named by one entry point of the
group ``skystage.archives``. Nothing else has to be touched to add one: queries, filters, plans,
the command line and the workflows find it here.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from skystage.errors import QueryError
from skystage.model import Companion, Granule, Json, Query

if TYPE_CHECKING:
    from pydantic import BaseModel

    from skystage.transport import Access

GROUP = "skystage.archives"
COMPANIONS = "skystage.companions"


@dataclass(slots=True)
class Search:
    """A search under way: iterate over it for granules; the counts are final when it is exhausted.

    Attributes
    ----------
    hits
        What the archive says it has for the query.
    received
        What it delivered, duplicates included.
    truncated
        Whether the query itself asked for fewer (a cap such as ``max_results``).
    degraded
        Catalogues that did not answer.
    missing
        What the query names one by one, and the archive does not have.
    notes
        Lines for people: what was found that they may not expect.
    """

    granules: Iterator[Granule]
    hits: int = 0
    received: int = 0
    truncated: bool = False
    degraded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Granule]:
        return self.granules


@runtime_checkable
class Archive(Protocol):
    """The whole contract of an archive."""

    name: str
    """As queries say it: ``asf``."""
    title: str
    """One line for people."""
    criteria: type[BaseModel]
    """Its search keys, typed: a pydantic model that forbids extra keys."""
    properties: Mapping[str, str]
    """Filter name to the property that it tests, as a dotted path into `Granule.properties`."""
    property_names: frozenset[str] | None
    """All properties that a filter may name directly; None where they are open."""
    asset_keys: tuple[str, ...] | None
    """The keys of its assets, the main one first; None where each collection has its own.

    One with ``*`` stands for all such keys, as ``*.*`` for what is called by a file name's ending.
    """
    companions: frozenset[str]
    """What its granules can bring along: the keys of a query's ``with`` (see `Companions`)."""

    def selection(self, select: Mapping[str, Json]) -> dict[str, Json]:
        """A query's ``select`` in the words of the archive's assets.

        Raises
        ------
        QueryError
            If they have no such field.
        """
        ...

    def search(self, query: Query, access: Access) -> Search:
        """Ask the catalogue; granules come one by one, with every asset the archive has of them.

        Raises
        ------
        SearchError
            While iterating: if the catalogue fails, or delivers less than it counted.
        """
        ...

    def checks(self, query: Query) -> dict[str, Json]:
        """The query's own criteria as filters: what the server was asked is tested again here."""
        ...

    def sensing(self, granule: Granule) -> str | None:
        """What several processings of one sensing share, as text; None where the granule is the only one."""
        ...

    def processed(self, granule: Granule) -> str:
        """When it was processed, as text that sorts: of one sensing the newest is kept."""
        ...

    def offline(self, granule: Granule) -> bool:
        """Whether the archive would have to restore it before it can be fetched."""
        ...

    def resolve(self, granules: Iterable[Granule], query: Query, access: Access) -> Iterable[Granule]:
        """The granules that were kept, in the same order, with what only their own metadata tells.

        An archive that says all in its search gives them back as they are. Others read small documents of
        each product (`skystage.documents`) and add its files as assets; what cannot be read is a reason
        in `Granule.unresolved`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Companions:
    """What was found to go along with some granules.

    Attributes
    ----------
    granules
        The same granules in the same order, with the assets that belong to each, or with the reason why
        not; like those that were given, they can be iterated over again.
    companions
        What belongs to the area rather than to one granule.
    degraded
        Catalogues that did not answer, so that the choice may not be the best.
    """

    granules: Iterable[Granule]
    companions: list[Companion] = field(default_factory=list)
    degraded: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Changed:
    """Granules that are changed while they go by, each time anew: none of them is kept in memory."""

    granules: Iterable[Granule]
    change: Callable[[Granule], Granule]

    def __iter__(self) -> Iterator[Granule]:
        return map(self.change, self.granules)


class FindCompanions(Protocol):
    """A function of the entry point group ``skystage.companions``, named as queries say it."""

    def __call__(self, granules: Iterable[Granule], options: Json, access: Access) -> Companions:
        """Find what goes along with these granules.

        Parameters
        ----------
        granules
            Those that were kept, in the plan's order. There may be 100,000: iterate over them, as often
            as needed (each time they are read from disk), and hand them on as `Changed`.
        options
            The value in the query's ``with``.
        """
        ...


def find_companions(name: str) -> FindCompanions:
    """The function that finds companions of that name.

    Raises
    ------
    QueryError
        If there is none.
    """
    for point in entry_points(group=COMPANIONS):
        if point.name == name:
            return cast("FindCompanions", point.load())
    raise QueryError(f"with: {name!r} is not known")


def names() -> list[str]:
    """The names of all archives that are installed, sorted."""
    return sorted(point.name for point in entry_points(group=GROUP))


def get(name: str) -> Archive:
    """The archive of that name.

    Raises
    ------
    QueryError
        If there is none; the message names the nearest.
    """
    for point in entry_points(group=GROUP):
        if point.name == name:
            return cast("Archive", point.load()())
    near = difflib.get_close_matches(name, names(), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"installed: {', '.join(names())}"
    raise QueryError(f"archive: {name!r} is not known", hint=hint)
