"""The only module that moves bytes: https and s3, through the limits, with credentials where they belong.

Bodies are urllib3's, read in blocks of 256 KiB: measured as the cheapest size, equal to curl, and
little is lost when a connection breaks (docs/performance.md). Redirects are followed here, one by
one, because that is the only way to decide for each host anew what it may see.
"""

from __future__ import annotations

import re
import ssl
import threading
import time
import urllib.request
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from http.cookiejar import CookieJar
from typing import Self
from urllib.parse import parse_qs, urljoin, urlsplit

import urllib3

from skystage import __version__, auth, s3
from skystage.connections import Waiting, address, connection
from skystage.direct import DIRECT, Keys
from skystage.errors import (
    CredentialsMissing,
    Interrupted,
    NoSource,
    Refused,
    ShortBody,
    TermsNotAccepted,
    TransferError,
    Untrusted,
    WrongBody,
)
from skystage.limits import Limits, Slot
from skystage.members import Directories
from skystage.model import Source
from skystage.parts import BLOCK
from skystage.resume import Head, failure, retry_after
from skystage.retry import patiently, pause

USER_AGENT = f"skystage/{__version__}"

HOPS = 10
"""Redirects to follow; log-in chains take up to five."""
TIMEOUT = urllib3.Timeout(connect=20, read=60)
"""Seconds without a byte after which a connection counts as stalled."""
SLOWEST = 120.0
"""Seconds that a block may take: a body that brings less than 2 kB a second is broken off and continued."""
BACK_OFF = 5.0
"""Seconds to leave a host alone that is overrun and does not say for how long."""
EXCERPT = 300
"""Characters of an error's body that are kept for its message."""


@dataclass(slots=True)
class Body:
    """A response whose head has arrived."""

    head: Head
    host: str
    """The host that sends the bytes: the last of the redirects."""
    _response: urllib3.BaseHTTPResponse
    _access: Access
    _slots: _Slots

    def blocks(self) -> Iterator[bytes]:
        """The body as it comes over the wire.

        Raises
        ------
        Interrupted
            When the connection breaks or stalls. A body that merely ends early raises nothing:
            whoever reads must count.
        """
        # Chunks may be as small as a byte: joined, they are blocks to look at, and a drip counts as one.
        chunks: list[bytes] = []
        size = 0
        try:
            for chunk in self._response.stream(BLOCK, decode_content=False):
                chunks.append(chunk)
                size += len(chunk)
                if size >= BLOCK:
                    yield self._block(chunks)
                    chunks, size = [], 0
        except (urllib3.exceptions.HTTPError, OSError) as error:
            if chunks:
                yield self._block(chunks)
            broken = Interrupted(f"{self.host}: the connection broke: {_cause(error)}")
            self._slots.failed(self.host, broken)
            raise broken from error
        if chunks:
            yield self._block(chunks)

    def _block(self, chunks: list[bytes]) -> bytes:
        if not self._access.still_reading(self._response):
            raise Interrupted(f"{self.host}: broken off: stopped, or slower than 2 kB/s")
        block = b"".join(chunks)
        self._slots.received(self.host, len(block))
        return block


class Busy(Exception):
    """All that the host allows is taken."""


class Access:
    """What a caller may reach, and how: credentials, limits, and the connections themselves.

    Parameters
    ----------
    secrets
        Credentials by scheme (``earthdata``, ``cdse``, ``mast``, ``aws``), before those of the environment
        and of netrc.
    limits
        The limits to keep; default: the user's.
    """

    def __init__(
        self, secrets: Mapping[str, auth.Secret] | None = None, limits: Limits | None = None
    ) -> None:
        self.limits = Limits() if limits is None else limits
        self.directories = Directories()
        """Of the zips that members are fetched from."""
        self.requests = 0
        """Requests sent so far, log-ins and redirects included."""
        self._secrets = dict(secrets or {})
        self._schemes: dict[str, auth.Scheme] = {}
        self._keys: dict[str, Keys] = {}
        self.cookies = CookieJar()
        """Of log-in chains; the jar itself sees to it that each goes to its own domain only."""
        self.regions: dict[str, str] = {}
        """Of buckets, as S3 has said them."""
        self._mutex = threading.Lock()
        self._bodies: dict[urllib3.BaseHTTPResponse, tuple[float, threading.Event]] = {}
        self._waiting = Waiting()
        self._pools = self._waiting.pools()

    def scheme(self, name: str) -> auth.Scheme:
        """The log-in scheme of that name, with the credentials that were found for it."""
        with self._mutex:
            if name not in self._schemes:
                if name not in auth.SCHEMES:
                    raise NoSource(
                        f"no log-in scheme named {name!r}", hint="the plan is of a newer skystage?"
                    )
                kind = auth.SCHEMES[name]
                self._schemes[name] = kind(self._send, self._secrets.get(kind.name))
            return self._schemes[name]

    def worthwhile(self, sources: Sequence[Source]) -> Sequence[Source]:
        """The sources that can be asked from here, an archive's own bucket first: it is the nearest."""
        buckets = [one for one in sources if one.auth in DIRECT]
        direct = [one for one in buckets if self.keys(one.auth or "").useless() is None]
        others = [one for one in sources if one.auth not in DIRECT]
        # Most people have no keys for it, and the same bytes by https.
        others = [one for one in others if one.auth != s3.EODATA or self.check(one) is None]
        return [*direct, *others] or sources

    def check(self, source: Source) -> CredentialsMissing | NoSource | None:
        """What is missing to use a source, before any byte of it is asked for."""
        if source.auth is None:
            return None
        try:
            if source.auth in DIRECT:
                logged_in = Source(href=DIRECT[source.auth].address, auth=DIRECT[source.auth].auth)
                return self.keys(source.auth).useless() or self.check(logged_in)
            if source.auth in (s3.SCHEME, s3.EODATA):
                s3.credentials(self.secret(source.auth))
                return None
            self.scheme(source.auth)
            if not self.scheme(source.auth).secret:
                self.scheme(source.auth).authorization(source.host)
        except (CredentialsMissing, NoSource) as error:
            return error
        return None

    def secret(self, scheme: str) -> auth.Secret | None:
        """The keys to sign requests with: those that the caller gave for a scheme, or an archive's own."""
        if scheme == s3.EODATA:
            return auth.eodata_keys(self._secrets.get(scheme))
        return self.keys(scheme).secret() if scheme in DIRECT else self._secrets.get(scheme)

    def keys(self, name: str) -> Keys:
        """The temporary keys for an archive's buckets."""
        with self._mutex:
            if name not in self._keys:
                self._keys[name] = Keys(name, lambda url, scheme: self.read(url, auth_scheme=scheme))
            return self._keys[name]

    @contextmanager
    def open(
        self,
        source: Source,
        headers: Mapping[str, str],
        stop: threading.Event | None = None,
        *,
        wait: bool = True,
        content: bytes | None = None,
    ) -> Iterator[Body]:
        """Ask for a source's bytes, following redirects, and give the response to read.

        The slots of all hosts on the way are held until the body has been read, so that a limit on
        any of them limits the transfer.

        Parameters
        ----------
        content
            What to ask with, by POST: for catalogues whose questions are documents. None to GET.

        Raises
        ------
        TransferError
            If the host cannot be reached, or redirects lead nowhere. Error statuses do not raise:
            they are in the head.
        Stopped
            If `stop` is set before a request, or while a slot is waited for.
        Busy
            If a slot would have to be waited for, and `wait` is not set.
        """
        with _Slots(self, source, stop, wait=wait) as slots:
            yield slots.follow(headers, content)

    def has_room(self, source: Source, host: str) -> bool:
        """Whether the host would take one more connection at once."""
        return self.limits.has_room(_Slots(self, source).account, host)

    def read(
        self,
        url: str,
        *,
        auth_scheme: str | None = None,
        limit: int = 64 << 20,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> bytes:
        """Read a small document (a listing, a label) whole, trying again while that can help.

        Parameters
        ----------
        content
            See `open`.

        Raises
        ------
        TransferError
            On any status but 200, and on a body that is cut or longer than `limit` bytes.
        """
        name = url.partition("?")[0]
        source = Source(href=url, auth=auth_scheme)
        sent = {**(headers or {}), "Accept-Encoding": "gzip"}

        def once() -> bytes:
            with self.open(source, sent, content=content) as body:
                if body.head.status != 200:
                    raise failure(body.head, name)
                came = bytearray()
                for block in body.blocks():
                    came += block
                    if len(came) > limit:
                        raise WrongBody(f"{name}: more than {limit:,} bytes")
                if body.head.length not in (None, len(came)):
                    raise ShortBody(f"{name}: {len(came):,} bytes of {body.head.length:,}")
                return _unpacked(bytes(came), limit, name) if body.head.compressed else bytes(came)

        return patiently(once)

    def connect(self, url: str) -> urllib3.PoolManager:
        """One connection to the host of `url`, which `watch` can wake."""
        return connection(url, self._pools)

    def asking(self, stop: threading.Event) -> None:
        """Say that a request of the calling thread goes out: `stop` ends the wait for its answer."""
        self._waiting.mine.stop = stop

    def reading(self, response: urllib3.BaseHTTPResponse, stop: threading.Event) -> None:
        """A body is about to be read, unless `stop` is set."""
        with self._mutex:
            self._bodies[response] = (time.monotonic(), stop)

    def still_reading(self, response: urllib3.BaseHTTPResponse) -> bool:
        """A block has come; say whether it may be used: not if `watch` has ended the body."""
        with self._mutex:
            if (known := self._bodies.get(response)) is not None:
                self._bodies[response] = (time.monotonic(), known[1])
            return known is not None

    def read_to_its_end(self, response: urllib3.BaseHTTPResponse) -> None:
        """A body is done with."""
        with self._mutex:
            self._bodies.pop(response, None)

    def watch(self) -> None:
        """End the wait for what nobody wants any more, and the reading of bodies that hardly move.

        A thread that waits for bytes hears nothing; only the end of its connection wakes it.
        """
        slow = time.monotonic() - SLOWEST
        self._waiting.end(slow)
        with self._mutex:
            # Forgotten before they are shut down: Python takes the TLS layer off a socket that it
            # shuts down, and what the reader gets from then on may be ciphertext.
            ended = [one for one, (since, stop) in self._bodies.items() if stop.is_set() or since < slow]
            for response in ended:
                del self._bodies[response]
        for response in ended:
            with suppress(Exception):  # it may end by itself at this very moment
                response.shutdown()

    def close(self) -> None:
        """Close the connections that are kept open for more."""
        self.limits.close()

    def _send(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> auth.Answer:
        manager = connection(url)
        try:
            self.count()
            answer = manager.request(
                method, url, headers=headers, body=content, redirect=False, retries=False, timeout=TIMEOUT
            )
            return auth.Answer(_head(answer, excerpt=""), answer.data)
        except urllib3.exceptions.HTTPError as error:
            raise _unreachable(address(url)[1], error) from error
        finally:
            manager.clear()

    def count(self) -> None:
        """One more request was sent."""
        with self._mutex:
            self.requests += 1


class _Slots:
    """The slots that one transfer holds, one for each host on its way, and its open response."""

    def __init__(
        self, access: Access, source: Source, stop: threading.Event | None = None, *, wait: bool = True
    ) -> None:
        self._access = access
        self._stop = stop or threading.Event()
        self._wait = wait
        self._source = source
        self._signs = source.auth if source.auth in (s3.SCHEME, s3.EODATA, *DIRECT) else None
        self._scheme = None if source.auth is None or self._signs else access.scheme(source.auth)
        self.account = "anonymous"
        if self._scheme is not None:
            self.account = f"{self._scheme.name}-{self._scheme.secret.account}"
        elif self._signs == s3.EODATA and (keys := access.secret(s3.EODATA)) is not None:
            self.account = f"{s3.EODATA}-{keys.account}"
        self._held: dict[str, Slot] = {}
        self._response: urllib3.BaseHTTPResponse | None = None
        self._alive = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._finish()
        for host, slot in self._held.items():
            self._access.limits.release(self.account, host, slot)

    def follow(self, headers: Mapping[str, str], content: bytes | None = None) -> Body:
        url = s3.https_url(self._source.href)
        direct = DIRECT.get(self._source.auth or "")
        bucket = s3.bucket(self._source.href)
        region = direct.region if direct else s3.region(self._source.href)
        if self._signs == s3.EODATA:
            region = s3.EODATA_REGION
        elif (known := self._access.regions.get(bucket or "")) is not None:
            region, url = known, s3.moved(url, known)
        start = url
        renewed = False
        for _ in range(HOPS):
            pause(self._stop)
            _, host = address(url)
            # The slot first: a token that lives for seconds must not wait in a queue.
            slot = self._slot(host)
            sent = self._headers(url, headers, region)
            response = self._ask(slot, url, sent, content)
            status, said = response.status, response.headers
            if 300 <= status < 500:
                self._access.limits.succeeded(self.account, host)
            if status in (301, 302, 303, 307, 308) and "location" in said:
                url = _joined(url, said["location"])
                _refuse_terms(url, self._source.href)
                continue
            bucket_region = said.get("x-amz-bucket-region", region)
            if (status == 301 or (status == 400 and self._signs)) and bucket_region != region:
                # S3 says where a bucket is, and not what address that is.
                region, url = bucket_region, s3.moved(url, bucket_region)
                if bucket is not None:
                    self._access.regions[bucket] = region
                continue
            head = _head(response, excerpt="" if status < 400 else _excerpt(response))
            refused = sent.get("Authorization", "") if status == 401 and not renewed else ""
            if self._scheme and refused and self._scheme.renew(refused, head.excerpt):
                renewed, url = True, start
                continue
            if status == 403 and "Signature=" in url and not renewed:
                # A signed address that has expired: whoever signed it signs another one.
                renewed, url = True, start
                continue
            if status == 403 and direct and self._signs:
                self._access.keys(self._signs).give_up("the bucket refuses")
            if status == 429 or (status == 503 and "retry-after" in said):
                delay = retry_after(head)
                self._access.limits.back_off(self.account, host, BACK_OFF if delay is None else delay)
            elif status >= 500:
                self.failed(host, failure(head, host))
            return Body(head, host, response, self._access, self)
        raise Refused(f"{self._source.href}: more than {HOPS} redirects", hint="a log-in that does not end?")

    def received(self, host: str, count: int) -> None:
        """Count a block at all hosts on its way; the first one says that its host answers."""
        if not self._alive:
            self._alive = True
            self._access.limits.succeeded(self.account, host)
        for one in self._held:
            self._access.limits.spend(self.account, one, count, self._stop)

    def failed(self, host: str, error: TransferError) -> None:
        """A host gave nothing; unless it was we who broke off."""
        if not self._stop.is_set():
            self._access.limits.failed(self.account, host, self._source.href, error)

    def _headers(self, url: str, headers: Mapping[str, str], region: str) -> dict[str, str]:
        scheme, host = address(url)
        sent = {"User-Agent": USER_AGENT, **headers}
        if s3.belongs(self._signs, scheme, host):
            if self._source.requester_pays:
                sent["x-amz-request-payer"] = "requester"
            if self._signs:
                return s3.signed(url, sent, self._access.secret(self._signs), region)
        if self._scheme is not None and scheme == "https":
            word = self._scheme.authorization(host)
            if word is not None:
                sent["Authorization"] = word
        return sent

    def _slot(self, host: str) -> Slot:
        self._finish()
        if host not in self._held:
            limits = self._access.limits
            if self._wait:
                self._held[host] = limits.acquire(self.account, host, self._stop)
            elif (slot := limits.acquire(self.account, host, self._stop, wait=False)) is not None:
                self._held[host] = slot
            else:
                raise Busy
        return self._held[host]

    def _ask(
        self, slot: Slot, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> urllib3.BaseHTTPResponse:
        if slot.connection is None:
            slot.connection = self._access.connect(url)
        jar, asked = self._access.cookies, None
        if len(jar):
            asked = urllib.request.Request(url)
            jar.add_cookie_header(asked)
            headers = {**headers, **dict(asked.unredirected_hdrs)}
        self._access.count()
        self._access.asking(self._stop)
        try:
            response = slot.connection.request(
                "GET" if content is None else "POST",
                url,
                headers=headers,
                body=content,
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=TIMEOUT,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            _, host = address(url)
            unreachable = _unreachable(host, error)
            self.failed(host, unreachable)
            raise unreachable from error
        if "set-cookie" in response.headers:
            jar.extract_cookies(_CookieView(response), asked or urllib.request.Request(url))  # type: ignore[arg-type]
        self._response = response
        self._access.reading(response, self._stop)
        return response

    def _finish(self) -> None:
        """Leave the connection ready for the next request, or close it where a body is half read."""
        response, self._response = self._response, None
        if response is None:
            return
        little = response.length_remaining is not None and response.length_remaining < BLOCK
        try:
            if little and self._access.still_reading(response):
                response.drain_conn()
            # A connection that was broken off must never be used again: it has lost its encryption.
            if not little or not self._access.still_reading(response):
                response.close()
        except (urllib3.exceptions.HTTPError, OSError):
            response.close()
        finally:
            # Not before: what is left may hardly move either.
            self._access.read_to_its_end(response)
        response.release_conn()


class _CookieView:
    """A response, as the standard library's cookie jar wants to see one."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._message = Message()
        for value in response.headers.getlist("set-cookie"):
            self._message["Set-Cookie"] = value

    def info(self) -> Message:
        return self._message


def _head(response: urllib3.BaseHTTPResponse, *, excerpt: str) -> Head:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Head(status=response.status, headers=headers, excerpt=excerpt)


def _excerpt(response: urllib3.BaseHTTPResponse) -> str:
    """What a body says of its error. Of S3's documents only code and message: the rest quotes signatures."""
    body = b""
    with suppress(urllib3.exceptions.HTTPError, OSError):  # its status says enough
        body = response.read(2048)
    text = " ".join(body.decode(errors="replace").split())
    if text.startswith("<"):
        text = ": ".join(match[1] for match in _SAID.finditer(text))
    return text[:EXCERPT]


_SAID = re.compile(r"<(?:Code|Message|title)>([^<]*)</")


def _unpacked(packed: bytes, limit: int, name: str) -> bytes:
    """A small document that came in gzip: the only packing that was asked for."""
    try:
        unpacking = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        document = unpacking.decompress(packed, limit + 1)
    except zlib.error as error:
        raise WrongBody(f"{name}: packed in a way that was not asked for") from error
    if len(document) > limit:
        raise WrongBody(f"{name}: more than {limit:,} bytes")
    if not unpacking.eof:
        raise ShortBody(f"{name}: its packing ends too early")
    return document


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise Refused(f"{location[:80]!r}: not an address to be redirected to") from error


def _refuse_terms(url: str, name: str) -> None:
    # Earthdata Login reports what a browser should do in the address that it sends the browser to.
    asked = parse_qs(urlsplit(url).query)
    if "error_msg" in asked and "resolution_url" in asked:
        raise TermsNotAccepted(
            f"{name}: licence terms are not accepted yet: {asked['error_msg'][0]}",
            hint=f"accept them once at {asked['resolution_url'][0]}",
        )


def _unreachable(host: str, error: Exception) -> TransferError:
    cause = _innermost(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Untrusted(
            f"{host}: its certificate is not trusted: {cause.verify_message}",
            hint="behind a proxy with an authority of its own? name its bundle in REQUESTS_CA_BUNDLE",
        )
    return Interrupted(f"{host}: cannot be reached: {_cause(error)}")


def _innermost(error: Exception) -> Exception:
    while error.__context__ is not None and isinstance(error.__context__, Exception):
        error = error.__context__
    return error


def _cause(error: Exception) -> str:
    """The innermost reason, in one line and without addresses of objects."""
    error = _innermost(error)
    text = str(error).splitlines()[0] if str(error) else ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
