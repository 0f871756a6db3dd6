"""Looks for drift: a sample of each deployment's calls, and its answers to fixed prompts, now and then.

What is known stands in the ledger after every look. A look reads it, adds what is new and writes it: somebody
who accepts a drift deletes it there, and the next look begins anew.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

import msgspec

from airboss.config import Config, DriftConfig
from airboss.config.checks_watch import seconds
from airboss.domain.errors import AirbossError, ConfigError, SetupError, StoreUnavailable
from airboss.domain.ports import Clock, RecordFilter, RecordLog
from airboss.evaluations import drift, drift_checks
from airboss.evaluations.drift import Drift
from airboss.evaluations.drift_checks import REPEATS, Checks
from airboss.evaluations.drift_features import Seen, asked_in, embedded, seen, to_embed
from airboss.evaluations.ports import Answer
from airboss.store.alert_metrics import INTERNAL_KEY
from airboss.store.drift_rows import DriftStore, checks_of, features_of
from airboss.telemetry.outage import Outage

EVERY_S: Final = 20.0
SAMPLE: Final = 20
"""Calls of a deployment at one look: the newest. More come by in a busy one, and a sample is enough."""

SETTLED: Final = timedelta(seconds=60)
"""Calls are looked at so long after they began: sooner, those that answer long would be left out, since quick
ones that began after them were looked at already."""

CHECK_EVERY_S: Final = 5.0

Ask = Callable[[str, str], Awaitable[Answer]]
"""Asks a deployment a prompt. Raises AirbossError."""

log = logging.getLogger(__name__)


class Embedder(Protocol):
    """Makes vectors of texts. `name` is the model's; vectors of different models are not compared."""

    name: str

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector for each. Raises StoreUnavailable while nobody makes any."""


class DriftWatch:
    """Looks at samples of calls. One thread calls it. `embedder` gives the model that topics are told by;
    None: by hashed words."""

    def __init__(
        self,
        *,
        config: Callable[[], Config],
        store: DriftStore,
        record_log: RecordLog,
        clock: Clock,
        embedder: Callable[[], Embedder | None] = lambda: None,
    ) -> None:
        self._embedder = embedder
        self._config = config
        self._store = store
        self._log = record_log
        self._clock = clock

    def run(self, stop: threading.Event) -> None:
        """Look until `stop` is set. What fails is logged and tried again."""
        outage = Outage(log, "no drift looked for")
        while not stop.is_set():
            try:
                self.tick()
                outage.over()
            except StoreUnavailable as error:
                log.debug("no drift looked for: %s", error)
            except (SetupError, ConfigError) as error:  # a ledger that is away, and such
                outage.failed(error)
            stop.wait(EVERY_S)

    def tick(self) -> None:
        """Look at every deployment once. Raises StoreUnavailable, SetupError."""
        embedder = self._embedder()
        for name, each in self._config().deployments.items():
            if each.drift.features:
                self._look(name, each.drift, embedder)

    def _look(self, deployment: str, asked: DriftConfig, embedder: Embedder | None) -> None:
        now = self._clock.now()
        kept = self._store.drift(features_of(deployment))
        state = drift.read(kept)
        topics_by = embedder.name if embedder is not None else None
        if state is not None and state.found and state.topics_by not in {None, topics_by}:
            return  # what was found stands until it is accepted; nobody tells its topics any more
        if state is None or state.alpha != float(asked.alpha) or _told_otherwise(state, topics_by):
            state = drift.begun(
                deployment,
                alpha=float(asked.alpha),
                reference=asked.reference,
                now=now,
                topics_by=topics_by,
            )
        by = embedder if state.topics_by is not None else None
        changed = drift.after(state, self._calls(deployment, state.until, now, by), now=now)
        content = msgspec.json.encode(changed)
        if content != kept:
            self._store.move_drift(features_of(deployment), kept, content)

    def _calls(
        self, deployment: str, since: datetime, now: datetime, embedder: Embedder | None
    ) -> list[Seen]:
        where = RecordFilter(
            deployment=deployment, status="ok", since=since + timedelta(microseconds=1), until=now - SETTLED
        )
        found = self._log.records(where, limit=SAMPLE, bodies=True) if where.since < where.until else ()  # type: ignore[operator]  # both are set
        callers = [each for each in found if each.key != INTERNAL_KEY]
        topic = None
        if embedder is not None:
            texts = list(dict.fromkeys(text for each in callers if (text := asked_in(each))))
            vectors = embedder.embed([to_embed(text) for text in texts]) if texts else []
            topic = dict(zip(texts, map(embedded, vectors), strict=True)).__getitem__
        looked = [seen(each, topic) for each in callers]
        return sorted((each for each in looked if each is not None), key=lambda each: each.at)


def _told_otherwise(state: Drift, topics_by: str | None) -> bool:
    """Whether a state that has found nothing yet tells topics in another way than is told now."""
    return not state.found and state.topics_by != topics_by


class CheckPrompts:
    """Asks deployments their fixed prompts when it is time. One event loop calls it.

    `releases` are the digests of what each deployment serves stably.
    """

    def __init__(
        self,
        *,
        config: Callable[[], Config],
        releases: Callable[[], Mapping[str, str]],
        store: DriftStore,
        ask: Ask,
        clock: Clock,
    ) -> None:
        self._config = config
        self._releases = releases
        self._store = store
        self._ask = ask
        self._clock = clock

    async def run(self) -> None:
        """Ask until cancelled. What fails is logged and tried again."""
        outage = Outage(log, "prompts not checked")
        while True:
            try:
                await self.tick()
                outage.over()
            except AirbossError as error:
                outage.failed(error)
            await asyncio.sleep(CHECK_EVERY_S)

    async def tick(self) -> None:
        """Ask what is due. Raises AirbossError."""
        releases = self._releases()
        for name, each in self._config().deployments.items():
            if each.drift.prompts and name in releases:
                await self._check(name, each.drift, releases[name])

    async def _check(self, deployment: str, asked: DriftConfig, release: str) -> None:
        now = self._clock.now()
        kept = await asyncio.to_thread(self._store.drift, checks_of(deployment))
        state = msgspec.json.decode(kept, type=Checks) if kept is not None else None
        if state is None or (state.release, state.prompts) != (release, asked.prompts):
            state = drift_checks.begun(asked.prompts, release, alpha=float(asked.alpha), now=now)
        elif state.replays >= REPEATS and now - state.at < timedelta(seconds=seconds(asked.every) or 0):
            return
        said = {prompt: await self._ask(deployment, prompt) for prompt in state.prompts}
        answers = {prompt: each.text for prompt, each in said.items() if each.text is not None}
        why = next((each.error for each in said.values() if each.error is not None), "")
        changed = drift_checks.after(state, answers, now=now, why=why)
        content = msgspec.json.encode(changed)
        await asyncio.to_thread(self._store.move_drift, checks_of(deployment), kept, content)
