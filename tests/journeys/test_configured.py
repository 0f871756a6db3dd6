"""A running Airboss configured from a browser alone: what is applied there is what gateways do."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from airboss.testing import FakeProvider
from tests.journeys.test_eval import config
from tests.support.airboss import Airboss
from tests.support.browser import launched
from tests.support.wait import until

SAID = "Write to ada@example.org."


def applied(page: Page, why: str) -> None:
    """Look at what changes, and apply it."""
    page.click("text=See what changes")
    page.fill("[name=reason]", why)
    page.click("button:has-text('Apply')")
    expect(page.locator(".said-done")).to_be_visible()


def test_a_policy_and_an_alias_from_a_browser(provider: FakeProvider, tmp_path: Path) -> None:
    """Calls are masked and the alias is known once it says so; the page knows how the file stands, and the
    configuration before comes back by a link. A prompt in a file of its own stands in the text."""
    root = tmp_path / "a"
    (root / "prompts").mkdir(parents=True)
    (root / "prompts" / "kind.md").write_text("Be kind.\n")
    text = config(provider.url).replace("[releases.sharp]", '[releases.sharp]\nprompt = "prompts/kind.md"')
    with Airboss(root, text) as airboss, launched() as browser:
        page = browser.new_page()
        url = airboss.ready["console_url"].rstrip("/")
        page.set_default_timeout(90_000)  # a whole Airboss starts beside the browser
        page.request.post(f"{url}/login", form={"key": airboss.ready["admin_key"]}, headers={"origin": url})
        page.goto(f"{url}/governance")
        page.click("text=Set one up here")
        expect(page.locator("main")).to_contain_text("as in force")
        assert 'prompt = "Be kind."' in page.locator("#text").input_value()
        assert airboss.chat(SAID, model="helper").status_code == 404

        page.locator("#piece-policy button[name=add]").click()
        expect(page.locator("#changes")).to_contain_text("other settings")
        field = page.locator("#text")
        field.fill(
            field.input_value().replace(
                "[deployments.support]", '[deployments.support]\naliases = ["helper"]'
            )
        )
        applied(page, "people send addresses")
        airboss.taken()
        assert airboss.chat(SAID, model="helper").status_code == 200
        until(airboss.records)
        (record,) = airboss.records()
        assert "Write to" in str(record["request"])
        assert "ada@example.org" not in str(record["request"])
        assert "people send addresses" in airboss.verb("audit", "list", "--json")

        expect(page.locator("main")).to_contain_text("The file says something else")
        exported = airboss.verb("export")
        assert exported == field.input_value()
        (root / "airboss.toml").write_text(exported)
        page.reload()
        expect(page.locator("main")).not_to_contain_text("The file says something else")

        page.locator("main table a", has_text="the one before").click()
        assert "helper" not in field.input_value()
        applied(page, "back again")
        airboss.taken()
        assert airboss.chat(SAID, model="helper").status_code == 404
        assert airboss.chat(SAID, model="support").status_code == 200
