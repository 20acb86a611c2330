"""The STAC API of the USGS Astrogeology Science Center, and the public bucket that its assets lie in.

The items' links lead to a gateway of Amazon's, as the real ones do: the API answers there too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from skystage.sandbox import kaguya, kaguya_labels
from skystage.sandbox.buckets import Bucket
from skystage.sandbox.catalogue import Catalogue, parse_time
from skystage.sandbox.files import Content, Made
from skystage.sandbox.messages import Service
from skystage.sandbox.stac_server import StacServer
from skystage.sandbox.world import World

HOST = "stac.astrogeology.usgs.gov"
EARTH_SEARCH = "earth-search.aws.element84.com"
DEAD = "TC1S2B0_01_05521N043E0050"
"""The scene whose provenance is not where its item says."""
PAID = "usgs-landsat"
"""A bucket whose readers pay."""
_PAID_KEY = "collection02/level-2/standard/oli-tirs/2023/033/032/LC08_L2SP_033032_20231008_MTL.json"
_ABOUT = {"id": "usgs-stac-api", "title": "USGS STAC API", "description": "The sandbox's planetary images"}
_EARTH = {"id": "earth-search-aws", "title": "Earth Search", "description": "Recorded items of Earth Search"}


def hosts(world: World) -> dict[str, Service]:
    """The API at its two addresses, and Earth Search where it is recorded."""
    items = world.catalogue.planetary
    # The camera's collections are there also where nothing is recorded of them.
    names = dict.fromkeys([*kaguya.COLLECTIONS, *(item["collection"] for item in items)])
    collections = [kaguya.collection(name) for name in names]
    server = StacServer(kaguya.ROOT, ("/api", "/prod"), _ABOUT, collections, items)
    table: dict[str, Service] = dict.fromkeys((HOST, urlsplit(kaguya.ROOT).hostname or ""), server.answer)
    earth = world.catalogue.earth_search
    if earth:
        names = dict.fromkeys(item["collection"] for item in earth)
        collections = [_earth_collection(name) for name in names]
        root = f"https://{EARTH_SEARCH}/v1"
        table[EARTH_SEARCH] = StacServer(root, ("/v1",), _EARTH, collections, earth).answer
    return table


def _earth_collection(name: str) -> dict[str, Any]:
    return {**kaguya.collection(name), "title": name, "stac_extensions": [], "summaries": {}}


def build(catalogue: Catalogue) -> None:
    """Add what is built in."""
    catalogue.planetary.extend(kaguya.items())
    objects: dict[str, Content] = {}
    for scene, item in zip(kaguya.scenes(), kaguya.items(), strict=True):
        makers: dict[str, Callable[[], bytes]] = {
            "thumbnail": kaguya.thumbnail,
            "image": partial(kaguya.scene_image, scene),
            "provenance": partial(kaguya_labels.provenance, scene),
            "isis_label": partial(kaguya_labels.isis, scene),
            "pds_label": partial(kaguya_labels.pds, scene),
            "caminfo_pvl": partial(kaguya_labels.caminfo, scene),
            "usgscsm_isd": partial(kaguya_labels.isd, scene.name),
        }
        if scene.name == DEAD:
            del makers["provenance"]
        objects.update(_contents(item, makers, kaguya.MADE))
    _add_buckets(catalogue, objects)


def load(catalogue: Catalogue, folder: Path) -> None:
    """Add recorded items of the USGS, with their recorded labels, and of Earth Search.

    Provenances are not there, as they were not when the items were recorded; images, and cameras where none
    is recorded, are stand-ins.
    """
    objects: dict[str, Content] = {}
    for path in sorted((folder / "usgs-stac-kaguya").glob("*/item.json")):
        item = json.loads(path.read_text())
        recorded = {
            "thumbnail": "thumbnail.jpg",
            "isis_label": "isis.lbl",
            "pds_label": "pds.lbl",
            "caminfo_pvl": "caminfo.pvl",
            "usgscsm_isd": "usgscsm_isd.json",
        }
        makers: dict[str, Callable[[], bytes]] = {
            "image": partial(_stand_in, item),
            "usgscsm_isd": partial(kaguya_labels.isd, item["id"]),
        }
        for name, file in recorded.items():
            if (path.parent / file).is_file():
                makers[name] = (path.parent / file).read_bytes
        catalogue.planetary.append(item)
        objects.update(_contents(item, makers, parse_time(item["properties"]["updated"])))
    catalogue.earth_search.extend(_exchanged(folder / "stac-recorded"))
    if catalogue.planetary:
        _add_buckets(catalogue, objects)


def _add_buckets(catalogue: Catalogue, objects: Mapping[str, Content]) -> None:
    catalogue.buckets[kaguya.BUCKET] = Bucket(kaguya.BUCKET, kaguya.REGION, objects)
    paid = Made(
        _PAID_KEY.rpartition("/")[2], "application/json", kaguya.MADE, lambda: b'{"stand-in": true}\n'
    )
    catalogue.buckets[PAID] = Bucket(PAID, kaguya.REGION, {_PAID_KEY: paid}, requester_pays=True)


def _contents(
    item: Mapping[str, Any], makers: Mapping[str, Callable[[], bytes]], modified: datetime
) -> Iterator[tuple[str, Content]]:
    """Key and bytes of an item's assets."""
    for name, make in makers.items():
        asset = item["assets"][name]
        key = unquote(urlsplit(asset["href"]).path[1:])
        yield key, Made(key.rpartition("/")[2], asset["type"].partition(";")[0], modified, make)


def _stand_in(item: Mapping[str, Any]) -> bytes:
    """An image where the recorded item says that one is, of few pixels."""
    said = item["properties"]
    rows, columns = said["proj:shape"]
    left, pixel, _, top, *_ = said["proj:transform"]
    few = max(math.ceil(max(rows, columns) / 200), 1)
    return kaguya.image((rows // few, columns // few), (left, top), pixel * few, 60.0)


def _exchanged(folder: Path) -> Iterator[dict[str, Any]]:
    """The items in recorded answers to searches, each once."""
    seen: set[tuple[str, str]] = set()
    for path in sorted(folder.glob("earthsearch_*.json")):
        for exchange in json.loads(path.read_text()):
            for item in exchange["body"].get("features", []):
                key = (item["collection"], item["id"])
                if key not in seen:
                    seen.add(key)
                    yield item
