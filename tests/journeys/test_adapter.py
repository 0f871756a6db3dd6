"""A fine-tuned model is weights and an adapter: served beside the bare weights, and told apart."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx2

from tests.journeys.configs import STARTER_MODEL
from tests.support.adapter import random_adapter
from tests.support.airboss import Airboss
from tests.support.engine import starter_weights
from tests.support.wait import until


def answer(airboss: Airboss, model: str) -> str:
    """What a deployment says without chance."""
    said = airboss.chat(
        model=model, temperature=0, max_tokens=16, messages=[{"role": "user", "content": "Hi"}]
    )
    assert said.status_code == 200, said.text
    return str(said.json()["choices"][0]["message"]["content"])


def test_the_same_weights_with_and_without_an_adapter(tmp_path: Path) -> None:
    """Two engines answer each in its way, under releases of their own, which name the adapter."""
    adapter = random_adapter(tmp_path / "tuned.gguf")
    sha256 = hashlib.sha256(adapter.read_bytes()).hexdigest()
    model = STARTER_MODEL.split("[models.smollm2]")[1].split("[deployments")[0]
    tuned = f'[models.tuned]{model}adapter = "file:{adapter}"\nadapter_sha256 = "{sha256}"\n'
    config = STARTER_MODEL + tuned + '[deployments.tuned]\nmodel = "tuned"\n'
    with Airboss(tmp_path / "a", config, weights=starter_weights()) as airboss:
        until(lambda: {each["state"] for each in airboss.api("status")["replicas"]} == {"ready"})
        plain, adapted = answer(airboss, "assistant"), answer(airboss, "tuned")
        assert plain != adapted
        assert (answer(airboss, "assistant"), answer(airboss, "tuned")) == (plain, adapted)
        airboss.settled()
        by_model = {each["deployment"]: each["release"] for each in airboss.records()}
        assert by_model["assistant"] != by_model["tuned"]
        shown = airboss.verb("release", "show", by_model["tuned"])
        assert f"adapter         file:{adapter}\nadapter_sha256  {sha256}\n" in shown
        assert "adapter" not in airboss.verb("release", "show", by_model["assistant"])
        assert "adapter" in airboss.verb("release", "diff", by_model["assistant"], by_model["tuned"])
        console = airboss.ready["console_url"]
        with httpx2.Client(base_url=console, follow_redirects=True, trust_env=False) as browser:
            browser.post("/login", data={"key": airboss.ready["admin_key"]}, headers={"origin": console})
            page = browser.get(f"/releases/{by_model['tuned']}").text
            assert "<dt>Adapter</dt>" in page
            assert sha256 in page
            assert "<dt>Adapter</dt>" not in browser.get(f"/releases/{by_model['assistant']}").text
        # One that is no more what was meant is not served, and says so.
        file = tmp_path / "next.toml"
        file.write_text(config.replace(sha256, "0" * 64))
        airboss.verb("apply", str(file))

        def told() -> bool:
            found: dict[str, Any] = {each["name"]: each for each in airboss.status()["deployments"]}
            return "has the sha256" in (found["tuned"]["detail"] or "")

        until(told, every_s=0.3)
        assert answer(airboss, "tuned") == adapted
