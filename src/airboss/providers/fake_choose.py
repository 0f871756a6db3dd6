"""Which answer a request gets: header, then message, then model name, then script, then the default."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from airboss.domain.errors import ApiError, MethodNotAllowed, NotFound
from airboss.providers import fake_faults
from airboss.providers.fake_answers import Asked, Call, read_call
from airboss.providers.fake_faults import HEADER, Behaviour
from airboss.providers.fake_plays import plan
from airboss.providers.fake_script import Script
from airboss.providers.fake_shelf import Shelf, is_shelved
from airboss.providers.fake_tongues import is_foreign, read_foreign, refusal
from airboss.providers.fake_tuned import TuningPlay
from airboss.providers.fake_wire import End, Step, refuse, respond

POSTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
CACHE_ENTRIES_MAX = 256
CACHE_BODY_BYTES_MAX = 16 * 1024
COUNTED_MAX = 10_000

AZURE = re.compile(r"/openai/deployments/[^/]+(/chat/completions|/completions|/embeddings)")
FOREIGN = (
    "audio, images, moderations, files, batches, fine_tuning, /v1/responses, /v1/messages, /v1beta/models/…, "
    "/model/…/converse and /openai/deployments/…"
)

RawHeaders = Sequence[tuple[bytes, bytes]]
"""Request headers as they came."""


class Prepared(msgspec.Struct, frozen=True):
    """An answer ready to be played, and the fault that it shows."""

    fault: str
    steps: tuple[Step, ...]


class Chooser:
    """Prepares answers. The same request gets the same bytes, so good answers are kept: with a benchmark's
    one body over and over, choosing costs one look-up."""

    def __init__(self, clock: Callable[[], float], default: Behaviour) -> None:
        self.script = Script(clock)
        self.shelf = Shelf(clock)
        self._default = default
        self._kept: dict[tuple[bytes, bytes], Prepared] = {}
        self._calls: dict[tuple[str, Behaviour], int] = {}

    def tuning(self, play: TuningPlay) -> None:
        """How fine-tuning jobs run from now on."""
        self.shelf.tuned.runs(play)

    def reset(self) -> None:
        """Forget the script, the files, what was trained and the counts of `first`."""
        self.script.clear()
        self.shelf.clear()
        self._calls.clear()

    def prepare(self, method: bytes, target: bytes, headers: RawHeaders, body: bytes) -> Prepared:
        """The answer to a request. Never raises: what is wrong with the request becomes the answer."""
        line = header(headers, HEADER)
        if line is None and not self.script.waits:
            kept = self._kept.get((target, body))
            if kept is not None:
                return kept
        try:
            return self._prepare(method, target, headers, body, line)
        except ApiError as error:
            said = refusal(target.decode("latin-1").partition("?")[0], error)
            no = refuse(error) if said is None else respond(error.http_status, said)
            return Prepared("ok", (no, End.KEEP))

    def _prepare(
        self, method: bytes, target: bytes, headers: RawHeaders, body: bytes, line: str | None
    ) -> Prepared:
        path, _, query = target.decode("latin-1").partition("?")
        authorization = header(headers, "authorization") or ""
        make = None
        if is_shelved(path):
            call, make = self.shelf.read(
                method.decode("latin-1"),
                target.decode("latin-1"),
                body,
                content_type=header(headers, "content-type") or "",
                authorization=authorization,
            )
        else:
            call = self._read(method, path, body, authorization)
        if query == "redirected=1":
            behaviour = Behaviour()
        elif line is not None:
            behaviour = fake_faults.from_line(line)
        else:
            behaviour = self._asked(call)
        counted = behaviour.first is not None
        if behaviour.first is not None and self._count(call, behaviour) > behaviour.first:
            behaviour = msgspec.structs.replace(behaviour, fault="ok")
        if make is not None and not refused(behaviour):
            call = msgspec.structs.replace(call, made=make())
        prepared = Prepared(behaviour.fault, plan(call, behaviour))
        same_again = line is None and not counted and not self.script.waits and path in POSTS
        if same_again and behaviour.fault == "ok" and len(body) <= CACHE_BODY_BYTES_MAX:
            self._keep((target, body), prepared)
        return prepared

    def _read(self, method: bytes, path: str, body: bytes, authorization: str) -> Call:
        if takes_calls(path):
            if method != b"POST":
                raise MethodNotAllowed(f"{path} takes POST, not {method.decode('latin-1')}")
            return read_foreign(path, body, authorization) or read_call(path, body, authorization)
        if path == "/v1/models" or path.startswith("/v1/models/"):
            return Call(path=path, asked=Asked(), id="models", authorization=authorization)
        raise NotFound(f"no route {path}; there are {', '.join(POSTS)}, /v1/models, /_fake/… and {FOREIGN}")

    def _asked(self, call: Call) -> Behaviour:
        asked = fake_faults.from_text(call.last_user_text) or fake_faults.from_model(call.asked.model)
        if asked is None and takes_calls(call.path):
            asked = self.script.next(call.asked.model, lambda: call.all_text)
        trained = self.shelf.tuned.says(call.asked.model, call.last_user_text) if call.path in POSTS else None
        if trained is not None and (asked is None or asked.text is None):
            asked = msgspec.structs.replace(asked or Behaviour(), text=trained)
        return asked or self._default

    def _count(self, call: Call, behaviour: Behaviour) -> int:
        if len(self._calls) >= COUNTED_MAX:
            self._calls.clear()
        key = (call.asked.model, behaviour)
        self._calls[key] = self._calls.get(key, 0) + 1
        return self._calls[key]

    def _keep(self, request: tuple[bytes, bytes], prepared: Prepared) -> None:
        if len(self._kept) >= CACHE_ENTRIES_MAX:
            self._kept.clear()
        self._kept[request] = prepared


def refused(behaviour: Behaviour) -> bool:
    """Whether a call is refused, so that nothing of it is done; what merely breaks may have been."""
    kept = {"429", "429-no-retry-after", "context-length", "content-filter", "echo-authorization"}
    return behaviour.fault in kept or (behaviour.fault == "status" and behaviour.status < 500)


def takes_calls(path: str) -> bool:
    """Whether a route answers calls of a model."""
    return path in POSTS or is_shelved(path) or AZURE.fullmatch(path) is not None or is_foreign(path)


def header(headers: RawHeaders, wanted: str) -> str | None:
    """The first header of that name, in lower case given, or None."""
    name = wanted.encode()
    size = len(name)
    for key, value in headers:
        if len(key) == size and key.lower() == name:
            return value.decode("latin-1")
    return None
