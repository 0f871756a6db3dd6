"""Other people's clients as programs: each in an environment of its own, told where a gateway is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import KEY, Gateway

HERE = Path(__file__).parent / "clients"
ENVIRONMENTS = Path(__file__).parents[2] / ".clients"
FOUND_WITHIN_S = 120

OF_EVERY_RUN = ("openai-node", "kubernetes", "oidc-provider")
"""Clients that `make test` installs; the others are `make test-clients`'s."""


def command(name: str) -> list[str]:
    """How a client is run. Skips the test where it is not installed; in CI that fails it."""
    script = f"use_{name.replace('-', '_')}"
    if name == "openai-python":
        return [sys.executable, str(HERE / f"{script}.py")]
    environment = ENVIRONMENTS / name
    if (HERE / f"{script}.mjs").exists():
        node = shutil.which("node")
        if node is None:
            missing("node is not installed")
        if not (environment / "node_modules").exists():
            missing(f"{name} is not installed; run `make test-clients`", name)
        # Node looks for packages beside the script.
        shutil.copy(HERE / f"{script}.mjs", environment)
        return [str(node), "--no-warnings", str(environment / f"{script}.mjs")]
    if not (environment / "bin" / "python").exists():
        missing(f"{name} is not installed; run `make test-clients`", name)
    return [str(environment / "bin" / "python"), str(HERE / f"{script}.py")]


def missing(why: str, name: str = "") -> None:
    """Skip, or fail where `make test` should have brought it."""
    if os.environ.get("CI") and name in {"", *OF_EVERY_RUN}:
        pytest.fail(why)
    pytest.skip(why)


def run(name: str, gateway: Gateway, mode: str, *, model: str = "gpt-4o") -> Any:
    """What a client tells of a gateway."""
    return told(name, gateway.url, KEY, model, mode)


def told(name: str, *arguments: str, **environment: str) -> Any:
    """What a client tells that is run with these arguments and this environment."""
    done = subprocess.run(
        [*command(name), *arguments],
        capture_output=True,
        text=True,
        timeout=FOUND_WITHIN_S,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "NO_PROXY": "*", **environment},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)
