"""Policies in the configuration, in releases, and together."""

from __future__ import annotations

import msgspec
import pytest

from airboss.config import parse_config
from airboss.domain.errors import ConfigError
from airboss.governance import policies
from airboss.governance.policies import KINDS, binding, policy_of
from airboss.releases.build import build_releases
from airboss.releases.said import as_config

CONFIG = """
[providers.p]
kind = "openai-compatible"
base_url = "http://127.0.0.1:9/v1"
[models.m]
provider = "p"
model = "m"
[policies.mild]
pii = { action = "tokenize", kinds = ["email", "card"] }
[policies.strict]
pii = { action = "block", kinds = ["card", "secret"] }
[releases.r]
model = "m"
policy = "mild"
[deployments.d]
release = "r"
policy = "strict"
"""


def test_the_stricter_action_wins() -> None:
    """About each kind the strictest of all policies counts, whichever comes first."""
    mild, strict = policy_of("tokenize", ("email", "card")), policy_of("block", ("card", "secret"))
    expected = {"email": "tokenize", "card": "block", "secret": "block"}
    assert binding(mild, strict) == binding(strict, None, mild) == expected
    assert binding(policy_of("observe", None), mild, policy_of("mask", ("email",)))["email"] == "mask"
    assert binding(None, None) == {}


def test_no_kinds_are_all() -> None:
    """Left out, `kinds` means every kind that patterns find: what needs a model is asked for by name."""
    assert [kind for kind, _ in policy_of("mask", None).pii] == list(KINDS)
    assert not set(KINDS) & {"person", "location", "organization"}
    assert [kind for kind, _ in policy_of("mask", ("person", "email")).pii] == ["email", "person"]


def test_what_finds_names_is_in_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another model of names is another release where names are asked for, and there alone."""

    def digests() -> list[str]:
        named = CONFIG.replace('["email", "card"]', '["email", "person"]')
        return [
            build_releases(parse_config(text, source="test"), engine_version="e").named["r"].digest
            for text in (CONFIG, named)
        ]

    found = []
    for version in ("a model 1", "a model 2"):
        monkeypatch.setattr(policies, "names_version", lambda version=version: version)
        found.append(digests())
    assert found[0][0] == found[1][0]
    assert len({found[0][0], found[0][1], found[1][1]}) == 3


def test_a_releases_digest_covers_its_policy() -> None:
    """Another action, other kinds or other detectors are another release; a policy's name is not."""

    def digest(text: str) -> str:
        return build_releases(parse_config(text, source="test"), engine_version="e").named["r"].digest

    renamed = CONFIG.replace("policies.mild", "policies.soft").replace('"mild"', '"soft"')
    assert digest(renamed) == digest(CONFIG)
    assert digest(CONFIG.replace("tokenize", "mask")) != digest(CONFIG)
    assert digest(CONFIG.replace('["email", "card"]', '["email"]')) != digest(CONFIG)
    assert digest(CONFIG.replace('\npolicy = "mild"', "")) != digest(CONFIG)
    assert digest(CONFIG.replace('\npolicy = "strict"', "")) == digest(CONFIG)


def test_a_release_goes_back_into_a_configuration() -> None:
    """Its policy is found again by what it says."""
    catalog = build_releases(parse_config(CONFIG, source="test"), engine_version="e")
    assert as_config(catalog, catalog.named["r"]).policy == "mild"
    said = catalog.named["r"].policy
    assert said is not None
    older = msgspec.structs.replace(said, detectors="0")
    before = msgspec.structs.replace(catalog.named["r"], policy=older)
    assert as_config(catalog, before).policy == "mild", (
        "a policy keeps its name where detectors have become better"
    )
    other = build_releases(
        parse_config(CONFIG.replace("tokenize", "mask"), source="test"), engine_version="e"
    )
    with pytest.raises(ConfigError, match=r"add it under \[policies\]"):
        as_config(other, catalog.named["r"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"email", "card"', '"mail", "card"', 'no kind is called "mail"; did you mean "email"'),
        ('["email", "card"]', "[]", "one kind or more"),
        ('"email", "card"', '"card", "card"', "each once"),
        ('"tokenize"', '"hide"', "expected mask | tokenize | block | observe"),
        ('policy = "mild"', 'policy = "mildd"', 'there is no policy "mildd"; did you mean "mild"'),
        ('policy = "strict"', 'policy = "x"', 'there is no policy "x"'),
        ("[policies.mild]", '[policies."a b"]', "cannot be a name"),
    ],
)
def test_what_is_wrong_is_told(old: str, new: str, said: str) -> None:
    """With the line, what was seen and the nearest name."""
    with pytest.raises(ConfigError) as error:
        parse_config(CONFIG.replace(old, new), source="a.toml")
    assert said in str(error.value)
    assert str(error.value).startswith("a.toml:")
