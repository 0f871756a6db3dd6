"""A Merkle tree over a list of leaves: its root, and proofs about it. Pure.

The tree and its hashes are those of RFC 6962 (Certificate Transparency), section 2.1; whoever has a proof
checks it as RFC 9162 says, sections 2.1.3.2 and 2.1.4.2. A leaf and a node are hashed with different first
bytes, so that no leaf can be passed off as a node.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from airboss.store.wording import many

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""

HASH_BYTES: Final = 32


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf that holds `data`."""
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node over two others."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Tree:
    """A tree that only grows. Keeps the roots of its whole subtrees, at most one for each bit of its size, so
    that a leaf costs a few hashes however many there are."""

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        """`peaks` are those of another tree of this size. Raises ValueError if they cannot be."""
        if size < 0 or len(peaks) != size.bit_count() or any(len(peak) != HASH_BYTES for peak in peaks):
            raise ValueError(
                f"a tree of {size} leaves has {max(size, 0).bit_count()} peaks, not {len(peaks)}"
            )
        self.size = size
        self.peaks = list(peaks)

    def append(self, leaf: bytes) -> None:
        """Add a leaf, given its hash."""
        merging, found = self.size, leaf
        while merging & 1:
            found = node_hash(self.peaks.pop(), found)
            merging >>= 1
        self.peaks.append(found)
        self.size += 1

    def root(self) -> bytes:
        """The root over all leaves."""
        if not self.peaks:
            return EMPTY_ROOT
        found = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            found = node_hash(peak, found)
        return found


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over leaves given by their hashes."""
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The hashes with which leaf `index` gives the root over `leaves` (RFC 6962, 2.1.1).

    Raises ValueError unless `0 <= index < len(leaves)`.
    """
    if not 0 <= index < len(leaves):
        raise ValueError(f"there is no leaf {index} among {len(leaves)}")
    proof: list[bytes] = []
    start, end = 0, len(leaves)
    while end - start > 1:
        middle = start + _largest_power_below(end - start)
        if index < middle:
            proof.append(root_of(leaves[middle:end]))
            end = middle
        else:
            proof.append(root_of(leaves[start:middle]))
            start = middle
    return proof[::-1]


def consistency_proof(leaves: Sequence[bytes], old: int) -> list[bytes]:
    """The hashes that show that the tree over `leaves` extends the one over its first `old` (RFC 6962,
    2.1.2).

    Raises ValueError unless `0 < old <= len(leaves)`.
    """
    if not 0 < old <= len(leaves):
        raise ValueError(f"there is no tree of {many(old, 'leaf')} within {len(leaves)}")
    proof: list[bytes] = []
    start, end, known = 0, len(leaves), True
    while old != end:
        middle = start + _largest_power_below(end - start)
        if old <= middle:
            proof.append(root_of(leaves[middle:end]))
            end = middle
        else:
            proof.append(root_of(leaves[start:middle]))
            start, known = middle, False
    if not known:
        proof.append(root_of(leaves[start:end]))
    return proof[::-1]


def _largest_power_below(count: int) -> int:
    """The largest power of two that is smaller than `count`, which is 2 at least."""
    return 1 << (count - 1).bit_length() - 1
