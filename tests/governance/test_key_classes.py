"""Which key opens what: every route of both planes, asked with every class of key.

Keys of the data plane call models and never administer; the admin key administers and never calls models.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx2
import msgspec
import pytest

from airboss.domain.ports import ApiKey
from airboss.gateway.routes import ROUTES
from airboss.governance.keys import hash_key
from tests.console.governed import DATA_KEY, OWN_KEY, REVOKED_KEY, governed
from tests.console.site import ADMIN_KEY
from tests.support.gateway import Clock, Gateway, deployment
from tests.support.gateway_process import ADMIN_KEY as GATEWAY_ADMIN_KEY
from tests.support.kept_keys import put_key
from tests.support.wait import until

ROTATED_KEY, GRACE_KEY, NARROW_KEY = ("ab_" + letter * 43 for letter in "pgn")

CLASSES = {
    "none": None,
    "garbage": "ab_" + "x" * 43,
    "a word": "secret",
    "data": DATA_KEY,
    "narrow": NARROW_KEY,
    "internal": OWN_KEY,
    "admin": ADMIN_KEY,
    "revoked": REVOKED_KEY,
    "rotated away": ROTATED_KEY,
    "in grace": GRACE_KEY,
}
VIEWER_KEY, OLD_VIEWER_KEY, EXPIRED_VIEWER_KEY = ("ab_" + letter * 43 for letter in "vuz")
CALLS = {"data", "narrow", "internal", "in grace"}
"""Classes that may call models."""


def keys(now: datetime) -> tuple[ApiKey, ...]:
    """Those of the classes, as a ledger has them at that time."""
    web, old, own = hash_key(DATA_KEY), hash_key(REVOKED_KEY), hash_key(OWN_KEY)
    long = timedelta(days=1)
    return (
        ApiKey(
            name="web",
            sha256=web,
            created_at=now,
            previous_sha256=hash_key(GRACE_KEY),
            previous_until=now + long,
        ),
        ApiKey(
            name="narrow",
            sha256=hash_key(NARROW_KEY),
            created_at=now,
            deployments=(),
            previous_sha256=hash_key(ROTATED_KEY),
            previous_until=now - long,
        ),
        ApiKey(name="old", sha256=old, created_at=now, revoked_at=now),
        ApiKey(name="airboss", sha256=own, created_at=now, internal=True),
        ApiKey(
            name="vi",
            sha256=hash_key(VIEWER_KEY),
            created_at=now,
            deployments=(),
            role="viewer",
            previous_sha256=hash_key(OLD_VIEWER_KEY),
            previous_until=now - long,
        ),
        ApiKey(
            name="ended",
            sha256=hash_key(EXPIRED_VIEWER_KEY),
            created_at=now,
            deployments=(),
            role="admin",
            expires_at=now - long,
        ),
    )


DATA_PLANE = [
    *sorted((method, path) for path, methods in ROUTES.items() for method in methods),
    ("GET", "/v1/models/assistant"),
]
OPEN = {"/healthz", "/readyz", "/metrics"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that knows these keys; its deployment leads nowhere."""
    made = Gateway(
        tmp_path_factory.mktemp("gateway"), deployment("http://127.0.0.1:9/v1"), keys=keys(datetime.now(UTC))
    )
    with made:
        yield made


def headers(secret: str | None, form: str) -> dict[str, str]:
    """A credential, in either form."""
    if secret is None:
        return {}
    return {"authorization": f"Bearer {secret}"} if form == "bearer" else {"x-api-key": secret}


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("form", ["bearer", "x-api-key"])
def test_only_keys_of_the_data_plane_call_models(gateway: Gateway, kind: str, form: str) -> None:
    """Every /v1 route: 401 for any other, whatever it is; never 401 for them."""
    secret = GATEWAY_ADMIN_KEY if kind == "admin" else CLASSES[kind]
    for method, path in DATA_PLANE:
        body: Any = {} if method == "POST" else None
        answer = httpx2.request(
            method, gateway.url + path, headers=headers(secret, form), json=body, verify=False
        )
        refused = answer.status_code == 401
        assert refused == (path not in OPEN and kind not in CALLS), (method, path, answer.text)
        if secret:
            assert secret not in answer.text


@pytest.mark.parametrize("form", ["bearer", "x-api-key"])
def test_a_console_key_calls_no_models(gateway: Gateway, form: str) -> None:
    """Every /v1 route: 403, saying whose it is and which key to use; one that is over is not known, 401."""
    for method, path in DATA_PLANE:
        if path in OPEN:
            continue
        body: Any = {} if method == "POST" else None
        for secret, status in ((VIEWER_KEY, 403), (OLD_VIEWER_KEY, 401), (EXPIRED_VIEWER_KEY, 401)):
            answer = httpx2.request(
                method, gateway.url + path, headers=headers(secret, form), json=body, verify=False
            )
            assert answer.status_code == status, (method, path, answer.text)
            if status == 403:
                error = answer.json()["error"]
                assert error["code"] == "console_key"
                assert "'vi' has the role viewer" in error["message"]


def test_metrics_beyond_loopback_are_for_every_role(tmp_path: Path) -> None:
    """A scraper need not hold the admin key; a key for models, or one that is over, is not enough."""
    now, options = datetime.now(UTC), ("--closed-metrics",)
    with Gateway(tmp_path, deployment("http://127.0.0.1:9/v1"), keys=keys(now), options=options) as gateway:

        def status(said: dict[str, str]) -> int:
            return httpx2.get(f"{gateway.url}/metrics", headers=said, verify=False).status_code

        closed = (None, DATA_KEY, OWN_KEY, OLD_VIEWER_KEY, EXPIRED_VIEWER_KEY, "wrong")
        for form in ("bearer", "x-api-key"):
            assert [status(headers(each, form)) for each in (GATEWAY_ADMIN_KEY, VIEWER_KEY)] == [200, 200]
            assert [status(headers(each, form)) for each in closed] == [401] * len(closed)
        assert status({"authorization": f"bearer {VIEWER_KEY}"}) == 200, "a scheme has no case"
        assert status({"authorization": f"Basic {VIEWER_KEY}", "x-api-key": VIEWER_KEY}) == 401


def test_a_narrow_key_sees_and_calls_only_its_own(gateway: Gateway) -> None:
    """One that may call nothing sees no model, and a model is not found for it."""
    for secret, seen in ((NARROW_KEY, []), (DATA_KEY, ["assistant", "gpt-4o"])):
        auth = headers(secret, "bearer")
        listed = httpx2.get(f"{gateway.url}/v1/models", headers=auth).json()["data"]
        assert [each["id"] for each in listed] == seen
    body = {"model": "assistant", "messages": [{"role": "user", "content": "hi"}]}
    url = f"{gateway.url}/v1/chat/completions"
    assert httpx2.post(url, headers=headers(NARROW_KEY, "bearer"), json=body).status_code == 404


def test_a_secret_ends_with_its_grace_though_nothing_is_published(tmp_path: Path) -> None:
    """The gateway looks at the time itself: no controller is needed for an end that is already known."""
    key = ApiKey(name="web", sha256=hash_key(DATA_KEY), created_at=datetime.now(UTC))
    plan = deployment("http://127.0.0.1:9/v1")
    clock = Clock(tmp_path)
    with Gateway(tmp_path, plan, keys=(key,)) as gateway:

        def status(secret: str) -> int:
            url = f"{gateway.url}/v1/models"
            return httpx2.get(url, headers=headers(secret, "bearer"), verify=False).status_code

        ends = datetime.now(UTC) + timedelta(hours=1)
        gateway.keys = (
            msgspec.structs.replace(key, previous_sha256=hash_key(GRACE_KEY), previous_until=ends),
        )
        gateway.publish(plan)
        until(lambda: status(GRACE_KEY) == 200)
        assert status(DATA_KEY) == 200
        clock.set(passed_s=3_601)
        counts = tmp_path / "metrics" / "gateway-0.json"
        for _ in range(2):  # it looks at the time once a second, and tells its counts then
            told = counts.stat().st_mtime_ns
            until(lambda told=told: counts.stat().st_mtime_ns != told)  # type: ignore[misc]
        assert (status(GRACE_KEY), status(DATA_KEY)) == (401, 200)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("form", ["bearer", "x-api-key"])
def test_only_the_admin_key_administers(tmp_path: Path, kind: str, form: str) -> None:
    """Every route under /api: passes with it alone. A key that calls models is told so (403), any other is
    not known (401). No key in a header opens a page: that takes a login."""
    # Entered, the client has one loop for all its requests.
    with governed(tmp_path) as site, site.client() as client:
        for key in keys(site.clock.now()):
            put_key(site.ledger, key)
        routes = [
            (method, route.path.replace("{id}", "1").replace("{name}", "n"))
            for route in cast("Any", client.app).routes
            for method in getattr(route, "methods", None) or ()
        ]
        assert len([path for _, path in routes if path.startswith("/api/v1")]) > 15
        for method, path in routes:
            if path.startswith("/login") or path in ("/healthz", "/readyz"):
                continue
            answer = client.request(method, path, headers=headers(CLASSES[kind], form))
            site.clock.forward(61)  # guesses are slowed down; another test is about that
            if not path.startswith("/api"):
                assert (answer.status_code, answer.headers["location"][:6]) == (303, "/login")
            elif kind == "admin":
                assert answer.status_code not in (401, 403), (method, path, answer.text)
            else:
                assert answer.status_code == (403 if kind in CALLS else 401), (method, path, answer.text)


@pytest.mark.parametrize("form", ["bearer", "x-api-key"])
def test_guesses_at_the_admin_key_are_slowed_down(tmp_path: Path, form: str) -> None:
    """Ten wrong ones, then 429 with a time, for the right key too; a login is shut as well, and after a while
    all is open again. A data-plane key in the wrong place is no guess."""
    with governed(tmp_path) as site:
        client = site.client()

        def ask(secret: str) -> int:
            return client.get("/api/v1/keys", headers=headers(secret, form)).status_code

        assert [ask(DATA_KEY) for _ in range(20)] == [403] * 20
        assert [ask(f"wrong-{number}") for number in range(12)] == [401] * 10 + [429] * 2
        refused = client.get("/api/v1/keys", headers=headers(ADMIN_KEY, form))
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "too_many_attempts"
        assert 0 < int(refused.headers["retry-after"]) <= 60
        login = client.post("/login", data={"key": ADMIN_KEY}, headers={"origin": "http://testserver"})
        assert login.status_code == 429
        site.clock.forward(61)
        assert ask(ADMIN_KEY) == 200
        assert [ask(f"wrong-{number}") for number in range(9)] == [401] * 9
        assert ask(ADMIN_KEY) == 200
        assert ask("wrong") == 401, "who knows the key is not suspected of what came before"
