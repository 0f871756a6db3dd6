"""`[oidc]` in the configuration: what it takes, and that a slip is told where it stands."""

from __future__ import annotations

import re

import pytest

from airboss.config import OidcConfig, parse_config
from airboss.domain.errors import ConfigError

GIVEN = {"issuer": '"https://login.example.com/x"', "client_id": '"a"', "roles": '{ ml = "viewer" }'}


def oidc(**fields: str) -> str:
    """A configuration with it; values as TOML, "" leaves a field out."""
    return "[oidc]\n" + "".join(f"{name} = {value}\n" for name, value in {**GIVEN, **fields}.items() if value)


def test_it_is_read_with_its_defaults() -> None:
    """Groups tell who is what, and nothing else is asked for."""
    config = parse_config(oidc(), source="x")
    assert config.oidc == OidcConfig(
        issuer="https://login.example.com/x", client_id="a", roles={"ml": "viewer"}, claim="groups"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"issuer": '"http://127.0.0.1:8080/realms/x"'},
        {"url": '"https://airboss.example.com/"'},
        {"client_secret": '"env:S"'},
        {"client_secret": '"file:/run/secrets/oidc"'},
        {"roles": '{ "*" = "viewer", "CN=ml,DC=x" = "admin" }'},
        {"scopes": '["groups", "api://x/.default"]'},
    ],
)
def test_what_it_takes(fields: dict[str, str]) -> None:
    """Without an error."""
    assert parse_config(oidc(**fields), source="x").oidc is not None


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"issuer": ""}, 'lacks "issuer"'),
        ({"client_id": ""}, 'lacks "client_id"'),
        ({"roles": ""}, 'lacks "roles"'),
        ({"roles": "{}"}, "has 0 entries"),
        ({"roles": '{ ml = "root" }'}, "expected viewer | reader | operator | admin"),
        ({"roles": '{ ml = ["viewer"] }'}, "expected viewer"),
        ({"issuer": '"login.example.com"'}, 'write "https://HOST"'),
        ({"issuer": '"https://"'}, 'write "https://HOST"'),
        ({"issuer": '"https://u:p@x.example"'}, 'write "https://HOST"'),
        ({"issuer": '"https://x.example/?a=1"'}, 'write "https://HOST"'),
        ({"issuer": '"https://x.example#a"'}, 'write "https://HOST"'),
        ({"issuer": '"https://x.example:99999"'}, 'write "https://HOST"'),
        ({"issuer": '"http://login.example.com"'}, "use https"),
        ({"url": '"http://airboss.example.com"'}, "use https"),
        ({"client_secret": '"s3cret"'}, "must not be written out"),
        ({"client_secret": '"env:"'}, "comes the name of an environment variable"),
        ({"client_secret": '"file:x"'}, "comes an absolute path"),
        ({"client_id": '""'}, "expected 1 to 255 characters"),
        ({"claim": '" "'}, "expected 1 to 255 characters"),
        ({"label": f'"{"x" * 256}"'}, "expected 1 to 255 characters"),
        ({"scopes": '["a b"]'}, "is no scope"),
        ({"secret": '"x"'}, "is not a key of [oidc]"),
    ],
)
def test_what_it_does_not_take(fields: dict[str, str], cause: str) -> None:
    """With the line, and what to write; a secret is not repeated."""
    with pytest.raises(ConfigError, match=re.escape(cause)) as error:
        parse_config(oidc(**fields), source="x")
    assert str(error.value).startswith("x:")
    assert "s3cret" not in str(error.value)
