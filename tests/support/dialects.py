"""A gateway in front of fake providers that do not speak OpenAI's dialect, and what its clients get."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx2
import msgspec
import pytest

from airboss.domain.plan import Price, Retry
from airboss.domain.release import ModelVersion, Policy, ProviderKind, Release
from airboss.releases.build import sealed
from airboss.testing import FakeProvider
from tests.support.gateway import HASTY, PATIENT, Gateway, deployment

BASES: dict[ProviderKind, str] = {"anthropic": "/v1", "gemini": "/v1beta", "bedrock": "", "azure": ""}
FOREIGN: tuple[ProviderKind, ...] = ("anthropic", "gemini", "bedrock")
MODELS: dict[ProviderKind, str] = {
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash",
    "bedrock": "us.anthropic.claude-sonnet-4-5-v1:0",
    "azure": "my-gpt",
}
PRICE = Price(
    input_usd_per_mtok=Decimal(10),
    output_usd_per_mtok=Decimal(100),
    cached_input_usd_per_mtok=Decimal(1),
    cache_write_usd_per_mtok=Decimal("12.5"),
)
SECRET = "AKIAABCDEFGHIJKLMNOP:aws+secret/of+the+tests:session"


@pytest.fixture(scope="module")
def foreign(fake_process: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker with a deployment of each kind, one of each that drops, screens, and tries again."""
    root = fake_process.url.removesuffix("/v1")
    secret = tmp_path_factory.mktemp("secret") / "key"
    secret.write_text(SECRET)
    plans = []
    for kind, base in BASES.items():
        release = sealed(
            Release(
                digest="",
                name=kind,
                model=ModelVersion(provider="fake", kind=kind, model=MODELS[kind]),
                prompt="Be {{ tone }}.",
                params={"temperature": 0.25},
            )
        )
        plain = deployment(
            root + base,
            name=kind,
            aliases=(),
            kind=kind,
            upstream_model=MODELS[kind],
            api_key_ref=f"file:{secret}",
            price=PRICE,
            continuation="off",
            region="eu-west-1" if kind == "bedrock" else None,
            timeout=PATIENT,
        )
        bare = Release(digest="d" * 64, name=kind, model=release.model)
        masking = msgspec.structs.replace(bare, policy=Policy(pii=(("email", "mask"),), detectors="1"))
        drops = msgspec.structs.replace(plain.target, drop_unsupported=True)
        made: dict[str, dict[str, Any]] = {
            "": {"stable": bare},
            "-prompt": {"stable": release},
            "-drops": {"target": drops},
            "-masks": {"stable": masking},
            "-patient": {"retry": Retry(attempts=3)},
            "-hasty": {"timeout": HASTY},
        }
        plans += [msgspec.structs.replace(plain, name=kind + tail, **more) for tail, more in made.items()]
    with Gateway(tmp_path_factory.mktemp("dialects"), *plans) as running:
        yield running


def said(answer: httpx2.Response) -> dict[str, Any]:
    """A whole answer, or a stream that must be whole, put together: `message`, `finish_reason`, `usage`."""
    assert answer.status_code == 200, answer.text
    if not answer.headers["content-type"].startswith("text/event-stream"):
        body = answer.json()
        assert body["object"] == "chat.completion"
        (choice,) = body["choices"]
        return {**choice, "usage": body["usage"]}
    *events, done, last = answer.text.split("\n\n")
    assert (done, last) == ("data: [DONE]", ""), answer.text
    chunks = [json.loads(event.removeprefix("data: ")) for event in events if not event.startswith(":")]
    message: dict[str, Any] = {"role": None, "content": None}
    reasons = []
    for chunk in chunks:
        assert chunk["object"] == "chat.completion.chunk"
        for choice in chunk["choices"]:
            _add(message, choice["delta"])
            reasons += [choice["finish_reason"]] if choice["finish_reason"] else []
    (reason,) = reasons
    usage = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    assert len({chunk["id"] for chunk in chunks}) == 1
    return {"message": message, "finish_reason": reason, "usage": usage[0] if usage else None}


def _add(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name in ("role", "content", "reasoning_content"):
        if delta.get(name) is not None:
            message[name] = (message.get(name) or "") + delta[name]
    if "thinking_blocks" in delta:
        message.setdefault("thinking_blocks", []).extend(delta["thinking_blocks"])
    for piece in delta.get("tool_calls", ()):
        calls = message.setdefault("tool_calls", [])
        if piece["index"] == len(calls):
            calls.append({name: value for name, value in piece.items() if name != "index"})
        else:
            calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]


def ask(gateway: Gateway, model: str, content: Any = "hi", **body: Any) -> httpx2.Response:
    """One call; a stream asks for its usage."""
    if body.get("stream"):
        body = {"stream_options": {"include_usage": True}} | body
    return gateway.chat(content, model=model, **body)


STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
KINDS = pytest.mark.parametrize("kind", FOREIGN)
