"""What people of the house think of answers: the form on a record's page."""

from __future__ import annotations

from airboss.console import api_scores
from airboss.console.api_scores import Judgement
from airboss.console.desk import Desk
from airboss.console.page import Action, Form
from airboss.store.opinions import COMMENT_CHARS_MAX, LABEL_CHARS_MAX, read_value


def score(desk: Desk, form: Form) -> str:
    """Judge the record whose page it is, or take back what one said."""
    taken_back = form.text("undo") == "yes"
    api_scores.judge(
        desk,
        form.call(
            Judgement(
                name=form.needed("name", most=LABEL_CHARS_MAX),
                value=None if taken_back else read_value(form.needed("value", most=LABEL_CHARS_MAX)),
                comment=form.text("comment", most=COMMENT_CHARS_MAX) or None,
            )
        ),
    )
    return form.text("back") or f"/records/{form.parts['id']}"


ACTIONS: tuple[Action, ...] = (
    Action(
        name="record.score",
        path="/records/{id}/score",
        act=score,
        done="Your judgement stands as you see it.",
        role="reader",
    ),
)
"""What its forms do."""
