"""What a model is trained on: what the release would say, under its policies, without people."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from airboss.domain.errors import WrongCall
from airboss.domain.release import Example, Policy
from airboss.evaluations.datasets import Input, Item
from airboss.releases.build import sealed
from airboss.tuning.examples import lines_of
from airboss.tuning.finetune_plan import check_examples
from tests.tuning.support import BASE


def item(text: str, expected: Any = "yes", **more: Any) -> Item:
    """One question."""
    given = more.pop("input", None) or Input(messages=({"role": "user", "content": text},))
    return Item(id=text[:50], input=given, expected=expected, **more)


def said(*items: Item, release: Any = BASE, policy: Policy | None = None, people: bool = False) -> Any:
    """The lines, read."""
    return [json.loads(line.text) for line in lines_of(items, release, policy=policy, people=people).lines]


def test_an_example_is_what_the_release_says() -> None:
    """The prompt with its variables, the examples, the messages of the item, and the expected answer last;
    tools stand beside them, other parameters do not."""
    release = sealed(msgspec.structs.replace(BASE, prompt="Be {{ tone }}.", examples=(Example("a?", "b"),)))
    asked = Input(
        messages=({"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}),
        variables={"tone": "kind"},
        params={"tools": [{"type": "function"}], "temperature": 1},
    )
    (line,) = said(item("x", {"answer": 3}, input=asked), release=release)
    assert line == {
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "a?"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
            {"role": "assistant", "content": '{"answer":3}'},
        ],
        "tools": [{"type": "function"}],
    }


@pytest.mark.parametrize("whose", ["release", "deployment"])
def test_policies_bind_as_on_calls(whose: str) -> None:
    """What is masked on calls is masked here, in question and answer; a blocked item is none; the release's
    own text is not looked at."""
    mask = Policy(pii=(("email", "mask"), ("card", "block")), detectors="1")
    release = sealed(
        msgspec.structs.replace(
            BASE, prompt="Write to help@example.com.", policy=mask if whose == "release" else None
        )
    )
    policy = mask if whose == "deployment" else None
    items = (
        item("I am jane@example.com", "Hello jane@example.com"),
        item("my card is 4111 1111 1111 1111"),
    )
    (line,) = said(*items, release=release, policy=policy)
    assert [each["content"] for each in line["messages"]] == [
        "Write to help@example.com.",
        "I am [EMAIL]",
        "Hello [EMAIL]",
    ]
    tokens = Policy(pii=(("email", "tokenize"),), detectors="1")
    (line,) = said(items[0], policy=tokens)
    assert [each["content"] for each in line["messages"][1:]] == ["I am <EMAIL_1>", "Hello <EMAIL_1>"]


def test_a_policy_that_looks_for_names_trains_nothing() -> None:
    """Examples are not read for names, and so not made."""
    names = Policy(pii=(("email", "mask"), ("person", "observe")), detectors="1")
    with pytest.raises(WrongCall, match="looks for names"):
        said(item("I am Jane Doe"), policy=names)


def test_what_makes_no_example_is_counted() -> None:
    """People's items unless they are wanted; those without question, answer or variable."""
    release = sealed(msgspec.structs.replace(BASE, prompt="Be {{ tone }}."))
    kind = Input(messages=({"role": "user", "content": "q"},), variables={"tone": "kind"})
    items = (
        item("good", input=kind),
        item("ann's", input=kind, user="ann"),
        item("no variable"),
        item("no answer", None, input=kind),
        item("empty", "  ", input=kind),
    )
    found = lines_of(items, release, policy=None, people=False)
    assert (len(found.lines), found.people, found.unfit) == (1, 1, 3)
    found = lines_of(items, release, policy=None, people=True)
    assert [line.user for line in found.lines] == [None, "ann"]
    with pytest.raises(WrongCall, match=r"2 items to learn from .* needs 10; of 3 no example can be made"):
        check_examples("some", found, ())
