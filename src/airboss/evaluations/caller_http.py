"""Calls releases over HTTP, at an OpenAI-compatible endpoint: the running gateway."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx2
import msgspec

from airboss.evaluations.datasets import Json
from airboss.evaluations.paid_once import FORGOTTEN
from airboss.evaluations.ports import Answer, Call, Token
from airboss.providers.cut import cut
from airboss.providers.faults import USED_UP

BODY_BYTES_MAX: Final = 16 * 1024 * 1024
ERROR_CHARS_MAX: Final = 300
ATTEMPTS_MAX: Final = 4
BROKEN_MAX: Final = 2
"""Attempts at a call whose connection breaks. It may have been begun and paid, but what broke is the way to
the gateway, or a worker of it: that says nothing of the release, which would be blamed for it."""

PAUSE_S: Final = 0.5
PAUSE_S_MAX: Final = 30.0
LOGPROBS_MAX: Final = 16
"""Tokens of an answer whose probabilities are kept."""
RELEASE_HEADER: Final = "x-airboss-release"
SHADOW_HEADER: Final = "x-airboss-shadow-of"
KEY_HEADER: Final = "x-airboss-key"
USER_HEADER: Final = "x-airboss-user"
TEST_HEADER: Final = "x-airboss-test"
LIMIT: Final = "max_tokens"
COOL: Final = "temperature"
UNSUPPORTED: Final = re.compile(rf"400: Unsupported (?:parameter|value): '({LIMIT}|{COOL})'")
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class _Failed(Exception):
    """No answer, because of the text. `again_after_s` is set where asking again may help, until there were
    `attempts`."""

    def __init__(
        self, cause: str, again_after_s: float | None = None, *, attempts: int = ATTEMPTS_MAX
    ) -> None:
        super().__init__(cause)
        self.again_after_s = again_after_s
        self.attempts = attempts


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: Any = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None
    logprobs: Any = None


class _Alternative(msgspec.Struct):
    token: str
    logprob: float


class _Token(msgspec.Struct):
    token: str
    logprob: float
    top_logprobs: list[_Alternative] = []


class _Logprobs(msgspec.Struct):
    content: list[_Token] | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


class HttpCaller:
    """`ports.Caller` on `base_url`, which ends with `/v1`. Close it with `aclose`.

    The release goes in the header `x-airboss-release`. An answer that does not name the same release is an
    error, unless `confirm` is off (for endpoints that are no gateway): else an evaluation could compare a
    release with itself and not know. `verify` is as httpx has it. `timeout_s` spans a call with its repeats;
    only what was turned away (429, 503, no connection) is asked again, unless because a quota is used up, and
    once what broke; not of a person who was `forgotten` since the call began, as that attempt would be newer
    than their erasure. The key never stands in an answer.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        timeout_s: float = 120.0,
        confirm: bool = True,
        verify: ssl.SSLContext | bool = True,
        forgotten: Callable[[str, datetime], bool] = lambda _user, _began_at: False,
    ) -> None:
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._key = api_key
        self._timeout_s = timeout_s
        self._confirm = confirm
        self._forgotten = forgotten
        self._refused: dict[tuple[str, str], set[str]] = {}
        """What a release of a deployment has refused of a call's parameters."""
        # Time is bounded once, by `asyncio.timeout`; how many calls there are at once is the run's to say.
        self._client = httpx2.AsyncClient(
            timeout=None,
            limits=httpx2.Limits(max_connections=None),
            headers={"authorization": f"Bearer {api_key}", "content-type": "application/json"},
            verify=verify,
            # A proxy between us and this machine itself would get the key for nothing.
            trust_env=urlsplit(base_url).hostname not in LOOPBACK,
        )

    async def call(self, call: Call) -> Answer:
        """As `Caller.call`."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._patiently(call)
        except TimeoutError:
            answer = Answer(error=f"no answer within {self._timeout_s:g} s")
        except _Failed as failed:
            answer = Answer(error=str(failed))
        if answer.latency_ms:
            return answer
        return msgspec.structs.replace(answer, latency_ms=(time.monotonic() - started) * 1000)

    async def again(self, path: str, body: bytes, *, of: str, key: str) -> str | None:
        """Ask the shadow of the deployment that `body` names what the call `of` asked with `key`, at `path`
        under the base URL. What comes is read and thrown away: its record tells. Returns why nobody
        answered."""
        url = self._url.removesuffix("/chat/completions") + path
        headers = {SHADOW_HEADER: of, KEY_HEADER: quote(key)}
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream("POST", url, content=body, headers=headers) as response,
            ):
                async for _ in response.aiter_raw():
                    pass
        except (httpx2.TransportError, TimeoutError) as error:
            return repr(error)
        return None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _patiently(self, call: Call) -> Answer:
        attempt, began_at = 1, datetime.now(UTC)
        while True:
            fitted = self._fitted(call)
            try:
                return await self._once(fitted)
            except _Failed as failed:
                if self._learned(fitted, str(failed)):
                    continue
                if failed.again_after_s is None or attempt >= failed.attempts:
                    raise
                pause = max(failed.again_after_s, PAUSE_S * 2 ** (attempt - 1))
                await asyncio.sleep(min(pause, PAUSE_S_MAX))
                if call.user is not None and await asyncio.to_thread(self._forgotten, call.user, began_at):
                    raise _Failed(FORGOTTEN) from failed
                attempt += 1

    def _learned(self, call: Call, cause: str) -> bool:
        """Whether a call failed for what its release can do without, which is then left out of every call."""
        found = UNSUPPORTED.match(cause)
        if found is None or found[1] not in call.params or (found[1] == COOL and call.params[COOL] != 0):
            return False
        self._refused.setdefault((call.target.deployment, served(call)), set()).add(found[1])
        return True

    def _fitted(self, call: Call) -> Call:
        """The call as its release takes it: models of OpenAI's that think name the limit otherwise, and
        refuse a temperature, also the 0 that nobody asked for."""
        refused = self._refused.get((call.target.deployment, served(call)), set())
        params = {name: value for name, value in call.params.items() if name not in refused}
        if LIMIT in refused and LIMIT in call.params:
            params["max_completion_tokens"] = call.params[LIMIT]
        if COOL in refused and call.params.get(COOL, 0) != 0:
            params[COOL] = call.params[COOL]
        return msgspec.structs.replace(call, params=params) if refused else call

    async def _once(self, call: Call) -> Answer:
        started = time.monotonic()
        headers = {RELEASE_HEADER: served(call)}
        if call.tests:
            headers[TEST_HEADER] = "1"
        if call.user and self._confirm:  # the gateway keeps it to itself, and another endpoint would not
            headers[USER_HEADER] = quote(call.user)
        try:
            async with self._client.stream(
                "POST", self._url, content=encoded(call), headers=headers
            ) as response:
                body = await self._read(response)
                answered, status = response.headers, response.status_code
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise _Failed(f"no connection to {self._url}: {error}", again_after_s=0.0) from error
        except httpx2.TransportError as error:
            cause = f"the connection broke: {error or type(error).__name__}"
            raise _Failed(cause, again_after_s=0.0, attempts=BROKEN_MAX) from error
        if status != 200:
            waits = status in {429, 503} and not used_up(body)
            again = retry_after(answered.get("retry-after")) if waits else None
            raise _Failed(f"{status}: {error_text(body)}", again)
        answered_by = answered.get(RELEASE_HEADER)
        if self._confirm and answered_by != call.target.release:
            raise _Failed(
                f"asked for release {call.target.release} of {call.target.deployment!r}, answered by "
                f"{answered_by}; is {self._url} the gateway, and the release published there?"
            )
        return read_answer(body, answered, latency_ms=(time.monotonic() - started) * 1000)

    async def _read(self, response: httpx2.Response) -> bytes:
        body = bytearray()
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > BODY_BYTES_MAX:
                raise _Failed(f"the answer has more than {BODY_BYTES_MAX} bytes")
        return bytes(body).replace(self._key.encode(), b"[REDACTED]") if self._key else bytes(body)


def request_body(call: Call) -> Json:
    """The request. The call's parameters win over the item's; what a release forces wins at the gateway.

    An item of variables alone is sent with an empty user message: the routes want one at least.
    """
    messages = list(call.input.messages) or [{"role": "user", "content": ""}]
    body: Json = {**call.input.params, **call.params, "model": call.target.deployment, "messages": messages}
    if call.input.variables:
        body["prompt_variables"] = call.input.variables
    if call.varied is not None:
        body["release_variant"] = call.varied.variant
    return body


def encoded(call: Call) -> bytes:
    """The request's bytes."""
    return msgspec.json.encode(request_body(call))


def served(call: Call) -> str:
    """The digest of the release that the gateway knows."""
    return call.target.release if call.varied is None else call.varied.release


def read_answer(body: bytes, headers: Mapping[str, str], *, latency_ms: float) -> Answer:
    """The answer in a chat completion; one without is an error."""
    try:
        completion = msgspec.json.decode(body, type=_Completion)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Answer(error=f"no chat completion came back: {error}")
    if not completion.choices:
        return Answer(error="a chat completion without choices came back")
    choice, usage = completion.choices[0], completion.usage or _Usage()
    return Answer(
        text=choice.message.content or "",
        refusal=choice.message.refusal or None,
        finish_reason=choice.finish_reason,
        tool_calls=choice.message.tool_calls,
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cost_usd=money(headers.get("x-airboss-cost-usd")),
        latency_ms=latency_ms,
        release=headers.get(RELEASE_HEADER),
        record=headers.get("x-request-id"),
        logprobs=read_logprobs(choice.logprobs),
    )


def read_logprobs(given: Any) -> tuple[Token, ...] | None:
    """The first tokens of an answer with their probabilities; None where there are none that can be read."""
    try:
        content = msgspec.convert(given, _Logprobs | None)
    except msgspec.ValidationError:
        return None
    if content is None or not content.content:
        return None
    return tuple(
        Token(
            token=each.token,
            logprob=each.logprob,
            top={other.token: other.logprob for other in each.top_logprobs},
        )
        for each in content.content[:LOGPROBS_MAX]
    )


def money(text: str | None) -> Decimal | None:
    """A sum in a header, None where there is none that can be read."""
    try:
        value = Decimal(text) if text else None
    except InvalidOperation:
        return None
    return value if value is not None and value.is_finite() else None


def error_text(body: bytes) -> str:
    """The message in an error's body, or its beginning."""
    try:
        found = msgspec.json.decode(body)
        message = found["error"]["message"]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, IndexError):
        message = body.decode("utf-8", "replace")
    return cut(" ".join(str(message).split()), ERROR_CHARS_MAX)


def used_up(body: bytes) -> bool:
    """Whether an error's body says that credit, a quota or a budget is used up, which no wait mends."""
    try:
        found = msgspec.json.decode(body)["error"]
        return found.get("code") in USED_UP or found.get("type") in USED_UP
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        return False


def retry_after(text: str | None) -> float:
    """The seconds to wait that a response asks for; 0 where it does not, or gives a date."""
    try:
        seconds = float(text or 0)
    except ValueError:
        return 0.0
    return seconds if 0 <= seconds < float("inf") else 0.0
