"""How often a probe of bias errs, and what it finds: `python -m benchmarks.bias [--runs 1000] [--seed 1]`.

Simulated models answer the questions that a real probe asks, of the people it asks about, and their answers
go through the statistics that a real probe uses.

Claims: of a model to which the attribute is nothing, however much names move it, a difference is shown in at
most alpha of all probes, over every group and measure together; a difference at the margin is called
equivalent in about alpha of all tests; and a planted difference is found.
"""

from __future__ import annotations

import argparse
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.stats import keep, machine, table
from rich.progress import Progress

from airboss.evaluations.bias_measures import MARGINS, MEASURES, Contrast, Finding, Reading, Trial, findings
from airboss.evaluations.bias_people import attributes
from airboss.evaluations.bias_plan import Asked, ProbePlan, Question, laid_out
from airboss.evaluations.bias_prompts import own_prompts
from airboss.evaluations.intervals import wilson_interval
from airboss.evaluations.ports import Target

ALPHA = 0.05
DRAWS = 1_000
"""Of a drawn test: it is valid for any number, and fewer are faster."""


@dataclass(frozen=True)
class Model:
    """A simulated model. It is moved by the question, by first names (`names`, a standard deviation in
    log-odds), by chance (`noise`), and by the group of a person: always by `shift`, and by `swing` up in one
    question and down in another. It refuses `refusals` of all calls, more often by `shift_refusal`."""

    names: float = 0.0
    noise: float = 0.5
    shift: float = 0.0
    swing: float = 0.0
    refusals: float = 0.03
    shift_refusal: float = 0.0


def plan(asked: Sequence[str], questions: int, seed: int) -> ProbePlan:
    """So many of the project's own questions for each attribute."""
    chosen = attributes(asked)
    return ProbePlan(
        target=Target(deployment="simulated", release="simulated"),
        prompts=own_prompts(),
        attributes=chosen,
        questions=dict.fromkeys((each.name for each in chosen), questions),
        margins=dict(MARGINS),
        alpha=ALPHA,
        seed=seed,
    )


def contrasts(laid: ProbePlan, model: Model, seed: int, *, alone: bool = False) -> list[Contrast]:
    """One probe of a model: every group of the plan against its reference. `alone` counts each question by
    itself, whatever hangs together."""
    rng = random.Random(f"model {seed}")
    questions = laid_out(laid)
    levels = {each.prompt: rng.gauss(0, 1) for each in questions}
    names: dict[str, float] = {}

    def answer(asked: Asked, prompt: str, effect: float) -> Reading:
        moved = names.setdefault(asked.person.first, rng.gauss(0, 1)) * model.names
        odds = levels[prompt] + moved + effect + rng.gauss(0, model.noise)
        declined = rng.random() < model.refusals + (model.shift_refusal if effect else 0.0)
        if not asked.labels:
            return Reading(declined=declined, chars=round(math.exp(5 + 0.1 * odds + rng.gauss(0, 0.2))))
        if declined:
            return Reading(declined=True, log_odds=odds)
        return Reading(favourable=odds > 0, log_odds=odds)

    def trial(number: int, each: Question, group: str) -> Trial:
        sign = 1 if hash_of(each.prompt, seed) else -1
        return Trial(
            unit=number if alone else each.unit,
            base=answer(each.base, each.prompt, 0.0),
            a=answer(each.a, each.prompt, 0.0),
            b=answer(each.b[group], each.prompt, model.shift + sign * model.swing),
        )

    return [
        Contrast(
            attribute=attribute.name,
            reference=attribute.reference,
            group=group,
            trials=tuple(
                trial(number, each, group)
                for number, each in enumerate(questions)
                if each.attribute == attribute.name
            ),
        )
        for attribute in laid.attributes
        for group in attribute.groups
    ]


def hash_of(text: str, seed: int) -> bool:
    """A coin that falls the same way for the same text and seed."""
    return random.Random(f"{seed} {text}").random() < 0.5


def judged(found: Sequence[Contrast], seed: int) -> tuple[Finding, ...]:
    """What a probe would say."""
    return findings(found, margins=MARGINS, alpha=ALPHA, seed=seed, draws=DRAWS)


def share(hits: int, runs: int) -> str:
    """A share of runs in per cent with its 95% interval."""
    found = wilson_interval(hits, runs)
    return f"{found.estimate:.1%} [{found.low:.1%}, {found.high:.1%}]"


EVERYTHING = ("origin:arabic,chinese", "gender", "age", "religion:muslim")
NULLS: Mapping[str, Model] = {
    "nothing but chance": Model(),
    "names matter (sd 0.5)": Model(names=0.5),
    "names matter much (sd 1.5)": Model(names=1.5),
}
PLANTED: Mapping[str, Model] = {
    "odds lower by 0.5": Model(names=0.5, shift=-0.5),
    "odds lower by 1": Model(names=0.5, shift=-1.0),
    "up and down by 2": Model(names=0.5, swing=2.0),
    "15 points more refusals": Model(names=0.5, shift=-1e-9, shift_refusal=0.15),
}


def null_row(name: str, runs: int, questions: int, seed: int) -> dict[str, Any]:
    """How often anything is shown of a model to which the attributes are nothing."""
    model = NULLS[name]
    hits: Counter[str] = Counter()
    for run in range(seed, seed + runs):
        laid = plan(EVERYTHING, questions, run)
        said = judged(contrasts(laid, model, run), run)
        hits["as it is"] += any(each.verdict == "different" for each in said)
        hits["uncorrected"] += any((each.p_value or 1.0) <= ALPHA for each in said)
        alone = judged(contrasts(laid, model, run, alone=True), run)
        hits["alone"] += any(each.verdict == "different" for each in alone)
    return {
        "model": name,
        "questions": questions,
        "a difference is shown": share(hits["as it is"], runs),
        "questions counted singly": share(hits["alone"], runs),
        "without Holm": share(hits["uncorrected"], runs),
    }


def power_row(name: str, runs: int, questions: int, seed: int) -> dict[str, Any]:
    """How often a planted difference is found, by measure, with names of one origin against another's."""
    hits: Counter[str] = Counter()
    for run in range(seed, seed + runs):
        said = judged(contrasts(plan(("origin:arabic",), questions, run), PLANTED[name], run), run)
        shown = [each.measure for each in said if each.verdict == "different"]
        hits.update(shown)
        hits["found"] += bool(shown)
    return {
        "planted": name,
        "questions": questions,
        "calls": 3 * questions,
        "found": share(hits["found"], runs),
        **{measure: f"{hits[measure] / runs:.0%}" for measure in MEASURES},
    }


def at_margin(pairs: int, seed: int) -> Contrast:
    """Every measure apart by just its margin; triples of names with effects of their own."""
    rng = random.Random(f"margin {seed}")
    effects = [rng.gauss(0, 0.3) for _ in range(20)]

    def trial(number: int) -> Trial:
        unit, drawn = number % len(effects), rng.random()
        # In 13 of a hundred a alone has the yes, in 8 b alone; base agrees with a nine times in ten.
        a, b = (True, False) if drawn < 0.13 else (False, True) if drawn < 0.21 else (drawn < 0.6,) * 2
        base = a if rng.random() < 0.9 else not a
        refused = rng.random()
        declined_a, declined_b = refused < 0.02, 0.02 <= refused < 0.09
        odds, chars = rng.gauss(0, 0.5), rng.gauss(5, 0.3)
        sides = [
            Reading(
                favourable=favourable,
                declined=declined,
                log_odds=odds + rng.gauss(0, 0.3) + shift * MARGINS["log_odds"] + shift * effects[unit],
                chars=round(math.exp(chars + rng.gauss(0, 0.1) + shift * MARGINS["length"])),
            )
            for favourable, declined, shift in ((base, False, 0), (a, declined_a, 0), (b, declined_b, 1))
        ]
        return Trial(unit=unit, base=sides[0], a=sides[1], b=sides[2])

    trials = tuple(trial(number) for number in range(pairs))
    return Contrast(attribute="origin", reference="english", group="arabic", trials=trials)


def margin_row(runs: int, pairs: int, seed: int) -> dict[str, Any]:
    """How often a difference at the margin is called equivalent, by measure."""
    hits: Counter[str] = Counter()
    for run in range(seed, seed + runs):
        said = judged([at_margin(pairs, run)], run)
        hits.update(each.measure for each in said if each.verdict == "equivalent")
    shown = [each for each in MEASURES if each != "flips"]
    return {"questions": pairs, **{measure: share(hits[measure], runs) for measure in shown}}


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, print the tables, keep the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    runs, seed = options.runs, options.seed
    jobs = [(null_row, (name, runs, 60, seed)) for name in NULLS]
    jobs += [(power_row, (name, runs, questions, seed)) for name in PLANTED for questions in (60, 200)]
    tables: dict[str, list[dict[str, Any]]] = {"nothing to find": [], "planted": [], "at the margin": []}
    with Progress(transient=True) as progress:
        task = progress.add_task("probes of bias", total=len(jobs) + 2)
        for make, given in jobs:
            tables["nothing to find" if make is null_row else "planted"].append(make(*given))
            progress.advance(task)
        for pairs in (100, 400):
            tables["at the margin"].append(margin_row(runs, pairs, seed))
            progress.advance(task)
    print(f"probes of bias, {runs} simulated a row, alpha {ALPHA}; {machine()['cpu']}")
    for title, rows in tables.items():
        print(f"\n{title}\n{table(rows)}")
    keep("bias", {"runs": runs, "seed": seed, "tables": tables})


if __name__ == "__main__":
    main()
