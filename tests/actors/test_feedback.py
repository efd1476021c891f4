"""Outcomes are joined once, at their time, whatever came first and whoever died; feedback is one row a key."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from actors.adaptive_learning.feedback.actor import Feedback
from actors.adaptive_learning.feedback.joining import settle
from core.clock import DAY, HOUR, ManualClock
from core.errors import InvalidInput
from core.schemas.predictions import FeedbackAck, FeedbackItem, JoinReport, Outcome, Quantiles, Target
from core.store import schema
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.feedback import FeedbackStore
from core.store.feedback_rules import LATE_S
from core.store.ids import new_id
from core.store.ingest import Batch, ChannelRow, IngestWriter, PostRow, ReactionRow, ViewRow
from core.store.outcomes import OutcomeStore, Pending
from core.store.predictions import PredictionLog, PredictionRow

T0 = 1_735_689_600
BOTH: tuple[Target, ...] = ("views_24h", "views_72h")


def read(database: Database, post: int, *ages_h: float, name: str = "a", at: int = T0, tenant: str = "default") -> int:
    """Post `post`, published `post` hours after T0, and readings of 10 views an hour at some ages."""
    batch = Batch(tenant)
    channel = batch.channel(ChannelRow(name, "UTC", "bundle"))
    published = T0 + post * HOUR
    batch.posts.append(PostRow(channel, post, published))
    batch.views.extend(ViewRow(channel, post, int(published + age * HOUR), int(10 * age)) for age in ages_h)
    IngestWriter(database, tenant).write(batch, at)
    return channel


def predict(
    database: Database, channel: int, post: int | None, targets: tuple[Target, ...] = BOTH, tenant: str = "default"
) -> str:
    published = T0 + (post or 0) * HOUR
    row = PredictionRow(
        id=new_id(),
        channel_id=channel,
        post_id=post,
        model="engagement",
        version=1,
        arm="stable" if targets else "failed",
        epoch=1,
        known_age_h=0,
        published_at=published,
        as_of=published,
        answer={target: Quantiles(100, 200, 400) for target in targets},
        latency_ms=2.0,
        at=published,
    )
    return PredictionLog(database, tenant).append([row])[0].id


def outcomes(database: Database) -> list[tuple[str, str, float]]:
    table = schema.outcome
    with database.read() as connection:
        rows = connection.execute(select(table).order_by(table.c.seq)).all()
    return [(row.prediction_id, row.target, row.value) for row in rows]


def test_a_reading_settles_the_prediction_that_waited_for_it(database: Database, clock: ManualClock) -> None:
    channel = read(database, 0, 3)
    prediction = predict(database, channel, 0)
    feedback = Feedback(database, clock)
    clock.time = T0 + 23 * HOUR
    assert feedback.catch_up() == JoinReport(events=1)
    read(database, 0, 22, 26)
    clock.time = T0 + 26 * HOUR
    assert feedback.catch_up() == JoinReport(1, 1, {"views_24h": 1})
    read(database, 0, 70, 74)
    clock.time = T0 + 74 * HOUR
    assert feedback.catch_up() == JoinReport(1, 1, {"views_72h": 1})
    assert [(p, t) for p, t, _ in outcomes(database)] == [(prediction, "views_24h"), (prediction, "views_72h")]
    assert outcomes(database)[0][2] == pytest.approx(240, rel=0.02)


def test_reactions_that_arrive_alone_settle_what_waits_for_them(database: Database, clock: ManualClock) -> None:
    channel = read(database, 0, 22, 26)
    prediction = predict(database, channel, 0, ("reactions_72h", "forwards_72h", "views_7d"))
    feedback = Feedback(database, clock)
    clock.time = T0 + 80 * HOUR
    assert feedback.catch_up().outcomes == 0
    batch = Batch()
    channel = batch.channel(ChannelRow("a", "UTC", "bundle"))
    for age, count in ((70, 5), (73, 8)):
        batch.reactions += [ReactionRow(channel, 0, T0 + age * HOUR, kind, count) for kind in ("👍", "👎")]
    IngestWriter(database).write(batch, T0 + 80 * HOUR)
    assert feedback.catch_up() == JoinReport(1, 1, {"reactions_72h": 1})
    ((joined, target, value),) = outcomes(database)
    assert (joined, target) == (prediction, "reactions_72h")
    assert 10 < value < 16


def test_a_second_pass_over_the_same_data_joins_nothing(database: Database, clock: ManualClock) -> None:
    predict(database, read(database, 0, 22, 26), 0)
    clock.time = T0 + 30 * HOUR
    feedback = Feedback(database, clock)
    assert feedback.catch_up().outcomes == 1
    assert feedback.catch_up() == JoinReport()
    assert len(outcomes(database)) == 1


def test_a_prediction_asked_for_after_its_reading_was_consumed_is_settled_too(
    database: Database, clock: ManualClock
) -> None:
    channel = read(database, 0, 22, 26)
    clock.time = T0 + 30 * HOUR
    feedback = Feedback(database, clock)
    assert feedback.catch_up() == JoinReport(events=1)
    late = predict(database, channel, 0)
    assert feedback.catch_up() == JoinReport(0, 1, {"views_24h": 1})
    assert outcomes(database)[0][0] == late


def test_a_reading_ahead_of_the_clock_settles_nothing_before_its_time(database: Database, clock: ManualClock) -> None:
    channel = read(database, 0, 22, 26)
    early = predict(database, channel, 0)
    clock.time = T0 + 25 * HOUR
    feedback = Feedback(database, clock)
    assert feedback.catch_up() == JoinReport(events=1)
    late = predict(database, channel, 0)
    assert feedback.catch_up() == JoinReport()
    clock.time = T0 + 26 * HOUR
    assert Feedback(database, clock).catch_up() == JoinReport(0, 2, {"views_24h": 2})
    assert {p for p, _, _ in outcomes(database)} == {early, late}
    assert feedback.health().details["channels_ahead_of_clock"] == 0


def test_a_source_read_once_settles_its_only_target(database: Database, clock: ManualClock) -> None:
    channel = read(database, 0, 500)
    predict(database, channel, 0, ("views_final",))
    feedback = Feedback(database, clock)
    clock.time = T0 + 23 * HOUR
    assert feedback.catch_up().outcomes == 0
    clock.time = T0 + DAY
    assert feedback.catch_up() == JoinReport(0, 1, {"views_final": 1})


def test_drafts_failures_and_unread_posts_stay_without_outcome(database: Database, clock: ManualClock) -> None:
    channel = read(database, 0, 22, 26)
    predict(database, channel, None)
    predict(database, channel, 0, ())
    predict(database, channel, 1)
    clock.time = T0 + 30 * DAY
    assert Feedback(database, clock).catch_up() == JoinReport(events=1)


@pytest.mark.parametrize("step", ["add", "advance"])
def test_a_pass_killed_before_its_commit_is_done_again_as_a_whole(
    database: Database, clock: ManualClock, step: str
) -> None:
    channel = read(database, 0, 22, 26)
    predict(database, channel, 0)
    clock.time = T0 + 30 * HOUR

    def dies(original: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object) -> object:
            original(*args)
            raise KeyboardInterrupt

        return call

    dying = Feedback(database, clock)
    owner = dying._outcomes if step == "add" else dying._outbox
    object.__setattr__(owner, step, dies(getattr(owner, step)))
    with pytest.raises(KeyboardInterrupt):
        dying.catch_up()
    assert outcomes(database) == []
    assert Feedback(database, clock).catch_up() == JoinReport(1, 1, {"views_24h": 1})
    assert len(outcomes(database)) == 1


def test_two_passes_at_once_join_each_outcome_once(database: Database, clock: ManualClock) -> None:
    channel = read(database, 0, 22, 26)
    prediction = predict(database, channel, 0)
    store, outcome = OutcomeStore(database), Outcome(prediction, "views_24h", 240.0, T0 + 26 * HOUR)
    with database.write() as connection:
        assert store.add(connection, [outcome, outcome], T0) == (outcome,)
    with database.write() as connection:
        assert store.add(connection, [replace(outcome, value=1.0)], T0) == ()
        assert store.add(connection, [], T0) == ()
    assert outcomes(database) == [(prediction, "views_24h", 240.0)]
    assert store.last() == 1


def test_tenants_join_their_own_predictions_only(database: Database, clock: ManualClock) -> None:
    mine, theirs = read(database, 0, 22, 26), read(database, 0, 22, 26, tenant="other")
    prediction = predict(database, mine, 0)
    predict(database, theirs, 0, tenant="other")
    clock.time = T0 + 30 * HOUR
    assert Feedback(database, clock).catch_up() == JoinReport(1, 1, {"views_24h": 1})
    assert [p for p, _, _ in outcomes(database)] == [prediction]
    assert Feedback(database, clock, "other").catch_up().outcomes == 1


def test_values_known_only_later_are_left_waiting(database: Database) -> None:
    channel = read(database, 0, 22, 26)
    store = ChannelStore(database)
    history = store.history(store.by_id(channel))
    waiting = [Pending("p", channel, 0, T0, BOTH), Pending("q", channel, 99, T0, BOTH)]
    assert settle(history, waiting, T0 + 26 * HOUR - 1) == ()
    (outcome,) = settle(history, waiting, T0 + 26 * HOUR)
    assert (outcome.prediction_id, outcome.target, outcome.known_at) == ("p", "views_24h", T0 + 26 * HOUR)


def test_outcomes_are_read_beside_their_answers_in_order(database: Database, clock: ManualClock) -> None:
    prediction = predict(database, read(database, 0, 22, 26, 70, 74), 0)
    clock.time = T0 + 80 * HOUR
    Feedback(database, clock).catch_up()
    (day, three), last = OutcomeStore(database).after(0)
    assert (day.target, day.first, three.target, three.first) == ("views_24h", True, "views_72h", False)
    assert (day.prediction_id, day.answer.q50, day.foreseen) == (prediction, 200, True)
    assert OutcomeStore(database).after(last) == ((), last)
    assert not replace(day, as_of=day.known_at).foreseen


def rating(prediction: str, value: float = 4, key: str = "k") -> FeedbackItem:
    return FeedbackItem(prediction, "rating", value, key)


def stored(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(schema.feedback)).scalar_one())


def test_sixty_items_in_one_batch_are_sixty_rows_however_often_they_are_sent(
    database: Database, clock: ManualClock
) -> None:
    prediction = predict(database, read(database, 0), 0)
    items = tuple(rating(prediction, 1 + i % 5, f"k{i}") for i in range(60))
    feedback = Feedback(database, clock)
    first = feedback.submit(items)
    again = Feedback(database, clock).submit(items)
    assert stored(database) == 60
    assert len({ack.id for ack in first}) == 60
    assert [ack.duplicate for ack in first] == [False] * 60
    assert [(ack.id, ack.duplicate) for ack in again] == [(ack.id, True) for ack in first]
    assert feedback.submit(()) == ()


def test_a_key_repeated_in_a_batch_is_a_duplicate(database: Database, clock: ManualClock) -> None:
    prediction = predict(database, read(database, 0), 0)
    one, two = Feedback(database, clock).submit((rating(prediction), rating(prediction)))
    assert (one.id, one.duplicate, two.duplicate) == (two.id, False, True)
    assert stored(database) == 1


def test_a_key_used_for_something_else_is_a_conflict_and_the_rest_of_the_batch_is_kept(
    database: Database, clock: ManualClock
) -> None:
    prediction = predict(database, read(database, 0), 0)
    feedback = Feedback(database, clock)
    feedback.submit((rating(prediction),))
    new, other = feedback.submit((rating(prediction, key="new"), rating(prediction, value=5)))
    assert (new.status, new.problem) == ("accepted", None)
    assert (other.id, other.status) == (None, "conflict")
    assert other.problem is not None
    assert other.problem["type"] == "urn:analyticbot:conflict"
    one, two = feedback.submit((rating(prediction, 1, "twice"), rating(prediction, 2, "twice")))
    assert (one.status, two.status) == ("accepted", "conflict")
    assert [item.value for item in feedback._feedback.of(prediction)].count(2) == 0
    assert stored(database) == 3


def test_a_key_belongs_to_its_tenant(database: Database, clock: ManualClock) -> None:
    mine = predict(database, read(database, 0), 0)
    theirs = predict(database, read(database, 0, tenant="other"), 0, tenant="other")
    Feedback(database, clock).submit((rating(mine),))
    good, foreign = Feedback(database, clock, "other").submit((rating(theirs, 2), rating(mine, key="x")))
    assert (good.duplicate, good.status) == (False, "accepted")
    assert (foreign.id, foreign.status) == (None, "unknown")


def test_a_correction_names_a_predicted_target(database: Database, clock: ManualClock) -> None:
    prediction = predict(database, read(database, 0), 0, ("views_24h",))
    feedback = Feedback(database, clock)
    good = FeedbackItem(prediction, "correction", 321.0, "c", "views_24h")
    feedback.submit((good,))
    assert feedback._feedback.of(prediction) == (replace(good, key=""),)
    other, none = feedback.submit((replace(good, key="d", target="views_72h"), replace(good, key="e", target=None)))
    assert (refused(other), refused(none)) == (("invalid", "target"), ("invalid", "target"))


def refused(ack: FeedbackAck) -> tuple[str, str | None]:
    """The status and the field that is at fault."""
    assert ack.id is None
    assert ack.problem is not None
    return ack.status, ack.problem.get("field")


BAD = [
    (rating("p", 0.5), "value", "1 to 5"),
    (rating("p", 6), "value", "1 to 5"),
    (rating("p", math.nan), "value", "finite"),
    (rating("p", math.inf), "value", "finite"),
    (rating("p", 10**400), "value", "finite"),
    (rating("p", key=" "), "key", "key"),
    (rating("p", key="x" * 201), "key", "key"),
    (rating("p", key="\ud800"), "key", "key"),
    (FeedbackItem("p", "correction", -1, "k", "views_24h"), "value", "from 0"),
    (FeedbackItem("p", "correction", 1e17, "k", "views_24h"), "value", "from 0"),
    (FeedbackItem("p", "praise", 1, "k"), "kind", "kind"),  # type: ignore[arg-type]
    (FeedbackItem("p", "rating", 1, "k", observed_at=-1), "observed_at", "epoch"),
]


def test_what_is_out_of_range_is_refused_item_by_item(database: Database, clock: ManualClock) -> None:
    prediction = predict(database, read(database, 0), 0)
    items = tuple(replace(item, prediction_id=prediction) for item, _, _ in BAD)
    acks = Feedback(database, clock).submit((rating(prediction, key="good"), *items))
    assert acks[0].status == "accepted"
    for ack, (_, field, said) in zip(acks[1:], BAD, strict=True):
        assert refused(ack) == ("invalid", field)
        assert ack.problem is not None
        assert said in ack.problem["detail"]
    assert stored(database) == 1


def test_feedback_of_an_unknown_prediction_is_not_found(database: Database, clock: ManualClock) -> None:
    for name in ("nobody", "", "x" * 500, "null\0byte"):
        (ack,) = Feedback(database, clock).submit((rating(name),))
        assert (ack.id, ack.status) == (None, "unknown")
        assert ack.problem is not None
        assert (ack.problem["status"], ack.problem["prediction"]) == (404, name)
    assert Feedback(database, clock).summary().by_status == {"unknown": 4}


def test_what_was_seen_in_the_future_or_before_it_could_be_is_refused(database: Database, clock: ManualClock) -> None:
    prediction = predict(database, read(database, 0), 0)
    clock.time = T0 + 30 * HOUR
    correction = FeedbackItem(prediction, "correction", 300, "c", "views_24h")
    ahead, early, good, star = Feedback(database, clock).submit(
        (
            replace(correction, key="a", observed_at=clock.time + 1),
            replace(correction, key="b", observed_at=T0 + 23 * HOUR),
            replace(correction, observed_at=T0 + 24 * HOUR),
            replace(rating(prediction, key="r"), observed_at=T0 + HOUR),
        )
    )
    assert refused(ahead) == ("future", "observed_at")
    assert refused(early) == ("invalid", "observed_at")
    assert (good.status, star.status) == ("accepted", "accepted")


def test_one_star_is_a_low_rating_and_no_bad_feedback(database: Database, clock: ManualClock) -> None:
    prediction = predict(database, read(database, 0), 0)
    feedback = Feedback(database, clock)
    acks = feedback.submit(tuple(rating(prediction, stars, f"k{stars}") for stars in (1, 5, 2)))
    assert [ack.status for ack in acks] == ["accepted"] * 3
    (version,) = feedback.summary().versions
    assert version.ratings == {1: 1, 2: 1, 5: 1}
    assert version.mean_rating == pytest.approx(8 / 3)


def test_feedback_after_its_outcome_is_late_and_kept(database: Database, clock: ManualClock) -> None:
    prediction = predict(database, read(database, 0, 22, 26), 0)
    feedback = Feedback(database, clock)
    day = FeedbackItem(prediction, "correction", 300, "c", "views_24h")
    clock.time = T0 + 26 * HOUR
    assert feedback.submit((rating(prediction),))[0].status == "accepted"
    feedback.catch_up()
    acks = feedback.submit((day, replace(day, key="d", target="views_72h"), rating(prediction, key="r")))
    assert [ack.status for ack in acks] == ["late", "accepted", "late"]
    clock.time = T0 + 72 * HOUR + LATE_S
    assert feedback.submit((replace(day, key="e", target="views_72h"),))[0].status == "accepted"
    clock.time += 1
    assert feedback.submit((replace(day, key="f", target="views_72h"),))[0].status == "late"
    assert stored(database) == 6


@pytest.mark.parametrize("decision", ["replaced", "rolled back"])
def test_feedback_after_its_version_was_decided_upon_is_kept_and_says_so(
    database: Database, clock: ManualClock, decision: str
) -> None:
    prediction = predict(database, read(database, 0), 0)
    feedback = Feedback(database, clock)
    with database.write() as connection:
        if decision == "replaced":
            put = {"model": "engagement", "alias": "champion", "from_version": 1, "to_version": 2, "generation": 2}
            connection.execute(schema.alias_history.insert().values(**put, reason="r", actor="a", at=T0 + HOUR))
        else:
            ended = {"id": "r", "model": "engagement", "challenger": 1, "stable": 9, "phase": "rolled_back"}
            connection.execute(
                schema.rollout.insert().values(**ended, record="{}", created_at=T0, updated_at=T0 + HOUR)
            )
    clock.time = T0 + HOUR - 1
    assert feedback.submit((rating(prediction, key="before"),))[0].status == "accepted"
    clock.time = T0 + HOUR
    assert feedback.submit((rating(prediction, key="after"),))[0].status == "after_decision"
    later = predict(database, read(database, 3), 3)  # answered after the decision, which says nothing of it
    clock.time = T0 + 4 * HOUR
    assert feedback.submit((rating(later, key="later"),))[0].status == "accepted"
    assert stored(database) == 3


def test_each_kind_is_counted_and_the_counts_outlive_the_actor(database: Database, clock: ManualClock) -> None:
    prediction = predict(database, read(database, 0), 0)
    ahead = replace(rating(prediction, key="f"), observed_at=T0 + DAY)
    sent = (rating(prediction), rating(prediction), rating(prediction, 5), rating("x"), rating(prediction, 9), ahead)
    Feedback(database, clock).submit(sent)
    expected = {"accepted": 1, "duplicate": 1, "conflict": 1, "unknown": 1, "invalid": 1, "future": 1}
    again = Feedback(database, clock)
    assert again.summary().by_status == expected
    assert again.health().details["items"] == expected
    again.submit(sent)
    twice = dict.fromkeys(expected, 2)
    assert again.summary().by_status == twice | {"accepted": 1, "duplicate": 3}
    assert Feedback(database, clock, "other").summary().by_status == {}


def test_counts_and_rows_are_committed_together(sqlite_database: Database, clock: ManualClock) -> None:
    prediction = predict(sqlite_database, read(sqlite_database, 0), 0)
    dying = Feedback(sqlite_database, clock)

    object.__setattr__(dying, "_feedback", _DyingStore(sqlite_database))
    with pytest.raises(KeyboardInterrupt):
        dying.submit((rating(prediction),))
    assert stored(sqlite_database) == 0
    (ack,) = Feedback(sqlite_database, clock).submit((rating(prediction),))
    assert ack.status == "accepted"


class _DyingStore(FeedbackStore):
    def _count(self, *_: object) -> None:
        raise KeyboardInterrupt


def test_ten_thousand_items_are_taken_and_more_are_not(sqlite_database: Database, clock: ManualClock) -> None:
    prediction = predict(sqlite_database, read(sqlite_database, 0), 0)
    feedback = Feedback(sqlite_database, clock)
    items = tuple(rating(prediction, 3, f"k{i}") for i in range(10_000))
    assert {ack.status for ack in feedback.submit(items)} == {"accepted"}
    with pytest.raises(InvalidInput, match="at most 10,000"):
        feedback.submit((*items, rating(prediction)))
    assert stored(sqlite_database) == 10_000


def test_corrections_are_told_once_they_are_known(database: Database, clock: ManualClock) -> None:
    channel = read(database, 0)
    prediction, draft = predict(database, channel, 0), predict(database, channel, None)
    feedback, store = Feedback(database, clock), FeedbackStore(database)
    clock.time = T0 + HOUR
    day = FeedbackItem(prediction, "correction", 300, "a", "views_24h")
    feedback.submit((day, rating(prediction), replace(day, prediction_id=draft, key="b")))
    clock.time = T0 + 80 * HOUR
    feedback.submit((replace(day, key="c", target="views_72h", value=400, observed_at=T0 + 75 * HOUR),))
    assert store.corrections(T0 + DAY - 1) == ()  # nobody can know it before the post is so old
    early, late = store.corrections(T0 + 80 * HOUR)
    assert (early.post_id, early.value, early.known_at) == (0, 300, T0 + DAY)
    assert (late.target, late.value, late.known_at, late.at) == ("views_72h", 400, T0 + 75 * HOUR, T0 + 80 * HOUR)
    assert store.corrections(T0 + 79 * HOUR) == (early,)  # what was not sent yet cannot be learned from
    assert FeedbackStore(database, "other").corrections(2**40) == ()


def test_many_events_are_taken_in_several_transactions(
    sqlite_database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.adaptive_learning.feedback.actor.PAGE", 2)
    for post in range(5):
        predict(sqlite_database, read(sqlite_database, post, 22, 26), post)
    clock.time = T0 + 10 * DAY
    assert Feedback(sqlite_database, clock).catch_up() == JoinReport(5, 5, {"views_24h": 5})


def test_health_reads_the_backlog_and_says_broken_without_a_database(
    sqlite_database: Database, clock: ManualClock, tmp_path: object
) -> None:
    read(sqlite_database, 0, 3)
    health = Feedback(sqlite_database, clock).health()
    assert (health.status, health.details["events_waiting"]) == ("ok", 1)
    empty = Database(f"sqlite:///{tmp_path}/nothing.db")
    assert Feedback(empty, clock).health().status == "broken"


def test_its_parts_travel_to_another_process(sqlite_database: Database) -> None:
    assert pickle.loads(pickle.dumps(OutcomeStore(sqlite_database, "t"))).tenant == "t"
