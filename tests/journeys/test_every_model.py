"""A running Airboss serves all that a provider lists, as it was when that was applied."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.airboss import Airboss, run_airboss
from tests.support.lister import listing
from tests.support.wait import until


def test_all_that_a_provider_lists(tmp_path: Path) -> None:
    """From the first start on; a list that changes changes nothing before somebody applies it, nor does a
    controller that is killed while it asks, nor a provider that is away when Airboss starts."""
    with listing("llama", "qwen:7b") as lister:
        text = (
            f'[providers.vllm]\nkind = "openai-compatible"\nbase_url = "{lister.url}"\nmodels = "*"\n'
            '[keys.default]\ndeployments = ["qwen:7b", "llama"]\n'
        )
        airboss = Airboss(tmp_path / "a", text)
        with airboss:
            assert airboss.chat(model="qwen:7b").json()["choices"][0]["message"]["content"] == "I am qwen:7b"
            assert "2 models\nno difference" in airboss.verb("diff", "airboss.toml")
            lister.names = ["llama", "phi"]
            file = airboss.root / "airboss.toml"
            file.write_text(text.replace('"qwen:7b", "llama"', '"phi"'))
            told = airboss.verb("diff", "airboss.toml")
            assert told.startswith("providers.vllm lists 2 models\n+ phi\n- qwen:7b\n")
            assert "models_found" not in told
            assert airboss.chat(model="phi").status_code == 404
            assert airboss.chat(model="qwen:7b").status_code == 200

            pid = until(lambda: airboss.pid("controller"))
            lister.gate.clear()
            many = len(lister.asked)
            command = [sys.executable, "-m", "airboss.cli.main", "apply", "airboss.toml"]
            applying = subprocess.Popen(command, cwd=airboss.root, stderr=subprocess.DEVNULL)
            until(lambda: len(lister.asked) > many)
            os.kill(pid, signal.SIGKILL)
            assert applying.wait(60) != 0
            lister.gate.set()
            until(lambda: airboss.pid("controller") not in {None, pid})
            until(lambda: run_airboss("status", cwd=airboss.root).returncode == 0)
            assert airboss.chat(model="phi").status_code == 404

            assert "+ phi\n" in airboss.verb("apply", "airboss.toml")
            assert airboss.chat(model="phi").status_code == 200
            assert airboss.chat(model="qwen:7b").status_code == 404
            lister.status = 503
            refused = run_airboss("apply", "airboss.toml", cwd=airboss.root)
            assert (refused.returncode, "127.0.0.1 answers 503" in refused.stderr) == (2, True), (
                refused.stderr
            )
            assert "airboss.toml:4: " in refused.stderr
            assert airboss.chat(model="phi").status_code == 200
        with airboss:
            assert airboss.chat(model="phi").status_code == 200
            assert "differs from the configuration" not in airboss.log
        gone = Airboss(tmp_path / "b", text)
        up = run_airboss("up", "--port", "0", "--console-port", "0", cwd=gone.root)
        assert (up.returncode, "airboss.toml:4: 127.0.0.1 answers 503" in up.stderr) == (2, True), up.stderr
