"""The `screen` rung: a call's request and answers under its policies. Loaded where there is a policy only."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import msgspec

from airboss.domain.errors import (
    ApiError,
    InvalidRequest,
    PolicyRefused,
    Unavailable,
    UpstreamFailed,
    UpstreamRefused,
)
from airboss.domain.record import PolicyFinding
from airboss.domain.release import Policy
from airboss.domain.request import InferenceRequest
from airboss.gateway import wire
from airboss.gateway.answer import StreamedAnswer, WholeAnswer
from airboss.gateway.relayed_answer import RelayedAnswer
from airboss.gateway.screened_answers import (
    BLOCKED,
    ScreenedAnyWhole,
    ScreenedEngineAnswer,
    ScreenedStreamedAnswer,
    ScreenedWholeAnswer,
    screen_of,
)
from airboss.gateway.screened_heard import CountedScreen, HeardScreen
from airboss.gateway.screened_names import UNREAD, AnswerLookout, Lookout, recogniser_of
from airboss.gateway.screened_others import (
    OtherScreen,
    ScreenedEmbeddingsAnswer,
    ScreenedRelayedAnswer,
    VectorScreen,
)
from airboss.gateway.spoken import Client, Spoken
from airboss.gateway.stock import SHADOW_TAG
from airboss.gateway.turns import by_size
from airboss.governance.names import Names
from airboss.governance.policies import binding, custom_of
from airboss.governance.screening import (
    Screen,
    ScreeningPolicy,
    masking,
    prepare,
    screen_text,
    screening_policy,
    without_names,
)
from airboss.governance.screening_chat import (
    AnswerScreen,
    RequestScreened,
    screen_labels,
    screen_request,
    screen_written,
)
from airboss.governance.tokens import Tokens
from airboss.providers.cut import CUT

if TYPE_CHECKING:
    from airboss.gateway.worker import Worker
    from airboss.governance.recogniser import Recogniser

_KEY_BYTES = 16
WHOSE = {(True, False): "deployment", (False, True): "key", (True, True): "deployment or key"}
"""Of whom policies are, in words: of the release or the deployment, of the key, or of both."""


class CallScreen:
    """The screening of one call. `request` and `body` are what may go upstream and into the record; where
    the client does not speak chat, `spoken` has what may go into the record. `whose` its policies are, errors
    say."""

    def __init__(
        self,
        policy: ScreeningPolicy,
        request: InferenceRequest,
        body: wire.Body,
        spoken: Spoken | None,
        recogniser: Recogniser | None = None,
        *,
        labels: Mapping[str, str],
        gate: asyncio.Semaphore,
        whose: str,
    ) -> None:
        self._gate = gate
        self._whose = whose
        self._labels = msgspec.json.encode(labels) if labels else b""
        if recogniser is not None:
            policy = msgspec.structs.replace(policy, names=Names())
        self._policy = policy
        self._recogniser = recogniser
        self._several = wire.asks_several(body)
        self._tokens: Tokens | None = None
        if "tokenize" in policy.actions.values():
            written = _text_of(request, body) + (spoken.written if spoken is not None else b"")
            self._tokens = Tokens(secrets.token_bytes(_KEY_BYTES), written + self._labels, policy.labels)
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
        labels_blocked = bool(self._labels) and await self._read_labels()
        relayed = self.body if isinstance(self.body, wire.RelayedBody) else None
        if relayed is not None and (relayed.text is None or "?" in relayed.path):
            self._refuse_unread(relayed)
            return
        if self.acts:
            _refuse_tokens(self.body, self._whose)
        raw = _text_of(self.request, self.body)
        if self._recogniser is not None:
            await self._look_out(self._recogniser, raw)
        written = None if self.spoken is None else await self._read_written(self.spoken)
        work = partial(screen_request, self._policy, raw, self._tokens)
        screened = await by_size(len(raw), self._gate, work)
        self._findings += screened.findings
        blocked = screened.blocked or labels_blocked
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
            self.refusal = self._blocking()
        self._put(raw, screened.body)

    async def _read_labels(self) -> bool:
        """Screen the labels that came in a header (`gateway.labels`); whether a value in them is blocked."""
        if self._recogniser is not None:
            lookout = Lookout(self._policy, self._recogniser)
            await lookout.read(lambda policy: screen_labels(policy, self._labels))
        screened = screen_labels(self._policy, self._labels, self._tokens)
        self._findings = screened.findings
        if screened.body != self._labels:
            said = msgspec.json.decode(self._labels, type=dict[str, str])
            others = {name: text for name, text in self.request.tags.items() if name not in said}
            labels = msgspec.json.decode(screened.body, type=dict[str, str])
            self.request = msgspec.structs.replace(self.request, tags=labels | others)
        return screened.blocked

    def _put(self, raw: bytes, screened: bytes) -> None:
        """Have what was screened in place of what was said."""
        if isinstance(self.body, wire.RelayedBody):
            recorded = self.body.recorded if self.body.recorded is not raw else screened
            self.body = msgspec.structs.replace(self.body, text=screened, recorded=recorded)
            self.request = msgspec.structs.replace(self.request, body=recorded)
        elif screened is not raw:
            beside = _beside(self.request, self.body)
            self.body = wire.parse_body(self.request.operation, screened)
            tags = {name: value for name, value in (self.body.metadata or {}).items() if name != "session_id"}
            self.request = msgspec.structs.replace(self.request, body=screened, tags=beside | tags)

    def _blocking(self) -> PolicyRefused:
        kinds = sorted({each.kind for each in self._findings if each.action == "block"})
        return PolicyRefused(
            f"a policy of this {self._whose} blocks requests that hold {' or '.join(kinds)}; take it out"
        )

    async def _look_out(self, recogniser: Recogniser, raw: bytes) -> None:
        """Have the names in the request found."""
        written = b"" if self.spoken is None else self.spoken.written

        def work(policy: ScreeningPolicy) -> None:
            screen_request(policy, raw)
            if written:
                screen_written(policy, written, None, blocked=False)

        size = len(raw) + len(written)
        await Lookout(self._policy, recogniser).read(work, lambda each: by_size(size, self._gate, each))

    def _refuse_unread(self, body: wire.RelayedBody) -> None:
        """What is only passed on is not read, so that a policy that has to act can only refuse it."""
        if not self.acts:
            return
        path = body.path.partition("?")[0]
        self.refusal = PolicyRefused(
            f"a policy of this {self._whose} changes or blocks what is said, and cannot read this "
            f"{body.method} /v1{path[:100]}; use a {self._whose} without such a policy"
        )
        told = msgspec.json.encode({"method": body.method, "path": f"/v1{path}"})
        self.request = msgspec.structs.replace(self.request, body=told)

    async def _read_written(self, spoken: Spoken, *, blocked: bool = False) -> RequestScreened:
        """What a client that does not speak chat has written, screened."""
        work = partial(screen_written, self._policy, spoken.written, self._tokens, blocked=blocked)
        return await by_size(len(spoken.written), self._gate, work)

    def answer(self) -> AnswerScreen:
        """The screen of one attempt's answer."""
        return self._screen(self._policy, self._tokens)

    def _screen(self, policy: ScreeningPolicy, tokens: Tokens | None) -> AnswerScreen:
        speech = None if self.spoken is None else self.spoken.speech
        if speech is not None and speech.native and speech.screens:
            return HeardScreen(policy, tokens) if self.acts else CountedScreen(policy, tokens)
        if self.request.operation == "embeddings":
            return VectorScreen(policy, tokens)
        if isinstance(self.body, wire.RelayedBody):
            return OtherScreen(policy, tokens)
        return AnswerScreen(policy, tokens, several=self._several, in_turn=speech is not None)

    def _lookout(self) -> AnswerLookout | None:
        """What has the names in one attempt's answer found."""
        if self._recogniser is None:
            return None
        lookout = Lookout(self._policy, self._recogniser)
        return AnswerLookout(lookout, self._screen(lookout.policy, None))

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
            vectors = ScreenedEmbeddingsAnswer(provider)
            vectors.screen, vectors.lookout = self.answer(), self._lookout()
            return vectors
        screen = self.answer()
        if request.stream:
            streamed = ScreenedStreamedAnswer(
                provider,
                client,
                operation=request.operation,
                keep_usage=request.wants_usage,
                response_head=response_head,
                answers=answers,
            )
            streamed.screen, streamed._said = screen, []
            streamed.look_out(self._lookout())
            return streamed
        whole: ScreenedAnyWhole
        if answers is None:
            whole = ScreenedWholeAnswer(screen, provider)
        else:
            whole = ScreenedEngineAnswer(screen, provider, operation=request.operation, answers=answers)
        whole.lookout = self._lookout()
        return whole

    def relayed(self, make: Callable[[type[RelayedAnswer]], RelayedAnswer]) -> RelayedAnswer:
        """The same of a route that is passed on; `make` makes an answer of this kind."""
        answer = make(ScreenedRelayedAnswer)
        assert isinstance(answer, ScreenedRelayedAnswer)  # as was asked for
        answer.screen, answer.lookout, answer.cleaned = self.answer(), self._lookout(), self.cleaned
        return answer

    def found_in(self, answer: object) -> bool:
        """Whether an answer held something up to now, or may have: its last names are not known."""
        screen = screen_of(answer)
        return screen is not None and (bool(screen.findings) or self._recogniser is not None)

    @staticmethod
    def refused(answer: WholeAnswer | StreamedAnswer) -> PolicyRefused | None:
        """Why an answer that came to its end counts as refused; None if it does not."""
        screen = screen_of(answer)
        return PolicyRefused(BLOCKED) if screen is not None and screen.blocked else None

    @staticmethod
    def given(answer: WholeAnswer) -> bytes:
        """The body that the client gets."""
        return answer.given if isinstance(answer, ScreenedAnyWhole) else answer.content

    def cleaned(self, name: str) -> str:
        """An error's name without values: an upstream may say again what it was asked. Names of people,
        which have to be asked for, are not looked for in it."""
        return screen_text(without_names(masking(self._policy)), name).text if self.acts else name

    def clear(self, error: ApiError) -> None:
        """Take values out of an upstream's error: it may say again what it was asked."""
        if not self.acts:
            return
        masks = masking(self._policy)
        bare = without_names(masks) if masks.asks_names else masks
        begun, was_cut, more = error.message.rpartition(CUT)
        try:
            # What a screen holds back where a text was cut off may be half of a value.
            said = Screen(masks).feed(begun) if was_cut else ""
            error.message = said + was_cut + screen_text(masks, more).text
        except Unavailable:  # of names in it, which are not known
            theirs = isinstance(error, UpstreamFailed | UpstreamRefused)
            error.message = UNREAD if theirs else screen_text(bare, error.message).text
        for name in ("code", "param", "upstream_type"):
            if text := getattr(error, name, None):
                unread = masks.asks_names and len(text.split()) > 1
                setattr(error, name, None if unread else screen_text(bare, text).text)


def _beside(request: InferenceRequest, body: wire.Body) -> dict[str, str]:
    """The tags that did not come in the body, but in a header (`gateway.labels`)."""
    inside = body.metadata or ()
    return {name: value for name, value in request.tags.items() if name not in inside}


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


def _refuse_tokens(body: wire.Body, whose: str) -> None:
    """Raise InvalidRequest for a body that has tokens in place of text."""
    for name, kind in (("prompt", wire.CompletionBody), ("input", wire.EmbeddingsBody)):
        given = getattr(body, name) if isinstance(body, kind) else None
        if isinstance(given, list) and any(not isinstance(part, str) for part in given):
            raise InvalidRequest(
                f"{name!r} is tokens, which the policy of this {whose} cannot read; send text",
                code="content_policy",
                param=name,
            )


@lru_cache(maxsize=256)  # a few policies, together
def compiled(*policies: Policy | None) -> ScreeningPolicy:
    """What several policies come to together, ready for use."""
    policy = screening_policy(binding(*policies), custom=custom_of(*policies))
    prepare(policy)
    return policy


async def masked(worker: Worker, policies: Sequence[Policy], text: str) -> str:
    """A text with a mask for each value that one of these policies would not let stand. Raises
    Unavailable."""
    masks = masking(compiled(*policies))
    if masks.asks_names:
        masks = msgspec.structs.replace(masks, names=Names())
        await Lookout(masks, recogniser_of(worker)).read(lambda each: screen_text(each, text))
    return screen_text(masks, text).text if masks.acting else text


async def screened(  # noqa: PLR0917 - in the order in which a call has them
    worker: Worker,
    release: Policy | None,
    deployment: Policy | None,
    request: InferenceRequest,
    body: wire.Body,
    spoken: Spoken | None = None,
) -> CallScreen:
    """A call under its release's policy, its deployment's and its key's, its request screened. Raises
    ApiError."""
    of_key = request.principal.policies or ()
    policy = compiled(release, deployment, *of_key)
    labels = _beside(request, body)
    if request.principal.internal:
        labels.pop(SHADOW_TAG, None)  # the id of a call, which we said ourselves
    recogniser = recogniser_of(worker) if policy.asks_names else None
    whose = (release is not None or deployment is not None, bool(of_key))
    call = CallScreen(
        policy, request, body, spoken, recogniser, labels=labels, gate=worker.screening, whose=WHOSE[whose]
    )
    await call.read()
    return call
