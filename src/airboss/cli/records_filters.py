"""What chooses among records, as verbs take it and the admin API is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from airboss.cli.when import parse_when
from airboss.domain.errors import WrongCall

Query = dict[str, str]
"""Filters by their name in the admin API, which is the flag's name."""

DeploymentOption = Annotated[str | None, typer.Option(help="Only calls to this deployment.")]
StatusOption = Annotated[str | None, typer.Option(help="ok, error, cancelled or refused.")]
SinceOption = Annotated[str | None, typer.Option(help="From this time on: 15m, 2h, 7d or ISO 8601.")]
UntilOption = Annotated[str | None, typer.Option(help="Before this time, written as for --since.")]
ModelOption = Annotated[str | None, typer.Option(help="Only calls answered by this model.")]
UserOption = Annotated[str | None, typer.Option(help="Only calls of this user.")]
KeyOption = Annotated[str | None, typer.Option(help="Only calls by the key of this name.")]
TeamOption = Annotated[str | None, typer.Option(help="Only calls by keys that are in this team now.")]
SessionOption = Annotated[str | None, typer.Option(help="Only calls of this session.")]
TagOption = Annotated[str | None, typer.Option(help="Only calls with this tag: NAME=VALUE.")]
ErrorTypeOption = Annotated[str | None, typer.Option(help="Only calls that failed so: timeout, …")]
ScoreOption = Annotated[
    str | None, typer.Option(help="Only calls with such a score: 'helpfulness<0.5', 'tone=rude'.")
]
ReleaseOption = Annotated[
    str | None, typer.Option(help="Only calls answered by this release: its digest, or the first 8 digits.")
]
PolicyOption = Annotated[
    str | None, typer.Option(help="Only calls in which a policy found this kind: email, card, …")
]
SlowerOption = Annotated[
    float | None, typer.Option("--slower-ms", help="Only calls that took longer than so many milliseconds.")
]
ArmOption = Annotated[str | None, typer.Option(help="Such as stable, canary, always, never or preview.")]


def in_ms(asked: float | None) -> str | None:
    """Milliseconds as the admin API is asked for them: with all their digits, which `:g` would cut to six."""
    return None if asked is None else f"{asked:.15g}"


def filters(*, whole_days: bool = False, **given: str | None) -> Query:
    """The filters given, times as ISO in UTC. Those without a zone are this machine's; with `whole_days`,
    which are those of UTC, they are UTC's. Raises WrongCall for a status or a time that is none, and for an
    empty text: of a variable that is not set, say, everybody's calls would be shown, or leave in a file."""
    status = given["status"]
    if status is not None and status not in ("ok", "error", "cancelled", "refused"):
        raise WrongCall(f"--status {status!r} is none; it is ok, error, cancelled or refused.")
    query = {name: value for name, value in given.items() if value is not None}
    for name, value in query.items():
        if not value:
            option = f"--{name.replace('_', '-')}"
            raise WrongCall(f"{option} is empty; leave it out where all are meant.")
    now, zone = datetime.now(UTC), UTC if whole_days else None
    for name in ("since", "until"):
        if name in query:
            query[name] = parse_when(query[name], now=now, option=f"--{name}", zone=zone).isoformat()
    return query
