"""The audit log in the admin API: what was done, the signed head, and what it takes to check it elsewhere."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import msgspec

from airboss.console.desk import Desk
from airboss.console.query import Limit, read_time
from airboss.console.route import Call, Route
from airboss.domain.errors import InvalidRequest, NotFound
from airboss.governance.audit import known_names, read_leaf
from airboss.governance.audit_verify import Verdict, verify
from airboss.governance.checkpoint import ORIGIN, Checkpoint, is_signed
from airboss.governance.merkle import consistency_proof, inclusion_proof, leaf_hash
from airboss.store.audit_rows import AuditData, HeadRow, NamedLeaf, WholeLog
from airboss.store.wording import many

LIMIT = Limit(100, 1_000)
PAGE = Limit(1_000, 1_000)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was done. `actor`, `subject` and `user` are None where the name was erased; `user` also
    where there was none. `hash` is the leaf's, in hex."""

    number: int
    at: str
    action: str
    actor: str | None
    subject: str | None
    user: str | None
    detail: dict[str, Any]
    hash: str


class Entries(msgspec.Struct, frozen=True, kw_only=True):
    """Entries, newest first. `next` is the `before` of the next page; None: there is no older one."""

    entries: tuple[Entry, ...]
    next: int | None


class Leaves(msgspec.Struct, frozen=True, kw_only=True):
    """Leaves as they are kept, oldest first, with the head of this moment: what `airboss audit verify` needs.
    `next` is the `after` of the next page."""

    head: HeadRow | None
    heads: int = 1
    strays: tuple[int, ...]
    leaves: tuple[NamedLeaf, ...]
    next: int | None


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """A proof as RFC 6962 has it, hashes in hex. With `leaf`, that the log of `size` leaves under `root` has
    this leaf, of hash `leaf_hash`; else that it extends the log of `extends` leaves."""

    size: int
    root: str
    proof: tuple[str, ...]
    leaf: int | None = None
    leaf_hash: str | None = None
    extends: int | None = None


def audit_entries(desk: Desk, call: Call) -> Entries:
    """GET /api/v1/audit."""
    limit = LIMIT.read(call.params)
    since = call.params.get("since")
    found = desk.audit.newest(
        limit=limit,
        action=call.params.get("action") or None,
        since=read_time(since, "since", now=call.now, local=UTC) if since else None,
        before=number(call, "before"),
    )
    shown = tuple(entry(each) for each in found)
    return Entries(entries=shown, next=shown[-1].number if len(shown) == limit else None)


def entry(named: NamedLeaf) -> Entry:
    """A leaf, read. One that somebody has broken is shown as such: the list must not break with it."""
    row, names = named.leaf, known_names(named.names)
    digest = leaf_hash(str(row.content).encode("utf-8", "surrogatepass")).hex()
    try:
        detail = read_leaf(row.content).detail
    except (ValueError, TypeError, RecursionError):
        detail = {"damaged": "this leaf cannot be read; run `airboss audit verify`"}
    return Entry(
        number=row.number,
        at=row.at,
        action=row.action,
        actor=names.get("actor"),
        subject=names.get("subject"),
        user=names.get("user"),
        detail=detail,
        hash=digest,
    )


def key_of(data: AuditData) -> str:
    """The public key that the log begins with, in hex; "" where it says none."""
    first = next(data.leaves(), None)
    try:
        return str(read_leaf(first.leaf.content).detail.get("public_key")) if first is not None else ""
    except (ValueError, TypeError, RecursionError):
        return ""


def checked(desk: Desk, data: WholeLog, *, plans: bool = True) -> Verdict:
    """The whole log recomputed, by the key that it begins with, and the ledger's rows compared with it,
    without `plans` but for the texts of these. What is known of it otherwise, by the checkpoint that is kept
    beside the key, counts too."""
    key = key_of(data)
    found = verify(data, public_key=key, begun=bool(key), ledger=data, plans=plans)
    trouble = desk.status().audit_trouble
    if found.valid and trouble is not None:
        return msgspec.structs.replace(found, valid=False, problem=trouble)
    return found


def audit_checkpoint(desk: Desk, _call: Call) -> Checkpoint:
    """GET /api/v1/audit/checkpoint."""
    with desk.audit.whole() as data:
        head, key = data.head, key_of(data)
    if head is None:
        raise NotFound("the audit log is empty: nothing has been done here yet")
    found = head_of(head, key)
    if not is_signed(found):
        raise NotFound(
            "the log's head is not as it was signed and proves nothing; run `airboss audit verify`"
        )
    return found


def head_of(head: HeadRow, key: str) -> Checkpoint:
    """A head as what it states, whether it is signed or not."""
    return Checkpoint(
        origin=ORIGIN,
        size=head.size,
        root=head.root,
        at=head.at,
        public_key=key,
        signature=head.signature,
    )


def audit_leaves(desk: Desk, call: Call) -> Leaves:
    """GET /api/v1/audit/leaves."""
    limit = PAGE.read(call.params)
    after = number(call, "after")
    with desk.audit.whole() as data:
        page = data.page(after if after is not None else -1, limit)
        return Leaves(
            head=data.head,
            heads=data.heads,
            strays=tuple(data.strays),
            leaves=tuple(page),
            next=page[-1].leaf.number if len(page) == limit else None,
        )


def audit_proof(desk: Desk, call: Call) -> Proof:
    """GET /api/v1/audit/proof."""
    leaf, old = number(call, "leaf"), number(call, "extends")
    if (leaf is None) == (old is None):
        raise InvalidRequest("give either leaf=NUMBER or extends=SIZE of an older checkpoint", param="leaf")
    with desk.audit.whole() as data:
        hashes, head = hashes_of(data), data.head
    if head is None or head.size != len(hashes):
        raise NotFound("there is no whole log to prove anything about; run `airboss audit verify`")
    try:
        path = inclusion_proof(hashes, leaf) if leaf is not None else consistency_proof(hashes, old or 0)
    except ValueError as error:
        raise NotFound(f"{error}; the log has {many(head.size, 'leaf')}") from None
    return Proof(
        size=head.size,
        root=head.root,
        proof=tuple(each.hex() for each in path),
        leaf=leaf,
        leaf_hash=hashes[leaf].hex() if leaf is not None else None,
        extends=old,
    )


def hashes_of(data: AuditData) -> list[bytes]:
    """The hash of every leaf."""
    return [leaf_hash(str(each.leaf.content).encode("utf-8", "surrogatepass")) for each in data.leaves()]


def number(call: Call, name: str) -> int | None:
    """A parameter that is the number of a leaf."""
    text = call.params.get(name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise InvalidRequest(f"{name}={text[:60]!r} is not the number of a leaf", param=name)
    return int(text)


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/audit",
        summary="What was done, newest first",
        handle=audit_entries,
        role="viewer",
        params={
            "action": "only this action, such as keys.create",
            "since": "from then on: RFC 3339, or `15m`, `6h`, `7d` for so long ago",
            "before": "only leaves with a smaller number (paging)",
            "limit": LIMIT.told(),
        },
    ),
    Route(
        method="GET",
        path="/api/v1/audit/checkpoint",
        summary="The signed head of the audit log, to be kept elsewhere",
        handle=audit_checkpoint,
        role="viewer",
    ),
    Route(
        method="GET",
        path="/api/v1/audit/leaves",
        summary="The leaves as they are kept, oldest first, to recompute everything elsewhere",
        handle=audit_leaves,
        role="viewer",
        params={
            "after": "only leaves with a larger number (paging)",
            "limit": PAGE.told(),
        },
    ),
    Route(
        method="GET",
        path="/api/v1/audit/proof",
        summary="A Merkle proof: that the log has a leaf, or that it extends an older one",
        handle=audit_proof,
        role="viewer",
        params={
            "leaf": "prove that this leaf, by number, is in the log",
            "extends": "prove that the log extends the one of so many leaves",
        },
    ),
)
"""Every route about the audit log."""
