"""Waiting until gateways serve a change: nothing else waits with it, and what was done is answered."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import httpx2
import pytest

from airboss.console import desk
from airboss.console.desk import READERS_MAX
from airboss.domain.errors import SetupError
from airboss.domain.ports import ApiKey
from tests.console.governed import Governed, governed
from tests.console.looped import pressed
from tests.support.wait import until


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Governed]:
    """A console over a real ledger."""
    with governed(tmp_path) as found:
        yield found


def shows_a_new_key(answer: httpx2.Response) -> None:
    """What was made is told."""
    assert answer.status_code == 200, answer.text
    assert answer.json()["key"].startswith("ab_")


def test_a_change_is_answered_though_nobody_can_say_who_serves_it(site: Governed) -> None:
    """The secret of a new key is shown: whoever does not see it would make the key again."""

    def taken() -> None:
        raise SetupError("the ledger's database is starting")

    site.taken = taken
    shows_a_new_key(site.program().post("/api/v1/keys", json={"name": "new"}))


def test_a_change_is_answered_though_the_ledger_is_gone_after_it(
    site: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a restart of its database: what was made is told."""
    found = iter([1])

    def revision() -> int:
        for known in found:
            return known
        raise SetupError("the ledger's database is starting")

    monkeypatch.setattr(site.ledger, "revision", revision)
    shows_a_new_key(site.program().post("/api/v1/keys", json={"name": "new"}))


def test_a_change_that_takes_long_is_answered_with_what_was_done(
    site: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that was asked for later is given up; who is told so of a change makes it again."""
    monkeypatch.setattr(desk, "READ_S", 0.2)
    begun, end = threading.Event(), threading.Event()
    change = site.ledger.change_key

    def slowly(*given: Any) -> ApiKey:
        begun.set()
        end.wait(60)
        return change(*given)

    monkeypatch.setattr(site.ledger, "change_key", slowly)
    monkeypatch.setattr(site.log, "records", lambda *_, **__: end.wait(60) and ())
    with site.program() as program, ThreadPoolExecutor(1) as pool:
        try:
            post = pool.submit(program.post, "/api/v1/keys", json={"name": "new"})
            assert begun.wait(60)
            assert program.get("/api/v1/records").status_code == 503
            assert not post.done()
        finally:
            end.set()
        answer = post.result(timeout=60)
    shows_a_new_key(answer)


def test_a_change_that_cannot_begin_is_told_so(site: Governed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where so many are being made that none comes to its turn, nothing was changed, and that is said."""
    patient = desk.READ_S
    monkeypatch.setattr(desk, "READ_S", 0.2)
    end = threading.Event()
    change = site.ledger.change_key

    def held_up(*given: Any) -> ApiKey:
        end.wait(60)
        return change(*given)

    monkeypatch.setattr(site.ledger, "change_key", held_up)
    with site.program() as program, ThreadPoolExecutor(READERS_MAX + 1) as pool:
        try:
            names = [f"k{number}" for number in range(READERS_MAX + 1)]
            posts = [pool.submit(program.post, "/api/v1/keys", json={"name": name}) for name in names]
            refused = next(as_completed(posts, timeout=60)).result()
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
            assert "nothing was changed" in refused.json()["error"]["message"]
            monkeypatch.setattr(desk, "READ_S", patient)  # as long as a busy machine may need
            assert program.get("/api/v1/keys").status_code == 200
        finally:
            end.set()
        assert sorted(post.result(timeout=60).status_code for post in posts) == [200] * READERS_MAX + [503]


def test_only_what_gateways_must_see_is_waited_for(site: Governed) -> None:
    """A change does, by the API and by the console's own forms; a question and a saved view do not."""
    waits: list[str] = []
    site.taken = lambda: waits.append("")
    program, person = site.program(), site.person()
    assert program.post("/api/v1/keys", json={"name": "new"}).status_code == 200
    assert len(waits) == 1
    assert pressed(person, "/governance/keys/new/revoke").status_code == 303
    assert len(waits) == 2
    asked = program.post("/api/v1/config/diff", json={"config": "[keys.new]\n"})
    assert asked.status_code == 200, asked.text
    kept = program.post("/api/v1/views", json={"name": "mine", "url": "/explore?range=7d"})
    assert kept.status_code == 200, kept.text
    assert len(waits) == 2


def test_who_waits_keeps_nobody_from_reading(site: Governed) -> None:
    """Where a gateway cannot take the plan, changes are answered a second later, and pages meanwhile."""
    end = threading.Event()
    site.taken = lambda: end.wait(60)
    with site.program() as program, ThreadPoolExecutor(READERS_MAX + 1) as pool:
        try:
            names = [f"k{number}" for number in range(READERS_MAX)]
            posts = [pool.submit(program.post, "/api/v1/keys", json={"name": name}) for name in names]
            until(lambda: {each.name for each in site.ledger.all_keys()} >= set(names))
            seen = pool.submit(program.get, "/api/v1/keys").result(timeout=60)
            assert seen.status_code == 200
            assert [post.result(timeout=60).status_code for post in posts] == [200] * READERS_MAX
        finally:
            end.set()
