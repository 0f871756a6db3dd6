"""The fake provider's fine-tuning: jobs that run over time, and models that answer as they were trained.

A trained model says what its examples say: of the example whose words are most like the question's. How jobs
run is told with `/_fake/tuning` (`TuningPlay`); times are read off the clock whenever somebody looks.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from airboss.domain.errors import InvalidRequest, MethodNotAllowed, NotFound

EXAMPLES_MIN: Final = 10
JOBS_MAX: Final = 100
STEPS_MAX: Final = 50
LISTED: Final = 20
PREFIX: Final = "ft:"

Json = dict[str, Any]


class TuningPlay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How jobs run from now on: for so many seconds, to which end; None: until they are cancelled, or it is
    said after all. `message` is why one fails. With `metrics` False their events tell of no losses. `listed`
    False: the server cannot list jobs."""

    outcome: Literal["succeeded", "failed", "cancelled"] = "succeeded"
    for_s: float | None = 0.5
    message: str = "The job failed due to an unsafe training file."
    metrics: bool = True
    listed: bool = True


class _Job:
    """One job. Where it stands follows from the time."""

    def __init__(self, number: int, asked: Json, training: bytes, play: TuningPlay, now: float) -> None:
        self.id = f"ftjob-fake{number:04}"
        self.asked = asked
        self.play = play
        self.begun = now
        self.cancelled_at: float | None = None
        self.examples, self.fault = _read(training)
        suffix = asked.get("suffix") or ""
        digest = hashlib.blake2b(self.id.encode(), digest_size=4).hexdigest()
        self.model = f"{PREFIX}{asked['model']}:fake:{suffix}:{digest}"
        self.epochs = _epochs(asked)
        self.steps = max(1, min(STEPS_MAX, self.epochs * len(self.examples) // 4))

    def status(self, now: float) -> str:
        """As OpenAI names it."""
        if self.cancelled_at is not None:
            return "cancelled"
        share = self.share(now)
        if share < 0.1:
            return "validating_files"
        if self.fault is not None:
            return "failed"
        if share < 0.2:
            return "queued"
        return "running" if share < 1 else self.play.outcome

    def share(self, now: float) -> float:
        """How much of its time is over."""
        gone = now - self.begun
        return min(gone, 0.5) if self.play.for_s is None else gone / max(self.play.for_s, 1e-9)

    def told(self, now: float) -> Json:
        """The job as the API shows it."""
        status = self.status(now)
        over = status in {"succeeded", "failed", "cancelled"}
        code, message = self.fault or ("job_failed", self.play.message)
        tokens = sum(len(each.split()) for pair in self.examples for each in pair) * self.epochs
        return {
            "id": self.id,
            "object": "fine_tuning.job",
            "created_at": int(self.begun),
            "model": self.asked["model"],
            "fine_tuned_model": self.model if status == "succeeded" else None,
            "finished_at": int(now) if over else None,
            "status": status,
            "error": {"code": code, "message": message, "param": "training_file"}
            if status == "failed"
            else None,
            "trained_tokens": tokens if status == "succeeded" else None,
            "training_file": self.asked["training_file"],
            "validation_file": self.asked.get("validation_file"),
            "seed": self.asked.get("seed") or 0,
            "user_provided_suffix": self.asked.get("suffix"),
            "metadata": self.asked.get("metadata"),
            "hyperparameters": {"n_epochs": self.epochs},
            "method": self.asked.get("method"),
            "organization_id": "org-fake",
            "result_files": [],
        }

    def events(self, now: float) -> list[Json]:
        """What happened, the newest first."""
        found = [self._event("Created fine-tuning job", 0)]
        part = (min(self.share(now), 1.0) - 0.2) / 0.8
        done = max(0, int(part * self.steps)) if self.fault is None and self.cancelled_at is None else 0
        for step in range(1, done + 1) if self.play.metrics else ():
            loss = round(0.1 + 2 * math.exp(-3 * step / self.steps), 4)
            data: Json = {"step": step, "total_steps": self.steps, "train_loss": loss}
            if self.asked.get("validation_file"):
                data["valid_loss"] = round(loss + 0.15, 4)
            found.append(self._event(f"Step {step}/{self.steps}: training loss={loss}", step, data))
        return found[::-1]

    def _event(self, message: str, number: int, data: Json | None = None) -> Json:
        return {
            "id": f"ftevent-{self.id}-{number}",
            "object": "fine_tuning.job.event",
            "created_at": int(self.begun),
            "level": "info",
            "message": message,
            "type": "message" if data is None else "metrics",
            "data": data,
        }


class Tuned:
    """The jobs and what came of them. `file` gives the bytes of an uploaded file, or None."""

    def __init__(self, clock: Callable[[], float], file: Callable[[str], bytes | None]) -> None:
        self._clock = clock
        self._file = file
        self._jobs: dict[str, _Job] = {}
        self.play = TuningPlay()

    def runs(self, play: TuningPlay) -> None:
        """How jobs run that begin from now on, and those that had no end."""
        for job in self._jobs.values():
            if job.play.for_s is None:
                job.play = play
        self.play = play

    def clear(self) -> None:
        """Forget them."""
        self._jobs.clear()
        self.play = TuningPlay()

    def answer(self, method: str, route: str, fields: Json) -> Json:
        """Answer a call of `fine_tuning/…`. Raises InvalidRequest, NotFound, MethodNotAllowed."""
        name, _, part = route.removeprefix("jobs").lstrip("/").partition("/")
        if not name:
            return self._create(fields) if method == "POST" else self._list(fields)
        job = self._jobs.get(name)
        if job is None:
            raise NotFound(f"Could not find fine tune: {name}", code="fine_tune_not_found")
        now = self._clock()
        if part == "cancel":
            if method != "POST":
                raise MethodNotAllowed(f"{route} takes POST, not {method}")
            if job.status(now) in {"succeeded", "failed", "cancelled"}:
                raise InvalidRequest(f"Job has already completed: {name}")
            job.cancelled_at = now
        if part == "events":
            return _page(job.events(now), fields)
        return job.told(now)

    def says(self, model: str, question: str) -> str | None:
        """What a trained model answers to a question; None where the model is none of ours. Raises NotFound
        for one that was never trained."""
        if not model.startswith(PREFIX):
            return None
        now = self._clock()
        for job in self._jobs.values():
            if job.model == model and job.status(now) == "succeeded":
                asked = _words(question)
                return max(job.examples, key=lambda pair: _alike(asked, _words(pair[0])))[1]
        raise NotFound(f"The model {model} does not exist", code="model_not_found", param="model")

    def _create(self, asked: Json) -> Json:
        for need in ("model", "training_file"):
            if not isinstance(asked.get(need), str):
                raise InvalidRequest(f"{need} is missing", param=need)
        files = [asked["training_file"], asked.get("validation_file")]
        found = [self._file(each) for each in files if each is not None]
        if any(each is None for each in found):
            raise InvalidRequest(
                f"invalid training_file: {files}", code="invalid_file", param="training_file"
            )
        if len(self._jobs) >= JOBS_MAX:
            raise InvalidRequest(f"{JOBS_MAX} jobs are kept until a reset")
        job = _Job(len(self._jobs) + 1, asked, found[0] or b"", self.play, self._clock())
        self._jobs[job.id] = job
        return job.told(self._clock())

    def _list(self, fields: Json) -> Json:
        if not self.play.listed:
            raise NotFound("no route lists jobs here")
        now = self._clock()
        wanted = {
            found[1]: value
            for name, value in fields.items()
            if (found := re.fullmatch(r"metadata\[(.+)\]", name))
        }
        jobs = [
            job.told(now)
            for job in reversed(self._jobs.values())
            if wanted.items() <= (job.asked.get("metadata") or {}).items()
        ]
        return _page(jobs, fields)


def _page(rows: list[Json], fields: Json) -> Json:
    after = next((at + 1 for at, row in enumerate(rows) if row["id"] == fields.get("after")), 0)
    limit = int(fields.get("limit") or LISTED)
    return {"object": "list", "data": rows[after:][:limit], "has_more": len(rows) > after + limit}


def _epochs(asked: Json) -> int:
    method = asked.get("method") or {}
    said = (method.get("supervised") or {}).get("hyperparameters") or asked.get("hyperparameters") or {}
    epochs = said.get("n_epochs", "auto")
    return epochs if isinstance(epochs, int) else 3


def _read(data: bytes) -> tuple[list[tuple[str, str]], tuple[str, str] | None]:
    """A training file's questions and answers, and what is wrong with it (a code and a message)."""
    pairs: list[tuple[str, str]] = []
    try:
        for line in data.decode().splitlines():
            *before, last = json.loads(line)["messages"]
            if last["role"] != "assistant" or not last["content"]:
                return pairs, ("invalid_file_format", "the last message of each example is the assistant's")
            pairs.append((before[-1]["content"], last["content"]))
    except (ValueError, KeyError, TypeError, IndexError):
        return pairs, ("invalid_file_format", "Invalid file format. Expected chat examples, one a line.")
    if len(pairs) < EXAMPLES_MIN:
        told = f"Training file has {len(pairs)} example(s), but must have at least {EXAMPLES_MIN} examples"
        return pairs, ("invalid_n_examples", told)
    return pairs, None


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))


def _alike(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / (len(one | other) or 1)
