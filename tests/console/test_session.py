"""Logging in and out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airboss.console.guard import UNGUESSED_CHARS
from airboss.console.session import (
    ATTEMPTS_MAX,
    ATTEMPTS_WINDOW_S,
    COOKIE,
    COOKIE_CHARS_MAX,
    LIFETIME_S,
    PEERS_MAX,
    TOLD_MAX,
    TOLD_WINDOW_S,
    Attempts,
    Sessions,
    claimed,
)
from airboss.store.ended import Ended
from tests.console.site import ADMIN_KEY, API_KEY, NOW, Site

ORIGIN = {"origin": "http://testserver"}
SESSIONS = Sessions(session_key="s", admin_key="a", ended=Ended())


def test_a_cookie_is_good_until_it_runs_out() -> None:
    """A session lasts `LIFETIME_S`, not a second longer."""
    cookie = SESSIONS.issue(NOW)
    assert SESSIONS.valid(cookie, NOW)
    assert SESSIONS.valid(cookie, NOW + timedelta(seconds=LIFETIME_S - 1))
    assert not SESSIONS.valid(cookie, NOW + timedelta(seconds=LIFETIME_S))


def test_a_changed_key_ends_every_session() -> None:
    """The signature hangs on the admin key and on the session key."""
    cookie = SESSIONS.issue(NOW)
    assert not Sessions(session_key="s", admin_key="b", ended=Ended()).valid(cookie, NOW)
    assert not Sessions(session_key="t", admin_key="a", ended=Ended()).valid(cookie, NOW)


@pytest.mark.parametrize(
    "forged",
    [
        None,
        "",
        ".",
        "..",
        "9999999999.x.y",
        "é.x.y",
        "9" * 300,
        "\x00",
        "notanumber.x.",
        "1.2.3.4.5",
        "9999999999.x.",
    ],
)
def test_a_forged_cookie_is_refused(forged: str | None) -> None:
    """Whatever a cookie holds, it is refused without an exception."""
    assert not SESSIONS.valid(forged, NOW)


def test_a_changed_expiry_breaks_the_signature() -> None:
    """Nobody extends his own session."""
    expiry, nonce, signature = SESSIONS.issue(NOW).split(".")
    assert not SESSIONS.valid(f"{int(expiry) + 1}.{nonce}.{signature}", NOW)


def test_login_sets_a_cookie_that_scripts_and_other_sites_do_not_get(site: Site) -> None:
    """HttpOnly, SameSite=Strict, with an end; no secret in it."""
    answer = site.client().post("/login", data={"key": f" {ADMIN_KEY} "}, headers=ORIGIN)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"].lower()
    assert f"{COOKIE}=" in cookie
    for part in ("httponly", "samesite=strict", f"max-age={LIFETIME_S}", "path=/"):
        assert part in cookie
    assert "secure" not in cookie
    assert ADMIN_KEY not in cookie


def test_the_cookie_is_secure_under_tls(site: Site) -> None:
    """Over https the cookie never travels in the clear."""
    client = site.client()
    client.base_url = "https://testserver"
    answer = client.post("/login", data={"key": ADMIN_KEY}, headers={"origin": "https://testserver"})
    assert "secure" in answer.headers["set-cookie"].lower()


def test_a_wrong_key_gets_no_cookie(site: Site) -> None:
    """The form says that it was wrong, and what a key of the wrong kind is for."""
    answer = site.client().post("/login", data={"key": "wrong"}, headers=ORIGIN)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "This is neither the admin key nor a console key." in answer.text
    answer = site.client().post("/login", data={"key": API_KEY}, headers=ORIGIN)
    assert "does not open the console" in answer.text
    assert API_KEY not in answer.text


def test_guessing_is_slowed(site: Site) -> None:
    """After ten wrong keys even the right one waits, where it is so short that it may be guessed; a minute
    later it is taken."""
    client = site.client()
    for _ in range(ATTEMPTS_MAX):
        assert client.post("/login", data={"key": "wrong"}, headers=ORIGIN).status_code == 401
    answer = client.post("/login", data={"key": ADMIN_KEY}, headers=ORIGIN)
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= ATTEMPTS_WINDOW_S
    assert "Try again in" in answer.text
    site.clock.forward(ATTEMPTS_WINDOW_S)
    assert client.post("/login", data={"key": ADMIN_KEY}, headers=ORIGIN).status_code == 303


def test_an_admin_key_is_not_kept_out_by_guesses(site: Site) -> None:
    """One that nobody guesses comes in, by form and by header, however many wrong ones come from there; these
    wait as before, also for who has the right one and comes in between."""
    site.admin_key = "a" * UNGUESSED_CHARS
    client, right = site.client(), {"authorization": f"Bearer {site.admin_key}"}
    guesses = [{"authorization": f"Bearer {number:040}"} for number in range(ATTEMPTS_MAX + 5)]
    assert [client.get("/api/v1/status", headers=each).status_code for each in guesses] == [
        *[401] * ATTEMPTS_MAX,
        *[429] * 5,
    ]
    assert client.get("/api/v1/status", headers=right).status_code == 200
    assert client.post("/login", data={"key": site.admin_key}, headers=ORIGIN).status_code == 303
    client.cookies.clear()
    assert client.get("/api/v1/status", headers=guesses[0]).status_code == 429


def test_who_waits_as_long_as_was_said_is_not_too_early(site: Site) -> None:
    """Parts of a second are rounded up, for people and for programs."""
    client, right = site.client(), {"authorization": f"Bearer {ADMIN_KEY}"}
    for _ in range(ATTEMPTS_MAX):
        client.get("/api/v1/status", headers={"authorization": "Bearer wrong"})
    site.clock.forward(ATTEMPTS_WINDOW_S - 7.4)
    said = client.get("/api/v1/status", headers=right).headers["retry-after"]
    form = client.post("/login", data={"key": ADMIN_KEY}, headers=ORIGIN)
    assert (said, form.headers["retry-after"]) == ("8", "8")
    site.clock.forward(float(said))
    assert client.get("/api/v1/status", headers=right).status_code == 200


def test_the_table_of_attempts_is_bounded() -> None:
    """However many peers fail, only the latest are remembered, and each peer's failures are bounded too."""
    attempts = Attempts()
    for number in range(PEERS_MAX + 50):
        for _ in range(3):
            attempts.failed(f"peer-{number}", now=1.0)
    assert len(attempts._failures) == PEERS_MAX
    for _ in range(100):
        attempts.failed("one", now=2.0)
    assert len(attempts._failures["one"]) <= ATTEMPTS_MAX
    assert attempts.wait_s("one", now=2.0) == ATTEMPTS_WINDOW_S
    attempts.succeeded("one")
    assert attempts.wait_s("one", now=2.0) == 0


def test_guesses_from_many_addresses_fill_no_audit_log() -> None:
    """Of those who were shut out some are told each hour: what stands in the log stays there."""
    attempts = Attempts()

    def shut_out(begin: float) -> int:
        peers = range(10 * TOLD_MAX)
        return sum(
            attempts.failed(f"{begin} {peer}", now=begin) for peer in peers for _ in range(ATTEMPTS_MAX)
        )

    assert (shut_out(1.0), shut_out(TOLD_WINDOW_S), shut_out(TOLD_WINDOW_S + 1.0)) == (TOLD_MAX, 0, TOLD_MAX)


def test_who_guesses_on_is_told_of_no_more(site: Site) -> None:
    """The log has so many leaves and not one for each guess, whatever a proxy calls who guesses."""
    client = site.client()
    for number in range(2 * TOLD_MAX):
        for _ in range(ATTEMPTS_MAX):
            client.get("/api/v1/status", headers={"authorization": f"Bearer {number}"})
        site.clock.forward(ATTEMPTS_WINDOW_S / 2)
    blocked = [each for each in site.audit.entries if each[0] == "login.blocked"]
    assert 0 < len(blocked) <= TOLD_MAX


def test_a_login_leads_back(site: Site) -> None:
    """The page that was wanted is kept through the login, its query included."""
    client = site.client()
    answer = client.get("/records?status=error&text=a%26b")
    assert answer.headers["location"] == "/login?next=/records%3Fstatus%3Derror%26text%3Da%2526b"
    form = client.get(answer.headers["location"])
    assert 'name="next" value="/records?status=error&amp;text=a%26b"' in form.text
    data = {"key": ADMIN_KEY, "next": "/records?status=error&text=a%26b"}
    assert client.post("/login", data=data, headers=ORIGIN).headers["location"] == data["next"]


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/\r\nx: y",
        "",
        "/" + "a" * 3000,
    ],
)
def test_a_login_leads_nowhere_else(site: Site, wanted: str) -> None:
    """`next` leads to a path of ours or to the first page."""
    answer = site.client().post("/login", data={"key": ADMIN_KEY, "next": wanted}, headers=ORIGIN)
    assert answer.headers["location"] == "/"


def test_logout_forgets(site: Site) -> None:
    """After a logout pages lead to the login again."""
    person = site.person()
    assert person.get("/").status_code == 200
    assert person.post("/logout", headers=ORIGIN).headers["location"] == "/login"
    assert person.get("/").status_code == 303


def test_logout_ends_copies_of_the_cookie(site: Site) -> None:
    """Whoever took it from the browser before is out as well, and nobody else is."""
    browser, other = site.person("operator"), site.person("operator")
    thief = site.client()
    thief.cookies.set(COOKIE, browser.cookies[COOKIE])
    assert thief.get("/records").status_code == 200
    browser.post("/logout", headers=ORIGIN)
    assert [thief.get(path).status_code for path in ("/records", "/api/v1/records")] == [303, 401]
    assert thief.post("/logout", headers=ORIGIN).status_code == 303
    assert other.get("/records").status_code == 200


def test_a_session_ends_by_itself(site: Site) -> None:
    """Half a day after the login the cookie is worth nothing."""
    person = site.person()
    site.clock.forward(LIFETIME_S + 1)
    assert person.get("/").status_code == 303


def test_the_form_is_bounded(site: Site) -> None:
    """A login form of a megabyte is not read."""
    assert site.client().post("/login", data={"key": "x" * 1_000_000}, headers=ORIGIN).status_code == 413


def test_the_theme_is_kept_without_javascript(site: Site) -> None:
    """The switch is a form: it sets a cookie, and the page comes in that theme."""
    person = site.person()
    answer = person.post("/theme", data={"theme": "dark", "next": "/system"}, headers=ORIGIN)
    assert answer.headers["location"] == "/system"
    assert 'data-theme="dark"' in person.get("/").text
    person.post("/theme", data={"theme": "<script>", "next": "/"}, headers=ORIGIN)
    assert 'data-theme="dark"' in person.get("/").text


def test_a_session_cookie_that_is_too_long_is_not_read() -> None:
    """Not even one that we have signed."""
    for size, good in ((100, True), (COOKIE_CHARS_MAX, False)):
        cookie = SESSIONS.issue(NOW, name="x" * size, bond="b")
        assert SESSIONS.valid(cookie, NOW, bond="b") is good
        assert (claimed(cookie) is not None) is good
