"""A session on its page: what is read, in which order, and what of it is repeated."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airboss.console import views_session
from airboss.domain.record import InferenceRecord
from airboss.domain.score import Score
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.memory import MemoryRecordLog
from tests.console.site import NOW, Site, put, sample
from tests.console.test_pages import HOSTILE, hrefs, shown
from tests.console.test_tuning_pages import safe

SYSTEM = {"role": "system", "content": "You are kind."}


def user(text: str) -> dict[str, Any]:
    """A message of a user."""
    return {"role": "user", "content": text}


def answer(text: str) -> dict[str, Any]:
    """A message of the model."""
    return {"role": "assistant", "content": text}


def call(number: int, messages: list[dict[str, Any]], said: str, **more: Any) -> InferenceRecord:
    """The call of that number, a minute after the one before it."""
    given = {"session": "talk", "user": "ann", "deployment": "support", "operation": "chat", **more}
    return sample(
        id=f"call-{number}",
        started_at=NOW - timedelta(minutes=30 - number),
        request={"model": "support", "messages": messages},
        response={"choices": [{"index": 0, "message": answer(said)}]},
        **given,
    )


@pytest.fixture
def site() -> Site:
    """A talk of three calls, each of which sends all that was said before; one of another session between."""
    log = MemoryRecordLog()
    first = [SYSTEM, user("One?")]
    second = [*first, answer("Uno."), user("Two?")]
    put(
        log,
        call(1, first, "Uno."),
        call(2, second, "Dos."),
        call(3, [user("Who?")], "Else.", session="other"),
    )
    put(log, call(4, [*second, answer("Dos."), user("Three?")], "Tres."))
    return Site(log=log)


def test_each_call_shows_what_it_added(site: Site) -> None:
    """The oldest first; what an app sends once more stands there once, and nothing of another session."""
    page = safe(shown(site.person(), "/session?name=talk"))
    said = ("You are kind.", "One?", "Uno.", "Two?", "Dos.", "Three?", "Tres.")
    assert [page.text.count(each) for each in said] == [1] * len(said)
    places = [page.text.index(each) for each in said]
    assert places == sorted(places)
    assert "Who?" not in page.text
    assert [each for each in hrefs(page) if each.startswith("/records/call")] == [
        "/records/call-1",
        "/records/call-2",
        "/records/call-4",
    ]
    assert site.audit.entries[-1][0] == "records.read"


def test_a_talk_that_was_changed_is_shown_whole(site: Site) -> None:
    """Where an app has taken turns out, what it sent is no repetition."""
    put(site.log, call(5, [user("One?"), answer("Another."), user("Four?")], "Cuatro."))
    page = shown(site.person(), "/session?name=talk").text
    assert (page.count("One?"), page.count("Another."), page.count("Four?")) == (2, 1, 1)


def test_a_long_session_comes_in_pages(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest calls first, with a link to those before and one back."""
    monkeypatch.setattr(views_session, "CALLS_MAX", 2)
    page = shown(site.person(), "/session?name=talk")
    assert "2 of them here" in page.text
    older = next(each for each in hrefs(page) if "before=" in each)
    assert older == "/session?name=talk&before=call-2"
    page = shown(site.person(), older)
    assert "One?" in page.text
    assert "Three?" not in page.text
    assert "/session?name=talk" in hrefs(page)
    assert not [each for each in hrefs(page) if "before=" in each]


def test_long_calls_are_on_pages_of_their_own(tmp_path: Path) -> None:
    """A page takes as much memory as a list of records with bodies may, and no more."""
    log = DuckDBRecordLog(tmp_path / "records.db")
    site = Site(log=log)
    for number in (1, 2, 3):
        put(log, call(number, [user("x" * (36 << 20)), user(f"Call {number}?")], "Long."))
    page = shown(site.person(), "/session?name=talk")
    assert ("Call 3?" in page.text, "Call 2?" in page.text) == (True, False)
    assert "1 of them here" in page.text
    older = next(each for each in hrefs(page) if "before=" in each)
    assert "Call 2?" in shown(site.person(), older).text
    log.close()


def test_records_lead_to_it(site: Site) -> None:
    """For those who may read what was said; others are led to the list."""
    assert "/session?name=talk" in hrefs(shown(site.person("reader"), "/records/call-1"))
    assert "/session?name=talk" in hrefs(shown(site.person("reader"), "/records?session=talk"))
    viewer = site.person("viewer")
    assert "/records?session=talk" in hrefs(shown(viewer, "/records/call-1"))
    assert "/session?name=talk" not in hrefs(shown(viewer, "/records?session=talk"))


def test_numbers_are_those_of_its_calls(site: Site) -> None:
    """Errors, scores, a call whose price nobody knows; the name may be anything."""
    name = HOSTILE[0]
    put(site.log, call(6, [user("a")], "b", session=name, cost_usd=None, status="error", input_tokens=5))
    given: dict[str, Any] = {"subject": "record", "subject_id": "call-6", "source": "scorer", "by": "x"}
    score = Score(id="s", name="right", at=NOW, value=0.5, **given)
    site.log.put_scores([score])
    page = safe(shown(site.person(), "/session?name=%3Cscript%3Ealert(1)%3C/script%3E"))
    for words in ("1 call has no price", "right", "0.5", "of 1 call here"):
        assert words in page.text, words


@pytest.mark.parametrize(("query", "status"), [("", 400), ("?name=none", 404)])
def test_without_calls_there_is_no_page(site: Site, query: str, status: int) -> None:
    """It says what to give."""
    assert site.person().get(f"/session{query}").status_code == status
