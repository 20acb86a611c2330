"""MAST's portal and its smaller services: questions, and whole answers.

astroquery knows the columns, writes the filters and reads the tables. Its requests have no time limit and its
polling no pause, so they go through `Access` here, with its limits, patience and count. Nothing of it is
patched, and none of its downloads is used: what its cloud access is set to makes no difference.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from skystage.errors import (
    CatalogueUnavailable,
    IncompleteSearch,
    NotReady,
    QueryError,
    SearchError,
    TransferError,
)
from skystage.model import Json
from skystage.retry import Budget

if TYPE_CHECKING:
    from astropy.table import Table
    from astroquery.mast.discovery_portal import PortalAPI

    from skystage.transport import Access

TITLE = "MAST"
HOST = "https://mast.stsci.edu"
_RESOLVER = "https://mastresolver.stsci.edu/Santa-war/query"
_COLUMNS = "Mast.Caom.Cone"
"""Whose columns are those of all searches for observations."""
PAGE = 10_000
"""Rows a page. The portal sends up to 50,000; while it is read, one of this size takes 100 MB."""
_LARGEST = 1 << 29
"""Bytes of an answer."""
LOOKED_UP = 50
"""Files whose places in the bucket are asked for at once: more make too long an address."""

Filters = Mapping[str, Sequence[Json]]
"""Column to the values that it may have; of a column of numbers, least and greatest."""
Position = tuple[float, float, float]
"""Right ascension, declination and radius, in degrees (ICRS)."""


class Place(NamedTuple):
    """Where a name is on the sky."""

    ra: float
    dec: float
    """Degrees (ICRS)."""
    said: str
    """Which resolver says so, and what it calls it."""


class Portal:
    """The portal as one process asks it: what its columns are is asked once."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._api = _api(access)

    def columns(self, position: Position | None = None) -> set[str]:
        """The columns that a search may name."""
        service = _service(position)
        if service not in self._api._column_configs:  # noqa: SLF001 - what `build_filter_set` reads
            self._api._get_col_config(service, fetch_name=_COLUMNS)  # noqa: SLF001
        return set(self._api._column_configs[service])  # noqa: SLF001

    def count(self, filters: Filters, position: Position | None) -> int:
        """How many observations there are.

        Raises
        ------
        SearchError
            If the portal refuses the question, or cannot be asked.
        """
        service, asked = self._asked("COUNT_BIG(*)", filters, position)
        answer = self._page(service, asked, 1, size=1)[0]
        try:
            if service == _COLUMNS:
                return int(answer["paging"]["rowsFiltered"])
            return int(next(iter(answer["data"][0].values())))
        except (LookupError, ValueError, TypeError):
            raise _strange() from None

    def observations(self, filters: Filters, position: Position | None) -> Iterator[dict[str, Json]]:
        """The rows of all observations, with every column, page by page.

        Raises
        ------
        SearchError
            See `count`.
        """
        yield from self._rows(*self._asked("*", filters, position))

    def products(self, obsids: Sequence[str]) -> list[dict[str, Json]]:
        """The rows of all products of these observations.

        Raises
        ------
        SearchError
            See `count`.
        IncompleteSearch
            If fewer came than the portal counted.
        """
        return list(self._rows("Mast.Caom.Products", {"obsid": ",".join(obsids)}, proved=True))

    def _asked(
        self, columns: str, filters: Filters, position: Position | None
    ) -> tuple[str, dict[str, Json]]:
        """The service, and its parameters."""
        if position is not None and not filters:
            # The others want a filter.
            return _COLUMNS, dict(zip(("ra", "dec", "radius"), position, strict=True))
        self.columns(position)
        built = self._api.build_filter_set(
            _COLUMNS, _service(position), **{name: list(values) for name, values in filters.items()}
        )
        asked: dict[str, Json] = {"columns": columns, "filters": built}
        if position is not None:
            asked["position"] = ", ".join(str(number) for number in position)
        return _service(position), asked

    def _rows(
        self, service: str, asked: Mapping[str, Json], *, proved: bool = False
    ) -> Iterator[dict[str, Json]]:
        number, pages, came = 0, 1, 0
        while number < pages:
            number += 1
            answer, table = self._page(service, asked, number)
            paging = answer.get("paging") or {}
            try:
                pages, counted = (int(paging.get(name) or 0) for name in ("pagesFiltered", "rowsFiltered"))
            except (AttributeError, TypeError, ValueError):
                raise _strange() from None
            came += len(table)
            yield from rows(table)
            if not len(table):
                break
        if proved and came < counted:
            raise IncompleteSearch(
                f"{TITLE}: counted {counted:,} products and delivered {came:,}",
                hint="try again",
            )

    def _page(
        self, service: str, asked: Mapping[str, Json], number: int, size: int | None = None
    ) -> tuple[dict[str, Json], Table]:
        api = self._api
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of answers without rows: that is no fault
            said = api.service_request_async(service, dict(asked), pagesize=size or PAGE, page=number)
            answer: dict[str, Json] = said[0].json()
            if answer.get("status") != "COMPLETE":
                raise SearchError(f"{TITLE}: {_line(answer.get('msg')) or 'the question is refused'}")
            try:
                return answer, api._parse_result(said)  # noqa: SLF001 - the reading of tables
            except (LookupError, TypeError, ValueError):
                raise _strange() from None


def _service(position: Position | None) -> str:
    return "Mast.Caom.Filtered" if position is None else "Mast.Caom.Filtered.Position"


def rows(table: Table) -> Iterator[dict[str, Json]]:
    """The rows of a table: what is masked, or no number, is None."""
    columns = [table[name].tolist() for name in table.colnames]
    for values in zip(*columns, strict=True):
        yield {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in zip(table.colnames, values, strict=True)
        }


# --------------------------------------------------------------------------------------------------
# The smaller services


def resolve(name: str, access: Access) -> Place:
    """Where an object is, as MAST's resolver says.

    Raises
    ------
    QueryError
        If it knows no such object.
    SearchError
        If it cannot be asked.
    """
    asked = urlencode({"name": name, "outputFormat": "json", "resolveAll": False})
    answer = read(f"{_RESOLVER}?{asked}", access)
    found = answer.get("resolvedCoordinate") if isinstance(answer, dict) else None
    if not found:
        raise QueryError(
            f"object_name: {name!r} is known to no resolver",
            hint="check the spelling, or give coordinates: [ra, dec] in degrees",
        )
    try:
        first = found[0]
        said = f"{first.get('resolver')}: {first.get('canonicalName') or name}"
        return Place(float(first["ra"]), float(first["decl"]), said)
    except (AttributeError, LookupError, TypeError, ValueError):
        raise _strange() from None


def places(uris: Sequence[str], access: Access) -> dict[str, str | None]:
    """Where files lie in the public bucket, as keys; None for those that do not.

    Parameters
    ----------
    uris
        At most `LOOKED_UP`.

    Raises
    ------
    SearchError
        If the service cannot be asked.
    """
    asked = urlencode([("uri", uri) for uri in uris])
    answer = read(f"{HOST}/api/v0.1/path_lookup/?{asked}", access)
    try:
        return {uri: _key(answer[uri]["path"]) for uri in uris}
    except (LookupError, TypeError, AttributeError):
        raise _strange() from None


def _key(path: str | None) -> str | None:
    """The key in the bucket of a path on MAST's disks: three of the collections lie elsewhere there."""
    if path is None:
        return None
    if "galex" in path:
        return path.removeprefix("/mast/").lstrip("/")
    if "/ps1/" in path:
        return path.replace("/ps1/", "panstarrs/ps1/public/").lstrip("/")
    if "hlsp" in path:
        return path.replace("/hlsp_local/public/", "mast/").lstrip("/")
    return path.lstrip("/")


# --------------------------------------------------------------------------------------------------
# Requests


def read(
    url: str, access: Access, *, headers: Mapping[str, str] | None = None, content: bytes | None = None
) -> Json:
    """A JSON document of MAST's; one that is not ready yet is asked for again, less and less often.

    Raises
    ------
    CatalogueUnavailable
        If there is no answer, or none after ten minutes.
    SearchError
        If the question is refused.
    """
    budget = Budget()
    try:
        while True:
            said = access.read(url, headers=headers, content=content, limit=_LARGEST)
            try:
                answer = json.loads(said)
            except ValueError:
                raise _strange() from None
            if not isinstance(answer, dict) or answer.get("status") != "EXECUTING":
                return answer
            time.sleep(budget.pause(NotReady("the question is still being worked on")))
    except TransferError as error:
        kind = CatalogueUnavailable if error.transient else SearchError
        raise kind(f"{TITLE}: {error.message}", hint=error.hint, retry_after=error.retry_after) from error


class _Answer(NamedTuple):
    """What astroquery wants to see of a response."""

    said: Json

    def json(self) -> Json:
        return self.said


def _api(access: Access) -> PortalAPI:
    """The portal as astroquery knows it, led through `Access`."""
    from astroquery.mast.discovery_portal import PortalAPI

    class Requests(PortalAPI):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._column_configs: dict[str, Json] = {}

        def _request(
            self, method: str, url: str, data: str | None = None, headers: Any = None, **others: object
        ) -> list[_Answer]:
            del method, others
            sent = {name: value for name, value in (headers or {}).items() if name != "User-Agent"}
            answer = read(url, access, headers=sent, content=(data or "").encode())
            if not isinstance(answer, dict) or not answer:
                raise _strange()
            return [_Answer(answer)]

    return Requests()


def _strange() -> CatalogueUnavailable:
    return CatalogueUnavailable(f"{TITLE}: the answer is not one of its own", hint="try again later")


def _line(text: Json) -> str:
    """As one line, without what a terminal would obey."""
    return " ".join("".join(one if one.isprintable() else " " for one in str(text or "")).split())
