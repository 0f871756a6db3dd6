"""What an evaluation would cost, told before it is paid: what a run then asks, and nothing is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.domain.errors import WrongCall
from airboss.domain.plan import Price, Served, Target
from airboss.domain.release import ModelVersion, ProviderKind, Release
from airboss.evaluations.datasets import Item, dataset
from airboss.evaluations.estimate import GUESSED, SAMPLED_MAX, Estimate, estimate
from airboss.evaluations.library import Library
from airboss.evaluations.plan import EvalPlan
from airboss.evaluations.ports import Target as Asked
from airboss.evaluations.run import EvalRun, begin
from airboss.evaluations.scorers.exact import Exact
from airboss.evaluations.scorers.latency import Latency
from airboss.evaluations.scorers.llm_judge import LlmJudge
from airboss.evaluations.scorers.pairwise import PairwiseJudge
from airboss.providers import o200k
from airboss.store.evals import SqlEvalStore
from airboss.store.memory import MemoryRecordLog
from tests.console.site import put, sample
from tests.evaluations.support import JUDGE, NOW, A, B, FakeCaller, item, now, said

PRICES = {A.release: "1", B.release: "10", JUDGE.release: None}
PROMPT = "You are told {{ tone }} words." * 5


class World:
    """A store, a log, and releases at a price."""

    def __init__(self, store: SqlEvalStore) -> None:
        self.store = store
        self.log = MemoryRecordLog()
        self.library = Library(store, now)
        self.given: dict[str, Any] = {}
        self.kind: ProviderKind = "openai"

    def behind(self, asked: Asked) -> Served:
        """A release without a prompt, but for what was given."""
        price = PRICES[asked.release]
        usd = Decimal(price) if price is not None else None
        model = ModelVersion(provider="p", kind="openai", model="m")
        return Served(
            release=Release(digest=asked.release, name="", model=model, **self.given),
            target=Target(
                provider="p",
                kind=self.kind,
                base_urls=("https://x/v1",),
                upstream_model="m",
                price=Price(input_usd_per_mtok=usd, output_usd_per_mtok=2 * usd) if usd is not None else None,
            ),
        )

    def keep(self, *items: Item) -> None:
        """As the dataset `n`."""
        self.library.put(dataset("n", items))

    def plan(self, **given: Any) -> EvalPlan:
        """Of the dataset `n`."""
        fields: dict[str, Any] = {"part": "validation", "a": A, "b": B, "scorers": (Exact(),)}
        digest = self.library.find("n").digest
        return EvalPlan(dataset=digest, dataset_name="n", judges={"judge": JUDGE}, **fields | given)

    def told(self, plan: EvalPlan) -> Estimate:
        """The estimate."""
        parts: dict[str, Any] = {"store": self.store, "library": self.library, "log": self.log}
        return asyncio.run(estimate(plan, behind=self.behind, **parts))

    def run(self, plan: EvalPlan, caller: FakeCaller) -> None:
        """The evaluation itself."""
        begin(self.store, plan, run_id="r", at=NOW)
        items = self.library.items(self.library.find("n"), "validation")
        asyncio.run(EvalRun("r", plan, items, caller=caller, store=self.store, now=now).run())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An empty one."""
    store = SqlEvalStore(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield World(store)
    store.close()


def questions(count: int, **given: Any) -> list[Item]:
    """Items of the validation part."""
    return [item(f"q{n}", f"What is {n}?", part="validation", expected="x", **given) for n in range(count)]


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("repeats", [1, 2])
def test_a_run_asks_what_was_told(world: World, again: bool, repeats: int) -> None:
    """As many calls of each side and each judge, and none of what was answered before."""
    world.keep(*questions(5))
    judges = (LlmJudge(deployment="judge"), PairwiseJudge(deployment="judge"))
    plan = world.plan(scorers=(Exact(), *judges), repeats=repeats)
    caller = FakeCaller(lambda call: f"{call.target.deployment} {call.repeat} says {call.subject[:4]}")
    if again:
        world.run(world.plan(), FakeCaller(lambda call: f"{call.target.deployment} 0 says so"))
        with world.store._write() as connection:
            connection.exec_driver_sql("DELETE FROM eval_runs")
            connection.exec_driver_sql("DELETE FROM eval_results")
    told = world.told(plan)
    world.run(plan, caller)
    asked = [call.target.deployment for call in caller.calls]
    lines = {(line.who, line.name): line for line in told.lines}
    a, b = lines["a", A.release[:8]], lines["b", B.release[:8]]
    assert (a.calls, b.calls) == (asked.count("a"), asked.count("b"))
    assert (a.kept, a.calls + a.kept) == (5 * again, 5 * repeats)
    of_judges = [line for (who, _), line in lines.items() if who == "judge"]
    assert sum(line.calls for line in of_judges) == asked.count("judge") == 2 * 2 * 5 * repeats
    assert told.calls == len(asked)
    after = world.told(plan)
    assert (after.calls, after.usd, after.unpriced) == (0, 0, 0)


def test_what_is_timed_is_asked_anew(world: World) -> None:
    """And told so, but where the baseline answers once for several."""
    world.keep(*questions(5))
    world.run(world.plan(), FakeCaller(lambda _: "x"))
    timed = world.plan(scorers=(Exact(), Latency()))
    assert [(line.calls, line.kept) for line in world.told(timed).lines] == [(5, 0), (5, 0)]
    other = msgspec.structs.replace(B, release=JUDGE.release)
    parts: dict[str, Any] = {"store": world.store, "library": world.library, "log": world.log}
    told = asyncio.run(estimate(timed, behind=world.behind, beside=[other], **parts))
    assert [(line.calls, line.kept) for line in told.lines] == [(0, 5), (0, 5), (5, 0)]


def test_several_releases_ask_the_baseline_once(world: World) -> None:
    """Each its own answers and its own judging; those of A, and what a judge thinks of them, once."""
    world.keep(*questions(5))
    judges = (LlmJudge(deployment="judge"), PairwiseJudge(deployment="judge"))
    plan, other = world.plan(scorers=(Exact(), *judges)), msgspec.structs.replace(B, release=JUDGE.release)
    parts: dict[str, Any] = {"store": world.store, "library": world.library, "log": world.log}
    told = asyncio.run(estimate(plan, behind=world.behind, beside=[other], **parts))
    asked = [(line.who, line.release, line.calls) for line in told.lines[:3]]
    assert asked == [("a", A.release, 5), ("b", B.release, 5), ("b", other.release, 5)]
    assert [line.calls for line in told.lines[3:]] == [3 * 5, 2 * 2 * 5]
    assert told.calls == 3 * 5 + 3 * 5 + 2 * 2 * 5


def test_tokens_and_prices(world: World) -> None:
    """Input is the item's and the release's; output is as long as answers were; each by its own price."""
    world.keep(*questions(3))
    world.given = {"prompt": "Be brief."}
    for number, tokens in enumerate((10, 20)):
        put(world.log, sample(id=f"0193{number}", release=A.release, status="ok", output_tokens=tokens))
    told = world.told(world.plan(scorers=(LlmJudge(deployment="judge"),)))
    a, b, judge = told.lines
    words = sum(o200k.count(f"What is {n}?") for n in range(3)) + 3 * (o200k.count("Be brief.") + 2 * 4)
    assert (a.input_tokens, a.output_tokens, a.by) == (words, 45, "release")
    assert a.usd == Decimal(words + 2 * 45) / 1_000_000
    assert (b.output_tokens, b.by) == (3 * GUESSED["b"], "guess")
    assert b.usd == Decimal(10 * words + 20 * b.output_tokens) / 1_000_000
    assert (judge.calls, judge.usd, told.unpriced) == (6, None, 6)
    assert told.usd == a.usd + b.usd
    assert judge.input_tokens > 6 * 100


def test_answers_are_as_long_as_they_may_be(world: World) -> None:
    """By what the release forces, else the call, else the item, else the release."""
    for given, plan, params, most in (
        ({"params": {"max_tokens": 7}}, {}, {}, 7),
        ({"params": {"max_tokens": 7}}, {}, {"max_tokens": 9}, 9),
        ({"params": {"max_tokens": 7}}, {"params": {"max_completion_tokens": 5}}, {"max_tokens": 9}, 5),
        ({"params_force": {"max_tokens": 3}}, {"params": {"max_tokens": 5}}, {}, 3),
        ({"params": {"max_tokens": 9_999}}, {}, {}, GUESSED["b"]),
    ):
        world.given = given
        (one,) = questions(1)
        one = msgspec.structs.replace(one, input=msgspec.structs.replace(one.input, params=params))
        world.library.put(dataset("n", [one]))
        (line,) = world.told(world.plan(a=None, **plan)).lines
        assert line.output_tokens == most


def test_a_judge_writes_as_long_as_it_has_judged(world: World) -> None:
    """What its deployment answers to others says nothing of that."""
    world.keep(*questions(1))
    plan = world.plan(scorers=(LlmJudge(deployment="judge"),), a=None)
    put(world.log, sample(id="01930", release=JUDGE.release, key="app", status="ok", output_tokens=900))
    assert world.told(plan).lines[1].output_tokens == GUESSED["judge"]
    put(world.log, sample(id="01931", release=JUDGE.release, key="airboss", status="ok", output_tokens=40))
    assert world.told(plan).lines[1].output_tokens == 40


def test_pictures_tools_and_variables_count(world: World) -> None:
    """A picture by itself, whose bytes say nothing; tools and a schema as they are written."""
    content = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": "x" * 90_000}}]
    tools = [{"type": "function", "function": {"name": "weather"}}]
    plain = item("p", "What?", part="validation")
    asked = msgspec.structs.replace(plain.input, messages=({"role": "user", "content": content},))
    found = []
    for given in (plain.input, asked, msgspec.structs.replace(plain.input, params={"tools": tools})):
        world.library.put(dataset("n", [msgspec.structs.replace(plain, input=given)]))
        found.append(world.told(world.plan(a=None)).lines[0].input_tokens)
    more = o200k.count(msgspec.json.encode(tools).decode())
    assert found == [found[0], found[0] + 1_000, found[0] + more]
    world.given = {"prompt": PROMPT}
    with pytest.raises(WrongCall, match=r"needs prompt_variables .'tone'.*each such call would be refused"):
        world.told(world.plan(a=None))
    filled = msgspec.structs.replace(plain.input, variables={"tone": "dry"})
    world.library.put(dataset("n", [msgspec.structs.replace(plain, input=filled)]))
    told = world.told(world.plan(a=None)).lines[0]
    assert told.input_tokens == found[0] + 4 + o200k.count("You are told dry words." * 5)


def test_of_many_items_some_stand_for_all(world: World) -> None:
    """Spread over the part; the calls are as many as there are items."""
    world.keep(*questions(1_000))
    told = world.told(world.plan())
    assert (told.items, told.looked_at, told.calls) == (1_000, SAMPLED_MAX, 2_000)
    words = sum(o200k.count(f"What is {n}?") + 4 for n in range(1_000))
    assert told.lines[0].input_tokens == pytest.approx(words, rel=0.05)


def test_a_holdout_is_not_read(world: World) -> None:
    """Items of another part stand for its own, and it stays as fresh as it was; without any it is refused."""
    world.keep(*questions(4), *(item(f"h{n}", "secret " * 500, part="holdout") for n in range(2)))
    told = world.told(world.plan(part="holdout"))
    assert (told.items, told.read, told.calls) == (2, "validation", 4)
    assert told.lines[0].input_tokens < 100
    assert world.library.find("n").holdout_reads == 0
    world.run(world.plan(), FakeCaller(lambda _: said()))
    assert world.told(world.plan(part="holdout")).lines[0].kept == 0
    world.library.put(dataset("n", [item("h", part="holdout")]))
    with pytest.raises(WrongCall, match="the holdout is locked, and no other part has an item"):
        world.told(world.plan(part="holdout"))


def test_who_is_an_engine_of_ours_is_told(world: World) -> None:
    """Its template adds tokens that are counted nowhere before it is asked."""
    world.keep(*questions(2))
    assert [each.local for each in world.told(world.plan()).lines] == [False, False]
    world.kind = "local"
    assert [each.local for each in world.told(world.plan()).lines] == [True, True]
