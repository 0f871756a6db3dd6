"""Seeded texts for the benchmark and the tests of screening: full of values and near-values, and ordinary."""

from __future__ import annotations

import random
import string
import uuid
from collections.abc import Callable
from itertools import pairwise

ALNUM = string.ascii_letters + string.digits
PROSE = (
    "The quarterly report shows that revenue grew in the second half of the year while costs stayed flat. "
    "Our team will meet next week to discuss the deployment plan for version 2.4.1 and the order 8837-2211 "
    "backlog. Please keep the summary short, and list three risks with mitigations. "
)
WORDS = (
    *PROSE.split(),
    "call", "phone:", "password", "is", "token=", "SSN", "Bearer", "https://x.example/a?b=c", "user@",
    "@home",
    "10.0.0", "1.2.3.4.5", "2026-11-24", "4111", "1111", "+1", "0", "00", "sk-", "ghp_", "eyJ", "DE89",
    "-----BEGIN", "192.168.1", "naïve", "请联系", "谢谢", "\\n", "\u200b", "\u0301", "👩\u200d👧", "٤١١١",
    "123-45-678", "(415)", "::1",
)  # fmt: skip
BETWEEN = (" ", " ", " ", " ", " ", "\n", ", ", "", "", "-", ".", ":", '"', "\\n", "/", "@")


def _digits(source: random.Random, count: int) -> str:
    return "".join(source.choices(string.digits, k=count))


def _made(source: random.Random, low: int, high: int | None = None) -> str:
    return "".join(source.choices(ALNUM, k=source.randint(low, high or low)))


def card(source: random.Random) -> str:
    """A number that a network could give out, in one of the usual groupings."""
    number = source.choice(("4", "51", "2221", "6011", "37", "3530"))
    number += _digits(source, (15 if number == "37" else 16) - len(number) - 1)
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(number + "0"))]
    number += str(-sum(digit // 10 + digit % 10 for digit in doubled) % 10)
    edges = (0, 4, 10, 15) if len(number) == 15 else (0, 4, 8, 12, 16)
    return source.choice(("", " ", "-")).join(number[start:end] for start, end in pairwise(edges))


def iban(source: random.Random) -> str:
    """A German account with the right check digits."""
    account = _digits(source, 18)
    number = f"DE{98 - int(account + '131400') % 97:02}{account}"
    return " ".join(number[at : at + 4] for at in range(0, 22, 4)) if source.random() < 0.5 else number


def phone(source: random.Random) -> str:
    """A number of one of four countries, as people write it."""
    forms = ("+1 (415) 555-", "212-555-", "+44 20 7946 ", "020 7946 ", "+49 30 90", "+1415555", "(650) 253-")
    return source.choice(forms) + _digits(source, 4)


def secret(source: random.Random) -> str:
    """A key of one of five sorts."""
    keys = (
        f"ghp_{_made(source, 36)}",
        f"sk-proj-{_made(source, 30, 160)}a1B2",
        f"hf_{_made(source, 34)}",
        f"eyJ{_made(source, 20)}.eyJ{_made(source, 40, 900)}.{_made(source, 43)}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{_made(source, 64, 700)}\n-----END RSA PRIVATE KEY-----",
    )
    return source.choice(keys)


VALUES: tuple[Callable[[random.Random], str], ...] = (
    lambda source: f"{_made(source, 1, 12)}.{_made(source, 2, 9)}@{_made(source, 2, 9)}.example.com",
    phone,
    card,
    iban,
    lambda source: f"{source.randint(100, 665)}-{source.randint(10, 99)}-{source.randint(1000, 9999)}",
    lambda source: ".".join(str(source.randint(11, 254)) for _ in range(4)),
    secret,
)


def text_with_values(seed: int, pieces: int = 40) -> tuple[str, list[str]]:
    """A text, and the values that were put into it (some of which their neighbours may have undone)."""
    source = random.Random(seed)
    parts: list[str] = []
    values: list[str] = []
    for _ in range(pieces):
        draw = source.random()
        if draw < 0.15:
            values.append(source.choice(VALUES)(source))
            parts.append(values[-1])
        elif draw < 0.2:
            value = source.choice(VALUES)(source)
            parts.append(value[: source.randrange(len(value))])
        else:
            parts.append(source.choice(WORDS))
        parts.append(source.choice(BETWEEN))
    return "".join(parts), values


SENTENCES = (
    "The {noun} was {verb} on {date} and took {number} minutes.",
    "Order {order} ships in {number} parts; the invoice is {code}.",
    "Version {version} of {noun} replaces {version}, see section {section}.",
    "At {time} the {noun} reported {float} percent, after {float} the day before.",
    "Between {year} and {year} we {verb} {thousands} of them for ${price}.",
    "```python\n{name} = {name}({number}, key={name}[{number}])  # {noun}\n```",
    'def {name}(self, {name}: int = {big}) -> dict[str, float]:\n    return {{"{name}": {float}}}',
    "Commit {hex} (build {big}) {verb} the {noun}; ticket {code}.",
    'id={uuid} at={stamp} level=info msg="{noun} {verb}" took_ms={float}',
    "| {number} | {thousands} | {float} | {date} | {code} |",
    "https://docs.example.org/{name}/{year}/{name}.html?page={number}#{name}",
    "Scale it {number}:{number}, {number}x{number} pixels, ISBN {isbn}, part {part}.",
    "SELECT {name}, count(*) FROM {name}_{number} WHERE at > '{date} {time}' LIMIT {number};",
    "Der Zug um {time} hat {number} Wagen; das kostet {price} Euro für {thousands} Fahrgäste.",
    "第{number}章, {year}年的报告有{number}页。",
    "The password policy asks for {number} characters; tokens expire after {number} hours.",
    "coordinates {float}, -{float}; checksum {hex}; step {number} of {number}",
)
NOUNS = ("report", "pump", "release", "kernel", "dataset", "engine", "bridge", "garden", "parser", "session")
VERBS = ("merged", "measured", "shipped", "reviewed", "counted", "restarted", "tested", "planned")
NAMES = ("total", "items", "weights", "render", "user_count", "maxTokens", "offset", "kPageSize", "self.rows")


def _words(source: random.Random) -> dict[str, str]:
    """What stands in the places of a sentence: names and numbers of everything but people's data."""
    number = source.randint
    return {
        "noun": source.choice(NOUNS),
        "verb": source.choice(VERBS),
        "name": source.choice(NAMES),
        "number": str(number(1, 999)),
        "thousands": f"{number(1, 999)},{number(0, 999):03}",
        "price": f"{number(1, 9999)}.{number(0, 99):02}",
        "float": f"{source.random() * 100:.{number(1, 16)}f}",
        "big": str(number(10**4, 10**18)),
        "year": str(number(1900, 2100)),
        "date": f"{number(1990, 2030)}-{number(1, 12):02}-{number(1, 28):02}",
        "time": f"{number(0, 23):02}:{number(0, 59):02}",
        "order": f"{number(1000, 9999)}-{number(1000, 9999)}",
        "code": f"{source.choice(('INV', 'TCK', 'PO'))}-{number(2020, 2030)}-{number(0, 999999):06}",
        "version": ".".join(str(number(0, 30)) for _ in range(number(2, 3))),
        "section": f"{number(1, 12)}.{number(1, 40)}.{number(1, 9)}",
        "hex": f"{number(0, 2**160):040x}",
        "uuid": str(uuid.UUID(int=number(0, 2**128 - 1))),
        "stamp": str(number(1_600_000_000, 1_900_000_000) * source.choice((1, 1000))),
        "isbn": f"978-3-{number(10, 99)}-{number(100000, 999999)}-{number(0, 9)}",
        "part": f"{number(100, 999)}-{number(100, 999)}-{number(10, 99)}",
    }


def ordinary_text(seed: int, sentences: int = 40) -> str:
    """Prose, code, logs, tables and numbers, in which nothing is anyone's data."""
    source = random.Random(seed)
    return "\n".join(source.choice(SENTENCES).format(**_words(source)) for _ in range(sentences))
