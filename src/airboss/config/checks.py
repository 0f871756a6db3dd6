"""The rules of a configuration that types cannot say. Pure: each rule reports the path that breaks it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from airboss.config.checks_alarms import alarm_oddities, check_alarms
from airboss.config.checks_cache import check_cache
from airboss.config.checks_limits import check_limits
from airboss.config.checks_oidc import check_oidc
from airboss.config.checks_policy import check_policies
from airboss.config.checks_price import check_price
from airboss.config.checks_release import check_release, oddities_of
from airboss.config.checks_store import check_stores
from airboss.config.checks_watch import (
    check_named,
    check_rollout_named,
    check_scoring,
    check_shadow,
    check_telemetry,
)
from airboss.config.embedders import EMBEDDERS, embedder, is_onnx
from airboss.config.listed import SERVED_NAME
from airboss.config.models import ModelConfig, ReplicaRange
from airboss.config.rules import (
    check_known,
    check_range,
    check_reference,
    check_sent_along,
    check_url,
    is_reference,
    on_this_machine,
)
from airboss.config.types import (
    CALLS_ONLY,
    NO_PERSON,
    Config,
    DeploymentConfig,
    KeyConfig,
    ProviderConfig,
    ReleaseConfig,
    RetentionConfig,
    RolloutConfig,
)
from airboss.config.wording import Path, Wrong, dotted, nearest, quoted

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What models, releases and most else may be called: names become names of files, so they are narrow."""

NAMED = "1 to 64 of A-Z a-z 0-9 . _ -"
"""The same in words."""
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_PYPI = re.compile(r"pypi:[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.!+_-]*/[^/\s][^\s]*")
_HUB = re.compile(r"hf:[\w.-]+/[\w.-]+/[^@\s]+(@[\w./-]+)?")
_FALLBACKS_MAX = 8
_TARGETS_MAX = 64
_RESERVED_KEY = "airboss"
"""The name of the key of our own calls."""
_NO_TEAM = "none"
"""What `airboss keys set --team` takes a key out of its team with."""
_METRIC = re.compile(r"error_rate|cost|(latency|ttft)_p[1-9]\d|score:[^\s:][^\s]{0,99}")
_METRICS = (
    "error_rate",
    "cost",
    "latency_p50",
    "latency_p95",
    "latency_p99",
    "ttft_p50",
    "ttft_p95",
    "score:NAME",
)
"""What a slip may have meant, of those."""
_KEY_NAMES: Mapping[str, str] = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "azure": "AZURE_OPENAI_API_KEY",
    "bedrock": "AWS_BEARER_TOKEN_BEDROCK",
}
"""Where each kind's key usually is."""
_EXAMPLE_URLS: Mapping[str, str] = {
    "openai-compatible": "https://llm.example.com/v1",
    "azure": "https://NAME.openai.azure.com",
}
"""Kinds that have no address of their own, with what theirs look like."""
_PLACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_RAW_KINDS = frozenset({"openai", "openai-compatible", "azure", "local"})
"""Kinds of provider that have `/completions`."""
_OBJECT = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^\s?#]+")
_KIB = 1024


def check(config: Config, wrong: Wrong) -> None:
    """Raise what `wrong` makes of the first thing that breaks a rule."""
    _check_names(config, wrong)
    for name, provider in config.providers.items():
        _check_provider(("providers", name), provider, wrong)
    for name, model in config.models.items():
        if not model.shares:  # else its members are checked
            _check_model(("models", name), model, config, wrong)
    check_policies(config, wrong)
    for name, release in config.releases.items():
        check_known(("releases", name, "model"), release.model, config.models, "model", wrong)
        check_release(("releases", name), release, config, wrong)
        _check_fallbacks(("releases", name), release, config, wrong)
    for name, deployment in config.deployments.items():
        _check_deployment(("deployments", name), deployment, config, wrong)
        if deployment.scoring is not None:
            check_scoring(("deployments", name, "scoring"), deployment.scoring, wrong)
    _check_aliases(config, wrong)
    _check_keys(config, wrong)
    check_limits(config, wrong)
    check_stores(config.store, wrong)
    check_alarms(config, wrong)
    check_telemetry(config.telemetry, wrong)
    check_oidc(config.oidc, wrong)
    _check_retention(config.store.retention, wrong)
    check_range(("gateway", "max_body_bytes"), config.gateway.max_body_bytes, _KIB, _KIB**3, wrong)
    check_range(("gateway", "fsync_ms"), config.gateway.fsync_ms, 1, 10_000, wrong)
    check_range(("gateway", "responses_days"), config.gateway.responses_days, 1, 3650, wrong)
    check_range(("replicas", "drain_s"), config.replicas.drain_s, 1, 86_400, wrong)
    check_url(("replicas", "url"), config.replicas.url, wrong)


def _check_retention(retention: RetentionConfig, wrong: Wrong) -> None:
    path = ("store", "retention")
    check_range((*path, "bodies_max_bytes"), retention.bodies_max_bytes, 64 * 1024**2, 1024**5, wrong)
    for field in ("bodies_days", "records_days", "answers_days"):
        check_range((*path, field), getattr(retention, field), 1, 36_500, wrong)
    bodies, records = retention.bodies_days, retention.records_days
    if bodies is not None and records is not None and bodies > records:
        at = (*path, "bodies_days")
        raise wrong(at, f"{dotted(at)} is {bodies}, and records go, with their bodies, after {records}")


def warnings_of(config: Config) -> tuple[str, ...]:
    """What a checked configuration may say but better would not; each fit to be shown to a person."""
    found = []
    for name, provider in config.providers.items():
        where = dotted(("providers", name))
        if provider.api_key is not None and not is_reference(provider.api_key):
            found.append(
                f"{where}.api_key is written out in the configuration; "
                'write "env:NAME" (an environment variable) or "file:PATH" instead'
            )
        if provider.kind in _KEY_NAMES and provider.api_key is None:
            found.append(f'{where} has no api_key; add api_key = "env:{_KEY_NAMES[provider.kind]}"')
        if provider.api_key is not None and provider.base_url is not None and _in_clear(provider.base_url):
            found.append(f"{where}.base_url is plain http: its api_key travels unencrypted; use https")
    return (*found, *oddities_of(config), *alarm_oddities(config))


def _check_names(config: Config, wrong: Wrong) -> None:
    tables: dict[str, Mapping[str, object]] = {
        "providers": config.providers,
        "models": config.models,
        "releases": config.releases,
        "policies": config.policies,
        "keys": config.keys,
        "teams": config.teams,
        "alarms": config.alarms,
        "notifiers": config.notifiers,
        "maintenance": config.maintenance,
        "summaries": config.summaries,
    }
    for table, entries in tables.items():
        for name in entries:
            if not NAME.fullmatch(name):
                raise wrong((table, name), f"{quoted(name)} cannot be a name; use {NAMED}")
    for name, deployment in config.deployments.items():
        for served in (name, *deployment.aliases):
            if not SERVED_NAME.fullmatch(served):
                path = ("deployments", name) if served is name else ("deployments", name, "aliases")
                allowed = "1 to 128 of A-Z a-z 0-9 . _ : / @ + -"
                raise wrong(path, f"{quoted(served)} cannot be sent as a model; use {allowed}")


def _check_provider(path: Path, provider: ProviderConfig, wrong: Wrong) -> None:
    if provider.kind == "local":
        for field in ("base_url", "api_key", "targets", "headers"):
            if getattr(provider, field):
                raise wrong((*path, field), f"{dotted(path)} is run by Airboss itself: take out {field}")
        return
    apart = provider.targets and all(each.base_url is not None for each in provider.targets)
    if provider.kind in _EXAMPLE_URLS and provider.base_url is None and not apart:
        raise wrong(path, f'[{dotted(path)}] lacks "base_url", for example "{_EXAMPLE_URLS[provider.kind]}"')
    _check_places(path, provider, wrong)
    if provider.base_url is not None:
        check_url((*path, "base_url"), provider.base_url, wrong)
    if provider.api_key is not None:
        _check_api_key((*path, "api_key"), provider.api_key, wrong)
    _check_targets((*path, "targets"), provider, wrong)
    check_sent_along((*path, "headers"), provider.headers, wrong)


def _check_targets(path: Path, provider: ProviderConfig, wrong: Wrong) -> None:
    if len(provider.targets) > _TARGETS_MAX:
        raise wrong(path, f"{dotted(path)} has {len(provider.targets)}; give at most {_TARGETS_MAX}")
    for each in provider.targets:
        check_range((*path, "weight"), each.weight, 0.001, 1000, wrong)
        if each.base_url is not None:
            check_url((*path, "base_url"), each.base_url, wrong)
        if each.api_key is not None:
            _check_api_key((*path, "api_key"), each.api_key, wrong)
            if not is_reference(each.api_key):
                raise wrong(path, f'{dotted(path)} has a key written out; write "env:NAME" or "file:/PATH"')


def _check_places(path: Path, provider: ProviderConfig, wrong: Wrong) -> None:
    for field, kind in (("api_version", "azure"), ("region", "bedrock")):
        value = getattr(provider, field)
        if value is None:
            continue
        at = (*path, field)
        if provider.kind != kind:
            raise wrong(at, f"{dotted(at)} is for {kind} providers only; take it out")
        if not _PLACE.fullmatch(value):
            raise wrong(at, f"{dotted(at)} is {quoted(value)}; expected letters, digits and dashes")
    if provider.kind == "bedrock" and provider.region is None:
        raise wrong(path, f'[{dotted(path)}] lacks "region", for example "us-east-1"')


def _check_api_key(path: Path, api_key: str, wrong: Wrong) -> None:
    check_reference(path, api_key, wrong)
    if not api_key or not api_key.isprintable() or not api_key.isascii() or api_key != api_key.strip():
        raise wrong(path, f"{dotted(path)} is empty or has characters that no header can carry")


def _check_model(path: Path, model: ModelConfig, config: Config, wrong: Wrong) -> None:
    check_known((*path, "provider"), model.provider, config.providers, "provider", wrong)
    if not model.model or not model.model.isprintable():
        at = (*path, "model")
        raise wrong(at, f"{dotted(at)} is {quoted(model.model)}; expected the model's name upstream")
    if model.price is not None:
        check_price((*path, "price"), model.price, wrong)
    if config.providers[model.provider].kind == "local":
        _check_local(path, model, wrong)
        return
    check_range((*path, "context_tokens"), model.context_tokens, 256, 10_000_000, wrong)
    for field in ("sha256", "adapter", "adapter_sha256", "slots", "threads", "replicas"):
        if getattr(model, field) is not None:
            raise wrong((*path, field), f"{dotted((*path, field))} is for local models only")


def _check_local(path: Path, model: ModelConfig, wrong: Wrong) -> None:
    _check_source((*path, "model"), model.model, "weights come", wrong)
    _check_sha256((*path, "sha256"), model.sha256, model.model, "weights", wrong)
    if model.adapter is not None:
        _check_source((*path, "adapter"), model.adapter, "adapter comes", wrong)
        _check_sha256((*path, "adapter_sha256"), model.adapter_sha256, model.adapter, "adapters", wrong)
    elif model.adapter_sha256 is not None:
        at = (*path, "adapter_sha256")
        raise wrong(at, f'{dotted(at)} is of an adapter, and there is none: add "adapter" or take it out')
    if is_onnx(model.model):
        _check_embedder(path, model, wrong)
    check_range((*path, "context_tokens"), model.context_tokens, 256, 10_000_000, wrong)
    check_range((*path, "slots"), model.slots, 1, 256, wrong)
    check_range((*path, "threads"), model.threads, 1, 1024, wrong)
    if model.replicas is not None:
        _check_replicas((*path, "replicas"), model.replicas, wrong)


def _check_sha256(at: Path, sha256: str | None, source: str, noun: str, wrong: Wrong) -> None:
    if sha256 is None and not source.startswith("file:"):
        raise wrong(at[:-1], f'[{dotted(at[:-1])}] lacks "{at[-1]}": {noun} from the network are checked')
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise wrong(at, f"{dotted(at)} is {quoted(sha256)}; expected 64 hexadecimal digits")


def _check_embedder(path: Path, model: ModelConfig, wrong: Wrong) -> None:
    if embedder(model) is None:
        known = ", ".join(EMBEDDERS)
        message = f"{dotted(path)} are ONNX weights that are not known here; those with sha256 {known} are"
        raise wrong((*path, "sha256") if model.sha256 is not None else path, message)
    for field in ("context_tokens", "slots", "adapter"):
        if getattr(model, field) is not None:
            raise wrong((*path, field), f"{dotted((*path, field))} is for models that write; take it out")


def _check_source(at: Path, source: str, noun: str, wrong: Wrong) -> None:
    offered = '"pypi:NAME==VERSION/FILE", "hf:OWNER/REPO/FILE", "s3://BUCKET/KEY", "https:" or "file:/PATH"'
    if source.startswith("pypi:"):
        if not _PYPI.fullmatch(source):
            raise wrong(at, f'{dotted(at)} is {quoted(source)}; expected "pypi:NAME==VERSION/FILE"')
    elif source.startswith("hf:"):
        if not _HUB.fullmatch(source):
            raise wrong(at, f'{dotted(at)} is {quoted(source)}; expected "hf:OWNER/REPO/FILE@REVISION"')
    elif source.startswith("s3:"):
        if not _OBJECT.fullmatch(source):
            raise wrong(at, f'{dotted(at)} is {quoted(source)}; expected "s3://BUCKET/KEY"')
    elif source.startswith("https:") or on_this_machine(source):
        check_url(at, source.split("?", maxsplit=1)[0], wrong)
    elif not source.startswith("file:/"):
        raise wrong(at, f"{dotted(at)} is {quoted(source)}; expected where the {noun} from: {offered}")


def _check_replicas(path: Path, replicas: ReplicaRange, wrong: Wrong) -> None:
    check_range((*path, "min"), replicas.min, 1, 100, wrong)
    check_range((*path, "max"), replicas.max, 1, 100, wrong)
    if replicas.max < replicas.min:
        at = (*path, "max")
        raise wrong(at, f"{dotted(at)} is {replicas.max}, below min = {replicas.min}; raise max or lower min")
    check_range((*path, "target"), replicas.target, 0.1, 1.0, wrong)
    check_range((*path, "window_s"), replicas.window_s, 5, 3600, wrong)


def _check_fallbacks(path: Path, release: ReleaseConfig, config: Config, wrong: Wrong) -> None:
    at = (*path, "fallbacks")
    own = config.asked(release.model)
    seen = {release.model, *own}
    for name in release.fallbacks:
        check_known(at, name, config.models, "model", wrong)
        if config.models[name].shares and name != release.model:
            raise wrong(at, f"{dotted(at)}: {quoted(name)} is a spread of others; name those in their order")
        if name in seen:
            whose = "the release's own model" if name in (release.model, *own) else "there twice"
            raise wrong(at, f"{dotted(at)}: {quoted(name)} is {whose}; a model is asked once, take it out")
        seen.add(name)
    if release.fallbacks_when_filtered and not release.fallbacks:
        at = (*path, "fallbacks_when_filtered")
        raise wrong(at, f"{dotted(at)} is true and there are no fallbacks: name one, or take it out")
    if len(release.fallbacks) > _FALLBACKS_MAX:
        raise wrong(at, f"{dotted(at)} has {len(release.fallbacks)} models; give at most {_FALLBACKS_MAX}")
    for name in (*own, *release.fallbacks):
        kind = config.providers[config.models[name].provider].kind
        if release.form == "completion" and kind not in _RAW_KINDS:
            message = f'kind "{kind}" takes conversations only; use form "turns" or "system"'
            raise wrong((*path, "form"), message)


def _check_deployment(path: Path, deployment: DeploymentConfig, config: Config, wrong: Wrong) -> None:
    if deployment.release is not None and deployment.model is not None:
        raise wrong((*path, "model"), f"[{dotted(path)}] has both release and model; keep one")
    if deployment.release is not None:
        check_known((*path, "release"), deployment.release, config.releases, "release", wrong)
    elif deployment.model is not None:
        check_known((*path, "model"), deployment.model, config.models, "model", wrong)
    else:
        raise wrong(path, f'[{dotted(path)}] lacks "release" or "model"; name one of them')
    for field in ("total_s", "first_token_s", "idle_s"):
        check_range((*path, "timeout", field), getattr(deployment.timeout, field), 0.001, 86_400, wrong)
    check_range((*path, "retry", "attempts"), deployment.retry.attempts, 1, 10, wrong)
    if deployment.hedge is not None:
        check_range((*path, "hedge", "quantile"), deployment.hedge.quantile, 0.5, 0.999, wrong)
        check_range((*path, "hedge", "extra"), deployment.hedge.extra, 0.001, 1, wrong)
    if deployment.rollout is not None:
        _check_rollout((*path, "rollout"), deployment.rollout, wrong)
        check_rollout_named((*path, "rollout"), deployment.rollout, config, wrong)
    _check_candidate(path, deployment, config, wrong)
    if deployment.cache is not None:
        check_cache((*path, "cache"), deployment.cache, config, wrong)


def _check_candidate(path: Path, deployment: DeploymentConfig, config: Config, wrong: Wrong) -> None:
    """What a candidate gets of calls before everybody's."""
    if deployment.preview is not None:
        check_named((*path, "preview"), deployment.preview, config, wrong)
    if deployment.shadow is not None:
        at = (*path, "shadow")
        check_shadow(at, deployment.shadow, wrong)
        if deployment.shadow.release is not None:
            check_known((*at, "release"), deployment.shadow.release, config.releases, "release", wrong)


def _check_rollout(path: Path, rollout: RolloutConfig, wrong: Wrong) -> None:
    steps = rollout.steps
    if not steps or any(b <= a for a, b in zip((0.0, *steps), (*steps, 100.0), strict=True)):
        raise wrong(
            (*path, "steps"),
            f"{dotted((*path, 'steps'))} is {list(steps)}; expected percents between 0 and 100 that rise, "
            "as in [1, 5, 25, 50]",
        )
    check_range((*path, "alpha"), rollout.alpha, 0.0001, 0.4, wrong)
    if not rollout.metrics or len(set(rollout.metrics)) < len(rollout.metrics):
        raise wrong((*path, "metrics"), f"{dotted((*path, 'metrics'))} needs one metric or more, each once")
    for at, name in enumerate(rollout.metrics):
        if not _METRIC.fullmatch(name):
            where = (*path, "metrics", f"[{at}]")
            hint = nearest(name, _METRICS)
            raise wrong(where, f"{dotted(where)}: no metric is called {quoted(name)}; {hint}")
    for name, margin in rollout.margin.items():
        if name not in rollout.metrics:
            at_margin = (*path, "margin", name)
            hint = nearest(name, [each for each in rollout.metrics if _has_margin(each)])
            raise wrong(at_margin, f"{dotted(at_margin)}: {quoted(name)} is not among the metrics; {hint}")
        if not _has_margin(name):
            raise wrong((*path, "margin", name), f"{quoted(name)} only guards: it has no margin")
        check_range((*path, "margin", name), margin, 0.0001, 0.5, wrong)
    check_range((*path, "step_units"), rollout.step_units, 1, 10_000_000, wrong)
    check_range((*path, "step_min_s"), rollout.step_min_s, 0, 31_536_000, wrong)
    check_range((*path, "step_max_s"), rollout.step_max_s, max(1, rollout.step_min_s), 31_536_000, wrong)
    check_range((*path, "late_s"), rollout.late_s, 0, 86_400, wrong)
    if rollout.gate is not None:
        check_range((*path, "gate", "margin"), rollout.gate.margin, 0, 1, wrong)


def _has_margin(metric: str) -> bool:
    return metric == "error_rate" or metric.startswith("score:")


def _check_aliases(config: Config, wrong: Wrong) -> None:
    """Every name that an app may send means one deployment."""
    owner = {name: name for name in config.deployments}
    for name, deployment in config.deployments.items():
        path = ("deployments", name, "aliases")
        for alias in deployment.aliases:
            if alias in owner:
                other = owner[alias]
                taken = "is a deployment itself" if other == alias else f"is also an alias of {quoted(other)}"
                raise wrong(path, f"alias {quoted(alias)} of {quoted(name)} {taken}; it can mean only one")
            owner[alias] = name


def _check_keys(config: Config, wrong: Wrong) -> None:
    owner = {alias: name for name, deployment in config.deployments.items() for alias in deployment.aliases}
    if _RESERVED_KEY in config.keys:
        raise wrong(
            ("keys", _RESERVED_KEY), f"{quoted(_RESERVED_KEY)} is the key of our own calls; use another name"
        )
    if _NO_TEAM in config.teams:
        raise wrong(
            ("teams", _NO_TEAM), f"{quoted(_NO_TEAM)} is what a key without a team is told; use another name"
        )
    for name, key in config.keys.items():
        if key.role is not None:
            _check_role(name, key, wrong)
        if key.team is not None:
            check_known(("keys", name, "team"), key.team, config.teams, "team", wrong)
        path = ("keys", name, "deployments")
        for deployment in key.deployments or ():
            if deployment in owner:
                meant = quoted(owner[deployment])
                raise wrong(path, f"{dotted(path)}: {quoted(deployment)} is an alias; write {meant}")
            check_known(path, deployment, config.deployments, "deployment", wrong)


def _check_role(name: str, key: KeyConfig, wrong: Wrong) -> None:
    """A console key calls no models: what is about calls means nothing beside a role."""
    for each in CALLS_ONLY:
        if getattr(key, each) is not None:
            path = ("keys", name, each)
            raise wrong(
                path,
                f"{dotted(path)} is about calls of models, and a key with a role makes none; take out "
                f"{each}, or role",
            )
    if name in NO_PERSON:
        raise wrong(("keys", name, "role"), f"{quoted(name)} is nobody's name in the audit log; use another")


def _in_clear(url: str) -> bool:
    return url.startswith("http:") and not on_this_machine(url)
