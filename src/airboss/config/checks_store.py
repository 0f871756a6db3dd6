"""The rules of `[store]`: where things are kept and counted. A URL's value is not repeated in an error: it
may hold a password."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

from airboss.config.clickhouse import read_url
from airboss.config.types import StoreConfig
from airboss.config.wording import Path, Wrong, dotted
from airboss.domain.errors import ConfigError

_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/.+")


def check_stores(store: StoreConfig, wrong: Wrong) -> None:
    """Every place of `[store]` is one that can be spoken to."""
    if store.counters != "embedded":
        offered = '"embedded", "valkey://HOST:PORT/0"'
        _check(
            ("store", "counters"), store.counters, {"valkey", "valkeys", "redis", "rediss"}, offered, wrong
        )
    if store.ledger is not None and not store.ledger.startswith("sqlite:////"):
        offered = '"postgresql://USER@HOST/DATABASE", "sqlite:////PATH"'
        _check(("store", "ledger"), store.ledger, {"postgresql", "postgres"}, offered, wrong)
    if store.records != "embedded" and not _REFERENCE.fullmatch(store.records):
        offered = '"embedded", "clickhouse://HOST:8123/DATABASE"'
        try:
            password = read_url(store.records).password
        except ValueError as error:
            raise _unknown(("store", "records"), f"{offered}: {error}", wrong) from None
        _refuse_password(("store", "records"), password, wrong)


def _check(path: Path, url: str, schemes: set[str], offered: str, wrong: Wrong) -> None:
    if _REFERENCE.fullmatch(url):
        return
    try:
        parts = urlsplit(url)
        # PostgreSQL may be reached by a socket: `postgresql:///DATABASE?host=/run/postgresql`.
        known = parts.scheme in schemes and (parts.hostname or "host=/" in parts.query) and parts.port != 0
        password = parts.password or {"password", "sslpassword"} & parse_qs(parts.query).keys()
    except ValueError:
        known = False
    if not known:
        raise _unknown(path, offered, wrong)
    _refuse_password(path, password, wrong)


def _unknown(path: Path, offered: str, wrong: Wrong) -> ConfigError:
    return wrong(path, f'{dotted(path)} cannot be used; expected "env:NAME", "file:/PATH", {offered}')


def _refuse_password(path: Path, password: object, wrong: Wrong) -> None:
    if password:
        raise wrong(
            path, f'{dotted(path)} holds a password; put the URL into a variable and write "env:NAME"'
        )
