"""A data directory, its stores and a mover, where people are forgotten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec

from airboss.controller.erased_traces import FILE, ErasedTraces
from airboss.controller.erasing import Erasing
from airboss.controller.mover import DEAD_LETTERS, Mover
from airboss.domain.ports import RecordFilter
from airboss.domain.record import Redacted
from airboss.domain.score import Score
from airboss.governance.audit import Sealer
from airboss.governance.checkpoint import Signer
from airboss.governance.erasure import Forgetting
from airboss.store.audit import SqlAuditLog
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.erasure_rows import Erasure
from airboss.store.erasures import SqlErasures
from airboss.store.evals import SqlEvalStore
from airboss.store.keyring import Keyring
from airboss.store.sealed_log import SealedLog
from airboss.telemetry.journal import JournalWriter
from tests.controller.journals import FixedClock
from tests.store.samples import call_id, closed_json, opened_json

KEY = "ab_" + "e" * 43
SIGNER = Signer("ab_" + "s" * 43)
USER = "ann-unmistakable-7f3a"
WORDS = b"words that only ann would say"
THEIRS = (USER.encode(), WORDS)
ALL = RecordFilter()


class House:
    """A data directory, its stores, and a mover that forgets people. Time stands until a test moves it."""

    def __init__(self, root: Path, keys: Keyring | None = None) -> None:
        self.root = root
        self.clock = FixedClock()
        url = f"sqlite:///{root / 'ledger.db'}"
        self.erasures, self.evals = SqlErasures(url), SqlEvalStore(url)
        self.audit = SqlAuditLog(url, Sealer(SIGNER))
        self.people = Forgetting(self.erasures, KEY)
        self.log: Any = DuckDBRecordLog(root / "records.duckdb")
        self.sealing = None if keys is None else SealedLog(self.log, keys, wanted=lambda: True)
        self.log = self.log if self.sealing is None else self.sealing
        self.mover = self.new_mover()
        self.worker = JournalWriter(root / "journal", "0")
        self.clock.at = datetime.now(UTC)  # beside the worker, which was born in real time

    def new_mover(self) -> Mover:
        """As after a restart."""
        self.erasing = Erasing(
            self.people,
            key=KEY,
            records=self.log,
            forget_items=self.evals.forget_user,
            audit=self.audit,
            clock=self.clock,
            traces=ErasedTraces(self.root / "journal" / FILE, self.clock),
            sealing=self.sealing,
        )
        return Mover(self.root / "journal", self.log, self.clock, people=self.erasing)

    def opens(self, number: int, user: str | None = USER, **fields: Any) -> None:
        """A call begins, a second before now."""
        given = {
            "user": user,
            "session": f"s-{user}",
            "tags": {"who": f"t-{user}"},
            "request": msgspec.Raw(b'{"content":"%s"}' % (WORDS if user == USER else b"others' words")),
            "started_at": self.clock.at - timedelta(seconds=1),
        }
        self.worker.open(cast("Redacted", opened_json(number, **given | fields)))

    def closes(self, number: int, words: bytes = WORDS, **fields: Any) -> None:
        """A call ends."""
        response = msgspec.Raw(b'{"content":"%s"}' % words)
        self.worker.close_call(cast("Redacted", closed_json(number, response=response, **fields)))

    def judges(self, number: int, user: str | None, comment: str) -> None:
        """Feedback on a call."""
        given = Score(
            id=f"score-{number}-{len(comment)}",
            subject="record",
            subject_id=call_id(number),
            name="helpfulness",
            source="human",
            by="team-a",
            at=self.clock.at - timedelta(seconds=1),
            value=1.0,
            comment=comment,
            user=user,
        )
        self.worker.score(cast("Redacted", msgspec.json.encode(given)))

    def forgets(self, user: str = USER) -> Erasure:
        """Somebody asks that a person be forgotten, as of now."""
        return self.people.ask(user, by="admin", now=self.clock.at)

    def state(self, erasure: Erasure) -> str:
        """Where it stands."""
        found = self.erasures.get(erasure.id)
        assert found is not None
        return found.state

    def close(self) -> None:
        """Stop everything."""
        self.worker.stop()
        self.log.close()
        for store in (self.erasures, self.evals, self.audit):
            store.close()


def letters(house: House) -> list[dict[str, Any]]:
    """The dead letters."""
    path = house.root / "journal" / DEAD_LETTERS
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
