"""Records roll-outs of simulated traffic into a log, through the controller's own session; seeds are fixed by callers.

Time is simulated: one pass a second, everything else as in service. Routers obey with the next look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from actors.adaptive_learning.deployment.bookkeeping import Executions, Tally
from actors.adaptive_learning.deployment.events import (
    Aliased,
    Baseline,
    ChallengerReady,
    Counts,
    Cursors,
    Event,
    Matured,
    Observed,
    Pairs,
    Promote,
    Release,
    Released,
    Requested,
    Restore,
    Restored,
    Started,
    Tick,
)
from actors.adaptive_learning.deployment.record import Record, Stage, intended, new_record, outstanding
from actors.adaptive_learning.deployment.session import Memory, Session
from core.clock import ManualClock
from core.codec import to_json
from core.schemas.predictions import KNOWN_AGES_H
from core.schemas.rollouts import TERMINAL, RolloutConfig, SplitReport
from core.store import schema
from core.store.database import Database
from core.store.rollouts import RolloutStore, StoredEvent, StoredRollout

MODEL = "engagement"
SLOW = {"slow_p50": 0.3, "slow_p90": 0.06, "slow_p99": 0.006}  # shares of answers slower than stable's quantiles allow


@dataclass(frozen=True, slots=True)
class Traffic:
    """What happens each second; rates are chances per execution."""

    rps: float = 100.0
    stable_errors: float = 0.001
    canary_errors: float = 0.001
    slower: float = 1.0  # the canary is slow this many times as often
    pairs_per_s: float = 0.05
    pair_mean: float = 0.0  # of the scaled difference
    pair_sd: float = 0.2
    labelled: float = 0.9  # share of due outcomes that come in
    channels: int = 200


@dataclass(slots=True)
class Tape:
    """A roll-out on its way, a second at a time."""

    store: RolloutStore
    config: RolloutConfig
    rng: np.random.Generator
    clock: ManualClock
    id: str = "tape"
    session: Session = field(init=False)
    reports: Callable[[SplitReport], SplitReport] = lambda report: report  # how routers differ from obedient ones
    _epoch: int = 0
    _second: int = 0

    def __post_init__(self) -> None:
        record = new_record(self.id, MODEL, 2, 1, self.config)
        now = self.clock.now()
        new = StoredRollout(self.id, MODEL, 2, 1, record.phase, to_json(record), now, now, seq=1)
        stored = self.store.create(new, self.id, to_json(Requested(2, 1, self.config, True, "simulated")))
        nobody = cast(Any, None)  # orders are answered here, not carried out
        self.session = Session(stored, self.store, nobody, nobody, self.clock, Memory())
        self.feed(Started(1, 4, Cursors()))
        self.feed(Observed((SplitReport(4, 1, None, 0.0, False, False, False, 1),)))
        self.feed(Baseline((4.0, 9.0, 20.0), 2000), ChallengerReady())

    @property
    def record(self) -> Record:
        """As it is now."""
        return self.session.record

    def rows(self) -> tuple[StoredEvent, ...]:
        """Its log."""
        return self.store.events(self.id)

    def feed(self, *events: Event) -> None:
        """Step and persist; orders are answered."""
        for event in events:
            self.session.feed(event)
        for command in outstanding(self.record):
            match command:
                case Promote():
                    self.session.feed(Aliased())
                case Restore():
                    self.session.feed(Restored(""))
                case Release():
                    self.session.feed(Released())
        self.session.persist()

    def second(self, traffic: Traffic) -> None:
        """A pass of the controller after a second of traffic."""
        self._second += 1
        self.clock.advance(1.0)
        events: list[Event] = [self._observed()]
        if self.record.stage in (Stage.SERVING, Stage.ALIASING):
            events.append(self._counts(traffic))
            n = int(self.rng.poisson(traffic.pairs_per_s))
            if n:
                values = np.clip(self.rng.normal(traffic.pair_mean, traffic.pair_sd, n), -1, 1)
                events.append(Pairs(tuple(map(float, values)), Cursors()))
            if self._second % 600 == 0:
                due = int(traffic.pairs_per_s * 600) + 1
                events.append(Matured(due, int(self.rng.binomial(due, traffic.labelled)), Cursors()))
        self.feed(*events, Tick(1.0))

    def run(self, seconds: int, traffic: Traffic) -> None:
        """Until it has ended, or for so long."""
        for _ in range(seconds):
            if self.record.phase in TERMINAL:
                return
            self.second(traffic)

    def _observed(self) -> Observed:
        split = intended(self.record)
        if split is None:
            return Observed((SplitReport(self.record.epoch, 1, None, 0.0, False, False, False, 1),))
        report = SplitReport(split.epoch, split.stable, split.canary, split.weight, True, False, False, 1)
        return Observed(tuple(replace(self.reports(report), pid=pid) for pid in (1, 2)))

    def _counts(self, traffic: Traffic) -> Counts:
        ages = [f"known_{age}h" for age in KNOWN_AGES_H] if self.config.by_known_age else []
        n = self.rng.multinomial(int(self.rng.poisson(traffic.rps)), [1 / len(KNOWN_AGES_H)] * len(KNOWN_AGES_H))
        parts = [self._executions(int(k), traffic) for k in n]
        canary_n = int(self.rng.binomial(int(n.sum()), self.record.weight))
        failed = int(self.rng.binomial(canary_n, traffic.canary_errors))
        stable_failed = int(self.rng.binomial(int(n.sum()) - canary_n, traffic.stable_errors))
        keys = canary_keys = 0
        if self._epoch != self.record.epoch:
            self._epoch, keys = self.record.epoch, traffic.channels
            canary_keys = int(self.rng.binomial(keys, self.record.weight))
        return Counts(
            {"": _summed(parts), **dict(zip(ages, parts, strict=False))},
            Tally(int(n.sum()) - canary_n, stable_failed, canary_n, failed),
            keys - canary_keys,
            canary_keys,
            Cursors(),
        )

    def _executions(self, n: int, traffic: Traffic) -> Executions:
        sides = []
        for errors, slower in ((traffic.stable_errors, 1.0), (traffic.canary_errors, traffic.slower)):
            rates = {"errors": errors} | {name: min(1.0, rate * slower) for name, rate in SLOW.items()}
            drawn = {name: int(self.rng.binomial(n, rate)) for name, rate in rates.items()}
            sides.append({name: count for name, count in drawn.items() if count})
        return Executions(n, n, *sides)


def _summed(parts: list[Executions]) -> Executions:
    def added(side: str) -> dict[str, int]:
        total: dict[str, int] = {}
        for part in parts:
            for name, count in getattr(part, side).items():
                total[name] = total.get(name, 0) + count
        return total

    n = sum(part.canary_n for part in parts)
    return Executions(n, n, added("stable"), added("canary"))


def tape(config: RolloutConfig, seed: int, start: int = 1_735_689_600) -> Tape:
    """A roll-out that has just begun to serve, in memory. start: Unix seconds, a Wednesday at midnight unless said."""
    database = Database("sqlite:///:memory:")
    schema.metadata.create_all(database.engine, tables=[schema.rollout, schema.rollout_event])
    return Tape(RolloutStore(database), config, np.random.default_rng(seed), ManualClock(time=start))
