"""Runs roll-outs: takes requests and a person's word, and in each tick moves the one under way on.

The database holds the truth. A pass loads the record, re-issues what may not have taken effect, looks at the routers
and the prediction log, steps, persists, commands. Nothing is kept in memory that a restart could not do without.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import replace
from typing import cast

import structlog

from actors.adaptive_learning.deployment import audit, explanation, planner, retrospective
from actors.adaptive_learning.deployment.admission import admit, check
from actors.adaptive_learning.deployment.events import Action, Drift, Fenced, Requested, Steer
from actors.adaptive_learning.deployment.evidence import EvidenceReader
from actors.adaptive_learning.deployment.observation import Observation
from actors.adaptive_learning.deployment.record import Record, Stage, intended, new_record, status
from actors.adaptive_learning.deployment.reducer import refusal
from actors.adaptive_learning.deployment.session import ACTOR, Memory, Session
from core.clock import Clock
from core.codec import from_json, to_json
from core.errors import Broken, Conflict, Refused, ServiceUnavailable
from core.protocols.adaptive_learning import VersioningService
from core.protocols.traffic import TrafficActuator
from core.schemas.rollouts import (
    TERMINAL,
    Explanation,
    Phase,
    Replayed,
    RolloutConfig,
    RolloutEvent,
    RolloutPlan,
    RolloutStatus,
    TrafficFigures,
    TrafficSplit,
    WhenBusy,
)
from core.store.database import Database
from core.store.ids import new_id
from core.store.registry import Registry
from core.store.rollouts import RolloutStore, StoredRollout
from core.store.splits import SplitStore

_log = structlog.get_logger(__name__)

_ATTEMPTS = 5


class Controller:
    """One controller a process; a second process loses by epoch and by log.

    Passes take turns, and so do decisions with the commands that follow from them. Between its decisions a pass only
    looks, and holds nobody up: a person's word is carried out at once, and the pass finds that it came too late.
    """

    def __init__(
        self, database: Database, clock: Clock, versioning: VersioningService, actuator: TrafficActuator
    ) -> None:
        self._store = RolloutStore(database)
        self._splits = SplitStore(database)
        self._reader = EvidenceReader.of(database)
        self._clock = clock
        self._actuator = actuator
        self._versioning = versioning
        self._observation = Observation(self._reader, self._splits, Registry(database), actuator, clock)
        self._passing = threading.Lock()
        self._deciding = threading.Lock()  # taken last
        self._memory: dict[str, Memory] = defaultdict(Memory)

    # ------------------------------------------------------------ asked from outside

    def plan(self, model: str, config: RolloutConfig, assumed: TrafficFigures | None = None) -> RolloutPlan:
        """What to expect at the traffic of the last days, or at figures that the caller assumes; changes nothing."""
        check(config)
        return planner.plan(model, assumed or self._figures(model), config)

    def start(
        self,
        model: str,
        version: int,
        config: RolloutConfig,
        key: str,
        *,
        approved: bool = True,
        when_busy: WhenBusy = "queue",
    ) -> RolloutStatus:
        """Queue a roll-out, which begins with a next tick; without approval it waits for `resume`.

        The same key, or the same version while it is on its way, gives the one there is. NotFound for an unknown
        version, InvalidInput for impossible settings, ArtifactCorrupt or Refused for an artifact that cannot be
        served, Refused by `admission.admit` and where another is under way (when_busy="reject").
        """
        known = self._store.by_key(model, key)
        if known is not None:
            return _status(known)
        check(config)
        challenger = self._versioning.get(model, version)
        others = [other for other in self._store.open() if other.model == model]
        for other in others:
            if other.challenger == version:
                return _status(other)
        champion = self._versioning.resolve(model, "champion")
        stable, note = admit(challenger, None if champion is None else champion.version, config)
        if others and when_busy == "reject":
            raise Refused(f"roll-out {others[0].id} of {model} is under way", rollout=others[0].id)
        self._versioning.verify(model, version, predictions=False)  # the canary computes them when it loads
        started = self._queue(new_record(new_id(), model, version, stable, config, approved=approved), key, note)
        if when_busy == "replace":
            for other in others:
                self.steer(other.id, "abort", f"replaced by v{version} (roll-out {started.id})")
        return started

    def _queue(self, record: Record, key: str, note: str) -> RolloutStatus:
        now = self._clock.now()
        new = StoredRollout(
            record.id, record.model, record.challenger, record.stable, record.phase, to_json(record), now, now, seq=1
        )
        request = Requested(record.challenger, record.stable, record.config, not record.holds, note)
        return _status(self._store.create(new, key, to_json(request)))

    def install(self, model: str, version: int, reason: str) -> None:
        """Put the very first version into service: there is nothing that a trial could compare it with.

        Repeatable. Conflict when there is a champion already; ServiceUnavailable until every router serves the
        version.
        """
        with self._passing, self._deciding:
            self._versioning.set_alias(model, "champion", version, expect=None, reason=reason, actor=ACTOR)
            split = self._splits.read(model)
            if split is None or split.stable != version:
                lease = RolloutConfig()
                epoch = 1 if split is None else split.epoch + 1
                split = TrafficSplit(model, epoch, version, None, 0.0, False, lease.lease_s, lease.abandon_s, 0)
            self._actuator.set_split(replace(split, renewals=0))
            reports = self._actuator.observed(model)
        if not reports or any((report.epoch, report.stable) != (split.epoch, version) for report in reports):
            raise ServiceUnavailable(f"not every router serves v{version} of {model} yet", model=model, version=version)

    def steer(self, rollout_id: str, action: str, reason: str) -> RolloutStatus:
        """Pause, resume, promote or abort, at once; Refused where phase or evidence do not allow it."""
        for _ in range(_ATTEMPTS):
            try:
                with self._deciding:
                    self._steer(rollout_id, action, reason)
            except Conflict:
                continue  # another controller decided in between: look again
            return self.status(rollout_id)
        raise Conflict(f"roll-out {rollout_id} changes too fast to {action} it: try again", rollout=rollout_id)

    def _steer(self, rollout_id: str, action: str, reason: str) -> None:
        stored = self._store.load(rollout_id)
        record = from_json(Record, stored.record)
        refused = refusal(record, action) or self._taken_over(record, action)
        if refused:
            raise Refused(f"{action} of roll-out {rollout_id}: {refused}", rollout=rollout_id)
        session = self._session(stored)
        session.feed(Steer(cast(Action, action), reason))
        session.settle()

    def status(self, rollout_id: str) -> RolloutStatus:
        """State and evidence; NotFound."""
        return _status(self._store.load(rollout_id))

    def statuses(self, model: str) -> tuple[RolloutStatus, ...]:
        """Newest first."""
        return tuple(_status(stored) for stored in self._store.all(model))

    def events(self, rollout_id: str) -> tuple[RolloutEvent, ...]:
        """The audit log, oldest first; StorageBroken when it was changed after it was written."""
        return audit.events(self._store, rollout_id)

    def verify(self, rollout_id: str) -> int:
        """Replay the log; the number of events, StorageBroken where the state machine decides otherwise."""
        return audit.verify(self._store, rollout_id)

    def replay(self, rollout_id: str, config: RolloutConfig | None = None) -> Replayed:
        """Step through the log again, bit for bit or under another configuration; InvalidInput, StorageBroken."""
        self._store.load(rollout_id)
        if config is not None:
            check(config)
        return retrospective.replay(self._store.events(rollout_id), config)

    def explain(self, rollout_id: str) -> Explanation:
        """Why it stands where it stands: transitions, holds, late labels, and whether the log is whole."""
        stored = self._store.load(rollout_id)
        record, rows = from_json(Record, stored.record), self._store.rows(rollout_id)
        late = self._reader.late(record) if record.phase in TERMINAL else 0
        return explanation.explain(_status(stored), rows, late)

    def _figures(self, model: str) -> TrafficFigures:
        past = (from_json(Record, stored.record) for stored in self._store.all(model)[:10])
        return self._reader.figures(model, self._clock.now(), past)

    # ------------------------------------------------------------ the loop

    def tick(self, model: str) -> RolloutStatus | None:
        """Move the model's roll-out on by one pass, and renew its lease; None: there is none.

        StorageBroken when what was decided could not be stored: nothing of it was ordered then.
        """
        with self._passing:
            stored = self._active(model)
            if stored is None:
                return None
            try:
                self._pass(stored)
            except Conflict:
                # Another controller acted between reading and persisting: nothing was ordered, the next tick looks.
                self._memory.pop(stored.id, None)
                _log.info("pass given up", rollout=stored.id)
            except Broken:
                self._memory.pop(stored.id, None)  # it may know of evidence that was not stored
                raise
            return self.status(stored.id)

    def drifted(self, model: str, reason: str) -> None:
        """The world began to move: pairs must be fresh before the weight rises again. Each reason counts once."""
        event = Drift(reason)
        with self._passing, self._deciding:
            stored = self._active(model)
            if stored is not None and not self._store.has(stored.id, to_json(event)):
                session = self._session(stored)
                session.feed(event)
                session.settle()

    def _active(self, model: str) -> StoredRollout | None:
        """The one that was started, else the oldest in the queue that nothing holds, else the oldest."""
        found = [stored for stored in self._store.open() if stored.model == model]
        return min(found, key=_rank, default=None)

    def _pass(self, stored: StoredRollout) -> None:
        session = self._session(stored)
        with self._deciding:
            session.settle()
        if session.record.stage is Stage.QUEUED:
            self._observation.begin(session)
        elif session.record.phase not in TERMINAL:
            self._observation.look(session)
        with self._deciding:
            session.settle()
            self._renew(session)
        if session.record.phase in TERMINAL:
            self._memory.pop(session.record.id, None)

    def _renew(self, session: Session) -> None:
        record = session.record
        split = intended(record)
        if split is None or split.canary is None or not session.in_force(split):
            return
        try:
            self._actuator.renew(record.model, record.epoch)
        except Conflict as error:
            session.feed(Fenced(str(error)))
            session.settle()

    def _session(self, stored: StoredRollout) -> Session:
        return Session(stored, self._store, self._actuator, self._versioning, self._clock, self._memory[stored.id])

    def _taken_over(self, record: Record, action: str) -> str:
        """Why a finished promotion cannot be taken back any more; empty: it can, or there is nothing to take back."""
        if action != "abort" or record.phase is not Phase.PROMOTED:
            return ""
        split = self._splits.read(record.model)
        if split is None or split.epoch != record.epoch:
            return "a later roll-out has taken over"
        return ""


def _rank(stored: StoredRollout) -> tuple[bool, bool]:
    record = from_json(Record, stored.record)
    return record.stage is Stage.QUEUED, bool(record.holds)


def _status(stored: StoredRollout) -> RolloutStatus:
    return status(from_json(Record, stored.record), stored.created_at, stored.updated_at)
