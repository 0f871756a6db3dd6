"""Fine-tuning on pages: what was trained, how its loss fell, and whether the holdout calls it better."""

from __future__ import annotations

from airboss.console import api_finetune
from airboss.console.desk import Desk
from airboss.console.loss_curve import loss_curve
from airboss.console.page import Page, View, asking
from airboss.console.render import Visit
from airboss.console.views_quality import cancelling
from airboss.console.views_tuning import gain_picture, gained, known, reached, rollout_of

LISTED = 100


def finetunings(desk: Desk, seen: Visit) -> View:
    """Every fine-tuning, the newest first."""
    found = api_finetune.finetunes(desk, asking(seen, limit=str(LISTED)))
    return View(
        "finetunings.html",
        finetunes=found.finetunes,
        **known(desk),
    )


def finetuning(desk: Desk, seen: Visit) -> View:
    """One fine-tuning, over or not."""
    found = api_finetune.show_finetune(desk, asking(seen))
    t, result = found.summary, found.result
    judged = result.judgement if result is not None else None
    return View(
        "finetuning.html",
        t=t,
        result=result,
        uneven=found.uneven,
        **known(desk),
        gain=gained(judged),
        holdout=gain_picture(judged, label="new minus today"),
        curve=loss_curve(result.learned.trained.losses) if result is not None else None,
        reached=reached(desk, result),
        starting=rollout_of(desk, result),
        doing=cancelling(t.id, t.state),
    )


PAGES: tuple[Page, ...] = (
    Page(
        path="/finetuning",
        draw=finetunings,
        role="viewer",
        room="tuning",
        tab="Fine-tuning",
        docs="how-to#fine-tune-a-model",
    ),
    Page(
        path="/finetuning/{id}",
        draw=finetuning,
        role="reader",
        room="tuning",
        under="/finetuning",
        docs="how-to#fine-tune-a-model",
    ),
)
"""The pages of this module."""
