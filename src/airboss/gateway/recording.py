"""The frames of calls, held to the end of the event loop's turn and written before all that is sent in it.

So a call's open frame is in the journal before the first byte goes upstream, and its close frame before its
client has the last: both are sent by the `Outbox`, which has the frames written first. Encoded, redacted,
checked and written one by one, each in the midst of its call, they cost twice as much.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial

import msgspec

from airboss.domain.errors import ApiError, Unavailable
from airboss.domain.record import ClosedCall, OpenedCall, Redacted
from airboss.gateway.judge import UNRECORDED
from airboss.governance.redact import Redactor
from airboss.providers.outbox import Outbox
from airboss.store.wording import many
from airboss.telemetry.frames import HEAD_BYTES, FrameKind, framed
from airboss.telemetry.journal import JournalWriter

PROMISED_BYTES = 64 * 1024
"""Of frames held at once. The journal has room for them before they are taken, so that a full disk is an
error of the call that it refuses."""
LONG_HELD_MAX = 4 * 1024 * 1024
"""With more, what is held is written before another long frame is."""
OWED_MAX = 10_000
"""Ends of calls that wait for room on the disk, of about a kilobyte; others are `interrupted` at last."""
OWED_AT_ONCE = 500
OWED_S = 1.0
"""Between two tries to write them."""
FRAME_BYTES = 1500
"""What a frame has beside a body, of which most have less."""

_encode = msgspec.json.Encoder(decimal_format="number").encode
log = logging.getLogger("airboss.gateway")


def unrecorded() -> Unavailable:
    """The refusal of a call whose open frame could not be written after all."""
    return Unavailable("the call cannot be recorded, so it is not served; the log says why", code=UNRECORDED)


def without_room(closed: ClosedCall) -> ClosedCall:
    """What is recorded of a call for whose end there was no room: its client was told so."""
    if closed.status == "ok":
        closed = msgspec.structs.replace(closed, status="error", error_type=UNRECORDED)
    return msgspec.structs.replace(closed, response=None)


class Recording:
    """One worker's. Its methods raise Unavailable where the journal can take no more."""

    def __init__(
        self, journal: JournalWriter, outbox: Outbox, *, written: Callable[[], None] = lambda: None
    ) -> None:
        self._journal = journal
        self._outbox = outbox
        self._written = written
        self._held: list[tuple[FrameKind, OpenedCall | ClosedCall]] = []
        self._long: dict[int, bytes] = {}
        """The long requests of those held, by their place."""
        self._left = 0
        """Bytes of the promise that are not taken."""
        self._promised = 0
        self._redactor: Redactor | None = None
        self.unrecorded: set[str] = set()
        """Calls under way whose open frame could not be written after all; nor is their end written."""
        self._owed: deque[tuple[Redactor, ClosedCall]] = deque()
        self._trying = False
        self.lost: set[str] | None = None
        """Calls whose end could not be written after all, where somebody is to know."""
        outbox.before = self._before

    def open_long(self, redactor: Redactor, opened: OpenedCall, request: bytes) -> None:
        """Have an open frame written whose request, which `opened` lacks, is long."""
        if self._held and (redactor is not self._redactor or self._promised > LONG_HELD_MAX):
            self._outbox.flush()
        size = FRAME_BYTES + len(request)
        if self._redactor is None:
            self._promise(opened, size)
            self._redactor = redactor
            self._outbox.soon()
        else:
            self._journal.promise(size)
            self._promised += size
        self._long[len(self._held)] = request
        self._held.append(("open", opened))

    def hold(
        self, kind: FrameKind, redactor: Redactor, frame: OpenedCall | ClosedCall, body: msgspec.Raw | None
    ) -> None:
        """Have a frame written; `body` is the one that it has."""
        if self.unrecorded and kind == "close" and self._unopened(frame.id):
            return
        size = FRAME_BYTES if body is None else FRAME_BYTES + len(body)
        if size > self._left or redactor is not self._redactor:
            if self._held:
                self._outbox.flush()
                # Again: this call's own beginning may have been among what was held.
                if kind == "close" and self._unopened(frame.id):
                    return
            try:
                if size > PROMISED_BYTES:
                    append = self._journal.open if kind == "open" else self._journal.close_call
                    append(redactor.redact(_encode(frame)))
                    return
                self._promise(frame)
            except ApiError:
                self._owe(redactor, frame)
                raise
            self._redactor = redactor
            self._outbox.soon()
        self._left -= size
        self._held.append((kind, frame))

    def _unopened(self, record_id: str) -> bool:
        """Whether the call that ends now is one whose open frame could not be written; it is forgotten."""
        unopened = record_id in self.unrecorded
        self.unrecorded.discard(record_id)
        return unopened

    def _owe(self, redactor: Redactor, frame: OpenedCall | ClosedCall) -> None:
        """Have the end of a call written once there is room, without its body: what it used was used, though
        its client has been told that it cannot be recorded."""
        if isinstance(frame, OpenedCall) or len(self._owed) >= OWED_MAX:
            return
        self._owed.append((redactor, without_room(frame)))
        self._try_later()

    def _try_later(self) -> None:
        if not self._trying:
            self._trying = True
            asyncio.get_running_loop().call_later(OWED_S, self._try_again)

    def _try_again(self) -> None:
        self._trying = False
        self.pay(OWED_AT_ONCE)
        if self._owed:
            self._try_later()

    def pay(self, most: int = OWED_MAX) -> None:
        """Write the ends of calls that found no room when they came, as far as there is some now."""
        for redactor, closed in list(self._owed)[:most]:
            try:
                self._journal.close_call(redactor.redact(_encode(closed)))
            except Unavailable:
                return
            except Exception:
                log.exception("the end of a call cannot be recorded")
            self._owed.popleft()

    def trouble(self) -> str:
        """Why the journal takes no more calls now; empty where it does. It need not have been told of any:
        who waits until this is ready sends none."""
        try:
            self._journal.promise(PROMISED_BYTES)
            self._journal.append_pieces((), promised=PROMISED_BYTES)
        except Unavailable as error:
            return error.message
        return ""

    def _promise(self, frame: OpenedCall | ClosedCall, long: int = 0) -> None:
        """Have room for a frame, and for others after it if the disk is not as good as full; `long` bytes are
        for it alone."""
        promised = PROMISED_BYTES + long
        left = PROMISED_BYTES
        try:
            self._journal.promise(promised)
        except Unavailable:
            own = HEAD_BYTES + len(_encode(frame))
            promised, left = own + long, 0 if long else own
            self._journal.promise(promised)
        self._promised, self._left = promised, left

    def _before(self) -> ApiError | None:
        error = self._write()
        self._written()
        return error

    def _write(self) -> ApiError | None:
        """Write the frames held; why not, if that fails."""
        redactor = self._redactor
        if redactor is None:
            return None
        held, self._held = self._held, []
        long, self._long = self._long, {}
        self._redactor, self._left = None, 0
        try:
            try:
                frames = [(kind, _encode(frame)) for kind, frame in held]
                if long:
                    append = partial(self._journal.append_pieces, _in_pieces(redactor, frames, long))
                else:
                    append = partial(self._journal.append, redactor.redact_all(frames, framed))
            except BaseException:
                self._journal.append_pieces((), promised=self._promised)
                raise
            append(promised=self._promised)
        except Exception as error:
            # Nothing may be sent that has no record, and the next turn must not meet the same again.
            cut = f"{many(len(held), 'frame')} cannot be recorded; the connections of their turn are cut"
            if isinstance(error, ApiError):
                log.error("%s: %s", cut, error)  # noqa: TRY400 - a full disk is no defect of ours
            else:
                log.exception(cut)
            ended = {frame.id for kind, frame in held if kind == "close"}
            begun = {frame.id for kind, frame in held if kind == "open"}
            if self.lost is not None:
                self.lost |= ended
            self.unrecorded |= begun - ended
            for _, frame in held:
                if frame.id not in begun:
                    self._owe(redactor, frame)
            return unrecorded()
        return None


def _in_pieces(
    redactor: Redactor, frames: list[tuple[FrameKind, bytes]], long: dict[int, bytes]
) -> list[tuple[FrameKind, tuple[Redacted, ...]]]:
    """Frames redacted, those with a long request in pieces."""
    return [
        (kind, redactor.redact_with(text, long[place]) if place in long else (redactor.redact(text),))
        for place, (kind, text) in enumerate(frames)
    ]
