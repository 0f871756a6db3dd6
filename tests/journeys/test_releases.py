"""A release shapes what goes upstream, and each answer names the release that made it."""

from __future__ import annotations

import json
from pathlib import Path

from airboss.testing import FakeProvider
from tests.support.airboss import Airboss, run_airboss
from tests.support.wait import until

CONFIG = """
[providers.fake]
kind = "openai-compatible"
base_url = "{url}"

[models.fake]
provider = "fake"
model = "up"

[releases.support]
model = "fake"
prompt = "You answer for {{{{ shop }}}}."
params = {{ temperature = {temperature}, max_tokens = 300 }}
params_force = {{ top_p = 0.5 }}

[deployments.support]
release = "support"
"""


def test_a_release_is_rendered_and_named(provider: FakeProvider, tmp_path: Path) -> None:
    """Prompt and parameters go upstream; a changed release has another digest, and back its first."""
    config = CONFIG.format(url=provider.url, temperature=0.2)
    with Airboss(tmp_path / "a", config) as airboss:
        missing = airboss.chat(model="support")
        assert missing.status_code == 400
        assert missing.json()["error"]["param"] == "prompt_variables"
        first = airboss.chat(model="support", prompt_variables={"shop": "Ann"}, max_tokens=5)
        sent = json.loads(provider.last().body)
        assert sent == {
            "model": "up",
            "messages": [
                {"role": "system", "content": "You answer for Ann."},
                {"role": "user", "content": "hi"},
            ],
            "max_tokens": 5,
            "temperature": 0.2,
            "top_p": 0.5,
        }
        file = tmp_path / "changed.toml"
        digest = first.headers["x-airboss-release"]

        def served() -> str:
            answer = airboss.chat(model="support", prompt_variables={"shop": "Bo"})
            return str(answer.headers["x-airboss-release"])

        file.write_text(CONFIG.format(url=provider.url, temperature=0.9))
        airboss.verb("apply", str(file))
        until(lambda: served() != digest, timeout_s=airboss.soon_s(2))
        file.write_text(config)
        airboss.verb("apply", str(file))
        until(lambda: served() == digest, timeout_s=airboss.soon_s(2))
        inline = 'prompt = "You answer for {{ shop }}."'
        file.write_text(config.replace(inline, 'prompt = "prompts/support.md"'))
        refused = run_airboss("apply", str(file), "--data-dir", str(airboss.data), cwd=tmp_path)
        assert refused.returncode == 2
        assert "cannot be read" in refused.stderr
        (tmp_path / "prompts").mkdir()
        (tmp_path / "prompts" / "support.md").write_text("You answer for {{ shop }}.\n")
        airboss.verb("apply", str(file))
        assert served() == digest, "a prompt is the same release, written inline or in a file"
