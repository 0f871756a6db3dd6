"""Governance on pages: what policies do, what was done and by whom, and who was forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from urllib.parse import quote

import msgspec

from airboss.config import Config, parse_config
from airboss.config.types import CustomConfig
from airboss.console import api_audit, api_erase, api_report
from airboss.console.desk import Desk
from airboss.console.named import is_digest
from airboss.console.page import Page, View, asking, current_plan
from airboss.console.render import Visit
from airboss.domain.ports import ApiKey
from airboss.domain.release import CustomKind, PiiAction
from airboss.governance.audit_verify import Verdict
from airboss.governance.audit_words import fields
from airboss.governance.checkpoint import is_signed
from airboss.governance.keys import own_policy
from airboss.governance.policies import ALL, KINDS
from airboss.store.audit_rows import HeadRow
from airboss.store.wording import many

ENTRIES = 50
FACTS = 4
"""Of an entry's details, that stand in its line."""
ERASURES = 100
WORDS_SHOWN = 5
CHECKED_MAX = 2_000
"""A log of up to so many leaves is recomputed for every look at it; a longer one when somebody asks."""

ACTION_SAID: dict[PiiAction, str] = {
    "observe": "counted on the record, and passed on as it is",
    "tokenize": "a token stands in its place, the same for the same value",
    "mask": "its kind stands in its place",
    "block": "the call is refused, or its answer cut",
}


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy does about some kinds, in words; those that it defines itself with what they are."""

    action: PiiAction
    said: str
    kinds: tuple[tuple[str, str | None], ...]


class PolicyShown(msgspec.Struct, frozen=True, kw_only=True):
    """A policy with what it does, what it does not look for of what is built in, and who is bound by it."""

    name: str
    does: tuple[Done, ...]
    others: tuple[str, ...]
    releases: tuple[str, ...]
    deployments: tuple[str, ...]
    keys: tuple[str, ...]
    teams: tuple[str, ...]


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """The head of the log and how it stands. `signed`: the head's signature is over just this, by the key
    that the log begins with. `verdict` None: the log is long, and nobody asked for the whole check; `trouble`
    is what is known without it."""

    head: HeadRow
    public_key: str
    signed: bool
    verdict: Verdict | None
    trouble: str | None


def policies(desk: Desk, seen: Visit) -> View:
    """The policies of the configuration in force. What must not pass is words, too: viewers see how many."""
    config = parse_config(desk.ledger.config() or "", source="the configuration in force")
    words, keys = seen.caller.may("reader"), desk.ledger.all_keys()
    return View(
        "policies.html",
        policies=[policy(config, name, words=words, keys=keys) for name in sorted(config.policies)],
    )


def policy(config: Config, name: str, *, words: bool, keys: Iterable[ApiKey]) -> PolicyShown:
    """One policy, with its kinds in the order of all, and who names it."""
    said = config.policies[name]
    kinds = () if said.pii is None else said.pii.kinds or KINDS
    does: dict[PiiAction, list[tuple[str, str | None]]] = {}
    if said.pii is not None:
        does[said.pii.action] = [(each, None) for each in ALL if each in kinds]
    for kind, own in sorted(said.custom.items()):
        does.setdefault(own.action, []).append((kind, defined(own, words=words)))
    return PolicyShown(
        name=name,
        does=tuple(
            Done(action=action, said=ACTION_SAID[action], kinds=tuple(each)) for action, each in does.items()
        ),
        others=tuple(each for each in ALL if each not in kinds),
        releases=tuple(sorted(each for each, made in config.releases.items() if made.policy == name)),
        deployments=tuple(sorted(each for each, made in config.deployments.items() if made.policy == name)),
        keys=tuple(key.name for key in keys if key.revoked_at is None and own_policy(key, config) == name),
        teams=tuple(sorted(each for each, made in config.teams.items() if made.policy == name)),
    )


def defined(kind: CustomConfig | CustomKind, *, words: bool = True) -> str:
    """What a kind of a policy's own is, shortly; without `words` it tells none."""
    if kind.pattern is not None:
        return f"what matches {kind.pattern if words else 'a pattern'}"
    counted = many(len(kind.words), "word")
    if not words:
        return counted
    return f"{counted}: {', '.join(kind.words[:WORDS_SHOWN])}" + (
        ", …" if len(kind.words) > WORDS_SHOWN else ""
    )


def audit(desk: Desk, seen: Visit) -> View:
    """What was done, the newest first, under the head that vouches for it."""
    asked = {name: value for name, value in seen.params.items() if name != "check"}
    call = asking(seen, **asked, limit=str(ENTRIES))
    found = api_audit.audit_entries(desk, call)
    return View(
        "audit.html",
        entries=[(each, *folded(fields(each.detail))) for each in found.entries],
        led=leads(desk),
        next=str(found.next) if found.next is not None else None,
        action=seen.params.get("action", ""),
        paged="before" in seen.params,
        sealed=sealed(desk, whole="check" in seen.params),
    )


def leads(desk: Desk) -> Callable[[str, str], str | None]:
    """Where a leaf leads by its action and its subject: to a rollout, a key or a deployment that is there."""
    keys = {each.name for each in desk.ledger.all_keys()}
    plan = current_plan(desk)
    served = {each.name for each in plan.deployments} if plan is not None else set()

    def led(action: str, subject: str) -> str | None:
        kind, _, name = subject.rpartition(" ")
        if kind == "rollout":
            return f"/rollouts/{quote(name, safe='')}"
        if action.startswith("keys.") and subject in keys:
            return f"/governance/keys/{quote(subject, safe='')}"
        if action.startswith("rollout.") and subject in served:
            return f"/deployments/{quote(subject, safe='')}"
        return None

    return led


def folded(detail: Sequence[tuple[str, str]]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What stands in a line of the list, and what one opens: a plan tells of each deployment, by digests."""
    if len(detail) <= FACTS:
        return list(detail), []
    plain = [each for each in detail if not is_digest(each[1]) and each[0] != "…"][:FACTS]
    return plain, [each for each in detail if each not in plain]


def sealed(desk: Desk, *, whole: bool) -> Sealed | None:
    """How the log's head stands; None where nothing was ever done."""
    with desk.audit.whole() as data:
        head, first = data.head, next(data.leaves(), None)
        if head is None or first is None:
            return None
        if not isinstance(head.size, int):  # somebody has written there what no head has
            head = msgspec.structs.replace(head, size=0)
        public_key = api_audit.key_of(data)
        small = head.size <= CHECKED_MAX
        # Prompts are in plans: many are long.
        checked = api_audit.checked(desk, data, plans=whole) if whole or small else None
    return Sealed(
        head=head,
        public_key=public_key,
        signed=is_signed(api_audit.head_of(head, public_key)),
        verdict=checked,
        trouble=desk.status().audit_trouble,
    )


def erasures(desk: Desk, seen: Visit) -> View:
    """People who were forgotten or are to be, without their names."""
    call = asking(seen, limit=str(ERASURES))
    found = api_erase.list_erasures(desk, call)
    return View("erasures.html", erasures=found.erasures)


def report(desk: Desk, seen: Visit) -> View:
    """What there is evidence of, clause by clause."""
    call = asking(seen, **seen.params)
    found = api_report.show_report(desk, call)
    sources = groupby(found.rows, lambda row: row.source)
    return View(
        "report.html",
        report=found,
        sources=[(source, list(rows)) for source, rows in sources],
    )


PAGES: tuple[Page, ...] = (
    Page(
        path="/governance",
        draw=policies,
        role="viewer",
        room="governance",
        tab="Policies",
        docs="how-to#keep-personal-data-out-of-prompts-and-records",
    ),
    Page(
        path="/governance/audit",
        draw=audit,
        params=("action", "before", "check"),
        role="viewer",
        room="governance",
        tab="Audit log",
        docs="how-to#prove-what-was-done",
    ),
    Page(
        path="/governance/erasures",
        draw=erasures,
        role="viewer",
        room="governance",
        tab="Erasures",
        docs="how-to#forget-a-person",
    ),
    Page(
        path="/governance/report",
        draw=report,
        params=("range", "since", "until"),
        role="viewer",
        room="governance",
        tab="Report",
        docs="how-to#show-an-auditor-what-there-is",
    ),
)
"""The pages of this module."""
