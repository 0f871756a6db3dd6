"""What the ledger keeps, compared with what the leaves of its audit log tell of it: an edit of a row beside
the log is found by the leaf that told of it last. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn

import msgspec

from airboss.governance.audit import PLAN, Leaf, kept_name
from airboss.store.audit_rows import LedgerRows, NameField

KEYS: Final = "keys."
"""How actions about keys begin."""

KEYS_KEPT: Final = "keys.kept"
"""The action of a leaf for a key that no leaf told of before, as it was found."""

LEDGER_BEGIN: Final = "ledger.begin"
"""The action of the leaf from which on no plan and no key is there, or another one, without a leaf that tells
of it."""

VERDICT: Final = "verdict"
JOBS: Final = frozenset({"eval.run", "finetune.run", "probe.run", "scoring.run", "tune.run"})
"""Actions that begin a job. A leaf has the digest of what it is to do (`JOB_DIGEST`); older ones have not."""
JOB_DIGEST: Final = "spec_sha256"

_PROPOSED: Final = "approvals.propose"
_ENDS: Final[Mapping[str, str]] = {
    "promote": "promoted",
    "abort": "aborted",
    "inconclusive": "inconclusive",
}
"""What a rollout is after the last of its verdicts, by its conclusion; after any other it goes on."""
_PROPOSED_BY: Final[Mapping[str, NameField]] = {"by": "actor", "subject": "subject"}
_DECIDED: Final[Mapping[str, str]] = {
    "approvals.approve": "approved",
    "approvals.reject": "rejected",
    "approvals.lapse": "lapsed",
}


class Tampered(Exception):
    """Something does not fit; `leaf` is where."""

    def __init__(self, leaf: int | None, problem: str) -> None:
        super().__init__(problem)
        self.leaf = leaf


def text_digest(text: object) -> str:
    """The sha256 of a text as it is kept, in hex; of anything else, that of how it is written."""
    return hashlib.sha256(str(text).encode("utf-8", "surrogatepass")).hexdigest()


def tombstone_digest(digest: str, at: str) -> str:
    """What a leaf says of who is forgotten, until when (ISO 8601, UTC): a digest of their keyed hash, which
    names nobody."""
    return text_digest(f"airboss tombstone\0{digest}\0{at}")


def account_digest(salt: object, by_id: object, hands: Any) -> str:
    """What a leaf says of the account by which somebody signed in, and of whose hands their key is in: nobody
    has the salt once what they asked for is no longer kept."""
    if not hands:  # as older ones were
        return text_digest(f"airboss account\0{salt}\0{by_id}")
    return text_digest(f"airboss account\0{msgspec.json.encode([salt, by_id, hands]).decode()}")


class Compared:
    """Takes the leaves in order, then looks at the rows. Where `plans` is False their texts are left out,
    which are long."""

    def __init__(self, rows: LedgerRows, *, plans: bool = True) -> None:
        self._rows = rows
        self._plans = plans
        self._keys: dict[str, tuple[int, str | None]] = {}
        self._unnamed: set[str] = set()
        self._begun = False
        self._published: dict[int, object] = {}
        self._served: dict[str, int] = {}
        self._stood: dict[str, list[object]] = {}
        self._stands: tuple[Leaf, Mapping[str, Any]] | None = None
        self._untold = False
        self._rollouts: dict[str, tuple[Leaf, str | None]] = {}
        self._datasets: dict[tuple[str, str | None], int] = {}
        self._jobs: dict[str, tuple[Leaf, str | None]] = {}
        self._verdicts: dict[int, tuple[int, str]] = {}
        self._proposed: dict[int, tuple[Leaf, Mapping[NameField, str]]] = {}
        self._decided: dict[int, tuple[Leaf, str | None]] = {}
        self._forgotten: dict[int, tuple[int, str | None]] = {}
        self._done: set[int] = set()

    def take(self, leaf: Leaf, names: Mapping[NameField, str]) -> None:
        """Note what a leaf tells; raises Tampered where its plan is another."""
        detail, actor = leaf.detail, names.get("actor")
        if leaf.action == LEDGER_BEGIN:
            self._begun = True
        elif leaf.action.startswith(KEYS):
            self._take_key(leaf, names.get("subject"))
        elif leaf.action == PLAN:
            self._take_plan(leaf)
        elif leaf.action == VERDICT and isinstance(detail.get("sha256"), str):
            self._verdicts[_number(detail, "verdict")] = (leaf.number, detail["sha256"])
        elif leaf.action == _PROPOSED:
            self._proposed[_number(detail, "proposal")] = (leaf, names)
        elif leaf.action in _DECIDED:
            self._decided[_number(detail, "proposal")] = (leaf, actor)
        elif leaf.action == "erase":
            self._forgotten[_number(detail, "erasure")] = (leaf.number, detail.get("tombstone"))
        elif leaf.action == "erase.done":
            self._done.add(_number(detail, "erasure"))
        else:
            self._take_work(leaf, names.get("subject"))

    def end(self) -> None:
        """Look at every row that leaves tell of. Raises Tampered."""
        self._check_keys()
        self._check_plans()
        self._check_releases()
        self._check_standings()
        self._check_rollouts(self._check_verdicts())
        self._check_datasets()
        self._check_jobs()
        self._check_proposals()
        self._check_erasures()

    def _take_key(self, leaf: Leaf, subject: str | None) -> None:
        said = leaf.detail.get("sha256")  # older logs have none
        if subject is not None:
            name = subject.removeprefix("key ")
            at, before = self._keys.get(name, (None, None))
            if before is not None and leaf.detail.get("was", before) != before:
                raise Tampered(
                    leaf.number,
                    f"key {name!r} was edited in the ledger, after leaf {at} and before leaf {leaf.number}, "
                    f"which found it other than that tells. {AGAIN.format(name=name)}",
                )
            self._keys[name] = (leaf.number, said)
        elif said is not None:
            self._unnamed.add(said)

    def _take_plan(self, leaf: Leaf) -> None:
        number = leaf.detail.get("plan")
        if not isinstance(number, int):
            return
        self._published[number] = leaf.detail.get("published_at")
        served = leaf.detail.get("served")
        said = served.items() if isinstance(served, dict) else ()
        told = {name: each for name, each in said if isinstance(each, dict)}
        self._untold |= len(told) != leaf.detail.get("deployments")
        self._stands = (leaf, told)
        for name, each in told.items():
            stood = self._stood.setdefault(name, [])
            if each.get("stable") not in stood[-1:]:
                stood.append(each.get("stable"))
            for digest in (each.get("stable"), each.get("canary")):
                if isinstance(digest, str):
                    self._served.setdefault(digest, leaf.number)
        if not self._plans:
            return
        kept = self._rows.plan(number)
        if kept is None:
            raise Tampered(leaf.number, f"plan {number}, which leaf {leaf.number} tells of, is gone")
        texts = {"sha256": ("", kept.content), "config_sha256": ("the configuration of ", kept.config)}
        for name, (what, text) in texts.items():
            digest = text_digest(text)
            if leaf.detail.get(name, digest) != digest:
                _edited(leaf.number, f"{what}plan {number}")

    def _take_work(self, leaf: Leaf, name: str | None) -> None:
        if leaf.action == "rollout.start":
            self._rollouts[str(leaf.detail.get("rollout"))] = (leaf, name)
        elif leaf.action in {"dataset.create", "dataset.add", "dataset.change"}:
            self._datasets[str(leaf.detail.get("digest")), name] = leaf.number
        elif leaf.action == "dataset.delete" and name is not None:  # it goes in all its versions
            self._datasets = {each: at for each, at in self._datasets.items() if each[1] != name}
        elif leaf.action in JOBS and name is not None:
            self._jobs[name] = (leaf, leaf.detail.get(JOB_DIGEST))

    def _check_keys(self) -> None:
        left = {name: at for name, (at, said) in self._keys.items() if said is not None}
        for row in self._rows.api_keys():
            left.pop(row.name, None)
            at, said = self._keys.get(row.name, (None, None))
            digest = text_digest(row.content)
            if said is not None and said != digest:
                _edited(at, f"key {row.name!r}", AGAIN.format(name=row.name))
            if at is None and self._begun and digest not in self._unnamed:
                raise Tampered(
                    None,
                    f"key {row.name!r} is there, and no leaf tells of it: it was written into the ledger by "
                    f"hand. {AGAIN.format(name=row.name)}",
                )
        for name, number in left.items():
            raise Tampered(number, f"key {name!r}, which leaf {number} tells of, is gone from the ledger")

    def _check_plans(self) -> None:
        for row in self._rows.plans():
            if row.number not in self._published and self._begun:
                raise Tampered(None, f"plan {row.number} is told of by no leaf: {BY_HAND}")
            if self._published.get(row.number) not in {None, row.content}:
                raise Tampered(None, f"plan {row.number} is not of the time that its leaf says: {EDITED}")

    def _check_releases(self) -> None:
        """A release is as the plan has it that it was first served under, whose text its leaf tells of; and
        what the newest plan has is there, a candidate too."""
        if self._plans and self._stands is not None:
            newest = self._stands[0]
            kept = self._rows.plan(_number(newest.detail, "plan"))
            for each in _releases(_json(kept.content)) if kept is not None else ():
                self._served.setdefault(str(each["digest"]), newest.number)
        plan, within = None, ()
        for row in self._rows.releases():
            self._served.pop(row.name, None)
            if not self._plans:
                continue
            if plan != row.plan:
                kept = self._rows.plan(row.plan) if row.plan is not None else None
                plan, within = row.plan, tuple(_releases(_json(kept.content))) if kept is not None else ()
            content = _json(row.content)
            if content not in within or not isinstance(content, dict) or content.get("digest") != row.name:
                raise Tampered(
                    None,
                    f"release {str(row.name)[:12]} is not as plan {row.plan} has it, with which it came: the "
                    "ledger was edited",
                )
        for digest, number in self._served.items():
            raise Tampered(number, f"release {digest[:12]}, which leaf {number} tells of, is gone")

    def _check_standings(self) -> None:
        """A deployment stands where the newest plan has it, and where it stood some plan had it."""
        leaf, told = self._stands or (None, {})
        left = set(told)
        for row in self._rows.standings():
            left.discard(row.name)
            found, what = _object(row.content), f"where deployment {row.name!r} stands"
            if row.name in told and found.get("stable") != told[row.name].get("stable"):
                _edited(leaf.number if leaf is not None else None, what)
            stood, promoted = self._stood.get(row.name, ()), found.get("promoted", [])
            known = isinstance(promoted, list) and all(
                isinstance(each, dict) and each.get("release") in stood for each in promoted
            )
            if found.get("deployment") != row.name or (self._begun and not self._untold and not known):
                raise Tampered(None, f"{what}, or stood, is not what plans tell of: {EDITED}")
        if left and leaf is not None:
            raise Tampered(leaf.number, f"where deployment {min(left)!r} stands is gone from the ledger")

    def _check_rollouts(self, last: Mapping[str, str]) -> None:
        """A rollout is of the release that its start tells of, and ended as the last of its verdicts says."""
        left = dict(self._rollouts)
        for row in self._rows.rollouts():
            found, what = _object(row.content), f"rollout {row.name}"
            leaf, deployment = left.pop(row.name, (None, None))
            if leaf is not None:
                same = found.get("release") == leaf.detail.get("release")
                if not (same and _is(found.get("deployment"), deployment)):
                    _edited(leaf.number, what)
            verdict, stage = _object(last.get(row.name)), found.get("stage")
            state = stage.get("state") if isinstance(stage, dict) else None
            ended = _ENDS.get(str(verdict.get("conclusion")))
            if ended is None:
                fits = row.state == "live" and isinstance(state, str) and state not in _ENDS.values()
            else:
                fits = (row.state, state, found.get("verdict")) == ("over", ended, verdict)
            if not fits:
                raise Tampered(None, f"{what} is not what its verdicts say: {EDITED}")
            if row.of != found.get("deployment"):
                raise Tampered(None, f"{what} is kept as one of another deployment than its own: {EDITED}")
        for name, (leaf, _) in left.items():
            raise Tampered(leaf.number, f"rollout {name}, which leaf {leaf.number} tells of, is gone")

    def _check_datasets(self) -> None:
        left = dict(self._datasets)
        for row in self._rows.datasets():
            at = left.pop((row.content, row.name), None)
            if at is None and self._begun and (row.content, None) not in left:
                what = f"dataset {row.name!r} ({str(row.content)[:12]})"
                raise Tampered(None, f"{what} is told of by no leaf: {BY_HAND}")
        for (digest, name), number in left.items():
            if name is not None:
                what = f"dataset {name!r} ({digest[:12]}), which leaf {number} tells of,"
                raise Tampered(number, f"{what} is gone from the ledger")

    def _check_jobs(self) -> None:
        left = dict(self._jobs)
        for row in self._rows.jobs():
            leaf, said = left.pop(row.name, (None, None))
            same = said in {None, text_digest(row.content)}
            if leaf is not None and not (same and leaf.action == f"{row.of}.run"):
                _edited(leaf.number, f"what job {row.name} was to do")
        for name, (leaf, _) in left.items():
            raise Tampered(
                leaf.number, f"job {name}, which leaf {leaf.number} tells of, is gone from the ledger"
            )

    def _check_verdicts(self) -> Mapping[str, str]:
        """Returns the last one of each rollout."""
        kept: dict[int, str] = {}
        last: dict[str, str] = {}
        for row in self._rows.verdicts():
            kept[row.number] = last[row.name] = row.content
        for number, (leaf, said) in self._verdicts.items():
            if number not in kept:
                raise Tampered(leaf, f"verdict {number}, which leaf {leaf} tells of, is gone")
            if text_digest(kept[number]) != said:
                _edited(leaf, f"verdict {number}")
        return last

    def _check_proposals(self) -> None:
        waiting = {n: leaf.number for n, (leaf, _) in self._proposed.items() if n not in self._decided}
        for row in self._rows.proposals():
            waiting.pop(row.number, None)
            found, what = _json(row.content), f"what waits, or waited, for approval as {row.number}"
            if row.number not in self._proposed or not isinstance(found, dict):
                raise Tampered(None, f"{what} is told of by no leaf: {BY_HAND}")
            leaf, names = self._proposed[row.number]
            told = {"action": found.get("action"), "sha256": text_digest(found.get("body"))}
            if "account" in leaf.detail:  # older ones have none
                told["account"] = account_digest(
                    found.get("salt"), found.get("by_id", ""), found.get("hands", ())
                )
            named = all(_is(found.get(name), names.get(field)) for name, field in _PROPOSED_BY.items())
            if not (named and _said(leaf) == {**told, "reason": found.get("reason", "")}):
                _edited(leaf.number, what)
            decided, who = self._decided.get(row.number, (leaf, None))
            state = _DECIDED.get(decided.action, "waiting")
            why = _said(decided)["reason"] if decided is not leaf else ""
            same = {state} == {row.state, found.get("state", "waiting")} and found.get("said", "") == why
            if not (same and _is(found.get("decided_by"), who)):
                _edited(decided.number, f"the decision on {what}")
        for number, at in waiting.items():  # those decided are kept for a while only
            raise Tampered(at, f"what waits for approval as {number}, by leaf {at}, is gone from the ledger")

    def _check_erasures(self) -> None:
        left = {number: at for number, (at, _) in self._forgotten.items()}
        for row in self._rows.erasures():
            at = left.pop(row.number, None)
            what = f"erasure {row.number}, by which somebody stays forgotten,"
            if at is None:
                raise Tampered(None, f"{what} is told of by no leaf: {BY_HAND}")
            said = self._forgotten[row.number][1]
            untold = row.state == "done" and row.number not in self._done
            if untold or said not in {None, tombstone_digest(row.name, row.content)}:
                _edited(at, what)
        for number, at in left.items():
            raise Tampered(
                at, f"erasure {number}, which leaf {at} tells of, is gone: who was forgotten is not any more"
            )


EDITED: Final = "the ledger was edited"
BY_HAND: Final = "it was written into the ledger by hand"
AGAIN: Final = (
    "`airboss keys list` shows what it may by now, and `airboss keys revoke {name}` ends it; a ledger from a "
    "backup has it as it was"
)


def _edited(leaf: int | None, what: str, next_step: str = "") -> NoReturn:
    then = f". {next_step}" if next_step else ""
    raise Tampered(leaf, f"{what} is not what leaf {leaf} tells of: {EDITED}{then}")


def _said(leaf: Leaf) -> Mapping[str, object]:
    """What a leaf tells of a proposal beside names and numbers."""
    return {"reason": "", **{name: each for name, each in leaf.detail.items() if name != "proposal"}}


def _is(kept: object, told: str | None) -> bool:
    """Whether a name is the one beside a leaf, if that is still known; of NUL, which no text in PostgreSQL
    has, its symbol is there."""
    plain = str.maketrans("\0", "\N{SYMBOL FOR NULL}")
    return told is None or (
        isinstance(kept, str) and kept_name(kept).translate(plain) == told.translate(plain)
    )


def _number(detail: Mapping[str, Any], name: str) -> int:
    """A number in a leaf's detail; -1, which no row has, of one that was too long to be kept whole."""
    found = detail.get(name)
    return found if isinstance(found, int) else -1


def _json(text: object) -> Any:
    """What a row says; None where that is no JSON."""
    try:
        return msgspec.json.decode(str(text))
    except (ValueError, RecursionError):
        return None


def _object(text: object) -> Mapping[str, Any]:
    """The same, where it is an object; else one without anything."""
    found = _json(text)
    return found if isinstance(found, dict) else {}


def _releases(said: Any) -> Iterator[Any]:
    """Every object within a plan that has a digest, as releases have."""
    if isinstance(said, dict):
        if "digest" in said:
            yield said
        for each in said.values():
            yield from _releases(each)
    elif isinstance(said, list):
        for each in said:
            yield from _releases(each)
