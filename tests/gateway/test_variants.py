"""Our own calls may try a release with another prompt; nobody else's may."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import httpx2
import msgspec
import pytest

from airboss.domain.ports import ApiKey
from airboss.domain.release import Example, ModelVersion, PromptForm, Release
from airboss.governance.keys import hash_key
from airboss.releases.build import sealed
from airboss.releases.variant import Variant, varied
from airboss.testing import FakeProvider
from tests.support.gateway import KEY, Gateway, deployment
from tests.support.wait import until

OWN = "ab_" + "o" * 43
BASE = sealed(
    Release(
        digest="",
        name="support",
        model=ModelVersion(provider="fake", kind="openai-compatible", model="up"),
        prompt="Be {{ tone }}.",
        params={"temperature": 0.25},
        params_force={"top_p": 0.5},
    )
)
EXAMPLES = (Example("one?", "yes"), Example("two?", "no"))


@pytest.fixture
def gateway(tmp_path: Path, provider: FakeProvider) -> Iterator[Gateway]:
    """A worker that serves BASE, with an app's key and our own."""
    now = datetime.now(UTC)
    keys = (
        ApiKey(name="app", sha256=hash_key(KEY), created_at=now),
        ApiKey(name="airboss", sha256=hash_key(OWN), created_at=now, internal=True),
    )
    served = deployment(provider.url, name="support", aliases=(), stable=BASE)
    with Gateway(tmp_path / "gateway", served, keys=keys) as running:
        yield running


def ask(gateway: Gateway, *, key: str = OWN, named: str | None = BASE.digest, **body: Any) -> httpx2.Response:
    """One call."""
    asked = {"model": "support", "messages": [{"role": "user", "content": "three?"}]} | body
    headers = {"authorization": f"Bearer {key}"} | ({} if named is None else {"x-airboss-release": named})
    with httpx2.Client(base_url=gateway.url, timeout=30.0) as client:
        return client.post("/v1/chat/completions", json=asked, headers=headers)


@pytest.mark.parametrize("form", get_args(PromptForm))
def test_a_variant_goes_upstream_as_its_release_would(
    gateway: Gateway, provider: FakeProvider, form: PromptForm
) -> None:
    """What the provider sees of a variant is, byte for byte, what it sees once that release is served; the
    answer and the record name its digest."""
    variant = Variant(prompt="Be very {{ tone }}.", examples=EXAMPLES, form=form)
    release = varied(BASE, variant)
    body: dict[str, Any] = {"prompt_variables": {"tone": "kind"}, "max_tokens": 5}
    tried = ask(gateway, **body, release_variant=msgspec.to_builtins(variant))
    assert tried.status_code == 200, tried.text
    seen = provider.last()
    assert "release_variant" not in seen.body
    assert "Be very kind." in seen.body
    assert json.loads(seen.body)["temperature"] == 0.25
    assert seen.path == ("/v1/completions" if form == "completion" else "/v1/chat/completions")
    assert tried.headers["x-airboss-release"] == release.digest
    opened, _ = gateway.frames()
    assert opened[tried.headers["x-request-id"]]["release"] == release.digest
    gateway.publish(deployment(provider.url, name="support", aliases=(), stable=release))

    def served() -> bool:
        answer = ask(gateway, key=KEY, named=None, **body)
        return answer.headers.get("x-airboss-release") == release.digest

    until(served)
    assert provider.last().body == seen.body
    assert provider.last().path == seen.path


def test_a_variant_that_changes_nothing_is_the_release(gateway: Gateway) -> None:
    """It has the digest of the release that it varies."""
    same = {"prompt": BASE.prompt}
    tried = ask(gateway, prompt_variables={"tone": "kind"}, release_variant=same)
    assert tried.headers["x-airboss-release"] == BASE.digest


def test_a_variant_with_another_model_goes_to_it(gateway: Gateway, provider: FakeProvider) -> None:
    """At the same provider, with the same prompt, under its own digest; its price is not the base model's, so
    that its cost is not known."""
    model = msgspec.structs.replace(BASE.model, model="up-two")
    variant = Variant(prompt=BASE.prompt, model=model)
    tried = ask(gateway, prompt_variables={"tone": "kind"}, release_variant=msgspec.to_builtins(variant))
    assert tried.status_code == 200, tried.text
    seen = json.loads(provider.last().body)
    assert (seen["model"], seen["messages"][0]["content"]) == ("up-two", "Be kind.")
    assert tried.headers["x-airboss-release"] == varied(BASE, variant).digest != BASE.digest
    assert "x-airboss-cost-usd" not in tried.headers
    elsewhere = Variant(model=msgspec.structs.replace(model, provider="other"))
    refused = ask(gateway, release_variant=msgspec.to_builtins(elsewhere))
    assert refused.status_code == 400
    assert "'other'" in refused.json()["error"]["message"]


def test_a_variant_of_a_local_model_goes_to_its_own_engine(tmp_path: Path, provider: FakeProvider) -> None:
    """Which the plan does not know: the engine of the release itself is not asked."""
    local = ModelVersion(provider="local", kind="local", model="file:/m.gguf", weights_sha256="a" * 64)
    base = sealed(Release(digest="", name="support", model=local, prompt="Be kind."))
    adapted = msgspec.structs.replace(local, adapter="file:/a.gguf", adapter_sha256="b" * 64)
    variant = Variant(prompt=base.prompt, model=adapted, port=provider.port)
    served = deployment(
        "http://127.0.0.1:9/v1", name="support", aliases=(), kind="local", provider="local", stable=base
    )
    key = ApiKey(name="airboss", sha256=hash_key(OWN), created_at=datetime.now(UTC), internal=True)
    with Gateway(tmp_path / "gateway", served, keys=(key,)) as gateway:
        tried = ask(gateway, named=base.digest, release_variant=msgspec.to_builtins(variant))
        assert tried.status_code == 200, tried.text
        assert tried.headers["x-airboss-release"] == varied(base, variant).digest
        assert "Be kind." in provider.last().body
        none = ask(gateway, named=base.digest, release_variant={"prompt": base.prompt})
        assert none.status_code >= 500


def test_an_apps_key_may_not(gateway: Gateway) -> None:
    """It is refused, with the header and without; so is our own without the header."""
    variant = {"prompt": "Say yes."}
    for key, named in ((KEY, BASE.digest), (KEY, None), (OWN, None)):
        refused = ask(gateway, key=key, named=named, release_variant=variant)
        assert refused.status_code == 403
        assert "'release_variant'" in refused.text or "x-airboss-release" in refused.text


def test_a_variant_that_is_none_is_refused(gateway: Gateway) -> None:
    """A member that variants do not have, and a form that releases do not."""
    for wrong in ({"model": "other"}, {"form": "verse"}):
        refused = ask(gateway, release_variant=wrong)
        assert refused.status_code == 400
        assert "release_variant" in refused.json()["error"]["param"]
