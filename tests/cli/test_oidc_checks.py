"""What `airboss doctor` says of who knows the people that sign in."""

from __future__ import annotations

import msgspec
import pytest

from airboss.cli.oidc_checks import check_oidc
from airboss.config import OidcConfig
from tests.support.identity import IdentityProvider

OIDC = OidcConfig(
    issuer="http://127.0.0.1:9", client_id="a", client_secret="env:OIDC_TEST", roles={"*": "viewer"}
)


def test_the_secret_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or is warned of: `airboss up` may run elsewhere. Nobody is asked."""
    assert list(check_oidc(None, online=True)) == []
    monkeypatch.delenv("OIDC_TEST", raising=False)
    (check,) = check_oidc(OIDC, online=False)
    assert check.verdict == "warn"
    assert "OIDC_TEST" in check.seen
    monkeypatch.setenv("OIDC_TEST", "s3cret")
    assert list(check_oidc(OIDC, online=False)) == []


def test_the_provider_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it publishes is for us, or why not."""
    monkeypatch.setenv("OIDC_TEST", "s3cret")
    (away,) = check_oidc(OIDC, online=True)
    assert (away.verdict, "does not answer" in away.seen) == ("fail", True)
    with IdentityProvider() as provider:
        (there,) = check_oidc(msgspec.structs.replace(OIDC, issuer=provider.issuer), online=True)
        assert there.verdict == "ok"
        (other,) = check_oidc(msgspec.structs.replace(OIDC, issuer=f"{provider.issuer}/"), online=True)
        assert (other.verdict, "as it stands there" in other.seen) == ("fail", True)
