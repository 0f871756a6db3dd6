"""`airboss up` as a real process, from its start to its end."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from airboss.console.desk import TAKEN_S
from airboss.gateway.serve import DRAIN_S
from tests.cli.running import COMMAND, CONFIG, Running, environment, up, verb
from tests.supervisor.children import alive
from tests.support.certificates import self_signed
from tests.support.files import holding
from tests.support.ports import unused_port
from tests.support.started import started
from tests.support.wait import until


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One that the tests of a running one share."""
    with up(tmp_path_factory.mktemp("up"), "--workers", "2") as started:
        yield started


def get(url: str, key: str | None = None) -> int:
    """The status of a GET."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    connection.request("GET", parts.path, headers={"authorization": f"Bearer {key}"} if key else {})
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_key_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    """By `apply` and by `status`, not only by the log and the first call; with the key all is well, and a
    stopped one does not guess with what it will be started."""
    keyed = CONFIG.replace('9/v1"', '9/v1"\napi_key = "env:AIRBOSS_TEST_UP_KEY"')
    (tmp_path / "airboss.toml").write_text(keyed + '[notifiers.ops]\nslack = "env:AIRBOSS_TEST_UP_HOOK"\n')
    with up(tmp_path) as running:
        applied = running.verb("apply", "airboss.toml", "--json")
        [key, hook] = json.loads(applied.stdout)["warnings"]
        assert "AIRBOSS_TEST_UP_KEY, which is not set where Airboss was started" in key
        assert "notifiers.ops: the environment variable AIRBOSS_TEST_UP_HOOK is not set" in hook
        assert "calls that need it get 503" in running.verb("apply", "airboss.toml").stderr
        shown = running.verb("status", "--json")
        assert (shown.returncode, json.loads(shown.stdout)["deployments"][0]["state"]) == (1, "down")
    assert "which is not set" not in running.verb("apply", "airboss.toml").stderr
    with up(tmp_path, AIRBOSS_TEST_UP_KEY="k", AIRBOSS_TEST_UP_HOOK="https://hooks.example/x") as running:
        assert running.verb("status").returncode == 0
        assert json.loads(running.verb("apply", "airboss.toml", "--json").stdout)["warnings"] == []


def models(running: Running) -> bytes:
    """What /v1/models says."""
    parts = urlsplit(running.ready["base_url"])
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    connection.request("GET", "/v1/models", headers={"authorization": f"Bearer {running.ready['api_key']}"})
    answer = connection.getresponse().read()
    connection.close()
    return answer


def test_sigterm_stops_everything_and_exits_0(tmp_path: Path) -> None:
    """After SIGTERM nothing runs, the exit code is 0, and the data can be read: status says no, records says
    what there is, apply and export work."""
    with up(tmp_path) as running:
        pids = running.pids()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(60) == 0
    assert not any(alive(pid) for pid in pids.values())
    assert not (tmp_path / "data" / "run" / "up.json").exists()
    done = verb(tmp_path, "status", "--json")
    assert (done.returncode, json.loads(done.stdout)["running"]) == (1, False)
    assert running.verb("records", "--json").returncode == 0
    (tmp_path / "airboss.toml").write_text(CONFIG.replace("small-1", "small-2"))
    assert "small-2" in running.verb("diff", "airboss.toml").stdout
    with up(tmp_path) as running:
        assert any("differs" in line["message"] for line in running.log()), "the ledger wins, and says so"
        assert "small-1" in running.verb("export").stdout
    assert json.loads(running.verb("apply", "airboss.toml", "--json").stdout)["plan"] == 2
    assert "small-2" in running.verb("export").stdout


def test_preset_keys_are_not_echoed(tmp_path: Path) -> None:
    """Keys from the environment work, whatever blanks are around them, are null in the ready line, and are
    written nowhere."""
    keys = {"AIRBOSS_ADMIN_KEY": "preset-admin-key", "AIRBOSS_API_KEY": "preset-api-key\n"}
    with up(tmp_path, **keys) as running:
        assert (running.ready["api_key"], running.ready["admin_key"]) == (None, None)
        assert get(running.ready["base_url"] + "/models", "preset-api-key") == 200
        assert get(running.ready["console_url"] + "/api/v1/status", "preset-admin-key") == 200
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in written if b"preset-a" in path.read_bytes()]


def test_kill_9_leaves_nothing_behind(tmp_path: Path) -> None:
    """When `airboss up` is killed its children end too, and the next one starts on the same data."""
    with up(tmp_path) as running:
        pids = running.pids()
        keys = running.ready["api_key"]
        running.process.kill()
        running.process.wait()
        until(lambda: not any(alive(pid) for pid in pids.values()))
    with up(tmp_path) as running:
        assert running.ready["api_key"] == keys


def test_beyond_loopback_wants_tls_or_insecure(tmp_path: Path) -> None:
    """--host 0.0.0.0 is refused without either."""
    (tmp_path / "airboss.toml").write_text(CONFIG)
    done = verb(tmp_path, "up", "--host", "0.0.0.0", "--port", "0", "--console-port", "0")
    assert done.returncode == 2
    assert "--insecure" in done.stderr


def test_text_for_people(tmp_path: Path) -> None:
    """Without --json the two URLs and export lines that a shell takes are printed."""
    (tmp_path / "airboss.toml").write_text(CONFIG)
    lines: list[str] = []
    with started(
        [*COMMAND, "up", "--port", "0", "--console-port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        while not lines or not lines[-1].startswith("export OPENAI_API_KEY"):
            lines.append(process.stdout.readline())
            assert lines[-1], "it ended early"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    exports = "".join(line for line in lines if line.startswith("export "))
    shell = subprocess.run(
        ["bash", "-c", f'{exports} echo "$OPENAI_BASE_URL $OPENAI_API_KEY"'],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    base_url, key = shell.stdout.split()
    assert base_url.startswith("http://127.0.0.1:")
    assert base_url.endswith("/v1")
    assert key.startswith("ab_")
    assert any("console" in line for line in lines)


def test_roles_alone(tmp_path: Path) -> None:
    """A store and a gateway started alone serve the same data, and keep `airboss up` out."""
    with up(tmp_path) as running:
        key = running.ready["api_key"]
    port = unused_port()
    with ExitStack() as roles:
        commands = (["store"], ["gateway", "--port", str(port)])
        store, gateway = (
            roles.enter_context(
                started(
                    [*COMMAND, *command, "--data-dir", str(tmp_path / "data")],
                    stderr=subprocess.DEVNULL,
                    env=environment(),
                )
            )
            for command in commands
        )
        until(lambda: reachable(port), timeout_s=90)
        until((tmp_path / "data/run/store.sock").exists, timeout_s=90)
        assert get(f"http://127.0.0.1:{port}/v1/models", key) == 200
        assert verb(tmp_path, "up", "--port", "0", "--console-port", "0").returncode == 2
        store.terminate()
        gateway.terminate()
        assert (store.wait(60), gateway.wait(60)) == (0, 0)


def reachable(port: int) -> bool:
    """Whether somebody listens."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_tls_is_spoken_and_trusted(tmp_path: Path) -> None:
    """With [tls] a host beyond loopback is allowed, both URLs are https and the verbs trust that certificate;
    a renewed one is shown by both, once it is whole, and another [tls] waits for the next start, even where a
    gateway is started again meanwhile."""
    cert, key = self_signed(tmp_path, name="airboss.test")
    (tmp_path / "airboss.toml").write_text(f'{CONFIG}\n[tls]\ncert = "{cert}"\nkey = "{key}"\n')
    with up(tmp_path, "--host", "0.0.0.0") as running:
        assert running.ready["base_url"].startswith("https://127.0.0.1:")
        assert running.ready["console_url"].startswith("https://127.0.0.1:")
        # The record store may come a moment after who serves.
        until(lambda: running.verb("status").returncode == 0, every_s=0.2)
        (tmp_path / "new").mkdir()
        renewed = dict(
            zip(("key", "cert"), reversed(self_signed(tmp_path / "new", name="airboss.test")), strict=True)
        )
        renewed["key"].replace(key)
        until(lambda: [line for line in running.log() if "stays as it was" in line["message"]], timeout_s=60)
        assert running.verb("status").returncode == 0
        wanted = renewed["cert"].read_text()
        renewed["cert"].replace(cert)
        for plane in ("base_url", "console_url"):
            at = urlsplit(running.ready[plane])
            assert at.port is not None
            place = ("127.0.0.1", at.port)
            until(lambda place=place: ssl.get_server_certificate(place) == wanted, timeout_s=60)  # type: ignore[misc]
        assert running.verb("status").returncode == 0
        (tmp_path / "airboss.toml").write_text(CONFIG)
        assert running.verb("apply", "airboss.toml").returncode == 0
        before = running.pids()["gateway-0"]
        os.kill(before, signal.SIGKILL)
        until(lambda: running.pids().get("gateway-0", before) != before)
        until(lambda: any("next `airboss up`" in line["message"] for line in running.log()))


def test_a_stop_waits_for_no_idle_client_over_tls(tmp_path: Path) -> None:
    """A client that keeps its connection and does nothing does not answer the farewell of TLS: it was waited
    for as long as for a call under way, at every stop."""
    cert, key = self_signed(tmp_path)
    (tmp_path / "airboss.toml").write_text(f'{CONFIG}\n[tls]\ncert = "{cert}"\nkey = "{key}"\n')
    with up(tmp_path) as running:
        port = urlsplit(running.ready["base_url"]).port
        trusting = ssl.create_default_context(cafile=cert)
        with (
            socket.create_connection(("127.0.0.1", port or 0), timeout=60) as raw,
            trusting.wrap_socket(raw, server_hostname="127.0.0.1") as client,
        ):
            client.sendall(b"GET /healthz HTTP/1.1\r\nhost: here\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(90) == 0
        said = {
            line["message"]: datetime.fromisoformat(line["time"])
            for line in running.log()
            if line["process"] == "gateway-0"
        }
    assert (said["stopped"] - said["draining"]).total_seconds() < DRAIN_S / 2


def test_ready_means_that_it_serves(running: Running) -> None:
    """The one line on stdout has URLs that answer and keys that are accepted."""
    ready = running.ready
    assert ready["event"] == "ready"
    assert ready["base_url"].endswith("/v1")
    assert get(ready["base_url"] + "/models", ready["api_key"]) == 200
    assert get(ready["base_url"] + "/models", ready["admin_key"]) == 401
    assert get(ready["console_url"] + "/healthz") == 200
    assert get(ready["console_url"] + "/api/v1/status", ready["admin_key"]) == 200
    assert (running.root / "out.txt").read_text().count("\n") == 1


def test_keys_are_kept_private(running: Running) -> None:
    """Secrets lie in files that only their owner reads, and in no other file of the data directory."""
    assert all(path.stat().st_mode & 0o077 == 0 for path in (running.data_dir / "secrets").iterdir())
    assert holding(running.data_dir, running.ready["api_key"].encode()) == ["secrets/api_key"]


def test_status_shows_what_runs(running: Running) -> None:
    """`airboss status` lists the deployment and each process, and says yes."""
    done = until(
        # The record store may come a moment after who serves.
        lambda: answer if (answer := running.verb("status", "--json")).returncode == 0 else None,
        every_s=0.2,
    )
    found = json.loads(done.stdout)
    assert [(each["name"], each["state"]) for each in found["deployments"]] == [("assistant", "ready")]
    names = {each["name"] for each in found["processes"]}
    assert names == {"store", "counters", "controller", "gateway-0", "gateway-1"}
    assert all(each["state"] == "ready" and each["rss_bytes"] > 0 for each in found["processes"])
    assert found["journal"]["store_up"]
    shown = running.verb("status").stdout
    assert "assistant" in shown
    assert "gateway-1" in shown


def test_a_failed_call_is_recorded(running: Running) -> None:
    """A call that no provider answers stands in `airboss records` a moment later."""
    parts = urlsplit(running.ready["base_url"])
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}], "user": "ann"})
    connection.request(
        "POST", "/v1/chat/completions", body, {"authorization": f"Bearer {running.ready['api_key']}"}
    )
    answer = connection.getresponse()
    record_id = answer.headers["x-request-id"]
    assert answer.status >= 500
    connection.close()
    found = until(
        lambda: running.verb("records", "--user", "ann", "--json").stdout, timeout_s=60, every_s=0.2
    )
    record = json.loads(found.splitlines()[0])
    assert (record["id"], record["status"], record["deployment"]) == (record_id, "error", "assistant")
    assert record["request"]["messages"][0]["content"] == "hello"
    assert running.verb("records", "--user", "bob", "--json").stdout == ""


def test_nobody_else_may_open_the_data(running: Running) -> None:
    """A second `airboss up` on the same data is refused, naming the process that has it."""
    done = verb(running.root, "up", "--port", "0", "--console-port", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert str(running.process.pid) in done.stderr
    assert verb(running.root, "store").returncode == 2


def test_a_port_in_use_is_said(running: Running, tmp_path: Path) -> None:
    """A port that is in use is refused with the flag to change it."""
    port = str(urlsplit(running.ready["base_url"]).port)
    (tmp_path / "airboss.toml").write_text(CONFIG)
    done = verb(tmp_path, "up", "--port", port, "--console-port", "0")
    assert done.returncode == 2
    assert "--port" in done.stderr
    done = verb(tmp_path, "up", "--console-port", port, "--port", "0", "--json")
    assert done.returncode == 2
    assert "--console-port" in done.stderr
    new = tmp_path / "new"
    new.mkdir()
    for wrong in (("--port", port, "--console-port", port), ("--host", "", "--insecure")):
        done = verb(new, "up", *wrong)
        assert done.returncode == 2
        assert "another program" not in done.stderr
    assert list(new.iterdir()) == [], "nothing is written before the addresses can be"


def test_doctor_is_content(running: Running) -> None:
    """The doctor knows the running one's ports as its own, and its store answers."""
    ports = [str(urlsplit(running.ready[name]).port) for name in ("base_url", "console_url")]
    for named in (("--port", ports[0], "--console-port", ports[1]), ()):
        done = running.verb("doctor", *named, "--json")
        found = {each["name"]: each for each in map(json.loads, done.stdout.splitlines())}
        assert {found[name]["verdict"] for name in ("port", "console port", "lock", "record store")} == {"ok"}
        assert ports[0] in found["port"]["seen"]
        assert "by the running Airboss" in found["console port"]["seen"]
    assert "running" in found["lock"]["seen"]


def test_apply_diff_and_export(running: Running) -> None:
    """A new configuration is shown, applied and exported; a wrong one changes nothing."""
    fresh = running.root / "new.toml"
    fresh.write_text(CONFIG + '[deployments.other]\nmodel = "small"\n')
    assert "+ deployments.other.model" in running.verb("diff", str(fresh)).stdout
    assert running.verb("export").stdout == CONFIG
    done = running.verb("apply", str(fresh), "--json")
    assert (done.returncode, json.loads(done.stdout)["plan"]) == (0, 2)
    until(lambda: b"other" in models(running))
    fresh.write_text("[deployments.other]\nmodle = 1\n")
    done = running.verb("apply", str(fresh))
    assert done.returncode == 2
    assert "new.toml:2" in done.stderr
    assert "deployments.other" in running.verb("export").stdout


def test_a_deployment_may_have_a_slash_in_its_name(running: Running) -> None:
    """As models on a hub do: its page is there, and its drift is accepted."""
    fresh = running.root / "hub.toml"
    fresh.write_text(CONFIG + '[deployments."meta/x"]\nmodel = "small"\n')
    assert running.verb("apply", str(fresh)).returncode == 0
    url = running.ready["console_url"]
    with httpx2.Client(base_url=url, headers={"origin": url}, trust_env=False) as person:
        assert person.post("/login", data={"key": running.ready["admin_key"]}).status_code == 303
        assert person.get("/deployments/meta/x").status_code == 200
        assert person.get("/deployments/meta/y").status_code == 404
    done = running.verb("monitor", "drift", "meta/x", "--accept")
    assert (done.returncode, "learning" in done.stdout) == (0, True), done.stderr


def test_what_was_changed_is_served_once_the_verb_has_ended(running: Running) -> None:
    """A key opens, an alias answers and a revoked key is refused at once: nobody has to wait and see."""
    base = running.ready["base_url"]
    console = running.ready["console_url"]
    admin = {"authorization": f"Bearer {running.ready['admin_key']}"}
    # Each call goes to whichever worker takes its connection.
    with httpx2.Client(headers={"connection": "close"}, timeout=60, verify=False) as client:

        def changed(path: str, body: dict[str, str]) -> httpx2.Response:
            done = client.post(f"{console}/api/v1/{path}", json=body, headers=admin)
            assert done.is_success, done.text
            return done

        def served(done: httpx2.Response, condition: Callable[[], bool]) -> None:
            """At once, or after the second for which a worker that is busy is waited for."""
            assert condition() or (done.elapsed.total_seconds() >= TAKEN_S and until(condition))

        for number in range(8):
            made = changed("keys", {"name": f"k{number}"})
            key = {"authorization": f"Bearer {made.json()['key']}"}
            served(made, lambda key=key: client.get(f"{base}/models", headers=key).status_code == 200)  # type: ignore[misc]
            text = f'{CONFIG}[deployments.at-once-{number}]\nmodel = "small"\n'
            applied, name = changed("config", {"config": text}), f"at-once-{number}"
            served(applied, lambda key=key, name=name: name in client.get(f"{base}/models", headers=key).text)  # type: ignore[misc]
            revoked = changed(f"keys/k{number}/revoke", {})
            served(revoked, lambda key=key: client.get(f"{base}/models", headers=key).status_code == 401)  # type: ignore[misc]


def test_a_verb_with_somebody_elses_key_is_told_where_the_own_one_is(running: Running) -> None:
    """A variable that was set for another Airboss goes before the key in the data directory."""
    command = [*COMMAND, "status", "--data-dir", str(running.data_dir)]
    env = environment(AIRBOSS_ADMIN_KEY="ab_of_another_one")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=env)
    assert done.returncode == 2
    kept = running.data_dir / "secrets/admin_key"
    assert f"Without AIRBOSS_ADMIN_KEY the one in {kept} is used." in done.stderr


@pytest.mark.parametrize("name", ["store", "controller", "gateway-0"])
def test_a_killed_process_comes_back(running: Running, name: str) -> None:
    """Each process that is killed is started again, and all is well after."""
    before = until(lambda: running.pids().get(name))
    os.kill(before, signal.SIGKILL)
    until(lambda: running.pids().get(name, before) != before)
    until(lambda: running.verb("status").returncode == 0, every_s=0.2)


def test_the_log_is_json_and_holds_no_key(running: Running) -> None:
    """Every line of the log is an object with time, level, process and message, and no key stands in it."""
    lines = running.log()
    assert all({"time", "level", "process", "message"} <= set(line) for line in lines)
    assert {line["process"] for line in lines} >= {"up", "gateway-0"}
    text = (running.root / "err.txt").read_text()
    assert running.ready["api_key"] not in text
    assert running.ready["admin_key"] not in text
