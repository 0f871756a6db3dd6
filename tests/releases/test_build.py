"""Releases and plans built from a configuration."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from airboss.config import Config, parse_config
from airboss.domain.plan import DeploymentPlan, Exposure, ServingPlan
from airboss.domain.release import Example, ModelVersion, Policy, Release
from airboss.releases.build import (
    OPENAI_BASE_URL,
    build_plan,
    build_releases,
    identity,
    local_models,
    sealed,
)
from airboss.replicas.llamacpp import DEFAULT_CONTEXT_TOKENS, DEFAULT_SLOTS

NOW = datetime(2026, 11, 1, tzinfo=UTC)
TEXT = """
[providers.openai]
kind = "openai"
api_key = "env:OPENAI_API_KEY"

[providers.other]
kind = "openai-compatible"
base_url = "https://llm.example.com/v1/"

[providers.local]
kind = "local"

[models.small]
provider = "openai"
model = "gpt-4o-mini"
price = { input_usd_per_mtok = 0.15, output_usd_per_mtok = 0.60 }

[models.far]
provider = "other"
model = "llama"

[models.tiny]
provider = "local"
model = "file:/weights/tiny.gguf"
sha256 = "B179C9523D0E6A0F98A330C7562B682750A6F8C8C15E5BC70EA373728110DB53"

[models.unused]
provider = "local"
model = "file:/weights/unused.gguf"

[releases.support]
model = "small"

[deployments.support]
release = "support"
aliases = ["gpt-4o"]
timeout = { total_s = 9 }

[deployments.far]
model = "far"

[deployments.assistant]
model = "tiny"
"""


def config(text: str = TEXT) -> Config:
    """The configuration under test."""
    return parse_config(text, source="airboss.toml")


def plan(text: str = TEXT, **given: object) -> ServingPlan:
    """The plan of a configuration."""
    defaults: dict[str, object] = {
        "replica_urls": {"tiny": ("http://127.0.0.1:9/v1",)},
        "tools": {"tiny": True},
        "exposed": {},
        "now": NOW,
    }
    said = config(text)
    catalog = build_releases(said, engine_version="e 1")
    stable = {name: catalog.wanted(said, name) for name in said.deployments}
    return build_plan(said, catalog, **{"stable": stable, **defaults, **given})  # type: ignore[arg-type]  # shared


def digests(text: str, engine_version: str = "e 1") -> dict[str, str]:
    """Each deployment's digest."""
    said = config(text)
    built = build_releases(said, engine_version=engine_version)
    return {name: built.wanted(said, name).digest for name in said.deployments}


def test_a_plan_says_where_each_deployment_goes() -> None:
    """Targets have URLs without a slash at the end, the name upstream, the key's reference and the price."""
    support, far, assistant = plan().deployments
    assert support.name == "support"
    assert support.aliases == ("gpt-4o",)
    assert support.timeout.total_s == 9.0
    assert support.target.base_urls == (OPENAI_BASE_URL,)
    assert support.target.api_key_ref == "env:OPENAI_API_KEY"
    assert support.target.price is not None
    assert support.target.price.output_usd_per_mtok == Decimal("0.60")
    assert far.target.base_urls == ("https://llm.example.com/v1",)
    assert far.target.price is None
    assert assistant.target.base_urls == ("http://127.0.0.1:9/v1",)
    assert assistant.target.upstream_model == "tiny"
    assert assistant.target.tools


def test_a_providers_headers_reach_the_plan() -> None:
    """In lower case, and what refers to a secret among all that must be had."""
    text = (
        '[providers.p]\nkind = "openai"\napi_key = "env:K"\n'
        'headers = { "OpenAI-Organization" = "org-1", "X-Gate" = "env:GATE" }\n'
        '[models.m]\nprovider = "p"\nmodel = "x"\n[deployments.d]\nmodel = "m"\n'
    )
    (deployment,) = plan(text).deployments
    assert deployment.target.headers == (("openai-organization", "org-1"), ("x-gate", "env:GATE"))
    assert list(deployment.target.refs()) == ["env:K", "env:GATE"]
    (several,) = plan(text.replace("headers", 'targets = [{}, { api_key = "env:L" }]\nheaders')).deployments
    assert several.target.headers == deployment.target.headers


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        ("anthropic", "https://api.anthropic.com/v1"),
        ("gemini", "https://generativelanguage.googleapis.com/v1beta"),
        ("bedrock", "https://bedrock-runtime.eu-west-1.amazonaws.com"),
        ("azure", "https://me.openai.azure.com"),
    ],
)
def test_each_kind_is_found_where_it_is(kind: str, url: str) -> None:
    """Providers have an address of their own, Bedrock one for each region, Azure the customer's; what they
    are told about unsupported members, versions and regions reaches the plan."""
    more = {
        "azure": 'base_url = "https://me.openai.azure.com/"\napi_version = "2025-01-01"',
        "bedrock": 'region = "eu-west-1"',
    }
    text = (
        f'[providers.p]\nkind = "{kind}"\ndrop_unsupported = true\n{more.get(kind, "")}\n'
        '[models.m]\nprovider = "p"\nmodel = "x"\n[deployments.d]\nmodel = "m"\n'
    )
    (deployment,) = plan(text).deployments
    assert deployment.target.base_urls == (url,)
    assert deployment.target.drop_unsupported
    assert deployment.target.api_version == ("2025-01-01" if kind == "azure" else None)
    assert deployment.target.region == ("eu-west-1" if kind == "bedrock" else None)


def test_local_models_cost_nothing_unless_priced() -> None:
    """A local model without a price has the price 0, not an unknown one."""
    price = plan().deployments[2].target.price
    assert price is not None
    assert price.input_usd_per_mtok == 0
    priced = TEXT.replace(
        '"file:/weights/tiny.gguf"',
        '"file:/weights/tiny.gguf"\nprice = { input_usd_per_mtok = 1, output_usd_per_mtok = 2 }',
    )
    price = plan(priced).deployments[2].target.price
    assert price is not None
    assert price.output_usd_per_mtok == 2


def test_a_local_model_whose_tools_are_unknown_has_none() -> None:
    """Nothing is silently ignored: without knowledge tools are refused."""
    assert not plan(tools={}).deployments[2].target.tools


def test_a_local_target_says_what_a_slot_can_hold() -> None:
    """Its share of the context, by the engine's own numbers where the configuration has none; what a hosted
    model can hold is not known."""
    support, _, assistant = plan().deployments
    assert support.target.slot_tokens is None
    assert assistant.target.slot_tokens == DEFAULT_CONTEXT_TOKENS // DEFAULT_SLOTS
    text = TEXT.replace('tiny.gguf"\n', 'tiny.gguf"\ncontext_tokens = 3000\nslots = 2\n', 1)
    assert plan(text).deployments[2].target.slot_tokens == 1500


def test_only_served_local_models_need_an_engine() -> None:
    """A local model that no deployment serves is not started."""
    assert local_models(config()) == ("tiny",)
    with pytest.raises(KeyError):
        plan(replica_urls={})


def shadowed(said: str, **given: object) -> ServingPlan:
    """The plan where `support` has such a shadow, and there is a release `next`."""
    text = TEXT.replace("[deployments.support]", "[deployments.support]\nshadow = " + said)
    return plan(text + '\n[releases.next]\nmodel = "far"\nprompt = "Be kind."\n', **given)


def test_a_shadow_is_what_nobody_gets_answers_of() -> None:
    """The named release, else the candidate; none where callers get its answers, on stable or canary."""
    named = shadowed('{ release = "next" }')
    shadow = named.deployments[0].shadow
    assert shadow is not None
    assert shadow.release.name == "next"
    assert shadow.target.base_urls == ("https://llm.example.com/v1",)
    assert shadow in list(named.served())
    assert shadow not in named.others
    assert shadowed("{ sample = 1.0 }").deployments[0].shadow is None
    old = sealed(msgspec.structs.replace(named.deployments[0].stable, prompt="Be brief."))
    stable = {each.name: each.stable for each in named.deployments} | {"support": old}
    candidate = shadowed("{ sample = 1.0 }", stable=stable).deployments[0]
    assert candidate.shadow is not None
    assert candidate.shadow.release == named.deployments[0].stable
    exposure = Exposure(
        rollout="1", deployment="support", release=shadow.release.digest, weight=0.1, salt="s"
    )
    exposed = {"support": (exposure, shadow.release)}
    assert shadowed('{ release = "next" }', exposed=exposed).deployments[0].shadow is None


def test_a_preview_is_of_what_comes_next() -> None:
    """The candidate, or what a rollout shows; nobody's where all get the same."""

    def previewed(**given: object) -> DeploymentPlan:
        said = 'preview = { users = ["ada"], keys = ["staging"] }'
        return plan(
            TEXT.replace("[deployments.support]", f"[deployments.support]\n{said}"), **given
        ).deployments[0]

    now = previewed()
    assert now.preview is None
    old = sealed(msgspec.structs.replace(now.stable, prompt="Be brief."))
    stable = {each.name: each.stable for each in plan().deployments} | {"support": old}
    candidate = previewed(stable=stable).preview
    assert candidate is not None
    assert (candidate.users, candidate.keys) == (("ada",), ("staging",))
    assert candidate.served.release == now.stable
    assert candidate.served.target == now.target
    other = sealed(msgspec.structs.replace(now.stable, prompt="Be kind."))
    exposure = Exposure(rollout="1", deployment="support", release=other.digest, weight=0.1, salt="s")
    shown = previewed(stable=stable, exposed={"support": (exposure, other)})
    assert shown.preview is not None
    assert shown.preview.served.release == other
    ended = msgspec.structs.replace(exposure, release=now.stable.digest)
    assert previewed(stable=stable, over={"support": ended}).preview is None
    assert previewed(stable=stable, over={"support": exposure}).preview is not None


def test_bodies_are_kept_unless_turned_off() -> None:
    """`bodies = "off"` reaches the plan."""
    assert plan().bodies
    assert not plan(TEXT + '[store]\nbodies = "off"\n').bodies


def test_releases_name_the_exact_model() -> None:
    """A local release has weights and engine; a hosted one has nothing but its name."""
    catalog = build_releases(config(), engine_version="e 1")
    built = {name: catalog.wanted(config(), name) for name in config().deployments}
    assert built["support"].name == "support"
    assert built["assistant"].name == "tiny"
    assert built["assistant"].model.weights_sha256 == (
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    )
    assert built["assistant"].model.engine_version == "e 1"
    assert built["support"].model.engine is None


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("gpt-4o-mini", "gpt-4o", {"support"}),
        ("B179C9523D", "B179C9523E", {"assistant"}),
        ("file:/weights/tiny", "file:/weights/other", {"assistant"}),
        ('[providers.other]\nkind = "openai-compatible"', '[providers.other]\nkind = "openai"', {"far"}),
        # Not what shapes an answer:
        ("0.15", "0.30", set()),
        ("total_s = 9", "total_s = 10", set()),
        ("env:OPENAI_API_KEY", "env:OTHER_KEY", set()),
        ('["gpt-4o"]', '["gpt-4o", "gpt"]', set()),
        ("https://llm.example.com/v1/", "https://llm2.example.com/v1", set()),
        ("releases.support", "releases.renamed", set()),
        ("models.tiny", "models.renamed", set()),
    ],
)
def test_the_digest_covers_what_shapes_an_answer(old: str, new: str, changed: set[str]) -> None:
    """Model, weights and provider change it; prices, limits, timeouts, secrets, names and URLs do not."""
    text = TEXT.replace(old, new)
    if "renamed" in new:
        table, name = old.split(".")
        text = text.replace(f'{table[:-1]} = "{name}"', f'{table[:-1]} = "renamed"')
    before, after = digests(TEXT), digests(text)
    assert {name for name in before if before[name] != after[name]} == changed


def test_an_adapter_makes_another_release_of_the_same_weights() -> None:
    """Where it comes from and what it hashes to are part of the digest, and of nothing else's."""
    line = 'model = "file:/weights/tiny'
    assert line in TEXT
    plain = digests(TEXT)
    seen = {plain["assistant"]}
    for more in ('adapter = "file:/a.gguf"', 'adapter = "file:/b.gguf"'):
        for sha256 in ("", f'adapter_sha256 = "{"A" * 64}"', f'adapter_sha256 = "{"b" * 64}"'):
            found = digests(TEXT.replace(line, f"{more}\n{sha256}\n{line}"))
            assert {name for name in plain if plain[name] != found[name]} == {"assistant"}
            assert found["assistant"] not in seen
            seen.add(found["assistant"])
    version = (
        build_releases(
            parse_config(
                TEXT.replace(line, f'adapter = "file:/a.gguf"\nadapter_sha256 = "{"A" * 64}"\n{line}'),
                source="t",
            ),
            engine_version="e 1",
        )
        .bare["tiny"]
        .model
    )
    assert (version.adapter, version.adapter_sha256) == ("file:/a.gguf", "a" * 64)


def test_the_engine_is_part_of_a_local_release() -> None:
    """Another version of the engine is another release of what it runs, and of nothing else."""
    before, after = digests(TEXT), digests(TEXT, engine_version="e 2")
    assert {name for name in before if before[name] != after[name]} == {"assistant"}


def test_parameters_are_part_of_a_release() -> None:
    """Two releases that differ in a parameter have two digests, in whatever order the parameters stand."""
    model = ModelVersion(provider="p", kind="openai", model="m")
    plain = sealed(Release(digest="", name="a", model=model))
    warm = sealed(Release(digest="", name="a", model=model, params={"temperature": 0.2, "seed": 1}))
    same = sealed(Release(digest="", name="b", model=model, params={"seed": 1, "temperature": 0.2}))
    assert plain.digest != warm.digest
    assert warm.digest == same.digest


def test_the_digest_covers_every_field_but_the_name() -> None:
    """A field that is added to releases or models must enter the identity, or be left out on purpose here."""
    model = ModelVersion(
        provider="p",
        kind="local",
        model="m",
        weights_sha256="w",
        adapter="a",
        adapter_sha256="s",
        engine="e",
        engine_version="v",
    )
    release = Release(
        digest="d",
        name="n",
        model=model,
        prompt="Be brief.",
        examples=(Example("hi", "hello"),),
        form="system",
        params={"seed": 1},
        params_force={"n": 1},
        policy=Policy(pii=(("email", "mask"), ("ip", "observe")), detectors="1"),
        fallbacks=(model,),
        fallbacks_when_filtered=True,
        shares=(0.75, 0.25),
    )
    whole = identity(release)
    assert whole == {
        "model": msgspec.to_builtins(model),
        "prompt": "Be brief.",
        "examples": [["hi", "hello"]],
        "form": "system",
        "params": {"seed": 1},
        "params_force": {"n": 1},
        "policy": {"pii": {"email": "mask", "ip": "observe"}, "detectors": "1"},
        "fallbacks": [msgspec.to_builtins(model)],
        "fallbacks_when_filtered": True,
        "shares": [0.75, 0.25],
    }
    assert set(whole) == set(Release.__struct_fields__) - {"digest", "name"}


def test_a_form_counts_where_it_changes_something() -> None:
    """A raw prompt is always another release; where examples go matters if there are any."""
    model = ModelVersion(provider="p", kind="openai", model="m")
    turns = sealed(Release(digest="", name="a", model=model, prompt="Hi."))
    system = sealed(msgspec.structs.replace(turns, form="system"))
    raw = sealed(msgspec.structs.replace(turns, form="completion"))
    assert turns.digest == system.digest != raw.digest


def test_digests_of_releases_never_change() -> None:
    """These digests are in ledgers: a change would turn every deployment into a new release."""
    assert digests(TEXT) == {
        "support": "73b90ef2ba77653f673e8287f65795dbf37d59dc9e533388a3780157aa4ce4bb",
        "far": "ae06e7d3554f5f7b858340127dd1fc91027e7df47235a3a971fa9612d0dc0365",
        "assistant": "4c1fce20e3777cf7456a08b1a686e69a678410f4a66d02fc4fc6fc50726b56c8",
    }
