"""Sentinel-1 orbit files: chosen for the granules that were kept, from two catalogues at once.

The Copernicus Data Space and ASF's public bucket ``s1-orbits`` list the same files. The choice is
made over what both list together, so it does not depend on which of them answers first; a file that
both have becomes one asset with two sources.

The rules: a precise orbit (POEORB) before a restituted one (RESORB); it must cover the sensing time
from one orbit before to a minute after, because processors interpolate from the ascending node;
of several the one created last.
"""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote, urlencode

from skystage.archives import Changed, Companions, odata
from skystage.errors import CatalogueUnavailable, QueryError, SkystageError, StructureError
from skystage.model import Asset, Granule, Json, Source, Unresolved, iso
from skystage.orbitfile import (
    KEY,
    MARGIN,
    NOTE,
    ORBIT,
    TYPES,
    Need,
    OrbitName,
    check,
    need,
    pairing,
    parse_name,
)

if TYPE_CHECKING:
    from skystage.transport import Access

LONGEST = timedelta(days=3)
"""No orbit file is valid for longer: precise ones for 26 hours, restituted ones for three."""
BUCKET = "s1-orbits"
WINDOWS = {
    "AUX_POEORB": (timedelta(days=400), timedelta(days=9000)),
    "AUX_RESORB": (timedelta(days=10), timedelta(days=200)),
}
"""The gap that a window of the catalogue may hold, and its length: one precise orbit a day and some
twenty-five restituted ones keep a window below the 10,000 records that can be paged through."""


@dataclass(frozen=True, slots=True)
class OrbitFile(OrbitName):
    """One orbit file, as its name and the catalogues describe it."""

    size: int | None
    checksums: Mapping[str, str]
    sources: tuple[Source, ...]

    def asset(self) -> Asset:
        """The file as an asset that all granules share that need it."""
        return Asset(
            key=KEY,
            path=f"orbits/{self.kind}/{self.name.removesuffix('.EOF')}/{self.name}",
            size=self.size,
            checksums=self.checksums,
            media_type="application/xml",
            sources=self.sources,
        )


def find(granules: Iterable[Granule], options: Json, access: Access) -> Companions:
    """Give each Sentinel-1 granule its orbit file, or the reason why it has none.

    Parameters
    ----------
    granules
        Those that were kept; granules of other missions pass unchanged.
    options
        ``true``; or a mapping: ``types: [AUX_POEORB]`` allows only precise orbits, and of the orbit files
        in ``folder`` those that cover a scene are chosen before any other of their kind.

    Raises
    ------
    QueryError
        If an option has no meaning, or the folder is not there.
    CatalogueUnavailable
        If neither catalogue answers, and the folder does not have what is needed.
    """
    types, folder = _options(options)
    needs = _Needs()
    for granule in granules:
        if (needed := need(granule)) is not None:
            needs.add(needed)
    refused: list[str] = []
    here = {} if folder is None else _in_folder(folder, needs, types, refused)
    listed: list[Listed] = []
    degraded: dict[str, str] = {}
    for kind in types:
        listed.append(here.pop(kind, {}))
        lacking = _Needs()
        for needed in needs:
            if _best(listed, needed) is None:
                lacking.add(needed)
        if not lacking:
            continue
        try:
            listed.append(_listed(kind, lacking.days(), access, degraded))
        except CatalogueUnavailable:
            # A lesser kind that lies here is better than no plan, and the plan says so.
            if any(_best(list(here.values()), needed) is None for needed in lacking):
                raise
    lacks = Unresolved(key=KEY, reason=f"no {' or '.join(types)} covers it")

    def joined(granule: Granule) -> Granule:
        if (needed := need(granule)) is None:
            return granule
        if (file := _best(listed, needed)) is not None:
            return _with(granule, file)
        return replace(granule, unresolved=(*granule.unresolved, lacks))

    return Companions(
        Changed(granules, joined),
        degraded=[*refused, *(f"{host}: {reason}" for host, reason in sorted(degraded.items()))],
    )


def _best(listed: list[Listed], needed: Need) -> OrbitFile | None:
    """The orbit file for a need: of the first kind that has one."""
    mission, start, stop = needed
    for kind in listed:
        files = kind.get(mission, [])
        # Of tens of thousands only those can cover it that begin a little before.
        first = bisect_left(files, start - ORBIT - LONGEST, key=_begin)
        last = bisect_right(files, start - ORBIT, key=_begin)
        if (best := choose(files[first:last], start, stop)) is not None:
            return best
    return None


def _begin(file: OrbitFile) -> datetime:
    return file.start


def choose(files: list[OrbitFile], start: datetime, stop: datetime) -> OrbitFile | None:
    """The orbit file for a sensing interval: of those that cover it the one created last."""
    covering = [file for file in files if file.covers(start, stop)]
    return max(covering, key=lambda file: (file.created, file.name), default=None)


def _options(options: Json) -> tuple[tuple[str, ...], Path | None]:
    if options is True:
        return TYPES, None
    given = options if isinstance(options, dict) else {"": options}
    asked, folder = given.get("types", list(TYPES)), given.get("folder")
    if (
        set(given) - {"types", "folder"}
        or not (isinstance(asked, list) and asked and set(asked) <= set(TYPES))
        or not isinstance(folder, str | None)
    ):
        hint = "true, or {types: [AUX_POEORB, AUX_RESORB], folder: DIR}"
        raise QueryError(f"with: orbits: got {options!r}", hint=hint)
    if folder is not None and not Path(folder).is_dir():
        raise QueryError(f"with: orbits: folder: {folder!r} is no folder", hint="it starts where you are")
    return tuple(kind for kind in TYPES if kind in asked), None if folder is None else Path(folder)


Interval: TypeAlias = tuple[datetime, datetime]
Listed: TypeAlias = Mapping[str, list[OrbitFile]]
"""The orbit files of one kind by mission, in order of their start."""


class _Needs:
    """Missions and sensing intervals, in sixteen bytes each: there may be 100,000."""

    def __init__(self) -> None:
        self._ends: dict[str, array[int]] = {}

    def add(self, needed: Need) -> None:
        mission, *ends = needed
        numbers = [(end - _EPOCH) // _MICROSECOND for end in ends]
        self._ends.setdefault(mission, array("q")).extend(numbers)

    def __bool__(self) -> bool:
        return bool(self._ends)

    def __iter__(self) -> Iterator[Need]:
        for mission, ends in self._ends.items():
            for start, stop in zip(ends[::2], ends[1::2], strict=True):
                yield mission, _EPOCH + start * _MICROSECOND, _EPOCH + stop * _MICROSECOND

    def days(self) -> dict[str, list[Interval]]:
        """By mission, from the first to the last moment of each UTC day that has a need."""
        found: dict[str, dict[date, Interval]] = {}
        for mission, start, stop in self:
            days = found.setdefault(mission, {})
            first, last = days.get(start.date(), (start, stop))
            days[start.date()] = min(first, start), max(last, stop)
        return {mission: sorted(days.values()) for mission, days in sorted(found.items())}


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def _with(granule: Granule, file: OrbitFile) -> Granule:
    assert granule.start is not None and granule.stop is not None  # noqa: S101, PT018 - it has a need
    return replace(
        granule,
        assets=(*granule.assets, file.asset()),
        properties={**granule.properties, NOTE: pairing(file, granule.start, granule.stop)},
    )


# --------------------------------------------------------------------------------------------------
# What lies in a folder


def _in_folder(folder: Path, needs: _Needs, types: tuple[str, ...], refused: list[str]) -> dict[str, Listed]:
    """The orbit files of a folder by kind, without those that are not what their names say."""
    found: dict[str, dict[str, list[OrbitFile]]] = {kind: {} for kind in types}
    for path in sorted(folder.glob("*.EOF")):
        name = parse_name(path.name)
        if name is not None and name.kind in found:
            found[name.kind].setdefault(name.mission, []).append(_lying(name))
    read: set[str] = set()
    for files in found.values():
        for of_mission in files.values():
            of_mission.sort(key=lambda file: (file.start, file.name))
        for needed in needs:
            # Only what would be chosen is read: 4 MB each.
            while (file := _best([files], needed)) is not None and file.name not in read:
                at = files[file.mission].index(file)
                try:
                    files[file.mission][at] = _proved(file, folder / file.name)
                    read.add(file.name)
                except StructureError as error:
                    refused.append(f"{folder / file.name}: not used: {error.message}")
                    del files[file.mission][at]
    return dict(found)


def _lying(name: OrbitName) -> OrbitFile:
    # Every orbit file is in the bucket, at an address that follows from its name: who has lost the
    # folder can still fetch it.
    source = Source(href=f"https://{BUCKET}.s3.amazonaws.com/{name.kind}/{name.name}")
    return OrbitFile(
        name.name, name.mission, name.kind, name.created, name.start, name.stop, None, {}, (source,)
    )


def read(path: Path) -> bytes:
    """The bytes of an orbit file.

    Raises
    ------
    StructureError
        If it cannot be read, or is none.
    """
    try:
        if path.is_file():  # a pipe would be waited at for ever
            return path.read_bytes()
        problem = "is no file"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    raise StructureError(f"{path.name}: {problem}")


def _proved(file: OrbitFile, path: Path) -> OrbitFile:
    content = read(path)
    check(content, file)
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return replace(file, size=len(content), checksums={"md5": md5})


# --------------------------------------------------------------------------------------------------
# What the two catalogues list


def _listed(
    kind: str, needs: Mapping[str, list[Interval]], access: Access, degraded: dict[str, str]
) -> Listed:
    """All orbit files of a kind that may serve, by mission, from both catalogues together."""
    lists: tuple[Callable[[str, str, list[Interval], Access], Iterator[OrbitFile]], ...] = (
        _in_bucket,
        _in_catalogue,
    )
    out: dict[str, list[OrbitFile]] = {}
    for mission, intervals in needs.items():
        windows = _windows(intervals, kind)
        merged: dict[str, OrbitFile] = {}
        for listing in lists:
            host = _HOSTS[listing.__name__]
            if host in degraded:
                # Asked again for each mission and kind, a host that is down would cost minutes.
                continue
            try:
                for file in listing(kind, mission, windows, access):
                    # The bucket lists all there are: more than memory should hold for a few scenes.
                    if any(file.start < last and file.stop > first for first, last in windows):
                        known = merged.get(file.name)
                        merged[file.name] = file if known is None else _merged(known, file)
            except SkystageError as error:
                degraded[host] = error.message
        if len(degraded) == len(lists):
            reasons = "; ".join(degraded.values())
            raise CatalogueUnavailable(f"orbits: neither catalogue answers: {reasons}")
        out[mission] = sorted(merged.values(), key=lambda file: (file.start, file.name))
    return out


_HOSTS = {
    "_in_bucket": f"{BUCKET}.s3.amazonaws.com",
    "_in_catalogue": odata.HOST,
}


def _merged(first: OrbitFile, second: OrbitFile) -> OrbitFile:
    """One file that both list. Where they disagree about its bytes, only the first is believed."""
    both = set(first.checksums) & set(second.checksums)
    if any(first.checksums[name] != second.checksums[name] for name in both) or first.size != second.size:
        return first
    return replace(
        first,
        checksums={**second.checksums, **first.checksums},
        sources=(*first.sources, *second.sources),
    )


def _in_bucket(kind: str, mission: str, windows: list[Interval], access: Access) -> Iterator[OrbitFile]:
    """ASF's public bucket: listed by mission, because its names begin with the creation time."""
    del windows
    space = "{http://s3.amazonaws.com/doc/2006-03-01/}"
    marker = ""
    while True:
        asked = {"prefix": f"{kind}/{mission}_OPER_{kind}_"} | ({"marker": marker} if marker else {})
        url = f"https://{BUCKET}.s3.amazonaws.com/?{urlencode(asked)}"
        try:
            listing = ET.fromstring(access.read(url))  # noqa: S314 - expat of Python 3.11 bounds expansion
        except ET.ParseError as error:
            raise CatalogueUnavailable(f"{BUCKET}: the listing is not XML: {error}") from error
        if listing.tag != f"{space}ListBucketResult":
            raise CatalogueUnavailable(f"{BUCKET}: answered with {listing.tag!r} instead of a listing")
        entries = listing.findall(f"{space}Contents")
        for entry in entries:
            key = entry.findtext(f"{space}Key", "")
            etag = entry.findtext(f"{space}ETag", "").strip('"')
            # The ETag of an object uploaded in parts is no MD5.
            sums = {"md5": etag} if len(etag) == 32 else {}
            size = entry.findtext(f"{space}Size")
            source = Source(href=f"https://{BUCKET}.s3.amazonaws.com/{quote(key)}")
            yield from _file(key.rpartition("/")[2], kind, size=size, checksums=sums, source=source)
        if listing.findtext(f"{space}IsTruncated") != "true" or not entries:
            return
        marker = entries[-1].findtext(f"{space}Key", "")


def _in_catalogue(kind: str, mission: str, windows: list[Interval], access: Access) -> Iterator[OrbitFile]:
    """Copernicus Data Space: asked for windows of time that hold the sensing intervals."""
    for first, last in windows:
        asked = (
            f"startswith(Name,'{mission}_OPER_{kind}_')"
            f" and ContentDate/Start lt {iso(last)} and ContentDate/End gt {iso(first)}"
        )
        for record in odata.records(asked, access):
            sums, size = odata.checksums(record), odata.size(record)
            yield from _file(record["Name"], kind, size=size, checksums=sums, source=odata.source(record))


def _file(
    name: str, kind: str, *, size: str | int | None, checksums: Mapping[str, str], source: Source
) -> Iterator[OrbitFile]:
    parsed = parse_name(name)
    if parsed is not None and name.endswith(".EOF"):
        number = None if size is None else int(size)
        yield OrbitFile(
            name,
            parsed.mission,
            kind,
            parsed.created,
            parsed.start,
            parsed.stop,
            number,
            checksums,
            (source,),
        )


def _windows(intervals: list[Interval], kind: str) -> list[Interval]:
    """Intervals with their margins, joined where that costs fewer requests than it saves."""
    gap, longest = WINDOWS[kind]
    out: list[Interval] = []
    for start, stop in sorted((start - ORBIT, stop + MARGIN) for start, stop in intervals):
        if out and start - out[-1][1] <= gap and stop - out[-1][0] <= longest:
            out[-1] = (out[-1][0], max(out[-1][1], stop))
        else:
            out.append((start, stop))
    return out
