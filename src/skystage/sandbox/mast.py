"""MAST: who one is, which of its services is asked, and the resolver of names."""

from __future__ import annotations

from typing import Any

from skystage.sandbox.accounts import MAST
from skystage.sandbox.mast_downloads import Downloads, not_found
from skystage.sandbox.mast_holdings import Holdings
from skystage.sandbox.mast_missions import Missions
from skystage.sandbox.mast_portal import Portal
from skystage.sandbox.messages import Reply, Request, Service, json_reply, text_reply
from skystage.sandbox.world import World

RESOLVER = "mastresolver.stsci.edu"
_LONGEST_ADDRESS = 8192


def hosts(world: World) -> dict[str, Service]:
    """MAST's hosts."""
    held = world.catalogue.mast
    return {MAST: _Mast(world).answer, RESOLVER: lambda request: _resolve(held, request)}


class _Mast:
    """What answers for the host itself."""

    def __init__(self, world: World) -> None:
        held = world.catalogue.mast
        portal, downloads = Portal(held), Downloads(held, world.accounts)
        self._downloads = downloads
        self._missions = Missions(held, downloads)
        self._table: dict[str, tuple[tuple[str, ...], Service]] = {
            "/portal/Mashup/Mashup.asmx/columnsconfig": (("POST",), portal.columns),
            "/api/v0/invoke": (("POST",), portal.invoke),
            "/whoami": (("GET",), self._whoami),
            "/api/v0.1/Download/file": (("GET", "HEAD"), downloads.file),
            "/api/v0.1/Download/bundle.sh": (("GET", "POST"), downloads.script),
            "/api/v0.1/path_lookup": (("GET",), downloads.look_up),
        }

    def answer(self, request: Request) -> Reply:
        """Answer for the host."""
        if len(request.target) > _LONGEST_ADDRESS:
            # Why clients ask for the places of so many files at once, and no more.
            return text_reply(414, "<html><body><h1>414 Request-URI Too Large</h1></body></html>")
        path = request.path.removesuffix("/")
        if path.startswith("/search/"):
            return self._missions.answer(request)
        if path not in self._table:
            return not_found()
        methods, service = self._table[path]
        if request.method not in methods:
            return text_reply(405, "<html><body><h1>405 Method Not Allowed</h1></body></html>")
        return service(request)

    def _whoami(self, request: Request) -> Reply:
        user = self._downloads.user(request)
        info: dict[str, Any] = {
            "anon": user is None,
            "attrib": {} if user is None else {"display_name": user},
            "eppn": f"{user}@stsci.edu" if user else "",
            "ezid": user or "anonymous",
            "scopes": ["mast:exclusive_access", "mast:user_info"] if user else [],
            "session": None,
            "token": {"token_name": "sandbox"} if user else None,
        }
        return json_reply(200, info)


def _resolve(held: Holdings, request: Request) -> Reply:
    """Where things are that have a name."""
    if request.path != "/Santa-war/query":
        return not_found()
    asked = dict(request.parameters)
    found = []
    for name in (value.strip().lower() for key, value in request.parameters if key == "name"):
        places = held.positions.get(name, [])
        if asked.get("resolveAll", "").lower() != "true":
            wanted = asked.get("resolver")
            places = [place for place in places if wanted in (None, place[0])][:1]
        found += [
            {
                "searchString": name,
                "resolver": resolver,
                "cached": True,
                "searchRadius": -1.0,
                "canonicalName": name.upper(),
                "ra": ra,
                "decl": dec,
            }
            for resolver, ra, dec in places
        ]
    return json_reply(200, {"resolvedCoordinate": found, "status": ""})
