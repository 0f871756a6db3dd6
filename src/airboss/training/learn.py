"""The training itself: Adam over the lessons, with checkpoints.

On one machine the same order gives the same adapter, also when it was killed in between.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import jax
import jax.numpy as jnp
import msgspec
import numpy as np

from airboss.domain.errors import SetupError
from airboss.replicas.gguf_write import Tensor, write_lora
from airboss.store.wording import many
from airboss.training.order import (
    ADAPTER,
    BATCH_MAX,
    BATCHES,
    Done,
    Lesson,
    Lessons,
    Line,
    Note,
    Order,
    Step,
)
from airboss.training.transformer import CHUNK, Lora, Shape, Weights, loss_of, new_lora, slope_of

CHECKPOINT: Final = "checkpoint.npz"
POINTS_MAX: Final = 500
"""So many points a curve of training losses has at most."""
VALIDATED_MAX: Final = 100
"""Validation examples beyond these are not looked at: each pass would take longer than it teaches."""
WARM_UP: Final = 0.05
"""The share of the steps over which the learning rate rises; after them it falls to 0 in a straight line."""
CLIP: Final = 1.0
"""The longest that a step's slope may be: one odd example must not undo what others taught."""
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
"""Adam's own (Kingma and Ba, 2015, algorithm 1)."""

Say = Callable[[Line], None]


class State(msgspec.Struct, kw_only=True):
    """All that must be known to go on. `lora`, `mean` and `square` are Adam's; `best` is the adapter of the
    pass with the lowest validation loss. `since` over `weight` is the mean loss since the last point."""

    lora: Lora
    mean: Lora
    square: Lora
    best: Lora
    best_loss: float = float("inf")
    step: int = 0
    tokens: int = 0
    since: float = 0.0
    weight: int = 0
    curve: list[Step] = []


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a checkpoint that is no array."""

    of: str
    best_loss: float | None
    step: int
    tokens: int
    since: float
    weight: int
    curve: list[Step]


def train(order: Order, shape: Shape, weights: Weights, lessons: Lessons, say: Say) -> None:
    """Train, write the adapter into the order's directory, and say so; goes on from a checkpoint there.
    Raises SetupError where the training diverges."""
    begun = time.monotonic()
    work = Path(order.work)
    course = _Course(order, lessons.training)
    of = hashlib.sha256(msgspec.json.encode([order, lessons])).hexdigest()
    state = _restored(work / CHECKPOINT, of) or _fresh(order, weights)
    for point in state.curve:
        say(point)
    if lessons.left_out:
        say(Note(text=f"{many(lessons.left_out, 'lesson')} of more than {order.max_tokens} tokens left out"))
    validated = lessons.validation[:VALIDATED_MAX]
    kept_at = time.monotonic()
    shape = msgspec.structs.replace(shape, scale=order.alpha / order.rank)
    seen = state.tokens
    while state.step < course.steps:
        if state.step == 0 and validated and not state.curve:
            first = _measured(state.lora, shape, weights, validated)
            _put(state, Step(step=0, steps=course.steps, validation=first), say)
        _one_step(order, state, course, shape, weights)
        validation = None
        if validated and state.step % course.per_pass == 0:
            validation = _measured(state.lora, shape, weights, validated)
            if validation < state.best_loss:
                state.best, state.best_loss = state.lora, validation
        if validation is not None or state.step % course.stride == 0 or state.step == course.steps:
            point = Step(
                step=state.step,
                steps=course.steps,
                loss=state.since / max(1, state.weight),
                validation=validation,
                seconds=round(time.monotonic() - begun, 1),
                tokens=state.tokens - seen,
            )
            state.since, state.weight = 0.0, 0
            _put(state, point, say)
        if time.monotonic() - kept_at >= order.checkpoint_s:
            _keep(work / CHECKPOINT, of, state)
            kept_at = time.monotonic()
    lora = state.best if validated else state.lora
    tensors = tensors_of(lora)
    write_lora(work / ADAPTER, architecture=shape.architecture, alpha=order.alpha, tensors=tensors)
    say(Done(sha256=hashlib.sha256((work / ADAPTER).read_bytes()).hexdigest(), tokens=state.tokens))


class _Course:
    """Which lessons each step is about: every pass all of them, in an order drawn from the seed."""

    def __init__(self, order: Order, lessons: Sequence[Lesson]) -> None:
        self._lessons, self._seed = lessons, order.seed
        self._batch = order.batch or min(BATCH_MAX, max(1, len(lessons) // BATCHES))
        self.per_pass = -(-len(lessons) // self._batch)
        self.steps = self.per_pass * order.epochs
        self.stride = -(-self.steps // POINTS_MAX)

    def of(self, step: int) -> list[Lesson]:
        """The lessons of a step, counted from 0."""
        number, at = divmod(step, self.per_pass)
        drawn = np.random.default_rng([self._seed, number]).permutation(len(self._lessons))
        return [self._lessons[each] for each in drawn[at * self._batch : (at + 1) * self._batch]]


def _one_step(order: Order, state: State, course: _Course, shape: Shape, weights: Weights) -> None:
    lessons = course.of(state.step)
    learnt = sum(each.learnt for each in lessons)
    slope, total = None, 0.0
    for lesson in lessons:
        lost, part = slope_of(state.lora, shape, weights, *_padded(lesson))
        slope = part if slope is None else jax.tree.map(jnp.add, slope, part)
        total += float(lost)
    if not math.isfinite(total):
        raise SetupError(
            f"the training diverged at step {state.step + 1}: its loss is {total}; give a learning rate below"
            f" {order.learning_rate:g}."
        )
    state.step += 1
    rate = order.learning_rate * _share(state.step, course.steps)
    before = (state.lora, state.mean, state.square)
    state.lora, state.mean, state.square = _moved(before, slope, learnt, rate, state.step)
    state.tokens += learnt
    state.since += total
    state.weight += learnt


def _share(step: int, steps: int) -> float:
    rising = max(1, round(steps * WARM_UP))
    return step / rising if step < rising else (steps - step + 1) / (steps - rising + 1)


def _adam(before: tuple[Lora, Lora, Lora], slope: Any, learnt: Any, rate: Any, step: Any) -> Any:
    lora, mean, square = before
    slope = jax.tree.map(lambda each: each / learnt, slope)
    length = jnp.sqrt(sum(jnp.sum(each * each) for each in jax.tree.leaves(slope)))
    slope = jax.tree.map(lambda each: each * jnp.minimum(1.0, CLIP / (length + 1e-6)), slope)
    mean = jax.tree.map(lambda m, s: _BETA1 * m + (1 - _BETA1) * s, mean, slope)
    square = jax.tree.map(lambda q, s: _BETA2 * q + (1 - _BETA2) * s * s, square, slope)
    by, over = 1 - _BETA1**step, 1 - _BETA2**step

    def moved(each: Any, m: Any, q: Any) -> Any:
        return each - rate * (m / by) / (jnp.sqrt(q / over) + _EPSILON)

    return jax.tree.map(moved, lora, mean, square), mean, square


_moved = jax.jit(_adam)


def _measured(lora: Lora, shape: Shape, weights: Weights, lessons: Sequence[Lesson]) -> float:
    total = sum(float(loss_of(lora, shape, weights, *_padded(each))) for each in lessons)
    return total / sum(each.learnt for each in lessons)


def _padded(lesson: Lesson) -> tuple[Any, Any]:
    """Ids and marks, of one of a few lengths: for each the computation is compiled once."""
    length = len(lesson.ids) - 1
    step = CHUNK if length <= 4 * CHUNK else 4 * CHUNK
    room = -(-length // step) * step + 1
    ids, learn = np.zeros(room, np.int32), np.zeros(room, np.float32)
    ids[: len(lesson.ids)], learn[: len(lesson.learn)] = lesson.ids, lesson.learn
    return ids, learn


def _put(state: State, point: Step, say: Say) -> None:
    state.curve.append(point)
    say(point)


def _fresh(order: Order, weights: Weights) -> State:
    lora = new_lora(weights, order.rank, order.seed)
    nothing = jax.tree.map(jnp.zeros_like, lora)
    return State(lora=lora, mean=nothing, square=nothing, best=lora)


def _keep(path: Path, of: str, state: State) -> None:
    """Write a checkpoint whole or not at all."""
    parts = {"lora": state.lora, "mean": state.mean, "square": state.square, "best": state.best}
    arrays = {
        f"{part} {name} {half}": lora[name][half]
        for part, lora in parts.items()
        for name in lora
        for half in "ab"
    }
    kept = _Kept(
        of=of,
        best_loss=None if np.isinf(state.best_loss) else state.best_loss,
        step=state.step,
        tokens=state.tokens,
        since=state.since,
        weight=state.weight,
        curve=state.curve,
    )
    said = np.frombuffer(msgspec.json.encode(kept), np.uint8)
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        np.savez(file, allow_pickle=False, said=said, **arrays)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _restored(path: Path, of: str) -> State | None:
    """What was kept of the very same training, if anything can be read."""
    try:
        whole = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
        kept = msgspec.json.decode(whole["said"].tobytes(), type=_Kept)
    except (OSError, ValueError, KeyError, EOFError, msgspec.MsgspecError):
        return None
    if kept.of != of:
        return None
    parts: dict[str, Lora] = {}
    for name in whole.files:
        if name != "said":
            part, matrix, half = name.split(" ")
            parts.setdefault(part, {}).setdefault(matrix, {})[half] = jnp.asarray(whole[name])
    return State(
        **parts,
        best_loss=float("inf") if kept.best_loss is None else kept.best_loss,
        step=kept.step,
        tokens=kept.tokens,
        since=kept.since,
        weight=kept.weight,
        curve=kept.curve,
    )


def tensors_of(lora: Lora) -> list[Tensor]:
    """An adapter as its file has it."""
    found = []
    for name, halves in lora.items():
        for half, stacked in halves.items():
            for layer, values in enumerate(np.asarray(stacked, "<f4")):
                tensor = f"blk.{layer}.{name}.weight.lora_{half}"
                found.append(Tensor(name=tensor, shape=values.shape, data=values.tobytes()))
    return found
