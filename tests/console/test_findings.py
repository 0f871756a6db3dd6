"""What is wrong, as pages say it: one cause is one finding, with what to do."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airboss import console
from airboss.domain.status import BreakerStatus
from tests.console.site import NOW, Site


@pytest.mark.parametrize("path", ["/", "/system"])
def test_code_in_a_finding_is_shown_as_code(site: Site, path: str) -> None:
    """No mark of Markdown stands on a page as it is."""
    limit: dict[str, Any] = {
        "last_failure": "slow_down",
        "out_since": NOW - timedelta(minutes=10),
        "limited": "rate_limited",
    }
    place: dict[str, Any] = {"provider": "openai", "model": "gpt-4o-mini", "url": "https://openai.example/v1"}
    site.breakers = (BreakerStatus(**place, **limit, state="closed", deployments=("support",)),)
    text = site.person().get(path).text
    assert "give it <code>targets</code> with other keys" in text
    assert "`targets`" not in text


def test_no_page_shows_what_a_finding_says_with_its_marks() -> None:
    """Of every page."""
    pages = list(Path(console.__file__).parent.glob("pages/*.html"))
    lines = [line for page in pages for line in page.read_text().splitlines() if 'class="finding' in line]
    assert len(lines) > 20
    assert not [line for line in lines if re.search(r'class="detail">\{\{ visible\((?!c\.admins)', line)]
