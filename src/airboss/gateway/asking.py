"""What each model that may answer a call is asked: the release's own, its fallbacks, and whoever goes on with
an answer that broke off."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from airboss.dialects.plain import arranged, without_others
from airboss.dialects.speech import CHATS
from airboss.domain.errors import ApiError, PolicyRefused, Unsupported
from airboss.domain.plan import DeploymentPlan, Target
from airboss.domain.release import Release
from airboss.domain.request import InferenceRequest
from airboss.gateway import wire
from airboss.gateway.answer import AnyAnswer, StreamedAnswer, WholeAnswer
from airboss.gateway.asked import Asked, Route
from airboss.gateway.attempts import Dispatched
from airboss.gateway.continuation import GO_ON, continued
from airboss.gateway.embeddings import EmbeddingsAnswer, embeddings_body
from airboss.gateway.engine_stream import EngineStreamedAnswer
from airboss.gateway.engine_whole import EngineWholeAnswer
from airboss.gateway.engine_wire import engine_answers, engine_body
from airboss.gateway.heads import EVENT_STREAM, ours_ms, relayed_head, response_head
from airboss.gateway.local_limits import refuse_unfit, refuse_unsupported
from airboss.gateway.outgoing import outgoing
from airboss.gateway.outline import BEGINNING_CHARS, first_said
from airboss.gateway.passing import passed_on
from airboss.gateway.prefill import QUESTION
from airboss.gateway.relayed import outgoing as relayed_outgoing
from airboss.gateway.relayed_answer import RelayedAnswer
from airboss.gateway.request_head import HttpRequest
from airboss.gateway.serving import Branch, Serving, at_target, cleaned_by
from airboss.gateway.splice import LONG, join_members, members
from airboss.gateway.spoken import Client, Spoken
from airboss.gateway.worker import Admitted
from airboss.providers.dialect import Outgoing
from airboss.providers.outbox import Pieces

if TYPE_CHECKING:
    from airboss.gateway.screened import CallScreen

SPEAK_CHAT = frozenset({"openai", "openai-compatible", "azure", "local"})
"""Kinds of providers whose own dialect is OpenAI's."""


def upstream_request(  # noqa: PLR0917 - all that was decided, in the order it was
    http: HttpRequest | None,
    request: InferenceRequest,
    body: wire.Body,
    deployment: DeploymentPlan,
    branch: Branch,
    screened: CallScreen | None,
    spoken: Spoken | None,
    *,
    as_chat: bool = False,
) -> tuple[InferenceRequest, bytes | Pieces, Outgoing | None]:
    """The request as the branch's target reads it, the body that goes there, and what goes where that is not
    OpenAI's. `http` is needed where it is relayed; `as_chat` as in `passed_on`. Raises ApiError where the
    target cannot do it."""
    ours = body.prompt_variables is not None or body.release_variant is not None
    several = branch.whole or branch.others or http is None  # another of them may have said what came before
    mixed = several and spoken is None and isinstance(body, wire.ChatBody)
    if branch.plain is not None and not ours and spoken is None and isinstance(body, wire.ChatBody):
        raw = without_others(request.body, branch.target) if mixed else request.body
        if body.metadata is not None:
            raw = wire.without_labels(raw, body, branch.target.kind, branch.release)
        return request, wire.plain_body(raw, body, model=branch.plain), None
    target = branch.target
    translated = passed_on(spoken, body, branch, screened, as_chat=as_chat) if spoken is not None else None
    elsewhere = None
    if spoken is not None and target.kind in SPEAK_CHAT:
        may = not as_chat and branch.release.form != "completion"
        elsewhere = spoken.speech.elsewhere(target) if may else None
        plain = spoken.speech.plain(request.body, target) if elsewhere is None else request.body
        request = msgspec.structs.replace(request, body=plain)
    elif spoken is not None and translated is None:
        told = spoken.speech.told(request.body, target)
        request = msgspec.structs.replace(request, body=told)
    if isinstance(body, wire.ChatBody | wire.CompletionBody):
        _refuse_impossible(request, body, deployment, target, spoken)
    if translated is not None:
        return request, translated.body, translated
    if isinstance(body, wire.RelayedBody):
        assert http is not None  # it is asked once, and not again of others
        translated = relayed_outgoing(http, body, target)
        return request, translated.body, translated
    raw = without_others(request.body, target) if mixed else request.body
    raw = wire.without_labels(raw, body, target.kind, branch.release)
    if isinstance(body, wire.EmbeddingsBody):
        return request, *embeddings_body(raw, body, target)
    return request, *_sent(raw, body, branch, elsewhere, tells=spoken is not None)


def _sent(
    raw: bytes,
    body: wire.Body,
    branch: Branch,
    elsewhere: Callable[[bytes], Outgoing] | None,
    *,
    tells: bool,
) -> tuple[bytes | Pieces, Outgoing | None]:
    """What goes upstream of a chat or a text completion."""
    release, target = branch.release, branch.target
    if branch.translate is not None and elsewhere is None:
        if tells and target.kind == "azure":  # what is translated of it is the path alone
            raw = arranged(raw, target)
        translated = outgoing(branch.translate, raw, body, release, target)
        return translated.body, translated
    sent = wire.upstream_body(raw, body, model=target.upstream_model, release=release)
    if elsewhere is not None:
        translated = elsewhere(sent)
        return translated.body, translated
    sent = arranged(sent, target) if tells else sent
    return (engine_body(sent, body, release=release, tells=tells) if target.kind == "local" else sent), None


def _refuse_impossible(
    request: InferenceRequest,
    body: wire.ChatBody | wire.CompletionBody,
    deployment: DeploymentPlan,
    target: Target,
    spoken: Spoken | None,
) -> None:
    """Refuse what the target's model cannot do. Raises ApiError."""
    if isinstance(body, wire.ChatBody):
        refuse_unsupported(body, deployment.name, target)
    if target.embeds:
        raise Unsupported(
            f"deployment {deployment.name!r} makes vectors and writes nothing; ask it at /v1/embeddings",
            code="embeddings_only",
            param="model",
        )
    if target.kind == "local":
        ranges = CHATS if spoken is None else spoken.speech.ranges
        refuse_unfit(request.body, body, slot_tokens=target.slot_tokens, ranges=ranges)


class Asking(msgspec.Struct, frozen=True):
    """What a call asks of models beside its first (`dispatch.Asking`)."""

    client: Client
    call: Admitted
    dispatched: Dispatched

    def new_answer(self, target: Target) -> AnyAnswer:
        """What takes in the answer of one attempt: by the call's dialect, its policies and its target."""
        call = self.call
        if not isinstance(call.body, wire.ChatBody) or call.screen is not None or target.kind == "local":
            return self._new_other_answer(target)
        if not call.request.stream:
            return WholeAnswer(target.provider)
        return self._new_stream(StreamedAnswer, target, None)

    def _new_other_answer(self, target: Target) -> AnyAnswer:
        client, call = self.client, self.call
        if isinstance(call.body, wire.RelayedBody):
            return self._new_relayed(call.body, target)
        answers = engine_answers(call.body, call.branch.release) if target.kind == "local" else None
        if call.screen is not None:
            return call.screen.new_answer(
                target.provider, client, call.request, answers=answers, response_head=self._stream_head
            )
        operation = call.request.operation
        if call.request.stream:
            return self._new_stream(
                StreamedAnswer if answers is None else EngineStreamedAnswer, target, answers
            )
        if operation == "embeddings":
            return EmbeddingsAnswer(target.provider)
        if answers is None:
            return WholeAnswer(target.provider)
        return EngineWholeAnswer(target.provider, operation=operation, answers=answers)

    def _new_relayed(self, body: wire.RelayedBody, target: Target) -> RelayedAnswer:
        def make(kind: type[RelayedAnswer]) -> RelayedAnswer:
            made = kind(
                target.provider,
                self.client,
                path=f"/v1{body.path.partition('?')[0]}",
                makes=body.makes,
                kept=body.kept,
                attribution=self._relayed_head,
            )
            made.headless = body.head
            return made

        screen = self.call.screen
        return make(RelayedAnswer) if screen is None or body.text is None else screen.relayed(make)

    def _new_stream(self, make: type[StreamedAnswer], target: Target, answers: int | None) -> StreamedAnswer:
        client, call = self.client, self.call
        answer = make(
            target.provider,
            client,
            operation=call.request.operation,
            keep_usage=call.request.wants_usage,
            response_head=self._stream_head,
            answers=answers,
        )
        if call.body.n is not None:
            answer.assembly.expected = call.body.n
        return answer

    def _stream_head(self) -> bytes:
        return response_head(self.call, self.dispatched, EVENT_STREAM, ours_ms(self.dispatched))

    def _relayed_head(self) -> bytes:
        return relayed_head(self.call, self.dispatched, ours_ms(self.dispatched))

    def fallback(self, other: Target) -> Asked:
        """The call itself, said anew."""
        return self._ask(other, self.call.said, self.call.body, self.call.branch)

    def asks_others(self, error: ApiError) -> bool:
        """As the release says, of a provider's filter; what a policy of ours refuses is refused to all."""
        return self.call.branch.release.fallbacks_when_filtered and not isinstance(error, PolicyRefused)

    def goes_on(self, cut: StreamedAnswer, source: Target, target: Target) -> Asked | None:
        """The call with what has been said of its answer."""
        if self.call.spoken is not None and self.call.spoken.speech.passes:
            return None  # what the client has heard is one provider's own, and chat is not
        found = continued(self.call, cut, source, target)
        if found is None:
            return None
        # As chat to everyone: the client's own words, which might pass, do not hold what has been said.
        asked = self._ask(target, found.request, found.body, found.branch, as_chat=True)

        def new_answer(target: Target) -> AnyAnswer:
            answer = asked.new_answer(target)
            assert isinstance(answer, StreamedAnswer)  # only streams are gone on with
            answer.go_on(cut, found.seam())
            return answer

        return msgspec.structs.replace(asked, new_answer=new_answer)

    def probe(self, target: Target) -> Asked:
        """The count that was begun, with nothing of the call or its release."""
        call = self.call
        question = members(QUESTION) | (GO_ON if target.kind == "openai-compatible" else {})
        raw = join_members(question)
        bare = Release(digest="", name="", model=call.branch.release.model)
        there = at_target(call.branch, bare, target)
        request = msgspec.structs.replace(call.said, body=raw, stream=False)
        body = wire.parse_body("chat", raw)
        _, sent, translated = upstream_request(None, request, body, call.deployment, there, None, None)
        return Asked(
            target=target,
            body=sent,
            new_answer=lambda target: WholeAnswer(target.provider),
            outgoing=translated,
        )

    def beginning(self) -> bytes:
        """As `beginning`."""
        return beginning(self.call.said.body, self.call.body)

    def instead(self, asked: Asked) -> Asked:
        """As chat what was asked at a route that a provider has not got."""
        call = self.call
        return self._ask(asked.target, call.said, call.body, call.branch, as_chat=True)

    def _ask(
        self,
        other: Target,
        request: InferenceRequest,
        body: wire.Body,
        branch: Branch,
        *,
        as_chat: bool = False,
    ) -> Asked:
        call = self.call
        there = at_target(branch, branch.release, other)
        _, sent, translated = upstream_request(
            None, request, body, call.deployment, there, call.screen, call.spoken, as_chat=as_chat
        )
        return Asked(
            target=other,
            body=sent,
            new_answer=self.new_answer,
            outgoing=translated,
        )


def route_of(serving: Serving, client: Client, call: Admitted, dispatched: Dispatched) -> Route:
    """The call as the executor needs it."""
    target = call.branch.target
    asking = Asking(client, call, dispatched)
    return Route(  # by their places: by name each call would pay a microsecond more
        call.deployment,
        call.request.operation,
        call.request.stream,
        call.trace,
        serving.secret,
        cleaned_by(serving, call.screen),
        Asked(target, call.upstream_body, asking.new_answer, call.outgoing),
        call.too_large,
        () if isinstance(call.body, wire.RelayedBody) else call.branch.others,
        asking,
        call.branch.trial,
        len(call.branch.members),
    )


def beginning(raw: bytes, body: wire.Body) -> bytes:
    """What calls share whose prompts begin alike: up to the first that a user says, so that a conversation's
    calls do and those of different people with one system prompt do not."""
    if isinstance(body, wire.ChatBody):
        said = next((each.content for each in body.messages if each.role == "user"), None)
        if isinstance(said, str) and len(raw) >= LONG and len(said) < BEGINNING_CHARS:
            said = first_said(raw)  # it may have been left out
        if isinstance(said, str):
            return said[:BEGINNING_CHARS].encode("utf-8", "replace")
    if isinstance(body, wire.CompletionBody) and isinstance(body.prompt, str):
        return body.prompt[:BEGINNING_CHARS].encode("utf-8", "replace")
    return raw[:BEGINNING_CHARS]
