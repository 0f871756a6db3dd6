"""Releases on pages: whole, beside another, and inert whatever they hold."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from airboss.domain.ports import RecordFilter
from airboss.domain.release import CustomKind, Release
from airboss.governance.policies import policy_of
from tests.console.looped import LoopSite
from tests.console.site import Site
from tests.console.test_pages import HOSTILE, Page, hrefs, shown
from tests.support.seed_loop import NEW_PROMPT, OLD_PROMPT
from tests.support.seed_records import fill


def test_every_release_is_listed_with_its_place(week: LoopSite) -> None:
    """The newest first, each with a page of its own."""
    page = shown(week.person(), "/releases")
    kept = week.loop.ledger.releases()
    listed = [each for each in hrefs(page) if each.startswith("/releases/")]
    assert [each.rpartition("/")[2] for each in listed] == [each.release.digest for each in reversed(kept)]
    for words in ("stable", "canary", "not served", "gpt-4o-mini"):
        assert words in page.text


def test_a_release_is_whole(week: LoopSite) -> None:
    """Prompt, parameters, model, where it stands; by its digest or its first digits."""
    person = week.person()
    digest = week.loop.rollouts.list()[0].release
    page = shown(person, f"/releases/{digest[:8]}")
    for words in (
        digest,
        "Answer in at most three sentences.",
        "temperature",
        "0.2",
        "gpt-4o-mini",
        "canary",
    ):
        assert words in page.text
    (calls,) = [each for each in hrefs(page) if each.startswith("/records?")]
    assert digest in calls
    assert person.get("/releases/none-such").status_code == 404


def test_a_release_goes_before_a_model_of_its_name(empty: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each model makes a release of its own name with nothing around it, which nobody means by that name."""
    (kept, *_) = empty.ledger.releases()
    bare = Release(digest="f" * 64, name="support", model=kept.release.model)
    older = msgspec.structs.replace(bare, digest="1" * 64, prompt="Be brief.")
    newer = msgspec.structs.replace(bare, digest="2" * 64, prompt="Be kind.")
    every = [
        msgspec.structs.replace(kept, release=each, plan=plan)
        for each, plan in ((older, 1), (newer, 2), (bare, 2))
    ]
    monkeypatch.setattr(empty.ledger, "releases", lambda: tuple(every))
    found = empty.program().get("/api/v1/releases/support").json()
    assert found["release"]["prompt"] == "Be kind."


def test_a_releases_own_kinds_stand_with_the_others(empty: Site) -> None:
    """What its policy looks for is seen, the kinds that it defines itself too."""
    own = empty.ledger.served
    assert own is not None
    (first, *_) = own.deployments
    kinds = (
        CustomKind(name="employee_id", action="mask", pattern="EMP-[0-9]{6}"),
        CustomKind(name="codename", action="block", words=("Falcon",)),
    )
    policy = policy_of("observe", ("email",), kinds)
    changed = msgspec.structs.replace(first, stable=msgspec.structs.replace(first.stable, policy=policy))
    empty.ledger.served = msgspec.structs.replace(own, deployments=(changed,))
    page = shown(empty.person(), f"/releases/{first.stable.digest}")
    for words in ("email", "employee_id", "what matches EMP-[0-9]{6}", "codename", "1 word: Falcon", "block"):
        assert words in page.text


def test_rollouts_of_what_is_not_there(week: LoopSite) -> None:
    """A deployment that is served and had none has none; one that is not served is told, with the nearest."""
    program = week.program()
    assert program.get("/api/v1/rollouts", params={"deployment": "support"}).json()["rollouts"]
    missing = program.get("/api/v1/rollouts", params={"deployment": "suport"})
    assert missing.status_code == 404
    assert "no deployment 'suport'; did you mean \"support\"?" in missing.json()["error"]["message"]
    odd = program.get("/api/v1/records", params={"arm": "shade"})
    assert odd.status_code == 400
    known = "stable, canary, always, never, preview, shadow, override, external"
    assert f"arm='shade' is none of {known}" in odd.json()["error"]["message"]


def test_an_order_tells_of_callers_who_are_named(fresh: LoopSite) -> None:
    """As the rollout does when it is asked for while it is live; what ends it does not wait for the store."""
    fresh.loop.apply(OLD_PROMPT)
    fresh.loop.apply(NEW_PROMPT)
    fresh.loop.start()
    fresh.loop.serve(40, hours=1)
    (one,) = fresh.log.records(RecordFilter(deployment="support"), limit=1, bodies=False)
    named = msgspec.structs.replace(one, id=one.id[:-1] + ("0" if one.id[-1] != "0" else "1"), arm="always")
    fill(fresh.log, [named])
    for action, told in (("pause", [("always", 1)]), ("resume", [("always", 1)]), ("abort", [])):
        asked = {"deployment": "support", "action": action, "by": "me"}
        ordered = fresh.program().post("/api/v1/rollouts/order", json=asked).json()
        assert [(each["arm"], each["requests"]) for each in ordered["apart"]] == told


@pytest.mark.parametrize("path", ["/api/v1/rollouts", "/api/v1/rollouts/order"])
def test_a_reason_is_kept_whole_or_refused(week: LoopSite, path: str) -> None:
    """It is never cut without a word."""
    order = {"action": "abort"} if path.endswith("order") else {}
    asked = {"deployment": "none", "by": "me", "reason": "x" * 1_001} | order
    answer = week.program().post(path, json=asked)
    assert answer.status_code == 400
    assert "the reason has 1001 characters" in answer.json()["error"]["message"]
    asked["reason"] = "x" * 1_000
    assert "reason" not in week.program().post(path, json=asked).json()["error"]["message"]


def test_two_releases_side_by_side(week: LoopSite) -> None:
    """Lines that went and lines that came, and nothing else; both ways round; a release against itself."""
    person = week.person()
    rollout = week.loop.rollouts.list()[0]
    page = shown(person, f"/releases/diff?a={rollout.baseline}&b={rollout.release}")
    assert "1 setting differs" in page.text
    assert "removed: Be brief and friendly." in page.text
    assert "added: Answer in at most three sentences." in page.text
    assert "temperature" not in page.text
    same = shown(person, f"/releases/diff?a={rollout.release}&b={rollout.release}")
    assert "They answer alike" in same.text
    assert person.get("/releases/diff").status_code == 404


@pytest.mark.parametrize("word", HOSTILE)
def test_what_a_release_holds_is_inert(fresh: LoopSite, word: str) -> None:
    """No tag, attribute or handler comes out of a prompt or a reason on any page that shows it."""
    word = "".join(each for each in word if each.isprintable() and each not in '\\"{}%')
    calm = pages(fresh, "calm")
    wild = pages(fresh, f"<i>{word}</i>")
    assert "<i>" in wild[0].text.replace("&lt;", "<")
    for one, other in zip(calm, wild, strict=True):
        assert counted(one) == counted(other)
        for tag, attributes in other.tags:
            assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
            assert str(attributes.get("href", "/")).startswith(("/", "#"))


def counted(page: Page) -> dict[str, int]:
    """How often each tag that could do something stands in a page."""
    names = [tag for tag, _ in page.tags]
    active = ("script", "img", "iframe", "object", "a", "form", "input", "link", "i", "style", "svg")
    return {each: names.count(each) for each in active}


def pages(site: LoopSite, word: str) -> list[Page]:
    """Every page that shows the word: in a prompt, in a reason, in who asked."""
    loop = site.loop
    loop.clock.forward(60)
    if loop.ledger.snapshot() is None:
        loop.apply(OLD_PROMPT)
    loop.apply(NEW_PROMPT + word)
    loop.start()
    loop.pause()
    rollout = loop.rollouts.list()[0]
    person = site.person()
    answer: Any = person.post(
        "/deployments/support/rollout/abort",
        data={"rollout": rollout.id, "reason": word},
        headers={"origin": "http://testserver"},
    )
    assert answer.status_code == 303, answer.text
    paths = (
        f"/releases/{rollout.release}",
        f"/rollouts/{rollout.id}",
        f"/releases/diff?a={rollout.baseline}&b={rollout.release}",
    )
    return [shown(person, path) for path in paths]
