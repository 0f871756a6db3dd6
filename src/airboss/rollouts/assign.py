"""Who gets the canary: a hash, so that every gateway says the same without asking anyone.

A unit's place u in [0, 1) is a hash of the rollout's salt and the unit. The unit is on the canary where u <
weight: raising the weight moves units to the canary and none back. Salts differ between rollouts, so the
unlucky of one are no likelier than others in the next. For the statistics the place counts as drawn at
random: keep the salt out of callers' reach, for whoever knows it can choose users that fall on one side.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal

Side = Literal["stable", "canary"]
"""The two arms that share live traffic."""

_SCALE = 2.0**-53


def unit(*, user: str | None, session: str | None, request_id: str) -> str:
    """What is assigned as one: the user, else the session, else the request alone.

    Never the key: an app with a single key would have a canary of 0 or 100%. An empty name is none. A user
    and a session of the same name are different units.
    """
    if user:
        return f"user:{user}"
    if session:
        return f"session:{session}"
    return f"request:{request_id}"


def place(salt: str, unit: str) -> float:
    """Where a unit stands in [0, 1), uniform over units and independent between salts."""
    text = f"{len(salt)}:{salt}{unit}".encode("utf-8", "surrogatepass")
    return (int.from_bytes(blake2b(text, digest_size=8).digest(), "big") >> 11) * _SCALE


def arm(salt: str, unit: str, weight: float) -> Side:
    """The arm of a unit at a weight; 0 sends nobody to the canary and 1 everybody."""
    return "canary" if place(salt, unit) < weight else "stable"


def conditional_weight(before: float, weight: float) -> float:
    """The chance of the canary for a unit that was on stable at `before`, when the step rises to `weight`.

    Such a unit has u >= before, and u is uniform above it: (weight - before) / (1 - before). With before = 0
    that is the weight itself. Raises ValueError unless 0 <= before <= weight <= 1 and before < 1.
    """
    if not 0.0 <= before <= weight <= 1.0 or before == 1.0:
        raise ValueError(f"weight {weight} after {before}: weights rise, between 0 and 1")
    return (weight - before) / (1.0 - before)
