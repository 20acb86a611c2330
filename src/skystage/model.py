"""The nouns: everything that crosses a module border, frozen, with JSON in and out.

Nothing here reads a file, opens a connection or imports more than the standard library. Even so the
light paths (``--help``, ``verify``, a cached ``fetch``) do without: to import dataclasses and to make
nine costs more than to start the interpreter. They read `skystage.planfile` and `skystage.staged`.

All times are UTC; all JSON is canonical (sorted keys, no spaces), so that equal nouns are
equal bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self
from urllib.parse import urlsplit

from skystage.canon import Json, canonical

__all__ = [
    "BODIES",
    "Asset",
    "Companion",
    "Dropped",
    "Granule",
    "Json",
    "Query",
    "Receipt",
    "Release",
    "Repacked",
    "Source",
    "Unresolved",
    "canonical",
    "from_iso",
    "iso",
]

BODIES = ("earth", "moon", "mars", "mercury", "venus", "sky")


def iso(moment: datetime) -> str:
    """Write an aware time as UTC in ISO 8601 with ``Z``; microseconds only where they are not 0."""
    text = moment.astimezone(UTC).replace(tzinfo=None).isoformat()
    return f"{text}Z"


def from_iso(text: str) -> datetime:
    """Read an ISO 8601 time; one without a zone is UTC.

    Raises
    ------
    ValueError
        If `text` is not ISO 8601.
    """
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to look for in one archive: already validated, so that equal questions are equal queries.

    Build one with `skystage.query.read` or `skystage.query.parse`, which refuse unknown and
    impossible criteria before any request.
    """

    archive: str
    criteria: Mapping[str, Json] = field(default_factory=dict)
    """The archive's own search keys in snake_case, with JSON values."""
    area: Mapping[str, Json] | None = None
    """A GeoJSON geometry in the body's coordinates: longitude -180..180, latitude, degrees."""
    start: datetime | None = None
    end: datetime | None = None
    """The closed interval ``[start, end]`` that a granule's own interval must touch."""
    labels: Mapping[str, Json] = field(default_factory=dict)
    """What to read of labels: ``asset``, the key of one, and ``values``, names to paths in it."""
    filter: Mapping[str, Json] = field(default_factory=dict)
    """Criteria that test granules on our side; see `skystage.filters`."""
    select: Mapping[str, Json] = field(default_factory=dict)
    """Criteria that test assets by their fields."""
    assets: tuple[str, ...] = ()
    """Keys of the assets wanted; none means the archive's main asset."""
    companions: Mapping[str, Json] = field(default_factory=dict)
    """What to bring along with the granules (the query's ``with``), such as orbits."""
    offline: str = "drop"
    """``drop`` or ``keep`` granules that the archive holds only on tape."""
    allow_missing: tuple[str, ...] = ()
    """Keys of assets that a granule may lack without failing the fetch."""
    allow_incomplete: bool = False
    """Accept a search for which the archive delivered less than it counted."""
    requester_pays: bool = False
    """Plan also what is to be had only where the requester pays for it."""

    def to_json(self) -> dict[str, Json]:
        """The query as a query file would say it, without what is default."""
        out: dict[str, Json] = {"archive": self.archive, **self.criteria}
        if self.area is not None:
            out["area"] = self.area
        if self.start is not None:
            out["start"] = iso(self.start)
        if self.end is not None:
            out["end"] = iso(self.end)
        for key, value in (
            ("labels", self.labels),
            ("filter", self.filter),
            ("select", self.select),
            ("with", self.companions),
        ):
            if value:
                out[key] = dict(value)
        if self.assets:
            out["assets"] = list(self.assets)
        if self.offline != "drop":
            out["offline"] = self.offline
        if self.allow_missing:
            out["allow_missing"] = list(self.allow_missing)
        if self.allow_incomplete:
            out["allow_incomplete"] = True
        if self.requester_pays:
            out["requester_pays"] = True
        return out

    @property
    def digest(self) -> str:
        """The sha256 of the canonical JSON: equal for equal questions, however they were typed."""
        return hashlib.sha256(canonical(self.to_json()).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Repacked:
    """The file at a source that holds the same product in other bytes, such as a SAFE that others zipped.

    Its own size and checksums prove the transfer; that it is the same product is proved by what is inside
    (`skystage.safefile`).
    """

    size: int | None = None
    checksums: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        """As plans hold it."""
        return {"size": self.size, "checksums": dict(self.checksums)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One way to get an asset's bytes. Several sources of one asset are mirrors."""

    href: str
    """``https://...`` or ``s3://bucket/key``."""
    auth: str | None = None
    """The credential scheme that the host asks for (`skystage.auth`); None for public bytes."""
    ranges: bool = True
    """Whether the host is known to serve byte ranges; checked again on every answer."""
    requester_pays: bool = False
    member: str | None = None
    """The path of a part inside the file at `href`, when the asset is only that part."""
    named: str | None = None
    """What the host itself must call the file, where it is known to mix them up."""
    repacked: Repacked | None = None
    """The file at `href`, where it is not the asset's own bytes but the same product packed otherwise."""

    @property
    def host(self) -> str:
        """The host that the first request goes to; for ``s3://`` the bucket's own."""
        parts = urlsplit(self.href)
        if parts.scheme == "s3":
            return f"{parts.netloc}.s3.amazonaws.com"
        return parts.hostname or ""

    def to_json(self) -> dict[str, Json]:
        """The source as plans hold it, without what is default."""
        out: dict[str, Json] = {"href": self.href}
        if self.auth is not None:
            out["auth"] = self.auth
        if not self.ranges:
            out["ranges"] = False
        if self.requester_pays:
            out["requester_pays"] = True
        if self.member is not None:
            out["member"] = self.member
        if self.named is not None:
            out["named"] = self.named
        if self.repacked is not None:
            out["repacked"] = self.repacked.to_json()
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Self:
        """Read what `to_json` wrote."""
        repacked = data.get("repacked")
        return cls(**{**data, "repacked": None if repacked is None else Repacked(**repacked)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """Bytes, apart from where they lie: a name in every store, an expected identity, and sources."""

    key: str
    """What the asset is to its granule: ``data``, ``orbit``, ``SCL_20m``."""
    path: str
    """Where it lies below any store: ``ARCHIVE/COLLECTION/GRANULE/NAME``; shared ones have their own."""
    size: int | None = None
    """Bytes, as the archive says; None where it does not say."""
    checksums: Mapping[str, str] = field(default_factory=dict)
    """Algorithm (``md5``, ``blake3``, ``sha256``, ``sha3-256``) to lower-case hex digest."""
    media_type: str | None = None
    sources: tuple[Source, ...] = ()
    properties: Mapping[str, Json] = field(default_factory=dict)
    """What else the archive says of the file, in its own words: what ``select`` can test."""

    @property
    def name(self) -> str:
        """The file name."""
        return self.path.rpartition("/")[2]

    @property
    def paid(self) -> bool:
        """Whether the requester pays for it, wherever it comes from."""
        return bool(self.sources) and all(source.requester_pays for source in self.sources)

    def to_json(self) -> dict[str, Json]:
        """The asset as plans hold it."""
        out: dict[str, Json] = {"key": self.key, "name": self.name, "path": self.path, "size": self.size}
        out["checksums"] = dict(self.checksums)
        if self.media_type is not None:
            out["media_type"] = self.media_type
        out["sources"] = [source.to_json() for source in self.sources]
        if self.properties:
            out["properties"] = dict(self.properties)
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Self:
        """Read what `to_json` wrote."""
        return cls(
            key=data["key"],
            path=data["path"],
            size=data["size"],
            checksums=data["checksums"],
            media_type=data.get("media_type"),
            sources=tuple(Source.from_json(source) for source in data["sources"]),
            properties=data.get("properties", {}),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unresolved:
    """An asset that was asked for and cannot be had, with the reason."""

    key: str
    reason: str

    def to_json(self) -> dict[str, Json]:
        """As plans hold it."""
        return {"key": self.key, "reason": self.reason}


@dataclass(frozen=True, slots=True, kw_only=True)
class Granule:
    """One entry of a catalogue, with what can be fetched of it."""

    archive: str
    collection: str
    """The archive's own short name, such as ``SENTINEL-1A_SLC``."""
    id: str
    """The scene or product name without suffix; unique in its collection."""
    native_id: str
    """The archive's own identifier, suffix and all."""
    start: datetime | None = None
    stop: datetime | None = None
    """Sensing interval, UTC."""
    body: str = "earth"
    """One of `BODIES`, or another one's name in lower case."""
    geometry: Mapping[str, Json] | None = None
    """Footprint: a GeoJSON geometry in degrees of the body; on the sky right ascension and declination."""
    stack: str = ""
    """The key of the stack the granule belongs to: a function of the granule alone."""
    properties: Mapping[str, Json] = field(default_factory=dict)
    """As the archive says them, under the archive's own names."""
    assets: tuple[Asset, ...] = ()
    unresolved: tuple[Unresolved, ...] = ()

    def asset(self, key: str) -> Asset | None:
        """The asset with that key, or None."""
        return next((asset for asset in self.assets if asset.key == key), None)

    def to_json(self) -> dict[str, Json]:
        """The granule as one line of a plan."""
        out: dict[str, Json] = {
            "archive": self.archive,
            "collection": self.collection,
            "id": self.id,
            "native_id": self.native_id,
            "start": None if self.start is None else iso(self.start),
            "stop": None if self.stop is None else iso(self.stop),
            "body": self.body,
            "geometry": self.geometry,
            "stack": self.stack,
            "properties": self.properties,
            "assets": [asset.to_json() for asset in self.assets],
        }
        if self.unresolved:
            out["unresolved"] = [item.to_json() for item in self.unresolved]
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Self:
        """Read what `to_json` wrote."""
        start, stop = data["start"], data["stop"]
        return cls(
            archive=data["archive"],
            collection=data["collection"],
            id=data["id"],
            native_id=data["native_id"],
            start=None if start is None else from_iso(start),
            stop=None if stop is None else from_iso(stop),
            body=data["body"],
            geometry=data["geometry"],
            stack=data["stack"],
            properties=data["properties"],
            assets=tuple(Asset.from_json(asset) for asset in data["assets"]),
            unresolved=tuple(Unresolved(**item) for item in data.get("unresolved", ())),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """Assets for an area rather than for one granule, such as DEM tiles."""

    id: str
    """What they belong to: the key of a stack."""
    bounds: tuple[tuple[float, float, float, float], ...] = ()
    """West, south, east, north in degrees; two boxes where the area crosses the antimeridian."""
    assets: tuple[Asset, ...] = ()
    unresolved: tuple[Unresolved, ...] = ()
    properties: Mapping[str, Json] = field(default_factory=dict)
    """What was asked and found, for whoever makes something of them."""

    def to_json(self) -> dict[str, Json]:
        """The companion as one line of a plan."""
        out: dict[str, Json] = {
            "kind": "companion",
            "id": self.id,
            "assets": [asset.to_json() for asset in self.assets],
        }
        if self.bounds:
            out["bounds"] = [list(box) for box in self.bounds]
        if self.unresolved:
            out["unresolved"] = [item.to_json() for item in self.unresolved]
        if self.properties:
            out["properties"] = self.properties
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Self:
        """Read what `to_json` wrote."""
        return cls(
            id=data["id"],
            bounds=tuple((west, south, east, north) for west, south, east, north in data.get("bounds", ())),
            assets=tuple(Asset.from_json(asset) for asset in data["assets"]),
            unresolved=tuple(Unresolved(**item) for item in data.get("unresolved", ())),
            properties=data.get("properties", {}),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A granule that the archive returned and the query does not keep, with the one reason."""

    id: str
    reason: str

    def to_json(self) -> dict[str, Json]:
        """The dropped granule as one line of a plan."""
        return {"id": self.id, "dropped": self.reason}


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The proof that one asset is staged: the file as it lay there, and how it was verified."""

    path: str
    """The asset's path below the store."""
    size: int
    mtime_ns: int
    """The file's own, at the time of the receipt: a file that changed since has no receipt."""
    digests: Mapping[str, str]
    """Algorithm to hex digest, of the bytes that were written; always with ``sha256``."""
    verified: str
    """The strongest proof: a checksum's algorithm, ``crc32`` of a zip's member, ``manifest`` of a product
    that came repacked, or ``size+structure``."""
    source: str
    """The href that the bytes came from, without query string."""
    staged: datetime
    attempts: int = 1
    """Requests for the body, over all sources."""
    bytes_moved: int = 0
    resumed_from: int = 0
    """Bytes that an earlier run had left in the part file."""

    def to_json(self) -> dict[str, Json]:
        """The receipt as one line of a shard."""
        return {
            "path": self.path,
            "size": self.size,
            "mtime_ns": self.mtime_ns,
            "digests": dict(self.digests),
            "verified": self.verified,
            "source": self.source,
            "staged": iso(self.staged),
            "attempts": self.attempts,
            "bytes_moved": self.bytes_moved,
            "resumed_from": self.resumed_from,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**{**data, "staged": from_iso(data["staged"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The record that a staged file was deleted on purpose: its receipt stays as the proof of what it was."""

    receipt: Receipt
    released: datetime

    def to_json(self) -> dict[str, Json]:
        """The release as one line of a shard."""
        return {**self.receipt.to_json(), "released": iso(self.released)}

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Self:
        """Read what `to_json` wrote."""
        receipt = {name: value for name, value in data.items() if name != "released"}
        return cls(receipt=Receipt.from_json(receipt), released=from_iso(data["released"]))
