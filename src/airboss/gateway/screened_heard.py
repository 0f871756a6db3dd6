"""The screen of an answer that its provider says in the client's own words: those are screened, and the chat
that is read of them is read anew."""

from __future__ import annotations

from contextlib import suppress

from airboss.dialects.heard import NOTHING, carrying, heard_in
from airboss.dialects.responses_passing import PassingReader
from airboss.domain.errors import UpstreamFailed
from airboss.domain.record import PolicyFinding
from airboss.governance.screening import ScreeningPolicy
from airboss.governance.screening_chat import AnswerScreen, Passed
from airboss.governance.screening_responses import ResponsesScreen
from airboss.governance.tokens import Tokens


class HeardScreen(AnswerScreen):
    """As its base, of an upstream that speaks Responses, under a policy that acts."""

    def __init__(self, policy: ScreeningPolicy, tokens: Tokens | None) -> None:
        super().__init__(policy, tokens)
        self._heard = ResponsesScreen(policy, tokens)
        self._reader = PassingReader(0)

    @property
    def findings(self) -> tuple[PolicyFinding, ...]:
        """What was found up to now."""
        return self._heard.findings

    def whole(self, body: bytes) -> Passed:
        """A whole answer that carries the provider's."""
        heard = heard_in(body)
        if heard is None:
            return super().whole(body)
        passed = self._heard.whole(heard[0].encode())
        self.blocked = self._heard.blocked
        recorded = self._reader.whole(passed.recorded)
        return Passed(
            recorded, recorded if passed.given is passed.recorded else carrying(NOTHING, [passed.given])
        )

    def event(self, data: bytes) -> list[Passed]:
        """An event that carries the provider's; its usage comes without."""
        heard = heard_in(data)
        if heard is None:
            return super().event(data)
        return [self._read(passed) for each in heard for passed in self._heard.event(each.encode())]

    def _read(self, passed: Passed) -> Passed:
        self.blocked = self._heard.blocked
        chat = self._reader.event(passed.recorded)[0]
        if passed.given is passed.recorded:
            return Passed(chat, chat)
        return Passed(chat, carrying(NOTHING, [passed.given], [passed.recorded]))

    def end(self) -> list[Passed]:
        """What is still held."""
        return [self._read(passed) for passed in self._heard.end()]


class CountedScreen(HeardScreen):
    """As its base, under a policy that only counts: what the provider says goes on as it came, also where it
    is more than can be read."""

    def whole(self, body: bytes) -> Passed:
        """A whole answer that carries the provider's."""
        heard = heard_in(body)
        if heard is None:
            return super().whole(body)
        self._heard.whole(heard[0].encode())
        return Passed(body, body)

    def event(self, data: bytes) -> list[Passed]:
        """An event that carries the provider's; its usage comes without."""
        heard = heard_in(data)
        if heard is None:
            return super().event(data)
        for each in heard:
            with suppress(UpstreamFailed):
                self._heard.event(each.encode())
        return [Passed(data, data)]

    def end(self) -> list[Passed]:
        """What is still held is counted."""
        self._heard.end()
        return []
