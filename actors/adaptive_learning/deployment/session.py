"""One pass of the controller over one roll-out: receive, step, persist, and only then command."""

from __future__ import annotations

from dataclasses import astuple, dataclass, field, replace

import structlog

from actors.adaptive_learning.deployment.events import (
    Aliased,
    AliasMoved,
    Command,
    Cursors,
    Event,
    Fenced,
    Promote,
    Release,
    Released,
    Restore,
    Restored,
    SetSplit,
    Tick,
    Warm,
)
from actors.adaptive_learning.deployment.record import Record, outstanding
from actors.adaptive_learning.deployment.reducer import step
from core.clock import Clock
from core.codec import from_json, to_json
from core.errors import Broken, Conflict
from core.protocols.adaptive_learning import VersioningService
from core.protocols.traffic import TrafficActuator
from core.schemas.models import Alias
from core.schemas.rollouts import TrafficSplit
from core.store.rollouts import Decision, RolloutState, RolloutStore, StoredRollout, digest

_log = structlog.get_logger(__name__)

#: Ticks that change nothing but durations are written together after this many seconds; a crash forgets at most these.
GATHER_S = 10.0
ACTOR = "orchestrator"


@dataclass(slots=True)
class Memory:
    """What a controller remembers of a roll-out between passes; losing it costs a repeated command and some seconds."""

    done: set[Command] = field(default_factory=set)
    owed_s: float = 0.0
    looked: Cursors | None = None  # beyond the record's: what was read there held nothing
    seen_at: float | None = None  # monotonic


@dataclass(slots=True)
class Session:
    """Feeds events to the state machine, persists what changed, carries out what was ordered."""

    stored: StoredRollout
    store: RolloutStore
    actuator: TrafficActuator
    versioning: VersioningService
    clock: Clock
    memory: Memory
    record: Record = field(init=False)
    _seq: int = field(init=False)
    _decisions: list[Decision] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.record = from_json(Record, self.stored.record)
        self._seq = self.stored.seq

    def feed(self, event: Event) -> None:
        """Step; an event that changes nothing leaves no line in the log."""
        after, commands = step(self.record, event)
        if after == self.record:
            return
        kept = to_json(after) if _decided(self.record, after) else digest(to_json(after))
        self._decisions.append(Decision(to_json(event), kept, to_json(tuple(commands))))
        self.record = after

    @property
    def cursors(self) -> Cursors:
        """How far the logs were read: by the record, or beyond it where nothing was found.

        The record may be ahead: another controller read on and stored what it found.
        """
        known, looked = self.record.cursors, self.memory.looked
        return known if looked is None else Cursors(*map(max, astuple(known), astuple(looked)))

    def looking(self, cursors: Cursors) -> None:
        """The logs were read up to here."""
        self.memory.looked = cursors

    def feed_time(self) -> None:
        """The time since this process last looked; time while no controller ran is not counted.

        While only durations change it is kept back and added to the next.
        """
        now, before = self.clock.monotonic(), self.memory.seen_at
        self.memory.seen_at = now
        owed = self.memory.owed_s + (0.0 if before is None else max(0.0, now - before))
        after, _ = step(self.record, Tick(owed))
        self.memory.owed_s = 0.0
        if owed < GATHER_S and replace(after, timers=self.record.timers) == self.record:
            self.memory.owed_s = owed
        else:
            self.feed(Tick(owed))

    def settle(self) -> None:
        """Persist, then command, until nothing new follows from it."""
        for _ in range(10):
            self.persist()
            answers = [answer for answer in map(self._carry_out, self._due()) if answer is not None]
            for answer in answers:
                self.feed(answer)
            if not self._decisions:
                return
        raise Broken(f"roll-out {self.record.id} does not come to rest at {self.record.stage}", rollout=self.record.id)

    def persist(self) -> None:
        """Commit the decisions; Conflict when somebody else decided meanwhile, and then nothing of them holds."""
        if self._decisions:
            state = RolloutState(to_json(self.record), self.record.phase, self.record.stable)
            self._seq = self.store.append(self.record.id, self._seq, self._decisions, state, self.clock.now())
            self._decisions.clear()

    def in_force(self, split: TrafficSplit) -> bool:
        """Whether this process has put the split into force."""
        return SetSplit(split) in self.memory.done

    def _due(self) -> list[Command]:
        orders = outstanding(self.record)
        self.memory.done.intersection_update(orders)
        return [command for command in orders if command not in self.memory.done]

    def _carry_out(self, command: Command) -> Event | None:
        """Do it; what cannot be done now is tried again at the next pass."""
        try:
            answer = self._do(command)
        except Broken as error:
            _log.warning("command not carried out yet", rollout=self.record.id, command=command.kind, error=str(error))
            return None
        if not (isinstance(command, Release) and answer is None):
            self.memory.done.add(command)
        return answer

    def _do(self, command: Command) -> Event | None:
        match command:
            case Warm():
                self._point("challenger", command.version)
                self.actuator.warm(self.record.model, command.version)
                return None
            case SetSplit():
                try:
                    self.actuator.set_split(command.split)
                except Conflict as error:
                    return Fenced(str(error))
                return None
            case Promote():
                return self._promote(command)
            case Restore():
                return self._restore(command)
            case Release():
                if not self.actuator.release(self.record.model, command.version):
                    return None
                self._drop("challenger", command.version)
                return Released()

    def _promote(self, command: Promote) -> Event:
        try:
            self.versioning.set_alias(
                self.record.model,
                "champion",
                command.challenger,
                expect=command.stable,
                reason=f"roll-out {self.record.id}: {self.record.reason}",
                actor=ACTOR,
            )
        except Conflict as error:
            return AliasMoved(str(error))
        self._point("previous", command.stable)
        return Aliased()

    def _restore(self, command: Restore) -> Event:
        note = ""
        try:
            self.versioning.set_alias(
                self.record.model,
                "champion",
                command.stable,
                expect=command.challenger,
                reason=f"roll-out {self.record.id}: {self.record.reason}",
                actor=ACTOR,
            )
        except Conflict as error:
            note = f"the champion stays as it is: {error}"
        self._drop("previous", command.stable)
        return Restored(note)

    def _point(self, alias: Alias, version: int) -> None:
        """Make an informative alias name a version."""
        present = self.versioning.resolve(self.record.model, alias)
        self._move(alias, version, None if present is None else present.version)

    def _drop(self, alias: Alias, version: int) -> None:
        """Empty an informative alias, if it names this version."""
        present = self.versioning.resolve(self.record.model, alias)
        if present is not None and present.version == version:
            self._move(alias, None, version)

    def _move(self, alias: Alias, version: int | None, expect: int | None) -> None:
        try:
            self.versioning.set_alias(
                self.record.model, alias, version, expect=expect, reason=f"roll-out {self.record.id}", actor=ACTOR
            )
        except Conflict as error:
            # Nothing is decided by these two aliases: whoever moved it in this instant keeps it.
            _log.info("alias left as somebody set it", alias=alias, error=str(error))


def _decided(before: Record, after: Record) -> bool:
    """Whether more than figures changed: such records are kept whole in the log, others by their hash."""
    return any(
        getattr(before, name) != getattr(after, name)
        for name in ("phase", "stage", "place", "epoch", "holds", "reason", "certified", "approved")
    )
