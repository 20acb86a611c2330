"""What to do with a response, given what was asked and what is there: the protocol, without any I/O.

The bytes that were asked for (`Asked`), what is known of the part file (`Part`) and the head of a
response (`Head`) go in; one of five decisions comes out: append the body, restart with it, take the
part as done, discard it, or fail with the error that the response is. The rules are RFC 9110's (HTTP
Semantics); each is cited where it is applied.
"""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import TypeAlias

from skystage.errors import (
    Forbidden,
    Interrupted,
    NotFound,
    NotReady,
    RangeNotSatisfiable,
    Refused,
    ServerFault,
    TermsNotAccepted,
    Throttled,
    TransferError,
    Unauthorized,
    WrongBody,
    WrongRange,
)

DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What an earlier try left of one asset.

    Attributes
    ----------
    size
        Bytes from the first on, without a gap.
    validator
        The strong ETag or Last-Modified date that came with them; empty where there was none.
    origin
        The source they came from.
    member
        The name of the member of the zip at the source that they are, packed as they lie there; empty for
        a file of its own.
    total
        The length of the whole file at the source, as the server said.
    later
        Runs of bytes behind a gap, as ``(start, stop)``, in order: several connections brought them.
    """

    size: int = 0
    validator: str = ""
    origin: str = ""
    member: str = ""
    total: int | None = None
    later: tuple[tuple[int, int], ...] = ()

    @property
    def held(self) -> int:
        """Bytes in all."""
        return self.size + sum(stop - start for start, stop in self.later)

    def gaps(self, end: int | None) -> list[tuple[int, int | None]]:
        """What is missing of a file that ends at `end` (None: unknown), as ``(start, stop)``."""
        starts = [self.size, *(stop for _, stop in self.later)]
        stops = [*(start for start, _ in self.later), end]
        return list(zip(starts, stops, strict=True))


@dataclass(frozen=True, slots=True)
class Asked:
    """The bytes of a file at a source that a request asks for; `last` None means to the end."""

    first: int
    last: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The status and headers of a response; header names in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    excerpt: str = ""
    """The first characters of the body, of error responses only."""

    @property
    def length(self) -> int | None:
        """Content-Length, if it is given and a number that a file can have bytes."""
        match = _LENGTH.fullmatch(self.headers.get("content-length", ""))
        return None if match is None else int(match[0])

    @property
    def compressed(self) -> bool:
        """Whether the body is not the file's own bytes (RFC 9110, 8.4)."""
        return self.headers.get("content-encoding", "identity").lower() not in ("", "identity")

    @property
    def validator(self) -> str:
        """What If-Range can be asked with: a strong ETag, else Last-Modified (RFC 9110, 13.1.5).

        A weak ETag does not prove equal bytes, so the date is not used beside one either.
        """
        etag = self.headers.get("etag", "")
        if etag.startswith("W/"):
            return ""
        return etag or self.headers.get("last-modified", "")

    @property
    def filename(self) -> str | None:
        """What the host calls the file in Content-Disposition, if it does (RFC 6266)."""
        message = Message()
        message["Content-Disposition"] = self.headers.get("content-disposition", "")
        return message.get_filename()


@dataclass(frozen=True, slots=True)
class Append:
    """The body continues the part file; the whole file will be `total` bytes."""

    total: int


@dataclass(frozen=True, slots=True)
class Restart:
    """The body is the file from its first byte; `total` is its length where the server says."""

    total: int | None


@dataclass(frozen=True, slots=True)
class Done:
    """The part file is the whole file already."""


@dataclass(frozen=True, slots=True)
class Discard:
    """The part file is no beginning of what the server has: throw it away and ask again in full."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The response is an error."""

    error: TransferError


Decision: TypeAlias = Append | Restart | Done | Discard | Fail


def request_headers(asked: Asked | None, validator: str = "") -> dict[str, str]:
    """The headers that ask for a range of the version with that validator, or for the whole file.

    ``identity``, because a compressed body has other lengths and ranges than the file.
    """
    headers = {"Accept-Encoding": "identity"}
    if asked is not None:
        headers["Range"] = f"bytes={asked.first}-{'' if asked.last is None else asked.last}"
        if validator:
            headers["If-Range"] = validator
    return headers


def usable(part: Part, origin: str, member: str | None, *, proved: bool) -> bool:
    """Whether a part may be continued from `origin`.

    Without a checksum to prove the whole, only with bytes of the same source under the same
    validator: two versions of a file must never be joined.
    """
    if not part.held or part.member != (member or ""):
        return False
    return proved or (part.origin == origin and part.validator != "")


def decide(asked: Asked | None, part: Part, head: Head, *, name: str, proved: bool) -> Decision:
    """Say what a response means for a part file.

    Parameters
    ----------
    asked
        The bytes that were asked for; None for a request without Range.
    part
        The version that they must be of: its validator and length, where they are known.
    head
        The response.
    name
        What to call the asset in an error.
    proved
        Whether a checksum will prove the whole file.
    """
    if head.status == 200:
        # Also the answer to a Range that the server ignores, or whose If-Range no longer holds
        # (RFC 9110, 14.2 and 13.1.5): the body is the whole file, whatever we asked for.
        if (found := page(head, name)) is not None:
            return Fail(found)
        if head.compressed:
            return Fail(WrongBody(f"{name}: the server compressed the body although it was asked not to"))
        return Restart(head.length)
    if head.status == 206:
        return _partial(asked, part, head, name, proved=proved)
    if head.status == 416 and asked is not None and asked.first:
        total = _unsatisfied_length(head)
        # RFC 9110, 15.5.17: a part of the whole length is asked for bytes behind its end.
        # One of several pieces never is; and what was longer before is another version.
        ended = total == asked.first and asked.last is None and part.total in (None, total)
        return Done() if ended and proved else Discard()
    return Fail(failure(head, name))


def _partial(asked: Asked | None, part: Part, head: Head, name: str, *, proved: bool) -> Decision:
    span = content_range(head)
    if head.compressed:
        return Fail(WrongRange(f"{name}: the server compressed a part of the file: its bytes are others"))
    if asked is None or span is None:
        return Fail(WrongRange(f"{name}: a partial answer (206) that does not say which part"))
    first, last, total = span
    if first != asked.first or last != (total - 1 if asked.last is None else asked.last):
        wanted = f"bytes from {asked.first}" if asked.last is None else f"bytes {asked.first} to {asked.last}"
        return Fail(WrongRange(f"{name}: asked for {wanted}, got {first} to {last} of {total}"))
    if head.length is not None and head.length != last - first + 1:
        return Fail(WrongRange(f"{name}: Content-Length and Content-Range contradict each other"))
    # A server that ignores If-Range answers 206 of another version: its validator gives it away.
    changed = part.validator and head.validator and head.validator != part.validator
    if changed or (part.total is not None and total != part.total):
        return Discard()
    if not proved and not (part.validator and head.validator):
        return Discard()
    return Append(total)


def page(head: Head, name: str) -> WrongBody | None:
    """The error that an HTML page with status 200 is, where something else was asked for."""
    if head.status != 200 or "text/html" not in head.headers.get("content-type", "") or name.endswith("html"):
        return None
    return WrongBody(
        f"{name}: an HTML page arrived instead of the file",
        hint="often a log-in, licence or maintenance page: run `skystage doctor`",
    )


def failure(head: Head, name: str) -> TransferError:
    """The typed error that a status without the file's bytes is."""
    status = head.status
    if status == 202:
        return NotReady(
            f"{name}: the archive is still preparing it (202)",
            hint="run it again later: it has been asked for",
            retry_after=retry_after(head),
        )
    said = f": {head.excerpt}" if head.excerpt else ""
    helps = next((_REFUSALS[code] for code in _REFUSALS if code in head.excerpt), None)
    if status == 401 or (status == 403 and helps is not None):
        return Unauthorized(
            f"{name}: the host refused the credentials ({status}){said}", hint=helps or _WHICH
        )
    if status == 403:
        page = _resolution_url(head)
        if page or "eula" in head.excerpt.lower():
            return TermsNotAccepted(
                f"{name}: licence terms are not accepted yet (403)",
                hint=f"accept them once at {page or 'the archive, logged in with this account'}",
            )
        return Forbidden(f"{name}: the host does not allow it (403){said}")
    if status in (404, 410):
        return NotFound(
            f"{name}: not there ({status})", hint="it may have been withdrawn: make the plan again"
        )
    if status == 416:
        return RangeNotSatisfiable(f"{name}: the file ends before the range asked for (416)")
    if status == 429:
        return Throttled(f"{name}: too many requests (429){said}", retry_after=retry_after(head))
    if status in (408, 425):
        return Interrupted(f"{name}: the server did not take the request in time ({status})")
    if status >= 500:
        return ServerFault(f"{name}: the server failed ({status})", retry_after=retry_after(head))
    return Refused(f"{name}: refused ({status}){said}")


_WHICH = "run `skystage doctor` to see which are used, and from where"
_KEYS = f"the access key is not known, or its secret is another: {_WHICH}"
_REFUSALS = {
    "DAT-ZIP-109": "the token has expired: one in CDSE_TOKEN lives for ten minutes; a user name and password "
    "bring others",
    "DAT-ZIP-604": "the host does not know the token: CDSE_TOKEN must be one of the Copernicus Data Space",
    "DAT-ZIP-609": "the client of CDSE_CLIENT_ID may not download, as those of Sentinel Hub may not: set "
    "CDSE_USERNAME and CDSE_PASSWORD instead",
    "InvalidAccessKeyId": _KEYS,
    "SignatureDoesNotMatch": _KEYS,
}
"""What helps, by the code that the Copernicus Data Space gives to a 401, and S3 to a 403."""


def retry_after(head: Head, now: float | None = None) -> float | None:
    """Seconds that Retry-After asks to wait: a number or a date (RFC 9110, 10.2.3).

    A day at most: all processes keep to it, and a slip there must not close a host for years.
    """
    text = head.headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isdecimal():
        return min(float(text), DAY)
    try:
        moment = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, moment - (time.time() if now is None else now)), DAY)


# Of at most 18 digits: offsets are of 64 bits, and what is longer is no length but a fault.
_LENGTH = re.compile(r"\d{1,18}")
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_UNSATISFIED = re.compile(r"bytes \*/(\d{1,18})")


def content_range(head: Head) -> tuple[int, int, int] | None:
    """First byte, last byte and whole length that a 206 says it is; None where it does not say.

    What it says must be possible (RFC 9110, 14.4).
    """
    match = _RANGE.fullmatch(head.headers.get("content-range", "").strip())
    if match is None:
        return None
    first, last, total = map(int, match.groups())
    return (first, last, total) if first <= last < total else None


def _unsatisfied_length(head: Head) -> int | None:
    match = _UNSATISFIED.fullmatch(head.headers.get("content-range", "").strip())
    return None if match is None else int(match[1])


def _resolution_url(head: Head) -> str:
    # Earthdata hosts say where the terms are: in a JSON body.
    try:
        data = json.loads(head.excerpt)
    except ValueError:
        return ""
    page = data.get("resolution_url", "") if isinstance(data, dict) else ""
    return page if isinstance(page, str) else ""
