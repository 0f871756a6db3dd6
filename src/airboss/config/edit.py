"""The configuration's text changed by Airboss itself: a model or release added, a deployment pointed at one.

Comments, order and everything else stay as the operator wrote them. Pure.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from airboss.config.models import ModelConfig
from airboss.config.types import ReleaseConfig


def with_model(text: str, name: str, model: ModelConfig) -> str:
    """The text with `[models.NAME]` added, or replaced; what is as it would be anyway is left out."""
    import tomlkit  # noqa: PLC0415 - as below

    document = tomlkit.parse(text)
    table = tomlkit.table()
    plain = ModelConfig(provider=model.provider, model=model.model)
    for field in ModelConfig.__struct_fields__:
        value = getattr(model, field)
        if field in {"provider", "model"} and value:
            table[field] = value
        elif value != getattr(plain, field):
            table[field] = _plain(value)
    if "models" not in document:
        document["models"] = tomlkit.table(is_super_table=True)
    models: Any = document["models"]
    models[name] = table
    return tomlkit.dumps(document)


def with_release(text: str, name: str, release: ReleaseConfig) -> str:
    """The text with `[releases.NAME]` added, or replaced."""
    import tomlkit  # noqa: PLC0415 - 30 ms that only these edits cost

    document = tomlkit.parse(text)
    table = tomlkit.table()
    table["model"] = release.model
    if release.prompt is not None:
        table["prompt"] = tomlkit.string(release.prompt, multiline=_fits_multiline(release.prompt))
    if release.examples:
        rows = tomlkit.array()
        for example in release.examples:
            row = tomlkit.inline_table()
            row.update({"input": example.input, "output": example.output})
            rows.append(row)
        table["examples"] = rows.multiline(multiline=True)
    if release.form != "turns":
        table["form"] = release.form
    for field, params in (("params", release.params), ("params_force", release.params_force)):
        if params:
            inline = tomlkit.inline_table()
            inline.update({key: _plain(value) for key, value in params.items()})
            table[field] = inline
    more: dict[str, object] = {"policy": release.policy, "fallbacks": list(release.fallbacks)}
    more["fallbacks_when_filtered"] = release.fallbacks_when_filtered
    table.update({field: value for field, value in more.items() if value})
    table.add(tomlkit.nl())
    if "releases" not in document:
        document["releases"] = tomlkit.table(is_super_table=True)
    releases: Any = document["releases"]
    releases[name] = table
    return tomlkit.dumps(document)


def pointing(text: str, deployment: str, release: str) -> str:
    """The text with `deployments.NAME.release` set, in place of a `model` where it has one."""
    import tomlkit  # noqa: PLC0415 - as above

    document = tomlkit.parse(text)
    if "deployments" not in document:
        document["deployments"] = tomlkit.table(is_super_table=True)
    deployments: Any = document["deployments"]
    if deployment not in deployments:  # it is one that a provider lists
        deployments[deployment] = tomlkit.table()
    table = deployments[deployment]
    table.pop("model", None)
    table["release"] = release
    return tomlkit.dumps(document)


def _plain(value: object) -> object:
    """A value as TOML takes it."""
    import tomlkit  # noqa: PLC0415 - as above

    if isinstance(value, msgspec.Struct):
        value = {name: each for name, each in msgspec.structs.asdict(value).items() if each not in (None, {})}
    if not isinstance(value, dict):
        return float(value) if isinstance(value, Decimal) else value
    inline = tomlkit.inline_table()
    inline.update({name: _plain(each) for name, each in value.items()})
    return inline


def _fits_multiline(text: str) -> bool:
    """A text that begins with a line break would lose it in a multiline string."""
    return "\n" in text and not text.startswith("\n")
