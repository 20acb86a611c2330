"""Putting a reply on the wire, whole or with what the fault rules do to it."""

from __future__ import annotations

import gzip
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus

from skystage.sandbox.faults import Effects
from skystage.sandbox.files import PIECE
from skystage.sandbox.messages import Reply, Request, Slice, json_reply, text_reply

_HANG_UP = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR

LOGIN_PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>Log in</title></head>
<body><h1>Log in</h1><form method="post" action="/login">
<input name="username"><input name="password" type="password"><input type="submit" value="Log in">
</form></body></html>
"""
GATEWAY_PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>502 Bad Gateway</title></head>
<body><h1>502 Bad Gateway</h1><p>The upstream server did not answer.</p></body></html>
"""


class Gone(Exception):
    """The client hung up, or the box is being closed."""


@dataclass(slots=True)
class Wire:
    """One connection, seen from the server, for as long as one reply takes."""

    connection: socket.socket
    closing: threading.Event
    last: Callable[[], None]
    """Called before the last bytes go out: who has them may ask again at once."""
    sent: int = 0
    """Bytes of the body sent."""

    def pause(self, seconds: float) -> None:
        """Sleep, but not longer than the client waits or the box lives.

        Raises
        ------
        Gone
            If the client hung up meanwhile, or the box is being closed.
        """
        until = time.monotonic() + seconds
        poll = _poll(self.connection.fileno())
        while (left := until - time.monotonic()) > 0:
            if self.closing.is_set() or poll.poll(min(left, 0.1) * 1000):
                raise Gone
            # A hang-up is seen at once; the box's end within a tenth of a second.

    def send(self, reply: Reply, effects: Effects, *, head: bool, close: bool) -> bool:
        """Send a reply; say whether the connection can be used again.

        Raises
        ------
        Gone, OSError
            If the client hung up.
        """
        no_body = head or reply.status in (204, 304) or reply.status < 200
        length = reply.length
        framing = effects.no_length if not no_body else None
        if not reply.measured:
            framing = framing or "chunked"
        fields = [pair for pair in reply.headers if pair[0].lower() != "content-length"]
        if framing == "chunked":
            fields.append(("Transfer-Encoding", "chunked"))
        elif framing is None and reply.status not in (204, 304):
            fields.append(("Content-Length", str(max(length + effects.lie, 0))))
        stop = effects.cut
        if stop is not None and stop < 0:
            stop = max(length + stop, 0)
        cut = stop is not None and stop < length
        close = close or cut or framing == "close" or (effects.lie != 0 and not no_body)
        fields.append(("Connection", "close" if close else "keep-alive"))
        head_bytes = _head(reply.status, fields)
        if no_body:
            self.last()
            self.connection.sendall(head_bytes)
            return not close
        small = length <= PIECE and not _paced(effects) and framing is None and effects.cut is None
        if small:
            # One segment for a small reply: a second one would wait for the first's acknowledgement.
            body = b"".join(_body(reply, effects, PIECE))
            self.last()
            self.connection.sendall(head_bytes + body)
            self.sent = len(body)
            return not close
        self.connection.sendall(head_bytes)
        self._send_body(reply, effects, framing, stop if cut else None)
        if framing == "chunked" and not cut:
            self.connection.sendall(b"0\r\n\r\n")
        return not close

    def _send_body(self, reply: Reply, effects: Effects, framing: str | None, cut: int | None) -> None:
        rate = min((rate for rate in (effects.drip, effects.bandwidth) if rate), default=None)
        step = PIECE
        if effects.drip:
            step = 1
        elif rate:
            step = max(1, min(PIECE, int(rate / 20)))
        length = reply.length if cut is None else cut
        started = time.monotonic()
        stalled = effects.stall <= 0
        for piece in _body(reply, effects, step):
            rest = piece
            while rest:
                stops = [len(rest)]
                if not stalled:
                    stops.append(effects.stall_at - self.sent)
                if cut is not None:
                    stops.append(cut - self.sent)
                now = max(min(stops), 0)
                if now:
                    data, rest = rest[:now], rest[now:]
                    if self.sent + now >= length:
                        self.last()
                    self.connection.sendall(_chunk(data) if framing == "chunked" else data)
                    self.sent += now
                if not stalled and self.sent >= effects.stall_at:
                    stalled = True
                    self.pause(effects.stall)
                    started += effects.stall
                if cut is not None and self.sent >= cut:
                    return
            if rate:
                self.pause(started + self.sent / rate - time.monotonic())


def _poll(descriptor: int) -> select.poll:
    poll = select.poll()
    poll.register(descriptor, _HANG_UP)
    return poll


def hung_up(descriptor: int) -> bool:
    """Whether the other end of a socket has closed it."""
    return bool(_poll(descriptor).poll(0))


def by_rule(request: Request) -> Reply | None:
    """The reply that the fault rules give instead of the service, if they do."""
    effects = request.effects
    if effects.max_connections is not None and request.busy > effects.max_connections:
        message = f"Max session number {effects.max_connections} exceeded"
        reply = json_reply(429, {"code": "DAT-ZIP-100", "message": message})
    elif effects.login_page:
        reply = text_reply(200, LOGIN_PAGE)
    elif effects.gateway_page:
        fields = [("Content-Type", "text/html"), ("Content-Encoding", "gzip")]
        reply = Reply(502, fields, gzip.compress(GATEWAY_PAGE.encode(), mtime=0))
    elif effects.status is not None or effects.retry_after is not None:
        status = effects.status or 429
        body = effects.body if effects.body is not None else f"{status} {_phrase(status)}\n"
        reply = text_reply(status, body, _kind(body))
    else:
        return None
    return _dress(reply, effects)


def after_service(reply: Reply, effects: Effects) -> Reply:
    """The service's reply with the headers, body and range that the fault rules want."""
    if effects.body is not None:
        reply.body = effects.body.encode()
        reply.replace_header("Content-Type", _kind(effects.body))
    if effects.wrong_range and reply.status == HTTPStatus.PARTIAL_CONTENT and isinstance(reply.body, Slice):
        size = reply.body.content.size
        length = min(reply.length, size - 1)
        start = 0 if reply.body.start else 1
        reply.body = Slice(reply.body.content, start, start + length)
        reply.replace_header("Content-Range", f"bytes {start}-{start + length - 1}/{size}")
    return _dress(reply, effects)


def _dress(reply: Reply, effects: Effects) -> Reply:
    for name, value in (effects.headers or {}).items():
        reply.replace_header(name, None if value is None else str(value))
    if effects.retry_after is not None:
        reply.replace_header("Retry-After", str(effects.retry_after))
    return reply


def _kind(body: str) -> str:
    return {"<": "text/html", "{": "application/json", "[": "application/json"}.get(body[:1], "text/plain")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _head(status: int, fields: list[tuple[str, str]]) -> bytes:
    lines = [f"HTTP/1.1 {status} {_phrase(status)}", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace")


def _paced(effects: Effects) -> bool:
    return bool(effects.stall > 0 or effects.drip or effects.bandwidth)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _body(reply: Reply, effects: Effects, step: int) -> Iterator[bytes]:
    """The body in pieces, with the byte flipped that a rule says."""
    if isinstance(reply.body, bytes):
        at, size = 0, len(reply.body)
        pieces: Iterator[bytes] = (reply.body[i : i + step] for i in range(0, size, step))
    else:
        at, size = reply.body.start, reply.body.content.size
        pieces = _resized(reply.body.content.pieces(reply.body.start, reply.body.stop), step)
    flip = None if effects.corrupt is None else effects.corrupt % size if size else None
    for piece in pieces:
        if flip is not None and at <= flip < at + len(piece):
            spoiled = bytearray(piece)
            spoiled[flip - at] ^= 0xFF
            yield bytes(spoiled)
        else:
            yield piece
        at += len(piece)


def _resized(pieces: Iterator[bytes], step: int) -> Iterator[bytes]:
    for piece in pieces:
        if len(piece) <= step:
            yield piece
        else:
            yield from (piece[i : i + step] for i in range(0, len(piece), step))
