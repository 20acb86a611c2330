from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from skystage.errors import SkystageError
from skystage.sandbox import Sandbox, run

PRINT_STATUS = "import requests, sys; print(requests.get(sys.argv[1], timeout=10).status_code)"


def test_a_host_that_the_box_does_not_have_gets_502(box: Sandbox, session: requests.Session) -> None:
    assert session.get("https://example.com/", timeout=5).status_code == 502
    assert session.get("http://169.254.169.254/latest/meta-data/", timeout=5).status_code == 502
    assert [entry["host"] for entry in box.requests()] == ["example.com", "169.254.169.254"]


def test_the_environment_alone_leads_a_process_there(box: Sandbox, orbit_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINT_STATUS, orbit_url],
        env=box.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "200\n"


def test_the_users_secrets_stay_outside(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("EARTHDATA_TOKEN", "EARTHDATA_PASSWORD", "CDSE_PASSWORD", "MAST_API_TOKEN", "AWS_ACCESS_KEY_ID")
    for name in names:
        monkeypatch.setenv(name, "a real secret")
    environ = box.environ
    assert [environ[name] for name in names] == [None] * len(names)
    inside = box.environment()
    assert "a real secret" not in inside.values()
    assert inside["HOME"] == os.environ["HOME"]
    assert inside["NO_PROXY"] == "127.0.0.1,localhost"
    assert Path(inside["NETRC"]).stat().st_mode & 0o777 == 0o600


def test_what_is_remembered_of_the_box_stays_there(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYSTAGE_STATE", "mine")
    assert box.environment()["SKYSTAGE_STATE"] == "mine"
    monkeypatch.delenv("SKYSTAGE_STATE")
    inside = box.environment()
    assert Path(inside["SKYSTAGE_STATE"]).parent == Path(inside["SKYSTAGE_CACHE"]).parent


def test_an_environment_can_be_made_from_another(box: Sandbox) -> None:
    assert box.environment({"LANG": "C", "AWS_PROFILE": "mine"})["LANG"] == "C"
    assert "AWS_PROFILE" not in box.environment({"AWS_PROFILE": "mine"})


def test_certificates_pass_strict_verification(box: Sandbox) -> None:
    context = ssl.create_default_context(cafile=box.environ["SSL_CERT_FILE"])
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_connection(("127.0.0.1", box.port), timeout=5) as plain:
        plain.sendall(b"CONNECT cmr.earthdata.nasa.gov:443 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in plain.recv(1000)
        with context.wrap_socket(plain, server_hostname="cmr.earthdata.nasa.gov") as secure:
            assert secure.selected_alpn_protocol() == "http/1.1"


def test_a_client_without_the_bundle_trusts_nobody(box: Sandbox, session: requests.Session) -> None:
    session.verify = True
    with pytest.raises(requests.exceptions.SSLError):
        session.get("https://cmr.earthdata.nasa.gov/", timeout=5)
    assert box.requests() == []


def test_without_cryptography_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    with pytest.raises(SkystageError, match=r"pip install 'skystage\[sandbox\]'"):
        Sandbox().__enter__()


def test_the_log_has_a_line_for_each_request(tmp_path: Path, orbit_url: str) -> None:
    log = tmp_path / "log.jsonl"
    code = (
        "import requests, sys\nfor n in range(2): requests.get(sys.argv[1], headers={'Range': 'bytes=0-9'})"
    )
    assert run([sys.executable, "-c", code, orbit_url + "?a=1"], log=log) == 0
    first, second = [json.loads(line) for line in log.read_text().splitlines()]
    assert (first["n"], second["n"]) == (1, 2)
    assert first["host"] == "s1-orbits.s3.amazonaws.com"
    assert (first["method"], first["query"], first["status"], first["sent"]) == ("GET", "a=1", 206, 10)
    assert first["range"] == first["headers"]["range"] == "bytes=0-9"
    assert first["time"] <= second["time"]
    assert first["connection"] != second["connection"]
    assert {"path", "open", "busy", "seconds"} <= set(first)


def test_a_kept_connection_has_one_number(box: Sandbox, session: requests.Session, orbit_url: str) -> None:
    for _ in range(3):
        session.head(orbit_url, timeout=5)
    assert len({entry["connection"] for entry in box.requests()}) == 1
    assert {entry["open"] for entry in box.requests()} == {1}


def test_clear_forgets_requests_and_tokens(box: Sandbox, session: requests.Session) -> None:
    headers = {"Authorization": f"Bearer {box.token()}"}
    url = "https://cmr.earthdata.nasa.gov/search/granules.umm_json"
    assert session.get(url, headers=headers, timeout=5).status_code == 200
    box.clear()
    assert box.requests() == []
    assert session.get(url, headers=headers, timeout=5).status_code == 401


def test_many_small_requests_a_second(box: Sandbox, session: requests.Session, orbit_url: str) -> None:
    started = time.perf_counter()
    for _ in range(150):
        session.get(orbit_url, headers={"Range": "bytes=0-99"}, timeout=5)
    # 300 a second on a free machine; the tests of a whole suite share it.
    assert 150 / (time.perf_counter() - started) > 60


def test_a_client_that_hangs_up_leaves_no_trace(box: Sandbox, capfd: pytest.CaptureFixture[str]) -> None:
    for text in (
        b"",
        b"CONNECT cmr.earthdata.nasa.gov:443 HTTP/1.1\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01",
    ):
        with socket.create_connection(("127.0.0.1", box.port), timeout=5) as plain:
            plain.sendall(text)
    box.__exit__(None, None, None)
    assert capfd.readouterr().err == ""


def test_a_box_closes_at_once_even_when_a_client_waits(orbit_url: str) -> None:
    with Sandbox(faults=[{"stall": 60}]) as box:
        child = subprocess.Popen(
            [sys.executable, "-c", PRINT_STATUS, orbit_url], env=box.environment(), stderr=subprocess.DEVNULL
        )
        while box._record._unfinished == 0:
            time.sleep(0.01)
        started = time.perf_counter()
    assert time.perf_counter() - started < 2
    assert child.wait(timeout=10) != 0


def test_run_returns_the_programs_exit_code() -> None:
    assert run([sys.executable, "-c", "raise SystemExit(7)"]) == 7
    assert run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]) == 137


def test_run_names_a_program_that_is_not_there() -> None:
    with pytest.raises(SkystageError, match="cannot run no-such-program"):
        run(["no-such-program"])


def test_run_passes_signals_on() -> None:
    code = (
        "import sys; from skystage.sandbox import run\n"
        "child = 'import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); "
        "print(1, flush=True); time.sleep(60)'\n"
        "sys.exit(run([sys.executable, '-c', child]))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(timeout=20) == 5


def test_serve_prints_lines_for_a_shell(orbit_url: str) -> None:
    code = "from skystage.sandbox import serve; raise SystemExit(serve())"
    environ = {**os.environ, "EARTHDATA_TOKEN": "secret"}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environ, text=True
    ) as server:
        assert server.stdout is not None
        lines: list[str] = []
        while not any("unset EARTHDATA_TOKEN" in line for line in lines) or "no_proxy" not in lines[-1]:
            lines.append(server.stdout.readline())
        script = "".join(lines) + f'curl -s -o /dev/null -w "%{{http_code}}" {orbit_url}'
        done = subprocess.run(
            ["sh", "-c", script], capture_output=True, text=True, check=False, env=os.environ
        )
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=10) == 0
    assert "export HTTPS_PROXY=http://127.0.0.1:" in script
    if done.returncode != 127:
        assert done.stdout == "200"


def test_a_payload_cannot_be_smaller_than_its_parts() -> None:
    with pytest.raises(SkystageError, match="at least"):
        Sandbox(payload_size=100)
