"""Screening text that streams: what is released is the same for every way of cutting the text.

A `Screen` holds an end of the text back while that end may still turn into a value, and only then. A
character is released once every detector has decided about every candidate that begins at or before it:
because what follows can neither begin, prolong nor undo one (the derived openings of shapes.py), or because
even the longest candidate would have ended. Decisions therefore depend on the text alone. Values are what
each detector finds by itself; whatever any of them covers is replaced, so no part of a value is released.

What is bounded: HELD_MAX characters are held (nine times as many where each is followed by all the invisible
ones that are overlooked, and up to 18 times that where they are escaped), however long a word, a number or
a key goes on; a value that grows beyond its candidate (a key of any length) is dropped as it comes. A
character costs a bounded number of steps.

No match of a kind that a policy defines itself (custom.py) is longer than those of the ones built in. Where
names are looked for (names.py), a text is also held back to the end of the piece in which they are.
"""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Mapping, Sequence

import msgspec

from airboss.domain.release import CustomKind, PiiAction
from airboss.governance import escapes
from airboss.governance.candidates import LEFT, Kind
from airboss.governance.detectors import DETECTORS
from airboss.governance.matching import Matcher, Value, confirmed, matcher, named
from airboss.governance.names import NameFinder, Names, plain
from airboss.governance.policies import ACTIONS, ALL, NAMED
from airboss.governance.shadow import Caster
from airboss.governance.tokens import Tokens

Action = PiiAction
"""What is done about a value: `[EMAIL]` in its place; `<EMAIL_1>` in its place, the same for the same value
(tokens.py); neither it nor anything behind it is released; it is only counted."""

_SHORT = 24

HELD_MAX = max(_SHORT * 2, *(detector.longest for detector in DETECTORS))
"""Characters held back, at most; where names are looked for (PIECE_MAX), as many more as a piece has."""


class _Masks(dict[Kind, str]):
    def __missing__(self, kind: Kind) -> str:
        return f"[{kind.upper()}]"


_MASKS: Mapping[Kind, str] = _Masks({kind: f"[{kind.upper()}]" for kind in ALL})


class ScreeningPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What to look for, and what to do about each kind. Made by `screening_policy`. A call under one that
    `asks_names` has `names` of its own."""

    actions: Mapping[Kind, Action]
    acting: frozenset[Kind]
    """The kinds that are not only observed."""
    observed: frozenset[Kind]
    looks: Matcher
    """What finds the values that it acts on, or counts where it acts on none."""
    names: Names | None = None
    """What is known of the names in the call's texts."""
    asks_names: bool = False
    """Whether it looks for what only a model finds."""
    custom: tuple[CustomKind, ...] = ()
    """The kinds that it defines itself; what is done about them is in `actions`."""
    ranks: Mapping[Kind, int] = {}
    """Where there are such: of values that begin at one place the lowest counts, about which most is done."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its own kinds, each once."""
        return tuple(dict.fromkeys(kind.name for kind in self.custom))


def screening_policy(
    actions: Mapping[Kind, Action], names: Names | None = None, custom: tuple[CustomKind, ...] = ()
) -> ScreeningPolicy:
    """The policy that does this about these kinds, of which `custom` are its own."""
    observed = frozenset(kind for kind, action in actions.items() if action == "observe")
    acting = frozenset(actions) - observed
    return ScreeningPolicy(
        actions=actions,
        acting=acting,
        observed=observed,
        looks=matcher(acting or observed, custom),
        names=names,
        asks_names=not actions.keys().isdisjoint(NAMED),
        custom=custom,
        ranks={kind: -ACTIONS.index(action) for kind, action in actions.items()} if custom else {},
    )


def reading_ahead(policy: ScreeningPolicy) -> ScreeningPolicy:
    """The policy for reading a text ahead, whose `names` then tell what is missing: it cuts nothing short,
    and needs no tokens."""
    assert policy.names is not None  # else there is nothing to read ahead for
    actions: dict[Kind, Action] = {
        kind: "observe" if action == "observe" else "mask" for kind, action in policy.actions.items()
    }
    return screening_policy(actions, policy.names.reading_ahead(), policy.custom)


def masking(policy: ScreeningPolicy) -> ScreeningPolicy:
    """The policy that masks what this one acts on."""
    return screening_policy(dict.fromkeys(policy.acting, "mask"), policy.names, policy.custom)


def _observing(policy: ScreeningPolicy) -> ScreeningPolicy:
    return screening_policy(dict.fromkeys(policy.observed, "observe"), policy.names, policy.custom)


def masking_again(policy: ScreeningPolicy) -> ScreeningPolicy:
    """The same for what has been screened already: a text that was cut short may be of other pieces than
    those whose names are known, and has none left."""
    known = None if policy.names is None else Names(policy.names.known, find=lambda _: ())
    return screening_policy(dict.fromkeys(policy.acting, "mask"), known, policy.custom)


def without_names(policy: ScreeningPolicy) -> ScreeningPolicy:
    """The same policy, but for names."""
    actions = {kind: done for kind, done in policy.actions.items() if kind not in NAMED}
    return screening_policy(actions, custom=policy.custom)


def built_in(policy: ScreeningPolicy) -> ScreeningPolicy:
    """The same policy, but for names and for its own kinds."""
    actions = policy.actions.items()
    return screening_policy({kind: done for kind, done in actions if kind in ALL and kind not in NAMED})


class Screened(msgspec.Struct, frozen=True, kw_only=True):
    """A whole text, screened. If it was blocked, `text` ends before the first value."""

    text: str
    findings: Mapping[Kind, int]
    blocked: bool


def prepare(policy: ScreeningPolicy) -> None:
    """Compiles what the policy needs, so that no call waits for it: some 15 ms, once for a set of kinds."""
    for kinds in (policy.acting, policy.observed):
        matcher(kinds, policy.custom)


def screen_text(policy: ScreeningPolicy, text: str, tokens: Tokens | None = None) -> Screened:
    """What a `Screen` makes of a text that comes in one piece; `tokens` remember what they stand for."""
    screen = Screen(policy, tokens, traces=tokens is not None)
    if policy.names is None and screen._sees_nothing(text):
        return Screened(text=text, findings={}, blocked=False)
    released = screen.feed(text) + screen.finish()
    if tokens is not None:
        for name, start, end in screen.trace:
            tokens.remember(name, text[start:end])
    return Screened(text=released, findings=screen.findings, blocked=screen.blocked)


def _finder(policy: ScreeningPolicy) -> NameFinder | None:
    """What finds the names that a policy does something about, or those that it counts where it does nothing
    about anything."""
    kinds = (policy.acting or policy.observed).intersection(NAMED)
    if not kinds:
        return None
    if policy.names is None:
        raise ValueError(f"{' and '.join(sorted(kinds))} need to be known; hand in the call's `names`")
    return NameFinder(policy.names, kinds, policy.labels)


class Screen:
    """Screens one text that comes in pieces. One for each channel of each answer; not for several threads.

    Any str will do, lone surrogates included. Where all is only observed each piece is returned as it is, at
    once. `traces` keeps where each placeholder's value stood in the text (unbounded: for whole texts).
    Raises ValueError for `tokenize` without tokens and for names without `names`, and of a policy that looks
    for those Unavailable, from `feed` and `finish`, where they are not known.
    """

    __slots__ = (
        "_actions", "_base", "_begun", "_blocked", "_caster", "_counts", "_covered", "_covered_by",
        "_dropped", "_finder", "_finished", "_forgotten", "_gaps", "_left_out", "_matcher", "_observer",
        "_observes", "_ranks", "_raw", "_resume", "_sent", "_shadow", "_text", "_tokens", "_traces",
        "_values", "trace",
    )  # fmt: skip

    def __init__(
        self, policy: ScreeningPolicy, tokens: Tokens | None = None, *, traces: bool = False
    ) -> None:
        if tokens is None and "tokenize" in policy.actions.values():
            raise ValueError("the action 'tokenize' needs tokens; hand in the call's")
        self._actions = policy.actions
        self._observes = not policy.acting
        self._matcher = policy.looks
        self._ranks = policy.ranks
        # What is only observed must not hold anything back, nor be covered by what is replaced.
        both = policy.acting and policy.observed
        self._observer = Screen(_observing(policy)) if both else None
        self._finder = _finder(policy) if policy.asks_names else None
        self._text: str | None = "" if policy.looks.by_text else None  # one character for each of shadow
        self._forgotten = 0  # places of the text's shadow before that at hand
        self._tokens = tokens
        self._traces = traces
        self.trace: list[tuple[str, int, int]] = []
        self._dropped = 0  # characters of the text before raw
        self._caster = Caster()
        self._begun = ""  # an escape that may go on, of which nothing is in raw
        self._shadow = b""
        self._base = 0  # of shadow: every candidate that begins before it has been decided
        self._raw = ""  # the text of shadow[base:], with what was left out of that
        self._sent = 0  # of raw: released or replaced
        self._gaps: list[int] = []  # places in shadow before which raw has more,
        self._left_out = [0]  # and how much more it has before the first, before the first two, …
        self._values: list[Value] = []  # found and not yet replaced
        self._resume: dict[int, int] = {}  # by detector: where its search goes on, if that is beyond base
        self._covered = 0  # the end of the value that was replaced last, and its kind
        self._covered_by: Kind | None = None
        self._counts: dict[Kind, int] = {}
        self._blocked = False
        self._finished = False

    @property
    def findings(self) -> Mapping[Kind, int]:
        """How many values of each kind were found: never the values. Of a blocked text only the one that
        blocked it."""
        counts = self._counts
        if self._observer is not None and not self._blocked:
            counts = {**counts, **self._observer.findings}
        return {kind: counts[kind] for kind in self._actions if kind in counts}

    @property
    def blocked(self) -> bool:
        """Whether a value was found and the action is `block`: nothing is released any more."""
        return self._blocked

    @property
    def held(self) -> int:
        """Characters that were fed and are neither released nor replaced."""
        return len(self._raw) - self._sent + len(self._begun)

    def copied(self) -> Screen:
        """Another that reads on from here by itself, but for what is only observed."""
        other = copy.copy(self)
        other._observer = None
        other._finder = None if self._finder is None else self._finder.copied()
        other._caster = copy.copy(self._caster)
        other._values = [value.copied() for value in self._values]
        other._gaps, other._left_out, other.trace = [*self._gaps], [*self._left_out], [*self.trace]
        other._resume, other._counts = {**self._resume}, {**self._counts}
        return other

    def _sees_nothing(self, text: str) -> bool:
        """Whether a whole text can be told at a glance to hold no value; most can."""
        if not text.isascii() or "\\u" in text or self._matcher.hints(text.encode()):
            return False
        return self._observer is None or self._observer._sees_nothing(text)

    def feed(self, text: str) -> str:
        """Takes the next piece; returns what may be released now.

        Raises ValueError after `finish`.
        """
        if self._finished:
            raise ValueError("this Screen's text was finished; a Screen is for one text, make another")
        if self._blocked or not text:
            return ""
        if self._observer is not None:
            self._observer.feed(text)
        self._take(text)
        # Nothing is lost by waiting for the rest of a word, and much looking is saved.
        new = len(text)
        waits = 0 < len(self._raw) - self._sent - new < _SHORT > new and text.isalnum() and text.isascii()
        released = "" if waits else self._advance(self._decided())
        return text if self._observes else released

    def finish(self) -> str:
        """Says that the text is complete; returns the rest of it."""
        if self._blocked or self._finished:
            return ""
        self._finished = True
        if self._observer is not None:
            self._observer.finish()
        if self._begun:
            self._read(self._begun)
            self._begun = ""
        if self._finder is not None:
            self._name("", last=True)
        released = self._advance(len(self._shadow))
        return "" if self._observes else released

    def _decided(self) -> int:
        """The place before which all is decided."""
        decided = self._matcher.decided(self._shadow, self._base)
        if self._finder is not None:
            decided = max(self._base, min(decided, self._finder.decided - self._forgotten))
        return decided

    def _name(self, text: str, *, last: bool = False) -> None:
        """Collects the names in the pieces that are whole by now."""
        assert self._finder is not None  # where there is one
        for place, kind, name in self._finder.feed(text, last=last):
            signed = self._actions[kind] == "tokenize"
            self._values.append(named(kind, place - self._forgotten, name, signed=signed))

    def _take(self, text: str) -> None:
        if not self._begun and "\\" not in text:
            self._add(text)
            return
        text = self._begun + text
        begun = escapes.begun(text)
        self._begun = text[begun:]
        self._read(text[:begun])

    def _read(self, text: str) -> None:
        if "\\u" in text:
            read, longer = escapes.read(text)
            self._add(read, text, longer)
        elif text:
            self._add(text)

    def _add(self, text: str, raw: str | None = None, longer: list[tuple[int, int]] | None = None) -> None:
        """Takes a text that was written as `raw`, if that has escapes, which are so much `longer`."""
        self._raw += text if raw is None else raw
        gaps: tuple[tuple[int, int], ...] = ()
        if text.isascii():
            self._caster.visible()
            piece = text.encode()
        else:
            piece, gaps = self._caster.cast(text)
            if self._text is not None or self._finder is not None:
                text = plain(text, gaps)
        if self._text is not None:
            self._text += text
        if self._finder is not None:
            self._name(text)
        for place, count in escapes.with_longer(gaps, longer) if longer else gaps:
            self._gaps.append(len(self._shadow) + place)
            self._left_out.append(self._left_out[-1] + count)
        self._shadow += piece

    def _advance(self, horizon: int) -> str:
        """Decides about every candidate that begins before `horizon`, and releases the text before it."""
        shadow, base = self._shadow, self._base
        hints = self._matcher.hints(shadow[base:]) if horizon > base else ()
        if not (hints or self._values or self._gaps or self._resume):
            released = self._raw[self._sent : horizon - base]
        else:
            self._grow()
            self._find(horizon, hints)
            released = self._release(horizon)
        self._forget(horizon)
        return released

    def _grow(self) -> None:
        for value in self._values:
            if not value.grown:
                value.grow(self._shadow)
                self._resume[value.at] = value.end
                value.grown = value.grown or self._finished

    def _find(self, horizon: int, hints: Sequence[int]) -> None:
        """Collects the values whose candidates begin between base and horizon."""
        for at in hints:
            detector, search = self._matcher.detectors[at], self._matcher.searches[at]
            place = max(self._base, self._resume.get(at, 0))
            while place < horizon:
                start, end = search(self._shadow, place)
                if not 0 <= start < horizon:
                    break
                value = confirmed(detector, at, self._shadow, start, end)
                if value is None or (detector.judge is not None and not self._judge(value)):
                    place = end if detector.skips else start + 1
                    continue
                if self._actions[detector.kind] == "tokenize":
                    self._sign(value)
                value.grow(self._shadow)
                value.grown = value.grown or self._finished
                self._values.append(value)
                place = value.end
            self._resume[at] = place

    def _judge(self, value: Value) -> bool:
        """Whether the text itself has the value, of which that tells the end."""
        assert self._text is not None  # its detector is `by_text`
        assert value.detector.judge is not None
        span = value.detector.judge(self._text, value.start, value.end)
        if span is None:
            return False
        value.end = value.start + span[1]
        return True

    def _sign(self, value: Value) -> None:
        if value.detector.by_text and self._text is not None:
            value.sign_text(self._text[value.start : value.end])
        else:
            value.sign(self._shadow)

    def _raw_at(self, place: int) -> int:
        """Where in raw the character at a place of the shadow begins: behind what was left out before it."""
        return place - self._base + self._left_out[bisect_right(self._gaps, place)]

    def _release(self, horizon: int) -> str:
        """The text before `horizon` with its values replaced; those behind it are kept for later."""
        if self._ranks:
            ranks = self._ranks
            self._values.sort(key=lambda value: (value.start, ranks[value.detector.kind], value.at))
        else:
            self._values.sort(key=lambda value: (value.start, value.at))
        released: list[str] = []
        reached = [value for value in self._values if value.start < horizon]
        later = self._values[len(reached) :]
        for index, value in enumerate(reached):
            if value.end <= self._covered:
                continue
            if value.start >= self._covered:
                released.append(self._raw_until(value.start))
            if self._actions[value.detector.kind] == "block":
                self._count(value.detector.kind)
                self._blocked = True
                self._values = later = []
                break
            if not value.grown:
                # It covers all there is, and so whatever has its end here.
                later = [value for value in reached[index:] if not value.grown] + later
                if value.from_raw < 0:
                    value.from_raw = self._dropped + self._sent
                self._sent = len(self._raw)
                break
            released.append(self._replaced(value))
        self._values = later
        if not self._blocked:
            released.append(self._raw_until(horizon))
        return "".join(released)

    def _raw_until(self, place: int) -> str:
        start, self._sent = self._sent, max(self._sent, self._raw_at(place))
        return self._raw[start : self._sent]

    def _replaced(self, value: Value) -> str:
        """What stands for a value; nothing in a mask for one that only prolongs another of its kind."""
        kind = value.detector.kind
        cut = max(0, self._covered - value.start)
        prolongs = cut > 0 and kind == self._covered_by
        start = value.from_raw if value.from_raw >= 0 else self._dropped + self._sent
        self._covered, self._covered_by = value.end, kind
        self._sent = max(self._sent, self._raw_at(value.end))
        if not prolongs:
            self._count(kind)
        if value.mark is None or self._tokens is None:
            return "" if prolongs else _MASKS[kind]
        # What is left of a value that begins within another is a value of its own.
        name = self._tokens.name(kind, b"%s %d" % (value.mark.digest(), cut))
        if self._traces:
            self.trace.append((name, start, self._dropped + self._sent))
        return name

    def _count(self, kind: Kind) -> None:
        self._counts[kind] = self._counts.get(kind, 0) + 1

    def _forget(self, horizon: int) -> None:
        """Drops the text before `horizon`, but for what detectors may look back at."""
        cut = self._raw_at(horizon) if self._gaps else horizon - self._base
        self._raw = self._raw[cut:]
        self._dropped += cut
        self._sent = max(0, self._sent - cut)
        kept = max(0, horizon - LEFT)
        self._shadow = self._shadow[kept:]
        if self._text is not None:
            self._text = self._text[kept:]
        self._base = horizon - kept
        self._forgotten += kept
        self._covered -= kept
        for value in self._values:
            value.start -= kept
            value.end -= kept
        if self._resume:
            self._resume = {at: place - kept for at, place in self._resume.items() if place > horizon}
        if self._gaps:
            gone = bisect_right(self._gaps, horizon)
            self._left_out = [count - self._left_out[gone] for count in self._left_out[gone:]]
            self._gaps = [gap - kept for gap in self._gaps[gone:]]
