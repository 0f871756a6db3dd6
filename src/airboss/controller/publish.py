"""A configuration put into force: checked, its secrets moved out of it, and published as the next plan."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec

from airboss.config import Config, ModelConfig, parse_config
from airboss.config.checks import is_reference
from airboss.config.locate import statement_of
from airboss.controller.starter import starter_config
from airboss.domain.errors import ConfigError, SetupError
from airboss.domain.plan import ServingPlan
from airboss.domain.ports import Ledger, Replica
from airboss.releases.build import build_plan, local_models
from airboss.replicas.gguf import chat_template, supports_tools
from airboss.replicas.llamacpp import engine_version as installed_engine
from airboss.store.datadir import DataDir, read_secret

__all__ = ["apply_config", "has_openai_key", "starter_config", "without_literal_keys"]

_TOML_TEXT = re.compile(
    r'"""(?:[^\\]|\\.)*?"""' + r"|'''.*?'''" + r'|"(?:[^"\\\n]|\\.)*"' + r"|'[^'\n]*'", re.DOTALL
)
_PORT_TRIES = 100


def apply_config(
    ledger: Ledger,
    text: str,
    *,
    source: str,
    data: DataDir,
    pick_port: Callable[[], int],
    now: datetime,
    tools: Callable[[ModelConfig], bool] | None = None,
    engine_version: str | None = None,
) -> ServingPlan:
    """Put a configuration into force; returns the plan that serves it. Applying it again changes nothing.

    Literal provider keys are moved to `secrets/provider-NAME`, so that the ledger never holds one. Each local
    model that a deployment serves gets a replica's row with a port of its own; a model whose engine must
    start anew (other weights, context, slots or threads) gets a new port, so that no call under the new
    plan reaches the old engine. Rows of models gone are dropped. Keys get the deployments that `[keys]` says.

    `tools` says whether a local model can call tools and `engine_version` what runs it; left out, they are
    read from the weights in the data directory and from the installed engine.
    Raises ConfigError for a configuration that is wrong, and SetupError for weights or ports that will not
    do; nothing has been changed then.
    """
    text, config, literals = without_literal_keys(text, source=source, data=data)
    locals_served = local_models(config)
    can_call = tools or _tools_in(data)
    if engine_version is None:
        engine_version = installed_engine() if locals_served else ""
    replicas = _placed(ledger, config, pick_port=pick_port, now=now)
    plan = build_plan(
        config,
        replica_urls={name: (replicas[name].url,) for name in locals_served},
        tools={name: can_call(config.models[name]) for name in locals_served},
        engine_version=engine_version,
        now=now,
    )
    # Until here nothing has been written.
    rekeyed = [_keep_literal(data, name, value) for name, value in literals.items()]
    known = {replica.id: replica.url for replica in ledger.replicas()}
    for replica in replicas.values():
        if known.get(replica.id) != replica.url:  # the others' rows are the supervisor's to write
            ledger.put_replica(replica)
    snapshot = ledger.snapshot()
    # A new key under the old reference is no change of the plan, but gateways read keys with a plan.
    if snapshot is None or ledger.config() != text or not _same(snapshot.plan, plan) or any(rekeyed):
        published = ledger.publish(text, plan)
    else:
        published = snapshot.plan
    _drop_replicas(ledger, keep={replica.id for replica in replicas.values()})
    _bind_keys(ledger, config)
    return published


def without_literal_keys(text: str, *, source: str, data: DataDir) -> tuple[str, Config, dict[str, str]]:
    """What the ledger keeps of a configuration: the text with references for literal provider keys, what it
    says, and the keys taken out, by provider. Writes nothing. Raises ConfigError.
    """
    config = parse_config(text, source=source)
    literals = {
        name: provider.api_key
        for name, provider in config.providers.items()
        if provider.api_key is not None and not is_reference(provider.api_key)
    }
    providers = dict(config.providers)
    for name, secret in literals.items():
        reference = f"file:{data.secrets_dir / provider_secret_name(name)}"
        text = _with_reference(text, ("providers", name, "api_key"), secret, reference)
        providers[name] = msgspec.structs.replace(providers[name], api_key=reference)
    for secret in literals.values():
        # Nor may it stay in a comment. A short one is a placeholder, and may be a word of the file.
        if len(secret) >= 8 and secret in text:
            text = text.replace(secret, "moved")
    expected = msgspec.structs.replace(config, providers=providers)
    if literals and _reread(text, source) != expected:
        raise ConfigError(
            f"{source}: the api_key of {', '.join(sorted(literals))} cannot be moved out of this text; "
            'write "env:NAME" or "file:PATH" instead of the key'
        )
    return text, expected, literals


def provider_secret_name(provider: str) -> str:
    """The name of the secret that keeps a provider's literal key."""
    return f"provider-{provider}"


def _reread(text: str, source: str) -> Config | None:
    try:
        return parse_config(text, source=source)
    except ConfigError:
        return None


def _with_reference(text: str, path: tuple[str, ...], secret: str, reference: str) -> str:
    """The text with every TOML string that says `secret`, in the statement of `path`, replaced."""
    text = text.replace("\r\n", "\n")
    statement = statement_of(text, path)
    assert statement is not None  # the text has just been parsed and has this key
    lines = text.split("\n")
    old = "\n".join(lines[statement.start : statement.stop])

    def put(found: re.Match[str]) -> str:
        try:
            said = tomllib.loads(f"x = {found[0]}")["x"]
        except tomllib.TOMLDecodeError:
            return found[0]
        return msgspec.json.encode(reference).decode() if said == secret else found[0]

    return "\n".join((*lines[: statement.start], _TOML_TEXT.sub(put, old), *lines[statement.stop :]))


def _keep_literal(data: DataDir, provider: str, value: str) -> bool:
    """Keep a provider's key; returns whether it is another than the one kept before."""
    name = provider_secret_name(provider)
    with suppress(SetupError):
        if read_secret(data.secrets_dir / name) == value:
            return False
    data.write_secret(name, value)
    return True


def _placed(
    ledger: Ledger, config: Config, *, pick_port: Callable[[], int], now: datetime
) -> dict[str, Replica]:
    """A row for each local model that is served, by model: the one there is, or a new one."""
    before = _engines(ledger.config())
    known = {replica.model: replica for replica in ledger.replicas()}
    taken = {replica.url for replica in known.values()}
    placed = {}
    for name in local_models(config):
        row = known.get(name)
        if row is None or before.get(name) != _engine(config.models[name]):
            url = _free_url(pick_port, taken)
            row = Replica(id=name, model=name, url=url, state="stopped", restarts=0, since=now)
        placed[name] = row
    return placed


def _engines(config: str | None) -> dict[str, ModelConfig]:
    """The engines that the configuration in force runs."""
    if config is None:
        return {}
    applied = parse_config(config, source="the configuration in force")
    return {name: _engine(applied.models[name]) for name in local_models(applied)}


def _engine(model: ModelConfig) -> ModelConfig:
    """What an engine is started with: all but the price."""
    return msgspec.structs.replace(model, price=None)


def _free_url(pick_port: Callable[[], int], taken: set[str]) -> str:
    """A port may be free only because the replica that it was given to has not started yet."""
    for _ in range(_PORT_TRIES):
        url = f"http://127.0.0.1:{pick_port()}/v1"
        if url not in taken:
            taken.add(url)
            return url
    raise SetupError(f"no free port for a replica after {_PORT_TRIES} tries; stop what listens on 127.0.0.1")


def _drop_replicas(ledger: Ledger, *, keep: set[str]) -> None:
    """After the plan that does without them is out."""
    for replica in ledger.replicas():
        if replica.id not in keep:
            ledger.forget_replica(replica.id)


def _bind_keys(ledger: Ledger, config: Config) -> None:
    """`[keys]` is all that narrows a key: one that is not named there may use everything."""
    snapshot = ledger.snapshot()
    assert snapshot is not None  # a plan has just been published
    for key in snapshot.keys:
        deployments = config.keys[key.name].deployments if key.name in config.keys else None
        if key.deployments != deployments:
            ledger.put_key(msgspec.structs.replace(key, deployments=deployments))


def _same(one: ServingPlan, other: ServingPlan) -> bool:
    """Whether two plans serve alike."""
    return one == msgspec.structs.replace(other, number=one.number, created_at=one.created_at)


def _tools_in(data: DataDir) -> Callable[[ModelConfig], bool]:
    """Reads the weights' chat template; weights that are not there yet are taken to have no tools."""

    def tools(model: ModelConfig) -> bool:
        if model.model.startswith("file:"):
            path = Path("/" + model.model.removeprefix("file:").lstrip("/"))
        else:
            path = data.weights_dir / f"{(model.sha256 or '').lower()}.gguf"
        return path.exists() and supports_tools(chat_template(path))

    return tools


def has_openai_key(env: Mapping[str, str]) -> bool:
    """Whether the environment has a key of OpenAI's, and not one of ours from a pasted export line."""
    key = env.get("OPENAI_API_KEY", "").strip()
    return bool(key) and not key.startswith("ab_")
