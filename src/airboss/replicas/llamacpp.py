"""One model engine in this process: llama.cpp's own HTTP server, from xllamacpp, on loopback.

A replica is a process of its own, because the engine is C++ that may abort, computes with threads of its own,
and holds the interpreter's lock while it loads a model.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from airboss.domain.errors import SetupError
from airboss.replicas.cores import usable_cores
from airboss.replicas.gguf import check_adapter, read_metadata
from airboss.replicas.health import moving

LIFELINE_VARIABLE: Final = "AIRBOSS_LIFELINE_FD"
DEFAULT_SLOTS: Final = 4
DEFAULT_CONTEXT_TOKENS: Final = 8192
"""Shared by the slots. The starter model's context costs 23 KB a token: 184 MB of RSS for these 8,192."""
LEAST_SLOT_TOKENS: Final = 64
BATCH_TOKENS: Final = 128
"""Prompt tokens that are read at once. In between the engine looks for news: a client that has gone, another
slot's next token. With its own 2,048, a prompt whose client had gone was read to its end, for 6 to 13 s on a
busy core; with 128 that took 1 to 2 s, and reading it all took no longer (9.6 s, with 512 9.0 s)."""
STALL_S: Final = 60.0
"""A batch takes a second or two. But a schema whose pattern nests repetitions, `^((a?){30}){30}$`, stops the
engine for good, and every other call with it."""

_log = logging.getLogger("airboss.replica")


class EngineShape(msgspec.Struct, frozen=True, kw_only=True):
    """How big an engine is: `slots` answers at once, each with its share of `context_tokens`."""

    context_tokens: int
    slots: int
    threads: int

    @property
    def slot_tokens(self) -> int:
        """Prompt and answer of one request together may have this many tokens."""
        return self.context_tokens // self.slots


def shape(
    *,
    context_tokens: int | None,
    slots: int | None,
    threads: int | None,
    trained_context: int | None,
    cores: int,
) -> EngineShape:
    """Fill what the configuration leaves open.

    Threads are `cores - 1`: with as many threads as cores, on a machine that did something else besides,
    llama.cpp's spin barriers took it from 55 to 4 tokens/s. No slot gets more context than the model was
    trained for. Raises SetupError for numbers that make no engine.
    """
    slots = DEFAULT_SLOTS if slots is None else slots
    threads = max(1, cores - 1) if threads is None else threads
    if slots < 1 or threads < 1:
        raise SetupError(f"slots = {slots} and threads = {threads}: both must be at least 1.")
    if context_tokens is None:
        context_tokens = DEFAULT_CONTEXT_TOKENS
    if trained_context is not None:
        context_tokens = min(context_tokens, trained_context * slots)
    if context_tokens // slots < LEAST_SLOT_TOKENS:
        raise SetupError(
            f"context_tokens = {context_tokens} over {slots} slots leaves {context_tokens // slots} tokens"
            f" for a request; give at least {LEAST_SLOT_TOKENS * slots}, or fewer slots."
        )
    return EngineShape(context_tokens=context_tokens, slots=slots, threads=threads)


def engine_version() -> str:
    """The engine and its version as a release names it, for example `llama.cpp (xllamacpp 2026.10.11549)`."""
    from importlib.metadata import version  # noqa: PLC0415 - 20 ms, and only releases ask

    return f"llama.cpp (xllamacpp {version('xllamacpp')})"


def serve(
    *,
    weights: Path,
    port: int,
    alias: str,
    adapters: Sequence[Path] = (),
    context_tokens: int | None = None,
    slots: int | None = None,
    threads: int | None = None,
    stall_s: float = STALL_S,
) -> NoReturn:
    """Serve the model at `weights` on 127.0.0.1:`port` until SIGTERM or the parent's end; never returns.

    `adapters` are LoRA files that are added to the weights, each with its whole effect.
    The server answers `GET /health` with 503 while the model loads and 200 after, and OpenAI's routes under
    `/v1`, where the model is called `alias`. It ends with status 0. When the descriptor named by
    AIRBOSS_LIFELINE_FD reads end-of-file, the parent is gone and this process ends at once. An engine that
    does nothing for `stall_s` seconds ends with status 1, for its supervisor to start it anew.
    Must be called from the main thread. Raises SetupError if weights, adapters, port or shape are no good.
    """
    end_with_parent()
    metadata = read_metadata(weights)
    for adapter in adapters:
        check_adapter(adapter, metadata)
    size = shape(
        context_tokens=context_tokens,
        slots=slots,
        threads=threads,
        trained_context=metadata.context_tokens,
        cores=usable_cores(),
    )
    refuse_port_in_use(port)
    # Loading holds the interpreter's lock, so that a Python handler could not run: until the model is loaded,
    # the default effect of these signals ends the process at once.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    server = start(weights, adapters, port, alias, size)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    # `signal.pause` would not hear what comes to a thread of the engine's, or just before it begins to wait.
    signal.set_wakeup_fd(wake)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    if not _log.isEnabledFor(logging.DEBUG):
        _hush()
    _end_when_stalled(server.listening_address, stall_s)
    _log.info(
        "replica %s answers at %s: %d slots of %d tokens, %d threads",
        alias, server.listening_address, size.slots, size.slot_tokens, size.threads,
    )  # fmt: skip
    while True:
        os.read(woken, 1)


def start(weights: Path, adapters: Sequence[Path], port: int, alias: str, size: EngineShape) -> Any:
    """The engine's server in this process, ready; it ends with the process. Raises SetupError."""
    # A library of 100 MB that only this process loads; it has no type stubs.
    import xllamacpp  # type: ignore[import-untyped]  # noqa: PLC0415

    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(each), 1.0) for each in adapters]
    params.model_alias = {alias}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_ctx = size.context_tokens
    params.n_parallel = size.slots
    # One shared context would let a request grow to all of it, but when it runs out the engine fails every
    # request in flight with a 500. Split, only the one that is too long is refused, with a 400.
    params.kv_unified = False
    params.n_batch = params.n_ubatch = BATCH_TOKENS
    params.ctx_shift = False
    params.cpuparams.n_threads = size.threads
    params.cpuparams_batch.n_threads = size.threads
    params.warmup = True
    params.use_jinja = True
    # A cache of old prompts outside the slots may grow to 8 GB by default. A slot keeps its own last prompt.
    params.cache_ram_mib = 0
    params.ui = False
    params.endpoint_slots = True
    params.endpoint_metrics = True
    params.endpoint_props = False
    # No page in a browser has business with this port; the default lets them all read the answers.
    params.cors_origins = f"http://127.0.0.1:{port}"
    params.cors_origins_explicit = True
    params.cors_credentials = False
    # 1 keeps errors (why a model does not load), 4 says everything.
    params.verbosity = 4 if _log.isEnabledFor(logging.DEBUG) else 1
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise SetupError(
            f"the engine cannot load {' and '.join(map(str, (weights, *adapters)))} with"
            f" {size.context_tokens} tokens of context: {error}"
            " See its own lines above, lower context_tokens if memory is short, or run it alone with"
            " `airboss replica serve` at log level debug."
        ) from error


def refuse_port_in_use(port: int) -> None:
    """Raises SetupError if something listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SetupError(
                f"the replica's port 127.0.0.1:{port} cannot be used: {error.strerror}. Stop what uses it;"
                f" `ss -ltnp 'sport = :{port}'` tells what that is."
            ) from error


def _stop(_number: int, _frame: object) -> NoReturn:
    # Not sys.exit: the engine's destructors would wait for answers in flight, and nothing here needs saving.
    os._exit(0)


def _hush() -> None:
    """Let the engine's own prints go nowhere, and our log where it went.

    At every log level the engine prints a grammar or schema that it refuses, word for word, and text of a
    request must not reach a log.
    """
    ours = os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr:
            handler.setStream(ours)
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = ours


def _end_when_stalled(url: str, stall_s: float) -> None:
    pause = threading.Event()

    def watch() -> None:
        while moving(url, timeout_s=stall_s):
            pause.wait(min(5.0, stall_s))
        _log.error("the engine has done nothing for %g s, so it ends, to be started anew", stall_s)
        os._exit(1)

    threading.Thread(target=watch, name="watch", daemon=True).start()


def end_with_parent() -> None:
    """End at once when the descriptor named by AIRBOSS_LIFELINE_FD reads end-of-file."""
    lifeline = os.environ.get(LIFELINE_VARIABLE)
    if lifeline is None:
        return

    def wait() -> None:
        try:
            while os.read(int(lifeline), 1):
                pass
        finally:
            os._exit(0)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
