"""One Airboss gateway worker beside nginx, Portkey's gateway, LiteLLM's proxy and no proxy at all.

    python -m benchmarks.gateway [--peers direct,nginx,nginx-default,portkey,litellm,airboss]
                                 [--only closed,open,streams,payloads,workers]

Everything runs on this machine: the proxy under test has one core to itself, the upstream (the fake
provider) and the load generator share another (with three cores or more they have one each). Rounds are
interleaved, A B C A B C, so that a change in the machine's mood touches all alike; the table has medians.
All proxies stand ready all the time; those not under test are idle. `elsewhere` is the share of the machine
that was busy with none of this: more than a few per cent, and the numbers say more about the neighbours.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.peers import TICK_S, Peer
from benchmarks.stats import keep, machine, median, table

KINDS = ("closed", "open", "streams", "payloads", "workers")
PEERS = ("direct", "nginx", "nginx-default", "portkey", "litellm", "airboss")
ANSWER_TOKENS = 60
WARM_S = 1.0
PAYLOADS: dict[str, tuple[str, ...]] = {
    "100 KB of text": ("--prompt-bytes", "100000"),
    "2 MB image": ("--image-bytes", "2000000"),
}
OPEN_SHARE_OF_CLOSED = 0.4
"""A proxy that cannot take the fixed rate is given this share of what it can."""

Result = dict[str, Any]
"""What one load said, with what the processors did meanwhile."""


@dataclass(frozen=True)
class Bench:
    """Where things run, and what is up."""

    load_core: int
    up: list[Peer]
    results: dict[tuple[str, str], list[Result]] = field(default_factory=dict)

    def load(
        self, peer: Peer, kind: str, *arguments: str, of: str = "", model: str = peers.MODEL, name: str = ""
    ) -> None:
        """Put one load on one peer, and keep what came of it under `of`, or the load's kind, and `name`, or
        the peer's."""
        command = [sys.executable, "-m", "benchmarks.load", kind, peer.url, "--key", peer.key]
        command += ["--model", model, "--cpu", str(self.load_core), *arguments]
        command += [f"--header={line}" for line in peer.headers]
        ours = {pid: peers.cpu_s(pid) for one in self.up for pid in (*one.worker, *one.others)}
        before = (time.perf_counter(), busy_s(), children_s(), peer.worker_cpu_s(), peer.others_cpu_s())
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=300, cwd=peers.ROOT
        )
        after = (time.perf_counter(), busy_s(), children_s(), peer.worker_cpu_s(), peer.others_cpu_s())
        if done.returncode:
            raise SystemExit(f"the load on {peer.name} failed:\n{done.stderr[-2000:]}")
        took, busy, load, worker, others = (b - a for a, b in zip(before, after, strict=True))
        ours_s = sum(peers.cpu_s(pid) - was for pid, was in ours.items())
        result: Result = json.loads(done.stdout)
        result |= {
            "worker_cpu_s": worker,
            "worker_busy": worker / took,
            "others_busy": others / took,
            "elsewhere_busy": max(0.0, busy - load - ours_s) / took / (os.cpu_count() or 1),
        }
        self.results.setdefault((of or kind, name or peer.name), []).append(result)

    def middle(self, kind: str, peer: str, name: str) -> float:
        """The median of one number over the rounds; NaN when there were none."""
        return median([one[name] for one in self.results.get((kind, peer), []) if one[name] is not None])


def busy_s() -> float:
    """Processor time that the whole machine has spent on programs and their system calls."""
    user, nice, system = Path("/proc/stat").read_text(encoding="utf-8").split()[1:4]
    return (int(user) + int(nice) + int(system)) * TICK_S


def children_s() -> float:
    """Processor time of the load generators that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextlib.contextmanager
def all_up(options: argparse.Namespace) -> Iterator[list[Peer]]:
    """Start the peers asked for, the upstream always."""
    wanted = options.peers.split(",")
    rest = options.load_core if options.airboss_rest == "load" else None
    with contextlib.ExitStack() as stack:
        direct = stack.enter_context(peers.direct(options.upstream_core, "ok"))
        up = [direct]
        if "nginx" in wanted:
            up.append(stack.enter_context(peers.nginx(options.proxy_core, direct.url)))
        if "nginx-default" in wanted:
            plain = peers.nginx(
                options.proxy_core, direct.url, named="nginx-default", config_text=peers.NGINX_DEFAULT
            )
            up.append(stack.enter_context(plain))
        portkey = peers.portkey_home() if "portkey" in wanted else None
        if portkey is not None:
            up.append(stack.enter_context(peers.portkey(options.proxy_core, direct.url, portkey)))
        if "litellm" in wanted:
            up.append(stack.enter_context(peers.litellm(options.proxy_core, direct.url)))
        if "airboss" in wanted:
            up.append(stack.enter_context(peers.airboss(options.proxy_core, direct.url, rest_core=rest)))
        yield up


def closed(bench: Bench, options: argparse.Namespace) -> list[Result]:
    """Most requests a second."""
    arguments = ["--connections", str(options.connections), "--seconds", str(options.seconds)]
    arguments += ["--warm-s", str(WARM_S), "--prompt", answer_of(ANSWER_TOKENS)]
    for _ in range(options.rounds):
        for peer in bench.up:
            bench.load(peer, "closed", *arguments)
    rows = []
    for peer in bench.up:
        rate = bench.middle("closed", peer.name, "requests_per_s")
        runs = bench.results["closed", peer.name]
        per_cpu_s = median([one["requests_with_warming"] / max(one["worker_cpu_s"], TICK_S) for one in runs])
        rows.append(
            {
                "": peer.name,
                "requests/s": rate,
                "of nginx": rate / bench.middle("closed", "nginx", "requests_per_s"),
                "of its default": rate / bench.middle("closed", "nginx-default", "requests_per_s"),
                "of direct": rate / bench.middle("closed", "direct", "requests_per_s"),
                "p50 ms": bench.middle("closed", peer.name, "p50_ms"),
                "p99 ms": bench.middle("closed", peer.name, "p99_ms"),
                "its core busy": bench.middle("closed", peer.name, "worker_busy"),
                "its rest busy": bench.middle("closed", peer.name, "others_busy"),
                "requests/CPU-s": per_cpu_s,
                "errors": sum(one["errors"] for one in runs),
                "elsewhere": bench.middle("closed", peer.name, "elsewhere_busy"),
            }
        )
    return rows


def answer_of(tokens: int, tokens_per_s: float | None = None) -> str:
    """A prompt to which the fake provider answers so much, at that pace."""
    wish: dict[str, float] = {"words": tokens}
    if tokens_per_s is not None:
        wish["tokens_per_s"] = tokens_per_s
    return f"Explain LLMOps in two sentences, please. fake:{json.dumps(wish)}"


def latency(bench: Bench, options: argparse.Namespace) -> list[Result]:
    """Added latency at a fixed rate."""
    rates = {}
    for peer in bench.up:
        most = bench.middle("closed", peer.name, "requests_per_s")
        short = most < options.rate / OPEN_SHARE_OF_CLOSED
        rates[peer.name] = max(1.0, round(most * OPEN_SHARE_OF_CLOSED)) if short else options.rate
    for _ in range(options.rounds):
        for peer in bench.up:
            arguments = ["--rate", str(rates[peer.name]), "--seconds", str(options.seconds)]
            arguments += [
                "--connections",
                "64",
                "--warm-s",
                str(WARM_S),
                "--prompt",
                answer_of(ANSWER_TOKENS),
            ]
            bench.load(peer, "open", *arguments)
    rows = []
    for peer in bench.up:
        p50, p99 = (bench.middle("open", peer.name, name) for name in ("p50_ms", "p99_ms"))
        rows.append(
            {
                "": peer.name,
                "requests/s": rates[peer.name],
                "p50 ms": p50,
                "p99 ms": p99,
                "added p50": p50 - bench.middle("open", "direct", "p50_ms"),
                "added p99": p99 - bench.middle("open", "direct", "p99_ms"),
                "max ms": bench.middle("open", peer.name, "max_ms"),
                "errors": sum(one["errors"] + one["unsent"] for one in bench.results["open", peer.name]),
                "elsewhere": bench.middle("open", peer.name, "elsewhere_busy"),
            }
        )
    return rows


def streaming(bench: Bench, options: argparse.Namespace) -> list[Result]:
    """Streams at once, those of Airboss screened, too. One that stalls or breaks at some number is spared
    larger ones."""
    failed: set[str] = set()
    rows: list[Result] = []
    # As it is installed, nginx holds events back until a buffer is full.
    ways = [(peer, peers.MODEL, peer.name) for peer in bench.up if peer.name != "nginx-default"]
    ways += [(p, "screened", f"{p.name}, screening") for p in bench.up if p.name == "airboss"]
    for count in options.streams:
        of = f"streams-{count}"
        arguments = ["--streams", str(count), "--tokens", str(options.tokens)]
        arguments += ["--tokens-per-s", "20", "--prompt", answer_of(options.tokens, 20.0)]
        running = [way for way in ways if way[2] not in failed]
        for _ in range(options.stream_rounds):
            for peer, model, name in running:
                bench.load(peer, "streams", *arguments, of=of, model=model, name=name)
        for _, _, name in running:
            rows.append(streams_row(bench, of, name, count))
            if rows[-1]["stalls"] or rows[-1]["broken"]:
                failed.add(name)
    return rows


def streams_row(bench: Bench, of: str, name: str, count: int) -> Result:
    """What came of so many streams through one peer."""
    runs = bench.results[of, name]
    names = ("first_token_p50_ms", "first_token_p99_ms", "gap_p50_ms", "gap_p99_ms", "gap_max_ms")
    direct = bench.middle(of, "direct", "gap_p99_ms")
    return (
        {"": name, "streams": count}
        | {n.removesuffix("_ms").replace("_", " "): bench.middle(of, name, n) for n in names}
        | {"gap p99 of direct": bench.middle(of, name, "gap_p99_ms") / direct}
        | {"stalls": sum(one["stalls"] for one in runs)}
        | {"broken": sum(one["streams"] - one["whole"] for one in runs)}
        | {"its core busy": bench.middle(of, name, "worker_busy")}
        | {"elsewhere": bench.middle(of, name, "elsewhere_busy")}
    )


def payloads(bench: Bench, options: argparse.Namespace) -> list[Result]:
    """Large requests. The upstream reads them too and is soon the slowest, so that a proxy's own processor
    time for one says more than the rate."""
    rows: list[Result] = []
    up = [peer for peer in bench.up if peer.name not in {"litellm", "portkey"}]
    for what, size in PAYLOADS.items():
        of = f"payload {what}"
        arguments = ["--connections", "8", "--seconds", str(options.seconds), "--warm-s", "0.5", *size]
        for _ in range(options.rounds):
            for peer in up:
                bench.load(peer, "closed", *arguments, "--prompt", answer_of(ANSWER_TOKENS), of=of)
        cost = {peer.name: per_request_us(bench.results[of, peer.name]) for peer in up}
        for peer in up:
            rate = bench.middle(of, peer.name, "requests_per_s")
            row = {"": peer.name, "what": what, "requests/s": rate}
            row |= {"of nginx": rate / bench.middle(of, "nginx", "requests_per_s")}
            row |= {"CPU-µs a request": cost[peer.name]}
            row |= {"of nginx by CPU": cost.get("nginx", float("nan")) / cost[peer.name]}
            row |= {"errors": sum(one["errors"] for one in bench.results[of, peer.name])}
            rows.append(row | {"elsewhere": bench.middle(of, peer.name, "elsewhere_busy")})
    return rows


def per_request_us(runs: list[Result]) -> float:
    """A worker's processor time for a request."""
    return median([1e6 * one["worker_cpu_s"] / max(1, one["requests_with_warming"]) for one in runs])


def workers(options: argparse.Namespace) -> tuple[list[Result], dict[tuple[str, str], list[Result]]]:
    """One worker on one core beside two on two. Load and upstream share those cores where there are no
    others, so that twice the rate needs four."""
    cores = (options.proxy_core, options.load_core)
    if len(os.sched_getaffinity(0)) >= 4:
        cores = (options.proxy_core, max(os.sched_getaffinity(0)))
    rest = options.upstream_core
    with contextlib.ExitStack() as stack:
        direct = stack.enter_context(peers.direct(options.upstream_core, "ok"))
        one = stack.enter_context(peers.airboss(cores[0], direct.url, rest_core=rest))
        two = stack.enter_context(peers.airboss(cores[0], direct.url, rest_core=rest, cores=cores))
        bench = Bench(options.load_core, [one, two])
        arguments = ["--connections", str(options.connections), "--seconds", str(options.seconds)]
        for _ in range(options.rounds):
            for peer in bench.up:
                bench.load(peer, "closed", *arguments, "--prompt", answer_of(ANSWER_TOKENS), of="workers")
    rows: list[Result] = []
    for peer in bench.up:
        rate = bench.middle("workers", peer.name, "requests_per_s")
        row: Result = {"": peer.name, "requests/s": rate}
        row |= {"of one": rate / bench.middle("workers", one.name, "requests_per_s")}
        row |= {"CPU-µs a request": per_request_us(bench.results["workers", peer.name])}
        row |= {"errors": sum(each["errors"] for each in bench.results["workers", peer.name])}
        rows.append(row | {"elsewhere": bench.middle("workers", peer.name, "elsewhere_busy")})
    return rows, bench.results


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("one core is too few: the proxy would share it with its load")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--only", default=",".join(KINDS))
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--streams", type=int, nargs="*", default=[100, 500, 1000])
    parser.add_argument("--stream-rounds", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--proxy-core", type=int, default=cores[0])
    parser.add_argument("--load-core", type=int, default=cores[1])
    parser.add_argument("--upstream-core", type=int, default=cores[min(2, len(cores) - 1)])
    parser.add_argument(
        "--airboss-rest", choices=["load", "proxy"], default="load",
        help="where Airboss's other processes run: on the load's core, or on the worker's own",
    )  # fmt: skip
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Start everything, measure, print, keep."""
    options = options_of(arguments)
    only = options.only.split(",")
    print(json.dumps(machine()))
    tables: dict[str, list[Result]] = {}
    with all_up(options) as up:
        bench = Bench(options.load_core, up)
        placement = {
            "proxy": options.proxy_core,
            "load": options.load_core,
            "upstream": options.upstream_core,
            "rest of airboss": options.airboss_rest,
        }
        print(f"cores: {json.dumps(placement)}; versions: {json.dumps({p.name: p.version for p in up})}")
        if "closed" in only or "open" in only:
            tables["closed"] = closed(bench, options)
            print(f"\nClosed loop, {options.connections} connections\n\n{table(tables['closed'])}")
        if "open" in only:
            tables["open"] = latency(bench, options)
            print(f"\nOpen loop, latency from the timetable\n\n{table(tables['open'])}")
        if "streams" in only:
            tables["streams"] = streaming(bench, options)
            print(f"\nStreams of 20 tokens/s; a stall is a gap over 250 ms\n\n{table(tables['streams'])}")
        if "payloads" in only:
            tables["payloads"] = payloads(bench, options)
            print(f"\nLarge requests, 8 connections in a closed loop\n\n{table(tables['payloads'])}")
        versions = {peer.name: peer.version for peer in up}
    if "workers" in only:
        tables["workers"], more = workers(options)
        bench.results.update(more)
        print(f"\nWorkers, {options.connections} connections in a closed loop\n\n{table(tables['workers'])}")
    runs = {f"{kind} {peer}": found for (kind, peer), found in bench.results.items()}
    path = keep("gateway", {"cores": placement, "versions": versions, "tables": tables, "rounds": runs})
    print(f"\n{path}")


if __name__ == "__main__":
    main()
