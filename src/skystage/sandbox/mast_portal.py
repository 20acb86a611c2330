"""MAST's portal: ``columnsconfig``, and ``invoke`` with the services for observations and their products.

Filters are those of the Mashup: values of one are alternatives, several must all hold; numbers have ranges,
texts a wildcard, and columns of several values a separator. Letters' case does not matter. What it cannot
make sense of is answered with status ERROR and a message, as there.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from skystage.sandbox.mast_holdings import Holdings, Row
from skystage.sandbox.messages import Reply, Request, json_reply

_PAGE = 50_000
_NAMES = {
    "intentType": "Observation Type",
    "obs_collection": "Mission",
    "provenance_name": "Provenance Name",
    "instrument_name": "Instrument",
    "target_name": "Target Name",
    "target_classification": "Target Classification",
    "obs_id": "Observation ID",
    "obsid": "Product Group ID",
    "proposal_id": "Proposal ID",
    "proposal_pi": "Principal Investigator",
    "calib_level": "Calibration Level",
    "t_min": "Start Time",
    "t_max": "End Time",
    "t_exptime": "Exposure Length",
}
_SEPARATED = ("obs_collection", "project", "filters", "wavelength_region", "target_classification")
_UNITS = {"s_ra": "deg", "s_dec": "deg", "t_min": "d", "t_max": "d", "t_obs_release": "d", "t_exptime": "s"}
_UNITS |= {"em_min": "nm", "em_max": "nm", "distance": "arcsec", "size": "byte"}
_TYPES = {"string": "char", "int": "int", "float": "double"}
_WHOLE = ("obsid", "objID", "obsID", "parent_obsid")
"""Numbers that come as texts."""
_ARCSECONDS = 3600.0


class Portal:
    """The portal's services over what MAST holds."""

    def __init__(self, holdings: Holdings) -> None:
        self._held = holdings

    def columns(self, request: Request) -> Reply:
        """What the columns of a service are."""
        match dict(request.form).get("colConfigId", ""):
            case "Mast.Caom.Products":
                return json_reply(200, _config(self._held.product_fields))
            case name if name.startswith("Mast.Caom."):
                made = _config({**self._held.observation_fields, "distance": "float"})
                return json_reply(200, {**made, **self._held.config})
            case _:
                # As there: nothing, without a word.
                return json_reply(200, {})

    def invoke(self, request: Request) -> Reply:
        """Run a service."""
        try:
            asked = json.loads(dict(request.form)["request"])
            params = asked.get("params") or {}
            service = asked["service"]
            match service:
                case "Mast.Caom.Filtered" | "Mast.Caom.Filtered.Position":
                    rows = self._filtered(params, near=service.endswith("Position"))
                    fields = self._held.observation_fields
                case "Mast.Caom.Cone":
                    place = (float(params["ra"]), float(params["dec"]), float(params["radius"]))
                    rows, fields = self._near(place), self._held.observation_fields
                case "Mast.Caom.Products":
                    rows, fields = self._products(str(params["obsid"])), self._held.product_fields
                case "Mast.Caom.All":
                    return json_reply(200, self._histogram())
                case other:
                    return _error(f"Invalid service: {other}")
            if service in ("Mast.Caom.Cone", "Mast.Caom.Filtered.Position"):
                fields = {**fields, "distance": "float"}
            return json_reply(200, _page(rows, fields, params.get("columns", "*"), asked))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return _error(f"Invalid request: {error}")

    def _filtered(self, params: Mapping[str, Any], *, near: bool) -> list[Row]:
        fields = {name.lower(): name for name in self._held.observation_fields}
        tests = [_test(one, fields) for one in params["filters"]]
        if not tests:
            raise ValueError("at least one filter")
        if near:
            ra, dec, radius = (float(part) for part in str(params["position"]).split(","))
            rows: Iterable[Row] = self._near((ra, dec, radius))
        else:
            rows = self._held.observations.values()
        return [row for row in rows if all(test(row) for test in tests)]

    def _near(self, place: tuple[float, float, float]) -> list[Row]:
        """What a circle touches (degrees), and how far away that is (arc seconds)."""
        ra, dec, radius = place
        found = []
        for row in self._held.observations.values():
            away = distance(row, ra, dec)
            if away is not None and away <= radius:
                found.append({**row, "distance": away * _ARCSECONDS})
        return found

    def _products(self, wanted: str) -> list[Row]:
        numbers = sorted({part.strip() for part in wanted.split(",")}, key=lambda text: (len(text), text))
        return [row for number in numbers for row in self._held.products_of(number)]

    def _histogram(self) -> dict[str, Any]:
        """How many observations the missions have, in the form of the portal's own tables."""
        counts: dict[str, Any] = {"hist": []}
        for row in self._held.observations.values():
            name = row["obs_collection"]
            counts[name] = counts.get(name, 0) + 1
        facet = {"text": "obs_collection", "ExtendedProperties": {"histObj": counts}}
        return {"status": "COMPLETE", "msg": "", "data": {"Tables": [{"Columns": [facet]}]}}


def _config(fields: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {}
    for name, kind in fields.items():
        entry: dict[str, Any] = {"text": _NAMES.get(name, name)}
        if kind == "boolean":
            entry["type"] = "boolean"
        else:
            entry["vot.datatype"] = "long" if name in _WHOLE else _TYPES[kind]
        if name in _SEPARATED:
            entry["separator"] = ";"
        if name in _UNITS:
            entry["vot.unit"] = _UNITS[name]
        out[name] = entry
    return out


def _test(asked: Mapping[str, Any], fields: Mapping[str, str]) -> Callable[[Row], bool]:
    """One filter, as what it says of a row."""
    name = fields.get(str(asked["paramName"]).lower())
    if name is None:
        raise ValueError(f"no column {asked['paramName']}")
    values, free = asked.get("values") or [], asked.get("freeText")
    if not values and not free:
        raise ValueError(f"no values for {name}")
    ranges = [(float(one["min"]), float(one["max"])) for one in values if isinstance(one, Mapping)]
    texts = {_text(one) for one in values if not isinstance(one, Mapping)}
    pattern = None
    if free:
        parts = (re.escape(part) for part in str(free).lower().split("%"))
        pattern = re.compile(".*".join(parts), re.DOTALL)
    separator = asked.get("separator")

    def holds(row: Row) -> bool:
        value = row.get(name)
        if value is None:
            return False
        if ranges and any(low <= float(value) <= high for low, high in ranges):
            return True
        whole = _text(value)
        parts = [part.strip() for part in whole.split(separator)] if separator else [whole]
        if any(part in texts for part in parts):
            return True
        return pattern is not None and any(pattern.fullmatch(part) for part in parts)

    return holds


def _text(value: Any) -> str:
    return str(value).lower()


def _page(
    rows: Sequence[Row], fields: Mapping[str, str], columns: str, asked: Mapping[str, Any]
) -> dict[str, Any]:
    if columns.upper().startswith("COUNT"):
        data: list[Row] = [{"Column1": len(rows)}]
        # A number that calls itself a text, as recorded.
        return _answer(data, {"Column1": "string"}, 1, _PAGE, 1)
    size, page = int(asked.get("pagesize") or _PAGE), int(asked.get("page") or 1)
    if size < 1 or page < 1:
        raise ValueError("pages and their sizes count from 1")
    names = list(fields) if columns == "*" else [name.strip() for name in columns.split(",")]
    shown = {name: fields[name] for name in names}
    part = rows[(page - 1) * size : page * size]
    return _answer([{name: row.get(name) for name in names} for row in part], shown, page, size, len(rows))


def _answer(
    data: Sequence[Row], fields: Mapping[str, str], page: int, size: int, total: int
) -> dict[str, Any]:
    return {
        "status": "COMPLETE",
        "msg": "",
        "data": data,
        "fields": [{"name": name, "type": kind} for name, kind in fields.items()],
        "paging": {
            "page": page,
            "pageSize": size,
            "pagesFiltered": -(-total // size),
            "rows": len(data),
            "rowsFiltered": total,
            "rowsTotal": total,
        },
    }


def _error(message: str) -> Reply:
    return json_reply(200, {"status": "ERROR", "msg": message})


_SHAPE = re.compile(r"(POLYGON|CIRCLE|POINT)\s+(?:[A-Z]\w*\s+)?([-+.\deE\s]+)")


def distance(row: Row, ra: float, dec: float) -> float | None:
    """How far a place is from where an observation looks, degrees: 0 inside, None if that is unknown.

    On the plane that touches the sky at the place: near enough for circles of some degrees.
    """
    best: float | None = None
    for kind, text in _SHAPE.findall(str(row.get("s_region") or "").upper()):
        numbers = [float(part) for part in text.split()]
        away = _to_shape(kind, numbers, ra, dec)
        best = away if best is None else min(best, away)
    if best is None and row.get("s_ra") is not None and row.get("s_dec") is not None:
        best = separation(ra, dec, row["s_ra"], row["s_dec"])
    return best


def separation(ra: float, dec: float, other_ra: float, other_dec: float) -> float:
    """The angle between two places of the sky, degrees."""
    one, other, between = math.radians(dec), math.radians(other_dec), math.radians(other_ra - ra)
    half = math.sin((other - one) / 2) ** 2 + math.cos(one) * math.cos(other) * math.sin(between / 2) ** 2
    return math.degrees(2 * math.asin(min(1.0, math.sqrt(half))))


def _to_shape(kind: str, numbers: list[float], ra: float, dec: float) -> float:
    if kind != "POLYGON":
        reach = numbers[2] if kind == "CIRCLE" else 0.0
        return max(0.0, separation(ra, dec, numbers[0], numbers[1]) - reach)
    corners = list(zip(numbers[::2], numbers[1::2], strict=True))
    if min(separation(ra, dec, *corner) for corner in corners) > 30:
        # Too far for a plane, and for any circle that is asked for.
        return min(separation(ra, dec, *corner) for corner in corners)
    flat = [_flatten(ra, dec, *corner) for corner in corners]
    inside, best = False, math.inf
    for (x1, y1), (x2, y2) in zip(flat, [*flat[1:], flat[0]], strict=True):
        if (y1 > 0) != (y2 > 0) and x1 + (x2 - x1) * -y1 / (y2 - y1) > 0:
            inside = not inside
        along, length = -(x1 * (x2 - x1) + y1 * (y2 - y1)), (x2 - x1) ** 2 + (y2 - y1) ** 2
        part = min(1.0, max(0.0, along / length)) if length else 0.0
        best = min(best, math.hypot(x1 + part * (x2 - x1), y1 + part * (y2 - y1)))
    return 0.0 if inside else best


def _flatten(ra: float, dec: float, other_ra: float, other_dec: float) -> tuple[float, float]:
    """East and north of a place, degrees, with distances from it as they are."""
    one, other, between = math.radians(dec), math.radians(other_dec), math.radians(other_ra - ra)
    east = math.cos(other) * math.sin(between)
    north = math.cos(one) * math.sin(other) - math.sin(one) * math.cos(other) * math.cos(between)
    away, flat = separation(ra, dec, other_ra, other_dec), math.hypot(east, north)
    return (east / flat * away, north / flat * away) if flat else (0.0, 0.0)
