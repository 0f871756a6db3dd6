"""How people come in and go: with a key, or by way of who knows them (OpenID Connect).

What a browser holds between being sent to the provider and coming back is a cookie of its own, signed:
another browser cannot finish what this one began, nor this one what somebody else did.
"""

from __future__ import annotations

import asyncio
import hmac
import math
import secrets
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar
from urllib.parse import urlsplit

import anyio
import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from airboss.config.types import OidcConfig
from airboss.console.callers import ADMIN, bond_of
from airboss.console.desk import Desk
from airboss.console.guard import is_guess, note_login, peer_of
from airboss.console.render import Templates, Visit, html, visit
from airboss.console.session import COOKIE, LIFETIME_S, as_name
from airboss.console.wire import own_path, read_form
from airboss.domain.errors import AirbossError, NotFound
from airboss.governance.keys import same_secret
from airboss.governance.sign_in import IdentityProvider, Refused, person

T = TypeVar("T")

SIGN_IN: Final = "/login/sso"
CALLBACK: Final = "/login/sso/callback"
BEGUN_COOKIE: Final = "airboss_sign_in"
BEGUN_S: Final = 600
"""So long a person may take at the provider."""

LEDGER_S: Final = 2.0
"""So long the form waits for what the ledger says of a provider; without it there is the field for a key."""

KNOWN_COOKIE: Final = "airboss_known"
KNOWN_S: Final = 180 * 86_400
"""So long a browser in which somebody signed in is told from others at its address."""

SEALED_CHARS_MAX: Final = 4_000
CODE_CHARS_MAX: Final = 4_000
ANSWER_S: Final = 25.0
"""Of the provider, for all that is asked of it at once."""


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in that was begun in this browser. `until` is in seconds since 1970."""

    state: str
    nonce: str
    verifier: str
    next: str
    until: int


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody has signed in from this browser: `id` is `Person.id`. It opens nothing. `until` is in seconds
    since 1970."""

    id: str
    until: int


Sealed = TypeVar("Sealed", Begun, Known)
"""What a cookie of ours holds."""


async def login(desk: Desk, templates: Templates, request: Request) -> Response:
    """The form, and what it sends: the right key gets a cookie, a wrong one costs an attempt."""
    seen = visit(request, desk.clock.now())
    if request.method != "POST":
        return await form_page(desk, templates, seen, own_path(seen.params.get("next")))
    form = await read_form(request)
    wanted, peer = own_path(form.get("next")), peer_of(request)
    given = form.get("key", "").strip()
    guess = is_guess(desk, given)
    wait_s = desk.attempts.wait_s(peer, desk.clock.monotonic()) if guess else 0.0
    if wait_s > 0:
        problem = f"Too many attempts from here. Try again in {wait_s:.0f} s."
        response = await form_page(desk, templates, seen, wanted, problem, status=429)
        response.headers["retry-after"] = str(max(1, math.ceil(wait_s)))
        return response
    caller, bond = ADMIN, ""
    if not same_secret(given, desk.admin_key):
        blocked = guess and desk.attempts.failed(peer, desk.clock.monotonic())
        holder = await desk.run(lambda: desk.callers.holder(given))
        if holder is None:
            if blocked:
                await desk.run(lambda: note_login(desk, "login.blocked", peer))
            problem = "This is neither the admin key nor a console key."
            if given.startswith("ab_"):
                problem += " A key without a role calls models, and does not open the console."
            return await form_page(desk, templates, seen, wanted, problem, status=401)
        caller, bond = holder
        if guess:
            desk.attempts.pardon(peer)
    elif guess:
        desk.attempts.succeeded(peer)
    await desk.run(lambda: note_login(desk, "login", peer, key=caller.key))
    response = RedirectResponse(wanted, status_code=303)
    set_session(desk, request, response, name=caller.key or "", bond=bond)
    return response


async def logout(desk: Desk, request: Request) -> Response:
    """End the session, and forget the cookie."""
    await desk.run(lambda: desk.sessions.end(request.cookies[COOKIE], desk.clock.now()))
    response = RedirectResponse("/login", status_code=303)
    secure = request.url.scheme == "https"
    response.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=secure)
    return response


async def begin(desk: Desk, templates: Templates, request: Request) -> Response:
    """Send the browser to the provider, and give it what it needs to come back. Raises NotFound where none is
    configured."""
    oidc, provider = await _configured(desk)
    seen = visit(request, desk.clock.now())
    wanted = own_path(seen.params.get("next"))
    begun = Begun(
        state=secrets.token_urlsafe(24),
        nonce=secrets.token_urlsafe(24),
        verifier=secrets.token_urlsafe(48),
        next=wanted,
        until=int(desk.clock.now().timestamp()) + BEGUN_S,
    )
    try:
        where = await _asked(
            desk,
            lambda: provider().login_url(
                oidc,
                redirect_uri=redirect_uri(oidc, request),
                state=begun.state,
                nonce=begun.nonce,
                verifier=begun.verifier,
            ),
        )
    except Refused as error:
        return await form_page(desk, templates, seen, wanted, f"No sign-in: {error}.", status=503)
    response = RedirectResponse(where, status_code=303)
    _set_own(desk, request, response, begun, name=BEGUN_COOKIE, age_s=BEGUN_S)
    return response


async def finish(desk: Desk, templates: Templates, request: Request) -> Response:
    """Whom the provider sends back is signed in, if it says who they are and they have a role."""
    oidc, provider = await _configured(desk)
    seen, peer, tries = visit(request, desk.clock.now()), peer_of(request), tries_of(desk, request)
    begun = opened(desk, request.cookies.get(BEGUN_COOKIE), Begun)
    if begun is None or not hmac.compare_digest(begun.state, ascii_of(seen.params.get("state"))):
        problem = (
            f"This sign-in was not begun in this browser, or over {BEGUN_S // 60} minutes ago, or another "
            "was begun since. Begin again."
        )
        return await form_page(desk, templates, seen, "/", problem, status=400)
    try:
        _check_answer(oidc, seen)
        _count_attempt(desk, tries)
        claims = await _asked(
            desk,
            lambda: provider().claims(
                oidc,
                code=seen.params.get("code", "")[:CODE_CHARS_MAX],
                redirect_uri=redirect_uri(oidc, request),
                nonce=begun.nonce,
                verifier=begun.verifier,
            ),
        )
        desk.attempts.pardon(tries)
        who = person(claims, oidc)
    except Refused as error:
        problem = f"Not signed in: {error}."
        response = await form_page(desk, templates, seen, begun.next, problem, status=401)
    else:
        await desk.run(lambda: note_login(desk, "login", peer, key=who.name))
        # A page that goes on by itself, not a redirect: the browser comes from elsewhere, and would not send
        # the session's strict cookie to where a redirect leads.
        response = html(templates.page("signed_in.html", seen, next=begun.next))
        set_session(desk, request, response, name=as_name(who), bond=bond_of(oidc))
        known = Known(id=who.id, until=int(desk.clock.now().timestamp()) + KNOWN_S)
        _set_own(desk, request, response, known, name=KNOWN_COOKIE, age_s=KNOWN_S)
    response.delete_cookie(
        BEGUN_COOKIE, path=SIGN_IN, httponly=True, samesite="lax", secure=is_secure(request)
    )
    return response


async def form_page(
    desk: Desk,
    templates: Templates,
    seen: Visit,
    wanted: str,
    problem: str | None = None,
    *,
    status: int = 200,
) -> Response:
    """The form, with what went wrong, and the other way in where there is one."""
    label = None
    # Whoever has a key comes in all the same, and sees why; where the ledger is silent, too.
    with suppress(AirbossError, TimeoutError):
        if desk.identity is not None:
            oidc = (await asyncio.wait_for(desk.promptly(desk.in_force), LEDGER_S)).oidc
            label = (oidc.label or urlsplit(oidc.issuer).hostname) if oidc is not None else None
    page = templates.page("login.html", seen, next=wanted, problem=problem, label=label, sign_in=SIGN_IN)
    return html(page, status=status)


def set_session(desk: Desk, request: Request, response: Response, *, name: str, bond: str) -> None:
    """Give the browser a session, as `Sessions.issue`."""
    response.set_cookie(
        COOKIE,
        desk.sessions.issue(desk.clock.now(), name=name, bond=bond),
        max_age=LIFETIME_S,
        httponly=True,
        samesite="strict",
        secure=is_secure(request),
    )


def redirect_uri(oidc: OidcConfig, request: Request) -> str:
    """Where the provider sends browsers back, which it must know: it refuses any other."""
    own = f"{request.url.scheme}://{request.headers.get('host', '')}"
    return (oidc.url.rstrip("/") if oidc.url is not None else own) + CALLBACK


def is_secure(request: Request) -> bool:
    """Whether the browser came over TLS."""
    return request.url.scheme == "https"


def sealed(desk: Desk, value: Begun | Known) -> str:
    """What a cookie of ours holds, signed."""
    body = urlsafe_b64encode(msgspec.json.encode(value)).decode()
    return f"{body}.{_signature(desk, type(value), body)}"


def opened(desk: Desk, cookie: str | None, kind: type[Sealed]) -> Sealed | None:
    """What the browser that sends this was given; None for what is not ours, or over."""
    if cookie is None or len(cookie) > SEALED_CHARS_MAX or not cookie.isascii():
        return None
    body, _, signature = cookie.rpartition(".")
    if not hmac.compare_digest(signature, _signature(desk, kind, body)):
        return None
    value = msgspec.json.decode(urlsafe_b64decode(body), type=kind)
    return value if desk.clock.now().timestamp() < value.until else None


def tries_of(desk: Desk, request: Request) -> str:
    """Whose attempts to sign in are counted together, apart from guesses of keys, so that a provider that is
    away shuts out nobody who has one: those of somebody who has signed in from this browser, of all others
    at an address. Nobody guesses a code, which is good with the secret of one browser alone: the bound keeps
    strangers from having the provider asked for ever, and is not to keep people out who share their address.
    """
    known = opened(desk, request.cookies.get(KNOWN_COOKIE), Known)
    return f"{known.id if known is not None else peer_of(request)}, signing in"


def ascii_of(text: str | None) -> str:
    """A text that can be compared in constant time; of another nothing is left."""
    return text if text is not None and text.isascii() else ""


def _signature(desk: Desk, kind: type[Begun | Known], body: str) -> str:
    key = hmac.digest(desk.session_key.encode(), f"airboss sign in\0{kind.__name__}".encode(), "sha256")
    return urlsafe_b64encode(hmac.digest(key, body.encode(), "sha256")).decode().rstrip("=")


def _set_own(
    desk: Desk, request: Request, response: Response, value: Begun | Known, *, name: str, age_s: int
) -> None:
    # Lax, since the provider sends the browser back: a strict one would not come along.
    response.set_cookie(
        name,
        sealed(desk, value),
        max_age=age_s,
        path=SIGN_IN,
        httponly=True,
        samesite="lax",
        secure=is_secure(request),
    )


def _check_answer(oidc: OidcConfig, seen: Visit) -> None:
    """Raises Refused for an answer without a code, or of another provider (RFC 9207)."""
    issuer, error = seen.params.get("iss"), seen.params.get("error")
    if issuer is not None and issuer != oidc.issuer:
        raise Refused(f"the answer is of {issuer[:200]!r}, and [oidc] names {oidc.issuer!r}")
    if error is not None:
        told = seen.params.get("error_description", "")
        raise Refused(f"{oidc.issuer} says {error[:100]!r}{': ' if told else ''}{told[:300]}".rstrip("."))
    if not seen.params.get("code"):
        raise Refused(f"{oidc.issuer} sent no code")


def _count_attempt(desk: Desk, tries: str) -> None:
    """Note a failure, until it is known to be none. Raises Refused for who had too many."""
    now = desk.clock.monotonic()
    wait_s = desk.attempts.wait_s(tries, now)
    if wait_s > 0:
        raise Refused(f"too many attempts from here; try again in {wait_s:.0f} s")
    desk.attempts.failed(tries, now)


async def _configured(desk: Desk) -> tuple[OidcConfig, Callable[[], IdentityProvider]]:
    oidc = (await desk.run(desk.in_force)).oidc
    if oidc is None or desk.identity is None:
        raise NotFound("nobody is known by another here; sign in with a key, or configure [oidc]")
    return oidc, desk.identity


async def _asked(desk: Desk, work: Callable[[], T]) -> T:
    """Ask the provider in a thread of those that are kept for it: while it is away others are not kept from
    reading. Raises Refused when it takes too long."""
    begun = threading.Event()

    def working() -> T:
        begun.set()
        return work()

    asked = asyncio.ensure_future(anyio.to_thread.run_sync(working, limiter=desk.askers))
    done, _ = await asyncio.wait({asked}, timeout=ANSWER_S)
    if done:
        return asked.result()
    # Who waits for a thread gives up; one that has begun keeps its place until it ends, so that a provider
    # that drips its answers never has more of them.
    if not begun.is_set():
        asked.cancel()
    asked.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    raise Refused(f"the provider has not answered within {ANSWER_S:.0f} s")
