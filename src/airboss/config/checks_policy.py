"""The rules of policies and of what names them."""

from __future__ import annotations

import re
import unicodedata
from typing import Final, get_args

from airboss.config.patterns import PatternError, measures, read_pattern
from airboss.config.rules import check_known
from airboss.config.types import Config, CustomConfig, PiiConfig, PolicyConfig
from airboss.config.wording import Path, Wrong, dotted, nearest, quoted
from airboss.domain.release import PiiKind

KINDS_MAX: Final = 50
"""Of a policy's own."""
WORDS_MAX: Final = 1000
"""Of all its kinds."""
STEPS_MAX: Final = 2000
"""Of all its patterns (`patterns.STEPS_MAX`)."""
WORD_CHARS_MAX: Final = 64
"""Of one word."""
CHARS_MAX: Final = 10_000
"""Of all of them: what is made of them takes a third of a second then."""

PATTERN_SHOWN: Final = 80
"""Characters of one in a message."""

_KIND = re.compile(r"[a-z][a-z_]{0,22}[a-z]")


def check_policies(config: Config, wrong: Wrong) -> None:
    """Raise what `wrong` makes of the first rule that is broken."""
    for name, policy in config.policies.items():
        path: Path = ("policies", name)
        if policy.pii is not None:
            _check_pii((*path, "pii", "kinds"), policy.pii, wrong)
        elif not policy.custom:
            raise wrong(path, f"[{dotted(path)}] looks for nothing; give it pii = {{ action = … }} or custom")
        _check_custom((*path, "custom"), policy, wrong)
    for table in ("releases", "deployments", "keys", "teams"):
        for name, entry in getattr(config, table).items():
            if entry.policy is not None:
                check_known((table, name, "policy"), entry.policy, config.policies, "policy", wrong)


def _check_pii(path: Path, pii: PiiConfig, wrong: Wrong) -> None:
    kinds = pii.kinds
    if kinds is not None and (not kinds or len(set(kinds)) < len(kinds)):
        raise wrong(
            path,
            f"{dotted(path)} needs one kind or more, each once; left out it means all that patterns find",
        )
    for kind in kinds or ():
        if kind not in get_args(PiiKind):
            known = nearest(kind, get_args(PiiKind))
            raise wrong(path, f"{dotted(path)}: no kind is called {quoted(kind)}; {known}")


def _check_custom(path: Path, policy: PolicyConfig, wrong: Wrong) -> None:
    kinds = policy.custom
    if len(kinds) > KINDS_MAX:
        raise wrong(
            path, f"{dotted(path)} has {len(kinds)} kinds, and may have {KINDS_MAX}; join some with |"
        )
    words = [word for each in kinds.values() for word in each.words]
    if len(words) > WORDS_MAX or sum(map(len, words)) > CHARS_MAX:
        raise wrong(
            path,
            f"{dotted(path)} has {len(words):,} words of {sum(map(len, words)):,} characters, and may have "
            f"{WORDS_MAX:,} of {CHARS_MAX:,}; a pattern may say many",
        )
    steps = sum([_check_kind((*path, name), name, kind, wrong) for name, kind in kinds.items()])
    if steps > STEPS_MAX:
        raise wrong(
            path,
            f"{dotted(path)}: its patterns come to {steps:,} steps when all their {{…}} are written out, and "
            f"may have {STEPS_MAX:,}; narrow those, or put fixed texts into words",
        )


def _check_kind(path: Path, name: str, kind: CustomConfig, wrong: Wrong) -> int:
    """Returns the steps of its pattern."""
    if name in get_args(PiiKind):
        raise wrong(
            path, f"{dotted(path)}: {quoted(name)} is a kind of pii already; call yours something else"
        )
    if _KIND.fullmatch(name) is None:
        raise wrong(
            path,
            f"{dotted(path)}: {quoted(name)} cannot be a kind; it takes 2 to 24 letters a-z, and _ between "
            "them, as in employee_id",
        )
    if (kind.pattern is None) == (not kind.words):
        raise wrong(path, f"{dotted(path)} needs either pattern = '…' or words = [ … ]")
    for at, word in enumerate(kind.words):
        _check_word((*path, "words", f"[{at}]"), word, wrong)
    if kind.pattern is None:
        return 0
    try:
        return measures(read_pattern(kind.pattern)).steps
    except PatternError as error:
        where = (*path, "pattern")
        shown = kind.pattern if len(kind.pattern) <= PATTERN_SHOWN else kind.pattern[:PATTERN_SHOWN] + "…"
        raise wrong(where, f"{dotted(where)} is '{shown}': {error}") from None


def _check_word(path: Path, word: str, wrong: Wrong) -> None:
    if len(word) > WORD_CHARS_MAX:
        raise wrong(
            path,
            f"{dotted(path)} is {quoted(word)}, {len(word)} characters long; a word or phrase has "
            f"{WORD_CHARS_MAX} at most; say what is rare in it",
        )
    # Hyphens and underscores stand for what is between words: beside a single character they find nothing.
    seen = [each for each in word if unicodedata.category(each)[0] in "LNPS" and each not in "-_"]
    if len(seen) < 2 or not any(each.isalnum() for each in seen):
        raise wrong(
            path,
            f"{dotted(path)} is {quoted(word)}; a word has 2 characters or more beside hyphens and "
            "underscores, with a letter or digit",
        )
