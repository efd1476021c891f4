"""Rules on posts: a competitor publishes, a word is written, a post is read a lot; once a post, not for history."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection

from actors.alerts_fusion import judge as module
from actors.alerts_fusion.posts import link_of
from actors.alerts_fusion.validation import checked
from bench._made_channel import T0, Plan, make
from core.clock import DAY, HOUR
from core.errors import InsufficientData, InvalidInput, NoData, NotFound
from core.schemas.alerts import Escalation, QuietHours, RuleSpec
from core.schemas.channels import Channel
from core.store.database import Database
from core.store.ingest import Batch, ChannelRow, IngestWriter, PostRow
from core.store.watch_lists import WatchListStore
from tests.actors.alert_world import AlertWorld

NOW = T0 + 100 * DAY
RIVALS = RuleSpec("a rival publishes", "competitor_post", channels=("@rival",))
SALE = RuleSpec("a sale", "keyword", channels=("@rival", "@other"), words=("sale*", "black friday"), exclude=("ad",))


@pytest.fixture
def world(sqlite_database: Database) -> AlertWorld:
    """Two channels with a post each, long ago."""
    made = AlertWorld(sqlite_database, make(1, 5))
    made.clock.time = NOW
    arrive(made, [(1, NOW - 50 * DAY, "an old sale")])
    arrive(made, [(1, NOW - 50 * DAY, "old")], "@other")
    made.service().catch_up()
    return made


def arrive(world: AlertWorld, posts: list[tuple[int, int, str | None]], channel: str = "@rival", **more: Any) -> None:
    """Posts (id, published at, text) come in now."""
    batch = Batch()
    own = batch.channel(ChannelRow(channel, "UTC", "telethon"))
    batch.posts = [
        PostRow(own, i, at, text, text_len=None if text is None else len(text), **more) for i, at, text in posts
    ]
    IngestWriter(world.database).write(batch, world.clock.now())


def pass_(world: AlertWorld, seconds: int) -> None:
    world.clock.advance(seconds)
    world.wall.advance(seconds)


def test_a_post_of_a_competitor_is_told_once_with_link_and_excerpt(database: Database) -> None:
    world = AlertWorld(database, make(1, 5))
    world.clock.time = NOW
    arrive(world, [(1, NOW - 50 * DAY, "old")])
    world.add(RIVALS)
    pass_(world, HOUR)
    arrive(world, [(2, NOW + 600, "Hello,  world. " + "More. " * 50)])
    arrive(world, [(7, NOW + 600, "elsewhere")], "@other")
    assert world.service().catch_up().raised == 1
    arrive(world, [(2, NOW + 600, "Hello, edited")])
    assert world.service().catch_up().raised == 0
    (alert,) = world.service().alerts()
    assert (alert.channel, alert.post_id, alert.link, alert.state) == ("@rival", 2, "https://t.me/rival/2", "firing")
    assert alert.reason.startswith("@rival published at 2025-04-11 00:10: “Hello, world. More. ")
    assert len(alert.reason) < 250
    assert world.told() == ["log: [medium] a rival publishes in @rival"]
    pass_(world, DAY)
    assert world.service().catch_up().resolved == 0
    assert world.service().alert(alert.id).state == "resolved"  # after a day, and nobody is told
    assert len(world.told()) == 1


def test_words_are_found_in_the_texts_of_the_named_channels(world: AlertWorld) -> None:
    world.add(SALE)
    pass_(world, HOUR)
    arrive(world, [(2, NOW, "wholesale"), (3, NOW, "x " * 200 + "the BLACK Friday Sales"), (4, NOW, "a sale, an ad")])
    arrive(world, [(2, NOW, "Sale"), (3, NOW, None)], "@other")
    assert world.service().catch_up().raised == 2
    found = {(a.channel, a.post_id): a.reason for a in world.service().alerts()}
    assert found.keys() == {("@rival", 3), ("@other", 2)}
    assert found["@rival", 3].startswith("@rival wrote sale*, black friday at 2025-04-11: “…")
    assert "the BLACK Friday Sales” https://t.me/rival/3" in found["@rival", 3]


def test_a_history_that_is_imported_is_told_by_nobody(world: AlertWorld) -> None:
    WatchListStore(world.database).put("rivals", ["@rival", "@late"], NOW)
    world.add(replace(RIVALS, channels=(), watch_list="rivals"))
    pass_(world, HOUR)
    arrive(world, [(i, NOW + HOUR - i * HOUR, f"post {i}") for i in range(1, 2000)], "@late")
    assert world.service().catch_up().raised == 47  # of the last 48 hours
    assert world.told() == ["log: 47 notices by 2025-04-11 01:00"]


def test_a_watch_list_counts_as_it_is_when_a_post_arrives(world: AlertWorld) -> None:
    lists = WatchListStore(world.database)
    lists.put("rivals", ["@rival"], NOW)
    world.add(replace(RIVALS, channels=(), watch_list="rivals"))
    pass_(world, HOUR)
    lists.put("rivals", ["@other"], NOW)
    arrive(world, [(2, NOW, "x")])
    arrive(world, [(2, NOW, "x")], "@other")
    assert [r.spec.name for r in world.service().rules("@other")] == ["a rival publishes"]
    assert world.service().rules("@rival") == ()
    service = world.service()
    assert service.catch_up().raised == 1
    assert service.alerts()[0].channel == "@other"
    lists.remove("rivals")
    arrive(world, [(3, NOW, "x")], "@other")
    assert service.catch_up().raised == 0
    assert (service.health().status, "rivals" in service.health().did) == ("degraded", True)


def test_many_at_once_are_one_digest_and_few_are_told_one_by_one(world: AlertWorld) -> None:
    world.add(RIVALS)
    pass_(world, HOUR)
    arrive(world, [(i, NOW, f"post {i}") for i in (2, 3, 4)])
    world.service().catch_up()
    assert len(world.told()) == 3
    arrive(world, [(i, NOW, f"post {i}") for i in range(5, 70)])
    assert world.service().catch_up().raised == 65
    assert world.told()[3:] == ["log: 65 notices by 2025-04-11 01:00"]
    (_, message) = world.out.sent[-1]
    assert "post 5”" in message.text
    assert message.text.endswith("and 15 more")
    assert len(json.loads(message.document)["notices"]) == 50


def test_an_album_is_one_post(world: AlertWorld) -> None:
    world.add(RIVALS)
    pass_(world, HOUR)
    arrive(world, [(i, NOW, None) for i in range(2, 9)], album_id=44)
    arrive(world, [(9, NOW, "its caption")], album_id=44)
    assert world.service().catch_up().raised == 1
    arrive(world, [(10, NOW, "late")], album_id=44)
    assert world.service().catch_up().raised == 0


def test_killed_before_the_commit_no_post_is_lost_or_told_twice(
    world: AlertWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(RIVALS)
    pass_(world, HOUR)
    arrive(world, [(2, NOW, "x"), (3, NOW, "y")])
    real = module.Outbox.advance

    def killed(self: Any, connection: Connection, consumer: str, seq: int) -> None:
        real(self, connection, consumer, seq)
        raise KeyboardInterrupt

    monkeypatch.setattr(module.Outbox, "advance", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            world.service().catch_up()
    monkeypatch.undo()
    assert world.service().alerts() == ()
    assert world.service().catch_up().raised == 2
    with world.database.write() as connection:  # the events once more, as after a restore of the offset
        connection.exec_driver_sql("UPDATE consumer_offset SET seq = 0")
    assert world.service().catch_up().raised == 0
    assert len(world.told()) == 2


def test_a_rule_hears_of_what_arrives_after_it_and_an_absence_is_caught_up_on(world: AlertWorld) -> None:
    arrive(world, [(2, NOW, "before the rule")])
    world.add(RIVALS)
    pass_(world, HOUR)
    arrive(world, [(3, NOW + HOUR, "x")])
    pass_(world, 5 * DAY)
    arrive(world, [(4, NOW + 5 * DAY, "y")])
    assert world.service().catch_up().raised == 2
    pass_(world, DAY)
    arrive(world, [(5, NOW + 6 * DAY, "z")])
    pass_(world, 8 * DAY)
    assert world.service().catch_up().raised == 0  # longer ago than what is caught up on


def test_quiet_hours_escalation_and_a_snooze_are_kept(world: AlertWorld) -> None:
    boss = Escalation(2 * HOUR)
    world.add(replace(RIVALS, quiet=QuietHours("00:00", "06:00", "UTC"), escalation=boss))
    pass_(world, HOUR)
    arrive(world, [(2, NOW, "x")])
    world.service().catch_up()
    (alert,) = world.service().alerts()
    assert world.told() == []
    pass_(world, 5 * HOUR)
    assert world.service().catch_up().escalated == 1
    assert [line.split("]")[1] for line in world.told()] == [
        " a rival publishes in @rival",
        " not acknowledged: a rival publishes in @rival",
    ]
    world.service().snooze(alert.id, world.clock.time + 3 * DAY)
    pass_(world, 3 * DAY + 12 * HOUR)
    world.service().catch_up()
    assert world.told()[2:] == ["log: [high] still: a rival publishes in @rival"]
    assert world.service().alert(alert.id).state == "firing"
    pass_(world, DAY)
    world.service().catch_up()
    assert world.service().alert(alert.id).state == "resolved"


def test_a_rule_at_rest_ends_what_it_raised_and_tells_nobody(world: AlertWorld) -> None:
    rule = world.add(RIVALS)
    pass_(world, HOUR)
    arrive(world, [(2, NOW, "x"), (3, NOW, "y")])
    world.service().catch_up()
    assert len(world.told()) == 2
    world.service().switch_rule(rule, False)
    assert {a.state for a in world.service().alerts()} == {"resolved"}
    arrive(world, [(4, NOW, "z")])
    assert world.service().catch_up().raised == 0
    assert len(world.told()) == 2


# ---------------------------------------------------------------- read more than usual


def hit(day: int) -> float:
    return 3.0 if day == 34 else 1.0


def test_a_post_that_overperforms_is_told_when_its_readings_show_it(sqlite_database: Database) -> None:
    alike = Plan(lambda day: 2, lambda day: (1.0, 0.0, 0.0), lambda day: (0.0, 1.0, 0.0), appeal=hit)
    world = AlertWorld(sqlite_database, make(36, 5, alike, noise=0.05))
    world.feed(T0 + 33 * DAY)
    rule = replace(RIVALS, channels=("made",), overperforms=2.5)
    world.add(rule)
    found = world.days(33, 36, step_h=4)
    past = world.service().backtest(rule, 3)
    hits = {p for p, at, _ in world.made.posts if (at - T0) // DAY == 34}
    assert {a.post_id for a in found} == hits != set()
    assert all((a.value or 0) >= 2.5 and a.n >= 5 for a in found)
    assert all(a.raised_at <= a.onset + 24 * HOUR for a in found)
    assert "times the usual" in found[0].reason
    assert sorted(p.at for p in past.channels[0].alerts) == sorted(a.until for a in found)
    assert past.channels[0].judged == 6


# ---------------------------------------------------------------- backtest and refusals


def test_a_backtest_says_how_often_words_would_have_been_found(world: AlertWorld) -> None:
    arrive(world, [(100 + i, NOW - i * DAY, "a sale" if i % 3 == 0 else "x") for i in range(45)])
    arrive(world, [(100 + i, NOW - i * HOUR, "Sale") for i in range(150)], "@other")
    past = world.service().backtest(SALE, 30)
    rival, other = past.channels
    assert (rival.channel, len(rival.alerts), rival.judged, rival.per_30_days) == ("@rival", 10, 30, 10.0)
    assert (len(other.alerts), other.unlisted) == (100, 50)
    assert past.alerts == 160
    assert rival.alerts[0].reason.startswith("@rival wrote sale* at")
    assert world.service().alerts() == ()  # nothing is raised by trying


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"words": ()}, "words"),
        ({"words": tuple(f"w{i}" for i in range(101))}, "words"),
        ({"words": ("sa.*e",)}, "words"),
        ({"exclude": ("[x]",)}, "exclude"),
        ({"channels": ()}, "channels"),
        ({"watch_list": "rivals"}, "channels"),
        ({"channels": ("@rival", "@rival")}, "channels"),
        ({"channel": "@rival"}, "channel"),
        ({"metric": "views_gained"}, "metric"),
        ({"threshold": 3.0}, "threshold"),
        ({"window_days": 7}, "window_days"),
        ({"overperforms": 2.0}, "overperforms"),
        ({"escalation": Escalation(DAY)}, "escalation.after_s"),
        ({"kind": "competitor_post"}, "words"),
        ({"kind": "competitor_post", "words": (), "exclude": (), "overperforms": 0.5}, "overperforms"),
        ({"kind": "threshold", "metric": "subscribers", "threshold": 5.0}, "channels"),
    ],
)
def test_rules_on_posts_that_cannot_work_are_refused_by_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as wrong:
        checked(replace(SALE, **changes), lambda _: None)
    assert wrong.value.details["field"] == field


def test_what_is_not_there_is_named(world: AlertWorld) -> None:
    with pytest.raises(NotFound, match="no watch list 'nobody'"):
        world.add(replace(SALE, channels=(), watch_list="nobody"))
    with pytest.raises(NotFound, match="@nowhere"):
        world.add(replace(SALE, channels=("@nowhere",)))
    WatchListStore(world.database).put("far", ["@nowhere"], NOW)
    with pytest.raises(NoData, match="'far' is stored"):
        world.add(replace(SALE, channels=(), watch_list="far"))
    arrive(world, [(1, NOW, None)], "@mute")
    with pytest.raises(NoData, match="texts of posts unavailable"):
        world.add(replace(SALE, channels=("@mute",)))
    with pytest.raises(NoData, match="views unavailable"):
        world.add(replace(RIVALS, overperforms=2.0))
    assert world.service().rules() == ()


def test_too_few_posts_for_a_usual_say_how_many_there_are(sqlite_database: Database) -> None:
    world = AlertWorld(sqlite_database, make(2, 5, Plan(posts=lambda day: 2)))
    world.feed(T0 + 2 * DAY)
    with pytest.raises(InsufficientData) as gap:
        world.add(replace(RIVALS, channels=("made",), overperforms=2.0))
    assert (gap.value.needed, gap.value.have) == (6, 4)


@pytest.mark.parametrize(
    ("name", "source", "link"),
    [
        ("@town_news", "bundle", "https://t.me/town_news/5"),
        ("c1234", "telethon", "https://t.me/c/1234/5"),
        ("c1234", "bundle", None),
        ("My channel", "telegram-desktop", None),
        ("@a/b", "telethon", None),
    ],
)
def test_a_link_is_given_where_the_name_says_it(name: str, source: str, link: str | None) -> None:
    assert link_of(Channel(1, "default", name, "UTC", source, 1), 5) == link
