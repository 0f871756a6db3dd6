"""A release with another prompt: what tuning tries by the hundred, none of which the configuration knows.

Our own calls may carry one beside the digest of the release that it varies. The gateway then renders it as it
renders any release, so that what is tried is what would be served. Pure.
"""

from __future__ import annotations

import msgspec

from airboss.domain.release import Example, PromptForm, Release
from airboss.releases.build import sealed


class Variant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What takes the place of a release's prompt, examples and form; all else stays."""

    prompt: str | None = None
    examples: tuple[Example, ...] = ()
    form: PromptForm = "turns"


def varied(release: Release, variant: Variant) -> Release:
    """The release that a variant makes of another. Two that answer alike have one digest."""
    return sealed(
        msgspec.structs.replace(release, prompt=variant.prompt, examples=variant.examples, form=variant.form)
    )
