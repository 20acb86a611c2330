"""The STAC API of the Copernicus Data Space, for its Sentinel-2 products.

Items have the form of the real ones: assets by S3 address with the download host's as the alternate, sizes,
and checksums as multihashes. Two things are wrong in them as in the real ones: checksums of metadata files of
newer baselines say MD5 (``d5``) before 32 bytes that are SHA3-256, and addresses of metadata files in folders
have a node without a name. An item's assets are made when it is first served.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from skystage.sandbox.catalogue import parse_time
from skystage.sandbox.copernicus import Product
from skystage.sandbox.cql2 import BadFilter, Test, read_json, read_query, read_text
from skystage.sandbox.files import Content
from skystage.sandbox.messages import Reply, Request, json_reply
from skystage.sandbox.sentinel2 import grid
from skystage.sandbox.sentinel2_images import OFFSET, WIDTH

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

HOST = "stac.dataspace.copernicus.eu"
ROOT = f"https://{HOST}/v1"
THUMBNAILS = "datahub.creodias.eu"
"""Where the items say that quicklooks are."""

_GEOJSON = "application/geo+json"
_DEFAULT_LIMIT, _MOST = 10, 1000
_COLLECTIONS = {"S2MSI2A": "sentinel-2-l2a", "S2MSI1C": "sentinel-2-l1c"}
_TITLES = {"sentinel-2-l2a": "Sentinel-2 Level-2A", "sentinel-2-l1c": "Sentinel-2 Level-1C"}
_DESIGNATORS = {"A": "2015-028A", "B": "2017-013A", "C": "2024-157A"}
_API, _OGC = "https://api.stacspec.org/v1.0.0", "http://www.opengis.net/spec"
_CONFORMANCE = (
    f"{_OGC}/cql2/1.0/conf/basic-cql2",
    f"{_OGC}/cql2/1.0/conf/cql2-json",
    f"{_OGC}/cql2/1.0/conf/cql2-text",
    f"{_OGC}/ogcapi-features-1/1.0/conf/core",
    f"{_OGC}/ogcapi-features-1/1.0/conf/geojson",
    f"{_OGC}/ogcapi-features-3/1.0/conf/features-filter",
    f"{_OGC}/ogcapi-features-3/1.0/conf/filter",
    "https://api.stacspec.org/v1.0.0-rc.2/item-search#filter",
    f"{_API}/collections",
    f"{_API}/core",
    f"{_API}/item-search",
    f"{_API}/item-search#fields",
    f"{_API}/item-search#query",
    f"{_API}/item-search#sort",
    f"{_API}/ogcapi-features",
    f"{_API}/ogcapi-features#fields",
    f"{_API}/ogcapi-features#query",
    f"{_API}/ogcapi-features#sort",
)
_EXTENSIONS = [
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in (
        "eo/v2.0.0",
        "raster/v2.0.0",
        "projection/v2.0.0",
        "sat/v1.0.0",
        "grid/v1.1.0",
        "file/v2.1.0",
        "processing/v1.2.0",
        "alternate-assets/v1.2.0",
        "timestamps/v1.1.0",
        "authentication/v1.1.0",
        "product/v0.1.0",
        "storage/v2.0.0",
    )
]
_SCHEMES = {
    "auth:schemes": {
        "s3": {"type": "s3"},
        "oidc": {
            "type": "openIdConnect",
            "openIdConnectUrl": "https://identity.dataspace.copernicus.eu/auth/realms/CDSE"
            "/.well-known/openid-configuration",
        },
    },
    "storage:schemes": {
        "cdse-s3": {
            "title": "Copernicus Data Space Ecosystem S3",
            "platform": "https://eodata.dataspace.copernicus.eu",
            "requester_pays": False,
        },
        "creodias-s3": {
            "title": "CREODIAS S3",
            "platform": "https://eodata.cloudferro.com",
            "requester_pays": True,
        },
    },
}
_S3_STORES = ["cdse-s3", "creodias-s3"]
_PARAMETERS = (
    *("bbox", "collections", "datetime", "fields", "filter", "filter-crs", "filter-lang", "ids"),
    *("intersects", "limit", "query", "sortby", "token"),
)
_IMAGE = re.compile(r"/IMG_DATA/(?:.*/)?(?:L2A_)?T\w{5}_\d{8}T\d{6}_(\w+)\.jp2$")
_METADATA = {
    "manifest.safe": "safe_manifest",
    "MTD_TL.xml": "granule_metadata",
    "INSPIRE.xml": "inspire_metadata",
    "MTD_MSIL2A.xml": "product_metadata",
    "MTD_MSIL1C.xml": "product_metadata",
    "MTD_DS.xml": "datastrip_metadata",
}
_MD5, _SHA3_256, _MISLABELLED = "d50110", "1620", "d50120"
_SHA3_SINCE = "05.00"


class Stac:
    """The collections and items, and the searches for them."""

    def __init__(self, held: Mapping[str, Product]) -> None:
        items = [
            _Item(product)
            for product in held.values()
            if product.kind in _COLLECTIONS and product.online and product.footprint
        ]
        # As recorded: the newest first, and of one time the last name.
        self._items = sorted(items, key=lambda item: (item.sensed, item.id), reverse=True)
        self._by_id = {(item.collection, item.id): item for item in items}
        present = {item.collection for item in items}
        self._collections = [name for name in _COLLECTIONS.values() if name in present]

    def answer(self, request: Request) -> Reply:
        """Answer for the STAC host."""
        path = request.path.rstrip("/")
        try:
            match path:
                case "/v1":
                    return json_reply(200, self._landing())
                case "/v1/conformance":
                    return json_reply(200, {"conformsTo": _CONFORMANCE})
                case "/v1/queryables":
                    return json_reply(200, _QUERYABLES)
                case "/v1/collections":
                    listed = [_collection(name) for name in self._collections]
                    links = [_link("root"), _link("self", "/collections")]
                    return json_reply(200, {"collections": listed, "links": links})
                case "/v1/search":
                    return self._search(request)
            found = re.fullmatch(r"/v1/collections/([\w-]+)(?:/(items|queryables)(?:/([^/]+))?)?", path)
            if found is not None and found[1] in self._collections:
                return self._collection(request, *found.groups())
        except BadFilter as error:
            return json_reply(400, {"code": "BadRequest", "description": str(error)})
        return json_reply(404, {"code": "NotFoundError", "description": f"{path} does not exist."})

    def _collection(self, request: Request, name: str, part: str | None, item_id: str | None) -> Reply:
        if part is None:
            return json_reply(200, _collection(name))
        if part == "queryables":
            return json_reply(200, _QUERYABLES)
        if item_id is None:
            return self._search(request, name)
        item = self._by_id.get((name, item_id))
        if item is None:
            message = f"Item {item_id} in Collection {name} does not exist."
            return json_reply(404, {"code": "NotFoundError", "description": message})
        return _features(item.json)

    def _landing(self) -> dict[str, Any]:
        links = [
            _link("self"),
            _link("root"),
            _link("data", "/collections"),
            _link("conformance", "/conformance"),
            {**_link("search", "/search", _GEOJSON), "method": "GET"},
            {**_link("search", "/search", _GEOJSON), "method": "POST"},
            _link("http://www.opengis.net/def/rel/ogc/1.0/queryables", "/queryables"),
            *(_link("child", f"/collections/{name}") for name in self._collections),
        ]
        return {
            "type": "Catalog",
            "id": "cdse-stac",
            "title": "Copernicus Data Space Ecosystem (CDSE) asset-level STAC catalogue",
            "description": "Sentinel-2 products of the sandbox, by asset.",
            "stac_version": "1.0.0",
            "stac_extensions": [],
            "conformsTo": _CONFORMANCE,
            "links": links,
        }

    def _search(self, request: Request, collection: str | None = None) -> Reply:
        asked = _asked(request)
        tests = list(_tests({**asked, "collections": [collection]} if collection else asked))
        found = [item for item in self._items if all(test(item) for test in tests)]
        for name, falling in reversed(sort_order(asked.get("sortby"))):
            # Stable: what is equal here keeps the order that it had.
            found.sort(key=partial(_Item.rank, name=name), reverse=falling)
        start, limit = _start(asked.get("token"), found), _limit(asked)
        page = found[start : start + limit]
        own = f"{ROOT}{request.path.rstrip('/').removeprefix('/v1')}"
        links = [_link("root"), {"rel": "self", "type": "application/json", "href": own}]
        if start + limit < len(found):
            token = f"next:{page[-1].collection}:{page[-1].id}"
            links.append(_next(request, own, token))
        chosen = chooser(asked.get("fields"))
        features = [chosen(item.json) for item in page]
        answer = {"type": "FeatureCollection", "links": links, "features": features}
        return _features({**answer, "numberReturned": len(page)})


class _Item:
    """One item: what searches test, and its assets when it is served."""

    def __init__(self, product: Product) -> None:
        self.product = product
        self.id = product.name.removesuffix(".SAFE")
        self.collection = _COLLECTIONS[product.kind]
        self.sensed = _milliseconds(product.stamps["ContentDate/Start"])
        self._lock = threading.Lock()

    @cached_property
    def base(self) -> dict[str, Any]:
        """The item without its assets."""
        here = f"/collections/{self.collection}"
        west, south, east, north = self.footprint.bounds
        return {
            "id": self.id,
            "type": "Feature",
            "collection": self.collection,
            "stac_version": "1.1.0",
            "stac_extensions": _EXTENSIONS,
            "bbox": [round(value, 6) for value in (west, south, east, north)],
            "geometry": {"type": "Polygon", "coordinates": [self.product.footprint]},
            "properties": _properties(self.product),
            "links": [
                _link("collection", here),
                _link("parent", here),
                _link("root"),
                _link("self", f"{here}/items/{self.id}", _GEOJSON),
            ],
        }

    @cached_property
    def footprint(self) -> BaseGeometry:
        """The footprint."""
        from shapely.geometry import Polygon

        return Polygon(self.product.footprint)

    def rank(self, name: str) -> Any:
        """What items are sorted by."""
        name = name.removeprefix("properties.")
        value = self.base[name] if name in ("id", "collection") else self.base["properties"].get(name)
        return (value is not None, value)

    @property
    def json(self) -> dict[str, Any]:
        """All of it."""
        with self._lock:
            return {**self.base, "assets": self._assets}

    @cached_property
    def _assets(self) -> dict[str, Any]:
        return _assets(self.product)


def _properties(product: Product) -> dict[str, Any]:
    attributes = {name: value for _, name, value in product.attributes}
    satellite, tile = product.name[2], attributes.get("tileId")
    direction = attributes.get("orbitDirection")
    start, end = (_milliseconds(product.stamps[f"ContentDate/{name}"]) for name in ("Start", "End"))
    clouds = attributes.get("cloudCover")
    properties = {
        "gsd": 10,
        "created": product.stamps["OriginDate"],
        "updated": product.stamps["ModificationDate"],
        "published": product.stamps["PublicationDate"],
        "datetime": start,
        "start_datetime": start,
        "end_datetime": end,
        "platform": f"sentinel-2{satellite.lower()}",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "grid:code": f"MGRS-{tile}",
        "product:type": product.kind,
        # As recorded: two digits, where OData has all.
        "eo:cloud_cover": None if clouds is None else round(clouds, 2),
        "sat:absolute_orbit": attributes.get("orbitNumber"),
        "sat:relative_orbit": attributes.get("relativeOrbitNumber"),
        "sat:orbit_state": None if direction is None else direction.lower(),
        "sat:platform_international_designator": _DESIGNATORS[satellite],
        "processing:level": "L2" if product.kind == "S2MSI2A" else "L1",
        "processing:version": attributes.get("processorVersion"),
        "processing:datetime": attributes.get("processingDate"),
        "processing:facility": "ESA",
        "eopf:datatake_id": attributes.get("productGroupId"),
        "eopf:instrument_mode": attributes.get("operationalMode"),
        "eopf:origin_datetime": product.stamps["OriginDate"],
        **_SCHEMES,
    }
    return {name: value for name, value in properties.items() if value is not None}


def _milliseconds(stamp: str) -> str:
    return f"{parse_time(stamp):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def _assets(product: Product) -> dict[str, Any]:
    modern = next(value for _, name, value in product.attributes if name == "processorVersion") >= _SHA3_SINCE
    assets = {}
    for path, content in product.files.items():
        image, name = _IMAGE.search(f"/{path}"), path.rpartition("/")[2]
        if image is not None:
            assets[image[1]] = {
                **_file(product, path),
                **_measured(content, _SHA3_256 if modern else _MD5),
                **_image(product, image[1], content),
            }
        elif name in _METADATA:
            # As recorded: the manifest has its MD5, and the rest a digest under a wrong name.
            code = _MISLABELLED if modern and name != "manifest.safe" else _MD5
            about = {"type": "application/xml", "roles": ["metadata"], "title": name}
            assets[_METADATA[name]] = {**_file(product, path), **_measured(content, code), **about}
    assets["Product"] = {
        "href": f"{_NODES.format(id=product.id)}/$value",
        "auth:refs": ["oidc"],
        "alternate:name": "HTTPS",
        "file:local_path": f"{product.name}.zip",
        **(_measured(product.content, _MD5) if product.measured else {}),
        "type": "application/zip",
        "roles": ["data", "metadata", "archive"],
        "title": "Zipped product",
    }
    if product.quicklook is not None:
        path = f"{product.name}/{product.quicklook.name}"
        assets["thumbnail"] = {
            "href": f"https://{THUMBNAILS}/odata/v1/Assets({product.quicklook_id})/$value",
            "alternate": {
                "s3": {
                    "href": f"s3:/{product.s3_path}/{product.quicklook.name}",
                    "auth:refs": ["s3"],
                    "storage:refs": _S3_STORES,
                    "alternate:name": "S3",
                }
            },
            "auth:refs": ["oidc"],
            "alternate:name": "HTTPS",
            "file:local_path": path,
            **_measured(product.quicklook, _MD5),
            "type": "image/jpeg",
            "roles": ["thumbnail", "overview"],
            "title": "Quicklook",
        }
    return assets


_NODES = "https://zipper.dataspace.copernicus.eu/odata/v1/Products({id})"


def _file(product: Product, path: str) -> dict[str, Any]:
    """Where one file of a product is, and what it is called."""
    # As recorded: the address of a metadata file in a folder has a node without a name.
    nameless = ["", *path.split("/")] if "/" in path and path.endswith(".xml") else path.split("/")
    steps = "".join(f"/Nodes({step})" for step in (product.name, *nameless))
    return {
        "href": f"s3:/{product.s3_path}/{path}",
        "alternate": {
            "https": {
                "href": f"{_NODES.format(id=product.id)}{steps}/$value",
                "auth:refs": ["oidc"],
                "storage:refs": [],
                "alternate:name": "HTTPS",
            }
        },
        "auth:refs": ["s3"],
        "storage:refs": _S3_STORES,
        "alternate:name": "S3",
        "file:local_path": f"{product.name}/{path}",
    }


def _image(product: Product, key: str, content: Content) -> dict[str, Any]:
    """What is said of a band: its grid is that of the file."""
    attributes = {name: value for _, name, value in product.attributes}
    place, size = grid(attributes["tileId"]), _size(content)
    step = WIDTH / size
    visual, classes = key.startswith("TCI"), key.startswith("SCL")
    about: dict[str, Any] = {
        "type": "image/jp2",
        "roles": ["visual"] if visual else ["data"],
        "title": key,
        "gsd": _gsd(key),
        "nodata": 0,
        "data_type": "uint8" if visual or classes else "uint16",
        "proj:code": f"EPSG:{place.epsg}",
        "proj:shape": [size, size],
        "proj:bbox": [place.left, place.top - WIDTH, place.left + WIDTH, place.top],
        "proj:transform": [step, 0.0, place.left, 0.0, -step, place.top],
    }
    if key.startswith("B"):
        about["bands"] = [{"name": key.partition("_")[0]}]
        about["raster:scale"] = 0.0001
        about["raster:offset"] = -OFFSET / 10_000 if attributes["processorVersion"] >= "04.00" else 0.0
    return about


def _size(content: Content) -> int:
    """Pixels along each side of an image, as its codestream says (ISO/IEC 15444-1, A.5.1)."""
    head = content.read(0, 4096)
    return int.from_bytes(head[(at := head.index(b"\xff\x51") + 6) : at + 4])


def _measured(content: Content, code: str) -> dict[str, Any]:
    digest = content.md5 if code == _MD5 else hashlib.sha3_256(content.read(0, content.size)).hexdigest()
    return {"file:size": content.size, "file:checksum": f"{code}{digest}"}


def _gsd(key: str) -> int:
    """Metres of a band's pixels; those of L1C have them not in their names."""
    band, _, resolution = key.partition("_")
    if resolution:
        return int(resolution.removesuffix("m"))
    coarse, fine = ("B01", "B09", "B10"), ("B02", "B03", "B04", "B08", "TCI")
    return 60 if band in coarse else 10 if band in fine else 20


def _collection(name: str) -> dict[str, Any]:
    here = f"/collections/{name}"
    return {
        "type": "Collection",
        "id": name,
        "title": _TITLES[name],
        "description": f"{_TITLES[name]} products of the sandbox.",
        "license": "other",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2015-06-27T10:25:31Z", None]]},
        },
        "links": [
            _link("items", f"{here}/items", _GEOJSON),
            _link("parent"),
            _link("root"),
            _link("self", here),
            _link("http://www.opengis.net/def/rel/ogc/1.0/queryables", f"{here}/queryables"),
        ],
    }


_QUERYABLES = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "title": "Queryables",
    "properties": {
        "id": {"type": "string"},
        "collection": {"type": "string"},
        "datetime": {"type": "string", "format": "date-time"},
        "eo:cloud_cover": {"type": "number"},
        "grid:code": {"type": "string"},
        "platform": {"type": "string"},
        "product:type": {"type": "string"},
        "sat:relative_orbit": {"type": "integer"},
    },
    "additionalProperties": True,
}


def _features(answer: dict[str, Any]) -> Reply:
    return Reply(200, [("Content-Type", _GEOJSON)], json.dumps(answer).encode())


def _link(rel: str, path: str = "/", kind: str = "application/json") -> dict[str, Any]:
    return {"rel": rel, "type": kind, "href": f"{ROOT}{path}"}


def _next(request: Request, own: str, token: str) -> dict[str, Any]:
    link = {"rel": "next", "type": _GEOJSON, "method": request.method, "href": own}
    if request.method == "POST":
        return {**link, "body": {**json.loads(request.body), "token": token}}
    following = [pair for pair in request.parameters if pair[0] != "token"] + [("token", token)]
    return {**link, "href": f"{own}?{urlencode(following)}"}


def _asked(request: Request) -> dict[str, Any]:
    """What a search asks for, in the form that a body has."""
    asked: Any
    if request.method == "POST":
        try:
            asked = json.loads(request.body)
        except ValueError:
            raise BadFilter("the body is not JSON") from None
        if not isinstance(asked, dict):
            raise BadFilter("the body is not an object")
    else:
        asked = dict(request.parameters)
        for name in ("collections", "ids", "fields"):
            if name in asked:
                asked[name] = [value for value in asked[name].split(",") if value]
        try:
            if "bbox" in asked:
                asked["bbox"] = [float(value) for value in asked["bbox"].split(",")]
            for name in ("intersects", "query"):
                if name in asked:
                    asked[name] = json.loads(asked[name])
            if "filter" in asked and asked.get("filter-lang") == "cql2-json":
                asked["filter"] = json.loads(asked["filter"])
        except ValueError as error:
            raise BadFilter(f"cannot read the parameters: {error}") from None
        if "sortby" in asked:
            asked["sortby"] = [
                {"field": name.lstrip("+- "), "direction": "desc" if name.startswith("-") else "asc"}
                for name in asked["sortby"].split(",")
            ]
    for name in asked:
        if name not in _PARAMETERS:
            raise BadFilter(f"unknown parameter {name}")
    return dict(asked)


def _tests(asked: Mapping[str, Any]) -> Iterator[Callable[[_Item], bool]]:
    if asked.get("bbox") is not None and asked.get("intersects") is not None:
        raise BadFilter("either bbox or intersects")
    if asked.get("collections"):
        collections = set(asked["collections"])
        yield lambda item: item.collection in collections
    if asked.get("ids"):
        ids = set(asked["ids"])
        yield lambda item: item.id in ids
    if asked.get("datetime"):
        first, last = _interval(str(asked["datetime"]))
        yield lambda item: first <= item.sensed <= last
    if asked.get("bbox") is not None:
        area = bounding_box(asked["bbox"])
        yield lambda item: item.footprint.intersects(area)
    if asked.get("intersects") is not None:
        yield _of_item(read_json({"op": "s_intersects", "args": [{}, asked["intersects"]]}))
    if asked.get("query"):
        yield _of_item(read_query(asked["query"]))
    if asked.get("filter"):
        given = asked["filter"]
        yield _of_item(read_json(read_text(given) if isinstance(given, str) else given))


def _of_item(test: Test) -> Callable[[_Item], bool]:
    return lambda item: test(item.base)


def _interval(text: str) -> tuple[str, str]:
    """First and last moment, written as items have them, so that they compare as text."""
    first, slash, last = text.partition("/")
    ends = (first, last if slash else first)
    open_end = ("0000", "9999")
    out = []
    for end, none in zip(ends, open_end, strict=True):
        try:
            out.append(none if end in ("", "..") and slash else _milliseconds(end))
        except ValueError:
            raise BadFilter(f"{text!r} is no datetime") from None
    return out[0], out[1]


def bounding_box(values: Any) -> BaseGeometry:
    """The area of a ``bbox``; two boxes where it goes across the antimeridian."""
    from shapely.geometry import MultiPolygon, box

    if not isinstance(values, list) or len(values) not in (4, 6):
        raise BadFilter("a bbox has four numbers, or six")
    west, south = values[:2]
    east, north = values[2:4] if len(values) == 4 else values[3:5]
    if south > north:
        raise BadFilter("the bbox has its south above its north")
    if west <= east:
        return box(west, south, east, north)
    return MultiPolygon([box(west, south, 180, north), box(-180, south, east, north)])


def _limit(asked: Mapping[str, Any]) -> int:
    text = str(asked.get("limit", _DEFAULT_LIMIT))
    if not text.isdigit() or not 1 <= int(text) <= _MOST:
        raise BadFilter(f"limit is a whole number from 1 to {_MOST}")
    return int(text)


def sort_order(given: Any) -> list[tuple[str, bool]]:
    """The names of ``sortby`` in their order, and whether each falls."""
    try:
        return [(one["field"], one.get("direction", "asc") == "desc") for one in given or ()]
    except (TypeError, KeyError):
        raise BadFilter("sortby is a list of objects with field and direction") from None


def _start(token: Any, found: list[_Item]) -> int:
    if token is None:
        return 0
    for number, item in enumerate(found):
        if token == f"next:{item.collection}:{item.id}":
            return number + 1
    raise BadFilter("the token is not one of this search")


def chooser(given: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What ``fields`` leaves of an item; what names it always stays."""
    if isinstance(given, dict):
        include, exclude = set(given.get("include") or ()), set(given.get("exclude") or ())
    else:
        include = {name for name in given or () if not name.startswith("-")}
        exclude = {name[1:] for name in given or () if name.startswith("-")}
    always = {"id", "type", "collection", "stac_version", "links"}

    def choose(item: dict[str, Any]) -> dict[str, Any]:
        out = {}
        for name, value in item.items():
            if name in exclude and name not in always:
                continue
            inner = {path.partition(".")[2] for path in include if path.startswith(f"{name}.")}
            if not include or name in include or name in always:
                out[name] = value
            elif inner:
                out[name] = {key: value[key] for key in value if key in inner}
            dropped = {path.partition(".")[2] for path in exclude if path.startswith(f"{name}.")}
            if dropped and name in out:
                out[name] = {key: found for key, found in out[name].items() if key not in dropped}
        return out

    return choose
