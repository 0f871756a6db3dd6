"""What callers are told who name what is not here: a model, or a route that others have. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Final

from airboss.domain.errors import NotFound
from airboss.providers.cut import NAME_CHARS_MAX

KNOWN_ELSEWHERE: Final = (
    (
        re.compile(r"/(health|livez|ready|status|ping)\b", re.IGNORECASE),
        "'/healthz' says whether it lives, '/readyz' whether it can serve",
    ),
    (
        re.compile(r"/(key|user|team)/"),
        "'/v1/key' tells what a key may call and has left; keys are the console's",
    ),
    (
        re.compile(r"/model(_group)?(/|$)"),
        "'/v1/models' lists what the key may call, with '?details=true' prices and contexts, too",
    ),
    (
        re.compile(r"^/(api/public/ingestion|api/2\.0/mlflow/|ajax-api/2\.0/mlflow/)"),
        "traces are taken by OpenTelemetry, at '/v1/traces'",
    ),
    (
        re.compile(r"^/(ui|login|dashboard|docs|openapi.json|api(/.*)?)?/?$"),
        "programs call models here, under /v1; `airboss status` prints where the console is",
    ),
)
"""What other gateways have under names of theirs, and where it is here."""


def known_elsewhere(path: str) -> str:
    """What to say of a path that means something at other gateways; "" of any other."""
    return next((said for pattern, said in KNOWN_ELSEWHERE if pattern.search(path)), "")


def unknown_model(name: str, known: Iterable[str]) -> NotFound:
    """The error for a model that does not exist or that the key may not use: the two look alike."""
    names = sorted(set(known))
    # A name may be as long as a body, and comparing takes more than its bytes.
    near = difflib.get_close_matches(name[:NAME_CHARS_MAX], names, n=3, cutoff=0.5)
    hint = f"nearest: {_listed(near)}" if near else _none_is_near(names)
    shown = name if len(name) <= 100 else f"{name[:100]}…"
    return NotFound(
        f"model {shown!r} does not exist here or this key may not use it; {hint}. GET /v1/models lists all; "
        "more are served once they stand in `models` of a provider or `aliases` of a deployment",
        code="model_not_found",
        param="model",
    )


def _none_is_near(names: list[str]) -> str:
    return f"it may use {_listed(names[:3])}{', …' if len(names) > 3 else ''}" if names else "it may use none"


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names))
