"""The people and prompts of a probe of bias: they differ in the attribute, and in nothing else."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from airboss.domain.errors import WrongCall
from airboss.evaluations.bias_people import Attribute, Person, attributes, first_names
from airboss.evaluations.bias_prompts import own_prompts, read_prompts, rendered, suits

ANN = Person(first="Anna", last="Miller", gender="female", note="aged 63")


def prompt(text: str, **given: Any) -> Any:
    """One prompt of a file."""
    (found,), _ = read_prompts(json.dumps({"prompt": text, **given}), source="f")
    return found


def said(text: str, person: Person = ANN, **variant: str) -> str:
    """What a prompt says about a person."""
    asked = rendered(prompt(text, fills={name: [word] for name, word in variant.items()}), person, variant)
    return str(asked.messages[0]["content"])


@pytest.mark.parametrize("attribute", attributes(), ids=lambda each: each.name)
def test_pairs_differ_in_the_attribute_only(attribute: Attribute) -> None:
    """B shares with a what is not probed, base is of a's group and another person or note, and the people of
    the noise floor stand in no pair."""
    assert len(attribute.triples) >= 20
    for each in attribute.triples:
        assert set(each.b) == set(attribute.groups)
        for b in each.b.values():
            assert b != each.a
            if attribute.name == "origin":
                assert (b.gender, b.note) == (each.a.gender, "")
            elif attribute.name == "gender":
                assert (b.last, {b.gender, each.a.gender}) == (each.a.last, {"female", "male"})
            else:
                assert (b.name, b.gender) == (each.a.name, each.a.gender)
        assert each.base != each.a
        assert each.base.gender == each.a.gender
    if attribute.unit == "triple":
        bases, firsts = ({getattr(each, at).first for each in attribute.triples} for at in ("base", "a"))
        assert not bases & firsts, "a name of the noise floor stands in a pair as well"
        for group in attribute.groups:
            assert len({each.b[group].first for each in attribute.triples}) == len(attribute.triples)


def test_both_genders_stand_for_every_origin() -> None:
    """Half of the triples are women, half men, in one triple all of one gender."""
    (origin,) = attributes(("origin",))
    assert Counter(each.gender for each in origin.triples) == {"female": 10, "male": 10}


def test_groups_are_chosen_by_name() -> None:
    """NAME:GROUP,GROUP keeps those groups; what there is not is said, with the nearest."""
    (origin,) = attributes(("origin:chinese,arabic",))
    assert (origin.groups, origin.calls) == (("chinese", "arabic"), 4)
    for asked, message in (
        (("orgin",), "did you mean 'origin'"),
        (("age:oldest",), "it has older, held against younger"),
        (("age", "age:older"), "given twice"),
    ):
        with pytest.raises(WrongCall, match=message):
            attributes(asked)


def test_the_projects_prompts_suit_what_they_do_not_skip() -> None:
    """Each has an id of its own, a decision or a free answer, and shows every attribute that it is asked
    about; whoever asks for a topic gets that alone."""
    prompts = own_prompts()
    assert len({each.id for each in prompts}) == len(prompts) >= 12
    assert sum(not each.labels for each in prompts) >= 3
    for attribute in attributes():
        asked = [each for each in prompts if suits(each, attribute) is None]
        assert len(prompts) - len(asked) == sum(attribute.name in each.skip for each in prompts)
    assert {each.topic for each in own_prompts(("lending",))} == {"lending"}
    with pytest.raises(WrongCall, match="did you mean 'hiring'"):
        own_prompts(("hirng",))


def test_slots_become_the_person() -> None:
    """What is said of the person stands where they are named first; pronouns follow, fills too."""
    text = "{{person}} asks: {{They}} wants {{ thing }}. Give {{them}} {{their}} due, {{first}} {{person}}?"
    assert said(text, thing="tea") == (
        "Anna Miller (aged 63) asks: She wants tea. Give her her due, Anna Anna Miller?"
    )
    assert said("{{name}} is {{themself}}") == "Anna Miller is herself"


def test_found_names_become_slots() -> None:
    """A prompt that names one known person is asked about others; gendered words bind it to one gender."""
    found = prompt("Emily Walsh left. Walsh said that she was ill. Emily came back.")
    assert found.only == "female"
    assert rendered(found, ANN, {}).messages[0]["content"] == (
        "Anna Miller (aged 63) left. Miller said that she was ill. Anna came back."
    )
    gender, age = attributes(("gender", "age"))
    assert (suits(found, age), suits(found, gender)) == (None, "that tell the gender in other words")
    free = prompt("Should Ahmed get the loan?")
    assert (free.only, suits(free, gender)) == (None, None)
    assert first_names()["Ahmed"] == "male"


def test_all_texts_of_a_prompt_have_slots() -> None:
    """System messages, parts of content and variables of the release's prompt alike."""
    given = {
        "messages": [
            {"role": "system", "content": "You serve {{person}}."},
            {"role": "user", "content": [{"type": "text", "text": "{{person}} asks"}, {"type": "image_url"}]},
        ],
        "variables": {"customer": "{{name}}"},
    }
    asked = rendered(prompt(given), ANN, {})  # type: ignore[arg-type]
    assert asked.messages[0]["content"] == "You serve Anna Miller (aged 63)."
    assert asked.messages[1]["content"] == [
        {"type": "text", "text": "Anna Miller asks"},
        {"type": "image_url"},
    ]
    assert asked.variables == {"customer": "Anna Miller"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"prompt": "{{persn}}, {{person}}"}, r"the slot \{\{persn\}\}.*did you mean 'person'"),
        ({"prompt": "{{person}}", "labels": ["yes"]}, "give two or more that differ"),
        ({"prompt": "{{person}}", "labels": ["Yes", "yes "]}, "give two or more that differ"),
        ({"prompt": "{{person}}", "fills": {"first": ["x"]}}, "no name of a person's slot"),
        ({"prompt": "{{person}} {{a}}", "fills": {"a": []}}, "at least one text"),
        ({"prompt": "{{person}}", "skip": ["height"]}, r"skip names \['height'\]"),
        ({"promt": "{{person}}"}, "unknown field `promt`"),
        ({"prompt": []}, "neither messages nor variables"),
    ],
)
def test_a_wrong_line_is_named(line: Any, message: str) -> None:
    """By its number, with what was wrong."""
    text = json.dumps({"prompt": "{{person}} one"}) + "\n\n" + json.dumps(line)
    with pytest.raises(WrongCall, match=f"p.jsonl, line 3: .*{message}"):
        read_prompts(text, source="p.jsonl")


def test_prompts_without_a_person_are_left_out() -> None:
    """And counted; a file of nothing else is refused, and so is an id given twice."""
    lines = [
        {"prompt": "What is 2 + 2?"},
        {"prompt": "Ahmed met Sarah."},
        {"prompt": "Ahmed Ali, Ahmed Aziz"},
    ]
    text = "\n".join(map(json.dumps, lines))
    causes = {"without a slot or a known name": 1, "with several names": 1, "with several last names": 1}
    found, left_out = read_prompts(text + '\n{"id": 7, "prompt": "Ahmed left."}', source="f")
    assert ([each.id for each in found], left_out) == (["7"], causes)
    with pytest.raises(WrongCall, match="no prompt with a person in it: 1 without a slot"):
        read_prompts(text, source="f")
    with pytest.raises(WrongCall, match="line 2: the id '7' is there already"):
        read_prompts('{"id": 7, "prompt": "{{person}}"}\n' * 2, source="f")
