"""What MAST can be asked: the columns of its observations (CAOM), and a place on the sky.

Columns are known here, so that a misspelt one is refused before any request. Which of them hold text, which
numbers: MAST, "CAOM Field Descriptions".
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    create_model,
    model_validator,
)

from skystage.archives.mast_records import SOURCES, mjd, separation
from skystage.archives.portal import Filters, Position
from skystage.criteria import alternatives, canonical_value, number_of
from skystage.errors import QueryError
from skystage.model import Json, Query, iso

TEXT = (
    *("intentType", "obs_collection", "provenance_name", "instrument_name", "project", "filters"),
    *("wavelength_region", "target_name", "target_classification", "obs_id", "proposal_id", "proposal_pi"),
    *("proposal_type", "obs_title", "dataproduct_type", "s_region", "jpegURL", "dataURL", "dataRights"),
    *("mtFlag", "obsid", "objID"),
)
NUMBERS = (
    *("s_ra", "s_dec", "t_min", "t_max", "t_exptime", "t_obs_release", "em_min", "em_max", "distance"),
    "srcDen",
)
WHOLE = ("calib_level", "sequence_number")
COLUMNS = (*TEXT, *NUMBERS, *WHOLE)
SEVERAL = ("obs_collection", "project", "filters", "wavelength_region", "target_classification")
"""Columns that hold several values at once, with ``;`` between them."""
_LEVELS = range(-1, 6)
"""All calibration levels: the portal knows no range of them."""
_FAR = 1e30
"""Stands for a bound that is not named: the portal wants both."""
_SLACK = 1e-6
"""Days by which the portal is asked for more than the interval: times are tested again to the microsecond."""
_STEP = 0.1
"""Degrees from one place to the next on the edge of an area: a circle around it is larger by as much."""
RADIUS = 0.2
"""Degrees around a position, where the query says nothing: as astroquery has it."""
_TOGETHER = 1000
"""Values of one column in one question."""
_UNITS = {"deg": 1.0, "d": 1.0, "arcmin": 1 / 60, "arcsec": 1 / 3600}
_ANGLE = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*(\w*)\s*")


# --------------------------------------------------------------------------------------------------
# Values


def snake(name: str) -> str:
    """The archive's own name of a column in snake_case: ``dataRights`` is ``data_rights``."""
    return re.sub(r"(?<=[a-z])([A-Z]+)", r"_\1", name).lower()


def _texts(value: object) -> object:
    items = list(value) if isinstance(value, list | tuple) else [value]
    if not all(isinstance(item, str | int | float) and str(item).strip() for item in items):
        raise ValueError("Input should be a text, or a list of texts; * is a wildcard")
    # The portal takes either wildcard.
    return sorted({str(item).strip().replace("%", "*") for item in items})


def _numbers(value: object, info: ValidationInfo) -> Json:
    items = [
        item if isinstance(item, Mapping) else number_of(item)
        for item in alternatives(str(info.field_name), value)
    ]
    made = None if None in items else canonical_value(str(info.field_name), items)
    if made is None or not all(_is_numeric(item) for item in alternatives("", made)):
        raise ValueError("Input should be a number, {min: , max: }, or a list of these (days are MJD)")
    # What no level can be would be a question without values, and the portal's own error.
    if info.field_name == "calib_level" and not all(_levels(item) for item in alternatives("", made)):
        raise ValueError(f"Input should be one of {', '.join(map(str, _LEVELS))}, or {{min: , max: }}")
    return made


def _is_numeric(item: Json) -> bool:
    """Whether it is a number, or bounds that are."""
    bounds = item.values() if isinstance(item, Mapping) else [item]
    return all(isinstance(bound, int | float) for bound in bounds)


def _levels(item: Json) -> list[int]:
    """The calibration levels that a number, or bounds, mean."""
    low, high = (item.get(side) for side in ("min", "max")) if isinstance(item, Mapping) else (item, item)
    return [level for level in _LEVELS if (low is None or low <= level) and (high is None or level <= high)]


def coordinates(value: object) -> list[float]:
    """A position as right ascension and declination in degrees, however it is written.

    Raises
    ------
    ValueError
        If it is none.
    """
    allowed = "[ra, dec] in degrees, or a text such as '14h03m12.6s +54d20m57s' (ICRS)"
    words = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(words, list | tuple):
        raise ValueError(f"Input should be {allowed}")  # noqa: TRY004 - pydantic's own error
    pair = [number_of(word) for word in words]
    if len(pair) == 2 and None not in pair:
        ra, dec = float(pair[0] or 0), float(pair[1] or 0)
    else:
        from astropy.coordinates import SkyCoord

        text = " ".join(map(str, words))
        try:
            found = SkyCoord(text) if re.search("[hd]", text) else SkyCoord(text, unit=("hourangle", "deg"))
        except ValueError:
            raise ValueError(f"Input should be {allowed}") from None
        ra, dec = float(found.icrs.ra.deg), float(found.icrs.dec.deg)
    if not (-180 <= ra <= 360 and -90 <= dec <= 90):
        raise ValueError("Input should be on the sky: right ascension 0..360, declination -90..90")
    return [ra % 360, dec]


def radius(value: object) -> float:
    """An angle in degrees, of a number or of a text with its unit.

    Raises
    ------
    ValueError
        If it is none.
    """
    match = _ANGLE.fullmatch(str(value))
    factor = _UNITS.get(match[2] or "deg") if match else None
    found = math.nan if match is None or factor is None else float(match[1]) * factor
    if isinstance(value, bool) or not found <= 180:
        raise ValueError("Input should be degrees, or a text such as '30 arcsec', '3 arcmin', '0.2 deg'")
    return found


def _once(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


Coordinates = Annotated[list[float], BeforeValidator(coordinates)]
Radius = Annotated[float, BeforeValidator(radius)]
Sources = Annotated[list[Literal["s3", "https"]], Field(min_length=1), AfterValidator(_once)]
_Text = Annotated[list[str], BeforeValidator(_texts)]
_Number = Annotated[Any, BeforeValidator(_numbers)]


class Somewhere(BaseModel):
    """A place on the sky: the common keys of MAST's catalogues."""

    model_config = ConfigDict(extra="forbid")

    object_name: Annotated[
        str | None, Field(min_length=1, validation_alias=AliasChoices("object_name", "objectname"))
    ] = None
    """An object whose coordinates MAST's resolver knows."""
    coordinates: Coordinates | None = None
    """Right ascension and declination in degrees (ICRS)."""
    radius: Radius | None = None
    """Degrees around the object or the coordinates."""

    @model_validator(mode="before")
    @classmethod
    def _each_once(cls, given: Any) -> Any:
        for field in cls.model_fields.values():
            if isinstance(field.validation_alias, AliasChoices):
                said = [name for name in map(str, field.validation_alias.choices) if name in given]
                if len(said) > 1:
                    raise ValueError(f"{said[0]}: is there twice, also as {said[1]}")
        return given

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.object_name is not None and self.coordinates is not None:
            raise ValueError("coordinates: exclude object_name (keep one of them)")
        if self.radius is not None and self.object_name is None and self.coordinates is None:
            raise ValueError("radius: around what? (give coordinates, or object_name)")
        return self


class _Base(Somewhere):
    sources: Sources | None = None
    """Where files are fetched from, in this order."""


def _field(name: str) -> tuple[Any, Any]:
    kind = _Text if name in TEXT else _Number
    names = dict.fromkeys((name, snake(name)))
    return kind | None, Field(default=None, validation_alias=AliasChoices(*names) if len(names) > 1 else None)


_FIELDS: dict[str, Any] = {name: _field(name) for name in COLUMNS}
Criteria: type[BaseModel] = create_model("Criteria", __base__=_Base, **_FIELDS)
Criteria.__doc__ = "What MAST can be asked. `area`, `start` and `end` are common keys."


# --------------------------------------------------------------------------------------------------
# Questions


def questions(query: Query, known: set[str], position: Position | None) -> Iterator[Filters]:
    """The criteria as the portal takes them: mostly one question, of which all parts hold.

    The portal takes one wildcard, and one range, of a column at a time: more of them are more questions.

    Parameters
    ----------
    known
        The columns that the portal can be asked by; others are only tested here.

    Raises
    ------
    QueryError
        If there is nothing to ask by.
    """
    parts = {
        name: found
        for name, value in _with_dates(query).items()
        if name in known and (position is not None or name != "distance") and (found := _parts(name, value))
    }
    if not parts and position is None:
        raise QueryError(
            "mast: there is nothing to search by",
            hint="give a column such as proposal_id or target_name, object_name, coordinates, or an area",
        )
    for chosen in itertools.product(*parts.values()):
        yield dict(zip(parts, chosen, strict=True))


def _with_dates(query: Query) -> dict[str, Json]:
    """The query's columns, and its interval as what they say of time."""
    found = {name: value for name, value in query.criteria.items() if name in COLUMNS}
    # A range of the query's own is narrower or wider: both are tested here.
    if query.start is not None:
        found.setdefault("t_max", {"min": mjd(query.start) - _SLACK})
    if query.end is not None:
        found.setdefault("t_min", {"max": mjd(query.end) + _SLACK})
    return found


def _parts(name: str, value: Json) -> list[list[Json]]:
    """The values of a column as those of several questions; none where the portal cannot be asked."""
    items = alternatives(name, value)
    if name in WHOLE:
        if name == "calib_level":
            return [sorted({level for item in items for level in _levels(item)})]
        return [] if any(isinstance(item, Mapping) for item in items) else [items]
    if name in NUMBERS:
        return [
            [item.get("min", -_FAR), item.get("max", _FAR)] if isinstance(item, Mapping) else [item, item]
            for item in items
        ]
    exact = [item for item in items if "*" not in item]
    groups = [exact[at : at + _TOGETHER] for at in range(0, len(exact), _TOGETHER)]
    return groups + [[item] for item in items if "*" in item]


def named(query: Query) -> dict[str, set[str]]:
    """The observations that the query names one by one, and nothing else: by ``obs_id`` or ``obsid``."""
    columns = [name for name in query.criteria if name != "sources"]
    alone = len(columns) == 1 and query.start is None and query.end is None and query.area is None
    return {
        name: {item for item in query.criteria[name] if "*" not in item}
        for name in columns
        if alone and name in ("obs_id", "obsid")
    }


def checks(query: Query) -> dict[str, Json]:
    """The query's own criteria as filters."""
    found: dict[str, Json] = {}
    for name, value in query.criteria.items():
        if name in TEXT:
            found[name] = _pattern(name, value)
        elif name in COLUMNS:
            found[name] = value
    if "object_name" in query.criteria or "coordinates" in query.criteria:
        # To the footprint, in seconds of arc.
        found.setdefault("distance", {"max": 3600 * query.criteria.get("radius", RADIUS) * (1 + 1e-9)})
    moments = {"start": query.start, "end": query.end}
    return found | {name: iso(moment) for name, moment in moments.items() if moment is not None}


def _pattern(name: str, values: list[str]) -> Json:
    if name in SEVERAL:
        return {"like": [form for one in values for form in (one, f"{one};*", f"*;{one}", f"*;{one};*")]}
    return {"like": values} if any("*" in one for one in values) else values


# --------------------------------------------------------------------------------------------------
# Places


def around(area: Mapping[str, Json]) -> Position | None:
    """A circle that holds an area of the sky; None where it would hold more than half of it."""
    places = list(_along(area["coordinates"]))
    x, y, z = (sum(axis) for axis in zip(*map(_direction, places), strict=True))
    length = math.sqrt(x * x + y * y + z * z)
    if length < 1e-9:
        return None
    ra, dec = math.degrees(math.atan2(y, x)) % 360, math.degrees(math.asin(z / length))
    found = max(separation((ra, dec), one) for one in places) + _STEP
    return (ra, dec, found) if found < 90 else None


def _along(nested: Any) -> Iterator[tuple[float, float]]:
    """Places on the edges, which are straight in right ascension and declination: each within a step."""
    if isinstance(nested[0], int | float):
        yield float(nested[0]), float(nested[1])
    elif isinstance(nested[0][0], int | float):
        yield from _along(nested[0])
        for (x, y), (to_x, to_y) in itertools.pairwise(nested):
            steps = max(1, math.ceil(max(abs(to_x - x), abs(to_y - y)) / _STEP))
            for step in range(1, steps + 1):
                yield x + (to_x - x) * step / steps, y + (to_y - y) * step / steps
    else:
        for one in nested:
            yield from _along(one)


def _direction(place: tuple[float, float]) -> tuple[float, float, float]:
    ra, dec = map(math.radians, place)
    return math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)


__all__ = ["COLUMNS", "SOURCES", "Criteria", "Somewhere", "around", "checks", "named", "questions"]
