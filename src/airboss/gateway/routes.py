"""Every route of the data plane, in one table, and those that need no upstream."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import msgspec

from airboss.domain.errors import ApiError, MethodNotAllowed, NotFound, Unauthenticated
from airboss.domain.plan import DeploymentPlan, Target
from airboss.domain.request import Operation
from airboss.gateway import at_once, messages, own_key, responses
from airboss.gateway.feedback import feedback
from airboss.gateway.heads import error_response
from airboss.gateway.http1 import Connection
from airboss.gateway.logs import logs, metrics
from airboss.gateway.misnamed import known_elsewhere, unknown_model
from airboss.gateway.pipeline import infer
from airboss.gateway.relay import relay
from airboss.gateway.relayed import route_of
from airboss.gateway.request_head import HttpRequest
from airboss.gateway.serving import key_in
from airboss.gateway.traces import traces
from airboss.gateway.turns import Spaced
from airboss.gateway.worker import Worker
from airboss.governance.roles import allows
from airboss.releases.sharing import sharing
from airboss.store.disk import FREE_BYTES_MIN, free_bytes
from airboss.telemetry.metrics import Counts, of_the_dead, read_counts

if TYPE_CHECKING:
    from airboss.telemetry.exposition import Exposition

Json = dict[str, object]
"""A JSON object that is answered."""
JSON = b"content-type: application/json\r\n"
VERSION = b"anthropic-version"
HEAVY_BYTES = 1024 * 1024
"""Longer bodies may take long to read: a quarter of a second for 9 MB of many small members."""
WORKERS = "gateway-"
"""Names of workers' files begin so."""
DEAD_AFTER = timedelta(seconds=10)
"""A worker writes every second: one whose counts are older is dead, or there are fewer workers now."""

Route = Callable[["Router", Connection, HttpRequest], Awaitable[None] | None]


class RouterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`metrics_open`: `/metrics` needs no key, as on loopback; else it needs `admin_key`."""

    metrics_dir: Path
    metrics_open: bool
    admin_key: str


class Router:
    """Finds a request's route and answers for those without one."""

    def __init__(self, worker: Worker, settings: RouterSettings) -> None:
        self.worker = worker
        self.settings = settings
        self.draining = False
        self.scraping = asyncio.Semaphore(1)
        self._heavy = Spaced()

    def __call__(self, client: Connection, http: HttpRequest) -> Awaitable[None] | None:
        """Answer one request. Raises ApiError, which the connection answers with `error_response`."""
        methods = ROUTES.get(http.path)  # looked up here, as nearly all are found so
        route = methods.get(http.method) if methods is not None else None
        if len(http.body) > HEAVY_BYTES:
            return self._in_its_turn(route or self._route(http), client, http)
        return (route or self._route(http))(self, client, http)

    async def _in_its_turn(self, route: Route, client: Connection, http: HttpRequest) -> None:
        """Of long bodies that came together each is read in a turn of its own: others are served between."""
        await self._heavy.mine()
        answering = route(self, client, http)
        assert answering is not None  # as of all long ones (`at_once`)
        await answering

    def _route(self, http: HttpRequest) -> Route:
        # What is there and what is not is told to those with a key alone.
        if http.path == "/v1" or http.path.startswith("/v1/"):
            self.worker.view().authenticate(http.headers)
        methods = ROUTES.get(http.path)
        if methods is None and http.path.startswith("/v1/models/"):
            methods = {"GET": _models if http.path == "/v1/models/" else _model}
        if methods is None and http.method != "POST" and responses.is_one(http.path):
            methods = ONE_RESPONSE  # what OpenAI does by a POST to such a path is none of a response's
        if methods is None and responses.are_items(http.path):
            methods = RESPONSE_INPUT
        if methods is None and (relayed := route_of(http.path)) is not None:
            if http.method not in relayed.taken:
                raise _not_allowed(http, relayed.taken)
            return RELAY
        if methods is None:
            raise NotFound(
                f"there is no route {http.path[:100]!r}; {instead_of(http.path)}{_by_http(http)}",
                code="unknown_route",
            )
        route = methods.get("GET" if http.method == "HEAD" else http.method)
        if route is None:
            raise _not_allowed(http, [*methods, "HEAD"] if "GET" in methods else [*methods])
        return route

    def may_send(self, headers: Mapping[bytes, bytes], path: str) -> None:
        """Raise ApiError where a request with this head may bring no long body, before it is read: without a
        good key, or where nothing takes one."""
        if not path.startswith("/v1/"):
            raise NotFound(
                f"no route takes a long body at {path[:100]!r}; {instead_of(path)}", code="unknown_route"
            )
        self.worker.view().authenticate(headers)

    def error_response(self, error: ApiError, path: str = "") -> tuple[bytes, bytes]:
        """Headers and body for an error outside any call; it has an id too, so that it can be asked about."""
        self.worker.metrics.refused(error.http_status)
        if self.worker.serving is not None:
            self.worker.serving.hush(error)
        headers, body = error_response(error, self.id_header())
        if path == messages.PATH or path.startswith(f"{messages.PATH}/"):
            body = messages.error_said(error)
        return headers, body

    def id_header(self) -> bytes:
        """An id for a request that leaves no record."""
        now_ms = int(self.worker.clock.now().timestamp() * 1000)
        return b"x-request-id: %s\r\n" % self.worker.ids.next(now_ms).encode()


def _not_allowed(http: HttpRequest, taken: Sequence[str]) -> MethodNotAllowed:
    shown = http.path[:100]
    said = f"{shown} takes {' or '.join(taken)}, not {http.method[:20]}{_by_http(http)}"
    error = MethodNotAllowed(said)
    error.headers = b"allow: %s\r\n" % ", ".join(taken).encode()
    return error


def _by_http(http: HttpRequest) -> str:
    """What to say to a client that asks for a WebSocket, as Realtime's and those of Responses can."""
    asks = http.headers.get(b"upgrade", b"").strip().lower() == b"websocket"
    return "; WebSockets are not served, send HTTP requests: streams come as events" if asks else ""


# What is served is handed on and not awaited here: on the busiest routes a layer less is a gain.


def _by(serve: Callable[[Worker, Connection, HttpRequest], Awaitable[None] | None]) -> Route:
    """A route that needs nothing of the router but its worker."""
    return lambda router, client, http: serve(router.worker, client, http)


def _infer(operation: Operation) -> Route:
    return lambda router, client, http: infer(router.worker, client, http, operation)


def _details(http: HttpRequest) -> bool:
    """Whether the client asks what models cost and take."""
    return b"details=true" in http.url.partition(b"?")[2].split(b"&")


def _model_entry(
    name: str, deployment: DeploymentPlan, created: datetime, http: HttpRequest, *, details: bool
) -> Json:
    """A model, as the client's dialect has it: Anthropic's clients say their version."""
    target = deployment.target
    if http.headers.get(VERSION) is None:
        seconds = int(created.timestamp())
        entry: Json = {"id": name, "object": "model", "created": seconds, "owned_by": target.provider}
    else:
        at = f"{created:%Y-%m-%dT%H:%M:%SZ}"
        entry = {"type": "model", "id": name, "display_name": name, "created_at": at, "lifecycle": "active"}
    if details:
        entry |= _details_of(target) if not target.shares else _details_of_spread(target)
    return entry


def _details_of(target: Target) -> Json:
    price = msgspec.json.decode(own_key.encode(target.price))
    return {"price": price and _set(price), "context_tokens": target.slot_tokens}


def _details_of_spread(target: Target) -> Json:
    """What holds whoever is drawn, and each by itself."""
    asked = sharing(target)
    each = [
        {"model": one.upstream_model, "provider": one.provider, "share": share, **_details_of(one)}
        for one, share in zip(asked, target.shares, strict=True)
    ]
    room = [one.slot_tokens for one in asked]
    return {
        "price": each[0]["price"] if all(one["price"] == each[0]["price"] for one in each) else None,
        "context_tokens": None if None in room else min(tokens for tokens in room if tokens is not None),
        "shares": each,
    }


def _set(told: Json) -> Json:
    """What is set of it."""
    return {k: _set(v) if isinstance(v, dict) else v for k, v in told.items() if v not in (None, {})}


async def _models(router: Router, client: Connection, http: HttpRequest) -> None:
    serving = router.worker.view()
    names = serving.names(serving.authenticate(http.headers))
    created = serving.plan.created_at
    details, by_name = _details(http), serving.by_name
    entries = [_model_entry(each, by_name[each], created, http, details=details) for each in names]
    listed: Json = {"data": entries}
    if http.headers.get(VERSION) is None:
        listed = {"object": "list", **listed}
    else:
        first, last = (names[0], names[-1]) if names else (None, None)
        listed |= {"has_more": False, "first_id": first, "last_id": last}
    client.respond(200, JSON + router.id_header(), msgspec.json.encode(listed))


async def _model(router: Router, client: Connection, http: HttpRequest) -> None:
    serving = router.worker.view()
    principal = serving.authenticate(http.headers)
    name = unquote(http.path.removeprefix("/v1/models/"))
    if name not in serving.names(principal):
        raise unknown_model(name, serving.names(principal))
    created, details = serving.plan.created_at, _details(http)
    entry = _model_entry(name, serving.by_name[name], created, http, details=details)
    client.respond(200, JSON + router.id_header(), msgspec.json.encode(entry))


async def _own_key(router: Router, client: Connection, http: HttpRequest) -> None:
    serving = router.worker.view()
    principal = serving.authenticate(http.headers)
    names, clock = serving.names(principal), router.worker.clock
    told = own_key.own_key(principal.key, names, serving.limiter, clock)
    client.respond(200, JSON + router.id_header(), own_key.encode(told))


async def _healthz(router: Router, client: Connection, http: HttpRequest) -> None:
    del http
    client.respond(200, JSON + router.id_header(), b'{"status":"ok"}')


async def _readyz(router: Router, client: Connection, http: HttpRequest) -> None:
    del http
    serving, head = router.worker.serving, JSON + router.id_header()
    unwritable = bool(router.worker.recording.trouble())
    if serving is None or router.draining or unwritable:
        # No more of why: who asks need not have a key.
        reason = b"draining" if router.draining else b"journal unwritable" if unwritable else b"no plan yet"
        client.respond(503, head, b'{"status":"%s"}' % reason)
        return
    client.respond(200, head, msgspec.json.encode({"status": "ok", "plan": serving.plan.number}))


def _views(worker: Worker, presented: bytes) -> bool:
    """Whether this is a console key: numbers are for every role."""
    if worker.serving is None:
        return False
    key = worker.serving.keyring.console(presented.decode("latin-1"))
    return key is not None and allows(key.role or "", "viewer")


async def _metrics(router: Router, client: Connection, http: HttpRequest) -> None:
    worker, settings = router.worker, router.settings
    if not settings.metrics_open:
        presented = key_in(http.headers)
        if not hmac.compare_digest(presented, settings.admin_key.encode()) and not _views(worker, presented):
            raise Unauthenticated(
                "beyond loopback /metrics needs 'authorization: Bearer <key>', with the admin key or one "
                "that `airboss keys create NAME --role viewer` makes"
            )
    now = worker.clock.now()
    others = read_counts(settings.metrics_dir, but=worker.name)
    gauges: dict[str, float] = {}
    if worker.serving is not None:
        plan = worker.serving.plan
        gauges["plan_number"] = plan.number
        gauges["plan_age_seconds"] = max(0.0, (now - plan.created_at).total_seconds())
    # Measured here, as on a full disk nobody can write down that it is.
    with suppress(OSError):
        gauges["disk_nearly_full"] = float(free_bytes(settings.metrics_dir) < FREE_BYTES_MIN)
    gauges |= _controller_gauges(others.get("controller"), now.timestamp())
    # What was once shown must be there after a kill: the file is what the next life goes on from.
    own = await worker.share(settings.metrics_dir)
    dead = now - DEAD_AFTER
    theirs = [
        of_the_dead(each) if name.startswith(WORKERS) and each.written_at < dead else each
        for name, each in others.items()
    ]
    accept = http.headers.get(b"accept", b"").decode("latin-1")
    exposition = await asyncio.to_thread(_exposition)
    shown = exposition([own, *theirs], gauges)  # here, where nothing is counted meanwhile
    async with router.scraping:  # one at a time, beside the calls
        text, kind = await asyncio.to_thread(shown.written, accept)
    client.respond(200, b"content-type: %s\r\n" % kind.encode() + router.id_header(), text)


def _exposition() -> type[Exposition]:
    from airboss.telemetry.exposition import Exposition  # noqa: PLC0415 - an HTTP server and more, for who asks

    return Exposition


def _controller_gauges(controller: Counts | None, now: float) -> dict[str, float]:
    """The lag, as of now: a controller that has stopped reporting moves nothing either."""
    if controller is None:
        return {}
    age = max(0.0, now - controller.written_at.timestamp())  # the clock may have been set back
    # Taken out of the counts, which are summed: this one is a time, not a count.
    oldest = controller.gauges.pop("journal_oldest_unmoved_at", 0.0)
    return {
        "controller_age_seconds": age,
        "journal_lag_seconds": max(0.0, now - oldest if oldest else age - 5.0),
    }


NOT_TAKEN: Final = "/v1/metrics"
"""Here so that those who send metrics beside traces are told."""

ROUTES: Mapping[str, Mapping[str, Route]] = {
    "/v1/chat/completions": {"POST": _by(at_once.chat)},
    "/v1/completions": {"POST": _infer("text_completion")},
    "/v1/embeddings": {"POST": _infer("embeddings")},
    "/v1/messages": {"POST": _by(messages.messages)},
    "/v1/messages/count_tokens": {"POST": _by(messages.count_tokens)},
    "/v1/responses": {"POST": _by(responses.create)},
    "/v1/responses/input_tokens": {"POST": _by(responses.input_tokens)},
    "/v1/feedback": {"POST": _by(feedback)},
    "/v1/traces": {"POST": _by(traces)},
    "/v1/logs": {"POST": _by(logs)},
    NOT_TAKEN: {"POST": _by(metrics)},
    "/v1/models": {"GET": _models},
    "/v1/key": {"GET": _own_key},
    "/healthz": {"GET": _healthz},
    "/readyz": {"GET": _readyz},
    "/metrics": {"GET": _metrics},
}
ONE_RESPONSE: Mapping[str, Route] = {"GET": _by(responses.retrieve), "DELETE": _by(responses.forget)}
RESPONSE_INPUT: Mapping[str, Route] = {"GET": _by(responses.input_items)}
RELAY: Route = _by(relay)


def instead_of(path: str) -> str:
    """What to say of a path that is no route: mostly a base URL has too little or too much behind it."""
    if path.endswith("enerateContent"):
        return "Gemini's own API is not served: OpenAI's and Anthropic's clients reach its models, too"
    if path.startswith(("/spend/", "/global/")):  # LiteLLM's, of which one ends as a route of ours does
        return "what calls cost is the console's to tell: `airboss records --by key`, or its '/api/v1/usage'"
    under = [route for route in ROUTES if route.startswith("/v1/")]
    meant = max((route for route in under if path.endswith(route.removeprefix("/v1"))), key=len, default=None)
    if meant is None:
        if said := known_elsewhere(path):
            return said
        own = ", ".join(route for route in under if route != NOT_TAKEN)
        return f"there are {own}, and what is passed on (/v1/audio, /v1/images, /v1/files, /v1/batches, …)"
    if meant.startswith(messages.PATH):
        return f"it is {meant!r}: the base URL of Anthropic's clients ends before /v1"
    return f"it is {meant!r}: the base URL ends in /v1, with nothing behind it"
