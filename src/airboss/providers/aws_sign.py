"""AWS Signature Version 4: of a POST without query, what other signatures have in common with it, and
Bedrock's own keys. Pure.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

import msgspec

from airboss.providers.dialect import Unsigned

SERVICE = "bedrock"
ALGORITHM = "AWS4-HMAC-SHA256"


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """An access key; `token` is of temporary ones."""

    access_key: str
    secret_key: str
    token: str | None = None


def credentials_of(secret: str) -> Credentials | None:
    """Of `ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]`; None for else: a key of Bedrock's."""
    access_key, _, rest = secret.partition(":")
    secret_key, _, token = rest.partition(":")
    if not secret_key or len(access_key) < 16 or not access_key.isalnum() or not access_key.isupper():
        return None
    return Credentials(access_key=access_key, secret_key=secret_key, token=token or None)


def authorise_aws(request: Unsigned, secret: str, *, region: str) -> Mapping[str, str]:
    """The headers: a signature where `secret` is an access key, else a bearer token."""
    credentials = credentials_of(secret)
    if credentials is None:
        return {"authorization": f"Bearer {secret}"}
    return signed(request, credentials, region=region, service=SERVICE)


def signed(request: Unsigned, credentials: Credentials, *, region: str, service: str) -> dict[str, str]:
    """The headers of a signed POST: what is signed is path, body, `host`, the date and the token."""
    stamp = datetime.fromtimestamp(request.at, UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": request.host, "x-amz-date": stamp}
    if credentials.token is not None:
        headers["x-amz-security-token"] = credentials.token
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        [
            "POST",
            # A path that is percent-encoded already is encoded once more: every service but S3 wants it so.
            quote(request.path, safe="/-_.~"),
            "",
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            "",
            names,
            digest(request.body),
        ]
    )
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    to_sign = "\n".join([ALGORITHM, stamp, scope, digest(canonical.encode())])
    signed_by = f"Credential={credentials.access_key}/{scope}, SignedHeaders={names}"
    headers["authorization"] = f"{ALGORITHM} {signed_by}, Signature={signature(to_sign, scope, credentials)}"
    del headers["host"]
    return headers


def signature(to_sign: str, scope: str, credentials: Credentials) -> str:
    """The signature, in hex; `scope` is DATE/REGION/SERVICE/aws4_request, whose parts make the key."""
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


def digest(data: bytes) -> str:
    """A sha256, in hex."""
    return hashlib.sha256(data).hexdigest()
