"""Answers of Gemini's `generateContent`, whole and streamed, as OpenAI's chat answers. Pure.

A stream has no last word: it ends after the piece that says why. A prompt that is blocked has no candidates
and becomes a refusal with code `content_filter`; an answer that is cut for safety ends with that reason.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from airboss.config.tiers import tier_named
from airboss.domain.errors import UpstreamFailed, UpstreamRefused
from airboss.providers import lenient
from airboss.providers.chat_answer import (
    ChatWriter,
    FinishReason,
    Json,
    encode,
    error_of,
    tool_call,
    usage_of,
    whole_choice,
)
from airboss.providers.cut import beginning, cut
from airboss.providers.dialect import DONE
from airboss.providers.usage import Tokens

FILTERED = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "ESCALATION",
        "PUP_LIMITED_DISABLED",
        "MODEL_ARMOR",
    }
)
"""Why an answer was cut that the client may not have."""
BROKEN = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "MALFORMED_RESPONSE",
        "OTHER",
        "IMAGE_OTHER",
        "NO_IMAGE",
    }
)
"""Why an answer is none: what the model wrote could not be read, or nobody knows."""
STATUS: Mapping[str, int] = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_TOO_LONG = re.compile(r"exceeds the maximum number of (input )?tokens|token count .* exceeds", re.IGNORECASE)
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s")


class _Call(msgspec.Struct):
    name: str = ""
    args: Any = None
    id: str | None = None


class _Media(msgspec.Struct, rename="camel"):
    mime_type: str = ""
    data: str = ""


class _Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    thought: bool = False
    thought_signature: str | None = None
    function_call: _Call | None = None
    inline_data: _Media | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] = []


class _Token(msgspec.Struct, rename="camel"):
    token: str = ""
    log_probability: float = 0.0


class _Tops(msgspec.Struct):
    candidates: list[_Token] = []


class _Logprobs(msgspec.Struct, rename="camel"):
    chosen_candidates: list[_Token] = []
    top_candidates: list[_Tops] = []


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    index: int = 0
    logprobs_result: _Logprobs | None = None


class _Usage(msgspec.Struct, rename="camel"):
    prompt_token_count: Tokens | None = None
    cached_content_token_count: Tokens = 0
    candidates_token_count: Tokens | None = None
    thoughts_token_count: Tokens = 0
    tool_use_prompt_token_count: Tokens = 0
    service_tier: Any = None
    traffic_type: Any = None
    """What Vertex says in its place."""

    @property
    def tier(self) -> str:
        """The tier of service, "" for the usual one."""
        said = [each.lower() for each in (self.service_tier, self.traffic_type) if isinstance(each, str)]
        return tier_named(*(each.removeprefix("on_demand_") for each in said))


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class _Response(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    usage_metadata: _Usage | None = None
    prompt_feedback: _Feedback | None = None
    model_version: str = ""
    response_id: str = ""
    error: Any = None


class _Error(msgspec.Struct):
    message: Any = None
    status: Any = None
    code: Any = None
    details: Any = None


class _Envelope(msgspec.Struct):
    error: _Error | None = None


_response = msgspec.json.Decoder(_Response)
_envelope = msgspec.json.Decoder(_Envelope | list[_Envelope])


class GeminiReader:
    """Reads one answer to `asked`, the request's body. `answer_tool` as in `AnthropicReader`."""

    def __init__(
        self, created: int, *, model: str, asked: bytes = b"", answer_tool: str | None = None
    ) -> None:
        self._write = ChatWriter(created)
        self._answer_tool = answer_tool
        self._model = model
        self._asked = asked
        self._named = False
        self._usage: _Usage | None = None
        self._calls: dict[int, int] = {}
        self._reasons: dict[int, FinishReason] = {}
        self._begun: set[int] = set()
        self._images: dict[int, int] = {}
        self._spoke = False
        """Whether there is anything that counts as output, besides thoughts."""

    def whole(self, body: bytes) -> bytes:
        """A whole answer. Raises UpstreamRefused where the prompt was blocked."""
        said = self._read(body)
        if said.error is not None or said.candidates is None:
            return self.error(200, body)
        if (broken := _broken(said)) is not None:
            return broken
        choices = []
        for candidate in said.candidates:
            texts, thoughts, calls, images = self._parts(candidate)
            finish = self._reason(candidate)
            choices.append(
                whole_choice(
                    index=candidate.index,
                    finish=finish or "stop",
                    content="".join(texts) if texts or not (calls or images) else None,
                    reasoning="".join(thoughts) or None,
                    tool_calls=[_numberless(call) for call in calls] or None,
                    logprobs=_logprobs(candidate.logprobs_result),
                    extra={"images": images} if images else None,
                )
            )
        return self._write.whole(choices, self.told())

    def event(self, data: bytes) -> list[bytes]:
        """One event. Raises UpstreamRefused where the prompt was blocked."""
        said = self._read(data)
        if said.error is not None:
            return [self.error(200, data)]
        made = []
        for candidate in said.candidates or ():
            texts, thoughts, calls, images = self._parts(candidate)
            index = candidate.index
            if index not in self._begun:
                self._begun.add(index)
                made.append(self._write.chunk({"content": None}, index=index))
            made += [self._write.chunk({"reasoning_content": text}, index=index) for text in thoughts]
            logprobs = _logprobs(candidate.logprobs_result)
            for text in texts:
                made.append(self._write.chunk({"content": text}, index=index, logprobs=logprobs))
                logprobs = None
            made += [self._write.chunk({"images": [image]}, index=index) for image in images]
            made += [self._write.chunk({"tool_calls": [call]}, index=index) for call in calls]
            reason = self._reason(candidate)
            if reason is not None:
                self._reasons[index] = reason
        broken = _broken(said)
        if broken is None:
            return made
        self._reasons.clear()  # it has not ended so
        return [*made, broken]

    def end(self) -> list[bytes]:
        """Why each answer ended, and the usage; nothing where the stream was cut."""
        if not self._reasons or self._begun - self._reasons.keys():
            return []
        made = [self._write.chunk({}, index=i, finish=why) for i, why in sorted(self._reasons.items())]
        usage = self.told()
        if usage is not None:
            made.append(self._write.usage_chunk(usage))
        return [*made, DONE]

    def _read(self, data: bytes) -> _Response:
        said = lenient.answered(_response, data, "not one of Gemini's")
        if said.response_id:
            self._write.id, self._named = said.response_id, True
        elif not self._named:
            # Not Gemini itself. Calls are named for it, and must be told apart over a conversation's turns.
            name = hashlib.blake2b(self._asked, digest_size=8).hexdigest()
            self._write.id, self._named = f"{self._write.created}-{name}", True
        self._write.model = said.model_version or self._model
        if said.usage_metadata is not None:
            self._usage = said.usage_metadata
        blocked = said.prompt_feedback.block_reason if said.prompt_feedback is not None else None
        if blocked is not None and not said.candidates:
            raise UpstreamRefused(
                f"the provider blocked the prompt: {blocked}",
                upstream_status=400,
                code="content_filter",
                param="messages",
            )
        return said

    def _parts(self, candidate: _Candidate) -> tuple[list[str], list[str], list[Json], list[Json]]:
        """What a candidate says: texts, thoughts, calls with their numbers, and pictures with theirs. Raises
        UpstreamRefused for what chat has no words for. Pictures that it drew while it thought are none."""
        texts, thoughts, calls, images = list[str](), list[str](), list[Json](), list[Json]()
        for part in candidate.content.parts if candidate.content is not None else ():
            if part.function_call is not None and part.function_call.name == self._answer_tool:
                texts.append(encode(part.function_call.args or {}).decode())
            elif part.function_call is not None:
                number = self._calls.get(candidate.index, 0)
                self._calls[candidate.index] = number + 1
                calls.append(self._call(part, part.function_call, candidate.index, number))
            elif part.inline_data is not None and not part.thought:
                number = self._images.get(candidate.index, 0)
                self._images[candidate.index] = number + 1
                images.append(_image(part.inline_data, number))
            elif part.text:
                (thoughts if part.thought else texts).append(part.text)
        self._spoke = self._spoke or bool(texts or calls or images)
        return texts, thoughts, calls, images

    def _call(self, part: _Part, called: _Call, index: int, number: int) -> Json:
        # Gemini tells calls apart by their order; a client of OpenAI's dialect needs a name for each.
        id_ = called.id or f"call_{self._write.id}_{index}_{number}"
        made = {"index": number, **tool_call(id_, called.name, encode(called.args or {}).decode())}
        if part.thought_signature is not None:
            made["extra_content"] = {"google": {"thought_signature": part.thought_signature}}
        return made

    def _reason(self, candidate: _Candidate) -> FinishReason | None:
        reason = candidate.finish_reason
        if reason is None or reason == "FINISH_REASON_UNSPECIFIED":
            return None
        if reason in FILTERED:
            return "content_filter"
        if reason in {"MAX_TOKENS", "CONTINUATION"}:
            return "length"
        return "tool_calls" if self._calls.get(candidate.index) else "stop"

    def told(self) -> Json | None:
        """The usage as far as it has been told: each event says all of it anew, but for counts of nothing.
        None where a count is missing, or is none."""
        usage = self._usage
        if usage is None or usage.prompt_token_count is None:
            return None
        if usage.candidates_token_count is None and self._spoke:
            return None
        prompt = usage.prompt_token_count + usage.tool_use_prompt_token_count
        return usage_of(
            uncached=max(0, prompt - usage.cached_content_token_count),
            cached=usage.cached_content_token_count,
            output=(usage.candidates_token_count or 0) + usage.thoughts_token_count,
            reasoning=usage.thoughts_token_count,
            tier=usage.tier,
        )

    def error(self, status: int, body: bytes) -> bytes:
        """An error; inside of a stream its status is its code. Raises UpstreamFailed where it is about our
        key, which they call the caller's mistake."""
        try:
            read = _envelope.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            text = " ".join(beginning(body, 200).split())
            shown = f"an answer that is not JSON: {text!r}" if text else "an empty answer"
            return error_of(shown, type_="api_error", code=502 if status == 200 else None)
        envelope = read if isinstance(read, _Envelope) else read[0] if read else _Envelope()
        said = envelope.error or _Error()
        message = said.message if isinstance(said.message, str) else f"{beginning(body, 200)!r}"
        known = said.status if isinstance(said.status, str) else ""
        if "API_KEY_INVALID" in str(said.details) or message.startswith("API key"):
            raise UpstreamFailed(
                f"the provider refused our credentials: {message}; check its api_key", code="upstream_auth"
            )
        code: str | int | None = STATUS.get(known, 502) if status == 200 else None
        if _TOO_LONG.search(message):
            code = "context_length_exceeded"
        type_ = "rate_limit_error" if known == "RESOURCE_EXHAUSTED" else "invalid_request_error"
        if STATUS.get(known, status) >= 500:
            type_ = "server_error"
        return error_of(message, type_=type_, code=code, retry_after_s=_retry_after(said.details))


def _image(media: _Media, number: int) -> Json:
    """A picture as a part of a message."""
    if not media.mime_type.startswith("image/"):
        raise UpstreamRefused(
            f"the model answered with {cut(media.mime_type, 60)!r}, which no dialect here has words for; ask "
            "a model that answers with text or images",
            upstream_status=400,
            code="content_unsupported",
            param="model",
        )
    url = f"data:{media.mime_type};base64,{media.data}"
    return {"type": "image_url", "index": number, "image_url": {"url": url}}


def _broken(said: _Response) -> bytes | None:
    """The error of an answer that is none, as its reason to stop says."""
    for candidate in said.candidates or ():
        if candidate.finish_reason in BROKEN:
            why = candidate.finish_message or "asking again may help"
            return error_of(f"the answer broke off ({candidate.finish_reason}): {why}", code=502)
    return None


def _retry_after(details: Any) -> float | None:
    """The wait that an error's RetryInfo asks for."""
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        found = _SECONDS.fullmatch(delay) if isinstance(delay, str) else None
        if found is not None:
            return float(found[1])
    return None


def _numberless(call: Json) -> Json:
    return {name: value for name, value in call.items() if name != "index"}


def _logprobs(said: _Logprobs | None) -> Json | None:
    if said is None:
        return None
    tops = [[_token(each) for each in top.candidates] for top in said.top_candidates]
    return {
        "content": [
            {**_token(chosen), "top_logprobs": tops[at] if at < len(tops) else []}
            for at, chosen in enumerate(said.chosen_candidates)
        ],
        "refusal": None,
    }


def _token(said: _Token) -> Json:
    return {"token": said.token, "logprob": said.log_probability, "bytes": list(said.token.encode())}
