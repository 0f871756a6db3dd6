"""For tests of your own application: a provider that misbehaves when told to.

    with FakeProvider() as provider:
        provider.script("429;retry_after=0", ScriptStep(behaviour="cut-reset;after=2", calls=3))
        …point your base URL at provider.url…
        assert provider.stats().requests == 4

It is a real process that speaks HTTP. `airboss.providers.fake_faults.FAULTS` lists what it can do.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from airboss.domain.errors import SetupError, WrongCall
from airboss.providers.fake_faults import FAULTS, Behaviour
from airboss.providers.fake_script import ScriptStep
from airboss.providers.fake_stats import Seen, Stats
from airboss.providers.fake_tuned import TuningPlay

__all__ = ["FAULTS", "Behaviour", "FakeProvider", "ScriptStep", "Seen", "Stats", "TuningPlay"]

START_S = 60.0
STOP_S = 5.0
CALL_S = 60.0


class FakeProvider:
    """A fake provider in a process of its own, on a free port of 127.0.0.1 unless told otherwise.

    Use it as a context manager, or call `start` and `stop`. `url` is the base URL, up to and including `/v1`.
    `default` is the behaviour of requests that ask for none. The process ends when this one does, however
    that ends. Raises SetupError when it cannot start, WrongCall when an order is refused.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        default: str = "ok",
        tls_cert: str | None = None,
        tls_key: str | None = None,
    ) -> None:
        self._command = [sys.executable, "-m", "airboss.providers.fake", "--host", host, "--port", str(port)]
        self._command += ["--default", default]
        if tls_cert is not None and tls_key is not None:
            self._command += ["--tls-cert", tls_cert, "--tls-key", tls_key]
        self._process: subprocess.Popen[str] | None = None
        self._lifeline: int | None = None
        self.url = ""
        self.control_url = ""
        self.port = 0

    def start(self) -> Self:
        """Start the process and wait until it listens."""
        read, self._lifeline = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                self._command,
                stdout=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                pass_fds=(read,),
                env={**os.environ, "AIRBOSS_LIFELINE_FD": str(read)},
                text=True,
            )
        finally:
            os.close(read)
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], START_S)
        line = self._process.stdout.readline() if readable else ""
        if not line:
            self.stop()
            raise SetupError(
                f"the fake provider did not start within {START_S} s; run {self._command} to see"
            )
        ready = json.loads(line)
        self.url, self.control_url, self.port = ready["url"], ready["control_url"], ready["port"]
        return self

    def stop(self) -> None:
        """End the process; stopping twice is nothing."""
        process, self._process = self._process, None
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)
        assert process.stdout is not None
        process.stdout.close()

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None, "the fake provider is not running; call start()"
        return self._process.pid

    def script(self, *steps: str | Behaviour | ScriptStep, append: bool = False) -> None:
        """Say how the next requests are answered. A bare behaviour is one call's. Without `append` the
        steps replace those that wait; without steps nothing waits."""
        queued = [step if isinstance(step, ScriptStep) else ScriptStep(behaviour=step) for step in steps]
        self._call("POST", "script", {"steps": queued, "append": append})

    def outage(self, for_s: float | None = None) -> None:
        """Reset every connection and refuse new ones for so long; None: until `reset`."""
        self._call("POST", "outage", {"for_s": for_s})

    def tuning(self, play: TuningPlay) -> None:
        """Say how the fine-tuning jobs that begin from now on run."""
        self._call("POST", "tuning", msgspec.to_builtins(play))

    def reset(self) -> None:
        """Forget the script, what was uploaded and trained, the counts and any outage."""
        self._call("POST", "reset", {})

    def stats(self) -> Stats:
        """What has been seen since the start or the last reset."""
        return msgspec.json.decode(self._call("GET", "stats", None), type=Stats)

    def last(self) -> Seen:
        """The newest request; raises WrongCall when there was none."""
        seen: Sequence[Seen] = self.stats().last
        if not seen:
            raise WrongCall("the fake provider has seen no request yet")
        return seen[-1]

    def _call(self, method: str, path: str, order: dict[str, Any] | None) -> bytes:
        where = urlsplit(self.control_url)
        connection = http.client.HTTPConnection(where.hostname or "127.0.0.1", where.port, timeout=CALL_S)
        try:
            connection.request(
                method, f"{where.path}/{path}", None if order is None else msgspec.json.encode(order)
            )
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise WrongCall(f"the fake provider refused {path}: {json.loads(body)['error']['message']}")
        return body

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
