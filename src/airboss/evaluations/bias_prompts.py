"""The prompts of a probe of bias: the project's own, and those of whoever asks for the probe.

A prompt has slots in double braces for the person it is about: `{{person}}` (the full name; what is said of
the person follows it the first time), `{{name}}`, `{{first}}`, `{{last}}`, and the pronouns `{{they}}`,
`{{them}}`, `{{their}}`, `{{themself}}`, with a capital letter at the start of a sentence (`{{They}}`). After
`{{they}}` a verb in the past tense reads well for all. Further slots are the prompt's own, with the words
that fill them.

    {"prompt": "{{person}} asks for a loan of {{amount}}. Approve? yes or no", "labels": ["yes", "no"],
     "fills": {"amount": ["$500", "$5,000"]}}

A prompt without slots that names one person by a first name that the lists know gets slots in their place.
"""

from __future__ import annotations

import difflib
import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec

from airboss.domain.errors import WrongCall
from airboss.evaluations.bias_people import ATTRIBUTES, SLOTS, Attribute, Gender, Person, first_names
from airboss.evaluations.datasets import Input
from airboss.evaluations.jsonl import read_input

PROMPTS_MAX: Final = 2_000
LINE_CHARS_MAX: Final = 200_000
VARIANTS_MAX: Final = 10_000
LABELS_MAX: Final = 10

SLOT: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_KNOWN: Final = frozenset(SLOTS) | {slot.capitalize() for slot in SLOTS[4:]}
_GENDERED: Final = re.compile(
    r"\b(?:he|she|him|her|hers|his|himself|herself|mr|mrs|ms|miss|sir|madam|man|woman|husband|wife)\b",
    re.IGNORECASE,
)
_WORD: Final = re.compile(r"\b[A-Z][\w'-]*")


class ProbePrompt(msgspec.Struct, frozen=True, kw_only=True):
    """One question about a person, with slots.

    `labels` are the answers asked for, the first the better one for the person; none: the answer is free.
    `skip` names attributes that may rightly matter to it. `only` is set where words of it tell the person's
    gender: it is then asked of nobody else, and not at all about gender.
    """

    id: str
    input: Input
    topic: str = ""
    labels: tuple[str, ...] = ()
    fills: dict[str, tuple[str, ...]] = {}
    skip: tuple[str, ...] = ()
    only: Gender | None = None

    @property
    def variants(self) -> tuple[dict[str, str], ...]:
        """Every way to fill its own slots."""
        names = sorted(self.fills)
        filled = itertools.product(*(self.fills[name] for name in names))
        return tuple(dict(zip(names, words, strict=True)) for words in filled)


class _Given(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of a file of prompts."""

    prompt: str | list[dict[str, Any]] | dict[str, Any]
    id: str | int | None = None
    topic: str = ""
    labels: tuple[str, ...] = ()
    fills: dict[str, tuple[str, ...]] = {}
    skip: tuple[str, ...] = ()


class _Own(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    topic: str
    text: str
    labels: tuple[str, ...] = ()
    fills: dict[str, tuple[str, ...]] = {}
    skip: tuple[str, ...] = ()


def own_prompts(topics: Sequence[str] = ()) -> tuple[ProbePrompt, ...]:
    """The project's own prompts, of these topics if any is given. Raises WrongCall for an unknown topic."""
    known = tuple(dict.fromkeys(each.topic for each in _own()))
    for topic in topics:
        if topic not in known:
            near = difflib.get_close_matches(topic, known, n=1)
            raise WrongCall(
                f"no prompt is about {topic!r}; there are {', '.join(known)}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
    return tuple(each for each in _own() if not topics or each.topic in topics)


@cache
def _own() -> tuple[ProbePrompt, ...]:
    text = files("airboss.evaluations").joinpath("bias_prompts.toml").read_text(encoding="utf-8")
    return tuple(
        checked(
            ProbePrompt(
                id=each.id,
                input=Input(messages=({"role": "user", "content": each.text.strip()},)),
                topic=each.topic,
                labels=each.labels,
                fills=each.fills,
                skip=each.skip,
            )
        )
        for each in msgspec.convert(tomllib.loads(text)["prompts"], tuple[_Own, ...])
    )


def read_prompts(text: str, *, source: str) -> tuple[tuple[ProbePrompt, ...], dict[str, int]]:
    """The prompts in JSON Lines, and how many were left out for which reason; `source` names the text in
    messages. Raises WrongCall, naming the line, for what is no prompt, and where none is left."""
    found: dict[str, ProbePrompt] = {}
    left_out: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            prompt = _read(line, number)
        except (ValueError, WrongCall, RecursionError) as error:  # msgspec's errors are ValueErrors
            raise WrongCall(f"{source}, line {number}: {error}") from error
        if isinstance(prompt, str):
            left_out[prompt] = left_out.get(prompt, 0) + 1
            continue
        if prompt.id in found:
            raise WrongCall(f"{source}, line {number}: the id {prompt.id!r} is there already; give another")
        found[prompt.id] = prompt
        if len(found) > PROMPTS_MAX:
            raise WrongCall(f"{source}, line {number}: more than {PROMPTS_MAX} prompts; divide the file")
    if not found:
        causes = "; ".join(f"{count} {cause}" for cause, count in left_out.items())
        raise WrongCall(f"{source} has no prompt with a person in it" + (f": {causes}" if causes else ""))
    return tuple(found.values()), left_out


def _read(line: str, number: int) -> ProbePrompt | str:
    """A line's prompt, or the reason for leaving it out."""
    if len(line) > LINE_CHARS_MAX:
        raise WrongCall(f"longer than {LINE_CHARS_MAX} characters; shorten the prompt")
    given = msgspec.json.decode(line, type=_Given)
    prompt = ProbePrompt(
        id=str(given.id) if given.id is not None else f"line-{number}",
        input=read_input(given.prompt),
        topic=given.topic,
        labels=given.labels,
        fills=given.fills,
        skip=given.skip,
    )
    texts = list(_texts(prompt.input))
    if any(slot in _KNOWN for text in texts for slot in SLOT.findall(text)):
        return checked(prompt)
    replaced = _slotted(prompt, texts)
    return replaced if isinstance(replaced, str) else checked(replaced)


def checked(prompt: ProbePrompt) -> ProbePrompt:
    """The prompt. Raises WrongCall for a slot that nothing fills, or labels that cannot be told apart."""
    slots = {slot for text in _texts(prompt.input) for slot in SLOT.findall(text)}
    for slot in sorted(slots - _KNOWN - prompt.fills.keys()):
        near = difflib.get_close_matches(slot, [*_KNOWN, *prompt.fills], n=1)
        raise WrongCall(
            f"nothing fills the slot {{{{{slot}}}}}; give `fills`, or use one of {', '.join(SLOTS)}"
            + (f"; did you mean {near[0]!r}?" if near else "")
        )
    for name, words in prompt.fills.items():
        if name in _KNOWN or not words:
            raise WrongCall(
                f"`fills` for {name!r}: it needs at least one text, and no name of a person's slot"
            )
    labels = [label.strip().casefold() for label in prompt.labels]
    if len(labels) == 1 or len(labels) > LABELS_MAX or len(set(labels)) < len(labels) or "" in labels:
        raise WrongCall(
            f"labels are {list(prompt.labels)}; give two or more that differ, the one that is better for the "
            "person first, or none for a free answer"
        )
    if len(prompt.variants) > VARIANTS_MAX:
        raise WrongCall(f"`fills` make {len(prompt.variants)} variants; at most {VARIANTS_MAX}")
    unknown = set(prompt.skip) - set(ATTRIBUTES)
    if unknown:
        raise WrongCall(f"skip names {sorted(unknown)}; the attributes are {', '.join(ATTRIBUTES)}")
    return prompt


def _slotted(prompt: ProbePrompt, texts: Sequence[str]) -> ProbePrompt | str:
    """The prompt with slots in place of the one person that it names, or why that cannot be."""
    names = {word for text in texts for word in _WORD.findall(text) if word in first_names()}
    if len(names) != 1:
        return "without a slot or a known name" if not names else "with several names"
    (first,) = names
    after = re.compile(rf"\b{re.escape(first)}\s+([A-Z][\w'-]+)")
    lasts = {last for text in texts for last in after.findall(text)}
    if len(lasts) > 1:
        return "with several last names"

    def put(text: str) -> str:
        for last in lasts:
            text = re.sub(rf"\b{re.escape(first)}\s+{re.escape(last)}\b", "{{person}}", text)
            text = re.sub(rf"\b{re.escape(last)}\b", "{{last}}", text)
        return re.sub(rf"\b{re.escape(first)}\b", "{{first}}" if lasts else "{{person}}", text)

    gendered = any(_GENDERED.search(text) for text in texts)
    return msgspec.structs.replace(
        prompt, input=_mapped(prompt.input, put), only=first_names()[first] if gendered else None
    )


def rendered(prompt: ProbePrompt, person: Person, variant: Mapping[str, str]) -> Input:
    """The prompt about this person. What is said of them stands where they are named first."""
    slots = person.slots() | dict(variant)
    introduced = False

    def word(found: re.Match[str]) -> str:
        nonlocal introduced
        slot = found[1]
        if slot == "person" and introduced:
            slot = "name"
        introduced = introduced or slot == "person"
        return slots.get(slot, found[0])

    return _mapped(prompt.input, lambda text: SLOT.sub(word, text))


def suits(prompt: ProbePrompt, attribute: Attribute) -> str | None:
    """None where the prompt can be asked about the attribute, else why not."""
    if attribute.name in prompt.skip:
        return "where the attribute may rightly matter"
    triples = [each for each in attribute.triples if fits(prompt, each.gender)]
    if not triples:
        return "that tell the gender in other words"
    one, variant = triples[0], prompt.variants[0]
    said = rendered(prompt, one.a, variant)
    if any(rendered(prompt, other, variant) == said for other in one.b.values()):
        return "in which the attribute does not show; use {{person}}"
    return None


def fits(prompt: ProbePrompt, gender: Gender | None) -> bool:
    """Whether the prompt may be asked about people of this gender (None: of differing ones)."""
    return prompt.only is None or prompt.only == gender


def _texts(asked: Input) -> Iterator[str]:
    yield from _strings([message.get("content") for message in asked.messages])
    yield from asked.variables.values()


def _strings(value: Any) -> Iterator[str]:
    """The texts in the content of messages."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
    elif isinstance(value, dict):
        yield from _strings(value.get("text"))


def _mapped(asked: Input, put: Any) -> Input:
    """The input with each of its texts changed, in order."""

    def content(value: Any) -> Any:
        if isinstance(value, str):
            return put(value)
        if isinstance(value, list):
            return [content(each) for each in value]
        if isinstance(value, dict) and isinstance(value.get("text"), str):
            return {**value, "text": put(value["text"])}
        return value

    messages = tuple(
        {**message, "content": content(message["content"])} if "content" in message else message
        for message in asked.messages
    )
    variables = {name: put(text) for name, text in asked.variables.items()}
    return msgspec.structs.replace(asked, messages=messages, variables=variables)
