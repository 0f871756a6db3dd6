"""One embedding engine in this process: a sentence model on onnxruntime, behind OpenAI's `/v1/embeddings`.

A text is computed by itself, never padded to its neighbours' length: the same text has the same vector
whatever else was asked with it. And texts of several callers take turns, so that who sends two thousand at
once keeps nobody waiting for all of them.
"""

from __future__ import annotations

import base64
import logging
import signal
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final, NoReturn

import anyio.to_thread
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from airboss.config.embedders import Embedder
from airboss.config.extras import install
from airboss.domain.errors import ApiError, InvalidRequest, SetupError
from airboss.replicas.cores import usable_cores
from airboss.replicas.llamacpp import end_with_parent, refuse_port_in_use
from airboss.replicas.wordpiece import WordPiece

INPUTS_MAX: Final = 2048
"""Texts in one request, as with OpenAI."""
CHARS_MAX: Final = 64 * 1024
"""A longer text is not even cut into tokens: no model here reads as many."""

FORMS: Final = ("float", "base64")
"""How vectors are written."""

_log = logging.getLogger("airboss.replica")


class _Asked(msgspec.Struct):
    input: str | list[str | int | list[int]]
    encoding_format: str | None = None
    dimensions: int | None = None


_asked = msgspec.json.Decoder(_Asked)
_encode = msgspec.json.Encoder().encode

Compute = Callable[[list[int]], Any]
"""The vector of one text's tokens, as a numpy array of float32."""
Steps = Generator[None, None, bytes]
"""An answer that is made in steps, a text each, and returned at the end. Raises InvalidRequest."""


class Vectors:
    """What the engine answers: pure but for `compute`."""

    def __init__(self, kind: Embedder, tokenizer: WordPiece, compute: Compute, *, alias: str) -> None:
        self._kind = kind
        self._tokenizer = tokenizer
        self._compute = compute
        self._alias = alias

    def answer(self, body: bytes) -> Steps:
        """The answer to a request."""
        try:
            asked = _asked.decode(body)
        except msgspec.DecodeError as error:
            raise InvalidRequest(f"the body is not what this route takes: {error}") from None
        form = asked.encoding_format or "float"
        if form not in FORMS:
            raise InvalidRequest(
                f"'encoding_format' is {form[:100]!r}; it is {' or '.join(FORMS)}", param="encoding_format"
            )
        if asked.dimensions is not None and asked.dimensions != self._kind.dimensions:
            raise InvalidRequest(
                f"'dimensions' is {asked.dimensions}, and this model's vectors have {self._kind.dimensions}; "
                "leave it out",
                param="dimensions",
            )
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        if not texts or len(texts) > INPUTS_MAX:
            raise InvalidRequest(
                f"'input' has {len(texts)} texts; send 1 to {INPUTS_MAX} at once", param="input"
            )
        tokens = []
        for at, text in enumerate(texts):
            tokens.append(self._tokens(at, text))
            yield
        data = []
        for index, ids in enumerate(tokens):
            data.append({"object": "embedding", "index": index, "embedding": self._said(ids, form)})
            yield
        used = sum(map(len, tokens))
        usage = {"prompt_tokens": used, "total_tokens": used}
        return _encode({"object": "list", "data": data, "model": self._alias, "usage": usage})

    def _tokens(self, at: int, text: str | int | list[int]) -> list[int]:
        if not isinstance(text, str):
            raise InvalidRequest(
                "'input' is tokens of another model's tokenizer; send text (LangChain: "
                "check_embedding_ctx_length=False)",
                param="input",
            )
        if not text:
            raise InvalidRequest(f"'input' {at} is empty; send a text", param="input")
        ids = self._tokenizer.ids(text) if len(text) <= CHARS_MAX else []
        if 0 < len(ids) <= self._kind.max_tokens:
            return ids
        has = f"{len(ids)} tokens" if ids else f"{len(text)} characters"
        raise InvalidRequest(
            f"'input' {at} has {has}, and this model reads {self._kind.max_tokens} tokens; cut it into parts",
            code="context_length_exceeded",
            param="input",
        )

    def _said(self, ids: list[int], form: str) -> list[float] | str:
        vector = self._compute(ids)
        if form == "base64":
            return base64.b64encode(vector.astype("<f4").tobytes()).decode()
        said: list[float] = vector.tolist()
        return said


def serve(
    *, weights: Path, tokenizer: Path, kind: Embedder, port: int, alias: str, threads: int | None = None
) -> NoReturn:
    """Serve the model at `weights` on 127.0.0.1:`port` until SIGTERM or the parent's end; never returns.

    `GET /health` answers 200 once the model is loaded. Must be called from the main thread. Raises SetupError
    if onnxruntime is not installed, or for files or a port that are no good.
    """
    end_with_parent()
    refuse_port_in_use(port)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    compute = load(weights, threads=threads)
    vectors = Vectors(kind, WordPiece.read(tokenizer.read_bytes()), compute, alias=alias)
    if compute(vectors._tokenizer.ids("ready")).shape != (kind.dimensions,):
        raise SetupError(
            f"{weights} does not give vectors of {kind.dimensions} numbers; is it another model?"
        )
    _log.info("replica %s answers at http://127.0.0.1:%d", alias, port)
    uvicorn.run(
        app(vectors), host="127.0.0.1", port=port, log_level="warning", access_log=False, lifespan="off"
    )
    raise SystemExit(0)


def load(weights: Path, *, threads: int | None) -> Compute:
    """The model, ready to compute. Raises SetupError."""
    try:
        import numpy as np  # noqa: PLC0415 - an extra, which only this role has
        import onnxruntime  # noqa: PLC0415 - as above
    except ImportError:
        raise SetupError(
            f"local embeddings need onnxruntime: {install('semantic')}, then start again."
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or max(1, usable_cores() - 1)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others want the cores too
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own, of no common kind
        raise SetupError(f"the engine cannot load {weights}: {error}") from error
    names = {each.name for each in session.get_inputs()}
    one_at_a_time = threading.Lock()

    def compute(ids: list[int]) -> Any:
        tokens = np.array([ids], dtype=np.int64)
        given = {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}
        if "token_type_ids" in names:
            given["token_type_ids"] = np.zeros_like(tokens)
        with one_at_a_time:
            hidden = session.run(None, given)[0][0]
        mean = hidden.mean(axis=0)
        return (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)

    return compute


def _stepped(steps: Steps) -> bytes | None:
    """Go one step; the answer, if that was the last."""
    try:
        next(steps)
    except StopIteration as end:
        said: bytes = end.value
        return said
    return None


def app(vectors: Vectors) -> Starlette:
    """The engine's routes."""
    pool = anyio.CapacityLimiter(1)

    async def embeddings(request: Request) -> Response:
        body = await request.body()
        steps, said = vectors.answer(body), None
        try:
            while said is None:
                # The pool serves who came first, so that each step waits behind one of every other caller's.
                said = await anyio.to_thread.run_sync(_stepped, steps, limiter=pool)
                if await request.is_disconnected():
                    return Response(status_code=499)  # to nobody
        except ApiError as error:
            shape = {"message": error.message, "type": error.type, "code": error.code, "param": error.param}
            return Response(_encode({"error": shape}), error.http_status, media_type="application/json")
        return Response(said, media_type="application/json")

    async def health(_request: Request) -> Response:
        return Response(b'{"status":"ok"}', media_type="application/json")

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/slots", health),
            Route("/v1/embeddings", embeddings, methods=["POST"]),
        ]
    )
