"""Fixtures of the tests of tuning."""

from __future__ import annotations

from tests.support.fake import fake_process, provider

__all__ = ["fake_process", "provider"]
