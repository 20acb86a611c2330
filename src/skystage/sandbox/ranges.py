"""Serving a content as object stores do: ranges, HEAD, validators (RFC 9110, sections 8.8, 13 and 14)."""

from __future__ import annotations

import hashlib
import re
from email.utils import format_datetime, parsedate_to_datetime

from skystage.sandbox.files import Changed, Content
from skystage.sandbox.messages import Reply, Request, Slice

_RANGE = re.compile(r"bytes=(\d*)-(\d*)$")


def etag(content: Content, *, changed: bool = False, parts: bool = False) -> str:
    """The strong validator, as S3 makes it: the MD5, or of what was put in parts the MD5 of their MD5s."""
    md5 = content.md5[::-1] if changed else content.md5
    if parts:
        md5 = f"{hashlib.md5(bytes.fromhex(md5), usedforsecurity=False).hexdigest()}-1"
    return f'"{md5}"'


def serve(
    request: Request,
    content: Content,
    headers: list[tuple[str, str]] | None = None,
    *,
    parts: bool = False,
) -> Reply:
    """Answer a GET or HEAD for a content.

    One range, a suffix or an open one gives 206; several ranges give all of it, as S3 does;
    HEAD ignores ranges. ``If-Range`` decides between 206 and 200.
    """
    if request.effects.content == "other":
        content = Changed(content)
    changed = request.effects.validator == "change" and request.effects.content != "other"
    tag = etag(content, changed=changed, parts=parts)
    fields = [
        ("Content-Type", content.media_type),
        ("Accept-Ranges", "bytes"),
        ("ETag", tag),
        ("Last-Modified", format_datetime(content.modified, usegmt=True)),
        *(headers or []),
    ]
    wanted = request.headers.get("if-match")
    if wanted is not None and not _listed(wanted, tag):
        return Reply(412, [("ETag", tag)])
    unwanted = request.headers.get("if-none-match")
    if unwanted is not None and _listed(unwanted, tag):
        return Reply(304, [("ETag", tag)])
    # Overlooked here, and not taken off the request: it may be signed.
    span = "" if request.effects.ignore_range else request.headers.get("range", "")
    asked = _RANGE.match(span.replace(" ", ""))
    if request.method == "HEAD" or asked is None or asked[0] == "bytes=-" or not _same(request, content, tag):
        return Reply(200, fields, Slice(content, 0, content.size))
    bounds = _bounds(asked[1], asked[2], content.size)
    if bounds is None:
        fields = [("Content-Type", "application/xml"), ("Content-Range", f"bytes */{content.size}")]
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>InvalidRange</Code><Message>'
            "The requested range is not satisfiable</Message></Error>"
        )
        return Reply(416, fields, body.encode())
    start, stop = bounds
    fields.append(("Content-Range", f"bytes {start}-{stop - 1}/{content.size}"))
    return Reply(206, fields, Slice(content, start, stop))


def _listed(header: str, tag: str) -> bool:
    return header.strip() == "*" or tag in (part.strip() for part in header.split(","))


def _same(request: Request, content: Content, tag: str) -> bool:
    condition = request.headers.get("if-range")
    if condition is None:
        return True
    if condition.startswith(('"', "W/")):
        return condition == tag
    try:
        # RFC 9110, 13.1.5: a date must match exactly.
        return parsedate_to_datetime(condition) == content.modified.replace(microsecond=0)
    except ValueError:
        return False


def _bounds(first: str, last: str, size: int) -> tuple[int, int] | None:
    if not first:
        length = min(int(last), size)
        return (size - length, size) if length else None
    start = int(first)
    stop = min(int(last) + 1, size) if last else size
    if start >= size or stop <= start:
        return None
    return start, stop
