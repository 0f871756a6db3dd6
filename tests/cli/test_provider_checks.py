"""What `airboss doctor` says of hosted providers and their keys."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from airboss.providers.fake_faults import FAULTS, MODEL_PREFIX
from airboss.testing import FakeProvider
from tests.cli.conftest import Run
from tests.support.fake import fake_process, provider
from tests.support.lister import listing

__all__ = ["fake_process", "provider"]
SECRET = "sk-unmistakable-5f1e"


def doctor(run: Run, root: Path, text: str, *more: str) -> tuple[int, list[Any]]:
    """Its exit code, and what it says of providers."""
    (root / "airboss.toml").write_text(text)
    where = ["--data-dir", str(root / "d"), "--config", str(root / "airboss.toml")]
    code, out, _ = run("doctor", *where, "--port", "0", "--console-port", "0", "--json", *more)
    assert SECRET not in out
    found = map(json.loads, out.splitlines())
    return code, [each for each in found if each["name"].startswith("provider")]


def test_keys_that_are_there_and_not(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the environment a key that lacks only warns, as Airboss may run elsewhere; a file that lacks fails;
    none is shown."""
    (tmp_path / "key").write_text(f"{SECRET}\n")
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "open").write_text(SECRET)
    (tmp_path / "open").chmod(0o644)
    monkeypatch.setenv("SET_HERE", SECRET)
    monkeypatch.setenv("OURS", "ab_" + "x" * 43)
    monkeypatch.delenv("NOT_SET_HERE", raising=False)
    refs = ["env:SET_HERE", "env:NOT_SET_HERE", f"file:{tmp_path}/key", f"file:{tmp_path}/open"]
    refs += [f"file:{tmp_path}/none", "env:OURS"]
    text = "".join(f'[providers.p{n}]\nkind = "openai"\napi_key = "{ref}"\n' for n, ref in enumerate(refs))
    text += '[providers.two]\nkind = "openai"\ntargets = [{ api_key = "env:SET_HERE" }, '
    text += f'{{ api_key = "file:{tmp_path}/gone" }}]\n[providers.here]\nkind = "local"\n'
    code, found = doctor(run, tmp_path, text)
    assert code == 1
    assert [each["verdict"] for each in found] == ["ok", "warn", "ok", "warn", "fail", "fail", "ok", "fail"]
    assert found[0]["seen"] == f"p0: SET_HERE, {len(SECRET)} characters"
    assert found[1]["seen"] == "p1: NOT_SET_HERE is not set here"
    assert "chmod 600" in found[3]["advice"]
    assert f"there is no file {tmp_path}/none" in found[4]["seen"]
    assert "a key of Airboss" in found[5]["seen"]


def test_online(run: Run, tmp_path: Path, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each address is asked for its models: it answers, lacks the list or a model, or is not there."""
    monkeypatch.setenv("KEY", SECRET)
    known = MODEL_PREFIX + next(iter(FAULTS))
    url = provider.url
    text = "".join(
        f'[providers.{name}]\nkind = "openai-compatible"\nbase_url = "{at}"\napi_key = "env:KEY"\n'
        for name, at in (("good", url), ("lost", f"{url}/nowhere"), ("gone", "http://127.0.0.1:9/v1"))
    )
    text += f'[models.a]\nprovider = "good"\nmodel = "{known}"\n[deployments.a]\nmodel = "a"\n'
    code, found = doctor(run, tmp_path, text)
    assert (code, len(found)) == (0, 3), "nobody is asked unless told to"
    code, found = doctor(run, tmp_path, text, "--online")
    assert code == 1
    said = {each["seen"].split(" at ")[0]: each for each in found[3:]}
    assert [said[name]["verdict"] for name in ("good", "lost", "gone")] == ["ok", "warn", "fail"]
    assert "takes its key" in said["good"]["seen"]
    assert "(404)" in said["lost"]["seen"]
    assert "cannot be reached" in said["gone"]["seen"]
    code, found = doctor(run, tmp_path, text.replace(known, "nobody-has-it"), "--online")
    assert "does not list nobody-has-it" in found[3]["seen"]
    assert os.environ["KEY"] == SECRET


class Refusing(BaseHTTPRequestHandler):
    """A provider that takes no key, and repeats it, or sends on who asks below `/moved`; notes who asked."""

    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        """Refuse."""
        self.asked.append((self.path, self.headers.get("x-api-key") or self.headers.get("x-goog-api-key")))
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("location", "/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()
            return
        said = f"invalid key {SECRET} {'.' * 170} {SECRET}"
        body = json.dumps({"error": {"message": said}}).encode()
        self.send_response(401)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quietly."""


@pytest.fixture
def refusing() -> Iterator[str]:
    """The address of a provider that refuses."""
    Refusing.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_key_that_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusing: str
) -> None:
    """It is said with the provider's words and without the key, also where these are cut; each is asked as it
    documents it, and none is sent a key of Airboss."""
    monkeypatch.setenv("KEY", SECRET)
    monkeypatch.setenv("OURS", "ab_" + "x" * 43)
    text = "".join(
        f'[providers.{kind}]\nkind = "{kind}"\nbase_url = "{refusing}/{kind}"\napi_key = "env:KEY"\n'
        for kind in ("anthropic", "gemini")
    )
    text += f'[providers.ours]\nkind = "openai"\nbase_url = "{refusing}/ours"\napi_key = "env:OURS"\n'
    code, found = doctor(run, tmp_path, text, "--online")
    assert code == 1
    assert [each["verdict"] for each in found] == ["ok", "ok", "fail", "fail", "fail"]
    assert all("refuses its key (401): invalid key …" in each["seen"] for each in found[3:])
    assert not any("sk-" in each["seen"] for each in found)
    assert Refusing.asked == [("/anthropic/models?limit=1", SECRET), ("/gemini/models?pageSize=1", SECRET)]


def test_a_key_goes_nowhere_else(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusing: str
) -> None:
    """Who is sent on by a provider does not go there: the key is for nobody else."""
    monkeypatch.setenv("KEY", SECRET)
    text = f'[providers.p]\nkind = "anthropic"\nbase_url = "{refusing}/moved"\napi_key = "env:KEY"\n'
    code, found = doctor(run, tmp_path, text, "--online")
    assert (code, found[-1]["verdict"]) == (0, "warn")
    assert "answers 302" in found[-1]["seen"]
    assert [path for path, _ in Refusing.asked] == ["/moved/models?limit=1"]


def test_what_goes_along_is_there_and_goes_along(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header's secret is looked for as a key is, and whoever is asked for its models gets the headers."""
    monkeypatch.setenv("GATE", SECRET)
    monkeypatch.delenv("NOT_SET_HERE", raising=False)
    with listing("qwen") as lister:
        text = f'[providers.gated]\nkind = "openai-compatible"\nbase_url = "{lister.url}"\n'
        text += 'headers = { "X-Gate" = "env:GATE", "X-Team" = "a" }\n'
        code, found = doctor(run, tmp_path, text, "--online")
        assert (code, found[0]["seen"]) == (0, f"gated: GATE, {len(SECRET)} characters")
        told = lister.headers[0]
        assert (told["x-gate"], told["x-team"], "authorization" in told) == (SECRET, "a", False)
        code, found = doctor(run, tmp_path, text.replace("env:GATE", "env:NOT_SET_HERE"), "--online")
        assert found[0]["seen"] == "gated: NOT_SET_HERE is not set here"
        assert len(lister.headers) == 1, "nobody is asked without them"
