"""What one worker has of each counter, and how a refusal is said. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Literal

import msgspec

from airboss.domain.errors import ApiError, RateLimited
from airboss.domain.plan import Budget, DeploymentPlan, Limits
from airboss.governance.budgets import money, period_end, period_words
from airboss.governance.counting import Change, Denied, Grant, Kind, usd_of
from airboss.governance.users import NOBODY, REST, USERS_MAX, spender
from airboss.governance.windows import WINDOW_S
from airboss.store.wording import many

What = Literal["requests", "tokens", "concurrency", "usd"]
"""What a counter counts."""

KINDS: dict[What, Kind] = {
    "requests": "minute",
    "tokens": "minute",
    "concurrency": "running",
    "usd": "money",
}
SETTINGS: dict[What, str] = {
    "requests": "limits.requests_per_minute",
    "tokens": "limits.tokens_per_minute",
    "concurrency": "limits.concurrency",
    "usd": "budget",
}

SHADOW_TAG = "shadow_of"
"""The tag of a call of our own that has the id of the call which it asks again of a shadow."""


class Scope(msgspec.Struct, frozen=True):
    """Whose limits: a key's, those of one `user` of the key (as `governance.users` names them), a team's, a
    deployment's, its candidate's, or those of all calls together. Of a tag's value it is the `user`."""

    kind: Literal["key", "user", "tag", "team", "deployment", "candidate", "all"]
    name: str = ""
    user: str = ""

    @property
    def counter(self) -> str:
        """How its counters begin."""
        if self.user:
            return f"user/{self.spender}/{self.user}"
        return f"{self.kind}/{self.name}" if self.name else self.kind

    @property
    def spender(self) -> str:
        """As whose what users spend is kept."""
        return spender(self.name) if self.kind == "tag" else self.name

    @property
    def said(self) -> str:
        """For a message."""
        if self.kind == "candidate":
            return f"the candidate of {self.name!r}"
        if self.kind == "tag":
            after = f" after the first {USERS_MAX:,} an hour" if self.user == REST else ""
            return f"the value of tag {self.name!r}{after}"
        if self.user == NOBODY:
            return f"whoever calls with key {self.name!r} and names no user"
        if self.user == REST:
            return f"whoever comes after the first {USERS_MAX:,} users an hour of key {self.name!r}"
        if self.user:
            return f"this user of key {self.name!r}"
        return f"{self.kind} {self.name!r}" if self.name else "this Airboss"

    @property
    def table(self) -> str:
        """Where its limits stand: of a key in the file or, where that says nothing, as a verb gave them."""
        if self.kind in {"key", "user"}:
            return f"[keys.{self.name}] or with `airboss keys set {self.name}`"
        kind = "deployment" if self.kind == "candidate" else self.kind
        return f"[{kind}s.{self.name}]" if self.name else "[gateway]"

    @property
    def metered(self) -> Scope:
        """Under what its refusals are counted: no metric names a user."""
        return Scope(self.kind, self.name) if self.user else self


class Stock:
    """One counter as this worker sees it. `left` has been leased and is not spent; of `in_use` this worker's
    calls hold so much (calls under way, or money reserved for them). `beyond` is what was left for everybody
    when the owner was asked last; `back` of them have been given back by this worker's calls since then."""

    __slots__ = (
        "asking",
        "back",
        "beyond",
        "counter",
        "in_use",
        "kind",
        "lease",
        "left",
        "limit",
        "scope",
        "seen_at",
        "slot",
        "what",
    )

    def __init__(self, scope: Scope, what: What, limit: int, period: str = "") -> None:
        self.scope = scope
        self.what = what
        self.kind = KINDS[what]
        self.limit = limit
        self.counter = f"{scope.counter}/{what}" + (f"/{period}" if period else "")
        self.left = self.slot = self.in_use = self.lease = self.back = 0
        self.beyond = limit
        self.asking = False
        """A lease is on its way; who asks meanwhile asks for the need alone."""
        self.seen_at = 0.0

    def take(self, need: int) -> int:
        """Spend some of what was leased; there must be enough. Returns the slot that it stands in."""
        self.left -= need
        if self.kind != "minute":
            self.in_use += need
        return self.slot

    def untake(self, need: int) -> None:
        """As if it had not been taken."""
        self.left += need
        if self.kind != "minute":
            self.in_use -= need

    def heard(self, beyond: int, now: float) -> None:
        """The owner has just said what is left for everybody, beside what is leased here."""
        self.beyond, self.back, self.seen_at = beyond, 0, now

    def granted(self, grant: Grant, need: int, now: float) -> Change | None:
        """Take in what was given, `need` of it spent at once; returns what is to be told, if anything."""
        rest = None
        self.lease = grant.lease
        self.heard(grant.left, now)
        if self.kind == "minute":
            if self.left:  # of another slot
                rest = Change(self.counter, back=self.left, slot=self.slot)
                self.beyond += self.left
            self.left, self.slot = grant.amount - need, grant.slot
        else:
            self.left += grant.amount - need
            self.in_use += need
        return rest

    def freed(self, held: int) -> Change | None:
        """A call no longer holds this; it is kept for the next one, as far as a lease goes."""
        self.in_use -= held
        keep = min(held, max(0, self.lease - self.left)) if self.kind == "running" else 0
        self.left += keep
        self.back += held - keep
        return Change(self.counter, freed=held - keep) if held > keep else None

    def used(self, reserved: int, used: int, slot: int) -> Change | None:
        """A call used so many tokens, some of them reserved in `slot`; others come out of the lease first."""
        over = used - reserved
        self.beyond -= over
        cut = min(self.left, max(0, over))
        self.left -= cut
        return Change(self.counter, back=cut - over, slot=slot) if over != cut else None

    def paid(self, reserved: int, cost: int) -> Change:
        """A call cost so much; what was not reserved comes out of the lease, which is asked for again."""
        cut = min(self.left, max(0, cost - reserved))
        self.left -= cut
        self.in_use -= reserved
        return Change(self.counter, freed=reserved + cut, spent=cost)

    def returned(self) -> Change | None:
        """Give back what was leased and not spent."""
        left, self.left = self.left, 0
        if not left:
            return None
        if self.kind == "minute":
            return Change(self.counter, back=left, slot=self.slot)
        return Change(self.counter, freed=left)

    def relimited(self, limit: int) -> Change | None:
        """Another limit is in force: a hundredth of the one before may be more than all of it."""
        self.limit = self.beyond = limit
        self.lease = 0
        return self.returned()

    @property
    def setting(self) -> str:
        """What says how much, in its table."""
        return ("each_user." if self.scope.kind == "user" else "") + SETTINGS[self.what]

    @property
    def remaining(self) -> int:
        """What is left for everybody, as far as is known here."""
        return max(0, min(self.limit, self.beyond + self.left))

    def left_at(self, now: float) -> int:
        """The same with what came free here since, where what was known long ago tells nothing any more."""
        return min(self.limit, self.remaining + self.back) if self.seen_at > now - WINDOW_S else self.limit


class LimitReached(RateLimited):
    """A limit says no; the same may be taken in `retry_after_s`. `headers` tell of the limit."""

    headers = b""


class BudgetExceeded(RateLimited):
    """The money of the key, its user or its team is spent; the next period brings more. Trying again at once
    is no use, and client libraries are told so."""

    type = "insufficient_quota"
    default_code = "budget_exceeded"
    retryable = False
    headers = b""


def of_candidate(deployment: DeploymentPlan) -> Limits | None:
    """What a candidate in a rollout may have of its deployment's calls under way: so many that stable keeps
    half of its share, however long the candidate takes. None: as many as come."""
    canary, limits = deployment.canary, deployment.limits
    if canary is None or limits is None or limits.concurrency is None:
        return None
    return Limits(concurrency=max(1, int(limits.concurrency * (1 + canary.weight) / 2)))


def spared(bound: Iterable[Stock]) -> None:
    """Raise LimitReached unless half of every limit is left: the rest is for callers."""
    for stock in bound:
        if 2 * stock.remaining < stock.limit:
            raise LimitReached(
                f"{stock.scope.said} has {stock.remaining} of {stock.limit} {stock.what} left, and a shadow "
                f"leaves half to callers: to have it asked more often raise {stock.setting} under "
                f"{stock.scope.table}"
            )


def too_long(stock: Stock, tokens: int) -> LimitReached:
    """The refusal of a call whose prompt alone is more than a minute's tokens."""
    error = LimitReached(
        f"the prompt is about {many(tokens, 'token')}, and {stock.scope.said} has {stock.limit} a minute: "
        f"send less, or raise {stock.setting} under {stock.scope.table}"
    )
    error.headers = limit_headers(stock, stock.remaining, WINDOW_S) + b"x-should-retry: false\r\n"
    return error


def refusal(stock: Stock, denied: Denied, budget: Budget | None, at: datetime) -> ApiError:
    """Why a call is not taken now, and what to do."""
    scope, limit = stock.scope, stock.limit
    if stock.what == "usd":
        assert budget is not None  # only a budget makes such a counter
        return _spent(stock, denied, budget, at)
    wait_s = denied.retry_after_s or WINDOW_S
    done = {
        "requests": f"has had {many(limit, 'request')} in the last minute, which is its limit",
        "tokens": f"has {denied.left} of its {limit} tokens a minute left, and this call may need more",
        "concurrency": f"has {many(limit, 'call')} under way, which is its limit",
    }[stock.what]
    error = LimitReached(
        f"{scope.said} {done}: try again in {duration(wait_s)}, or raise {stock.setting} under {scope.table}",
        retry_after_s=wait_s,
    )
    if stock.what != "concurrency":
        error.headers = limit_headers(stock, denied.left, wait_s)
    return error


def _spent(stock: Stock, denied: Denied, budget: Budget, at: datetime) -> ApiError:
    spent, when = usd_of(denied.spent), period_end(budget, at)
    of = f"{money(spent)} of {money(budget.usd)} USD {period_words(budget.per)}"
    if denied.retry_after_s is not None:
        return LimitReached(
            f"{stock.scope.said} has spent {of}, and calls under way may cost the rest: try again in "
            f"{duration(denied.retry_after_s)}, or raise {stock.setting} under {stock.scope.table}",
            code="budget_reserved",
            retry_after_s=denied.retry_after_s,
        )
    return BudgetExceeded(
        f"{stock.scope.said} has spent {of}: raise {stock.setting} under {stock.scope.table}, or wait until "
        f"{when:%Y-%m-%d} (UTC)",
        retry_after_s=(when - at).total_seconds(),
    )


def limit_headers(stock: Stock, remaining: int, reset_s: float) -> bytes:
    """The lines of an answer about a limit a minute, by OpenAI's names. `reset_s` is when all of it is free
    again, if nothing more is asked; of a refusal, when there is room."""
    reset = _WINDOW if reset_s == WINDOW_S else duration(reset_s).encode()
    return _lines(stock.what, stock.limit) % (remaining, reset)


@lru_cache(maxsize=1024)  # answers have one for each limit
def _lines(what: What, limit: int) -> bytes:
    return (
        f"x-ratelimit-limit-{what}: {limit}\r\nx-ratelimit-remaining-{what}: %d\r\n"
        f"x-ratelimit-reset-{what}: %b\r\n"
    ).encode()


def duration(seconds: float) -> str:
    """As OpenAI writes it: `20ms`, `1.5s`, `1m0s`."""
    milliseconds = max(1, -(-int(seconds * 1_000_000) // 1000))
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes}m{rest / 1000:g}s" if minutes else f"{rest / 1000:g}s"


_WINDOW = duration(WINDOW_S).encode()


def counted(limits: Limits | None) -> dict[What, int]:
    """What is limited, and how far."""
    if limits is None:
        return {}
    said: dict[What, int | None] = {
        "requests": limits.requests_per_minute,
        "tokens": limits.tokens_per_minute,
        "concurrency": limits.concurrency,
    }
    return {what: limit for what, limit in said.items() if limit is not None}
