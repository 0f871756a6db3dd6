"""How the command fails, and that it starts quickly."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import airboss
from airboss.cli.api import read_admin_key
from airboss.cli.stopped import match
from airboss.cli.verbs import VERBS, command
from airboss.domain.errors import WrongCall
from airboss.store.datadir import DataDir
from airboss.store.ledger import SqlLedger
from airboss.testing import FakeProvider
from tests.cli.admin_api import KEY, AdminApi
from tests.cli.conftest import Run
from tests.support.certificates import self_signed
from tests.support.ports import unused_port

WIDE = {"COLUMNS": "120"}
COMMAND = [sys.executable, "-m", "airboss.cli.main"]


@pytest.mark.parametrize(
    ("words", "found"),
    [("airboss ro", "rollout"), ("airboss keys cr", "create"), ("airboss up --wo", "--workers")],
)
def test_the_shell_completes_verbs_and_options(words: str, found: str) -> None:
    """As the lines ask that `airboss --install-completion` writes."""
    env = {"_AIRBOSS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        COMMAND, env=os.environ | env, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == [found]


def test_the_help_lists_verbs_in_their_order() -> None:
    """What one does first stands first: headings and verbs as the table has them."""
    done = subprocess.run(
        [*COMMAND, "--help"], capture_output=True, text=True, check=True, timeout=60, env=os.environ | WIDE
    )
    headings = [line.split("─")[1].strip() for line in done.stdout.splitlines() if line.startswith("╭")]
    assert headings == ["Options", *VERBS]
    listed = re.findall(r"^│ ([a-z]+) ", done.stdout, re.MULTILINE)
    assert listed == [name for names in VERBS.values() for name in names]


def test_version_is_quick_and_light() -> None:
    """`airboss version` prints the version, and loads neither ledger, store, console nor engine for it, nor
    any other verb."""
    code = (
        "import sys\nfrom airboss.cli.main import main\n"
        "try: main(['version'])\nexcept SystemExit as e: print(e.code)\n"
        "heavy = {'sqlalchemy', 'duckdb', 'starlette', 'xllamacpp', 'httpx2', 'asyncio', 'ssl', 'rich'}\n"
        "from airboss.cli.verbs import VERBS\n"
        "verbs = {f'airboss.cli.{name}' for names in VERBS.values() for name in names}\n"
        "print(*sorted((heavy | verbs) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    said = done.stdout.splitlines()
    assert (said[0], said[-1]) == (f"airboss {airboss.__version__}", "airboss.cli.version")


def test_what_is_loaded_is_not_looked_through_for_garbage() -> None:
    """Not again and again while verbs are being loaded (55 times by default), nor once more at the end."""
    code = (
        "import gc\ngc.set_debug(gc.DEBUG_STATS)\nfrom airboss.cli import ending, verbs\n"
        "ending.leave(verbs.command)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    looks = [line for line in done.stderr.splitlines() if line.startswith("gc: collecting generation")]
    assert 0 < len(looks) < 20
    assert "gc: collecting generation 2..." not in looks


def test_a_verb_alone_is_the_same_as_among_all() -> None:
    """Only the one that is called is prepared, with all its options; what is none is told by all."""
    whole = vars(get_command(command()))["commands"]
    assert set(whole) == {name for names in VERBS.values() for name in names}
    for name, verb in whole.items():
        (found,) = vars(get_command(command(name)))["commands"].items()
        assert (found[0], described(found[1])) == (name, described(verb))
    assert set(vars(get_command(command("bogus")))["commands"]) == set(whole)


def described(verb: Any) -> object:
    """What it takes, and what its own verbs do."""
    own = vars(verb).get("commands", {})
    taken = [(each.name, each.opts, each.required, each.default, each.multiple) for each in verb.params]
    return verb.help, taken, {name: described(each) for name, each in own.items()}


@pytest.mark.parametrize("asked", ["version", "--version"])
def test_version_as_json(run: Run, asked: str) -> None:
    """With --json the version is one object; it may be asked for as of any other command."""
    code, out, _ = run(asked, "--json")
    assert code == 0
    assert json.loads(out)["version"] == airboss.__version__
    assert run(asked)[1] == f"airboss {airboss.__version__}\n"


@pytest.mark.parametrize("call", [["bogus"], ["records", "--limit", "0"], ["apply"], ["up", "--port", "x"]])
def test_wrong_calls_exit_2(run: Run, call: list[str]) -> None:
    """A verb, value or argument that is wrong or missing exits 2, in words or as a JSON error object."""
    code, out, err = run(*call)
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    code, out, err = run(*call, "--json")
    assert (code, out) == (2, "")
    error = json.loads(err)["error"]
    assert list(error) == ["message", "type", "code", "param"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", None, None)


def test_python_m_is_the_command() -> None:
    """`python -m airboss` does what `airboss` does, where a script's folder is not on the path."""
    asked = [sys.executable, "-m", "airboss", "version", "--json"]
    made = subprocess.run(asked, capture_output=True, check=True, timeout=60)
    assert json.loads(made.stdout)["version"] == airboss.__version__


def test_no_data_is_a_wrong_call(run: Run, tmp_path: Path) -> None:
    """A verb that finds no data says where it looked and what to do, and makes no data itself."""
    code, _, err = run("status", "--data-dir", str(tmp_path / "none"))
    assert code == 2
    assert str(tmp_path / "none") in err
    assert "airboss up" in err
    assert "try again in a second" in err
    assert not (tmp_path / "none").exists()


def test_url_without_a_key_is_a_wrong_call(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """--url asks for the admin key in the environment."""
    monkeypatch.delenv("AIRBOSS_ADMIN_KEY", raising=False)
    code, _, err = run("status", "--url", "http://127.0.0.1:1")
    assert code == 2
    assert "AIRBOSS_ADMIN_KEY" in err


def test_a_wrong_key_is_said(run: Run, api: AdminApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is not accepted names the variable to set."""
    monkeypatch.setenv("AIRBOSS_ADMIN_KEY", "ab_other")
    code, _, err = run("status", "--url", api.url)
    assert code == 2
    assert "AIRBOSS_ADMIN_KEY" in err


def test_a_role_that_is_too_low_is_said(run: Run, api: AdminApi) -> None:
    """What is refused for the key's role says which one is needed and who has it, and ends with 2."""
    said = "POST /api/v1/keys needs the role admin (may all), and 'vera' has viewer. Who may: anna."
    error = {"error": {"message": said, "code": "role_too_low"}}
    api.answers["POST", "/api/v1/keys"] = lambda _params: (403, error)
    assert run("keys", "create", "x", "--url", api.url) == (2, "", f"airboss: {said}\n")


def test_what_the_machine_there_lacks_is_exit_code_2(
    run: Run, api: AdminApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a stopped Airboss: the same call cannot work before something is changed."""
    monkeypatch.setenv("AIRBOSS_ADMIN_KEY", KEY)
    error = {"message": "disk is full", "type": "server_error", "code": "setup_error", "param": None}
    api.answers["POST", "/api/v1/keys"] = (503, {"error": error})
    code, _, err = run("keys", "create", "a", "--url", api.url)
    assert (code, "disk is full" in err) == (2, True), err
    api.answers["POST", "/api/v1/keys"] = (503, {"error": {**error, "code": "store_unavailable"}})
    assert run("keys", "create", "a", "--url", api.url)[0] == 1


def test_a_console_without_tls_is_told(run: Run, api: AdminApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the address to write instead."""
    monkeypatch.setenv("AIRBOSS_ADMIN_KEY", "ab_x")
    code, _, err = run("status", "--url", api.url.replace("http:", "https:"))
    assert (code, f"does not speak TLS: write {api.url}." in err) == (2, True), err


def test_a_console_with_tls_is_told(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who is spoken to in the clear, and who shows a certificate that is not trusted here."""
    monkeypatch.setenv("AIRBOSS_ADMIN_KEY", "ab_x")
    cert, key = self_signed(tmp_path)
    with FakeProvider(tls_cert=str(cert), tls_key=str(key)) as server:
        address = server.url.removesuffix("/v1")
        code, _, err = run("status", "--url", address)
        assert (code, "is not trusted here" in err, "SSL_CERT_FILE" in err) == (2, True, True), err
        code, _, err = run("status", "--url", address.replace("https:", "http:"))
        assert (code, f"If it speaks TLS, write {address}" in err) == (1, True), err


def test_nobody_there_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address where nobody answers ends in words."""
    monkeypatch.setenv("AIRBOSS_ADMIN_KEY", "ab_x")
    code, _, err = run("status", "--url", f"http://127.0.0.1:{unused_port()}")
    assert code == 1
    assert "no connection" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "127.0.0.1:8701", "http://[", "http://", "ftp://x", "http://x:99999", "http://x:0",
     "http://me:pw@x", "http://x/v1", "http://x:1/api/v1/", "http://x?a=b", "http://x y"],
)  # fmt: skip
def test_what_is_no_address_is_a_wrong_call(run: Run, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told so, with what an address looks like, before anybody is asked; a password is not repeated."""
    monkeypatch.setenv("AIRBOSS_ADMIN_KEY", "ab_x")
    code, _, err = run("status", "--url", url)
    assert code == 2
    assert "--url" in err
    assert "http://127.0.0.1:8701" in err or "AIRBOSS_ADMIN_KEY" in err
    assert "pw" not in err


def test_the_data_planes_address_is_told_apart(run: Run, api: AdminApi) -> None:
    """Its answer is not the console's: which address is wanted is said."""
    said = {"message": "there is no route '/api/v1/status'", "code": "unknown_route"}
    api.answers["GET", "/api/v1/status"] = lambda _params: (404, {"error": said})
    code, _, err = run("status", "--url", api.url)
    assert code == 2
    assert "where programs call, not the console" in err
    assert "8701" in err


@pytest.mark.parametrize("key", ["ab_\u00e9", "ab_x\nab_y", "ab x"])
def test_a_key_that_no_header_carries_is_not_shown(
    run: Run, api: AdminApi, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """It is told which variable is wrong; the key is not repeated, and nobody is asked."""
    monkeypatch.setenv("AIRBOSS_ADMIN_KEY", key)
    code, _, err = run("status", "--url", api.url)
    assert code == 2
    assert "AIRBOSS_ADMIN_KEY has" in err
    assert key[:3] not in err
    assert api.asked == []


@pytest.mark.parametrize(
    ("call", "value"),
    [
        (["up", "--port", "70000"], "70000"),
        (["records", "--limit", "-3"], "-3"),
        (["records", "--limit", "many"], "many"),
        (["keys", "create", "k", "--priority", "urgent", "--url", "http://127.0.0.1:1"], "urgent"),
        (["keys", "create", "k", "--per", "year", "--budget", "1", "--url", "http://127.0.0.1:1"], "year"),
    ],
)
def test_a_wrong_value_is_shown(
    run: Run, call: list[str], value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an option was given stands in its error, for people and for machines."""
    monkeypatch.setenv("AIRBOSS_ADMIN_KEY", "ab_x")
    assert f"'{value}'" in run(*call)[2]
    assert f"'{value}'" in json.loads(run(*call, "--json")[2])["error"]["message"]


def test_an_answer_of_another_version_is_said(run: Run, api: AdminApi) -> None:
    """While one is upgraded the command may be newer than what runs: that is told, without a trace."""
    api.answers["GET", "/api/v1/status"] = {"running": True, "deployments": [{"name": "a"}]}
    code, out, err = run("status", "--url", api.url)
    assert (code, out) == (2, "")
    assert f"of another version than this command, which is {airboss.__version__}; " in err


def test_an_answer_that_is_no_json_is_said(run: Run, api: AdminApi) -> None:
    """Some other server at the address is told apart."""
    api.answers["GET", "/api/v1/status"] = b"<html>"
    code, _, err = run("status", "--url", api.url)
    assert code == 2
    assert "is it the console's address?" in err


@pytest.mark.parametrize(
    ("status", "code"),
    [(302, 2), (400, 2), (403, 2), (404, 2), (413, 2), (408, 1), (429, 1), (500, 1), (503, 1)],
)
def test_an_answers_status_decides_the_exit_code(run: Run, api: AdminApi, status: int, code: int) -> None:
    """2 where the call must be changed, 1 where the same may do later."""
    api.answers["GET", "/api/v1/status"] = lambda _params: (status, {"error": {"message": "no"}})
    assert run("status", "--url", api.url)[0] == code


def test_a_stopped_airboss_refuses_as_a_running_one_does(run: Run, tmp_path: Path) -> None:
    """A name that does not exist, and a record that is not there."""
    DataDir(tmp_path).create()
    SqlLedger(DataDir(tmp_path).ledger_url).close()
    for code, *call in ((2, "dataset", "show", "none"), (1, "records", "--id", "none"), (2, "export")):
        assert run(*call, "--data-dir", str(tmp_path))[0] == code
    slashed = match("/api/v1/drift/{deployment}/accept", "/api/v1/drift/meta%2Fx/accept")
    assert slashed == {"deployment": "meta/x"}


@pytest.mark.parametrize("name", ["", ".", "..", "../keys", "a/b"])
@pytest.mark.parametrize(
    "verb",
    ["release show", "dataset show", "dataset export", "eval show", "probe show", "tune show", "job show",
     "job cancel", "keys revoke", "keys rotate", "keys set --budget 1", "monitor show", "monitor test"],
)  # fmt: skip
def test_what_can_be_no_name_asks_for_nothing_else(run: Run, api: AdminApi, verb: str, name: str) -> None:
    """Such a name would be another place of the API; the verb that lists names is told."""
    api.answers["GET", "/api/v1/keys"] = {"keys": []}
    code, _, err = run(*verb.split(), name, "--url", api.url)
    assert (code, f"airboss: {name!r} is no name; `airboss " in err) == (2, True), err
    assert {path for _, path, _, _ in api.asked} <= {"/api/v1/keys"}


@pytest.mark.parametrize(
    "call",
    ["dataset create d --file", "probe bias --deployment d --prompts", "prices update --file", "apply",
     "policy test --config airboss.toml --policy p --file", "audit verify --checkpoint",
     "eval run --dataset d --deployment d --scorer json_schema:"],
)  # fmt: skip
def test_a_file_that_is_not_there_is_told_in_words(
    run: Run, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name, once, and why; no number of the system's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "airboss.toml").write_text('[policies.p]\npii = { action = "mask", kinds = ["email"] }\n')
    verb = f"{call}none.x" if call.endswith(":") else f"{call} none.x"
    code, _, err = run(*verb.split(), "--data-dir", str(tmp_path))
    assert (code, err.count("none.x"), "No such file or directory" in err) == (2, 1, True), err
    assert "Errno" not in err


def test_what_an_option_takes_is_told(
    run: Run, api: AdminApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it takes a few words only, with the one that was given, before anything is asked or begun."""
    monkeypatch.chdir(tmp_path)
    for call, given, known in (
        ("up --log-format xml", "xml", "json or text"),
        ("dataset create d --from-records --group-by team", "team", "user, session or none"),
        ("tune run --deployment d --dataset d --form odd", "odd", "system, turns, completion"),
        ("up --host no-such-host.invalid", "no-such-host.invalid", "no address of this machine"),
    ):
        to = [] if call.startswith("up") else ["--url", api.url]
        code, _, err = run(*call.split(), *to)
        assert (code, given in err, known in err) == (2, True, True), err
    assert (api.asked, list(tmp_path.iterdir())) == ([], [])


def test_tables_have_the_time_of_this_machine(
    run: Run, api: AdminApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them, as records have it."""
    made = {"id": "j", "state": "done", "done": 1, "total": 1, "note": "", "error": None, "by": "me"}
    api.answers["GET", "/api/v1/jobs"] = {"jobs": [{**made, "created_at": "2026-11-28T23:30:00+00:00"}]}
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        out = run("job", "list", "--url", api.url)[1]
    finally:
        monkeypatch.undo()
        time.tzset()
    assert "2026-11-29 08:30:00" in out


def test_ctrl_c_is_quiet(tmp_path: Path) -> None:
    """Ctrl-C while waiting for an answer prints no trace."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        process = subprocess.Popen(
            [*COMMAND, "status", "--url", url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"AIRBOSS_ADMIN_KEY": "ab_x", "PATH": ""},
            # A shell that runs tests in the background has them ignore Ctrl-C, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
        )
        server.settimeout(60)
        connection, _ = server.accept()
        connection.recv(10)
        process.send_signal(2)
        out, err = process.communicate(timeout=60)
        connection.close()
    assert (process.returncode, out, err) == (130, b"", b"")


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_full_disk_for_the_output_is_told(tmp_path: Path, form: list[str]) -> None:
    """In words alone, with what to do."""
    DataDir(tmp_path).create()
    SqlLedger(DataDir(tmp_path).ledger_url).close()
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "prices", "list", *form, "--data-dir", str(tmp_path)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 2
    assert "No space left on device; make room" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_version_within_its_time() -> None:
    """The best of five starts takes less than twice the processor time of one that only imports the libraries
    of every verb; 0.15 s where nothing else runs."""
    took: dict[str, list[float]] = {"version": [], "libraries": []}
    libraries = [sys.executable, "-c", "import msgspec, rich.table, typer"]
    for _ in range(5):
        for what, call in (("version", [*COMMAND, "version"]), ("libraries", libraries)):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(call, capture_output=True, check=True, timeout=60)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            took[what].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(took["version"]) < 2 * min(took["libraries"]), took


@pytest.mark.parametrize("content", [b"", b"\n", b"a\0b", "schlüssel".encode(), b"\xff"])
def test_a_key_file_that_was_spoilt_is_named(tmp_path: Path, content: bytes) -> None:
    """Nothing is sent with what it holds, which no header takes."""
    path = tmp_path / "secrets" / "admin_key"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(WrongCall, match="the admin key cannot be read"):
        read_admin_key(tmp_path)
    path.write_text("ab_key\n")
    assert read_admin_key(tmp_path) == "ab_key"
