"""What fails at a release's model is answered by its fallbacks, and the record says by whom."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx2
import msgspec
import pytest
import uvloop

from airboss.domain.errors import UpstreamRefused
from airboss.domain.plan import DeploymentPlan, Price, Retry, Target, Timeouts
from airboss.gateway.answer import WholeAnswer
from airboss.gateway.asked import Asked, Route
from airboss.gateway.attempts import Dispatched
from airboss.gateway.breaker import STREAK_MAX
from airboss.gateway.dispatch import Executor
from airboss.providers.outbox import Outbox
from airboss.providers.pools import Pools
from airboss.telemetry.metrics import OUT_S
from airboss.testing import FakeProvider, ScriptStep
from tests.support.gateway import PATIENT, PRICE, Gateway, deployment, together
from tests.support.spoken import PATHS, error, say, text

SAID = "The backup answers in full, with nothing left out of it at all."
LONG = 'fake:{"words": 2000, "tokens_per_s": 50}'
SLOT_TOKENS = 100
OWN: dict[str, Any] = {"kind": "local", "tools": False, "slot_tokens": SLOT_TOKENS}
TIMES = Timeouts(total_s=6.0, first_token_s=2.0, idle_s=2.0)
SILENT = ("silence", "late", "stall")
"""How faults begin that end no sooner than somebody's patience."""


@pytest.fixture(scope="module")
def backup() -> Iterator[FakeProvider]:
    """Another provider, which is well."""
    with FakeProvider(default=f"ok;text={SAID}") as running:
        yield running


def with_fallbacks(plan: DeploymentPlan, *others: Target) -> DeploymentPlan:
    """The deployment with fallbacks."""
    return msgspec.structs.replace(plan, target=msgspec.structs.replace(plan.target, fallbacks=others))


def other(url: str, name: str = "big", **changes: Any) -> Target:
    """A fallback at `url`."""
    fields: dict[str, Any] = {"provider": "backup", "kind": "openai-compatible", "price": PRICE}
    return Target(base_urls=(url,), upstream_model=name, **fields | changes)


def called(fault: str, *, stream: bool) -> str:
    """The deployment that a fault is tried at."""
    return f"{FALLS_BACK.index(fault)}-{'stream' if stream else 'whole'}"


def of_a_fault(plan: DeploymentPlan, fault: str, *, stream: bool) -> DeploymentPlan:
    """The deployment for one fault, with a provider of its own: no fault before it speaks against that."""
    name = called(fault, stream=stream)
    return msgspec.structs.replace(
        plan,
        name=name,
        aliases=(),
        target=msgspec.structs.replace(plan.target, provider=f"p-{name}"),
        timeout=TIMES if fault.startswith(SILENT) else PATIENT,
    )


def filtered_too(plan: DeploymentPlan) -> DeploymentPlan:
    """The deployment, whose fallbacks are asked what a provider's filter refuses, too."""
    stable = msgspec.structs.replace(plan.stable, fallbacks_when_filtered=True)
    return msgspec.structs.replace(plan, stable=stable, aliases=())


@pytest.fixture(scope="module")
def shared(
    fake_process: FakeProvider, backup: FakeProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A worker whose deployments have a fallback each, of every kind of provider."""
    root = backup.url.removesuffix("/v1")
    kinds = {
        "openai-compatible": backup.url,
        "anthropic": f"{root}/v1",
        "gemini": f"{root}/v1beta",
        "bedrock": root,
        "azure": root,
    }
    free = Price(input_usd_per_mtok=PRICE.input_usd_per_mtok, output_usd_per_mtok=PRICE.output_usd_per_mtok)
    plans = [
        with_fallbacks(
            deployment(
                fake_process.url,
                name=kind,
                aliases=("gpt-4o",) if kind == "openai-compatible" else (),
                price=free,
                timeout=PATIENT,
                continuation="off",
                retry=Retry(attempts=2),
            ),
            other(url, kind=kind, provider=kind, region="eu-west-1", continuation="off"),
        )
        for kind, url in kinds.items()
    ]
    plans += [
        *(of_a_fault(plans[0], fault, stream=stream) for fault in FALLS_BACK for stream in (False, True)),
        with_fallbacks(
            deployment(fake_process.url, name="small", aliases=(), **OWN),
            other(backup.url, "smaller", **OWN),
            other(backup.url),
        ),
        deployment(fake_process.url, name="small-alone", aliases=(), **OWN),
        filtered_too(with_fallbacks(deployment(fake_process.url, name="filtered"), other(backup.url))),
        with_fallbacks(
            deployment(root, name="claude-first", kind="anthropic", aliases=()), other(fake_process.url)
        ),
    ]
    with Gateway(tmp_path_factory.mktemp("fallbacks"), *plans) as running:
        yield running


@pytest.fixture
def gateway(shared: Gateway, provider: FakeProvider, backup: FakeProvider) -> Gateway:
    """The module's worker, both providers as they were when they began."""
    backup.reset()
    return shared


FALLS_BACK = [
    "429",
    "429;retry_after=30",
    "429-no-retry-after",
    "500",
    "503",
    "529",
    "429;code=insufficient_quota",
    "status;status=400;message=Your credit balance is too low to access the Anthropic API.",
    "status;status=401",
    "status;status=402",
    "status;status=403",
    "status;status=404",
    "status;status=408",
    "status;status=409",
    "status;status=425",
    "status;status=520",
    "reset",
    "close",
    "silence",
    "late-first-token;for_s=30",
    "late-head;for_s=30",
    "cut-reset;after=0",
    "cut-close;after=0",
    "cut-end;after=0",
    "stall;after=0",
    "malformed-event;after=0",
    "malformed-chunk;after=0",
    "error-mid-stream;after=0",
    "context-length",
    "status;status=400;message=This model's maximum context length is 8192 tokens.",
    "html",
    "error-200",
    "redirect-307",
    "redirect-308",
    "echo-authorization",
]


@pytest.fixture(scope="module")
def silent(shared: Gateway, fake_process: FakeProvider) -> dict[tuple[str, bool], httpx2.Response]:
    """The answers to calls whose time runs out, by fault and whether they are streams."""
    faults = [fault for fault in FALLS_BACK if fault.startswith(SILENT)]
    steps = [ScriptStep(behaviour=fault, forever=True, holding=(f"<{fault}>",)) for fault in faults]
    fake_process.script(*steps)
    return together(
        {
            (each, stream): partial(
                shared.chat, f"<{each}>", model=called(each, stream=stream), stream=stream
            )
            for each in faults
            for stream in (False, True)
        }
    )


@pytest.fixture(autouse=True)
def closed_breakers(gateway: Gateway, provider: FakeProvider) -> None:
    """Each test begins with a target that nothing speaks against."""
    while "x-airboss-fallback" in gateway.chat(model="openai-compatible").headers:
        pass
    provider.reset()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", FALLS_BACK)
def test_a_failing_start_is_answered_by_the_fallback(
    request: pytest.FixtureRequest, gateway: Gateway, provider: FakeProvider, fault: str, stream: bool
) -> None:
    """The client has the fallback's whole answer, and the record every attempt with its cost."""
    if fault.startswith(SILENT):
        response = request.getfixturevalue("silent")[fault, stream]
    else:
        provider.script(ScriptStep(behaviour=fault, forever=True))
        response = gateway.chat(model=called(fault, stream=stream), stream=stream)
    assert response.status_code == 200, response.text
    said = _streamed(response.text) if stream else response.json()["choices"][0]["message"]["content"]
    assert said == SAID
    assert response.headers["x-airboss-fallback"] == "openai-compatible/big"
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["error_type"]) == ("ok", "answered_by_fallback")
    assert (end["provider"], end["model"]) == ("openai-compatible", "big")
    first, *_, last = end["attempts"]
    assert first["error_type"] is not None
    assert (last["why"], last["error_type"], last["model"]) == ("fallback", None, "big")
    assert end["cost_usd"] == pytest.approx(sum(each["cost_usd"] or 0 for each in end["attempts"]))
    assert last["cost_usd"] > 0


def _streamed(text_: str) -> str:
    assert text_.endswith("data: [DONE]\n\n")
    events = [e.removeprefix("data: ") for e in text_.split("\n\n") if e.startswith("data: {")]
    choices = [choice for event in events for choice in msgspec.json.decode(event)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


@pytest.mark.parametrize("fault", ["status;status=400", "status;status=422", "content-filter"])
def test_the_callers_mistake_is_told(gateway: Gateway, provider: FakeProvider, fault: str) -> None:
    """A 400 is the caller's to mend and a filter's word is passed on: nobody else is asked, and only once."""
    provider.script(ScriptStep(behaviour=fault, forever=True))
    response = gateway.chat()
    assert response.status_code in {400, 422}
    assert "x-airboss-fallback" not in response.headers
    assert len(gateway.closed(response.headers["x-request-id"])["attempts"]) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("dialect", ["chat", *sorted(PATHS)])
def test_a_filters_refusal_is_asked_elsewhere_where_the_release_says_so(
    gateway: Gateway, provider: FakeProvider, dialect: str, stream: bool
) -> None:
    """The fallback's answer is the client's, the record has both attempts; any other 400 is told as ever."""
    provider.script(ScriptStep(behaviour="content-filter", forever=True))
    if dialect == "chat":
        response = gateway.chat(model="filtered", stream=stream)
        said = _streamed(response.text) if stream else response.json()["choices"][0]["message"]["content"]
    else:
        response = say(gateway, dialect, model="filtered", stream=stream)
        said = text(dialect, response, stream=stream)
    assert said == SAID
    assert response.headers["x-airboss-fallback"] == "backup/big"
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["error_type"]) == ("ok", "answered_by_fallback")
    tried = [(each["why"], each["error_type"]) for each in end["attempts"]]
    assert tried == [("first", "content_filter"), ("fallback", None)]
    provider.script(ScriptStep(behaviour="status;status=400", forever=True))
    assert gateway.chat(model="filtered").status_code == 400


def test_where_every_filter_refuses_that_is_told(
    gateway: Gateway, provider: FakeProvider, backup: FakeProvider
) -> None:
    """With the filter's own code; so is a fallback's refusal of what failed otherwise."""
    backup.script(ScriptStep(behaviour="content-filter", forever=True))
    for fault in ("content-filter", "503"):
        provider.script(ScriptStep(behaviour=fault, forever=True))
        response = gateway.chat(model="filtered")
        assert (response.status_code, response.json()["error"]["code"]) == (400, "content_filter")
        end = gateway.closed(response.headers["x-request-id"])
        assert (end["status"], end["error_type"]) == ("error", "content_filter")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("kind", ["anthropic", "gemini", "bedrock", "azure"])
def test_a_fallback_speaks_its_own_dialect(
    gateway: Gateway, provider: FakeProvider, kind: str, stream: bool
) -> None:
    """The request is said anew for each model, and its answer is OpenAI's again."""
    provider.script(ScriptStep(behaviour="503", forever=True))
    response = gateway.chat(model=kind, stream=stream)
    assert response.status_code == 200, response.text
    said = _streamed(response.text) if stream else response.json()["choices"][0]["message"]["content"]
    assert said == SAID


@pytest.mark.parametrize("kind", ["openai-compatible", "anthropic"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("dialect", sorted(PATHS))
def test_other_dialects_in_fall_back_too(
    gateway: Gateway, provider: FakeProvider, dialect: str, stream: bool, kind: str
) -> None:
    """`/v1/messages` and `/v1/responses` go the same way."""
    provider.script(ScriptStep(behaviour="reset", forever=True))
    response = say(gateway, dialect, model=kind, stream=stream)
    assert text(dialect, response, stream=stream) == SAID


TOO_LONG = "x" * (SLOT_TOKENS * 256 + 1)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("dialect", ["chat", *sorted(PATHS)])
def test_what_fits_no_slot_goes_to_a_larger_model(
    gateway: Gateway, provider: FakeProvider, backup: FakeProvider, dialect: str, stream: bool
) -> None:
    """A prompt that we refuse ourselves, unread, goes where there is room; who has none is not asked."""
    if dialect == "chat":
        response = gateway.chat(TOO_LONG, model="small", stream=stream)
        said = _streamed(response.text) if stream else response.json()["choices"][0]["message"]["content"]
    else:
        response = say(gateway, dialect, TOO_LONG, model="small", stream=stream)
        said = text(dialect, response, stream=stream)
    assert said == SAID
    assert response.headers["x-airboss-fallback"] == "backup/big"
    assert (provider.stats().requests, backup.stats().requests) == (0, 1)
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["error_type"]) == ("ok", "answered_by_fallback")
    assert [(each["why"], each["model"]) for each in end["attempts"]] == [("fallback", "big")]


def test_a_body_beyond_a_local_models_bound_goes_there_too(gateway: Gateway, provider: FakeProvider) -> None:
    """So does a text completion, and its tokens are counted as well as can be."""
    with gateway.client() as client:
        body = {"model": "small", "prompt": "y" * (4 * 1024 * 1024)}
        response = client.post("/v1/completions", json=body)
        asked = {"model": "small", "messages": [{"role": "user", "content": TOO_LONG}]}
        counted = client.post("/v1/messages/count_tokens", json=asked)
    assert response.json()["choices"][0]["text"] == SAID
    assert response.headers["x-airboss-fallback"] == "backup/big"
    assert counted.json()["input_tokens"] > SLOT_TOKENS
    assert provider.stats().requests == 0


def test_without_room_anywhere_the_first_models_bound_is_told(
    gateway: Gateway, provider: FakeProvider, backup: FakeProvider
) -> None:
    """Whether there is no fallback, or it has too little room too."""
    backup.script(ScriptStep(behaviour="context-length", forever=True))
    for model in ("small", "small-alone"):
        response = gateway.chat(TOO_LONG, model=model)
        assert response.status_code == 400
        assert response.json()["error"]["code"] == "context_length_exceeded"
        assert f"{SLOT_TOKENS} tokens that a slot" in response.json()["error"]["message"]
        assert "x-airboss-fallback" not in response.headers
    assert provider.stats().requests == 0


def test_what_the_first_model_has_no_words_for_is_the_callers_to_mend(
    gateway: Gateway, provider: FakeProvider, backup: FakeProvider
) -> None:
    """A request is not moved to another model for what it asks: a 400 names it, though a fallback could."""
    answers = [
        gateway.chat(model="claude-first", n=2),
        gateway.chat(model="small", tools=[{"type": "function", "function": {"name": "look_up"}}]),
    ]
    assert [each.status_code for each in answers] == [400, 400]
    assert [each.json()["error"]["code"] for each in answers] == [
        "unsupported_by_provider",
        "tools_unsupported",
    ]
    assert provider.stats().requests == backup.stats().requests == 0


def test_completions_and_embeddings_fall_back_too(gateway: Gateway, provider: FakeProvider) -> None:
    """So do the other routes."""
    provider.script(ScriptStep(behaviour="503", forever=True))
    with gateway.client() as client:
        completed = client.post("/v1/completions", json={"model": "gpt-4o", "prompt": "hi"})
        embedded = client.post("/v1/embeddings", json={"model": "gpt-4o", "input": "hi"})
    assert completed.json()["choices"][0]["text"] == SAID
    assert len(embedded.json()["data"]) == 1


@pytest.mark.parametrize("dialect", ["chat", *sorted(PATHS)])
def test_where_all_fail_the_first_error_is_told(
    gateway: Gateway, provider: FakeProvider, backup: FakeProvider, dialect: str
) -> None:
    """What the fallback said is in the record; the caller hears what is wrong with the release's model."""
    provider.script(ScriptStep(behaviour="503", forever=True))
    backup.script(ScriptStep(behaviour="status;status=400", forever=True))
    response = gateway.chat() if dialect == "chat" else say(gateway, dialect)
    assert response.status_code == 503
    said = response.json()["error"] if dialect == "chat" else error(dialect, response)
    assert said["code"] == "upstream_unavailable"
    end = gateway.closed(response.headers["x-request-id"])
    assert end["status"] == "error"
    assert end["attempts"][-1]["status_code"] == 400


@pytest.mark.parametrize("fault", ["503", "429;code=insufficient_quota", "status;status=402"])
def test_a_model_that_is_down_is_left_alone_and_returned_to(
    gateway: Gateway, provider: FakeProvider, backup: FakeProvider, fault: str
) -> None:
    """The breaker opens, single calls find out whether it is back, and then everybody goes there again; so it
    is with one that is out of quota."""
    provider.script(ScriptStep(behaviour=fault, forever=True))
    for _ in range(40):
        assert gateway.chat().headers["x-airboss-fallback"] == "openai-compatible/big"
    assert provider.stats().requests <= 12
    provider.script()
    while "x-airboss-fallback" in gateway.chat().headers:
        pass
    assert all("x-airboss-fallback" not in gateway.chat().headers for _ in range(5))


def test_a_model_is_back_once_it_begins_to_answer(gateway: Gateway, provider: FakeProvider) -> None:
    """Nobody waits for the end of the stream that finds it out."""
    provider.script(ScriptStep(behaviour="503", forever=True))
    while provider.stats().requests < STREAK_MAX:
        gateway.chat()
    provider.script()
    with gateway.client() as client:
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": LONG}], "stream": True}
        for _ in range(1000):
            with client.stream("POST", "/v1/chat/completions", json=body) as stream:
                if "x-airboss-fallback" not in stream.headers:
                    assert all("x-airboss-fallback" not in gateway.chat().headers for _ in range(5))
                    return
    raise AssertionError("it is not found out")


@pytest.mark.parametrize(("limited_s", "elsewhere_n"), [(OUT_S, 1), (OUT_S - 30.0, 3), (None, 3)])
def test_a_limit_that_lets_nobody_in_is_met_once_where_others_are_asked(
    provider: FakeProvider, limited_s: float | None, elsewhere_n: int
) -> None:
    """And as often as ever where it is not so for a minute yet, or there is nobody else."""
    provider.script(ScriptStep(behaviour="429;retry_after=0", forever=True))
    plan = deployment(provider.url, retry=Retry(attempts=3))
    to = Asked(target=plan.target, body=b"{}", new_answer=lambda _: WholeAnswer("p"))
    route = Route(
        deployment=plan,
        operation="chat",
        stream=False,
        trace=None,
        secret=lambda _: None,
        cleaned=str,
        asked=to,
    )

    async def play() -> list[int]:
        executor, seen = Executor(Pools(Outbox()), rng=random.Random(1)), []
        now = time.perf_counter()
        for _ in range(STREAK_MAX if limited_s is not None else 0):
            executor.places.of(plan.target)[0].failed(False, "rate_limited", now - (limited_s or 0.0))
        for call in (
            executor.aside(Dispatched(started=now), route, deadline=now + 60.0),
            executor.run(Dispatched(started=now), route),
        ):
            before = provider.stats().requests
            with pytest.raises(UpstreamRefused):
                await call
            seen.append(provider.stats().requests - before)
        executor.close()
        return seen

    assert uvloop.run(play()) == [elsewhere_n, 3]
