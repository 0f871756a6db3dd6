"""Where provider keys come from, and what is said when they are not there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from airboss.domain.errors import SetupError, Unavailable
from airboss.domain.plan import DeploymentPlan, ServingPlan, Target
from airboss.domain.release import ModelVersion, ProviderKind, Release
from airboss.governance.secrets import missing_keys, provider_key, provider_secrets


def target(ref: str | None, kind: ProviderKind = "openai") -> Target:
    """A target whose key is at `ref`."""
    return Target(provider="p", kind=kind, base_urls=("https://h/v1",), upstream_model="m", api_key_ref=ref)


def plan(*refs: str | None) -> ServingPlan:
    """A plan with a deployment for each reference."""
    release = Release(digest="d", name="r", model=ModelVersion(provider="p", kind="openai", model="m"))
    return ServingPlan(
        number=1,
        created_at=datetime(2026, 11, 1, tzinfo=UTC),
        deployments=tuple(
            DeploymentPlan(name=f"d{at}", aliases=(), stable=release, target=target(ref))
            for at, ref in enumerate(refs)
        ),
    )


def read(path: Path) -> str:
    """Files that hold their own name; `/none` is not there."""
    if path == Path("/none"):
        raise SetupError("there is no file /none")
    return f"secret of {path}"


def test_a_key_comes_from_where_its_reference_says() -> None:
    """`env:` is the environment, `file:` a file, and no reference is no key."""
    assert provider_key(target("env:K"), env={"K": " sk-1\n"}, read=read) == "sk-1"
    assert provider_key(target("file:/k"), env={}, read=read) == "secret of /k"
    assert provider_key(target(None), env={}, read=read) is None


@pytest.mark.parametrize(("env", "ref"), [({}, "env:K"), ({"K": "  "}, "env:K"), ({}, "file:/none")])
def test_a_missing_key_is_said_to_the_caller(env: dict[str, str], ref: str) -> None:
    """A key that cannot be had is a 503 that names the provider and the variable or file."""
    with pytest.raises(Unavailable, match=r"provider 'p'.*(variable K|/none)") as caught:
        provider_key(target(ref), env=env, read=read)
    assert caught.value.code == "provider_key_missing"


@pytest.mark.parametrize(
    "key", ["sk-1\nx-injected: yes", "sk-1\r", "sk-1\u2026", "sk-1\x00", "sk 1\x7f", "ské"]
)
@pytest.mark.parametrize("ref", ["env:K", "file:/k"])
def test_what_no_header_holds_is_no_key(key: str, ref: str) -> None:
    """A line end would begin another header, and what is copied along breaks the call: it is a 503 that says
    where to look, and nothing of the key."""
    key += "-end"
    with pytest.raises(Unavailable, match=r"provider 'p' in (K|/k) has characters") as caught:
        provider_key(target(ref, kind="anthropic"), env={"K": key}, read=lambda _: key)
    assert (caught.value.code, "1" in str(caught.value)) == ("provider_key_missing", False)
    assert missing_keys(target(ref), env={"K": key}, read=lambda _: key)


def test_our_own_keys_are_never_sent_to_a_provider() -> None:
    """A pasted export line puts our key where OpenAI's should be: it is refused."""
    env = {"K": "ab_ours"}
    with pytest.raises(Unavailable, match="holds one of Airboss itself") as caught:
        provider_key(target("env:K"), env=env, read=read)
    assert "ab_ours" not in str(caught.value)
    another = target("env:K", kind="openai-compatible")
    assert provider_key(another, env=env, read=read) == "ab_ours"


def test_redaction_knows_every_key_that_can_be_had() -> None:
    """Keys of a plan are listed once each; one that is missing is left to the call that needs it."""
    found = provider_secrets(
        plan("env:A", "env:A", "env:MISSING", "file:/none", None, "file:/k"), env={"A": "sk-a"}, read=read
    )
    assert found == ("sk-a", "secret of /k")


def test_keys_that_are_missing_are_named_each_once() -> None:
    """A target of several keys tells which of them are not there, and why."""
    wanted = msgspec.structs.replace(target("env:A"), key_refs=("env:B", "file:/none", "env:B"))
    found = missing_keys(wanted, env={"A": "sk-a"}, read=read)
    assert len(found) == 2
    assert "variable B," in found[0]
    assert "no file /none" in found[1]
    assert missing_keys(target(None), env={}, read=read) == ()
