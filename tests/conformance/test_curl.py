"""curl, as people write it in a shell, against a gateway."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.running import missing
from tests.support.gateway import KEY, Gateway


def curl(gateway: Gateway, path: str, *options: str) -> str:
    """What curl prints."""
    if shutil.which("curl") is None:
        missing("curl is not installed")
    command = ["curl", "-sS", "--noproxy", "*", "--max-time", "30", "-H", f"Authorization: Bearer {KEY}"]
    done = subprocess.run(
        [*command, *options, f"{gateway.url}{path}"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def body(**members: Any) -> list[str]:
    """A JSON body as curl's options."""
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], **members}
    return ["-H", "Content-Type: application/json", "-d", json.dumps(asked)]


@pytest.mark.parametrize("version", ["--http1.1", "--http1.0"])
def test_chat(faked: Gateway, version: str) -> None:
    """Whole and streamed, in either version of HTTP."""
    whole = json.loads(curl(faked, "/v1/chat/completions", version, *body()))
    assert whole["choices"][0]["finish_reason"] == "stop"
    streamed = curl(faked, "/v1/chat/completions", version, "-N", *body(stream=True))
    assert streamed.endswith("data: [DONE]\n\n")


def test_without_a_content_type_of_json(faked: Gateway) -> None:
    """`curl -d` calls everything a form; what is JSON is read as JSON."""
    options = body()[2:]
    assert json.loads(curl(faked, "/v1/chat/completions", *options))["object"] == "chat.completion"


def test_a_body_that_waits_to_be_asked_for(faked: Gateway, tmp_path: Path) -> None:
    """Of a large one curl sends the head first, and waits for `100 Continue`."""
    file = tmp_path / "body.json"
    file.write_text(
        json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "x" * 2_000_000}]})
    )
    options = [
        "-H",
        "Expect: 100-continue",
        "-H",
        "Content-Type: application/json",
        "--data-binary",
        f"@{file}",
    ]
    timing = ["-o", str(tmp_path / "out"), "-w", "%{http_code} %{time_total}"]
    status, seconds = curl(faked, "/v1/chat/completions", *options, *timing).split()
    assert status == "200"
    assert float(seconds) < 20


def test_a_form(faked: Gateway, tmp_path: Path) -> None:
    """`-F` sends a file to be transcribed, and `-o` keeps the sound of a speech."""
    sound = tmp_path / "a.wav"
    sound.write_bytes(b"RIFF" * 1000)
    said = curl(faked, "/v1/audio/transcriptions", "-F", "model=gpt-4o", "-F", f"file=@{sound}")
    assert json.loads(said)["text"] == "heard 4000 bytes"
    speech = [
        "-H",
        "Content-Type: application/json",
        "-d",
        '{"model": "gpt-4o", "input": "hello", "voice": "x"}',
    ]
    curl(faked, "/v1/audio/speech", *speech, "-o", str(tmp_path / "a.mp3"))
    assert (tmp_path / "a.mp3").read_bytes().startswith(b"ID3")


def test_statuses_and_heads(faked: Gateway, tmp_path: Path) -> None:
    """`-w` shows the status of an error, `-I` the head of a route."""
    quiet = ["-o", str(tmp_path / "out"), "-w", "%{http_code}"]
    assert curl(faked, "/v1/chat/completions", *quiet, *body(model="nobody")) == "404"
    assert json.loads((tmp_path / "out").read_text())["error"]["code"] == "model_not_found"
    assert "200 OK" in curl(faked, "/v1/models", "-I")
