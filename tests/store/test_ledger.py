"""What every ledger promises, whatever database it is in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from decimal import Decimal

import msgspec
import pytest
from sqlalchemy import select, update

from airboss.domain.plan import Allowance, Budget, Canary, Named, Preview, Served, ServingPlan
from airboss.domain.ports import ApiKey
from airboss.governance.policies import policy_of
from airboss.store.ledger import SqlLedger
from airboss.store.ledger_rows import UNSENT
from airboss.store.ledger_tables import keys, plans
from tests.store.ledgers import NOW, deployment, key, plan, replica
from tests.support.kept_keys import put_key


@pytest.fixture
def ledger(address: str) -> Iterator[SqlLedger]:
    """An empty ledger."""
    made = SqlLedger(address)
    yield made
    made.close()


def test_a_new_ledger_is_empty(ledger: SqlLedger) -> None:
    """Before the first plan there is nothing to serve, and the revision is 0."""
    assert ledger.revision() == 0
    assert ledger.snapshot() is None
    assert ledger.config() is None
    assert ledger.replicas() == ()
    assert ledger.plan(1) is None
    assert ledger.release("d" * 64) is None


def test_plans_are_numbered_from_one(ledger: SqlLedger) -> None:
    """Each plan has the number after the last one's; the number that it came with means nothing."""
    first = ledger.publish("one", plan())
    second = ledger.publish("two", msgspec.structs.replace(plan(), number=70))
    assert (first.number, second.number) == (1, 2)
    assert first == msgspec.structs.replace(plan(), number=1)


def test_the_newest_plan_is_served(ledger: SqlLedger) -> None:
    """A snapshot has the plan as it was published, to the last digit, and all keys in order of name."""
    ledger.publish("one", plan(deployment("old")))
    published = ledger.publish("two", plan(deployment("a"), deployment("b", "other")))
    put_key(ledger, key("z"))
    put_key(ledger, key("a", deployments=("a", "b")))
    snapshot = ledger.snapshot()
    assert snapshot is not None
    assert snapshot.plan == published
    assert snapshot.keys == (key("a", deployments=("a", "b")), key("z"))
    assert snapshot.revision == ledger.revision()
    assert ledger.config() == "two"
    assert [ledger.config(number) for number in (0, 1, 2, 3)] == [None, "one", "two", None]


def test_a_change_that_gateways_must_see_raises_the_revision(ledger: SqlLedger) -> None:
    """Plans and keys raise it, replicas do not."""
    ledger.publish("one", plan())
    seen = [ledger.revision()]
    for change in (
        lambda: ledger.publish("two", plan()),
        lambda: put_key(ledger, key("a")),
        lambda: put_key(ledger, key("a", "cd" * 32)),
    ):
        change()
        seen.append(ledger.revision())
    assert seen == sorted(set(seen))
    ledger.put_replica(replica("r"))
    ledger.forget_replica("r")
    assert ledger.revision() == seen[-1]


def test_keys_before_the_first_plan_come_with_it(ledger: SqlLedger) -> None:
    """The revision stays 0 until there is something to serve; then the key is there."""
    put_key(ledger, key("early"))
    assert ledger.revision() == 0
    assert ledger.snapshot() is None
    ledger.publish("one", plan())
    snapshot = ledger.snapshot()
    assert snapshot is not None
    assert snapshot.keys == (key("early"),)
    assert snapshot.revision > 0


def test_a_key_is_replaced_by_name(ledger: SqlLedger) -> None:
    """There is one key of a name."""
    ledger.publish("one", plan())
    put_key(ledger, key("a"))
    put_key(ledger, key("a", "cd" * 32))
    snapshot = ledger.snapshot()
    assert snapshot is not None
    assert snapshot.keys == (key("a", "cd" * 32),)


class Rows(SqlLedger):
    """A ledger whose rows of keys are seen as they are."""

    def text(self) -> str:
        """The row of the only key."""
        with self._read() as connection:
            return str(connection.execute(select(keys.c.content)).scalar_one())

    def write(self, text: str) -> None:
        """Write that row."""
        with self._write() as connection:
            connection.execute(update(keys).values(content=text))


def test_a_key_for_some_addresses_is_unknown_to_who_knows_no_addresses(address: str) -> None:
    """A gateway of an earlier version reads the same row, without `sources`. A row that has the digests where
    others have them is read, too."""
    ledger = Rows(address)
    ledger.publish("text", plan())
    plain = msgspec.structs.replace(key("app"), previous_sha256="cd" * 32, previous_until=NOW)
    bound = msgspec.structs.replace(plain, sources=("10.0.0.0/8",), budget=Budget(usd=Decimal("0.5")))
    put_key(ledger, plain)
    assert plain.sha256 in ledger.text()
    put_key(ledger, bound)
    snapshot = ledger.snapshot()
    assert snapshot is not None
    assert (ledger.all_keys(), snapshot.keys) == ((bound,), (bound,))
    seen = msgspec.json.decode(ledger.text(), type=ApiKey)
    assert not {plain.sha256, plain.previous_sha256} & {seen.sha256, seen.previous_sha256}
    ledger.write(msgspec.json.encode(bound).decode())
    assert ledger.all_keys() == (bound,)
    put_key(ledger, plain)
    assert ledger.all_keys() == (plain,)
    ledger.close()


def test_a_key_under_a_policy_is_unknown_to_who_knows_no_policies_of_keys(address: str) -> None:
    """A gateway of an earlier version reads the same row, and would let its calls pass unread."""
    ledger = Rows(address)
    ledger.publish("text", msgspec.structs.replace(plan(), policies={"strict": policy_of("mask", None)}))
    plain = msgspec.structs.replace(key("app"), previous_sha256="cd" * 32, previous_until=NOW)
    bound = msgspec.structs.replace(plain, policies=("strict",), given_policy="strict")
    for each in (bound, msgspec.structs.replace(bound, sources=("10.0.0.0/8",))):
        put_key(ledger, each)
        snapshot = ledger.snapshot()
        assert snapshot is not None
        assert (ledger.all_keys(), snapshot.keys) == ((each,), (each,))
        assert snapshot.plan.policies == {"strict": policy_of("mask", None)}
        seen = msgspec.json.decode(ledger.text(), type=ApiKey)
        assert not {plain.sha256, plain.previous_sha256} & {seen.sha256, seen.previous_sha256}
    put_key(ledger, msgspec.structs.replace(bound, policies=()))
    assert plain.sha256 in ledger.text()
    ledger.close()


class PlanRows(SqlLedger):
    """A ledger whose newest row of a plan is seen as it is."""

    def text(self) -> str:
        """The newest plan's row."""
        with self._read() as connection:
            asked = select(plans.c.content).order_by(plans.c.number.desc()).limit(1)
            return str(connection.execute(asked).scalar_one())


def test_who_knows_no_names_sees_no_canary_that_is_for_some(address: str) -> None:
    """A gateway of an earlier version reads the same row, without `always` and `never`: it gives everybody
    stable rather than the canary to whom must not have it."""
    ledger = PlanRows(address)
    first = plan()
    served = Served(release=first.deployments[0].stable, target=first.deployments[0].target)
    canary = Canary(rollout="r", served=served, weight=0.5, salt="s")
    preview = Preview(served=served, users=("ada",), teams=("staff",), tags={"plan": ("beta",)})
    shown = msgspec.structs.replace(first.deployments[0], canary=canary, preview=preview)
    for more in ({"never": Named(users=("big",))}, {"always": Named(keys=("a",))}, {}):
        wanted = msgspec.structs.replace(shown, **more)
        kept = ledger.publish("text", msgspec.structs.replace(first, deployments=(wanted,)))
        snapshot = ledger.snapshot()
        assert snapshot is not None
        assert snapshot.plan == kept == ledger.plan(kept.number)
        assert snapshot.plan.deployments == (wanted,)
        seen = msgspec.json.decode(ledger.text(), type=ServingPlan).deployments[0]
        assert (seen.canary, seen.preview) == ((None, None) if more else (canary, preview))
    ledger.close()


def test_who_knows_no_headers_asks_no_provider_that_needs_some(address: str) -> None:
    """A gateway of an earlier version reads the same row, without `headers`: it refuses the calls with words,
    wherever in the plan such a target is, and sends none without what stands before the provider."""
    ledger = PlanRows(address)
    first = plan()
    bare = first.deployments[0].target
    gated = msgspec.structs.replace(bare, headers=(("x-gate", "env:GATE_KEY"),), weights=(1.0,))
    behind = msgspec.structs.replace(bare, fallbacks=(gated,))
    served = Served(release=first.deployments[0].stable, target=gated)
    canary = Canary(rollout="r", served=served, weight=0.5, salt="s")
    shown = msgspec.structs.replace(first.deployments[0], target=behind, canary=canary, shadow=served)
    gone = msgspec.structs.replace(shown, name="gone", target=msgspec.structs.replace(gated, down="full"))
    for more in ({"never": Named(users=("big",))}, {}):
        wanted = (msgspec.structs.replace(shown, **more), gone)
        kept = ledger.publish("text", msgspec.structs.replace(first, deployments=wanted))
        snapshot = ledger.snapshot()
        assert snapshot is not None
        assert snapshot.plan == kept == ledger.plan(kept.number)
        assert snapshot.plan.deployments == wanted
        seen, full = msgspec.json.decode(ledger.text(), type=ServingPlan).deployments
        assert (seen.target.down, full.target.down) == (None, "full")
        asked = [seen.target.fallbacks[0], *(each.target for each in (seen.shadow,) if each)]
        asked += [each.served.target for each in (seen.canary,) if each]
        assert [each.down for each in asked] == [UNSENT] * (2 if more else 3)
    ledger.close()


def test_who_knows_no_weeks_has_no_money_for_them(address: str) -> None:
    """A gateway of an earlier version reads the same rows, with what else was changed since, and refuses what
    is bound by the week: it can count none."""
    told, plans_of = Rows(address), PlanRows(address)
    week, day = Budget(usd=Decimal("12.50"), per="week"), Budget(usd=Decimal("0.5"), per="day")
    weekly = Allowance(budget=week)
    wanted = msgspec.structs.replace(
        plan(), teams={"staff": weekly, "others": Allowance(budget=day)}, tags={"project": week}
    )
    kept = plans_of.publish("text", wanted)
    bound = msgspec.structs.replace(key("app"), budget=week, given_budget=day, each_user=weekly)
    for each in (bound, msgspec.structs.replace(bound, sources=("10.0.0.0/8",))):
        put_key(told, each)
        snapshot = told.snapshot()
        assert snapshot is not None
        assert (snapshot.plan, snapshot.keys, told.all_keys()) == (kept, (each,), (each,))
        seen = msgspec.json.decode(told.text(), type=ApiKey)
        assert seen.each_user is not None
        none = Budget(usd=Decimal(0), per="month")
        assert (seen.budget, seen.given_budget, seen.each_user.budget) == (none, day, none)
    row = msgspec.json.decode(plans_of.text(), type=ServingPlan)
    assert [row.teams["staff"].budget, row.teams["others"].budget, *row.tags.values()] == [none, day, none]
    told.write(msgspec.json.encode(bound).decode())
    assert told.all_keys() == (bound,)
    for each_ledger in (told, plans_of):
        each_ledger.close()


def test_replicas_come_and_go(ledger: SqlLedger) -> None:
    """Rows are replaced by id, listed by id, and dropped; dropping none is no error."""
    ledger.put_replica(replica("b"))
    ledger.put_replica(replica("a", state="ready", pid=7, restarts=2, detail="x"))
    ledger.put_replica(replica("b", state="starting"))
    assert ledger.replicas() == (
        replica("a", state="ready", pid=7, restarts=2, detail="x"),
        replica("b", state="starting"),
    )
    ledger.forget_replica("a")
    ledger.forget_replica("never")
    assert [each.id for each in ledger.replicas()] == ["b"]


def test_every_plan_and_release_is_kept(ledger: SqlLedger) -> None:
    """From a number the plan can be had, and from a digest the release, under its first name."""
    old, new = deployment("d", "old"), deployment("d", "new")
    ledger.publish("one", plan(old))
    ledger.publish("two", plan(new, deployment("e", "new")))
    first = ledger.plan(1)
    assert first is not None
    assert first.deployments == (old,)
    assert ledger.release(old.stable.digest) == old.stable
    assert ledger.release(new.stable.digest) == new.stable


def test_what_was_written_outlives_the_ledger(address: str) -> None:
    """Another ledger on the same database has it all, and numbers on."""
    one = SqlLedger(address)
    one.publish("text é\n", plan())
    put_key(one, key("a"))
    one.put_replica(replica("r"))
    before = one.snapshot()
    one.close()
    other = SqlLedger(address)
    assert other.snapshot() == before
    assert other.config() == "text é\n"
    assert other.replicas() == (replica("r"),)
    assert other.publish("next", plan()).number == 2
    other.close()


def test_two_ledgers_see_each_other(ledger: SqlLedger, address: str) -> None:
    """A gateway's ledger sees what the controller's publishes, without being opened anew."""
    gateway = SqlLedger(address)
    assert gateway.revision() == 0
    ledger.publish("one", plan())
    assert gateway.revision() == ledger.revision()
    snapshot = gateway.snapshot()
    assert snapshot is not None
    assert snapshot.plan.number == 1
    gateway.close()


def test_threads_publish_without_clash(ledger: SqlLedger, address: str) -> None:
    """Publishers at the same time, on one ledger and on two, get numbers without gap or double."""
    other = SqlLedger(address)
    numbers: list[int] = []

    def publish(target: SqlLedger) -> None:
        numbers.extend(target.publish("x", plan()).number for _ in range(5))

    threads = [threading.Thread(target=publish, args=(each,)) for each in (ledger, other) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 31))
    assert ledger.revision() == 30
    other.close()


def test_a_publish_that_fails_leaves_nothing(ledger: SqlLedger) -> None:
    """What goes wrong halfway is undone: neither number nor revision nor release remain."""
    ledger.publish("one", plan())
    broken = plan(deployment("new", "other"), msgspec.structs.replace(deployment("bad"), aliases=(object(),)))
    with pytest.raises(TypeError):
        ledger.publish("two", broken)
    assert ledger.revision() == 1
    assert ledger.config() == "one"
    assert ledger.release(deployment("new", "other").stable.digest) is None
    assert ledger.publish("three", plan()).number == 2
