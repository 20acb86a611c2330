"""The OData catalogue of the Copernicus Data Space: all pages of an answer, and what records say of files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from skystage.errors import CatalogueUnavailable
from skystage.model import Json, Source

if TYPE_CHECKING:
    from skystage.transport import Access

HOST = "catalogue.dataspace.copernicus.eu"
PRODUCTS = f"https://{HOST}/odata/v1/Products"
DOWNLOAD = "https://zipper.dataspace.copernicus.eu/odata/v1/Products({id})/$value"
"""Not the catalogue's own address of the file: that redirects, and clients lose the token on the way."""
PAGE = 1000


def records(asked: str, access: Access) -> Iterator[Mapping[str, Json]]:
    """The records that a ``$filter`` finds, in order of their beginning.

    Raises
    ------
    CatalogueUnavailable
        If the answer is no OData.
    TransferError
        If there is none.
    """
    skip = 0
    while True:
        page = {"$filter": asked, "$orderby": "ContentDate/Start asc", "$top": PAGE, "$skip": skip}
        try:
            found = json.loads(access.read(f"{PRODUCTS}?{urlencode(page)}"))["value"]
            named = all(isinstance(record["Name"], str) and record["Id"] for record in found)
        except (ValueError, KeyError, TypeError):
            named = False
        if not named:
            raise CatalogueUnavailable("Copernicus Data Space: the answer is not OData")
        yield from found
        skip += PAGE
        if len(found) < PAGE:
            return


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
