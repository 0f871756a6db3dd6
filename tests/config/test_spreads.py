"""`shares` of a model: what a spread may name, and what it is read as."""

from __future__ import annotations

import pytest

from airboss.config import parse_config
from airboss.domain.errors import ConfigError

WHOLE = """[providers.azure]
kind = "azure"
base_url = "https://shop.example.com"
api_key = "env:A"

[providers.claude]
kind = "anthropic"
api_key = "env:C"

[providers.here]
kind = "local"

[models.a]
provider = "azure"
model = "gpt-4o"

[models.b]
provider = "claude"
model = "sonnet"

[models.own]
provider = "here"
model = "file:/m.gguf"

[models.chat]
shares = { a = 1, b = 3 }

[deployments.chat]
model = "chat"
"""


def test_a_spread_is_read_as_the_model_with_the_greatest_share() -> None:
    """Whoever knows nothing of shares finds a model; those who do find all, the greatest share first."""
    config = parse_config(WHOLE, source="airboss.toml")
    chat = config.models["chat"]
    assert (chat.provider, chat.model, list(chat.shares.items())) == (
        "claude",
        "sonnet",
        [("b", 3), ("a", 1)],
    )
    assert config.asked("chat") == ("b", "a")
    assert config.asked("a") == ("a",)
    assert not config.is_local("chat")


@pytest.mark.parametrize(
    ("shares", "told"),
    [
        ("{ a = 1, bb = 3 }", 'models.chat.shares.bb: there is no model "bb"; did you mean "b"?'),
        ("{ a = 1, chat = 3 }", 'models.chat.shares: "chat" is this table itself'),
        ("{ a = 1, other = 3 }", '"other" is a spread itself; name models that are asked'),
        ("{ a = 1, own = 3 }", 'models.chat.shares: "own" is a local model; only hosted ones share calls'),
        ("{ a = 1, same = 3 }", '"a" and "same" are one model of one provider'),
        ("{ a = 1 }", "models.chat.shares names 1 of [models]; give 2 to 8"),
        ("{ a = 1, b = 0 }", "models.chat.shares.b is 0.0; expected 0.001 to 1,000"),
        ("{ a = 1, b = -2 }", "models.chat.shares.b is -2.0; expected 0.001 to 1,000"),
        ("{ a = 1, b = nan }", "models.chat.shares.b is NaN; expected a number"),
        ("{ a = 1, b = inf }", "models.chat.shares.b is Infinity; expected a number"),
        ('{ a = 1, b = "2" }', 'models.chat.shares.b is "2"; expected a number'),
        ("{ a = 1, b = true }", "models.chat.shares.b is true; expected a number"),
        ('["a", "b"]', "models.chat.shares is a list; expected a table"),
        ("{}", '[models.chat] lacks "provider"; it needs provider = …, model = …, or shares'),
    ],
)  # fmt: skip
def test_shares_that_cannot_be_are_refused(shares: str, told: str) -> None:
    """With the line, what is there and what is expected."""
    more = '[models.other]\nshares = { a = 1, b = 1 }\n[models.same]\nprovider = "azure"\nmodel = "gpt-4o"\n'
    with pytest.raises(ConfigError) as raised:
        parse_config(WHOLE.replace("{ a = 1, b = 3 }", shares) + more, source="airboss.toml")
    assert told in str(raised.value)
    assert str(raised.value).startswith(("airboss.toml:26: ", "airboss.toml:25: "))


@pytest.mark.parametrize(
    ("instead", "told"),
    [
        ('model = "x"\nshares', "has shares: the models that it names say the rest; take out model"),
        ("context_tokens = 8192\nshares", "take out context_tokens"),
        ("price = { input_usd_per_mtok = 1, output_usd_per_mtok = 1 }\nshares", "take out price"),
    ],
)  # fmt: skip
def test_a_spread_says_nothing_of_its_own(instead: str, told: str) -> None:
    """A price or a provider beside shares would be nobody's."""
    with pytest.raises(ConfigError) as raised:
        parse_config(WHOLE.replace("shares", instead), source="airboss.toml")
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ('fallbacks = ["b"]', '"b" is the release\'s own model'),
        ('fallbacks = ["chat"]', '"chat" is the release\'s own model'),
        ('fallbacks = ["other"]', '"other" is a spread of others; name those in their order'),
        ('form = "completion"', 'kind "anthropic" takes conversations only'),
    ],
)
def test_a_release_of_a_spread_keeps_the_rules(more: str, told: str) -> None:
    """A model is asked once, fallbacks are single models, and a raw prompt is for those who take one."""
    text = f'{WHOLE}\n[models.other]\nshares = {{ a = 1, b = 1 }}\n[releases.r]\nmodel = "chat"\n{more}\n'
    with pytest.raises(ConfigError) as raised:
        parse_config(text, source="airboss.toml")
    assert told in str(raised.value)


def test_a_cache_compares_by_one_model() -> None:
    """Vectors of two models do not mix."""
    text = WHOLE + 'cache = { semantic = { model = "chat" } }\n'
    with pytest.raises(ConfigError, match="is a spread, and vectors of two do not mix"):
        parse_config(text, source="airboss.toml")


def test_members_may_be_models_that_a_provider_lists() -> None:
    """They have no tables of their own."""
    listed = WHOLE.replace('api_key = "env:C"', 'api_key = "env:C"\nmodels = ["haiku"]')
    config = parse_config(listed.replace("b = 3", "haiku = 3"), source="airboss.toml")
    assert config.asked("chat") == ("haiku", "a")
    assert config.deployments["haiku"].model == "haiku"
