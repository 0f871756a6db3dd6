"""A console over a real ledger, for what it writes there: keys, erasures, the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airboss.domain.ports import ApiKey
from airboss.governance.audit import Sealer
from airboss.governance.checkpoint import Signer
from airboss.governance.erasure import Forgetting
from airboss.governance.keys import hash_key
from airboss.store.audit import SqlAuditLog
from airboss.store.erasures import SqlErasures
from airboss.store.ledger import SqlLedger
from tests.console.site import NOW, Site, people_keys
from tests.support.kept_keys import put_key
from tests.support.seed_records import seed_plan

SIGNER = Signer("ab_" + "s" * 43)
DATA_KEY, REVOKED_KEY, OWN_KEY = ("ab_" + letter * 43 for letter in "drw")


class Governed(Site):
    """The site; `started` are the secrets that it was told to keep for the starter key."""

    started: list[str]


@contextmanager
def governed(root: Path) -> Iterator[Governed]:
    """A site with a published plan, a data-plane key, a revoked one, and the key of our own calls."""
    url = f"sqlite:///{root / 'ledger.db'}"
    ledger, audit, erasures = SqlLedger(url), SqlAuditLog(url, Sealer(SIGNER)), SqlErasures(url)
    ledger.publish("", seed_plan(NOW))
    for name, secret, given in (
        ("web", DATA_KEY, {}),
        ("old", REVOKED_KEY, {"revoked_at": datetime.now(UTC)}),
        ("airboss", OWN_KEY, {"internal": True}),
    ):
        fields: dict[str, Any] = {"name": name, "sha256": hash_key(secret), "created_at": NOW, **given}
        put_key(ledger, ApiKey(**fields))
    for key in people_keys():
        put_key(ledger, key)
    any_ledger: Any = ledger
    site = Governed(ledger=any_ledger, audit=audit, people=Forgetting(erasures, "key"))
    site.started = []
    site.keep_starter = site.started.append
    yield site
    for store in (ledger, audit, erasures):
        store.close()


def kept(site: Governed, name: str = "app") -> Any:
    """A key, as the ledger has it."""
    return next(each for each in site.ledger.all_keys() if each.name == name)


def post(site: Governed, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
    """The answer of a POST under /api/v1/keys."""
    answer = site.program().post(f"/api/v1/keys{path}", json=body)
    return answer.status_code, answer.json()
