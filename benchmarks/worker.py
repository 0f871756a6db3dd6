"""Processor time that one gateway worker takes for a call, beside nginx's, though the machine be busy.

    python -m benchmarks.worker [--src DIR]…
    python -m benchmarks.worker --connections 8 --prompt-bytes 100000
    python -m benchmarks.worker --connections 8 --prompt-bytes 100000 --prompt-file ARCHITECTURE.md
    python -m benchmarks.worker --connections 8 --image-bytes 2000000

One worker with a plan that does not change and everything on (key, journal, redaction, price, metrics),
without controller and record store; the journal is thinned out as the mover would. `--src` names the `src` of
another checkout, to be measured in turns with this one. Requests a second say little when others use the
machine; microseconds of processor time a call, as the lower quartile of short turns, say more.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from benchmarks import peers
from benchmarks.gateway import ANSWER_TOKENS, answer_of
from benchmarks.peers import MODEL, TICK_S, Peer
from benchmarks.stats import keep, machine, quantile, table

KEY = "ab_" + "k" * 43
SECRET = "sk-upstream-0123456789"
SEGMENTS_KEPT = 4
SCREENED = "screened"
"""The model under a policy that masks."""


def main(arguments: list[str] | None = None) -> None:
    """Measure in turns, or be the worker that is measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worker", description=__doc__)
    parser.add_argument("--src", action="append", default=[], metavar="DIR", help="another checkout's src")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--prompt-bytes", type=int, default=0, help="so many more of text in each call")
    parser.add_argument("--prompt-file", help="their text, in place of one letter")
    parser.add_argument("--image-bytes", type=int, default=0, help="of an image in each call, as base64")
    parser.add_argument("--serve", nargs=2, metavar=("FD", "UPSTREAM"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve_on(socket.socket(fileno=int(options.serve[0])), options.serve[1])
        return
    with contextlib.ExitStack() as stack:
        direct = stack.enter_context(peers.direct(1, "ok"))
        workers = [worker(src, direct.url) for src in (str(peers.ROOT / "src"), *options.src)]
        up = [stack.enter_context(one) for one in (peers.nginx(0, direct.url), *workers)]
        rows = [measured(peer, options) for peer in up * (options.rounds + 1)]
    shown = [summary(peer, [row for row in rows[len(up) :] if row["name"] == peer.name]) for peer in up]
    for row in shown:
        row["of nginx"] = shown[0]["µs a call"] / row["µs a call"]
    info = machine()
    print(json.dumps(info))
    print(table(shown))
    print(keep("worker", {"machine": info, "rows": shown}))


def measured(peer: Peer, options: argparse.Namespace) -> dict[str, Any]:
    """One turn: user and system microseconds a call."""
    command = [sys.executable, "-m", "benchmarks.load", "closed", peer.url, "--key", peer.key, "--cpu", "1"]
    command += ["--model", MODEL, "--seconds", str(options.seconds), "--warm-s", "0.1"]
    command += ["--connections", str(options.connections), "--prompt", answer_of(ANSWER_TOKENS)]
    command += ["--prompt-bytes", str(options.prompt_bytes), "--image-bytes", str(options.image_bytes)]
    command += ["--prompt-file", options.prompt_file] if options.prompt_file else []
    before = times(peer.worker[0])
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=peers.ROOT)
    after = times(peer.worker[0])
    said = json.loads(done.stdout)
    if said["errors"]:
        raise SystemExit(f"{peer.name}: {said['errors']} errors")
    user, system = (1e6 * (b - a) / said["requests_with_warming"] for a, b in zip(before, after, strict=True))
    return {"name": peer.name, "user": user, "system": system, "rate": said["requests_per_s"]}


def times(pid: int) -> tuple[float, float]:
    """User and system time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(fields[11]) * TICK_S, int(fields[12]) * TICK_S


def summary(peer: Peer, turns: list[dict[str, Any]]) -> dict[str, Any]:
    """A row of the table: lower quartiles."""

    def lower(name: str) -> float:
        return quantile(sorted(turn[name] for turn in turns), 0.25)

    whole = quantile(sorted(turn["user"] + turn["system"] for turn in turns), 0.25)
    return {
        "": peer.name,
        "µs a call": whole,
        "user": lower("user"),
        "system": lower("system"),
        "requests/CPU-s": 1e6 / whole,
    }


@contextlib.contextmanager
def worker(src: str, upstream: str) -> Iterator[Peer]:
    """A worker from some source, on core 0."""
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.create_server(("127.0.0.1", 0), backlog=4096) as listen,
    ):
        os.set_inheritable(listen.fileno(), True)
        command = ["taskset", "-c", "0", sys.executable, "-m", "benchmarks.worker"]
        command += ["--serve", str(listen.fileno()), upstream]
        with Path(folder, "log").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                command, cwd=peers.ROOT, stdout=log, stderr=log, pass_fds=[listen.fileno()],
                env={**os.environ, "PYTHONPATH": src, "TMPDIR": folder},
            )  # fmt: skip
        url = f"http://127.0.0.1:{listen.getsockname()[1]}/v1"
        # Here, because it is the mover's work and not the worker's.
        threading.Thread(target=thin_out, args=(Path(folder),), daemon=True).start()
        try:
            deadline = time.monotonic() + peers.START_S
            while not peers.answers(url, KEY):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(Path(folder, "log").read_text(encoding="utf-8")[-2000:])
            name = "airboss" if Path(src) == peers.ROOT / "src" else f"airboss of {Path(src).parent.name}"
            yield Peer(name=name, version="", url=url, key=KEY, worker=(process.pid,))
        finally:
            process.terminate()
            process.wait(60)


# -- the worker's own process


def serve_on(listen: socket.socket, upstream: str) -> None:
    """Serve one deployment until told to stop."""
    # Here, because the process that measures needs none of it, and another checkout may lack some of it.
    from airboss.gateway.serve import GatewaySettings, serve  # noqa: PLC0415
    from airboss.telemetry.journal import JournalWriter  # noqa: PLC0415 - of the tree under test

    root = Path(tempfile.mkdtemp())
    journal = JournalWriter(root / "journal", "gateway-0")
    (root / "metrics").mkdir()
    settings = GatewaySettings(
        name="gateway-0",
        body_bytes_max=32 << 20,
        metrics_dir=root / "metrics",
        metrics_open=True,
        admin_key="admin-key-0123456789",
        own_secrets=("ab_" + "x" * 43, "ab_" + "y" * 43),
    )
    still = Still(upstream)

    async def served() -> None:
        await serve(
            ledger=still,  # type: ignore[arg-type]  # the two methods that a gateway asks
            journal=journal,
            listen=listen,
            settings=settings,
            provider_key=lambda _: SECRET,
            clock=still,
        )

    uvloop.run(served())
    journal.stop()
    shutil.rmtree(root)


def thin_out(folder: Path) -> None:
    """Delete segments that are full, as the mover does with those it has moved, for as long as the folder is
    there."""
    while folder.exists():
        time.sleep(0.1)
        for segment in sorted(folder.glob("*/journal/*/*.seg"))[:-SEGMENTS_KEPT]:
            segment.unlink(missing_ok=True)


class Still:
    """A ledger whose plan does not change, and a clock."""

    def __init__(self, upstream: str) -> None:
        from airboss.domain import plan, ports, release  # noqa: PLC0415 - see `serve_on`
        from airboss.governance.keys import hash_key  # noqa: PLC0415 - as above
        from airboss.governance.policies import policy_of  # noqa: PLC0415 - as above

        model = release.ModelVersion(provider="fake", kind="openai-compatible", model=MODEL)
        price = plan.Price(input_usd_per_mtok=Decimal("0.15"), output_usd_per_mtok=Decimal("0.60"))
        target = plan.Target(
            provider="fake",
            kind="openai-compatible",
            base_urls=(upstream,),
            upstream_model=MODEL,
            api_key_ref="file:/key",
            price=price,
        )
        stable = release.Release(digest="d" * 64, name=MODEL, model=model)
        deployment = plan.DeploymentPlan(name=MODEL, aliases=(), stable=stable, target=target)
        screened = msgspec.structs.replace(deployment, name=SCREENED, policy=policy_of("mask", None))
        now = datetime.now(UTC)
        self._snapshot = ports.Snapshot(
            revision=1,
            plan=plan.ServingPlan(number=1, created_at=now, deployments=(deployment, screened)),
            keys=(ports.ApiKey(name="app", sha256=hash_key(KEY), created_at=now),),
        )

    def revision(self) -> int:
        """Always the same."""
        return 1

    def snapshot(self) -> Any:
        """The plan."""
        return self._snapshot

    def now(self) -> datetime:
        """Wall-clock time."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()


if __name__ == "__main__":
    main()
