"""Fixtures of this folder."""

from tests.support.fake import fake_process, provider

__all__ = ["fake_process", "provider"]
