"""What more tokens buy: the candidates that no other one beats in both score and tokens. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from airboss.tuning.board import Standing


def frontier(standings: Sequence[Standing]) -> tuple[Standing, ...]:
    """Those of which no other scores as high with fewer tokens, or higher with as few; the cheapest first.

    Their scores should rest on the same items. Of several alike the first is taken; one whose tokens nobody
    told is left out.
    """
    best: list[Standing] = []
    known = [(each.tokens_per_call, each) for each in standings if each.tokens_per_call is not None]
    for _, each in sorted(known, key=lambda one: (one[0], -one[1].score)):
        if not best or each.score > best[-1].score:
            best.append(each)
    return tuple(best)
