"""A client and a provider of one dialect that is not chat: its own words go on, with what is ours in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from airboss.domain.plan import Target
from airboss.gateway.serving import Branch
from airboss.gateway.splice import join_members, members, replace_model
from airboss.gateway.spoken import Spoken
from airboss.gateway.wire import Body
from airboss.providers.dialect import Outgoing
from airboss.releases.render import leading_messages

if TYPE_CHECKING:
    from airboss.gateway.screened import CallScreen

_encode = msgspec.json.Encoder().encode


def passed_on(
    spoken: Spoken, body: Body, branch: Branch, screened: CallScreen | None, *, as_chat: bool = False
) -> Outgoing | None:
    """What goes upstream in the client's own words; None where it goes as chat: to another kind of provider,
    as a raw prompt, and under a policy that cannot read it so; and `as_chat`. Raises ApiError
    for what chat cannot say, unless the provider drops such, and for a missing prompt variable."""
    release, target = branch.release, branch.target
    may = not as_chat and release.form != "completion" and (screened is None or screened.lets_pass(spoken))
    passing = None
    if may:
        lead = leading_messages(release, body.prompt_variables or {})
        passing = spoken.speech.passing(spoken.written, target, release, lead)
    else:
        spoken.speech.translated()
    if passing is None:
        _refuse_unsaid(spoken, target)
        return None
    written = spoken.written
    if passing.changes:
        values = members(written)
        for name, value in passing.changes.items():
            if value is None:
                values.pop(name, None)
            else:
                values[name] = value
        written = join_members(values)
    written = replace_model(written, _encode(target.upstream_model))
    return msgspec.structs.replace(passing.outgoing, body=written)


def _refuse_unsaid(spoken: Spoken, target: Target) -> None:
    if spoken.speech.unsaid and not target.drop_unsupported:
        raise spoken.speech.unsaid[0]
