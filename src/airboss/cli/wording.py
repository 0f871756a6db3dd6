"""Values that no option takes, in words that name them; and how many of a thing there are."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

SHOWN_CHARS = 80


class Verbs(TyperGroup):
    """All verbs. What is wrong with an option's value is told with the value, which typer leaves out."""

    def invoke(self, ctx: Any) -> Any:
        """As the base class."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = with_value(error)
            raise


def with_value(error: typer.BadParameter) -> str:
    """What is wrong, and the value that is."""
    found: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    if not found:
        return error.message
    seen = repr(str(found[0]["input"]))
    shown = seen if len(seen) <= SHOWN_CHARS else seen[:SHOWN_CHARS] + "…"
    return f"{error.message}; it is {shown}"


def many(count: int, what: str) -> str:
    """So many of it: `1 record`, `2 records`. `what` is the word for one; of several words the first one."""
    first, *rest = what.split(" ", 1)
    return " ".join([f"{count:,}", first if count == 1 else first + "s", *rest])
