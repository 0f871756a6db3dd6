"""What policies ask for, alone and together. Light: what finds values is not loaded here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, get_args

from airboss.domain.release import PiiAction, PiiKind, Policy

DETECTORS_VERSION: Final = "2"
"""Goes up with every change of what is found, for what is found shapes answers."""

KINDS: Final[tuple[PiiKind, ...]] = get_args(PiiKind)
"""All kinds, in the order in which policies list them."""

ACTIONS: Final[tuple[PiiAction, ...]] = ("observe", "tokenize", "mask", "block")
"""From the mildest to the strictest: a token can be given back, a mask cannot."""


def policy_of(action: PiiAction, kinds: tuple[str, ...] | None) -> Policy:
    """The policy that a configuration says; no kinds are all. Unknown kinds, which the configuration's own
    check refuses, are left out."""
    wanted = KINDS if kinds is None else kinds
    return Policy(pii=tuple((kind, action) for kind in KINDS if kind in wanted), detectors=DETECTORS_VERSION)


def binding(*policies: Policy | None) -> Mapping[PiiKind, PiiAction]:
    """What is done under several policies: about each kind the strictest that any of them asks for."""
    actions: dict[PiiKind, PiiAction] = {}
    for policy in policies:
        for kind, action in policy.pii if policy is not None else ():
            known = actions.get(kind)
            if known is None or ACTIONS.index(known) < ACTIONS.index(action):
                actions[kind] = action
    return {kind: actions[kind] for kind in KINDS if kind in actions}
