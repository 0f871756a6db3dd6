"""A release with another prompt or model: what tuning tries, none of which the configuration knows.

Our own calls may carry one beside the digest of the release that it varies. The gateway then renders it as it
renders any release, so that what is tried is what would be served. Pure.
"""

from __future__ import annotations

import msgspec

from airboss.domain.errors import InvalidRequest
from airboss.domain.plan import Target
from airboss.domain.release import Example, ModelVersion, PromptForm, Release
from airboss.releases.build import sealed
from airboss.releases.sharing import beside


class Variant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What takes the place of a release's prompt, examples and form, and with `model` of its model; all else
    stays. `port` is where the engine of a local `model` answers on this machine."""

    prompt: str | None = None
    examples: tuple[Example, ...] = ()
    form: PromptForm = "turns"
    model: ModelVersion | None = None
    port: int | None = None


def varied(release: Release, variant: Variant) -> Release:
    """The release that a variant makes of another. Two that answer alike have one digest."""
    made = msgspec.structs.replace(
        release, prompt=variant.prompt, examples=variant.examples, form=variant.form
    )
    if variant.model is not None:  # it is tried alone, not as one of those that share calls
        others = release.fallbacks[beside(release) :]
        made = msgspec.structs.replace(made, model=variant.model, fallbacks=others, shares=())
    return sealed(made)


def reached(target: Target, variant: Variant) -> Target:
    """Where a variant is reached, given where the release is that it is one of: at the same provider, under
    its own name and at no price that is known; or, of a local model, at an engine of its own.

    Raises InvalidRequest for a model of another provider, and for a local one without an engine here: keys
    go nowhere else.
    """
    model = variant.model
    if model is None:
        return target
    target = msgspec.structs.replace(target, fallbacks=target.fallbacks[beside(target) :], shares=())
    if (model.provider, model.kind) != (target.provider, target.kind):
        raise InvalidRequest(
            f"a variant's model is at provider {target.provider!r} as its release's, not {model.provider!r}",
            param="release_variant",
        )
    if target.kind != "local":
        return msgspec.structs.replace(target, upstream_model=model.model, price=None, priced_by=None)
    if variant.port is None:
        raise InvalidRequest("a variant of a local model needs its engine here", param="release_variant")
    return msgspec.structs.replace(
        target,
        base_urls=(f"http://127.0.0.1:{variant.port}/v1",),
        key_refs=(),
        weights=(),
        engine=None,
        down=None,
    )
