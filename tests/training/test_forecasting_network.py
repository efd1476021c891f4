"""The network over all series: learns, repeats itself, survives being stored."""

import numpy as np
import pytest

from core.errors import ArtifactCorrupt, InvalidInput
from training.forecasting.batch import Batch
from training.forecasting.forecaster import forecast
from training.forecasting.network import HEADER, WEIGHTS, Network, Trained


@pytest.fixture(scope="module")
def batch() -> Batch:
    rng = np.random.default_rng(0)
    t = np.arange(90)
    return Batch(50 + 10 * np.sin(2 * np.pi * (t + rng.integers(0, 7, (20, 1))) / 7) + rng.normal(0, 1, (20, 90)), 7)


@pytest.fixture(scope="module")
def trained(batch: Batch) -> Trained:
    return Network(14, hidden=16, blocks=1, steps=150, rate=5e-3).fit(batch.before(7), 7)


def test_it_learns_the_week(batch: Batch, trained: Trained) -> None:
    said = trained(batch.before(7), 7)
    assert np.abs(said - batch.values[:, -7:]).mean() < 2.5
    low, middle, high = np.moveaxis(trained.quantiles(batch, 7), 2, 0)
    assert (low <= middle).all()
    assert (middle <= high).all()


def test_the_same_seed_gives_the_same_network(batch: Batch) -> None:
    one, same, other = (Network(14, hidden=8, blocks=1, steps=5, seed=s).fit(batch, 3)(batch, 3) for s in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_it_is_stored_and_read_back(batch: Batch, trained: Trained) -> None:
    files = trained.to_artifact()
    assert np.array_equal(Trained.from_artifact(files)(batch, 7), trained(batch, 7))
    for broken in ({}, files | {WEIGHTS: b"none"}, files | {HEADER: b'{"format": 9}'}):
        with pytest.raises(ArtifactCorrupt):
            Trained.from_artifact(broken)


def test_it_stands_for_election_when_asked_for(monkeypatch: pytest.MonkeyPatch, batch: Batch) -> None:
    monkeypatch.setattr(Network, "_descend", lambda *_: None)  # untrained: what it would learn is not the question
    said = forecast(batch, 7, quick=True, network=True)
    assert said.backtest.names[-1] == "network"
    assert np.isfinite(said.mean).all()


def test_it_is_not_asked_beyond_its_horizon(batch: Batch, trained: Trained) -> None:
    with pytest.raises(InvalidInput):
        trained(batch, 8)


def test_too_short_series_give_the_last_level() -> None:
    short = Batch.of([np.arange(9.0)])
    said = Network(14, hidden=4, blocks=1, steps=2).fit(short, 20)(short, 20)
    assert said == pytest.approx(8.0)
