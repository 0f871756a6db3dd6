"""Spans under policies. Loaded where there is a policy only."""

from __future__ import annotations

from collections.abc import Mapping

from airboss.domain.record import PolicyFinding
from airboss.domain.release import PiiAction, PiiKind
from airboss.governance.findings import Findings
from airboss.governance.screening import screen_text, screening_policy
from airboss.governance.screening_chat import SPARED
from airboss.governance.screening_json import screen_json


class SpanScreen:
    """Masks what policies do not only observe: there is nobody to give a token's value back to, and what
    would be blocked has happened already."""

    def __init__(self, actions: Mapping[PiiKind, PiiAction]) -> None:
        self._policy = screening_policy(
            {kind: "observe" if action == "observe" else "mask" for kind, action in actions.items()}
        )

    def body(self, json: bytes | None, where: str) -> tuple[bytes | None, tuple[PolicyFinding, ...]]:
        """JSON as it may be kept, and what was found in it."""
        if json is None:
            return None, ()
        findings = Findings(self._policy)
        spared = SPARED if where == "request" else frozenset()
        screened = screen_json(self._policy, json, where=where, findings=findings, spared=spared)
        return screened.data, findings.listed()

    def text(self, text: str) -> str:
        """Text as it may be kept."""
        return screen_text(self._policy, text).text
