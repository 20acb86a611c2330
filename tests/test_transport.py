"""The transport against the archives in a box: redirects, log-ins, proxies, S3."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import certifi
import pytest
import urllib3

from skystage import connections, s3, tls, transport
from skystage.auth import Secret
from skystage.batch import fetch_all
from skystage.errors import (
    CredentialsMissing,
    Interrupted,
    NotFound,
    Refused,
    ShortBody,
    Stopped,
    TermsNotAccepted,
    Untrusted,
    WrongBody,
)
from skystage.fetch import fetch_asset
from skystage.model import Source
from skystage.sandbox.accounts import AWS_KEY, AWS_SECRET
from skystage.transport import Access

ORBITS = "s1-orbits.s3.amazonaws.com"
LISTING = f"https://{ORBITS}/?prefix=AUX_POEORB&max-keys=1"
LOGIN = "urs.earthdata.nasa.gov"


def key(box) -> str:
    import xml.etree.ElementTree as ET

    space = "{http://s3.amazonaws.com/doc/2006-03-01/}"
    return ET.fromstring(Access().read(LISTING)).findtext(f"{space}Contents/{space}Key")  # noqa: S314


def got(access: Access, source: Source) -> tuple[int, bytes]:
    with access.open(source, {"Accept-Encoding": "identity"}) as body:
        return body.head.status, b"".join(body.blocks())


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], str]]:
    """A server that says the same bytes, whatever it is asked, and then nothing more; its address."""
    sockets: list[socket.socket] = []

    def serve(said: bytes) -> str:
        listening = socket.create_server(("127.0.0.1", 0))
        sockets.append(listening)

        def answer() -> None:
            with suppress(OSError):
                while True:
                    made, _ = listening.accept()
                    sockets.append(made)
                    made.recv(65536)
                    made.sendall(said)

        threading.Thread(target=answer, daemon=True).start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}/f"

    yield serve
    for one in sockets:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


def test_a_public_object_is_read_by_its_https_and_by_its_s3_address(box, access):
    name = key(box)
    by_https = got(access, Source(href=f"https://{ORBITS}/{name}"))
    by_s3 = got(access, Source(href=f"s3://s1-orbits/{name}"))
    assert by_https == by_s3
    assert by_https[0] == 200
    assert b"<Earth_Explorer_File" in by_https[1]


def test_signed_and_requester_pays_requests_carry_what_aws_asks_for(box):
    access = Access(secrets={"aws": Secret(username="KEY", password="SECRET")})
    name = key(box)
    box.clear()
    got(access, Source(href=f"s3://s1-orbits/{name}", auth="aws", requester_pays=True))
    sent = box.requests()[-1]["headers"]
    assert sent["authorization"].startswith("AWS4-HMAC-SHA256 Credential=KEY/")
    assert sent["x-amz-request-payer"] == "requester"
    assert "SECRET" not in json.dumps(sent)


def test_a_bucket_of_another_region_is_asked_again_with_that_region(box):
    access = Access(secrets={"aws": Secret(username=AWS_KEY, password=AWS_SECRET)})
    name = key(box)
    box.clear()
    for _ in range(2):
        assert got(access, Source(href=f"s3://s1-orbits/{name}", auth="aws"))[0] == 200
    regions = [request["headers"]["authorization"].split("/")[2] for request in box.requests()]
    assert regions == ["us-east-1", "us-west-2", "us-west-2"], "it is remembered"


def test_missing_aws_credentials_are_named(box, access, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CredentialsMissing, match="AWS_ACCESS_KEY_ID"):
        got(access, Source(href="s3://bucket/key", auth="aws"))


@pytest.mark.parametrize(
    ("href", "address"),
    [
        ("s3://bucket/a/b c+d.tif", "https://bucket.s3.amazonaws.com/a/b%20c%2Bd.tif"),
        ("s3://bucket/a?b#c", "https://bucket.s3.amazonaws.com/a%3Fb%23c"),
        ("s3://dotted.bucket/key", "https://s3.amazonaws.com/dotted.bucket/key"),
        ("https://host/x?y=1", "https://host/x?y=1"),
    ],
)
def test_an_s3_address_is_the_https_address_that_serves_it(monkeypatch, href, address):
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    assert s3.https_url(href) == address
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:8333/")
    assert s3.https_url("s3://bucket/key") == "http://127.0.0.1:8333/bucket/key"


@pytest.mark.parametrize("key", ["a/../b", "./a", "a/..", "..", "a/./b"])
def test_a_key_that_an_address_would_lose_is_refused_and_not_another_object_fetched(box, access, key):
    with pytest.raises(Refused, match="[.]{1,2} for a folder"):
        got(access, Source(href=f"s3://s1-orbits/{key}"))
    assert box.requests() == []
    assert s3.https_url("s3://b/..a/b../...") == "https://b.s3.amazonaws.com/..a/b../..."


def test_redirects_that_do_not_end_are_refused(box, access):
    host = "datapool.asf.alaska.edu"
    box.set_faults([{"match": {"host": host}, "status": 307, "headers": {"Location": f"https://{host}/x"}}])
    with pytest.raises(Refused, match="redirects"):
        got(access, Source(href=f"https://{host}/x", auth="earthdata"))
    assert len([request for request in box.requests() if request["host"] == host]) == transport.HOPS


def test_a_browser_login_that_reports_missing_terms_is_told_apart(box, access):
    host = "datapool.asf.alaska.edu"
    location = f"https://{LOGIN}/x?error_msg=EULA&resolution_url=https%3A%2F%2F{LOGIN}%2Fapprove"
    box.set_faults([{"match": {"host": host}, "status": 302, "headers": {"Location": location}}])
    with pytest.raises(TermsNotAccepted) as caught:
        got(access, Source(href=f"https://{host}/x", auth="earthdata"))
    assert f"https://{LOGIN}/approve" in caught.value.hint


def test_a_login_chain_by_cookies_is_followed_with_each_secret_at_its_host(box, slc):
    """A user of the browser's way: the distribution host does not take the Bearer, and asks for a cookie."""
    host = "sentinel1.asf.alaska.edu"
    access = Access()
    box.set_faults(
        [
            {
                "match": {"host": host, "times": 1},
                "status": 302,
                "headers": {
                    "Location": f"https://{LOGIN}/oauth/authorize?client_id=BO_n7nTIlMljdvU6kRRB3g&response_type=code"
                    f"&redirect_uri=https://{host}/login&state={slc.sources[0].href.partition('.edu')[2]}"
                },
            }
        ]
    )
    status, content = got(access, slc.sources[0])
    assert (status, len(content)) == (200, slc.size)
    visited = [request["host"] for request in box.requests()]
    assert visited.count(LOGIN) == 2  # the token, then the code
    for request in box.requests():
        if "cookie" in request["headers"]:
            assert request["host"].endswith((".asf.alaska.edu", ".earthdata.nasa.gov"))
        if request["headers"].get("authorization", "").startswith("Basic"):
            assert request["host"] == LOGIN
    access.close()


def test_credentials_are_not_sent_without_tls(access, monkeypatch):
    slots = transport._Slots(access, Source(href="https://datapool.asf.alaska.edu/x", auth="earthdata"))
    monkeypatch.setattr(slots._scheme, "authorization", lambda host: "Bearer t")
    assert slots._headers("https://datapool.asf.alaska.edu/x", {}, "r")["Authorization"] == "Bearer t"
    assert "Authorization" not in slots._headers("http://datapool.asf.alaska.edu/x", {}, "r")


def test_an_unknown_host_does_not_escape_the_sandbox(box, access):
    assert got(access, Source(href="https://nowhere.example.org/"))[0] == 502


def test_a_small_document_is_read_whole_or_not_at_all(box, access, impatient):
    assert access.read(LISTING).startswith(b"<?xml")
    box.set_faults([{"match": {"host": ORBITS, "times": 2}, "cut": 100}])
    assert access.read(LISTING).startswith(b"<?xml")
    with pytest.raises(WrongBody, match="more than 10 bytes"):
        access.read(LISTING, limit=10)
    with pytest.raises(NotFound, match="AUX_POEORB/none"):
        access.read(f"https://{ORBITS}/AUX_POEORB/none?x=1")
    box.set_faults([{"match": {"host": ORBITS}, "cut": 100}])
    with pytest.raises((Interrupted, ShortBody)):
        access.read(LISTING)


def test_one_rule_says_which_certificates_are_trusted(monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    assert tls.bundle() is None
    monkeypatch.setenv("SSL_CERT_FILE", "c")
    assert tls.bundle() == "c"
    monkeypatch.setenv("CURL_CA_BUNDLE", "b")
    assert tls.bundle() == "b"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "a")
    assert tls.bundle() == "a"


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "127.0.0.1:9"])
def test_the_proxy_of_the_environment_is_used_and_its_exceptions_are_kept(monkeypatch, proxy):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.setenv("NO_PROXY", "direct.org")
    monkeypatch.setenv("no_proxy", "direct.org")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    assert isinstance(connections.connection("https://host/"), urllib3.ProxyManager)
    assert not isinstance(connections.connection("https://direct.org/"), urllib3.ProxyManager)


def test_a_keep_alive_connection_is_used_again(box, access):
    for _ in range(5):
        access.read(LISTING)
    assert len({request["connection"] for request in box.requests()}) == 1


def test_no_module_but_these_and_asf_search_opens_connections():
    """Bytes move in one room: no other module of the core imports a client that moves them."""
    root = Path(transport.__file__).parent
    allowed = {"connections.py", "transport.py", "limits.py", "archives/asf.py"}
    for path in root.rglob("*.py"):
        name = str(path.relative_to(root))
        text = path.read_text()
        if not name.startswith("sandbox/") and name not in allowed:
            assert "import urllib3" not in text, name
            assert "import requests" not in text, name
            assert "import boto3" not in text, name


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.example\\@datapool.asf.alaska.edu/x",
        "https://evil.example\\@urs.earthdata.nasa.gov/x",
        "https://datapool.asf.alaska.edu@evil.example/x",
        "https://user:word@datapool.asf.alaska.edu/x",
        "https://datapool.asf.alaska.edu /x",
        "ftp://datapool.asf.alaska.edu/x",
        "file:///etc/passwd",
        "https:///x",
    ],
)
def test_an_address_that_can_be_read_in_two_ways_gets_no_request_and_no_credential(box, access, location):
    host = "sentinel1.asf.alaska.edu"
    box.set_faults([{"match": {"host": host}, "status": 307, "headers": {"Location": location}}])
    with pytest.raises(Refused):
        got(access, Source(href=f"https://{host}/x", auth="earthdata"))
    assert {request["host"] for request in box.requests()} <= {host, LOGIN}


@pytest.mark.parametrize("host", ["evil.example", "asf.alaska.edu.evil.example", "evilasf.alaska.edu"])
def test_a_redirect_to_a_foreign_host_takes_no_credential_along(box, access, host):
    location = {"Location": f"https://{host}/x"}
    box.set_faults([{"match": {"host": "datapool.asf.alaska.edu"}, "status": 307, "headers": location}])
    got(access, Source(href="https://datapool.asf.alaska.edu/x", auth="earthdata"))
    (asked,) = [request for request in box.requests() if request["host"] == host]
    assert not {"authorization", "cookie"} & set(asked["headers"])


def test_a_signature_is_for_aws_and_the_users_endpoint_only(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:8333")
    for name in (
        "s3.amazonaws.com",
        "bucket.s3.amazonaws.com",
        "dotted.bucket.s3.us-west-2.amazonaws.com",
        "s3-us-gov-west-1.amazonaws.com",
        "bucket.s3.dualstack.eu-west-1.amazonaws.com",
        "point-123.s3-accesspoint.eu-west-1.amazonaws.com",
    ):
        assert s3.belongs("aws", "https", name)
    # Whoever rents one of these may call it nearly what he likes.
    assert not s3.belongs("aws", "https", "a1b2c3.execute-api.us-east-1.amazonaws.com")
    assert not s3.belongs("aws", "https", "s3-123.us-east-1.elb.amazonaws.com")
    assert not s3.belongs("aws", "https", "ec2-1-2-3-4.compute-1.amazonaws.com")
    assert s3.belongs("aws", "http", "127.0.0.1")
    assert not s3.belongs("aws", "http", "bucket.s3.amazonaws.com")
    assert not s3.belongs("aws", "https", "amazonaws.com.evil.example")
    access = Access(secrets={"aws": Secret(username="KEY", password="SECRET", token="SESSION")})
    slots = transport._Slots(access, Source(href="s3://b/k", auth="aws", requester_pays=True))
    sent = slots._headers("https://evil.example/x", {}, "us-east-1")
    assert set(sent) == {"User-Agent"}


def test_errors_quote_no_signature():
    body = b"<?xml version='1.0'?><Error><Code>SignatureDoesNotMatch</Code><Message>No</Message>"
    body += b"<StringToSign>AWS4 secret</StringToSign></Error>"
    assert (
        transport._excerpt(urllib3.HTTPResponse(io.BytesIO(body), preload_content=False))
        == "SignatureDoesNotMatch: No"
    )
    assert (
        transport._excerpt(urllib3.HTTPResponse(io.BytesIO(b'{"error":  "x"}'), preload_content=False))
        == '{"error": "x"}'
    )


def test_a_proxy_with_a_password_gets_it(monkeypatch):
    monkeypatch.setattr("urllib.request.getproxies", lambda: {"https": "http://me:a%20b@127.0.0.1:9"})
    monkeypatch.setattr("urllib.request.proxy_bypass", lambda host: False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    made = connections.connection("https://host/")
    assert made.proxy_headers["proxy-authorization"] == "Basic bWU6YSBi"


def test_a_body_that_was_ended_stays_ended_whoever_looks_at_it_meanwhile(access):
    """A block that was under way when the body was ended must not bring it back to life."""

    class Response:
        ended = 0

        def shutdown(self):
            self.ended += 1

    stop, response = threading.Event(), Response()
    access.reading(response, stop)
    access.watch()
    assert access.still_reading(response)
    stop.set()
    access.watch()
    access.watch()
    assert not access.still_reading(response)
    assert not access.still_reading(response)
    assert response.ended == 1


def test_the_aws_chain_is_walked_once_for_all_requests(monkeypatch):
    import botocore.session

    walks = []
    real = botocore.session.Session.get_credentials
    monkeypatch.setattr(
        botocore.session.Session, "get_credentials", lambda self: walks.append(1) or real(self)
    )
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "KEY-OF-THIS-TEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRET")
    for _ in range(5):
        assert s3.credentials(None).access_key == "KEY-OF-THIS-TEST"
    assert walks == [1]


def test_stopping_wakes_who_waits_for_the_head_of_an_answer(box, slc, store):
    box.set_faults([{"match": {"host": "datapool.asf.alaska.edu"}, "latency": 30}])
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    began = time.monotonic()
    outcome = fetch_all([slc], store, Access(), stop=stop)
    assert isinstance(outcome.failures[slc.path], Stopped)
    assert time.monotonic() - began < 10


def test_an_error_page_that_is_cut_is_still_its_error(box, slc, store, access):
    box.set_faults(
        [{"match": {"host": "datapool.asf.alaska.edu"}, "status": 404, "body": "x" * 900, "cut": 5}]
    )
    with pytest.raises(NotFound):
        fetch_asset(slc, store, access)


def test_a_certificate_that_nobody_vouches_for_is_an_error_at_once(box, slc, store, access, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    with pytest.raises(Untrusted, match="not trusted.*REQUESTS_CA_BUNDLE"):
        fetch_asset(slc, store, access)


def test_a_redirect_to_no_address_is_refused(box, slc, store, access):
    match = {"host": "datapool.asf.alaska.edu"}
    box.set_faults([{"match": match, "status": 302, "headers": {"Location": "http://["}}])
    with pytest.raises(Refused, match="not an address"):
        fetch_asset(slc, store, access)


def test_chunks_of_any_size_are_blocks(access, answering):
    """Who looks at the first bytes must see more than the first chunk."""
    content = bytes(range(256)) * 4
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in content)
    url = answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
    with access.open(Source(href=url), {}) as body:
        assert list(body.blocks()) == [content]


def test_what_came_before_a_break_is_not_lost_with_it(access, answering):
    url = answering(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\nno number\r\n"
    )
    came = []
    with access.open(Source(href=url), {}) as body, pytest.raises(Interrupted):
        came.extend(body.blocks())
    assert came == [b"abcdef"]


def test_an_error_page_that_breaks_off_is_the_error_that_its_status_says(box, access):
    box.set_faults([{"match": {"host": ORBITS}, "status": 503, "body": "x" * 1000, "cut": 10}])
    with access.open(Source(href=LISTING), {}) as body:
        assert body.head.status == 503
    box.set_faults(
        [{"match": {"host": ORBITS}, "status": 502, "body": "x", "headers": {"Content-Encoding": "gzip"}}]
    )
    with access.open(Source(href=LISTING), {}) as body:
        assert body.head.status == 502


def test_stopping_ends_the_wait_for_the_rest_of_a_redirect(access, answering):
    url = answering(b"HTTP/1.1 302 Found\r\nLocation: /g\r\nContent-Length: 1000\r\n\r\nx")
    stop = threading.Event()

    def ask() -> None:
        with suppress(Stopped), access.open(Source(href=url), {}, stop):
            pass

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    while not access.requests:
        asking.join(0.01)
    stop.set()
    for _ in range(50):
        asking.join(0.1)
        access.watch()
    assert not asking.is_alive()


def test_a_bundle_that_is_not_there_is_named(monkeypatch, tmp_path):
    connections._tls(str(tmp_path))  # a folder of certificates, as requests takes it
    monkeypatch.setattr(tls, "bundle", lambda: str(tmp_path / "gone.pem"))
    with pytest.raises(Untrusted, match=r"gone\.pem.*REQUESTS_CA_BUNDLE"):
        connections.connection("https://host/")
