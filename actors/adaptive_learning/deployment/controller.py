"""Runs roll-outs: takes requests and a person's word, and in each tick moves the one under way in each model on.

The database holds the truth. A pass loads the record, re-issues what may not have taken effect, looks at the routers
and the prediction log, steps, persists, commands. Nothing is kept in memory that a restart could not do without.
"""

from __future__ import annotations

import json
from collections import defaultdict

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
from actors.adaptive_learning.deployment.reducer import refusal, step
from actors.adaptive_learning.deployment.session import Memory, Session, events_of
from core.clock import Clock
from core.codec import from_json, to_json
from core.errors import Broken, Conflict, Refused, StorageBroken
from core.protocols.adaptive_learning import VersioningService
from core.protocols.traffic import TrafficActuator
from core.schemas.models import ModelVersion
from core.schemas.rollouts import TERMINAL, Phase, RolloutConfig, RolloutEvent, RolloutStatus, SplitReport
from core.store.database import Database
from core.store.ids import new_id
from core.store.rollouts import RolloutStore, StoredRollout
from core.store.splits import SplitStore

_ATTEMPTS = 5


class Rollouts:
    """One controller; `tick` must not run twice at once, everything else may be called from any thread."""

    def __init__(
        self, database: Database, clock: Clock, actuator: TrafficActuator, versioning: VersioningService
    ) -> None:
        self._store = RolloutStore(database)
        self._splits = SplitStore(database)
        self._reader = EvidenceReader.of(database)
        self._clock = clock
        self._actuator = actuator
        self._versioning = versioning
        self._memory: dict[str, Memory] = defaultdict(Memory)
        self._looked: dict[str, Cursors] = {}
        self._seen_at: dict[str, float] = {}

    # ------------------------------------------------------------ asked from outside

    def request(
        self, model: str, version: int, config: RolloutConfig, key: str, *, approved: bool = True
    ) -> RolloutStatus:
        """Queue a roll-out; the same key, or the same version while it is on its way, gives the one there is.

        NotFound for an unknown version, InvalidInput for impossible settings, Refused without a champion, for the
        champion itself, and for a version that the offline comparison did not clear (unless `skip_validation`).
        """
        known = self._store.by_key(model, key)
        if known is not None:
            return _status(known)
        challenger = self._versioning.get(model, version)
        for other in self._store.open():
            if other.model == model and other.challenger == version:
                return _status(other)
        champion = self._versioning.resolve(model, "champion")
        if champion is None:
            raise Refused(f"{model} has no champion: there is nothing to compare v{version} with", model=model)
        if champion.version == version:
            raise Refused(f"v{version} is the champion of {model} already", model=model, version=version)
        note = _validated(challenger, config)
        record = new_record(new_id(), model, version, champion.version, config, approved=approved)
        now = self._clock.now()
        new = StoredRollout(record.id, model, version, champion.version, record.phase, to_json(record), now, now, seq=1)
        request = Requested(version, champion.version, config, approved, note)
        return _status(self._store.create(new, key, to_json(request)))

    def steer(self, rollout_id: str, action: Action, reason: str) -> RolloutStatus:
        """Pause, resume or abort; Refused when the phase does not allow it. Takes effect with the next tick."""
        for _ in range(_ATTEMPTS):
            stored = self._store.load(rollout_id)
            record = from_json(Record, stored.record)
            refused = refusal(record, action) or self._taken_over(record, action)
            if refused:
                raise Refused(f"{action} of roll-out {rollout_id}: {refused}", rollout=rollout_id)
            session = self._session(stored)
            session.feed(Steer(action, reason))
            try:
                session.persist()
            except Conflict:
                continue  # the controller's own pass came in between
            return _status(self._store.load(rollout_id))
        raise Conflict(f"roll-out {rollout_id} changes too fast to {action} it: try again", rollout=rollout_id)

    def status(self, rollout_id: str) -> RolloutStatus:
        """State and evidence; NotFound."""
        return _status(self._store.load(rollout_id))

    def all(self, model: str) -> tuple[RolloutStatus, ...]:
        """Newest first."""
        return tuple(_status(stored) for stored in self._store.all(model))

    def active(self, model: str) -> RolloutStatus | None:
        """The one under way, else the first in the queue."""
        stored = self._active().get(model)
        return None if stored is None else _status(stored)

    def events(self, rollout_id: str) -> tuple[RolloutEvent, ...]:
        """The audit log, oldest first; StorageBroken when it was changed after it was written."""
        self._store.load(rollout_id)
        return tuple(
            RolloutEvent(
                seq=row.seq,
                at=row.at,
                event=json.loads(row.event),
                phase=Phase(json.loads(row.record)["phase"]),
                commands=tuple(json.loads(row.commands)),
                hash=row.hash,
            )
            for row in self._store.events(rollout_id)
        )

    def verify(self, rollout_id: str) -> int:
        """Replay the log through the state machine; the number of events, StorageBroken where a record differs."""
        rows = self._store.events(rollout_id)
        record = from_json(Record, rows[0].record)
        for row, event in zip(rows[1:], events_of(tuple(row.event for row in rows[1:])), strict=True):
            record, commands = step(record, event)
            if (to_json(record), to_json(tuple(commands))) != (row.record, row.commands):
                raise StorageBroken(f"roll-out {rollout_id}: event {row.seq} does not lead to its record", seq=row.seq)
        return len(rows)

    # ------------------------------------------------------------ the loop

    def tick(self) -> None:
        """Move each model's roll-out on by one pass."""
        for stored in self._active().values():
            try:
                self._pass(stored)
            except Conflict:
                # Somebody steered it, or another controller acted, between reading and persisting: look again.
                continue

    def drifted(self, model: str, reason: str) -> None:
        """The world began to move: evidence must be fresh before the weight rises again."""
        stored = self._active().get(model)
        if stored is not None:
            session = self._session(stored)
            session.feed(Drift(reason))
            session.persist()

    def _active(self) -> dict[str, StoredRollout]:
        """By model: the one that was started, else the oldest in the queue that nothing holds."""
        chosen: dict[str, tuple[tuple[bool, bool], StoredRollout]] = {}
        for stored in self._store.open():
            record = from_json(Record, stored.record)
            rank = (record.stage is Stage.QUEUED, bool(record.holds))
            if stored.model not in chosen or rank < chosen[stored.model][0]:
                chosen[stored.model] = (rank, stored)
        return {model: stored for model, (_, stored) in chosen.items()}

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


def _status(stored: StoredRollout) -> RolloutStatus:
    return status(from_json(Record, stored.record), stored.created_at, stored.updated_at)


def _validated(challenger: ModelVersion, config: RolloutConfig) -> str:
    """A note for the log; Refused when the offline comparison did not clear the version."""
    versus = challenger.metrics.versus_champion if challenger.metrics else None
    verdict = versus.verdict if versus else "not compared"
    if verdict in ("better", "not_worse"):
        return f"offline comparison with the champion: {verdict}"
    if config.skip_validation:
        return f"offline comparison with the champion: {verdict}; validation skipped on request"
    raise Refused(
        f"v{challenger.version}: offline comparison with the champion: {verdict}; set skip_validation to try it anyway",
        version=challenger.version,
        verdict=verdict,
    )
