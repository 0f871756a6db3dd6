"""What OpenAI's other routes are, `/rerank` of servers with its dialect too, and what goes upstream of a
request to one. Pure."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from airboss.domain.errors import NotFound
from airboss.domain.plan import DeploymentPlan, Retry, Target
from airboss.domain.request import Operation
from airboss.gateway import wire
from airboss.gateway.request_head import HttpRequest
from airboss.gateway.splice import replace_model
from airboss.providers.cut import cut
from airboss.providers.dialect import Outgoing, bearer, key_in
from airboss.providers.dialects import OPENAI_KINDS, azure_path

PASSED_ON: Final = ("accept", "openai-beta", "idempotency-key")
"""Headers of the client's that go upstream."""
_ID = r"[A-Za-z0-9_-][A-Za-z0-9_.:-]{0,127}"


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Paths under `/v1`, as a pattern. `models`: a request there may name a deployment as its model. `again`:
    what is sent twice does no harm. `free`: it costs nothing. `texts`: JSON there says texts, and
    gets none back. `kept`: what comes back is what somebody has put there, whatever it looks like."""

    pattern: str
    methods: tuple[str, ...]
    operation: Operation
    models: bool = False
    again: bool = False
    free: bool = False
    texts: bool = False
    kept: bool = False

    @property
    def taken(self) -> tuple[str, ...]:
        """The methods that it has here: where there is a GET, a HEAD."""
        return (*self.methods, "HEAD") if "GET" in self.methods else self.methods

    def takes(self, path: str) -> bool:
        """Whether a path is one of these."""
        return re.fullmatch(self.pattern, path) is not None


ROUTES: Final = (
    Route(
        pattern="/v1/audio/speech",
        methods=("POST",),
        operation="audio_speech",
        models=True,
        again=True,
        texts=True,
    ),
    Route(
        pattern="/v1/audio/transcriptions",
        methods=("POST",),
        operation="audio_transcription",
        models=True,
        again=True,
    ),
    Route(
        pattern="/v1/audio/translations",
        methods=("POST",),
        operation="audio_translation",
        models=True,
        again=True,
    ),
    Route(
        pattern="/v1/images/(generations|edits|variations)",
        methods=("POST",),
        operation="images",
        models=True,
        again=True,
        texts=True,
    ),
    Route(
        pattern="/v1/moderations",
        methods=("POST",),
        operation="moderations",
        models=True,
        again=True,
        free=True,
        texts=True,
    ),
    Route(pattern="/v1/rerank", methods=("POST",), operation="rerank", models=True, again=True, texts=True),
    Route(pattern="/v1/files", methods=("GET", "POST"), operation="files", free=True),
    Route(pattern=f"/v1/files/{_ID}", methods=("GET", "DELETE"), operation="files", free=True),
    Route(pattern=f"/v1/files/{_ID}/content", methods=("GET",), operation="files", free=True, kept=True),
    Route(pattern="/v1/uploads", methods=("POST",), operation="uploads", free=True),
    Route(
        pattern=f"/v1/uploads/{_ID}/(parts|complete|cancel)",
        methods=("POST",),
        operation="uploads",
        free=True,
    ),
    Route(pattern="/v1/batches", methods=("GET", "POST"), operation="batches"),
    Route(pattern=f"/v1/batches/{_ID}", methods=("GET",), operation="batches"),
    Route(pattern=f"/v1/batches/{_ID}/cancel", methods=("POST",), operation="batches", free=True),
    Route(
        pattern=rf"/v1/fine_tuning/(jobs|checkpoints|alpha)(/{_ID}){{0,4}}",
        methods=("GET", "POST", "DELETE"),
        operation="fine_tuning",
    ),
    Route(
        pattern=rf"/v1/vector_stores(/{_ID}){{0,4}}",
        methods=("GET", "POST", "DELETE"),
        operation="vector_stores",
    ),
)


class RelayedRequest(HttpRequest, kw_only=True):
    """A request that is passed on. `parsed` says whose it is and what the record has of it."""

    parsed: wire.RelayedBody


def route_of(path: str) -> Route | None:
    """The route that a path is; None for a path that is none of these."""
    found = [route for route in ROUTES if route.takes(path)]
    return found[0] if found else None


def not_offered(path: str, why: str) -> NotFound:
    """The error for a route that nobody here has."""
    return NotFound(
        f"{cut(path, 100)!r} is not offered here: {why}. What every deployment answers: "
        "/v1/chat/completions, /v1/completions, /v1/responses, /v1/messages; GET /v1/models lists them",
        code="route_not_offered",
    )


def outgoing(http: HttpRequest, body: wire.RelayedBody, target: Target) -> Outgoing:
    """What goes upstream. Raises NotFound where the deployment's provider does not speak OpenAI's dialect."""
    if target.kind not in OPENAI_KINDS:
        raise not_offered(
            http.path,
            f"provider {target.provider!r} of deployment {cut(body.model, 100)!r} is of kind {target.kind!r}"
            ", which has no such route",
        )
    headers = {name: http.headers[name.encode()] for name in PASSED_ON if name.encode() in http.headers}
    if http.body and b"content-type" in http.headers:
        headers["content-type"] = http.headers[b"content-type"]
    azure = target.kind == "azure"
    raw = http.body if body.text is None else body.text
    return Outgoing(
        method=http.method,
        path=_azure_path(body, target) if azure else body.path,
        body=_renamed(raw, body, target) if body.names_model else raw,
        authorise=key_in("api-key") if azure else bearer,
        headers=tuple((name, value.decode("latin-1")) for name, value in headers.items()),
        streams=False,
    )


def _azure_path(body: wire.RelayedBody, target: Target) -> str:
    path, _, query = body.path.partition("?")
    return azure_path(target, path, of_model=body.names_model) + ("&" if query else "") + query


def _renamed(raw: bytes, body: wire.RelayedBody, target: Target) -> bytes:
    """A body with the upstream's name of the model."""
    name = target.upstream_model
    if body.form is None:
        return replace_model(raw, msgspec.json.encode(name))
    part = next(part for part in body.form if part.name.lower() == "model" and part.filename is None)
    return b"%s%s%s" % (raw[: part.start], name.encode(), raw[part.end :])


def once(deployment: DeploymentPlan, body: wire.RelayedBody) -> DeploymentPlan:
    """The deployment as it serves a call that is passed on: that has no second attempt beside it, and what
    does harm when it is done twice is tried once."""
    retry = deployment.retry if body.again else Retry(attempts=1)
    return msgspec.structs.replace(deployment, retry=retry, hedge=None)
