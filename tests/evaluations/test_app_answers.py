"""An app that is no release, judged by what it answered: read, kept, scored, compared, and asked nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.domain.errors import UpstreamFailed, WrongCall
from airboss.evaluations.app_answers import AppAnswers, read_answers
from airboss.evaluations.datasets import HoldoutLocked, dataset
from airboss.evaluations.library import Library
from airboss.evaluations.orders import EvalOrder, EvalTask
from airboss.evaluations.paid_once import UNANSWERED
from airboss.evaluations.plan import EvalReport
from airboss.evaluations.ports import Answer, Call
from airboss.evaluations.run import load
from airboss.evaluations.work import evaluate
from airboss.store.erasures import SqlErasures
from airboss.store.job_rows import Job
from airboss.store.memory import MemoryRecordLog
from tests.evaluations.serving import GRADER, NEW, OLD
from tests.evaluations.support import NOW, FakeCaller, item, now
from tests.evaluations.test_orders import SERVING, Desk

COUNT = 20
VALID = [item(f"v{n:02}", f"{n}?", part="validation", expected="yes") for n in range(COUNT)]
REST = [item("t", "t?", part="train", expected="yes"), item("h", "h?", part="holdout", expected="yes")]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Orders, with a dataset of twenty items to validate by."""
    made = Desk(tmp_path, SERVING)
    Library(made.store, now).put(dataset("qa", [*VALID, *REST]))
    yield made
    made.close()


def lines(**given: Any) -> str:
    """A right answer to each item of the validation part; `given` are others, by item."""
    said = {each.id: {"item": each.id, "answer": "yes"} for each in VALID}
    found = [given.get(name, line) for name, line in said.items()]
    return "".join(json.dumps(each) + "\n" for each in found if each is not None)


def order(jsonl: str, *, name: str = "mine", **given: Any) -> EvalOrder:
    """An app's answers, scored by `exact` unless told otherwise."""
    fields: dict[str, Any] = {"dataset": "qa", "scorers": ("exact",), **given}
    return EvalOrder(answers=AppAnswers(name=name, jsonl=jsonl, source="f.jsonl"), **fields)


def done(desk: Desk, job: Job, caller: FakeCaller) -> EvalReport:
    """The job done, and what it found."""
    work = evaluate(job, store=desk.store, caller=caller, now=now, report=lambda *_: None)
    asyncio.run(work)
    report = load(desk.store, job.id)[1]
    assert report is not None
    return report


def nobody(call: Call) -> str:
    """Nobody is to be asked."""
    raise AssertionError(call.target)


def answers_in(desk: Desk) -> int:
    """How many answers are kept."""
    with desk.store._read() as connection:
        return len(connection.exec_driver_sql("SELECT key FROM eval_answers").all())


def read(*given: dict[str, Any] | str) -> dict[str, Answer]:
    """What these lines say was answered, by item."""
    text = "".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in given)
    found = read_answers(AppAnswers(name="mine", jsonl=text, source="f.jsonl"))
    return {name: msgspec.json.decode(each, type=Answer) for name, each in found.answers.items()}


def test_a_line_is_an_answer() -> None:
    """What it says was measured is there, and what it does not say is unknown, never 0."""
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    found = read(
        {"item": "a", "answer": "yes", "latency_ms": 12.5, "cost_usd": 0.002, "usage": usage},
        {"item": 7, "answer": ""},
        {"item": "c", "error": "timed out"},
    )
    a, bare, failed = found["a"], found["7"], found["c"]
    assert (a.text, a.latency_ms, a.cost_usd) == ("yes", 12.5, Decimal("0.002"))
    assert (a.input_tokens, a.output_tokens) == (9, 4)
    assert (bare.text, bare.latency_ms, bare.cost_usd, bare.output_tokens) == ("", None, None, None)
    assert (failed.text, failed.error) == (None, "the app says: timed out")


def test_a_transcript_ends_with_the_answer() -> None:
    """Its text is the last one's of the assistant, and its calls are those of the whole way there."""
    call = {"id": "c", "type": "function", "function": {"name": "search", "arguments": '{"q": 1}'}}
    said = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "found"},
        {"role": "assistant", "content": [{"type": "text", "text": "it is 1"}]},
    ]
    called = [{"name": "look", "arguments": {}}]
    found = read({"item": "a", "messages": said}, {"item": "b", "tool_calls": called})
    assert (found["a"].text, found["a"].tool_calls) == ("it is 1", [call])
    assert (found["b"].text, found["b"].tool_calls) == ("", called)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"item": "a"', "line 2: Input data was truncated"),
        ("[1]", "line 2: Expected `object`, got `array`"),
        ({"answer": "x"}, "line 2: Object missing required field `item`"),
        ({"item": True, "answer": "x"}, "line 2: Expected `int | str`, got `bool`"),
        ({"item": "a", "answer": 3}, "line 2: Expected `str | null`, got `int` - at `$.answer`"),
        ({"item": "a", "anwser": "x"}, "line 2: .*unknown field `anwser`; did you mean `answer`\\?"),
        ({"item": "a"}, "line 2: the item 'a' has neither `answer`, `messages` nor `error`; give one"),
        ({"item": "a", "answer": "x", "error": "y"}, "line 2: the item 'a' has an answer and an `error`"),
        ({"item": "a", "answer": "x", "latency_ms": -1}, "line 2: latency_ms is -1.0; give 0 to 1,0"),
        ({"item": "a", "answer": "x", "usage": {"input_tokens": 10**400}}, "line 2: input_tokens is 1"),
        (
            {"item": "a", "messages": [{"role": "assistant", "content": None}]},
            "line 2: the item 'a' has neither",
        ),
        (
            {"item": "a", "messages": [{"role": "assistant", "content": 5}]},
            "line 2: the item 'a' has neither",
        ),
        ({"item": "a", "answer": "x", "cost_usd": "NaN"}, "line 2: cost_usd is NaN; give 0 to 1,000,000"),
        ({"item": "a", "answer": "x", "cost_usd": "1e999999"}, "line 2: cost_usd is 1E.999999; give 0"),
        ({"item": "a", "answer": "x", "usage": {"output_tokens": 10**30}}, "line 2: output_tokens is 1000"),
        ({"item": "a", "tool_calls": [{"nam": "x"}]}, "line 2: `tool_calls` are not all calls; a call is"),
        ({"item": "a", "messages": [{"role": "user"}]}, "line 2: none of `messages` has the role assistant"),
        ({"item": "ok", "answer": "x"}, "line 2: the item 'ok' has an answer already, in line 1"),
        ('{"item": "a", "tool_calls": ' + "[" * 5000, "line 2: "),
    ],
)
def test_a_wrong_line_is_named(line: dict[str, Any] | str, words: str) -> None:
    """By its number, with what it has and what to do."""
    with pytest.raises(WrongCall, match=f"^f.jsonl, {words}"):
        read({"item": "ok", "answer": "x"}, line)


def test_an_app_has_a_name_and_lines() -> None:
    """Which is what lists show it by; a long line is refused unread."""
    with pytest.raises(WrongCall, match="the app is called 'a b'; a name has 1 to 100"):
        read_answers(AppAnswers(name="a b", jsonl="{}"))
    with pytest.raises(WrongCall, match=r"f.jsonl has no line; write one for each item"):
        read("")
    with pytest.raises(WrongCall, match=r"f.jsonl, line 1: longer than 1048576 bytes"):
        read({"item": "a", "answer": "x" * 1_048_577})


def test_an_app_is_scored_by_itself_and_asks_nobody(desk: Desk) -> None:
    """Its answers are kept with the order, its failures are unscored, and what it did not measure, too."""
    failed = {"item": "v01", "error": "timed out"}
    timed = {"item": "v02", "answer": "no", "latency_ms": 30, "cost_usd": "0.5"}
    given = lines(v01=failed, v02=timed)
    job = desk.orders.start(order(given, scorers=("exact", "latency", "cost")), by="me")
    assert answers_in(desk) == COUNT
    report = done(desk, job, FakeCaller(nobody))
    exact, latency, cost = report.comparisons
    assert report.a is None
    assert (report.b.answers, report.b.errors, report.b.cost_usd, report.b.cost_unknown) == (
        COUNT - 1,
        1,
        Decimal("0.5"),
        COUNT - 2,
    )
    assert exact.mean_b is not None
    assert exact.mean_b.estimate == pytest.approx((COUNT - 2) / (COUNT - 1))
    assert (exact.unscored_b, latency.unscored_b, cost.unscored_b) == (1, COUNT - 1, COUNT - 1)
    assert set(exact.causes) == {"there is no answer: the app says: timed out"}
    assert desk.orders.plan(order(given)).b == msgspec.json.decode(job.spec, type=EvalTask).plan.b


def test_an_app_is_held_against_a_release(desk: Desk) -> None:
    """Paired by item with an exact test and a gate; the release alone is asked."""
    caller = FakeCaller(lambda _: "no")
    job = desk.orders.start(order(lines(), deployment="support", gates=("exact:better",)), by="me")
    report = done(desk, job, caller)
    (exact,) = report.comparisons
    assert {call.target.release for call in caller.calls} == {OLD.digest}
    assert len(caller.calls) == COUNT
    assert report.decision is not None
    assert (report.decision.conclusion, exact.better, exact.worse) == ("pass", COUNT, 0)
    assert exact.test is not None
    assert exact.test.p_value == pytest.approx(2 * 0.5**COUNT)
    timed = order(lines(), deployment="support", scorers=("exact", "latency"))
    done(desk, desk.orders.start(timed, by="me"), caller)
    assert len(caller.calls) == COUNT, "by time nobody is judged, and what is kept serves"


def test_an_app_is_held_against_what_was_judged_before(desk: Desk) -> None:
    """Another app's answers or a release's, by the id of its evaluation, and a release against an app; each
    scored by what is asked for now, pairwise judges included, which alone are asked."""
    first = desk.orders.start(order(lines(v00={"item": "v00", "answer": "no"})), by="me")
    judge = {"kind": "pairwise_judge", "deployment": "grader"}
    again = order(lines(), name="mine2", baseline=first.id, scorers=("exact", judge))
    caller = FakeCaller(lambda _: '{"reasoning": "", "better": "tie"}')
    job = desk.orders.start(again, by="me")
    report = done(desk, job, caller)
    by_name = {each.metric.name: each for each in report.comparisons}
    assert (by_name["exact"].better, by_name["exact"].worse) == (1, 0)
    assert by_name["pairwise_judge"].pairs == COUNT
    assert {call.target.release for call in caller.calls} == {GRADER.digest}
    paid = len(caller.calls)
    report = done(desk, desk.orders.start(again, by="me"), caller)
    assert len(caller.calls) == paid
    released = EvalOrder(
        dataset="qa", deployment="support", release=NEW.digest, baseline=job.id, scorers=("exact",)
    )
    caller = FakeCaller(lambda _: "no")
    report = done(desk, desk.orders.start(released, by="me"), caller)
    assert report.a is not None
    assert (report.comparisons[0].worse, report.a.errors) == (COUNT, 0)
    assert {call.target.release for call in caller.calls} == {NEW.digest}
    of_release = desk.orders.start(released, by="me")
    report = done(
        desk, desk.orders.start(order(lines(), baseline=of_release.id), by="me"), FakeCaller(nobody)
    )
    assert report.comparisons[0].better == COUNT


def test_apps_are_in_a_contest(desk: Desk) -> None:
    """Beside releases, each against the same baseline."""
    one = desk.orders.start(order(lines()), by="me").id
    other = desk.orders.start(order(lines(), name="other"), by="me").id
    what = EvalOrder(
        dataset="qa", deployment="support", releases=(one, other, "candidate"), scorers=("exact",)
    )
    caller = FakeCaller(lambda _: "no")
    jobs = desk.orders.start_contest(what, by="me")
    found = [done(desk, job, caller).comparisons[0] for job in jobs]
    assert [each.better for each in found] == [COUNT, COUNT, 0]
    assert len(caller.calls) == 2 * COUNT
    with pytest.raises(WrongCall, match="is named twice"):
        desk.orders.start_contest(msgspec.structs.replace(what, releases=(one, one)), by="me")


def test_two_items_that_ask_the_same_have_answers_of_their_own(desk: Desk) -> None:
    """An app may say other things to other people."""
    twins = [item(each, "same?", part="validation", expected="yes") for each in ("x", "y")]
    Library(desk.store, now).put(dataset("twins", twins))
    said = '{"item": "x", "answer": "yes"}\n{"item": "y", "answer": "no"}\n'
    report = done(desk, desk.orders.start(order(said, dataset="twins"), by="me"), FakeCaller(nobody))
    assert report.comparisons[0].mean_b is not None
    assert report.comparisons[0].mean_b.estimate == 0.5


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"jsonl": lines() + '{"item": "v2", "answer": "x"}\n'},
            r"f.jsonl, line 21: dataset 'qa' has no item 'v2'; did you mean 'v\d+'\?",
        ),
        (
            {"jsonl": lines(v03=None)},
            r"f.jsonl: 1 of the 20 items in the validation part of 'qa' has no line",
        ),
        (
            {"jsonl": lines(v03=None, v04=None)},
            r"have no line \('v03', 'v04'\); write one for each, {\"item\"",
        ),
        ({"jsonl": '{"item": "v00", "answer": "x"}\n'}, r"19 of the .* \('v01', 'v02', 'v03', …\)"),
        (
            {"part": "holdout", "why": "final"},
            r"1 of the 1 item in the holdout part of 'qa' has no line; write",
        ),
        ({"release": "stable", "deployment": "support"}, "a release is named, too; name it as `baseline`"),
        ({"repeats": 2}, "2 repeats, and an app has answered each item once"),
        ({"baseline": "stable"}, "no deployment is named, which leads to a release"),
        ({"baseline": "eval-none", "deployment": "support"}, "no release 'eval-none' is served"),
        ({"gates": ("exact:better",)}, "a gate compares two releases"),
        (
            {"deployment": "support", "scorers": ("latency",), "gates": ("latency:better",)},
            "an app answers at another time than what it is held against; leave the gate on latency out",
        ),
    ],
)
def test_what_cannot_be_judged_keeps_nothing(desk: Desk, given: dict[str, Any], words: str) -> None:
    """No job, and no answer."""
    with pytest.raises(WrongCall, match=words):
        desk.orders.start(order(**{"jsonl": lines(), **given}), by="me")
    assert answers_in(desk) == 0
    assert desk.jobs.list() == ()


def test_an_app_answered_one_part_of_one_dataset(desk: Desk) -> None:
    """As a baseline elsewhere it is refused; answers to other parts of the dataset are passed over."""
    all_of_it = lines() + '{"item": "t", "answer": "no"}\n{"item": "h", "answer": "no"}\n'
    first = desk.orders.start(order(all_of_it), by="me")
    assert answers_in(desk) == COUNT
    with pytest.raises(WrongCall, match=f"in {first.id} the app 'mine' answered the validation part of 'qa'"):
        desk.orders.start(order(all_of_it, name="b", part="train", baseline=first.id), by="me")
    with pytest.raises(WrongCall, match="not the validation part of 'golden'"):
        desk.orders.start(EvalOrder(dataset="golden", release=first.id, scorers=("exact",)), by="me")


def test_the_holdout_opens_for_a_reason(desk: Desk) -> None:
    """An app's answers to it are judged once somebody says why, and that is written down."""
    said = '{"item": "h", "answer": "yes"}\n'
    with pytest.raises(HoldoutLocked, match="say why it is read"):
        desk.orders.start(order(said, part="holdout"), by="me")
    assert answers_in(desk) == 0
    done(desk, desk.orders.start(order(said, part="holdout", why="final"), by="me"), FakeCaller(nobody))
    (reading,) = desk.store.holdout_reads(Library(desk.store, now).find("qa").digest)
    assert (reading.who, reading.why.startswith("final (eval-")) == ("me", True)


def test_items_that_came_later_have_no_answer_of_a_baseline(desk: Desk) -> None:
    """Which says so and asks nobody; what both have is compared."""
    first = desk.orders.start(order(lines()), by="me")
    Library(desk.store, now).put(
        dataset("qa", [*VALID, *REST, item("new", "new?", part="validation", expected="yes")])
    )
    more = lines() + '{"item": "new", "answer": "yes"}\n'
    report = done(
        desk, desk.orders.start(order(more, name="b", baseline=first.id), by="me"), FakeCaller(nobody)
    )
    (exact,) = report.comparisons
    assert (exact.pairs, exact.unscored_a, exact.unscored_b) == (COUNT, 1, 0)
    assert set(exact.causes) == {f"there is no answer: {UNANSWERED}"}


def test_a_person_who_is_forgotten_takes_the_answers_along(desk: Desk) -> None:
    """Those to their items, whether they were there or are handed in later."""
    people = [item(f"p{n}", f"{n} of mine?", part="validation", expected="yes", user="ann") for n in range(3)]
    Library(desk.store, now).put(
        dataset("people", [*people, item("q", "?", part="validation", expected="yes")])
    )
    said = "".join(json.dumps({"item": each, "answer": "yes"}) + "\n" for each in ("p0", "p1", "p2", "q"))
    job = desk.orders.start(order(said, dataset="people"), by="me")
    assert answers_in(desk) == 4
    erasures = SqlErasures(str(desk.store._engine.url))
    erasures.ask("ann", digest="x", at=NOW, by="admin")
    erasures.close()
    desk.orders.start(order(said, name="meanwhile", dataset="people"), by="me")
    assert answers_in(desk) == 5
    desk.store.forget_user("ann")
    assert answers_in(desk) == 2
    report = done(desk, job, FakeCaller(nobody))
    assert (report.items, report.b.answers) == (1, 1)
    with pytest.raises(WrongCall, match="has no item 'p0'"):
        desk.orders.start(order(said, name="late", dataset="people"), by="me")


def test_an_app_that_never_answered_fails_the_job(desk: Desk) -> None:
    """With what it said of the first."""
    said = "".join(json.dumps({"item": each.id, "error": "no model"}) + "\n" for each in VALID)
    job = desk.orders.start(order(said), by="me")
    with pytest.raises(UpstreamFailed, match="app mine answered none of 20 items: the app says: no model"):
        done(desk, job, FakeCaller(nobody))


@pytest.mark.parametrize("part", ["validation", "holdout"])
def test_what_it_would_cost_is_told(desk: Desk, part: str) -> None:
    """A judge's calls and those of the release it is held against; nothing of the app, and none is kept."""
    what = order(
        lines() + '{"item": "h", "answer": "yes"}\n',
        deployment="support",
        scorers=("llm_judge:grader",),
        part=part,
    )
    told = asyncio.run(desk.orders.estimate(what, MemoryRecordLog()))
    items = COUNT if part == "validation" else 1
    assert [(line.who, line.calls) for line in told.lines] == [("a", items), ("judge", 2 * items)]
    assert answers_in(desk) == 0


def test_a_judge_reads_what_the_app_answered(desk: Desk) -> None:
    """So that long answers are told to cost more, before they are kept."""

    def read_by_judge(words: int) -> int:
        long = {each.id: {"item": each.id, "answer": "so " * words} for each in VALID}
        what = order(lines(**long), scorers=("llm_judge:grader",))
        (line,) = asyncio.run(desk.orders.estimate(what, MemoryRecordLog())).lines
        return line.input_tokens

    assert read_by_judge(1_010) - read_by_judge(10) == pytest.approx(1_000 * COUNT, rel=0.1)
