"""Buckets: ASF's public mirror of the Sentinel-1 orbit files, and its own for those who compute beside it.

The mirror is there by every name that S3 gives it, with listings in both versions (``ListObjects``,
``ListObjectsV2``), 1000 keys a page; GET and HEAD of objects with ranges. ASF's own buckets want requests
signed with the keys that its log-in gives. Nothing can be written.
"""

from __future__ import annotations

import base64
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from urllib.parse import quote
from xml.sax.saxutils import escape

from skystage.sandbox.accounts import EARTHDATA
from skystage.sandbox.asf import BUCKET_KEY, BUCKETS, bucket_secret
from skystage.sandbox.catalogue import Catalogue, OrbitFile
from skystage.sandbox.messages import Reply, Request, Service, text_reply
from skystage.sandbox.ranges import serve
from skystage.sandbox.world import World

ORBITS = "s1-orbits"
REGION = "us-west-2"
_MOST_KEYS = 1000
_OWNER = "<Owner><ID>" + "0" * 64 + "</ID><DisplayName>sandbox</DisplayName></Owner>"
_HEADERS = [("Server", "AmazonS3"), ("x-amz-bucket-region", REGION)]


def hosts(world: World) -> dict[str, Service]:
    """The bucket's own hosts, and those with the bucket in the path."""
    bucket = _Bucket(world.catalogue)
    direct, by_path = bucket.answer, bucket.answer_by_path
    own = _OwnBuckets(world)
    return {
        **{f"{name}.s3.{REGION}.amazonaws.com": own.answer for name in BUCKETS.values()},
        f"{ORBITS}.s3.amazonaws.com": direct,
        f"{ORBITS}.s3.{REGION}.amazonaws.com": direct,
        "s3.amazonaws.com": by_path,
        f"s3.{REGION}.amazonaws.com": by_path,
    }


class _Bucket:
    """The bucket of the orbit files."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._orbits = catalogue.orbits
        self._keys = sorted(catalogue.orbits)

    def answer_by_path(self, request: Request) -> Reply:
        """Answer where the first part of the path is the bucket."""
        bucket, _, key = request.path.lstrip("/").partition("/")
        if bucket != ORBITS:
            return error(404, "NoSuchBucket", "The specified bucket does not exist", bucket)
        return self._answer(request, key)

    def answer(self, request: Request) -> Reply:
        """Answer where the host is the bucket."""
        return self._answer(request, request.path[1:])

    def _answer(self, request: Request, key: str) -> Reply:
        if request.method not in ("GET", "HEAD"):
            return error(403, "AccessDenied", "Access Denied", key)
        if not key:
            return Reply(200, _HEADERS) if request.method == "HEAD" else self._list(dict(request.parameters))
        orbit = self._orbits.get(key)
        if orbit is None:
            return error(404, "NoSuchKey", "The specified key does not exist.", key)
        return serve(request, orbit.content, _HEADERS)

    def _list(self, asked: dict[str, str]) -> Reply:
        if "location" in asked:
            body = f"<LocationConstraint {_NAMESPACE}>{REGION}</LocationConstraint>"
            return text_reply(200, _DECLARATION + body, "application/xml")

        def entry(key: str, shown: str, owner: bool) -> str:  # noqa: FBT001 - as `listing` calls it
            return _entry(self._orbits[key], shown, owner=owner)

        return listing(
            ORBITS, asked, lambda after: self._keys[bisect_right(self._keys, after) :], entry, _HEADERS
        )


class _OwnBuckets:
    """ASF's own buckets."""

    def __init__(self, world: World) -> None:
        self._accounts = world.accounts
        self._by_name = {path.rpartition("/")[2]: one for path, one in world.catalogue.files.items()}

    def answer(self, request: Request) -> Reply:
        """Answer where the host is the bucket."""
        token = request.headers.get("x-amz-security-token", "")
        if self._accounts.alive(EARTHDATA, "bucket", token) is None:
            return error(403, "AccessDenied", "Access Denied", request.path)
        if not signed(request, BUCKET_KEY, bucket_secret(token), token, REGION):
            return error(403, "SignatureDoesNotMatch", "The request signature does not match", request.path)
        content = self._by_name.get(request.path.rpartition("/")[2])
        if content is None:
            return error(404, "NoSuchKey", "The specified key does not exist.", request.path)
        return serve(request, content, _HEADERS)


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
_SIGNED_HEADERS = re.compile(r"SignedHeaders=([^,\s]*)")
_ETAG = re.compile(r"<ETag>[^<]*</ETag>")
_SIZE = re.compile(r"<Size>[^<]*</Size>")
_OWNER_FIELD = re.compile(r"<Owner>.*?</Owner>", re.DOTALL)
_KEY_FIELD = re.compile(r"<Key>[^<]*</Key>")


def _entry(orbit: OrbitFile, key: str, *, owner: bool) -> str:
    etag = f"<ETag>&quot;{orbit.content.md5}&quot;</ETag>"
    size = f"<Size>{orbit.content.size}</Size>"
    if orbit.listing is None:
        modified = f"<LastModified>{orbit.modified}</LastModified>"
        by = _OWNER if owner else ""
        return (
            f"<Contents><Key>{key}</Key>{modified}{etag}{size}{by}"
            "<StorageClass>INTELLIGENT_TIERING</StorageClass></Contents>"
        )
    text = _KEY_FIELD.sub(f"<Key>{key}</Key>", _SIZE.sub(size, _ETAG.sub(etag, orbit.listing)))
    return text if owner else _OWNER_FIELD.sub("", text)


def _after(asked: Mapping[str, str]) -> str:
    token = asked.get("continuation-token")
    if not token:
        return asked.get("start-after", "")
    try:
        return base64.b64decode(token, validate=True).decode()
    except ValueError:
        return ""


def error(
    status: int, code: str, message: str, resource: str, headers: Sequence[tuple[str, str]] = _HEADERS
) -> Reply:
    """What S3 says when it does not give what is asked for."""
    text = (
        f"{_DECLARATION}<Error><Code>{code}</Code><Message>{message}</Message>"
        f"<Key>{escape(resource)}</Key><RequestId>SANDBOX</RequestId></Error>"
    )
    return text_reply(status, text, "application/xml", dict(headers))
