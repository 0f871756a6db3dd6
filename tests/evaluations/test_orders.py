"""Orders: every word looked up before anything is queued, and the gate of a rollout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from airboss.domain.errors import Unavailable, WrongCall
from airboss.domain.plan import ServingPlan
from airboss.domain.ports import Ledger
from airboss.evaluations.contest import Contest
from airboss.evaluations.datasets import PARTS, HoldoutLocked, Shares, dataset, part_of
from airboss.evaluations.gate import Decision, Finding, Gate
from airboss.evaluations.library import Library
from airboss.evaluations.orders import EvalOrder, EvalOrders, EvalResult, EvalTask, gate_order, gate_outcome
from airboss.evaluations.ports import Target
from airboss.evaluations.scorers.exact import Exact
from airboss.store.evals import SqlEvalStore
from airboss.store.job_rows import Job
from airboss.store.jobs import SqlJobStore
from tests.evaluations.serving import GRADER, NEW, OLD, OTHER, FixedLedger, deployment, plan, standing
from tests.evaluations.support import NOW, item, now

SERVING = plan(deployment("support", OLD), deployment("grader", GRADER), others=(NEW, OTHER))
ITEMS = [item("a", "1", part="train"), item("b", "2", part="validation"), item("c", "3", part="holdout")]


class Desk:
    """Orders, and the stores behind them."""

    def __init__(
        self, folder: Path, serving: ServingPlan | None, *, candidate: bool = True, stands: Any = None
    ) -> None:
        url = f"sqlite:///{folder / 'ledger.db'}"
        self.store, self.jobs = SqlEvalStore(url), SqlJobStore(url)
        Library(self.store, now).put(dataset("golden", ITEMS))
        self.scorers = folder / "scorers"
        self.scorers.mkdir()
        ledger = FixedLedger(serving, stands or standing(NEW if candidate else OLD, OLD))
        self.orders = EvalOrders(
            store=self.store,
            jobs=self.jobs,
            ledger=cast("Ledger", ledger),
            now=now,
            scorers=self.scorers,
        )

    def close(self) -> None:
        """Give back connections."""
        self.store.close()
        self.jobs.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Orders for `support`, whose candidate waits."""
    made = Desk(tmp_path, SERVING)
    yield made
    made.close()


def order(**given: Any) -> EvalOrder:
    """An order with what it must have."""
    fields: dict[str, Any] = {"dataset": "golden", "deployment": "support", "scorers": ("exact",)}
    return msgspec.convert({**fields, **given}, EvalOrder)


def test_an_order_becomes_a_job(desk: Desk) -> None:
    """With the releases' digests, the dataset's digest and the scorers as tables; queued, by who asked."""
    job = desk.orders.start(order(gates=("exact:better",), repeats=2), by="ann")
    assert (job.kind, job.state, job.by) == ("eval", "queued", "ann")
    plan = msgspec.json.decode(job.spec, type=EvalTask).plan
    assert plan.a == Target(deployment="support", release=OLD.digest, name="support")
    assert plan.b == Target(deployment="support", release=NEW.digest, name="support")
    assert (plan.dataset_name, plan.part, plan.scorers, plan.repeats) == (
        "golden",
        "validation",
        (Exact(),),
        2,
    )
    assert plan.dataset == Library(desk.store, now).find("golden").digest


def test_without_a_candidate_the_stable_release_is_scored_alone(tmp_path: Path) -> None:
    """And with a baseline it is held against that."""
    desk = Desk(tmp_path, SERVING, candidate=False)
    plan = desk.orders.plan(order())
    assert (plan.a, plan.b.release) == (None, OLD.digest)
    plan = desk.orders.plan(order(baseline="spare"))
    assert plan.a is not None
    assert (plan.a.release, plan.b.release) == (OTHER.digest, OLD.digest)
    assert desk.orders.plan(order(release="spare", baseline="none")).a is None
    desk.close()


def test_what_is_stable_is_not_guessed_while_that_changes(tmp_path: Path) -> None:
    """What is served now may be gone before it is asked: who means it all the same names it."""
    desk = Desk(tmp_path, SERVING, stands=standing(NEW, NEW))
    for given in ({}, {"release": "candidate"}, {"baseline": "none"}):
        with pytest.raises(Unavailable, match="once its engine is ready"):
            desk.orders.plan(order(**given))
    assert desk.orders.plan(order(release="stable", baseline="none")).b.release == OLD.digest
    desk.close()


def test_judges_are_pinned(desk: Desk) -> None:
    """What a judging deployment serves at the start is what judges to the end."""
    plan = desk.orders.plan(order(scorers=("llm_judge:grader", "pairwise_judge:grader")))
    assert plan.judges == {"grader": Target(deployment="grader", release=GRADER.digest, name="grader")}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dataset": "gold"}, "no dataset is called 'gold'; did you mean 'golden'"),
        ({"deployment": "suport"}, "did you mean 'support'"),
        ({"release": "nothing"}, "no release 'nothing' is served"),
        ({"scorers": ()}, "needs a scorer"),
        ({"scorers": ("exakt",)}, "did you mean 'exact'"),
        ({"scorers": ("exact", "exact")}, "two scorers are called exact"),
        ({"scorers": ("llm_judge:nobody",)}, "no deployment is called 'nobody'"),
        ({"scorers": ("json_schema:/etc/passwd",)}, "send the schema itself"),
        ({"gates": ("exact:bettr",)}, "is no gate"),
        ({"gates": ("latency:better",)}, "the scorers are exact"),
        ({"release": "stable", "baseline": "stable"}, "name two different ones"),
        ({"baseline": "none", "gates": ("exact:better",)}, "name a baseline"),
        ({"baseline": "none", "scorers": ("pairwise_judge:grader",)}, "name a baseline"),
        ({"concurrency": 0}, "0 calls at once"),
        ({"scorers": tuple(f"s{n}=exact" for n in range(51))}, "51 scorers"),
        *(
            (
                {"scorers": ({"kind": "exact", "name": name},)},
                f"a scorer is called '{name[:80]}'; use a letter",
            )
            for name in ("", " ", "a<b", "é", "1st", "n" * 65, "n" * 9_999)
        ),
    ],
)
def test_an_order_that_means_nothing_queues_nothing(desk: Desk, given: dict[str, Any], message: str) -> None:
    """It is refused with what is wrong, before any call is paid for."""
    with pytest.raises(WrongCall, match=message):
        desk.orders.start(order(**given), by="ann")
    assert desk.jobs.list() == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"releases": ()}, "0 releases; name 2 to 8"),
        ({"releases": ("candidate",)}, "1 release; name 2 to 8"),
        ({"releases": ("spare",) * 9}, "9 releases; name 2 to 8"),
        ({"releases": ("spare",) * 999}, "999 releases; name 2 to 8"),
        ({"releases": ("spare", "spare")}, "'spare' is named twice"),
        ({"releases": ("spare", OTHER.digest[:8])}, f"'{OTHER.digest[:8]}' and 'spare' are the same release"),
        ({"releases": ("spare", "stable")}, "'stable' is the baseline"),
        ({"releases": ("spare", "candidate"), "baseline": "spare"}, "'spare' is the baseline"),
        ({"releases": ("spare", "candidate"), "baseline": "none"}, "there is none; name one"),
        ({"releases": ("spare", "spair")}, "no release 'spair' is served.*did you mean 'spare'"),
        ({"releases": ("spare", "candidate"), "release": "spare"}, "both given"),
        ({"releases": ("spare", "candidate"), "alpha": 0.5}, "alpha is 0.5; give"),
        ({"releases": ("spare", "candidate"), "alpha": 0.000_001}, "2 releases share; give 0.000002"),
        ({"releases": ("spare", "candidate"), "scorers": ()}, "needs a scorer"),
        (
            {"releases": ("spare", "candidate"), "scorers": ("fast=latency:9",), "gates": ("fast:better",)},
            "the gate on 'fast': several releases answer at different times",
        ),
    ],
)
def test_releases_that_are_no_contest_queue_nothing(desk: Desk, given: dict[str, Any], message: str) -> None:
    """Each by what is wrong with it, before any of them is queued."""
    with pytest.raises(WrongCall, match=message):
        desk.orders.start_contest(order(**given), by="ann")
    assert desk.jobs.list() == ()


def test_several_releases_are_evaluations_of_one_contest(desk: Desk) -> None:
    """One job each, in the order given, against the same A, at its share of alpha; ids lead to each other."""
    asked = order(releases=("spare", "candidate"), why="x", concurrency=3, gates=("exact:better",))
    jobs = desk.orders.start_contest(asked, by="ann")
    tasks = [msgspec.json.decode(each.spec, type=EvalTask) for each in jobs]
    assert [each.plan.b.release for each in tasks] == [OTHER.digest, NEW.digest]
    assert {each.plan.a.release for each in tasks if each.plan.a is not None} == {OLD.digest}
    assert {(each.plan.alpha, each.concurrency, each.why) for each in tasks} == {(0.025, 3, "x")}
    (contest,) = {each.contest for each in tasks}
    assert isinstance(contest, Contest)
    assert (contest.size, contest.alpha, contest.evals()) == (2, 0.05, tuple(each.id for each in jobs))
    claimed = [desk.jobs.claim(str(n), NOW, 10.0) for n in range(2)]
    assert [each.id for each in claimed if each is not None] == [each.id for each in jobs]


def test_one_release_is_queued_as_ever(desk: Desk) -> None:
    """What the ledger keeps of it says nothing of contests."""
    spec = bytes(desk.orders.start(order(release="spare"), by="ann").spec)
    assert b"contest" not in spec
    assert b"contest" not in msgspec.json.encode(EvalResult(run="r", items=1, decision=None))
    assert b"ms_" not in msgspec.json.encode(EvalResult(run="r", items=1, decision=None))


def test_nothing_served(tmp_path: Path) -> None:
    """Before the first configuration there is nothing to evaluate."""
    desk = Desk(tmp_path, None)
    with pytest.raises(WrongCall, match="nothing is served yet"):
        desk.orders.plan(order())
    desk.close()


def test_a_part_that_is_too_small_is_said(desk: Desk) -> None:
    """The job has it, and so has the refusal of a part that is empty."""
    drawn = [item(str(at), "yes", group="ann", user="ann") for at in range(6)]
    full = part_of(drawn[0], Shares())
    Library(desk.store, now).put(dataset("anns", drawn))
    job = desk.orders.start(order(dataset="anns", part=full, why="to see"), by="ann")
    (words,) = msgspec.json.decode(job.spec, type=EvalTask).uneven
    assert words.startswith(f"{full}: 6 items of 1 user, asked for ")
    empty = next(part for part in PARTS if part != full)
    with pytest.raises(
        WrongCall, match=rf"is empty; its parts: .*; {empty}: 0 items, asked for .*--group-by"
    ):
        desk.orders.start(order(dataset="anns", part=empty, why="to see"), by="ann")
    even = desk.orders.start(order(), by="ann")
    assert msgspec.json.decode(even.spec, type=EvalTask).uneven == (), "pinned by hand"


def test_the_holdout_wants_a_reason(desk: Desk) -> None:
    """Without one the order is refused, and nobody has read it; an empty part is said."""
    for why in (None, " "):
        with pytest.raises(HoldoutLocked, match="say why"):
            desk.orders.plan(order(part="holdout", why=why))
    plan = desk.orders.plan(order(part="holdout", why="the last word"))
    assert plan.part == "holdout"
    assert desk.store.holdout_reads(plan.dataset) == ()
    Library(desk.store, now).put(dataset("small", ITEMS[:1]))
    with pytest.raises(WrongCall, match="validation part of dataset 'small' is empty"):
        desk.orders.plan(order(dataset="small"))


def test_python_runs_only_from_its_folder(desk: Desk, tmp_path: Path) -> None:
    """A function is loaded from where the machine's owner put it: no other file, and no module."""
    code = "def score(item, answer):\n    return True\n"
    (tmp_path / "outside.py").write_text(code)
    (desk.scorers / "tone.py").write_text(code)
    (desk.scorers / "link.py").symlink_to(tmp_path / "outside.py")
    assert desk.orders.plan(order(scorers=("python:tone.py:score",)))
    for function in ("../outside.py:score", f"{tmp_path}/outside.py:score", "link.py:score", "os:system"):
        with pytest.raises(WrongCall, match="on the machine that Airboss runs on"):
            desk.orders.plan(order(scorers=(f"python:{function}",)))
    with pytest.raises(WrongCall, match="cannot be loaded"):
        desk.orders.plan(order(scorers=("python:tone.py:nothing",)))


def test_a_gate_becomes_an_order(desk: Desk) -> None:
    """A margin asks for no harm, none for a gain; the scorer keeps its name."""
    given: dict[str, Any] = {
        "deployment": "support",
        "release": NEW.digest,
        "baseline": OLD.digest,
        "dataset": "golden",
    }
    plan = desk.orders.plan(gate_order(**given, scorer="exact", margin=0.02))
    assert plan.gates == (Gate(metric="exact", rule="non-inferior", margin=0.02),)
    plan = desk.orders.plan(gate_order(**given, scorer={"kind": "contains", "name": "polite"}, margin=0.0))
    assert plan.gates == (Gate(metric="polite", rule="better"),)
    assert (plan.part, plan.b.release) == ("validation", NEW.digest)


def job(state: str, **given: Any) -> Job:
    """A job that stands there."""
    fields: dict[str, Any] = {
        "id": "eval-1",
        "kind": "eval",
        "spec": msgspec.Raw(b"{}"),
        "state": state,
        "done": 0,
        "total": 0,
        "note": "",
        "result": None,
        "error": None,
        "created_at": NOW,
        "updated_at": NOW,
        "by": "ann",
    }
    return Job(**{**fields, **given})


def test_what_a_gate_says() -> None:
    """It waits until the job is done; a job that failed is no verdict on the release."""
    gate = Gate(metric="exact", rule="better")
    decision = Decision(
        conclusion="fail", alpha=0.05, findings=(Finding(gate=gate, conclusion="fail", reason="it is worse"),)
    )
    done = EvalResult(run="eval-1", items=3, decision=decision)
    none = msgspec.structs.replace(done, decision=None)
    assert gate_outcome(job("queued")) == ("waiting", "queued")
    assert gate_outcome(job("running", note="3 asked")) == ("waiting", "3 asked")
    assert gate_outcome(job("failed", error="no answer")) == ("broken", "no answer")
    assert gate_outcome(job("cancelled"))[0] == "broken"
    assert gate_outcome(job("done", result=msgspec.Raw(msgspec.json.encode(done)))) == ("fail", "it is worse")
    assert gate_outcome(job("done", result=msgspec.Raw(msgspec.json.encode(none))))[0] == "broken"
