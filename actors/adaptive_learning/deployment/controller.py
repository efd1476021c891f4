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

from actors.adaptive_learning.deployment import audit
from actors.adaptive_learning.deployment.admission import admit
from actors.adaptive_learning.deployment.events import (
    Action,
    AliasMoved,
    ChallengerFailed,
    ChallengerReady,
    Cursors,
    Drift,
    Fenced,
    Observed,
    Requested,
    Started,
    Steer,
)
from actors.adaptive_learning.deployment.evidence import EvidenceReader
from actors.adaptive_learning.deployment.record import Record, Stage, intended, new_record, status
from actors.adaptive_learning.deployment.reducer import refusal
from actors.adaptive_learning.deployment.session import ACTOR, Memory, Session
from core.clock import Clock
from core.codec import from_json, to_json
from core.errors import Broken, Conflict, Refused, ServiceUnavailable
from core.protocols.adaptive_learning import VersioningService
from core.protocols.traffic import TrafficActuator
from core.schemas.rollouts import TERMINAL, Phase, RolloutConfig, RolloutEvent, RolloutStatus, SplitReport, TrafficSplit
from core.store.database import Database
from core.store.ids import new_id
from core.store.rollouts import RolloutStore, StoredRollout
from core.store.splits import SplitStore

_log = structlog.get_logger(__name__)

_ATTEMPTS = 5


class Controller:
    """One controller a process; calls from several threads take turns. A second process loses by epoch and by log."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        versioning: VersioningService,
        actuator: TrafficActuator,
        tenant: str = "default",
    ) -> None:
        self._store = RolloutStore(database)
        self._splits = SplitStore(database)
        self._reader = EvidenceReader.of(database, tenant)
        self._clock = clock
        self._actuator = actuator
        self._versioning = versioning
        self._lock = threading.Lock()
        self._memory: dict[str, Memory] = defaultdict(Memory)
        self._looked: dict[str, Cursors] = {}
        self._seen_at: dict[str, float] = {}

    # ------------------------------------------------------------ asked from outside

    def start(
        self, model: str, version: int, config: RolloutConfig, key: str, *, approved: bool = True
    ) -> RolloutStatus:
        """Queue a roll-out, which begins with a next tick; without approval it waits for `resume`.

        The same key, or the same version while it is on its way, gives the one there is. NotFound for an unknown
        version, InvalidInput for impossible settings, Refused by `admission.admit`.
        """
        known = self._store.by_key(model, key)
        if known is not None:
            return _status(known)
        challenger = self._versioning.get(model, version)
        for other in self._store.open():
            if other.model == model and other.challenger == version:
                return _status(other)
        champion = self._versioning.resolve(model, "champion")
        stable, note = admit(challenger, None if champion is None else champion.version, config)
        record = new_record(new_id(), model, version, stable, config, approved=approved)
        now = self._clock.now()
        new = StoredRollout(record.id, model, version, stable, record.phase, to_json(record), now, now, seq=1)
        request = Requested(version, stable, config, approved, note)
        return _status(self._store.create(new, key, to_json(request)))

    def install(self, model: str, version: int, reason: str) -> None:
        """Put the very first version into service: there is nothing that a trial could compare it with.

        Repeatable. Conflict when there is a champion already; ServiceUnavailable until every router serves the
        version.
        """
        with self._lock:
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
        """Pause, resume or abort, at once; Refused when the phase does not allow it."""
        with self._lock:
            for _ in range(_ATTEMPTS):
                stored = self._store.load(rollout_id)
                record = from_json(Record, stored.record)
                refused = refusal(record, action) or self._taken_over(record, action)
                if refused:
                    raise Refused(f"{action} of roll-out {rollout_id}: {refused}", rollout=rollout_id)
                session = self._session(stored)
                session.feed(Steer(cast(Action, action), reason))
                try:
                    session.settle()
                except Conflict:
                    continue  # another controller decided in between: look again
                return self.status(rollout_id)
        raise Conflict(f"roll-out {rollout_id} changes too fast to {action} it: try again", rollout=rollout_id)

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

    # ------------------------------------------------------------ the loop

    def tick(self, model: str) -> RolloutStatus | None:
        """Move the model's roll-out on by one pass, and renew its lease; None: there is none."""
        with self._lock:
            stored = self._active(model)
            if stored is None:
                return None
            try:
                self._pass(stored)
            except Conflict:
                # Another controller acted between reading and persisting: nothing was ordered, the next tick looks.
                _log.info("pass given up", rollout=stored.id)
            return self.status(stored.id)

    def drifted(self, model: str, reason: str) -> None:
        """The world began to move: pairs must be fresh before the weight rises again."""
        with self._lock:
            stored = self._active(model)
            if stored is not None:
                session = self._session(stored)
                session.feed(Drift(reason))
                session.settle()

    def _active(self, model: str) -> StoredRollout | None:
        """The one that was started, else the oldest in the queue that nothing holds, else the oldest."""
        found = [stored for stored in self._store.open() if stored.model == model]
        return min(found, key=_rank, default=None)

    def _pass(self, stored: StoredRollout) -> None:
        session = self._session(stored)
        session.settle()
        if session.record.stage is Stage.QUEUED:
            self._start(session)
        elif session.record.phase not in TERMINAL:
            self._look(session)
        session.settle()
        self._renew(session)
        if session.record.phase in TERMINAL:
            self._forget(session.record.id)

    def _forget(self, rollout_id: str) -> None:
        self._memory.pop(rollout_id, None)
        self._looked.pop(rollout_id, None)
        self._seen_at.pop(rollout_id, None)

    def _start(self, session: Session) -> None:
        record = session.record
        if record.holds:
            return
        split, champion = self._splits.read(record.model), self._versioning.resolve(record.model, "champion")
        if split is None or champion is None or split.stable != champion.version:
            served = "nothing" if split is None else f"v{split.stable}"
            named = "nothing" if champion is None else f"v{champion.version}"
            session.feed(AliasMoved(f"routers serve {served} while the champion is {named}"))
        elif champion.version == record.challenger:
            session.feed(Steer("abort", f"v{record.challenger} is the champion already"))
        else:
            session.feed(Started(split.stable, split.epoch, self._reader.here()))

    def _look(self, session: Session) -> None:
        """Facts in an order in which nothing rises before all bad news is in."""
        session.feed(Observed(self._observed(session.record.model)))
        if session.record.stage is Stage.LOADING:
            self._look_at_challenger(session)
        record = session.record
        cursors = self._looked.get(record.id, record.cursors)
        counts = self._reader.counts(record, cursors)
        cursors = counts.cursors
        if counts.executions.canary_n or counts.executions.stable_n:
            session.feed(counts)
        pairs = self._reader.pairs(record, cursors)
        if pairs.differences:
            session.feed(pairs)
        self._looked[record.id] = pairs.cursors
        session.feed_time(self._elapsed(record.id))

    def _look_at_challenger(self, session: Session) -> None:
        try:
            readiness = self._actuator.ready(session.record.model, session.record.challenger)
        except Broken:
            return  # not known yet; the time to get ready is limited
        if readiness.failed is not None:
            session.feed(ChallengerFailed(readiness.failed))
        elif readiness.ready:
            session.feed(ChallengerReady())

    def _observed(self, model: str) -> tuple[SplitReport, ...]:
        """What routers report; none when they cannot be reached, which holds everything."""
        try:
            return tuple(sorted(self._actuator.observed(model), key=lambda report: report.pid))
        except Broken:
            return ()

    def _elapsed(self, rollout_id: str) -> float:
        """Seconds since this process last looked; time while no controller ran is not counted."""
        now = self._clock.monotonic()
        before = self._seen_at.get(rollout_id, now)
        self._seen_at[rollout_id] = now
        return max(0.0, now - before)

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
