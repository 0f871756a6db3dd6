"""Probes of bias on pages: what was asked about whom, and which answers differ."""

from __future__ import annotations

import msgspec

from airboss.console import api_probe
from airboss.console.desk import Desk
from airboss.console.fleet import release_names
from airboss.console.forest import Forest, forest
from airboss.console.page import Page, View, asking
from airboss.console.render import Visit
from airboss.console.text import NB
from airboss.console.views_quality import cancelling
from airboss.console.views_tuning import MINUS, served
from airboss.evaluations.bias_measures import MEASURES, SHARES, Finding, Measure, Verdict
from airboss.evaluations.bias_plan import Conclusion, ProbeReport

LISTED = 100
MEASURED: dict[Measure, str] = {
    "decision": "share of answers that are the better one for the person",
    "flips": "how much oftener the decision changes than for another of the same group",
    "refusal": "share of answers that decline",
    "length": "length of free answers, as a logarithm: 0.1 is about 10 %",
    "log_odds": "log-odds of the better answer, at the token that decides",
}
LOOKS: dict[Verdict, str] = {
    "different": "bad",
    "equivalent": "ok",
    "inconclusive": "open",
    "unmeasured": "open",
}
CONCLUSIONS: dict[Conclusion, tuple[str, str, str]] = {
    "found": ("bad", "A difference is shown", "People who differ in one thing alone are answered otherwise."),
    "equivalent": (
        "ok",
        "No difference matters",
        "Every difference that was measured lies within its margin.",
    ),
    "none_found": (
        "warn",
        "No difference is shown",
        "That is not to say that there is none: not every one is shown to lie within its margin.",
    ),
}
"""How a conclusion looks, its headline, and what it means."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A finding in words."""

    finding: Finding
    look: str
    a: str | None
    b: str | None
    gap: str | None


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """The forest of one measure, with the words of its rows and ticks."""

    forest: Forest
    measured: str
    margin: str
    looks: tuple[str, ...]
    notes: tuple[str, ...]
    ticks: tuple[str, ...]


def probes(desk: Desk, seen: Visit) -> View:
    """Every probe, the newest first."""
    found = api_probe.probes(desk, asking(seen, limit=str(LISTED)))
    return View(
        "probes.html",
        probes=found.probes,
        names=release_names(desk),
        served=served(desk),
        conclusions=CONCLUSIONS,
    )


def probe(desk: Desk, seen: Visit) -> View:
    """One probe, over or not."""
    found = api_probe.show_probe(desk, asking(seen))
    b, report = found.summary, found.report
    return View(
        "probe.html",
        b=b,
        report=report,
        names=release_names(desk),
        served=served(desk),
        conclusion=CONCLUSIONS[report.conclusion] if report is not None else None,
        forests=forests(report) if report is not None else (),
        rows=[row(each) for each in report.findings] if report is not None else (),
        unmeasured=unmeasured(report) if report is not None else {},
        doing=cancelling(b.id, b.state),
    )


def unmeasured(report: ProbeReport) -> dict[str, str]:
    """The measures of which no difference could be told, each with the cause for the first."""
    told = {each.measure for each in report.findings if each.verdict != "unmeasured"}
    left = {each.measure: each.why or "" for each in reversed(report.findings) if each.measure not in told}
    return {measure.replace("_", " "): left[measure] for measure in MEASURES if measure in left}


def forests(report: ProbeReport) -> tuple[Drawn, ...]:
    """A picture for each measure that has an interval."""
    found = []
    for measure in MEASURES:
        rows = [each for each in report.findings if each.measure == measure and each.gap is not None]
        made = forest(rows, measure)
        if made is None:
            continue
        found.append(
            Drawn(
                forest=made,
                measured=MEASURED[measure],
                margin=difference(measure, rows[0].margin).removeprefix("+"),
                looks=tuple(LOOKS[each.verdict] for each in rows),
                notes=tuple(f"n {each.units:,}" for each in rows),
                ticks=tuple(difference(measure, tick.value).removesuffix(f"{NB}pp") for tick in made.ticks),
            )
        )
    return tuple(found)


def row(found: Finding) -> Row:
    """One finding."""
    gap, measure = found.gap, found.measure
    words = None
    if gap is not None:
        ends = f"{difference(measure, gap.low)} to {difference(measure, gap.high)}"
        words = f"{difference(measure, gap.estimate)} ({ends})"
    return Row(
        finding=found,
        look={"bad": "bad", "ok": "ok"}.get(LOOKS[found.verdict], "none"),
        a=amount(measure, found.mean_a) if found.mean_a is not None else None,
        b=amount(measure, found.mean_b) if found.mean_b is not None else None,
        gap=words,
    )


def amount(measure: Measure, number: float) -> str:
    """A mean in its unit."""
    return f"{100 * number:.3g}{NB}%" if measure in SHARES else f"{number:.3g}".replace("-", MINUS)


def difference(measure: Measure, number: float) -> str:
    """A difference with its sign; of shares in percentage points."""
    if number == 0:
        return "0"
    text = f"{100 * number:+.3g}{NB}pp" if measure in SHARES else f"{number:+.3g}"
    return text.replace("-", MINUS)


PAGES: tuple[Page, ...] = (
    Page(
        path="/quality/bias",
        draw=probes,
        role="viewer",
        room="quality",
        tab="Bias",
        docs="how-to#look-for-bias",
    ),
    Page(
        path="/quality/bias/{id}",
        draw=probe,
        role="reader",
        room="quality",
        under="/quality/bias",
        docs="bias#what-is-measured",
    ),
)
"""The pages of this module."""
