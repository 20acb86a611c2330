"""The download hosts of the Copernicus Data Space: they want a token, and take four requests at once."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping

from skystage.sandbox.accounts import CDSE, Accounts
from skystage.sandbox.cdse_catalogue import PRODUCT
from skystage.sandbox.copernicus import Product
from skystage.sandbox.messages import Reply, Request, json_reply
from skystage.sandbox.ranges import serve

MOST_AT_ONCE = 4


class Downloads:
    """The download hosts; both share the account's four connections."""

    def __init__(self, held: Mapping[str, Product], accounts: Accounts) -> None:
        self._products = held
        self._accounts = accounts
        self._active: dict[str, list[Request]] = {}
        self._lock = threading.Lock()

    def answer(self, request: Request) -> Reply:
        """Answer for a download host."""
        match = PRODUCT.match(request.path)
        if match is None or not match[2]:
            return json_reply(400, {"code": "DAT-ZIP-104", "message": "Malformed OData request path"})
        token = self._accounts.find(CDSE, "access", request.bearer)
        if token is None:
            return json_reply(401, {"code": "DAT-ZIP-604", "message": "Token not found"})
        if self._accounts.alive(CDSE, "access", request.bearer) is None:
            return json_reply(401, {"code": "DAT-ZIP-109", "message": "Token expired"})
        if not _is_uuid(match[1]):
            return json_reply(422, {"code": "DAT-ZIP-111", "message": f"Invalid product id {match[1]}"})
        product = self._products.get(match[1])
        if product is None:
            return json_reply(404, {"detail": "Product not found in catalogue"})
        if not self._enter(token.user, request):
            message = f"Max session number {MOST_AT_ONCE} exceeded."
            return json_reply(429, {"code": "DAT-ZIP-100", "message": message})
        try:
            reply = serve(request, product.content)
        except BaseException:
            self._leave(token.user, request)
            raise
        if reply.status in (200, 206):
            # As recorded: it says zip, and is the file itself.
            reply.replace_header("Content-Type", "application/zip")
            reply.headers.append(("Content-Disposition", f"attachment; filename={product.content.name}"))
        reply.finished = lambda: self._leave(token.user, request)
        return reply

    def _enter(self, user: str, request: Request) -> bool:
        with self._lock:
            # A client that hung up has freed its place, even if its thread here does not know yet.
            active = [other for other in self._active.get(user, []) if other.alive()]
            free = len(active) < MOST_AT_ONCE
            self._active[user] = [*active, request] if free else active
            return free

    def _leave(self, user: str, request: Request) -> None:
        with self._lock:
            self._active[user] = [other for other in self._active[user] if other is not request]


def _is_uuid(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) is not None
