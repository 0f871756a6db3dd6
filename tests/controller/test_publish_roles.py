"""Roles in the configuration: what `[keys.NAME] role` makes of a key, and of which it makes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airboss.config import parse_config
from airboss.domain.errors import ConfigError
from airboss.domain.ports import ApiKey
from airboss.governance.keys import Keyring, hash_key
from tests.support.kept_keys import put_key
from tests.support.seed_loop import CONFIG, END, Loop

SECRET = "ab_" + "s" * 43


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    """An Airboss with a configuration in force."""
    made = Loop(folder=tmp_path)
    made.apply("Be kind.")
    yield made
    made.close()


def held(loop: Loop) -> ApiKey:
    """The key, as gateways have it."""
    snapshot = loop.ledger.snapshot()
    assert snapshot is not None
    (key,) = [each for each in snapshot.keys if each.name == "alice"]
    return key


def test_the_configuration_goes_before_what_the_verb_said(loop: Loop) -> None:
    """And a role that it gave stays where the line is taken out: no key with a role ever calls models."""
    made = ApiKey(
        name="alice", sha256=hash_key(SECRET), created_at=END, deployments=(), given=(), role="admin"
    )
    put_key(loop.ledger, made)
    for line, role in (('role = "viewer"', "viewer"), ("", "viewer"), ('role = "reader"', "reader")):
        loop.apply("Be kind.", text=CONFIG + f"[keys.alice]\n{line}\n")
        assert held(loop).role == role
        ring = Keyring((held(loop),))
        assert (ring.principal(SECRET), len(ring)) == (None, 0)
        assert held(loop).deployments == ()  # what a gateway that knows no roles goes by


def test_a_key_that_calls_models_gets_no_role(loop: Loop) -> None:
    """What has its secret was given it for something else; nothing is applied."""
    put_key(loop.ledger, ApiKey(name="alice", sha256=hash_key(SECRET), created_at=END))
    before = loop.plan().number
    with pytest.raises(ConfigError, match=r"airboss.toml:\d+: keys.alice.role: 'alice' is a key that calls"):
        loop.apply("Be kind.", text=CONFIG + '[keys.alice]\nrole = "admin"\n')
    assert loop.plan().number == before
    assert held(loop).role is None


@pytest.mark.parametrize(
    "beside", ["limits = { concurrency = 1 }", "budget = { usd = 1 }", "deployments = []", 'priority = "low"']
)
def test_a_setting_about_calls_is_refused_beside_a_role(beside: str) -> None:
    """It would mean nothing; the message names it."""
    name = beside.split(maxsplit=1)[0]
    with pytest.raises(ConfigError, match=f"keys.alice.{name} is about calls of models"):
        parse_config(f'{CONFIG}\n[keys.alice]\nrole = "viewer"\n{beside}\n', source="airboss.toml")


@pytest.mark.parametrize("name", ["default", "console", "local", "airboss"])
def test_a_name_that_is_nobodys_gets_no_role(name: str) -> None:
    """The audit log would take one for the other."""
    with pytest.raises(ConfigError):
        parse_config(f'{CONFIG}\n[keys.{name}]\nrole = "viewer"\n', source="airboss.toml")


def test_a_role_that_there_is_not_is_refused() -> None:
    """With the line."""
    with pytest.raises(ConfigError, match=r"keys\.alice\.role"):
        parse_config(f'{CONFIG}\n[keys.alice]\nrole = "root"\n', source="airboss.toml")
