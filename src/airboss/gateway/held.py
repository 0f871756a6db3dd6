"""What one call holds of limits and budgets, from its entry until its record settles it."""

from __future__ import annotations

from collections.abc import Sequence
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
from airboss.releases.sharing import sharing

if TYPE_CHECKING:
    from airboss.gateway.limits import Limiter

Bound = tuple[Stock, ...]
"""The stocks that bind a call."""
CANDIDATE = frozenset({"canary", "always", "preview"})
"""The arms of callers who get a candidate."""


class Held:
    """What one call holds, until it is settled or released; either happens once, and the first one counts."""

    __slots__ = ("_limiter", "_purses", "_refused", "_settled", "bound", "own", "request", "taken")

    def __init__(
        self,
        limiter: Limiter,
        request: InferenceRequest,
        bound: Bound,
        own: Bound = (),
        purses: tuple[Scope, ...] = (),
    ) -> None:
        """`own`: what binds its user alone."""
        self._limiter = limiter
        self.bound = (*own, *bound) if own else bound
        self.own = own
        self._purses = purses
        """Whose money it is beside the key's: its user's, and that of values of its tags."""
        self._settled = False
        self._refused = False
        self.request = request
        self.taken: list[tuple[Stock, int, int]] = []
        """Each with how much of it, and the slot that stands in."""

    def to_enter(self) -> list[tuple[Stock, int]]:
        """What it takes to be let in."""
        return [(stock, 1) for stock in self.bound if stock.what != "tokens"]

    def take_at_once(self, body: wire.Body, branch: Branch) -> bool:
        """Let the call in and reserve what it may use, if all of that is here; else nothing is taken."""
        limiter = self._limiter
        if limiter.waiting_at(self.bound) is not None:
            return False
        wanted = self._to_reserve(body, branch, own := self._own_purses())
        if not isinstance(wanted, list) or any(self._unknown(purse) for purse in own):
            return False
        wanted += self.to_enter()
        if any(stock.left < need for stock, need in wanted):
            return False
        self.taken += [(stock, need, stock.take(need)) for stock, need in wanted]
        return True

    async def reserve(self, body: wire.Body, branch: Branch) -> ApiError | None:
        """Reserve the tokens and the money that the call may use; returns why that cannot be. Raises
        Unavailable."""
        limiter = self._limiter
        wanted = self._to_reserve(body, branch, own := self._own_purses())
        if isinstance(wanted, ApiError):
            return wanted
        if not wanted:
            return None
        refused = wanted if isinstance(wanted, Refusal) else await limiter.take(wanted, self)
        for purse in own:
            refused = refused or await self._unknown_before(purse)
        self._refused = refused is not None
        return limiter.error_of(refused) if refused is not None else None

    def _own_purses(self) -> list[Purse]:
        found = [self._limiter.purse(each, self.request.started_at) for each in self._purses]
        return [each for each in found if each is not None]

    def _to_reserve(
        self, body: wire.Body, branch: Branch, own: Sequence[Purse]
    ) -> list[tuple[Stock, int]] | Refusal | ApiError:
        """What is to be reserved; or why that can never be."""
        limiter, request = self._limiter, self.request
        tokens = [stock for stock in self.bound if stock.what == "tokens"]
        purses = [*limiter.money(request.principal.key, request.started_at), *(each.stock for each in own)]
        of_candidate = limiter.of_candidate(request.deployment) if branch.arm in CANDIDATE else ()
        if not tokens and not purses and not of_candidate:
            return []
        guess = estimate(body, len(request.body), branch.release, branch.target)
        for stock in tokens:
            if guess.input > stock.limit:
                return Refusal(stock, too_long(stock, guess.input))
        wanted = [(stock, guess.tokens(stock.limit)) for stock in tokens]
        wanted += [(stock, 1) for stock in of_candidate]
        if purses:
            if isinstance(body, wire.RelayedBody) and not body.free:
                return cost_unknown(purses[0], request.operation)
            asked = sharing(branch.entire)
            prices = [price(guess, each) for each in asked]
            if None in prices:
                return price_unknown(purses[0], asked[prices.index(None)])
            usd = max(each for each in prices if each is not None)
            wanted += [(stock, units(usd)) for stock in purses]
        return wanted

    async def _unknown_before(self, purse: Purse) -> Refusal | None:
        """Of a user, or a tag's value, of whom nothing is known where money is counted, records are asked;
        returns why the call cannot be after all."""
        if not self._unknown(purse):
            return None
        stock = purse.stock
        spent = await self._limiter.users_spent.learn(purse)
        if spent < stock.limit:
            return None
        return Refusal(stock, self._limiter.refused(stock, Denied(0, None, 0, spent), self.request))

    @staticmethod
    def _unknown(purse: Purse) -> bool:
        stock = purse.stock
        return purse.read is None and stock.beyond + stock.left + stock.in_use == stock.limit

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
                self._limiter.tell(Change(stock.counter, back=amount, slot=slot))
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
            soon |= limiter.tell(change) and stock.lease < amount
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


def cost_unknown(money: Stock, operation: str) -> PermissionDenied:
    """The refusal of a call whose cost no price tells before it is made."""
    return PermissionDenied(
        f"{money.scope.said} has a budget in USD, and what a call of {operation!r} costs nobody knows before "
        "it is made, whatever the model's price; make it where no budget binds, as with a key without one",
        code="price_unknown",
    )
