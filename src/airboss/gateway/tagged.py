"""Budgets of each value of a tag, for one worker: whose money a call is."""

from __future__ import annotations

from collections.abc import Mapping

from airboss.domain.plan import Budget
from airboss.gateway.stock import Scope
from airboss.governance.users import Users, tag_salt


class TagBudgets:
    """Those of a plan. Values are told apart as users of a key are (`governance.users`)."""

    def __init__(self) -> None:
        self._values: dict[str, Users] = {}
        self._budgets: Mapping[str, Budget] = {}

    def bind(self, budgets: Mapping[str, Budget]) -> None:
        """Those of another plan; values that are known stay so."""
        known, self._budgets = self._values, budgets
        self._values = {name: known.get(name) or Users(tag_salt(name)) for name in budgets}

    def __bool__(self) -> bool:
        return bool(self._budgets)

    def of(self, tags: Mapping[str, str], now: float) -> tuple[Scope, ...]:
        """Whose money a call with these tags is: of a tag that it has not, nobody's."""
        return tuple(
            Scope("tag", name, values.counted_as(tags[name], now))
            for name, values in self._values.items()
            if tags.get(name)
        )

    def budget(self, name: str) -> Budget | None:
        """What each value of a tag may spend; None of one that has no budget any more."""
        return self._budgets.get(name)
