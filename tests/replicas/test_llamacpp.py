"""The engine as it really runs: a process of its own with the starter weights."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import httpx2
import pytest

from airboss.domain.errors import SetupError
from airboss.replicas.health import healthy, moving
from airboss.replicas.llamacpp import EngineShape, shape
from airboss.supervisor.procfs import cpu_s
from tests.support.engine import shallow_weights, starter_weights
from tests.support.ports import unused_port
from tests.support.wait import until

SCRIPT = """
import json, sys
from pathlib import Path
from airboss.domain.errors import SetupError
from airboss.replicas.llamacpp import serve
options = json.loads(sys.argv[1])
try:
    weights, *adapters = map(Path, [options.pop("weights"), *options.pop("adapters", ())])
    serve(weights=weights, adapters=adapters, **options)
except SetupError as error:
    sys.exit(str(error))
"""
ASK = [{"role": "user", "content": "Name three colours."}]
LONG = {
    "messages": [{"role": "user", "content": "Tell a long story."}],
    "max_tokens": 900,
    "logit_bias": [[2, -99]],
}


class Engine:
    """A running engine; `process` is its own."""

    def __init__(self, process: subprocess.Popen[str], url: str, ready_cpu_s: float) -> None:
        self.process = process
        self.url = url
        self.ready_cpu_s = ready_cpu_s
        # A connection for each request: the engine closes one 10 ms after a stream ends, unannounced,
        # and a request sent just then is lost.
        fresh = httpx2.Limits(max_keepalive_connections=0)
        self.client = httpx2.Client(base_url=url, timeout=60, trust_env=False, limits=fresh)

    def chat(self, **body: Any) -> dict[str, Any]:
        """One chat answer, which must be a 200."""
        answer = self.client.post("/v1/chat/completions", json={"messages": ASK, "max_tokens": 12} | body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def busy(self) -> int:
        """Slots at work."""
        return sum(slot["is_processing"] for slot in self.client.get("/slots").json())


def command(options: dict[str, Any]) -> list[str]:
    """The command that serves with these options."""
    return [sys.executable, "-c", SCRIPT, json.dumps(options)]


@contextmanager
def engine(*, lifeline: int | None = None, stderr: IO[str] | None = None, **more: Any) -> Iterator[Engine]:
    """An engine with two slots and one thread, until the end of the block."""
    port = unused_port()
    options = {"weights": str(starter_weights()), "port": port, "alias": "tiny"}
    options |= {"context_tokens": 2048, "slots": 2, "threads": 1} | more
    env = {**os.environ, **({} if lifeline is None else {"AIRBOSS_LIFELINE_FD": str(lifeline)})}
    passed = () if lifeline is None else (lifeline,)
    process = subprocess.Popen(command(options), env=env, pass_fds=passed, stderr=stderr, text=True)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: process.poll() is not None or healthy(url))
        assert process.poll() is None
        running = Engine(process, url, cpu_s(process.pid))
        with running.client:
            yield running
    finally:
        process.kill()
        process.wait(60)


@pytest.fixture(scope="session")
def running() -> Iterator[Engine]:
    """One engine for all tests that leave it as it was."""
    with engine() as started:
        yield started


def test_healthy_soon(running: Engine) -> None:
    """The engine is healthy within 20 s of a core, under its base URL with or without /v1; a closed port is
    not."""
    assert running.ready_cpu_s < 20
    assert healthy(running.url)
    assert healthy(f"{running.url}/v1")
    assert not healthy(f"http://127.0.0.1:{unused_port()}")


def test_chat(running: Engine) -> None:
    """A chat answer has text, a reason to end, the alias and usage that adds up."""
    answer = running.chat(max_tokens=5, temperature=0)  # else it may end by itself before
    assert answer["model"] == "tiny"
    assert answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "length"
    usage = answer["usage"]
    assert usage["completion_tokens"] == 5
    assert usage["total_tokens"] == usage["prompt_tokens"] + 5


def test_stream_with_usage(running: Engine) -> None:
    """A stream says at temperature 0 what the whole answer says; usage is in its last chunk, then [DONE]."""
    body = {"messages": ASK, "max_tokens": 8, "temperature": 0, "stream": True}
    with running.client.stream(
        "POST", "/v1/chat/completions", json=body | {"stream_options": {"include_usage": True}}
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        data = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    assert data[-1] == "[DONE]"
    chunks = [json.loads(item) for item in data[:-1]]
    text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
    assert text == running.chat(max_tokens=8, temperature=0)["choices"][0]["message"]["content"]
    assert chunks[-1]["usage"]["completion_tokens"] == 8


def test_stop(running: Engine) -> None:
    """An answer ends before a stop text, which is not part of it."""
    whole = running.chat(temperature=0, max_tokens=12)["choices"][0]["message"]["content"]
    stop = whole[len(whole) // 2 :][:3]
    cut = running.chat(temperature=0, max_tokens=12, stop=[stop])["choices"][0]
    assert cut["message"]["content"] == whole[: whole.index(stop)]
    assert cut["finish_reason"] == "stop"


def test_a_seed_repeats(running: Engine) -> None:
    """The same seed gives the same answer at temperature 1, and other seeds give others."""
    texts = [
        running.chat(temperature=1, seed=seed)["choices"][0]["message"]["content"]
        for seed in (7, 7, 8, 9, 10)
    ]
    assert texts[0] == texts[1]
    assert len(set(texts)) > 2


def test_a_schema_holds(running: Engine) -> None:
    """A JSON schema forces an answer of its shape; one that is none is refused with 400."""
    schema: dict[str, Any] = {"type": "object", "required": ["age"], "additionalProperties": False}
    schema["properties"] = {"age": {"type": "integer", "minimum": 0, "maximum": 99}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    answer = json.loads(running.chat(max_tokens=60, response_format=form)["choices"][0]["message"]["content"])
    assert list(answer) == ["age"]
    assert 0 <= answer["age"] <= 99
    form["json_schema"] = {"name": "x", "schema": {"type": "nope"}}
    body = {"messages": ASK, "response_format": form}
    refused = running.client.post("/v1/chat/completions", json=body)
    assert refused.status_code == 400
    assert "nope" in refused.text


def test_several_answers(running: Engine) -> None:
    """As many answers to a question as there are slots come back; one more is refused with 400."""
    assert [c["index"] for c in running.chat(n=2)["choices"]] == [0, 1]
    refused = running.client.post("/v1/chat/completions", json={"messages": ASK, "n": 3})
    assert refused.status_code == 400


def test_a_long_prompt_is_refused_alone(running: Engine) -> None:
    """A prompt longer than a slot is a 400 with both numbers, and the next call is served."""
    messages = [{"role": "user", "content": "word " * 1100}]
    refused = running.client.post("/v1/chat/completions", json={"messages": messages})
    assert refused.status_code == 400
    assert "1024 tokens" in refused.text
    assert running.chat(max_tokens=1)


def test_logprobs(running: Engine) -> None:
    """Each token has its own log probability and as many alternatives as were asked for, likeliest first."""
    choice = running.chat(max_tokens=2, temperature=0, logprobs=True, top_logprobs=3)["choices"][0]
    tokens = choice["logprobs"]["content"]
    assert len(tokens) == 2
    assert "".join(t["token"] for t in tokens) == choice["message"]["content"]
    for token in tokens:
        likely = [t["logprob"] for t in token["top_logprobs"]]
        assert len(likely) == 3
        assert token["logprob"] == max(likely) <= 0


def test_a_prompt_is_read_in_pieces() -> None:
    """At most 128 tokens of a prompt are read at once, so that other slots and lost clients are seen to."""
    messages = [{"role": "user", "content": "word " * 700}]
    body = {"messages": messages, "max_tokens": 1, "stream": True, "return_progress": True}
    with (
        engine(weights=str(shallow_weights())) as quick,
        quick.client.stream("POST", "/v1/chat/completions", json=body) as response,
    ):
        data = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: {")]
    read = [p["processed"] for item in data if (p := json.loads(item).get("prompt_progress"))]
    assert read[-1] > 700
    assert all(0 <= after - before <= 128 for before, after in pairwise(read))


def test_no_other_page_may_read(running: Engine) -> None:
    """A web page of another origin is not allowed to read the answers."""
    answer = running.client.get("/v1/models", headers={"origin": "http://evil.example"})
    assert answer.headers.get("access-control-allow-origin") not in ("*", "http://evil.example")


@pytest.mark.parametrize("stream", [True, False])
def test_a_closed_connection_frees_the_slot(running: Engine, stream: bool) -> None:
    """When the client goes away in the middle of an answer, streamed or whole, its slot is soon free."""
    until(lambda: running.busy() == 0)
    parts = urlsplit(running.url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    connection.request(
        "POST",
        "/v1/chat/completions",
        json.dumps(LONG | {"stream": stream}),
        {"content-type": "application/json"},
    )
    until(lambda: running.busy() == 1)
    connection.close()
    before_s = cpu_s(running.process.pid)
    # After each second without news from any slot the engine looks whether the one that waits for a whole
    # answer is still there. Asking for /slots is news: asked more often, it would never look.
    until(lambda: running.busy() == 0, every_s=0.02 if stream else 1.5)
    took_s = cpu_s(running.process.pid) - before_s
    assert took_s < (4 if stream else 6), "the whole answer takes some 8 s of a core"


def test_ends_with_its_parent() -> None:
    """When the lifeline's writing end closes, the engine ends at once with status 0."""
    read, write = os.pipe()
    with engine(lifeline=read) as started:
        os.close(read)
        os.close(write)
        assert started.process.wait(60) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_on_a_signal(number: signal.Signals) -> None:
    """SIGTERM and SIGINT end the engine with status 0, though an answer is under way."""
    with engine() as started:
        parts = urlsplit(started.url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        connection.request(
            "POST", "/v1/chat/completions", json.dumps(LONG), {"content-type": "application/json"}
        )
        until(lambda: started.busy() == 1)
        started.process.send_signal(number)
        assert started.process.wait(60) == 0
        with pytest.raises(ConnectionError):
            connection.getresponse()
        connection.close()


def test_ends_on_a_signal_that_comes_to_any_of_its_threads() -> None:
    """The kernel may choose another one than Python's."""
    with engine() as started:
        process = Path("/proc", str(started.process.pid))
        until(lambda: _catches(process, signal.SIGTERM))
        os.kill(max(int(each.name) for each in (process / "task").iterdir()), signal.SIGTERM)
        assert started.process.wait(60) == 0


def _catches(process: Path, number: int) -> bool:
    """Whether it has a handler for the signal."""
    [line] = [each for each in (process / "status").read_text().splitlines() if each.startswith("SigCgt")]
    return bool(int(line.split()[1], 16) >> number - 1 & 1)


def test_says_nothing_of_a_request(tmp_path: Path) -> None:
    """A grammar that the engine refuses, which it prints word for word, does not reach the log."""
    log = tmp_path / "log"
    with log.open("w") as stderr, engine(stderr=stderr) as started:
        for member in (
            {"grammar": "HUSHHUSH (("},
            {"json_schema": {"type": "string", "minLength": 10**9, "const": "HUSHHUSH"}},
            {"grammar": 'root ::= HUSHHUSH\nHUSHHUSH ::= HUSHHUSH "a" | "b"'},
        ):
            started.client.post("/v1/chat/completions", json={"messages": ASK, "max_tokens": 1} | member)
        assert started.chat(max_tokens=1)
    assert "HUSHHUSH" not in log.read_text()


def test_a_stuck_engine_ends(tmp_path: Path) -> None:
    """An engine that one request has stopped for good ends by itself and says why."""
    log = tmp_path / "log"
    schema = {"type": "string", "pattern": "^((a?){30}){30}$"}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    with log.open("w") as stderr, engine(stderr=stderr, stall_s=2.0) as started:
        assert moving(started.url, timeout_s=60)
        with pytest.raises(httpx2.RemoteProtocolError):
            started.client.post("/v1/chat/completions", json={"messages": ASK, "response_format": form})
        assert started.process.wait(60) == 1
        assert not moving(started.url, timeout_s=2)
    assert "the engine has done nothing for 2 s" in log.read_text()


def refused(**options: Any) -> str:
    """What an engine that cannot start says."""
    done = subprocess.run(command(options), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_what_cannot_be_served(tmp_path: Path) -> None:
    """Missing weights, a file that only begins like a model, and a port in use each say what to do."""
    assert "none.gguf cannot be read" in refused(
        weights=str(tmp_path / "none.gguf"), port=unused_port(), alias="x"
    )
    stub = tmp_path / "stub.gguf"
    with starter_weights().open("rb") as whole:
        stub.write_bytes(whole.read(4_000_000))
    said = refused(weights=str(stub), port=unused_port(), alias="x", threads=1)
    assert f"the engine cannot load {stub}" in said
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused(weights=str(starter_weights()), port=port, alias="x")
    assert f"127.0.0.1:{port} cannot be used: Address already in use" in said


def shaped(**given: Any) -> EngineShape:
    """A shape of which only the given is given."""
    open_: dict[str, Any] = dict.fromkeys(("context_tokens", "slots", "threads", "trained_context"))
    return shape(**(open_ | {"cores": 4} | given))


def test_the_shape_left_out() -> None:
    """Left out, there are 4 slots of 2048 tokens and a thread fewer than cores, at least one."""
    assert shaped() == EngineShape(context_tokens=8192, slots=4, threads=3)
    assert shaped().slot_tokens == 2048
    assert shaped(cores=1).threads == 1
    assert shaped(threads=9).threads == 9


def test_the_shape_follows_the_model() -> None:
    """No slot gets more context than the model was trained for."""
    assert shaped(context_tokens=100_000, trained_context=8192, slots=2).context_tokens == 16384
    assert shaped(trained_context=512).slot_tokens == 512


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"slots": 0}, "slots = 0 and threads = 3: both must be at least 1"),
        ({"threads": 0}, "threads = 0"),
        ({"context_tokens": 200}, "leaves 50 tokens for a request; give at least 256, or fewer slots"),
    ],
)
def test_shapes_that_are_none(given: dict[str, int], says: str) -> None:
    """Numbers that make no engine are refused with the number that would."""
    with pytest.raises(SetupError, match=says):
        shaped(**given)
