"""The tree is RFC 6962's: known roots, and proofs that hold for what is true and for nothing else."""

from __future__ import annotations

import hashlib

import pytest

from airboss.governance.merkle import (
    EMPTY_ROOT,
    Tree,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
)
from tests.support.merkle_proofs import is_consistent, is_included

# The test vectors of the Certificate Transparency reference implementation (its merkle_tree tests).
INPUTS = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def leaves(count: int) -> list[bytes]:
    """Hashes of that many different leaves."""
    return [leaf_hash(b"%d" % number) for number in range(count)]


def whole_tree(found: list[bytes]) -> bytes:
    """The definition itself (RFC 6962, 2.1), by recursion."""
    if len(found) == 1:
        return found[0]
    split = 1
    while split * 2 < len(found):
        split *= 2
    return node_hash(whole_tree(found[:split]), whole_tree(found[split:]))


def test_roots_are_those_of_the_reference() -> None:
    """Eight published roots come out, grown leaf by leaf."""
    tree = Tree()
    for data, root in zip(INPUTS, ROOTS, strict=True):
        tree.append(leaf_hash(data))
        assert tree.root().hex() == root
    assert Tree().root() == EMPTY_ROOT == hashlib.sha256(b"").digest()


def test_a_tree_goes_on_from_its_peaks() -> None:
    """Kept as its size and peaks, it grows as if it had never been put away; peaks of another size are
    refused."""
    for size in range(70):
        whole, put_away = Tree(), Tree()
        for leaf in leaves(size):
            whole.append(leaf)
            put_away = Tree(put_away.size, put_away.peaks)
            put_away.append(leaf)
        assert whole.root() == put_away.root() == root_of(leaves(size))
        if size:
            assert whole.root() == whole_tree(leaves(size))
            with pytest.raises(ValueError, match="peaks"):
                Tree(size, whole.peaks[1:])


def test_every_leaf_is_proven_and_no_other() -> None:
    """For every size to 40: the proof of each leaf holds at its place, and fails at any other, for another
    leaf, another root, and with a hash too many, too few or changed."""
    for size in range(1, 41):
        found = leaves(size)
        root = root_of(found)
        for index in range(size):
            proof = inclusion_proof(found, index)
            assert is_included(found[index], index, size, root, proof)
            assert not is_included(leaf_hash(b"other"), index, size, root, proof)
            assert not is_included(found[index], index, size, leaf_hash(b"other"), proof)
            assert not is_included(found[index], index, size, root, [*proof, root])
            for wrong in range(size):
                assert is_included(found[index], wrong, size, root, proof) == (wrong == index)
            if proof:
                assert not is_included(found[index], index, size, root, proof[:-1])
                assert not is_included(found[index], index, size, root, [*proof[:-1], root])


def test_every_growth_is_proven_and_no_other() -> None:
    """For every two sizes to 40: the proof holds, and fails for another old root, and for a changed proof."""
    for size in range(1, 41):
        found = leaves(size)
        root = root_of(found)
        for old in range(1, size + 1):
            proof = consistency_proof(found, old)
            old_root = root_of(found[:old])
            assert is_consistent(old, old_root, size, root, proof)
            assert not is_consistent(old, leaf_hash(b"other"), size, root, proof)
            assert not is_consistent(old, old_root, size, leaf_hash(b"other"), proof)
            assert not is_consistent(old, old_root, size, root, [*proof, root])
            if proof:
                assert not is_consistent(old, old_root, size, root, proof[:-1])
                assert not is_consistent(old, old_root, size, root, [leaf_hash(b"x"), *proof[1:]])


def test_there_is_no_proof_of_what_is_not_there() -> None:
    """A leaf beyond the end and a tree larger than the whole are refused; checks of such say no."""
    found = leaves(3)
    for index in (-1, 3):
        with pytest.raises(ValueError, match="no leaf"):
            inclusion_proof(found, index)
        assert not is_included(found[0], index, 3, root_of(found), [])
    for old in (0, 4):
        with pytest.raises(ValueError, match="no tree"):
            consistency_proof(found, old)
        assert not is_consistent(old, root_of(found), 3, root_of(found), [])
