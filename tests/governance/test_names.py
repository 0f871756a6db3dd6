"""Names, which a model finds: a text is cut by what it is and not by how it comes, what was read ahead is all
that a screen asks about, and nothing passes unread."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import signal
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from airboss.domain.errors import Unavailable
from airboss.governance import recogniser
from airboss.governance.names import PIECE_MAX, PIECE_MIN, Cutter, Names, plain, tidied
from airboss.governance.recogniser import Recogniser
from airboss.governance.screening import (
    HELD_MAX,
    Action,
    Screen,
    ScreeningPolicy,
    reading_ahead,
    screen_text,
    screening_policy,
)
from airboss.governance.screening_chat import AnswerScreen, screen_request
from airboss.governance.shadow import Caster
from airboss.governance.tokens import Tokens
from tests.support.names_standin import KNOWN, known
from tests.support.wait import hold_still

WORDS = [
    *KNOWN, "Jane\u200b Doe", "\uff2aane", "Jane\nDoe", "jane.doe@example.com", "4111 1111 1111 1111", "Dr.",
    "J.", "e.g.", "the", "said", "that.", "why?", "\n", "so!\u201d ", "\u3002", "x" * 450, "y" * 90,
    "a,b,c," * 90, "\u0301", "\u200b" * 9, "\ud800", "<PERSON_1>", "[EMAIL]", "日本語" * 150,
    "\U0001f469\u200d\U0001f680", "Łukasz Żak\u2019s",
]  # fmt: skip
"""Names, what is beside them in texts, and what could mislead a cutter."""


def text_of(source: random.Random, most: int = 60) -> str:
    """Some text."""
    return "".join(source.choice(WORDS) + source.choice([" ", " ", " ", "", ", ", ". "]) for _ in range(most))


def cut(source: random.Random, text: str) -> list[str]:
    """The text in pieces."""
    edges = {0, len(text), *(source.randrange(len(text)) for _ in range(source.choice([1, 4, 40, 400])))}
    return [text[start:end] for start, end in pairwise(sorted(edges))]


def policy_of(action: Action, names: Names, *others: Action) -> ScreeningPolicy:
    """A policy that does this about people and places, and something about addresses."""
    return screening_policy({"email": (*others, action)[0], "person": action, "location": action}, names)


def knowing() -> Names:
    """Names as the stand-in finds them."""
    return Names(find=known)


@pytest.mark.parametrize("seed", range(100))
def test_a_text_is_cut_by_what_it_is(seed: int) -> None:
    """The pieces are those of the whole, none is longer or, but for the last, shorter than it may be."""
    source = random.Random(seed)
    text = text_of(source)
    whole = Cutter()
    pieces = [*whole.feed(text), *whole.finish()]
    assert "".join(pieces) == text
    assert all(len(piece) <= PIECE_MAX for piece in pieces)
    assert not any(len(piece) < PIECE_MIN and piece[-1].isalnum() for piece in pieces[:-1])
    parts = Cutter()
    found = [piece for part in cut(source, text) for piece in parts.feed(part)]
    assert [*found, *parts.finish()] == pieces


def test_where_pieces_end() -> None:
    """With a sentence or a line; not behind a title or an initial, nor in a word."""

    def ends(text: str) -> list[str]:
        cutter = Cutter()
        return [*cutter.feed(text), *cutter.finish()]

    long = "a word and " * 8
    assert ends(f"{long}she left. Then") == [f"{long}she left. ", "Then"]
    assert ends(f"{long}she left.”\nThen") == [f"{long}she left.”\n", "Then"]
    assert ends(f"{long}Dr. J. R. Doe") == [f"{long}Dr. J. R. Doe"]
    assert ends(f"{long}v1.2.3 of it") == [f"{long}v1.2.3 of it"]
    assert ends("Hi. Short. Words.") == ["Hi. Short. Words."]
    first, second = ends("word " * 100)
    assert (len(first), first[-5:], second[:5]) == (PIECE_MAX, "word ", "word ")
    assert [len(piece) for piece in ends("x" * 900)] == [PIECE_MAX, PIECE_MAX, 100]


@pytest.mark.parametrize("seed", range(60))
def test_a_plain_text_is_as_long_as_its_shadow(seed: int) -> None:
    """One character for each of the shadow's."""
    text = text_of(random.Random(seed))
    shadow, gaps = Caster().cast(text)
    assert len(plain(text, gaps)) == len(shadow)


def test_names_are_found_behind_what_does_not_show() -> None:
    """As values of other kinds are; and lookalikes are read as what they look like."""
    policy = policy_of("mask", knowing())
    assert screen_text(policy, "x\u200b Ja\u200bne \uff24oe, Ann\u2003Lee, \uff22erlin.").text == (
        "x\u200b [PERSON], [PERSON], [LOCATION]."
    )


@pytest.mark.parametrize(("action", "other"), [
    ("mask", "mask"), ("tokenize", "mask"), ("block", "mask"), ("block", "block"), ("observe", "mask"),
    ("mask", "observe"), ("tokenize", "tokenize"), ("observe", "observe"),
])  # fmt: skip
@pytest.mark.parametrize("seed", range(40))
def test_every_cutting_gives_the_same(seed: int, action: Action, other: Action) -> None:
    """What a stream gives is what the whole gives, and it holds back a bounded part of the text."""
    source = random.Random(seed)
    text = text_of(source)
    policy = policy_of(action, knowing(), other)
    whole = screen_text(policy, text, Tokens(b"key"))
    screen = Screen(policy, Tokens(b"key"))
    out = []
    for piece in cut(source, text):
        out.append(screen.feed(piece))
        assert screen.blocked or screen.held <= 9 * (HELD_MAX + PIECE_MAX) + len(piece)
    assert "".join(out) + screen.finish() == whole.text
    assert (screen.findings, screen.blocked) == (whole.findings, whole.blocked)
    if action == "observe" == other:
        assert whole.text == text


@pytest.mark.parametrize("seed", range(40))
def test_every_name_is_masked(seed: int) -> None:
    """Just the names in the pieces, and nothing else."""
    text = "".join(each for each in text_of(random.Random(seed)) if not Caster().cast(each)[1])
    cutter, expected = Cutter(), ""
    for piece in [*cutter.feed(plain(text, ())), *cutter.finish()]:
        done = 0
        for start, end, kind in known(piece):
            expected += piece[done:start] + ("" if kind == "organization" else f"[{kind.upper()}]")
            done = start if kind == "organization" else end
        expected += piece[done:]
    policy = screening_policy({"person": "mask", "location": "mask"}, knowing())
    assert plain(screen_text(policy, text).text, ()) == expected


def test_placeholders_are_no_names() -> None:
    """What was put in place of a value stays what it is."""
    assert tidied("to <PERSON_1> in [LOCATION]", [(4, 12, "person"), (17, 25, "location")]) == ()
    assert tidied("\u201cJane\u2019s\nDoe,\u201d 12", [(0, 13, "person"), (14, 16, "person")]) == (
        (1, 5, "person"),
        (8, 11, "person"),
    )


def test_two_people_are_two_tokens() -> None:
    """Whatever their letters; one person is one, however written."""
    names = Names(find=lambda _: ((0, 5, "person"), (6, 11, "person")))
    tokens = Tokens(b"key")
    policy = screening_policy({"person": "tokenize"}, names)
    assert screen_text(policy, "Антон Борис", tokens).text == "<PERSON_1> <PERSON_2>"
    assert screen_text(policy, "антон БОРИС", tokens).text == "<PERSON_1> <PERSON_2>"
    tokens.seal()
    assert tokens.restored("<PERSON_2>, <PERSON_1>") == "Борис, Антон"


def test_nothing_passes_unread() -> None:
    """A screen whose names are not known releases nothing of them, and one without any cannot be made."""
    policy = policy_of("mask", Names())
    with pytest.raises(Unavailable, match="looks for names"):
        screen_text(policy, "This is Jane Doe.")
    screen = Screen(policy)
    assert screen.feed("This is Jane Doe") == ""
    with pytest.raises(Unavailable):
        screen.finish()
    with pytest.raises(ValueError, match="need to be known"):
        Screen(screening_policy({"person": "mask"}))
    assert screen_text(policy, "12, 34.").text == "12, 34."  # no words


def test_what_is_called_a_password_is_read_for_names() -> None:
    """That it is taken as assigned to it is for patterns: no name begins there."""
    names = Names(find=lambda piece: ((0, piece.index("Doe") + 3, "person"),) if "Doe" in piece else ())
    policy = screening_policy({"person": "mask", "secret": "mask"}, names)
    raw = b'{"password": "Jane Doe of x8-Kq2!z7", "token": "x8-Kq2!z7"}'
    screened = screen_request(policy, raw)
    assert json.loads(screened.body) == {"password": "[PERSON] of x8-Kq2!z7", "token": "[SECRET]"}


def body_of(source: random.Random) -> dict[str, Any]:
    """A whole answer with text everywhere."""
    function = {"name": "Jane", "arguments": json.dumps({"Jane Doe": text_of(source, 5), "to": "Berlin"})}
    message: dict[str, Any] = {
        "content": text_of(source, 20),
        "reasoning_content": text_of(source, 10),
        "refusal": source.choice([None, "Jane"]),
        "tool_calls": [{"id": "c", "type": "function", "function": function}],
        "new": {"Ann Lee": [text_of(source, 3), "Jane"]},
    }
    return {"id": "i", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": {}}


@pytest.mark.parametrize("action", ["mask", "tokenize", "block", "observe"])
@pytest.mark.parametrize("seed", range(20))
def test_what_is_read_ahead_is_all_that_is_asked(seed: int, action: Action) -> None:
    """Of requests, whole answers and streams: once what one screen lacked is known, another lacks nothing."""
    source = random.Random(seed)
    policy = policy_of(action, Names(), source.choice(["mask", "observe", "block"]))
    ahead = reading_ahead(policy)
    assert ahead.names is not None

    def learn() -> None:
        assert ahead.names is not None
        ahead.names.known.update({piece: known(piece) for piece in ahead.names.missing})

    raw = json.dumps(body_of(source)).encode()
    screen_request(ahead, raw)
    learn()
    tokens = Tokens(b"key", raw)
    screen_request(policy, raw, tokens)
    AnswerScreen(ahead).whole(raw)
    learn()
    AnswerScreen(policy, tokens).whole(raw)
    scout, screen = AnswerScreen(ahead), AnswerScreen(policy, tokens)
    arguments = cut(source, json.dumps({"a": text_of(source, 5), "b": "Jane"}))
    deltas: list[dict[str, Any]] = [{"content": piece} for piece in cut(source, text_of(source))]
    deltas += [{"reasoning_content": piece} for piece in cut(source, text_of(source))]
    deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": each}}]} for each in arguments]
    events: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    events.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    for event in events:
        data = json.dumps({"choices": [event]}).encode()
        scout.event(data)
        learn()
        found = screen.known(data)
        screen.event(data) if found is None else screen.more(data, *found)
        if screen.over:
            return
    scout.end()
    learn()
    screen.end()


class TestRecogniser:
    """The line to a process, which here knows a few names by heart."""

    @pytest.fixture
    def gone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """While it is there, the process is not."""
        path = tmp_path / "gone"
        monkeypatch.setattr(recogniser, "AGAIN_S", 0.05)
        command = (sys.executable, "-m", "tests.support.names_standin", str(path))
        monkeypatch.setattr(recogniser, "COMMAND", command)
        return path

    @staticmethod
    def lacking(*pieces: str) -> Names:
        """Names that lack what is in these."""
        names = Names(ahead=True)
        for piece in pieces:
            names.spans(piece)
        return names

    def test_it_finds_them(self, gone: Path) -> None:
        """All that is missing, in any number; what was found is kept within bounds, the oldest goes first."""
        away = gone.touch

        async def main() -> None:
            one = Recogniser()
            one.start()
            pieces = [f"number{number} Jane Doe \ud800" for number in range(100)]
            names = self.lacking(*pieces)
            await asyncio.gather(one.learn(names), one.learn(self.lacking("in Berlin")))
            assert names.known == {piece: ((len(piece) - 10, len(piece) - 2, "person"),) for piece in pieces}
            assert not names.missing
            away()
            again = self.lacking(*pieces)
            await one.learn(again)
            assert again.known == names.known
            await one.close()

        asyncio.run(main())

    def test_a_long_text_leaves_others_their_turns(self) -> None:
        """What is known of many pieces is looked up bit by bit."""

        async def main() -> None:
            one = Recogniser()
            one._known = {recogniser._key(f"piece {number}"): () for number in range(20_000)}
            asked = asyncio.ensure_future(one.learn(self.lacking(*(f"piece {n}" for n in range(20_000)))))
            turns = 0
            while not asked.done():
                await asyncio.sleep(0)
                turns += 1
            assert turns > 30

        asyncio.run(main())

    def test_what_is_kept_is_bounded(self, gone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Beyond the bound what was not asked for the longest goes first."""
        monkeypatch.setattr(recogniser, "KNOWN_MAX", 3)
        away = gone.touch

        async def main() -> None:
            one = Recogniser()
            one.start()
            for piece in ("one", "two", "three", "one", "four"):
                await one.learn(self.lacking(piece))
            away()
            for piece in ("one", "three", "four"):
                await one.learn(self.lacking(piece))
            with pytest.raises(Unavailable):
                await one.learn(self.lacking("two"))
            await one.close()

        asyncio.run(main())

    def test_it_starts_again(self, gone: Path) -> None:
        """Who asks while it dies is refused, who asks while it is away too, and then all is well."""
        away, back = gone.touch, gone.unlink

        async def main() -> None:
            one = Recogniser()
            one.start()
            await one.learn(self.lacking("first"))
            away()
            for number in range(3):
                with pytest.raises(Unavailable, match=r"has ended|the file is there"):
                    await one.learn(self.lacking(f"away {number}"))
            back()
            never = asyncio.get_running_loop().create_future()
            async with asyncio.timeout(60):
                while True:
                    names = self.lacking("Jane is back")
                    try:
                        await one.learn(names)
                        break
                    except Unavailable:
                        await asyncio.wait({never}, timeout=0.02)
            assert names.known == {"Jane is back": ((0, 4, "person"),)}
            await one.close()

        asyncio.run(main())

    @pytest.mark.usefixtures("gone")
    def test_what_it_did_not_hear_is_no_error_of_the_loops(self) -> None:
        """It dies with much to read: who asked is told so, and nothing is left for the log."""
        logged: list[dict[str, Any]] = []

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))
            one = Recogniser()
            one.start()
            await one.learn(self.lacking("first"))
            assert one._process is not None
            hold_still(one._process.pid)
            asked = [self.lacking(*(f"{n} {each} {'piece ' * 60}" for each in range(16))) for n in range(99)]
            answers = asyncio.gather(*map(one.learn, asked), return_exceptions=True)
            await asyncio.sleep(0)  # they ask, in the next turn
            await asyncio.sleep(0)
            os.kill(one._process.pid, signal.SIGKILL)
            assert all(isinstance(each, Unavailable) for each in await answers)
            await one.close()

        asyncio.run(main())
        gc.collect()
        assert not logged

    def test_who_waits_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """In number and in time."""
        monkeypatch.setattr(recogniser, "WAITING_MAX", 2)
        monkeypatch.setattr(recogniser, "ANSWER_S", 0.3)
        silent = "import sys; sys.stdin.buffer.read()"  # it answers nobody, and ends with its input
        monkeypatch.setattr(recogniser, "COMMAND", (sys.executable, "-c", silent))

        async def main() -> None:
            one = Recogniser()
            one.start()
            asked = [one.learn(self.lacking(f"piece {number}")) for number in range(3)]
            said = [str(each) for each in await asyncio.gather(*asked, return_exceptions=True)]
            assert sum("others wait" in each for each in said) == 1
            assert sum("takes over 0.3 s" in each for each in said) == 2
            await one.close()

        asyncio.run(main())

    def test_a_process_that_is_stuck_is_ended(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """One that was asked and says nothing is replaced."""
        monkeypatch.setattr(recogniser, "STUCK_S", 0.1)
        ready = "import sys; from airboss.governance.names_wire import *"
        stuck = f"{ready}; sys.stdout.buffer.write(framed(Ready())); sys.stdout.flush(); sys.stdin.read()"
        monkeypatch.setattr(recogniser, "COMMAND", (sys.executable, "-c", stuck))

        async def main() -> None:
            one = Recogniser()
            one.start()
            with pytest.raises(Unavailable, match=r"says nothing for 0\.1 s"):
                await one.learn(self.lacking("a piece"))
            await one.close()

        asyncio.run(main())
