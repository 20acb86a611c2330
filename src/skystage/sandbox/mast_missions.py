"""MAST's search by mission: Hubble's observations and products under the names that they have there.

A condition is a text of alternatives with commas between them: values, ``>=5``, ``10..20``, ``!x``, and ``*``
for anything. Several conditions must all hold. An unknown column or operator is 400, an unknown mission 404.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any

from skystage.sandbox.mast_downloads import Downloads, not_found
from skystage.sandbox.mast_holdings import Holdings, Row
from skystage.sandbox.mast_portal import distance
from skystage.sandbox.messages import Reply, Request, json_reply

_MISSION = "hst"
_KEY = "sci_data_set_name"
_ARCSECONDS = {"arcseconds": 3600.0, "arcminutes": 60.0, "degrees": 1.0}
_NUMBERS = ("integer", "float", "ra", "dec")
_COLUMNS = (
    (_KEY, "string", "char", True, "Dataset", "Name of the data set; its first letter is the instrument's"),
    ("sci_targname", "string", "char", True, "Target Name", "Name that the observer gave the target"),
    ("sci_instrume", "string", "char", True, "Instrument", "Instrument"),
    ("sci_instrument_config", "string", "char", False, "Configuration", "Instrument and detector"),
    ("sci_spec_1234", "string", "char", True, "Filters/Gratings", "Elements in the beam, several with ;"),
    ("sci_actual_duration", "float", "float", True, "Exposure Time", "Seconds"),
    ("sci_start_time", "datetime", "char", True, "Start Time", "UTC"),
    ("sci_stop_time", "datetime", "char", False, "Stop Time", "UTC"),
    ("sci_release_date", "datetime", "char", False, "Release Date", "When anybody may have it, UTC"),
    ("sci_pep_id", "integer", "long", True, "Proposal ID", "Number of the proposal"),
    ("sci_pi_last_name", "string", "char", True, "PI Last Name", "Principal investigator"),
    ("sci_ra", "ra", "double", True, "RA", "Right ascension, degrees"),
    ("sci_dec", "dec", "double", True, "Dec", "Declination, degrees"),
    ("sci_target_descrip", "substring", "char", False, "Target Description", "What the target is"),
    ("sci_obs_type", "string", "char", False, "Observation Type", "IMAGE or SPECTRUM"),
    ("sci_central_wavelength", "float", "float", False, "Central Wavelength", "Angstroms"),
    ("sci_preview_name", "string", "char", False, "Preview", "Name of the preview"),
    ("sci_status", "string", "char", False, "Status", "PUBLIC or EXCLUSIVE"),
    ("ang_sep", "float", "float", True, "Angular Separation", "From the place searched, arc minutes"),
)
"""Name, kind of search, type, whether shown unasked, label and description."""


class Missions:
    """The services below ``/search/``."""

    def __init__(self, holdings: Holdings, downloads: Downloads) -> None:
        self._held = holdings
        self._downloads = downloads
        self._columns: Sequence[Mapping[str, Any]] = holdings.mission_columns or _described()

    def answer(self, request: Request) -> Reply:
        """Answer for an address."""
        asked = dict(request.parameters)
        try:
            match (
                request.method,
                request.path.removesuffix("/").removeprefix("/search/").split("/api/v0.1/"),
            ):
                case ("GET", ["util", "column_list"]):
                    known = asked.get("mission") == _MISSION
                    return (
                        json_reply(200, self._columns)
                        if known
                        else _refusal(f"no mission {asked.get('mission')}")
                    )
                case ("POST", [mission, "search"]) if mission == _MISSION:
                    return json_reply(200, self._search(json.loads(request.body)))
                case ("POST", [mission, "post_list_products"]) if mission == _MISSION:
                    return json_reply(
                        200, {"products": self._products(json.loads(request.body)["dataset_ids"])}
                    )
                case ("GET", [mission, "list_products"]) if mission == _MISSION:
                    return json_reply(200, {"products": self._products(asked["dataset_ids"].split(","))})
                case ("GET" | "HEAD", [mission, "retrieve_product"]) if mission == _MISSION:
                    name = asked["product_name"].rpartition("/")[2]
                    return self._downloads.give(self._held.files.get(f"mast:HST/product/{name}"), request)
                case _:
                    return not_found()
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            return _refusal(f"Invalid request: {error}")

    def _rows(self) -> Iterable[tuple[Row, Row]]:
        """The observations of the mission as they are here, and as the portal has them."""
        for row in self._held.observations.values():
            if row["obs_collection"] == "HST":
                yield _translated(row), row

    def _search(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        kinds = {column["column_name"]: column["qual_type"] for column in self._columns}
        types = {column["column_name"]: column["datatype"] for column in self._columns}
        conditions = [(name, value) for one in asked.get("conditions") or [] for name, value in one.items()]
        tests = [(name, _test(str(value), kinds[name])) for name, value in conditions]
        place = None
        if asked.get("target"):
            ra, dec = (float(part) for part in asked["target"][0].split())
            place = (ra, dec, float(asked["radius"]) / _ARCSECONDS[asked.get("radius_units", "arcseconds")])
        found = []
        for row, original in self._rows():
            if place is not None:
                away = distance(original, place[0], place[1])
                if away is None or away > place[2]:
                    continue
                row["ang_sep"] = away * 60
            if all(test(row.get(name)) for name, test in tests):
                found.append(row)
        # The last one first: sorts keep the order of what is equal.
        for name, downwards in reversed(_order(asked)):
            found.sort(key=_sorting(name), reverse=downwards)
        unasked = [column["column_name"] for column in self._columns if column["default_output"] == "yes"]
        shown = list(dict.fromkeys(asked.get("select_cols") or unasked))
        first, most = int(asked.get("offset") or 0), int(asked.get("limit") or 5000)
        return {
            "info": [{"name": name, "type": types[name]} for name in shown],
            "results": [{name: row.get(name) for name in shown} for row in found[first : first + most]],
            "totalResults": len(found),
            "search_params": asked,
        }

    def _products(self, wanted: Sequence[str]) -> list[dict[str, Any]]:
        names = {str(name).upper() for name in wanted}
        return [
            _product(product, row)
            for row in self._held.observations.values()
            if row["obs_collection"] == "HST" and row["obs_id"].upper() in names
            for product in self._held.products_of(str(row["obsid"]))
        ]


def _described() -> list[dict[str, Any]]:
    return [
        {
            "field_name": label,
            "description": description,
            "column_name": name,
            "queryable": "yes",
            "qual_type": kind,
            "default_output": "yes" if shown else "no",
            "indexed": "no",
            "datatype": datatype,
        }
        for name, kind, datatype, shown, label, description in _COLUMNS
    ]


def _translated(row: Row) -> Row:
    instrument = str(row.get("instrument_name") or "").partition("/")[0]
    low, high = row.get("em_min"), row.get("em_max")
    number = str(row.get("proposal_id") or "")
    return {
        _KEY: row["obs_id"].upper(),
        "sci_targname": row.get("target_name"),
        "sci_instrume": instrument,
        "sci_instrument_config": row.get("instrument_name"),
        "sci_spec_1234": row.get("filters"),
        "sci_actual_duration": row.get("t_exptime"),
        "sci_start_time": _calendar(row.get("t_min")),
        "sci_stop_time": _calendar(row.get("t_max")),
        "sci_release_date": _calendar(row.get("t_obs_release")),
        "sci_pep_id": int(number) if number.isdigit() else None,
        "sci_pi_last_name": str(row.get("proposal_pi") or "").partition(",")[0].upper() or None,
        "sci_ra": row.get("s_ra"),
        "sci_dec": row.get("s_dec"),
        "sci_target_descrip": row.get("target_classification"),
        "sci_obs_type": str(row.get("dataproduct_type") or "").upper() or None,
        "sci_central_wavelength": 5 * (low + high) if low is not None and high is not None else None,
        "sci_preview_name": row["obs_id"].upper(),
        "sci_status": "EXCLUSIVE" if row.get("dataRights") == "EXCLUSIVE_ACCESS" else "PUBLIC",
    }


def _product(product: Row, row: Row) -> dict[str, Any]:
    name, dataset = product["productFilename"], row["obs_id"].upper()
    level = product.get("calib_level")
    kinds = {"AUXILIARY": "AUX", "PREVIEW": "PREVIEW"}
    return {
        "product_key": f"{dataset}_{name}",
        "access": "PUBLIC" if product.get("dataRights") != "EXCLUSIVE_ACCESS" else "RESTRICTED",
        "dataset": dataset,
        "instrument_name": str(row.get("instrument_name") or "").partition("/")[0],
        "filters": row.get("filters"),
        "filename": name,
        "uri": f"{dataset}/{name}",
        "authz_primary_identifier": dataset,
        "authz_secondary_identifier": dataset,
        "file_suffix": name.partition(".")[0].rpartition("_")[2].upper(),
        "category": kinds.get(product["productType"], "CALIBRATED" if level == 2 else "UNCALIBRATED"),
        "size": product["size"],
        "type": "science",
    }


def _calendar(mjd: float | None) -> str | None:
    """A modified Julian day as a date and time, to the second."""
    if mjd is None:
        return None
    moment = datetime(1858, 11, 17) + timedelta(days=mjd)  # noqa: DTZ001 - written without a zone, as there
    return f"{moment:%Y-%m-%dT%H:%M:%S}"


def _order(asked: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Columns to sort by, and whether downwards; what is equal in all comes by its name."""
    names, downwards = asked.get("sort_by") or [], asked.get("sort_desc") or []
    pairs = zip_longest(names, downwards[: len(names)], fillvalue=False)
    return [*((str(name), bool(down)) for name, down in pairs), (_KEY, False)]


def _sorting(name: str) -> Callable[[Row], tuple[bool, Any]]:
    return lambda row: (row.get(name) is None, row.get(name))


def _test(text: str, kind: str) -> Callable[[Any], bool]:
    """What a condition says of a value."""
    wanted: list[Callable[[Any], bool]] = []
    unwanted: list[Callable[[Any], bool]] = []
    for part in (one.strip() for one in text.split(",")):
        (unwanted if part.startswith("!") else wanted).append(_alternative(part.removeprefix("!"), kind))

    def holds(value: Any) -> bool:
        if value is None:
            return False
        return (not wanted or any(one(value) for one in wanted)) and not any(one(value) for one in unwanted)

    return holds


_OPERATOR = re.compile(r"(>=|<=|>|<)\s*(.+)")
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": lambda one, other: bool(one >= other),
    "<=": lambda one, other: bool(one <= other),
    ">": lambda one, other: bool(one > other),
    "<": lambda one, other: bool(one < other),
}


def _alternative(text: str, kind: str) -> Callable[[Any], bool]:
    def read(value: Any) -> Any:
        return (
            float(value)
            if kind in _NUMBERS
            else str(value).lower().replace(" ", "t" if kind == "datetime" else " ")
        )

    low, between, high = text.partition("..")
    if between:
        least, most = read(low), read(high)
        return lambda value: bool(least <= read(value) <= most)
    match = _OPERATOR.fullmatch(text)
    if match:
        compare, limit = _COMPARE[match[1]], read(match[2])
        return lambda value: compare(read(value), limit)
    if "*" in text:
        pattern = re.compile(".*".join(re.escape(part) for part in text.lower().split("*")), re.DOTALL)
        return lambda value: pattern.fullmatch(str(value).lower()) is not None
    if kind == "substring":
        return lambda value: text.lower() in str(value).lower()
    exact = read(text)
    return lambda value: bool(read(value) == exact)


def _refusal(message: str) -> Reply:
    return json_reply(400, {"message": message})
