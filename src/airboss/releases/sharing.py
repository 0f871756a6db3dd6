"""Which of the models of a release share its calls; the rest are asked where all of them fail. Pure."""

from __future__ import annotations

from airboss.domain.plan import Target
from airboss.domain.release import Release


def sharing(target: Target) -> tuple[Target, ...]:
    """The models that share a target's calls, itself first; itself alone where it has no shares."""
    return (target, *target.fallbacks[: beside(target)])


def has_price(target: Target) -> bool:
    """Whether it is known what a call costs there, whoever gets it."""
    return all(each.price is not None for each in sharing(target))


def beside(of: Release | Target) -> int:
    """How many share calls with the first."""
    return max(0, len(of.shares) - 1)


def said_of(release: Release) -> tuple[str, str]:
    """What to call a release's model, and its provider: of several that share its calls all, the models with
    their parts of the calls, and those that are called alike as `PROVIDER/MODEL`."""
    if not release.shares:
        return release.model.model, release.model.provider
    models = [release.model, *release.fallbacks[: beside(release)]]
    called = [each.model for each in models]
    told = [
        f"{each.provider}/{each.model}" if called.count(each.model) > 1 else each.model for each in models
    ]
    parts = [f"{name} ({100 * part:.3g} %)" for name, part in zip(told, release.shares, strict=True)]
    return ", ".join(parts), ", ".join(dict.fromkeys(each.provider for each in models))
