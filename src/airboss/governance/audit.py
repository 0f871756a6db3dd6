"""The audit log: what a leaf holds, how one is added, and how the whole is checked. Pure.

A leaf is JSON text. It holds no name: for actor, subject and user it has the sha256 of a random salt and the
name. Salts and names are kept beside it and deleted when a person is erased; what is left of them in the log
is then a number that nobody can open. The leaves are a Merkle tree (`governance.merkle`) whose root, after
each leaf, is kept with that leaf and, signed, in the head (`governance.checkpoint`).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from typing import Any, Final

import msgspec

from airboss.domain.errors import SetupError
from airboss.governance.checkpoint import Signer
from airboss.governance.merkle import HASH_BYTES, Tree, leaf_hash
from airboss.store.audit_rows import AuditEntry, HeadRow, LeafRow, NameField, NameRow, Sealed

BEGIN: Final = "audit.begin"
"""The first leaf's action: it holds the public key, so that another key does not fit the log."""

PLAN: Final = "plan.publish"
"""The action of a leaf of a plan, with digests of its text and its configuration's."""

RESUME: Final = "audit.resume"
"""The action of a leaf that says that no checkpoint was kept beside the key any more: what was lost before
it, only one that was kept elsewhere shows."""

FORGOT: Final = "erase.done"
"""The action of leaves that say which names were erased: `{"names": [[leaf, field], …]}` in their detail."""

DETAIL_BYTES_MAX: Final = 16 * 1024
"""Of a longer detail a leaf has its length and digest."""
NAME_CHARS_MAX: Final = 1_000
ACTION_CHARS_MAX: Final = 100
FIELDS: Final[tuple[NameField, ...]] = ("actor", "subject", "user")

_encode: Final = msgspec.json.Encoder(order="sorted").encode


class Leaf(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a leaf's text says. `actor`, `subject` and `user` are commitments, in hex.

    `signature` is over the text with `null` in its place, so that a leaf that somebody rewrites is known by
    itself, however well the tree above it is made to fit. Logs from before leaves were signed begin without.
    """

    number: int
    at: str
    action: str
    actor: str
    subject: str
    detail: dict[str, Any]
    user: str | None = None
    signature: str | None = None


read_leaf: Final[Callable[[str], Leaf]] = msgspec.json.Decoder(Leaf).decode
"""A leaf's text, read. Raises ValueError (msgspec's) for a text that is none."""


def commitment(field: NameField, salt: str, name: str) -> str:
    """What stands in a leaf for a name: the sha256, in hex, over a fixed text, the field, the salt and the
    name."""
    said = f"airboss audit name\0{field}\0{salt}\0{name}"
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()


class Sealer:
    """`audit_rows.Seal`: makes leaves and signs heads."""

    def __init__(self, signer: Signer, *, salt: Callable[[], str] = lambda: secrets.token_hex(32)) -> None:
        self._signer = signer
        self._salt = salt

    def __call__(self, head: HeadRow | None, entry: AuditEntry) -> Sealed:
        """As `Seal`. Raises ValueError for an entry that no leaf can hold."""
        tree = _tree(head)
        leaves: list[LeafRow] = []
        names: list[NameRow] = []
        if head is None:
            detail = {"public_key": self._signer.public_key}
            begun = AuditEntry(action=BEGIN, actor="airboss", subject="audit log", detail=detail, at=entry.at)
            self._grow(tree, begun, leaves, names)
        self._grow(tree, entry, leaves, names)
        last = leaves[-1]
        signed = self._signer.sign(size=tree.size, root=last.root, at=last.at)
        now = HeadRow(
            size=tree.size,
            root=last.root,
            at=last.at,
            signature=signed.signature,
            peaks=b"".join(tree.peaks).hex(),
        )
        return Sealed(leaves=tuple(leaves), names=tuple(names), head=now)

    def _grow(self, tree: Tree, entry: AuditEntry, leaves: list[LeafRow], names: list[NameRow]) -> None:
        number, at = tree.size, entry.at.astimezone(UTC).isoformat()
        committed: dict[str, str] = {}
        for field in FIELDS:
            name = getattr(entry, field)
            if name is not None:
                row = NameRow(leaf=number, field=field, salt=self._salt(), name=kept_name(name))
                committed[field] = commitment(field, row.salt, row.name)
                names.append(row)
        leaf = Leaf(
            number=number,
            at=at,
            action=entry.action,
            actor=committed["actor"],
            subject=committed["subject"],
            user=committed.get("user"),
            detail=_checked(entry),
        )
        content = _encode(msgspec.structs.replace(leaf, signature=self._signer.seal(_encode(leaf))))
        tree.append(leaf_hash(content))
        row_of = LeafRow(
            number=number, at=at, action=entry.action, content=content.decode(), root=tree.root().hex()
        )
        leaves.append(row_of)


def kept_name(name: str) -> str:
    """A name as it is kept beside a leaf: no database keeps half a pair."""
    return name[:NAME_CHARS_MAX].encode("utf-8", "replace").decode()


def _checked(entry: AuditEntry) -> dict[str, Any]:
    if not 0 < len(entry.action) <= ACTION_CHARS_MAX:
        raise ValueError(f"an action has 1 to {ACTION_CHARS_MAX} characters, not {len(entry.action)}")
    try:
        said = _encode(entry.detail)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the detail of {entry.action} is no JSON: {error}") from error
    if len(said) > DETAIL_BYTES_MAX:  # what was done must stand here, however much there is to say of it
        return {"bytes": len(said), "sha256": hashlib.sha256(said).hexdigest()}
    return dict(entry.detail)


def _tree(head: HeadRow | None) -> Tree:
    """The tree so far. Raises SetupError where the head kept is none: nothing is added to a broken log."""
    if head is None:
        return Tree()
    try:
        peaks = bytes.fromhex(head.peaks)
        parts = [peaks[at : at + HASH_BYTES] for at in range(0, len(peaks), HASH_BYTES)]
        return Tree(head.size, parts)
    except (ValueError, TypeError) as error:
        raise SetupError(
            f"the audit log's head is damaged ({error}), so nothing can be added to it; "
            "see `airboss audit verify`"
        ) from error


def unsigned(leaf: Leaf, content: str) -> bytes | None:
    """The text that a signed leaf's signature is over; None where its text is not as leaves are written."""
    written = content.encode("utf-8", "surrogatepass")
    return _encode(msgspec.structs.replace(leaf, signature=None)) if _encode(leaf) == written else None


def erased_names(leaf: Leaf) -> set[tuple[int, str]]:
    """The names that this leaf says were erased, by leaf and field."""
    if leaf.action != FORGOT:
        return set()
    named = leaf.detail.get("names")
    if not isinstance(named, Sequence):
        return set()
    pairs = (each for each in named if isinstance(each, list) and len(each) == 2)
    return {(leaf, field) for leaf, field in pairs if isinstance(leaf, int) and isinstance(field, str)}


def known_names(names: Sequence[NameRow]) -> Mapping[NameField, str]:
    """Names by the field where they stand."""
    return {row.field: row.name for row in names}
