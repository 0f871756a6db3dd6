"""A configuration put into force: checked, its secrets moved out of it, and published as the next plan."""

from __future__ import annotations

import logging
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec

from airboss.config import Config, ModelConfig, ScoringConfig, parse_config
from airboss.config.embedders import is_onnx
from airboss.config.found import unasked
from airboss.config.locate import line_of, statement_of
from airboss.config.rules import is_reference
from airboss.config.wording import nearest
from airboss.controller.placement import Placed, one_at_a_time
from airboss.controller.price_list import PriceList
from airboss.controller.starter import starter_config
from airboss.domain.errors import ConfigError, SetupError
from airboss.domain.plan import Exposure, PromotionWhy, ServingPlan, Standing
from airboss.domain.ports import ApiKey, Ledger
from airboss.domain.release import ModelVersion, Release
from airboss.governance.keys import bound
from airboss.governance.ledger_notes import LedgerNotes
from airboss.governance.policies import unfindable
from airboss.releases.build import ENGINE, Catalog, build_plan, build_releases, local_models, sealed
from airboss.releases.standing import Settled, are_alike, promoted, settle
from airboss.replicas.gguf import chat_template, check_adapter, read_metadata, supports_tools
from airboss.replicas.llamacpp import engine_version as installed_engine
from airboss.store.datadir import DataDir, read_secret

__all__ = ["apply_config", "has_openai_key", "starter_config", "without_literal_keys"]

log = logging.getLogger(__name__)

_TOML_TEXT = re.compile(
    r'"""(?:[^\\]|\\.)*?"""' + r"|'''.*?'''" + r'|"(?:[^"\\\n]|\\.)*"' + r"|'[^'\n]*'", re.DOTALL
)

Supersede = Callable[[str, str], None]
"""Ends the live rollout of a deployment, for a reason, before the plan without it is published."""


def _none_to_end(deployment: str, reason: str) -> None:
    raise AssertionError(f"a rollout of {deployment} ends ({reason}), and nobody was given to end it")


@one_at_a_time
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
    supersede: Supersede = _none_to_end,
    promote: Mapping[str, tuple[str, PromotionWhy]] | None = None,
    retry_failed: bool = True,
    notes: LedgerNotes | None = None,
) -> ServingPlan:
    """Put a configuration into force, in one transaction; returns the plan served. Again changes nothing.

    A changed release becomes a candidate or serves at once (`releases.standing`); `promote` says which
    become stable now, by deployment. What rollouts expose stays exposed, unless the configuration wants
    something else: then `supersede` is told. Literal provider keys are moved to `secrets/provider-NAME`. An
    engine that must start anew is placed beside the old one; until it is ready its deployments go on as they
    are: apply the same again then. With `retry_failed`, engines that have failed are placed anew. Keys get
    what `[keys]` says; `notes` tell of it. Raises ConfigError or SetupError, with nothing changed.
    """
    text, config, literals = without_literal_keys(text, source=source, data=data)
    _check_files(config, data, text, source, before=ledger.config())
    _check_keys(ledger, config, text, source)
    _check_ledger(data, config, source, before=ledger.config())
    locals_served = local_models(config)
    can_call = tools or _tools_in(data)
    engine_version = installed_engine() if engine_version is None and locals_served else engine_version or ""
    catalog = build_releases(config, engine_version=engine_version)
    before, kept = ledger.snapshot(), _Kept(ledger, catalog)
    stood = ledger.standings()
    known = {name: kept.on_engine(each, engine_version, now) for name, each in stood.items()}
    settled = _settled(config, catalog, known, now)
    standings = _standings(settled, known, promote or {}, now)
    exposures = ledger.exposures()
    ends = _superseded(exposures, settled, kept, kept_by=promote or {})
    placed = Placed(ledger, config, locals_served, pick_port=pick_port, now=now, retry=retry_failed)
    plan = build_plan(
        config,
        catalog,
        replica_urls=placed.urls,
        tools={name: can_call(config.models[name]) for name in locals_served},
        stable={name: kept.release(standing.stable) for name, standing in standings.items()},
        exposed=kept.shown(exposures, but=ends),
        over=ledger.exposures(over=True),
        now=now,
        before=before.plan if before is not None else None,
        prices=PriceList(data).in_force,
    )
    plan = placed.settle(plan, before.plan if before is not None else None)
    with ledger.together():  # until here nothing has been written
        for name, reason in ends.items():
            supersede(name, reason)
        rekeyed = _rekeyed(data, literals)
        placed.write()
        changed = {name: each for name, each in standings.items() if stood.get(name) != each}
        same = before is not None and ledger.config() == text and _same(before.plan, plan)
        if before is not None and same and not changed and not rekeyed:
            published = before.plan
        else:
            published = ledger.publish(text, plan, standings=changed.values())
            if notes is not None:
                notes.published(published)
        placed.retire(published)
        _bind_keys(ledger, config, source, notes or ledger)
        _keep(data, rekeyed)  # last, as no transaction takes a file back
    return published


def _settled(
    config: Config, catalog: Catalog, before: Mapping[str, Standing], now: datetime
) -> dict[str, Settled]:
    """What becomes of each deployment of the configuration."""
    return {
        name: settle(
            before.get(name),
            deployment=name,
            wanted=catalog.wanted(config, name).digest,
            careful=deployment.rollout is not None,
            now=now,
        )
        for name, deployment in config.deployments.items()
    }


def _standings(
    settled: Mapping[str, Settled],
    before: Mapping[str, Standing],
    promote: Mapping[str, tuple[str, PromotionWhy]],
    now: datetime,
) -> dict[str, Standing]:
    """Where each deployment stands then, those that are promoted now on what they are promoted to, whatever
    the configuration alone would make of them."""
    return {name: each.standing for name, each in settled.items()} | {
        name: promoted(before[name], digest, why=why, now=now) for name, (digest, why) in promote.items()
    }


class _Kept:
    """Releases by digest: those that the configuration makes, and those that the ledger remembers."""

    def __init__(self, ledger: Ledger, catalog: Catalog) -> None:
        self._ledger = ledger
        self._made = {release.digest: release for release in catalog.all()}

    def release(self, digest: str) -> Release:
        """The release of a digest that stands somewhere in the ledger."""
        found = self._made.get(digest) or self._ledger.release(digest)
        if found is None:
            raise SetupError(f"the ledger has lost release {digest[:12]}; apply a configuration that has it")
        self._made[digest] = found
        return found

    def shown(
        self, exposures: Mapping[str, Exposure], *, but: Collection[str]
    ) -> dict[str, tuple[Exposure, Release]]:
        """What rollouts that have begun expose, `but` of these deployments."""
        begun = {name: each for name, each in exposures.items() if each.salt and name not in but}
        return {name: (each, self.release(each.release)) for name, each in begun.items()}

    def on_engine(self, standing: Standing, version: str, now: datetime) -> Standing:
        """The standing on the engine that is installed: an older one cannot be run any more."""
        old = self.release(standing.stable)
        first, *fallbacks = [_on_engine(each, version) for each in (old.model, *old.fallbacks)]
        new = sealed(msgspec.structs.replace(old, model=first, fallbacks=tuple(fallbacks)))
        if new.digest == old.digest:
            return standing
        self._made.setdefault(new.digest, new)
        log.warning(
            "another version of the engine is installed; release %s goes on as %s",
            old.digest[:12],
            new.digest[:12],
            extra={"deployment": standing.deployment, "engine_version": version},
        )
        wanted = standing.wanted
        after = promoted(standing, new.digest, why="engine", now=now)
        return after if wanted == old.digest else msgspec.structs.replace(after, wanted=wanted)


def _on_engine(model: ModelVersion, version: str) -> ModelVersion:
    if model.kind != "local" or not version or model.engine != ENGINE:
        return model
    return msgspec.structs.replace(model, engine_version=version)


def _superseded(
    exposures: Mapping[str, Exposure],
    settled: Mapping[str, Settled],
    kept: _Kept,
    *,
    kept_by: Mapping[str, object],
) -> dict[str, str]:
    """The deployments whose live rollout ends with this configuration, and why. Where Airboss itself was
    replaced, and finds more now for the policy of both releases, it goes on."""
    ends = {}
    for name, exposure in exposures.items():
        found = settled.get(name)
        if name in kept_by:
            continue
        if found is None:
            ends[name] = "the deployment is no longer in the configuration"
        elif found.standing.stable == exposure.release:
            ends[name] = "its release serves everybody now"
        elif found.supersedes and not are_alike(
            kept.release(exposure.release), kept.release(found.standing.wanted)
        ):
            ends[name] = f"a configuration was applied that wants release {found.standing.wanted[:12]}"
    return ends


def without_literal_keys(text: str, *, source: str, data: DataDir) -> tuple[str, Config, dict[str, str]]:
    """What the ledger keeps of a configuration: the text with references for literal provider keys, what it
    says, and the keys taken out, by provider. Writes nothing. Raises ConfigError.
    """
    config = parse_config(text, source=source)
    if every := unasked(config):
        raise ConfigError(f'{source}: nobody has asked what {", ".join(every)} lists, which is to serve "*"')
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


def _check_ledger(data: DataDir, config: Config, source: str, *, before: str | None) -> None:
    """Raise SetupError where the ledger is to be elsewhere now. What said so before may be from before it was
    moved."""
    was = _reread(before or "", source)
    if was is None or was.store.ledger != config.store.ledger:
        data.check_ledger(config.store.ledger)


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


def _rekeyed(data: DataDir, literals: Mapping[str, str]) -> dict[str, str]:
    """Of these keys of providers, those that are others than the ones kept. Under the old reference that is
    no change of the plan, but gateways read keys with a plan."""
    found = dict(literals)
    for provider, value in literals.items():
        with suppress(SetupError):
            if read_secret(data.secrets_dir / provider_secret_name(provider)) == value:
                del found[provider]
    return found


def _keep(data: DataDir, rekeyed: Mapping[str, str]) -> None:
    for provider, value in rekeyed.items():
        data.write_secret(provider_secret_name(provider), value)


def _bind_keys(ledger: Ledger, config: Config, source: str, by: LedgerNotes | Ledger) -> None:
    """A key may call what `[keys]` says; one that is not named there, what it was made for. Raises
    ConfigError, as `_check_keys`, where one has come into a team since that looked."""

    def change(key: ApiKey | None) -> ApiKey:
        assert key is not None  # keys are never deleted
        return _has_all(bound(key, config), config, source)

    for key in ledger.all_keys():
        by.change_key(key.name, change)


def _check_keys(ledger: Ledger, config: Config, text: str, source: str) -> None:
    """A key that calls models is not made one of the console: what has its secret was given it for something
    else. Nor is one left in a team or under a policy that is gone: nothing would bind it as that did. Raises
    ConfigError."""
    roles = {name: key.role for name, key in config.keys.items() if key.role is not None}
    for key in ledger.all_keys() if roles else ():
        if key.role is None and key.revoked_at is None and key.name in roles:
            line = line_of(text, ("keys", key.name, "role"))
            raise ConfigError(
                f"{source}:{line}: keys.{key.name}.role: {key.name!r} is a key that calls models, and gets "
                f"no role; `airboss keys revoke {key.name}` and make it anew, or use another name"
            )
    for key in ledger.all_keys():
        _has_all(bound(key, config), config, source)


def _has_all(key: ApiKey, config: Config, source: str) -> ApiKey:
    """The key, whose team and policies are there. Raises ConfigError."""
    for policy in key.policies if key.revoked_at is None else ():
        if policy not in config.policies:
            hint = _ended(nearest(policy, config.policies))
            raise ConfigError(
                f"{source}: key {key.name!r} is under {policy!r}, and there is no [policies.{policy}]; "
                f"{hint} Keep it, or first `airboss keys set {key.name} --policy none`"
            )
    if key.team is not None and key.team not in config.teams and key.revoked_at is None:
        hint = _ended(nearest(key.team, config.teams))
        raise ConfigError(
            f"{source}: key {key.name!r} is in team {key.team!r}, and there is no [teams.{key.team}]; {hint} "
            f"Keep it, or first `airboss keys set {key.name} --team none`"
        )
    return key


def _ended(hint: str) -> str:
    """A hint as a sentence, after which another may come."""
    return hint if hint.endswith("?") else f"{hint}."


def _scoring(config: Config, deployment: str) -> ScoringConfig | None:
    found = config.deployments.get(deployment)
    return found.scoring if found is not None else None


def _check_policies(config: Config, was: Config, text: str, source: str) -> None:
    """Raise ConfigError, naming the line, for a new policy that asks for what nothing here can find."""
    for name, policy in config.policies.items():
        if policy == was.policies.get(name):
            continue
        reason = None if policy.pii is None else unfindable(policy.pii.kinds)
        if reason is not None:
            line = line_of(text, ("policies", name, "pii", "kinds"))
            raise ConfigError(f"{source}:{line}: policies.{name}.pii.kinds: {reason}")


def _same(one: ServingPlan, other: ServingPlan) -> bool:
    """Whether two plans serve alike."""
    return one == msgspec.structs.replace(other, number=one.number, created_at=one.created_at)


def _tools_in(data: DataDir) -> Callable[[ModelConfig], bool]:
    """Reads the weights' chat template; weights that are not there yet are taken to have no tools."""

    def tools(model: ModelConfig) -> bool:
        path = _file(model.model, model.sha256, data)
        return not is_onnx(model.model) and path.exists() and supports_tools(chat_template(path))

    return tools


def _file(source: str, sha256: str | None, data: DataDir) -> Path:
    """Where the engines of this machine find what comes from `source`."""
    if source.startswith("file:"):
        return Path("/" + source.removeprefix("file:").lstrip("/"))
    return data.weights_dir / f"{(sha256 or '').lower()}.gguf"


def _check_files(config: Config, data: DataDir, text: str, source: str, *, before: str | None) -> None:
    """Look at the scorers' functions, at runs of alarms, at what finds names and, where engines run on this
    machine, at adapters that are on it. Raises ConfigError, naming the line, for what is not there, a run
    that could not be made, and an adapter that cannot go with its weights.

    What is in force already goes on without a file that is gone since: its engine, or its scores, say what is
    wrong, and no rollout hangs on it."""
    if text == before:
        return
    was = (_reread(before, source) if before is not None else None) or Config()
    kept = {name for name, each in config.deployments.items() if each.scoring == _scoring(was, name)}
    if any(each.scoring is not None for each in config.deployments.values()):
        from airboss.evaluations.online import check_scoring  # noqa: PLC0415 - all scorers, where there is one

        check_scoring(config, data.path.absolute() / "scorers", source=source, kept=kept)
    _check_runs(config, was, data, text, source)
    _check_policies(config, was, text, source)
    for name, model in config.models.items():
        if model.adapter is None or config.replicas.host != "local" or model == was.models.get(name):
            continue
        adapter, weights = _file(model.adapter, model.adapter_sha256, data), _file(*model.files()[0], data)
        reason = None
        if model.adapter.startswith("file:") and not adapter.is_file():
            reason = f"there is no file {adapter}"
        elif adapter.exists() and weights.exists():
            try:
                check_adapter(adapter, read_metadata(weights))
            except SetupError as error:
                reason = str(error)
        if reason is not None:
            line = line_of(text, ("models", name, "adapter"))
            raise ConfigError(f"{source}:{line}: models.{name}.adapter: {reason}")


def _check_runs(config: Config, was: Config, data: DataDir, text: str, source: str) -> None:
    """Look at what alarms make so often. Raises ConfigError, naming the line."""
    if any(alarm.probe is not None for alarm in config.alarms.values()):
        from airboss.evaluations.bias_orders import check_probes  # noqa: PLC0415 - statistics, where needed

        check_probes(config, was, text=text, source=source)
    if any(alarm.eval is not None for alarm in config.alarms.values()):
        from airboss.evaluations.scheduled import check_evals, look_in  # noqa: PLC0415 - as above

        look = look_in(data.path.absolute() / "scorers")
        check_evals(config, was, text=text, source=source, look=look)


def has_openai_key(env: Mapping[str, str]) -> bool:
    """Whether the environment has a key of OpenAI's, and not one of ours from a pasted export line."""
    key = env.get("OPENAI_API_KEY", "").strip()
    return bool(key) and not key.startswith("ab_")
