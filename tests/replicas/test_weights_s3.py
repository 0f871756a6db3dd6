"""Weights in S3, and in stores that speak its protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from airboss.domain.errors import SetupError
from airboss.providers.aws_sign import Credentials
from airboss.replicas.weights import fetch
from airboss.replicas.weights_http import Patience
from airboss.replicas.weights_s3 import object_url, presigned
from tests.replicas.shop import Shop, open_shop

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
BODY = b"GGUF" + bytes(range(256)) * 4000
QUICK = Patience(pause_s=0.01, pause_s_max=0.02)


def test_a_signature_is_the_one_of_awss_own_example() -> None:
    """The presigned URL in the documentation of S3's query string authentication."""
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    url = presigned(
        "https://examplebucket.s3.amazonaws.com",
        "/test.txt",
        Credentials(access_key="AKIAIOSFODNN7EXAMPLE", secret_key=secret),
        region="us-east-1",
        now=datetime(2013, 5, 24, tzinfo=UTC),
        expires_s=86_400,
    )
    signature = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    assert parse_qs(urlsplit(url).query)["X-Amz-Signature"] == [signature]


@pytest.mark.parametrize(
    ("source", "env", "begins"),
    [
        ("s3://our-models/a/b c.gguf", {"AWS_REGION": "eu-central-1"}, "https://our-models.s3.eu-central-1."),
        ("s3://our.models/w.gguf", {}, "https://s3.us-east-1.amazonaws.com/our.models/w.gguf"),
        ("s3://m-1/w.gguf", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9/"}, "http://127.0.0.1:9/m-1/w.gguf"),
    ],
)
def test_where_an_object_is(source: str, env: dict[str, str], begins: str) -> None:
    """At Amazon's by the bucket's name, unless that has a dot; at another store by its path."""
    if " " in source:
        with pytest.raises(SetupError, match="s3://BUCKET/KEY"):
            object_url(source, env, now=NOW)
        source = source.replace(" ", "+")
    plain = object_url(source, env, now=NOW)
    assert plain.startswith(begins)
    assert "?" not in plain
    signed = object_url(source, env | KEYS | {"AWS_SESSION_TOKEN": "a+b/c"}, now=NOW)
    assert signed.startswith(plain + "?")
    assert parse_qs(urlsplit(signed).query)["X-Amz-Security-Token"] == ["a+b/c"]
    assert "secret" not in signed


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A store."""
    with open_shop() as running:
        yield running


def test_weights_come_from_a_store(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are resumed where they were cut and checked by hash; a store that says no is told with the next
    step, and no key."""
    for name, value in (KEYS | {"AWS_ENDPOINT_URL_S3": shop.base}).items():
        monkeypatch.setenv(name, value)
    shop.files["/models/q/w.gguf"] = [BODY]
    shop.cuts = [100_000]
    sha256 = hashlib.sha256(BODY).hexdigest()
    assert fetch("s3://models/q/w.gguf", sha256, tmp_path, patience=QUICK).read_bytes() == BODY
    assert [each.status for each in shop.served] == [200, 206]
    shop.statuses = [403]
    with pytest.raises(SetupError, match="AWS_SECRET_ACCESS_KEY") as caught:
        fetch("s3://models/q/other.gguf", "0" * 64, tmp_path, patience=QUICK)
    assert KEYS["AWS_ACCESS_KEY_ID"] not in str(caught.value)
    assert "X-Amz" not in str(caught.value)
