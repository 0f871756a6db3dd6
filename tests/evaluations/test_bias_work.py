"""A probe's job: a planted bias found, none reported where there is none, every call paid for once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.domain.errors import UpstreamFailed
from airboss.evaluations.bias_measures import Finding, Measure
from airboss.evaluations.bias_people import attributes
from airboss.evaluations.bias_plan import ProbeReport, ProbeTask
from airboss.evaluations.bias_work import probe
from airboss.evaluations.ports import Answer, Call, Token
from airboss.store.evals import SqlEvalStore
from airboss.store.job_rows import Job
from tests.evaluations.support import FakeCaller, now, said
from tests.evaluations.test_bias_plan import laid
from tests.evaluations.test_orders import job

ASKED = ("origin:arabic", "age")
NAMES = tuple(each.b["arabic"].first for each in attributes(("origin:arabic",))[0].triples)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlEvalStore]:
    """A store of answers."""
    made = SqlEvalStore(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield made
    made.close()


def work(calls: int = 900, *asked: str, **given: Any) -> Job:
    """A job that probes; two calls at once."""
    task = ProbeTask(plan=laid(calls, *(asked or ASKED), **given), concurrency=2)
    return job("running", kind="probe", spec=msgspec.Raw(msgspec.json.encode(task)))


def text_of(call: Call) -> str:
    """What a call asks."""
    return str(call.input.messages[0]["content"])


def fair(call: Call) -> str:
    """A noisy model that knows nobody: it tosses a coin for each question."""
    heads = hashlib.sha256(text_of(call).encode()).digest()[0] % 2
    if "one word" not in text_of(call):
        return "Thank you." if heads else "Thank you for asking."
    labels = text_of(call).rpartition(": ")[2].rstrip(".").split(" or ")
    return labels[heads]


def biased(call: Call) -> str:
    """As `fair`, but for people of one origin it chooses what is worse for them."""
    if any(f"{name} " in text_of(call) for name in NAMES) and "one word" in text_of(call):
        worse = text_of(call).rpartition(": ")[2].rstrip(".").split(" or ")
        return "yes" if "patrol" in text_of(call) else worse[1]
    return fair(call)


def done(
    store: SqlEvalStore, of: Job, answer: Callable[[Call], Answer | str], seen: list[Any] | None = None
) -> tuple[ProbeReport, FakeCaller]:
    """The job done, and who was called."""
    caller = FakeCaller(answer)

    def report(done: int, total: int, note: str) -> None:
        if seen is not None:
            seen.append((done, total, note))

    return asyncio.run(probe(of, store=store, caller=caller, now=now, report=report)), caller


def of(report: ProbeReport, attribute: str) -> dict[Measure, Finding]:
    """An attribute's findings by measure."""
    return {each.measure: each for each in report.findings if each.attribute == attribute}


def test_a_planted_bias_is_found(store: SqlEvalStore) -> None:
    """In the decisions about the group that it was planted for, and in no other; with examples."""
    seen: list[Any] = []
    report, caller = done(store, work(), biased, seen)
    assert report.conclusion == "found"
    origin = of(report, "origin")["decision"]
    assert (origin.verdict, origin.group) == ("different", "arabic")
    assert origin.mean_b == 0.0
    assert "different" not in {each.verdict for each in of(report, "age").values()}
    shown = [each for each in report.examples if each.attribute == "origin"]
    assert shown
    assert all(each.a != each.b and each.answer_a != each.answer_b for each in shown)
    assert seen[0] == (0, len(caller.calls), "")
    assert seen[-1] == (report.calls, report.calls, f"{report.calls} asked, 0 from before, 0.9 USD")
    assert float(report.cost_usd) == pytest.approx(0.9)


def test_an_unbiased_noisy_model_is_not_accused(store: SqlEvalStore) -> None:
    """Coins for everybody: no difference is shown, and none is claimed to be ruled out in decisions."""
    report, _ = done(store, work(), fair)
    assert report.conclusion == "none_found"
    assert {each.verdict for each in report.findings if each.measure == "decision"} == {"inconclusive"}
    assert report.logprobs == "the deployment gives no log-probabilities of the answers asked for"


def test_a_probe_done_again_asks_nothing(store: SqlEvalStore) -> None:
    """Killed before its end it goes on with what is kept; done again it finds the same and pays nothing."""

    class Killed(Exception):
        """The work ends here."""

    def killed(done: int, _total: int, _note: str) -> None:
        if done >= 100:
            raise Killed

    first = FakeCaller(fair)
    with pytest.raises(Killed):
        asyncio.run(probe(work(), store=store, caller=first, now=now, report=killed))
    assert 100 <= len(first.calls) < 110
    report, second = done(store, work(), fair)
    assert len(first.calls) + len(second.calls) <= report.calls + 2, "more than was in flight was asked twice"
    again, third = done(store, work(), biased)
    assert (again, third.calls) == (report, [])


def test_odds_tell_what_decisions_hide(store: SqlEvalStore) -> None:
    """A model that always says yes, less surely to one group: the log-odds alone show it."""

    def sure(call: Call) -> Answer:
        if not call.params.get("logprobs"):
            return said("Thank you.")
        labels = text_of(call).rpartition(": ")[2].rstrip(".").split(" or ")
        logprob = -1.0 if "aged 6" in text_of(call) or "aged 5" in text_of(call) else -0.5
        token = Token(token=labels[0], logprob=logprob, top={labels[0]: logprob, labels[1]: -2.0})
        return said(labels[0], logprobs=(token,))

    report, _ = done(store, work(600), sure)
    odds = of(report, "age")["log_odds"]
    assert odds.gap is not None
    assert (odds.verdict, round(odds.gap.estimate, 1)) == ("different", -0.5)
    assert report.logprobs is None
    assert of(report, "age")["decision"].verdict in {"inconclusive", "equivalent"}
    assert of(report, "origin")["log_odds"].verdict == "equivalent"


def test_a_deployment_that_refuses_logprobs_is_asked_without(store: SqlEvalStore) -> None:
    """Every question is answered all the same, and the report says why there are no odds."""

    def strict(call: Call) -> Answer | str:
        if "logprobs" in call.params:
            return Answer(error="400: logprobs is not supported with this model")
        return fair(call)

    report, caller = done(store, work(200), strict)
    assert report.errors == 0
    assert report.logprobs is not None
    assert "logprobs is not supported" in report.logprobs
    assert len(caller.calls) <= report.calls + 2, "it was asked for them again and again"
    assert {each.why for each in report.findings if each.measure == "log_odds"} == {report.logprobs}


def test_failed_calls_are_told_and_none_at_all_fails_the_job(store: SqlEvalStore) -> None:
    """Some missing answers are counted; without any there is nothing to report."""

    def flaky(call: Call) -> Answer | str:
        return Answer(error="500: broken") if "Emily" in text_of(call) else fair(call)

    report, _ = done(store, work(200), flaky)
    assert (report.errors > 0, report.first_error) == (True, "500: broken")
    with pytest.raises(UpstreamFailed, match=r"answered none of \d+ calls: 503: away"):
        done(store, work(300, "religion:jewish"), lambda _call: Answer(error="503: away"))
