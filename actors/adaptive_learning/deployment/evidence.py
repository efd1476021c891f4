"""Reads what the prediction log has added since a roll-out last looked, as events for its state machine."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

from actors.adaptive_learning.deployment.events import Counts, Cursors, Pairs
from actors.adaptive_learning.deployment.judge import Tally, scaled_difference
from actors.adaptive_learning.deployment.record import Record
from core.store.database import Database
from core.store.evidence import EvidenceLog
from core.store.predictions import ArmCounts, Pair, PredictionLog, ShadowCounts

#: A post counts once, by its channel's first target: a channel has one of these, never both.
TARGETS_OF_RECORD = ("views_24h", "views_final")


@dataclass(frozen=True)
class EvidenceReader:
    """Counts and pairs after a record's cursors; the same cursors give the same events."""

    log: PredictionLog
    ends: EvidenceLog

    @staticmethod
    def of(database: Database, tenant: str) -> EvidenceReader:
        """A reader of a database."""
        return EvidenceReader(PredictionLog(database, tenant), EvidenceLog(database))

    def here(self) -> Cursors:
        """Cursors at the logs' ends: what comes before them is not this roll-out's."""
        ends = self.ends.ends()
        return Cursors(ends.prediction, ends.shadow, ends.shadow, ends.outcome, ends.outcome)

    def counts(self, record: Record, cursors: Cursors) -> Counts:
        """Executions under this roll-out's splits, background scorings among them."""
        epochs = range(record.first_epoch, record.epoch + 1)
        first, prediction = self.log.counts(record.model, cursors.prediction, epochs)
        stable, at_stable = self.log.shadow_counts(record.model, record.stable, cursors.shadow_stable)
        challenger, at_challenger = self.log.shadow_counts(record.model, record.challenger, cursors.shadow_challenger)
        after = replace(cursors, prediction=prediction, shadow_stable=at_stable, shadow_challenger=at_challenger)
        return Counts(_executions(first, stable, challenger), _tally(first), after)

    def pairs(self, record: Record, cursors: Cursors) -> Pairs:
        """One difference a newly settled post: the mean over its predictions, whatever their known ages."""
        pairs, outcome = self.log.pairs(record.model, record.stable, record.challenger, cursors.outcome)
        posts: dict[tuple[int, int], list[float]] = defaultdict(list)
        for pair in pairs:
            if pair.target in TARGETS_OF_RECORD:
                posts[pair.channel_id, pair.post_id].append(_difference(pair, record.config.quality_clip))
        seen = self.ends.counted(record.model, posts, TARGETS_OF_RECORD, cursors.outcome_from, cursors.outcome)
        differences = tuple(sum(values) / len(values) for post, values in posts.items() if post not in seen)
        return Pairs(differences, replace(cursors, outcome=outcome))


def _difference(pair: Pair, clip: float) -> float:
    return scaled_difference(pair.value, pair.stable_q50, pair.challenger_q50, clip)


def _tally(first: ArmCounts) -> Tally:
    return Tally(first.stable_n, first.stable_errors, first.canary_n, first.canary_errors)


def _executions(first: ArmCounts, stable: ShadowCounts, challenger: ShadowCounts) -> Tally:
    return Tally(
        first.stable_n + stable.n,
        first.stable_errors + stable.errors,
        first.canary_n + challenger.n,
        first.canary_errors + challenger.errors,
    )
