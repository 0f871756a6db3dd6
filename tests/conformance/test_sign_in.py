"""People sign in to the console in a real browser, by way of a certified OpenID provider."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from airboss.testing import FakeProvider
from tests.conformance.running import command
from tests.support.airboss import Airboss
from tests.support.browser import launched

CONFIG = """
[providers.fake]
kind = "openai-compatible"
base_url = "{url}"

[models.small]
provider = "fake"
model = "small"

[deployments.support]
model = "small"
"""
SIGN_IN = """
[oidc]
issuer = "{issuer}"
client_id = "{client}"
{secret}
scopes = ["groups"]
roles = {{ ops = "operator", watch = "viewer" }}
label = "the company"
"""


@contextmanager
def openid(callback: str) -> Iterator[str]:
    """The provider; its issuer."""
    with subprocess.Popen(
        [*command("oidc-provider"), callback], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["issuer"]
        finally:
            process.kill()


def come_in(page: Page, console: str, who: str) -> None:
    """Sign in under a name, and agree to what is asked for."""
    page.goto(f"{console}/records?status=error")
    page.get_by_role("link", name="Sign in with the company").click()
    page.fill("input[name=login]", who)
    page.fill("input[name=password]", "any")
    page.click("button[type=submit]")
    page.click("button[type=submit]")


@pytest.mark.parametrize("client", ["airboss", "open"])
def test_people_sign_in(fake_process: FakeProvider, tmp_path: Path, client: str) -> None:
    """Into what their group may, back to where they were going, under their name in the audit log; who is in
    none is told, and an administrator who takes the rule away ends their session."""
    config = CONFIG.format(url=fake_process.url)
    env = {"OIDC_SECRET": "s3cret"}
    with Airboss(tmp_path / "a", config, env=env) as airboss, launched() as browser:
        console = airboss.ready["console_url"]
        with openid(f"{console}/login/sso/callback") as issuer:
            secret = 'client_secret = "env:OIDC_SECRET"' if client == "airboss" else ""
            told = SIGN_IN.format(issuer=issuer, client=client, secret=secret)
            (airboss.root / "airboss.toml").write_text(config + told)
            airboss.verb("apply", "airboss.toml")
            context = browser.new_context()
            page = context.new_page()
            come_in(page, console, "ann.ops")
            page.wait_for_url(f"{console}/records?status=error")
            expect(page.locator(".who")).to_have_text("ann.ops@example.comoperator")
            page.goto(f"{console}/governance/keys")
            expect(page.locator("h1")).to_contain_text("Keys")
            stranger = browser.new_context().new_page()
            come_in(stranger, console, "eve.sales")
            expect(stranger.locator("#problem")).to_contain_text("none of the values that have a role here")
            (entry,) = [
                each
                for line in airboss.verb("audit", "list", "--json").splitlines()
                if (each := json.loads(line))["action"] == "login" and each["actor"] != "admin"
            ]
            assert entry["actor"] == "ann.ops@example.com"
            (airboss.root / "airboss.toml").write_text(config)
            airboss.verb("apply", "airboss.toml")
            page.goto(console)
            expect(page).to_have_url(f"{console}/login")
