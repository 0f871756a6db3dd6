"""What a model is trained on: dataset items as the release would say them, in OpenAI's chat form. Pure.

Policies bind here as they do on a call: a model must not be shown, nor its provider sent, what calls would
not have. Text of the release itself is not screened, as it is not on a call.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from airboss.domain.errors import InvalidRequest, WrongCall
from airboss.domain.release import Policy, Release
from airboss.evaluations.datasets import Item
from airboss.governance.policies import asks_names, binding, custom_of
from airboss.governance.screening import ScreeningPolicy, screening_policy
from airboss.governance.screening_chat import screen_request
from airboss.governance.tokens import Tokens
from airboss.releases.render import leading_messages
from airboss.tuning.candidates import expected_text

TOOLS: Final = ("tools", "parallel_tool_calls", "functions")
"""Of an item's parameters: what OpenAI's form has beside `messages`."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """An example as it stands in a file, and the person that it came from, if any."""

    text: str
    user: str | None


class Lines(msgspec.Struct, frozen=True, kw_only=True):
    """Examples of some items. `people` items were left out because they came from people, `unfit` because no
    example can be made of them: no expected answer, no message, a variable that is missing, or a policy that
    blocks them."""

    lines: tuple[Line, ...]
    people: int
    unfit: int


def lines_of(items: Sequence[Item], release: Release, *, policy: Policy | None, people: bool) -> Lines:
    """The items as examples under the release's policy and its deployment's. What came from a person is left
    out unless `people`: it can be erased, and a model that has learnt it cannot forget it. Raises WrongCall
    for a policy that looks for names."""
    actions = binding(release.policy, policy)
    if asks_names(release.policy) or asks_names(policy):
        raise WrongCall(
            "a policy of this deployment looks for names, which examples are not read for; train under "
            "another"
        )
    screen = screening_policy(actions, custom=custom_of(release.policy, policy)) if actions else None
    kept = [item for item in items if people or item.user is None]
    made = [(item.user, _example(item, release, screen)) for item in kept]
    lines = tuple(Line(text=text, user=user) for user, text in made if text is not None)
    return Lines(lines=lines, people=len(items) - len(kept), unfit=len(kept) - len(lines))


def _example(item: Item, release: Release, screen: ScreeningPolicy | None) -> str | None:
    """An item as a line, or None where it makes none."""
    answer = expected_text(item)
    if not answer.strip() or not (item.input.messages or item.input.variables):
        return None
    asked = list(item.input.messages) or [{"role": "user", "content": ""}]
    said: dict[str, Any] = {
        "messages": [*asked, {"role": "assistant", "content": answer}],
        "prompt_variables": item.input.variables,
        **{name: item.input.params[name] for name in TOOLS if name in item.input.params},
    }
    if screen is not None:
        body = msgspec.json.encode(said)
        tokenizes = "tokenize" in screen.actions.values()
        tokens = Tokens(secrets.token_bytes(16), body, screen.labels) if tokenizes else None
        screened = screen_request(screen, body, tokens)
        if screened.blocked:
            return None
        said = msgspec.json.decode(screened.body)
    try:
        leading = leading_messages(release, said.pop("prompt_variables"))
    except InvalidRequest:
        return None
    said["messages"] = [*leading, *said["messages"]]
    return msgspec.json.encode(said).decode()
