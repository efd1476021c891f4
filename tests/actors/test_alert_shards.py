"""Shards of the alerts service: together the alerts of one, also when their number changes between two starts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from actors.alerts_fusion.actor import Alerts
from actors.analytics_fusion.actor import Analytics
from bench._made_channel import T0, Plan, make
from cluster.shards import sharded
from core.clock import DAY
from core.protocols import AlertsService
from core.schemas.alerts import QuietHours, RuleSpec
from core.store import schema
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.events import Outbox
from core.store.shards import Shard, take_over
from tests.actors.alert_world import AlertWorld
from tests.databases import empty_sqlite

NAMES = ("a", "b", "c", "d")
LEAVE = RuleSpec("subscribers leave", "threshold", "growth_rate", threshold=-0.01, clear=0.0, cool_down_s=0)
STALE = RuleSpec("stale", "threshold", "data_age", direction="above", threshold=3.0, cool_down_s=0)
POSTS = RuleSpec("posts", "competitor_post", channels=("a", "c"))


def purge(at: int) -> Plan:
    return Plan(posts=lambda day: 1, growth=lambda day: -900.0 if day in (at, at + 1, at + 4) else 10.0)


class Many(AlertWorld):
    """Four channels; as many shards as `n` says."""

    n = 1

    def part(self, shard: int) -> Alerts:
        return Alerts(
            self.database, self.clock, self.anomaly, Analytics(self.database, self.clock), self.settings,
            senders=self.out, wall=self.wall, seed=7, autostart=False, shard=shard, shards=self.n,
        )  # fmt: skip

    def parts(self) -> AlertsService:
        return sharded(AlertsService, [self.part(i) for i in range(self.n)])


def live(database: Database, plan: dict[int, int]) -> Many:
    """Six days of four channels; from some days on the service has so many shards."""
    channels = [make(8, i, purge(3 + i), name=name) for i, name in enumerate(NAMES)]
    world = Many(database, channels[0])
    others = [AlertWorld(database, made, clock=world.clock, wall=world.wall) for made in channels[1:]]
    for until in range(T0 + 2 * DAY, T0 + 8 * DAY + 1, DAY):
        world.feed(until)
        for other in others:
            other.feed(until)
        world.n = plan.get((until - T0) // DAY, world.n)
        if until == T0 + 2 * DAY:
            for spec in (LEAVE, replace(STALE, quiet=QuietHours("20:00", "11:00", "UTC", then="digest")), POSTS):
                world.parts().add_rule(spec, spec.name)
        world.parts().catch_up()
        world.parts().deliver()
    return world


def raised(world: Many) -> Counter[tuple[object, ...]]:
    service = world.service()
    return Counter(
        (a.channel, a.rule, a.onset, a.raised_at, a.resolved_at, a.post_id, a.state) for a in service.alerts(limit=1000)
    )


def told(world: Many) -> Counter[str]:
    """Every line that was told, whichever message carried it."""
    lines = [line for _, message in world.out.sent for line in message.text.splitlines() if line.startswith("[")]
    return Counter(lines)


@pytest.fixture
def alone(tmp_path: Path) -> Many:
    database = empty_sqlite(tmp_path / "alone.db")
    return live(database, {2: 1})


def test_another_number_of_shards_half_way_loses_and_doubles_nothing(sqlite_database: Database, alone: Many) -> None:
    world = live(sqlite_database, {2: 1, 4: 3, 6: 2})
    spread = {c.id % 3 for c in ChannelStore(sqlite_database).channels()}
    assert len(spread) > 1  # more than one of three has something to do
    assert raised(world) == raised(alone)
    assert len(raised(alone)) > 12
    assert {rule for _, rule, *_ in raised(alone)} == {"subscribers leave", "stale", "posts"}
    assert told(world) == told(alone)
    assert max(Counter(message.id for _, message in world.out.sent).values()) == 1
    with sqlite_database.read() as connection:
        states = connection.execute(select(schema.delivery.c.state)).scalars().all()
    assert Counter(states) == {"sent": len(world.out.sent)}
    offsets = Outbox(sqlite_database).offsets("alerts_fusion")
    assert sorted(offsets) == sorted({Shard(i, n).consumer("alerts_fusion") for n in (1, 2, 3) for i in range(n)})
    assert offsets["alerts_fusion:0/2"] == offsets["alerts_fusion:1/2"] == Outbox(sqlite_database).last()
    alone.database.dispose()


def test_a_rule_that_is_switched_off_while_another_shard_judges_raises_nothing(sqlite_database: Database) -> None:
    world = Many(sqlite_database, make(6, 5, purge(3)))
    world.n = 2
    world.feed(T0 + 3 * DAY)
    rule = world.parts().add_rule(replace(LEAVE, channel="made"), "k")
    world.parts().catch_up()
    world.feed(T0 + 5 * DAY)
    shards = [world.part(i) for i in range(2)]
    judging = shards[ChannelStore(sqlite_database).channel("made").id % 2]
    real, steps = judging.judge._commit, list[str]()

    def late(*arguments: Any) -> object:
        steps.extend(happened.step for one in arguments[1] for happened in one.happened)
        if judging.rule(rule.id).enabled:
            world.part(0).switch_rule(rule.id, False)
        return real(*arguments)

    judging.judge._commit = late  # type: ignore[method-assign, assignment]
    assert judging.catch_up().raised == 0
    assert steps == ["raise"]  # it had found something, and not again without the rule
    assert judging.alerts() == ()


def test_one_goes_on_where_every_channel_was_done(sqlite_database: Database) -> None:
    outbox = Outbox(sqlite_database)

    def put(**offsets: int) -> None:
        with sqlite_database.write() as connection:
            for name, seq in offsets.items():
                outbox.advance(connection, name, seq)

    put(alerts_fusion=4)
    put(**{"alerts_fusion:0/3": 9, "alerts_fusion:1/3": 8, "alerts_fusionist": 99, "alerts_fusion@other": 99})
    take_over(outbox, "alerts_fusion", Shard(1, 2))
    assert outbox.offset("alerts_fusion:1/2") == 4  # the third of three never began
    put(**{"alerts_fusion:2/3": 7})
    take_over(outbox, "alerts_fusion", Shard(0, 2))
    take_over(outbox, "alerts_fusion", Shard())
    take_over(outbox, "alerts_fusion", Shard(0, 3))
    assert [outbox.offset(n) for n in ("alerts_fusion:0/2", "alerts_fusion", "alerts_fusion:0/3")] == [7, 7, 9]
    with pytest.raises(ValueError, match="counted from 0"):
        Shard(2, 2)
