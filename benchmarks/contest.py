"""The frame of all benchmarks: contestants do the same job in turn, and their rounds are compared.

A case sets up a server and files, and names contestants and goals. Each round runs every contestant once,
into fresh directories, and checks what it wrote. A goal is a ratio inside one round, and the median over
the rounds is what counts: machines are noisy, and a ratio of neighbours in time is less so.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol

HERE = Path(__file__).resolve().parent
BLOCK = 1 << 20
DEADLINE = 900.0
"""Seconds after which a contestant is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """What a contestant is to bring: an address, and the identity of the bytes."""

    name: str
    url: str
    size: int
    sha256: str
    auth: str | None = None
    member: str | None = None
    """The path inside the zip at `url`, when only that is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of one contestant: what to bring, where to, and a directory for its own notes."""

    files: Sequence[File]
    out: Path
    work: Path
    bundle: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What a server sent."""

    requests: int = 0
    bytes: int = 0
    """Of bodies."""
    throttled: int = 0
    """Answers 429."""
    cuts: int = 0
    """Bodies that the server cut on purpose."""


class Counter(Protocol):
    """A server that can say what it has sent since it was started."""

    def total(self) -> Count:
        """All until now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A way to do the job: a command line for it, or the reason why it cannot be run here."""

    name: str
    command: Callable[[Job], list[str]]
    absent: str = ""
    environ: Mapping[str, str] = field(default_factory=dict)
    only: int | None = None
    """Bring only that many files, where all would take for ever; rates are by what was brought."""
    instead: Sequence[File] = ()
    """Bring these, and not the files of the case; its start-up is not told apart."""
    once: bool = False
    """Run in the first round only, where every round would take for ever."""
    brings: bool = True
    """Whether there are files to check afterwards."""

    @property
    def peer(self) -> str:
        """The program, without how it is used here."""
        return self.name.partition(" ")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one run cost. Figures without start-up are those of the same command for one tiny file less."""

    wall: float
    cpu: float
    rss: int
    sent: Count = Count()
    files: int = 0
    bytes: int = 0
    error: str = ""
    start: Sample | None = None

    @property
    def net_wall(self) -> float:
        """Seconds without start-up; 0 where they vanish in its noise."""
        return max(self.wall - (self.start.wall if self.start else 0.0), 0.0)

    @property
    def net_cpu(self) -> float:
        """CPU seconds without start-up; 0 where they vanish in its noise."""
        return max(self.cpu - (self.start.cpu if self.start else 0.0), 0.0)

    @property
    def growth(self) -> int:
        """Peak memory above that of one tiny file, in bytes."""
        return self.rss - (self.start.rss if self.start else 0)

    @property
    def speed(self) -> float:
        """Bytes a second, without start-up."""
        return self.bytes / self.net_wall if self.net_wall else 0.0

    @property
    def rate(self) -> float:
        """Files a second, without start-up."""
        return self.files / self.net_wall if self.net_wall else 0.0

    def to_json(self) -> dict[str, Any]:
        """All figures."""
        return {
            "wall": round(self.wall, 4),
            "cpu": round(self.cpu, 4),
            "rss": self.rss,
            "requests": self.sent.requests,
            "sent": self.sent.bytes,
            "throttled": self.sent.throttled,
            "cuts": self.sent.cuts,
            "files": self.files,
            "bytes": self.bytes,
            "error": self.error,
            "start": None if self.start is None else self.start.to_json(),
        }


Round = Mapping[str, Sample]
"""One run of each contestant that could be run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A figure of one round, and its bound; one without a bound is told for information."""

    text: str
    figure: Callable[[Round], float]
    at_most: float = math.inf
    at_least: float = -math.inf

    @property
    def bound(self) -> str:
        """The bound in words."""
        if self.at_most < math.inf:
            return f"<= {self.at_most:g}"
        return f">= {self.at_least:g}" if self.at_least > -math.inf else ""

    def median(self, rounds: Sequence[Round]) -> float | None:
        """The median over all rounds in which the figure exists; None where there is none."""
        found = []
        for one in rounds:
            try:
                found.append(self.figure(one))
            except (KeyError, ZeroDivisionError):
                continue
        return statistics.median(found) if found else None

    def met(self, figure: float | None) -> bool | None:
        """Whether the goal is met; None where it has no figure or no bound."""
        if figure is None or not self.bound:
            return None
        return self.at_least <= figure <= self.at_most


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a case has set up for its contestants."""

    files: Sequence[File]
    contestants: Sequence[Contestant]
    about: str
    """The servers and links, for the report."""
    counter: Counter | None = None
    tiny: File | None = None
    """What start-up is measured with; None where start-up is not told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all cases share: room for files, the certificate, sizes, and the kind of link."""

    room: Path
    pem: Path
    """Key and certificate of the servers; its certificate is what clients trust."""
    bundle: Path
    quick: bool = False
    link: str = ""

    def pick(self, full: int, quick: int) -> int:
        """A size: that of the goals, or a small one for a quick run."""
        return quick if self.quick else full


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing to measure."""

    name: str
    title: str
    setting: Callable[[Bench], AbstractContextManager[Setting]]
    goals: Sequence[Goal] = ()
    least: int = 1
    """Rounds that it takes at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a case."""

    case: Case
    about: str
    contestants: Sequence[Contestant]
    rounds: Sequence[Round]
    """Of the contestants that did their job each time."""
    failures: Mapping[str, str]
    """Contestant to the first error of its runs."""

    def samples(self, name: str) -> list[Sample]:
        """The runs of a contestant; none of one that failed."""
        return [one[name] for one in self.rounds if name in one]


def run(case: Case, bench: Bench, rounds: int, peers: Collection[str] = ()) -> Result:
    """Let the contestants of a case do their job in turn; only `peers` and skystage where any are named."""
    chosen = {"skystage", "python", *peers}
    with case.setting(bench) as setting:
        contestants = [one for one in setting.contestants if not peers or one.peer in chosen]
        found: list[dict[str, Sample]] = []
        failures: dict[str, str] = {}
        able = [one for one in contestants if not one.absent]
        for number in range(max(rounds, case.least)):
            found.append({})
            # Another one goes first each time, so that no one always follows the same neighbour.
            turn = number % max(1, len(able))
            for contestant in able[turn:] + able[:turn]:
                if contestant.name in failures:
                    continue
                if contestant.once and number:
                    found[-1][contestant.name] = found[0][contestant.name]
                    continue
                sample = _measure(contestant, setting, bench)
                if sample.error:
                    failures[contestant.name] = sample.error
                else:
                    found[-1][contestant.name] = sample
        # Who fails once has no figures: the runs that went well may be those that left something out.
        good = [{name: one for name, one in each.items() if name not in failures} for each in found]
        return Result(case=case, about=setting.about, contestants=contestants, rounds=good, failures=failures)


def _measure(contestant: Contestant, setting: Setting, bench: Bench) -> Sample:
    files = contestant.instead or setting.files[: contestant.only]
    start = None
    if setting.tiny is not None and not contestant.instead:
        start = _once(contestant, [setting.tiny], setting, bench)
        if start.error:
            return start
    return replace(_once(contestant, files, setting, bench), start=start)


def _once(contestant: Contestant, files: Sequence[File], setting: Setting, bench: Bench) -> Sample:
    place = bench.room / "run"
    shutil.rmtree(place, ignore_errors=True)
    job = Job(files=files, out=place / "out", work=place / "work", bundle=bench.bundle)
    job.out.mkdir(parents=True)
    job.work.mkdir()
    try:
        return _launch(contestant, job, setting)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _launch(contestant: Contestant, job: Job, setting: Setting) -> Sample:
    counter = setting.counter
    report, said, complained = job.work / "cost", job.work / "said", job.work / "complained"
    command = [sys.executable, "-I", "-S", str(HERE / "launch.py"), str(report), *contestant.command(job)]
    before = counter.total() if counter else Count()
    with said.open("w") as output, complained.open("w") as errors:
        launched = subprocess.Popen(  # noqa: S603
            command,
            cwd=job.work,
            env=_environ(job) | dict(contestant.environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        try:
            launched.wait(DEADLINE)
        except BaseException as ended:
            os.killpg(launched.pid, 9)
            launched.wait()
            if not isinstance(ended, subprocess.TimeoutExpired):
                raise
    if not report.exists():
        return Sample(wall=0, cpu=0, rss=0, error=f"not done after {DEADLINE:g} s")
    wall, cpu, rss, status = report.read_text().split()
    after = counter.total() if counter else Count()
    error = "" if status == "0" else _complaint(said, complained) or f"exit code {status}"
    if not error and contestant.brings:
        error = _difference(job)
    return Sample(
        wall=float(wall),
        cpu=float(cpu),
        rss=int(rss),
        sent=Count(
            requests=after.requests - before.requests,
            bytes=after.bytes - before.bytes,
            throttled=after.throttled - before.throttled,
            cuts=after.cuts - before.cuts,
        ),
        files=len(job.files),
        bytes=sum(file.size for file in job.files),
        error=error,
    )


def _environ(job: Job) -> dict[str, str]:
    """The environment of all contestants: the same certificate for each, and nobody's own settings."""
    kept = ("PYTHONPATH", "LANG", "LD_LIBRARY_PATH")
    environ = {name: os.environ[name] for name in kept if name in os.environ}
    bundles = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "AWS_CA_BUNDLE")
    environ |= dict.fromkeys(bundles, str(job.bundle))
    return environ | {
        "PATH": search_path(),
        "HOME": str(job.work),
        "SKYSTAGE_STATE": str(job.work / "state"),
        "SKYSTAGE_CONFIG": str(job.work / "config.yaml"),
    }


def search_path() -> str:
    """Where programs are looked for: beside this interpreter, then as usual, then where daemons lie."""
    return os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin"))


def _complaint(said: Path, complained: Path) -> str:
    """Why a contestant failed: skystage's first failure, or the last line of standard error."""
    with suppress(ValueError, LookupError, TypeError):
        return str(json.loads(said.read_bytes())["failed"][0]["message"])[:160]
    lines = [line.strip() for line in complained.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:160] if lines else ""


def _difference(job: Job) -> str:
    """What is wrong with the files that a contestant wrote; nothing if they are right."""
    written = {path.name: path for path in _files(job.out)}
    for file in job.files:
        if file.name not in written:
            return f"{file.name} is missing"
        if digest(written[file.name]) != file.sha256:
            return f"{file.name} has the wrong bytes"
    return ""


def _files(directory: Path) -> Iterator[Path]:
    for root, directories, names in os.walk(directory):
        if ".skystage" in directories:
            directories.remove(".skystage")
        yield from (Path(root, name) for name in names)


def digest(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def program(name: str) -> str | None:
    """The path of a program, if it is installed."""
    return shutil.which(name, path=search_path())
