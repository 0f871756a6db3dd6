"""What the gateway serves from: one immutable, numbered snapshot, swapped whole."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

from airboss.domain.release import Policy, ProviderKind, Release

Arm = Literal["stable", "canary", "always", "never", "preview", "shadow", "override"]
"""The branch of a deployment that a call was assigned to. `always`, `never`: a rollout names its caller, who
was not drawn. `shadow`: one of our own, which asks again what a live call asked and whose answer nobody gets.
`override`: another of our own (an evaluation, a probe), which names the release it wants."""


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on one call, in seconds; all positive. `first_token_s` runs from the moment a request is sent
    upstream to the first byte of real output of a stream, `idle_s` between two pieces of a stream, `total_s`
    over all attempts. Waiting for a place is in none of them."""

    total_s: float = 600.0
    first_token_s: float = 120.0
    idle_s: float = 60.0


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """How often one call may be tried in all, the first attempt included; 1 <= attempts <= 10."""

    attempts: int = 3


class Hedge(msgspec.Struct, frozen=True, kw_only=True):
    """When a second attempt is made beside one that is slow to begin: after the `quantile` (0 to 1) of what
    the place usually takes, for at most the share `extra` of the calls."""

    quantile: float = 0.95
    extra: float = 0.05


Continuation = Literal["on", "off", "auto"]
"""Whether a model goes on with an answer that broke off, given that again; `auto`: its first time shows."""


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """USD per million tokens. Input that a provider reads from its cache, or writes to it (for an hour, where
    it says so), costs a price of its own where there is one."""

    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal
    cached_input_usd_per_mtok: Decimal | None = None
    cache_write_usd_per_mtok: Decimal | None = None
    cache_write_1h_usd_per_mtok: Decimal | None = None


class LongPrompt(Rates, frozen=True, kw_only=True):
    """What all of a call costs whose input is more than `over_tokens`."""

    over_tokens: int


class Price(Rates, frozen=True, kw_only=True):
    """What a model costs. `tiers`: what it costs instead where the answer names such a tier of service."""

    long_prompt: LongPrompt | None = None
    tiers: dict[str, Price] = {}


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """Where calls wait for a place under `concurrency`: at most `size` in a worker, for `wait_s` seconds."""

    size: int = 100
    wait_s: float = 10.0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much at once: requests and tokens in any minute, and calls under way. None: as many as come.
    `queue` None: a call that finds no place is refused at once."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    queue: Queue | None = None


Priority = Literal["high", "normal", "low"]
"""Who goes first where calls wait, and who is sent away first where too many do."""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How much money a key may spend in a day or a month, which begin and end in UTC."""

    usd: Decimal
    per: Literal["month", "week", "day"] = "month"


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """How much the keys of a team may have together, or each user of a key, beside what binds each key."""

    limits: Limits | None = None
    budget: Budget | None = None


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model is reached. `base_urls` end before `/chat/completions` (so `https://api.openai.com/v1`);
    a local model has one for each replica. `api_key_ref` is `env:NAME` or `file:PATH`, never the secret.
    `upstream_model` is the name sent upstream. `price` None means unknown, so that cost is null; `priced_by`
    is where it came from, as in `record.Attempt`. `tools` says whether the model can call tools; else a
    request with tools is refused. `engine` is of a local model: the engine as its `ports.Placement` names it.
    `down` says why nobody answers there; calls are then refused with it at once. `slot_tokens`: the most
    tokens of a call, prompt and answer together, or fewer, where a local model was trained for fewer.
    `embeds`: it makes vectors and nothing else. `drop_unsupported` is whether what the provider's dialect
    cannot say is left out instead of refused. `responses` is whether it has `/responses`; None: as its kind
    has. `api_version` is of Azure, `region` of Bedrock. `headers` are sent along: values, or references.
    `key_refs` and `weights` go with `base_urls`, one each, where those differ in them; empty: `api_key_ref`
    is for all, and all get the same share. `affinity`: calls that begin alike go to the same one, unless it
    is busier. `fallbacks` are asked in their order where this one fails; `shares` as in `Release`."""

    provider: str
    kind: ProviderKind
    base_urls: tuple[str, ...]
    upstream_model: str
    api_key_ref: str | None = None
    price: Price | None = None
    priced_by: str | None = None
    tools: bool = True
    engine: str | None = None
    down: str | None = None
    slot_tokens: int | None = None
    embeds: bool = False
    drop_unsupported: bool = False
    responses: bool | None = None
    api_version: str | None = None
    region: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    key_refs: tuple[str | None, ...] = ()
    weights: tuple[float, ...] = ()
    affinity: bool = False
    continuation: Continuation = "auto"
    fallbacks: tuple[Target, ...] = ()
    shares: tuple[float, ...] = ()

    def refs(self) -> Iterator[str]:
        """Every reference to a secret that it needs itself."""
        for ref in (self.api_key_ref, *self.key_refs, *dict(self.headers).values()):
            if ref is not None and ref.startswith(("env:", "file:")):
                yield ref


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A release and where its model is reached."""

    release: Release
    target: Target


class Canary(msgspec.Struct, frozen=True, kw_only=True):
    """What a rollout exposes: `weight` (0 to 1) of the units, chosen by `salt` (`rollouts.assign`)."""

    rollout: str
    served: Served
    weight: float
    salt: str


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """Calls by who makes them: these users, these keys, keys of these teams, or any value of these tags."""

    users: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    tags: dict[str, tuple[str, ...]] = {}


class Preview(Named, frozen=True, kw_only=True):
    """Who gets a release before a rollout draws."""

    served: Served


PromotionWhy = Literal["first", "applied", "rollback", "rollout", "person", "engine", "undo"]
"""How a release became stable. `engine`: the same one on another engine; `undo`: what followed was bad."""


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """A release, by digest, that became stable."""

    release: str
    at: datetime
    why: PromotionWhy


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a deployment stands: `wanted` is the digest that the configuration says, `stable` the one that
    serves. They differ while the wanted one is a candidate. `promoted` ends with the newest."""

    deployment: str
    wanted: str
    stable: str
    promoted: tuple[Promotion, ...] = ()


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """What a live rollout exposes: a release by digest, at a weight (0 to 1); without a salt nothing yet."""

    rollout: str
    deployment: str
    release: str
    weight: float
    salt: str


class Semantic(msgspec.Struct, frozen=True, kw_only=True):
    """Which model compares questions by their meaning, by its name in the configuration, and how near two
    have to be (the cosine of their vectors)."""

    model: str
    threshold: float = 0.95


class Caching(msgspec.Struct, frozen=True, kw_only=True):
    """Answers are kept for `ttl_s` seconds for the same key's next call that asks the same; at most so many,
    and so many bytes of them. With `semantic` also for one that asks it in other words."""

    ttl_s: float = 3600.0
    entries_max: int = 10_000
    bytes_max: int = 256 * 1024 * 1024
    semantic: Semantic | None = None


class DeploymentPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How one deployment is served; `stable.model` is reached at `target`. `canary` None: no rollout runs.
    `always` get it, and `never` get neither it nor the preview, whatever was drawn. `shadow` is asked again
    what callers asked. `policy` binds on top of each release's own. `compares`: its cache's model."""

    name: str
    aliases: tuple[str, ...]
    stable: Release
    target: Target
    canary: Canary | None = None
    always: Named | None = None
    never: Named | None = None
    preview: Preview | None = None
    shadow: Served | None = None
    policy: Policy | None = None
    timeout: Timeouts = Timeouts()
    retry: Retry = Retry()
    limits: Limits | None = None
    hedge: Hedge | None = None
    cache: Caching | None = None
    compares: Target | None = None


class ServingPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A numbered snapshot of what is served; `bodies` False keeps bodies out of records, `sealed` has them
    encrypted. `limits` are of all calls together, `teams` by name, `tags` budgets of each value, `policies`
    those that keys name (`ApiKey.policies`). `others` no caller gets, but our own calls may name them:
    candidates, and each served model alone."""

    number: int
    created_at: datetime
    deployments: tuple[DeploymentPlan, ...]
    others: tuple[Served, ...] = ()
    bodies: bool = True
    sealed: bool = False
    limits: Limits | None = None
    teams: dict[str, Allowance] = {}
    tags: dict[str, Budget] = {}
    policies: dict[str, Policy] = {}

    def served(self) -> Iterator[Served]:
        """Every release that can answer under this plan, and where; one of two deployments comes twice."""
        for deployment in self.deployments:
            yield Served(release=deployment.stable, target=deployment.target)
            if deployment.canary is not None:
                yield deployment.canary.served
            if deployment.preview is not None:
                yield deployment.preview.served
            if deployment.shadow is not None:
                yield deployment.shadow
        yield from self.others

    def targets(self) -> Iterator[Target]:
        """Wherever this plan may send a call."""
        for served in self.served():
            yield served.target
            yield from served.target.fallbacks
        for deployment in self.deployments:
            if deployment.compares is not None:
                yield deployment.compares
