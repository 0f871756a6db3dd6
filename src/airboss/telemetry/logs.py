"""Structured logs on stderr: readable lines for a person, one JSON object a line for a machine.

Fields: `time` (ISO, UTC), `level`, `process`, `logger`, `message`, then what the caller gave as `extra`
(`request_id` and the like), and `trace` for an exception. Bodies are never logged; what looks like a secret
is taken out of the whole line before it is written.
"""

from __future__ import annotations

import json
import logging
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import IO, Any, Final, Literal

from airboss.domain.record import Redacted

LogFormat = Literal["text", "json"]
"""How lines are written."""

LOG_FORMAT_ENV = "AIRBOSS_LOG_FORMAT"
UNREAD_S: Final = 1.0
"""So long a reader that reads no more is waited for, once, and one that reads again."""
UNREAD_BYTES: Final = 1024 * 1024
"""So much is kept for it."""

Redact = Callable[[bytes], Redacted]
"""Takes JSON text and returns it without secrets; `governance.redact` makes one."""

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}
"""What any log record has, or uvicorn's; anything beyond it is the caller's `extra`."""

_COLOURS = {"debug": "2", "info": "36", "warning": "33", "error": "31", "critical": "31;1"}


def choose_format(asked: str | None, stream: IO[str]) -> LogFormat:
    """What was asked for, else `AIRBOSS_LOG_FORMAT`, else readable on a terminal and JSON elsewhere."""
    value = asked or os.environ.get(LOG_FORMAT_ENV)
    if value == "text":
        return "text"
    if value == "json":
        return "json"
    return "text" if stream.isatty() else "json"


def configure(process: str, *, log_format: str | None = None, redact: Redact | None = None) -> LogFormat:
    """Send all logging of this process to stderr, whatever was configured before; returns the format chosen.

    `process` is our name in each line. Without `redact` nothing is taken out: that is for processes that hold
    no secret and get no request.
    """
    chosen = choose_format(log_format, sys.stderr)
    handler = _Handler(sys.stderr)
    handler.setFormatter(Formatter(process, chosen, redact=redact, colour=sys.stderr.isatty()))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a closed stderr (our parent died) must not take a process down
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda given: _log_uncaught(
        given.exc_type, given.exc_value or given.exc_type(), given.exc_traceback
    )
    for name in ("alembic", "httpx2", "httpcore2", "uvicorn"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return chosen


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A defect is one log line, redacted like any other, not forty lines of trace."""
    logging.getLogger("airboss").critical("this is a defect: %r", error, exc_info=(kind, error, trace))


class Formatter(logging.Formatter):
    """A log record as one line, redacted whole."""

    def __init__(
        self, process: str, log_format: LogFormat, *, redact: Redact | None = None, colour: bool = False
    ) -> None:
        super().__init__()
        self._process = process
        self._log_format = log_format
        self._redact = redact
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end; line breaks in it are escaped (JSON) or indented (text)."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _OWN},
        }
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        line = json.dumps(fields, default=str, ensure_ascii=False)
        if self._redact is not None:
            line = self._redact(line.encode("utf-8", "replace")).decode("utf-8", "replace")
        return line if self._log_format == "json" else readable(json.loads(line), colour=self._colour)


def readable(fields: Mapping[str, Any], *, colour: bool = False) -> str:
    """The fields of one JSON line for a person: `23:40:01.120 info    gateway-0  message  name=value`."""
    level = str(fields.get("level", "info"))
    time = str(fields.get("time", ""))[11:23]
    process = str(fields.get("process", ""))
    head = f"{time} {level:7} {process:12} "
    if colour:
        head = f"\x1b[2m{time}\x1b[0m \x1b[{_COLOURS.get(level, '0')}m{level:7}\x1b[0m {process:12} "
    shown = {"time", "level", "process", "logger", "message", "trace"}
    rest = "".join(f"  {name}={value}" for name, value in fields.items() if name not in shown)
    lines = [*str(fields.get("message", "")).split("\n")]
    lines[0] += rest
    lines += str(fields["trace"]).split("\n") if "trace" in fields else []
    return head + "\n    ".join(lines)


class Lines:
    """Lines for a reader that may stop, as a terminal that is held or a supervisor that is stopped: it stops
    nobody who serves calls. What it does not take comes with a later line; where that is too much, lines are
    lost, and how many is told. One thread at a time."""

    def __init__(self) -> None:
        self._unread: deque[bytes] = deque()
        self._size = self._lost = 0
        self._terminal: int | None = None

    def write(self, line: str, stream: IO[str]) -> None:
        """Write one, given without its end. Raises OSError, and ValueError where the stream is closed."""
        try:
            descriptor = stream.fileno()
        except OSError:  # one in memory
            stream.write(f"{line}\n")
            return
        if self._terminal is None and stream.isatty():
            self._terminal = _opened_again(descriptor)
        descriptor = descriptor if self._terminal is None else self._terminal
        until = time.monotonic() + UNREAD_S
        self._hand_on(descriptor, 0.0, until)
        wait_s = 0.0 if self._unread else UNREAD_S
        self._keep(line)
        self._hand_on(descriptor, wait_s, until)

    def _hand_on(self, descriptor: int, wait_s: float, until: float) -> None:
        while self._unread and _takes(descriptor, wait_s):
            try:
                taken = os.write(descriptor, self._unread[0])
            except BlockingIOError:
                return
            self._size -= taken
            if rest := self._unread.popleft()[taken:]:
                self._unread.appendleft(rest)
            wait_s = max(0.0, until - time.monotonic())

    def _keep(self, line: str) -> None:
        told = f"{self._lost} lines before this one are lost: they were not read\n" if self._lost else ""
        data = f"{told}{line}\n".encode(errors="replace")
        if self._unread and self._size + len(data) > UNREAD_BYTES:
            self._lost += 1
            return
        self._lost = 0
        self._size += len(data)
        # A pipe that takes anything takes so much at once.
        self._unread += (data[at : at + select.PIPE_BUF] for at in range(0, len(data), select.PIPE_BUF))


def _takes(descriptor: int, wait_s: float) -> bool:
    """Whether it takes something, or says within this time why it does not."""
    poll = select.poll()  # of `select` no descriptor may be above 1,023
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(wait_s * 1000))


def _opened_again(terminal: int) -> int:
    """One that takes what it has room for and never waits: the shell has the same opening of it as we do."""
    try:
        return os.open(os.ttyname(terminal), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # another user's
        return terminal


class _Handler(logging.StreamHandler[IO[str]]):
    """Writes records as `Lines`."""

    def __init__(self, stream: IO[str]) -> None:
        super().__init__(stream)
        self._lines = Lines()

    def emit(self, record: logging.LogRecord) -> None:
        """As `logging.StreamHandler`."""
        try:
            self._lines.write(self.format(record), self.stream)
        except Exception:  # noqa: BLE001 - as every handler does
            self.handleError(record)


class Relay:
    """Passes the lines of child processes on to our own stderr.

    A child's JSON line keeps its fields; anything else that it prints becomes a message under its name.
    """

    def __init__(self, log_format: LogFormat, stream: IO[str], *, redact: Redact | None = None) -> None:
        self._log_format = log_format
        self._stream = stream
        self._lines = Lines()
        self._redact = redact
        self._colour = stream.isatty()

    def __call__(self, process: str, line: str) -> None:
        """Write one line of `process`; a stream that is closed is not an error."""
        if not line.strip():
            return
        fields = parsed(process, line)
        text = json.dumps(fields, default=str, ensure_ascii=False)
        if self._redact is not None:
            text = self._redact(text.encode("utf-8", "replace")).decode("utf-8", "replace")
        if self._log_format == "text":
            text = readable(json.loads(text), colour=self._colour)
        try:
            self._lines.write(text, self._stream)
        except (OSError, ValueError):
            return


def parsed(process: str, line: str) -> dict[str, Any]:
    """The fields of a child's line."""
    if line.startswith('{"time"'):
        try:
            fields = json.loads(line)
        except ValueError:
            fields = None
        if isinstance(fields, dict):
            return {**fields, "process": process}
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"time": now, "level": "info", "process": process, "message": line}
