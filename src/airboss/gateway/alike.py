"""Which two questions, near to each other by their vectors, may have one answer. Pure.

A vector hardly moves where one number, name or `not` changes, and the answer does. So near is not enough:
what such words say must be equal. `python -m benchmarks.alike` measures how often that goes wrong. The rules
are for English; of other languages they know the numbers, signs and names, and the commonest words for no.
"""

from __future__ import annotations

import re
from typing import Final

CHARS_MAX: Final = 256
"""Longer texts are not compared: in them one word that changes the answer moves a vector too little."""

_LATIN = re.compile("[\x09\x0a\x0d\x20-\x7e\xa0-\u024f\u2010-\u2027\u20a0-\u20bf\u2122]*")
_NUMBER = re.compile(r"(?:(?<!\w)[-+])?\d+(?:[.,:/]\d+)*")
_NUMBER_WORD = re.compile(
    r"\b(?:first|second|third|fourth|fifth|last|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|"
    r"twenty|thirty|forty|fifty|hundred|thousand|million|billion|dozen|half|quarter|twice|double|triple|both)\b"
)
_WHEN = re.compile(
    r"\b(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day|january|february|march|april|june|july|august|september|"
    r"october|november|december|spring|summer|autumn|winter|today|tonight|tomorrow|yesterday|morning|noon|"
    r"afternoon|evening|night|midnight|minute|hour|day|week|weekday|weekend|month|year|hourly|daily|weekly|"
    r"monthly|yearly|annual)(?=s?\b)"
)
_LETTER = re.compile(r"(?<![\w'\u2019])[b-hj-z](?!\w)|(?<![\w-])--?[a-z][\w-]*")
"""What is called by a letter (a `b` flu, plan `b`), and the options of a command."""
_NEGATION = re.compile(
    r"\b(?:not|no|non|never|without|cannot|neither|nor|none|nothing|nobody|except|unless|avoid\w*|stop|"
    r"nicht|kein\w*|nie|niemals|ohne|pas|jamais|sans|nunca|sin|nem|sem|senza|niet|geen)\b|n['\u2019]t\b"
)
_NAME = re.compile(r"\w*[A-Z]\w*")
_ASKS = re.compile(r"\b(?:who|when|where|why)")
_SMALL = (
    "a an the i my we our you your it its this that these those there he she they his her their what "
    "how who whom whose when where why which is are am was were be do does did can could should would "
    "will shall may might must has have had if in on at by to for from of with about and or"
)
_BEGINS = (
    "please tell explain describe give show list name find help need want let lets say write make get "
    "anyone someone any"
)
"""Words that a sentence may begin with, though they are no name."""
_SIGN = re.compile(r"[^\w\s.,;:!?'\"\u2018\u2019\u201c\u201d()\[\]-]")
_QUOTED = re.compile(
    r"[\"\u201c\u201d`]([^\"\u201c\u201d`]+)[\"\u201c\u201d`]"
    r"|(?<!\w)['\u2018\u2019]([^'\u2018\u2019]+)['\u2018\u2019](?!\w)"
)
_WORD = re.compile(r"\w+|[^\w\s]")
DIRECTED: Final = frozenset(
    {"to", "into", "onto", "from", "than", "over", "by", "before", "after", "vs", "versus"}
)
"""Words with which it matters what comes first."""
_ENDS = ("s", "es", "d", "ed", "ing", "ly", "able")
"""By which a word may be a form of another."""
_LESS = ("un", "in", "im", "ir", "il", "dis", "de", "non", "mis")
"""What makes of a word its opposite."""
_PAIRS = (
    "he she, his her, him her, i me, he him, she her, we us, they them, me us, i you, i he, i she, i "
    "they, me you, above below, add remove, all some, always never, arrival departure, arrive depart, "
    "ascending descending, asynchronous synchronous, attach detach, best worst, better worse, borrow "
    "lend, bottom top, buy sell, buyer seller, cancel renew, cancel restart, cheap expensive, cheapest "
    "priciest, client server, close open, closest farthest, cold hot, cold warm, columns rows, column "
    "row, create delete, credit debit, decode encode, decrease increase, decrypt encrypt, deposit "
    "withdraw, disable enable, download upload, dry wet, early late, earliest latest, east west, even "
    "odd, export import, fast slow, fastest slowest, father mother, female male, boy girl, first last, "
    "follow unfollow, from to, gain lose, good bad, hard easy, hard soft, heavy light, heaviest lightest, "
    "hide show, horizontal vertical, husband wife, in out, input output, inside outside, install "
    "uninstall, join leave, landlord tenant, left right, lock unlock, lose win, loss profit, love hate, "
    "like hate, man woman, men women, maximize minimize, multiply divide, near far, nearest farthest, new "
    "old, newer older, newest oldest, north south, off on, parent child, pause resume, plus minus, "
    "positive negative, private public, pros cons, pull push, read write, get give, get send, receive "
    "send, rise fall, happy sad, safe dangerous, sender receiver, son daughter, strong weak, strongest "
    "weakest, subtract add, succeed fail, success failure, sunrise sunset, thick thin, true false, turn "
    "return, up down, upgrade downgrade, uppercase lowercase, warm cool, wide narrow, with without, young "
    "old, younger older, youngest oldest, advantages disadvantages, benefits risks, celsius fahrenheit, "
    "kilometers miles, kilograms pounds, meters feet, inches centimeters, boiling freezing, boil freeze, "
    "hello goodbye, lower upper, refund charge, invite remove, invite uninvite, is was, are were, does "
    "did, do did, has had, have had"
)
_SIDES = (
    "allow allowed permit permitted legal lawful accept accepted / forbid forbidden prohibit prohibited ban "
    "banned illegal unlawful deny denied decline block blocked reject rejected refuse refused; "
    "more bigger larger greater taller higher longer / fewer less smaller lesser shorter lower; "
    "most biggest largest greatest tallest highest longest max maximum / least fewest smallest lowest "
    "shortest min minimum; "
    "big large tall high long / small little short low; "
    "brief briefly short shortly concise succinct quickly / detail detailed fully long thorough thoroughly; "
    "before / after during with while; after / during with while; under / over above; "
    "begin start begun began / end finish stop finished complete; now currently / later soon then"
)
"""Words of the one side are opposites of those of the other."""
_TELL = re.compile(r"\b(?:tell|show|give|help|let|teach|remind|inform|walk|guide) (?:me|us)\b")
"""Whoever asks: nobody who has anything to do with what is asked."""


def _opposites() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    sides = [(one, [other]) for one, other in map(str.split, _PAIRS.split(", "))]
    for each in _SIDES.split("; "):
        ones, others = (side.split() for side in each.split("/"))
        sides += [(one, others) for one in ones]
    for one, others in sides:
        found.setdefault(one, set()).update(others)
        for other in others:
            found.setdefault(other, set()).add(one)
    return {word: frozenset(others) for word, others in found.items()}


OPPOSITES: Final = _opposites()
SMALL: Final = frozenset(_SMALL.split())
BEGINS: Final = SMALL | frozenset(_BEGINS.split())


def comparable(text: str) -> bool:
    """Whether a text may be compared by meaning at all: a short one, in letters that the rules can read."""
    return 0 < len(text) <= CHARS_MAX and _LATIN.fullmatch(text) is not None and not text.isspace()


def same_numbers(one: str, other: str) -> bool:
    """The same numbers, in digits and in words, the same days and times, what is called by a letter, and both
    say no or neither does."""
    one, other = one.lower(), other.lower()
    for each in (_NUMBER, _NUMBER_WORD):
        if each.findall(one) != each.findall(other):
            return False
    for each in (_WHEN, _LETTER):
        if sorted(each.findall(one)) != sorted(each.findall(other)):
            return False
    return len(_NEGATION.findall(one)) == len(_NEGATION.findall(other))


def same_names(one: str, other: str) -> bool:
    """The same names in the same order, the same things quoted, and signs that mean something (`+`, `<`)."""
    names = _names(one) | _names(other)
    return (
        _named(one, names) == _named(other, names)
        and sorted(_QUOTED.findall(one)) == sorted(_QUOTED.findall(other))
        and sorted(_SIGN.findall(one)) == sorted(_SIGN.findall(other))
    )


def _names(text: str) -> set[str]:
    """Words with a capital, but the one that a sentence begins with only if it is none of the usual."""
    words = _WORD.findall(text)
    found = {word.lower() for word in _NAME.findall(text)} - {"i"}
    if words and words[0].lower() in BEGINS and words[0] not in words[1:]:
        found.discard(words[0].lower())
    return found


def _named(text: str, names: set[str]) -> list[str]:
    return [word for word in _WORD.findall(text.lower()) if word in names]


def same_sense(one: str, other: str) -> bool:
    """They ask who, when, where or why alike, no word of the one has its opposite in the other, and they are
    in the same order where that may matter: with the very same words, and with `from`, `to` or `than`."""
    one, other = (_TELL.sub("", text.lower()) for text in (one, other))
    mine, theirs = _WORD.findall(one), _WORD.findall(other)
    if mine != theirs and sorted(mine) == sorted(theirs):
        return False
    if not DIRECTED.isdisjoint((*mine, *theirs)):
        shared = (set(mine) & set(theirs)) - SMALL
        if [word for word in mine if word in shared] != [word for word in theirs if word in shared]:
            return False
    if set(_ASKS.findall(one)) != set(_ASKS.findall(other)):
        return False
    here, there = set(mine), set(theirs)
    here, there = _stems(here - there), _stems(there - here)
    return not (_opposed(here, there) or _opposed(there, here))


def _stems(words: set[str]) -> set[str]:
    """These words, and what each may be a form of."""
    found = set(words)
    for word in words:
        for end in _ENDS:
            if len(word) > len(end) + 2 and word.endswith(end):
                found |= {word.removesuffix(end), word.removesuffix(end) + "e"}
    return found


def _opposed(mine: set[str], theirs: set[str]) -> bool:
    """Whether one of the words that only one side has is the opposite of one that only the other has."""
    return any(
        not OPPOSITES.get(word, frozenset()).isdisjoint(theirs)
        or (len(word) > 2 and any(less + word in theirs for less in _LESS))
        for word in mine
    )


def alike(one: str, other: str) -> bool:
    """Whether nothing speaks against one answer for both, if they are near enough."""
    return same_numbers(one, other) and same_names(one, other) and same_sense(one, other)
