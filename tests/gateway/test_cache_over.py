"""Answers that are good for a time, or for a moment only."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.domain.plan import Caching
from airboss.domain.record import Redacted
from airboss.store.answers import KeptAnswer, SqliteAnswers
from airboss.testing import FakeProvider
from tests.gateway.test_cache import CACHE, is_written, kept, state, worker
from tests.support.gateway import Gateway, deployment
from tests.support.wait import until

NEW = Redacted(b"new")


@pytest.fixture
def own(provider: FakeProvider, own_root: Path) -> Iterator[Gateway]:
    """A worker of the test's own."""
    with worker(provider.url, own_root) as running:
        yield running


def test_what_is_over_is_deleted(own: Gateway, provider: FakeProvider) -> None:
    """Whoever asks, and if nobody does; also where its deployment is gone by then."""
    own.chat("hello", model="short", user="anna")
    until(lambda: kept(own) == 1)
    own.publish(deployment(provider.url))
    until(lambda: kept(own) == 0)


def test_bounds_hold(own: Gateway) -> None:
    """What was kept longest goes when there is no room, and what is over is not given."""
    for n in range(4):
        own.chat(f"question {n}", model="small", user=f"u{n}")
    is_written(own, "u3")
    assert kept(own) == 2
    assert state(own.chat("question 3", model="small")) == "hit"
    assert state(own.chat("question 0", model="small")) == "miss"
    until(lambda: state(own.chat("hello", model="short")) == "hit")
    until(lambda: state(own.chat("hello", model="short")) == "miss")


def test_what_another_version_kept_goes_and_its_file_stays(tmp_path: Path) -> None:
    """Several workers find it at once: none is left with a file that is gone, and no erasure would find."""
    path = tmp_path / "cache.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript("create table answers (key, said); insert into answers values ('k', 'old words')")
        old.execute("pragma user_version = 1")
    was = path.stat().st_ino
    answer = KeptAnswer(key=b"k", deployment="d", user="ann", asked_at=1.0, kept_at=1.0, answer=NEW)
    with closing(SqliteAnswers(path)) as one, closing(SqliteAnswers(path)) as other:
        one.put(answer, ttl_s=60.0, entries_max=10, bytes_max=1000)
        assert (one.get(b"k", 0.0), other.get(b"k", 0.0)) == (b"new", b"new")
        assert path.stat().st_ino == was
        assert other.forget("ann", 2.0) == 1
        assert one.get(b"k", 0.0) is None
    assert b"old words" not in path.read_bytes()


def test_nobody_goes_on_with_a_file_that_another_took_away(tmp_path: Path) -> None:
    """One that is broken is begun anew by whoever sees it first. What others then keep stands where an
    erasure finds it, and one that finds it broken keeps out what comes after it."""
    path = tmp_path / "cache.db"
    answer = KeptAnswer(key=b"k", deployment="d", user="ann", asked_at=1.0, kept_at=1.0, answer=NEW)
    late = msgspec.structs.replace(answer, key=b"l", asked_at=2.0, kept_at=2.0)

    def put(by: SqliteAnswers, kept: KeptAnswer) -> None:
        by.put(kept, ttl_s=60.0, entries_max=10, bytes_max=1000)

    with closing(SqliteAnswers(path)) as one, closing(SqliteAnswers(path)) as other:
        put(other, answer)
        other.forget("nobody", 1.0)  # and all stands in the file
        path.write_bytes(b"x" * 4096)
        assert one.forget("ann", 1.0) == 0
        assert other.get(b"k", 0.0) is None
        put(other, answer)
        assert one.get(b"k", 0.0) is None
        put(other, late)
        assert one.get(b"l", 0.0) == b"new"
        assert one.forget("ann", 3.0) == 1
        assert other.get(b"l", 0.0) is None


def test_one_that_another_begins_anew_at_once_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is taken away beside a file that is new: its keeper would go on with a log that others lack."""
    path = tmp_path / "cache.db"
    path.write_bytes(b"x" * 4096)
    answer = KeptAnswer(key=b"k", deployment="d", user="ann", asked_at=1.0, kept_at=1.0, answer=NEW)
    unlink = Path.unlink

    def unlinked(self: Path, *, missing_ok: bool = False) -> None:
        unlink(self, missing_ok=missing_ok)
        if self == path:
            other.put(answer, ttl_s=60.0, entries_max=10, bytes_max=1000)

    with closing(SqliteAnswers(path)) as one, closing(SqliteAnswers(path)) as other:
        monkeypatch.setattr(Path, "unlink", unlinked)
        assert one.get(b"k", 0.0) == b"new"
        assert one.forget("ann", 2.0) == 1
        assert other.get(b"k", 0.0) is None


def test_another_ttl_is_for_what_is_kept_already_too(own: Gateway, provider: FakeProvider) -> None:
    """A shorter one has it given no more, and deleted; a longer one has it given for longer."""
    assert [state(own.chat("hello")) for _ in range(2)] == ["miss", "hit"]
    own.publish(deployment(provider.url, cache=Caching(ttl_s=0.2)))
    until(lambda: state(own.chat("hello")) == "miss")
    until(lambda: kept(own) == 0)
    own.chat("hello")
    own.publish(deployment(provider.url, cache=Caching(ttl_s=600.0)))
    until(lambda: [state(own.chat("hello")) for _ in range(2)] == ["hit", "hit"])


def elsewhere(url: str) -> str:
    """Another URL of the same server."""
    return url.replace("127.0.0.1", "localhost")


@pytest.mark.parametrize(
    "moved",
    [
        {"base_urls": ()},
        {"upstream_model": "another"},
        {"api_version": "2026-01-01"},
        {"region": "eu-west-1"},
        {"headers": (("openai-project", "another"),)},
        {"kind": "openai"},
    ],
    ids=lambda each: next(iter(each)),
)
def test_another_place_behind_the_same_names_is_asked(
    own: Gateway, provider: FakeProvider, moved: dict[str, Any]
) -> None:
    """It may answer otherwise. Back at the old one, what that has said is there."""
    if "base_urls" in moved:
        moved = {"base_urls": (elsewhere(provider.url),)}
    assert [state(own.chat("hello")) for _ in range(2)] == ["miss", "hit"]
    own.publish(deployment(provider.url, cache=CACHE, **moved))
    until(lambda: state(own.chat("hello")) == "miss")
    assert provider.stats().requests == 2
    own.publish(deployment(provider.url, cache=CACHE))
    until(lambda: own.chat("hello").headers["x-airboss-plan"] == "3")
    assert state(own.chat("hello")) == "hit"
    assert provider.stats().requests == 2


def test_engines_may_listen_anywhere(own: Gateway, provider: FakeProvider) -> None:
    """A replica that was started again is the same model."""
    own.publish(deployment(provider.url, cache=CACHE, kind="local"))
    until(lambda: state(own.chat("hello")) == "hit")
    own.publish(deployment(elsewhere(provider.url), cache=CACHE, kind="local"))
    until(lambda: own.chat("hello").headers["x-airboss-plan"] == "3")
    assert state(own.chat("hello")) == "hit"


@pytest.mark.parametrize(
    "asked",
    [
        {"web_search_options": {}},
        {"search_parameters": {"mode": "auto"}},
        {"plugins": [{"id": "web"}]},
        {"enable_search": True},
        {"tools": [{"type": "web_search"}]},
        {"tools": [{"google_search": {}}]},
        {"tools": [{"type": ["odd"]}]},
        {"modalities": ["text", "audio"]},
    ],
    ids=str,
)
def test_what_was_looked_up_is_not_kept(own: Gateway, asked: dict[str, Any]) -> None:
    """Whoever's tool it is that runs at the provider, and by whatever name that is asked for."""
    assert [state(own.chat("any news?", **asked)) for _ in range(2)] == ["bypass", "bypass"]
    (name,) = asked
    switched_off: Any = {"tools": [], "plugins": None}.get(name, False)
    if name not in {"modalities", "web_search_options", "search_parameters"}:
        assert state(own.chat("any news?", **{name: switched_off})) == "miss"


def test_nor_where_the_release_asks_for_it(own: Gateway, provider: FakeProvider) -> None:
    """Of a caller who may not know."""
    plan = deployment(provider.url, cache=CACHE)
    searching = msgspec.structs.replace(plan.stable, digest="e" * 64, params={"enable_search": True})
    own.publish(msgspec.structs.replace(plan, stable=searching))
    until(lambda: own.chat("x").headers["x-airboss-release"] == "e" * 64)
    assert state(own.chat("any news?")) == "bypass"
    assert state(own.chat("any news?", enable_search=False)) == "miss"


def test_what_has_no_room_makes_none(tmp_path: Path) -> None:
    """All others would go for it, and it would be the next."""
    answers = SqliteAnswers(tmp_path / "cache.db")
    bounds: dict[str, Any] = {"ttl_s": 8.0, "entries_max": 10, "bytes_max": 1000}
    for key, size in ((b"a", 400), (b"b", 400), (b"c", 1001)):
        answer = Redacted(b"x" * size)
        kept = KeptAnswer(key=key, deployment="d", user=None, asked_at=0.0, kept_at=1.0, answer=answer)
        answers.put(kept, **bounds)
    assert [answers.get(key, -6.0) is not None for key in (b"a", b"b", b"c")] == [True, True, False]
    answers.close()
