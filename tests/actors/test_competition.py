"""Channels beside each other: cohorts, comparison, the graph of mentions, share of voice, gaps, watch lists."""

from __future__ import annotations

import numpy as np
import pytest

from actors.analytics_fusion import cohort
from actors.analytics_fusion.actor import Analytics
from actors.analytics_fusion.cohort import Member
from actors.analytics_fusion.competition.discovery import discover
from bench._made_channel import T0, Plan, make
from core.clock import DAY, HOUR, ManualClock
from core.errors import InvalidInput, NoData, NotFound
from core.schemas.analytics import Figure, Overview
from core.store.channels import Mention
from core.store.database import Database
from core.store.ingest import Batch, ChannelRow, IngestWriter, MentionRow, PostRow, SubscriberRow
from core.store.levels import Level, LevelStore

NOW = T0 + 40 * DAY


def mention(source: str, target: str, post: int = 1, day: int = 0) -> Mention:
    return Mention(source, post, target, T0 + day * DAY)


# ---------------------------------------------------------------- cohorts


@pytest.mark.parametrize(
    ("subscribers", "band"),
    [
        (None, None),
        (0, "0 to 1,000 subscribers"),
        (999, "0 to 1,000 subscribers"),
        (1000, "1,000 to 5,000 subscribers"),
    ],
)
def test_bands_of_size(subscribers: float | None, band: str | None) -> None:
    assert cohort.band(subscribers) == band
    assert cohort.band(10**7) == "500,000 subscribers or more"


def test_the_narrowest_cohort_with_enough_channels_is_taken() -> None:
    own = Member(1, "news", {"subscribers": 30_000})
    near = [Member(i, "news", {"subscribers": 25_000 + i}) for i in range(2, 7)]
    far = [Member(i, "news", {"subscribers": 300}) for i in range(7, 20)]
    other = [Member(i, "fun", {"subscribers": 50_000}) for i in range(20, 30)]
    assert cohort.choose(own, [*near, *far, *other])[0] == "20,000 to 100,000 subscribers, category news"
    name, members = cohort.choose(own, [*near[:3], *far, *other])
    assert (name, len(members)) == ("20,000 to 100,000 subscribers", 13)
    assert cohort.choose(own, [*near[:3], *far])[0] == "category news, any size"
    assert cohort.choose(Member(1, None, {}), other)[0] == "all stored channels"
    assert cohort.choose(own, near[:2]) == ("all stored channels", tuple(near[:2]))


def test_a_percentile_counts_ties_half_and_says_when_there_are_too_few() -> None:
    figures = (Figure("vtr", "fraction", 0.3, 9), Figure("err", "fraction", None, 0, missing="no reactions"))
    overview = Overview("a", 0, 1, (*figures, Figure("virality", "fraction", 0.1, 9)))
    others = [Member(i, None, {"vtr": v}) for i, v in enumerate((0.1, 0.2, 0.3, 0.3, 0.5))]
    found = {f.metric: f for f in cohort.percentiles(overview, Member(9, None, {}), others).figures}
    assert (found["vtr"].percentile, found["vtr"].n, found["vtr"].median) == (0.6, 5, 0.3)
    assert (found["err"].percentile, found["err"].missing) == (None, "no reactions")
    assert found["virality"].missing == "needs 5 other channels with this figure, has 0"


def test_levels_are_kept_by_channel_and_never_replaced_by_older_ones(database: Database) -> None:
    batch = Batch()
    own = batch.channel(ChannelRow("a", "UTC", "bundle"))
    batch.posts = [PostRow(own, 1, T0)]
    IngestWriter(database).write(batch, T0)
    store = LevelStore(database)
    store.save(30, [Level(own, 100, 5, {"vtr": 0.5})])
    store.save(30, [Level(own, 100, 4, {"vtr": 0.1}), Level(77, 100, 1, {"vtr": 0.2})])
    assert store.all(30) == {own: Level(own, 100, 5, {"vtr": 0.5})}  # 77 is no channel of this tenant
    store.save(30, [Level(own, 200, 5, {"vtr": 0.6})])
    assert store.all(30)[own].figures == {"vtr": 0.6}
    assert store.all(7) == {}
    assert LevelStore(database, "somebody").all(30) == {}


# ---------------------------------------------------------------- discovery


def test_a_walk_finds_who_is_near() -> None:
    mentions = [
        *(mention("close", "own", i, i) for i in range(5)),
        mention("own", "outside", 9, 3),
        mention("hub", "own"),
        mention("hub", "sibling"),
        mention("sibling", "own", 2, 20),
        mention("far", "sibling"),
        mention("elsewhere", "nowhere"),
    ]
    found = discover("own", mentions, {"close", "hub", "sibling", "far", "own"}, 10)
    by_name = {c.channel: c for c in found.candidates}
    assert set(by_name) == {"close", "outside", "hub", "sibling", "far"}
    assert found.candidates[0].channel in ("close", "sibling")
    assert found.candidates[-1].channel == "far"
    assert by_name["close"].names_it == 5
    assert by_name["close"].last == T0 + 4 * DAY
    assert (by_name["outside"].stored, by_name["outside"].named_by_it) == (False, 1)
    assert (by_name["sibling"].shared, by_name["sibling"].last) == (1, T0 + 20 * DAY)
    assert sum(c.score for c in found.candidates) == pytest.approx(1)
    assert len(discover("own", mentions, set(), 2).candidates) == 2


def test_a_channel_without_mentions_has_no_neighbours_and_says_so() -> None:
    found = discover("own", [mention("a", "b")], {"own"}, 10)
    assert found.candidates == ()
    assert found.notes[0] == "no mention by 'own' or of it is stored"


# ---------------------------------------------------------------- the service


@pytest.fixture
def town(database: Database) -> Analytics:
    """`made` (4 posts a day) beside `rival` (8 a day, half the views each) and `mute` (no views at all)."""
    writer = IngestWriter(database)
    writer.write(make(40, 3).batch(), NOW)
    rival = make(40, 4, Plan(posts=lambda day: 8, appeal=lambda day: 0.5), name="rival")
    batch = rival.batch()
    own, made = batch.posts[0].channel_id, batch.channel(ChannelRow("made", "UTC", "bundle"))
    tagged = {post.post_id for post in batch.posts[::4]}
    batch.posts = [
        post._replace(text="#Quiz of the day" if post.post_id in tagged else "words") for post in batch.posts
    ]
    batch.mentions = [MentionRow(own, i + 1, "made", NOW - 5 * DAY + i) for i in range(3)]
    mute = batch.channel(ChannelRow("mute", "Asia/Tokyo", "bundle"))
    batch.posts += [PostRow(mute, i, T0 + i * DAY, text="#quiz!", media="photo") for i in range(40)]
    batch.subscribers += [SubscriberRow(mute, T0 + i * DAY, 500 + i) for i in range(40)]
    batch.mentions.append(MentionRow(mute, 1, "rival", NOW - 5 * DAY))
    # Only the last posts of `made` have texts, none of them with a hashtag.
    for number, at, medium in make(40, 3).posts[-40:]:
        batch.posts.append(PostRow(made, number, at, text="plain", media=medium))
    writer.write(batch, NOW)
    return Analytics(database, ManualClock(NOW + HOUR))


def test_channels_stand_side_by_side(town: Analytics) -> None:
    found = town.compare(["made", "rival", "mute", "made"], 14)
    assert found.channels == ("made", "rival", "mute")
    metrics = {row.metric: row.figures for row in found.metrics}
    assert metrics["posting_rate"][1].value == 8
    ratio = metrics["views_24h"][1].value / metrics["views_24h"][0].value  # type: ignore[operator]
    assert ratio == pytest.approx(0.5, abs=0.12)
    assert metrics["views_24h"][2].missing == "views unavailable from this source"
    assert "mute: views unavailable from this source" in found.notes
    assert "each channel's days are those of its own time zone" in found.notes
    assert all(row.better in ("higher", "lower", "neutral") for row in found.metrics)
    for wanted in (["made"], [f"c{i}" for i in range(21)]):
        with pytest.raises(InvalidInput):
            town.compare(wanted)
    with pytest.raises(NotFound):
        town.compare(["made", "nobody"])


def test_share_of_voice_and_gaps(town: Analytics) -> None:
    found = town.competition("made", ["rival", "nobody"], days=14)
    assert found.others == ("rival",)
    own, rival = found.voice
    assert (own.posts, rival.posts) == (56, 112)
    assert own.posts_share == pytest.approx(1 / 3)
    assert own.views_share == pytest.approx(0.5, abs=0.06)
    assert (own.mentions, own.mentions_share, rival.mentions_share) == (3, 0.75, 0.25)
    assert found.cadence[1].posts_a_day == 8
    assert sum(found.cadence[0].hours) == sum(found.cadence[0].weekdays) == 56
    assert found.cadence[0].hours[3] == 0
    assert "not stored, so left aside: nobody" in found.notes
    assert found.gaps == ()  # one other channel is not enough to call something a gap
    both = town.competition("made", ["rival", "mute"], days=14)
    assert any(note.startswith("no share of views: mute: views unavailable") for note in both.notes)
    assert {voice.views_share for voice in both.voice} == {None}
    gap = next(gap for gap in both.gaps if gap.kind == "hashtag")
    assert (gap.value, gap.own_share, gap.others) == ("#quiz", 0, 2)
    assert gap.others_share == pytest.approx((0.25 + 1) / 2, abs=0.01)
    assert gap.overperformance == pytest.approx(1.0, abs=0.3)


def test_competitors_come_from_the_list_or_the_graph(town: Analytics) -> None:
    assert town.competition("made", days=14).others == ("rival", "mute")
    assert [c.channel for c in town.discover("made").candidates] == ["rival", "mute"]
    made = town.put_watch_list("mine", [" rival ", "rival", "@somebody"])
    assert made.channels == ("rival", "@somebody")
    assert town.competition("made", watch_list="mine", days=14).others == ("rival",)
    with pytest.raises(NotFound, match="no watch list 'yours'"):
        town.competition("made", watch_list="yours")
    with pytest.raises(NoData, match="none of them is stored: @somebody"):
        town.competition("made", ["@somebody"])


def test_watch_lists_last(town: Analytics) -> None:
    first = town.put_watch_list("b", ["x"])
    town.clock.time += DAY  # type: ignore[attr-defined]
    assert town.put_watch_list("b", ["x"]) == first  # the same again changes nothing
    changed = town.put_watch_list("b", ["x", "y"])
    assert (changed.created_at, changed.updated_at) == (first.created_at, first.created_at + DAY)
    town.put_watch_list("a", ["z"])
    again = Analytics(Database(town.database.url), town.clock)
    assert [each.name for each in again.watch_lists()] == ["a", "b"]
    assert Analytics(town.database, town.clock, "somebody").watch_lists() == ()
    again.remove_watch_list("b")
    again.remove_watch_list("b")
    with pytest.raises(NotFound):
        town.watch_list("b")
    again.database.dispose()


@pytest.mark.parametrize(
    ("name", "channels", "field"),
    [
        ("", ["a"], "name"),
        ("n" * 101, ["a"], "name"),
        ("a/b", ["a"], "name"),
        (" a", ["a"], "name"),
        ("n", [], "channels"),
        ("n", ["a", " "], "channels"),
        ("n", [str(i) for i in range(101)], "channels"),
    ],
)
def test_what_is_no_list_is_refused(town: Analytics, name: str, channels: list[str], field: str) -> None:
    with pytest.raises(InvalidInput) as error:
        town.put_watch_list(name, channels)
    assert error.value.details["field"] == field


def test_percentiles_use_stored_levels_and_follow_new_data(sqlite_database: Database) -> None:
    writer = IngestWriter(sqlite_database)
    for i in range(7):
        plan = Plan(posts=lambda day, n=i + 1: n)  # type: ignore[misc]
        writer.write(make(40, i, plan, name=f"c{i}").batch(), NOW)
    analytics = Analytics(sqlite_database, ManualClock(NOW + HOUR))
    found = analytics.percentiles("c3")
    rates = {f.metric: f for f in found.figures}
    assert (found.size, found.cohort) == (6, "20,000 to 100,000 subscribers")
    assert (rates["posting_rate"].percentile, rates["posting_rate"].n) == (0.5, 6)
    assert "subscribers" not in rates
    assert len(LevelStore(sqlite_database).all(30)) == 7
    batch = make(40, 0, Plan(posts=lambda day: 9), name="c0").batch()
    batch.posts = [post._replace(post_id=post.post_id + 10_000) for post in batch.posts]
    batch.views = [(row[0], row[1] + 10_000, *row[2:]) for row in batch.views]
    writer.write(batch, NOW)
    again = {f.metric: f for f in Analytics(sqlite_database, ManualClock(NOW + HOUR)).percentiles("c3").figures}
    assert again["posting_rate"].percentile == pytest.approx(2 / 6)


def test_figures_of_many_peers_are_renewed_a_part_at_a_time(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.analytics_fusion.peers.RENEWED", 3)
    writer = IngestWriter(sqlite_database)
    for i in range(7):
        writer.write(make(10, i, Plan(posts=lambda day: 1), name=f"c{i}").batch(), NOW)
    clock = ManualClock(T0 + 10 * DAY + HOUR)
    first = Analytics(sqlite_database, clock).percentiles("c3", days=5)
    assert (first.size, first.notes) == (2, ("4 channels are not in it yet: asking again adds more",))
    Analytics(sqlite_database, clock).percentiles("c3", days=5)
    third = Analytics(sqlite_database, clock).percentiles("c3", days=5)
    assert (third.size, third.notes) == (6, ())


def test_the_service_answers_closer_questions(town: Analytics) -> None:
    assert town.mix("made", 30).rows
    assert town.quality("made", 40).signs
    assert town.trend("made", "daily_reach", 35).metric == "views_gained"
    assert town.before_after("made", "posts", NOW - 15 * DAY, 10).before.value == 4
    assert town.curve("made", 5).readings
    assert town.ads("made", 30).posts == ()
    assert town.mix("made", 30) is town.mix("made", 30)
    with pytest.raises(NoData):
        town.ads("mute")
    with pytest.raises(InvalidInput):
        town.mix("made", 0)
    assert np.isfinite(town.quality("made", 40).looked_at)
    assert town.data_status("made").view_half_life_h == pytest.approx(18, abs=8)
