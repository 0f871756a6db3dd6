"""Whether a model goes on with an assistant's last message, found out by asking it once.

A server may take such a message for a turn that is over and answer it: joined to what a client has, that
would be a corrupted text, and looks alone do not always tell. So before a model's words are joined to
anything, it is asked to go on with a count that ends in the middle of a word, where no new answer begins.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable

import msgspec

from airboss.domain.errors import ApiError
from airboss.domain.plan import Retry, Target, Timeouts
from airboss.gateway.judge import judge
from airboss.providers.compatible import Reply

COUNT_BEGUN = "sixteen, seventeen, eighteen, nineteen, twenty, twenty-"
"""The hyphen is a token of its own nearly everywhere, so that going on is an easy word to say."""
QUESTION = msgspec.json.encode(
    {
        "model": "probe",
        "messages": [
            {
                "role": "user",
                "content": "Count from sixteen to thirty in words, with commas, and say no more.",
            },
            {"role": "assistant", "content": COUNT_BEGUN},
        ],
        "max_tokens": 12,
        "temperature": 0,
    }
)
_COUNTED_ON = re.compile(r"\s?one\s?,\s?twenty")
PROBE_S = 5.0
"""So long an answer is waited for."""
TIMES = Timeouts(total_s=PROBE_S, first_token_s=PROBE_S, idle_s=PROBE_S)
ONCE = Retry(attempts=1)
SILENT_S = 10.0
"""So long nobody is asked who could not be reached: in an outage every stream breaks at once."""
KNOWN_MAX = 1024

_Name = tuple[str, str, str | None]

Ask = Callable[[], Awaitable[str]]
"""Puts QUESTION to a model; gives what it says. Raises ApiError."""


def counted_on(said: str) -> bool:
    """Whether an answer to QUESTION goes on with it."""
    return _COUNTED_ON.match(said) is not None


def said_in(reply: Reply | None) -> str:
    """The text of a whole answer."""
    message = reply.choices[0].message if reply is not None and reply.choices else None
    return (message.content if message is not None else None) or ""


def _name(target: Target) -> _Name:
    return target.provider, target.upstream_model, target.engine


class Prefills:
    """What is known of models, by provider and name, and of local ones by engine: one of that name with
    another adapter may be another's words. One a worker: each asks once."""

    def __init__(self) -> None:
        self._known: dict[_Name, bool] = {}
        self._silent_until: dict[_Name, float] = {}
        self._asking: dict[_Name, asyncio.Task[bool]] = {}

    async def goes_on(self, target: Target, ask: Ask, *, within_s: float) -> bool:
        """Whether the model is known to go on; asks it where that is not known yet."""
        name = _name(target)
        known = self._known.get(name)
        if known is not None:
            return known
        if time.perf_counter() < self._silent_until.get(name, 0.0) or within_s <= 0:
            return False
        task = self._asking.get(name)
        if task is None:
            # A task of its own, because others wait for it too: it outlives a client that goes away.
            task = self._asking[name] = asyncio.ensure_future(self._find_out(name, ask))
        done, _ = await asyncio.wait((task,), timeout=within_s)
        return bool(done) and task.result()

    def did_not(self, target: Target) -> None:
        """Remember a model that refused to, or began another answer."""
        self._note(_name(target), goes_on=False)

    async def _find_out(self, name: _Name, ask: Ask) -> bool:
        try:
            said = await ask()
        except ApiError as error:
            if judge(error, None) == "caller":
                self._note(name, goes_on=False)
            else:
                self._silent_until[name] = time.perf_counter() + SILENT_S
            return False
        else:
            return self._note(name, goes_on=counted_on(said))
        finally:
            del self._asking[name]

    def _note(self, name: _Name, *, goes_on: bool) -> bool:
        if len(self._known) >= KNOWN_MAX:  # of plans that are long gone
            self._known.clear()
            self._silent_until.clear()
        self._known[name] = goes_on
        return goes_on
