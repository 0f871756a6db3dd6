"""The rules of policies and of what names them."""

from __future__ import annotations

from typing import get_args

from airboss.config.rules import check_known
from airboss.config.types import Config
from airboss.config.wording import Path, Wrong, dotted, nearest, quoted
from airboss.domain.release import PiiKind


def check_policies(config: Config, wrong: Wrong) -> None:
    """Raise what `wrong` makes of the first rule that is broken."""
    for name, policy in config.policies.items():
        path: Path = ("policies", name, "pii", "kinds")
        kinds = policy.pii.kinds
        if kinds is not None and (not kinds or len(set(kinds)) < len(kinds)):
            raise wrong(
                path,
                f"{dotted(path)} needs one kind or more, each once; left out it means all that patterns find",
            )
        for kind in kinds or ():
            if kind not in get_args(PiiKind):
                known = nearest(kind, get_args(PiiKind))
                raise wrong(path, f"{dotted(path)}: no kind is called {quoted(kind)}; {known}")
    for table, entries in (("releases", config.releases), ("deployments", config.deployments)):
        for name, entry in entries.items():
            if entry.policy is not None:
                check_known((table, name, "policy"), entry.policy, config.policies, "policy", wrong)
