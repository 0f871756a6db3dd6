"""The configuration on a page: seen by all, changed by who may, and never a text lost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import msgspec
import pytest

from airboss.config.types import Role
from airboss.console import api_config, views_config
from airboss.console.api_audit import Entry, entry
from airboss.console.config_story import touched
from airboss.console.desk import OwnFile
from airboss.controller.starter import starter_config
from airboss.domain.errors import SetupError
from airboss.domain.ports import RecordFilter
from airboss.governance.audit import Sealer
from airboss.governance.roles import ROLES, allows
from airboss.store.audit import SqlAuditLog
from tests.console.governed import SIGNER
from tests.console.looped import LoopSite, pressed
from tests.console.site import DownLog
from tests.console.test_pages import shown
from tests.support.seed_loop import CONFIG, OLD_PROMPT

PATH = "/system/configuration"
TEXT = CONFIG.replace("PROMPT", OLD_PROMPT)
PROMPT = f'"""{OLD_PROMPT}"""'
SLOWER = TEXT.replace("above = 4000", "above = 3000")
LITERAL = "sk-live-0123456789abcdef"
HOSTILE = "# </textarea><script>alert(1)</script><img src=x onerror=alert(1)>\n"
FIELD = re.compile(r'<textarea id="text"[^>]*>\n(.*?)</textarea>', re.DOTALL)


@pytest.fixture
def site(fresh: LoopSite) -> Iterator[LoopSite]:
    """An Airboss that serves the configuration of the seed, with a real audit log."""
    fresh.loop.apply(OLD_PROMPT)
    fresh.audit = SqlAuditLog(fresh.loop.data.ledger_url, Sealer(SIGNER))
    yield fresh
    fresh.audit.close()


def applied(site: LoopSite) -> list[Entry]:
    """What the audit log tells of applied configurations, the newest first."""
    return [entry(each) for each in site.audit.newest(limit=99, action="config.apply")]


def plan_of(site: LoopSite) -> str:
    """The number of the plan in force, as the form has it."""
    return str(site.loop.plan().number)


def text_in(page: str) -> str:
    """What the form's field holds."""
    found = FIELD.search(page)
    assert found is not None, page
    return unescape(found[1])


def compare(site: LoopSite, text: str, *, role: Role | None = None, **fields: str) -> Any:
    """A text sent to see what it changes."""
    sent = {"text": text, "plan": plan_of(site), **fields}
    return pressed(site.person(role), f"{PATH}/compare", **sent)


def apply(site: LoopSite, text: str, *, role: Role | None = None, **fields: str) -> Any:
    """A text sent to be applied."""
    sent = {"text": text, "plan": plan_of(site), "reason": "slow since Monday", **fields}
    return pressed(site.person(role), PATH, **sent)


@pytest.mark.parametrize("role", ROLES)
def test_all_see_what_is_in_force_and_operators_its_text(site: LoopSite, role: Role) -> None:
    """Plan, who applied it and why are for everybody; prompts and addresses, and the form, are not."""
    assert apply(site, SLOWER, role="operator").status_code == 303
    page = site.person(role).get(PATH).text
    for words in (f">{plan_of(site)}<", "slow since Monday", "alarms.slow.above", "otto", "4 alarms"):
        assert words in page, words
    may = allows(role, "operator")
    assert ("outdoor gear" in page, "<textarea" in page, "?from=" in page) == (may, may, may)
    assert f'href="{PATH}"' in site.person(role).get("/system").text


@pytest.mark.parametrize("role", ROLES)
def test_only_operators_compare_and_apply(site: LoopSite, role: Role) -> None:
    """Whatever a forged form holds; an earlier text is theirs too."""
    before, may = site.loop.plan().number, allows(role, "operator")
    assert compare(site, SLOWER, role=role).status_code == (200 if may else 403)
    assert site.person(role).get(f"{PATH}?from=1").status_code == (200 if may else 403)
    assert apply(site, SLOWER, role=role).status_code == (303 if may else 403)
    assert (site.loop.plan().number > before) == may


def test_a_form_from_elsewhere_is_refused(site: LoopSite) -> None:
    """Another page's form changes nothing."""
    fields = {"text": SLOWER, "plan": plan_of(site), "reason": "x"}
    answer = site.person().post(PATH, data=fields, headers={"origin": "http://evil.example"})
    assert answer.status_code == 403
    assert site.loop.ledger.config() == TEXT


def test_a_change_is_seen_applied_noted_and_taken_back(site: LoopSite) -> None:
    """The difference, then the plan with the reason in the audit log; the text before is a link away."""
    first = plan_of(site)
    seen = compare(site, SLOWER)
    for words in ("alarms.slow.above", "4000.0", "3000.0", "Apply 1 change", "To undo it"):
        assert words in seen.text, words
    assert (text_in(seen.text), site.loop.ledger.config()) == (SLOWER, TEXT)
    done = apply(site, SLOWER)
    assert (done.status_code, done.headers["location"]) == (303, PATH)
    assert site.loop.ledger.config() == SLOWER
    (noted,) = applied(site)
    assert (noted.subject, noted.detail["reason"]) == ("configuration", "slow since Monday")
    assert noted.detail["paths"] == ["alarms.slow.above"]
    assert text_in(site.person().get(PATH).text) == SLOWER
    back = site.person().get(f"{PATH}?from={first}").text
    assert (text_in(back), f"That of plan {first}" in back) == (TEXT, True)
    assert apply(site, text_in(back)).status_code == 303
    assert site.loop.ledger.config() == TEXT


def test_a_text_stays_as_it_was_written(site: LoopSite) -> None:
    """Blank lines, ends of Windows, tabs: what is in force is the same text when it is sent unchanged."""
    odd = f"\n\n\t# tab\n{TEXT}\n# </textarea> &amp; é\n\n"
    assert apply(site, odd.replace("\n", "\r\n")).status_code == 303
    assert site.loop.ledger.config() == odd
    page = site.person().get(PATH).text
    assert text_in(page) == odd
    assert "this is the text that is in force" in compare(site, odd.replace("\n", "\r\n")).text
    comment = compare(site, f"{odd}# more")
    assert "Nothing that is served" in comment.text
    assert "No deployment answers otherwise" in comment.text


@pytest.mark.parametrize(
    ("text", "wrong", "words"),
    [
        (TEXT + "foo = = 1\n", "foo = = 1", "this is not TOML"),
        (TEXT.replace("step_units", "step_unit"), "step_unit = 30", "did you mean &#34;step_units&#34;?"),
        (TEXT.replace('release = "support"', 'release = "suport"'), 'release = "suport"', "support"),
        (TEXT + "[modles.x]\n", "[modles.x]", "did you mean &#34;models&#34;?"),
        (TEXT.replace(PROMPT, '"prompts/support.md"'), 'prompt = "prompts/support.md"', "names a file"),
        (TEXT.replace(PROMPT, '"{{ name"'), 'prompt = "{{ name"', "is not closed"),
        (TEXT + "foo = [\n", None, "this is not TOML"),
        ("", None, "the text says nothing"),
        ("# all gone\n", None, "would take away all"),
        (TEXT + "#" * 2**20, None, "at most 1,048,576"),
    ],
    ids=["toml", "key", "name", "table", "file", "prompt", "no end", "empty", "comment", "long"],
)
def test_a_wrong_text_is_kept_with_what_is_wrong(
    site: LoopSite, text: str, wrong: str | None, words: str
) -> None:
    """400, the line and the nearest name beside the very text that was sent; nothing is applied."""
    for send in (compare, apply):
        answer = send(site, text)
        assert (answer.status_code, text_in(answer.text)) == (400, text)
        assert words in answer.text
        found = re.findall(r'class="row-wrong"><b class="num">(\d+)</b> (.*)\n', answer.text)
        assert [unescape(line) for _, line in found] == ([wrong] if wrong else [])
        for number, _ in found:
            assert f'data-line="{number}"' in answer.text
            assert text.split("\n")[int(number) - 1] == wrong
    assert (site.loop.ledger.config(), applied(site)) == (TEXT, [])


def test_a_body_beyond_the_bound_is_refused(site: LoopSite) -> None:
    """413 that says how much is read; nothing is applied."""
    answer = apply(site, "#" * (api_config.CONFIG_MAX + 1))
    assert (answer.status_code, "4,194,304" in answer.text) == (413, True)
    assert site.loop.ledger.config() == TEXT


@pytest.mark.parametrize("send", [compare, apply])
def test_what_somebody_else_changed_is_not_taken_back(site: LoopSite, send: Any) -> None:
    """Who began before is told what changed meanwhile, keeps the text, and can go on from there."""
    began = plan_of(site)
    assert apply(site, TEXT.replace("above = 20", "above = 30"), role="admin").status_code == 303
    late = send(site, SLOWER, plan=began)
    assert late.status_code == 400
    for words in (
        f"begun on the configuration of plan {began}",
        "What changed meanwhile",
        "alarms.spend.above",
    ):
        assert words in late.text, words
    assert text_in(late.text) == SLOWER
    assert f'name="plan" value="{plan_of(site)}"' in late.text
    assert site.loop.ledger.config() != SLOWER
    again = compare(site, SLOWER)
    assert ("alarms.spend.above" in again.text, "alarms.slow.above" in again.text) == (True, True)


def test_another_plan_of_the_same_configuration_is_no_change(site: LoopSite) -> None:
    """Engines come and go while somebody writes."""
    began = plan_of(site)
    site.loop.ledger.publish(TEXT, site.loop.plan())
    assert plan_of(site) != began
    assert apply(site, SLOWER, plan=began).status_code == 303


@pytest.mark.parametrize("plan", ["", "x", "-1", "1e3", "9" * 12, "²"])
def test_a_plan_that_is_no_number_is_refused(site: LoopSite, plan: str) -> None:
    """400, as for any field of a form."""
    assert compare(site, SLOWER, plan=plan).status_code == 400
    assert apply(site, SLOWER, plan=plan).status_code == 400
    assert apply(site, SLOWER, plan="77").status_code == 400
    assert site.loop.ledger.config() == TEXT


def test_without_a_reason_nothing_is_applied(site: LoopSite) -> None:
    """The text is kept."""
    for reason in ("", "  ", "x" * 501):
        answer = apply(site, SLOWER, reason=reason)
        assert (answer.status_code, text_in(answer.text)) == (400, SLOWER)
        assert "reason" in answer.text
    assert site.loop.ledger.config() == TEXT


@pytest.mark.parametrize("send", [compare, apply])
def test_hostile_text_is_inert(site: LoopSite, send: Any) -> None:
    """Wherever it stands: in the text, in a wrong line, in a name, in a reason."""
    for text in (HOSTILE + TEXT, TEXT + HOSTILE[2:], TEXT + f'[alarms."{HOSTILE[2:-1]}"]\nmetric = 1\n'):
        answer = send(site, text, reason=HOSTILE)
        page = answer.text if answer.status_code != 303 else site.person().get(PATH).text
        assert "<script>alert" not in page
        assert "<img" not in page
        assert text_in(page) == text
        apply(site, TEXT)


def test_a_literal_secret_is_moved_and_never_shown_again(site: LoopSite) -> None:
    """Only the form that it was written into holds it, not the difference nor a page after it; the reference
    that then stands in the text keeps the key."""
    text = TEXT.replace('"env:OPENAI_API_KEY"', f'"{LITERAL}"')
    seen = compare(site, text).text
    assert "is written out in the configuration" in seen
    assert LITERAL not in re.sub("<textarea.*?</textarea>", "", seen, flags=re.DOTALL)
    assert "[REDACTED]" in seen
    assert apply(site, text).status_code == 303
    page = site.person().get(PATH).text
    kept = site.loop.data.secrets_dir / "provider-openai"
    assert (LITERAL in page, str(kept) in page) == (False, True)
    assert apply(site, text_in(page).replace("above = 4000", "above = 3000")).status_code == 303
    assert kept.read_text().strip() == LITERAL
    for number in range(1, site.loop.plan().number + 1):
        assert LITERAL not in site.person().get(f"{PATH}?from={number}").text
    assert LITERAL not in str(applied(site))


def test_an_operator_is_told_what_is_for_an_admin(site: LoopSite) -> None:
    """Before applying, without a button that would be refused; a forged form is, and keeps its text."""
    keys = TEXT + '[keys.bob]\nrole = "admin"\n'
    seen = compare(site, keys, role="operator")
    assert "This is for an admin to apply" in seen.text
    assert 'name="reason"' not in seen.text
    forged = apply(site, keys, role="operator")
    assert (forged.status_code, text_in(forged.text)) == (403, keys)
    assert 'name="reason"' in compare(site, keys, role="admin").text
    assert site.loop.ledger.config() == TEXT


def test_it_says_who_is_hit(site: LoopSite) -> None:
    """Which deployments answer otherwise, how many calls they have, and what becomes of them."""
    site.loop.serve(60, hours=2)
    calls = sum(
        each.deployment == "search-rewrite"
        for each in site.log.records(RecordFilter(), limit=99, bodies=False)
    )
    gone = re.sub(r"\[deployments\.search-rewrite\].*?\n\n", "", TEXT, flags=re.DOTALL)
    gone = re.sub(r"\[alarms\.slow\].*?\n\n", "", gone, flags=re.DOTALL)
    page = compare(site, gone).text
    assert "calls for it get 404" in page
    assert f"{calls} calls in the last 24 h" in page
    assert "primary danger" in page
    site.log = DownLog()
    assert "the record store does not say" in compare(site, gone).text


@pytest.mark.parametrize(
    ("old", "new", "name", "words"),
    [
        ("Be brief", "Be long", "support", "waits as a candidate"),
        ("search query", "question", "search-rewrite", "at once: it has no rollout"),
        ('aliases = ["gpt-4o"]', 'aliases = ["gpt-4"]', "support", "other settings"),
        ('kind = "openai"', 'kind = "openai"\nbase_url = "https://x.example/v1"', "support", ""),
        (
            "[deployments.assistant]",
            '[deployments.new]\nmodel = "mini"\n[deployments.assistant]',
            "new",
            "is new",
        ),
    ],
)
def test_what_touches_a_deployment_is_known(old: str, new: str, name: str, words: str) -> None:
    """By the release that it is answered by, and by all around it; nothing else is named."""
    assert old in TEXT
    before, after = api_config.parsed(TEXT), api_config.parsed(TEXT.replace(old, new, 1))
    found = {each.name: each for each in touched(before, after, {name: 7})}
    assert words in found[name].words
    assert found[name].calls == 7
    assert touched(before, before, None) == ()
    assert touched(before, api_config.parsed(SLOWER), None) == ()


@pytest.mark.parametrize(
    "name", ["provider", "notifier", "alarm", "judge", "budget", "fallback", "policy", "rollout"]
)
def test_a_ready_made_piece_is_put_in_seen_and_applied(fresh: LoopSite, name: str) -> None:
    """Into the starter, by its button, without JavaScript."""
    fresh.loop.rollouts.apply(starter_config(openai_key_present=False), "airboss.toml")
    text = fresh.loop.ledger.config() or ""
    seen = compare(fresh, text, add=name)
    assert seen.status_code == 200
    assert "Apply " in seen.text
    assert text_in(seen.text) != text
    assert apply(fresh, text_in(seen.text)).status_code == 303, name
    assert compare(fresh, text, add="nothing").status_code == 400


def test_a_page_before_the_first_configuration(fresh: LoopSite) -> None:
    """It says so, and takes one."""
    page = fresh.person().get(PATH)
    assert (page.status_code, "never" in page.text, text_in(page.text)) == (200, True, "")
    fields = {"text": TEXT, "plan": "0", "reason": "the first"}
    assert "Apply " in pressed(fresh.person(), f"{PATH}/compare", **fields).text
    assert pressed(fresh.person(), PATH, **fields).status_code == 303
    assert fresh.loop.ledger.config() == TEXT


@pytest.mark.parametrize("state", ["same", "differs", "gone", "unreadable"])
def test_the_file_is_compared(site: LoopSite, state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it differs, operators read what to do; its place is theirs to know."""
    whole = site.desk
    file = OwnFile(path="/srv/<b>/airboss.toml", state=state)

    def desk() -> Any:
        found = whole()
        object.__setattr__(found, "own_file", lambda: file)
        return found

    monkeypatch.setattr(site, "desk", desk)
    page = shown(site.person(), PATH)
    assert ("The file says something else" in page.text) == (state == "differs")
    assert "/srv/<b>/airboss.toml" in page.text
    assert "/srv/" not in site.person("viewer").get(PATH).text


def test_what_cannot_be_written_keeps_the_text(site: LoopSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, say: 503, and the text is there to be sent again."""

    def full(*_: object) -> None:
        raise SetupError("no room on the disk")

    monkeypatch.setattr(site.loop.rollouts, "apply", full)
    answer = apply(site, SLOWER)
    assert (answer.status_code, "no room on the disk" in answer.text) == (503, True)
    assert text_in(answer.text) == SLOWER


def test_many_changes_are_counted_and_not_all_drawn(site: LoopSite) -> None:
    """A page stays of a size that can be read."""
    alarms = "".join(
        f'[alarms.a{n}]\nmetric = "requests"\ndeployment = "support"\nabove = 1\n' for n in range(90)
    )
    page = compare(site, TEXT + alarms).text
    assert "270 settings, the first 200 of them" in page
    assert page.count('class="change-path"') == 200


def test_an_entry_that_was_tampered_with_is_no_error() -> None:
    """Whatever stands in a leaf."""
    leaf = Entry(
        number=1, at="?", action="config.apply", actor=None, subject=None, user=None, detail={}, hash=""
    )
    for detail in ({}, {"plan": "x", "changes": [], "paths": 3, "reason": 5}, {"damaged": "so"}):
        row = views_config.applied_row(msgspec.structs.replace(leaf, detail=detail))
        assert (row.plan, row.at, row.changes, row.paths) == (None, None, 0, ())


def test_a_text_that_names_a_plan_that_never_was(site: LoopSite) -> None:
    """404 for a link to it."""
    for wrong in ("99", "0", "x", "9" * 12):
        assert site.person().get(f"{PATH}?from={wrong}").status_code == 404


LEAD: dict[str, tuple[str | None, Role]] = {
    "/alerts": ("alarm", "operator"),
    "/quality": ("judge", "operator"),
    "/evaluations": ("judge", "operator"),
    "/governance": ("policy", "admin"),
    "/system/providers": ("provider", "admin"),
    "/deployments": (None, "operator"),
}
"""Pages that lead to the form, to which ready-made piece, and whom."""


@pytest.mark.parametrize("role", ROLES)
def test_pages_lead_to_the_form_for_who_may(week: LoopSite, fresh: LoopSite, role: Role) -> None:
    """Empty ones and full ones; the piece that they name is there."""
    pieces = week.person().get(PATH).text
    for path, (piece, needed) in LEAD.items():
        for site in (fresh, week):
            page = site.person(role).get(path).text
            assert (
                PATH in page.split('<main id="main"')[1].replace(f'href="{PATH}">Configuration', "")
            ) == allows(role, needed), (path, role)
        if piece is not None and allows(role, needed):
            assert f"{PATH}#piece-{piece}" in page
            assert f'id="piece-{piece}"' in pieces


def test_who_began_on_another_configuration_is_refused(site: LoopSite) -> None:
    """By the API too: with `plan` a text is applied only while that plan's configuration is in force."""
    program = site.program()
    number = program.get("/api/v1/config").json()["plan"]
    first = {"config": TEXT + "# mine\n", "plan": number, "reason": "for the test"}
    mine = program.post("/api/v1/config", json=first)
    assert mine.status_code == 200, mine.text
    for wrong in (number, 0, -1, 2**40, mine.json()["plan"] + 1):
        late = program.post("/api/v1/config", json={"config": TEXT + "# yours\n", "plan": wrong})
        assert (late.status_code, late.json()["error"]["code"]) == (400, "config_changed"), wrong
    assert program.get("/api/v1/config").json()["config"] == first["config"]
    assert program.get(f"/api/v1/config?plan={number}").json() == {"config": TEXT, "plan": number}
    for wrong in ("99", "x", "-1", "9" * 20):
        assert program.get(f"/api/v1/config?plan={wrong}").status_code == 404
    long = program.post("/api/v1/config", json={"config": TEXT, "reason": "x" * 501})
    assert (long.status_code, long.json()["error"]["param"]) == (400, "reason")
