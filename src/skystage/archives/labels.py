"""What labels say of granules: read while a plan is made, so that filters can name it.

Labels are small assets beside the data, in PVL (`skystage.pvl`). A query names one by its key, and values in
it by their paths; each value becomes a property of the granule, and its unit another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from skystage import documents
from skystage.criteria import UNIT
from skystage.errors import (
    CatalogueUnavailable,
    LabelError,
    QueryError,
    SkystageError,
)
from skystage.model import Asset, Granule, Json, Query, Unresolved
from skystage.paying import affordable
from skystage.pvl import Label

if TYPE_CHECKING:
    from skystage.transport import Access

NOTE = "skystage:label"
"""The property that holds the sha256 of the label that a granule's values were read from."""


class Read(NamedTuple):
    """A granule with what its label says."""

    granule: Granule
    lost: bool
    """Whether its label should be there and cannot be read: what it says is not known."""


def read(granules: Iterable[Granule], query: Query, access: Access) -> Iterator[Read]:
    """Read the label of each granule; what cannot be had is a reason in `Granule.unresolved`.

    Parameters
    ----------
    granules
        They can be iterated over more than once, and have the labels among their assets.

    Raises
    ------
    CredentialsMissing
        If there are none for the labels, or they are refused.
    QueryError
        While iterating: if a granule has a property of a value's name, or two labels give a value in
        different units; in the end, if no label has such a value.
    CatalogueUnavailable
        While iterating: if a label cannot be read now, and could be later, unless the query allows an
        incomplete search. What was read is kept.
    """
    key: str = query.labels["asset"]
    paths: Mapping[str, str] = query.labels["values"]
    labels = (_label(one, query) for one in granules)
    listed = (label for label in labels if isinstance(label, Asset))
    seen = _Seen(paths)
    with closing(documents.read_all(map(_document, listed), access)) as contents:
        for granule in granules:
            if taken := next((name for name in _names(paths) if name in granule.properties), None):
                raise QueryError(
                    f"labels.values: {granule.id} has a property {taken!r}",
                    hint="give the value another name",
                )
            asset = _label(granule, query)
            if not isinstance(asset, Asset):
                refused = any(one.key == key for one in granule.unresolved)
                paid = isinstance(asset, Unresolved)
                missing = (
                    Unresolved(key=key, reason="the archive lists no such file") if asset is None else asset
                )
                told = granule.unresolved if refused else (*granule.unresolved, missing)
                yield Read(replace(granule, unresolved=told), lost=refused or paid)
                continue
            yield _told(granule, asset, next(contents), seen, query)
    seen.check()


def _label(granule: Granule, query: Query) -> Asset | Unresolved | None:
    """The label of a granule, or why it is not asked for; None if there is none."""
    asset = granule.asset(query.labels["asset"])
    return None if asset is None else affordable(asset, query)


def _told(granule: Granule, asset: Asset, content: bytes | SkystageError, seen: _Seen, query: Query) -> Read:
    """A granule with the values of its label, and why others are not there."""
    found: dict[str, Json] = {}
    problems: list[str] = []
    if isinstance(content, SkystageError):
        if content.transient and not query.allow_incomplete:
            raise CatalogueUnavailable(
                f"{granule.id}: its label cannot be read now: {_message(content, asset)}",
                hint="run it again: what was read is kept",
                retry_after=content.retry_after,
            )
        problems.append(_message(content, asset))
    else:
        try:
            label = Label(content, asset.name)
        except LabelError as error:
            problems.append(error.message)
            documents.forget(_document(asset))
        else:
            found[NOTE] = hashlib.sha256(content).hexdigest()
            for name, path in seen.paths.items():
                try:
                    value, unit = label.value(path)
                except LabelError as error:
                    problems.append(error.message)
                    seen.missing(name, error)
                    continue
                seen.value(name, unit, granule)
                found[name] = value
                if unit is not None:
                    found[f"{name}{UNIT}"] = unit
    lacking = tuple(Unresolved(key=asset.key, reason=problem) for problem in problems)
    said = replace(
        granule,
        properties={**granule.properties, **found},
        unresolved=(*granule.unresolved, *lacking),
    )
    return Read(said, lost=NOTE not in found)


def _message(error: SkystageError, asset: Asset) -> str:
    """What an error says, with the label's own name instead of its place in the cache."""
    return error.message.replace(_document(asset).path, asset.name)


class _Seen:
    """What has been seen of the labels: enough to tell a misspelt query from labels that say nothing."""

    def __init__(self, paths: Mapping[str, str]) -> None:
        self.paths = paths
        self._units: dict[str, Json] = {}
        self._said: set[str] = set()
        self._missing: dict[str, LabelError] = {}

    def missing(self, name: str, error: LabelError) -> None:
        self._missing.setdefault(name, error)

    def value(self, name: str, unit: Json, granule: Granule) -> None:
        self._said.add(name)
        if unit is not None and (known := self._units.setdefault(name, unit)) != unit:
            raise QueryError(
                f"labels.values.{name}: {granule.id} has it in {unit}, others have it in {known}",
                hint="numbers of two units cannot be compared: ask for them in queries of their own",
            )

    def check(self) -> None:
        for name, error in self._missing.items():
            if name not in self._said:
                raise QueryError(f"labels.values.{name}: no label has {self.paths[name]!r}", hint=str(error))


def _names(paths: Mapping[str, str]) -> Iterator[str]:
    for name in paths:
        yield name
        yield f"{name}{UNIT}"


def _document(asset: Asset) -> Asset:
    """A label, as it is kept between plans: of this address, whatever the granule is called."""
    address = hashlib.sha256(" ".join(source.href for source in asset.sources).encode()).hexdigest()
    return replace(asset, path=f"labels/{address[:2]}/{address}/{asset.name}")
