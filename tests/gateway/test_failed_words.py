"""What providers said in attempts that failed is in the record of the call, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from airboss.dialects.failed_attempts import WORDS_CHARS_MAX, attempt_words
from airboss.domain.plan import Caching, Retry
from airboss.governance.policies import policy_of
from airboss.providers.cut import CUT
from airboss.testing import Behaviour, FakeProvider
from tests.gateway.test_fallbacks import other, with_fallbacks
from tests.support.gateway import PATIENT, Gateway, deployment
from tests.support.said_upstream import SaidUpstream
from tests.support.spoken import PATHS, recorded_text, say
from tests.support.wait import until

SECRET = "sk-provider-secret-0123456789"
WORDS = "Too many words of yours in this minute"
SAID = "The backup answers."
CUT_AS_READ = [(status, before) for status in (401, 502) for before in (200 - len(SECRET) + 1, 180, 196)]
"""The status of a page that is no JSON, and how much of it comes before the provider's key."""


@pytest.fixture(scope="module")
def backup() -> Iterator[FakeProvider]:
    """Another provider, which is well."""
    with FakeProvider(default=f"ok;text={SAID}") as running:
        yield running


@pytest.fixture(scope="module")
def worker(
    fake_process: FakeProvider,
    backup: FakeProvider,
    upstream: SaidUpstream,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """A worker whose deployments fall back, with policies and without."""
    file = tmp_path_factory.mktemp("secret") / "key"
    file.write_text(SECRET)
    places: dict[str, dict[str, Any]] = {
        "plain": {},
        "mask": {"policy": policy_of("mask", None)},
        "tokenize": {"policy": policy_of("tokenize", None)},
        "observe": {"policy": policy_of("observe", None)},
    }
    made = [
        deployment(
            fake_process.url,
            name=name,
            aliases=(),
            api_key_ref=f"file:{file}",
            timeout=PATIENT,
            continuation="off",
            retry=Retry(attempts=1),
            **changes,
        )
        for name, changes in places.items()
    ]
    plans = [with_fallbacks(each, other(backup.url, continuation="off")) for each in made]
    retried = deployment(
        fake_process.url, name="retried", aliases=(), retry=Retry(attempts=3), cache=Caching(ttl_s=600)
    )
    alone = [
        deployment(
            upstream.url,
            name=f"alone-{status}-{before}",
            aliases=(),
            provider=f"p-{status}-{before}",  # no failure before it speaks against that
            api_key_ref=f"file:{file}",
            retry=Retry(attempts=1),
        )
        for status, before in CUT_AS_READ
    ]
    alone += [
        deployment(
            upstream.url,
            name=f"mask-{status}",
            aliases=(),
            provider=f"m-{status}",
            policy=policy_of("mask", None),
        )
        for status in (401, 502)
    ]
    plans += alone
    plans += [
        with_fallbacks(msgspec.structs.replace(each, name=f"not-{each.name}"), other(backup.url))
        for each in alone
    ]
    with Gateway(tmp_path_factory.mktemp("failed"), *plans, retried) as running:
        yield running


@pytest.fixture
def gateway(worker: Gateway, provider: FakeProvider, backup: FakeProvider) -> Gateway:
    """The module's worker, both providers as they were when they began."""
    backup.reset()
    return worker


def fails(provider: FakeProvider, message: str) -> None:
    """Have it refuse the next call in these words."""
    said = Behaviour(fault="status", status=429, message=message, code="rate_limit_exceeded")
    provider.script(said)


def response_of(gateway: Gateway, answer: httpx2.Response) -> Any:
    """What is recorded of it."""
    return gateway.closed(answer.headers["x-request-id"])["response"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("dialect", ["chat", *sorted(PATHS)])
def test_the_words_are_recorded_and_the_client_never_has_them(
    gateway: Gateway, provider: FakeProvider, dialect: str, stream: bool
) -> None:
    """In every dialect, streamed or whole; the answer beside them is as it was."""
    fails(provider, WORDS)
    if dialect == "chat":
        answer = gateway.chat(model="plain", stream=stream)
    else:
        answer = say(gateway, dialect, model="plain", stream=stream)
    assert answer.status_code == 200
    assert "failed_attempts" not in answer.text
    assert WORDS not in answer.text
    kept = response_of(gateway, answer)
    assert kept["failed_attempts"] == [{"attempt": 1, "message": WORDS}]
    said = kept["choices"][0]["message"]["content"] if dialect == "chat" else recorded_text(dialect, kept)
    assert said == SAID


def test_of_embeddings_too(gateway: Gateway, provider: FakeProvider) -> None:
    """Whose answers are numbers."""
    fails(provider, WORDS)
    with gateway.client() as client:
        answer = client.post("/v1/embeddings", json={"model": "plain", "input": "hi"})
    assert answer.status_code == 200
    assert "failed_attempts" not in answer.json()
    kept = response_of(gateway, answer)
    assert attempt_words(kept) == {1: WORDS}
    assert kept["data"]


def test_a_retry_has_them_as_well_by_the_number_of_the_attempt(
    gateway: Gateway, provider: FakeProvider
) -> None:
    """Each in its own words."""
    provider.script(
        Behaviour(fault="status", status=500, message="the first"),
        Behaviour(fault="status", status=503, message="the second"),
    )
    answer = gateway.chat("each by its number", model="retried")
    assert answer.status_code == 200
    words = attempt_words(response_of(gateway, answer))
    assert list(words) == [1, 2]
    assert words[1].endswith("answered 500: the first")
    assert words[2].endswith("is overloaded (503): the second")


def test_a_single_attempt_has_none(gateway: Gateway, provider: FakeProvider) -> None:
    """Neither one that answered, nor one that failed: its words are the call's own error."""
    assert "failed_attempts" not in response_of(gateway, gateway.chat(model="plain"))
    provider.script(Behaviour(fault="status", status=400, message="no such thing"))
    kept = response_of(gateway, gateway.chat(model="plain"))
    assert kept["error"]["message"] == "no such thing"
    assert "failed_attempts" not in kept


def test_where_all_fail_each_has_its_words(
    gateway: Gateway, provider: FakeProvider, backup: FakeProvider
) -> None:
    """The client is told the first one's, the record knows what the fallback said too."""
    fails(provider, WORDS)
    fails(backup, "I am out of money, too")
    answer = gateway.chat(model="plain")
    assert answer.json()["error"]["message"] == WORDS
    assert "too" not in answer.text
    kept = response_of(gateway, answer)
    assert kept["error"]["message"] == WORDS
    assert attempt_words(kept) == {1: WORDS, 2: "I am out of money, too"}


@pytest.mark.parametrize("before", [*range(WORDS_CHARS_MAX - len(SECRET) - 2, WORDS_CHARS_MAX + 3), 1990])
def test_no_half_of_a_secret_is_left_where_words_are_cut(
    gateway: Gateway, provider: FakeProvider, before: int
) -> None:
    """Wherever it stands: it is taken out before that."""
    fails(provider, "x" * before + SECRET + " and so on" * 100)
    kept = json.dumps(response_of(gateway, gateway.chat(model="plain")))
    assert "sk-" not in kept
    (words,) = attempt_words(json.loads(kept)).values()
    assert len(words) == WORDS_CHARS_MAX + len(CUT)


@pytest.mark.parametrize(("status", "before"), CUT_AS_READ)
def test_nor_where_what_is_no_json_is_cut_as_it_is_read(
    gateway: Gateway, upstream: SaidUpstream, before: int, status: int
) -> None:
    """A page of HTML, say: neither in the words nor in the error that the client is told."""
    upstream.reset()
    upstream.status, upstream.body = status, ("x" * before + SECRET + " and so on").encode()
    kept = json.dumps(response_of(gateway, gateway.chat(model=f"not-alone-{status}-{before}")))
    (words,) = attempt_words(json.loads(kept)).values()
    assert "xxx" in words
    assert "sk-" not in kept
    answer = gateway.chat(model=f"alone-{status}-{before}")
    assert answer.status_code == 502
    assert "sk-" not in answer.text
    assert "sk-" not in json.dumps(response_of(gateway, answer))


@pytest.mark.parametrize("action", ["mask", "tokenize"])
def test_what_policies_take_out_is_not_in_them(gateway: Gateway, provider: FakeProvider, action: str) -> None:
    """Also where it would be cut in two."""
    value = "jane.doe@example.com"
    for before in (0, WORDS_CHARS_MAX - 8):
        fails(provider, "x " * (before // 2) + value + " asked too much " * 10)
        answer = gateway.chat(f"I am {value}", model=action)
        assert answer.status_code == 200
        kept = json.dumps(response_of(gateway, answer)["failed_attempts"])
        assert "jane" not in kept
        assert "example" not in kept


@pytest.mark.parametrize("status", [401, 502])
def test_nor_a_half_of_it_where_what_is_no_json_is_cut(
    gateway: Gateway, upstream: SaidUpstream, status: int
) -> None:
    """Whatever is said after it: that the key is to be looked at, say."""
    upstream.reset()
    upstream.status, upstream.body = status, ("x " * 95 + "jane.doe@example.com").encode()
    for model in (f"mask-{status}", f"not-mask-{status}"):
        answer = gateway.chat("I am jane.doe@example.com", model=model)
        assert "jane" not in answer.text
        kept = json.dumps(response_of(gateway, answer))
        assert "x x" in kept
        assert "jane" not in kept


def test_what_is_only_looked_for_stays(gateway: Gateway, provider: FakeProvider) -> None:
    """As it does in bodies."""
    fails(provider, "jane.doe@example.com asked too much")
    kept = response_of(gateway, gateway.chat(model="observe"))
    assert attempt_words(kept) == {1: "jane.doe@example.com asked too much"}


def test_what_the_cache_gives_again_has_none(gateway: Gateway, provider: FakeProvider) -> None:
    """Nobody failed in that call."""
    provider.script(Behaviour(fault="status", status=500, message="not now"))
    first, again = [gateway.chat("what is kept?", model="retried") for _ in range(2)]
    caches = [gateway.closed(each.headers["x-request-id"])["cache"] for each in (first, again)]
    assert caches == ["miss", "hit"]
    assert attempt_words(response_of(gateway, first))
    assert "failed_attempts" not in response_of(gateway, again)
    assert again.json() == first.json()


def test_whose_client_leaves_keeps_them(
    gateway: Gateway, provider: FakeProvider, backup: FakeProvider
) -> None:
    """Where nothing of an answer had come they are all there is."""
    fails(provider, WORDS)
    backup.script("silence")
    body = {"model": "plain", "messages": [{"role": "user", "content": "hi"}]}
    gateway.leave("/v1/chat/completions", body, once=lambda: backup.stats().requests)

    def left() -> Any:
        return next((each for each in gateway.frames()[1].values() if each["status"] == "cancelled"), None)

    closed = until(left)
    assert closed["response"] == {"failed_attempts": [{"attempt": 1, "message": WORDS}]}


def test_where_bodies_are_not_kept_there_are_none(
    own_root: Path, provider: FakeProvider, backup: FakeProvider
) -> None:
    """They are part of the body."""
    plan = with_fallbacks(deployment(provider.url, retry=Retry(attempts=1)), other(backup.url))
    fails(provider, WORDS)
    with Gateway(own_root, plan, bodies=False) as worker:
        answer = worker.chat()
        assert answer.status_code == 200
        closed = worker.closed(answer.headers["x-request-id"])
        assert len(closed["attempts"]) == 2
        assert closed["response"] is None
        assert WORDS.encode() not in worker.journal_bytes()
