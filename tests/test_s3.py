"""Signatures for S3: as AWS's documentation prints them, and as botocore makes them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from skystage import s3
from skystage.auth import Secret

# The example of "Authenticating Requests: Using the Authorization Header" in the S3 API reference.
EXAMPLE = Secret(username="AKIAIOSFODNN7EXAMPLE", password="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
PRINTED = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"


@pytest.fixture(autouse=True)
def that_day(monkeypatch):
    monkeypatch.setattr(s3, "_now", lambda: datetime(2013, 5, 24, tzinfo=UTC))


def test_the_signature_is_the_one_that_the_documentation_prints():
    sent = s3.signed(
        "https://examplebucket.s3.amazonaws.com/test.txt", {"Range": "bytes=0-9"}, EXAMPLE, "us-east-1"
    )
    assert sent["Authorization"].endswith(f"Signature={PRINTED}")
    assert sent["Range"] == "bytes=0-9"


@pytest.mark.parametrize(
    "url",
    [
        "https://b.s3.amazonaws.com/a/b%20c/d~e.zip",
        "http://127.0.0.1:8333/bucket/key%2Bplus",
        "https://b.s3.amazonaws.com/",
        "https://b.s3.amazonaws.com/k?versionId=7&partNumber=2",
    ],
)
@pytest.mark.parametrize("token", ["", "session-token"])
def test_the_signature_is_botocores(url, token, monkeypatch):
    secret = Secret(username="key", password="secret", token=token)
    headers = {"x-amz-request-payer": "requester", "Range": "bytes=5-", "User-Agent": "skystage"}
    ours = s3.signed(url, headers, secret, "eu-central-1")
    signer = S3SigV4Auth(Credentials("key", "secret", token or None), "s3", "eu-central-1")
    also = {name: value for name, value in ours.items() if name not in ("Authorization", "User-Agent")}
    request = AWSRequest(method="GET", url=url, headers=also)
    request.context["timestamp"] = ours["x-amz-date"]
    asked = signer.canonical_request(request)
    theirs = signer.signature(signer.string_to_sign(request, asked), request)
    assert ours["Authorization"].endswith(f"Signature={theirs}")
