"""Structured logs."""

from __future__ import annotations

import fcntl
import io
import itertools
import json
import logging
import os
import resource
import select
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from airboss.domain.record import Redacted
from airboss.telemetry.logs import Formatter, Lines, Relay, choose_format, parsed, readable
from tests.support.wait import until


def record(message: str, *args: object, level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    """A log record as `logger.log(level, message, *args, extra=extra)` makes it."""
    made = logging.LogRecord("airboss.gateway", level, "file.py", 1, message, args, None)
    vars(made).update(extra)
    return made


def test_json_line_has_the_fields() -> None:
    """A JSON line carries time, level, process, logger, message and what the caller added."""
    line = Formatter("gateway-0", "json").format(record("took %d ms", 12, request_id="r1"))
    fields = json.loads(line)
    assert fields.pop("time").endswith("+00:00")
    assert fields == {
        "level": "info",
        "process": "gateway-0",
        "logger": "airboss.gateway",
        "message": "took 12 ms",
        "request_id": "r1",
    }


def test_one_record_is_one_line() -> None:
    """Line breaks in a message or a trace do not break a JSON line."""
    try:
        raise ValueError("a\nb")  # noqa: TRY301  # a trace is wanted
    except ValueError:
        made = record("first\nsecond")
        made.exc_info = sys.exc_info()
    line = Formatter("x", "json").format(made)
    assert "\n" not in line
    assert json.loads(line)["trace"].endswith("ValueError: a\nb")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_every_line_is_redacted_whole(log_format: str) -> None:
    """The redaction filter sees message, extras and trace, in both formats."""

    def redact(text: bytes) -> Redacted:
        return Redacted(text.replace(b"hush", b"[REDACTED]"))

    try:
        raise ValueError("hush")  # noqa: TRY301  # a trace is wanted
    except ValueError:
        made = record("say %s", "hush", token="hush")
        made.exc_info = sys.exc_info()
    line = Formatter("x", log_format, redact=redact).format(made)  # type: ignore[arg-type]  # one of the two formats
    assert "hush" not in line
    assert line.count("[REDACTED]") >= 3


def test_values_that_are_not_json_do_not_break_logging() -> None:
    """An extra that JSON does not know is written as its text; a lone surrogate does no harm."""
    line = Formatter("x", "json", redact=Redacted).format(record("\ud800", path=io.StringIO))
    assert json.loads(line)["path"] == "<class '_io.StringIO'>"


def test_readable_line() -> None:
    """A readable line shows time of day, level, process, message and extras."""
    line = Formatter("gateway-0", "text").format(record("started", port=8700))
    assert line[12:] == " info    gateway-0    started  port=8700"


def test_format_is_chosen_by_flag_then_environment_then_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flag wins over the environment, and that over whether stderr is a terminal."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("AIRBOSS_LOG_FORMAT", raising=False)
    assert choose_format(None, Terminal()) == "text"
    assert choose_format(None, io.StringIO()) == "json"
    monkeypatch.setenv("AIRBOSS_LOG_FORMAT", "json")
    assert choose_format(None, Terminal()) == "json"
    assert choose_format("text", Terminal()) == "text"


def test_relay_keeps_the_fields_of_a_child() -> None:
    """A child's JSON line keeps its fields, other output becomes a message; both under the name we know."""
    stream = io.StringIO()
    relay = Relay("json", stream)
    relay("gateway-0", Formatter("gateway", "json").format(record("hello", request_id="r1")))
    relay("engine", "load_tensors: 30 layers")
    relay("engine", "   ")
    relay("engine", '{"time" but broken')
    first, second, third = map(json.loads, stream.getvalue().splitlines())
    assert (first["process"], first["request_id"]) == ("gateway-0", "r1")
    assert (second["process"], second["message"]) == ("engine", "load_tensors: 30 layers")
    assert third["message"] == '{"time" but broken'


def test_relay_survives_a_closed_stream() -> None:
    """Output that nobody reads any more does not stop us."""
    stream = io.StringIO()
    relay = Relay("text", stream)
    stream.close()
    relay("engine", "hello")


def test_readable_shows_a_trace_indented() -> None:
    """A trace follows its message on indented lines."""
    fields = {
        "time": "2026-01-01T10:00:00.000+00:00",
        "level": "error",
        "process": "p",
        "message": "m",
        "trace": "a\nb",
    }
    assert readable(fields) == "10:00:00.000 error   p            m\n    a\n    b"
    assert parsed("p", "x")["level"] == "info"


@pytest.mark.parametrize("where", ["boom()", "import threading; threading.Thread(target=boom).start()"])
def test_a_defect_is_one_line(where: str) -> None:
    """An exception that nobody catches, in any thread, is one redacted log line with its trace."""
    code = (
        "from airboss.telemetry.logs import configure\n"
        "configure('p', log_format='json', redact=lambda line: line.replace(b'hush', b'[REDACTED]'))\n"
        "def boom(): raise RuntimeError('hush')\n" + where
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    (line,) = done.stderr.splitlines()
    assert json.loads(line)["level"] == "critical"
    assert "boom" in json.loads(line)["trace"]
    assert "hush" not in line


def test_configure_takes_over_warnings_and_survives_a_closed_stderr() -> None:
    """Warnings come out as log lines, and logging into a closed pipe does not end the process."""
    code = (
        "import logging, os, sys, warnings\n"
        "from airboss.telemetry.logs import configure\n"
        "configure('p', log_format='json')\n"
        "warnings.warn('old')\n"
        "os.close(2)\n"
        "logging.getLogger('x').warning('into the void')\n"
        "print('alive')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "alive\n"
    # 120 is how Python says at its exit that it could not write what stderr still held.
    assert done.returncode in {0, 120}
    assert json.loads(done.stderr)["level"] == "warning"


CHATTY = """
import logging, sys
from airboss.telemetry import logs

logs.configure("chatty", log_format="json")
log = logging.getLogger("airboss")
for number in range(5000):
    log.info("%d %s", number, "x" * 5000 if number == 9 else "x" * 500)
print("goes on", flush=True)
for _ in sys.stdin:
    log.info("more")
"""


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_a_reader_that_stops_stops_nobody_who_logs(terminal: bool) -> None:
    """What it does not read is kept for it, up to a bound; beyond that it is told how many lines are lost."""
    reads, writes = os.openpty() if terminal else os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", CHATTY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=writes
    ) as process:
        os.close(writes)
        out, order = process.stdout, process.stdin
        assert out is not None
        assert order is not None
        told, orders = bytearray(), itertools.count()
        reading = threading.Thread(target=read, args=(reads, told))

        def caught_up() -> bool:
            order.write(b"\n")
            order.flush()
            next(orders)
            return b"are lost" in told

        try:
            until(lambda: select.select([out], [], [], 0)[0])
            assert out.readline() == b"goes on\n"
            reading.start()
            until(caught_up)
            order.close()
            reading.join(60)
        finally:
            process.kill()
            os.close(reads)
    lines = told.decode().splitlines()
    lost = next(at for at, line in enumerate(lines) if not line.startswith("{"))
    said = [json.loads(line)["message"].split()[0] for line in (*lines[:lost], *lines[lost + 1 :])]
    assert said == [*map(str, range(lost)), *["more"] * (len(said) - lost)]
    assert (
        lines[lost] == f"{5000 + next(orders) - len(said)} lines before this one are lost: they were not read"
    )
    assert 1_000_000 < sum(map(len, lines[:lost])) < 2_000_000


def test_what_is_logged_to_may_have_any_number() -> None:
    """As a terminal has that a process with many connections opens late."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    reads, writes = os.pipe()
    try:
        with os.fdopen(fcntl.fcntl(writes, fcntl.F_DUPFD, 1500), "w") as stream:
            Lines().write("told", stream)
        assert os.read(reads, 100) == b"told\n"
    finally:
        os.close(reads)
        os.close(writes)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def read(descriptor: int, told: bytearray) -> None:
    """Read what comes, to its end, which a terminal says by an error."""
    with suppress(OSError):
        while piece := os.read(descriptor, 65_536):
            told += piece
