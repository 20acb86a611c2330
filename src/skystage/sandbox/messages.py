"""What passes between the proxy and the services: one request in, one reply out.

A service is a plain function ``Request -> Reply``. It never sees a socket, so it can be
tested by calling it, and everything that can go wrong on the wire stays in `proxy`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, unquote

from skystage.sandbox.faults import NO_EFFECTS, Effects
from skystage.sandbox.files import Content


@dataclass(slots=True)
class Request:
    """One HTTP request as a client sent it."""

    method: str
    host: str
    target: str
    """Path and query exactly as sent."""
    headers: dict[str, str] = field(default_factory=dict)
    """Header fields with lower-case names."""
    body: bytes = b""
    effects: Effects = NO_EFFECTS
    """What the fault rules want of this request."""
    busy: int = 1
    """How many requests the host is answering, this one included."""
    alive: Callable[[], bool] = lambda: True
    """Whether the client is still there."""

    @property
    def raw_path(self) -> str:
        """The path as sent, still percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def path(self) -> str:
        """The path, decoded."""
        return unquote(self.raw_path)

    @property
    def query(self) -> str:
        """What follows the question mark, as sent."""
        return self.target.partition("?")[2]

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """The query's pairs, decoded, in order; empty values are kept."""
        return parse_qsl(self.query, keep_blank_values=True)

    @property
    def form(self) -> list[tuple[str, str]]:
        """The pairs of a form-encoded body."""
        return parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True)

    @property
    def bearer(self) -> str | None:
        """The token of an ``Authorization: Bearer`` header."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else None

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies sent."""
        pairs = (part.strip().partition("=") for part in self.headers.get("cookie", "").split(";"))
        return {name: value for name, _, value in pairs if name}


@dataclass(slots=True)
class Slice:
    """A part of a content, to be read while it is sent."""

    content: Content
    start: int
    stop: int


@dataclass(slots=True)
class Reply:
    """One HTTP reply, before the proxy (and its faults) put it on the wire."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | Slice = b""
    finished: Callable[[], None] | None = None
    """Called once, before the last byte is sent or after the connection broke."""
    measured: bool = True
    """Whether its length is announced; else the body comes in chunks."""

    @property
    def length(self) -> int:
        """Bytes of the body."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.stop - self.body.start

    def header(self, name: str) -> str | None:
        """The first header field of that name, whatever its case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def replace_header(self, name: str, value: str | None) -> None:
        """Set a header field, or with None remove it."""
        self.headers = [pair for pair in self.headers if pair[0].lower() != name.lower()]
        if value is not None:
            self.headers.append((name, value))


Service: TypeAlias = Callable[[Request], Reply]
"""What answers for a host."""


def json_reply(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Reply:
    """A JSON body with its content type."""
    fields = [("Content-Type", "application/json"), *(headers or {}).items()]
    return Reply(status, fields, json.dumps(value).encode())


def text_reply(
    status: int, text: str, kind: str = "text/html; charset=utf-8", headers: Mapping[str, str] | None = None
) -> Reply:
    """A page, an XML document or plain text."""
    return Reply(status, [("Content-Type", kind), *(headers or {}).items()], text.encode())


def redirect(status: int, location: str, headers: Mapping[str, str] | None = None) -> Reply:
    """A redirect without a body."""
    return Reply(status, [("Location", location), *(headers or {}).items()])
