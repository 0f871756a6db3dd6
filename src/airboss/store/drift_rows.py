"""What the ledger keeps of drift: how each deployment stands, as JSON of its owner's own."""

from __future__ import annotations

from typing import Protocol


class DriftStore(Protocol):
    """Keeps states by name. Every write is durable when its call returns. Raises SetupError if it cannot be
    used."""

    def drift(self, name: str) -> bytes | None:
        """The state of this name."""

    def put_drift(self, name: str, content: bytes | None) -> None:
        """Keep a state in place of the one before; None: none."""

    def move_drift(self, name: str, was: bytes | None, content: bytes) -> bool:
        """Keep a state that was made of `was`. False, and nothing happens, where that stands no more:
        somebody has accepted the drift meanwhile, and it must not come back."""


def features_of(deployment: str) -> str:
    """The name of what is known of a deployment's calls."""
    return f"features:{deployment}"


def checks_of(deployment: str) -> str:
    """The name of what is known of its answers to fixed prompts."""
    return f"checks:{deployment}"
