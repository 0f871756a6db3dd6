"""What providers list whose `models` are `"*"`: written into the configuration's text when it is applied, so
that what is served stays what it was when a list changes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from airboss.config.listed import EVERY, check_listed
from airboss.config.locate import errors_in
from airboss.config.parse import parse_config, read_unchecked
from airboss.config.types import Config, ProviderConfig
from airboss.domain.errors import ConfigError

ASKED_MAX: Final = 16
"""Providers of one configuration."""

Ask = Callable[[Mapping[str, ProviderConfig]], Mapping[str, tuple[str, ...] | str]]
"""What each of these providers lists, by its name: in order, each once; or why that cannot be said."""


def unasked(config: Config) -> dict[str, ProviderConfig]:
    """The providers that serve all they list, and were not asked yet."""
    return {
        name: table
        for name, table in config.providers.items()
        if table.models == EVERY and table.models_found is None
    }


def same_place(one: ProviderConfig, other: ProviderConfig | None) -> bool:
    """Whether two tables are of the same provider, asked with the same key, whatever they serve."""
    return other is not None and _bare(one) == _bare(other)


def _bare(table: ProviderConfig) -> ProviderConfig:
    return msgspec.structs.replace(table, models=(), models_found=None)


def completed(text: str, ask: Ask, *, source: str) -> str:
    """The text with `models_found` for each provider that has to be asked. Raises ConfigError for one that
    has no list, or too long a one, and where the text is wrong in itself."""
    config = read_unchecked(text, source=source)
    wanted = unasked(config)
    if not wanted:
        return text
    wrong = errors_in(text, source=source)
    check_listed(config, wrong)
    if len(wanted) > ASKED_MAX:
        path = ("providers", list(wanted)[ASKED_MAX], "models")
        raise wrong(
            path, f'{len(wanted)} providers have models = "*", of at most {ASKED_MAX}; list the names'
        )
    found: dict[str, tuple[str, ...]] = {}
    for name, said in ask(wanted).items():
        if isinstance(said, str):
            raise wrong(("providers", name, "models"), f"{said}; or list the names that are to be served")
        found[name] = said
    providers = {
        name: msgspec.structs.replace(table, models_found=found.get(name, table.models_found))
        for name, table in config.providers.items()
    }
    expected = msgspec.structs.replace(config, providers=providers)
    check_listed(expected, wrong)
    whole = with_found(text, found)
    if read_unchecked(whole, source=source) != expected:
        raise ConfigError(f"{source}: models_found cannot be written into this text; list the names instead")
    return whole


def checked(text: str, *, source: str) -> Config:
    """What a text says, checked whole where nobody has to be asked for names that it may use. Raises
    ConfigError."""
    config = read_unchecked(text, source=source)
    return config if unasked(config) else parse_config(text, source=source)


def with_found(text: str, found: Mapping[str, tuple[str, ...]]) -> str:
    """The text with what these providers list."""
    import tomlkit  # noqa: PLC0415 - 30 ms that only these edits cost

    document = tomlkit.parse(text)
    tables: Any = document["providers"]
    for name, names in found.items():
        tables[name]["models_found"] = list(names)
    return tomlkit.dumps(document)


def as_in_force(text: str, applied: str, *, source: str) -> str:
    """The text with what was found when the configuration in force was applied, as far as it has to be asked
    for, to be compared with that one. Raises ConfigError."""
    wanted = unasked(read_unchecked(text, source=source))
    if not wanted:
        return text
    there = parse_config(applied, source="the configuration in force").providers
    found = {
        name: there[name].models_found or ()
        for name in wanted
        if name in there and there[name].models_found is not None
    }
    return with_found(text, found) if found else text
