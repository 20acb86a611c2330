"""What an asset costs in a second run, when everything is staged, and whether the server is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import engines
import files
from contest import Bench, Case, Goal, Round, Setting
from serve import serve


def staged(count: tuple[int, int]) -> Callable[[Bench], AbstractContextManager[Setting]]:
    """The setting: a store in which a plan is staged, and commands over it; counts are full and quick."""

    @contextmanager
    def setting(bench: Bench) -> Iterator[Setting]:
        (bench.room / "www").mkdir()
        with serve(bench.room / "www", bench.pem, bench.room / "server") as server:
            base = f"https://127.0.0.1:{server.port}"
            plan, store, wanted = files.stage(bench.room / "staged", base, bench.pick(*count))
            over = (str(plan), "--store", str(store), "--json")
            skystage = ("-m", "skystage.cli")
            yield Setting(
                files=wanted,
                contestants=[
                    engines.command("python", "-c", "pass"),
                    engines.command("skystage --help", *skystage, "--help"),
                    engines.command("skystage verify", *skystage, "verify", *over),
                    engines.command("skystage fetch", *skystage, "fetch", *over),
                ],
                about=f"{len(wanted):,} assets, all staged, {server.kind}",
                counter=server,
            )

    return setting


def _cpu(one: Round) -> float:
    return one["skystage fetch"].cpu / one["skystage fetch"].files * 1e6


def _wall(one: Round) -> float:
    return one["skystage fetch"].wall / one["skystage fetch"].files * 1e6


CASE = Case(
    name="cached",
    title="fetch again when everything is staged",
    setting=staged((100_000, 10_000)),
    goals=[
        Goal(text="CPU microseconds an asset, start-up and plan included", figure=_cpu, at_most=40),
        Goal(text="the same on the clock", figure=_wall),
        Goal(text="requests", figure=lambda one: one["skystage fetch"].sent.requests, at_most=0),
    ],
)
