"""The Airboss that leads, reached over its admin API by a machine that has joined it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import httpx2
import msgspec

from airboss.domain.errors import AirbossError, StoreUnavailable, WrongCall
from airboss.telemetry.metrics import Counts

TIMEOUT_S: Final = 60.0


class About(msgspec.Struct, frozen=True):
    """What a machine wants to know before it joins: the version, and a mark of the ledger."""

    version: str
    ledger: str | None


class HttpLeader:
    """Implements `shipping.Leader`; `counts` is what processes here count, by name.

    Raises StoreUnavailable where nobody answers, or it cannot be done now, and WrongCall where it is refused.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        name: str,
        said: dict[str, Any],
        counts: Callable[[], Mapping[str, Counts]],
    ) -> None:
        self._url = url
        self._name = name
        self._said = {"name": name, **said}
        self._counts = counts
        self._client = httpx2.Client(
            base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=TIMEOUT_S
        )

    def about(self) -> About:
        """Who answers there."""
        about: About = self._asked("GET", "", About)
        return about

    def take(self, journal: str, segment: str, at: int, piece: bytes) -> int:
        """As `Leader.take`."""
        place = f"/{self._name}/journals/{journal}/{segment}"
        headers = {"content-type": "application/octet-stream"}
        fields = {"params": {"at": str(at)}, "content": piece, "headers": headers}
        held: int = self._asked("POST", place, dict[str, int], **fields)["held"]
        return held

    def end(self, journal: str) -> None:
        """As `Leader.end`."""
        self._asked("POST", f"/{self._name}/journals/{journal}/ended", dict[str, str])

    def hear(self, *, clear_s: float | None, unsent_bytes: int) -> None:
        """As `Leader.hear`."""
        gateways = {
            name: Counts(
                written_at=each.written_at,
                plan=each.plan,
                revision=each.revision,
                kept_at=each.kept_at,
                outstanding=each.outstanding,
                targets=each.targets,
                limits=each.limits,
            )
            for name, each in self._counts().items()
            if name.startswith("gateway-")
        }
        said = {**self._said, "at": datetime.now(UTC), "clear_s": clear_s, "unsent_bytes": unsent_bytes}
        said["gateways"] = gateways
        self._asked("POST", "", dict[str, str], content=msgspec.json.encode(said))

    def leave(self) -> None:
        """As `Leader.leave`."""
        self._asked("POST", f"/{self._name}/leave", dict[str, str])

    def close(self) -> None:
        """Close connections."""
        self._client.close()

    def _asked(self, method: str, place: str, kind: Any, **fields: Any) -> Any:
        try:
            answer = self._client.request(method, f"/api/v1/nodes{quote(place)}", **fields)
            if answer.is_success:
                return msgspec.json.decode(answer.content, type=kind)
        except (httpx2.HTTPError, msgspec.DecodeError) as error:
            said = f"{self._url} does not answer as a console does: {error}{_remedy(self._url, str(error))}"
            raise StoreUnavailable(said) from error
        if answer.status_code == 401:
            raise WrongCall(
                f"{self._url} does not accept this admin key: set AIRBOSS_ADMIN_KEY to the right one, or to "
                "a console key with the role admin"
            )
        raise self._refused(answer)

    def _refused(self, answer: httpx2.Response) -> AirbossError:
        try:
            said = str(answer.json()["error"]["message"])
        except (ValueError, KeyError, TypeError):
            said = f"{answer.status_code}"
        kind = WrongCall if answer.status_code < 500 else StoreUnavailable
        return kind(f"{self._url} refuses: {said}")


def _remedy(url: str, said: str) -> str:
    """What to do where the two do not understand each other."""
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return "; put its certificate, or that of who issued it, into a file and name that in SSL_CERT_FILE"
    if url.startswith("http:") and "disconnected without" in said:
        return f"; if it speaks TLS, write https:{url.removeprefix('http:')}"
    return ""
