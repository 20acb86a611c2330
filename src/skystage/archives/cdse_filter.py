"""What the Copernicus Data Space can be asked, and criteria as its catalogue takes them: a ``$filter``.

Nothing here sends anything. For each criterion there is the filter for the catalogue, and the property of
a record that says the same, so that the answer can be tested. Where the filter can only say less than the
criterion (a pattern, an area of many corners), it finds more, never less, and the test drops it.

Source: CDSE documentation, OData API.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from skystage import aoi
from skystage.archives.odata import quoted
from skystage.archives.values import Finite, Many, upper
from skystage.criteria import BUILT_IN, alternatives, canonical_value, moment
from skystage.model import Json, Query, from_iso, iso

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

COLLECTIONS = (
    *("SENTINEL-1", "SENTINEL-2", "SENTINEL-3", "SENTINEL-5P", "SENTINEL-6", "SENTINEL-1-RTC"),
    *("CCM", "COP-DEM", "ENVISAT", "GLOBAL-MOSAICS", "LANDSAT-5", "LANDSAT-7", "LANDSAT-8", "S2GLC", "SMOS"),
    "TERRAAQUA",
)
MISSIONS = COLLECTIONS[:5]
"""Those whose products lie in a folder of the same name, so that a record says which it belongs to."""

TYPES: Mapping[str, str] = {
    **dict.fromkeys(
        ("coordinates", "datastripId", "instrumentShortName", "operationalMode", "orbitDirection", "origin"),
        "String",
    ),
    **dict.fromkeys(
        ("platformSerialIdentifier", "platformShortName", "polarisationChannels", "processingBaseline"),
        "String",
    ),
    **dict.fromkeys(
        ("processingCenter", "processingLevel", "processorName", "processorVersion", "productClass"),
        "String",
    ),
    **dict.fromkeys(
        ("productComposition", "productConsolidation", "productGroupId", "productType", "swathIdentifier"),
        "String",
    ),
    **dict.fromkeys(("tileId", "timeliness"), "String"),
    **dict.fromkeys(
        ("cycleNumber", "datatakeID", "instrumentConfigurationID", "orbitNumber", "relativeOrbitNumber"),
        "Integer",
    ),
    **dict.fromkeys(("sliceNumber", "totalSlices"), "Integer"),
    **dict.fromkeys(
        ("cloudCover", "completionTimeFromAscendingNode", "startTimeFromAscendingNode"), "Double"
    ),
    **dict.fromkeys(
        ("beginningDateTime", "endingDateTime", "processingDate", "productGeneration", "segmentStartTime"),
        "DateTimeOffset",
    ),
    "sliceProductFlag": "Boolean",
}
"""The type of the common attributes, without which the catalogue finds nothing. Of any other one it follows
from the value."""

PROPERTIES: Mapping[str, str] = {
    "absolute_orbit": "orbitNumber",
    "baseline": "processorVersion",
    "beam_mode": "operationalMode",
    "cloud_cover": "cloudCover",
    "collection": "collection",
    "flight_direction": "orbitDirection",
    "instrument": "instrumentShortName",
    "name": "Name",
    "online": "Online",
    "orbit_direction": "orbitDirection",
    "platform": "platform",
    "polarization": "polarisationChannels",
    "processing_level": "processingLevel",
    "product_type": "productType",
    "publication_date": "PublicationDate",
    "relative_orbit": "relativeOrbitNumber",
    "tile": "tileId",
}
"""Filter name to property."""

SUFFIXES = (".SAFE", ".SEN3", ".nc", ".EOF")
"""What names of products end in, and granules' ids do not."""
LONGEST_AREA = 2000
LONGEST_FILTER = 6000
"""Characters, of a filter as they are sent: servers take addresses of 8 kB."""


# --------------------------------------------------------------------------------------------------
# The criteria


class Bounds(BaseModel):
    """From `min` to `max`, both included; either may be left out."""

    model_config = ConfigDict(extra="forbid")
    min: Finite | None = None
    max: Finite | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Bounds:
        if self.min is None and self.max is None:
            raise ValueError("name min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is more than max {self.max:g}")
        return self


def _one_of(known: tuple[str, ...]) -> BeforeValidator:
    def check(value: object) -> object:
        if upper(value) not in known:
            raise ValueError(f"not one of: {', '.join(known)}")
        return upper(value)

    return BeforeValidator(check)


def _name(value: object) -> object:
    if isinstance(value, str) and value.strip("*?"):
        return value
    if isinstance(value, Mapping) and value and set(value) <= set(_GLOBS):
        parts = {name: str(part) for name, part in sorted(value.items())}
        if all(part and not set("*?") & set(part) for part in parts.values()):
            return parts
    raise ValueError("a pattern such as S2A_MSIL2A_*_T31UFS_*, or {contains: , startswith: , endswith: }")


def _tile(value: object) -> object:
    match = _TILE.fullmatch(value.upper()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("a tile of the MGRS grid, such as 31UFS")
    return f"{int(match[1]):02}{match[2]}"


_TILE = re.compile(r"T?(\d{1,2})([C-HJ-NP-X][A-HJ-NP-Z][A-HJ-NP-V])")
"""Zone, latitude band and square: MGRS has no I and no O."""


def _platform(value: object) -> object:
    match = _PLATFORM.fullmatch(value.upper()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("a satellite, such as SENTINEL-2A or S2A; for all of a mission name its collection")
    return f"SENTINEL-{match[1]}"


_PLATFORM = re.compile(r"S(?:ENTINEL-)?([1236][A-D])")


def _baseline(value: object) -> object:
    """``05.10``, ``N0510`` and YAML's 5.1 are one baseline."""
    if isinstance(value, str) and (match := _BASELINE.fullmatch(value.upper())):
        return f"{match[1]}.{match[2]}"
    text = str(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else ""
    if not re.fullmatch(r"\d{1,2}(\.\d{1,2})?", text):
        raise ValueError("a processing baseline, such as 05.10 or N0510")
    whole, _, part = text.partition(".")
    return f"{int(whole):02}.{part:0<2}"


_BASELINE = re.compile(r"N(\d\d)(\d\d)")


def _exact(name: str) -> str:
    if set("*?") & set(name):
        raise ValueError("names without wildcards; for a pattern write name")
    return stem(name.strip())


def stem(name: str) -> str:
    """A product's name without what it ends in: the id of its granule."""
    for suffix in (".zip", *SUFFIXES):
        name = name.removesuffix(suffix)
    return name


def spellings(name: str) -> list[str]:
    """How the catalogue may write the name of a granule with that id."""
    return [name, *(f"{name}{suffix}" for suffix in SUFFIXES)]


def _times(value: object) -> object:
    if not isinstance(value, Mapping) or not value or not set(value) <= {"min", "max"}:
        raise ValueError("{min: , max: } with dates or UTC times")
    field = "publication_date"
    ends = {side: iso(moment(value[side], name=f"{field}.{side}", last=side == "max")) for side in value}
    return canonical_value(field, ends)


def _attributes(value: object) -> object:
    if not isinstance(value, Mapping) or not value:
        raise ValueError("a mapping of attributes to a value, a list of values, or {min: , max: }")
    return {str(name): _attribute(str(name), given) for name, given in sorted(value.items())}


def _attribute(name: str, given: Any) -> Json:
    if name in Criteria.model_fields or name in PROPERTIES or name in BUILT_IN:
        raise ValueError(f"{name} is no attribute of the archive, but a key or a filter of skystage")
    folded = {known.casefold(): known for known in TYPES}
    if not _NAME.fullmatch(name) or folded.get(name.casefold(), name) != name:
        meant = folded.get(name.casefold())
        raise ValueError(f"{name}: no name of an attribute" + (f"; did you mean {meant!r}?" if meant else ""))
    field = f"attributes.{name}"
    dates = type(given) is date or (isinstance(given, str) and _DAY.fullmatch(given))
    if dates and TYPES.get(name) == "DateTimeOffset":
        given = {"min": given, "max": given}  # any time of that day
    said = canonical_value(field, given)
    for one in alternatives(field, said):
        if isinstance(one, dict) and "contains" in one:
            raise ValueError(f"{name}: a value, a list of values, or {{min: , max: }}")
        if not list(_terms(name, one)):
            raise ValueError(f"{name}: {one!r} is no {_KINDS[TYPES[name]]}" if name in TYPES else _RANGES)
    return said


_NAME = re.compile(r"[A-Za-z][\w:.-]*")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_RANGES = "ranges are of numbers or of times"
_KINDS = {
    "Boolean": "true or false",
    "DateTimeOffset": "date or UTC time",
    "Double": "number",
    "Integer": "whole number",
    "String": "text (write it in quotes; ranges of texts are a filter)",
}

Text = Annotated[str, Field(min_length=1)]
Pattern = Annotated[str | dict[str, str], BeforeValidator(_name)]
Direction = Annotated[str, _one_of(("ASCENDING", "DESCENDING"))]
Collection = Annotated[str, _one_of(COLLECTIONS)]
Percent = Annotated[float, Field(ge=0, le=100)]
Orbits = Many[Annotated[int, Field(ge=0)] | Bounds]


def _once(values: list[str]) -> list[str]:
    if len(set(values)) < len(values):
        raise ValueError("each source once")
    return values


class Criteria(BaseModel):
    """The archive's search keys. `area`, `start` and `end` are common keys."""

    model_config = ConfigDict(extra="forbid")

    collection: Many[Collection] | None = None
    product_type: Many[Text] | None = None
    """As the archive spells it: ``S2MSI2A``, ``IW_SLC__1S``, ``AUX_POEORB``."""
    tile: Many[Annotated[str, BeforeValidator(_tile)]] | None = None
    cloud_cover: Percent | Bounds | None = None
    """Per cent of the product."""
    relative_orbit: Orbits | None = None
    absolute_orbit: Orbits | None = None
    orbit_direction: Direction | None = None
    platform: Many[Annotated[str, BeforeValidator(_platform)]] | None = None
    instrument: Many[Annotated[str, Field(min_length=1), BeforeValidator(upper)]] | None = None
    processing_level: Many[Text] | None = None
    baseline: Many[Annotated[str, BeforeValidator(_baseline)]] | None = None
    name: Pattern | None = None
    """With ``*`` and ``?``; or what it contains, starts with and ends with."""
    names: Many[Annotated[str, Field(min_length=1), AfterValidator(_exact)]] | None = None
    """Products one by one; those that the archive does not have are named."""
    ids: Many[UUID] | None = None
    """The archive's own identifiers."""
    publication_date: Annotated[dict[str, str], BeforeValidator(_times)] | None = None
    online: bool | None = None
    attributes: Annotated[dict[str, Json], BeforeValidator(_attributes)] | None = None
    sources: (
        Annotated[list[Literal["nodes", "s3", "zip"]], Field(min_length=1), AfterValidator(_once)] | None
    ) = None
    """Where files of a product are fetched from, in this order."""

    @model_validator(mode="after")
    def _asks_for_something(self) -> Criteria:
        if not (self.collection or self.name or self.names or self.ids):
            raise ValueError("collection: missing (name one, or products by name, names or ids)")
        if self.names and self.ids:
            raise ValueError("ids: names are given as well (products are named by one of the two)")
        return self


# --------------------------------------------------------------------------------------------------
# As a filter

_EQUAL = {
    "baseline": "processorVersion",
    "instrument": "instrumentShortName",
    "processing_level": "processingLevel",
    "product_type": "productType",
    "tile": "tileId",
}
_NUMBERS = {
    "absolute_orbit": "orbitNumber",
    "cloud_cover": "cloudCover",
    "relative_orbit": "relativeOrbitNumber",
}
_LISTS = (*_EQUAL, "absolute_orbit", "platform", "relative_orbit")


def filters_of(query: Query) -> list[str]:
    """The ``$filter`` that finds what a query asks for; several where one would be too long for a request.

    A long list of alternatives is halved until it fits. `names` and `ids` are asked for in other ways.
    """
    asked = query.criteria
    text = " and ".join(_all(query))
    lists = [name for name in _LISTS if len(asked.get(name, ())) > 1]
    if len(quote(text)) <= LONGEST_FILTER or not lists:
        return [text]
    name = max(lists, key=lambda one: len(asked[one]))
    half = len(asked[name]) // 2
    halves = (asked[name][:half], asked[name][half:])
    return [one for part in halves for one in filters_of(replace(query, criteria={**asked, name: part}))]


def _all(query: Query) -> Iterator[str]:
    asked = query.criteria
    if "collection" in asked:
        yield _any(f"Collection/Name eq {quoted(name)}" for name in asked["collection"])
    if query.end is not None:
        yield f"ContentDate/Start le {_time(query.end)}"
    if query.start is not None:
        yield f"ContentDate/End ge {_time(query.start)}"
    for side, moment_ in asked.get("publication_date", {}).items():
        yield f"PublicationDate {_SIDES[side]} {_time(from_iso(moment_))}"
    if "online" in asked:
        yield f"Online eq {str(asked['online']).lower()}"
    if "platform" in asked:
        yield _any(f"startswith(Name,'S{platform[-2:]}_')" for platform in asked["platform"])
    if "name" in asked:
        yield from _pattern(asked["name"])
    for name, attribute in {**_EQUAL, **_NUMBERS, "orbit_direction": "orbitDirection"}.items():
        if name in asked:
            yield _attribute_is(attribute, asked[name])
    for name, value in asked.get("attributes", {}).items():
        yield _attribute_is(name, value)
    if query.area is not None:
        yield _any(f"OData.CSC.Intersects(area=geography'SRID=4326;{wkt}')" for wkt in areas(query.area))


_SIDES = {"min": "ge", "max": "le"}


def _any(terms: Iterable[str]) -> str:
    """One of these, in brackets where there are several."""
    several = list(terms)
    return several[0] if len(several) == 1 else f"({' or '.join(several)})"


def _time(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%S.%f}Z"


def _pattern(name: str | Mapping[str, str]) -> Iterator[str]:
    """Tests that each name which the pattern means passes, and some others too."""
    if isinstance(name, Mapping):
        yield from (f"{test}(Name,{quoted(part)})" for test, part in name.items())
        return
    first, *rest = re.split(r"[*?]+", name)
    if first:
        yield f"startswith(Name,{quoted(first)})"
    yield from (f"contains(Name,{quoted(part)})" for part in rest if part)


def _attribute_is(name: str, value: Json) -> str:
    return _any(_any(_terms(name, one)) for one in alternatives(name, value))


def _terms(name: str, value: Json) -> Iterator[str]:
    """What an attribute must be to have that value or be within those bounds: once for each type it can have.

    None for a value that the attribute's type does not have.
    """
    for kind in [TYPES[name]] if name in TYPES else _LITERALS:
        if isinstance(value, Mapping):
            ends = {side: _bound(kind, value[side], side) for side in ("min", "max") if side in value}
            if None not in ends.values():
                yield " and ".join(_compared(name, kind, _SIDES[side], end) for side, end in ends.items())
        elif (literal := _LITERALS[kind](value)) is not None:
            yield _compared(name, kind, "eq", literal)


def _compared(name: str, kind: str, operator: str, literal: str | None) -> str:
    typed = f"OData.CSC.{kind}Attribute"
    test = f"att/Name eq {quoted(name)} and att/{typed}/Value {operator} {literal}"
    return f"Attributes/{typed}/any(att:{test})"


def _bound(kind: str, value: Json, side: str) -> str | None:
    if kind in {"String", "Boolean"}:
        return None
    if kind == "Integer" and isinstance(value, int | float):
        value = math.ceil(value) if side == "min" else math.floor(value)
    return _LITERALS[kind](value)


def _boolean(value: Json) -> str | None:
    return str(value).lower() if isinstance(value, bool) else None


def _whole(value: Json) -> str | None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)
    return str(int(value)) if number else None


def _decimal(value: Json) -> str | None:
    """A number without an exponent."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return format(Decimal(repr(float(value))), "f")


def _text(value: Json) -> str | None:
    return quoted(value) if isinstance(value, str) else None


def _moment(value: Json) -> str | None:
    if not isinstance(value, str) or not _MOMENT.match(value):
        return None
    try:
        return _time(from_iso(value))
    except ValueError:
        return None


_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:")
_LITERALS = {
    "Boolean": _boolean,
    "DateTimeOffset": _moment,
    "Double": _decimal,
    "Integer": _whole,
    "String": _text,
}


# --------------------------------------------------------------------------------------------------
# Areas


def areas(geometry: Mapping[str, Json]) -> list[str]:
    """An area as the catalogue takes it: WKT of points and of simple, closed polygons without holes.

    What takes more than `LONGEST_AREA` characters is asked for by its hull, and if that does by its box;
    lines always are. Whatever is found too much does not meet the area itself.
    """
    from shapely.geometry import shape

    parts = [shape(part) for part in aoi.parts(geometry)]
    written = [_wkt(part) for part in parts]
    if sum(map(len, written)) > LONGEST_AREA:
        written = [_wkt(side.convex_hull) for side in _sides(parts)]
    if sum(map(len, written)) > LONGEST_AREA:
        written = [_wkt(side.envelope) for side in _sides(parts)]
    return written


def _sides(parts: list[BaseGeometry]) -> list[BaseGeometry]:
    """All parts together; of both sides of the antimeridian apart: their hull would go around the earth."""
    import shapely

    together = shapely.union_all(parts)
    west, _, east, _ = together.bounds
    if east - west <= 180:
        return [together]
    halves = ([p for p in parts if p.centroid.x < 0], [p for p in parts if p.centroid.x >= 0])
    return [shapely.union_all(half) for half in halves if half]


def _wkt(part: BaseGeometry) -> str:
    import shapely

    if not isinstance(part, shapely.Point | shapely.Polygon):
        world = shapely.box(-180, -90, 180, 90)
        part = shapely.intersection(shapely.buffer(part, _MARGIN).envelope, world)
    if isinstance(part, shapely.Polygon):
        part = shapely.Polygon(part.exterior)
        part = part if part.exterior.is_ccw else part.reverse()
    return shapely.to_wkt(part, rounding_precision=-1)


_MARGIN = 1e-6
"""Degrees: a line along a parallel or a meridian has no box."""


# --------------------------------------------------------------------------------------------------
# What is tested again


def checks(query: Query) -> dict[str, Json]:
    """See `skystage.archives.Archive.checks`."""
    asked = query.criteria
    same = {*_EQUAL, *_NUMBERS, "orbit_direction", "platform", "online", "publication_date"}
    found: dict[str, Json] = {name: value for name, value in asked.items() if name in same}
    if "collection" in asked and set(asked["collection"]) <= set(MISSIONS):
        found["collection"] = asked["collection"]
    if "name" in asked:
        found["name"] = _globs(asked["name"])
    if "names" in asked:
        found["Name"] = [spelt for name in asked["names"] for spelt in spellings(name)]
    if "ids" in asked:
        found["Id"] = asked["ids"]
    if "names" in asked or "ids" in asked:
        found["deleted"] = False
    for name, value in asked.get("attributes", {}).items():
        found[name] = [_as_tested(one) for one in alternatives(name, value)]
    for name, moment_ in (("start", query.start), ("end", query.end)):
        if moment_ is not None:
            found[name] = iso(moment_)
    return found


def _globs(name: str | Mapping[str, str]) -> Json:
    """Patterns of which a name must match one: with what it ends in, or without. Parts: it must have all."""
    if isinstance(name, str):
        return [name, *(f"{name}{suffix}" for suffix in SUFFIXES)]
    return {"contains": [_GLOBS[test].format(part) for test, part in name.items()]}


_GLOBS = {"contains": "*{}*", "endswith": "*{}", "startswith": "{}*"}


def _as_tested(value: Json) -> Json:
    """Times are written in more ways than one: they are compared as times."""
    return {"min": value, "max": value} if _moment(value) is not None else value
