"""What is measured side by side: the upstream itself, nginx, the proxies of LiteLLM and Portkey, Airboss.
Each is a context manager that starts real processes, pins them, and gives a `Peer`."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from airboss.testing import FakeProvider

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".cache" / "bench"
LITELLM = "1.102.4"
"""Not 1.82.7, 1.82.8 or 1.107.x: those were poisoned. It stays in an environment of its own."""

PORTKEY = "1.15.2"

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
START_S = 120.0
MODEL = "bench"

# No access log: nginx as quick as it gets. Unbuffered, because events must go out as they come; a small
# answer is as quick so. Request bodies stay in memory.
NGINX = """
daemon off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log warn; worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; client_max_body_size 64m; client_body_buffer_size 4m;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  upstream fake {{ server {upstream}; keepalive 2048; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://fake; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""

# `proxy_pass` and nothing else: before nginx 1.29.7 that is HTTP/1.0 and a new connection for each request.
NGINX_DEFAULT = """
daemon off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log warn; worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; client_max_body_size 64m;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://{upstream}; }} }}
}}
"""

LITELLM_CONFIG = """
model_list:
  - model_name: {model}
    litellm_params: {{model: openai/{model}, api_base: "{upstream}", api_key: sk-upstream}}
general_settings: {{master_key: sk-bench}}
litellm_settings: {{num_retries: 0, request_timeout: 60}}
"""

AIRBOSS_CONFIG = """
[providers.fake]
kind = "openai-compatible"
base_url = "{upstream}"
api_key = "file:{key}"

[models.fake]
provider = "fake"
model = "{model}"
price = {{ input_usd_per_mtok = 0.15, output_usd_per_mtok = 0.60 }}

[deployments.{model}]
model = "fake"

[policies.mask]
pii = {{ action = "mask" }}

[deployments.screened]
model = "fake"
policy = "mask"
"""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Something that answers chat requests. `worker`: the processes on its data path; `others`: the rest."""

    name: str
    version: str
    url: str
    key: str
    worker: tuple[int, ...] = ()
    others: tuple[int, ...] = ()
    data_dir: Path | None = None
    headers: tuple[str, ...] = ()
    """Lines more that its requests need."""

    def worker_cpu_s(self) -> float:
        """Processor time that the data path has used until now."""
        return sum(map(cpu_s, self.worker))

    def others_cpu_s(self) -> float:
        """Processor time that the other processes have used until now."""
        return sum(map(cpu_s, self.others))


def cpu_s(pid: int) -> float:
    """User and system time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def rss_bytes(pid: int) -> int:
    """Resident memory of a process; what processes share is counted in each."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def tree(pid: int) -> list[int]:
    """A process and all below it; what ends meanwhile is left out."""
    found = [pid]
    with contextlib.suppress(FileNotFoundError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                for child in (task / "children").read_text(encoding="utf-8").split():
                    found += tree(int(child))
    return found


def command(pid: int) -> str:
    """A process's command line."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()


def pin(pid: int, core: int) -> None:
    """Pin every thread of a process to a core."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def free_port() -> int:
    """A port of the loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(url: str, key: str, *, model: str = MODEL, headers: Sequence[str] = ()) -> bool:
    """Whether one chat call is answered well."""
    where = urlsplit(url)
    connection = HTTPConnection(where.hostname or "", where.port, timeout=30)
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8})
    named = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    named |= dict(line.split(": ", 1) for line in headers)
    try:
        connection.request("POST", f"{where.path}/chat/completions", body, named)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def wait_for(what: str, ready: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until `ready`, or raise with what the process said."""
    deadline = time.monotonic() + START_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{what} did not start: exit code {process.poll()}")
        time.sleep(0.1)


@contextlib.contextmanager
def started(
    arguments: list[str], core: int, log: Path, **environment: str
) -> Iterator[subprocess.Popen[str]]:
    """A process pinned from its first instruction, ended after; its log is shown when it failed."""
    with log.open("w", encoding="utf-8") as sink:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *arguments],
            stdout=subprocess.PIPE, stderr=sink, stdin=subprocess.DEVNULL, text=True,
            env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment},
        )  # fmt: skip
        try:
            yield process
        except BaseException:
            print(log.read_text(encoding="utf-8")[-2000:], file=sys.stderr)
            raise
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()


@contextlib.contextmanager
def direct(core: int, default: str) -> Iterator[Peer]:
    """The fake provider, which the others stand before."""
    with FakeProvider(default=default) as provider:
        pin(provider.pid, core)
        yield Peer(name="direct", version="", url=provider.url, key="sk-bench", worker=(provider.pid,))


@contextlib.contextmanager
def nginx(core: int, upstream: str, *, named: str = "nginx", config_text: str = NGINX) -> Iterator[Peer]:
    """Nginx as a proxy: one worker, connections kept on both sides, or as `config_text` says."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    version = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
    with tempfile.TemporaryDirectory() as name:
        port = free_port()
        text = config_text.format(dir=name, upstream=urlsplit(upstream).netloc, port=port)
        if os.geteuid() == 0:
            text = "user root;" + text  # the temporary directory is root's own
        config = Path(name) / "nginx.conf"
        config.write_text(text, encoding="utf-8")
        url = f"http://127.0.0.1:{port}/v1"
        with started([program, "-p", name, "-c", str(config)], core, Path(name) / "log") as process:
            wait_for(named, lambda: answers(url, "sk-bench"), process)
            workers = [pid for pid in tree(process.pid) if "worker process" in command(pid)]
            yield Peer(
                name=named, version=version.rpartition("/")[2].strip(), url=url, key="sk-bench",
                worker=tuple(workers), others=(process.pid,),
            )  # fmt: skip


def litellm_home() -> Path:
    """The folder of its environment, there or not."""
    return CACHE / f"litellm-{LITELLM}"


def litellm_environment() -> Path:
    """Its environment, installed on first use; returns the folder."""
    home = litellm_home()
    if not (home / "complete").exists():
        print(f"installing litellm[proxy]=={LITELLM} into {home}", file=sys.stderr)
        shutil.rmtree(home, ignore_errors=True)
        venv.create(home, with_pip=True)
        pip = [str(home / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"litellm[proxy]=={LITELLM}"], check=True)
        (home / "complete").touch()
    return home


@contextlib.contextmanager
def litellm(core: int, upstream: str) -> Iterator[Peer]:
    """LiteLLM's proxy: one worker, a master key, no database, no retries."""
    home = litellm_environment()
    with tempfile.TemporaryDirectory() as name:
        port = free_port()
        config = Path(name) / "config.yaml"
        config.write_text(LITELLM_CONFIG.format(model=MODEL, upstream=upstream), encoding="utf-8")
        url = f"http://127.0.0.1:{port}/v1"
        arguments = [str(home / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1"]
        arguments += ["--port", str(port), "--num_workers", "1", "--telemetry", "False"]
        quiet = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
        log = Path(name) / "log"
        with started(["sh", "-c", 'exec "$@" >/dev/null', "sh", *arguments], core, log, **quiet) as process:
            wait_for("LiteLLM", lambda: answers(url, "sk-bench"), process)
            yield Peer(
                name="litellm", version=LITELLM, url=url, key="sk-bench", worker=tuple(tree(process.pid))
            )


def portkey_home() -> Path | None:
    """The folder of Portkey's gateway, installed on first use; None where there is no node or no registry."""
    home = CACHE / f"portkey-{PORTKEY}"
    if (home / "complete").exists():
        return home
    if shutil.which("node") is None or shutil.which("npm") is None:
        print("Portkey's gateway is left out: there is no node and npm", file=sys.stderr)
        return None
    print(f"installing @portkey-ai/gateway@{PORTKEY} into {home}", file=sys.stderr)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
    install += ["--prefix", str(home), f"@portkey-ai/gateway@{PORTKEY}"]
    done = subprocess.run(install, check=False, capture_output=True, text=True, timeout=300)
    if done.returncode:
        print(f"Portkey's gateway is left out: {done.stderr[-500:]}", file=sys.stderr)
        return None
    (home / "complete").touch()
    return home


@contextlib.contextmanager
def portkey(core: int, upstream: str, home: Path) -> Iterator[Peer]:
    """Portkey's gateway, as `npx @portkey-ai/gateway` starts it; headers tell it of the upstream."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1"
    headers = ("x-portkey-provider: openai", f"x-portkey-custom-host: {upstream}")
    script = home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    arguments = ["sh", "-c", 'exec "$@" >/dev/null', "sh", shutil.which("node") or "node", str(script)]
    with (
        tempfile.TemporaryDirectory() as name,
        started([*arguments, f"--port={port}", "--headless"], core, Path(name) / "log") as process,
    ):
        wait_for("Portkey's gateway", lambda: answers(url, "sk-bench", headers=headers), process)
        yield Peer(
            name="portkey", version=PORTKEY, url=url, key="sk-bench", worker=tuple(tree(process.pid)),
            headers=headers,
        )  # fmt: skip


@contextlib.contextmanager
def airboss(
    core: int, upstream: str, *, rest_core: int | None = None, cores: tuple[int, ...] = ()
) -> Iterator[Peer]:
    """Airboss with everything on: key, journal with bodies, prices, metrics, controller and store. Its model
    `screened` is the same under a policy that masks.

    The gateway worker has `core`; controller, store and supervisor have `rest_core`, or the same one. With
    `cores` there is a worker on each of those.
    """
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        (here / "key").write_text("sk-upstream-0123456789", encoding="utf-8")
        config = here / "airboss.toml"
        text = AIRBOSS_CONFIG.format(upstream=upstream, key=here / "key", model=MODEL)
        config.write_text(text, encoding="utf-8")
        arguments = [sys.executable, "-m", "airboss.cli.main"]
        installed = Path(sys.executable).with_name("airboss")
        arguments = [str(installed)] if installed.exists() else arguments
        arguments += ["up", "--json", "--config", str(config), "--data-dir", str(here / "data")]
        arguments += ["--port", str(free_port()), "--console-port", str(free_port())]
        arguments += ["--workers", str(len(cores) or 1)]
        with started(arguments, core, here / "log") as process:
            assert process.stdout is not None
            readable, _, _ = select.select([process.stdout], [], [], START_S)
            line = process.stdout.readline() if readable else ""
            if not line:
                raise SystemExit("airboss up did not get ready")
            ready = json.loads(line)
            wait_for("Airboss", lambda: answers(ready["base_url"], ready["api_key"]), process)
            pids = tree(process.pid)
            workers = [pid for pid in pids if " gateway " in f"{command(pid)} "]
            others = [pid for pid in pids if pid not in workers]
            for pid in others if rest_core is not None else []:
                pin(pid, rest_core or 0)
            for pid, own in zip(workers, cores, strict=False):
                pin(pid, own)
            version = subprocess.run([*arguments[:1], "version"], capture_output=True, text=True, check=False)
            yield Peer(
                name=f"airboss, {len(cores)} workers" if cores else "airboss",
                version=version.stdout.strip().rpartition(" ")[2], url=ready["base_url"],
                key=ready["api_key"], worker=tuple(workers), others=tuple(others),
                data_dir=here / "data",
            )  # fmt: skip
