"""What an evaluation would cost, as a table."""

from __future__ import annotations

from typing import Any, Final

from airboss.cli.output import console, escape, table_of, usd
from airboss.store.wording import many

BY: Final = {
    "release": "its answers so far",
    "deployment": "its deployment's answers",
    "guess": "a guess",
}
"""What output is reckoned by, in words."""


def show_estimate(found: dict[str, Any]) -> None:
    """An estimate: who would be asked how much, and what that costs."""
    out = console()
    times = f", {found['repeats']} times each" if found["repeats"] > 1 else ""
    out.print(f"{escape(found['dataset'])} {found['part']}: {many(found['items'], 'item')}{times}")
    table = table_of("asked", "name", "deployment", "calls", "kept", "input", "output", "output by", "USD")
    for each in found["lines"]:
        table.add_row(
            each["who"].upper() if each["who"] != "judge" else "judge",
            escape(each["name"]),
            escape(each["deployment"]),
            *(f"{each[name]:,}" for name in ("calls", "kept", "input_tokens", "output_tokens")),
            BY[each["by"]],
            "unknown" if each["usd"] is None else usd(each["usd"]),
        )
    out.print(table)
    unknown = f", and {many(found['unpriced'], 'call')} of a model without a known price"
    out.print(
        f"{many(found['calls'], 'call')}, about {usd(found['usd'])}{unknown if found['unpriced'] else ''}"
    )
    if any(each.get("local") and each["calls"] for each in found["lines"]):
        out.print("of a local model the input is without its chat template: each call reads some tokens more")
    if found["read"] != found["part"]:
        out.print(f"the holdout is locked: items of {found['read']} stand for its own")
    elif found["looked_at"] < found["items"]:
        out.print(f"{found['looked_at']:,} of the items stand for all")
