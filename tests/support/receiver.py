"""A webhook's receiver as a process of its own: `python -m tests.support.receiver FILE`.

It prints its port, appends each POST to FILE as a JSON line before it answers, and answers with the status
that stands in `FILE.status`, 204 unless there is one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self


class Receiver:
    """The process, and what it has got. `url` is where it listens."""

    def __init__(self, root: Path) -> None:
        self._file = root / "received.jsonl"
        self._status = root / "received.jsonl.status"
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def answer(self, status: int) -> None:
        """Answer with this status from now on."""
        fresh = self._status.with_suffix(".new")
        fresh.write_text(str(status))
        fresh.replace(self._status)  # whole: it may be read at any moment

    @property
    def got(self) -> list[dict[str, Any]]:
        """Each POST that came: `path`, `headers`, `body` as text, and `status` as it was answered."""
        if not self._file.exists():
            return []
        whole, _, _ = self._file.read_text().rpartition("\n")  # the last may be being written
        return [json.loads(line) for line in whole.splitlines()]

    @property
    def taken(self) -> list[dict[str, Any]]:
        """The bodies of those that were answered well."""
        return [json.loads(each["body"]) for each in self.got if each["status"] < 300]

    @property
    def told(self) -> list[dict[str, Any]]:
        """What was taken, each id once: who is killed right after an answer sends it again."""
        return list({each["id"]: each for each in self.taken}.values())

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.support.receiver", str(self._file)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}/hook"
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def main() -> None:
    """Serve until killed."""
    file = Path(sys.argv[1])
    status_file = Path(f"{file}.status")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            status = int(status_file.read_text()) if status_file.exists() else 204
            headers = {name.lower(): value for name, value in self.headers.items()}
            line = {"path": self.path, "headers": headers, "body": body, "status": status}
            with file.open("a") as out:
                out.write(json.dumps(line) + "\n")
            self.send_response(status)
            if status in {301, 302, 307, 308}:
                self.send_header("location", "/elsewhere")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
