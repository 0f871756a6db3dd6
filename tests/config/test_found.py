"""A provider that serves all it lists: what it lists is written down when it is applied."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from airboss.config import DeploymentConfig, ProviderConfig, parse_config
from airboss.config.found import as_in_force, checked, completed
from airboss.domain.errors import ConfigError

TEXT = """# all of it
[providers.vllm]
kind = "openai-compatible"   # ours
base_url = "http://127.0.0.1:9/v1"
models = "*"

[[providers.vllm.targets]]
base_url = "http://127.0.0.1:9/v1"

[keys.team]
deployments = ["llama/3"]
"""


class Asked:
    """Answers the same to all."""

    def __init__(self, *said: str | tuple[str, ...]) -> None:
        self.said, self.asked = list(said), list[str]()

    def __call__(self, wanted: Mapping[str, ProviderConfig]) -> dict[str, tuple[str, ...] | str]:
        """As `found.Ask`."""
        self.asked += wanted
        return {name: self.said[at % len(self.said)] for at, name in enumerate(wanted)}


def test_it_is_written_beside_and_not_asked_again() -> None:
    """Comments and order stay, and what uses a name that is found is right then."""
    ask = Asked(("llama/3", "qwen"))
    whole = completed(TEXT, ask, source="x")
    config = parse_config(whole, source="x")
    assert config.providers["vllm"].models_found == ("llama/3", "qwen")
    assert config.deployments["llama/3"] == DeploymentConfig(model="llama-3")
    assert set(config.deployments) == {"llama/3", "qwen"}
    assert whole.startswith("# all of it\n")
    assert "# ours" in whole
    assert completed(whole, ask, source="x") == whole
    assert ask.asked == ["vllm"]
    plain = '[providers.a]\nkind = "openai"\nmodels = ["gpt-4o"]\n'
    assert completed(plain, ask, source="x") is plain


@pytest.mark.parametrize(
    "text",
    [
        'providers = { a = { kind = "openai", models = "*" } }\n',
        'providers.a.kind = "openai"\nproviders.a.models = "*"\n',
        '[providers]\na.kind = "openai"\na.models = "*"\n[gateway]\nfsync_ms = 10\n',
        '[providers.a]\r\nkind = "openai"\r\nmodels = "*"\r\n\r\n[gateway]\r\nfsync_ms = 10\r\n',
    ],
)
def test_however_it_is_written(text: str) -> None:
    """Every way in which TOML can say it."""
    whole = completed(text, Asked(("m",)), source="x")
    assert parse_config(whole, source="x").providers["a"].models_found == ("m",)


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("127.0.0.1 lists no model", "x:5: 127.0.0.1 lists no model; or list the names"),
        (("a b",), '"a b" cannot be sent as a model'),
        (("a/b", "a:b"), '"a:b" is listed twice (as "a/b"); list those that are wanted'),
        (("a\u202eb",), '"a\\u202eb" cannot be sent as a model'),
        (tuple(f"m{n}" for n in range(101)), "has 101 names, of at most 100; list those that are wanted"),
    ],
)
def test_what_cannot_be_served_so(said: str | tuple[str, ...], cause: str) -> None:
    """Is told with its line."""
    with pytest.raises(ConfigError, match=re.escape(cause)):
        completed(TEXT, Asked(said), source="x")


@pytest.mark.parametrize(
    ("more", "cause"),
    [
        ('models = "+"', 'expected a list of texts in quotes, or "*"'),
        ("models = 3", "models is 3; expected text in quotes, or a list"),
        ("models = [3]", "models[0] is 3; expected text in quotes"),
        ('models = ["a"]\nmodels_found = ["a"]', "is what Airboss writes"),
        ('models_found = ["a"]', "is what Airboss writes"),
        ('models = "*"\n[providers.c]\nkind = "anthropic"\nmodels = "*"', "list the names"),
        ('models = "*"\n[providers.c]\nkind = "local"\nmodels = "*"', "a local model has weights"),
        (
            'models = "*"\nmodels_found = ["a"]\n[models.a]\nprovider = "p"\nmodel = "b"',
            "give one of them another name",
        ),
    ],
)
def test_what_is_wrong_in_itself(more: str, cause: str) -> None:
    """Nobody is asked for it."""
    text = f'[providers.p]\nkind = "openai"\n{more}\n'
    ask = Asked(("m",))
    with pytest.raises(ConfigError, match=re.escape(cause)):
        parse_config(completed(text, ask, source="x"), source="x")
    assert not ask.asked


def test_two_that_list_the_same_clash() -> None:
    """Which is meant nobody could say; one that is not to be asked is listed."""
    both = "".join(f'[providers.{name}]\nkind = "openai"\nmodels = "*"\n' for name in "ab")
    with pytest.raises(ConfigError, match='"m" is listed twice'):
        completed(both, Asked(("m",)), source="x")
    many = "".join(f'[providers.p{n}]\nkind = "openai"\nmodels = "*"\n' for n in range(17))
    ask = Asked(("m",))
    with pytest.raises(ConfigError, match="17 providers"):
        completed(many, ask, source="x")
    assert not ask.asked


def test_a_file_says_the_same_as_what_was_found() -> None:
    """Also one whose key is written out, which is moved away when it is applied."""
    whole = completed(TEXT, Asked(("llama/3",)), source="x")
    assert parse_config(as_in_force(TEXT, whole, source="x"), source="x") == parse_config(whole, source="x")
    other = parse_config(as_in_force(TEXT.replace(":9/v1", ":8/v1"), whole, source="x"), source="x")
    assert other.providers["vllm"].models_found == ("llama/3",)
    assert other != parse_config(whole, source="x")
    keyed = TEXT.replace('models = "*"', 'models = "*"\napi_key = "sk-1"')
    assert parse_config(as_in_force(keyed, whole, source="x"), source="x").deployments.keys() == {"llama/3"}


def test_what_is_to_be_asked_is_read_all_the_same() -> None:
    """Where nothing is applied; else it is checked whole."""
    assert checked(TEXT, source="x").keys["team"].deployments == ("llama/3",)
    with pytest.raises(ConfigError, match="there is no deployment"):
        checked(TEXT.replace('models = "*"\n', ""), source="x")
