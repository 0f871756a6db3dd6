"""Stands before every route: who may pass, what every answer carries, and what an error looks like.

It refuses by default. A route is open only if its path is named in `OPEN`, and to who has less than the role
admin only if it says so itself (`Door`): no forgotten check can open one.
Pure ASGI, because a response that streams must not be collected.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any, Literal, Protocol
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airboss.config.types import Role
from airboss.console.callers import ADMIN, Caller, too_low
from airboss.console.desk import Desk
from airboss.console.render import CALLER
from airboss.console.session import COOKIE, claimed
from airboss.console.wire import error_json
from airboss.domain.errors import (
    AirbossError,
    ApiError,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PermissionDenied,
    RateLimited,
    SetupError,
    StoreUnavailable,
    Unauthenticated,
    Unavailable,
)
from airboss.governance.keys import same_secret

OPEN = ("/login", "/login/sso", "/login/sso/callback", "/healthz", "/readyz")
OPEN_UNDER = "/static/"
CALLS = ("/chat/completions", "/completions", "/embeddings", "/responses", "/messages")
"""How paths of the data plane end, also where a base URL lacks its `/v1`."""
SAFE_METHODS = ("GET", "HEAD")
QUERY_MAX = 32_768
PEER_CHARS_MAX = 64
"""Of an address."""
UNGUESSED_CHARS = 32
"""A key that is as long nobody guesses, not even one that a person has chosen: ours have 46."""

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # `no-referrer` makes browsers send `Origin: null` with our own forms
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}

log = logging.getLogger("airboss.console")


class Door(Route):
    """A route that says which role each of its methods needs. `prompt`: its answer waits for no ledger."""

    def __init__(self, path: str, endpoint: Any, *, roles: Mapping[str, Role], prompt: bool = False) -> None:
        super().__init__(path, endpoint, methods=list(roles))
        self.roles = roles
        self.prompt = prompt


def needed_by(request: Request) -> Role | None:
    """The least role that may send this: of a route that does not say, admin. None where nothing is."""
    route = _route(request)
    if route is None:
        return None
    method = "GET" if request.method == "HEAD" else request.method
    return route.roles.get(method, "admin") if isinstance(route, Door) else "admin"


def _route(request: Request) -> BaseRoute | None:
    routes: list[BaseRoute] = request.scope["app"].routes
    return next((each for each in routes if each.matches(request.scope)[0] is Match.FULL), None)


class ErrorPage(Protocol):
    """Makes the answer to an error of a page."""

    def __call__(self, request: Request, error: ApiError, /, *, logged_in: bool) -> Response:
        """`logged_in` is whether the caller may see links to pages."""


class Guard:
    """The middleware. `error_page` draws errors of pages; errors under `/api` are JSON in OpenAI's shape."""

    def __init__(self, app: ASGIApp, *, desk: Desk, error_page: ErrorPage) -> None:
        self.app = app
        self.desk = desk
        self.error_page = error_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, pass on, and answer every exception that comes back."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                # What a page shows is for one person: no cache may keep it. Static files say otherwise.
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            refusal = await self._refusal(request)
            await (refusal or self.app)(scope, receive, send_guarded)
        except ClientDisconnect:
            return  # nobody is there to be answered
        except Exception as error:  # every defect must end in an answer without a trace
            if started:
                log.warning(
                    "a response broke off: %s %s: %s", request.method, scope["path"], type(error).__name__
                )
                raise
            found = as_api_error(error, request)
            response = (
                error_json(found)
                if is_api(request)
                else self.error_page(request, found, logged_in=CALLER in scope)
            )
            if found.retry_after_s is not None:
                # Rounded up: who comes a moment too early is refused again.
                response.headers["retry-after"] = str(max(1, math.ceil(found.retry_after_s)))
            if isinstance(error, HTTPException) and error.headers:
                response.headers.update(error.headers)
            await response(scope, receive, send_guarded)

    async def _refusal(self, request: Request) -> Response | None:
        """Why this request may not pass: None if it may, a redirect to the login, or an ApiError raised."""
        path = request.scope["path"]  # as it is routed: a URL is made of what a request calls our host, too
        if is_for_models(request):
            # A client that followed a redirect to the login would take the page for an answer of a model.
            raise NotFound(
                f"this is the console, not where models are called: set the base URL to {self.desk.base_url}",
                code="not_the_data_plane",
            )
        if len(request.url.query) > QUERY_MAX:
            raise InvalidRequest(
                f"a query string of {len(request.url.query)} bytes is over the {QUERY_MAX} read here"
            )
        if path in OPEN or path.startswith(OPEN_UNDER):
            if path in OPEN and request.method not in SAFE_METHODS and needed_by(request) is not None:
                check_origin(request)
            return None
        given = bearer(request.headers)
        if given is not None and is_api(request):
            await self._let_in(request, await self._check_bearer(request, given))
            return None
        caller = await logged_in(self.desk, request)
        if caller is not None:
            request.scope[CALLER] = caller
            if request.method not in SAFE_METHODS:
                check_origin(request)
            await self._let_in(request, caller)
            return None
        if is_api(request):
            raise Unauthenticated(
                "no key; send `Authorization: Bearer` with the admin key that `airboss up` printed (it "
                "stands in DATA/secrets/admin_key), or one of `airboss keys create NAME --role viewer`"
            )
        wanted = quote(path) + (f"?{request.url.query}" if request.url.query else "")
        after = f"?next={quote(wanted, safe='/')}" if request.method in SAFE_METHODS and wanted != "/" else ""
        return RedirectResponse(f"/login{after}", status_code=303)

    async def _let_in(self, request: Request, caller: Caller) -> None:
        """Note who asks, and refuse who may not. Raises PermissionDenied."""
        request.scope[CALLER] = caller
        needed = needed_by(request)
        if needed is not None and not caller.may(needed):
            may = await self.desk.run(lambda: self.desk.callers.who_may(needed))
            what = f"{request.method} {request.scope['path'][:200]}"
            if not is_api(request):
                what = "this page" if request.method in SAFE_METHODS else "this"
            raise too_low(caller, needed, what, may=may)

    async def _check_bearer(self, request: Request, given: str) -> Caller:
        """Whose key this is; raises for one that opens nothing here. Guesses are counted as failed logins
        are, before anything is awaited, so that many at once are no more than many in a row."""
        peer, guess = peer_of(request), is_guess(self.desk, given)
        wait_s = self.desk.attempts.wait_s(peer, self.desk.clock.monotonic()) if guess else 0.0
        if wait_s > 0:
            raise RateLimited(
                f"too many wrong keys came from here; try again in {wait_s:.0f} s",
                code="too_many_attempts",
                retry_after_s=wait_s,
            )
        if same_secret(given, self.desk.admin_key):
            if guess:
                self.desk.attempts.succeeded(peer)
            return ADMIN
        blocked = guess and self.desk.attempts.failed(peer, self.desk.clock.monotonic())
        holder = await self._holder(request, given)
        if holder is not None:
            if guess:
                self.desk.attempts.pardon(peer)
            return holder[0]
        error = await self.desk.run(lambda: self._wrong_key(given))
        if isinstance(error, PermissionDenied):
            self.desk.attempts.pardon(peer)  # a program with the wrong key, not a guess
        elif blocked:
            await self.desk.run(lambda: note_login(self.desk, "login.blocked", peer))
        raise error

    async def _holder(self, request: Request, given: str) -> tuple[Caller, str] | None:
        """As `Callers.holder`, or `Callers.lately` where the answer does not wait for the ledger either."""
        route, callers = _route(request), self.desk.callers
        if isinstance(route, Door) and route.prompt and callers.seen(given):
            return await self.desk.promptly(lambda: callers.lately(given))
        return await self.desk.run(lambda: callers.holder(given))

    def _wrong_key(self, given: str) -> ApiError:
        """What to say to a key that is not the admin key: a key of the data plane is told so by name."""
        ring = self.desk.callers.ring()
        principal = ring.principal(given)
        if principal is not None:
            return PermissionDenied(
                f"{principal.key!r} is a data-plane key: it calls models under /v1 and reads nothing here; "
                "use the admin key, or one that `airboss keys create NAME --role viewer` makes",
                code="not_an_admin_key",
            )
        ended = ring.expired(given)
        if ended is not None:
            return Unauthenticated(
                f"key {ended.name!r} expired at {ended.expires_at:%Y-%m-%d %H:%M} UTC; ask for another, or "
                f"for `airboss keys set {ended.name} --expires 30d`",
                code="expired_api_key",
            )
        return Unauthenticated(
            "this is neither the admin key, which stands in DATA/secrets/admin_key, nor a console key"
        )


async def logged_in(desk: Desk, request: Request) -> Caller | None:
    """Whose the cookie is; None: nobody's. Raises SetupError where keys cannot be read."""
    cookie, now, sessions = request.cookies.get(COOKIE), desk.clock.now(), desk.sessions
    if sessions.valid(cookie, now):
        return ADMIN
    name = claimed(cookie)
    found = await desk.run(lambda: desk.callers.named(name)) if name is not None else None
    if found is not None and any(sessions.valid(cookie, now, bond=bond) for bond in found[1]):
        return found[0]
    return None


def is_guess(desk: Desk, given: str) -> bool:
    """Whether a key may be a guess, which waits where others have guessed. One that nobody guesses does not:
    others may be behind the same address. So it is with an admin key that is long enough, and with what was a
    console key a moment ago, also when many calls bring it at once. Reads nothing."""
    if len(given) >= UNGUESSED_CHARS and same_secret(given, desk.admin_key):
        return False
    return not desk.callers.seen(given)


def peer_of(request: Request) -> str:
    """Whose attempts are counted together: the address at the other end of the connection, or what a proxy on
    this machine says of it."""
    return request.client.host[:PEER_CHARS_MAX] if request.client is not None else "unknown"


def note_login(
    desk: Desk, action: Literal["login", "login.blocked"], peer: str, *, key: str | None = None
) -> None:
    """The audit log's word on who came in, and on who guesses keys: once each time that they are shut out.
    Who came with a console key is its `key`, who signed in their name; with the admin key it is known only
    from where.

    A full disk must not keep out who comes to look at it: then this is a line in the log.
    """
    try:
        subject = "console" if key is None else f"console, from {peer}"
        desk.audit.append(
            action, actor=key or f"peer {peer}", subject=subject, detail={}, at=desk.clock.now()
        )
    except SetupError as error:
        log.warning("%s of %s is not in the audit log: %s", action, peer, error)


def bearer(headers: Headers) -> str | None:
    """The credential in `Authorization: Bearer` or `x-api-key`; None if there is neither."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    return headers.get("x-api-key")


def check_origin(request: Request) -> None:
    """Refuse a write that another page may have sent: SameSite lets other ports of this host through."""
    origin = request.headers.get("origin")
    own = f"{request.url.scheme}://{request.headers.get('host', '')}"
    site = request.headers.get("sec-fetch-site")
    if origin == own or (origin is None and site in ("same-origin", "none")):
        return
    raise PermissionDenied(
        f"a write with the login cookie must come from this console, {own}, and this came from "
        f"{(origin or 'an unnamed origin')[:200]}; use `Authorization: Bearer` outside a browser",
        code="wrong_origin",
    )


def is_api(request: Request) -> bool:
    """Whether the caller is a program."""
    path = request.scope["path"]
    return path.startswith("/api/") or path in ("/api", "/healthz", "/readyz") or is_for_models(request)


def is_for_models(request: Request) -> bool:
    """Whether this is a call of a model, by a program that was given the console's address."""
    path = request.scope["path"]
    return path.startswith("/v1/") or (request.method == "POST" and path.endswith(CALLS))


def as_api_error(error: Exception, request: Request) -> ApiError:
    """Any exception as the error that is answered; a defect of ours goes to the log and tells nothing."""
    path = request.scope["path"][:200]
    if isinstance(error, ApiError):
        return error
    if isinstance(error, StoreUnavailable):
        found = Unavailable(
            f"the record store does not answer: {error}. Calls are served and recorded all the same: "
            "the journal keeps them. Next: `airboss status`.",
            code="store_unavailable",
            retry_after_s=5,
        )
        found.__cause__ = error
        return found
    if isinstance(error, SetupError):  # no defect: the machine lacks something, room on a disk perhaps
        return Unavailable(str(error), code="setup_error")
    if isinstance(error, AirbossError):  # raised on purpose: its words are fit for a person
        return InternalError(str(error))
    if isinstance(error, HTTPException):
        return routing_error(error, request.method, path)
    log.error("a defect in the console: %s %s", request.method, path, exc_info=error)
    return InternalError("a defect of the console; the controller's log has the trace")


def routing_error(error: HTTPException, method: str, path: str) -> ApiError:
    """What Starlette itself refuses: an unknown path, a wrong method."""
    if error.status_code == 404:
        return NotFound(f"there is nothing at {path}; /api/openapi.json lists the routes")
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "other methods")
        return MethodNotAllowed(f"{method} is not for {path}; it takes {allowed}")
    return InvalidRequest(f"{error.detail}")
