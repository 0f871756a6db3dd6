"""What a new configuration would change, path by path. Pure; a literal secret is never repeated."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Literal

import msgspec

from airboss.config import Config, parse_config, warnings_of
from airboss.config.rules import is_reference
from airboss.config.spreads import as_written
from airboss.domain.errors import ConfigError, InternalError, InvalidRequest
from airboss.evaluations.online import check_scorers


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One setting. `path` is as in the file, `deployments.support.model`; None is a value that is not set."""

    path: str
    kind: Literal["added", "removed", "changed"]
    before: Any = None
    after: Any = None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider with `models = "*"` lists, of that what the configuration in force has not, and what
    that has and is not listed any more."""

    provider: str
    models: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """All that changes, what may be said but better would not, and what providers list."""

    changes: tuple[Change, ...]
    warnings: tuple[str, ...]
    found: tuple[Found, ...] = ()


def difference(applied: str | None, wanted: str, *, source: str) -> Difference:
    """Compare two configurations by meaning: comments and order are no change.

    Raises InvalidRequest where `wanted` is wrong, in the words of the ConfigError.
    """
    try:
        old = parse_config(applied, source="the configuration in force") if applied is not None else Config()
    except ConfigError as error:
        raise InternalError(f"the configuration in force cannot be read: {error}") from None
    try:
        new = parse_config(wanted, source=source)
        check_scorers(new, source=source)
        _check_runs(new, old, text=wanted, source=source)
    except ConfigError as error:
        raise InvalidRequest(str(error), code="invalid_config", param="config") from None
    if new == Config():
        # Such as a file that an editor or a script was cut off in: it must not end all that is served.
        nothing = f"{source} says nothing, and would take away all that is served; is it the right file?"
        raise InvalidRequest(nothing, code="invalid_config", param="config")
    told = (msgspec.to_builtins(as_written(each), builtin_types=(Decimal,)) for each in (old, new))
    before, after = (dict(flat(each)) for each in told)
    # Of what comes or goes whole nobody wants to read every default.
    said = {path for text in (applied or "", wanted) for path, _ in flat(tomllib.loads(text))}
    differing = [path for path in sorted({*before, *after}) if before.get(path) != after.get(path)]
    shown = [path for path in differing if path in said or (path in before and path in after)]
    changes = tuple(
        Change(
            path=path,
            kind="added" if path not in before else "removed" if path not in after else "changed",
            before=before.get(path),
            after=after.get(path),
        )
        for path in shown or differing
    )
    return Difference(changes=changes, warnings=warnings_of(new))


def _check_runs(new: Config, old: Config, *, text: str, source: str) -> None:
    """Look at what alarms make so often as when it is applied, but for files. Raises ConfigError."""
    if any(alarm.probe is not None for alarm in new.alarms.values()):
        from airboss.evaluations.bias_orders import check_probes  # noqa: PLC0415 - statistics, where needed

        check_probes(new, old, text=text, source=source)
    if any(alarm.eval is not None for alarm in new.alarms.values()):
        from airboss.evaluations.scheduled import check_evals  # noqa: PLC0415 - scorers, where needed

        check_evals(new, old, text=text, source=source)


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested tables by their path; what is not set is left out. Lists are leaves."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from flat(inner, f"{path}.{name}" if path else str(name))
    elif value is not None:
        secret = path.endswith(".api_key") and not is_reference(str(value))
        yield path, "[REDACTED]" if secret else value
