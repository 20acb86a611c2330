"""The OData catalogue of the Copernicus Data Space: its products, their records, and searches for them.

Source: CDSE documentation, OData API, and its release notes of 2024-11-12 on the limits of ``$skip``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from skystage.sandbox.catalogue import parse_time
from skystage.sandbox.copernicus import Product
from skystage.sandbox.files import Content
from skystage.sandbox.messages import Reply, Request, json_reply, redirect
from skystage.sandbox.odata import BadFilter, parse

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

HOST = "catalogue.dataspace.copernicus.eu"
DOWNLOAD = "download.dataspace.copernicus.eu"
_ELSEWHERE = re.compile(r"/odata/v1/(?:Products\(([^)]*)\)(?:/\$value|/Nodes.*)|Assets\([^)]*\)/\$value)")
"""What the download host has."""
_SENSED = ("ContentDate/Start", "ContentDate/End")
_PATHS = ("Id", "Name", "Collection/Name", "OriginDate", *_SENSED)
_PARAMETERS = ("$filter", "$orderby", "$top", "$skip", "$count", "$expand", "$select")
_EXPANSIONS = ("Attributes", "Assets", "Locations")
_MOST_SKIPPED = 10_000
_REMEMBERED = 64
"""Searches whose hits are kept: who asks for one product a page does not have all tested each time."""


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """What can be asked of ``Products``, or of ``DeletedProducts``."""

    name: str
    paths: Sequence[str]
    orders: Sequence[str]
    expansions: Sequence[str]


_PRODUCTS = _Endpoint(
    "Products",
    (
        *(*_PATHS, "PublicationDate", "ModificationDate", "EvictionDate"),
        *("Online", "ContentLength", "ContentType", "S3Path"),
    ),
    (*_SENSED, "PublicationDate", "ModificationDate"),
    _EXPANSIONS,
)
_DELETED = _Endpoint(
    "DeletedProducts", (*_PATHS, "DeletionDate", "DeletionCause"), (*_SENSED, "DeletionDate"), ("Attributes",)
)


class Catalogue:
    """The products and their searches."""

    def __init__(self, held: Mapping[str, Product], deleted: Mapping[str, Product]) -> None:
        self._shelves = {"Products": _Shelf(_PRODUCTS, held), "DeletedProducts": _Shelf(_DELETED, deleted)}

    def answer(self, request: Request) -> Reply:
        """Answer for the catalogue's host."""
        path = request.path
        try:
            match = re.fullmatch(r"/odata/v1/((?:Deleted)?Products)(?:\(([^)]*)\))?", path)
            if match is not None and match[2] is None:
                return self._shelves[match[1]].search(request.parameters)
            if match is not None:
                return self._shelves[match[1]].one(match[2], request.parameters)
            if path == "/odata/v1/Products/OData.CSC.FilterList" and request.method == "POST":
                return self._shelves["Products"].listed(request)
        except BadFilter as error:
            return json_reply(400, {"detail": f"Invalid query: {error}"})
        match = re.fullmatch(r"/odata/v1/Attributes\(([^)]*)\)", path)
        if match is not None:
            return self._shelves["Products"].attributes(match[1])
        match = _ELSEWHERE.fullmatch(path)
        if match is not None and match[1] is not None and match[1] not in self._shelves["Products"].entries:
            return json_reply(404, {"detail": "Product not found in catalogue"})
        if match is not None:
            return redirect(301, f"https://{DOWNLOAD}{request.target}")
        return json_reply(404, {"detail": "Not Found"})


class _Shelf:
    """The records of one endpoint."""

    def __init__(self, endpoint: _Endpoint, held: Mapping[str, Product]) -> None:
        self.endpoint = endpoint
        self.entries = {one.id: _Entry(one) for one in held.values()}
        self._find = lru_cache(maxsize=_REMEMBERED)(self._found)

    def search(self, parameters: list[tuple[str, str]]) -> Reply:
        """Answer a search."""
        asked = dict(parameters)
        top, skip = _number(asked, "$top", 20, 1, 1000), _number(asked, "$skip", 0, 0, _MOST_SKIPPED)
        if isinstance(top, Reply):
            return top
        if isinstance(skip, Reply):
            return skip
        expansions = self._asked(parameters)
        found = self._find(asked.get("$filter", ""), asked.get("$orderby", ""))
        page = found[skip : skip + top]
        answer: dict[str, Any] = {"@odata.context": self._context(expansions)}
        if _flag(asked.get("$count", "false")):
            answer["@odata.count"] = len(found)
        answer["value"] = _select([entry.record(expansions) for entry in page], asked.get("$select"))
        if len(page) == top and skip + top <= _MOST_SKIPPED:
            # As recorded: a full page has a next one, even when that is empty.
            following = [pair for pair in parameters if pair[0] != "$skip"] + [("$skip", str(skip + top))]
            answer["@odata.nextLink"] = f"https://{HOST}/odata/v1/{self.endpoint.name}?{urlencode(following)}"
        return json_reply(200, answer)

    def one(self, identifier: str, parameters: list[tuple[str, str]]) -> Reply:
        """Answer with the record of one product."""
        entry, expansions = self.entries.get(identifier), self._asked(parameters)
        if entry is None:
            return json_reply(404, {"detail": "Product not found in catalogue"})
        context = f"{self._context(expansions)}/$entity"
        return json_reply(200, {"@odata.context": context, **entry.record(expansions)})

    def listed(self, request: Request) -> Reply:
        """Answer with the records of the products that a body names; who is not there is left out."""
        expansions = self._asked(request.parameters)
        try:
            names = {one["Name"] for one in json.loads(request.body)["FilterProducts"]}
        except (ValueError, KeyError, TypeError):
            raise BadFilter('the body is {"FilterProducts": [{"Name": ...}, ...]}') from None
        found = [entry for entry in self._find("", "") if entry.product.name in names]
        records = [entry.record(expansions) for entry in found]
        return json_reply(200, {"@odata.context": self._context(expansions), "value": records})

    def attributes(self, collection: str) -> Reply:
        """Answer with the names and types of a collection's attributes."""
        found = {
            (len(name), name, kind)
            for entry in self.entries.values()
            if entry.product.collection == collection
            for kind, name, _ in entry.product.attributes
        }
        # As recorded: short names first.
        return json_reply(200, [{"Name": name, "ValueType": kind} for _, name, kind in sorted(found)])

    def _asked(self, parameters: list[tuple[str, str]]) -> tuple[str, ...]:
        for name, _ in parameters:
            if name not in _PARAMETERS:
                raise BadFilter(f"unknown parameter {name}")
        expansions = tuple(value for name, value in parameters if name == "$expand")
        if any(value not in self.endpoint.expansions for value in expansions):
            raise BadFilter(f"$expand is one of {', '.join(self.endpoint.expansions)}")
        return expansions

    def _context(self, expansions: tuple[str, ...]) -> str:
        suffix = f"({','.join(f'{name}()' for name in expansions)})" if expansions else ""
        return f"$metadata#{self.endpoint.name}{suffix}"

    def _found(self, text: str, order: str) -> list[_Entry]:
        """Those that a filter means, in order."""
        test = parse(text, self.endpoint.paths) if text else lambda _: True
        path, _, direction = order.partition(" ")
        if order and (path not in self.endpoint.orders or direction not in ("", "asc", "desc")):
            raise BadFilter(f"cannot order by {order!r}")
        # Without an order the real catalogue gives none; by id looks random and is the same each time.
        found = sorted((one for one in self.entries.values() if test(one)), key=lambda one: one.product.id)
        if order:
            found.sort(key=lambda one: one[path], reverse=direction == "desc")
        return found


def _number(asked: Mapping[str, str], name: str, default: int, least: int, most: int) -> int | Reply:
    text = asked.get(name, str(default))
    if not re.fullmatch(r"-?\d+", text):
        kind, message = "int_parsing", "Input should be a valid integer, unable to parse string as an integer"
        return json_reply(
            422, {"detail": [{"type": kind, "loc": ["query", name], "msg": message, "input": text}]}
        )
    if least <= int(text) <= most:
        return int(text)
    kind, word, bound = "less_than_equal", "le", most
    if int(text) < least:
        kind, word, bound = "greater_than_equal", "ge", least
    message = f"Input should be {kind.replace('_', ' ', 1).replace('_', ' or ')} to {bound}"
    detail = {
        "type": kind,
        "loc": ["query", name],
        "msg": message,
        "input": text,
        "ctx": {word: bound},
    }
    return json_reply(422, {"detail": [detail]})


def _flag(text: str) -> bool:
    if text not in ("True", "true", "1", "False", "false", "0"):
        raise BadFilter("$count is true or false")
    return text in ("True", "true", "1")


def _select(records: list[dict[str, Any]], names: str | None) -> list[dict[str, Any]]:
    if not names or names == "*":
        return records
    wanted = {name.strip() for name in names.split(",")}
    for record in records[:1]:
        unknown = wanted - set(record)
        if unknown:
            raise BadFilter(f"there is no field {min(unknown)!r}")
    return [{key: value for key, value in record.items() if key in wanted} for record in records]


def _attributes(product: Product) -> list[dict[str, Any]]:
    return [
        {"@odata.type": f"#OData.CSC.{kind}Attribute", "Name": name, "Value": value, "ValueType": kind}
        for kind, name, value in product.attributes
    ]


def _geometry(product: Product) -> Any:
    """The footprint as GeoJSON."""
    if product.recorded.get("GeoFootprint"):
        return product.recorded["GeoFootprint"]
    return {"type": "Polygon", "coordinates": [product.footprint]} if product.footprint else None


class _Entry(dict[str, Any]):
    """A product, and what filters test of it; what is costly is made when a filter names it."""

    def __init__(self, product: Product) -> None:
        super().__init__(
            {
                **{path: parse_time(text) for path, text in product.stamps.items()},
                "Id": product.id,
                "Name": product.name,
                "Collection/Name": product.collection,
                "Online": product.online,
                "EvictionDate": _FOREVER,
                "ContentType": "application/octet-stream",
                "S3Path": product.s3_path,
                "DeletionCause": product.recorded.get("DeletionCause"),
            }
        )
        self.product = product

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a path."""
        if key not in self and key in _COSTLY:
            self[key] = _COSTLY[key](self.product)
        return super().get(key, default)

    def record(self, expansions: tuple[str, ...]) -> dict[str, Any]:
        """The record as it is served."""
        product = self.product
        stamps = product.stamps
        recorded = {key: value for key, value in product.recorded.items() if key not in _EXPANSIONS}
        geometry = _geometry(product)
        record = {
            "@odata.mediaContentType": "application/octet-stream",
            "Id": product.id,
            "Name": product.name,
            "ContentType": "application/octet-stream",
            **{path: text for path, text in stamps.items() if path not in _SENSED},
            "Online": product.online,
            "EvictionDate": _FOREVER_TEXT,
            "S3Path": product.s3_path,
            "ContentDate": {"Start": stamps["ContentDate/Start"], "End": stamps["ContentDate/End"]},
            "Footprint": None if geometry is None else f"geography'SRID=4326;{self.get('Footprint').wkt}'",
            "GeoFootprint": geometry,
            **recorded,
            "ContentLength": self.get("ContentLength"),
            "Checksum": self.get("Checksum"),
        }
        if "DeletionDate" in stamps:
            for name in ("@odata.mediaContentType", "Online", "EvictionDate", "S3Path"):
                del record[name]
        for name in expansions:
            record[name] = self.get(name)
        return record


def _footprint(product: Product) -> BaseGeometry | None:
    from shapely.geometry import shape

    geometry = _geometry(product)
    return None if geometry is None else shape(geometry)


def _assets(product: Product) -> list[dict[str, Any]]:
    if product.quicklook is None:
        return []
    return [
        {
            "Type": "QUICKLOOK",
            "Id": product.quicklook_id,
            "DownloadLink": f"https://{HOST}/odata/v1/Assets({product.quicklook_id})/$value",
            "S3Path": product.s3_path,
        }
    ]


def _locations(product: Product) -> list[dict[str, Any]]:
    return [
        {
            "FormatType": "Extracted",
            "DownloadLink": f"https://{HOST}/odata/v1/Products({product.id})/$value",
            "ContentLength": _length(product),
            "Checksum": _checksums(product),
            "S3Path": product.s3_path,
        }
    ]


def _length(product: Product) -> int:
    return product.content.size if product.measured else 0


def _checksums(product: Product) -> list[dict[str, str]]:
    if not product.measured:
        return []
    date = product.stamps.get("ModificationDate", product.stamps["OriginDate"])
    return [
        {"Value": digest, "Algorithm": name, "ChecksumDate": date}
        for name, digest in _digests(product.content)
    ]


def _digests(content: Content) -> list[tuple[str, str]]:
    sums = [("MD5", content.md5)]
    try:
        from blake3 import blake3
    except ImportError:
        # Only MD5 then; a wrong BLAKE3 would be worse than none.
        return sums
    hasher = blake3()
    for piece in content.pieces(0, content.size):
        hasher.update(piece)
    return [*sums, ("BLAKE3", hasher.hexdigest())]


_FOREVER_TEXT = "9999-12-31T23:59:59.999999Z"
_FOREVER = parse_time(_FOREVER_TEXT)
_COSTLY = {
    "ContentLength": _length,
    "Checksum": _checksums,
    "Attributes": _attributes,
    "Assets": _assets,
    "Locations": _locations,
    "Footprint": _footprint,
}
