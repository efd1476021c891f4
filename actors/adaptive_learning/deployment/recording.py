"""Says what a recorded event means to a roll-out that has gone another way on the same traffic.

Facts of the world are kept, what belongs to the recorded course is put in terms of the other one, and what only
answered the recorded course is left out. The module `retrospective` tells the rules and their limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from actors.adaptive_learning.deployment import freeze
from actors.adaptive_learning.deployment.events import (
    Aliased,
    Calendar,
    Command,
    Counts,
    Event,
    Observed,
    Pairs,
    Release,
    Released,
    Requested,
    Restored,
    SetSplit,
    Steer,
    Tick,
)
from actors.adaptive_learning.deployment.judge import Hold
from actors.adaptive_learning.deployment.record import Record, intended
from core.schemas.rollouts import SplitReport, TrafficSplit

_SUPPLIED = (Requested, Calendar, Aliased, Restored, Released)


@dataclass(slots=True)
class World:
    """What the recording knows of the world at a row: the split then in force, and how the routers were."""

    clip: float
    windows: tuple[freeze.Window, ...]
    split: TrafficSplit | None = None
    reports: tuple[SplitReport, ...] = ()
    answered: TrafficSplit | None = None
    left: bool = False

    def told(self, commands: tuple[Command, ...]) -> None:
        """Take note of what was ordered in the recording."""
        for command in commands:
            if isinstance(command, SetSplit):
                self.split = command.split
                self.left = self.left or command.split.canary is None
            self.left = self.left or isinstance(command, Release)

    def facts(self, record: Record, at: int, event: Event) -> Iterator[Event]:
        """What a recorded event says to a roll-out that may have gone another way."""
        if isinstance(event, Observed):
            self.reports = event.reports
            yield self.observed(record)
            return
        if isinstance(event, Counts | Tick) and intended(record) != self.answered:
            yield self.observed(record)
        match event:
            case Counts():
                yield self._counts(record, event)
            case Pairs():
                yield self._pairs(record, event)
            case Tick():
                window = next((window.text for window in self.windows if window.holds(at)), "")
                if bool(window) != (Hold.FROZEN in record.holds):
                    yield Calendar(window)
                yield event
            case Steer():
                if event.action == "resume":
                    yield event
            case _:
                if not isinstance(event, _SUPPLIED):
                    yield event

    def observed(self, record: Record) -> Observed:
        """The routers as healthy as they were, with the split that this roll-out intends."""
        wanted = self.answered = intended(record)
        if wanted is None:
            return Observed(self.reports)
        return Observed(tuple(self._report(report, wanted) for report in self.reports))

    def _report(self, report: SplitReport, wanted: TrafficSplit) -> SplitReport:
        split = self.split
        if split is None or report.epoch < split.epoch:  # on its way to a split that only the recording ordered
            obeyed = (wanted.epoch, wanted.stable, wanted.canary, wanted.weight)
            return SplitReport(*obeyed, canary_ready=True, breaker_open=False, frozen=False, pid=report.pid)
        trial = split.canary is not None
        return SplitReport(
            epoch=wanted.epoch,
            stable=wanted.stable if report.stable == split.stable else None,
            canary=wanted.canary,
            weight=wanted.weight if report.weight == split.weight else report.weight,
            canary_ready=report.canary_ready or not trial,
            breaker_open=report.breaker_open and trial,
            frozen=report.frozen and trial,
            pid=report.pid,
            canary_gone=report.canary_gone and trial,
        )

    def _counts(self, record: Record, event: Counts) -> Counts:
        executions = event.executions
        if not record.config.by_known_age and len(executions) > 1:
            executions = {segment: seen for segment, seen in executions.items() if segment == ""}
        routed = self.split is not None and self.split.weight == record.weight
        keys = (event.stable_keys, event.canary_keys) if routed else (0, 0)
        return Counts(executions, event.first_attempts, *keys, event.cursors)

    def _pairs(self, record: Record, event: Pairs) -> Pairs:
        """In units of the wanted clip. A post's mean over several predictions is clipped as one value.

        What is no difference in these units, like NaN, is left to the judge, which ignores it.
        """
        scale = self.clip / record.config.quality_clip
        if scale == 1.0:
            return event
        clipped = (max(-1.0, min(1.0, d * scale)) if -1.0 <= d <= 1.0 else d for d in event.differences)
        return replace(event, differences=tuple(clipped))
