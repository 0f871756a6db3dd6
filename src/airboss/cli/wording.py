"""Values that no option takes, in words that name them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperGroup

SHOWN_CHARS = 80

ELSEWHERE: Mapping[str, str] = {
    **dict.fromkeys(("run", "serve", "start"), "`airboss up` starts everything"),
    **dict.fromkeys(("down", "restart", "stop"), "Ctrl-C where `airboss up` runs, or SIGTERM, stops it"),
    **dict.fromkeys(("config", "deploy", "init"), "`airboss.toml` says what is served: `airboss apply FILE`"),
    **dict.fromkeys(("abort", "canary", "promote"), "`airboss rollout -h` lists what can be done with one"),
    **dict.fromkeys(
        ("revert", "rollback", "undo"),
        "`airboss rollout abort DEPLOYMENT` takes back what runs, `airboss rollout undo DEPLOYMENT` what was"
        " promoted",
    ),
    **dict.fromkeys(("deployments", "list", "models", "ps"), "`airboss status` shows what is served"),
    **dict.fromkeys(
        ("calls", "logs", "traces", "usage"), "`airboss records` shows calls, `--by` sums them up"
    ),
    **dict.fromkeys(("budget", "budgets", "key", "limits", "teams", "users"), "`airboss keys -h` lists it"),
    **dict.fromkeys(
        ("prompt", "prompts", "releases"), "`airboss release list` shows every version of a prompt"
    ),
    **dict.fromkeys(
        ("alarms", "alerts", "notify"), "`airboss monitor -h` lists what can be done with alarms"
    ),
    "help": "`airboss -h` lists all, `airboss COMMAND -h` tells of one",
}
"""Where what other programs have a command for is done here."""


class Verbs(TyperGroup):
    """All verbs. What is wrong with an option's value is told with the value, which typer leaves out."""

    def invoke(self, ctx: Any) -> Any:
        """As the base class."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = with_value(error)
            raise

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As the base class. Who comes from another program hears where it is done here."""
        try:
            return super().resolve_command(ctx, args)
        except typer.TyperException as error:
            if args[0] in ELSEWHERE:
                error.message = f"No such command {args[0]!r}: {ELSEWHERE[args[0]]}."
            raise


def with_value(error: typer.BadParameter) -> str:
    """What is wrong, the value that is, and what to do about a path that another user has."""
    if error.message.endswith("is not readable."):
        return f"{error.message.removesuffix('.')}: run airboss as the user whose it is."
    found: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    if not found:
        return error.message
    seen = repr(str(found[0]["input"]))
    shown = seen if len(seen) <= SHOWN_CHARS else seen[:SHOWN_CHARS] + "…"
    return f"{error.message}; it is {shown}"
