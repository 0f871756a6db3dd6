"""What was found to be better is proposed: it stands in the configuration, ready for a rollout, or the result
says why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from airboss.domain.errors import AirbossError, WrongCall
from airboss.domain.release import Release
from airboss.store.ledger_trouble import LedgerTrouble
from airboss.tuning.finetune_plan import FinetuneResult
from airboss.tuning.plan import TuneResult

NAMES_MAX: Final = 100

Propose = Callable[[str, Release], object]
"""Writes a release into the configuration under a name. Raises WrongCall where the name is another's."""

Result = TypeVar("Result", TuneResult, FinetuneResult)


def proposed(result: Result, propose: Propose) -> Result:
    """The result with what became of its release, if that is better. Raises LedgerTrouble."""
    release = result.release
    if not result.better or release is None:
        return result
    try:
        name = _put(propose, release)
    except LedgerTrouble:
        raise
    except AirbossError as error:
        return msgspec.structs.replace(result, unproposed=str(error))
    return msgspec.structs.replace(result, release=msgspec.structs.replace(release, name=name), proposed=name)


def _put(propose: Propose, release: Release) -> str:
    """Propose a release under its name, or that name with a number where it is another's; returns the name.
    Raises WrongCall, ConfigError."""
    for number in range(1, NAMES_MAX):
        name = release.name if number == 1 else f"{release.name}-{number}"
        try:
            propose(name, release)
        except WrongCall:
            if number + 1 == NAMES_MAX:
                raise
        else:
            return name
    raise AssertionError("the last name returns or raises")
