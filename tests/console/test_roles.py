"""Roles: who may ask what of the API and the console, written out by hand, and how a key's name is kept.

A route or page that is not in these tables fails here until somebody decides who may use it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from airboss.config.types import Role
from airboss.console import api
from airboss.console.api import ROUTES
from airboss.console.page import Action, Page
from airboss.governance.keys import hash_key, new_key
from airboss.governance.roles import ROLES, allows, only_admins
from tests.console.governed import DATA_KEY, Governed, governed
from tests.console.site import NAMES, NOW, PEOPLE, Site

ORIGIN = {"origin": "http://testserver"}

API: dict[str, Role] = {
    "GET /api/v1/alarms": "viewer",
    "GET /api/v1/alarms/{name}": "viewer",
    "GET /api/v1/audit": "viewer",
    "GET /api/v1/audit/checkpoint": "viewer",
    "GET /api/v1/audit/leaves": "viewer",
    "GET /api/v1/audit/proof": "viewer",
    "GET /api/v1/config": "operator",
    "GET /api/v1/datasets": "viewer",
    "GET /api/v1/datasets/{name}": "reader",
    "GET /api/v1/datasets/{name}/items": "reader",
    "GET /api/v1/deployments": "viewer",
    "GET /api/v1/drift": "viewer",
    "GET /api/v1/erasures": "viewer",
    "GET /api/v1/erasures/{id}": "viewer",
    "GET /api/v1/evals": "viewer",
    "GET /api/v1/evals/{id}": "reader",
    "GET /api/v1/finetunes": "viewer",
    "GET /api/v1/finetunes/{id}": "reader",
    "GET /api/v1/jobs": "reader",
    "GET /api/v1/jobs/{id}": "reader",
    "GET /api/v1/keys": "viewer",
    "GET /api/v1/nodes": "viewer",
    "GET /api/v1/prices": "viewer",
    "GET /api/v1/probes": "viewer",
    "GET /api/v1/probes/{id}": "reader",
    "GET /api/v1/judges": "viewer",
    "GET /api/v1/providers": "viewer",
    "GET /api/v1/records": "viewer",
    "GET /api/v1/records/{id}": "viewer",
    "GET /api/v1/records/{id}/scores": "reader",
    "POST /api/v1/records/{id}/scores": "reader",
    "GET /api/v1/releases": "viewer",
    "GET /api/v1/releases/diff": "reader",
    "GET /api/v1/releases/{ref}": "reader",
    "GET /api/v1/report": "viewer",
    "GET /api/v1/rollouts": "viewer",
    "GET /api/v1/rollouts/{id}": "viewer",
    "GET /api/v1/scores": "viewer",
    "GET /api/v1/series": "viewer",
    "GET /api/v1/stats": "viewer",
    "GET /api/v1/status": "viewer",
    "GET /api/v1/traces": "viewer",
    "GET /api/v1/traces/{id}": "viewer",
    "GET /api/v1/traces/{id}/spans/{span}": "reader",
    "GET /api/v1/transfer": "reader",
    "GET /api/v1/tunes": "viewer",
    "GET /api/v1/tunes/{id}": "reader",
    "GET /api/v1/usage": "viewer",
    "GET /api/v1/views": "viewer",
    "POST /api/v1/alarms/{name}/silence": "operator",
    "POST /api/v1/alarms/{name}/test": "operator",
    "POST /api/v1/config": "operator",
    "POST /api/v1/config/diff": "operator",
    "POST /api/v1/datasets": "operator",
    "POST /api/v1/datasets/{name}/delete": "operator",
    "POST /api/v1/datasets/{name}/holdout": "operator",
    "POST /api/v1/drift/{deployment}/accept": "operator",
    "POST /api/v1/erasures": "admin",
    "POST /api/v1/evals": "operator",
    "POST /api/v1/finetunes": "operator",
    "POST /api/v1/jobs/{id}/cancel": "operator",
    "POST /api/v1/keys": "admin",
    "POST /api/v1/keys/{name}/revoke": "admin",
    "POST /api/v1/keys/{name}/rotate": "admin",
    "POST /api/v1/keys/{name}/set": "admin",
    "POST /api/v1/nodes": "admin",
    "POST /api/v1/nodes/{name}/forget": "admin",
    "POST /api/v1/nodes/{name}/journals/{journal}/ended": "admin",
    "POST /api/v1/nodes/{name}/journals/{journal}/{segment}": "admin",
    "POST /api/v1/nodes/{name}/leave": "admin",
    "POST /api/v1/prices": "admin",
    "POST /api/v1/probes": "operator",
    "POST /api/v1/rollouts": "operator",
    "POST /api/v1/rollouts/order": "operator",
    "POST /api/v1/transfer": "admin",
    "POST /api/v1/tunes": "operator",
    "POST /api/v1/views": "operator",
    "POST /api/v1/views/{name}/delete": "operator",
}


def filled(path: str) -> str:
    """A path with something in the place of its parameters."""
    return re.sub(r"{\w+}", "some-id", path)


def refused_for_role(answer: Any) -> bool:
    """Whether the role was too low, whatever else may be wrong with the request."""
    return answer.status_code == 403 and "role_too_low" in answer.text


@pytest.fixture(scope="module")
def site() -> Site:
    """A console with nothing in it."""
    return Site()


def test_every_route_of_the_api_is_decided() -> None:
    """The table has each route of the API, and with the role that it asks for."""
    assert {f"{each.method} {each.path}": each.role for each in ROUTES} == API


@pytest.mark.parametrize("role", ROLES)
def test_the_api_is_open_to_just_whom_the_table_says(site: Site, role: Role) -> None:
    """Every route, asked by every role: refused for the role, or not for that."""
    program = site.program(role)
    for what, needed in API.items():
        method, path = what.split()
        answer = program.request(method, filled(path), content=b"{")
        assert refused_for_role(answer) != allows(role, needed), (what, answer.text[:300])
        if refused_for_role(answer):
            message = answer.json()["error"]["message"]
            assert f"the role {needed} " in message
            assert NAMES["admin"] in message


def test_what_decides_nothing_is_for_admins() -> None:
    """A route, page or form that says nothing about roles needs the highest."""
    for kind in (api.Route, Page, Action):
        (role,) = [each.default for each in msgspec.structs.fields(kind) if each.name == "role"]
        assert role == "admin"


def test_a_route_that_is_no_door_is_for_admins() -> None:
    """What somebody adds to the application without a word about roles is closed to all but admins."""
    site = Site()
    app = site.app()

    async def plain(_request: Any) -> Any:
        raise AssertionError("never reached by a lower role")

    app.router.add_route("/api/v1/new", plain)
    client = TestClient(app, raise_server_exceptions=False)
    for role in ROLES[:-1]:
        answer = client.get("/api/v1/new", headers={"authorization": f"Bearer {PEOPLE[NAMES[role]][0]}"})
        assert refused_for_role(answer), role
    answer = client.get("/api/v1/new", headers={"authorization": f"Bearer {PEOPLE['anna'][0]}"})
    assert answer.status_code == 500


def test_roles_are_a_ladder() -> None:
    """Each may what those below it may; a text that is no role may nothing."""
    for place, held in enumerate(ROLES):
        assert [allows(held, needed) for needed in ROLES] == [place >= other for other in range(len(ROLES))]
    assert not any(allows(text, "viewer") for text in ("", "root", "Admin", "viewer "))


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Governed]:
    """A console over a real ledger."""
    with governed(tmp_path) as made:
        yield made


def make(site: Governed, name: str, **said: Any) -> dict[str, Any]:
    """A key, made by the admin."""
    answer = site.program().post("/api/v1/keys", json={"name": name, **said})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def login(site: Governed, secret: str) -> Any:
    """A browser that has signed in with that key."""
    client = site.client()
    answer = client.post("/login", data={"key": secret}, headers=ORIGIN)
    assert answer.status_code == 303, answer.text
    return client


def test_a_key_with_a_role_is_shown_once_and_listed_with_it(real: Governed) -> None:
    """It opens the API at once, as what it was made for, and is in the list without its secret."""
    made = make(real, "alice", role="viewer")
    assert (made["name"], made["role"]) == ("alice", "viewer")
    client = real.client()
    client.headers["authorization"] = f"Bearer {made['key']}"
    listed = client.get("/api/v1/keys")
    assert listed.status_code == 200
    assert made["key"] not in listed.text
    (alice,) = [each for each in listed.json()["keys"] if each["name"] == "alice"]
    assert (alice["role"], alice["deployments"], alice["state"]) == ("viewer", [], "active")
    assert refused_for_role(client.post("/api/v1/keys", json={"name": "mallory", "role": "admin"}))


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({"limits": {"concurrency": 3}}, "limits"),
        ({"budget": {"usd": 3}}, "budget"),
        ({"deployments": ["support"]}, "deployments"),
        ({"priority": "low"}, "priority"),
    ],
)
def test_what_is_about_calls_means_nothing_beside_a_role(
    real: Governed, said: dict[str, Any], word: str
) -> None:
    """Such a setting is refused, when a key is made and when one is changed."""
    answer = real.program().post("/api/v1/keys", json={"name": "alice", "role": "viewer", **said})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, word)
    make(real, "alice", role="viewer")
    answer = real.program().post("/api/v1/keys/alice/set", json=said)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, word)


def test_a_key_stays_of_its_kind(real: Governed) -> None:
    """No key for models gets a role: what has its secret is an app. Nobody's name is nobody's key."""
    answer = real.program().post("/api/v1/keys/web/set", json={"role": "admin"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "wrong_call")
    for name in ("console", "local"):
        answer = real.program().post("/api/v1/keys", json={"name": name, "role": "viewer"})
        assert answer.status_code == 400, name


def test_what_somebody_does_stands_under_their_name(real: Governed) -> None:
    """In the audit log, by program and by browser, and so does their login; the admin key has none."""
    secret = make(real, "alice", role="operator")["key"]
    browser = login(real, secret)
    assert (
        browser.post("/api/v1/views", json={"name": "mine", "url": "/explore"}, headers=ORIGIN).status_code
        == 200
    )
    program = real.client()
    program.headers["authorization"] = f"Bearer {secret}"
    assert program.post("/api/v1/views", json={"name": "two", "url": "/explore"}).status_code == 200
    assert {each["by"] for each in program.get("/api/v1/views").json()["views"]} == {"alice"}
    done = [(each["action"], each["actor"]) for each in program.get("/api/v1/audit").json()["entries"]]
    assert done[:4] == [
        ("view.save", "alice"),
        ("view.save", "alice"),
        ("login", "alice"),
        ("keys.create", "admin key"),
    ]


def test_nobody_speaks_for_somebody_else(real: Governed) -> None:
    """Who orders a rollout is whose key it is, whatever the request says."""
    asked: list[str] = []

    class Rollouts:
        def start(self, deployment: str, release: str | None, *, by: str) -> Any:
            del deployment, release
            asked.append(by)
            raise AssertionError("enough is known")

    site = Site(rollouts=Rollouts())
    intent = {"deployment": "support", "by": "anna", "reason": "x"}
    site.program("operator").post("/api/v1/rollouts", json=intent)
    site.program().post("/api/v1/rollouts", json=intent)
    assert asked == ["otto", "anna"]


@pytest.mark.parametrize(
    "what", ["revoked", "rotated", "role", "expired", "replaced"], ids=lambda what: f"when it is {what}"
)
def test_a_session_ends_with_what_it_is_bound_to(real: Governed, what: str) -> None:
    """The next request of a browser is sent to the login; a program is refused, or gets what is right now."""
    secret = make(real, "alice", role="operator", expires_at="2026-11-25T00:00:00Z")["key"]
    browser, admin = login(real, secret), real.program()
    assert browser.get("/api/v1/keys").status_code == 200
    if what == "revoked":
        admin.post("/api/v1/keys/alice/revoke")
    elif what == "rotated":
        admin.post("/api/v1/keys/alice/rotate")
    elif what == "role":
        admin.post("/api/v1/keys/alice/set", json={"role": "viewer"})
    elif what == "expired":
        real.clock.forward(11 * 3_600)
    else:
        admin.post("/api/v1/keys/alice/revoke")
        make(real, "alice", role="operator")
    assert browser.get("/api/v1/keys").status_code == 401
    assert browser.get("/").headers["location"].startswith("/login")
    program = real.client()
    program.headers["authorization"] = f"Bearer {secret}"
    answer = program.post("/api/v1/views", json={"name": "mine", "url": "/explore"})
    assert answer.status_code == (403 if what == "role" else 401)
    if what == "expired":
        assert answer.json()["error"]["code"] == "expired_api_key"


def test_a_grace_holds_for_sessions_too(real: Governed) -> None:
    """A session lives as long as the secret that opened it is good."""
    secret = make(real, "alice", role="viewer")["key"]
    browser = login(real, secret)
    real.program().post("/api/v1/keys/alice/rotate", json={"grace_s": 3_600})
    assert browser.get("/api/v1/keys").status_code == 200
    real.clock.forward(3_601)
    assert browser.get("/api/v1/keys").status_code == 401


def test_a_cookie_is_no_more_than_it_was_given_as(real: Governed) -> None:
    """Its name cannot be changed, nor taken off, and one key's cookie is not another's."""
    make(real, "bob", role="admin")
    browser = login(real, make(real, "alice", role="viewer")["key"])
    cookie = browser.cookies["airboss_session"]
    for forged in (
        cookie.replace(".alice.", ".bob."),
        cookie.replace(".alice.", "."),
        cookie.replace(".alice.", ".."),
        cookie.replace(".alice.", ".nobody."),
    ):
        client = real.client()
        client.cookies.set("airboss_session", forged)
        assert client.get("/api/v1/keys").status_code == 401, forged


def test_wrong_keys_are_counted_and_right_ones_are_not(real: Governed) -> None:
    """Ten wrong ones shut an address out, a console key too; with a right one nobody is counted."""
    secret = make(real, "alice", role="viewer")["key"]
    client = real.client()
    for _ in range(30):
        answer = client.get("/api/v1/keys", headers={"authorization": f"Bearer {secret}"})
        assert answer.status_code == 200
    for _ in range(10):
        client.get("/api/v1/keys", headers={"authorization": f"Bearer {new_key()}"})
    answer = client.get("/api/v1/keys", headers={"authorization": f"Bearer {secret}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_attempts")


def test_a_data_plane_key_still_opens_nothing(real: Governed) -> None:
    """It is told by name what it is, and is no guess."""
    answer = real.client().get("/api/v1/keys", headers={"authorization": f"Bearer {DATA_KEY}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_an_admin_key")


OPERATED = """
[providers.p]
kind = "openai-compatible"
base_url = "http://127.0.0.1:9/v1"

[models.m]
provider = "p"
model = "x"

[releases.r]
model = "m"
policy = "strict"

[deployments.d]
release = "r"

[policies.strict]
pii = { action = "mask" }

[keys.alice]
role = "viewer"
"""


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('model = "x"', 'model = "y"', None),
        ('release = "r"', 'release = "r"\naliases = ["gpt"]', None),
        ('role = "viewer"', 'role = "admin"', "[keys]"),
        ("127.0.0.1:9", "127.0.0.1:10", "[providers]"),
        ("base_url", 'api_key = "env:AIRBOSS_ADMIN_KEY"\nbase_url', "[providers]"),
        ('action = "mask"', 'action = "observe"', "[policies]"),
        ('policy = "strict"', "", "a policy that [deployments.d] is bound to"),
        ('release = "r"', 'model = "m"', "a policy that [deployments.d] is bound to"),
        ("[keys.alice]", '[store]\nbodies = "off"\n[keys.alice]', "[store]"),
    ],
)
def test_an_operator_changes_what_is_served_and_no_more(old: str, new: str, what: str | None) -> None:
    """Who may do what, where calls go, what is kept and masked, and references to secrets are an admin's."""
    assert old in OPERATED
    wanted = OPERATED.replace(old, new, 1)
    assert only_admins(api.parsed(OPERATED), api.parsed(wanted)) == what
    site = Site()
    site.ledger.text = OPERATED
    answer = site.program("operator").post("/api/v1/config", json={"config": wanted})
    assert answer.status_code == (200 if what is None else 403), answer.text
    assert bool(site.applied) == (what is None)
    if what is not None:
        assert what in answer.json()["error"]["message"]
    assert site.program("admin").post("/api/v1/config", json={"config": wanted}).status_code == 200


def test_the_ledger_keeps_a_hash(real: Governed) -> None:
    """And nothing that is not there of keys from before roles."""
    secret = make(real, "alice", role="viewer")["key"]
    kept = {key.name: key for key in real.ledger.all_keys()}
    assert kept["alice"].sha256 == hash_key(secret)
    assert kept["alice"].created_at == NOW
    assert kept["web"].role is None
