"""Traces taken a second by OTLP, and how many of those that were acknowledged are there after kill -9.

    python -m benchmarks.ingest [--seconds 10]

Airboss, MLflow and Phoenix, one worker and one core each, as their documentation starts them with SQLite
(Airboss with its own DuckDB). The same requests are sent to each by four connections: traces of one model
of 1 KB, 20 to a request. A 2xx is an acknowledgement; right after the last one every process is killed. The
last line is Airboss again, with calls through its gateway: its journal keeps those, not an app's OTLP.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
from benchmarks import peers
from benchmarks.stats import keep, machine, table
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

MLFLOW = "3.17.2"
PHOENIX = "20.26.1"
TRACES = 20
CONNECTIONS = 4
ASKED = "How long may a parcel be on its way before it counts as lost? " * 8
SAID = "Fourteen days within the country, thirty abroad; then write to us. " * 8
ATTRIBUTES = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": ASKED}]}]),
    "gen_ai.output.messages": json.dumps(
        [{"role": "assistant", "parts": [{"type": "text", "content": SAID}]}]
    ),
}


def request() -> bytes:
    """An export of so many traces, each of one span."""
    made = ExportTraceServiceRequest()
    scope = made.resource_spans.add().scope_spans.add()
    for _ in range(TRACES):
        span = scope.spans.add(
            trace_id=os.urandom(16), span_id=os.urandom(8), name="chat gpt-4o-mini", kind=3
        )
        span.start_time_unix_nano = time.time_ns() - 10**9
        span.end_time_unix_nano = span.start_time_unix_nano + 10**9
        for key, value in ATTRIBUTES.items():
            span.attributes.add(key=key).value.string_value = value
        for key, number in (("gen_ai.usage.input_tokens", 120), ("gen_ai.usage.output_tokens", 110)):
            span.attributes.add(key=key).value.int_value = number
    return made.SerializeToString()


def send(url: str, headers: dict[str, str], until: float, took: dict[str, int]) -> None:
    """Send until then, one request after another on a kept connection."""
    where = urlsplit(url)
    connection = HTTPConnection(where.hostname or "", where.port, timeout=60)
    headers = {"content-type": "application/x-protobuf", **headers}
    while time.monotonic() < until:
        try:
            connection.request("POST", where.path, request(), headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, HTTPException):
            connection.close()
            took["refused"] += TRACES
            continue
        took["acknowledged" if answer.status // 100 == 2 else "refused"] += TRACES
    connection.close()


def load(url: str, headers: dict[str, str], seconds: float) -> dict[str, int]:
    """What became of all that was sent by all connections."""
    took = [{"acknowledged": 0, "refused": 0} for _ in range(CONNECTIONS)]
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=send, args=(url, headers, until, each)) for each in took]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {name: sum(each[name] for each in took) for name in took[0]}


def environment(package: str, version: str) -> Path:
    """The `bin` of its environment, which is made on first use."""
    home = peers.CACHE / f"{package}-{version}"
    if not (home / "complete").exists():
        print(f"installing {package}=={version} into {home}", file=sys.stderr)
        shutil.rmtree(home, ignore_errors=True)
        venv.create(home, with_pip=True)
        pip = [str(home / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"{package}=={version}"], check=True)
        (home / "complete").touch()
    return home / "bin"


def killed(pids: Sequence[int]) -> None:
    """Kill all of them at once, as far as they are there."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def measured(name: str, root: int, taken: Callable[[], dict[str, int]]) -> dict[str, Any]:
    """What a server took, by the clock and by its processor time, until it and all below it were killed."""
    before = sum(map(peers.cpu_s, peers.tree(root)))
    began = time.monotonic()
    took = taken()
    wall = time.monotonic() - began
    pids = peers.tree(root)
    cpu = sum(map(peers.cpu_s, pids)) - before
    killed(pids)
    return {
        "": name,
        "acknowledged": took["acknowledged"],
        "a second": round(took["acknowledged"] / wall),
        "a CPU-second": round(took["acknowledged"] / cpu) if cpu else 0,
        "refused": took["refused"],
    }


def is_up(port: int, path: str) -> bool:
    """Whether a server answers there."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 500
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


@contextmanager
def folder() -> Iterator[Path]:
    """A place for what a server keeps."""
    with tempfile.TemporaryDirectory(prefix="airboss-ingest-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def rival(name: str, core: int, seconds: float) -> dict[str, Any]:
    """MLflow or Phoenix, each on SQLite with one worker."""
    with folder() as here:
        port, grpc = peers.free_port(), peers.free_port()
        if name == "MLflow":
            program = environment("mlflow", MLFLOW)
            arguments = [str(program / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port)]
            arguments += ["--workers", "1", "--backend-store-uri", f"sqlite:///{here}/kept.db"]
            arguments += ["--default-artifact-root", str(here / "artifacts")]
            base, headers, version = here / "kept.db", {"x-mlflow-experiment-id": "0"}, MLFLOW
            more, ask = {"MLFLOW_DISABLE_TELEMETRY": "true"}, "select count(*) from trace_info"
        else:
            program = environment("arize-phoenix", PHOENIX)
            arguments = [str(program / "phoenix"), "serve"]
            base, headers, version = here / "phoenix.db", {}, PHOENIX
            more = {"PHOENIX_WORKING_DIR": str(here), "PHOENIX_HOST": "127.0.0.1", "PHOENIX_PORT": str(port)}
            more |= {"PHOENIX_GRPC_PORT": str(grpc), "PHOENIX_TELEMETRY_ENABLED": "false"}
            ask = "select count(*) from traces"
        more["PATH"] = f"{program}:{os.environ['PATH']}"
        quiet = ["sh", "-c", 'exec "$@" >/dev/null', "sh", *arguments]
        with started(quiet, core, here / "log", more) as process:
            peers.wait_for(name, lambda: is_up(port, "/"), process)
            url = f"http://127.0.0.1:{port}/v1/traces"
            before = load(url, headers, 1.0)["acknowledged"]  # the first ones make tables and caches
            settled(lambda: count(base, ask), before)
            row = measured(f"{name} {version}", process.pid, lambda: load(url, headers, seconds))
        kept = count(base, ask) - before
        return row | {"lost": max(0, row["acknowledged"] - kept)}


@contextmanager
def started(
    arguments: list[str], core: int, log: Path, more: dict[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """As `peers.started`, of a server that finds its programs on a path of its own."""
    with log.open("w") as sink:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *arguments],
            env={"HOME": str(log.parent), **more},
            stdout=sink,
            stderr=sink,
            text=True,
            cwd=log.parent,
        )
        try:
            yield process
        except BaseException:
            print(log.read_text()[-2000:], file=sys.stderr)
            raise
        finally:
            if process.poll() is None:
                killed(peers.tree(process.pid))
            process.wait()


def settled(count: Callable[[], int], sent: int) -> None:
    """Wait until all that was sent so far is kept: so it is known that the count counts what was sent."""
    until = time.monotonic() + 90
    while (kept := count()) < sent:
        if time.monotonic() > until:
            raise SystemExit(f"{kept} of {sent} traces were kept after 90 s without a kill")
        time.sleep(0.5)


def count(base: Path, ask: str) -> int:
    """What a server's SQLite file holds, once what it was writing is either there or not."""
    with closing(sqlite3.connect(base, timeout=60)) as connection:
        ((found,),) = connection.execute(ask).fetchall()
    return int(found)


def ours(core: int, rest: int, seconds: float, *, by_gateway: bool) -> dict[str, Any]:
    """Airboss by its OTLP endpoint, or by calls through its gateway; all its processes on one core."""
    with folder() as here, peers.direct(rest, "ok") as direct, peers.airboss(core, direct.url) as airboss:
        root = airboss.others[0]
        headers = {"authorization": f"Bearer {airboss.key}"}

        def taken() -> dict[str, int]:
            if by_gateway:
                return called(airboss, rest, seconds)
            return load(f"{airboss.url}/traces", headers, seconds)

        row = measured("Airboss, by its gateway" if by_gateway else "Airboss, by OTLP", root, taken)
        assert airboss.data_dir is not None
        data = here / "data"
        shutil.move(airboss.data_dir, data)
        # A verb on the data of a stopped Airboss moves what is in journals first, as the next start would.
        command = [sys.executable, "-m", "airboss.cli.main", "status", "--json", "--data-dir", str(data)]
        subprocess.run(command, capture_output=True, check=False, timeout=600)
        ask = "select count(distinct id) from records where provider = 'fake'"
        ask = ask if by_gateway else "select count(distinct trace_id) from spans"
        with duckdb.connect(str(data / "records.duckdb"), read_only=True) as connection:
            ((kept,),) = connection.execute(ask).fetchall()
        return row | {"lost": max(0, row["acknowledged"] - kept)}


def called(airboss: peers.Peer, core: int, seconds: float) -> dict[str, int]:
    """Calls through the gateway, by the load that `gateway.py` uses."""
    command = [sys.executable, "-m", "benchmarks.load", "closed", airboss.url, "--key", airboss.key]
    command += ["--model", peers.MODEL, "--cpu", str(core), "--warm-s", "0", "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, cwd=peers.ROOT)
    result = json.loads(done.stdout)
    return {"acknowledged": result["requests_with_warming"], "refused": result["errors"]}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each, print and keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args(arguments)
    cores = sorted(os.sched_getaffinity(0))
    core, rest = cores[0], cores[-1]
    print(json.dumps(machine()))
    os.sched_setaffinity(0, {rest})
    rows = [
        ours(core, rest, given.seconds, by_gateway=False),
        rival("MLflow", core, given.seconds),
        rival("Phoenix", core, given.seconds),
        ours(core, rest, given.seconds, by_gateway=True),
    ]
    os.sched_setaffinity(0, cores)
    print(table(rows))
    print(f"\n{keep('ingest', {'rows': rows})}")


if __name__ == "__main__":
    main()
