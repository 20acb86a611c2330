"""A long link: 80 ms there and back, 400 Mbit/s, a packet in a thousand lost.

As root with gcc, a network namespace for the server and a TUN device at each end (``link.c``): real TCP
over a slow wire. Else a proxy on loopback that hands bytes on later: no loss, but the same round trips.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from contest import HERE

ROUND_TRIP = 0.080
RATE = 50_000_000
"""Bytes a second, each way."""
LOSS = 0.001
QUEUE = 0.1
"""Seconds of traffic that wait before packets are dropped."""
NET = f"10.77.{os.getpid() % 250}"
NEAR, FAR = f"{NET}.1", f"{NET}.2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A way to a server."""

    kind: str
    host: str
    """The address that the server is to listen at."""
    prefix: Sequence[str]
    """What to put before the server's command line."""
    reach: Callable[[int], tuple[str, int]]
    """Where a client reaches a port of the server."""


@contextmanager
def link(work: Path, kind: str = "") -> Iterator[Link]:
    """Open a link: ``tunnel`` or ``proxy``; by default a tunnel if one can be had."""
    work.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        opened, why = None, "as asked for"
        if kind != "proxy":
            try:
                opened = stack.enter_context(_tunnel(work))
            except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
                if kind == "tunnel":
                    raise
                why = f"no tunnel: {error}"
        if opened is None:
            proxy = stack.enter_context(_Proxy())
            what = f"delaying proxy ({why}): {ROUND_TRIP * 1000:g} ms, no loss"
            opened = Link(kind=what, host=proxy.host, prefix=(), reach=proxy.reach)
        yield opened


@contextmanager
def _tunnel(work: Path) -> Iterator[Link]:
    binary, space = work / "link", f"skystage-{os.getpid()}"
    here, there = f"sky{os.getpid()}a", f"sky{os.getpid()}b"
    within = ("ip", "netns", "exec", space)
    if os.getuid() != 0:
        raise RuntimeError("not root")
    _do("gcc", "-O2", "-o", str(binary), str(HERE / "link.c"))
    _do("ip", "netns", "add", space)
    try:
        figures = (int(ROUND_TRIP / 2 * 1e6), RATE, int(LOSS * 1e6), int(QUEUE * 1e6))
        carrier = subprocess.Popen(  # noqa: S603
            [str(binary), space, here, there, *map(str, figures)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert carrier.stdout is not None  # noqa: S101 - for the type checker
            if carrier.stdout.readline() != b"ready\n":
                raise RuntimeError("the link could not be opened")
            _do("ip", "addr", "add", f"{NEAR}/30", "dev", here)
            _do("ip", "link", "set", here, "up")
            _do(*within, "ip", "addr", "add", f"{FAR}/30", "dev", there)
            for device in (there, "lo"):
                _do(*within, "ip", "link", "set", device, "up")
            control = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
            kind = f"tunnel: {ROUND_TRIP * 1000:g} ms, {RATE * 8 / 1e6:g} Mbit/s, {LOSS:.1%} loss, {control}"
            yield Link(kind=kind, host=FAR, prefix=within, reach=lambda port: (FAR, port))
        finally:
            carrier.communicate()
    finally:
        _do("ip", "netns", "del", space)


def _do(*command: str) -> None:
    subprocess.run(command, check=True)  # noqa: S603


class _Proxy:
    """Hands each block on after half a round trip, in order, at the rate of the link."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._free_at = [0.0, 0.0]
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def reach(self, port: int) -> tuple[str, int]:
        """Where a client reaches a port of the server, slowly."""
        opening = asyncio.run_coroutine_threadsafe(self._listen(port), self._loop)
        return self.host, opening.result(10)

    async def _listen(self, port: int) -> int:
        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # The first packets of TCP go there and back before a client may send.
            await asyncio.sleep(ROUND_TRIP)
            with suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection(self.host, port)
                ways = ((0, reader, far_writer), (1, far_reader, writer))
                await asyncio.gather(*(self._carry(*way) for way in ways))

        server = await asyncio.start_server(accepted, self.host, 0)
        return int(server.sockets[0].getsockname()[1])

    async def _carry(self, way: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(256)
        task = asyncio.create_task(self._deliver(queue, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        block = b"."
        while block:
            try:
                block = await reader.read(65536)
            except OSError:
                block = b""
            now = self._loop.time()
            self._free_at[way] = max(self._free_at[way], now) + len(block) / RATE
            await queue.put((self._free_at[way] + ROUND_TRIP / 2, block))
        await task

    async def _deliver(self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        while True:
            due, block = await queue.get()
            await asyncio.sleep(due - self._loop.time())
            if not block:
                break
            with suppress(OSError):
                writer.write(block)
                await writer.drain()
        writer.close()
