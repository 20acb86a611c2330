"""What known clients make of an archive's faults: the first call, and the call again as a retry makes it.

::

    python benchmarks/faults.py --json faults.json --markdown docs/faults.md
    python benchmarks/faults.py --clients curl skystage --faults cut kill

The sandbox serves one file of 4.4 MB, and one of its faults. Each client fetches the file in a process
of its own, with a deadline. If that fails, the fault is taken away and the same call is made again.
What then lies at the final name is compared with the true bytes: the client's word alone counts for
nothing. Needs the clients (``pip install --group peers``) and, for the full disk, a root that may
mount a tmpfs. A client that is not there is named, and not left out.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from skystage.plan import Plan
from skystage.sandbox import Sandbox
from skystage.sandbox.orbits import parse_name, write_eof
from skystage.store import Store

ORBIT = "S1A_OPER_AUX_POEORB_OPOD_20180129T120717_V20180107T225942_20180109T005942.EOF"
PUBLIC = f"https://s1-orbits.s3.amazonaws.com/AUX_POEORB/{ORBIT}"
"""A file that everybody may have, so that every client can take part."""
SLC = "S1A_IW_SLC__1SDV_20200102T133428_20200102T133455_030622_03BCF0_8F4F.zip"
LOGIN = f"https://datapool.asf.alaska.edu/SLC/SA/{SLC}"
"""A file behind Earthdata Login, for those that can log in."""
LOGIN_HOSTS = ("urs.earthdata.nasa.gov", ".asf.alaska.edu")
SIZE = 4_400_000
"""Bytes of both, about: a precise orbit file's real size."""
AT = 737_000
"""Where a body breaks: inside the ranges, too, of a client that asks for five at once."""
LATE = 3_200_000
"""The same, where it is to be late."""
SMALL, LARGE = "2m", "2g"
"""A disk that is too small, and one that is not, also for those that leave some of it free."""
DEADLINE, LONG = 200.0, 360.0
"""Seconds that a call may take; the long one is for silence, which some clients sit out for 300 s."""
OK, ERROR, PART, WRONG, HANG = "ok", "error", "part", "**WRONG**", "hang"
ABSENT, NOT_RUN = "absent", "not run"
MARKS = ("<!-- made by benchmarks/faults.py -->", "<!-- the end of what it made -->")


# --------------------------------------------------------------------------------------------------
# The faults


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong during the first call, and what is different when the call is made again."""

    name: str
    title: str
    rules: Sequence[dict[str, Any]] = ()
    later: Sequence[dict[str, Any]] = ()
    """The rules for the second call; none: the fault is gone."""
    login: bool = False
    kill: bool = False
    """SIGKILL, once some of the file has arrived."""
    disk: bool = False
    """The file does not fit on the disk; for the second call there is room."""
    deadline: float = DEADLINE
    other: bool = False
    """The second call finds another edition of the file: that is then a right answer, too."""


def _broken_off() -> list[dict[str, Any]]:
    """The first body breaks and no other comes: something to continue, for those that do.

    It breaks in the second half, where the other edition differs.
    """
    return [
        {"match": {"method": "GET"}, "cut": LATE},
        {"match": {"method": "GET", "after": 1}, "cut_before_headers": True},
    ]


_S3_ERROR = '<?xml version="1.0"?>\n<Error><Code>InternalError</Code><Message>Try again</Message></Error>'
_STILL = {"stall": 900, "stall_at": AT}
_TWO = {"method": "GET", "times": 2}

FAULTS = [
    Fault("none", "no fault"),
    Fault("before-headers", "connection closed before the headers", [{"cut_before_headers": True}]),
    Fault("cut", "every body cut after 0.7 MB", [{"cut": AT}]),
    Fault("last-byte", "every body cut before its last byte", [{"cut": -1}]),
    Fault("long-length", "`Content-Length` 1,000 too long", [{"lie": 1000}]),
    Fault("short-length", "`Content-Length` 1,000 too short", [{"lie": -1000}]),
    Fault("close-cut", "no length, and cut", [{"no_length": "close", "cut": AT}]),
    Fault("chunked-cut", "chunked, and cut", [{"no_length": "chunked", "cut": AT}]),
    Fault("stall", "silence in the first two bodies", [{"match": _TWO, **_STILL}], deadline=LONG),
    Fault("drip", "500 bytes a second in the first two", [{"match": _TWO, "drip": 500}], deadline=LONG),
    Fault("corrupt", "one byte flipped", [{"corrupt": SIZE // 2}]),
    Fault("login-page", "log-in page with status 200", [{"login_page": True}]),
    Fault("s3-error", "S3 error document with status 200", [{"body": _S3_ERROR}]),
    Fault("empty", "empty body with status 200", [{"body": ""}]),
    Fault("502", "gateway's page with 502", [{"gateway_page": True}]),
    Fault("503", "503", [{"status": 503}]),
    Fault("504", "504", [{"status": 504}]),
    Fault("429", "429 once, `Retry-After: 1`", [{"match": {"times": 1}, "retry_after": 1}]),
    Fault("401", "401", [{"status": 401}]),
    Fault(
        "ignored-range",
        "cut; then ranges are ignored",
        _broken_off(),
        [{"match": {"range": True}, "ignore_range": True}],
    ),
    Fault(
        "wrong-range",
        "cut; then another range than asked for",
        _broken_off(),
        [{"match": {"range": True}, "wrong_range": True}],
    ),
    Fault("validator", "cut; then a new ETag for the same bytes", _broken_off(), [{"validator": "change"}]),
    Fault("other", "cut; then other content", _broken_off(), [{"content": "other"}], other=True),
    Fault("kill", "SIGKILL in mid-file", [{"match": {"method": "GET"}, **_STILL}], kill=True),
    Fault("disk", "disk full", disk=True),
    Fault("login-none", "no fault", login=True),
    Fault(
        "login-expired",
        "log-in expires as the file is asked for",
        [{"match": {"host": "datapool.*", "times": 1}, "expire_tokens": True}],
        login=True,
    ),
    Fault(
        "login-signature",
        "signed address refused once",
        [{"match": {"host": "*.cloudfront.net", "times": 1}, "status": 403}],
        login=True,
    ),
    Fault(
        "login-cut",
        "bodies cut; then the log-in has expired",
        [{"match": {"host": "*.cloudfront.net"}, "cut": AT}],
        [{"match": {"host": "datapool.*", "times": 1}, "expire_tokens": True}],
        login=True,
    ),
    Fault(
        "login-corrupt",
        "one byte of the zip flipped",
        [{"match": {"host": "*.cloudfront.net"}, "corrupt": SIZE // 2}],
        login=True,
    ),
    Fault(
        "login-kill",
        "SIGKILL in mid-file",
        [{"match": {"host": "*.cloudfront.net"}, **_STILL}],
        login=True,
        kill=True,
    ),
]


# --------------------------------------------------------------------------------------------------
# The clients: each fetches `wanted` as its documentation says, and raises or exits if it knows of a failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a client is asked for."""

    url: str
    into: str
    """The directory; the file is to have the URL's name there."""
    size: int = 0
    md5: str = ""
    token: str = ""
    """For Earthdata Login; empty where no log-in is needed."""

    @property
    def name(self) -> str:
        """The file name."""
        return self.url.rpartition("/")[2]

    @property
    def path(self) -> Path:
        """The final name."""
        return Path(self.into, self.name)


def call_reference(wanted: Wanted) -> None:
    """Fetch the true bytes, without a fault."""
    import requests

    reply = requests.get(wanted.url, timeout=60)
    reply.raise_for_status()
    wanted.path.write_bytes(reply.content)


def _skystage(wanted: Wanted, checksums: dict[str, str]) -> None:
    from skystage import plan
    from skystage.model import Asset, Granule, Query, Source

    planned = Path(f"{wanted.into}.ndjson")
    if not planned.exists():
        source = Source(href=wanted.url, auth="earthdata" if wanted.token else None)
        asset = Asset(key="data", path=wanted.name, size=wanted.size, checksums=checksums, sources=(source,))
        granule = Granule(archive="asf", collection="C", id="G", native_id="G", assets=(asset,))
        plan.write(planned, query=Query(archive="asf"), granules=[granule], hits=1, received=1)
    _become(sys.executable, "-m", "skystage.cli", "fetch", str(planned), "--store", wanted.into)


def call_skystage(wanted: Wanted) -> None:
    """A plan with the archive's MD5, as ASF and the bucket give it."""
    _skystage(wanted, {"md5": wanted.md5})


def call_skystage_size(wanted: Wanted) -> None:
    """A plan that knows only the size."""
    _skystage(wanted, {})


def call_curl(wanted: Wanted) -> None:
    """Curl as scripts use it: try again, and continue what is there."""
    login = ["--netrc-file", os.environ["NETRC"], "--cookie-jar", f"{wanted.into}.jar", "--cookie", ""]
    options = ["--fail", "--silent", "--show-error", "--location", "--retry", "3", "--continue-at", "-"]
    _become("curl", *options, *(login if wanted.token else ()), "--output", str(wanted.path), wanted.url)


def call_asf_search(wanted: Wanted) -> None:
    """Its ``download_url``, which ``ASFProduct.download`` calls."""
    import asf_search

    session = asf_search.ASFSession()
    if wanted.token:
        session.auth_with_creds("sandbox-user", "sandbox-password")
    asf_search.download_url(wanted.url, wanted.into, session=session)


def call_astroquery(wanted: Wanted) -> None:
    """MAST's ``download_file``, told another address than MAST's; it says how it went."""
    from astroquery.mast import Observations

    status, message, _ = Observations.download_file(
        f"mast:X/{wanted.name}", local_path=str(wanted.path), base_url=wanted.url
    )
    if status != "COMPLETE":
        sys.exit(f"{status}: {message}")


def call_stac_asset(wanted: Wanted) -> None:
    """Its ``download_item``, with its own retries; aiohttp heeds the proxy only if it is told to."""
    asyncio.run(_download_item(wanted))


async def _download_item(wanted: Wanted) -> None:
    from datetime import UTC, datetime

    import pystac
    import stac_asset
    from aiohttp import ClientError, ClientSession, ClientTimeout
    from aiohttp_retry import JitterRetry, RetryClient
    from stac_asset.earthdata_client import EarthdataClient

    config = stac_asset.Config(client_override="earthdata" if wanted.token else None)
    headers = {"Authorization": f"Bearer {wanted.token}"} if wanted.token else {}
    timeout = ClientTimeout(total=config.http_client_timeout)
    session = RetryClient(
        client_session=ClientSession(timeout=timeout, headers=headers, trust_env=True),
        retry_options=JitterRetry(attempts=config.http_max_attempts, exceptions={ClientError}),
    )
    kind = EarthdataClient if wanted.token else stac_asset.HttpClient
    client = kind(session, config.http_assert_content_type)
    item = pystac.Item("item", None, None, datetime(2020, 1, 1, tzinfo=UTC), {})
    item.add_asset("data", pystac.Asset(wanted.url))
    await stac_asset.download_item(item, wanted.into, infer_file_name=False, config=config, clients=[client])


def _parfive(wanted: Wanted, checksum: str | None) -> None:
    import parfive

    downloader = parfive.Downloader(progress=False)
    downloader.enqueue_file(wanted.url, path=wanted.into, filename=wanted.name, checksum=checksum)
    # It does not raise: who does not look at the errors takes every failure for a success.
    if errors := downloader.download().errors:
        sys.exit(str(errors))


def call_parfive(wanted: Wanted) -> None:
    """Five ranges at once, as it does by itself."""
    _parfive(wanted, None)


def call_parfive_md5(wanted: Wanted) -> None:
    """The same, told the checksum."""
    _parfive(wanted, f"md5={wanted.md5}")


def _pooch(wanted: Wanted, known: str | None) -> None:
    import pooch

    pooch.retrieve(wanted.url, known_hash=known, fname=wanted.name, path=wanted.into)


def call_pooch(wanted: Wanted) -> None:
    """Without a hash, as one begins."""
    _pooch(wanted, None)


def call_pooch_md5(wanted: Wanted) -> None:
    """With a known hash, as its documentation recommends."""
    _pooch(wanted, f"md5:{wanted.md5}")


def call_snakemake(wanted: Wanted) -> None:
    """A workflow with one rule, whose input is in the http storage."""
    rule = f'rule stage:\n    input: storage.http("{wanted.url}")\n    output: "{wanted.name}"\n'
    Path(wanted.into, "Snakefile").write_text(f'{rule}    shell: "cp {{input}} {{output}}"\n')
    os.chdir(wanted.into)
    # What a killed run left locked or half done must not need a person.
    _become(sys.executable, "-m", "snakemake", "--cores", "1", "--rerun-incomplete", "--nolock", "--quiet")


def _become(*command: str) -> None:
    os.execvp(command[0], command)  # noqa: S606


@dataclass(frozen=True, slots=True)
class Client:
    """A contestant."""

    name: str
    title: str
    package: str
    call: Callable[[Wanted], None]
    login: bool = False
    """Whether it can log in to Earthdata."""


CLIENTS = [
    Client("skystage", "skystage", "skystage", call_skystage, login=True),
    Client("skystage-size", "skystage, size alone", "skystage", call_skystage_size, login=True),
    Client("curl", "curl `-C - --retry`", "curl", call_curl, login=True),
    Client("asf_search", "asf_search", "asf_search", call_asf_search, login=True),
    Client("astroquery", "astroquery (MAST)", "astroquery", call_astroquery),
    Client("stac-asset", "stac-asset", "stac-asset", call_stac_asset, login=True),
    Client("parfive", "parfive", "parfive", call_parfive),
    Client("parfive-md5", "parfive, md5 given", "parfive", call_parfive_md5),
    Client("pooch", "pooch, no hash", "pooch", call_pooch),
    Client("pooch-md5", "pooch, hash given", "pooch", call_pooch_md5),
    Client("snakemake-http", "Snakemake http storage", "snakemake-storage-plugin-http", call_snakemake),
]
REFERENCE = Client("reference", "", "requests", call_reference)


def installed(package: str) -> str | None:
    """The version of a package, or of curl, that is here; None for one that is not."""
    if package != "curl":
        try:
            return version(package)
        except PackageNotFoundError:
            return None
    if shutil.which("curl") is None:
        return None
    said = subprocess.run(["curl", "--version"], check=True, capture_output=True, text=True)  # noqa: S607
    return said.stdout.split()[1]


# --------------------------------------------------------------------------------------------------
# A trial: a client, a fault, one call or two


@dataclass(slots=True)
class Call:
    """How one call went."""

    outcome: str
    ended: str
    """``exit N``, ``killed`` or ``hang``."""
    file: str
    """What lies at the final name: ``right``, ``wrong``, ``absent``."""
    seconds: float
    sent: int
    """Bytes of bodies that the server sent."""
    requests: int
    secrets_to: list[str]
    """Hosts that saw an Authorization header and should not have."""
    said: str
    """The end of what it wrote to standard error."""


@dataclass(slots=True)
class Trial:
    """A client under a fault."""

    client: str
    fault: str
    first: Call | None = None
    again: Call | None = None
    size: int = 0
    note: str = ""

    @property
    def cell(self) -> str:
        """For the table."""
        if self.first is None:
            return self.note
        return self.first.outcome if self.again is None else f"{self.first.outcome} → {self.again.outcome}"


@dataclass(frozen=True, slots=True)
class Bench:
    """Where the trials are made, and the true bytes' digests."""

    root: Path
    truth: dict[bool, list[str]] = field(default_factory=dict)
    """By whether a log-in is needed: MD5 of the file, and of its other edition."""
    sizes: dict[bool, int] = field(default_factory=dict)

    def box(self, *, login: bool) -> Sandbox:
        """A sandbox of its own for one trial."""
        return Sandbox(payload_size=SIZE) if login else Sandbox(catalogue=self.root / "catalogue")

    def prepare(self) -> None:
        """Write the catalogue, and learn what the true bytes are."""
        name = parse_name(ORBIT)
        if name is None:
            raise ValueError(ORBIT)
        orbits = self.root / "catalogue" / "orbits"
        orbits.mkdir(parents=True)
        (orbits / f"{ORBIT}.gz").write_bytes(gzip.compress(write_eof(name, step=10), 1))
        for login in (False, True):
            url = LOGIN if login else PUBLIC
            for edition in ("first", "other"):
                place = self.root / f"reference-{login}-{edition}"
                place.mkdir()
                wanted = Wanted(url=url, into=str(place))
                with self.box(login=login) as box:
                    if edition == "other":
                        box.set_faults([{"content": "other"}])
                    ended, said = _called(REFERENCE, wanted, box.environment(), DEADLINE, kill=False)
                if ended != "exit 0":
                    raise RuntimeError(said)
                content = wanted.path.read_bytes()
                self.truth.setdefault(login, []).append(_md5(content))
                self.sizes[login] = len(content)

    def trial(self, client: Client, fault: Fault) -> Trial:
        """Make the first call, and if it fails, the second."""
        result = Trial(client.name, fault.name, size=self.sizes[fault.login])
        if installed(client.package) is None:
            result.note = ABSENT
            return result
        if fault.login and not client.login:
            result.note = "–"  # noqa: RUF001 - a dash for: cannot take part
            return result
        if fault.disk and os.geteuid() != 0:
            result.note = NOT_RUN
            return result
        place = self.root / f"{client.name}-{fault.name}"
        into = place / "out"
        (place / "home").mkdir(parents=True)
        into.mkdir()
        with _small_disk(into) if fault.disk else nullcontext(), self.box(login=fault.login) as box:
            wanted = Wanted(
                url=LOGIN if fault.login else PUBLIC,
                into=str(into),
                size=self.sizes[fault.login],
                md5=self.truth[fault.login][0],
                token=box.token() if fault.login else "",
            )
            right = self.truth[fault.login]
            box.set_faults(fault.rules)
            result.first = _judged(client, wanted, box, right[:1], fault.deadline, kill=fault.kill)
            # An orchestrator makes again only what failed.
            if result.first.outcome not in (OK, WRONG):
                if fault.disk:
                    _mount(f"remount,size={LARGE}", into)
                box.set_faults(fault.later)
                result.again = _judged(client, wanted, box, right if fault.other else right[:1], DEADLINE)
        shutil.rmtree(place)
        return result


def _judged(
    client: Client, wanted: Wanted, box: Sandbox, right: list[str], deadline: float, *, kill: bool = False
) -> Call:
    """Make one call, and compare what it says with what lies there."""
    before = len(box.requests())
    home = Path(wanted.into).parent / "home"
    # State of its own, so that no trial knows of another one.
    own = {"HOME": home, "XDG_CACHE_HOME": home, "XDG_CONFIG_HOME": home, "SKYSTAGE_STATE": home / "state"}
    environment = {**box.environment(), **{name: str(path) for name, path in own.items()}}
    begun = time.monotonic()
    ended, said = _called(client, wanted, environment, deadline, kill=kill)
    seconds = time.monotonic() - begun
    seen = box.requests()[before:]
    file = "absent"
    if wanted.path.exists():
        file = "right" if _md5(wanted.path.read_bytes()) in right else "wrong"
    if ended == "exit 0":
        # Of skystage more is asked than of others: its success is the receipt.
        proved = client.package != "skystage" or _has_receipt(wanted)
        outcome = OK if file == "right" and proved else WRONG
    elif ended == HANG:
        outcome = HANG
    else:
        outcome = PART if file == "wrong" else ERROR
    return Call(
        outcome=outcome,
        ended=ended,
        file=file,
        seconds=round(seconds, 1),
        sent=sum(request["sent"] for request in seen),
        requests=len(seen),
        secrets_to=sorted(
            {one["host"] for one in seen if "authorization" in one["headers"]}
            - {one["host"] for one in seen if one["host"].endswith(LOGIN_HOSTS)}
        ),
        said=said,
    )


def _has_receipt(wanted: Wanted) -> bool:
    (asset,) = Plan(f"{wanted.into}.ndjson").assets()
    return Store(wanted.into, read_only=True).receipt(asset) is not None


def _called(
    client: Client, wanted: Wanted, environment: dict[str, str], deadline: float, *, kill: bool
) -> tuple[str, str]:
    """Run a client in a process group of its own: how it ended, and what it said last."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, __file__, "call", client.name, json.dumps(asdict(wanted))],
            env=environment,
            cwd=Path(wanted.into).parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        try:
            if kill:
                _wait_for_some(Path(wanted.into), process)
                ended = "killed" if process.poll() is None else f"exit {process.returncode}"
            else:
                ended = f"exit {process.wait(deadline)}"
        except subprocess.TimeoutExpired:
            ended = HANG
        finally:
            # The whole group: a workflow has children, and a client that ended may have left some.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        errors.seek(0)
        return ended, errors.read()[-600:].decode(errors="replace")


def _wait_for_some(directory: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until a good part of a file lies there and nothing more comes, or for half a minute."""
    until = time.monotonic() + 30
    seen = -1
    while process.poll() is None and time.monotonic() < until:
        size = sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())
        if size == seen and size >= AT // 2:
            return
        seen = size
        time.sleep(0.5)


@contextmanager
def _small_disk(directory: Path) -> Iterator[None]:
    _mount(f"size={SMALL}", directory)
    try:
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)  # noqa: S603, S607


def _mount(options: str, directory: Path) -> None:
    subprocess.run(  # noqa: S603
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)],  # noqa: S607
        check=True,
    )


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


# --------------------------------------------------------------------------------------------------
# The tables


def table(results: dict[tuple[str, str], dict[str, Any]], *, login: bool) -> str:
    """One row a fault, one column a client: the first call, and the second if there was one."""
    faults = [fault for fault in FAULTS if fault.login == login]
    clients = [client for client in CLIENTS if client.login or not login]
    rows = [["", *(client.title for client in clients)], ["---"] * (len(clients) + 1)]
    for fault in faults:
        cells = [results.get((client.name, fault.name), {}).get("cell", NOT_RUN) for client in clients]
        rows.append([fault.title, *cells])
    for title, ends in (("in the first call", str.startswith), ("after the retry", _second)):
        counts = [
            sum(ends(results.get((client.name, fault.name), {}).get("cell", ""), WRONG) for fault in faults)
            for client in clients
        ]
        rows.append([f"wrong file as success {title}, of {len(faults)}", *map(str, counts)])
    return _lines(rows)


def _second(cell: str, outcome: str) -> bool:
    return cell.endswith(f"→ {outcome}")


RESUMED = ("cut", "last-byte", "stall", "kill", "disk")


def resent(results: dict[tuple[str, str], dict[str, Any]]) -> str:
    """Bytes that the server sent for both calls, against the file's, where both ended well."""
    rows = [["", *(client.title for client in CLIENTS)], ["---"] * (len(CLIENTS) + 1)]
    for fault in FAULTS:
        if fault.name in RESUMED:
            cells = [_sent(results.get((client.name, fault.name), {})) for client in CLIENTS]
            rows.append([fault.title, *cells])
    return _lines(rows)


def _sent(result: dict[str, Any]) -> str:
    if not result.get("cell", "").endswith(OK):
        return ""
    calls = [result["first"], result["again"]] if result["again"] else [result["first"]]
    return f"{100 * sum(call['sent'] for call in calls) / result['size']:.0f} %"


def _lines(rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def page(results: dict[tuple[str, str], dict[str, Any]]) -> str:
    """What stands in the docs: the versions and the tables."""
    packages = dict.fromkeys([*(client.package for client in CLIENTS), "snakemake"])
    named = ", ".join(f"{one} {installed(one) or ABSENT}" for one in packages if one != "skystage")
    return "\n\n".join(
        [
            f"Versions: {named}.",
            "### A public file",
            table(results, login=False),
            "### Behind Earthdata Login",
            table(results, login=True),
            "### What it cost",
            "Bytes that the server sent for both calls, in percent of the file, where they ended well:",
            resent(results),
        ]
    )


# --------------------------------------------------------------------------------------------------


def measure(clients: list[Client], faults: list[Fault], jobs: int) -> list[Trial]:
    """Make all trials, the longest first; most of the time they wait."""
    results = []
    with tempfile.TemporaryDirectory(prefix="skystage-faults-") as root, ThreadPoolExecutor(jobs) as pool:
        bench = Bench(Path(root))
        bench.prepare()
        wanted = [(client, fault) for fault in faults for client in clients]
        wanted.sort(key=lambda pair: -pair[1].deadline)
        futures = [pool.submit(bench.trial, client, fault) for client, fault in wanted]
        for number, future in enumerate(as_completed(futures), 1):
            trial = future.result()
            results.append(trial)
            print(f"{number}/{len(futures)} {trial.client} {trial.fault}: {trial.cell}", file=sys.stderr)
    return results


def main() -> None:
    """Measure, add the results to those that are there, and print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names, titles = [client.name for client in CLIENTS], [fault.name for fault in FAULTS]
    parser.add_argument("--clients", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--faults", nargs="*", choices=titles, default=titles, metavar="NAME")
    parser.add_argument("--jobs", type=int, default=6, help="trials at a time (default: 6)")
    parser.add_argument("--json", type=Path, help="add the results to those in this file")
    parser.add_argument("--markdown", type=Path, help="put the tables in this page instead of printing them")
    arguments = parser.parse_args()
    results: dict[tuple[str, str], dict[str, Any]] = {}
    if arguments.json is not None and arguments.json.exists():
        for one in json.loads(arguments.json.read_text())["trials"]:
            results[one["client"], one["fault"]] = one
    clients = [client for client in CLIENTS if client.name in arguments.clients]
    faults = [fault for fault in FAULTS if fault.name in arguments.faults]
    for trial in measure(clients, faults, arguments.jobs):
        results[trial.client, trial.fault] = {**asdict(trial), "cell": trial.cell}
    if arguments.json is not None:
        versions = {client.package: installed(client.package) for client in CLIENTS}
        kept = [results[key] for key in sorted(results)]
        arguments.json.write_text(json.dumps({"versions": versions, "trials": kept}, indent=1) + "\n")
    made = page(results)
    if arguments.markdown is None:
        print(made)
        return
    before, rest = arguments.markdown.read_text().split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    arguments.markdown.write_text(f"{before}{MARKS[0]}\n\n{made}\n\n{MARKS[1]}{after}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["call"]:
        chosen = next(one for one in (*CLIENTS, REFERENCE) if one.name == sys.argv[2])
        chosen.call(Wanted(**json.loads(sys.argv[3])))
    else:
        main()
