"""How much a server that cuts every long body has to send a second time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import engines
import files
from contest import Bench, Case, Goal, Round, Setting
from serve import own

BLOCK = 256 * 1024
AFTER = 5_333_333
"""No multiple of any block or part: a cut is to fall inside one."""


@contextmanager
def _setting(bench: Bench) -> Iterator[Setting]:
    made = files.make(bench.room / "www", "file", 1, bench.pick(50, 20) * files.MB)
    with own(bench.room / "www", bench.pem, bench.room / "server", cut_after=AFTER) as server:
        wanted = files.at(f"https://127.0.0.1:{server.port}", made)
        yield Setting(
            files=wanted,
            contestants=[engines.skystage(1), engines.skystage(4), engines.curl_retry(), engines.aria2(1)],
            about=f"{engines.describe(wanted)}, {server.kind}, TLS, every body cut after {AFTER:,} bytes",
            counter=server,
        )


def _again(name: str, connections: int) -> Callable[[Round], float]:
    def figure(one: Round) -> float:
        sample = one[name]
        return (sample.sent.bytes - sample.bytes) / (sample.sent.cuts * BLOCK * connections)

    return figure


CASE = Case(
    name="resume",
    title="one file from a server that cuts: bytes sent again, against cuts x 256 KiB x connections",
    setting=_setting,
    goals=[
        Goal(text="1 connection", figure=_again("skystage 1", 1), at_most=1),
        Goal(text="4 connections", figure=_again("skystage 4", 4), at_most=1),
        Goal(text="curl --retry -C -", figure=_again("curl --retry", 1)),
        Goal(text="aria2c", figure=_again("aria2c -j1", 1)),
    ],
)
