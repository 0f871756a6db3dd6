"""The rules of limits and budgets."""

from __future__ import annotations

from collections.abc import Iterator

from airboss.config.rules import check_range
from airboss.config.tags import TAG_CHARS_MAX
from airboss.config.types import Config
from airboss.config.wording import Path, Wrong, dotted, quoted
from airboss.domain.plan import Allowance, Budget, Limits

TAGS_MAX = 8
"""That have budgets: each is looked at with every call that has it."""
_USD_MAX = 900_000
"""What a double can hold of our unit, 10^-10 USD: Valkey's scripts count in doubles."""


def check_limits(config: Config, wrong: Wrong) -> None:
    """Every limit is a number that means something, and so is every budget."""
    for path, limits in _all_limits(config):
        check_limit(path, limits, wrong)
    for name, key in config.keys.items():
        if key.budget is not None:
            check_budget(("keys", name, "budget"), key.budget, wrong)
        if key.each_user is not None:
            check_each_user(("keys", name, "each_user"), key.each_user, wrong)
    for name, team in config.teams.items():
        _check_most(("teams", name), team, wrong)  # one without is told apart in usage, or named by a rollout
    for name, tag in config.tags.items():
        _check_tag(("tags", name), name, wrong)
        check_budget(("tags", name, "budget"), tag.budget, wrong)
    if len(config.tags) > TAGS_MAX:
        raise wrong(("tags",), f"{len(config.tags)} tags have budgets, of at most {TAGS_MAX}")


def _check_tag(path: Path, name: str, wrong: Wrong) -> None:
    if name == "session_id":
        raise wrong(path, f"{dotted(path)}: metadata.session_id is the session, no tag; choose another")
    if not 0 < len(name) <= TAG_CHARS_MAX or not name.isprintable():
        most = f"1 to {TAG_CHARS_MAX} characters that can be printed"
        raise wrong(path, f"{quoted(name)} cannot be a tag with a budget; its name has {most}")


def check_each_user(path: Path, each: Allowance, wrong: Wrong) -> None:
    """The rules of one `each_user`."""
    if each.limits in (None, Limits()) and each.budget is None:
        raise wrong(path, f"{dotted(path)} limits nothing; give it limits or a budget, or take it out")
    _check_most(path, each, wrong)
    if each.limits is not None and each.limits.queue is not None:
        path = (*path, "limits")
        raise wrong(
            (*path, "queue"),
            f"{dotted(path)}.queue is for calls that wait, and one beyond its user's limit does not; take it "
            "out, or give it to [deployments.NAME], the key or [gateway]",
        )


def _check_most(path: Path, most: Allowance, wrong: Wrong) -> None:
    if most.budget is not None:
        check_budget((*path, "budget"), most.budget, wrong)
    if most.limits is not None:
        check_limit((*path, "limits"), most.limits, wrong)


def check_limit(path: Path, limits: Limits, wrong: Wrong) -> None:
    """The rules of one `limits`."""
    check_range((*path, "requests_per_minute"), limits.requests_per_minute, 1, 100_000_000, wrong)
    check_range((*path, "tokens_per_minute"), limits.tokens_per_minute, 1, 100_000_000_000, wrong)
    check_range((*path, "concurrency"), limits.concurrency, 1, 1_000_000, wrong)
    if limits.queue is not None:
        where = (*path, "queue")
        check_range((*where, "size"), limits.queue.size, 1, 100_000, wrong)
        check_range((*where, "wait_s"), limits.queue.wait_s, 0.1, 600, wrong)
        if limits.concurrency is None:
            raise wrong(where, f"{dotted(where)} is for calls that wait for a place; give concurrency too")


def check_budget(path: Path, budget: Budget, wrong: Wrong) -> None:
    """The rules of one `budget`."""
    path = (*path, "usd")
    if not budget.usd.is_finite():
        raise wrong(path, f"{dotted(path)} is {budget.usd}; expected a number")
    check_range(path, budget.usd, 0, _USD_MAX, wrong)
    if budget.usd != round(budget.usd, 10):
        raise wrong(path, f"{dotted(path)} is {budget.usd}; at most ten decimals are counted")


def _all_limits(config: Config) -> Iterator[tuple[Path, Limits]]:
    for name, key in config.keys.items():
        if key.limits is not None:
            yield ("keys", name, "limits"), key.limits
    for name, deployment in config.deployments.items():
        if deployment.limits is not None:
            yield ("deployments", name, "limits"), deployment.limits
    if config.gateway.limits is not None:
        yield ("gateway", "limits"), config.gateway.limits
