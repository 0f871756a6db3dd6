"""Processor time that one gateway worker takes for an event of a stream, though the machine be busy.

    python -m benchmarks.events [--src DIR]… [--streams 1000] [--at-once 16]

The worker of `benchmarks.worker`, whose upstream and clients are this process: it sends one event of so many
streams, waits until all have come to their clients, and goes on with the next, and so on 20 times a second at
most. So each read of the worker's has one event and each turn as many, whatever else the machine does
meanwhile. `--src` names the `src` of another checkout, to be measured in turns with this one.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import socket
import threading
import time
from pathlib import Path

from benchmarks import peers
from benchmarks.load import request
from benchmarks.peers import MODEL, Peer
from benchmarks.screening_texts import PROSE
from benchmarks.stats import keep, machine, median, quantile, table
from benchmarks.worker import SCREENED, worker

WORDS = [word for word in PROSE.split() if word.isalpha()]
"""None of which is held back."""
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
WAIT_S = 30.0
HELD_S = 0.05
ROUND_S = 0.05
WARM_ROUNDS = 8


class Stream:
    """One stream through a worker, from its upstream's socket to its client's."""

    def __init__(self, peer: Peer, model: str, listen: socket.socket, number: int) -> None:
        fields = {"model": model, "messages": [{"role": "user", "content": "Go on."}], "stream": True}
        host, port, message = request(peer.url, peer.key, fields, [])
        self.client = socket.create_connection((host, port), WAIT_S)
        self.client.sendall(message)
        self.client.settimeout(HELD_S)
        self.upstream, _ = listen.accept()
        self.upstream.settimeout(WAIT_S)
        while b"stream_options" not in self.upstream.recv(1 << 16):
            pass
        self.number = number
        self.said = 0
        self.upstream.sendall(HEAD + chunk(event(number, role="assistant", content="")))

    def say(self) -> None:
        """Send the next word from upstream."""
        word = WORDS[(self.number + self.said) % len(WORDS)]
        self.said += 1
        self.upstream.sendall(chunk(event(self.number, content=f"{word} ")))

    def hear(self) -> None:
        """Wait until something has come to the client; not long, as it may be held back until the next."""
        with contextlib.suppress(TimeoutError):
            data = self.client.recv(1 << 16)
            if not data or b"error" in data:
                raise SystemExit(f"a stream ended early: {data!r}")


def event(number: int, **delta: str) -> bytes:
    """An event as OpenAI writes it."""
    head = {"id": f"chatcmpl-{number:024}", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    return b"data: %s\n\n" % json.dumps({**head, "choices": [choice]}, separators=(",", ":")).encode()


def chunk(data: bytes) -> bytes:
    """A chunk of HTTP."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def answer_one(listen: socket.socket) -> None:
    """Answer the call by which a worker is known to be up."""
    upstream, _ = listen.accept()
    with upstream:
        upstream.recv(1 << 16)
        body = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"Hi"}}]}'
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
        upstream.sendall(b"%scontent-length: %d\r\n\r\n%s" % (head, len(body), body))


def cpu_ns(pid: int) -> int:
    """Processor time of a process's main thread, in which the loop runs."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text(encoding="utf-8").split()[0])


def round_us(peer: Peer, streams: list[Stream], at_once: int) -> float:
    """Microseconds that the worker takes for an event, of one of each stream."""
    before, began = cpu_ns(peer.worker[0]), time.monotonic()
    for first in range(0, len(streams), at_once):
        some = streams[first : first + at_once]
        for stream in some:
            stream.say()
        for stream in some:
            stream.hear()
    time.sleep(max(0.0, began + ROUND_S - time.monotonic()))  # at most 20 a second, as streams come
    return (cpu_ns(peer.worker[0]) - before) / len(streams) / 1e3


def main(arguments: list[str] | None = None) -> None:
    """Measure in turns."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.events", description=__doc__)
    parser.add_argument("--src", action="append", default=[], metavar="DIR", help="another checkout's src")
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=16, help="events in a turn of the worker's")
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        listen = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=4096))
        upstream = f"http://127.0.0.1:{listen.getsockname()[1]}/v1"
        sides = [str(peers.ROOT / "src"), *options.src]
        ways: dict[str, tuple[Peer, list[Stream]]] = {}
        for src, model in itertools.product(sides, (MODEL, SCREENED)):
            threading.Thread(target=answer_one, args=(listen,), daemon=True).start()
            peer = stack.enter_context(worker(src, upstream))
            name = peer.name if model == MODEL else f"{peer.name}, screening"
            streams = [Stream(peer, model, listen, n) for n in range(options.streams)]
            for stream in streams:
                stack.enter_context(stream.client)
            ways[name] = peer, streams
        took: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(WARM_ROUNDS + options.rounds):
            for name, (peer, streams) in ways.items():
                us = round_us(peer, streams, options.at_once)
                took[name] += [us] if turn >= WARM_ROUNDS else []
    rows = [
        {"": name, "µs an event": median(each), "lower quartile": quantile(sorted(each), 0.25)}
        for name, each in took.items()
    ]
    info = machine()
    print(json.dumps(info))
    print(table(rows))
    print(keep("events", {"machine": info, "rows": rows}))


if __name__ == "__main__":
    main()
