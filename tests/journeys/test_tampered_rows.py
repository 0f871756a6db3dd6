"""Rows of the ledger are edited, and the audit log's leaves stay as they are: `audit verify` says which."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from airboss.testing import FakeProvider
from tests.journeys.configs import fake
from tests.support.airboss import Airboss, run_airboss
from tests.support.wait import until

TEAMS = '[teams.red]\nbudget = { usd = 5, per = "month" }\n'
RELEASE = """
[releases.careful]
model = "fake"
params = {{ temperature = {} }}

[deployments.careful]
release = "careful"
rollout = {{ steps = [50] }}
"""


def config(url: str, temperature: float, more: str = "") -> str:
    """A configuration with a release that can be changed."""
    return fake(url, RELEASE.format(temperature) + TEAMS + more)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a stopped Airboss where everything was done that leaves tell of."""
    root = tmp_path_factory.mktemp("made")
    with FakeProvider() as provider, Airboss(root / "a", config(provider.url, 0.1)) as airboss:
        secrets = {
            name: json.loads(airboss.verb("keys", "create", name, "--role", role, "--json"))["key"]
            for name, role in (("vera", "viewer"), ("anna", "admin"), ("ada", "admin"))
        }
        for name in ("web", "gone"):
            airboss.verb("keys", "create", name)
        airboss.verb("keys", "revoke", "gone")
        airboss.verb("keys", "rotate", "web", "--grace", "1h")
        airboss.verb("keys", "set", "web", "--team", "red")
        lines = root / "golden.jsonl"
        lines.write_text('{"input": "hi", "expected": "ho", "part": "validation"}\n')
        for name in ("golden", "dropped", "bob"):
            airboss.verb("dataset", "create", name, "--file", str(lines))
        airboss.verb(
            "erase", "--user", "bob", "--yes"
        )  # whose name nobody knows any more, of the dataset too
        airboss.verb("dataset", "delete", "dropped", "--yes")
        airboss.verb("dataset", "create", "golden", "--file", str(lines))
        run = (
            "eval",
            "run",
            "--dataset",
            "golden",
            "--deployment",
            "careful",
            "--scorer",
            "exact",
            "--detach",
        )
        airboss.verb(*run, "--baseline", "none")

        def applied(text: str, *, by: str = "") -> None:
            file = root / "next.toml"
            file.write_text(text)
            if not by:
                airboss.verb("apply", str(file))
                return
            env, to = {"AIRBOSS_ADMIN_KEY": secrets[by]}, ("--url", airboss.ready["console_url"])
            assert run_airboss("apply", str(file), *to, cwd=root, env=env).returncode == 1, "it waits"

        applied(config(provider.url, 0.2))
        airboss.verb("rollout", "start", "careful")
        airboss.verb("rollout", "abort", "careful")
        two = "[approvals]\nrequired = true\n[keys.web]\ndeployments = ['careful']\n"
        applied(config(provider.url, 0.2, two))
        applied(config(provider.url, 0.3, two), by="anna")
        env, to = {"AIRBOSS_ADMIN_KEY": secrets["ada"]}, ("--url", airboss.ready["console_url"])
        assert run_airboss("approvals", "approve", "1", *to, cwd=root, env=env).returncode == 0
        applied(config(provider.url, 0.4, two), by="anna")

        def all_told() -> bool:
            with closing(sqlite3.connect(airboss.data / "ledger.db")) as ledger:
                asked = "select count(*) from audit_leaves where action in ('plan.publish', 'verdict')"
                plans, verdicts = "select count(*) from plans", "select count(*) from verdicts"
                told = ledger.execute(asked).fetchone()[0]
                return bool(told == sum(ledger.execute(each).fetchone()[0] for each in (plans, verdicts)))

        until(all_told)
    return root / "a"


def verified(root: Path, *args: str) -> tuple[int, str]:
    """What `audit verify` answers, and what it says."""
    done = run_airboss("audit", "verify", "--data-dir", str(root / ".airboss"), *args, cwd=root)
    return done.returncode, done.stdout + done.stderr


EDITS: dict[str, tuple[str, str]] = {
    "a role": (
        """update keys set content = json_set(content, '$.role', 'admin') where name = 'vera'""",
        "key 'vera' is not what leaf",
    ),
    "a team": (
        """update keys set content = json_set(content, '$.team', null) where name = 'web'""",
        "key 'web' is not what leaf",
    ),
    "deployments that a configuration gave": (
        """update keys set content = json_set(content, '$.deployments', null) where name = 'web'""",
        "key 'web' is not what leaf",
    ),
    "a revoked key": (
        """update keys set content = json_set(content, '$.revoked_at', null) where name = 'gone'""",
        "key 'gone' is not what leaf",
    ),
    "a secret": (
        """update keys set content = json_set(content, '$.sha256', printf('%064d', 1)) where name = 'anna'""",
        "key 'anna' is not what leaf",
    ),
    "limits": (
        """update keys set content = json_set(content, '$.limits', null, '$.priority', 'high')
        where name = 'default'""",
        "key 'default' is not what leaf",
    ),
    "our own key": (
        """update keys set content = json_set(content, '$.internal', json('false')) where name = 'airboss'""",
        "key 'airboss' is not what leaf",
    ),
    "another key": (
        """insert into keys select 'mole', replace(content, 'anna', 'mole') from keys where name = 'anna'""",
        "key 'mole' is there, and no leaf tells of it",
    ),
    "a key less": ("""delete from keys where name = 'ada'""", "key 'ada', which leaf"),
    "no text": ("""update keys set content = x'ff' where name = 'ada'""", "key 'ada' is not what leaf"),
    "a plan": (
        """update plans set content = replace(content, '0.1', '0.9') where number = 1""",
        "plan 1 is not",
    ),
    "a configuration": (
        """update plans set config = config || ' ' where number = 2""",
        "the configuration of",
    ),
    "a plan's time": (
        """update plans set created_at = '2020' where number = 1""",
        "plan 1 is not of the time",
    ),
    "another plan": (
        """insert into plans select 99, created_at, content, config from plans where number = 1""",
        "plan 99 is told of by no leaf",
    ),
    "a plan before all": (
        """insert into plans select 0, created_at, content, config from plans where number = 1""",
        "plan 0 is told of by no leaf",
    ),
    "a release": (
        """update releases set content = replace(content, '0.1', '0.9') where content like '%0.1%'""",
        "is not as plan 1 has it",
    ),
    "another release": (
        """insert into releases select 'f' || substr(digest, 2), content, first_plan from releases""",
        "is not as plan",
    ),
    "a release of no plan": ("""update releases set first_plan = 99""", "is not as plan 99 has it"),
    "a release less": ("""delete from releases where first_plan = 1""", ", is gone"),
    "a candidate less": (
        """delete from releases where digest in (select json_extract(content, '$.wanted') from standings
        where deployment = 'careful')""",
        ", is gone",
    ),
    "a verdict": (
        """update verdicts set content = replace(content, 'abort', 'promote')""",
        "verdict 1 is not what leaf",
    ),
    "a verdict less": ("""delete from verdicts""", "verdict 1, which leaf"),
    "where a deployment stands": (
        """update standings set content = json_set(content, '$.stable', printf('%064d', 1))
        where deployment = 'careful'""",
        "where deployment 'careful' stands is not what leaf",
    ),
    "where it stood": (
        """update standings set content = json_set(content, '$.promoted[#]',
        json_set(json_extract(content, '$.promoted[0]'), '$.release', json_extract(content, '$.wanted')))
        where deployment = 'careful'""",
        "where deployment 'careful' stands, or stood, is not what plans tell of",
    ),
    "of which it stands": (
        """update standings set content = json_set(content, '$.deployment', 'support')
        where deployment = 'careful'""",
        "where deployment 'careful' stands, or stood, is not what plans tell of",
    ),
    "a standing less": (
        """delete from standings where deployment = 'careful'""",
        "where deployment 'careful' stands is gone",
    ),
    "no standing": ("""update standings set content = '{"promoted": 7}'""", "stands"),
    "what was rolled out": (
        """update rollouts set content = json_set(content, '$.release', printf('%064d', 1))""",
        "is not what leaf",
    ),
    "where it was rolled out": (
        """update rollouts set content = json_set(content, '$.deployment', 'support')""",
        "is not what leaf",
    ),
    "where it is looked for": (
        """update rollouts set deployment = 'support'""",
        "is kept as one of another deployment than its own",
    ),
    "how it ended": (
        """update rollouts set content = json_set(content, '$.stage.state', 'promoted')""",
        "is not what its verdicts say",
    ),
    "that it ended": ("""update rollouts set live = 1""", "is not what its verdicts say"),
    "why it ended": (
        """update rollouts set content = json_set(content, '$.verdict.reason', 'all is well')""",
        "is not what its verdicts say",
    ),
    "no rollout": ("""update rollouts set content = '[]'""", "is not what leaf"),
    "a rollout less": ("""delete from rollouts""", "is gone"),
    "another rollout": (
        """insert into rollouts select 'x', deployment, started_at, live, settled, exposure, content
        from rollouts""",
        "rollout x is not what its verdicts say",
    ),
    "a dataset": (
        """update datasets set digest = printf('%064d', 1) where name = 'golden'""",
        "dataset 'golden' (000000000000) is told of by no leaf",
    ),
    "a dataset of another name": (
        """update datasets set name = 'dropped' where name = 'golden'""",
        "dataset 'golden' (",
    ),
    "a dataset less": ("""delete from datasets where name = 'golden'""", "dataset 'golden' ("),
    "what a job was to do": (
        """update jobs set spec = replace(spec, 'validation', 'train')""",
        "was to do is not what leaf",
    ),
    "of which kind it was": ("""update jobs set kind = 'tune'""", "was to do is not what leaf"),
    "a job less": ("""delete from jobs""", "job "),
    "why something was asked": (
        """update proposals set content = json_set(content, '$.reason', 'Ann wants it') where number = 1""",
        "approval as 1 is not what leaf",
    ),
    "why it was approved": (
        """update proposals set content = json_set(content, '$.said', 'It is well') where number = 1""",
        "the decision on what waits, or waited, for approval as 1 is not what leaf",
    ),
    "what somebody approved": (
        """update proposals set content = replace(content, '0.3', '0.9') where number = 1""",
        "approval as 1 is not what leaf",
    ),
    "who asked": (
        """update proposals set content = json_set(content, '$.by', 'ada') where number = 2""",
        "approval as 2 is not what leaf",
    ),
    "by which account": (
        """update proposals set content = json_set(content, '$.by_id', 'x') where number = 2""",
        "approval as 2 is not what leaf",
    ),
    "in whose hands": (
        """update proposals set content = json_set(content, '$.hands', json('[]')) where number = 2""",
        "approval as 2 is not what leaf",
    ),
    "what waits, approved": (
        """update proposals set state = 'approved', content = json_set(content, '$.state', 'approved',
        '$.decided_by', 'ada') where number = 2""",
        "the decision on what waits, or waited, for approval as 2 is not what leaf",
    ),
    "what was approved, waiting": (
        """update proposals set state = 'waiting', content = json_set(content, '$.state', 'waiting')
        where number = 1""",
        "the decision on what waits, or waited, for approval as 1 is not what leaf",
    ),
    "who approved": (
        """update proposals set content = json_set(content, '$.decided_by', 'anna') where number = 1""",
        "the decision on what waits, or waited, for approval as 1 is not what leaf",
    ),
    "what waits, gone": ("""delete from proposals where number = 2""", "what waits for approval as 2"),
    "another that waits": (
        """insert into proposals select 3, state, replace(content, '"number":2', '"number":3')
        from proposals where number = 2""",
        "approval as 3 is told of by no leaf",
    ),
    "a tombstone": ("""update erasures set digest = printf('%064d', 1)""", "erasure 1, by which"),
    "until when": ("""update erasures set at = '2020-01-01T00:00:00+00:00'""", "erasure 1, by which"),
    "a tombstone less": ("""delete from erasures""", "erasure 1, which leaf"),
    "another tombstone": (
        """insert into erasures select 2, digest, at, by, user, done_at, records, scores, items, names
        from erasures""",
        "erasure 2, by which somebody stays forgotten, is told of by no leaf",
    ),
}


def test_what_nobody_edited_is_valid(made: Path) -> None:
    """After all of it, with the checkpoint that it keeps itself."""
    code, said = verified(made)
    assert (code, "valid: all" in said) == (0, True), said


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_row_is_found(made: Path, tmp_path: Path, edit: str) -> None:
    """The verb answers no, and names what was edited."""
    statement, problem = EDITS[edit]
    shutil.copytree(made / ".airboss", tmp_path / ".airboss", ignore=shutil.ignore_patterns("*.sock"))
    with closing(sqlite3.connect(tmp_path / ".airboss" / "ledger.db")) as ledger, ledger:
        assert ledger.execute(statement).rowcount > 0
    code, said = verified(tmp_path)
    assert (code, said.startswith("TAMPERED: "), problem in said) == (1, True, True), said


def a_folder(head: Path) -> None:
    """No file at all."""
    head.unlink()
    head.mkdir()


def a_link(head: Path) -> None:
    """The very same, by way of a link."""
    head.rename(head.with_name("kept"))
    head.symlink_to("kept")


HEADS: dict[str, Callable[[Path], object]] = {
    "empty": lambda head: head.write_bytes(b""),
    "no text": lambda head: head.write_bytes(b"\xff\0\n" * 50),
    "long": lambda head: head.write_bytes(b"[" * 1_000_000),
    "of a larger log": lambda head: head.write_text(head.read_text().replace('"size":', '"size":9')),
    "a folder": a_folder,
    "a link": a_link,
}


@pytest.mark.parametrize("head", HEADS)
def test_a_checkpoint_beside_the_key_that_is_none_was_edited(made: Path, tmp_path: Path, head: str) -> None:
    """Whatever stands there, the answer is no, and a start tells of it too."""
    shutil.copytree(made / ".airboss", tmp_path / ".airboss", ignore=shutil.ignore_patterns("*.sock"))
    HEADS[head](tmp_path / ".airboss" / "secrets" / "audit_head")
    code, said = verified(tmp_path)
    assert (code, "its checkpoint in secrets/audit_head does not fit" in said) == (1, True), said
    assert "Next: keep this data directory as it is" in said
    status = run_airboss("status", "--json", "--data-dir", str(tmp_path / ".airboss"), cwd=tmp_path)
    assert "was edited" in json.loads(status.stdout)["audit_trouble"]


def test_without_the_key_nothing_can_be_said(made: Path, tmp_path: Path) -> None:
    """It is called wrongly then, and hears where the key may be."""
    shutil.copytree(made / ".airboss", tmp_path / ".airboss", ignore=shutil.ignore_patterns("*.sock"))
    (tmp_path / ".airboss" / "secrets" / "audit_key").unlink()
    code, said = verified(tmp_path)
    assert (code, "audit_key is gone" in said, "put it back from a backup" in said) == (2, True, True), said


def test_ledgers_that_were_swapped_are_told_apart(made: Path, tmp_path: Path) -> None:
    """Another Airboss's ledger is signed with another key, and its checkpoint too."""
    shutil.copytree(made / ".airboss", tmp_path / ".airboss", ignore=shutil.ignore_patterns("*.sock"))
    with Airboss(tmp_path / "b", fake("http://127.0.0.1:9/v1")) as other:
        checkpoint = tmp_path / "checkpoint.json"
        checkpoint.write_text(other.verb("audit", "checkpoint"))
    code, said = verified(tmp_path, "--checkpoint", str(checkpoint))
    assert (code, "the checkpoint was signed with another key" in said) == (1, True), said
    shutil.copyfile(other.data / "ledger.db", tmp_path / ".airboss" / "ledger.db")
    code, said = verified(tmp_path)
    assert (code, "leaf 0 names another signing key" in said) == (1, True), said


def test_an_edited_key_that_is_changed_again_is_found(made: Path, tmp_path: Path) -> None:
    """A change on top of an edit does not hide it: its leaf says how the key was found."""
    shutil.copytree(made / ".airboss", tmp_path / ".airboss", ignore=shutil.ignore_patterns("*.sock"))
    with closing(sqlite3.connect(tmp_path / ".airboss" / "ledger.db")) as ledger, ledger:
        ledger.execute(EDITS["a role"][0])
    there = ("--data-dir", str(tmp_path / ".airboss"))
    assert run_airboss("keys", "set", "vera", "--expires", "30d", *there, cwd=tmp_path).returncode == 0
    code, said = verified(tmp_path)
    assert (code, "key 'vera' was edited in the ledger, after leaf" in said) == (1, True), said
