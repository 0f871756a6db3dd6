"""Models that are spreads: others share their calls by weight, at whichever providers those are. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from airboss.config.models import ModelConfig
from airboss.config.rules import check_known, check_range
from airboss.config.types import Config
from airboss.config.wording import Path, Wrong, dotted, quoted

MEMBERS_MAX: Final = 8
_PLAIN: Final = ModelConfig()


def with_spreads(config: Config) -> Config:
    """The configuration with each spread as the first of its members but for its shares: the one with the
    greatest, so that one mix is one release however it is written."""
    return _each_spread(config, lambda spread: _filled(config, spread))


def as_written(config: Config) -> Config:
    """The configuration with each spread as somebody writes it: with nothing but its shares."""
    return _each_spread(config, lambda spread: ModelConfig(shares=spread.shares))


def _each_spread(config: Config, changed: Callable[[ModelConfig], ModelConfig]) -> Config:
    spreads = {name: model for name, model in config.models.items() if model.shares}
    if not spreads:
        return config
    models = config.models | {name: changed(model) for name, model in spreads.items()}
    return msgspec.structs.replace(config, models=models)


def _filled(config: Config, spread: ModelConfig) -> ModelConfig:
    def place(member: tuple[str, float]) -> tuple[float, str, str]:
        model = config.models[member[0]]
        return -member[1], model.provider, model.model

    shares = dict(sorted(spread.shares.items(), key=place))
    return msgspec.structs.replace(config.models[next(iter(shares))], shares=shares)


def check_spreads(config: Config, wrong: Wrong) -> None:
    """Raise what `wrong` makes of the first spread that cannot be, or of what is neither that nor a model."""
    for name, model in config.models.items():
        path: Path = ("models", name)
        if model.shares:
            _check_spread(path, model, config, wrong)
        elif not model.provider:  # a model without a name is told by the checks of models
            needs = "it needs provider = …, model = …, or shares = { … } of other models"
            raise wrong(path, f'[{dotted(path)}] lacks "provider"; {needs}')


def _check_spread(path: Path, spread: ModelConfig, config: Config, wrong: Wrong) -> None:
    at = (*path, "shares")
    for field in ModelConfig.__struct_fields__:
        if field != "shares" and getattr(spread, field) != getattr(_PLAIN, field):
            message = f"[{dotted(path)}] has shares: the models that it names say the rest; take out {field}"
            raise wrong((*path, field), message)
    if not 2 <= len(spread.shares) <= MEMBERS_MAX:
        raise wrong(at, f"{dotted(at)} names {len(spread.shares)} of [models]; give 2 to {MEMBERS_MAX}")
    seen: dict[tuple[str, str], str] = {}
    single = {name: model for name, model in config.models.items() if not model.shares}
    for name, weight in spread.shares.items():
        here = (*at, name)
        if name in config.models and name not in single:
            what = "this table itself" if name == path[-1] else "a spread itself"
            raise wrong(here, f"{dotted(at)}: {quoted(name)} is {what}; name models that are asked")
        check_known(here, name, single, "model", wrong)
        check_range(here, weight, 0.001, 1000, wrong)
        model = single[name]
        provider = config.providers.get(model.provider)
        if provider is not None and provider.kind == "local":
            raise wrong(here, f"{dotted(at)}: {quoted(name)} is a local model; only hosted ones share calls")
        also = seen.setdefault((model.provider, model.model), name)
        if also != name:
            both = f"{quoted(also)} and {quoted(name)} are one model of one provider"
            raise wrong(here, f"{dotted(at)}: {both}; its addresses and keys share calls by targets")
