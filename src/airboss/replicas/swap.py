"""Where a plan sends calls: to the engines that are ready, and to a new one only once it is.

Pure. The plan that a configuration asks for is settled against how its engines stand, again and again as that
changes: the result differs from the last one only where calls should go elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from airboss.domain.plan import Canary, DeploymentPlan, Preview, Served, ServingPlan, Target
from airboss.domain.ports import Placement, Replica
from airboss.replicas.placing import Engine, Want, engine_of, state_of

COMING = frozenset({"fetching", "starting", "stopped", "backing_off"})
"""Not ready, and not given up."""
DETAIL_CHARS_MAX = 300


class Engines:
    """How the engines stand, by model and engine."""

    def __init__(
        self, wanted: Collection[Want], placements: Collection[Placement], rows: Mapping[str, Replica]
    ) -> None:
        self._wanted = {each.model: each.engine for each in wanted}
        self._rows = rows
        self._groups: dict[Engine, list[Placement]] = {}
        for placement in sorted(placements, key=lambda each: each.id):
            self._groups.setdefault(engine_of(placement), []).append(placement)

    def urls(self, model: str) -> tuple[str, ...]:
        """Where the engines of a model are placed as it is configured now, ready or not."""
        return tuple(each.url for each in self._active((model, self._wanted[model])))

    def target(self, target: Target) -> Target:
        """The target with the URLs of what is ready, or of what is coming; or with why there is neither. Its
        fallbacks likewise."""
        settled = self._pointed(target)
        if not target.fallbacks:
            return settled
        fallbacks = tuple(self._pointed(each) for each in target.fallbacks)
        return msgspec.structs.replace(settled, fallbacks=fallbacks)

    def _pointed(self, target: Target) -> Target:
        engine = self.engine(target)
        if engine is None:
            return target
        active = self._active(engine)
        if not active:
            return msgspec.structs.replace(target, engine=engine[1])
        ready = [each for each in active if self._state(each) == "ready"]
        coming = [each for each in active if self._state(each) in COMING]
        return msgspec.structs.replace(
            target,
            engine=engine[1],
            base_urls=tuple(each.url for each in ready or coming or active),
            down=None if ready or coming else self._why(engine[0], active),
        )

    def engine(self, target: Target) -> Engine | None:
        """The engine of a target: its own, else the one that its model is configured with. None if it is not
        local or its model runs no engine."""
        if target.kind != "local":
            return None
        engine = target.engine or self._wanted.get(target.upstream_model)
        return None if engine is None else (target.upstream_model, engine)

    def can_take_over(self, target: Target) -> bool:
        """Whether a target can be pointed to for the first time: something of it is ready, and no more is
        about to be. What is not local always can."""
        engine = self.engine(target)
        if engine is None:
            return True
        states = {self._state(each) for each in self._active(engine)}
        return "ready" in states and not states & COMING

    def alive(self, target: Target) -> bool:
        """Whether calls to a target may be answered. What is not local may always be."""
        engine = self.engine(target)
        return engine is None or any(self._state(each) != "failed" for each in self._active(engine))

    def _active(self, engine: Engine) -> list[Placement]:
        group = self._groups.get(engine, [])
        return [each for each in group if each.draining_since is None] or group

    def _state(self, placement: Placement) -> str:
        return state_of(placement, self._rows)

    def _why(self, model: str, active: Collection[Placement]) -> str:
        details = [row.detail for each in active if (row := self._rows.get(each.id)) and row.detail]
        said = details[0][:DETAIL_CHARS_MAX] if details else "it failed"
        return f"no engine of model {model!r} runs: {said}; mend that and run `airboss apply` again"


def settle(plan: ServingPlan, before: ServingPlan | None, engines: Engines) -> ServingPlan:
    """The plan with every local target pointed to what is ready.

    A deployment whose new engine cannot take over yet goes on with the release and target that it has in
    `before`, if those may still be answered, and the new release waits among `others`; a canary is shown, and
    a preview given, only once its engine is ready, and waits there too.
    """
    old = {each.name: each for each in before.deployments} if before is not None else {}
    deployments = tuple(_deployment(each, old.get(each.name), engines) for each in plan.deployments)
    settled = msgspec.structs.replace(plan, deployments=deployments, others=())
    shown = {served.release.digest for served in settled.served()}
    others = {served.release.digest: served for served in plan.served() if served.release.digest not in shown}
    return msgspec.structs.replace(settled, others=tuple(_served(each, engines) for each in others.values()))


def _deployment(new: DeploymentPlan, old: DeploymentPlan | None, engines: Engines) -> DeploymentPlan:
    stable, target = new.stable, engines.target(new.target)
    if old is not None and _waits(target, old.target, engines):
        stable, target = old.stable, engines.target(old.target)
    canary, preview = new.canary, new.preview
    if canary is not None:
        canary = _canary(canary, old.canary if old is not None else None, engines)
    if preview is not None:
        preview = _preview(preview, old.preview if old is not None else None, engines)
    return msgspec.structs.replace(
        new,
        stable=stable,
        target=target,
        canary=canary,
        preview=preview,
        shadow=_served(new.shadow, engines) if new.shadow is not None else None,
        compares=engines.target(new.compares) if new.compares is not None else None,
    )


def _waits(target: Target, old: Target, engines: Engines) -> bool:
    """Whether calls stay with the old target for now."""
    if target.kind != "local" or engines.engine(target) == engines.engine(old):
        return False
    return not engines.can_take_over(target) and engines.alive(old)


def _canary(canary: Canary, old: Canary | None, engines: Engines) -> Canary | None:
    shown = old is not None and old.rollout == canary.rollout
    if not shown and not engines.can_take_over(canary.served.target):
        return None
    return msgspec.structs.replace(canary, served=_served(canary.served, engines))


def _preview(preview: Preview, old: Preview | None, engines: Engines) -> Preview | None:
    shown = old is not None and old.served.release.digest == preview.served.release.digest
    if not shown and not engines.can_take_over(preview.served.target):
        return None
    return msgspec.structs.replace(preview, served=_served(preview.served, engines))


def _served(served: Served, engines: Engines) -> Served:
    return msgspec.structs.replace(served, target=engines.target(served.target))
