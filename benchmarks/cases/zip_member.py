"""One small member of a large zip far away: only the member is to be moved."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import engines
import files
from cases.common import CAP, CAPPED
from contest import Bench, Case, File, Goal, Round, Setting, digest
from link import link
from serve import serve

MEMBER = 1_900_000
"""As large as a scene classification at 20 m."""


def _member(base: str, name: str, made: tuple[str, bytes]) -> File:
    path, content = made
    return File(
        name=Path(path).name,
        url=f"{base}/{name}",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        member=path,
    )


@contextmanager
def _setting(bench: Bench) -> Iterator[Setting]:
    root = bench.room / "www"
    band = bench.pick(112, 22) * files.MB
    made = files.make_zip(root / "large.zip", 8, band, MEMBER)
    tiny = files.make_zip(root / "tiny.zip", 1, 1000, 1000)
    with ExitStack() as stack:
        wire = stack.enter_context(link(bench.room / "link", bench.link))
        server = stack.enter_context(
            serve(root, bench.pem, bench.room / "server", host=wire.host, prefix=wire.prefix, rate=CAP)
        )
        near = stack.enter_context(serve(root, bench.pem, bench.room / "near"))
        host, port = wire.reach(server.port)
        path = root / "large.zip"
        whole = File(
            name="large.zip",
            url=f"https://{host}:{port}/large.zip",
            size=path.stat().st_size,
            sha256=digest(path),
        )
        yield Setting(
            files=[_member(f"https://{host}:{port}", "large.zip", made)],
            contestants=[
                engines.skystage(4),
                engines.library("remotezip"),
                replace(engines.curl(once=True), name="curl whole zip", instead=[whole]),
            ],
            about=f"{whole.size / files.MB:.0f} MB, {server.kind}, TLS, {CAPPED}, {wire.kind}",
            counter=server,
            # From nearby: round trips are part of the job, not of starting up.
            tiny=_member(f"https://127.0.0.1:{near.port}", "tiny.zip", tiny),
        )


def _time(theirs: str) -> Callable[[Round], float]:
    return lambda one: one["skystage 4"].net_wall / one[theirs].net_wall


CASE = Case(
    name="zip",
    title="one member of 1.9 MB of a remote zip, start-up apart",
    setting=_setting,
    goals=[
        Goal(
            text="bytes against the member",
            figure=lambda one: one["skystage 4"].sent.bytes / MEMBER,
            at_most=1.05,
        ),
        Goal(text="time against the whole zip", figure=_time("curl whole zip"), at_most=1 / 50),
        Goal(text="time against remotezip", figure=_time("remotezip"), at_most=0.75),
    ],
)
