"""Fixtures of the journeys: whole systems, started as a user starts them."""

from __future__ import annotations

from tests.support.fake import fake_process, provider

__all__ = ["fake_process", "provider"]
