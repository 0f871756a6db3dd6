"""A run that is killed at any moment goes on without paying twice."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

from airboss.evaluations.run import load
from airboss.store.evals import SqlEvalStore
from airboss.testing import FakeProvider, ScriptStep
from tests.evaluations.killed import CONCURRENCY, COUNT
from tests.support.wait import until

SEED = 20261124


def test_kill_9_repeats_no_kept_call(provider: FakeProvider, tmp_path: Path) -> None:
    """Killed three times at moments drawn from a seed, then left alone: the run ends, and the provider was
    asked no more often than each question once and what was in flight at each kill."""
    database = f"sqlite:///{tmp_path / 'ledger.db'}"
    rng = random.Random(SEED)
    store = SqlEvalStore(database)
    questions = 2 * COUNT
    kept_before = 0
    for kill in range(3):
        provider.reset()
        goal = rng.randrange(5, 30)
        # Slow enough that a kill lands in the middle of calls, and those that come late wait for it.
        steps = (
            ScriptStep(behaviour="ok;delay_s=0.01", calls=goal),
            ScriptStep(behaviour="silence", forever=True),
        )
        provider.script(*steps)
        process = start(database, provider)
        until(lambda goal=goal: provider.stats().answered >= goal)  # type: ignore[misc]
        process.kill()
        assert process.wait(60) == -signal.SIGKILL, f"seed {SEED}"
        until(lambda: provider.stats().in_flight == 0)
        asked = provider.stats().requests
        kept = answers_in(database)
        assert asked <= kept - kept_before + CONCURRENCY, f"seed {SEED}, kill {kill}"
        assert kept >= kept_before + goal - CONCURRENCY
        kept_before = kept
    provider.reset()
    process = start(database, provider)
    assert process.wait(60) == 0
    assert provider.stats().requests == questions - kept_before
    report = load(store, "run")[1]
    assert report is not None
    assert report.a is not None
    assert (report.a.answers, report.b.answers, report.a.errors) == (COUNT, COUNT, 0)
    store.close()


def start(database: str, provider: FakeProvider) -> subprocess.Popen[bytes]:
    """The evaluation, in a process of its own."""
    return subprocess.Popen([sys.executable, "-m", "tests.evaluations.killed", database, provider.url])


def answers_in(database: str) -> int:
    """How many answers are on disk."""
    with sqlite3.connect(database.removeprefix("sqlite:///")) as connection:
        (count,) = connection.execute("SELECT count(*) FROM eval_answers").fetchone()
    connection.close()
    return int(count)
