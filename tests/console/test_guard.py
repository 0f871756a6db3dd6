"""Who may pass, what every answer carries, what errors look like."""

from __future__ import annotations

import logging
import re

import pytest
from starlette.routing import Mount, Route

from airboss.console import api, pages_table
from airboss.domain.errors import SetupError
from tests.console.site import ADMIN_KEY, API_KEY, BASE_URL, DownLog, Site

OPEN = {"/login", "/login/sso", "/login/sso/callback", "/healthz", "/readyz", "/static"}


def every_route() -> list[tuple[str, str]]:
    """Every (method, path) of the application, parameters filled in."""
    found = []
    for route in Site().app().routes:
        assert isinstance(route, Route | Mount)
        methods = route.methods or {"GET"} if isinstance(route, Route) else {"GET"}
        found += [(method, filled(route.path)) for method in methods if method != "HEAD"]
    return sorted(found)


def filled(path: str) -> str:
    """A path with something in the place of its parameters."""
    return re.sub(r"{\w+(:slashed)?}", "some-id", path)


def test_the_table_of_routes_is_known() -> None:
    """Nothing is served but what the three tables name, and the few of the frame itself; a new one of those
    must be thought about here."""
    tables = [*(each.path for each in api.ROUTES), *(each.path for each in pages_table.PAGES)]
    tables += [each.path for each in pages_table.ACTIONS]
    assert {path for _, path in every_route()} == {
        *OPEN,
        *map(filled, tables),
        "/records/some-id/request.json",
        "/docs/img/some-id",
        "/events",
        "/theme",
        "/logout",
        "/api/openapi.json",
    }


CLOSED = [(method, path) for method, path in every_route() if path not in OPEN]


@pytest.mark.parametrize(("method", "path"), CLOSED)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {ADMIN_KEY}"},
        {"cookie": "airboss_session=1.x.y"},
    ],
)
def test_nothing_passes_without_the_admin_key(method: str, path: str, headers: dict[str, str]) -> None:
    """Every route that is not open refuses: pages lead to the login, the API says 401 in OpenAI's shape."""
    answer = Site(log=DownLog()).client().request(method, path, headers=headers)
    if path.startswith("/api"):
        assert answer.status_code == 401
        assert set(answer.json()["error"]) == {"message", "type", "code", "param"}
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert "secrets/admin_key" in answer.json()["error"]["message"]
    else:
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login")


def test_a_data_plane_key_is_told_apart(site: Site) -> None:
    """A key for calling models opens nothing here, and is told why by its name."""
    answer = site.client().get("/api/v1/stats", headers={"authorization": f"Bearer {API_KEY}"})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "not_an_admin_key"
    assert "'web' is a data-plane key" in answer.json()["error"]["message"]
    assert API_KEY not in answer.text


def test_either_header_carries_the_admin_key(site: Site) -> None:
    """`Authorization: Bearer` and `x-api-key` are both accepted."""
    for headers in ({"authorization": f"bearer {ADMIN_KEY}"}, {"x-api-key": ADMIN_KEY}):
        assert site.client().get("/api/v1/status", headers=headers).status_code == 200


def test_the_admin_key_in_a_header_opens_no_page(site: Site) -> None:
    """Pages want the cookie, so that a page's address with a header in it cannot be replayed."""
    assert site.program().get("/").status_code == 303


@pytest.mark.parametrize("path", ["/", "/login", "/nothing", "/api/v1/stats", "/api/nothing", "/healthz"])
def test_every_answer_is_guarded(site: Site, path: str) -> None:
    """Each answer, errors and redirects included, forbids framing, sniffing and foreign or inline scripts."""
    for client in (site.client(), site.person()):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"


def test_the_api_speaks_openai_errors(site: Site) -> None:
    """404, 405 and 400 under /api have one shape, and say what to do."""
    program = site.program()
    for method, path, status, words in [
        ("GET", "/api/v1/nothing", 404, "/api/openapi.json"),
        ("GET", "/api", 404, "/api/openapi.json"),
        ("DELETE", "/api/v1/records", 405, "GET"),
        ("PUT", "/api/v1/config", 405, "POST"),
        ("GET", "/api/v1/records?deploymnt=x", 400, "did you mean 'deployment'?"),
        ("GET", "/api/v1/records/none-such", 404, "none-such"),
        ("POST", "/api/v1/config", 400, "the body is not"),
    ]:
        answer = program.request(method, path)
        assert answer.status_code == status, answer.text
        assert set(answer.json()) == {"error"}
        assert set(answer.json()["error"]) == {"message", "type", "code", "param"}
        assert words in answer.json()["error"]["message"]
    assert program.delete("/api/v1/config").headers["allow"]


def test_errors_of_pages_are_pages(site: Site) -> None:
    """A person gets HTML with a way on, and the status that fits."""
    person = site.person()
    for path, status, words in [
        ("/nothing", 404, "Nothing is here"),
        ("/records/none-such", 404, "none-such"),
        ("/?range=5y", 400, "is not offered"),
        ("/records?status=fine", 400, "ok, error, cancelled, refused"),
        ("/logout", 405, "takes POST"),
    ]:
        answer = person.get(path)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert words in answer.text


def test_a_full_disk_is_no_defect(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told as what it is, with what to do, and under a code of its own."""

    def full() -> None:
        raise SetupError("the ledger cannot be written: database or disk is full. Next: make room")

    monkeypatch.setattr(site.ledger, "config", full)
    answer = site.program().get("/api/v1/config")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (503, "setup_error")
    assert "make room" in error["message"]


def test_a_defect_shows_no_trace(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """What broke goes to the log; the caller learns that it broke, and nothing of how."""

    def broken() -> None:
        raise RuntimeError("a secret detail")

    site.clock.now = broken  # type: ignore[method-assign, assignment]
    with caplog.at_level(logging.ERROR):
        answer = site.program().get("/api/v1/status")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert "secret detail" not in answer.text
    assert "Traceback" not in answer.text
    assert "a secret detail" in caplog.text


def test_a_page_survives_a_defect(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A page that cannot be drawn ends in the error page."""
    person = site.person()
    site.ledger.snapshot = lambda: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    answer = person.get("/")
    assert answer.status_code == 500
    assert "a defect of the console" in answer.text
    assert "ZeroDivisionError" not in answer.text


def test_a_store_that_is_down_is_said(down: Site) -> None:
    """Pages and API answer 503: what failed, what still works, the next step."""
    person = down.person()
    for path in ("/", "/records", "/records/some-id", "/records/some-id/request.json"):
        answer = person.get(path)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
        for words in (
            "The record store does not answer",
            "Still works",
            "Models are served",
            "airboss status",
        ):
            assert words in answer.text
    api = down.program().get("/api/v1/stats")
    assert api.status_code == 503
    assert api.json()["error"]["code"] == "store_unavailable"
    assert "the journal keeps them" in api.json()["error"]["message"]


def test_the_system_page_needs_no_store(down: Site) -> None:
    """Just when the store is down, the page that says how things stand must work."""
    answer = down.person().get("/system")
    assert answer.status_code == 200
    assert "The record store does not answer." in answer.text
    assert "39.3\u00a0MiB waiting" in answer.text


def test_a_write_with_the_cookie_must_come_from_here(site: Site) -> None:
    """Other origins, other ports of this host included, cannot write with the browser's cookie."""
    body = {"config": "", "source": "x"}
    person = site.person()
    for headers in (
        {"origin": "http://testserver:3000"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {},
        {"sec-fetch-site": "same-site"},
    ):
        answer = person.post("/api/v1/config", json=body, headers=headers)
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "wrong_origin"
        assert person.post("/logout", headers=headers).status_code == 403
    assert site.applied == []
    assert person.post("/logout", headers={"origin": "http://testserver"}).status_code == 303


def test_long_queries_are_refused(site: Site) -> None:
    """A query string has a bound."""
    assert site.program().get("/api/v1/records?text=" + "x" * 9_000).status_code == 400


def test_health_is_open_and_says_little(site: Site, down: Site, empty: Site) -> None:
    """/healthz is about this process; /readyz wants a plan and a store that answers. No secrets."""
    assert site.client().get("/healthz").json() == {"status": "ok"}
    for path in ("/healthz", "/readyz"):
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            answer = site.client().request(method, path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert site.client().put("/static/console.css").status_code == 405
    assert down.client().get("/healthz").status_code == 200
    assert site.client().get("/readyz").json() == {"status": "ok", "plan": 42, "store_up": True}
    assert down.client().get("/readyz").status_code == 503
    empty.ledger.served = None
    assert empty.client().get("/readyz").status_code == 503


def test_static_files_are_cached_by_version(site: Site) -> None:
    """An address with a version is kept for ever; one without is asked again."""
    client = site.client()
    assert "immutable" in client.get("/static/console.css?v=1").headers["cache-control"]
    assert client.get("/static/console.css").headers["cache-control"] == "no-cache"
    assert client.get("/static/nothing.css").status_code == 404
    assert client.get("/static/../app.py").status_code in (303, 404)


def test_no_page_holds_a_secret(site: Site) -> None:
    """No page holds the admin key, the session key or a data-plane key."""
    person = site.person()
    for path in ("/", "/records", "/system", f"/records/{newest(site)}"):
        text = person.get(path).text
        for secret in (ADMIN_KEY, API_KEY, "session-key-of-the-tests"):
            assert secret not in text
    assert BASE_URL in person.get("/system").text


def newest(site: Site) -> str:
    """The id of the newest record."""
    return str(site.program().get("/api/v1/records?limit=1").json()["records"][0]["id"])


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/chat/completions"])
def test_a_call_of_a_model_is_told_where_models_are(site: Site, path: str) -> None:
    """A client given the console's address gets an error that says so; a redirect it would follow, and take
    the login for an answer."""
    for client in (site.program(), site.client()):
        answer = client.post(path, json={"model": "gpt-4o"}, headers={"authorization": f"Bearer {API_KEY}"})
        assert answer.status_code == 404
        assert BASE_URL in answer.json()["error"]["message"]
