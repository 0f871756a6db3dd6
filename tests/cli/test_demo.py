"""What `airboss demo` starts ends with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.cli.running import CONFIG
from tests.supervisor.children import alive
from tests.support.wait import until

WAITING = """
import signal, sys
from pathlib import Path
from airboss.cli.demo import running
with running(Path(sys.argv[1]), port=0, console_port=0):
    print("ready", flush=True)
    signal.pause()
"""


def test_a_demo_that_is_told_to_end_leaves_nothing_running(tmp_path: Path) -> None:
    """SIGTERM, as a service manager or a closed window sends it, ends its Airboss too."""
    (tmp_path / "airboss.toml").write_text(CONFIG)
    demo = subprocess.Popen(
        [sys.executable, "-c", WAITING, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert demo.stdout is not None
        assert demo.stdout.readline() == "ready\n"
        pid = int((tmp_path / ".airboss" / "lock").read_text())
        assert alive(pid)
        demo.terminate()
        assert demo.wait(30) == 0
        until(lambda: not alive(pid))
    finally:
        demo.kill()
        demo.communicate()
