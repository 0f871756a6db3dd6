"""Who may look: the admin key, and the cookie that stands for it in a browser.

The cookie holds no secret: an expiry and a signature over it. The signature's key is made from the session
key and the admin key together, so a changed admin key ends every session.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64encode
from collections import OrderedDict
from datetime import datetime

COOKIE = "airboss_session"
LIFETIME_S = 12 * 3_600
"""A session ends after half a day, whatever happens in it."""

ATTEMPTS_MAX = 10
ATTEMPTS_WINDOW_S = 60.0
PEERS_MAX = 1_024


class Sessions:
    """Makes and checks the login cookie."""

    def __init__(self, *, session_key: str, admin_key: str) -> None:
        self._key = hmac.digest(session_key.encode(), b"airboss console\0" + admin_key.encode(), "sha256")

    def issue(self, now: datetime) -> str:
        """A cookie good for `LIFETIME_S` from `now`."""
        body = f"{int(now.timestamp()) + LIFETIME_S}.{secrets.token_urlsafe(9)}"
        return f"{body}.{self._sign(body)}"

    def valid(self, cookie: str | None, now: datetime) -> bool:
        """Whether the cookie is ours and has not run out. Never raises, whatever it holds."""
        if cookie is None or len(cookie) > 200 or not cookie.isascii():
            return False
        body, _, signature = cookie.rpartition(".")
        if not body or not hmac.compare_digest(signature, self._sign(body)):
            return False
        return now.timestamp() < int(body.partition(".")[0])

    def _sign(self, body: str) -> str:
        return urlsafe_b64encode(hmac.digest(self._key, body.encode(), "sha256")).decode().rstrip("=")


class Attempts:
    """Counts failed logins and wrong admin keys by peer: at most `ATTEMPTS_MAX` in `ATTEMPTS_WINDOW_S`, for
    `PEERS_MAX` peers.

    The peer least recently seen is forgotten first, so the table is bounded; what is guessed is a key of 256
    random bits, so nothing is gained by making it forget.
    """

    def __init__(self) -> None:
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def wait_s(self, peer: str, now: float) -> float:
        """Seconds until this peer may try again; 0.0 when it may now. `now` is monotonic."""
        recent = [at for at in self._failures.get(peer, ()) if now - at < ATTEMPTS_WINDOW_S]
        if len(recent) < ATTEMPTS_MAX:
            return 0.0
        return ATTEMPTS_WINDOW_S - (now - recent[-ATTEMPTS_MAX])

    def failed(self, peer: str, now: float) -> bool:
        """Note a failure; returns whether this was the last that the peer had."""
        recent = [at for at in self._failures.pop(peer, []) if now - at < ATTEMPTS_WINDOW_S]
        self._failures[peer] = [*recent[-ATTEMPTS_MAX + 1 :], now]
        while len(self._failures) > PEERS_MAX:
            self._failures.popitem(last=False)
        return len(self._failures[peer]) == ATTEMPTS_MAX

    def pardon(self, peer: str) -> None:
        """Take the peer's last failure back: it was none."""
        if self._failures.get(peer):
            self._failures[peer].pop()

    def succeeded(self, peer: str) -> None:
        """Forget a peer's failures."""
        self._failures.pop(peer, None)
