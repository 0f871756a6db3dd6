"""Drift is looked for in the record log and by asking a real provider; where it stands is in the ledger."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from airboss.compose import drifts
from airboss.config import Config, DeploymentConfig, DriftConfig
from airboss.controller.drift_watch import CheckPrompts, DriftWatch
from airboss.domain.errors import StoreUnavailable
from airboss.domain.ports import JournalMove, RecordFilter
from airboss.evaluations.drift import Drift
from airboss.evaluations.drift_checks import Checks
from airboss.evaluations.drift_words import drifted
from airboss.evaluations.ports import Answer
from airboss.store.drift_rows import checks_of, features_of
from airboss.store.memory import MemoryRecordLog
from airboss.store.views import SqlViewStore
from airboss.testing import Behaviour, FakeProvider, ScriptStep
from tests.controller.journals import FixedClock
from tests.store.samples import record_json
from tests.support.fake import fake_process, provider

__all__ = ["fake_process", "provider"]

NAME = "assistant"
PROMPTS = tuple(f"tell me fact {number}" for number in range(8))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlViewStore]:
    """An empty ledger."""
    made = SqlViewStore(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield made
    made.close()


def config(**fields: Any) -> Config:
    """One deployment, looked at so."""
    return Config(deployments={NAME: DeploymentConfig(model="m", drift=DriftConfig(**fields))})


class Watched:
    """A watch over a log that calls are put into, twenty each twenty seconds."""

    def __init__(self, store: SqlViewStore, **fields: Any) -> None:
        self.store = store
        self.log = MemoryRecordLog()
        self.clock = FixedClock()
        self.config = config(**{"reference": 100, **fields})
        self.number = 0
        self.embedder: Meanings | None = None

    def look(
        self, text: str = "An ordinary answer.", *, count: int = 20, ago_s: float = 62, **fields: Any
    ) -> Drift | None:
        """Some calls that began so long ago, and a look by a watch of a new process."""
        self.calls(text, count=count, ago_s=ago_s, **fields)
        watch = DriftWatch(
            config=lambda: self.config,
            store=self.store,
            record_log=self.log,
            clock=self.clock,
            embedder=lambda: self.embedder,
        )
        watch.tick()
        self.clock.at += timedelta(seconds=20)
        kept = self.store.drift(features_of(NAME))
        return None if kept is None else msgspec.json.decode(kept, type=Drift)

    def calls(self, text: str, *, count: int, ago_s: float, **fields: Any) -> None:
        """Some calls that began so long ago and have just ended."""
        numbers = range(self.number + 1, self.number + count + 1)
        self.number += count
        response = msgspec.Raw(msgspec.json.encode({"choices": [{"message": {"content": text}}]}))
        records = tuple(
            record_json(
                each, started_at=self.clock.now() - timedelta(seconds=ago_s), response=response, **fields
            )
            for each in numbers
        )
        self.log.apply(JournalMove(segment=f"s{numbers[0]}", start=0, end=1, records=records))


def test_answers_that_take_long_are_looked_at_beside_quick_ones(store: SqlViewStore) -> None:
    """Half of the calls answer in two seconds, half in fifty: that the latter begin to decline is found."""
    watched = Watched(store)
    for look in range(40):
        slowly = "I'm sorry, but I can't help with that." if look >= 20 else "An ordinary answer."
        watched.calls(slowly, count=10, ago_s=50)
        state = watched.look(count=10, ago_s=2)
    assert state is not None
    assert "output_refusal" in {each.feature for each in state.found}


def test_what_an_older_one_has_kept_begins_anew(store: SqlViewStore) -> None:
    """A reference of calls of which less was looked at is no reference for more."""
    watched = Watched(store)
    states = [watched.look() for _ in range(6)]
    kept = msgspec.to_builtins(states[-1])
    assert len(kept["learning"]) > 20
    for each in kept["learning"]:
        del each["output_language"]
    store.put_drift(features_of(NAME), msgspec.json.encode(kept))
    sizes = [len(state.learning) for _ in range(6) if (state := watched.look()) is not None]
    assert (sizes[0], len(sizes)) == (0, 6)
    assert 0 < sizes[-1] < 100


def test_drift_is_found_in_records(store: SqlViewStore) -> None:
    """Answers that begin to decline: what, and examples from before and after that are records."""
    watched = Watched(store)
    for _ in range(15):
        state = watched.look()
    assert state is not None
    assert (state.reference, state.found) == (100, ())
    assert drifted(state, None) == (0, "", ())
    began = watched.clock.now()
    for _ in range(20):
        state = watched.look("I'm sorry, but I can't help with that.")
        if state is not None and state.found:
            break
    assert state is not None
    found = {each.feature: each for each in state.found}
    assert "output_refusal" in found
    assert abs(found["output_refusal"].since - began) <= timedelta(seconds=120)
    known = {each.id for each in watched.log.records(where_all(), limit=10_000, bodies=False)}
    assert set(found["output_refusal"].examples_before + found["output_refusal"].examples_after) <= known
    words = drifted(state, None)
    assert words is not None
    assert words[0] == len(state.found)
    assert re.search("answers that decline: declines, 100 % since .* UTC, 0 % before", words[1])
    assert len(words[2]) == 5
    assert set(words[2]) <= known
    assert drifts.drifted(store, NAME, config()) == words
    for off in (config(features=False), Config()):
        assert drifts.drifted(store, NAME, off) is None, "what is not looked at any more fires nothing"


def where_all() -> RecordFilter:
    """Every record."""
    return RecordFilter()


def test_only_real_answers_are_looked_at(store: SqlViewStore) -> None:
    """Not our own calls, not failures, nothing without bodies; and nothing at all where it is off."""
    watched = Watched(store)
    watched.look(key="airboss")
    watched.look(status="error")
    state = watched.look(request=None)
    assert state is not None
    assert state.learning == ()
    off = Watched(store, features=False)
    store.put_drift(features_of(NAME), None)
    assert off.look() is None


class Meanings:
    """Tells cats from contracts, in whatever words; `away` while its engine is."""

    def __init__(self, name: str = "minilm") -> None:
        self.name = name
        self.away = False

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """As `Embedder.embed`."""
        if self.away:
            raise StoreUnavailable("no engine")
        assert len(texts) <= 20
        assert all(len(each.encode()) <= 250 for each in texts)
        return [[0.0, 1.0] if "contract" in each else [1.0, 0.0] for each in texts]


def test_topics_are_told_by_meaning_where_a_model_embeds(store: SqlViewStore) -> None:
    """Other words of the same meaning are no drift, another meaning is; while nobody embeds nothing is looked
    at and nothing lost; without the model, or with another, it is learned anew."""
    meanings, watched = Meanings(), Watched(store)
    watched.embedder = meanings
    for _ in range(9):
        state = watched.look(request=asking("a cat sat " + "there " * 90))
    assert state is not None
    assert (state.topics_by, len(state.binnings["input_topic"].centres)) == ("minilm", 6)
    for _ in range(15):
        state = watched.look(request=asking("ein Kater, der irgendwo im Garten sitzt"))
    assert state is not None
    assert "input_topic" not in {each.feature for each in state.found}
    meanings.away = True
    with pytest.raises(StoreUnavailable):
        watched.look(request=asking("a cat sat"))
    assert (kept := store.drift(features_of(NAME))) is not None
    assert msgspec.json.decode(kept, type=Drift).until == state.until
    meanings.away = False
    for _ in range(15):
        state = watched.look(request=asking("a contract of sale"))
    assert state is not None
    assert "input_topic" in {each.feature for each in state.found}
    watched.embedder = Meanings("other")
    assert watched.look(request=asking("a cat")) == state, "what was found stands until it is accepted"
    store.put_drift(features_of(NAME), None)
    again = watched.look(request=asking("a cat"))
    assert again is not None
    assert again.topics_by == "other"
    watched.embedder = None
    by_words = watched.look(request=asking("a cat"))
    assert by_words is not None
    assert (by_words.topics_by, by_words.learning) == (None, ())


def asking(text: str) -> msgspec.Raw:
    """A request that asks this."""
    return msgspec.Raw(msgspec.json.encode({"messages": [{"role": "user", "content": text}]}))


def test_what_is_accepted_is_learned_anew(store: SqlViewStore) -> None:
    """Whoever accepts deletes the state; the next look begins again, from then on."""
    watched = Watched(store)
    for _ in range(11):
        watched.look()
    store.put_drift(features_of(NAME), None)
    state = watched.look()
    assert state is not None
    assert (state.watched, len(state.learning)) == ({}, 0)
    looks = [len((watched.look() or state).learning) for _ in range(4)]
    assert looks == [0, 0, 0, 20], "calls that began before it are not looked at"


def test_a_model_that_changes_silently_is_noticed(store: SqlViewStore, provider: FakeProvider) -> None:
    """The same release, another model behind it: found within a few replays; before, nothing is."""
    clock = FixedClock()

    async def ask(deployment: str, prompt: str) -> Answer:
        async with httpx2.AsyncClient() as client:
            body = {"model": deployment, "messages": [{"role": "user", "content": prompt}]}
            answer = await client.post(f"{provider.url}/chat/completions", json=body, timeout=20)
        assert answer.is_success
        return Answer(text=answer.json()["choices"][0]["message"]["content"])

    def look(release: str = "d" * 64) -> Checks:
        checks = CheckPrompts(
            config=lambda: config(prompts=PROMPTS, every="1h"),
            releases=lambda: {NAME: release},
            store=store,
            ask=ask,
            clock=clock,
        )
        asyncio.run(checks.tick())
        clock.at += timedelta(minutes=30)
        kept = store.drift(checks_of(NAME))
        assert kept is not None
        return msgspec.json.decode(kept, type=Checks)

    provider.script(ScriptStep(behaviour=Behaviour(echo=True), forever=True))
    for _ in range(12):
        state = look()
    assert (state.drifted, state.failed) == (False, 0)
    assert state.replays < 12, "asked before it was time"
    replays, began = state.replays, clock.now()
    provider.script(ScriptStep(behaviour=Behaviour(text="Who knows? Somebody else may."), forever=True))
    while not state.drifted:
        state = look()
        assert state.replays <= replays + 4
    assert state.since is not None
    assert abs(state.since - began) <= timedelta(hours=1)
    assert state.changed[0].before == state.changed[0].prompt
    assert state.changed[0].after == "Who knows? Somebody else may."
    words = drifted(None, state)
    assert words is not None
    assert words[1].startswith("answers to fixed prompts changed since")
    assert look("e" * 64).replays == 1, "a promoted release is no silent change"


def test_a_prompt_without_an_answer_says_why(store: SqlViewStore) -> None:
    """How many had none the last time, and the cause; once all have one, nothing is said."""
    clock, broken = FixedClock(), True

    async def ask(_deployment: str, prompt: str) -> Answer:
        return (
            Answer(error="missing_variable: shop") if broken and prompt == PROMPTS[0] else Answer(text=prompt)
        )

    checks = CheckPrompts(
        config=lambda: config(prompts=PROMPTS, every="1h"),
        releases=lambda: {NAME: "d" * 64},
        store=store,
        ask=ask,
        clock=clock,
    )

    def look() -> tuple[int, str]:
        asyncio.run(checks.tick())
        kept = msgspec.json.decode(store.drift(checks_of(NAME)) or b"", type=Checks)
        return kept.failed, kept.why

    assert look() == (1, "missing_variable: shop")
    broken = False
    assert look() == (0, "")


def test_what_is_accepted_while_prompts_are_asked_stays_accepted(store: SqlViewStore) -> None:
    """A drift that somebody accepts while the answers are on their way does not come back with them."""
    accepting = False

    async def ask(_deployment: str, prompt: str) -> Answer:
        if accepting:
            store.put_drift(checks_of(NAME), None)
        return Answer(text=prompt)

    checks = CheckPrompts(
        config=lambda: config(prompts=PROMPTS, every="1h"),
        releases=lambda: {NAME: "d" * 64},
        store=store,
        ask=ask,
        clock=FixedClock(),
    )
    asyncio.run(checks.tick())
    assert store.drift(checks_of(NAME)) is not None
    accepting = True
    asyncio.run(checks.tick())
    assert store.drift(checks_of(NAME)) is None


def test_what_is_accepted_while_calls_are_looked_at_stays_accepted(store: SqlViewStore) -> None:
    """So of what is found in calls."""
    watched = Watched(store)
    for _ in range(4):
        watched.look()
    records = watched.log.records

    def accepting(*args: Any, **fields: Any) -> Any:
        store.put_drift(features_of(NAME), None)
        return records(*args, **fields)

    watched.log.records = accepting  # type: ignore[method-assign]  # as when somebody accepts just then
    assert watched.look() is None
