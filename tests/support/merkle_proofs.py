"""How whoever has a proof checks it: RFC 9162, sections 2.1.3.2 and 2.1.4.2."""

from __future__ import annotations

from collections.abc import Sequence

from airboss.governance.merkle import node_hash


def is_included(leaf: bytes, index: int, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the tree of `size` leaves with this root has `leaf`, a hash, at `index`."""
    if not 0 <= index < size:
        return False
    at, last, found = index, size - 1, leaf
    for other in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(other, found)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            found = node_hash(found, other)
        at >>= 1
        last >>= 1
    return last == 0 and found == root


def is_consistent(old: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the tree of `size` leaves extends the one of `old`, given both roots."""
    if not 0 < old <= size:
        return False
    if old == size:
        return not proof and old_root == root
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        return False
    at, last = old - 1, size - 1
    while at & 1:
        at >>= 1
        last >>= 1
    found_old = found = path[0]
    for other in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            found_old, found = node_hash(other, found_old), node_hash(other, found)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            found = node_hash(found, other)
        at >>= 1
        last >>= 1
    return last == 0 and found_old == old_root and found == root
