"""A provider of identities as a process of its own, which speaks OpenID Connect and lies where it is told to:
`python -m tests.support.identity`.

Whoever is sent to its `/authorize` comes back at once with a code. What it says and how is `SAYS`, changed by
`IdentityProvider.says`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CLIENT = "airboss"
SECRET = "s3cret of/the+client"
SAYS: Mapping[str, Any] = {
    "claims": {"sub": "u-1", "email": "ann@example.com", "email_verified": True, "groups": ["ml-team"]},
    "drop": [],
    "userinfo": None,
    "algorithm": "RS256",
    "key": "one",
    "published": ["one"],
    "token": None,
    "discovery": {},
    "status": {},
    "body": {},
}
"""`claims` go into the token over the usual, `drop` are left out of it; `algorithm` and `key` sign it, where
`hs-public` is a shared secret that is the public key; `published` are the keys that are; `token` stands for
the whole token; `discovery` changes what is published; `status` and `body` are answered at a path instead."""


class IdentityProvider:
    """The process. `issuer` is where it listens."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self.issuer = ""

    def says(self, **changes: Any) -> None:
        """From now on as usual, but for these."""
        said = json.dumps({**SAYS, **changes})  # httpx writes no half of a character
        httpx2.post(f"{self.issuer}/says", content=said, trust_env=False).raise_for_status()

    def asked(self) -> list[dict[str, Any]]:
        """What came since the start: `method`, `path`, and `fields` of forms and queries."""
        found: list[dict[str, Any]] = httpx2.get(f"{self.issuer}/asked", trust_env=False).json()
        return found

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.support.identity"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.issuer = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def new_keys() -> dict[str, Any]:
    """Private keys by name."""
    return {
        "one": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "two": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "curve": ec.generate_private_key(ec.SECP256R1()),
        "edwards": ed25519.Ed25519PrivateKey.generate(),
    }


def public(name: str, key: Any) -> dict[str, Any]:
    """A key as it is published."""
    kinds: Mapping[str, Any] = {"curve": jwt.algorithms.ECAlgorithm, "edwards": jwt.algorithms.OKPAlgorithm}
    kind = kinds.get(name, jwt.algorithms.RSAAlgorithm)
    found: dict[str, Any] = kind.to_jwk(key.public_key(), as_dict=True)
    return {**found, "kid": name, "use": "sig"}


def signed_with_public(key: Any, claims: Mapping[str, Any]) -> str:
    """A token whose shared secret is the public key, which a careless reader would take for a good one."""
    secret = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    parts = ({"alg": "HS256", "typ": "JWT", "kid": "one"}, claims)
    text = ".".join(encoded(json.dumps(each).encode()) for each in parts)
    return f"{text}.{encoded(hmac.digest(secret, text.encode(), 'sha256'))}"


def encoded(content: bytes) -> str:
    """Bytes as tokens have them."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


class Handler(BaseHTTPRequestHandler):
    """Answers."""

    says: ClassVar[dict[str, Any]] = dict(SAYS)
    keys: ClassVar[dict[str, Any]] = {}
    begun: ClassVar[dict[str, dict[str, str]]] = {}
    log: ClassVar[list[dict[str, Any]]] = []
    issuer = ""

    def do_GET(self) -> None:
        """Discovery, the login, keys, who somebody is."""
        parts = urlsplit(self.path)
        fields = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/asked":
            self._send(200, self.log)
        elif not self._instead(parts.path, fields):
            self._get(parts.path, fields)

    def do_POST(self) -> None:
        """What it shall say, and a code for tokens."""
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        if self.path == "/says":
            type(self).says = json.loads(body)
            self._send(200, {})
            return
        fields = {name: values[0] for name, values in parse_qs(body).items()}
        if not self._instead(self.path, fields):
            self._token(fields)

    def _get(self, path: str, fields: dict[str, str]) -> None:
        if path == "/.well-known/openid-configuration":
            self._send(200, self._discovery())
        elif path == "/authorize":
            code = secrets.token_urlsafe(12)
            self.begun[code] = fields
            back = urlencode({"code": code, "state": fields["state"], "iss": self.issuer})
            self.send_response(302)
            self.send_header("location", f"{fields['redirect_uri']}?{back}")
            self.end_headers()
        elif path == "/keys":
            self._send(200, {"keys": [public(name, self.keys[name]) for name in self.says["published"]]})
        elif path == "/userinfo" and self.headers.get("authorization") == "Bearer at-1":
            self._send(200, self.says["userinfo"] or {})
        else:
            self._send(404, {})

    def _discovery(self) -> dict[str, Any]:
        paths = ("authorization_endpoint", "authorize"), ("token_endpoint", "token"), ("jwks_uri", "keys")
        found = {name: f"{self.issuer}/{path}" for name, path in (*paths, ("userinfo_endpoint", "userinfo"))}
        return {"issuer": self.issuer, **found, **self.says["discovery"]}

    def _token(self, fields: dict[str, str]) -> None:
        begun = self.begun.pop(fields.get("code", ""), None)
        given = base64.b64decode(self.headers.get("authorization", "Basic ").removeprefix("Basic ")).decode()
        client = given or f"{fields.get('client_id')}:{fields.get('client_secret')}"
        challenge = encoded(hashlib.sha256(fields.get("code_verifier", "").encode()).digest())
        good = begun is not None and begun["code_challenge"] == challenge
        if not good or client not in (
            f"{CLIENT}:s3cret+of%2Fthe%2Bclient",
            f"{CLIENT}:{SECRET}",
            "open:None",
        ):
            self._send(400, {"error": "invalid_grant", "error_description": "this code is not good"})
            return
        assert begun is not None
        self._send(200, {"access_token": "at-1", "token_type": "Bearer", "id_token": self._signed(begun)})

    def _signed(self, begun: dict[str, str]) -> str:
        if self.says["token"] is not None:
            return str(self.says["token"])
        now = int(time.time())
        usual = {"iss": self.issuer, "aud": begun["client_id"], "iat": now, "exp": now + 300}
        claims = {**usual, "nonce": begun["nonce"], **self.says["claims"]}
        claims = {name: value for name, value in claims.items() if name not in self.says["drop"]}
        if self.says["key"] == "hs-public":
            return signed_with_public(self.keys["one"], claims)
        key, algorithm = self.keys[self.says["key"]], self.says["algorithm"]
        headers = {"kid": self.says["key"]}
        return jwt.encode(claims, "" if algorithm == "none" else key, algorithm=algorithm, headers=headers)

    def _instead(self, path: str, fields: dict[str, str]) -> bool:
        self.log.append({"method": self.command, "path": path, "fields": fields})
        status, body = self.says["status"].get(path), self.says["body"].get(path)
        if status is None and body is None:
            return False
        self.send_response(status or 200)
        self.send_header("location", f"{self.issuer}/elsewhere")
        self.end_headers()
        self.wfile.write((body or "").encode())
        return True

    def _send(self, status: int, body: object) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until killed."""
    Handler.keys = new_keys()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.issuer = f"http://127.0.0.1:{server.server_port}"
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
