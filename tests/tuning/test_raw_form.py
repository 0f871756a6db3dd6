"""Tuning may find that a model does better with one raw prompt: through the real gateway."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from airboss.domain.errors import WrongCall
from airboss.domain.ports import ApiKey
from airboss.evaluations.caller_http import HttpCaller
from airboss.evaluations.datasets import Input, Item, Part, dataset
from airboss.evaluations.ports import Answer, Call
from airboss.governance.keys import hash_key
from airboss.testing import FakeProvider
from airboss.tuning.orders import forms_for
from tests.support.gateway import Gateway, deployment
from tests.tuning.support import BASE, LABELS, MemoryStore, stored, task, tuned

OWN = "ab_" + "o" * 43
SIZES: tuple[tuple[Part, int], ...] = (("train", 12), ("validation", 12), ("holdout", 24))


class Served:
    """Calls a gateway as jobs do."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def call(self, call: Call) -> Answer:
        """As `Caller.call`."""
        caller = HttpCaller(f"{self._url}/v1", OWN)
        try:
            return await caller.call(call)
        finally:
            await caller.aclose()


def test_a_raw_prompt_can_be_what_is_better(provider: FakeProvider, tmp_path: Path) -> None:
    """A model that is right only where the prompt ends in `Output:` is tuned to that form; the provider sees
    `/completions`, and the release that is found has the form."""
    items = []
    for part, size in SIZES:
        for number in range(size):
            label = LABELS[number % len(LABELS)]
            told = json.dumps({"text": f" {label}\n\n", "when": "\nOutput:"})
            text = f"{part} {number} fake:{told}"
            items.append(
                Item(
                    id=f"{part}-{number}",
                    input=Input(messages=({"role": "user", "content": text},)),
                    expected=label,
                    part=part,
                )
            )
    key = ApiKey(name="airboss", sha256=hash_key(OWN), created_at=datetime.now(UTC), internal=True)
    served = deployment(provider.url, name="support", aliases=(), stable=BASE)
    store = MemoryStore()
    digest = stored(store, dataset("raw", items))
    with Gateway(tmp_path / "gateway", served, keys=(key,)) as gateway:
        what = task(digest, budget=200, forms=("turns", "completion"))
        result = tuned(store, Served(gateway.url), what)
        assert {seen.path for seen in provider.stats().last} <= {"/v1/completions", "/v1/chat/completions"}
        assert provider.last().path == "/v1/completions"
    assert result.better
    assert result.release is not None
    assert result.release.form == "completion"


def test_a_form_that_a_provider_does_not_have_is_not_tried() -> None:
    """Providers that take conversations only are tuned to the other forms; asked for that one alone is a
    mistake."""
    claude = msgspec.structs.replace(BASE, model=msgspec.structs.replace(BASE.model, kind="anthropic"))
    assert forms_for(BASE, ("turns", "completion", "turns")) == ("turns", "completion")
    assert forms_for(claude, ("system", "turns", "completion")) == ("system", "turns")
    with pytest.raises(WrongCall, match="conversations only"):
        forms_for(claude, ("completion",))
