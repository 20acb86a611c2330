"""MAST's files: who may have them, the downloads, where the cloud has them, and a script that fetches them.

Tokens come as the cookie ``mast_token`` or as ``Authorization: token``. Public files need none; those of a
proposal whose exclusive access has not ended are for `accounts.USER`, and 401 for all others.
"""

from __future__ import annotations

import shlex
from typing import Any
from urllib.parse import quote

from skystage.sandbox.accounts import MAST, USER, Accounts
from skystage.sandbox.mast_holdings import File, Holdings
from skystage.sandbox.messages import Reply, Request, json_reply, text_reply
from skystage.sandbox.ranges import serve

FILE = f"https://{MAST}/api/v0.1/Download/file"


class Downloads:
    """What gives files, and tells where they are."""

    def __init__(self, holdings: Holdings, accounts: Accounts) -> None:
        self._held = holdings
        self._accounts = accounts

    def user(self, request: Request) -> str | None:
        """Who asks; None if there is no token that lives."""
        scheme, _, said = request.headers.get("authorization", "").partition(" ")
        text = said.strip() if scheme.lower() == "token" else request.cookies.get("mast_token")
        token = self._accounts.alive(MAST, "access", text)
        return token.user if token is not None else None

    def file(self, request: Request) -> Reply:
        """The file of an address."""
        uris = [value for key, value in request.parameters if key == "uri"]
        if len(uris) != 1:
            return json_reply(400, {"message": "there must be one uri"})
        return self.give(self._held.files.get(uris[0]), request)

    def give(self, file: File | None, request: Request) -> Reply:
        """A file's bytes, or why not."""
        if file is None or file.content is None:
            return not_found()
        if file.exclusive and self.user(request) != USER:
            return json_reply(401, {"message": "Unauthorized"}, {"WWW-Authenticate": "token"})
        # MAST promises no checksum: its validator is not to look like one.
        reply = serve(request, file.content, parts=True)
        if reply.status in (200, 206):
            reply.measured = file.measured
            reply.headers.append(("Content-Disposition", f"attachment; filename={file.content.name}"))
        return reply

    def look_up(self, request: Request) -> Reply:
        """Where the cloud has files, as far as MAST knows."""
        out: dict[str, dict[str, Any]] = {}
        for key, uri in request.parameters:
            if key == "uri":
                file = self._held.files.get(uri)
                path = file.path if file is not None else None
                out[uri] = {"status_code": 404 if path is None else 200, "path": path}
        return json_reply(200, out)

    def script(self, request: Request) -> Reply:
        """A shell script that downloads what is asked for."""
        pairs = request.form if request.method == "POST" else request.parameters
        uris = [value for key, value in pairs if key == "uri"]
        folders = {
            row["dataURI"]: f"{row['obs_collection']}/{row['obs_id']}/"
            for rows in self._held.products.values()
            for row in rows
        }
        lines = [
            "#!/bin/bash",
            "# Downloads files of MAST with curl; a token in $MAST_API_TOKEN is used.",
            'ask=(); [ -z "$MAST_API_TOKEN" ] || ask=(-H "Authorization: token $MAST_API_TOKEN")',
        ]
        for uri in uris:
            address = f"{FILE}?uri={quote(uri, safe=':/')}"
            place = f"mastDownload/{folders.get(uri, '')}{uri.rpartition('/')[2]}"
            lines.append(
                'curl --fail --location --create-dirs "${ask[@]}" '
                f"--output {shlex.quote(place)} {shlex.quote(address)}"
            )
        return text_reply(200, "\n".join([*lines, ""]), "text/x-shellscript")


def not_found() -> Reply:
    """What MAST says when there is nothing."""
    return text_reply(404, "<html><body><h1>404 Not Found</h1></body></html>")
