"""Releases and teams in a question, as people name them: a release by the first digits of its digest."""

from __future__ import annotations

from collections.abc import Mapping

from airboss.config.wording import nearest
from airboss.console.desk import Desk
from airboss.console.query import KEYS
from airboss.domain.errors import InvalidRequest
from airboss.evaluations.targets import DIGITS_MIN
from airboss.store.alert_rules import NOBODY

DIGEST_LENGTH = 64
WORDS = frozenset({"previous", "week"})
"""What else `compare` may say."""


def whole(desk: Desk, params: Mapping[str, str]) -> dict[str, str]:
    """The parameters with every release's digest written whole, and in small letters, and the keys of a team.

    Raises InvalidRequest for what is no digest, nor the first digits of just one that is kept, and for no
    team: a release or team that there is not must not look like one that answered or asked nothing.
    """
    found = dict(params)
    if team := params.get("team", "").strip():
        found[KEYS] = _keys_of(desk, team)
    for name in ("release", "compare"):
        text = params.get(name, "").strip().lower()
        if text:
            known = is_digest(text) or (name == "compare" and text in WORDS)
            found[name] = text if known else _only(desk, text, name)
    return found


def _keys_of(desk: Desk, team: str) -> str:
    """The names of its keys; one without keys has what is no key's name."""
    teams = desk.in_force().teams
    if team not in teams:
        raise InvalidRequest(f"there is no team {team[:80]!r}; {nearest(team, teams)}", param="team")
    return ",".join(key.name for key in desk.ledger.all_keys() if key.team == team) or NOBODY


def is_digest(text: str) -> bool:
    """Whether it is a whole digest; records may come from elsewhere, so that it need not be one kept here."""
    return len(text) == DIGEST_LENGTH and all(each in "0123456789abcdef" for each in text)


def _only(desk: Desk, text: str, name: str) -> str:
    kept = {each.release.digest for each in desk.ledger.releases()} if len(text) >= DIGITS_MIN else set()
    matching = sorted(digest for digest in kept if digest.startswith(text))
    if len(matching) == 1:
        return matching[0]
    others = "previous, week, or " if name == "compare" else ""
    several = f"; {len(matching)} begin so" if matching else ""
    raise InvalidRequest(
        f"{name}={text[:80]!r} is not {others}the digest of a release, nor its first {DIGITS_MIN} digits "
        f"or more{several}; `airboss release list` shows them",
        param=name,
    )
