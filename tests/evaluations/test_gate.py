"""Gates: what passes, what fails, and what is not shown."""

from __future__ import annotations

import pytest

from airboss.domain.errors import WrongCall
from airboss.evaluations.compare import Comparison, Metric, Observed, compare
from airboss.evaluations.gate import Decision, Gate, decide, read_gate
from airboss.evaluations.marks import scored, unscored
from tests.evaluations.test_compare import GRADE, TIME, YES, pairs


def shown(metric: Metric, observed: list[Observed]) -> Comparison:
    """The comparison that a gate is held against."""
    return compare(metric, observed, alpha=0.05, seed=0)


def answers(both: int, only_b: int, only_a: int) -> Comparison:
    """A comparison of so many items with a yes of both, of B alone and of A alone."""
    marks = [(True, True)] * both + [(False, True)] * only_b + [(True, False)] * only_a
    return shown(YES, pairs(*marks))


def decided(gate: str, comparison: Comparison) -> Decision:
    """What one gate makes of one comparison."""
    return decide([read_gate(gate)], [comparison], alpha=0.05)


@pytest.mark.parametrize(
    ("gate", "both", "only_b", "only_a", "conclusion"),
    [
        ("exact:better", 50, 12, 2, "pass"),
        ("exact:better", 50, 2, 12, "fail"),
        ("exact:better", 60, 3, 1, "inconclusive"),
        ("exact:better", 60, 0, 0, "inconclusive"),
        ("exact:better", 0, 6, 0, "pass"),
        ("exact:non-inferior:0.05", 300, 3, 3, "pass"),
        ("exact:non-inferior:0.05", 60, 3, 3, "inconclusive"),
        ("exact:non-inferior:0.05", 60, 1, 30, "fail"),
        ("exact:non-inferior:0.05", 19, 0, 0, "inconclusive"),
        ("exact:non-inferior:0.2", 40, 0, 0, "pass"),
    ],
)
def test_gates(gate: str, both: int, only_b: int, only_a: int, conclusion: str) -> None:
    """`better` asks the exact test, `non-inferior` the interval; what neither shows is no pass."""
    found = decided(gate, answers(both, only_b, only_a))
    assert found.conclusion == conclusion
    assert found.passed is (conclusion == "pass")


def test_reasons_give_the_numbers() -> None:
    """A person can read what was found and what would help."""
    (finding,) = decided("exact:better", answers(50, 12, 2)).findings
    assert finding.reason.startswith("exact: B - A = 0.1562 (")
    assert "over 64 units, better: p = 0.0129 (mcnemar-exact)" in finding.reason
    (finding,) = decided("exact:better", answers(60, 3, 1)).findings
    assert "with 80% probability" in finding.reason


def test_less_is_better_where_it_is() -> None:
    """A faster B is better, a slower one within the margin is not inferior, in milliseconds."""
    faster = shown(TIME, pairs(*[(100.0 + each, 90.0 + each % 3) for each in range(30)]))
    assert decided("latency:better", faster).passed
    slower = shown(TIME, pairs(*[(100.0 + each % 3, 104.0 + each % 2) for each in range(30)]))
    assert decided("latency:non-inferior:10", slower).passed
    assert decided("latency:non-inferior:2", slower).conclusion == "fail"
    assert decided("latency:better", slower).conclusion == "fail"


def test_too_much_unscored_is_inconclusive() -> None:
    """A release that fails on the hard items does not pass by the rest, however good that looks."""
    good = pairs(*[(False, True)] * 30)
    lost = [
        Observed(item=f"x{each}", unit=f"item x{each}", a=(scored(True),), b=(unscored("500: no"),))
        for each in range(3)
    ]
    found = decided("exact:better", shown(YES, good + lost))
    assert found.conclusion == "inconclusive"
    assert "3 of 33 items lack a score on one side (A 0, B 3)" in found.findings[0].reason
    assert "500: no" in found.findings[0].reason
    assert decided("exact:better", shown(YES, good + lost[:1])).passed


def test_many_small_gains_do_not_hide_one_great_loss() -> None:
    """Sixty small gains differ by the exact test, but are no better mean: the next item may lose all."""
    found = shown(GRADE, pairs(*[(0.5, 0.52)] * 60))
    assert found.test is not None
    assert found.test.p_value < 0.001
    assert decided("grade:better", found).conclusion == "inconclusive"
    assert decided("grade:better", shown(GRADE, pairs(*[(0.3, 0.8)] * 60))).passed
    assert decided("grade:better", shown(GRADE, pairs(*[(0.8, 0.3)] * 60))).conclusion == "fail"


def test_labels_and_nothing_at_all_are_inconclusive() -> None:
    """What cannot be compared cannot pass."""
    tone = shown(Metric(name="tone"), pairs(("a", "b")))
    assert "labels" in decided("tone:better", tone).findings[0].reason
    lone = shown(TIME, pairs((1.0, 2.0)))
    assert "too few" in decided("latency:better", lone).findings[0].reason
    assert decided("exact:better", shown(YES, [])).conclusion == "inconclusive"


def test_all_gates_must_pass() -> None:
    """One failure fails, one doubt leaves it open, and without a doubt it passes."""
    good, bad, open_ = answers(300, 12, 2), answers(50, 2, 12), answers(60, 3, 1)
    by_name = [
        Comparison(**{**{f: getattr(each, f) for f in each.__struct_fields__}, "metric": Metric(name=name)})
        for name, each in (("good", good), ("bad", bad), ("open", open_))
    ]

    def conclusion(*gates: str) -> str:
        return decide([read_gate(gate) for gate in gates], by_name, alpha=0.05).conclusion

    assert conclusion("good:better", "good:non-inferior:0.1") == "pass"
    assert conclusion("good:better", "open:better") == "inconclusive"
    assert conclusion("open:better", "bad:better", "good:better") == "fail"


@pytest.mark.parametrize(
    "text",
    ["exact", "exact:best", ":better", "exact:better:0.1", "exact:non-inferior", "exact:non-inferior:-1",
     "exact:non-inferior:much", "exact:non-inferior:inf", "exact:non-inferior:nan"],
)  # fmt: skip
def test_what_is_no_gate_is_refused(text: str) -> None:
    """With how it is written, or what is wrong with its margin."""
    with pytest.raises(WrongCall, match="gate"):
        read_gate(text)


def test_a_gate_needs_its_scorer() -> None:
    """The nearest one is named."""
    assert read_gate("exact:non-inferior:0.02") == Gate(metric="exact", rule="non-inferior", margin=0.02)
    with pytest.raises(WrongCall, match=r"'exakt'.*did you mean 'exact'"):
        decided("exakt:better", answers(1, 0, 0))
