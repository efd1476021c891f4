"""Rules, alerts and the outbox on both engines: one open alert a rule and channel, one sender a delivery."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from core.errors import NotFound
from core.schemas.alerts import Alert, Notice, RuleSpec, Target
from core.store.alert_rules import AlertStore
from core.store.database import Database
from core.store.deliveries import LEASE_S, DeliveryStore

SPEC = RuleSpec("few views", "threshold", "views_gained", threshold=100.0, channel="a")
LOG, HOOK = Target("log"), Target("webhook", "https://h.example/secret")


def alert(rule_id: str, alert_id: str = "a1", **changes: object) -> Alert:
    base = Alert(
        id=alert_id,
        rule_id=rule_id,
        rule="few views",
        channel="a",
        metric="views_gained",
        kind="threshold",
        severity="medium",
        state="firing",
        onset=0,
        until=10,
        raised_at=10,
        reason="few",
        unit="views/day",
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def save(store: AlertStore, one: Alert, next_at: int | None = None, channel_id: int = 1) -> None:
    with store.database.write() as connection:
        store.save(connection, channel_id, one, next_at)


def test_the_same_key_is_the_same_rule(database: Database) -> None:
    store = AlertStore(database)
    rule = store.add_rule(SPEC, 1, "k", True, 5)
    assert store.add_rule(replace(SPEC, name="other"), 1, "k", True, 6) == rule
    assert rule.spec == SPEC
    assert AlertStore(database, "other").rules() == ()
    with pytest.raises(NotFound):
        AlertStore(database, "other").rule(rule.id)
    assert AlertStore(database, "other").add_rule(SPEC, 1, "k", True, 5).id != rule.id


def test_rules_of_a_channel_are_its_own_and_those_for_all(database: Database) -> None:
    store = AlertStore(database)
    own = store.add_rule(replace(SPEC, name="b"), 1, "1", True, 0)
    everywhere = store.add_rule(replace(SPEC, name="a", channel=None), None, "2", False, 0)
    store.add_rule(replace(SPEC, name="c"), 2, "3", True, 0)
    assert [rule.id for rule in store.rules(1)] == [everywhere.id, own.id]
    assert [rule.id for rule in store.rules(1, enabled=True)] == [own.id]


def test_a_removed_rule_is_gone_and_its_key_may_be_used_again(database: Database) -> None:
    store = AlertStore(database)
    rule = store.add_rule(SPEC, 1, "k", True, 5)
    with database.write() as connection:
        store.set_rule(connection, rule.id, enabled=False, removed_at=9)
    assert store.rules() == ()
    assert store.add_rule(SPEC, 1, "k", True, 10).id != rule.id


def test_a_rule_has_one_open_alert_in_a_channel(database: Database) -> None:
    store = AlertStore(database)
    rule = store.add_rule(SPEC, None, "k", True, 0)
    save(store, alert(rule.id))
    save(store, alert(rule.id, "a2"), channel_id=2)
    with pytest.raises(IntegrityError):
        save(store, alert(rule.id, "a3"))
    save(store, alert(rule.id, state="resolved", resolved_at=20))
    save(store, alert(rule.id, "a3", raised_at=30))
    with database.write() as connection:
        assert [one.id for _, one in store.open_of(connection, rule.id, 1)] == ["a3"]
        assert {one.id for _, one in store.open_of(connection, rule.id)} == {"a2", "a3"}
    assert store.count_open() == 2


def test_alerts_are_found_by_channel_state_and_time(database: Database) -> None:
    store = AlertStore(database)
    rule = store.add_rule(SPEC, None, "k", True, 0)
    save(store, alert(rule.id, "old", state="resolved", raised_at=10, resolved_at=20))
    save(store, alert(rule.id, "going on", raised_at=15))
    save(store, alert(rule.id, "new", raised_at=40), channel_id=2)
    assert [a.id for a in store.alerts()] == ["new", "going on", "old"]
    assert [a.id for a in store.alerts(since=30)] == ["new", "going on"]
    assert [a.id for a in store.alerts(until=30)] == ["going on", "old"]
    assert [a.id for a in store.alerts(channel_id=2)] == ["new"]
    assert [a.id for a in store.alerts(state="resolved")] == ["old"]
    assert len(store.alerts(limit=1)) == 1


def test_alerts_that_time_will_change_are_found_when_it_has(database: Database) -> None:
    store = AlertStore(database)
    rule = store.add_rule(SPEC, None, "k", True, 0)
    save(store, alert(rule.id), next_at=50)
    assert store.due(49) == []
    assert store.due(50) == ["a1"]
    save(store, alert(rule.id), next_at=None)
    assert store.due(50) == []


# ---------------------------------------------------------------- the outbox


def add(store: DeliveryStore, name: str, alert_id: str | None = "a1", to: Target = LOG, not_before: int = 0) -> None:
    with store.database.write() as connection:
        store.add(connection, alert_id, to, Notice(name, "raised", 5, f"text of {name}"), not_before)


def due(store: DeliveryStore, now: int = 10, wall: int = 1000) -> list[str]:
    return [one for one, _ in store.due(now, wall)]


def test_a_delivery_written_twice_is_one(database: Database) -> None:
    store = DeliveryStore(database)
    add(store, "d1")
    add(store, "d1")
    assert [d.id for d in store.deliveries()] == ["d1"]
    assert DeliveryStore(database, "other").deliveries() == ()


def test_nothing_is_due_before_its_time_or_before_what_was_told_earlier(database: Database) -> None:
    store = DeliveryStore(database)
    add(store, "first", not_before=100)
    add(store, "second", not_before=0)
    add(store, "other target", to=HOOK)
    add(store, "other alert", alert_id="a2")
    assert due(store) == ["other target", "other alert"]
    assert due(store, now=100) == ["first", "other target", "other alert"]
    claimed = store.claim("first", 1000)
    assert claimed is not None
    store.settle("first", "dead", reason="no", sent_at=None)
    assert "second" in due(store, now=100)  # one that was given up holds nothing back


def test_one_sender_at_a_time_and_after_a_death_the_next(database: Database) -> None:
    store = DeliveryStore(database)
    add(store, "d1", to=HOOK)
    first = store.claim("d1", 1000)
    assert first is not None
    assert (first.attempts, first.target, first.notice.text) == (1, HOOK, "text of d1")
    assert store.claim("d1", 1000 + LEASE_S - 1) is None
    assert due(store, wall=1000 + LEASE_S - 1) == []
    second = store.claim("d1", 1000 + LEASE_S)
    assert second is not None
    assert second.attempts == 2


def test_what_was_sent_stays_sent(database: Database) -> None:
    store = DeliveryStore(database)
    add(store, "d1")
    store.claim("d1", 1000)
    store.settle("d1", "sent", reason=None, sent_at=1001)
    store.settle("d1", "failed", reason="a slower sender's", sent_at=None, retry_at=1)
    assert store.delivery("d1").state == "sent"
    assert store.claim("d1", 9999) is None
    assert not store.revive("d1")
    assert store.tally() == {"sent": 1}


def test_a_failed_one_waits_and_a_dead_one_waits_for_a_person(database: Database) -> None:
    store = DeliveryStore(database)
    add(store, "d1")
    store.claim("d1", 1000)
    store.settle("d1", "failed", reason="busy", sent_at=None, retry_at=1500)
    assert (due(store, wall=1499), due(store, wall=1500)) == ([], ["d1"])
    store.claim("d1", 1500)
    store.settle("d1", "dead", reason="no", sent_at=None)
    assert due(store, wall=9999) == []
    assert (store.delivery("d1").attempts, store.delivery("d1").reason) == (2, "no")
    assert store.revive("d1")
    assert due(store, wall=9999) == ["d1"]
    with pytest.raises(NotFound):
        store.delivery("d2")


def test_a_digest_grows_until_somebody_begins_to_send_it(database: Database) -> None:
    store = DeliveryStore(database)
    add(store, "d1", alert_id=None)
    with database.write() as connection:
        known = store.pending(connection, "d1")
        assert known is not None
        store.rewrite(connection, replace(known, text="more"))
    claimed = store.claim("d1", 1000)
    assert claimed is not None
    assert claimed.notice.text == "more"
    with database.write() as connection:
        assert store.pending(connection, "d1") is None
