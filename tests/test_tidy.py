"""The house rules that no other tool holds; each message names the replacement.

Docstrings, unused code and comments that promise work are ruff's; who may import whom is import-linter's.
"""

from __future__ import annotations

import ast
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import cache, lru_cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest

import airboss
from tests.conftest import LONG

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src" / "airboss"

MADE = frozenset({"__pycache__", "build", "dist", "node_modules"})
"""Folders that tools make; hidden ones but `.ci` are left out as well."""

FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 500
DOMAIN_MODULES_MAX = 10
DOMAIN_LINES_MAX = 1_800

IO_MODULES = frozenset(
    {
        "alembic",
        "duckdb",
        "fcntl",
        "httpx2",
        "mmap",
        "multiprocessing",
        "os",
        "shutil",
        "signal",
        "socket",
        "sqlalchemy",
        "sqlite3",
        "ssl",
        "starlette",
        "subprocess",
        "tempfile",
        "urllib.request",
        "uvicorn",
        "uvloop",
        "xllamacpp",
    }
)
"""Importing one of these means that a module touches the world outside."""

TOUCHES: Mapping[str, str] = {
    "cli/api.py": "httpx2 os socket ssl",
    "cli/provider_checks.py": "httpx2 ssl",
    "cli/demo.py": "os shutil signal subprocess",
    "demo/story.py": "subprocess",
    "demo/traffic.py": "httpx2",
    "cli/checks.py": "os shutil tempfile",
    "cli/ending.py": "os",
    "cli/doctor.py": "os",
    "cli/rollout.py": "os",
    "compose/background.py": "os",
    "compose/train_process.py": "os",
    "compose/certificates.py": "ssl",
    "compose/candidate_engine.py": "subprocess tempfile",
    "compose/counting.py": "os signal uvloop",
    "compose/evals.py": "ssl",
    "compose/jobs.py": "os socket",
    "compose/joining.py": "os",
    "compose/parts.py": "fcntl os ssl socket",
    "compose/ray.py": "os",
    "compose/controller_role.py": "socket uvicorn",
    "compose/gateway_role.py": "os socket uvloop",
    "compose/replica_role.py": "os",
    "compose/store_role.py": "os",
    "compose/redaction.py": "os",
    "compose/servers.py": "os",
    "compose/up.py": "os signal",
    "compose/watching.py": "os",
    "console/app.py": "starlette",
    "console/guard.py": "starlette",
    "console/protocol.py": "socket uvicorn",
    "console/render.py": "starlette",
    "console/sign_in.py": "starlette",
    "console/wire.py": "starlette",
    "controller/dead_letters.py": "os",
    "controller/embed_http.py": "httpx2",
    "controller/leader_http.py": "httpx2",
    "controller/models_http.py": "httpx2 ssl",
    "controller/mover.py": "mmap os shutil",
    "controller/quiet.py": "os",
    "controller/scrub.py": "os",
    "controller/reaching.py": "socket",
    "controller/smtp.py": "socket ssl",
    "controller/otlp_export.py": "httpx2 ssl",
    "compose/exporting.py": "os",
    "controller/webhook.py": "httpx2 ssl",
    "evaluations/caller_http.py": "httpx2 ssl",
    "gateway/memory.py": "mmap",
    "gateway/server.py": "fcntl socket",
    "gateway/ids.py": "os",
    "gateway/serve.py": "signal socket ssl",
    "governance/counters_valkey.py": "socket ssl",
    "governance/oidc_http.py": "httpx2 ssl",
    "governance/names_model.py": "os signal",
    "governance/recogniser.py": "os",
    "providers/connection.py": "socket",
    "providers/pools.py": "socket ssl",
    "providers/fake.py": "os signal socket ssl uvloop",
    "providers/fake_http.py": "socket",
    "replicas/cores.py": "os",
    "replicas/llamacpp.py": "os signal socket xllamacpp",
    "replicas/onnx.py": "signal starlette uvicorn",
    "replicas/ray_engine.py": "httpx2 os socket starlette subprocess tempfile",
    "replicas/ray_serve.py": "os",
    "replicas/weights.py": "fcntl os shutil",
    "replicas/weights_http.py": "httpx2 shutil ssl",
    "replicas/weights_remote.py": "os",
    "replicas/weights_pypi.py": "httpx2 os shutil subprocess",
    "store/answers.py": "sqlite3",
    "store/brought.py": "os",
    "store/audit.py": "sqlalchemy",
    "store/body_keys.py": "sqlalchemy",
    "store/alerts.py": "sqlalchemy",
    "store/clickhouse_http.py": "httpx2 socket",
    "store/client.py": "socket",
    "store/datadir.py": "os socket tempfile",
    "store/kept_plan.py": "fcntl os",
    "store/datadir_lock.py": "fcntl os",
    "store/disk.py": "shutil",
    "store/opened_file.py": "os",
    "store/duckdb.py": "duckdb",
    "store/spends.py": "sqlalchemy",
    "store/state_log.py": "fcntl os",
    "store/duckdb_checkpoints.py": "duckdb",
    "store/duckdb_copy.py": "duckdb shutil",
    "store/duckdb_erase.py": "os shutil subprocess",
    "store/duckdb_open.py": "duckdb",
    "store/erasures.py": "sqlalchemy sqlite3",
    "store/duckdb_run.py": "duckdb",
    "store/evals.py": "sqlalchemy",
    "store/record_file.py": "duckdb fcntl os shutil tempfile",
    "store/responses.py": "sqlalchemy",
    "store/rollouts.py": "sqlalchemy",
    "store/jobs.py": "sqlalchemy",
    "store/ledger.py": "sqlalchemy",
    "store/ledger_scaling.py": "sqlalchemy",
    "store/ledger_lead.py": "sqlalchemy",
    "store/ledger_move.py": "sqlalchemy",
    "store/ledger_part.py": "sqlalchemy",
    "store/ledger_open.py": "alembic sqlalchemy sqlite3",
    "store/ledger_sqlite.py": "sqlite3",
    "store/ledger_unchanged.py": "sqlite3",
    "store/ledger_postgres.py": "sqlalchemy",
    "store/ledger_tables.py": "sqlalchemy",
    "store/migrations/env.py": "alembic",
    "store/migrations/versions/v0001_ledger.py": "alembic sqlalchemy",
    "store/migrations/versions/v0002_evaluations.py": "alembic sqlalchemy",
    "store/migrations/versions/v0003_loop.py": "alembic sqlalchemy",
    "store/migrations/versions/v0004_monitoring.py": "alembic sqlalchemy",
    "store/migrations/versions/v0005_body_keys.py": "alembic sqlalchemy",
    "store/migrations/versions/v0006_user_spends.py": "alembic sqlalchemy",
    "store/migrations/versions/v0007_proposals.py": "alembic sqlalchemy",
    "store/migrations/versions/v0008_added_items.py": "alembic sqlalchemy",
    "store/migrations/versions/v0009_changed_items.py": "alembic sqlalchemy",
    "store/proposals.py": "sqlalchemy",
    "store/parquet.py": "duckdb tempfile",
    "store/whole_file.py": "os",
    "store/views.py": "sqlalchemy",
    "store/service.py": "os socket",
    "store/stopping.py": "os signal",
    "store/tunes.py": "sqlalchemy",
    "supervisor/lifeline.py": "os signal",
    "supervisor/listen.py": "socket",
    "supervisor/probe.py": "ssl",
    "supervisor/process.py": "os signal",
    "supervisor/procfs.py": "os",
    "supervisor/runfiles.py": "os ssl",
    "supervisor/session.py": "signal socket",
    "telemetry/frames.py": "mmap",
    "telemetry/journal.py": "fcntl mmap os shutil",
    "telemetry/remote.py": "os",
    "telemetry/shipping.py": "os shutil",
    "telemetry/logs.py": "os",
    "telemetry/uncounted.py": "mmap os",
    "testing.py": "os subprocess",
    "training/engine.py": "httpx2 socket",
    "training/learn.py": "os",
    "tuning/child.py": "os subprocess",
    "tuning/local.py": "os shutil subprocess tempfile",
    "tuning/hosted_http.py": "httpx2 ssl",
    "tuning/training_files.py": "shutil",
}
"""What each module touches. A module that is not here is named for a concept: it takes facts and decides."""

Finding = str
Rule = Callable[[str, ast.Module, str], Iterator[Finding]]
"""Reads one file, given its path from the root, its tree and its text; yields what is wrong with it."""


def project_files() -> list[Path]:
    """Every file of the project; what tools leave behind and data directories are not part of it."""
    files: list[Path] = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in MADE and (name[0] != "." or name == ".ci")]
        files += [Path(folder, name) for name in names if name != ".git"]  # of a worktree it is a file
    return sorted(files)


def python_files() -> list[Path]:
    """The project's Python."""
    return [path for path in project_files() if path.suffix == ".py"]


@lru_cache(maxsize=1)
def nodes(tree: ast.Module) -> list[Any]:
    """All that a file is made of."""
    return list(ast.walk(tree))


def imported(tree: ast.Module) -> set[str]:
    """Every module that a file imports, and the packages above it."""
    names: set[str] = set()
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {
        ".".join(parts[:end])
        for name in names
        for parts in [name.split(".")]
        for end in range(1, len(parts) + 1)
    }


def called(node: ast.AST) -> str:
    """The last name of what a call calls: `sleep` for `time.sleep(1)`; empty if `node` is no such call."""
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute):
            return node.func.attr
        if isinstance(node.func, ast.Name):
            return node.func.id
    return ""


def long_functions(path: str, tree: ast.Module, text: str) -> Iterator[Finding]:
    """A function fits on a page."""
    for node in nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield (
                    f"{path}:{node.lineno}: {node.name} has {lines} lines, of at most {FUNCTION_LINES_MAX}: "
                    "keep the branches in it and move the leaves into functions of their own"
                )


def long_modules(path: str, tree: ast.Module, text: str) -> Iterator[Finding]:
    """A module can be read in one sitting."""
    lines = text.count("\n")
    if lines > MODULE_LINES_MAX:
        yield f"{path}: {lines} lines, of at most {MODULE_LINES_MAX}: split it by noun, not by layer"


def sleeping_tests(path: str, tree: ast.Module, text: str) -> Iterator[Finding]:
    """A test waits for what it wants, not for time to pass; `asyncio.sleep(0)` only yields."""
    if not path.startswith("tests/"):
        return
    for node in nodes(tree):
        sleeps = called(node) in {"sleep", "wait_for_timeout"}
        if sleeps and [ast.unparse(each) for each in node.args] != ["0"]:
            yield f"{path}:{node.lineno}: sleeps: wait with `until` of tests/support/wait.py"


def endless_children(path: str, tree: ast.Module, text: str) -> Iterator[Finding]:
    """A process that a test runs to its end has so long for it, and fails the test then, and not the run."""
    if not path.startswith("tests/"):
        return
    for node in nodes(tree):
        runs = called(node) == "run" and ast.unparse(node.func) == "subprocess.run"
        if runs and "timeout" not in {keyword.arg for keyword in node.keywords}:
            yield f"{path}:{node.lineno}: may wait for ever: give subprocess.run a timeout"


def forged_redactions(path: str, tree: ast.Module, text: str) -> Iterator[Finding]:
    """Only the redactor says that a text is redacted."""
    if not path.startswith("src/") or path == "src/airboss/governance/redact.py":
        return
    for node in nodes(tree):
        name = called(node)
        if name == "Redacted" or (name == "cast" and "Redacted" in ast.unparse(node.args[0])):
            yield f"{path}:{node.lineno}: makes a Redacted: take it from governance.redact.Redactor.redact"


def io_in_concepts(path: str, tree: ast.Module, text: str) -> Iterator[Finding]:
    """A module named for a concept does no I/O; one named for a technology or a role does only its own."""
    if not path.startswith("src/airboss/"):
        return
    allowed = set(TOUCHES.get(path.removeprefix("src/airboss/"), "").split())
    for name in sorted((imported(tree) & IO_MODULES) - allowed):
        yield (
            f"{path}: imports {name}: take facts and return a decision, and act in a module named for a "
            "technology; or, if this is one, say so in TOUCHES (tests/test_tidy.py)"
        )


def unfinished(path: str, tree: ast.Module, text: str) -> Iterator[Finding]:
    """What is in the tree works."""
    for node in nodes(tree):
        if isinstance(node, ast.Name) and node.id == "NotImplementedError":
            yield f"{path}:{node.lineno}: unfinished: write it, or refuse with an error of domain/errors.py"


def setting_handlers(path: str, tree: ast.Module, text: str) -> Iterator[Finding]:
    """A handler of a signal sets no event: its own thread may hold it just then."""
    for node in nodes(tree):
        if called(node) == "signal" and re.match(r"signal\.signal\(.*\.set\(\)", ast.unparse(node)):
            yield f"{path}:{node.lineno}: a handler sets an event: `stop_on_signals` of store/stopping.py"


def stray_texts(path: str, tree: ast.Module, text: str) -> Iterator[Finding]:
    """A text stands below what it tells of: below another one it tells of nothing, or of something else."""

    def is_text(node: object) -> bool:
        said = node.value if isinstance(node, ast.Expr) else None
        return isinstance(said, ast.Constant) and isinstance(said.value, str)

    for node in nodes(tree):
        body = getattr(node, "body", ())
        for above, below in pairwise(body if isinstance(body, list) else ()):
            if is_text(above) and is_text(below):
                yield f"{path}:{below.lineno}: a text below a text: put it below what it tells of"


def bare_suppressions(path: str, tree: ast.Module, text: str) -> Iterator[Finding]:
    """A suppression says what it suppresses and why, on its line or in a comment above it.

    Not in tests, which pass on purpose what types forbid.
    """
    if path.startswith("tests/"):
        return
    above = ""
    for number, line in enumerate(text.splitlines(), 1):
        found = re.search(r"# (?:noqa\b(?:: [A-Z0-9, ]+)?|type: ignore\b(?:\[[a-z, -]+\])?)(.*)", line)
        if found and not above.startswith("#") and len(found.group(1).strip(" #-:")) < len("cause"):
            yield f"{path}:{number}: no reason given: write `# noqa: CODE  # why`, or mend the cause"
        above = line.strip()


RULES: tuple[tuple[Rule, str, str], ...] = (
    (long_functions, "src/airboss/gateway/x.py", "def f():\n" + "    g()\n" * FUNCTION_LINES_MAX),
    (long_modules, "src/airboss/gateway/x.py", "x = 1\n" * (MODULE_LINES_MAX + 1)),
    (sleeping_tests, "tests/gateway/test_x.py", "import time\ntime.sleep(1)\n"),
    (endless_children, "tests/gateway/test_x.py", "import subprocess\nsubprocess.run(['sh'], check=True)\n"),
    (forged_redactions, "src/airboss/telemetry/x.py", "Redacted(b'{}')\n"),
    (forged_redactions, "src/airboss/telemetry/x.py", "cast('Redacted', b'{}')\n"),
    (io_in_concepts, "src/airboss/gateway/x.py", "def f():\n    from urllib import request\n"),
    (unfinished, "src/airboss/gateway/x.py", "raise NotImplementedError\n"),
    (setting_handlers, "src/airboss/x.py", "signal.signal(15, lambda _n, _f: stop.set())\n"),
    (stray_texts, "src/airboss/gateway/x.py", 'X = 1\n"""One."""\n"""Two."""\n'),
    (bare_suppressions, "src/airboss/gateway/x.py", "import os  # " + "noqa: F401\n"),
)
"""Each rule with a path and a text that break it."""


@cache
def findings() -> Mapping[Rule, list[Finding]]:
    """What each rule finds in the project. To parse it takes longer than any rule, so that is done once."""
    found: dict[Rule, list[Finding]] = {rule: [] for rule, _, _ in RULES}
    for path in python_files():
        text = path.read_text()
        tree = ast.parse(text)
        for rule in found:
            found[rule] += rule(path.relative_to(ROOT).as_posix(), tree, text)
    return found


@pytest.mark.parametrize(
    "rule", list(dict.fromkeys(rule for rule, _, _ in RULES)), ids=lambda rule: rule.__name__
)
def test_every_file_keeps_the_rule(rule: Rule) -> None:
    """No Python file of the project breaks the rule."""
    assert not findings()[rule], "\n" + "\n".join(findings()[rule])


@pytest.mark.parametrize(("rule", "path", "text"), RULES, ids=lambda value: getattr(value, "__name__", ""))
def test_the_rule_can_fail(rule: Rule, path: str, text: str) -> None:
    """The rule finds the fault in a text that has it."""
    assert list(rule(path, ast.parse(text), text))


def test_nothing_is_allowed_that_is_not_used() -> None:
    """TOUCHES allows no module more than it imports."""
    idle = {
        name: unused
        for name, allowed in TOUCHES.items()
        if (unused := set(allowed.split()) - (imported(ast.parse((SRC / name).read_text())) & IO_MODULES))
    }
    assert not idle, f"take these out of TOUCHES: {idle}"


def test_domain_stays_small() -> None:
    """The shared nouns fit in one head; what outgrows them belongs to a room."""
    modules = [path for path in (SRC / "domain").glob("*.py") if path.name != "__init__.py"]
    lines = sum(path.read_text().count("\n") for path in modules)
    assert len(modules) <= DOMAIN_MODULES_MAX, f"{len(modules)} modules in domain: move one to its room"
    assert lines <= DOMAIN_LINES_MAX, f"domain has {lines} lines: move what only one room reads to that room"


def test_lock_files_name_no_index_and_hash_everything() -> None:
    """The lock files hold names, versions and hashes, and nothing about where they were compiled."""
    clients = map(str, (ROOT / "tests/conformance/clients").glob("*/requirements.txt"))
    for name in (
        "requirements.lock",
        "requirements-cluster.lock",
        "requirements-dev.lock",
        "requirements-ray.lock",
        "requirements-finetune.lock",
        "requirements-names.lock",
        *clients,
    ):
        text = (ROOT / name).read_text()
        assert "://" not in text, f"{name} names an address: compile it with `make lock`"
        options = [line for line in text.splitlines() if line.startswith("-")]
        assert not options, f"{name} has options, {options}: compile it with `make lock`"
        for block in re.split(r"\n(?=[a-z])", text.split("\n", 1)[1].strip()):
            assert " --hash=sha256:" in block, f"{name}: {block.split()[0]} has no hash: run `make lock`"


def test_lock_files_agree() -> None:
    """What is tested is what runs: the tools' lock holds every pin of the other."""
    pins = [
        {line.rstrip("\\ ") for line in (ROOT / name).read_text().splitlines() if re.match("[a-z]", line)}
        for name in ("requirements.lock", "requirements-dev.lock")
    ]
    assert pins[0] <= pins[1], f"run `make lock`: only in requirements.lock: {sorted(pins[0] - pins[1])}"


def test_every_dependency_is_pinned() -> None:
    """pyproject.toml asks for nothing that the lock files lack."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pinned = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements-dev.lock").read_text(), re.MULTILINE)
    wanted = [*project["project"]["dependencies"], *chain(*project["dependency-groups"].values())]
    names = {re.split(r"[^\w-]", need)[0].replace("_", "-").lower() for need in wanted}
    assert names <= set(pinned), f"run `make lock`: not pinned: {sorted(names.difference(pinned))}"


def test_no_file_names_somebodys_machine() -> None:
    """Paths of the machine that a file was written on mean nothing anywhere else."""
    foreign = re.compile(r"(?<![\w.~$}-])/(?:work|root)/")
    findings = [
        f"{path.relative_to(ROOT)}:{number}: names a path of one machine: make it relative or a parameter"
        for path in project_files()
        if path.suffix not in {".png", ".ico", ".woff2", ".gguf"}
        and path not in {Path(__file__), ROOT / ".git"}  # a worktree's is a file
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if foreign.search(line)
    ]
    assert not findings, "\n" + "\n".join(findings)


def test_the_files_that_tests_begin_with_are_there() -> None:
    """One that was renamed would come late again."""
    assert [name for name in LONG if not (ROOT / "tests" / name).exists()] == []


def test_nothing_is_left_of_a_merge() -> None:
    """A marker of a conflict breaks a style sheet without a word: what stands behind it is not there."""
    marker = re.compile(r"^(?:<{7}|>{7}) ", re.MULTILINE)
    assert marker.search("a { }\n" + "<" * 7 + " HEAD\n")
    left = [path for path in project_files() if marker.search(path.read_text(errors="replace"))]
    assert not left, f"decide what stands there: {left}"


def test_one_version_everywhere() -> None:
    """The package, its metadata and the changelog name the same version."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert airboss.__version__ == version, "set src/airboss/__init__.py and pyproject.toml to one version"
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text(), f"CHANGELOG.md has no section {version}"


def test_vendored_files_come_with_their_licence() -> None:
    """Code of others in the tree stands beside its licence."""
    vendored = [path for path in project_files() if "vendor" in path.parts and path.suffix in {".js", ".css"}]
    missing = [
        str(path.relative_to(ROOT))
        for path in vendored
        if not path.with_name(f"{path.name.split('.')[0]}.LICENSE.txt").is_file()
    ]
    assert not missing, f"put NAME.LICENSE.txt beside {missing}"
