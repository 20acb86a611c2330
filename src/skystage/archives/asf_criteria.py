"""What ASF can be asked: every search keyword of asf_search, typed, and which of them are tested again.

asf_search translates them for CMR. Here stands what it lets pass and CMR would answer with nothing, or
with everything; and for each criterion the property of a record that says the same, so that the
answer can be tested.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from skystage.archives.values import Finite, Many, upper
from skystage.model import Json, Query, iso


class Range(BaseModel):
    """A closed range of whole numbers."""

    model_config = ConfigDict(extra="forbid")
    min: Finite
    max: Finite

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if self.min > self.max:
            raise ValueError(f"min {self.min:g} is more than max {self.max:g}")
        return self


def _one_of(table: str) -> BeforeValidator:
    """Accept what asf_search's own tables list, in any case; spelt as they spell it."""

    def check(value: object) -> object:
        known = {name.upper(): name for name in _vocabulary(table)}
        if not isinstance(value, str) or value.upper() not in known:
            raise ValueError(f"not one of: {', '.join(sorted(known.values()))}")
        return known[value.upper()]

    return BeforeValidator(check)


def _vocabulary(table: str) -> frozenset[str]:
    from asf_search.CMR import datasets
    from asf_search.constants import BEAMMODE, POLARIZATION

    if table == "dataset":
        return frozenset(datasets.dataset_collections)
    if table == "processing_level":
        return frozenset(datasets.collections_by_processing_level)
    if table == "platform":
        return frozenset(datasets.collections_per_platform) | _PLATFORM_ALIASES
    module = {"beam_mode": BEAMMODE, "polarization": POLARIZATION}[table]
    return frozenset(value for name, value in vars(module).items() if not name.startswith("_"))


# What asf_search's own table of aliases accepts beside the collections' platforms.
_PLATFORM_ALIASES = frozenset(
    {"S1", "SENTINEL-1", "SENTINEL", "ERS", "SIR-C", "R1", "E1", "E2", "J1", "A3", "AS", "AIRSAR"}
    | {"SS", "SEASAT", "SA", "SB", "SC", "SD", "SP", "UA", "UAVSAR"}
)


def _polarization(value: object) -> object:
    """``VH+VV`` is ASF's ``VV+VH``: a set of channels has no order."""
    if isinstance(value, str):
        asked = sorted(value.upper().split("+"))
        for known in _vocabulary("polarization"):
            if sorted(known.upper().split("+")) == asked:
                return known
    raise ValueError(f"not one of: {', '.join(sorted(_vocabulary('polarization')))}")


def _pairs(numbers: list[float]) -> list[float]:
    if len(numbers) % 2:
        raise ValueError("longitude and latitude in turn")
    return numbers


def _date(value: object) -> object:
    from skystage.criteria import moment

    return iso(moment(value, name="processing_date"))


def _one_name(name: str) -> str:
    if set("*?") & set(name):
        raise ValueError("one name, without wildcards")
    return name


Polarization = Annotated[str, BeforeValidator(_polarization)]
Dataset = Annotated[str, _one_of("dataset")]
Level = Annotated[str, _one_of("processing_level")]
Platform = Annotated[str, _one_of("platform")]
BeamMode = Annotated[str, _one_of("beam_mode")]
Direction = Annotated[Literal["ASCENDING", "DESCENDING"], BeforeValidator(upper)]
Look = Annotated[Literal["LEFT", "RIGHT", "L", "R"], BeforeValidator(upper)]
Coverage = Annotated[Literal["FULL", "PARTIAL"], BeforeValidator(upper)]
DayOfYear = Annotated[int, Field(ge=1, le=366)]
Longitude = Annotated[float, Field(ge=-180, le=180)]
Latitude = Annotated[float, Field(ge=-90, le=90)]
Orbits = Many[Annotated[int, Field(ge=0)] | Range]


class Criteria(BaseModel):
    """Every search keyword of asf_search 14, in snake_case. `area`, `start` and `end` are common keys.

    What asf_search takes as ``intersectsWith`` is the query's ``area``. Its stack search is `reference`.
    """

    model_config = ConfigDict(extra="forbid", strict=False)

    max_results: Annotated[int, Field(ge=1)] | None = None
    absolute_orbit: Orbits | None = None
    relative_orbit: Orbits | None = None
    frame: Orbits | None = None
    asf_frame: Orbits | None = None
    bbox: tuple[Longitude, Latitude, Longitude, Latitude] | None = None
    circle: tuple[Longitude, Latitude, Annotated[float, Field(gt=0, allow_inf_nan=False)]] | None = None
    """Longitude, latitude, radius in metres."""
    linestring: Annotated[list[Finite], Field(min_length=4), AfterValidator(_pairs)] | None = None
    point: tuple[Longitude, Latitude] | None = None
    beam_mode: Many[BeamMode] | None = None
    beam_swath: Many[str] | None = None
    campaign: str | None = None
    site_description: str | None = None
    data_maturity: Many[Annotated[str, BeforeValidator(upper)]] | None = None
    max_doppler: Finite | None = None
    min_doppler: Finite | None = None
    max_faraday_rotation: Finite | None = None
    min_faraday_rotation: Finite | None = None
    max_baseline_perp: Finite | None = None
    min_baseline_perp: Finite | None = None
    max_insar_stack_size: int | None = None
    min_insar_stack_size: int | None = None
    insar_stack_id: str | None = None
    flight_direction: Direction | None = None
    flight_line: str | None = None
    look_direction: Look | None = None
    off_nadir_angle: Many[Finite | Range] | None = None
    granule_list: Many[str] | None = None
    product_list: Many[str] | None = None
    group_id: Many[str] | None = None
    platform: Many[Platform] | None = None
    instrument: Many[str] | None = None
    polarization: Many[Polarization] | None = None
    processing_level: Many[Level] | None = None
    processing_date: Annotated[str, BeforeValidator(_date)] | None = None
    """Only what was processed since; a date or time, UTC."""
    season: tuple[DayOfYear, DayOfYear] | None = None
    """First and last day of the year; wraps."""
    dataset: Many[Dataset] | None = None
    collections: Many[str] | None = None
    short_name: Many[str] | None = None
    cmr_keywords: list[tuple[str, str]] | None = None
    aria_version: str | None = None
    tile_id: Many[str] | None = None
    temporal_baseline_days: Many[str] | None = None
    opera_burst_id: Many[str] | None = None
    absolute_burst_id: Many[int] | None = None
    relative_burst_id: Many[int] | None = None
    full_burst_id: Many[str] | None = None
    frame_coverage: Coverage | None = None
    joint_observation: bool | None = None
    main_band_polarization: Many[str] | None = None
    side_band_polarization: Many[str] | None = None
    range_bandwidth: Many[str] | None = None
    production_configuration: Many[Annotated[str, BeforeValidator(upper)]] | None = None
    provider: Annotated[str, Field(min_length=1)] | None = None
    collection_alias: bool | None = None
    reference: Annotated[str, Field(min_length=1), AfterValidator(_one_name)] | None = None
    """A scene or product: what can be stacked with it, with baselines."""

    @model_validator(mode="after")
    def _cap_means_something(self) -> Criteria:
        wild = any("*" in name or "?" in name for name in self.granule_list or ())
        if self.max_results and (self.product_list or (self.granule_list and not wild)):
            raise ValueError("max_results: has no meaning beside a list of names without wildcards")
        return self

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Criteria:
        for low, high in _BOUNDS:
            least, most = getattr(self, low), getattr(self, high)
            if least is not None and most is not None and least > most:
                raise ValueError(f"{low}: {least:g} is more than {high} {most:g}")
        return self

    @model_validator(mode="after")
    def _has_collections(self) -> Criteria:
        collections(self.model_dump(mode="json", exclude_none=True))
        return self


_BOUNDS = {
    ("min_doppler", "max_doppler"): "doppler",
    ("min_faraday_rotation", "max_faraday_rotation"): "faraday_rotation",
    ("min_baseline_perp", "max_baseline_perp"): "insar_baseline",
    ("min_insar_stack_size", "max_insar_stack_size"): "insar_stack_size",
}
"""Criteria that are the two ends of one property."""

_SPELT = {
    "absolute_burst_id": "absoluteBurstID",
    "cmr_keywords": "cmr_keywords",
    "full_burst_id": "fullBurstID",
    "granule_list": "granule_list",
    "group_id": "groupID",
    "opera_burst_id": "operaBurstID",
    "product_list": "product_list",
    "relative_burst_id": "relativeBurstID",
    "tile_id": "tileID",
}


def keyword(criterion: str) -> str:
    """What asf_search calls a criterion: ``relative_orbit`` is ``relativeOrbit``."""
    first, *rest = criterion.split("_")
    return _SPELT.get(criterion) or first + "".join(word.capitalize() for word in rest)


def options(criteria: Mapping[str, Json]) -> dict[str, Any]:
    """Criteria as keywords of asf_search; all but `reference`, which is none of them."""
    return {keyword(name): _plain(value) for name, value in criteria.items() if name != "reference"}


def _plain(value: Json) -> Json:
    """As asf_search wants it: a range is a tuple."""
    if isinstance(value, dict):
        low, high = value["min"], value["max"]
        whole = float(low).is_integer() and float(high).is_integer()
        return (int(low), int(high)) if whole else (low, high)
    return [_plain(item) for item in value] if isinstance(value, list) else value


_NARROWING = ("dataset", "data_maturity", "platform", "processing_level")
"""Criteria that asf_search turns into names of collections."""


def collections(criteria: Mapping[str, Json]) -> frozenset[str] | None:
    """The collections that an answer may come from; None where they are not limited.

    Raises
    ------
    ValueError
        If there are none: asf_search would then leave these criteria out, and search everything.
    """
    narrowing = {name: criteria[name] for name in _NARROWING if name in criteria}
    own = frozenset(criteria.get("short_name", ()))
    if not narrowing:
        return own or None
    from asf_search import ASFSearchOptions
    from asf_search.CMR import build_subqueries
    from asf_search.search.search_generator import set_platform_alias, set_science_product_alias

    alias = {name: criteria[name] for name in ("collection_alias",) if name in criteria}
    asked = ASFSearchOptions(**options({**narrowing, **alias}))
    set_platform_alias(asked)
    set_science_product_alias(asked)
    sent = build_subqueries(asked)[0]
    found = frozenset(sent.shortName or ())
    if not found:
        if all(getattr(sent, keyword(name)) is not None for name in narrowing):
            return own or None  # CMR compares the words themselves
        raise ValueError(_nothing_in_common(narrowing))
    if own and not own & found:
        raise ValueError(_nothing_in_common({**narrowing, "short_name": sorted(own)}))
    return own & found or found


def _nothing_in_common(criteria: Mapping[str, Json]) -> str:
    said = " and ".join(f"{name} {', '.join(values)}" for name, values in criteria.items())
    return f"{', '.join(criteria)}: no collection of the archive has {said}"


# --------------------------------------------------------------------------------------------------
# The properties, and what is tested again

PROPERTIES: Mapping[str, str] = {
    "absolute_burst_id": "burst.absoluteBurstID",
    "absolute_orbit": "orbit",
    "aria_version": "ariaVersion",
    "asf_frame": "asfFrame",
    "beam_mode": "beamMode",
    "beam_swath": "beamSwath",
    "burst": "burst.fullBurstID",
    "campaign": "campaign",
    "collection": "collectionName",
    "doppler": "doppler",
    "faraday_rotation": "faradayRotation",
    "flight_direction": "flightDirection",
    "flight_line": "flightLine",
    "frame": "frameNumber",
    "frame_coverage": "frameCoverage",
    "full_burst_id": "burst.fullBurstID",
    "group_id": "groupID",
    "insar_baseline": "insarBaseline",
    "insar_stack_id": "insarStackId",
    "insar_stack_size": "insarStackSize",
    "instrument": "sensor",
    "joint_observation": "jointObservation",
    "look_direction": "lookDirection",
    "main_band_polarization": "mainBand",
    "off_nadir_angle": "offNadirAngle",
    "opera_burst_id": "operaBurstID",
    "orbit_direction": "flightDirection",
    "perpendicular_baseline": "perpendicularBaseline",
    "platform": "platform",
    "polarization": "polarization",
    "processing_level": "processingLevel",
    "product_type": "processingLevel",
    "production_configuration": "productionConfiguration",
    "range_bandwidth": "rangeBandwidth",
    "relative_burst_id": "burst.relativeBurstID",
    "relative_orbit": "pathNumber",
    "side_band_polarization": "sideBand",
    "site_description": "siteDescription",
    "temporal_baseline": "temporalBaseline",
    "temporal_baseline_days": "temporalBaselineDays",
    "tile_id": "tileID",
}
"""Filter name to property."""

_SAME = frozenset(
    {"absolute_burst_id", "absolute_orbit", "aria_version", "asf_frame", "beam_mode", "beam_swath"}
    | {"campaign", "flight_direction", "flight_line", "frame_coverage", "full_burst_id", "group_id"}
    | {"insar_stack_id", "instrument", "joint_observation", "look_direction", "main_band_polarization"}
    | {"off_nadir_angle", "opera_burst_id", "production_configuration", "range_bandwidth"}
    | {"relative_burst_id", "relative_orbit", "side_band_polarization", "site_description"}
    | {"temporal_baseline_days", "tile_id"}
)
"""Criteria for which CMR compares what the filter of the same name compares."""

NOTED = {
    "collections": "conceptID",
    "granule_list": "granuleName",
    "processing_date": "revisionDate",
    "reference": "reference",
}
"""Criteria on what records say and properties do not: noted in the properties where they are asked."""


def tested(criteria: Mapping[str, Json]) -> dict[str, Json]:
    """Criteria as filters that test what came, as far as a record says what CMR compared.

    Left out are those for which it depends on the platform (`frame`), is an area of asf_search's own, or
    is CMR's business (`cmr_keywords`, `provider`); and `polarization` where a product has a file a
    channel, since CMR then finds any of them.
    """
    found = {name: value for name, value in criteria.items() if name in _SAME}
    for (low, high), name in _BOUNDS.items():
        bounds = {end: criteria[key] for end, key in (("min", low), ("max", high)) if key in criteria}
        if bounds:
            found[name] = bounds
    for name, key in NOTED.items():
        if name in criteria:
            found[key] = criteria[name]
    if "processing_date" in criteria:
        found[NOTED["processing_date"]] = {"min": criteria["processing_date"]}
    if "product_list" in criteria:
        found["fileID"] = criteria["product_list"]
    if "season" in criteria and (days := _season(*criteria["season"])) is not None:
        found["day_of_year"] = days
    if (names := collections(criteria)) is not None:
        found["collection"] = sorted(names)
        if "polarization" in criteria and _one_file(names):
            found["polarization"] = criteria["polarization"]
    levels = criteria.get("processing_level", ())
    if levels and _by_word(levels, alias=criteria.get("collection_alias", True)):
        # asf_search asks for NISAR's L0B by another name.
        found["processing_level"] = sorted({*levels, "RRSD"} if "L0B" in levels else levels)
    return found


def _by_word(levels: list[str], *, alias: bool) -> bool:
    """Whether CMR compares the levels themselves, and not collections that asf_search names for them."""
    from asf_search.CMR import datasets

    known, words = datasets.collections_by_processing_level, {"L0B", *datasets.NISAR_PRODUCT_TYPES}
    return not alias or any(level in words or not known[level] for level in levels)


def _season(first: int, last: int) -> list[int] | None:
    """The season as days on which a granule may begin: one of its days, or the evening before."""
    before = first - 1 or 365
    return None if before == last or (first == 1 and last >= 365) else [before, last]


def _one_file(names: frozenset[str]) -> bool:
    """Whether all collections have one file with all channels, or one channel, and say so in one text."""
    from asf_search.CMR import datasets

    known: Mapping[str, set[str]] = datasets.dataset_collections
    return names <= known["SENTINEL-1"] | known["SLC-BURST"]


def checks(query: Query) -> dict[str, Json]:
    """See `skystage.archives.Archive.checks`."""
    found = tested(query.criteria)
    for name, moment in (("start", query.start), ("end", query.end)):
        if moment is not None:
            found[name] = moment.isoformat()
    return found
