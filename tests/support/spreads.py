"""A worker whose deployments are shared by models of two providers, each in a dialect of its own."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from airboss.domain.plan import DeploymentPlan, Retry, Target
from airboss.testing import FakeProvider
from tests.support.gateway import PATIENT, PRICE, Gateway, deployment
from tests.support.wait import until

MODEL = "x-airboss-model"
OURS, CLAUDE = "fake/up", "claude/sonnet"
SAID = "Claude answers in its own words, all of them."
SETTLED: dict[str, Any] = {"price": PRICE, "timeout": PATIENT, "continuation": "off", "aliases": ()}


def spread(plan: DeploymentPlan, *others: Target, shares: tuple[float, ...]) -> DeploymentPlan:
    """The deployment with others that share its calls; those beyond the shares are fallbacks."""
    target = msgspec.structs.replace(plan.target, fallbacks=others, shares=shares)
    stable = msgspec.structs.replace(plan.stable, shares=shares)
    return msgspec.structs.replace(plan, target=target, stable=stable)


def claude(url: str, **changes: Any) -> Target:
    """A model in Anthropic's dialect."""
    root = url.removesuffix("/v1")
    fields: dict[str, Any] = {"provider": "claude", "upstream_model": "sonnet", "price": PRICE}
    fields |= {"kind": "anthropic", "base_urls": (f"{root}/v1",), "continuation": "off"}
    return Target(**fields | changes)


def plain(url: str, name: str, **changes: Any) -> DeploymentPlan:
    """A deployment that is not shared yet."""
    return deployment(url, name=name, **SETTLED | {"retry": Retry(attempts=2)} | changes)


class Shared(Gateway):
    """The worker. `sessions` has one that is drawn for each model."""

    def __init__(self, root: Path, *deployments: DeploymentPlan, **more: Any) -> None:
        super().__init__(root, *deployments, **more)
        self.sessions: dict[str, str] = {}

    def session(self, model: str, of: str = "half") -> str:
        """A session whose calls of a deployment go to a model where all are well."""
        for number in range(200):
            if len(self.sessions) == 2:
                break
            name = f"session-{number}"
            answer = self.chat(model=of, metadata={"session_id": name})
            self.sessions.setdefault(answer.headers[MODEL], name)
        return self.sessions[model]

    def settle(self, *providers: FakeProvider, of: str = "half") -> None:
        """Have all providers be as they were when they began, and nothing speak against any."""
        for each in providers:
            each.reset()
        for model in (OURS, CLAUDE):
            until(partial(self._answers, model, of))
        for each in providers:
            each.reset()

    def _answers(self, model: str, of: str) -> bool:
        answer = self.chat(model=of, metadata={"session_id": self.session(model, of)})
        return answer.headers.get(MODEL) == model

    def drawn_for(self, model: str, of: str = "half", **body: Any) -> httpx2.Response:
        """A chat that is drawn for a model."""
        return self.chat(model=of, metadata={"session_id": self.session(model)}, **body)


def streamed(text: str) -> str:
    """What a whole stream says."""
    assert text.endswith("data: [DONE]\n\n"), text
    events = [e.removeprefix("data: ") for e in text.split("\n\n") if e.startswith("data: {")]
    choices = [choice for event in events for choice in msgspec.json.decode(event)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)
