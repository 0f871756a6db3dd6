"""What hosted models cost, in the admin API: the table in force, and a newer one put in its place."""

from __future__ import annotations

import hashlib

import msgspec

from airboss.config.prices import PriceTable, shipped
from airboss.console.desk import Desk
from airboss.console.route import Call, Route
from airboss.domain.errors import ConfigError, InvalidRequest, WrongCall
from airboss.domain.plan import Price
from airboss.domain.release import ProviderKind


class PriceShown(msgspec.Struct, frozen=True, kw_only=True):
    """One model of the table: its kind of provider, its exact name upstream, what it costs, and by which
    page, read on which day."""

    kind: ProviderKind
    model: str
    price: Price
    source: str
    read: str


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """The table in force. `shipped`: it is the one that came with Airboss."""

    version: str
    shipped: bool
    prices: tuple[PriceShown, ...]


class NewPrices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table, as TOML. `source` names it in messages."""

    prices: str
    source: str = "the request's prices"


class PricesKept(msgspec.Struct, frozen=True, kw_only=True):
    """What a new table gave: its version, the one before, and the plan that has its prices."""

    version: str
    before: str
    models: int
    plan: int


def list_prices(desk: Desk, _call: Call) -> Prices:
    """GET /api/v1/prices."""
    table = desk.prices.in_force()
    return Prices(
        version=table.version,
        shipped=table.version == shipped().version,
        prices=tuple(
            PriceShown(
                kind=kind,  # type: ignore[arg-type]  # the table was checked
                model=model,
                price=Price(**{name: getattr(each, name) for name in Price.__struct_fields__}),
                source=each.source,
                read=each.read,
            )
            for kind, models in table.prices.items()
            for model, each in models.items()
        ),
    )


def update_prices(desk: Desk, call: Call) -> PricesKept:
    """POST /api/v1/prices."""
    asked = call.intent(NewPrices)
    config = desk.ledger.config()
    if config is None:
        raise WrongCall("no configuration has been applied yet; `airboss up` applies one")
    before = desk.prices.in_force()
    try:
        table = desk.prices.keep(asked.prices, asked.source)
    except ConfigError as error:
        raise InvalidRequest(str(error), code="invalid_prices", param="prices") from None
    with desk.rollouts.together():
        plan = desk.apply(config, "the configuration in force")
        detail = {"before": before.version, "sha256": hashlib.sha256(asked.prices.encode()).hexdigest()}
        desk.note(call, "prices.update", f"prices {table.version}", {**detail, "plan": plan.number})
    return PricesKept(version=table.version, before=before.version, models=counted(table), plan=plan.number)


def counted(table: PriceTable) -> int:
    """How many models it has."""
    return sum(len(models) for models in table.prices.values())


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/prices",
        summary="What hosted models cost that the configuration gives no price",
        handle=list_prices,
        role="viewer",
    ),
    Route(
        method="POST",
        path="/api/v1/prices",
        summary="Put a newer table of prices in force; the calls from then on cost that",
        handle=update_prices,
        role="admin",
        body=NewPrices,
    ),
)
