"""The scene classifications of ten Sentinel-2 products of the Copernicus Data Space, in the sandbox.

Planning is part of the job: each way begins with a question to the catalogue, and skystage reads the
products' manifests then. The way without it is told of the products, and so is remotezip.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from urllib.parse import urlsplit, urlunsplit

import engines
import files
import optical
from cases.common import CAP, CAPPED
from contest import Bench, Case, Contestant, Count, File, Goal, Job, Round, Sample, Setting
from link import link
from skystage.sandbox import Sandbox, copernicus
from skystage.sandbox.accounts import PASSWORD, USER
from skystage.sandbox.cdse_catalogue import DOWNLOAD
from skystage.sandbox.eodata import HOST as EODATA

COUNT = 10
ALLOWED = 150_000
"""Bytes a product beside a tenth more than the file itself: its manifest alone has up to 100 kB."""
PAUSE = 9
"""Seconds that the script of the "usual way" sleeps before each product; counted, and not waited for."""
QUERY = {"archive": "cdse", "collection": "SENTINEL-2", "product_type": "S2MSI2A", "assets": ["SCL_20m"]}


@dataclass(frozen=True, slots=True)
class _Log:
    """What the sandbox has sent."""

    box: Sandbox

    def total(self) -> Count:
        """All until now."""
        said = self.box.requests()
        return Count(
            requests=len(said),
            bytes=sum(one["sent"] for one in said),
            throttled=sum(one["status"] == 429 for one in said),
        )


def _skystage(way: str, environ: Mapping[str, str]) -> Contestant:
    """Plan and fetch, as two commands; what planning reads is kept for no later round."""

    def command(job: Job) -> list[str]:
        (job.work / "query.json").write_text(json.dumps({**QUERY, "sources": [way]}))
        program = shlex.join([*engines.PYTHON, "-m", "skystage.cli"])
        steps = (
            "export SKYSTAGE_CACHE=$PWD/cache",
            f"{program} plan query.json -o plan.ndjson --json",
            f"exec {program} fetch plan.ndjson --store {shlex.quote(str(job.out))} --json",
        )
        return ["sh", "-c", " && ".join(steps)]

    return Contestant(name=f"skystage {way}", command=command, environ=environ)


def _wanted(box: Sandbox) -> list[File]:
    found = []
    for product in copernicus.products(box._world.catalogue):  # noqa: SLF001
        for path, content in product.files.items():
            if path.endswith("_SCL_20m.jp2"):
                whole = content.read(0, content.size)
                found.append(
                    File(
                        name=content.name,
                        url=f"https://{DOWNLOAD}/odata/v1/Products({product.id})/$value",
                        size=len(whole),
                        sha256=hashlib.sha256(whole).hexdigest(),
                        auth="cdse",
                        member=f"{product.name}/{path}",
                    )
                )
    return found


def _environ(box: Sandbox, reach: Callable[[int], tuple[str, int]]) -> dict[str, str]:
    """What leads a client into the sandbox, over a link."""
    found = {name: value for name, value in box.environ.items() if value is not None}
    host, port = reach(box.port)
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        found[name] = urlunsplit(urlsplit(found[name])._replace(netloc=f"{host}:{port}"))
    return found | {"CDSE_USERNAME": USER, "CDSE_PASSWORD": PASSWORD}


@contextmanager
def _setting(bench: Bench) -> Iterator[Setting]:
    share = bench.pick(10, 1) / 100
    box = Sandbox()
    with ExitStack() as stack:
        stack.enter_context(optical.products(box, COUNT, share))
        stack.enter_context(box)
        # The sandbox is on this machine only, and so is the link to it.
        wire = stack.enter_context(link(bench.room / "link", "proxy"))
        wanted, environ = _wanted(box), _environ(box, wire.reach)
        hold = [{"match": {"host": host}, "bandwidth": CAP} for host in (DOWNLOAD, EODATA)]
        box.set_faults(hold)
        held = [one.content for one in copernicus.products(box._world.catalogue) if one.files]  # noqa: SLF001
        for whole in held:
            whole.md5  # noqa: B018 - made now, and not in the time of whoever comes first
        usual = engines.library("whole_zips", package="requests", environ=environ)
        yield Setting(
            files=wanted,
            contestants=[
                *(_skystage(way, environ) for way in ("nodes", "s3", "zip")),
                engines.library("remotezip", environ=environ),
                replace(usual, name="whole zips", once=True),
            ],
            about=f"{len(wanted)} products of {sum(one.size for one in held) / len(held) / files.MB:.0f} MB, "
            f"SCL of {optical.SCL / files.MB:g} MB, sandbox, TLS, {CAPPED}, {wire.kind}; "
            f"pauses of the usual way left out: {len(wanted) * PAUSE} s",
            counter=_Log(box),
        )


def _moved(name: str) -> Callable[[Round], float]:
    """Bytes moved, as a part of what is allowed."""
    return lambda one: one[name].sent.bytes / (1.1 * one[name].bytes + ALLOWED * one[name].files)


def _ratio(name: str) -> Callable[[Round], float]:
    return lambda one: one[name].sent.bytes / one[name].bytes


def _against(theirs: str, of: Callable[[Sample], float]) -> Callable[[Round], float]:
    """The slowest, or largest, of our three ways against another."""
    return lambda one: max(of(one[f"skystage {way}"]) for way in ("nodes", "s3", "zip")) / of(one[theirs])


CASE = Case(
    name="bands",
    title="SCL of ten products: the catalogue asked, manifests read, files fetched",
    setting=_setting,
    goals=[
        *(
            Goal(
                text=f"{way}: bytes against 1.1 times the files and 150 kB a product",
                figure=_moved(f"skystage {way}"),
                at_most=1,
            )
            for way in ("nodes", "s3", "zip")
        ),
        *(
            Goal(text=f"{name}: bytes against the files", figure=_ratio(name))
            for name in ("skystage nodes", "skystage s3", "skystage zip", "remotezip", "whole zips")
        ),
        Goal(text="bytes against whole zips", figure=_against("whole zips", lambda one: one.sent.bytes)),
        Goal(text="time against whole zips", figure=_against("whole zips", lambda one: one.wall)),
        Goal(text="time against remotezip", figure=_against("remotezip", lambda one: one.wall)),
    ],
)
