"""The Alaska Satellite Facility: radar granules from NASA's CMR by asf_search, bytes by Earthdata Login.

asf_search does the catalogue and nothing else. Three things are ours: the proof that all granules
came that CMR counted (asf_search only warns), patience with CMR's time-outs and throttling, and
silence: its error reports would send the user's query to a third host.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from skystage import aoi, tls
from skystage.archives import Search
from skystage.archives.asf_criteria import PROPERTIES, Criteria, checks, collections, keyword, options, tested
from skystage.archives.asf_records import ARCHIVE, ASSET_KEYS, PROPERTY_NAMES, granule
from skystage.archives.records import BROKEN, reading
from skystage.errors import CatalogueUnavailable, IncompleteSearch, QueryError, SearchError
from skystage.model import Granule, Json, Query
from skystage.resume import Head, retry_after
from skystage.retry import patiently

if TYPE_CHECKING:
    from asf_search import ASFProduct

    from skystage.transport import Access


class Asf:
    """See `skystage.archives.Archive`."""

    name = ARCHIVE
    title = "Alaska Satellite Facility: Sentinel-1, NISAR, ALOS, OPERA and other radar"
    criteria = Criteria
    properties = PROPERTIES
    property_names = PROPERTY_NAMES
    asset_keys = ASSET_KEYS
    companions = frozenset({"dem", "mirrors", "orbits"})

    def selection(self, select: Mapping[str, Json]) -> dict[str, Json]:
        """See `skystage.archives.Archive.selection`."""
        return dict(select)

    def search(self, query: Query, access: Access) -> Search:
        """See `skystage.archives.Archive.search`."""
        search = Search(iter(()))
        search.granules = _search(query, access, search)
        return search

    def checks(self, query: Query) -> dict[str, Json]:
        """See `skystage.archives.Archive.checks`."""
        return checks(query)

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

    def resolve(self, granules: Iterable[Granule], query: Query, access: Access) -> Iterable[Granule]:
        """See `skystage.archives.Archive.resolve`."""
        del query, access
        return granules


_S1_NAME = re.compile(r"(?P<sensing>S1[A-D]?_.+)_[0-9A-F]{4}")


# --------------------------------------------------------------------------------------------------
# Searching


def _search(query: Query, access: Access, search: Search) -> Iterator[Granule]:
    reference = None
    if "reference" in query.criteria:
        reference = _reference(query.criteria["reference"], access)
    session = _session(access, search, vectors=reference is not None)
    asked = [_options(query, area) for area in _areas(query)]
    if reference is not None:
        # A stack is what covers the reference's centre: the query's own area is tested afterwards.
        asked = [{**one, **reference.options} for one in asked]
        asked = asked[:1] if "intersectsWith" in reference.options else asked
        _refuse_contradiction(query, reference)
    found: Iterable[ASFProduct] = _ask(session, asked)
    mark = None
    if reference is not None:
        with reading(ARCHIVE, lambda: reference.name):
            found = reference.measured(found)
        mark = reference.marker()
    unseen = set(_named(query))
    for product in found:
        search.received += 1
        one = granule(product, query.criteria)
        unseen -= {one.id, one.native_id}
        yield one if mark is None else mark(one)
    cap = query.criteria.get("max_results")
    _prove(session, cap, allowed=query.allow_incomplete)
    search.truncated = search.received < search.hits or (cap is not None and search.received >= cap)
    search.missing = sorted(unseen)


def _areas(query: Query) -> list[Mapping[str, Json] | None]:
    # CMR knows no multipolygons, and asf_search would make their hull of them: an area on both
    # sides of the antimeridian is asked for in two searches. Doubles are dropped by the plan.
    return [None] if query.area is None else [*aoi.parts(query.area)]


def _ask(session: Any, asked: list[dict[str, Any]]) -> Iterator[ASFProduct]:
    import asf_search

    # It would POST the user's query to search-error-report.asf.alaska.edu.
    asf_search.REPORT_ERRORS = False
    try:
        for one in asked:
            for page in asf_search.search_generator(opts=asf_search.ASFSearchOptions(session=session, **one)):
                yield from page
    except asf_search.ASFSearchError as error:
        raise SearchError(f"asf: {error}") from error
    except BROKEN as error:
        # It reads a page at once: which record it stumbled over is found by reading them one by one.
        from asf_search.search.search_generator import as_ASFProduct

        for item in session.page:
            with reading(ARCHIVE, lambda item=item: item["umm"]["GranuleUR"]):  # type: ignore[misc]
                as_ASFProduct(item, session=session)
        raise SearchError(f"asf: asf_search cannot ask this: {error}") from error


def _prove(session: Any, cap: int | None, *, allowed: bool) -> None:
    # Each sub-query for itself, and distinct records only: a page that shifts while it is read
    # repeats one granule and leaves out another.
    counted = [count.hits for count in session.counts]
    came = [min(count.hits, len(count.ids)) for count in session.counts]
    expected = sum(counted) if cap is None else min(cap, sum(counted))
    if sum(came) < expected and not allowed:
        raise IncompleteSearch(
            f"asf: CMR counted {expected:,} granules and delivered {sum(came):,} different ones",
            hint="try again; `allow_incomplete: true` accepts it",
        )


def _named(query: Query) -> list[str]:
    """The granules and products that the query names one by one."""
    names = [*query.criteria.get("granule_list", ()), *query.criteria.get("product_list", ())]
    return [name for name in names if not set("*?") & set(name)]


def _options(query: Query, area: Mapping[str, Json] | None) -> dict[str, Any]:
    asked = options(query.criteria)
    if area is not None:
        asked["intersectsWith"] = aoi.to_wkt(area)
    if query.start is not None:
        asked["start"] = query.start
    if query.end is not None:
        # asf_search cuts fractions of a second off; what is asked too much is dropped again here.
        asked["end"] = min(query.end, _LAST) + timedelta(seconds=1)
    return asked


_LAST = datetime(9999, 1, 1, tzinfo=UTC)


# --------------------------------------------------------------------------------------------------
# The stack of a reference


@dataclass(frozen=True, slots=True)
class _Reference:
    """A product, and what asf_search asks for to find those that can be stacked with it."""

    name: str
    product: ASFProduct
    options: Mapping[str, Any]

    @property
    def criteria(self) -> dict[str, Json]:
        """The options as criteria; the point in the scene's centre is none."""
        names = {keyword(name): name for name in Criteria.model_fields}
        return {names[key]: value for key, value in self.options.items() if key in names}

    def measured(self, stack: Iterable[ASFProduct]) -> list[ASFProduct]:
        """All of a stack, with the baselines that asf_search can compute, and is asked for itself.

        Days in ``temporalBaseline``, whole metres in ``perpendicularBaseline``. If the reference is not
        in the stack, or has no state vectors, asf_search takes another one in silence; here it stays.
        """
        from asf_search import ASFStackableProduct, baseline

        found = list(stack)
        known = [one for one in found if getattr(one, "baseline", None) is not None]
        together = [self.product, *known]
        baseline.calculate_temporal_baselines(self.product, together)
        if self.product.baseline is None or not self.product.is_valid_reference():
            return found
        if self.product.baseline_type == ASFStackableProduct.BaselineCalcType.PRE_CALCULATED:
            baseline.offset_perpendicular_baselines(self.product, together)
        else:
            baseline.calculate_perpendicular_baselines(self.product.properties["sceneName"], together)
        return found

    def marker(self) -> Callable[[Granule], Granule]:
        """What notes the reference in each granule that is what was asked for, and in no other."""
        from skystage.filters import Filter

        asked = Filter(tested(self.criteria), properties=PROPERTIES)

        def mark(one: Granule) -> Granule:
            if asked.reason(one) is not None:
                return one
            return replace(one, properties={**one.properties, "reference": self.name})

        return mark


def _reference(name: str, access: Access) -> _Reference:
    """The product of that name, or of that scene, and its stack.

    Raises
    ------
    QueryError
        If there is no such product, or none of its kind can be stacked.
    """
    from asf_search.exceptions import ASFBaselineError

    session = _session(access, Search(iter(())), vectors=True)
    # A burst's record has no name without the suffix.
    found = list(_ask(session, [{"granule_list": [name, f"{name}-BURST"]}]))
    _prove(session, None, allowed=False)
    if not found:
        raise QueryError(f"reference: the archive has no {name!r}", hint="name a scene or a product")

    def rank(product: ASFProduct) -> tuple[bool, bool, str]:
        said = product.properties
        bare = str(said.get("processingLevel")).startswith("METADATA")
        return said["fileID"].casefold() != name.casefold(), bare, said["fileID"]

    product = min(found, key=rank)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a package that it would need for ARIA's frames
            stacked = product.get_stack_opts()
    except ASFBaselineError:
        stacked = None
    if stacked is None:
        kind = product.properties.get("processingLevel") or type(product).__name__
        raise QueryError(f"reference: {name!r} belongs to no stack that asf_search knows ({kind})")
    return _Reference(name, product, dict(stacked))


def _refuse_contradiction(query: Query, reference: _Reference) -> None:
    try:
        collections({**query.criteria, **reference.criteria})
    except ValueError as error:
        raise QueryError(f"reference: {error}") from None


# --------------------------------------------------------------------------------------------------
# CMR


@dataclass(slots=True)
class _Count:
    """What CMR counts for one sub-query, and the records that came."""

    hits: int
    ids: set[str] = field(default_factory=set)


def _session(access: Access, search: Search, *, vectors: bool) -> Any:
    """A session for asf_search that waits, retries, and notes what CMR counts.

    State vectors are what baselines are computed from: reading them is half of asf_search's time.
    """
    import asf_search
    import requests

    class Session(asf_search.ASFSession):  # type: ignore[misc]
        counts: list[_Count] = []
        page: list[Json] = []

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
                said = _refuse_failure(response)
                for item in _items(said):
                    with reading(ARCHIVE, lambda item=item: item["umm"]["GranuleUR"]):  # type: ignore[misc]
                        hash(item["meta"]["concept-id"])
                        if not vectors:
                            _drop_state_vectors(item["umm"])
                # asf_search parses it twice more: once is enough.
                response.json = lambda **_: said  # type: ignore[method-assign]
                return response

            response = patiently(once)
            if "CMR-Search-After" not in self.headers:  # the first page of a sub-query
                hits = int(response.headers.get("CMR-Hits", 0))
                search.hits += hits
                self.counts.append(_Count(hits))
            items = self.page = response.json()["items"]
            self.counts[-1].ids.update(item["meta"]["concept-id"] for item in items)
            return response

    session = Session()
    session.counts, session.page = [], []
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


def _items(said: Json) -> list[Json]:
    """The records of an answer."""
    items = said.get("items") if isinstance(said, dict) else None
    if not isinstance(items, list):
        raise CatalogueUnavailable(
            "asf: CMR answered with JSON that lists no granules", hint="try again later"
        )
    return items


def _drop_state_vectors(umm: Json) -> None:
    known = umm.get("AdditionalAttributes", ())
    umm["AdditionalAttributes"] = [one for one in known if not one["Name"].startswith("SV_")]
