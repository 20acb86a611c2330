"""Our own file server, for where nginx is not, and for bodies that are to be cut.

Ranges, validators, keep-alive, TLS; at will a rate for each connection, an answer 429 to more requests at
a time than allowed, and cuts. One line for each request goes to the log: ``STATUS BYTES [cut]``.
"""

from __future__ import annotations

import argparse
import re
import socketserver
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

BLOCK = 128 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Server(ThreadingHTTPServer):
    """Serves the files below a directory."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__((options.host, 0), Handler)
        self.options = options
        self.mutex = threading.Lock()
        self.log: IO[str] = options.log.open("a", buffering=1)
        self.under_way = 0
        self.tls: ssl.SSLContext | None = None
        if options.tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(options.tls)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that goes away is no error here."""

    def begin(self) -> bool:
        """One more request is under way; whether it is allowed."""
        with self.mutex:
            self.under_way += 1
            return not self.options.connections or self.under_way <= self.options.connections

    def end(self, status: int, sent: int, *, cut: bool) -> None:
        """A request is done."""
        with self.mutex:
            self.under_way -= 1
            self.log.write(f"{status} {sent}{' cut' if cut else ''}\n")


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = 16 * 1024
    disable_nagle_algorithm = True  # heads and small bodies go out at once
    server: Server

    def setup(self) -> None:
        """Begin TLS in the connection's own thread, so that a slow client holds up nobody."""
        if self.server.tls is not None:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        self.connection = self.request
        socketserver.StreamRequestHandler.setup(self)

    def log_message(self, *_: object) -> None:
        """The log has its own form."""

    def do_HEAD(self) -> None:
        """Answer with the head alone."""
        self._answer(body=False)

    def do_GET(self) -> None:
        """Answer with the file or a range of it."""
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        allowed = self.server.begin()
        status, sent, cut = 500, 0, False
        try:
            path = self.server.options.root / self.path.lstrip("/").partition("?")[0]
            if not allowed or not path.is_file():
                status = 404 if allowed else 429
                self._head(status, 0, {})
                return
            status, first, last, headers = self._span(path)
            self._head(status, last - first + 1, headers)
            if body:
                for count in self._body(path, first, last):
                    sent += count
                cut = sent < last - first + 1
                self.close_connection |= cut
        finally:
            self.server.end(status, sent, cut=cut)

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length), "Accept-Ranges": "bytes"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.flush()

    def _span(self, path: Path) -> tuple[int, int, int, dict[str, str]]:
        """Status, first and last byte, and headers of the answer."""
        found = path.stat()
        size, etag = found.st_size, f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
        headers = {"ETag": etag, "Content-Type": "application/octet-stream"}
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        if asked is None or self.headers.get("If-Range", etag) != etag or not (asked[1] or asked[2]):
            return 200, 0, size - 1, headers
        if asked[1]:
            first = int(asked[1])
            last = min(int(asked[2]) if asked[2] else size - 1, size - 1)
        else:
            first, last = max(0, size - int(asked[2])), size - 1
        if first > last:
            return 416, 0, -1, headers | {"Content-Range": f"bytes */{size}"}
        return 206, first, last, headers | {"Content-Range": f"bytes {first}-{last}/{size}"}

    def _body(self, path: Path, first: int, last: int) -> Any:
        """Send the bytes, and yield how many were sent; ends early where the body is to be cut."""
        options = self.server.options
        length = min(last - first + 1, options.cut_after or last - first + 1)
        begun, sent = time.monotonic(), 0
        with path.open("rb") as file:
            file.seek(first)
            while sent < length:
                block = file.read(min(BLOCK, length - sent))
                self.connection.sendall(block)
                sent += len(block)
                yield len(block)
                if options.rate:
                    time.sleep(max(0.0, begun + sent / options.rate - time.monotonic()))


def main() -> None:
    """Serve until killed; the port is written to a file when it is open."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("log", type=Path)
    parser.add_argument("ready", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--tls", default="", help="key and certificate; none: plain http")
    parser.add_argument("--rate", type=int, default=0, help="bytes a second and connection")
    parser.add_argument("--connections", type=int, default=0, help="requests at a time; more get 429")
    parser.add_argument("--cut-after", type=int, default=0, metavar="BYTES", help="cut every body there")
    options = parser.parse_args()
    with Server(options) as server:
        part = options.ready.with_suffix(".part")
        part.write_text(str(server.server_port))
        part.rename(options.ready)
        server.serve_forever()


if __name__ == "__main__":
    main()
