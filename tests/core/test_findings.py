"""Findings: found twice is stored once, what is known later replaces what was known, tenants see their own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from core.schemas.analytics import AnomalyFinding, Cause
from core.store import schema
from core.store.database import Database
from core.store.findings import AnomalyStore, finding_id
from core.store.ids import channel_id

DAY = 86400


def finding(onset: int, channel: str = "a", **changes: object) -> AnomalyFinding:
    base = AnomalyFinding(
        id=finding_id(channel_id("default", channel), "net_growth", onset),
        channel=channel,
        metric="net_growth",
        kind="spike",
        direction="down",
        severity="high",
        onset=onset,
        ended=onset + DAY,
        observed=-2255.0,
        expected=-160.0,
        score=0.999,
        causes=(Cause("unexplained", -2095.0, "no mention and no ad"),),
        advice=("look at who left",),
        notes=("1 day",),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture
def store(database: Database) -> AnomalyStore:
    with database.write() as connection:
        for tenant, name in (("default", "a"), ("default", "b"), ("other", "a")):
            connection.execute(
                schema.channel.insert().values(
                    id=channel_id(tenant, name),
                    tenant=tenant,
                    name=name,
                    timezone="UTC",
                    source="bundle",
                    created_at=0,
                    data_version=1,
                )
            )
    return AnomalyStore(database)


def save(store: AnomalyStore, *findings: AnomalyFinding, now: int = 100) -> int:
    with store.database.write() as connection:
        return sum(store.save(connection, channel_id(store.tenant, f.channel), [f], now) for f in findings)


def test_a_finding_comes_back_as_it_was_stored(store: AnomalyStore) -> None:
    assert save(store, finding(10 * DAY)) == 1
    assert store.findings() == (finding(10 * DAY),)


def test_found_twice_is_stored_once_with_what_is_known_now(store: AnomalyStore) -> None:
    save(store, finding(10 * DAY, ended=None), now=100)
    assert save(store, finding(10 * DAY, severity="critical", ended=12 * DAY), now=200) == 0
    (stored,) = store.findings()
    assert (stored.severity, stored.ended) == ("critical", 12 * DAY)
    with store.database.read() as connection:
        assert connection.execute(select(schema.anomaly.c.found_at)).scalar_one() == 100


def test_findings_come_newest_first_and_by_channel(store: AnomalyStore) -> None:
    save(store, finding(10 * DAY), finding(30 * DAY, "b"), finding(20 * DAY))
    assert [f.onset // DAY for f in store.findings()] == [30, 20, 10]
    assert [f.onset // DAY for f in store.findings("a")] == [20, 10]
    assert store.findings("nobody") == ()


def test_since_keeps_what_had_not_ended(store: AnomalyStore) -> None:
    save(store, finding(10 * DAY), finding(11 * DAY, ended=None), finding(12 * DAY, ended=25 * DAY), finding(30 * DAY))
    assert [f.onset // DAY for f in store.findings(since=20 * DAY)] == [30, 12, 11]


def test_tenants_do_not_see_each_others_findings(store: AnomalyStore) -> None:
    save(store, finding(10 * DAY))
    assert AnomalyStore(store.database, "other").findings() == ()
