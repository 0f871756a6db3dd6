"""What one call holds of limits and budgets, from its entry until its record settles it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from airboss.domain.errors import ApiError, PermissionDenied
from airboss.domain.plan import Target
from airboss.domain.record import ClosedCall
from airboss.domain.request import InferenceRequest
from airboss.gateway import wire
from airboss.gateway.estimate import Estimate, estimate
from airboss.gateway.serving import Branch
from airboss.gateway.spending import Purse
from airboss.gateway.stock import Scope, Stock, What, limit_headers, too_long
from airboss.gateway.waiting import Refusal
from airboss.governance.counting import Change, Denied, units
from airboss.governance.windows import WINDOW_S
from airboss.providers.pricing import Buckets, cost_usd

if TYPE_CHECKING:
    from airboss.gateway.limits import Limiter

Bound = tuple[Stock, ...]
"""The stocks that bind a call."""


class Held:
    """What one call holds, until it is settled or released; either happens once, and the first one counts."""

    __slots__ = ("_limiter", "_purses", "_refused", "_settled", "bound", "request", "taken")

    def __init__(
        self, limiter: Limiter, request: InferenceRequest, bound: Bound, purses: tuple[Scope, ...] = ()
    ) -> None:
        self._limiter = limiter
        self.bound = bound
        self._purses = purses
        """Whose money it is beside the key's: its user's, and that of values of its tags."""
        self._settled = False
        self._refused = False
        self.request = request
        self.taken: list[tuple[Stock, int, int]] = []
        """Each with how much of it, and the slot that stands in."""

    async def reserve(self, body: wire.Body, branch: Branch) -> ApiError | None:
        """Reserve the tokens and the money that the call may use; returns why that cannot be. Raises
        Unavailable."""
        limiter, request = self._limiter, self.request
        tokens = [stock for stock in self.bound if stock.what == "tokens"]
        purses = [*limiter.money(request.principal.key, request.started_at)]
        found = [limiter.purse(each, request.started_at) for each in self._purses]
        own = [each for each in found if each is not None]
        purses += [each.stock for each in own]
        of_candidate = limiter.of_candidate(request.deployment) if branch.arm in {"canary", "preview"} else ()
        if not tokens and not purses and not of_candidate:
            return None
        guess = estimate(body, len(request.body), branch.release, branch.target)
        for stock in tokens:
            if guess.input > stock.limit:
                limiter.refusals[stock.scope.metered, stock.what] += 1
                self._refused = True
                return too_long(stock, guess.input)
        wanted = [(stock, guess.tokens(stock.limit)) for stock in tokens]
        wanted += [(stock, 1) for stock in of_candidate]
        if purses:
            unknown = isinstance(body, wire.RelayedBody) and not body.free
            usd = None if unknown else price(guess, branch.target)
            if usd is None:
                return price_unknown(purses[0], branch.target)
            wanted += [(stock, units(usd)) for stock in purses]
        refused = await limiter.take(wanted, self)
        for purse in own:
            refused = refused or await self._unknown_before(purse)
        self._refused = refused is not None
        return limiter.error_of(refused) if refused is not None else None

    async def _unknown_before(self, purse: Purse) -> Refusal | None:
        """Of a user, or a tag's value, of whom nothing is known where money is counted, records are asked;
        returns why the call cannot be after all."""
        stock = purse.stock
        if purse.read is not None or stock.beyond + stock.left + stock.in_use != stock.limit:
            return None
        spent = await self._limiter.users_spent.learn(purse)
        if spent < stock.limit:
            return None
        return Refusal(stock, self._limiter.refused(stock, Denied(0, None, 0, spent), self.request))

    def settle(self, closed: ClosedCall) -> None:
        """The call has ended, and this is its record."""
        cost = units(closed.cost_usd) if closed.cost_usd is not None else 0
        self._end((closed.input_tokens or 0) + (closed.output_tokens or 0), cost)

    def release(self) -> None:
        """The call went nowhere; that it was made still counts."""
        self._end(0, 0)

    def withdraw(self) -> None:
        """The call was not let in after all, so that it was made does not count either."""
        for stock, amount, slot in self.taken:
            if stock.what == "requests":
                stock.beyond += amount
                self._limiter._tell(Change(stock.counter, back=amount, slot=slot))
        self.release()

    def _end(self, tokens: int, cost: int) -> None:
        if self._settled:
            return
        self._settled = True
        limiter, soon = self._limiter, False
        freed: list[str] = []
        for stock, amount, slot in self.taken:
            if stock.what == "concurrency":
                change = stock.freed(amount)
                freed.append(stock.counter)
            elif stock.what == "tokens":
                change = stock.used(amount, tokens, slot)
            elif stock.what == "usd":
                change = stock.paid(amount, cost)
            else:
                continue
            # Where a lease is less than a call, others may wait for just this.
            soon |= limiter._tell(change) and stock.lease < amount
        limiter.flush(now=soon)
        limiter.wake(freed)

    @property
    def headers(self) -> bytes:
        """The lines of an answer about the limits of a minute: of each kind the one with the least left. A
        refusal has its own."""
        if self._refused:
            return b""
        least: dict[What, tuple[int, Stock]] = {}
        for stock in self.bound:
            if stock.kind == "minute":
                left = stock.remaining
                if stock.what not in least or left < least[stock.what][0]:
                    least[stock.what] = (left, stock)
        return b"".join([limit_headers(stock, left, WINDOW_S) for left, stock in least.values()])


def price(guess: Estimate, target: Target) -> Decimal | None:
    """What a call may cost in USD; None if the price is not known."""
    return cost_usd(target, Buckets(uncached=guess.input, output=guess.output))


def price_unknown(money: Stock, target: Target) -> PermissionDenied:
    """The refusal of a call that nobody knows the cost of."""
    return PermissionDenied(
        f"{money.scope.said} has a budget in USD, and nobody knows what {target.upstream_model!r} of "
        f"provider {target.provider!r} costs: give the model a price under [models], or call another",
        code="price_unknown",
    )
