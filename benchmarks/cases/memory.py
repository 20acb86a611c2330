"""Peak memory of a fetch, above that of the same fetch of one tiny file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import engines
import files
from contest import Bench, Case, Goal, Round, Setting
from serve import serve


@contextmanager
def _setting(bench: Bench) -> Iterator[Setting]:
    root = bench.room / "www"
    made = files.make(root, "large", 8, bench.pick(100, 20) * files.MB)
    made |= files.make(root, "huge", 1, bench.pick(1000, 200) * files.MB)
    tiny = files.make(root, "tiny", 1, 1000)
    with serve(root, bench.pem, bench.room / "server") as server:
        base = f"https://127.0.0.1:{server.port}"
        yield Setting(
            files=files.at(base, made),
            contestants=[engines.skystage(8), engines.curl_parallel(8), engines.library("parfive", 8)],
            about=f"8 x {bench.pick(100, 20)} MB and 1 x {bench.pick(1000, 200)} MB, {server.kind}, TLS",
            counter=server,
            tiny=files.at(base, tiny)[0],
        )


def _growth(one: Round) -> float:
    return one["skystage 8"].growth / files.MB


CASE = Case(
    name="memory",
    title="peak memory with 8 connections",
    setting=_setting,
    goals=[Goal(text="MB above the interpreter with its imports", figure=_growth, at_most=60)],
)
