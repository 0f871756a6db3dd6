"""Which tags are in the sums by the day and tags, whichever store keeps them.

A tag with very many values, such as a request's id, would make sums as many as records: where records have
more than OBJECTS_MAX different objects of tags, it is left out if it has more than VALUES_MAX, and so are
those with the most values until no more objects are left. Where there would still be more sums than ROWS_MAX,
or more tags than NAMES_MAX, there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

VALUES_MAX: Final = 1_000
NAMES_MAX: Final = 64
OBJECTS_MAX: Final = 4_096
"""Different objects of tags in a stretch of records, or in a day's."""
ROWS_MAX: Final = 65_536
TABLE: Final = "tag_sums"
APART: Final = (
    "deployment", "release", "arm", "model", "provider", '"key"', "operation", "status", "error_type",
    "finish_reason", "tags",
)  # fmt: skip
"""Columns of records that sums are apart by."""


def left_out(
    objects: Callable[[Sequence[str]], int], values: Callable[[], Sequence[Sequence[Any]]]
) -> list[str] | None:
    """The tags that have too many values to be in sums; None where there are too many tags. `objects` counts
    different objects of tags without some tags, `values` tells how many values each tag has, about, the
    fewest first."""
    if objects([]) <= OBJECTS_MAX:
        return []
    counted = values()
    if len(counted) > NAMES_MAX:
        return None
    untold = [name for name, count in counted if count > VALUES_MAX]
    if objects(untold) <= OBJECTS_MAX:
        return untold
    told = 1  # at most so many objects have the tags with the fewest values
    for name, count in counted:
        told *= count + 1
        if told > OBJECTS_MAX and name not in untold:
            untold.append(name)
    return untold
