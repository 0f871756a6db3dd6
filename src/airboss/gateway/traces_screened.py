"""Spans under policies. Loaded where there is a policy only."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from airboss.domain.record import PolicyFinding
from airboss.domain.release import CustomKind, PiiAction
from airboss.governance.findings import Findings
from airboss.governance.names import Names
from airboss.governance.screening import ScreeningPolicy, reading_ahead, screen_text, screening_policy
from airboss.governance.screening_chat import SPARED
from airboss.governance.screening_json import screen_json

_SPARED = SPARED - {("model",)}
"""An app's model has no name of ours."""

Learn = Callable[[Names], None]
"""Has what is missing found. Raises Unavailable."""


class SpanScreen:
    """Masks what policies do not only observe: there is nobody to give a token's value back to, and what
    would be blocked has happened already."""

    def __init__(
        self,
        actions: Mapping[str, PiiAction],
        learn: Learn | None = None,
        custom: tuple[CustomKind, ...] = (),
    ) -> None:
        self._learn = learn
        self._policy = screening_policy(
            {kind: "observe" if action == "observe" else "mask" for kind, action in actions.items()},
            Names() if learn is not None else None,
            custom,
        )

    def body(self, json: bytes | None, where: str) -> tuple[bytes | None, tuple[PolicyFinding, ...]]:
        """JSON as it may be kept, and what was found in it. Raises Unavailable."""
        if json is None:
            return None, ()
        spared = _SPARED if where == "request" else frozenset()

        def work(policy: ScreeningPolicy, found: Findings) -> bytes:
            return screen_json(policy, json, where=where, findings=found, spared=spared).data

        self._read_ahead(lambda policy: work(policy, Findings(policy)))
        findings = Findings(self._policy)
        return work(self._policy, findings), findings.listed()

    def text(self, text: str) -> str:
        """Text as it may be kept. Raises Unavailable."""
        self._read_ahead(lambda policy: screen_text(policy, text))
        return screen_text(self._policy, text).text

    def _read_ahead(self, work: Callable[[ScreeningPolicy], object]) -> None:
        """Have the names found in what `work` screens."""
        if self._learn is None or not self._policy.asks_names:
            return
        ahead = reading_ahead(self._policy)
        work(ahead)
        if ahead.names is not None and ahead.names.missing:
            self._learn(ahead.names)
