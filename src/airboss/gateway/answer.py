"""How an upstream's answer is taken in: whole (`WholeAnswer`) or passed on as it comes (`StreamedAnswer`).

All are `providers.connection.Answer`s that say when nothing more is to be waited for. What is known of the
answer stays readable after a failure, because a failed or cancelled call is recorded too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress

from airboss.dialects.chat_said import TOO_LARGE
from airboss.dialects.heard import BEHIND_THE_END
from airboss.domain.errors import ApiError, UpstreamFailed, UpstreamTimeout
from airboss.domain.request import Operation
from airboss.gateway.base_answer import ANSWER_BYTES_MAX, BaseAnswer
from airboss.gateway.replay import unasked_stream, unasked_whole
from airboss.gateway.seam import Seam
from airboss.gateway.spoken import Client
from airboss.gateway.sse import BOM, Splitter, event_data, keeps_alive, silence, unmarked
from airboss.providers.assembly import Assembly
from airboss.providers.compatible import (
    Choice,
    Reply,
    check_whole,
    error_in,
    read_event,
    read_reply,
)
from airboss.providers.known_text import LEARNT_MAX, KnownText, only_text
from airboss.providers.lenient import without_halves
from airboss.providers.usage import Usage, UsageSum

log = logging.getLogger("airboss.gateway")
HELD_BYTES_MAX = 4 * 1024 * 1024
"""Of events that come before the first output, which a client gets with it."""


class WholeAnswer(BaseAnswer):
    """Takes an answer whole; `content` is its bytes and `reply` what they say, once `finished`."""

    content = b""
    reply: Reply | None = None
    flows = False
    """Whether it comes in pieces, so that silence between them counts."""
    _size = 0
    _halves = False

    def _take(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > ANSWER_BYTES_MAX:
            raise UpstreamFailed(f"provider {self.provider!r} sent more than {ANSWER_BYTES_MAX} bytes")
        self._pieces.append(data)

    def _end(self) -> None:
        pieces = self._pieces
        content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if self.status != 200:
            raise self._refusal(content.removeprefix(BOM))
        if not content.startswith(b"{"):
            content = unasked_stream(content.removeprefix(BOM))
        try:
            reply = read_reply(content)
        except UpstreamFailed:
            # Halves of characters, which many clients read: they get them, and the record what it can hold.
            self._halves = True
            reply = read_event(content)
        if not reply.answers:
            self.error_usage = reply.usage
            raise error_in(self.provider, content)
        self.reply = reply  # what it tells of itself is so, and be it broken off
        check_whole(self.provider, reply)
        self._take_in(content, reply)

    @property
    def recorded(self) -> bytes:
        """What the record has of it."""
        return without_halves(self.content) if self._halves else self.content

    @property
    def so_far(self) -> bytes:
        """What has come, where that is not all."""
        return b"".join(self._pieces) or (self.translation.so_far if self.translation is not None else b"")

    def _take_in(self, content: bytes, reply: Reply) -> None:
        if self.rival is not None:
            self.win()
        self.content, self.reply = content, reply
        if self.first_output_at is None:  # a local engine's first token has been seen on its way
            self.first_output_at = time.perf_counter()
        self.committed = True
        if not self.finished:
            self._finish()


class StreamedAnswer(BaseAnswer):
    """Passes a stream on, whole events only, from the first real output on.

    Until then nothing reaches the client, so that a failing start is an ordinary error and can be tried
    again. The end (`[DONE]`) is held back: the call is recorded before the client sees its last byte.
    """

    _over = False
    """Whether the upstream has said that there is no more."""
    _held_bytes = _error_bytes = _looked_at = 0
    _silent = (0.0, 0)
    _known: KnownText | None = None
    _next: KnownText | None = None
    """The kind of which the next event likely is, where it may be told by its bytes alone."""
    _ending: list[Choice] | None = None
    """What the last event said that told why a choice ended."""

    def __init__(
        self,
        provider: str,
        client: Client,
        *,
        operation: Operation,
        keep_usage: bool,
        response_head: Callable[[], bytes],
        answers: int | None = None,
    ) -> None:
        """`answers` is how many each prompt gets, where the upstream reports the usage of each on its own."""
        super().__init__(provider)
        self._client = client
        self.pieces_before = self._chars_before = 0
        """What of the assembly is another attempt's."""
        self._cut: tuple[Usage | None, str, str, int] | None = None
        """What it had come to when it broke off (`broke_off`)."""
        self.seam: Seam | None = None
        """Where this goes on with an answer that broke off (`go_on`)."""
        self._keep_usage = keep_usage
        self._response_head = response_head
        self.events = Splitter()
        self._held: list[bytes] = []
        self.assembly = Assembly(operation)
        if answers is not None:
            self.assembly.usage_sum = UsageSum(answers)

    def go_on(self, cut: StreamedAnswer, seam: Seam) -> None:
        """Go on with what the client has of `cut`: the stream that it reads is one."""
        self.assembly = cut.assembly
        self.assembly.seams.append(len(self.assembly.only_text))
        cut.broke_off()
        self.pieces_before = cut.assembly.pieces
        self._chars_before = cut.assembly.output_chars
        self.committed = True
        self.seam = seam
        self._heed(self._client)

    def broke_off(self) -> None:
        """Keep what this attempt has used and said: all that the assembly gets from now on is another's."""
        if self._cut is None:
            self._cut = (self.told_usage, *self.produced())

    @property
    def begun(self) -> bool:
        """Whether the client has something of this attempt."""
        return self.committed if self.seam is None else self.assembly.pieces > self.pieces_before

    @property
    def raw_text(self) -> str:
        """What the upstream said, as it said it: the text of the only answer."""
        return self.assembly.only_text

    @property
    def told_usage(self) -> Usage | None:
        """What this attempt used, as far as its upstream has said."""
        if self._cut is not None:
            return self._cut[0]
        return self.assembly.usage if self.seam is None else self.seam.usage

    @property
    def whole(self) -> bool:
        """Whether this attempt came to the answer's end."""
        return self._cut is None and self.assembly.finished

    def produced(self) -> tuple[str, str, int]:
        """What this attempt has said and thought, and how many characters it has said."""
        if self._cut is not None:
            return self._cut[1:]
        said, thought = self.assembly.produced()
        if self.seam is None:
            return said, thought, self.assembly.output_chars
        before, more = self._chars_before, self.seam.left_out
        return more + said[before:], self.seam.thought, len(more) + self.assembly.output_chars - before

    def fail(self, error: ApiError) -> None:
        """End with an error; an answer that had said why it ends has ended well, whatever breaks after it."""
        broke = isinstance(error, UpstreamFailed | UpstreamTimeout) and error.code != TOO_LARGE
        if broke and self.translation is not None and not self.finished:
            # Gemini's says why it ends before its last words, which are none.
            with suppress(ApiError):
                self._take(self.translation.broke())
        if broke and self.first_output_at is not None and self.assembly.settled:
            self._succeed()
        else:
            super().fail(error)

    @property
    def usage_short(self) -> bool:
        """Whether less usage was reported than there are answers."""
        return self.assembly.usage_short

    def _take(self, data: bytes) -> None:
        known = self._next
        if known is None or (text := known.text_of(data)) is None:
            self._next = None
            self._take_any(data)
        else:
            self.progress_at = time.perf_counter()
            self.assembly.add_text(known.index, known.name, text)
            self._client.stream(data)

    def _take_any(self, data: bytes) -> None:
        if self.status != 200:
            self._error_bytes += len(data)
            if self._error_bytes <= ANSWER_BYTES_MAX:
                self._pieces.append(data)
            return
        out: list[bytes] = []
        try:
            events = self.events.feed(data)
            if self.seam is not None:
                data, events = b"", self.seam.joined(events)
            for event in events:
                if self._event(event):
                    out.append(event)
                if self._over or self.finished:
                    break
        finally:
            # What came before a broken event is the client's all the same.
            if out:
                # The usual piece is whole events, all passed on: then its own bytes go out, not a copy.
                same = len(out) == len(events) and not self.events.rest and sum(map(len, out)) == len(data)
                self._pass_on(data if same else b"".join(out))
        if self._over:
            self._judge()
        elif out:
            self._expect(out[-1])

    def _expect(self, event: bytes) -> None:
        """Make the next event known by its bytes, if it is like the last one or one before it."""
        if self.seam is None and not (self.assembly.over or self.events.rest):
            if self._looked_at < LEARNT_MAX:
                self._looked_at += 1
                self._known = only_text(event_data(event)) or self._known
            self._next = self._known

    def _event(self, event: bytes) -> bool:
        """Read one event; whether it is to be passed on."""
        payload = event_data(event)
        if not payload:
            self._silent = silence(self._silent, self.progress_at, event)
            # A comment keeps a connection alive, once there is one. In empty data clients look for JSON.
            return payload is None and self.committed and keeps_alive(event)
        if payload == b"[DONE]":
            self.assembly.expected = 1  # there is no more
            self._over = True  # and is judged when the client has what came before
            return False
        reply = read_event(payload)
        self.progress_at = time.perf_counter()
        if (reply.error is not None or reply.choices is None) and reply.says_error:
            self.error_usage = reply.usage
            raise error_in(self.provider, payload)
        if self.assembly.over and reply.choices and not self._says_more(reply, payload):
            return False
        if reply.finish_reason:
            self.assembly.usage = reply.usage or self.assembly.usage  # of one that broke off it is the last
            check_whole(self.provider, reply)
            self._ending = reply.choices
        self.assembly.add(reply)
        if not reply.choices and self._hides(reply, payload):
            return False
        # What follows real output goes on behind it, in the same piece too.
        if self.committed or self.first_output_at is not None or reply.says_something:
            if self.first_output_at is None:
                self.first_output_at = self.progress_at
            return True
        self._held.append(event)
        self._held_bytes += len(event)
        if self._held_bytes > HELD_BYTES_MAX:
            raise UpstreamFailed(
                f"provider {self.provider!r} sent {self._held_bytes} bytes of events and said nothing in them"
            )
        return False

    def _hides(self, reply: Reply, payload: bytes) -> bool:
        """Whether an event without choices tells usage that is not for the client: nobody has asked, or it is
        half of it, or in numbers that nobody can read, which is counted and told at the end."""
        if reply.usage is None:
            return self.assembly.over and b'"usage"' in payload
        return not (self._keep_usage and reply.usage.whole)

    def _says_more(self, reply: Reply, payload: bytes) -> bool:
        """Whether an event says what has not been said, after some choice has ended."""
        if not self.assembly.has_ended(reply) or any(mark in payload for mark in BEHIND_THE_END):
            return True
        # Some give a reason to stop with every piece, others send the last one again.
        if reply.goes_on and (reply.choices != self._ending or self.assembly.went_on):
            self.assembly.went_on = True
            return True
        # Said twice, as some do: the first time counts. OpenRouter tells its usage so.
        if reply.usage is None or self.assembly.usage is not None:
            return False
        reply.choices = []
        return True

    def _pass_on(self, data: bytes) -> None:
        if self.committed:
            self._client.stream(data)
            return
        self.win()
        self._client.start_stream(200, self._response_head(), b"".join(self._held) + data)
        self.committed = True
        self._heed(self._client)
        self._held.clear()

    def _end(self) -> None:
        if self.status != 200:
            raise self._refusal(unmarked(self._pieces))
        self._take_rest()
        self._judge()

    def _take_rest(self) -> None:
        """Take what stands behind the last whole event."""
        rest = self.events.rest
        if self.first_output_at is None and rest.lstrip()[:1] in {b"{", b"<"}:
            # Not a stream at all: an error object or a page, with status 200.
            if not read_event(rest).answers:
                raise error_in(self.provider, rest)
            self.events.forget()
            self._take(unasked_whole(rest))
        elif rest:
            self._take(self.events.ending())

    def _judge(self) -> None:
        """The stream has ended: succeed, or raise ApiError where it is not whole."""
        if not self.assembly.complete:
            chars = self.assembly.output_chars
            seen = f"after {chars} characters" if self.first_output_at else "before its first token"
            raise UpstreamFailed(
                f"provider {self.provider!r} ended its stream {seen}, without a finish_reason",
                code="stream_cut",
            )
        self._succeed()


AnyAnswer = WholeAnswer | StreamedAnswer
