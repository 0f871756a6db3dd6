"""The usual first script, unchanged, against a really started Airboss with the starter configuration."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import BadRequestError, OpenAI
from openai.types.chat import ChatCompletionMessageParam

from airboss.testing import FakeProvider
from tests.journeys.configs import fake
from tests.support.airboss import Airboss, run_airboss, run_up
from tests.support.engine import starter_weights
from tests.support.wait import until

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def airboss(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airboss]:
    """Airboss with the starter configuration, weights at hand."""
    with Airboss(tmp_path_factory.mktemp("first") / "a", weights=starter_weights()) as running:
        yield running


@pytest.fixture(scope="module")
def client(airboss: Airboss) -> OpenAI:
    """OpenAI's SDK as a user would make it."""
    return OpenAI(base_url=airboss.ready["base_url"], api_key=airboss.ready["api_key"], max_retries=0)


def test_the_usual_first_script(airboss: Airboss) -> None:
    """The script runs with the two printed variables, and the call stands in records and status."""
    assert set(airboss.ready) == {"event", "base_url", "console_url", "api_key", "admin_key"}
    env = {
        **os.environ,
        "OPENAI_BASE_URL": airboss.ready["base_url"],
        "OPENAI_API_KEY": airboss.ready["api_key"],
    }
    script = [sys.executable, str(ROOT / "examples" / "first_call.py")]
    done = subprocess.run(script, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert re.search(r"Response time: \d+\.\d+ s", done.stdout)
    length = int(re.findall(r"Output length: (\d+) characters", done.stdout)[0])
    airboss.settled()
    record = airboss.records("--limit", "1")[0]
    assert record["output_chars"] == length > 0
    assert record["latency_ms"] > 0
    assert record["ttft_ms"] > 0
    assert record["input_tokens"] > 0
    assert record["output_tokens"] > 0
    assert record["cost_usd"] == 0
    assert re.fullmatch(r"[0-9a-f]{64}", record["release"])
    assert record["deployment"] == "assistant"
    table = run_airboss("records", "--data-dir", str(airboss.data), cwd=airboss.root, env={"COLUMNS": "200"})
    for word in ("latency", "TTFT", "release", record["release"][:8], record["id"]):
        assert word in table.stdout
    status = airboss.status()
    assert [d["name"] for d in status["deployments"]] == ["assistant"]
    assert status["deployments"][0]["aliases"] == ["gpt-4o"]


def test_stream_through_the_sdk(airboss: Airboss, client: OpenAI) -> None:
    """A stream through the SDK ends with usage, and its record is put together from the pieces."""
    stream = client.chat.completions.create(
        model="gpt-4o",
        messages=[{"role": "user", "content": "Count to five."}],
        stream=True,
        stream_options={"include_usage": True},
        max_tokens=20,
        temperature=0,
        user="u-7",
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert chunks[-1].usage is not None
    airboss.settled()
    record = airboss.records("--user", "u-7")[0]
    assert record["response"]["choices"][0]["message"]["content"] == text
    assert record["ttft_ms"] < record["latency_ms"]
    assert record["output_tokens"] == chunks[-1].usage.completion_tokens


def test_what_the_local_model_can_do(client: OpenAI) -> None:
    """Stop, seed, logprobs, a JSON schema, n and text completions work on the local model."""
    ask: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Name three colours."}]
    same = [
        client.chat.completions.create(
            model="gpt-4o",
            messages=ask,
            max_tokens=12,
            seed=7,
            temperature=1.0,
        )
        for _ in range(2)
    ]
    assert same[0].choices[0].message.content == same[1].choices[0].message.content
    schema: dict[str, object] = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer"}},
        "required": ["name", "age"],
    }
    answer = client.chat.completions.create(
        model="gpt-4o",
        messages=[{"role": "user", "content": "Ava is 25 years old."}],
        max_tokens=60,
        temperature=0,
        response_format={"type": "json_schema", "json_schema": {"name": "person", "schema": schema}},
    )
    assert set(json.loads(answer.choices[0].message.content or "")) == {"name", "age"}
    probable = client.chat.completions.create(
        model="gpt-4o",
        messages=ask,
        max_tokens=3,
        logprobs=True,
        top_logprobs=2,
    )
    assert probable.choices[0].logprobs is not None
    assert len(probable.choices[0].logprobs.content or ()) == 3
    several = client.chat.completions.create(
        model="gpt-4o",
        messages=ask,
        max_tokens=4,
        n=2,
    )
    assert [c.index for c in several.choices] == [0, 1]
    text = client.completions.create(
        model="gpt-4o", prompt="One, two,", max_tokens=16, stop=["five"], temperature=0
    )
    assert "five" not in text.choices[0].text


def test_tools_are_never_ignored(client: OpenAI) -> None:
    """A model whose template has no tools refuses them clearly."""
    with pytest.raises(BadRequestError, match="tools"):
        client.chat.completions.create(
            model="gpt-4o",
            messages=[{"role": "user", "content": "x"}],
            tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        )


OUT_OF_RANGE: dict[str, list[tuple[dict[str, object], str]]] = {
    "/chat/completions": [
        ({"temperature": 9}, "'temperature' is 9; it must be 0 to 2"),
        ({"top_p": -0.1}, "'top_p' is -0.1; it must be 0 to 1"),
        ({"presence_penalty": 3}, "'presence_penalty' is 3; it must be -2 to 2"),
        ({"max_tokens": 0}, "'max_tokens' is 0; it must be 1 or more"),
        ({"stop": list("abcde")}, "'stop' has 5 texts; at most 4 are taken"),
        ({"logit_bias": {"5": 101}}, "'logit_bias' has 101 for token 5; it must be -100 to 100"),
    ],
    "/completions": [
        ({"temperature": 2.5}, "'temperature' is 2.5; it must be 0 to 2"),
        ({"frequency_penalty": -3}, "'frequency_penalty' is -3; it must be -2 to 2"),
    ],
    "/responses": [
        ({"temperature": 9}, "'temperature' is 9; it must be 0 to 2"),
        ({"top_p": 1.5}, "'top_p' is 1.5; it must be 0 to 1"),
        ({"max_output_tokens": 0}, "'max_output_tokens' is 0; it must be 1 or more"),
    ],
    "/messages": [
        ({"temperature": 1.5}, "'temperature' is 1.5; it must be 0 to 1"),
        ({"top_k": -1}, "'top_k' is -1; it must be 0 or more"),
        ({"max_tokens": 0}, "'max_tokens' is 0; it must be 1 or more"),
    ],
}


@pytest.mark.parametrize("path", OUT_OF_RANGE)
def test_numbers_out_of_range(airboss: Airboss, path: str) -> None:
    """The local model is asked for nothing that OpenAI or Anthropic would refuse, in any dialect; as many
    stops as Anthropic takes are taken in its own."""
    said = {"role": "user", "content": "x"}
    body: dict[str, object] = {"prompt": "x"} if path == "/completions" else {"messages": [said]}
    body = {"input": "x"} if path == "/responses" else body | {"max_tokens": 2}
    with airboss.client() as http:
        for changes, told in OUT_OF_RANGE[path]:
            response = http.post(path, json={"model": "gpt-4o"} | body | changes)
            assert response.status_code == 400, (changes, response.text)
            error = response.json()["error"]
            assert error["message"] == told
            assert error["type"] == "invalid_request_error"
            assert error["param"] == next(iter(changes))
        if path == "/messages":
            taken = http.post(path, json={"model": "gpt-4o"} | body | {"stop_sequences": list("!?.;:")})
            assert taken.status_code == 200, taken.text


def test_stopped_data_can_be_read(provider: FakeProvider, tmp_path: Path) -> None:
    """Records of a stopped Airboss are read from its files; a second start is quick and keeps its keys."""
    airboss = Airboss(tmp_path / "a", fake(provider.url))
    with airboss:
        first = airboss.ready
        airboss.chat("hi", model="support")
    assert len(airboss.records()) == 1
    with airboss:
        assert airboss.ready["api_key"] == first["api_key"]
        assert airboss.ready["admin_key"] == first["admin_key"]
        assert airboss.chat("hi", model="support").status_code == 200
        until(lambda: len(airboss.records()) == 2, every_s=0.3)
        second = run_up("--data-dir", str(airboss.data), "--port", "0", "--console-port", "0", cwd=tmp_path)
        assert second.returncode == 2
        assert str(airboss.process.pid if airboss.process else "") in second.stderr


def test_preset_keys_are_not_echoed(provider: FakeProvider, tmp_path: Path) -> None:
    """Keys preset in the environment work and stand nowhere in what is printed or kept."""
    env = {"AIRBOSS_API_KEY": "my-own-preset-key-1", "AIRBOSS_ADMIN_KEY": "my-own-preset-admin-1"}
    with Airboss(tmp_path / "a", fake(provider.url), env=env) as airboss:
        assert airboss.ready["api_key"] is None
        assert airboss.ready["admin_key"] is None
        airboss.ready["api_key"] = env["AIRBOSS_API_KEY"]
        assert airboss.chat("my key is my-own-preset-key-1", model="support").status_code == 200
        airboss.settled()
    everything = b"".join(p.read_bytes() for p in airboss.root.rglob("*") if p.is_file())
    for key in env.values():
        assert key.encode() not in everything
