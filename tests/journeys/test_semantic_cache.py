"""A cache that compares meanings, with a real embedding model and a fake model that writes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx2
import pytest

from airboss.testing import FakeProvider
from tests.support.airboss import Airboss
from tests.support.engine import EMBEDDER_SHA256, EMBEDDER_SOURCE, embedder_files
from tests.support.wait import hold_still, until

CONFIG = """
[providers.local]
kind = "local"

[providers.fake]
kind = "openai-compatible"
base_url = "{url}"

[models.minilm]
provider = "local"
model = "{source}"
sha256 = "{sha256}"
threads = 1

[models.writer]
provider = "fake"
model = "up"
price = {{ input_usd_per_mtok = 1, output_usd_per_mtok = 2 }}

[releases.prompted]
model = "writer"
prompt = "You are kind."

[deployments.assistant]
model = "writer"
cache = {{ ttl_s = 600, semantic = {{ model = "minilm" }} }}

[deployments.near]
model = "writer"
cache = {{ ttl_s = 600, semantic = {{ model = "minilm", threshold = 0.8 }} }}

[deployments.prompted]
release = "prompted"
cache = {{ ttl_s = 600, semantic = {{ model = "minilm" }} }}

[deployments.plain]
model = "writer"
"""
ASKED = "How do I reset my password?"
AGAIN = "How can I reset my password?"


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeProvider]:
    """The model that writes."""
    with FakeProvider() as running:
        yield running


@pytest.fixture(scope="module")
def airboss(fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airboss]:
    """Airboss with the embedding model's files at hand, its engine ready."""
    weights, tokenizer = embedder_files()
    config = CONFIG.format(url=fake.url, source=EMBEDDER_SOURCE, sha256=EMBEDDER_SHA256)
    made = Airboss(tmp_path_factory.mktemp("semantic") / "a", config, weights=weights)
    (made.data / "weights" / tokenizer.name).symlink_to(tokenizer)
    with made as running:
        until(lambda: replica(running)["state"] == "ready", timeout_s=60)
        keep(running, "What does a warm engine say?")
        yield running


def replica(airboss: Airboss) -> dict[str, Any]:
    """The one engine."""
    found: dict[str, Any] = json.loads(airboss.verb("replica", "list", "--json"))
    return found


def state(answer: httpx2.Response) -> str:
    """What the answer says of the cache."""
    assert answer.status_code == 200, answer.text
    return str(answer.headers["x-airboss-cache"])


def kept(airboss: Airboss, text: str) -> bool:
    """Whether a question can be compared. An answer is kept when its caller has it already: of how many there
    are there may be one more at any time."""
    with closing(sqlite3.connect(airboss.data / "cache.db")) as file:
        made = file.execute("select count(*) from sqlite_master where name = 'vectors'").fetchone()[0]
        rows = file.execute("select text from vectors").fetchall() if made else []
    return (text,) in rows


def ask(
    airboss: Airboss, text: str, *, key: str | None = None, control: str = "", **body: Any
) -> httpx2.Response:
    """One question."""
    headers = {"authorization": f"Bearer {key or airboss.ready['api_key']}", "cache-control": control}
    messages = body.pop("messages", [{"role": "user", "content": text}])
    with airboss.client() as client:
        said = {"model": "assistant", "messages": messages} | body
        return client.post("/chat/completions", json=said, headers=headers)


def keep(airboss: Airboss, text: str, **body: Any) -> httpx2.Response:
    """Ask a question until its answer and its vector are kept: on a busy machine that may come too late."""
    return kept_of(airboss, text, lambda: ask(airboss, text, control="no-cache", **body))


def kept_of(airboss: Airboss, text: str, ask_it: Callable[[], httpx2.Response]) -> httpx2.Response:
    """As `keep`, of a call of any dialect."""

    def asked() -> httpx2.Response | None:
        answer = ask_it()
        try:
            until(lambda: kept(airboss, text), timeout_s=1)
        except AssertionError:
            return None
        return answer

    return until(asked, timeout_s=60)


def again(airboss: Airboss, text: str, **body: Any) -> httpx2.Response:
    """Ask, until a question is compared in time: a space at its end makes it another of the same meaning."""
    return in_time(airboss, text, lambda text: ask(airboss, text, **body))


def in_time(airboss: Airboss, text: str, ask_it: Callable[[str], httpx2.Response]) -> httpx2.Response:
    """As `again`, of a call of any dialect."""

    def asked() -> httpx2.Response | None:
        nonlocal text
        text += " "
        before = compared(airboss)["failed"]
        answer = ask_it(text)
        return answer if compared(airboss)["failed"] == before else None

    return until(asked, timeout_s=60)


def compared(airboss: Airboss) -> Counter[str]:
    """How comparisons went, by the metrics of all deployments."""
    with airboss.client() as client:
        text = client.get(airboss.ready["base_url"].removesuffix("/v1") + "/metrics").text
    found: Counter[str] = Counter()
    for line in text.splitlines():
        if line.startswith("airboss_cache_comparisons_total{"):
            found[line.partition('outcome="')[2].partition('"')[0]] += int(float(line.split()[-1]))
    return found


def asked_too(airboss: Airboss, fake: FakeProvider) -> int:
    """How often the model that writes was asked, but for questions that were compared too late."""
    return fake.stats().requests - compared(airboss)["failed"]


def record(airboss: Airboss, answer: httpx2.Response) -> dict[str, Any]:
    """The call's record."""
    airboss.settled()
    return next(each for each in airboss.records() if each["id"] == answer.headers["x-request-id"])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_means_the_same_has_the_same_answer(airboss: Airboss, fake: FakeProvider, stream: bool) -> None:
    """In the form asked for; its record says so, and has what the comparison took."""
    text = f"What is the capital of {'Peru' if stream else 'Chile'}?"
    one = keep(airboss, text)
    before = asked_too(airboss, fake)
    two = again(airboss, text.replace("What is", "What's"), stream=stream)
    assert state(two).startswith("hit; cosine=0.9")
    assert asked_too(airboss, fake) == before
    said = one.json()["choices"][0]["message"]["content"]
    if stream:
        assert two.text.endswith("data: [DONE]\n\n")
        pieces = [json.loads(e[6:]) for e in two.text.split("\n\n") if e.startswith("data: {")]
        assert "".join(e["choices"][0]["delta"].get("content") or "" for e in pieces) == said
    else:
        assert two.json()["choices"][0]["message"]["content"] == said
        assert float(two.headers["x-airboss-cost-usd"]) == 0
    was, is_ = record(airboss, one), record(airboss, two)
    assert (was["cache"], is_["cache"]) == ("miss", "semantic")
    assert [each["why"] for each in was["attempts"]] == ["cache", "first"]
    assert [(each["why"], each["model"]) for each in is_["attempts"]] == [("cache", "minilm")]
    assert (is_["cost_usd"], is_["output_tokens"]) == (0, 0)
    assert is_["input_tokens"] == is_["attempts"][0]["usage"]["input_tokens"] > 0
    assert was["cost_usd"] == was["attempts"][1]["cost_usd"] > 0


def test_other_dialects_share_it(airboss: Airboss, fake: FakeProvider) -> None:
    """What is said as a Response is compared as chat, with what was said as one."""
    with airboss.client() as client:

        def asked(text: str, control: str = "", **body: Any) -> httpx2.Response:
            said = {"model": "assistant", "input": text, "store": False, **body}
            return client.post("/responses", json=said, headers={"cache-control": control})

        text = "What is the capital of Laos?"
        assert state(asked(text)) == "miss"
        kept_of(airboss, text, lambda: asked(text, "no-cache"))
        before = asked_too(airboss, fake)
        two = in_time(airboss, "What's the capital of Laos?", lambda text: asked(text, stream=True))
        assert state(two).startswith("hit; cosine=0.9")
        assert "response.completed" in two.text
        assert asked_too(airboss, fake) == before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How much is a ticket for 2 people?", "How much is a ticket for 3 people?"),
        ("Does the warranty cover water damage?", "Does the warranty not cover water damage?"),
        ("Is the museum in Lyon open on Monday?", "Is the museum in Lille open on Monday?"),
        ("How do I enable the firewall?", "How do I disable the firewall?"),
        ("Can a lion beat a tiger?", "Can a tiger beat a lion?"),
        ("How do I convert a list to a tuple?", "How do I convert a tuple into a list?"),
        ("What does 'affect' mean?", "What does 'effect' mean?"),
    ],
    ids=["number", "negation", "name", "opposite", "order", "direction", "quoted"],
)
def test_near_is_not_the_same(airboss: Airboss, one: str, other: str) -> None:
    """However near two questions are: where a guarded word differs, each has an answer of its own."""
    keep(airboss, one, model="near")
    before = compared(airboss)
    assert state(again(airboss, other, model="near")) == "miss"
    assert compared(airboss)["unlike"] == before["unlike"] + 1, "it was not even near"


def test_all_else_must_be_equal(airboss: Airboss) -> None:
    """Another key, person, release, system prompt, parameter or earlier turn: none has the answer."""
    keep(airboss, ASKED, user="anna", temperature=0.5)
    assert state(again(airboss, AGAIN, user="anna", temperature=0.5)).startswith("hit; ")
    key = json.loads(airboss.verb("keys", "create", "other", "--json"))["key"]
    until(lambda: ask(airboss, "hi", key=key, model="plain").status_code == 200)
    question = {"role": "user", "content": AGAIN}
    hello = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    others: list[dict[str, Any]] = [
        {"key": key},
        {"user": "bert"},
        {"model": "prompted"},
        {"messages": [{"role": "system", "content": "Be brief."}, question]},
        {"messages": [*hello, question]},
        {"messages": [{"role": "assistant", "content": AGAIN}]},
        {"temperature": 0.6},
        {"max_tokens": 50},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
    ]
    for other in others:
        assert state(again(airboss, AGAIN, **{"user": "anna", "temperature": 0.5} | other)) == "miss", other
    keep(airboss, "What is the capital of Cuba?", user="anna")
    assert state(again(airboss, "What's the capital of Cuba?")) == "miss", "nobody's, and anna's"


def test_what_is_not_compared(airboss: Airboss) -> None:
    """Long texts, pictures, and letters that the rules cannot read."""
    before = sum(compared(airboss).values())
    long = "Tell me all about my password. " * 10
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    parts = [{"role": "user", "content": [{"type": "text", "text": ASKED}, picture]}]
    others: list[tuple[str, dict[str, Any]]] = [
        (long, {}),
        ("", {"messages": parts}),
        ("\u5982\u4f55\u91cd\u7f6e\u5bc6\u7801", {}),
    ]
    for text, body in others:
        assert state(ask(airboss, text, **body)) == "miss"
    assert state(ask(airboss, ASKED, control="no-store")) == "bypass"
    assert sum(compared(airboss).values()) == before


def test_a_person_who_is_forgotten(airboss: Airboss) -> None:
    """Their questions and vectors go with their answers."""
    keep(airboss, "How do I close my account?", user="carl")
    airboss.verb("erase", "--user", "carl", "--yes")
    until(lambda: not kept(airboss, "How do I close my account?"))
    assert state(again(airboss, "How can I close my account?", user="carl")) == "miss"
    file = b"".join(path.read_bytes() for path in airboss.data.glob("cache.db*"))
    assert b"How do I close my account?" not in file


def test_without_its_engine_it_misses(airboss: Airboss) -> None:
    """Stopped, so that it answers nobody, or killed: calls are answered within the time that a vector may
    take, as if there were no such cache."""
    keep(airboss, "Where is my order?")
    engine, up = replica(airboss)["pid"], airboss.process
    assert up is not None
    hold_still(engine)
    before = compared(airboss)["failed"]
    late = ask(airboss, "Where's my order?")
    hold_still(up.pid)  # who would start it again at once
    try:
        os.kill(engine, signal.SIGKILL)
        dead = ask(airboss, "Where is my order, please?")
    finally:
        up.send_signal(signal.SIGCONT)
    assert (state(late), state(dead)) == ("miss", "miss")
    assert compared(airboss)["failed"] == before + 2
    was = record(airboss, late)
    assert (was["status"], was["error_type"]) == ("ok", None)
    assert [each["error_type"] for each in was["attempts"]] == ["upstream_timeout", None]
    assert 140 < was["attempts"][0]["latency_ms"] < 30_000  # its patience is 150 ms; a call's is minutes
