"""Kinds that policies define themselves: what patterns and words find, and what hides nothing from them."""

from __future__ import annotations

import json
import time
import unicodedata
from typing import Any

import pytest

from airboss.config import parse_config
from airboss.domain.release import CustomKind, Policy
from airboss.governance.findings import Findings
from airboss.governance.policies import binding, custom_of, policy_of, policy_said
from airboss.governance.roles import loosened
from airboss.governance.screening import Screen, ScreeningPolicy, masking, screen_text, screening_policy
from airboss.governance.screening_chat import screen_request
from airboss.governance.screening_json import identifier, restore_json, screen_json
from airboss.governance.tokens import Restorer, Tokens
from airboss.releases.build import build_releases
from airboss.releases.said import as_config

EMPLOYEE = CustomKind(name="employee", action="mask", pattern=r"\bEMP-[0-9]{6}\b")
CODENAME = CustomKind(name="codename", action="mask", words=("Project Falcon", "Falcon", "C++", "O'Neil"))
OTHERS = CustomKind(name="codename", action="mask", words=("Проект Сокол", "青鷺計画", "Größe", "Straße"))
KEY = b"some key"


def under(*policies: Policy | None) -> ScreeningPolicy:
    """What policies come to together."""
    return screening_policy(binding(*policies), custom=custom_of(*policies))


def only(*kinds: CustomKind) -> ScreeningPolicy:
    """These kinds and none that are built in."""
    return under(policy_of("observe", (), kinds))


def masked(text: str, *kinds: CustomKind) -> str:
    """A text with masks."""
    return screen_text(only(*kinds), text).text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I am EMP-123456.", "I am [EMPLOYEE]."),
        ("EMP-1234567, xEMP-123456, emp-123456", "EMP-1234567, xEMP-123456, emp-123456"),
        ("\\nEMP-123456\\n", "\\n[EMPLOYEE]\\n"),
        (
            "\uff25\uff2d\uff30\uff0d\uff11\uff12\uff13\uff14\uff15\uff16 and E\u200bMP-123\u00ad456",
            "[EMPLOYEE] and [EMPLOYEE]",
        ),
        ("EMP\u2011\u0661\u0662\u0663\u0664\u0665\u0666", "[EMPLOYEE]"),
        ("É\u0301MP-123456", "[EMPLOYEE]"),
        ("員EMP-123456番", "員[EMPLOYEE]番"),
    ],
)
def test_a_pattern(text: str, expected: str) -> None:
    """What hides a value of a kind that is built in hides none of these either."""
    assert masked(text, EMPLOYEE) == expected


@pytest.mark.parametrize("between", ["-", ".", "x", " ", "\u00e9", "\u0434", "\u54e1", "\U0001f600"])
def test_a_dot_is_any_character(between: str) -> None:
    """Of a line; one of a text is one, whatever its script."""
    dot = CustomKind(name="employee", action="mask", pattern="EMP.[0-9]{3}")
    assert masked(f"EMP{between}123 EMP\n123", dot) == "[EMPLOYEE] EMP\n123"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("project falcon, PROJECT FALCON", "[CODENAME], [CODENAME]"),
        ("project\n  falcon project-falcon PROJECT_FALCON", "[CODENAME] [CODENAME] [CODENAME]"),
        ("falcons and falconry, FALCON's", "falcons and falconry, [CODENAME]'s"),
        ("the_falcon_plan.xlsx falcon2", "the_[CODENAME]_plan.xlsx falcon2"),
        ("project falconry", "project falconry"),
        ("\\nfalcon and nfalcon", "\\n[CODENAME] and nfalcon"),
        (
            "\uff26\uff41\uff4c\uff43\uff4f\uff4e, fal\u200bcon, f\u0430lcon, fálcón",
            "[CODENAME], [CODENAME], f\u0430lcon, [CODENAME]",
        ),
        ("c++ and C++x", "[CODENAME] and [CODENAME]x"),
        ("O\u2019neil", "[CODENAME]"),
        ("項目falcon計画 \u0444falcon", "項目[CODENAME]計画 \u0444falcon"),
    ],
)
def test_words(text: str, expected: str) -> None:
    """Whole words in any case, with blanks, hyphens and underscores for each other; hidden as above."""
    assert masked(text, CODENAME) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("проект сокол, ПРОЕКТ-СОКОЛ, «Проект\u200b Сокол»", "[CODENAME], [CODENAME], «[CODENAME]»"),
        ("проект соколы, пропект сокол, проект соко\u0301л", "проект соколы, пропект сокол, [CODENAME]"),
        ("весь проект весна", "весь проект весна"),
        ("我們的青鷺計画です 青鷺計劃", "我們的[CODENAME]です 青鷺計劃"),
        ("GRÖSSE größe gro\u0308ße grosse", "GRÖSSE [CODENAME] [CODENAME] grosse"),
        ("die Straße 5, Straßen", "die [CODENAME] 5, Straßen"),
    ],
)
def test_words_of_other_scripts(text: str, expected: str) -> None:
    """Letters that a shadow does not tell apart are told apart all the same."""
    assert masked(text, OTHERS) == expected


def test_letters_that_are_put_together() -> None:
    """A word is found however its letters are encoded, and however they are in the policy."""
    word = "한글 계획"
    for form in ("NFC", "NFD"):
        kind = CustomKind(name="codename", action="mask", words=(unicodedata.normalize(form, word),))
        for said in ("NFC", "NFD"):
            assert masked(f"a {unicodedata.normalize(said, word)}.", kind) == "a [CODENAME]."


def test_tokens_tell_values_apart() -> None:
    """One placeholder for all spellings of a value, another for another, also where a shadow is the same."""
    any_six = CustomKind(name="ref", action="tokenize", pattern="REF-[^ ,]{6}")
    kinds = tuple(CustomKind(name=k.name, action="tokenize", words=k.words) for k in (CODENAME,))
    policy = only(any_six, *kinds, CustomKind(name="plan", action="tokenize", words=OTHERS.words))
    tokens = Tokens(KEY, kinds=policy.labels)
    text = "REF-привет REF-соколы REF-привет, Falcon FALCON project-falcon Project  Falcon, ПРОЕКТ сокол"
    screened = screen_text(policy, text, tokens)
    assert screened.text == (
        "<REF_1> <REF_2> <REF_1>, <CODENAME_1> <CODENAME_1> <CODENAME_2> <CODENAME_2>, <PLAN_1>"
    )
    assert (
        tokens.restored("<REF_2> and <CODENAME_2>, <PLAN_1>") == "REF-соколы and project-falcon, ПРОЕКТ сокол"
    )
    restorer = Restorer(tokens)
    pieces = [restorer.feed(letter) for letter in "a <CODENAME_1> <CODENAME_"] + [restorer.finish()]
    assert "".join(pieces) == "a Falcon <CODENAME_"
    assert Tokens(KEY, b"<CODENAME_7>", ("codename",)).name("codename", b"x") == "<CODENAME_8>"


def test_what_stands_for_a_value_is_none() -> None:
    """A kind may be called as its word is: what an earlier turn has in a value's place stays."""
    falcon = CustomKind(name="falcon", action="mask", words=("falcon",))
    upper = CustomKind(name="code", action="mask", pattern="[A-Z]{4,9}")
    for text in ("[FALCON] <FALCON_1> <FALCON_kbdmoh>", "[CODE] <CODE_12> [EMAIL] <EMAIL_1>"):
        assert masked(text, falcon, upper) == text
    assert masked("[FALCON]s", upper) == "[[CODE]]s"
    assert masked(masked("a Falcon", falcon), falcon) == "a [FALCON]"


def test_the_stricter_action_wins() -> None:
    """Where two policies define a kind, what either finds counts, and the stricter action of both."""
    mild = policy_of("mask", ("email",), (CustomKind(name="code", action="observe", words=("falcon",)),))
    strict = policy_of("observe", None, (CustomKind(name="code", action="block", words=("heron",)),))
    assert binding(mild, strict) == binding(strict, mild) == {
        **dict.fromkeys(["phone", "card", "iban", "us_ssn", "ip", "secret"], "observe"), "email": "mask",
        "code": "block",
    }  # fmt: skip
    for text in ("a falcon", "a heron"):
        screened = screen_text(under(mild, strict), text)
        assert (screened.text, screened.blocked, screened.findings) == ("a ", True, {"code": 1})
    assert screen_text(under(mild), "a falcon").text == "a falcon"


def test_at_one_place_more_is_done() -> None:
    """A value of two kinds is treated as the one about which more is done, whichever is built in."""
    card = "4111111111111111"
    digits = CustomKind(name="number", action="tokenize", pattern="[0-9]{16}")
    for action in ("block", "mask"):
        said = policy_of(action, ("card",), (digits,))
        screened = screen_text(under(said), f"{card}.", Tokens(KEY, kinds=("number",)))
        assert screened.findings == {"card": 1}, action
    assert screen_text(under(policy_of("observe", ("card",), (digits,))), card, Tokens(KEY)).findings == {
        "card": 1, "number": 1
    }  # fmt: skip
    same = CustomKind(name="number", action="mask", pattern="[0-9]{16}")
    assert screen_text(under(policy_of("mask", ("card",), (same,))), card).text == "[NUMBER]"


def test_gaps_are_held_as_long_as_they_may_be() -> None:
    """A phrase with eight blanks between its words, a character at a time."""
    heron = only(CustomKind(name="codename", action="mask", words=("blue heron x",)))
    for text in ("a blue        heron\n\n\n\n\n\n\n\nx b", "a blue         heron x b"):
        screen = Screen(heron)
        assert (
            "".join([screen.feed(letter) for letter in text]) + screen.finish()
            == screen_text(heron, text).text
        )
    assert screen_text(heron, "a blue        heron\n\n\n\n\n\n\n\nx b").text == "a [CODENAME] b"


# -- in JSON


def json_masked(value: Any, *kinds: CustomKind) -> Any:
    """A JSON value, screened as a request is."""
    return json.loads(screen_request(only(*kinds), json.dumps(value).encode()).body)


def test_the_words_of_the_protocol_stay() -> None:
    """A word may be one that requests are made of: what people say is looked at, and the form is left."""
    words = CustomKind(
        name="own",
        action="mask",
        words=("user", "text", "type", "role", "auto", "function", "content", "object", "chat"),
    )
    said = {
        "model": "up",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "user text"}]},
            {"role": "user", "content": "object"},
        ],
        "tool_choice": "auto",
        "response_format": {"type": "text"},
        "metadata": {"note": "user", "user": "x"},
        "stop": ["content"],
    }
    screened = json_masked(said, words)
    assert screened == {
        "model": "up",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "[OWN] [OWN]"}]},
            {"role": "user", "content": "[OWN]"},
        ],
        "tool_choice": "auto",
        "response_format": {"type": "text"},
        "metadata": {"note": "[OWN]", "[OWN]": "x"},
        "stop": ["[OWN]"],
    }
    assert identifier(only(words), b'"chat.completion"') == b'"chat.completion"'
    assert identifier(only(EMPLOYEE), b'"x-EMP-123456"') == b'"x-[EMPLOYEE]"'


def test_settings_hide_nothing() -> None:
    """Anything but a word of the protocol is looked at, wherever it stands."""
    said = {"name": "EMP-123456", "EMP-123456": 1, "x": {"enum": ["EMP-123456"]}, "type": "EMP-123456"}
    assert json_masked(said, EMPLOYEE) == {
        "name": "[EMPLOYEE]", "[EMPLOYEE]": 1, "x": {"enum": ["[EMPLOYEE]"]}, "type": "[EMPLOYEE]"
    }  # fmt: skip
    short = CustomKind(name="own", action="mask", words=("xy",))
    assert json_masked({"messages": [{"content": "xy"}]}, short) == {"messages": [{"content": "[OWN]"}]}


def test_numbers_are_looked_at_in_what_tools_are_given() -> None:
    """A short number there may be somebody's; elsewhere numbers are settings and counts."""
    number = CustomKind(name="employee", action="mask", pattern="[0-9]{6}")
    arguments = json.dumps({"employee": 123456, "share": 0.123456, "n": 12})
    said = {
        "seed": 123456,
        "x": {"y": 123456, "z": 1234567},
        "messages": [
            {"tool_calls": [{"function": {"arguments": arguments}}]},
            {"content": [{"type": "tool_use", "input": {"id": 654321}}]},
        ],
    }
    screened = json_masked(said, number)
    assert (screened["seed"], screened["x"]) == (123456, {"y": 123456, "z": 1234567})
    called = screened["messages"][0]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(called) == {"employee": "[EMPLOYEE]", "share": 0.123456, "n": 12}
    assert screened["messages"][1]["content"][0]["input"] == {"id": "[EMPLOYEE]"}


def test_built_in_kinds_are_found_in_the_protocols_words_all_the_same() -> None:
    """A policy with kinds of its own looks for the others where it did before."""
    policy = under(policy_of("mask", None, (CODENAME,)))
    found = Findings(policy)
    raw = b'{"x": {"type": "10.2.3.4"}, "n": {"card": 4111111111111111}}'
    data = screen_json(policy, raw, where="request", findings=found).data
    assert json.loads(data) == {"x": {"type": "[IP]"}, "n": {"card": "[CARD]"}}


def test_tokens_come_back_into_arguments() -> None:
    """What the client sent itself is in the arguments that it gets."""
    policy = only(CustomKind(name="employee", action="tokenize", pattern=EMPLOYEE.pattern))
    tokens = Tokens(KEY, kinds=policy.labels)
    screen_request(policy, b'{"messages":[{"content":"about EMP-123456"}]}', tokens)
    raw = json.dumps({"function": {"arguments": json.dumps({"of": "<EMPLOYEE_1>"})}}).encode()
    assert json.loads(json.loads(restore_json(tokens, raw))["function"]["arguments"]) == {"of": "EMP-123456"}


def test_masking_masks_what_is_acted_on() -> None:
    """As feedback and errors are: blocked words too, and not what is only counted."""
    policy = only(
        CustomKind(name="codename", action="block", words=("falcon",)),
        CustomKind(name="employee", action="observe", pattern=EMPLOYEE.pattern),
    )
    assert screen_text(masking(policy), "falcon EMP-123456").text == "[CODENAME] EMP-123456"


# -- in releases

CONFIG = """
[providers.p]
kind = "openai-compatible"
base_url = "http://127.0.0.1:9/v1"
[models.m]
provider = "p"
model = "m"
[policies.own]
custom.code = { words = ["falcon", "heron"], action = "mask" }
custom.id = { pattern = 'ID-\\d{4}', action = "mask" }
[releases.r]
model = "m"
policy = "own"
[deployments.d]
release = "r"
"""


def test_a_releases_digest_covers_them() -> None:
    """Another pattern, word, action or name is another release; their order is not."""

    def digest(text: str) -> str:
        return build_releases(parse_config(text, source="test"), engine_version="e").named["r"].digest

    changed = [
        CONFIG.replace("heron", "stork"), CONFIG.replace("d{4}", "d{5}"), CONFIG.replace("code =", "codes ="),
        CONFIG.replace('"heron"], action = "mask"', '"heron"], action = "block"'),
        CONFIG.replace("[policies.own]\n", '[policies.own]\npii = { action = "mask" }\n'),
    ]  # fmt: skip
    assert len({digest(CONFIG), *map(digest, changed)}) == len(changed) + 1
    catalog = build_releases(parse_config(CONFIG, source="test"), engine_version="e")
    assert as_config(catalog, catalog.named["r"]).policy == "own"


def test_a_policy_that_finds_less_is_looser() -> None:
    """Who may not loosen what binds a deployment may not take a word or a pattern out of it."""
    policies = parse_config(CONFIG, source="test").policies
    before = policy_said(policies["own"])
    fewer = parse_config(CONFIG.replace(', "heron"', ""), source="test").policies["own"]
    other = parse_config(CONFIG.replace("d{4}", "d{5}"), source="test").policies["own"]
    more = parse_config(CONFIG.replace('"heron"', '"heron", "stork"'), source="test").policies["own"]
    assert loosened(None, before, policy_said(fewer))
    assert loosened(None, before, policy_said(other))
    assert loosened(None, before, None)
    assert not loosened(None, before, policy_said(more))
    assert not loosened(before, before, None)


def test_as_much_as_may_be_is_still_quick() -> None:
    """Fifty kinds and a thousand words at their bounds: a text takes milliseconds, whatever it is made of."""
    kinds = [
        CustomKind(
            name=f"k{chr(97 + at // 26)}{chr(97 + at % 26)}", action="mask", pattern=f"[ab]{{2,30}}c{at}x"
        )
        for at in range(49)
    ]
    words = tuple(f"w{'abcdefgh'[at % 8]}{at:06d}" for at in range(1000))
    policy = only(*kinds, CustomKind(name="codename", action="mask", words=words))
    text = "abba" * 2000 + " ".join(f"ac{at}y {words[at]}0" for at in range(49))
    screen_text(policy, text)
    began = time.process_time()
    screen_text(policy, text)
    assert time.process_time() - began < 1.0  # a tenth of it where nothing else runs
