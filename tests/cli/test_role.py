"""Roles as `airboss up` starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec import structs

from airboss.cli import role
from airboss.domain.ports import Placement
from airboss.supervisor.fleet import Places, core, replica
from airboss.supervisor.process import Command
from tests.cli.running import CONFIG
from tests.support.airboss import Airboss

PLACES = Places(
    data_dir=Path("data"),
    host="0.0.0.0",
    port=8700,
    console_port=8701,
    workers=2,
    tls=False,
    insecure=True,
    listen_fd=7,
    lock_fd=8,
    store_socket=Path("store.sock"),
    counters_socket=Path("counters.sock"),
)
PLACEMENT = Placement(
    id="tiny:2",
    model="tiny",
    url="http://127.0.0.1:40001/v1",
    engine="e",
    settings="{}",
    since=datetime(2026, 11, 29, tzinfo=UTC),
)
COMMANDS = [
    *(spec.command for spec in core(PLACES, records="embedded", ray=True)),
    replica(PLACEMENT, PLACES, essential=True).command,
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_what_up_starts_is_run_as_told(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process runs its role with all that its command says."""
    ran: list[tuple[str, object, dict[str, object]]] = []
    roles = {name: f"{name}_role" for name in ("gateway", "controller", "store", "replica")}
    for name, module in {**roles, "counters": "counting", "ray": "ray"}.items():

        def run(data_dir: object, *, log_format: None, name: str = name, **given: object) -> None:
            ran.append((name, data_dir, given))

        monkeypatch.setattr(f"airboss.compose.{module}.run_{name}", run)
    assert command.argv[:4] == (sys.executable, "-P", "-m", "airboss.cli.role")
    role.main(command.argv[4:])
    exposed = {"host": "0.0.0.0", "insecure": True}
    wanted = {
        "controller": {"console_port": 8701, **exposed},
        "gateway-0": {"port": 8700, "worker": 0, **exposed},
        "gateway-1": {"port": 8700, "worker": 1, **exposed},
        "replica-tiny:2": {"model": "tiny", "port": 40001, "placement": "tiny:2"},
    }
    name = command.name.partition("-")[0]
    assert ran == [(name, Path("data"), wanted.get(command.name, {}))]


def test_what_is_wrong_is_told_and_loads_no_parser_of_verbs(tmp_path: Path) -> None:
    """In words and by exit code, as the verb does, which loads a hundred milliseconds more."""
    code = (
        "import sys\nfrom airboss.cli.role import main\n"
        f"try: main(['gateway', '--worker', '0', '--data-dir', {str(tmp_path)!r}])\n"
        "finally: print(sorted({'typer', 'pydantic', 'alembic', 'duckdb'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60, env=os.environ
    )
    assert (done.returncode, done.stdout) == (2, "[]\n")
    assert done.stderr == (
        "airboss: no configuration has been applied yet; run `airboss apply airboss.toml` first.\n"
    )


def test_a_gateway_is_known_without_what_opens_a_ledger() -> None:
    """Which takes as long to load as all the rest of it."""
    code = "import sys, airboss.gateway.serve; print('sqlalchemy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env=os.environ
    )
    assert done.stdout == "False\n"


def test_an_engine_is_started_with_what_it_was_placed_with(tmp_path: Path) -> None:
    """Which its process is told: it opens no ledger, nor loads what opens one or fetches weights."""
    placed = Placement(**structs.asdict(PLACEMENT) | {"settings": '{"provider": "local", "slots": 3}'})
    told = replica(placed, PLACES, essential=True).command.env
    code = (
        "import sys; from airboss.compose import replica_role\n"
        "heavy = {'sqlalchemy', 'httpx2', 'alembic', 'uvloop'}\n"
        "replica_role.serve_model = lambda chosen, **_: print(chosen.slots, heavy & {*sys.modules})\n"
        f"from airboss.cli import role; role.main(['replica', '--data-dir', {str(tmp_path)!r},"
        " '--model', 'tiny', '--port', '40001', '--placement', 'tiny:2'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "3 set()\n"


TELLING = """
import json, os, sys
from pathlib import Path

end = os._exit

def tell(code):
    role = next((each for each in ("gateway", "controller", "store") if each in sys.orig_argv), "up")
    loaded = sorted({name.partition(".")[0] for name in sys.modules})
    Path(__file__).with_name(role + ".json").write_text(json.dumps(loaded))
    end(code)

os._exit = tell
"""
VERBS_ONLY = {"typer", "pydantic", "rich"}
SELDOM = {"alembic", "phonenumbers", "stdnum", "jinja2", "httpx2", "prometheus_client", "google", "numpy"}
"""For a new schema, policies, pages, calls of our own, scrapes, OTLP and vectors."""
OTHERS = {
    "up": {"duckdb", "starlette", "uvicorn", "uvloop", "re2", *SELDOM},
    "store": {
        *("asyncio", "ssl", "sqlalchemy", "cryptography", "starlette", "uvicorn", "uvloop"),
        *SELDOM,
        *VERBS_ONLY,
    },
    "controller": {"duckdb", "uvloop", *SELDOM, *VERBS_ONLY},
    "gateway": {
        *("duckdb", "sqlalchemy", "starlette", "uvicorn", "cryptography", "re2"),
        *SELDOM,
        *VERBS_ONLY,
    },
}
"""What each process does without from its start to its end, where nobody asks for anything."""


def test_a_process_loads_what_it_needs_and_no_more(tmp_path: Path) -> None:
    """Not what others need, nor what few ask for: each of these takes tens of milliseconds of every start."""
    (tmp_path / "sitecustomize.py").write_text(TELLING)
    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    with Airboss(tmp_path / "up", CONFIG, env=env):
        pass
    for role_name, others in OTHERS.items():
        loaded = set(json.loads((tmp_path / f"{role_name}.json").read_text()))
        assert {"airboss", "duckdb" if role_name == "store" else "asyncio"} <= loaded
        assert sorted(others & loaded) == [], role_name
