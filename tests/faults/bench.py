"""The fault bench: what goes wrong, when, on which way of the bytes, and what was known of them.

`cases` makes the table, `Bench.run` runs one case in a sandbox and says what was wrong about its end. The
judge uses nothing of the code that it judges: it compares files with the bytes that the sandbox serves, and
reads the sandbox's log of requests.
"""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import os
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import urllib3

from skystage import arrival, batch, crew, fetch, parts, pieces, resume, retry, store, tokens, transport
from skystage.auth import Secret
from skystage.errors import SkystageError
from skystage.limits import Limits
from skystage.model import Asset, Source
from skystage.sandbox import Sandbox
from skystage.sandbox.accounts import AWS_KEY, AWS_SECRET, PASSWORD, S3_SECRET, USER
from skystage.sandbox.copernicus import products
from skystage.sandbox.files import Changed
from skystage.store import Store
from skystage.transport import Access

BANDS = ("nodes", "eodata", "zip-band")
"""The ways to a file of a product of the Copernicus Data Space: alone, from its bucket, out of the zip."""
MEMBERS = ("member", "zip-band")
WHOLE = ("earthdata", "https", "s3", "s3-signed", "nodes", "eodata")
"""The ways on which the first request asks for a whole file."""
WAYS = ("earthdata", "ranges", "member", "https", "s3", "s3-signed", *BANDS)
PHASES = ("before", "middle", "last", "resume", "refresh", "mirror", "directory")
KNOWN = ("md5", "size", "nothing")
SPANS = ("once", "always")

CDN = "dy4owt9f80bz7.cloudfront.net"
GATE, OTHER_GATE = "datapool.asf.alaska.edu", "sentinel1.asf.alaska.edu"
LOGIN = "urs.earthdata.nasa.gov"
BUCKET, BY_PATH, REGIONAL = (
    "s1-orbits.s3.amazonaws.com",
    "s3.us-west-2.amazonaws.com",
    "s1-orbits.s3.us-west-2.amazonaws.com",
)
DOWNLOAD, ZIPPER = "download.dataspace.copernicus.eu", "zipper.dataspace.copernicus.eu"
EODATA, IDENTITY = "eodata.dataspace.copernicus.eu", "identity.dataspace.copernicus.eu"
FOREIGN = "files.example.net"
BODIES = (CDN, BUCKET, BY_PATH, REGIONAL, DOWNLOAD, ZIPPER, EODATA)

BLOCK = 1024
DEADLINE = 12.0
"""Seconds after which a call counts as hung; with these settings none takes more than three."""
SILENCE = 0.35
TRANSIENT = {"Throttled", "ServerFault", "Interrupted", "ShortBody", "NotReady"}
REFUSED = {"ChecksumMismatch", "StructureError"}
TRIES = 5

OK, ERROR, EITHER = "ok", "error", "either"
PAGE = "<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your rate.</Message></Error>"
TERMS = '{"error_description": "EULA Acceptance Failure"}'

Effects = Callable[["Place"], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a fault strikes: offset in the body of the request, in the file, and from the end."""

    body: int
    file: int
    last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault, and what may come of it.

    Attributes
    ----------
    once, always
        How a call must end that meets it once, or at every request.
    errors
        The errors that a call may end with.
    extra
        Requests for the body that it may cost, where it strikes once.
    inside
        Whether it is a fault of the body, which has a middle and an end, or of the answer's head.
    ranged
        Whether it means only answers to ranges.
    gate
        Whether it strikes at the host that knows who asks, rather than where the bytes are.
    """

    name: str
    effects: Effects
    once: str = OK
    always: str = ERROR
    errors: frozenset[str] = frozenset()
    extra: int = 1
    inside: bool = False
    ranged: bool = False
    gate: bool = False


def _head(name: str, errors: str = "", *, once: str = OK, always: str = ERROR, **effects: Any) -> Fault:
    extra = effects.pop("extra", 1)
    marks = {mark: effects.pop(mark, False) for mark in ("ranged", "gate")}
    return Fault(
        name=name,
        effects=lambda place: effects,
        once=once,
        always=always,
        errors=frozenset(errors.split()),
        extra=extra,
        **marks,
    )


def _body(name: str, effects: Effects, errors: str = "", *, always: str = EITHER, extra: int = 1) -> Fault:
    return Fault(
        name=name, effects=effects, always=always, errors=frozenset(errors.split()), inside=True, extra=extra
    )


def _redirect(name: str, target: str, errors: str, **options: Any) -> Fault:
    return _head(name, errors, status=302, headers={"Location": target}, **options)


MISMATCH = "SizeMismatch ChecksumMismatch StructureError WrongBody WrongRange"
FAULTS = (
    _head("400", "Refused", once=ERROR, status=400),
    _head("401", "Unauthorized", once=EITHER, status=401),
    _head("403", "Forbidden", once=EITHER, status=403),
    _head("403 terms", "TermsNotAccepted", once=EITHER, status=403, body=TERMS),
    _head("404", "NotFound", once=ERROR, status=404),
    _head("410", "NotFound", once=ERROR, status=410),
    _head("416", "RangeNotSatisfiable", once=EITHER, status=416),
    _head("429", "Throttled", status=429, retry_after=0),
    _head("429 for an hour", "Throttled", once=ERROR, status=429, retry_after=3600),
    _head("429 until a date", "Throttled", retry_after="Wed, 21 Oct 2015 07:28:00 GMT"),
    _head("too many connections", "Throttled", max_connections=0),
    _head("500", "ServerFault", status=500),
    _head("502", "ServerFault", status=502),
    _head("503", "ServerFault", status=503),
    _head("503 with Retry-After", "ServerFault", status=503, retry_after=0),
    _head("504", "ServerFault", status=504),
    _head("202", "NotReady", status=202),
    _head("204", "Refused", once=ERROR, status=204),
    _head("304", "Refused", once=ERROR, status=304),
    _head("log-in page", "WrongBody", once=ERROR, login_page=True),
    _head("gateway page", "ServerFault", gateway_page=True),
    _head("empty body", MISMATCH, body=""),
    _head("error document", MISMATCH, body=PAGE, headers={"Content-Type": "application/xml"}),
    _head("latency", always=OK, extra=0, latency=0.03),
    _head("no answer", "Interrupted", latency=2 * SILENCE),
    _head("hang-up", "Interrupted", cut_before_headers=True),
    _head(
        "called gzip",
        "WrongBody WrongRange",
        once=EITHER,
        always=EITHER,
        headers={"Content-Encoding": "gzip"},
    ),
    _head("chunked", always=OK, extra=0, no_length="chunked"),
    _head("until it closes", "WrongBody", once=EITHER, always=EITHER, extra=0, no_length="close"),
    _head("no validator", always=OK, headers={"ETag": None, "Last-Modified": None}),
    _head("weak validator", always=OK, headers={"ETag": 'W/"1"'}),
    _head("new validator", always=OK, validator="change", extra=0),
    _head("new content", f"{MISMATCH} NotFound Refused", always=EITHER, content="other"),
    _head(
        "new content without a validator",
        f"{MISMATCH} NotFound Refused",
        always=EITHER,
        content="other",
        headers={"ETag": None, "Last-Modified": None},
    ),
    _head("ranges ignored", "Refused Interrupted", always=EITHER, extra=0, ignore_range=True, ranged=True),
    _head("wrong range", "WrongRange", once=EITHER, always=EITHER, wrong_range=True, ranged=True),
    _redirect("sent to a foreign host", f"https://{FOREIGN}/x", "ServerFault", gate=True),
    _redirect(
        "sent to a host of a like name", f"https://{OTHER_GATE}.example.net/", "ServerFault", gate=True
    ),
    _redirect("sent to plain http", f"http://{FOREIGN}/x", "ServerFault", gate=True),
    _redirect("sent on with a pass word", f"https://{LOGIN}@{FOREIGN}/", "Refused", once=ERROR, gate=True),
    _redirect("sent to two hosts", f"https://{FOREIGN}\\@{LOGIN}/", "Refused", once=ERROR, gate=True),
    _body("cut", lambda place: {"cut": -1 if place.last else place.body}, "Interrupted ShortBody"),
    _body("silence", lambda place: {"stall": 2 * SILENCE, "stall_at": place.body}, "Interrupted"),
    _body("drip", lambda place: {"drip": 1000}, "Interrupted"),
    _body("slow", lambda place: {"bandwidth": 2_000_000}, always=OK),
    _body("flipped byte", lambda place: {"corrupt": place.file}, MISMATCH),
    _body(
        "length too long",
        lambda place: {"lie": 1 if place.last else 1000},
        f"{MISMATCH} Interrupted ShortBody RangeNotSatisfiable",
        extra=2,
    ),
    _body(
        "length too short",
        lambda place: {"lie": -1 if place.last else -1000},
        f"{MISMATCH} Interrupted ShortBody RangeNotSatisfiable",
    ),
    _body(
        "chunked and cut",
        lambda place: {"no_length": "chunked", "cut": -1 if place.last else place.body},
        "Interrupted ShortBody",
    ),
    _body(
        "cut where nobody knows the end",
        lambda place: {"no_length": "close", "cut": -1 if place.last else place.body},
        "Interrupted ShortBody WrongBody",
    ),
)
# What meets the request for a new token; the file is only asked for with it.
LOGIN_FAULTS = (
    _head("401", "Unauthorized", once=ERROR, status=401),
    _head("403", "Forbidden", once=ERROR, status=403),
    _head("404", "NotFound", once=ERROR, status=404),
    _head("429", "Throttled", status=429, retry_after=0),
    _head("500", "ServerFault", status=500),
    _head("503", "ServerFault", status=503),
    _head("gateway page", "ServerFault", gateway_page=True),
    _head("log-in page", "Interrupted", login_page=True),
    _head("empty body", "Interrupted", body=""),
    _head("hang-up", "Interrupted", cut_before_headers=True),
    _head("no answer", "Interrupted", latency=2 * SILENCE),
    _head("latency", always=OK, latency=0.03),
    _redirect("sent to a foreign host", f"https://{FOREIGN}/x", "Refused", once=ERROR),
    _head("a token that is dead", "Unauthorized", once=EITHER, always=EITHER, token_lifetime=0.001),
    _body("cut", lambda place: {"cut": 20}, "Interrupted", always=ERROR),
    _body("silence", lambda place: {"stall": 2 * SILENCE, "stall_at": 20}, "Interrupted", always=ERROR),
    _body("flipped byte", lambda place: {"corrupt": 30}, "Unauthorized Refused Interrupted"),
    _body("length too long", lambda place: {"lie": 9}, "Interrupted", always=ERROR),
    _body("length too short", lambda place: {"lie": -9}, "Interrupted", always=ERROR),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    way: str
    phase: str
    fault: Fault
    span: str
    known: str

    @property
    def name(self) -> str:
        """What it is called in a report."""
        return f"{self.way}, {self.phase}: {self.fault.name}, {self.span}, {self.known} known"


def cases(way: str, phase: str, *, every: bool = False) -> Iterator[Case]:
    """The rows of a way and a phase, without those that have no meaning.

    On some ways and at some phases each fault meets all that may be known of the bytes. Elsewhere, as to
    a log-in or to the form of an address it is all one, it meets one of the three, in turn; unless
    `every` is set.
    """
    private = way in ("earthdata", "ranges", "member", "nodes", "zip-band")
    if (phase == "refresh" and not private) or (phase == "directory" and way not in MEMBERS):
        return
    for fault in LOGIN_FAULTS if phase == "refresh" else FAULTS:
        if phase in ("before", "middle", "last") and fault.inside == (phase == "before"):
            continue
        if fault.ranged and phase == "before" and way in WHOLE:
            continue  # the first request of a whole file asks for no range
        if phase == "last" and fault.name in ("drip", "slow"):
            continue  # they have no place
        for span, known in itertools.product(SPANS, KNOWN):
            turn = KNOWN[(FAULTS + LOGIN_FAULTS).index(fault) % 3]
            one = way in ("s3", "s3-signed") or phase in ("refresh", "directory", "mirror")
            one = one or (way in ("ranges", "https") and phase in ("before", "resume"))
            one = (one or (way == "member" and phase == "before")) and not every and way not in BANDS
            # Of a file of a product, its manifest has said all before it is asked for.
            if (one and known != turn) or (way in BANDS and known != "md5"):
                continue
            # Each look at an answer that does not come takes its time: once is enough of five.
            slow = fault.name in ("no answer", "silence", "drip")
            if (
                slow
                and not one
                and (span, known) not in (("once", "md5"), ("once", "nothing"), ("always", "size"))
            ):
                continue
            yield Case(way, phase, fault, span, known)


@dataclass(frozen=True, slots=True)
class Goods:
    """A file of the sandbox, and how it is asked for.

    Attributes
    ----------
    true
        The bytes that are to be staged.
    versions
        All editions of the whole file that the sandbox may serve.
    first, length
        Where in the file the body begins, and its bytes.
    """

    sources: tuple[Source, Source]
    hosts: tuple[str, str]
    true: bytes
    versions: tuple[bytes, ...]
    first: int
    length: int


@dataclass(slots=True)
class Result:
    """How one call ended."""

    error: SkystageError | None = None
    receipt: Any = None
    requests: list[dict[str, Any]] = field(default_factory=list)
    moved: int = 0
    hung: bool = False
    seconds: float = 0.0


def hurry(monkeypatch: Any) -> None:
    """Let waits be short, and pieces and blocks so small that small files have many."""
    set_to = monkeypatch.setattr
    set_to(retry, "FIRST", 0.002)
    set_to(retry, "PREPARATION", 0.02)
    set_to(transport, "BACK_OFF", 0.005)
    set_to(transport, "TIMEOUT", urllib3.Timeout(connect=5, read=SILENCE))
    set_to(transport, "SLOWEST", SILENCE)
    set_to(transport, "BLOCK", BLOCK)
    set_to(parts, "BLOCK", BLOCK)
    set_to(tokens, "BRIEFLY", 0.005)
    set_to(tokens, "ROUNDS", 1)
    set_to(crew, "WATCH", 0.02)
    set_to(batch, "WORTH_HELP", 0)
    set_to(crew, "LOOK", 0.002)
    set_to(fetch, "WAIT", 0.02)
    set_to(pieces, "LEAST", 1024)
    set_to(arrival, "FIRST_LOOK", 0.0)
    set_to(arrival, "WORTH_HELP", 0.0)
    set_to(arrival, "LEAST", 0.0)
    set_to("random.uniform", lambda least, most: least)
    set_to(store, "_sync", lambda paths: None)  # no machine crashes here
    said = resume.retry_after

    def soon(head: resume.Head, now: float | None = None) -> float | None:
        seconds = said(head, now)
        return seconds if seconds and seconds > 1 else 0.005

    set_to(resume, "retry_after", soon)
    set_to(transport, "retry_after", soon)


class Bench:
    """A sandbox, the goods that lie in it, and a folder to stage into."""

    def __init__(self, box: Sandbox, folder: Path) -> None:
        self.box = box
        self._folder = folder
        self._number = 0
        self.requests: list[dict[str, Any]] = []
        """Of the first call of the last case."""
        catalogue = box._world.catalogue
        path = min(path for path in catalogue.files if path.endswith(".zip") and path.startswith("/SLC"))
        product = catalogue.files[path]
        whole = product.read(0, product.size)
        key = min(catalogue.orbits, key=lambda key: catalogue.orbits[key].content.size)
        orbit = catalogue.orbits[key].content
        gates = tuple(Source(href=f"https://{host}{path}", auth="earthdata") for host in (GATE, OTHER_GATE))
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            inside = max(archive.infolist(), key=lambda info: info.file_size)
            others = [info.header_offset for info in archive.infolist()] + [archive.start_dir]
            content = archive.read(inside)
        start = inside.header_offset
        stop = min(offset for offset in others if offset > start)
        members = tuple(replace(gate, member=inside.filename) for gate in gates)
        private = Goods(gates, (CDN, CDN), whole, _editions(product), 0, len(whole))
        by_path = Source(href=f"https://{BY_PATH}/s1-orbits/{key}")
        regional = Source(href=f"https://{REGIONAL}/{key}")
        text = orbit.read(0, orbit.size)
        public = Goods(
            (Source(href=f"https://{BUCKET}/{key}"), by_path),
            (BUCKET, BY_PATH),
            text,
            _editions(orbit),
            0,
            len(text),
        )
        s3 = (Source(href=f"s3://s1-orbits/{key}"), regional)
        # Of its own region: else S3 would be asked twice, and at two hosts.
        signed = (regional, by_path)
        self.goods = {
            "earthdata": private,
            "ranges": private,
            "member": Goods(members, (CDN, CDN), content, _editions(product), start, stop - start),
            "https": public,
            "s3": replace(public, sources=s3, hosts=(BUCKET, REGIONAL)),
            "s3-signed": replace(
                public,
                sources=tuple(replace(one, auth="aws") for one in signed),
                hosts=(REGIONAL, BY_PATH),
            ),
            **_bands(catalogue),
        }

    def run(self, case: Case) -> list[str]:
        """Run a case; what was wrong about it, each in a line that begins with the case's name."""
        self._number += 1
        root = self._folder / str(self._number)
        try:
            return [f"{case.name}: {one}" for one in self._judge(case, root)]
        finally:
            shutil.rmtree(root, ignore_errors=True)

    def _judge(self, case: Case, root: Path) -> Iterator[str]:
        goods = self.goods[case.way]
        asset = _asset(case, goods)
        first = self._call(case, asset, root, "first", _rules(case, goods))
        self.requests = first.requests
        right = _acceptable(case, goods)
        yield from _wrong(case, asset, root, first, right)
        yield from _wrong_outcome(case, first)
        yield from _wrong_requests(case, first)
        yield from _leaks(first)
        yield from _kept(asset, root, first, goods, case)
        second = self._call(case, asset, root, "second", [])
        said = [f"second call: {one}" for one in _wrong(case, asset, root, second, right)]
        yield from said
        if second.error is not None:
            yield f"second call: {type(second.error).__name__}: {second.error}"
        if first.receipt is not None and second.requests:
            yield f"second call: {len(second.requests)} requests for what was staged"
        if first.receipt is None and second.receipt is not None and right[0] != _content(asset, root):
            yield "second call: not the bytes that the source has now"
        yield from (f"second call: {one}" for one in _leaks(second))
        yield from _resent(case, goods, first, second)

    def _call(self, case: Case, asset: Asset, root: Path, number: str, rules: list[dict[str, Any]]) -> Result:
        self.box.set_faults([])
        self.box.clear()
        # Tokens are shared by all processes, and so are refusals, for five minutes: the second call is later.
        os.environ["SKYSTAGE_STATE"] = str(root / f"state-{number}")
        access = Access(
            secrets={"aws": Secret(username=AWS_KEY, password=AWS_SECRET)},
            limits=Limits({}, root / f"state-{number}"),
        )
        if case.phase == "refresh":
            # A token, which will have died.
            access.scheme("cdse" if case.way in BANDS else "earthdata").authorization(
                DOWNLOAD if case.way in BANDS else GATE
            )
            self.box._record.clear()
        self.box.set_faults(rules)
        result = Result()
        stop = threading.Event()

        def work() -> None:
            outcome = batch.fetch_all(
                [asset], Store(root / "store"), access, jobs=3 if case.way == "ranges" else 1, stop=stop
            )
            result.receipt = next(iter(outcome.receipts), None)
            result.error = outcome.failures.get(asset.path)
            result.moved = outcome.bytes_moved

        thread = threading.Thread(target=work, daemon=True)
        begun = time.monotonic()
        thread.start()
        thread.join(DEADLINE)
        result.seconds = time.monotonic() - begun
        result.hung = thread.is_alive()
        if result.hung:
            stop.set()
            thread.join(DEADLINE)
        result.requests = self.box.requests()
        return result


def _bands(catalogue: Any) -> dict[str, Goods]:
    """A file of a Sentinel-2 product, on each of the ways to it."""
    product = min(
        (
            one
            for one in products(catalogue)
            if one.online and one.kind == "S2MSI2A" and "_N0500_" in one.name
        ),
        key=lambda one: one.name,
    )
    path = next(path for path in product.files if path.endswith("_SCL_20m.jp2"))
    content, whole = product.files[path], product.content.read(0, product.content.size)
    true = content.read(0, content.size)
    zips = tuple(
        Source(
            href=f"https://{host}/odata/v1/Products({product.id})/$value",
            auth="cdse",
            member=f"{product.name}/{path}",
        )
        for host in (DOWNLOAD, ZIPPER)
    )
    inside = "".join(f"/Nodes({part})" for part in (product.name, *path.split("/")))
    node = Source(href=zips[0].href.replace("/$value", f"{inside}/$value"), auth="cdse")
    bucket = Source(href=f"https://{EODATA}{product.s3_path}/{path}", auth="cdse-s3")
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        offsets = sorted([*(info.header_offset for info in archive.infolist()), archive.start_dir])
        start = archive.getinfo(f"{product.name}/{path}").header_offset
    stop = offsets[offsets.index(start) + 1]
    alone = Goods((node, bucket), (DOWNLOAD, EODATA), true, _editions(content), 0, len(true))
    return {
        "nodes": alone,
        "eodata": replace(alone, sources=(bucket, node), hosts=(EODATA, DOWNLOAD)),
        "zip-band": Goods(zips, (DOWNLOAD, ZIPPER), true, _editions(product.content), start, stop - start),
    }


def _editions(content: Any) -> tuple[bytes, ...]:
    return content.read(0, content.size), Changed(content).read(0, content.size)


def _asset(case: Case, goods: Goods) -> Asset:
    # A name that says nothing of a structure: nothing but what is known proves the bytes.
    checksums = {"md5": hashlib.md5(goods.true, usedforsecurity=False).hexdigest()}
    if case.way in BANDS:
        checksums = {"sha3-256": hashlib.sha3_256(goods.true).hexdigest()}
    return Asset(
        key="data",
        path="a/collection/granule/file.bin",
        size=None if case.known == "nothing" else len(goods.true),
        checksums=checksums if case.known == "md5" else {},
        sources=goods.sources if case.phase == "mirror" else goods.sources[:1],
    )


def _rules(case: Case, goods: Goods) -> list[dict[str, Any]]:
    begun = goods.length * 2 // 3  # the sandbox's other edition differs from its middle on
    reads = 1 if case.way in MEMBERS else 0  # of the zip's directory
    source, mirror = goods.hosts
    host = mirror if case.phase == "mirror" else source
    rules: list[dict[str, Any]] = []
    match: dict[str, Any] = {"host": host, "after": reads}
    place = Place(begun, goods.first + begun, last=False)
    rest = (goods.length - begun) // 2
    if case.phase == "last":
        place = Place(goods.length - 1, goods.first + goods.length - 1, last=True)
    elif case.phase == "resume":
        place = Place(rest, goods.first + begun + rest, last=False)
        rules.append({"match": {"host": source, "after": reads, "times": 1}, "cut": begun})
        match["after"] = reads + 1
    elif case.phase == "refresh":
        rules.append({"match": {"host": source, "after": reads, "times": 1}, "cut": begun})
        gate = DOWNLOAD if case.way in BANDS else OTHER_GATE
        rules.append({"match": {"host": gate, "after": reads + 1, "times": 1}, "expire_tokens": True})
        match = {"host": IDENTITY if case.way in BANDS else LOGIN}
    elif case.phase == "mirror":
        place = Place(rest, goods.first + begun + rest, last=False)
        rules.append({"match": {"host": source, "after": reads, "times": 1}, "cut": begun})
        gone = GATE if source == CDN else source
        rules.append({"match": {"host": gone, "after": reads + 1}, "status": 404})
        match["after"] = 2 * reads + 1 if mirror == source else 0
    elif case.phase == "directory":
        match["after"] = 0
        place = Place(begun, len(goods.versions[0]) - 60, last=False)
    if case.way == "ranges":
        rules.insert(0, {"match": {"host": CDN}, "bandwidth": 200_000})
        if case.phase in ("before", "middle", "last"):
            match = {"host": CDN, "range": True}
            place = replace(place, body=1000 if case.phase == "last" else 500)
        elif case.phase == "resume":
            rules[1] = {"match": {"host": CDN, "times": 3}, "cut": 2500}
            match["after"] = 3
    if case.fault.gate and source == CDN and case.phase != "refresh":
        match = {"host": OTHER_GATE, "after": match.get("after", 0)}
        if case.way == "ranges" and case.phase != "resume":
            match["after"] = 1
    if case.fault.ranged:
        match["range"] = True
        match["after"] = 0 if case.way not in MEMBERS else match["after"]
    if case.span == "once":
        match["times"] = 1
    effects = dict(case.fault.effects(place))
    return [*rules, {"match": match, **effects}]


def _acceptable(case: Case, goods: Goods) -> list[bytes]:
    """The files that may lie at the end; the first is the one that the source has."""
    right = [goods.true]
    if case.way in MEMBERS or case.known == "md5":
        return right
    # Where nothing but a length is known, what the server consistently says is believed.
    if case.fault.name.startswith("new content"):
        right.append(goods.versions[1])
    if case.fault.name == "flipped byte":
        place = next(rule["corrupt"] for rule in _rules(case, goods) if "corrupt" in rule)
        spoilt = bytearray(goods.true)
        spoilt[place] ^= 0xFF
        right.append(bytes(spoilt))
    if case.known == "nothing" and case.fault.name == "length too short":
        right += [goods.true[:-1], goods.true[:-1000]]
    if case.known == "nothing" and case.fault.name == "error document":
        right.append(PAGE.encode())
    return right


def _content(asset: Asset, root: Path) -> bytes:
    path = root / "store" / asset.path
    return path.read_bytes() if path.exists() else b""


def _wrong(case: Case, asset: Asset, root: Path, result: Result, right: list[bytes]) -> Iterator[str]:
    path = root / "store" / asset.path
    if result.hung:
        yield f"hung for more than {DEADLINE:.0f} s"
    if path.exists() and path.read_bytes() not in right:
        yield f"a wrong file of {path.stat().st_size:,} bytes at the final path"
    if (result.receipt is None) == (result.error is None):
        yield "neither a receipt nor an error, or both"
    if result.receipt is None:
        return
    if not path.exists():
        yield "success without a file"
        return
    content = path.read_bytes()
    if result.receipt.size != len(content):
        yield "the receipt has another size than the file"
    if result.receipt.digests["sha256"] != hashlib.sha256(content).hexdigest():
        yield "the receipt has another digest than the file"
    shards = list((root / "store" / ".skystage" / "receipts").iterdir())
    written = [json.loads(line) for shard in shards for line in shard.read_text().splitlines()]
    if asset.path not in [one["path"] for one in written]:
        yield "the receipt was not written"
    if any((root / "store" / ".skystage" / "parts").iterdir()):
        yield "something is left of the part"
    planned = {root / "store" / asset.path}
    stray = [one for one in (root / "store" / "a").rglob("*") if one.is_file() and one not in planned]
    if stray:
        yield f"stray files: {stray}"


def _wrong_outcome(case: Case, result: Result) -> Iterator[str]:
    fault = case.fault
    expected = _expected(case)
    if result.error is None:
        if expected == ERROR:
            yield "success, where there was none to be had"
        return
    name = type(result.error).__name__
    allowed = set(fault.errors)
    if case.way in MEMBERS and "StructureError" in allowed:
        allowed |= {"ShortBody", "NotFound"}  # of its directory
    if case.phase == "mirror" and allowed - TRANSIENT:
        allowed.add("NotFound")  # the first source's error is as good as the second's
    if name not in allowed:
        yield f"not the error that it is: {name}: {result.error}"
    elif expected == OK:
        yield f"failed, although one more try would do: {name}: {result.error}"
    if result.error.transient != (name in TRANSIENT):
        yield f"{name} says transient={result.error.transient}"
    text = str(result.error)
    if not text.strip() or "\n" in text:
        yield f"not one line: {text!r}"


def _expected(case: Case) -> str:
    fault = case.fault
    if case.known == "nothing" and fault.name in ("cut where nobody knows the end", "error document"):
        return EITHER  # the one is refused at once, as a cut could not be told; the other nothing denies
    if case.way == "ranges" and (case.span == "once" or case.phase in ("before", "middle", "last")):
        # One connection more that comes to nothing need not cost the transfer; the first may end it.
        return OK if fault.once == OK and case.span == "once" else EITHER
    if case.way in BANDS and case.phase == "refresh" and fault.once == ERROR:
        return EITHER  # who is not given a new token for the old one sends the password
    if case.way in MEMBERS and case.phase in ("mirror", "directory"):
        return EITHER  # there are two kinds of requests, and it may meet either
    return fault.once if case.span == "once" else fault.always


def _bodies(result: Result) -> list[dict[str, Any]]:
    return [request for request in result.requests if request["host"] in BODIES]


def _wrong_requests(case: Case, result: Result) -> Iterator[str]:
    count = len(_bodies(result))
    most = 2 * TRIES + 2
    if case.way in MEMBERS:
        most *= 2  # its directory may have to be read anew
    if case.way == "ranges":
        most += 20
    if case.phase == "mirror":
        most *= 2
    if case.span == "once" and case.way in WHOLE:
        # If what was begun is not continued with what is there now, then that comes with the same answer.
        renewed = case.phase == "resume" and case.fault.name.startswith("new content") and case.known != "md5"
        most = 1 + (case.phase in ("resume", "refresh", "mirror")) + (0 if renewed else case.fault.extra)
        if case.way in BANDS and case.phase == "refresh":
            most += 2  # as long as there is no new token, the old one is tried
        if case.phase == "mirror":
            most += 1  # the one that the first source refuses
    if count > most:
        yield f"{count} requests for the body, {most} would have done"
    if len(result.requests) > 6 * most + 10:
        yield f"{len(result.requests)} requests"


def _leaks(result: Result) -> Iterator[str]:
    words = {PASSWORD, S3_SECRET, AWS_SECRET, base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
    for request in result.requests:
        scheme, _, word = request["headers"].get("authorization", "").partition(" ")
        if scheme == "Bearer":
            words.add(word)
    for request in result.requests:
        host, headers = request["host"], request["headers"]
        scheme, _, word = headers.get("authorization", "").partition(" ")
        ours = {
            "": True,
            "Basic": host == LOGIN,
            "Bearer": host.endswith((".asf.alaska.edu", ".earthdata.nasa.gov")) or host in (DOWNLOAD, ZIPPER),
            "AWS4-HMAC-SHA256": host.endswith(".amazonaws.com") or host == EODATA,
        }
        if not ours.get(scheme, False):
            yield f"{scheme} credentials were sent to {host}"
        cookies = headers.get("cookie", "")
        if "asf-urs" in cookies and not host.endswith(".asf.alaska.edu"):
            yield f"a cookie of asf.alaska.edu was sent to {host}"
        if "urs" in cookies.replace("asf-urs", "") and host != LOGIN:
            yield f"a cookie of the log-in was sent to {host}"
        address = f"{request['path']}?{request['query']}"
        rest = " ".join(value for name, value in headers.items() if name not in ("authorization", "cookie"))
        if any(word in address or word in rest for word in words):
            yield f"a secret stands in the address or a header of a request to {host}"
    text = "" if result.error is None else f"{result.error!r} {result.error}"
    if any(word in text for word in words):
        yield "a secret stands in the error"


def _kept(asset: Asset, root: Path, result: Result, goods: Goods, case: Case) -> Iterator[str]:
    """What a failed call left must be bytes of one edition, or nothing."""
    if result.error is None:
        return
    folder = root / "store" / ".skystage" / "parts"
    left = {path.suffix: path for path in folder.iterdir()}
    if type(result.error).__name__ in REFUSED and ".part" in left and case.phase != "mirror":
        yield "what was refused is kept"
    if ".unpacked" in left:
        yield "an unpacked member is kept"
    if ".json" not in left or ".part" not in left:
        return
    content = left[".part"].read_bytes()
    runs = [(0, len(content))]
    if ".map" in left:
        lines = left[".map"].read_text().splitlines()
        runs = [tuple(map(int, line.split())) for line in lines]
    editions = [edition[goods.first : goods.first + goods.length] for edition in goods.versions]
    if case.fault.name == "flipped byte":
        editions += [one for one in _acceptable(replace(case, known="nothing"), goods) if one not in editions]
        if case.way in MEMBERS or case.known == "md5":
            return
    if not any(all(content[a:b] == one[a:b] for a, b in runs) for one in editions):
        yield "the part is of no one edition of the file"


def _resent(case: Case, goods: Goods, first: Result, second: Result) -> Iterator[str]:
    """After cuts, what has come is not sent again: at most one block of each connection for each cut."""
    if "cut" not in case.fault.name or second.receipt is None or case.phase == "directory":
        return
    if case.fault.name == "cut where nobody knows the end" and case.known == "nothing":
        return
    proved = case.known == "md5" or case.way in MEMBERS
    if case.phase == "mirror" and not proved:
        return  # without a checksum a mirror must begin anew
    asked = [
        request
        for request in (*_bodies(first), *_bodies(second))
        if request["status"] in (200, 206) and not (request["range"] or "").startswith("bytes=-")
    ]
    cuts = len(asked) - 1  # each but the last was cut, or it would have been the last
    moved, connections = sum(request["sent"] for request in asked), 1
    if case.way == "ranges":
        moved, connections = first.moved + second.moved, 3
    most = goods.length + cuts * BLOCK * connections
    if moved > most:
        yield f"{moved:,} bytes moved for {goods.length:,}, {most:,} at most after {cuts} cuts"
