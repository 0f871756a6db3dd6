"""Calls whose frames cannot be written after all, at the end of the turn in which they are to go upstream."""

from __future__ import annotations

import re
import resource
from pathlib import Path

import pytest

from airboss.domain.plan import Retry, Target
from airboss.testing import Behaviour, FakeProvider, ScriptStep
from tests.support.gateway import PRICE, Gateway, deployment
from tests.support.wait import until

ROOM = 256 * 1024
"""Of the journal's first segment, before it asks the disk for more."""
SECRET = "sk-12345"  # longer when it is redacted than it was
SECRETS = SECRET * 1_800
FRAME = len(SECRETS) + 500
FAILED = re.compile(r'gen_ai_client_operation_duration_seconds_count\{.*airboss_status="error"')
FRAMES_OF_A_CALL = 1_200
"""About what the frames of a short call have without its text."""


def used(gateway: Gateway) -> int:
    """Bytes of the journal that frames have taken."""
    return len(gateway.journal_bytes().rstrip(b"\0"))


def fill(gateway: Gateway, left: int) -> None:
    """Make calls until about so many bytes are left."""
    while (more := ROOM - used(gateway) - left) > FRAMES_OF_A_CALL:
        answer = gateway.chat("x" * min(15_000, more - FRAMES_OF_A_CALL))
        assert answer.status_code == 200, answer.text
        gateway.closed(answer.headers["x-request-id"])


@pytest.mark.parametrize("kept", [True, False], ids=["on a kept connection", "on a new connection"])
def test_it_is_refused_as_on_a_full_disk(provider: FakeProvider, own_root: Path, kept: bool) -> None:
    """With the refusal that a full disk gives: nobody is asked, also no other model, and none is to blame."""
    own_root.mkdir()
    secret = own_root / "key"
    secret.write_text(SECRET)
    other = Target(
        provider="other", kind="openai-compatible", base_urls=(provider.url,), upstream_model="other"
    )
    plan = deployment(
        provider.url, api_key_ref=f"file:{secret}", fallbacks=(other,), retry=Retry(attempts=3), price=PRICE
    )
    with Gateway(own_root / "g", plan) as gateway:
        pid = gateway.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (ROOM, resource.RLIM_INFINITY))
        fill(gateway, FRAME + 2_000)
        if not kept:
            provider.script("close-keep-alive")
            gateway.chat()
        asked = provider.stats().requests
        for _ in range(2):
            refused = gateway.chat(SECRETS)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "journal_unwritable")
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        assert provider.stats().requests == asked
        answer = gateway.chat()
        assert answer.status_code == 200, answer.text
        assert len(gateway.closed(answer.headers["x-request-id"])["attempts"]) == 1
        opened, closed = gateway.frames()
        assert opened.keys() == closed.keys()
        with gateway.client() as client:
            metrics = client.get("/metrics").text
        failed = [line for line in metrics.splitlines() if 'outcome="failed"' in line]
        assert failed, metrics
        assert all(line.endswith(" 0.0") for line in failed), failed


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_answer_that_cannot_be_recorded_does_not_look_complete(
    provider: FakeProvider, own_root: Path, stream: bool
) -> None:
    """Its client is told so, in the stream where that has begun; the connection and the next call go on."""
    own_root.mkdir()
    with Gateway(own_root / "g", deployment(provider.url, price=PRICE)) as gateway:
        pid = gateway.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (ROOM, resource.RLIM_INFINITY))
        fill(gateway, 1_500)
        room = ROOM - used(gateway) - 700  # an open frame has some 500 bytes beside its text, a close more
        body = {"model": "gpt-4o", "stream": stream, "messages": [{"role": "user", "content": "x" * room}]}
        with gateway.client() as client:
            answer = client.post("/v1/chat/completions", json=body)
            opened, closed = gateway.frames()
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
            again = client.post("/v1/chat/completions", json=body)
        assert answer.status_code == (200 if stream else 503), answer.text
        assert "[DONE]" not in answer.text
        assert '"code":"journal_unwritable"' in answer.text
        assert again.status_code == 200
        assert ("[DONE]" in again.text) == stream
        assert set(opened) - set(closed) == {answer.headers["x-request-id"]}
        assert gateway.closed(answer.headers["x-request-id"])["status"] == "error"  # when there is room
        with gateway.client() as client:
            metrics = client.get("/metrics").text
        (failed,) = [line for line in metrics.splitlines() if FAILED.match(line)]
        assert failed.endswith(" 1.0")


def test_a_whole_answer_that_is_not_recorded_after_all_is_an_error(
    provider: FakeProvider, own_root: Path
) -> None:
    """Redacted it is longer than there is room for: its client is told, and its end is recorded later."""
    own_root.mkdir()
    secret = own_root / "key"
    secret.write_text(SECRET)
    plan = deployment(provider.url, api_key_ref=f"file:{secret}", price=PRICE)
    with Gateway(own_root / "g", plan) as gateway:
        pid = gateway.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (ROOM, resource.RLIM_INFINITY))
        fill(gateway, FRAME + 4_000)
        provider.script(ScriptStep(behaviour=Behaviour(text=SECRETS)))
        answer = gateway.chat()
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "journal_unwritable")
        assert answer.headers["connection"] == "close"
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        assert gateway.chat().status_code == 200

        def failed() -> list[str]:
            opened, closed = gateway.frames()
            ends = [each["error_type"] for each in closed.values() if each["status"] != "ok"]
            return ends if opened.keys() == closed.keys() else []

        assert until(failed) == ["journal_unwritable"]
