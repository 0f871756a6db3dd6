"""The examples, each in a process of its own, as a person runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from airboss.testing import FakeProvider
from tests.journeys.configs import fake
from tests.support.airboss import Airboss
from tests.support.fake import fake_process, provider

__all__ = ["fake_process", "provider"]

EXAMPLES = Path(__file__).parent.parent / "examples"
CLIENTS = EXAMPLES.parent / ".clients" / "anthropic-python" / "bin" / "python"


@pytest.fixture
def airboss(tmp_path: Path, provider: FakeProvider) -> Airboss:
    """An Airboss, not started, whose `gpt-4o` is a provider that answers at once."""
    return Airboss(tmp_path / "a", fake(provider.url).replace("[deployments.support]", DEPLOYMENT))


DEPLOYMENT = '[deployments.support]\naliases = ["gpt-4o"]'


def run(name: str, *, python: str = sys.executable, given: str = "", **environment: str) -> str:
    """What an example prints; `given` is its standard input."""
    done = subprocess.run(
        [python, str(EXAMPLES / name)],
        env={**os.environ, **environment},
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_calls(airboss: Airboss) -> None:
    """Whole or streamed, the call prints what it promises, and stands in the records as it was printed."""
    with airboss:
        environment = {
            "OPENAI_BASE_URL": airboss.ready["base_url"],
            "OPENAI_API_KEY": airboss.ready["api_key"],
        }
        first = run("first_call.py", **environment)
        streamed = run("streaming.py", **environment)
        airboss.settled()
        records = airboss.records()
    said = re.fullmatch(r"Response time: \d+\.\d\d s\nOutput length: (\d+) characters\n(.+)\n", first)
    assert said is not None
    assert int(said[1]) == len(said[2])
    tokens = re.search(r"Tokens: (\d+) in, (\d+) out\nFirst token: \d+\.\d\d s", streamed)
    assert tokens is not None
    newest, oldest = records
    assert (newest["stream"], oldest["stream"]) == (True, False)
    assert oldest["output_chars"] == len(said[2])
    assert [newest["input_tokens"], newest["output_tokens"]] == [int(tokens[1]), int(tokens[2])]


def test_conversation(airboss: Airboss) -> None:
    """The second call is answered with the first one's words before it."""
    with airboss:
        environment = {
            "OPENAI_BASE_URL": airboss.ready["base_url"],
            "OPENAI_API_KEY": airboss.ready["api_key"],
        }
        assert run("conversation.py", **environment)
        airboss.settled()
        newest, oldest = airboss.records()
    assert newest["input_tokens"] > oldest["input_tokens"] + oldest["output_tokens"]


def test_evaluate_app(airboss: Airboss, tmp_path: Path) -> None:
    """Every item of an exported part is asked, and what comes of it is judged as an app's answers."""
    with airboss:
        environment = {
            "OPENAI_BASE_URL": airboss.ready["base_url"],
            "OPENAI_API_KEY": airboss.ready["api_key"],
        }
        reviews = str(EXAMPLES / "reviews.jsonl")
        airboss.verb("dataset", "create", "reviews", "--file", reviews, "--split", "0/100/0")
        items = airboss.verb("dataset", "export", "reviews", "--part", "validation")
        said = tmp_path / "answers.jsonl"
        said.write_text(run("evaluate_app.py", given=items, **environment))
        order = ("--dataset", "reviews", "--answers", str(said), "--name", "my-app", "--scorer", "latency")
        found = json.loads(airboss.verb("eval", "run", *order, "--json"))
    (latency,) = found["report"]["comparisons"]
    assert (found["report"]["b"]["answers"], latency["unscored_b"]) == (60, 0)


@pytest.mark.skipif(not CLIENTS.exists(), reason="Anthropic's client is missing; run `make test-clients`")
def test_anthropic_call(airboss: Airboss) -> None:
    """Anthropic's client is answered, and its user stands in the record."""
    with airboss:
        environment = {
            "ANTHROPIC_BASE_URL": airboss.ready["base_url"].removesuffix("/v1"),
            "ANTHROPIC_API_KEY": airboss.ready["api_key"],
        }
        said = run("anthropic_call.py", python=str(CLIENTS), **environment)
        airboss.settled()
        (record,) = airboss.records()
    assert re.search(
        rf"^Tokens: {record['input_tokens']} in, {record['output_tokens']} out$", said, re.MULTILINE
    )
    assert record["user"] == "ann"


def test_failing_provider() -> None:
    """The SDK's third try is answered, after the two that the provider was told to fail."""
    assert run("failing_provider.py").startswith("3 requests, then: ")


def test_every_example_is_run() -> None:
    """No program in examples/ is without its test, nor without its line in the list."""
    programs = {path.name for path in EXAMPLES.glob("*.py")}
    assert programs == set(re.findall(r'run\("(\w+\.py)"', Path(__file__).read_text()))
    assert programs == set(re.findall(r"\((\w+\.py)\)", (EXAMPLES / "README.md").read_text()))
