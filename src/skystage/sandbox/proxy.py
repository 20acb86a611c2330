"""The one process that stands for all archives: an HTTP proxy that answers instead of forwarding.

``CONNECT host:443`` is accepted for every name; TLS ends here with a certificate of the
private authority, and what comes through is answered by host name. Plain ``http://``
requests in absolute form are answered the same way. Nothing is ever sent on, so a host
without a service gets 502 and nothing can escape.
"""

from __future__ import annotations

import socket
import ssl
import sys
import threading
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any
from urllib.parse import urlsplit

from skystage.sandbox.ca import Authority
from skystage.sandbox.faults import Rules
from skystage.sandbox.messages import Reply, Request, Service, json_reply
from skystage.sandbox.record import Record
from skystage.sandbox.wire import Gone, Wire, after_service, by_rule, hung_up

_LONGEST_BODY = 64 << 20


class Proxy(ThreadingTCPServer):
    """The listening socket on loopback, and a thread for every connection.

    Parameters
    ----------
    authority
        Signs for the hosts.
    service
        Finds what answers for a host; None for a host that the box does not have.
    rules
        The fault rules.
    record
        Where requests are written down.
    on_expire
        Called when a rule says that all tokens are to die.
    """

    daemon_threads = True
    block_on_close = False
    # Many clients connect at once; with the default of 5 some wait for a SYN to be sent again.
    request_queue_size = 256

    def __init__(
        self,
        authority: Authority,
        service: Callable[[str], Service | None],
        rules: Rules,
        record: Record,
        on_expire: Callable[[], None],
    ) -> None:
        self.authority = authority
        self.service = service
        self.rules = rules
        self.record = record
        self.on_expire = on_expire
        self.closing = threading.Event()
        self._alive: set[_Connection] = set()
        self._workers: set[threading.Thread] = set()
        self._alive_lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Connection)

    @property
    def port(self) -> int:
        """The port that the operating system chose."""
        return int(self.server_address[1])

    def joined(self, connection: _Connection) -> None:
        """A connection has a thread now."""
        with self._alive_lock:
            self._alive.add(connection)
            self._workers.add(threading.current_thread())

    def left(self, connection: _Connection) -> None:
        """A connection is closed and its thread about to end."""
        with self._alive_lock:
            self._alive.discard(connection)
            self._workers.discard(threading.current_thread())

    def traffic(self, host: str) -> tuple[int, int]:
        """How many connections to a host are open, and how many requests it is answering."""
        with self._alive_lock:
            here = [one for one in self._alive if one.host == host and not hung_up(one.descriptor)]
        return len(here), sum(one.answering for one in here)

    def close(self) -> None:
        """Stop listening, break all connections and wait for their threads."""
        self.closing.set()
        self.shutdown()
        self.server_close()
        with self._alive_lock:
            alive, workers = list(self._alive), list(self._workers)
        for connection in alive:
            connection.break_off()
        for worker in workers:
            worker.join(timeout=2)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong, unless it is only a client that hung up or distrusts us."""
        error = sys.exception()
        if not isinstance(error, (OSError, Gone)):
            super().handle_error(request, client_address)


class _Connection(BaseHTTPRequestHandler):
    """One connection of a client: a tunnel to one host, or plain proxy requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Proxy

    def setup(self) -> None:
        super().setup()
        self.number = self.server.record.connect()
        # TLS takes the descriptor over, so it stays the same until the end.
        self.descriptor = self.connection.fileno()
        self.tunnel: str | None = None
        self.host: str | None = None
        self.answering = False
        self.finished: Callable[[], None] | None = None
        self.server.joined(self)

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, Gone, ValueError):
            # A client may hang up or speak nonsense at any moment; that is its business.
            self.close_connection = True

    def finish(self) -> None:
        self.server.left(self)
        for closable in (self.rfile, self.wfile, self.connection):
            try:
                closable.close()
            except OSError:
                continue

    def break_off(self) -> None:
        """End the connection from another thread."""
        try:
            # The TLS layer belongs to the connection's own thread; the socket below it to nobody.
            socket.socket.shutdown(self.connection, socket.SHUT_RDWR)
        except OSError:
            return

    def do_CONNECT(self) -> None:
        self.tunnel = self.path.rpartition(":")[0].strip("[]").lower()
        self.host = self.tunnel
        self.connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.rfile.close()
        self.wfile.close()
        context = self.server.authority.context(self.tunnel)
        self.connection.getpeername()  # an error, if the client is gone
        try:
            self.connection = context.wrap_socket(self.connection, server_side=True)
        except OSError as error:
            # Where the client has just gone, wrap_socket loses its own socket unclosed.
            for frame, _ in traceback.walk_tb(error.__traceback__):
                if isinstance(lost := frame.f_locals.get("self"), ssl.SSLSocket):
                    lost.close()
            raise
        self.rfile = self.connection.makefile("rb", -1)
        self.wfile = self.connection.makefile("wb", 0)
        # Old clients ask for the tunnel in HTTP/1.0 and mean to keep it all the same.
        self.close_connection = False

    def answer(self) -> None:
        """Answer one request that is no CONNECT."""
        host, target = self._where()
        self.host = host
        self.answering = True
        entry = self.server.record.begin(host)
        entry["open"], entry["busy"] = self.server.traffic(host)
        wire = Wire(self.connection, self.server.closing, self._release)
        headers = {name.lower(): value for name, value in self.headers.items()}
        path, _, query = target.partition("?")
        entry.update(method=self.command, path=path, query=query, status=0)
        entry.update(range=headers.get("range"), headers=headers, sent=0, connection=self.number)
        try:
            body = self._read_body(headers)
            request = Request(self.command, host, target, headers, body, busy=entry["busy"])
            request.alive = lambda: not hung_up(self.descriptor)
            ranged = "range" in headers
            request.effects = self.server.rules.effects(host, request.path, self.command, ranged=ranged)
            self._reply(request, wire, entry)
        finally:
            self._release()
            entry["sent"] = wire.sent
            self.server.record.end(entry)

    def __getattr__(self, name: str) -> Any:
        # The base class looks for do_GET and its like; the services know the methods.
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def _reply(self, request: Request, wire: Wire, entry: dict[str, Any]) -> None:
        effects = request.effects
        if effects.expire_tokens:
            self.server.on_expire()
        if effects.latency:
            wire.pause(effects.latency)
        if effects.cut_before_headers:
            raise Gone
        reply = by_rule(request)
        if reply is None:
            reply = after_service(self._ask(request), effects)
        entry["status"] = reply.status
        self.finished = reply.finished
        reusable = wire.send(reply, effects, head=request.method == "HEAD", close=self.close_connection)
        self.close_connection = not reusable

    def _ask(self, request: Request) -> Reply:
        service = self.server.service(request.host)
        if service is None:
            message = f"the sandbox has no host {request.host}; nothing leaves it"
            return json_reply(502, {"error": message})
        try:
            return service(request)
        except Exception as error:  # noqa: BLE001 - a defect of a service must reach the one who tests with it
            sys.stderr.write(traceback.format_exc())
            return json_reply(500, {"error": f"the sandbox failed: {error!r}"})

    def _where(self) -> tuple[str, str]:
        if self.tunnel is not None and self.path.startswith("/"):
            return self.tunnel, self.path
        parts = urlsplit(self.path)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return (parts.hostname or "").lower() or "127.0.0.1", target

    def _release(self) -> None:
        """The request no longer counts as under way."""
        self.answering = False
        finished, self.finished = self.finished, None
        if finished is not None:
            finished()

    def _read_body(self, headers: dict[str, str]) -> bytes:
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return b"".join(self._chunks())
        length = int(headers.get("content-length") or 0)
        if length > _LONGEST_BODY:
            raise Gone
        return self.rfile.read(length) if length else b""

    def _chunks(self) -> list[bytes]:
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            continue
        return chunks

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: the record says it all."""
