"""Answers given again: to whom, for how long, in which form, and what is never kept."""

from __future__ import annotations

import json
import socket
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4

import httpx2
import msgspec
import pytest

from airboss.domain.plan import Caching, Limits, Retry, Timeouts
from airboss.domain.ports import ApiKey
from airboss.domain.release import Policy
from airboss.governance.keys import hash_key
from airboss.store.answers import SqliteAnswers
from airboss.testing import FakeProvider, ScriptStep
from tests.support.fake import held
from tests.support.gateway import KEY, PATIENT, PRICE, Gateway, deployment
from tests.support.said_upstream import said_upstream
from tests.support.wait import until

OTHER = "ab_" + "o" * 43
HEIR = "ab_" + "h" * 43
"""Of a key that has the name of one that was revoked."""
CACHE = Caching(ttl_s=600)


def worker(url: str, root: Path) -> Gateway:
    """A worker whose deployments keep answers, each in its way."""
    keys = tuple(
        ApiKey(name=name, sha256=hash_key(secret), created_at=datetime.now(UTC))
        for name, secret in (("app", KEY), ("other", OTHER))
    )
    keys += (msgspec.structs.replace(keys[0], sha256=hash_key(HEIR), owner="app later"),)
    plain = deployment(url, cache=CACHE, price=PRICE, retry=Retry(attempts=2), continuation="off")

    def screened(name: str, action: Any) -> Any:
        policy = Policy(pii=(("email", action),), detectors="1")
        return msgspec.structs.replace(plain, name=name, aliases=(), policy=policy)

    small = msgspec.structs.replace(plain, name="small", aliases=(), cache=Caching(entries_max=2))
    short = msgspec.structs.replace(plain, name="short", aliases=(), cache=Caching(ttl_s=1))
    off = msgspec.structs.replace(plain, name="off", aliases=(), cache=None)
    plans = [plain, screened("masks", "mask"), screened("tokenizes", "tokenize"), small, short, off]
    return Gateway(root, *plans, keys=keys)


@pytest.fixture(scope="module")
def shared(fake_process: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One for the module."""
    with worker(fake_process.url, tmp_path_factory.mktemp("cache")) as running:
        yield running


@pytest.fixture
def gateway(shared: Gateway, provider: FakeProvider) -> Gateway:
    """The module's worker, which has kept nothing yet."""
    last = uuid4().hex
    shared.chat(last, user=last)
    is_written(shared, last)  # and so are those of the test before: they are written in order
    with closing(sqlite3.connect(shared.journal.parent / "cache.db")) as file, file:
        file.executescript("delete from answers; delete from totals; delete from forgotten;")
    provider.reset()
    return shared


def is_written(gateway: Gateway, user: str) -> None:
    """Wait until an answer to a user's question lies in the file."""
    asked = "select count(*) from answers where user = ?", (sha256(user.encode()).digest(),)
    with closing(sqlite3.connect(gateway.journal.parent / "cache.db")) as file:
        until(lambda: file.execute(*asked).fetchone()[0] == 1)


@pytest.fixture
def own(provider: FakeProvider, own_root: Path) -> Iterator[Gateway]:
    """A worker of the test's own."""
    with worker(provider.url, own_root) as running:
        yield running


def kept(gateway: Gateway) -> int:
    """How many answers lie in the file."""
    with closing(sqlite3.connect(gateway.journal.parent / "cache.db")) as file, file:
        return int(file.execute("select count(*) from answers").fetchone()[0])


def state(answer: httpx2.Response) -> str | None:
    """What the answer says of the cache."""
    assert answer.status_code == 200, answer.text
    return answer.headers.get("x-airboss-cache")


def text_of(answer: httpx2.Response) -> str:
    """What an answer says, streamed or not."""
    if answer.headers["content-type"].startswith("application/json"):
        return answer.json()["choices"][0]["message"]["content"]
    chunks = [
        json.loads(e.removeprefix("data: ")) for e in answer.text.split("\n\n") if e.startswith("data: {")
    ]
    assert answer.text.endswith("data: [DONE]\n\n")
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])


@pytest.mark.parametrize("second", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("first", [False, True], ids=["whole", "stream"])
def test_the_same_is_answered_once(
    gateway: Gateway, provider: FakeProvider, first: bool, second: bool
) -> None:
    """However it is asked and whoever the user is: the answer comes again, in the form asked for, costs
    nothing, and its record says so. The provider is not asked."""
    one = gateway.chat("hello", stream=first, user="anna", metadata={"session_id": "1"}, temperature=1)
    assert state(one) == "miss"
    two = gateway.chat("hello", stream=second, user="bert", temperature=1.0)
    assert state(two) == "hit"
    assert text_of(one) == text_of(two)
    assert provider.stats().requests == 1
    was, is_ = (gateway.closed(each.headers["x-request-id"]) for each in (one, two))
    assert (was["cache"], is_["cache"]) == ("miss", "hit")
    assert was["cost_usd"] > 0
    assert (is_["status"], is_["cost_usd"], is_["attempts"], is_["usage_estimated"]) == ("ok", 0, [], False)
    assert (is_["input_tokens"], is_["output_tokens"]) == (0, 0)
    assert is_["finish_reason"] == "stop"
    assert is_["output_chars"] == was["output_chars"] == len(text_of(two))
    assert is_["response"]["choices"][0]["message"]["content"] == text_of(two)
    if not second:
        assert two.headers["x-airboss-cost-usd"] == "0"
        usage = two.json()["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (
            was["input_tokens"],
            was["output_tokens"],
        )


def test_a_stream_from_the_cache_has_usage_where_it_is_asked_for(gateway: Gateway) -> None:
    """As any stream."""
    gateway.chat("hello", stream=True)
    until(lambda: kept(gateway) == 1)
    assert "prompt_tokens" not in gateway.chat("hello", stream=True).text
    assert '"usage":{' in gateway.chat("hello", stream=True, stream_options={"include_usage": True}).text


@pytest.mark.parametrize(
    "change",
    [
        {"messages": [{"role": "user", "content": "hello "}]},
        {"messages": [{"role": "system", "content": "hello"}]},
        {"temperature": 0.5},
        {"max_tokens": 99},
        {"seed": 1},
        {"n": 2},
        {"unknown": 1},
    ],
    ids=str,
)
def test_another_question_is_another(gateway: Gateway, provider: FakeProvider, change: Any) -> None:
    """Whatever shapes an answer makes it another; what nobody knows may."""
    gateway.chat("hello")
    until(lambda: kept(gateway) == 1)
    assert state(gateway.chat("hello", **change)) == "miss"
    assert provider.stats().requests == 2


def test_order_and_space_are_no_difference(gateway: Gateway) -> None:
    """JSON that means the same asks the same."""
    gateway.chat("hello", temperature=0.5)
    until(lambda: kept(gateway) == 1)
    body = '{"temperature": 0.50,"user":"x", "messages":[{"content":"hell\\u006f","role":"user"}],'
    body += '"model":"assistant","seed":null}'
    with gateway.client() as client:
        assert state(client.post("/v1/chat/completions", content=body)) == "hit"


def test_properties_of_a_schema_have_an_order(gateway: Gateway) -> None:
    """Models write them in it; of all else there is none."""
    for names, expected in (("ab", "miss"), ("ba", "miss"), ("ab", "hit")):
        schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}}
        tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
        assert state(gateway.chat("hello", tools=[tool])) == expected


def test_no_key_sees_what_another_asked(own: Gateway, provider: FakeProvider) -> None:
    """Nor does another deployment, nor the one release after the other."""
    own.chat("hello")
    until(lambda: kept(own) == 1)
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
    for secret in (OTHER, HEIR):
        theirs = {"authorization": f"Bearer {secret}"}
        assert state(httpx2.post(f"{own.url}/v1/chat/completions", json=body, headers=theirs)) == "miss"
    assert state(own.chat("hello", model="small")) == "miss"
    assert state(own.chat("hello", model="off")) is None
    again = deployment(provider.url, cache=CACHE)
    release = msgspec.structs.replace(again.stable, digest="e" * 64)
    own.publish(msgspec.structs.replace(again, stable=release))
    until(lambda: own.chat("x").headers["x-airboss-release"] == "e" * 64)
    assert state(own.chat("hello")) == "miss"


@pytest.mark.parametrize(
    "behaviour",
    ["500", "context-length", "content-filter-finish", "cut-reset", "tool-call", "error-200"],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_is_no_whole_answer_is_not_kept(
    gateway: Gateway, provider: FakeProvider, behaviour: str, stream: bool
) -> None:
    """Errors, what a filter or the end of tokens cut, and calls of tools, which are for now."""
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    provider.script(ScriptStep(behaviour=behaviour, forever=True))
    gateway.chat("hello", stream=stream, tools=tools)
    provider.script("ok")
    assert state(gateway.chat("hello", stream=stream, tools=tools)) == "miss"


def test_cut_by_length_is_not_kept(gateway: Gateway, provider: FakeProvider) -> None:
    """More tokens would have said more."""
    gateway.chat('fake:{"words": 370000}', max_tokens=3)
    assert state(gateway.chat('fake:{"words": 370000}', max_tokens=3)) == "miss"


def test_however_events_end_they_are_kept(gateway: Gateway, provider: FakeProvider) -> None:
    """Some servers end lines with CRLF; the stream ends well, and comes again."""
    provider.script("sse-crlf")
    first = gateway.chat("hello", stream=True)
    assert first.text.endswith("data: [DONE]\n\n")
    again = gateway.chat("hello", stream=True)
    assert state(again) == "hit"
    said = [json.loads(line[6:]) for line in first.text.splitlines() if line.startswith("data: {")]
    deltas = [each["choices"][0]["delta"].get("content") or "" for each in said if each["choices"]]
    assert "".join(deltas) == text_of(again)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_odd_shapes_are_not_kept(own_root: Path, stream: bool) -> None:
    """A content in parts (Mistral's), an index that is none, a choice that is nothing: the client has them as
    they come, and whoever asks the same asks for himself."""
    said = {"content": [{"type": "text", "text": "hi"}]}
    choices = [
        {"index": None, "delta" if stream else "message": {"content": "x"}},
        {"index": 0, "delta" if stream else "message": said, "finish_reason": "stop"},
    ]
    with said_upstream() as upstream, Gateway(own_root, deployment(upstream.url, cache=CACHE)) as gateway:
        upstream.body = {"choices": [*choices, None]}
        upstream.events = [json.dumps({"choices": [each]}) for each in choices] if stream else []
        for _ in range(2):
            assert state(gateway.chat("hello", stream=stream)) == "miss"
        assert len(upstream.seen) == 2


def test_cache_control_is_heard(gateway: Gateway, provider: FakeProvider) -> None:
    """`no-store` neither looks nor keeps; `no-cache` asks anew, and what comes is kept."""
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}

    def ask(control: str) -> httpx2.Response:
        with gateway.client() as client:
            return client.post("/v1/chat/completions", json=body, headers={"cache-control": control})

    assert state(ask("no-store")) == "bypass"
    assert state(gateway.chat("hello")) == "miss"
    until(lambda: kept(gateway) == 1)
    answer = ask("No-Store, max-age=0")
    assert state(answer) == "bypass"
    assert gateway.closed(answer.headers["x-request-id"])["cache"] == "bypass"
    provider.script("ok;text=newer")
    assert text_of(ask("no-cache")) == "newer"
    until(lambda: text_of(gateway.chat("hello")) == "newer")
    assert state(gateway.chat("hello")) == "hit"


def test_a_stampede_asks_once(gateway: Gateway, provider: FakeProvider) -> None:
    """Twenty at once: one asks, the others have its answer, each in its own form."""
    with ThreadPoolExecutor(20) as pool:
        asked = [
            pool.submit(gateway.chat, 'fake:{"words": 30, "tokens_per_s": 60}', stream=n % 2 == 0)
            for n in range(20)
        ]
        answers = [each.result() for each in asked]
    assert provider.stats().requests == 1
    assert sorted(state(each) or "" for each in answers) == ["hit"] * 19 + ["miss"]
    assert len({text_of(each) for each in answers}) == 1


def test_a_stampede_ends_at_a_caller_s_error(gateway: Gateway, provider: FakeProvider) -> None:
    """Nobody gets the 400 of another, and one after the other tries: the second's answer is all others'."""
    provider.script("context-length;delay_s=0.5")
    with ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(gateway.chat, "hello") for _ in range(5)]
        answers = [each.result().status_code for each in asked]
    assert sorted(answers) == [200, 200, 200, 200, 400]
    assert provider.stats().requests == 2


def test_a_first_that_leaves_holds_nobody_up(gateway: Gateway, provider: FakeProvider) -> None:
    """Its client goes; of those who waited one asks, and the others have its answer."""
    provider.script("silence")
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
    goes = Event()
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(gateway.leave, "/v1/chat/completions", body, once=goes.is_set)
        until(lambda: provider.stats().requests == 1)
        others = [pool.submit(gateway.chat, "hello", stream=n % 2 == 0) for n in range(8)]
        goes.wait(0.5)  # until they wait too, on most machines
        goes.set()
        assert sorted(state(each.result()) or "" for each in others) == ["hit"] * 7 + ["miss"]
        first.result()
    assert provider.stats().requests == 2


def test_a_first_that_leaves_while_its_limits_are_asked_holds_nobody_up(
    own_root: Path, provider: FakeProvider
) -> None:
    """It has no record yet; of those who waited one asks all the same, and the others have its answer."""
    limited = deployment(provider.url, cache=CACHE, limits=Limits(tokens_per_minute=1_000_000))
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
    goes = Event()
    with (
        Gateway(own_root, limited, process="tests.support.slow_counts_process") as gateway,
        ThreadPoolExecutor(9) as pool,
    ):
        first = pool.submit(gateway.leave, "/v1/chat/completions", body, once=goes.is_set)
        until((own_root / "asked").exists)
        others = [pool.submit(gateway.chat, "hello", stream=n % 2 == 0) for n in range(8)]
        goes.wait(0.5)  # until they wait too, on most machines
        goes.set()
        assert sorted(state(each.result()) or "" for each in others) == ["hit"] * 7 + ["miss"]
        first.result()
    assert provider.stats().requests == 1


def test_white_space_is_not_kept(gateway: Gateway, provider: FakeProvider) -> None:
    """It says as little as an empty answer."""
    blank = 'fake:{"text": " \\n"}'
    for stream in (False, True):
        assert state(gateway.chat(blank, stream=stream)) == "miss"
    assert provider.stats().requests == 2


def test_what_a_policy_takes_out_is_not_in_the_cache(gateway: Gateway, provider: FakeProvider) -> None:
    """Masked requests are one where they differ by what is masked. Where values go back into the answer
    nothing is shared."""
    one = gateway.chat("I am anna@example.com", model="masks")
    until(lambda: kept(gateway) == 1)
    two = gateway.chat("I am bert@example.com", model="masks")
    assert (state(one), state(two)) == ("miss", "hit")
    assert "anna" not in two.text
    file = b"".join(p.read_bytes() for p in gateway.journal.parent.glob("cache.db*"))
    assert b"anna@example.com" not in file
    for who in ("anna", "bert"):
        assert state(gateway.chat(f"I am {who}@example.com", model="tokenizes")) == "bypass"
    assert kept(gateway) == 1


def test_a_restart_and_a_broken_file(own: Gateway) -> None:
    """Answers outlive the worker; a file that is spoilt is begun anew, and nobody notices."""
    own.chat("hello")
    until(lambda: kept(own) == 1)
    own.process.kill()
    own.process.wait()
    own.restart()
    assert state(own.chat("hello")) == "hit"
    own.process.kill()
    own.process.wait()
    for path in own.journal.parent.glob("cache.db*"):
        path.write_bytes(b"spoilt" * 1000)
    own.restart()
    assert state(own.chat("hello")) == "miss"
    until(lambda: state(own.chat("hello")) == "hit")


def test_a_person_who_is_forgotten_is_not_in_the_cache(gateway: Gateway, provider: FakeProvider) -> None:
    """What their calls put there goes, also what a call under way would put there after."""
    path = gateway.journal.parent / "cache.db"
    gateway.chat("from anna", user="anna")
    gateway.chat("from bert", user="bert")
    until(lambda: kept(gateway) == 2)
    provider.script("ok;text=late")
    answers = SqliteAnswers(path)
    with ThreadPoolExecutor(1) as pool:
        before = len(gateway.frames()[0])
        with held(provider):
            late = pool.submit(gateway.chat, "another of anna's", user="anna")
            until(lambda: len(gateway.frames()[0]) > before)
            assert answers.forget("anna", datetime.now(UTC).timestamp()) == 1
        assert text_of(late.result()) == "late"
    answers.close()
    assert state(gateway.chat("from bert")) == "hit"
    assert state(gateway.chat("from anna")) == "miss"
    # A moment longer it is on its way to where it is refused.
    until(lambda: state(gateway.chat("another of anna's")) == "miss")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", {"input": "hello"}),
        ("/v1/messages", {"max_tokens": 99, "messages": [{"role": "user", "content": "hey"}]}),
    ],
)
def test_other_dialects_share_it(
    gateway: Gateway, provider: FakeProvider, path: str, body: dict[str, Any]
) -> None:
    """`/v1/responses` and `/v1/messages` look up and keep what they say as chat."""
    with gateway.client() as client:
        answers = [client.post(path, json={"model": "gpt-4o", **body, **more}) for more in ({}, {}, STREAMED)]
    assert [state(each) for each in answers] == ["miss", "hit", "hit"]
    assert "response.completed" in answers[-1].text or "message_stop" in answers[-1].text
    assert provider.stats().requests == 1


STREAMED = {"stream": True}


def test_vectors_are_kept_too(gateway: Gateway, provider: FakeProvider) -> None:
    """Embeddings of the same text are the same."""
    body = {"model": "gpt-4o", "input": "hello"}
    with gateway.client() as client:
        one = client.post("/v1/embeddings", json=body)
        assert state(client.post("/v1/embeddings", json=body)) == "hit"
        assert client.post("/v1/embeddings", json=body).json()["data"] == one.json()["data"]


def test_a_stream_from_the_cache_that_nobody_reads_ends(own: Gateway, provider: FakeProvider) -> None:
    """At the call's total_s: what the call holds is not held for ever."""
    plan = deployment(provider.url, cache=CACHE, timeout=PATIENT)
    own.publish(plan)
    until(lambda: own.chat("x", model="small").status_code == 404)
    assert own.chat(MANY).status_code == 200
    until(lambda: state(own.chat(MANY)) == "hit")
    own.publish(msgspec.structs.replace(plan, aliases=("gpt-4o", "new"), timeout=Timeouts(total_s=2.0)))
    until(lambda: own.chat("x", model="new").status_code == 200)
    with socket.socket() as client:
        began = begin(own, client)
        opened, _ = own.frames()
        mine = max(each["id"] for each in opened.values() if each["stream"])
        end = own.closed(mine)
        assert (end["status"], end["error_type"]) == ("error", "timeout_total")
        while piece := client.recv(1 << 20):
            began += piece
            if b"total_s" in piece:
                break
    assert b"[DONE]" not in began
    assert began.count(b"HTTP/1.1") == 1


MANY = 'fake:{"words": 370000}'


def begin(gateway: Gateway, client: socket.socket) -> bytes:
    """The beginning of the stream of many words, of which nobody reads more."""
    body = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": MANY}]}
    raw = json.dumps(body).encode()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(60)
    client.connect(("127.0.0.1", gateway.port))
    client.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\n"
        b"content-length: %d\r\n\r\n%s" % (KEY.encode(), len(raw), raw)
    )
    began = client.recv(100)
    assert began.startswith(b"HTTP/1.1 200"), began
    return began


def test_a_stream_from_the_cache_waits_for_its_reader(own: Gateway, provider: FakeProvider) -> None:
    """It comes in pieces, as fast as it is read, and its record is not closed before; who leaves meanwhile
    has left."""
    own.chat(MANY)
    until(lambda: kept(own) == 1)
    with socket.socket() as client:
        begin(own, client)
        for n in range(3):  # others are served meanwhile
            assert own.chat(f"other {n}").status_code == 200
        opened, closed = own.frames()
        mine = max(each["id"] for each in opened.values() if each["stream"])
        assert mine not in closed
    end = own.closed(mine)
    assert (end["status"], end["error_type"], end["cache"]) == ("cancelled", "client_disconnected", "hit")
    whole = own.chat(MANY, stream=True)
    assert state(whole) == "hit"
    assert len(text_of(whole).split()) == 370_000
    assert own.closed(whole.headers["x-request-id"])["status"] == "ok"
    assert provider.stats().requests == 4
