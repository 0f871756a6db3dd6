"""Spans with long texts, and secrets where these are cut: no half of one stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from airboss.gateway.traces_fitting import BEGINNING_CHARS, VALUE_CHARS_MAX
from airboss.governance.policies import policy_of
from tests.support.gateway import Gateway, deployment
from tests.support.otlp import JSON, PROTOBUF, as_protobuf, llm, log, logs, pairs, request, span
from tests.support.wait import until

PROVIDER_KEY = "sk-proj-Zx81kQw92LmPq07VbN34TyRe"
TOKEN = "ghp_aBxdEyfGzhJxkLymNzpQxrSytUzvWxxYyzAq"
SECRETS = [("none", PROVIDER_KEY), ("mask", PROVIDER_KEY), ("mask", TOKEN)]
NUMBERS = count(1)


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Gateway]]:
    """A worker without a policy, and one that masks."""
    root = tmp_path_factory.mktemp("cut")
    (root / "key").write_text(PROVIDER_KEY)
    key, url = f"file:{root / 'key'}", "http://127.0.0.1:9/v1"
    with (
        Gateway(root / "none", deployment(url, api_key_ref=key)) as none,
        Gateway(root / "mask", deployment(url, api_key_ref=key, policy=policy_of("mask", None))) as mask,
    ):
        yield {"none": none, "mask": mask}


def halves(secret: str, text: str) -> list[str]:
    """What of a secret is in a text, though in other letters, and too much of it."""
    seen, low = secret.lower(), text.lower()
    return [seen[at : at + 8] for at in range(len(seen) - 7) if seen[at : at + 8] in low]


def over(most: int, secret: str, off: int) -> str:
    """A text in which a secret begins so many characters before a limit."""
    return "x " * ((most - off) // 2) + " " * (off % 2) + secret + " and more" * 9


def taken(gateway: Gateway, *spans: dict[str, Any], protobuf: bool = False, **named: Any) -> str:
    """All that is kept of spans once they are sent."""
    before, given = len(gateway.spans()), request(*spans, **named)
    with gateway.client() as client:
        answer = (
            client.post("/v1/traces", content=as_protobuf(given), headers=PROTOBUF)
            if protobuf
            else client.post("/v1/traces", content=json.dumps(given).encode(), headers=JSON)
        )
    assert answer.status_code == 200, answer.text
    until(lambda: len(gateway.spans()) == before + len(spans))
    return json.dumps(gateway.spans()[before:])


@pytest.mark.parametrize("protobuf", [False, True])
@pytest.mark.parametrize(("model", "secret"), SECRETS)
def test_every_text_of_a_span(
    gateways: dict[str, Gateway], model: str, secret: str, *, protobuf: bool
) -> None:
    """Its attributes and events, its error, its names and what sends it, cut anywhere in a secret."""
    spans, service = [], ""
    for off in (9, 20, 31):
        name, message, value = (over(most, secret, off) for most in (256, 2_048, VALUE_CHARS_MAX))
        service = over(64, secret, off)
        of_call = {
            "gen_ai.request.model": name,
            "gen_ai.provider.name": name,
            "error.type": secret,
            "langfuse.trace.metadata.note": name,
            "input.value": json.dumps({"model": name, "messages": []}),
            "x": value,
            f"{secret}.y": 1,
        }
        long = over(256, secret, off)
        many = {f"y{n}": over(BEGINNING_CHARS, secret, off) + "z" * 6_000 for n in range(8)}
        thrown = {"exception.message": over(4_096, secret, off), "v": value}
        event = {"timeUnixNano": "1", "name": name, "attributes": pairs(thrown)}
        failed = {"code": 2, "message": message}
        spans += [
            llm(next(NUMBERS), name=name, attributes=of_call, status=failed, events=[event]),
            span(next(NUMBERS), name=name, attributes=many, status=failed, events=[event]),
            span(next(NUMBERS), attributes={long: 1, "m": {long: 1}}),
        ]
    kept = taken(gateways[model], *spans, service=service, protobuf=protobuf)
    assert not halves(secret, kept)
    assert "x x x" in kept


@pytest.mark.parametrize("private", [False, True])
def test_a_long_text_of_many_values(gateways: dict[str, Gateway], *, private: bool) -> None:
    """However much shorter the masks make it, its end is no half of a value: of private keys, say."""
    secret = TOKEN + " "
    if private:
        body = "\n".join(
            f"{n:02}MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj" for n in range(25)
        )
        secret = f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"
    text = secret * (40_000 // len(secret))
    kept = taken(gateways["mask"], *(span(next(NUMBERS), attributes={"x": text[at:]}) for at in (0, 7)))
    assert "VJTUt9Us8cKj" not in kept if private else not halves(TOKEN, kept)


@pytest.mark.parametrize(("model", "secret"), SECRETS)
def test_log_records_and_evaluations(gateways: dict[str, Gateway], model: str, secret: str) -> None:
    """What is cut of those is looked at before as well."""
    gateway = gateways[model]
    records = []
    for off in (9, 20, 31):
        long = over(VALUE_CHARS_MAX, secret, off)
        said = {
            "gen_ai.evaluation.name": "tone",
            "gen_ai.evaluation.score.value": 1.0,
            "gen_ai.evaluation.score.label": over(256, secret, off),
            "gen_ai.evaluation.explanation": over(3_600, secret, off),
        }
        failed = {"gen_ai.evaluation.name": "tone", "error.type": over(256, secret, off)}
        records += [
            log("gen_ai.user.message", next(NUMBERS), body=long, attributes={"x": long}),
            log("gen_ai.evaluation.result", next(NUMBERS), attributes=said),
            log("gen_ai.evaluation.result", next(NUMBERS), attributes=failed),
        ]
    with gateway.client() as client:
        answer = client.post("/v1/logs", json=logs(*records))
    assert (answer.status_code, answer.json()) == (200, {}), answer.text
    until(lambda: b"x x x" in gateway.journal_bytes())
    assert not halves(secret, gateway.journal_bytes().decode("utf-8", "replace"))
