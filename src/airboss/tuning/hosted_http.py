"""One provider's files and fine-tuning jobs over HTTP: one attempt a call, with its failure in words.

What is shown of a provider's answer is bounded, and never has the key in it, should the provider repeat it.
"""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import Any, Final

import httpx2

from airboss.providers.faults import USED_UP
from airboss.tuning.ports import TrainingFailed

CONNECT_S: Final = 15.0
READ_S: Final = 60.0
UPLOAD_S: Final = 600.0
ANSWER_S: Final = 120.0
"""So long may an answer take from the call to its last byte; an upload UPLOAD_S longer."""
ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
SAID_CHARS_MAX: Final = 300
AFTER_S_MAX: Final = 300.0

Json = dict[str, Any]


class Transient(Exception):
    """The same call may fare better later. `unsure`: the provider may have done it all the same."""

    def __init__(self, words: str, *, after_s: float | None = None, unsure: bool = False) -> None:
        super().__init__(words)
        self.after_s = after_s
        self.unsure = unsure


class Missing(TrainingFailed):
    """The provider knows no such thing, or has no such route."""


class Provider:
    """The files and jobs of the provider called `name`, at `base_url`, with a key. Close it with `close`.

    Every call raises Transient, or TrainingFailed where trying again cannot help; of these Missing for a 404.
    """

    def __init__(self, name: str, base_url: str, key: str | None) -> None:
        self.name = name
        self._key = key
        self._base = base_url.rstrip("/")
        # As gateways speak to it: without proxies and redirects that the environment or others may name.
        self._client = httpx2.Client(
            trust_env=False,
            follow_redirects=False,
            verify=ssl.create_default_context(),
            timeout=httpx2.Timeout(READ_S, connect=CONNECT_S),
            headers={"authorization": f"Bearer {key}"} if key else {},
        )

    def get(self, path: str, params: dict[str, str] | None = None) -> Json:
        """GET."""
        return self._call("GET", path, params=params or {})

    def post(self, path: str, body: Json) -> Json:
        """POST of JSON."""
        return self._call("POST", path, json=body)

    def delete(self, path: str) -> Json:
        """DELETE."""
        return self._call("DELETE", path)

    def upload(self, file: Path, filename: str) -> Json:
        """Give the provider a file to fine-tune with."""
        with file.open("rb") as content:
            return self._call(
                "POST",
                "/files",
                data={"purpose": "fine-tune"},
                files={"file": (filename, content, "application/jsonl")},
                timeout=httpx2.Timeout(UPLOAD_S, connect=CONNECT_S),
            )

    def close(self) -> None:
        """Give back connections."""
        self._client.close()

    def _call(self, method: str, path: str, **more: Any) -> Json:
        until = time.monotonic() + (UPLOAD_S if "files" in more else 0) + ANSWER_S
        try:
            with self._client.stream(method, f"{self._base}{path}", **more) as response:
                body = bytearray()
                for piece in response.iter_bytes():
                    body += piece
                    if len(body) > ANSWER_BYTES_MAX:
                        raise TrainingFailed(f"provider {self.name!r} answers {path} with too much to read")
                    if time.monotonic() > until:  # each piece in time, and no end
                        raise Transient(f"provider {self.name!r} does not end its answer", unsure=True)
                return self._read(method, path, response, bytes(body))
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise Transient(f"provider {self.name!r} cannot be reached: {type(error).__name__}") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            words = f"the connection to provider {self.name!r} broke: {type(error).__name__}"
            raise Transient(words, unsure=True) from error

    def _read(self, method: str, path: str, response: httpx2.Response, body: bytes) -> Json:
        status = response.status_code
        try:
            value = httpx2.Response(status, content=body).json()
        except (ValueError, RecursionError):  # the latter where it is nested without end
            value = None
        if 200 <= status < 300 and isinstance(value, dict):
            return value
        code, said = self._error(value, body)
        words = f"provider {self.name!r} answers {method} {path} with {status}{said}"
        if status == 429 and code in USED_UP:
            raise TrainingFailed(f"{words}; its quota is used up: raise it there, then run this again")
        if status == 429:
            raise Transient(words, after_s=_after(response.headers.get("retry-after")))
        if status in {408, 409, 425} or status >= 500 or 200 <= status < 300:
            after = _after(response.headers.get("retry-after"))
            raise Transient(words, after_s=after, unsure=True)
        if status in {401, 403}:
            raise TrainingFailed(f"{words}; give it an api_key that may upload files and fine-tune")
        if status in {404, 405}:
            raise Missing(f"{words}; does it fine-tune this model, in OpenAI's way?")
        raise TrainingFailed(words)

    def _error(self, value: Any, body: bytes) -> tuple[str | None, str]:
        """A provider's error: its code, and its words after a colon."""
        told = value.get("error") if isinstance(value, dict) else None
        if isinstance(told, dict):
            code, message = told.get("code") or told.get("type"), str(told.get("message") or "")
        else:
            code, message = None, str(told or body.decode("utf-8", "replace"))
        message = self.clean(message)
        return (code if isinstance(code, str) else None), f": {message}" if message else ""

    def clean(self, said: str) -> str:
        """A provider's words on one line, of bounded length, without the key."""
        if self._key:
            said = said.replace(self._key, "[REDACTED]")
        return " ".join(said.split())[:SAID_CHARS_MAX]


def _after(value: str | None) -> float | None:
    """Seconds of a `retry-after`, bounded; None where it gives none."""
    try:
        seconds = float(value or "")
    except ValueError:
        return None
    return min(max(seconds, 0.0), AFTER_S_MAX) if seconds == seconds else None  # noqa: PLR0124 - NaN is none
