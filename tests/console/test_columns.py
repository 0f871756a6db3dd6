"""The table of records has the columns that its address asks for."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from airboss.console.columns import COLUMNS, USUAL, chosen, toggled
from airboss.domain.errors import InvalidRequest
from tests.console.looped import LoopSite
from tests.console.site import put, sample
from tests.console.test_pages import hrefs, shown
from tests.support.seed_loop import END, OLD_PROMPT


def test_columns_stand_in_their_order_and_none_is_guessed() -> None:
    """Whatever the order in the address; a name that is none is told with the nearest."""
    assert chosen({}) == chosen({"columns": " , "}) == USUAL
    assert chosen({"columns": "cost, session,status"}) == ("status", "session", "cost")
    with pytest.raises(InvalidRequest, match=r"there is no column 'sesion'; did you mean \"session\"\?"):
        chosen({"columns": "cost,sesion"})


def test_a_column_is_taken_in_and_out() -> None:
    """The usual ones are told by nothing, and the last one stays."""
    more = toggled(USUAL, "session")
    assert more is not None
    assert toggled(chosen({"columns": more}), "session") is None
    assert toggled(("cost",), "cost") == "cost"


@pytest.mark.parametrize("name", COLUMNS)
def test_every_column_can_be_chosen(fresh: LoopSite, name: str) -> None:
    """It has a head and a cell, alone, and a link that takes it out or in."""
    fresh.loop.apply(OLD_PROMPT)
    put(fresh.loop.log, sample(started_at=END, session="s-77", tags={"project": "kiosk"}))
    page = shown(fresh.person(), f"/records?columns={name}&status=ok")
    assert len([tag for tag, _ in page.tags if tag == "th"]) == 2, "and the time"
    assert len([tag for tag, _ in page.tags if tag == "td"]) == 2
    said = {"session": "s-77", "tags": "project=kiosk"}.get(name)
    assert said is None or said in page.text
    links = [parse_qs(urlsplit(each).query) for each in hrefs(page) if "columns=" in each]
    assert all(each["status"] == ["ok"] for each in links if "range" not in each), "the filter stays"
    assert len(links) >= len(COLUMNS)
