"""Policies as tests want them."""

from __future__ import annotations

from airboss.governance.candidates import Kind
from airboss.governance.policies import KINDS
from airboss.governance.screening import Action, ScreeningPolicy, screening_policy


def one_action(action: Action = "mask", kinds: tuple[Kind, ...] | frozenset[Kind] = KINDS) -> ScreeningPolicy:
    """The policy that does the same about all kinds."""
    return screening_policy(dict.fromkeys(kinds, action))
