"""What the playground asked and what came back: in memory, few, and for a while.

A play is asked in a thread of its own, so that a page never waits for a model. Nothing of it is written down
here: each call has its record, as any call.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from airboss.domain.errors import WrongCall
from airboss.evaluations.ports import Answer, Call

Ask = Callable[[Sequence[Call]], Sequence[Answer]]
"""Makes calls at once and returns their answers in the same order, within `ASK_S`."""

ASK_S: Final = 30.0
KEPT_MAX: Final = 32
RUNNING_MAX: Final = 4
KEPT_FOR: Final = timedelta(minutes=30)


class Play(msgspec.Struct, frozen=True, kw_only=True):
    """The same messages for each release. `answers` is None until all are there, or `ASK_S` is over; they
    stand in the order of `calls`."""

    id: str
    at: datetime
    calls: tuple[Call, ...]
    answers: tuple[Answer, ...] | None = None


class Plays:
    """Plays of this process. Used from several threads."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._kept: OrderedDict[str, Play] = OrderedDict()
        self._lock = threading.Lock()

    def start(self, calls: Sequence[Call], now: datetime) -> Play:
        """Ask, and do not wait for the answers. Raises WrongCall while too many are being asked."""
        play = Play(id=f"play-{secrets.token_hex(8)}", at=now, calls=tuple(calls))
        with self._lock:
            self._forget(now)
            if sum(each.answers is None for each in self._kept.values()) >= RUNNING_MAX:
                raise WrongCall(
                    f"{RUNNING_MAX} plays are being answered; wait until one is done, {ASK_S:.0f} s at most"
                )
            self._kept[play.id] = play
        threading.Thread(target=self._answer, args=(play,), name=play.id, daemon=True).start()
        return play

    def get(self, play_id: str, now: datetime) -> Play | None:
        """The play of this id; None once it is forgotten."""
        with self._lock:
            self._forget(now)
            return self._kept.get(play_id)

    def _answer(self, play: Play) -> None:
        try:
            answers = tuple(self._ask(play.calls))
        except Exception as error:  # noqa: BLE001 - whatever it was, the page has to say it
            cause = f"{type(error).__name__}: {error}"[:500]
            answers = tuple(Answer(error=cause) for _ in play.calls)
        with self._lock:
            if play.id in self._kept:
                self._kept[play.id] = msgspec.structs.replace(play, answers=answers)

    def _forget(self, now: datetime) -> None:
        old = [each.id for each in self._kept.values() if now - each.at > KEPT_FOR]
        done = [each.id for each in self._kept.values() if each.answers is not None]
        for play_id in {*old, *done[: max(0, len(self._kept) - KEPT_MAX + 1)]}:
            del self._kept[play_id]
