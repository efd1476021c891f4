"""Evidence from the prediction log: failures by kind, keys counted once, pairs only where both versions spoke."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from core.clock import HOUR
from core.store.database import Database
from core.store.evidence import EvidenceLog, Executed
from core.store.predictions import PredictionLog, ShadowRow
from tests.core.test_predictions import answer, row, settle
from tests.tallies import background, first_attempts, tally

M = "engagement"
LIMITS = {"slow_p50": 2.0, "slow_p99": 9.0}


def stored(database: Database, *rows: Any) -> list[Any]:
    return list(PredictionLog(database).append(list(rows)))


def test_a_rescue_counts_against_the_canary_and_a_failure_against_stable(database: Database) -> None:
    arms = ["stable", "stable", "failed", "canary", "canary", "rescued"]
    stored(database, *(row(arm=arm) for arm in arms))
    log = EvidenceLog(database)
    parts, last = log.first_attempts(M, 0)
    assert tally(part for part in parts if part.first) == (3, 1, 3, 1)
    assert tally(part for part in parts if not part.first) == (1, 0, 0, 0)  # the version that helped out
    stored(database, row(arm="canary", epoch=2), row(arm="canary", epoch=3), row(model="another"))
    assert first_attempts(database, last) == (0, 0, 2, 0)
    only, later = log.first_attempts(M, last, epochs={3})
    assert tally(only) == (0, 0, 1, 0)
    assert log.first_attempts(M, later) == ((), later)


def test_executions_are_told_apart_by_kind_of_failure_slowness_and_known_age(database: Database) -> None:
    stored(
        database,
        row(arm="rescued", failure="timeout", known_age_h=4),
        row(arm="rescued", failure="invalid"),
        row(arm="canary", score_ms=3.0),
        row(arm="canary", score_ms=10.0),
        row(score_ms=1.0),
    )
    parts, _ = EvidenceLog(database).first_attempts(M, 0, slow_ms=LIMITS)
    assert Executed("canary", 4, 1, {"errors": 1, "timeouts": 1, "invalid": 0, "slow_p50": 0, "slow_p99": 0}) in parts
    canary = [part.events for part in parts if part.side == "canary" and part.known_age_h == 0]
    total = {name: sum(events[name] for events in canary) for name in canary[0]}
    assert total == {"errors": 1, "timeouts": 0, "invalid": 1, "slow_p50": 2, "slow_p99": 1}
    (stable,) = [part for part in parts if part.side == "stable" and part.first]
    assert (stable.n, sum(stable.events.values())) == (1, 0)


def test_shadow_scores_are_stored_once_and_counted_with_their_failures(database: Database) -> None:
    log = PredictionLog(database)
    asked = stored(database, row(), row(known_age_h=24))
    good = ShadowRow(asked[0].id, M, 2, 1, answer(70), 4.0, score_ms=3.0)
    bad = ShadowRow(asked[1].id, M, 2, 1, None, 4.0, error="late", failure="timeout")
    assert log.add_shadows([good, bad]) == 2
    assert log.add_shadows([good, replace(bad, version=3)]) == 1
    assert log.add_shadows([]) == 0
    assert background(database, 2) == (2, 1)
    parts, last = EvidenceLog(database).background(M, 2, "canary", 0, LIMITS)
    assert {(p.known_age_h, p.events["timeouts"], p.events["slow_p50"]) for p in parts} == {(0, 0, 1), (24, 1, 0)}
    assert EvidenceLog(database).background(M, 2, "canary", last) == ((), last)


def test_a_channel_is_a_new_key_once_under_each_split_and_pinned_requests_are_none(database: Database) -> None:
    log = EvidenceLog(database)
    first = stored(database, row(channel_id=1), row(channel_id=2, arm="canary"), row(channel_id=3, pinned=True))
    assert log.new_keys(M, 1, 0, first[-1].seq) == {"stable": 1, "canary": 1}
    again = stored(database, row(channel_id=1), row(channel_id=3, arm="rescued"), row(channel_id=1, epoch=2))
    assert log.new_keys(M, 1, first[-1].seq, again[-1].seq) == {"stable": 0, "canary": 1}
    assert log.new_keys(M, 2, first[-1].seq, again[-1].seq) == {"stable": 1, "canary": 0}


def test_scoring_times_are_the_newest_of_a_version_wherever_it_scored(database: Database) -> None:
    asked = stored(database, *(row(score_ms=float(i)) for i in range(5)), row(version=2, arm="canary", score_ms=99.0))
    stored(database, row(arm="rescued"), row(arm="failed", answer={}))
    PredictionLog(database).add_shadows([ShadowRow(asked[5].id, M, 1, 1, answer(1), 1.0, score_ms=7.0)])
    assert EvidenceLog(database).score_times(M, 1, 3) == (4.0, 3.0, 2.0)
    assert sorted(EvidenceLog(database).score_times(M, 1, 9)) == [0.0, 1.0, 2.0, 3.0, 4.0, 7.0]


def test_pairs_need_both_versions_whichever_of_them_answered(database: Database) -> None:
    by_stable, by_canary, alone, failed, draft = stored(
        database,
        row(post_id=1),
        row(post_id=2, version=2, arm="canary", answer=answer(90)),
        row(post_id=3),
        row(post_id=4),
        row(post_id=None),
    )
    PredictionLog(database).add_shadows(
        [
            ShadowRow(by_stable.id, M, 2, 1, answer(70), 1.0),
            ShadowRow(by_canary.id, M, 1, 1, answer(60), 1.0),
            ShadowRow(failed.id, M, 2, 1, None, 1.0, error="timeout"),
            ShadowRow(draft.id, M, 2, 1, answer(70), 1.0),
        ]
    )
    for asked in (by_stable, by_canary, alone, failed, draft):
        settle(database, asked.id, 85.0)
    settle(database, by_stable.id, 99.0, target="views_72h")
    log = EvidenceLog(database)
    pairs, last = log.pairs(M, 1, 2, 0)
    assert [(p.post_id, p.stable_q50, p.challenger_q50, p.value) for p in pairs] == [(1, 80, 70, 85), (2, 60, 90, 85)]
    assert log.pairs(M, 1, 2, last) == ((), last)
    assert log.pairs(M, 1, 3, 0) == ((), last)


def test_posts_that_are_due_count_once_with_or_without_their_outcome(database: Database) -> None:
    asked = stored(
        database,
        row(post_id=1, published_at=100),
        row(post_id=1, published_at=100, known_age_h=4),
        row(post_id=2, published_at=200),
        row(post_id=3, published_at=900),
        row(post_id=4, published_at=150, epoch=9),
    )
    settle(database, asked[0].id, 5.0)
    settle(database, asked[2].id, 5.0, target="views_72h")
    log = EvidenceLog(database)
    assert log.due(M, (1, 2), (50, 500), ("views_24h",)) == (2, 1)
    assert log.due(M, (1, 2), (100, 500), ("views_24h",)) == (1, 0)
    assert log.late(M, (1, 2), 0) == 2
    assert log.late(M, (3, 9), 0) == 0


def test_throughput_counts_what_came_since_a_moment(database: Database) -> None:
    asked = stored(
        database,
        row(at=0),
        *(row(at=HOUR * i, post_id=i, arm="failed" if i == 3 else "stable") for i in range(1, 5)),
        row(at=HOUR, arm="canary"),
    )
    settle(database, asked[1].id, 1.0)
    found = EvidenceLog(database).throughput(M, 5, ("views_24h",))
    assert (found.requests, found.stable_n, found.stable_errors, found.posts) == (5, 4, 1, 1)
    assert found.span_s == 3 * HOUR
    empty = EvidenceLog(database).throughput(M, 10**9, ("views_24h",))
    assert (empty.requests, empty.span_s) == (0, 0.0)
