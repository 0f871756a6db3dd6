"""What a client may have a worker keep, and for how long."""

from __future__ import annotations

STRANGER_BODY_BYTES_MAX = 64 * 1024
"""Of who has not shown a good key: more is not kept, or a few hundred strangers would fill the memory."""
HEAD_S_MAX = 15.0
"""From the first byte of a request to the end of its head."""
BODY_GRACE_S = 30.0
BODY_RATE_MIN = 16 * 1024
"""Bytes a second, on average, that a body must come at after the grace."""
KEEP_ALIVE_S = 75.0
LINGER_S = 2.0
"""How long what is still being sent is read and dropped after a refusal, so that the client sees the answer
and not a reset."""
HALF_CLOSED_S = 0.5
"""How long who has stopped sending, and may have gone, is worked for."""
PIPELINE_MAX = 16
"""Requests waiting behind the one being served before reading stops, or ends, of who has shown no key."""
PIPELINE_BYTES_MAX = 1024 * 1024
"""Of their bodies: so many, and one body more."""
PIECE_BYTES = 2 * 1024
"""Of a read so much is parsed at once, or the rest of a body: requests can be as short as 26 bytes."""
STRANGER_UNREAD_S = 10.0
"""How long who has shown no key may leave answers unread; KEEP_ALIVE_S of who has."""
WRITE_BUFFER_BYTES = 64 * 1024
UNSENT_BYTES = 64 * 1024
"""Of answers that are not read: what a connection keeps, and what the kernel does beyond what is on its way,
which would be megabytes."""
