"""The OData catalogue of the Copernicus Data Space: its products, their records, and searches for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from skystage.sandbox.catalogue import parse_time
from skystage.sandbox.copernicus import Product
from skystage.sandbox.files import Content
from skystage.sandbox.messages import Reply, Request, json_reply, redirect
from skystage.sandbox.odata import BadFilter, parse

HOST = "catalogue.dataspace.copernicus.eu"
DOWNLOAD = "download.dataspace.copernicus.eu"
PRODUCT = re.compile(r"/odata/v1/Products\(([^)]*)\)(/\$value)?$")
_DATES = ("ContentDate/Start", "ContentDate/End", "PublicationDate", "ModificationDate", "OriginDate")
_PATHS = (*_DATES, "Id", "Name", "Collection/Name", "Online", "ContentLength", "ContentType", "S3Path")
_ORDERS = ("ContentDate/Start", "ContentDate/End", "PublicationDate", "ModificationDate", "Name", "Id")
_PARAMETERS = ("$filter", "$orderby", "$top", "$skip", "$count", "$expand", "$select")
_EXPANSIONS = ("Attributes", "Assets", "Locations")


class Catalogue:
    """The products and their searches."""

    def __init__(self, held: Mapping[str, Product]) -> None:
        self._products = {one.id: (one, _Fields(one)) for one in held.values()}

    def answer(self, request: Request) -> Reply:
        """Answer for the catalogue's host."""
        if request.path == "/odata/v1/Products":
            try:
                return self._search(request.parameters)
            except BadFilter as error:
                return json_reply(400, {"detail": f"Invalid query: {error}"})
        match = PRODUCT.match(request.path)
        if match is None:
            return json_reply(404, {"detail": "Not Found"})
        found = self._products.get(match[1])
        if found is None:
            return json_reply(404, {"detail": "Product not found in catalogue"})
        if match[2]:
            return redirect(301, f"https://{DOWNLOAD}{request.target}")
        return json_reply(200, {"@odata.context": "$metadata#Products/$entity", **_record(found[0], ())})

    def _search(self, parameters: list[tuple[str, str]]) -> Reply:
        asked = dict(parameters)
        for name in asked:
            if name not in _PARAMETERS:
                raise BadFilter(f"unknown parameter {name}")
        top, skip = _number(asked, "$top", 20, 1, 1000), _number(asked, "$skip", 0, 0, 10_000)
        if isinstance(top, Reply):
            return top
        if isinstance(skip, Reply):
            return skip
        expansions = tuple(value for name, value in parameters if name == "$expand")
        if any(value not in _EXPANSIONS for value in expansions):
            raise BadFilter(f"$expand is one of {', '.join(_EXPANSIONS)}")
        test = parse(asked["$filter"], _PATHS) if asked.get("$filter") else lambda _: True
        found = [(product, fields) for product, fields in self._products.values() if test(fields)]
        # Without an order the real catalogue gives none; by id looks random and is the same each time.
        found.sort(key=lambda item: item[0].id)
        if "$orderby" in asked:
            path, _, direction = asked["$orderby"].partition(" ")
            if path not in _ORDERS or direction not in ("", "asc", "desc"):
                raise BadFilter(f"cannot order by {asked['$orderby']!r}")
            found.sort(key=lambda item: item[1][path], reverse=direction == "desc")
        page = found[skip : skip + top]
        suffix = f"({','.join(f'{name}()' for name in expansions)})" if expansions else ""
        answer: dict[str, Any] = {"@odata.context": f"$metadata#Products{suffix}"}
        if asked.get("$count", "").lower() == "true":
            answer["@odata.count"] = len(found)
        answer["value"] = [_select(_record(product, expansions), asked.get("$select")) for product, _ in page]
        if len(page) == top:
            # As recorded: a full page has a next one, even when that is empty.
            following = [pair for pair in parameters if pair[0] != "$skip"] + [("$skip", str(skip + top))]
            answer["@odata.nextLink"] = f"https://{HOST}/odata/v1/Products?{urlencode(following)}"
        return json_reply(200, answer)


def _number(asked: Mapping[str, str], name: str, default: int, least: int, most: int) -> int | Reply:
    text = asked.get(name, str(default))
    if re.fullmatch(r"\d+", text) and least <= int(text) <= most:
        return int(text)
    message = f"Input should be a whole number from {least} to {most}"
    return json_reply(422, {"detail": [{"loc": ["query", name], "msg": message, "type": "value_error"}]})


def _select(record: dict[str, Any], names: str | None) -> dict[str, Any]:
    if not names:
        return record
    wanted = {name.strip() for name in names.split(",")}
    return {key: value for key, value in record.items() if key in wanted}


def _attributes(product: Product) -> list[dict[str, Any]]:
    return [
        {"@odata.type": f"#OData.CSC.{kind}Attribute", "Name": name, "Value": value, "ValueType": kind}
        for kind, name, value in product.attributes
    ]


class _Fields(dict[str, Any]):
    """What filters test; those that are costly are made when a filter names them."""

    def __init__(self, product: Product) -> None:
        super().__init__(
            {
                **{path: parse_time(text) for path, text in product.stamps.items()},
                "Id": product.id,
                "Name": product.name,
                "Collection/Name": "SENTINEL-1",
                "Online": True,
                "ContentType": "application/octet-stream",
                "S3Path": product.s3_path,
            }
        )
        self._product = product

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a path."""
        if key == "ContentLength":
            return self._product.content.size
        if key == "Attributes":
            return _attributes(self._product)
        return super().get(key, default)


def _record(product: Product, expansions: tuple[str, ...]) -> dict[str, Any]:
    stamps = product.stamps
    record = {
        "@odata.mediaContentType": "application/octet-stream",
        "Id": product.id,
        "Name": product.name,
        "ContentType": "application/octet-stream",
        "OriginDate": stamps["OriginDate"],
        "PublicationDate": stamps["PublicationDate"],
        "ModificationDate": stamps["ModificationDate"],
        "Online": True,
        "EvictionDate": "9999-12-31T23:59:59.999999Z",
        "S3Path": product.s3_path,
        "ContentDate": {"Start": stamps["ContentDate/Start"], "End": stamps["ContentDate/End"]},
        "Footprint": None,
        "GeoFootprint": None,
        **product.recorded,
        "ContentLength": product.content.size,
        "Checksum": _checksums(product.content, stamps["ModificationDate"]),
    }
    for name in expansions:
        record[name] = _attributes(product) if name == "Attributes" else []
    return record


def _checksums(content: Content, date: str) -> list[dict[str, str]]:
    sums = [{"Value": content.md5, "Algorithm": "MD5", "ChecksumDate": date}]
    try:
        from blake3 import blake3
    except ImportError:
        # Only MD5 then; a wrong BLAKE3 would be worse than none.
        return sums
    digest = blake3(content.read(0, content.size)).hexdigest()
    return [*sums, {"Value": digest, "Algorithm": "BLAKE3", "ChecksumDate": date}]
