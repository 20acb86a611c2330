"""The buckets of a box: the public ones, and ASF's own for those who compute beside it.

ASF's mirror of the Sentinel-1 orbit files is one of the public ones. ASF's own buckets want requests signed
with the keys that its log-in gives.
"""

from __future__ import annotations

import re

from skystage.sandbox.accounts import EARTHDATA
from skystage.sandbox.asf import BUCKET_KEY, BUCKETS, bucket_secret
from skystage.sandbox.buckets import OWNER, Bucket, error, hosts_of, signed
from skystage.sandbox.catalogue import Catalogue, OrbitFile
from skystage.sandbox.messages import Reply, Request, Service
from skystage.sandbox.ranges import serve
from skystage.sandbox.world import World

ORBITS = "s1-orbits"
REGION = "us-west-2"
_HEADERS = [("Server", "AmazonS3"), ("x-amz-bucket-region", REGION)]


def hosts(world: World) -> dict[str, Service]:
    """The hosts of all public buckets, and of ASF's own."""
    own = _OwnBuckets(world)
    return {
        **{f"{name}.s3.{REGION}.amazonaws.com": own.answer for name in BUCKETS.values()},
        **hosts_of([_orbits(world.catalogue), *world.catalogue.buckets.values()]),
    }


def _orbits(catalogue: Catalogue) -> Bucket:
    """The bucket of the orbit files, listed as recorded where it is."""
    contents = {key: orbit.content for key, orbit in catalogue.orbits.items()}

    def entry(key: str, shown: str, owner: bool) -> str:  # noqa: FBT001 - as `listing` calls it
        return _entry(catalogue.orbits[key], shown, owner=owner)

    return Bucket(ORBITS, REGION, contents, entry=entry)


class _OwnBuckets:
    """ASF's own buckets."""

    def __init__(self, world: World) -> None:
        self._accounts = world.accounts
        self._by_name = {path.rpartition("/")[2]: one for path, one in world.catalogue.files.items()}

    def answer(self, request: Request) -> Reply:
        """Answer where the host is the bucket."""
        token = request.headers.get("x-amz-security-token", "")
        if self._accounts.alive(EARTHDATA, "bucket", token) is None:
            return error(403, "AccessDenied", "Access Denied", request.path, _HEADERS)
        if not signed(request, BUCKET_KEY, bucket_secret(token), token, REGION):
            text = "The request signature does not match"
            return error(403, "SignatureDoesNotMatch", text, request.path, _HEADERS)
        content = self._by_name.get(request.path.rpartition("/")[2])
        if content is None:
            return error(404, "NoSuchKey", "The specified key does not exist.", request.path, _HEADERS)
        return serve(request, content, _HEADERS)


_ETAG = re.compile(r"<ETag>[^<]*</ETag>")
_SIZE = re.compile(r"<Size>[^<]*</Size>")
_OWNER_FIELD = re.compile(r"<Owner>.*?</Owner>", re.DOTALL)
_KEY_FIELD = re.compile(r"<Key>[^<]*</Key>")


def _entry(orbit: OrbitFile, key: str, *, owner: bool) -> str:
    etag = f"<ETag>&quot;{orbit.content.md5}&quot;</ETag>"
    size = f"<Size>{orbit.content.size}</Size>"
    if orbit.listing is None:
        modified = f"<LastModified>{orbit.modified}</LastModified>"
        by = OWNER if owner else ""
        return (
            f"<Contents><Key>{key}</Key>{modified}{etag}{size}{by}"
            "<StorageClass>INTELLIGENT_TIERING</StorageClass></Contents>"
        )
    text = _KEY_FIELD.sub(f"<Key>{key}</Key>", _SIZE.sub(size, _ETAG.sub(etag, orbit.listing)))
    return text if owner else _OWNER_FIELD.sub("", text)
