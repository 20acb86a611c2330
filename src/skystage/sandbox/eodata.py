"""The object store of the Copernicus Data Space: the files of its products, one by one.

One bucket, named in the path. Requests are signed with the account's own keys (AWS signature version 4, any
region). What is offline is not there, nor are products that the sandbox has only as a zip. Objects were put
in parts, so that their ETags are no MD5s.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from functools import cached_property
from xml.sax.saxutils import escape

from skystage.sandbox.accounts import S3_KEY, S3_SECRET
from skystage.sandbox.buckets import error, listing, signed
from skystage.sandbox.copernicus import Product
from skystage.sandbox.files import Content
from skystage.sandbox.messages import Reply, Request
from skystage.sandbox.ranges import etag, serve

HOST = "eodata.dataspace.copernicus.eu"
BUCKET = "eodata"
_A_MINUTE = 2000
"""Requests that an account has in a minute (CDSE documentation, quotas)."""
_CREDENTIAL = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([^/]+)/s3/aws4_request")


class Eodata:
    """The bucket and who may read it."""

    def __init__(self, held: Mapping[str, Product]) -> None:
        self._held = held
        self._asked: deque[float] = deque()
        self._lock = threading.Lock()

    @cached_property
    def _products(self) -> Mapping[str, Product]:
        """What is there by its path in the bucket: with a slash for a folder, which so sorts as its keys."""
        found = {
            one.s3_path.removeprefix(f"/{BUCKET}/") + ("/" if one.files else ""): one
            for one in self._held.values()
            if one.online and (one.files or not one.name.endswith(".SAFE"))
        }
        return dict(sorted(found.items()))

    def answer(self, request: Request) -> Reply:
        """Answer for the store's host."""
        headers = self._count()
        bucket, _, key = request.path.removeprefix("/").partition("/")
        refusal = _refusal(request)
        if refusal is not None:
            return error(403, *refusal, request.path, headers)
        if bucket != BUCKET:
            return error(404, "NoSuchBucket", "The specified bucket does not exist", bucket, headers)
        if request.method not in ("GET", "HEAD"):
            return error(403, "AccessDenied", "Access Denied", key, headers)
        if not key and request.method == "HEAD":
            return Reply(200, headers)
        if not key:
            asked = dict(request.parameters)
            prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
            return listing(
                BUCKET, asked, lambda after: self._keys(prefix, delimiter, after), self._entry, headers
            )
        content = self._find(key)
        if content is None:
            return error(404, "NoSuchKey", "The specified key does not exist.", key, headers)
        return serve(request, content, headers, parts=True)

    def _count(self) -> list[tuple[str, str]]:
        """What each reply says of the minute's requests."""
        now = time.monotonic()
        with self._lock:
            while self._asked and self._asked[0] < now - 60:
                self._asked.popleft()
            self._asked.append(now)
            left, again = max(_A_MINUTE - len(self._asked), 0), int(self._asked[0] + 60 - now)
        return [
            ("x-ratelimit-limit", f"{_A_MINUTE}, {_A_MINUTE};w=60"),
            ("x-ratelimit-remaining", str(left)),
            ("x-ratelimit-reset", str(again)),
        ]

    def _find(self, key: str) -> Content | None:
        folder, inside, path = key.partition(".SAFE/")
        product = self._products.get(folder + inside)
        if product is None:
            return None
        return product.files.get(path) if inside else product.content

    def _keys(self, prefix: str, delimiter: str, after: str) -> Iterator[str]:
        """The keys behind one, in order: of folders that a delimiter hides, only the first."""
        for folder, product in self._products.items():
            if not (folder.startswith(prefix) or prefix.startswith(folder)) or folder + "\uffff" < after:
                continue
            if delimiter and delimiter in folder[len(prefix) :]:
                yield folder
            else:
                keys = (folder + path for path in sorted(product.files)) if product.files else (folder,)
                yield from (key for key in keys if key > after)

    def _entry(self, key: str, shown: str, owner: bool) -> str:  # noqa: FBT001 - as `listing` calls it
        content = self._find(key)
        assert content is not None  # noqa: S101 - it is one of the keys above
        by = "<Owner><ID>eodata</ID><DisplayName>eodata</DisplayName></Owner>" if owner else ""
        return (
            f"<Contents><Key>{shown}</Key><LastModified>{content.modified:%Y-%m-%dT%H:%M:%S}.000Z</LastModified>"
            f"<ETag>{escape(etag(content, parts=True))}</ETag><Size>{content.size}</Size>{by}"
            "<StorageClass>STANDARD</StorageClass></Contents>"
        )


def _refusal(request: Request) -> tuple[str, str] | None:
    """Code and text of why a request may not read, if it may not."""
    match = _CREDENTIAL.match(request.headers.get("authorization", ""))
    if match is None:
        return "AccessDenied", "Access Denied"
    if match[1] != S3_KEY:
        return "InvalidAccessKeyId", "The access key id does not exist"
    if not signed(request, S3_KEY, S3_SECRET, None, match[2]):
        return "SignatureDoesNotMatch", "The request signature does not match"
    return None
