"""Examples become the token ids that the engine sees and should say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.domain.errors import SetupError
from airboss.replicas.gguf import read_metadata
from airboss.training.examples import lessons, read_examples
from airboss.training.order import Lesson, Lessons, Order
from tests.replicas.test_llamacpp import engine
from tests.support.engine import starter_weights

TALK = [
    {"role": "user", "content": "Hi 👋🏽"},
    {"role": "assistant", "content": "  Hello.\n\n<b>You</b>? "},
    {"role": "user", "content": "Count."},
    {"role": "assistant", "content": "1, 2"},
]
END = ord("|")


class Simple:
    """A template that writes `u:…|` and `a:…|`, and cuts up by letters."""

    def render(self, messages: Sequence[dict[str, Any]], tools: Sequence[Any]) -> str:
        """As `examples.Reader`."""
        said = "".join(f"{each['role'][0]}:{each['content']}|" for each in messages)
        return "T" * len(tools) + said + "a:"

    def cut(self, text: str, *, begins: bool) -> list[int]:
        """As `examples.Reader`."""
        return [*map(ord, "^" * begins + text)]


class Merging(Simple):
    """One that makes a colon and a space behind it one token."""

    def cut(self, text: str, *, begins: bool) -> list[int]:
        """As `examples.Reader`."""
        return super().cut(text.replace(": ", "~"), begins=begins)


def shown(lesson: Lesson) -> tuple[str, str]:
    """A lesson's text, and below it what is learnt."""
    return "".join(map(chr, lesson.ids)), "".join(".x"[each] for each in lesson.learn)


def talk(*contents: str) -> dict[str, Any]:
    """An example in which user and assistant take turns."""
    roles = ["user", "assistant"] * len(contents)
    return {
        "messages": [{"role": role, "content": each} for role, each in zip(roles, contents, strict=False)]
    }


def test_the_assistants_turns_are_learnt_with_their_ends() -> None:
    """In one lesson, as each turn only adds to what stands."""
    (lesson,) = lessons(talk("hi", "yes", "so", "no"), Simple(), {END})
    assert shown(lesson) == (
        "^u:hi|a:yes|u:so|a:no|",
        "........xxxx.......xxx",
    )
    assert lesson.learnt == 7


def test_a_turn_may_be_left_out_and_tools_are_shown() -> None:
    """`weight = 0` keeps a turn from being learnt, but not from being read; it goes to no template."""
    example = talk("hi", "yes", "so", "no") | {"tools": [{"type": "function"}]}
    example["messages"][1]["weight"], example["messages"][3]["weight"] = 0, 1
    (lesson,) = lessons(example, Simple(), {END})
    assert shown(lesson) == (
        "^Tu:hi|a:yes|u:so|a:no|",
        "....................xxx",
    )


def test_an_answer_that_runs_into_its_opening_is_cut_up_alone() -> None:
    """The engine has the opening's tokens before it says anything. A history is cut up whole, so that the
    next turn is another lesson."""
    found = lessons(talk("hi", " yes", "so", "no"), Merging(), {END})
    assert [shown(each) for each in found] == [
        ("^u:hi|a: yes|", "........xxxxx"),
        ("^u:hi|a~yes|u:so|a:no|", "...................xxx"),
    ]


def test_a_template_that_does_not_open_turns_is_refused() -> None:
    """An adapter would learn what is never asked."""

    class Closing(Simple):
        def render(self, messages: Sequence[dict[str, Any]], tools: Sequence[Any]) -> str:
            return super().render(messages, tools) + "!"

    with pytest.raises(SetupError, match="take another base model"):
        lessons(talk("hi", "yes"), Closing(), {END})
    with pytest.raises(SetupError, match="take another base model"):
        lessons(talk("hi", "yes"), Simple(), {7})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "expected"),
        ('{"messages": [{"role": "robot", "content": "x"}]}', "'robot'"),
        ('{"prompt": "a", "completion": "b"}', "missing required field `messages`"),
        ('{"messages": [{"role": "user", "content": "x"}]}', "no message is the assistant's"),
        ('{"messages": [{"role": "assistant", "content": "x"}]}', "begins with the assistant"),
        ('{"messages": []}', "no message is the assistant's"),
    ],
)
def test_what_is_no_example_is_told_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    """Blank lines count, and are passed over."""
    file = tmp_path / "t.jsonl"
    file.write_text(json.dumps({"messages": TALK}) + "\n\n" + line + "\n")
    with pytest.raises(SetupError) as caught:
        read_examples(file)
    assert str(caught.value).startswith(f"{file}:3: ")
    assert message in str(caught.value)
    file.write_text("\n")
    with pytest.raises(SetupError, match="has no example"):
        read_examples(file)
    with pytest.raises(SetupError, match="cannot be read: No such file"):
        read_examples(tmp_path / "none.jsonl")


def test_lessons_are_what_the_engine_sees(tmp_path: Path) -> None:
    """What stands before a turn has as many tokens as the engine counts in that very chat, and what is learnt
    reads as the turn, in the engine's own words, and ends where it stops."""
    file = tmp_path / "t.jsonl"
    file.write_text(json.dumps({"messages": TALK}) + "\n")
    order = Order(
        weights=str(starter_weights()),
        training=str(file),
        validation=str(file),
        work=str(tmp_path),
        epochs=1,
        learning_rate=1e-3,
        rank=4,
        alpha=8,
        seed=1,
    )
    part = [
        sys.executable,
        "-m",
        "airboss.compose.train_process",
        "prepare",
        msgspec.json.encode(order).decode(),
    ]
    found = msgspec.json.decode(
        subprocess.run(part, capture_output=True, check=True, timeout=120).stdout, type=Lessons
    )
    assert found.training == found.validation
    ends = read_metadata(starter_weights()).ends
    turns = []
    with engine() as running:
        for lesson in found.training:
            at = 0
            while True in lesson.learn[at:]:
                before = lesson.learn.index(True, at)
                at = lesson.learn.index(False, before) if False in lesson.learn[before:] else len(lesson.ids)
                said = running.client.post("/detokenize", json={"tokens": lesson.ids[before : at - 1]}).json()
                assert lesson.ids[at - 1] in ends
                turns.append((before, said["content"]))
        for (before, said), turn in zip(turns, (1, 3), strict=True):
            assert said == TALK[turn]["content"]
            assert running.chat(messages=TALK[:turn], max_tokens=1)["usage"]["prompt_tokens"] == before
