"""What a client is told that an answer took which was gone on with, and what goes on is held to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airboss.domain.plan import Retry
from airboss.gateway.seam import Seam
from airboss.providers.compatible import Reply
from airboss.testing import FakeProvider
from tests.gateway.test_continuation import chunks
from tests.support.gateway import Gateway, deployment

STREAM: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture
def gateway(provider: FakeProvider, own_root: Path) -> Iterator[Gateway]:
    """A worker with models that go on."""
    on: dict[str, Any] = {"continuation": "on", "retry": Retry(attempts=3)}
    claude = deployment(
        provider.url, name="claude", aliases=(), kind="anthropic", upstream_model="claude", **on
    )
    with Gateway(own_root, claude, deployment(provider.url, **on)) as running:
        yield running


@pytest.mark.parametrize("times", [1, 2])
def test_the_prompt_is_the_first_one(gateway: Gateway, provider: FakeProvider, times: int) -> None:
    """As Claude told it when it began, not guessed from what came after, however often that broke off."""
    whole = chunks(gateway.chat("tell me of it", model="claude", **STREAM))[-1]["usage"]
    provider.script(*["cut-reset;after=5"] * times)
    gone_on = chunks(gateway.chat("tell me of it", model="claude", **STREAM))[-1]["usage"]
    assert gone_on["prompt_tokens"] == whole["prompt_tokens"] > 0
    assert gone_on["total_tokens"] == gone_on["prompt_tokens"] + gone_on["completion_tokens"]


def test_what_it_has_of_a_cache_is_a_part_of_that(gateway: Gateway, provider: FakeProvider) -> None:
    """Of a prompt with the beginning of the answer in it more may have been cached than the first one has."""
    provider.script("cut-reset;after=5", "ok;cached_tokens=9")
    usage = chunks(gateway.chat("tell me of it", **STREAM))[-1]["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"] == 4


def test_what_was_said_counts_for_the_least_of_it(gateway: Gateway, provider: FakeProvider) -> None:
    """The `min_tokens` that vLLM knows is lowered by it, as are the bounds."""
    provider.script("cut-reset;after=5")
    chunks(gateway.chat("tell me of it", max_tokens=50, min_tokens=12, **STREAM))
    asked = json.loads(provider.last().body)
    assert (asked["max_tokens"], asked["min_tokens"]) == (45, 7)


@pytest.mark.parametrize("model", ["claude", "gpt-4o"])
def test_who_fails_to_go_on_is_not_billed_for_what_others_say(
    gateway: Gateway, provider: FakeProvider, model: str
) -> None:
    """What goes on after it says the rest, once: it has used nothing, and each token is one attempt's."""
    provider.script("cut-reset;after=5", "503;retry_after=0")
    response = gateway.chat("tell me of it", model=model, **STREAM)
    chunks(response)
    end = gateway.closed(response.headers["x-request-id"])
    begun, failed, rest = end["attempts"]
    assert (failed["why"], failed["status_code"]) == ("continuation", 503)
    assert (failed["usage"], failed["cost_usd"]) == (None, None)
    assert end["output_tokens"] == begun["usage"]["output_tokens"] + rest["usage"]["output_tokens"]


SAID = "Twelve words are said here, so that there is something to count."
OTHER = "Twelve words are said there, and nobody who has read the one wants the other."


@pytest.mark.parametrize("model", ["claude", "gpt-4o"])
def test_another_answer_is_paid_for(gateway: Gateway, provider: FakeProvider, model: str) -> None:
    """What does not go on has read its prompt and said its words, though the client gets none of them."""
    provider.script(f"cut-reset;after=5;text={SAID}", f"ignore-prefill;text={OTHER}")
    response = gateway.chat("tell me of it", model=model, **STREAM)
    end = gateway.closed(response.headers["x-request-id"])
    other = end["attempts"][1]
    assert (other["why"], other["error_type"]) == ("continuation", "not_continued")
    assert other["usage"]["input_tokens"] > 0
    assert other["usage"]["output_tokens"] > 3  # as far as it was read: the first words, which are the same


@pytest.mark.parametrize("texts", [["Twelve words", " are said"], ["Twelve words"]], ids=len)
def test_the_beginning_said_again_is_counted(texts: list[str]) -> None:
    """The upstream has said it, and asks for its money, whether or not it comes to more."""
    seam = Seam(Reply(), "Twelve words are said here", tokens=5, prompt_tokens=4, blank="", exact=False)
    events = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    thinks = {"choices": [{"index": 0, "delta": {"reasoning_content": "Hm."}}]}
    assert not seam.joined([b"data: %s\n\n" % json.dumps(each).encode() for each in [thinks, *events]])
    assert (seam.left_out, seam.thought) == ("".join(texts), "Hm.")


@pytest.mark.parametrize("path", ["messages", "responses"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_other_dialects_are_told_of_the_answer_alone(
    gateway: Gateway, provider: FakeProvider, path: str, stream: bool
) -> None:
    """As chat is: one prompt, and no words of an attempt that was lost."""
    provider.script(f"cut-reset;after=5;text={SAID}", f"no-usage;text={SAID}")
    asked = {"messages": [{"role": "user", "content": "tell me of it"}], "max_tokens": 90}
    body = asked if path == "messages" else {"input": "tell me of it"}
    before = set(gateway.frames()[0])
    with gateway.client() as client:
        answer = client.post(f"/v1/{path}", json={"model": "gpt-4o", "stream": stream, **body})
    assert answer.status_code == 200, answer.text
    (record,) = set(gateway.frames()[0]) - before
    first, rest = (each["usage"] for each in gateway.closed(record)["attempts"])
    output = rest["output_tokens"] + (first["output_tokens"] if stream else 0)
    told = re.findall(r'"(input|output)_tokens": ?(\d+)', answer.text)[-2:]
    assert told == [("input", str(first["input_tokens"])), ("output", str(output))]
