"""Stands for what lives outside: a canary's Serve application that can go wrong, and the roll-outs' own service."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Any, cast

from ray.exceptions import ActorDiedError

from core.codec import to_plain
from core.errors import NotFound, Refused
from core.schemas.rollouts import (
    Explanation,
    Replayed,
    RolloutConfig,
    RolloutEvent,
    RolloutPlan,
    RolloutStatus,
    StepPlan,
    TrafficFigures,
    WhenBusy,
)
from core.store.database import Database
from serve_apps.gateway.services import GatewayParts, Services
from serve_apps.predictor.arms import Model


@dataclass
class Response:
    """What a handle's call returns: awaited in the loop, or asked for its result in a thread."""

    call: Any
    slow: bool = False
    cancelled: bool = False

    def __await__(self) -> Generator[Any, None, Any]:
        return self._run().__await__()

    async def _run(self) -> Any:
        if self.slow:
            await asyncio.sleep(60)
        return self.call()

    def result(self, timeout_s: float) -> Any:
        if self.slow:
            raise TimeoutError(f"no result in {timeout_s} s")
        return self.call()

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Method:
    """One method of the handle."""

    run: Any
    owner: StandIn

    def remote(self, *args: Any) -> Response:
        self.owner.calls += 1
        return Response(lambda: self.run(*args), slow=self.owner.trouble == "slow")


@dataclass
class StandIn:
    """trouble: "" (well), slow, dead, wrong (an exception), nonsense (numbers that make no sense)."""

    version: int
    model: Model
    trouble: str = ""
    calls: int = field(default=0)

    @property
    def score(self) -> Method:
        return Method(self._score, self)

    @property
    def served_version(self) -> Method:
        return Method(self._version, self)

    def _version(self) -> int:
        if self.trouble == "dead":
            raise ActorDiedError
        return self.version

    def _score(self, vectors: Any, bases: Any) -> Any:
        if self.trouble == "dead":
            raise ActorDiedError
        if self.trouble == "wrong":
            raise ValueError("wrong shape")
        scores = self.model.predict(vectors, bases)
        return ({t: -v for t, v in scores.items()} if self.trouble == "nonsense" else scores), 0.25


MEASURED = TrafficFigures(25.0, 0.001, 400.0, 0.3, measured_over_s=3600.0, n=90_000)


@dataclass
class RolloutDesk:
    """The roll-outs' part of the orchestrator with a script: each look at a roll-out shows the next status.

    story: statuses from the first to the last, which stays. events: what the log holds at that time, by its length.
    """

    story: list[RolloutStatus]
    events: tuple[RolloutEvent, ...] = ()
    plan: RolloutPlan | Exception | None = None
    identical: bool = True
    verified: bool = True
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    looks: int = 0

    @property
    def now(self) -> RolloutStatus:
        return self.story[min(self.looks, len(self.story)) - 1] if self.looks else self.story[0]

    def plan_rollout(self, model: str, config: RolloutConfig, assumed: TrafficFigures | None = None) -> RolloutPlan:
        self.asked.append(("plan", model, config, assumed))
        if isinstance(self.plan, Exception):
            raise self.plan
        steps = tuple(
            StepPlan(weight, hold, 90.0, "quality" if "quality" in gates else gates[0], dict.fromkeys(gates, 90.0))
            for weight, hold, gates in zip(config.steps, config.hold_s, config.gates, strict=True)
        )
        usual = RolloutPlan(model, assumed or MEASURED, steps, 600.0, {"errors x10": 26.0, "dead": None})
        return self.plan or usual

    def start_rollout(
        self, model: str, version: int, config: RolloutConfig, key: str, when_busy: WhenBusy = "queue"
    ) -> RolloutStatus:
        self.asked.append(("start", model, version, config, when_busy))
        if when_busy == "reject":
            raise Refused("roll-out r0 is under way")
        return replace(self.story[0], challenger=version, config=config)

    def rollout(self, rollout_id: str) -> RolloutStatus:
        self._known(rollout_id)
        self.looks += 1
        return self.now

    def rollouts(self, model: str) -> tuple[RolloutStatus, ...]:
        return (self.story[0],) if model == self.story[0].model else ()

    def rollout_events(self, rollout_id: str) -> tuple[RolloutEvent, ...]:
        self._known(rollout_id)
        return self.events

    def replay_rollout(self, rollout_id: str, config: RolloutConfig | None = None) -> Replayed:
        self.asked.append(("replay", rollout_id, config))
        at = ({"at_s": 0.0, "phase": "canary_10", "reason": "ready"},)
        if config is None:
            return Replayed(rollout_id, 12, self.identical, 3600.0, 0.5, "promoted", "all gates", 1.0, at)
        return Replayed(rollout_id, 12, None, 3600.0, 0.5, "rolled_back", "worse by quality", 0.0, at)

    def explain_rollout(self, rollout_id: str) -> Explanation:
        self._known(rollout_id)
        changed = {
            "seq": 3,
            "at": 1_700_000_000,
            "from": "preparing",
            "to": "canary_10",
            "reason": "ready",
            "evidence": [to_plain(line) for line in self.now.evidence],
            "hash": "ab",
        }
        return Explanation(self.now, (changed,), {"no_labels": 75.0}, 3, self.verified, 12)

    def steer(self, rollout_id: str, action: str, reason: str) -> RolloutStatus:
        self._known(rollout_id)
        self.asked.append(("steer", rollout_id, action, reason))
        if action == "promote":
            raise Refused("not enough evidence: quality log e 0.40 of 3.00")
        return replace(self.now, reason=f"{action}: {reason}")

    def _known(self, rollout_id: str) -> None:
        if rollout_id != self.story[0].id:
            raise NotFound(f"no roll-out {rollout_id!r}")

    def parts(self, database: Database, clock: Any, settings: Any) -> GatewayParts:
        """A gateway's, with nobody else there."""
        nobody: dict[str, Any] = dict.fromkeys(Services.__dataclass_fields__)
        return GatewayParts(cast(Any, Services)(**nobody | {"orchestrator": self}), database, clock, settings)
