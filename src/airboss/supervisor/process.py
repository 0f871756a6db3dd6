"""One child process: started with a lifeline, its output read line by line, its end awaited."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio import SubprocessProtocol, SubprocessTransport
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from airboss.supervisor.lifeline import LIFELINE_ENV, SERVES_ENV, Lifeline, Word

LINE_BYTES_MAX = 64 * 1024
TAIL_LINES = 20

OnLine = Callable[[str, str], None]
"""Gets the child's name and one line that it printed, without its end."""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. `env` is added to our own environment; `pass_fds` keep their numbers in the child. With
    `tells` it says itself that it serves, and that it goes on (`lifeline.tell_it_serves`)."""

    name: str
    argv: tuple[str, ...]
    env: dict[str, str] = {}
    pass_fds: tuple[int, ...] = ()
    tells: bool = False


class _Heard(SubprocessProtocol):
    """What is heard of a process: its lines, the end of its output and its own end, which may come first."""

    def __init__(self, name: str, on_line: OnLine) -> None:
        self.ended, self.silent = asyncio.Event(), asyncio.Event()
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._name = name
        self._on_line = on_line
        self._rest = b""

    def pipe_data_received(self, _fd: int, data: bytes) -> None:
        """As asyncio calls it."""
        *lines, rest = (self._rest + data).split(b"\n")
        if len(rest) > LINE_BYTES_MAX:
            lines, rest = [*lines, rest], b""
        self._rest = rest
        for line in lines:
            self._line(line)

    def pipe_connection_lost(self, _fd: int, _error: Exception | None) -> None:
        """As asyncio calls it."""
        if self._rest:
            self._line(self._rest)
        self.silent.set()

    def process_exited(self) -> None:
        """As asyncio calls it."""
        self.ended.set()

    def _line(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r")
        self.tail.append(text)
        self._on_line(self._name, text)


class Child:
    """A started process. `tail` holds its last lines, so that a death can be explained."""

    def __init__(
        self, command: Command, process: SubprocessTransport, heard: _Heard, word: Word | None
    ) -> None:
        self.command = command
        self.tail = heard.tail
        self._process = process
        self._heard = heard
        self._word = word

    @classmethod
    async def start(cls, command: Command, *, lifeline: Lifeline, on_line: OnLine) -> Child:
        """Start it in a session of its own: Ctrl-C reaches the supervisor only, which ends children in order.

        Raises OSError if the program cannot be run.
        """
        word = Word() if command.tells else None
        fds = {LIFELINE_ENV: lifeline.read_fd} | ({} if word is None else {SERVES_ENV: word.write_fd})
        try:
            process, heard = await asyncio.get_running_loop().subprocess_exec(
                lambda: _Heard(command.name, on_line),
                *command.argv,
                env={**os.environ, **command.env, **{name: str(fd) for name, fd in fds.items()}},
                pass_fds=(*fds.values(), *command.pass_fds),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=STDOUT,
                start_new_session=True,
            )
        except BaseException:
            if word is not None:
                word.close()
            raise
        finally:
            if word is not None:
                word.handed_down()
        return cls(command, process, heard, word)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.get_pid()

    @property
    def alive(self) -> bool:
        """Whether its end has not been seen yet."""
        return self._process.get_returncode() is None

    async def serves(self) -> bool:
        """Wait until one that tells has told so, once; False of one that has ended without."""
        return self._word is None or await self._word.given()

    def said(self) -> bool:
        """Whether one that tells has said anything since somebody last asked."""
        return self._word is not None and self._word.again()

    def hang_up(self) -> None:
        """Listen no more. Nothing else may be asked of what it says."""
        if self._word is not None:
            self._word.close()

    async def wait(self) -> int:
        """Wait for its end and for its last line; returns the exit code, or minus the signal.

        Whatever it started and left behind is ended. One that has made itself a session and keeps the output
        open delays nobody: reading stops a second after the end.
        """
        await self._heard.ended.wait()
        with suppress(OSError):  # it left nobody behind
            os.killpg(self.pid, signal.SIGKILL)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._heard.silent.wait(), timeout=1)
        self._process.close()
        code = self._process.get_returncode()
        assert code is not None
        return code

    def hurry(self) -> None:
        """Have it give way to others no more: its session, which anybody may, and its threads, which the
        privileged may."""
        if self.alive:
            own, process = os.getpriority(os.PRIO_PROCESS, 0), Path(f"/proc/{self.pid}")
            with suppress(OSError):
                session = process / "autogroup"
                if not session.read_text().endswith(" 0\n"):  # the kernel takes one change in 0.1 s, of all
                    session.write_text("0", encoding="ascii")
            with suppress(OSError):
                for thread in (process / "task").iterdir():
                    os.setpriority(os.PRIO_PROCESS, int(thread.name), own)

    def terminate(self) -> None:
        """Ask it to end. Nothing happens to one that has."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and whatever it started, at once."""
        if self.alive:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
