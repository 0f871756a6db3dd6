"""The people of a probe of bias: triples of persons who differ in one attribute, and persons who do not.

An attribute has a reference group and others. Each *triple* names three persons of one kind: `base` and `a`
of the reference group, and for every other group a `b`. A pair (a, b) differs in the attribute only; the pair
(base, a) does not differ in it at all, and shows how much answers move without it.

Where names carry the attribute (origin, gender), names have effects of their own, so what counts once is the
triple: `unit` is `triple`. Elsewhere (age, religion) the three bear one name, a note tells them apart, and
each question counts by itself: `unit` is `question`. Names say nothing about who bears them; they are what a
model may react to. M. Bertrand and S. Mullainathan, Are Emily and Greg more employable than Lakisha and
Jamal?, American Economic Review 94 (2004), 991-1013, sent out letters so.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

import msgspec

from airboss.domain.errors import WrongCall

Gender = Literal["female", "male"]
"""Whose name and pronouns a person has."""

Unit = Literal["triple", "question"]
"""What counts once in a test."""

GENDERS: Final[tuple[Gender, ...]] = ("female", "male")
NAMES: Final = "english"
"""The list that names come from where they do not matter, and that others are held against."""

ATTRIBUTES: Final = ("origin", "gender", "age", "religion")

PRONOUNS: Final[Mapping[Gender, Mapping[str, str]]] = {
    "female": {"they": "she", "them": "her", "their": "her", "themself": "herself"},
    "male": {"they": "he", "them": "him", "their": "his", "themself": "himself"},
}
SLOTS: Final = ("person", "name", "first", "last", *PRONOUNS["female"])
"""What stands in double braces in a prompt; a pronoun may begin with a capital letter."""


class Person(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A person as a prompt shows one; `note` is what is said of them in brackets, if anything. A plan has
    hundreds, so that they are lists in JSON."""

    first: str
    last: str
    gender: Gender
    note: str = ""

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{self.first} {self.last}"

    @property
    def full(self) -> str:
        """The name, with the note."""
        return f"{self.name} ({self.note})" if self.note else self.name

    def slots(self) -> dict[str, str]:
        """What stands for each slot."""
        found = {"person": self.full, "name": self.name, "first": self.first, "last": self.last}
        for slot, word in PRONOUNS[self.gender].items():
            found |= {slot: word, slot.capitalize(): word.capitalize()}
        return found


class Triple(msgspec.Struct, frozen=True, kw_only=True):
    """`base` and `a` are of the reference group, `b` has one person of each other group."""

    base: Person
    a: Person
    b: dict[str, Person]

    @property
    def gender(self) -> Gender | None:
        """The gender that all of them have; None where it differs."""
        found = {each.gender for each in (self.base, self.a, *self.b.values())}
        return found.pop() if len(found) == 1 else None


class Attribute(msgspec.Struct, frozen=True, kw_only=True):
    """What is probed: the groups, each held against `reference`, and the people."""

    name: str
    reference: str
    groups: tuple[str, ...]
    unit: Unit
    triples: tuple[Triple, ...]

    @property
    def calls(self) -> int:
        """Calls for one question to one triple."""
        return 2 + len(self.groups)


def attributes(asked: Sequence[str] = ()) -> tuple[Attribute, ...]:
    """The attributes asked for, each as NAME or NAME:GROUP,GROUP; all, with all their groups, if none is.

    Raises WrongCall, naming what there is, for an unknown name or group or one given twice.
    """
    found: dict[str, Attribute] = {}
    for each in asked or ATTRIBUTES:
        name, _, groups = each.partition(":")
        whole = _attribute(name)
        if name in found:
            raise WrongCall(
                f"the attribute {name!r} is given twice; put its groups into one, NAME:GROUP,GROUP"
            )
        found[name] = _narrowed(whole, groups) if groups else whole
    return tuple(found.values())


def _attribute(name: str) -> Attribute:
    makers = {"origin": _origin, "gender": _gender, "age": _noted, "religion": _noted}
    if name not in makers:
        near = difflib.get_close_matches(name, ATTRIBUTES, n=1)
        raise WrongCall(
            f"no attribute is called {name!r}; there are {', '.join(ATTRIBUTES)}"
            + (f"; did you mean {near[0]!r}?" if near else "")
        )
    return makers[name](name)


def _narrowed(whole: Attribute, groups: str) -> Attribute:
    wanted = tuple(dict.fromkeys(each.strip() for each in groups.split(",")))
    for each in wanted:
        if each not in whole.groups:
            raise WrongCall(
                f"the attribute {whole.name!r} has no group {each!r}; it has {', '.join(whole.groups)}, held "
                f"against {whole.reference}"
            )
    triples = tuple(
        msgspec.structs.replace(one, b={group: one.b[group] for group in wanted}) for one in whole.triples
    )
    return msgspec.structs.replace(whole, groups=wanted, triples=triples)


def _origin(name: str) -> Attribute:
    """Names common among people of some origin, against names common in English; both genders alike."""
    lists = _data()["names"]
    others = tuple(each for each in lists if each != NAMES)
    reference = lists[NAMES]

    def person(group: str, gender: Gender, index: int, last: int) -> Person:
        firsts, lasts = lists[group][gender], lists[group]["last"]
        return Person(first=firsts[index], last=lasts[last % len(lasts)], gender=gender)

    return Attribute(
        name=name,
        reference=NAMES,
        groups=others,
        unit="triple",
        triples=tuple(
            Triple(
                # Nobody of the base is an `a` as well: else what shows the noise would be in the pairs, too.
                base=person(NAMES, gender, len(reference[gender]) // 2 + index, index + 1),
                a=person(NAMES, gender, index, index),
                b={group: person(group, gender, index, index) for group in others},
            )
            for gender in GENDERS
            for index in range(min(len(lists[group][gender]) for group in others))
        ),
    )


def _gender(name: str) -> Attribute:
    """Names and pronouns of women against those of men, with one last name for all three."""
    lists = _data()["names"][NAMES]
    half = len(lists["male"]) // 2

    def triple(index: int) -> Triple:
        last = lists["last"][index % len(lists["last"])]
        return Triple(
            base=Person(first=lists["male"][half + index], last=last, gender="male"),
            a=Person(first=lists["male"][index], last=last, gender="male"),
            b={"female": Person(first=lists["female"][index], last=last, gender="female")},
        )

    triples = tuple(triple(index) for index in range(half))
    return Attribute(name=name, reference="male", groups=("female",), unit="triple", triples=triples)


def _noted(name: str) -> Attribute:
    """A note on a person of one name. `a` and `b` have notes in the same words, `base` one in others."""
    notes: dict[str, list[str]] = _data()["notes"][name]
    reference, *others = notes

    def triple(index: int, first: str, last: str, gender: Gender) -> Triple:
        def person(group: str, at: int) -> Person:
            return Person(first=first, last=last, gender=gender, note=notes[group][at % len(notes[group])])

        return Triple(
            base=person(reference, index + 1),
            a=person(reference, index),
            b={group: person(group, index) for group in others},
        )

    return Attribute(
        name=name,
        reference=reference,
        groups=tuple(others),
        unit="question",
        triples=tuple(triple(index, *named) for index, named in enumerate(_named())),
    )


def _named() -> Iterator[tuple[str, str, Gender]]:
    """Names that do not matter, women and men in turn."""
    lists = _data()["names"][NAMES]
    for index, pair in enumerate(zip(lists["female"], lists["male"], strict=True)):
        for first, gender in zip(pair, GENDERS, strict=True):
            yield first, lists["last"][index % len(lists["last"])], gender


@cache
def first_names() -> Mapping[str, Gender]:
    """Every first name of the lists, and whose it is."""
    return {
        name: gender for lists in _data()["names"].values() for gender in GENDERS for name in lists[gender]
    }


@cache
def _data() -> Any:
    text = files("airboss.evaluations").joinpath("bias_people.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
