"""Training at a provider: paid for once whatever happens, ended when nobody wants it, told in clear words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from airboss.testing import FakeProvider, ScriptStep, TuningPlay
from airboss.tuning.hosted import HostedTrainer, Waits
from airboss.tuning.hosted_http import Provider
from airboss.tuning.ports import Trained, TrainingFailed, TrainOrder
from tests.support.fake import fake_process, provider

__all__ = ["fake_process", "provider"]

KEY = "sk-provider-secret-0123456789"
QUICK = Waits(look_s=0.02, look_s_max=0.1, failing_s=5.0, silent_s=5.0)
LABELS = ("left", "right")


class Stopped(Exception):
    """What a report raises where the job is to be left."""


def order(
    folder: Path, *, examples: int = 20, validation: bool = True, name: str = "finetune-1"
) -> TrainOrder:
    """An order with its files, the same for the same folder."""
    work = folder / name
    work.mkdir(exist_ok=True)
    for part in ("training", "validation"):
        lines = []
        for number in range(examples):
            label = LABELS[number % 2]
            said = [{"role": "user", "content": f"{part} {number} goes {label}"}]
            lines.append(json.dumps({"messages": [*said, {"role": "assistant", "content": f"{label}!"}]}))
        (work / f"{part}.jsonl").write_text("\n".join(lines) + "\n")
    return TrainOrder(
        model="up",
        training=work / "training.jsonl",
        validation=work / "validation.jsonl" if validation else None,
        epochs=2,
        learning_rate=1.5,
        rank=8,
        seed=3,
        work=work,
    )


def train(provider: FakeProvider, wanted: TrainOrder, report: Any = None, **more: Any) -> Trained:
    """Train in quick steps."""
    trainer = HostedTrainer(
        lambda: Provider("fake", provider.url, KEY), waits=more.pop("waits", QUICK), **more
    )
    return trainer.train(wanted, report or (lambda *_: None))


def raw(provider: FakeProvider, path: str) -> Any:
    """What the provider says to anybody."""
    return httpx2.get(f"{provider.url}/{path}", trust_env=False).json()


def jobs(provider: FakeProvider) -> list[dict[str, Any]]:
    """The jobs that the provider has."""
    found: list[dict[str, Any]] = raw(provider, "fine_tuning/jobs")["data"]
    return found


def files(provider: FakeProvider) -> list[Any]:
    """The files that the provider has."""
    found: list[Any] = raw(provider, "files")["data"]
    return found


def bodies(provider: FakeProvider, path: str) -> Iterator[dict[str, Any]]:
    """What was posted there."""
    for seen in provider.stats().last:
        if seen.method == "POST" and seen.path == path:
            yield json.loads(seen.body)


def test_a_model_is_trained_and_answers_as_it_was(provider: FakeProvider, tmp_path: Path) -> None:
    """The new model's name, its tokens and its curve come back; the numbers asked for were sent; nothing is
    left at the provider but the model, which says what it was taught."""
    said: list[tuple[int, int, str]] = []
    trained = train(provider, order(tmp_path), lambda *each: said.append(each))
    model = trained.fields["model"]
    assert model.startswith("ft:up:")
    assert trained.trained_tokens
    assert (trained.cost_usd, trained.left_behind) == (None, ())
    steps = [point.step for point in trained.losses]
    assert steps == sorted(steps)
    assert len(steps) == 10
    assert trained.losses[0].training > trained.losses[-1].training  # type: ignore[operator]  # both are told
    assert trained.losses[0].validation is not None
    assert files(provider) == []
    (body,) = bodies(provider, "/v1/fine_tuning/jobs")
    assert body["method"]["supervised"]["hyperparameters"] == {"n_epochs": 2, "learning_rate_multiplier": 1.5}
    assert (body["seed"], body["suffix"]) == (3, "finetune-1")
    assert "hyperparameters" not in body
    assert any("running" in note and total == 10 for _, total, note in said)
    asked = {"model": model, "messages": [{"role": "user", "content": "where? right I think"}]}
    answer = httpx2.post(f"{provider.url}/chat/completions", json=asked, trust_env=False).json()
    assert answer["choices"][0]["message"]["content"] == "right!"


def test_who_knows_the_old_way_gets_it_too(provider: FakeProvider, tmp_path: Path) -> None:
    """Servers that were made before `method` find the numbers where OpenAI once had them."""
    train(provider, order(tmp_path, validation=False), old_way=True)
    (body,) = bodies(provider, "/v1/fine_tuning/jobs")
    assert body["hyperparameters"] == body["method"]["supervised"]["hyperparameters"]
    assert "validation_file" not in body


@pytest.mark.parametrize("fault", ["429;retry_after=0", "500", "503", "cut-reset", "reset", "truncated-body"])
def test_what_passes_is_waited_for(provider: FakeProvider, tmp_path: Path, fault: str) -> None:
    """Each call in turn fails, before or after it was done: there is one job, and it is trained."""
    for at in range(8):
        provider.reset()
        provider.tuning(TuningPlay(for_s=0.05))
        steps = [
            *([ScriptStep(behaviour="ok", calls=at)] if at else []),
            ScriptStep(behaviour=fault, calls=2),
        ]
        provider.script(*steps)
        assert train(provider, order(tmp_path, name=f"finetune-{at}")).fields["model"]
        assert len(jobs(provider)) == 1
        assert files(provider) == []


class Cut(Exception):
    """The process dies here."""


@pytest.mark.parametrize("path", ["/files", "/fine_tuning/jobs"])
@pytest.mark.parametrize("done", [False, True])
def test_a_kill_between_doing_and_noting_pays_once(
    provider: FakeProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, done: bool
) -> None:
    """Whoever goes on finds what was made and not noted; two files, one job."""
    plain = Provider._call

    def dying(self: Provider, method: str, at: str, **more: Any) -> Any:
        if (method, at) != ("POST", path):
            return plain(self, method, at, **more)
        if done:
            plain(self, method, at, **more)
        raise Cut

    wanted = order(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(Provider, "_call", dying)
        with pytest.raises(Cut):
            train(provider, wanted)
    assert train(provider, wanted).fields["model"]
    assert len(jobs(provider)) == 1
    assert files(provider) == []


def test_one_that_is_left_goes_on(provider: FakeProvider, tmp_path: Path) -> None:
    """What a report raises ends the wait, and nothing at the provider; the same order goes on."""
    provider.tuning(TuningPlay(for_s=None))
    wanted = order(tmp_path)

    def leave(_done: int, _total: int, note: str) -> None:
        if "running" in note:
            raise Stopped

    with pytest.raises(Stopped):
        train(provider, wanted, leave)
    assert jobs(provider)[0]["status"] == "running"
    assert len(files(provider)) == 2
    provider.tuning(TuningPlay(for_s=0.1))
    assert train(provider, wanted).fields["model"]
    assert len(jobs(provider)) == 1


def test_one_that_nobody_wants_is_ended(provider: FakeProvider, tmp_path: Path) -> None:
    """The job is cancelled at the provider and the files are deleted, also those that were never noted; an
    order that never began asks nobody."""
    provider.tuning(TuningPlay(for_s=None))
    wanted = order(tmp_path)

    def leave(_done: int, _total: int, note: str) -> None:
        if "running" in note:
            raise Stopped

    with pytest.raises(Stopped):
        train(provider, wanted, leave)
    notes = json.loads((wanted.work / "hosted.json").read_text())
    (wanted.work / "hosted.json").write_text(json.dumps({**notes, "job": None, "validation": None}))
    trainer = HostedTrainer(lambda: Provider("fake", provider.url, KEY), waits=QUICK)
    trainer.abandon(wanted)
    assert jobs(provider)[0]["status"] == "cancelled"
    assert files(provider) == []
    before = provider.stats().requests
    trainer.abandon(order(tmp_path, name="never"))
    assert provider.stats().requests == before


@pytest.mark.parametrize(
    ("play", "examples", "words"),
    [
        (
            TuningPlay(outcome="failed", for_s=0.1, message="unsafe\nfile"),
            20,
            "could not train 'up': unsafe file",
        ),
        (TuningPlay(outcome="cancelled", for_s=0.1), 20, "was cancelled at provider 'fake'"),
        (TuningPlay(for_s=0.1), 4, "has 4 example(s), but must have at least 10"),
    ],
)
def test_why_a_job_failed_is_told(
    provider: FakeProvider, tmp_path: Path, play: TuningPlay, examples: int, words: str
) -> None:
    """The provider's reason, on one line; the files are gone."""
    provider.tuning(play)
    with pytest.raises(TrainingFailed) as caught:
        train(provider, order(tmp_path, examples=examples))
    assert words in str(caught.value)
    assert files(provider) == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("status;status=401", "give it an api_key that may"),
        ("echo-authorization", "api_key"),
        ("429;code=insufficient_quota", "quota is used up"),
        ("status;status=404", "does it fine-tune this model"),
        ("status;status=400", "answers POST /fine_tuning/jobs with 400"),
    ],
)
def test_what_will_not_pass_is_told_at_once(
    provider: FakeProvider, tmp_path: Path, fault: str, words: str
) -> None:
    """A refusal is not repeated, and never shows the key; no file stays."""
    provider.script(ScriptStep(behaviour=fault, model="up", forever=True))
    with pytest.raises(TrainingFailed) as caught:
        train(provider, order(tmp_path))
    assert words in str(caught.value)
    assert KEY not in str(caught.value)
    assert len(list(bodies(provider, "/v1/fine_tuning/jobs"))) == 1
    assert files(provider) == []


def test_a_job_that_cannot_be_looked_for_is_not_made_twice(provider: FakeProvider, tmp_path: Path) -> None:
    """Where the answer was lost and the server lists no jobs, nobody knows: a person has to look."""
    provider.tuning(TuningPlay(listed=False))
    provider.script(ScriptStep(behaviour="truncated-body", model="up"))
    with pytest.raises(TrainingFailed, match="does not list jobs: look there"):
        train(provider, order(tmp_path))
    assert len(list(bodies(provider, "/v1/fine_tuning/jobs"))) == 1


def test_patience_ends(provider: FakeProvider, tmp_path: Path) -> None:
    """A job that takes too long is cancelled; one whose provider is away for too long is given up."""
    provider.tuning(TuningPlay(for_s=None))
    with pytest.raises(TrainingFailed, match="was cancelled"):
        train(provider, order(tmp_path), waits=Waits(look_s=0.02, job_s=0.3))
    assert jobs(provider)[0]["status"] == "cancelled"
    provider.outage()
    with pytest.raises(TrainingFailed, match="cannot be reached"):
        train(provider, order(tmp_path, name="other"), waits=Waits(look_s=0.02, failing_s=0.3))


def test_without_metrics_there_is_no_curve(provider: FakeProvider, tmp_path: Path) -> None:
    """Who tells no losses trains all the same."""
    provider.tuning(TuningPlay(metrics=False, for_s=0.1))
    assert train(provider, order(tmp_path)).losses == ()
