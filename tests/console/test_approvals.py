"""What somebody changes waits for somebody else, where the configuration wants it."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from airboss.config import OidcConfig
from airboss.config.types import Role
from airboss.console import api_approvals, api_config
from airboss.console.api_audit import entry
from airboss.console.callers import Caller, Callers
from airboss.console.route import Call
from airboss.console.session import as_name
from airboss.console.waits import WAITING_MAX, Waits
from airboss.domain.errors import PermissionDenied
from airboss.domain.plan import ServingPlan
from airboss.domain.ports import ApiKey
from airboss.governance.approvals import NOTIFIED
from airboss.governance.audit import Sealer
from airboss.governance.keys import hash_key, new_key
from airboss.governance.sign_in import person
from airboss.store.audit import SqlAuditLog
from airboss.store.proposal_rows import CHARS_MAX
from tests.console.governed import SIGNER
from tests.console.looped import LoopSite, pressed
from tests.console.site import NOW
from tests.support.kept_keys import put_key
from tests.support.seed_loop import CONFIG, NEW_PROMPT, OLD_PROMPT

WANTED = "\n[approvals]\nrequired = true\n"
TEXT = CONFIG.replace("PROMPT", OLD_PROMPT) + WANTED
SLOWER = TEXT.replace("above = 4000", "above = 3000")
ELLA = new_key()


@pytest.fixture
def site(fresh: LoopSite) -> Iterator[LoopSite]:
    """An Airboss that wants approvals, with a real audit log, and a second operator, `ella`."""
    fresh.loop.rollouts.apply(TEXT, "x")
    fresh.audit = SqlAuditLog(fresh.loop.data.ledger_url, Sealer(SIGNER))
    ella = ApiKey(
        name="ella", sha256=hash_key(ELLA), created_at=NOW, deployments=(), given=(), role="operator"
    )
    put_key(fresh.loop.ledger, ella)
    yield fresh
    fresh.audit.close()


def ella(site: LoopSite) -> Any:
    """A program with her key."""
    client = site.client()
    client.headers["authorization"] = f"Bearer {ELLA}"
    return client


def asked(site: LoopSite, text: str = SLOWER, role: Role = "operator", **more: Any) -> int:
    """A configuration that somebody applies: it waits."""
    answer = site.program(role).post("/api/v1/config", json={"config": text, "reason": "slow", **more})
    assert answer.status_code == 202, answer.text
    assert answer.json()["state"] == "waiting"
    number: int = answer.json()["proposal"]
    return number


def decide(client: Any, number: int, word: str = "approve", **body: str) -> Any:
    """A decision."""
    return client.post(f"/api/v1/approvals/{number}/{word}", json=body)


def said_by(caller: Caller, number: int = 0, body: bytes = b"") -> Call:
    """What somebody sends, of a change."""
    who = caller.actor(program=False)
    return Call(params={}, path={"number": str(number)}, body=body, now=NOW, actor=who, caller=caller)


def told(site: LoopSite) -> list[tuple[str, str | None]]:
    """The audit log's actions and who did them, the oldest first."""
    return [(each.action, each.actor) for each in map(entry, reversed(site.audit.newest(limit=99)))]


def test_a_change_waits_for_another(site: LoopSite) -> None:
    """Nothing is in force before; then it is as it was asked for, under the name of who asked."""
    before = site.loop.ledger.config()
    number = asked(site)
    assert site.loop.ledger.config() == before
    (waiting,) = ella(site).get("/api/v1/approvals?state=waiting").json()["approvals"]
    assert (waiting["number"], waiting["by"], waiting["reason"]) == (number, "otto", "slow")
    (change,) = ella(site).get(f"/api/v1/approvals/{number}").json()["changes"]
    assert (change["before"], change["after"]) == (4000, 3000)
    answer = decide(ella(site), number, reason="seen")
    assert answer.status_code == 200, answer.text
    assert (answer.json()["state"], answer.json()["decided_by"]) == ("approved", "ella")
    assert "above = 3000" in (site.loop.ledger.config() or "")
    assert told(site)[-3:] == [
        ("approvals.propose", "otto"),
        ("config.apply", "otto"),
        ("approvals.approve", "ella"),
    ]
    again = decide(ella(site), number)
    assert (again.status_code, again.json()["error"]["code"]) == (400, "already_decided")


def test_nobody_approves_their_own(site: LoopSite) -> None:
    """They take it back; and nobody without the role decides."""
    number = asked(site)
    own = decide(site.program("operator"), number)
    assert (own.status_code, own.json()["error"]["code"]) == (403, "own_proposal")
    for role in ("viewer", "reader"):
        assert decide(site.program(role), number).status_code == 403
        assert site.program(role).get("/api/v1/approvals").status_code == 403
    assert decide(site.program("operator"), number, "reject").json()["state"] == "rejected"
    assert decide(ella(site), number).status_code == 400
    assert "above = 4000" in (site.loop.ledger.config() or "")


def made_by(site: LoopSite, who: Any, name: str, word: str = "") -> Any:
    """A program with a key that somebody makes, or gives another secret."""
    if word:
        answer = who.post(f"/api/v1/keys/{name}/{word}", json={})
    else:
        answer = who.post("/api/v1/keys", json={"name": name, "role": "admin"})
    assert answer.status_code == 200, answer.text
    client = site.client()
    client.headers["authorization"] = f"Bearer {answer.json()['key']}"
    return client


def test_nobody_makes_themselves_another(site: LoopSite) -> None:
    """Neither a key that an admin made, itself or through others, approves what they ask, nor do they what it
    asks, nor one such key what the other does; with a secret from the admin key it is somebody else's."""
    anna = site.program("admin")
    second = made_by(site, anna, "second")
    third = made_by(site, second, "third")
    number = asked(site, role="admin")
    for other in (second, third):
        answer = decide(other, number)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "same_hands"), answer.text
    assert "anna, who has asked for this, and third are one here" in answer.json()["error"]["message"]
    second = made_by(site, second, "second", "rotate")
    assert decide(second, number).status_code == 403, "she had its secret when it gave itself another"
    theirs = third.post("/api/v1/config", json={"config": f"{SLOWER}# third\n"}).json()["proposal"]
    for other in (anna, second):
        assert decide(other, theirs).json()["error"]["code"] == "same_hands"
    assert decide(second, number, "reject").status_code == 200
    number = asked(site, role="admin")
    ellas = made_by(site, anna, "ella", "rotate")
    assert decide(ellas, number).json()["error"]["code"] == "same_hands"
    ellas = made_by(site, site.program(), "ella", "rotate")
    assert decide(ellas, number).status_code == 200


def test_those_who_are_to_know_are_told(site: LoopSite) -> None:
    """Of what waits and how it was decided: every notifier, or those that the configuration names."""
    number = asked(site)
    assert decide(ella(site), number, reason="fine").status_code == 200
    found = site.loop.alerts.notifications(NOTIFIED, limit=9)
    assert [(each.notifier, each.kind, each.state) for each in found] == [("ops", "approval", "waiting")] * 2
    decided, waits = (each.body for each in found)
    assert waits["text"] == f"otto asks for approval of a change of the configuration ({number}): slow"
    assert (
        decided["text"] == f"ella approved a change of the configuration ({number}) that otto asked for: fine"
    )
    assert (waits["state"], decided["state"], decided["proposal"]) == ("waiting", "approved", number)
    assert waits["link"].endswith("/governance/approvals")
    site.loop.rollouts.apply(f"{TEXT}notify = []\n", "x")
    asked(site, f"{SLOWER}notify = []\n")
    assert len(site.loop.alerts.notifications(NOTIFIED, limit=9)) == 2


def test_no_secret_is_told(site: LoopSite) -> None:
    """What people write is redacted before it leaves."""
    desk = dataclasses.replace(site.desk(), redact=lambda text: text.replace("sk-9f8e7d6c", "[redacted]"))
    who = Caller(role="operator", key="otto")
    body = msgspec.json.encode({"config": SLOWER, "reason": "sk-9f8e7d6c"})
    with pytest.raises(Waits):
        api_config.apply(desk, said_by(who, body=body))
    (told,) = site.loop.alerts.notifications(NOTIFIED, limit=9)
    assert "sk-9f8e7d6c" not in str(told.body)
    assert told.body["detail"] == "[redacted]"


@pytest.mark.parametrize("change", [{"revoked_at": NOW}, {"role": "reader"}, {"role": None}])
def test_what_a_key_asked_that_may_no_more_is_rejected(site: LoopSite, change: dict[str, Any]) -> None:
    """A stolen key is revoked; what it asked for is not made all the same."""
    number = asked(site)
    otto = next(each for each in site.loop.ledger.all_keys() if each.name == "otto")
    put_key(site.loop.ledger, msgspec.structs.replace(otto, **change))
    answer = decide(ella(site), number)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "asker_gone")
    assert "above = 4000" in (site.loop.ledger.config() or "")
    assert decide(ella(site), number, "reject").status_code == 200


def test_somebody_stays_who_they_are(site: LoopSite) -> None:
    """Whoever signs in is known by their provider's word for them, not by an address that they change."""
    oidc = OidcConfig(issuer="https://login.example.com", client_id="a", roles={"*": "operator"})
    desk = site.desk()

    def named(**claims: object) -> Caller:
        who = person(claims, oidc)
        found = Callers(desk.ledger, desk.clock, lambda: oidc).named(as_name(who))
        assert found is not None
        return found[0]

    verified = {"email": "ann@example.com", "email_verified": True}
    ann = named(sub="u-1", **verified)
    with pytest.raises(Waits) as waits:
        api_config.apply(desk, said_by(ann, body=msgspec.json.encode({"config": SLOWER})))
    number = waits.value.number
    for own in (named(sub="u-1", email="ann+1@example.com", email_verified=True), named(sub="u-1")):
        assert own.key != ann.key
        call = said_by(own, number)
        assert api_approvals.approval(desk, call).own
        with pytest.raises(PermissionDenied, match="somebody else approves it"):
            api_approvals.approve(desk, call)
    other = named(sub="u-2", preferred_username="ann")
    call = said_by(other, number)
    assert not api_approvals.approval(desk, call).own
    assert api_approvals.approve(desk, call).state == "approved"


def test_no_secret_waits(site: LoopSite) -> None:
    """A key that is written out would be read by whoever may approve; with the admin key it is moved away."""
    text = f'{SLOWER}\n[providers.more]\nkind = "openai"\napi_key = "sk-9f8e7d6c"\n'
    answer = site.program("admin").post("/api/v1/config", json={"config": text})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "literal_secret")
    assert "sk-9f8e7d6c" not in answer.text
    assert ella(site).get("/api/v1/approvals").json()["approvals"] == []
    assert site.program().post("/api/v1/config", json={"config": text}).status_code == 200


def test_a_decision_locks_the_ledger_when_all_is_worked_out(site: LoopSite) -> None:
    """A gateway that keeps what `previous_response_id` needs does not wait for a plan to be made."""
    number, desk = asked(site), site.desk()
    apply, free = desk.apply, list[str]()

    def slow(text: str, source: str) -> ServingPlan:
        other = sqlite3.connect(site.loop.data.ledger_path, timeout=0, isolation_level=None)
        other.execute("begin immediate")
        other.close()
        free.append(text)
        return apply(text, source)

    desk = dataclasses.replace(desk, apply=slow)
    call = said_by(Caller(role="admin", key="anna"), number)
    assert api_approvals.approve(desk, call).state == "approved"
    assert free == [SLOWER]


def test_the_admin_key_waits_for_nobody(site: LoopSite) -> None:
    """It is for the day on which nobody else is there; it approves, too."""
    number = asked(site)
    assert decide(site.program(), number).status_code == 200
    answer = site.program().post("/api/v1/config", json={"config": TEXT})
    assert answer.status_code == 200
    assert "above = 4000" in (site.loop.ledger.config() or "")


def test_what_is_for_admins_is_approved_by_one(site: LoopSite) -> None:
    """An admin waits as well, and no operator lets them have what an operator may not change."""
    off = TEXT.replace(WANTED, "")
    refused = site.program("operator").post("/api/v1/config", json={"config": off})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "role_too_low")
    number = asked(site, off, role="admin")
    answer = decide(ella(site), number)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "role_too_low")
    assert [each["state"] for each in ella(site).get("/api/v1/approvals").json()["approvals"]] == ["waiting"]
    assert told(site)[-1] == ("approvals.propose", "anna")
    assert decide(site.program(), number).status_code == 200
    assert site.program("operator").post("/api/v1/config", json={"config": off}).status_code == 200


def test_what_was_looked_at_is_what_is_made(site: LoopSite) -> None:
    """Once another configuration is in force nothing of this one is, and it says so; a wrong one never
    waits."""
    number = asked(site)
    site.program().post("/api/v1/config", json={"config": TEXT + "# new\n"})
    answer = decide(ella(site), number)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "config_changed")
    assert ella(site).get(f"/api/v1/approvals/{number}").json()["approval"]["state"] == "waiting"
    wrong = site.program("operator").post("/api/v1/config", json={"config": "[models"})
    assert wrong.status_code == 400
    late = site.program("operator").post("/api/v1/config", json={"config": SLOWER, "plan": 1})
    assert (late.status_code, late.json()["error"]["code"]) == (400, "config_changed")


def test_rollouts_wait(site: LoopSite) -> None:
    """Their start and their promotion, of just what was asked for; to pause and abort does not."""
    site.program().post("/api/v1/config", json={"config": CONFIG.replace("PROMPT", NEW_PROMPT) + WANTED})
    (deployment,) = [
        each
        for each in site.program().get("/api/v1/deployments").json()["deployments"]
        if each["name"] == "support"
    ]
    otto = site.program("operator")
    started = otto.post("/api/v1/rollouts", json={"deployment": "support"})
    assert started.status_code == 202, started.text
    number = started.json()["proposal"]
    shown = ella(site).get(f"/api/v1/approvals/{number}").json()
    assert shown["asks"]["release"] == deployment["candidate"]
    assert decide(ella(site), number).status_code == 200
    (live,) = otto.get("/api/v1/rollouts?deployment=support").json()["rollouts"]
    assert (live["release"], live["by"]) == (deployment["candidate"], "otto")
    order = {"deployment": "support", "action": "promote"}
    promote = otto.post("/api/v1/rollouts/order", json=order).json()["proposal"]
    assert otto.post("/api/v1/rollouts/order", json=order | {"action": "pause"}).status_code == 200
    assert otto.post("/api/v1/rollouts/order", json=order | {"action": "abort"}).status_code == 200
    late = decide(ella(site), promote)
    assert late.status_code == 400, late.text
    assert ella(site).get(f"/api/v1/approvals/{promote}").json()["approval"]["state"] == "waiting"


def test_a_rollout_whose_time_is_past_is_not_approved(site: LoopSite) -> None:
    """It was to begin then, at night perhaps, and not whenever somebody comes to approve it."""
    site.program().post("/api/v1/config", json={"config": CONFIG.replace("PROMPT", NEW_PROMPT) + WANTED})
    start = {"deployment": "support", "at": (site.loop.clock.at + timedelta(hours=1)).isoformat()}
    number = site.program("operator").post("/api/v1/rollouts", json=start).json()["proposal"]
    site.loop.clock.at += timedelta(hours=2)
    late = decide(ella(site), number)
    assert late.status_code == 400
    assert "is past; reject it, and ask for it anew if it is wanted" in late.json()["error"]["message"]
    assert site.program().get("/api/v1/rollouts?deployment=support").json()["rollouts"] == []
    assert decide(ella(site), number, "reject").status_code == 200


def test_what_cannot_be_started_does_not_wait(site: LoopSite) -> None:
    """A second rollout of a deployment, one without a candidate, and a promotion where none runs are refused
    at once: whoever approved them would hear only then why they cannot be made."""
    otto = site.program("operator")
    start, promote = {"deployment": "support"}, {"deployment": "support", "action": "promote"}

    def refused(path: str, intent: dict[str, str]) -> str:
        answer = otto.post(path, json=intent)
        assert answer.status_code == 400, answer.text
        return str(answer.json()["error"]["message"])

    assert "has no candidate" in refused("/api/v1/rollouts", start)
    assert "no rollout of 'support' is running" in refused("/api/v1/rollouts/order", promote)
    site.program().post("/api/v1/config", json={"config": CONFIG.replace("PROMPT", NEW_PROMPT) + WANTED})
    assert site.program().post("/api/v1/rollouts", json=start).status_code == 200
    assert "is running; `airboss rollout abort support` ends it" in refused("/api/v1/rollouts", start)
    assert site.program().post("/api/v1/rollouts/order", json=promote).status_code == 200
    assert "`airboss rollout undo support` takes that back" in refused("/api/v1/rollouts/order", promote)
    assert otto.get("/api/v1/approvals").json()["approvals"] == []


def test_a_name_is_pinned_to_its_release(site: LoopSite) -> None:
    """Also that of an admin, who may name any: it may be another's by the time that somebody approves it."""
    site.program().post("/api/v1/config", json={"config": CONFIG.replace("PROMPT", NEW_PROMPT) + WANTED})
    (deployment,) = [
        each
        for each in site.program().get("/api/v1/deployments").json()["deployments"]
        if each["name"] == "support"
    ]
    kept = site.program().get("/api/v1/releases").json()["releases"]
    name = next(each["name"] for each in kept if each["digest"] == deployment["candidate"])
    anna = site.program("admin")
    number = anna.post("/api/v1/rollouts", json={"deployment": "support", "release": name}).json()["proposal"]
    assert ella(site).get(f"/api/v1/approvals/{number}").json()["asks"]["release"] == deployment["candidate"]
    for path, more in (("/api/v1/rollouts", {}), ("/api/v1/rollouts/order", {"action": "promote"})):
        assert anna.post(path, json={"deployment": "nobody", **more}).status_code == 404


def test_so_much_waits_and_no_more(site: LoopSite) -> None:
    """Whoever asks for more is told."""
    for number in range(WAITING_MAX):
        assert asked(site, f"{SLOWER}# {number}\n") == number + 1
    assert asked(site, f"{SLOWER}# 0\n") == 1, "asked for twice, it waits once"
    full = site.program("operator").post("/api/v1/config", json={"config": SLOWER})
    assert full.status_code == 429
    assert f"{WAITING_MAX} changes wait" in full.json()["error"]["message"]


def test_so_long_is_what_waits(site: LoopSite) -> None:
    """Together: a list of it is read whole."""
    filler = "#" * 1_000_000
    for number in range(CHARS_MAX // len(filler)):
        asked(site, f"{SLOWER}{filler}{number}\n")
    full = site.program("operator").post("/api/v1/config", json={"config": f"{SLOWER}{filler}\n"})
    assert full.status_code == 429
    assert "characters together" in full.json()["error"]["message"]


def test_without_it_nothing_waits(fresh: LoopSite) -> None:
    """As ever."""
    text = CONFIG.replace("PROMPT", OLD_PROMPT)
    fresh.loop.rollouts.apply(text, "x")
    answer = fresh.program("operator").post("/api/v1/config", json={"config": text + "# x\n"})
    assert answer.status_code == 200, answer.text
    assert "[approvals]" in fresh.person("operator").get("/governance/approvals").text


@pytest.mark.parametrize("number", ["0", "9", "x", "-1", "9" * 30])
def test_what_there_is_not(site: LoopSite, number: str) -> None:
    """Is told as that."""
    assert ella(site).get(f"/api/v1/approvals/{number}").status_code == 404
    assert decide(ella(site), number).status_code == 404  # type: ignore[arg-type]
    assert ella(site).get("/api/v1/approvals?state=x").status_code == 400


def test_the_pages(site: LoopSite) -> None:
    """The form says that it waits, leads to the list, and the list decides."""
    otto, anna = site.person("operator"), site.person("admin")
    plan = str(site.loop.plan().number)
    said = {"text": SLOWER, "plan": plan}
    assert "Ask for 1 change" in pressed(otto, "/system/configuration/compare", **said).text
    sent = pressed(otto, "/system/configuration", **said, reason="<b>slow")
    assert (sent.status_code, sent.headers["location"]) == (303, "/governance/approvals#p1")
    own = otto.get("/governance/approvals").text
    assert "Take it back" in own
    assert "Approve it" not in own
    assert "change waits</span>" in anna.get("/").text.replace(" for approval", "")
    assert "change waits" not in site.person("viewer").get("/").text
    page = anna.get("/governance/approvals").text
    assert "asked for by otto" in page
    assert "&lt;b&gt;slow" in page
    assert "Approve it" in page
    done = pressed(anna, "/governance/approvals/1/approve", reason="fine")
    assert done.status_code == 303
    page = anna.get("/governance/approvals").text
    assert "Nothing waits" in page
    assert "change waits" not in page
    assert "fine" in page
    assert "above = 3000" in (site.loop.ledger.config() or "")
    refused = pressed(otto, "/governance/approvals/1/reject", reason="")
    assert refused.status_code == 400
    assert "Nothing was changed" in refused.text
