"""The contestants: skystage, and each peer as its documentation says to use it, as command lines."""

from __future__ import annotations

import importlib.util
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from urllib.parse import urlsplit

import files
from contest import HERE, Contestant, File, Job, program

PYTHON = [sys.executable, "-P"]
"""Without the directory of the script on the path: our names are not to hide a library's."""


def command(name: str, *words: str) -> Contestant:
    """Python with these words, which brings nothing: ``-c pass`` for a bare interpreter."""
    return Contestant(name=name, command=lambda _: [*PYTHON, *words], brings=False)


def skystage(
    connections: int = 8,
    *,
    jobs: int | None = None,
    hashing: bool = True,
    environ: Mapping[str, str] | None = None,
) -> Contestant:
    """``skystage fetch``, with as many connections to the host, and as many jobs unless said otherwise."""

    def command(job: Job) -> list[str]:
        return fetch(job, connections, jobs or connections, hashing=hashing)

    name = f"skystage {connections}" if hashing else f"skystage {connections} unhashed"
    return Contestant(name=name, command=command, environ=environ or {})


def labels(connections: int) -> Contestant:
    """What a plan does to know what labels say: read each through the cache, and look up a value."""

    def command(job: Job) -> list[str]:
        configure(job, connections)
        wanted = job.work / "files.json"
        wanted.write_text(json.dumps([asdict(file) for file in job.files]))
        return [*PYTHON, str(HERE / "labels.py"), str(wanted), str(job.out)]

    return Contestant(name="skystage labels", command=command)


def skystage_processes(processes: int, connections: int) -> Contestant:
    """As many processes at once, each with one batch of the plan; the host allows `connections` in all."""

    def command(job: Job) -> list[str]:
        one = shlex.join(fetch(job, connections, 1))
        batches = f'for i in $(seq {processes}); do {one} --batch $i/{processes} & pids="$pids $!"; done'
        # A tiny plan is for one process: there is no second batch of it.
        if len(job.files) == 1:
            return fetch(job, connections, 1)
        return ["sh", "-c", f"{batches}; for pid in $pids; do wait $pid || exit 1; done"]

    return Contestant(name=f"skystage {processes} processes", command=command)


def fetch(job: Job, connections: int, jobs: int, *, hashing: bool = True) -> list[str]:
    """Write the plan and the limits of a job; the command that fetches it."""
    configure(job, connections)
    plan = files.write_plan(job.work / "plan.ndjson", job.files)
    program = ["-m", "skystage.cli"] if hashing else [str(HERE / "unhashed.py")]
    return [*PYTHON, *program, "fetch", str(plan), "--store", str(job.out), "--jobs", str(jobs), "--json"]


def configure(job: Job, connections: int) -> None:
    """Allow that many connections to every host of a job."""
    hosts = {urlsplit(file.url).hostname for file in job.files}
    hosts |= {"127.0.0.1"} if any(file.url.startswith("s3:") for file in job.files) else set()
    limits = {host: {"connections": connections} for host in hosts}
    # JSON is YAML.
    (job.work / "config.yaml").write_text(json.dumps({"limits": limits}))


def curl(*, hashing: bool = False, once: bool = False) -> Contestant:
    """One curl, one file after the other; with `hashing` the fastest program for it follows.

    That is openssl, which uses the processor's instructions for SHA; sha256sum may not.
    """

    def command(job: Job) -> list[str]:
        one = ["curl", *_curl(job)]
        if not hashing:
            return one
        return ["sh", "-c", f"{shlex.join(one)} && openssl dgst -sha256 {shlex.quote(str(job.out))}/* > sums"]

    absent = _no_program("curl") or (_no_program("openssl") if hashing else "")
    return Contestant(
        name="curl + openssl dgst" if hashing else "curl",
        command=command,
        absent=absent,
        once=once,
    )


def curl_parallel(connections: int) -> Contestant:
    """``curl -Z``."""

    def command(job: Job) -> list[str]:
        return ["curl", "-Z", "--parallel-immediate", "--parallel-max", str(connections), *_curl(job)]

    return Contestant(name=f"curl -Z {connections}", command=command, absent=_no_program("curl"))


def curl_retry() -> Contestant:
    """One curl that tries again where a body is cut, and is told to continue."""

    def command(job: Job) -> list[str]:
        again = ["--retry", "20", "--retry-all-errors", "--retry-delay", "1", "-C", "-"]
        return ["curl", *again, *_curl(job)]

    return Contestant(name="curl --retry", command=command, absent=_no_program("curl"))


def _curl(job: Job) -> list[str]:
    lines = [f'url = "{file.url}"\noutput = "{job.out / file.name}"\n' for file in job.files]
    (job.work / "curl.txt").write_text("".join(lines))
    return ["-sS", "--fail", "--http1.1", "--cacert", str(job.bundle), "-K", str(job.work / "curl.txt")]


def aria2(connections: int, *, split: int = 1) -> Contestant:
    """``aria2c`` with that many downloads at once, each over up to `split` connections."""

    def command(job: Job) -> list[str]:
        lines = [f"{file.url}\n  out={file.name}\n" for file in job.files]
        (job.work / "aria2.txt").write_text("".join(lines))
        options = [f"-j{connections}", f"-x{split}", f"-s{split}", "-k1M", "-m100", "--retry-wait=1"]
        fixed = ["-q", "--no-conf", "--file-allocation=none", f"--ca-certificate={job.bundle}"]
        return ["aria2c", *options, *fixed, "-d", str(job.out), "-i", str(job.work / "aria2.txt")]

    name = f"aria2c -x{split}" if split > 1 else f"aria2c -j{connections}"
    return Contestant(name=name, command=command, absent=_no_program("aria2c"))


def library(
    name: str, connections: int = 1, *, package: str = "", **options: int | bool | Mapping[str, str]
) -> Contestant:
    """A peer that is a Python library, or uses one (``peers.py``); `options` are those of a contestant."""

    def command(job: Job) -> list[str]:
        wanted = job.work / "files.json"
        wanted.write_text(json.dumps([asdict(file) for file in job.files]))
        return [*PYTHON, str(HERE / "peers.py"), name, str(wanted), str(job.out), str(connections)]

    package = package or name
    missing = importlib.util.find_spec(package) is None
    absent = f"the package {package} is not installed" if missing else ""
    label = name if connections == 1 else f"{name} {connections}"
    return Contestant(name=label, command=command, absent=absent, **options)  # type: ignore[arg-type]


def s5cmd(connections: int, environ: Mapping[str, str]) -> Contestant:
    """``s5cmd run`` with a copy for each object."""

    def command(job: Job) -> list[str]:
        copies = [f"cp {file.url} {job.out / file.name}\n" for file in job.files]
        (job.work / "copies.txt").write_text("".join(copies))
        where = ["--endpoint-url", environ["AWS_ENDPOINT_URL_S3"], "--numworkers", str(connections)]
        return ["s5cmd", "--log", "error", *where, "run", str(job.work / "copies.txt")]

    return Contestant(
        name=f"s5cmd {connections}", command=command, absent=_no_program("s5cmd"), environ=environ
    )


def rclone(connections: int, environ: Mapping[str, str] | None = None) -> Contestant:
    """``rclone copy`` of named files, from S3 where an environment for it is given, else by https."""

    def command(job: Job) -> list[str]:
        names = job.work / "names.txt"
        names.write_text("".join(f"{file.name}\n" for file in job.files))
        first = urlsplit(job.files[0].url)
        if environ:
            where = (
                f":s3,provider=Other,env_auth=true,endpoint='{environ['AWS_ENDPOINT_URL_S3']}':{first.netloc}"
            )
        else:
            where = f":http,url='{first.scheme}://{first.netloc}':"
        how = ["--transfers", str(connections), "--checkers", str(connections), "--no-traverse"]
        trust = ["--ca-cert", str(job.bundle), "--config", ""]
        return ["rclone", "copy", where, str(job.out), "--files-from-raw", str(names), *how, *trust]

    return Contestant(
        name=f"rclone {connections}", command=command, absent=_no_program("rclone"), environ=environ or {}
    )


def _no_program(name: str) -> str:
    return "" if program(name) else f"{name} is not installed"


def describe(wanted: Sequence[File]) -> str:
    """How many files of which size, in words."""
    sizes = {file.size for file in wanted}
    size = sizes.pop() if len(sizes) == 1 else 0
    return f"{len(wanted):,} x {size / 1e6:,g} MB" if size else f"{len(wanted):,} files"


def absent(name: str, why: str) -> Contestant:
    """A row that says why nobody competes."""
    return Contestant(name=name, command=lambda _: [], absent=why)
