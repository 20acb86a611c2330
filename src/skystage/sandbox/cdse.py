"""The Copernicus Data Space Ecosystem: log-in, OData and STAC catalogues, downloads, object store.

It serves the catalogue's orbit files as the auxiliary products that they are there, and its Sentinel-1
products packed as they are there: in other zips than ASF's.
Downloads want a token and allow four at once for each account.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from skystage.sandbox.accounts import CDSE
from skystage.sandbox.cdse_catalogue import DOWNLOAD, Catalogue
from skystage.sandbox.cdse_catalogue import HOST as CATALOGUE
from skystage.sandbox.cdse_downloads import Downloads
from skystage.sandbox.cdse_stac import HOST as STAC
from skystage.sandbox.cdse_stac import THUMBNAILS, Stac
from skystage.sandbox.copernicus import products, recorded
from skystage.sandbox.eodata import HOST as EODATA
from skystage.sandbox.eodata import Eodata
from skystage.sandbox.messages import Reply, Request, Service, json_reply, redirect
from skystage.sandbox.world import World

IDENTITY = "identity.dataspace.copernicus.eu"
ZIPPER = "zipper.dataspace.copernicus.eu"
_PICTURES = "zipper.creodias.eu"
TOKEN_PATH = "/auth/realms/CDSE/protocol/openid-connect/token"  # noqa: S105 - a path

_ACCESS_LIFETIME = 600.0
_REFRESH_LIFETIME = 3600.0
MOST_SESSIONS = 100
"""Quotas and limitations of the Copernicus Data Space: sessions of a general user."""
_PUBLIC = "cdse-public"


def hosts(world: World) -> dict[str, Service]:
    """CDSE's hosts."""
    held = {product.id: product for product in products(world.catalogue)}
    deleted = {record["Id"]: recorded(record) for record in world.catalogue.deleted}
    catalogue, downloads = Catalogue(held, deleted), Downloads(held, world.accounts)
    return {
        IDENTITY: lambda request: _identity(world, request),
        CATALOGUE: catalogue.answer,
        DOWNLOAD: downloads.answer,
        ZIPPER: downloads.answer,
        STAC: Stac(held).answer,
        EODATA: Eodata(held).answer,
        THUMBNAILS: lambda request: redirect(301, f"https://{_PICTURES}{request.target}"),
        _PICTURES: downloads.answer,
    }


def _identity(world: World, request: Request) -> Reply:
    if request.path != TOKEN_PATH or request.method != "POST":
        return json_reply(404, {"error": "Unable to find matching target resource method"})
    form, accounts = dict(request.form), world.accounts
    client, session = form.get("client_id", ""), str(uuid.uuid4())
    if client != _PUBLIC and not accounts.knows_client(client, form.get("client_secret", "")):
        return _refusal(401, "invalid_client", "Invalid client or Invalid client credentials")
    match form.get("grant_type"):
        case "password":
            user = form.get("username", "")
            # A wrong second factor looks as a wrong password does, and so does one session too many.
            if (
                not accounts.knows(user, form.get("password"))
                or accounts.open_sessions(CDSE, user) >= MOST_SESSIONS
                or not accounts.second_factor(user, form.get("totp", ""))
            ):
                return _refusal(401, "invalid_grant", "Invalid user credentials")
            accounts.log_in(CDSE)
        case "refresh_token":
            token = accounts.alive(CDSE, "refresh", form.get("refresh_token"))
            if token is None:
                return _refusal(400, "invalid_grant", "Token is not active")
            user, session = token.user, token.session
        case "client_credentials" if client != _PUBLIC:
            lifetime = request.effects.token_lifetime or _ACCESS_LIFETIME
            return _granted(accounts.issue(CDSE, "access", client, lifetime, session), lifetime, {})
        case "client_credentials":
            return _refusal(401, "unauthorized_client", "Public client: no service account")
        case _:
            return _refusal(400, "unsupported_grant_type", "Unsupported grant_type")
    lifetime = request.effects.token_lifetime or _ACCESS_LIFETIME
    until = request.effects.refresh_lifetime or _REFRESH_LIFETIME
    more = {
        "refresh_token": accounts.issue(CDSE, "refresh", user, until, session),
        "refresh_expires_in": int(until),
        "session_state": session,
    }
    return _granted(accounts.issue(CDSE, "access", user, lifetime, session), lifetime, more)


def _granted(token: str, lifetime: float, more: Mapping[str, object]) -> Reply:
    answer = {
        "access_token": token,
        "expires_in": int(lifetime),
        "refresh_expires_in": 0,
        "token_type": "Bearer",
        "not-before-policy": 0,
        "scope": "AUDIENCE_PUBLIC openid email profile ondemand_processing user-context",
        **more,
    }
    return json_reply(200, answer, {"Cache-Control": "no-store"})


def _refusal(status: int, error: str, description: str) -> Reply:
    return json_reply(status, {"error": error, "error_description": description})
