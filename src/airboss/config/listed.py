"""Models that a provider lists: each is served under its own name, without a table of its own. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from airboss.config.models import ModelConfig
from airboss.config.types import Config, DeploymentConfig, ProviderConfig
from airboss.config.wording import Path, Wrong, dotted, quoted
from airboss.domain.release import ProviderKind

LISTED_MAX: Final = 100
EVERY: Final = "*"
"""In place of a list: all that the provider has."""
ASKED: Final[tuple[ProviderKind, ...]] = ("openai", "openai-compatible")
"""Whose list says their names as calls do."""
SERVED_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}")
"""What apps send as `model`; vendors write `org/name:tag`."""
NO_KEY: Final = re.compile(r"[^A-Za-z0-9._-]")


def with_listed(config: Config) -> Config:
    """The configuration with a model and a deployment for each name that a provider lists. A deployment or
    an alias of that name goes before it."""
    models, deployments = dict(config.models), dict(config.deployments)
    taken = {name for each in deployments.values() for name in each.aliases} | set(deployments)
    for provider, name in listed(config):
        key = key_of(name)
        models.setdefault(key, ModelConfig(provider=provider, model=name))
        if name not in taken:
            deployments[name] = DeploymentConfig(model=key)
    return msgspec.structs.replace(config, models=models, deployments=deployments)


def check_listed(config: Config, wrong: Wrong) -> None:
    """Raise what `wrong` makes of the first name that cannot be served so."""
    keys: dict[str, str] = {}
    for provider, table in config.providers.items():
        path: Path = ("providers", provider, "models")
        names = names_of(table)
        instead = "; list those that are wanted" if table.models == EVERY else ""
        if table.models and table.kind == "local":
            raise wrong(path, f"{dotted(path)}: a local model has weights; write [models.NAME] for each")
        _check_every(path, table, wrong)
        if len(names) > LISTED_MAX:
            raise wrong(path, f"{dotted(path)} has {len(names)} names, of at most {LISTED_MAX}{instead}")
        for name in names:
            if not SERVED_NAME.fullmatch(name):
                allowed = "1 to 128 of A-Z a-z 0-9 . _ : / @ + -"
                raise wrong(path, f"{quoted(name)} cannot be sent as a model; use {allowed}{instead}")
            key = key_of(name)
            if key in keys:
                also = f" (as {quoted(keys[key])})" if keys[key] != name else ""
                raise wrong(path, f"{quoted(name)} is listed twice{also}{instead or '; leave one out'}")
            keys[key] = name
            own = config.models.get(key)
            if own is not None and (own.provider, own.model) != (provider, name):
                is_of = f"[models.{key}] is {quoted(own.model)} of provider {quoted(own.provider)}"
                is_of = f"[models.{key}] is a spread" if own.shares else is_of
                raise wrong(path, f"{quoted(name)} is listed, and {is_of}; give one of them another name")


def _check_every(path: Path, table: ProviderConfig, wrong: Wrong) -> None:
    found: Path = (*path[:-1], "models_found")
    if isinstance(table.models, str) and table.models != EVERY:
        expected = 'expected a list of texts in quotes, or "*" for all that the provider lists'
        raise wrong(path, f"{dotted(path)} is {quoted(table.models)}; {expected}")
    if table.models == EVERY and table.kind not in ASKED:
        asked = " and ".join(ASKED)
        raise wrong(path, f"{dotted(path)}: only providers of kind {asked} are asked; list the names")
    if table.models_found is not None and table.models != EVERY:
        raise wrong(found, f'{dotted(found)} is what Airboss writes beside models = "*"; leave it out')


def names_of(table: ProviderConfig) -> tuple[str, ...]:
    """The names of a provider's models that are served so; none before it was asked."""
    return (table.models_found or ()) if isinstance(table.models, str) else table.models


def listed(config: Config) -> Iterator[tuple[str, str]]:
    """Each provider with each name that it lists."""
    return ((provider, name) for provider, table in config.providers.items() for name in names_of(table))


def key_of(name: str) -> str:
    """What a listed model is called among `[models]`, which has names without slashes and colons."""
    return NO_KEY.sub("-", name)[:64]
