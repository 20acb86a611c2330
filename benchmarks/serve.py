"""The servers that contestants fetch from: nginx, SeaweedFS, or our own; each counts what it sends."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from contest import HERE, Count, program

PATIENCE = 30.0
"""Seconds that a server may take to start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that runs, with its access log: a line ``STATUS BYTES [cut]`` for each request."""

    kind: str
    port: int
    scheme: str
    log: Path

    def total(self) -> Count:
        """What it has sent; a moment is waited for lines that are still to come."""
        size = -1
        while size != (size := self.log.stat().st_size):
            time.sleep(0.05)
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return Count(
            requests=len(lines),
            bytes=sum(int(line[1]) for line in lines),
            throttled=sum(line[0] == "429" for line in lines),
            cuts=sum(line[2:] == ["cut"] for line in lines),
        )


def serve(
    root: Path,
    pem: Path,
    work: Path,
    *,
    host: str = "127.0.0.1",
    prefix: Sequence[str] = (),
    rate: int = 0,
    connections: int = 0,
) -> AbstractContextManager[Server]:
    """Serve the files below `root` over TLS: with nginx, else with our own server.

    Parameters
    ----------
    prefix
        Put before the server's command line, to start it elsewhere.
    rate
        Bytes a second that a connection gets at most; 0: any.
    connections
        Requests at a time that a client may have; more are answered with 429. 0: any.
    """
    server = nginx if program("nginx") else own
    return server(root, pem, work, host=host, prefix=prefix, rate=rate, connections=connections)


@contextmanager
def nginx(
    root: Path,
    pem: Path,
    work: Path,
    *,
    host: str = "127.0.0.1",
    prefix: Sequence[str] = (),
    rate: int = 0,
    connections: int = 0,
) -> Iterator[Server]:
    """Serve with nginx: one worker, over TLS."""
    work.mkdir(parents=True, exist_ok=True)
    binary, port, log = program("nginx"), _free_port(), work / "access.log"
    log.touch()
    scratch = "\n".join(
        f"{kind}_temp_path {work}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    limits = f"limit_rate {rate};" if rate else ""
    if connections:
        limits += f"limit_conn clients {connections}; limit_conn_status 429;"
    config = work / "nginx.conf"
    config.write_text(f"""
daemon off; worker_processes 1; pid {work}/pid; error_log {work}/error.log;
{"user root;" if os.getuid() == 0 else ""}
events {{ worker_connections 1024; }}
http {{
  {scratch}
  log_format counts '$status $body_bytes_sent';
  access_log {log} counts;
  sendfile on; tcp_nodelay on; keepalive_requests 1000000; keepalive_timeout 60s;
  limit_conn_zone $binary_remote_addr zone=clients:1m;
  server {{
    listen {host}:{port} ssl; ssl_certificate {pem}; ssl_certificate_key {pem};
    root {root}; {limits}
  }}
}}
""")
    said = subprocess.run([str(binary), "-v"], capture_output=True, text=True, check=True).stderr  # noqa: S603
    command = [*prefix, str(binary), "-c", str(config), "-e", str(work / "error.log")]
    with _running(command, work) as process:
        # Looked for where the server is: its address may not be of this namespace.
        while not (work / "pid").exists() or not (work / "pid").read_text().strip():
            _still(process, work)
        yield Server(kind=said.strip().rpartition(": ")[2], port=port, scheme="https", log=log)


@contextmanager
def own(
    root: Path,
    pem: Path | None,
    work: Path,
    *,
    host: str = "127.0.0.1",
    prefix: Sequence[str] = (),
    rate: int = 0,
    connections: int = 0,
    cut_after: int = 0,
) -> Iterator[Server]:
    """Serve with our own server, which can also cut bodies.

    Parameters
    ----------
    pem
        Key and certificate; None for plain http.
    cut_after
        Cut every body after that many bytes; 0: none.
    """
    work.mkdir(parents=True, exist_ok=True)
    log, ready = work / "access.log", work / "port"
    log.touch()
    options = {
        "--host": host,
        "--rate": rate,
        "--connections": connections,
        "--cut-after": cut_after,
        "--tls": pem or "",
    }
    command = [*prefix, sys.executable, str(HERE / "server.py"), str(root), str(log), str(ready)]
    command += [str(word) for pair in options.items() for word in pair]
    with _running(command, work) as process:
        while not ready.exists():
            _still(process, work)
        scheme = "https" if pem else "http"
        yield Server(kind="own server", port=int(ready.read_text()), scheme=scheme, log=log)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weed:
    """SeaweedFS with one S3 account; it counts in its own metrics."""

    kind: str
    url: str
    metrics: int
    environ: dict[str, str] = field(repr=False)

    def total(self) -> Count:
        """What it has sent."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=10) as answer:
            text = answer.read().decode()

        def summed(name: str) -> int:
            found = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
            return int(sum(float(value) for value in found))

        return Count(
            requests=summed("SeaweedFS_s3_request_total"),
            bytes=summed("SeaweedFS_s3_bucket_traffic_sent_bytes_total"),
        )


@contextmanager
def weed(work: Path) -> Iterator[Weed]:
    """Run SeaweedFS with its S3 gateway, on plain http."""
    data = work / "data"
    data.mkdir(parents=True)
    key, word = "benchmark", "not-a-secret"
    who = {"name": key, "credentials": [{"accessKey": key, "secretKey": word}], "actions": ["Admin"]}
    (work / "s3.json").write_text(json.dumps({"identities": [who]}))
    ports = {name: _free_port() for name in ("master", "volume", "filer", "s3")}
    metrics = _free_port()
    # Its gRPC ports would else be these plus 10,000, which may be more than there are.
    grpc = {f"{name}.port.grpc": _free_port() for name in ports}
    options = {f"{name}.port": port for name, port in ports.items()} | grpc | {"metricsPort": metrics}
    # What it would serve besides, each on a port that may be taken.
    options |= {"s3.port.iceberg": 0, "s3.port.lance": 0}
    binary = str(program("weed"))
    command = [binary, "server", f"-dir={data}", "-ip=127.0.0.1", "-s3", f"-s3.config={work}/s3.json"]
    command += ["-volume.max=20", "-master.volumeSizeLimitMB=200"]
    command += [f"-{name}={value}" for name, value in options.items()]
    version = subprocess.run([binary, "version"], capture_output=True, text=True, check=True).stdout.split()  # noqa: S603
    with _sockets_removed([*ports.values(), *grpc.values()]), _running(command, work) as process:
        until = time.monotonic() + PATIENCE
        while not _answers(ports["s3"]) or not _answers(metrics):
            _still(process, work, until)
        yield Weed(
            kind=f"SeaweedFS {version[2] if len(version) > 2 else ''}",
            url=f"http://127.0.0.1:{ports['s3']}",
            metrics=metrics,
            environ={
                "AWS_ACCESS_KEY_ID": key,
                "AWS_SECRET_ACCESS_KEY": word,
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_REGION": "us-east-1",
                "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{ports['s3']}",
            },
        )


@contextmanager
def _sockets_removed(ports: Sequence[int]) -> Iterator[None]:
    """Remove the local sockets that SeaweedFS leaves, each named by one of its ports."""
    try:
        yield
    finally:
        for port in ports:
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 - its choice
                left.unlink(missing_ok=True)


@contextmanager
def _running(command: Sequence[str], work: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (work / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=work, stdout=log, stderr=log, stdin=subprocess.DEVNULL)  # noqa: S603
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _still(process: subprocess.Popen[bytes], work: Path, until: float = 0.0) -> None:
    """Wait a moment for a server that starts.

    Raises
    ------
    RuntimeError
        If it has ended, or takes too long.
    """
    if process.poll() is not None or (until and time.monotonic() > until):
        raise RuntimeError(f"the server did not start: {(work / 'server.log').read_text()[-500:]}")
    time.sleep(0.02)


def _answers(port: int) -> bool:
    with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port), 1)):
        return True
    return False


def _free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def certificate(directory: Path, hosts: Sequence[str]) -> tuple[Path, Path]:
    """Make a key and a certificate (EC P-256) that signs itself: both in one file, and what clients trust."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "skystage benchmarks")])
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), *(x509.IPAddress(ipaddress.ip_address(host)) for host in hosts)]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    public = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem, bundle = directory / "server.pem", directory / "bundle.pem"
    pem.touch(mode=0o600)
    pem.write_bytes(private + public)
    bundle.write_bytes(public)
    return pem, bundle
