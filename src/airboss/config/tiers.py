"""Tiers of service, as providers' answers name them. Pure."""

from __future__ import annotations

import re
from typing import Final

USUAL: Final = frozenset(
    {"auto", "default", "standard", "on_demand", "unspecified", "traffic_type_unspecified"}
)
"""What they call the one that a model's price is for."""
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")


def tier_named(*said: object) -> str:
    """The tier that an answer names, in the first of these places that does; "" for the usual one."""
    names = (each for each in said if isinstance(each, str) and _NAME.fullmatch(each))
    return next((each for each in names if each not in USUAL), "")
