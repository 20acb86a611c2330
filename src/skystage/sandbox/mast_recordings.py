"""MAST as it was recorded: rows from its answers and from tables, real files under the rows that fit them.

A row keeps its columns and values. Products that no recorded file is for get a stand-in of the size that the
row says; observations of the built-in catalogue get its products if none of theirs are recorded. Of a FITS
file without a row, the header says what the row would.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from skystage.sandbox import fits, stis
from skystage.sandbox.files import Made
from skystage.sandbox.mast_holdings import File, Holdings, Row
from skystage.sandbox.mast_observations import complete, hubble_path, observations, product

_MODIFIED = datetime(2024, 1, 1, tzinfo=UTC)
_LONGEST_HEADER = 20 * fits.BLOCK
_HUBBLE = "mast:HST/product/"
_READ: Mapping[str, Callable[[str], Any]] = {
    "float": float,
    "int": int,
    "string": str,
    "boolean": lambda text: text == "True",
}


def load(root: Path) -> Holdings:
    """What is recorded in ``mast-portal``, ``mast-tables``, ``hst-stis-fits`` and ``lightcurves-fits``.

    Raises
    ------
    OSError, KeyError, ValueError
        If something there cannot be read.
    """
    held = Holdings()
    portal = root / "mast-portal"
    for path in sorted(portal.glob("*.json")):
        _answer(held, json.loads(path.read_bytes()))
    if (portal / "columnsconfig.json").is_file():
        held.config.update(json.loads((portal / "columnsconfig.json").read_bytes()))
    if (portal / "mission_columns.json").is_file():
        held.mission_columns = json.loads((portal / "mission_columns.json").read_bytes())
    for path in sorted((root / "mast-tables").glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            _add(held, *_table(file))
    for path in sorted((root / "hst-stis-fits").glob("*.fits")):
        _hubble(held, path)
    for path in sorted((root / "lightcurves-fits").glob("*.fits*")):
        _light_curve(held, path)
    _complete(held)
    return held


def _answer(held: Holdings, document: Any) -> None:
    """A page of the portal or an answer of the resolver; what is neither is left alone."""
    if not isinstance(document, Mapping):
        return
    for one in document.get("resolvedCoordinate", ()):
        known = held.positions.setdefault(one["searchString"], [])
        known.append((one["resolver"], one["ra"], one["decl"]))
    data, fields = document.get("data"), document.get("fields")
    if isinstance(data, list) and isinstance(fields, list):
        types = {field["name"]: field["type"] for field in fields if field["name"] != "_selected_"}
        _add(held, types, data)


def _table(lines: Iterable[str]) -> tuple[dict[str, str], Iterator[Row]]:
    """A table as a notebook shows it, maybe with the columns' types in its second line."""
    rows = csv.DictReader(lines)
    names = [name for name in rows.fieldnames or () if name != "idx"]
    fresh = Holdings()
    known = {**fresh.observation_fields, **fresh.product_fields}
    types = {name: known.get(name, "string") for name in names}

    def read() -> Iterator[Row]:
        for row in rows:
            if all(row[name].startswith(("str", "int", "float", "bool")) for name in names):
                continue
            yield {name: None if row[name] in ("", "--") else _READ[types[name]](row[name]) for name in names}

    return types, read()


def _add(held: Holdings, types: Mapping[str, str], rows: Iterable[Row]) -> None:
    """Rows of observations or of products: those have an address."""
    products = "dataURI" in types
    if not products and not {"obsid", "obs_id"} <= set(types):
        return
    fields = held.product_fields if products else held.observation_fields
    # A distance is that of another question's place.
    fields.update({name: kind for name, kind in types.items() if name not in fields and name != "distance"})
    for row in rows:
        given: Row = {name: row.get(name) for name in types if name != "distance"}
        if not products:
            held.add(given)
            continue
        name, size = given["productFilename"], given.get("size")
        path = hubble_path(name, str(given["obs_id"])) if given["dataURI"].startswith(_HUBBLE) else None
        held.add_product(given, File(stis.content(name, int(size or fits.BLOCK), given), path))


def _hubble(held: Holdings, path: Path) -> None:
    """A file of Hubble's: its observation, if this is its first file, and its product."""
    header = _header(path)
    root, _, suffix = path.name.removesuffix(".fits").rpartition("_")
    obsid = f"8{zlib.crc32(root.encode()) % 10**7:07d}"
    times = {"t_min": "TEXPSTRT", "t_max": "TEXPEND", "t_exptime": "TEXPTIME"}
    if obsid not in held.observations:
        row = {
            "dataproduct_type": "spectrum" if suffix == "x1d" else "image",
            "calib_level": 2 if suffix == "x1d" else 1,
            "obs_collection": "HST",
            "obs_id": root,
            "target_name": header["TARGNAME"],
            "s_ra": float(header["RA_TARG"]),
            "s_dec": float(header["DEC_TARG"]),
            **{name: float(header[key]) for name, key in times.items() if key in header},
            "filters": header.get("OPT_ELEM"),
            "instrument_name": "/".join(filter(None, (header["INSTRUME"], header.get("DETECTOR")))),
            "proposal_pi": header["PR_INV_L"],
            "proposal_id": header["PROPOSID"],
            "project": "HST",
            "provenance_name": "CALSTIS",
            "dataRights": "PUBLIC",
            "mtFlag": False,
            "intentType": "science",
            "obsid": obsid,
            "objID": f"1{obsid}",
        }
        held.add(complete(row, held))
    columns = {
        "description": f"DADS {suffix.upper()} file",
        "productType": "AUXILIARY" if suffix == "spt" else "SCIENCE",
        "productSubGroupDescription": suffix.upper(),
        "calib_level": 2 if suffix == "x1d" else 1,
        "size": path.stat().st_size,
    }
    content = Made(path.name, "application/fits", _MODIFIED, path.read_bytes)
    place = hubble_path(path.name, root)
    held.add_product(product(held.observations[obsid], path.name, **columns), File(content, place))


def _header(path: Path) -> dict[str, str]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        return fits.read_header(file.read(_LONGEST_HEADER))


def _light_curve(held: Holdings, path: Path) -> None:
    """A file of Kepler, K2 or TESS, or what others made of theirs: an observation of its own."""
    header = _header(path)
    mission = header.get("MISSION") or header["TELESCOP"]
    target = header.get("KEPLERID") or header["TICID"]
    name = path.name
    collection = "HLSP" if name.startswith("hlsp_") else mission
    prefix = {"kplr": "kplr", "ktwo": "ktwo"}.get(name[:4], "")
    obsid = f"7{zlib.crc32(name.encode()) % 10**7:07d}"
    row = {
        "dataproduct_type": "timeseries",
        "calib_level": 4 if collection == "HLSP" else 2,
        "obs_collection": collection,
        "obs_id": name.partition(".")[0],
        "target_name": f"{prefix}{target.zfill(9)}" if prefix else target,
        "s_ra": float(header["RA_OBJ"]),
        "s_dec": float(header["DEC_OBJ"]),
        "filters": "TESS" if mission == "TESS" else "KEPLER",
        "instrument_name": header.get("INSTRUME"),
        "project": mission,
        "provenance_name": mission,
        "dataRights": "PUBLIC",
        "mtFlag": False,
        "intentType": "science",
        "obsid": obsid,
        "objID": f"1{obsid}",
    }
    row = complete(row, held)
    held.add(row)
    kind = "application/gzip" if path.suffix == ".gz" else "application/fits"
    columns = {"description": "recorded", "size": path.stat().st_size, "productSubGroupDescription": "LC"}
    held.add_product(product(row, name, **columns), File(Made(name, kind, _MODIFIED, path.read_bytes)))


def _complete(held: Holdings) -> None:
    """Observations for products that have none, and products for observations that the catalogue knows."""
    for obsid, rows in held.products.items():
        if obsid not in held.observations:
            first = rows[0]
            columns = ("obs_collection", "dataproduct_type", "obs_id", "project", "proposal_id")
            row = {"obsid": obsid, "objID": f"1{obsid}", "dataRights": "PUBLIC", "intentType": "science"}
            held.add(complete({**row, **{name: first.get(name) for name in columns}}, held))
    built_in = observations()
    for obsid in held.observations:
        if obsid not in held.products:
            for row in built_in.products.get(obsid, ()):
                held.add_product(row, built_in.files[row["dataURI"]])
