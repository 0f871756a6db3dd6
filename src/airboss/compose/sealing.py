"""Bodies sealed: where the keys are, and who opens what."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from airboss.compose.stores import ERASE_KEY
from airboss.domain.errors import SetupError, StoreUnavailable
from airboss.store.sealed_marks import NAME, PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable

    from airboss.domain.ports import Ledger
    from airboss.domain.record import InferenceRecord
    from airboss.domain.status import DeadLetter, SystemStatus
    from airboss.gateway.kept import Keeping
    from airboss.store.datadir import DataDir
    from airboss.store.keyring import Keyring
    from airboss.store.response_rows import ResponseStore
    from airboss.store.sealed_log import SealedLog
    from airboss.store.sealer import Sealer
    from airboss.store.span_rows import SpanDetail, TracedLog

BODIES_KEY = "bodies_key"
"""The secret that the master key is made of, with which keys of bodies are wrapped."""
LETTER_CHARS = 200
"""So much of a dead letter is shown."""
MARK = NAME.encode()


@contextmanager
def open_ring(data: DataDir, *, leads: bool = False) -> Iterator[Keyring]:
    """The keys of a data directory, closed at the end. Who `leads` makes the master key where there is none:
    a gateway on another machine must not begin with one that nobody else has."""
    from airboss.governance.erasure import digest  # noqa: PLC0415 - cryptography, where it is needed
    from airboss.store.body_keys import SqlBodyKeys  # noqa: PLC0415 - SQLAlchemy, where it is needed
    from airboss.store.erasures import SqlErasures  # noqa: PLC0415 - as above
    from airboss.store.keyring import Keyring  # noqa: PLC0415 - cryptography, where it is needed

    @cache
    def erase_key() -> bytes:
        key = data.kept_secret(ERASE_KEY)
        if key is None:
            raise SetupError(f"secrets/{ERASE_KEY} of the data directory is missing: put it back")
        return key.encode()

    def holder(user: str) -> str:
        return digest(erase_key(), user)

    keys, people = SqlBodyKeys(data.ledger_url), SqlErasures(data.ledger_url)
    try:
        if leads and keys.master() is None:
            data.secret(BODIES_KEY)
        yield Keyring(keys, people, secret=lambda: data.kept_secret(BODIES_KEY), holder=holder)
    finally:
        keys.close()
        people.close()


def sealed(records: TracedLog, ledger: Ledger, ring: Keyring) -> SealedLog:
    """The record log as whoever holds the ledger reads and writes it."""
    from airboss.store.sealed_log import SealedLog  # noqa: PLC0415 - cryptography, where it is needed

    return SealedLog(records, ring, wanted=sealing(ledger))


def in_the_clear(records: SealedLog) -> Callable[[DeadLetter], DeadLetter]:
    """A dead letter that begins in the clear, as far as it opens where it is sealed."""

    def shown(letter: DeadLetter) -> DeadLetter:
        if not letter.excerpt.startswith(PREFIX):
            return letter
        try:
            text = records.read_letter(letter.segment, letter.excerpt.encode()).decode(errors="replace")
        except StoreUnavailable:
            text = PREFIX
        excerpt = "[sealed]" if text.startswith(PREFIX) else text[:LETTER_CHARS]
        return msgspec.structs.replace(letter, excerpt=excerpt)

    return shown


def with_letters(status: Callable[[], SystemStatus], records: SealedLog) -> Callable[[], SystemStatus]:
    """The status with dead letters in the clear."""
    clear = in_the_clear(records)

    def found() -> SystemStatus:
        now = status()
        letters = tuple(map(clear, now.journal.dead_letters))
        return msgspec.structs.replace(
            now, journal=msgspec.structs.replace(now.journal, dead_letters=letters)
        )

    return found


def sealing(ledger: Ledger) -> Callable[[], bool]:
    """Whether bodies are sealed under the configuration in force."""
    from airboss.compose.watching import InForce  # noqa: PLC0415 - who moves records

    in_force = InForce(ledger)
    # Asked anew for every move: who was told that bodies are sealed now may rely on it at the next call.
    return lambda: in_force.config().store.bodies == "sealed"


def kept_responses(responses: Callable[[], ResponseStore], data: DataDir, days: int) -> Keeping:
    """Where a gateway keeps responses, sealed where its plan says so. It gets the store and the keys once it
    needs them."""
    from airboss.gateway.kept import Keeping  # noqa: PLC0415 - the gateway's own
    from airboss.store.sealed_responses import SealedResponses  # noqa: PLC0415 - as above

    keys = Opening(data)
    plain, sealed = (SealedResponses(responses, keys.sealer, wanted=wanted) for wanted in (False, True))
    return Keeping(store=plain, days=days, sealed=sealed)


class Opening:
    """Implements `span_messages.Texts` for the process that owns the record log: it gets the keys only when
    it meets something sealed in what it puts together."""

    def __init__(self, data: DataDir) -> None:
        self._data = data
        self._opened = ExitStack()

    def close(self) -> None:
        """Give the keys back, if it got them; not used after. Most keep them while their process runs."""
        self._opened.close()

    def sealer(self) -> Sealer:
        """What seals and opens; made when it is first needed."""
        return self._sealer

    @cached_property
    def _sealer(self) -> Sealer:
        from airboss.store.sealer import Sealer  # noqa: PLC0415 - 25 MB, for those who seal

        ring = self._opened.enter_context(open_ring(self._data))
        return Sealer(lambda: ring)

    def waiting(self, span_id: str, payload: bytes) -> bytes:
        """As `Texts.waiting`."""
        return self._sealer.waiting(span_id, payload) if MARK in payload else payload

    def span(self, span: SpanDetail) -> SpanDetail:
        """As `Texts.span`."""
        texts = (bytes(span.attributes), bytes(span.events), (span.message or "").encode())
        return self._sealer.span(span) if any(MARK in each for each in texts) else span

    def record(self, record: InferenceRecord) -> InferenceRecord:
        """As `Texts.record`."""
        return self._sealer.record(record) if _says(record.request) or _says(record.response) else record

    def again(self, payload: bytes, *given: bytes) -> bytes:
        """As `Texts.again`."""
        return self._sealer.again(payload, *given) if any(MARK in each for each in given) else payload


def _says(body: Any) -> bool:
    return isinstance(body, dict) and MARK.decode() in body
