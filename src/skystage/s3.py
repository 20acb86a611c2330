"""S3 as bytes come from it: the address that serves ``s3://bucket/key``, and the signature it may need.

Public buckets need no signature: they are plain https. boto3's own transfer costs a HEAD and a
thread pool for each object; signing one header and reading the body ourselves is several times
cheaper (docs/performance.md). Credentials come from where AWS tools look for them, by botocore.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from skystage import auth, s3href, tls
from skystage.errors import CredentialsMissing, Refused

if TYPE_CHECKING:
    from skystage.auth import Secret

SCHEME = "aws"
"""The name of a source's `auth` when its requests are to be signed."""
EODATA = "cdse-s3"
"""The same for the S3 of the Copernicus Data Space, which has keys and an endpoint of its own."""
DEFAULT_REGION = "us-east-1"
EODATA_REGION = "default"


def endpoint() -> str | None:
    """The S3 endpoint of the user's environment, as all AWS tools read it."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def https_url(href: str) -> str:
    """The address to ask for `href`; anything but ``s3://`` is its own.

    Raises
    ------
    Refused
        If a part of the key is ``.`` or ``..``: on its way an address loses them, and names another object.
    """
    found = s3href.parse(href) if href.startswith(s3href.SCHEME) else None
    if found is None:
        return href
    if not {".", ".."}.isdisjoint(found.key.split("/")):
        raise Refused(
            f"{href[:80]}: a key with . or .. for a folder cannot be asked for by https",
            hint="stage it with another tool, and let `skystage adopt` verify it",
        )
    return s3href.https(found, endpoint())


def bucket(href: str) -> str | None:
    """The bucket of an address; None of what is not in Amazon's S3."""
    found = s3href.parse(href)
    return None if found is None else found.bucket


def region(href: str) -> str:
    """The region that an address names; else the one to begin with: S3 answers with the right one."""
    found = s3href.parse(href)
    return (found and found.region) or DEFAULT_REGION


def moved(url: str, region: str) -> str:
    """The address of the same object in another region; of what is not in Amazon's S3 its own."""
    found = s3href.parse(url)
    return url if found is None else s3href.https(replace(found, region=region))


def belongs(name: str | None, scheme: str, host: str) -> bool:
    """Whether a host may see a signature: S3 by https, or the endpoint of the user's environment.

    Not all of AWS: behind names of its other services stands whoever rents them.

    Parameters
    ----------
    name
        The source's `auth`: keys of the Copernicus Data Space are for its endpoint only.
    """
    if name == EODATA:
        return (scheme, host) == ("https", auth.EODATA)
    custom = urlsplit(endpoint() or "")
    if custom.hostname == host and custom.scheme == scheme:
        return True
    return scheme == "https" and s3href.is_host(host)


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

    session = Session()
    if (bundle := tls.bundle()) is not None:
        session.set_config_variable("ca_bundle", bundle)
    return session.get_credentials()


def signed(url: str, headers: Mapping[str, str], secret: Secret | None, region: str) -> dict[str, str]:
    """The headers of a GET for `url`, with an AWS signature (version 4).

    Raises
    ------
    CredentialsMissing
        If there are none in the argument or where AWS tools look for them.
    """
    found = credentials(secret)
    sent = {**headers, "x-amz-content-sha256": _NOTHING, "x-amz-date": f"{_now():%Y%m%dT%H%M%SZ}"}
    if found.token:
        sent["x-amz-security-token"] = found.token
    sent["Authorization"] = _authorization(url, sent, found.access_key, found.secret_key, region)
    return sent


def _authorization(url: str, sent: Mapping[str, str], key: str, secret: str, region: str) -> str:
    # A tenth of the cost of botocore's signer, which builds a request, sorts and quotes it anew each time.
    parts = urlsplit(url)
    said = {name.lower(): value.strip() for name, value in sent.items()}
    said = {name: value for name, value in said.items() if name == "range" or name.startswith("x-amz-")}
    said["host"] = parts.netloc.removesuffix(":443" if parts.scheme == "https" else ":80")
    names = sorted(said)
    asked = "\n".join(
        (
            "GET",
            parts.path or "/",
            "&".join(sorted(part if "=" in part else f"{part}=" for part in parts.query.split("&") if part)),
            *(f"{name}:{said[name]}" for name in names),
            "",
            ";".join(names),
            said["x-amz-content-sha256"],
        )
    )
    date = said["x-amz-date"]
    scope = f"{date[:8]}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(asked.encode()).hexdigest()}"
    signature = hmac.digest(_key(secret, date[:8], region), text.encode(), "sha256").hex()
    return (
        f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
    )


@lru_cache(maxsize=16)
def _key(secret: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for word in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, word.encode(), "sha256")
    return key


def _now() -> datetime:
    return datetime.now(UTC)


_NOTHING = hashlib.sha256().hexdigest()
"""The digest of the body of a GET."""
