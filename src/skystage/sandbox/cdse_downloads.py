"""The download hosts of the Copernicus Data Space: they want a token, and take four requests at once.

A product is there as a whole, and its files one by one as nodes of a tree; the tree may be looked at by
anybody. The small pictures of the catalogue have addresses of their own.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Any

from skystage.sandbox.accounts import CDSE, SENTINEL_HUB, Accounts
from skystage.sandbox.cdse_catalogue import DOWNLOAD
from skystage.sandbox.copernicus import Product
from skystage.sandbox.files import Content
from skystage.sandbox.messages import Reply, Request, json_reply
from skystage.sandbox.ranges import serve

MOST_AT_ONCE = 4
_PATH = re.compile(
    r"/odata/v1/(?P<set>Products|Assets)\((?P<id>[^()]*)\)(?P<nodes>(?:/Nodes\([^()]*\))*)(?P<end>/[^/()]*)"
)
_NODE = re.compile(r"/Nodes\(([^()]*)\)")


class Downloads:
    """The download hosts; both share the account's four connections."""

    def __init__(self, held: Mapping[str, Product], accounts: Accounts) -> None:
        self._products = held
        self._pictures = {one.quicklook_id: one.quicklook for one in held.values() if one.quicklook}
        self._accounts = accounts
        self._active: dict[str, list[Request]] = {}
        self._lock = threading.Lock()

    def answer(self, request: Request) -> Reply:
        """Answer for a download host."""
        match = _PATH.fullmatch(request.path)
        if match is None or match["end"] not in ("/$value", "/Nodes") or "'" in match["nodes"]:
            return _malformed()
        if match["set"] == "Assets":
            return self._picture(request, match)
        if match["end"] == "/Nodes":
            return self._list(request, match)
        token = self._accounts.find(CDSE, "access", request.bearer)
        if token is None:
            return json_reply(401, {"code": "DAT-ZIP-604", "message": "Token not found"})
        if self._accounts.alive(CDSE, "access", request.bearer) is None:
            return json_reply(401, {"code": "DAT-ZIP-109", "message": "Token expired"})
        if token.user == SENTINEL_HUB:
            return json_reply(401, {"code": "DAT-ZIP-609", "message": "Token audience not allowed"})
        content = self._find(match)
        if isinstance(content, Reply):
            return content
        if not self._enter(token.user, request):
            message = f"Max session number {MOST_AT_ONCE} exceeded."
            return json_reply(429, {"code": "DAT-ZIP-100", "message": message})
        try:
            reply = serve(request, content)
        except BaseException:
            self._leave(token.user, request)
            raise
        if reply.status in (200, 206):
            if not match["nodes"]:
                # As recorded: it says zip, also of what is none.
                reply.replace_header("Content-Type", "application/zip")
            reply.headers.append(("Content-Disposition", f"attachment; filename={content.name}"))
        reply.finished = lambda: self._leave(token.user, request)
        return reply

    def _find(self, match: re.Match[str]) -> Content | Reply:
        """The bytes behind an address, or what to say instead."""
        if not _is_uuid(match["id"]):
            return json_reply(422, {"code": "DAT-ZIP-111", "message": f"Invalid product id {match['id']}"})
        product = self._products.get(match["id"])
        if product is None:
            return json_reply(404, {"detail": "Product not found in catalogue"})
        if not product.online:
            return json_reply(404, {"detail": "Product is offline"})
        if not match["nodes"]:
            return product.content
        content = _tree(product).get("/".join(_NODE.findall(match["nodes"])))
        return content if content is not None else _no_node()

    def _picture(self, request: Request, match: re.Match[str]) -> Reply:
        """A quicklook, for anybody."""
        picture = self._pictures.get(match["id"])
        if picture is None or match["nodes"] or match["end"] != "/$value":
            return json_reply(404, {"detail": "Asset not found in catalogue"})
        return serve(request, picture)

    def _list(self, request: Request, match: re.Match[str]) -> Reply:
        """The nodes below one; anybody may look."""
        product = self._products.get(match["id"])
        if product is None:
            return json_reply(404, {"detail": "Product not found in catalogue"})
        tree = _tree(product)
        parent = "/".join(_NODE.findall(match["nodes"]))
        if parent not in tree:
            return _no_node()
        here = f"https://{DOWNLOAD}{request.path.removesuffix('/Nodes')}"
        # In no order, as there.
        found = sorted(
            (path for path in tree if path and path.rpartition("/")[0] == parent), key=lambda path: path[::-1]
        )
        return json_reply(200, {"result": [_node(path, tree, here) for path in found]})

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


def _tree(product: Product) -> dict[str, Content | None]:
    """The files of a product and, with None, its folders, by their path; the empty path is the root."""
    if not product.files:
        return {"": None, product.name: product.content}
    tree: dict[str, Content | None] = {"": None}
    for path, content in product.files.items():
        whole = f"{product.name}/{path}"
        parts = whole.split("/")
        tree.update(("/".join(parts[:count]), None) for count in range(1, len(parts)))
        tree[whole] = content
    return tree


def _node(path: str, tree: Mapping[str, Content | None], parent: str) -> dict[str, Any]:
    name, content = path.rpartition("/")[2], tree[path]
    children = sum(other.rpartition("/")[0] == path for other in tree)
    return {
        "Id": name,
        "Name": name,
        "ContentLength": 0 if content is None else content.size,
        "ChildrenNumber": children,
        "Nodes": {"uri": f"{parent}/Nodes({name})/Nodes"},
    }


def _no_node() -> Reply:
    return json_reply(404, {"detail": "Node not found in product"})


def _malformed() -> Reply:
    return json_reply(400, {"code": "DAT-ZIP-104", "message": "Malformed OData request path"})


def _is_uuid(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) is not None
