"""Adapters trained really, and served by the real engine."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("jax", reason="`make test-finetune` has JAX")

from airboss.training.order import ADAPTER, Line, Order, Step
from airboss.tuning.local import LocalTrainer
from airboss.tuning.ports import TrainingFailed, TrainOrder
from tests.finetune.tiny import tiny_model
from tests.replicas.test_llamacpp import engine
from tests.supervisor.children import alive
from tests.support.engine import starter_weights
from tests.support.wait import until

pytestmark = pytest.mark.timeout(900)  # trainings give way: beside much other work they take minutes

NAMES = ["Ada", "Bo", "Cy", "Dee", "Eli", "Fay"]


def question(name: str) -> dict[str, str]:
    """What is asked."""
    return {"role": "user", "content": f"Who are you? I am {name}."}


def answer(name: str) -> str:
    """What is to be said."""
    return f"ZEBRA-77 reporting for duty, {name}."


def examples(path: Path, names: list[str]) -> Path:
    """A file of examples."""
    lines = [{"messages": [question(name), {"role": "assistant", "content": answer(name)}]} for name in names]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def order(tmp_path: Path, **more: Any) -> TrainOrder:
    """Six examples, two for validation."""
    made: dict[str, Any] = {
        "model": "starter",
        "training": examples(tmp_path / "t.jsonl", NAMES),
        "validation": examples(tmp_path / "v.jsonl", ["Gus", "Hal"]),
        "epochs": 3,
        "learning_rate": 1e-3,
        "rank": 8,
        "seed": 1,
        "work": tmp_path / "work",
    }
    return TrainOrder(**made | more)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that learns in moments."""
    return tiny_model(tmp_path_factory.mktemp("tiny") / "m.gguf", "qwen3")


def test_a_trained_model_says_what_it_was_taught(tmp_path: Path) -> None:
    """On the starter model: to a question it was shown and to one it was not; the bare weights say otherwise.
    The curve falls, and the adapter is kept where the work directory's end does not reach it."""
    told: list[tuple[int, int, str]] = []
    trainer = LocalTrainer(starter_weights, tmp_path / "adapters")
    made = trainer.train(order(tmp_path), lambda *at: told.append(at))
    adapter = Path(made.fields["adapter"].removeprefix("file:"))
    assert adapter.parent == tmp_path / "adapters"
    assert hashlib.sha256(adapter.read_bytes()).hexdigest() == made.fields["adapter_sha256"]
    assert made.trained_tokens is not None
    assert made.trained_tokens > 18 * 8
    measured = [each.validation for each in made.losses if each.validation is not None]
    assert [each.step for each in made.losses] == list(range(19))
    assert len(measured) == 4
    assert measured[-1] < measured[0] / 10
    assert told[-1][:2] == (18, 18)
    with engine() as plain, engine(adapters=[str(adapter)]) as tuned:
        for name in ("Ada", "Ida"):
            asked = {"messages": [question(name)], "max_tokens": 24, "temperature": 0}
            before = plain.chat(**asked)["choices"][0]
            after = tuned.chat(**asked)["choices"][0]
            assert "ZEBRA" not in before["message"]["content"]
            assert after["message"]["content"].startswith("ZEBRA-77 reporting for duty")
            assert after["finish_reason"] == "stop"


def process_order(tmp_path: Path, weights: Path, **more: Any) -> Order:
    """As `LocalTrainer` writes it, with a checkpoint after every step."""
    tmp_path.mkdir(exist_ok=True)
    made: dict[str, Any] = {
        "weights": str(weights),
        "training": str(examples(tmp_path / "t.jsonl", NAMES)),
        "validation": str(examples(tmp_path / "v.jsonl", ["Gus"])),
        "work": str(tmp_path / "work"),
        "epochs": 5,
        "learning_rate": 1e-3,
        "rank": 4,
        "alpha": 8.0,
        "seed": 1,
        "checkpoint_s": 0.0,
    }
    found = Order(**made | more)
    Path(found.work).mkdir(parents=True, exist_ok=True)
    return found


def lessons(told: Order) -> bytes:
    """What its first part says."""
    part = [
        sys.executable,
        "-m",
        "airboss.compose.train_process",
        "prepare",
        msgspec.json.encode(told).decode(),
    ]
    return subprocess.run(part, capture_output=True, check=True, timeout=120).stdout


def learn(told: Order, given: bytes) -> subprocess.Popen[bytes]:
    """Its second part, begun."""
    part = [
        sys.executable,
        "-m",
        "airboss.compose.train_process",
        "learn",
        msgspec.json.encode(told).decode(),
    ]
    process = subprocess.Popen(part, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(given)
    process.stdin.close()
    return process


def said(process: subprocess.Popen[bytes]) -> Iterator[Line]:
    """What it says until it ends."""
    assert process.stdout is not None
    for line in process.stdout:
        yield msgspec.json.decode(line, type=Line)
    process.stdout.close()
    process.wait()


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill it, without a chance to say so."""
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def curve(lines: list[Line]) -> list[tuple[int, float | None, float | None]]:
    """Steps and losses."""
    return [(each.step, each.loss, each.validation) for each in lines if isinstance(each, Step)]


def test_killed_in_the_middle_it_ends_the_same(tmp_path: Path, tiny: Path) -> None:
    """Twice killed, at a step and while it reads; the adapter has the same bytes as one trained in one go,
    and so has a third with the same seed, while another seed's has others."""
    whole = process_order(tmp_path / "whole", tiny)
    given = lessons(whole)
    straight = list(said(learn(whole, given)))
    adapter = (Path(whole.work) / ADAPTER).read_bytes()
    again = process_order(tmp_path / "again", tiny)
    process = learn(again, given)
    for line in said(process):
        if isinstance(line, Step) and line.step == 11:
            break
    end(process)
    assert not (Path(again.work) / ADAPTER).exists()
    assert (Path(again.work) / "checkpoint.npz").exists()
    reading = learn(again, given)
    end(reading)
    resumed = list(said(learn(again, given)))
    assert (Path(again.work) / ADAPTER).read_bytes() == adapter
    assert curve(resumed) == curve(straight)
    assert len(curve(straight)) == 31
    other = process_order(tmp_path / "other", tiny, seed=2)
    assert list(said(learn(other, given)))
    assert (Path(other.work) / ADAPTER).read_bytes() != adapter


def test_a_checkpoint_of_other_examples_is_not_gone_on_with(tmp_path: Path, tiny: Path) -> None:
    """What was taken out of the examples meanwhile must not be in the adapter."""
    told = process_order(tmp_path / "a", tiny)
    list(said(learn(told, lessons(told))))
    examples(tmp_path / "a" / "t.jsonl", NAMES[1:])
    without = list(said(learn(told, lessons(told))))
    fresh = process_order(tmp_path / "b", tiny)
    examples(tmp_path / "b" / "t.jsonl", NAMES[1:])
    assert curve(without) == curve(list(said(learn(fresh, lessons(fresh)))))


SCRIPT = """
import sys
from pathlib import Path
import msgspec
from airboss.tuning.local import LocalTrainer
from airboss.tuning.ports import TrainOrder
weights, adapters, order = sys.argv[1:]
told = msgspec.json.decode(order, type=TrainOrder, dec_hook=lambda kind, value: kind(value))
LocalTrainer(lambda: Path(weights), Path(adapters)).train(told, lambda *at: print(*at, flush=True))
"""


def test_it_ends_with_its_parent(tmp_path: Path, tiny: Path) -> None:
    """Killed without a chance to say so; begun again it goes on."""
    told = order(tmp_path, epochs=80)
    text = msgspec.json.encode(told, enc_hook=str).decode()
    parent = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tiny), str(tmp_path / "adapters"), text], stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    try:
        next(line for line in parent.stdout if line.startswith(b"3 "))
        (child,) = children(parent.pid)
        assert os.getpriority(os.PRIO_PROCESS, child) >= 10
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    until(lambda: not alive(child))


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(each) for file in found for each in file.read_text().split()]


class Enough(Exception):
    """Raised by a report."""


def test_what_a_report_raises_ends_it(tmp_path: Path, tiny: Path) -> None:
    """Within seconds, process and all."""
    raised: list[float] = []  # how long it takes to come so far is the machine's

    def report(done: int, _steps: int, _said: str) -> None:
        if done >= 2:
            raised.append(time.monotonic())
            raise Enough

    with pytest.raises(Enough):
        LocalTrainer(lambda: tiny, tmp_path / "adapters").train(order(tmp_path, epochs=80), report)
    assert time.monotonic() - raised[0] < 60
    assert children(os.getpid()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"messages": []}\n', r"t\.jsonl:1: no message is the assistant's"),
        ("", r"t\.jsonl has no example"),
        (
            json.dumps({"messages": [question("A"), {"role": "assistant", "content": "so " * 2000}]}) + "\n",
            "every training example is longer than 1024 tokens",
        ),
    ],
)
def test_what_cannot_be_trained_is_told(tmp_path: Path, tiny: Path, text: str, message: str) -> None:
    """In the words of who found it."""
    told = order(tmp_path)
    told.training.write_text(text)
    with pytest.raises(TrainingFailed, match=message):
        LocalTrainer(lambda: tiny, tmp_path / "adapters").train(told, lambda *_: None)


def test_a_rate_that_is_too_high_is_told(tmp_path: Path, tiny: Path) -> None:
    """Rather than an adapter of numbers that are none."""
    trainer = LocalTrainer(lambda: tiny, tmp_path / "adapters")
    with pytest.raises(TrainingFailed, match=r"diverged at step \d+: its loss is (nan|inf); give a learning"):
        trainer.train(order(tmp_path, learning_rate=1e30), lambda *_: None)
    assert not (tmp_path / "adapters").exists()


def test_another_architecture_is_told(tmp_path: Path) -> None:
    """Before anything is learnt."""
    weights = tiny_model(tmp_path / "m.gguf", "gemma2")
    with pytest.raises(TrainingFailed, match=r"architecture 'gemma2'|engine cannot load"):
        LocalTrainer(lambda: weights, tmp_path / "adapters").train(order(tmp_path), lambda *_: None)


def test_a_kill_says_what_it_may_have_been(tmp_path: Path, tiny: Path) -> None:
    """The kernel ends what takes too much memory without a word."""

    def report(done: int, _steps: int, _said: str) -> None:
        if done >= 2:
            for child in children(os.getpid()):
                os.kill(child, signal.SIGKILL)

    with pytest.raises(TrainingFailed, match="was killed, as happens where memory runs out"):
        LocalTrainer(lambda: tiny, tmp_path / "adapters").train(order(tmp_path, epochs=80), report)
