"""Everything about the audit log recomputed from its data, and the first thing that does not fit. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from airboss.governance.audit import (
    BEGIN,
    FIELDS,
    RESUME,
    Leaf,
    commitment,
    erased_names,
    known_names,
    read_leaf,
    unsigned,
)
from airboss.governance.audit_ledger import Compared, Tampered
from airboss.governance.checkpoint import ORIGIN, Checkpoint, is_sealed, is_signed
from airboss.governance.merkle import Tree, leaf_hash
from airboss.store.audit_rows import AuditData, HeadRow, LedgerRows, NamedLeaf
from airboss.store.wording import many

NAMES_MISSING_MAX: Final = 1_000_000
"""Erased names kept in mind while reading; more than any log has."""

OWN_GONE: Final = (
    "secrets/audit_head is gone, so that nothing here shows whether this is the whole log or an older copy: "
    "put it back from a backup, or compare with a checkpoint that is kept elsewhere (--checkpoint FILE). "
    "If it was deleted on purpose, start Airboss: it goes on from here, and a leaf says so"
)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `problem` None: valid. Else `leaf` is the number of the first leaf that does not fit,
    where one can be named. `checked` leaves were read; `erased` names are gone by erasures that the log tells
    of; `extends` is the size of the checkpoint that the log was shown to extend. At the leaves `resumed` no
    checkpoint was kept beside the key any more: what was lost before them does not show here."""

    valid: bool
    checked: int
    erased: int
    root: str | None = None
    public_key: str
    extends: int | None = None
    resumed: tuple[int, ...] = ()
    leaf: int | None = None
    problem: str | None = None


def verify(
    data: AuditData,
    *,
    public_key: str,
    checkpoint: Checkpoint | None = None,
    own: Checkpoint | None = None,
    own_gone: bool = False,
    begun: bool = True,
    ledger: LedgerRows | None = None,
    plans: bool = True,
) -> Verdict:
    """Check the whole log: each leaf, each name, each root, the head and its signature by `public_key`, and
    that it extends `checkpoint` and its `own` one, which is kept beside its key; with `ledger`, also that its
    rows are as the log tells of them, without `plans` but for the texts of these. Where `own_gone`,
    `checkpoint` has to stand for it, or nothing shows that this is not an older log.

    `begun` False: nothing was ever done here, so an empty log is right. Never raises for what stands in the
    data.
    """
    named = {"the checkpoint": checkpoint, "its checkpoint in secrets/audit_head": own}
    kept = {name: each for name, each in named.items() if each is not None}
    walk = _Walk(public_key, kept)
    compared = Compared(ledger, plans=plans) if ledger is not None else None
    try:
        _check_tables(data)
        for name, each in kept.items():
            _check_checkpoint(name, each, public_key)
        for leaf in data.leaves():
            said = walk.take(leaf)
            if compared is not None:
                compared.take(said, known_names(leaf.names))
        walk.end(data, begun=begun)
        _check_anchored(walk, gone=own_gone and checkpoint is None)
        if compared is not None:
            compared.end()
    except Tampered as found:
        return Verdict(
            valid=False,
            checked=walk.tree.size,
            erased=len(walk.erased),
            public_key=public_key,
            leaf=found.leaf,
            problem=str(found),
        )
    return Verdict(
        valid=True,
        checked=walk.tree.size,
        erased=len(walk.erased),
        root=walk.tree.root().hex() if walk.tree.size else None,
        public_key=public_key,
        extends=checkpoint.size if checkpoint is not None else None,
        resumed=tuple(each for each in walk.resumed if checkpoint is None or each >= checkpoint.size),
    )


class _Walk:
    """What is known while leaves are read in order."""

    def __init__(self, public_key: str, checkpoints: Mapping[str, Checkpoint]) -> None:
        self.tree = Tree()
        self.erased: set[tuple[int, str]] = set()
        self.resumed: list[int] = []
        self._signed = False  # whether a leaf before this one was
        self._missing: set[tuple[int, str]] = set()
        self._present: set[tuple[int, str]] = set()
        self._public_key = public_key
        self._checkpoints = checkpoints

    def take(self, named: NamedLeaf) -> Leaf:
        """Check the next leaf, and return what it says."""
        row, number = named.leaf, self.tree.size
        if row.number != number:
            what = "is missing" if row.number > number else "stands where none can"
            raise Tampered(min(number, row.number), f"leaf {min(number, row.number)} {what}")
        if not isinstance(row.content, str):
            raise Tampered(number, f"leaf {number} is no text")
        try:
            leaf = read_leaf(row.content)
        except (ValueError, TypeError, RecursionError) as error:
            raise Tampered(number, f"leaf {number} cannot be read: {error}") from error
        if leaf.number != number:
            raise Tampered(number, f"leaf {number} says that it is leaf {leaf.number}")
        if (leaf.at, leaf.action) != (row.at, row.action):
            raise Tampered(number, f"leaf {number} is listed under another time or action than it has")
        self.tree.append(leaf_hash(row.content.encode("utf-8", "surrogatepass")))
        if self.tree.root().hex() != row.root:
            raise Tampered(number, f"leaf {number} does not give the root that was kept with it")
        if number == 0:
            self._check_begin(leaf)
        self._check_signature(leaf, row.content)
        self._check_names(leaf, named)
        self.erased |= erased_names(leaf)
        if leaf.action == RESUME:
            self.resumed.append(number)
        self._check_extends(number)
        return leaf

    def end(self, data: AuditData, *, begun: bool) -> None:
        """Check what only the whole can show."""
        unexplained = sorted(self._missing - self.erased)
        if unexplained:
            number, field = unexplained[0]
            raise Tampered(number, f"the {field} of leaf {number} is gone, and no erasure tells of it")
        back = sorted(self._present & self.erased)
        if back:
            number, field = back[0]
            raise Tampered(number, f"the {field} of leaf {number} was erased and is there again")
        if data.strays:
            raise Tampered(
                min(data.strays), f"names are kept for leaf {min(data.strays)}, which is not there"
            )
        for name, each in self._checkpoints.items():
            if each.size > self.tree.size:
                raise Tampered(
                    self.tree.size,
                    f"{name} is of {many(each.size, 'leaf')}, and there are {self.tree.size}: "
                    f"leaf {self.tree.size} and what came after it is gone",
                )
        if data.head is None and self.tree.size == 0:
            if begun:
                raise Tampered(0, "the log is empty, though things were done here that it has to tell of")
            return
        if data.heads > 1:
            raise Tampered(None, f"there are {data.heads} signed heads, of which no log has more than one")
        self._check_head(data.head)

    def _check_begin(self, leaf: Leaf) -> None:
        if leaf.action != BEGIN:
            raise Tampered(0, f"leaf 0 is not the beginning of a log, but {leaf.action!r}")
        if leaf.detail.get("public_key") != self._public_key:
            raise Tampered(0, "leaf 0 names another signing key than the one in secrets/audit_key")

    def _check_signature(self, leaf: Leaf, content: str) -> None:
        if leaf.signature is None:
            if self._signed:
                raise Tampered(leaf.number, f"leaf {leaf.number} is not signed, though one before it is")
            return
        self._signed = True
        said = unsigned(leaf, content)
        if said is None or not is_sealed(said, leaf.signature, self._public_key):
            raise Tampered(
                leaf.number,
                f"leaf {leaf.number} is not as it was signed by the key in secrets/audit_key: it was "
                "rewritten",
            )

    def _check_names(self, leaf: Leaf, named: NamedLeaf) -> None:
        number = leaf.number
        committed = {field: getattr(leaf, field) for field in FIELDS if getattr(leaf, field) is not None}
        for row in named.names:
            sealed = committed.pop(row.field, None)
            # Of a name with NUL, which no text in PostgreSQL has, its symbol is kept there.
            may_be = (str(row.name), str(row.name).replace("\N{SYMBOL FOR NULL}", "\0"))
            if sealed not in [commitment(row.field, str(row.salt), name) for name in may_be]:
                raise Tampered(
                    number, f"the {row.field} of leaf {number} is not the one that it was sealed with"
                )
            self._present.add((number, row.field))
        self._missing |= {(number, field) for field in committed}
        if len(self._missing) > NAMES_MISSING_MAX:
            raise Tampered(min(self._missing)[0], "more names are gone than any log has")

    def _check_extends(self, number: int) -> None:
        for name, each in self._checkpoints.items():
            if each.size == self.tree.size and self.tree.root().hex() != each.root:
                raise Tampered(
                    None, f"the log does not extend {name}: one of leaves 0 to {number} was rewritten since"
                )

    def _check_head(self, head: HeadRow | None) -> None:
        size, root = self.tree.size, self.tree.root().hex()
        if head is None:
            raise Tampered(None, "the signed head is gone")
        texts = (head.root, head.at, head.signature, head.peaks)
        if not isinstance(head.size, int) or not all(isinstance(each, str) for each in texts):
            raise Tampered(None, "the signed head holds what no head does: it was edited")
        if head.size != size:
            what = f"leaf {size} is missing" if head.size > size else f"leaf {head.size} came past the head"
            raise Tampered(min(size, head.size), f"the signed head is of {many(head.size, 'leaf')}: {what}")
        if head.root != root or head.peaks != b"".join(self.tree.peaks).hex():
            raise Tampered(None, "the head is not that of these leaves")
        signed = Checkpoint(
            origin=ORIGIN,
            size=head.size,
            root=head.root,
            at=head.at,
            public_key=self._public_key,
            signature=head.signature,
        )
        if not is_signed(signed):
            raise Tampered(
                None,
                f"the head of {many(size, 'leaf')} is not signed by the key in secrets/audit_key: it was "
                f"edited, or what came after leaf {size - 1} was cut off",
            )


def _check_anchored(walk: _Walk, *, gone: bool) -> None:
    if gone and walk.tree.size:
        raise Tampered(None, OWN_GONE)


def _check_tables(data: AuditData) -> None:
    if data.gone:
        raise Tampered(None, f"the ledger lacks the table {data.gone[0]}, which it was made with")


def _check_checkpoint(name: str, checkpoint: Checkpoint, public_key: str) -> None:
    if not is_signed(checkpoint):
        raise Tampered(None, f"the signature of {name} does not fit what it says: it was edited")
    if checkpoint.public_key != public_key:
        raise Tampered(
            None, f"{name} was signed with another key than secrets/audit_key: the key was replaced"
        )
    if checkpoint.size < 0:
        raise Tampered(None, f"{name} is of {checkpoint.size} leaves, which no log has had")
