"""NASA's Common Metadata Repository: granule searches, evaluated for real.

Parameters arrive in the URL or as a form. What this module does not know is refused as CMR
refuses it, so that a client's misspelt criterion is found here and not in production.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from skystage.sandbox.accounts import EARTHDATA
from skystage.sandbox.catalogue import Granule
from skystage.sandbox.cmr_query import BadQuery, Criteria, matches
from skystage.sandbox.messages import Reply, Request, Service, json_reply
from skystage.sandbox.world import World

HOST = "cmr.earthdata.nasa.gov"
_KIND = "application/vnd.nasa.cmr.umm_results+json;version=1.6.6; charset=utf-8"
_EXPOSED = "CMR-Hits, CMR-Request-Id, X-Request-Id, CMR-Scroll-Id, CMR-Search-After, CMR-Timed-Out"


def hosts(world: World) -> dict[str, Service]:
    """CMR's host."""
    return {HOST: lambda request: _answer(world, request)}


def _answer(world: World, request: Request) -> Reply:
    if request.bearer is not None and world.accounts.alive(EARTHDATA, "access", request.bearer) is None:
        return json_reply(401, {"errors": ["Token does not exist"]})
    path = request.path.rstrip("/")
    if path == "/search/health":
        return json_reply(200, {"ok?": True})
    if path not in ("/search/granules.umm_json", "/search/collections.umm_json", "/search/collections"):
        return json_reply(404, {"errors": [f"{path} is not served by the sandbox"]})
    try:
        criteria = Criteria.read([*request.parameters, *(request.form if request.method == "POST" else [])])
        if path == "/search/granules.umm_json":
            return _granules(world.catalogue.granules, criteria, request.headers.get("cmr-search-after"))
        return _collections(world.catalogue.granules, criteria)
    except BadQuery as error:
        return json_reply(400, {"errors": [str(error)]})


def _granules(granules: Sequence[Granule], criteria: Criteria, search_after: str | None) -> Reply:
    order = _order(criteria.sort_keys)
    found = sorted((granule for granule in granules if matches(granule, criteria)), key=order)
    page = found
    if search_after:
        try:
            last = _rank(criteria.sort_keys, json.loads(search_after))
            page = [granule for granule in found if last < order(granule)]
        except (ValueError, TypeError):
            raise BadQuery("The search-after header is not valid") from None
    elif criteria.offset:
        page = found[criteria.offset :]
    page = page[: criteria.page_size]
    body = b'{"hits":%d,"took":5,"items":[%b]}' % (len(found), b",".join(granule.json for granule in page))
    after = json.dumps(_values(criteria.sort_keys, page[-1]), separators=(",", ":")) if page else None
    return _reply(body, len(found), after)


def _collections(granules: Sequence[Granule], criteria: Criteria) -> Reply:
    wanted = {name.lower() for name in criteria.values("short_name")}
    seen: dict[str, dict[str, Any]] = {}
    for granule in granules:
        if wanted and granule.short_name.lower() not in wanted:
            continue
        record = seen.setdefault(
            granule.short_name,
            {
                "meta": {
                    "concept-type": "collection",
                    "concept-id": granule.collection_id or f"C{len(seen) + 1}-ASF",
                    "native-id": granule.short_name,
                    "provider-id": granule.provider,
                    "granule-count": 0,
                },
                "umm": {
                    "ShortName": granule.short_name,
                    "Version": "1",
                    "AdditionalAttributes": [
                        {"Name": name, "Description": name, "DataType": "STRING"}
                        for name in granule.attributes
                    ],
                },
            },
        )
        record["meta"]["granule-count"] += 1
    items = list(seen.values())[: criteria.page_size]
    return _reply(json.dumps({"hits": len(seen), "took": 5, "items": items}).encode(), len(seen), None)


def _reply(body: bytes, hits: int, search_after: str | None) -> Reply:
    identifier = str(uuid.uuid4())
    fields = [
        ("Content-Type", _KIND),
        ("Access-Control-Expose-Headers", _EXPOSED),
        ("CMR-Hits", str(hits)),
        ("CMR-Took", "5"),
        ("CMR-Request-Id", identifier),
        ("X-Request-Id", identifier),
        ("Content-MD5", hashlib.md5(body, usedforsecurity=False).hexdigest()),
        ("Content-SHA1", hashlib.sha1(body, usedforsecurity=False).hexdigest()),
    ]
    if search_after is not None:
        fields.append(("CMR-Search-After", search_after))
    return Reply(200, fields, body)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _milliseconds(moment: datetime) -> int:
    # Recorded search-after values are cut to whole seconds.
    return int((moment - _EPOCH).total_seconds()) * 1000


_SORTS: dict[str, Callable[[Granule], Any]] = {
    "end_date": lambda granule: _milliseconds(granule.end),
    "start_date": lambda granule: _milliseconds(granule.start),
    "revision_date": lambda granule: _milliseconds(granule.revised),
    "granule_ur": lambda granule: granule.granule_ur.lower(),
    "readable_granule_name": lambda granule: granule.granule_ur.lower(),
    "producer_granule_id": lambda granule: granule.names[-1].lower(),
    "provider": lambda granule: granule.provider.lower(),
    "short_name": lambda granule: granule.short_name.lower(),
}


def _values(sort_keys: Sequence[str], granule: Granule) -> list[Any]:
    """What the search-after header says of the last granule of a page."""
    for key in sort_keys:
        if key.lstrip("+-") not in _SORTS:
            raise BadQuery(f"The sort key [{key}] is not a valid field for sorting granules.")
    return [*(_SORTS[key.lstrip("+-")](granule) for key in sort_keys), granule.number]


def _order(sort_keys: Sequence[str]) -> Callable[[Granule], tuple[Any, ...]]:
    return lambda granule: _rank(sort_keys, _values(sort_keys, granule))


def _rank(sort_keys: Sequence[str], values: Sequence[Any]) -> tuple[Any, ...]:
    # The last value, the granule's number, has no key of its own and always rises.
    pairs = zip((*sort_keys, "number"), values, strict=True)
    return tuple(_Reverse(value) if key.startswith("-") else value for key, value in pairs)


class _Reverse:
    """A value that sorts the other way round, be it text or number."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: _Reverse) -> bool:
        return bool(other.value < self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reverse) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash(self.value)
