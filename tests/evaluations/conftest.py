"""The fake provider, for tests that call over HTTP."""

from tests.support.fake import fake_process, provider

__all__ = ["fake_process", "provider"]
