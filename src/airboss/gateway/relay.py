"""OpenAI's other routes (audio, images, files, batches, …): passed on to a provider that has them.

Nothing of them is understood but whose they are: the deployment that `model` names, or, where a request names
none, one whose provider speaks OpenAI's dialect. Keys, limits, deadlines and records are those of every call.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import httptools
import msgspec

from airboss.domain.errors import InvalidRequest
from airboss.domain.plan import DeploymentPlan
from airboss.domain.request import Principal
from airboss.gateway import wire
from airboss.gateway.http1 import Connection
from airboss.gateway.multipart import Part, boundary_of, parts_of
from airboss.gateway.pipeline import infer
from airboss.gateway.relayed import RelayedRequest, not_offered, route_of
from airboss.gateway.request_head import HttpRequest
from airboss.gateway.serving import Serving, allowed
from airboss.gateway.worker import Worker
from airboss.providers.dialects import OPENAI_KINDS
from airboss.store.usage import LABEL_CHARS_MAX

RECORDED_BYTES_MAX: Final = 64 * 1024
"""Of a larger request the record has what it was, not what it held."""
WHERE: Final = b"x-airboss-deployment"
"""The header by which a request without a model may name a deployment."""


async def relay(worker: Worker, client: Connection, http: HttpRequest) -> None:
    """Serve one call. Raises ApiError."""
    route = route_of(http.path)
    assert route is not None  # the router has asked, and for the method too
    serving = worker.view()
    principal = serving.authenticate(http.headers)  # a stranger's body is not read
    named = _read(http) if http.body else _Named()
    method = "GET" if http.method == "HEAD" else http.method
    model = named.model if route.models and named.model is not None else None
    parsed = wire.RelayedBody(
        model=model if model is not None else _without_model(serving, principal, http).name,
        user=named.user,
        path=http.path.removeprefix("/v1") + _query(http.url),
        method=method,
        names_model=model is not None,
        head=http.method == "HEAD",
        form=named.form,
        again=route.again or method == "GET",
        free=route.free or method != "POST",
        makes=route.models,
        kept=route.kept,
        text=http.body if named.json and route.texts else None,
    )
    wire.check_labels(parsed.user, parsed.metadata or {})
    asked = RelayedRequest(
        method=method,
        path=http.path,
        url=http.url,
        headers=http.headers,
        body=http.body,
        keep_alive=http.keep_alive,
        http_1_0=http.http_1_0,
        received_at=http.received_at,
        parsed=msgspec.structs.replace(parsed, recorded=_recorded(http, named)),
    )
    await infer(worker, client, asked, route.operation)


class _Named(msgspec.Struct, kw_only=True):
    """What a request says of itself; `form` are the fields of one that is a form."""

    model: str | None = None
    user: str | None = None
    form: list[Part] | None = None
    json: bool = False


class _Json(msgspec.Struct):
    model: str | None = None
    user: Any = None


_json = msgspec.json.Decoder(_Json)


def _read(http: HttpRequest) -> _Named:
    """What a body says, by its content type. Raises InvalidRequest."""
    content_type = http.headers.get(b"content-type", b"").decode("latin-1")
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        form = parts_of(http.body, boundary_of(content_type))
        return _Named(model=_field(http.body, form, "model"), user=_field(http.body, form, "user"), form=form)
    if kind not in {"", "application/json"}:
        raise InvalidRequest(
            f"the content-type is {kind[:60]!r}; send application/json or multipart/form-data",
            code="unsupported_media_type",
        )
    said = wire.read_body(_json.decode, http.body)
    return _Named(model=said.model, user=said.user if isinstance(said.user, str) else None, json=True)


def _field(body: bytes, form: Iterable[Part], name: str) -> str | None:
    found = [part for part in form if part.name.lower() == name and part.filename is None]
    if not found:
        return None
    if len(found) > 1:
        raise InvalidRequest(f"the form has {name!r} {len(found)} times; send it once", param=name)
    text = body[found[0].start : found[0].end]
    if len(text) > LABEL_CHARS_MAX:
        raise InvalidRequest(f"{name!r} is {len(text)} bytes; shorten it", param=name)
    return text.decode("utf-8", "replace")


def _without_model(serving: Serving, principal: Principal, http: HttpRequest) -> DeploymentPlan:
    """The deployment whose provider gets a request that names no model: the one that a header names, else
    the first whose provider speaks OpenAI's dialect, OpenAI's own before others. Raises NotFound."""
    wanted = http.headers.get(WHERE)
    if wanted is not None:
        return serving.resolve(wanted.strip(b" \t").decode("latin-1"), principal)
    may = [each for each in serving.plan.deployments if allowed(principal, each)]
    for kind in OPENAI_KINDS:
        for deployment in may:
            if deployment.target.kind == kind:
                return deployment
    raise not_offered(http.path, "no deployment of this key has a provider that speaks OpenAI's dialect")


def _query(url: bytes) -> str:
    query = httptools.parse_url(url).query
    return f"?{query.decode('latin-1')}" if query else ""


def _recorded(http: HttpRequest, named: _Named) -> bytes:
    """What the record has of a request, as JSON: what was sent where that is JSON, else a form's short fields
    and what its files were, never a file's bytes."""
    if named.json and len(http.body) <= RECORDED_BYTES_MAX:
        return http.body
    told: dict[str, Any] = {"method": http.method, "path": http.path, "body_bytes": len(http.body)}
    for part in named.form or ():
        size = part.end - part.start
        if part.filename is None and size <= LABEL_CHARS_MAX:
            value: Any = http.body[part.start : part.end].decode("utf-8", "replace")
        else:
            value = {"filename": part.filename, "content_type": part.content_type, "bytes": size}
        told.setdefault("form", {})[part.name] = value
    recorded = msgspec.json.encode(told)
    return recorded if len(recorded) <= RECORDED_BYTES_MAX else msgspec.json.encode(told | {"form": None})
