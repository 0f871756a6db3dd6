"""Roles: who may ask what of the API and the console, written out by hand, and how a key's name is kept.

A route or page that is not in these tables fails here until somebody decides who may use it.
"""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
from starlette.testclient import TestClient

from airboss.config.types import Role
from airboss.console import api, api_config, pages_table
from airboss.console.api import ROUTES
from airboss.console.page import Action, Page
from airboss.governance.roles import ROLES, allows, only_admins
from tests.console.looped import LoopSite
from tests.console.site import NAMES, PEOPLE, Site

ORIGIN = {"origin": "http://testserver"}

API: dict[str, Role] = {
    "GET /api/v1/alarms": "viewer",
    "GET /api/v1/alarms/{name}": "viewer",
    "GET /api/v1/approvals": "operator",
    "GET /api/v1/approvals/{number}": "operator",
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
    "GET /api/v1/evals/{id}/contest": "reader",
    "GET /api/v1/evals/{id}/items": "reader",
    "GET /api/v1/finetunes": "viewer",
    "GET /api/v1/finetunes/{id}": "reader",
    "GET /api/v1/jobs": "reader",
    "GET /api/v1/jobs/{id}": "reader",
    "GET /api/v1/keys": "viewer",
    "GET /api/v1/tags": "viewer",
    "GET /api/v1/teams": "viewer",
    "GET /api/v1/dead-letters": "reader",
    "GET /api/v1/nodes": "viewer",
    "GET /api/v1/prices": "viewer",
    "GET /api/v1/probes": "viewer",
    "GET /api/v1/scorings": "viewer",
    "GET /api/v1/scorings/{id}": "reader",
    "GET /api/v1/probes/{id}": "reader",
    "GET /api/v1/judges": "viewer",
    "GET /api/v1/providers": "viewer",
    "GET /api/v1/records": "viewer",
    "GET /api/v1/records/{id}": "viewer",
    "GET /api/v1/records/{id}/scores": "reader",
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
    "POST /api/v1/approvals/{number}/approve": "operator",
    "POST /api/v1/approvals/{number}/reject": "operator",
    "POST /api/v1/config": "operator",
    "POST /api/v1/config/diff": "operator",
    "POST /api/v1/datasets": "operator",
    "POST /api/v1/datasets/{name}/add": "operator",
    "POST /api/v1/datasets/{name}/change": "operator",
    "POST /api/v1/datasets/{name}/delete": "operator",
    "POST /api/v1/datasets/{name}/holdout": "operator",
    "POST /api/v1/drift/{deployment}/accept": "operator",
    "POST /api/v1/erasures": "admin",
    "POST /api/v1/evals": "operator",
    "POST /api/v1/evals/estimate": "operator",
    "POST /api/v1/finetunes": "operator",
    "POST /api/v1/jobs/{id}/cancel": "operator",
    "POST /api/v1/keys": "admin",
    "POST /api/v1/keys/{name}/revoke": "admin",
    "POST /api/v1/keys/{name}/rotate": "admin",
    "POST /api/v1/keys/{name}/set": "admin",
    "POST /api/v1/dead-letters/retry": "operator",
    "POST /api/v1/nodes": "admin",
    "POST /api/v1/nodes/{name}/forget": "admin",
    "POST /api/v1/nodes/{name}/journals/{journal}/ended": "admin",
    "POST /api/v1/nodes/{name}/journals/{journal}/{segment}": "admin",
    "POST /api/v1/nodes/{name}/leave": "admin",
    "POST /api/v1/prices": "admin",
    "POST /api/v1/probes": "operator",
    "POST /api/v1/scorings": "operator",
    "POST /api/v1/records/{id}/scores": "reader",
    "POST /api/v1/rollouts": "operator",
    "POST /api/v1/rollouts/order": "operator",
    "POST /api/v1/rollouts/undo": "operator",
    "POST /api/v1/transfer": "admin",
    "POST /api/v1/tunes": "operator",
    "POST /api/v1/views": "operator",
    "POST /api/v1/views/{name}/delete": "operator",
}


PAGES: dict[str, Role] = {
    "/": "viewer",
    "/alerts": "viewer",
    "/alerts/{name}": "viewer",
    "/datasets": "viewer",
    "/datasets/{name}": "reader",
    "/deployments": "viewer",
    "/deployments/{name}": "viewer",
    "/docs": "viewer",
    "/docs/{name}": "viewer",
    "/evaluations": "viewer",
    "/evaluations/{id}": "reader",
    "/explore": "viewer",
    "/finetuning": "viewer",
    "/finetuning/{id}": "reader",
    "/governance": "viewer",
    "/governance/approvals": "operator",
    "/governance/audit": "viewer",
    "/governance/erasures": "viewer",
    "/governance/keys": "viewer",
    "/governance/keys/{name}": "viewer",
    "/governance/report": "viewer",
    "/jobs": "viewer",
    "/playground": "operator",
    "/quality": "viewer",
    "/quality/bias": "viewer",
    "/quality/bias/{id}": "reader",
    "/scorings/{id}": "reader",
    "/quality/drift": "viewer",
    "/records": "viewer",
    "/records/{id}": "viewer",
    "/releases": "viewer",
    "/releases/diff": "reader",
    "/releases/{ref}": "reader",
    "/review": "reader",
    "/rollouts": "viewer",
    "/rollouts/{id}": "viewer",
    "/session": "reader",
    "/system": "viewer",
    "/system/configuration": "viewer",
    "/system/providers": "viewer",
    "/traces": "viewer",
    "/traces/{id}": "viewer",
    "/tuning": "viewer",
    "/tuning/{id}": "reader",
}

FORMS: dict[str, Role] = {
    "/records/{id}/dataset": "operator",
    "/governance/approvals/{number}/approve": "operator",
    "/governance/approvals/{number}/reject": "operator",
    "/alerts/{name}/silence": "operator",
    "/alerts/{name}/test": "operator",
    "/alerts/{name}/unsilence": "operator",
    "/datasets": "operator",
    "/datasets/text": "operator",
    "/datasets/{name}/add": "operator",
    "/datasets/{name}/change": "operator",
    "/datasets/{name}/delete": "operator",
    "/evaluations": "operator",
    "/deployments/{name}/rollout/start": "operator",
    "/deployments/{name}/rollout/undo": "operator",
    "/deployments/{name}/rollout/{action}": "operator",
    "/explore/delete": "operator",
    "/explore/save": "operator",
    "/governance/keys": "admin",
    "/governance/keys/{name}/revoke": "admin",
    "/governance/keys/{name}/rotate": "admin",
    "/governance/keys/{name}/set": "admin",
    "/jobs": "operator",
    "/jobs/{id}/cancel": "operator",
    "/playground": "operator",
    "/playground/keep": "operator",
    "/quality/drift/accept": "operator",
    "/records/{id}/score": "reader",
    "/review/judge": "reader",
    "/review/start": "reader",
    "/review/undo": "reader",
    "/system/configuration": "operator",
    "/system/configuration/compare": "operator",
    "/system/providers/test": "operator",
}

FRAME: dict[str, Role] = {
    "GET /docs/img/{name}": "viewer",
    "GET /records/{id}/request.json": "reader",
    "GET /api/openapi.json": "viewer",
    "POST /theme": "viewer",
    "POST /logout": "viewer",
}
"""What is in no table; `/events`, which never ends, is asked for elsewhere."""


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


def test_every_page_and_form_is_decided() -> None:
    """The tables have each page and form of the console, and with the role that it asks for."""
    assert {each.path: each.role for each in pages_table.PAGES} == PAGES
    assert {each.path: each.role for each in pages_table.ACTIONS} == FORMS


@pytest.mark.parametrize("role", ROLES)
def test_the_console_is_open_to_just_whom_the_tables_say(site: Site, role: Role) -> None:
    """Every page and form, opened and sent by every role: refused for the role, or not for that."""
    asked = {f"GET {path}": needed for path, needed in PAGES.items()}
    asked |= {f"POST {path}": needed for path, needed in FORMS.items()} | FRAME
    person = site.person(role)
    for what, needed in asked.items():
        method, path = what.split()
        answer = person.request(method, filled(path), headers=ORIGIN if method == "POST" else {})
        assert refused_for_role(answer) != allows(role, needed), (what, answer.text[:300])


@pytest.mark.parametrize("role", ROLES)
def test_no_form_is_drawn_that_would_be_refused(week: LoopSite, role: Role) -> None:
    """Nor a link, nor a tab: whatever a page offers, who sees it may do."""
    person = week.person(role)
    roles = {re.compile(re.sub(r"{\w+}", "[^/]+", path)): needed for path, needed in PAGES.items()}
    forms = {re.compile(re.sub(r"{\w+}", "[^/]+", path)): needed for path, needed in FORMS.items()}
    seen = {"/", "/deployments/support"}
    waiting, offered = list(seen), set[Any]()
    while waiting and len(seen) < 250:
        page = person.get(waiting.pop())
        if page.status_code != 200 or "text/html" not in page.headers["content-type"]:
            continue
        for action in re.findall(r'<form method="post" action="([^"]+)"', page.text):
            for pattern, needed in forms.items():
                if pattern.fullmatch(unquote(action)):
                    offered.add(needed)
                    assert allows(role, needed), (page.url, action)
        for link in map(unescape, re.findall(r'href="(/[^"#]*)', page.text)):
            path = unquote(link.partition("?")[0])
            needs = [needed for pattern, needed in roles.items() if pattern.fullmatch(path)]
            assert not needs or any(allows(role, each) for each in needs), (page.url, link)
            kind = re.sub(r"[0-9a-f-]{8,}", "", path)
            if needs and (kind, "") not in offered and link not in seen:
                offered.add((kind, ""))
                seen.add(link)
                waiting.append(link)
    drawn = {each for each in offered if isinstance(each, str)}
    assert drawn == {each for each in ("reader", "operator", "admin") if allows(role, each)}
    assert len(seen) > 20


CHANGES = re.compile(
    r'<pre id="teach-[^>]*>(airboss (?:apply|rollout|tune|eval|probe|dataset|erase|keys)|\[)'
)
"""A command to copy that changes something, or a piece of the configuration."""


@pytest.mark.parametrize("role", ROLES)
def test_no_command_is_offered_that_would_be_refused(fresh: LoopSite, role: Role) -> None:
    """An empty page says for whom the next step is to whom it is refused."""
    person = fresh.person(role)
    policies = person.get("/governance").text
    assert ("airboss apply" in policies, "for an admin" in policies) == (role == "admin", role != "admin")
    empty = [
        person.get(path).text for path in PAGES if "{" not in path and path not in {"/login", "/governance"}
    ]
    offered = [page for page in empty if CHANGES.search(page)]
    assert bool(offered) == allows(role, "operator")
    assert bool([page for page in empty if "for an operator" in page]) != allows(role, "operator")


@pytest.mark.parametrize("role", ROLES)
def test_the_head_says_who_is_logged_in(site: Site, role: Role) -> None:
    """By name and role; the admin key is nobody's."""
    page = site.person(role).get("/").text
    assert re.search(rf'class="who"[^>]*>.*<b>{NAMES[role]}</b><span class="role">{role}</span>', page)
    assert "<b>admin key</b></span>" in site.person().get("/").text


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


FREE = "price = { input_usd_per_mtok = 0, output_usd_per_mtok = 0 }"
BOUND = "a policy that 'd' is bound to"
OPERATED = """
[providers.p]
kind = "openai-compatible"
base_url = "http://127.0.0.1:9/v1"

[models.m]
provider = "p"
model = "x"

[models.free]
provider = "p"
model = "z"
price = { input_usd_per_mtok = 0, output_usd_per_mtok = 0 }

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
        ('release = "r"', 'release = "r"\naliases = ["e"]\n[deployments.e2]\nmodel = "m"', None),
        ("[deployments.d]", '[deployments.e]\nmodel = "m"\naliases = ["d"]\n[deployments.f]', BOUND),
        ("[deployments.d]", "[deployments.e]", BOUND),
        (FREE, "", None),
        ("usd_per_mtok = 0,", "usd_per_mtok = 1,", "the price of [models.free]"),
        ('model = "z"', 'model = "y"', "the price of [models.free]"),
        ('model = "x"', f'model = "x"\n{FREE}', "the price of [models.m]"),
        ("base_url", 'api_key = "env:AIRBOSS_ADMIN_KEY"\nbase_url', "[providers]"),
        ('action = "mask"', 'action = "observe"', "[policies]"),
        ('policy = "strict"', "", BOUND),
        ('release = "r"', 'model = "m"', BOUND),
        ("[keys.alice]", '[store]\nbodies = "off"\n[keys.alice]', "[store]"),
    ],
)
def test_an_operator_changes_what_is_served_and_no_more(old: str, new: str, what: str | None) -> None:
    """Who may do what, where calls go, what is kept and masked, and references to secrets are an admin's."""
    assert old in OPERATED
    wanted = OPERATED.replace(old, new, 1)
    assert only_admins(api_config.parsed(OPERATED), api_config.parsed(wanted)) == what
    site = Site()
    site.ledger.text = OPERATED
    answer = site.program("operator").post("/api/v1/config", json={"config": wanted})
    assert answer.status_code == (200 if what is None else 403), answer.text
    assert bool(site.applied) == (what is None)
    if what is not None:
        assert what in answer.json()["error"]["message"]
        assert NAMES["admin"] in answer.json()["error"]["message"]
    assert site.program("admin").post("/api/v1/config", json={"config": wanted}).status_code == 200
