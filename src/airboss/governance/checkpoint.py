"""A signed statement of where the audit log stood: kept elsewhere, it shows later that nothing before it
changed.

Signed with Ed25519 (RFC 8032). The signature is over five lines, each ended by a line feed: ORIGIN, the size,
the root in hex, the time, and the public key in hex. Anybody with these lines and the public key can check
it.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from airboss.governance.merkle import Tree

ORIGIN: Final = "airboss audit log 1"

_LEAF: Final = b"airboss audit leaf 1\0"
"""Before a leaf's text where it is signed, so that no signature serves for anything else."""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The log had `size` leaves under `root` (hex) at `at` (ISO 8601). `public_key` and `signature` are
    hex. The one that is kept beside the key begins with no leaf (`Signer.begin`)."""

    origin: str
    size: int
    root: str
    at: str
    public_key: str
    signature: str


def read_kept(text: str | None) -> Checkpoint | None:
    """A checkpoint that was kept as JSON. Of what is none of ours there is one that nobody signed."""
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=Checkpoint)
    except ValueError:
        return Checkpoint(origin="", size=0, root="", at="", public_key="", signature="")


class Signer:
    """Signs with the key that a secret stands for: the same secret always gives the same key."""

    def __init__(self, secret: str) -> None:
        seed = hashlib.sha256(b"airboss audit signing key\0" + secret.encode()).digest()
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._key.public_key().public_bytes_raw().hex()

    def seal(self, said: bytes) -> str:
        """The signature, in hex, over the text of a leaf."""
        return self._key.sign(_LEAF + said).hex()

    def begin(self, at: str) -> Checkpoint:
        """The statement of a log that has no leaf yet, which every log extends."""
        return self.sign(size=0, root=Tree().root().hex(), at=at)

    def sign(self, *, size: int, root: str, at: str) -> Checkpoint:
        """The statement of this head."""
        said = _said(size=size, root=root, at=at, public_key=self.public_key)
        return Checkpoint(
            origin=ORIGIN,
            size=size,
            root=root,
            at=at,
            public_key=self.public_key,
            signature=self._key.sign(said).hex(),
        )


def is_sealed(said: bytes, signature: str, public_key: str) -> bool:
    """Whether a leaf's signature is over just this text, by this key. Never raises."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        key.verify(_unhexed(signature), _LEAF + said)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def is_signed(checkpoint: Checkpoint) -> bool:
    """Whether the signature is over just this, by the key that the checkpoint names. Never raises."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(checkpoint.public_key))
        said = _said(
            size=checkpoint.size, root=checkpoint.root, at=checkpoint.at, public_key=checkpoint.public_key
        )
        key.verify(_unhexed(checkpoint.signature), said)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return checkpoint.origin == ORIGIN


def _unhexed(text: str) -> bytes:
    """What a text says in hex. Raises ValueError unless it is just as we write it: the same in capitals, or
    with blanks, was edited."""
    said = bytes.fromhex(text)
    if said.hex() != text:
        raise ValueError("not as it was written")
    return said


def _said(*, size: int, root: str, at: str, public_key: str) -> bytes:
    return "".join(f"{line}\n" for line in (ORIGIN, size, root, at, public_key)).encode("utf-8", "replace")
