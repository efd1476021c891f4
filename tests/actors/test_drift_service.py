"""The drift service: each outcome fed once, states that survive a restart, errors that act, inputs that inform."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from actors.adaptive_learning.drift.actor import Drift
from actors.adaptive_learning.versioning.actor import Versioning
from core.artifacts import ArtifactStore
from core.clock import DAY, HOUR, ManualClock
from core.codec import from_json, to_json
from core.errors import Broken, InsufficientData, NoData, NotFound
from core.history import Floats
from core.schemas.models import Lineage, NewVersion, Signature
from core.schemas.monitoring import DriftReport
from core.schemas.predictions import Outcome, Quantiles
from core.store.database import Database
from core.store.ids import new_id
from core.store.outcomes import OutcomeStore
from core.store.predictions import PredictionLog, PredictionRow
from core.store.series import SeriesStates
from training.layout import REFERENCE
from training.reference import Reference, to_arrow

T0 = 1_735_689_600
NAMES = ("age_0", "age_1", "level", "log_subscribers", "hour_sin")
TARGET = "views_24h"
SPREAD = 0.2


class World:
    """A version with a reference window, and requests that arrive hour by hour."""

    def __init__(self, database: Database, folder: Path, seed: int = 1) -> None:
        self.database, self.clock = database, ManualClock(time=T0)
        self.artifacts = ArtifactStore(str(folder / "artifacts"))
        self.versioning = Versioning(database, self.clock)
        self.rng = np.random.default_rng(seed)
        self.posts = 0

    def register(self, *, holdout: int = 500, rows: int = 800, window: bool = True) -> int:
        errors, ages = self.rng.normal(0, SPREAD, holdout), np.zeros(holdout, dtype=np.int64)
        reference = Reference(NAMES, self.features(rows), {TARGET: errors}, {TARGET: ages})
        files = {"weights": self.rng.bytes(8)} | ({REFERENCE: to_arrow(reference)} if window else {})
        lineage = Lineage(None, 0, T0, rows, "0" * 64, "test", 1, "batch")
        signature = Signature(NAMES, (TARGET,), "1")
        new = NewVersion("engagement", self.artifacts.put(files), signature, {}, None, lineage, new_id())
        return self.versioning.register(new).version

    def drift(self) -> Drift:
        return Drift(self.database, self.artifacts, self.clock, self.versioning)

    def features(self, n: int, level: float = 0.0) -> np.ndarray:
        young = np.ones(n)
        varied = self.rng.normal(size=(n, 3)) + np.array([level, 0, 0])
        return np.column_stack([young, 1 - young, varied]).astype(np.float32)

    def serve(
        self,
        version: int,
        errors: Floats | Sequence[float],
        level: float = 0.0,
        features: np.ndarray | None = None,
        median: float = 1000,
    ) -> None:
        """One request a post and hour, its outcome a day later off by `errors`."""
        given = self.features(len(errors), level) if features is None else features
        rows, outcomes = [], []
        for error, vector in zip(errors, given, strict=True):
            self.posts += 1
            self.clock.time = at = T0 + self.posts * HOUR
            row = PredictionRow(
                id=new_id(),
                channel_id=1,
                post_id=self.posts,
                model="engagement",
                version=version,
                arm="stable",
                epoch=1,
                known_age_h=0,
                published_at=at,
                as_of=at,
                answer={"views_24h": Quantiles(median / 2, median, median * 2)},
                latency_ms=1.0,
                at=at,
                features=vector.tobytes(),
            )
            rows.append(row)
            outcomes.append(Outcome(row.id, "views_24h", median * math.exp(error), at + DAY))
        PredictionLog(self.database).append(rows)
        with self.database.write() as connection:
            OutcomeStore(self.database).add(connection, outcomes, self.clock.time)

    def ask(self, version: int, failed: Sequence[bool]) -> None:
        """Requests of drafts, which no outcome can be joined to, one a minute."""
        rows = []
        for bad in failed:
            self.clock.advance(60)
            at = self.clock.time
            row = PredictionRow(
                id=new_id(),
                channel_id=1,
                post_id=None,
                model="engagement",
                version=version,
                arm="failed" if bad else "stable",
                epoch=1,
                known_age_h=0,
                published_at=at,
                as_of=at,
                answer={} if bad else {"views_24h": Quantiles(1, 2, 3)},
                latency_ms=1.0,
                at=at,
            )
            rows.append(row)
        PredictionLog(self.database).append(rows)

    def usual(self, n: int, shift: float = 0.0) -> Floats:
        return self.rng.normal(shift, SPREAD, n)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database, tmp_path)


@pytest.fixture
def light(sqlite_database: Database, tmp_path: Path) -> World:
    return World(sqlite_database, tmp_path)


def test_a_version_as_good_as_its_holdout_shows_no_drift(world: World) -> None:
    version, drift = world.register(), world.drift()
    assert drift.set_reference("engagement", version) == 800
    world.serve(version, world.usual(400))
    report = drift.check("engagement", version)
    assert (report.severity, report.notes) == ("none", ())
    assert report.residuals is not None
    assert (report.residuals.n, report.residuals.alarms) == (400, 0)
    assert (report.reference_n, report.recent_n, len(report.features)) == (800, 400, len(NAMES))
    assert drift.latest("engagement", version) == report


def test_errors_that_shift_by_half_a_deviation_act(world: World) -> None:
    version, drift = world.register(), world.drift()
    drift.set_reference("engagement", version)
    world.serve(version, world.usual(150))
    assert drift.check("engagement", version).severity == "none"
    began = world.clock.time + HOUR
    world.serve(version, world.usual(200, shift=SPREAD / 2))
    report = drift.check("engagement", version)
    assert report.severity == "medium"
    assert report.residuals is not None
    assert report.residuals.alarms >= 1
    assert report.residuals.stream == "views_24h@0 level"
    assert report.residuals.onset_estimate == pytest.approx(began + DAY, abs=40 * HOUR)
    assert report.residuals.mean_before == pytest.approx(0, abs=0.03)
    assert report.residuals.mean_after == pytest.approx(SPREAD / 2, abs=0.06)
    assert any(note.startswith("errors moved (views_24h@0 level)") for note in report.notes)


def test_failed_requests_that_become_more_are_noted_and_do_not_act(world: World) -> None:
    version, drift = world.register(), world.drift()
    world.ask(version, [True] * 50)  # on trial, before it was champion: not its reference
    drift.set_reference("engagement", version)
    world.serve(version, world.usual(150))
    world.ask(version, (world.rng.random(900) < 0.02).tolist())
    assert drift.check("engagement", version).severity == "none"
    began = world.clock.time
    world.ask(version, (world.rng.random(300) < 0.3).tolist())
    report = drift.check("engagement", version)
    (failed,) = [s for s in report.streams if s.watched == "failed"]
    assert (report.severity, failed.stream, failed.alarms, failed.n) == ("low", "requests", 1, 1350)
    assert failed.onset_estimate == pytest.approx(began, abs=30 * 60)
    assert failed.before == pytest.approx(0.02, abs=0.02)
    assert failed.after == pytest.approx(0.3, abs=0.1)
    (note,) = [note for note in report.notes if note.startswith("failed requests: ")]
    assert "risen since about 2025-01-" in note
    assert drift.check("engagement", version) == report, "the same alarm is the same report"
    world.ask(version, [False] * 6_000)
    assert drift.check("engagement", version).severity == "none"


def test_failed_requests_that_become_fewer_are_no_drift(light: World) -> None:
    version, drift = light.register(), light.drift()
    drift.set_reference("engagement", version)
    light.serve(version, light.usual(100))
    light.ask(version, (light.rng.random(1000) < 0.3).tolist())
    light.ask(version, [False] * 3000)
    report = drift.check("engagement", version)
    (failed,) = [s for s in report.streams if s.watched == "failed"]
    assert (report.severity, report.notes, failed.alarms, failed.needs) == ("none", (), 0, 0)


def test_outcomes_outside_their_interval_are_followed_by_target_and_age(light: World) -> None:
    version, drift = light.register(), light.drift()
    drift.set_reference("engagement", version)
    light.serve(version, light.rng.normal(0, 0.5, 450))  # beyond log 2 in one case of six
    light.serve(version, np.where(np.arange(120) % 2, 1.2, -1.2))
    report = drift.check("engagement", version)
    (missed,) = [s for s in report.streams if s.watched == "missed"]
    assert (missed.stream, missed.n, missed.alarms) == ("views_24h@0", 570, 1)
    assert missed.before == pytest.approx(0.166, abs=0.05)
    assert missed.after == pytest.approx(1, abs=0.1)
    assert any(note.startswith("outcomes outside their interval (views_24h@0)") for note in report.notes)


def test_requests_are_counted_once_whoever_dies(light: World) -> None:
    version = light.register()
    light.drift().set_reference("engagement", version)
    light.ask(version, [True, False, False] * 10)

    class Dies:
        def save(self, *_: object) -> None:
            raise KeyboardInterrupt

        def __getattr__(self, name: str) -> object:
            return getattr(SeriesStates(light.database), name)

    dying = light.drift()
    dying._states = Dies()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        dying.catch_up()
    for _ in range(2):
        light.drift().catch_up()
    light.ask(version, [True])
    light.drift().catch_up()
    share = light.drift()._shares("engagement", version)["requests"]
    assert (share.n, sum(share.waiting)) == (31, 11)
    assert light.drift().health().details["shares"] == 1


def test_the_group_of_channels_that_drifted_is_named_with_its_time(light: World) -> None:
    version, drift = light.register(), light.drift()
    drift.set_reference("engagement", version)
    for _ in range(40):
        light.serve(version, light.usual(6))
        light.serve(version, light.usual(6), median=40_000)
    began = light.clock.time
    for _ in range(20):
        light.serve(version, light.usual(6))
        light.serve(version, light.usual(6, shift=3 * SPREAD), median=40_000)
    report = drift.check("engagement", version)
    by_group = {s.group: s for s in report.streams if s.watched == "errors"}
    assert set(by_group) == {"", "1e3", "1e4"}
    large, small = by_group["1e4"], by_group["1e3"]
    assert (large.stream, large.kind, small.alarms) == ("views_24h@0", "level", 0)
    assert large.onset_estimate == pytest.approx(began + DAY, abs=40 * HOUR)
    assert large.after == pytest.approx(3 * SPREAD, abs=0.1)
    assert report.streams[0] == large, "the widest shift comes first"
    assert report.residuals is not None
    assert report.residuals.stream == "views_24h@0 size 1e4 level"
    assert any(note.startswith("errors also moved in views_24h@0 level ") for note in report.notes)


def test_inputs_that_move_are_named_and_do_not_act(world: World) -> None:
    version, drift = world.register(), world.drift()
    drift.set_reference("engagement", version)
    world.serve(version, world.usual(300), level=1.0)
    report = drift.check("engagement", version)
    assert report.severity == "low"
    assert [f.feature for f in report.features if f.rejected] == ["level"]
    assert any("inputs moved in 1 of 5 features (high), most: level" in note for note in report.notes)


def test_a_new_actor_on_the_same_database_goes_on_exactly(world: World) -> None:
    version = world.register()
    world.drift().set_reference("engagement", version)
    world.serve(version, world.usual(200, shift=0.1))
    states = SeriesStates(world.database)
    for _ in range(2):
        assert world.drift().catch_up() in (200, 0)
    before = states.all("drift")
    assert list(before) == [f"engagement:{version}:views_24h@0", f"engagement:{version}:views_24h@0 size 1e3"]
    world.serve(version, world.usual(50))
    assert world.drift().catch_up() == 50
    assert states.all("drift") != before


def test_pages_and_restarts_do_not_change_what_a_detector_knows(light: World, monkeypatch: pytest.MonkeyPatch) -> None:
    version = light.register()
    light.drift().set_reference("engagement", version)
    light.serve(version, light.usual(130, shift=0.1))
    monkeypatch.setattr("actors.adaptive_learning.drift.actor.PAGE", 7)
    light.drift().catch_up()
    in_pages = light.drift().check("engagement", version).residuals
    whole = Drift(light.database, light.artifacts, light.clock, light.versioning)
    with light.database.write() as connection:
        whole._cursors.take(connection, "drift:outcomes")
        whole._cursors.move(connection, "drift:outcomes", 0)
        for series in whole._states.all("drift"):
            connection.exec_driver_sql(f"DELETE FROM series_state WHERE series = '{series}'")
        connection.exec_driver_sql("DELETE FROM reference_window")
    monkeypatch.setattr("actors.adaptive_learning.drift.actor.PAGE", 2000)
    monkeypatch.setattr(Drift, "catch_up", lambda _: 0)
    whole.set_reference("engagement", version)
    monkeypatch.undo()
    whole.catch_up()
    assert whole.check("engagement", version).residuals == in_pages


def test_a_pass_killed_before_its_commit_is_done_again_once(world: World) -> None:
    version, drift = world.register(), world.drift()
    drift.set_reference("engagement", version)
    world.serve(version, world.usual(30))

    class Dies:
        def save(self, *_: object) -> None:
            raise KeyboardInterrupt

        def __getattr__(self, name: str) -> object:
            return getattr(SeriesStates(world.database), name)

    drift._states = Dies()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        drift.catch_up()
    assert world.drift().catch_up() == 30
    residuals = world.drift()._detectors("engagement", version)["views_24h@0"]
    assert residuals.n == 30


def test_outcomes_joined_before_a_version_has_a_reference_do_not_count(light: World) -> None:
    version, drift = light.register(), light.drift()
    light.serve(version, light.usual(120, shift=1.0))
    drift.set_reference("engagement", version)
    assert drift.catch_up() == 0
    report = drift.check("engagement", version)
    assert report.residuals is not None
    assert report.residuals.n == 0


def test_setting_a_reference_again_changes_nothing(light: World) -> None:
    version, drift = light.register(), light.drift()
    drift.set_reference("engagement", version)
    light.serve(version, light.usual(40))
    drift.catch_up()
    before = SeriesStates(light.database).all("drift")
    assert light.drift().set_reference("engagement", version) == 800
    assert SeriesStates(light.database).all("drift") == before


def test_a_small_holdout_is_completed_in_service_and_the_report_says_so(light: World) -> None:
    version, drift = light.register(holdout=40), light.drift()
    drift.set_reference("engagement", version)
    light.serve(version, light.usual(50), features=light.features(50))
    light.serve(2 if version == 1 else 1, light.usual(10))
    with pytest.raises(InsufficientData):
        drift.check("engagement", version)
    light.serve(version, light.usual(5))
    assert drift.health().details["still_learning"] == 1
    light.serve(version, light.usual(60))
    report = drift.check("engagement", version)
    assert report.notes == ()
    assert drift.health().details["still_learning"] == 0


def test_a_stream_that_cannot_judge_yet_is_noted(light: World) -> None:
    version, drift = light.register(holdout=0), light.drift()
    drift.set_reference("engagement", version)
    light.serve(version, [0.0] * 100)
    assert drift.check("engagement", version).notes == (
        "views_24h@0: 1 more errors are needed before a drift of them can be judged",
    )


def test_the_same_evidence_is_one_report(light: World) -> None:
    version, drift = light.register(), light.drift()
    drift.set_reference("engagement", version)
    light.serve(version, light.usual(120))
    first = drift.check("engagement", version)
    light.clock.advance(HOUR)
    assert drift.check("engagement", version) == first
    light.serve(version, light.usual(1))
    assert drift.check("engagement", version).at > first.at


def test_what_is_missing_is_told_apart(light: World) -> None:
    bare, version, drift = light.register(window=False), light.register(), light.drift()
    with pytest.raises(NotFound):
        drift.set_reference("engagement", 99)
    with pytest.raises(NoData, match=r"no reference\.arrow"):
        drift.set_reference("engagement", bare)
    with pytest.raises(NoData, match="no reference window"):
        drift.check("engagement", version)
    assert drift.latest("engagement", version) is None
    drift.set_reference("engagement", version)
    light.serve(version, light.usual(99))
    with pytest.raises(InsufficientData) as gap:
        drift.check("engagement", version)
    assert (gap.value.needed, gap.value.have) == (100, 99)


def test_requests_of_another_width_are_a_fault(light: World) -> None:
    version, drift = light.register(), light.drift()
    drift.set_reference("engagement", version)
    light.serve(version, light.usual(120), features=light.features(120)[:, :4])
    with pytest.raises(Broken, match="4 features, its reference 5"):
        drift.check("engagement", version)


def test_values_that_are_no_numbers_constant_columns_and_empty_windows_have_typed_answers(light: World) -> None:
    version, drift = light.register(), light.drift()
    drift.set_reference("engagement", version)
    with pytest.raises(InsufficientData) as gap:
        drift.check("engagement", version)
    assert (gap.value.needed, gap.value.have) == (100, 0)
    given = light.features(200)
    given[:, 2] = np.nan
    given[::2, 3], given[1::2, 3] = np.inf, -np.inf
    given[:, 4] = 7.0
    light.serve(version, light.usual(200), features=given)
    report = drift.check("engagement", version)
    found = {f.feature: f for f in report.features}
    assert [found[name].missing_change for name in NAMES[2:]] == [1.0, 1.0, 0.0]
    assert all(found[name].rejected for name in NAMES[2:]), "values that are gone, and a column that is constant now"
    assert not any(found[name].rejected for name in NAMES[:2]), "constant on both sides"
    assert report.severity == "low"
    assert from_json(DriftReport, to_json(report)) == report


def test_answers_given_with_hindsight_and_other_versions_are_not_fed(light: World) -> None:
    version, drift = light.register(), light.drift()
    drift.set_reference("engagement", version)
    light.serve(version + 1, light.usual(5, shift=3))
    assert drift.catch_up() == 5
    assert drift._detectors("engagement", version)["views_24h@0"].n == 0


def test_health_decodes_and_says_broken_without_a_database(light: World, tmp_path: Path) -> None:
    version, drift = light.register(), light.drift()
    drift.set_reference("engagement", version)
    light.serve(version, light.usual(3))
    health = drift.health()
    assert (health.status, health.did) == ("ok", "decoded 1 detectors")
    assert health.details["outcomes_waiting"] == 3
    nowhere = Database(f"sqlite:///{tmp_path}/nothing.db")
    assert Drift(nowhere, light.artifacts, light.clock, light.versioning).health().status == "broken"


def test_its_parts_travel_to_another_process(light: World) -> None:
    drift = light.drift()
    for part in (drift._references, drift._reports, drift._cursors, drift._outcomes):
        assert pickle.loads(pickle.dumps(part)) is not None
