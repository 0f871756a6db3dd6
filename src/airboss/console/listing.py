"""Configurations that serve all that a provider lists: it is asked before anything is compared or applied."""

from __future__ import annotations

from collections.abc import Mapping

from airboss.config import ProviderConfig, parse_config
from airboss.config.found import completed, same_place
from airboss.config.listed import EVERY, names_of
from airboss.console.callers import Caller
from airboss.console.changes import Found
from airboss.console.desk import Desk
from airboss.console.waits import must_wait
from airboss.domain.errors import ConfigError, InvalidRequest


def listing(desk: Desk, caller: Caller, text: str, *, source: str) -> str:
    """The text with what providers list that it says nothing of yet. Raises InvalidRequest, in the words of
    the ConfigError.

    Asking takes the provider's key along. So whoever may not have another table of providers applied just now
    has nobody asked but who is in force: the key would go to whom they like.
    """

    def ask(wanted: Mapping[str, ProviderConfig]) -> Mapping[str, tuple[str, ...] | str]:
        if not caller.may("admin") or must_wait(desk, caller):
            there = desk.in_force().providers
            for name, table in wanted.items():
                if not same_place(table, there.get(name)):
                    raise InvalidRequest(
                        f'providers.{name} has models = "*", for which it is asked, with its key; only an '
                        "admin who waits for nobody has another one asked than is in force: list the names",
                        code="not_asked",
                        param="config",
                    )
        return desk.models_of(wanted)

    try:
        return completed(text, ask, source=source)
    except ConfigError as error:
        raise InvalidRequest(str(error), code="invalid_config", param="config") from None


def found_in(desk: Desk, text: str) -> tuple[Found, ...]:
    """What providers list, by a text that is right, beside the one in force."""
    before = desk.in_force().providers
    told = []
    for name, table in parse_config(text, source="a configuration").providers.items():
        if table.models == EVERY:
            now, was = set(names_of(table)), set(names_of(before[name])) if name in before else set[str]()
            told.append(
                Found(
                    provider=name,
                    models=names_of(table),
                    added=tuple(sorted(now - was)),
                    removed=tuple(sorted(was - now)),
                )
            )
    return tuple(told)
