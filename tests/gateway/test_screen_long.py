"""Long requests under a policy: screened one after another, and not for who has left."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack
from pathlib import Path

from airboss.governance.policies import policy_of
from airboss.testing import FakeProvider
from tests.gateway.test_screen import MASKED, TEXT
from tests.support.gateway import KEY, Gateway, deployment
from tests.support.wait import until

LONG = TEXT * 24_000
HEAD = f"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\n"
LEFT = 8


def test_who_has_left_is_not_screened(own_root: Path, provider: FakeProvider) -> None:
    """Of clients who send megabytes each and leave, one at most is worked for to the end: what their requests
    take of the memory and of processors, ten times their length and a second, is never taken for all."""
    body = json.dumps({"model": "assistant", "messages": [{"role": "user", "content": LONG}]}).encode()
    masks = deployment(provider.url, policy=policy_of("mask", None))
    with Gateway(own_root, masks) as mine:
        before = mine.spent_s()
        assert mine.chat(LONG).status_code == 200
        one = mine.spent_s() - before
        before = mine.spent_s()
        with ExitStack() as opened:
            for _ in range(LEFT):
                line = opened.enter_context(socket.create_connection(("127.0.0.1", mine.port)))
                line.sendall(HEAD.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
            until(lambda: mine.spent_s() - before > one / 2)
        assert mine.chat(LONG).status_code == 200
        assert MASKED in provider.last().body
        assert mine.spent_s() - before < LEFT / 2 * one
