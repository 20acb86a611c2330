"""Receipts as a STAC ItemCollection, as astroquery's table, and as a list that ``sha256sum -c`` reads.

Hrefs are relative to the manifest, so that a store and its manifest can move together, and two
runs of one plan give equal manifests but for the times.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from skystage import items, multihash
from skystage.errors import SkystageError
from skystage.model import Asset, Companion, Json, Receipt, Release, canonical, iso
from skystage.plan import Once, Plan
from skystage.s3 import https_url
from skystage.store import Store
from skystage.whole import whole

CHECKSUMS = "checksums.txt"
COLUMNS = ("Local Path", "Status", "Message", "URL")
"""Of astroquery's table."""
_SUFFIXES = (".json", ".parquet", ".ecsv", ".csv")


@dataclass(slots=True)
class Written:
    """What a manifest holds, counted while it is written."""

    items: int = 0
    assets: int = 0
    released: int = 0
    """Those of the assets that were staged and then released: their hrefs lead to the archive."""
    missing: int = 0
    """Planned assets without a receipt: not in the manifest."""


def write(plan: Plan, store: Store, path: Path) -> Written:
    """Write the manifest of what is staged of a plan, and ``checksums.txt`` beside it.

    Parameters
    ----------
    path
        ``*.json`` for a STAC ItemCollection, ``*.parquet`` for GeoParquet, ``*.ecsv`` or ``*.csv`` for the
        table that astroquery's ``download_products`` gives.

    Raises
    ------
    SkystageError
        For another suffix, or Parquet without the package that writes it.
    """
    if path.suffix not in _SUFFIXES:
        raise SkystageError(
            f"{path}: cannot write a manifest as {path.suffix!r}", hint=f"allowed: {', '.join(_SUFFIXES)}"
        )
    plan.check()
    path.parent.mkdir(parents=True, exist_ok=True)
    base = path.parent.resolve()
    written = Written()
    if path.suffix in (".ecsv", ".csv"):
        with whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
            _write_table(file, _rows(plan, store, base, written), commented=path.suffix == ".ecsv")
        return written
    with whole(path.with_name(CHECKSUMS)) as listed, listed.open("w", encoding="utf-8") as sums:
        found = _items(plan, store, base, sums, written)
        if path.suffix == ".json":
            with whole(path) as part, part.open("w", encoding="utf-8") as file:
                file.write('{"type":"FeatureCollection","features":[')
                for number, item in enumerate(found):
                    file.write(f"{',' if number else ''}\n{canonical(item)}")
                file.write("\n]}\n")
        else:
            items.write_parquet(path, list(found), {granule.body for granule in plan.granules()})
    return written


def _items(plan: Plan, store: Store, base: Path, sums: TextIO, written: Written) -> Iterator[dict[str, Json]]:
    """The items of granules, then of companions, of which something is staged or released.

    Checksums are written on the way: of what is there, because the list would fail for a released asset.
    """
    once = Once()

    def held(assets: Iterable[Asset]) -> Iterator[tuple[Asset, Receipt, dict[str, Json]]]:
        for asset in assets:
            receipt, first = store.receipt(asset), once.first(asset)
            if receipt is not None:
                href = os.path.relpath(store.path(asset).resolve(), base)
                yield asset, receipt, _asset(asset, receipt, quote(href, safe="/~.+=@,"))
                if first:
                    sums.write(f"{receipt.digests['sha256']}  {href}\n")
            elif (release := store.released(asset)) is not None:
                yield asset, release.receipt, _released(asset, release)
                written.released += first
            else:
                written.missing += first
                continue
            written.assets += first

    for granule in plan.granules():
        if assets := {asset.key: said for asset, _, said in held(granule.assets)}:
            written.items += 1
            yield items.item(granule, assets)
    for companion in plan.companions():
        if found := list(held(companion.assets)):
            written.items += 1
            # Elevation was sensed by nobody at one time: an item has the time at which its last file came.
            last = max(receipt.staged for _, receipt, _ in found)
            yield _companion_item(companion, iso(last), {asset.name: said for asset, _, said in found})


def _rows(plan: Plan, store: Store, base: Path, written: Written) -> Iterator[tuple[str, ...]]:
    """Each planned asset once, in the order of the plan, then what cannot be had.

    What is staged is ``COMPLETE``; what was released ``SKIPPED``, and what is missing ``ERROR``: they have no
    file, and so no path.
    """
    for asset in plan.assets():
        url = https_url(asset.sources[0].href) if asset.sources else ""
        if (receipt := store.receipt(asset)) is not None:
            path = os.path.relpath(store.path(asset).resolve(), base)
            written.assets += 1
            yield path, "COMPLETE", "", https_url(_came_from(asset, receipt))
        elif store.released(asset) is not None:
            written.assets += 1
            written.released += 1
            yield "", "SKIPPED", f"{asset.path}: released", url
        else:
            written.missing += 1
            yield "", "ERROR", f"{asset.path}: not staged", url
        written.items += 1
    for name, lacking in plan.unresolved():
        written.items += 1
        yield "", "ERROR", f"{name}: {lacking.key}: {lacking.reason}", ""


def _came_from(asset: Asset, receipt: Receipt) -> str:
    """The address that the plan has for where an asset came from: receipts keep no query."""
    whole = (one.href for one in asset.sources if one.href.partition("?")[0] == receipt.source)
    return next(whole, receipt.source)


def _write_table(file: TextIO, rows: Iterable[tuple[str, ...]], *, commented: bool) -> None:
    """Comma-separated values; with comments they are ECSV 1.0 (astropy's APE 6)."""
    if commented:
        file.write("# %ECSV 1.0\n# ---\n# delimiter: ','\n# datatype:\n")
        file.writelines(f"# - {{name: {name}, datatype: string}}\n" for name in COLUMNS)
    table = csv.writer(file, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows(rows)


def _companion_item(companion: Companion, moment: str, assets: dict[str, Json]) -> dict[str, Json]:
    item: dict[str, Json] = {
        "type": "Feature",
        "stac_version": items.STAC,
        "stac_extensions": items.EXTENSIONS,
        "id": companion.id,
        "geometry": None,
        "properties": {
            **companion.properties,
            "datetime": moment,
            "skystage:companion": True,
            "skystage:stack": companion.id,
        },
        "links": [],
        "assets": assets,
    }
    if companion.bounds:
        rings = [[[w, s], [e, s], [e, n], [w, n], [w, s]] for w, s, e, n in companion.bounds]
        item["geometry"] = {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}
        item["bbox"] = items.bbox(item["geometry"])
    if companion.unresolved:
        item["properties"]["skystage:unresolved"] = [missing.to_json() for missing in companion.unresolved]
    return item


def _asset(asset: Asset, receipt: Receipt, href: str) -> dict[str, Json]:
    out: dict[str, Json] = {
        "href": href,
        "roles": ["data" if asset.key == "data" else asset.key],
        "file:size": receipt.size,
        "file:checksum": multihash.write("sha256", receipt.digests["sha256"]),
        "created": iso(receipt.staged),
        "skystage:verified": receipt.verified,
        "alternate": {f"source-{n}": {"href": source.href} for n, source in enumerate(asset.sources, 1)},
    }
    if asset.media_type is not None:
        out["type"] = asset.media_type
    return out


def _released(asset: Asset, release: Release) -> dict[str, Json]:
    """What was staged is no more here: the first source is where it can be had."""
    href = asset.sources[0].href if asset.sources else asset.path
    return {**_asset(asset, release.receipt, href), "skystage:released": iso(release.released)}
