"""How often a probe of bias errs and what it finds, simulated with a seed; `python -m benchmarks.bias` does
more of it."""

from __future__ import annotations

from benchmarks.bias import NULLS, PLANTED, at_margin, contrasts, judged, plan

RUNS = 40
SEED = 20261124
GROUPS = ("origin:arabic", "gender", "religion:muslim")


def test_an_unbiased_model_is_seldom_accused() -> None:
    """Names that matter much, but no attribute: a difference is shown in at most 5% of probes (of 40 at most
    6 but for a chance of 1%), while questions counted singly go wrong far more often."""
    accused = singly = 0
    for seed in range(SEED, SEED + RUNS):
        laid = plan(GROUPS, 80, seed)
        for alone in (False, True):
            said = judged(contrasts(laid, NULLS["names matter much (sd 1.5)"], seed, alone=alone), seed)
            shown = any(each.verdict == "different" for each in said)
            singly += shown and alone
            accused += shown and not alone
    assert accused <= 6, f"{accused} of {RUNS}, seed {SEED}"
    assert singly > 8, f"{singly} of {RUNS}, seed {SEED}"


def test_a_biased_model_is_found() -> None:
    """Odds lower by 1 for one origin are found by 80 questions; what goes up and down, by flips."""
    for name, measure in (("odds lower by 1", "log_odds"), ("up and down by 2", "flips")):
        hits = 0
        for seed in range(SEED, SEED + 20):
            said = judged(contrasts(plan(("origin:arabic",), 120, seed), PLANTED[name], seed), seed)
            hits += any(each.verdict == "different" and each.measure == measure for each in said)
        assert hits >= (18 if measure == "log_odds" else 6), f"{name}: {hits} of 20, seed {SEED}"


def test_a_difference_at_the_margin_is_seldom_equivalent() -> None:
    """Each measure apart by its margin is called equivalent in about 5% (of 60 at most 8 but for a chance
    of 1%)."""
    hits: dict[str, int] = {}
    for seed in range(SEED, SEED + 60):
        for each in judged([at_margin(100, seed)], seed):
            if each.measure != "flips":
                hits[each.measure] = hits.get(each.measure, 0) + (each.verdict == "equivalent")
    assert max(hits.values()) <= 8, f"{hits}, seed {SEED}"
