"""A model that came of a training, as the configuration would have it. Pure."""

from __future__ import annotations

import msgspec

from airboss.config import Config, ModelConfig
from airboss.domain.errors import ConfigError
from airboss.domain.release import ModelVersion
from airboss.releases.build import model_version


class NewModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that is like `base` but for these fields of its table."""

    base: ModelVersion
    fields: dict[str, str]


def model_config(config: Config, new: NewModel, *, engine_version: str) -> ModelConfig:
    """`[models.NAME]` of a new model. A hosted one has no price: what its provider takes for it is not what
    the base model costs. Raises ConfigError where the base model is not in the configuration any more."""
    return base_and_new(config, new, engine_version=engine_version)[1]


def base_and_new(config: Config, new: NewModel, *, engine_version: str) -> tuple[str, ModelConfig]:
    """What the configuration calls the base model, and the new one. Raises ConfigError as `model_config`."""
    for name, known in config.models.items():
        if not known.shares and model_version(config, name, engine_version=engine_version) == new.base:
            price = known.price if new.base.kind == "local" else None
            return name, msgspec.structs.replace(known, price=price, **new.fields)
    raise ConfigError(
        f"the model {new.base.model!r} that was trained is not in the configuration any more; add it under "
        "[models]"
    )
