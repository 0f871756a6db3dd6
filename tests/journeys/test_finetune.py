"""Fine-tuning of a running Airboss: a model is trained and judged, a kill pays for nothing twice."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from airboss.testing import FakeProvider, ScriptStep, TuningPlay
from tests.journeys.configs import sorting
from tests.support.airboss import Airboss, run_airboss
from tests.support.wait import until

LABELS = ("left", "right", "up")
SIZES = {"train": 30, "validation": 9, "holdout": 30}


def items(folder: Path, name: str, *, told: bool = False, user: str | None = None) -> Path:
    """A file of items; `told`: the fake model knows the answer without any training. `user` said those of the
    train part."""
    lines = []
    for part, size in SIZES.items():
        for number in range(size):
            label = LABELS[number % len(LABELS)]
            text = f"{name} {part} {number} goes {label} now"
            text += f' fake:{{"text": "{label}"}}' if told else ""
            line = {"id": f"{part}-{number}", "input": text, "expected": label, "part": part}
            lines.append(line | ({"user": user} if user is not None and part == "train" else {}))
    path = folder / f"{name}.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def finetune(airboss: Airboss, dataset: str, *more: str) -> Any:
    """The verb's process, ended."""
    command = ["finetune", "run", "--deployment", "support", "--dataset", dataset]
    return run_airboss(*command, *more, "--json", "--data-dir", str(airboss.data), cwd=airboss.root)


def raw(provider: FakeProvider, path: str) -> Any:
    """What the provider has there."""
    return httpx2.get(f"{provider.url}/{path}", trust_env=False).json()["data"]


@pytest.fixture
def airboss(provider: FakeProvider, tmp_path: Path) -> Iterator[Airboss]:
    """A running one with a dataset to learn from."""
    with Airboss(tmp_path / "a", sorting(provider.url)) as running:
        running.verb("dataset", "create", "steer", "--file", str(items(tmp_path, "steer")))
        yield running


def test_a_better_model_is_trained_and_rolled_out(
    airboss: Airboss, provider: FakeProvider, tmp_path: Path
) -> None:
    """Exit 0, and model and release in the configuration, with the digest that was judged; the deployment is
    as it was until a rollout takes it. Where the model is no better, exit 1 and nothing is there."""
    done = finetune(airboss, "steer", "--epochs", "2")
    assert done.returncode == 0, done.stderr + airboss.log[-3000:]
    said = json.loads(done.stdout)
    found = said["result"]
    assert (found["better"], found["proposed"]) == (True, "support-finetuned")
    assert found["judgement"]["gain"]["low"] > 0.5
    assert found["learned"]["trained"]["trained_tokens"] > 0
    assert found["learned"]["trained"]["cost_usd"] is None
    assert len(found["learned"]["trained"]["losses"]) > 5
    text = airboss.verb("export")
    held = tomllib.loads(text)
    model = held["models"]["support-finetuned"]
    assert model == {"provider": "fake", "model": said["new_model"]["model"]}
    assert held["releases"]["support-finetuned"]["prompt"] == "Sort the message."
    assert held["deployments"]["support"]["release"] == "support"
    listed = [json.loads(line) for line in airboss.verb("release", "list", "--json").splitlines()]
    digest = found["release"]["digest"]
    assert digest in {each["digest"] for each in listed if each["name"] == "support-finetuned"}
    assert not (airboss.data / "finetune").exists() or not list((airboss.data / "finetune").iterdir())
    assert raw(provider, "files") == []
    airboss.settled()
    records = [json.loads(line) for line in airboss.verb("records", "--json", "--limit", "200").splitlines()]
    judged = [each for each in records if each["release"] == digest]
    assert len(judged) == SIZES["holdout"]
    assert {each["cost_usd"] for each in judged} == {None}
    told = airboss.verb("finetune", "show", said["id"])
    assert f"model = {said['new_model']['model']}" in told
    assert "better: exact" in told
    assert "[models.support-finetuned]" in told
    airboss.verb("rollout", "start", "support", "--release", "support-finetuned")
    (tmp_path / "flat").mkdir()
    airboss.verb("dataset", "create", "flat", "--file", str(items(tmp_path / "flat", "flat", told=True)))
    before = airboss.verb("export")
    flat = finetune(airboss, "flat", "--name", "other")
    assert flat.returncode == 1, flat.stdout + flat.stderr
    assert json.loads(flat.stdout)["better"] is False
    assert airboss.verb("export") == before
    ids = [json.loads(line)["id"] for line in airboss.verb("finetune", "list", "--json").splitlines()]
    assert len(ids) == 2
    assert "not better" in airboss.verb("finetune", "show", ids[0])
    assert ids[0] in airboss.verb("job", "list", "--kind", "finetune")
    audited = airboss.verb("audit", "list", "--json")
    assert (audited.count('"finetune.run"'), audited.count('"finetune.end"')) == (2, 2)


@pytest.fixture(scope="module")
def shared(fake_process: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airboss]:
    """One for the tests below, each with a dataset and a name of its own; a controller that is killed comes
    again."""
    root = tmp_path_factory.mktemp("finetune")
    with Airboss(root / "a", sorting(fake_process.url)) as running:
        yield running


def note(airboss: Airboss, job: str) -> str:
    """Where it stands."""
    return str(airboss.api(f"finetunes/{job}")["summary"]["note"])


@pytest.mark.parametrize("phase", ["asking", "running", "judging"])
def test_a_killed_controller_pays_once(
    shared: Airboss, provider: FakeProvider, tmp_path: Path, phase: str
) -> None:
    """`kill -9` while the job is asked for, while it runs and while it is judged: one job, its model, one
    reading of the holdout, and no answer that is paid for twice."""
    provider.tuning(TuningPlay(for_s=None if phase == "running" else 0.2))
    if phase == "asking":
        provider.script(ScriptStep(behaviour="silence", model="up"))
    elif phase == "judging":  # it does not end before the kill
        provider.script(ScriptStep(behaviour="silence", forever=True, holding=(f"{SIZES['holdout'] - 1}",)))
    slow = f"slow-{phase}"
    shared.verb("dataset", "create", slow, "--file", str(items(tmp_path, slow)))
    job = json.loads(finetune(shared, slow, "--name", phase, "--detach").stdout)["id"]
    if phase == "asking":
        until(lambda: bool(raw(provider, "fine_tuning/jobs")))
    elif phase == "running":
        until(lambda: "running" in note(shared, job))
    else:
        judged = lambda: shared.api(f"finetunes/{job}")["summary"]["done"]  # noqa: E731 - shorter so
        until(lambda: "judges" in note(shared, job) and judged() > 10, timeout_s=60)
    shared.begun_anew("controller")
    provider.script()
    provider.tuning(TuningPlay(for_s=0.2))
    shared.leases_run_out()
    done = run_airboss(
        "finetune", "show", job, "--wait", "--json", "--data-dir", str(shared.data), cwd=tmp_path
    )
    found = json.loads(done.stdout)["result"]
    assert found["better"], done.stdout + done.stderr
    (made,) = raw(provider, "fine_tuning/jobs")
    assert found["learned"]["trained"]["fields"] == {"model": made["fine_tuned_model"]}
    assert raw(provider, "files") == []
    shown = json.loads(shared.verb("dataset", "show", slow, "--json"))
    assert shown["holdout_reads"] == 1 or len(shown["reads"]) == 1
    assert found["calls"] <= 2 * SIZES["holdout"] + 4  # those in flight at the kill were lost


def test_a_cancelled_one_ends_at_the_provider_too(
    shared: Airboss, provider: FakeProvider, tmp_path: Path
) -> None:
    """The job there is cancelled, its files and ours are deleted; `job cancel` says so at once."""
    provider.tuning(TuningPlay(for_s=None))
    shared.verb("dataset", "create", "ended", "--file", str(items(tmp_path, "ended")))
    job = json.loads(finetune(shared, "ended", "--name", "ended", "--detach").stdout)["id"]
    until(lambda: "running" in note(shared, job))
    files = shared.data / "finetune" / job
    assert len((files / "training.jsonl").read_text().splitlines()) == SIZES["train"]
    assert len(raw(provider, "files")) == 2
    assert json.loads(shared.verb("job", "cancel", job, "--json"))["state"] == "cancelled"
    until(lambda: not files.exists())
    assert raw(provider, "fine_tuning/jobs")[0]["status"] == "cancelled"
    assert raw(provider, "files") == []


def test_people_are_learnt_from_only_when_said_and_forgotten_while_it_runs(
    shared: Airboss, provider: FakeProvider, tmp_path: Path
) -> None:
    """Without --people there is too little left, and the reason; with it a person who is erased meanwhile is
    taken out of the files."""
    (tmp_path / "people").mkdir()
    path = items(tmp_path / "people", "people", user="ann")
    lines = path.read_text().splitlines()
    path.write_text(
        "\n".join(line.replace('"ann"', '"bob"') if n % 2 else line for n, line in enumerate(lines))
    )
    shared.verb("dataset", "create", "people", "--file", str(path))
    refused = finetune(shared, "people")
    assert refused.returncode == 2
    assert "30 came from people" in refused.stderr
    provider.tuning(TuningPlay(for_s=None))
    job = json.loads(finetune(shared, "people", "--people", "--name", "people", "--detach").stdout)["id"]
    until(lambda: "running" in note(shared, job))
    training = shared.data / "finetune" / job / "training.jsonl"
    assert len(training.read_text().splitlines()) == SIZES["train"]
    shared.verb("erase", "--user", "ann", "--yes")
    until(lambda: len(training.read_text().splitlines()) == SIZES["train"] // 2)
    shared.verb("job", "cancel", job)
    until(lambda: not training.exists())


OTHER = """
[providers.claude]
kind = "anthropic"
base_url = "http://127.0.0.1:9"

[providers.keyless]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
api_key = "env:NO_SUCH_KEY"

[models.claude]
provider = "claude"
model = "claude-x"

[models.keyless]
provider = "keyless"
model = "gpt-x"

[releases.claude]
model = "claude"

[releases.keyless]
model = "keyless"
"""


def test_what_cannot_be_is_refused_with_what_can(airboss: Airboss, provider: FakeProvider) -> None:
    """Exit 2 and the reason, with nothing queued: a dataset that is none, numbers, a provider without
    training, a key that is missing. A job that fails at the provider is exit 1 with its reason."""
    more = airboss.root / "more.toml"
    more.write_text(airboss.verb("export") + OTHER)
    airboss.verb("apply", str(more))
    cases: list[tuple[tuple[str, ...], str, str]] = [
        ((), "nowhere", "no dataset is called 'nowhere'"),
        (("--epochs", "0"), "steer", "greater than or equal to 1"),
        (("--learning-rate", "-1"), "steer", "a learning rate of -1.0"),
        (("--learning-rate", "nan"), "steer", "what is given cannot be sent as JSON"),
        (("--name", "a/b"), "steer", "'a/b' cannot be a name"),
        (("--alpha", "2"), "steer", "alpha is 2.0"),
        (("--scorer", "nonesuch"), "steer", "no scorer is of kind 'nonesuch'"),
        (("--release", "nobody"), "steer", "no release 'nobody'"),
        (("--release", "claude"), "steer", "Anthropic has no API to train its models"),
        (("--release", "keyless"), "steer", "NO_SUCH_KEY"),
    ]
    for arguments, dataset, words in cases:
        refused = finetune(airboss, dataset, *arguments)
        assert refused.returncode == 2, (arguments, refused.stdout, refused.stderr)
        assert words in refused.stderr, refused.stderr
    assert airboss.verb("finetune", "list", "--json") == ""
    provider.tuning(TuningPlay(outcome="failed", for_s=0.1, message="The file is unsafe."))
    failed = finetune(airboss, "steer")
    assert failed.returncode == 1
    assert "could not train 'up': The file is unsafe." in failed.stderr
    assert airboss.verb("audit", "list", "--json").count('"finetune.end"') == 1
    # What was paid for is named, also where it can be judged no more.
    ends = TuningPlay(for_s=0.1)
    provider.tuning(TuningPlay(for_s=None))
    job = json.loads(finetune(airboss, "steer", "--detach").stdout)["id"]
    until(lambda: "running" in note(airboss, job))
    more.write_text(airboss.verb("export").replace("Sort the message.", "Sort it."))
    airboss.verb("apply", str(more))
    airboss.verb("rollout", "start", "support")
    airboss.verb("rollout", "promote", "support")
    provider.tuning(ends)
    until(lambda: airboss.api(f"jobs/{job}")["state"] == "failed", timeout_s=60)
    assert "is not served any more, so the new model was not judged" in airboss.api(f"jobs/{job}")["error"]
    assert "the model was trained and is there: model = ft:up:" in airboss.api(f"jobs/{job}")["error"]
    assert json.loads(airboss.verb("dataset", "show", "steer", "--json"))["holdout_reads"] == 0
    provider.tuning(TuningPlay(for_s=None))
    job = json.loads(finetune(airboss, "steer", "--detach").stdout)["id"]
    until(lambda: "running" in note(airboss, job))
    airboss.verb("dataset", "delete", "steer", "--yes")
    provider.tuning(ends)
    until(lambda: airboss.api(f"jobs/{job}")["state"] == "failed", timeout_s=60)
    assert "the model was trained and is there: model = ft:up:" in airboss.api(f"jobs/{job}")["error"]
