"""Deployments and rollouts on pages: what they say, and that each button does what it says and no more."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from urllib.parse import quote

import msgspec
import pytest

from airboss.console.rollout_story import ends
from airboss.domain.ports import RecordFilter
from airboss.rollouts.stages import Order
from tests.console.looped import LoopSite, pressed
from tests.console.site import DownLog, Site
from tests.console.test_pages import HOSTILE, Page, hrefs, shown
from tests.support.seed_loop import NEW_PROMPT, OLD_PROMPT
from tests.support.seed_records import fill


def rolling(site: LoopSite) -> str:
    """A rollout that has just begun; returns its id."""
    site.loop.apply(OLD_PROMPT)
    site.loop.serve(40, hours=1)
    site.loop.apply(NEW_PROMPT)
    return site.loop.start().id


def state(site: LoopSite) -> str:
    """Where the newest rollout stands."""
    return site.loop.rollouts.list()[0].stage.state


def test_the_list_says_who_answers(week: LoopSite) -> None:
    """Stable and canary with their weights, what each answered, its errors, and its records by release."""
    page = shown(week.person(), "/deployments")
    own = next(each for each in week.loop.plan().deployments if each.name == "support")
    assert own.canary is not None
    for words in ("support", "search-rewrite", "assistant", "also gpt-4o", "1 of 2 replicas ready"):
        assert words in page.text
    for digest in (own.stable.digest, own.canary.served.release.digest):
        assert digest[:8] in page.text
        (records,) = [each for each in hrefs(page) if each.startswith("/records") and digest in each]
        found = shown(week.person(), records)
        assert digest[:8] in found.text
        assert "No record matches" not in found.text
    assert f"{100 * own.canary.weight:g}" in page.text
    assert any("arm-canary" in each for each in page.values("class"))


def test_calls_of_our_own_are_told_beside_the_others(fresh: LoopSite) -> None:
    """A deployment's calls and our own of it are together the overview's requests of it, which says so."""
    fresh.loop.apply(OLD_PROMPT)
    fresh.loop.serve(40, hours=1)
    drawn = fresh.loop.log.records(RecordFilter(deployment="support"), limit=7, bodies=False)
    own = [
        msgspec.structs.replace(each, id=f"{each.id[:-3]}fff", arm="override", key="airboss")
        for each in drawn
    ]
    fill(fresh.loop.log, own)
    page = shown(fresh.person(), "/deployments/support?range=24h")
    ((calls, more),) = re.findall(r"Calls(\d+)in the last 24 hours; (\d+) of our own besides", page.text)
    assert int(more) == 7
    overview = shown(fresh.person(), "/?range=24h&deployment=support")
    assert re.search(rf"Requests\s*{int(calls) + 7}\b", overview.text)
    assert any(title.startswith("With our own") for title in overview.values("title"))


def test_errors_here_and_there_are_not_called_well(fresh: LoopSite) -> None:
    """Above a share of errors that is marked as raised nobody reads that nothing is wrong."""
    fresh.loop.apply(OLD_PROMPT)
    fresh.loop.serve(40, hours=1)
    overview = "/?range=24h&deployment=support"
    assert "Nothing is wrong" in shown(fresh.person(), overview).text
    drawn = fresh.loop.log.records(RecordFilter(deployment="support"), limit=1, bodies=False)
    failed = {"id": f"{drawn[0].id[:-3]}fff", "status": "error", "error_type": "upstream_error"}
    fill(fresh.loop.log, [msgspec.structs.replace(drawn[0], **failed)])
    page = shown(fresh.person(), overview)
    assert "raised" in page.text
    assert "Nothing is wrong" not in page.text
    assert re.search(r"of the calls failed\s*in the last 24 hours, here and there", page.text)


@pytest.mark.parametrize("path", ["/deployments", "/deployments/support", "/records", "/governance/audit"])
def test_a_slash_at_the_end_leads_to_the_page(week: LoopSite, path: str) -> None:
    """As people type it, names that may have slashes themselves included; wherever they say that it is."""
    for asked, led in ((f"{path}/", path), (f"{path}//?range=7d&x=a%20b", f"{path}?range=7d&x=a%20b")):
        answer = week.person().get(asked, follow_redirects=False, headers={"host": "elsewhere.example"})
        assert (answer.status_code, answer.headers["location"]) == (307, led)


def test_a_slash_at_the_end_leads_nowhere_else(week: LoopSite) -> None:
    """Where nothing is, nothing is with a slash either, and no path leads to another host."""
    for path in (
        "/nothing/",
        "/api/v1/nothing/",
        "//elsewhere.example/",
        "/%5Celsewhere.example/",
        "/static",
    ):
        answer = week.person().get(f"http://testserver{path}", follow_redirects=False)
        assert answer.status_code == 404, path


FEWER = "and with fewer where nobody new comes or after 24 h."


def test_a_step_says_how_it_ends_with_few_users(week: LoopSite) -> None:
    """Who has fewer users than a step wants reads when it rises all the same."""
    rollout = week.loop.rollouts.list()[0]
    first = msgspec.structs.replace(rollout, stage=msgspec.structs.replace(rollout.stage, step=0))
    for least, words in ((0.0, ""), (1_800.0, ", though not within 30 min")):
        rules = msgspec.structs.replace(rollout.rules, steps=(0.05, 0.5), step_units=50, step_s_min=least)
        said = ends(msgspec.structs.replace(first, rules=rules))
        guards = ", of each guard too"
        assert said == f"While no harm shows it rises after 50{guards}{words}, {FEWER}"


def test_a_page_tells_of_the_live_rollout(week: LoopSite) -> None:
    """Steps with the present one marked, each metric's numbers with n and its picture, verdicts, the diff."""
    page = shown(week.person(), "/deployments/support")
    rollout = week.loop.rollouts.list()[0]
    assert rollout.verdict is not None
    assert page.values("aria-current").count("step") == 1
    for metric in rollout.verdict.metrics:
        assert metric.metric in page.text
        assert f"n {metric.canary_n:,}" in page.text
    for words in ("Pause", "Promote", "Abort", "What happens", "To undo it", "rising to", "became stable"):
        assert words in page.text
    assert "/deployments/support/rollout/resume" not in page.values("action")
    assert f"While no harm shows it rises after 30, of each guard too, {FEWER}" in page.text
    assert "Answer in at most three sentences." in page.text
    assert [each for each in page.values("class") if each == "d-removed"]
    labels = [each for each in page.values("aria-label") if "confidence sequence" in each]
    assert len(labels) == len(rollout.verdict.metrics)


def test_what_changed_is_marked_on_the_picture(week: LoopSite) -> None:
    """Releases and rollouts stand on it as on the overview's charts, where they happened; none where nothing
    did."""
    page = shown(week.person(), "/deployments/support?range=7d")
    assert "marks" in page.values("class")
    lefts = [float(each.rstrip("%")) for each in page.values("x1") if each in page.values("x2")]
    assert lefts
    assert all(0 <= each <= 100 for each in lefts)
    picture = page.text.split("Who answered")[1].split("Stands as")[0]
    assert "rollout of support" in picture or "release support" in picture
    before = shown(week.person(), "/deployments/support?since=2026-01-01&until=2026-01-02")
    assert "marks" not in before.values("class")
    digest = week.loop.rollouts.list()[0].release
    links = hrefs(shown(week.person(), f"/releases/{digest}"))
    assert [each for each in links if each.startswith("/explore?") and digest in each]


def test_what_changed_is_told_once(week: LoopSite) -> None:
    """A plan that a rollout's word made is not told again beside it."""
    text = shown(week.person(), "/deployments/support").text.split("What changed when")[1]
    assert text.count("rollout began") == 2
    assert text.count("rollout: aborted on evidence") == 1
    assert "canary at" not in text


def test_a_candidate_offers_a_start(fresh: LoopSite) -> None:
    """It says to how many, by which steps and how to undo it; pressing it begins that release's rollout."""
    fresh.loop.apply(OLD_PROMPT)
    fresh.loop.serve(60, hours=2)
    fresh.loop.apply(NEW_PROMPT)
    person = fresh.person()
    page = shown(person, "/deployments/support")
    standing = fresh.loop.ledger.standings()["support"]
    assert "10 % of the users of support get support" in page.text.replace("\u00a0", " ")
    assert "calls a day at the pace of the last 24 h" in page.text
    assert standing.wanted in page.values("value")
    refused = pressed(person, "/deployments/support/rollout/start", release=standing.wanted)
    assert refused.status_code == 400
    assert "reason is empty" in refused.text
    assert not fresh.loop.rollouts.list()
    answer = pressed(person, "/deployments/support/rollout/start", release=standing.wanted, reason="try it")
    assert (answer.status_code, answer.headers["location"]) == (303, "/deployments/support")
    (rollout,) = fresh.loop.rollouts.list()
    assert (rollout.release, rollout.by, rollout.stage.state) == (standing.wanted, "console", "running")
    action, actor, subject, detail = fresh.audit.entries[-1]
    assert (action, actor, subject) == ("rollout.start", "console", "support")
    assert (detail["reason"], detail["rollout"]) == ("try it", rollout.id)
    person.get("/deployments/support", headers={"hx-request": "true"})  # a live refresh comes between
    assert "The rollout has begun" in shown(person, "/deployments/support").text
    assert "The rollout has begun" not in shown(person, "/deployments/support").text, "said once"


def test_a_rollout_can_be_set_for_a_time_and_cancelled(fresh: LoopSite) -> None:
    """In UTC; a time that is past, far ahead or none is refused. The page says when, and how to cancel it."""
    fresh.loop.apply(OLD_PROMPT)
    fresh.loop.apply(NEW_PROMPT)
    person, path = fresh.person(), "/deployments/support/rollout"
    wanted = fresh.loop.ledger.standings()["support"].wanted
    now = fresh.loop.clock.now()
    for wrong, why in (
        (f"{now - timedelta(minutes=1):%Y-%m-%dT%H:%M}", "is past; leave it out to begin now"),
        (f"{now + timedelta(days=400):%Y-%m-%dT%H:%M}", "is more than 366 days ahead"),
        ("tomorrow", "is no time with its zone"),
    ):
        refused = pressed(person, f"{path}/start", release=wanted, reason="at night", at=wrong)
        assert (refused.status_code, why in refused.text) == (400, True)
    naive = {"deployment": "support", "reason": "at night", "at": f"{now + timedelta(days=2):%Y-%m-%dT%H:%M}"}
    refused = fresh.program().post("/api/v1/rollouts", json=naive)
    assert (refused.status_code, "is no time with its zone" in refused.text) == (400, True)
    at = now + timedelta(days=2)
    said = f"{at:%Y-%m-%dT%H:%M}"
    assert pressed(person, f"{path}/start", release=wanted, reason="at night", at=said).status_code == 303
    (rollout,) = fresh.loop.rollouts.list()
    assert rollout.starts_at == at.replace(second=0, microsecond=0)
    action, _, _, detail = fresh.audit.entries[-1]
    assert (action, detail["starts_at"]) == ("rollout.start", rollout.starts_at.isoformat())
    (told,) = fresh.program().get("/api/v1/rollouts").json()["rollouts"]
    assert (told["state"], told["weight"]) == ("scheduled", 0.0)
    assert datetime.fromisoformat(told["starts_at"]) == rollout.starts_at
    page = shown(person, "/deployments/support")
    assert "It begins by itself at" in page.text
    assert "Cancel the rollout" in page.text
    assert "Pause" not in page.text
    assert "rollout was set for" in page.text
    for listed in ("/rollouts", f"/rollouts/{rollout.id}", "/", "/deployments"):
        assert person.get(listed).status_code == 200
    assert "set for" in shown(person, "/rollouts").text
    answer = pressed(person, f"{path}/abort", rollout=rollout.id, reason="no")
    assert answer.status_code == 303
    assert state(fresh) == "aborted"
    assert "was set for" in shown(person, f"/rollouts/{rollout.id}").text


@pytest.mark.parametrize(
    ("actions", "after"),
    [
        (["pause"], "paused"),
        (["pause", "resume"], "running"),
        (["promote"], "promoted"),
        (["abort"], "aborted"),
    ],
)
def test_each_order_does_what_it_says(fresh: LoopSite, actions: list[str], after: str) -> None:
    """And leaves the reason in the audit log."""
    rollout_id = rolling(fresh)
    person = fresh.person()
    for action in actions:
        path = f"/deployments/support/rollout/{action}"
        assert path in shown(person, "/deployments/support").values("action")
        assert pressed(person, path, rollout=rollout_id, reason=f"<b>{action}</b>").status_code == 303
    assert state(fresh) == after
    said = [(action, detail["reason"]) for action, _, _, detail in fresh.audit.entries if "rollout" in action]
    assert said == [(f"rollout.{action}", f"<b>{action}</b>") for action in actions]
    stable = fresh.loop.plan().deployments[0].stable.prompt
    assert stable == (NEW_PROMPT if after == "promoted" else OLD_PROMPT)
    page = shown(person, f"/rollouts/{rollout_id}")
    assert after in page.text
    if after in ("promoted", "aborted"):
        assert f"console: <b>{after.removesuffix('d').removesuffix('e')}" in page.text


def test_what_answered_before_says_as_what(fresh: LoopSite) -> None:
    """A release that was promoted has its calls as a canary apart, told as those."""
    rollout_id = rolling(fresh)
    fresh.loop.serve(40, hours=1)
    person = fresh.person()
    pressed(person, "/deployments/support/rollout/promote", rollout=rollout_id, reason="good")
    for path in ("/deployments", "/deployments/support"):
        page = shown(person, path)
        for words in ("was the canary", "was stable"):
            assert words in page.text, path


def test_an_order_for_another_rollout_is_refused(fresh: LoopSite) -> None:
    """What the page showed is over, or was never there: nothing happens to the one that runs."""
    rollout_id = rolling(fresh)
    person = fresh.person()
    for given in ("rollout-0000000000", ""):
        answer = pressed(person, "/deployments/support/rollout/abort", rollout=given, reason="x")
        assert answer.status_code == 400
        assert "Nothing was changed" in answer.text
    wrong = pressed(person, "/deployments/support/rollout/explode", rollout=rollout_id, reason="x")
    assert wrong.status_code == 400
    assert state(fresh) == "running"
    assert fresh.audit.entries[-1][0] == "login"


def test_a_refusal_leads_back_to_where_one_was(fresh: LoopSite) -> None:
    """And never elsewhere."""
    rolling(fresh)
    person = fresh.person()
    for back, leads in (("/deployments/support?range=1h", "/deployments/support?range=1h"), ("//evil", "/")):
        page = Page(pressed(person, "/deployments/support/rollout/pause", rollout="x", back=back).text)
        assert leads in hrefs(page)
        assert not [each for each in hrefs(page) if "evil" in each]


def test_a_form_of_another_site_does_nothing(fresh: LoopSite) -> None:
    """The login's cookie is not enough: the form must come from this console."""
    rollout_id = rolling(fresh)
    person = fresh.person()
    fields = {"rollout": rollout_id, "reason": "x"}
    for origin in ("https://evil.example", "null", "http://testserver:8700"):
        answer = person.post("/deployments/support/rollout/abort", data=fields, headers={"origin": origin})
        assert answer.status_code == 403
    without = fresh.client().post("/deployments/support/rollout/abort", data=fields)
    assert without.headers["location"] == "/login"
    assert state(fresh) == "running"


def test_a_store_that_is_away_hides_no_button(fresh: LoopSite) -> None:
    """Without the record store there is no traffic, which is said; a rollout is taken back all the same."""
    rollout_id = rolling(fresh)
    fresh.log = DownLog()
    person = fresh.person()
    page = shown(person, "/deployments/support")
    assert "the record store does not answer" in page.text
    assert "how many calls nobody knows" in page.text
    assert "the record store does not answer" in shown(person, "/deployments").text
    assert "/deployments/support/rollout/abort" in page.values("action")
    fresh.loop.rollouts._records = fresh.log
    assert pressed(
        person, "/deployments/support/rollout/abort", rollout=rollout_id, reason="dark"
    ).is_redirect
    assert state(fresh) == "aborted"


def test_one_rollout_has_a_page_for_ever(week: LoopSite) -> None:
    """Aborted: the evidence at its end, the verdict, what it would have changed; no button."""
    person = week.person()
    aborted = week.loop.rollouts.list()[-1]
    page = shown(person, f"/rollouts/{aborted.id}")
    for words in ("aborted", "harm: the canary is worse", "Aborted on evidence", "ended here"):
        assert words in page.text
    assert not [each for each in page.values("action") if "rollout" in each]
    listed = shown(person, "/rollouts")
    assert {f"/rollouts/{each.id}" for each in week.loop.rollouts.list()} <= set(hrefs(listed))
    assert person.get("/rollouts/none-such").status_code == 404


def test_empty_pages_teach(fresh: LoopSite) -> None:
    """Each says in a sentence what would be here, with a command to copy."""
    person = fresh.person()
    for path, command in (
        ("/deployments", "airboss apply airboss.toml"),
        ("/rollouts", "airboss rollout start DEPLOYMENT"),
        ("/releases", "airboss apply airboss.toml"),
    ):
        page = shown(person, path)
        assert command in page.text
        assert "teach" in page.values("class")
    assert person.get("/deployments/none").status_code == 404
    fresh.loop.apply(OLD_PROMPT)
    alone = shown(person, "/deployments/support")
    assert "No rollout runs, and no candidate waits" in alone.text
    assert "airboss rollout start support" in alone.text
    assert "no calls" in alone.text
    assert "Take the promotion back" not in alone.text, "nothing was stable before"
    fresh.loop.apply(NEW_PROMPT)
    fresh.loop.start()
    fresh.loop.rollouts.order("support", Order(at=fresh.loop.clock.at, action="promote", by="ada"))
    promoted = shown(person, "/deployments/support")
    assert "Take the promotion back" in promoted.text
    assert "/deployments/support/rollout/undo" in [
        dict(each).get("action") for tag, each in promoted.tags if tag == "form"
    ]


@pytest.mark.parametrize("word", [each for each in HOSTILE if "\ud800" not in each])
def test_hostile_names_are_escaped(empty: Site, word: str) -> None:
    """A deployment, alias, release, model or provider may be called anything: on pages it is text."""
    own = empty.ledger.served
    assert own is not None
    (first, *_) = own.deployments
    named = msgspec.structs.replace(
        first.stable,
        name=word,
        prompt=word,
        params={word: word},
        model=msgspec.structs.replace(first.stable.model, provider=word, model=word),
    )
    changed = msgspec.structs.replace(first, name=word, aliases=(word,), stable=named)
    empty.ledger.served = msgspec.structs.replace(own, deployments=(changed,))
    person = empty.person()
    paths = ["/deployments", "/releases", f"/releases/{named.digest}"]
    if "/" not in word and word.isprintable():
        paths.append(f"/deployments/{quote(word)}")
    for path in paths:
        answer = person.get(path)
        assert answer.status_code == 200, path
        page = Page(answer.text)
        for tag, attributes in page.tags:
            assert tag not in ("img", "iframe", "object", "style"), path
            assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
            assert str(attributes.get("href", "/")).startswith(("/", "#")), attributes
        assert len([tag for tag, _ in page.tags if tag == "script"]) == 2
        elsewhere = re.sub(r'value="[^"]*"', "", answer.text)
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", elsewhere)


def test_a_candidate_that_failed_before_is_told_so(fresh: LoopSite) -> None:
    """Beside the button that would roll it out again."""
    fresh.loop.apply(OLD_PROMPT)
    fresh.loop.apply(NEW_PROMPT)
    assert "last rollout" not in shown(fresh.person(), "/deployments/support").text
    fresh.loop.start()
    order = Order(at=fresh.loop.clock.at, action="abort", by="ada", reason="too chatty")
    fresh.loop.rollouts.order("support", order)
    again = shown(fresh.person(), "/deployments/support")
    assert "Its last rollout ended aborted 0 s ago: ada: too chatty." in again.text
