"""Gathers the facts of one pass over a roll-out, in an order in which nothing rises before all bad news is in."""

from __future__ import annotations

from dataclasses import dataclass

from actors.adaptive_learning.deployment import freeze
from actors.adaptive_learning.deployment.events import (
    AliasMoved,
    Calendar,
    ChallengerFailed,
    ChallengerReady,
    Cursors,
    Observed,
    Started,
    Steer,
)
from actors.adaptive_learning.deployment.evidence import EvidenceReader
from actors.adaptive_learning.deployment.record import Stage
from actors.adaptive_learning.deployment.session import Session
from core.clock import Clock
from core.errors import Broken
from core.protocols.traffic import TrafficActuator
from core.schemas.rollouts import SplitReport
from core.store.registry import Registry
from core.store.splits import SplitStore


@dataclass(frozen=True)
class Observation:
    """Where facts come from: routers, the registry, the prediction log, and the clock."""

    reader: EvidenceReader
    splits: SplitStore
    registry: Registry
    actuator: TrafficActuator
    clock: Clock

    def begin(self, session: Session) -> None:
        """Its turn has come: start it against what is served now, unless something holds it."""
        record = session.record
        if record.holds:
            return
        split, champion = self.splits.read(record.model), self._champion(record.model)
        if split is None or champion is None or split.stable != champion:
            served = "nothing" if split is None else f"v{split.stable}"
            named = "nothing" if champion is None else f"v{champion}"
            session.feed(AliasMoved(f"routers serve {served} while the champion is {named}"))
        elif champion == record.challenger:
            session.feed(Steer("abort", f"v{record.challenger} is the champion already"))
        else:
            session.feed(Started(split.stable, split.epoch, self.reader.here(self.clock.now())))

    def look(self, session: Session) -> None:
        """Routers, registry, calendar, executions, outcomes; last the time, which alone lets things rise."""
        record = session.record
        session.feed(Observed(self._observed(record.model)))
        session.feed(Calendar(freeze.open_window(record.config.freeze, self.clock.now())))
        if record.stage in (Stage.LOADING, Stage.SERVING):
            champion = self._champion(record.model)
            if champion != record.stable:
                named = "nothing" if champion is None else f"v{champion}"
                session.feed(AliasMoved(f"somebody made {named} the champion"))
        if session.record.stage is Stage.LOADING:
            self._challenger(session)
        if record.stage in (Stage.SERVING, Stage.ALIASING):  # elsewhere no split puts both versions to work
            session.looking(self._evidence(session))
        session.feed_time()

    def _evidence(self, session: Session) -> Cursors:
        """Feed what the log has added; how far it was read, also where it held nothing for this roll-out."""
        if session.record.stable_quantiles_ms is None and session.record.stage is Stage.SERVING:
            baseline = self.reader.baseline(session.record)
            if baseline is not None:
                session.feed(baseline)
        record = session.record
        counts = self.reader.counts(record, session.cursors)
        cursors = counts.cursors
        if counts.executions or counts.stable_keys or counts.canary_keys:
            session.feed(counts)
        pairs = self.reader.pairs(record, cursors)
        cursors = pairs.cursors
        if pairs.differences:
            session.feed(pairs)
        matured = self.reader.matured(record, cursors, self.clock.now())
        if matured is not None:
            cursors = matured.cursors
            if matured.due:
                session.feed(matured)
        return cursors

    def _challenger(self, session: Session) -> None:
        try:
            readiness = self.actuator.ready(session.record.model, session.record.challenger)
        except Broken:
            return  # not known yet; the time to get ready is limited
        if readiness.failed is not None:
            session.feed(ChallengerFailed(readiness.failed))
        elif readiness.ready:
            session.feed(ChallengerReady())

    def _observed(self, model: str) -> tuple[SplitReport, ...]:
        """What routers report; none when they cannot be reached, which holds everything."""
        try:
            return tuple(sorted(self.actuator.observed(model), key=lambda report: report.pid))
        except Broken:
            return ()

    def _champion(self, model: str) -> int | None:
        # Read, not asked for: a versioning actor that is being restarted must not delay a way back.
        found = self.registry.resolve(model, "champion")
        return None if found is None else found.version
