"""Addresses of objects in S3: the many spellings of one bucket and key, read and written.

Catalogues name one object as ``s3://bucket/key``, as ``https://bucket.s3.us-west-2.amazonaws.com/key``,
with a dash before the region, with the bucket in the path, and so on ("Methods for accessing a bucket" and
"Legacy endpoints" in the S3 user guide). What is read here is listed for other tools, or asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote_plus, urlsplit

SCHEME = "s3://"
_FIRST = "us-east-1"
_REGION = r"[a-z]{2}(?:-[a-z]+)+-\d"
_HOST = re.compile(
    rf"(?:(?P<bucket>.+)\.)?s3"
    rf"(?:(?P<first>-external-1)|-accelerate(?:\.dualstack)?|(?:-fips)?(?:(?:\.dualstack)?[.-](?P<region>{_REGION}))?)"
    rf"\.amazonaws\.com(?:\.cn)?"
)
_ACCESS_POINT = re.compile(
    rf".+\.s3-accesspoint(?:-fips)?(?:\.dualstack)?\.{_REGION}\.amazonaws\.com(?:\.cn)?"
)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
"""A bucket whose name one wildcard certificate covers: one label of a host's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Object:
    """An object in a bucket of Amazon's S3.

    Attributes
    ----------
    key
        As it is, nothing quoted.
    region
        Where the bucket is, if the address says so.
    version
        One version of the object, if the address says so (``versionId``); else the latest.
    """

    bucket: str
    key: str
    region: str | None = None
    version: str | None = None

    @property
    def uri(self) -> str:
        """``s3://bucket/key``: it has no word for a region or a version."""
        return f"{SCHEME}{self.bucket}/{self.key}"


def parse(href: str) -> S3Object | None:
    """The object at an address; None for an address of anything else.

    Parameters
    ----------
    href
        ``s3://`` or ``https://``. In an ``s3://`` address nothing is quoted, and a key may hold ``?`` and
        ``#``. In the path of the others a plus is a space, as S3 itself reads it.
    """
    if href.startswith(SCHEME):
        bucket, _, key = href.removeprefix(SCHEME).partition("/")
        return S3Object(bucket=bucket, key=key) if bucket and key else None
    try:
        parts = urlsplit(href)
        host = _HOST.fullmatch(parts.hostname or "")
        path = unquote_plus(parts.path, errors="strict").removeprefix("/")
    except ValueError:  # a host that is none, or a key that is no text
        return None
    if parts.scheme not in ("http", "https") or host is None:
        return None
    bucket, key = host["bucket"], path
    if bucket is None:
        bucket, _, key = path.partition("/")
    if not bucket or not key:
        return None
    region = _FIRST if host["first"] else host["region"]
    version = dict(parse_qsl(parts.query)).get("versionId")
    return S3Object(bucket=bucket, key=key, region=region, version=version)


def is_host(host: str) -> bool:
    """Whether a host, in lower case, is one of S3's own; not those of AWS where anybody's program answers."""
    return _HOST.fullmatch(host) is not None or _ACCESS_POINT.fullmatch(host) is not None


def https(found: S3Object, endpoint: str | None = None) -> str:
    """The address that serves an object.

    A bucket that is no single label (it has dots, or capitals as some of the first ones) goes into the path,
    because no wildcard certificate covers its host.

    Parameters
    ----------
    endpoint
        Another server that speaks S3, which has the bucket in the path.
    """
    key = quote(found.key, safe="/~")
    version = "" if found.version is None else f"?versionId={quote(found.version, safe='')}"
    place = f".{found.region}" if found.region else ""
    china = ".cn" if (found.region or "").startswith("cn-") else ""
    host = f"s3{place}.amazonaws.com{china}"
    if endpoint is not None:
        return f"{endpoint.rstrip('/')}/{found.bucket}/{key}{version}"
    if _LABEL.fullmatch(found.bucket):
        return f"https://{found.bucket}.{host}/{key}{version}"
    return f"https://{host}/{found.bucket}/{key}{version}"
