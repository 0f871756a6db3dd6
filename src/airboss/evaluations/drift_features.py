"""What is looked at of a call for drift: length, language and topic of what was asked, and of what was
answered the length, the language, the form and whether it declines. Pure, and rough: it runs over a sample of
all calls.

Topics are clusters of vectors: of a model that embeds where there is one (`embedded`), else of hashed words.
Those tell one subject from another by its vocabulary and know nothing of meaning: the same in other words,
or in another language, is another topic.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from airboss.dialects.recorded import in_chat
from airboss.domain.record import InferenceRecord
from airboss.evaluations.from_records import answer_text
from airboss.evaluations.scorers.refusal import reads_like_refusal

READ_CHARS: Final = 4_000
BUCKETS: Final = 1_024
EMBEDDED_BYTES: Final = 250
"""So much of a text is embedded: no tokenizer makes more than a token of a byte, and models take 256."""

CENTRE_MAX: Final = 400
CLUSTERS: Final = 6
ROUNDS: Final = 6
CUTS: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Shares of the reference that lengths are told apart at."""

SCRIPTS: Final = (
    ("chinese", "\u4e00", "\u9fff"),
    ("japanese", "\u3040", "\u30ff"),
    ("korean", "\uac00", "\ud7af"),
    ("russian", "\u0400", "\u04ff"),
    ("arabic", "\u0600", "\u06ff"),
    ("hindi", "\u0900", "\u097f"),
    ("greek", "\u0370", "\u03ff"),
    ("hebrew", "\u0590", "\u05ff"),
    ("thai", "\u0e00", "\u0e7f"),
)
"""Scripts by a language that is written in them; others of the script are taken for it."""

COMMON: Final = {
    "english": "the and is of to in that it you for with this what how are can please on",
    "german": "der die das und ist nicht ein eine ich sie mit auf den zu wie bitte für von",
    "french": "le la les et est un une des que pour dans vous je pas avec comment sur du",
    "spanish": "el la los y es un una que de en por para con cómo no se las del",
    "italian": "il lo gli e è un una che di per con non come sono della del nel",
    "portuguese": "o os e é um uma que de em para com não como do da por na",
    "dutch": "de het een en is van dat niet met voor hoe op te zijn ik je",
}
LANGUAGES: Final = (*COMMON, *(name for name, _, _ in SCRIPTS), "unclear")
LABELS: Final = {
    "input_language": LANGUAGES,
    "output_language": LANGUAGES,
    "output_refusal": ("answers", "declines"),
    "output_format": (
        *("prose", "a list", "with code", "json", "json as asked"),
        *("no json though asked", "cut off", "no text"),
    ),
}
"""Every value that a feature in words can have."""

_WORDS: Final = re.compile(r"[^\W\d_]{2,}")
_COMMON: Final = {name: frozenset(words.split()) for name, words in COMMON.items()}
_EVERYDAY: Final = frozenset().union(*_COMMON.values())

Vector = Mapping[str, float]
"""Weights by hashed word, or by the number of a dimension, of length 1; empty for a text without words."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked at of one call."""

    id: str
    at: datetime
    input_length: int
    input_language: str
    input_topic: dict[str, float]
    output_length: int
    output_language: str
    output_refusal: str
    output_format: str


FEATURES: Final = tuple(name for name in Seen.__struct_fields__ if name not in ("id", "at"))


class Binning(msgspec.Struct, frozen=True, kw_only=True):
    """How values of a feature are told apart: numbers by `edges`, those in words as they are (`labels`),
    topics by the nearest of `centres`, if it is as near as `least`."""

    edges: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    centres: tuple[dict[str, float], ...] = ()
    names: tuple[str, ...] = ()
    least: float = 0.0


def asked_in(record: InferenceRecord) -> str:
    """What a record asks in words; empty where it has no bodies, or failed."""
    if record.request is None or record.status != "ok":
        return ""
    return last_words(in_chat(record).request)


def seen(record: InferenceRecord, topic: Callable[[str], Vector] | None = None) -> Seen | None:
    """What is looked at of a record; None where it asks nothing in words. `topic` gives the vector of what it
    asks, by hashed words unless given."""
    asked = asked_in(record)
    if not asked:
        return None
    chat = in_chat(record)
    answered = answer_text(chat.response)
    return Seen(
        id=record.id,
        at=record.started_at,
        input_length=len(asked),
        input_language=language(asked),
        input_topic=dict((topic or vector)(asked)),
        output_length=len(answered),
        output_language=language(answered),
        output_refusal="declines" if declines(record, answered) else "answers",
        output_format=form(chat.request, answered, record.finish_reason),
    )


def last_words(request: Any) -> str:
    """What the person said last."""
    if not isinstance(request, dict):
        return ""
    turns = request.get("messages")
    for turn in reversed(turns) if isinstance(turns, list) else ():
        if isinstance(turn, dict) and turn.get("role") == "user":
            return _text(turn.get("content"))
    return _text(request.get("prompt"))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "\n".join(
        part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)
    )


def language(text: str) -> str:
    """The language of a text, by its script and its commonest words; `unclear` for few or unknown ones."""
    start = text[:READ_CHARS]
    for name, first, last in SCRIPTS:
        if sum(first <= each <= last for each in start) * 4 > len(start):
            return name
    words = _WORDS.findall(start.lower())
    hits = {name: sum(word in common for word in words) for name, common in _COMMON.items()}
    best = max(hits, key=hits.__getitem__)
    return best if hits[best] * 20 >= len(words) and hits[best] > 0 else "unclear"


def vector(text: str) -> Vector:
    """A text as hashed words, the everyday ones left out."""
    counts: dict[str, int] = {}
    for word in _WORDS.findall(text[:READ_CHARS].lower()):
        if word not in _EVERYDAY:
            bucket = str(zlib.crc32(word.encode()) % BUCKETS)
            counts[bucket] = counts.get(bucket, 0) + 1
    weights = {bucket: 1 + math.log(count) for bucket, count in counts.items()}
    norm = math.sqrt(math.fsum(each * each for each in weights.values()))
    return {bucket: round(each / norm, 4) for bucket, each in weights.items()} if norm else {}


def to_embed(text: str) -> str:
    """What of a text is embedded."""
    return text.encode("utf-8", "replace")[:EMBEDDED_BYTES].decode("utf-8", "ignore")


def embedded(values: Sequence[float]) -> Vector:
    """A model's vector, coarse: what is kept of it by the hundred."""
    norm = math.sqrt(math.fsum(each * each for each in values)) or 1.0
    coarse = {str(at): round(each / norm, 2) for at, each in enumerate(values)}
    return {at: each for at, each in coarse.items() if each}


def near(a: Vector, b: Vector) -> float:
    """How alike two vectors are, 0 to 1."""
    if len(b) < len(a):
        a, b = b, a
    return min(1.0, math.fsum(weight * b.get(bucket, 0.0) for bucket, weight in a.items()))


def declines(record: InferenceRecord, answered: str) -> bool:
    """Whether an answer is a refusal."""
    return record.finish_reason == "content_filter" or reads_like_refusal(answered)


def form(request: Any, answered: str, finish_reason: str | None) -> str:
    """The form of an answer; where JSON was asked for, whether it is that."""
    wanted = request.get("response_format") if isinstance(request, dict) else None
    if finish_reason == "length":
        return "cut off"
    if not answered:
        return "no text"
    if isinstance(wanted, dict) and wanted.get("type") in ("json_object", "json_schema"):
        return "json as asked" if _is_json(answered) else "no json though asked"
    if answered.lstrip()[:1] in "{[" and _is_json(answered):
        return "json"
    if "```" in answered:
        return "with code"
    return "a list" if re.search(r"^\s*(?:[-*•]|\d+[.)])\s", answered, re.MULTILINE) else "prose"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def binning(feature: str, values: Sequence[Any]) -> Binning:
    """How a feature's values are told apart, from those of the reference."""
    if feature == "input_topic":
        return _topics(values)
    if feature.endswith("_length"):
        ordered = sorted(values)
        cuts = (float(ordered[int(share * (len(ordered) - 1))]) for share in CUTS)
        return Binning(edges=tuple(dict.fromkeys(cuts)))
    return Binning(labels=LABELS[feature])


def bin_of(how: Binning, value: Any) -> str:
    """Which bin a value is in, in words."""
    if isinstance(value, dict):
        return _topic(how, value)
    if isinstance(value, str):
        return value
    low = max((edge for edge in how.edges if value > edge), default=None)
    high = min((edge for edge in how.edges if value <= edge), default=None)
    if low is None:
        return f"up to {high:,.0f} characters"
    return f"over {low:,.0f} characters" if high is None else f"{low:,.0f} to {high:,.0f} characters"


def bins(how: Binning) -> tuple[str, ...]:
    """Every bin there can be."""
    if how.centres:
        return (*how.names, "none of the topics before")
    if how.labels:
        return how.labels
    if not how.edges:  # the reference had no words to make topics of
        return ("none of the topics before",)
    middles = [(a + b) / 2 for a, b in zip(how.edges, how.edges[1:], strict=False)]
    return tuple(bin_of(how, each) for each in (how.edges[0], *middles, how.edges[-1] + 1))


def _topic(how: Binning, value: Vector) -> str:
    if not value or not how.centres:
        return "none of the topics before"
    likeness = [near(value, centre) for centre in how.centres]
    best = max(range(len(likeness)), key=likeness.__getitem__)
    return how.names[best] if likeness[best] >= how.least else "none of the topics before"


def _topics(values: Sequence[Vector]) -> Binning:
    """Spherical k-means; centres begin with those that are least like the others chosen."""
    known = [each for each in values if each]
    if not known:
        return Binning(labels=())
    centres = [known[0]]
    while len(centres) < min(CLUSTERS, len(known)):
        centres.append(min(known, key=lambda each: max(near(each, centre) for centre in centres)))
    for _ in range(ROUNDS):
        groups: list[list[Vector]] = [[] for _ in centres]
        for each in known:
            groups[max(range(len(centres)), key=lambda at: near(each, centres[at]))].append(each)
        centres = [_mean(group) if group else centre for group, centre in zip(groups, centres, strict=True)]
    nearest = sorted(max(near(each, centre) for centre in centres) for each in known)
    return Binning(
        centres=tuple(dict(each) for each in centres),
        names=tuple(f"topic {at + 1}" for at in range(len(centres))),
        least=nearest[int(0.05 * len(nearest))],
    )


def _mean(vectors: Sequence[Vector]) -> Vector:
    total: dict[str, float] = {}
    for each in vectors:
        for bucket, weight in each.items():
            total[bucket] = total.get(bucket, 0.0) + weight
    norm = math.sqrt(math.fsum(each * each for each in total.values()))
    kept = sorted(total.items(), key=lambda item: -abs(item[1]))[:CENTRE_MAX]
    return {bucket: round(weight / norm, 4) for bucket, weight in kept}
