"""Models that a provider lists are served under their own names."""

from __future__ import annotations

import re

import pytest

from airboss.config import DeploymentConfig, ModelConfig, parse_config
from airboss.config.edit import pointing, with_release
from airboss.config.types import ReleaseConfig
from airboss.domain.errors import ConfigError

OPENAI = """
[providers.openai]
kind = "openai"
api_key = "env:OPENAI_API_KEY"
models = ["gpt-4o", "ft:gpt-4o:acme/x"]
"""


def test_each_is_a_deployment() -> None:
    """Of a model with just that name upstream."""
    config = parse_config(OPENAI, source="x")
    assert config.deployments == {
        "gpt-4o": DeploymentConfig(model="gpt-4o"),
        "ft:gpt-4o:acme/x": DeploymentConfig(model="ft-gpt-4o-acme-x"),
    }
    assert config.models["ft-gpt-4o-acme-x"] == ModelConfig(provider="openai", model="ft:gpt-4o:acme/x")


def test_what_is_written_out_goes_before() -> None:
    """A deployment, an alias, a model with a price."""
    own = """
[models.gpt-4o]
provider = "openai"
model = "gpt-4o"
price = { input_usd_per_mtok = 1.0, output_usd_per_mtok = 2.0 }
"""
    config = parse_config(OPENAI + own, source="x")
    assert config.models["gpt-4o"].price is not None
    assert config.deployments["gpt-4o"].model == "gpt-4o"
    support = '[deployments.support]\nmodel = "gpt-4o"\naliases = ["ft:gpt-4o:acme/x"]\n'
    config = parse_config(OPENAI + own + support, source="x")
    assert set(config.deployments) == {"support", "gpt-4o"}
    limited = '[deployments.gpt-4o]\nmodel = "gpt-4o"\nlimits = { concurrency = 3 }\n'
    config = parse_config(OPENAI + own + limited, source="x")
    assert config.deployments["gpt-4o"].limits is not None


def test_one_gets_a_release_later() -> None:
    """Its deployment is then written out."""
    text = with_release(OPENAI, "kind", ReleaseConfig(model="gpt-4o", prompt="Be kind."))
    config = parse_config(pointing(text, "gpt-4o", "kind"), source="x")
    assert config.deployments["gpt-4o"] == DeploymentConfig(release="kind")
    assert set(config.deployments) == {"gpt-4o", "ft:gpt-4o:acme/x"}


@pytest.mark.parametrize(
    ("more", "cause"),
    [
        ('models = ["a b"]', '"a b" cannot be sent as a model'),
        ('models = [""]', "cannot be sent as a model"),
        ('models = ["a", "a"]', '"a" is listed twice'),
        ('models = ["a/b", "a:b"]', '"a:b" is listed twice (as "a/b")'),
        ('models = "gpt-4o"', "expected a list"),
        (f"models = {[f'm{n}' for n in range(101)]}", "101 names, of at most 100"),
        ('models = ["gpt-4o"]\n[providers.q]\nkind = "openai"\nmodels = ["gpt-4o"]', "is listed twice"),
        (
            'models = ["gpt-4o"]\n[models.gpt-4o]\nprovider = "openai"\nmodel = "other"',
            '[models.gpt-4o] is "other" of provider "openai"',
        ),
        ('[providers.l]\nkind = "local"\nmodels = ["x"]', "a local model has weights"),
    ],
)
def test_what_cannot_be_served_so(more: str, cause: str) -> None:
    """Is told with its line."""
    text = '[providers.openai]\nkind = "openai"\n' + more
    with pytest.raises(ConfigError, match=re.escape(cause)) as error:
        parse_config(text, source="x")
    assert re.match(r"x:\d+: ", str(error.value))
