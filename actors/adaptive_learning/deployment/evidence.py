"""Reads what the prediction log has added since a roll-out last looked, as events for its state machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import sqrt

from actors.adaptive_learning.deployment.bookkeeping import Executions, Tally, known_age, scaled_difference
from actors.adaptive_learning.deployment.events import Baseline, Counts, Cursors, Matured, Pairs
from actors.adaptive_learning.deployment.record import Record
from core.clock import DAY, HOUR
from core.schemas.predictions import TARGET_AGE_H
from core.schemas.rollouts import RolloutConfig, TrafficFigures
from core.store.database import Database
from core.store.evidence import EvidenceLog, Executed, Pair

#: A post counts once, by its channel's first target: a channel has one of these, never both.
TARGETS_OF_RECORD = ("views_24h", "views_final")
#: An outcome is missed when it is not there this long after its age was reached: readings come hourly at the best.
GRACE_S = DAY
_DUE_S = max(TARGET_AGE_H[target] for target in ("views_24h", "views_final")) * HOUR + GRACE_S
#: Missing outcomes are counted for publication times an hour at a time.
_BLOCK_S = HOUR
#: Scoring times of the stable version that its quantiles are frozen from.
BASELINE_N = 2000
_QUANTILES = {"slow_p50": 0.5, "slow_p90": 0.9, "slow_p99": 0.99}
#: Spread assumed of a scaled paired difference while no roll-out has measured it: on the large side.
ASSUMED_PAIR_SD = 0.35


@dataclass(frozen=True)
class EvidenceReader:
    """Events after a record's cursors; the same cursors give the same events."""

    log: EvidenceLog

    @staticmethod
    def of(database: Database) -> EvidenceReader:
        """A reader of a database."""
        return EvidenceReader(EvidenceLog(database))

    def here(self, now: int) -> Cursors:
        """Cursors at the logs' ends: what comes before them is not this roll-out's."""
        ends = self.log.ends()
        return Cursors(ends.prediction, ends.shadow, ends.shadow, ends.outcome, ends.outcome, now - _DUE_S)

    def baseline(self, record: Record) -> Baseline | None:
        """Stable's own quantiles of scoring time; None while too little is known."""
        times = sorted(self.log.score_times(record.model, record.stable, BASELINE_N))
        if len(times) < BASELINE_N:
            return None
        at_50, at_90, at_99 = (times[int(share * len(times))] for share in _QUANTILES.values())
        return Baseline((at_50, at_90, at_99), len(times))

    def counts(self, record: Record, cursors: Cursors) -> Counts:
        """Executions under this roll-out's splits, background scorings among them, and keys seen for the first time."""
        limits, model = slow_limits(record), record.model
        epochs = range(record.first_epoch, record.epoch + 1)
        first, prediction = self.log.first_attempts(model, cursors.prediction, epochs, limits)
        stable, at_stable = self.log.background(model, record.stable, "stable", cursors.shadow_stable, limits)
        challenger, at_challenger = self.log.background(
            model, record.challenger, "canary", cursors.shadow_challenger, limits
        )
        keys = self.log.new_keys(model, record.epoch, cursors.prediction, prediction)
        after = replace(cursors, prediction=prediction, shadow_stable=at_stable, shadow_challenger=at_challenger)
        parts = (*first, *stable, *challenger)
        return Counts(_segmented(parts, record.config), _tally(first), keys["stable"], keys["canary"], after)

    def pairs(self, record: Record, cursors: Cursors) -> Pairs:
        """One difference a newly settled post: the mean over its predictions, whatever their known ages."""
        pairs, outcome = self.log.pairs(record.model, record.stable, record.challenger, cursors.outcome)
        posts: dict[tuple[int, int], list[float]] = defaultdict(list)
        for pair in pairs:
            if pair.target in TARGETS_OF_RECORD:
                posts[pair.channel_id, pair.post_id].append(_difference(pair, record.config.quality_clip))
        seen = self.log.counted(record.model, posts, TARGETS_OF_RECORD, cursors.outcome_from, cursors.outcome)
        differences = tuple(sum(values) / len(values) for post, values in posts.items() if post not in seen)
        return Pairs(differences, replace(cursors, outcome=outcome))

    def matured(self, record: Record, cursors: Cursors, now: int) -> Matured | None:
        """How many outcomes that were due came in; None until another hour of publication times is due."""
        until = now - _DUE_S
        if until < cursors.matured_until + _BLOCK_S:
            return None
        epochs, published = (record.first_epoch, record.epoch), (cursors.matured_until, until)
        due, labelled = self.log.due(record.model, epochs, published, TARGETS_OF_RECORD)
        return Matured(due, labelled, replace(cursors, matured_until=until))

    def late(self, record: Record) -> int:
        """Outcomes that came after the decision."""
        return self.log.late(record.model, (record.first_epoch, record.epoch), record.cursors.outcome)

    def figures(self, model: str, now: int, past: Iterable[Record], days: int = 7) -> TrafficFigures:
        """What a plan rests on: the last days of requests and outcomes, and the spread seen in earlier roll-outs."""
        found = self.log.throughput(model, now - days * DAY, TARGETS_OF_RECORD)
        span, n = max(found.span_s, 1.0), max(found.stable_n, 1)
        return TrafficFigures(
            requests_per_s=found.requests / span,
            error_rate=found.stable_errors / n,
            pairs_per_day=found.posts * DAY / max(found.span_s, DAY),
            pair_sd=next((sd for record in past if (sd := _spread(record)) is not None), ASSUMED_PAIR_SD),
            measured_over_s=found.span_s,
            n=found.requests,
            label_delay_s=found.label_delay_s,
            rates={"timeouts": found.timeouts / n, "invalid": found.invalid / n},
        )


def slow_limits(record: Record) -> dict[str, float] | None:
    """Milliseconds above which a scoring counts as slow, by count; None while stable's own times are not known."""
    if record.stable_quantiles_ms is None:
        return None
    config = record.config
    return {
        name: max(quantile * (1 + config.latency_tolerance), quantile + config.latency_floor_ms)
        for name, quantile in zip(_QUANTILES, record.stable_quantiles_ms, strict=True)
    }


def _segmented(parts: Iterable[Executed], config: RolloutConfig) -> dict[str, Executions]:
    n: dict[str, dict[str, int]] = defaultdict(lambda: {"stable": 0, "canary": 0})
    events: dict[str, dict[str, dict[str, int]]] = defaultdict(lambda: {"stable": {}, "canary": {}})
    for part in parts:
        for segment in ("", known_age(part.known_age_h)) if config.by_known_age else ("",):
            n[segment][part.side] += part.n
            counted = events[segment][part.side]
            for name, happened in part.events.items():
                if happened:
                    counted[name] = counted.get(name, 0) + happened
    return {
        segment: Executions(sides["stable"], sides["canary"], events[segment]["stable"], events[segment]["canary"])
        for segment, sides in sorted(n.items())
    }


def _tally(parts: Iterable[Executed]) -> Tally:
    tally = Tally()
    for part in parts:
        if not part.first:
            continue
        failed = part.events["errors"]
        tally += Tally(part.n, failed, 0, 0) if part.side == "stable" else Tally(0, 0, part.n, failed)
    return tally


def _difference(pair: Pair, clip: float) -> float:
    return scaled_difference(pair.value, pair.stable_q50, pair.challenger_q50, clip)


def _spread(record: Record) -> float | None:
    """Standard deviation of a roll-out's scaled differences, where it saw enough of them."""
    n, book = record.book.pairs, record.book
    if n < 20:
        return None
    return sqrt(max(book.pairs_squares - book.pairs_sum**2 / n, 0.0) / (n - 1))
