"""The Alaska Satellite Facility: radar granules from NASA's CMR by asf_search, bytes by Earthdata Login.

asf_search does the catalogue and nothing else. Three things are ours: the proof that all granules
came that CMR counted (asf_search only warns), patience with CMR's time-outs and throttling, and
silence: its error reports would send the user's query to a third host.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from skystage import aoi, tls
from skystage.archives import Search
from skystage.errors import CatalogueUnavailable, IncompleteSearch, SearchError
from skystage.model import Asset, Granule, Json, Query, Source, from_iso, iso
from skystage.resume import Head, retry_after
from skystage.retry import patiently

if TYPE_CHECKING:
    from asf_search import ASFProduct

    from skystage.transport import Access

# --------------------------------------------------------------------------------------------------
# The criteria

T = TypeVar("T")


def _many(value: object) -> object:
    return list(value) if isinstance(value, list | tuple) else [value]


def _canonical(values: list[Any]) -> list[Any]:
    """Alternatives have no order and no doubles."""
    return sorted({str(value): value for value in values}.values(), key=str)


Many = Annotated[list[T], BeforeValidator(_many), Field(min_length=1), AfterValidator(_canonical)]
"""One value, or a list of alternatives."""

Number = TypeVar("Number", int, float)


Finite = Annotated[float, Field(allow_inf_nan=False)]


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


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


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


Polarization = Annotated[str, BeforeValidator(_polarization)]
Dataset = Annotated[str, _one_of("dataset")]
Level = Annotated[str, _one_of("processing_level")]
Platform = Annotated[str, _one_of("platform")]
BeamMode = Annotated[str, _one_of("beam_mode")]
Direction = Annotated[Literal["ASCENDING", "DESCENDING"], BeforeValidator(_upper)]
Look = Annotated[Literal["LEFT", "RIGHT", "L", "R"], BeforeValidator(_upper)]
Coverage = Annotated[Literal["FULL", "PARTIAL"], BeforeValidator(_upper)]
DayOfYear = Annotated[int, Field(ge=1, le=366)]
Longitude = Annotated[float, Field(ge=-180, le=180)]
Latitude = Annotated[float, Field(ge=-90, le=90)]
Orbits = Many[Annotated[int, Field(ge=0)] | Range]


class Criteria(BaseModel):
    """Every search keyword of asf_search 14, in snake_case. `area`, `start` and `end` are common keys.

    What asf_search takes as ``intersectsWith`` is the query's ``area``.
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
    data_maturity: Many[Annotated[str, BeforeValidator(_upper)]] | None = None
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
    production_configuration: Many[Annotated[str, BeforeValidator(_upper)]] | None = None
    provider: Annotated[str, Field(min_length=1)] | None = None
    collection_alias: bool | None = None

    @model_validator(mode="after")
    def _cap_means_something(self) -> Criteria:
        wild = any("*" in name or "?" in name for name in self.granule_list or ())
        if self.max_results and (self.product_list or (self.granule_list and not wild)):
            raise ValueError("max_results: has no meaning beside a list of names without wildcards")
        return self


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


# --------------------------------------------------------------------------------------------------
# The archive


EXTRA = {
    "ascNodeTime": "ASC_NODE_TIME",
    "asfFrame": "FRAME_NUMBER",
    "beamMode": "BEAM_MODE",
    "esaFrame": "CENTER_ESA_FRAME",
    "lookDirection": "LOOK_DIRECTION",
    "processedAt": "PROCESSING_DATE",
}
"""Properties that asf_search searches by, or ASF prints, and its products lack: from the UMM record."""

_NUMBERS = frozenset({"asfFrame", "esaFrame"})


_PROPERTY_NAMES = """
absoluteBurstID ariaVersion ascNodeTime asfFrame azimuthAnxTime azimuthTime beamMode
beamModeType burstIndex bytes centerLat centerLon collectionName crid esaFrame faradayRotation
fileID fileName flightDirection frameCoverage frameNumber fullBurstID granuleType groupID
inputGranules insarStackId jointObservation lookDirection mainBandPolarization md5sum
offNadirAngle operaBurstID orbit orbitType pathNumber perpendicularBaseline pgeVersion platform
polarization processedAt processingDate processingLevel productVersion productionConfiguration
rangeBandwidth relativeBurstID sceneName sensor sideBandPolarization siteDescription startTime
stopTime subswath tileID validityStartDate
"""


class Asf:
    """See `skystage.archives.Archive`."""

    name = "asf"
    title = "Alaska Satellite Facility: Sentinel-1, NISAR, ALOS, OPERA and other radar"
    criteria = Criteria
    properties: Mapping[str, str] = {
        "absolute_orbit": "orbit",
        "asf_frame": "asfFrame",
        "beam_mode": "beamMode",
        "burst": "burst.fullBurstID",
        "flight_direction": "flightDirection",
        "frame": "frameNumber",
        "group_id": "groupID",
        "instrument": "sensor",
        "look_direction": "lookDirection",
        "off_nadir_angle": "offNadirAngle",
        "orbit_direction": "flightDirection",
        "platform": "platform",
        "polarization": "polarization",
        "processing_level": "processingLevel",
        "product_type": "processingLevel",
        "relative_orbit": "pathNumber",
    }
    property_names = frozenset(_PROPERTY_NAMES.split())
    asset_keys = ("data", "metadata", "browse")
    companions = frozenset({"dem", "orbits"})

    def search(self, query: Query, access: Access) -> Search:
        """See `skystage.archives.Archive.search`."""
        search = Search(iter(()))
        search.granules = _search(query, access, search)
        return search

    def checks(self, query: Query) -> dict[str, Json]:
        """See `skystage.archives.Archive.checks`."""
        # Criteria whose words CMR translates (platform aliases, NISAR levels) are not tested again.
        # Neither is polarization: of products with one file a channel CMR finds any of them.
        tested = ("absolute_orbit", "asf_frame", "flight_direction", "group_id", "relative_orbit")
        checks = {name: query.criteria[name] for name in tested if name in query.criteria}
        for name, moment in (("start", query.start), ("end", query.end)):
            if moment is not None:
                checks[name] = moment.isoformat()
        return checks

    def sensing(self, granule: Granule) -> str | None:
        """See `skystage.archives.Archive.sensing`.

        The last four digits of a Sentinel-1 name are a checksum of its manifest: two names that
        differ in them alone are two processings of one sensing. A product and its bare metadata
        have one name.
        """
        match = _S1_NAME.fullmatch(granule.id)
        return None if match is None else match["sensing"]

    def processed(self, granule: Granule) -> str:
        """See `skystage.archives.Archive.processed`."""
        whole = not str(granule.properties.get("processingLevel", "")).startswith("METADATA")
        return f"{int(whole)} {granule.properties.get('processedAt') or ''}"

    def offline(self, granule: Granule) -> bool:
        """See `skystage.archives.Archive.offline`. ASF keeps everything online."""
        del granule
        return False


_S1_NAME = re.compile(r"(?P<sensing>S1[A-D]?_.+)_[0-9A-F]{4}")


# --------------------------------------------------------------------------------------------------
# Searching


def _search(query: Query, access: Access, search: Search) -> Iterator[Granule]:
    import asf_search

    # It would POST the user's query to search-error-report.asf.alaska.edu.
    asf_search.REPORT_ERRORS = False
    session = _session(access, search)
    # CMR knows no multipolygons, and asf_search would make their hull of them: an area on both
    # sides of the antimeridian is asked for in two searches. Doubles are dropped by the plan.
    areas = [None] if query.area is None else aoi.parts(query.area)
    unseen = set(_named(query))
    try:
        for area in areas:
            options = asf_search.ASFSearchOptions(session=session, **_options(query, area))
            for page in asf_search.search_generator(opts=options):
                for product in page:
                    search.received += 1
                    found = granule(product)
                    unseen -= {found.id, found.native_id}
                    yield found
    except asf_search.ASFSearchError as error:
        raise SearchError(f"asf: {error}") from error
    except ValueError as error:
        raise SearchError(f"asf: asf_search cannot ask this: {error}") from error
    cap = query.criteria.get("max_results")
    # Each sub-query for itself, and distinct records only: a page that shifts while it is read
    # repeats one granule and leaves out another.
    counted = [count.hits for count in session.counts]
    came = [min(count.hits, len(count.ids)) for count in session.counts]
    expected = sum(counted) if cap is None else min(cap, sum(counted))
    if sum(came) < expected and not query.allow_incomplete:
        raise IncompleteSearch(
            f"asf: CMR counted {expected:,} granules and delivered {sum(came):,} different ones",
            hint="try again; `allow_incomplete: true` accepts it",
        )
    search.truncated = search.received < search.hits or (cap is not None and search.received >= cap)
    search.missing = sorted(unseen)


def _named(query: Query) -> list[str]:
    """The granules and products that the query names one by one."""
    names = [*query.criteria.get("granule_list", ()), *query.criteria.get("product_list", ())]
    return [name for name in names if not set("*?") & set(name)]


def _options(query: Query, area: Mapping[str, Json] | None) -> dict[str, Any]:
    options = {keyword(name): _plain(value) for name, value in query.criteria.items()}
    if area is not None:
        options["intersectsWith"] = aoi.to_wkt(area)
    if query.start is not None:
        options["start"] = query.start
    if query.end is not None:
        # asf_search cuts fractions of a second off; what is asked too much is dropped again here.
        options["end"] = min(query.end, _LAST) + timedelta(seconds=1)
    return options


_LAST = datetime(9999, 1, 1, tzinfo=UTC)


def _plain(value: Json) -> Json:
    """As asf_search wants it: a range is a tuple."""
    if isinstance(value, dict):
        low, high = value["min"], value["max"]
        whole = float(low).is_integer() and float(high).is_integer()
        return (int(low), int(high)) if whole else (low, high)
    return [_plain(item) for item in value] if isinstance(value, list) else value


@dataclass(slots=True)
class _Count:
    """What CMR counts for one sub-query, and the records that came."""

    hits: int
    ids: set[str] = field(default_factory=set)


def _session(access: Access, search: Search) -> Any:
    """A session for asf_search that waits, retries, and notes what CMR counts."""
    import asf_search
    import requests

    class Session(asf_search.ASFSession):  # type: ignore[misc]
        counts: list[_Count] = []

        def __copy__(self) -> Session:
            # asf_search copies the session for each of its sub-queries; the counts are one.
            return self

        def post(self, url: str, *args: Any, **kwargs: Any) -> requests.Response:
            def once() -> requests.Response:
                access.count()
                try:
                    response: requests.Response = super(Session, self).post(url, *args, **kwargs)
                except requests.RequestException as error:
                    reason = f"{type(error).__name__}"
                    raise CatalogueUnavailable(f"asf: CMR cannot be reached: {reason}") from error
                said = _without_state_vectors(_refuse_failure(response))
                # asf_search parses it twice more: once is enough.
                response.json = lambda **_: said  # type: ignore[method-assign]
                return response

            response = patiently(once)
            if "CMR-Search-After" not in self.headers:  # the first page of a sub-query
                hits = int(response.headers.get("CMR-Hits", 0))
                search.hits += hits
                self.counts.append(_Count(hits))
            items = response.json().get("items", ())
            self.counts[-1].ids.update(item["meta"]["concept-id"] for item in items)
            return response

    session = Session()
    session.counts = []
    session.verify = tls.bundle() or True
    return session


def _refuse_failure(response: Any) -> Json:
    """The JSON that CMR answered with; its failures as errors."""
    head = Head(status=response.status_code, headers={k.lower(): v for k, v in response.headers.items()})
    if head.status == 429 or head.status >= 500:
        raise CatalogueUnavailable(
            f"asf: CMR answered {head.status}",
            hint="the catalogue is busy or down: try again later",
            retry_after=retry_after(head),
        )
    try:
        said = response.json()
    except ValueError:
        raise CatalogueUnavailable(
            f"asf: CMR answered {head.status} with a page instead of JSON",
            hint="a gateway's error page: try again later",
        ) from None
    if head.status >= 400:
        errors = said.get("errors", said) if isinstance(said, dict) else said
        raise SearchError(f"asf: CMR refused the query ({head.status}): {errors}")
    if head.headers.get("cmr-time-out", "").lower() == "true":
        raise CatalogueUnavailable("asf: CMR ran out of time and sent only a part", hint="narrow the query")
    return said


def _without_state_vectors(said: Json) -> Json:
    """Records without what baselines are computed from: reading it is half of asf_search's time."""
    for item in said.get("items", ()):
        known = item["umm"].get("AdditionalAttributes", ())
        item["umm"]["AdditionalAttributes"] = [one for one in known if not one["Name"].startswith("SV_")]
    return said


# --------------------------------------------------------------------------------------------------
# Records


def granule(product: ASFProduct) -> Granule:
    """One product of asf_search as a granule."""
    properties = _properties(product)
    short_name = product.umm["CollectionReference"].get("ShortName") or "UNKNOWN"
    level = properties.get("processingLevel")
    native_id = product.meta.get("native-id") or properties["fileID"]
    scene = properties.get("sceneName") or native_id
    name = scene.removesuffix(f"-{level}")
    extent = product.umm.get("TemporalExtent", {})
    start = extent.get("RangeDateTime", {}).get("BeginningDateTime") or extent.get("SingleDateTime")
    stop = extent.get("RangeDateTime", {}).get("EndingDateTime") or start
    known = product.geometry.get("coordinates") is not None
    return Granule(
        archive=Asf.name,
        collection=short_name,
        id=name,
        native_id=native_id,
        start=None if start is None else from_iso(start),
        stop=None if stop is None else from_iso(stop),
        geometry=aoi.split(product.geometry) if known else None,
        stack=stack(properties),
        properties=properties,
        assets=tuple(_assets(properties, f"{Asf.name}/{short_name}/{_safe(name)}")),
    )


def stack(properties: Mapping[str, Json]) -> str:
    """The stack of a granule: path and burst for bursts, else path and frame; empty where unknown."""
    path = properties.get("pathNumber")
    if path is None:
        return ""
    burst = (properties.get("burst") or {}).get("fullBurstID") or properties.get("operaBurstID")
    if burst is not None:
        return f"p{path}_b{burst}".lower()
    frame = properties.get("frameNumber")
    return "" if frame is None else f"p{path}_f{frame}"


def _properties(product: ASFProduct) -> dict[str, Json]:
    """What asf_search says of a product, and what only the record says; without unknowns and addresses."""
    kept = {
        key: value
        for key, value in product.properties.items()
        if value is not None and key not in ("s3Urls", "browse")
    }
    attributes = {item["Name"]: item["Values"] for item in product.umm.get("AdditionalAttributes", ())}
    for key, name in EXTRA.items():
        value = (attributes.get(name) or [None])[0]
        if value not in (None, "NA"):
            kept[key] = int(value) if key in _NUMBERS and value.isdecimal() else value
    if product.properties.get("browse"):
        kept["browse"] = [href for href in product.properties["browse"] if href.startswith("https:")]
    return kept


def _assets(properties: Mapping[str, Json], folder: str) -> Iterator[Asset]:
    url, name = properties.get("url"), properties.get("fileName")
    if url and name:
        size, md5 = _declared(properties, name)
        yield _asset("data", url, f"{folder}/{_safe(name)}", size=size, md5=md5)
    for href in properties.get("additionalUrls", ())[:1]:
        other = href.rpartition("/")[2]
        if "burst" in properties:  # whose metadata are called 1.xml, 2.xml, ...
            other = f"{str(properties['fileName']).rpartition('.')[0]}.{href.rpartition('.')[2]}"
        size, md5 = _declared(properties, other)
        yield _asset(
            "metadata", href, f"{folder}/{_safe(other)}", size=None if other == name else size, md5=md5
        )
    for href in properties.get("browse", ())[:1]:
        yield _asset("browse", href, f"{folder}/{_safe(href.rpartition('/')[2])}")


def _asset(key: str, href: str, path: str, *, size: int | None = None, md5: str | None = None) -> Asset:
    return Asset(
        key=key,
        path=path,
        size=size,
        checksums={"md5": md5.lower()} if md5 else {},
        sources=(Source(href=href, auth="earthdata"),),
    )


def _declared(properties: Mapping[str, Json], name: str) -> tuple[int | None, str | None]:
    """Size and MD5 of a file: numbers for most products, text for bursts, one for each file for OPERA."""
    size, md5 = properties.get("bytes"), properties.get("md5sum")
    if isinstance(size, dict):
        size = (size.get(name) or {}).get("bytes")
    elif name != properties.get("fileName"):
        size = md5 = None
    if isinstance(md5, dict):
        md5 = md5.get(name)
    return (None if size is None else int(size)), md5


def _safe(name: str) -> str:
    """A server-given name as one component of a path."""
    clean = re.sub(r"[^\w.+=@-]", "_", name).lstrip(".")
    return clean or "_"
