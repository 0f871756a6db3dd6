"""Data-plane keys: how they are made, kept and checked."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable

from airboss.domain.ports import ApiKey
from airboss.domain.request import Principal

KEY_PREFIX = "ab_"
"""Our keys begin so: providers refuse such a key, and redaction knows one by its shape."""

_DUMMY = bytes(32)


def new_key() -> str:
    """A fresh secret: `ab_` and 43 URL-safe characters that carry 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def hash_key(secret: str) -> str:
    """How a key is kept: the sha256 of its UTF-8 bytes, in hex. Any str has one."""
    return _digest(secret).hex()


def same_secret(presented: str, expected: str) -> bool:
    """Whether two secrets are equal, in a time that says nothing of how far they agree (the admin key)."""
    return hmac.compare_digest(_digest(presented), _digest(expected))


class Keyring:
    """The keys of one snapshot, ready to be asked on every request.

    A lookup takes a time that depends on the sha256 of what was presented, never on the secrets kept: the
    table is keyed by digests, and who guesses cannot steer the digest of his guess towards a kept one without
    already breaking sha256. The comparison at the end is constant-time all the same, and is also made where
    nothing was found. What the time does show is the length of the presented text, which its sender knows.

    Where two keys have the same secret, the one that comes first is meant.
    """

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._by_digest: dict[bytes, tuple[bytes, Principal]] = {}
        for key in keys:
            kept = bytes.fromhex(key.sha256)
            deployments = None if key.deployments is None else frozenset(key.deployments)
            self._by_digest.setdefault(kept, (kept, Principal(key=key.name, deployments=deployments)))

    def __len__(self) -> int:
        return len(self._by_digest)

    def principal(self, presented: str) -> Principal | None:
        """Who presents this secret, or None if nobody we know."""
        seen = _digest(presented)
        kept, principal = self._by_digest.get(seen, (_DUMMY, None))
        return principal if hmac.compare_digest(seen, kept) else None


def _digest(secret: str) -> bytes:
    # A header may hold anything, so lone surrogates must have a digest too.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
