"""MAST's search by mission: what Hubble and Webb have observed, under the names that they have for it.

A condition is a text of alternatives with commas between them: values, ``>=5``, ``10..20``, ``!x``, and ``*``
for anything. Several conditions must all hold. An unknown column or operator is 400, an unknown mission 404.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any

from skystage.sandbox.mast_downloads import Downloads, not_found
from skystage.sandbox.mast_holdings import Holdings, Row
from skystage.sandbox.mast_portal import distance
from skystage.sandbox.messages import Reply, Request, json_reply

_ARCSECONDS = {"arcseconds": 3600.0, "arcminutes": 60.0, "degrees": 1.0}
_NUMBERS = ("integer", "float", "ra", "dec")
_SEPARATION = ("ang_sep", "float", "float", True, "From the place searched, arc minutes")


@dataclass(frozen=True, slots=True)
class _Mission:
    """How a mission names what the portal has."""

    collection: str
    key: str
    """The column with the name of a data set."""
    translate: Callable[[Row], Row]
    columns: tuple[tuple[str, str, str, bool, str], ...]
    """Name, kind of search, type, whether shown unasked, and description."""

    def described(self) -> list[dict[str, Any]]:
        """The columns in the form of the service."""
        return [
            {
                "field_name": name,
                "description": description,
                "column_name": name,
                "queryable": "yes",
                "qual_type": kind,
                "default_output": "yes" if shown else "no",
                "indexed": "no",
                "datatype": datatype,
            }
            for name, kind, datatype, shown, description in self.columns
        ]


def _of_hubble(row: Row) -> Row:
    low, high = row.get("em_min"), row.get("em_max")
    return {
        "sci_data_set_name": row["obs_id"].upper(),
        "sci_targname": row.get("target_name"),
        "sci_instrume": _instrument(row),
        "sci_instrument_config": row.get("instrument_name"),
        "sci_spec_1234": row.get("filters"),
        "sci_actual_duration": row.get("t_exptime"),
        "sci_start_time": _calendar(row.get("t_min")),
        "sci_stop_time": _calendar(row.get("t_max")),
        "sci_release_date": _calendar(row.get("t_obs_release")),
        "sci_pep_id": _number(row.get("proposal_id")),
        "sci_pi_last_name": str(row.get("proposal_pi") or "").partition(",")[0].upper() or None,
        "sci_ra": row.get("s_ra"),
        "sci_dec": row.get("s_dec"),
        "sci_target_descrip": row.get("target_classification"),
        "sci_obs_type": str(row.get("dataproduct_type") or "").upper() or None,
        "sci_central_wavelength": 5 * (low + high) if low is not None and high is not None else None,
        "sci_preview_name": row["obs_id"].upper(),
        "sci_status": "EXCLUSIVE" if _exclusive(row) else "PUBLIC",
    }


def _of_webb(row: Row) -> Row:
    return {
        "fileSetName": row["obs_id"],
        "productLevel": str(row.get("calib_level")),
        "targprop": row.get("target_name"),
        "targ_ra": row.get("s_ra"),
        "targ_dec": row.get("s_dec"),
        "instrume": _instrument(row),
        "opticalElements": row.get("filters"),
        "date_obs": _calendar(row.get("t_min")),
        "duration": row.get("t_exptime"),
        "program": _number(row.get("proposal_id")),
        "publicReleaseDate": _calendar(row.get("t_obs_release")),
        "access": "restricted" if _exclusive(row) else "public",
    }


_MISSIONS = {
    "hst": _Mission(
        "HST",
        "sci_data_set_name",
        _of_hubble,
        (
            ("sci_data_set_name", "string", "char", True, "Data set; its first letter is the instrument's"),
            ("sci_targname", "string", "char", True, "Name that the observer gave the target"),
            ("sci_instrume", "string", "char", True, "Instrument"),
            ("sci_instrument_config", "string", "char", False, "Instrument and detector"),
            ("sci_spec_1234", "string", "char", True, "Elements in the beam, several with ;"),
            ("sci_actual_duration", "float", "float", True, "Exposure, seconds"),
            ("sci_start_time", "datetime", "char", True, "Start, UTC"),
            ("sci_stop_time", "datetime", "char", False, "End, UTC"),
            ("sci_release_date", "datetime", "char", False, "When anybody may have it, UTC"),
            ("sci_pep_id", "integer", "long", True, "Number of the proposal"),
            ("sci_pi_last_name", "string", "char", True, "Principal investigator"),
            ("sci_ra", "ra", "double", True, "Right ascension, degrees"),
            ("sci_dec", "dec", "double", True, "Declination, degrees"),
            ("sci_target_descrip", "substring", "char", False, "What the target is"),
            ("sci_obs_type", "string", "char", False, "IMAGE or SPECTRUM"),
            ("sci_central_wavelength", "float", "float", False, "Angstroms"),
            ("sci_preview_name", "string", "char", False, "Name of the preview"),
            ("sci_status", "string", "char", False, "PUBLIC or EXCLUSIVE"),
            _SEPARATION,
        ),
    ),
    "jwst": _Mission(
        "JWST",
        "fileSetName",
        _of_webb,
        (
            ("fileSetName", "string", "char", True, "Name of the files that belong together"),
            ("productLevel", "string", "char", True, "How far they are processed"),
            ("targprop", "string", "char", True, "Name that the proposer gave the target"),
            ("targ_ra", "ra", "double", True, "Right ascension, degrees"),
            ("targ_dec", "dec", "double", True, "Declination, degrees"),
            ("instrume", "string", "char", True, "Instrument"),
            ("opticalElements", "string", "char", True, "Elements in the beam"),
            ("date_obs", "datetime", "char", True, "Start, UTC"),
            ("duration", "float", "float", True, "Exposure, seconds"),
            ("program", "integer", "long", True, "Number of the program"),
            ("publicReleaseDate", "datetime", "char", False, "When anybody may have it, UTC"),
            ("access", "string", "char", True, "public or restricted"),
            _SEPARATION,
        ),
    ),
}


class Missions:
    """The services below ``/search/``."""

    def __init__(self, holdings: Holdings, downloads: Downloads) -> None:
        self._held = holdings
        self._downloads = downloads
        self._columns: dict[str, Sequence[Mapping[str, Any]]]
        self._columns = {name: mission.described() for name, mission in _MISSIONS.items()}
        if holdings.mission_columns is not None:
            self._columns["hst"] = holdings.mission_columns

    def answer(self, request: Request) -> Reply:
        """Answer for an address."""
        asked = dict(request.parameters)
        name, _, service = request.path.removesuffix("/").removeprefix("/search/").partition("/api/v0.1/")
        try:
            if (request.method, name, service) == ("GET", "util", "column_list"):
                return json_reply(200, self._columns[asked["mission"]])
            match (request.method, service) if name in _MISSIONS else ("", ""):
                case ("POST", "search"):
                    return json_reply(200, self._search(name, json.loads(request.body)))
                case ("POST", "post_list_products"):
                    wanted = json.loads(request.body)["dataset_ids"]
                    return json_reply(200, {"products": self._products(name, wanted)})
                case ("GET", "list_products"):
                    return json_reply(
                        200, {"products": self._products(name, asked["dataset_ids"].split(","))}
                    )
                case ("GET" | "HEAD", "retrieve_product"):
                    file = asked["product_name"].rpartition("/")[2]
                    uri = f"mast:{_MISSIONS[name].collection}/product/{file}"
                    return self._downloads.give(self._held.files.get(uri), request)
                case _:
                    return not_found()
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            return json_reply(400, {"message": f"Invalid request: {error}"})

    def _rows(self, mission: str) -> Iterable[Row]:
        """The observations of a mission, as the portal has them."""
        collection = _MISSIONS[mission].collection
        return (row for row in self._held.observations.values() if row["obs_collection"] == collection)

    def _search(self, mission: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        columns, own = self._columns[mission], _MISSIONS[mission]
        kinds = {column["column_name"]: column["qual_type"] for column in columns}
        types = {column["column_name"]: column["datatype"] for column in columns}
        conditions = [(name, value) for one in asked.get("conditions") or [] for name, value in one.items()]
        tests = [(name, _test(str(value), kinds[name])) for name, value in conditions]
        place = None
        if asked.get("target"):
            ra, dec = (float(part) for part in asked["target"][0].split())
            place = (ra, dec, float(asked["radius"]) / _ARCSECONDS[asked.get("radius_units", "arcseconds")])
        found = []
        for original in self._rows(mission):
            row = own.translate(original)
            if place is not None:
                away = distance(original, place[0], place[1])
                if away is None or away > place[2]:
                    continue
                row["ang_sep"] = away * 60
            if all(test(row.get(name)) for name, test in tests):
                found.append(row)
        # The last one first: sorts keep the order of what is equal.
        for name, downwards in reversed(_order(asked, own.key)):
            found.sort(key=_sorting(name), reverse=downwards)
        unasked = [column["column_name"] for column in columns if column["default_output"] == "yes"]
        shown = list(dict.fromkeys(asked.get("select_cols") or unasked))
        first, most = int(asked.get("offset") or 0), int(asked.get("limit") or 5000)
        return {
            "info": [{"name": name, "type": types[name]} for name in shown],
            "results": [{name: row.get(name) for name in shown} for row in found[first : first + most]],
            "totalResults": len(found),
            "search_params": asked,
        }

    def _products(self, mission: str, wanted: Sequence[str]) -> list[dict[str, Any]]:
        own, names = _MISSIONS[mission], {str(name).upper() for name in wanted}
        return [
            _product(product, row, own.translate(row)[own.key])
            for row in self._rows(mission)
            if row["obs_id"].upper() in names
            for product in self._held.products_of(str(row["obsid"]))
        ]


def _product(product: Row, row: Row, dataset: str) -> dict[str, Any]:
    name, level = product["productFilename"], product.get("calib_level")
    kinds = {"AUXILIARY": "AUX", "PREVIEW": "PREVIEW"}
    return {
        "product_key": f"{dataset}_{name}",
        "access": "RESTRICTED" if _exclusive(product) else "PUBLIC",
        "dataset": dataset,
        "instrument_name": _instrument(row),
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


def _instrument(row: Row) -> str:
    return str(row.get("instrument_name") or "").partition("/")[0]


def _exclusive(row: Row) -> bool:
    return row.get("dataRights") == "EXCLUSIVE_ACCESS"


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _calendar(mjd: float | None) -> str | None:
    """A modified Julian day as a date and time, to the second."""
    if mjd is None:
        return None
    moment = datetime(1858, 11, 17) + timedelta(days=mjd)  # noqa: DTZ001 - written without a zone, as there
    return f"{moment:%Y-%m-%dT%H:%M:%S}"


def _order(asked: Mapping[str, Any], key: str) -> list[tuple[str, bool]]:
    """Columns to sort by, and whether downwards; what is equal in all comes by its name."""
    names, downwards = asked.get("sort_by") or [], asked.get("sort_desc") or []
    pairs = zip_longest(names, downwards[: len(names)], fillvalue=False)
    return [*((str(name), bool(down)) for name, down in pairs), (key, False)]


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
