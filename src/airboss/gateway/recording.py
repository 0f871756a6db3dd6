"""The frames of calls, held to the end of the event loop's turn and written before all that is sent in it.

So a call's open frame is in the journal before the first byte goes upstream, and its close frame before its
client has the last: both are sent by the `Outbox`, which has the frames written first. Redacted, checked and
written one by one, each in the midst of its call, they cost twice as much.
"""

from __future__ import annotations

import logging

from airboss.domain.errors import ApiError, Unavailable
from airboss.governance.redact import Redactor
from airboss.providers.outbox import Outbox
from airboss.telemetry.frames import HEAD_BYTES, FrameKind
from airboss.telemetry.journal import JournalWriter

PROMISED_BYTES = 64 * 1024
"""Of frames held at once. The journal has room for them before they are taken, so that a full disk is an
error of the call that it refuses."""

log = logging.getLogger("airboss.gateway")


class Recording:
    """One worker's. Both methods raise Unavailable where the journal can take no more."""

    def __init__(self, journal: JournalWriter, outbox: Outbox) -> None:
        self._journal = journal
        self._outbox = outbox
        self._held: list[tuple[FrameKind, bytes]] = []
        self._left = 0
        """Bytes of the promise that are not taken."""
        self._promised = 0
        self._redactor: Redactor | None = None
        outbox.before = self._write

    def open_long(self, redactor: Redactor, frame: bytes, request: bytes) -> None:
        """Write an open frame whose request is long: `frame` has null for it."""
        self._outbox.flush()  # frames stay in order
        self._journal.open(*redactor.redact_with(frame, request))

    def hold(self, kind: FrameKind, redactor: Redactor, frame: bytes) -> None:
        """Have a frame written: JSON of `OpenedCall` (`open`) or of `ClosedCall` (`close`)."""
        size = HEAD_BYTES + len(frame)
        if size > self._left or redactor is not self._redactor:
            if self._held:
                self._outbox.flush()
            if size > PROMISED_BYTES:
                append = self._journal.open if kind == "open" else self._journal.close_call
                append(redactor.redact(frame))
                return
            self._promise(size)
            self._redactor = redactor
            self._outbox.soon()
        self._left -= size
        self._held.append((kind, frame))

    def _promise(self, size: int) -> None:
        """Have room for a frame, and for others after it if the disk is not as good as full."""
        promised = PROMISED_BYTES
        try:
            self._journal.promise(promised)
        except Unavailable:
            promised = size
            self._journal.promise(promised)
        self._promised = self._left = promised

    def _write(self) -> bool:
        """Write the frames held; whether that went well."""
        redactor = self._redactor
        if redactor is None:
            return True
        held, self._held = self._held, []
        self._redactor, self._left = None, 0
        try:
            self._journal.append(redactor.redact_all(held), promised=self._promised)
        except ApiError as error:
            log.error("calls cannot be recorded; cut: %s", error)  # noqa: TRY400 - no trace needed
            return False
        return True
