"""A worker's line to its process that finds names (`names_model.py`), which it starts, and again when it
dies.

Whoever asks waits for a bounded time, beside a bounded number of others, and is refused where that is not
enough: nothing that was not looked at counts as free of names.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from airboss.governance.names import Names, Spans, away
from airboss.governance.names_wire import (
    LENGTH,
    MESSAGE_BYTES_MAX,
    Ask,
    Broken,
    Found,
    Ready,
    answers,
    framed,
)

COMMAND: tuple[str, ...] = (sys.executable, "-m", "airboss.governance.names_model")
ANSWER_S: Final = 30.0
"""Who asks waits for so long, for all that is asked at once."""
START_S: Final = 60.0
AGAIN_S: Final = 1.0
"""Between the end of a process and the start of the next."""
STUCK_S: Final = 20.0
"""A process that was asked and says nothing for so long is ended."""
BATCH: Final = 16
"""Pieces a message: those who ask at the same time take turns with as many."""
TURN: Final = 512
"""So many are looked up before others have a turn."""
WAITING_MAX: Final = 256
"""So many may ask at the same time."""
KNOWN_MAX: Final = 32_768
"""Pieces of which it is kept what was found, under their digests: a chat says its history again and again."""
_KEPT: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LANG", "LC_ALL", "TMPDIR", "HOME")

log = logging.getLogger("airboss.gateway")


class Recogniser:
    """Finds names. `start` it in a running loop, and use it there only."""

    def __init__(self) -> None:
        self._known: dict[bytes, Spans] = {}
        self._asked: dict[int, asyncio.Future[tuple[Spans, ...]]] = {}
        self._number = self._waiting = 0
        self._process: asyncio.subprocess.Process | None = None
        self._ready = asyncio.Event()
        self._wrong = ""
        """Why there is no process."""
        self._keeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Have a process from now on."""
        if self._keeping is None:
            self._keeping = asyncio.get_running_loop().create_task(self._keep(), name="names")

    async def close(self) -> None:
        """End the process."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)

    async def learn(self, names: Names) -> None:
        """Find what `names` is missing, in the order in which it was written down. Raises Unavailable, with
        some of it found."""
        lacking: list[str] = []
        for number, piece in enumerate(names.missing, 1):
            if not self._remembers(piece, names.known):
                lacking.append(piece)
            if number % TURN == 0:  # megabytes of text are as many pieces as take half a second
                await asyncio.sleep(0)
        names.missing.clear()
        if not lacking:
            return
        if self._waiting >= WAITING_MAX:
            raise away(f"{self._waiting} others wait for that")
        self._waiting += 1
        try:
            async with asyncio.timeout(ANSWER_S):
                for at in range(0, len(lacking), BATCH):
                    pieces = lacking[at : at + BATCH]
                    for piece, spans in zip(pieces, await self._ask(pieces), strict=True):
                        names.known[piece] = spans
                        self._remember(piece, spans)
        except TimeoutError:
            raise away(f"it takes over {ANSWER_S:g} s") from None
        finally:
            self._waiting -= 1

    def _remembers(self, piece: str, known: dict[str, Spans]) -> bool:
        key = _key(piece)
        spans = self._known.pop(key, None)
        if spans is None:
            return False
        self._known[key] = known[piece] = spans  # the newest again
        return True

    def _remember(self, piece: str, spans: Spans) -> None:
        self._known[_key(piece)] = spans
        if len(self._known) > KNOWN_MAX:
            del self._known[next(iter(self._known))]

    async def _ask(self, pieces: Sequence[str]) -> tuple[Spans, ...]:
        if self._wrong:
            raise away(self._wrong)
        await self._ready.wait()
        process = self._process
        if process is None or process.stdin is None:
            raise away(self._wrong or "what finds them has ended")
        self._number += 1
        number = self._number
        answer: asyncio.Future[tuple[Spans, ...]]
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            process.stdin.write(framed(Ask(number, tuple(map(_sayable, pieces)))))
            return await answer
        except (OSError, RuntimeError):  # it has just ended, and that is not known yet
            raise away("what finds them has ended") from None
        finally:
            self._asked.pop(number, None)

    async def _keep(self) -> None:
        said = ""
        while True:
            wrong = "what finds them cannot be started"
            try:
                wrong = await self._run()
            except TimeoutError:
                wrong = f"what finds them says nothing for {STUCK_S:g} s"
            except OSError as error:
                wrong = f"what finds them cannot be started: {error}"
            except (asyncio.IncompleteReadError, msgspec.DecodeError, ValueError):
                wrong = "what finds them has ended"
            finally:
                self._lost(wrong)
            if wrong != said:
                said = wrong
                log.warning("names cannot be looked for: %s", wrong)
            await asyncio.sleep(AGAIN_S)

    async def _run(self) -> str:
        """One process, from its start to its end. Returns why it cannot find names; raises what ended it."""
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=_environment(os.environ),
        )
        try:
            assert process.stdout is not None  # it was asked for
            async with asyncio.timeout(START_S):
                ready = await _heard(process.stdout)
            if not isinstance(ready, Ready) or ready.wrong:
                return ready.wrong if isinstance(ready, Ready) else "what finds them has lost its way"
            self._process, self._wrong = process, ""
            self._ready.set()
            log.info("names can be looked for")
            while True:
                self._answered(await self._next(process.stdout))
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            if process.stdin is not None:
                with suppress(OSError):  # of what could not be sent; else the loop would log it
                    await process.stdin.wait_closed()

    async def _next(self, stdout: asyncio.StreamReader) -> Ready | Found | Broken:
        """The next message. Raises TimeoutError where one is due."""
        hearing = asyncio.ensure_future(_heard(stdout))
        try:
            while True:
                asked = next(iter(self._asked), None)
                done, _ = await asyncio.wait({hearing}, timeout=STUCK_S)
                if done:
                    return hearing.result()
                if asked is not None and asked in self._asked:
                    raise TimeoutError
        finally:
            hearing.cancel()

    def _answered(self, message: Ready | Found | Broken) -> None:
        if isinstance(message, Ready):
            return
        asked = self._asked.get(message.number)
        if asked is None or asked.done():  # who asked has gone
            return
        if isinstance(message, Found):
            asked.set_result(message.spans)
        else:
            asked.set_exception(away(f"what finds them failed of a {message.error}"))

    def _lost(self, wrong: str) -> None:
        self._process, self._wrong = None, wrong
        self._ready.clear()
        asked, self._asked = self._asked, {}
        for each in asked.values():
            if not each.done():
                each.set_exception(away(wrong))


async def _heard(stdout: asyncio.StreamReader) -> Ready | Found | Broken:
    length = int.from_bytes(await stdout.readexactly(LENGTH), "little")
    if length > MESSAGE_BYTES_MAX:
        raise ValueError(f"a message of {length} bytes")
    message: Ready | Found | Broken = answers.decode(await stdout.readexactly(length))
    return message


def _sayable(piece: str) -> str:
    """A piece as UTF-8 can say it, of the same length: halves of characters are nobody's name."""
    return piece.encode("utf-8", "replace").decode() if not piece.isascii() else piece


def _key(piece: str) -> bytes:
    return hashlib.blake2b(piece.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """What the process is told: where its code is, and no secret. One thread is quicker for short pieces."""
    kept = {name: ours[name] for name in _KEPT if name in ours}
    return kept | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "BLIS_NUM_THREADS": "1"}
