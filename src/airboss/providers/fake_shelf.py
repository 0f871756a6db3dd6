"""The fake provider's other routes of OpenAI's: audio, images, moderations, files, batches, fine-tuning.

Files and fine-tuning jobs are kept in memory until a reset; all else follows from the request alone. A
request asks for a fault in its `input` or `prompt`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from email.parser import BytesParser
from typing import Any
from urllib.parse import parse_qs

from airboss.domain.errors import InvalidRequest, MethodNotAllowed, NotFound
from airboss.providers import fake_answers as answers
from airboss.providers.fake_answers import Asked, Call, Made
from airboss.providers.fake_tuned import Tuned

IMAGES_MAX = 10
"""In one answer."""
FILES_MAX = 100
JSON = "application/json"
_PATHS = re.compile(
    r"(?:/v1|/openai(?:/deployments/[^/]+)?)/(audio/(?:speech|transcriptions|translations)|"
    r"images/(?:generations|edits|variations)|moderations|rerank|files(?:/[^/]+(?:/content)?)?|"
    r"batches(?:/[^/]+(?:/cancel)?)?|fine_tuning/jobs(?:/[^/]+(?:/(?:events|cancel))?)?)"
)
_PIXEL = base64.b64encode(b"\x89PNG fake").decode()

Json = dict[str, Any]


def is_shelved(path: str) -> bool:
    """Whether a route is one of these."""
    return _PATHS.fullmatch(path) is not None


class Shelf:
    """The files, and the models that were trained with them. `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._files: dict[str, tuple[Json, bytes]] = {}
        self.tuned = Tuned(clock, self._content)

    def clear(self) -> None:
        """Forget them."""
        self._files.clear()
        self.tuned.clear()

    def _content(self, name: str) -> bytes | None:
        return self._files[name][1] if name in self._files else None

    def read(
        self, method: str, target: str, body: bytes, *, content_type: str, authorization: str
    ) -> tuple[Call, Callable[[], Made]]:
        """A request, and what does it and makes its answer. Both raise InvalidRequest, NotFound and
        MethodNotAllowed."""
        path, _, query = target.partition("?")
        found = _PATHS.fullmatch(path)
        assert found is not None  # `is_shelved` has been asked
        fields, files = _fields(content_type, body)
        text = str(fields.get("input") or fields.get("prompt") or "")
        model = str(fields.get("model") or "")
        digest = hashlib.blake2b(body, digest_size=12).hexdigest()
        asked = Asked(model=model, prompt=text)
        call = Call(path=path, asked=asked, id=digest, authorization=authorization)
        return call, lambda: self._made(method, found[1], {**_asked(query), **fields}, files)

    def _made(self, method: str, route: str, fields: Json, files: dict[str, bytes]) -> Made:
        noun, _, rest = route.partition("/")
        if noun == "files":
            return self._file(method, rest, fields, files)
        if noun == "fine_tuning":
            return _json(self.tuned.answer(method, rest, fields))
        if method != "POST" and noun != "batches":
            raise MethodNotAllowed(f"{route} takes POST, not {method}")
        match noun:
            case "audio":
                return _audio(rest, fields, files)
            case "images":
                usage: Json = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
                data = [{"b64_json": _PIXEL}] * _images(fields.get("n"))
                return _json({"created": answers.CREATED, "data": data, "usage": usage})
            case "moderations" | "rerank":
                return _json(_moderated(fields) if noun == "moderations" else _ranked(fields))
        return _batch(method, rest, fields)

    def _file(self, method: str, rest: str, fields: Json, files: dict[str, bytes]) -> Made:
        if not rest and method == "POST":
            if "file" not in files or "purpose" not in fields:
                raise InvalidRequest("file and purpose are needed", param="file")
            if len(self._files) >= FILES_MAX:
                self._files.clear()
            data, filename = files["file"], str(fields.get("filename") or "fake")
            name = f"file-{hashlib.blake2b(filename.encode() + data, digest_size=8).hexdigest()}"
            told: Json = {"id": name, "object": "file", "bytes": len(data), "created_at": answers.CREATED}
            told |= {"filename": filename, "purpose": fields["purpose"], "status": "processed"}
            self._files[name] = (told, data)
            return _json(told)
        if not rest:
            wanted = fields.get("purpose")
            listed = [told for told, _ in self._files.values() if wanted in {None, told["purpose"]}]
            return _json({"object": "list", "data": listed, "has_more": False})
        name, _, content = rest.partition("/")
        if name not in self._files:
            raise NotFound(f"No such File object: {name}", param="id")
        told, data = self._files[name]
        if content:
            return Made("application/octet-stream", data)
        if method == "DELETE":
            del self._files[name]
            return _json({"id": name, "object": "file", "deleted": True})
        return _json(told)


def _moderated(fields: Json) -> Json:
    if "input" not in fields:
        raise InvalidRequest("input is missing", param="input")
    result = {"flagged": False, "categories": {"violence": False}, "category_scores": {}}
    return {"id": "modr-fake", "model": fields.get("model") or "omni-moderation-latest", "results": [result]}


def _ranked(fields: Json) -> Json:
    """Documents by how many of the query's words they have."""
    words, documents = set(str(fields.get("query", "")).split()), fields.get("documents")
    if not words or not isinstance(documents, list):
        raise InvalidRequest("query and documents are needed", param="query")
    texts = [str(each.get("text", "") if isinstance(each, dict) else each) for each in documents]
    scores = [len(words & set(text.split())) / len(words) for text in texts]
    best = sorted(range(len(texts)), key=lambda at: -scores[at])
    results = [{"index": at, "relevance_score": scores[at], "document": {"text": texts[at]}} for at in best]
    total = sum(len(text.split()) for text in texts) + len(words)
    return {"model": fields.get("model"), "results": results, "usage": {"total_tokens": total}}


def _audio(rest: str, fields: Json, files: dict[str, bytes]) -> Made:
    if rest == "speech":
        text = str(fields.get("input", ""))
        sound = b"ID3" + hashlib.blake2b(text.encode()).digest() * max(1, len(text))
        if fields.get("stream_format") == "sse":
            delta = {"type": "speech.audio.delta", "audio": base64.b64encode(sound).decode()}
            used: Json = {"input_tokens": 3, "output_tokens": 9, "total_tokens": 12}
            return _events(delta, {"type": "speech.audio.done", "usage": used})
        return Made("audio/mpeg", sound)
    if "file" not in files:
        raise InvalidRequest("file is missing", param="file")
    text = f"heard {len(files['file'])} bytes"
    usage: Json = {"type": "tokens", "input_tokens": 14, "output_tokens": 3, "total_tokens": 17}
    if fields.get("stream") == "true":
        delta = {"type": "transcript.text.delta", "delta": text}
        return _events(delta, {"type": "transcript.text.done", "text": text, "usage": usage})
    if fields.get("response_format") == "text":
        return Made("text/plain; charset=utf-8", f"{text}\n".encode())
    return _json({"text": text, "usage": usage})


def _batch(method: str, rest: str, fields: Json) -> Made:
    name, _, cancel = rest.partition("/")
    if not rest and method == "GET":
        return _json({"object": "list", "data": [], "has_more": False})
    if not rest and "input_file_id" not in fields:
        raise InvalidRequest("input_file_id is missing", param="input_file_id")
    made: Json = {"id": name or "batch_fake", "object": "batch", "created_at": answers.CREATED}
    made |= {"endpoint": fields.get("endpoint"), "input_file_id": fields.get("input_file_id")}
    made["status"] = "cancelling" if cancel else "completed" if rest else "validating"
    return _json(made)


def _fields(content_type: str, body: bytes) -> tuple[Json, dict[str, bytes]]:
    """A body's fields and files."""
    if not body:
        return {}, {}
    if not content_type.startswith("multipart/"):
        try:
            value = json.loads(body)
        except ValueError as error:
            raise InvalidRequest(f"the body is no JSON: {error}") from error
        return (value, {}) if isinstance(value, dict) else ({}, {})
    head = f"content-type: {content_type}\r\n\r\n".encode("latin-1")
    fields: Json = {}
    files: dict[str, bytes] = {}
    for part in BytesParser().parsebytes(head + body).walk():
        name = part.get_param("name", header="content-disposition")
        data = part.get_payload(decode=True)
        if not isinstance(name, str) or not isinstance(data, bytes):
            continue
        if part.get_filename() is None:
            fields[name] = data.decode("utf-8", "replace")
        else:
            files[name] = data
            fields["filename"] = part.get_filename()
    return fields, files


def _asked(query: str) -> Json:
    return {name: values[0] for name, values in parse_qs(query).items()}


def _images(wanted: Any) -> int:
    """How many images are wanted: a number, or in a form its digits."""
    try:
        number = int(wanted or 1)
    except (TypeError, ValueError, OverflowError):
        number = 0
    if not 1 <= number <= IMAGES_MAX:
        raise InvalidRequest(f"n must be 1 to {IMAGES_MAX}", param="n")
    return number


def _json(value: Json) -> Made:
    return Made(JSON, json.dumps(value).encode())


def _events(*events: Json) -> Made:
    data = b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events)
    return Made("text/event-stream", data)
