"""Console keys over a real ledger: how they are made, whose name is kept, and when their sessions end."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.console import live
from airboss.domain.errors import WrongCall
from airboss.domain.plan import DeploymentPlan, Standing
from airboss.domain.release import PiiAction, Release
from airboss.governance.keys import hash_key, new_key
from airboss.governance.policies import policy_of
from tests.console.governed import DATA_KEY, Governed, governed
from tests.console.site import NOW, NoRollouts, Site
from tests.support.wait import until

ORIGIN = {"origin": "http://testserver"}


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
    refused = client.post("/api/v1/keys", json={"name": "mallory", "role": "admin"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "role_too_low")


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
    assert "'web' is a data-plane key and can have no role" in answer.json()["error"]["message"]
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

    class Rollouts(NoRollouts):
        def start(self, deployment: str, release: str | None, *, by: str, **_: Any) -> Any:
            del deployment, release
            asked.append(by)
            raise AssertionError("enough is known")

    site = Site(rollouts=Rollouts())
    intent = {"deployment": "support", "by": "anna", "reason": "x"}
    site.program("operator").post("/api/v1/rollouts", json=intent)
    site.program().post("/api/v1/rollouts", json=intent)
    assert asked == ["otto", "anna"]


def test_an_operator_takes_no_release_that_binds_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose policy does less about some kind of data than what answers now is for admins to choose."""
    asked: list[str | None] = []

    class Rollouts(NoRollouts):
        def start(self, deployment: str, release: str | None, *, by: str, **_: Any) -> Any:
            del deployment, by
            asked.append(release)
            raise WrongCall("enough is known")

        def startable(self, deployment: str, release: str | None) -> Release:
            del deployment
            kept = [each.release for each in site.ledger.releases()]
            return next(each for each in kept if release in (each.name, each.digest, each.digest[:8]))

    site = Site(rollouts=Rollouts())
    assert site.ledger.served is not None
    bare, masking, blocking = site.ledger.served.deployments[:3]

    def bound(deployment: DeploymentPlan, action: PiiAction) -> DeploymentPlan:
        stable = msgspec.structs.replace(deployment.stable, policy=policy_of(action, ("email",)))
        return msgspec.structs.replace(deployment, stable=stable)

    masking, blocking = bound(masking, "mask"), bound(blocking, "block")
    site.ledger.served = msgspec.structs.replace(site.ledger.served, deployments=(bare, masking, blocking))
    operator = site.program("operator")
    for ref in (bare.stable.digest, bare.stable.digest[:8], bare.stable.name):
        answer = operator.post("/api/v1/rollouts", json={"deployment": masking.name, "release": ref})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "role_too_low"), ref
    assert not asked
    operator.post("/api/v1/rollouts", json={"deployment": masking.name, "release": blocking.stable.name})
    operator.post("/api/v1/rollouts", json={"deployment": bare.name, "release": masking.stable.name})
    site.program().post("/api/v1/rollouts", json={"deployment": masking.name, "release": bare.stable.name})
    assert asked == [blocking.stable.digest, masking.stable.digest, bare.stable.name]
    for wanted, status in ((blocking.stable.digest, 403), (bare.stable.digest, 400)):
        standing = Standing(deployment=masking.name, wanted=wanted, stable=masking.stable.digest)
        standings = {masking.name: standing}
        monkeypatch.setattr(site.ledger, "standings", standings.copy)
        answer = operator.post(
            "/api/v1/rollouts", json={"deployment": masking.name, "release": bare.stable.name}
        )
        assert answer.status_code == status, "only what an admin has written into the configuration"


def test_an_operators_release_is_the_one_that_would_start() -> None:
    """A name means to an operator what it means to an admin, never a model of that name alone."""
    asked: list[str | None] = []

    class Rollouts(NoRollouts):
        def start(self, deployment: str, release: str | None, *, by: str, **_: Any) -> Any:
            del deployment, by
            asked.append(release)
            raise WrongCall("enough is known")

        def startable(self, deployment: str, release: str | None) -> Release:
            del deployment, release
            return meant

    site = Site(rollouts=Rollouts())
    assert site.ledger.served is not None
    first, second = site.ledger.served.deployments[:2]
    meant = msgspec.structs.replace(second.stable, digest="0" * 64, name=first.stable.name, prompt="Be kind.")
    site.program("operator").post("/api/v1/rollouts", json={"deployment": first.name, "release": meant.name})
    assert asked == [meant.digest]


@pytest.mark.parametrize(
    "what", ["revoked", "rotated", "role", "expired", "replaced"], ids=lambda what: f"when it is {what}"
)
def test_a_session_ends_with_what_it_is_bound_to(real: Governed, what: str) -> None:
    """The next request of a browser is sent to the login; a program is refused, or gets what is right now."""
    secret = make(real, "alice", role="operator", expires_at="2026-11-25T00:00:00Z")["key"]
    browser, admin, program = login(real, secret), real.program(), real.client()
    program.headers["authorization"] = f"Bearer {secret}"
    for each in (browser, program):  # each has a console of its own, which has read the keys by now
        assert each.get("/api/v1/keys").status_code == 200
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


def test_what_a_cookie_is_bound_to_cannot_be_said_in_it(real: Governed) -> None:
    """Who has a key knows what the session is bound to; a quoted cookie may hold any character. It is still
    no cookie of the admin key, which is bound to nothing."""
    secret = make(real, "alice", role="viewer")["key"]
    body, _, signature = login(real, secret).cookies["airboss_session"].rpartition(".")
    forged = f'"{body}\\000viewer\\000{hash_key(secret)}.{signature}"'
    answer = real.client().get("/api/v1/keys", headers={"cookie": f"airboss_session={forged}"})
    assert answer.status_code == 401


def test_wrong_keys_are_counted_and_right_ones_are_not(real: Governed) -> None:
    """Ten wrong ones shut out whoever guesses at an address, and nobody there who has a console key."""
    secret = make(real, "alice", role="viewer")["key"]
    client = real.client()

    def ask(key: str) -> int:
        status = client.get("/api/v1/keys", headers={"authorization": f"Bearer {key}"}).status_code
        assert isinstance(status, int)
        return status

    assert [ask(secret) for _ in range(30)] == [200] * 30
    assert [ask(new_key()) for _ in range(12)] == [401] * 10 + [429] * 2
    assert ask(secret) == 200
    assert client.post("/login", data={"key": secret}, headers=ORIGIN).status_code == 303
    assert client.post("/login", data={"key": new_key()}, headers=ORIGIN).status_code == 429


@pytest.mark.parametrize("way", ["api", "login"])
def test_who_has_a_key_cannot_guess_another_for_ever(real: Governed, way: str) -> None:
    """A right console key in between does not take the wrong ones back."""
    secret = make(real, "alice", role="viewer")["key"]
    client = real.client()
    seen = []
    for _ in range(6):
        for key in (secret, "wrong", "wrong"):
            if way == "api":
                answer = client.get("/api/v1/keys", headers={"authorization": f"Bearer {key}"})
            else:
                answer = client.post("/login", data={"key": key}, headers=ORIGIN)
            if key == "wrong":
                seen.append(answer.status_code)
    assert seen == [401] * 10 + [429] * 2


def test_a_data_plane_key_still_opens_nothing(real: Governed) -> None:
    """It is told by name what it is, and is no guess."""
    answer = real.client().get("/api/v1/keys", headers={"authorization": f"Bearer {DATA_KEY}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_an_admin_key")


def test_the_ledger_keeps_a_hash(real: Governed) -> None:
    """And nothing that is not there of keys from before roles."""
    secret = make(real, "alice", role="viewer")["key"]
    kept = {key.name: key for key in real.ledger.all_keys()}
    assert kept["alice"].sha256 == hash_key(secret)
    assert kept["alice"].created_at == NOW
    assert kept["web"].role is None


def test_a_live_page_ends_with_its_key(real: Governed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may look no more hears nothing more, also on a page that was open before."""
    monkeypatch.setattr(live, "BEAT_S", 0.05)
    monkeypatch.setattr(live, "LIFETIME_S", 15.0)
    browser = login(real, make(real, "alice", role="viewer")["key"])
    hub = browser.app.state.live
    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(browser.get, "/events")
        until(lambda: hub.clients == 1)
        assert real.program().post("/api/v1/keys/alice/revoke").status_code == 200
        answer = heard.result(10)
    assert answer.status_code == 200
    assert hub.clients == 0
