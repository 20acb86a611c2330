"""Addresses in S3: each spelling that catalogues use is the object that it names."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skystage import s3, s3href
from skystage.s3href import S3Object, https, parse

KEY = "moon/kaguya/a b+c.tif"
QUOTED = "moon/kaguya/a%20b%2Bc.tif"


def found(bucket: str = "astrogeo-ard", region: str | None = None, version: str | None = None) -> S3Object:
    return S3Object(bucket=bucket, key=KEY, region=region, version=version)


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        (f"s3://astrogeo-ard/{KEY}", found()),
        (f"https://astrogeo-ard.s3.amazonaws.com/{QUOTED}", found()),
        (f"http://astrogeo-ard.s3.amazonaws.com/{QUOTED}", found()),
        (f"https://ASTROGEO-ARD.S3.amazonaws.com:443/{QUOTED}", found()),
        (f"https://astrogeo-ard.s3.us-west-2.amazonaws.com/{QUOTED}", found(region="us-west-2")),
        # As the USGS writes it: what looks for ".s3." does not find it.
        (f"https://astrogeo-ard.s3-us-west-2.amazonaws.com/{QUOTED}", found(region="us-west-2")),
        (f"https://astrogeo-ard.s3.dualstack.us-west-2.amazonaws.com/{QUOTED}", found(region="us-west-2")),
        (f"https://astrogeo-ard.s3-fips.us-west-2.amazonaws.com/{QUOTED}", found(region="us-west-2")),
        (
            f"https://astrogeo-ard.s3-fips.dualstack.us-west-2.amazonaws.com/{QUOTED}",
            found(region="us-west-2"),
        ),
        (f"https://astrogeo-ard.s3-us-gov-west-1.amazonaws.com/{QUOTED}", found(region="us-gov-west-1")),
        (f"https://astrogeo-ard.s3-external-1.amazonaws.com/{QUOTED}", found(region="us-east-1")),
        (f"https://astrogeo-ard.s3-accelerate.amazonaws.com/{QUOTED}", found()),
        (f"https://astrogeo-ard.s3-accelerate.dualstack.amazonaws.com/{QUOTED}", found()),
        (f"https://astrogeo-ard.s3.cn-north-1.amazonaws.com.cn/{QUOTED}", found(region="cn-north-1")),
        (f"https://s3.amazonaws.com/astrogeo-ard/{QUOTED}", found()),
        (f"https://s3.us-west-2.amazonaws.com/astrogeo-ard/{QUOTED}", found(region="us-west-2")),
        (f"https://s3-us-west-2.amazonaws.com/astrogeo-ard/{QUOTED}", found(region="us-west-2")),
        (f"https://s3.dualstack.us-west-2.amazonaws.com/astrogeo-ard/{QUOTED}", found(region="us-west-2")),
        (f"https://s3.cn-north-1.amazonaws.com.cn/astrogeo-ard/{QUOTED}", found(region="cn-north-1")),
        (f"https://data.my.org.s3.us-west-2.amazonaws.com/{QUOTED}", found("data.my.org", "us-west-2")),
        (f"https://s3.us-west-2.amazonaws.com/data.my.org/{QUOTED}", found("data.my.org", "us-west-2")),
        # Buckets that are called like an endpoint.
        (f"https://my.s3.s3.amazonaws.com/{QUOTED}", found("my.s3")),
        (f"https://x.s3-us-west-2.s3.eu-west-1.amazonaws.com/{QUOTED}", found("x.s3-us-west-2", "eu-west-1")),
        # A plus in a path is a space to S3: its console writes addresses so.
        ("https://b.s3.amazonaws.com/a+b%2Bc", S3Object(bucket="b", key="a b+c")),
        (f"https://astrogeo-ard.s3.amazonaws.com/{QUOTED}?versionId=3%2F4._x", found(version="3/4._x")),
        (f"https://astrogeo-ard.s3.amazonaws.com/{QUOTED}?X-Amz-Expires=60&versionId=7", found(version="7")),
        ("s3://b/what?versionId=7#x", S3Object(bucket="b", key="what?versionId=7#x")),
        ("https://b.s3.amazonaws.com//a//b", S3Object(bucket="b", key="/a//b")),
    ],
)
def test_every_spelling_is_the_object_that_it_names(href, expected):
    assert parse(href) == expected


@pytest.mark.parametrize(
    "href",
    [
        "https://data.example.org/b/k",
        "https://b.s3.amazonaws.com.evil.org/k",
        "https://b-s3.amazonaws.com/k",
        "https://b.execute-api.us-west-2.amazonaws.com/k",
        "http://b.s3-website-us-west-2.amazonaws.com/k",
        "https://b.s3.amazonaws.com/",
        "https://s3.amazonaws.com/bucket",
        "https://s3.amazonaws.com/",
        "https://s3.amazonaws.com//key",
        "ftp://b.s3.amazonaws.com/k",
        "https://b.s3.amazonaws.com/%ff",
        "https://[b.s3.amazonaws.com/k",
        "s3://bucket",
        "s3://bucket/",
        "s3:///key",
        "gs://bucket/key",
        "data/key",
        "",
    ],
)
def test_what_is_no_object_of_s3_is_none(href):
    assert parse(href) is None


@pytest.mark.parametrize(
    ("object_", "address"),
    [
        (found(), f"https://astrogeo-ard.s3.amazonaws.com/{QUOTED}"),
        (found(region="us-west-2"), f"https://astrogeo-ard.s3.us-west-2.amazonaws.com/{QUOTED}"),
        (found(region="cn-north-1"), f"https://astrogeo-ard.s3.cn-north-1.amazonaws.com.cn/{QUOTED}"),
        (found("my.data"), f"https://s3.amazonaws.com/my.data/{QUOTED}"),
        (found("My_Data", "us-east-1"), f"https://s3.us-east-1.amazonaws.com/My_Data/{QUOTED}"),
        (found(version="3/4"), f"https://astrogeo-ard.s3.amazonaws.com/{QUOTED}?versionId=3%2F4"),
    ],
)
def test_an_object_is_asked_for_where_a_certificate_covers_it(object_, address):
    assert https(object_) == address
    assert parse(address) == object_
    by_path = https(object_, "http://127.0.0.1:8333/")
    assert by_path.startswith(f"http://127.0.0.1:8333/{object_.bucket}/{QUOTED}")


def test_an_s3_address_goes_to_the_endpoint_of_the_environment(monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    assert s3.https_url(f"s3://astrogeo-ard/{KEY}") == f"https://astrogeo-ard.s3.amazonaws.com/{QUOTED}"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:8333/")
    assert s3.https_url(f"s3://astrogeo-ard/{KEY}") == f"http://127.0.0.1:8333/astrogeo-ard/{QUOTED}"
    assert s3.https_url("https://b.s3.amazonaws.com/k") == "https://b.s3.amazonaws.com/k"
    assert s3.https_url("s3://bucket") == "s3://bucket"


def test_a_signature_goes_to_s3_alone():
    assert s3.belongs(s3.SCHEME, "https", "b.s3-us-west-2.amazonaws.com")
    assert not s3.belongs(s3.SCHEME, "http", "b.s3-us-west-2.amazonaws.com")
    assert not s3.belongs(s3.SCHEME, "https", "b.s3.us-west-2.amazonaws.com.evil.org")
    assert not s3.belongs(s3.SCHEME, "https", "b.execute-api.us-west-2.amazonaws.com")
    assert s3href.is_host("s3.amazonaws.com")
    # Asked and signed as a bucket is, but it is none.
    assert s3href.is_host("point-123.s3-accesspoint.eu-west-1.amazonaws.com")
    assert parse("https://point-123.s3-accesspoint.eu-west-1.amazonaws.com/k") is None


REGIONS = st.sampled_from(
    [None, "us-west-2", "eu-central-1", "ap-southeast-2", "us-gov-west-1", "cn-north-1"]
)
LABELS = st.from_regex(r"[a-z0-9][a-z0-9-]{1,20}[a-z0-9]", fullmatch=True)
BUCKETS = st.lists(LABELS, min_size=1, max_size=3).map(".".join)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
VERSIONS = st.none() | st.from_regex(r"[A-Za-z0-9._/+~-]{1,30}", fullmatch=True)
OBJECTS = st.builds(S3Object, bucket=BUCKETS, key=KEYS, region=REGIONS, version=VERSIONS)


@given(OBJECTS)
def test_what_is_written_is_read_again(one):
    assert parse(https(one)) == one
    assert parse(one.uri) == S3Object(bucket=one.bucket, key=one.key)


@given(BUCKETS, KEYS, REGIONS, st.sampled_from([".", "-", ".dualstack."]), st.booleans())
def test_a_bucket_before_the_host_and_one_in_the_path_are_the_same(bucket, key, region, sign, quoted):
    end = "amazonaws.com" if region is None else f"{region}.amazonaws.com"
    sign = "." if region is None else sign
    path = quote(key, safe="/" if quoted else "/!$&'()*,:;=@~")
    by_host = parse(f"https://{bucket}.s3{sign}{end}/{path}")
    by_path = parse(f"https://s3{sign}{end}/{bucket}/{path}")
    assert by_host == by_path == S3Object(bucket=bucket, key=key, region=region)


@given(st.text())
def test_no_text_is_too_odd_to_be_looked_at(text):
    for href in (text, f"s3://{text}", f"https://{text}", f"https://b.s3.amazonaws.com/{text}"):
        one = parse(href)
        assert one is None or (one.bucket and one.key)
