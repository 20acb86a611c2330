"""S3: public buckets under all names that Amazon gives them, and what all buckets do alike.

A `Bucket` is read by anybody: listings in both versions (``ListObjects``, ``ListObjectsV2``), 1000 keys a
page; GET and HEAD of objects with ranges and validators. One whose readers pay is read by who signs and says
so (AWS: Using Requester Pays buckets), and by nobody else. Nothing can be written.
"""

from __future__ import annotations

import base64
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote, unquote_plus
from xml.sax.saxutils import escape

from skystage.sandbox.accounts import AWS_KEY, AWS_SECRET
from skystage.sandbox.files import Content
from skystage.sandbox.messages import Reply, Request, Service, text_reply
from skystage.sandbox.ranges import etag, serve

HOME = "us-east-1"
"""The region of the address without one."""
_MOST_KEYS = 1000
OWNER = "<Owner><ID>" + "0" * 64 + "</ID><DisplayName>sandbox</DisplayName></Owner>"
_CREDENTIAL = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([^/]+)/s3/aws4_request")


@dataclass
class Bucket:
    """A public bucket.

    Parameters
    ----------
    name, region
        As in its addresses.
    objects
        By key; to be filled before the first request.
    requester_pays
        Whether who reads pays: for requests that are signed and say ``x-amz-request-payer: requester``.
    entry
        Writes the ``<Contents>`` of a key in a listing: see `listing`.
    """

    name: str
    region: str
    objects: Mapping[str, Content]
    requester_pays: bool = False
    entry: Callable[[str, str, bool], str] | None = field(default=None, repr=False)

    @cached_property
    def headers(self) -> list[tuple[str, str]]:
        """What each of its replies says."""
        charged = [("x-amz-request-charged", "requester")] if self.requester_pays else []
        return [("Server", "AmazonS3"), ("x-amz-bucket-region", self.region), *charged]

    @cached_property
    def _keys(self) -> list[str]:
        # S3 sorts by the bytes of UTF-8.
        return sorted(self.objects, key=str.encode)

    def answer(self, request: Request) -> Reply:
        """Answer where the host is the bucket."""
        return self.give(request, _written(request))

    def give(self, request: Request, key: str) -> Reply:
        """Answer for a key; without one, for the bucket itself."""
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        if request.method not in ("GET", "HEAD"):
            return error(403, "AccessDenied", "Access Denied", key, self.headers)
        if not key:
            asked = dict(request.parameters)
            return Reply(200, self.headers) if request.method == "HEAD" else self._list(asked)
        content = self.objects.get(key)
        if content is None:
            return error(404, "NoSuchKey", "The specified key does not exist.", key, self.headers)
        return serve(request, content, self.headers)

    def _refusal(self, request: Request) -> Reply | None:
        """What is wrong with a request's signature, or with its lack of one."""
        headers = [("Server", "AmazonS3"), ("x-amz-bucket-region", self.region)]
        said = request.headers.get("authorization")
        match = _CREDENTIAL.match(said or "")
        if said is not None and match is None:
            return error(400, "InvalidArgument", "Unsupported Authorization Type", "", headers)
        if match is not None:
            if match[1] != AWS_KEY:
                text = "The AWS Access Key Id you provided does not exist in our records."
                return error(403, "InvalidAccessKeyId", text, "", headers)
            if match[2] != self.region:
                text = f"the region '{match[2]}' is wrong; expecting '{self.region}'"
                return error(400, "AuthorizationHeaderMalformed", text, "", headers)
            if not signed(request, AWS_KEY, AWS_SECRET, None, self.region):
                text = "The request signature does not match"
                return error(403, "SignatureDoesNotMatch", text, "", headers)
        pays = match is not None and request.headers.get("x-amz-request-payer") == "requester"
        if self.requester_pays and not pays:
            return error(403, "AccessDenied", "Access Denied", "", headers)
        return None

    def _list(self, asked: dict[str, str]) -> Reply:
        if "location" in asked:
            # The oldest region has no name here.
            region = "" if self.region == HOME else self.region
            body = f"<LocationConstraint {_NAMESPACE}>{region}</LocationConstraint>"
            return text_reply(200, _DECLARATION + body, "application/xml", dict(self.headers))
        return listing(
            self.name,
            asked,
            lambda after: self._keys[bisect_right(self._keys, after.encode(), key=str.encode) :],
            self.entry or self._entry,
            self.headers,
        )

    def _entry(self, key: str, shown: str, owner: bool) -> str:  # noqa: FBT001 - as `listing` calls it
        content = self.objects[key]
        by = OWNER if owner else ""
        return (
            f"<Contents><Key>{shown}</Key><LastModified>{content.modified:%Y-%m-%dT%H:%M:%S}.000Z</LastModified>"
            f"<ETag>{escape(etag(content))}</ETag><Size>{content.size}</Size>{by}"
            "<StorageClass>STANDARD</StorageClass></Contents>"
        )


def hosts_of(buckets: Iterable[Bucket]) -> dict[str, Service]:
    """The hosts of buckets: those that are a bucket, and those with the bucket in the path."""
    held = {bucket.name: bucket for bucket in buckets}
    table: dict[str, Service] = {"s3.amazonaws.com": _ByPath(held, HOME).answer}
    for bucket in held.values():
        table[f"{bucket.name}.s3.amazonaws.com"] = bucket.answer
        for shop in _shops(bucket.region):
            table[f"{bucket.name}.{shop}"] = bucket.answer
            table[shop] = _ByPath(held, bucket.region).answer
    return table


def _shops(region: str) -> tuple[str, ...]:
    """The names of S3 in a region: today's, the old one with a dash, and the one for IPv6 too."""
    return tuple(
        f"{name}.amazonaws.com" for name in (f"s3.{region}", f"s3-{region}", f"s3.dualstack.{region}")
    )


def _written(request: Request) -> str:
    """What is written in the path: as in a form, a plus is a space."""
    return unquote_plus(request.raw_path.removeprefix("/"))


class _ByPath:
    """The hosts of one region that have the bucket in the path."""

    def __init__(self, held: Mapping[str, Bucket], region: str) -> None:
        self._held = held
        self._region = region

    def answer(self, request: Request) -> Reply:
        """Answer where the first part of the path is the bucket."""
        name, _, key = _written(request).partition("/")
        bucket = self._held.get(name)
        if bucket is None:
            return error(404, "NoSuchBucket", "The specified bucket does not exist", name)
        if bucket.region != self._region:
            # There is no Location: clients take the region and build the address anew.
            text = "The bucket you are attempting to access must be addressed using the specified endpoint."
            return error(301, "PermanentRedirect", text, name, bucket.headers)
        return bucket.give(request, key)


def listing(
    bucket: str,
    asked: Mapping[str, str],
    keys_after: Callable[[str], Iterable[str]],
    entry: Callable[[str, str, bool], str],
    headers: Sequence[tuple[str, str]],
) -> Reply:
    """A page of a bucket's keys, in the version of the protocol that is asked for.

    Parameters
    ----------
    keys_after
        Gives the keys behind one, in order.
    entry
        Writes the ``<Contents>`` of a key, from the key, the key as it is to be shown, and whether the owner
        is to be named.
    """
    second = asked.get("list-type") == "2"
    try:
        most = min(int(asked.get("max-keys", _MOST_KEYS)), _MOST_KEYS)
    except ValueError:
        return error(400, "InvalidArgument", "Provided max-keys not an integer", "", headers)
    prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
    after = _after(asked) if second else asked.get("marker", "")
    keys, groups, last, more = _page(keys_after(after), prefix, delimiter, after, most)
    code = (lambda text: quote(text, safe="/")) if asked.get("encoding-type") == "url" else escape
    fields = [("Name", bucket), ("Prefix", code(prefix))]
    if second:
        fields += [("StartAfter", code(asked["start-after"]))] if "start-after" in asked else []
        token = asked.get("continuation-token")
        fields += [("ContinuationToken", escape(token))] if token else []
        fields += [("NextContinuationToken", base64.b64encode(last.encode()).decode())] if more else []
        fields.append(("KeyCount", str(len(keys) + len(groups))))
    else:
        fields.append(("Marker", code(after)))
        # Only with a delimiter does S3 name the next marker; else it is the last key.
        fields += [("NextMarker", code(last))] if more and delimiter else []
    fields.append(("MaxKeys", str(most)))
    fields += [("Delimiter", code(delimiter))] if delimiter else []
    fields += [("EncodingType", "url")] if "encoding-type" in asked else []
    fields.append(("IsTruncated", "true" if more else "false"))
    body = "".join(f"<{name}>{value}</{name}>" for name, value in fields)
    body += "".join(entry(key, code(key), not second) for key in keys)
    body += "".join(f"<CommonPrefixes><Prefix>{code(group)}</Prefix></CommonPrefixes>" for group in groups)
    text = f"{_DECLARATION}<ListBucketResult {_NAMESPACE}>{body}</ListBucketResult>"
    return text_reply(200, text, "application/xml", dict(headers))


def _page(
    behind: Iterable[str], prefix: str, delimiter: str, after: str, most: int
) -> tuple[list[str], list[str], str, bool]:
    """Keys, common prefixes, the last of both, and whether there are more."""
    keys: list[str] = []
    groups: list[str] = []
    last = after
    for key in behind:
        if not key.startswith(prefix):
            continue
        head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
        group = prefix + head + found if found else ""
        if group and (group in groups or (after and after.startswith(group))):
            continue
        if len(keys) + len(groups) >= most:
            return keys, groups, last, True
        if group:
            groups.append(group)
        else:
            keys.append(key)
        last = group or key
    return keys, groups, last, False


def signed(request: Request, key: str, secret: str, token: str | None, region: str) -> bool:
    """Whether a request has the signature that botocore would give it."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    authorization = request.headers.get("authorization", "")
    match = _SIGNED_HEADERS.search(authorization)
    names = [name for name in (match[1].split(";") if match else ()) if name != "host"]
    if any(name.startswith("x-amz-") and name not in names for name in request.headers):
        return False
    again = AWSRequest(
        method=request.method,
        url=f"https://{request.host}{request.target}",
        headers={name: request.headers.get(name, "") for name in names},
    )
    again.context["timestamp"] = request.headers.get("x-amz-date", "")
    signer = S3SigV4Auth(Credentials(key, secret, token), "s3", region)
    asked = signer.string_to_sign(again, signer.canonical_request(again))
    return authorization.endswith(f"Signature={signer.signature(asked, again)}")


_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_SERVER = ("Server", "AmazonS3")
_SIGNED_HEADERS = re.compile(r"SignedHeaders=([^,\s]*)")


def _after(asked: Mapping[str, str]) -> str:
    token = asked.get("continuation-token")
    if not token:
        return asked.get("start-after", "")
    try:
        return base64.b64decode(token, validate=True).decode()
    except ValueError:
        return ""


def error(
    status: int, code: str, message: str, resource: str, headers: Sequence[tuple[str, str]] = (_SERVER,)
) -> Reply:
    """What S3 says when it does not give what is asked for."""
    text = (
        f"{_DECLARATION}<Error><Code>{code}</Code><Message>{message}</Message>"
        f"<Key>{escape(resource)}</Key><RequestId>SANDBOX</RequestId></Error>"
    )
    return text_reply(status, text, "application/xml", dict(headers))
