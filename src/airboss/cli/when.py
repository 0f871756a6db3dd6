"""Times as people write them: `15m`, `2h`, `7d`, or ISO 8601."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta, tzinfo

from airboss.domain.errors import WrongCall

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_duration(text: str, *, option: str) -> float:
    """A length of time in seconds. Raises WrongCall, naming `option`, for anything else."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise WrongCall(f"{option} {text!r} is no length of time; write it as in 30s, 15m, 2h or 7d.")
    return float(match[1]) * _SECONDS[match[2].lower()]


def parse_until(text: str, *, now: datetime, option: str) -> datetime:
    """A moment to come, aware, in UTC: a duration counts from `now`, else as `parse_when`. Raises WrongCall,
    naming `option`."""
    match = _DURATION.fullmatch(text.strip())
    try:
        if match is not None:
            return now + timedelta(seconds=float(match[1]) * _SECONDS[match[2].lower()])
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise WrongCall(
            _lacks_day(text, option, now=now, zone=None, ahead=True)
            or f"{option} {text!r} is no time. Write how long from now, as in 12h or 30d, or a time, as in"
            " 2026-12-31 or 2026-12-31T23:59:00Z."
        ) from None


def parse_when(text: str, *, now: datetime, option: str, zone: tzinfo | None = None) -> datetime:
    """A moment, aware, in UTC.

    A duration counts back from `now`; a time without a zone is in `zone`, this machine's if None. Raises
    WrongCall, naming `option`, for anything else.
    """
    match = _DURATION.fullmatch(text.strip())
    try:
        if match is not None:
            return now - timedelta(seconds=float(match[1]) * _SECONDS[match[2].lower()])
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise WrongCall(
            _lacks_day(text, option, now=now, zone=zone, ahead=False)
            or f"{option} {text!r} is no time. Write how long ago, as in 15m, 2h or 7d, or a time, as in"
            " 2026-11-23T14:30 or 2026-11-23T14:30:00Z."
        ) from None


def _lacks_day(text: str, option: str, *, now: datetime, zone: tzinfo | None, ahead: bool) -> str | None:
    """What to say of a time of a day alone: when that is next, or was last. None where it is none."""
    said = text.strip()
    said = f"0{said}" if said[1:2] == ":" else said
    try:
        clock = time.fromisoformat(said)
    except ValueError:
        return None
    if ":" not in said:
        return None
    here = now.astimezone(clock.tzinfo or zone)
    then = datetime.combine(here.date(), clock, clock.tzinfo or here.tzinfo)
    if (then > here) is not ahead:
        then += timedelta(days=1 if ahead else -1)
    return f"{option} {text!r} needs its day, as in {then:%Y-%m-%d}T{said}."
