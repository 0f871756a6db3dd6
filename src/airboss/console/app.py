"""The console and the admin API as one Starlette application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import cache, partial
from urllib.parse import quote

import msgspec
from starlette.applications import Starlette
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Match, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from airboss.console import api, pages_table, views_docs
from airboss.console import views as pages
from airboss.console.desk import Desk, newest_of
from airboss.console.export import Download
from airboss.console.guard import Door, Guard, bearer, logged_in
from airboss.console.openapi import document
from airboss.console.page import Action, Form, Once, Page, act, current_plan, drawn
from airboss.console.query import check_names
from airboss.console.render import (
    CALLER,
    DONE_COOKIE,
    STATIC,
    THEME_COOKIE,
    THEMES,
    Templates,
    html,
    visit,
)
from airboss.console.sign_in import CALLBACK, SIGN_IN, begin, finish, login, logout
from airboss.console.waits import Waits
from airboss.console.wire import encode, json_response, own_path, read_body, read_fields, read_form
from airboss.domain.errors import AirbossError, ApiError, StoreUnavailable
from airboss.domain.ports import Clock
from airboss.providers.cut import brief

DONE_S = 60
YEAR_S = 31_536_000

Handler = Callable[[Request], Awaitable[Response]]


def build(desk: Desk) -> Starlette:
    """The application: every page and route on a desk. `app.state.live.close()` ends live streams, which else
    hold up the server's end."""
    templates = Templates(pages_table.frame())

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        desk.live.close()

    app = Starlette(
        routes=[*page_routes(desk, templates), *api_routes(desk)],
        middleware=[Middleware(Guard, desk=desk, error_page=partial(error_page, templates, desk.clock))],
        exception_handlers={HTTPException: raise_on},
        lifespan=lifespan,
    )
    app.router.redirect_slashes, app.router.default = False, partial(elsewhere, app)
    app.state.live = desk.live
    return app


async def elsewhere(app: Starlette, scope: Scope, receive: Receive, send: Send) -> None:
    """What no route takes. A path with a slash too many leads on to that without, by its path alone: what a
    request calls our host is anybody's word, which caches keep and browsers follow."""
    path = scope["path"].rstrip("/")
    if path == scope["path"] or not any(
        route.matches({**scope, "path": path})[0] is not Match.NONE for route in app.routes
    ):
        await app.router.not_found(scope, receive, send)
        return
    query = scope["query_string"].decode("ascii", "replace")
    where = own_path(quote(path) + (f"?{query}" if query else ""))
    await RedirectResponse(where, status_code=307)(scope, receive, send)


async def raise_on(_request: Request, error: Exception) -> Response:
    """Starlette would answer its own errors in plain text; the guard answers every error."""
    raise error


class Slashed(PathConvertor):
    """A name that may have slashes, but none at its end: a path that ends in one leads on to that without."""

    regex = ".*[^/]"


register_url_convertor("slashed", Slashed())


def reached(path: str) -> str:
    """A path with room for a deployment's name that has a slash, as names of models on a hub have; a view may
    be called anything."""
    whole = {"/deployments/{name}": "/deployments/{name:slashed}", "{deployment}": "{deployment:slashed}"}
    whole["/views/{name}"] = "/views/{name:slashed}"
    for part, taken in whole.items():
        path = path.replace(part, taken)
    return path


def page_routes(desk: Desk, templates: Templates) -> list[Route | Mount]:
    """What a person opens."""

    async def request_body(request: Request) -> Response:
        body = await desk.run(lambda: pages.request_body(desk, visit(request, desk.clock.now())))
        headers = {"content-disposition": 'attachment; filename="request.json"'}
        return Response(body, media_type="application/json", headers=headers)

    async def events(request: Request) -> Response:
        async def welcome() -> bool:
            with suppress(AirbossError):
                return await logged_in(desk, request) is not None
            return False

        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(desk.live.stream(welcome), media_type="text/event-stream", headers=headers)

    async def picture(request: Request) -> Response:
        content = await desk.run(lambda: views_docs.picture(request.path_params["name"]))
        return Response(content, media_type="image/png", headers={"cache-control": "private, max-age=3600"})

    return [
        *(
            Door(reached(page.path), page_handler(desk, templates, page), roles={"GET": page.role})
            for page in pages_table.PAGES
        ),
        *(
            Door(reached(action.path), action_handler(desk, templates, action), roles={"POST": action.role})
            for action in pages_table.ACTIONS
        ),
        Door("/records/{id}/request.json", request_body, roles={"GET": "reader"}),
        Door(views_docs.PICTURE, picture, roles={"GET": "viewer"}),
        Door("/events", events, roles={"GET": "viewer"}),
        Door("/theme", partial(set_theme, desk), roles={"POST": "viewer"}),
        Route("/login", partial(login, desk, templates), methods=["GET", "POST"]),
        Route(SIGN_IN, partial(begin, desk, templates), methods=["GET"]),
        Route(CALLBACK, partial(finish, desk, templates), methods=["GET"]),
        Door("/logout", partial(logout, desk), roles={"POST": "viewer"}),
        Route("/healthz", healthz),
        Route("/readyz", partial(readyz, desk)),
        Mount("/static", Cached(directory=STATIC)),
    ]


def page_handler(desk: Desk, templates: Templates, page: Page) -> Handler:
    """Draws a page in a thread. What an action said stands on the first page after it, and no other."""

    async def handler(request: Request) -> Response:
        seen = msgspec.structs.replace(
            visit(request, desk.clock.now()),
            room=page.room,
            tab=page.path if page.tab else page.under,
            docs=page.docs,
        )
        check_names(seen.params, page.params)
        response = html(await desk.run(lambda: drawn(desk, templates, seen, page.draw(desk, seen))))
        if seen.done is not None:
            response.delete_cookie(DONE_COOKIE, samesite="strict", httponly=True)
        return response

    return handler


def action_handler(desk: Desk, templates: Templates, action: Action) -> Handler:
    """Carries out what a form asks and goes on to a page; a refusal is a page that leads back."""

    async def handler(request: Request) -> Response:
        every = await read_fields(request, limit=action.body_max)
        form = Form(
            fields={name: values[0] for name, values in every.items()},
            every=every,
            parts=dict(request.path_params),
            now=desk.clock.now(),
            caller=request.scope[CALLER],
        )
        try:
            wanted = await desk.change(lambda: act(action, desk, form))
        except Waits as waits:
            return RedirectResponse(f"/governance/approvals#p{waits.number}", status_code=303)
        except ApiError as error:
            page = templates.page(
                "error.html",
                visit(request, desk.clock.now()),
                heading="Nothing was changed",
                message=brief(error.message),
                cause=None,
                retry=False,
                back=own_path(form.fields.get("back")),
                bare=None,
                logged_in=True,
                status=error.http_status,
                code=error.code or error.type,
            )
            return html(page, status=error.http_status)
        if isinstance(wanted, Once):
            seen = msgspec.structs.replace(
                visit(request, desk.clock.now()), room=wanted.room, tab=wanted.tab, path=wanted.tab
            )
            once = wanted
            shown = await desk.run(lambda: drawn(desk, templates, seen, once.view))
            return html(shown, status=once.status)
        # A script that sent the form goes on itself: what was done is said on the page that a person sees.
        script = request.headers.get("accept") == "application/json"
        response: Response = RedirectResponse(own_path(wanted), status_code=303)
        if script:
            response = json_response({"next": own_path(wanted)})
        response.set_cookie(
            DONE_COOKIE,
            action.name,
            max_age=DONE_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    return handler


@cache
def described() -> bytes:
    """The description of the API. Made when it is first asked for: it takes longer than all else here."""
    return encode(document(api.ROUTES))


def api_routes(desk: Desk) -> list[Route]:
    """What a program calls: the table of `api`, and its description."""

    async def openapi(_request: Request) -> Response:
        return Response(await desk.run(described), media_type="application/json")

    def handler(routes: dict[str, api.Route]) -> Handler:
        async def handle(request: Request) -> Response:
            route = routes["GET" if request.method == "HEAD" else request.method]
            caller = request.scope[CALLER]
            call = api.Call(
                params=dict(request.query_params),
                path=dict(request.path_params),
                body=await read_body(request, limit=route.body_max),
                now=desk.clock.now(),
                actor=caller.actor(program=bearer(request.headers) is not None),
                caller=caller,
            )
            run = desk.change if route.method == "POST" else desk.promptly if route.prompt else desk.run
            try:
                made = await run(lambda: api.answer(route, desk, call))
            except Waits as waits:
                return json_response(waits.answer, status=202)
            if isinstance(made, Download):
                named = {"content-disposition": f'attachment; filename="{made.name}"'}
                return Response(made.content, media_type=made.media_type, headers=named)
            return Response(made, media_type="application/json")

        return handle

    by_path: dict[str, dict[str, api.Route]] = {}
    for each in api.ROUTES:
        by_path.setdefault(each.path, {})[each.method] = each
    return [
        Door("/api/openapi.json", openapi, roles={"GET": "viewer"}),
        *(
            Door(
                reached(path),
                handler(routes),
                roles={method: route.role for method, route in routes.items()},
                prompt=all(route.prompt for route in routes.values()),
            )
            for path, routes in by_path.items()
        ),
    ]


class Cached(StaticFiles):
    """Static files, kept by browsers for ever where the address names the version."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """As the base class, with a life in caches."""
        response = await super().get_response(path, scope)
        versioned = scope["query_string"].startswith(b"v=")
        response.headers["cache-control"] = (
            f"public, max-age={YEAR_S}, immutable" if versioned else "no-cache"
        )
        return response


async def healthz(_request: Request) -> Response:
    """Whether this process answers."""
    return json_response({"status": "ok"})


async def readyz(desk: Desk, _request: Request) -> Response:
    """Whether the console can show anything: there is a plan, and the record store answers."""
    try:
        plan = await desk.run(lambda: current_plan(desk))
        await desk.run(lambda: newest_of(desk.log))
    except StoreUnavailable:
        return json_response({"status": "unavailable", "plan": None, "store_up": False}, status=503)
    ready = plan is not None
    body = {
        "status": "ok" if ready else "unavailable",
        "plan": plan.number if plan else None,
        "store_up": True,
    }
    return json_response(body, status=200 if ready else 503)


async def set_theme(_desk: Desk, request: Request) -> Response:
    """Keep the choice of dark or light, for visitors without JavaScript."""
    form = await read_form(request)
    response = RedirectResponse(own_path(form.get("next")), status_code=303)
    if form.get("theme") in THEMES:
        response.set_cookie(THEME_COOKIE, form["theme"], max_age=YEAR_S, samesite="strict")
    return response


def error_page(
    templates: Templates, clock: Clock, request: Request, error: ApiError, *, logged_in: bool
) -> Response:
    """An error as a page: what failed, what still works, the next step."""
    store = isinstance(error.__cause__, StoreUnavailable)
    headings = {404: "Nothing is here", 500: "The console failed", 503: "Busy"}
    page = templates.page(
        "error.html",
        visit(request, clock.now()),
        heading="The record store does not answer" if store else headings.get(error.http_status, "Not shown"),
        message=brief(error.message),
        cause=str(error.__cause__) if store else None,
        retry=request.method == "GET" and error.http_status >= 500,
        back=None,
        bare=request.url.path if request.method == "GET" and error.http_status == 400 else None,
        logged_in=logged_in,
        status=error.http_status,
        code=error.code or error.type,
    )
    return html(page, status=error.http_status)
