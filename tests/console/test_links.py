"""Links of the console: none leads nowhere."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from pathlib import Path

from tests.console.governed import governed
from tests.console.site import NOW
from tests.support.seed_records import fill, make_records

HREF = re.compile(r'href="(/[^"#]*)')


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
