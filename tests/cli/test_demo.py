"""What `airboss demo` starts ends with it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from airboss.cli.demo import prepare, running
from airboss.demo import story
from airboss.demo.story import Event, Story
from airboss.domain.errors import AirbossError, SetupError
from tests.cli.running import CONFIG
from tests.supervisor.children import alive
from tests.support.wait import until

WAITING = """
import signal, sys
from pathlib import Path
from airboss.cli.demo import running
with running(Path(sys.argv[1]), port=0, console_port=0) as up:
    print("ready", flush=True)
    signal.pause()
"""

STAYING = WAITING.replace("import running", "import running, until_ended").replace(
    "signal.pause()", "until_ended(up[1], Path(sys.argv[1]))"
)


@contextmanager
def showing(folder: Path, code: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A demo that runs this, and the process of its Airboss."""
    (folder / "airboss.toml").write_text(CONFIG)
    demo = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert demo.stdout is not None
        assert demo.stdout.readline() == "ready\n"
        yield demo, int((folder / ".airboss" / "lock").read_text())
    finally:
        demo.kill()
        demo.communicate()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_demo_that_ends_leaves_nothing_running(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """SIGTERM, as a service manager or a closed window sends it, ends its Airboss too, and so does what gives
    the demo no time to say so."""
    with showing(tmp_path, WAITING) as (demo, pid):
        assert alive(pid)
        demo.send_signal(number)
        assert demo.wait(60) == code
        until(lambda: not alive(pid))


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGTERM, 0, "was ended"), (signal.SIGKILL, 1, "ended with exit code -9; .*up.log says why")],
)
def test_a_demo_does_not_outlive_what_it_shows(
    tmp_path: Path, number: signal.Signals, code: int, said: str
) -> None:
    """Its Airboss ends by another hand while nobody tells it anything any more."""
    with showing(tmp_path, STAYING) as (demo, pid):
        os.kill(pid, number)
        assert demo.wait(60) == code
        assert demo.stdout is not None
        assert re.search(said, demo.stdout.read())


def test_a_demo_that_cannot_be_says_what_to_change(tmp_path: Path) -> None:
    """A port in use, as `up` says it, and a folder that cannot be made, by its name."""
    (tmp_path / "airboss.toml").write_text(CONFIG)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(SetupError, match=rf"up\.log says: port {port} .* is in use by [^{{}}]*$"),
            running(tmp_path, port=port, console_port=0),
        ):
            raise AssertionError("it cannot start")
    folder = tmp_path / "airboss.toml" / "demo"
    with pytest.raises(SetupError, match=f"^{folder} cannot be written: "):
        prepare(folder, "", "ab")


def test_a_slow_step_of_the_demo_goes_on_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes ten times as long: nobody is left without a word, and only what hangs is ended."""
    said: list[str] = []
    slow, heard = tmp_path / "slow", tmp_path / "heard"
    slow.write_text(f'#!/bin/sh\nuntil [ -e {heard} ]; do sleep 0.05; done\nexec {sys.executable} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))

    def tell(event: Event) -> None:
        said.append(event.text)
        heard.touch()

    ready = {"console_url": "http://127.0.0.1:8701"}
    told = Story(data_dir=tmp_path / "none", ready=ready, tell=tell, configured=lambda _: "")
    monkeypatch.setattr(story, "TOLD_S", 0.01)
    with pytest.raises(AirbossError, match="there is no Airboss data"):
        told._run(("status",))
    assert "still at it" in said[0]
    assert ready["console_url"] in said[0]
    heard.unlink()
    monkeypatch.setattr(story, "VERB_S", 0.0)
    with pytest.raises(AirbossError, match="did not end within"):
        told._run(("status",))
