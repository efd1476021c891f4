"""The anomaly service on stored data: the same findings however the data arrived and whenever it was killed."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Connection, delete

from actors.anomaly_analysis import actor as module
from actors.anomaly_analysis import daily, telling
from actors.anomaly_analysis.actor import SERVICE, AnomalyAnalysis
from actors.anomaly_analysis.detection import DetectorState
from actors.anomaly_analysis.scales import GROWTH, PACE, POSTING, VIEWS
from bench._made_channel import T0, Made, Plan, make
from core.clock import DAY, HOUR, ManualClock
from core.codec import from_json, from_plain, to_plain
from core.errors import NotFound
from core.history import ChannelHistory
from core.ingest.importer import import_path
from core.ingest.replay import Replay
from core.schemas.analytics import AnomalyFinding, Circumstances
from core.schemas.channels import Channel
from core.store import schema
from core.store.database import Database, StoredClock
from core.store.ingest import Batch, ChannelRow, IngestWriter, SubscriberRow
from tests.databases import empty_sqlite

FALL = Plan(reach=lambda day: 0.4 if day >= 50 else 1.0)
PURGE = Plan(growth=lambda day: -900.0 if day in (50, 51) else 10.0)


def service(database: Database, now: int, **options: int) -> AnomalyAnalysis:
    return AnomalyAnalysis(database, ManualClock(now), **options)


def feed(database: Database, made: Made, since: int, until: int) -> None:
    IngestWriter(database).write(made.batch(since, until), until)


def at_once(database: Database, made: Made, days: int) -> AnomalyAnalysis:
    end = T0 + days * DAY
    feed(database, made, 0, end)
    found = service(database, end)
    found.catch_up()
    return found


def of(findings: tuple[AnomalyFinding, ...], metric: str, day: int) -> AnomalyFinding:
    (finding,) = [f for f in findings if f.metric == metric and f.onset == T0 + day * DAY]
    return finding


def test_a_fall_of_views_is_found_graded_and_explained(database: Database) -> None:
    anomalies = at_once(database, make(54, 5, FALL), 54)
    finding = of(anomalies.findings("made"), VIEWS, 50)
    assert finding.direction == "down"
    assert finding.severity in ("medium", "high", "critical")
    assert finding.observed < 0.6 * finding.expected
    assert finding.causes[0].factor == "views per post"
    assert sum(c.share for c in finding.causes) == pytest.approx(finding.observed - finding.expected, abs=1e-9)
    assert finding.advice[0].startswith("compare the weakest posts")
    assert "views of posts up to 7 days old" in finding.notes[0]


def test_a_fall_of_reach_shows_in_the_pace_of_posts_that_were_out_already(sqlite_database: Database) -> None:
    finding = of(at_once(sqlite_database, make(54, 5, FALL), 54).findings("made"), PACE, 50)
    assert finding.direction == "down"
    assert finding.expected == pytest.approx(1.0, abs=0.3)  # the mean of ratios, not their sum
    assert finding.observed < 0.8 * finding.expected
    (cause,) = finding.causes
    assert (cause.factor, cause.share) == ("unexplained", pytest.approx(finding.observed - finding.expected))
    assert "gained -" in finding.notes[0]
    assert finding.advice == ()


def surged(views: int) -> tuple[Made, int, int]:
    """A channel whose newest post brings so many views from 4 to 8 o'clock of day 60; that post, and the moment."""
    made, moment = make(64, 3), T0 + 60 * DAY + 4 * HOUR
    post = [i for i, t, _ in made.posts if t <= moment - 6 * HOUR][-1]
    readings = [(i, ts, seen + np.where(ts > moment, views, 0) * (i == post)) for i, ts, seen in made.readings]
    return Made("made", made.posts, readings, made.subscribers), post, moment


def test_an_odd_hour_of_an_ordinary_day_is_found_and_given_to_its_post(sqlite_database: Database) -> None:
    made, post, moment = surged(2000)
    anomalies = at_once(sqlite_database, made, 64)
    (finding,) = [f for f in anomalies.findings("made") if f.kind == "hour" and f.onset // DAY == moment // DAY]
    assert moment <= finding.onset < moment + 4 * HOUR
    assert (finding.metric, finding.direction, finding.severity) == (VIEWS, "up", "low")
    assert finding.causes[0].factor == f"post {post}"
    assert sum(c.share for c in finding.causes) == pytest.approx(finding.observed - finding.expected, abs=1e-9)
    assert finding.ended == finding.onset + HOUR
    (stored,) = anomalies.states.all(SERVICE).values()
    assert len(from_json(module.Watch, stored).hours or "") > 1000


def test_an_hour_is_not_told_again_when_its_day_is(sqlite_database: Database) -> None:
    made, _, moment = surged(6000)
    findings = at_once(sqlite_database, made, 64).findings("made")
    assert [f.kind for f in findings if f.metric == VIEWS and f.onset // DAY == moment // DAY] == ["spike"]


def test_a_state_stored_before_hours_and_pace_were_watched_is_taken_up(sqlite_database: Database) -> None:
    older = module.Watch(states={VIEWS: DetectorState()})
    plain = to_plain(older)
    del plain["hours"]
    taken = from_plain(module.Watch, plain)
    assert (taken.hours, list(taken.states)) == (None, [VIEWS])


def test_a_purge_is_found_with_its_day_and_size_and_nothing_to_blame(sqlite_database: Database) -> None:
    finding = of(at_once(sqlite_database, make(54, 5, PURGE), 54).findings("made"), GROWTH, 50)
    assert finding.observed == pytest.approx(-1800, abs=60)
    assert (finding.kind, finding.direction, finding.severity) == ("spike", "down", "critical")
    assert finding.ended == T0 + 52 * DAY
    assert finding.causes[0].evidence.startswith("no mention or ad explains it")
    assert finding.advice == ()
    assert "subscribers lost in 2 days from 2025-02-20" in finding.notes[0]


def test_a_mention_explains_a_jump(sqlite_database: Database) -> None:
    made = make(54, 5, Plan(growth=lambda day: 700.0 if day == 50 else 10.0))
    made.mentions.append(("partner", T0 + 50 * DAY + HOUR))
    finding = of(at_once(sqlite_database, made, 54).findings("made"), GROWTH, 50)
    assert finding.causes[0].factor == "mentions by others"
    assert finding.severity != "critical"
    assert finding.advice[0].startswith("thank the mentioning channels")


def test_small_steps_find_what_one_import_finds(sqlite_database: Database, tmp_path: Path) -> None:
    made = make(54, 5, PURGE)
    whole = at_once(sqlite_database, made, 54).findings()
    other = empty_sqlite(tmp_path / "steps.db")
    for since in range(T0, T0 + 54 * DAY, 22 * HOUR):
        until = min(since + 22 * HOUR, T0 + 54 * DAY)
        feed(other, made, since, until)
        service(other, until).catch_up()  # a new object every time: nothing is kept in memory
    assert {(f.metric, f.onset, f.kind, f.direction, f.ended) for f in service(other, 0).findings()} == {
        (f.metric, f.onset, f.kind, f.direction, f.ended) for f in whole
    }
    other.dispose()


def test_killed_before_the_commit_it_does_the_same_again(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, end = make(54, 5, FALL), T0 + 54 * DAY
    feed(sqlite_database, made, 0, end)
    anomalies = service(sqlite_database, end)
    real = anomalies.outbox.advance

    def killed(self: object, connection: Connection, consumer: str, seq: int) -> None:
        real(connection, consumer, seq)
        raise KeyboardInterrupt

    monkeypatch.setattr(module.Outbox, "advance", killed)
    with pytest.raises(KeyboardInterrupt):
        anomalies.catch_up()
    monkeypatch.undo()
    assert anomalies.findings() == ()
    assert anomalies.outbox.offset(SERVICE) == 0
    again = service(sqlite_database, end)
    assert again.catch_up() == len(again.findings()) > 0


def test_done_twice_is_done_once(sqlite_database: Database) -> None:
    anomalies = at_once(sqlite_database, make(54, 5, FALL), 54)
    before = anomalies.findings()
    assert anomalies.catch_up() == 0
    with sqlite_database.write() as connection:
        connection.execute(delete(schema.consumer_offset))
        connection.execute(delete(schema.series_state))
    assert anomalies.catch_up() == 0  # the same findings again, stored already
    assert anomalies.findings() == before


def test_a_day_that_is_not_over_is_not_read(sqlite_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    made, first, until = make(40, 5), T0 + 39 * DAY + 5 * HOUR, T0 + 39 * DAY + 9 * HOUR
    feed(sqlite_database, made, 0, first)
    service(sqlite_database, first).catch_up()
    feed(sqlite_database, made, first, until)
    anomalies = service(sqlite_database, until)

    def unexpected(*_: object, **__: object) -> None:
        raise AssertionError("nothing is complete: the history need not be read")

    monkeypatch.setattr(module.ChannelStore, "history", unexpected)
    behind = anomalies.health().details["behind"]
    assert behind > 0
    assert anomalies.catch_up() == 0
    assert anomalies.health().details["behind"] == 0


def test_a_day_reads_the_weeks_it_needs_and_of_a_silent_channel_its_last_posts(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    long, end = make(100, 5, Plan(posts=lambda day: 3)), T0 + 100 * DAY
    silent = make(20, 6, name="silent")
    feed(sqlite_database, long, 0, end - DAY)
    feed(sqlite_database, silent, 0, end - DAY)
    service(sqlite_database, end - DAY).catch_up()
    read: dict[str, int] = {}
    real = module.ChannelStore.history

    def counted(self: module.ChannelStore, channel: Channel, **options: int) -> ChannelHistory:
        history = real(self, channel, **options)  # type: ignore[arg-type]
        read[channel.name] = max(read.get(channel.name, 0), history.n)
        return history

    monkeypatch.setattr(module.ChannelStore, "history", counted)
    feed(sqlite_database, long, end - DAY, end + DAY)
    batch = Batch()
    own = batch.channel(ChannelRow("silent", "UTC", "bundle"))
    batch.subscribers = [SubscriberRow(own, end - HOUR, 20_000)]
    IngestWriter(sqlite_database).write(batch, end)
    service(sqlite_database, end + 13 * HOUR).catch_up()
    assert read == {"made": 3 * (daily.DAYS_NEEDED + 2), "silent": 64}  # and the judged day, and today


def test_shards_share_the_channels_among_them(sqlite_database: Database) -> None:
    end = T0 + 54 * DAY
    for name in ("made", "b", "c", "d"):
        feed(sqlite_database, make(54, 5, FALL, name=name), 0, end)
    per_shard = []
    for shard in range(2):
        before = {f.channel for f in service(sqlite_database, end).findings()}
        service(sqlite_database, end, shard=shard, shards=2).catch_up()
        per_shard.append({f.channel for f in service(sqlite_database, end).findings()} - before)
    assert per_shard[0] | per_shard[1] == {"made", "b", "c", "d"}
    assert all(per_shard)
    with pytest.raises(ValueError, match="shard 2 of 2"):
        service(sqlite_database, end, shard=2, shards=2)


def test_findings_of_an_unknown_channel_are_not_an_empty_list(sqlite_database: Database) -> None:
    with pytest.raises(NotFound):
        service(sqlite_database, T0).findings("nobody")


def test_a_channel_without_anything_to_watch_is_passed_over(sqlite_database: Database) -> None:
    made = Made("empty", [], [], [])
    batch = made.batch()
    batch.posts.clear()
    IngestWriter(sqlite_database).write(batch, T0)
    assert service(sqlite_database, T0 + DAY).catch_up() == 0


@pytest.mark.parametrize("ages_h", [(30,), ()], ids=["one late reading a post", "no readings"])
def test_a_source_without_views_over_time_is_watched_for_its_posting(
    sqlite_database: Database, ages_h: tuple[int, ...]
) -> None:
    made = make(70, 5, Plan(posts=lambda day: 4 if day < 60 else 0 if day < 69 else 1))
    batch = made.batch()
    published = {i: t for i, t, _ in made.posts}
    own = batch.posts[0].channel_id
    batch.views = [(own, i, t + age * HOUR, 100, None, None, 0) for i, t in published.items() for age in ages_h]
    batch.subscribers.clear()
    IngestWriter(sqlite_database).write(batch, T0 + 70 * DAY)
    anomalies = service(sqlite_database, T0 + 70 * DAY)
    anomalies.catch_up()
    assert of(anomalies.findings(), POSTING, 60).direction == "down"
    assert {f.metric for f in anomalies.findings()} == {POSTING}


def test_it_waits_for_the_readings_after_midnight_but_not_for_ever() -> None:
    history = make(20, 5).history()
    first = date(2025, 1, 2).toordinal()
    midnight = T0 + 20 * DAY  # the last readings are those of 20:00
    assert daily.last_settled(history, first, midnight + HOUR) == first + 17
    assert daily.last_settled(history, first, midnight + 13 * HOUR) == first + 18
    assert daily.last_settled(history, first, T0) == first - 1


class Teller:
    """A narrator that keeps what it was told of, and says what it is asked to."""

    def __init__(self, says: object) -> None:
        self.says = says
        self.told: list[tuple[AnomalyFinding, Circumstances]] = []

    def narrate(self, finding: AnomalyFinding, circumstances: Circumstances) -> tuple[str, ...]:
        self.told.append((finding, circumstances))
        if isinstance(self.says, Exception):
            raise self.says
        return self.says  # type: ignore[return-value]


def test_a_narrator_is_told_all_and_has_the_word(sqlite_database: Database) -> None:
    made, end, teller = make(54, 5, PURGE), T0 + 54 * DAY, Teller(("Well!", "Look."))
    feed(sqlite_database, made, 0, end)
    anomalies = AnomalyAnalysis(sqlite_database, ManualClock(end), narrator=teller)
    anomalies.catch_up()
    findings = anomalies.findings()
    assert {f.notes for f in findings} == {("Well!", "Look.")}
    finding, told = next(one for one in teller.told if (one[0].metric, one[0].onset) == (GROWTH, T0 + 50 * DAY))
    assert replace(finding, notes=("Well!", "Look.")) == of(findings, GROWTH, 50)
    assert (told.timezone, told.days, told.course, told.quiet_points) == ("UTC", 2, "over", 200)
    assert told.subscribers == pytest.approx(20_500, rel=0.01)


@pytest.mark.parametrize(
    ("says", "line"),
    [
        (RuntimeError("no model"), "narrate failed: RuntimeError: no model"),
        ("one text", "narrate failed: TypeError: no sentences but 'one text'"),
        ((), "narrate failed: TypeError: no sentences but ()"),
    ],
)
def test_a_narrator_that_fails_is_seen_and_costs_no_finding(says: object, line: str) -> None:
    odd = telling.hourly.OddHour(T0 + 15 * DAY + 14 * HOUR, 40.0, 0.9)
    finding = telling.hour_finding(make(20, 5).history(), odd, 210.0, Teller(says))
    assert finding.notes[0] == "40 views in the hour from 2025-01-16 14:00, usual at this time of day is 210"
    assert finding.notes[-1] == line


def test_steps_that_fail_are_seen_and_hold_up_nothing(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by nothing")

    for step in ("advise", "growth_causes", "steepest", "views_causes", "pace_causes", "posting_causes"):
        monkeypatch.setattr(telling, step, broken)
    monkeypatch.setattr(telling.assessment, "impact", broken)
    monkeypatch.setattr(telling.hourly, "hour_causes", broken)
    anomalies = at_once(sqlite_database, make(54, 5, PURGE), 54)
    finding = of(anomalies.findings(), GROWTH, 50)
    assert "subscribers lost in 2 days from 2025-02-20" in finding.notes[0]
    assert [note for note in finding.notes if "failed" in note] == [
        f"{step} failed: ZeroDivisionError: by nothing" for step in ("decompose", "grade", "advise", "detail")
    ]
    assert (finding.severity, finding.advice) == ("high", ())
    (cause,) = finding.causes
    assert (cause.factor, cause.share) == ("unexplained", finding.observed - finding.expected)
    assert anomalies.health().details["behind"] == 0


def test_it_travels_in_parts(sqlite_database: Database) -> None:
    # The actor itself holds a lock; what it is constructed from must be picklable.
    assert pickle.loads(pickle.dumps((sqlite_database, ManualClock(1))))[1].now() == 1


def test_healthy_channels_raise_nothing_above_low_in_95_of_100() -> None:
    alarmed = 0
    for seed in range(40):
        made = make(90, 1000 + seed)
        alarmed += any(severity != "low" for severity in grades(made))
    assert alarmed <= 2


@pytest.mark.parametrize(("rate", "least"), [(10.0, 0.95), (3.0, 0.9)])
def test_a_30_percent_fall_of_a_steady_channel_is_found_within_two_days(rate: float, least: float) -> None:
    from bench._simulated import histories, read_less
    from bench.anomaly_channels import FALLS, LESS, SOON, STEADY, episodes

    channels = list(histories(replace(STEADY, channels=6, posts_per_day=rate)))
    first, found = datetime.fromtimestamp(STEADY.start, UTC).toordinal(), 0
    for history in channels:
        for day in FALLS:
            lower = read_less(history, STEADY.start + day * DAY, LESS)
            found += any(
                e.direction == "down" and e.onset >= first + day - 1
                for metric, e in episodes(lower, first, first + day + SOON - 1)
                if metric in (VIEWS, PACE)
            )
    assert found / len(channels) / len(FALLS) >= least


def grades(made: Made) -> Iterator[str]:
    """Severities of a whole history without the database."""
    from actors.anomaly_analysis import assessment
    from actors.anomaly_analysis.detection import DetectorState, step
    from actors.anomaly_analysis.scales import SCALES

    history = made.history()
    first = daily.first_day(history)
    assert first is not None
    for metric, values in daily.values(history, first, first + 88).items():
        state, last = DetectorState(), {}
        for day, value in enumerate(values.tolist(), start=first):
            last.update({e.onset: e for e in step(state, SCALES[metric], day, value)})
        for e in last.values():
            observed, expected = sum(p.value for p in e.away), sum(p.expected for p in e.away)
            base = 20_000.0 if metric == GROWTH else None
            weight = assessment.impact(metric, e.direction, observed, expected, e.noise, len(e.away), base)
            yield assessment.severity(e.direction, weight)


@contextmanager
def replayed(data: Path, folder: Path) -> Iterator[tuple[Replay, Database]]:
    staging, live = (empty_sqlite(folder / f"{name}.db") for name in ("staging", "live"))
    part = folder / "ch02"
    part.mkdir()
    for source in sorted((data / "channels" / "tracked").glob("*.csv")):
        head, *rows = source.read_text().splitlines()
        if source.name != "observed_jumps.csv":
            mine = [row for row in rows if "ch02" in row.split(",")[:2]]
            (part / source.name).write_text("\n".join([head, *mine]) + "\n")
    import_path(part, staging, "default", timezone="Europe/Moscow", clock=ManualClock(1_743_465_600))
    yield Replay(staging, live), live
    staging.dispose()
    live.dispose()


@pytest.mark.data
def test_the_mass_losses_of_a_real_channel_are_found_when_they_happen(data_dir: Path, tmp_path: Path) -> None:
    purge = 1_739_653_200  # 2025-02-16 00:00 in Moscow
    with replayed(data_dir, tmp_path) as (replay, live):
        anomalies = AnomalyAnalysis(live, StoredClock(live))
        for until in (purge - 10 * DAY, purge, purge + DAY + 6 * HOUR, purge + 4 * DAY):
            replay.feed(until, "tracked")
            anomalies.catch_up()
            found = [f for f in anomalies.findings("ch02") if f.metric == GROWTH and f.onset == purge]
            assert bool(found) == (until > purge + DAY)
        (finding,) = found
        assert finding.observed == pytest.approx(-4157, rel=0.05)
        assert (finding.direction, finding.severity, finding.ended) == ("down", "critical", purge + 2 * DAY)
        assert finding.causes[-1].evidence.startswith("no mention or ad explains it")
