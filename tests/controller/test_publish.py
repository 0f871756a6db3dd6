"""A configuration put into force, on a real ledger and data directory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airboss.config import ModelConfig
from airboss.controller.publish import apply_config, starter_config, without_literal_keys
from airboss.domain.errors import ConfigError, SetupError
from airboss.domain.plan import ServingPlan
from airboss.domain.ports import ApiKey, Replica, ReplicaState
from airboss.governance import policies
from airboss.governance.redact import Redactor
from airboss.governance.secrets import provider_key, provider_secrets
from airboss.store.datadir import DataDir, read_secret
from airboss.store.ledger import SqlLedger
from tests.support.adapter import random_adapter
from tests.support.engine import starter_weights
from tests.support.kept_keys import put_key

NOW = datetime(2026, 11, 1, tzinfo=UTC)
LOCAL = """
[providers.local]
kind = "local"

[models.a]
provider = "local"
model = "file:/weights/a.gguf"

[models.b]
provider = "local"
model = "file:/weights/b.gguf"

[deployments.a]
model = "a"

[deployments.b]
model = "b"
"""
HOSTED = """
[providers.far]
kind = "openai-compatible"
base_url = "https://h/v1"
api_key = {key}

[models.m]
provider = "far"
model = "x"

[deployments.m]
model = "m"
"""


class House:
    """A ledger, a data directory, and ports that count up from 9000."""

    def __init__(self, folder: Path) -> None:
        self.data = DataDir(folder)
        self.data.create()
        self.ledger = SqlLedger(self.data.ledger_url)
        self.ports: Iterator[int] = itertools.count(9000)

    def apply(self, text: str, **given: object) -> ServingPlan:
        """Apply a configuration."""
        options: dict[str, object] = {
            "source": "airboss.toml",
            "data": self.data,
            "pick_port": lambda: next(self.ports),
            "now": NOW,
            "tools": lambda _: False,
            "engine_version": "e 1",
        }
        return apply_config(self.ledger, text, **{**options, **given})  # type: ignore[arg-type]  # shared defaults

    def urls(self) -> dict[str, str]:
        """Where each replica listens."""
        return {each.model: each.url for each in self.ledger.placements() if each.draining_since is None}

    def stand(self, state: ReplicaState, *, only: str | None = None, detail: str | None = None) -> None:
        """Say that every engine, or only that one, is in that state."""
        for each in self.ledger.placements():
            if only in {None, each.id}:
                row = Replica(
                    id=each.id,
                    model=each.model,
                    url=each.url,
                    state=state,
                    restarts=0,
                    since=NOW,
                    detail=detail,
                )
                self.ledger.put_replica(row)

    def all_bytes(self) -> bytes:
        """Everything in the ledger's files."""
        return b"".join(path.read_bytes() for path in self.data.path.glob("ledger.db*"))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """An empty house."""
    made = House(tmp_path / "data")
    yield made
    made.ledger.close()


def test_the_starter_is_applied(house: House) -> None:
    """The first plan serves the starter model at its replica's port."""
    plan = house.apply(starter_config(openai_key_present=False))
    assert plan.number == 1
    (deployment,) = plan.deployments
    assert deployment.target.base_urls == ("http://127.0.0.1:9000/v1",)
    (placed,) = house.ledger.placements()
    assert (placed.id, placed.model, placed.draining_since) == ("smollm2", "smollm2", None)
    assert placed.url == "http://127.0.0.1:9000/v1"
    assert house.ledger.config() == starter_config(openai_key_present=False)
    snapshot = house.ledger.snapshot()
    assert snapshot is not None
    assert snapshot.plan == plan


def test_applying_it_again_changes_nothing(house: House) -> None:
    """The same configuration publishes no new plan and moves no port."""
    first = house.apply(LOCAL)
    revision, urls = house.ledger.revision(), house.urls()
    assert house.apply(LOCAL, now=datetime(2027, 1, 1, tzinfo=UTC)) == first
    assert (house.ledger.revision(), house.urls()) == (revision, urls)


def test_a_comment_is_a_change_worth_keeping(house: House) -> None:
    """The text that was applied last is the one that is exported."""
    house.apply(LOCAL)
    assert house.apply("# why\n" + LOCAL).number == 2
    assert house.ledger.config() == "# why\n" + LOCAL


def test_a_new_engine_or_new_tools_are_a_new_plan(house: House) -> None:
    """What shapes the plan without being in the file is published too: after an upgrade, or with weights."""
    digests = [house.apply(LOCAL).deployments[0].stable.digest]
    upgraded = house.apply(LOCAL, engine_version="e 2")
    digests.append(upgraded.deployments[0].stable.digest)
    assert upgraded.number == 2
    assert len(set(digests)) == 2
    with_tools = house.apply(LOCAL, engine_version="e 2", tools=lambda model: model.model.endswith("b.gguf"))
    assert with_tools.number == 3
    assert [each.target.tools for each in with_tools.deployments] == [False, True]


def test_a_wrong_configuration_changes_nothing(house: House) -> None:
    """Whatever is wrong, the plan, the replicas and the secrets stay as they were."""
    house.apply(LOCAL)
    before = (house.ledger.snapshot(), house.ledger.config(), house.urls())
    with pytest.raises(ConfigError, match=r"airboss.toml:\d+: deployments.c.model"):
        house.apply(HOSTED.format(key='"sk-literal-1234567"') + '[deployments.c]\nmodel = "nowhere"\n')
    assert (house.ledger.snapshot(), house.ledger.config(), house.urls()) == before
    assert list(house.data.secrets_dir.iterdir()) == []


def test_each_local_model_keeps_its_port(house: House) -> None:
    """Ports are different, and stay when other things change."""
    house.apply(LOCAL)
    before = house.urls()
    assert len(set(before.values())) == 2
    house.apply(LOCAL + "timeout = { total_s = 5 }\n")
    house.apply(
        LOCAL.replace("[models.b]", "[models.b]\nprice = { input_usd_per_mtok = 1, output_usd_per_mtok = 1 }")
    )
    assert house.urls() == before


def test_a_port_is_not_given_twice(house: House) -> None:
    """A port may look free only because its replica has not started."""
    house.ports = iter([9000, 9000, 9000, 9001])
    house.apply(LOCAL)
    assert sorted(house.urls().values()) == ["http://127.0.0.1:9000/v1", "http://127.0.0.1:9001/v1"]


def test_a_machine_without_free_ports_is_said(house: House) -> None:
    """Looking for a port ends."""
    house.ports = itertools.repeat(9000)
    with pytest.raises(SetupError, match="no free port"):
        house.apply(LOCAL)
    assert house.urls() == {}


@pytest.mark.parametrize("change", ["slots = 2", "threads = 1", "context_tokens = 512"])
def test_an_engine_that_must_start_anew_is_placed_beside_the_old(house: House, change: str) -> None:
    """It gets a port of its own, and calls go to the old one until it is ready; then the old one drains."""
    house.apply(LOCAL)
    house.stand("ready")
    before = house.urls()
    changed = LOCAL.replace("[models.a]", f"[models.a]\n{change}")
    plan = house.apply(changed)
    assert [each.id for each in house.ledger.placements()] == ["a", "a:2", "b"]
    assert plan.deployments[0].target.base_urls == (before["a"],)
    house.stand("ready")
    plan = house.apply(changed)
    after = house.urls()
    assert after["a"] not in before.values()
    assert after["b"] == before["b"]
    assert plan.deployments[0].target.base_urls == (after["a"],)
    assert [each.id for each in house.ledger.placements() if each.draining_since is not None] == ["a"]


def test_other_weights_are_another_engine(house: House) -> None:
    """A model of the same name with other weights is another release on another port. Until its engine is
    ready, the release before it serves, and answers are attributed to that."""
    first = house.apply(LOCAL)
    house.stand("ready")
    before = house.urls()
    changed = LOCAL.replace("/a.gguf", "/c.gguf")
    held = house.apply(changed)
    assert held.deployments[0].stable == first.deployments[0].stable
    waiting = [each.release.digest for each in held.others]
    house.stand("ready")
    second = house.apply(changed)
    assert house.urls()["a"] != before["a"]
    assert first.deployments[0].stable.digest != second.deployments[0].stable.digest
    assert second.deployments[0].stable.digest in waiting


def test_weights_that_fail_take_nothing_down(house: House) -> None:
    """The old engine serves on, whatever is applied besides; the next apply tries the new one anew, and
    going back needs no new engine at all."""
    first = house.apply(LOCAL)
    house.stand("ready")
    changed = LOCAL.replace("/a.gguf", "/c.gguf")
    house.apply(changed)
    house.stand("failed", only="a:2", detail="ended with exit code 2")
    assert house.apply(changed, retry_failed=False).deployments[0].target == first.deployments[0].target
    assert [each.id for each in house.ledger.placements()] == ["a", "a:2", "b"]
    house.apply(changed)
    assert [each.id for each in house.ledger.placements()] == ["a", "a:3", "b"]
    back = house.apply(LOCAL)
    assert back.deployments[0].target == first.deployments[0].target
    assert [each.id for each in house.ledger.placements() if each.draining_since is None] == ["a", "b"]


def test_a_deployment_without_an_engine_says_why(house: House) -> None:
    """Where nothing else can serve, the plan says at once why nobody answers."""
    house.apply(LOCAL)
    house.stand("failed", only="a", detail="ended with exit code 2: there is no file /weights/a.gguf")
    a, b = house.apply(LOCAL, retry_failed=False).deployments
    assert a.target.down is not None
    assert "there is no file /weights/a.gguf" in a.target.down
    assert b.target.down is None


def test_replicas_of_models_gone_are_dropped(house: House) -> None:
    """A model that no deployment serves any more has no replica."""
    house.apply(LOCAL)
    house.apply(LOCAL.replace('[deployments.b]\nmodel = "b"\n', ""))
    assert set(house.urls()) == {"a"}
    house.apply("")
    assert house.ledger.replicas() == ()


def test_keys_get_what_the_configuration_says(house: House) -> None:
    """[keys] narrows a key; taken out again, the key may use everything. Nothing else changes a key."""
    house.apply(LOCAL)
    for name in ("team-a", "other"):
        put_key(house.ledger, ApiKey(name=name, sha256="ab" * 32, created_at=NOW))

    def allowed() -> dict[str, tuple[str, ...] | None]:
        snapshot = house.ledger.snapshot()
        assert snapshot is not None
        return {key.name: key.deployments for key in snapshot.keys}

    house.apply(LOCAL + '[keys.team-a]\ndeployments = ["a"]\n[keys.later]\ndeployments = ["b"]\n')
    assert allowed() == {"team-a": ("a",), "other": None}
    house.apply(LOCAL)
    assert allowed() == {"team-a": None, "other": None}


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        ('"sk-literal-1234567"', "sk-literal-1234567"),
        ("'sk-literal-1234567' # sk-literal-1234567", "sk-literal-1234567"),
        ('"""sk-literal-1234567"""', "sk-literal-1234567"),
        ('"sk\\u002dliteral-1234567"', "sk-literal-1234567"),
        ('"EMPTY"', "EMPTY"),
        ('"quote\\"and\\\\slash"', 'quote"and\\slash'),
    ],
)
def test_a_literal_key_never_reaches_the_ledger(house: House, key: str, secret: str) -> None:
    """It is moved to a file of its own, comments included, and the plan refers to that."""
    plan = house.apply("# é 'quotes' \"in\" a comment\n" + HOSTED.format(key=key))
    path = house.data.secrets_dir / "provider-far"
    assert read_secret(path) == secret
    assert plan.deployments[0].target.api_key_ref == f"file:{path}"
    assert provider_key(plan.deployments[0].target, env={}, read=read_secret) == secret
    assert secret.encode() not in house.all_bytes()
    text = house.ledger.config()
    assert text is not None
    assert text.count("\n") == HOSTED.count("\n") + 1
    assert house.apply(text) == plan


def test_the_moved_key_is_one_that_redaction_knows(house: House) -> None:
    """From the plan alone a redactor learns what to hide."""
    plan = house.apply(HOSTED.format(key='"sk-literal-1234567"'))
    redactor = Redactor(provider_secrets(plan, env={}, read=read_secret))
    assert redactor.redact_text("key sk-literal-1234567") == "key [REDACTED]"


def test_a_literal_key_can_be_replaced(house: House) -> None:
    """Applying another literal key replaces the file's, and gateways get a plan to read it with."""
    text = HOSTED.format(key='"sk-literal-1234567"')
    assert [house.apply(text).number for _ in range(2)] == [1, 1]
    assert house.apply(text.replace("1234567", "7654321")).number == 2
    assert read_secret(house.data.secrets_dir / "provider-far") == "sk-literal-7654321"


def test_a_key_that_is_also_a_name_stays_out_of_reach(house: House) -> None:
    """If taking a key out would change what the file says otherwise, nothing is applied."""
    text = HOSTED.format(key='"openai-compatible"')
    with pytest.raises(ConfigError, match="api_key of far cannot be moved") as caught:
        house.apply(text)
    assert "env:NAME" in str(caught.value)
    assert list(house.data.secrets_dir.iterdir()) == []
    assert house.ledger.config() is None


def test_a_reference_is_kept_as_it_is(house: House) -> None:
    """env: and file: references stay, and no secret is read at apply time."""
    plan = house.apply(HOSTED.format(key='"env:NOT_SET_ANYWHERE"'))
    assert plan.deployments[0].target.api_key_ref == "env:NOT_SET_ANYWHERE"
    assert list(house.data.secrets_dir.iterdir()) == []


def test_what_the_ledger_would_keep_can_be_asked_without_writing(house: House) -> None:
    """So a file with a literal key can be compared with what is in force."""
    text = HOSTED.format(key='"sk-literal-1234567"')
    stored, config, literals = without_literal_keys(text, source="airboss.toml", data=house.data)
    assert literals == {"far": "sk-literal-1234567"}
    assert list(house.data.secrets_dir.iterdir()) == []
    house.apply(text)
    assert house.ledger.config() == stored
    assert config.providers["far"].api_key == f"file:{house.data.secrets_dir / 'provider-far'}"


def test_tools_are_read_from_weights_at_hand(house: House, tmp_path: Path) -> None:
    """Left to itself, apply looks into the weights; without weights a model has no tools."""
    plan = house.apply(LOCAL, tools=None)
    assert [each.target.tools for each in plan.deployments] == [False, False]
    weights = tmp_path / "broken.gguf"
    weights.write_bytes(b"not GGUF")
    before = house.urls()
    with pytest.raises(SetupError, match=r"broken\.gguf"):
        house.apply(LOCAL.replace("/weights/a.gguf", str(weights)), tools=None)
    assert house.urls() == before


def test_an_adapter_that_cannot_be_served_is_refused(house: House, tmp_path: Path) -> None:
    """A missing file and one for another architecture, with the line; nothing changes. What is in force goes
    on without its file, so that a restart does not fail for it."""
    house.apply(LOCAL)
    file = tmp_path / "a.gguf"
    line = 'model = "file:/weights/b.gguf"'
    text = LOCAL.replace(line, f'model = "file:{starter_weights()}"\nadapter = "file:{file}"')
    with pytest.raises(ConfigError, match=rf"airboss\.toml:12: models\.b\.adapter: there is no file {file}"):
        house.apply(text)
    random_adapter(file, architecture="qwen3")
    with pytest.raises(ConfigError, match=r"airboss\.toml:12: models\.b\.adapter: .*'qwen3'.*'llama'"):
        house.apply(text)
    assert house.ledger.config() == LOCAL
    random_adapter(file)
    # The bare weights serve until the engine with the adapter is ready.
    (waiting,) = house.apply(text).others
    assert waiting.release.model.adapter == f"file:{file}"
    file.unlink()
    assert house.apply(text).others == (waiting,)


def test_names_that_nothing_here_finds_are_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the line and what brings the model; what is in force goes on without it, and says so on a call."""
    text = LOCAL + '\n[policies.p]\npii = { action = "mask", kinds = ["email", "person"] }\n'
    line = text.count("\n")
    monkeypatch.setattr(policies, "names_version", lambda: None)
    wrong = rf"airboss\.toml:{line}: policies\.p\.pii\.kinds: 'person' is found by"
    with pytest.raises(ConfigError, match=wrong) as told:
        house.apply(text)
    assert "-m pip install 'airboss[names]'`" in str(told.value)
    assert house.ledger.config() is None
    monkeypatch.setattr(policies, "names_version", lambda: "a model 1")
    house.apply(text)
    monkeypatch.setattr(policies, "names_version", lambda: None)
    house.apply(text)


@pytest.mark.parametrize(
    ("probe", "why"),
    [
        ('attributes = ["gendr"]', "gendr"),
        ('attribute = ["gender"]', "unknown field `attribute`"),
        ("margins = { refusals = 1.0 }", "no measure is called 'refusals'"),
        ("calls = 4", "4 calls give"),
    ],
)
def test_a_probe_that_could_not_be_made_is_refused(house: House, probe: str, why: str) -> None:
    """When it is applied, with its line: not in a week's time, when it is first due. What is in force already
    goes on."""
    text = LOCAL + f'\n[alarms.bias]\ndeployment = "a"\nprobe = {{ {probe} }}\n'
    with pytest.raises(
        ConfigError, match=rf"airboss\.toml:{text.count(chr(10))}: alarms\.bias\.probe: "
    ) as told:
        house.apply(text)
    assert why in str(told.value)
    assert house.ledger.config() is None
    house.apply(text.replace(probe, 'attributes = ["gender"], calls = 400'))


@pytest.mark.parametrize("scorer", ["exct", "python:gone.py:score"])
def test_an_evaluation_that_could_not_be_made_is_refused(house: House, scorer: str) -> None:
    """As a probe is, with its line."""
    text = LOCAL + '\n[alarms.a]\ndeployment = "a"\neval = { dataset = "golden", scorer = "exact" }\n'
    wrong = rf"airboss\.toml:{text.count(chr(10))}: alarms\.a\.eval\.scorer: "
    with pytest.raises(ConfigError, match=wrong):
        house.apply(text.replace("exact", scorer))
    assert house.ledger.config() is None
    house.apply(text)


def test_the_installed_engine_is_named(house: House) -> None:
    """Left to itself, apply names the engine that is installed; where nothing is local none is named."""
    local = house.apply(LOCAL, engine_version=None).deployments[0].stable.model
    assert local.engine_version is not None
    assert "xllamacpp" in local.engine_version
    hosted = house.apply(HOSTED.format(key='"env:K"'), engine_version=None).deployments[0].stable.model
    assert hosted.engine_version is None


def test_tools_are_asked_of_the_model(house: House) -> None:
    """The caller's function gets the model's configuration, once for each that is served."""
    asked: list[ModelConfig] = []

    def tools(model: ModelConfig) -> bool:
        asked.append(model)
        return True

    house.apply(LOCAL.replace('[deployments.b]\nmodel = "b"\n', ""), tools=tools)
    assert [model.model for model in asked] == ["file:/weights/a.gguf"]
