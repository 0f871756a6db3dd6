"""OpenID Connect over HTTP: a provider's endpoints and keys, and what it says of who brings a code.

OpenID Connect Core 1.0, section 3.1 (authorization code), with PKCE (RFC 7636) always and the issuer of an
answer checked by the one who takes it (RFC 9207).
"""

from __future__ import annotations

import hashlib
import hmac
import ssl
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar
from urllib.parse import quote_plus, urlencode, urlsplit

import httpx2
import jwt
import msgspec

from airboss.config.rules import on_this_machine
from airboss.config.types import OidcConfig
from airboss.domain.errors import SetupError
from airboss.governance.redact import Redactor
from airboss.governance.sign_in import Claims, Refused

TIMEOUT_S: Final = 8.0
"""Of one request, from the connection to the last byte."""

BODY_BYTES_MAX: Final = 1024 * 1024
KNOWN_S: Final = 3_600.0
"""So long a provider's endpoints and keys are believed."""

KEYS_AGAIN_S: Final = 30.0
"""A key that is not known is looked for again, so often at most: who sends tokens with keys of their own does
not make us ask for each."""

LEEWAY_S: Final = 60
ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""Signatures with a key that only the provider has. Never `none`, and none with a shared secret: the public
key would do for that."""

T = TypeVar("T")

SCOPES: Final = ("openid", "profile", "email")


class _Endpoints(msgspec.Struct, frozen=True):
    """What a provider publishes (OpenID Connect Discovery 1.0)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class _Tokens(msgspec.Struct, frozen=True):
    id_token: str
    access_token: str | None = None


class _Published(msgspec.Struct, frozen=True):
    """A JSON Web Key Set (RFC 7517)."""

    keys: tuple[dict[str, Any], ...]


class _Keys(msgspec.Struct):
    at: float
    keys: list[jwt.PyJWK]


class OidcHttp:
    """`sign_in.IdentityProvider`. `secret` reads what a reference stands for; it raises SetupError. Any
    thread may call it."""

    def __init__(
        self, secret: Callable[[str], str], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._secret = secret
        self._monotonic = monotonic
        self._endpoints: dict[str, tuple[float, _Endpoints]] = {}
        self._keys: dict[str, _Keys] = {}

    def login_url(self, oidc: OidcConfig, *, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """As `IdentityProvider.login_url`."""
        where = self._published(oidc.issuer).authorization_endpoint
        challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        asked = {
            "response_type": "code",
            "client_id": oidc.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(dict.fromkeys((*SCOPES, *oidc.scopes))),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{where}{'&' if urlsplit(where).query else '?'}{urlencode(asked)}"

    def claims(self, oidc: OidcConfig, *, code: str, redirect_uri: str, nonce: str, verifier: str) -> Claims:
        """As `IdentityProvider.claims`."""
        published = self._published(oidc.issuer)
        tokens = self._tokens(oidc, published, code=code, redirect_uri=redirect_uri, verifier=verifier)
        claims = self._checked(oidc, published, tokens.id_token)
        said = claims.get("nonce")
        if not isinstance(said, str) or not hmac.compare_digest(
            said.encode("utf-8", "surrogatepass"), nonce.encode()
        ):
            raise Refused("the token is of another sign-in (its nonce is not ours); sign in again")
        # Many providers keep groups out of the token, and tell them when they are asked.
        lacks = oidc.claim not in claims and oidc.claim.partition(".")[0] not in claims
        if lacks and tokens.access_token is not None and published.userinfo_endpoint is not None:
            return self._with_userinfo(published.userinfo_endpoint, tokens.access_token, claims)
        return claims

    def _published(self, issuer: str) -> _Endpoints:
        held = self._endpoints.get(issuer)
        if held is not None and self._monotonic() - held[0] < KNOWN_S:
            return held[1]
        url = issuer.rstrip("/") + "/.well-known/openid-configuration"
        found = _read(self._asked("GET", url), _Endpoints, url)
        if found.issuer != issuer:
            raise Refused(
                f"{url} is of the issuer {found.issuer[:200]!r}, and the configuration says {issuer!r}; "
                "write it in [oidc] as it stands there"
            )
        if not on_this_machine(issuer):
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"):
                where = getattr(found, name)
                if where is not None and not where.startswith("https://"):
                    raise Refused(f"{url} has the {name} {where[:200]!r}, which is not https")
        self._endpoints = {issuer: (self._monotonic(), found)}
        return found

    def _tokens(
        self, oidc: OidcConfig, published: _Endpoints, *, code: str, redirect_uri: str, verifier: str
    ) -> _Tokens:
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        auth: tuple[str, str] | None = None
        hidden = [code, verifier]
        if oidc.client_secret is None:
            fields["client_id"] = oidc.client_id
        else:
            try:
                secret = self._secret(oidc.client_secret)
            except SetupError as error:
                raise Refused(f"oidc.client_secret: {error}") from None
            hidden += [secret, quote_plus(secret)]
            if "client_secret_basic" in published.token_endpoint_auth_methods_supported:
                auth = quote_plus(oidc.client_id), quote_plus(secret)  # RFC 6749, 2.3.1
            else:
                fields |= {"client_id": oidc.client_id, "client_secret": secret}
        url = published.token_endpoint
        return _read(self._asked("POST", url, data=fields, auth=auth, hidden=hidden), _Tokens, url)

    def _checked(self, oidc: OidcConfig, published: _Endpoints, token: str) -> dict[str, Any]:
        """The members of an ID token that is the provider's, for us, and not over. Raises Refused."""
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if algorithm not in ALGORITHMS:
                raise Refused(
                    f"the token is signed with {str(algorithm)[:40]!r}; expected one of {ALGORITHMS}"
                )
            error: Exception = jwt.InvalidSignatureError("it names a key that the provider does not publish")
            for key in self._candidates(published.jwks_uri, header.get("kid"), algorithm):
                try:
                    return self._claims(oidc, token, key, algorithm)
                except jwt.InvalidSignatureError as wrong:
                    error = wrong
            raise error
        except jwt.PyJWTError as error:
            raise Refused(f"the token of {oidc.issuer} is not good: {error}") from None

    def _claims(self, oidc: OidcConfig, token: str, key: jwt.PyJWK, algorithm: str) -> dict[str, Any]:
        required = ["exp", "iat", "iss", "aud", "sub"]
        claims: dict[str, Any] = jwt.decode(
            token,
            key.key,
            algorithms=[algorithm],
            audience=oidc.client_id,
            issuer=oidc.issuer,
            leeway=LEEWAY_S,
            options={"require": required},
        )
        if not claims["sub"].isprintable() or not claims["sub"]:
            raise Refused(f"the token of {oidc.issuer} does not say who somebody is: its sub is empty or odd")
        party = claims.get("azp")
        if (isinstance(claims["aud"], list) and len(claims["aud"]) > 1 and party is None) or (
            party is not None and party != oidc.client_id
        ):
            raise Refused(f"the token is for {str(party)[:80]!r} to use, not for {oidc.client_id!r}")
        return claims

    def _candidates(self, url: str, kid: object, algorithm: str) -> Iterator[jwt.PyJWK]:
        """The published keys that a token may be signed with: that of its `kid`, any where it names none."""
        held = self._keys.get(url)
        age = self._monotonic() - held.at if held is not None else KNOWN_S
        if held is None or age >= KNOWN_S:
            held = self._fetched(url)
        elif kid is not None and age >= KEYS_AGAIN_S and all(each.key_id != kid for each in held.keys):
            held = self._fetched(url)  # the provider may have a new one since
        for each in held.keys:
            signs = each.public_key_use in (None, "sig") and algorithm[:2] in _KINDS.get(
                each.key_type or "", ()
            )
            if signs and (kid is None or each.key_id == kid):
                yield each

    def _fetched(self, url: str) -> _Keys:
        said = _read(self._asked("GET", url), _Published, url)
        keys = []
        for each in said.keys:
            # One that is odd keeps nobody from coming in with another. PyJWT raises what is no error of its
            # own where the algorithm is a list, or `none`.
            if each.get("alg") in (None, *ALGORITHMS):
                with suppress(jwt.PyJWTError):
                    keys.append(jwt.PyJWK(each))
        if not keys:
            raise Refused(f"{url} has no keys that can be read")
        held = _Keys(self._monotonic(), keys)
        self._keys = {url: held}
        return held

    def _with_userinfo(self, url: str, token: str, claims: dict[str, Any]) -> Claims:
        said = _read(self._asked("GET", url, bearer=token, hidden=[token]), dict[str, Any], url)
        if said.get("sub") != claims["sub"]:
            raise Refused(f"{url} tells of somebody else than the token")
        return said | claims

    def _asked(
        self,
        method: str,
        url: str,
        *,
        data: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        bearer: str | None = None,
        hidden: Sequence[str] = (),
    ) -> bytes:
        """The body of a 200. Raises Refused for any other, without the secrets that were sent: a page shows
        why nobody was let in."""
        headers = {"accept": "application/json"}
        if bearer is not None:
            headers["authorization"] = f"Bearer {bearer}"
        deadline, body = self._monotonic() + TIMEOUT_S, bytearray()
        try:
            with (
                httpx2.Client(
                    timeout=TIMEOUT_S,
                    verify=ssl.create_default_context(),
                    trust_env=not on_this_machine(url),
                ) as client,
                client.stream(method, url, data=data, auth=auth, headers=headers) as answer,
            ):
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > BODY_BYTES_MAX or self._monotonic() > deadline:
                        raise Refused(f"{url} sends more than {BODY_BYTES_MAX} bytes, or too slowly")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise Refused(f"{url} does not answer: {error or type(error).__name__}") from None
        if answer.status_code != 200:
            raise Refused(f"{url} answered {answer.status_code}{_cause(bytes(body), Redactor(hidden))}")
        return bytes(body)


_KINDS: Final = {"RSA": ("RS", "PS"), "EC": ("ES",), "OKP": ("Ed",)}
"""How the algorithms that a kind of key can sign with begin."""


def _read(body: bytes, kind: type[T], url: str) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"{url} answered what cannot be read: {error}") from None


def _cause(body: bytes, redactor: Redactor) -> str:
    """What an OAuth error says of itself (RFC 6749, 5.2), shortened."""
    try:
        said = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    words = {name: redactor.redact_text(str(each)) for name, each in said.items()}
    told = " ".join(words[name][:200] for name in ("error", "error_description") if name in words)
    return f": {told}" if told else ""
