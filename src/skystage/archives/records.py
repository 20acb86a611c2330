"""Records of catalogues, which may be anything: a granule comes of each, or an error that names it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

import shapely
from shapely.errors import ShapelyError
from shapely.geometry import shape

from skystage import aoi
from skystage.errors import SearchError
from skystage.model import Asset, Granule, Json, canonical

BROKEN = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    ShapelyError,
    TypeError,
    ValueError,
)
"""What is raised by reading something of another form than it should have."""

P = ParamSpec("P")
Record = TypeVar("Record")
Read = TypeVar("Read", Granule, Asset)


@contextmanager
def reading(archive: str, name: Callable[[], Json]) -> Iterator[None]:
    """Take what goes wrong within for the fault of a record.

    Parameters
    ----------
    name
        What the record is called, if it says so; it may fail as well.

    Raises
    ------
    SearchError
        With the archive's name and the record's.
    """
    try:
        yield
    except BROKEN as error:
        try:
            called = name()
        except BROKEN:
            called = None
        which = ascii(called[:200]) if isinstance(called, str) and called else "without a name"
        what = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
        raise SearchError(
            f"{archive}: the record {which} cannot be read ({what})",
            hint="the catalogue holds a broken record: narrow the query around it, and tell the archive",
        ) from error


def whole(
    archive: str, name: Callable[[Any], Json]
) -> Callable[[Callable[Concatenate[Record, P], Read]], Callable[Concatenate[Record, P], Read]]:
    """Decorate what makes a granule or an asset of a record: it gives a whole one, or raises `SearchError`.

    Parameters
    ----------
    name
        What a record is called; see `reading`.
    """

    def decorate(make: Callable[Concatenate[Record, P], Read]) -> Callable[Concatenate[Record, P], Read]:
        @functools.wraps(make)
        def made(record: Record, /, *args: P.args, **options: P.kwargs) -> Read:
            with reading(archive, lambda: name(record)):
                found = make(record, *args, **options)
                _check(found)
                return found

        return made

    return decorate


def footprint(said: Json) -> dict[str, Json] | None:
    """A record's GeoJSON as a granule has it; None where the record has none, or one without a place.

    Raises
    ------
    ValueError
        If it is no geometry.
    """
    if said is None or shapely.is_empty(shape(said)):
        return None
    for part in said["geometries"] if said["type"] == "GeometryCollection" else [said]:
        if part["coordinates"] != []:
            _positions(part["coordinates"])
    _plain(said)
    return aoi.split(said)


def _positions(said: Json) -> None:
    """Refuse what shapely reads all the same: numbers that are texts, and nothing in the place of a ring."""
    if not isinstance(said, list | tuple) or not said:
        raise TypeError(f"coordinates: {said!r}")
    if isinstance(said[0], list | tuple):
        for one in said:
            _positions(one)
    elif not all(isinstance(number, int | float) for number in said):
        raise TypeError(f"coordinates: {said!r}")


def _plain(said: Json) -> str:
    # Python reads numbers as infinite that are too large, and halves of characters.
    text = canonical(said)
    text.encode()
    return text


def _check(found: Granule | Asset) -> None:
    """Refuse what no plan could hold.

    Raises
    ------
    TypeError, ValueError
        With what is wrong.
    """
    if isinstance(found, Granule):
        _texts(archive=found.archive, collection=found.collection, id=found.id, native_id=found.native_id)
        if not isinstance(found.properties, Mapping):
            raise TypeError("its properties are none")
        assets = found.assets
    else:
        assets = (found,)
    for asset in assets:
        _texts(key=asset.key, path=asset.path, **asset.checksums)
        if not isinstance(asset.size, int | None) or isinstance(asset.size, bool) or (asset.size or 0) < 0:
            raise TypeError(f"size: {asset.size!r} is no number of bytes")
        for source in asset.sources:
            _texts(href=source.href)
    # Not all of it as JSON: that would take as long again as to make it.
    gaps = [one.to_json() for one in found.unresolved] if isinstance(found, Granule) else []
    _plain([found.properties, gaps, [(one.key, one.path, one.media_type, one.properties) for one in assets]])
    for asset in assets:
        for source in asset.sources:
            source.href.encode()


def _texts(**fields: object) -> None:
    for name, value in fields.items():
        if not isinstance(value, str) or not value:
            raise TypeError(f"{name}: {value!r} is no text")
