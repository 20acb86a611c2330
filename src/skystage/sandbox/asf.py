"""ASF's downloads: the hop to the distribution host, its log-in, and the signed URLs it hands out.

The distribution host behaves as the open source *thin egress app* that ASF runs; the last
hop is a CDN in front of S3 that knows only signatures.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode

from skystage.sandbox.accounts import EARTHDATA, NEWCOMER, Token
from skystage.sandbox.earthdata import EXPIRED_TOKEN, INVALID_TOKEN
from skystage.sandbox.messages import Reply, Request, Service, json_reply, redirect, text_reply
from skystage.sandbox.ranges import serve
from skystage.sandbox.world import World

CLIENT_ID = "BO_n7nTIlMljdvU6kRRB3g"
DISTRIBUTION = "sentinel1.asf.alaska.edu"
CDN = "dy4owt9f80bz7.cloudfront.net"
NISAR = "nisar.asf.earthdatacloud.nasa.gov"
BURSTS = "sentinel1-burst.asf.alaska.edu"
COOKIE = "asf-urs"
BUCKET_KEY = "ASIASANDBOX"

_COOKIE_LIFETIME = 86400.0
_URL_LIFETIME = 3600
BUCKETS = {
    "SLC": "asf-ngap2w-p-s1-slc-7b420b89",
    "GRD_HD": "asf-ngap2w-p-s1-grd-7d1b4348",
    "METADATA_SLC": "asf-ngap2w-p-s1-xml-8cf7476b",
}
_OTHER_BUCKET = "asf-ngap2w-p-s1-other-00000000"


def hosts(world: World) -> dict[str, Service]:
    """ASF's hosts and the CDN."""
    downloads = _Downloads(world)
    return {
        "datapool.asf.alaska.edu": _datapool,
        DISTRIBUTION: downloads.distribute,
        NISAR: downloads.distribute,
        "cumulus.asf.alaska.edu": downloads.distribute,
        BURSTS: downloads.extract,
        CDN: downloads.deliver,
        "search-error-report.asf.alaska.edu": lambda _: json_reply(200, {}),
    }


def _datapool(request: Request) -> Reply:
    return redirect(307, f"https://{DISTRIBUTION}{request.target}")


class _Downloads:
    """The state of ASF's hosts: the key that signs, and the bursts being extracted."""

    def __init__(self, world: World) -> None:
        self._accounts = world.accounts
        self._files = world.catalogue.files
        self._by_name = {path.rpartition("/")[2]: content for path, content in self._files.items()}
        self._bursts = world.catalogue.bursts
        self._key = secrets.token_bytes(32)
        self._extracted: set[str] = set()
        self._lock = threading.Lock()

    def distribute(self, request: Request) -> Reply:
        """Answer for a distribution host: log in, then a signed URL."""
        if request.path == "/login":
            return self._login(request)
        if request.path == "/":
            return text_reply(200, "<html><body><h1>Thin Egress App</h1></body></html>")
        token = self._who(request)
        if isinstance(token, Reply):
            return token
        if token.user == NEWCOMER:
            return _terms()
        if request.path == "/s3credentials":
            return self._bucket_credentials(token.user)
        content = self._files.get(request.path) if request.host in (DISTRIBUTION, NISAR) else None
        if content is None:
            return text_reply(404, "<html><body><h1>File not found</h1></body></html>")
        reply = redirect(303, self._sign(request.path, token.user))
        reply.headers.append(("Cache-Control", f"private, max-age={_URL_LIFETIME - 60}"))
        if "range" in request.headers:
            reply.headers.append(("Range", request.headers["range"]))
        return reply

    def extract(self, request: Request) -> Reply:
        """Answer for the burst extractor: first 202, then the burst; only the cookie counts."""
        if request.path == "/login":
            return self._login(request)
        token = self._accounts.alive(EARTHDATA, "cookie", request.cookies.get(COOKIE))
        if token is None:
            return self._to_login(request)
        content = self._bursts.get(request.path)
        if content is None:
            return json_reply(404, {"error": "no such burst"})
        with self._lock:
            ready = request.path in self._extracted
            self._extracted.add(request.path)
        if not ready:
            return json_reply(202, {"status": "extracting"})
        disposition = f'attachment; filename="{content.name}"'
        return serve(request, content, [("Content-Disposition", disposition)])

    def deliver(self, request: Request) -> Reply:
        """Answer for the CDN: a file, if the signature is right and still valid."""
        asked = dict(request.parameters)
        signature = asked.pop("X-Amz-Signature", "")
        if not hmac.compare_digest(signature, self._signature(request.path, asked)):
            return _xml_error(403, "SignatureDoesNotMatch", "The request signature does not match")
        signed = datetime.strptime(asked["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if datetime.now(UTC) > signed + timedelta(seconds=float(asked["X-Amz-Expires"])):
            return _xml_error(403, "AccessDenied", "Request has expired")
        if "authorization" in request.headers:
            # S3 refuses two ways of signing at once: a client must not bring its token here.
            return _xml_error(400, "InvalidArgument", "Only one auth mechanism allowed")
        content = self._by_name.get(request.path.rpartition("/")[2])
        if content is None:
            return _xml_error(404, "NoSuchKey", "The specified key does not exist.")
        return serve(request, content, [("Server", "AmazonS3"), ("Via", "1.1 sandbox (CloudFront)")])

    def _login(self, request: Request) -> Reply:
        asked = dict(request.parameters)
        code = self._accounts.spend(EARTHDATA, "code", asked.get("code"))
        if code is None:
            return text_reply(400, "<html><body><h1>The code is not valid</h1></body></html>")
        lifetime = request.effects.token_lifetime or _COOKIE_LIFETIME
        cookie = self._accounts.issue(EARTHDATA, "cookie", code.user, lifetime)
        expires = datetime.now(UTC) + timedelta(seconds=lifetime)
        attributes = f"Expires={expires:%a, %d %b %Y %H:%M:%S} GMT; Path=/; Domain=.asf.alaska.edu"
        reply = redirect(301, asked.get("state") or "/")
        reply.headers.append(("Set-Cookie", f"{COOKIE}={cookie}; {attributes}"))
        return reply

    def _who(self, request: Request) -> Token | Reply:
        """The account behind a request, or what to answer instead."""
        cookie = self._accounts.alive(EARTHDATA, "cookie", request.cookies.get(COOKIE))
        if cookie is not None:
            return cookie
        authorization = request.headers.get("authorization")
        if authorization is None or authorization.lower().startswith("basic "):
            return self._to_login(request)
        if request.bearer is None or not request.bearer:
            message = "The Authorization header is malformed"
            return json_reply(400, {"status_code": 400, "error_description": message})
        token = self._accounts.alive(EARTHDATA, "access", request.bearer)
        if token is not None:
            return token
        expired = self._accounts.find(EARTHDATA, "access", request.bearer) is not None
        return json_reply(401, EXPIRED_TOKEN if expired else INVALID_TOKEN)

    def _to_login(self, request: Request) -> Reply:
        return redirect(
            302,
            f"https://{EARTHDATA}/oauth/authorize?client_id={CLIENT_ID}&response_type=code"
            f"&redirect_uri=https://{request.host}/login&state={quote(request.target, safe='')}&app_type=401",
        )

    def _bucket_credentials(self, user: str) -> Reply:
        expires = datetime.now(UTC) + timedelta(hours=1)
        token = self._accounts.issue(EARTHDATA, "bucket", user, 3600)
        keys = {"accessKeyId": BUCKET_KEY, "secretAccessKey": bucket_secret(token), "sessionToken": token}
        return json_reply(200, {**keys, "expiration": f"{expires:%Y-%m-%d %H:%M:%S}+00:00"})

    def _sign(self, path: str, user: str) -> str:
        bucket = BUCKETS.get(path.split("/")[1], _OTHER_BUCKET)
        name = path.rpartition("/")[2]
        origin = hashlib.sha256(bucket.encode()).hexdigest()[:16]
        place = f"/s3-{origin}/{bucket}.s3.us-west-2.amazonaws.com/{name}"
        now = datetime.now(UTC)
        asked = {
            "A-userid": user,
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"SANDBOX/{now:%Y%m%d}/us-west-2/s3/aws4_request",
            "X-Amz-Date": f"{now:%Y%m%dT%H%M%SZ}",
            "X-Amz-Expires": str(_URL_LIFETIME),
            "X-Amz-SignedHeaders": "host",
        }
        return (
            f"https://{CDN}{place}?{urlencode({**asked, 'X-Amz-Signature': self._signature(place, asked)})}"
        )

    def _signature(self, path: str, asked: dict[str, str]) -> str:
        text = f"{path}?{urlencode(sorted(asked.items()))}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


def _terms() -> Reply:
    return json_reply(
        403,
        {
            "status_code": 403,
            "error_description": "EULA Acceptance Failure",
            "resolution_url": f"https://{EARTHDATA}/approve_app?client_id={CLIENT_ID}",
        },
    )


def bucket_secret(token: str) -> str:
    """The secret that belongs to a session token."""
    return hashlib.sha256(f"secret of {token}".encode()).hexdigest()[:40]


def _xml_error(status: int, code: str, message: str) -> Reply:
    declaration = '<?xml version="1.0" encoding="UTF-8"?>\n'
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return text_reply(status, declaration + body, "application/xml")
