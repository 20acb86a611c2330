"""The OData catalogue of the Copernicus Data Space: whole answers, and what records say of files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from skystage.archives import Search
from skystage.archives.records import reading
from skystage.errors import CatalogueUnavailable, IncompleteSearch, NotFound, SearchError, TransferError
from skystage.model import Json, Source, from_iso

if TYPE_CHECKING:
    from skystage.transport import Access

HOST = "catalogue.dataspace.copernicus.eu"
DOWNLOAD = "https://download.dataspace.copernicus.eu/odata/v1/Products({id})/$value"
"""Not the catalogue's own address of the file: that redirects, and clients lose the token on the way."""
PAGE = 1000
DEEPEST = 10_000
"""Records that a request may skip. PAGE and this: CDSE documentation, OData API."""
_TITLE = "Copernicus Data Space"


def quoted(text: str) -> str:
    """A text as a filter writes it (OData 4.01, ABNF: quotes are doubled)."""
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def records(
    asked: str,
    access: Access,
    *,
    kind: str = "Products",
    expand: Sequence[str] = (),
    search: Search | None = None,
    allow_incomplete: bool = False,
) -> Iterator[Mapping[str, Json]]:
    """All records that a ``$filter`` finds, each once, in order of their beginning.

    No page is asked for by its number, except among records of one beginning: each next one begins where
    the last record of the page before did. So there is no end at the 10,000 records that may be skipped,
    and nothing is passed over where records are added or deleted meanwhile. What the catalogue counted
    must have come.

    Parameters
    ----------
    kind
        ``Products``, or ``DeletedProducts``.
    expand
        What is to be told of each: ``Attributes``, ``Assets``.
    search
        Where hits and what was received are counted.

    Raises
    ------
    CatalogueUnavailable
        If there is no answer, or none that is OData.
    IncompleteSearch
        If fewer came than were counted, unless `allow_incomplete`.
    SearchError
        If the catalogue refuses the filter, or more records begin at one instant than can be listed.
    """
    search = Search(iter(())) if search is None else search
    asking = {"$filter": asked, "$orderby": "ContentDate/Start asc", "$top": PAGE}
    answer = _answer(f"{kind}?{urlencode([*asking.items(), ('$count', 'true'), *_expanded(expand)])}", access)
    counted = answer.get("@odata.count")
    if not isinstance(counted, int):
        raise CatalogueUnavailable(f"{_TITLE}: the answer does not count what was found")
    search.hits += counted
    came, skip = 0, 0
    since = latest = None
    there: set[str] = set()  # those of the latest beginning: the next page has them again
    while True:
        for record in answer["value"]:
            search.received += 1
            begins = record["ContentDate"]["Start"]
            if begins != latest:
                latest, there = begins, set()
            if record["Id"] not in there:
                there.add(record["Id"])
                came += 1
                yield record
        if len(answer["value"]) < PAGE:
            break
        skip = skip + PAGE if latest == since else 0
        since = latest
        if skip > DEEPEST:
            raise SearchError(
                f"{_TITLE}: more than {DEEPEST:,} products begin at {since}", hint="narrow the query"
            )
        asking |= {"$skip": skip}
        if since is not None:
            asking |= {"$filter": f"({asked}) and ContentDate/Start ge {since}"}
        answer = _answer(f"{kind}?{urlencode([*asking.items(), *_expanded(expand)])}", access)
    if came < counted and not allow_incomplete:
        raise IncompleteSearch(
            f"{_TITLE}: counted {counted:,} products and delivered {came:,} different ones",
            hint="try again; `allow_incomplete: true` accepts it",
        )


def listed(names: Sequence[str], access: Access, *, expand: Sequence[str] = ()) -> list[Mapping[str, Json]]:
    """The records of the products of these names, in no order; those that there are not are left out.

    Names go in the body of a request, where they may be long and many.

    Raises
    ------
    CatalogueUnavailable
        If there is no answer, or none that is OData.
    IncompleteSearch
        If the catalogue says that there are more.
    SearchError
        If it refuses the names.
    """
    address = urlencode([("$top", PAGE), *_expanded(expand)])
    body = json.dumps({"FilterProducts": [{"Name": name} for name in names]}).encode()
    answer = _answer(f"Products/OData.CSC.FilterList?{address}", access, body)
    if "@odata.nextLink" in answer:
        raise IncompleteSearch(f"{_TITLE}: more than {len(answer['value']):,} products have these names")
    found: list[Mapping[str, Json]] = answer["value"]
    return found


def product(identifier: str, access: Access, *, expand: Sequence[str] = ()) -> Mapping[str, Json] | None:
    """The record of the product with that ``Id``; None where there is none.

    Raises
    ------
    CatalogueUnavailable
        If there is no answer, or none that is OData.
    """
    try:
        return _whole(_read(f"Products({identifier})?{urlencode(_expanded(expand))}", access))
    except NotFound:
        return None
    except TransferError as error:
        raise _failed(error) from error


def _expanded(expand: Sequence[str]) -> list[tuple[str, Json]]:
    return [("$expand", name) for name in expand]


def _answer(path: str, access: Access, content: bytes | None = None) -> dict[str, Json]:
    try:
        answer = _read(path, access, content)
    except TransferError as error:
        raise _failed(error) from error
    found = answer.get("value") if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise _not_odata()
    return {**answer, "value": [_whole(record) for record in found]}


def _failed(error: TransferError) -> SearchError:
    kind = CatalogueUnavailable if error.transient else SearchError
    return kind(f"{_TITLE}: {error.message}", hint=error.hint, retry_after=error.retry_after)


def _read(path: str, access: Access, content: bytes | None = None) -> Json:
    headers = {"Content-Type": "application/json"} if content else None
    try:
        return json.loads(access.read(f"https://{HOST}/odata/v1/{path}", headers=headers, content=content))
    except ValueError:
        raise _not_odata() from None


def _whole(record: Json) -> Mapping[str, Json]:
    """A record that has what every record has.

    Raises
    ------
    CatalogueUnavailable
        If it is none.
    SearchError
        If it is broken.
    """
    if not isinstance(record, dict) or not isinstance(record.get("Name"), str) or not record["Name"]:
        raise _not_odata()
    with reading(_TITLE, lambda: record["Name"]):
        begins = record["ContentDate"]["Start"]
        if begins is not None:
            from_iso(begins)
        if not isinstance(record["Id"], str) or not record["Id"]:
            raise ValueError(f"Id: {record['Id']!r}")
        if not isinstance(size(record), int | None):
            raise TypeError(f"ContentLength: {record['ContentLength']!r}")
        checksums(record)
    return record


def _not_odata() -> CatalogueUnavailable:
    return CatalogueUnavailable(f"{_TITLE}: the answer is not OData")


def size(record: Mapping[str, Json]) -> int | None:
    """Bytes of the file; None where the catalogue does not know: older records say 0."""
    return record.get("ContentLength") or None


def checksums(record: Mapping[str, Json]) -> dict[str, str]:
    """The file's checksums, in lower-case hexadecimal; older records have none."""
    given = {str(item.get("Algorithm")).lower(): item.get("Value") for item in record.get("Checksum") or ()}
    return {name: str(given[name]).lower() for name in ("md5", "blake3") if given.get(name)}


def source(record: Mapping[str, Json]) -> Source:
    """Where the file is to be had."""
    return Source(href=DOWNLOAD.format(id=record["Id"]), auth="cdse")
