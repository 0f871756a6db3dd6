"""Who may look: the cookie that stands for a key or a person in a browser.

The cookie holds no secret: an expiry, an id, the name of a console key or of a person where it stands for
one, and a signature over that. The signature's key is made from the session key, the admin key and what the
session is bound to (`callers.bond`), so a changed admin key ends every session. Signing out ends one, with
all copies of its cookie (`store.ended`).
"""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict, deque
from datetime import datetime

import msgspec

from airboss.governance.sign_in import Person
from airboss.store.ended import Ended

COOKIE = "airboss_session"
LIFETIME_S = 12 * 3_600
"""A session ends after half a day, whatever happens in it."""

COOKIE_CHARS_MAX = 2_000
PERSON = "~"
"""Begins the name of a person, which no key's name begins with."""

ATTEMPTS_MAX = 10
ATTEMPTS_WINDOW_S = 60.0
PEERS_MAX = 1_024
TOLD_MAX = 60
"""That peers were shut out, in TOLD_WINDOW_S: the audit log never gets shorter, and addresses are cheap."""
TOLD_WINDOW_S = 3_600.0


class Sessions:
    """Makes, checks and ends the login cookie."""

    def __init__(self, *, session_key: str, admin_key: str, ended: Ended) -> None:
        self._ended = ended
        self._key = hmac.digest(session_key.encode(), b"airboss console\0" + admin_key.encode(), "sha256")

    def issue(self, now: datetime, *, name: str = "", bond: str = "") -> str:
        """A cookie good for `LIFETIME_S` from `now`: the admin key's, or that of the console key or person
        `name`, as long as `bond` is."""
        body = f"{int(now.timestamp()) + LIFETIME_S}.{secrets.token_urlsafe(9)}" + (
            f".{name}" if name else ""
        )
        return f"{body}.{self._sign(body, bond)}"

    def valid(self, cookie: str | None, now: datetime, *, bond: str = "") -> bool:
        """Whether the cookie is ours, bound to just this, and has not run out. Never raises, whatever it
        holds."""
        if cookie is None or len(cookie) > COOKIE_CHARS_MAX or not cookie.isascii():
            return False
        body, _, signature = cookie.rpartition(".")
        if not body or not hmac.compare_digest(signature, self._sign(body, bond)):
            return False
        until, session = _parts_of(body)
        return now.timestamp() < until and not self._ended.holds(session, until)

    def end(self, cookie: str, now: datetime) -> None:
        """End the session of a cookie that is valid, and of every copy of it."""
        until, session = _parts_of(cookie.rpartition(".")[0])
        self._ended.add(session, until, now=int(now.timestamp()))

    def _sign(self, body: str, bond: str) -> str:
        # A key of its own for each bond: whoever knows theirs, as the holder of a key does, could else write
        # it into the body of a cookie that is bound to nothing, the admin key's.
        key = hmac.digest(self._key, bond.encode(), "sha256")
        return urlsafe_b64encode(hmac.digest(key, body.encode(), "sha256")).decode().rstrip("=")


def _parts_of(body: str) -> tuple[int, str]:
    """When a session runs out, and its id, of what we have signed."""
    until, session, *_ = body.split(".", 2)
    return int(until), session


def claimed(cookie: str | None) -> str | None:
    """The console key or person that a cookie claims to stand for, unchecked; None where it claims none."""
    parts = cookie.rpartition(".")[0].split(".", 2) if cookie and len(cookie) <= COOKIE_CHARS_MAX else []
    return parts[2] if len(parts) == 3 else None


def as_name(person: Person) -> str:
    """Somebody who signed in, as a cookie names them."""
    return PERSON + urlsafe_b64encode(msgspec.json.encode(person)).decode().rstrip("=")


def person_named(name: str) -> Person | None:
    """The person whom a cookie claims to stand for, unchecked; None where it claims none."""
    body = name.removeprefix(PERSON)
    if body == name:
        return None
    try:
        return msgspec.json.decode(urlsafe_b64decode(body + "=" * (-len(body) % 4)), type=Person)
    except (ValueError, msgspec.DecodeError):
        return None


class Attempts:
    """Counts failed logins and wrong admin keys by peer: at most `ATTEMPTS_MAX` in `ATTEMPTS_WINDOW_S`, for
    `PEERS_MAX` peers.

    The peer least recently seen is forgotten first, so the table is bounded; what is guessed is a key of 256
    random bits, so nothing is gained by making it forget.
    """

    def __init__(self) -> None:
        self._failures: OrderedDict[str, list[float]] = OrderedDict()
        self._told: deque[float] = deque(maxlen=TOLD_MAX)

    def wait_s(self, peer: str, now: float) -> float:
        """Seconds until this peer may try again; 0.0 when it may now. `now` is monotonic."""
        recent = [at for at in self._failures.get(peer, ()) if now - at < ATTEMPTS_WINDOW_S]
        if len(recent) < ATTEMPTS_MAX:
            return 0.0
        return ATTEMPTS_WINDOW_S - (now - recent[-ATTEMPTS_MAX])

    def failed(self, peer: str, now: float) -> bool:
        """Note a failure; returns whether this was the last that the peer had, and is to be told: at most
        TOLD_MAX are, whoever they are."""
        recent = [at for at in self._failures.pop(peer, []) if now - at < ATTEMPTS_WINDOW_S]
        self._failures[peer] = [*recent[-ATTEMPTS_MAX + 1 :], now]
        while len(self._failures) > PEERS_MAX:
            self._failures.popitem(last=False)
        many = len(self._told) == TOLD_MAX and now - self._told[0] < TOLD_WINDOW_S
        if many or len(self._failures[peer]) < ATTEMPTS_MAX:
            return False
        self._told.append(now)
        return True

    def pardon(self, peer: str) -> None:
        """Take the peer's last failure back: it was none. Those before it stand: whoever has a key of their
        own could else go on guessing another one for ever."""
        if self._failures.get(peer):
            self._failures[peer].pop()

    def succeeded(self, peer: str) -> None:
        """Forget a peer's failures."""
        self._failures.pop(peer, None)
