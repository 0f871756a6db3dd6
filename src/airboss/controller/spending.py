"""What keys have spent, by the records, written where budgets are counted from: the ledger."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final, Protocol

from airboss.domain.ports import ApiKey, Clock, RecordLog, Spent, UsageQuery
from airboss.domain.record import EXTERNAL
from airboss.governance.budgets import periods_start, user_budget
from airboss.governance.counting import exactly
from airboss.governance.users import NOBODY, pseudonym, salt_of, spender, tag_salt
from airboss.store.usage import ROWS_MAX

ALL_S: Final = 600.0
"""So often all of the month is looked at: records may arrive days late."""
REST: Final = 5
"""So many times as long as adding up users took, nothing is done about them: there may be many."""


class Spends(Protocol):
    """What is needed of `store.spends.SqlSpends`."""

    def raise_to(self, spent: Iterable[Spent]) -> int:
        """Let no key and day have less than this."""

    def users_since(self, keys: Collection[str], day: date) -> Iterable[Spent]:
        """What users of these keys spent that day and later, as it was put."""

    def put_users(self, spent: Iterable[Spent]) -> None:
        """Let users have spent so much."""

    def drop_users_before(self, day: date) -> None:
        """Drop what users spent before that day."""


class Spending:
    """A chore. `moved` is how many records have been moved: while it stays, there is nothing to add up.
    `keys` are all there are: where each user has a budget, users are added up too, and so are values of
    `tags`, those that have one.

    A gateway counts what its calls cost by itself, and at once. This is for what it could not tell any more
    because it was killed, and for records that came from elsewhere; so that spend is the sum of the records.
    """

    def __init__(
        self,
        records: RecordLog,
        spends: Spends,
        *,
        moved: Callable[[], int],
        keys: Callable[[], Iterable[ApiKey]],
        tags: Callable[[], Collection[str]] = tuple,
        clock: Clock,
    ) -> None:
        self._records = records
        self._spends = spends
        self._moved = moved
        self._keys = keys
        self._tags = tags
        self._clock = clock
        self._seen: int | None = None
        self._all_at: float | None = None
        self._salts: dict[str, bytes] = {}
        """Of the keys whose users have a budget each, and of the tags whose values have."""
        self._users_seen: int | None = None
        self._users_whole = True
        self._users_at = 0.0

    def tick(self) -> None:
        """Add up what is new. Raises StoreUnavailable, SetupError."""
        moved, now = self._moved(), self._clock.monotonic()
        tags, salts = self._tags(), {key.name: salt_of(key) for key in self._keys() if user_budget(key)}
        salts |= {spender(tag): tag_salt(tag) for tag in tags}
        if salts != self._salts:
            self._salts, self._users_whole, self._users_at, self._users_seen = salts, True, now, None
        whole = self._all_at is None or now >= self._all_at
        self._users_whole |= whole
        users = bool(salts) and now >= self._users_at and (self._users_whole or moved != self._users_seen)
        if moved == self._seen and not whole and not users:
            return
        since = self._since(self._clock.now(), whole=whole or (users and self._users_whole))
        spent = self._records.spent(since, each_user=tuple(salts) if users else ())
        self._spends.raise_to(_of_keys(spent))
        if users and tags:
            spent = [*spent, *self._of_tags(tags, since)]
        self._seen = moved
        if whole:
            self._all_at = now + ALL_S
        if users:
            self._raise_users(spent, salts, since.date())
            if self._users_whole:
                self._spends.drop_users_before(since.date())
            self._users_seen, self._users_whole = moved, False
            after = self._clock.monotonic()
            self._users_at = after + REST * (after - now)

    def _of_tags(self, tags: Iterable[str], since: datetime) -> Iterator[Spent]:
        """What calls with each value of these tags cost, by the day."""
        day, end = since, self._clock.now()
        while day <= end:
            for tag in tags:
                asked = UsageQuery(
                    since=day,
                    until=day + timedelta(days=1),
                    by=(f"tag:{tag}", "arm"),
                    order="cost_usd",
                    limit=ROWS_MAX,
                    people=(),
                )
                sums: dict[str, Decimal] = {}
                for row in self._records.usage(asked):
                    value, arm = row.group
                    if value and arm != EXTERNAL and row.cost_usd:
                        sums[value] = sums.get(value, Decimal(0)) + exactly(row.cost_usd)
                for value, usd in sums.items():
                    yield Spent(key=spender(tag), user=value, day=day.date(), usd=usd)
            day += timedelta(days=1)

    def _raise_users(self, spent: Iterable[Spent], salts: Mapping[str, bytes], since: date) -> None:
        """Let no user and day have less than records say. What the forgotten spent is nobody's in records; it
        stays theirs here, and is not put down to who names no user."""
        found = self._spends.users_since(salts.keys(), since)
        held = {(each.key, each.user or NOBODY, each.day): each.usd for each in found}
        said: dict[tuple[str, str, date], Decimal] = {}
        for each in spent:
            if each.key in salts:
                name = pseudonym(salts[each.key], each.user) if each.user else NOBODY
                said[each.key, name, each.day] = each.usd
        for (key, name, day), usd in held.items():
            nobody = (key, NOBODY, day)
            if name != NOBODY and nobody in said:
                said[nobody] -= max(Decimal(0), usd - said.get((key, name, day), Decimal(0)))
        more = [
            Spent(key=key, user=name, day=day, usd=usd)
            for (key, name, day), usd in said.items()
            if usd > held.get((key, name, day), 0)
        ]
        if more:
            self._spends.put_users(more)

    def _since(self, now: datetime, *, whole: bool) -> datetime:
        """Yesterday, or when the first of the periods began if that is earlier: days are in UTC."""
        today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        yesterday = today - timedelta(days=1)
        return min(yesterday, periods_start(now)) if whole else yesterday


def _of_keys(spent: Iterable[Spent]) -> list[Spent]:
    """The same by key and day alone."""
    sums: dict[tuple[str, date], Decimal] = {}
    for each in spent:
        sums[each.key, each.day] = sums.get((each.key, each.day), Decimal(0)) + each.usd
    return [Spent(key=key, day=day, usd=usd) for (key, day), usd in sums.items()]
