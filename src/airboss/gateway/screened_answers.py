"""Answers that are screened as they are taken in. Loaded where there is a policy only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from airboss.domain.errors import ApiError, PolicyRefused, Unavailable, UpstreamFailed
from airboss.domain.request import Operation
from airboss.gateway.answer import StreamedAnswer, WholeAnswer
from airboss.gateway.engine_stream import EngineStreamedAnswer
from airboss.gateway.engine_whole import EngineWholeAnswer
from airboss.gateway.screened_names import AnswerLookout, Item, Waiting
from airboss.gateway.seam import Seam
from airboss.gateway.sse import event_data, silence
from airboss.governance.screening_chat import AnswerScreen, Passed
from airboss.governance.screening_known import KnownEvent
from airboss.providers.assembly import OUTPUT_CHARS_MAX
from airboss.providers.compatible import Choice, Delta, Reply, check_whole, read_reply
from airboss.providers.completed import PROGRESS
from airboss.providers.lenient import without_halves

BLOCKED = "a policy blocks what the answer held"
KEEP_ALIVE = b":\n\n"


class ScreenedAnyWhole(WholeAnswer):
    """A whole answer that is screened the moment it is there: `content` is what the record has, `given` what
    the client gets."""

    screen: AnswerScreen
    given = b""
    refuses = False
    """Whether nothing of it is given that is blocked in part: it has no beginning that could be."""
    lookout: AnswerLookout | None = None
    _asking: asyncio.Task[None] | None = None
    """Has the names in it found. Whatever the connection tells meanwhile, the answer is all there."""

    def body(self, data: bytes) -> None:
        """Take a piece of the body."""
        if self._asking is None:
            super().body(data)

    def done(self) -> None:
        """Judge whether what came is whole."""
        if self._asking is None:
            super().done()

    def failed(self, error: ApiError) -> None:
        """The connection broke."""
        if self._asking is None:
            super().failed(error)

    async def _ask(self, lookout: AnswerLookout, content: bytes, reply: Reply) -> None:
        try:
            await lookout.learn()
            if not self.finished:
                self._take_in(content, reply)
        except Exception as error:  # noqa: BLE001 - as `body`'s
            self._broke(error)

    def _take_in(self, content: bytes, reply: Reply) -> None:
        lookout, self.lookout = self.lookout, None
        if lookout is not None and lookout.whole(content):
            if self.first_output_at is None:
                self.first_output_at = time.perf_counter()
            self._asking = asyncio.ensure_future(self._ask(lookout, content, reply))
            return
        passed = self.screen.whole(content)
        self.given = passed.given
        if self.refuses and self.screen.blocked:
            self.reply = reply  # what was used was used
            raise PolicyRefused(BLOCKED)
        same = passed.recorded is content
        super()._take_in(passed.recorded, reply if same else self._reply(passed.recorded, reply))

    def _reply(self, recorded: bytes, reply: Reply) -> Reply:  # noqa: ARG002 - see `screened_others`
        """What the screened answer says."""
        return read_reply(recorded)


class ScreenedWholeAnswer(ScreenedAnyWhole):
    """Of an upstream that answers whole."""

    def __init__(self, screen: AnswerScreen, provider: str) -> None:
        super().__init__(provider)
        self.screen = screen


class ScreenedEngineAnswer(ScreenedAnyWhole, EngineWholeAnswer):
    """Of a local engine, which streams."""

    def __init__(
        self,
        screen: AnswerScreen,
        provider: str,
        *,
        operation: Operation,
        answers: int,
    ) -> None:
        super().__init__(provider, operation=operation, answers=answers)
        self.screen = screen


class ScreenedStreamedAnswer(EngineStreamedAnswer):
    """Passes on what a screen makes of a stream's events. What is assembled for the record, and what decides
    whether the stream is whole, is the screened stream."""

    screen: AnswerScreen
    _told_end = False
    """Whether the upstream has said why it ended, and what it said with that."""
    _told: list[Choice] | None = None
    _said: list[str] | None
    """The upstream's own text, of which the screen may hold some back; None where there is more than text."""
    _lookout: AnswerLookout | None = None
    _next: KnownEvent | None = None
    _waiting: Waiting | None = None
    """Of a call in which names are looked for."""

    @property
    def begun(self) -> bool:
        """Whether the client has something of this attempt, and be it that it is blocked; or it has had
        some output that its screen, which reads on with whoever goes on next, may hold back."""
        held = self.seam is not None and self.first_output_at is not None
        return held or super().begun or self.screen.blocked

    @property
    def raw_text(self) -> str:
        """What the upstream said, as it said it: the text of the only answer."""
        return "".join(self._said or ()) if not self.assembly.over else ""

    def go_on(self, cut: StreamedAnswer, seam: Seam) -> None:
        """Go on with what the client has of `cut`; its screen reads on too."""
        super().go_on(cut, seam)
        assert isinstance(cut, ScreenedStreamedAnswer)  # of the same call
        self.screen, self._said = cut.screen, cut._said
        self.look_out(cut._lookout)

    def look_out(self, lookout: AnswerLookout | None) -> None:
        """Have names found by `lookout`, if there is one, before what comes is read."""
        if lookout is not None:
            self._lookout = lookout
            self._waiting = Waiting(lookout)

    @property
    def told_end(self) -> bool:
        """As `screened_names.Taking`."""
        return self._told_end

    def take_next(self, item: Item) -> bool:
        """Read what has waited; whether to go on."""
        try:
            if self.finished:
                return False
            if isinstance(item, ApiError):
                self.fail(item)
            elif item is None:
                self._judge()
            else:
                self._read([item])
        except Exception as error:  # noqa: BLE001 - as `body`'s
            self._broke(error)
        return not self.finished

    def done(self) -> None:
        """Judge whether what came is whole, once names in it are known."""
        if self._waiting is None or self.status != 200:
            super().done()
        elif not self.finished:
            try:
                if self.translation is not None:
                    self._take(self.translation.end())
                self._take_rest()
                self._waiting.add(None, self)
            except Exception as error:  # noqa: BLE001 - as `body`'s
                self._broke(error)

    def failed(self, error: ApiError) -> None:
        """The connection broke: that counts when what came before has been read."""
        if self._waiting is None or self._waiting.empty:
            super().failed(error)
        else:
            self._waiting.add(error, self)

    def _take(self, data: bytes) -> None:
        known = self._next
        text = known.text_of(data) if known is not None else None
        if known is not None and text is not None and (text or not known.silent):
            self._take_known(known, text)
            return
        self._next = None
        if self.status != 200:
            self._take_any(data)
            return
        events = self.events.feed(data)
        if self.seam is not None:
            events = self.seam.joined(events)
        if self._waiting is None:
            self._read(events)
            if self.committed and self.seam is None and not self.events.rest:
                self._next = self.screen.next
            return
        self.progress_at = time.perf_counter()
        for event in events:
            self._waiting.add(event, self)

    def _take_known(self, known: KnownEvent, text: str) -> None:
        """Read a piece that is one event of a known kind, of a stream under way, and pass on what goes on of
        it: what `_read` comes to."""
        self.progress_at = time.perf_counter()
        if self._said is not None:
            self._said.append(text)
            if self.assembly.output_chars > OUTPUT_CHARS_MAX:
                self._said = None
        recorded, given = known.text.feed(text)
        if known.text.screen.blocked:
            self._pass_cut(known, recorded, given)
        elif recorded or known.silent:
            self.assembly.add_text(known.index, known.name, recorded)
            self._client.stream(b"data: %s\n\n" % known.saying(given))

    def _pass_cut(self, known: KnownEvent, recorded: str, given: str) -> None:
        """Pass on the end of a choice that is blocked by such an event. Raises PolicyRefused."""
        self._next = None
        out: list[bytes] = []
        self._add(self.screen.cut(known, recorded, given), out)
        if out:
            self._pass_on(b"".join(out))
        if self.screen.over:
            raise PolicyRefused(BLOCKED)

    def _read(self, events: Sequence[bytes]) -> None:
        """Read events, and pass on what goes on of them."""
        out: list[bytes] = []
        try:
            for event in events:
                self._screened(event, out)
                if self._over or self.finished:
                    break
        finally:
            if out:
                self._pass_on(b"".join(out))
        if self._over:
            super()._judge()

    def _screened(self, event: bytes, out: list[bytes]) -> None:
        """Read one event of the upstream's, and add to `out` what goes on of it."""
        payload = event_data(event)
        if not payload:
            self._silent = silence(self._silent, self.progress_at, event)
            # The words of a comment are nobody's answer; that there is one keeps connections alive.
            if payload is None and self.committed:
                out.append(KEEP_ALIVE)
            return
        if payload == b"[DONE]":
            if self._told_end:
                self._flush(out)
            self.assembly.expected = 1  # there is no more
            self._over = True
            return
        begun = (self.committed or out) and not self.assembly.over
        known = self.screen.known(payload) if begun else None
        if known is None:
            self._screened_anew(event, payload, out)
        else:
            self._screened_more(payload, *known, out)
        if self.screen.over:
            raise PolicyRefused(BLOCKED)

    def _screened_anew(self, event: bytes, payload: bytes, out: list[bytes]) -> None:
        """As `_screened`, by all that it says."""
        if b"\\u" in payload:
            payload = without_halves(payload)
        reply = read_reply(payload)
        if ((reply.error is not None or reply.choices is None) and reply.says_error) or PROGRESS in event:
            self._event(event)
            return
        if reply.finish_reason:
            self.assembly.usage = reply.usage or self.assembly.usage  # as of any stream
        check_whole(self.provider, reply)
        if self._told_end and reply.goes_on and self.assembly.has_ended(reply):
            again = reply.choices == self._told
            if self.screen.acts and not again:
                self.assembly.went_on = True
                raise UpstreamFailed(
                    f"provider {self.provider!r} went on after its finish_reason, behind what a policy reads",
                    code="stream_cut",
                )
            if again and not self.screen.acts:  # and would count again
                out += [event] if self._event(event) else []
                return
        self.progress_at = time.perf_counter()
        if reply.says_something and self.first_output_at is None:
            # It is there, though some of it may wait: deadlines are the upstream's.
            self.first_output_at = self.progress_at
        if any(choice.finish_reason for choice in reply.choices or ()):
            self._told_end, self._told = True, reply.choices
        if self._said is not None:
            self._note(self._said, reply)
        self._add(self.screen.event(payload), out)

    def _screened_more(self, payload: bytes, known: KnownEvent, text: str, out: list[bytes]) -> None:
        """As `_screened`, of an event that differs from one before it by its text alone."""
        self.progress_at = time.perf_counter()
        if text and self.first_output_at is None:  # of an attempt that goes on with another's
            self.first_output_at = self.progress_at
        if self._said is not None:
            self._said.append(text)
        if known.index or known.name == "reasoning_content" or self.assembly.output_chars > OUTPUT_CHARS_MAX:
            self._said = None
        for piece in self.screen.more(payload, known, text):
            if piece.text is None:
                self._add([piece], out)
            else:
                self.assembly.add_text(known.index, known.name, piece.text)
                out.append(b"data: %s\n\n" % piece.given)

    def _note(self, said: list[str], reply: Reply) -> None:
        """Keep the upstream's own text, for another that goes on with it."""
        for choice in reply.choices or ():
            delta = choice.delta or Delta()
            if choice.index or delta.tool_calls or delta.reasoning_content or delta.refusal:
                self._said = None
            said.append(delta.content or choice.text or "")

    def _add(self, pieces: list[Passed], out: list[bytes]) -> None:
        for piece in pieces:
            held = len(self._held)
            if self._event(b"data: %s\n\n" % piece.recorded):
                out.append(b"data: %s\n\n" % piece.given)
            elif len(self._held) > held:
                self._held[-1] = b"data: %s\n\n" % piece.given

    def _flush(self, out: list[bytes]) -> None:
        if self.status == 200:
            self._add(self.screen.end(), out)

    def _judge(self) -> None:
        """The upstream closed without a last word. Of an answer that broke off, in order or not, what is held
        back stays so: it may be the beginning of a value, and another may go on with it."""
        if self._told_end:
            self._last_words()
        super()._judge()

    def _last_words(self) -> None:
        """Give the client what is held back: the answer has ended."""
        out: list[bytes] = []
        try:
            self._flush(out)
        except Unavailable:  # of names: what was not read ahead stays here
            return
        if out:
            self._pass_on(b"".join(out))


def screen_of(answer: object) -> AnswerScreen | None:
    """The screen of an answer that has one."""
    return answer.screen if isinstance(answer, ScreenedAnyWhole | ScreenedStreamedAnswer) else None
