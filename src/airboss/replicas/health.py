"""Whether an engine answers, and whether it gets on."""

from __future__ import annotations

from urllib.parse import urlsplit


def healthy(url: str) -> bool:
    """Whether the engine whose base URL (`http://127.0.0.1:8702` or `…/v1`) is `url` has loaded its model.

    Asks `/health`; False for no connection, no answer within two seconds, or a status other than 200 (503
    while the model loads). Never raises for what the engine does. Blocks: in a loop call it in a thread.
    """
    return _answers(url, "/health", 2.0)


def moving(url: str, *, timeout_s: float) -> bool:
    """Whether the engine comes round to a question within `timeout_s`; otherwise as `healthy`.

    Asks `/slots`, which waits its turn in the loop that computes: `/health` is answered even by an engine
    that is stuck in one request.
    """
    return _answers(url, "/slots", timeout_s)


def _answers(url: str, path: str, timeout_s: float) -> bool:
    # Every process knows of engines, and few ask one.
    from http.client import HTTPConnection, HTTPException  # noqa: PLC0415

    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
