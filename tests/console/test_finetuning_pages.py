"""Fine-tunings on pages: what was trained and judged, and that nothing is claimed before it is."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.console.loss_curve import DOTS_MAX, loss_curve
from airboss.evaluations.ports import Target
from airboss.evaluations.scorers.exact import Exact
from airboss.releases.build import sealed
from airboss.store.jobs import SqlJobStore
from airboss.tuning.acceptance import Judgement
from airboss.tuning.finetune_plan import KIND, FinetuneResult, FinetuneTask, Learned, Place
from airboss.tuning.ports import Loss, Trained
from tests.console.looped import pressed
from tests.console.site import NOW, Site
from tests.console.test_pages import hrefs, shown
from tests.console.test_tuning_pages import BASE, HOSTILE, MODEL, interval, safe

NEW = sealed(
    msgspec.structs.replace(
        BASE, name="base-finetuned", model=msgspec.structs.replace(MODEL, model=f"ft:up:1{HOSTILE}")
    )
)
LOSSES = tuple(Loss(step=step, training=2.0 / step, validation=2.2 / step) for step in range(1, 11))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A console with jobs of its own."""
    made = Site(jobs=SqlJobStore(f"sqlite:///{tmp_path / 'ledger.db'}"))
    yield made
    made.jobs.close()


def result(
    *, losses: tuple[Loss, ...] = LOSSES, left: tuple[str, ...] = (), **changes: Any
) -> FinetuneResult:
    """A fine-tuning that made something better."""
    judged = Judgement(
        better=True,
        reason="better",
        alpha=0.05,
        items=120,
        shown=1,
        run="run-1",
        reads_before=1,
        before=interval(0.4, 0.5, 0.6),
        after=interval(0.8, 0.88, 0.94),
        gain=interval(0.25, 0.38, 0.5),
        p_value=0.00001,
    )
    fields: dict[str, Any] = {
        "better": True,
        "reason": f"the gain is above 0 {HOSTILE}",
        "deployment": "support",
        "dataset": "orders",
        "base": Target(deployment="support", release=BASE.digest, name="base"),
        "release": NEW,
        "proposed": "base-finetuned",
        "unproposed": None,
        "learned": Learned(
            release=NEW,
            trained=Trained(
                fields={"model": NEW.model.model}, losses=losses, trained_tokens=12_345, left_behind=left
            ),
            examples=250,
            validation=40,
            left_out=3,
            unfit=1,
        ),
        "judgement": judged,
        "calls": 240,
        "cost_usd": Decimal("0.02"),
        "cost_unknown": 120,
        "epochs": 3,
        "seed": 0,
    }
    return FinetuneResult(**(fields | changes))


def asked(site: Site) -> str:
    """A fine-tuning that waits; returns its id."""
    task = FinetuneTask(
        deployment="support",
        dataset="d" * 64,
        dataset_name="orders",
        base=BASE,
        target=Target(deployment="support", release=BASE.digest, name=HOSTILE),
        place=Place(provider="fake", kind="openai-compatible", base_url="http://x/v1"),
        scorer=Exact(),
        name="base-finetuned",
        people=True,
    )
    job_id: str = site.jobs.add(KIND, task, "ada", NOW).id
    return job_id


def done(site: Site, **changes: Any) -> str:
    """A fine-tuning that is over; returns its id."""
    job_id = asked(site)
    site.jobs.claim("me", NOW, 10.0)
    site.jobs.finish(job_id, "me", result(**changes), NOW)
    return job_id


def test_a_fine_tuning_tells_what_came_of_it(site: Site) -> None:
    """The reason, the gain, the loss curve with both courses, the new model, and how to go on; Tuning has it
    in a tab, and so have jobs a link."""
    job_id = done(site)
    person = site.person()
    assert "/finetuning" in hrefs(shown(person, "/tuning"))
    assert f"/finetuning/{job_id}" in hrefs(safe(shown(person, "/finetuning")))
    assert f"/finetuning/{job_id}" in hrefs(shown(person, "/jobs"))
    page = safe(shown(person, f"/finetuning/{job_id}"))
    text = page.text.replace("\u00a0", " ")
    for words in ("Better", "+0.38 (+0.25 to +0.5)", "250", "3 items of people left out", "ft:up:1"):
        assert words in text, words
    assert "training: 2.000 to 0.200" in text
    assert "validation: 2.200 to 0.220" in text
    assert "with what came from people" in text
    assert "No price of it is known" in text
    assert "airboss rollout start support --release base-finetuned" in text
    assert "/deployments/support/rollout/start" in page.values("action")
    assert NEW.digest in page.values("value")
    assert len([each for tag, each in page.tags if tag == "polyline"]) == 2
    for href in hrefs(page):
        assert person.get(href).status_code in {200, 303} or href.startswith("#"), href


def test_one_that_is_no_better_says_so(site: Site) -> None:
    """No button, no curve where none was told; what stays at the provider is named."""
    changes = {"better": False, "proposed": None, "losses": (), "left": ("file-9",)}
    page = shown(site.person(), f"/finetuning/{done(site, **changes)}")
    assert "Not shown to be better" in page.text
    assert "told of no losses" in page.text
    assert "file-9" in page.text
    assert "it stays at the provider" in page.text
    assert not [each for each in page.values("action") if "rollout" in each]


def test_one_that_waits_claims_nothing(site: Site) -> None:
    """It can be cancelled, and says so after."""
    job_id = asked(site)
    person = site.person()
    page = safe(shown(person, f"/finetuning/{job_id}"))
    assert "Gain on the holdout" not in page.text
    assert pressed(person, f"/jobs/{job_id}/cancel", back=f"/finetuning/{job_id}", job=job_id).is_redirect
    assert "It was cancelled" in shown(person, f"/finetuning/{job_id}").text
    assert person.get("/finetuning/none").status_code == 404


def test_no_fine_tuning_teaches(site: Site) -> None:
    """One sentence, one command."""
    page = shown(site.person(), "/finetuning")
    assert "airboss finetune run" in page.text
    assert "teach" in page.values("class")


def test_the_curve_stands_on_a_whole_axis() -> None:
    """Losses from 0, steps from the first to the last; what one part lacks is no point; one step stands in
    the middle; of many steps only the line is drawn."""
    assert loss_curve(()) is None
    assert loss_curve([Loss(step=1)]) is None
    found = loss_curve(
        [Loss(step=10, training=4.0), Loss(step=20, validation=1.0), Loss(step=30, training=2.0)]
    )
    assert found is not None
    assert found.high == 4.0
    training, validation = found.courses
    assert [(each.x, each.y) for each in training.points] == [(0.0, 0.0), (100.0, 50.0)]
    assert [(each.x, each.y) for each in validation.points] == [(50.0, 75.0)]
    assert [each.words for each in found.steps] == ["10", "15", "20", "25", "30"]
    one = loss_curve([Loss(step=5, training=1.0)])
    assert one is not None
    assert (one.courses[0].points[0].x, len(one.steps)) == (50.0, 1)
    many = loss_curve([Loss(step=step, training=1.0) for step in range(DOTS_MAX + 1)])
    assert many is not None
    assert many.courses[0].points == ()
