"""Promise: a replica that dies in the middle of an answer does not break the client's stream."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.journeys.configs import STARTER_MODEL
from tests.journeys.test_scale import replicas
from tests.support.airboss import Airboss
from tests.support.engine import starter_weights

# Numbers leave no doubt of the next token: a prompt is reckoned in other sums than tokens that came one by
# one, and where two tokens were about as likely, which was seen, an answer goes on another way.
ASKED: dict[str, Any] = {
    "model": "assistant",
    "stream": True,
    "stream_options": {"include_usage": True},
    "temperature": 0,
    "max_tokens": 60,
    "messages": [{"role": "user", "content": "Count from 1 to 30."}],
}

TRIES = 5


def events(airboss: Airboss, headers: dict[str, str]) -> Iterator[dict[str, Any]]:
    """The events of one stream as they come; the record's id goes into `headers`."""
    with airboss.client() as client, client.stream("POST", "/chat/completions", json=ASKED) as response:
        headers["id"] = response.headers["x-request-id"]
        for line in response.iter_lines():
            if line == "data: [DONE]":
                return
            if line.startswith("data: "):
                yield json.loads(line[6:])
    raise AssertionError("the stream ended without [DONE]")


def at_work(engine: dict[str, Any]) -> bool:
    """Whether it has a call: which one a call goes to is nobody's to say on a busy machine."""
    slots = httpx2.get(f"{engine['url'].removesuffix('/v1')}/slots", timeout=60, verify=False).json()
    return any(slot["is_processing"] for slot in slots)


def text(found: list[dict[str, Any]]) -> str:
    """What a stream says."""
    return "".join(c["delta"].get("content") or "" for each in found for c in each["choices"])


@pytest.mark.parametrize("engines", [1, 2])
def test_a_killed_replica_breaks_no_stream(tmp_path: Path, engines: int) -> None:
    """`kill -9` in the middle: another replica, or the same one started again, goes on, and the answer is the
    one that would have come."""
    many = f"threads = 1\nreplicas = {{ min = {engines}, max = {engines} }}"
    config = STARTER_MODEL.replace("threads = 1", many)
    for number in range(TRIES):
        with Airboss(tmp_path / f"{number}", config, weights=starter_weights()) as airboss:
            if goes_on(airboss, engines):
                return
    pytest.fail("each time the engine was done when it was killed")


def goes_on(airboss: Airboss, engines: int) -> bool:
    """Whether the answer went on after its engine was killed; no, where that was done by then."""
    headers: dict[str, str] = {}
    whole = list(events(airboss, headers))
    there, working, seen = replicas(airboss), list[dict[str, Any]](), list[dict[str, Any]]()
    while not working:
        seen.clear()
        for event in events(airboss, headers):
            seen.append(event)
            # Early, and again: on a busy machine the engine is far ahead of who reads, or done by then.
            if len(seen) == 5 and (working := [*filter(at_work, there)]):
                os.kill(working[0]["pid"], signal.SIGKILL)
    (engine,) = working
    assert text(seen) == text(whole)
    used, usual = ([each["usage"] for each in found if each.get("usage")][-1] for found in (seen, whole))
    assert used["prompt_tokens"] == usual["prompt_tokens"]
    assert used["completion_tokens"] == usual["completion_tokens"]
    assert len({each["id"] for each in seen}) == 1
    airboss.settled()
    record = next(each for each in airboss.records() if each["id"] == headers["id"])
    assert record["status"] == "ok"
    first, *others = record["attempts"]
    if not others:
        return False
    last = others[-1]
    assert (first["url"], last["why"], last["error_type"]) == (engine["url"], "continuation", None)
    assert (last["url"] == engine["url"]) == (engines == 1)
    return True
