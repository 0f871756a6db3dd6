"""The `screen` rung: a call's request and answers under its policies. Loaded where there is a policy only."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import msgspec

from airboss.domain.errors import ApiError, InvalidRequest, PolicyRefused, UpstreamFailed
from airboss.domain.record import PolicyFinding
from airboss.domain.release import Policy
from airboss.domain.request import InferenceRequest, Operation
from airboss.gateway import wire
from airboss.gateway.answer import StreamedAnswer, WholeAnswer
from airboss.gateway.embeddings import EmbeddingsAnswer
from airboss.gateway.engine_stream import PROGRESS, EngineStreamedAnswer
from airboss.gateway.engine_whole import EngineWholeAnswer
from airboss.gateway.screened_heard import HeardScreen
from airboss.gateway.seam import Seam
from airboss.gateway.spoken import Client, Spoken
from airboss.gateway.sse import event_data
from airboss.governance.policies import binding
from airboss.governance.screening import (
    Screen,
    ScreeningPolicy,
    one_action,
    prepare,
    screen_text,
    screening_policy,
)
from airboss.governance.screening_chat import (
    AnswerScreen,
    Passed,
    RequestScreened,
    screen_request,
    screen_written,
)
from airboss.governance.screening_known import KnownEvent
from airboss.governance.tokens import Tokens
from airboss.providers.assembly import OUTPUT_CHARS_MAX
from airboss.providers.compatible import Choice, Delta, Reply, check_whole, read_reply
from airboss.providers.cut import CUT, cut_off
from airboss.providers.lenient import without_halves

THREAD_BYTES = 64 * 1024
"""A longer request is screened in a thread: others should not wait for a megabyte of numbers."""

BLOCKED = "a policy of this deployment blocks what the answer held"
KEEP_ALIVE = b":\n\n"
_KEY_BYTES = 16


class CallScreen:
    """The screening of one call. `request` and `body` are what may go upstream and into the record; where
    the client does not speak chat, `spoken` has what may go into the record."""

    def __init__(
        self, policy: ScreeningPolicy, request: InferenceRequest, body: wire.Body, spoken: Spoken | None
    ) -> None:
        self._policy = policy
        self._several = wire.asks_several(body)
        self._tokens: Tokens | None = None
        if "tokenize" in policy.actions.values():
            written = _text_of(request, body) + (spoken.written if spoken is not None else b"")
            self._tokens = Tokens(secrets.token_bytes(_KEY_BYTES), written=written)
        self.request = request
        self.body = body
        self.spoken = spoken
        self.refusal: PolicyRefused | None = None
        self._findings: tuple[PolicyFinding, ...] = ()

    @property
    def acts(self) -> bool:
        """Whether what is said may be changed or blocked, and not only looked at."""
        return bool(self._policy.acting)

    @property
    def tokenizes(self) -> bool:
        """Whether the client's answer has values in it that the screened request does not show."""
        return self._tokens is not None

    def lets_pass(self, spoken: Spoken) -> bool:
        """Whether the client's own words may go on: nothing is to be done about them, or it can be done in
        them."""
        return not self.acts or spoken.speech.screens

    async def read(self) -> None:
        """Screen the request. Raises ApiError if what comes of it is no request any more."""
        relayed = self.body if isinstance(self.body, wire.RelayedBody) else None
        if relayed is not None and (relayed.text is None or "?" in relayed.path):
            self._refuse_unread(relayed)
            return
        tokens = _tokens_in(self.body) if self._policy.acting else None
        if tokens is not None:
            raise InvalidRequest(
                f"{tokens!r} is tokens, which the policy of this deployment cannot read; send text",
                code="content_policy",
                param=tokens,
            )
        raw = _text_of(self.request, self.body)
        written = None if self.spoken is None else await self._read_written(self.spoken)
        if len(raw) < THREAD_BYTES:
            screened = screen_request(self._policy, raw, self._tokens)
        else:
            screened = await asyncio.to_thread(screen_request, self._policy, raw, self._tokens)
        self._findings, blocked = screened.findings, screened.blocked
        if self.spoken is not None and written is not None:
            # What chat has no words for holds values too.
            blocked = blocked or written.blocked
            if screened.blocked:
                written = await self._read_written(self.spoken, blocked=True)
            self._findings += only_written(written.findings, screened.findings)
            self.spoken = msgspec.structs.replace(self.spoken, written=written.body)
            if self.acts and not blocked:
                speech = self.spoken.speech
                wire.read_body(lambda body: speech.screened(body, screened.body), written.body)
        if blocked:
            kinds = sorted({each.kind for each in self._findings if each.action == "block"})
            self.refusal = PolicyRefused(
                f"a policy of this deployment blocks requests that hold {' or '.join(kinds)}; take it out"
            )
        if relayed is not None:
            recorded = relayed.recorded if relayed.recorded is not raw else screened.body
            self.body = msgspec.structs.replace(relayed, text=screened.body, recorded=recorded)
            self.request = msgspec.structs.replace(self.request, body=recorded)
        elif screened.body is not raw:
            self.body = wire.parse_body(self.request.operation, screened.body)
            tags = self.body.metadata or {}
            self.request = msgspec.structs.replace(
                self.request,
                body=screened.body,
                tags={name: value for name, value in tags.items() if name != "session_id"},
            )

    def _refuse_unread(self, body: wire.RelayedBody) -> None:
        """What is only passed on is not read, so that a policy that has to act can only refuse it."""
        if not self.acts:
            return
        path = body.path.partition("?")[0]
        self.refusal = PolicyRefused(
            f"a policy of this deployment changes or blocks what is said, and cannot read this {body.method} "
            f"/v1{path[:100]}; call a deployment without such a policy"
        )
        told = msgspec.json.encode({"method": body.method, "path": f"/v1{path}"})
        self.request = msgspec.structs.replace(self.request, body=told)

    async def _read_written(self, spoken: Spoken, *, blocked: bool = False) -> RequestScreened:
        """What a client that does not speak chat has written, screened."""
        work = partial(screen_written, self._policy, spoken.written, self._tokens, blocked=blocked)
        return work() if len(spoken.written) < THREAD_BYTES else await asyncio.to_thread(work)

    def answer(self) -> AnswerScreen:
        """The screen of one attempt's answer."""
        speech = None if self.spoken is None else self.spoken.speech
        if self.acts and speech is not None and speech.native and speech.screens:
            return HeardScreen(self._policy, self._tokens)
        return AnswerScreen(self._policy, self._tokens, several=self._several)

    def findings(self, answer: object) -> tuple[PolicyFinding, ...]:
        """What was found in the request and in the answer, if there was one."""
        screen = screen_of(answer)
        return self._findings if screen is None else self._findings + screen.findings

    def new_answer(
        self,
        provider: str,
        client: Client,
        request: InferenceRequest,
        *,
        answers: int | None,
        response_head: Callable[[], bytes],
    ) -> WholeAnswer | StreamedAnswer:
        """An attempt's answer, screened as it comes; `answers` as in `StreamedAnswer`."""
        if request.operation == "embeddings":
            return EmbeddingsAnswer(provider, client.loop)  # numbers hold nobody's words
        screen = self.answer()
        if request.stream:
            streamed = ScreenedStreamedAnswer(
                provider,
                client.loop,
                client,
                operation=request.operation,
                keep_usage=request.wants_usage,
                response_head=response_head,
                answers=answers,
            )
            streamed.screen, streamed._said = screen, []
            return streamed
        if answers is None:
            return ScreenedWholeAnswer(screen, provider, client.loop)
        return ScreenedEngineAnswer(
            screen, provider, client.loop, operation=request.operation, answers=answers
        )

    @staticmethod
    def found_in(answer: object) -> bool:
        """Whether an answer held something up to now."""
        screen = screen_of(answer)
        return screen is not None and bool(screen.findings)

    @staticmethod
    def refused(answer: WholeAnswer | StreamedAnswer) -> PolicyRefused | None:
        """Why an answer that came to its end counts as refused; None if it does not."""
        screen = screen_of(answer)
        return PolicyRefused(BLOCKED) if screen is not None and screen.blocked else None

    @staticmethod
    def given(answer: WholeAnswer) -> bytes:
        """The body that the client gets."""
        return answer.given if isinstance(answer, _ScreenedWhole) else answer.content

    def clear(self, error: ApiError) -> None:
        """Take values out of an upstream's error: it may say again what it was asked."""
        if not self._policy.acting:
            return
        masks = one_action("mask", self._policy.acting)
        begun = cut_off(error.message)
        # What a screen holds back where a text was cut off may be half of a value.
        error.message = (
            screen_text(masks, error.message).text if begun is None else Screen(masks).feed(begun) + CUT
        )
        for name in ("code", "param", "upstream_type"):
            if text := getattr(error, name, None):
                setattr(error, name, screen_text(masks, text).text)


class _ScreenedWhole(WholeAnswer):
    """A whole answer that is screened the moment it is there: `content` is what the record has, `given` what
    the client gets."""

    screen: AnswerScreen
    given = b""

    def _take_in(self, content: bytes, reply: Reply) -> None:
        passed = self.screen.whole(content)
        self.given = passed.given
        same = passed.recorded is content
        super()._take_in(passed.recorded, reply if same else read_reply(passed.recorded))


class ScreenedWholeAnswer(_ScreenedWhole):
    """Of an upstream that answers whole."""

    def __init__(self, screen: AnswerScreen, provider: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(provider, loop)
        self.screen = screen


class ScreenedEngineAnswer(_ScreenedWhole, EngineWholeAnswer):
    """Of a local engine, which streams."""

    def __init__(
        self,
        screen: AnswerScreen,
        provider: str,
        loop: asyncio.AbstractEventLoop,
        *,
        operation: Operation,
        answers: int,
    ) -> None:
        super().__init__(provider, loop, operation=operation, answers=answers)
        self.screen = screen


class ScreenedStreamedAnswer(EngineStreamedAnswer):
    """Passes on what a screen makes of a stream's events. What is assembled for the record, and what decides
    whether the stream is whole, is the screened stream."""

    screen: AnswerScreen
    _ended = False
    """Whether the upstream ended the stream in order."""
    _told_end = False
    """Whether the upstream has said why it ended, and what it said with that."""
    _told: list[Choice] | None = None
    _said: list[str] | None
    """The upstream's own text, of which the screen may hold some back; None where there is more than text."""

    @property
    def raw_text(self) -> str:
        """What the upstream said, as it said it: the text of the only answer."""
        return "".join(self._said or ()) if not self.assembly.over else ""

    def go_on(self, cut: StreamedAnswer, seam: Seam) -> None:
        """Go on with what the client has of `cut`; its screen reads on too."""
        super().go_on(cut, seam)
        assert isinstance(cut, ScreenedStreamedAnswer)  # of the same call
        self.screen, self._said = cut.screen, cut._said

    def _take(self, data: bytes) -> None:
        if self.status != 200:
            super()._take(data)
            return
        out: list[bytes] = []
        try:
            events = self.events.feed(data)
            if self.seam is not None:
                events = self.seam.joined(events)
            for event in events:
                self._screened(event, out)
                if self._over or self.finished.done():
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
            # The words of a comment are nobody's answer; that there is one keeps connections alive.
            if payload is None and self.committed:
                out.append(KEEP_ALIVE)
            return
        if payload == b"[DONE]":
            self._ended = True
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
        """The upstream closed without a last word. Of an answer that broke off, what is held back stays so:
        another may go on with it."""
        self._ended = True
        if self._told_end:
            self.last_words()
        super()._judge()

    def last_words(self) -> None:
        """Give the client what is held back: nobody goes on. Not what a broken connection left: it may be the
        beginning of a value."""
        out: list[bytes] = []
        if self._ended:
            self._flush(out)
        if out:
            self._pass_on(b"".join(out))


def _text_of(request: InferenceRequest, body: wire.Body) -> bytes:
    """The JSON that a policy reads. A record has less of a long one that is passed on."""
    text = body.text if isinstance(body, wire.RelayedBody) else None
    return request.body if text is None else text


def only_written(
    written: Sequence[PolicyFinding], chat: Sequence[PolicyFinding]
) -> tuple[PolicyFinding, ...]:
    """What was found in a client's own words and is not in the chat that is made of them."""
    more: Counter[str] = Counter()
    for each in written:
        more[each.kind] += each.count
    for each in chat:
        more[each.kind] -= each.count
    actions = {each.kind: each.action for each in written}
    return tuple(
        PolicyFinding(kind=kind, action=actions[kind], count=count, where="request")
        for kind, count in sorted((+more).items())
    )


def _tokens_in(body: wire.Body) -> str | None:
    """The member that has tokens in place of text."""
    for name, kind in (("prompt", wire.CompletionBody), ("input", wire.EmbeddingsBody)):
        given = getattr(body, name) if isinstance(body, kind) else None
        if isinstance(given, list) and any(not isinstance(part, str) for part in given):
            return name
    return None


def screen_of(answer: object) -> AnswerScreen | None:
    """The screen of an answer that has one."""
    return answer.screen if isinstance(answer, _ScreenedWhole | ScreenedStreamedAnswer) else None


@lru_cache(maxsize=256)  # a few policies, in pairs
def compiled(release: Policy | None, deployment: Policy | None) -> ScreeningPolicy:
    """What two policies come to together, ready for use."""
    policy = screening_policy(binding(release, deployment))
    prepare(policy)
    return policy


async def screened(
    release: Policy | None,
    deployment: Policy | None,
    request: InferenceRequest,
    body: wire.Body,
    spoken: Spoken | None = None,
) -> CallScreen:
    """A call under its release's policy and its deployment's, its request screened. Raises ApiError."""
    call = CallScreen(compiled(release, deployment), request, body, spoken)
    await call.read()
    return call
