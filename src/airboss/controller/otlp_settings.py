"""Where calls are sent by OTLP, and how: what the standard environment says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import unquote

import msgspec

from airboss import __version__
from airboss.domain.errors import SetupError
from airboss.domain.record import InferenceRecord

PREFIX: Final = "OTEL_EXPORTER_OTLP_"
SIGNALS: Final = ("traces", "metrics", "logs")
Signal = Literal["traces", "metrics", "logs"]
"""What is sent apart."""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How something is sent."""

    headers: dict[str, str] = {}
    gzip: bool = True
    timeout_s: float = 10.0


class ExportSettings(Way, frozen=True, kw_only=True):
    """Where calls are sent, and what of them. A URL that is None is not sent to. `own` is of signals that are
    sent in a way of their own; `certificate` is the path of a file of those that are trusted; `providers` are
    OpenTelemetry's names of those that it has one for."""

    traces_url: str | None
    metrics_url: str | None
    logs_url: str | None
    own: dict[str, Way] = {}
    certificate: str | None = None
    providers: dict[str, str] = {}
    resource: dict[str, str] = msgspec.field(default_factory=lambda: {"service.name": "airboss"})
    sample: float = 1.0
    content: bool = False
    latest: bool = False

    def named(self, record: InferenceRecord) -> InferenceRecord:
        """A record with OpenTelemetry's name of its provider, where there is one."""
        known = self.providers.get(record.provider or "")
        return record if known is None else msgspec.structs.replace(record, provider=known)


WELL_KNOWN: Final[Mapping[str, str]] = {
    "openai": "openai",
    "azure": "azure.ai.openai",
    "anthropic": "anthropic",
    "gemini": "gcp.gemini",
    "bedrock": "aws.bedrock",
}
"""Values of `gen_ai.provider.name` by the kind of a provider. Source: OpenTelemetry's GenAI conventions, that
ask for them where one applies."""


def with_path(endpoint: str, signal: str) -> str:
    """The URL of a signal at a base URL."""
    return f"{endpoint.rstrip('/')}/v1/{signal}"


def environment_settings(
    env: Mapping[str, str], providers: Mapping[str, str] | None = None
) -> ExportSettings | None:
    """What the standard environment variables say, for one signal before for all; None where they name no
    endpoint. Raises SetupError."""
    base = env.get(f"{PREFIX}ENDPOINT", "").strip()
    urls = {
        signal: env.get(f"{PREFIX}{signal.upper()}_ENDPOINT", "").strip()
        or (with_path(base, signal) if base else "")
        for signal in SIGNALS
    }
    if not any(urls.values()) or env.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    ways = {signal: way_of(env, signal) for signal, url in urls.items() if url}
    return ExportSettings(
        traces_url=urls["traces"] or None,
        metrics_url=urls["metrics"] or None,
        logs_url=urls["logs"] or None,
        own=ways,
        providers=dict(providers or {}),
        resource=resource_of(env),
        latest=asks_latest(env),
        certificate=env.get(f"{PREFIX}CERTIFICATE", "").strip() or None,
    )


def way_of(env: Mapping[str, str], signal: str) -> Way:
    """How a signal is sent. Raises SetupError."""

    def given(name: str, default: str) -> str:
        own = env.get(f"{PREFIX}{signal.upper()}_{name}", "").strip()
        return own or env.get(f"{PREFIX}{name}", "").strip() or default

    protocol, timeout = given("PROTOCOL", "http/protobuf"), given("TIMEOUT", "")
    if protocol != "http/protobuf":
        raise SetupError(f"{PREFIX}PROTOCOL is {protocol[:40]!r} for {signal}; Airboss sends http/protobuf")
    whole = timeout.isascii() and timeout.isdigit() and len(timeout) < 8
    return Way(
        headers=pairs(given("HEADERS", "")),
        gzip=given("COMPRESSION", "gzip") != "none",
        timeout_s=int(timeout) / 1000 if whole else 10.0,
    )


def resource_of(env: Mapping[str, str]) -> dict[str, str]:
    """What sends, by the standard variables."""
    given = pairs(env.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    name = env.get("OTEL_SERVICE_NAME", "").strip() or given.get("service.name", "airboss")
    return {**given, "service.name": name, "service.version": __version__}


def asks_latest(env: Mapping[str, str]) -> bool:
    """Whether the names that are to follow are wanted."""
    asked = env.get("OTEL_SEMCONV_STABILITY_OPT_IN", "").split(",")
    return "gen_ai_latest_experimental" in [each.strip() for each in asked]


def pairs(text: str) -> dict[str, str]:
    """`a=1,b=2`, percent-encoded, as the standard variables have lists. Raises SetupError."""
    found = {}
    for each in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = each.partition("=")
        if not equals or not name.strip():
            raise SetupError("a list in the OTEL_ environment is not written name=value,name=value")
        found[name.strip().lower()] = unquote(value.strip())
    return found
