"""How many of a thing there are, how sure a number is, and what is out: for errors, pages and what verbs
print."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

PLURALS: Final[Mapping[str, str]] = {"leaf": "leaves", "entry": "entries"}
"""Of words that take more than an `s`."""

LISTED_MAX: Final = 20
"""Names that one message lists."""


def many(count: int, what: str) -> str:
    """So many of it: `1 record`, `2 records`. `what` is the word for one; of several words the first one."""
    first, *rest = what.split(" ", 1)
    return " ".join([f"{count:,}", first if count == 1 else PLURALS.get(first, f"{first}s"), *rest])


def listed(names: Sequence[str]) -> str:
    """Names in a message, the first so many of them, and how many others there are."""
    more = f" and {len(names) - LISTED_MAX:,} more" if len(names) > LISTED_MAX else ""
    return ", ".join(names[:LISTED_MAX]) + more


def level(alpha: float) -> str:
    """The confidence of an interval that errs with a chance of alpha, in percent: `95`, `98.33`. It has two
    digits of what is left to 100 at least, so that none reads as 100; 0 < alpha < 1."""
    decimals = max(2, 1 - math.floor(math.log10(100 * alpha)))
    return f"{100 * (1 - alpha):.{decimals}f}".rstrip("0").rstrip(".")


OUT_TITLES: Final[Mapping[str | None, str]] = {
    None: "has not answered",
    "out_of_quota": "has been out of quota",
    "rate_limited": "has been rate limited",
}
"""What a place that is out has been, by its `BreakerStatus.limited`."""


def out_words(
    *,
    provider: str,
    url: str,
    key: str | None,
    last_failure: str | None,
    limited: str | None,
    deployments: Sequence[str],
    instead: str | None,
    stranded: Sequence[str] = (),
) -> str:
    """Of a place that is out, as `BreakerStatus` tells: where, why, who is asked instead, what to do."""
    whose = ""
    if deployments:
        alone = stranded or deployments
        whose = f" Calls of {listed(deployments if instead else alone)} "
        whose += f"go to {instead} instead, at its price." if instead else "have nobody else to go to."
        covered = [each for each in deployments if each not in alone]
        whose += f" Those of {listed(covered)} go elsewhere." if covered and not instead else ""
    step = f"See whether provider {provider} is up and can be reached from here."
    if limited == "out_of_quota":
        step = f"Add credit or raise the quota at provider {provider}: calls then go to it again."
    elif limited is not None:
        step = f"Ask provider {provider} for a higher limit, or give it `targets` with other keys."
    elif last_failure == "upstream_auth":
        step = f"Check the key of provider {provider}."
    there = f"At {url} with {key}" if key else f"At {url}"
    fails = "it fails" if limited is None else "it refuses every call"
    return f"{there} {fails}{f' with {last_failure}' if last_failure else ''}.{whose} {step}"
