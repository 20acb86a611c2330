"""S3 addresses: ``s3://bucket/key`` as the https address that serves it, and the signature it may need.

Public buckets need no signature: they are plain https. boto3's own transfer costs a HEAD and a
thread pool for each object; signing one header with botocore and reading the body ourselves is
several times cheaper (docs/performance.md).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from skystage.errors import CredentialsMissing

if TYPE_CHECKING:
    from skystage.auth import Secret

SCHEME = "aws"
"""The name of a source's `auth` when its requests are to be signed."""
DEFAULT_REGION = "us-east-1"


def endpoint() -> str | None:
    """The S3 endpoint of the user's environment, as all AWS tools read it."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def https_url(href: str) -> str:
    """The address to ask for `href`; anything but ``s3://`` is its own.

    A bucket with dots in its name is addressed by path, because no wildcard certificate covers it.
    """
    parts = urlsplit(href)
    if parts.scheme != "s3":
        return href
    key = quote(parts.path.lstrip("/"), safe="/~")
    custom = endpoint()
    if custom:
        return f"{custom.rstrip('/')}/{parts.netloc}/{key}"
    if "." in parts.netloc:
        return f"https://s3.amazonaws.com/{parts.netloc}/{key}"
    return f"https://{parts.netloc}.s3.amazonaws.com/{key}"


def belongs(scheme: str, host: str) -> bool:
    """Whether a host may see a signature: AWS by https, or the endpoint of the user's environment."""
    custom = urlsplit(endpoint() or "")
    if custom.hostname == host and custom.scheme == scheme:
        return True
    return scheme == "https" and (host == "amazonaws.com" or host.endswith(".amazonaws.com"))


def credentials(secret: Secret | None) -> Any:
    """The argument's, else those that AWS tools find.

    Raises
    ------
    CredentialsMissing
        If there are none.
    """
    if secret:
        from botocore.credentials import Credentials

        return Credentials(secret.username, secret.password, secret.token or None)
    found = _chain(os.environ.get("AWS_PROFILE"), os.environ.get("AWS_ACCESS_KEY_ID"))
    if found is None:
        raise CredentialsMissing(
            "S3: no AWS credentials",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        )
    return found.get_frozen_credentials()


@cache
def _chain(profile: str | None, key: str | None) -> Any:
    # A look along the chain costs tens of milliseconds: one for all requests. What it finds refreshes
    # itself; the arguments only say when the user has changed his mind.
    del profile, key
    from botocore.session import Session

    return Session().get_credentials()


def signed(url: str, headers: Mapping[str, str], secret: Secret | None, region: str) -> dict[str, str]:
    """The headers of a GET for `url`, with an AWS signature (version 4).

    Raises
    ------
    CredentialsMissing
        If there are none in the argument or where AWS tools look for them.
    """
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest

    request = AWSRequest(method="GET", url=url, headers=dict(headers))
    S3SigV4Auth(credentials(secret), "s3", region).add_auth(request)
    return dict(request.headers.items())
