"""The playground: what is sent, what is shown, and that nothing of it is lost, doubled or endless."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from html import unescape

import msgspec
import pytest

from airboss.config import parse_config
from airboss.console.page import Form
from airboss.console.plays import KEPT_FOR, KEPT_MAX, RUNNING_MAX, Plays
from airboss.console.views_playground import read_variables, written
from airboss.domain.errors import WrongCall
from airboss.evaluations.datasets import Input
from airboss.evaluations.ports import Answer, Call, Target
from airboss.releases.build import build_releases
from airboss.releases.variant import varied
from tests.console.looped import LoopSite, pressed
from tests.console.site import NOW, put, sample
from tests.console.test_pages import hrefs, shown
from tests.console.test_tuning_pages import HOSTILE, safe
from tests.support.seed_loop import NEW_PROMPT, OLD_PROMPT
from tests.support.wait import until

CALL = Call(target=Target(deployment="d", release="a" * 64), input=Input(), subject="s")


class Gateway:
    """Answers every call, once it may; `asked` are those that came."""

    def __init__(self) -> None:
        self.asked: list[Call] = []
        self.may = threading.Event()
        self.may.set()

    def ask(self, calls: Sequence[Call]) -> Sequence[Answer]:
        """As `plays.Ask`."""
        assert self.may.wait(60)
        self.asked += calls
        return [
            Answer(
                text=f"answer {number} {HOSTILE}",
                latency_ms=812.0,
                input_tokens=11,
                output_tokens=7,
                cost_usd=Decimal("0.02"),
                release=each.target.release,
                record=f"record-{number}",
            )
            if number != 2
            else Answer(error=f"502: {HOSTILE}")
            for number, each in enumerate(calls)
        ]


@pytest.fixture
def gateway() -> Gateway:
    """A gateway that answers."""
    return Gateway()


@pytest.fixture
def rolled(fresh: LoopSite, gateway: Gateway) -> LoopSite:
    """A console with a stable release and a canary, whose playground asks that gateway."""
    fresh.loop.apply(OLD_PROMPT)
    fresh.loop.serve(40, hours=1)
    fresh.loop.apply(NEW_PROMPT)
    fresh.loop.start()
    fresh.plays = Plays(gateway.ask)
    return fresh


FORM = {
    "deployment": "support",
    "message": "Where is it? </textarea><img src=x>",
    "temperature": "0.5",
    "tokens": "50",
}


def test_the_same_message_goes_to_each_release(rolled: LoopSite, gateway: Gateway) -> None:
    """Once to each, with what the form said; answers stand side by side; the audit log has no text of it."""
    person = rolled.person()
    page = shown(person, "/playground")
    assert "/playground" in page.values("action")
    answer = pressed(person, "/playground", **FORM, release1="stable", release2="canary", release3="stable")
    assert answer.status_code == 303, answer.text
    where = answer.headers["location"]
    until(lambda: "being answered" not in shown(person, where).text)
    plan = rolled.loop.plan().deployments[0]
    assert plan.canary is not None
    assert [each.target.release for each in gateway.asked] == [
        plan.stable.digest,
        plan.canary.served.release.digest,
    ]
    for call in gateway.asked:
        assert call.input.messages == ({"role": "user", "content": FORM["message"]},)
        assert call.params == {"temperature": 0.5, "max_tokens": 50}
    page = safe(shown(person, where))
    text = page.text.replace("\u00a0", " ")
    for words in ("answer 0", "answer 1", "812 ms", "$0.02", plan.stable.digest[:8]):
        assert words in text, words
    assert "/records?id=record-0" in hrefs(page)
    assert len(gateway.asked) == 2, "looking again asks nothing"
    action, actor, subject, detail = rolled.audit.entries[-1]
    assert (action, actor, subject) == ("playground.ask", "console", "support")
    assert "Where is it" not in str(detail)


def test_a_model_is_tested_by_a_call_that_says_so(rolled: LoopSite, gateway: Gateway) -> None:
    """So that the gateway takes a place that answers to be back; what the playground asks is no test."""
    target = rolled.loop.plan().deployments[0].target
    form = {"provider": target.provider, "model": target.upstream_model}
    answer = pressed(rolled.person(), "/system/providers/test", **form)
    assert answer.status_code == 303, answer.text
    until(lambda: len(gateway.asked) == 1)
    assert gateway.asked[0].tests
    pressed(rolled.person(), "/playground", **FORM, release1="stable")
    until(lambda: len(gateway.asked) == 2)
    assert not gateway.asked[1].tests


KIND = "Be kind. </textarea><img src=x>\nAnswer in one word."


def test_another_prompt_is_tried_beside_the_releases(rolled: LoopSite, gateway: Gateway) -> None:
    """With the first one's model and nothing written anywhere; the form begins with a release's prompt, and
    one that is unchanged is asked once."""
    person = rolled.person()
    stable = rolled.loop.plan().deployments[0].stable
    begin = f"/playground?deployment=support&prompt_of={stable.digest}"
    assert begin in hrefs(shown(person, "/playground"))
    assert begin in hrefs(shown(person, f"/releases/{stable.digest}"))
    assert OLD_PROMPT in unescape(person.get(begin).text)
    same = pressed(person, "/playground", **FORM, release1="stable", prompt=OLD_PROMPT)
    until(lambda: len(gateway.asked) == 1)
    config = rolled.loop.ledger.config()
    answer = pressed(person, "/playground", **FORM, release1="stable", prompt=KIND.replace("\n", "\r\n"))
    until(lambda: len(gateway.asked) == 3)
    plain, draft = gateway.asked[1:]
    assert plain.varied is None
    assert draft.varied is not None
    assert (draft.varied.release, draft.varied.variant.prompt) == (stable.digest, KIND)
    assert draft.target.release == varied(stable, draft.varied.variant).digest != stable.digest
    assert (draft.input, draft.params) == (plain.input, plain.params)
    page = safe(shown(person, answer.headers["location"]))
    assert "Another prompt" in page.text
    assert "Keep it as a release" in page.text
    assert "Keep it as a release" not in shown(person, same.headers["location"]).text
    assert "one word" not in str(rolled.audit.entries)
    assert rolled.loop.ledger.config() == config


def test_a_prompt_that_was_tried_is_kept_as_a_release(rolled: LoopSite, gateway: Gateway) -> None:
    """Under a name, for a rollout to take: just what answered; a name in use and a play that is gone change
    nothing."""
    person = rolled.person()
    asked = pressed(person, "/playground", **FORM, release1="stable", prompt=KIND).headers["location"]
    until(lambda: len(gateway.asked) == 2)
    play = asked.rpartition("=")[2]
    answer = pressed(person, "/playground/keep", play=play, name="kinder")
    assert answer.status_code == 303, answer.text
    page = shown(person, answer.headers["location"])
    assert "airboss rollout start support --release kinder" in page.text
    config = parse_config(rolled.loop.ledger.config() or "", source="now")
    assert config.releases["kinder"].prompt == KIND
    made = build_releases(config, engine_version="0.4.1").named["kinder"]
    assert made.digest == gateway.asked[1].target.release
    assert rolled.audit.entries[-1][:3] == ("release.keep", "console", "kinder")
    for wrong, words in (
        ({"play": play, "name": "a b"}, "cannot be a release"),
        ({"play": "gone", "name": "other"}, "forgotten"),
        ({"play": play, "name": "support"}, "choose another name"),
    ):
        refused = pressed(person, "/playground/keep", **wrong)
        assert refused.status_code >= 400, wrong
        assert words in refused.text, wrong
    assert set(parse_config(rolled.loop.ledger.config() or "", source="now").releases) == set(config.releases)


@pytest.mark.parametrize(
    "said",
    [
        {"a": '"hi"', "b": '"', "c": '"hi" she said', "d": "5", "e": ""},
        {"a": "one\u2028two\x85three\x1cfour", "b": "next"},
        {"a": "one\r\ntwo\n", "b": " \u00a0 "},
        {"a=b": "c = d", '"n"': "x", '"n" = ': "y", "two words": "z"},
    ],
)
def test_variables_come_back_as_they_were(said: dict[str, str]) -> None:
    """Whatever a record had: what is read is what was written, as a browser sends it."""
    sent = written(said).replace("\n", "\r\n")
    form = Form(fields={"variables": sent}, every={}, parts={}, now=NOW)
    assert read_variables(form) == said


def test_variables_of_a_prompt_can_be_given(rolled: LoopSite, gateway: Gateway) -> None:
    """Without them such a deployment answers nothing. The field stands there where a prompt asks for some or
    a record had some, and holds what was sent."""
    person = rolled.person()
    assert "variables" not in shown(person, "/playground").values("name")
    rolled.loop.apply("You answer for {{ shop }} in {{ town }}.")
    page = shown(person, "/playground")
    assert "variables" in page.values("name")
    assert "needs shop, town" in page.text.replace("\u00a0", " ")
    lines = 'shop = Ship & Co = "fine"\n\ntown = "two\\nlines"'
    answer = pressed(person, "/playground", **FORM, release1="stable", variables=lines)
    until(lambda: bool(gateway.asked))
    sent = gateway.asked[0].input.variables
    assert sent == {"shop": 'Ship & Co = "fine"', "town": "two\nlines"}
    kept = shown(person, answer.headers["location"]).text
    assert 'shop = Ship & Co = "fine"' in kept
    assert 'town = "two\\nlines"' in kept
    wrong = pressed(person, "/playground", **FORM, release1="stable", variables="nothing")
    assert (wrong.status_code, "write name = value" in wrong.text) == (400, True)
    talk = {"messages": [{"role": "user", "content": "Hi"}], "prompt_variables": {"shop": "Ann's"}}
    record = sample(deployment="support", operation="chat", request=talk, response=None)
    put(rolled.log, record)
    assert "shop = Ann's" in shown(person, f"/playground?record={record.id}").text


def test_a_conversation_goes_on_after_an_answer(rolled: LoopSite, gateway: Gateway) -> None:
    """What was said so far is shown and sent once more, with the next message; of an answer that is not
    there, or that failed, there is nothing to go on after."""
    person = rolled.person()
    sent = pressed(person, "/playground", **FORM, release1="stable", release2="canary")
    where = sent.headers["location"]
    until(lambda: "being answered" not in shown(person, where).text)
    assert {f"{where}&on=1", f"{where}&on=2"} <= set(hrefs(shown(person, where)))
    page = safe(shown(person, f"{where}&on=2"))
    for words in ("Where is it?", "answer 1", "Next message"):
        assert words in page.text, words
    assert "go on after it" not in page.text
    form = unescape(person.get(f"{where}&on=2").text)
    said = form.partition('class="mono">')[2].partition("</textarea></label>")[0]
    more = {**FORM, "messages": said, "message": "And when?"}
    sent = pressed(person, "/playground", **more, release1="canary")
    until(lambda: len(gateway.asked) == 3)
    roles = [(each["role"], each["content"]) for each in gateway.asked[2].input.messages]
    assert roles == [("user", FORM["message"]), ("assistant", f"answer 1 {HOSTILE}"), ("user", "And when?")]
    after = shown(person, sent.headers["location"])
    assert "And when?" in after.text
    for wrong in ("0", "3", "-1", "x", "9" * 30):
        assert person.get(f"{where}&on={wrong}").status_code == 404, wrong


def test_a_wrong_form_asks_nothing(rolled: LoopSite, gateway: Gateway) -> None:
    """With a word on what is wrong."""
    person = rolled.person()
    good = {**FORM, "release1": "stable"}
    for changed, words in (
        ({"message": ""}, "message is empty"),
        ({"temperature": "hot"}, "no number from 0 to 2"),
        ({"temperature": "nan"}, "no number from 0 to 2"),
        ({"tokens": "1000000"}, "no number from 1"),
        ({"deployment": "none"}, "is served"),
        ({"release1": ""}, "choose one release"),
        ({"release1": "f" * 64}, "not in the plan in force"),
        ({"messages": "[1]"}, "no JSON list of objects"),
        ({"messages": f'[{{"content": {"[" * 400}{"]" * 400}}}]'}, "nested deeper than 250 levels"),
        ({"messages": '[{"content": ' + "[" * 100_000}, "no JSON list of objects"),
        ({"messages": "[]", "message": ""}, "message is empty"),
    ):
        answer = pressed(person, "/playground", **{**good, **changed})
        assert answer.status_code == 400, changed
        assert words in answer.text, changed
    assert gateway.asked == []
    assert person.get("/playground?play=none").status_code == 404
    foreign = person.post("/playground", data=good, headers={"origin": "https://evil.example"})
    assert foreign.status_code == 403


def test_a_record_fills_the_form(rolled: LoopSite) -> None:
    """Its messages and its deployment, told to be a new call; one without bodies says so; the record's page
    leads there."""
    talk = [{"role": "system", "content": "</textarea><img src=x>"}, {"role": "user", "content": "Hello?"}]
    record = sample(
        deployment="support", operation="chat", request={"model": "support", "messages": talk}, response=None
    )
    bare = msgspec.structs.replace(record, id="0" * 8 + record.id[8:], request=None)
    put(rolled.log, record, bare)
    person = rolled.person()
    link = f"/playground?record={record.id}"
    assert link in hrefs(shown(person, f"/records/{record.id}"))
    page = safe(shown(person, link))
    assert "makes new calls" in page.text
    assert "Hello?" in page.text
    assert "messages" in page.values("name")
    assert f"/playground?record={bare.id}" not in hrefs(shown(person, f"/records/{bare.id}"))
    assert "nothing to fill in" in shown(person, f"/playground?record={bare.id}").text
    assert person.get("/playground?record=none").status_code == 404


def test_without_a_gateway_the_page_teaches(fresh: LoopSite) -> None:
    """And a form that is sent all the same asks nothing."""
    person = fresh.person()
    page = shown(person, "/playground")
    assert "airboss apply airboss.toml" in page.text
    assert "teach" in page.values("class")
    assert pressed(person, "/playground", **FORM, release1="stable").status_code == 400


def answered(plays: Plays, play_id: str) -> Callable[[], bool]:
    """Whether a play has its answers."""

    def asked() -> bool:
        found = plays.get(play_id, NOW)
        return found is not None and found.answers is not None

    return asked


def test_plays_are_few_and_forgotten(gateway: Gateway) -> None:
    """So many at once at most, so many kept, for so long; a failure is an answer that says so."""
    gateway.may.clear()
    plays = Plays(gateway.ask)
    running = [plays.start([CALL], NOW) for _ in range(RUNNING_MAX)]
    with pytest.raises(WrongCall, match="plays are being answered"):
        plays.start([CALL], NOW)
    gateway.may.set()
    for each in running:
        until(answered(plays, each.id))
    first = running[0].id
    for _ in range(KEPT_MAX):
        last = plays.start([CALL], NOW).id
        until(answered(plays, last))
    assert plays.get(first, NOW) is None
    assert plays.get(last, NOW) is not None
    assert plays.get(last, NOW + KEPT_FOR + timedelta(seconds=1)) is None

    def broken(_calls: Sequence[Call]) -> Sequence[Answer]:
        raise OSError("no way")

    failing = Plays(broken)
    play = failing.start([CALL], NOW)
    until(answered(failing, play.id))
    found = failing.get(play.id, NOW)
    assert found is not None
    assert found.answers is not None
    assert found.answers[0].error == "OSError: no way"
