"""Load generators: one process, pinned to a core. Each prints one JSON object.

    python -m benchmarks.load closed  URL --connections 32 --seconds 5
    python -m benchmarks.load open    URL --rate 500 --seconds 10
    python -m benchmarks.load streams URL --streams 500 --tokens 100

URL ends in `/v1`. `closed` sends the next request when an answer has come: it finds the most requests a
second. `open` sends on a timetable, whatever comes back, and counts each latency from the time in the table,
so that a stall is felt by all the requests that should have gone out in it (no coordinated omission).
`streams` opens that many streams at once and measures the gaps between their tokens; a gap over 250 ms is a
stall.
"""

from __future__ import annotations

import argparse
import base64
import gc
import json
import os
import random
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop
from benchmarks.load_closed import closed
from benchmarks.load_open import Open
from benchmarks.load_streams import streams

PROMPT = "Explain LLMOps in two sentences, please."


def request(url: str, key: str, fields: dict[str, Any], headers: list[str]) -> tuple[str, int, bytes]:
    """Host, port and the bytes of a chat request; `headers` are lines more."""
    where = urlsplit(url)
    host, port = where.hostname or "127.0.0.1", where.port or 80
    body = json.dumps(fields, separators=(",", ":")).encode()  # as OpenAI's own clients write it
    lines = [
        f"POST {where.path}/chat/completions HTTP/1.1",
        f"host: {host}:{port}",
        f"authorization: Bearer {key}",
        "content-type: application/json",
        "accept: */*",
        *headers,
        f"content-length: {len(body)}",
    ]
    return host, port, "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """The load asked for."""
    more = options.prompt_file.read_text(encoding="utf-8") if options.prompt_file else "x"
    prompt = options.prompt + (more * (options.prompt_bytes // len(more) + 1))[: options.prompt_bytes]
    content: Any = prompt
    if options.image_bytes:
        image = base64.b64encode(random.Random(1).randbytes(options.image_bytes * 3 // 4)).decode()
        image_url = {"url": f"data:image/png;base64,{image}"}
        content = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": image_url}]
    fields: dict[str, Any] = {"model": options.model, "messages": [{"role": "user", "content": content}]}
    if options.kind == "streams" or options.stream:
        fields |= {"stream": True, "stream_options": {"include_usage": True}}
    host, port, message = request(options.url, options.key, fields, options.header)
    if options.kind == "streams":
        return await streams(
            host, port, message, count=options.streams, tokens=options.tokens, rate=options.tokens_per_s
        )
    timing = {"connections": options.connections, "seconds": options.seconds, "warm_s": options.warm_s}
    if options.kind == "closed":
        return closed(host, port, message, **timing)
    return await Open(message).run(host, port, rate=options.rate, **timing)


def main() -> None:
    """Read the command line, pin, load, print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("kind", choices=["closed", "open", "streams"])
    parser.add_argument("url")
    parser.add_argument("--key", default="sk-bench")
    parser.add_argument("--model", default="bench")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--warm-s", type=float, default=1.0)
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--stream", action="store_true", help="ask for events: closed and open")
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument(
        "--tokens", type=int, default=100, help="tokens in a stream, as the upstream sends them"
    )
    parser.add_argument(
        "--tokens-per-s", type=float, default=20.0, help="their pace, as the upstream sends them"
    )
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--prompt-bytes", type=int, default=0, help="so many more")
    parser.add_argument("--prompt-file", type=Path, help="their text, in place of one letter")
    parser.add_argument("--image-bytes", type=int, default=0, help="of an image beside the prompt, as base64")
    parser.add_argument("--header", action="append", default=[], help="a header line more")
    parser.add_argument("--cpu", type=int, help="the core to be pinned to")
    options = parser.parse_args()
    if options.cpu is not None:
        os.sched_setaffinity(0, {options.cpu})
    gc.disable()  # a collection would be measured as the server's latency
    print(json.dumps(uvloop.run(run(options))))


if __name__ == "__main__":
    main()
