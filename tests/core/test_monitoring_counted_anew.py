"""A database from before sketches keeps its log and its feedback, and its figures are counted again from them."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from core.store import migrate
from core.store.cursors import Cursors
from core.store.database import Database
from core.store.feedback import FeedbackStore
from tests.core.older import at_revision


@pytest.fixture
def old(database: Database) -> Database:
    """At the revision before, with sums, cursors and feedback of two tenants."""
    with at_revision(database, "0003") as connection:
        connection.execute(
            text(
                "INSERT INTO metric_point (model, version, segment, metric, at, n, total) VALUES ('m',1,'12','l',0,3,3)"
            )
        )
        for consumer in ("monitoring:attempts", "monitoring:outcomes", "feedback"):
            connection.execute(text("INSERT INTO consumer_offset (consumer, seq) VALUES (:c, 7)"), {"c": consumer})
        for number, tenant in enumerate(("a", "a", "b")):
            row = {"n": str(number), "t": tenant}
            connection.execute(
                text(
                    "INSERT INTO feedback (id, tenant, prediction_id, kind, value, request_key, at) "
                    "VALUES (:n, :t, 'p', 'rating', 4, :n, 5)"
                ),
                row,
            )
    return database


def test_what_was_said_stays_counted_and_what_was_measured_is_measured_again(old: Database) -> None:
    migrate.upgrade(old)
    assert migrate.check(old) == ()
    assert [FeedbackStore(old, tenant).tally() for tenant in "abc"] == [{"accepted": 2}, {"accepted": 1}, {}]
    assert [item.observed_at for item in FeedbackStore(old, "b").of("p")] == [None]
    cursors = Cursors(old)
    assert [cursors.at(name) for name in ("monitoring:attempts", "monitoring:outcomes", "feedback")] == [0, 0, 7]
    with old.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM metric_point")).scalar() == 0
