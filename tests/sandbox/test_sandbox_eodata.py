"""The object store of the Copernicus Data Space."""

from __future__ import annotations

import hashlib
import netrc
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.client import Config
from botocore.exceptions import ClientError

from skystage.auth import Secret
from skystage.s3 import signed
from skystage.sandbox import Sandbox
from skystage.sandbox.eodata import HOST

if TYPE_CHECKING:
    import requests

FOLDER = (
    "Sentinel-2/MSI/L2A_N0500/2018/06/20/S2A_MSIL2A_20180620T105031_N0500_R051_T31UFS_20230819T033500.SAFE/"
)


def client(box: Sandbox, key: str, secret: str, region: str = "default") -> Any:
    proxy, bundle = box.environ["HTTPS_PROXY"], box.environ["REQUESTS_CA_BUNDLE"]
    return boto3.client(
        "s3",
        endpoint_url=f"https://{HOST}",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name=region,
        verify=bundle,
        config=Config(
            proxies={"https": proxy}, s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}
        ),
    )


@pytest.fixture
def keys(box: Sandbox) -> tuple[str, str]:
    file = box.environ["NETRC"]
    entry = netrc.netrc(file).authenticators(HOST)
    assert entry is not None
    assert entry[2] is not None
    return entry[0], entry[2]


@pytest.fixture
def s3(box: Sandbox, keys: tuple[str, str]) -> Iterator[Any]:
    made = client(box, *keys)
    yield made
    made.close()


def test_an_object_is_what_the_manifest_says_and_its_tag_is_no_md5(s3: Any) -> None:
    manifest = s3.get_object(Bucket="eodata", Key=f"{FOLDER}manifest.safe")
    body = manifest["Body"].read()
    assert b"SCL_20m.jp2" in body
    assert manifest["ETag"].endswith('-1"')
    assert hashlib.md5(body).hexdigest() not in manifest["ETag"]  # noqa: S324 - what it is not
    headers = manifest["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-ratelimit-limit"] == "2000, 2000;w=60"
    assert int(headers["x-ratelimit-remaining"]) < 2000
    part = s3.get_object(
        Bucket="eodata", Key=f"{FOLDER}manifest.safe", Range="bytes=10-19", IfMatch=manifest["ETag"]
    )
    assert part["Body"].read() == body[10:20]
    assert part["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert s3.head_object(Bucket="eodata", Key=f"{FOLDER}manifest.safe")["ContentLength"] == len(body)


def test_folders_are_listed_level_by_level(s3: Any) -> None:
    def below(prefix: str) -> list[str]:
        found = s3.list_objects_v2(Bucket="eodata", Prefix=prefix, Delimiter="/")
        assert not found["IsTruncated"]
        return [item["Prefix"].removeprefix(prefix) for item in found.get("CommonPrefixes", [])]

    assert {"Sentinel-1/", "Sentinel-2/"} <= set(below(""))
    assert below("Sentinel-2/MSI/") == ["L1C/", "L1C_N0500/", "L2A/", "L2A_N0500/"]
    assert FOLDER.split("/")[-2] + "/" in below("Sentinel-2/MSI/L2A_N0500/2018/06/20/")
    assert below(FOLDER) == ["DATASTRIP/", "GRANULE/", "HTML/"]


def test_pages_of_a_listing_make_a_whole(s3: Any) -> None:
    paginator = s3.get_paginator("list_objects_v2")
    whole = [
        item["Key"]
        for page in paginator.paginate(Bucket="eodata", Prefix=FOLDER)
        for item in page["Contents"]
    ]
    assert len(whole) == 88
    assert whole == sorted(whole)
    pages = list(paginator.paginate(Bucket="eodata", Prefix=FOLDER, PaginationConfig={"PageSize": 20}))
    assert len(pages) == 5
    assert [item["Key"] for page in pages for item in page["Contents"]] == whole
    grouped = list(
        paginator.paginate(Bucket="eodata", Prefix=FOLDER, Delimiter="/", PaginationConfig={"PageSize": 2})
    )
    assert [
        item["Prefix"].removeprefix(FOLDER) for page in grouped for item in page.get("CommonPrefixes", [])
    ] == [
        "DATASTRIP/",
        "GRANULE/",
        "HTML/",
    ]
    sizes = {item["Key"]: item["Size"] for page in pages for item in page["Contents"]}
    band = next(key for key in whole if key.endswith("SCL_20m.jp2"))
    assert len(s3.get_object(Bucket="eodata", Key=band)["Body"].read()) == sizes[band]


def test_orbit_files_are_there_too(s3: Any) -> None:
    found = s3.list_objects_v2(Bucket="eodata", Prefix="Sentinel-1/AUX/AUX_POEORB/", MaxKeys=3)["Contents"]
    assert len(found) == 3
    assert s3.get_object(Bucket="eodata", Key=found[0]["Key"])["Body"].read().startswith(b"<?xml")


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (f"{FOLDER}nothing", "NoSuchKey"),
        (FOLDER, "NoSuchKey"),
        ("Sentinel-2/MSI/L2A/nothing.SAFE/manifest.safe", "NoSuchKey"),
        (
            (
                "Sentinel-2/MSI/L2A_N0500/2018/05/31/"
                "S2A_MSIL2A_20180531T105031_N0500_R051_T31UFS_20230813T034909.SAFE/manifest.safe"
            ),
            "NoSuchKey",
        ),
    ],
    ids=["file", "folder", "product", "offline"],
)
def test_what_is_not_there(s3: Any, key: str, code: str) -> None:
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket="eodata", Key=key)
    assert caught.value.response["Error"]["Code"] == code


def test_another_bucket_and_another_verb(s3: Any) -> None:
    with pytest.raises(ClientError, match="NoSuchBucket"):
        s3.list_objects_v2(Bucket="other")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket="eodata", Key="a", Body=b"")
    assert s3.head_bucket(Bucket="eodata")["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_only_the_accounts_keys_open_it(
    box: Sandbox, keys: tuple[str, str], session: requests.Session
) -> None:
    assert session.get(f"https://{HOST}/eodata/{FOLDER}manifest.safe", timeout=5).status_code == 403
    for pair, code in (((keys[0], "x"), "SignatureDoesNotMatch"), (("x", keys[1]), "InvalidAccessKeyId")):
        wrong = client(box, *pair)
        with pytest.raises(ClientError, match=code):
            wrong.get_object(Bucket="eodata", Key=f"{FOLDER}manifest.safe")
        wrong.close()


def test_what_is_not_signed_is_refused(
    box: Sandbox, keys: tuple[str, str], session: requests.Session
) -> None:
    url = f"https://{HOST}/eodata/{FOLDER}manifest.safe"
    headers = signed(url, {"Range": "bytes=0-4"}, Secret(username=keys[0], password=keys[1]), "default")
    assert session.get(url, headers=headers, timeout=5).content == b"<?xml"
    more = {**headers, "x-amz-request-payer": "requester"}
    assert session.get(url, headers=more, timeout=5).status_code == 403


def test_any_region_will_do(box: Sandbox, keys: tuple[str, str]) -> None:
    other = client(box, *keys, region="us-east-1")
    assert other.get_object(Bucket="eodata", Key=f"{FOLDER}manifest.safe")["ContentLength"]
    other.close()
