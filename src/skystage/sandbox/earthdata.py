"""NASA Earthdata Login (``urs.earthdata.nasa.gov``): tokens for scripts, the OAuth code flow for the rest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from skystage.sandbox.accounts import EARTHDATA, basic
from skystage.sandbox.messages import Reply, Request, Service, json_reply, redirect, text_reply
from skystage.sandbox.wire import LOGIN_PAGE
from skystage.sandbox.world import World

TOKEN_LIFETIME = 60 * 86400.0
_COOKIE_LIFETIME = 86400.0
_CODE_LIFETIME = 60.0
_SESSION_COOKIE = "_urs-gui_session"


def hosts(world: World) -> dict[str, Service]:
    """The host of Earthdata Login."""
    return {EARTHDATA: lambda request: _answer(world, request)}


def _answer(world: World, request: Request) -> Reply:
    match request.path:
        case "/api/users/find_or_create_token" | "/api/users/token" if request.method == "POST":
            return _token(world, request)
        case "/oauth/tokens/user" if request.method == "POST":
            return _whose_token(world, request)
        case "/oauth/authorize":
            return _authorize(world, request)
        case _:
            return text_reply(404, "<html><body><h1>Not Found</h1></body></html>")


def _token(world: World, request: Request) -> Reply:
    credentials = basic(request.headers.get("authorization"))
    if credentials is None or not world.accounts.knows(*credentials):
        return json_reply(
            401, {"error": "invalid_credentials", "error_description": "Invalid user credentials"}
        )
    lifetime = request.effects.token_lifetime or TOKEN_LIFETIME
    world.accounts.log_in(EARTHDATA)
    token = world.accounts.issue(EARTHDATA, "access", credentials[0], lifetime)
    expires = datetime.now(UTC) + timedelta(seconds=lifetime)
    answer = {"access_token": token, "token_type": "Bearer", "expiration_date": f"{expires:%m/%d/%Y}"}
    return json_reply(200, answer, {"Cache-Control": "no-store"})


def _whose_token(world: World, request: Request) -> Reply:
    token = world.accounts.alive(EARTHDATA, "access", dict(request.form).get("token"))
    if token is None:
        return json_reply(401, INVALID_TOKEN)
    return json_reply(200, {"uid": token.user})


INVALID_TOKEN = {
    "error": "invalid_token",
    "error_description": "The token is either malformed or does not exist",
}
EXPIRED_TOKEN = {"error": "expired_token", "error_description": "The token has expired"}


def _authorize(world: World, request: Request) -> Reply:
    asked = dict(request.parameters)
    target = asked.get("redirect_uri", "")
    if not target or "client_id" not in asked:
        return json_reply(
            400, {"error": "invalid_request", "error_description": "client_id and redirect_uri"}
        )
    credentials = basic(request.headers.get("authorization"))
    session = world.accounts.alive(EARTHDATA, "cookie", request.cookies.get(_SESSION_COOKIE))
    if credentials is not None and world.accounts.knows(*credentials):
        user = credentials[0]
    elif session is not None and credentials is None:
        user = session.user
    elif asked.get("app_type") == "401" or credentials is not None:
        realm = 'Basic realm="Please enter your Earthdata Login credentials."'
        return text_reply(401, "HTTP Basic: Access denied.\n", headers={"WWW-Authenticate": realm})
    else:
        return text_reply(200, LOGIN_PAGE)
    code = world.accounts.issue(EARTHDATA, "code", user, _CODE_LIFETIME)
    state = f"&state={quote(asked['state'], safe='')}" if "state" in asked else ""
    location = f"{target}?code={code}{state}"
    cookie = world.accounts.issue(EARTHDATA, "cookie", user, _COOKIE_LIFETIME)
    reply = redirect(302, location, {"Cache-Control": "no-store", "Content-Type": "text/html; charset=utf-8"})
    reply.headers += [
        ("Set-Cookie", "urs_user_already_logged=yes; domain=earthdata.nasa.gov; path=/; secure; HttpOnly"),
        ("Set-Cookie", f"{_SESSION_COOKIE}={cookie}; path=/; secure; HttpOnly"),
    ]
    reply.body = f"You are being redirected to {location}".encode()
    return reply
