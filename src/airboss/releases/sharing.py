"""Which of the models of a release share its calls; the rest are asked where all of them fail. Pure."""

from __future__ import annotations

from airboss.domain.plan import Target
from airboss.domain.release import Release


def sharing(target: Target) -> tuple[Target, ...]:
    """The models that share a target's calls, itself first; itself alone where it has no shares."""
    return (target, *target.fallbacks[: beside(target)])


def beside(of: Release | Target) -> int:
    """How many share calls with the first."""
    return max(0, len(of.shares) - 1)
