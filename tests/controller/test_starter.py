"""The configuration that the first start writes."""

from __future__ import annotations

import tomllib

import pytest

from airboss.config import parse_config, warnings_of
from airboss.config.prices import shipped
from airboss.controller.publish import has_openai_key, starter_config
from airboss.controller.starter import STARTER_SHA256


@pytest.mark.parametrize("openai_key_present", [False, True])
def test_the_starter_is_valid_and_beyond_reproach(openai_key_present: bool) -> None:
    """It parses, warns of nothing, and pins the weights."""
    config = parse_config(starter_config(openai_key_present=openai_key_present), source="airboss.toml")
    assert warnings_of(config) == ()
    assert config.models["smollm2"].sha256 == STARTER_SHA256
    assert config.model_of("assistant") == "smollm2"
    assert config.is_local("smollm2")


def test_without_a_key_the_first_script_gets_the_local_model() -> None:
    """`gpt-4o` is an alias of `assistant`, and nothing leaves the machine."""
    config = parse_config(starter_config(openai_key_present=False), source="airboss.toml")
    assert config.deployments["assistant"].aliases == ("gpt-4o",)
    assert set(config.deployments) == {"assistant"}
    assert {provider.kind for provider in config.providers.values()} == {"local"}


def test_with_a_key_gpt_4o_is_openais() -> None:
    """`gpt-4o` goes to OpenAI with the key from the environment; the small model never answers for it."""
    config = parse_config(starter_config(openai_key_present=True), source="airboss.toml")
    assert config.deployments["assistant"].aliases == ()
    assert config.model_of("gpt-4o") == "gpt-4o"
    assert config.providers[config.models["gpt-4o"].provider].api_key == "env:OPENAI_API_KEY"
    assert config.models["gpt-4o"].price is None


def test_it_says_of_costs_what_is_so() -> None:
    """The table that comes along has the price of what it serves: nobody has to write one to see costs."""
    text = starter_config(openai_key_present=True)
    assert shipped().price("openai", "gpt-4o") is not None
    assert "Without a price" not in text
    assert "`airboss prices list`" in text


@pytest.mark.parametrize("openai_key_present", [False, True])
def test_every_setting_that_is_commented_out_would_be_taken(openai_key_present: bool) -> None:
    """What a reader uncomments works: no comment shows a setting that does not exist."""
    lines = starter_config(openai_key_present=openai_key_present).split("\n")
    uncommented = []
    for line in lines:
        inner = line.removeprefix("# ")
        try:
            setting = line.startswith("# ") and bool(tomllib.loads(inner))
        except tomllib.TOMLDecodeError:
            setting = False
        uncommented.append(inner if setting else line)
    assert sum(one != other for one, other in zip(lines, uncommented, strict=True)) >= 9
    text = "\n".join(uncommented).replace("[keys.default]", "[keys.default]")
    config = parse_config(text, source="airboss.toml")
    assert config.store.bodies == "off"
    assert config.models["smollm2"].slots == 4
    assert config.keys["default"].deployments == ("assistant",)


@pytest.mark.parametrize(
    ("env", "has"),
    [
        ({}, False),
        ({"OPENAI_API_KEY": ""}, False),
        ({"OPENAI_API_KEY": "  "}, False),
        ({"OPENAI_API_KEY": "ab_" + "x" * 43}, False),
        ({"OPENAI_API_KEY": "sk-proj-x"}, True),
    ],
)
def test_a_pasted_export_line_is_not_a_key_of_openais(env: dict[str, str], has: bool) -> None:
    """A key of ours under that name is not taken for OpenAI's."""
    assert has_openai_key(env) == has
