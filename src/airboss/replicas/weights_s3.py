"""Objects in S3, or in a store that speaks its protocol, as URLs that can be fetched: signed, pure.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, urlsplit

from airboss.domain.errors import SetupError
from airboss.providers.aws_sign import ALGORITHM, Credentials, digest, signature

EXPIRES_S: Final = 43_200
"""So long may a download last, all its resumptions included."""

_OBJECT: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/([^\s?#]+)")
_REGION: Final = re.compile(r"[a-z0-9-]{1,40}")


def object_url(source: str, env: Mapping[str, str], *, now: datetime) -> str:
    """The URL of `s3://BUCKET/KEY`, signed for twelve hours by the keys in the usual variables
    (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`); without them, as anybody may ask.

    `AWS_REGION` or `AWS_DEFAULT_REGION` says where, `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL` which store
    else than Amazon's. Raises SetupError.
    """
    found = _OBJECT.fullmatch(source)
    if found is None:
        raise SetupError(f"{source!r} is not of the form s3://BUCKET/KEY.")
    bucket, key = found[1], quote(found[2], safe="/-_.~")
    region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or "us-east-1"
    if not _REGION.fullmatch(region):
        raise SetupError(f"AWS_REGION is {region[:60]!r}; expected a name such as eu-central-1.")
    endpoint = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL")
    if endpoint:
        base, path = endpoint.rstrip("/"), f"/{bucket}/{key}"
    elif "." in bucket:  # no certificate holds for a name in such a name
        base, path = f"https://s3.{region}.amazonaws.com", f"/{bucket}/{key}"
    else:
        base, path = f"https://{bucket}.s3.{region}.amazonaws.com", f"/{key}"
    access_key, secret_key = env.get("AWS_ACCESS_KEY_ID"), env.get("AWS_SECRET_ACCESS_KEY")
    if not access_key or not secret_key:
        return base + path
    token = env.get("AWS_SESSION_TOKEN") or None
    credentials = Credentials(access_key=access_key, secret_key=secret_key, token=token)
    return presigned(base, path, credentials, region=region, now=now)


def presigned(
    base: str,
    path: str,
    credentials: Credentials,
    *,
    region: str,
    now: datetime,
    expires_s: int = EXPIRES_S,
) -> str:
    """The URL of a GET that needs no headers of its own. `path` is percent-encoded."""
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    asked = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(expires_s),
        "X-Amz-SignedHeaders": "host",
    }
    if credentials.token is not None:
        asked["X-Amz-Security-Token"] = credentials.token
    query = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in sorted(asked.items()))
    at = urlsplit(base)
    canonical = "\n".join(["GET", at.path + path, query, f"host:{at.netloc}", "", "host", "UNSIGNED-PAYLOAD"])
    to_sign = "\n".join([ALGORITHM, stamp, scope, digest(canonical.encode())])
    return f"{base}{path}?{query}&X-Amz-Signature={signature(to_sign, scope, credentials)}"
