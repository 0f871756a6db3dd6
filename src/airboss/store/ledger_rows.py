"""A plan and a key as rows of the ledger: JSON, which does not mislead a gateway of an earlier version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from airboss.domain.plan import Canary, Preview, ServingPlan
from airboss.domain.ports import ApiKey

SCHEMA = "0009"
"""The newest migration in `migrations/versions`. Kept here so that a ledger that is up to date is opened
without loading Alembic, and its plan read without SQLAlchemy."""
NOBODYS: Final = "0" * 64
"""A digest that no secret is known to have."""
UNSENT: Final = (
    "this gateway is of an earlier version, which does not send the headers that its provider's configuration"
    " names: start it again with the newer one"
)
"""What a gateway of an earlier version says of a target with headers, which it would leave out."""


class _Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What a deployment shows of a candidate."""

    canary: Canary | None = None
    preview: Preview | None = None


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What of a plan's row a gateway of an earlier version does not look at, by deployment."""

    apart: dict[str, _Shown] = {}


def read_plan(text: str) -> ServingPlan:
    """The plan of a row. Raises msgspec.DecodeError of what `plan_text` has not written."""
    text = _meant(text)
    plan = msgspec.json.decode(text, type=ServingPlan)
    if not any(each.always or each.never for each in plan.deployments):
        return plan
    apart = msgspec.json.decode(text, type=_Kept).apart
    deployments = (
        msgspec.structs.replace(each, **msgspec.structs.asdict(apart[each.name]))
        if each.name in apart
        else each
        for each in plan.deployments
    )
    return msgspec.structs.replace(plan, deployments=tuple(deployments))


def plan_text(plan: ServingPlan) -> str:
    """A plan as it is kept. Where a rollout names whom it gives the canary, or never, canary and preview are
    apart: a gateway of an earlier version, which would draw for them too, gives everybody stable then."""
    apart = {
        each.name: _Shown(canary=each.canary, preview=each.preview)
        for each in plan.deployments
        if (each.always or each.never) and (each.canary or each.preview)
    }
    if not apart:
        return _seen(row_text(plan))
    seen = tuple(
        msgspec.structs.replace(each, canary=None, preview=None) if each.name in apart else each
        for each in plan.deployments
    )
    plain = msgspec.to_builtins(msgspec.structs.replace(plan, deployments=seen))
    return _seen(msgspec.json.encode({**plain, "apart": apart}).decode())


def _seen(row: str) -> str:
    """A plan's or a key's row, said so that a gateway of an earlier version, which knows neither headers nor
    weeks, leaves neither out: it asks nothing of a target that is down, and takes no call without money."""
    return _each(row, _less) if any(each in row for each in ('"headers":[["', '"per":"week"')) else row


def _meant(row: str) -> str:
    """What was said by `_seen`, and as it is what was not."""
    return _each(row, _more) if UNSENT in row or '"usd_a_week":' in row else row


def _less(row: dict[str, Any]) -> None:
    if row.get("headers") and "base_urls" in row and row["down"] is None:
        row["down"] = UNSENT
    elif row.get("per") == "week" and "usd" in row:
        row |= {"usd": "0", "per": "month", "usd_a_week": row["usd"]}


def _more(row: dict[str, Any]) -> None:
    if row.get("headers") and row.get("down") == UNSENT:
        row["down"] = None
    elif "usd_a_week" in row:
        row |= {"usd": row.pop("usd_a_week"), "per": "week"}


def _each(text: str, change: Callable[[dict[str, Any]], None]) -> str:
    """JSON whose objects are changed, the inner ones first."""

    def changed(row: Any) -> Any:
        if isinstance(row, list):
            return [changed(each) for each in row]
        if isinstance(row, dict):
            row = {name: changed(each) for name, each in row.items()}
            change(row)
        return row

    return msgspec.json.encode(changed(msgspec.json.decode(text))).decode()


class _Apart(msgspec.Struct, frozen=True, kw_only=True):
    """What of a key's row a gateway of an earlier version does not look at."""

    apart: dict[str, str | None] = {}


def _is_narrowed(key: ApiKey) -> bool:
    return key.sources is not None or bool(key.policies)


def read_key(text: str) -> ApiKey:
    """The key of a row. Raises as `read_plan`."""
    text = _meant(text)
    key = msgspec.json.decode(text, type=ApiKey)
    if not _is_narrowed(key):
        return key
    return msgspec.structs.replace(key, **msgspec.json.decode(text, type=_Apart).apart)


def key_text(key: ApiKey) -> str:
    """A key as it is kept. One that is good from some addresses alone, or under policies of its own, has its
    secrets' digests apart: a gateway of an earlier version, which would take it from anywhere and screen
    nothing, does not know it then."""
    if not _is_narrowed(key):
        return _seen(row_text(key))
    apart = {"sha256": key.sha256, "previous_sha256": key.previous_sha256}
    seen = {**msgspec.to_builtins(key), "sha256": NOBODYS, "previous_sha256": None}
    return _seen(msgspec.json.encode({**seen, "apart": apart}).decode())


def row_text(value: msgspec.Struct) -> str:
    """The JSON of any other row."""
    return msgspec.json.encode(value).decode()
