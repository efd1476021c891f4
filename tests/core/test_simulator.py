from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.clock import HOUR
from core.errors import InvalidInput
from core.ingest.simulator import SimulatorConfig, simulate
from core.ingest.simulator.audience import share_of_views

SMALL = SimulatorConfig(channels=4, days=30, posts_per_day=4)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated")
    simulate(SMALL, out)
    return out


def _views(bundle: Path) -> pd.DataFrame:
    posts = pd.read_csv(bundle / "posts.csv", parse_dates=["published_at"])
    views = pd.read_csv(bundle / "views.csv", parse_dates=["ts"]).merge(posts, on=["channel", "post_id"])
    views["age_h"] = (views.ts - views.published_at).dt.total_seconds() / HOUR
    return views


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path, bundle: Path) -> None:
    simulate(SMALL, tmp_path / "again")
    simulate(SimulatorConfig(channels=4, days=30, posts_per_day=4, seed=8), tmp_path / "other")
    digest = lambda folder: hashlib.sha256((folder / "views.csv").read_bytes()).hexdigest()  # noqa: E731
    assert digest(bundle) == digest(tmp_path / "again") != digest(tmp_path / "other")


def test_readings_never_fall_and_never_come_before_their_post(bundle: Path) -> None:
    views = _views(bundle).sort_values(["channel", "post_id", "ts"])
    assert (views.groupby(["channel", "post_id"]).views.diff().dropna() >= 0).all()
    assert (views.age_h > 0).all()


def test_the_view_curve_has_the_measured_shape() -> None:
    ages = np.array([1.0, 4.0, 24.0, 72.0, 168.0])
    assert share_of_views(ages, 1.0) == pytest.approx([0.16, 0.30, 0.47, 0.64, 0.85])
    assert (share_of_views(ages, 1.8) > share_of_views(ages, 1.0)).all()


def test_the_planted_drift_turns_the_effect_of_video_round(bundle: Path, tmp_path: Path) -> None:
    truth = simulate(SimulatorConfig(channels=8, days=60, posts_per_day=6), tmp_path)
    views = _views(tmp_path)
    day = views[(views.age_h > 20) & (views.age_h < 28)].groupby(["channel", "post_id"]).last().reset_index()
    day["log"] = np.log(day.views)
    day["log"] -= day.groupby("channel").log.transform("median")
    late = day.published_at >= pd.Timestamp(truth.drift_at, unit="s")

    def effect(rows: pd.DataFrame) -> float:
        return float(rows[rows.media == "video"].log.mean() - rows[rows.media == "none"].log.mean())

    assert effect(day[~late]) > 0.15
    assert effect(day[late]) < -0.10


def test_planted_events_are_in_the_data_and_in_the_truth(tmp_path: Path) -> None:
    truth = simulate(SMALL, tmp_path)
    assert {e["kind"] for e in truth.events} == {"purge", "bought", "hit"}
    purge = next(e for e in truth.events if e["kind"] == "purge")
    subscribers = pd.read_csv(tmp_path / "subscribers.csv", parse_dates=["ts"])
    own = subscribers[subscribers.channel == purge["channel"]].set_index("ts").subscribers
    at = pd.Timestamp(purge["at"], unit="s")
    assert own[own.index >= at].iloc[0] / own[own.index < at].iloc[-1] == pytest.approx(np.exp(purge["size"]), abs=0.01)


def test_every_channel_says_that_it_is_simulated(bundle: Path) -> None:
    assert set(pd.read_csv(bundle / "channels.csv").source) == {"simulator"}


@pytest.mark.parametrize("bad", [{"channels": 0}, {"days": 1}, {"posts_per_day": 0}, {"drift_at": 1.5}])
def test_an_impossible_simulation_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        SimulatorConfig(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("drift_at", [None, 0.999])
def test_without_a_drift_and_without_mentions_a_bundle_is_whole(tmp_path: Path, drift_at: float | None) -> None:
    simulate(SimulatorConfig(channels=2, days=3, posts_per_day=1, drift_at=drift_at), tmp_path)
    assert len(pd.read_csv(tmp_path / "views.csv")) > 0
    assert list(pd.read_csv(tmp_path / "mentions.csv").columns)[:2] == ["src_channel", "dst_channel"]
