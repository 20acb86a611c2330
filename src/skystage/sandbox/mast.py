"""MAST: the portal, who one is, downloads, where the cloud has a file, and the resolver of names.

Tokens come as the cookie ``mast_token`` or as ``Authorization: token``. Public files need none; those of a
proposal whose exclusive access has not ended are for `accounts.USER`, and 401 for all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skystage.sandbox.accounts import MAST, USER
from skystage.sandbox.mast_holdings import File, Holdings
from skystage.sandbox.mast_portal import Portal
from skystage.sandbox.messages import Reply, Request, Service, json_reply, text_reply
from skystage.sandbox.ranges import serve
from skystage.sandbox.world import World

RESOLVER = "mastresolver.stsci.edu"
_LONGEST_ADDRESS = 8192
_DOWNLOAD = f"https://{MAST}/api/v0.1/Download/file"


def hosts(world: World) -> dict[str, Service]:
    """MAST's hosts."""
    mast = _Mast(world)
    return {MAST: mast.answer, RESOLVER: lambda request: _resolve(world.catalogue.mast, request)}


class _Mast:
    """What answers for the host itself."""

    def __init__(self, world: World) -> None:
        self._held = world.catalogue.mast
        self._accounts = world.accounts
        portal = Portal(self._held)
        self._posts = {
            "/portal/Mashup/Mashup.asmx/columnsconfig": portal.columns,
            "/api/v0/invoke": portal.invoke,
        }
        self._gets = {
            "/whoami": self._whoami,
            "/api/v0.1/Download/file": self._download,
            "/api/v0.1/path_lookup": self._look_up,
        }

    def answer(self, request: Request) -> Reply:
        """Answer for the host."""
        path = request.path.removesuffix("/")
        if len(request.target) > _LONGEST_ADDRESS:
            return text_reply(414, "<html><body><h1>414 Request-URI Too Large</h1></body></html>")
        if path in self._posts:
            return self._posts[path](request) if request.method == "POST" else _not_allowed()
        if path in self._gets:
            return self._gets[path](request) if request.method in ("GET", "HEAD") else _not_allowed()
        if path == "/api/v0.1/Download/bundle.sh":
            return self._script(request)
        return text_reply(404, "<html><body><h1>404 Not Found</h1></body></html>")

    def _user(self, request: Request) -> str | None:
        scheme, _, said = request.headers.get("authorization", "").partition(" ")
        text = said.strip() if scheme.lower() == "token" else request.cookies.get("mast_token")
        token = self._accounts.alive(MAST, "access", text)
        return token.user if token is not None else None

    def _whoami(self, request: Request) -> Reply:
        user = self._user(request)
        info: dict[str, Any] = {
            "anon": user is None,
            "attrib": {} if user is None else {"display_name": user, "uuid": f"{user}@sandbox"},
            "eppn": f"{user}@stsci.edu" if user else "",
            "ezid": user or "anonymous",
            "scopes": ["mast:exclusive_access", "mast:user_info"] if user else [],
            "session": None,
            "token": {"token_name": "sandbox"} if user else None,
        }
        return json_reply(200, info)

    def _download(self, request: Request) -> Reply:
        uris = [value for key, value in request.parameters if key == "uri"]
        if len(uris) != 1:
            return json_reply(400, {"message": "one uri"})
        return give(self._held.files.get(uris[0]), request, self._user(request))

    def _look_up(self, request: Request) -> Reply:
        """Where the cloud has files, as far as the portal knows."""
        out: dict[str, dict[str, Any]] = {}
        for key, uri in request.parameters:
            if key == "uri":
                file = self._held.files.get(uri)
                path = file.path if file is not None else None
                out[uri] = {"status_code": 404 if path is None else 200, "path": path}
        return json_reply(200, out)

    def _script(self, request: Request) -> Reply:
        """A shell script that downloads what is asked for."""
        if request.method not in ("GET", "POST"):
            return _not_allowed()
        pairs = request.form if request.method == "POST" else request.parameters
        uris = [value for key, value in pairs if key == "uri"]
        folders = {row["dataURI"]: row for rows in self._held.products.values() for row in rows}
        lines = ["#!/bin/bash", "# Downloads files of MAST with curl; a token in $MAST_API_TOKEN is used."]
        lines.append('ask=(); [ -z "$MAST_API_TOKEN" ] || ask=(-H "Authorization: token $MAST_API_TOKEN")')
        for uri in uris:
            row: Mapping[str, Any] = folders.get(uri, {})
            name = uri.rpartition("/")[2]
            folder = f"{row['obs_collection']}/{row['obs_id']}/" if row else ""
            lines.append(
                'curl --fail --location --create-dirs "${ask[@]}" '
                f"--output 'mastDownload/{folder}{name}' '{_DOWNLOAD}?uri={uri}'"
            )
        return text_reply(200, "\n".join([*lines, ""]), "text/x-shellscript")


def give(file: File | None, request: Request, user: str | None) -> Reply:
    """A file's bytes, or why not."""
    if file is None or file.content is None:
        return text_reply(404, "<html><body><h1>404 Not Found</h1></body></html>")
    if file.exclusive and user != USER:
        return json_reply(401, {"message": "Unauthorized"}, {"WWW-Authenticate": "token"})
    # MAST promises no checksum: its validator is not to look like one.
    reply = serve(request, file.content, parts=True)
    if reply.status in (200, 206):
        reply.measured = file.measured
        reply.headers.append(("Content-Disposition", f"attachment; filename={file.content.name}"))
    return reply


def _resolve(held: Holdings, request: Request) -> Reply:
    """Where things are that have a name."""
    if request.path != "/Santa-war/query":
        return text_reply(404, "<html><body><h1>404 Not Found</h1></body></html>")
    found = []
    for key, value in request.parameters:
        known = held.positions.get(value.strip().lower()) if key == "name" else None
        if known is not None:
            resolver, ra, dec = known
            found.append(
                {
                    "searchString": value.strip().lower(),
                    "resolver": resolver,
                    "cached": True,
                    "searchRadius": -1.0,
                    "canonicalName": value.strip().upper(),
                    "ra": ra,
                    "decl": dec,
                }
            )
    return json_reply(200, {"resolvedCoordinate": found, "status": ""})


def _not_allowed() -> Reply:
    return text_reply(405, "<html><body><h1>405 Method Not Allowed</h1></body></html>")
