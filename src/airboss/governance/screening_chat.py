"""Screening a call in OpenAI's dialect: its request, its whole answer, or its answer's events as they come.

Every text channel is screened or removed. Of a request that is every string but the caller's identifiers
(SPARED) and base64 under the names of media. Of an answer each text is screened by itself (every choice's
content, reasoning, refusal, completion text); tool calls are held and come whole, because their arguments are
JSON, which has no use for its beginning; log probabilities, which spell the text once more, are removed; and
of a stream so is what we do not know, if it holds text.
"""

from __future__ import annotations

import msgspec

from airboss.domain.record import PolicyFinding
from airboss.governance.findings import Findings
from airboss.governance.screening import ScreeningPolicy, masking, masking_again, screen_text
from airboss.governance.screening_json import Names, identifier, restore_json, screen_json
from airboss.governance.screening_known import KnownEvent, learn
from airboss.governance.screening_stream import (
    BLOCKED,
    NULL,
    REMOVED,
    TEXTS,
    ChoiceScreen,
    Members,
    Pairs,
    harmless,
    mute,
    read_list,
    read_number,
    read_object,
    read_text,
)
from airboss.governance.tokens import Tokens
from airboss.providers.known_text import LEARNT_MAX
from airboss.providers.lenient import without_halves

SPARED: frozenset[Names] = frozenset(
    {
        ("model",),
        ("user",),
        ("safety_identifier",),
        ("prompt_cache_key",),
        ("metadata", "user_id"),
        ("metadata", "session_id"),
    }
)
"""What identifies the caller, the session or the model in a request: no text, and not masked."""

_ANSWER_NAMED: frozenset[Names] = frozenset({("id",), ("object",), ("model",)})
"""What identifies an answer and is no text."""
_HEADS_KEPT = 16
_HEAD = ("id", "object", "created", "model", "system_fingerprint", "service_tier", "usage")

_encode = msgspec.json.Encoder().encode


class RequestScreened(msgspec.Struct, frozen=True, kw_only=True):
    """A request, screened. `body` is what may go upstream and into the record: of a blocked one, which goes
    nowhere, it is the masked body."""

    body: bytes
    findings: tuple[PolicyFinding, ...]
    blocked: bool


def screen_request(policy: ScreeningPolicy, body: bytes, tokens: Tokens | None = None) -> RequestScreened:
    """The request of a call, as bytes of valid JSON; the same object where nothing changed.

    `tokens` are needed where the policy tokenizes; they are sealed afterwards.
    """
    screened = _screened(policy, body, tokens)
    if tokens is not None:
        tokens.seal()
    return screened


def screen_labels(policy: ScreeningPolicy, labels: bytes, tokens: Tokens | None = None) -> RequestScreened:
    """What labels a call beside its body, a JSON object, as a request's `metadata` is screened. It is done
    before the request, whose screening seals the `tokens`."""
    screened = _screened(policy, b'{"metadata":%s}' % labels, tokens)
    return msgspec.structs.replace(screened, body=screened.body[len(b'{"metadata":') : -1])


def _screened(policy: ScreeningPolicy, body: bytes, tokens: Tokens | None) -> RequestScreened:
    findings = Findings(policy)
    screened = screen_json(policy, body, where="request", findings=findings, tokens=tokens, spared=SPARED)
    data = screened.data
    if screened.blocked:
        masks = masking(policy)
        data = screen_json(masks, body, where="request", findings=Findings(masks), spared=SPARED).data
    return RequestScreened(body=data, findings=findings.listed(), blocked=screened.blocked)


def _without_changed_thoughts(before: bytes, after: bytes) -> bytes:
    """A whole answer without the signed thoughts of each message where they are not what was signed: their
    provider would refuse them."""
    top = read_object(msgspec.Raw(after)) or {}
    said = read_object(msgspec.Raw(before)) or {}
    choices = read_list(top.get("choices"))
    changed = False
    for old, new in zip(read_list(said.get("choices")), choices, strict=True):
        signed = (read_object(old.get("message")) or {}).get("thinking_blocks")
        message = read_object(new.get("message")) or {}
        if signed is not None and bytes(message["thinking_blocks"]) != bytes(signed):
            del message["thinking_blocks"]
            new["message"] = msgspec.Raw(_encode(message))
            changed = True
    return _encode({**top, "choices": choices}) if changed else after


WRITTEN_SPARED = SPARED | {("previous_response_id",)}
"""The same of a request in a dialect other than chat."""


def screen_written(
    policy: ScreeningPolicy, written: bytes, tokens: Tokens | None, *, blocked: bool
) -> RequestScreened:
    """A request in a dialect other than chat, as it may be recorded, and go on where it goes so: its text is
    screened like the chat that is made of it, before that and with the same placeholders. `blocked`: the call
    is, so that nothing of its values may be kept."""
    if not policy.acting:
        return RequestScreened(body=written, findings=(), blocked=blocked)
    findings = Findings(policy)
    screened = screen_json(
        policy, written, where="request", findings=findings, tokens=tokens, spared=WRITTEN_SPARED
    )
    data, blocked = screened.data, blocked or screened.blocked
    if blocked:
        masks = masking(policy)
        data = screen_json(
            masks, written, where="request", findings=Findings(masks), spared=WRITTEN_SPARED
        ).data
    return RequestScreened(body=data, findings=findings.listed(), blocked=blocked)


class Passed(msgspec.Struct, frozen=True):
    """Two versions of one piece of an answer: for the record, and for the client, who gets its own values
    back for their placeholders. The same object twice where there are none. `text`: all that the recorded one
    says, where it is an event of a known kind."""

    recorded: bytes
    given: bytes
    text: str | None = None


class AnswerScreen:
    """Screens one attempt's answer: `whole` once, or `event` for each event and `end` after the last.

    `blocked` says that a choice was cut for what it held; `over` that nothing more is to come. `in_turn`: a
    stream's thoughts go to their end before its words begin.
    """

    def __init__(
        self,
        policy: ScreeningPolicy,
        tokens: Tokens | None = None,
        *,
        several: bool = False,
        in_turn: bool = False,
    ) -> None:
        self._policy = policy
        self._tokens = tokens
        self._several = several
        self._in_turn = in_turn
        self._restores = bool(tokens is not None and tokens.originals)
        self._findings = Findings(policy)
        self._streams: dict[int, ChoiceScreen] = {}
        self._head: Members = {}
        self._heads: dict[bytes, msgspec.Raw] = {}
        """Members of heads, without values."""
        self._known: KnownEvent | None = None
        self._learnt = 0
        self.blocked = False

    @property
    def findings(self) -> tuple[PolicyFinding, ...]:
        """What was found up to now."""
        found = Findings(self._policy)
        found.merge(self._findings)
        for choice in self._streams.values():
            choice.tell(found)
        return found.listed()

    @property
    def acts(self) -> bool:
        """Whether what is found is not only noted."""
        return bool(self._policy.acting)

    @property
    def over(self) -> bool:
        """Whether the only choice there is was blocked."""
        return self.blocked and not self._several

    def whole(self, body: bytes) -> Passed:
        """A whole answer, valid JSON but for halves of characters."""
        if not self._policy.acting:
            screen_json(
                self._policy, body, where="response", findings=self._findings, spared=_ANSWER_NAMED,
                emptied=frozenset({"heard"}),  # which says the same once more (`dialects.heard`)
            )  # fmt: skip
            return Passed(body, body)
        if b"\\u" in body:
            body = without_halves(body)
        found = Findings(self._policy)
        screened = screen_json(
            self._policy, body, where="response", findings=found,
            tokens=self._tokens, opaque=_ANSWER_NAMED, emptied=REMOVED,
        )  # fmt: skip
        if screened.blocked:
            self.blocked = True
            return self._passed(self._prefixes(body))
        self._findings.merge(found)
        if b'"thinking_blocks"' in body and screened.data != body:
            return self._passed(_without_changed_thoughts(body, screened.data))
        return self._passed(screened.data)

    def _passed(self, data: bytes) -> Passed:
        if self._tokens is None or not self._restores:
            return Passed(data, data)
        return Passed(data, restore_json(self._tokens, data))

    def _prefixes(self, body: bytes) -> bytes:
        """A whole answer of which something is blocked: of each choice the texts up to that."""
        top = read_object(msgspec.Raw(body)) or {}
        begun: Members = {name: self._masked(top[name], name) for name in _HEAD if name in top}
        choices = [self._prefix(each) for each in read_list(top.get("choices"))]
        return _encode({**begun, "choices": msgspec.Raw(_encode(choices))})

    def _masked(self, raw: msgspec.Raw, name: str) -> msgspec.Raw:
        """A member that is no text of the answer: a role, a reason or a count may hold a value too."""
        masks = masking_again(self._policy)
        member = screen_json(
            masks, _encode({name: raw}), where="response", findings=Findings(masks), opaque=_ANSWER_NAMED
        ).data
        return (read_object(msgspec.Raw(member)) or {}).get(name, NULL)

    def _prefix(self, choice: Members) -> Members:
        kept: Members = {
            name: self._masked(choice[name], name) for name in ("index", "finish_reason") if name in choice
        }
        message = read_object(choice.get("message"))
        at = ("response", "choices")
        blocked = False
        if "text" in choice:
            kept["text"], blocked = self._begun(choice["text"], (*at, "text"))
        if message is not None:
            said: Members = {"role": self._masked(message["role"], "role")} if "role" in message else {}
            for name in TEXTS:
                if name in message:
                    said[name], cut = self._begun(message[name], (*at, "message", name))
                    blocked = blocked or cut
            calls = message.get("tool_calls")
            if calls is not None and not blocked:
                screened = self._calls(calls, (*at, "message", "tool_calls"))
                blocked = screened is None
                said |= {} if screened is None else {"tool_calls": screened}
            kept["message"] = msgspec.Raw(_encode(said))
        if blocked:
            kept["finish_reason"] = BLOCKED
        return kept

    def _begun(self, raw: msgspec.Raw, at: tuple[str, ...]) -> tuple[msgspec.Raw, bool]:
        text = read_text(raw)
        if not text:
            return NULL, False
        screened = screen_text(self._policy, text, self._tokens)
        self._findings.add(screened.findings, at)
        return msgspec.Raw(_encode(screened.text)), screened.blocked

    def _calls(self, raw: bytes, at: tuple[str, ...]) -> msgspec.Raw | None:
        """Tool calls, screened; None if they are blocked."""
        screened = screen_json(
            self._policy, bytes(raw), where=".".join(at), findings=self._findings, tokens=self._tokens
        )
        return None if screened.blocked else msgspec.Raw(screened.data)

    # -- a stream

    def event(self, data: bytes) -> list[Passed]:
        """The data of an event: the data of the events that take its place, each in one line."""
        data = data.replace(b"\n", b" ")  # between its members: what passes unread is no text's
        if not self._policy.acting:
            self._look_at(data)
            return [Passed(data, data)]
        top = read_object(msgspec.Raw(data))
        if top is None or self.over:
            return []
        heads = {name: self._clean(top[name]) for name in _HEAD if name in top}
        rest = {
            name: heads.get(name, raw)
            for name, raw in top.items()
            if name in heads or (name != "choices" and mute(raw) and harmless(name))
        }
        self._head = {name: raw for name, raw in heads.items() if name != "usage"}
        flushed: Pairs = []
        passed: Pairs = []
        for member in read_list(top.get("choices")):
            choice = self._choice(member)
            if choice.ended:
                continue
            before, after = choice.take(member)
            flushed += before
            passed += after
            self.blocked = self.blocked or choice.blocked
            self._learn(data, top, choice, rest)
        passed += self._unasked()
        out = [self._event(self._head, flushed)] if flushed else []
        if passed or bytes(rest.get("usage", NULL)) != b"null" or not read_list(top.get("choices")):
            out.append(self._event(rest, passed))
        return out

    def _clean(self, raw: msgspec.Raw) -> msgspec.Raw:
        """A member of a head, as `identifier`; every event has the same."""
        if mute(raw):
            return raw
        data = bytes(raw)
        clean = self._heads.get(data)
        if clean is None:
            clean = msgspec.Raw(identifier(self._policy, data))
            if len(self._heads) < _HEADS_KEPT:
                self._heads[data] = clean
        return clean

    def known(self, data: bytes) -> tuple[KnownEvent, str] | None:
        """The kind and the text of an event like one before it; None of any other."""
        known = self._known
        text = known.text_in(data) if known is not None and not known.over else None
        if known is None or text is None or (known.silent and not text):
            return None
        return known, text

    @property
    def next(self) -> KnownEvent | None:
        """The kind of which the next event likely is, where something may be done about its text."""
        known = self._known
        return None if known is None or known.over or not self._policy.acting else known

    def _learn(self, data: bytes, top: Members, choice: ChoiceScreen, rest: Members) -> None:
        if self._learnt < LEARNT_MAX and not choice.ended:
            self._learnt += 1
            self._known = learn(data, top, choice, head=self._head, rest=rest) or self._known

    def more(self, data: bytes, known: KnownEvent, text: str) -> list[Passed]:
        """As `event`, of one of a known kind that says this text."""
        recorded, given = known.text.feed(text)
        if not self._policy.acting:
            return [Passed(data, data, text)]
        if known.text.screen.blocked:
            return self.cut(known, recorded, given)
        if not recorded and not known.silent:
            return []
        said = known.saying(recorded)
        return [Passed(said, said if given is recorded else known.saying(given), recorded)]

    def cut(self, known: KnownEvent, recorded: str, given: str) -> list[Passed]:
        """What goes on of an event of a known kind that is blocked by its text, of which this goes on."""
        self.blocked = known.choice.blocked = True
        begun, cut = known.choice.cut({known.name: (recorded, given)})
        cut += self._unasked()
        return [*([self._event(known.head, begun)] if begun else ()), self._event(known.rest, cut)]

    def _unasked(self) -> Pairs:
        """The ends of choices beside the only one that was asked for: nothing more of them is to come."""
        begun = [choice for choice in self._streams.values() if not choice.ended] if self.over else []
        return [pair for choice in begun for pair in choice.cut({})[1]]

    def end(self) -> list[Passed]:
        """The stream has ended: look at what is still held of choices that have not. They broke off, and none
        of it goes on, as it may be the beginning of a value."""
        for choice in self._streams.values():
            if not choice.ended:
                choice.rest()
        self.blocked = self.blocked or any(choice.blocked for choice in self._streams.values())
        return []

    def _choice(self, member: Members) -> ChoiceScreen:
        index = read_number(member.get("index"))
        choice = self._streams.get(index)
        if choice is None:
            choice = self._streams[index] = ChoiceScreen(
                index, self._policy, self._tokens, in_turn=self._in_turn
            )
        return choice

    def _look_at(self, data: bytes) -> None:
        top = read_object(msgspec.Raw(data)) or {}
        for member in read_list(top.get("choices")):
            choice = self._choice(member)
            if choice.ended:  # and goes on all the same
                choice.tell(self._findings)
                del self._streams[read_number(member.get("index"))]
                choice = self._choice(member)
            choice.take(member)
            self._learn(data, top, choice, {})

    def _event(self, head: Members, pairs: Pairs) -> Passed:
        recorded = _encode({**head, "choices": [pair[0] for pair in pairs]})
        if not self._restores:
            return Passed(recorded, recorded)
        return Passed(recorded, _encode({**head, "choices": [pair[1] for pair in pairs]}))
