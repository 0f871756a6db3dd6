"""Dead letters tried again: what becomes a record now, or finds its record, goes; the rest stays as it is.

The frames of a call are a move of their own, from a segment that is named for where they lay: a retry that is
killed and made again takes nothing twice. A letter is removed only once the log has what it holds.
"""

from __future__ import annotations

import hashlib
import queue
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final, Protocol

import msgspec

from airboss.controller.dead_letters import DeadLetters, Letter, Place, shown
from airboss.controller.span_scores import record_of
from airboss.domain.errors import AirbossError, Unavailable
from airboss.domain.ports import Clock, JournalMove, RecordFilter
from airboss.domain.status import DeadLetter
from airboss.store.joining import call_of, interrupted, read_closed, read_opened, read_score, read_span
from airboss.store.span_rows import TracedLog
from airboss.telemetry.frames import Frame, FrameKind

READERS: Final[Mapping[FrameKind, Callable[[bytes], object]]] = {
    "open": read_opened,
    "close": read_closed,
    "score": read_score,
    "span": read_span,
}
TRIED_S: Final = 2.0
"""Records wait while letters are tried again, and a mover that is silent for longer is taken to hang
(`loop.STALE_S`): what is left then is for the next retry, which begins with it."""
ANSWER_S: Final = 15.0
NOWHERE: Final = "retried/"
"""Where the segments are named that no living worker has."""

Retried = tuple[int, list[DeadLetter]]
"""How many letters went, and those that are left, the newest first, each with why it is still one."""


class Opening(Protocol):
    """What is asked about people and what is sealed (`moving.People`)."""

    def arriving(self, frame: Frame) -> Frame:
        """The frame as it may be taken."""

    def letter(self, segment: str, payload: bytes) -> bytes:
        """A letter's payload in the clear, or as it is where it does not open. Raises StoreUnavailable."""


Held = tuple[Letter, Frame]


class LetterRetry:
    """The mover's thread does it, when it was `asked`; any thread may ask."""

    def __init__(
        self, root: Path, letters: DeadLetters, record_log: TracedLog, clock: Clock, people: Opening | None
    ) -> None:
        self._root = root
        self._letters = letters
        self._log = record_log
        self._clock = clock
        self._people = people
        self._asked: queue.SimpleQueue[Future[Retried]] = queue.SimpleQueue()
        self._next: Place | None = None
        """The first that the last try had no time for."""

    def list(self) -> list[DeadLetter]:
        """All that were put away, the newest first; any thread may ask. Raises OSError."""
        return [shown(each) for each in reversed(self._letters.all())]

    @property
    def asked(self) -> bool:
        """Whether somebody waits for it."""
        return not self._asked.empty()

    def ask(self, timeout_s: float = ANSWER_S) -> Retried:
        """Have it done. Raises Unavailable where the mover does not get to it; what was taken by then is."""
        answer: Future[Retried] = Future()
        self._asked.put(answer)
        try:
            return answer.result(timeout_s)
        except TimeoutError:
            answer.cancel()
            raise Unavailable(
                "the record store is busy or away; see `airboss status`, then try again"
            ) from None

    def answer(self) -> None:
        """Do it for those who wait, once."""
        waiting = []
        while self.asked:
            waiting.append(self._asked.get())
        waiting = [each for each in waiting if each.set_running_or_notify_cancel()]
        if not waiting:
            return
        try:
            done = self.retry()
        except (AirbossError, OSError) as error:
            for each in waiting:
                each.set_exception(error)
            return
        for each in waiting:
            each.set_result(done)

    def retry(self) -> Retried:
        """Try every letter, for TRIED_S at most: those first that there was no time for, else thousands that
        cannot be taken would keep what is behind them from its turn for ever; then the oldest. Raises
        StoreUnavailable, OSError."""
        until = self._clock.monotonic() + TRIED_S
        letters = self._letters.all()
        whys: dict[Place, str] = {}
        calls: dict[str, list[Held]] = {}
        for letter in letters:
            try:
                frame = self._frame(letter)
            except ValueError as error:
                whys[letter.place] = str(error)
                continue
            calls.setdefault(_subject((letter, frame)), []).append((letter, frame))
        taken: set[Place] = set()
        for held in self._in_turn(list(calls.values())):
            if self._clock.monotonic() >= until:
                self._next = self._next or held[0][0].place
                whys |= {letter.place: "not tried for want of time; try again" for letter, _ in held}
                continue
            why = self._take(held)
            if why is None:
                taken.update(letter.place for letter, _ in held)
            else:
                whys |= {letter.place: why for letter, _ in held}
        if taken:
            self._letters.remove(taken)
            for held in calls.values():
                if held[0][0].place in taken:
                    self._log.forget(self._segment(held))
        left = {letter.place: letter for letter in letters if letter.place not in taken}
        told = [msgspec.structs.replace(shown(each), why=whys[place]) for place, each in left.items()]
        return len(taken), told[::-1]

    def _in_turn(self, calls: Sequence[Sequence[Held]]) -> Sequence[Sequence[Held]]:
        first, self._next = self._next, None
        at = next((at for at, held in enumerate(calls) if held[0][0].place == first), 0)
        return [*calls[at:], *calls[:at]]

    def _frame(self, letter: Letter) -> Frame:
        """What lay there. Raises ValueError, with the reason, where it is still none."""
        payload = letter.payload.encode("utf-8", "replace")
        if not payload:
            raise ValueError(letter.why)
        if self._people is not None:
            payload = self._people.letter(letter.segment, payload)
        why = ""
        for kind, read in READERS.items():
            try:
                read(payload)
            except ValueError as error:
                why = why or str(error)
                continue
            frame = Frame(kind=kind, payload=payload, start=0, end=len(payload))
            return frame if self._people is None else self._people.arriving(frame)
        raise ValueError(letter.why if letter.why == "damaged" else f"it cannot be read: {why}")

    def _take(self, held: Sequence[Held]) -> str | None:
        """Have the log take these frames of one call, or feedback, or a span; why it does not."""
        frames = {frame.kind: frame.payload for _, frame in held}
        segment = self._segment(held)
        if "score" in frames:
            return self._attach(segment, frames["score"])
        call = call_of(frames.get("close") or frames["open"]) if "span" not in frames else None
        before = self._log.offset(segment)
        if call is not None and not before and self._recorded(call):
            return "its call has a record without it" if "close" in frames else None
        try:
            self._log.apply(self._move(segment, frames))
        except ValueError as error:
            return str(error)
        if "close" in frames and call is not None and not self._recorded(call):
            self._log.forget(segment)
            return "the beginning of its call is not there"
        return None

    def _attach(self, segment: str, payload: bytes) -> str | None:
        """Feedback, if its record is there by now: else it would wait, and be put away again."""
        score = read_score(payload)
        record = record_of(self._log, score)
        if not record or not self._recorded(record):
            return "its record has not come"
        if record != score.subject_id:
            score = msgspec.structs.replace(score, subject_id=record)
            payload = msgspec.json.encode(score)
        try:
            self._log.apply(self._move(segment, {"score": payload}))
        except ValueError as error:
            return str(error)
        if any(each.id == score.id for each in self._log.scores_of([score.subject_id])):
            return None
        self._log.drop_scores([score.id])
        self._log.forget(segment)
        return "its record is another key's"

    def _move(self, segment: str, frames: Mapping[FrameKind, bytes]) -> JournalMove:
        """A move of these frames. A call whose worker is gone is interrupted: nobody will close it."""
        now = self._clock.now()
        opened, closed = frames.get("open"), frames.get("close")
        if opened is not None and closed is None and segment.startswith(NOWHERE):
            closed = msgspec.json.encode(interrupted(read_opened(opened), now))
        return JournalMove(
            segment=segment,
            start=0,
            end=1,
            opened={} if opened is None else {call_of(opened): opened},
            closed={} if closed is None else {call_of(closed): closed},
            scores=tuple(payload for kind, payload in frames.items() if kind == "score"),
            spans=tuple(payload for kind, payload in frames.items() if kind == "span"),
            moved_at=now,
        )

    def _recorded(self, record_id: str) -> bool:
        return bool(self._log.records(RecordFilter(id=record_id), limit=1, bodies=False))

    def _segment(self, held: Sequence[Held]) -> str:
        """Named for where the first of them lay; of a mere beginning beside those of its worker while that
        lives: who closes what a worker left open looks there. Of others the name must not change as the
        worker goes: what was taken before a kill would be taken for a record without it."""
        segment, offset = held[0][0].place
        worker = segment.partition("/")[0]
        begun = all(frame.kind == "open" for _, frame in held)
        where = f"{worker}/" if begun and (self._root / worker).is_dir() else NOWHERE
        return f"{where}{hashlib.sha256(f'{segment}:{offset}'.encode()).hexdigest()[:32]}"


def _subject(held: Held) -> str:
    """What a frame is of: the two of a call go together."""
    letter, frame = held
    return call_of(frame.payload) if frame.kind in ("open", "close") else f"{letter.segment}:{letter.offset}"
