"""Links of the console: none leads nowhere."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from pathlib import Path

from airboss.console import render
from tests.console.governed import governed
from tests.console.site import NOW, Site
from tests.support.seed_records import fill, make_records

HREF = re.compile(r'href="(/[^"#]*)')
WRITTEN = re.compile(r'(?:href|action|hx-get)="(/[^"{#]*)["#]')
"""A path that stands in a template as it is; others are put together."""


def test_every_link_leads_somewhere(tmp_path: Path) -> None:
    """From the overview on, one link of each kind is followed, to the last; marks are among them."""
    with governed(tmp_path) as site:
        detail = {"plan": 2}
        at = NOW - timedelta(minutes=5)
        site.audit.append("config.apply", actor="admin key", subject="configuration", detail=detail, at=at)
        fill(site.log, make_records(20, seed=1, until=NOW))
        person = site.person()
        kinds, waiting = {"/"}, ["/", "/explore"]
        while waiting:
            path = waiting.pop()
            answer = person.get(path)
            assert answer.status_code == 200, path
            for found in map(html.unescape, HREF.findall(answer.text)):
                kind = re.sub(r"/[^/?]*\d[^/?]*", "/N", found.partition("?")[0])
                if kind not in kinds and not kind.startswith(("/static", "/api", "/logout")):
                    kinds.add(kind)
                    waiting.append(found)
    assert {"/governance/audit", "/explore", "/records"} <= kinds


def test_no_path_that_a_template_has_leads_nowhere(site: Site) -> None:
    """Also what stands on a page only where there is something to lead to, as a key's policy."""
    templates = sorted((render.STATIC.parent / "pages").glob("*.html"))
    written = [(path.name, link) for path in templates for link in set(WRITTEN.findall(path.read_text()))]
    person = site.person()
    assert not [each for each in written if "there is nothing at" in person.get(each[1]).text]
    assert len(written) > 60
