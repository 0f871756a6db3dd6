"""OpenID Connect against a provider that speaks it over HTTP, honestly and not."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlsplit

import httpx2
import pytest

from airboss.config import OidcConfig
from airboss.domain.errors import SetupError
from airboss.governance import oidc_http
from airboss.governance.oidc_http import OidcHttp
from airboss.governance.sign_in import Claims, Refused
from tests.support.identity import CLIENT, SAYS, SECRET, IdentityProvider

BACK = "http://127.0.0.1:8701/login/sso/callback"
ASKED: dict[str, str] = {"redirect_uri": BACK, "nonce": "n-1", "verifier": "v" * 64}
DEEP = '{"x": ' + "[" * 100_000


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


def secret(reference: str) -> str:
    """What references stand for."""
    if reference != "env:S":
        raise SetupError(f"{reference} is not set")
    return SECRET


def oidc(provider: IdentityProvider, **changes: Any) -> OidcConfig:
    """The provider as it is configured."""
    given = {
        "issuer": provider.issuer,
        "client_id": CLIENT,
        "client_secret": "env:S",
        "roles": {"x": "viewer"},
    }
    return OidcConfig(**{**given, **changes})


def come(config: OidcConfig, caller: OidcHttp | None = None, **changes: str) -> Claims:
    """Go to the provider and come back, as a browser does."""
    caller = caller or OidcHttp(secret)
    where = caller.login_url(config, state="s-1", **ASKED)
    back = httpx2.get(where, trust_env=False).headers["location"]
    answer = parse_qs(urlsplit(back).query)
    assert answer["state"] == ["s-1"]
    return caller.claims(config, **{"code": answer["code"][0], **ASKED, **changes})


def test_what_a_browser_is_sent_with(provider: IdentityProvider) -> None:
    """A code is asked for, with a challenge for whoever would steal it, and the scopes beside the usual."""
    where = OidcHttp(secret).login_url(oidc(provider, scopes=("groups", "email")), state="s-1", **ASKED)
    sent = {name: values[0] for name, values in parse_qs(urlsplit(where).query).items()}
    assert where.startswith(f"{provider.issuer}/authorize?")
    assert sent["scope"] == "openid profile email groups"
    assert sent["code_challenge_method"] == "S256"
    assert (sent["response_type"], sent["redirect_uri"], sent["nonce"]) == ("code", BACK, "n-1")
    assert ASKED["verifier"] not in where


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [("RS256", "one"), ("PS384", "one"), ("ES256", "curve"), ("EdDSA", "edwards"), ("RS512", "two")],
)
def test_a_good_token(provider: IdentityProvider, algorithm: str, key: str) -> None:
    """What it says is believed, however it is signed."""
    provider.says(algorithm=algorithm, key=key, published=["curve", "edwards", "one", "two"])
    claims = come(oidc(provider))
    assert (claims["sub"], claims["groups"]) == ("u-1", ["ml-team"])


@pytest.mark.parametrize(
    "config",
    [{"client_id": "open", "client_secret": None}, {}],
)
@pytest.mark.parametrize("methods", [["client_secret_basic"], ["client_secret_post"], None])
def test_the_client_says_who_it_is(
    provider: IdentityProvider, config: dict[str, Any], methods: list[str] | None
) -> None:
    """As the provider takes it, or with the challenge alone; the secret stands in no address."""
    told = {} if methods is None else {"token_endpoint_auth_methods_supported": methods}
    provider.says(discovery=told)
    assert come(oidc(provider, **config))["sub"] == "u-1"
    assert not any(SECRET in each["path"] for each in provider.asked())


def test_groups_that_only_userinfo_tells(provider: IdentityProvider) -> None:
    """Asked where the token has none; never of somebody else, and never over the token."""
    plain = {"sub": "u-1", "email": "ann@example.com"}
    provider.says(claims=plain, userinfo={"sub": "u-1", "groups": ["ml-team"], "email": "eve@example.com"})
    claims = come(oidc(provider))
    assert (claims["groups"], claims["email"]) == (["ml-team"], "ann@example.com")
    provider.says(claims=plain, userinfo={"sub": "u-2", "groups": ["ml-team"]})
    with pytest.raises(Refused, match="tells of somebody else"):
        come(oidc(provider))


@pytest.mark.parametrize(
    ("says", "cause"),
    [
        ({"algorithm": "none"}, "signed with 'none'"),
        ({"key": "hs-public"}, "signed with 'HS256'"),
        ({"key": "two"}, "a key that the provider does not publish"),
        ({"token": "a.b"}, "is not good"),
        ({"token": "e30.e30."}, "signed with 'None'"),
        ({"claims": {**SAYS["claims"], "iss": "https://evil.example"}}, "Invalid issuer"),
        ({"claims": {**SAYS["claims"], "aud": "another"}}, "Audience"),
        ({"claims": {**SAYS["claims"], "aud": [CLIENT, "another"]}}, "is for 'None' to use"),
        ({"claims": {**SAYS["claims"], "azp": "another"}}, "is for 'another' to use"),
        ({"claims": {**SAYS["claims"], "exp": 1_700_000_000}}, "expired"),
        ({"claims": {**SAYS["claims"], "iat": 4_000_000_000, "exp": 4_000_000_300}}, "not yet valid"),
        ({"claims": {**SAYS["claims"], "nbf": 4_000_000_000}}, "not yet valid"),
        ({"claims": {**SAYS["claims"], "nonce": "n-2"}}, "another sign-in"),
        ({"claims": {**SAYS["claims"], "nonce": ["n-1"]}}, "another sign-in"),
        ({"drop": ["nonce"]}, "another sign-in"),
        ({"drop": ["exp"]}, '"exp"'),
        ({"drop": ["sub"]}, '"sub"'),
        ({"claims": {**SAYS["claims"], "sub": 7}}, "Subject"),
        ({"claims": {**SAYS["claims"], "nonce": "\ud800"}}, "another sign-in"),
        ({"claims": {**SAYS["claims"], "sub": ""}}, "does not say who"),
        ({"claims": {**SAYS["claims"], "sub": "\ud800"}}, "does not say who"),
        ({"body": {"/keys": DEEP}}, "cannot be read"),
        ({"body": {"/token": DEEP}}, "cannot be read"),
        ({"body": {"/token": DEEP}, "status": {"/token": 400}}, "answered 400"),
        ({"body": {"/.well-known/openid-configuration": DEEP}}, "cannot be read"),
        ({"published": []}, "no keys that can be read"),
        ({"body": {"/keys": '{"keys": [{"kty": "RSA", "alg": ["RS256"]}]}'}}, "no keys that can be read"),
        ({"body": {"/token": "<html>"}}, "cannot be read"),
        ({"body": {"/token": '{"access_token": "x"}'}}, "cannot be read"),
        ({"body": {"/keys": "x" * 2_000_000}}, "more than"),
        ({"status": {"/token": 500}}, "answered 500"),
        ({"status": {"/token": 302}}, "answered 302"),
        ({"status": {"/keys": 302}}, "answered 302"),
        ({"discovery": {"issuer": "https://evil.example"}}, "https://evil.example"),
        ({"discovery": {"token_endpoint": None}}, "cannot be read"),
        ({"status": {"/.well-known/openid-configuration": 404}}, "answered 404"),
    ],
)
def test_what_is_not_good_lets_nobody_in(
    provider: IdentityProvider, says: dict[str, Any], cause: str
) -> None:
    """Whatever is wrong with a token, or with who sends it: nobody is signed in, and told why."""
    provider.says(**says)
    with pytest.raises(Refused, match=cause) as refused:
        come(oidc(provider))
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "changes", [{"verifier": "w" * 64}, {"code": "another"}, {"nonce": "n-2"}, {"nonce": "é"}]
)
def test_a_code_is_good_for_who_began(provider: IdentityProvider, changes: dict[str, str]) -> None:
    """Not without what this browser was given."""
    with pytest.raises(Refused):
        come(oidc(provider), None, **changes)


@pytest.mark.parametrize("basic", [True, False])
@pytest.mark.parametrize("member", ["error", "error_description"])
def test_an_error_that_says_what_was_sent(provider: IdentityProvider, member: str, *, basic: bool) -> None:
    """A page shows it, to whoever comes: without the client's secret, the code and its verifier."""
    encoded = base64.b64encode(f"{CLIENT}:{quote_plus(SECRET)}".encode()).decode()
    forms = (SECRET, quote_plus(SECRET), encoded, ASKED["verifier"])
    said = f"bad: {SECRET} {quote_plus(SECRET)} {ASKED['verifier']} authorization: Basic {encoded}"
    methods = ["client_secret_basic"] if basic else ["client_secret_post"]
    provider.says(
        discovery={"token_endpoint_auth_methods_supported": methods},
        status={"/token": 401},
        body={"/token": json.dumps({"error": "invalid_client", member: said})},
    )
    with pytest.raises(Refused) as refused:
        come(oidc(provider))
    assert "answered 401: " in str(refused.value)
    assert [each for each in forms if each in str(refused.value)] == []


def test_a_code_is_good_once(provider: IdentityProvider) -> None:
    """What the provider says of it is told."""
    caller = OidcHttp(secret)
    where = caller.login_url(oidc(provider), state="s-1", **ASKED)
    code = parse_qs(urlsplit(httpx2.get(where, trust_env=False).headers["location"]).query)["code"][0]
    caller.claims(oidc(provider), code=code, **ASKED)
    with pytest.raises(Refused, match="answered 400: invalid_grant this code is not good"):
        caller.claims(oidc(provider), code=code, **ASKED)


def test_a_new_key_is_looked_for(provider: IdentityProvider) -> None:
    """Once the provider signs with another; a key that nobody publishes is not asked for each time."""
    at = 0.0
    caller = OidcHttp(secret, monotonic=lambda: at)

    def asked_for_keys() -> int:
        return sum(each["path"] == "/keys" for each in provider.asked())

    began = asked_for_keys()
    come(oidc(provider), caller)
    come(oidc(provider), caller)
    assert asked_for_keys() == began + 1
    provider.says(key="two", published=["one", "two"])
    with pytest.raises(Refused, match="does not publish"):
        come(oidc(provider), caller)
    at += oidc_http.KEYS_AGAIN_S
    assert come(oidc(provider), caller)["sub"] == "u-1"
    assert asked_for_keys() == began + 2
    provider.says(key="curve", algorithm="ES256", published=["one", "two"])
    at += oidc_http.KEYS_AGAIN_S
    for _ in range(3):
        with pytest.raises(Refused, match="does not publish"):
            come(oidc(provider), caller)
    assert asked_for_keys() == began + 3


@pytest.mark.parametrize(
    "odd",
    [{"alg": ["RS256"]}, {"alg": "none"}, {"kty": []}, {"kty": "oct", "k": "AAAA"}, {"e": 1}, {"n": ""}],
)
def test_an_odd_key_keeps_nobody_out(provider: IdentityProvider, odd: dict[str, Any]) -> None:
    """Beside one that is good."""
    keys = httpx2.get(f"{provider.issuer}/keys", trust_env=False).json()["keys"]
    provider.says(body={"/keys": json.dumps({"keys": [{**keys[0], **odd}, *keys]})})
    assert come(oidc(provider))["sub"] == "u-1"


def test_a_key_that_is_gone_signs_nothing(provider: IdentityProvider) -> None:
    """An hour later at most: keys are believed no longer."""
    at = 0.0
    caller = OidcHttp(secret, monotonic=lambda: at)
    provider.says(published=["one", "two"])
    come(oidc(provider), caller)
    provider.says(published=["two"])
    at += oidc_http.KNOWN_S
    with pytest.raises(Refused, match="does not publish"):
        come(oidc(provider), caller)


def test_nobody_answers(provider: IdentityProvider) -> None:
    """And a secret that is not there: both are told."""
    with pytest.raises(Refused, match="does not answer"):
        come(oidc(provider, issuer="http://127.0.0.1:9"))
    with pytest.raises(Refused, match=r"oidc\.client_secret: env:T is not set"):
        come(oidc(provider, client_secret="env:T"))
