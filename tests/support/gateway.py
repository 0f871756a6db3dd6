"""A gateway worker in a process of its own, and what its journal says."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from threading import Lock
from typing import Any, Self, TypeVar

import httpx2
import msgspec

from airboss.domain.plan import DeploymentPlan, Price, Retry, ServingPlan, Target, Timeouts
from airboss.domain.ports import ApiKey, Snapshot
from airboss.domain.record import ClosedCall
from airboss.domain.release import ModelVersion, Policy, Release
from airboss.governance.keys import hash_key
from airboss.telemetry.frames import FrameKind, read_frames
from tests.support.forked import LISTEN, Forked, inherited, original
from tests.support.wait import until

Case = TypeVar("Case")
Seen = TypeVar("Seen")

KEY = "ab_" + "k" * 43
DIGEST = "d" * 64


PATIENT = Timeouts(total_s=120.0, first_token_s=60.0, idle_s=60.0)
"""Times that run out on no machine, however busy it is."""
HASTY = Timeouts(total_s=6.0, first_token_s=3.0, idle_s=1.0)
"""Times that are to run out."""
SILENT = frozenset({"silence", "stall"})
"""Faults that end no sooner than somebody's patience."""


def deployment(url: str, **changes: Any) -> DeploymentPlan:
    """A deployment `assistant`, alias `gpt-4o`, at `url`; `changes` are fields of it or of its target."""
    target = {f: changes.pop(f) for f in Target.__struct_fields__ if f in changes}
    model = ModelVersion(provider="fake", kind="openai-compatible", model="up")
    fields: dict[str, Any] = {
        "name": "assistant",
        "aliases": ("gpt-4o",),
        "stable": Release(digest=DIGEST, name="assistant", model=model),
        "target": Target(
            **{
                "provider": "fake",
                "kind": "openai-compatible",
                "base_urls": (url,),
                "upstream_model": "up",
            }
            | target
        ),
        "timeout": Timeouts(total_s=20.0, first_token_s=10.0, idle_s=10.0),
        "retry": Retry(attempts=1),
    }
    return DeploymentPlan(**fields | changes)


def hasty(plan: DeploymentPlan, times: Timeouts = HASTY) -> DeploymentPlan:
    """The same deployment for calls whose time is to run out."""
    return msgspec.structs.replace(plan, name=f"hasty-{plan.name}", aliases=(), timeout=times)


PRICE = Price(input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(2))


def together(cases: Mapping[Case, Callable[[], Seen]]) -> dict[Case, Seen]:
    """What each comes to. All begin at once: each does nothing but wait until a time runs out."""
    with ThreadPoolExecutor(len(cases)) as pool:
        begun = {case: pool.submit(call) for case, call in cases.items()}
        return {case: each.result() for case, each in begun.items()}


def asking(line: str, text: str) -> str:
    """A prompt that has the fake provider answer as this line says, whatever else is asked meanwhile."""
    fault, *options = line.split(";")
    told = (each.partition("=") for each in options)
    return "fake:" + json.dumps({"fault": fault, "text": text} | {name: float(by) for name, _, by in told})


_LEFT_OUT: dict[str, Any] = json.loads(
    msgspec.json.encode({f.name: f.default for f in msgspec.structs.fields(ClosedCall) if not f.required})
)
"""What a close frame leaves out, because it is as usual."""


class Clock:
    """The worker's clocks, by how much each is ahead of the machine's."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._path = root / "clock"
        self.set()

    def set(self, *, wall_s: float = 0, passed_s: float = 0) -> None:
        """`passed_s` have truly passed, and the wall clock was set by `wall_s` beside that."""
        temporary = self._path.with_suffix(".new")
        temporary.write_text(f"{wall_s + passed_s} {passed_s}")
        temporary.replace(self._path)


COMMAND = "tests.support.gateway_process"


class Gateway:
    """A running worker. `url` is its root, without `/v1`. `forked` as in `tests.support.forked`, where the
    system can."""

    def __init__(
        self,
        root: Path,
        *deployments: DeploymentPlan,
        keys: tuple[ApiKey, ...] | None = None,
        policies: dict[str, Policy] | None = None,
        bodies: bool = True,
        body_bytes_max: int = 32 * 1024 * 1024,
        process: str = COMMAND,
        options: tuple[str, ...] = (),
        forked: bool = True,
    ) -> None:
        self._root = root
        self._process_module = process
        self._options = options
        self.keys = keys or (ApiKey(name="app", sha256=hash_key(KEY), created_at=datetime.now(UTC)),)
        self.policies = policies or {}
        self._bodies = bodies
        self._body_bytes_max = body_bytes_max
        self._revision = 0
        self._opened: dict[str, Any] = {}
        self._closed: dict[str, Any] = {}
        self._others: list[tuple[FrameKind, dict[str, Any]]] = []
        self._read_to: dict[Path, int] = {}
        self._reading = Lock()
        self.journal = root / "journal"
        self.journal.mkdir(parents=True)
        self.publish(*deployments)
        self._listen = socket.socket()
        self._listen.bind(("127.0.0.1", 0))
        self._listen.listen(1024)
        self.port = self._listen.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        usual = process == COMMAND and hasattr(os, "pidfd_open")
        self.process = self._fork() if forked and usual else self._start()

    def _start(self) -> subprocess.Popen[bytes] | Forked:
        fd = self._listen.fileno()
        command = [sys.executable, "-m", self._process_module, *self._arguments(fd)]
        with (self._root / "log").open("ab") as log:
            return subprocess.Popen(command, pass_fds=(fd,), stdout=log, stderr=log)

    def _fork(self) -> subprocess.Popen[bytes] | Forked:
        if original().inherits != inherited():
            return self._start()
        with (self._root / "log").open("ab") as log:
            return original().start(self._arguments(LISTEN), self._listen.fileno(), log.fileno())

    def _arguments(self, fd: int) -> list[str]:
        given = (self._root / "snapshot.json", self.journal, fd, self._body_bytes_max, *self._options)
        return [str(each) for each in given]

    def restart(self) -> None:
        """Start again on the same socket, after a kill."""
        self.process = self._start()

    def publish(self, *deployments: DeploymentPlan) -> None:
        """Replace the plan."""
        self._revision += 1
        now = datetime.now(UTC)
        plan = ServingPlan(
            number=self._revision,
            created_at=now,
            deployments=deployments,
            bodies=self._bodies,
            policies=self.policies,
        )
        path = self._root / "snapshot.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(
            msgspec.json.encode(Snapshot(revision=self._revision, plan=plan, keys=self.keys))
        )
        temporary.replace(path)

    @property
    def log(self) -> str:
        """What the worker has logged."""
        return (self._root / "log").read_text()

    def client(self, **options: Any) -> httpx2.Client:
        """An HTTP client with the key."""
        headers = {"authorization": f"Bearer {KEY}"}
        # Without `verify=False` each reads the machine's certificates, which takes longer than most calls.
        return httpx2.Client(base_url=self.url, headers=headers, timeout=60.0, verify=False, **options)

    def chat(self, content: str = "hi", **body: Any) -> httpx2.Response:
        """One chat call."""
        with self.client() as client:
            return client.post(
                "/v1/chat/completions",
                json={"model": "gpt-4o", "messages": [{"role": "user", "content": content}]} | body,
            )

    def leave(self, path: str, body: dict[str, Any], *, once: Callable[[], object]) -> None:
        """A call whose client goes as soon as `once` is true, with nothing of an answer read."""
        raw = msgspec.json.encode(body)
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as client:
            client.sendall(
                f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
                f"content-length: {len(raw)}\r\n\r\n".encode()
                + raw
            )
            until(once)

    def heard(self) -> None:
        """Wait until the worker has read what was sent to it before."""
        with self.client() as client:
            for _ in range(2):
                assert client.get("/healthz").status_code == 200

    def frames(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Opened and closed calls by id, as the journal has them now."""
        self._read_on()
        return dict(self._opened), dict(self._closed)

    def _read_on(self) -> None:
        """Read what has come since: tests that share a worker would read all of each other's calls."""
        with self._reading:  # calls that are made together wait for their records together
            self._read_segments()

    def _read_segments(self) -> None:
        for segment in sorted(self.journal.glob("*/*.seg")):
            at = self._read_to.get(segment, 0)
            with segment.open("rb") as file:
                file.seek(at)
                found = read_frames(file.read(), final=False, frames_max=1_000_000)
            self._read_to[segment] = at + found.end
            for frame in found.frames:
                said = json.loads(frame.payload)
                if frame.kind not in {"open", "close"}:
                    self._others.append((frame.kind, said))
                    continue
                into = self._opened
                if frame.kind == "close":
                    said, into = _LEFT_OUT | said, self._closed
                assert said["id"] not in into, "a frame stands twice"
                into[said["id"]] = said

    def scores(self) -> list[dict[str, Any]]:
        """The feedback that the journal has now, in order."""
        return self._of_kind("score")

    def spans(self) -> list[dict[str, Any]]:
        """The spans that the journal has now, in order."""
        return self._of_kind("span")

    def _of_kind(self, wanted: FrameKind) -> list[dict[str, Any]]:
        self._read_on()
        return [said for kind, said in self._others if kind == wanted]

    def journal_bytes(self) -> bytes:
        """Every byte of the journal."""
        return b"".join(segment.read_bytes() for segment in sorted(self.journal.glob("*/*.seg")))

    def closed(self, record_id: str) -> dict[str, Any]:
        """The close frame of a call, waited for."""
        return until(lambda: self.frames()[1].get(record_id))

    def only_closed(self) -> dict[str, Any]:
        """The close frame of the only call so far, waited for."""
        return until(lambda: next(iter(self.frames()[1].values()), None))

    def spent_s(self) -> float:
        """The processor time that the worker has taken, which no other process makes longer."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """End it at once, as `kill -9` does."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def __enter__(self) -> Self:
        def ready() -> bool:
            assert self.process.poll() is None, self.log
            try:
                return httpx2.get(f"{self.url}/readyz", timeout=5.0, verify=False).status_code == 200
            except httpx2.TransportError:
                return False

        until(ready, timeout_s=60.0)
        return self

    def __exit__(self, *exc: object) -> None:
        self._listen.close()
        self.stop()
        assert "Traceback" not in self.log, self.log
