"""`airboss.toml` as one frozen object. `config.parse` makes it and `config.checks` holds its rules."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from airboss.config.models import ModelConfig
from airboss.config.summed import SummaryConfig
from airboss.domain.plan import (
    Allowance,
    Budget,
    Caching,
    Hedge,
    Limits,
    Named,
    Priority,
    Retry,
    Timeouts,
)
from airboss.domain.release import Example, Params, PiiAction, PromptForm, ProviderKind


class TargetConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of a provider's `targets`: an address, a key or both, and its share of the calls. What is left out
    is as the provider says."""

    base_url: str | None = None
    api_key: str | None = None
    weight: float = 1.0


class ProviderConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[providers.NAME]`: who is spoken to. `base_url` may be left out for those that have one address;
    `local` has none.

    `api_key` is `env:NAME` or `file:PATH`. A literal is moved into the data directory when it is applied.
    `drop_unsupported` leaves out of requests what the provider has no words for; else they are refused.
    `responses` says whether it has OpenAI's `/responses`; left out: `openai` and `azure` have it.
    `api_version` is for `azure` only, `region` for `bedrock` only. `headers` go along with every request:
    values, or references as `api_key` is one. `targets` are several places or keys that
    share the calls; with `affinity` those that begin alike go to the same one. `models` are served under
    their own names, without tables of their own (`config.listed`); with `"*"` they are all that the provider
    listed when it was applied, which Airboss writes down as `models_found`."""

    kind: ProviderKind
    base_url: str | None = None
    api_key: str | None = None
    drop_unsupported: bool = False
    responses: bool | None = None
    api_version: str | None = None
    region: str | None = None
    headers: dict[str, str] = {}
    targets: tuple[TargetConfig, ...] = ()
    affinity: bool = False
    models: tuple[str, ...] | str = ()
    models_found: tuple[str, ...] | None = None


class ReleaseConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[releases.NAME]`.

    `prompt` is a template (`releases.render`): it becomes the first system message. `examples` are few-shot
    turns, and `form` says where both go. In a file the two may name files beside it; what is applied has
    their content (`config.inline`). `params` fill what a request leaves open, `params_force` replace what it
    says; both by OpenAI's names. `fallbacks` are models that are asked in their order where `model` fails;
    `fallbacks_when_filtered`: also where the provider's own filter refuses the call."""

    model: str
    prompt: str | None = None
    examples: tuple[Example, ...] = ()
    form: PromptForm = "turns"
    params: Params = {}
    params_force: Params = {}
    policy: str | None = None
    fallbacks: tuple[str, ...] = ()
    fallbacks_when_filtered: bool = False


class PiiConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`pii` of a policy: what is done about which kinds of personal data and secrets; all if left out."""

    action: PiiAction
    kinds: tuple[str, ...] | None = None


class CustomConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind of `custom`: what is done about what `pattern` matches, or about any of the `words`."""

    action: PiiAction
    pattern: str | None = None
    words: tuple[str, ...] = ()


class PolicyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[policies.NAME]`: what releases, deployments, keys and teams bind calls to; `custom` are kinds of
    one's own."""

    pii: PiiConfig | None = None
    custom: dict[str, CustomConfig] = {}


class GateConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`rollout.gate`: an evaluation that comes before any traffic. On the dataset's validation part the
    candidate's score must not lie more than `margin` below that of stable."""

    dataset: str
    scorer: str
    margin: float = 0.0


class RolloutConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[deployments.NAME] rollout`: a changed release is a candidate, and gets traffic by steps.

    `steps` are percents of the units (users, else sessions, else requests), rising. A step lasts until
    `step_units` units have counted on the canary, `step_min_s` at least and `step_max_s` at most (seconds).
    `alpha` bounds the chance of a false abort and that of a false promotion. `margin` says, by metric, how
    much worse still counts as no worse. A score that comes more than `late_s` seconds after its call does not
    count any more. Who is named in `always` has the canary at every step, who is in `never` at none.
    """

    steps: tuple[float, ...] = (1, 5, 25, 50)
    alpha: float = 0.05
    metrics: tuple[str, ...] = ("error_rate", "latency_p95", "cost")
    margin: dict[str, float] = {}
    step_units: int = 50
    step_min_s: float = 0.0
    step_max_s: float = 86_400.0
    late_s: float = 300.0
    gate: GateConfig | None = None
    always: Named | None = None
    never: Named | None = None


class ScoringConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[deployments.NAME] scoring`: a `sample` (a share) of answered calls goes to `scorers`, each as
    `airboss eval run --scorer` takes it or a table with `kind`. `judge_per_minute` bounds the calls that are
    shown to judging models, by the minute in which they came."""

    scorers: tuple[str | dict[str, Any], ...]
    sample: float = 0.1
    judge_per_minute: int = 60


class ShadowConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[deployments.NAME] shadow`: a `sample` (a share) of answered calls is asked again of `release`, for at
    most `per_minute` of the calls of a minute. None: of the deployment's candidate, while it has one."""

    release: str | None = None
    sample: float = 0.1
    per_minute: int = 60


class DriftConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[deployments.NAME] drift`: whether calls are looked at for drift (`features`), after so many as a
    `reference`; `prompts` are asked `every` so often, to notice a model that changes. `alpha` bounds the
    chance of a false alarm: of all features together in a week, and of the prompts."""

    features: bool = True
    reference: int = 300
    alpha: float = 0.01
    prompts: tuple[str, ...] = ()
    every: str = "6h"


DefaultAlarm = Literal["errors", "latency", "cost", "refusals", "fallbacks", "traffic", "drift"]
"""An alarm that every deployment has unless it is switched off; `fallbacks` one whose release has some."""


class DeploymentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[deployments.NAME]`: exactly one of `release` and `model`. Without `rollout` a changed release is
    applied at once. `default_alarms` are those it has without `[alarms]` (`config.alarms_default`)."""

    release: str | None = None
    model: str | None = None
    aliases: tuple[str, ...] = ()
    timeout: Timeouts = Timeouts()
    retry: Retry = Retry()
    hedge: Hedge | None = None
    rollout: RolloutConfig | None = None
    scoring: ScoringConfig | None = None
    preview: Named | None = None
    shadow: ShadowConfig | None = None
    policy: str | None = None
    limits: Limits | None = None
    cache: Caching | None = None
    default_alarms: tuple[DefaultAlarm, ...] = (
        "errors", "latency", "cost", "refusals", "fallbacks", "traffic", "drift",
    )  # fmt: skip
    drift: DriftConfig = DriftConfig()


Role = Literal["viewer", "reader", "operator", "admin"]
"""What a console key may, from the least on; each may what those before it may (`governance.roles`)."""

NO_PERSON = frozenset({"airboss", "console", "default", "local"})
"""Names that mean no person in the audit log, or that a key without a role has."""

CALLS_ONLY = ("deployments", "limits", "budget", "each_user", "team", "priority", "policy")
"""Settings of a key that are about calls of models, which one with a role makes none of."""


class KeyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[keys.NAME]`: what a data-plane key may use, how much of it at once, for how much money, how much
    each of its users may have, whose team's it is, how soon where calls wait, and which policy binds them; or
    the `role` of a console key. What is None is as the key was made: else every deployment, and no limits."""

    deployments: tuple[str, ...] | None = None
    limits: Limits | None = None
    budget: Budget | None = None
    each_user: Allowance | None = None
    team: str | None = None
    priority: Priority | None = None
    policy: str | None = None
    role: Role | None = None


class TeamConfig(Allowance, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[teams.NAME]`: what its keys may have together, and which policy binds the calls of each."""

    policy: str | None = None


class RetentionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[store] retention`: for how many days requests and responses are kept, and for how many the records
    with their numbers; in about how many bytes of the store; and for how many days the answers of
    evaluations, probes and tunings. None: for good, without a bound."""

    bodies_days: int | None = None
    records_days: int | None = None
    bodies_max_bytes: int | None = None
    answers_days: int | None = None


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[store]`. `bodies = "sealed"` encrypts requests and responses in records, `"off"` keeps them out.
    `counters` is where limits are counted: `embedded`, a URL of Valkey or Redis, or `env:NAME` or
    `file:/PATH` of one. `records` is where they are kept: `embedded`, a URL of ClickHouse
    (`clickhouse://HOST/DATABASE`), or such a name of one. `ledger` None is a file in the data directory; else
    a URL of PostgreSQL or SQLite, or such a name."""

    bodies: Literal["searchable", "sealed", "off"] = "searchable"
    retention: RetentionConfig = RetentionConfig()
    records: str = "embedded"
    counters: str = "embedded"
    ledger: str | None = None


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[gateway]`. `limits` are of all calls together; `responses_days` is for how long `/v1/responses` keeps
    what later calls may build on; a power cut may cost the records of the last `fsync_ms`."""

    max_body_bytes: int = 32 * 1024 * 1024
    fsync_ms: int = 50
    responses_days: int = 30
    limits: Limits | None = None


class ReplicasConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[replicas]`: where engines run. `address` and `url` are of `host = "ray"` only.

    `drain_s` is how long an engine that is taken out may go on with the calls it has."""

    host: Literal["local", "ray"] = "local"
    drain_s: float = 600.0
    address: str = "auto"
    url: str = "http://127.0.0.1:8000"


class SloConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`slo` of an alarm: the share `target` of calls is to be good over `window`: answered, and with
    `latency_ms` within that time."""

    target: float
    window: str = "30d"
    latency_ms: float | None = None


class EvalConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`eval` of an alarm: the deployment's stable release is asked every item of a part of `dataset` (a name,
    of which the newest, or a digest) `repeats` times, and `scorer` scores the answers. More than `calls`
    calls are not begun, judges' included, nor is more than `max_usd` spent. `baseline` is the evaluation that
    runs are held against; left out, the alarm's first."""

    dataset: str
    scorer: str | dict[str, Any]
    part: Literal["train", "validation"] = "validation"
    repeats: int = 1
    params: dict[str, Any] = {}
    calls: int = 1_000
    max_usd: float | None = None
    baseline: str | None = None


AlarmKind = Literal[
    "threshold", "burn_rate", "change", "sequential", "probe", "eval", "drift", "budget", "recording"
]  # fmt: skip
"""What an alarm compares with: a number, the budget of an SLO, the same hour last week, a deployment's own
past (with an anytime-valid test), the outcome of a probe of bias or of an evaluation, what is known of drift,
the budget of a key or a team, or losses."""


class AlarmConfig(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"hold": "for"}
):
    """`[alarms.NAME]`: fires when what it watches of `deployment` is broken for as long as `for`, and
    resolves when it has not been for as long. Its kind follows from `slo`, `probe` and `eval`, and is
    `threshold` where none is given and `kind` says nothing else.

    - threshold: `metric` over the last `window` is `above` or `below` a number (exactly one of them).
    - burn_rate: the budget of `slo` is used up too fast, over a long and a short time at once.
    - change: `metric` is `above` or `below` that part more than in the same `window` a week ago (rates and
      scores: so many points).
    - sequential: more calls are bad than before, by a test that is false with a chance of `alpha` a week.
    - probe: `every` so often a probe of bias is made (`probe`: its settings), and finds a difference.
    - eval: `every` so often an evaluation is made (`eval`: of what), and its mean score is `above` or `below`
      a number or, where neither is given, surely worse than in its baseline, with a chance of `alpha` to err.
    - drift: calls, or answers to fixed prompts, are not what they were (`drift` of the deployment).
    - budget: `key`, `team` or a value of `tag` has spent more than the part `above` of its budget (0.8
      where it is left out).
    - recording: there were dead letters, or bodies dropped for want of room, within the last `window`, of
      whatever deployment; or the disk is nearly full.

    `where` narrows the calls of the deployment, in the words of `airboss records`: `key`, `tag`, `model`, …
    Times are written `30s`, `5m`, `2h` or `1d`. Of fewer than `min_requests` a threshold has no data.
    `notify` names notifiers; while it fires they are told again so often as `remind` says, and with
    `no_data = "notify"` when there is nothing to measure; else that is only shown, unless it was firing.
    """

    deployment: str = ""
    key: str = ""
    team: str = ""
    tag: str = ""
    where: dict[str, str] = {}
    kind: AlarmKind | None = None
    metric: str | None = None
    above: float | None = None
    below: float | None = None
    slo: SloConfig | None = None
    alpha: float = 0.01
    probe: dict[str, Any] | None = None
    eval: EvalConfig | None = None
    every: str = "1d"
    window: str = "5m"
    hold: str = "1m"
    min_requests: int = 1
    notify: tuple[str, ...] = ()
    remind: str | None = None
    no_data: Literal["show", "notify"] = "show"

    @property
    def compares(self) -> AlarmKind:
        """Its kind."""
        if self.kind is not None:
            return self.kind
        said: tuple[tuple[AlarmKind, object], ...]
        said = (("burn_rate", self.slo), ("probe", self.probe), ("eval", self.eval))
        return next((kind for kind, settings in said if settings is not None), "threshold")


class MaintenanceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[maintenance.NAME]`: nobody is told of alarms meanwhile. Either once, from `starts` to `ends`, or
    every week: `weekly = "sun 02:00-04:00"`, in UTC. `deployments` left out: all."""

    starts: datetime | None = None
    ends: datetime | None = None
    weekly: str | None = None
    deployments: tuple[str, ...] | None = None


class EmailConfig(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"sender": "from"}
):
    """`email` of a notifier: through which server (SMTP), from whom and to whom. `password` is a reference;
    it needs TLS."""

    host: str
    sender: str
    to: tuple[str, ...]
    port: int | None = None
    tls: Literal["starttls", "on", "off"] = "starttls"
    user: str | None = None
    password: str | None = None


class NotifierConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[notifiers.NAME]`: who is told: exactly one of `webhook`, `slack` and `email`. The first two are a
    URL, or `env:NAME` or `file:/PATH` of one; `secret`, a reference too, signs what a webhook gets."""

    webhook: str | None = None
    slack: str | None = None
    email: EmailConfig | None = None
    secret: str | None = None


class OtlpConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[telemetry] otlp`: where calls are sent. `endpoint` is a base URL, which `/v1/traces` and the like
    follow; `headers` are values, or `env:NAME` or `file:/PATH` of one; `sample` is a share of calls;
    `content` sends what was said along."""

    endpoint: str
    headers: dict[str, str] = {}
    sample: float = 1.0
    content: bool = False


class TelemetryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[telemetry]`: what is told to others. `otlp` None: what the standard environment says, if anything."""

    otlp: OtlpConfig | None = None


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[tls]`: PEM files."""

    cert: str
    key: str


class ApprovalsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[approvals]`: with `required`, what people change of what is served waits until somebody else approves
    it. The admin key waits for nobody. `notify` names who is told; None: every notifier."""

    required: bool = False
    notify: tuple[str, ...] | None = None


class OidcConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[oidc]`: people sign in to the console where `issuer` knows them (OpenID Connect). `client_secret` is
    a reference; None: a public client. `roles` says by the values of `claim` who is what; `*` is everybody.
    `scopes` are asked for beside the usual. `url` is the console's own address as browsers have it."""

    issuer: str
    client_id: str
    roles: dict[str, Role]
    client_secret: str | None = None
    claim: str = "groups"
    scopes: tuple[str, ...] = ()
    label: str | None = None
    url: str | None = None


class TagConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[tags.NAME]`: what calls with each value of the tag, a member of `metadata`, may cost together."""

    budget: Budget


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file. Names refer to each other; `parse_config` has checked that they exist."""

    providers: dict[str, ProviderConfig] = {}
    models: dict[str, ModelConfig] = {}
    releases: dict[str, ReleaseConfig] = {}
    deployments: dict[str, DeploymentConfig] = {}
    policies: dict[str, PolicyConfig] = {}
    keys: dict[str, KeyConfig] = {}
    teams: dict[str, TeamConfig] = {}
    tags: dict[str, TagConfig] = {}
    alarms: dict[str, AlarmConfig] = {}
    notifiers: dict[str, NotifierConfig] = {}
    maintenance: dict[str, MaintenanceConfig] = {}
    summaries: dict[str, SummaryConfig] = {}
    store: StoreConfig = StoreConfig()
    gateway: GatewayConfig = GatewayConfig()
    replicas: ReplicasConfig = ReplicasConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    tls: TlsConfig | None = None
    oidc: OidcConfig | None = None
    approvals: ApprovalsConfig = ApprovalsConfig()

    def model_of(self, deployment: str) -> str:
        """The name of the model that a deployment serves, be it through a release or not."""
        chosen = self.deployments[deployment]
        if chosen.release is not None:
            return self.releases[chosen.release].model
        assert chosen.model is not None  # parse_config lets exactly one be set
        return chosen.model

    def asked(self, model: str) -> tuple[str, ...]:
        """The models that are asked for one of `[models]`: itself, or those that share its calls."""
        return tuple(self.models[model].shares) or (model,)

    def is_local(self, model: str) -> bool:
        """Whether Airboss runs this model's engine itself."""
        return self.providers[self.models[model].provider].kind == "local"
