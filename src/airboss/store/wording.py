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


TIMED_OUT: Final = frozenset({"timeout_total", "timeout_first_token", "timeout_idle"})
"""Errors that say that an answer was slow, so that its time counts as one; not that nobody was reached."""

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
    last_status: int | None = None,
) -> str:
    """Of a place that is out, as `BreakerStatus` tells: where, why, who is asked instead, what to do."""
    there = f"At {url} with {key}" if key else f"At {url}"
    fails = "it fails" if limited is None else "it refuses every call"
    fails += f" with {failure_words(last_failure, last_status)}" if last_failure else ""
    if no_answer(last_failure, last_status):
        fails = f"what it sends with status {last_status} is no answer"
    step = out_step(provider=provider, last_failure=last_failure, last_status=last_status, limited=limited)
    whose = out_whose(deployments, instead, stranded)
    return " ".join(filter(None, [f"{there} {fails}.", whose, step]))


def out_whose(deployments: Sequence[str], instead: str | None, stranded: Sequence[str]) -> str:
    """Whose calls meet a place that is out, and who is asked instead; empty if nobody's do."""
    if not deployments:
        return ""
    alone = stranded or deployments
    whose = f"Calls of {listed(deployments if instead else alone)} "
    whose += f"go to {instead} instead, at its price." if instead else "have nobody else to go to."
    covered = [each for each in deployments if each not in alone]
    return whose + (f" Those of {listed(covered)} go elsewhere." if covered and not instead else "")


def out_step(*, provider: str, last_failure: str | None, last_status: int | None, limited: str | None) -> str:
    """What to do about a place that is out."""
    if limited == "out_of_quota":
        step = f"Add credit or raise the quota at provider {provider}: calls then go to it again."
    elif limited is not None:
        step = f"Ask provider {provider} for a higher limit, or give it `targets` with other keys."
    elif last_failure == "upstream_auth":
        step = f"Check the key of provider {provider}."
    elif no_answer(last_failure, last_status):
        step = f"Provider {provider} is up: a record of such a call says how what came begins. "
        step += "Its `base_url` may lead to a web page or to a proxy."
    elif last_failure in TIMED_OUT:
        step = f"See whether provider {provider} is overloaded, or give its calls a longer `timeout`."
    elif last_status is not None and last_status >= 500:
        step = f"Provider {provider} can be reached and fails by itself: see its status page, or its log."
    else:
        step = f"See whether provider {provider} is up and can be reached from here."
    return step


def failure_words(error: str, status: int | None) -> str:
    """An attempt's failure, with the status that came, if one did: `upstream_error (500)`."""
    return f"{error} ({status})" if status else error


def no_answer(error: str | None, status: int | None) -> bool:
    """Whether what came with a good status could not be read as an answer."""
    return error == "upstream_error" and status is not None and 200 <= status < 300
