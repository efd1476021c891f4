"""Moves the data's time on: feeds what became known, asks the predictions that are due, lets the orchestrator act."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from cluster.story.asker import Asker
from cluster.story.plan import Timetable
from core.ingest.replay import Replay
from core.protocols import OrchestratorService
from core.schemas.workflows import LoopStatus


@dataclass(slots=True)
class Replayer:
    """The replay's position; each step is safe to repeat."""

    plan: Timetable
    replay: Replay
    asker: Asker
    orchestrator: OrchestratorService
    source: str
    now: int = 0
    steps_done: int = 0
    _next_visit: int = field(default=0)

    def begin(self) -> None:
        """Feed the history."""
        self.replay.feed(self.plan.live_from, self.source)
        self.now = self.plan.live_from

    @property
    def exhausted(self) -> bool:
        """Whether the data is at its end."""
        return self.now >= self.plan.end

    @property
    def share_done(self) -> float:
        """How much of the live part has passed."""
        return (self.now - self.plan.live_from) / max(1, self.plan.end - self.plan.live_from)

    def step(self) -> LoopStatus:
        """One step of the data's time, then one tick of the orchestrator."""
        until = min(self.now + self.plan.step_s, self.plan.end)
        self.replay.feed(until, self.source)
        due = bisect_right(self.plan.visits, until, lo=self._next_visit, key=lambda visit: visit.as_of)
        self.asker.ask(self.plan.visits[self._next_visit : due])
        self._next_visit, self.now = due, until
        self.steps_done += 1
        return self.orchestrator.tick()

    def finish(self, last: int) -> None:
        """Feed what is left, without asking: the database then holds the whole import."""
        self.replay.feed(max(last, self.now), self.source)
        self.now = max(last, self.now)
        self.orchestrator.tick()
