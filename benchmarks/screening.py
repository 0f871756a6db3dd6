"""What screening costs and lets through: `python -m benchmarks.screening [--streams 10000]`.

Random texts with values and near-values in them, each cut at random, go through a `Screen`, through an
`AnswerScreen` as the events of a stream, and for comparison through a screener that looks at each chunk by
itself. A leak is a stream in which a value that is found in the whole text left as it was; a difference is
one that came out otherwise than the whole.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
from benchmarks.screening_texts import PROSE, ordinary_text, text_with_values
from benchmarks.stats import machine, quantile, table

from airboss.governance.policies import KINDS
from airboss.governance.screening import HELD_MAX, Screen, screen_text, screening_policy
from airboss.governance.screening_chat import AnswerScreen, screen_request

MASK = screening_policy(dict.fromkeys(KINDS, "mask"))
CARDS = screening_policy({"card": "mask"})


def cut(text: str, seed: int, longest: int = 12) -> list[str]:
    """The text in chunks of 1 to `longest` characters."""
    source = random.Random(seed)
    chunks: list[str] = []
    done = 0
    while done < len(text):
        end = done + source.randint(1, longest)
        chunks.append(text[done:end])
        done = end
    return chunks


def held_back(chunks: Sequence[str]) -> str:
    """What comes out of a `Screen`."""
    screen = Screen(MASK)
    return "".join([*map(screen.feed, chunks), screen.finish()])


def chunk_by_chunk(chunks: Sequence[str]) -> str:
    """What comes out when each chunk is screened by itself."""
    return "".join(screen_text(MASK, chunk).text for chunk in chunks)


def as_events(chunks: Sequence[str]) -> str:
    """What a client reads in the events of a stream."""
    screen = AnswerScreen(MASK)
    said: list[str] = []
    for delta, reason in [*(({"content": chunk}, None) for chunk in chunks), ({}, "stop")]:
        event = {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        data = msgspec.json.encode(event)
        known = screen.known(data)
        for passed in screen.event(data) if known is None else screen.more(data, *known):
            choices = msgspec.json.decode(passed.given)["choices"]
            said += [choice["delta"].get("content", "") for choice in choices]
    return "".join(said)


def compare(streams: int, screened: Callable[[Sequence[str]], str]) -> dict[str, float]:
    """Leaks and differences of a way to screen streams."""
    leaks = differences = 0
    for seed in range(streams):
        text, values = text_with_values(seed)
        whole = screen_text(MASK, text).text
        streamed = screened(cut(text, seed))
        differences += streamed != whole
        leaks += any(value in streamed for value in values if value not in whole)
    return {"streams": streams, "leaks": leaks, "differences": differences}


def held_and_took(chunks: Sequence[str]) -> tuple[list[int], list[float]]:
    """Characters held after each chunk, and microseconds each took."""
    screen = Screen(MASK)
    held: list[int] = []
    took: list[float] = []
    for chunk in chunks:
        start = time.perf_counter_ns()
        screen.feed(chunk)
        took.append((time.perf_counter_ns() - start) / 1000)
        held.append(screen.held)
    screen.finish()
    return held, took


def cost(name: str, text: str) -> dict[str, object]:
    """Held tail and time of a text in chunks of four characters, and time of the whole."""
    chunks = [text[at : at + 4] for at in range(0, len(text), 4)]
    held_and_took(chunks)
    held, took = held_and_took(chunks)
    start = time.perf_counter()
    for _ in range(5):
        screen_text(MASK, text)
    whole = (time.perf_counter() - start) / 5
    start = time.perf_counter()
    chunk_by_chunk(chunks)
    naive = time.perf_counter() - start
    return {
        "text": name,
        "held p50": quantile(sorted(held), 0.5),
        "held max": max(held),
        "us/chunk p50": round(quantile(sorted(took), 0.5), 2),
        "us/chunk mean": round(sum(took) / len(took), 2),
        "us/chunk p99": round(quantile(sorted(took), 0.99), 2),
        "us/chunk each alone": round(naive / len(chunks) * 1e6, 2),
        "us/KB whole": round(whole / len(text) * 1024 * 1e6, 2),
    }


def precision(texts: int) -> dict[str, object]:
    """What is found in ordinary text, where nothing is to be found."""
    found = Counter[str]()
    characters = 0
    for seed in range(texts):
        text = ordinary_text(seed)
        characters += len(text)
        found.update(screen_text(MASK, text).findings)
    return {
        "texts": texts,
        "characters": characters,
        "false finds": found.total(),
        "a million characters": round(found.total() / characters * 1e6, 2),
        **{kind: found[kind] for kind in KINDS},
    }


def bare_numbers(count: int) -> list[dict[str, object]]:
    """How many random numbers of a length are taken for a card's: a sum and an issuer fit by chance."""
    source = random.Random(0)
    rows: list[dict[str, object]] = []
    for digits in range(13, 20):
        numbers = (source.randrange(10 ** (digits - 1), 10**digits) for _ in range(count))
        taken = sum(bool(screen_text(CARDS, f"n {number} x").findings) for number in numbers)
        rows.append({"digits": str(digits), "taken for a card, %": round(taken / count * 100, 2)})
    for groups in ((4, 4, 4, 4), (4, 4, 4, 4, 3), (4, 6, 5)):
        written = (" ".join(f"{source.randrange(10**each):0{each}}" for each in groups) for _ in range(count))
        taken = sum(bool(screen_text(CARDS, f"n {number} x").findings) for number in written)
        shown = "-".join(map(str, groups))
        rows.append({"digits": shown, "taken for a card, %": round(taken / count * 100, 2)})
    return rows


def whole_calls() -> list[dict[str, object]]:
    """Time of a request and of an event."""
    rows = []
    for name, text in (("2 KB", PROSE * 8), ("1 MB", PROSE * 3_600), ("1 MB, values", _full(1_000_000))):
        body = msgspec.json.encode(
            {"model": "m", "messages": [{"role": "user", "content": text.replace(". ", ".\n")}]}
        )
        start = time.perf_counter()
        screen_request(MASK, body)
        took = time.perf_counter() - start
        rows.append({"what": f"a request of {name}", "bytes": len(body), "us": round(took * 1e6, 1)})
    words = PROSE.split(" ") * 40
    start = time.perf_counter()
    as_events([f"{word} " for word in words])
    took = (time.perf_counter() - start) / len(words)
    rows.append({"what": "an event, made and read too", "bytes": 90, "us": round(took * 1e6, 1)})
    return rows


def _full(length: int) -> str:
    parts: list[str] = []
    size = seed = 0
    while size < length:
        parts.append(text_with_values(seed)[0])
        size += len(parts[-1])
        seed += 1
    return " ".join(parts)


def texts() -> dict[str, str]:
    """What is measured: usual texts, texts full of values, and texts made to cost as much as possible."""
    full = " ".join(text_with_values(seed)[0] for seed in range(60))
    return {
        "prose": PROSE * 60,
        "German": "Der Vierteljahresbericht zeigt für das Geschäft größere Erlöse als im Vorjahr. " * 250,
        "Chinese": "季度报告显示收入增长。成本持平。我们的团队下周开会讨论。" * 700,
        "code": "def total(items: list[int]) -> int:\n    return sum(items[1:], start=0)  # not one\n" * 200,
        "15% values": full,
        "one endless word": "a" * 20_000,
        "endless digits": "7" * 20_000,
        "card-like groups": "4111 " * 4_000,
        "phone-like": "+1 415 055 2671 " * 1_250,
        "half an assignment": "password=" * 2_000,
        "joiners": "4\u200d" * 10_000,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the tables; exits with 1 if anything leaked or differed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=10_000)
    streams: int = parser.parse_args(arguments).streams
    print(machine())
    start = time.perf_counter()
    ours = [
        {"screener": "hold-back", **compare(streams, held_back)},
        {"screener": "hold-back, as events of a stream", **compare(streams, as_events)},
    ]
    print(table([*ours, {"screener": "each chunk alone", **compare(streams, chunk_by_chunk)}]))
    print(f"{time.perf_counter() - start:.1f} s; kinds {', '.join(KINDS)}; held at most {HELD_MAX}\n")
    print(table([precision(streams // 4)]))
    print(table(bare_numbers(streams)))
    print(table([cost(name, text) for name, text in texts().items()]))
    print(table(whole_calls()))
    if any(row["leaks"] or row["differences"] for row in ours):
        sys.exit("a value leaked, or a stream came out otherwise than its whole")


if __name__ == "__main__":
    main()
