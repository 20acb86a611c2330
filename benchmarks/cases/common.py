"""What cases have in common: files of one size on one server, near or far, and ratios."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

import engines
import files
from contest import Bench, Contestant, Round, Sample, Setting
from link import link
from serve import serve

CAP = 10 << 20
"""Bytes a second that a capped server gives to one connection."""
CAPPED = f"{CAP / files.MB:.1f} MB/s a connection"


def served(
    contestants: Sequence[Contestant],
    count: tuple[int, int],
    size: tuple[int, int],
    *,
    far: bool = False,
    capped: bool = False,
    connections: int = 0,
    labels: bool = False,
) -> Callable[[Bench], AbstractContextManager[Setting]]:
    """The setting of most cases: random files of one size on one server, over TLS.

    Parameters
    ----------
    count, size
        Files, and bytes of each: for a full run, and for a quick one.
    far
        Whether the server is at the other end of a long link.
    capped
        Whether the server gives `CAP` to a connection, and not all it can.
    connections
        Requests at a time that the server allows; 0: any.
    labels
        Whether the files are labels in PVL, of the size that they happen to have.
    """

    @contextmanager
    def setting(bench: Bench) -> Iterator[Setting]:
        root = bench.room / "www"
        if labels:
            made = files.make_labels(root, "file", bench.pick(*count))
            tiny = files.make_labels(root, "tiny", 1)
        else:
            made = files.make(root, "file", bench.pick(*count), bench.pick(*size))
            tiny = files.make(root, "tiny", 1, 1000)
        rate = CAP if capped else 0
        about = ["TLS"]
        if capped:
            about.append(CAPPED)
        if connections:
            about.append(f"{connections} requests at a time, else 429")
        with ExitStack() as stack:
            wire = stack.enter_context(link(bench.room / "link", bench.link)) if far else None
            place, prefix = (wire.host, wire.prefix) if wire else ("127.0.0.1", ())
            server = stack.enter_context(
                serve(
                    root,
                    bench.pem,
                    bench.room / "server",
                    host=place,
                    prefix=prefix,
                    rate=rate,
                    connections=connections,
                )
            )
            near = stack.enter_context(serve(root, bench.pem, bench.room / "near")) if far else server
            host, port = wire.reach(server.port) if wire else (place, server.port)
            wanted = files.at(f"https://{host}:{port}", made)
            about = [engines.describe(wanted), server.kind, *about, wire.kind if wire else "loopback"]
            yield Setting(
                files=wanted,
                contestants=contestants,
                about=", ".join(about),
                counter=server,
                # From nearby: round trips are part of the job, not of starting up.
                tiny=files.at(f"https://127.0.0.1:{near.port}", tiny)[0],
            )

    return setting


def ratio(ours: str, theirs: str, of: Callable[[Sample], float]) -> Callable[[Round], float]:
    """A figure of one contestant against that of another in the same round."""
    return lambda one: of(one[ours]) / of(one[theirs])


def cpu(sample: Sample) -> float:
    """CPU seconds a byte, start-up apart."""
    return sample.net_cpu / sample.bytes


def speed(sample: Sample) -> float:
    """Bytes a second, start-up apart."""
    return sample.speed


def whole_speed(sample: Sample) -> float:
    """Bytes a second, start-up and all."""
    return sample.bytes / sample.wall


def rate(sample: Sample) -> float:
    """Files a second, start-up apart."""
    return sample.rate


def whole_rate(sample: Sample) -> float:
    """Files a second, start-up and all."""
    return sample.files / sample.wall
