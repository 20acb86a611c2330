"""The Copernicus Data Space Ecosystem: log-in, OData and STAC catalogues, downloads, object store.

It serves the catalogue's orbit files as the auxiliary products that they are there, and its Sentinel-1
products packed as they are there: in other zips than ASF's.
Downloads want a token and allow four at once for each account.
"""

from __future__ import annotations

import uuid

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
    form = dict(request.form)
    if form.get("client_id") != "cdse-public":
        return json_reply(
            401,
            {"error": "invalid_client", "error_description": "Invalid client or Invalid client credentials"},
        )
    accounts = world.accounts
    match form.get("grant_type"):
        case "password":
            user = form.get("username", "")
            if not accounts.knows(user, form.get("password")):
                return json_reply(
                    401, {"error": "invalid_grant", "error_description": "Invalid user credentials"}
                )
            accounts.log_in(CDSE)
            session = str(uuid.uuid4())
        case "refresh_token":
            token = accounts.alive(CDSE, "refresh", form.get("refresh_token"))
            if token is None:
                return json_reply(400, {"error": "invalid_grant", "error_description": "Token is not active"})
            user, session = token.user, token.session
        case _:
            return json_reply(
                400, {"error": "unsupported_grant_type", "error_description": "Unsupported grant_type"}
            )
    lifetime = request.effects.token_lifetime or _ACCESS_LIFETIME
    answer = {
        "access_token": accounts.issue(CDSE, "access", user, lifetime, session),
        "expires_in": int(lifetime),
        "refresh_expires_in": int(_REFRESH_LIFETIME),
        "refresh_token": accounts.issue(CDSE, "refresh", user, _REFRESH_LIFETIME, session),
        "token_type": "Bearer",
        "not-before-policy": 0,
        "session_state": session,
        "scope": "AUDIENCE_PUBLIC openid email profile ondemand_processing user-context",
    }
    return json_reply(200, answer, {"Cache-Control": "no-store"})
