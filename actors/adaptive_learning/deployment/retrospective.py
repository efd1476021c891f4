"""Decides where a roll-out's log leads: bit for bit as recorded, or on the same traffic under another configuration.

Another configuration meets a world made from the recording. What the recording holds of the world is used as it is:
executions, pairs, due outcomes, drifts, the registry's moves, the routers' health, the passing of time. What answers an
order is supplied: routers do what they are told with the next look, unless they were ill or unheard then; the registry
and the release of a version follow at once; approvals are given as soon as they are asked for. Freeze windows are
computed again from the rows' own times. Of a person's words only `resume` counts, which ends a hold that a moved alias
set; a pause, a waiver or an abort was an answer to what was seen under the recorded configuration.

Limits. Both versions execute every request of a trial whatever the share, so counts carry over to other steps; the
canary's part of them was answered at the recorded share, though, and background scoring may fail at another rate than
an answer. Keys tell of routing only at the share that they were routed at, and are left out elsewhere. Time moves in
the recorded ticks, so a step may come up to one of them late. The recording ends where its routers left the trial: what
had not been decided by then stays undecided.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from actors.adaptive_learning.deployment import freeze
from actors.adaptive_learning.deployment.admission import check
from actors.adaptive_learning.deployment.events import (
    Aliased,
    Command,
    Event,
    Promote,
    Release,
    Released,
    Restore,
    Restored,
    Steer,
    Tick,
)
from actors.adaptive_learning.deployment.judge import Hold
from actors.adaptive_learning.deployment.record import (
    Record,
    Stage,
    name,
    new_record,
    outstanding,
    waits_for,
)
from actors.adaptive_learning.deployment.recording import World
from actors.adaptive_learning.deployment.reducer import step
from actors.adaptive_learning.deployment.retrace import first_record, read_event, retrace
from core.codec import from_json
from core.errors import InvalidInput
from core.schemas.rollouts import TERMINAL, Replayed, RolloutConfig
from core.store.rollouts import StoredEvent


def replay(
    rows: Sequence[StoredEvent], config: RolloutConfig | None = None, *, timer: Callable[[], float] = perf_counter
) -> Replayed:
    """Step through a log as it was recorded, or under another configuration; the module tells the latter's limits.

    rows: a roll-out's whole log, oldest first. timer: seconds, for `took_s`. `recorded_s` is the part of the roll-out
    that was stepped through. InvalidInput for settings that cannot work, and for a question that the recording cannot
    answer: counts by known age that were not kept, another limit of slowness, differences clipped more closely.
    """
    begun, path = timer(), _Path()
    if config is None:
        identical = True
        for at in retrace(rows):
            identical = identical and at.identical
            path.take(at.event, at.record)
            record = at.record
        return _replayed(len(rows), path, record, record.reason, identical, timer() - begun)
    first = first_record(rows)
    check(config)
    _answerable(first.config, config)
    record, taken = _rerun(rows, config, path)
    open_end = "" if record.phase in TERMINAL else f"the recording ends; {waits_for(record) or record.stage.value}"
    return _replayed(taken, path, record, open_end or record.reason, None, timer() - begun)


@dataclass(slots=True)
class _Path:
    """Where a roll-out was when; seconds by its ticks."""

    at_s: float = 0.0
    phase: str = ""
    transitions: list[dict[str, Any]] = field(default_factory=list)

    def take(self, event: Event, after: Record) -> None:
        if isinstance(event, Tick):
            self.at_s += event.seconds
        self.mark(after)

    def mark(self, after: Record) -> None:
        if name(after) != self.phase:
            self.phase = name(after)
            self.transitions.append({"at_s": self.at_s, "phase": self.phase, "reason": after.reason})


def _replayed(events: int, path: _Path, end: Record, reason: str, identical: bool | None, took_s: float) -> Replayed:
    return Replayed(
        rollout=end.id,
        events=events,
        identical=identical,
        recorded_s=path.at_s,
        took_s=took_s,
        phase=name(end),
        reason=reason,
        weight=end.weight,
        transitions=tuple(path.transitions),
    )


# ---------------------------------------------------------------- another configuration


def _answerable(recorded: RolloutConfig, wanted: RolloutConfig) -> None:
    used = {*wanted.guards, *(gate for gates in wanted.gates for gate in gates)}
    slow = any(use.startswith("slow") for use in used)
    limits = [(c.latency_tolerance, c.latency_floor_ms) for c in (recorded, wanted)]
    rules = (
        ("by_known_age", wanted.by_known_age and not recorded.by_known_age, "counts were not kept by known age"),
        ("latency_tolerance", slow and limits[0] != limits[1], "slow answers were counted by the recorded limits"),
        (
            "quality_clip",
            "quality" in used and wanted.quality_clip > recorded.quality_clip,
            f"differences were clipped at {recorded.quality_clip:g}",
        ),
    )
    for setting, impossible, why in rules:
        if impossible:
            raise InvalidInput(f"rollout.{setting}: the recording cannot tell: {why}", field=f"rollout.{setting}")


def _rerun(rows: Sequence[StoredEvent], config: RolloutConfig, path: _Path) -> tuple[Record, int]:
    """Where the recorded traffic leads under another configuration, and how many rows that took."""
    first = first_record(rows)
    record = _settled(new_record(first.id, first.model, first.challenger, first.stable, config))
    world = World(first.config.quality_clip, freeze.parsed(config.freeze))
    path.mark(record)
    taken = 1
    for row in rows[1:]:
        taken += 1
        event = read_event(row)
        if isinstance(event, Tick):
            path.at_s += event.seconds
        for fact in world.facts(record, row.at, event):
            record = _settled(step(record, fact)[0])
            path.mark(record)
        if row.commands != "[]":
            world.told(from_json(tuple[Command, ...], row.commands))
        if world.left or record.phase in TERMINAL:
            break
    if record.stage in (Stage.SWAPPING, Stage.REVERTING):  # what is under way is brought to its end
        record = _settled(step(record, world.observed(record))[0])
        path.mark(record)
    return record, taken


def _settled(record: Record) -> Record:
    """After everything that an order or a question is answered with at once."""
    while True:
        answers = [answer for command in outstanding(record) if (answer := _ANSWERS.get(type(command))) is not None]
        if Hold.AWAITING_APPROVAL in record.holds:
            answers.append(_APPROVAL)
        if not answers:
            return record
        for answer in answers:
            record, _ = step(record, answer)


_ANSWERS: dict[type[Command], Event] = {Promote: Aliased(), Restore: Restored(""), Release: Released()}
_APPROVAL = Steer("resume", "an approval is taken as given")
