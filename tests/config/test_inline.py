"""Tests of config.inline and config.edit: files put into the text, and edits that keep the rest as it was."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from airboss.config import ReleaseConfig, parse_config
from airboss.config.edit import pointing, with_model, with_release
from airboss.config.inline import inlined
from airboss.domain.errors import ConfigError
from airboss.domain.plan import LongPrompt, Price
from airboss.domain.release import Example

TEXT = """# Mine.
[providers.up]
kind = "openai-compatible"
base_url = "https://llm.example.com/v1"

[models.m]   # the only one
provider = "up"
model = "m"

[releases.support]
model = "m"
prompt = "prompts/support.md"
examples = "prompts/support.jsonl"

[deployments.support]
release = "support"
"""
FILES = {
    "prompts/support.md": 'You are "kind".\nBack\\slash. {{ shop }}\n',
    "prompts/support.jsonl": '{"input": "a", "output": "b"}\n\n{"input": "c\\nd", "output": "é"}\n',
}


def read(name: str) -> str:
    """A file beside the configuration."""
    if name not in FILES:
        raise FileNotFoundError(2, "No such file or directory", name)
    return FILES[name]


def test_files_become_text() -> None:
    """What is applied has the prompt and the examples, to the letter, and the operator's comments."""
    text = inlined(TEXT, source="airboss.toml", read=read)
    release = parse_config(text, source="airboss.toml").releases["support"]
    assert release.prompt == 'You are "kind".\nBack\\slash. {{ shop }}'
    assert release.examples == (Example(input="a", output="b"), Example(input="c\nd", output="é"))
    assert "# Mine." in text
    assert "# the only one" in text


def test_text_without_files_is_left_alone() -> None:
    """To the byte; what is not TOML too."""
    plain = TEXT.replace('"prompts/support.md"', '"Be kind."').replace(
        'examples = "prompts/support.jsonl"\n', ""
    )
    assert inlined(plain, source="airboss.toml", read=read) == plain
    assert inlined("][", source="airboss.toml", read=read) == "]["


def test_a_file_that_is_not_there_is_named_with_its_line() -> None:
    """So that one sees which of several it is."""
    with pytest.raises(
        ConfigError, match=r'airboss\.toml:12: releases\.support\.prompt names the file "p\.md"'
    ):
        inlined(TEXT.replace("prompts/support.md", "p.md"), source="airboss.toml", read=read)


@pytest.mark.parametrize("line", ["nonsense", '{"input": "a"}', '{"input": 1, "output": "b"}'])
def test_examples_that_are_none_are_named_with_their_line(line: str) -> None:
    """Each example has an input and an output."""
    with pytest.raises(ConfigError, match=r"prompts/support\.jsonl:2: "):
        inlined(
            TEXT,
            source="airboss.toml",
            read=lambda name: f'{{"input": "a", "output": "b"}}\n{line}' if "jsonl" in name else "x",
        )


def test_a_release_is_added_and_pointed_at() -> None:
    """As it was given, and nothing else changes."""
    text = inlined(TEXT, source="airboss.toml", read=read)
    new = ReleaseConfig(
        model="m",
        prompt="One.\nTwo.",
        examples=(Example(input="x", output="y"),),
        form="system",
        params={"temperature": 0.5, "stop": ["\n"]},
        policy="default",
        fallbacks=("spare",),
        fallbacks_when_filtered=True,
    )
    text += '\n[policies.default]\npii = { action = "mask" }\n[models.spare]\nprovider = "up"\nmodel = "s"\n'
    changed = pointing(with_release(text, "tuned", new), "support", "tuned")
    before, after = (parse_config(each, source="") for each in (text, changed))
    assert after.releases["tuned"].prompt == "One.\nTwo."
    assert after.releases["tuned"].examples == new.examples
    assert after.releases["tuned"].form == "system"
    assert float(after.releases["tuned"].params["temperature"]) == 0.5
    assert (after.releases["tuned"].policy, after.releases["tuned"].fallbacks) == ("default", ("spare",))
    assert after.releases["support"] == before.releases["support"]
    assert after.deployments["support"].release == "tuned"
    assert "# the only one" in changed
    assert 'fallbacks = ["spare"]\nfallbacks_when_filtered = true\n\n[' in changed, "tables stand apart"
    assert after.releases["tuned"].fallbacks_when_filtered


def test_a_deployment_of_a_bare_model_is_pointed_at_a_release() -> None:
    """Its `model` goes: it has either."""
    text = TEXT.replace('release = "support"', 'model = "m"').replace(
        'prompt = "prompts/support.md"\nexamples = "prompts/support.jsonl"\n', ""
    )
    changed = parse_config(pointing(text, "support", "support"), source="")
    assert changed.deployments["support"].model is None
    assert changed.deployments["support"].release == "support"


@pytest.mark.parametrize(
    ("rollout", "message"),
    [
        ("{ steps = [5, 5] }", "percents between 0 and 100 that rise"),
        ("{ steps = [50, 100] }", "percents between 0 and 100 that rise"),
        ("{ steps = [] }", "percents between 0 and 100 that rise"),
        ("{ alpha = 0.9 }", "alpha is 0.9"),
        ('{ metrics = ["errors"] }', "no metric is called"),
        ('{ metrics = ["cost", "cost"] }', "each once"),
        ("{ margin = { error_rte = 0.1 } }", "is not among the metrics"),
        ("{ margin = { cost = 0.1 } }", "only guards"),
        ("{ step_units = 0 }", "step_units is 0"),
        ("{ step_min_s = 10, step_max_s = 5 }", "step_max_s is 5"),
        ('{ gate = { dataset = "golden" } }', 'lacks "scorer"'),
        ("{ stepz = [5] }", 'did you mean "steps"?'),
    ],
)
def test_a_rollout_that_cannot_be_followed_is_refused(rollout: str, message: str) -> None:
    """With what was seen, before anything is served from it."""
    text = TEXT.replace('prompt = "prompts/support.md"\nexamples = "prompts/support.jsonl"\n', "")
    with pytest.raises(ConfigError, match=r"airboss\.toml:\d+: ") as caught:
        parse_config(f"{text}rollout = {rollout}\n", source="airboss.toml")
    assert message in str(caught.value)


def test_a_model_is_added() -> None:
    """As it was given, whatever of it is set, and nothing else changes."""
    text = inlined(TEXT, source="airboss.toml", read=read)
    price = Price(
        input_usd_per_mtok=Decimal("0.5"),
        output_usd_per_mtok=Decimal(2),
        long_prompt=LongPrompt(over_tokens=9, input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(3)),
        tiers={"flex": Price(input_usd_per_mtok=Decimal("0.25"), output_usd_per_mtok=Decimal(1))},
    )
    before = parse_config(text, source="")
    new = msgspec.structs.replace(before.models["m"], model="ft:m:\u00fc", price=price, continuation="off")
    after = parse_config(with_model(text, "tuned", new), source="")
    assert after.models == {**before.models, "tuned": new}
    assert after.releases == before.releases
