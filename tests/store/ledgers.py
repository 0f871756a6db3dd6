"""Plans, keys and replicas to keep, and the ledgers that one contract holds for."""

from __future__ import annotations

import functools
import shutil
import tempfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from airboss.domain.plan import DeploymentPlan, Price, ServingPlan, Target
from airboss.domain.ports import ApiKey, Replica
from airboss.domain.release import ModelVersion, Release
from airboss.releases.build import sealed
from airboss.store.ledger import SqlLedger
from tests.support import postgres

NOW = datetime(2026, 11, 1, 12, 30, 15, 123456, tzinfo=UTC)
KINDS = ("sqlite", "postgresql")
"""Each kind of database that a ledger can be in."""


def empty_url(kind: str, folder: Path) -> str:
    """The URL of an empty database of this kind; the same folder is the same database."""
    assert kind in KINDS
    if kind == "postgresql":
        return postgres.database(folder)
    return f"sqlite:///{folder / 'ledger.db'}"


def url(kind: str, folder: Path) -> str:
    """As `empty_url`, with a ledger's tables: copied in a third of the time in a file, in two on a server."""
    if kind == "postgresql":
        return postgres.copied(folder, _made(kind))
    file = folder / "ledger.db"
    if not file.exists():
        shutil.copy(_made(kind).removeprefix("sqlite:///"), file)
    return empty_url(kind, folder)


@functools.cache
def _made(kind: str) -> str:
    """A database with every table and no row, which is left alone."""
    found = empty_url(kind, Path(tempfile.mkdtemp(prefix="ab-made-")))
    SqlLedger(found).close()
    return found


def deployment(name: str, model: str = "m") -> DeploymentPlan:
    """A deployment with everything set that can be."""
    version = ModelVersion(provider="p", kind="openai", model=model)
    return DeploymentPlan(
        name=name,
        aliases=("gpt-4o",),
        stable=sealed(Release(digest="", name=name, model=version, params={"temperature": 0.2, "seed": 1})),
        target=Target(
            provider="p",
            kind="openai",
            base_urls=("https://h/v1",),
            upstream_model=model,
            api_key_ref="env:K",
            price=Price(input_usd_per_mtok=Decimal("0.15"), output_usd_per_mtok=Decimal("0.6")),
        ),
    )


def plan(*deployments: DeploymentPlan) -> ServingPlan:
    """A plan that has no number yet."""
    return ServingPlan(number=0, created_at=NOW, deployments=deployments or (deployment("d"),))


def key(name: str, digest: str = "ab" * 32, deployments: tuple[str, ...] | None = None) -> ApiKey:
    """A key as it is kept."""
    return ApiKey(name=name, sha256=digest, created_at=NOW, deployments=deployments)


def replica(id: str, **given: object) -> Replica:
    """A replica's row."""
    fields: dict[str, object] = {
        "model": id,
        "url": "http://127.0.0.1:9/v1",
        "state": "stopped",
        "restarts": 0,
        "since": NOW,
    }
    return Replica(id=id, **{**fields, **given})  # type: ignore[arg-type]  # any field may be given
