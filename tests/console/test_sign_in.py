"""Signing in by way of who knows people: there and back, who is let in as what, and when that ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import msgspec
import pytest
from starlette.testclient import TestClient

from airboss.config import OidcConfig
from airboss.console import sign_in
from airboss.console.desk import ASKERS_MAX
from airboss.console.session import ATTEMPTS_MAX, LIFETIME_S, Sessions, as_name
from airboss.console.sign_in import BEGUN_COOKIE, BEGUN_S, CALLBACK, KNOWN_COOKIE, KNOWN_S, SIGN_IN, Known
from airboss.governance.oidc_http import OidcHttp
from airboss.governance.sign_in import Person
from airboss.store.ended import Ended
from tests.console.site import ADMIN_KEY, Site
from tests.support.identity import CLIENT, SAYS, SECRET, IdentityProvider
from tests.support.wait import until

ROLES: dict[str, Any] = {"ml-team": "operator", "watchers": "viewer"}
WAYS: tuple[dict[str, str], ...] = ({}, {"state": ""}, {"state": "another"}, {"state": "é"}, {"code": "c"})


@pytest.fixture(scope="module")
def running() -> Iterator[IdentityProvider]:
    """One process for all."""
    with IdentityProvider() as provider:
        yield provider


@pytest.fixture
def provider(running: IdentityProvider) -> IdentityProvider:
    """It says what it usually says."""
    running.says()
    return running


@pytest.fixture
def known(site: Site, provider: IdentityProvider) -> Site:
    """A console where people of the provider sign in."""
    roles = {**ROLES}
    site.oidc = OidcConfig(issuer=provider.issuer, client_id=CLIENT, client_secret="env:S", roles=roles)
    http = OidcHttp(lambda _: SECRET)
    site.identity = lambda: http
    return site


def answer_of(client: TestClient, wanted: str = "/") -> dict[str, str]:
    """Go to the provider: what it sends back with the browser."""
    begun = client.get(f"{SIGN_IN}?{urlencode({'next': wanted})}")
    assert begun.status_code == 303, begun.text
    back = urlsplit(httpx2.get(begun.headers["location"], trust_env=False).headers["location"])
    assert back.path == CALLBACK
    return {name: values[0] for name, values in parse_qs(back.query).items()}


def signed_in(site: Site, wanted: str = "/") -> TestClient:
    """A browser that has been there and back."""
    client = site.client()
    answer = client.get(CALLBACK, params=answer_of(client, wanted))
    assert answer.status_code == 200, answer.text
    assert f'content="0; url={wanted}"' in answer.text
    return client


def test_there_and_back(known: Site) -> None:
    """Somebody comes in as what their group is, under their name, and goes on to where they were going."""
    assert "Sign in with 127.0.0.1" in known.client().get("/login").text
    client = signed_in(known, "/records")
    assert client.get("/").status_code == 200
    refused = client.post("/governance/keys", data={}, headers={"origin": "http://testserver"})
    assert refused.status_code == 403
    assert "&#39;ann@example.com&#39; has operator" in refused.text
    assert ("login", "ann@example.com") in {entry[:2] for entry in known.audit.entries}


def test_the_cookies(known: Site) -> None:
    """That of the way there comes back with the provider's answer, and goes; the session's is as a key's."""
    client = known.client()
    begun = client.get(SIGN_IN).headers["set-cookie"].lower()
    for part in ("httponly", "samesite=lax", "path=/login/sso", f"max-age={BEGUN_S}"):
        assert part in begun
    client = known.client()
    cookies = client.get(CALLBACK, params=answer_of(client)).headers.get_list("set-cookie")
    session = next(each.lower() for each in cookies if each.startswith("airboss_session="))
    for part in ("httponly", "samesite=strict", f"max-age={LIFETIME_S}", "path=/"):
        assert part in session
    assert BEGUN_COOKIE not in client.cookies


def test_a_long_name_comes_in(known: Site, provider: IdentityProvider) -> None:
    """Whatever somebody is called, their session holds."""
    provider.says(claims={"sub": '"' * 255, "preferred_username": "\U0001f6e9" * 200, "groups": ["ml-team"]})
    assert signed_in(known).get("/").status_code == 200


def test_without_it_there_is_no_way(site: Site) -> None:
    """The form offers none, and its addresses are not there."""
    assert "Sign in with" not in site.client().get("/login").text
    assert site.client().get(SIGN_IN).status_code == 404
    assert site.client().get(CALLBACK).status_code == 404


def test_who_has_no_role_is_told(known: Site, provider: IdentityProvider) -> None:
    """And has no session; trying again is no guessing of keys."""
    provider.says(claims={**SAYS["claims"], "groups": ["sales"]})
    client = known.client()
    for _ in range(ATTEMPTS_MAX + 1):
        answer = client.get(CALLBACK, params=answer_of(client))
        assert answer.status_code == 401
        assert "has none of the values that have a role here" in answer.text
        assert "airboss_session" not in client.cookies


def test_a_sign_in_is_finished_where_it_was_begun(known: Site) -> None:
    """Not in another browser, not twice, not later, not with what somebody else was sent back with."""
    client = known.client()
    answer = answer_of(client)
    assert known.client().get(CALLBACK, params=answer).status_code == 400
    other = known.client()
    answer_of(other)
    assert other.get(CALLBACK, params=answer).status_code == 400
    assert client.get(CALLBACK, params=answer).status_code == 200
    assert client.get(CALLBACK, params=answer).status_code == 400
    late = known.client()
    answer = answer_of(late)
    known.clock.forward(BEGUN_S)
    assert late.get(CALLBACK, params=answer).status_code == 400


@pytest.mark.parametrize("changed", WAYS)
def test_a_made_up_answer(known: Site, changed: dict[str, str]) -> None:
    """Without the state of this browser nothing is asked; what the address says is not shown."""
    client = known.client()
    answer_of(client)
    made = {"error": "x", "error_description": "Call 555-1234", **changed}
    answer = client.get(CALLBACK, params=made)
    assert answer.status_code == 400
    assert "555" not in answer.text


@pytest.mark.parametrize("cookie", ["", ".", "x", "x.y", "e30=.y", "é.y", "x" * 5_000, "AAAA.", "\x7f.\x7f"])
def test_a_forged_cookie(known: Site, cookie: str) -> None:
    """Whatever it holds, it is as none."""
    answer = known.client().get(CALLBACK, headers={b"cookie": f"{BEGUN_COOKIE}={cookie}".encode()})
    assert answer.status_code == 400


def test_what_the_provider_says_against_it(known: Site, provider: IdentityProvider) -> None:
    """Shown as text; so is an answer of another provider, and one without a code."""
    client = known.client()
    state = answer_of(client)["state"]
    said = client.get(
        CALLBACK, params={"state": state, "error": "access_denied", "error_description": "<b>no"}
    )
    assert said.status_code == 401
    assert "access_denied" in said.text
    assert "&lt;b&gt;no" in said.text
    client = known.client()
    answer = {**answer_of(client), "iss": "https://evil.example"}
    assert "the answer is of" in client.get(CALLBACK, params=answer).text
    client = known.client()
    assert "sent no code" in client.get(CALLBACK, params={"state": answer_of(client)["state"]}).text
    provider.says(status={"/token": 500})
    client = known.client()
    assert "answered 500" in client.get(CALLBACK, params=answer_of(client)).text


def test_bad_codes_are_counted(known: Site) -> None:
    """Who sends made-up codes does not make the provider be asked for ever."""
    client = known.client()
    for _ in range(ATTEMPTS_MAX):
        answer = {**answer_of(client), "code": "made-up"}
        assert "invalid_grant" in client.get(CALLBACK, params=answer).text
    assert "too many attempts" in client.get(CALLBACK, params=answer_of(client)).text
    known.clock.forward(61)
    assert client.get(CALLBACK, params=answer_of(client)).status_code == 200


def beside(client: TestClient, **cookies: str) -> TestClient:
    """Another browser of the same console, at the same address."""
    return TestClient(client.app, cookies=cookies, follow_redirects=False, raise_server_exceptions=False)


def knocked(client: TestClient) -> str:
    """Try once more than made-up codes are asked for: what is said to that."""
    for _ in range(ATTEMPTS_MAX):
        assert "invalid_grant" in client.get(CALLBACK, params={**answer_of(client), "code": "no"}).text
    return client.get(CALLBACK, params=answer_of(client)).text


def test_a_stranger_shuts_out_nobody_who_was_here(known: Site) -> None:
    """Bad codes from an address leave those alone who have signed in from there before, and theirs others."""
    ann = signed_in(known)
    stranger = beside(ann)
    assert "too many attempts" in knocked(stranger)
    assert ann.get(CALLBACK, params=answer_of(ann)).status_code == 200
    known.clock.forward(61)
    assert "too many attempts" in knocked(ann)
    assert stranger.get(CALLBACK, params=answer_of(stranger)).status_code == 200


def test_nobody_makes_themselves_known(known: Site) -> None:
    """What says that somebody was here is signed and ends; it is no session, and nothing that was begun."""
    ann = signed_in(known)
    told = ann.cookies[KNOWN_COOKIE]
    stranger = beside(ann)
    answer_of(stranger)
    begun = stranger.cookies[BEGUN_COOKIE]
    assert "too many attempts" in knocked(stranger)
    for made in (f"x{told}", told[:-1], "e30=.y", begun):
        other = beside(ann, **{KNOWN_COOKIE: made})
        assert "too many attempts" in other.get(CALLBACK, params=answer_of(other)).text
    assert beside(ann, airboss_session=told).get("/").status_code == 303
    other = beside(ann, **{BEGUN_COOKIE: told})
    assert other.get(CALLBACK, params={"state": ""}).status_code == 400
    known.clock.forward(KNOWN_S)
    knocked(stranger)
    late = beside(ann, **{KNOWN_COOKIE: told})
    assert "too many attempts" in late.get(CALLBACK, params=answer_of(late)).text


def test_a_provider_that_is_away_shuts_nobody_out(known: Site, provider: IdentityProvider) -> None:
    """Of those who come with a key from the same address."""
    provider.says(status={"/token": 503})
    client = known.client()
    for _ in range(ATTEMPTS_MAX + 1):
        answer = client.get(CALLBACK, params=answer_of(client))
        assert answer.status_code == 401
    assert "too many attempts" in answer.text
    sent = client.post("/login", data={"key": ADMIN_KEY}, headers={"origin": "http://testserver"})
    assert sent.status_code == 303


def test_a_provider_that_drips_holds_few_threads(known: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many try to sign in meanwhile; and once it is well again they can."""
    monkeypatch.setattr(sign_in, "ANSWER_S", 0.05)
    http, go_on, begun = known.identity(), threading.Event(), list[str]()

    class Dripping:
        def login_url(self, oidc: OidcConfig, **asked: str) -> str:
            begun.append(asked["state"])
            go_on.wait(60)
            return str(http.login_url(oidc, **asked))

    known.identity = Dripping
    with known.client() as client:
        try:
            for _ in range(ASKERS_MAX + 3):
                answer = client.get(SIGN_IN)
                assert answer.status_code == 503
                assert "has not answered within" in answer.text
            assert len(begun) == ASKERS_MAX
        finally:
            go_on.set()
        until(lambda: client.get(SIGN_IN).status_code == 303)


def test_the_provider_is_away(known: Site) -> None:
    """That is said, and a key opens the console as ever."""
    assert known.oidc is not None
    known.oidc = msgspec.structs.replace(known.oidc, issuer="http://127.0.0.1:9")
    answer = known.client().get(SIGN_IN)
    assert answer.status_code == 503
    assert "does not answer" in answer.text
    assert known.person().get("/").status_code == 200


@pytest.mark.parametrize(
    "wanted", ["https://evil.example/", "//evil.example", "/\\evil", "javascript:alert(1)"]
)
def test_it_leads_nowhere_else(known: Site, wanted: str) -> None:
    """As with a key."""
    client = known.client()
    answer = client.get(CALLBACK, params=answer_of(client, wanted))
    assert 'content="0; url=/"' in answer.text
    assert "evil" not in answer.text


@pytest.mark.parametrize(
    "changes",
    [{"roles": {"ml-team": "viewer"}}, {"claim": "teams"}, {"client_id": "x"}, {"issuer": "https://x"}, None],
)
def test_a_session_ends_with_what_it_rests_on(known: Site, changes: dict[str, Any] | None) -> None:
    """Where roles are given otherwise, or by others, or by nobody. What it is called changes nothing."""
    client = signed_in(known)
    assert known.oidc is not None
    known.oidc = msgspec.structs.replace(known.oidc, label="The company", url="https://airboss.example.com")
    assert client.get("/").status_code == 200
    known.oidc = msgspec.structs.replace(known.oidc, **changes) if changes is not None else None
    assert client.get("/").status_code == 303


def test_it_ends_after_half_a_day(known: Site) -> None:
    """As every session."""
    client = signed_in(known)
    known.clock.forward(LIFETIME_S - 1)
    assert client.get("/").status_code == 200
    known.clock.forward(1)
    assert client.get("/").status_code == 303


def test_nobody_writes_their_own_role(known: Site) -> None:
    """A cookie that names somebody else, or another role, is signed by nobody."""
    client = signed_in(known)
    expiry, nonce, _, signature = client.cookies["airboss_session"].split(".")
    admin = as_name(Person(name="ann@example.com", id="u", role="admin"))
    for name in (admin, "anna", "~", "~é", "~e30", "~bnVsbA"):
        other = known.client()
        forged = f"airboss_session={expiry}.{nonce}.{name}.{signature}".encode()
        assert other.get("/", headers={b"cookie": forged}).status_code == 303
    # Nor by who knows what it is bound to: the session key is missing.
    mine = Sessions(session_key="guessed", admin_key="guessed", ended=Ended())
    made = mine.issue(known.clock.now(), name=as_name(Person(name="x", id="u", role="admin")), bond="")
    assert known.client().get("/", headers={"cookie": f"airboss_session={made}"}).status_code == 303


def test_where_the_browser_comes_back_to(known: Site) -> None:
    """The address that it used, or the one that is configured."""

    def sent() -> str:
        where = known.client().get(SIGN_IN, headers={"host": "console.example.com"}).headers["location"]
        return parse_qs(urlsplit(where).query)["redirect_uri"][0]

    assert sent() == f"http://console.example.com{CALLBACK}"
    assert known.oidc is not None
    known.oidc = msgspec.structs.replace(known.oidc, url="https://airboss.example.com/")
    assert sent() == f"https://airboss.example.com{CALLBACK}"


def test_a_cookie_that_is_too_long_is_not_read(site: Site) -> None:
    """Not even one of ours: what it takes to look at one is bounded before anything is reckoned."""
    desk: Any = SimpleNamespace(session_key="key", clock=site.clock)
    until_s = int(site.clock.now().timestamp()) + 60
    for size, read in ((100, True), (sign_in.SEALED_CHARS_MAX, False)):
        value = Known(id="x" * size, until=until_s)
        assert (sign_in.opened(desk, sign_in.sealed(desk, value), Known) == value) is read
