"""One route of the admin API: how it is described, and how it is run. Each room has a table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import msgspec

from airboss.config.types import Role
from airboss.console.callers import NOBODY, Caller, too_low
from airboss.console.desk import Desk
from airboss.console.export import Download
from airboss.console.query import Period, check_names, read_period
from airboss.console.wire import encode
from airboss.domain.errors import InvalidRequest, WrongCall

BODY_MAX = 2 * 1024 * 1024
"""Of a request, unless its route takes more."""

B = TypeVar("B")


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request, read: its query, the parts of its path, its body. `actor` is who asks, for the audit log;
    `caller` is as what they were let in; where somebody else has approved what `actor` asks, they are the
    `caller`, and it is `approved`."""

    params: dict[str, str]
    path: dict[str, str]
    body: bytes
    now: datetime
    actor: str = "admin key"
    caller: Caller = NOBODY
    approved: bool = False

    def period(self) -> Period:
        """The period asked for; the last 24 hours unless told otherwise."""
        return read_period(self.params, now=self.now, local=UTC, default="24h")

    def need(self, desk: Desk, needed: Role, what: str) -> None:
        """Refuse who has a lower role, and name who may. `what` begins the sentence that says so. Raises
        PermissionDenied."""
        if not self.caller.may(needed):
            raise too_low(self.caller, needed, what, may=desk.callers.who_may(needed))

    def intent(self, kind: type[B]) -> B:
        """The body as a `kind`. Raises InvalidRequest saying what is wrong with it."""
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidRequest(f"the body is wrong: {error}", code="invalid_body") from None


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table. `role` is the least that may ask, an admin unless somebody has decided otherwise;
    what only some answers need, `handle` asks for itself (`Call.need`). `params` are query parameters by
    name, with their description. `handle` runs in a thread; it returns a value of type `answer`, its own
    return type unless given, or that value as JSON. A `body` of `bytes` is taken as it is; `body_max` bounds
    it, in bytes. `prompt`: it is done in a moment whatever hangs, and waits for no other."""

    method: Literal["GET", "POST"]
    path: str
    summary: str
    handle: Callable[[Desk, Call], object]
    answer: Any = None
    role: Role = "admin"
    params: Mapping[str, str] = {}
    body: Any = None
    body_max: int = BODY_MAX
    prompt: bool = False


def answer(route: Route, desk: Desk, call: Call) -> bytes | Download:
    """Run a route and return its answer: as JSON, or a file. Raises ApiError, StoreUnavailable."""
    check_names(call.params, route.params)
    try:
        value = route.handle(desk, call)
    except WrongCall as error:
        raise InvalidRequest(str(error), code="wrong_call") from error
    return value if isinstance(value, bytes | Download) else encode(value)
